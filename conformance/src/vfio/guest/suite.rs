//! The suite in guests of a kernel.
//!
//! ```text
//!   tests that return   --one guest----------> report
//!   tests that may not  --a guest for each---> report, or what hung  --> one report
//! ```
//!
//! **Invariants.** Each test has a result, in the order in which they ran. What hangs is a finding about
//! that test; what the guest had still to do is skipped, with that as the reason.
//!
//! **Not here:** any judgement of what a driver does: the guest's command makes it.

use std::time::Duration;

use devmig_model::registry::Library;

use super::{Ended, Machine, OUT, Opening, RESULTS, RunError};
use crate::harness::report::{Outcome, Result as TestResult, Status, SuiteReport, merged};
use crate::vfio::suite::Test;

/// What the kernel's last words are cut to, in lines.
const LAST: usize = 3;

/// How to run the suite.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The kernel.
    pub machine: &'a Machine,
    /// The type of the mediated device (`mtty-2`).
    pub device: &'a str,
    /// How it is opened.
    pub opening: Opening,
    /// The version of the text.
    pub text: &'a str,
    /// How long the tests that return may take together.
    pub limit: Duration,
    /// How long one that may not return may take.
    pub alone: Duration,
}

impl Plan<'_> {
    /// Runs these tests. None gives none.
    ///
    /// # Errors
    /// If there is no guest.
    pub fn play(
        &self,
        library: &Library,
        tests: &[&Test],
    ) -> Result<Option<SuiteReport>, RunError> {
        let (alone, together): (Vec<&Test>, Vec<&Test>) =
            tests.iter().partition(|test| test.may_hang.is_some());
        let mut reports = Vec::new();
        if !together.is_empty() {
            reports.push(self.guest(library, &together, self.limit)?);
        }
        for test in alone {
            reports.push(self.guest(library, &[test], self.alone)?);
        }
        Ok(merged(reports))
    }

    /// One guest.
    fn guest(
        &self,
        library: &Library,
        tests: &[&Test],
        limit: Duration,
    ) -> Result<SuiteReport, RunError> {
        let results = format!("/{OUT}/{RESULTS}");
        let mut arguments = vec!["test", "vfio"];
        arguments.extend(self.opening.words());
        arguments.extend(["--text", self.text, "--format", "json", "--results", results.as_str()]);
        arguments.extend(tests.iter().flat_map(|test| ["--only", test.id.as_str()]));
        let ended = self.machine.run(self.device, &arguments, limit)?;
        Ok(self.told(library, tests, &ended, limit))
    }

    /// What a guest has to tell, whole or not.
    fn told(
        &self,
        library: &Library,
        tests: &[&Test],
        ended: &Ended,
        limit: Duration,
    ) -> SuiteReport {
        let mut report = serde_json::from_str(&ended.output).unwrap_or_else(|_| {
            let kept = ended.results.lines().filter_map(|line| serde_json::from_str(line).ok());
            SuiteReport::of(&self.again(), self.text, 1, kept.collect(), &[])
        });
        let (mut status, mut why) = match (ended.hung, ended.code) {
            (true, _) => {
                let seconds = limit.as_secs();
                (Status::Fail, format!("the kernel did not return within {seconds} s"))
            }
            (false, None) => (Status::Fail, format!("the kernel ended:{}", last(&ended.console))),
            (false, Some(code)) => {
                let said = last(&ended.errors);
                (Status::Error, format!("the guest's command exits with {code}:{said}"))
            }
        };
        for test in tests.iter().skip(report.results.len()) {
            report.results.push(self.result(library, test, status, &why));
            if status != Status::Skip {
                (status, why) = (Status::Skip, format!("the guest was ended after {}", test.id));
            }
        }
        for (result, test) in report.results.iter_mut().zip(tests) {
            result.purpose.clone_from(&test.purpose);
        }
        report
    }

    fn result(&self, library: &Library, test: &Test, status: Status, said: &str) -> TestResult {
        let outcome = Outcome { observed: Some(said.to_owned()), ..Outcome::new(status) };
        let again = format!("{} --only {}", self.again(), test.id);
        test.about().result(library, outcome, Vec::new(), again)
    }

    /// The command in the guest.
    fn again(&self) -> String {
        format!("devmig test vfio {}", self.opening.words().join(" "))
    }
}

fn last(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LAST);
    lines.iter().skip(from).map(|line| format!("\n{line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfio::suite;

    const LIMIT: Duration = Duration::from_secs(9);

    fn planned<T>(opening: Opening, then: impl FnOnce(Plan<'_>, &Library, &[&Test]) -> T) -> T {
        let library = Library::builtin().unwrap();
        let suite = suite::builtin(&library).unwrap();
        let tests: Vec<&Test> = suite.iter().take(3).collect();
        let machine = Machine { kernel: "linux".into(), program: "devmig".into() };
        let (device, text, limit, alone) = ("mtty-2", "7.1", LIMIT, LIMIT);
        let plan = Plan { machine: &machine, device, opening, text, limit, alone };
        then(plan, &library, &tests)
    }

    fn told(ended: &Ended) -> SuiteReport {
        planned(Opening::Node, |plan, library, tests| {
            merged(vec![plan.told(library, tests, ended, LIMIT)]).unwrap()
        })
    }

    fn line() -> String {
        planned(Opening::Node, |plan, library, tests| {
            let result = plan.result(library, tests[0], Status::Pass, "");
            serde_json::to_string(&result).unwrap() + "\n"
        })
    }

    #[test]
    fn a_result_says_how_the_device_was_opened() {
        let again = |opening| {
            planned(opening, |plan, library, tests| {
                plan.result(library, tests[0], Status::Pass, "").reproduce
            })
        };
        assert!(
            again(Opening::Node).starts_with("devmig test vfio --cdev /dev/vfio/devices/vfio0 ")
        );
        assert!(
            again(Opening::Group).starts_with("devmig test vfio --group /dev/vfio/0 --device ")
        );
    }

    #[test]
    fn a_guest_that_hangs_fails_the_test_that_ran_and_skips_the_rest() {
        let ended = Ended { results: line(), hung: true, ..Ended::default() };
        let report = told(&ended);
        let statuses: Vec<Status> = report.results.iter().map(|result| result.status).collect();
        assert_eq!(statuses, [Status::Pass, Status::Fail, Status::Skip]);
        let said = report.results[1].observed.as_deref();
        assert_eq!(said, Some("the kernel did not return within 9 s"));
        let said = report.results[2].observed.as_deref().unwrap();
        assert_eq!(said, format!("the guest was ended after {}", report.results[1].test));
        assert_eq!((report.summary.pass, report.summary.fail, report.summary.skip), (1, 1, 1));
    }

    #[test]
    fn a_kernel_that_ends_is_a_finding_with_its_last_words() {
        let ended = Ended { console: "a\nb\nKernel panic\n".into(), ..Ended::default() };
        let report = told(&ended);
        assert_eq!(report.results[0].status, Status::Fail);
        assert!(report.results[0].observed.as_deref().unwrap().ends_with("Kernel panic"));
    }

    #[test]
    fn a_command_that_cannot_do_its_part_is_an_error_of_the_harness() {
        let errors = "error: no such device".to_owned();
        let ended = Ended { code: Some(2), errors, ..Ended::default() };
        let report = told(&ended);
        assert_eq!(report.results[0].status, Status::Error);
        assert!(report.results[0].observed.as_deref().unwrap().contains("no such device"));
    }

    #[test]
    fn a_whole_report_is_taken_over() {
        let first = told(&Ended { results: line().repeat(3), ..Ended::default() });
        let readings = vec![("vfio.reset.target".to_owned(), vec!["running".to_owned()])];
        let first = SuiteReport { readings, ..first };
        let output = serde_json::to_string(&first).unwrap();
        assert_eq!(told(&Ended { output, code: Some(0), ..Ended::default() }), first);
    }
}
