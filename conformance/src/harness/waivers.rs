//! Findings that somebody has given a reason for.
//!
//! ```toml
//! [[waiver]]
//! test = "stop.*"                                    # `*` stands for anything; default: any test
//! clause = "vhost-user.ring.stopped-not-processed"   # a clause, or a pattern; default: any clause
//! reason = "fixed in our next release"
//! ```
//!
//! **Invariants.** A waiver masks the findings that it names and none that come after: the test is
//! run again with the waived clause not enforced, until it passes or finds something else. An error
//! of the harness cannot be waived. A waiver that nothing needed is *stale*, and is reported.

use devmig_model::registry::Library;
use devmig_model::spec::{
    Diagnostics, Item, SourceFile, Spanned, SpecErrors, did_you_mean, matches, with_help,
};
use serde::Deserialize;

use crate::harness::report::{Status, SuiteReport};

/// One `[[waiver]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWaiver {
    test: Option<Spanned<String>>,
    clause: Option<Spanned<String>>,
    reason: Spanned<String>,
}

/// A pattern and a reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiver {
    /// The tests; `*` stands for anything.
    pub test: String,
    /// The clauses; `*` stands for anything.
    pub clause: String,
    /// Why.
    pub reason: String,
}

impl Waiver {
    /// Whether it waives this finding.
    #[must_use]
    pub fn covers(&self, test: &str, clause: &str) -> bool {
        matches(&self.test, test) && matches(&self.clause, clause)
    }
}

impl std::fmt::Display for Waiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.test.as_str(), self.clause.as_str()) {
            ("*", clause) => f.write_str(clause),
            (test, "*") => f.write_str(test),
            (test, clause) => write!(f, "{test} {clause}"),
        }
    }
}

/// The waivers of a file. `tests` are the ids that there are.
///
/// # Errors
/// Every problem of it: what is no TOML, an unknown key, a pattern that can match nothing, no reason.
pub fn load(
    library: &Library,
    tests: &[&str],
    file: &SourceFile,
) -> Result<Vec<Waiver>, SpecErrors> {
    let mut d = Diagnostics::default();
    let mut tables = file.parse(&mut d);
    let items: Vec<Item<RawWaiver>> = tables.items("waiver", &mut d);
    tables.finish(&["waiver"], &mut d);
    let clauses: Vec<&str> = library.spec.clauses().iter().map(|c| c.id.as_str()).collect();
    let waivers = items.iter().map(|item| waiver(item, tests, &clauses, &mut d)).collect();
    d.finish(waivers)
}

fn waiver(item: &Item<RawWaiver>, tests: &[&str], clauses: &[&str], d: &mut Diagnostics) -> Waiver {
    let raw = &item.value;
    let mut pattern = |written: &Option<Spanned<String>>, known: &[&str], what: &str| {
        let Some(written) = written else { return "*".to_owned() };
        let text = written.get_ref();
        if !known.iter().any(|id| matches(text, id)) {
            let message = format!("no {what} is called `{text}`");
            let error = item.error(written.span(), message, format!("unknown {what}"));
            d.push(with_help(error, did_you_mean(text, known.iter().copied())));
        }
        text.clone()
    };
    let (test, clause) =
        (pattern(&raw.test, tests, "test"), pattern(&raw.clause, clauses, "clause"));
    if test == "*" && clause == "*" {
        let error = item.error(item.span.clone(), "this waives everything", "here");
        d.push(error.help("say which `test` or which `clause`"));
    }
    if raw.reason.get_ref().trim().is_empty() {
        let error = item.error(raw.reason.span(), "a waiver needs a reason", "empty");
        d.push(error.help("why the finding is accepted, and until when"));
    }
    Waiver { test, clause, reason: raw.reason.get_ref().trim().to_owned() }
}

/// The waivers that no finding of a run needed, though a test ran that could have shown one.
#[must_use]
pub fn stale(waivers: &[Waiver], report: &SuiteReport) -> Vec<String> {
    let ran = |status| !matches!(status, Status::Skip | Status::Error);
    let needless = |waiver: &&Waiver| {
        let mut could = report.results.iter().filter(|r| ran(r.status));
        could.any(|r| matches(&waiver.test, &r.test))
            && !report
                .results
                .iter()
                .any(|r| r.waived.iter().any(|w| waiver.covers(&r.test, &w.clause)))
    };
    waivers.iter().filter(needless).map(Waiver::to_string).collect()
}
