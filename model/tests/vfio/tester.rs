//! The VFIO machine as a tester asks it: nothing is known of what is inside, every number may come.

#![allow(clippy::unwrap_used)]

use devmig_engine::machine::{Machine, Reaction};
use devmig_engine::rules::Rules;
use devmig_model::protocol::vfio::event::{
    Act, Answer, Call, Data, Event, For, PageSize, Ranges, Region,
};
use devmig_model::protocol::vfio::machine::Device;
use devmig_model::protocol::vfio::state::State;
use devmig_model::registry::Library;
use devmig_testing::Premises;
use proptest::prelude::*;

use crate::common::builtin;

/// A conversation with one device: every state that it may be in.
struct Talk<'a> {
    library: &'a Library,
    device: Device,
    rules: Rules,
    states: Vec<State>,
}

impl<'a> Talk<'a> {
    fn new(library: &'a Library, flags: u64) -> Self {
        let device = library.vfio().tester(flags, true);
        let rules = Rules { choices: library.spec.defaults(), ..Rules::default() };
        let states = vec![device.initial()];
        Talk { library, device, rules, states }
    }

    fn closed(&mut self) {
        let mut at = 0;
        while at < self.states.len() {
            let mut found = Vec::new();
            let state = self.states[at];
            self.device
                .hidden(&state, &mut self.rules.judge(), &mut |_, next| found.push(next))
                .unwrap();
            found.retain(|state| !self.states.contains(state));
            self.states.extend(found);
            at += 1;
        }
    }

    /// What the machine says to an event: `ok`, or the clauses that it breaks.
    fn says(&mut self, act: Act) -> String {
        self.closed();
        let (mut next, mut broken) = (Vec::new(), Vec::new());
        for state in &self.states {
            let event = Event { device: 0, act };
            match self.device.on(state, &event, &mut self.rules.judge()).unwrap() {
                Reaction::To(to) if !next.contains(&to) => next.push(to),
                Reaction::Ignore if !next.contains(state) => next.push(*state),
                Reaction::Violation(clause) | Reaction::Unspecified(clause) => {
                    let name = self.library.spec.clause_name(clause).to_owned();
                    if !broken.contains(&name) {
                        broken.push(name);
                    }
                }
                _ => {}
            }
        }
        if next.is_empty() {
            return if broken.is_empty() { "nobody allows it".into() } else { broken.join(", ") };
        }
        self.states = next;
        "ok".into()
    }

    fn calls(&mut self, call: Call, answer: Answer) -> String {
        match self.says(Act::Call(call)).as_str() {
            "ok" => self.says(Act::Answer(answer)),
            other => format!("call: {other}"),
        }
    }

    fn walks(&mut self, calls: &[(Call, Answer)]) -> &mut Self {
        for (call, answer) in calls {
            assert_eq!(self.calls(*call, *answer), "ok", "{call:?} {answer:?}");
        }
        self
    }
}

const STOP: u8 = 1;
const RUNNING: u8 = 2;
const STOP_COPY: u8 = 3;
const RESUMING: u8 = 4;
const PRE_COPY: u8 = 6;

#[test]
fn a_sound_device_is_allowed_all_it_does() {
    let library = builtin();
    let data = Answer::Data(Data::Part(0));
    Talk::new(&library, 7).walks(&[
        (Call::Get, Answer::State(RUNNING)),
        (Call::Set(PRE_COPY), Answer::DoneWithDescriptor),
        (Call::Info, Answer::Info(128, 0, false)),
        (Call::Read, data),
        (Call::Info, Answer::Info(64, 7, false)),
        (Call::Read, data),
        (Call::Read, Answer::Nothing),
        (Call::Set(STOP_COPY), Answer::Done),
        (Call::Set(PRE_COPY), Answer::Refused),
        (Call::Get, Answer::State(STOP_COPY)),
        (Call::Read, data),
        (Call::Read, Answer::End),
        (Call::Read, Answer::End),
        (Call::Info, Answer::Refused),
        (Call::Set(STOP), Answer::Done),
        (Call::Read, Answer::Refused),
        (Call::Set(RESUMING), Answer::DoneWithDescriptor),
        (Call::Write(Data::Part(0)), Answer::Done),
        (Call::Set(STOP), Answer::Refused),
        (Call::Get, Answer::State(RESUMING)),
        (Call::Write(Data::Last(0)), Answer::Done),
        (Call::Set(RUNNING), Answer::Done),
        (Call::Set(200), Answer::Refused),
        (Call::LogStart(Ranges::Bad), Answer::Refused),
        (Call::LogStart(Ranges::All), Answer::Done),
        (Call::LogReport(PageSize::Good), Answer::Pages(0)),
        (Call::LogStop, Answer::Done),
        (Call::LogReport(PageSize::Good), Answer::Refused),
        (Call::Access(Region::Registers), Answer::Done),
        (Call::Reset(For::Client), Answer::Done),
    ]);
}

#[test]
fn what_a_device_does_wrong_is_named() {
    let library = builtin();
    let data = Answer::Data(Data::Part(0));
    let after = |calls: &[(Call, Answer)], call, answer| {
        let mut talk = Talk::new(&library, 7);
        talk.walks(calls).calls(call, answer)
    };
    let saving = [(Call::Set(STOP_COPY), Answer::DoneWithDescriptor)];
    let pre_copy = [(Call::Set(PRE_COPY), Answer::DoneWithDescriptor)];
    let resuming = [(Call::Set(RESUMING), Answer::DoneWithDescriptor)];
    let told = [pre_copy[0], (Call::Info, Answer::Info(5, 0, false))];
    let logging = [(Call::LogStart(Ranges::All), Answer::Done)];
    type Step = (Call, Answer);
    let cases: &[(&[Step], Call, Answer)] = &[
        (&[], Call::Get, Answer::State(STOP)),
        (&[], Call::Set(0), Answer::Done),
        (&[], Call::Set(8), Answer::Done),
        (&[], Call::Set(STOP), Answer::Refused),
        (&[], Call::Set(STOP), Answer::DoneWithDescriptor),
        (&[], Call::Set(STOP_COPY), Answer::Done),
        (&saving, Call::Set(PRE_COPY), Answer::Done),
        (&saving, Call::Read, Answer::Nothing),
        (&saving, Call::Access(Region::Config), Answer::Refused),
        (&saving, Call::Info, Answer::Info(0, 0, false)),
        (&[saving[0], (Call::Read, Answer::End)], Call::Read, data),
        (&[saving[0], (Call::Set(STOP), Answer::Done)], Call::Read, data),
        (&pre_copy, Call::Info, Answer::Info(0, 0, false)),
        (&pre_copy, Call::Info, Answer::Info(1, 1, false)),
        (&pre_copy, Call::Info, Answer::Refused),
        (&pre_copy, Call::Set(STOP_COPY), Answer::DoneWithDescriptor),
        (&told, Call::Info, Answer::Info(6, 0, false)),
        (&told, Call::Info, Answer::Info(6, 0, true)),
        (&told, Call::Read, Answer::Nothing),
        (&resuming, Call::Write(Data::Part(0)), Answer::Refused),
        (&resuming, Call::Set(STOP), Answer::Done),
        (
            &[resuming[0], (Call::Write(Data::Last(0)), Answer::Done)],
            Call::Set(STOP),
            Answer::Refused,
        ),
        (&[], Call::Access(Region::Config), Answer::Refused),
        (&[], Call::LogReport(PageSize::Good), Answer::Pages(0)),
        (&[], Call::LogStart(Ranges::Bad), Answer::Done),
        (&[], Call::LogStart(Ranges::None), Answer::Done),
        (&logging, Call::LogStart(Ranges::All), Answer::Done),
        (&saving, Call::Access(Region::Registers), Answer::Done),
    ];
    let mut out = String::new();
    for (calls, call, answer) in cases {
        let before: Vec<String> = calls.iter().map(|(call, _)| format!("{call:?}, ")).collect();
        let says = after(calls, *call, *answer);
        assert_ne!(says, "ok", "{call:?} {answer:?}");
        out += &format!("{:48} {}\n", format!("{}{call:?}: {answer:?}", before.concat()), says);
    }
    insta::assert_snapshot!(out);
}

#[test]
fn what_a_stopped_device_does_by_itself_is_named() {
    let library = builtin();
    let mut out = String::new();
    for to in [STOP, 5, STOP_COPY, RESUMING] {
        for act in [Act::Works, Act::Interrupt, Act::Write(3), Act::PeerBegins, Act::PeerArrives] {
            let mut talk = Talk::new(&library, 7);
            talk.says(Act::Call(Call::Set(to)));
            let done = talk.says(Act::Answer(Answer::Done));
            if done != "ok" {
                talk.says(Act::Answer(Answer::DoneWithDescriptor));
            }
            out += &format!(
                "{:12} {:14} {}\n",
                library.vfio().table.name(to),
                format!("{act:?}"),
                talk.says(act)
            );
        }
    }
    insta::assert_snapshot!(out);
}

/// A write that no report tells of is found, however many pages there are.
#[test]
fn a_write_that_is_not_reported_is_found() {
    let library = builtin();
    let mut talk = Talk::new(&library, 1);
    talk.walks(&[(Call::LogStart(Ranges::All), Answer::Done)]);
    talk.says(Act::Write(63));
    assert_eq!(
        talk.calls(Call::LogReport(PageSize::Good), Answer::Pages(1)),
        "vfio.log.no-write-lost"
    );
    let all = Answer::Pages(u64::MAX);
    assert_eq!(talk.says(Act::Answer(all)), "ok");
    talk.walks(&[(Call::LogReport(PageSize::Good), Answer::Pages(0))]);
}

/// Over vfio-user no descriptor is returned.
#[test]
fn without_descriptors_a_session_begins_all_the_same() {
    let library = builtin();
    let mut talk = Talk::new(&library, 5);
    talk.device = library.vfio().tester(5, false);
    talk.walks(&[
        (Call::Set(STOP_COPY), Answer::Done),
        (Call::Read, Answer::Data(Data::Part(0))),
        (Call::Read, Answer::End),
    ]);
}

fn call() -> impl Strategy<Value = Call> {
    let data = prop_oneof![Just(Data::Part(0)), Just(Data::Last(0)), Just(Data::Wrong)];
    prop_oneof![
        1 => any::<u8>().prop_map(Call::Set),
        5 => (1u8..8).prop_map(Call::Set),
        1 => Just(Call::Get),
        3 => Just(Call::Read),
        2 => data.prop_map(Call::Write),
        1 => Just(Call::Info),
        1 => Just(Call::OptIn),
        1 => Just(Call::Access(Region::Config)),
        1 => Just(Call::LogStart(Ranges::None)),
        2 => Just(Call::LogStart(Ranges::All)),
        1 => Just(Call::LogReport(PageSize::Small)),
        1 => Just(Call::LogReport(PageSize::Good)),
        1 => Just(Call::LogStop),
        1 => Just(Call::Reset(For::Guest)),
        1 => Just(Call::Reopen),
    ]
}

/// Every answer that a call can have, with some numbers and these.
fn answers(state: u8, initial: u64, pages: u64) -> Vec<Answer> {
    let mut all = vec![
        Answer::Done,
        Answer::DoneWithDescriptor,
        Answer::Refused,
        Answer::State(state),
        Answer::Data(Data::Part(0)),
        Answer::Data(Data::Last(0)),
        Answer::Nothing,
        Answer::End,
        Answer::Pages(pages),
        Answer::Pages(0),
        Answer::Pages(u64::MAX),
    ];
    all.extend((1..8).map(Answer::State));
    for (initial, dirty) in [(initial, pages), (0, 0), (0, 1), (1, 0)] {
        all.extend([false, true].map(|anew| Answer::Info(initial, dirty, anew)));
    }
    all
}

/// What is seen of a device.
#[derive(Clone, Debug)]
enum Sight {
    /// A call, and which of the answers that are allowed comes back.
    Call(Call, prop::sample::Index),
    /// An answer that nothing was asked for.
    Answer(Answer),
    /// What it does by itself.
    Alone(Act),
}

/// The sights of one conversation are fewer.
const SIGHTS: usize = 60;

fn sight() -> impl Strategy<Value = Sight> {
    let answer = prop::sample::select(answers(9, 3, 5));
    let alone = prop_oneof![
        Just(Act::Works),
        Just(Act::PeerBegins),
        Just(Act::PeerArrives),
        any::<u8>().prop_map(Act::Write),
    ];
    prop_oneof![
        6 => (call(), any::<prop::sample::Index>()).prop_map(|(call, n)| Sight::Call(call, n)),
        1 => answer.prop_map(Sight::Answer),
        2 => alone.prop_map(Sight::Alone),
    ]
}

/// The answers that are allowed to the call that was made, and how many are not.
fn allowed(talk: &mut Talk<'_>) -> (Vec<Answer>, usize) {
    let before = talk.states.clone();
    let all = answers(9, 3, 5);
    let allowed: Vec<Answer> = all
        .iter()
        .copied()
        .filter(|answer| {
            talk.states.clone_from(&before);
            talk.says(Act::Answer(*answer)) == "ok"
        })
        .collect();
    talk.states = before;
    let refused = all.len() - allowed.len();
    (allowed, refused)
}

/// A device is never trapped: to every call that it can get, some answer is allowed once peer DMA on its
/// way has arrived, and some is not. An answer to nothing is never allowed. And however a conversation
/// goes, few states are possible.
#[test]
fn every_call_has_an_answer_and_nothing_else_has() {
    let premises = Premises::new();
    let library = builtin();
    let sights = (prop::collection::vec(sight(), 0..SIGHTS), 0usize..4, any::<bool>());
    proptest!(|((sights, flags, descriptors) in sights)| {
        let flags = library.vfio().table.legal()[flags];
        let mut talk = Talk::new(&library, flags);
        talk.device = library.vfio().tester(flags, descriptors);
        for sight in sights {
            match sight {
                Sight::Answer(answer) => prop_assert_ne!(talk.says(Act::Answer(answer)), "ok"),
                Sight::Alone(act) => {
                    premises.holds("it may act alone", talk.says(act) == "ok");
                }
                Sight::Call(call, which) => {
                    if !premises.holds("a call is made", talk.says(Act::Call(call)) == "ok") {
                        continue;
                    }
                    let (mut allowed, mut refused) = allowed(&mut talk);
                    // A device begins no more DMA than there are sights.
                    for _ in 0..SIGHTS {
                        if !allowed.is_empty() || talk.says(Act::PeerArrives) != "ok" {
                            break;
                        }
                        premises.met("after peer DMA has arrived");
                        (allowed, refused) = self::allowed(&mut talk);
                    }
                    prop_assert!(!allowed.is_empty(), "{call:?} cannot be answered");
                    prop_assert!(refused > 0, "{call:?} can be answered by anything");
                    let answer = *which.get(&allowed);
                    prop_assert_eq!(talk.says(Act::Answer(answer)), "ok");
                    premises.holds("it is carried out", answer != Answer::Refused);
                    let name = format!("{call:?}");
                    premises.met(name.split('(').next().unwrap_or_default().to_owned());
                }
            }
            prop_assert!(talk.states.len() < 32, "{} states", talk.states.len());
        }
    });
    premises.at_least("a call is made", 50);
    premises.at_least("it is carried out", 33);
    premises.at_least("it may act alone", 20);
    premises.each(["after peer DMA has arrived"], 30);
    let calls = ["Set", "Get", "Read", "Write", "Info", "OptIn", "Access", "LogStart", "LogReport"];
    premises.each(calls.into_iter().chain(["LogStop", "Reset", "Reopen"]), 50);
}
