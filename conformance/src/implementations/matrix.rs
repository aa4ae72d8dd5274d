//! Several implementations, one beside the other: run at once, and told in one document.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Missing, Peer, Serves, Setting, Verdict};
use crate::harness::parallel::in_turn;
use crate::harness::report::{Result as TestResult, SuiteReport};

/// Implementations that run at once. Most of the time is spent waiting.
const AT_ONCE: usize = 3;

/// Runs the suites against these implementations; missing ones are installed before if `install` says so.
/// `done` is told of each test that is over, and of each search.
pub fn run<'p>(
    peers: Vec<&'p Peer>,
    setting: Setting<'_>,
    install: bool,
    searched: &dyn Fn(&Peer),
    done: &(dyn Fn(&Peer, &TestResult) + Sync),
) -> Vec<(&'p Peer, Verdict)> {
    // One after the other: package managers take locks.
    let there = peers.iter().map(|peer| {
        searched(peer);
        let missing = install && peer.find_version().is_err();
        if missing { installed(peer) } else { Ok(()) }
    });
    let there: Vec<Result<(), Missing>> = there.collect();
    let jobs: Vec<(&Peer, Result<(), Missing>)> = peers.into_iter().zip(there).collect();
    let verdicts = in_turn(&jobs, AT_ONCE, |(peer, there)| match there {
        Ok(()) => peer.run(Setting { done: &|result| done(peer, result), ..setting }),
        Err(why) => Verdict::NotRun(why.to_string()),
    });
    jobs.into_iter().map(|(peer, _)| peer).zip(verdicts).collect()
}

/// A mirror that refuses is tried once more.
fn installed(peer: &Peer) -> Result<(), Missing> {
    peer.install().or_else(|_| {
        std::thread::sleep(Duration::from_secs(5));
        peer.install()
    })
}

/// What an implementation's file should hold of its offers and readings.
#[must_use]
pub fn recorded(peer: &Peer, verdict: &Verdict) -> String {
    let Verdict::Ran { version, report, .. } = verdict else { return String::new() };
    let quoted = |words: &[String]| {
        words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
    };
    let offers = report.offers.clone().unwrap_or_default();
    let mut text = format!("# {} {version}\n", peer.name);
    text += &format!("features = \"{}\"\n", offers.features);
    let table = match peer.serves {
        Serves::VhostUser { .. } => {
            text += &format!("protocol_features = \"{}\"\n", offers.protocol_features);
            "peer"
        }
        Serves::Mediated { .. } => "kernel",
    };
    text += &format!("[{table}.readings]\n");
    for (choice, options) in &report.readings {
        text += &format!("\"{choice}\" = [{}]\n", quoted(options));
    }
    text + "\n"
}

impl Verdict {
    /// In a line.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Verdict::NotRun(why) => format!("NOT RUN: {why}"),
            Verdict::Ran { version, listed, report, new, gone, changed, errors, .. } => {
                let version =
                    if *listed { version.clone() } else { format!("{version}, UNKNOWN VERSION") };
                let s = report.summary;
                let counts = format!(
                    "{} passed, {} warned, {} failed, {} skipped",
                    s.pass, s.warn, s.fail, s.skip
                );
                let held = match (new.len(), gone.len(), changed.len(), errors.len()) {
                    (0, 0, 0, 0) => "as known".to_owned(),
                    (new, gone, changed, errors) => {
                        format!("{new} NEW, {gone} GONE, {changed} CHANGED, {errors} errors")
                    }
                };
                format!("{version}: {counts}; {held}")
            }
        }
    }
}

/// What `--format json` writes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Document {
    /// The version of this form: 1.
    schema: u32,
    /// The implementations, in order.
    peers: Vec<Entry>,
}

/// The result for one implementation. Without `ran` there is only `why`.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Entry {
    /// Its name.
    peer: String,
    /// Whether it was there.
    ran: bool,
    /// Why not.
    why: Option<String>,
    /// Its version.
    version: Option<String>,
    /// Whether deviations are held for that version.
    listed: bool,
    /// Known deviations that were seen.
    known: Vec<String>,
    /// Deviations that are not recorded.
    new: Vec<String>,
    /// Deviations that are always seen, and were not.
    gone: Vec<String>,
    /// Features and interpretations that differ from the recorded ones.
    changed: Vec<String>,
    /// Errors of the harness.
    errors: Vec<String>,
    /// The whole report.
    report: Option<SuiteReport>,
}

impl Document {
    /// Of these.
    #[must_use]
    pub fn of(verdicts: &[(&Peer, Verdict)]) -> Self {
        let peers = verdicts.iter().map(|(peer, verdict)| Entry::of(peer, verdict)).collect();
        Document { schema: 1, peers }
    }
}

impl Entry {
    fn of(peer: &Peer, verdict: &Verdict) -> Self {
        let peer = peer.name.clone();
        match verdict.clone() {
            Verdict::NotRun(why) => Entry { peer, why: Some(why), ..Entry::default() },
            Verdict::Ran { version, listed, report, seen, new, gone, changed, errors } => Entry {
                peer,
                ran: true,
                why: None,
                version: Some(version),
                listed,
                known: seen,
                new,
                gone,
                changed,
                errors,
                report: Some(*report),
            },
        }
    }
}
