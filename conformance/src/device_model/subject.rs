//! What is under test, and how it is told what to do.
//!
//! ```text
//!   PROGRAM --print-migration-info-json                         its description (RFC v3), and exits
//!   PROGRAM --print-implementation-json                         with what the RFC has no words for
//!   PROGRAM --model MODEL [--model-version V] --m-NAME=VALUE... WHERE    is the device
//!   PROGRAM ... --print-instance-json                           what these words make, and exits
//!
//!   CONTROL (listens at {socket})   JSON-RPC 2.0, a message a line: device-add, device-list, device-set,
//!                                   device-del
//! ```
//!
//! WHERE are the words by which a transport's socket is named. The third and fourth line of what a
//! program prints are optional: what needs them is skipped.

use std::time::Duration;

use super::arguments::Asked;
use super::golden::Golden;
use super::transport::Transport;

/// What is under test.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The words of its command.
    pub program: Vec<String>,
    /// The transports that it has, with the words that tell where to listen.
    pub transports: Vec<(Transport, Vec<String>)>,
    /// The words of the command that makes devices when it is told to over a socket.
    pub control: Option<Vec<String>>,
    /// Words that change only what belongs to the host, such as the port.
    pub elsewhere: Option<Vec<String>>,
    /// Another implementation of the same models: the words of its command.
    pub peer: Option<Vec<String>>,
    /// States that were kept.
    pub golden: Vec<Golden>,
    /// How long a process may take to listen.
    pub start: Duration,
    /// How long each thing may take.
    pub limit: Duration,
    /// At most so many cases of a kind.
    pub most: usize,
}

/// The options by which a program is told what to print.
pub mod print {
    /// Its description, in the form of the third version of the RFC.
    pub const INFO: &str = "--print-migration-info-json";
    /// The same with what the RFC has no words for.
    pub const OWN: &str = "--print-implementation-json";
    /// What is made.
    pub const INSTANCE: &str = "--print-instance-json";
}

impl Subject {
    /// The words of this transport.
    #[must_use]
    pub fn listening(&self, transport: Transport) -> Option<&[String]> {
        let own = self.transports.iter().find(|(known, _)| *known == transport);
        own.map(|(_, words)| words.as_slice())
    }

    /// The command line that makes a device: of this program, with these words besides.
    #[must_use]
    pub fn command(program: &[String], asked: &Asked, besides: &[String]) -> Vec<String> {
        [program, &asked.options(), besides].concat()
    }
}
