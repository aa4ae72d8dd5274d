//! `devmig test vhost-user`: the suite against a back-end.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs};
use devmig_model::library::Library;
use devmig_model::spec::{self, SourceFile};
use devmig_reference::vhost_user::Mutant;

use super::{Error, Format, Out, Status};
use super::{ListedTest, chosen, clause_text, judged_by, list, progress, waivers};
use crate::report::{Result as TestResult, SuiteReport, junit};
use crate::vhost_user::mutants::Bench;
use crate::vhost_user::process::Command;
use crate::vhost_user::runner::{self, Run};
use crate::vhost_user::session::{Device, Limits, Subject};
use crate::vhost_user::suite::{self, Test};
use crate::vhost_user::target::Target;
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
    /// A command that starts the back-end; `{socket}` stands for the path to listen on. Each test
    /// starts it anew.
    #[arg(long, value_name = "COMMAND")]
    spawn: Option<String>,
    /// Say what tests there are.
    #[arg(long)]
    list: bool,
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
    /// Only these tests; `*` stands for anything.
    #[arg(long, value_name = "TEST")]
    only: Vec<String>,
    /// Judge by one reading of what the text leaves open.
    #[arg(long, value_name = "NAME=OPTION")]
    choice: Vec<String>,
    /// Judge by this version of the text.
    #[arg(long, value_name = "VERSION", default_value = "10.2")]
    text: String,
    /// For whatever is random.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long to wait for what is owed, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    timeout: f64,
    /// Findings that are accepted: a file of `[[waiver]]`s, each with `test` or `clause` or both
    /// (`*` stands for anything), and a `reason`.
    #[arg(long, value_name = "FILE")]
    waivers: Option<PathBuf>,
    /// Write the results there too, as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
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

/// Where the ids of tests are said.
const HELP: &str = "`devmig test vhost-user --list` names them";

fn id(test: &Test) -> &str {
    &test.id
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let mut suite = suite::builtin(&library)?;
    let library = library.by_text(&args.text)?;
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
    let tests = if args.walks.is_some() && args.only.is_empty() && args.script.is_none() {
        Vec::new()
    } else if args.tour && args.only.is_empty() {
        chosen(&suite, id, &["tour.*".to_owned()], HELP)?
    } else {
        chosen(&suite, id, &args.only, HELP)?
    };
    if args.list {
        let entry = |test: &&Test| ListedTest::new(&library, &test.id, test.clause, &test.purpose);
        return list(tests.iter().map(entry).collect(), args.format, out);
    }
    let rules = judged_by(&library, &args.text)?;
    let pinned =
        args.choice.iter().map(|pin| library.spec.pin(pin)).collect::<Result<Vec<_>, _>>()?;
    if !(args.timeout > 0.0 && args.timeout <= 3600.0) {
        let help = "a number of seconds above 0 and up to 3600".to_owned();
        return Err(Error::usage("--timeout cannot be that", Some(help)));
    }
    let waivers = {
        let ids: Vec<&str> = suite.iter().map(|test| test.id.as_str()).collect();
        waivers(&library, &ids, args.waivers.as_deref())?
    };
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
            limits: limits(args),
            seed: args.seed,
            outside: args.outside.as_deref(),
        },
        pinned,
        reproduce: again(args),
        text: args.text.clone(),
        rules,
        waivers,
    };
    // A place that cannot be written to is better known before the run than after it.
    let failed = |path: &Path, cause| Error::Write { to: path.display().to_string(), cause };
    let junit_file = match &args.junit {
        Some(path) => Some((path, File::create(path).map_err(|cause| failed(path, cause))?)),
        None => None,
    };
    let tours = tours.filter(|_| tests.iter().any(|test| test.id.starts_with("tour.")));
    let report = play(&run, &tests, &walks, tours.as_ref(), args.format, out)?;
    if let Some((path, mut file)) = junit_file {
        // What was found is not lost when this cannot be written.
        out.flush()?;
        let document = junit("vhost-user", &report, |id| clause_text(&library, id));
        file.write_all(document.as_bytes()).map_err(|cause| failed(path, cause))?;
    }
    Ok(match report.summary.exit_code() {
        0 => Status::Good,
        1 => Status::Bad,
        _ => Status::Trouble,
    })
}

/// The walks that are asked for.
fn walks(args: &Args) -> Vec<Walk> {
    let whole = args.only.is_empty() && args.script.is_none() && args.play.is_none() && !args.tour;
    let count = match (args.walks, args.profile) {
        (Some(count), _) => count,
        (None, Profile::Full) if whole => FULL_WALKS,
        (None, _) => 0,
    };
    let walk = |n| Walk { seed: args.seed.wrapping_add(n as u64), steps: args.steps };
    (0..count).map(walk).collect()
}

/// How long to wait for what.
fn limits(args: &Args) -> Limits {
    let owed = Duration::from_secs_f64(args.timeout);
    let limits = Limits { owed, silence: owed, ..Limits::default() };
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
        let help = "the reference is a disk and a NIC whose wire is a loop".to_owned();
        return Err(Error::usage("--mutants knows no such device", Some(help)));
    }
    let matches = |mutant: &Mutant, pattern: &String| spec::matches(pattern, mutant.name());
    for pattern in &args.only {
        if !Mutant::ALL.iter().any(|mutant| matches(mutant, pattern)) {
            let names = Mutant::ALL.iter().map(|mutant| mutant.name());
            let help = spec::did_you_mean(pattern, names);
            return Err(Error::usage(format!("no mutant is called `{pattern}`"), help));
        }
    }
    let all = args.only.is_empty();
    let wanted = |m: &&Mutant| all || args.only.iter().any(|pattern| matches(m, pattern));
    let chosen: Vec<Mutant> = Mutant::ALL.iter().filter(wanted).copied().collect();
    let bench = Bench::new(library, suite, judged_by(library, &args.text)?, &args.text)?;
    let bar = progress::bar(chosen.len());
    let hunt = bench.hunt(&chosen, &bench.legal(), all, |fate| {
        bar.inc(1);
        bar.set_message(fate.mutant.clone());
    });
    bar.finish_and_clear();
    let hunt = hunt.map_err(|error| Error::usage(error.to_string(), None))?;
    match args.format {
        Format::Json => out.json(&hunt)?,
        Format::Text => out.text(&hunt.text())?,
    }
    Ok(if hunt.as_expected { Status::Good } else { Status::Bad })
}

/// Runs the tests, and writes what they show as it comes.
fn play(
    run: &Run<'_>,
    tests: &[&Test],
    walks: &[Walk],
    tours: Option<&Tours>,
    format: Format,
    out: &mut Out<'_>,
) -> Result<SuiteReport, Error> {
    let bar = progress::bar(tests.len() + walks.len());
    let mut trouble = Ok(());
    let mut report = runner::play(run, tests, walks, |result: &TestResult| {
        bar.inc(1);
        bar.set_message(result.test.clone());
        if format == Format::Text && trouble.is_ok() {
            trouble = bar.suspend(|| out.text(&(result.line() + "\n")));
        }
    });
    bar.finish_and_clear();
    trouble?;
    report.coverage = tours.map(|tours| tours.coverage(&report));
    match format {
        Format::Text => out.text(&report.closing(|id| clause_text(run.library, id)))?,
        Format::Json => out.json(&report)?,
    }
    Ok(report)
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
    if let Some(waivers) = &args.waivers {
        words.push(format!("--waivers {}", shell_words::quote(&waivers.to_string_lossy())));
    }
    if args.text != "10.2" {
        words.push(format!("--text {}", args.text));
    }
    words.join(" ")
}
