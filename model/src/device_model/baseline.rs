//! Which configuration a new instance should have, so that it can run on every host of a pool.
//!
//! The third version of the RFC left this open: a tool that picks initial values picks a device that may
//! go nowhere. Among the configurations that all hosts accept, the nearest is the one that differs
//! least from what the hosts would make by themselves.
//!
//! **Invariants.** The answer does not depend on the order of the hosts, and every host accepts an
//! instance with it. Nearness is the number of (host, parameter) pairs whose initial value differs; of
//! two that are as near, the one with the smaller values is taken.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::allowed::{Allowed, BadAllowed};
use super::classes::{TooMuch, assignments, representatives};
use super::configuration::Settings;
use super::constraint::Constraint;
use super::definition::Known;
use super::id::ModelId;
use super::implementation::{Implementation, Model};
use super::reason::Reason;
use super::value::{Name, Value};

/// What a pool of hosts has in common, for one model.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Baseline {
    /// The model.
    pub model: String,
    /// The nearest configuration that all accept; null if there is none.
    pub configuration: Option<BTreeMap<Name, Value>>,
    /// In how many (host, parameter) pairs it differs from the initial value.
    pub distance: u64,
    /// For each parameter what all accept, as in `allowed_values`; null is any value of its type. Joint
    /// constraints may forbid more.
    pub common: BTreeMap<Name, Option<Vec<Value>>>,
    /// Why there is none.
    pub reasons: Vec<String>,
}

/// The models that all hosts have, and what they have in common.
#[must_use]
pub fn baseline(hosts: &[(&str, &Implementation)]) -> Vec<Baseline> {
    let Some(((_, first), others)) = hosts.split_first() else { return Vec::new() };
    let everywhere = |id: &&ModelId| others.iter().all(|(_, host)| host.model(id).is_some());
    first.models().keys().filter(everywhere).map(|id| of(id, hosts)).collect()
}

fn of(id: &ModelId, hosts: &[(&str, &Implementation)]) -> Baseline {
    let models: Vec<(&str, &Model)> =
        hosts.iter().filter_map(|(name, host)| Some((*name, host.model(id)?))).collect();
    let mut known = Known::nothing();
    for (_, model) in &models {
        known.add_known(model.known());
    }
    let mut reasons: Vec<String> =
        known.conflicts().iter().map(|(name, c)| Reason::conflict(id, name, c).message).collect();
    let names: BTreeSet<&Name> = models.iter().flat_map(|(_, m)| m.parameters().keys()).collect();
    let mut sets = BTreeMap::new();
    for name in names {
        match common(name, &models, &known) {
            Ok(set) => drop(sets.insert(name.clone(), set)),
            Err(why) => reasons.push(why.to_string()),
        }
    }
    let mut answer = Baseline {
        model: id.to_string(),
        configuration: None,
        distance: 0,
        common: sets.iter().map(|(name, set)| (name.clone(), set.list())).collect(),
        reasons,
    };
    if answer.reasons.is_empty() {
        match nearest(&sets, &models, &known) {
            Ok(Some((distance, settings))) => {
                (answer.configuration, answer.distance) = (Some(settings), distance);
            }
            Ok(None) => answer
                .reasons
                .push("joint constraints leave no configuration that all hosts accept".to_owned()),
            Err(TooMuch) => answer.reasons.push(TooMuch.to_string()),
        }
    }
    answer
}

/// Why no value of a parameter is accepted by all hosts.
#[derive(Debug, thiserror::Error)]
enum NoValue {
    #[error("`{host}` does not know `{name}`, which has no off value")]
    Unknown { host: String, name: Name },
    #[error("no value of `{name}` is accepted by all: {told}")]
    Disjoint { name: Name, told: String },
    #[error(transparent)]
    Off(#[from] BadAllowed),
}

/// What all hosts accept for a parameter: where one lacks it, only off.
fn common(name: &Name, models: &[(&str, &Model)], known: &Known) -> Result<Allowed, NoValue> {
    let mut set: Option<Allowed> = None;
    let mut told = Vec::new();
    for (host, model) in models {
        let accepts = match (model.parameters().get(name), known.offs().get(name)) {
            (Some(parameter), _) => parameter.allowed().clone(),
            (None, Some(off)) => {
                let list = std::slice::from_ref(off);
                Allowed::of(off.kind(), list)?
            }
            (None, None) => {
                return Err(NoValue::Unknown { host: (*host).to_owned(), name: name.clone() });
            }
        };
        told.push(format!("`{host}` accepts {accepts}"));
        set = Some(set.map_or_else(|| accepts.clone(), |set| set.and(&accepts)));
    }
    match set {
        Some(set) if !set.is_empty() => Ok(set),
        _ => {
            told.truncate(8);
            Err(NoValue::Disjoint { name: name.clone(), told: told.join("; ") })
        }
    }
}

/// The settings that differ least from the initial ones, and by how much.
fn nearest(
    sets: &BTreeMap<Name, Allowed>,
    models: &[(&str, &Model)],
    known: &Known,
) -> Result<Option<(u64, Settings)>, TooMuch> {
    let constraints: Vec<&Constraint> =
        models.iter().flat_map(|(_, model)| model.constraints()).collect();
    let joint: BTreeSet<&Name> = constraints.iter().flat_map(|c| c.parameters()).collect();
    let cost = |name: &Name, value: &Value| {
        let differs = |(_, model): &&(&str, &Model)| {
            model.parameters().get(name).is_some_and(|p| p.init() != value)
        };
        models.iter().filter(differs).count() as u64
    };
    let (mut fixed, mut domains) = (Settings::new(), BTreeMap::new());
    let mut distance = 0;
    for (name, set) in sets {
        let mut told_apart = vec![set];
        told_apart.extend(constraints.iter().flat_map(|constraint| constraint.sets(name)));
        let inits = models.iter().filter_map(|(_, m)| m.parameters().get(name)).map(|p| p.init());
        let named: BTreeSet<&Value> = inits.chain(known.offs().get(name)).collect();
        let named: Vec<&Value> = named.into_iter().filter(|v| v.kind() == set.kind()).collect();
        let mut values = representatives(set.kind(), &told_apart, &named)?;
        values.retain(|value| set.contains(value));
        values.sort_by_cached_key(|value| (cost(name, value), value.clone()));
        if joint.contains(name) {
            domains.insert(name.clone(), values);
        } else if let Some(value) = values.into_iter().next() {
            distance += cost(name, &value);
            fixed.insert(name.clone(), value);
        } else {
            return Ok(None);
        }
    }
    let mut best: Option<(u64, Settings)> = None;
    assignments(&domains, &fixed, &constraints, &mut |settings| {
        let joint = domains.keys().filter_map(|name| Some(cost(name, settings.get(name)?)));
        let here = (distance + joint.sum::<u64>(), settings);
        if best.as_ref().is_none_or(|(cost, best)| here < (*cost, best)) {
            best = Some((here.0, settings.clone()));
        }
        here.0 > distance
    })?;
    Ok(best)
}
