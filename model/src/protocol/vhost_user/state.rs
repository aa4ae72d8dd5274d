//! What a vhost-user connection remembers: one plain struct for both parties, since they share guards.
//!
//! Widths are those of exploration; the fields have the protocol's own range, which the tester uses.
//! `R` is the number of rings.

use serde::Serialize;

use super::event::{Message, MessageId, Value};
use devmig_engine::pack::{PackAs, as_list};
use devmig_engine::packed;
use devmig_engine::queue::Queue;

/// The bit of VHOST_F_LOG_ALL.
pub const LOG_ALL: u8 = 26;
/// At most this many answers are owed at once; a back-end that owes more reads nothing further.
pub const PENDING_REPLIES: usize = 2;

packed! {
    /// One ring: the back-end's view of it, and its two indices in guest memory.
    #[derive(Default)]
    pub struct Ring {
        /// SET_VRING_NUM, in descriptors; 0: not set.
        pub size: u16 = 2,
        /// SET_VRING_ADDR was received.
        pub addressed: bool = 1,
        /// SET_VRING_KICK gave a descriptor.
        pub kick_set: bool = 1,
        /// SET_VRING_CALL gave a descriptor.
        pub call_set: bool = 1,
        /// SET_VRING_CALL said that the guest polls.
        pub call_polled: bool = 1,
        /// SET_VRING_ERR gave a descriptor.
        pub err_set: bool = 1,
        /// It was told that the ring is broken.
        pub reported: bool = 0,
        /// It was set, and neither was a request used since, nor was the guest notified while suspended.
        pub call_fresh: bool = 1,
        /// The ring processes requests once enabled.
        pub started: bool = 1,
        /// SET_VRING_ENABLE's state.
        pub enabled: bool = 1,
        /// A kick was written and not noticed yet.
        pub kicked: bool = 1,
        /// GET_VRING_BASE stopped the ring since its kick descriptor was set.
        pub kick_fd_stale: bool = 1,
        /// The next index of the available ring to fetch from.
        pub base: u16 = 3,
        /// The guest's index in the available ring.
        pub available: u16 = 3,
        /// The index in the used ring.
        pub used: u16 = 3,
        /// Requests fetched and not completed: bit `request % 64`.
        pub open: u64 = 4,
        /// Something was used since the guest was last notified.
        pub unnotified: bool = 1,
        /// The in-flight buffer's record: requests fetched and not completed, as in `open`.
        pub recorded: u64 = 4,
        /// Of these, used since the record was last cleared: its list of the last batch.
        pub batch: u64 = 4,
        /// SET_VRING_ADDR's flag: writes to the used ring are logged.
        pub log_used: bool = 1,
        /// Written and not marked in the dirty log yet: [`BUFFERS`], [`USED_RING`].
        pub unmarked: u8 = 2,
    }
}

/// The page that a ring's buffers are on, as a bit of [`Ring::unmarked`].
pub const BUFFERS: u8 = 1;
/// The page that its used ring is on.
pub const USED_RING: u8 = 2;

impl Ring {
    /// Whether this request was fetched and not completed.
    #[must_use]
    pub fn is_open(&self, request: u16) -> bool {
        self.open >> (request % 64) & 1 == 1
    }

    /// Whether it is stopped, and no kick that is on its way can start it: what a front-end can
    /// know. A ring whose kick descriptor is set starts whenever the back-end looks.
    #[must_use]
    pub fn halted(&self) -> bool {
        !self.started && (!self.kick_set || self.kick_fd_stale)
    }

    /// Requests that are available and not fetched.
    #[must_use]
    pub fn waiting(&self) -> u16 {
        self.available.wrapping_sub(self.base)
    }

    /// Whether the index in the available ring is further ahead than the ring is long: no driver that
    /// keeps to the text writes it, and what is available is unknown.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.size != 0 && self.waiting() > self.size
    }

    /// It was told that the ring is broken, if it is.
    pub fn report(&mut self) {
        self.reported = self.is_broken();
    }

    /// Requests on record that the process which fetched them will not complete: it is no more.
    #[must_use]
    pub fn left_behind(&self) -> u64 {
        self.recorded & !self.open & !self.batch
    }

    /// The index of the oldest of these requests (bits `request % 64`); `base` if there is none.
    #[must_use]
    pub fn oldest(&self, requests: u64) -> u16 {
        let mut before = (1..=64).rev().map(|n| self.base.wrapping_sub(n));
        before.find(|r| requests >> (r % 64) & 1 == 1).unwrap_or(self.base)
    }

    /// The oldest request that was fetched and not completed; `base` if there is none.
    #[must_use]
    pub fn oldest_open(&self) -> u16 {
        self.oldest(self.open)
    }
}

/// Where a transfer of device state stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub enum Transfer {
    /// None was begun.
    #[default]
    None,
    /// The back-end writes its state.
    Saving,
    /// It has closed the channel.
    Saved,
    /// The front-end writes a state.
    Loading,
    /// It has closed the channel.
    Loaded,
}

impl PackAs for Transfer {
    fn to_bits(self) -> u64 {
        self as u64
    }
    fn from_bits(bits: u64) -> Self {
        [Self::None, Self::Saving, Self::Saved, Self::Loading, Self::Loaded][bits as usize % 5]
    }
}

packed! {
    /// A message that was read and is owed an answer.
    #[derive(Default)]
    pub struct PendingReply {
        /// The message.
        pub message: Message,
        /// Which row of the table it was read by.
        pub row: u8 = 4,
    }
}

packed! {
    /// A message of the back-end's own that is owed an answer.
    #[derive(Default)]
    pub struct Asked {
        /// Which, by its place in the table of the back-end's messages.
        pub id: MessageId = 4,
    }
}

packed! {
    /// The whole connection.
    pub struct State<const R: usize> {
        /// The rings.
        #[serde(serialize_with = "as_list")]
        pub rings: [Ring; R],
        /// GET_FEATURES' answer.
        pub offered: Value,
        /// SET_FEATURES' mask.
        pub features: Value,
        /// GET_PROTOCOL_FEATURES' answer.
        pub protocol_offered: Value,
        /// SET_PROTOCOL_FEATURES' mask.
        pub protocol: Value,
        /// SET_OWNER was received.
        pub owned: bool = 1,
        /// Memory regions known.
        pub regions: u16 = 2,
        /// GET_MAX_MEM_SLOTS' answer; 0: not asked.
        pub slots: u16 = 2,
        /// The virtio device status.
        pub status: u8 = 5,
        /// A status of 0 waits for RESUME.
        pub deferred: bool = 1,
        /// SUSPEND was received (a proposal's message).
        pub suspended: bool = 1,
        /// The device was asked to suspend itself, and finishes what is in flight first.
        pub suspending: bool = 1,
        /// Where a transfer of state stands.
        pub transfer: Transfer = 3,
        /// The device's internal state, as the model counts it: requests completed since its reset.
        pub internal: u8 = 3,
        /// The state that was saved.
        pub image: u8 = 3,
        /// Messages read and not answered, oldest first.
        pub owed: Queue<PendingReply, PENDING_REPLIES>,
        /// SET_BACKEND_REQ_FD gave the back-end a channel for messages of its own.
        pub channel: bool = 1,
        /// Those that wait for the front-end's answer, oldest first.
        pub asked: Queue<Asked, PENDING_REPLIES>,
        /// Some ring was started once: a device is not judged as suspended at birth.
        pub ever_started: bool = 1,
        /// The back-end has closed.
        pub closed: bool = 1,
        /// A message came in pieces, and they are not put together: the back-end may close, until an
        /// answer shows that it looked when all was there. Nobody who is explored sends pieces, so
        /// that it takes no room there.
        pub partial_message: bool = 0,
        /// SET_INFLIGHT_FD gave a buffer.
        pub in_flight: bool = 1,
        /// The configuration space has changed, and the front-end was not told.
        pub changed: bool = 0,
        /// Something was read after which the back-end closes the connection.
        pub must_disconnect: bool = 1,
        /// The dirty log in use, by SET_LOG_BASE's number; 0: none.
        pub log: u8 = 2,
    }
}

impl<const R: usize> State<R> {
    /// A fresh connection.
    #[must_use]
    pub fn new() -> Self {
        State {
            rings: [Ring::default(); R],
            offered: Value(0),
            features: Value(0),
            protocol_offered: Value(0),
            protocol: Value(0),
            owned: false,
            regions: 0,
            slots: 0,
            status: 0,
            deferred: false,
            suspended: false,
            suspending: false,
            transfer: Transfer::None,
            internal: 0,
            image: 0,
            owed: Queue::default(),
            channel: false,
            asked: Queue::default(),
            ever_started: false,
            closed: false,
            partial_message: false,
            in_flight: false,
            changed: false,
            must_disconnect: false,
            log: 0,
        }
    }

    /// What another back-end process finds: guest memory, kicks that nobody read, and the in-flight
    /// buffer. `settled`: it takes what was used last out of the record.
    #[must_use]
    pub fn successor(&self, settled: bool) -> Self {
        let ring = |r: Ring| Ring {
            available: r.available,
            used: r.used,
            kicked: r.kicked,
            recorded: if settled { r.recorded & !r.batch } else { r.recorded },
            ..Ring::default()
        };
        State { rings: self.rings.map(ring), ..Self::new() }
    }

    /// Starts a ring. What an earlier process left behind comes before what is new, so the next index
    /// to fetch is no earlier than the used index and the number of these.
    pub fn start(&mut self, index: usize) {
        self.ever_started = true;
        let in_flight = self.in_flight;
        let r = &mut self.rings[index];
        let left = r.left_behind();
        let begins = !std::mem::replace(&mut r.started, true);
        let new = r.used.wrapping_add(left.count_ones() as u16);
        if begins && in_flight && (new.wrapping_sub(r.base) as i16) > 0 {
            r.base = new;
        }
    }

    /// Whether writes are logged: LOG_ALL was acknowledged and there is a log.
    #[must_use]
    pub fn logging(&self) -> bool {
        self.log != 0 && self.features.0 >> LOG_ALL & 1 == 1
    }

    /// No ring is started: the device is suspended by the text of 2023.
    #[must_use]
    pub fn all_stopped(&self) -> bool {
        self.rings.iter().all(|r| !r.started)
    }
}

impl<const R: usize> Default for State<R> {
    fn default() -> Self {
        Self::new()
    }
}
