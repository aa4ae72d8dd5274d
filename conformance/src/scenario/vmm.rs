//! One QEMU under emulation, with the relay and the back-end of its device.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use devmig_reference::nic::{Link, NicConfig, Parameters};
use devmig_reference::vhost_user::net::NetOptions;
use devmig_reference::vhost_user::{Options, Stop, serve};
use rustix::event::PollFlags;
use serde_json::{Value, json};

use super::error::Error;
use super::guest::Guest;
use super::known::{BackEnd, Kind};
use super::qmp::Qmp;
use crate::harness::io::files;
use crate::harness::io::process::{Command, FOLDER, Process};
use crate::vhost_user::Deadline;
use crate::vhost_user::transport::Connection;
use crate::watch::record::{Event, Writer};
use crate::watch::relay::Relay;

/// How long a process may take to listen, and a command to be answered.
const START: Duration = Duration::from_secs(20);
/// How often the console is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// The most of the console that is read.
const MAX_CONSOLE: u64 = 1 << 20;

/// A back-end that runs.
#[derive(Debug)]
enum Running {
    /// The reference, in a thread.
    Reference(Stop, Option<JoinHandle<()>>),
    /// A process.
    Process(#[allow(dead_code)] Process),
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Running::Reference(stop, thread) = self {
            let stopped = stop.stop().is_ok();
            if let Some(thread) = thread.take().filter(|_| stopped) {
                let _ = thread.join();
            }
        }
    }
}

/// A machine.
#[derive(Debug)]
pub struct Vmm {
    qemu: Option<Process>,
    qmp: Qmp,
    console: PathBuf,
    relay: Option<JoinHandle<Result<Vec<Event>, Error>>>,
    /// Kept open, so that the relay is asked to end when this is dropped.
    stop: Option<UnixStream>,
    _back_end: Running,
}

/// What a machine is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'p> {
    /// What it boots.
    pub guest: &'p Guest,
    /// What its device is.
    pub device: Kind,
    /// The device's other half.
    pub back_end: &'p BackEnd,
    /// A folder that both ends of a migration have.
    pub shared: &'p Path,
    /// A folder of its own.
    pub folder: &'p Path,
    /// QEMU's program.
    pub program: &'p Path,
    /// The socket that a migration comes from.
    pub incoming: Option<&'p Path>,
    /// Where what passes is kept.
    pub record: Option<&'p Path>,
}

impl Vmm {
    /// Starts the back-end, the relay, and QEMU.
    ///
    /// # Errors
    /// What is not there or does not start.
    pub fn start(parts: Parts<'_>) -> Result<Self, Error> {
        let deadline = Deadline::after(START);
        let (back_end, back) = back_end(&parts, deadline)?;
        let socket = parts.folder.join("w");
        let listener = UnixListener::bind(&socket).map_err(Error::io("a socket"))?;
        let (stop, asked) = UnixStream::pair().map_err(Error::io("a socket"))?;
        let record = parts.record.map(Path::to_owned);
        let relay = std::thread::spawn(move || relay(&listener, back, &asked, record.as_deref()));
        let console = parts.folder.join("console");
        let command = command(&parts, &socket, &console)?;
        let (qemu, connection) = command.start(deadline)?;
        let qmp = Qmp::new(&connection, deadline)?;
        let (relay, stop) = (Some(relay), Some(stop));
        Ok(Vmm { qemu: Some(qemu), qmp, console, relay, stop, _back_end: back_end })
    }

    /// Runs a command of the monitor.
    ///
    /// # Errors
    /// See [`Qmp::run`].
    pub fn run(&mut self, command: &str, arguments: Value) -> Result<Value, Error> {
        self.qmp.run(command, arguments, Deadline::after(START))
    }

    /// How much the guest has printed so far.
    #[must_use]
    pub fn printed(&self) -> u64 {
        std::fs::metadata(&self.console).map(|data| data.len()).unwrap_or_default()
    }

    /// Waits until the guest has printed this, after so much.
    ///
    /// # Errors
    /// If it does not, with the last line that it printed.
    pub fn prints(&mut self, wanted: &str, after: u64, limit: Duration) -> Result<(), Error> {
        let deadline = Deadline::after(limit);
        loop {
            let text = self.console(after);
            if text.contains(wanted) {
                return Ok(());
            }
            if let Some(status) = self.qemu.as_mut().and_then(Process::exit_status) {
                return Err(Error::Ended { status, last: self.last_words() });
            }
            if deadline.passed() {
                let last = text.lines().last().unwrap_or_default().to_owned();
                return Err(Error::Mute { wanted: wanted.to_owned(), limit, last });
            }
            deadline.pause(LOOK);
        }
    }

    fn console(&self, after: u64) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = std::fs::File::open(&self.console)
            && file.seek(SeekFrom::Start(after)).is_ok()
        {
            let _ = file.take(MAX_CONSOLE).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn last_words(&self) -> String {
        let output = self.qemu.as_ref().map(Process::last_output).unwrap_or_default();
        output.lines().last().unwrap_or_default().to_owned()
    }

    /// Waits until a query's `status` is this.
    ///
    /// # Errors
    /// If it is not in time, or has failed.
    pub fn reaches(
        &mut self,
        query: &'static str,
        wanted: &'static str,
        limit: Duration,
    ) -> Result<(), Error> {
        let deadline = Deadline::after(limit);
        loop {
            let answer = self.run(query, json!({}))?;
            let status = answer.get("status").and_then(Value::as_str).unwrap_or_default();
            if status == wanted {
                return Ok(());
            }
            if status == "failed" || deadline.passed() {
                let (status, answer) = (status.to_owned(), answer.to_string());
                return Err(Error::Status { query, wanted, status, answer });
            }
            deadline.pause(LOOK);
        }
    }

    /// Quits, and hands over what was said.
    ///
    /// # Errors
    /// If QEMU does not end, or the relay could not go on.
    pub fn quit(mut self) -> Result<Vec<Event>, Error> {
        // The monitor may be closed before it answers.
        let _ = self.run("quit", json!({}));
        let began = Instant::now();
        let mut qemu = self.qemu.take();
        while qemu.as_mut().is_some_and(|qemu| qemu.exit_status().is_none()) {
            if began.elapsed() > START {
                return Err(Error::DoesNotQuit);
            }
            std::thread::sleep(LOOK);
        }
        self.events()
    }

    fn events(&mut self) -> Result<Vec<Event>, Error> {
        self.stop = None;
        let relay = self.relay.take().ok_or(Error::Relay("is gone"))?;
        relay.join().map_err(|_| Error::Relay("failed"))?
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        self.qemu = None;
        if self.relay.is_some() {
            let _ = self.events();
        }
    }
}

/// Starts a back-end and connects to it.
fn back_end(parts: &Parts<'_>, deadline: Deadline) -> Result<(Running, OwnedFd), Error> {
    let folder = parts.folder;
    let (running, connection) = match parts.back_end {
        BackEnd::Reference => {
            let options = reference(parts.device)?;
            let socket = folder.join("b");
            let listener = UnixListener::bind(&socket).map_err(Error::io("a socket"))?;
            let stop = Stop::new()?;
            let asked = stop.clone();
            let thread = std::thread::spawn(move || {
                let _ = serve(&listener, None, &options, &asked);
            });
            let running = Running::Reference(stop, Some(thread));
            let connection = Connection::connect(&socket, deadline)?;
            (running, connection)
        }
        BackEnd::Spawn(spawn) => {
            let words = spawn.replace(FOLDER, &parts.shared.to_string_lossy());
            let command = Command::parse(&words)?;
            let (process, connection) = command.start(deadline)?;
            (Running::Process(process), connection)
        }
    };
    let socket = connection.as_fd().try_clone_to_owned().map_err(Error::io("a socket"))?;
    Ok((running, socket))
}

/// The reference device of this kind.
fn reference(device: Kind) -> Result<Options, Error> {
    match device {
        Kind::Blk => Ok(Options::default()),
        Kind::Net => {
            let config = NicConfig::new(Parameters::default())?;
            let (link, latency, flap) = (Link::Loopback, Duration::ZERO, None);
            Ok(Options::nic(NetOptions { config, link, latency, flap }))
        }
        Kind::Fs => Err(Error::NoDevice("file system")),
    }
}

/// What is passed on until a side has closed or the other end of `asked` is gone.
fn relay(
    listener: &UnixListener,
    back: OwnedFd,
    asked: &UnixStream,
    record: Option<&Path>,
) -> Result<Vec<Event>, Error> {
    let ready = Deadline::after(START).wait(listener.as_fd(), PollFlags::IN);
    if !ready.map_err(|errno| Error::io("a socket")(errno.into()))? {
        return Err(Error::NotConnected);
    }
    let (front, _) = listener.accept().map_err(Error::io("a socket"))?;
    let begin = |path| files::create(path).map_err(std::io::Error::from).and_then(Writer::new);
    let mut writer = record.map(begin).transpose().map_err(Error::io("a recording"))?;
    let mut events = Vec::new();
    let mut told = |event: Event| {
        if let Some(writer) = &mut writer {
            writer.write(&event)?;
        }
        events.push(event);
        Ok(())
    };
    let mut relay = Relay::new(OwnedFd::from(front), back);
    relay.run(None, asked.as_fd(), &mut told).map_err(Error::io("the relay"))?;
    Ok(events)
}

/// QEMU's command line; the monitor's socket is the one that the command listens on.
fn command(parts: &Parts<'_>, socket: &Path, console: &Path) -> Result<Command, Error> {
    let quoted = |path: &Path| shell_words::quote(&path.to_string_lossy()).into_owned();
    let mut words = vec![
        quoted(parts.program),
        "-nodefaults -no-user-config -display none -m 256".into(),
        "-object memory-backend-memfd,id=m,size=256M,share=on".into(),
        "-machine q35,accel=tcg,memory-backend=m".into(),
        format!(
            "-kernel {} -initrd {}",
            quoted(&parts.guest.kernel),
            quoted(&parts.guest.initramfs)
        ),
        format!("-append 'console=ttyS0 quiet panic=-1 io={}'", parts.device.name()),
        format!("-chardev file,id=s,path={} -serial chardev:s", quoted(console)),
        "-qmp unix:{socket},server=on,wait=off".into(),
        format!("-chardev socket,id=c,path={}", quoted(socket)),
        parts.device.arguments().into(),
    ];
    if let Some(incoming) = parts.incoming {
        words.push(format!("-incoming unix:{}", quoted(incoming)));
    }
    Ok(Command::parse(&words.join(" "))?)
}
