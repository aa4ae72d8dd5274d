//! About how long a run still takes: at first by what its tests start and wait for and by the first of them;
//! later by what has passed.
//!
//! ```text
//!   first results     their time, for each second that they were expected to take    --+
//!   then              the time that has passed, for each second that was expected    --+--> time left
//! ```
//!
//! **Invariant.** Nothing is said that is more exact than it can be.

use std::time::Duration;

/// A run that takes longer says beforehand how long.
const LONG: Duration = Duration::from_secs(20);

/// The tests of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How long each is expected to take, in order; only how they compare matters.
    pub(crate) lengths: Vec<Duration>,
    /// How many run at the same time.
    pub(crate) jobs: usize,
}

impl Plan {
    /// Tests that take equally long.
    pub(crate) fn even(tests: usize, jobs: usize) -> Self {
        Plan { lengths: vec![Duration::from_secs(1); tests], jobs }
    }
}

/// How far a run is.
#[derive(Debug)]
pub(crate) struct Pace {
    plan: Plan,
    done: usize,
    /// How long the tests so far took, each by itself.
    took: Duration,
}

impl Pace {
    /// No test has run.
    pub(crate) fn new(plan: Plan) -> Self {
        Pace { plan, done: 0, took: Duration::ZERO }
    }

    /// A test has ended: it took this many milliseconds.
    pub(crate) fn test_took(&mut self, milliseconds: u64) {
        self.done += 1;
        self.took += Duration::from_millis(milliseconds);
    }

    /// About how long the rest takes if the tests so far took this long in all; unknown before the first.
    pub(crate) fn left(&self, passed: Duration) -> Option<Duration> {
        let (done, rest) = self.plan.lengths.split_at_checked(self.done)?;
        let sum = |lengths: &[Duration]| lengths.iter().sum::<Duration>().as_secs_f64();
        let jobs = self.plan.jobs.max(1);
        // The first runs alone, and the next may be over while an earlier one still runs.
        let share = match self.done > jobs {
            true => passed.as_secs_f64(),
            false => self.took.as_secs_f64() / rest.len().clamp(1, jobs) as f64,
        };
        Duration::try_from_secs_f64(sum(rest) * share / sum(done)).ok()
    }

    /// What is said beforehand: after the first test, or, where several run at the same time and slow each
    /// other, after as many of these and one more. Nothing if the run is short.
    pub(crate) fn foresight(&self, passed: Duration) -> Option<String> {
        let enough = if self.plan.jobs > 1 { self.plan.jobs + 1 } else { 1 };
        let left = self.left(passed).filter(|left| self.done == enough && *left >= LONG)?;
        let tests = self.plan.lengths.len();
        let at_once = match self.plan.jobs {
            0 | 1 => String::new(),
            jobs => format!(", {jobs} at the same time"),
        };
        Some(format!("{}: {tests} tests{at_once}", about(left)))
    }

    /// What is said while it runs.
    pub(crate) fn outlook(&self, passed: Duration) -> String {
        let left = self.left(passed).filter(|left| *left >= Duration::from_secs(5));
        left.map(|left| format!("{} left", about(left))).unwrap_or_default()
    }
}

/// A duration as it is said of what is not known exactly.
fn about(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..30 => format!("about {} s", seconds.div_ceil(5).max(1) * 5),
        30..100 => format!("about {} s", seconds.div_ceil(10) * 10),
        _ => format!("about {} minutes", (seconds + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_long_run_says_so_after_its_first_test_and_a_short_one_does_not() {
        let mut pace = Pace::new(Plan::even(161, 1));
        assert_eq!(pace.left(Duration::ZERO), None);
        pace.test_took(1500);
        assert_eq!(pace.foresight(SECOND).as_deref(), Some("about 4 minutes: 161 tests"));
        let mut pace = Pace::new(Plan::even(161, 8));
        for _ in 0..8 {
            pace.test_took(1500);
            assert_eq!(pace.foresight(SECOND), None);
        }
        // Beside each other they take longer than the first did alone.
        pace.test_took(1500);
        let said = "about 90 s: 161 tests, 8 at the same time";
        assert_eq!(pace.foresight(5 * SECOND).as_deref(), Some(said));
        pace.test_took(1500);
        assert_eq!(pace.foresight(5 * SECOND), None);
        let mut pace = Pace::new(Plan::even(161, 8));
        (0..9).for_each(|_| pace.test_took(100));
        assert_eq!((pace.foresight(SECOND / 5), pace.outlook(SECOND / 5)), (None, String::new()));
    }

    #[test]
    fn later_the_time_that_has_passed_counts_and_long_tests_count_more() {
        let lengths = [1, 1, 1, 1, 6].map(Duration::from_secs).to_vec();
        let mut pace = Pace::new(Plan { lengths, jobs: 2 });
        (0..4).for_each(|_| pace.test_took(2000));
        assert_eq!(pace.left(4 * SECOND), Some(6 * SECOND));
        assert_eq!(pace.outlook(4 * SECOND), "about 10 s left");
        pace.test_took(6000);
        assert_eq!(pace.left(10 * SECOND), Some(Duration::ZERO));
        // More results than were planned for are no reason to fail.
        pace.test_took(1);
        assert_eq!(pace.left(10 * SECOND), None);
    }

    #[test]
    fn times_are_rounded() {
        let said = [0, 21, 29, 41, 99, 100, 240, 3600].map(|s| about(Duration::from_secs(s)));
        let numbers = said.map(|said| said.replace("about ", ""));
        let wanted =
            ["5 s", "25 s", "30 s", "50 s", "100 s", "2 minutes", "4 minutes", "60 minutes"];
        assert_eq!(numbers, wanted);
    }
}
