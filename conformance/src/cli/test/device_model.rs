//! `devmig test device-model`: the suite for device models against a program.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs};
use devmig_model::library::Library;
use devmig_model::spec;
use devmig_reference::nic::Mutant;

use super::{Error, Format, Out, Status};
use super::{ListedTest, chosen, clause_text, list, progress, waivers};
use crate::device_model::golden;
use crate::device_model::mutants::Bench;
use crate::device_model::runner::{self, Run};
use crate::device_model::subject::{Subject, Transport};
use crate::device_model::suite::{self, Test};
use crate::report::{Result as TestResult, SuiteReport, junit};

/// The suite for device models, against a program that is a device.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("where").required(true).args(["spawn", "list", "mutants"]))]
pub(super) struct Args {
    /// The program. Words are added: --print-migration-info-json for its description; --model MODEL,
    /// --m-NAME=VALUE and where to listen for a device.
    #[arg(long, value_name = "COMMAND")]
    spawn: Option<String>,
    /// The words that tell it where to listen as a vhost-user back-end; `{socket}` stands for the path.
    /// Without this and --vfio-user: both, with `--socket-path {socket}` and `--vfio-user {socket}`.
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    vhost_user: Option<String>,
    /// The words that tell it where to listen as a vfio-user server.
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    vfio_user: Option<String>,
    /// A command that makes devices when it is told to, by JSON-RPC at `{socket}`.
    #[arg(long, value_name = "COMMAND")]
    control: Option<String>,
    /// Words that change only what belongs to the host, such as another port.
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    elsewhere: Option<String>,
    /// Another implementation of the same models, told the same way: another release, or another's.
    #[arg(long, value_name = "COMMAND")]
    peer: Option<String>,
    /// A folder of states that were kept: see `devmig device golden`.
    #[arg(long, value_name = "DIR")]
    golden: Option<PathBuf>,
    /// At most so many cases of a kind. A space of configurations that is no larger is tried as a whole.
    #[arg(long, value_name = "N", default_value_t = 40)]
    cases: usize,
    /// Say what tests there are.
    #[arg(long)]
    list: bool,
    /// Hold the suite against the faults of the reference device, which this command starts itself:
    /// a test that cites the clause has to find each of them. `--only` names faults.
    #[arg(long)]
    mutants: bool,
    /// Only these tests; `*` stands for anything.
    #[arg(long, value_name = "TEST")]
    only: Vec<String>,
    /// For whatever is random.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long each thing may take, in seconds.
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

/// Where the ids of tests are said.
const HELP: &str = "`devmig test device-model --list` names them";

fn id(test: &Test) -> &str {
    &test.id
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let suite = suite::builtin(&library)?;
    if args.mutants {
        return mutants(&library, &suite, args, out);
    }
    let tests = chosen(&suite, id, &args.only, HELP)?;
    let Some(spawn) = args.spawn.as_deref().filter(|_| !args.list) else {
        let entry = |test: &&Test| ListedTest::new(&library, &test.id, test.clause, &test.purpose);
        return list(tests.iter().map(entry).collect(), args.format, out);
    };
    let subject = args.subject(spawn)?;
    let waivers = {
        let ids: Vec<&str> = suite.iter().map(|test| test.id.as_str()).collect();
        waivers(&library, &ids, args.waivers.as_deref())?
    };
    let run = Run { library: &library, subject: &subject, reproduce: args.again(spawn), waivers };
    // A place that cannot be written to is better known before the run than after it.
    let failed = |path: &Path, cause| Error::Write { to: path.display().to_string(), cause };
    let junit_file = match &args.junit {
        Some(path) => Some((path, File::create(path).map_err(|cause| failed(path, cause))?)),
        None => None,
    };
    let report = play(&run, &tests, args.format, out)?;
    if let Some((path, mut file)) = junit_file {
        // What was found is not lost when this cannot be written.
        out.flush()?;
        let document = junit("device-model", &report, |id| clause_text(&library, id));
        file.write_all(document.as_bytes()).map_err(|cause| failed(path, cause))?;
    }
    Ok(match report.summary.exit_code() {
        0 => Status::Good,
        1 => Status::Bad,
        _ => Status::Trouble,
    })
}

/// Runs the tests, and writes what they show as it comes.
fn play(
    run: &Run<'_>,
    tests: &[&Test],
    format: Format,
    out: &mut Out<'_>,
) -> Result<SuiteReport, Error> {
    let bar = progress::bar(tests.len());
    let mut trouble = Ok(());
    let report = runner::run(run, tests, |result: &TestResult| {
        bar.inc(1);
        bar.set_message(result.test.clone());
        if format == Format::Text && trouble.is_ok() {
            trouble = bar.suspend(|| out.text(&(result.line() + "\n")));
        }
    });
    bar.finish_and_clear();
    trouble?;
    match format {
        Format::Text => out.text(&report.closing(|id| clause_text(run.library, id)))?,
        Format::Json => out.json(&report)?,
    }
    Ok(report)
}

/// The words of a command or of a part of one, as a shell has them.
fn words(text: &str) -> Result<Vec<String>, Error> {
    let words = shell_words::split(text).map_err(|error| Error::usage(error.to_string(), None))?;
    match words.is_empty() {
        true => Err(Error::usage("the command is empty", None)),
        false => Ok(words),
    }
}

/// The same, with a place for a socket.
fn with_socket(option: &str, text: &str) -> Result<Vec<String>, Error> {
    let words = words(text)?;
    match words.iter().any(|word| word.contains("{socket}")) {
        true => Ok(words),
        false => {
            let help =
                "write {socket} where the path of the socket to listen on belongs".to_owned();
            Err(Error::usage(format!("{option} has no {{socket}}"), Some(help)))
        }
    }
}

impl Args {
    fn subject(&self, spawn: &str) -> Result<Subject, Error> {
        if !(self.timeout > 0.0 && self.timeout <= 3600.0) {
            let help = "a number of seconds above 0 and up to 3600".to_owned();
            return Err(Error::usage("--timeout cannot be that", Some(help)));
        }
        if self.cases == 0 || self.cases > 4096 {
            let help = "a number from 1 to 4096".to_owned();
            return Err(Error::usage("--cases cannot be that", Some(help)));
        }
        let mut transports = Vec::new();
        for (transport, text) in
            [(Transport::VhostUser, &self.vhost_user), (Transport::VfioUser, &self.vfio_user)]
        {
            if let Some(text) = text {
                transports.push((transport, with_socket(transport.name(), text)?));
            }
        }
        if transports.is_empty() {
            transports = Transport::ALL.map(|transport| (transport, transport.usual())).to_vec();
        }
        let golden = self.golden.as_deref().map(golden::read).transpose();
        Ok(Subject {
            program: words(spawn)?,
            transports,
            control: self.control.as_deref().map(|c| with_socket("--control", c)).transpose()?,
            elsewhere: self.elsewhere.as_deref().map(words).transpose()?,
            peer: self.peer.as_deref().map(words).transpose()?,
            golden: golden
                .map_err(|error| Error::usage(error.to_string(), None))?
                .unwrap_or_default(),
            limit: Duration::from_secs_f64(self.timeout),
            most: self.cases,
            seed: self.seed,
        })
    }

    /// The command that runs a test again, but for the test's name and the seed.
    fn again(&self, spawn: &str) -> String {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|p| p.to_string_lossy().into_owned());
        let (golden, waivers) = (path(&self.golden), path(&self.waivers));
        let options = [
            ("--vhost-user", &self.vhost_user),
            ("--vfio-user", &self.vfio_user),
            ("--control", &self.control),
            ("--elsewhere", &self.elsewhere),
            ("--peer", &self.peer),
            ("--golden", &golden),
            ("--waivers", &waivers),
        ];
        let mut command = format!("devmig test device-model --spawn {}", shell_words::quote(spawn));
        for (option, value) in options {
            if let Some(value) = value {
                command += &format!(" {option} {}", shell_words::quote(value));
            }
        }
        if self.cases != 40 {
            command += &format!(" --cases {}", self.cases);
        }
        command
    }
}

/// This program, for suites that start the reference as anybody's program is started.
pub(in crate::cli) fn this_program() -> Result<String, Error> {
    let path = std::env::current_exe();
    let path = path.map_err(|cause| Error::Read { path: "/proc/self/exe".into(), cause })?;
    Ok(path.to_string_lossy().into_owned())
}

/// Holds the suite against the faults of the reference.
fn mutants(
    library: &Library,
    suite: &[Test],
    args: &Args,
    out: &mut Out<'_>,
) -> Result<Status, Error> {
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
    let bench = Bench::new(library, suite, this_program()?)?;
    let bar = progress::bar(chosen.len());
    let hunt = bench.hunt(&chosen, all, |fate| {
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
