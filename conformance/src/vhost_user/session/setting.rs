//! What a conversation is given: whom it talks to, how long it waits, and by which rules it is judged.

use std::sync::OnceLock;
use std::time::Duration;

use devmig_engine::rules::Rules;

use super::TestMachine;
use crate::harness::io::target::Target;
use crate::vhost_user::without::Without;

/// What the device is, as vhost-user does not say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Device {
    /// A network device: it is given frames.
    Net,
    /// A network device with two pairs of queues and a ring of commands, to which all comes back that
    /// it transmits, as to `devmig device nic --queue-pairs 2`: what it receives is judged too.
    NetLoopback,
    /// A block device; data is only read, unless it may be destroyed.
    Blk,
    /// A file system.
    Fs,
    /// An entropy device.
    Rng,
    /// A console: it is given lines of text.
    Console,
    /// Unknown: tests that need requests are skipped.
    None,
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a connection, and for a process to listen.
    pub connect: Duration,
    /// For what is owed: an answer, a request.
    pub owed: Duration,
    /// How long nothing must come to show that a request is not processed.
    pub silence: Duration,
    /// How long nothing must come to be taken for silence where silence is allowed.
    pub quiet: Duration,
    /// A finding that nothing came in time is confirmed with longer limits.
    pub confirms: bool,
}

impl Limits {
    /// The same, and what is owed may take this many times as long.
    #[must_use]
    pub fn longer(self, times: u32) -> Self {
        let Limits { connect, owed, silence, .. } = self;
        let longer = |limit: Duration| limit.saturating_mul(times);
        Limits { connect: longer(connect), owed: longer(owed), silence: longer(silence), ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(10),
            owed: Duration::from_secs(3),
            silence: Duration::from_secs(3),
            quiet: Duration::from_millis(60),
            confirms: true,
        }
    }
}

/// The implementation under test, and how it may be treated.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The implementation.
    pub target: &'a Target,
    /// What it is.
    pub device: Device,
    /// Its data may be destroyed.
    pub scratch: bool,
    /// How long to wait.
    pub limits: Limits,
    /// Where somebody who connects changes the device's configuration space, and is let go when it is
    /// changed; `{socket}` stands for the path of the back-end's socket.
    pub outside: Option<&'a str>,
    /// Features that are left out.
    pub without: Without,
}

/// What a session is made of.
#[derive(Clone, Copy)]
pub struct Setting<'m> {
    /// The rules' machine.
    pub machine: &'m TestMachine,
    /// Whom it talks to.
    pub subject: Subject<'m>,
    /// The rules, with the readings that are still possible.
    pub rules: Rules,
    /// OpenChoice for an acknowledgement of every message.
    pub acknowledged: bool,
    /// Protocol features that are not acknowledged, offered or not.
    pub declined: u64,
    /// For bytes that are no state.
    pub seed: u64,
    /// What a server says of its pairs of queues, which no second conversation asks again.
    pub pairs: &'m Pairs,
}

/// Once a network device was asked: what is wrong with its pairs of queues, if anything is.
pub type Pairs = OnceLock<Option<String>>;
