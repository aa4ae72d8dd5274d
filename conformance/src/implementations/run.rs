//! Installing a real implementation, running the suite against it, and holding the report against
//! what is known of it.
//!
//! **Invariants.** What is new is never taken for known. A deviation that is seen now and then does
//! not fail for being absent. Nothing sensitive leaves this file but a clause's id.

use std::path::PathBuf;
use std::time::Duration;

use devmig_model::spec::matches;

use super::installed::{self, Missing};
use super::kernel::Guests;
use super::setting::{Setting, cache};
use super::{Deviation, Peer, Serves, When};
use crate::harness::io::process::Command;
use crate::harness::io::target::Target;
use crate::harness::pairs::PREFIX;
use crate::harness::report::{Offers, Result as TestResult, Status, SuiteReport};
use crate::vfio::guest::Opening;
use crate::vhost_user::length;
use crate::vhost_user::runner::{self, Run};
use crate::vhost_user::session::{Device, Limits, Subject};
use crate::vhost_user::suite::Test;
use crate::vhost_user::without::Without;

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
        /// Offers and readings that are not as held, and answers that depend on how a device is opened.
        changed: Vec<String>,
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
            Verdict::Ran { listed, new, gone, changed, errors, .. } => {
                let as_held = new.is_empty() && gone.is_empty() && changed.is_empty();
                !errors.is_empty() || (*listed && !as_held)
            }
        }
    }
}

/// Tests of an implementation that run at the same time, besides those of the other implementations.
const JOBS: usize = 4;

/// Tests that are not held against peers: hundreds of conversations each, and some peers take seconds
/// to start.
const NOT_HELD: &str = "malformed.every-*";

/// How long to wait. What is known was confirmed when it was recorded.
fn limits() -> Limits {
    Limits { owed: Duration::from_secs(5), confirms: false, ..Limits::default() }
}

impl Peer {
    /// Installs it.
    ///
    /// # Errors
    /// The command that failed, with its last words.
    pub fn install(&self) -> Result<(), Missing> {
        self.prepare()?;
        installed::install(self.install.iter().cloned())
    }

    /// Its version, if it is there.
    ///
    /// # Errors
    /// Why it is not.
    pub fn find_version(&self) -> Result<String, Missing> {
        self.is_as_configured()?;
        Ok(installed::version(&self.version, |name| self.program(name))?.1)
    }

    /// Where its program is: what was installed for these runs comes first.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        let own = cache().join("bin").join(name);
        if own.exists() { own } else { PathBuf::from(name) }
    }

    /// Runs the suite and holds the report against what is known.
    #[must_use]
    pub fn run(&self, setting: Setting<'_>) -> Verdict {
        let version = match self.find_version() {
            Ok(version) => version,
            Err(why) => return Verdict::NotRun(why.to_string()),
        };
        match self.run_version(setting, version) {
            Ok(verdict) => verdict,
            Err(why) => Verdict::NotRun(why.to_string()),
        }
    }

    fn run_version(&self, setting: Setting<'_>, version: String) -> Result<Verdict, Missing> {
        match &self.serves {
            Serves::Mediated { device } => {
                let guests = Guests::new(self, device, setting)?;
                let [report, other] = Opening::ALL.map(|opening| guests.play(opening, None));
                let (report, other) = (report?, other?);
                let differ = differences(&report, &other);
                let again = |known: &Deviation| guests.play(Opening::Node, Some(&known.test));
                let mut verdict = self.held(version, report, again);
                if let Verdict::Ran { changed, .. } = &mut verdict {
                    changed.extend(differ);
                }
                Ok(verdict)
            }
            Serves::VhostUser { device, spawn, .. } => {
                let tests = self.tests(setting.suite);
                self.over_vhost_user(setting, version, *device, spawn, tests)
            }
        }
    }

    /// The tests of vhost-user that are run against it.
    fn tests<'s>(&self, suite: &'s [Test]) -> Vec<&'s Test> {
        let Serves::VhostUser { pairs_one_in, .. } = self.serves else { return Vec::new() };
        let pairs =
            || suite.iter().map(|test| test.id.as_str()).filter(|id| id.starts_with(PREFIX));
        // What is recorded must be seen again: the first test that shows it is among them.
        let recorded = self.known.iter().filter(|known| known.test.starts_with(PREFIX));
        let shows = recorded.filter_map(|known| pairs().find(|id| matches(&known.test, id)));
        let pairs: Vec<&str> = pairs().step_by(pairs_one_in.get()).chain(shows).collect();
        let held = |test: &&Test| match test.id.starts_with(PREFIX) {
            true => pairs.contains(&test.id.as_str()),
            false => !matches(NOT_HELD, &test.id),
        };
        suite.iter().filter(held).collect()
    }

    /// About how long each of its tests takes, and how many run at the same time; none of what tells of its
    /// tests only when all are over.
    #[must_use]
    pub fn planned(&self, suite: &[Test]) -> (Vec<Duration>, usize) {
        let length = |test: &Test| length::of_test(test, limits());
        (self.tests(suite).into_iter().map(length).collect(), JOBS)
    }

    fn over_vhost_user(
        &self,
        setting: Setting<'_>,
        version: String,
        device: Device,
        spawn: &str,
        tests: Vec<&Test>,
    ) -> Result<Verdict, Missing> {
        let (program, rest) = spawn.split_once(' ').unwrap_or((spawn, ""));
        let command = format!("{} {rest}", self.program(program).display());
        let command = Command::parse(&command)?;
        let target = Target::Spawn(command);
        let name = clap::ValueEnum::to_possible_value(&device);
        let name = name.map(|value| value.get_name().to_owned()).unwrap_or_default();
        let limits = limits();
        let subject = Subject {
            target: &target,
            device,
            scratch: true,
            limits,
            outside: None,
            without: Without::default(),
        };
        let run = Run {
            reproduce: format!(
                "devmig test vhost-user --device {name} --scratch --spawn {}",
                shell_words::quote(spawn)
            ),
            ends_early: true,
            jobs: JOBS,
            goes_past: true,
            ..Run::new(setting.library, subject, setting.text, setting.rules)
        };
        let report = runner::run(&run, &tests, |result| (setting.done)(result));
        let report = self.confirmed(&version, report, |is_new| {
            let limits = Limits { confirms: true, ..limits };
            let run = Run { subject: Subject { limits, ..subject }, ..run.clone() };
            let tests: Vec<&Test> = tests.iter().copied().filter(|test| is_new(&test.id)).collect();
            runner::run(&run, &tests, |_| ()).results
        });
        Ok(self.held(version, report, |deviation| {
            let shows = |test: &&Test| matches(&deviation.test, &test.id);
            let again: Vec<&Test> = setting.suite.iter().filter(shows).collect();
            Ok(runner::run(&run, &again, |_| ()))
        }))
    }

    /// The report after each finding that is not recorded was confirmed: `again` runs these tests with
    /// longer limits.
    fn confirmed(
        &self,
        version: &str,
        report: SuiteReport,
        again: impl FnOnce(&dyn Fn(&str) -> bool) -> Vec<TestResult>,
    ) -> SuiteReport {
        let mut new = found(&report);
        new.retain(|finding| !self.known.iter().any(|d| d.covers(version) && d.is(finding)));
        if new.is_empty() {
            return report;
        }
        let mut patient = again(&|id| new.iter().any(|(test, _)| test == id));
        let taken = |result: TestResult| {
            let place = patient.iter().position(|other| other.test == result.test);
            place.map_or(result, |place| patient.swap_remove(place))
        };
        let results = report.results.iter().cloned().map(taken).collect();
        report.with(results)
    }

    /// Holds a report against what is known. `again` runs the tests that may show a deviation.
    fn held(
        &self,
        version: String,
        mut report: SuiteReport,
        again: impl Fn(&Deviation) -> Result<SuiteReport, Missing>,
    ) -> Verdict {
        let known: Vec<&Deviation> = self.known.iter().filter(|d| d.covers(&version)).collect();
        let mut seen = found(&report);
        let errors = report.results.iter().filter(|r| r.status == Status::Error);
        let mut errors: Vec<String> = errors
            .map(|r| format!("{}: {}", r.test, r.observed.clone().unwrap_or_default()))
            .collect();
        for deviation in known.iter().filter(|d| d.when == When::Sometimes) {
            for _ in 1..deviation.tries {
                if seen.iter().any(|finding| deviation.is(finding)) {
                    break;
                }
                match again(deviation) {
                    Ok(report) => {
                        let new = found(&report).into_iter().filter(|f| !seen.contains(f));
                        let new: Vec<Finding> = new.collect();
                        seen.extend(new);
                    }
                    Err(why) => errors.push(format!("{}: {why}", deviation.test)),
                }
            }
        }
        redact(&mut report, &known);
        let (expected, new): (Vec<&Finding>, Vec<&Finding>) =
            seen.iter().partition(|finding| known.iter().any(|d| d.is(finding)));
        let gone = known
            .iter()
            .filter(|d| d.when == When::Always && !seen.iter().any(|finding| d.is(finding)));
        Verdict::Ran {
            listed: self.listed.contains(&version),
            seen: shown(&known, &expected),
            new: new.into_iter().map(words).collect(),
            gone: gone.map(|d| words(&(d.test.clone(), d.clause.clone()))).collect(),
            changed: self.changed(&report),
            errors,
            version,
            report: Box::new(report),
        }
    }

    /// Offers and readings that are not as held. A run need not exclude as much as is held, and may
    /// exclude more; but what is held and what was seen must have an option in common.
    fn changed(&self, report: &SuiteReport) -> Vec<String> {
        let mut changed = Vec::new();
        let said =
            |offers: &Offers| format!("{} and {}", offers.features, offers.protocol_features);
        if let Some(offers) = report.offers.as_ref().filter(|offers| **offers != self.offers) {
            changed.push(format!(
                "offers the features {}, expected {}",
                said(offers),
                said(&self.offers)
            ));
        }
        for (choice, seen) in &report.readings {
            let held = self.readings.get(choice);
            if held.is_some_and(|held| !held.iter().any(|option| seen.contains(option))) {
                let (seen, held) =
                    (seen.join(" or "), held.map_or(String::new(), |h| h.join(" or ")));
                changed.push(format!("takes {choice} = {seen}, expected {held}"));
            }
        }
        changed
    }
}

/// Leaves out what must not be shown.
pub(crate) fn redact(report: &mut SuiteReport, known: &[&Deviation]) {
    for result in &mut report.results {
        let of = (result.test.clone(), result.clause.clone());
        if known.iter().any(|d| d.sensitive && d.is(&of)) {
            result.observed = Some(format!("violates {}", result.clause));
            result.reproduce = String::from("(not shown)");
            result.expected.clear();
            result.log.clear();
            result.process = None;
        }
        let test = &result.test;
        for further in &mut result.further {
            let of = (test.clone(), further.clause.clone());
            if known.iter().any(|d| d.sensitive && d.is(&of)) {
                further.observed = format!("violates {}", further.clause);
                further.expected.clear();
                further.log.clear();
            }
        }
    }
}

/// Where a driver answers one way by its device's node, and another by its group.
fn differences(node: &SuiteReport, group: &SuiteReport) -> Vec<String> {
    let differs = |TestResult { test, status: node, .. }: &TestResult| {
        let group = group.results.iter().find(|result| result.test == *test);
        let group = group.map(|result| result.status);
        (group != Some(*node)).then(|| {
            let group = group.map_or_else(|| "nothing".to_owned(), |status| status.to_string());
            format!("{test}: {node} by the device's node, {group} by its group")
        })
    };
    node.results.iter().filter_map(differs).collect()
}

/// A test and the clause that it found broken.
pub(crate) type Finding = (String, String);

/// The findings of a report, with those that tests made after their first one.
pub(crate) fn found(report: &SuiteReport) -> Vec<Finding> {
    let each = report.results.iter().flat_map(|result| result.each());
    let each = each.filter(|result| result.is_finding());
    let mut all: Vec<Finding> = Vec::new();
    for finding in each.map(|result| (result.test.clone(), result.clause.clone())) {
        if !all.contains(&finding) {
            all.push(finding);
        }
    }
    all
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

/// A finding in words.
pub(crate) fn words((test, clause): &Finding) -> String {
    format!("{test} violates {clause}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::report::{Further, Outcome};
    use devmig_model::registry::Library;

    #[test]
    fn what_a_test_found_after_its_first_finding_is_held_and_left_out_too() {
        let library = Library::builtin().unwrap();
        let suite = crate::vhost_user::suite::builtin(&library).unwrap();
        let outcome = Outcome::new(Status::Fail);
        let about = suite[0].about();
        let mut result = about.result(&library, outcome, Vec::new(), String::new());
        let (first, second) = (result.clause.clone(), "vhost-user.reply.unasked".to_owned());
        let further = |clause: &str| Further {
            clause: clause.to_owned(),
            level: "MUST".to_owned(),
            status: Status::Fail,
            observed: "a secret".to_owned(),
            expected: vec!["a secret".to_owned()],
            after: vec![first.clone()],
            log: vec!["a secret".to_owned()],
        };
        result.further = vec![further(&second), further(&first)];
        let test = result.test.clone();
        let mut report = SuiteReport::of("", "", 1, vec![result], &[]);
        assert_eq!(found(&report), [(test.clone(), first.clone()), (test.clone(), second.clone())]);

        let known = Deviation {
            test,
            clause: second,
            since: "1".to_owned(),
            until: None,
            when: When::Always,
            tries: 1,
            evidence: None,
            sensitive: true,
        };
        redact(&mut report, &[&known]);
        let [kept, other] = &report.results[0].further[..] else { panic!("two findings") };
        assert_eq!(kept.observed, "violates vhost-user.reply.unasked");
        assert!(kept.expected.is_empty() && kept.log.is_empty());
        assert_eq!(other.observed, "a secret");
    }

    #[test]
    fn of_few_pairs_those_are_among_the_tests_that_show_what_is_recorded() {
        let library = Library::builtin().unwrap();
        let suite = crate::vhost_user::suite::whole(&library).unwrap();
        let peers = super::super::builtin(&library, &suite).unwrap();
        let dpdk = peers.iter().find(|peer| peer.name == "dpdk-testpmd").unwrap();
        let count = |peer: &Peer, pattern: &str| {
            peer.tests(&suite).iter().filter(|test| matches(pattern, &test.id)).count()
        };
        let recorded: Vec<&str> = dpdk.known.iter().map(|known| &*known.test).collect();
        let pairs = recorded.iter().filter(|test| test.starts_with(PREFIX));
        assert!(pairs.clone().count() >= 2, "{recorded:?}");
        assert!(pairs.clone().all(|pattern| count(dpdk, pattern) > 0));
        // Without the record of it, none is.
        let unknown = Peer { known: Vec::new(), ..dpdk.clone() };
        assert!(pairs.clone().any(|pattern| count(&unknown, pattern) == 0), "{recorded:?}");
        assert!(count(&unknown, "pair.*") >= 20);
    }

    /// What differs where the first three tests of VFIO's suite ended so by node, and so by group.
    fn of(node: &[Status], group: &[Status]) -> Vec<String> {
        let library = Library::builtin().unwrap();
        let suite = crate::vfio::suite::builtin(&library).unwrap();
        let report = |statuses: &[Status]| {
            let result = |(test, status): (&crate::vfio::suite::Test, &Status)| {
                test.about().result(&library, Outcome::new(*status), Vec::new(), String::new())
            };
            let results = suite.iter().zip(statuses).map(result).collect();
            SuiteReport::of("", "", 1, results, &[])
        };
        let ids =
            |line: String| line.replace(&suite[0].id, "first").replace(&suite[1].id, "second");
        differences(&report(node), &report(group)).into_iter().map(ids).collect()
    }

    #[test]
    fn a_test_that_ends_differently_by_the_group_or_not_at_all_is_told() {
        use Status::{Fail, Pass};
        assert!(of(&[Pass, Fail], &[Pass, Fail]).is_empty());
        let differs = of(&[Pass, Fail], &[Fail, Fail]);
        assert_eq!(differs, ["first: pass by the device's node, FAIL by its group"]);
        let lacks = of(&[Pass, Fail], &[Pass]);
        assert_eq!(lacks, ["second: FAIL by the device's node, nothing by its group"]);
    }
}
