//! What management owes in a migration: what has to have been heard before which call is made.
//!
//! ```text
//!   described -> checked -> created, and read back as asked -> the source stopped, its state loaded -> run
//!                                                                                    |
//!      the destination told to run, and no answer:  asked -> it runs: moved  <-------+
//!                                                     `----> it does not: destroyed, and the source runs
//! ```
//!
//! **Invariants.** It is judged by what management has heard, never by what is so: an answer that did not
//! come tells nothing. After a move the roles are exchanged, so the way back is judged by the same rules.

use serde_json::{Map, Value as Json};

use super::event::{Act, Answer, Call, Event};
use devmig_engine::machine::{Machine, Reaction, Verdict};
use devmig_engine::packed;
use devmig_engine::rules::RuleContext;

crate::clause_ids! {
    /// What management is judged by.
    pub struct ClauseIds {
        /// `device-model.refusal.early`
        early: "device-model.refusal.early",
        /// `device-model.create.reads-back`
        reads_back: "device-model.create.reads-back",
        /// `device-model.create.names-epoch`
        names_epoch: "device-model.create.names-epoch",
        /// `device-model.create.one-call`
        one_call: "device-model.create.one-call",
        /// `device-model.save.last`
        last: "device-model.save.last",
        /// `device-model.one-runner`
        one_runner: "device-model.one-runner",
        /// `device-model.failure.asks`
        asks: "device-model.failure.asks",
        /// `device-model.failure.source-runs`
        source_runs: "device-model.failure.source-runs",
    }
}

/// What was heard of one device.
#[packed]
pub struct Heard {
    /// Where it belongs.
    #[bits(1)]
    pub at: u8,
    /// A check said that the other host accepts it.
    pub checked: bool,
    /// What was made there was read back, and is what was asked for.
    pub read: bool,
    /// The source is stopped.
    pub stopped: bool,
    /// It was told to stop, and is not known to run again.
    pub halted: bool,
    /// Its state was saved since.
    pub saved: bool,
    /// The state was loaded there.
    pub loaded: bool,
    /// The other was told to run, and it is not known whether it does.
    pub told: bool,
}

impl Heard {
    const NOTHING: Heard = Heard {
        at: 0,
        checked: false,
        read: false,
        stopped: false,
        halted: false,
        saved: false,
        loaded: false,
        told: false,
    };

    /// The device has moved.
    fn moved(self) -> Heard {
        Heard { at: 1 - self.at, ..Heard::NOTHING }
    }
}

/// The same of both devices.
#[packed]
pub struct MigrationState {
    /// One by one.
    pub heard: [Heard; 2],
}

/// The rules of a migration.
#[derive(Clone, Debug)]
pub struct Migration {
    /// The clauses.
    pub laws: ClauseIds,
    /// What each device is: that never changes.
    pub configs: [u8; 2],
}

impl Migration {
    /// Something is asked of the host that the device is to move to.
    fn of_destination(
        &self,
        s: Heard,
        config: u8,
        (call, answer): (Call, Answer),
        judge: &mut RuleContext,
    ) -> Reaction<Heard> {
        let ClauseIds { early, names_epoch, one_call, last, one_runner, asks, .. } = self.laws;
        Reaction::To(match call {
            // Another description, another check.
            Call::Describe if answer.heard() => Heard { checked: false, ..s },
            Call::Create { .. } | Call::CreateShared if s.halted && judge.enforces(early) => {
                return Reaction::Violation(early);
            }
            Call::Create { dated, .. } if !(dated && s.checked) && judge.enforces(names_epoch) => {
                return Reaction::Violation(names_epoch);
            }
            Call::Write { .. } if judge.enforces(one_call) => return Reaction::Violation(one_call),
            Call::Create { .. } | Call::CreateShared => Heard { read: false, loaded: false, ..s },
            Call::Read => match answer {
                Answer::Is(_, true) if s.told => s.moved(),
                Answer::Is(found, _) => Heard { read: found == config, told: false, ..s },
                Answer::Absent => Heard { read: false, told: false, ..s },
                _ => return Reaction::Ignore,
            },
            Call::Load(_) if !s.saved && judge.enforces(last) => return Reaction::Violation(last),
            Call::Load(_) => Heard { loaded: answer == Answer::Done, ..s },
            Call::Run if !(s.stopped && s.loaded) && judge.enforces(one_runner) => {
                return Reaction::Violation(one_runner);
            }
            Call::Run if answer == Answer::Done => s.moved(),
            Call::Run if !answer.heard() => Heard { told: true, ..s },
            Call::Destroy | Call::Stop if s.told && judge.enforces(asks) => {
                return Reaction::Violation(asks);
            }
            Call::Destroy if answer == Answer::Done => {
                Heard { read: false, loaded: false, told: false, ..s }
            }
            Call::Destroy => Heard { read: false, loaded: false, ..s },
            _ => return Reaction::Ignore,
        })
    }

    /// Something is asked of the host that the device is on.
    fn of_source(
        &self,
        s: Heard,
        (call, answer): (Call, Answer),
        judge: &mut RuleContext,
    ) -> Reaction<Heard> {
        let ClauseIds { early, reads_back, one_runner, .. } = self.laws;
        Reaction::To(match call {
            Call::Stop if !s.checked && judge.enforces(early) => return Reaction::Violation(early),
            Call::Stop if !s.read && judge.enforces(reads_back) => {
                return Reaction::Violation(reads_back);
            }
            Call::Stop => Heard { stopped: answer == Answer::Done, halted: true, ..s },
            Call::Save => Heard { saved: matches!(answer, Answer::Saved(_)), ..s },
            Call::Run if s.told && judge.enforces(one_runner) => {
                return Reaction::Violation(one_runner);
            }
            // Whether it was heard or not, it is no longer known to be stopped, and what was loaded is
            // no longer what it is.
            Call::Run => {
                let halted = s.halted && answer != Answer::Done;
                Heard { stopped: false, halted, saved: false, loaded: false, ..s }
            }
            Call::Destroy if judge.enforces(one_runner) => return Reaction::Violation(one_runner),
            _ => return Reaction::Ignore,
        })
    }
}

impl Machine for Migration {
    type State = MigrationState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "migration"
    }

    fn initial(&self) -> MigrationState {
        MigrationState { heard: [Heard::NOTHING; 2] }
    }

    fn on(&self, s: &MigrationState, event: &Event, judge: &mut RuleContext) -> Verdict<Self> {
        let device = usize::from(event.device & 1);
        let (own, config) = (s.heard[device], self.configs[device]);
        let verdict = match event.act {
            Act::Check(_) if own.halted && judge.enforces(self.laws.early) => {
                Reaction::Violation(self.laws.early)
            }
            Act::Check(accepts) => Reaction::To(Heard { checked: accepts, ..own }),
            Act::Call(call, answer) if event.host == own.at => {
                self.of_source(own, (call, answer), judge)
            }
            Act::Call(call, answer) => self.of_destination(own, config, (call, answer), judge),
            Act::Work | Act::Change => Reaction::Ignore,
        };
        Ok(match verdict {
            Reaction::To(heard) => {
                let mut next = *s;
                next.heard[device] = heard;
                Reaction::To(next)
            }
            Reaction::Violation(clause) => Reaction::Violation(clause),
            Reaction::Unspecified(clause) => Reaction::Unspecified(clause),
            Reaction::Disabled => Reaction::Disabled,
            Reaction::Ignore => Reaction::Ignore,
        })
    }

    /// What was heard, the calls tell.
    fn describe(&self, _: &MigrationState) -> Map<String, Json> {
        Map::new()
    }
}
