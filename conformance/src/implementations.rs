//! Real implementations, and what each is known to do.
//!
//! ```text
//!  implementations/NAME.toml --> Peer --run the suite--> report --hold against--> Verdict
//!                                 install, version, spawn,           new, gone, unknown version,
//!                                 known deviations                   not run
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `implementations.rs` | what is known: the files, loaded and validated |
//! | `installed.rs` | programs of others: installed, found, asked for their version |
//! | `run.rs` | installing, running, and holding the report against it |
//! | `kernel.rs` | the same of a kernel's driver: how it is built, and its suite in guests |
//! | `matrix.rs` | several at once, in one document |
//!
//! A deviation is held for a range of versions, as `always` or `sometimes`: for a listed version a
//! new one fails, and so does an `always` that is gone; a `sometimes` is tried a stated number of
//! times and never fails for being absent. A version that is not listed runs and fails only for an
//! error of the harness.
//!
//! What a listed version offers, and how it reads what the text leaves open, is held too: an offer
//! that differs fails, and so does a reading that excludes every option that is held.
//!
//! **Invariants.** A sensitive deviation is shown by its clause alone, and its tests by a pattern.
//! No peer is installed without being asked for.

pub(crate) mod installed;
mod kernel;
pub mod matrix;
mod run;
mod setting;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use devmig_model::registry::Library;
use devmig_model::spec::{
    Diagnostics, Item, SourceFile, Spanned, SpecErrors, did_you_mean, matches, with_help,
};
use serde::Deserialize;

use crate::harness::report::{Offers, hexadecimal};
use crate::vhost_user::session::Device;
use crate::vhost_user::suite::Test;

pub use installed::Missing;
pub use run::Verdict;
pub(crate) use run::{Finding, found, redact, words as deviates};
pub use setting::Setting;
pub(crate) use setting::cache;

macro_rules! builtin {
    ($($name:literal)*) => {
        /// The peers' files: name and text.
        pub const BUILTIN: &[(&str, &str)] =
            &[$((concat!("implementations/", $name), include_str!(concat!("../implementations/", $name)))),*];
    };
}
builtin! {
    "dpdk-testpmd.toml"
    "linux-mtty.toml"
    "qemu-storage-daemon.toml"
    "vhost-device-console.toml"
    "vhost-device-rng.toml"
    "virtiofsd.toml"
    "virtiofsd-thread-pool.toml"
}

/// One `[[peer]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPeer {
    name: Spanned<String>,
    about: Spanned<String>,
    device: DeviceName,
    spawn: Spanned<String>,
    /// For a slow implementation: run only every N-th of the tests in which life-cycle actions meet.
    #[serde(default = "one", rename = "pairs-one-in")]
    pairs_one_in: NonZeroUsize,
    version: Spanned<String>,
    listed: Vec<String>,
    install: Vec<Spanned<String>>,
    features: Spanned<String>,
    protocol_features: Spanned<String>,
    readings: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
}

/// One `[[kernel]]`: a kernel of our own with a driver of VFIO devices.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKernel {
    name: Spanned<String>,
    about: Spanned<String>,
    /// The type of the mediated device.
    device: Spanned<String>,
    version: Spanned<String>,
    listed: Vec<String>,
    install: Vec<Spanned<String>>,
    features: Spanned<String>,
    readings: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DeviceName {
    Net,
    Blk,
    Fs,
    Rng,
    Console,
    None,
}

/// One `[[deviation]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDeviation {
    test: Spanned<String>,
    clause: Spanned<String>,
    since: String,
    until: Option<String>,
    when: When,
    #[serde(default = "five")]
    tries: usize,
    #[serde(default)]
    sensitive: bool,
    evidence: Option<Spanned<String>>,
}

fn five() -> usize {
    5
}

fn one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

/// How reliably a deviation is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// In every run.
    Always,
    /// In some.
    Sometimes,
}

/// A deviation that is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deviation {
    /// The tests that show it; `*` stands for anything.
    pub test: String,
    /// The clause that is broken.
    pub clause: String,
    /// The first version with it.
    pub since: String,
    /// The first version without it, if one is known.
    pub until: Option<String>,
    /// How reliably it is seen.
    pub when: When,
    /// How often a `sometimes` is tried.
    pub tries: usize,
    /// It could be exploited: neither evidence nor a way to reproduce it is shown.
    pub sensitive: bool,
    /// What was seen; none if it is sensitive.
    pub evidence: Option<String>,
}

/// What an implementation serves, and how it is started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Serves {
    /// A device over vhost-user.
    VhostUser {
        /// What kind of device.
        device: Device,
        /// How it is started; see [`crate::harness::io::process::Command`].
        spawn: String,
        /// Every N-th of the tests in which life-cycle actions meet is run.
        pairs_one_in: NonZeroUsize,
    },
    /// A mediated device, in a kernel that runs as a process (see [`crate::vfio::guest`]).
    Mediated {
        /// Its type.
        device: String,
    },
}

/// A real implementation.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// What it serves.
    pub serves: Serves,
    /// How it tells its version.
    pub version: String,
    /// The versions for which the deviations are held.
    pub listed: Vec<String>,
    /// Shell commands that install it, in order.
    pub install: Vec<String>,
    /// What the listed versions offer.
    pub offers: Offers,
    /// How they read what the text leaves open: for each choice, the options not excluded.
    pub readings: BTreeMap<String, Vec<String>>,
    /// What it is known to do.
    pub known: Vec<Deviation>,
}

/// The peers that are built in.
///
/// # Errors
/// Every problem of every file.
pub fn builtin(library: &Library, suite: &[Test]) -> Result<Vec<Peer>, SpecErrors> {
    let ids: Vec<&str> = suite.iter().map(|test| test.id.as_str()).collect();
    let vfio = crate::vfio::suite::whole(library)?;
    let vfio_ids: Vec<&str> = vfio.iter().map(|test| test.id.as_str()).collect();
    let mut d = Diagnostics::default();
    let mut peers = Vec::new();
    for (name, text) in BUILTIN {
        let file = SourceFile::new(*name, *text);
        let mut tables = file.parse(&mut d);
        let heads: Vec<Item<RawPeer>> = tables.items("peer", &mut d);
        let kernels: Vec<Item<RawKernel>> = tables.items("kernel", &mut d);
        let known: Vec<Item<RawDeviation>> = tables.items("deviation", &mut d);
        tables.finish(&["peer", "kernel", "deviation"], &mut d);
        let ids = if kernels.is_empty() { &ids } else { &vfio_ids };
        let known: Vec<Deviation> =
            known.iter().map(|item| deviation(library, ids, item, &mut d)).collect();
        peers.extend(heads.iter().map(|item| peer(library, item, &known, &mut d)));
        peers.extend(kernels.iter().map(|item| kernel(library, item, &known, &mut d)));
    }
    d.finish(peers)
}

fn peer(library: &Library, item: &Item<RawPeer>, known: &[Deviation], d: &mut Diagnostics) -> Peer {
    let raw = &item.value;
    let readings = readings(library, item, &raw.readings, d);
    let device = match raw.device {
        DeviceName::Net => Device::Net,
        DeviceName::Blk => Device::Blk,
        DeviceName::Rng => Device::Rng,
        DeviceName::Console => Device::Console,
        DeviceName::Fs => Device::Fs,
        DeviceName::None => Device::None,
    };
    Peer {
        name: raw.name.get_ref().clone(),
        about: raw.about.get_ref().clone(),
        serves: Serves::VhostUser {
            device,
            spawn: raw.spawn.get_ref().clone(),
            pairs_one_in: raw.pairs_one_in,
        },
        version: raw.version.get_ref().clone(),
        listed: raw.listed.clone(),
        install: words(&raw.install),
        offers: Offers {
            features: number(item, &raw.features, d),
            protocol_features: number(item, &raw.protocol_features, d),
        },
        readings,
        known: known.to_vec(),
    }
}

fn kernel(
    library: &Library,
    item: &Item<RawKernel>,
    known: &[Deviation],
    d: &mut Diagnostics,
) -> Peer {
    let raw = &item.value;
    Peer {
        name: raw.name.get_ref().clone(),
        about: raw.about.get_ref().clone(),
        serves: Serves::Mediated { device: raw.device.get_ref().clone() },
        version: raw.version.get_ref().clone(),
        listed: raw.listed.clone(),
        install: words(&raw.install),
        offers: Offers {
            features: number(item, &raw.features, d),
            protocol_features: String::new(),
        },
        readings: readings(library, item, &raw.readings, d),
        known: known.to_vec(),
    }
}

fn words(list: &[Spanned<String>]) -> Vec<String> {
    list.iter().map(|word| word.get_ref().clone()).collect()
}

/// Features, as they are written.
fn number<T>(item: &Item<T>, number: &Spanned<String>, d: &mut Diagnostics) -> String {
    if hexadecimal(number.get_ref()).is_none() {
        d.push(item.error(number.span(), "features are hexadecimal: 0x…", "no such number"));
    }
    number.get_ref().clone()
}

fn readings<T>(
    library: &Library,
    item: &Item<T>,
    raw: &BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
    d: &mut Diagnostics,
) -> BTreeMap<String, Vec<String>> {
    let spec = &library.spec;
    for (name, options) in raw {
        let Ok(choice) = spec.choice(name.get_ref()) else {
            let known = spec.choices().iter().map(|choice| choice.id.as_str());
            let message = format!("no choice is called `{}`", name.get_ref());
            let error = item.error(name.span(), message, "unknown choice");
            d.push(with_help(error, did_you_mean(name.get_ref(), known)));
            continue;
        };
        for option in options {
            if spec.option(choice, option.get_ref()).is_none() {
                let message = format!("{} has no option `{}`", name.get_ref(), option.get_ref());
                d.push(item.error(option.span(), message, "unknown option"));
            }
        }
    }
    raw.iter().map(|(name, options)| (name.get_ref().clone(), words(options))).collect()
}

/// A deviation from one of these tests.
pub(crate) fn deviation(
    library: &Library,
    tests: &[&str],
    item: &Item<RawDeviation>,
    d: &mut Diagnostics,
) -> Deviation {
    let raw = &item.value;
    library.spec.clause_at(item, &raw.clause, d);
    if !tests.iter().any(|test| matches(raw.test.get_ref(), test)) {
        let message = format!("no test is called `{}`", raw.test.get_ref());
        d.push(item.error(raw.test.span(), message, "unknown test"));
    }
    match (&raw.evidence, raw.sensitive) {
        (None, false) => {
            let help = "state what was observed, with the version and the command";
            let error = item.error(raw.test.span(), "a deviation needs `evidence`", "here");
            d.push(error.help(help));
        }
        (Some(evidence), true) => {
            let message = "a sensitive deviation must not have evidence";
            d.push(item.error(evidence.span(), message, "leave this out"));
        }
        _ => {}
    }
    Deviation {
        test: raw.test.get_ref().clone(),
        clause: raw.clause.get_ref().clone(),
        since: raw.since.clone(),
        until: raw.until.clone(),
        when: raw.when,
        tries: raw.tries,
        sensitive: raw.sensitive,
        evidence: raw.evidence.as_ref().map(|evidence| evidence.get_ref().clone()),
    }
}

/// A version as numbers, for comparing; what is no number counts as 0.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

impl Peer {
    /// The protocol features that it offers, as bits.
    #[must_use]
    pub fn protocol_features(&self) -> u64 {
        self.offers.protocol_bits()
    }
}

impl Deviation {
    /// Whether a finding is this one.
    pub(crate) fn is(&self, (test, clause): &(String, String)) -> bool {
        matches(&self.test, test) && self.clause == *clause
    }

    /// Whether it is held for this version.
    #[must_use]
    pub fn covers(&self, version: &str) -> bool {
        let version = numbers(version);
        version >= numbers(&self.since)
            && self.until.as_ref().is_none_or(|until| version < numbers(until))
    }
}
