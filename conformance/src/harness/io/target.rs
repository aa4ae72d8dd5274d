//! The implementation under test: how it is reached, again and again.
//!
//! | target | a fresh connection is |
//! |---|---|
//! | [`Target::Socket`] | one more connection to a server that somebody else runs |
//! | [`Target::Spawn`] | a fresh process |
//!
//! **Invariant.** What was started is ended, by its own id, when its [`Live`] is dropped.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::path::PathBuf;

use super::process::{Command, Process, SpawnError};
use crate::harness::verdict::TestEnd;
use devmig_reference::socket::Deadline;
use devmig_reference::socket::transport::{ConnectError, Connection};

/// Where the implementation is.
#[derive(Clone, Debug)]
pub enum Target {
    /// It listens here.
    Socket(PathBuf),
    /// It is started like this.
    Spawn(Command),
}

/// Why it cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// A socket that takes no second conversation.
    #[error(
        "{error}\nthe server has ended after its last connection: many back-ends serve only \
         one. Name its command with --spawn 'COMMAND {{socket}}', so that each test starts it anew"
    )]
    Gone {
        /// What happened.
        error: String,
    },
    /// The first connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A command.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// A conversation's other end.
#[derive(Debug)]
pub struct Live {
    /// The process, if we started it.
    pub process: Option<Process>,
}

impl TargetError {
    /// How it ends a test.
    #[must_use]
    pub fn end(self) -> TestEnd {
        match self {
            TargetError::Spawn(error) => TestEnd::unstarted(&error),
            error => TestEnd::Unreached { why: error.to_string(), ended: None, for_good: true },
        }
    }
}

impl Target {
    /// A fresh conversation. `first` is false if there was one before.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn connect(
        &self,
        first: bool,
        deadline: Deadline,
    ) -> Result<(Connection, Live), TargetError> {
        match self {
            Target::Socket(path) => match Connection::connect(path, deadline) {
                Ok(connection) => Ok((connection, Live { process: None })),
                Err(error) if first => Err(error.into()),
                Err(error) => Err(TargetError::Gone { error: error.to_string() }),
            },
            Target::Spawn(command) => {
                let (process, connection) = command.start(deadline)?;
                Ok((connection, Live { process: Some(process) }))
            }
        }
    }
}
