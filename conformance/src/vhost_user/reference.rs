//! The suite against the reference back-end, over real sockets, side by side.
//!
//! ```text
//!   test 1, 2, 3 …  --a free one-->  back-end 1..4, each a thread with its own socket
//! ```
//!
//! **Invariants.** Every choice that the reference can take is pinned to the option that it is set
//! to, so no test depends on what another has shown, and results come in the suite's order.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use devmig_engine::rules::Rules;
use devmig_model::registry::Library;
use devmig_reference::vhost_user::{Options, Running, Settings};

use crate::harness::io::target::Target;
use crate::harness::parallel::in_turn;
use crate::harness::report::{Result as TestResult, SuiteReport, merged};
use crate::vhost_user::runner::{self, Run};
use crate::vhost_user::session::{Device, Limits, Subject};
use crate::vhost_user::suite::Test;
use crate::vhost_user::without::Without;

/// Back-ends that are tested at once. Most of the time is spent waiting.
const AT_ONCE: usize = 4;

/// How long a request takes, so that some are in flight when a test wants them to be.
const LATENCY: Duration = Duration::from_millis(2);

/// Runs these tests; `done` is told of each.
///
/// # Errors
/// If no back-end can be started or stopped, or a setting is no choice of the specification.
pub fn run(
    library: &Library,
    rules: Rules,
    tests: &[Test],
    done: &(impl Fn(&TestResult) + Sync),
) -> std::result::Result<SuiteReport, String> {
    let settings = Settings::default();
    let pins = settings.list().map(|setting| format!("vhost-user.{setting}"));
    let pinned = pins
        .map(|pin| library.spec.pin(&pin).map_err(|error| error.to_string()))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let mut options = Options::default();
    options.block.latency = LATENCY;
    let start = |_| Running::start(options.clone()).map_err(|error| error.to_string());
    let servers = (0..AT_ONCE).map(start).collect::<std::result::Result<Vec<_>, _>>()?;
    let places = servers.iter().map(|server| (server.socket(), server.outside()));
    let free: Mutex<Vec<(PathBuf, PathBuf)>> = Mutex::new(places.collect());
    let take = || free.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
    let reports = in_turn(tests, AT_ONCE, |test| {
        let (socket, outside) = take();
        let target = Target::Socket(socket.clone());
        let path = outside.to_string_lossy().into_owned();
        let subject = Subject {
            target: &target,
            device: Device::Blk,
            scratch: true,
            limits: Limits { owed: Duration::from_secs(2), ..Limits::default() },
            outside: Some(&path),
            without: Without::default(),
        };
        let run = Run {
            pinned: pinned.clone(),
            reproduce: "devmig test vhost-user --device blk --scratch --spawn 'devmig device blk \
                        --latency 2 --socket-path {socket}'"
                .to_owned(),
            ..Run::new(library, subject, "10.2", rules)
        };
        let report = runner::run(&run, &[test], done);
        free.lock().unwrap_or_else(PoisonError::into_inner).push((socket, outside));
        report
    });
    for server in servers {
        server.stop(Duration::from_secs(5)).map_err(|error| error.to_string())?;
    }
    merged(reports).ok_or_else(|| "there are no tests".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::report::Status;

    #[test]
    fn a_whole_suite_runs_side_by_side_and_in_order() {
        let library = Library::builtin().unwrap();
        let suite = crate::vhost_user::suite::builtin(&library).unwrap();
        let rules = Rules { off: library.spec.unobservable(), ..Rules::default() };
        let first = &suite[..8];
        let report = run(&library, rules, first, &|_| ()).unwrap();
        let ran: Vec<&str> = report.results.iter().map(|result| result.test.as_str()).collect();
        assert_eq!(ran, first.iter().map(|test| test.id.as_str()).collect::<Vec<_>>());
        assert!(report.results.iter().all(|r| r.status == Status::Pass), "{report:#?}");
        assert_eq!(report.summary.pass, 8);
        assert!(report.offers.is_some());
    }
}
