//! The explorer on a toy, one behaviour at a time: what is complete, broken, undefined, stuck, owed
//! for ever, open; and that nothing depends on the number of threads.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::compose::Closed;
use devmig_engine::explore::decide::{Choice, decide};
use devmig_engine::explore::report::{PropertyVerdict, Report, Verdict, check};
use devmig_engine::explore::search::{Limits, explore};
use devmig_engine::explore::{Check, Error, Options, trace};
use devmig_engine::laws;
use devmig_engine::machine::{
    Channel, Did, Event, Machine, Obligation, Owed, Party, Reaction, Step, Stimulus, TimeClass,
    Verdict as Says,
};
use devmig_engine::rules::{OpenChoice, RuleContext, Rules};
use devmig_engine::system;
use devmig_engine::system::{Expect, Property, System};
use devmig_engine::{pack, packed};
use serde::Serialize;

const COUNTER: Party = Party("counter");
const SERVER: Party = Party("server");
const OFF_BY_ONE: ClauseId = ClauseId::new(7);
const AFTER_WRAP: ClauseId = ClauseId::new(8);
const REPLIES: ClauseId = ClauseId::new(9);
const WRAP: ChoiceId = ChoiceId::new(0);

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
enum Act {
    /// Now.
    #[default]
    Count,
    /// By queue.
    Request,
    /// Now.
    Reply,
}

impl pack::Pack for Act {
    const BITS: u32 = 2;
    fn pack<const W: usize>(&self, into: &mut pack::Writer<W>) -> Result<(), pack::Overflow> {
        into.put(*self as u64, 2, "act")
    }
    fn unpack<const W: usize>(from: &mut pack::Reader<W>) -> Self {
        [Act::Count, Act::Request, Act::Reply][from.get(2) as usize]
    }
}

impl Event for Act {
    fn owner(&self) -> Party {
        if *self == Act::Reply { SERVER } else { COUNTER }
    }
    fn channel(&self) -> Channel {
        if *self == Act::Request { Channel::Queue(0) } else { Channel::Now }
    }
}

/// All there is.
#[packed]
struct Toy {
    /// Counts.
    #[bits(3)]
    pub n: u8,
    /// A request was read.
    pub owing: bool,
    /// The server is busy with something else.
    pub busy: bool,
}

/// What the toy does.
#[derive(Clone, Copy, Default)]
struct Play {
    /// Counts up to here.
    last: u8,
    /// Counting on from 3 breaks a rule.
    breaks: bool,
    /// What follows the count of 2 hangs on a choice.
    chooses: bool,
    /// Sends a request at 0.
    requests: bool,
    /// The server may be busy, again and again, and then does not reply.
    idles: bool,
    /// ... and replies all the same.
    replies_when_busy: bool,
    /// The counter may not rest before it counted this far.
    rests_from: u8,
    /// `stimuli` forgets the last count.
    forgets: bool,
    /// The counter refuses the server's reply.
    violates_input_enabledness: bool,
}

struct Both(Play);

impl Machine for Both {
    type State = Toy;
    type Event = Act;

    fn name(&self) -> &'static str {
        "toy"
    }
    fn plays(&self, party: Party) -> bool {
        party == COUNTER || party == SERVER && !self.0.violates_input_enabledness
    }
    fn initial(&self) -> Toy {
        Toy { n: 0, owing: false, busy: false }
    }
    fn on(&self, s: &Toy, event: &Act, judge: &mut RuleContext) -> Says<Self> {
        Ok(match event {
            Act::Count if s.n >= self.0.last => Reaction::Disabled,
            Act::Count if s.n == 3 && self.0.breaks && judge.enforces(OFF_BY_ONE) => {
                Reaction::Violation(OFF_BY_ONE)
            }
            Act::Count if s.n == 2 && self.0.chooses && judge.choice(WRAP)? == 1 => {
                Reaction::Unspecified(AFTER_WRAP)
            }
            Act::Count => Reaction::To(Toy { n: s.n + 1, ..*s }),
            Act::Request => Reaction::To(Toy { owing: true, ..*s }),
            Act::Reply if !s.owing || s.busy && !self.0.replies_when_busy => Reaction::Disabled,
            Act::Reply => Reaction::To(Toy { owing: false, n: 1, ..*s }),
        })
    }
    fn sent(&self, s: &Toy, _: &Act, _: &mut RuleContext) -> Says<Self> {
        Ok(if s.n == 0 && !s.owing { Reaction::To(*s) } else { Reaction::Disabled })
    }
    fn owes(&self, s: &Toy, _: &mut RuleContext) -> Result<Owed, OpenChoice> {
        Ok(Owed::NONE.with_if(s.owing, 3))
    }
    fn obligation(&self, _: u32) -> Obligation {
        Obligation { by: SERVER, clause: REPLIES, class: TimeClass::Reply, what: "reply" }
    }
    fn discharges(&self, _: &Toy, did: &Did<Act>) -> Owed {
        Owed::NONE.with_if(*did == Did::Event(Act::Reply), 3)
    }
    fn hidden(
        &self,
        s: &Toy,
        _: &mut RuleContext,
        f: &mut dyn FnMut(Step, Toy),
    ) -> Result<(), OpenChoice> {
        if self.0.idles && s.owing {
            f(Step::alone(SERVER, "turn"), Toy { busy: !s.busy, ..*s });
        }
        Ok(())
    }
    fn stimuli(&self, s: &Toy, f: &mut dyn FnMut(Stimulus<Act>)) {
        if !(self.0.forgets && s.n + 1 == self.0.last) {
            f(Stimulus::Unguarded(Act::Count));
        }
        if self.0.requests {
            f(Stimulus::Guarded(Act::Request));
        }
        f(Stimulus::Guarded(Act::Reply));
    }
    fn domain(&self, f: &mut dyn FnMut(Act)) {
        [Act::Count, Act::Reply].into_iter().for_each(f);
    }
    fn at_end(&self, s: &Toy) -> bool {
        s.n >= self.0.rests_from
    }
}

fn toy(play: Play, rules: Rules) -> system!((Both,), queues = 1, room = 1) {
    System {
        name: "toy".to_owned(),
        protocol: "toy",
        about: "A toy.".to_owned(),
        closed: Closed { machine: (Both(play),), rules },
        properties: vec![],
        expect: Expect::default(),
        refinements: vec![],
        environment: vec![COUNTER],
        symmetry: None,
    }
}

fn run(play: Play) -> Report {
    check(&toy(play, Rules::default()), &Options::default()).unwrap()
}

fn verdict(report: &Report, name: &str) -> PropertyVerdict {
    report.property(name).unwrap().verdict
}

#[test]
fn a_value_that_outgrows_its_field_makes_the_run_incomplete() {
    let report = run(Play { last: 20, ..Play::default() });
    assert_eq!((report.verdict, report.states), (Verdict::Incomplete, 8));
    assert_eq!(report.incomplete.as_deref(), Some("`n` exceeds its packing"));
    let overflow = report.overflow.clone().unwrap();
    assert_eq!(overflow.len(), 8);
    assert_eq!(overflow[7].changed["toy.n"], serde_json::json!([7, 8]));
    assert!(report.properties.iter().all(|p| p.verdict == PropertyVerdict::Unknown));
    assert!(!report.as_expected);
}

#[test]
fn an_initial_state_must_fit() {
    struct Big;
    impl Machine for Big {
        type State = Toy;
        type Event = Act;
        fn name(&self) -> &'static str {
            "big"
        }
        fn initial(&self) -> Toy {
            Toy { n: 8, owing: false, busy: false }
        }
        fn on(&self, _: &Toy, _: &Act, _: &mut RuleContext) -> Says<Self> {
            Ok(Reaction::Ignore)
        }
    }
    let like = toy(Play::default(), Rules::default());
    let system = System::<_, 1, 1, 1> {
        name: like.name,
        protocol: "toy",
        about: like.about,
        closed: Closed { machine: (Big,), rules: Rules::default() },
        properties: vec![],
        expect: Expect::default(),
        refinements: vec![],
        environment: vec![],
        symmetry: None,
    };
    assert_eq!(explore(&system, &Limits::default()).unwrap_err(), Error::Initial("n"));
}

#[test]
fn a_program_must_break_exactly_what_it_declares() {
    let play = Play { last: 5, breaks: true, ..Play::default() };
    let report = run(play);
    let rules = report.property("rules-kept").unwrap();
    assert_eq!(rules.verdict, PropertyVerdict::Violated);
    assert_eq!(rules.trace.as_ref().unwrap().last().unwrap().clause.as_deref(), Some("clause 7"));
    insta::assert_snapshot!(report.text());
    assert_eq!(laws::programs_keep_the_rules(&report).len(), 1);

    let mut declares = toy(play, Rules::default());
    declares.expect.breaks = vec![OFF_BY_ONE];
    let report = check(&declares, &Options::default()).unwrap();
    assert_eq!(verdict(&report, "rules-kept"), PropertyVerdict::Holds);
    assert!(report.as_expected && report.broken[0].declared && report.broken[0].trace.len() == 4);

    declares.expect.breaks = vec![OFF_BY_ONE, AFTER_WRAP];
    let report = check(&declares, &Options::default()).unwrap();
    let rules = report.property("rules-kept").unwrap();
    assert_eq!(rules.verdict, PropertyVerdict::Violated);
    assert_eq!(rules.note.as_deref(), Some("declared, but not violated: clause 8"));
}

#[test]
fn an_open_choice_is_an_error_and_an_undefined_branch_is_counted() {
    let play = Play { last: 4, chooses: true, ..Play::default() };
    let open = check(&toy(play, Rules::default()), &Options::default());
    assert_eq!(open.unwrap_err(), Error::Open(WRAP));
    let rules = Rules::default().fixing(WRAP, 1);
    let report = check(&toy(play, rules), &Options::default()).unwrap();
    assert_eq!((report.states, report.undefined[0].count), (3, 1));
    assert_eq!(report.verdict, Verdict::Holds);
}

#[test]
fn decide_sets_options_against_properties() {
    let play = Play { last: 4, chooses: true, ..Play::default() };
    let choices = [Choice {
        id: WRAP,
        name: "wrap".to_owned(),
        options: vec!["counts-on".to_owned(), "undefined".to_owned()],
    }];
    let system = |rules| {
        let mut system = toy(play, rules);
        system.properties =
            vec![Property::reachable("four", |t: &devmig_engine::system::Transition<_, Act>| {
                let after: &devmig_engine::compose::GlobalStateOf<(Both,), 1, 1> = t.after;
                after.parts.0.n == 4
            })];
        Box::new(system) as Box<dyn Check>
    };
    let decision = decide(system, &Rules::default(), &choices, &Options::default()).unwrap();
    insta::assert_snapshot!(decision.text());
}

#[test]
fn only_the_environment_can_go_on_and_it_is_no_end() {
    let report = run(Play { last: 4, rests_from: 2, ..Play::default() });
    let stuck = report.property("deadlock-free").unwrap();
    assert_eq!(stuck.verdict, PropertyVerdict::Violated);
    assert_eq!(stuck.trace.as_ref().unwrap().len(), 0);
    let report = run(Play { last: 4, rests_from: 5, ..Play::default() });
    assert_eq!(verdict(&report, "deadlock-free"), PropertyVerdict::Violated);
}

#[test]
fn a_reply_that_can_always_be_put_off_is_found_with_its_cycle() {
    let play = Play { requests: true, idles: true, ..Play::default() };
    let report = run(play);
    insta::assert_snapshot!(report.text());
    let patient = run(Play { replies_when_busy: true, ..play });
    assert_eq!(verdict(&patient, "no-starvation"), PropertyVerdict::Holds);
    assert_eq!(
        laws::all(toy(Play { rests_from: 0, ..play }, Rules::default())),
        laws::Wrong::new()
    );
}

#[test]
fn laws_find_what_breaks_them() {
    let wrong = |play| {
        let mut wrong = laws::all(toy(play, Rules::default()));
        wrong.truncate(1);
        trace::wrapped(&wrong.join(""), 4)
    };
    let forgets = wrong(Play { last: 3, forgets: true, ..Play::default() });
    let violates_input_enabledness =
        wrong(Play { last: 3, violates_input_enabledness: true, ..Play::default() });
    insta::assert_snapshot!([forgets, violates_input_enabledness].join("\n"));
}

/// Enough states for several threads: a counter of 16 bits with many ways.
mod wide {
    use super::*;

    /// Three digits.
    #[packed]
    pub(super) struct Digits {
        /// Each up to 40.
        pub digit: [Digit; 3],
    }
    /// One digit.
    #[packed]
    pub(super) struct Digit {
        /// Up to 40.
        #[bits(6)]
        pub n: u8,
    }

    pub(super) struct Count;

    impl Machine for Count {
        type State = Digits;
        type Event = Act;
        fn name(&self) -> &'static str {
            "digits"
        }
        fn initial(&self) -> Digits {
            Digits { digit: [Digit { n: 0 }; 3] }
        }
        fn on(&self, _: &Digits, _: &Act, _: &mut RuleContext) -> Says<Self> {
            Ok(Reaction::Ignore)
        }
        fn hidden(
            &self,
            s: &Digits,
            _: &mut RuleContext,
            f: &mut dyn FnMut(Step, Digits),
        ) -> Result<(), OpenChoice> {
            for i in 0..3 {
                let mut next = *s;
                next.digit[i].n = (s.digit[i].n + 1) % 41;
                f(Step { by: super::COUNTER, name: "count", index: i as u8 }, next);
            }
            Ok(())
        }
    }
}

fn digits() -> system!((wide::Count,)) {
    type GlobalState = devmig_engine::compose::GlobalStateOf<(wide::Count,), 0, 0>;
    type Seen<'a> = devmig_engine::system::Transition<'a, GlobalState, Act>;
    let sum = |w: &GlobalState| w.parts.0.digit.iter().map(|d| u32::from(d.n)).sum::<u32>();
    System {
        name: "digits".to_owned(),
        protocol: "toy",
        about: "Digits.".to_owned(),
        closed: Closed { machine: (wide::Count,), rules: Rules::default() },
        properties: vec![
            Property::implies("below 30", move |t: &Seen| Some(sum(t.after) < 30)),
            Property::at_end("not all the same", |w: &GlobalState| {
                w.parts.0.digit[0] == w.parts.0.digit[1] || w.parts.0.digit[0].n < 17
            }),
        ],
        expect: Expect::default(),
        refinements: vec![],
        environment: vec![],
        symmetry: None,
    }
}

#[test]
fn nothing_depends_on_the_number_of_threads() {
    let run = |threads| {
        let limits = Limits { threads, ..Limits::default() };
        let report = check(&digits(), &Options { limits, ..Options::default() }).unwrap();
        Report { seconds: 0.0, table_bytes: 0, ..report }
    };
    let one = run(1);
    assert_eq!((one.states, one.transitions, one.depth), (41 * 41 * 41, 3 * 41 * 41 * 41, 120));
    assert_eq!(one.property("below 30").unwrap().trace.as_ref().unwrap().len(), 30);
    assert_eq!(one.property("not all the same").unwrap().trace.as_ref().unwrap().len(), 17);
    for threads in [2, 3, 7] {
        assert_eq!(run(threads), one);
    }
}

#[test]
fn numbering_does_not_depend_on_the_number_of_threads() {
    let run = |threads| {
        let limits = Limits { threads, ..Limits::default() };
        let explored = explore(&digits(), &limits).unwrap();
        let keys = explored.table.shards.iter().flat_map(|shard| shard.keys().to_vec());
        (keys.collect::<Vec<_>>(), explored.findings)
    };
    assert_eq!(run(1), run(5));
}

#[test]
fn stateright_agrees_on_a_system_with_a_violation() {
    assert_eq!(laws::agrees_with_stateright(Arc::new(digits())), laws::Wrong::new());
}
