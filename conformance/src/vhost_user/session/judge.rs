//! What is judged: every event is recorded and put to the machine, and its answer becomes what ends a
//! test.

use super::*;
use crate::harness::io::process::Process;

/// What was sent, done and seen, for judging it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// A message was sent.
    Sent(Event),
    /// The tester did something, or the back-end did, or nothing came for so long.
    Seen(Event),
    /// Nothing came for as long as this may take.
    Silent(TimeClass),
    /// A fresh conversation began.
    Fresh,
    /// Something that no reading of the text allows: a malformed answer, a wrong result.
    Wrong,
}

/// Whether other rules allow the same conversation.
#[must_use]
pub fn allows(machine: &TestMachine, rules: Rules, records: &[Record]) -> bool {
    let mut possible = StateEstimate::new(machine, rules);
    records.iter().all(|record| match record {
        Record::Sent(event) => {
            possible.send(*event);
            true
        }
        Record::Seen(event) => possible.observe(event).is_ok(),
        Record::Silent(class) => possible.silent(*class).is_ok(),
        Record::Wrong => false,
        Record::Fresh => {
            possible = StateEstimate::new(machine, rules);
            true
        }
    })
}

impl Session<'_> {
    pub(super) fn observe(&mut self, event: &Event) -> Result<(), TestEnd> {
        self.say("<-", event);
        self.records.push(Record::Seen(*event));
        match self.possible.observe(event) {
            Ok(()) => Ok(()),
            Err(fault) => {
                let observed = label(self.machine, event);
                self.fault(fault, observed)
            }
        }
    }

    pub(super) fn did(&mut self, event: &Event) -> Result<(), TestEnd> {
        self.say("->", event);
        self.records.push(Record::Seen(*event));
        self.announced(event);
        match self.possible.did(event) {
            Ok(()) => Ok(()),
            Err(fault) => self.fault(fault, label(self.machine, event)),
        }
    }

    /// Up to where the machine knows of chains.
    fn announced(&mut self, event: &Event) {
        let (Event::Available { ring } | Event::Renew { ring, .. }) = event else { return };
        let Some(line) = self.lines.get_mut(*ring as usize) else { return };
        line.announced = match event {
            Event::Renew { index, .. } => *index,
            _ => line.announced.wrapping_add(1),
        };
    }

    pub(super) fn saw_close(&mut self) -> Result<(), TestEnd> {
        self.connection = None;
        // A server on its way out may still take a connection, and then close it unread. What came in
        // pieces is another matter: a back-end may close on that.
        let served = self.records.iter().any(|r| matches!(r, Record::Seen(Event::Reply { .. })));
        let whole = self.pieces == 0;
        if !self.first && !served && whole && matches!(self.target, Target::Socket(_)) {
            let error = "the connection is closed before any reply".to_owned();
            return Err(harness(TargetError::Gone { error }));
        }
        let ended = self.live.process.as_mut().and_then(Process::exit_status);
        match self.observe(&Event::Close) {
            Err(TestEnd::Finding { clause, expected, .. }) => {
                let how = ended.map(|status| format!("; the process ended: {status}"));
                let observed = format!("the connection is closed{}", how.unwrap_or_default());
                Err(TestEnd::Finding { clause, observed, expected })
            }
            other => other,
        }
    }

    pub(super) fn silent(&mut self, class: TimeClass) -> Result<(), Fault> {
        self.records.push(Record::Silent(class));
        self.possible.silent(class)
    }

    pub(super) fn say(&mut self, direction: &str, event: &Event) {
        self.log.push(format!("{direction} {}", label(self.machine, event)));
    }

    pub(super) fn fault(&self, fault: Fault, observed: String) -> Result<(), TestEnd> {
        Err(match fault {
            Fault::Broken { clauses, allowed } => TestEnd::Finding {
                clause: clauses.first().copied().unwrap_or(ClauseId::NONE),
                observed,
                expected: allowed,
            },
            Fault::Script { clause } => {
                TestEnd::Harness(format!("the test itself breaks clause {}", clause.index()))
            }
            Fault::TooMany => TestEnd::Harness(fault.to_string()),
        })
    }

    pub(super) fn finding(&mut self, clause: ClauseId, observed: &str) -> Result<(), TestEnd> {
        if self.possible.undefined() || self.rules.off.contains(clause) {
            return Ok(());
        }
        self.records.push(Record::Wrong);
        let expected = self.possible.allowed();
        Err(TestEnd::Finding { clause, observed: observed.to_owned(), expected })
    }
}

pub(super) fn harness(error: impl std::fmt::Display) -> TestEnd {
    TestEnd::Harness(error.to_string())
}
