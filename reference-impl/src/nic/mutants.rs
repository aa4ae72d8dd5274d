//! Faults of a device as something that is described, made, and moved: each a switch in the real code.

use crate::switches::mutants;

mutants! {
    ["device-model."]

    // What it says of itself.
    DescriptionFails "description-fails" "description.static"
        "The program prints the description with exit status 1.",
    DescriptionTwice "description-twice" "description.static"
        "The description contains a member twice.",
    DescriptionVaries "description-varies" "description.stable"
        "The description states the requested value as the initial value.",
    OffWrong "off-wrong" "off.agrees"
        "The description states another off value than the definition.",
    InitNotAllowed "init-not-allowed" "initial.acceptable"
        "The initial size of the filter table is not an accepted value.",

    // What is made.
    AllowsMore "allows-more" "parameter.allowed"
        "The device accepts values that the description does not allow.",
    AllowsLess "allows-less" "create.as-described"
        "The device refuses the largest number of queue pairs that the description allows.",
    OtherInit "other-init" "create.as-described"
        "A device without given parameters has another MTU than the initial value.",
    Clamps "clamps" "create.all-or-nothing"
        "A number that is too large is reduced to the largest allowed number.",
    AnyModel "any-model" "model.supported"
        "An unknown model is treated as the default model.",
    IgnoresUnknown "ignores-unknown" "parameter.known"
        "An unknown parameter is ignored.",
    CoercesTypes "coerces-types" "parameter.type"
        "A value that is neither on nor off is treated as on.",
    JointIgnored "joint-ignored" "joint.holds"
        "Constraints on several parameters together are not checked.",
    LastWins "last-wins" "create.set-once"
        "Of two values for one parameter the last is used.",
    AliasUnexpanded "alias-unexpanded" "alias.expanded"
        "A version does not change the created device.",
    AnyVersion "any-version" "alias.expanded"
        "An unknown version is ignored.",
    AliasWins "alias-wins" "alias.expanded"
        "A version takes precedence over an explicitly given value.",
    RefusesQuietly "refuses-quietly" "create.all-or-nothing"
        "The exit status is 0 when a device is refused.",
    NamesNothing "names-nothing" "create.names-parameter"
        "The error does not name the refused parameter.",
    PoolNotReset "pool-not-reset" "create.resets"
        "A device from a pool keeps the values of its predecessor for parameters that are not \
         given.",

    // What there is.
    ReadBackLies "read-back-lies" "instance.reads-back"
        "A number of queue pairs reads back as the initial one.",
    ChangesLive "changes-live" "configuration.immutable"
        "An existing device is changed on request.",
    AddsAgain "adds-again" "configuration.immutable"
        "Adding a device under an existing name replaces the device.",

    // The second time, and two devices that meet: right the first time, or alone.
    PoolKeepsFirst "pool-keeps-first" "create.resets"
        "From the third device on, a device keeps the values of the first for parameters that are \
         not given.",
    ChangeLeaks "change-leaks" "create.resets"
        "The next device that is created has the values of a refused change.",
    RefusedLeaks "refused-leaks" "create.resets"
        "The next device that is created has the values of a refused second one under its name.",
    DeletesOnce "deletes-once" "create.as-described"
        "The second deletion of a device of one name has no effect.",
    ChangesAgain "changes-again" "configuration.immutable"
        "A device that is created a second time under one name is changed on request.",
    ReplacesSecond "replaces-second" "configuration.immutable"
        "The second addition under an existing name replaces the device.",
    ListGap "list-gap" "instance.reads-back"
        "After a deletion, the list lacks the devices that existed before it.",
    LastShown "last-shown" "instance.reads-back"
        "All devices read back with the configuration of the one that was created last.",
    DeletesOther "deletes-other" "instance.reads-back"
        "With two devices, a deletion deletes the one whose name comes first.",
    ClientForgets "client-forgets" "instance.reads-back"
        "The list lacks the devices that another client created.",

    // Its state.
    OtherConfiguration "other-configuration" "load.checks"
        "The device accepts state of another configuration.",
    OtherModel "other-model" "load.checks"
        "The device accepts state of another model.",
    LoadForgets "load-forgets" "state.kept"
        "The counters of a device are not restored.",
    NoIdentity "no-identity" "load.checks"
        "The saved state does not name its model and configuration.",
    BytesChanged "bytes-changed" "representation.parameter"
        "The counters are saved in another order, without any indication.",
    AbsenceChanges "absence-changes" "parameter.absence"
        "The saved state contains an empty list of tags where the device has no tag filter.",
    EncodersDiffer "encoders-differ" "representation.parameter"
        "The second encoder writes an address in reverse.",
    LinkCompared "link-compared" "external.not-compared"
        "Only a NIC with a loopback link accepts the state.",
}

impl Mutant {
    /// Whether it is right the first time, or alone: only what happened before shows it.
    #[must_use]
    pub const fn meets(self) -> bool {
        self as usize >= Mutant::PoolKeepsFirst as usize
            && self as usize <= Mutant::ClientForgets as usize
    }
}

#[cfg(test)]
mod tests {
    use devmig_model::device_model::Value;

    use super::*;
    use crate::nic::{Build, Encoder, Given, Link, Nic, NicConfig, NicModel, Order};

    #[test]
    fn names_are_unique_and_parse_and_are_no_back_end_s() {
        for mutant in Mutant::ALL {
            assert_eq!(mutant.name().parse(), Ok(*mutant));
            assert!(mutant.name().parse::<crate::vhost_user::Mutant>().is_err(), "{mutant}");
            assert!(mutant.name().parse::<crate::vfio_user::Mutant>().is_err(), "{mutant}");
        }
    }

    #[test]
    fn every_fault_names_a_clause_that_there_is() {
        let library = devmig_model::registry::Library::builtin().unwrap();
        for mutant in Mutant::ALL {
            assert!(library.spec.clause(mutant.clause()).is_ok(), "{mutant}");
        }
    }

    fn order(mutant: Option<Mutant>, given: &[(&str, &str)]) -> Order {
        let text =
            |(name, value): &(&str, &str)| ((*name).to_owned(), Given::Text((*value).into()));
        let build = Build { mutant, ..Build::default() };
        Order { given: given.iter().map(text).collect(), build, ..Order::default() }
    }

    /// Whether this is made, and what is then in effect.
    fn made(mutant: Option<Mutant>, given: &[(&str, &str)]) -> Option<String> {
        NicConfig::make(&order(mutant, given)).ok().map(|config| config.identity())
    }

    #[test]
    fn what_is_made_wrongly_is_not_made_by_the_reference() {
        let cases: [(Mutant, &[(&str, &str)]); 6] = [
            (Mutant::AllowsMore, &[("rx-filter-size", "2000")]),
            (Mutant::Clamps, &[("rx-filter-size", "2000")]),
            (Mutant::IgnoresUnknown, &[("colour", "red")]),
            (Mutant::CoercesTypes, &[("rss", "2")]),
            (Mutant::JointIgnored, &[("vlan-filter", "on"), ("rx-filter-size", "0")]),
            (Mutant::LastWins, &[("rss", "on"), ("rss", "off")]),
        ];
        for (mutant, given) in cases {
            assert!(made(None, given).is_none() && made(Some(mutant), given).is_some(), "{mutant}");
        }
        let most = [("queue-pairs", "16")];
        assert!(made(None, &most).is_some() && made(Some(Mutant::AllowsLess), &most).is_none());
        for mutant in [Mutant::AliasUnexpanded, Mutant::AliasWins] {
            let version = Some("2".to_owned());
            let given = [("rss", "off")];
            let wrong = Order { version: version.clone(), ..order(Some(mutant), &given) };
            let right = Order { version, ..order(None, &given) };
            let identity = |order| NicConfig::make(order).unwrap().identity();
            assert_ne!(identity(&wrong), identity(&right), "{mutant}");
        }
    }

    #[test]
    fn what_is_described_wrongly_differs() {
        let given = [("rx-filter-size", "8")];
        let described =
            |mutant| super::super::description::described(&order(mutant, &given)).unwrap();
        for mutant in [Mutant::DescriptionVaries, Mutant::OffWrong, Mutant::InitNotAllowed] {
            assert_ne!(described(Some(mutant)), described(None), "{mutant}");
        }
        let plain = super::super::description::described(&order(None, &[])).unwrap();
        assert_eq!(described(None), plain, "what is asked for changes nothing of the description");
    }

    #[test]
    fn what_is_saved_or_loaded_wrongly_is_noticed_at_the_other_end() {
        let build = |mutant, encoder| Build { mutant, encoder, ..Build::default() };
        let nic = |build, model: NicModel, rss: bool, link| {
            let rss = Value::Bool(rss);
            let given = match model {
                NicModel::Nic => vec![("rss".to_owned(), Given::Value(rss))],
                NicModel::Basic => Vec::new(),
            };
            let model = model.id().to_owned();
            let config = NicConfig::make(&Order { model, given, build, version: None }).unwrap();
            let mut nic = Nic::new(config, link);
            nic.transmit(0, &[2; 60]);
            nic
        };
        let right = |rss| nic(Build::default(), NicModel::Nic, rss, Link::Loopback);
        let first =
            |mutant, link| nic(build(Some(mutant), Encoder::First), NicModel::Nic, false, link);

        let other = right(true).save();
        assert!(right(false).load(&other).is_err());
        assert!(first(Mutant::OtherConfiguration, Link::Loopback).load(&other).is_ok());
        let basic = nic(Build::default(), NicModel::Basic, false, Link::Loopback).save();
        assert!(right(false).load(&basic).is_err());
        assert!(first(Mutant::OtherModel, Link::Loopback).load(&basic).is_ok());
        assert!(right(false).load(&first(Mutant::NoIdentity, Link::Loopback).save()).is_err());

        let good = right(false).save();
        assert!(nic(Build::default(), NicModel::Nic, false, Link::Nobody).load(&good).is_ok());
        assert!(first(Mutant::LinkCompared, Link::Nobody).load(&good).is_err());
        for mutant in [Mutant::BytesChanged, Mutant::AbsenceChanges] {
            assert_ne!(first(mutant, Link::Loopback).save(), good, "{mutant}");
        }
        let second = |mutant| {
            nic(build(mutant, Encoder::Second), NicModel::Nic, false, Link::Loopback).save()
        };
        assert_eq!(second(None), good);
        assert_ne!(second(Some(Mutant::EncodersDiffer)), good);
    }
}
