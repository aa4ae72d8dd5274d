//! Why a scenario came to nothing.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use devmig_reference::socket::transport::ConnectError;

use crate::harness::io::process::SpawnError;

/// Why a scenario came to nothing: it did not run, and no implementation is accused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A step of it.
    #[error("{step}: {why}")]
    Step {
        /// The step.
        step: &'static str,
        /// What went wrong in it.
        why: Box<Error>,
    },
    /// A socket, a pipe or a file of the scenario's own.
    #[error("{what}: {error}")]
    Io {
        /// What it is.
        what: String,
        /// What the kernel says.
        error: io::Error,
    },
    /// QEMU or a back-end does not start.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The reference back-end cannot be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The reference back-end cannot be served.
    #[error(transparent)]
    Serve(#[from] devmig_reference::vhost_user::ServeError),
    /// The reference NIC cannot be created.
    #[error(transparent)]
    Nic(#[from] devmig_reference::nic::ConfigError),
    /// The reference has no device of this kind.
    #[error("the reference has no {0}")]
    NoDevice(&'static str),
    /// What the guest boots is not there.
    #[error("no {what} below {}", folder.display())]
    NoGuest {
        /// What is missing.
        what: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// The guest whose memory migrates.
    #[error("{0}")]
    Guest(String),
    /// QEMU ended.
    #[error("QEMU ended ({status}): {last}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// Its last words.
        last: String,
    },
    /// QEMU was asked to end, and did not.
    #[error("QEMU does not quit")]
    DoesNotQuit,
    /// QEMU did not connect to its device.
    #[error("QEMU did not connect to its device")]
    NotConnected,
    /// The guest did not print what was waited for.
    #[error("no `{wanted}` from the guest in {limit:?}; last `{last}`")]
    Mute {
        /// What was waited for.
        wanted: String,
        /// How long.
        limit: Duration,
        /// The last line that it printed.
        last: String,
    },
    /// A query's status is another, and the time is over or it has failed.
    #[error("{query} says `{status}`, not `{wanted}`: {answer}")]
    Status {
        /// The query.
        query: &'static str,
        /// What was waited for.
        wanted: &'static str,
        /// What it is.
        status: String,
        /// The whole answer, as JSON.
        answer: String,
    },
    /// The monitor refuses a command.
    #[error("QEMU refuses `{command}`: {answer}")]
    Refused {
        /// The command.
        command: String,
        /// What it says, as JSON.
        answer: String,
    },
    /// The monitor's answer is no JSON.
    #[error("QEMU's answer to `{command}`: {error}")]
    Answer {
        /// The command.
        command: String,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// The monitor cannot be talked to.
    #[error("QEMU's monitor {0}")]
    Monitor(&'static str),
    /// The relay between both sides failed.
    #[error("the relay {0}")]
    Relay(&'static str),
}

impl Error {
    /// Whether the host lacks something that is asked for.
    pub(crate) fn is_unsupported(&self) -> bool {
        match self {
            Error::Step { why, .. } => why.is_unsupported(),
            Error::Refused { answer, .. } => answer.contains("not supported"),
            _ => false,
        }
    }

    /// What went wrong with a socket, a pipe or a file.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Error::Io { what, error }
    }

    /// The same in a step.
    pub(crate) fn within(self, step: &'static str) -> Self {
        Error::Step { step, why: Box::new(self) }
    }
}
