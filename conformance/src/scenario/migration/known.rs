//! `implementations/qemu-multifd.toml`: versions of QEMU, migrations between them, and what is known to be found.

use std::path::PathBuf;

use devmig_model::registry::Library;
use devmig_model::spec::{Diagnostics, Item, SourceFile, Spanned, SpecErrors, matches};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::implementations::{
    self, Deviation, Missing, RawDeviation as RawSuiteDeviation, When,
    deviation as suite_deviation, installed,
};
use crate::multifd::destination;
use crate::scenario::known::FrontEnd;

/// The file.
const FILE: (&str, &str) = (
    "implementations/qemu-multifd.toml",
    include_str!("../../../implementations/qemu-multifd.toml"),
);
/// How many channels a migration has that says nothing else.
const CHANNELS: u8 = 2;
/// The machine type of a migration that says nothing else.
const MACHINE: &str = "q35";

/// How a version is unpacked into a folder, with all its libraries.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUnpacked {
    command: String,
    install: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawQemu {
    name: Spanned<String>,
    about: String,
    /// The front-end of the other scenarios.
    front_end: Option<Spanned<String>>,
    /// A suite of Debian.
    suite: Option<String>,
    /// Where its dynamic loader is.
    loader: Option<String>,
    listed: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMigration {
    name: Spanned<String>,
    about: String,
    between: Vec<Spanned<String>>,
    machine: Option<String>,
    channels: Option<u8>,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(default)]
    rounds: u64,
    #[serde(default)]
    transport: Transport,
    #[serde(default)]
    end: End,
    #[serde(default)]
    devices: u8,
    faults: Option<String>,
    limit: Option<u64>,
    #[serde(default)]
    before: Vec<Before>,
    reference: Option<Spanned<Reference>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDeviation {
    scenario: Spanned<String>,
    /// The version of the source, if it is a matter of that.
    source: Option<String>,
    finding: Spanned<String>,
    when: When,
    /// What was seen, with the version and the scenario.
    evidence: Spanned<String>,
}

/// An end of a migration that is the reference.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Which end.
    pub end: ReferenceEnd,
    /// Further arguments of its command.
    #[serde(default)]
    pub options: Vec<String>,
}

/// Which end of a migration is the reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReferenceEnd {
    /// The source.
    Source,
    /// The destination.
    Destination,
}

/// Over what a migration goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Unix sockets.
    #[default]
    Unix,
    /// TCP.
    Tcp,
    /// A file.
    File,
}

/// How a migration ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The source stops, and the rest is sent.
    #[default]
    Complete,
    /// It is cancelled after its rounds.
    Cancel,
    /// The destination goes on after the rounds, and asks for the pages that it lacks.
    Postcopy,
    /// The destination follows from checkpoint to checkpoint, until the source ends.
    Colo,
}

/// A migration that comes to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Before {
    /// Nobody listens where it is to go.
    SetUp,
    /// It is cancelled in its second round.
    Cancel,
}

/// A version of QEMU.
#[derive(Clone, Debug)]
pub struct Qemu {
    /// Its name: major and minor.
    pub name: String,
    /// What it is.
    pub about: String,
    /// The command that starts it.
    pub command: String,
    /// The versions for which deviations are held.
    pub listed: Vec<String>,
    /// Shell commands that install it.
    pub install: Vec<String>,
}

/// A migration between two versions.
#[derive(Clone, Debug)]
pub struct Migration {
    /// Its name, with the versions.
    pub name: String,
    /// What it is.
    pub about: String,
    /// The source.
    pub source: Qemu,
    /// The destination.
    pub destination: Qemu,
    /// The machine type of both.
    pub machine: String,
    /// How many channels; without multifd 0.
    pub channels: u8,
    /// What else is switched on at both ends.
    pub capabilities: Vec<String>,
    /// What is set at both ends.
    pub parameters: Map<String, Value>,
    /// After how many rounds it ends; as soon as it can if it is 0.
    pub rounds: u64,
    /// Over what it goes.
    pub transport: Transport,
    /// How it ends.
    pub end: End,
    /// How many mediated devices each machine has, whose state goes over channels.
    pub devices: u8,
    /// For how many milliseconds the guest may stand still; it then ends by itself, or goes on for some rounds.
    pub limit: Option<u64>,
    /// Migrations that come to nothing before it.
    pub before: Vec<Before>,
    /// The end that is the reference, if one is; the other is QEMU without a machine.
    pub reference: Option<Reference>,
    /// What was recorded is sent again, with one fault at a time, to a destination of that version: the tests
    /// that match.
    pub faults: Option<String>,
    /// What destinations are known to do with faults.
    pub destinations: Vec<Deviation>,
    /// The findings that are known, and how reliably they are seen.
    pub known: Vec<(String, When)>,
}

/// The findings that are not violated clauses.
pub const OTHER_FINDINGS: [&str; 5] =
    ["truncated", "destination-memory", "destination-pattern", "destination-refuses", "events"];

/// What is built in.
///
/// # Errors
/// Every problem of the file.
pub fn builtin(library: &Library, front_ends: &[FrontEnd]) -> Result<Vec<Migration>, SpecErrors> {
    let mut d = Diagnostics::default();
    let file = SourceFile::new(FILE.0, FILE.1);
    let mut tables = file.parse(&mut d);
    let unpacked: Vec<Item<RawUnpacked>> = tables.items("unpacked", &mut d);
    let versions: Vec<Item<RawQemu>> = tables.items("qemu", &mut d);
    let migrations: Vec<Item<RawMigration>> = tables.items("migration", &mut d);
    let known: Vec<Item<RawDeviation>> = tables.items("deviation", &mut d);
    let destinations: Vec<Item<RawSuiteDeviation>> = tables.items("destination-deviation", &mut d);
    let kinds = ["unpacked", "qemu", "migration", "deviation", "destination-deviation"];
    tables.finish(&kinds, &mut d);
    let suite = destination::suite::builtin(library)?;
    let ids: Vec<&str> = suite.iter().map(|test| test.id.as_str()).collect();
    let destinations: Vec<Deviation> =
        destinations.iter().map(|item| suite_deviation(library, &ids, item, &mut d)).collect();
    let unpacked = unpacked.first().map(|item| &item.value);
    let versions: Vec<Qemu> =
        versions.iter().filter_map(|item| version(item, unpacked, front_ends, &mut d)).collect();
    let mut all: Vec<Migration> =
        migrations.iter().flat_map(|item| between(item, &versions, &mut d)).collect();
    for item in &known {
        deviation(library, item, &mut all, &mut d);
    }
    for migration in all.iter_mut().filter(|migration| migration.faults.is_some()) {
        migration.destinations.clone_from(&destinations);
    }
    d.finish(all)
}

fn version(
    item: &Item<RawQemu>,
    unpacked: Option<&RawUnpacked>,
    front_ends: &[FrontEnd],
    d: &mut Diagnostics,
) -> Option<Qemu> {
    let RawQemu { name, about, front_end, suite, loader, listed } = &item.value;
    let qemu = |command, install| Qemu {
        name: name.get_ref().clone(),
        about: about.clone(),
        command,
        listed: listed.clone(),
        install,
    };
    match (front_end, suite, unpacked) {
        (Some(of), None, _) => {
            let found = front_ends.iter().find(|front_end| front_end.name == *of.get_ref());
            if found.is_none() {
                let message = format!("no front-end is called `{}`", of.get_ref());
                d.push(item.error(of.span(), message, "unknown front-end"));
            }
            let found = found?;
            let program = found.version.split_whitespace().next().unwrap_or_default().to_owned();
            Some(qemu(program, found.install.clone()))
        }
        (None, Some(suite), Some(unpacked)) => {
            let root = implementations::cache().join(format!("qemu-{suite}"));
            let root = shell_words::quote(&root.to_string_lossy()).into_owned();
            let loader = loader.as_deref().unwrap_or_default();
            let put = |text: &String| {
                let text = text.replace("{root}", &root).replace("{suite}", suite);
                text.replace("{loader}", loader)
            };
            Some(qemu(put(&unpacked.command), unpacked.install.iter().map(put).collect()))
        }
        _ => {
            let message = "a version has either a `front-end` or a `suite`";
            d.push(item.error(name.span(), message, "here"));
            None
        }
    }
}

/// The migrations that one entry stands for.
fn between(item: &Item<RawMigration>, versions: &[Qemu], d: &mut Diagnostics) -> Vec<Migration> {
    let raw = &item.value;
    let mut all = Vec::new();
    let needs_guest = raw.devices > 0
        || raw.faults.is_some()
        || raw.limit.is_some()
        || !raw.before.is_empty()
        || raw.machine.is_some()
        || raw.rounds > 0
        || raw.end != End::Complete
        || raw.transport != Transport::Unix;
    if let Some(reference) = raw.reference.as_ref().filter(|_| needs_guest) {
        let message = "the reference migrates over Unix sockets, to completion and without a guest";
        d.push(item.error(reference.span(), message, "with other keys that need a guest"));
    }
    for pair in &raw.between {
        let (from, to) =
            pair.get_ref().split_once(" to ").unwrap_or((pair.get_ref(), pair.get_ref()));
        let find = |name: &str| versions.iter().find(|version| version.name == name).cloned();
        let (Some(source), Some(destination)) = (find(from), find(to)) else {
            let message = format!("`{}` names no version", pair.get_ref());
            d.push(item.error(pair.span(), message, "unknown version"));
            continue;
        };
        let name = format!("multifd-{}-{}", raw.name.get_ref(), pair.get_ref().replace(' ', "-"));
        all.push(Migration {
            name,
            about: raw.about.clone(),
            source,
            destination,
            machine: raw.machine.clone().unwrap_or_else(|| MACHINE.to_owned()),
            channels: raw.channels.unwrap_or(CHANNELS),
            capabilities: raw.capabilities.clone(),
            parameters: raw.parameters.clone(),
            rounds: raw.rounds,
            transport: raw.transport,
            end: raw.end,
            devices: raw.devices,
            faults: raw.faults.clone(),
            limit: raw.limit,
            before: raw.before.clone(),
            reference: raw.reference.as_ref().map(|reference| reference.get_ref().clone()),
            destinations: Vec::new(),
            known: Vec::new(),
        });
    }
    all
}

fn deviation(
    library: &Library,
    item: &Item<RawDeviation>,
    all: &mut [Migration],
    d: &mut Diagnostics,
) {
    let RawDeviation { scenario, source, finding, when, evidence } = &item.value;
    if !OTHER_FINDINGS.contains(&finding.get_ref().as_str()) {
        library.spec.clause_at(item, finding, d);
    }
    if evidence.get_ref().is_empty() {
        d.push(item.error(evidence.span(), "a deviation needs evidence", "empty"));
    }
    let mut any = false;
    let shows = |migration: &Migration| {
        matches(scenario.get_ref(), &migration.name)
            && source.as_ref().is_none_or(|source| *source == migration.source.name)
    };
    for migration in all.iter_mut().filter(|migration| shows(migration)) {
        migration.known.push((finding.get_ref().clone(), *when));
        any = true;
    }
    if !any {
        let message = format!("no scenario is called `{}`", scenario.get_ref());
        d.push(item.error(scenario.span(), message, "unknown scenario"));
    }
}

impl Qemu {
    /// Its version, if it is there.
    ///
    /// # Errors
    /// Why it is not.
    pub fn find(&self) -> Result<String, Missing> {
        Ok(installed::version(&format!("{} --version", self.command), |name| PathBuf::from(name))?
            .1)
    }

    /// Installs it.
    ///
    /// # Errors
    /// The command that failed, with its last words.
    pub fn install(&self) -> Result<(), Missing> {
        let cache = implementations::cache();
        let cache = shell_words::quote(&cache.to_string_lossy()).into_owned();
        installed::install(self.install.iter().map(|line| line.replace("{cache}", &cache)))
    }
}
