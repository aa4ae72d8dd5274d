//! What `devmig test vfio-user` and `devmig test vfio` have in common: the VFIO suite at some place.

use std::time::Duration;

use clap::Args as ClapArgs;
use devmig_model::registry::Library;

use super::super::number::limit;
use super::super::pace::Plan;
use super::shared::{Again, LeftOut, Of, Scripted, Shared, Versions};
use super::{Error, Out, Status};
use crate::harness::report::versions;
use crate::harness::walk::Walk;
use crate::vfio::device::Place;
use crate::vfio::runner::{self, Run, Subject};
use crate::vfio::session::Limits;
use crate::vfio::suite;
use crate::vfio::without::Without;

/// The document by which it is judged.
pub(super) const SOURCE: &str = "linux-vfio";

/// What every transport's command takes.
#[derive(Debug, ClapArgs)]
pub(super) struct Common {
    /// Run this many random walks instead of tests, with the seeds from `--seed` upwards
    #[arg(long, value_name = "N", help_heading = "Selection",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    walks: Option<u32>,
    /// Number of steps in each walk
    #[arg(long, value_name = "M", default_value_t = 60, help_heading = "Selection",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    steps: u32,
    #[command(flatten)]
    scripted: Scripted,
    /// Leave this feature out: do not use it, and skip the tests that need it: `p2p`, `pre-copy` or
    /// `dirty-log`
    #[arg(long, value_name = "FEATURE", help_heading = "Selection")]
    without: Vec<String>,
    /// Fix the interpretation of a choice; see `devmig choices`
    #[arg(long, value_name = "NAME=OPTION", help_heading = "Judgement")]
    choice: Vec<String>,
    /// Version of the VFIO specification
    #[arg(
        long = "spec-version",
        alias = "text",
        value_name = "VERSION",
        default_value = "7.1",
        help_heading = "Judgement"
    )]
    pub(super) text: String,
    #[command(flatten)]
    versions: Versions,
    /// Maximum time for each call, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = limit,
          help_heading = "Judgement")]
    timeout: Duration,
    #[command(flatten)]
    pub(super) shared: Shared,
}

impl Common {
    /// How long a call may take.
    pub(super) fn limit(&self) -> Duration {
        self.timeout
    }

    /// The command that runs a test again, but for the test's name and the seed.
    fn again(&self, command: Again) -> String {
        command
            .each("--without", &self.without)
            .choices(&self.choice)
            .path("--waivers", self.shared.waivers.as_ref())
            .words(self.text != "7.1", &format!("--spec-version {}", self.text))
            .timeout(self.timeout)
    }
}

/// Where a suite runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    /// The device, unless the tests are only listed.
    pub(super) place: Option<&'a dyn Place>,
    /// The P2P flag means there what it means in VFIO.
    pub(super) p2p: bool,
    /// How many tests run there at the same time.
    pub(super) jobs: usize,
}

/// Runs what is asked for.
pub(super) fn run(
    args: &Common,
    At { place, p2p, jobs }: At<'_>,
    protocol: &str,
    again: Again,
    out: &mut Out<'_>,
) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let suite = match args.scripted.tests(&library)? {
        Some(tests) => tests,
        None => suite::whole(&library)?,
    };
    let walk =
        |n: u32| Walk { seed: args.shared.seed.wrapping_add(n.into()), steps: args.steps as usize };
    let walks: Vec<Walk> = (0..args.walks.unwrap_or(0)).map(walk).collect();
    let tests = match args.walks {
        Some(_) if args.shared.only.is_empty() && !args.scripted.is_file() => Vec::new(),
        _ => args.shared.chosen(&suite, "vfio-user")?,
    };
    let Some(place) = place.filter(|_| !args.shared.list) else {
        return args.shared.list(&library, &tests, out);
    };
    let pins = args.choice.iter().map(|pin| library.spec.pin(pin));
    let waivers = args.shared.accepted(&library, &suite)?;
    let own = Without::named(&library.vfio().table, &args.without)?;
    let subject = Subject { place, limits: Limits::default(), p2p, without: own };
    let run = Run {
        pinned: pins.collect::<Result<Vec<_>, _>>()?,
        reproduce: args.again(again),
        script: args.scripted.words(),
        waivers,
        seed: args.shared.seed,
        ends_early: true,
        jobs,
        goes_past: true,
        ..Run::new(&library, subject, &args.text, library.spec.judged_by(SOURCE, &args.text)?)
    };
    let others = args.versions.others(&library, SOURCE, &args.text)?;
    let of = Of { protocol, again: &run.reproduce, text: &run.text };
    args.shared.play(&library, of, Plan::even(tests.len() + walks.len(), jobs), out, |followed| {
        let aside = followed.aside;
        let first = Run { aside, ..run.clone() };
        let report = runner::play(&first, &tests, &walks, followed.done);
        let table = &library.vfio().table;
        let offers = report.offers.clone().unwrap_or_default();
        let optional = own.others(table, &offers);
        let left_out = LeftOut { given: &args.without, optional: &optional };
        let report =
            left_out.around(report, &run.reproduce, &tests, aside, |names, reproduce, tests| {
                let without = Without::named(table, names)?;
                let run =
                    Run { subject: Subject { without, ..run.subject }, reproduce, ..run.clone() };
                Ok(runner::play(&run, tests, &[], |_| ()))
            })?;
        versions::compared(report, &others, |version| {
            aside.begins(&format!("once more by version {version}"));
            let rules = library.spec.judged_by(SOURCE, version)?;
            let run = Run { rules, text: version.to_owned(), ..run.clone() };
            Ok(runner::play(&run, &tests, &[], |_| ()))
        })
    })
}
