//! No verdict depends on how busy the machine is.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};

use devmig_conformance::harness::report::{Status, SuiteReport};
use devmig_conformance::vhost_user::reference;
use devmig_conformance::vhost_user::suite::{self, Test};
use devmig_engine::rules::Rules;
use devmig_model::registry::Library;

/// As many as a machine of two cores has six times over.
const BUSY: usize = 12;

/// Tests whose verdicts are about time: what must come, and what must not.
const ABOUT_TIME: [&str; 7] =
    ["stop.", "enable.", "restart.", "kick.", "status.", "suspended.", "device-state."];

fn verdicts(report: &SuiteReport) -> Vec<(&str, Status)> {
    report.results.iter().map(|result| (result.test.as_str(), result.status)).collect()
}

#[test]
fn no_verdict_differs_on_a_busy_machine() {
    let library = Library::builtin().unwrap();
    let suite = suite::builtin(&library).unwrap();
    let about_time = |test: &Test| ABOUT_TIME.iter().any(|start| test.id.starts_with(start));
    let tests: Vec<Test> = suite.into_iter().filter(about_time).collect();
    assert!(tests.len() >= 30, "{}", tests.len());
    let rules = Rules { off: library.spec.unobservable(), ..Rules::default() };
    let run = || reference::run(&library, rules, &tests, &|_| ()).unwrap();
    let quiet = run();
    let ends = AtomicBool::new(false);
    let busy = std::thread::scope(|scope| {
        for _ in 0..BUSY {
            scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    spin_loop();
                }
            });
        }
        let report = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        ends.store(true, Ordering::Relaxed);
        report
    });
    let busy = busy.unwrap();
    for (at, verdict) in verdicts(&quiet).into_iter().enumerate() {
        assert_eq!(verdicts(&busy)[at], verdict, "{}", busy.results[at].detail(""));
    }
    let passed = quiet.results.iter().filter(|result| result.status == Status::Pass).count();
    assert!(passed >= 25, "{passed}");
}
