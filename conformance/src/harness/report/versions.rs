//! Verdicts under several versions of a specification.
//!
//! ```text
//!   the run, judged by one version --the same tests, judged by another--> what differs
//! ```

use devmig_model::spec::{Spec, SpecError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SuiteReport;

/// What another version of the specification would have said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OtherVersion {
    /// The version.
    pub version: String,
    /// The verdicts that differ.
    pub differs: Vec<Difference>,
}

/// A verdict that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// The test.
    pub test: String,
    /// How it ended in this run.
    pub here: String,
    /// How it ended by the other version.
    pub there: String,
    /// The clause that one of them names.
    pub clause: String,
}

/// What differs between a run and the same tests judged by another version.
#[must_use]
fn differences(here: &SuiteReport, there: &SuiteReport) -> OtherVersion {
    let mut differs = Vec::new();
    for one in &here.results {
        let Some(other) = there.results.iter().find(|other| other.test == one.test) else {
            continue;
        };
        if one.status != other.status {
            let clause = if one.is_finding() { &one.clause } else { &other.clause };
            differs.push(Difference {
                test: one.test.clone(),
                here: one.status.to_string(),
                there: other.status.to_string(),
                clause: clause.clone(),
            });
        }
    }
    OtherVersion { version: there.text.clone(), differs }
}

/// A report with what these versions would have said; `judged` runs the tests judged by one of them.
///
/// # Errors
/// Those of `judged`.
pub fn compared<E>(
    mut report: SuiteReport,
    versions: &[String],
    judged: impl Fn(&str) -> Result<SuiteReport, E>,
) -> Result<SuiteReport, E> {
    for version in versions {
        report.other_versions.push(differences(&report, &judged(version)?));
    }
    Ok(report)
}

/// The versions that a run is compared with: those that are named, or every released version that is
/// not older than the one that judges.
///
/// # Errors
/// If there is no such version.
pub fn others(
    spec: &Spec,
    document: &str,
    judged_by: &str,
    named: &[String],
) -> Result<Vec<String>, SpecError> {
    let (source, at) = spec.version(document, judged_by)?;
    for version in named {
        spec.version(document, version)?;
    }
    if !named.is_empty() {
        return Ok(named.iter().filter(|version| *version != judged_by).cloned().collect());
    }
    let versions = spec.sources().get(source).map_or(&[][..], |source| &source.versions);
    let newer = versions.iter().skip(at + 1).filter(|version| !version.posted);
    Ok(newer.map(|version| version.name.clone()).collect())
}

impl OtherVersion {
    /// A line, and one for each verdict that differs.
    #[must_use]
    pub fn text(&self) -> String {
        if self.differs.is_empty() {
            return format!("by version {}: the same verdicts\n", self.version);
        }
        let mut out = format!("by version {}:\n", self.version);
        for Difference { test, here, there, clause } in &self.differs {
            out.push_str(&format!("  {test}: {there}, not {here} ({clause})\n"));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::report::{Result as TestResult, Status};

    #[test]
    fn only_verdicts_that_differ_are_named() {
        let of = |text: &str, status| {
            let result =
                |test, status| TestResult::example(test, status, "vhost-user.ring.kick-starts", "");
            let results = vec![result("same", Status::Pass), result("stop", status)];
            SuiteReport::of("devmig test", text, 1, results, &[])
        };
        let other = differences(&of("10.2", Status::Pass), &of("11.0", Status::Fail));
        let text = other.text();
        assert_eq!(
            text,
            "by version 11.0:\n  stop: FAIL, not pass (vhost-user.ring.kick-starts)\n"
        );
        let same = differences(&of("10.2", Status::Pass), &of("11.0", Status::Pass));
        assert!(same.text().contains("the same verdicts"));
    }

    #[test]
    fn versions_that_are_only_posted_are_compared_only_if_named() {
        let spec = Spec::builtin().unwrap();
        let all = others(&spec, "vhost-user", "10.2", &[]).unwrap();
        assert_eq!(all, ["11.0", "11.1"]);
        let named = others(&spec, "vhost-user", "10.2", &["posted".to_owned()]).unwrap();
        assert_eq!(named, ["posted"]);
        assert!(others(&spec, "vhost-user", "10.2", &["12".to_owned()]).is_err());
        assert!(others(&spec, "vhost-user", "11.1", &[]).unwrap().is_empty());
    }
}
