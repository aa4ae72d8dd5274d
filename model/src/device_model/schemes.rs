//! Rival schemes, and the holes of the RFC's own, each in the smallest universe that shows it: which law
//! does which scheme keep?
//!
//! ```text
//!   Scheme: hosts, devices, what becomes of a device that moves --laws--> holds | violated, and by what
//! ```
//!
//! A scheme is a rule that computes outcomes; no outcome is written down. A law is held against every
//! case of the universe, in order, so the counterexample that is shown is the first and smallest. Where
//! no case has what a law supposes, it says so instead of holding.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::allowed::Allowed;
use super::check::check;
use super::constraint::Constraint;
use super::implementation::{Implementation, Model, Parameter};
use super::instance::{External, Instance};
use super::value::{Name, Type, Value};

/// What a device is, as its guest sees it, and what it holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Device {
    /// The host that it runs on.
    pub host: usize,
    /// What it was made as; what is absent is 0.
    pub made: BTreeMap<&'static str, u64>,
    /// What its guest has put into it.
    pub state: u64,
}

/// What becomes of a device that is to move.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The check refuses: nothing has happened.
    Refused,
    /// The check accepts, and the destination cannot make the device.
    Unmade,
    /// The check accepts, the source stops, and the state cannot be loaded.
    Lost,
    /// It runs at the destination.
    Runs(Device),
}

impl Outcome {
    /// Whether the check said yes.
    fn accepted(&self) -> bool {
        *self != Outcome::Refused
    }
}

/// A scheme, in a small universe.
pub trait Scheme {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Its rule, and what is special about its universe.
    fn about(&self) -> &'static str;
    /// The hosts, by name.
    fn hosts(&self) -> Vec<String>;
    /// What a host says of itself.
    fn says(&self, host: usize) -> String {
        self.hosts().swap_remove(host)
    }
    /// The devices, smallest first: for each that is there, all states that its guest may put it in.
    fn devices(&self) -> Vec<Device>;
    /// What becomes of a device that is to move to a host.
    fn moves(&self, device: &Device, to: usize) -> Outcome;
    /// Whether a host is a later release of another, to which things were only added.
    fn extends(&self, old: usize, new: usize) -> bool {
        let _ = (old, new);
        false
    }
}

/// What should hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Law {
    /// A host takes what it made itself.
    Reflexive,
    /// What is accepted can be made.
    Made,
    /// What is made can be loaded: nothing fails once the source has stopped.
    Loads,
    /// What runs is what ran: nothing is added or lost.
    Unchanged,
    /// What has moved can move back, whatever its guest did meanwhile.
    Rollback,
    /// What can go on from where it went could have gone there directly.
    Transitive,
    /// What could have gone somewhere directly can go on there from where it went.
    Onward,
    /// A later release that only adds takes what the one before took.
    Monotone,
    /// The answer does not hang on what the guest has done.
    Static,
    /// Hosts that say the same of themselves give the same answer.
    Predictable,
}

impl Law {
    /// All, in the order of the table.
    pub const ALL: [Law; 10] = [
        Law::Reflexive,
        Law::Made,
        Law::Loads,
        Law::Unchanged,
        Law::Rollback,
        Law::Transitive,
        Law::Onward,
        Law::Monotone,
        Law::Static,
        Law::Predictable,
    ];
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Law::Reflexive => "reflexive",
            Law::Made => "made",
            Law::Loads => "loads",
            Law::Unchanged => "unchanged",
            Law::Rollback => "rollback",
            Law::Transitive => "transitive",
            Law::Onward => "onward",
            Law::Monotone => "monotone",
            Law::Static => "static",
            Law::Predictable => "predictable",
        })
    }
}

/// Whether a scheme keeps a law.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Cell {
    /// The law.
    pub law: Law,
    /// Whether it holds; null if no case of the universe has what it supposes.
    pub holds: Option<bool>,
    /// How many cases it was held against.
    pub cases: usize,
    /// The first case that breaks it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counterexample: Option<String>,
}

/// A scheme against all laws.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Row {
    /// The scheme.
    pub scheme: &'static str,
    /// Its rule.
    pub about: &'static str,
    /// In the order of [`Law::ALL`].
    pub cells: Vec<Cell>,
}

/// Holds a scheme against all laws.
#[must_use]
pub fn judge(scheme: &dyn Scheme) -> Row {
    let cells = Law::ALL.iter().map(|law| cell(scheme, *law)).collect();
    Row { scheme: scheme.name(), about: scheme.about(), cells }
}

/// Every scheme against all laws.
#[must_use]
pub fn table() -> Vec<Row> {
    all().iter().map(|scheme| judge(&**scheme)).collect()
}

fn cell(scheme: &dyn Scheme, law: Law) -> Cell {
    let mut cases = Cases { scheme, hosts: scheme.hosts(), count: 0, first: None };
    let devices = scheme.devices();
    let hosts = 0..cases.hosts.len();
    for device in &devices {
        for to in hosts.clone() {
            cases.of(law, device, to, &devices);
        }
    }
    Cell {
        law,
        holds: (cases.count > 0).then_some(cases.first.is_none()),
        cases: cases.count,
        counterexample: cases.first,
    }
}

struct Cases<'a> {
    scheme: &'a dyn Scheme,
    hosts: Vec<String>,
    count: usize,
    first: Option<String>,
}

impl Cases<'_> {
    fn holds(&mut self, holds: bool, otherwise: impl FnOnce(&Self) -> String) {
        self.count += 1;
        if !holds && self.first.is_none() {
            self.first = Some(otherwise(self));
        }
    }

    fn is(&self, device: &Device) -> String {
        let made: Vec<_> = device.made.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let made = if made.is_empty() { String::new() } else { format!(" {}", made.join(" ")) };
        let state =
            if device.state == 0 { String::new() } else { format!(" holding {}", device.state) };
        let host = self.hosts.get(device.host).map_or("", String::as_str);
        format!("[{host}]{made}{state}")
    }

    fn to(&self, device: &Device, to: usize) -> String {
        let host = self.hosts.get(to).map_or("", String::as_str);
        let end = match self.scheme.moves(device, to) {
            Outcome::Refused => "refused".to_owned(),
            Outcome::Unmade => "accepted, and cannot be made".to_owned(),
            Outcome::Lost => "accepted, and its state cannot be loaded".to_owned(),
            Outcome::Runs(there) => format!("runs as {}", self.is(&there)),
        };
        format!("{} to [{host}]: {end}", self.is(device))
    }

    fn of(&mut self, law: Law, device: &Device, to: usize, devices: &[Device]) {
        let scheme = self.scheme;
        let outcome = scheme.moves(device, to);
        match (law, &outcome) {
            (Law::Reflexive, _) if to == device.host => {
                let same = matches!(&outcome, Outcome::Runs(there) if there == device);
                self.holds(same, |s| s.to(device, to));
            }
            (Law::Made, _) if outcome.accepted() => {
                self.holds(outcome != Outcome::Unmade, |s| s.to(device, to));
            }
            (Law::Loads, Outcome::Lost | Outcome::Runs(_)) => {
                self.holds(outcome != Outcome::Lost, |s| s.to(device, to));
            }
            (Law::Unchanged, Outcome::Runs(there)) => {
                let on = |d: &Device| {
                    let made = d.made.iter().filter(|(_, v)| **v != 0);
                    (made.map(|(n, v)| (*n, *v)).collect::<Vec<_>>(), d.state)
                };
                self.holds(on(there) == on(device), |s| s.to(device, to));
            }
            (Law::Rollback, Outcome::Runs(there)) if to != device.host => {
                let later = devices.iter().filter(|d| d.host == to && d.made == there.made);
                for later in later {
                    let back = matches!(scheme.moves(later, device.host), Outcome::Runs(_));
                    self.holds(back, |s| {
                        format!("{}; then {}", s.to(device, to), s.to(later, device.host))
                    });
                }
            }
            (Law::Transitive | Law::Onward, Outcome::Runs(there)) => {
                for third in 0..self.hosts.len() {
                    let direct = scheme.moves(device, third).accepted();
                    let over = scheme.moves(there, third).accepted();
                    let (first, then) =
                        if law == Law::Onward { (direct, over) } else { (over, direct) };
                    if first {
                        self.holds(then, |s| {
                            let (to, on) = (s.to(device, to), s.to(there, third));
                            format!("{to}; then {on}; directly, {}", s.to(device, third))
                        });
                    }
                }
            }
            (Law::Monotone, _) if outcome.accepted() => {
                for new in (0..self.hosts.len()).filter(|new| scheme.extends(to, *new)) {
                    let taken = scheme.moves(device, new).accepted();
                    self.holds(taken, |s| format!("{}; {}", s.to(device, to), s.to(device, new)));
                }
            }
            (Law::Static, _) => {
                let alike = |d: &&Device| {
                    d.host == device.host && d.made == device.made && d.state > device.state
                };
                for other in devices.iter().filter(alike) {
                    let ends = |o: &Outcome| std::mem::discriminant(o);
                    let same = ends(&scheme.moves(other, to)) == ends(&outcome);
                    self.holds(same, |s| format!("{}; {}", s.to(device, to), s.to(other, to)));
                }
            }
            (Law::Predictable, _) => {
                for twin in to + 1..self.hosts.len() {
                    if scheme.says(twin) == scheme.says(to) {
                        let same = scheme.moves(device, twin).accepted() == outcome.accepted();
                        self.holds(same, |s| {
                            format!("{}; its twin: {}", s.to(device, to), s.to(device, twin))
                        });
                    }
                }
            }
            _ => {}
        }
    }
}

/// All schemes: this project's, the rivals, and the RFC's with each of its holes, before this project's
/// in the same universe.
#[must_use]
pub fn all() -> Vec<Box<dyn Scheme>> {
    let ours =
        "This project's check, over sixteen hosts with two parameters, and one of them twice.";
    let hosts = sixteen().into_iter().chain(sixteen().pop()).collect();
    let mut all: Vec<Box<dyn Scheme>> =
        vec![Box::new(Described::new("devmig", ours, Rule::Check, hosts))];
    all.extend(rivals().into_iter().map(|rival| Box::new(rival) as Box<dyn Scheme>));
    for (names, about, rule, hosts) in holes() {
        all.push(Box::new(Described::new(names[0], about, rule, hosts.clone())));
        let name = names[1];
        let about = match name {
            "H6 devmig" => {
                "The same: no description tells. Reading back does, before the source stops."
            }
            "H7 devmig" => "The same: no description tells. State kept from each release does.",
            _ => "The same hosts, by this project's check.",
        };
        all.push(Box::new(Described::new(name, about, Rule::Check, hosts)));
    }
    all
}

/// A host that is described by parameters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Host {
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
enum Rule {
    /// This project's.
    Check,
    /// The third version of the RFC: what is not at its off value is listed; the destination sets the
    /// rest to its own off value, and leaves what has none at its initial value.
    V3,
    /// The first: what is listed is set, and the rest stays as it was.
    V1,
}

struct Described {
    name: &'static str,
    about: &'static str,
    rule: Rule,
    hosts: Vec<Host>,
    descriptions: Vec<Option<Implementation>>,
}

impl Described {
    fn new(name: &'static str, about: &'static str, rule: Rule, hosts: Vec<Host>) -> Self {
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
            if off == Some(*value) {
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
fn sixteen() -> Vec<Host> {
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

type Hole = ([&'static str; 2], &'static str, Rule, Vec<Host>);

/// The holes, each in the smallest universe that shows it.
fn holes() -> Vec<Hole> {
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
            "An off value differs between the ends: each implementation states its own.",
            Rule::V3,
            vec![
                with("rss {0,1} off 0", "rss", &[0, 1], Some(0)),
                with("rss {0,1} off 1", "rss", &[0, 1], Some(1)),
            ],
        ),
        (
            ["H2 RFC v3", "H2 devmig"],
            "A parameter without off value that an older source does not know: the text is silent.",
            Rule::V3,
            vec![Host::new("nothing"), with("num {64}", "num", &[64], None)],
        ),
        (
            ["H3 RFC v3", "H3 devmig"],
            "A joint constraint that no list of allowed values tells.",
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
            "The off value is not among the allowed ones: the step that fills in is itself refused.",
            Rule::V3,
            vec![Host::new("nothing"), with("f {1} off 0", "f", &[1], Some(0))],
        ),
        (
            ["H6 RFC v3", "H6 devmig"],
            "The host changes between its description and the creation: only reading back tells.",
            Rule::V3,
            vec![with("f {0,1}", "f", &[0, 1], Some(0)), stale],
        ),
        (
            ["H7 RFC v3", "H7 devmig"],
            "State is written down in another way, and no parameter says so: no description tells.",
            Rule::V3,
            vec![with("f {0,1}", "f", &[0, 1], Some(0)), other],
        ),
    ]
}

/// How a rival decides.
#[derive(Clone, Debug)]
enum By {
    /// The newer host's stream has a part for X if X is not 0.
    Subsections,
    /// A host loads versions from the first to the second, and saves the second.
    Version(Vec<(u64, u64)>),
    /// Modes of each version; a host accepts an interval of versions.
    Range(Vec<BTreeSet<&'static str>>),
    /// Modes of each version; a device accepts its own version and all later ones.
    Later(Vec<BTreeSet<&'static str>>),
    /// What each is, and what it lists.
    Lists(Vec<(u64, Vec<u64>)>),
    /// What each has; the destination shows all that it has.
    Capabilities(Vec<BTreeSet<&'static str>>),
    /// Which accepts which: the drivers know.
    Opaque(Vec<(usize, usize)>),
    /// What each version string means on each host.
    Versions(Vec<BTreeMap<u64, BTreeSet<&'static str>>>),
}

struct Rival {
    name: &'static str,
    about: &'static str,
    hosts: &'static [&'static str],
    by: By,
}

fn rivals() -> Vec<Rival> {
    let set = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
    vec![
        Rival {
            name: "A1 subsections",
            about: "An optional part of the stream is sent if it is needed; no check comes before.",
            hosts: &["old", "new, knows X"],
            by: By::Subsections,
        },
        Rival {
            name: "A2 version and minimum",
            about: "A host saves its version, and loads from a minimum up to it.",
            hosts: &["1..1", "1..2", "2..2"],
            by: By::Version(vec![(1, 1), (1, 2), (2, 2)]),
        },
        Rival {
            name: "A3 range of versions",
            about: "A host accepts the least interval that holds every version whose modes it has.",
            hosts: &["v0 none", "v1 +ppgtt", "v2 +context", "v3 -ppgtt"],
            by: By::Range(vec![
                set(&["none"]),
                set(&["none", "ppgtt"]),
                set(&["context", "none", "ppgtt"]),
                set(&["context", "none"]),
            ]),
        },
        Rival {
            name: "A4 this version or later",
            about: "A device is compatible with every later version, also with those never seen.",
            hosts: &["v1 a", "v2 a", "v3 without a"],
            by: By::Later(vec![set(&["a"]), set(&["a"]), set(&[])]),
        },
        Rival {
            name: "A5 self and compatible",
            about: "A device lists what it can become; the destination makes it so.",
            hosts: &["0 lists 0", "0 lists 0,1", "1 lists 1", "1 lists 0,1"],
            by: By::Lists(vec![(0, vec![0]), (0, vec![0, 1]), (1, vec![1]), (1, vec![0, 1])]),
        },
        Rival {
            name: "A6 subset, unmasked",
            about: "The destination has at least the source's capabilities, and shows all of its own.",
            hosts: &["a", "a b"],
            by: By::Capabilities(vec![set(&["a"]), set(&["a", "b"])]),
        },
        Rival {
            name: "A7 opaque string",
            about: "The destination's driver is asked; two of the three have the same string.",
            hosts: &["A i915-v1", "B i915-v1", "C i915-v2"],
            by: By::Opaque(vec![(0, 1), (1, 2)]),
        },
        Rival {
            name: "A8 RFC v4, equal strings",
            about: "Version strings are equal (k options take 2^k of them); the second host redefined v2.",
            hosts: &["v1 {} v2 {f}", "v1 {} v2 {f g}"],
            by: By::Versions(vec![
                BTreeMap::from([(1, set(&[])), (2, set(&["f"]))]),
                BTreeMap::from([(1, set(&[])), (2, set(&["f", "g"]))]),
            ]),
        },
    ]
}

/// A device with these modes.
fn shows<'a>(modes: impl IntoIterator<Item = &'a &'static str>) -> BTreeMap<&'static str, u64> {
    modes.into_iter().map(|mode| (*mode, 1)).collect()
}

impl Scheme for Rival {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn says(&self, host: usize) -> String {
        let name = self.hosts.get(host).copied().unwrap_or_default();
        match &self.by {
            // Which host it is, is no part of the string.
            By::Opaque(_) => name.split_once(' ').map_or(name, |(_, string)| string).to_owned(),
            _ => name.to_owned(),
        }
    }

    fn hosts(&self) -> Vec<String> {
        self.hosts.iter().map(|host| (*host).to_owned()).collect()
    }

    fn devices(&self) -> Vec<Device> {
        let made = |host: usize, made, state| Device { host, made, state };
        let plain = |host| made(host, BTreeMap::new(), 0);
        let hosts = 0..self.hosts.len();
        match &self.by {
            By::Subsections => {
                hosts.flat_map(|h| [0, 5].map(|x| made(h, BTreeMap::new(), x))).collect()
            }
            By::Version(_) | By::Opaque(_) => hosts.map(plain).collect(),
            By::Range(modes) | By::Later(modes) => {
                // What the guest uses is state: the device offers all modes of its version.
                let on = |(host, modes): (usize, &BTreeSet<&'static str>)| {
                    let uses = |mode: &&'static str| u64::from(*mode == "ppgtt" || *mode == "a");
                    let states: BTreeSet<u64> = modes.iter().map(uses).chain([0]).collect();
                    states.into_iter().map(|s| made(host, BTreeMap::new(), s)).collect::<Vec<_>>()
                };
                modes.iter().enumerate().flat_map(on).collect()
            }
            By::Lists(lists) => {
                let on = |(host, (own, _)): (usize, &(u64, _))| {
                    made(host, BTreeMap::from([("self", *own)]), 0)
                };
                lists.iter().enumerate().map(on).collect()
            }
            By::Capabilities(all) => {
                all.iter().enumerate().map(|(host, own)| made(host, shows(own), 0)).collect()
            }
            By::Versions(all) => {
                let on = |(host, versions): (usize, &BTreeMap<u64, BTreeSet<&'static str>>)| {
                    let each = versions.values().map(|modes| made(host, shows(modes), 0));
                    each.collect::<Vec<_>>()
                };
                all.iter().enumerate().flat_map(on).collect()
            }
        }
    }

    fn moves(&self, device: &Device, to: usize) -> Outcome {
        let from = device.host;
        let runs = |made, state| Outcome::Runs(Device { host: to, made, state });
        let same = || runs(device.made.clone(), device.state);
        // The mode in use, in the two schemes in which it is state.
        let has = |modes: &BTreeSet<&'static str>| {
            device.state == 0 || modes.contains("ppgtt") || modes.contains("a")
        };
        let answer = match &self.by {
            By::Subsections => Some(match (from, to, device.state) {
                (1, 0, x) if x != 0 => Outcome::Lost,
                (0, 1, _) => runs(BTreeMap::new(), 0),
                _ => same(),
            }),
            By::Version(all) => {
                all.get(to).zip(all.get(from)).map(|((least, most), (_, saved))| {
                    if (least..=most).contains(&saved) { same() } else { Outcome::Refused }
                })
            }
            By::Range(all) => all.get(to).map(|own| {
                let fits = |(_, modes): &(usize, &BTreeSet<_>)| modes.is_subset(own);
                let versions: Vec<usize> =
                    all.iter().enumerate().filter(fits).map(|(version, _)| version).collect();
                let within = versions.first().zip(versions.last());
                match within.is_some_and(|(least, most)| (least..=most).contains(&&from)) {
                    false => Outcome::Refused,
                    true if has(own) => same(),
                    true => Outcome::Lost,
                }
            }),
            By::Later(all) => all.get(to).map(|own| match to >= from {
                false => Outcome::Refused,
                true if has(own) => same(),
                true => Outcome::Lost,
            }),
            By::Lists(all) => all.get(from).zip(all.get(to)).map(|((_, listed), (own, _))| {
                match listed.contains(own) {
                    true => runs(BTreeMap::from([("self", *own)]), 0),
                    false => Outcome::Refused,
                }
            }),
            By::Capabilities(all) => {
                all.get(to).map(|own| match device.made.keys().all(|mode| own.contains(mode)) {
                    true => runs(shows(own), 0),
                    false => Outcome::Refused,
                })
            }
            By::Opaque(pairs) => Some(match from == to || pairs.contains(&(from, to)) {
                true => same(),
                false => Outcome::Refused,
            }),
            By::Versions(all) => all.get(from).zip(all.get(to)).map(|(here, there)| {
                let version = here.iter().find(|(_, modes)| shows(*modes) == device.made);
                match version.and_then(|(version, _)| there.get(version)) {
                    Some(modes) => runs(shows(modes), 0),
                    None => Outcome::Refused,
                }
            }),
        };
        answer.unwrap_or(Outcome::Refused)
    }

    fn extends(&self, old: usize, new: usize) -> bool {
        match &self.by {
            By::Subsections => (old, new) == (0, 1),
            By::Version(all) => all
                .get(old)
                .zip(all.get(new))
                .is_some_and(|(old, new)| old != new && new.0 <= old.0 && old.1 <= new.1),
            By::Range(all) | By::Capabilities(all) => all
                .get(old)
                .zip(all.get(new))
                .is_some_and(|(before, after)| old != new && before.is_subset(after)),
            // A later device whose list has all that the earlier one's had.
            By::Lists(all) => all.get(old).zip(all.get(new)).is_some_and(|(before, after)| {
                old != new && before.0 <= after.0 && before.1.iter().all(|n| after.1.contains(n))
            }),
            By::Later(_) | By::Opaque(_) | By::Versions(_) => false,
        }
    }
}

/// The table, and for each broken law its counterexample unless `brief`.
#[must_use]
pub fn text(rows: &[Row], brief: bool) -> String {
    let width = rows.iter().map(|row| row.scheme.len()).max().unwrap_or(0);
    let mut out = format!("{:width$}", "");
    for law in Law::ALL {
        out += &format!("  {law:<11}");
    }
    out = out.trim_end().to_owned() + "\n";
    for row in rows {
        let mut line = format!("{:width$}", row.scheme);
        for cell in &row.cells {
            let word = match cell.holds {
                Some(true) => "holds",
                Some(false) => "violated",
                None => "-",
            };
            line += &format!("  {word:<11}");
        }
        out += line.trim_end();
        out.push('\n');
    }
    if brief {
        return out;
    }
    for row in rows {
        out += &format!("\n{}: {}\n", row.scheme, row.about);
        for cell in &row.cells {
            if let Some(counterexample) = &cell.counterexample {
                out += &format!("  {}: {counterexample}\n", cell.law);
            }
        }
    }
    out
}
