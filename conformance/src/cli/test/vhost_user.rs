//! `devmig test vhost-user`: the suite against a back-end.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs};
use devmig_model::protocol::vhost_user::table::SOURCE;
use devmig_model::registry::Library;
use devmig_model::spec::SourceFile;

use super::shared::{Shared, chosen, seconds};
use super::{Error, Out, Status, judged_by};
use crate::harness::io::process::Command;
use crate::harness::io::target::Target;
use crate::vhost_user::mutants::MutationRun;
use crate::vhost_user::runner::{self, Run};
use crate::vhost_user::session::{Device, Limits, Subject};
use crate::vhost_user::suite::{self, Test};
use crate::vhost_user::tour::Tours;
use crate::vhost_user::walk::{self, Walk};

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
    #[arg(long, help_heading = "Selection")]
    mutants: bool,
    /// Thoroughness of the run
    #[arg(long, value_enum, default_value = "quick", help_heading = "Selection")]
    profile: Profile,
    /// Drive every arc of the machine, and report the coverage. Part of both profiles, unless
    /// `--only` is given
    #[arg(long, help_heading = "Selection")]
    tour: bool,
    /// Run this many random walks instead of tests, with the seeds from `--seed` upwards
    #[arg(long, value_name = "N", help_heading = "Selection")]
    walks: Option<usize>,
    /// Number of steps in each walk
    #[arg(long, value_name = "M", default_value_t = 80, help_heading = "Selection")]
    steps: usize,
    /// Run the tests in this file instead (in the form of the built-in suite)
    #[arg(long, value_name = "FILE", conflicts_with = "only", help_heading = "Selection")]
    script: Option<PathBuf>,
    /// Run only these steps, as printed by a walk with a finding
    #[arg(long, value_name = "STEP; STEP…", conflicts_with_all = ["only", "script"], help_heading = "Selection")]
    play: Option<String>,
    /// Allow the tests to destroy the data of the device
    #[arg(long, help_heading = "Target")]
    scratch: bool,
    /// Socket on which each connection changes the device's configuration space, and is closed
    /// after the change (see `devmig device blk --outside`); `{socket}` is replaced by the path of
    /// `--socket`
    #[arg(long, value_name = "PATH", help_heading = "Target")]
    outside: Option<String>,
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
    /// Maximum time to wait for an obligation, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, help_heading = "Judgement")]
    timeout: f64,
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
const FULL_WALKS: usize = 50;

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
    let asked = match (&args.script, &args.play) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path)
                .map_err(|cause| Error::Read { path: path.clone(), cause })?;
            Some(SourceFile::new(path.to_string_lossy(), text))
        }
        (None, Some(steps)) => Some(SourceFile::new("--play", walk::file(steps))),
        (None, None) => None,
    };
    let tours = asked.is_none().then(|| Tours::of(&library));
    match asked {
        Some(file) => suite = suite::load(&library, &file)?,
        None => suite.extend(tours.iter().flat_map(|tours| tours.tests.iter().cloned())),
    }
    let walks = walks(args);
    let tests = if args.walks.is_some() && args.shared.only.is_empty() && args.script.is_none() {
        Vec::new()
    } else if args.tour && args.shared.only.is_empty() {
        chosen(&suite, &["tour.*".to_owned()], "vhost-user")?
    } else {
        args.shared.chosen(&suite, "vhost-user")?
    };
    if args.shared.list {
        return args.shared.list(&library, &tests, out);
    }
    let rules = judged_by(&library, &args.text)?;
    let pinned =
        args.choice.iter().map(|pin| library.spec.pin(pin)).collect::<Result<Vec<_>, _>>()?;
    let owed = seconds(args.timeout)?;
    let waivers = args.shared.accepted(&library, &suite)?;
    let target = match (&args.socket, &args.spawn) {
        (Some(path), _) => Target::Socket(path.clone()),
        (None, Some(command)) => Target::Spawn(
            Command::parse(command).map_err(|error| Error::usage(error.to_string(), None))?,
        ),
        (None, None) => return Err(Error::usage("neither --socket nor --spawn", None)),
    };
    let run = Run {
        library: &library,
        subject: Subject {
            target: &target,
            device: args.device,
            scratch: args.scratch,
            limits: limits(args.profile, owed),
            seed: args.shared.seed,
            outside: args.outside.as_deref(),
        },
        pinned,
        reproduce: again(args),
        text: args.text.clone(),
        rules,
        waivers,
    };
    let tours = tours.filter(|_| tests.iter().any(|test| test.id.starts_with("tour.")));
    args.shared.play(&library, "vhost-user", tests.len() + walks.len(), out, |done| {
        let mut report = runner::play(&run, &tests, &walks, done);
        report.coverage = tours.map(|tours| tours.coverage(&report));
        Ok(report)
    })
}

/// The walks that are asked for.
fn walks(args: &Args) -> Vec<Walk> {
    let whole =
        args.shared.only.is_empty() && args.script.is_none() && args.play.is_none() && !args.tour;
    let count = match (args.walks, args.profile) {
        (Some(count), _) => count,
        (None, Profile::Full) if whole => FULL_WALKS,
        (None, _) => 0,
    };
    let walk = |n| Walk { seed: args.shared.seed.wrapping_add(n as u64), steps: args.steps };
    (0..count).map(walk).collect()
}

/// How long to wait for what.
fn limits(profile: Profile, owed: Duration) -> Limits {
    let limits = Limits { owed, silence: owed, ..Limits::default() };
    match profile {
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
    let bench = MutationRun::new(library, suite, judged_by(library, &args.text)?, &args.text)?;
    let legal = bench.legal();
    args.shared.hunt(out, |mutants, all, done| bench.hunt(mutants, &legal, all, done))
}

/// The command that runs a test again, but for the test's name and the seed.
fn again(args: &Args) -> String {
    let device = clap::ValueEnum::to_possible_value(&args.device);
    let device = device.map(|value| value.get_name().to_owned()).unwrap_or_default();
    let mut words = vec!["devmig test vhost-user --device".to_owned(), device];
    if let Some(socket) = &args.socket {
        words.push(format!("--socket {}", shell_words::quote(&socket.to_string_lossy())));
    }
    if let Some(spawn) = &args.spawn {
        words.push(format!("--spawn {}", shell_words::quote(spawn)));
    }
    words.extend(args.choice.iter().map(|pin| format!("--choice {pin}")));
    if args.scratch {
        words.push("--scratch".into());
    }
    if let Some(outside) = &args.outside {
        words.push(format!("--outside {}", shell_words::quote(outside)));
    }
    if let Some(waivers) = &args.shared.waivers {
        words.push(format!("--waivers {}", shell_words::quote(&waivers.to_string_lossy())));
    }
    if args.text != "10.2" {
        words.push(format!("--spec-version {}", args.text));
    }
    words.join(" ")
}
