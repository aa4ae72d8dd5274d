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

/// The vhost-user suite, against a back-end.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("where").required(true).args(["socket", "spawn", "list", "mutants"]))]
pub(super) struct Args {
    /// What the device is: vhost-user does not say it. With `none`, what needs requests is skipped.
    #[arg(long, value_enum, default_value = "none")]
    device: Device,
    /// The socket that the back-end listens on.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// A command that starts the back-end; `{socket}` stands for the path to listen on, `{image}` for a
    /// fresh file of 1 MiB, `{folder}` for a fresh folder. Each test starts it anew.
    #[arg(long, value_name = "COMMAND")]
    spawn: Option<String>,
    /// Hold the suite against the faults of the reference back-end, which this command starts itself:
    /// a test that cites the clause has to find each of them. `--only` names faults.
    #[arg(long)]
    mutants: bool,
    /// How much is done.
    #[arg(long, value_enum, default_value = "quick")]
    profile: Profile,
    /// Drive every arc of the machine, and say which were driven. Part of both profiles, unless
    /// tests are named.
    #[arg(long)]
    tour: bool,
    /// So many random walks, each from a seed of its own (--seed and the numbers after it).
    #[arg(long, value_name = "N")]
    walks: Option<usize>,
    /// So many steps in each walk.
    #[arg(long, value_name = "M", default_value_t = 80)]
    steps: usize,
    /// The tests of this file (in the form of the suite's own), and no others.
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    script: Option<PathBuf>,
    /// These steps, and nothing else: what a walk that found something prints.
    #[arg(long, value_name = "STEP; STEP…", conflicts_with_all = ["only", "script"])]
    play: Option<String>,
    /// The data of the device may be destroyed.
    #[arg(long)]
    scratch: bool,
    /// A socket where whoever connects changes the device's configuration space, and is let go when
    /// it is changed (see `devmig device blk --outside`); `{socket}` stands for --socket's path.
    #[arg(long, value_name = "PATH")]
    outside: Option<String>,
    /// Judge by one reading of what the text leaves open.
    #[arg(long, value_name = "NAME=OPTION")]
    choice: Vec<String>,
    /// Judge by this version of the text.
    #[arg(long, value_name = "VERSION", default_value = "10.2")]
    text: String,
    /// How long to wait for what is owed, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    timeout: f64,
    #[command(flatten)]
    shared: Shared,
}

/// How much is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Profile {
    /// Seconds: what must not happen is waited for briefly.
    Quick,
    /// As long as it takes.
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
        let help = "the reference is a disk and a NIC whose wire is a loop".to_owned();
        return Err(Error::usage("--mutants knows no such device", Some(help)));
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
        words.push(format!("--text {}", args.text));
    }
    words.join(" ")
}
