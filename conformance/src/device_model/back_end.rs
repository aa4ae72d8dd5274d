//! A back-end whose state is saved and loaded over vhost-user, and nothing else of it is used.
//!
//! ```text
//!   GET_FEATURES, GET/SET_PROTOCOL_FEATURES, SET_OWNER, SET_FEATURES
//!   save   SET_DEVICE_STATE_FD --> bytes through a pipe, to its end --> CHECK_DEVICE_STATE
//!   load   SET_DEVICE_STATE_FD <-- bytes through a pipe, to its end --> CHECK_DEVICE_STATE
//! ```
//!
//! No ring is set up, so the device does not run: what is saved after a load is what was loaded.
//!
//! **Invariants.** Every wait has a limit; at most [`MOST`] bytes of a state are kept.
//!
//! **Not here:** whether it keeps to vhost-user, which has a suite of its own.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::io::pipe;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use devmig_model::protocol::vhost_user::wire::{Flags, Header, Payload, Transfer};
use devmig_reference::socket::Deadline;
use devmig_reference::socket::transport::{Connection, ReceiveError};
use devmig_reference::vhost_user::ids::{Message, PROTOCOL_FEATURES_BIT, feature};
use rustix::event::PollFlags;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::harness::io::process::{DEATH, Process, Remains};
use crate::vfio::data::{MOST, PIECE};
use crate::vfio::device::{HarnessError, Said};

/// What a front-end needs of the back-end's protocol features.
const WANTED: u64 = 1 << feature::DEVICE_STATE;

/// The answer that brings no descriptor.
const NO_DESCRIPTOR: u64 = 1 << 8;

/// A back-end, over a connection.
#[derive(Debug)]
pub struct BackEnd {
    connection: Connection,
    limit: Duration,
    /// Dropping it ends it.
    process: Option<Process>,
    /// It has closed the connection.
    closed: bool,
}

impl BackEnd {
    /// Agrees with it on what a transfer of state needs.
    ///
    /// # Errors
    /// See [`HarnessError`]; [`HarnessError::Lacks`] for one that has no transfer of state.
    pub fn over(
        connection: Connection,
        process: Option<Process>,
        limit: Duration,
    ) -> Result<Self, HarnessError> {
        let mut own = BackEnd { connection, limit, process, closed: false };
        match own.agree() {
            Ok(()) => Ok(own),
            Err(trouble) => Err(trouble.with_remains(&own.remains())),
        }
    }

    fn agree(&mut self) -> Result<(), HarnessError> {
        let offered = self.ask(Message::GET_FEATURES, &Payload::None, &[])?.0;
        let protocol = match offered >> PROTOCOL_FEATURES_BIT & 1 {
            1 => self.ask(Message::GET_PROTOCOL_FEATURES, &Payload::None, &[])?.0,
            _ => 0,
        };
        if protocol & WANTED == 0 {
            return Err(HarnessError::Lacks("a back-end that transfers its state (DEVICE_STATE)"));
        }
        self.tell(Message::SET_PROTOCOL_FEATURES, &Payload::U64(WANTED), &[])?;
        self.tell(Message::SET_OWNER, &Payload::None, &[])?;
        self.tell(Message::SET_FEATURES, &Payload::U64(offered), &[])?;
        Ok(())
    }

    /// What is left of its process, which is told to end.
    pub fn remains(&mut self) -> Remains {
        let limit = if self.closed { DEATH } else { Duration::ZERO };
        Remains::of(self.process.as_mut(), limit)
    }

    fn tell(
        &mut self,
        message: Message,
        payload: &Payload,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), HarnessError> {
        let bytes = payload.encode();
        let (request, size) = (message.id(), bytes.len() as u32);
        let header = Header { request, flags: Flags::request(), size };
        let sent = self.connection.send(header, &bytes, fds, Deadline::after(self.limit));
        self.closed |= sent.is_err();
        sent.map_err(|error| HarnessError::Gone(format!("{message:?}: {error}")))
    }

    /// The number that a message is answered with, and the first descriptor that came with it.
    fn ask(
        &mut self,
        message: Message,
        payload: &Payload,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(u64, Option<OwnedFd>), HarnessError> {
        self.tell(message, payload, fds)?;
        let reply = self.connection.receive(Deadline::after(self.limit));
        self.closed |= matches!(reply, Err(ReceiveError::Closed { .. } | ReceiveError::Io(_)));
        let reply = reply.map_err(|error| match error {
            ReceiveError::Timeout { .. } => HarnessError::Silent(format!("{message:?}: {error}")),
            ReceiveError::Closed { .. } | ReceiveError::Io(_) => {
                HarnessError::Gone(format!("{message:?}: {error}"))
            }
            _ => HarnessError::Wrong(format!("{message:?}: {error}")),
        })?;
        let number = <[u8; 8]>::try_from(reply.payload.as_slice()).map(u64::from_ne_bytes);
        match number {
            Ok(number) if reply.header.request == message.id() => {
                Ok((number, reply.fds.into_iter().next()))
            }
            _ => Err(HarnessError::Wrong(format!("the reply to {message:?} is not a number"))),
        }
    }

    /// Begins a transfer: which descriptor is used in place of ours, if one is.
    fn begin(&mut self, direction: u32, fd: BorrowedFd<'_>) -> Said<Option<OwnedFd>> {
        let transfer = Payload::Transfer(Transfer { direction, phase: Transfer::STOPPED });
        let (answer, own) = self.ask(Message::SET_DEVICE_STATE_FD, &transfer, &[fd])?;
        match (answer & 0xff, answer & NO_DESCRIPTOR != 0) {
            (0, true) => Ok(Ok(None)),
            (0, false) => match own {
                Some(own) => Ok(Ok(Some(own))),
                None => Err(HarnessError::Wrong(
                    "the reply should have a descriptor, but has none".into(),
                )),
            },
            _ => Ok(Err(Errno::IO.into())),
        }
    }

    fn checked(&mut self) -> Said<()> {
        let (answer, _) = self.ask(Message::CHECK_DEVICE_STATE, &Payload::None, &[])?;
        Ok(if answer == 0 { Ok(()) } else { Err(Errno::IO.into()) })
    }

    /// Its state.
    ///
    /// # Errors
    /// See [`HarnessError`]; EFBIG for more than [`MOST`] bytes, EIO if it refuses.
    pub fn save(&mut self) -> Said<Vec<u8>> {
        let (reader, writer) = pipe().map_err(harness)?;
        let own = match self.begin(Transfer::SAVE, writer.as_fd())? {
            Ok(own) => own,
            Err(errno) => return Ok(Err(errno)),
        };
        drop(writer);
        let from = own.unwrap_or_else(|| reader.into());
        waits_never(&from)?;
        let deadline = Deadline::after(self.limit);
        let mut state = Vec::new();
        let mut piece = vec![0; PIECE as usize];
        loop {
            if !deadline.wait(from.as_fd(), PollFlags::IN).map_err(harness)? {
                return Err(HarnessError::Silent("the state has no end".into()));
            }
            match rustix::io::read(&from, piece.as_mut_slice()) {
                Ok(0) => break,
                Ok(count) => state.extend(piece.iter().take(count)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Ok(Err(errno.into())),
            }
            if state.len() > MOST {
                return Ok(Err(Errno::FBIG.into()));
            }
        }
        Ok(self.checked()?.map(|()| state))
    }

    /// Loads a state. An error is a refusal: the device is not that state's.
    ///
    /// # Errors
    /// See [`HarnessError`].
    pub fn load(&mut self, state: &[u8]) -> Said<()> {
        let (reader, writer) = pipe().map_err(harness)?;
        let own = match self.begin(Transfer::LOAD, reader.as_fd())? {
            Ok(own) => own,
            Err(errno) => return Ok(Err(errno)),
        };
        drop(reader);
        let to = own.unwrap_or_else(|| writer.into());
        waits_never(&to)?;
        let deadline = Deadline::after(self.limit);
        let mut rest = state;
        while !rest.is_empty() {
            if !deadline.wait(to.as_fd(), PollFlags::OUT).map_err(harness)? {
                return Err(HarnessError::Silent("the state is not read to its end".into()));
            }
            match rustix::io::write(&to, rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Who reads no more has seen enough; it says of what below.
                Err(Errno::PIPE) => break,
                Err(errno) => return Err(harness(errno)),
            }
        }
        drop(to);
        self.checked()
    }
}

fn waits_never(fd: &OwnedFd) -> Result<(), HarnessError> {
    let flags = fcntl_getfl(fd).map_err(harness)?;
    fcntl_setfl(fd, flags | OFlags::NONBLOCK).map_err(harness)
}

fn harness(error: impl std::fmt::Display) -> HarnessError {
    HarnessError::Harness(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use devmig_reference::nic::{Link, NicConfig, Parameters};
    use devmig_reference::vhost_user::net::NetOptions;
    use devmig_reference::vhost_user::{Options, Running};

    fn with(size: u16, work: impl FnOnce(&mut BackEnd)) {
        let config = NicConfig::new(Parameters { rx_filter_size: size, ..Parameters::default() });
        let (config, limit) = (config.unwrap(), Duration::from_secs(5));
        let net = NetOptions { config, link: Link::Loopback, latency: Duration::ZERO, flap: None };
        let running = Running::start(Options::nic(net)).unwrap();
        let connection = Connection::connect(&running.socket(), Deadline::after(limit)).unwrap();
        work(&mut BackEnd::over(connection, None, limit).unwrap());
        running.stop(limit).unwrap();
    }

    #[test]
    fn state_is_saved_and_loaded_and_another_configuration_s_is_refused() {
        let mut state = Vec::new();
        with(16, |one| {
            state = one.save().unwrap().unwrap();
            assert_eq!(one.load(&state).unwrap(), Ok(()));
            assert_eq!(one.save().unwrap(), Ok(state.clone()));
        });
        assert!(!state.is_empty());
        with(32, |other| {
            assert!(other.load(&state).unwrap().is_err());
            assert!(other.load(&[]).unwrap().is_err());
            assert!(other.save().unwrap().is_ok());
        });
    }
}
