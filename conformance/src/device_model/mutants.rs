//! The suite held against the reference NIC and its faults.
//!
//! ```text
//!   each release and encoder, as it is     --suite-->  every test passes
//!   ... with each fault                    --suite-->  a test that cites the fault's clause finds it
//!                                           |
//!   mutants.toml: tests that find no fault, and why; an entry that no longer holds is an error
//! ```
//!
//! The reference is run as anybody's would be: as a program, by its command line and its socket.
//!
//! **Invariant.** Results come in the order of the faults, however many run at once.

use std::time::Duration;

use devmig_engine::rules::Rules;
use devmig_model::registry::Library;
use devmig_model::spec::{SourceFile, SpecErrors};
use devmig_reference::nic::{Encoder, Mutant, Release};

use super::golden;
use super::pairs;
use super::runner::{self, Run};
use super::subject::Subject;
use super::suite::{Form, Test};
use super::transport::Transport;
use crate::harness::mutation::{self, BedTests, HarnessError, Reference};
use crate::harness::report::{Status, SuiteReport};
use crate::harness::suite_files;

/// Programs that are tested at once.
pub const AT_ONCE: usize = 4;

/// How many cases of a kind are tried of a device without a fault, in short.
pub const FEW: usize = 12;

/// A build of the reference, and one that it exchanges state with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TestBed {
    /// What is under test.
    pub own: (Release, Encoder),
    /// Its peer.
    pub peer: (Release, Encoder),
}

impl TestBed {
    /// Every release and encoder, each with a peer that is as far from it as can be. A fault is looked
    /// for in them in this order.
    pub const ALL: [TestBed; 4] = {
        use Encoder::{First, Second};
        use Release::{One, Two};
        [
            TestBed { own: (One, First), peer: (Two, Second) },
            TestBed { own: (Two, Second), peer: (One, First) },
            TestBed { own: (Two, First), peer: (Two, Second) },
            TestBed { own: (One, Second), peer: (Two, First) },
        ]
    };

    /// As reports name it.
    #[must_use]
    pub fn name(self) -> String {
        format!("release {}, {} encoder", self.own.0, encoder(self.own.1))
    }
}

fn encoder(encoder: Encoder) -> &'static str {
    match encoder {
        Encoder::First => "first",
        Encoder::Second => "second",
    }
}

/// Where the suite meets the reference.
#[derive(Debug)]
pub struct MutationRun<'a> {
    /// Everything that is loaded.
    pub library: &'a Library,
    /// All tests.
    pub suite: &'a [Test],
    /// The tests in which life-cycle actions meet.
    pub pairs: Vec<Test>,
    /// The program `devmig`.
    pub program: String,
    /// Entries of the suite that find no fault.
    idle: Vec<String>,
}

impl<'a> MutationRun<'a> {
    /// For a suite; `program` is the path of `devmig`.
    ///
    /// # Errors
    /// Problems of what is expected.
    pub fn new(
        library: &'a Library,
        suite: &'a [Test],
        program: String,
    ) -> Result<Self, SpecErrors> {
        let file = SourceFile::new("mutants.toml", include_str!("mutants.toml"));
        let names: Vec<&str> = suite.iter().map(|test| test.entry.as_str()).collect();
        let (pairs, idle) = (pairs::tests(library)?, suite_files::idle(&names, &file)?);
        Ok(MutationRun { library, suite, pairs, program, idle })
    }

    fn words(
        &self,
        device: &[&str],
        build: (Release, Encoder),
        mutant: Option<Mutant>,
    ) -> Vec<String> {
        let (release, coder) = (build.0.to_string(), encoder(build.1));
        let mut words = vec![self.program.as_str(), "device"];
        words.extend(device);
        words.extend(["--release", &release, "--encoder", coder]);
        words.extend(mutant.iter().flat_map(|mutant| ["--mutant", mutant.name()]));
        words.into_iter().map(str::to_owned).collect()
    }

    /// The reference as a subject.
    ///
    /// # Errors
    /// If there are no golden states, which is a bug.
    pub fn subject(
        &self,
        bed: TestBed,
        mutant: Option<Mutant>,
        most: usize,
    ) -> Result<Subject, HarnessError> {
        let golden = golden::builtin().map_err(|error| HarnessError(error.to_string()))?;
        Ok(Subject {
            program: self.words(&["nic"], bed.own, mutant),
            transports: Transport::ALL.map(|transport| (transport, transport.usual())).to_vec(),
            control: Some(self.words(&["serve", "--control", "{socket}"], bed.own, mutant)),
            elsewhere: Some(["--link", "none"].map(str::to_owned).to_vec()),
            peer: Some(self.words(&["nic"], bed.peer, None)),
            golden,
            start: Duration::from_secs(10),
            limit: Duration::from_secs(10),
            most,
        })
    }

    /// Tests against the reference as this build, with this fault.
    ///
    /// # Errors
    /// See [`MutationRun::subject`].
    pub fn run(
        &self,
        bed: TestBed,
        mutant: Option<Mutant>,
        most: usize,
        tests: &[&Test],
    ) -> Result<SuiteReport, HarnessError> {
        let subject = self.subject(bed, mutant, most)?;
        let run = Run {
            reproduce: "devmig test device-model --mutants".to_owned(),
            ..Run::new(self.library, &subject, runner::TEXT, Rules::default())
        };
        Ok(runner::run(&run, tests, |_| ()))
    }

    /// The whole suite against the reference as it is, several tests at a time.
    ///
    /// # Errors
    /// See [`MutationRun::subject`].
    pub fn as_it_is(&self, bed: TestBed, most: usize) -> Result<SuiteReport, HarnessError> {
        mutation::side_by_side(&self.tests(), 4, AT_ONCE, |part| self.run(bed, None, most, part))
    }

    /// What is wrong with such a run, which should find nothing.
    #[must_use]
    pub fn complaints(report: &SuiteReport) -> Vec<String> {
        mutation::complaints(report, |r| matches!(r.status, Status::Pass | Status::Skip))
    }
}

impl Reference for MutationRun<'_> {
    type Form = Form;
    type Mutant = Mutant;
    type Bed = TestBed;
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
        TestBed::ALL.map(|bed| (bed, tests.to_vec())).to_vec()
    }

    fn run_at(
        &self,
        bed: TestBed,
        mutant: Mutant,
        tests: &[&Test],
    ) -> Result<SuiteReport, HarnessError> {
        // What is right the first time is for pairs to find, and nothing else is.
        let is_pair = |test: &&Test| self.pairs.iter().any(|pair| pair.id == test.id);
        let tests: Vec<&Test> =
            tests.iter().copied().filter(|test| is_pair(test) == mutant.meets()).collect();
        self.run(bed, Some(mutant), FEW, &tests)
    }
}
