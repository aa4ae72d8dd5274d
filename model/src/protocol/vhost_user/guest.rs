//! The guest: a driver that makes requests available and remembers which came back.
//!
//! Guest memory is its own too, and with it the dirty log: which pages the front-end has copied, and
//! which were written since.
//!
//! It keeps the rules of virtio at every size: there are never more requests in flight on a ring than the
//! ring has slots, and none on a ring that nobody sets up.
//!
//! It judges nothing. What it remembers is what the user of the device would notice, so properties
//! compare the back-end's memory with it.

use super::event::{Event, GUEST, OUTSIDE};
use super::state::{BUFFERS, USED_RING};
use devmig_engine::machine::{Machine, Party, Reaction, Stimulus, Verdict};
use devmig_engine::pack::as_list;
use devmig_engine::packed;
use devmig_engine::rules::RuleContext;

/// What the guest knows.
#[packed]
pub struct GuestState<const R: usize> {
    /// The virtual CPUs run.
    pub running: bool,
    /// The front-end has copied all of memory once.
    pub copied: bool,
    /// The rings.
    #[serde(serialize_with = "as_list")]
    pub rings: [Requests; R],
}

/// One ring's requests.
#[packed]
#[derive(Default)]
pub struct Requests {
    /// How many were made available.
    #[bits(3)]
    pub posted: u16,
    /// Which came back: bit `request`.
    #[bits(4)]
    pub done: u64,
    /// A request was made available, and its kick is due.
    pub kick_due: bool,
    /// Pages written since they were copied, as in [`super::state::Ring::unmarked`].
    #[bits(2)]
    pub stale: u8,
    /// Pages marked in the first log (bits 0 and 1) and in the second (bits 2 and 3).
    #[bits(4)]
    pub marked: u8,
}

impl<const R: usize> GuestState<R> {
    /// How many requests came back.
    #[must_use]
    pub fn completed(&self) -> u32 {
        self.rings.iter().map(|r| r.done.count_ones()).sum()
    }
}

impl Requests {
    /// How many were made available and did not come back.
    #[must_use]
    pub fn in_flight(&self) -> u16 {
        self.posted.saturating_sub(self.done.count_ones() as u16)
    }
}

/// The bits of [`Requests::marked`] that are those of a log.
fn of_log(log: u8) -> u32 {
    2 * u32::from(log.saturating_sub(1) & 1)
}

/// The guest, with at most `requests` requests on each ring.
#[derive(Clone, Copy, Debug)]
pub struct Guest<const R: usize> {
    /// Requests per ring.
    pub requests: u16,
    /// How many slots each ring has; 0, if it is never set up.
    pub slots: [u16; R],
    /// It never stops making requests: when all were made, it forgets the oldest one that came back.
    pub endless: bool,
    /// The configuration space of its device may change at any time.
    pub config_changes: bool,
}

impl<const R: usize> Guest<R> {
    /// Whether another request may be made available.
    fn has_room(&self, r: &Requests, ring: usize) -> bool {
        r.posted < self.requests && r.in_flight() < self.slots[ring]
    }

    /// Whether it may forget its oldest request.
    fn forgets(&self, r: &Requests) -> bool {
        self.endless && r.posted == self.requests && r.done & 1 == 1 && !r.kick_due
    }
}

impl<const R: usize> Machine for Guest<R> {
    type State = GuestState<R>;
    type Event = Event;

    fn name(&self) -> &'static str {
        "guest"
    }

    fn plays(&self, party: Party) -> bool {
        party == GUEST || party == OUTSIDE
    }

    fn initial(&self) -> GuestState<R> {
        GuestState { running: false, copied: false, rings: [Requests::default(); R] }
    }

    fn on(&self, s: &GuestState<R>, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        let mut next = *s;
        match *event {
            Event::Vcpus { run } => next.running = run,
            Event::Available { ring } => {
                let r = &mut next.rings[ring as usize];
                if !s.running || !self.has_room(r, ring as usize) || r.kick_due {
                    return Ok(Reaction::Disabled);
                }
                r.posted += 1;
                r.kick_due = true;
            }
            Event::Forgotten { ring } => {
                let r = &mut next.rings[ring as usize];
                if !s.running || !self.forgets(r) {
                    return Ok(Reaction::Disabled);
                }
                (r.posted, r.done) = (r.posted - 1, r.done >> 1);
            }
            Event::Changed if !self.config_changes => return Ok(Reaction::Disabled),
            Event::Kick { ring, front_end: false } => {
                let r = &mut next.rings[ring as usize];
                if !s.running || !r.kick_due {
                    return Ok(Reaction::Disabled);
                }
                r.kick_due = false;
            }
            Event::Used { ring, request } => {
                let r = &mut next.rings[ring as usize];
                r.done |= 1 << (request % 64);
                if s.copied {
                    r.stale = BUFFERS | USED_RING;
                }
            }
            Event::Renew { ring, index } => {
                let r = &mut next.rings[ring as usize];
                (r.posted, r.done, r.kick_due) = (index, 0, false);
            }
            Event::Marked { ring, used_ring, log } => {
                let r = &mut next.rings[ring as usize];
                let part = if used_ring { USED_RING } else { BUFFERS };
                // What is copied again for nothing makes no difference.
                if r.stale & part == 0 {
                    return Ok(Reaction::Ignore);
                }
                r.marked |= part << of_log(log);
            }
            Event::Copied { log: 0 } => {
                next.copied = true;
                next.rings.iter_mut().for_each(|r| (r.stale, r.marked) = (0, 0));
            }
            Event::Copied { log } => {
                for r in &mut next.rings {
                    let these = (r.marked >> of_log(log)) & (BUFFERS | USED_RING);
                    r.stale &= !these;
                    r.marked &= !(these << of_log(log));
                }
            }
            _ => return Ok(Reaction::Ignore),
        }
        Ok(Reaction::To(next))
    }

    fn stimuli(&self, s: &GuestState<R>, f: &mut dyn FnMut(Stimulus<Event>)) {
        if self.config_changes {
            f(Stimulus::Guarded(Event::Changed));
        }
        if !s.running {
            return;
        }
        for (index, r) in s.rings.iter().enumerate() {
            let ring = index as u8;
            if r.kick_due {
                f(Stimulus::Guarded(Event::Kick { ring, front_end: false }));
            } else if self.has_room(r, index) {
                f(Stimulus::Guarded(Event::Available { ring }));
            } else if self.forgets(r) {
                f(Stimulus::Guarded(Event::Forgotten { ring }));
            }
        }
    }

    fn domain(&self, f: &mut dyn FnMut(Event)) {
        for ring in 0..R as u8 {
            f(Event::Available { ring });
            f(Event::Kick { ring, front_end: false });
            if self.endless {
                f(Event::Forgotten { ring });
            }
        }
        if self.config_changes {
            f(Event::Changed);
        }
    }
}
