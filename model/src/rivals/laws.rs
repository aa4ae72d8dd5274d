//! The laws, each held against every case of a scheme's universe.

use std::fmt;

use serde::Serialize;

use super::{Device, Outcome, Scheme};

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

/// Holds a scheme against one law, case by case.
pub(super) fn cell(scheme: &dyn Scheme, law: Law) -> Cell {
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
            Outcome::Unmade => "accepted, but cannot be created".to_owned(),
            Outcome::Lost => "accepted, but its state cannot be loaded".to_owned(),
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
