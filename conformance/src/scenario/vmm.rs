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
    relay: Option<JoinHandle<Result<Vec<Event>, String>>>,
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
    /// What is not there or does not start, for people.
    pub fn start(parts: Parts<'_>) -> Result<Self, String> {
        let say = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let deadline = Deadline::after(START);
        let (back_end, back) = back_end(&parts, deadline)?;
        let socket = parts.folder.join("w");
        let listener = UnixListener::bind(&socket).map_err(|error| say("a socket", &error))?;
        let (stop, asked) = UnixStream::pair().map_err(|error| say("a socket", &error))?;
        let record = parts.record.map(Path::to_owned);
        let relay = std::thread::spawn(move || relay(&listener, back, &asked, record.as_deref()));
        let console = parts.folder.join("console");
        let command = command(&parts, &socket, &console)?;
        let (qemu, connection) = command.start(deadline).map_err(|error| error.to_string())?;
        let qmp = Qmp::new(&connection, deadline)?;
        let (relay, stop) = (Some(relay), Some(stop));
        Ok(Vmm { qemu: Some(qemu), qmp, console, relay, stop, _back_end: back_end })
    }

    /// Runs a command of the monitor.
    ///
    /// # Errors
    /// See [`Qmp::run`].
    pub fn run(&mut self, command: &str, arguments: Value) -> Result<Value, String> {
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
    pub fn prints(&mut self, wanted: &str, after: u64, limit: Duration) -> Result<(), String> {
        let deadline = Deadline::after(limit);
        loop {
            let text = self.console(after);
            if text.contains(wanted) {
                return Ok(());
            }
            if let Some(status) = self.qemu.as_mut().and_then(Process::exit_status) {
                return Err(format!("QEMU ended ({status}): {}", self.last_words()));
            }
            if deadline.passed() {
                let last = text.lines().last().unwrap_or_default();
                return Err(format!("no `{wanted}` from the guest in {limit:?}; last `{last}`"));
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
    pub fn reaches(&mut self, query: &str, wanted: &str, limit: Duration) -> Result<(), String> {
        let deadline = Deadline::after(limit);
        loop {
            let answer = self.run(query, json!({}))?;
            let status = answer.get("status").and_then(Value::as_str).unwrap_or_default();
            if status == wanted {
                return Ok(());
            }
            if status == "failed" || deadline.passed() {
                return Err(format!("{query} says `{status}`, not `{wanted}`: {answer}"));
            }
            deadline.pause(LOOK);
        }
    }

    /// Quits, and hands over what was said.
    ///
    /// # Errors
    /// If QEMU does not end, or the relay could not go on.
    pub fn quit(mut self) -> Result<Vec<Event>, String> {
        // The monitor may be closed before it answers.
        let asked = self.run("quit", json!({}));
        let began = Instant::now();
        let mut qemu = self.qemu.take();
        while qemu.as_mut().is_some_and(|qemu| qemu.exit_status().is_none()) {
            if began.elapsed() > START {
                return Err(format!("QEMU does not quit ({asked:?})"));
            }
            std::thread::sleep(LOOK);
        }
        self.events()
    }

    fn events(&mut self) -> Result<Vec<Event>, String> {
        self.stop = None;
        let relay = self.relay.take().ok_or("the relay is gone")?;
        relay.join().map_err(|_| "the relay failed".to_owned())?
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
fn back_end(parts: &Parts<'_>, deadline: Deadline) -> Result<(Running, OwnedFd), String> {
    let folder = parts.folder;
    let (running, connection) = match parts.back_end {
        BackEnd::Reference => {
            let options = reference(parts.device)?;
            let socket = folder.join("b");
            let listener = UnixListener::bind(&socket).map_err(|error| error.to_string())?;
            let stop = Stop::new().map_err(|error| error.to_string())?;
            let asked = stop.clone();
            let thread = std::thread::spawn(move || {
                let _ = serve(&listener, None, &options, &asked);
            });
            let running = Running::Reference(stop, Some(thread));
            let connection =
                Connection::connect(&socket, deadline).map_err(|error| error.to_string())?;
            (running, connection)
        }
        BackEnd::Spawn(spawn) => {
            let words = spawn.replace(FOLDER, &parts.shared.to_string_lossy());
            let command = Command::parse(&words).map_err(|error| error.to_string())?;
            let (process, connection) =
                command.start(deadline).map_err(|error| error.to_string())?;
            (Running::Process(process), connection)
        }
    };
    let socket = connection.as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
    Ok((running, socket))
}

/// The reference device of this kind.
fn reference(device: Kind) -> Result<Options, String> {
    match device {
        Kind::Blk => Ok(Options::default()),
        Kind::Net => {
            let config = NicConfig::new(Parameters::default()).map_err(|e| e.to_string())?;
            let (link, latency, flap) = (Link::Loopback, Duration::ZERO, None);
            Ok(Options::nic(NetOptions { config, link, latency, flap }))
        }
        Kind::Fs => Err("the reference has no file system".into()),
    }
}

/// What is passed on until a side has closed or the other end of `asked` is gone.
fn relay(
    listener: &UnixListener,
    back: OwnedFd,
    asked: &UnixStream,
    record: Option<&Path>,
) -> Result<Vec<Event>, String> {
    let ready = Deadline::after(START).wait(listener.as_fd(), PollFlags::IN);
    if !ready.map_err(|error| error.to_string())? {
        return Err("QEMU did not connect to its device".into());
    }
    let (front, _) = listener.accept().map_err(|error| error.to_string())?;
    let begin = |path| files::create(path).map_err(std::io::Error::from).and_then(Writer::new);
    let mut writer = record.map(begin).transpose().map_err(|error| error.to_string())?;
    let mut events = Vec::new();
    let mut told = |event: Event| {
        if let Some(writer) = &mut writer {
            writer.write(&event)?;
        }
        events.push(event);
        Ok(())
    };
    let mut relay = Relay::new(OwnedFd::from(front), back);
    relay.run(None, asked.as_fd(), &mut told).map_err(|error| error.to_string())?;
    Ok(events)
}

/// QEMU's command line; the monitor's socket is the one that the command listens on.
fn command(parts: &Parts<'_>, socket: &Path, console: &Path) -> Result<Command, String> {
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
    Command::parse(&words.join(" ")).map_err(|error| error.to_string())
}
