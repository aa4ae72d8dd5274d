//! The suite held against the reference device and its faults.
//!
//! ```text
//!   reference, as it is     --suite-->  every test passes, in every feature set, under every setting
//!   reference, each mutant  --suite-->  a test that cites the mutant's clause finds it
//!   every entry of the suite            finds a mutant, or `mutants.toml` says what it is for
//! ```

use std::time::Duration;

use devmig_engine::clause::ChoiceId;
use devmig_engine::rules::Rules;
use devmig_model::protocol::vfio_user::MAX_DATA;
use devmig_model::registry::Library;
use devmig_model::spec::{SourceFile, SpecErrors};
use devmig_reference::migration::state;
use devmig_reference::nic::{Link, NicConfig, Parameters};
use devmig_reference::pci::FunctionOptions;
use devmig_reference::vfio_user::settings::P2p;
use devmig_reference::vfio_user::{CoreOptions, Mutant, Settings};

use super::pairs;
use super::runner::{self, Run, Subject};
use super::session::Limits;
use super::suite::{Form, Test};
use super::user::Reference;
use super::without::Without;
use crate::harness::mutation::{self, BedTests, HarnessError, Reference as _};
use crate::harness::report::{Status, SuiteReport};
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
    /// The most bytes of data in one message that the reference takes.
    pub max_data: usize,
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
        let pairs = pairs::tests(library)?;
        Ok(MutationRun {
            library,
            suite,
            pairs,
            rules,
            text: text.to_owned(),
            goes_past: false,
            behind: None,
            max_data: MAX_DATA,
            idle,
        })
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
        let mut place = place(bed, flags, settings, mutant)?;
        place.core.behind = self.behind;
        place.core.max_data = self.max_data;
        // A sound device is found out; a fault is not to pass for another reading.
        let whole = mutant.is_some();
        let pins = settings.list().filter_map(|setting| pin(self.library, &setting, whole));
        let subject = Subject {
            place: &place,
            limits: Limits {
                work: Duration::from_millis(500),
                quiet: Duration::from_millis(5),
                confirms: mutant.is_none(),
            },
            p2p: false,
            without: Without::default(),
        };
        let run = Run {
            pinned: pins.collect(),
            reproduce: "devmig test vfio-user --mutants".to_owned(),
            goes_past: self.goes_past,
            ..Run::new(self.library, subject, &self.text, self.rules)
        };
        Ok(runner::play(&run, tests, &[], |_| ()))
    }

    /// The whole suite against the reference with every feature, over a real socket, several tests at a
    /// time.
    ///
    /// # Errors
    /// If the reference cannot be made.
    pub fn all_features(&self) -> Result<SuiteReport, HarnessError> {
        let (tests, settings) = (self.tests(), Settings::default());
        let size = tests.len().div_ceil(AT_ONCE);
        mutation::side_by_side(&tests, size, AT_ONCE, |part| {
            self.run(TestBed::Socket, 7, settings, None, part)
        })
    }

    /// What is wrong with a run against the reference as it is, which should find nothing.
    #[must_use]
    pub fn complaints(&self, settings: &Settings, report: &SuiteReport) -> Vec<String> {
        let found =
            mutation::complaints(report, |r| matches!(r.status, Status::Pass | Status::Skip));
        // What was seen is consistent with what the device is set to do.
        [found, mutation::misread(settings.list(), report)].concat()
    }
}

impl mutation::Reference for MutationRun<'_> {
    type Form = Form;
    type Mutant = Mutant;
    type Bed = (TestBed, u64, &'static str);
    const AT_ONCE: usize = AT_ONCE;

    fn library(&self) -> &Library {
        self.library
    }

    fn tests(&self) -> Vec<&Test> {
        self.suite.iter().chain(&self.pairs).collect()
    }

    fn idle(&self) -> &[String] {
        &self.idle
    }

    fn beds<'t>(&self, tests: &[&'t Test]) -> Vec<BedTests<'t, Self>> {
        BEDS.map(|bed| (bed, tests.to_vec())).to_vec()
    }

    fn run_at(
        &self,
        (bed, flags, settings): Self::Bed,
        mutant: Mutant,
        tests: &[&Test],
    ) -> Result<SuiteReport, HarnessError> {
        // What is right the first time is for pairs to find, and nothing else is.
        let is_pair = |test: &&Test| self.pairs.iter().any(|pair| pair.id == test.id);
        let tests: Vec<&Test> =
            tests.iter().copied().filter(|test| is_pair(test) == mutant.meets()).collect();
        self.run(bed, flags, parsed(settings)?, Some(mutant), &tests)
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
    Ok(CoreOptions { mutant, ..CoreOptions::new(function, flags, settings) })
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
