//! The tester's set: what each observation, silence and choice leaves possible, and that it never
//! cries wolf on a behaviour of the model itself.

#![allow(clippy::unwrap_used)]

use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::compose::{Action, Closed, Outcome};
use devmig_engine::estimate::{Fault, StateEstimate};
use devmig_engine::machine::{
    Channel, Did, Event as _, Machine, Obligation, Owed, Party, Reaction, Step, Stimulus,
    TimeClass, Verdict,
};
use devmig_engine::packed;
use devmig_engine::rules::{Choices, OpenChoice, RuleContext, Rules};
use devmig_model::protocol::example::{self, Act};
use devmig_model::protocol::vhost_user::event::{BACK_END, Event, Message, Value};
use devmig_model::protocol::vhost_user::machine::VhostUser;
use devmig_model::registry::Library;
use devmig_testing::Premises;
use proptest::prelude::*;

use crate::common::{builtin, proposal};

// --- a lamp with a button: each point that its text leaves open, once -----------------------------

const TESTER: Party = Party("tester");
const LAMP: Party = Party("lamp");
/// How much brighter a press makes it: by 1, by 2, not at all.
const STEP: ChoiceId = ChoiceId::new(0);
/// Whether it starts bright.
const BIRTH: ChoiceId = ChoiceId::new(1);
const SHOWS: ClauseId = ClauseId::new(0);
const NOT_TOO_OFTEN: ClauseId = ClauseId::new(1);
const RESET: ClauseId = ClauseId::new(2);
const POLITE: ClauseId = ClauseId::new(3);

#[packed(unqueued)]
#[derive(Default)]
enum Light {
    #[default]
    Press,
    Reset,
    Blink(u8),
    Thanks,
}

impl devmig_engine::machine::Event for Light {
    fn owner(&self) -> Party {
        if matches!(self, Light::Press | Light::Reset) { TESTER } else { LAMP }
    }
    fn channel(&self) -> Channel {
        if self.owner() == TESTER { Channel::Queue(0) } else { Channel::Now }
    }
}

/// What the lamp remembers.
#[packed]
struct LampState {
    /// How bright it is.
    #[bits(4)]
    pub level: u8,
    /// How often it was pressed.
    #[bits(2)]
    pub presses: u8,
    /// It owes a blink.
    pub owes: bool,
    /// Seconds alight; nobody sees them.
    #[bits(32)]
    pub age: u32,
}

/// `ages`: it has a hidden clock that never ends.
struct Lamp {
    ages: bool,
}

impl Machine for Lamp {
    type State = LampState;
    type Event = Light;

    fn name(&self) -> &'static str {
        "lamp"
    }
    fn initial(&self) -> LampState {
        LampState { level: 0, presses: 0, owes: false, age: 0 }
    }
    fn on(&self, s: &LampState, event: &Light, judge: &mut RuleContext) -> Verdict<Self> {
        Ok(match event {
            Light::Press if s.presses == 3 && judge.enforces(NOT_TOO_OFTEN) => {
                Reaction::Violation(NOT_TOO_OFTEN)
            }
            Light::Press => {
                let by = [1, 2, 0][judge.choice(STEP)? as usize];
                let bright = if s.presses == 0 { 8 * judge.choice(BIRTH)? } else { 0 };
                let level = s.level + by + bright;
                Reaction::To(LampState { level, presses: s.presses + 1, owes: true, ..*s })
            }
            Light::Reset => Reaction::Unspecified(RESET),
            Light::Blink(_) if !s.owes => Reaction::Disabled,
            Light::Blink(level) if *level != s.level && judge.enforces(SHOWS) => {
                Reaction::Violation(SHOWS)
            }
            Light::Blink(_) => Reaction::To(LampState { owes: false, ..*s }),
            Light::Thanks => Reaction::Ignore,
        })
    }
    fn owes(&self, s: &LampState, _: &mut RuleContext) -> Result<Owed, OpenChoice> {
        Ok(Owed::NONE.with_if(s.owes, 0).with_if(!s.owes && s.presses > 0, 1))
    }
    fn obligation(&self, index: u32) -> Obligation {
        let (clause, class, what) = match index {
            0 => (SHOWS, TimeClass::Reply, "blink"),
            _ => (POLITE, TimeClass::Courtesy, "thanks"),
        };
        Obligation { by: LAMP, clause, class, what }
    }
    fn discharges(&self, _: &LampState, _: &Did<Light>) -> Owed {
        Owed::NONE
    }
    fn hidden(
        &self,
        s: &LampState,
        _: &mut RuleContext,
        f: &mut dyn FnMut(Step, LampState),
    ) -> Result<(), OpenChoice> {
        if self.ages {
            f(Step::alone(LAMP, "a second"), LampState { age: s.age + 1, ..*s });
        }
        Ok(())
    }
    fn stimuli(&self, s: &LampState, f: &mut dyn FnMut(Stimulus<Light>)) {
        f(Stimulus::Guarded(Light::Blink(s.level)));
    }
}

/// Every option is open, except that [`BIRTH`] has two and [`STEP`] three.
fn open() -> Rules {
    let choices = Choices::default().limit(STEP, 3).limit(BIRTH, 2);
    Rules { choices, ..Rules::default() }
}

fn fixed() -> Rules {
    open().fixing(STEP, 0).fixing(BIRTH, 0)
}

const OLD: Lamp = Lamp { ages: true };
const NEW: Lamp = Lamp { ages: false };

fn broken(result: Result<(), Fault>) -> (Vec<ClauseId>, Vec<String>) {
    match result {
        Err(Fault::Broken { clauses, allowed }) => (clauses, allowed),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_may_be_read_now_or_later_but_not_never() {
    let mut set = StateEstimate::new(&NEW, fixed());
    set.silent(TimeClass::Io).unwrap();
    set.send(Light::Press);
    // Not read yet, and so nothing to show: but silence would mean that it is never read.
    assert!(!set.may_be_silent(TimeClass::Reply).unwrap());
    assert_eq!(set.len(), 2);
    set.observe(&Light::Thanks).unwrap();
    assert_eq!(set.len(), 2, "which both allow");
    set.observe(&Light::Blink(1)).unwrap();
    assert_eq!(set.len(), 1, "which only one that has read does");
    set.silent(TimeClass::Io).unwrap();
}

#[test]
fn what_is_not_allowed_names_the_clause_and_what_was_allowed() {
    let mut set = StateEstimate::new(&NEW, fixed());
    let (clauses, allowed) = broken(set.observe(&Light::Blink(1)));
    assert_eq!(clauses, [], "not broken, only impossible");
    assert_eq!(allowed, ["silence"]);
    set.send(Light::Press);
    let (clauses, allowed) = broken(set.observe(&Light::Blink(2)));
    assert_eq!(clauses, [SHOWS]);
    assert_eq!(allowed, ["Blink(1)"]);
    // A finding leaves the set as it was.
    set.observe(&Light::Blink(1)).unwrap();
}

#[test]
fn silence_is_judged_by_its_class_and_its_clause() {
    let mut set = StateEstimate::new(&NEW, fixed());
    set.send(Light::Press);
    let (clauses, _) = broken(set.silent(TimeClass::Reply));
    // The furthest candidate owes a blink, the other has not read.
    assert_eq!(clauses, [SHOWS]);
    set.observe(&Light::Blink(1)).unwrap();
    set.silent(TimeClass::Io).unwrap();
    assert_eq!(broken(set.silent(TimeClass::Courtesy)).0, [POLITE]);
    let mut waived = StateEstimate::new(&NEW, fixed().without(SHOWS));
    waived.send(Light::Press);
    waived.silent(TimeClass::Io).unwrap();
    assert!(waived.hits.contains(SHOWS) || waived.len() == 1);
}

#[test]
fn a_choice_is_split_when_it_is_first_asked_for() {
    let mut set = StateEstimate::new(&NEW, open());
    set.silent(TimeClass::Io).unwrap();
    assert_eq!((set.len(), set.readings(2)), (1, vec![]));
    set.send(Light::Press);
    set.observe(&Light::Thanks).unwrap();
    // Not read, or read under one of three times two readings. The unread one is split as well.
    assert_eq!(set.readings(2), [(STEP, vec![0, 1, 2]), (BIRTH, vec![0, 1])]);
    set.observe(&Light::Blink(2)).unwrap();
    assert_eq!(set.readings(2), [(STEP, vec![1]), (BIRTH, vec![0])]);
}

#[test]
fn an_option_that_was_excluded_stays_excluded() {
    let mut set = StateEstimate::new(&NEW, open());
    set.send(Light::Press);
    set.observe(&Light::Blink(1)).unwrap();
    set.send(Light::Press);
    // By 2 was possible for this text, and no longer is for this lamp.
    let (clauses, allowed) = broken(set.observe(&Light::Blink(3)));
    assert_eq!((clauses, allowed), (vec![SHOWS], vec!["Blink(2)".to_owned()]));
    set.observe(&Light::Blink(2)).unwrap();
    assert_eq!(set.readings(2), [(STEP, vec![0]), (BIRTH, vec![0])]);
}

#[test]
fn options_that_nothing_tells_apart_stay_possible() {
    let mut set = StateEstimate::new(&NEW, open().without(SHOWS));
    set.send(Light::Press);
    set.observe(&Light::Blink(1)).unwrap();
    assert_eq!(set.readings(2), [(STEP, vec![0, 1, 2]), (BIRTH, vec![0, 1])]);
    assert!(set.hits.contains(SHOWS));
}

#[test]
fn a_choice_that_is_pinned_is_no_reading() {
    let mut set = StateEstimate::new(&NEW, open().fixing(STEP, 2));
    set.send(Light::Press);
    assert_eq!(broken(set.observe(&Light::Blink(1))).0, [SHOWS]);
    set.observe(&Light::Blink(8)).unwrap();
    assert_eq!(set.readings(2), [(BIRTH, vec![1])]);
}

#[test]
fn a_script_that_breaks_a_rule_is_the_scripts_fault() {
    let mut set = StateEstimate::new(&NEW, fixed());
    for n in 0..3 {
        set.send(Light::Press);
        set.observe(&Light::Blink(n + 1)).unwrap();
    }
    set.send(Light::Press);
    assert_eq!(set.observe(&Light::Blink(4)), Err(Fault::Script { clause: NOT_TOO_OFTEN }));
    let mut set = StateEstimate::new(&NEW, fixed().without(NOT_TOO_OFTEN));
    (0..4).for_each(|_| set.send(Light::Press));
    set.observe(&Light::Blink(4)).unwrap();
}

#[test]
fn where_no_text_says_what_follows_anything_is_allowed() {
    let mut set = StateEstimate::new(&NEW, fixed());
    set.send(Light::Reset);
    set.observe(&Light::Thanks).unwrap();
    assert!(!set.undefined(), "it may not have been read");
    set.observe(&Light::Blink(9)).unwrap();
    assert!(set.undefined());
    assert_eq!(set.allowed(), ["anything: the specification does not say what follows"]);
    set.silent(TimeClass::Courtesy).unwrap();
    set.observe(&Light::Blink(3)).unwrap();
}

#[test]
fn a_set_that_outgrows_its_bound_is_no_verdict() {
    let mut set = StateEstimate::new(&OLD, fixed());
    assert_eq!(set.observe(&Light::Thanks), Err(Fault::TooMany));
    assert_eq!(set.may_be_silent(TimeClass::Io), Err(Fault::TooMany));
}

// --- the opening example --------------------------------------------------------------------------

fn copying() -> example::Copying {
    let clauses = example::Clauses { marks: ClauseId::new(0), silent: ClauseId::new(1) };
    example::system(clauses, Rules::default())
}

#[test]
fn hidden_steps_are_taken_unseen() {
    let system = copying();
    let mut set = StateEstimate::new(&system.closed.machine, Rules::default());
    set.did(&Act::Read(0)).unwrap();
    // Nobody saw that the value was fetched.
    set.observe(&Act::Write(1)).unwrap();
    let (clauses, allowed) = broken(set.observe(&Act::Write(1)));
    assert_eq!(clauses, []);
    assert_eq!(allowed, ["Read(1)", "Stop", "Write(2)"]);
    assert_eq!(set.did(&Act::Done), Err(Fault::Script { clause: ClauseId::NONE }));
    assert_eq!(broken(set.silent(TimeClass::Io)).0, []);
    set.silent(TimeClass::Reply).unwrap();
    for act in [Act::Stop, Act::Read(1), Act::Done] {
        set.did(&act).unwrap();
    }
    set.silent(TimeClass::Io).unwrap();
}

// --- vhost-user -----------------------------------------------------------------------------------

/// The machine with two rings, as a tester has it: every choice open.
fn two_rings(library: &Library) -> VhostUser<2> {
    let def = library.vhost_user().systems.named("vhost-user/two-rings").unwrap();
    library.vhost_user().system::<2, 2, 7>(def, Rules::default()).closed.machine.0
}

fn open_choices(library: &Library) -> Rules {
    Rules { choices: library.spec.open(), ..Rules::default() }
}

struct Talk<'a> {
    library: &'a Library,
    set: StateEstimate<'a, VhostUser<2>>,
}

impl<'a> Talk<'a> {
    fn new(library: &'a Library, machine: &'a VhostUser<2>, rules: Rules) -> Self {
        Talk { library, set: StateEstimate::new(machine, rules) }
    }

    fn event(&self, name: &str, ring: u8, value: u64) -> Message {
        let id = self.library.vhost_user().table.named(name).unwrap();
        Message { id, ring, value: Value(value), need_reply: false }
    }

    fn send(&mut self, name: &str, ring: u8, value: u64) {
        let message = self.event(name, ring, value);
        self.set.send(Event::Message(message));
    }

    fn answer(&mut self, name: &str, ring: u8, value: u64) -> Result<(), Fault> {
        let Message { id, ring, value, .. } = self.event(name, ring, value);
        self.set.observe(&Event::Reply { id, ring, value, descriptors: 0 })
    }

    /// Both rings, set up and enabled.
    fn set_up(&mut self) {
        self.send("GET_FEATURES", 0, 0);
        self.answer("GET_FEATURES", 0, 1 << 30).unwrap();
        self.send("SET_FEATURES", 0, 1 << 30);
        for ring in 0..2 {
            self.send("SET_VRING_NUM", ring, 2);
            self.send("SET_VRING_BASE", ring, 0);
            self.send("SET_VRING_KICK", ring, 0);
            self.send("SET_VRING_ENABLE", ring, 1);
        }
        self.drain();
    }

    /// A barrier: all that was sent before was read.
    fn drain(&mut self) {
        self.send("GET_FEATURES", 0, 0);
        self.answer("GET_FEATURES", 0, 1 << 30).unwrap();
    }

    fn clause(&self, id: ClauseId) -> &str {
        self.library.spec.clause_name(id)
    }

    fn clauses(&self, result: Result<(), Fault>) -> Vec<&str> {
        broken(result).0.into_iter().map(|id| self.clause(id)).collect()
    }

    fn reading(&self, choice: &str) -> Option<Vec<&str>> {
        let id = self.library.spec.choice(choice).unwrap();
        let all = self.set.readings(self.library.spec.choices().len());
        let (_, options) = all.into_iter().find(|(choice, _)| *choice == id)?;
        Some(options.into_iter().map(|option| self.library.spec.option_name(id, option)).collect())
    }
}

const IN_FLIGHT: &str = "vhost-user.get-vring-base.in-flight";

#[test]
fn a_ring_is_not_used_before_its_kick_and_after_its_stop() {
    let library = builtin();
    let machine = two_rings(&library);
    let rules = Rules { choices: library.spec.defaults(), ..Rules::default() };
    let mut talk = Talk::new(&library, &machine, rules);
    talk.set_up();
    talk.set.did(&Event::Available { ring: 1 }).unwrap();
    let result = talk.set.observe(&Event::Used { ring: 1, request: 0 });
    assert_eq!(talk.clauses(result), ["vhost-user.ring.stopped-not-processed"]);
    talk.set.silent(TimeClass::Io).unwrap();
    talk.set.did(&Event::Kick { ring: 1, front_end: false }).unwrap();
    assert!(!talk.set.may_be_silent(TimeClass::Io).unwrap());
    talk.set.observe(&Event::Used { ring: 1, request: 0 }).unwrap();
    let result = talk.set.observe(&Event::Used { ring: 1, request: 0 });
    assert_eq!(talk.clauses(result), ["vhost-user.ring.request-completed-once"]);
    let result = talk.set.observe(&Event::Used { ring: 1, request: 1 });
    assert_eq!(talk.clauses(result), ["vhost-user.ring.available-only"]);
    talk.send("GET_VRING_BASE", 1, 0);
    let result = talk.answer("GET_VRING_BASE", 1, 0);
    let base = "vhost-user.get-vring-base.base-is-next-available";
    assert!(talk.clauses(result).contains(&base));
    let result = talk.answer("GET_VRING_BASE", 0, 1);
    assert!(talk.clauses(result).contains(&"vhost-user.reply.payload"));
    talk.answer("GET_VRING_BASE", 1, 1).unwrap();
    talk.set.silent(TimeClass::Io).unwrap();
}

#[test]
fn silence_breaks_what_is_owed_once_all_that_is_hidden_has_happened() {
    let library = builtin();
    let machine = two_rings(&library);
    let rules = Rules { choices: library.spec.defaults(), ..Rules::default() };
    let mut talk = Talk::new(&library, &machine, rules);
    talk.set_up();
    talk.send("SET_VRING_ERR", 1, 0);
    talk.drain();
    // Ring 0 is kicked and empty: whether the kick was read is hidden, and nothing waits for it.
    talk.set.did(&Event::Kick { ring: 0, front_end: false }).unwrap();
    talk.set.silent(TimeClass::Courtesy).unwrap();
    talk.set.did(&Event::Kick { ring: 0, front_end: false }).unwrap();
    talk.set.did(&Event::Available { ring: 1 }).unwrap();
    talk.set.did(&Event::Kick { ring: 1, front_end: false }).unwrap();
    talk.set.observe(&Event::Used { ring: 1, request: 0 }).unwrap();
    talk.set.did(&Event::RunAhead { ring: 1 }).unwrap();
    talk.set.did(&Event::Kick { ring: 1, front_end: false }).unwrap();
    let result = talk.set.silent(TimeClass::Courtesy);
    let (clauses, expected) = broken(result);
    let clauses: Vec<&str> = clauses.into_iter().map(|id| talk.clause(id)).collect();
    assert!(!clauses.contains(&"vhost-user.ring.started-processes"), "{clauses:?}");
    assert!(clauses.contains(&"vhost-user.err.signalled"), "{clauses:?}");
    assert!(!expected.contains(&"request processed".to_owned()), "{expected:?}");
}

#[test]
fn the_base_that_comes_back_tells_the_readings_apart() {
    let library = builtin();
    let machine = two_rings(&library);
    for (used_first, base, options) in [
        (true, 1, vec!["drain", "abandon", "rewind"]),
        (false, 1, vec!["abandon"]),
        (false, 0, vec!["drain", "abandon", "rewind"]),
    ] {
        let mut talk = Talk::new(&library, &machine, open_choices(&library));
        talk.set_up();
        talk.set.did(&Event::Available { ring: 0 }).unwrap();
        talk.set.did(&Event::Kick { ring: 0, front_end: false }).unwrap();
        if used_first {
            talk.set.observe(&Event::Used { ring: 0, request: 0 }).unwrap();
        }
        talk.send("GET_VRING_BASE", 0, 0);
        talk.answer("GET_VRING_BASE", 0, base).unwrap();
        assert_eq!(talk.reading(IN_FLIGHT), Some(options), "{used_first} {base}");
    }
}

#[test]
fn a_back_end_that_once_abandoned_may_not_drain_later() {
    let library = builtin();
    let machine = two_rings(&library);
    let mut talk = Talk::new(&library, &machine, open_choices(&library));
    talk.set_up();
    for ring in 0..2 {
        talk.set.did(&Event::Available { ring }).unwrap();
        talk.set.did(&Event::Kick { ring, front_end: false }).unwrap();
    }
    talk.send("GET_VRING_BASE", 0, 0);
    talk.answer("GET_VRING_BASE", 0, 1).unwrap();
    assert_eq!(talk.reading(IN_FLIGHT), Some(vec!["abandon"]));
    // The other ring: what it had fetched was dropped when the message was read, so nothing may be
    // used after the answer.
    talk.send("GET_VRING_BASE", 1, 0);
    talk.answer("GET_VRING_BASE", 1, 1).unwrap();
    let result = talk.set.observe(&Event::Used { ring: 1, request: 0 });
    assert!(!broken(result).0.is_empty());
    assert_eq!(talk.reading(IN_FLIGHT), Some(vec!["abandon"]));
}

#[test]
fn an_answer_to_nothing_is_never_allowed() {
    let library = builtin();
    let machine = two_rings(&library);
    let mut talk = Talk::new(&library, &machine, open_choices(&library));
    let result = talk.answer("GET_FEATURES", 0, 0);
    assert_eq!(talk.clauses(result), ["vhost-user.reply.unasked"]);
    talk.send("GET_FEATURES", 0, 0);
    let result = talk.set.silent(TimeClass::Reply);
    assert_eq!(talk.clauses(result), ["vhost-user.reply.must"]);
    let result = talk.set.observe(&Event::Close);
    assert_eq!(talk.clauses(result), ["vhost-user.connection.close-exceptional"]);
}

#[test]
fn a_message_of_no_negotiated_feature_is_the_scripts_fault() {
    let library = builtin();
    let machine = two_rings(&library);
    let mut talk = Talk::new(&library, &machine, open_choices(&library));
    talk.send("GET_STATUS", 0, 0);
    let clause = library.spec.clause("vhost-user.message.gated").unwrap();
    assert_eq!(talk.set.silent(TimeClass::Io), Err(Fault::Script { clause }));
}

// --- soundness: no behaviour of the model is a finding ----------------------------------------------

/// One thing that a tester sees, and whether nothing may follow it for a while.
#[derive(Clone, Copy, Debug)]
struct Seen<E> {
    action: Action<E>,
    rests: bool,
}

/// A walk of a closed system by these numbers, as a tester beside it sees it.
fn walk<M: Machine, const Q: usize, const N: usize>(
    closed: &Closed<M, Q, N>,
    numbers: &[u8],
) -> Vec<Seen<M::Event>> {
    let mut world = closed.initial();
    let mut seen = Vec::new();
    for number in numbers {
        let mut next = Vec::new();
        let each = &mut |action, outcome| {
            if let Outcome::To(to) = outcome {
                next.push((action, to));
            }
        };
        closed.successors(&world, each).unwrap();
        if next.is_empty() {
            break;
        }
        let (action, to) = next[*number as usize % next.len()];
        world = to;
        if let Action::Now(_) | Action::Send(_) = action {
            seen.push(Seen { action, rests: false });
        }
        let owed = closed.owes(&world).unwrap();
        let rests = owed.iter().all(|o| closed.obligation(o).class == TimeClass::Courtesy);
        if let Some(last) = seen.last_mut() {
            last.rests |= rests;
        }
    }
    seen
}

/// The first event of a walk that the tester does not accept.
fn wolf<M: Machine>(
    machine: &M,
    rules: Rules,
    walk: &[Seen<M::Event>],
    own: impl Fn(&M::Event) -> bool,
    premises: &Premises,
) -> Option<(usize, Fault)> {
    let mut set = StateEstimate::new(machine, rules);
    let found = walk.iter().enumerate().find_map(|(n, seen)| {
        match &seen.action {
            Action::Now(event) if own(event) => premises.met("an output"),
            Action::Now(_) | Action::Send(_) => premises.met("a stimulus"),
            Action::Read(_) | Action::Hidden(_) => {}
        }
        if seen.rests {
            premises.met("silence");
        }
        let result = match &seen.action {
            Action::Send(event) => {
                set.send(*event);
                Ok(())
            }
            Action::Now(event) if own(event) => set.observe(event),
            Action::Now(event) => set.did(event),
            Action::Read(_) | Action::Hidden(_) => Ok(()),
        };
        let silence = |()| if seen.rests { set.clone().silent(TimeClass::Io) } else { Ok(()) };
        let result = result.and_then(silence);
        Some((n, result.err()?))
    });
    premises.holds("judged to its end", found.is_none());
    found
}

/// Walks are judged to their ends, not cut short by a script at fault, and have all that is judged.
fn walks_say_something(premises: &Premises) {
    premises.at_least("judged to its end", 80);
    premises.each(["an output", "a stimulus", "silence"], 100);
}

fn cries_wolf(
    library: &Library,
    system: &str,
    open: bool,
    numbers: &[u8],
    premises: &Premises,
) -> Option<String> {
    let def = library.vhost_user().systems.named(system).unwrap();
    let rules = library.rules(def);
    let judged = Rules { choices: if open { library.spec.open() } else { rules.choices }, ..rules };
    let own = |event: &Event| event.owner() == BACK_END;
    let (found, told) = match def.rings {
        1 => {
            let closed = library.vhost_user().system::<1, 2, 5>(def, rules).closed;
            let walk = walk(&closed, numbers);
            (wolf(&closed.machine.0, judged, &walk, own, premises), format!("{walk:#?}"))
        }
        _ => {
            let closed = library.vhost_user().system::<2, 2, 7>(def, rules).closed;
            let walk = walk(&closed, numbers);
            (wolf(&closed.machine.0, judged, &walk, own, premises), format!("{walk:#?}"))
        }
    };
    // A front-end that breaks a rule under one of several readings, or whose program is known to,
    // ends the script; that says nothing of the back-end.
    let script = |fault: &Fault| match fault {
        Fault::Script { clause } => open || def.common.expect.breaks.contains(clause),
        _ => false,
    };
    let found = found.filter(|(_, fault)| !script(fault));
    found.map(|(n, fault)| format!("{system}, open: {open}, event {n}: {fault:?} in {told}"))
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn no_walk_of_the_example_is_a_finding() {
    let premises = Premises::new();
    let numbers = prop::collection::vec(any::<u8>(), 4..30);
    let cases = ProptestConfig { cases: 1000, ..cases() };
    proptest!(cases, |(numbers in numbers)| {
        let system = copying();
        let walk = walk(&system.closed, &numbers);
        let own = |event: &Act| matches!(event, Act::Write(_));
        let found = wolf(&system.closed.machine, Rules::default(), &walk, own, &premises);
        prop_assert_eq!(found, None);
    });
    walks_say_something(&premises);
}

/// Walks of any of a library's systems, with its choices fixed and with all of them open.
fn no_walk_is_a_finding(library: &Library) {
    let premises = Premises::new();
    let walks =
        (prop::collection::vec(any::<u8>(), 40..120), any::<bool>(), any::<prop::sample::Index>());
    proptest!(cases(), |((numbers, open, pick) in walks)| {
        let def = pick.get(&library.vhost_user().systems);
        let found = cries_wolf(library, &def.common.name, open, &numbers, &premises);
        prop_assert_eq!(found, None);
    });
    walks_say_something(&premises);
}

#[test]
fn no_walk_of_a_vhost_user_system_is_a_finding() {
    no_walk_is_a_finding(&builtin());
}

#[test]
fn no_walk_of_the_proposal_is_a_finding() {
    no_walk_is_a_finding(&proposal("suspend"));
}
