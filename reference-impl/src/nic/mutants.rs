//! Faults of a device as something that is described, made, and moved: each a switch in the real code.

use crate::switches::mutants;

mutants! {
    ["device-model."]

    // What it says of itself.
    DescriptionFails "description-fails" "description.static"
        "The description is printed, and the exit status is 1.",
    DescriptionTwice "description-twice" "description.static"
        "The description has a member twice.",
    DescriptionVaries "description-varies" "description.stable"
        "What is asked for is described as the initial value.",
    OffWrong "off-wrong" "off.agrees"
        "The description states an off value that the definition does not.",
    InitNotAllowed "init-not-allowed" "initial.acceptable"
        "The initial size of the filter table is not among those that are accepted.",

    // What is made.
    AllowsMore "allows-more" "parameter.allowed"
        "Values are accepted that the description does not allow.",
    AllowsLess "allows-less" "create.as-described"
        "The greatest number of queue pairs that the description allows is refused.",
    OtherInit "other-init" "create.as-described"
        "A device for which nothing is asked has another MTU than the initial one.",
    Clamps "clamps" "create.all-or-nothing"
        "A number that is too great becomes the greatest one that is allowed.",
    AnyModel "any-model" "model.supported"
        "A model that is not known is taken for the usual one.",
    IgnoresUnknown "ignores-unknown" "parameter.known"
        "A parameter that is not known is passed over.",
    CoercesTypes "coerces-types" "parameter.type"
        "What is neither on nor off is taken for on.",
    JointIgnored "joint-ignored" "joint.holds"
        "What must hold of several parameters together is not looked at.",
    LastWins "last-wins" "create.set-once"
        "Of two values for a parameter the last is taken.",
    AliasUnexpanded "alias-unexpanded" "alias.expanded"
        "A version changes nothing of what is made.",
    AnyVersion "any-version" "alias.expanded"
        "A version that there is not is passed over.",
    AliasWins "alias-wins" "alias.expanded"
        "A version has the last word, and not what is given besides.",
    RefusesQuietly "refuses-quietly" "create.all-or-nothing"
        "The exit status is 0 where a device is refused.",
    NamesNothing "names-nothing" "create.names-parameter"
        "The error does not say which parameter it is about.",
    PoolNotReset "pool-not-reset" "create.resets"
        "A device has what the last one of its slot was made with, where nothing else is asked for.",

    // What there is.
    ReadBackLies "read-back-lies" "instance.reads-back"
        "A number of queue pairs reads back as the initial one.",
    ChangesLive "changes-live" "configuration.immutable"
        "A device that exists is changed when that is asked for.",
    AddsAgain "adds-again" "configuration.immutable"
        "Adding a device by a name that is in use replaces the device.",

    // Its state.
    OtherConfiguration "other-configuration" "load.checks"
        "State of another configuration is taken.",
    OtherModel "other-model" "load.checks"
        "State of another model is taken.",
    LoadForgets "load-forgets" "state.kept"
        "What a device has counted is not taken over.",
    NoIdentity "no-identity" "load.checks"
        "State does not say what it is the state of.",
    BytesChanged "bytes-changed" "representation.parameter"
        "Counters are written in another order, and nothing says so.",
    AbsenceChanges "absence-changes" "parameter.absence"
        "State has a list of tags where there are none to filter by.",
    EncodersDiffer "encoders-differ" "representation.parameter"
        "The second encoder writes an address backwards.",
    LinkCompared "link-compared" "external.not-compared"
        "State is taken only by a NIC whose wire is a loop.",
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
