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

use std::collections::BTreeMap;
use std::time::Duration;

use devmig_model::library::Library;
use devmig_model::spec::{
    Diagnostics, Item, SourceFile, Spanned, SpecErrors, did_you_mean, with_help,
};
use devmig_reference::nic::{Encoder, Mutant, Release};
use serde::Deserialize;

use super::golden;
use super::runner::{self, Run};
use super::subject::{Subject, Transport};
use super::suite::Test;
use crate::parallel::in_turn;
use crate::report::{Result as TestResult, Status, SuiteReport, merged};
use crate::vhost_user::mutants::{Fate, Hunt};

/// Programs that are tested at once.
pub const AT_ONCE: usize = 4;

/// How many cases of a kind are tried of a device without a fault, in short.
pub const FEW: usize = 12;

/// A build of the reference, and one that it exchanges state with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bed {
    /// What is under test.
    pub own: (Release, Encoder),
    /// Its peer.
    pub peer: (Release, Encoder),
}

impl Bed {
    /// Every release and encoder, each with a peer that is as far from it as can be. A fault is looked
    /// for in them in this order.
    pub const ALL: [Bed; 4] = {
        use Encoder::{First, Second};
        use Release::{One, Two};
        [
            Bed { own: (One, First), peer: (Two, Second) },
            Bed { own: (Two, Second), peer: (One, First) },
            Bed { own: (Two, First), peer: (Two, Second) },
            Bed { own: (One, Second), peer: (Two, First) },
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
pub struct Bench<'a> {
    /// Everything that is loaded.
    pub library: &'a Library,
    /// All tests.
    pub suite: &'a [Test],
    /// The program `devmig`.
    pub program: String,
    /// Tests that find no fault, and why.
    idle: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIdle {
    test: Spanned<String>,
    reason: Spanned<String>,
}

/// The reference could not be tested.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the reference device: {0}")]
pub struct Trouble(String);

impl<'a> Bench<'a> {
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
        let mut d = Diagnostics::default();
        let mut tables = file.parse(&mut d);
        let items: Vec<Item<RawIdle>> = tables.items("idle", &mut d);
        tables.finish(&["idle"], &mut d);
        let mut idle = Vec::new();
        for item in &items {
            let (id, reason) = (item.value.test.get_ref(), item.value.reason.get_ref());
            if !suite.iter().any(|test| test.base == *id) {
                let message = format!("no test is called `{id}`");
                let error = item.error(item.value.test.span(), message, "unknown test");
                let ids = suite.iter().map(|test| test.base.as_str());
                d.push(with_help(error, did_you_mean(id, ids)));
            }
            if reason.trim().is_empty() {
                d.push(item.error(item.value.reason.span(), "a reason is missing", "here"));
            }
            idle.push((id.clone(), reason.clone()));
        }
        d.finish(Bench { library, suite, program, idle })
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
        bed: Bed,
        mutant: Option<Mutant>,
        most: usize,
    ) -> Result<Subject, Trouble> {
        let golden = golden::builtin().map_err(|error| Trouble(error.to_string()))?;
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
    /// See [`Bench::subject`].
    pub fn run(
        &self,
        bed: Bed,
        mutant: Option<Mutant>,
        most: usize,
        tests: &[&Test],
    ) -> Result<SuiteReport, Trouble> {
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
    /// See [`Bench::subject`].
    pub fn as_it_is(&self, bed: Bed, most: usize) -> Result<SuiteReport, Trouble> {
        let tests: Vec<&Test> = self.suite.iter().collect();
        let parts: Vec<&[&Test]> = tests.chunks(4).collect();
        let reports = in_turn(&parts, AT_ONCE, |part| self.run(bed, None, most, part));
        let reports = reports.into_iter().collect::<Result<Vec<_>, _>>()?;
        merged(reports).ok_or_else(|| Trouble("there are no tests".into()))
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
    /// See [`Bench::subject`].
    pub fn hunt(
        &self,
        mutants: &[Mutant],
        all: bool,
        done: impl Fn(&Fate) + Sync,
    ) -> Result<Hunt, Trouble> {
        let tests: Vec<&Test> = self.suite.iter().collect();
        let fates = in_turn(mutants, AT_ONCE, |mutant| {
            let mut results = Vec::new();
            for bed in Bed::ALL {
                results.extend(self.run(bed, Some(*mutant), FEW, &tests)?.results);
                if results.iter().any(|result| self.cites(*mutant, result)) {
                    break;
                }
            }
            let fate = self.fate(*mutant, &results);
            done(&fate);
            Ok(fate)
        });
        let mutants = fates.into_iter().collect::<Result<Vec<Fate>, Trouble>>()?;
        let wrong = if all { self.useless(&mutants) } else { Vec::new() };
        let killed = mutants.iter().filter(|fate| fate.killed).count();
        let as_expected = wrong.is_empty() && mutants.iter().all(|fate| fate.wrong.is_empty());
        let survived = mutants.len() - killed;
        Ok(Hunt { schema: 1, mutants, killed, survived, wrong, as_expected })
    }

    /// Tests that find nothing, and are not said to; and the reverse.
    fn useless(&self, fates: &[Fate]) -> Vec<String> {
        let found = |fate: &Fate| -> Vec<String> {
            fate.tests.iter().chain(fate.others.values().flatten()).cloned().collect()
        };
        let found: Vec<String> = fates.iter().flat_map(found).collect();
        let mut wrong = Vec::new();
        let mut bases: Vec<&str> = self.suite.iter().map(|test| test.base.as_str()).collect();
        bases.dedup();
        for base in bases {
            let of = |test: &&Test| test.base == base;
            let useful = self.suite.iter().filter(of).any(|test| found.contains(&test.id));
            match (useful, self.idle.iter().any(|(id, _)| id == base)) {
                (false, false) => wrong.push(format!("{base} finds no mutant")),
                (true, true) => wrong.push(format!("{base} finds a mutant, and is listed")),
                _ => {}
            }
        }
        wrong
    }

    /// Whether a result is a finding that cites the clause of a fault.
    fn cites(&self, mutant: Mutant, result: &TestResult) -> bool {
        let test = self.suite.iter().find(|test| test.id == result.test);
        let about = test.map(|test| self.library.spec.clause_name(test.clause));
        is_found(result) && (result.clause == mutant.clause() || about == Some(mutant.clause()))
    }

    fn fate(&self, mutant: Mutant, results: &[TestResult]) -> Fate {
        let (mut tests, mut others) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
        for result in results.iter().filter(|result| is_found(result)) {
            match self.cites(mutant, result) {
                true => tests.push(result.test.clone()),
                false => others.entry(result.clause.clone()).or_default().push(result.test.clone()),
            }
        }
        let errors = results.iter().filter(|result| result.status == Status::Error);
        let mut wrong: Vec<String> = errors.map(|error| error.detail("")).collect();
        let killed = !tests.is_empty();
        if !killed {
            wrong.push("it survives".into());
        }
        Fate {
            mutant: mutant.name().to_owned(),
            clause: mutant.clause().to_owned(),
            about: mutant.about().to_owned(),
            killed,
            tests,
            others,
            reason: None,
            wrong,
        }
    }
}

fn is_found(result: &TestResult) -> bool {
    matches!(result.status, Status::Fail | Status::Warn)
}
