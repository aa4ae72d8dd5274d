//! What a run of a suite says: data first, then text and JSON.
//!
//! The JSON form is a contract (`"schema": 1`); outside scripts read it. `devmig schema test` prints
//! its schema, which the tests hold real output against.
//!
//! | file | its one job |
//! |---|---|
//! | `report.rs` | what a run says, as data, text and JSON |
//! | `report/alternatives.rs` | what was allowed, in the fewest words |
//! | `report/around.rs` | a second run around one cause |
//! | `report/cause.rs` | findings by their cause |
//! | `report/further.rs` | what a test found after its first finding |
//! | `report/coverage.rs` | how much of a machine a run has driven, as an adapter counts it |
//! | `report/junit.rs` | the same as JUnit XML |
//! | `report/versions.rs` | verdicts under several versions of a specification |

mod alternatives;
mod around;
mod cause;
mod coverage;
mod further;
mod junit;
pub mod versions;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use devmig_engine::clause::ClauseId;
use schemars::JsonSchema;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize};

use crate::harness::aftermath::Aftermath;
use crate::harness::io::process::words;
use crate::harness::waivers::Waiver;
pub use alternatives::fewest;
pub use around::Around;
pub use cause::{Cause, alike, causes};
pub use coverage::Coverage;
pub use further::Further;
pub use junit::junit;
use versions::OtherVersion;

/// What became of a step that nobody wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StepOutcome {
    /// It was taken.
    Yes,
    /// It was passed over, and why.
    No(String),
}

/// How a test ended.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing was broken.
    Pass,
    /// A SHOULD was not followed, or a legal command was refused as the text provides.
    Warn,
    /// A MUST was broken.
    Fail,
    /// Something that it needs is missing.
    Skip,
    /// A finding that somebody has given a reason for.
    Waived,
    /// Nothing that the implementation did was judged.
    Empty,
    /// The run had ended before it.
    #[serde(rename = "not-run")]
    NotRun,
    /// The harness could not do its part.
    Error,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Status::Pass => "pass",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
            Status::Skip => "skip",
            Status::Waived => "waived",
            Status::Empty => "empty",
            Status::NotRun => "not run",
            Status::Error => "ERROR",
        })
    }
}

/// How many ended how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Tests that passed.
    pub pass: usize,
    /// Tests with a warning.
    pub warn: usize,
    /// Tests that failed.
    pub fail: usize,
    /// Tests that were skipped.
    pub skip: usize,
    /// Tests whose finding is waived.
    pub waived: usize,
    /// Tests in which nothing was judged.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub empty: usize,
    /// Tests before which the run ended.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_run: usize,
    /// Tests that the harness could not run.
    pub error: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde wants it
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Summary {
    /// Counts one more.
    pub fn count(&mut self, status: Status) {
        *match status {
            Status::Pass => &mut self.pass,
            Status::Warn => &mut self.warn,
            Status::Fail => &mut self.fail,
            Status::Skip => &mut self.skip,
            Status::Waived => &mut self.waived,
            Status::Empty => &mut self.empty,
            Status::NotRun => &mut self.not_run,
            Status::Error => &mut self.error,
        } += 1;
    }
}

/// How one test ended, before it has a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// How.
    pub status: Status,
    /// The clause broken, if it is not the test's own.
    pub clause: Option<ClauseId>,
    /// What came.
    pub observed: Option<String>,
    /// What was allowed.
    pub expected: Vec<String>,
    /// The conversation.
    pub log: Vec<String>,
    /// The process died, or the connection was closed where it may not be.
    pub died: bool,
}

impl Outcome {
    /// Nothing to say but this.
    #[must_use]
    pub fn new(status: Status) -> Self {
        let (expected, log) = (Vec::new(), Vec::new());
        Outcome { status, clause: None, observed: None, expected, log, died: false }
    }
}

/// A finding that was waived.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Waived {
    /// The clause that is broken.
    pub clause: String,
    /// What came.
    pub observed: String,
    /// Why that is accepted.
    pub reason: String,
}

impl std::fmt::Display for Waived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.clause, self.reason)
    }
}

/// What the implementation offered.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Offers {
    /// The answer to `GET_FEATURES`, in hexadecimal.
    pub features: String,
    /// The answer to `GET_PROTOCOL_FEATURES`, in hexadecimal.
    pub protocol_features: String,
}

/// A number as features are written: `0x` and hexadecimal digits.
#[must_use]
pub fn hexadecimal(text: &str) -> Option<u64> {
    text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok())
}

impl Offers {
    /// The device features, as bits; none if they are not known.
    #[must_use]
    pub fn feature_bits(&self) -> u64 {
        hexadecimal(&self.features).unwrap_or_default()
    }

    /// The features, as bits; none if they are not known.
    #[must_use]
    pub fn bits(&self) -> u64 {
        hexadecimal(&self.features).unwrap_or_default()
    }

    /// The protocol features, as bits; none if they are not known.
    #[must_use]
    pub fn protocol_bits(&self) -> u64 {
        hexadecimal(&self.protocol_features).unwrap_or_default()
    }
}

/// What is left of the process behind a test that did not pass.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProcessReport {
    /// How it ended, if it ended by itself.
    pub ended: Option<String>,
    /// The last lines that it printed, to standard output or error.
    pub output: Vec<String>,
}

impl ProcessReport {
    /// What is reported where a test ended so: of a process that died, closed or stalled.
    #[must_use]
    pub fn of(status: Status, aftermath: &Aftermath) -> Option<Self> {
        let is_bad = matches!(status, Status::Fail | Status::Warn | Status::Error);
        let remains = &aftermath.remains;
        let report =
            ProcessReport { ended: remains.ended.map(words), output: remains.output.clone() };
        let says = report.ended.is_some() || !report.output.is_empty();
        (is_bad && aftermath.is_of_interest() && says).then_some(report)
    }
}

/// One test's result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Result {
    /// The test's id.
    pub test: String,
    /// The clause that is broken, or that the test is about.
    pub clause: String,
    /// MUST, SHOULD or MAY.
    pub level: String,
    /// The clause that the test is about, if another one is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// How it ended.
    pub status: Status,
    /// What was allowed.
    pub expected: Vec<String>,
    /// What came.
    pub observed: Option<String>,
    /// The command that runs it again.
    pub reproduce: String,
    /// The conversation, one line an event; empty if it passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// Other findings, in their order: each was found with the clauses of earlier ones not enforced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Further>,
    /// How the test ended once it had gone on past its findings, if not by one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// The findings that were waived before it ended so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waived: Vec<Waived>,
    /// The process behind it, where it died, closed the connection or stalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessReport>,
    /// How long it took, in milliseconds, and waited for its turn; 0 if it did not run.
    #[serde(default)]
    pub milliseconds: u64,
    /// The process died, or the connection was closed where it may not be: a failure whatever the level.
    #[serde(skip)]
    pub died: bool,
    /// What the test is for.
    #[serde(skip)]
    pub purpose: String,
    /// For a generated script: what became of each step.
    #[serde(skip)]
    pub taken: Vec<StepOutcome>,
}

/// A whole run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SuiteReport {
    /// The version of this form: 1.
    pub schema: u32,
    /// The implementation under test.
    pub implementation: String,
    /// The version of the text by which it was judged.
    pub text: String,
    /// For what is random.
    pub seed: u64,
    /// For each choice that the implementation was seen to settle: the options still possible.
    #[serde(serialize_with = "as_map", deserialize_with = "from_map")]
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub readings: Vec<(String, Vec<String>)>,
    /// What it offered, once it was asked.
    pub offers: Option<Offers>,
    /// Waivers that no finding needed.
    pub stale_waivers: Vec<String>,
    /// A signal ended the run before every test had run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// Why the run ended before every test had run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<String>,
    /// Nothing that the implementation did was judged in any test.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nothing_judged: bool,
    /// The counts.
    pub summary: Summary,
    /// What other versions of the specification would have said, if that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_versions: Vec<OtherVersion>,
    /// A second run, if nearly every test fails by one cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub around: Option<Box<Around>>,
    /// How much of the machine was driven, if tours were made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// The tests.
    pub results: Vec<Result>,
}

fn as_map<S: serde::Serializer>(
    readings: &[(String, Vec<String>)],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(readings.len()))?;
    for (choice, options) in readings {
        map.serialize_entry(choice, options)?;
    }
    map.end()
}

fn from_map<'d, D: Deserializer<'d>>(
    deserializer: D,
) -> std::result::Result<Vec<(String, Vec<String>)>, D::Error> {
    Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
}

/// How many lines of a conversation a failure shows.
const LAST: usize = 12;

impl Result {
    /// Whether it is a finding that nobody has accepted.
    #[must_use]
    pub fn is_finding(&self) -> bool {
        matches!(self.status, Status::Fail | Status::Warn)
    }

    /// A result of which nothing else is known, for tests.
    #[cfg(test)]
    pub(crate) fn example(test: &str, status: Status, clause: &str, observed: &str) -> Self {
        Result {
            test: test.into(),
            clause: clause.into(),
            level: "MUST".into(),
            about: None,
            status,
            expected: Vec::new(),
            observed: Some(observed.into()),
            reproduce: String::new(),
            log: Vec::new(),
            further: Vec::new(),
            then: None,
            waived: Vec::new(),
            process: None,
            milliseconds: 0,
            died: false,
            purpose: String::new(),
            taken: Vec::new(),
        }
    }

    /// One line.
    #[must_use]
    pub fn line(&self) -> String {
        let why = match (self.status, &self.observed, self.waived.first()) {
            (Status::Waived, _, Some(waived)) => format!(": {waived}"),
            (Status::Pass, ..) | (_, None, _) => String::new(),
            (_, Some(observed), _) => {
                format!(": {}", observed.lines().next().unwrap_or_default())
            }
        };
        format!("  {:<6} {}{why}", self.status, self.test)
    }

    /// Everything about a test that did not pass. `text` is the clause's.
    #[must_use]
    pub fn detail(&self, text: &str) -> String {
        let mut out = format!("{} {}\n", self.status, self.test);
        let _ = writeln!(out, "  purpose    {}", self.purpose);
        let level = match self.died && !["MUST", ""].contains(&self.level.as_str()) {
            true => format!("{}; a closed connection and a crash are failures", self.level),
            false => self.level.clone(),
        };
        let _ = writeln!(out, "  clause     {} ({level})", self.clause);
        let _ = writeln!(out, "             {text}");
        if let Some(about) = &self.about {
            let _ = writeln!(out, "             (the test is about {about})");
        }
        if let Some(observed) = &self.observed {
            let _ = writeln!(out, "  observed   {}", observed.replace('\n', "\n             "));
        }
        for (n, allowed) in self.expected.iter().enumerate() {
            let _ = writeln!(out, "  {:<10} {allowed}", if n == 0 { "expected" } else { "or" });
        }
        for waived in &self.waived {
            let _ = writeln!(out, "  {:<10} {waived}", "waived");
        }
        for further in &self.further {
            let observed = further.observed.lines().next().unwrap_or_default();
            let _ = writeln!(out, "  {:<10} {}: {observed}", "and", further.clause);
        }
        if let Some(then) = &self.then {
            let _ = writeln!(out, "  {:<10} {then}", "and");
        }
        if let Some(process) = &self.process {
            if let Some(ended) = &process.ended {
                let _ = writeln!(out, "  {:<10} ended: {ended}", "process");
            }
            for (n, line) in process.output.iter().enumerate() {
                let _ = writeln!(out, "  {:<10} {line}", if n == 0 { "printed" } else { "" });
            }
        }
        let skipped = self.log.len().saturating_sub(LAST);
        if skipped > 0 {
            let _ = writeln!(out, "  {:<10} … {skipped} lines before", "said");
        }
        for (n, line) in self.log.iter().skip(skipped).enumerate() {
            // What follows the output of a process has to be told from it.
            let label = if n == 0 && skipped == 0 && self.process.is_some() { "said" } else { "" };
            let _ = writeln!(out, "  {label:<10} {line}");
        }
        let _ = writeln!(out, "  reproduce  {}", self.reproduce);
        out
    }
}

impl Summary {
    /// How many of these ended how.
    #[must_use]
    pub fn of(results: &[Result]) -> Self {
        let mut summary = Summary::default();
        results.iter().for_each(|result| summary.count(result.status));
        summary
    }
}

impl SuiteReport {
    /// These results, of tests that are run again by this command, and judged by this text; which of
    /// these waivers no finding needed. Nothing is said of readings, offers and coverage.
    #[must_use]
    pub fn of(
        again: &str,
        text: &str,
        seed: u64,
        results: Vec<Result>,
        waivers: &[Waiver],
    ) -> Self {
        let report = SuiteReport {
            schema: 1,
            implementation: again.to_owned(),
            text: text.to_owned(),
            seed,
            readings: Vec::new(),
            offers: None,
            stale_waivers: Vec::new(),
            interrupted: false,
            ended_early: None,
            nothing_judged: false,
            summary: Summary::of(&results),
            other_versions: Vec::new(),
            around: None,
            coverage: None,
            results,
        };
        SuiteReport { stale_waivers: stale(waivers, &report), ..report }
    }

    /// Whether nothing that the implementation did was judged: every test was skipped or could judge
    /// nothing, or none had an answer (`answered`) and none has a finding.
    #[must_use]
    pub fn judged_nothing(&self, answered: bool) -> bool {
        let Summary { pass, warn, fail, waived, error, .. } = self.summary;
        let found = warn + fail + waived + error > 0;
        !self.results.is_empty() && !found && (pass == 0 || !answered)
    }

    /// 0 if none failed, 1 if some did, 4 if the harness is at fault, 5 if nothing was judged.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.summary.error, self.summary.fail) {
            (0, 0) if self.nothing_judged => 5,
            (0, 0) => 0,
            (0, _) => 1,
            _ => 4,
        }
    }

    /// The same report with these results.
    #[must_use]
    pub fn with(self, results: Vec<Result>) -> Self {
        SuiteReport { summary: Summary::of(&results), results, ..self }
    }

    /// The closing part of a console report: failures by their cause, readings, counts.
    #[must_use]
    pub fn closing(&self, clause_text: impl Fn(&str) -> String) -> String {
        let mut out = String::new();
        for cause in causes(&self.results) {
            let text = cause.text(&clause_text(&cause.first.clause));
            let _ = writeln!(out, "\n{}", text.trim_end());
        }
        if !self.readings.is_empty() {
            let _ = writeln!(out, "\nInterpretations of open choices:");
            for (choice, options) in &self.readings {
                let _ = writeln!(out, "  {choice} = {}", options.join(" or "));
            }
        }
        if let Some(coverage) = &self.coverage {
            let _ = write!(out, "\n{}", coverage.text());
        }
        if !self.stale_waivers.is_empty() {
            out.push('\n');
        }
        for stale in &self.stale_waivers {
            let _ = writeln!(out, "stale waiver: {stale}: no finding matches it");
        }
        if !self.text.is_empty() {
            let _ = writeln!(out, "\njudged by version {} of the specification", self.text);
        }
        for other in &self.other_versions {
            out.push_str(&other.text());
        }
        if let Some(around) = &self.around {
            out.push_str(&around.text(&clause_text));
        }
        let Summary { pass, warn, fail, skip, waived, empty, not_run, error } = self.summary;
        if empty > 0 {
            let _ =
                writeln!(out, "\n{empty} judged nothing: the implementation did nothing in them");
        }
        if let Some(why) = &self.ended_early {
            let _ = writeln!(out, "\nthe run ended early: {why}");
        }
        if self.nothing_judged {
            let _ = writeln!(
                out,
                "\nnothing was judged: no test observed anything that the implementation did"
            );
        }
        let not_run = if not_run > 0 { format!(", {not_run} not run") } else { String::new() };
        let _ = writeln!(
            out,
            "\n{pass} passed, {warn} warned, {fail} failed, {skip} skipped, {waived} waived, \
             {error} errors{not_run}"
        );
        out
    }
}

/// Reports of some tests each, as one; none of none.
#[must_use]
pub fn merged(reports: Vec<SuiteReport>) -> Option<SuiteReport> {
    let mut reports = reports.into_iter();
    let mut whole = reports.next()?;
    for report in reports {
        whole.results.extend(report.results);
        whole.offers = whole.offers.or(report.offers);
        whole.ended_early = whole.ended_early.or(report.ended_early);
        whole.nothing_judged &= report.nothing_judged;
    }
    whole.summary = Summary::of(&whole.results);
    Some(whole)
}

/// The waivers that no finding of a run needed, though a test ran that could have shown one.
fn stale(waivers: &[Waiver], report: &SuiteReport) -> Vec<String> {
    let ran = |status| !matches!(status, Status::Skip | Status::NotRun | Status::Error);
    let needless = |waiver: &&Waiver| {
        let mut could = report.results.iter().filter(|r| ran(r.status));
        could.any(|r| waiver.is_about(&r.test))
            && !report
                .results
                .iter()
                .any(|r| r.waived.iter().any(|w| waiver.covers(&r.test, &w.clause)))
    };
    waivers.iter().filter(needless).map(Waiver::to_string).collect()
}
