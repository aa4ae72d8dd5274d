//! `devmig watch` and `devmig replay`: a conversation between two real parties, judged on both sides.
//! A migration with multifd is in `watch/multifd.rs`.

mod migration;
mod multifd;

use std::io::BufReader;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, Subcommand};
use devmig_model::registry::Library;
use devmig_reference::temporary;
use rustix::io::Errno;

use super::number::span;
use super::{Error, Format, Out, Status, interrupt};
use crate::harness::io::files;
use crate::multifd::report::Verdict;
use crate::watch::judge::{Judge, Law};
use crate::watch::meet;
use crate::watch::record::{Reader, Writer};
use crate::watch::relay;
use crate::watch::report::Report;

/// Relay what passes between a front-end and a back-end, or between the source and the destination of a migration,
/// and judge both sides
#[derive(Debug, ClapArgs)]
#[command(after_help = super::help::WATCH)]
pub(super) struct Args {
    #[command(subcommand)]
    protocol: Protocol,
}

#[derive(Debug, Subcommand)]
enum Protocol {
    VhostUser(VhostUser),
    Migration(migration::Watch),
    Multifd(multifd::Watch),
}

/// Between a VMM and the process that serves its device. It ends when either closes, at an interrupt,
/// or when the time is up, with a report.
#[derive(Debug, ClapArgs)]
#[command(after_help = super::help::WATCH)]
struct VhostUser {
    /// Create this socket for the front-end to connect to
    #[arg(long, value_name = "PATH", help_heading = "Connection")]
    listen: PathBuf,
    /// Socket on which the back-end listens
    #[arg(long, value_name = "PATH", help_heading = "Connection")]
    connect: PathBuf,
    /// Record the connection to this file, for `devmig replay`
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    record: Option<PathBuf>,
    /// Maximum time to watch
    #[arg(long = "for", value_name = "SECONDS", value_parser = span, help_heading = "Connection")]
    seconds: Option<Duration>,
    #[command(flatten)]
    by: By,
}

/// Judge a recording
#[derive(Debug, ClapArgs)]
#[command(
    after_help = super::help::REPLAY,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub(super) struct ReplayArgs {
    #[command(subcommand)]
    of: Option<Replayed>,
    /// Recording of vhost-user, as written by `devmig watch --record`
    #[arg(required = true)]
    file: Option<PathBuf>,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Subcommand)]
enum Replayed {
    Migration(migration::Replay),
    Multifd(multifd::Replay),
    MappedRam(multifd::ReplayMappedRam),
}

/// By what is judged, and how that is said.
#[derive(Debug, ClapArgs)]
struct By {
    /// Version of the vhost-user specification
    #[arg(
        long = "spec-version",
        alias = "text",
        value_name = "VERSION",
        default_value = "10.2",
        help_heading = "Judgement"
    )]
    text: String,
    /// Fix the interpretation of a choice; see `devmig choices`
    #[arg(long, value_name = "NAME=OPTION", help_heading = "Judgement")]
    choice: Vec<String>,
    /// Output format
    #[arg(long, value_enum, default_value = "text", help_heading = "Output")]
    format: Format,
}

impl By {
    fn law(&self) -> Result<Law, Error> {
        let library = Library::builtin()?;
        let mut rules = library.spec.judged_by("vhost-user", &self.text)?;
        rules.choices = library.spec.open();
        for pin in &self.choice {
            let (choice, option) = library.spec.pin(pin)?;
            rules = rules.fixing(choice, option);
        }
        Ok(Law::new(library, rules, &self.text)?)
    }

    fn say(&self, report: &Report, out: &mut Out<'_>) -> Result<Status, Error> {
        match self.format {
            Format::Text => out.text(&report.text())?,
            Format::Json => out.json(report)?,
        }
        Ok(if report.fails() { Status::Bad } else { Status::Good })
    }
}

/// Runs `watch`.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let args = match &args.protocol {
        Protocol::VhostUser(args) => args,
        Protocol::Migration(args) => return migration::run(args, out),
        Protocol::Multifd(args) => return multifd::run(args, out),
    };
    let law = args.by.law()?;
    let until = args.seconds.map(|seconds| Instant::now() + seconds);
    let trouble = |to: &Path, cause| Error::Write { to: to.display().to_string(), cause };
    let mut writer = match &args.record {
        None => None,
        Some(path) => {
            let file = files::create(path).map_err(std::io::Error::from).and_then(Writer::new);
            Some(file.map_err(|cause| trouble(path, cause))?)
        }
    };
    let (stop, signalled) = UnixStream::pair().map_err(|cause| trouble(&args.listen, cause))?;
    for signal in interrupt::SIGNALS {
        let end = signalled.try_clone().map_err(|cause| trouble(&args.listen, cause))?;
        signal_hook::low_level::pipe::register(signal, end)
            .map_err(|cause| trouble(&args.listen, cause))?;
    }
    let (listener, _socket) = temporary::listen(&args.listen).map_err(|cause| {
        let help = "the socket must not exist yet, and its folder must exist".to_owned();
        let path = args.listen.display();
        Error::usage(format!("cannot listen on {path}: {cause}"), Some(help))
    })?;
    let mut judge = Judge::new(&law);
    let front = meet::accept(&listener, until, &stop);
    let Some(front) = front.map_err(|cause| trouble(&args.listen, cause))? else {
        out.text("no front-end came\n")?;
        return Ok(Status::HarnessError);
    };
    let back = meet::connect(&args.connect, until, &stop).map_err(|cause| {
        let help = "start the back-end first; it must not serve another connection".to_owned();
        let path = args.connect.display();
        Error::usage(format!("cannot connect to {path}: {cause}"), Some(help))
    });
    let Some(back) = back? else {
        out.text("the back-end accepted no connection\n")?;
        return Ok(Status::HarnessError);
    };
    let mut relay = relay::Relay::new(OwnedFd::from(front), back);
    let ended = relay.run(until, stop.as_fd(), &mut |event| {
        judge.take(&event);
        writer.as_mut().map_or(Ok(()), |writer| writer.write(&event))
    });
    let said = args.by.say(&judge.report(), out)?;
    match ended {
        Ok(_) => Ok(said),
        Err(cause) if cause.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
            let help = "raise the limit of descriptors (`ulimit -n`)";
            Err(Error::Serve(format!("descriptors that a side sent could not be taken: {help}")))
        }
        Err(cause) => Err(trouble(args.record.as_ref().unwrap_or(&args.listen), cause)),
    }
}

/// Runs `replay`.
pub(super) fn replay(args: &ReplayArgs, out: &mut Out<'_>) -> Result<Status, Error> {
    let path = match (&args.of, &args.file) {
        (Some(Replayed::Migration(args)), _) => return migration::replay(args, out),
        (Some(Replayed::Multifd(args)), _) => return multifd::replay(args, out),
        (Some(Replayed::MappedRam(args)), _) => return multifd::replay_mapped_ram(args, out),
        (None, Some(path)) => path,
        (None, None) => return Err(Error::usage("no recording is given", None)),
    };
    let law = args.by.law()?;
    let file = files::open(path)
        .map_err(|error| Error::Read { path: path.clone(), cause: error.into() })?;
    let wrong = |error| Error::usage(format!("{}: {error}", path.display()), None);
    let mut reader = Reader::new(BufReader::new(file)).map_err(wrong)?;
    let mut judge = Judge::new(&law);
    while let Some(event) = reader.next_event().map_err(wrong)? {
        judge.take(&event);
    }
    let mut report = judge.report();
    if reader.cut {
        report.ended += "; the recording is truncated";
    }
    args.by.say(&report, out)
}

/// What a verdict comes to.
fn status(verdict: Verdict) -> Status {
    match verdict {
        Verdict::Conformant => Status::Good,
        Verdict::Violated => Status::Bad,
        Verdict::Truncated => Status::Incomplete,
    }
}
