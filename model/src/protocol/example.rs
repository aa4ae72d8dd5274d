//! The smallest migration there is: a page is copied while a device writes it.
//!
//! ```text
//!   Device                     Page (guest memory)            Copier
//!   | fetch: a value comes in  |                              |
//!   |                          |<---------- Read(value) ------|  a call: the page fixes the value
//!   |------- Write(value) ---->|                              |
//!   |------- Write(value) ------------- the same event ------>|  ... which marks the copy as dirty
//!   |<------------------------ Stop --------------------------|
//!   |                          |<---------- Read(value) ------|  while it is dirty
//!   |                          |                              | Done
//! ```
//!
//! Everything that a protocol of this project needs is here once: three **participants**, an
//! **event** that two others see at the same instant (`Write`), a **call** in which the callee fixes
//! what comes back (`Read`), a **hidden step** (`fetch`), two **clauses** that can be dropped, an
//! **obligation**, and **properties**. What is not here: a queue between parties, a choice that a
//! text leaves open, a party that breaks a rule.
//!
//! A write that happens after the page was read makes the copy stale. If the copier does not notice
//! (the clause `marks` dropped), the copy is not the page, and a shortest trace shows it.

use super::definition::{InCode, SystemList, Systems};
use super::input::Input;
use super::registration::Protocol;
use super::size::{BadScale, Bound, Scale};
use crate::spec::{Diagnostics, ItemKind, Spec, SpecErrors};
use devmig_engine::clause::ClauseId;
use devmig_engine::compose::{Closed, GlobalStateOf};
use devmig_engine::explore::Check;
use devmig_engine::machine::{
    Did, Event, Kind, Machine, Obligation, Owed, Party, Reaction, Step, Stimulus, TimeClass,
    Verdict,
};
use devmig_engine::packed;
use devmig_engine::rules::{OpenChoice, RuleContext, Rules};
use devmig_engine::system;
use devmig_engine::system::{Expect, Expected, Property, System, Transition};

const DEVICE: Party = Party("device");
const PAGE: Party = Party("page");
const COPIER: Party = Party("copier");
/// Values are numbered in the order in which the device fetches them; the page begins with 0.
const LAST: u8 = 2;

/// What bounds each system: how many values the device fetches.
pub const BOUNDS: [Bound; 1] = [Bound::new("values", LAST as u16, (1, 3))];

/// What the participants do to each other.
#[packed(unqueued)]
#[derive(Default)]
pub enum Act {
    /// The device writes a value into the page.
    Write(u8),
    /// The copier reads the page, and this value comes back.
    Read(u8),
    /// The copier stops the device.
    Stop,
    /// The copier says that the copy is complete.
    #[default]
    Done,
}

impl Event for Act {
    fn owner(&self) -> Party {
        if let Act::Write(_) = self { DEVICE } else { COPIER }
    }
    fn kind(&self) -> Kind {
        if let Act::Read(_) = self { Kind::Call { callee: PAGE } } else { Kind::Output }
    }
}

crate::clause_ids! {
    /// The two sentences of this protocol.
    pub struct Clauses {
        /// A write after the page was read marks the copy as dirty.
        marks: "example.copier.marks-writes",
        /// A stopped device does not write.
        silent: "example.device.stopped-is-silent",
    }
}

/// What the device remembers.
#[packed]
pub struct Device {
    /// How many values it has fetched.
    #[bits(2)]
    pub fetched: u8,
    /// The value to be written; 0 if none.
    #[bits(2)]
    pub buffer: u8,
    /// Whether it was stopped.
    pub stopped: bool,
}
/// What the page remembers.
#[packed]
pub struct Page {
    /// Its content.
    #[bits(2)]
    pub value: u8,
}
/// What the copier remembers.
#[packed]
pub struct Copier {
    /// Its copy of the page.
    #[bits(2)]
    pub value: u8,
    /// Whether the page must be read (again).
    pub dirty: bool,
    /// Whether it has stopped the device.
    pub stopped: bool,
    /// Whether it says that the copy is complete.
    pub done: bool,
}

/// The device: fetches so many values, and writes them until it is stopped.
#[derive(Clone, Copy, Debug)]
pub struct DeviceRules(Clauses, u8);
/// Guest memory: the only place that holds the page.
#[derive(Clone, Copy, Debug)]
pub struct PageRules;
/// The copier, of a page that holds such values: reads, stops the device, reads again while dirty, and is done.
#[derive(Clone, Copy, Debug)]
pub struct CopierRules(Clauses, u8);

impl Machine for DeviceRules {
    type State = Device;
    type Event = Act;

    fn name(&self) -> &'static str {
        "device"
    }
    fn plays(&self, party: Party) -> bool {
        party == DEVICE
    }
    fn initial(&self) -> Device {
        Device { fetched: 0, buffer: 0, stopped: false }
    }
    fn on(&self, s: &Device, event: &Act, judge: &mut RuleContext) -> Verdict<Self> {
        Ok(match event {
            Act::Write(_) if s.stopped && judge.enforces(self.0.silent) => Reaction::Disabled,
            Act::Write(value) if s.buffer != *value || *value == 0 => Reaction::Disabled,
            Act::Write(_) => Reaction::To(Device { buffer: 0, ..*s }),
            Act::Stop => Reaction::To(Device { stopped: true, ..*s }),
            Act::Read(_) | Act::Done => Reaction::Ignore,
        })
    }
    fn hidden(
        &self,
        s: &Device,
        _: &mut RuleContext,
        f: &mut dyn FnMut(Step, Device),
    ) -> Result<(), OpenChoice> {
        if s.buffer == 0 && s.fetched < self.1 && !s.stopped {
            let fetched = s.fetched + 1;
            f(Step::alone(DEVICE, "fetch"), Device { fetched, buffer: fetched, ..*s });
        }
        Ok(())
    }
    fn stimuli(&self, s: &Device, f: &mut dyn FnMut(Stimulus<Act>)) {
        f(Stimulus::Guarded(Act::Write(s.buffer)));
    }
    fn domain(&self, f: &mut dyn FnMut(Act)) {
        (0..=self.1).map(Act::Write).for_each(f);
    }
    fn at_end(&self, s: &Device) -> bool {
        s.stopped
    }
}

impl Machine for PageRules {
    type State = Page;
    type Event = Act;

    fn name(&self) -> &'static str {
        "page"
    }
    fn plays(&self, party: Party) -> bool {
        party == PAGE
    }
    fn initial(&self) -> Page {
        Page { value: 0 }
    }
    fn on(&self, s: &Page, event: &Act, _: &mut RuleContext) -> Verdict<Self> {
        Ok(match event {
            Act::Write(value) => Reaction::To(Page { value: *value }),
            Act::Read(value) if *value != s.value => Reaction::Disabled,
            _ => Reaction::Ignore,
        })
    }
}

impl Machine for CopierRules {
    type State = Copier;
    type Event = Act;

    fn name(&self) -> &'static str {
        "copier"
    }
    fn plays(&self, party: Party) -> bool {
        party == COPIER
    }
    fn initial(&self) -> Copier {
        Copier { value: 0, dirty: true, stopped: false, done: false }
    }
    fn on(&self, s: &Copier, event: &Act, judge: &mut RuleContext) -> Verdict<Self> {
        Ok(match event {
            Act::Write(_) if !s.dirty && judge.enforces(self.0.marks) => {
                Reaction::To(Copier { dirty: true, ..*s })
            }
            Act::Write(_) => Reaction::Ignore,
            Act::Read(value) if s.dirty => {
                Reaction::To(Copier { value: *value, dirty: false, ..*s })
            }
            Act::Stop if !s.stopped => Reaction::To(Copier { stopped: true, ..*s }),
            Act::Done if s.stopped && !s.dirty && !s.done => {
                Reaction::To(Copier { done: true, ..*s })
            }
            Act::Read(_) | Act::Stop | Act::Done => Reaction::Disabled,
        })
    }
    fn stimuli(&self, _: &Copier, f: &mut dyn FnMut(Stimulus<Act>)) {
        self.domain(&mut |event| f(Stimulus::Guarded(event)));
    }
    fn domain(&self, f: &mut dyn FnMut(Act)) {
        (0..=self.1).map(Act::Read).chain([Act::Stop, Act::Done]).for_each(f);
    }
    fn owes(&self, s: &Copier, _: &mut RuleContext) -> Result<Owed, OpenChoice> {
        Ok(Owed::NONE.with_if(!s.done, 0))
    }
    fn obligation(&self, _: u32) -> Obligation {
        let (clause, class) = (ClauseId::NONE, TimeClass::Io);
        Obligation { by: COPIER, clause, class, what: "a complete copy" }
    }
    fn discharges(&self, _: &Copier, did: &Did<Act>) -> Owed {
        Owed::NONE.with_if(matches!(did, Did::Event(Act::Done)), 0)
    }
    fn at_end(&self, s: &Copier) -> bool {
        s.done
    }
}

/// The composition: no queue, and every state in one word.
pub type Copying = system!((DeviceRules, PageRules, CopierRules));
type GlobalState = GlobalStateOf<(DeviceRules, PageRules, CopierRules), 0, 0>;
type Seen<'a> = Transition<'a, GlobalState, Act>;

/// A page copied while a device writes it, under these rules.
#[must_use]
pub fn system(clauses: Clauses, rules: Rules) -> Copying {
    system_with(clauses, rules, LAST)
}

fn system_with(clauses: Clauses, rules: Rules, values: u8) -> Copying {
    let machine = (DeviceRules(clauses, values), PageRules, CopierRules(clauses, values));
    let done = |w: &GlobalState| w.parts.2.done;
    System {
        name: "example/copy".to_owned(),
        protocol: "example",
        about: "A page is copied while a device writes it.".to_owned(),
        closed: Closed { machine, rules },
        properties: vec![
            Property::at_end("the copy equals the page", |w: &GlobalState| {
                w.parts.2.value == w.parts.1.value
            })
            .by(clauses.marks),
            Property::implies("a stopped device does not write", |t: &Seen| {
                let write = matches!(t.action.event(), Some(Act::Write(_)));
                write.then_some(!t.before.parts.0.stopped)
            })
            .by(clauses.silent),
            Property::reachable("a copied page is written", |t: &Seen| {
                let write = matches!(t.action.event(), Some(Act::Write(_)));
                write && !t.before.parts.2.dirty
            }),
            Property::leads_to(
                "a stopped device is copied",
                |w: &GlobalState| w.parts.0.stopped,
                done,
            ),
        ],
        expect: Expect::default(),
        refinements: vec![],
        environment: vec![],
        symmetry: None,
    }
}

/// What is checked of it: that it works, and why the copier must mark what is written (the same
/// without that clause, whose counterexample the book opens with).
#[must_use]
pub fn systems(clauses: Clauses, rules: Rules) -> [Copying; 2] {
    systems_with(clauses, rules, LAST)
}

fn systems_with(clauses: Clauses, rules: Rules, values: u8) -> [Copying; 2] {
    let mut careless = system_with(clauses, rules.without(clauses.marks), values);
    careless.name = "example/copy-unmarked".to_owned();
    careless.about =
        "A page is copied while a device writes it, by a copier that does not mark writes."
            .to_owned();
    careless.properties[0].expected = Expected::Violated;
    [system_with(clauses, rules, values), careless]
}

/// The example, registered: two systems, made in code.
#[derive(Clone, Debug)]
pub struct Loaded {
    clauses: Clauses,
    systems: Systems<InCode>,
}

impl Protocol for Loaded {
    fn name() -> &'static str {
        "example"
    }

    fn tables() -> Vec<ItemKind> {
        Vec::new()
    }

    fn load(spec: &Spec, _: &mut Input<'_>, _: &mut Diagnostics) -> Result<Self, SpecErrors> {
        let clauses = Clauses::resolve(spec)?;
        let systems = systems(clauses, Rules::default());
        let systems = systems.map(|system| InCode::new(system.name, &BOUNDS)).into_iter().collect();
        Ok(Loaded { clauses, systems })
    }

    fn systems(&self) -> &dyn SystemList {
        &self.systems
    }

    fn build(
        &self,
        name: &str,
        scale: &Scale,
        rules: Rules,
    ) -> Result<Option<Box<dyn Check>>, BadScale> {
        let Some(def) = self.systems.at(name, scale)? else { return Ok(None) };
        let all = systems_with(self.clauses, rules, def.bound("values") as u8);
        let found = all.into_iter().find(|system| system.name == name);
        Ok(found.map(|system| Box::new(system) as _))
    }

    fn properties(&self) -> Vec<&'static str> {
        let system = system(self.clauses, Rules::default());
        system.properties.iter().filter_map(Property::static_name).collect()
    }
}
