//! QEMU's monitor protocol: one JSON document a line each way, as much of it as scenarios need.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
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
        let mut qmp = Qmp { stream: UnixStream::from(fd), read: Vec::new(), events: Vec::new() };
        qmp.line(deadline)?; // the greeting
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
        while let Ok(line) = self.line(Deadline::now()) {
            if let Ok(answer) = serde_json::from_slice(&line) {
                self.keep(answer);
            }
        }
        std::mem::take(&mut self.events)
    }

    fn line(&mut self, deadline: Deadline) -> Result<Vec<u8>, Error> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                return Ok(self.read.drain(..=end).collect());
            }
            let ready = deadline.wait(self.stream.as_fd(), PollFlags::IN);
            if !ready.map_err(|errno| Error::io("QEMU's monitor")(errno.into()))? {
                return Err(Error::Monitor("does not answer"));
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
