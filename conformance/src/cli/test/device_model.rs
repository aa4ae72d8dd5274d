//! `devmig test device-model`: the suite for device models against a program.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs};
use devmig_engine::rules::Rules;
use devmig_model::registry::Library;

use super::super::number::limit;
use super::super::pace::Plan;
use super::super::this_program;
use super::shared::{Again, Followed, Jobs, Of, Shared, Start};
use super::{Error, Out, Status};
use crate::device_model::golden;
use crate::device_model::mutants::MutationRun;
use crate::device_model::runner::{self, Run};
use crate::device_model::subject::Subject;
use crate::device_model::suite::{self, Test};
use crate::device_model::transport::Transport;
use crate::harness::mutation::hunt;

/// Test a program that implements a device against its description
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::TEST_DEVICE_MODEL)]
#[command(group = ArgGroup::new("where").required(true).args(["spawn", "list", "mutants"]))]
pub(super) struct Args {
    /// Command that starts the program. devmig adds arguments: `--print-migration-info-json` to get
    /// its description; `--model MODEL`, `--m-NAME=VALUE` and a socket to create a device
    #[arg(long, value_name = "COMMAND", help_heading = "Target")]
    spawn: Option<String>,
    /// Arguments with which the program listens as a vhost-user back-end; `{socket}` is replaced by
    /// the path [default without `--vfio-user`: both `--socket-path {socket}` and `--vfio-user
    /// {socket}`]
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true, help_heading = "Target")]
    vhost_user: Option<String>,
    /// Arguments with which the program listens as a vfio-user server
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true, help_heading = "Target")]
    vfio_user: Option<String>,
    /// Command of a program that creates devices on request, by JSON-RPC at `{socket}`
    #[arg(long, value_name = "COMMAND", help_heading = "Target")]
    control: Option<String>,
    /// Arguments that only change properties of the host, such as another port
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true, help_heading = "Target")]
    elsewhere: Option<String>,
    /// Command of another implementation of the same models, with the same arguments
    #[arg(long, value_name = "COMMAND", help_heading = "Target")]
    peer: Option<String>,
    /// Folder of golden states; see `devmig device golden`
    #[arg(long, value_name = "DIR", help_heading = "Target")]
    golden: Option<PathBuf>,
    /// Maximum number of cases of each kind; a smaller configuration space is tried completely
    #[arg(long, value_name = "N", default_value_t = 40, help_heading = "Selection",
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    cases: u16,
    /// Run the suite against each mutant of the reference device; a test of the violated clause
    /// must find it. `--only` selects mutants
    #[arg(long, help_heading = "Selection", conflicts_with_all = ["waivers", "junit", "results"])]
    mutants: bool,
    /// Maximum time for each operation, in seconds
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

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    if args.mutants {
        return mutants(&library, &suite::builtin(&library)?, &args.shared, out);
    }
    let suite = suite::whole(&library)?;
    let tests = args.shared.chosen(&suite, "device-model")?;
    let Some(spawn) = args.spawn.as_deref().filter(|_| !args.shared.list) else {
        return args.shared.list(&library, &tests, out);
    };
    let subject = args.subject(spawn)?;
    let waivers = args.shared.accepted(&library, &suite)?;
    let run = Run {
        reproduce: args.again(spawn),
        waivers,
        seed: args.shared.seed,
        ends_early: true,
        jobs: args.jobs.count(true)?,
        goes_past: true,
        ..Run::new(&library, &subject, runner::TEXT, Rules::default())
    };
    let play = |followed: Followed<'_>| {
        let run = Run { aside: followed.aside, ..run.clone() };
        Ok(runner::run(&run, &tests, followed.done))
    };
    let of = Of { protocol: "device-model", again: &run.reproduce, text: runner::TEXT };
    args.shared.play(&library, of, Plan::even(tests.len(), run.jobs), out, play)
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
            let help = "write {socket} in place of the path of the socket to listen on".to_owned();
            Err(Error::usage(format!("{option} has no {{socket}}"), Some(help)))
        }
    }
}

impl Args {
    fn subject(&self, spawn: &str) -> Result<Subject, Error> {
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
            start: self.start.start_timeout,
            limit: self.timeout,
            most: self.cases.into(),
        })
    }

    /// The command that runs a test again, but for the test's name and the seed.
    fn again(&self, spawn: &str) -> String {
        Again::new("devmig test device-model")
            .value("--spawn", Some(spawn))
            .value("--vhost-user", self.vhost_user.as_ref())
            .value("--vfio-user", self.vfio_user.as_ref())
            .value("--control", self.control.as_ref())
            .value("--elsewhere", self.elsewhere.as_ref())
            .value("--peer", self.peer.as_ref())
            .path("--golden", self.golden.as_ref())
            .path("--waivers", self.shared.waivers.as_ref())
            .words(self.cases != 40, &format!("--cases {}", self.cases))
            .start(self.start)
            .timeout(self.timeout)
    }
}

/// Holds the suite against the faults of the reference.
fn mutants(
    library: &Library,
    suite: &[Test],
    shared: &Shared,
    out: &mut Out<'_>,
) -> Result<Status, Error> {
    let bench = MutationRun::new(library, suite, this_program()?)?;
    shared.hunt(out, |mutants, all, done| hunt(&bench, mutants, all, done))
}
