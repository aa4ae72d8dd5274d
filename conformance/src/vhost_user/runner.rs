//! The adapter of vhost-user: what the harness's runner asks of a conversation with a back-end.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::estimate::Fault;
use devmig_engine::rules::{ChoiceSet, Rules};
use devmig_model::protocol::vhost_user::event::Event;
use devmig_model::protocol::vhost_user::ids::WhoMarks;
use devmig_model::protocol::vhost_user::program::Step;

use super::script::Act;
use super::session::{Driven, Pairs, Session, Setting, Subject, TestMachine, mistake};
use super::suite::{Form, Need, Test};
use super::walk::{self, StepPool};
use crate::harness::aftermath::Aftermath;
use crate::harness::conversation::Record;
use crate::harness::report::{Offers, Result as TestResult, SuiteReport};
use crate::harness::runner;
use crate::harness::session::{self, Hold};
use crate::harness::verdict::{StepOutcome, TestEnd};
use crate::harness::walk::{Draws, Walk};

/// How to run.
pub type Run<'a> = runner::Run<'a, Subject<'a>>;

/// Runs these tests. `done` is told of each result as it comes.
pub fn run(run: &Run<'_>, tests: &[&Test], done: impl FnMut(&TestResult)) -> SuiteReport {
    play(run, tests, &[], done)
}

/// Runs these tests, then these walks.
pub fn play(
    run: &Run<'_>,
    tests: &[&Test],
    walks: &[Walk],
    done: impl FnMut(&TestResult),
) -> SuiteReport {
    let (library, machine) = (run.library, run.library.vhost_user().tester());
    // The tester marks nothing in the log: unless somebody says otherwise that leaves it to the
    // back-end, as every front-end does.
    let open = run.open(&[machine.readings.who_marks.as_option(WhoMarks::BackEnd)]);
    let (first, patience) = (AtomicBool::new(true), AtomicU32::new(1));
    let pairs = Pairs::new();
    // Without memory for a guest no test can run, and each says so.
    let driven = Driven::with(run.subject.device, run.subject.scratch).ok();
    let adapter =
        Adapter { run, machine, pool: StepPool::of(library), first, patience, driven, pairs };
    let walks: Vec<_> = walks.iter().map(|walk| (walk::test(*walk, library), *walk)).collect();
    runner::play(run, &adapter, open, tests, &walks, done)
}

struct Adapter<'a> {
    run: &'a Run<'a>,
    machine: TestMachine,
    pool: StepPool,
    /// Nobody was talked to yet.
    first: AtomicBool,
    /// How many times as long as usual it waits.
    patience: AtomicU32,
    /// What the tester has for the device.
    driven: Option<Driven>,
    /// What a server says of its pairs of queues.
    pairs: Pairs,
}

impl Draws for Adapter<'_> {
    type Form = Form;
    const DRAWS: usize = 50;
    const SALT: u64 = 0x7761_6c6b;

    fn begin(&self) -> Vec<Act> {
        self.pool.connect.clone()
    }

    fn draw(&self, _: usize, random: &mut crate::harness::random::Random) -> Result<Act, TestEnd> {
        Ok(self.pool.draw(random))
    }

    fn follows(&self, step: &Act) -> Option<Act> {
        walk::follows(step, &self.machine.table)
    }

    fn last(&self) -> Option<Act> {
        Some(Act::Settle)
    }
}

impl runner::Adapter for Adapter<'_> {
    fn converse(
        &self,
        test: &Test,
        rules: Rules,
        _: &[ClauseId],
        hold: &mut Hold<'_, Form>,
    ) -> Result<(), TestEnd> {
        let Subject { limits, without, .. } = self.run.subject;
        if let Some(name) = without.needed_by(&self.machine.table, test) {
            return Err(TestEnd::Skip(format!("--without {name}")));
        }
        let setting = Setting {
            machine: &self.machine,
            subject: Subject {
                limits: limits.longer(self.patience.load(Ordering::SeqCst)),
                ..self.run.subject
            },
            rules,
            acknowledged: test.own.acknowledged,
            declined: declined(&self.machine, test),
            seed: self.run.seed,
            pairs: &self.pairs,
        };
        let mut session = Session::start(setting, self.first.load(Ordering::SeqCst))?;
        self.first.store(false, Ordering::SeqCst);
        hold(&mut session)
    }

    fn skips(&self, test: &Test, offers: Option<&Offers>) -> Option<String> {
        let Subject { device, scratch, without, .. } = self.run.subject;
        let table = &self.machine.table;
        // What is left out is said first, and a generated script passes over what is not offered.
        if test.careful || without.needed_by(table, test).is_some() {
            return None;
        }
        let (features, protocol) = offers.map_or((0, 0), |o| (o.bits(), o.protocol_bits()));
        let lacks = |bit| offers.is_some() && protocol >> bit & 1 == 0;
        mistake(table, (device, scratch), features, protocol)
            .or_else(|| self.pairs.get().cloned().flatten())
            .or_else(|| lacking(&test.needs, self.driven?, lacks))
    }

    fn confirms(&self) -> bool {
        self.run.subject.limits.confirms
    }

    fn wait_longer(&self, times: u32) {
        self.patience.store(times, Ordering::SeqCst);
    }

    fn line(&self, test: &Test, steps: &[Act]) -> String {
        walk::line(test, steps, &self.machine.table)
    }
}

impl session::Session<Form> for Session<'_> {
    fn step(&mut self, test: &Test, step: &Act) -> Result<(), TestEnd> {
        self.needs(&test.needs)?;
        self.act(step)
    }

    fn carefully(&mut self, _: &Test, step: &Act) -> Result<StepOutcome, TestEnd> {
        Session::carefully(self, step)
    }

    fn end(&mut self) -> Result<(), TestEnd> {
        Session::end(self)
    }

    fn log(&mut self) -> Vec<String> {
        self.conversation.take_log()
    }

    fn learned(&self, choices: usize) -> Vec<(ChoiceId, Vec<u8>)> {
        self.conversation.learned(choices)
    }

    fn asked(&self) -> ChoiceSet {
        self.conversation.asked()
    }

    fn offers(&self) -> Option<Offers> {
        let (features, protocol) = Session::offers(self);
        (protocol != 0).then(|| Offers {
            features: format!("{features:#x}"),
            protocol_features: format!("{protocol:#x}"),
        })
    }

    fn has_answered(&self) -> bool {
        let answer = |record: &Record<Event>| {
            record.is_judged() && !matches!(record, Record::Seen(Event::Close))
        };
        self.conversation.records().iter().any(answer)
    }

    fn aftermath(&mut self) -> Aftermath {
        Session::aftermath(self)
    }

    fn knows_what_follows(&mut self, clause: ClauseId) -> bool {
        Session::knows_what_follows(self, clause)
    }

    fn has_judged(&self, _: &Test) -> bool {
        self.conversation.records().iter().any(Record::is_judged)
    }

    fn is_late(&self) -> bool {
        self.conversation.is_silent()
    }

    fn is_unanswered(&self) -> bool {
        self.conversation.is_unanswered()
    }

    fn replay(&self, rules: Rules) -> Result<(), Fault> {
        self.conversation.replay(rules)
    }
}

/// STATUS, unless the test sets a status: whether a device to which nobody says `DRIVER_OK` processes
/// anything is a choice, and a front-end that negotiates STATUS says so, as QEMU's does.
fn declined(machine: &TestMachine, test: &Test) -> u64 {
    let table = &machine.table;
    let Some(status) = table.feature("STATUS") else { return 0 };
    let needed =
        test.needs.iter().any(|need| matches!(need, Need::Feature(_, bit) if *bit == status));
    let sets = |act: &Act| match act {
        Act::Program(Step::Send { id, .. }, _) => {
            machine.message(*id).gate.as_ref().is_some_and(|gate| gate.bit == status)
        }
        _ => false,
    };
    if needed || test.steps.iter().any(sets) { 0 } else { 1 << status }
}

impl Session<'_> {
    /// Whether what the test needs is there, as far as is known by now.
    fn needs(&mut self, needs: &[Need]) -> Result<(), TestEnd> {
        if let Some(why) = self.mistake() {
            return Err(TestEnd::Skip(why));
        }
        let driven = self.driven();
        match lacking(needs, driven, |bit| self.lacks(bit)) {
            Some(why) => Err(TestEnd::Skip(why)),
            None => Ok(()),
        }
    }
}

/// The first of these that is not there.
fn lacking(needs: &[Need], driven: Driven, lacks: impl Fn(u8) -> bool) -> Option<String> {
    let lacking = needs.iter().find_map(|need| match need {
        Need::TwoRings if driven.rings < 2 => Some("a device with two rings"),
        Need::Outside if !driven.has_outside => {
            Some("a device to which comes back what it transmits (see --device)")
        }
        Need::PackedRings => Some("packed rings, and the tester's driver has split rings"),
        Need::Feature(name, bit) if lacks(*bit) => Some(name),
        _ => None,
    });
    lacking.map(|lacking| format!("needs {lacking}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use devmig_engine::machine::TimeClass;
    use devmig_model::protocol::vhost_user::event::{Message, Value};
    use devmig_reference::nic::{Link, NicConfig, Parameters};
    use devmig_reference::vhost_user::net::NetOptions;
    use devmig_reference::vhost_user::{Options, Running};

    use super::*;
    use crate::harness::conversation::replay;
    use crate::harness::io::target::Target;
    use crate::vhost_user::session::{Device, Limits};
    use crate::vhost_user::without::Without;
    use devmig_model::registry::Library;

    #[test]
    fn a_server_with_another_number_of_queues_is_the_callers_mistake() {
        let library = Library::builtin().unwrap();
        let suite = super::super::suite::builtin(&library).unwrap();
        let tests: Vec<&Test> = suite
            .iter()
            .filter(|test| ["ring.request", "receive.room"].contains(&&*test.id))
            .collect();
        for (queue_pairs, passed) in [(2, 2), (4, 0)] {
            let config = NicConfig::new(Parameters { queue_pairs, ..Parameters::default() });
            let (config, latency) = (config.unwrap(), Duration::ZERO);
            let net = NetOptions { config, link: Link::Loopback, latency, flap: None };
            let server = Running::start(Options::nic(net)).unwrap();
            let target = Target::Socket(server.socket());
            let subject = Subject {
                target: &target,
                device: Device::NetLoopback,
                scratch: false,
                limits: Limits::default(),
                outside: None,
                without: Without::default(),
            };
            let rules = Rules { off: library.spec.unobservable(), ..Rules::default() };
            let report = run(&Run::new(&library, subject, "10.2", rules), &tests, |_| ());
            let (summary, said) = (report.summary, &report.results[1].observed);
            assert_eq!((summary.pass, summary.skip), (passed, 2 - passed), "{said:?}");
            let is_said = |said: &String| said.contains("wrong --device") && said.ends_with("4");
            assert_eq!(said.as_ref().is_some_and(is_said), passed == 0, "{said:?}");
            server.stop(Duration::from_secs(5)).unwrap();
        }
    }

    /// A ring is kicked, stopped and set up again: where the old kick starts it, the text is silent about
    /// what follows.
    #[test]
    fn what_is_allowed_only_where_the_text_is_silent_is_no_other_interpretation() {
        let library = Library::builtin().unwrap();
        let (machine, spec) = (library.vhost_user().tester(), &library.spec);
        let message = |name: &str, value| {
            let id = library.vhost_user().table.named(name).unwrap();
            Message { id, ring: 0, value: Value(value), need_reply: false }
        };
        let sent = |name, value| Record::Sent(Event::Message(message(name, value)));
        let answered = |name, value| {
            let Message { id, ring, value, .. } = message(name, value);
            Record::Seen(Event::Reply { id, ring, value, descriptors: 0 })
        };
        let set_up = [
            sent("SET_VRING_NUM", 2),
            sent("SET_VRING_BASE", 0),
            sent("SET_VRING_KICK", 0),
            sent("SET_VRING_ENABLE", 1),
            sent("GET_FEATURES", 0),
            answered("GET_FEATURES", 1 << 30),
        ];
        let available = Record::Did(Event::Available { ring: 0 });
        let kick = Record::Did(Event::Kick { ring: 0, front_end: false });
        let begun = [
            &[sent("GET_FEATURES", 0), answered("GET_FEATURES", 1 << 30)],
            &[sent("SET_FEATURES", 1 << 30)][..],
            &set_up,
            &[kick, sent("GET_VRING_BASE", 0), answered("GET_VRING_BASE", 0)],
        ]
        .concat();
        let again = [&begun[..], &set_up, &[available, kick]].concat();
        let silent = [&again[..], &[Record::Silent(TimeClass::Io)]].concat();
        let used = Record::Seen(Event::Used { ring: 0, request: 0 });
        let by_old_kick = [&begun[..], &[available, used]].concat();

        let kick = spec.choice("vhost-user.get-vring-base.kick").unwrap();
        let forgets = spec.defaults();
        let open = forgets.opened(kick).and(&spec.open());
        let judged = |choices, records: &[Record<Event>]| {
            replay(&machine, Rules { choices, ..Rules::default() }, records).is_ok()
        };
        assert!(judged(forgets, &[&again[..], &[used]].concat()));
        assert!(!judged(forgets, &silent));
        assert!(!judged(open, &silent), "the text is silent, and the back-end is not excused");
        assert!(!judged(forgets, &by_old_kick));
        assert!(judged(open, &by_old_kick), "that is the other interpretation");
    }
}
