//! The reference says nothing that the specification does not: its names are those of `specs/`.

use devmig_model::registry::Library;
use devmig_reference::vhost_user::ids::{self, OFFERED_PROTOCOL_FEATURES};
use devmig_reference::vhost_user::{Mutant, Settings};

#[test]
fn every_mutant_breaks_a_clause_that_there_is() {
    let library = Library::builtin().unwrap();
    for mutant in Mutant::ALL {
        assert!(library.spec.clause(mutant.clause()).is_ok(), "{mutant}: {}", mutant.clause());
    }
}

#[test]
fn every_setting_is_a_choice_with_the_same_options() {
    let library = Library::builtin().unwrap();
    for (name, options) in Settings::KNOWN {
        let id = format!("vhost-user.{name}");
        let choice = library.spec.choices().iter().find(|choice| choice.id == id);
        let named = choice.map(|choice| choice.options.iter().map(|o| o.name.as_str()).collect());
        assert_eq!(named, Some(options.to_vec()), "{name}");
    }
}

/// Messages without a protocol feature of their own that the reference does not have, and why.
const NOT_HERE: &[(&str, &str)] = &[
    ("IOTLB_MSG", "VIRTIO_F_IOMMU_PLATFORM is not offered"),
    ("GPU_SET_SOCKET", "neither device has a screen"),
];

#[test]
fn messages_are_those_of_the_table() {
    let library = Library::builtin().unwrap();
    for message in &library.vhost_user().table.messages {
        let Some(known) = ids::find(message.id) else {
            let offers = |bit| OFFERED_PROTOCOL_FEATURES >> bit & 1 == 1;
            let gated = message.gate.as_ref().is_some_and(|gate| !offers(gate.bit));
            let listed = NOT_HERE.iter().any(|(name, _)| *name == message.name);
            assert!(message.proposed || gated || listed, "{} is not implemented", message.name);
            continue;
        };
        assert_eq!(format!("{:?}", known.message), message.name);
        assert_eq!(known.payload, message.request, "{}", message.name);
        assert_eq!(known.message.replies(), message.reply.is_some(), "{}", message.name);
        let gate = message.gate.as_ref().filter(|gate| !gate.by_offer);
        assert_eq!(known.gate, gate.map(|gate| gate.bit.into()), "{}", message.name);
        if let Some(gate) = &message.gate {
            let all = OFFERED_PROTOCOL_FEATURES | 1 << ids::feature::MTU;
            assert_eq!(all >> gate.bit & 1, 1, "{} is offered", gate.feature);
        }
    }
}
