//! The front-end: first a program, then, if it has a list of messages, a permissive driver that
//! sends any of them whenever the rules allow it. Both wait for an answer before they go on.

use serde_json::{Map, Value as Json};

use super::event::{
    BackEndMessage, Event, FRONT_END, Message, MessageId, RingImage, RingImages, Value,
};
use super::machine::Bounds;
use super::program::{Number, Step};
use super::state::F_PROTOCOL_FEATURES;
use super::state::{Asked, LOG_ALL, PENDING_REPLIES};
use super::table::Table;
use super::vocabulary::{Answer, Effect, Guard};
use super::wire::PayloadKind;
use devmig_engine::machine::{Event as _, Machine, Party, Reaction, Stimulus, Verdict};
use devmig_engine::pack::as_list;
use devmig_engine::packed;
use devmig_engine::queue::Queue;
use devmig_engine::rules::RuleContext;
use std::sync::Arc;

/// How far the front-end is, and what it keeps.
#[packed]
pub struct FrontState<const R: usize> {
    /// Steps done.
    #[bits(7)]
    pub step: u8,
    /// An answer is awaited.
    pub waiting: bool,
    /// It read a reply that it did not expect: it cannot tell what comes next, and does nothing more.
    pub gave_up: bool,
    /// What GET_VRING_BASE returned last, for each ring, and where its used ring is.
    #[serde(serialize_with = "as_list")]
    pub bases: [Base; R],
    /// The virtio status written last.
    #[bits(7)]
    pub status: u8,
    /// The state channel was read to its end.
    pub read: bool,
    /// What was read from it.
    #[bits(3)]
    pub image: u8,
    /// The rings in it, if it has them.
    pub images: Option<Images<R>>,
    /// Messages of the back-end's own that wait for its answer, oldest first.
    pub asked: Queue<Asked, PENDING_REPLIES>,
}

/// The rings in a state.
#[packed]
pub struct Images<const R: usize> {
    /// One each.
    #[serde(serialize_with = "as_list")]
    pub rings: [RingImage; R],
}

/// What the front-end knows of a ring.
#[packed]
#[derive(Default)]
pub struct Base {
    /// Its base, as GET_VRING_BASE returned it.
    #[bits(3)]
    pub index: u16,
    /// Its used index, in guest memory.
    #[bits(3)]
    pub used: u16,
    /// Its available index, likewise.
    #[bits(3)]
    pub available: u16,
}

/// The front-end of a system.
#[derive(Clone, Debug)]
pub struct FrontEnd<const R: usize> {
    /// For which messages are answered.
    pub table: Arc<Table>,
    /// What the back-end offers.
    pub bounds: Bounds,
    /// What it does first.
    pub steps: Vec<Step>,
    /// What it may send then, at any time; a message without a number with those that make sense for it.
    pub then: Vec<(MessageId, Option<Number>)>,
    /// A feature bit that is not offered, and that the message table does not know.
    pub not_offered: u64,
    /// It awaits the acknowledgement that the text demands of a message without need_reply.
    pub awaits_unasked: bool,
}

impl<const R: usize> FrontState<R> {
    /// The rings in the state that it writes.
    fn written(&self) -> RingImages {
        self.images.map_or_else(RingImages::default, |images| RingImages::of(images.rings))
    }

    /// Counts a ring's indices from the next request on.
    fn forget(&mut self, ring: usize) {
        let base = &mut self.bases[ring];
        (base.used, base.available) = (base.used.wrapping_sub(1), base.available.wrapping_sub(1));
        base.index = base.index.saturating_sub(1);
        self.image = self.image.saturating_sub(1);
        if let Some(images) = &mut self.images {
            images.rings[ring].base = images.rings[ring].base.saturating_sub(1);
        }
    }
}

impl<const R: usize> FrontEnd<R> {
    fn current(&self, s: &FrontState<R>) -> Option<&Step> {
        self.steps.get(s.step as usize)
    }

    /// The next step; one that waits for something already seen is over at once.
    fn advance(&self, mut s: FrontState<R>) -> FrontState<R> {
        s.step += 1;
        while s.read && self.current(&s) == Some(&Step::ReadState) {
            s.step += 1;
        }
        s
    }

    /// Whether a message has no reply by its interpretation, although it has one by another.
    fn expects_none(&self, id: MessageId) -> bool {
        let def = &self.table.messages[id.0 as usize];
        def.unanswered.is_some() && def.reply.is_none()
    }

    /// Whether it awaits a reply to this message.
    fn awaits(&self, m: &Message) -> bool {
        let def = &self.table.messages[m.id.0 as usize];
        let unasked = def.acknowledged && self.awaits_unasked;
        let acknowledges = self.bounds.protocol >> self.table.reply_ack & 1 == 1;
        def.reply.is_some() || (acknowledges && (m.need_reply || unasked))
    }

    /// Whether a message of the back-end's own has an answer.
    fn answers_own(&self, m: &BackEndMessage) -> bool {
        let always = self.table.back_end.get(m.id.0 as usize).is_some_and(|d| d.reply.is_some());
        always || (m.need_reply && self.bounds.protocol >> self.table.reply_ack & 1 == 1)
    }

    fn message(&self, s: &FrontState<R>, id: MessageId, ring: u8, number: Number) -> Message {
        let value = match number {
            Number::Literal(value) => value,
            Number::Saved => u64::from(s.bases[ring as usize].index),
            Number::Used => u64::from(s.bases[ring as usize].used),
            Number::Available => u64::from(s.bases[ring as usize].available),
            Number::Offered => self.bounds.features & !(1 << LOG_ALL),
            Number::Logging => self.bounds.features,
            Number::Plain => self.bounds.features & !F_PROTOCOL_FEATURES,
            Number::ProtocolOffered => self.bounds.protocol,
        };
        Message { id, ring, value: Value(value), need_reply: false }
    }

    /// The event of the current step, if it is one that this party makes.
    fn does(&self, s: &FrontState<R>) -> Option<Event> {
        if s.waiting || s.gave_up {
            return None;
        }
        match *self.current(s)? {
            Step::Send { id, ring, number, need_reply } => {
                let message = self.message(s, id, ring, number);
                Some(Event::Message(Message { need_reply, ..message }))
            }
            Step::Kick { ring } => Some(Event::Kick { ring, front_end: true }),
            Step::Vcpus { run } => Some(Event::Vcpus { run }),
            Step::WriteState => Some(Event::Loaded { value: s.image, rings: s.written() }),
            Step::WritePart => Some(Event::Cut),
            Step::HandOver => Some(Event::HandedOver),
            Step::Until { id, .. } => {
                Some(Event::Message(self.message(s, id, 0, Number::Literal(0))))
            }
            Step::Copy { log } => Some(Event::Copied { log }),
            Step::Renew { ring } => Some(Event::Renew { ring, index: 0 }),
            Step::Successor { died } => Some(Event::Successor { died }),
            Step::ReadState => None,
        }
    }

    /// Whether it puts this message into the socket now.
    fn sends(&self, s: &FrontState<R>, event: &Event) -> bool {
        let driving = self.current(s).is_none() && !s.waiting && !s.gave_up;
        let mut may = false;
        if driving {
            self.may(s, &mut |message| may |= Event::Message(message) == *event);
        }
        may || self.does(s) == Some(*event)
    }

    /// What the permissive driver may send: sensible numbers for what each message does.
    fn may(&self, s: &FrontState<R>, f: &mut dyn FnMut(Message)) {
        for (id, number) in &self.then {
            let def = &self.table.messages[id.0 as usize];
            let has = |effect| def.rows.iter().any(|row| row.receive.contains(&effect));
            let rings = if def.names_ring() { R as u8 } else { 1 };
            for ring in 0..rings {
                let mut send = |number| f(self.message(s, *id, ring, number));
                let toggles = def.request == PayloadKind::U64 && def.guarded_by(Guard::Zero);
                if let Some(number) = number {
                    send(*number);
                } else if has(Effect::SetBase) {
                    send(Number::Saved);
                } else if has(Effect::SetEnabled) || has(Effect::SetStatus) || toggles {
                    send(Number::Literal(0));
                    send(Number::Literal(1));
                } else if has(Effect::SetFeatures) || has(Effect::SetProtocolFeatures) {
                    let offered = match has(Effect::SetFeatures) {
                        true => Number::Offered,
                        false => Number::ProtocolOffered,
                    };
                    [Number::Literal(0), offered, Number::Literal(self.not_offered)]
                        .into_iter()
                        .for_each(send);
                } else {
                    send(Number::Literal(0));
                }
            }
        }
    }
}

impl<const R: usize> Machine for FrontEnd<R> {
    type State = FrontState<R>;
    type Event = Event;

    fn name(&self) -> &'static str {
        "front-end"
    }

    fn plays(&self, party: Party) -> bool {
        party == FRONT_END
    }

    fn initial(&self) -> FrontState<R> {
        FrontState {
            step: 0,
            waiting: false,
            gave_up: false,
            bases: [Base::default(); R],
            status: 0,
            read: false,
            image: 0,
            images: None,
            asked: Queue::default(),
        }
    }

    fn sent(&self, s: &FrontState<R>, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        let Event::Message(m) = event else { return Ok(Reaction::Ignore) };
        if !self.sends(s, event) {
            return Ok(Reaction::Disabled);
        }
        let mut next = *s;
        let def = &self.table.messages[m.id.0 as usize];
        if def.rows.iter().any(|row| row.receive.contains(&Effect::SetStatus)) {
            next.status = m.value.0 as u8;
        }
        // What is read from now on is another state.
        next.read &= !def.begins_transfer();
        next.waiting = self.awaits(m);
        let over = !next.waiting && self.current(s).is_some();
        Ok(Reaction::To(if over { self.advance(next) } else { next }))
    }

    fn on(&self, s: &FrontState<R>, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        let mut next = *s;
        match *event {
            Event::Reply { id, .. } if self.expects_none(id) => next.gave_up = true,
            Event::Reply { .. } if s.gave_up => return Ok(Reaction::Ignore),
            Event::Reply { id, ring, value, .. } => {
                let answer = self.table.messages[id.0 as usize].answer;
                if answer == Some(Answer::Base) {
                    next.bases[ring as usize].index = value.0 as u16;
                }
                next.waiting = false;
                let asks_again = match self.current(s) {
                    Some(Step::Until { number, .. }) => *number != value.0,
                    step => step.is_none(),
                };
                if s.waiting && !asks_again {
                    next = self.advance(next);
                }
            }
            Event::Saved { value, rings } => {
                next.read = true;
                next.image = value;
                next.images = rings.rings().map(|rings| Images { rings });
                if self.current(s) == Some(&Step::ReadState) {
                    next = self.advance(next);
                }
            }
            Event::Used { ring, .. } => {
                let base = &mut next.bases[ring as usize];
                base.used = base.used.wrapping_add(1);
            }
            Event::Available { ring } => {
                let base = &mut next.bases[ring as usize];
                base.available = base.available.wrapping_add(1);
            }
            Event::Forgotten { ring } => next.forget(ring as usize),
            Event::HandedOver if self.does(s) == Some(*event) => {
                let known = |base: Base| Base { index: 0, ..base };
                next = FrontState { step: s.step, bases: s.bases.map(known), ..self.initial() };
                next = self.advance(next);
            }
            Event::Renew { ring, index } => {
                let base = &mut next.bases[ring as usize];
                (base.used, base.available) = (index, index);
                if self.does(s) == Some(*event) {
                    next = self.advance(next);
                }
            }
            Event::Message(_) => return Ok(Reaction::Ignore),
            Event::BackEndMessage(m) => {
                match self.answers_own(&m).then(|| s.asked.push(Asked { id: m.id })) {
                    Some(Some(asked)) => next.asked = asked,
                    _ => return Ok(Reaction::Ignore),
                }
            }
            Event::BackEndAnswer { id, .. } if s.asked.head() == Some(&Asked { id }) => {
                next.asked = s.asked.pop();
            }
            Event::BackEndAnswer { .. } => return Ok(Reaction::Disabled),
            Event::Successor { .. } if self.does(s) == Some(*event) => {
                next.asked = Queue::default();
                next = self.advance(next);
            }
            own if self.does(s) == Some(own) => next = self.advance(next),
            own if own.owner() == FRONT_END => return Ok(Reaction::Disabled),
            _ => return Ok(Reaction::Ignore),
        }
        Ok(Reaction::To(next))
    }

    fn stimuli(&self, s: &FrontState<R>, f: &mut dyn FnMut(Stimulus<Event>)) {
        if let Some(asked) = s.asked.head() {
            f(Stimulus::Guarded(Event::BackEndAnswer {
                id: asked.id,
                value: Value(0),
                descriptors: 0,
            }));
        }
        if self.current(s).is_none() && !s.waiting && !s.gave_up {
            return self.may(s, &mut |message| f(Stimulus::Guarded(Event::Message(message))));
        }
        if let Some(event) = self.does(s) {
            f(Stimulus::Unguarded(event));
        }
    }

    fn domain(&self, f: &mut dyn FnMut(Event)) {
        for (id, number) in &self.then {
            let own = if let Some(Number::Literal(own)) = number { *own } else { 0 };
            let (features, protocol) = (self.bounds.features, self.bounds.protocol);
            for ring in 0..R as u8 {
                for value in [0, 1, 2, 3, features, protocol, self.not_offered, own] {
                    let value = Value(value);
                    f(Event::Message(Message { id: *id, ring, value, need_reply: false }));
                }
            }
        }
        for index in 0..self.table.back_end.len() as u8 {
            let id = MessageId(index);
            f(Event::BackEndAnswer { id, value: Value(0), descriptors: 0 });
        }
        (0..R as u8).for_each(|ring| f(Event::Kick { ring, front_end: true }));
        [false, true].into_iter().for_each(|run| f(Event::Vcpus { run }));
        (0..8).for_each(|value| f(Event::Loaded { value, rings: RingImages::default() }));
        [Event::Cut, Event::HandedOver].into_iter().for_each(&mut *f);
        (0..3).for_each(|log| f(Event::Copied { log }));
    }

    /// How far the program is and what it wrote, its messages tell.
    fn describe(&self, s: &FrontState<R>) -> Map<String, Json> {
        let mut fields = serde_json::to_value(s).unwrap_or_default();
        if let Some(fields) = fields.as_object_mut() {
            fields
                .retain(|name, _| !["step", "waiting", "status", "asked"].contains(&name.as_str()));
            // The indices in guest memory, its ring tells; most states say nothing of rings.
            for base in fields["bases"].as_array_mut().into_iter().flatten() {
                base.as_object_mut().map(|base| (base.remove("used"), base.remove("available")));
            }
            if s.images.is_none() {
                fields.remove("images");
            }
        }
        Map::from_iter([(self.name().to_owned(), fields)])
    }

    fn at_end(&self, s: &FrontState<R>) -> bool {
        self.current(s).is_none() && !s.gave_up
    }

    fn waits(&self, s: &FrontState<R>, f: &mut dyn FnMut(String)) {
        let Some(step) = self.current(s) else { return };
        let at = format!("step {} of {} of its program", s.step + 1, self.steps.len());
        let what = match step {
            Step::Send { id, .. } | Step::Until { id, .. } if s.waiting => {
                format!("the reply to {}", self.table.messages[id.0 as usize].name)
            }
            Step::ReadState => "the end of the state channel".to_owned(),
            _ => "its turn".to_owned(),
        };
        f(format!("the front-end waits for {what}, at {at}"));
    }
}
