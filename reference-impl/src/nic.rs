//! A network device, without any way to reach it.
//!
//! ```text
//!   model.rs    the table of its parameters           control.rs   what the driver may tell it
//!   config.rs   what is fixed when it is made         mutants.rs   what may be done wrong with these
//!   state.rs    what it remembers, and saved states   second.rs    saved states, written apart from it
//!
//!   transmit --> link.rs --> filter.rs --> rss.rs --> waiting, by queue --> take
//! ```
//!
//! One core for every transport: a vhost-user back-end carries its queues in virtqueues
//! (`vhost_user/net.rs`).
//!
//! **Invariants.** No I/O, no clock, no guest memory: bytes go in and come out. At most
//! [`MAX_WAITING`] frames wait, each no longer than the MTU allows; what comes beyond is dropped and
//! counted. No input makes it panic.
//!
//! **Not here:** offloads (checksums, segmentation), and frames in several buffers.

pub mod config;
pub mod control;
pub mod filter;
pub mod frame;
pub mod link;
pub mod mac;
pub mod model;
pub mod mutants;
pub mod rss;
mod second;
pub mod state;

use std::collections::VecDeque;

pub use config::{Build, ConfigError, Encoder, Given, NicConfig, Order, Parameters};
pub use control::Ack;
pub use link::Link;
pub use mac::Mac;
pub use model::{NicModel, Release};
pub use mutants::Mutant;
pub use state::StateError;

use state::{State, Steering};

/// The most frames that wait for a buffer, or for the peer.
pub const MAX_WAITING: usize = 64;

/// A frame that waits for a buffer of a receive queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Which queue.
    pub queue: u16,
    /// The frame.
    pub frame: Vec<u8>,
}

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident,)+) => {
        /// What a NIC has done since it was made or reset.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Counters { $($(#[$meta])* pub $name: u64,)+ }

        impl Counters {
            /// How many there are.
            pub const COUNT: usize = [$(stringify!($name),)+].len();

            /// All of them, in order.
            #[must_use]
            pub fn all(&self) -> [u64; Self::COUNT] {
                [$(self.$name,)+]
            }
        }

        impl From<[u64; Counters::COUNT]> for Counters {
            fn from(all: [u64; Counters::COUNT]) -> Self {
                let [$($name,)+] = all;
                Counters { $($name,)+ }
            }
        }
    };
}

counters! {
    /// Frames transmitted.
    sent,
    /// Frames that the driver wanted to transmit and that are none: too short or too long.
    unsendable,
    /// Frames delivered to the driver.
    received,
    /// Frames that the filter did not let through.
    filtered,
    /// Frames for which there was no room.
    dropped,
}

/// A network device.
#[derive(Clone, Debug)]
pub struct Nic {
    config: NicConfig,
    link: Link,
    up: bool,
    filtering: bool,
    state: State,
    /// Frames for the peer.
    sent: VecDeque<Vec<u8>>,
}

impl Nic {
    /// A new one, its link up, which lets everything through until it is told to filter.
    #[must_use]
    pub fn new(config: NicConfig, link: Link) -> Self {
        let state = State::new(&config);
        Nic { config, link, up: true, filtering: false, state, sent: VecDeque::new() }
    }

    /// What it is.
    #[must_use]
    pub fn config(&self) -> &NicConfig {
        &self.config
    }

    /// What it remembers.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The same, for a device that gets it wrong.
    pub(crate) fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// Whether the link is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// The link goes up or down. Nothing passes while it is down.
    pub fn set_up(&mut self, up: bool) {
        self.up = up;
    }

    /// Whether the filter applies: a driver that has no means to set it gets everything.
    pub fn set_filtering(&mut self, filtering: bool) {
        self.filtering = filtering;
    }

    /// Its address, as a transport without a control queue sets it. A group's is not taken.
    pub fn set_mac(&mut self, mac: Mac) -> bool {
        if !mac.is_group() {
            self.state.mac = mac;
        }
        !mac.is_group()
    }

    /// The driver transmits a frame, from this pair's queue.
    pub fn transmit(&mut self, pair: u16, frame: &[u8]) {
        let counters = &mut self.state.counters;
        if frame.len() < frame::HEADER || frame.len() > self.config.max_frame() {
            count(&mut counters.unsendable);
            return;
        }
        count(&mut counters.sent);
        match self.link {
            _ if !self.up => {}
            Link::Loopback => self.receive(pair, frame),
            Link::Nobody => {}
            Link::Peer if self.sent.len() < MAX_WAITING => self.sent.push_back(frame.to_vec()),
            Link::Peer => count(&mut counters.dropped),
        }
    }

    /// The next frame for the peer.
    pub fn poll_sent(&mut self) -> Option<Vec<u8>> {
        self.sent.pop_front()
    }

    /// A frame arrives; `pair` is the one that its flow was sent from, if that is known, or 0.
    pub fn receive(&mut self, pair: u16, frame: &[u8]) {
        let state = &mut self.state;
        let to = frame::destination(frame);
        let Some(to) = to.filter(|_| self.up && frame.len() <= self.config.max_frame()) else {
            return;
        };
        if self.filtering && !filter::passes(state.modes, &state.table, state.mac, to) {
            count(&mut state.counters.filtered);
            return;
        }
        let tag = frame::tag(frame).filter(|_| self.filtering);
        if tag.is_some_and(|tag| !state.tags.pass(tag)) {
            count(&mut state.counters.filtered);
            return;
        }
        if state.waiting.len() >= MAX_WAITING {
            count(&mut state.counters.dropped);
            return;
        }
        let queue = match &state.steering {
            Steering::Rss(rss) => rss.queue(frame::flow(frame)),
            Steering::Pairs(pairs) if pair >= *pairs => 0,
            _ if pair >= self.config.queue_pairs() => 0,
            _ => pair,
        };
        state.waiting.push_back(Waiting { queue, frame: frame.to_vec() });
    }

    /// The frame that waits longest for this queue.
    #[must_use]
    pub fn next(&self, queue: u16) -> Option<&[u8]> {
        let mut waiting = self.state.waiting.iter();
        waiting.find(|waiting| waiting.queue == queue).map(|waiting| waiting.frame.as_slice())
    }

    /// That frame was delivered, or (`delivered` is false) its buffer has no room for it.
    pub fn taken(&mut self, queue: u16, delivered: bool) {
        let state = &mut self.state;
        let at = state.waiting.iter().position(|waiting| waiting.queue == queue);
        if at.and_then(|at| state.waiting.remove(at)).is_some() {
            match delivered {
                true => count(&mut state.counters.received),
                false => count(&mut state.counters.dropped),
            }
        }
    }

    /// As new. The link stays as it is.
    pub fn reset(&mut self) {
        self.state = State::new(&self.config);
        self.sent.clear();
    }

    /// Its state, self-describing.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        match self.config.build().encoder {
            Encoder::First => self.state.encode(&self.config),
            Encoder::Second => second::encode(&self.state, &self.config),
        }
    }

    /// Takes over a saved state.
    ///
    /// # Errors
    /// See [`StateError`]. Nothing has changed then.
    pub fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        if self.config.is(Mutant::LinkCompared) && self.link != Link::Loopback {
            return Err(StateError::Damaged);
        }
        self.state = match self.config.build().encoder {
            Encoder::First => State::decode(state, &self.config)?,
            Encoder::Second => second::decode(state, &self.config)?,
        };
        if self.config.is(Mutant::LoadForgets) {
            self.state.counters = Counters::default();
        }
        Ok(())
    }
}

/// One more. A state that was loaded may say any number.
fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

#[cfg(test)]
mod tests;
