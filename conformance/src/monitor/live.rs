//! Both monitors of a migration, watched: events are put in order of time, recorded and judged as they come.
//!
//! QEMU's time of an event orders what the two ends say, if both run on one host. So that a late event finds its
//! place, each is held back for `HELD`.
//!
//! **Invariant.** Every wait has a limit. What was recorded is whole, whatever ends the watcher.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use devmig_reference::socket::Deadline;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::event::{answers, time};
use super::heard::now;
use super::judge::{self, Judge};
use super::log::{End, Entry, What};
use super::report::Violation;
use crate::scenario::error::Error as MonitorError;
use crate::scenario::qmp::Qmp;
use crate::watch::meet;

/// How long a monitor may take to greet, and to answer.
const ANSWERS: Duration = Duration::from_secs(5);
/// How long an event waits for earlier ones of the other end.
const HELD: Duration = Duration::from_millis(50);
/// How long a migration that has ended is watched for more.
const AFTER: Duration = Duration::from_secs(1);
/// How long after one that failed the source may take to go on.
const GOES_ON: Duration = Duration::from_secs(10);
/// How often it is looked whether a migration has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Why nothing is watched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A monitor cannot be connected to.
    #[error("cannot connect to {}: {cause}", path.display())]
    Connect {
        /// Its socket.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// What is behind a socket is no monitor, or does not do what is asked.
    #[error("{}: {why}", path.display())]
    Monitor {
        /// Its socket.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What a monitor says is not judged.
    #[error(transparent)]
    Judge(#[from] judge::Error),
    /// The log cannot be written, or the system does not wait.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One monitor.
struct Monitor {
    end: End,
    path: PathBuf,
    qmp: Qmp,
}

/// Connects to a monitor and turns its events on: how things are there. None, if it is asked to stop.
fn connect(
    (end, path): (End, &Path),
    until: Option<Instant>,
    stop: &UnixStream,
) -> Result<Option<(Monitor, What)>, Error> {
    let socket = meet::connect(path, until, stop)
        .map_err(|cause| Error::Connect { path: path.to_owned(), cause })?;
    let Some(socket) = socket else { return Ok(None) };
    let wrong = |error: MonitorError| Error::Monitor {
        path: path.to_owned(),
        why: format!("the monitor of the {end}: {error}"),
    };
    let deadline = Deadline::after(ANSWERS);
    let mut qmp = Qmp::over(UnixStream::from(socket), deadline).map_err(wrong)?;
    let mut run = |command: &str, arguments| qmp.run(command, arguments, deadline).map_err(wrong);
    let capabilities = run("query-migrate-capabilities", json!({}))?;
    let is_on = |one: &Value| {
        one.get("capability").and_then(Value::as_str) == Some("events")
            && one.get("state").and_then(Value::as_bool) == Some(true)
    };
    if !capabilities.as_array().is_some_and(|all| all.iter().any(is_on)) {
        let on = json!([{ "capability": "events", "state": true }]);
        run("migrate-set-capabilities", json!({ "capabilities": on }))?;
    }
    let (migration, vm) = (run("query-migrate", json!({}))?, run("query-status", json!({}))?);
    // What came before these answers is in them.
    qmp.take_events();
    let what = What::Answers(end, answers(&migration, &vm));
    Ok(Some((Monitor { end, path: path.to_owned(), qmp }, what)))
}

/// What is watched, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Watched<'a> {
    /// The monitor of the source.
    pub source: &'a Path,
    /// That of the destination, if it is watched.
    pub destination: Option<&'a Path>,
    /// The latest end.
    pub until: Option<Instant>,
    /// What it is asked to stop by: something can be read there.
    pub stop: &'a UnixStream,
}

/// Watches a migration to its end: each line is given to `record`, and each violation to `found`.
///
/// # Errors
/// If a monitor cannot be watched, or what it says cannot be recorded or judged.
pub fn watch(
    of: Watched<'_>,
    judge: &mut Judge<'_>,
    record: &mut dyn FnMut(&Entry) -> io::Result<()>,
    found: &mut dyn FnMut(&Violation) -> io::Result<()>,
) -> Result<(), Error> {
    let Watched { source, destination, until, stop } = of;
    let began = now();
    let mut take = |at: u64, what: What, judge: &mut Judge<'_>| -> Result<(), Error> {
        let entry = Entry { us: at.saturating_sub(began), what };
        record(&entry)?;
        if let Some(violation) = judge.take(&entry)? {
            found(&violation)?;
        }
        Ok(())
    };
    let mut monitors = Vec::new();
    let ends = [Some((End::Source, source)), destination.map(|path| (End::Destination, path))];
    for end in ends.into_iter().flatten() {
        let Some((monitor, what)) = connect(end, until, stop)? else { return Ok(()) };
        take(now(), what, judge)?;
        monitors.push(monitor);
    }
    let mut held: Vec<(u64, What)> = Vec::new();
    let mut last = Instant::now();
    loop {
        let stopped = waits(&monitors, stop)? || until.is_some_and(|until| Instant::now() >= until);
        let mut gone = None;
        monitors.retain_mut(|monitor| {
            let (events, why) = monitor.qmp.events_now();
            if !events.is_empty() {
                last = Instant::now();
            }
            let timed =
                |event: Value| (time(&event).unwrap_or_else(now), What::Event(monitor.end, event));
            held.extend(events.into_iter().map(timed));
            let Some(why) = why else { return true };
            held.push((now(), What::Closes(monitor.end)));
            gone = gone.take().or(Some((monitor.end, monitor.path.clone(), why)));
            false
        });
        held.sort_by_key(|(at, _)| *at);
        let over = stopped || monitors.is_empty();
        let due = now().saturating_sub(HELD.as_micros() as u64);
        let ripe = held.iter().take_while(|(at, _)| over || *at <= due).count();
        for (at, what) in held.drain(..ripe) {
            take(at, what, judge)?;
        }
        if let Some((_, path, why)) = gone
            && !matches!(why, MonitorError::Monitor("is closed") | MonitorError::Io { .. })
        {
            return Err(Error::Monitor { path, why: why.to_string() });
        }
        if over {
            return Ok(());
        }
        let quiet = last.elapsed();
        let ended = held.is_empty()
            && (quiet >= AFTER && judge.is_over()? || quiet >= GOES_ON && judge.has_failed()?);
        if ended {
            return take(now(), What::Ends("the migration has ended".to_owned()), judge);
        }
    }
}

/// Waits until something comes, or it is time to look: whether it is asked to stop.
fn waits(monitors: &[Monitor], stop: &UnixStream) -> io::Result<bool> {
    let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(stop, PollFlags::IN)];
    let come = |monitor| PollFd::from_borrowed_fd(Monitor::as_fd(monitor), PollFlags::IN);
    fds.extend(monitors.iter().map(come));
    let look = Timespec::try_from(LOOK).map_err(|_| io::ErrorKind::InvalidInput)?;
    match poll(&mut fds, Some(&look)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(fds.first().is_some_and(|stop| !stop.revents().is_empty()))
}

impl Monitor {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.qmp.as_fd()
    }
}
