//! A program that makes devices when it is told to over a socket: JSON-RPC 2.0, a message a line.
//!
//! ```text
//!   device-add   {"id", "model", "version"?, "parameters", "transport", "socket"}  --> anything, or an error
//!   device-list  {}                          --> [{"id", "instance": {"model", "parameters"}, ...}]
//!   device-set   {"id", "parameters"}        --> an error
//!   device-del   {"id"}                      --> anything, or an error
//! ```
//!
//! **Invariants.** Each call ends within its limit. An answer of more than [`MOST`] bytes is not read.
//! What is made listens in a folder of ours, which goes with the program.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use devmig_model::device_model::form::MAX_FILE;
use devmig_model::device_model::{Instance, form};
use devmig_reference::socket::Deadline;
use devmig_reference::temporary::{self, Temporary};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::arguments::Asked;
use super::transport::Transport;
use crate::harness::io::process::{Command, DEATH, Process, Remains, words as ended_words};
use crate::harness::verdict::TestEnd;

/// The longest answer, in bytes.
pub const MOST: usize = MAX_FILE;

/// What a call gives.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// It was done: the result, as JSON.
    Done(String),
    /// It was not: what is said about it.
    Refused(String),
}

/// A program that listens.
#[derive(Debug)]
pub struct Control {
    stream: UnixStream,
    process: Process,
    folder: Temporary,
    limit: Duration,
    calls: u64,
    /// What was read, and belongs to the next answer.
    rest: Vec<u8>,
    /// It has closed the connection.
    closed: bool,
}

#[derive(Deserialize)]
struct Reply {
    result: Option<Box<RawValue>>,
    error: Option<Failure>,
    id: serde_json::Value,
}

#[derive(Deserialize)]
struct Failure {
    message: String,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    instance: Box<RawValue>,
}

impl Control {
    /// Starts it, and connects as soon as it listens.
    ///
    /// # Errors
    /// [`TestEnd::Unreached`] if it cannot be started.
    pub fn start(words: &[String], start: Duration, limit: Duration) -> Result<Self, TestEnd> {
        let command = Command::plain(words.to_vec()).map_err(harness)?;
        let mut process = command.spawn().map_err(harness)?;
        let deadline = Deadline::after(start);
        let connected = process.connected(deadline, |_| true, |path| UnixStream::connect(path));
        let stream = connected.map_err(|error| {
            let Remains { ended, output } = process.remains(Deadline::now());
            let how = ended.map(|status| format!("; it ended: {}", ended_words(status)));
            let why = format!(
                "cannot connect to the control program: {error}{}\n{}",
                how.unwrap_or_default(),
                output.join("\n")
            );
            let why = why.trim_end().to_owned();
            TestEnd::Unreached { why, ended, for_good: false }
        })?;
        let folder = temporary::folder("").map_err(harness)?;
        let rest = Vec::new();
        Ok(Control { stream, process, folder, limit, calls: 0, rest, closed: false })
    }

    /// Where a device of this name listens.
    #[must_use]
    pub fn socket(&self, id: &str) -> PathBuf {
        self.folder.path().join(id)
    }

    /// Adds a device.
    ///
    /// # Errors
    /// See [`Control::call`].
    pub fn add(
        &mut self,
        id: &str,
        asked: &Asked,
        transport: Transport,
    ) -> Result<Answer, TestEnd> {
        let socket = serde_json::Value::from(self.socket(id).to_string_lossy());
        let members = format!(
            "\"id\":\"{id}\",{},\"transport\":\"{}\",\"socket\":{socket}",
            asked.members(),
            transport.name()
        );
        self.call("device-add", &format!("{{{members}}}"))
    }

    /// The devices that there are, by their names.
    ///
    /// # Errors
    /// See [`Control::call`]; a finding for what is no list of instances.
    pub fn list(&mut self) -> Result<Vec<(String, Instance)>, TestEnd> {
        let said = match self.call("device-list", "{}")? {
            Answer::Done(said) => said,
            Answer::Refused(why) => return Err(finding(format!("device-list is refused: {why}"))),
        };
        let odd = |why: String| {
            finding(format!("device-list does not return a list of instances: {why}"))
        };
        let list: Vec<Listed> =
            serde_json::from_str(&said).map_err(|error| odd(error.to_string()))?;
        let one = |listed: Listed| {
            let instance = form::instance(listed.instance.get().as_bytes());
            Ok((listed.id, instance.map_err(|error| odd(error.to_string()))?))
        };
        list.into_iter().map(one).collect()
    }

    /// Asks for a change of a device.
    ///
    /// # Errors
    /// See [`Control::call`].
    pub fn set(&mut self, id: &str, asked: &Asked) -> Result<Answer, TestEnd> {
        let params = format!("{{\"id\":\"{id}\",\"parameters\":{}}}", asked.parameters());
        self.call("device-set", &params)
    }

    /// Deletes a device.
    ///
    /// # Errors
    /// See [`Control::call`].
    pub fn delete(&mut self, id: &str) -> Result<Answer, TestEnd> {
        self.call("device-del", &format!("{{\"id\":\"{id}\"}}"))
    }

    /// Disconnects, and connects again: another client.
    ///
    /// # Errors
    /// [`TestEnd::Died`] if nobody listens any more.
    pub fn reconnect(&mut self) -> Result<(), TestEnd> {
        match UnixStream::connect(self.process.socket()) {
            Ok(stream) => (self.stream, self.rest) = (stream, Vec::new()),
            Err(error) => return Err(self.gone(&error.to_string())),
        }
        Ok(())
    }

    /// One call, with parameters in JSON.
    ///
    /// # Errors
    /// A finding if what comes is no answer to it; [`TestEnd::Died`] if nobody is there any more.
    pub fn call(&mut self, method: &str, params: &str) -> Result<Answer, TestEnd> {
        self.calls = self.calls.saturating_add(1);
        let id = self.calls;
        let line = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}\n"
        );
        let deadline = Deadline::after(self.limit);
        self.stream.set_write_timeout(Some(self.limit)).map_err(harness)?;
        if let Err(error) = self.stream.write_all(line.as_bytes()) {
            return Err(self.gone(&error.to_string()));
        }
        let answer = self.line(method, deadline)?;
        let odd = |why: String| finding(format!("the answer to {method} is not a response: {why}"));
        let reply: Reply =
            serde_json::from_slice(&answer).map_err(|error| odd(error.to_string()))?;
        match (reply.result, reply.error) {
            _ if reply.id != id => Err(odd(format!("its id is {}, and not {id}", reply.id))),
            (_, Some(failure)) => Ok(Answer::Refused(failure.message)),
            (result, None) => {
                let result = result.map_or_else(|| "null".into(), |raw| raw.get().to_owned());
                Ok(Answer::Done(result))
            }
        }
    }

    fn line(&mut self, method: &str, deadline: Deadline) -> Result<Vec<u8>, TestEnd> {
        let mut piece = vec![0; 1 << 14];
        let mut looked = 0;
        loop {
            let end = self.rest.iter().skip(looked).position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let after = self.rest.split_off(looked.saturating_add(end).saturating_add(1));
                return Ok(std::mem::replace(&mut self.rest, after));
            }
            looked = self.rest.len();
            if looked > MOST {
                return Err(finding(format!("the answer to {method} has more than {MOST} bytes")));
            }
            if deadline.passed() {
                return Err(finding(format!("no answer to {method} within {:?}", self.limit)));
            }
            // Zero would be no limit.
            let left = deadline.left().max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).map_err(harness)?;
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(self.gone("it closed the connection")),
                Ok(count) => self.rest.extend(piece.iter().take(count)),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(self.gone(&error.to_string())),
            }
        }
    }

    fn gone(&mut self, why: &str) -> TestEnd {
        self.closed = true;
        TestEnd::died(format!("the control program is gone: {why}"))
    }

    /// What is left of it; it is told to end.
    pub fn remains(&mut self) -> Remains {
        let limit = if self.closed { DEATH } else { Duration::ZERO };
        self.process.remains(Deadline::after(limit))
    }
}

fn harness(error: impl std::fmt::Display) -> TestEnd {
    TestEnd::Harness(error.to_string())
}

fn finding(observed: String) -> TestEnd {
    let clause = devmig_engine::clause::ClauseId::NONE;
    TestEnd::Finding { clause, observed, expected: Vec::new() }
}
