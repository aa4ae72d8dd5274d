//! The steps of a test of a destination.

use crate::harness::steps::{Named, steps};
use crate::multifd::faults::{FAULTS, Fault, REORDERINGS, Reordering};

/// Something of a list that a step names, by its place there.
macro_rules! of_list {
    ($about:literal, $Name:ident, $list:ident, $Of:ty, $what:literal, $get:ident) => {
        #[doc = $about]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $Name(usize);

        impl $Name {
            /// It.
            #[must_use]
            pub fn $get(self) -> Option<&'static $Of> {
                $list.get(self.0)
            }
        }

        impl Named for $Name {
            #[expect(clippy::indexing_slicing, reason = "it is computed when this is compiled")]
            const NAMES: &'static [(&'static str, Self)] = &{
                let mut names = [("", $Name(0)); $list.len()];
                let mut place = 0;
                while place < $list.len() {
                    names[place] = ($list[place].name, $Name(place));
                    place += 1;
                }
                names
            };
            const WHAT: &'static str = $what;
        }
    };
}

of_list!("A fault.", FaultName, FAULTS, Fault, "fault", fault);
of_list!("A reordering.", OrderName, REORDERINGS, Reordering, "reordering", reordering);

steps! {
    /// A step.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Step in () {
        Off = "switch multifd off": "the destination has no capability multifd";
        Send = "send": "send the migration as it was recorded";
        MainAlone = "send main alone": "send the main stream, and open no channel";
        Fault(fault: FaultName) = "send with FAULT": "send the migration with this fault";
        Reordered(order: OrderName) = "send reordered by REORDERING":
            "send the same packets in another order";
        Completes = "completes":
            "the migration completes, and the memory is that of the source";
        RefusesOrSame = "refuses or is the same":
            "the migration fails, or completes with the memory of the source";
    }
}
