//! Schemes in which each host describes itself by parameters: this project's, the RFC's first and third,
//! and the holes that the RFC leaves.

use std::collections::BTreeMap;

use super::{Device, Outcome, Scheme};
use crate::device_model::allowed::Allowed;
use crate::device_model::check::check;
use crate::device_model::constraint::Constraint;
use crate::device_model::implementation::{Implementation, Model, Parameter};
use crate::device_model::instance::{External, Instance};
use crate::device_model::value::{Name, Type, Value};

/// A host that is described by parameters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Host {
    says: String,
    /// What each parameter accepts, what it is at first, and where it is off.
    parameters: BTreeMap<&'static str, (Vec<u64>, u64, Option<u64>)>,
    /// Where the first is 1, the second is at least this.
    joint: Option<(&'static str, &'static str, u64)>,
    /// What it accepts by the time the device is made, if that is less.
    by_then: Option<(&'static str, u64)>,
    /// What a device of its pool was left at.
    left: BTreeMap<&'static str, u64>,
    /// How it writes state down.
    representation: u64,
}

impl Host {
    fn new(says: &str) -> Self {
        Host { says: says.to_owned(), ..Host::default() }
    }

    fn with(mut self, name: &'static str, accepts: &[u64], off: Option<u64>) -> Self {
        let init = accepts.last().copied().unwrap_or(0);
        self.parameters.insert(name, (accepts.to_vec(), init, off));
        self
    }

    /// Whether a device can be made, in earnest.
    fn makes(&self, device: &BTreeMap<&'static str, u64>) -> bool {
        let accepts = |(name, (values, _, _)): (&&'static str, &(Vec<u64>, u64, Option<u64>))| {
            device.get(name).is_some_and(|value| {
                let less = self.by_then.is_some_and(|(n, only)| n == *name && *value != only);
                values.contains(value) && !less
            })
        };
        let joint = self.joint.is_none_or(|(when, then, least)| {
            device.get(when) != Some(&1) || device.get(then).is_some_and(|value| *value >= least)
        });
        self.parameters.iter().all(accepts) && joint
    }

    fn devices(&self) -> Vec<BTreeMap<&'static str, u64>> {
        let mut all = vec![BTreeMap::new()];
        for (name, (values, _, _)) in &self.parameters {
            let with = |device: &BTreeMap<&'static str, u64>, value: u64| {
                let mut device = device.clone();
                device.insert(*name, value);
                device
            };
            let each = |device| values.iter().map(|v| with(device, *v)).collect::<Vec<_>>();
            all = all.iter().flat_map(each).collect();
        }
        all.retain(|device| self.makes(device));
        all
    }

    /// Its description, as this project reads one. Both are built here: neither can fail.
    fn described(&self) -> Option<Implementation> {
        let ints = |values: &[u64]| {
            let list: Vec<Value> = values.iter().map(|n| Value::Int(*n)).collect();
            Allowed::of(Type::Int, &list).ok()
        };
        let mut parameters = BTreeMap::new();
        for (name, (values, init, off)) in &self.parameters {
            let parameter = Parameter::new(ints(values)?, Value::Int(*init), off.map(Value::Int));
            parameters.insert(name.parse::<Name>().ok()?, parameter.ok()?);
        }
        let mut joint = Vec::new();
        if let Some((when, then, least)) = self.joint {
            let when = BTreeMap::from([(when.parse().ok()?, ints(&[1])?)]);
            let range = Value::text(&format!("{least}-{}", u64::MAX)).ok()?;
            let then =
                BTreeMap::from([(then.parse().ok()?, Allowed::of(Type::Int, &[range]).ok()?)]);
            joint.push(Constraint::Implies { when, then });
        }
        let id = "vendor-a.com/my-nic".parse().ok()?;
        Implementation::new([Model::new(id, parameters, BTreeMap::new(), joint, None).ok()?]).ok()
    }
}

/// By which rule described devices move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rule {
    /// This project's.
    Check,
    /// The third version of the RFC: what is not at its off value is listed; the destination sets the
    /// rest to its own off value, and leaves what has none at its initial value.
    V3,
    /// The first: what is listed is set, and the rest stays as it was.
    V1,
}

/// Hosts that are described, and the rule by which devices move between them.
pub(super) struct Described {
    name: &'static str,
    about: &'static str,
    rule: Rule,
    hosts: Vec<Host>,
    descriptions: Vec<Option<Implementation>>,
}

impl Described {
    pub(super) fn new(
        name: &'static str,
        about: &'static str,
        rule: Rule,
        hosts: Vec<Host>,
    ) -> Self {
        let descriptions = hosts.iter().map(Host::described).collect();
        Described { name, about, rule, hosts, descriptions }
    }

    /// What the check says, over the same hosts.
    fn adopted(&self, device: &Device, to: usize) -> Option<BTreeMap<&'static str, u64>> {
        let source = self.descriptions.get(device.host)?.as_ref()?;
        let target = self.descriptions.get(to)?.as_ref()?;
        let given: Vec<(Name, Value)> = device
            .made
            .iter()
            .filter_map(|(n, v)| Some((n.parse().ok()?, Value::Int(*v))))
            .collect();
        let model = source.models().keys().next()?;
        let instance = Instance::create(source, model, None, &given, External::new()).ok()?;
        let configuration = check(&instance, target).ok()?;
        let number = |name: &&'static str| match configuration.get(name) {
            Some(Value::Int(n)) => Some((*name, *n)),
            _ => None,
        };
        Some(self.hosts.get(to)?.parameters.keys().filter_map(number).collect())
    }

    /// What is asked for at the destination; none if the rule refuses.
    fn asked(
        &self,
        device: &Device,
        to: usize,
        here: &Host,
        there: &Host,
    ) -> Option<BTreeMap<&'static str, u64>> {
        if self.rule == Rule::Check {
            return self.adopted(device, to);
        }
        let mut asked = BTreeMap::new();
        for (name, value) in &device.made {
            let off = here.parameters.get(name).and_then(|(_, _, off)| *off);
            if off == Some(*value) && self.rule == Rule::V3 {
                continue;
            }
            let (accepts, _, _) = there.parameters.get(name)?;
            accepts.contains(value).then_some(())?;
            asked.insert(*name, *value);
        }
        for (name, (_, init, off)) in &there.parameters {
            let rest = match self.rule {
                Rule::V1 => there.left.get(name).copied().unwrap_or(*init),
                _ => off.unwrap_or(*init),
            };
            asked.entry(name).or_insert(rest);
        }
        Some(asked)
    }
}

impl Scheme for Described {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn hosts(&self) -> Vec<String> {
        self.hosts.iter().map(|host| host.says.clone()).collect()
    }

    fn devices(&self) -> Vec<Device> {
        let on = |(host, described): (usize, &Host)| {
            let made = described.devices().into_iter();
            let held = |made: BTreeMap<&'static str, u64>| {
                [0, 1].map(|state| Device { host, made: made.clone(), state })
            };
            made.flat_map(held).collect::<Vec<_>>()
        };
        self.hosts.iter().enumerate().flat_map(on).collect()
    }

    fn moves(&self, device: &Device, to: usize) -> Outcome {
        let (Some(here), Some(there)) = (self.hosts.get(device.host), self.hosts.get(to)) else {
            return Outcome::Refused;
        };
        match self.asked(device, to, here, there) {
            None => Outcome::Refused,
            Some(made) if !there.makes(&made) => Outcome::Unmade,
            Some(_) if here.representation != there.representation => Outcome::Lost,
            Some(made) => Outcome::Runs(Device { host: to, made, state: device.state }),
        }
    }

    fn extends(&self, old: usize, new: usize) -> bool {
        let (Some(old), Some(new)) = (self.hosts.get(old), self.hosts.get(new)) else {
            return false;
        };
        let kept = |(name, (values, _, off)): (&&'static str, &(Vec<u64>, u64, Option<u64>))| {
            new.parameters.get(name).is_some_and(|(now, _, now_off)| {
                off == now_off && values.iter().all(|v| now.contains(v))
            })
        };
        let added = |(name, (values, _, off)): (&&'static str, &(Vec<u64>, u64, Option<u64>))| {
            old.parameters.contains_key(name) || off.is_some_and(|off| values.contains(&off))
        };
        old != new
            && old.joint == new.joint
            && old.parameters.iter().all(kept)
            && new.parameters.iter().all(added)
    }
}

/// `f` is off at 0, `m` cannot be disabled; each is absent or accepts {0}, {1} or {0, 1}.
pub(super) fn sixteen() -> Vec<Host> {
    let variants: [&[u64]; 4] = [&[], &[0], &[1], &[0, 1]];
    let mut all = Vec::new();
    for f in variants {
        for m in variants {
            let list = |name: &str, values: &[u64]| {
                let values: Vec<_> = values.iter().map(ToString::to_string).collect();
                (!values.is_empty()).then(|| format!("{name} {{{}}}", values.join(",")))
            };
            let says: Vec<String> = [list("f", f), list("m", m)].into_iter().flatten().collect();
            let says = if says.is_empty() { "nothing".to_owned() } else { says.join(" ") };
            let host = Host::new(&says);
            let host = if f.is_empty() { host } else { host.with("f", f, Some(0)) };
            all.push(if m.is_empty() { host } else { host.with("m", m, None) });
        }
    }
    all
}

/// The RFC's name and this project's, what it shows, by which rule, and the hosts.
type Hole = ([&'static str; 2], &'static str, Rule, Vec<Host>);

/// The holes, each in the smallest universe that shows it.
pub(super) fn holes() -> Vec<Hole> {
    let with = |says: &str, name, accepts: &[u64], off| Host::new(says).with(name, accepts, off);
    let pair = |says: &str| Host::new(says).with("q", &[1, 4], None).with("f", &[0, 1], Some(0));
    let joint = Host { joint: Some(("f", "q", 3)), ..pair("f {0,1} q {1,4}, f needs q > 2") };
    let pooled = Host {
        left: BTreeMap::from([("foo", 42)]),
        ..with("foo {0,42}, left at 42", "foo", &[0, 42], Some(0))
    };
    let stale =
        Host { by_then: Some(("f", 0)), ..with("f {0,1}, by then {0}", "f", &[0, 1], Some(0)) };
    let other = Host { representation: 1, ..with("f {0,1}, a fixed bug", "f", &[0, 1], Some(0)) };
    vec![
        (
            ["H1 RFC v3", "H1 devmig"],
            "The two sides have different off values: each implementation states its own.",
            Rule::V3,
            vec![
                with("rss {0,1} off 0", "rss", &[0, 1], Some(0)),
                with("rss {0,1} off 1", "rss", &[0, 1], Some(1)),
            ],
        ),
        (
            ["H2 RFC v3", "H2 devmig"],
            "The source does not know a parameter without an off value: the RFC is silent.",
            Rule::V3,
            vec![Host::new("nothing"), with("num {64}", "num", &[64], None)],
        ),
        (
            ["H3 RFC v3", "H3 devmig"],
            "A joint constraint is visible in no list of allowed values.",
            Rule::V3,
            vec![pair("f {0,1} q {1,4}"), joint],
        ),
        (
            ["H4 RFC v1", "H4 devmig"],
            "A device from a pool keeps a parameter that the source does not know.",
            Rule::V1,
            vec![Host::new("nothing"), pooled],
        ),
        (
            ["H5 RFC v3", "H5 devmig"],
            "The off value is not an allowed value: filling it in is refused.",
            Rule::V3,
            vec![Host::new("nothing"), with("f {1} off 0", "f", &[1], Some(0))],
        ),
        (
            ["H6 RFC v3", "H6 devmig"],
            "The host changes between its description and the creation: only reading back shows \
             it.",
            Rule::V3,
            vec![with("f {0,1}", "f", &[0, 1], Some(0)), stale],
        ),
        (
            ["H7 RFC v3", "H7 devmig"],
            "The state format changes without a parameter: no description shows it.",
            Rule::V3,
            vec![with("f {0,1}", "f", &[0, 1], Some(0)), other],
        ),
    ]
}
