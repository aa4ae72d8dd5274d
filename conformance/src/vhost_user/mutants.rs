//! The suite held against the reference back-end and its faults.
//!
//! ```text
//!   reference, as it is     --suite-->  every test passes, under every setting
//!   reference, each mutant  --suite-->  a test that cites the mutant's clause finds it:
//!                                       on the disk, or by what only a NIC can be put to on the NIC
//!                                       |
//!   mutants.toml: what is not so, and why; an entry that no longer holds is an error
//! ```
//!
//! Everything runs in this process, over real Unix sockets, several back-ends at a time.
//!
//! **Invariants.** Results come in the order of the mutants, however many run at once. What is
//! expected stands in the data and nowhere in code.

mod expected;

pub use expected::Expected;

use std::time::Duration;

use devmig_engine::rules::Rules;
use devmig_model::registry::Library;
use devmig_model::spec::SpecErrors;
use devmig_reference::nic::{Link, NicConfig, Parameters};
use devmig_reference::vhost_user::net::NetOptions;
use devmig_reference::vhost_user::{Mutant, Options, Running, Settings};

use expected::Slow;

use super::pairs;
use super::runner::{self, Run};
use super::session::{Device, Limits, Subject};
use super::suite::{Form, Need, Test};
use super::without::Without;
use crate::harness::io::target::Target;
use crate::harness::mutation::{self, BedTests, HarnessError, MutantResult};
use crate::harness::pairs::PREFIX;
use crate::harness::report::{Result as TestResult, Status, SuiteReport, merged};

/// Back-ends that are tested at once. Most of the time is spent waiting.
pub const AT_ONCE: usize = 8;
/// How far apart tests are in the list that are taken one after the other: a prime number, so that each
/// is taken once.
const STRIDE: usize = 59;
/// How long a back-end may take to end.
const ENDS: Duration = Duration::from_secs(5);

/// Where the suite meets the reference.
#[derive(Debug)]
pub struct MutationRun<'a> {
    /// Everything that is loaded.
    pub library: &'a Library,
    /// The tests of the suite.
    pub suite: &'a [Test],
    /// Those in which life-cycle actions meet.
    pub pairs: Vec<Test>,
    /// The rules that are enforced.
    pub rules: Rules,
    /// The version of the text.
    pub text: String,
    /// Goes on past what breaks a clause.
    pub goes_past: bool,
    /// A fault that the reference has besides.
    pub behind: Option<Mutant>,
    /// What is not simply found.
    pub expected: Expected,
}

/// A device of the reference's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TestBed {
    /// A disk with one ring.
    Disk,
    /// A NIC whose wire is a loop, with two pairs of queues and a ring of commands.
    Nic,
}

impl TestBed {
    /// Both.
    pub const ALL: [TestBed; 2] = [TestBed::Disk, TestBed::Nic];

    /// What the suite takes it for.
    fn device(self) -> Device {
        match self {
            TestBed::Disk => Device::Blk,
            TestBed::Nic => Device::NetLoopback,
        }
    }

    /// As `--device` names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            TestBed::Disk => "blk",
            TestBed::Nic => "net-loopback",
        }
    }

    /// These settings as such a device has them: for NICs the text leaves no choice about disabled
    /// rings.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Settings {
        let mut own = settings;
        let plain = own.list().any(|setting| setting == "disabled.requests=finish");
        match self {
            TestBed::Nic if plain && own.set("disabled.requests=process").is_ok() => own,
            _ => settings,
        }
    }

    /// Whether it has what a test needs, apart from protocol features.
    #[must_use]
    pub fn suits(self, test: &Test) -> bool {
        self == TestBed::Nic || test.needs.iter().all(|need| matches!(need, Need::Feature(..)))
    }

    fn options(
        self,
        settings: Settings,
        mutant: Option<Mutant>,
        slow: Slow,
    ) -> Result<Options, HarnessError> {
        let settings = self.settings(settings);
        let mut options = Options { settings, mutant, ..Options::default() };
        let latency = slow.latency;
        match self {
            TestBed::Disk => {
                options.block.latency = latency;
                options.block.out_of_order = slow.out_of_order;
            }
            TestBed::Nic => {
                let config = NicConfig::new(Parameters { queue_pairs: 2, ..Parameters::default() });
                let config = config.map_err(|error| HarnessError(error.to_string()))?;
                options.net =
                    Some(NetOptions { config, link: Link::Loopback, latency, flap: None });
            }
        }
        Ok(options)
    }
}

impl<'a> MutationRun<'a> {
    /// For a suite, judged by rules.
    ///
    /// # Errors
    /// Problems of what is expected.
    pub fn new(
        library: &'a Library,
        suite: &'a [Test],
        rules: Rules,
        text: &str,
    ) -> Result<Self, SpecErrors> {
        let expected = Expected::builtin(library, suite)?;
        let pairs = pairs::tests(library)?;
        Ok(MutationRun {
            library,
            suite,
            pairs,
            rules,
            text: text.to_owned(),
            goes_past: false,
            behind: None,
            expected,
        })
    }

    /// The tests whose script is legal: a malformed message ends what can be judged.
    #[must_use]
    pub fn legal(&self) -> Vec<&'a Test> {
        self.suite.iter().filter(|test| !test.id.starts_with("malformed.")).collect()
    }

    /// Tests against the reference with these settings and this fault.
    ///
    /// # Errors
    /// If the reference cannot be started or ended.
    pub fn run(
        &self,
        bed: TestBed,
        settings: Settings,
        mutant: Option<Mutant>,
        tests: &[&Test],
    ) -> Result<SuiteReport, HarnessError> {
        let slow = self.expected.slow.iter().find(|(slow, _)| Some(*slow) == mutant);
        let usual = Slow { latency: Duration::from_millis(4), out_of_order: false };
        self.run_at_pace(bed, settings, mutant, slow.map_or(usual, |(_, slow)| *slow), tests)
    }

    /// Tests against a disk whose requests take so long.
    ///
    /// # Errors
    /// If the reference cannot be started or ended.
    pub fn run_fast(
        &self,
        latency: Duration,
        mutant: Option<Mutant>,
        tests: &[&Test],
    ) -> Result<SuiteReport, HarnessError> {
        let pace = Slow { latency, out_of_order: false };
        self.run_at_pace(TestBed::Disk, Settings::default(), mutant, pace, tests)
    }

    fn run_at_pace(
        &self,
        bed: TestBed,
        settings: Settings,
        mutant: Option<Mutant>,
        slow: Slow,
        tests: &[&Test],
    ) -> Result<SuiteReport, HarnessError> {
        let latency = slow.latency;
        let silence = Duration::from_millis(400).max(latency * 25);
        // What is owed by a device without a fault comes, even if the machine is busy; what a faulty one
        // owes is waited for briefly, since it often does not come.
        let owed = mutant.map_or(Duration::from_secs(5), |_| silence);
        let limits = Limits {
            connect: Duration::from_secs(10),
            owed,
            silence,
            quiet: Duration::from_millis(40).max(latency * 3),
            confirms: mutant.is_none(),
        };
        let options = Options { behind: self.behind, ..bed.options(settings, mutant, slow)? };
        let running = Running::start(options).map_err(|error| HarnessError(error.to_string()))?;
        let target = Target::Socket(running.socket());
        let outside = running.outside().to_string_lossy().into_owned();
        let subject = Subject {
            target: &target,
            device: bed.device(),
            scratch: false,
            limits,
            outside: Some(&outside),
            without: Without::default(),
        };
        let run = Run {
            reproduce: format!("devmig test vhost-user --device {} --mutants", bed.name()),
            goes_past: self.goes_past,
            ..Run::new(self.library, subject, &self.text, self.rules)
        };
        let report = runner::run(&run, tests, |_| ());
        running.stop(ENDS).map_err(|error| HarnessError(error.to_string()))?;
        Ok(report)
    }

    /// Tests against a fault that only what happened before shows: each test has a process of its own, so
    /// that this is what happened in it. They are taken in an order that mixes the actions, until one
    /// that cites the fault's clause has found it.
    fn meeting(
        &self,
        bed: TestBed,
        mutant: Mutant,
        pairs: &[&Test],
    ) -> Result<SuiteReport, HarnessError> {
        let mut reports = Vec::new();
        let mixed = (0..pairs.len()).map(|n| pairs[n * STRIDE % pairs.len()]);
        for test in mixed {
            let report = self.run(bed, Settings::default(), Some(mutant), &[test])?;
            let cites = |result: &TestResult| {
                let about = self.library.spec.clause_name(test.clause);
                result.is_finding() && [about, &result.clause].contains(&mutant.clause())
            };
            let is_found = report.results.iter().any(cites);
            reports.push(report);
            if is_found {
                break;
            }
        }
        match merged(reports) {
            Some(report) => Ok(report),
            None => self.run(bed, Settings::default(), Some(mutant), &[]),
        }
    }

    /// What is wrong with a run against the reference as it is, which should find nothing.
    #[must_use]
    pub fn complaints(
        &self,
        bed: TestBed,
        settings: &Settings,
        tests: &[&Test],
        report: &SuiteReport,
    ) -> Vec<String> {
        let settings = bed.settings(*settings);
        let mut wrong = mutation::complaints(report, |result| {
            let suits = tests.iter().any(|test| test.id == result.test && bed.suits(test));
            let skipped = self.expected.skips(&result.test) || !suits;
            let expected = if skipped { Status::Skip } else { Status::Pass };
            let may_fail = self.expected.may_fail.iter().any(|(setting, test, _)| {
                *test == result.test && settings.list().any(|item| item == *setting)
            });
            result.status == expected || may_fail
        });
        let (ran, all) = (report.results.len(), tests.len());
        if ran != all {
            wrong.push(format!("only {ran} of {all} tests ran"));
        }
        // What was seen is consistent with what the back-end is set to do.
        wrong.extend(mutation::misread(settings.list(), report));
        wrong
    }
}

impl mutation::Reference for MutationRun<'_> {
    type Form = Form;
    type Mutant = Mutant;
    type Bed = TestBed;
    const AT_ONCE: usize = AT_ONCE;
    const TRIES: usize = 3;

    fn library(&self) -> &Library {
        self.library
    }

    fn tests(&self) -> Vec<&Test> {
        self.legal().into_iter().chain(&self.pairs).collect()
    }

    fn idle(&self) -> &[String] {
        &self.expected.idle
    }

    fn beds<'t>(&self, tests: &[&'t Test]) -> Vec<BedTests<'t, Self>> {
        // What a disk cannot show: on the NIC, if it is still to be shown.
        let beyond = tests.iter().copied().filter(|test| !TestBed::Disk.suits(test));
        vec![(TestBed::Disk, tests.to_vec()), (TestBed::Nic, beyond.collect())]
    }

    fn run_at(
        &self,
        bed: TestBed,
        mutant: Mutant,
        tests: &[&Test],
    ) -> Result<SuiteReport, HarnessError> {
        let is_pair = |test: &Test| test.id.starts_with(PREFIX);
        let (pairs, others): (Vec<&Test>, Vec<&Test>) =
            tests.iter().copied().partition(|test| is_pair(test));
        match mutant.meets() {
            true => self.meeting(bed, mutant, &pairs),
            false => self.run(bed, Settings::default(), Some(mutant), &others),
        }
    }

    /// One that is found in another clause's name.
    fn expected(&self, mutant: Mutant, mut fate: MutantResult) -> MutantResult {
        let as_other = self.expected.found_as.iter().find(|(of, ..)| *of == mutant);
        if let Some((_, clause, why)) = as_other {
            if fate.killed {
                fate.wrong.push("a test of its clause finds it, but it is listed".into());
            } else if fate.others.contains_key(clause) {
                fate.killed = true;
            } else {
                fate.wrong.push(format!("it is listed as found by {clause}, but is not"));
            }
            fate.reason = Some(why.clone());
        }
        fate
    }
}
