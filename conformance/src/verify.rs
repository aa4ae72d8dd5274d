//! Everything that is built in, once: systems, proposals and bugs are explored, and the suites are run
//! against the reference devices, over real sockets.

use devmig_engine::columns::{count, grid};
use devmig_engine::explore::Report;
use devmig_model::analysis::bug::Detected;
use devmig_model::analysis::change::Examined;
use devmig_model::analysis::corpus;
use devmig_model::analysis::listing::{head, row, yes};
use devmig_model::analysis::{self, Explorer, Outcome, Stage};
use devmig_model::registry::Library;
use devmig_model::spec::SpecErrors;
use schemars::JsonSchema;
use serde::Serialize;

use crate::device_model;
use crate::device_model::mutants::{FEW, TestBed};
use crate::harness::report::{Result as TestResult, SuiteReport};
use crate::vfio::{self, mutants::MutationRun};
use crate::vhost_user::{self, reference};

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something cannot be explored.
    #[error(transparent)]
    Analysis(#[from] analysis::Error),
    /// A reference device cannot be run.
    #[error("cannot test the reference device: {0}")]
    Reference(String),
}

impl From<SpecErrors> for Error {
    fn from(errors: SpecErrors) -> Self {
        Error::Analysis(errors.into())
    }
}

/// What `--format json` writes.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Document")]
pub struct Verification {
    /// The version of this form: 2. In version 1 the properties `rules-kept`, `deadlock-free` and
    /// `no-starvation` were called `rules`, `stuck` and `progress`, and `X: non-vacuous` was called
    /// `X: can happen`; all else is the same.
    schema: u32,
    /// All that follows is as expected.
    as_expected: bool,
    /// Every system, explored.
    systems: Vec<Report>,
    /// Every proposal, against the base.
    proposals: Vec<Examined>,
    /// Every bug of a real implementation, with the properties that detect it.
    bugs: Vec<Detected>,
    /// The suite against the reference back-end.
    suite: SuiteReport,
    /// The VFIO suite against the reference device, over vfio-user.
    vfio: SuiteReport,
    /// The suite for device models against the reference NIC, as a program.
    device_model: SuiteReport,
}

impl Verification {
    /// Explores and tests everything; `program` is this program, which serves the reference NIC.
    ///
    /// # Errors
    /// Problems of what is built in, and reference devices that cannot be run.
    pub fn of(explorer: &Explorer<'_>, library: &Library, program: String) -> Result<Self, Error> {
        let systems = explorer.explore_all(library, &library.catalogue(&[]))?;
        let proposals = corpus::builtin(explorer, library)?;
        let proposals = proposals.into_iter().map(|(_, examined)| examined).collect();
        let bugs = library.bugs();
        explorer.expects(bugs.len());
        let bugs = bugs.iter().map(|bug| Detected::of(explorer, library, bug));
        let bugs = bugs.collect::<Result<_, _>>()?;
        let suite = back_end(explorer, library)?;
        let vfio = device(library)?;
        let device_model = nic(library, program)?;
        let mut found = Verification {
            schema: 2,
            as_expected: false,
            systems,
            proposals,
            bugs,
            suite,
            vfio,
            device_model,
        };
        found.as_expected = found.outcome() == Outcome::Expected
            && found.suites().into_iter().all(|(_, suite)| passes(suite));
        Ok(found)
    }

    /// The reports of the suites, each with its name.
    #[must_use]
    pub fn suites(&self) -> [(&'static str, &SuiteReport); 3] {
        [
            ("suite: vhost-user, reference back-end", &self.suite),
            ("suite: vfio-user, reference device", &self.vfio),
            ("suite: device-model, reference NIC", &self.device_model),
        ]
    }

    /// What all that is explored comes to.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let systems = self.systems.iter().map(Outcome::of_report);
        let proposals = self.proposals.iter().map(Examined::outcome);
        let all = systems.chain(proposals).chain(self.bugs.iter().map(Detected::outcome));
        all.max().unwrap_or(Outcome::Expected)
    }

    /// What is not as expected, and a table of all.
    #[must_use]
    pub fn text(&self, library: &Library) -> String {
        let mut text = String::new();
        for report in self.systems.iter().filter(|report| !report.as_expected) {
            text += &format!("{}\n", report.text());
        }
        for examined in self.proposals.iter().filter(|examined| !examined.as_expected) {
            text += &format!("{}\n", examined.text());
        }
        for bug in self.bugs.iter().filter(|bug| !bug.met) {
            text += &bug.text();
        }
        for (_, suite) in self.suites().into_iter().filter(|(_, suite)| !passes(suite)) {
            text += &suite.closing(|id| library.spec.clause_text(id));
            text.push('\n');
        }
        text + &self.table()
    }

    /// Systems, each proposal's systems and expectations, bugs, the suites.
    fn table(&self) -> String {
        let mut rows = vec![head()];
        rows.extend(self.systems.iter().map(row));
        let mut expectations = 0;
        for examined in &self.proposals {
            for system in &examined.systems {
                let mut row = row(&system.proposed);
                row[0] = format!("{}: {}", examined.proposal, row[0]);
                rows.push(row);
            }
            for expected in &examined.expectations {
                expectations += 1;
                let mut row = row(&expected.report);
                let options: Vec<_> = expected.under.values().filter_map(|o| o.as_str()).collect();
                row[0] = format!("{}: {} ({})", examined.proposal, row[0], options.join(", "));
                row[5] = yes(expected.met);
                rows.push(row);
            }
        }
        for examined in &self.proposals {
            let (schemes, descriptions) = (&examined.schemes, &examined.descriptions);
            let all = [
                ("schemes", schemes.iter().map(|one| one.met).collect::<Vec<_>>()),
                ("descriptions", descriptions.iter().map(|one| one.met).collect()),
            ];
            for (what, met) in all.into_iter().filter(|(_, met)| !met.is_empty()) {
                expectations += met.len();
                let met = met.into_iter().all(|met| met);
                let mut row = vec![String::new(); rows[0].len()];
                row[0] = format!("{}: {what}", examined.proposal);
                row[4] = if met { "as said" } else { "otherwise" }.to_owned();
                row[5] = yes(met);
                rows.push(row);
            }
        }
        for (examined, states) in
            self.proposals.iter().filter_map(|e| Some((e, e.states.as_ref()?)))
        {
            expectations += 1;
            let mut row = vec![String::new(); rows[0].len()];
            row[0] = format!("{}: migration states", examined.proposal);
            row[4] = if states.found.is_sound() { "sound" } else { "unsound" }.to_owned();
            row[5] = yes(states.met);
            rows.push(row);
        }
        for bug in &self.bugs {
            let mut row = row(&bug.report);
            row[5] = yes(bug.met);
            rows.push(row);
        }
        let suites = self.suites();
        for (name, suite) in suites {
            let passes = passes(suite);
            let mut row = vec![String::new(); rows[0].len()];
            row[0] = name.to_owned();
            row[4] = if passes { "passes" } else { "fails" }.to_owned();
            row[5] = yes(passes);
            rows.push(row);
        }
        let not = rows.iter().skip(1).filter(|row| row[5] != yes(true)).count();
        let verdict = match not {
            0 => "all as expected".to_owned(),
            not => format!("{not} NOT as expected"),
        };
        format!(
            "{}\n{}, {}, {}, {}, {} ({} skipped): {verdict}\n",
            grid(&rows),
            count(self.systems.len(), "system"),
            count(self.proposals.len(), "proposal"),
            count(expectations, "expectation"),
            count(self.bugs.len(), "bug"),
            count(suites.iter().map(|(_, suite)| suite.results.len()).sum(), "test"),
            suites.iter().map(|(_, suite)| suite.summary.skip).sum::<usize>(),
        )
    }
}

/// Whether a suite has found nothing, and could be run.
#[must_use]
pub fn passes(report: &SuiteReport) -> bool {
    let summary = report.summary;
    summary.error + summary.fail + summary.warn == 0
}

/// The suite against the reference back-end, whose every reading is known.
fn back_end(explorer: &Explorer<'_>, library: &Library) -> Result<SuiteReport, Error> {
    let rules = library.spec.judged_by("vhost-user", "10.2").map_err(analysis::Error::from)?;
    let suite = vhost_user::suite::builtin(library)?;
    explorer.expects(suite.len());
    let done = |result: &TestResult| {
        explorer.tell(Stage::Running(&result.test, None));
        explorer.tell(Stage::Done);
    };
    reference::run(library, rules, &suite, &done).map_err(Error::Reference)
}

/// The VFIO suite against the reference device with every feature, over vfio-user.
fn device(library: &Library) -> Result<SuiteReport, Error> {
    let suite = vfio::suite::builtin(library)?;
    let rules = library.spec.judged_by("linux-vfio", "7.1").map_err(analysis::Error::from)?;
    let run = MutationRun::new(library, &suite, rules, "7.1")?;
    run.all_features().map_err(|why| Error::Reference(why.to_string()))
}

/// The suite for device models, in short, against the second release of the NIC with the first as its
/// peer.
fn nic(library: &Library, program: String) -> Result<SuiteReport, Error> {
    let suite = device_model::suite::builtin(library)?;
    let run = device_model::mutants::MutationRun::new(library, &suite, program)?;
    let report = run.as_it_is(TestBed::ALL[1], FEW);
    report.map_err(|why| Error::Reference(why.to_string()))
}
