//! How surely the suite sees what a stop loses. It has a program of its own: the moment is a matter of time, and
//! other tests beside it would take that.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

mod common;

use std::time::Duration;

use devmig_conformance::harness::parallel::in_turn;
use devmig_reference::vhost_user::Mutant;

use common::with_back_end;

/// Runs at the same time.
const AT_ONCE: usize = 2;

/// A back-end whose requests take a few hundred microseconds, and that treats one of those in flight at a
/// stop wrongly: the moment is found, whenever it is.
#[test]
fn a_request_that_a_stop_loses_is_seen_in_19_of_20_runs() {
    const RUNS: usize = 20;
    with_back_end(|bench| {
        let test = |id| bench.suite.iter().find(|test| test.id == id).unwrap();
        let (amid, none_lost) = (test("stop.amid"), test("stop.loses-none"));
        let fast = Duration::from_micros(300);
        let found = in_turn(&[(); RUNS], AT_ONCE, |()| {
            let report = bench.run_fast(fast, Some(Mutant::StopLosesOne), &[none_lost]).unwrap();
            report.results.iter().any(|result| result.is_finding())
        });
        let found = found.into_iter().filter(|found| *found).count();
        assert!(found >= RUNS - 1, "found in {found} of {RUNS} runs");
        for latency in [Duration::ZERO, fast, Duration::from_millis(3)] {
            let report = bench.run_fast(latency, None, &[amid, none_lost]).unwrap();
            assert_eq!(report.summary.pass, 2, "{latency:?}: {report:#?}");
        }
    });
}
