//! `implementations/qemu.toml`: a front-end, the scenarios it takes part in, and what is known to be found.
//!
//! A deviation is held as those of back-ends are: for a listed version a new one fails, and so does
//! one that is gone.

use std::path::{Path, PathBuf};

use devmig_model::registry::Library;
use devmig_model::spec::{Diagnostics, Item, SourceFile, Spanned, SpecErrors, matches};
use serde::{Deserialize, Serialize};

use crate::implementations::{self, Missing, installed};
use crate::watch::record::Side;
use crate::watch::report::Report;

/// The file.
const FILE: (&str, &str) =
    ("implementations/qemu.toml", include_str!("../../implementations/qemu.toml"));

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFrontEnd {
    name: String,
    about: String,
    version: String,
    listed: Vec<String>,
    install: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawScenario {
    name: String,
    about: String,
    device: Kind,
    back_end: String,
    migrates: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDeviation {
    scenario: Spanned<String>,
    party: Side,
    clause: Spanned<String>,
    /// What was seen, with the version and the scenario.
    evidence: Spanned<String>,
}

/// What the device is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A disk.
    Blk,
    /// A NIC.
    Net,
    /// A file system.
    Fs,
}

impl Kind {
    /// What the guest is told.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Blk => "blk",
            Kind::Net => "net",
            Kind::Fs => "fs",
        }
    }

    /// QEMU's device, on the chardev `c`.
    #[must_use]
    pub fn arguments(self) -> &'static str {
        match self {
            Kind::Blk => "-device vhost-user-blk-pci,chardev=c,num-queues=1",
            Kind::Net => {
                "-netdev vhost-user,id=n,chardev=c -device virtio-net-pci,netdev=n,romfile="
            }
            Kind::Fs => "-device vhost-user-fs-pci,chardev=c,tag=shared",
        }
    }
}

/// Who serves a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BackEnd {
    /// The reference.
    Reference,
    /// A command; `{socket}` is where it listens, `{image}` a fresh file of 1 MiB, `{folder}` a folder
    /// that both ends of a migration share.
    Spawn(String),
}

impl BackEnd {
    /// The command with its program where it was installed for us, if it was.
    ///
    /// # Errors
    /// If it is nowhere.
    pub fn find(&self) -> Result<Self, Missing> {
        let BackEnd::Spawn(spawn) = self else { return Ok(BackEnd::Reference) };
        let (program, rest) = spawn.split_once(' ').unwrap_or((spawn, ""));
        let own = implementations::cache().join("bin").join(program);
        if own.exists() {
            return Ok(BackEnd::Spawn(format!("{} {rest}", own.display())));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        match std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
            true => Ok(self.clone()),
            false => Err(Missing::Nowhere(program.to_owned())),
        }
    }
}

/// A scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// What its device is.
    pub device: Kind,
    /// Who serves it.
    pub back_end: BackEnd,
    /// Whether its back-end has what QEMU needs for a migration.
    pub migrates: bool,
}

/// A finding that is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deviation {
    /// The scenarios that show it; `*` stands for anything.
    pub scenario: String,
    /// Who deviates.
    pub party: Side,
    /// From what.
    pub clause: String,
}

/// A front-end and its scenarios.
#[derive(Clone, Debug)]
pub struct FrontEnd {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// How it tells its version.
    pub version: String,
    /// The versions for which deviations are held.
    pub listed: Vec<String>,
    /// Shell commands that install it and its guest, in order; `{cache}` is a folder of ours.
    pub install: Vec<String>,
    /// What it takes part in.
    pub scenarios: Vec<Scenario>,
    /// What is known.
    pub known: Vec<Deviation>,
}

/// How a report compares with what is known.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Held {
    /// Expected, and seen.
    pub seen: Vec<String>,
    /// Seen, and not recorded.
    pub new: Vec<String>,
    /// Recorded, and not seen.
    pub gone: Vec<String>,
}

/// What is built in.
///
/// # Errors
/// Every problem of the file.
pub fn builtin(library: &Library) -> Result<Vec<FrontEnd>, SpecErrors> {
    let mut d = Diagnostics::default();
    let file = SourceFile::new(FILE.0, FILE.1);
    let mut tables = file.parse(&mut d);
    let front_ends: Vec<Item<RawFrontEnd>> = tables.items("front-end", &mut d);
    let scenarios: Vec<Item<RawScenario>> = tables.items("scenario", &mut d);
    let known: Vec<Item<RawDeviation>> = tables.items("deviation", &mut d);
    tables.finish(&["front-end", "scenario", "deviation"], &mut d);
    let scenarios: Vec<Scenario> = scenarios.iter().map(|item| scenario(&item.value)).collect();
    let known: Vec<Deviation> =
        known.iter().map(|item| deviation(library, &scenarios, item, &mut d)).collect();
    let front_ends = front_ends.into_iter().map(|item| {
        let RawFrontEnd { name, about, version, listed, install } = item.value;
        let (scenarios, known) = (scenarios.clone(), known.clone());
        FrontEnd { name, about, version, listed, install, scenarios, known }
    });
    d.finish(front_ends.collect())
}

fn scenario(raw: &RawScenario) -> Scenario {
    let back_end = match raw.back_end.as_str() {
        "reference" => BackEnd::Reference,
        command => BackEnd::Spawn(command.to_owned()),
    };
    let RawScenario { name, about, device, migrates, .. } = raw.clone();
    Scenario { name, about, device, back_end, migrates }
}

fn deviation(
    library: &Library,
    scenarios: &[Scenario],
    item: &Item<RawDeviation>,
    d: &mut Diagnostics,
) -> Deviation {
    let raw = &item.value;
    library.spec.clause_at(item, &raw.clause, d);
    let name = raw.scenario.get_ref();
    if !scenarios.iter().any(|scenario| matches(name, &scenario.name)) {
        let message = format!("no scenario is called `{name}`");
        d.push(item.error(raw.scenario.span(), message, "unknown scenario"));
    }
    if raw.evidence.get_ref().is_empty() {
        d.push(item.error(raw.evidence.span(), "a deviation needs evidence", "empty"));
    }
    Deviation { scenario: name.clone(), party: raw.party, clause: raw.clause.get_ref().clone() }
}

impl FrontEnd {
    /// Where what it needs is kept.
    #[must_use]
    pub fn guest_cache() -> PathBuf {
        implementations::cache().join("qemu-guest")
    }

    /// The program, and its version if it is there.
    ///
    /// # Errors
    /// Why it is not.
    pub fn find(&self) -> Result<(PathBuf, String), Missing> {
        installed::version(&self.version, |program| PathBuf::from(program))
    }

    /// Installs it and its guest.
    ///
    /// # Errors
    /// The command that failed, with its last words.
    pub fn install(&self) -> Result<(), Missing> {
        let cache = implementations::cache();
        let cache = shell_words::quote(&cache.to_string_lossy()).into_owned();
        installed::install(self.install.iter().map(|line| line.replace("{cache}", &cache)))
    }

    /// Holds what both halves of a scenario found against what is known.
    #[must_use]
    pub fn hold(&self, scenario: &str, reports: &[Report]) -> Held {
        let findings = reports.iter().flat_map(|report| &report.findings);
        let known = self.known.iter().filter(|known| matches(&known.scenario, scenario));
        Held::of(
            findings.map(|finding| words(finding.party, &finding.clause)).collect(),
            known.map(|known| words(known.party, &known.clause)).collect(),
        )
    }
}

impl Held {
    /// Sorts findings into known and new ones, and lists the known ones that were not found.
    #[must_use]
    pub fn of(found: Vec<String>, known: Vec<String>) -> Self {
        let mut held = Held::default();
        for line in found {
            let lines = if known.contains(&line) { &mut held.seen } else { &mut held.new };
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        held.gone = known.into_iter().filter(|line| !held.seen.contains(line)).collect();
        held
    }
}

fn words(party: Side, clause: &str) -> String {
    let clause = if clause.is_empty() { "every clause" } else { clause };
    format!("{party} violates {clause}")
}

/// The recordings' folder, made if it is not there.
///
/// # Errors
/// The system's.
pub fn folder(path: &Path) -> Result<(), Missing> {
    std::fs::create_dir_all(path).map_err(Missing::file(path))
}
