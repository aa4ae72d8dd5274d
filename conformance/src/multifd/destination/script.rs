//! The steps of a test of a destination.

use crate::harness::steps::{Named, steps};
use crate::multifd::faults::{FAULTS, Fault};

/// A fault, by its place among all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultName(usize);

impl FaultName {
    /// The fault.
    #[must_use]
    pub fn fault(self) -> Option<&'static Fault> {
        FAULTS.get(self.0)
    }
}

const COUNT: usize = FAULTS.len();

const fn names() -> [(&'static str, FaultName); COUNT] {
    let mut names = [("", FaultName(0)); COUNT];
    let mut place = 0;
    while place < COUNT {
        names[place] = (FAULTS[place].name, FaultName(place));
        place += 1;
    }
    names
}

impl Named for FaultName {
    const NAMES: &'static [(&'static str, Self)] = &names();
    const WHAT: &'static str = "fault";
}

steps! {
    /// A step.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Step in () {
        Off = "switch multifd off": "the destination has no capability multifd";
        Send = "send": "send the migration as it was recorded";
        MainAlone = "send main alone": "send the main stream, and open no channel";
        Fault(fault: FaultName) = "send with FAULT": "send the migration with this fault";
        Completes = "completes":
            "the migration completes, and the memory is that of the source";
        RefusesOrSame = "refuses or is the same":
            "the migration fails, or completes with the memory of the source";
    }
}
