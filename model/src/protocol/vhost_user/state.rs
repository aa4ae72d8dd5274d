//! What a vhost-user connection remembers: one plain struct for both parties, since they share guards.
//!
//! Widths are those of exploration; the fields have the protocol's own range, which the tester uses.
//! `R` is the number of rings.

use super::event::{Message, MessageId, RingImage, RingImages, Value};
use devmig_engine::pack::as_list;
use devmig_engine::packed;
use devmig_engine::queue::Queue;

/// Bit 30: `VHOST_USER_F_PROTOCOL_FEATURES`.
pub const F_PROTOCOL_FEATURES: u64 = 1 << 30;
/// The bit of VHOST_F_LOG_ALL.
pub const LOG_ALL: u8 = 26;
/// At most this many answers are owed at once; a back-end that owes more reads nothing further.
pub const PENDING_REPLIES: usize = 2;

/// One ring: the back-end's view of it, and its two indices in guest memory.
#[packed]
#[derive(Default)]
pub struct Ring {
    /// SET_VRING_NUM, in descriptors; 0: not set.
    #[bits(2)]
    pub size: u16,
    /// SET_VRING_ADDR was received.
    pub addressed: bool,
    /// SET_VRING_KICK gave a descriptor.
    pub kick_set: bool,
    /// SET_VRING_CALL gave a descriptor.
    pub call_set: bool,
    /// SET_VRING_CALL said that the guest polls.
    pub call_polled: bool,
    /// SET_VRING_ERR gave a descriptor.
    pub err_set: bool,
    /// It was told that the ring is broken.
    #[bits(0)]
    pub reported: bool,
    /// It was set, and neither was a request used since, nor was the guest notified while suspended.
    pub call_fresh: bool,
    /// The ring processes requests once enabled.
    pub started: bool,
    /// SET_VRING_ENABLE's state.
    pub enabled: bool,
    /// A kick was written and not noticed yet.
    pub kicked: bool,
    /// GET_VRING_BASE stopped the ring since its kick descriptor was set.
    pub kick_fd_stale: bool,
    /// The next index of the available ring to fetch from.
    #[bits(3)]
    pub base: u16,
    /// The guest's index in the available ring.
    #[bits(3)]
    pub available: u16,
    /// The index in the used ring.
    #[bits(3)]
    pub used: u16,
    /// Requests fetched and not completed: bit `request % 64`.
    #[bits(4)]
    pub open: u64,
    /// Something was used since the guest was last notified.
    pub unnotified: bool,
    /// The in-flight buffer's record: requests fetched and not completed, as in `open`.
    #[bits(4)]
    pub recorded: u64,
    /// Of these, used since the record was last cleared: its list of the last batch.
    #[bits(4)]
    pub batch: u64,
    /// SET_VRING_ADDR's flag: writes to the used ring are logged.
    pub log_used: bool,
    /// Written and not marked in the dirty log yet: [`BUFFERS`], [`USED_RING`].
    #[bits(2)]
    pub unmarked: u8,
}

/// The page that a ring's buffers are on, as a bit of [`Ring::unmarked`].
pub const BUFFERS: u8 = 1;
/// The page that its used ring is on.
pub const USED_RING: u8 = 2;

impl Ring {
    /// What a saved state says of it.
    #[must_use]
    pub fn image(&self) -> RingImage {
        let kicked = self.kicked || self.started;
        RingImage { base: self.base, enabled: self.enabled, kicked }
    }

    /// Makes it what a saved state says. A kick that is pending anyway stays.
    pub fn restore(&mut self, image: RingImage) {
        (self.base, self.enabled) = (image.base, image.enabled);
        self.kicked |= image.kicked;
    }

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
#[packed]
#[derive(Default)]
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
    /// The back-end writes its state, with that of its rings.
    SavingRings,
    /// The front-end writes such a state.
    LoadingRings,
    /// It has closed the channel before the state was whole.
    Cut,
}

impl Transfer {
    /// Whether the back-end writes.
    #[must_use]
    pub fn is_saving(self) -> bool {
        matches!(self, Transfer::Saving | Transfer::SavingRings)
    }

    /// Whether the front-end writes.
    #[must_use]
    pub fn is_loading(self) -> bool {
        matches!(self, Transfer::Loading | Transfer::LoadingRings)
    }

    /// Whether the channel was closed.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Transfer::Saved | Transfer::Loaded | Transfer::Cut)
    }
}

/// A message that was read and is owed an answer.
#[packed]
#[derive(Default)]
pub struct PendingReply {
    /// The message.
    pub message: Message,
    /// Which row of the table it was read by.
    #[bits(4)]
    pub row: u8,
}

/// A message of the back-end's own that is owed an answer.
#[packed]
#[derive(Default)]
pub struct Asked {
    /// Which, by its place in the table of the back-end's messages.
    #[bits(4)]
    pub id: MessageId,
}

/// The whole connection.
#[packed]
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
    pub owned: bool,
    /// Memory regions known.
    #[bits(2)]
    pub regions: u16,
    /// GET_MAX_MEM_SLOTS' answer; 0: not asked.
    #[bits(2)]
    pub slots: u16,
    /// The virtio device status.
    #[bits(7)]
    pub status: u8,
    /// A status of 0 waits for RESUME.
    pub deferred: bool,
    /// SUSPEND was received (a proposal's message).
    pub suspended: bool,
    /// The device was asked to suspend itself, and finishes what is in flight first.
    pub suspending: bool,
    /// Where a transfer of state stands.
    pub transfer: Transfer,
    /// The device's internal state, as the model counts it: requests completed since its reset.
    #[bits(3)]
    pub internal: u8,
    /// The state that was saved.
    #[bits(3)]
    pub image: u8,
    /// Messages read and not answered, oldest first.
    pub owed: Queue<PendingReply, PENDING_REPLIES>,
    /// SET_BACKEND_REQ_FD gave the back-end a channel for messages of its own.
    pub channel: bool,
    /// Those that wait for the front-end's answer, oldest first.
    pub asked: Queue<Asked, PENDING_REPLIES>,
    /// Some ring was started once: a device is not judged as suspended at birth.
    pub ever_started: bool,
    /// The back-end has closed.
    pub closed: bool,
    /// A message came in pieces, and they are not put together: the back-end may close, until an
    /// answer shows that it looked when all was there. Nobody who is explored sends pieces, so
    /// that it takes no room there.
    #[bits(0)]
    pub partial_message: bool,
    /// SET_INFLIGHT_FD gave a buffer.
    pub in_flight: bool,
    /// The configuration space has changed, and the front-end was not told.
    pub changed: bool,
    /// Something was read after which the back-end closes the connection.
    pub must_disconnect: bool,
    /// The dirty log in use, by SET_LOG_BASE's number; 0: none.
    #[bits(2)]
    pub log: u8,
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

    /// The images of its rings.
    #[must_use]
    pub fn images(&self) -> RingImages {
        RingImages::of(self.rings.map(|ring| ring.image()))
    }

    /// Counts a ring's indices from the next request on: what was the first one is forgotten.
    pub fn forget(&mut self, index: usize) {
        let r = &mut self.rings[index];
        for counter in [&mut r.base, &mut r.available, &mut r.used] {
            *counter = counter.wrapping_sub(1);
        }
        for requests in [&mut r.open, &mut r.recorded, &mut r.batch] {
            *requests >>= 1;
        }
        // The state remembers as many requests as the guest does.
        self.internal = self.internal.saturating_sub(1);
        self.image = self.image.saturating_sub(1);
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
