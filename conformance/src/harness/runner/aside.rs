//! What is told of a run besides its results in their order: those of tests that are over before their
//! turn, and what takes time without a result.
//!
//! **Invariant.** Nothing that is told here decides anything.

use std::fmt::Debug;

use crate::harness::report::Result as TestResult;

/// Who is told.
pub trait Aside: Debug + Sync {
    /// The test at this place of the run is over, and its turn has not come. What tests before it show may
    /// still change its result.
    fn early(&self, _place: usize, _result: &TestResult) {}

    /// From now on this goes on, and no result comes meanwhile.
    fn begins(&self, _what: &str) {}

    /// That is over.
    fn ends(&self) {}
}

/// Nothing is told.
impl Aside for () {}
