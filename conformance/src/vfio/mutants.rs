//! The suite held against the reference device and its faults.
//!
//! ```text
//!   reference, as it is     --suite-->  every test passes, in every feature set, under every setting
//!   reference, each mutant  --suite-->  a test that cites the mutant's clause finds it
//!   every entry of the suite            finds a mutant, or `mutants.toml` says what it is for
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use devmig_engine::clause::ChoiceId;
use devmig_engine::rules::Rules;
use devmig_model::registry::Library;
use devmig_model::spec::{SourceFile, SpecErrors};
use devmig_reference::migration::state;
use devmig_reference::nic::{Link, NicConfig, Parameters};
use devmig_reference::pci::FunctionOptions;
use devmig_reference::vfio_user::settings::P2p;
use devmig_reference::vfio_user::{CoreOptions, Mutant, Settings};

use super::runner::{self, Run};
use super::session::Limits;
use super::suite::Test;
use super::user::Reference;
use crate::harness::mutation::{self, HarnessError, MutantResult, MutationReport};
use crate::harness::parallel::in_turn;
use crate::harness::report::{Result as TestResult, Status, SuiteReport, merged};
use crate::harness::suite_files;

/// Devices that are tested at once. Most of the time is spent waiting.
pub const AT_ONCE: usize = 4;
/// How long a frame takes.
const LATENCY: Duration = Duration::from_millis(1);

/// How the reference is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TestBed {
    /// Over a real socket.
    Socket,
    /// In this process, where also can be asked what vfio-user has no message for.
    Process,
}

impl TestBed {
    /// Both.
    pub const ALL: [TestBed; 2] = [TestBed::Socket, TestBed::Process];

    /// As reports name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            TestBed::Socket => "vfio-user",
            TestBed::Process => "in process",
        }
    }
}

/// Where a fault is looked for, until a test that cites its clause has found it: over a socket first,
/// then where more can be asked, then by what only some devices do.
const BEDS: [(TestBed, u64, &str); 4] = [
    (TestBed::Socket, 5, ""),
    (TestBed::Process, 5, ""),
    (TestBed::Socket, 7, ""),
    (TestBed::Socket, 5, "resume.bad-data=error"),
];

/// Where the suite meets the reference.
#[derive(Debug)]
pub struct MutationRun<'a> {
    /// Everything that is loaded.
    pub library: &'a Library,
    /// All tests.
    pub suite: &'a [Test],
    /// The rules that are enforced.
    pub rules: Rules,
    /// The version of the text.
    pub text: String,
    /// Entries of the suite that find no fault.
    idle: Vec<String>,
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
        let file = SourceFile::new("mutants.toml", include_str!("mutants.toml"));
        let names: Vec<&str> = suite.iter().map(|test| test.entry.as_str()).collect();
        let idle = suite_files::idle(&names, &file)?;
        Ok(MutationRun { library, suite, rules, text: text.to_owned(), idle })
    }

    /// Tests against the reference with these features, settings and this fault.
    ///
    /// # Errors
    /// If the reference cannot be made.
    pub fn run(
        &self,
        bed: TestBed,
        flags: u64,
        settings: Settings,
        mutant: Option<Mutant>,
        tests: &[&Test],
    ) -> Result<SuiteReport, HarnessError> {
        let as_vfio = flags & state::P2P != 0;
        let p2p = if as_vfio { P2p::AsVfio } else { P2p::Unused };
        let settings = Settings { p2p, ..settings };
        let place = place(bed, flags, settings, mutant)?;
        // A sound device is found out; a fault is not to pass for another reading.
        let whole = mutant.is_some();
        let pins = settings.list().filter_map(|setting| pin(self.library, &setting, whole));
        let run = Run {
            library: self.library,
            place: &place,
            limits: Limits { work: Duration::from_millis(500), quiet: Duration::from_millis(5) },
            pinned: pins.collect(),
            p2p: false,
            reproduce: "devmig test vfio-user --mutants".to_owned(),
            text: self.text.clone(),
            rules: self.rules,
            waivers: Vec::new(),
            seed: 1,
        };
        Ok(runner::play(&run, tests, &[], |_| ()))
    }

    /// The whole suite against the reference with every feature, over a real socket, several tests at a
    /// time.
    ///
    /// # Errors
    /// If the reference cannot be made.
    pub fn all_features(&self) -> Result<SuiteReport, HarnessError> {
        let tests: Vec<&Test> = self.suite.iter().collect();
        let parts: Vec<&[&Test]> = tests.chunks(tests.len().div_ceil(AT_ONCE).max(1)).collect();
        let settings = Settings::default();
        let reports =
            in_turn(&parts, AT_ONCE, |part| self.run(TestBed::Socket, 7, settings, None, part));
        let reports = reports.into_iter().collect::<Result<Vec<_>, _>>()?;
        merged(reports).ok_or_else(|| HarnessError("there are no tests".into()))
    }

    /// Hunts these faults with the whole suite. `done` is told of each as it ends. If `all` is set, these
    /// are all there are, and an entry that finds none of them is complained of.
    ///
    /// # Errors
    /// If the reference cannot be made.
    pub fn hunt(
        &self,
        mutants: &[Mutant],
        all: bool,
        done: impl Fn(&MutantResult) + Sync,
    ) -> Result<MutationReport, HarnessError> {
        let tests: Vec<&Test> = self.suite.iter().collect();
        let fates = in_turn(mutants, AT_ONCE, |mutant| {
            let run = |(bed, flags, settings)| {
                self.run(bed, flags, parsed(settings)?, Some(*mutant), &tests)
            };
            let cites =
                |result: &TestResult| mutation::cites(self.library, &tests, *mutant, result);
            let fate = MutantResult::sought(*mutant, BEDS, run, cites)?;
            let fate = fate.judged();
            done(&fate);
            Ok(fate)
        });
        let mutants = fates.into_iter().collect::<Result<Vec<MutantResult>, HarnessError>>()?;
        let wrong = if all { self.idle(&mutants)? } else { Vec::new() };
        Ok(MutationReport::of(mutants, wrong))
    }

    /// Entries of the suite of which no test finds a fault, and that are not listed; or the other way
    /// round. Where a fault was found before everything was tried, the rest is tried with those.
    fn idle(&self, fates: &[MutantResult]) -> Result<Vec<String>, HarnessError> {
        let mut entries: BTreeMap<&str, bool> = BTreeMap::new();
        for test in self.suite {
            *entries.entry(&test.entry).or_default() |=
                fates.iter().any(|fate| fate.is_found_by(&test.id));
        }
        let still = |test: &&Test| entries.get(test.entry.as_str()) == Some(&false);
        let still: Vec<&Test> = self.suite.iter().filter(still).collect();
        let found = in_turn(Mutant::ALL, AT_ONCE, |mutant| {
            let mut found = Vec::new();
            for (bed, flags, settings) in BEDS {
                let report = self.run(bed, flags, parsed(settings)?, Some(*mutant), &still)?;
                let findings = report.results.into_iter().filter(TestResult::is_finding);
                found.extend(findings.map(|result| result.test));
            }
            Ok(found)
        });
        let found = found.into_iter().collect::<Result<Vec<_>, HarnessError>>()?.concat();
        for test in still.iter().filter(|test| found.contains(&test.id)) {
            entries.insert(&test.entry, true);
        }
        let wrong = entries.into_iter().filter_map(|(entry, useful)| {
            mutation::needless(entry, useful, self.idle.iter().any(|listed| listed == entry))
        });
        Ok(wrong.collect())
    }

    /// What is wrong with a run against the reference as it is, which should find nothing.
    #[must_use]
    pub fn complaints(&self, settings: &Settings, report: &SuiteReport) -> Vec<String> {
        let bad = |status| !matches!(status, Status::Pass | Status::Skip);
        let results = report.results.iter().filter(|result| bad(result.status));
        let mut wrong: Vec<String> = results.map(|result| result.detail("")).collect();
        // What was seen is consistent with what the device is set to do.
        for setting in settings.list() {
            let Some((name, option)) = setting.split_once('=') else { continue };
            let reading = report.readings.iter().find(|(choice, _)| choice.ends_with(name));
            if let Some((_, options)) = reading
                && !options.iter().any(|possible| possible == option)
            {
                wrong.push(format!("{name} is {option}, but {options:?} was observed"));
            }
        }
        wrong
    }
}

/// The option to which the reference is set: all, or only what says which device it is.
fn pin(library: &Library, setting: &str, all: bool) -> Option<(ChoiceId, u8)> {
    let pin = |prefix: &str| library.spec.pin(&format!("{prefix}.{setting}")).ok();
    let wanted = all || setting.starts_with("p2p.flag");
    wanted.then(|| pin("vfio-user").or_else(|| pin("vfio"))).flatten()
}

fn parsed(settings: &str) -> Result<Settings, HarnessError> {
    settings.parse().map_err(|error| HarnessError(format!("{error}")))
}

fn core(
    flags: u64,
    settings: Settings,
    mutant: Option<Mutant>,
    filter: u16,
) -> Result<CoreOptions, HarnessError> {
    let parameters = Parameters { rx_filter_size: filter, ..Parameters::default() };
    let config = NicConfig::new(parameters).map_err(|error| HarnessError(error.to_string()))?;
    let function = FunctionOptions { config, link: Link::Loopback, latency: LATENCY };
    Ok(CoreOptions { function, features: flags, settings, mutant })
}

/// The reference, made for each test.
///
/// # Errors
/// If it cannot be made.
pub fn place(
    bed: TestBed,
    flags: u64,
    settings: Settings,
    mutant: Option<Mutant>,
) -> Result<Reference, HarnessError> {
    let filter = Parameters::default().rx_filter_size;
    Ok(Reference {
        core: core(flags, settings, mutant, filter)?,
        other: core(flags, settings, None, filter + 1)?,
        socket: bed == TestBed::Socket,
        limit: Duration::from_secs(2),
    })
}
