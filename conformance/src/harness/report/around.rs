//! What a second run shows that went around a cause by which nearly every test of the first fails.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Result, Summary, causes};

/// The cause, what was left out to go around it, and what the tests showed then.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Around {
    /// The clause that nearly every test found broken.
    pub clause: String,
    /// What came in the first of them.
    pub observed: String,
    /// How many tests failed so.
    pub count: usize,
    /// Of how many that were judged.
    pub judged: usize,
    /// The features that were left out; empty if leaving them all out does not help.
    pub without: Vec<String>,
    /// The counts of the second run.
    pub summary: Summary,
    /// The tests of the second run.
    pub results: Vec<Result>,
}

impl Around {
    /// The options of the second run.
    #[must_use]
    pub fn options(&self) -> String {
        let options: Vec<String> = self.without.iter().map(|f| format!("--without {f}")).collect();
        options.join(" ")
    }

    /// The closing part of a console report.
    #[must_use]
    pub fn text(&self, clause_text: impl Fn(&str) -> String) -> String {
        let Around { clause, count, judged, .. } = self;
        let observed = self.observed.lines().next().unwrap_or_default();
        let mut out = format!("\n{count} of {judged} tests fail alike: {clause}: {observed}\n");
        if self.without.is_empty() {
            out += "No feature that can be left out avoids that, so what comes after it is not known.\n";
            return out;
        }
        let _ = writeln!(out, "A second run with {} avoids that:", self.options());
        for cause in causes(&self.results) {
            let _ = writeln!(out, "\n{}", cause.text(&clause_text(&cause.first.clause)).trim_end());
        }
        let Summary { pass, warn, fail, skip, error, .. } = self.summary;
        let _ = writeln!(
            out,
            "\nsecond run, {}: {pass} passed, {warn} warned, {fail} failed, {skip} skipped, \
             {error} errors\nThe counts below are those of the first run:",
            self.options()
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn the_second_run_is_told_apart_from_the_first() {
        let found = Result::example("t", Status::Fail, "dirty-log.marks", "nothing is marked");
        let around = Around {
            clause: "reply.must".into(),
            observed: "no reply\nprinted".into(),
            count: 9,
            judged: 10,
            without: vec!["MQ".into(), "CONFIG".into()],
            summary: Summary::of(std::slice::from_ref(&found)),
            results: vec![found],
        };
        let text = around.text(|_| String::new());
        assert!(text.contains("9 of 10 tests fail alike: reply.must: no reply\n"), "{text}");
        assert!(text.contains("with --without MQ --without CONFIG"), "{text}");
        assert!(text.contains("nothing is marked"), "{text}");
        let none = Around { without: Vec::new(), ..around };
        assert!(none.text(|_| String::new()).contains("No feature"));
    }
}
