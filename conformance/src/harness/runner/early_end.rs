//! When a run ends before its last test: nothing more can be learned from an implementation that cannot be
//! reached, does not answer or dies.
//!
//! ```text
//!   never reached, or gone for good                          after this test
//!   UNANSWERED tests in a row end alike, none with an answer  after the last of them
//!   DEAD tests in a row die alike, or lack the reply to one message,
//!        and TIMES as many as ended in another way before     after the last of them
//! ```
//!
//! **Invariant.** A run goes on where another test may still show something else: a skipped test neither
//! continues a row nor ends it, and a test that ends in another way ends it.

use crate::harness::report::{Result as TestResult, Status};

/// Tests in a row that end alike without any answer.
pub(super) const UNANSWERED: usize = 3;

/// Tests in a row that die alike, or lack the reply to one message.
pub(super) const DEAD: usize = 5;

/// A run ends early if in a row at least this many times as many tests die, or lack one reply, as ended in
/// another way before.
const TIMES: usize = 2;

/// What one test has met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Met {
    /// A conversation was opened.
    pub(super) reached: bool,
    /// The implementation answered at least once.
    pub(super) answered: bool,
    /// The process died, or the connection was closed.
    pub(super) died: bool,
    /// It ended since a message had no reply in time.
    pub(super) unanswered: bool,
    /// The implementation cannot be reached, and no later test will reach it.
    pub(super) gone: bool,
}

/// What the tests so far have met.
#[derive(Debug, Default)]
pub(super) struct EarlyEnd {
    /// Some test has reached the implementation.
    reached: bool,
    /// Tests that ended in another way than the row.
    other: usize,
    row: Option<Row>,
}

/// Tests that ended alike, one after the other.
#[derive(Debug)]
struct Row {
    cause: (Status, String, Option<String>),
    count: usize,
    answered: bool,
    died: bool,
    unanswered: bool,
}

impl EarlyEnd {
    /// Why no further test runs, after this one.
    pub(super) fn after(&mut self, result: &TestResult, met: Met) -> Option<String> {
        self.reached |= met.reached;
        let cause = result.observed.as_deref().unwrap_or_default();
        let cause = cause.lines().next().unwrap_or_default().to_owned();
        if met.gone {
            return Some(cause);
        }
        match result.status {
            Status::Skip | Status::NotRun => return None,
            Status::Fail | Status::Warn | Status::Error => {}
            Status::Pass | Status::Waived | Status::Empty => {
                self.other += 1 + self.row.take().map_or(0, |row| row.count);
                return None;
            }
        }
        // What follows the first line is what a process printed, and a message about a start names a path
        // that differs from start to start.
        let seen = met.reached.then(|| cause.clone());
        let key = (result.status, result.clause.clone(), seen);
        let row = match self.row.take() {
            // A test about another clause can end alike.
            Some(row) if (row.cause.0, &row.cause.2) == (key.0, &key.2) => Row {
                count: row.count + 1,
                answered: row.answered || met.answered,
                died: row.died && met.died,
                unanswered: row.unanswered && met.unanswered,
                ..row
            },
            before => {
                self.other += before.map_or(0, |row| row.count);
                let Met { answered, died, unanswered, .. } = met;
                Row { cause: key, count: 1, answered, died, unanswered }
            }
        };
        let is_mute = !row.answered && row.count >= UNANSWERED;
        let is_dead = (row.died || row.unanswered) && row.count >= DEAD.max(TIMES * self.other);
        let why = format!("{} tests in a row ended alike: {cause}", row.count);
        self.row = Some(row);
        (is_mute || is_dead).then_some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::report::Outcome;
    use crate::harness::verdict::TestInfo;
    use devmig_engine::clause::ClauseId;
    use devmig_model::registry::Library;

    const MUTE: Met =
        Met { reached: true, answered: false, died: false, unanswered: true, gone: false };
    const DIES: Met =
        Met { reached: true, answered: true, died: true, unanswered: false, gone: false };
    const LACKS: Met = Met { died: false, unanswered: true, ..DIES };

    /// After which of these tests a run ends.
    fn ends(tests: &[(Status, &str, Met)]) -> Option<usize> {
        let library = Library::builtin().unwrap();
        let mut end = EarlyEnd::default();
        tests.iter().position(|(status, observed, met)| {
            let outcome =
                Outcome { observed: Some((*observed).to_owned()), ..Outcome::new(*status) };
            let about = TestInfo { test: "a", purpose: "", clause: ClauseId::NONE };
            let result = about.result(&library, outcome, Vec::new(), String::new());
            end.after(&result, *met).is_some()
        })
    }

    #[test]
    fn a_mute_implementation_ends_a_run_and_a_skipped_test_does_not_matter() {
        let mute = (Status::Fail, "no reply", MUTE);
        assert_eq!(ends(&[mute, mute, mute, mute]), Some(2));
        assert_eq!(ends(&[mute, (Status::Skip, "needs", MUTE), mute, mute]), Some(3));
        assert_eq!(ends(&[mute, mute, (Status::Fail, "other", MUTE), mute, mute]), None);
        let pass = (Status::Pass, "", Met { answered: true, ..MUTE });
        assert_eq!(ends(&[pass, mute, mute, pass, mute, mute, mute]), Some(6));
    }

    #[test]
    fn one_that_dies_ends_a_run_only_if_little_else_was_seen() {
        let dies = (Status::Fail, "the process ended", DIES);
        let pass = (Status::Pass, "", Met { died: false, ..DIES });
        assert_eq!(ends(&[dies; 9]), Some(DEAD - 1));
        // A few that end before it would show have passed by luck; many show that more may be learned.
        assert_eq!(ends(&[&[pass; 2][..], &[dies; 9]].concat()), Some(2 + DEAD - 1));
        assert_eq!(ends(&[&[pass; 5][..], &[dies; 9]].concat()), None);
        assert_eq!(ends(&[&[pass; 5][..], &[dies; 10]].concat()), Some(14));
        assert_eq!(
            ends(&[(Status::Fail, "a request is lost", Met { died: false, ..DIES }); 9]),
            None
        );
    }

    #[test]
    fn one_that_never_replies_to_a_message_ends_a_run_only_if_little_else_was_seen() {
        let lacks = (Status::Fail, "no reply to GET_PROTOCOL_FEATURES within 3s", LACKS);
        let other = (Status::Fail, "no reply to GET_CONFIG within 3s", LACKS);
        let late = (Status::Fail, "nothing more within 3s", Met { unanswered: false, ..LACKS });
        let pass = (Status::Pass, "", Met { unanswered: false, ..LACKS });
        assert_eq!(ends(&[lacks; 9]), Some(DEAD - 1));
        assert_eq!(ends(&[&[pass; 5][..], &[lacks; 9]].concat()), None);
        assert_eq!(ends(&[lacks, other, lacks, other, lacks, other, lacks, other]), None);
        assert_eq!(ends(&[late; 9]), None);
    }

    #[test]
    fn one_that_is_gone_ends_a_run_at_once() {
        assert_eq!(ends(&[(Status::Error, "gone", Met { gone: true, ..MUTE })]), Some(0));
    }
}
