//! Can this instance go to that implementation? Seven steps, before anything moves and while it does.
//!
//! ```text
//!   1 the model is there            \
//!   2 what is in effect is accepted  |
//!   3 what it does not have is off   |  check: from two descriptions, nothing else
//!   4 all of it is accepted together |
//!   5 the configuration there       /
//!   6 it was made so                   read_back: before the source stops
//!   7 the state is of it               admit: before the destination runs
//! ```
//!
//! **Invariants.** `check` is total, has no side effect and does not look at saved state. What it
//! returns is in effect the instance's own configuration: nothing is added to it or lost from it
//! ([`canon`]). All reasons are reported, not the first. It is conservative: what it refuses might have
//! worked.

use std::collections::BTreeSet;

use super::configuration::{Configuration, Settings, canon};
use super::definition::{Conflict, Known, Offs};
use super::id::ModelId;
use super::implementation::{Implementation, Model};
use super::instance::Instance;
use super::reason::Reason;
use super::refusal::Refusal;
use super::value::Name;

/// Steps 1 to 5: the configuration that the instance would have at the destination.
///
/// # Errors
/// All reasons why it has none.
pub fn check(instance: &Instance, destination: &Implementation) -> Result<Configuration, Refusal> {
    let id = instance.model();
    let Some(model) = destination.model(id) else {
        return Err(Reason::unsupported(id, destination.models().keys()).into());
    };
    let merged;
    let known = match instance.definition() {
        None => model.known(),
        Some(definition) => {
            let mut both = model.known().clone();
            both.add_all(definition);
            merged = both;
            &merged
        }
    };
    let mut reasons = Vec::new();
    for (name, conflict) in known.conflicts() {
        // What is of two types at the two ends is told below, where it is set.
        let told = matches!(conflict, Conflict::Type(..))
            && instance.parameters().contains_key(name)
            && model.parameters().contains_key(name);
        if !told {
            reasons.push(Reason::conflict(id, name, conflict));
        }
    }
    let settings = adopted(instance, model, known, &mut reasons);
    model.together(settings, reasons)
}

/// Steps 2 and 3: what the instance has, and off for what it does not have.
fn adopted(
    instance: &Instance,
    model: &Model,
    known: &Known,
    reasons: &mut Vec<Reason>,
) -> Settings {
    let id = instance.model();
    let mut settings = Settings::new();
    for (name, value) in instance.parameters() {
        let off = known.offs().get(name);
        match model.parameters().get(name) {
            None if off == Some(value) => continue,
            None => reasons.push(Reason::unknown(id, name, value, off)),
            Some(parameter) if off == Some(value) && !parameter.allowed().contains(value) => {
                reasons.push(Reason::cannot_disable(id, name, value, parameter.allowed()));
            }
            Some(parameter) => reasons.extend(model.refuses(name, parameter, value)),
        }
        settings.insert(name.clone(), value.clone());
    }
    for (name, parameter) in model.parameters() {
        if settings.contains_key(name) {
            continue;
        }
        match known.offs().get(name) {
            None => reasons.push(Reason::missing(id, name, parameter.allowed())),
            Some(off) if !parameter.allowed().contains(off) => {
                reasons.push(Reason::cannot_disable(id, name, off, parameter.allowed()));
            }
            Some(off) => drop(settings.insert(name.clone(), off.clone())),
        }
    }
    settings
}

/// The same, where either side may have no description: then it is refused.
///
/// # Errors
/// All reasons.
pub fn decide(
    instance: Option<&Instance>,
    destination: Option<&Implementation>,
) -> Result<Configuration, Refusal> {
    match (instance, destination) {
        (Some(instance), Some(destination)) => check(instance, destination),
        (instance, destination) => {
            let missing = [("source", instance.is_none()), ("destination", destination.is_none())];
            let missing = missing.into_iter().filter(|(_, missing)| *missing);
            let reasons = missing.map(|(side, _)| Reason::no_description(side)).collect();
            Err(Refusal::unless_none(reasons, ())
                .err()
                .unwrap_or_else(|| Refusal::from(Reason::no_description("source"))))
        }
    }
}

/// Step 6: what was made at the destination is what was asked for. A device from a pool that kept an
/// earlier setting is found here.
///
/// # Errors
/// Each parameter that differs.
pub fn read_back(asked: &Configuration, found: &Settings) -> Result<(), Refusal> {
    let wanted = asked.parameters();
    let names: BTreeSet<&Name> = wanted.keys().chain(found.keys()).collect();
    let differ = names.into_iter().filter(|name| wanted.get(*name) != found.get(*name));
    let reason =
        |name: &Name| Reason::read_back(asked.model(), name, wanted.get(name), found.get(name));
    Refusal::unless_none(differ.map(reason).collect(), ())
}

/// Step 7: state that says what it was saved by is loaded by no other.
///
/// # Errors
/// Another model, or each parameter that is in effect on one side only.
pub fn admit(
    saved: (&ModelId, &Settings),
    here: &Configuration,
    offs: &Offs,
) -> Result<(), Refusal> {
    if saved.0 != here.model() {
        return Err(Reason::other_model(here.model(), saved.0).into());
    }
    let (then, now) = (canon(saved.1, offs), here.canon(offs));
    let names: BTreeSet<&Name> = then.keys().chain(now.keys()).collect();
    let differ = names.into_iter().filter(|name| then.get(*name) != now.get(*name));
    let reason =
        |name: &Name| Reason::other_state(here.model(), name, then.get(name), now.get(name));
    Refusal::unless_none(differ.map(reason).collect(), ())
}
