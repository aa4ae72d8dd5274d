//! Which configurations of a model are tried: all of a small space, and of a large one so many that
//! every two values meet, as far as the bound allows.
//!
//! ```text
//!   parameter --> an axis: all its values, or the ends of its ranges and some between
//!   axes      --> rows, each made to meet as many pairs as it can that have not met yet
//! ```
//!
//! Faults of configurations mostly show with one value, or with two together; so rows that cover all
//! pairs find them without trying the product of all.
//!
//! **Invariants.** The same seed gives the same rows. Every row is accepted by the model, its joint
//! constraints included; there are at most as many as asked for, and the first is the initial one.

use std::collections::BTreeSet;

use devmig_model::device_model::{Allowed, Configuration, Model, Name, Value};

use crate::harness::random::Random;

/// The most values of one parameter that are all tried.
const WHOLE: u64 = 8;
/// How many rows are tried for one that the joint constraints allow.
const TRIES: usize = 32;

/// A parameter, and the values that are tried of it.
#[derive(Clone, Debug)]
struct Axis {
    name: Name,
    values: Vec<Value>,
    /// These are all that are allowed.
    whole: bool,
}

fn axis(name: &Name, allowed: &Allowed, known: [Option<&Value>; 2], random: &mut Random) -> Axis {
    let (mut values, whole): (BTreeSet<Value>, bool) = match allowed {
        Allowed::Any(_) => (BTreeSet::new(), false),
        Allowed::Bool(_) => (allowed.list().into_iter().flatten().collect(), true),
        Allowed::Str(all) => {
            let first = all.iter().take(WHOLE as usize).cloned().map(Value::Str);
            (first.collect(), all.len() <= WHOLE as usize)
        }
        Allowed::Int(ranges) => {
            let width = |(lo, hi): &(u64, u64)| (hi - lo).saturating_add(1);
            let count = ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(width(range)));
            if count <= WHOLE {
                (ranges.iter().flat_map(|(lo, hi)| *lo..=*hi).map(Value::Int).collect(), true)
            } else {
                let few = ranges.iter().take(WHOLE as usize);
                let some = few.flat_map(|(lo, hi)| [*lo, lo + random.below(hi - lo), *hi]);
                (some.map(Value::Int).collect(), false)
            }
        }
    };
    values.extend(known.into_iter().flatten().filter(|value| allowed.contains(value)).cloned());
    Axis { name: name.clone(), values: values.into_iter().collect(), whole }
}

/// The configurations of a model that are tried.
#[must_use]
pub fn sample(model: &Model, most: usize, seed: u64) -> Vec<Configuration> {
    rows(model, most, seed, true).into_iter().filter_map(|row| made(model, &row)).collect()
}

/// Settings whose every value is accepted, and which are refused all the same.
#[must_use]
pub fn jointly_refused(model: &Model, most: usize, seed: u64) -> Vec<Vec<(Name, Value)>> {
    let rows = rows(model, usize::MAX, seed, false);
    rows.into_iter().filter(|row| made(model, row).is_none()).take(most).collect()
}

fn made(model: &Model, row: &[(Name, Value)]) -> Option<Configuration> {
    model.configure(None, row).ok()
}

type Row = Vec<(Name, Value)>;

fn rows(model: &Model, most: usize, seed: u64, accepted: bool) -> Vec<Row> {
    let mut random = Random::new(seed);
    let axes: Vec<Axis> = model
        .parameters()
        .iter()
        .map(|(name, p)| axis(name, p.allowed(), [Some(p.init()), p.off()], &mut random))
        .filter(|axis| !axis.values.is_empty())
        .collect();
    let product = axes.iter().fold(1_usize, |n, axis| n.saturating_mul(axis.values.len()));
    let mut found = Vec::new();
    if let Ok(initial) = model.initial() {
        found.push(initial.parameters().iter().map(|(n, v)| (n.clone(), v.clone())).collect());
    }
    let pick = |choice: &[usize]| -> Row {
        let cells = axes.iter().zip(choice);
        cells.map(|(axis, at)| (axis.name.clone(), axis.values[*at].clone())).collect()
    };
    let fits = |row: &Row| !accepted || made(model, row).is_some();
    if product <= most.min(1 << 12) && axes.iter().all(|axis| axis.whole) {
        for n in 0..product {
            let mut rest = n;
            let place = |axis: &Axis| {
                let at = rest % axis.values.len();
                rest /= axis.values.len();
                at
            };
            let choice: Vec<usize> = axes.iter().map(place).collect();
            let row = pick(&choice);
            if fits(&row) && !found.contains(&row) {
                found.push(row);
            }
        }
        return found;
    }
    let mut unmet: BTreeSet<[(usize, usize); 2]> = BTreeSet::new();
    for one in 0..axes.len() {
        for other in one + 1..axes.len() {
            for a in 0..axes[one].values.len() {
                unmet.extend((0..axes[other].values.len()).map(|b| [(one, a), (other, b)]));
            }
        }
    }
    while let Some(pair) = unmet.pop_first().filter(|_| found.len() < most) {
        let row = (0..TRIES).find_map(|_| {
            let choice = completed(&axes, pair, &unmet, &mut random);
            fits(&pick(&choice)).then_some(choice)
        });
        // A pair that no row may have is not tried again.
        let Some(choice) = row else { continue };
        unmet.retain(|[(a, x), (b, y)]| choice[*a] != *x || choice[*b] != *y);
        found.push(pick(&choice));
    }
    found
}

/// A row with this pair, which meets others where it can.
fn completed(
    axes: &[Axis],
    pair: [(usize, usize); 2],
    unmet: &BTreeSet<[(usize, usize); 2]>,
    random: &mut Random,
) -> Vec<usize> {
    let mut choice: Vec<Option<usize>> = vec![None; axes.len()];
    pair.iter().for_each(|(axis, at)| choice[*axis] = Some(*at));
    for axis in 0..axes.len() {
        if choice[axis].is_some() {
            continue;
        }
        let meets = |at: usize| {
            let others = choice.iter().enumerate().filter_map(|(other, at)| Some((other, (*at)?)));
            let pairs = others.map(|(other, there)| {
                if other < axis {
                    [(other, there), (axis, at)]
                } else {
                    [(axis, at), (other, there)]
                }
            });
            pairs.filter(|pair| unmet.contains(pair)).count() as u64
        };
        // Ties are broken by lot, and now and then the best is passed over, for constraints' sake.
        let count = axes[axis].values.len();
        let best = (0..count).max_by_key(|at| (meets(*at) * 4 + random.below(6), *at));
        choice[axis] = Some(best.unwrap_or(0));
    }
    choice.into_iter().map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use devmig_reference::nic::{NicModel, Release, model};

    fn nic(release: Release, which: NicModel) -> Model {
        let host = model::implementation(release).unwrap();
        host.model(&which.id().parse().unwrap()).unwrap().clone()
    }

    fn small() -> Model {
        let form = br#"{"models": [{"model": "a.com/b", "parameters": [
            {"name": "x", "type": "bool", "init_value": false, "allowed_values": [false, true]},
            {"name": "y", "type": "int", "init_value": 3, "allowed_values": ["1-3"]}],
            "constraints": [{"if": {"x": [true]}, "then": {"y": [3]}}]}]}"#;
        let host = devmig_model::device_model::form::implementation(form).unwrap();
        host.models().values().next().unwrap().clone()
    }

    #[test]
    fn a_small_space_is_tried_as_a_whole() {
        let all = sample(&small(), 40, 1);
        assert_eq!(all.len(), 4, "{all:?}");
        assert_eq!(all[0], small().initial().unwrap());
        assert_eq!(jointly_refused(&small(), 40, 1).len(), 2);
    }

    #[test]
    fn of_a_large_one_every_two_values_meet() {
        let nic = nic(Release::Two, NicModel::Nic);
        let rows = sample(&nic, 200, 7);
        assert_eq!(rows, sample(&nic, 200, 7));
        assert!(rows.len() < 60, "{}", rows.len());
        let ends = [("queue-pairs", 16), ("mtu", 9216), ("rx-filter-size", 1024)];
        for (one, a) in ends {
            for (other, b) in ends {
                let both = |row: &&Configuration| {
                    row.get(one) == Some(&Value::Int(a)) && row.get(other) == Some(&Value::Int(b))
                };
                assert!(rows.iter().any(|row| both(&row)), "{one} {other}");
            }
        }
        assert_eq!(sample(&nic, 5, 7).len(), 5);
        assert!(!jointly_refused(&nic, 3, 7).is_empty());
    }
}
