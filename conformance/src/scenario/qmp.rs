//! QEMU's monitor protocol: one JSON document a line each way, as much of it as scenarios need.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;
use serde_json::{Value, json};

use crate::vhost_user::Deadline;
use crate::vhost_user::transport::Connection;

/// The longest answer, in bytes.
const MAX_LINE: usize = 1 << 20;

/// A connection to a monitor.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    read: Vec<u8>,
}

impl Qmp {
    /// Over a connected socket: greeted, and ready for commands.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub fn new(connection: &Connection, deadline: Deadline) -> Result<Self, String> {
        let fd: OwnedFd =
            connection.as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
        let mut qmp = Qmp { stream: UnixStream::from(fd), read: Vec::new() };
        qmp.line(deadline)?; // the greeting
        qmp.run("qmp_capabilities", json!({}), deadline)?;
        Ok(qmp)
    }

    /// Runs a command; events that come meanwhile are passed over.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub fn run(
        &mut self,
        command: &str,
        arguments: Value,
        deadline: Deadline,
    ) -> Result<Value, String> {
        let line = json!({ "execute": command, "arguments": arguments }).to_string() + "\n";
        self.stream
            .write_all(line.as_bytes())
            .map_err(|error| format!("QEMU takes no command `{command}`: {error}"))?;
        loop {
            let mut answer: Value = serde_json::from_slice(&self.line(deadline)?)
                .map_err(|error| format!("QEMU's answer to `{command}`: {error}"))?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                return Err(format!("QEMU refuses `{command}`: {error}"));
            }
        }
    }

    fn line(&mut self, deadline: Deadline) -> Result<Vec<u8>, String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                return Ok(self.read.drain(..=end).collect());
            }
            let ready = deadline.wait(self.stream.as_fd(), PollFlags::IN);
            if !ready.map_err(|error| error.to_string())? {
                return Err("QEMU's monitor does not answer".into());
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err("QEMU's monitor is closed".into()),
                Ok(got) if self.read.len() + got <= MAX_LINE => {
                    self.read.extend(bytes.iter().take(got));
                }
                Ok(_) => return Err("QEMU's monitor says too much".into()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}
