//! The adapter of VFIO: what the harness's runner asks of a conversation with a device.
//!
//! **Invariant.** After a device that hangs and cannot be had anew, the rest is not run, with that as the
//! reason.

use std::sync::atomic::{AtomicU32, Ordering};

use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::estimate::Fault;
use devmig_engine::rules::{ChoiceSet, Rules};
use devmig_model::protocol::vfio::names::{MayFail, P2pFlag};
use devmig_model::registry::Library;

use super::device::Place;
use super::script::Act;
use super::session::{Limits, Opened, Session};
use super::suite::{Form, Test};
use super::walk;
use super::without::Without;
use crate::harness::aftermath::Aftermath;
use crate::harness::conversation::Record;
use crate::harness::random::Random;
use crate::harness::report::{Offers, Result as TestResult, SuiteReport};
use crate::harness::runner::{self, Next};
use crate::harness::session::{self, Hold};
use crate::harness::verdict::{StepOutcome, TestEnd};
use crate::harness::walk::{Draws, Walk};

/// The device, and how it may be treated.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Where the device is.
    pub place: &'a dyn Place,
    /// How long to wait for what.
    pub limits: Limits,
    /// The P2P flag means what it means in VFIO, unless the caller pins it.
    pub p2p: bool,
    /// Features that are left out.
    pub without: Without,
}

/// How to run.
pub type Run<'a> = runner::Run<'a, Subject<'a>>;

/// Runs these tests, then these walks. `done` is told of each result as it comes.
pub fn play(
    run: &Run<'_>,
    tests: &[&Test],
    walks: &[Walk],
    done: impl FnMut(&TestResult),
) -> SuiteReport {
    let Run { library, subject, .. } = *run;
    // A sound device fails no SET but for bad data, which is what every client builds on.
    let readings = &library.vfio().names.readings;
    let p2p = if subject.p2p { P2pFlag::AsVfio } else { P2pFlag::Unused };
    let usual = [readings.may_fail.as_option(MayFail::Resuming), readings.p2p_flag.as_option(p2p)];
    let walks: Vec<_> = walks.iter().map(|walk| (walk::test(*walk, library), *walk)).collect();
    let adapter = Adapter { library, subject, patience: AtomicU32::new(1) };
    runner::play(run, &adapter, run.open(&usual), tests, &walks, done)
}

struct Adapter<'a> {
    library: &'a Library,
    subject: Subject<'a>,
    /// How many times as long as usual it waits.
    patience: AtomicU32,
}

impl Draws for Adapter<'_> {
    type Form = Form;
    const SALT: u64 = 0x7666_696f;

    fn draw(&self, n: usize, random: &mut Random) -> Result<Act, TestEnd> {
        let text = walk::draw(n, random, &self.library.vfio().table);
        Act::parse(&text, &self.library.vfio().table).map_err(|(why, _)| TestEnd::Harness(why))
    }
}

impl runner::Adapter for Adapter<'_> {
    fn converse(
        &self,
        _test: &Test,
        rules: Rules,
        waived: &[ClauseId],
        hold: &mut Hold<'_, Form>,
    ) -> Result<(), TestEnd> {
        let Subject { place, limits, without, .. } = self.subject;
        let limits = Limits { work: limits.work * self.patience.load(Ordering::SeqCst), ..limits };
        let mut opened = Opened::at(place, self.library, &rules, without)?;
        hold(&mut Session::new(self.library, place, &mut opened, rules, limits, waived.to_vec()))
    }

    fn confirms(&self) -> bool {
        // A device that hangs is not asked again.
        self.subject.limits.confirms && self.subject.place.fresh()
    }

    fn wait_longer(&self, times: u32) {
        self.patience.store(times, Ordering::SeqCst);
    }

    fn line(&self, _: &Test, steps: &[Act]) -> String {
        let steps = steps.iter().map(|act| act.text(&self.library.vfio().table));
        steps.collect::<Vec<_>>().join("; ")
    }

    fn next(&self, result: &TestResult) -> Next {
        let is_silent = result.log.last().is_some_and(|last| last == "<- nothing");
        if is_silent && !self.subject.place.fresh() {
            return Next::End(format!("the device has not answered since {}", result.test));
        }
        Next::GoOn
    }
}

impl session::Session<Form> for Session<'_> {
    fn begin(&mut self, test: &Test) -> Result<(), TestEnd> {
        self.needs(&test.needs)
    }

    fn step(&mut self, _: &Test, step: &Act) -> Result<(), TestEnd> {
        self.act(step)
    }

    fn carefully(&mut self, _: &Test, step: &Act) -> Result<StepOutcome, TestEnd> {
        Session::carefully(self, step)
    }

    fn end(&mut self) -> Result<(), TestEnd> {
        self.act(&Act::Quiet)
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
        let features = format!("{:#x}", self.flags());
        Some(Offers { features, protocol_features: String::new() })
    }

    fn aftermath(&mut self) -> Aftermath {
        Session::aftermath(self)
    }

    fn knows_what_follows(&mut self, clause: ClauseId) -> bool {
        Session::knows_what_follows(self, clause)
    }

    fn has_judged(&self, test: &Test) -> bool {
        // What these compare is no event of the machine's.
        let compares =
            |act: &Act| matches!(act, Act::Flags | Act::Probe | Act::Unsupported | Act::Arguments);
        self.conversation.records().iter().any(Record::is_judged) || test.steps.iter().any(compares)
    }

    fn is_late(&self) -> bool {
        Session::is_late(self)
    }

    fn is_unanswered(&self) -> bool {
        Session::is_unanswered(self)
    }

    fn replay(&self, rules: Rules) -> Result<(), Fault> {
        self.conversation.replay(rules)
    }
}
