//! QEMU's monitor protocol: one JSON document a line each way, as much of it as scenarios need.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;
use serde_json::{Value, json};

use super::error::Error;
use crate::vhost_user::Deadline;
use crate::vhost_user::transport::Connection;

/// The longest answer, in bytes.
const MAX_LINE: usize = 1 << 20;
/// The most events that are kept.
const MAX_EVENTS: usize = 20_000;

/// What a monitor does from which nothing comes in time.
const NOTHING: &str = "does not answer";

/// A connection to a monitor.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    read: Vec<u8>,
    events: Vec<Value>,
}

impl Qmp {
    /// Over a connected socket: greeted, and ready for commands.
    ///
    /// # Errors
    /// If the monitor does not answer, or refuses.
    pub fn new(connection: &Connection, deadline: Deadline) -> Result<Self, Error> {
        let fd: OwnedFd =
            connection.as_fd().try_clone_to_owned().map_err(Error::io("QEMU's monitor"))?;
        Self::over(UnixStream::from(fd), deadline)
    }

    /// Over a socket that does not block.
    ///
    /// # Errors
    /// If the other end is no monitor, does not answer, or refuses.
    pub fn over(stream: UnixStream, deadline: Deadline) -> Result<Self, Error> {
        let mut qmp = Qmp { stream, read: Vec::new(), events: Vec::new() };
        let greeting: Option<Value> = serde_json::from_slice(&qmp.line(deadline)?).ok();
        if greeting.is_none_or(|greeting| greeting.get("QMP").is_none()) {
            return Err(Error::Monitor("does not greet as a QMP monitor does"));
        }
        qmp.run("qmp_capabilities", json!({}), deadline)?;
        Ok(qmp)
    }

    /// Runs a command; events that come meanwhile are kept.
    ///
    /// # Errors
    /// If the monitor does not answer, or refuses.
    pub fn run(
        &mut self,
        command: &str,
        arguments: Value,
        deadline: Deadline,
    ) -> Result<Value, Error> {
        let line = json!({ "execute": command, "arguments": arguments }).to_string() + "\n";
        self.stream
            .write_all(line.as_bytes())
            .map_err(Error::io(format!("QEMU takes no command `{command}`")))?;
        loop {
            let mut answer: Value = serde_json::from_slice(&self.line(deadline)?)
                .map_err(|error| Error::Answer { command: command.to_owned(), error })?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                return Err(Error::Refused {
                    command: command.to_owned(),
                    answer: error.to_string(),
                });
            }
            self.keep(answer);
        }
    }

    /// Keeps what is an event.
    fn keep(&mut self, answer: Value) {
        if answer.get("event").is_some() && self.events.len() < MAX_EVENTS {
            self.events.push(answer);
        }
    }

    /// The events that have come since they were last taken; what was sent by one that is gone, too.
    pub fn take_events(&mut self) -> Vec<Value> {
        self.events_now().0
    }

    /// The same, and why no more will come, if that is so.
    pub fn events_now(&mut self) -> (Vec<Value>, Option<Error>) {
        let why = loop {
            match self.line(Deadline::now()) {
                Ok(line) => match serde_json::from_slice(&line) {
                    Ok(answer) => self.keep(answer),
                    Err(error) => {
                        break Some(Error::Answer { command: "no command".to_owned(), error });
                    }
                },
                Err(Error::Monitor(NOTHING)) => break None,
                Err(error) => break Some(error),
            }
        };
        (std::mem::take(&mut self.events), why)
    }

    fn line(&mut self, deadline: Deadline) -> Result<Vec<u8>, Error> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                return Ok(self.read.drain(..=end).collect());
            }
            let ready = deadline.wait(self.stream.as_fd(), PollFlags::IN);
            if !ready.map_err(|errno| Error::io("QEMU's monitor")(errno.into()))? {
                return Err(Error::Monitor(NOTHING));
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(Error::Monitor("is closed")),
                Ok(got) if self.read.len() + got <= MAX_LINE => {
                    self.read.extend(bytes.iter().take(got));
                }
                Ok(_) => return Err(Error::Monitor("says too much")),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(Error::io("QEMU's monitor")(error)),
            }
        }
    }
}

impl AsFd for Qmp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
