//! One migration to a fresh destination, and what becomes of it.

use std::process::ExitStatus;
use std::time::Duration;

use devmig_reference::socket::Deadline;
use devmig_reference::temporary::{self, Temporary};
use serde_json::{Map, Value, json};

use super::script::Step;
use super::send::Sending;
use super::suite::{Form, Test};
use crate::harness::aftermath::Aftermath;
use crate::harness::io::process::{is_crash, words};
use crate::harness::session;
use crate::harness::verdict::TestEnd;
use crate::multifd::pieces::Pieces;
use crate::scenario::error::Error;
use crate::scenario::migration::drive::prepare;
use crate::scenario::migration::machine::{Launch, Machine};

/// How often a monitor is asked.
const LOOK: Duration = Duration::from_millis(20);
/// How long a process may take to end after its migration failed.
const LAST: Duration = Duration::from_millis(500);

/// A destination, and what is sent to it.
#[derive(Debug)]
pub struct Subject<'a> {
    /// How it is started.
    pub launch: Launch<'a>,
    /// How long it may take to listen.
    pub start: Duration,
    /// What is switched on besides multifd and the return path.
    pub capabilities: &'a [String],
    /// What is set.
    pub parameters: &'a Map<String, Value>,
    /// What was recorded.
    pub pieces: &'a Pieces,
    /// The memory of the source when it stopped.
    pub memory: &'a [u8],
    /// How long a migration may take after all was sent, and an answer of the monitor.
    pub limit: Duration,
}

devmig_model::clause_ids! {
    /// The clauses that destinations are judged by.
    pub struct Clauses {
        /// `multifd.destination.memory`
        memory: "multifd.destination.memory",
        /// `multifd.destination.ends`
        ends: "multifd.destination.ends",
        /// `multifd.destination.answers`
        answers: "multifd.destination.answers",
        /// `multifd.destination.survives`
        survives: "multifd.destination.survives",
    }
}

/// How a migration ended at a destination.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Ended {
    /// It completed; how many pages differ from those of the source, and the first.
    Completed(Option<(usize, usize)>),
    /// It failed, and why if that is known.
    Failed(String),
    /// Its process ended.
    Exited(ExitStatus),
    /// It goes on, with this status.
    Waits(String),
    /// Its monitor does not answer.
    Mute,
}

/// A migration to a destination.
pub struct Session<'a> {
    subject: &'a Subject<'a>,
    clauses: Clauses,
    /// Clauses that came later: what violates them is no fault here.
    later: Vec<&'static str>,
    machine: Machine,
    sending: Option<Sending>,
    multifd: bool,
    log: Vec<String>,
    ended: Option<Ended>,
    folder: Temporary,
}

impl<'a> Session<'a> {
    /// Starts a destination.
    ///
    /// # Errors
    /// If it does not start.
    pub fn new(
        subject: &'a Subject<'a>,
        clauses: Clauses,
        later: Vec<&'static str>,
    ) -> Result<Self, TestEnd> {
        let folder = temporary::folder("destination-").map_err(TestEnd::harness)?;
        let machine = Machine::launch(subject.launch, folder.path(), true, subject.start);
        let machine = machine.map_err(TestEnd::harness)?;
        let (log, multifd) = (Vec::new(), true);
        let (sending, ended) = (None, None);
        Ok(Session { subject, clauses, later, machine, sending, multifd, log, ended, folder })
    }

    fn send(&mut self, pieces: &Pieces, only_main: bool) -> Result<(), TestEnd> {
        let channels = pieces.channels.len();
        let count = if self.multifd { u8::try_from(channels).unwrap_or(u8::MAX) } else { 0 };
        let Subject { capabilities, parameters, limit, .. } = self.subject;
        prepare(&mut self.machine, count, capabilities, parameters, true)
            .map_err(TestEnd::harness)?;
        let socket = self.folder.path().join("m");
        let uri = json!({ "uri": format!("unix:{}", socket.display()) });
        self.machine.run("migrate-incoming", uri).map_err(TestEnd::harness)?;
        let mut connections = pieces.connections();
        connections.truncate(if only_main { 1 } else { connections.len() });
        for (number, (bytes, ends)) in connections.iter().enumerate() {
            let what = if number == 0 { "main stream" } else { "channel" };
            let end = if *ends { ", and ends" } else { "" };
            self.log.push(format!("-> {what}: {} bytes{end}", bytes.len()));
        }
        let sending = Sending::start(&socket, connections).map_err(TestEnd::harness)?;
        self.ended = Some(self.wait(&sending, *limit));
        self.sending = Some(sending);
        let line = match &self.ended {
            Some(Ended::Completed(None)) => "completed, with the same memory".to_owned(),
            Some(Ended::Completed(Some((pages, first)))) => {
                format!("completed; {pages} pages differ, the first at {first:#x}")
            }
            Some(Ended::Failed(why)) => format!("failed: {why}"),
            Some(Ended::Exited(status)) => {
                format!("ended ({}): {}", words(*status), self.machine.last_words())
            }
            Some(Ended::Waits(status)) => format!("still `{status}`"),
            Some(Ended::Mute) => "the monitor does not answer".to_owned(),
            None => String::new(),
        };
        self.log.push(format!("<- {line}"));
        Ok(())
    }

    /// What becomes of the migration.
    fn wait(&mut self, sending: &Sending, limit: Duration) -> Ended {
        let deadline = Deadline::after(limit.saturating_mul(2));
        let mut sent = None;
        loop {
            let asked = self.machine.run_within("query-migrate", json!({}), limit);
            let status = match &asked {
                Ok(answer) => answer.get("status").and_then(Value::as_str).unwrap_or("none"),
                Err(Error::Ended { status, .. }) => return Ended::Exited(*status),
                Err(Error::Monitor(_)) => return self.mute(),
                Err(why) => return Ended::Failed(why.to_string()),
            };
            match status {
                "completed" => return self.completed(),
                "failed" => {
                    // By default a destination ends after that.
                    let status = self.machine.process().wait(Deadline::after(LAST));
                    let why = asked
                        .ok()
                        .and_then(|answer| Some(answer.get("error-desc")?.as_str()?.to_owned()));
                    return match status {
                        Some(status) => Ended::Exited(status),
                        None => Ended::Failed(why.unwrap_or_default()),
                    };
                }
                _ => {}
            }
            let now = Deadline::now();
            if sent.is_none() && sending.is_written(now) {
                sent = Some(Deadline::after(limit));
            }
            if sent.is_some_and(Deadline::passed) || deadline.passed() {
                return Ended::Waits(status.to_owned());
            }
            deadline.pause(LOOK);
        }
    }

    /// The monitor has not answered; the process may have ended meanwhile.
    fn mute(&mut self) -> Ended {
        match self.machine.process().wait(Deadline::after(LAST)) {
            Some(status) => Ended::Exited(status),
            None => Ended::Mute,
        }
    }

    fn completed(&self) -> Ended {
        match self.machine.memory() {
            Err(why) => Ended::Failed(why.to_string()),
            Ok(has) => {
                let page = usize::try_from(self.subject.pieces.page.bytes()).unwrap_or(4096);
                let pairs = has.chunks(page).zip(self.subject.memory.chunks(page)).enumerate();
                let mut differ = pairs.filter(|(_, (a, b))| a != b).map(|(number, _)| number);
                let first = differ.next();
                let count = differ.count();
                Ended::Completed(
                    first.map(|first| (count.saturating_add(1), first.saturating_mul(page))),
                )
            }
        }
    }

    fn judged(&self, must_complete: bool) -> Result<(), TestEnd> {
        let Some(ended) = &self.ended else { return Err(TestEnd::harness("nothing was sent")) };
        let finding = |clause, observed: String| {
            Err(TestEnd::Finding { clause, observed, expected: Vec::new() })
        };
        let Clauses { memory, ends, answers, survives } = self.clauses;
        match ended {
            Ended::Completed(None) => Ok(()),
            Ended::Completed(Some((pages, first))) => finding(
                memory,
                format!("it completes, and {pages} pages differ, the first at {first:#x}"),
            ),
            Ended::Exited(status) if is_crash(*status) => {
                let observed = format!("the process ended: {}", words(*status));
                Err(TestEnd::Died { clause: survives, observed, expected: Vec::new() })
            }
            Ended::Failed(why) if must_complete => finding(memory, format!("it fails: {why}")),
            Ended::Exited(_) if must_complete => {
                finding(memory, format!("it ends: {}", self.machine.last_words()))
            }
            Ended::Failed(_) | Ended::Exited(_) => Ok(()),
            Ended::Waits(status) => finding(
                ends,
                format!("the migration is still `{status}` {:?} later", self.subject.limit),
            ),
            Ended::Mute => finding(
                answers,
                format!("its monitor does not answer within {:?}", self.subject.limit),
            ),
        }
    }

    fn take(&mut self, step: Step) -> Result<(), TestEnd> {
        let pieces = self.subject.pieces;
        match step {
            Step::Off => {
                self.multifd = false;
                Ok(())
            }
            Step::Send => self.send(pieces, false),
            Step::MainAlone => self.send(pieces, true),
            Step::Fault(name) => {
                let fault = name.fault().ok_or_else(|| TestEnd::harness("no such fault"))?;
                if self.later.contains(&fault.clause) {
                    let why = format!("this version does not have {}", fault.clause);
                    return Err(TestEnd::Skip(why));
                }
                let mut pieces = pieces.clone();
                if !fault.apply(&mut pieces) {
                    let why = "the recording has nothing that the fault is about";
                    return Err(TestEnd::Skip(why.to_owned()));
                }
                self.log.push(format!("{} violates {}", fault.name, fault.clause));
                self.send(&pieces, false)
            }
            Step::Reordered(name) => {
                let order = name.reordering();
                let order = order.ok_or_else(|| TestEnd::harness("no such reordering"))?;
                let mut pieces = pieces.clone();
                if !order.apply(&mut pieces) {
                    let why = "the recording has nothing that can be reordered so";
                    return Err(TestEnd::Skip(why.to_owned()));
                }
                self.log.push(format!("{} is allowed", order.name));
                self.send(&pieces, false)
            }
            Step::Completes => self.judged(true),
            Step::RefusesOrSame => self.judged(false),
        }
    }
}

impl session::Session<Form> for Session<'_> {
    fn step(&mut self, _: &Test, step: &Step) -> Result<(), TestEnd> {
        self.take(*step)
    }

    fn aftermath(&mut self) -> Aftermath {
        self.sending = None;
        let stalled = matches!(self.ended, Some(Ended::Mute | Ended::Waits(_)));
        let remains = self.machine.process().remains(Deadline::now());
        Aftermath { closed: false, wrongly: false, stalled, remains }
    }

    fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}
