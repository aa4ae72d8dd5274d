//! The rivals: schemes that compare two sides without one configuration that both have to have.

use std::collections::{BTreeMap, BTreeSet};

use super::{Device, Outcome, Scheme};

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

/// A rival, in a universe of its own.
pub(super) struct Rival {
    name: &'static str,
    about: &'static str,
    hosts: &'static [&'static str],
    by: By,
}

/// All of them.
pub(super) fn rivals() -> Vec<Rival> {
    let set = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
    vec![
        Rival {
            name: "A1 subsections",
            about: "An optional part of the stream is sent if it is needed; there is no check \
                    before.",
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
            about: "A host accepts the smallest interval that contains every version whose modes \
                    it supports.",
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
            about: "A device is compatible with every later version, including unknown ones.",
            hosts: &["v1 a", "v2 a", "v3 without a"],
            by: By::Later(vec![set(&["a"]), set(&["a"]), set(&[])]),
        },
        Rival {
            name: "A5 self and compatible",
            about: "A device lists the configurations that it can become; the destination creates \
                    one of them.",
            hosts: &["0 lists 0", "0 lists 0,1", "1 lists 1", "1 lists 0,1"],
            by: By::Lists(vec![(0, vec![0]), (0, vec![0, 1]), (1, vec![1]), (1, vec![0, 1])]),
        },
        Rival {
            name: "A6 subset, unmasked",
            about: "The destination has at least the source's capabilities, and shows all that it \
                    has.",
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
            about: "Version strings are equal (k options take 2^k of them); the second host \
                    redefined v2.",
            hosts: &["v1 {} v2 {f}", "v1 {} v2 {f g}"],
            by: By::Versions(vec![
                BTreeMap::from([(1, set(&[])), (2, set(&["f"]))]),
                BTreeMap::from([(1, set(&[])), (2, set(&["f", "g"]))]),
            ]),
        },
    ]
}

/// The fourth version of the RFC: where its strings mean what they meant, and where one was redefined.
pub(super) fn versions() -> Vec<Box<dyn Scheme>> {
    let about = "Version strings are equal: each is a name for one configuration.";
    let plain = BTreeMap::from([(1, BTreeSet::new())]);
    let both = BTreeMap::from([(1, BTreeSet::new()), (2, BTreeSet::from(["f"]))]);
    let later = BTreeMap::from([(2, BTreeSet::from(["f"]))]);
    let kept = Rival {
        name: "RFC v4",
        about,
        hosts: &["v1 {}", "v1 {} v2 {f}", "v2 {f}"],
        by: By::Versions(vec![plain, both, later]),
    };
    let redefined = rivals().into_iter().filter(|rival| matches!(rival.by, By::Versions(_)));
    [kept].into_iter().chain(redefined).map(|rival| Box::new(rival) as Box<dyn Scheme>).collect()
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
            // All versions that it has, as they were.
            By::Versions(all) => all.get(old).zip(all.get(new)).is_some_and(|(before, after)| {
                old != new && before.iter().all(|(name, modes)| after.get(name) == Some(modes))
            }),
            By::Later(_) | By::Opaque(_) => false,
        }
    }
}
