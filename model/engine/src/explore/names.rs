//! The names of the properties that every system has.

/// Programs break no clause, except those that they declare.
pub const RULES_KEPT: &str = "rules-kept";
/// No state other than an accepted end leaves every party waiting for another.
pub const DEADLOCK_FREE: &str = "deadlock-free";
/// Every obligation is fulfilled eventually.
pub const NO_STARVATION: &str = "no-starvation";
/// The properties that are checked of every system.
pub const OF_EVERY_SYSTEM: [&str; 3] = [RULES_KEPT, DEADLOCK_FREE, NO_STARVATION];
/// Ends the name of a vacuity check: that the antecedent of an `always` or `at END` occurs.
pub const NON_VACUOUS: &str = ": non-vacuous";

/// The present name of a property whose name has changed, for a message.
///
/// Files and scripts that were written before schema 2 of the reports use the names `rules`, `stuck`,
/// `progress` and `…: can happen`.
#[must_use]
pub fn renamed(old: &str) -> Option<String> {
    match old {
        "rules" => Some(RULES_KEPT.to_owned()),
        "stuck" => Some(DEADLOCK_FREE.to_owned()),
        "progress" => Some(NO_STARVATION.to_owned()),
        _ => old.strip_suffix(": can happen").map(|name| format!("{name}{NON_VACUOUS}")),
    }
}

/// What a property that every system has says, and a vacuity check, in one sentence.
#[must_use]
pub fn says(name: &str) -> Option<&'static str> {
    Some(match name {
        RULES_KEPT => "Programs break no clause, except those that they declare.",
        DEADLOCK_FREE => {
            "No state other than an accepted end leaves every party waiting for another."
        }
        NO_STARVATION => "Every obligation is fulfilled eventually.",
        _ if name.ends_with(NON_VACUOUS) => "The property speaks of something that happens.",
        _ => return None,
    })
}
