//! About how long a test takes, by what it starts and waits for.
//!
//! **Not here:** how long a certain back-end takes: whoever runs the tests sees that.

use std::time::Duration;

use super::script::Act;
use super::session::Limits;
use super::suite::Test;
use crate::harness::walk::Walk;

/// A connection, and the process behind it.
const START: Duration = Duration::from_millis(300);
/// A step of a walk.
const STEP: Duration = Duration::from_millis(5);

/// About how long a test takes with these limits.
#[must_use]
pub fn of_test(test: &Test, limits: Limits) -> Duration {
    let step = |act: &Act| match act {
        Act::Reconnect | Act::Serves => START,
        // Many connections, of which most have the same process.
        Act::Forms(_) => START.saturating_mul(6),
        Act::Silence => limits.silence,
        Act::Quiet => limits.quiet,
        _ => Duration::ZERO,
    };
    START.saturating_add(test.steps.iter().map(step).sum())
}

/// About how long a walk takes.
#[must_use]
pub fn of_walk(walk: Walk) -> Duration {
    let steps = u32::try_from(walk.steps).unwrap_or(u32::MAX);
    START.saturating_add(STEP.saturating_mul(steps))
}
