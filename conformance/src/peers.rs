//! Real implementations, and what each is known to do.
//!
//! ```text
//!  peers/NAME.toml --> Peer --run the suite--> report --hold against--> Verdict
//!                       install, version, spawn,           new, gone, unknown version, not run
//!                       known deviations
//! ```
//!
//! A deviation is held for a range of versions, as `always` or `sometimes`: for a listed version a
//! new one fails, and so does an `always` that is gone; a `sometimes` is tried a stated number of
//! times and never fails for being absent. A version that is not listed runs and fails only for an
//! error of the harness.
//!
//! **Invariants.** A sensitive deviation is shown by its clause alone, and its tests by a pattern. No peer is installed without
//! being asked for.

use std::path::PathBuf;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use devmig_model::library::Library;
use devmig_model::spec::{Diagnostics, Item, SourceFile, Spanned, SpecErrors, matches};
use serde::Deserialize;

use crate::report::{Status, SuiteReport};
use crate::vhost_user::process::Command;
use crate::vhost_user::runner::{self, Run};
use crate::vhost_user::session::{Device, Limits};
use crate::vhost_user::suite::Test;
use crate::vhost_user::target::Target;

macro_rules! builtin {
    ($($name:literal)*) => {
        /// The peers' files: name and text.
        pub const BUILTIN: &[(&str, &str)] =
            &[$((concat!("peers/", $name), include_str!(concat!("../peers/", $name)))),*];
    };
}
builtin! {
    "dpdk-testpmd.toml"
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
    version: Spanned<String>,
    listed: Vec<String>,
    install: Vec<Spanned<String>>,
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
struct RawDeviation {
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
}

/// A real implementation.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// What kind of device it serves.
    pub device: Device,
    /// How it is started; `{image}` is a fresh file of 1 MiB, `{folder}` a fresh folder.
    pub spawn: String,
    /// How it tells its version.
    pub version: String,
    /// The versions for which the deviations are held.
    pub listed: Vec<String>,
    /// Shell commands that install it, in order.
    pub install: Vec<String>,
    /// What it is known to do.
    pub known: Vec<Deviation>,
}

/// What came of a peer.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is not there, and why.
    NotRun(String),
    /// It ran.
    Ran {
        /// Its version.
        version: String,
        /// Whether the version is one for which deviations are held.
        listed: bool,
        /// The report.
        report: Box<SuiteReport>,
        /// Deviations that were expected and seen: test and clause.
        seen: Vec<String>,
        /// Deviations that nobody has recorded.
        new: Vec<String>,
        /// `always` deviations that are gone.
        gone: Vec<String>,
        /// What the harness could not do.
        errors: Vec<String>,
    },
}

impl Verdict {
    /// Whether continuous integration fails for it.
    #[must_use]
    pub fn fails(&self) -> bool {
        match self {
            Verdict::NotRun(_) => false,
            Verdict::Ran { listed, new, gone, errors, .. } => {
                !errors.is_empty() || (*listed && !(new.is_empty() && gone.is_empty()))
            }
        }
    }
}

/// The peers that are built in.
///
/// # Errors
/// Every problem of every file.
pub fn builtin(library: &Library, suite: &[Test]) -> Result<Vec<Peer>, SpecErrors> {
    let mut d = Diagnostics::default();
    let mut peers = Vec::new();
    for (name, text) in BUILTIN {
        let file = SourceFile::new(*name, *text);
        let mut tables = file.parse(&mut d);
        let heads: Vec<Item<RawPeer>> = tables.items("peer", &mut d);
        let known: Vec<Item<RawDeviation>> = tables.items("deviation", &mut d);
        tables.finish(&["peer", "deviation"], &mut d);
        let known: Vec<Deviation> =
            known.iter().map(|item| deviation(library, suite, item, &mut d)).collect();
        peers.extend(heads.iter().map(|item| peer(item, &known)));
    }
    d.finish(peers)
}

fn peer(item: &Item<RawPeer>, known: &[Deviation]) -> Peer {
    let raw = &item.value;
    Peer {
        name: raw.name.get_ref().clone(),
        about: raw.about.get_ref().clone(),
        device: match raw.device {
            DeviceName::Net => Device::Net,
            DeviceName::Blk => Device::Blk,
            DeviceName::Rng => Device::Rng,
            DeviceName::Console => Device::Console,
            DeviceName::Fs => Device::Fs,
            DeviceName::None => Device::None,
        },
        spawn: raw.spawn.get_ref().clone(),
        version: raw.version.get_ref().clone(),
        listed: raw.listed.clone(),
        install: raw.install.iter().map(|line| line.get_ref().clone()).collect(),
        known: known.to_vec(),
    }
}

fn deviation(
    library: &Library,
    suite: &[Test],
    item: &Item<RawDeviation>,
    d: &mut Diagnostics,
) -> Deviation {
    let raw = &item.value;
    library.spec.clause_at(item, &raw.clause, d);
    if !suite.iter().any(|test| matches(raw.test.get_ref(), &test.id)) {
        let message = format!("no test is called `{}`", raw.test.get_ref());
        d.push(item.error(raw.test.span(), message, "unknown test"));
    }
    match (&raw.evidence, raw.sensitive) {
        (None, false) => {
            let help = "what was seen, with the version and the command";
            let error = item.error(raw.test.span(), "a deviation needs `evidence`", "here");
            d.push(error.help(help));
        }
        (Some(evidence), true) => {
            let message = "a sensitive deviation is held without evidence";
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
    }
}

/// A version as numbers, for comparing; what is no number counts as 0.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

impl Deviation {
    /// Whether a finding is this one.
    fn is(&self, (test, clause): &Finding) -> bool {
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

impl Peer {
    /// Installs it.
    ///
    /// # Errors
    /// The command that failed, with its last words.
    pub fn install(&self) -> Result<(), String> {
        for line in &self.install {
            let output = Process::new("sh")
                .args(["-c", line])
                .stdin(Stdio::null())
                .output()
                .map_err(|error| format!("cannot run `{line}`: {error}"))?;
            if !output.status.success() {
                let words = String::from_utf8_lossy(&output.stderr);
                let last = words.lines().last().unwrap_or_default().to_owned();
                return Err(format!("`{line}` failed ({}): {last}", output.status));
            }
        }
        Ok(())
    }

    /// Its version, if it is there.
    ///
    /// # Errors
    /// Why it is not.
    pub fn find_version(&self) -> Result<String, String> {
        let mut words = shell_words::split(&self.version).map_err(|e| e.to_string())?.into_iter();
        let program = self.program(&words.next().unwrap_or_default());
        let output = Process::new(&program)
            .args(words)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run `{}`: {error}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let version = |word: &str| {
            let word = word.trim_matches(|c: char| !c.is_ascii_digit());
            (word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.'))
                .then(|| word.to_owned())
        };
        text.split_whitespace()
            .find_map(version)
            .ok_or_else(|| format!("`{}` prints no version", self.version))
    }

    /// Where its program is: what was installed for these runs comes first.
    fn program(&self, name: &str) -> PathBuf {
        let own = cache().join("bin").join(name);
        if own.exists() { own } else { PathBuf::from(name) }
    }

    /// Runs the suite and holds the report against what is known.
    #[must_use]
    pub fn run(&self, setting: Setting<'_>) -> Verdict {
        let version = match self.find_version() {
            Ok(version) => version,
            Err(why) => return Verdict::NotRun(why),
        };
        match self.run_version(setting, version) {
            Ok(verdict) => verdict,
            Err(why) => Verdict::NotRun(why),
        }
    }

    fn run_version(&self, setting: Setting<'_>, version: String) -> Result<Verdict, String> {
        let folder = tempfile::Builder::new()
            .prefix("devmig-peer-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        let image = folder.path().join("image");
        let shared = folder.path().join("shared");
        let made = std::fs::File::create(&image).and_then(|file| file.set_len(1 << 20));
        made.and_then(|()| std::fs::create_dir(&shared)).map_err(|error| error.to_string())?;
        let (program, rest) = self.spawn.split_once(' ').unwrap_or((&self.spawn, ""));
        let command = format!("{} {rest}", self.program(program).display())
            .replace("{image}", &image.to_string_lossy())
            .replace("{folder}", &shared.to_string_lossy());
        let command = Command::parse(&command).map_err(|error| error.to_string())?;
        let target = Target::Spawn(command);
        let device = clap::ValueEnum::to_possible_value(&self.device);
        let device = device.map(|value| value.get_name().to_owned()).unwrap_or_default();
        let run = Run {
            library: setting.library,
            target: &target,
            device: self.device,
            scratch: true,
            limits: Limits { owed: Duration::from_secs(5), ..Limits::default() },
            seed: 1,
            pinned: Vec::new(),
            reproduce: format!(
                "devmig test vhost-user --device {device} --scratch --spawn '{}'",
                self.spawn
            ),
            text: setting.text.to_owned(),
            rules: setting.rules,
        };
        let known: Vec<&Deviation> = self.known.iter().filter(|d| d.covers(&version)).collect();
        let tests: Vec<&Test> = setting.suite.iter().collect();
        let mut report = runner::run(&run, &tests, |result| (setting.done)(&result.test));
        let mut seen = found(&report);
        for deviation in known.iter().filter(|d| d.when == When::Sometimes) {
            let shows = |test: &&Test| matches(&deviation.test, &test.id);
            let again: Vec<&Test> = setting.suite.iter().filter(shows).collect();
            for _ in 1..deviation.tries {
                if seen.iter().any(|finding| deviation.is(finding)) {
                    break;
                }
                for finding in found(&runner::run(&run, &again, |_| ())) {
                    if !seen.contains(&finding) {
                        seen.push(finding);
                    }
                }
            }
        }
        self.redact(&mut report, &known);
        let (expected, new): (Vec<&Finding>, Vec<&Finding>) =
            seen.iter().partition(|finding| known.iter().any(|d| d.is(finding)));
        let gone = known
            .iter()
            .filter(|d| d.when == When::Always && !seen.iter().any(|finding| d.is(finding)));
        let errors = report.results.iter().filter(|r| r.status == Status::Error);
        Ok(Verdict::Ran {
            listed: self.listed.contains(&version),
            seen: shown(&known, &expected),
            new: new.into_iter().map(words).collect(),
            gone: gone.map(|d| words(&(d.test.clone(), d.clause.clone()))).collect(),
            errors: errors
                .map(|r| format!("{}: {}", r.test, r.observed.clone().unwrap_or_default()))
                .collect(),
            version,
            report: Box::new(report),
        })
    }

    /// Leaves out what must not be shown.
    fn redact(&self, report: &mut SuiteReport, known: &[&Deviation]) {
        for result in &mut report.results {
            let sensitive = known
                .iter()
                .any(|d| d.sensitive && d.test == result.test && d.clause == result.clause);
            if sensitive {
                result.observed = Some(format!("violates {}", result.clause));
                result.reproduce = String::from("(not shown)");
                result.expected.clear();
                result.log.clear();
            }
        }
    }
}

/// What a run of peers shares.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// Everything that is loaded.
    pub library: &'a Library,
    /// The tests.
    pub suite: &'a [Test],
    /// The version of the text.
    pub text: &'a str,
    /// The rules of that version.
    pub rules: devmig_model::rules::Rules,
    /// Told of each test that is over.
    pub done: &'a dyn Fn(&str),
}

/// A test and the clause that it found broken.
type Finding = (String, String);

/// The findings of a report.
fn found(report: &SuiteReport) -> Vec<Finding> {
    let deviating = |status| matches!(status, Status::Fail | Status::Warn);
    let results = report.results.iter().filter(|r| deviating(r.status));
    results.map(|r| (r.test.clone(), r.clause.clone())).collect()
}

/// Known findings, for printing: a sensitive one as it is held, without the test that shows it.
fn shown(known: &[&Deviation], findings: &[&Finding]) -> Vec<String> {
    let mut lines = Vec::new();
    for finding in findings {
        let held = known.iter().find(|d| d.sensitive && d.is(finding));
        let line =
            held.map_or_else(|| words(finding), |d| words(&(d.test.clone(), d.clause.clone())));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

fn words((test, clause): &Finding) -> String {
    format!("{test} violates {clause}")
}

/// Where peers are installed that the system does not have.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("DEVMIG_PEERS").map_or_else(
        || {
            let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
            home.join(".cache").join("devmig-peers")
        },
        PathBuf::from,
    )
}
