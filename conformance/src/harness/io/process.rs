//! An implementation under test that we start ourselves, and that never outlives us.
//!
//! ```text
//!   'virtiofsd --socket-path={socket} --shared-dir={folder}'
//!     -> words, their places in a new folder -> own process group -> connected -> ended, folder gone
//! ```
//!
//! Connecting is how we know that it listens, so [`Command::start`] hands the connection over:
//! some back-ends end when their first front-end leaves, and a probe would be that front-end.
//!
//! **Invariants.** It is ended by its own id, never by name, together with the group that it leads:
//! asked first, then killed. The group's id cannot have been given to somebody else, since the
//! leader is reaped last. A signal that ends us ends it too, by way of [`end_all`]; where the kernel
//! kills us and nothing of ours runs any more, it kills what we have started. Of what it prints, the
//! last [`TAIL`] bytes are kept.
//!
//! **Not here:** daemons that leave their group and their command; the command must stay in the
//! foreground.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod ended;
mod ending;
mod parent;

pub use ended::{DEATH, Remains, is_crash, words};

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use devmig_reference::temporary::{self, Temporary};
use rustix::process::{Pid, Signal, kill_process_group};

use devmig_reference::socket::Deadline;
use devmig_reference::socket::transport::{Channel, ConnectError, Connection, Frame};

use self::ending::Ending;

/// What stands in a command for the socket's path.
pub const PLACEHOLDER: &str = "{socket}";

/// What stands for the path without its last character, a `0`: some back-ends serve several sockets
/// and append a number to the path that they are given.
pub const STEM: &str = "{stem}";

/// What stands for a file of its own, of [`IMAGE_SIZE`] zeros: a disk for a back-end that serves one.
pub const IMAGE: &str = "{image}";

/// What stands for an empty folder of its own, for a back-end that serves one.
pub const FOLDER: &str = "{folder}";

/// How many bytes a disk has.
pub const IMAGE_SIZE: u64 = 1 << 20;

/// How many bytes of output are kept, the last ones.
pub const TAIL: usize = 16 * 1024;

/// How many lines of output an error shows.
const LINES: usize = 12;

/// How many characters of a line of output an error shows.
const WIDEST: usize = 400;

/// How long a process that was asked to end may take.
const GRACE: Duration = Duration::from_secs(2);

/// How long the rest of a dead process's output may take.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How often to look whether a process listens: no descriptor tells.
const PAUSE: Duration = Duration::from_millis(1);

/// The groups that run, by their leaders' ids.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn running() -> MutexGuard<'static, BTreeSet<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends every process that was started here and removes every temporary folder, since we are about to
/// end, and then calls `leave`, which does not return: nothing can be started or made meanwhile.
pub fn end_all(leave: impl FnOnce()) {
    let running = running();
    let groups = || running.iter().filter_map(|id| Pid::from_raw(*id));
    // Nobody left to be signalled is what we want.
    for group in groups() {
        let _ = kill_process_group(group, Signal::TERM);
    }
    let deadline = Deadline::after(GRACE);
    for group in groups() {
        Ending::of(group).wait(deadline);
    }
    for group in groups() {
        let _ = kill_process_group(group, Signal::KILL);
    }
    temporary::remove_all(leave);
}

/// Why there is no process to talk to.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// An empty command.
    #[error("the command is empty")]
    Empty,
    /// It does not say where the socket goes.
    #[error(
        "the command has no {PLACEHOLDER}: write it where the back-end expects the path of the \
         socket to listen on, e.g. 'virtiofsd --socket-path={PLACEHOLDER} --shared-dir={FOLDER}' \
         ({STEM} for one that appends a 0 to it)"
    )]
    NoPlaceholder,
    /// A quote is not closed.
    #[error("the command cannot be split into words: {0}")]
    Words(#[from] shell_words::ParseError),
    /// It cannot be run at all.
    #[error("cannot run `{program}`: {error}")]
    Run {
        /// Its first word.
        program: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// It ended before it listened.
    #[error("`{program}` ended before it could be connected to ({status}){output}")]
    Exited {
        /// Its first word.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it printed, on lines of their own.
        output: String,
    },
    /// It runs and does not listen.
    #[error("`{program}` could not be connected to in time: {error}{output}")]
    Connect {
        /// Its first word.
        program: String,
        /// The last attempt.
        error: ConnectError,
        /// The last lines that it printed, on lines of their own.
        output: String,
    },
    /// It runs and does not end.
    #[error("`{program}` did not end in time{output}")]
    Silent {
        /// Its first word.
        program: String,
        /// The last lines that it printed, on lines of their own.
        output: String,
    },
    /// It prints without end.
    #[error("`{program}` prints more than {most} bytes")]
    Long {
        /// Its first word.
        program: String,
        /// How much is kept.
        most: usize,
    },
    /// A folder, a pipe or a thread cannot be had.
    #[error("cannot prepare to run a command: {0}")]
    Prepare(#[from] io::Error),
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Captured {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, all of it.
    pub output: Vec<u8>,
    /// The end of what it printed to standard error.
    pub errors: String,
}

/// A command with places for what it needs: its socket ([`PLACEHOLDER`], [`STEM`]), a disk ([`IMAGE`]),
/// a folder ([`FOLDER`]). Each process has its own, and they are gone when it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    words: Vec<String>,
}

impl Command {
    /// Splits a command as a shell does, without running one: quotes and backslashes, no variables.
    ///
    /// # Errors
    /// [`SpawnError::Words`], [`SpawnError::Empty`], [`SpawnError::NoPlaceholder`].
    pub fn parse(text: &str) -> Result<Self, SpawnError> {
        let words = shell_words::split(text)?;
        if words.first().is_none_or(String::is_empty) {
            return Err(SpawnError::Empty);
        }
        if !words.iter().any(|word| word.contains(PLACEHOLDER) || word.contains(STEM)) {
            return Err(SpawnError::NoPlaceholder);
        }
        Ok(Command { words })
    }

    /// A command without a socket, by its words.
    ///
    /// # Errors
    /// [`SpawnError::Empty`].
    pub fn plain(words: Vec<String>) -> Result<Self, SpawnError> {
        if words.first().is_none_or(String::is_empty) {
            return Err(SpawnError::Empty);
        }
        Ok(Command { words })
    }

    /// Runs it.
    ///
    /// # Errors
    /// See [`SpawnError`]. Nothing is left behind.
    pub fn spawn(&self) -> Result<Process, SpawnError> {
        self.run()
    }

    /// Runs it to its end, and keeps what it prints to standard output apart: at most `most` bytes.
    ///
    /// # Errors
    /// See [`SpawnError`]; [`SpawnError::Silent`] for one that did not end in time, which is ended.
    pub fn captured(&self, most: usize, deadline: Deadline) -> Result<Captured, SpawnError> {
        let (reader, writer) = io::pipe()?;
        let mut process = self.run_into(Some(writer))?;
        // One byte more shows that there was more.
        let mut output = Output::collect(reader, most.saturating_add(1))?;
        let Some(status) = process.wait(deadline) else {
            let (program, output) = (process.program.clone(), process.indented_output());
            return Err(SpawnError::Silent { program, output });
        };
        output.finish();
        let output = output.bytes();
        if output.len() > most {
            return Err(SpawnError::Long { program: process.program.clone(), most });
        }
        Ok(Captured { status, output, errors: process.last_output() })
    }

    /// Runs it, and connects as soon as it listens.
    ///
    /// # Errors
    /// See [`SpawnError`]. Nothing is left behind.
    pub fn start(&self, deadline: Deadline) -> Result<(Process, Connection), SpawnError> {
        self.start_over(deadline)
    }

    /// The same for another protocol's messages.
    ///
    /// # Errors
    /// See [`SpawnError`]. Nothing is left behind.
    pub fn start_over<H: Frame>(
        &self,
        deadline: Deadline,
    ) -> Result<(Process, Channel<H>), SpawnError> {
        let mut process = self.run()?;
        let connection = process.first_connection(deadline)?;
        Ok((process, connection))
    }

    fn run(&self) -> Result<Process, SpawnError> {
        self.run_into(None)
    }

    /// Where its disk and its folder are; what it does not name is not made.
    fn furnish(&self, folder: &Path) -> io::Result<(PathBuf, PathBuf)> {
        let (image, shared) = (folder.join("image"), folder.join("shared"));
        let names = |name| self.words.iter().any(|word| word.contains(name));
        if names(IMAGE) {
            File::create_new(&image)?.set_len(IMAGE_SIZE)?;
        }
        if names(FOLDER) {
            std::fs::create_dir(&shared)?;
        }
        Ok((image, shared))
    }

    /// Runs it; its standard output goes there, or to where its errors go.
    fn run_into(&self, output: Option<io::PipeWriter>) -> Result<Process, SpawnError> {
        let folder = temporary::folder("")?;
        let (stem, socket) = (folder.path().join("s"), folder.path().join("s0"));
        let (image, shared) = self.furnish(folder.path())?;
        let places = [(PLACEHOLDER, &socket), (STEM, &stem), (IMAGE, &image), (FOLDER, &shared)];
        let mut words = self.words.iter().map(|word| {
            places.iter().fold(word.clone(), |word, (name, path)| {
                word.replace(name, &path.to_string_lossy())
            })
        });
        let program = words.next().ok_or(SpawnError::Empty)?;
        let (reader, writer) = io::pipe()?;
        let mut command = std::process::Command::new(&program);
        command
            .args(words)
            .stdin(Stdio::null())
            .stdout(output.map_or_else(|| writer.try_clone(), Ok)?)
            .stderr(writer)
            .process_group(0);
        let mut running = running();
        let child = parent::start(command).map_err(|error| {
            // The words of the kernel for a missing program do not say what is missing.
            SpawnError::Run { program: program.clone(), error }
        })?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            running.insert(group.as_raw_nonzero().get());
        }
        drop(running);
        let mut process = Process {
            program,
            child,
            ending: group.map(Ending::of),
            group,
            status: None,
            told: false,
            socket,
            _folder: folder,
            output: None,
        };
        process.output = Some(Output::collect(reader, TAIL)?);
        Ok(process)
    }
}

/// A running implementation. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    program: String,
    child: Child,
    group: Option<Pid>,
    /// Its end, until it has been reaped.
    ending: Option<Ending>,
    /// How it ended, once it has been reaped.
    status: Option<ExitStatus>,
    /// It was told to end before it had ended.
    told: bool,
    socket: PathBuf,
    _folder: Temporary,
    output: Option<Output>,
}

impl Process {
    /// The socket that it was told to listen on.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its process id, while it has not been found ended.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has. What it left behind in its group is then ended too.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() && self.has_ended() {
            self.reap();
        }
        self.status
    }

    /// Waits for its end; none if it did not come in time.
    pub fn wait(&mut self, deadline: Deadline) -> Option<ExitStatus> {
        self.wait_for_end(deadline);
        let status = self.exit_status();
        if status.is_some() {
            self.output.as_mut().map(Output::finish);
        }
        status
    }

    /// The last lines that it printed, to standard output or error.
    #[must_use]
    pub fn last_output(&self) -> String {
        self.output.as_ref().map(Output::tail).unwrap_or_default()
    }

    /// Connects once more, e.g. after a disconnection.
    ///
    /// # Errors
    /// [`SpawnError::Exited`] if it has ended meanwhile, [`SpawnError::Connect`] otherwise.
    pub fn connect(&mut self, deadline: Deadline) -> Result<Connection, SpawnError> {
        self.first_connection(deadline)
    }

    /// Waits for its end at most until then, ends it, and tells what is left of it.
    pub fn remains(&mut self, deadline: Deadline) -> Remains {
        if self.wait(deadline).is_none() {
            self.end();
            self.output.as_mut().map(Output::finish);
        }
        Remains { ended: self.ended_by_itself(), output: self.last_lines() }
    }

    /// What it did not do because it was told to end. A crash on its way out is its own.
    fn ended_by_itself(&self) -> Option<ExitStatus> {
        let own = |status: &ExitStatus| is_crash(*status) && !ended::is_ours(*status);
        self.status.filter(|status| !self.told || own(status))
    }

    /// The last lines that it printed.
    fn last_lines(&self) -> Vec<String> {
        let tail = self.last_output();
        let lines: Vec<&str> = tail.lines().collect();
        let skipped = lines.len().saturating_sub(LINES);
        let short = |line: &&str| line.chars().take(WIDEST).collect();
        lines.iter().skip(skipped).map(short).collect()
    }

    /// Ends it and its group, and says how it ended: by itself before, or by our signal.
    pub fn stop(mut self) -> Option<ExitStatus> {
        self.end();
        self.status
    }

    fn first_connection<H: Frame>(&mut self, deadline: Deadline) -> Result<Channel<H>, SpawnError> {
        let may_come = |error: &ConnectError| {
            matches!(error, ConnectError::NoSuchSocket(_) | ConnectError::Refused(_))
        };
        let connect = |path: &Path| Channel::connect(path, deadline);
        let error = match self.connected(deadline, may_come, connect) {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        let program = self.program.clone();
        let Some(status) = self.exit_status() else {
            return Err(SpawnError::Connect { program, error, output: self.indented_output() });
        };
        self.output.as_mut().map(Output::finish);
        Err(SpawnError::Exited { program, status, output: self.indented_output() })
    }

    /// Connects as soon as it listens, by this function of its socket's path.
    ///
    /// # Errors
    /// The last one: it has ended, it does not listen in time, or the connection may not come.
    pub fn connected<C, E>(
        &mut self,
        deadline: Deadline,
        may_come: impl Fn(&E) -> bool,
        connect: impl Fn(&Path) -> Result<C, E>,
    ) -> Result<C, E> {
        loop {
            // What has ended by now listens no more, whatever comes after this look.
            let is_over = self.has_ended() || deadline.passed();
            match connect(&self.socket) {
                Err(error) if may_come(&error) && !is_over => {}
                other => return other,
            }
            self.wait_for_end(deadline.sooner(PAUSE));
        }
    }

    fn indented_output(&self) -> String {
        self.last_lines().iter().fold(String::new(), |mut text, line| {
            let _ = write!(text, "\n    {line}");
            text
        })
    }

    /// Whether the process has ended, without reaping it.
    fn has_ended(&self) -> bool {
        self.wait_for_end(Deadline::now())
    }

    /// Asks the group to end, waits a little, kills what is left of it.
    fn end(&mut self) {
        if self.status.is_none() && !self.has_ended() {
            self.told = true;
            self.signal(Signal::TERM);
            // One that is stopped takes no signal but this one.
            self.signal(Signal::CONT);
            self.wait_for_end(Deadline::after(GRACE));
        }
        self.reap();
    }

    /// Kills what is left of the group, then reaps its leader. A process that the kernel does not
    /// let go is not waited for: it is dead as soon as it can be.
    fn reap(&mut self) {
        if let Some(group) = self.group {
            self.signal(Signal::KILL);
            let ended = self.wait_for_end(Deadline::after(GRACE));
            // Its id may be another's as soon as it is reaped.
            running().remove(&group.as_raw_nonzero().get());
            if ended {
                self.status = self.child.wait().ok();
            }
            (self.group, self.ending) = (None, None);
        }
    }

    /// Waits until it has ended, without reaping it; false at the deadline.
    fn wait_for_end(&self, deadline: Deadline) -> bool {
        self.ending.as_ref().is_none_or(|ending| ending.wait(deadline))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // Nobody left to be signalled is what we want.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// The end of what a process prints.
#[derive(Debug)]
struct Output {
    tail: Arc<Mutex<VecDeque<u8>>>,
    ended: Receiver<()>,
}

impl Output {
    /// Reads on in a thread until every holder of the writing end is gone.
    fn collect(mut from: impl Read + Send + 'static, most: usize) -> Result<Self, io::Error> {
        let tail = Arc::new(Mutex::new(VecDeque::with_capacity(most.min(TAIL))));
        let (end, ended) = channel();
        let shared = Arc::clone(&tail);
        std::thread::Builder::new().name("output".into()).spawn(move || {
            let mut chunk = [0; 1024];
            loop {
                let count = match from.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => break,
                };
                let mut tail = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let excess = tail.len().saturating_add(count).saturating_sub(most);
                let excess = excess.min(tail.len());
                tail.drain(..excess);
                tail.extend(chunk.iter().take(count));
            }
            // Nobody may be waiting.
            let _ = end.send(());
        })?;
        Ok(Output { tail, ended })
    }

    /// Waits a little for the last words of a process that has ended.
    fn finish(&mut self) {
        // Something else that holds the writing end makes this a timeout, which is fine.
        let _ = self.ended.recv_timeout(LAST_WORDS);
    }

    fn bytes(&self) -> Vec<u8> {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.iter().copied().collect()
    }

    fn tail(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

#[cfg(test)]
mod tests;
