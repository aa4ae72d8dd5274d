//! The cases of the discussion, and what the seven steps answer.

#![allow(clippy::unwrap_used)]

use devmig_model::device_model::{
    Configuration, Implementation, Instance, Kind, Refusal, Settings, admit, check, decide, form,
    read_back,
};
use serde_json::{Value as Json, json};

fn host(json: &Json) -> Implementation {
    form::implementation(json.to_string().as_bytes()).unwrap()
}

fn instance(json: &Json) -> Instance {
    form::instance(json.to_string().as_bytes()).unwrap()
}

/// A NIC with a receive filter of one of these sizes.
fn nic(sizes: &Json) -> Implementation {
    host(&json!({"models": [{"model": "vendor-a.com/my-nic", "parameters": [
        {"name": "rx-filter-size", "type": "int", "allowed_values": sizes, "init_value": 32, "off_value": 0},
    ]}]}))
}

fn filter(size: u64) -> Instance {
    instance(&json!({"model": "vendor-a.com/my-nic", "parameters": {"rx-filter-size": size}}))
}

fn kinds(answer: Result<Configuration, Refusal>) -> Vec<Kind> {
    answer.map_or_else(|refusal| refusal.reasons().iter().map(|r| r.kind).collect(), |_| vec![])
}

#[test]
fn a_filter_does_not_grow() {
    assert_eq!(kinds(check(&filter(16), &nic(&json!([0, 32])))), [Kind::ValueNotAllowed]);
}

#[test]
fn a_filter_does_not_shrink() {
    assert_eq!(kinds(check(&filter(32), &nic(&json!([0, 16])))), [Kind::ValueNotAllowed]);
}

#[test]
fn a_filter_goes_to_a_newer_host_as_it_is_and_back() {
    let (old, new) = (nic(&json!([0, 16])), nic(&json!([0, 16, 32])));
    let there = check(&filter(16), &new).unwrap();
    assert_eq!(there.get("rx-filter-size"), filter(16).parameters().get("rx-filter-size"));
    let statement = new.model(there.model()).unwrap().statement();
    let running = Instance::running(&there, statement, Default::default());
    assert_eq!(check(&running, &old).unwrap().parameters(), there.parameters());
}

/// X on and Y off cannot become X on and Y on.
#[test]
fn a_capability_is_not_switched_on_by_moving() {
    let with = |y: &Json| {
        host(&json!({"models": [{"model": "vendor-a.com/my-nic", "parameters": [
            {"name": "x", "type": "bool", "allowed_values": [true], "init_value": true},
            {"name": "y", "type": "bool", "allowed_values": y, "init_value": true, "off_value": false},
        ]}]}))
    };
    let source =
        instance(&json!({"model": "vendor-a.com/my-nic", "parameters": {"x": true, "y": false}}));
    assert_eq!(kinds(check(&source, &with(&json!([true])))), [Kind::CannotDisable]);
    assert_eq!(kinds(check(&source, &with(&json!([false, true])))), []);
    let unaware = instance(&json!({"model": "vendor-a.com/my-nic", "parameters": {"x": true}}));
    assert_eq!(kinds(check(&unaware, &with(&json!([true])))), [Kind::CannotDisable]);
}

#[test]
fn another_port_makes_no_difference() {
    let port = |port: &str| {
        instance(&json!({"model": "vendor-a.com/my-nic", "parameters": {"rx-filter-size": 16},
            "external": {"port": port, "pci": {"slot": [0, 3]}}}))
    };
    let host = nic(&json!([0, 16]));
    assert_eq!(check(&port("eth0"), &host), check(&port("eth1"), &host));
    assert!(check(&port("eth0"), &host).is_ok());
}

#[test]
fn no_description_is_a_refusal() {
    let (device, host) = (filter(16), nic(&json!([16])));
    assert_eq!(kinds(decide(None, Some(&host))), [Kind::NoDescription]);
    assert_eq!(kinds(decide(Some(&device), None)), [Kind::NoDescription]);
    assert_eq!(kinds(decide(None, None)), [Kind::NoDescription; 2]);
    assert!(decide(Some(&device), Some(&host)).is_ok());
}

#[test]
fn all_reasons_are_told_at_once() {
    let host = host(&json!({"models": [{"model": "vendor-a.com/my-nic", "parameters": [
        {"name": "a", "type": "int", "allowed_values": ["1-4"], "init_value": 1},
        {"name": "b", "type": "bool", "init_value": true},
        {"name": "d", "type": "str", "init_value": "x"},
    ]}]}));
    let source = instance(&json!({"model": "vendor-a.com/my-nic",
        "parameters": {"a": 5, "b": 1, "c": true}}));
    let wanted =
        [Kind::ValueNotAllowed, Kind::TypeMismatch, Kind::UnknownParameter, Kind::MandatoryMissing];
    assert_eq!(kinds(check(&source, &host)), wanted);
}

/// Each kind of reason is demanded by a clause, and is written as its schema says.
#[test]
fn every_reason_has_its_clause() {
    let spec = devmig_model::spec::Spec::builtin().unwrap();
    for kind in Kind::ALL {
        assert!(spec.clause(kind.clause()).is_ok(), "{kind}");
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.to_string());
    }
}

/// The seventh step defends against a first that was skipped.
#[test]
fn a_device_that_is_another_is_found_before_it_runs() {
    let host = nic(&json!([0, 16, 32]));
    let asked = check(&filter(16), &host).unwrap();
    assert_eq!(read_back(&asked, asked.parameters()), Ok(()));
    let kept: Settings = filter(32).parameters().clone();
    assert_eq!(read_back(&asked, &kept).unwrap_err().reasons()[0].kind, Kind::ReadBackMismatch);
    assert!(read_back(&asked, &Settings::new()).is_err());
    let model = host.model(asked.model()).unwrap();
    let offs = model.known().offs();
    assert_eq!(admit((asked.model(), asked.parameters()), &asked, offs), Ok(()));
    assert!(admit((asked.model(), &kept), &asked, offs).is_err());
    let other = "vendor-a.com/other".parse().unwrap();
    assert!(admit((&other, asked.parameters()), &asked, offs).is_err());
}

mod ids {
    use devmig_model::device_model::id::{Fault, MAX_ID};
    use devmig_model::device_model::{ModelId, Near, Profile};
    use devmig_testing::Premises;
    use quickcheck::{Arbitrary, Gen, QuickCheck};

    fn id(text: &str) -> ModelId {
        text.parse().unwrap()
    }

    #[test]
    fn ids_of_the_discussion_are_ids() {
        for text in [
            "vendor-a.com/my-nic",
            "gitlab.com/user/my-device",
            "virtio-spec.org/pci/virtio-net",
            "qemu.org/pci/10ec/8139",
            "https://qemu.org/devices/e1000e",
            "xn--bcher-kva.example/x~y_z.1",
        ] {
            assert_eq!(id(text).as_str(), text);
        }
    }

    #[test]
    fn each_version_of_the_rfc_has_its_own() {
        let (uri, plain) = ("https://vendor-a.com/my-nic", "vendor-a.com/my-nic");
        assert_eq!(ModelId::parse_as(Profile::V1, uri), Ok(id(uri)));
        for profile in [Profile::V3, Profile::V4] {
            assert_eq!(ModelId::parse_as(profile, plain), Ok(id(plain)));
            let bad = ModelId::parse_as(profile, uri).unwrap_err();
            assert_eq!((bad.fault, bad.suggestion.as_deref()), (Fault::Scheme, Some(plain)));
        }
        let bad = ModelId::parse_as(Profile::V1, plain).unwrap_err();
        assert_eq!((bad.fault, bad.suggestion.as_deref()), (Fault::NoScheme, Some(uri)));
    }

    #[test]
    fn what_can_be_confused_is_near_and_not_equal() {
        let near = |a: &str, b: &str| id(a).near(&id(b));
        assert_eq!(near("a.example/x", "https://a.example/x"), Some(Near::Scheme));
        assert_eq!(near("a.example/x", "www.a.example/x"), Some(Near::Www));
        assert_eq!(near("qemu.org/E1000e", "qemu.org/e1000e"), Some(Near::Case));
        assert_eq!(near("vendor-a.com/nic", "vend0r-a.com/nic"), Some(Near::LookAlike));
        assert_eq!(near("modern.example/x", "modem.example/x"), Some(Near::LookAlike));
        assert_eq!(near("a.example/x", "a.example/x"), None);
        assert_eq!(near("a.example/x", "b.example/x"), None);
    }

    #[test]
    fn lengths_are_bounded() {
        let path = "x".repeat(MAX_ID - "a.example/".len());
        assert!(format!("a.example/{path}").parse::<ModelId>().is_ok());
        let bad = format!("a.example/{path}x").parse::<ModelId>().unwrap_err();
        assert_eq!((bad.fault, bad.suggestion), (Fault::Long, None));
        let bad = "é".repeat(1 << 20).parse::<ModelId>().unwrap_err();
        assert!(bad.written.len() <= 2 * MAX_ID);
        for host in ["a", "-a.example", "a-.example", "a..b", "10.0.0.1", "ab--c.example", "."] {
            assert!(format!("{host}/x").parse::<ModelId>().is_err(), "{host}");
        }
    }

    /// Text that may stand in an id, with now and then a character that may not.
    #[derive(Clone, Debug)]
    struct Part(String);

    impl Arbitrary for Part {
        fn arbitrary(g: &mut Gen) -> Self {
            const USUAL: &[u8] = b"abcxyz0189-._~ABC";
            let usual = |g: &mut Gen| g.choose(USUAL).map_or('a', |byte| char::from(*byte));
            let length = 1 + usize::arbitrary(g) % 12;
            let of = |g: &mut Gen| match u8::arbitrary(g) % 40 {
                0 => char::arbitrary(g),
                _ => usual(g),
            };
            Part((0..length).map(|_| of(g)).collect())
        }

        fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
            Box::new(self.0.shrink().map(Part))
        }
    }

    /// What is suggested is an id, other than what was written; and nothing panics.
    #[test]
    fn a_suggestion_is_an_id() {
        static PREMISES: Premises = Premises::new();
        fn law(Part(part): Part, any: String) -> bool {
            let tries = [
                format!("a.example/{part}"),
                format!("{part}.example/x"),
                format!("https://A.example/{part}/%41/..//x"),
                format!("a.example/{any}"),
                any,
            ];
            tries.iter().all(|text| match text.parse::<ModelId>() {
                Ok(id) => {
                    PREMISES.met("an id");
                    id.as_str() == text
                }
                Err(bad) => {
                    PREMISES.met("no id");
                    let other = |meant: String| {
                        PREMISES.met("a suggestion");
                        meant != *text && meant.parse::<ModelId>().is_ok()
                    };
                    bad.suggestion.is_none_or(other)
                }
            })
        }
        QuickCheck::new().tests(500).quickcheck(law as fn(Part, String) -> bool);
        PREMISES.each(["an id", "no id", "a suggestion"], 150);
    }
}

mod sets {
    use devmig_model::device_model::{Allowed, Type, Value};
    use devmig_testing::Premises;
    use quickcheck::QuickCheck;

    fn set(ranges: &[(u8, u8)]) -> Allowed {
        let range =
            |(lo, hi): &(u8, u8)| Value::text(&format!("{}-{}", lo.min(hi), lo.max(hi))).unwrap();
        Allowed::of(Type::Int, &ranges.iter().map(range).collect::<Vec<_>>()).unwrap()
    }

    fn within(ranges: &[(u8, u8)], n: u8) -> bool {
        ranges.iter().any(|(lo, hi)| (lo.min(hi)..=lo.max(hi)).contains(&&n))
    }

    /// A range by where it begins and how many more it has: a few, so that sets have gaps.
    type Ranges = Vec<(u8, u8)>;

    fn ranges(drawn: &[(u8, u8)]) -> Ranges {
        drawn.iter().take(12).map(|(lo, more)| (*lo, lo.saturating_add(more % 16))).collect()
    }

    #[test]
    fn a_set_has_what_its_ranges_have() {
        static PREMISES: Premises = Premises::new();
        fn law(drawn: Ranges) -> bool {
            let ranges = ranges(&drawn);
            let set = set(&ranges);
            (0..=u8::MAX).all(|n| {
                let there = PREMISES.holds("a member", within(&ranges, n));
                set.contains(&Value::Int(n.into())) == there
            }) && Allowed::of(Type::Int, &set.list().unwrap()) == Ok(set)
        }
        QuickCheck::new().tests(300).quickcheck(law as fn(Ranges) -> bool);
        PREMISES.at_least("a member", 10);
    }

    #[test]
    fn what_is_in_both() {
        static PREMISES: Premises = Premises::new();
        fn law(a: Ranges, b: Ranges) -> bool {
            let (a, b) = (ranges(&a), ranges(&b));
            let both = set(&a).and(&set(&b));
            both == set(&b).and(&set(&a))
                && (0..=u8::MAX).all(|n| {
                    let (one, other) = (within(&a, n), within(&b, n));
                    PREMISES.holds("in both", one && other);
                    PREMISES.holds("in one", one != other);
                    both.contains(&Value::Int(n.into())) == (one && other)
                })
        }
        QuickCheck::new().tests(300).quickcheck(law as fn(Ranges, Ranges) -> bool);
        PREMISES.at_least("in both", 5);
        PREMISES.at_least("in one", 20);
    }

    #[test]
    fn the_ends_of_the_range_are_in_it() {
        let all =
            Allowed::of(Type::Int, &[Value::text("0-18446744073709551615").unwrap()]).unwrap();
        assert!(all.contains(&Value::Int(0)) && all.contains(&Value::Int(u64::MAX)));
        let two = [Value::text("1-2").unwrap(), Value::Int(3)];
        assert_eq!(Allowed::of(Type::Int, &two).unwrap().to_string(), "1-3");
    }
}
