//! The machine for somebody who stands between the parties and sees only part of what they do.
//!
//! ```text
//!  seen      messages, answers, closes          judged by the protocol's machine as they are
//!  sampled   a ring's two indices in memory     Seen::Indices
//!  unseen    kicks, calls, single requests,     possible at any time, so hidden steps here,
//!            the channel of device state        and never a reason to accuse anybody
//! ```
//!
//! The rules are those of [`VhostUser`]; what stands here is only what can be said of requests by
//! somebody who sees indices and not requests. A ring that has a kick descriptor may be kicked at any
//! time. What was fetched and not completed is unknown, so an answer that waits for it is never late.
//!
//! **Invariants.** Whatever the whole machine allows, this one allows too: it forgets, and adds no
//! rule for which it would have to see more. It takes for granted that a guest leaves the memory of a
//! ring alone until the ring was stopped, as VIRTIO demands of a driver.

use serde_json::{Map, Value as Json};

use super::event::{BACK_END, Event, FRONT_END, MessageId};
use super::machine::VhostUser;
use super::state::{State, Transfer};
use super::vocabulary::{Answer, Effect};
use crate::clause_ids;
use devmig_engine::machine::{
    Channel, Machine, Obligation, Owed, Party, Reaction, Step, Stimulus, TimeClass, Verdict,
};
use devmig_engine::pack::as_list;
use devmig_engine::packed;
use devmig_engine::rules::{OpenChoice, RuleContext};

/// What a monitor sees.
#[packed(queued(Event))]
pub enum Seen {
    /// An event of the protocol.
    Event(Event),
    /// Both indices of a split ring in guest memory, read one after the other: used, then available.
    Indices {
        /// Of this ring.
        ring: u8,
        /// The guest's.
        available: u16,
        /// The back-end's.
        used: u16,
        /// The front-end has just said that the ring goes on with this request.
        resumes: Option<u16>,
    },
}

impl Default for Seen {
    fn default() -> Self {
        Seen::Event(Event::default())
    }
}

impl devmig_engine::machine::Event for Seen {
    fn owner(&self) -> Party {
        match self {
            Seen::Event(event) => event.owner(),
            Seen::Indices { .. } => BACK_END,
        }
    }

    fn channel(&self) -> Channel {
        match self {
            Seen::Event(event) => event.channel(),
            Seen::Indices { .. } => Channel::Now,
        }
    }

    fn label(&self) -> String {
        match self {
            Seen::Event(event) => event.label(),
            Seen::Indices { ring, available, used, .. } => {
                format!("ring {ring} in memory: available {available}, used {used}")
            }
        }
    }
}

/// What is known of one ring's requests.
#[packed]
#[derive(Default)]
pub struct Known {
    /// It was started since its base was set: requests may have been fetched.
    pub ran: bool,
    /// Its indices were read, and `available` and `used` are what was found.
    pub sampled: bool,
    /// The guest's index.
    #[bits(16)]
    pub available: u16,
    /// The back-end's index.
    #[bits(16)]
    pub used: u16,
    /// It was stopped, `used` was found just after, and `base` was the answer.
    pub halted: bool,
    /// GET_VRING_BASE's answer.
    #[bits(16)]
    pub base: u16,
}

/// The connection, and what is known of its rings' requests.
#[packed]
pub struct Watched<const R: usize> {
    /// What the protocol's machine remembers.
    pub connection: State<R>,
    /// The rings.
    #[serde(serialize_with = "as_list")]
    pub rings: [Known; R],
}

clause_ids! {
    /// The clauses that are judged here.
    pub struct MonitorLaws {
        /// `vhost-user.reply-ack.asked-when-negotiated`
        asked: "vhost-user.reply-ack.asked-when-negotiated",
    }
}

/// The protocol's machine, for a monitor.
#[derive(Clone, Debug)]
pub struct Monitor<const R: usize> {
    /// The protocol's.
    pub machine: VhostUser<R>,
    /// What is judged besides.
    pub laws: MonitorLaws,
}

impl<const R: usize> Monitor<R> {
    /// Whether the device is suspended: its back-end says nothing of its own.
    #[must_use]
    pub fn suspended(&self, s: &Watched<R>) -> bool {
        self.machine.suspended(&s.connection)
    }

    /// Forgets what a monitor cannot know.
    fn blurred(&self, mut next: Watched<R>) -> Watched<R> {
        for (ring, known) in next.connection.rings.iter_mut().zip(&mut next.rings) {
            known.ran |= ring.started;
            ring.kicked = true;
            ring.open = 0;
            ring.available = ring.base;
            ring.unnotified = false;
        }
        next.connection.internal = 0;
        next.connection.image = 0;
        next
    }

    /// What the protocol's machine says, with the rest kept.
    fn inner(&self, s: &Watched<R>, event: &Event, judge: &mut RuleContext) -> Verdict<Self> {
        Ok(match self.machine.on(&s.connection, event, judge)? {
            Reaction::To(connection) => Reaction::To(self.blurred(Watched { connection, ..*s })),
            Reaction::Ignore => Reaction::Ignore,
            Reaction::Disabled => Reaction::Disabled,
            Reaction::Violation(clause) => Reaction::Violation(clause),
            Reaction::Unspecified(clause) => Reaction::Unspecified(clause),
        })
    }

    fn message(&self, s: &Watched<R>, event: &Event, judge: &mut RuleContext) -> Verdict<Self> {
        let reply_ack = s.connection.protocol.0 >> self.machine.table.reply_ack & 1 == 1;
        let verdict = self.inner(s, event, judge)?;
        if let Event::Message(m) = event
            && m.need_reply
            && !reply_ack
            && !matches!(verdict, Reaction::Disabled | Reaction::Violation(_))
            && judge.enforces(self.laws.asked)
        {
            return Ok(Reaction::Violation(self.laws.asked));
        }
        let (Reaction::To(mut next), Event::Message(m)) = (verdict, event) else {
            return Ok(verdict);
        };
        let sets = |effect| {
            self.machine.message(m.id).rows.iter().any(|row| row.receive.contains(&effect))
        };
        if sets(Effect::SetBase) {
            next.rings[m.ring as usize].ran = next.connection.rings[m.ring as usize].started;
        }
        if sets(Effect::SetMemory) {
            next.rings.iter_mut().for_each(|known| known.sampled = false);
        }
        Ok(Reaction::To(next))
    }

    /// GET_VRING_BASE is answered: any number that the memory does not contradict, if the ring ran.
    fn base(
        &self,
        s: &Watched<R>,
        (id, ring, value): (MessageId, u8, u64),
        event: &Event,
        judge: &mut RuleContext,
    ) -> Verdict<Self> {
        let mut state = *s;
        let Some(known) = state.rings.get_mut(ring as usize) else { return Ok(Reaction::Disabled) };
        let base = value as u16;
        let size = s.connection.rings[ring as usize].size;
        let sane = known.sampled && known.available.wrapping_sub(known.used) <= size;
        let beyond = base.wrapping_sub(known.available);
        let contradicted = sane && beyond > 0 && beyond <= size;
        if known.ran && value <= u64::from(u16::MAX) && !contradicted {
            state.connection.rings[ring as usize].base = base;
            state.connection.rings[ring as usize].available = base;
        }
        let asked = state.connection.owed.head().is_some_and(|o| o.message.id == id);
        let known = &mut state.rings[ring as usize];
        if asked {
            (known.halted, known.base) = (known.sampled, base);
        }
        self.inner(&state, event, judge)
    }

    fn indices(
        &self,
        s: &Watched<R>,
        (ring, available, used, resumes): (u8, u16, u16, Option<u16>),
        judge: &mut RuleContext,
    ) -> Verdict<Self> {
        let mut next = *s;
        let (Some(known), Some(r)) =
            (next.rings.get_mut(ring as usize), s.connection.rings.get(ring as usize))
        else {
            return Ok(Reaction::Disabled);
        };
        let laws = &self.machine.laws;
        let ahead = used.wrapping_sub(available);
        if ahead > 0 && ahead <= r.size && judge.enforces(laws.available_only) {
            return Ok(Reaction::Violation(laws.available_only));
        }
        // Who goes on at the number that was answered set nothing up anew, so nobody else wrote there.
        // A ring that begins at 0 may be another one.
        let goes_on = known.halted && known.base != 0 && resumes == Some(known.base);
        let moved = used.wrapping_sub(known.used);
        if goes_on
            && !r.started
            && moved > 0
            && moved <= r.size
            && judge.enforces(laws.not_processed)
        {
            return Ok(Reaction::Violation(laws.not_processed));
        }
        *known = Known { sampled: true, available, used, halted: false, ..*known };
        Ok(Reaction::To(next))
    }
}

impl<const R: usize> Machine for Monitor<R> {
    type State = Watched<R>;
    type Event = Seen;

    fn name(&self) -> &'static str {
        "monitor"
    }

    fn initial(&self) -> Watched<R> {
        self.blurred(Watched { connection: State::new(), rings: [Known::default(); R] })
    }

    fn on(&self, s: &Watched<R>, event: &Seen, judge: &mut RuleContext) -> Verdict<Self> {
        match *event {
            Seen::Indices { ring, available, used, resumes } => {
                self.indices(s, (ring, available, used, resumes), judge)
            }
            Seen::Event(ref event @ Event::Message(_)) => self.message(s, event, judge),
            Seen::Event(ref event @ Event::Reply { id, ring, value, .. })
                if self.machine.message(id).answer == Some(Answer::Base) =>
            {
                self.base(s, (id, ring, value.0), event, judge)
            }
            Seen::Event(ref event) => self.inner(s, event, judge),
        }
    }

    /// Only answers: how long a request takes, nobody in between can tell.
    fn owes(&self, s: &Watched<R>, judge: &mut RuleContext) -> Result<Owed, OpenChoice> {
        let owed = self.machine.owes(&s.connection, judge)?;
        let answer = |index: &u32| self.machine.obligation(*index).class == TimeClass::Reply;
        Ok(owed.iter().filter(answer).fold(Owed::NONE, Owed::with))
    }

    fn obligation(&self, index: u32) -> Obligation {
        self.machine.obligation(index)
    }

    fn hidden(
        &self,
        s: &Watched<R>,
        judge: &mut RuleContext,
        f: &mut dyn FnMut(Step, Watched<R>),
    ) -> Result<(), OpenChoice> {
        let ended = match s.connection.transfer {
            transfer if transfer.is_saving() => Some((BACK_END, Transfer::Saved)),
            transfer if transfer.is_loading() => Some((FRONT_END, Transfer::Loaded)),
            _ => None,
        };
        if let Some((by, transfer)) = ended {
            let connection = State { transfer, ..s.connection };
            f(Step::alone(by, "transfer ends"), Watched { connection, ..*s });
        }
        self.machine.hidden(&s.connection, judge, &mut |step, connection| {
            f(step, self.blurred(Watched { connection, ..*s }));
        })
    }

    fn stimuli(&self, s: &Watched<R>, f: &mut dyn FnMut(Stimulus<Seen>)) {
        self.machine.stimuli(&s.connection, &mut |offer| {
            let (Stimulus::Guarded(event) | Stimulus::Unguarded(event)) = offer;
            if matches!(event, Event::Reply { .. }) {
                f(Stimulus::Guarded(Seen::Event(event)));
            }
        });
    }

    fn describe(&self, s: &Watched<R>) -> Map<String, Json> {
        self.machine.describe(&s.connection)
    }

    fn label(&self, event: &Seen) -> Option<String> {
        match event {
            Seen::Event(event) => self.machine.label(event),
            Seen::Indices { .. } => None,
        }
    }
}
