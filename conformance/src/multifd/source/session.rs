//! One migration of a fresh source, and the verdict on its stream.

use std::io::Read as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use devmig_engine::clause::ClauseId;
use devmig_model::registry::Library;
use devmig_reference::socket::Deadline;
use devmig_reference::temporary::{self, Temporary};
use serde_json::{Map, Value};

use super::script::Step;
use super::suite::{Form, Test};
use crate::harness::aftermath::Aftermath;
use crate::harness::session;
use crate::harness::verdict::TestEnd;
use crate::multifd::judge::judge;
use crate::multifd::memory::Memory;
use crate::multifd::recording::Recording;
use crate::multifd::relay::Address;
use crate::multifd::report::{Report, Verdict};
use crate::scenario::error::Error;
use crate::scenario::migration::drive::{Watched, migrate, prepare};
use crate::scenario::migration::known::{End, Transport};
use crate::scenario::migration::machine::{Launch, Machine};

/// How often the listener looks for a connection.
const LOOK: Duration = Duration::from_millis(10);

/// A source.
#[derive(Debug)]
pub struct Subject<'a> {
    /// How it is started.
    pub launch: Launch<'a>,
    /// How long it may take to listen.
    pub start: Duration,
    /// The block of RAM that is its memory.
    pub block: &'a str,
    /// How long its guest runs before it migrates.
    pub boot: Duration,
    /// The version by which it is judged; that of its machine type, if none.
    pub version: Option<&'a str>,
}

/// A migration of a source.
pub struct Session<'a> {
    subject: &'a Subject<'a>,
    library: &'a Library,
    machine: Machine,
    channels: u8,
    parameters: Map<String, Value>,
    rounds: u64,
    report: Option<Report>,
    log: Vec<String>,
    folder: Temporary,
}

impl<'a> Session<'a> {
    /// Starts a source.
    ///
    /// # Errors
    /// If it does not start.
    pub fn new(subject: &'a Subject<'a>, library: &'a Library) -> Result<Self, TestEnd> {
        let folder = temporary::folder("source-").map_err(TestEnd::harness)?;
        let machine = Machine::launch(subject.launch, folder.path(), false, subject.start);
        let machine = machine.map_err(TestEnd::harness)?;
        Ok(Session {
            subject,
            library,
            machine,
            channels: 0,
            parameters: Map::new(),
            rounds: 0,
            report: None,
            log: Vec::new(),
            folder,
        })
    }

    fn migrate(&mut self, end: End) -> Result<(), TestEnd> {
        let prepared = prepare(&mut self.machine, self.channels, &[], &self.parameters, false);
        match prepared {
            Err(Error::Refused { answer, .. }) => return Err(TestEnd::Skip(answer)),
            other => other.map_err(TestEnd::harness)?,
        }
        std::thread::sleep(self.subject.boot);
        let (to, folder) = (self.folder.path().join("d"), self.folder.path());
        let nowhere = Nowhere::listen(&to).map_err(TestEnd::harness)?;
        let recording = folder.join("recording");
        let watched = Watched::start(Transport::Unix, Address::Unix(to), &recording, folder);
        let (watched, from) = watched.map_err(TestEnd::harness)?;
        let status = migrate(&mut self.machine, self.rounds, end, &from);
        let status = match status {
            Err(Error::Ended { status, last }) => {
                return Err(TestEnd::died(format!("the process ended ({status}): {last}")));
            }
            other => other.map_err(TestEnd::harness)?,
        };
        watched.end().map_err(TestEnd::harness)?;
        drop(nowhere);
        self.log.push(format!("the migration is {status}"));
        let mut compared = Vec::new();
        if end == End::Complete {
            if status != "completed" {
                return Err(finding(ClauseId::NONE, format!("the migration is {status}")));
            }
            let image = folder.join("image");
            let memory = self.machine.memory().map_err(TestEnd::harness)?;
            std::fs::write(&image, memory).map_err(TestEnd::harness)?;
            compared.push((self.subject.block.to_owned(), image));
        }
        let memory = Memory::of(&compared).map_err(TestEnd::harness)?;
        let opened = Recording::open(&recording).map_err(TestEnd::harness)?;
        let report = judge(opened, self.library, self.subject.version, memory);
        let report = report.map_err(TestEnd::harness)?;
        self.log.extend(report.text().lines().map(str::to_owned));
        self.report = Some(report);
        Ok(())
    }

    fn judged(&self, whole: bool) -> Result<(), TestEnd> {
        let Some(report) = &self.report else { return Err(TestEnd::harness("nothing was sent")) };
        if let Some(violation) = report.violations.first() {
            let clause = self.library.spec.clause(&violation.clause).map_err(TestEnd::harness)?;
            let (conn, offset) = (violation.conn, violation.offset);
            let what = format!("{} (connection {conn}, offset {offset})", violation.message);
            return Err(finding(clause, what));
        }
        match report.verdict {
            Verdict::Truncated if whole => {
                Err(finding(ClauseId::NONE, "the stream has no end".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn take(&mut self, step: Step) -> Result<(), TestEnd> {
        match step {
            Step::Channels(count) => self.channels = u8::try_from(count).unwrap_or(u8::MAX),
            Step::Set(parameter) => {
                self.parameters.insert(parameter.name.into(), parameter.value.into());
            }
            Step::Rounds(count) => self.rounds = count.into(),
            Step::Migrate => self.migrate(End::Complete)?,
            Step::Cancel => self.migrate(End::Cancel)?,
            Step::Conformant => self.judged(true)?,
            Step::AsFar => self.judged(false)?,
        }
        Ok(())
    }
}

fn finding(clause: ClauseId, observed: String) -> TestEnd {
    TestEnd::Finding { clause, observed, expected: Vec::new() }
}

impl session::Session<Form> for Session<'_> {
    fn step(&mut self, _: &Test, step: &Step) -> Result<(), TestEnd> {
        self.take(*step)
    }

    fn aftermath(&mut self) -> Aftermath {
        let remains = self.machine.process().remains(Deadline::now());
        Aftermath { remains, ..Aftermath::default() }
    }

    fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}

/// A destination that reads everything and keeps nothing.
struct Nowhere {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Nowhere {
    fn listen(at: &Path) -> std::io::Result<Self> {
        let listener = UnixListener::bind(at)?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut readers = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((mut socket, _)) => readers.push(std::thread::spawn(move || {
                        let mut room = vec![0; 1 << 16];
                        let _ = socket.set_nonblocking(false);
                        while socket.read(&mut room).is_ok_and(|count| count > 0) {}
                    })),
                    Err(_) => std::thread::sleep(LOOK),
                }
            }
            // The relay has ended all connections.
            readers.into_iter().for_each(|reader| drop(reader.join()));
        });
        Ok(Nowhere { stop, thread: Some(thread) })
    }
}

impl Drop for Nowhere {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
