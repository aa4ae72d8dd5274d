//! `devmig verify`: everything that is built in, once: systems and proposals are explored, and the
//! suite is run against the reference back-end, over a real socket.

use devmig_model::registry::Library;
use devmig_model::spec::builtin_proposals;
use schemars::JsonSchema;
use serde::Serialize;

use super::change::{Examined, examine};
use super::check;
use super::grid::{count, grid};
use super::hunt::{Hunted, hunted};
use super::progress::Meter;
use super::select::{self, Bounds};
use super::{Error, Format, Out, Status, progress, test};
use crate::device_model;
use crate::device_model::mutants::{FEW, TestBed};
use crate::harness::report::{self, SuiteReport};
use crate::vfio::mutants::MutationRun;
use crate::vhost_user::reference;
use devmig_engine::explore::Report;

/// Check all built-in systems, proposals and bugs, and test the reference devices
#[derive(Debug, clap::Args)]
#[command(after_help = super::help::VERIFY)]
pub(crate) struct Args {
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    bounds: Bounds,
}

/// What `--format json` writes.
#[derive(Serialize, JsonSchema)]
pub(super) struct Document<'a> {
    /// The version of this form: 2. In version 1 the properties `rules-kept`, `deadlock-free` and
    /// `no-starvation` were called `rules`, `stuck` and `progress`, and `X: non-vacuous` was called
    /// `X: can happen`; all else is the same.
    schema: u32,
    /// All that follows is as expected.
    as_expected: bool,
    /// Every system, explored.
    systems: &'a [Report],
    /// Every proposal, against the base.
    proposals: &'a [Examined],
    /// Every bug of a real implementation, with the properties that detect it.
    bugs: &'a [Hunted],
    /// The suite against the reference back-end.
    suite: &'a SuiteReport,
    /// The VFIO suite against the reference device, over vfio-user.
    vfio: &'a SuiteReport,
    /// The suite for device models against the reference NIC, as a program.
    device_model: &'a SuiteReport,
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let base = Library::builtin()?;
    let limits = args.bounds.limits();
    let systems = base.catalogue(&[]);
    let meter = Meter::new(systems.len());
    let mut reports = Vec::new();
    for system in &systems {
        reports.push(meter.explore(&base, &**system, limits)?);
    }
    drop(meter);
    let mut proposals = Vec::new();
    for (name, text) in builtin_proposals() {
        let library = Library::with_proposal(&name, &text)?;
        if let Some(proposal) = &library.proposal {
            proposals.push(examine(&base, &library, proposal, None, &[], limits)?);
        }
    }
    let mut bugs = Vec::new();
    for bug in base.bugs() {
        bugs.push(hunted(&base, &bug, limits)?);
    }
    let suite = tested(&base)?;
    let vfio = vfio_tested(&base)?;
    let device_model = models_tested(&base)?;
    let suites = [&suite, &vfio, &device_model];
    let systems = reports.iter().map(select::status);
    let statuses = systems
        .chain(proposals.iter().map(Examined::status))
        .chain(bugs.iter().map(Hunted::status))
        .chain(suites.map(suite_status));
    let status = statuses.max().unwrap_or(Status::Good);
    match args.format {
        Format::Json => out.json(&Document {
            schema: 2,
            as_expected: status == Status::Good,
            systems: &reports,
            proposals: &proposals,
            bugs: &bugs,
            suite: &suite,
            vfio: &vfio,
            device_model: &device_model,
        })?,
        Format::Text => {
            for report in reports.iter().filter(|report| !report.as_expected) {
                out.text(&format!("{}\n", report.text()))?;
            }
            for examined in proposals.iter().filter(|examined| !examined.as_expected) {
                out.text(&format!("{}\n", examined.text()))?;
            }
            for hunted in bugs.iter().filter(|hunted| !hunted.met) {
                out.text(&hunted.text())?;
            }
            for suite in suites.into_iter().filter(|s| suite_status(s) != Status::Good) {
                out.text(&suite.closing(|id| test::clause_text(&base, id)))?;
                out.text("\n")?;
            }
            out.text(&table(&reports, &proposals, &bugs, suites))?;
        }
    }
    Ok(status)
}

/// The suite against the reference back-end, whose every reading is known.
fn tested(library: &Library) -> Result<SuiteReport, Error> {
    let rules = test::judged_by(library, "10.2")?;
    let suite = crate::vhost_user::suite::builtin(library)?;
    let bar = progress::bar(suite.len());
    let done = |result: &report::Result| {
        bar.inc(1);
        bar.set_message(result.test.clone());
    };
    let report = reference::run(library, rules, &suite, &done);
    bar.finish_and_clear();
    report.map_err(|why| Error::Reference { why })
}

/// The VFIO suite against the reference device with every feature, over vfio-user.
fn vfio_tested(library: &Library) -> Result<SuiteReport, Error> {
    let suite = crate::vfio::suite::builtin(library)?;
    let rules = library.spec.judged_by("linux-vfio", "6.18")?;
    let bench = MutationRun::new(library, &suite, rules, "6.18")?;
    bench.all_features().map_err(|why| Error::Reference { why: why.to_string() })
}

/// The suite for device models, in short, against the second release of the NIC with the first as its
/// peer.
fn models_tested(library: &Library) -> Result<SuiteReport, Error> {
    let suite = device_model::suite::builtin(library)?;
    let program = test::this_program()?;
    let bench = device_model::mutants::MutationRun::new(library, &suite, program)?;
    let report = bench.as_it_is(TestBed::ALL[1], FEW);
    report.map_err(|why| Error::Reference { why: why.to_string() })
}

fn suite_status(report: &SuiteReport) -> Status {
    let summary = report.summary;
    match (summary.error, summary.fail + summary.warn) {
        (0, 0) => Status::Good,
        (0, _) => Status::Bad,
        _ => Status::HarnessError,
    }
}

/// The closing table: systems, each proposal's systems and expectations, mistakes, the suite.
fn table(
    reports: &[Report],
    proposals: &[Examined],
    bugs: &[Hunted],
    suites: [&SuiteReport; 3],
) -> String {
    let mut rows = vec![check::head()];
    rows.extend(reports.iter().map(check::row));
    let mut expectations = 0;
    for examined in proposals {
        for system in &examined.systems {
            let mut row = check::row(&system.proposed);
            row[0] = format!("{}: {}", examined.proposal, row[0]);
            rows.push(row);
        }
        for expected in &examined.expectations {
            expectations += 1;
            let mut row = check::row(&expected.report);
            let options: Vec<_> = expected.under.values().filter_map(|o| o.as_str()).collect();
            row[0] = format!("{}: {} ({})", examined.proposal, row[0], options.join(", "));
            row[5] = check::yes(expected.met);
            rows.push(row);
        }
    }
    for (examined, states) in proposals.iter().filter_map(|e| Some((e, e.states.as_ref()?))) {
        expectations += 1;
        let mut row = vec![String::new(); rows[0].len()];
        row[0] = format!("{}: migration states", examined.proposal);
        row[4] = if states.found.is_sound() { "sound" } else { "unsound" }.to_owned();
        row[5] = check::yes(states.met);
        rows.push(row);
    }
    for hunted in bugs {
        let mut row = check::row(&hunted.report);
        row[5] = check::yes(hunted.met);
        rows.push(row);
    }
    let names = [
        "suite: vhost-user, reference back-end",
        "suite: vfio-user, reference device",
        "suite: device-model, reference NIC",
    ];
    for (suite, name) in suites.into_iter().zip(names) {
        let passes = suite_status(suite) == Status::Good;
        let mut row = vec![String::new(); rows[0].len()];
        row[0] = name.to_owned();
        row[4] = if passes { "passes" } else { "fails" }.to_owned();
        row[5] = check::yes(passes);
        rows.push(row);
    }
    let not = rows.iter().skip(1).filter(|row| row[5] != check::yes(true)).count();
    let verdict = match not {
        0 => "all as expected".to_owned(),
        not => format!("{not} NOT as expected"),
    };
    format!(
        "{}\n{}, {}, {}, {}, {} ({} skipped): {verdict}\n",
        grid(&rows),
        count(reports.len(), "system"),
        count(proposals.len(), "proposal"),
        count(expectations, "expectation"),
        count(bugs.len(), "bug"),
        count(suites.iter().map(|suite| suite.results.len()).sum(), "test"),
        suites.iter().map(|suite| suite.summary.skip).sum::<usize>(),
    )
}
