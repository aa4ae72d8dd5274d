//! One case of one test: the steps are taken, and what comes is held against what the case should be.
//!
//! | file | its one job |
//! |---|---|
//! | `description.rs` | what the program prints of itself |
//! | `making.rs` | devices that are asked for: made, or refused |
//! | `meeting.rs` | several devices, clients and connections of one control program |
//! | `moving.rs` | state that is saved and loaded |
//!
//! **Invariant.** A session ends what it started, whatever ends it.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod description;
mod making;
mod meeting;
mod moving;

pub use description::Hosts;

use devmig_engine::clause::ClauseId;

use self::making::{Attempt, Before};
use super::arguments::Asked;
use super::cases::Case;
use super::control::Control;
use super::script::Step;
use super::state::Device;
use super::subject::Subject;
use super::suite::Test;
use super::transport::Transport;
use crate::harness::aftermath::Aftermath;
use crate::harness::io::process::Remains;
use crate::harness::verdict::TestEnd;
use crate::vfio::device::HarnessError;

/// One case of one test.
#[derive(Debug)]
pub struct Session<'a> {
    subject: &'a Subject,
    hosts: Option<&'a Hosts>,
    test: &'a Test,
    case: Option<&'a Case>,
    transport: Transport,
    /// What was done, and what came of it.
    pub log: Vec<String>,
    /// What was printed: its description, and the same in this project's form.
    printed: Vec<Option<Vec<u8>>>,
    control: Option<Control>,
    attempt: Option<Attempt>,
    /// Whether the device is the other of the case.
    is_other: bool,
    before: Before,
    device: Option<Device>,
    saved: Vec<Vec<u8>>,
    /// What a guest could read.
    seen: Vec<(u32, Vec<u8>)>,
}

impl<'a> Session<'a> {
    /// Nothing is done yet.
    ///
    /// # Errors
    /// [`TestEnd::Skip`] if the subject has no such transport.
    pub fn new(
        subject: &'a Subject,
        hosts: Option<&'a Hosts>,
        test: &'a Test,
        case: Option<&'a Case>,
    ) -> Result<Self, TestEnd> {
        let transport = match test.own.transport {
            Some(transport) => transport,
            None => subject.transports.first().map_or(Transport::VhostUser, |(first, _)| *first),
        };
        if subject.listening(transport).is_none() {
            return Err(TestEnd::Skip(format!("needs a device over {}", transport.name())));
        }
        Ok(Session {
            subject,
            hosts,
            test,
            case,
            transport,
            log: Vec::new(),
            printed: Vec::new(),
            control: None,
            attempt: None,
            is_other: false,
            before: Before::default(),
            device: None,
            saved: Vec::new(),
            seen: Vec::new(),
        })
    }

    /// Takes a step.
    ///
    /// # Errors
    /// See [`TestEnd`].
    pub fn step(&mut self, step: Step) -> Result<(), TestEnd> {
        match step {
            Step::Describe => self.describe(),
            Step::DescribeAgain => self.describe_again(false),
            Step::DescribeWithCase => self.describe_again(true),
            Step::StatementsAgree => self.statements_agree(),
            Step::InitialAccepted => self.initial_accepted(),
            Step::Make => {
                self.is_other = false;
                self.make()
            }
            Step::Refuse => self.refuse(),
            Step::Status => self.status(),
            Step::Named => self.named(),
            Step::ReadBack => self.read_back(),
            Step::Delete => self.delete(),
            Step::MakeOther => {
                self.is_other = true;
                self.make()
            }
            Step::Change => self.change(),
            Step::MakeAgain => self.make_again(),
            Step::Unchanged => self.unchanged(),
            Step::RefuseAnother => self.refuse_another(),
            Step::MakeBeside => self.make_beside(),
            Step::ReadBackBeside => self.read_back_beside(),
            Step::DeleteBeside => self.delete_beside(),
            Step::NewClient => self.new_client(),
            Step::NothingLeft => self.nothing_left(),
            Step::Attach => self.attach(),
            Step::Detach => {
                self.device = None;
                Ok(())
            }
            Step::Start => self.start(Who::Own),
            Step::StartOther => self.start(Who::Other),
            Step::StartPeer => self.start(Who::Peer),
            Step::StartElsewhere => self.start(Who::Elsewhere),
            Step::Save => self.save(),
            Step::Load => self.load(),
            Step::RefuseState => self.refuse_state(),
            Step::Same => self.same(),
            Step::Golden => self.golden(),
            Step::Look => self.look(),
            Step::SameLook => self.same_look(),
        }
    }

    /// What is left of what was started: of the first that ended by itself.
    pub fn aftermath(&mut self) -> Aftermath {
        let mut all = Vec::new();
        if let Some(device) = &mut self.device {
            all.push(device.remains());
        }
        if let Some(Attempt::Made(connected)) = &mut self.attempt {
            all.push(connected.remains());
        }
        if let Some(control) = &mut self.control {
            all.push(control.remains());
        }
        // What ended explains more than what was still there.
        all.sort_by_key(|remains: &Remains| remains.ended.is_none());
        let remains = all.into_iter().next().unwrap_or_default();
        Aftermath { closed: false, wrongly: false, stalled: true, remains }
    }

    fn case(&self) -> Result<&'a Case, TestEnd> {
        self.case.ok_or_else(|| TestEnd::Harness("this step is for a case".into()))
    }

    /// What is asked for now.
    fn asked(&self) -> Result<&'a Asked, TestEnd> {
        let case = self.case()?;
        match self.is_other {
            false => Ok(&case.asked),
            true => self.other(),
        }
    }

    fn other(&self) -> Result<&'a Asked, TestEnd> {
        let other = self.case()?.other.as_ref();
        other.ok_or_else(|| TestEnd::Harness("this step is for a case with another device".into()))
    }

    fn say(&mut self, line: impl Into<String>) {
        self.log.push(line.into());
    }

    fn command(&mut self, words: &[String]) {
        self.say(format!("$ {}", shell_words::join(words)));
    }
}

/// Whose device is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Own,
    Other,
    Peer,
    Elsewhere,
}

fn finding(observed: impl Into<String>, expected: &str) -> TestEnd {
    let expected = match expected {
        "" => Vec::new(),
        text => vec![text.to_owned()],
    };
    TestEnd::Finding { clause: ClauseId::NONE, observed: observed.into(), expected }
}

fn harness(error: impl std::fmt::Display) -> TestEnd {
    TestEnd::Harness(error.to_string())
}

/// What a device's trouble means for a test.
fn stop(trouble: HarnessError) -> TestEnd {
    match trouble {
        HarnessError::Lacks(what) => TestEnd::Skip(format!("needs {what}")),
        HarnessError::Harness(why) => TestEnd::Harness(why),
        HarnessError::Unreached { why, ended, for_good } => {
            TestEnd::Unreached { why, ended, for_good }
        }
        HarnessError::Gone(why) => TestEnd::died(why),
        HarnessError::Wrong(observed)
        | HarnessError::Malformed { said: observed, .. }
        | HarnessError::Silent(observed) => finding(observed, "an answer"),
    }
}
