//! The laws of compatibility: by exhaustion over a small universe, and by thousands of generated ones.
//!
//! The small universe has two parameters with the values 0 and 1. `f` is off at 0, `m` cannot be
//! disabled. A host lacks a parameter or accepts {0}, {1} or {0, 1}: sixteen implementations.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use devmig_model::device_model::{
    Allowed, Configuration, Constraint, Implementation, Instance, Model, ModelId, Name, Parameter,
    Refusal, Settings, Type, Value, check, form,
};
use devmig_testing::Premises;
use proptest::prelude::*;

fn id() -> ModelId {
    "vendor-a.com/my-nic".parse().unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn ints(values: &[u64]) -> Allowed {
    let list: Vec<Value> = values.iter().map(|n| Value::Int(*n)).collect();
    Allowed::of(Type::Int, &list).unwrap()
}

/// A parameter and a number.
type AtLeast = (&'static str, u64);

/// A host, as plainly as it can be said: what each parameter accepts, and whether it is off at 0.
#[derive(Clone, PartialEq, Debug)]
struct Plain {
    accepts: BTreeMap<&'static str, Vec<u64>>,
    /// Where the first parameter is the first number, the second is at least the second.
    joint: Vec<(AtLeast, AtLeast)>,
}

const OPTIONAL: [&str; 3] = ["f", "g", "h"];

fn off(parameter: &str) -> Option<u64> {
    OPTIONAL.contains(&parameter).then_some(0)
}

impl Plain {
    fn real(&self) -> Implementation {
        let parameter = |(text, values): (&&'static str, &Vec<u64>)| {
            let init = values.last().copied().unwrap_or(0);
            let off = off(text).map(Value::Int);
            (name(text), Parameter::new(ints(values), Value::Int(init), off).unwrap())
        };
        let set = |parameter: &str, set: Allowed| BTreeMap::from([(name(parameter), set)]);
        let joint = self.joint.iter().map(|((a, at), (b, least))| Constraint::Implies {
            when: set(a, ints(&[*at])),
            then: set(b, ints(&(*least..=8).collect::<Vec<_>>())),
        });
        let parameters = self.accepts.iter().map(parameter).collect();
        let model = Model::new(id(), parameters, BTreeMap::new(), joint.collect(), None).unwrap();
        Implementation::new([model]).unwrap()
    }

    /// The oracle: what a device that is made there would be, by trying to make it.
    fn make(&self, wanted: &BTreeMap<&'static str, u64>) -> Option<BTreeMap<&'static str, u64>> {
        let mut device = BTreeMap::new();
        for (parameter, accepted) in &self.accepts {
            let value = wanted.get(parameter).copied().or(off(parameter))?;
            if !accepted.contains(&value) {
                return None;
            }
            device.insert(*parameter, value);
        }
        for (parameter, value) in wanted {
            if !device.contains_key(parameter) && off(parameter) != Some(*value) {
                return None;
            }
        }
        let kept = |((a, at), (b, least)): &((&str, u64), (&str, u64))| {
            device.get(a) != Some(at) || device.get(b).is_some_and(|value| value >= least)
        };
        self.joint.iter().all(kept).then_some(device)
    }

    /// Every device that it makes.
    fn devices(&self) -> Vec<BTreeMap<&'static str, u64>> {
        let mut all = vec![BTreeMap::new()];
        for (parameter, accepted) in &self.accepts {
            all = all
                .iter()
                .flat_map(|device| {
                    accepted.iter().map(|value| {
                        let mut device = device.clone();
                        device.insert(*parameter, *value);
                        device
                    })
                })
                .collect();
        }
        all.retain(|device| self.make(device).is_some());
        all
    }
}

/// An instance that a host made.
fn made(host: &Implementation, device: &BTreeMap<&'static str, u64>) -> Instance {
    let given: Vec<_> = device.iter().map(|(n, v)| (name(n), Value::Int(*v))).collect();
    Instance::create(host, &id(), None, &given, BTreeMap::new()).unwrap()
}

fn plain(settings: &Settings) -> BTreeMap<String, u64> {
    let number = |value: &Value| match value {
        Value::Int(n) => *n,
        other => panic!("{other:?}"),
    };
    settings.iter().map(|(name, value)| (name.to_string(), number(value))).collect()
}

/// What is in effect.
fn effect(settings: &Settings) -> BTreeMap<String, u64> {
    let mut all = plain(settings);
    all.retain(|name, value| off(name) != Some(*value));
    all
}

fn arrives(instance: &Instance, there: &Configuration, host: &Implementation) -> Instance {
    instance.arrived(there, host.model(&id()).unwrap(), BTreeMap::new())
}

/// The verdict, and what the device would be.
fn verdict(instance: &Instance, host: &Implementation) -> Option<Settings> {
    check(instance, host).ok().map(|configuration| configuration.parameters().clone())
}

fn universe() -> Vec<Plain> {
    let variants = [None, Some(vec![0]), Some(vec![1]), Some(vec![0, 1])];
    let mut all = Vec::new();
    for f in &variants {
        for m in &variants {
            let accepts = [("f", f), ("m", m)].into_iter();
            let accepts = accepts.filter_map(|(n, v)| Some((n, v.clone()?))).collect();
            all.push(Plain { accepts, joint: Vec::new() });
        }
    }
    all
}

/// Whether one host accepts all that another does, by the rule for additions alone.
fn extends(old: &Plain, new: &Plain) -> bool {
    let kept = |(parameter, values): (&&str, &Vec<u64>)| {
        new.accepts.get(parameter).is_some_and(|now| values.iter().all(|v| now.contains(v)))
    };
    let added = |(parameter, values): (&&'static str, &Vec<u64>)| {
        old.accepts.contains_key(parameter)
            || off(parameter).is_some_and(|off| values.contains(&off))
    };
    old.accepts.iter().all(kept) && new.accepts.iter().all(added) && old.joint == new.joint
}

/// How many cases of each law the small universe has: a law that nothing is held against proves
/// nothing.
#[derive(Default, PartialEq, Eq, Debug)]
struct Cases {
    reflexive: u32,
    oracle: u32,
    rollback: u32,
    invariant: u32,
    path: u32,
    monotone: u32,
    monotone_accepted: u32,
    monotone_by_one: u32,
}

#[test]
fn every_law_in_the_small_universe() {
    let plains = universe();
    let hosts: Vec<Implementation> = plains.iter().map(Plain::real).collect();
    let mut cases = Cases::default();
    for (a, plain_a) in hosts.iter().zip(&plains) {
        for device in plain_a.devices() {
            let instance = made(a, &device);
            assert_eq!(verdict(&instance, a).as_ref(), Some(instance.parameters()), "reflexive");
            cases.reflexive += 1;
            for (b, plain_b) in hosts.iter().zip(&plains) {
                let answer = check(&instance, b);
                let oracle = plain_b.make(&device);
                let found = answer.as_ref().ok().map(|there| plain(there.parameters()));
                let wanted: Option<BTreeMap<String, u64>> =
                    oracle.map(|d| d.into_iter().map(|(n, v)| (n.to_owned(), v)).collect());
                assert_eq!(found, wanted, "oracle: {device:?} to {plain_b:?}");
                cases.oracle += 1;
                for (new, plain_new) in hosts.iter().zip(&plains) {
                    if extends(plain_b, plain_new) {
                        cases.monotone += 1;
                        if answer.is_ok() {
                            cases.monotone_accepted += 1;
                            assert!(check(&instance, new).is_ok(), "monotone");
                        }
                    }
                }
                // One value more, 0, 1 or 2, of a parameter that it has.
                for parameter in plain_b.accepts.keys() {
                    for value in 0..3 {
                        let mut more = plain_b.clone();
                        more.accepts.entry(parameter).or_default().push(value);
                        let accepts = check(&instance, &more.real()).is_ok();
                        assert!(accepts || answer.is_err(), "monotone by one");
                        cases.monotone_by_one += 1;
                    }
                }
                let Ok(there) = answer else { continue };
                assert_eq!(effect(there.parameters()), effect(instance.parameters()), "invariant");
                cases.invariant += 1;
                let running = arrives(&instance, &there, b);
                assert_eq!(verdict(&running, a).as_ref(), Some(instance.parameters()), "rollback");
                cases.rollback += 1;
                for c in &hosts {
                    assert_eq!(verdict(&running, c), verdict(&instance, c), "path");
                    cases.path += 1;
                }
            }
        }
    }
    let wanted = Cases {
        reflexive: 25,
        oracle: 400,
        rollback: 117,
        invariant: 117,
        path: 1872,
        monotone: 1200,
        monotone_accepted: 312,
        monotone_by_one: 1800,
    };
    assert_eq!(cases, wanted);
}

/// Not a law: that some device can go from X to Y, and some from Y to Z, gives none from X to Z.
#[test]
fn that_something_can_go_is_not_transitive() {
    let host = |f: Option<Vec<u64>>| {
        let accepts = f.map(|values| ("f", values)).into_iter().collect();
        Plain { accepts, joint: Vec::new() }
    };
    let (x, y, z) = (host(None), host(Some(vec![0, 1])), host(Some(vec![1])));
    let some = |from: &Plain, to: &Plain| {
        from.devices().iter().any(|d| check(&made(&from.real(), d), &to.real()).is_ok())
    };
    assert!(some(&x, &y) && some(&y, &z));
    assert!(!some(&x, &z));
    // Nothing smaller shows it: one parameter, and the fewest values.
    let smaller = universe().into_iter().filter(|host| !host.accepts.contains_key("m"));
    assert!(smaller.clone().all(|x| some(&x, &x)));
}

/// Path independence rests on what is stated, and travels: where one host alone states an off value, a
/// device that went over it can go where it could not go directly.
#[test]
fn what_a_host_states_travels_with_the_device() {
    let host = |off: Option<Value>| {
        let parameter = Parameter::new(ints(&[0, 1]), Value::Int(1), off).unwrap();
        let parameters = BTreeMap::from([(name("f"), parameter)]);
        let model = Model::new(id(), parameters, BTreeMap::new(), Vec::new(), None).unwrap();
        Implementation::new([model]).unwrap()
    };
    let none = Model::new(id(), BTreeMap::new(), BTreeMap::new(), Vec::new(), None).unwrap();
    let a = Implementation::new([none]).unwrap();
    let (b, c) = (host(Some(Value::Int(0))), host(None));
    let instance = made(&a, &BTreeMap::new());
    assert!(check(&instance, &c).is_err());
    let there = check(&instance, &b).unwrap();
    assert!(check(&arrives(&instance, &there, &b), &c).is_ok());
}

const NAMES: [&str; 5] = ["f", "g", "h", "m", "n"];

fn host() -> impl Strategy<Value = Plain> {
    let values = proptest::collection::btree_set(0_u64..4, 1..4);
    let accepts =
        proptest::collection::btree_map(proptest::sample::select(&NAMES[..]), values, 0..5);
    let joint = (0_usize..5, 0_u64..4, 0_usize..5, 0_u64..4);
    (accepts, proptest::collection::vec(joint, 0..3)).prop_map(|(accepts, joint)| {
        let accepts: BTreeMap<_, Vec<u64>> =
            accepts.into_iter().map(|(n, v)| (n, v.into_iter().collect())).collect();
        let there: Vec<&str> = accepts.keys().copied().collect();
        let joint = joint
            .into_iter()
            .filter(|_| !there.is_empty())
            .map(|(a, at, b, least)| {
                ((there[a % there.len()], at), (there[b % there.len()], least))
            })
            .collect();
        Plain { accepts, joint }
    })
}

/// A host, and one of the devices that it makes.
fn device() -> impl Strategy<Value = (Plain, BTreeMap<&'static str, u64>)> {
    (host(), any::<proptest::sample::Index>()).prop_filter_map("makes none", |(host, index)| {
        let devices = host.devices();
        let device = (!devices.is_empty()).then(|| index.get(&devices).clone())?;
        Some((host, device))
    })
}

/// A change of a host: a parameter, a value, and whether the value is added.
type Change = (&'static str, u64, bool);

/// A few changes, of which most add.
fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (proptest::sample::select(&NAMES[..]), 0_u64..4, proptest::bool::weighted(0.8));
    proptest::collection::vec(change, 0..4)
}

/// The host after some changes. A parameter without a value is none; one that is new accepts its off
/// value too.
fn changed(host: &Plain, changes: &[Change]) -> Plain {
    let mut host = host.clone();
    for (parameter, value, add) in changes {
        let values = host.accepts.entry(parameter).or_default();
        let new = values.is_empty();
        values.retain(|other| other != value);
        if *add {
            values.push(*value);
            values.extend((new && *value > 0).then_some(0));
            values.sort_unstable();
        }
        host.accepts.retain(|_, values| !values.is_empty());
    }
    let there = host.accepts.clone();
    host.joint.retain(|((a, _), (b, _))| there.contains_key(a) && there.contains_key(b));
    host
}

/// Another host: most of the time one that is not far from this one.
fn other() -> impl Strategy<Value = Result<Vec<Change>, Plain>> {
    prop_oneof![3 => changes().prop_map(Ok), 1 => host().prop_map(Err)]
}

fn beside(host: &Plain, other: Result<Vec<Change>, Plain>) -> Plain {
    other.map_or_else(|far| far, |changes| changed(host, &changes))
}

/// A host with a device, and another host.
fn pair() -> impl Strategy<Value = ((Plain, BTreeMap<&'static str, u64>), Plain)> {
    (device(), other()).prop_map(|((a, device), other)| {
        let b = beside(&a, other);
        ((a, device), b)
    })
}

/// A host with a device, and two other hosts.
fn trio() -> impl Strategy<Value = ((Plain, BTreeMap<&'static str, u64>), [Plain; 2])> {
    (device(), [other(), other()]).prop_map(|((a, device), others)| {
        let others = others.map(|other| beside(&a, other));
        ((a, device), others)
    })
}

/// Two releases of a host: the second is any host, or the first with what a few changes add or remove.
fn releases() -> impl Strategy<Value = (Plain, Plain)> {
    (host(), other()).prop_map(|(old, other)| {
        let new = beside(&old, other);
        (old, new)
    })
}

/// A host, half of the time with a constraint that its initial values may break.
fn with_initial_values() -> impl Strategy<Value = Plain> {
    let at = || any::<proptest::sample::Index>();
    (host(), any::<bool>(), at(), at(), 0_u64..4).prop_map(|(mut host, more, a, b, least)| {
        let last: Vec<_> =
            host.accepts.iter().filter_map(|(n, v)| Some((*n, *v.last()?))).collect();
        if more && !last.is_empty() {
            host.joint.push((*a.get(&last), (b.get(&last).0, least)));
        }
        host
    })
}

/// The same description with everything in another order.
fn shuffled(host: &Implementation, by: u64) -> Implementation {
    let mut form = form::ImplementationForm::from(host);
    for model in &mut form.models.0 {
        let turn = |n: usize| if n == 0 { 0 } else { usize::try_from(by).unwrap_or(0) % n };
        let n = turn(model.parameters.0.len());
        model.parameters.0.rotate_left(n);
        model.parameters.0.reverse();
        model.constraints.0.reverse();
        for parameter in &mut model.parameters.0 {
            if let Some(list) = &mut parameter.allowed_values {
                let n = turn(list.0.len());
                list.0.rotate_left(n);
                list.0.extend(list.0.first().cloned());
            }
        }
    }
    let mut text = serde_json::to_value(&form).unwrap();
    text.as_object_mut().unwrap().sort_keys();
    form::implementation(text.to_string().as_bytes()).unwrap()
}

fn kinds(refusal: &Refusal) -> BTreeSet<String> {
    refusal
        .reasons()
        .iter()
        .map(|reason| format!("{} {:?}", reason.kind, reason.parameter))
        .collect()
}

fn cases() -> ProptestConfig {
    ProptestConfig::with_cases(3000)
}

/// Reflexive; sound and complete against the oracle; configuration invariance; rollback.
#[test]
fn there_and_back() {
    let premises = Premises::new();
    proptest!(cases(), |(((a, device), b) in pair())| {
        let (here, there) = (a.real(), b.real());
        let instance = made(&here, &device);
        prop_assert_eq!(verdict(&instance, &here), Some(instance.parameters().clone()));
        let answer = check(&instance, &there);
        prop_assert_eq!(answer.is_ok(), b.make(&device).is_some());
        premises.holds("accepted", answer.is_ok());
        premises.holds("refused", answer.is_err());
        if let Ok(configuration) = answer {
            prop_assert_eq!(effect(configuration.parameters()), effect(instance.parameters()));
            let running = arrives(&instance, &configuration, &there);
            prop_assert_eq!(verdict(&running, &here), Some(instance.parameters().clone()));
        }
    });
    premises.at_least("accepted", 33);
    premises.at_least("refused", 33);
}

/// A verdict about a third host is the same before and after a move.
#[test]
fn the_path_does_not_matter() {
    let premises = Premises::new();
    proptest!(cases(), |(((a, device), [b, c]) in trio())| {
        let (here, there, third) = (a.real(), b.real(), c.real());
        let instance = made(&here, &device);
        let answer = check(&instance, &there);
        premises.holds("it moves", answer.is_ok());
        if let Ok(configuration) = answer {
            let running = arrives(&instance, &configuration, &there);
            let on = verdict(&running, &third);
            premises.holds("it can go on", on.is_some());
            prop_assert_eq!(on, verdict(&instance, &third));
        }
    });
    premises.at_least("it moves", 33);
    premises.at_least("it can go on", 33);
}

/// A value more, or a parameter that accepts its off value, loses nobody.
#[test]
fn additions_lose_nobody() {
    let premises = Premises::new();
    let addition = (0_usize..5, 0_u64..4);
    proptest!(cases(), |(((a, device), b) in pair(), (parameter, value) in addition)| {
        let mut more = b.clone();
        let at = NAMES[parameter];
        match more.accepts.get_mut(at) {
            Some(values) => {
                values.push(value);
                values.sort_unstable();
                values.dedup();
            }
            None if off(at).is_some() => drop(more.accepts.insert(at, vec![0, value])),
            None => {}
        }
        prop_assert!(extends(&b, &more));
        let instance = made(&a.real(), &device);
        premises.holds("more than before", more != b);
        if premises.holds("accepted before", check(&instance, &b.real()).is_ok()) {
            prop_assert!(check(&instance, &more.real()).is_ok());
        }
    });
    premises.at_least("accepted before", 33);
    premises.at_least("more than before", 50);
}

/// What is breaking by the linter is breaking, and where it finds nothing nobody is lost.
#[test]
fn the_linter_finds_every_breaking_edit() {
    let premises = Premises::new();
    proptest!(cases(), |((old, new) in releases())| {
        use devmig_model::device_model::lint::{Rule, releases};
        let (before, after) = (old.real(), new.real());
        let found = releases(("old", &before), ("new", &after));
        prop_assert!(found.iter().all(|finding| finding.rule == Rule::Breaking));
        for finding in &found {
            let witness = finding.instance.clone().unwrap().resolve().unwrap();
            prop_assert!(check(&witness, &before).is_ok());
            prop_assert!(check(&witness, &after).is_err());
        }
        premises.holds("a breaking edit", !found.is_empty());
        if premises.holds("nothing found", found.is_empty()) {
            for device in old.devices() {
                prop_assert!(new.make(&device).is_some(), "{device:?} is lost");
            }
        }
    });
    premises.at_least("a breaking edit", 33);
    premises.at_least("nothing found", 33);
}

/// What all hosts accept is accepted by all, is nearest, and is found whatever their order.
#[test]
fn a_baseline_runs_everywhere() {
    let premises = Premises::new();
    proptest!(cases(), |(hosts in proptest::collection::vec(host(), 1..4))| {
        use devmig_model::device_model::baseline::baseline;
        let real: Vec<Implementation> = hosts.iter().map(Plain::real).collect();
        let named: Vec<(&str, &Implementation)> = real.iter().map(|host| ("host", host)).collect();
        let found = baseline(&named);
        let mut turned = named.clone();
        turned.reverse();
        prop_assert_eq!(&baseline(&turned)[0].configuration, &found[0].configuration);
        // By trying everything: every device over all parameters of all hosts.
        let mut all = vec![BTreeMap::new()];
        let names: BTreeSet<&'static str> = hosts.iter().flat_map(|h| h.accepts.keys().copied()).collect();
        for name in names {
            let values = 0_u64..4;
            all = all.iter().flat_map(|device: &BTreeMap<&'static str, u64>| values.clone().map(move |value| {
                let mut device = device.clone();
                device.insert(name, value);
                device
            })).collect();
        }
        all.retain(|device| hosts.iter().all(|host| host.make(device).is_some()));
        let distance = |device: &BTreeMap<&'static str, u64>| -> u64 {
            hosts.iter().flat_map(|h| h.accepts.iter()).filter(|(n, v)| v.last() != device.get(**n)).count() as u64
        };
        premises.holds("a baseline", found[0].configuration.is_some());
        premises.holds("none", found[0].configuration.is_none());
        match &found[0].configuration {
            Some(configuration) => {
                let configuration = plain(configuration);
                prop_assert!(all.iter().any(|d| d.iter().all(|(n, v)| configuration.get(*n) == Some(v))));
                prop_assert_eq!(all.iter().map(distance).min(), Some(found[0].distance));
            }
            None => prop_assert!(all.is_empty(), "{all:?}"),
        }
    });
    premises.at_least("a baseline", 25);
    premises.at_least("none", 33);
}

/// The order of parameters, values, constraints and keys changes no verdict.
#[test]
fn order_does_not_matter() {
    let premises = Premises::new();
    proptest!(cases(), |(((a, device), b) in pair(), by in 0_u64..8)| {
        let (there, turned) = (b.real(), shuffled(&b.real(), by));
        let instance = made(&a.real(), &device);
        let (one, other) = (check(&instance, &there), check(&instance, &turned));
        premises.holds("another order", by > 0 && b.accepts.len() > 1);
        premises.holds("accepted", one.is_ok());
        premises.holds("refused", one.is_err());
        prop_assert_eq!(one.as_ref().ok(), other.as_ref().ok());
        prop_assert_eq!(one.err().map(|r| kinds(&r)), other.err().map(|r| kinds(&r)));
    });
    premises.at_least("another order", 50);
    premises.at_least("accepted", 33);
    premises.at_least("refused", 33);
}

/// What belongs to the host is not compared, and an alias is what it stands for.
#[test]
fn ports_and_aliases_do_not_matter() {
    let premises = Premises::new();
    let names = ("[a-z]{1,8}", "[a-z0-9.]{1,8}");
    proptest!(cases(), |(((a, device), b) in pair(), (port, alias) in names)| {
        let here = a.real();
        let instance = made(&here, &device);
        let external = BTreeMap::from([(name("port"), serde_json::Value::from(port))]);
        let moved = Instance::described(
            id(), instance.parameters().clone(), external, instance.definition().cloned(),
        ).unwrap();
        let answer = check(&instance, &b.real());
        premises.holds("accepted", answer.is_ok());
        premises.holds("an alias for something", instance.parameters().iter().next().is_some());
        prop_assert_eq!(answer, check(&moved, &b.real()));
        // The same host, with a name for some of the settings.
        let model = here.model(&id()).unwrap();
        let some: Settings = instance.parameters().iter().take(2).map(|(n, v)| (n.clone(), v.clone())).collect();
        let rest: Vec<(Name, Value)> = instance.parameters().iter().skip(2).map(|(n, v)| (n.clone(), v.clone())).collect();
        let named = Model::new(
            id(), model.parameters().clone(), BTreeMap::from([(name(&alias), some)]),
            model.constraints().to_vec(), None,
        ).unwrap();
        let by_alias = named.configure(Some(&alias), &rest).unwrap();
        prop_assert_eq!(by_alias.parameters(), instance.parameters());
    });
    premises.at_least("accepted", 33);
    premises.at_least("an alias for something", 50);
}

/// A new instance can be made if and only if its initial values are accepted together.
#[test]
fn defaults_are_acceptable_or_said_not_to_be() {
    let premises = Premises::new();
    proptest!(cases(), |(host in with_initial_values())| {
        let real = host.real();
        let initial: BTreeMap<&'static str, u64> =
            host.accepts.iter().filter_map(|(n, v)| Some((*n, *v.last()?))).collect();
        let found = real.model(&id()).unwrap().initial();
        prop_assert_eq!(found.is_ok(), host.make(&initial).is_some());
        premises.holds("acceptable", found.is_ok());
        premises.holds("refused", found.is_err());
        let told = devmig_model::device_model::lint::catalogue(&[("host", &real)]);
        let refused = told.iter().any(|f| f.rule == devmig_model::device_model::lint::Rule::InitialRefused);
        prop_assert_eq!(found.is_err(), refused);
    });
    premises.at_least("acceptable", 50);
    premises.at_least("refused", 8);
}
