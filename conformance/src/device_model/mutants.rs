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

use devmig_model::registry::Library;
use devmig_model::spec::{SourceFile, SpecErrors};
use devmig_reference::nic::{Encoder, Mutant, Release};

use super::golden;
use super::runner::{self, Run};
use super::subject::{Subject, Transport};
use super::suite::Test;
use crate::harness::mutation::{self, HarnessError, MutantResult, MutationReport};
use crate::harness::parallel::in_turn;
use crate::harness::report::{Result as TestResult, Status, SuiteReport, merged};
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
        let names: Vec<&str> = suite.iter().map(|test| test.base.as_str()).collect();
        Ok(MutationRun { library, suite, program, idle: suite_files::idle(&names, &file)? })
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
            limit: Duration::from_secs(10),
            most,
            seed: 1,
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
            library: self.library,
            subject: &subject,
            reproduce: "devmig test device-model --mutants".to_owned(),
            waivers: Vec::new(),
        };
        Ok(runner::run(&run, tests, |_| ()))
    }

    /// The whole suite against the reference as it is, several tests at a time.
    ///
    /// # Errors
    /// See [`MutationRun::subject`].
    pub fn as_it_is(&self, bed: TestBed, most: usize) -> Result<SuiteReport, HarnessError> {
        let tests: Vec<&Test> = self.suite.iter().collect();
        let parts: Vec<&[&Test]> = tests.chunks(4).collect();
        let reports = in_turn(&parts, AT_ONCE, |part| self.run(bed, None, most, part));
        let reports = reports.into_iter().collect::<Result<Vec<_>, _>>()?;
        merged(reports).ok_or_else(|| HarnessError("there are no tests".into()))
    }

    /// What is wrong with such a run, which should find nothing.
    #[must_use]
    pub fn complaints(report: &SuiteReport) -> Vec<String> {
        let bad = |status| !matches!(status, Status::Pass | Status::Skip);
        let results = report.results.iter().filter(|result| bad(result.status));
        results.map(|result| result.detail("")).collect()
    }

    /// Hunts these faults with the whole suite. `done` is told of each as it ends. If `all` is set, these
    /// are all there are, and a test that finds none of them is complained of.
    ///
    /// # Errors
    /// See [`MutationRun::subject`].
    pub fn hunt(
        &self,
        mutants: &[Mutant],
        all: bool,
        done: impl Fn(&MutantResult) + Sync,
    ) -> Result<MutationReport, HarnessError> {
        let tests: Vec<&Test> = self.suite.iter().collect();
        let fates = in_turn(mutants, AT_ONCE, |mutant| {
            let run = |bed| self.run(bed, Some(*mutant), FEW, &tests);
            let cites =
                |result: &TestResult| mutation::cites(self.library, &tests, *mutant, result);
            let fate = MutantResult::sought(*mutant, TestBed::ALL, run, cites)?;
            let fate = fate.judged();
            done(&fate);
            Ok(fate)
        });
        let fates = fates.into_iter().collect::<Result<Vec<MutantResult>, HarnessError>>()?;
        let wrong = if all { self.useless(&fates) } else { Vec::new() };
        Ok(MutationReport::of(fates, wrong))
    }

    /// Tests that find nothing, and are not said to; and the reverse.
    fn useless(&self, fates: &[MutantResult]) -> Vec<String> {
        let mut bases: Vec<&str> = self.suite.iter().map(|test| test.base.as_str()).collect();
        bases.dedup();
        let wrong = bases.into_iter().filter_map(|base| {
            let mut of = self.suite.iter().filter(|test| test.base == base);
            let useful = of.any(|test| fates.iter().any(|fate| fate.is_found_by(&test.id)));
            mutation::needless(base, useful, self.idle.iter().any(|listed| listed == base))
        });
        wrong.collect()
    }
}
