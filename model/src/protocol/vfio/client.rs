//! The client with a program, guest memory, and the guest that may boot anew: who is around a device.
//!
//! The steps there are: [`STEPS`].
//!
//! **Invariant.** A program has no branches: it ends when a SET fails, and what it reads decides only
//! how often it reads again.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::event::{Act, Answer, CLIENT, Call, Data, Event, For, GUEST, PageSize, Ranges, Region};
use super::names::ClientWrites;
use super::table::Table;
use crate::protocol::program::unknown_step;
use crate::spec::{ChoiceOf, Diagnostics, Item, Spanned, did_you_mean, with_help};
use devmig_engine::machine::{Machine, Party, Reaction, Stimulus, Verdict};
use devmig_engine::packed;
use devmig_engine::rules::RuleContext;

/// What a step can be, and what it means (shown by `devmig proposal words`).
pub const STEPS: &[(&str, &str)] = &[
    ("device set STATE", "SET the state, and wait for the answer; a failure ends the program"),
    ("device set STATE if there", "SET the state if the device supports it"),
    ("other STEP", "take the step for the second device"),
    ("device get", "GET"),
    ("device info", "GET_PRECOPY_INFO"),
    ("device opt in", "SET PRECOPY_INFOv2"),
    ("device read out", "read migration data until none remains (for now)"),
    (
        "transfer",
        "read from the first device and write to the second until no data remains (for now)",
    ),
    ("transfer short", "transfer, but lose the last piece"),
    ("transfer wrong", "transfer, but replace the last piece by another device's"),
    ("log start", "LOGGING_START for all of memory"),
    ("log report", "LOGGING_REPORT, and mark the pages"),
    ("log stop", "LOGGING_STOP"),
    ("copy all", "copy every page of guest memory"),
    ("copy marked", "copy the pages that are marked"),
    ("device reset", "VFIO_DEVICE_RESET, for a new client"),
    ("reopen", "the client closes the device, and another opens it"),
];

/// What a client may do when its program has ended (`then`).
pub const THEN: &[(&str, &str)] = &[
    ("set", "SET to any state, and to a number that is not a state"),
    ("get", "GET"),
    ("read", "read migration data"),
    ("write", "write migration data of any kind"),
    ("info", "GET_PRECOPY_INFO"),
    ("opt-in", "SET PRECOPY_INFOv2"),
    ("access", "access configuration space or registers"),
    ("log", "LOGGING_START, _STOP and _REPORT, with good and bad arguments"),
    ("reset", "VFIO_DEVICE_RESET"),
];

/// What becomes of the last piece in a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// It arrives.
    Whole,
    /// It is lost.
    Short,
    /// Another arrives.
    Wrong,
}

/// One step of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A call at a device.
    Call(u8, Call),
    /// Read there until there is no more.
    ReadOut(u8),
    /// Read at the first, write at the second.
    Transfer(Channel),
    /// Copy every page.
    CopyAll,
    /// Copy what is marked.
    CopyMarked,
}

impl Step {
    /// The steps of one line; none, if a device lacks what is only done `if there`.
    pub fn compile<T>(
        table: &Table,
        flags: [u64; 2],
        item: &Item<T>,
        line: &Spanned<String>,
        d: &mut Diagnostics,
    ) -> Option<Step> {
        let text = line.get_ref().as_str();
        let words: Vec<&str> = text.split_whitespace().collect();
        let (device, rest) = match words.as_slice() {
            ["device", rest @ ..] => (0, rest),
            ["other", rest @ ..] => (1, rest),
            rest => (0, rest),
        };
        Some(match rest {
            ["set", name, there @ ..] if there.is_empty() || there == ["if", "there"] => {
                let Some(state) = table.named(name) else {
                    let error =
                        item.error(line.span(), format!("no state is called `{name}`"), "unknown");
                    let names = table.states.iter().map(|state| state.name.as_str());
                    d.push(with_help(error, did_you_mean(name, names)));
                    return None;
                };
                let has = table.supports(flags[usize::from(device)], state.value);
                if !has && !there.is_empty() {
                    return None;
                }
                Step::Call(device, Call::Set(state.value))
            }
            ["get"] => Step::Call(device, Call::Get),
            ["info"] => Step::Call(device, Call::Info),
            ["opt", "in"] => Step::Call(device, Call::OptIn),
            ["reset"] => Step::Call(device, Call::Reset(For::Client)),
            ["reopen"] => Step::Call(device, Call::Reopen),
            ["read", "out"] => Step::ReadOut(device),
            ["transfer"] => Step::Transfer(Channel::Whole),
            ["transfer", "short"] => Step::Transfer(Channel::Short),
            ["transfer", "wrong"] => Step::Transfer(Channel::Wrong),
            ["log", "start"] => Step::Call(0, Call::LogStart(Ranges::All)),
            ["log", "report"] => Step::Call(0, Call::LogReport(PageSize::Good)),
            ["log", "stop"] => Step::Call(0, Call::LogStop),
            ["copy", "all"] => Step::CopyAll,
            ["copy", "marked"] => Step::CopyMarked,
            _ => {
                unknown_step(item, line, STEPS.iter().map(|(step, _)| *step), d);
                return None;
            }
        })
    }
}

/// Nothing is known of a device's state.
pub const UNKNOWN: u8 = 15;

/// What the client remembers.
#[packed]
pub struct ClientState {
    /// Steps done.
    #[bits(5)]
    pub step: u8,
    /// The call that it waits for.
    pub waits: Option<Call>,
    /// At which device.
    #[bits(1)]
    pub device: u8,
    /// A piece that was read and is to be written.
    pub held: Option<Call>,
    /// Where it takes the first device to be; [`UNKNOWN`] after a failure.
    #[bits(4)]
    pub belief: u8,
    /// ... the second.
    #[bits(4)]
    pub belief_other: u8,
    /// Where the first device was before the last SET.
    #[bits(4)]
    pub origin: u8,
    /// Where that SET was to lead.
    #[bits(5)]
    pub target: u8,
    /// A SET failed.
    pub failed: bool,
    /// The guest is to be booted anew.
    pub reset_due: bool,
    /// Pages that are marked.
    #[bits(2)]
    pub marked: u64,
    /// Pages of the present step that are not copied yet.
    #[bits(2)]
    pub left: u64,
    /// The present step has begun to copy.
    pub copying: bool,
    /// What is to be read was told in this session.
    pub told: bool,
    /// ... initial bytes.
    #[bits(2)]
    pub initial: u64,
    /// Data was read in this session.
    pub has: bool,
    /// ... that tells of this state inside.
    #[bits(2)]
    pub got: u8,
}

/// A client that does these steps, and then anything of `then`.
#[derive(Clone, Debug)]
pub struct Client {
    /// The states.
    pub table: Arc<Table>,
    /// Its program.
    pub steps: Vec<Step>,
    /// What it may do afterwards, of [`THEN`].
    pub then: Vec<&'static str>,
    /// Where the devices are at first.
    pub begins: [u8; 2],
    /// How many pages there are.
    pub pages: u8,
    /// `vfio-user.log.client-writes`
    pub client_writes: ChoiceOf<ClientWrites>,
}

/// A number that is no state.
const NO_STATE: u8 = 16;

impl Client {
    fn all_pages(&self) -> u64 {
        (1 << self.pages) - 1
    }

    fn step(&self, s: &ClientState) -> Option<Step> {
        self.steps.get(usize::from(s.step)).copied()
    }

    /// The calls that it makes now.
    fn calls(&self, s: &ClientState, f: &mut dyn FnMut(u8, Call)) {
        if s.waits.is_some() {
            return;
        }
        if s.reset_due {
            return f(0, Call::Reset(For::Guest));
        }
        match self.step(s) {
            Some(Step::Call(device, call)) => f(device, call),
            Some(Step::ReadOut(device)) => f(device, Call::Read),
            Some(Step::Transfer(_)) => match s.held {
                Some(write) => f(1, write),
                None => f(0, Call::Read),
            },
            Some(Step::CopyAll | Step::CopyMarked) => {}
            None => self.then.iter().for_each(|what| self.anything(what, &mut |call| f(0, call))),
        }
    }

    fn anything(&self, what: &str, f: &mut dyn FnMut(Call)) {
        match what {
            "set" => {
                self.table.states.iter().for_each(|state| f(Call::Set(state.value)));
                f(Call::Set(NO_STATE));
            }
            "get" => f(Call::Get),
            "read" => f(Call::Read),
            "write" => [Data::Part(0), Data::Last(0), Data::Last(1), Data::Wrong]
                .into_iter()
                .for_each(|piece| f(Call::Write(piece))),
            "info" => f(Call::Info),
            "opt-in" => f(Call::OptIn),
            "access" => [Region::Config, Region::Registers]
                .into_iter()
                .for_each(|region| f(Call::Access(region))),
            "log" => {
                for ranges in [Ranges::All, Ranges::None, Ranges::Bad] {
                    f(Call::LogStart(ranges));
                }
                f(Call::LogStop);
                for size in [PageSize::Good, PageSize::Small, PageSize::Odd] {
                    f(Call::LogReport(size));
                }
            }
            _ => f(Call::Reset(For::Client)),
        }
    }

    fn pages_of(&self, s: &ClientState) -> u64 {
        match (s.copying, self.step(s)) {
            (true, _) => s.left,
            (false, Some(Step::CopyAll)) => self.all_pages(),
            _ => s.marked,
        }
    }

    /// A step that has nothing to copy is over at once.
    fn skips(&self, s: &ClientState) -> bool {
        matches!(self.step(s), Some(Step::CopyMarked)) && !s.copying && s.marked == 0
    }

    /// The next state, at a step that does something.
    fn settled(&self, mut s: ClientState) -> ClientState {
        while self.skips(&s) {
            s.step += 1;
        }
        s
    }

    fn called(&self, s: &ClientState, device: u8, call: Call) -> Reaction<ClientState> {
        let mut expected = false;
        self.calls(s, &mut |at, mine| expected |= (at, mine) == (device, call));
        if !expected {
            return Reaction::Disabled;
        }
        let mut next = ClientState { waits: Some(call), device, ..*s };
        if let Call::Set(to) = call
            && device == 0
        {
            (next.origin, next.target) = (s.belief, to);
        }
        Reaction::To(next)
    }

    fn answered(&self, s: &ClientState, device: u8, answer: Answer) -> Reaction<ClientState> {
        let Some(call) = s.waits.filter(|_| s.device == device) else { return Reaction::Ignore };
        let mut next = ClientState { waits: None, ..*s };
        let mut over = true;
        match (call, answer) {
            (Call::Set(to), Answer::Done | Answer::DoneWithDescriptor) => {
                if answer == Answer::DoneWithDescriptor && device == 0 {
                    (next.told, next.has, next.initial, next.got) = (false, false, 0, 0);
                }
                next.failed = false;
                self.believe(&mut next, device, to);
            }
            (Call::Set(_), _) => {
                self.believe(&mut next, device, UNKNOWN);
                next.failed = true;
                // What is left of the program is not done.
                next.step = self.steps.len() as u8;
                over = false;
            }
            (Call::Get, Answer::State(at)) => self.believe(&mut next, device, at),
            (Call::Read, Answer::Data(piece)) => {
                over = false;
                if let Data::Part(value) | Data::Last(value) = piece
                    && device == 0
                {
                    (next.has, next.got) = (true, value);
                }
                if let Some(Step::Transfer(channel)) = self.step(s) {
                    let last = matches!(piece, Data::Last(_));
                    let sent = match channel {
                        Channel::Short if last => None,
                        Channel::Wrong if last => Some(Data::Wrong),
                        _ => Some(piece),
                    };
                    next.held = sent.map(Call::Write);
                }
            }
            (Call::Write(_), _) => {
                over = false;
                next.held = None;
            }
            (Call::Info, Answer::Info(initial, ..)) => (next.told, next.initial) = (true, initial),
            (Call::LogReport(_), Answer::Pages(pages)) => next.marked |= pages,
            (Call::Reset(For::Guest), _) => {
                over = false;
                next.reset_due = false;
            }
            (Call::Reset(For::Client) | Call::Reopen, _) => {
                self.believe(&mut next, device, UNKNOWN);
                next.failed = false;
                (next.told, next.has, next.initial, next.got) = (false, false, 0, 0);
            }
            _ => {}
        }
        if over && self.step(s).is_some() {
            next.step += 1;
        }
        Reaction::To(self.settled(next))
    }

    fn believe(&self, s: &mut ClientState, device: u8, at: u8) {
        let belief = if device == 0 { &mut s.belief } else { &mut s.belief_other };
        *belief = at;
    }

    fn copied(&self, s: &ClientState, page: u8) -> Reaction<ClientState> {
        let left = self.pages_of(s);
        let copies = matches!(self.step(s), Some(Step::CopyAll | Step::CopyMarked));
        if !copies || s.waits.is_some() || s.reset_due || left >> page & 1 == 0 {
            return Reaction::Disabled;
        }
        let left = left & !(1 << page);
        let mut next = ClientState { left, copying: left != 0, ..*s };
        if !s.copying {
            next.marked = 0;
        }
        if left == 0 {
            next.step += 1;
        }
        Reaction::To(self.settled(next))
    }
}

impl Machine for Client {
    type State = ClientState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "client"
    }

    fn plays(&self, party: Party) -> bool {
        party == CLIENT
    }

    fn initial(&self) -> ClientState {
        let [belief, belief_other] = self.begins;
        self.settled(ClientState {
            step: 0,
            waits: None,
            device: 0,
            held: None,
            belief,
            belief_other,
            origin: belief,
            target: belief,
            failed: false,
            reset_due: false,
            marked: 0,
            left: 0,
            copying: false,
            told: false,
            initial: 0,
            has: false,
            got: 0,
        })
    }

    fn on(&self, s: &ClientState, event: &Event, judge: &mut RuleContext) -> Verdict<Self> {
        Ok(match event.act {
            Act::Call(call) => self.called(s, event.device, call),
            Act::Answer(answer) => self.answered(s, event.device, answer),
            Act::Copy(page) => self.copied(s, page),
            Act::Reboot => Reaction::To(ClientState { reset_due: true, ..*s }),
            Act::WriteByClient(page)
                if self.client_writes.taken(judge)? == ClientWrites::Client =>
            {
                Reaction::To(ClientState { marked: s.marked | 1 << page, ..*s })
            }
            _ => Reaction::Ignore,
        })
    }

    fn stimuli(&self, s: &ClientState, f: &mut dyn FnMut(Stimulus<Event>)) {
        let program = self.step(s).is_some() || s.reset_due;
        self.calls(s, &mut |device, call| {
            let event = Event { device, act: Act::Call(call) };
            f(if program { Stimulus::Unguarded(event) } else { Stimulus::Guarded(event) });
        });
        if matches!(self.step(s), Some(Step::CopyAll | Step::CopyMarked)) {
            let left = self.pages_of(s);
            for page in (0..self.pages).filter(|page| left >> page & 1 == 1) {
                f(Stimulus::Unguarded(Event { device: 0, act: Act::Copy(page) }));
            }
        }
    }

    /// How far the program is, its calls tell.
    fn describe(&self, s: &ClientState) -> Map<String, Value> {
        let name = |at: u8| match at {
            UNKNOWN => "unknown".to_owned(),
            at => self.table.name(at),
        };
        let mut fields = serde_json::json!({ "belief": name(s.belief), "marked": s.marked });
        if let (true, Some(fields)) = (s.reset_due, fields.as_object_mut()) {
            fields.insert("reset_due".into(), Value::from(true));
        }
        Map::from_iter([(self.name().to_owned(), fields)])
    }

    fn at_end(&self, s: &ClientState) -> bool {
        s.waits.is_none() && self.step(s).is_none() && !s.reset_due
    }
}

/// What is in guest memory, as far as its copy is concerned.
#[packed]
pub struct MemoryState {
    /// Pages whose copy is not what they hold: bit `page`.
    #[bits(2)]
    pub stale: u64,
}

/// Guest memory, with this many pages.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// How many.
    pub pages: u8,
}

impl Machine for Memory {
    type State = MemoryState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "memory"
    }

    fn initial(&self) -> MemoryState {
        MemoryState { stale: (1 << self.pages) - 1 }
    }

    fn on(&self, s: &MemoryState, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        Ok(match event.act {
            Act::Write(page) | Act::WriteByClient(page) => {
                Reaction::To(MemoryState { stale: s.stale | 1 << page })
            }
            Act::Copy(page) => Reaction::To(MemoryState { stale: s.stale & !(1 << page) }),
            _ => Reaction::Ignore,
        })
    }
}

/// What the guest may still do.
#[packed]
pub struct GuestState {
    /// So often it may boot anew.
    #[bits(1)]
    pub reboots: u8,
}

/// The guest.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// How often it may boot anew.
    pub reboots: u8,
}

impl Machine for Guest {
    type State = GuestState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "guest"
    }

    fn plays(&self, party: Party) -> bool {
        party == GUEST
    }

    fn initial(&self) -> GuestState {
        GuestState { reboots: self.reboots }
    }

    fn on(&self, s: &GuestState, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        Ok(match event.act {
            Act::Reboot if s.reboots == 0 => Reaction::Disabled,
            Act::Reboot => Reaction::To(GuestState { reboots: s.reboots - 1 }),
            _ => Reaction::Ignore,
        })
    }

    fn stimuli(&self, _: &GuestState, f: &mut dyn FnMut(Stimulus<Event>)) {
        f(Stimulus::Guarded(Event { device: 0, act: Act::Reboot }));
    }

    fn domain(&self, f: &mut dyn FnMut(Event)) {
        f(Event { device: 0, act: Act::Reboot });
    }
}
