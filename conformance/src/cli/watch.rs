//! `devmig watch` and `devmig replay`: a conversation between two real parties, judged on both sides.

use std::io::BufReader;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, Subcommand};
use devmig_model::registry::Library;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use super::number::span;
use super::{Error, Format, Out, Status, interrupt, test};
use crate::harness::io::files;
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
    #[arg(long = "for", value_name = "SECONDS", value_parser = span, help_heading = "Connection")]
    seconds: Option<Duration>,
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
    let socket = Listening::new(&args.listen)?;
    let mut judge = Judge::new(&law);
    let Some(front) = socket.accept(until, &stop)? else {
        out.text("no front-end came\n")?;
        return Ok(Status::HarnessError);
    };
    let Some(back) = connect(&args.connect, until, &stop)? else {
        out.text("the back-end accepted no connection\n")?;
        return Ok(Status::HarnessError);
    };
    let mut relay = Relay::new(OwnedFd::from(front), back);
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

/// How long a back-end may take to accept a connection.
const ACCEPTS: Duration = Duration::from_secs(10);
/// How often it is tried.
const RETRY: Duration = Duration::from_millis(20);

/// Connects to the back-end; `None` if it was not possible in time, or it was asked to stop.
fn connect(
    path: &Path,
    until: Option<Instant>,
    stop: &UnixStream,
) -> Result<Option<OwnedFd>, Error> {
    let failed = |errno: Errno| {
        let help = "start the back-end first; it must not serve another connection".to_owned();
        let cause = std::io::Error::from(errno);
        Error::usage(format!("cannot connect to {}: {cause}", path.display()), Some(help))
    };
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let socket = socket.map_err(failed)?;
    let latest = Instant::now() + ACCEPTS;
    let latest = until.map_or(latest, |until| until.min(latest));
    let wait = Timespec::try_from(RETRY).map_err(|_| failed(Errno::INVAL))?;
    loop {
        match net::connect(&socket, &address) {
            Ok(()) => return Ok(Some(socket)),
            Err(Errno::INTR) => {}
            // Its backlog is full: a blocking call would wait for it, and for nothing else.
            Err(Errno::AGAIN) => {
                let mut asked = [PollFd::new(stop, PollFlags::IN)];
                match poll(&mut asked, Some(&wait)) {
                    Ok(0) | Err(Errno::INTR) if Instant::now() < latest => {}
                    Ok(_) | Err(Errno::INTR) => return Ok(None),
                    Err(errno) => return Err(failed(errno)),
                }
            }
            Err(errno) => return Err(failed(errno)),
        }
    }
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
