//! Counts how often the premise of a generated test held.
//!
//! "If it decodes, then it encodes again" passes if nothing ever decodes. So a generated test counts
//! the cases in which its premise held, and asserts in the end that there were enough:
//!
//! ```
//! use devmig_testing::Premises;
//!
//! let premises = Premises::new();
//! for n in 0..100_u32 {
//!     if premises.holds("even", n.is_multiple_of(2)) {
//!         assert!((n / 2) * 2 == n);
//!     }
//!     premises.met(format!("ends with {}", n % 3));
//! }
//! premises.at_least("even", 33);
//! premises.each(["ends with 0", "ends with 1", "ends with 2"], 10);
//! ```
//!
//! Each assertion prints what it found, so `cargo test NAME -- --nocapture` shows how often a premise
//! holds. Generators draw at random: choose bounds that chance does not miss (a half of the mean is six
//! standard deviations away if 150 cases are expected).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often a premise was asked for, and how often it held.
#[derive(Clone, Copy, Default)]
struct Count {
    asked: u64,
    held: u64,
}

type Counts = BTreeMap<Cow<'static, str>, Count>;

/// The premises of one test, by name. It can be a `static`, since quickcheck takes functions only.
#[derive(Default)]
pub struct Premises(Mutex<Counts>);

impl Premises {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Premises(Mutex::new(BTreeMap::new()))
    }

    /// Counts whether a premise holds in this case, and returns that.
    pub fn holds(&self, premise: impl Into<Cow<'static, str>>, holds: bool) -> bool {
        let mut counts = self.counts();
        let count = counts.entry(premise.into()).or_default();
        count.asked += 1;
        count.held += u64::from(holds);
        holds
    }

    /// Counts a premise that holds in this case: one of several outcomes, a variant of an enum.
    pub fn met(&self, premise: impl Into<Cow<'static, str>>) {
        self.holds(premise, true);
    }

    /// Asserts that a premise held in at least so many per cent of the cases that asked for it.
    ///
    /// # Panics
    /// If it did not, or no case asked for it.
    #[track_caller]
    pub fn at_least(&self, premise: &str, percent: u64) {
        let counts = self.counts();
        let Count { asked, held } = counts.get(premise).copied().unwrap_or_default();
        println!("`{premise}` held in {held} of {asked} cases; at least {percent} % are expected");
        assert!(
            held > 0 && held * 100 >= asked * percent,
            "`{premise}` held in {held} of {asked} cases; at least {percent} % are expected\n{}",
            table(&counts)
        );
    }

    /// Asserts that each of these premises held at least so many times.
    ///
    /// # Panics
    /// If one did not.
    #[track_caller]
    pub fn each<P: Display>(&self, premises: impl IntoIterator<Item = P>, times: u64) {
        let counts = self.counts();
        let names: Vec<String> = premises.into_iter().map(|premise| premise.to_string()).collect();
        let held = |name: &String| counts.get(name.as_str()).map_or(0, |count| count.held);
        for name in &names {
            println!("`{name}` held {} times; at least {times} are expected", held(name));
        }
        let rare: Vec<&String> = names.iter().filter(|name| held(name) < times).collect();
        assert!(
            rare.is_empty() && !names.is_empty(),
            "{rare:?} held less than {times} times\n{}",
            table(&counts)
        );
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // A case that panicked is reported by its test; what was counted is still right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn table(counts: &Counts) -> String {
    let row = |(name, count): (&Cow<'static, str>, &Count)| {
        format!("  {:>8} of {:>8}  {name}\n", count.held, count.asked)
    };
    counts.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn refused(assertion: impl FnOnce()) -> String {
        let panic = catch_unwind(AssertUnwindSafe(assertion)).expect_err("nothing was asserted");
        panic.downcast_ref::<String>().cloned().unwrap_or_default()
    }

    fn counted() -> Premises {
        let premises = Premises::new();
        for n in 0..10 {
            assert_eq!(premises.holds("small", n < 3), n < 3);
        }
        premises.met("once");
        premises
    }

    #[test]
    fn a_premise_that_seldom_holds_is_refused_with_its_count() {
        counted().at_least("small", 30);
        let said = refused(|| counted().at_least("small", 31));
        assert!(said.contains("`small` held in 3 of 10 cases"), "{said}");
    }

    #[test]
    fn a_premise_that_is_never_asked_for_is_refused() {
        let said = refused(|| counted().at_least("smal", 0));
        assert!(said.contains("`smal` held in 0 of 0 cases"), "{said}");
        let said = refused(|| counted().each(["once", "twice"], 1));
        assert!(said.contains("[\"twice\"] held less than 1 times"), "{said}");
        refused(|| counted().each([] as [&str; 0], 1));
        counted().each(["once", "small"], 1);
    }
}
