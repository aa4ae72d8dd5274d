//! `devmig watch` and `devmig replay`: a conversation between two real parties, judged on both sides.

use std::fs::File;
use std::io::BufReader;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, Subcommand};
use devmig_model::registry::Library;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Error, Format, Out, Status, test};
use crate::watch::judge::{Judge, Law};
use crate::watch::record::{Reader, Writer};
use crate::watch::relay::Relay;
use crate::watch::report::Report;

/// Relay a connection between a front-end and a back-end, and judge both
#[derive(Debug, ClapArgs)]
#[command(after_help = super::help::WATCH)]
pub(super) struct Args {
    #[command(subcommand)]
    protocol: Protocol,
}

#[derive(Debug, Subcommand)]
enum Protocol {
    VhostUser(VhostUser),
}

/// Between a VMM and the process that serves its device. It ends when either closes, at an interrupt,
/// or when the time is up, with a report.
#[derive(Debug, ClapArgs)]
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
    #[arg(long = "for", value_name = "SECONDS", help_heading = "Connection")]
    seconds: Option<f64>,
    #[command(flatten)]
    by: By,
}

/// Judge a recording
#[derive(Debug, ClapArgs)]
#[command(after_help = super::help::REPLAY)]
pub(super) struct ReplayArgs {
    /// Recording, as written by `devmig watch --record`
    file: PathBuf,
    #[command(flatten)]
    by: By,
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
        let mut rules = test::judged_by(&library, &self.text)?;
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
    let Protocol::VhostUser(args) = &args.protocol;
    let law = args.by.law()?;
    let until = match args.seconds {
        None => None,
        Some(seconds) if seconds > 0.0 && seconds <= 86_400.0 => {
            Some(Instant::now() + Duration::from_secs_f64(seconds))
        }
        Some(_) => {
            let help = "use a number of seconds greater than 0, up to 86400".to_owned();
            return Err(Error::usage("invalid value for --for", Some(help)));
        }
    };
    let trouble = |to: &Path, cause| Error::Write { to: to.display().to_string(), cause };
    let mut writer = match &args.record {
        None => None,
        Some(path) => {
            let file = File::create(path).and_then(Writer::new);
            Some(file.map_err(|cause| trouble(path, cause))?)
        }
    };
    let (stop, signalled) = UnixStream::pair().map_err(|cause| trouble(&args.listen, cause))?;
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let end = signalled.try_clone().map_err(|cause| trouble(&args.listen, cause))?;
        signal_hook::low_level::pipe::register(signal, end)
            .map_err(|cause| trouble(&args.listen, cause))?;
    }
    let socket = Listening::new(&args.listen)?;
    let mut judge = Judge::new(&law);
    let Some(front) = socket.accept(until, &stop)? else {
        out.text("no front-end came\n")?;
        return Ok(Status::HarnessError);
    };
    let back = UnixStream::connect(&args.connect).map_err(|cause| {
        let help = "start the back-end first; it must not serve another connection".to_owned();
        let path = args.connect.display();
        Error::usage(format!("cannot connect to {path}: {cause}"), Some(help))
    })?;
    let mut relay = Relay::new(OwnedFd::from(front), OwnedFd::from(back));
    let ended = relay.run(until, stop.as_fd(), &mut |event| {
        judge.take(&event);
        writer.as_mut().map_or(Ok(()), |writer| writer.write(&event))
    });
    ended.map_err(|cause| trouble(args.record.as_ref().unwrap_or(&args.listen), cause))?;
    args.by.say(&judge.report(), out)
}

/// A listening socket, removed when it is done with.
struct Listening<'p> {
    listener: UnixListener,
    path: &'p Path,
}

impl<'p> Listening<'p> {
    fn new(path: &'p Path) -> Result<Self, Error> {
        let listener = UnixListener::bind(path).map_err(|cause| {
            let help = "the socket must not exist yet, and its folder must exist".to_owned();
            Error::usage(format!("cannot listen on {}: {cause}", path.display()), Some(help))
        })?;
        Ok(Listening { listener, path })
    }

    /// The front-end; `None` if none came in time, or it was asked to stop.
    fn accept(
        &self,
        until: Option<Instant>,
        stop: &UnixStream,
    ) -> Result<Option<UnixStream>, Error> {
        let trouble = |cause| Error::Write { to: self.path.display().to_string(), cause };
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let wait = left.unwrap_or(Duration::from_secs(1)).min(Duration::from_secs(1));
            let wait = Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            let mut fds =
                [PollFd::new(&self.listener, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            match poll(&mut fds, Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(trouble(errno.into())),
            }
            let [came, asked] = fds.map(|fd| !fd.revents().is_empty());
            if came {
                return self.listener.accept().map(|(socket, _)| Some(socket)).map_err(trouble);
            }
            if asked || until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
        }
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path);
    }
}

/// Runs `replay`.
pub(super) fn replay(args: &ReplayArgs, out: &mut Out<'_>) -> Result<Status, Error> {
    let law = args.by.law()?;
    let path = &args.file;
    let file = File::open(path).map_err(|cause| Error::Read { path: path.clone(), cause })?;
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
