//! A few values that stand for all: values that no set in sight tells apart are alike, so one of each
//! kind is enough to decide a question about configurations.
//!
//! **Invariant.** Everything here is bounded: more than [`MAX_SETS`] sets, [`MAX_CLASSES`] values for a
//! parameter or [`MAX_STEPS`] steps of a search give [`TooMuch`], never a wrong answer.

use std::collections::{BTreeMap, BTreeSet};

use super::allowed::Allowed;
use super::configuration::Settings;
use super::constraint::Constraint;
use super::value::{Name, Type, Value};

/// The most sets that are told apart for one parameter.
pub const MAX_SETS: usize = 2048;
/// The most values that stand for those of one parameter.
pub const MAX_CLASSES: usize = 4096;
/// The most steps of one search.
pub const MAX_STEPS: usize = 1 << 20;

/// A question too large to be decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there are too many cases to distinguish")]
pub struct TooMuch;

/// Values of a type of which every other value is like one, as far as these sets can tell. Those that
/// are `named` stand for themselves alone: something else may tell them apart (an off value is in effect
/// nothing), so each kind of the others has its own.
///
/// # Errors
/// If there are too many.
pub fn representatives(
    kind: Type,
    sets: &[&Allowed],
    named: &[&Value],
) -> Result<Vec<Value>, TooMuch> {
    if sets.len() > MAX_SETS {
        return Err(TooMuch);
    }
    let mut all: BTreeSet<Value> = named.iter().map(|value| (*value).clone()).collect();
    match kind {
        Type::Bool => all.extend([false, true].map(Value::Bool)),
        Type::Int => {
            let mut cuts = BTreeSet::from([0]);
            // The first that is not named.
            cuts.extend(named.iter().filter_map(|value| match value {
                Value::Int(n) => n.checked_add(1),
                _ => None,
            }));
            for set in sets {
                let Allowed::Int(ranges) = set else { continue };
                cuts.extend(
                    ranges.iter().flat_map(|(lo, hi)| [Some(*lo), hi.checked_add(1)]).flatten(),
                );
                if cuts.len() > MAX_CLASSES {
                    return Err(TooMuch);
                }
            }
            all.extend(cuts.into_iter().map(Value::Int));
        }
        Type::Str => {
            for set in sets {
                let Allowed::Str(texts) = set else { continue };
                all.extend(texts.iter().cloned().map(Value::Str));
                if all.len() > MAX_CLASSES {
                    return Err(TooMuch);
                }
            }
            // One that nobody names.
            let longest = all.iter().filter_map(|v| match v {
                Value::Str(text) => Some(text.chars().count()),
                _ => None,
            });
            let fresh = "x".repeat(longest.max().unwrap_or(0) + 1);
            all.extend(Value::text(&fresh).ok());
        }
    }
    if all.len() > MAX_CLASSES || all.len().saturating_mul(sets.len()) > MAX_STEPS {
        return Err(TooMuch);
    }
    // All that are named, and one of each kind of the others.
    let mut seen = BTreeSet::new();
    all.retain(|value| {
        let signature = || sets.iter().map(|set| set.contains(value)).collect::<Vec<_>>();
        named.contains(&value) || seen.insert(signature())
    });
    Ok(all.into_iter().collect())
}

/// Calls `each` with every assignment from the domains that keeps the constraints, in order; it says
/// whether to go on. A constraint is looked at as soon as all its parameters have a value, so that
/// parameters outside the domains have to be in `fixed`.
///
/// # Errors
/// If it takes too many steps.
pub fn assignments(
    domains: &BTreeMap<Name, Vec<Value>>,
    fixed: &Settings,
    constraints: &[&Constraint],
    each: &mut dyn FnMut(&Settings) -> bool,
) -> Result<(), TooMuch> {
    let names: Vec<&Name> = domains.keys().collect();
    let depth_of = |constraint: &Constraint| {
        let of = |name: &Name| names.iter().position(|known| *known == name).map_or(0, |i| i + 1);
        constraint.parameters().into_iter().map(of).max().unwrap_or(0)
    };
    let mut due: Vec<Vec<&Constraint>> = vec![Vec::new(); names.len() + 1];
    for constraint in constraints {
        if let Some(at) = due.get_mut(depth_of(constraint)) {
            at.push(constraint);
        }
    }
    let mut settings = fixed.clone();
    if !due[0].iter().all(|constraint| constraint.holds(&settings)) {
        return Ok(());
    }
    // Which value each parameter is at: an odometer, so that depth is no matter of the stack.
    let mut at = vec![0_usize; names.len()];
    let (mut depth, mut steps) = (0, 0);
    loop {
        if depth == names.len() {
            if !each(&settings) {
                return Ok(());
            }
            if depth == 0 {
                return Ok(());
            }
            depth -= 1;
            continue;
        }
        let name = names[depth];
        let Some(value) = domains.get(name).and_then(|values| values.get(at[depth])) else {
            at[depth] = 0;
            settings.remove(name);
            if depth == 0 {
                return Ok(());
            }
            depth -= 1;
            continue;
        };
        at[depth] += 1;
        steps += 1 + due[depth + 1].len();
        if steps > MAX_STEPS {
            return Err(TooMuch);
        }
        settings.insert(name.clone(), value.clone());
        if due[depth + 1].iter().all(|constraint| constraint.holds(&settings)) {
            depth += 1;
        }
    }
}
