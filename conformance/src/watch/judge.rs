//! Judges the events of a conversation, one after the other.
//!
//! ```text
//!   event --form--> meaning --possible states--> findings about its sender
//! ```
//!
//! A finding does not end a judgement: the clause is excused for that one event, whatever its reader
//! made of it is taken as possible, and the next event is judged. Where no meaning is left (a message
//! that cannot be read, an answer that no state allows under any clause) judgement of what depends on
//! the conversation ends, and the report says so; the form of messages is judged to the end.
//!
//! What passes on the back-end's own channel is judged by the same states. Nobody in between can tell
//! in which order two sockets were written to, so a message there counts as one of a suspended device
//! only if the device was so before its last answer: what was written before that was seen before it.
//!
//! **Invariants.** The same events give the same findings. Memory is bounded: findings are counted by
//! clause, and only the first of each is kept whole.

use std::collections::{BTreeMap, VecDeque};

use devmig_engine::clause::ClauseId;
use devmig_engine::estimate::{Fault, StateEstimate};
use devmig_engine::explore::trace::label;
use devmig_engine::machine::TimeClass;
use devmig_engine::rules::{ClauseSet, Rules};
use devmig_model::protocol::vhost_user::event::{BACK_END, Event as Protocol, FRONT_END};
use devmig_model::protocol::vhost_user::form::{self, FormLaws, Raw, definition};
use devmig_model::protocol::vhost_user::machine::MAX_RINGS;
use devmig_model::protocol::vhost_user::mapped::{Mapped, MappedLaws};
use devmig_model::protocol::vhost_user::monitor::{Monitor, MonitorLaws, Seen};
use devmig_model::protocol::vhost_user::table::MessageDef;
use devmig_model::protocol::vhost_user::vocabulary::Effect;
use devmig_model::protocol::vhost_user::wire::{Header, Payload};
use devmig_model::registry::Library;
use devmig_model::spec::SpecErrors;

use super::record::{Channel, Event, Said, Side, What};
use super::report::{Finding, Report};

/// How many events before a finding are shown.
const LAST: usize = 12;
/// How long an answer may be owed at the end, in milliseconds. Draining a slow disk takes its time.
const PATIENCE: u64 = 30_000;
/// Kinds of messages that were not judged, at most.
const MAX_KINDS: usize = 64;
/// Answers to messages that the table lacks, at most.
const MAX_FOREIGN: usize = 256;

/// By what a conversation is judged.
#[derive(Debug)]
pub struct Law {
    /// Everything that is loaded.
    pub library: Library,
    /// The machine.
    pub machine: Monitor<MAX_RINGS>,
    /// The clauses of form.
    pub form: FormLaws,
    /// The clauses about payloads that no state holds.
    pub mapped: MappedLaws,
    /// The rules, with what is pinned.
    pub rules: Rules,
    /// The version of the text.
    pub text: String,
}

impl Law {
    /// A library's.
    ///
    /// # Errors
    /// If the specification lacks a clause of form.
    pub fn new(library: Library, rules: Rules, text: &str) -> Result<Self, SpecErrors> {
        let form = FormLaws::resolve(&library.spec)?;
        let mapped = MappedLaws::resolve(&library.spec)?;
        let laws = MonitorLaws::resolve(&library.spec)?;
        let machine = Monitor { machine: library.vhost_user().tester(), laws };
        Ok(Law { library, machine, form, mapped, rules, text: text.to_owned() })
    }
}

/// Judges one conversation.
#[derive(Debug)]
pub struct Judge<'l> {
    law: &'l Law,
    possible: StateEstimate<'l, Monitor<MAX_RINGS>>,
    mapped: Mapped,
    findings: Vec<Finding>,
    last: VecDeque<String>,
    /// Requests of ids that the table lacks, and that may be answered.
    foreign: Vec<u32>,
    /// What was not judged, and how often.
    unjudged: BTreeMap<String, u64>,
    /// Why what depends on the conversation is no longer judged.
    over: Option<String>,
    /// The front-end has broken a rule: its back-end may close.
    offended: bool,
    /// The back-end has a channel of its own, and was suspended before its last answer.
    channel: bool,
    settled: bool,
    /// A message on that channel broke a rule: whether it is to be answered, no text says.
    unheard: bool,
    events: u64,
    messages: u64,
    /// When the last message passed.
    spoken: u64,
    ended: Option<String>,
}

impl<'l> Judge<'l> {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(law: &'l Law) -> Self {
        Judge {
            law,
            possible: StateEstimate::watching(&law.machine, law.rules),
            mapped: Mapped::default(),
            findings: Vec::new(),
            last: VecDeque::new(),
            foreign: Vec::new(),
            unjudged: BTreeMap::new(),
            over: None,
            offended: false,
            channel: false,
            settled: false,
            unheard: false,
            events: 0,
            messages: 0,
            spoken: 0,
            ended: None,
        }
    }

    /// The next event.
    pub fn take(&mut self, event: &Event) {
        self.events += 1;
        match &event.what {
            What::Said(said) => {
                self.messages += 1;
                self.spoken = event.ms;
                self.said(said);
            }
            What::Indices { ring, available, used, resumes } => {
                let (ring, available, used, resumes) = (*ring, *available, *used, *resumes);
                if usize::from(ring) < MAX_RINGS {
                    self.observe(&Seen::Indices { ring, available, used, resumes }, Side::BackEnd);
                }
            }
            What::Closed(side) => self.closed(*side),
            What::Ends(why) => {
                if self.ended.is_none() {
                    self.waited(event.ms);
                    self.ended = Some(why.clone());
                }
            }
        }
    }

    /// The verdict on all that was taken.
    #[must_use]
    pub fn report(mut self) -> Report {
        if self.ended.is_none() {
            self.ended = Some("the recording ends".into());
        }
        let spec = &self.law.library.spec;
        let readings = self.possible.readings(spec.choices().len());
        let readings = readings.into_iter().map(|(choice, options)| {
            let count = spec.get_choice(choice).map_or(0, |c| c.options.len());
            let options = options.into_iter().filter(|option| usize::from(*option) < count);
            let options = options.map(|o| spec.option_name(choice, o).to_owned()).collect();
            (spec.choice_name(choice).to_owned(), options)
        });
        Report {
            schema: 1,
            text: self.law.text.clone(),
            messages: self.messages,
            events: self.events,
            readings: readings.collect(),
            findings: self.findings,
            unjudged: self.unjudged.into_iter().collect(),
            over: self.over,
            ended: self.ended.unwrap_or_default(),
        }
    }

    fn say(&mut self, from: Side, text: &str) {
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        let arrow = if from == Side::FrontEnd { "->" } else { "<-" };
        self.last.push_back(format!("{arrow} {text}"));
    }

    fn skip(&mut self, what: String) {
        if self.unjudged.len() < MAX_KINDS || self.unjudged.contains_key(&what) {
            *self.unjudged.entry(what).or_default() += 1;
        }
    }

    /// What depends on the conversation is judged no further.
    fn give_up(&mut self, why: String) {
        if self.over.is_none() {
            let n = self.events;
            self.over = Some(format!("from event {n} on: {why}"));
        }
    }

    fn said(&mut self, said: &Said) {
        let Some((head, payload)) = said.bytes.split_first_chunk::<{ Header::LEN }>() else {
            self.say(said.from, &format!("{} bytes of a header", said.bytes.len()));
            return;
        };
        let header = Header::decode(*head);
        let raw = Raw { header, payload, descriptors: said.fds, late: said.late };
        let whole = u64::from(header.size) == payload.len() as u64;
        if !whole && said.omitted == 0 {
            self.say(said.from, &format!("a part of message {}", header.request));
            return;
        }
        match (said.channel, said.from) {
            (Channel::BackEnd, from) => self.own(from, raw),
            (Channel::Main, Side::FrontEnd) => self.request(raw),
            (Channel::Main, Side::BackEnd) => self.reply(raw),
        }
    }

    /// A message on the back-end's own channel.
    fn own(&mut self, from: Side, raw: Raw<'_>) {
        let machine = &self.law.machine.machine;
        let party = if from == Side::FrontEnd { FRONT_END } else { BACK_END };
        let Some(event) = form::own(&machine.table, MAX_RINGS, party, raw) else {
            let what = format!("message {} on the back-end's channel", raw.header.request);
            self.say(from, &what);
            self.skip(format!("{what}, which is not in the table or has no meaning"));
            return;
        };
        let event = Seen::Event(event);
        if self.over.is_some() || (self.unheard && from == Side::FrontEnd) {
            self.say(from, &label(&self.law.machine, &event));
            return;
        }
        let mut off = ClauseSet::default();
        if !self.settled {
            off.insert(machine.laws.told_while_suspended);
        }
        let before = self.findings.iter().map(|f| f.times).sum::<u64>();
        self.observe_without(&event, from, off);
        self.unheard |= self.findings.iter().map(|f| f.times).sum::<u64>() > before;
    }

    fn request(&mut self, raw: Raw<'_>) {
        let table = &self.law.machine.machine.table;
        let mut form = form::request(table, &self.law.form, MAX_RINGS, raw);
        if let (Some(_), Some((_, def))) = (form.event, definition(table, raw.header.request))
            && let Ok(payload) = Payload::decode(def.request, raw.payload)
            && let Some((clause, wrong)) = self.mapped.take(&self.law.mapped, &def.name, &payload)
            && !self.law.rules.off.contains(clause)
        {
            form.faults.push((clause, format!("{}: {wrong}", def.name)));
            self.offended = true;
        }
        let known = definition(table, raw.header.request).map(|(_, def)| def.name.clone());
        let opens =
            |def: &MessageDef| def.rows.iter().any(|row| row.receive.contains(&Effect::SetChannel));
        self.channel |= definition(table, raw.header.request).is_some_and(|(_, def)| opens(def));
        if let Some(message) = form.event {
            let event = Seen::Event(Protocol::Message(message));
            self.say(Side::FrontEnd, &label(&self.law.machine, &event));
            self.faults(&form.faults, Side::FrontEnd);
            if self.over.is_none() {
                self.possible.send(event);
                self.offences();
            }
            return;
        }
        let name = known.clone().unwrap_or_else(|| format!("message {}", raw.header.request));
        self.say(Side::FrontEnd, &name);
        let must = form.faults.iter().any(|(clause, _)| *clause != self.law.form.first_byte);
        self.faults(&form.faults, Side::FrontEnd);
        if must {
            self.offended = true;
            self.give_up(format!(
                "the specification does not say how a back-end treats a malformed {name}"
            ));
        } else if known.is_some() {
            self.give_up(format!(
                "{name} names a ring beyond the {MAX_RINGS} that the monitor follows"
            ));
        } else {
            if self.foreign.len() < MAX_FOREIGN {
                self.foreign.push(raw.header.request);
            }
            self.skip(format!("{name}, which is not in the message table"));
        }
    }

    fn reply(&mut self, raw: Raw<'_>) {
        let table = &self.law.machine.machine.table;
        let id = raw.header.request;
        if definition(table, id).is_none()
            && let Some(at) = self.foreign.iter().position(|asked| *asked == id)
        {
            self.foreign.remove(at);
            self.say(Side::BackEnd, &format!("answers message {id}"));
            return;
        }
        let form = form::reply(table, &self.law.form, MAX_RINGS, raw);
        if let Some(event) = form.event {
            let machine = &self.law.machine;
            self.settled = self.channel
                && self.possible.every(|s, _| Ok(machine.suspended(s))).is_ok_and(|every| every);
            self.observe(&Seen::Event(event), Side::BackEnd);
            self.offences();
            return;
        }
        self.say(Side::BackEnd, &format!("answers message {id}"));
        self.faults(&form.faults, Side::BackEnd);
        self.give_up("a reply has no meaning".into());
    }

    fn faults(&mut self, faults: &[(ClauseId, String)], by: Side) {
        for (clause, observed) in faults {
            if !self.law.rules.off.contains(*clause) {
                self.find(by, *clause, observed, &[]);
            }
        }
    }

    /// What the front-end has sent and what no state allows.
    fn offences(&mut self) {
        let before = self.possible.beyond();
        while self.over.is_none() {
            match self.possible.offence() {
                Ok(None) => {
                    if !before && self.possible.beyond() {
                        let n = self.events;
                        self.skip(format!(
                            "after event {n} the specification may be silent; not judged further"
                        ));
                    }
                    return;
                }
                Ok(Some(clause)) => {
                    self.offended = true;
                    let observed = self
                        .possible
                        .furthest_message()
                        .map_or_else(String::new, |event| label(&self.law.machine, event));
                    self.find(Side::FrontEnd, clause, &observed, &[]);
                    self.possible.excuse(clause);
                }
                Err(fault) => self.give_up(fault.to_string()),
            }
        }
    }

    /// The back-end did something.
    fn observe(&mut self, event: &Seen, by: Side) {
        self.observe_without(event, by, ClauseSet::default());
    }

    /// One of the parties did something that is seen at once; these clauses are not held against it.
    fn observe_without(&mut self, event: &Seen, by: Side, mut off: ClauseSet) {
        let observed = label(&self.law.machine, event);
        self.say(by, &observed);
        while self.over.is_none() {
            match self.possible.observe_without(event, &off) {
                Ok(()) => return,
                Err(Fault::Broken { clauses, .. })
                    if clauses.is_empty()
                        && matches!(event, Seen::Event(Protocol::BackEndMessage(_))) =>
                {
                    self.give_up(
                        "more back-end requests are pending than the monitor follows".into(),
                    );
                }
                Err(Fault::Broken { clauses, allowed }) => {
                    let clause = clauses.into_iter().find(|clause| !off.contains(*clause));
                    self.find(by, clause.unwrap_or(ClauseId::NONE), &observed, &allowed);
                    match clause {
                        Some(clause) => off.insert(clause),
                        None => self.give_up(format!("no possible state allows it: {observed}")),
                    }
                }
                Err(fault) => self.give_up(fault.to_string()),
            }
        }
    }

    fn closed(&mut self, side: Side) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(format!("the {side} closed the connection"));
        // Whose partner has broken a rule may close.
        if side == Side::BackEnd && !self.offended {
            self.observe(&Seen::Event(Protocol::Close), Side::BackEnd);
        } else {
            self.say(side, "closes the connection");
        }
    }

    /// An answer that is owed for long.
    fn waited(&mut self, now: u64) {
        let waited = now.saturating_sub(self.spoken);
        if self.over.is_some() || self.offended || waited < PATIENCE {
            return;
        }
        if let Err(Fault::Broken { clauses, allowed }) = self.possible.silent(TimeClass::Reply) {
            let clause = clauses.first().copied().unwrap_or(ClauseId::NONE);
            let observed = format!("nothing within {} s", waited / 1000);
            let bound = self.law.library.spec.get(clause).map(|clause| clause.party.as_str());
            let owes = if bound == Some(FRONT_END.0) { Side::FrontEnd } else { Side::BackEnd };
            self.find(owes, clause, &observed, &allowed);
        }
    }

    fn find(&mut self, party: Side, clause: ClauseId, observed: &str, allowed: &[String]) {
        let spec = &self.law.library.spec;
        let id = spec.clause_name(clause).to_owned();
        if let Some(known) = self.findings.iter_mut().find(|f| f.party == party && f.clause == id) {
            known.times += 1;
            return;
        }
        let said = spec.get(clause);
        self.findings.push(Finding {
            party,
            clause: id,
            level: said.map(|clause| clause.level.to_string()).unwrap_or_default(),
            text: said.map(|clause| clause.text.trim().to_owned()).unwrap_or_default(),
            event: self.events,
            observed: observed.to_owned(),
            allowed: allowed.to_vec(),
            said: self.last.iter().cloned().collect(),
            times: 1,
        });
    }
}
