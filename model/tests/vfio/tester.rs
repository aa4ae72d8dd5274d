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
        any::<u8>().prop_map(Call::Set),
        (0u8..8).prop_map(Call::Set),
        Just(Call::Get),
        Just(Call::Read),
        data.prop_map(Call::Write),
        Just(Call::Info),
        Just(Call::OptIn),
        Just(Call::Access(Region::Config)),
        Just(Call::LogStart(Ranges::None)),
        Just(Call::LogStart(Ranges::All)),
        Just(Call::LogReport(PageSize::Small)),
        Just(Call::LogStop),
        Just(Call::Reset(For::Guest)),
        Just(Call::Reopen),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::Done),
        Just(Answer::DoneWithDescriptor),
        Just(Answer::Refused),
        any::<u8>().prop_map(Answer::State),
        Just(Answer::Data(Data::Part(0))),
        Just(Answer::Nothing),
        Just(Answer::End),
        (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(i, d, r)| Answer::Info(i, d, r)),
        any::<u64>().prop_map(Answer::Pages),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => call().prop_map(Act::Call),
        4 => answer().prop_map(Act::Answer),
        1 => Just(Act::Works),
        1 => Just(Act::PeerBegins),
        1 => Just(Act::PeerArrives),
        1 => any::<u8>().prop_map(Act::Write),
    ]
}

proptest! {
    /// Whatever is seen, the machine has an answer: no panic, and the set of states stays small.
    #[test]
    fn anything_may_come(acts in proptest::collection::vec(act(), 0..60), flags in 0usize..4) {
        thread_local! {
            static LIBRARY: Library = builtin();
        }
        LIBRARY.with(|library| {
            let mut talk = Talk::new(library, library.vfio().table.legal()[flags]);
            for act in acts {
                talk.says(act);
                assert!(!talk.states.is_empty() && talk.states.len() < 32);
            }
        });
    }
}
