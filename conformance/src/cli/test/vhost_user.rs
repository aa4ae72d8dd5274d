//! `devmig test vhost-user`: the suite against a back-end.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs};
use devmig_model::protocol::vhost_user::table::SOURCE;
use devmig_model::registry::Library;

use super::super::number::limit;
use super::super::pace::Plan;
use super::shared::{Again, Jobs, LeftOut, Of, Scripted, Shared, Start, Versions, chosen};
use super::{Error, Out, Status};
use crate::harness::io::process::Command;
use crate::harness::io::target::Target;
use crate::harness::mutation::hunt;
use crate::harness::report::versions;
use crate::harness::walk::Walk;
use crate::vhost_user::length;
use crate::vhost_user::mutants::MutationRun;
use crate::vhost_user::pairs;
use crate::vhost_user::probe;
use crate::vhost_user::runner::{self, Run};
use crate::vhost_user::session::{Device, Limits, Subject};
use crate::vhost_user::suite::{self, Test};
use crate::vhost_user::tour::Tours;
use crate::vhost_user::without::Without;

/// Test a vhost-user back-end
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::TEST_VHOST_USER)]
#[command(group = ArgGroup::new("where").required(true).args(["socket", "spawn", "list", "mutants"]))]
pub(super) struct Args {
    /// Type of the device, which vhost-user does not report; with `none`, tests that need requests
    /// are skipped
    #[arg(long, value_enum, default_value = "none", help_heading = "Target")]
    device: Device,
    /// Socket on which the back-end listens
    #[arg(long, value_name = "PATH", help_heading = "Target")]
    socket: Option<PathBuf>,
    /// Command that starts the back-end; `{socket}` is replaced by the path to listen on, `{image}`
    /// by a new file of 1 MiB, `{folder}` by a new folder. Each test starts it anew
    #[arg(long, value_name = "COMMAND", help_heading = "Target")]
    spawn: Option<String>,
    /// Run the suite against each mutant of the reference back-end; a test of the violated clause
    /// must find it. `--only` selects mutants
    #[arg(long, help_heading = "Selection",
          conflicts_with_all = ["tour", "walks", "script", "play", "choice", "waivers", "junit", "results", "compare_versions", "without"])]
    mutants: bool,
    /// Thoroughness of the run
    #[arg(long, value_enum, default_value = "quick", help_heading = "Selection")]
    profile: Profile,
    /// Drive every arc of the machine, and report the coverage. Part of both profiles, unless
    /// `--only` is given
    #[arg(long, help_heading = "Selection")]
    tour: bool,
    /// Run this many random walks instead of tests, with the seeds from `--seed` upwards
    #[arg(long, value_name = "N", help_heading = "Selection",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    walks: Option<u32>,
    /// Number of steps in each walk
    #[arg(long, value_name = "M", default_value_t = 80, help_heading = "Selection",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    steps: u32,
    #[command(flatten)]
    scripted: Scripted,
    /// Allow the tests to destroy the data of the device
    #[arg(long, help_heading = "Target")]
    scratch: bool,
    /// Socket on which each connection changes the device's configuration space, and is closed
    /// after the change (see `devmig device blk --outside`); `{socket}` is replaced by the path of
    /// `--socket`
    #[arg(long, value_name = "PATH", help_heading = "Target")]
    outside: Option<String>,
    /// Leave this feature out: do not acknowledge it, and skip the tests that need it. A protocol
    /// feature by its name or bit (`REPLY_ACK`, `3`), or `LOG_ALL` or `EVENT_IDX`
    #[arg(long, value_name = "FEATURE", help_heading = "Selection")]
    without: Vec<String>,
    /// Fix the interpretation of a choice; see `devmig choices`
    #[arg(long, value_name = "NAME=OPTION", help_heading = "Judgement")]
    choice: Vec<String>,
    /// Version of the vhost-user specification
    #[arg(
        long = "spec-version",
        alias = "text",
        value_name = "VERSION",
        default_value = "10.2",
        help_heading = "Judgement"
    )]
    text: String,
    #[command(flatten)]
    versions: Versions,
    /// Maximum time to wait for an obligation, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = limit,
          help_heading = "Judgement")]
    timeout: Duration,
    #[command(flatten)]
    start: Start,
    #[command(flatten)]
    jobs: Jobs,
    #[command(flatten)]
    shared: Shared,
}

/// Thoroughness of the run
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Profile {
    /// Takes seconds: wait only briefly for events that must not happen
    Quick,
    /// Wait as long as necessary
    Full,
}

/// Walks of the full profile.
const FULL_WALKS: u32 = 50;

/// How long the quick profile waits for what must not happen.
const BRIEF: Duration = Duration::from_millis(200);
/// And for what should not.
const QUIET: Duration = Duration::from_millis(40);

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let mut suite = suite::builtin(&library)?;
    let library = library.by_text(SOURCE, &args.text)?;
    if args.mutants {
        return mutants(&library, &suite, args, out);
    }
    let scripted = args.scripted.tests(&library)?;
    let tours = (scripted.is_none() && tours_used(args)).then(|| Tours::of(&library));
    match scripted {
        Some(tests) => suite = tests,
        None => {
            suite.extend(pairs::tests(&library)?);
            suite.extend(tours.iter().flat_map(|tours| tours.tests.iter().cloned()));
        }
    }
    let walks = walks(args);
    let tests = if args.walks.is_some() && args.shared.only.is_empty() && !args.scripted.is_file() {
        Vec::new()
    } else if args.tour && args.shared.only.is_empty() {
        chosen(&suite, &["tour.*".to_owned()], "vhost-user")?
    } else {
        args.shared.chosen(&suite, "vhost-user")?
    };
    if args.shared.list {
        return args.shared.list(&library, &tests, out);
    }
    let rules = library.spec.judged_by(SOURCE, &args.text)?;
    let pinned =
        args.choice.iter().map(|pin| library.spec.pin(pin)).collect::<Result<Vec<_>, _>>()?;
    let waivers = args.shared.accepted(&library, &suite)?;
    let target = match (&args.socket, &args.spawn) {
        (Some(path), _) => Target::Socket(path.clone()),
        (None, Some(command)) => Target::Spawn(
            Command::parse(command).map_err(|error| Error::usage(error.to_string(), None))?,
        ),
        (None, None) => return Err(Error::usage("neither --socket nor --spawn", None)),
    };
    if let (Target::Spawn(command), Device::NetLoopback) = (&target, args.device)
        && let Some(why) = probe::other_pairs(command, args.start.start_timeout, args.timeout)
    {
        let help = "use --device net, or a back-end with two pairs of queues".to_owned();
        return Err(Error::usage(why, Some(help)));
    }
    let subject = Subject {
        target: &target,
        device: args.device,
        scratch: args.scratch,
        limits: limits(args),
        outside: args.outside.as_deref(),
        without: Without::named(&library.vhost_user().table, &args.without)?,
    };
    let run = Run {
        pinned,
        reproduce: again(args),
        script: args.scripted.words(),
        waivers,
        seed: args.shared.seed,
        ends_early: true,
        jobs: args.jobs.count(args.spawn.is_some())?,
        goes_past: true,
        ..Run::new(&library, subject, &args.text, rules)
    };
    let others = args.versions.others(&library, SOURCE, &args.text)?;
    let tours = tours.filter(|_| tests.iter().any(|test| test.id.starts_with(TOUR)));
    let lengths = tests.iter().map(|test| length::of_test(test, limits(args)));
    let lengths = lengths.chain(walks.iter().map(|walk| length::of_walk(*walk))).collect();
    let plan = Plan { lengths, jobs: run.jobs };
    let of = Of { protocol: "vhost-user", again: &run.reproduce, text: &run.text };
    args.shared.play(&library, of, plan, out, |followed| {
        let aside = followed.aside;
        let first = Run { aside, ..run.clone() };
        let mut report = runner::play(&first, &tests, &walks, followed.done);
        // What was not run has driven nothing, and that says nothing about the back-end.
        let tours = tours.filter(|_| report.ended_early.is_none());
        report.coverage = tours.map(|tours| tours.coverage(&report));
        let table = &library.vhost_user().table;
        let offers = report.offers.clone().unwrap_or_default();
        let optional = run.subject.without.others(table, &offers);
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
            let library = Library::builtin()?.by_text(SOURCE, version)?;
            let rules = library.spec.judged_by(SOURCE, version)?;
            let (text, waivers) = (version.to_owned(), run.waivers.clone());
            let run = Run { library: &library, rules, text, waivers, ..run.clone() };
            Ok(runner::play(&run, &tests, &[], |_| ()))
        })
    })
}

/// Whether a tour can be among the tests, or be named by a waiver: making them takes a while.
fn tours_used(args: &Args) -> bool {
    let only = &args.shared.only;
    let walks_alone = args.walks.is_some() && only.is_empty();
    let names_tours = |pattern: &String| {
        let start = pattern.split('*').next().unwrap_or_default();
        let whole = start.len() == pattern.len();
        start.starts_with(TOUR) || (!whole && TOUR.starts_with(start))
    };
    args.shared.waivers.is_some()
        || (!walks_alone && (only.is_empty() || only.iter().any(names_tours)))
}

/// What the ids of tours begin with.
const TOUR: &str = "tour.";

/// The walks that are asked for.
fn walks(args: &Args) -> Vec<Walk> {
    let whole = args.shared.only.is_empty() && !args.scripted.is_any() && !args.tour;
    let count = match (args.walks, args.profile) {
        (Some(count), _) => count,
        (None, Profile::Full) if whole => FULL_WALKS,
        (None, _) => 0,
    };
    let walk =
        |n: u32| Walk { seed: args.shared.seed.wrapping_add(n.into()), steps: args.steps as usize };
    (0..count).map(walk).collect()
}

/// How long to wait for what.
fn limits(args: &Args) -> Limits {
    let (owed, connect) = (args.timeout, args.start.start_timeout);
    let limits = Limits { connect, owed, silence: owed, ..Limits::default() };
    match args.profile {
        Profile::Quick => Limits { silence: owed.min(BRIEF), quiet: QUIET, ..limits },
        Profile::Full => limits,
    }
}

/// Holds the suite against the faults of the reference.
fn mutants(
    library: &Library,
    suite: &[Test],
    args: &Args,
    out: &mut Out<'_>,
) -> Result<Status, Error> {
    if !matches!(args.device, Device::Blk | Device::NetLoopback | Device::None) {
        let help =
            "the reference devices are a disk (blk) and a NIC with a loopback link (net-loopback)"
                .to_owned();
        return Err(Error::usage("--mutants does not support this device", Some(help)));
    }
    let bench =
        MutationRun::new(library, suite, library.spec.judged_by(SOURCE, &args.text)?, &args.text)?;
    args.shared.hunt(out, |mutants, all, done| hunt(&bench, mutants, all, done))
}

/// The command that runs a test again, but for the test's name and the seed.
fn again(args: &Args) -> String {
    let device = clap::ValueEnum::to_possible_value(&args.device);
    let device = device.map(|value| value.get_name().to_owned()).unwrap_or_default();
    Again::new(format!("devmig test vhost-user --device {device}"))
        .path("--socket", args.socket.as_ref())
        .value("--spawn", args.spawn.as_ref())
        .choices(&args.choice)
        .words(args.scratch, "--scratch")
        .value("--outside", args.outside.as_ref())
        .each("--without", &args.without)
        .path("--waivers", args.shared.waivers.as_ref())
        .words(args.text != "10.2", &format!("--spec-version {}", args.text))
        .words(args.profile == Profile::Full, "--profile full")
        .start(args.start)
        .timeout(args.timeout)
}
