//! What is wrong with descriptions, before they are used: a catalogue that contradicts itself, and a
//! release that takes something back.
//!
//! A release may add: a value, a parameter that has an off value and accepts it, an alias. It breaks
//! somebody if an instance that the old one accepts is refused by the new one; each finding comes with
//! such an instance, and the check itself refuses it. Where there is too much to try, that is said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::check::check;
use super::classes::{TooMuch, assignments, representatives};
use super::configuration::{Configuration, Settings};
use super::constraint::Constraint;
use super::definition::{Definition, Known};
use super::form::InstanceForm;
use super::id::{ModelId, Near};
use super::implementation::{Implementation, Model};
use super::instance::{External, Instance};
use super::kind::Kind;
use super::reason::Reason;
use super::value::{Name, Value};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is wrong.
    Error,
    /// It may be meant.
    Warning,
}

/// What is found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Statements about one parameter disagree.
    Conflict,
    /// A new instance for which nothing is asked cannot be made.
    InitialRefused,
    /// An alias cannot be made.
    AliasRefused,
    /// An alias means two things.
    AliasConflict,
    /// The value at which a parameter is off is not accepted.
    OffRefused,
    /// Two ids that can be confused.
    NearId,
    /// A release that refuses what the one before accepted.
    Breaking,
    /// Too much to try: nothing was found, and something may be there.
    Undecided,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Conflict => "conflict",
            Rule::InitialRefused => "initial-refused",
            Rule::AliasRefused => "alias-refused",
            Rule::AliasConflict => "alias-conflict",
            Rule::OffRefused => "off-refused",
            Rule::NearId => "near-id",
            Rule::Breaking => "breaking",
            Rule::Undecided => "undecided",
        })
    }
}

/// One thing that is found.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub rule: Rule,
    /// The files that it is about.
    pub files: Vec<String>,
    /// The model.
    pub model: String,
    /// The parameter.
    pub parameter: Option<String>,
    /// In a sentence.
    pub message: String,
    /// An instance that is affected.
    pub instance: Option<InstanceForm>,
}

impl Finding {
    fn new(rule: Rule, files: &[&str], model: &ModelId, message: String) -> Self {
        let severity = match rule {
            Rule::OffRefused | Rule::Undecided => Severity::Warning,
            _ => Severity::Error,
        };
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        let model = model.to_string();
        Finding { severity, rule, files, model, parameter: None, message, instance: None }
    }

    fn of(mut self, parameter: &Name) -> Self {
        self.parameter = Some(parameter.to_string());
        self
    }
}

/// What is wrong within and between the descriptions of a catalogue.
#[must_use]
pub fn catalogue(files: &[(&str, &Implementation)]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut by_model: BTreeMap<&ModelId, Vec<(&str, &Model)>> = BTreeMap::new();
    for (file, implementation) in files {
        for model in implementation.models().values() {
            found.extend(alone(file, model));
            by_model.entry(model.id()).or_default().push((file, model));
        }
    }
    for (id, models) in &by_model {
        found.extend(together(id, models));
    }
    found.extend(confusable(&by_model));
    found
}

/// One model by itself.
fn alone(file: &str, model: &Model) -> Vec<Finding> {
    let mut found = Vec::new();
    let id = model.id();
    if let Err(refusal) = model.initial() {
        let message = format!("a new instance cannot be created: {refusal}");
        found.push(Finding::new(Rule::InitialRefused, &[file], id, message));
    }
    for alias in model.aliases().keys() {
        if let Err(refusal) = model.configure(Some(alias.as_str()), &[]) {
            let message = format!("the alias `{alias}` cannot be created: {refusal}");
            found.push(Finding::new(Rule::AliasRefused, &[file], id, message));
        }
    }
    for (name, parameter) in model.parameters() {
        let off = model.known().offs().get(name);
        if let Some(off) = off.filter(|off| !parameter.allowed().contains(off)) {
            let message = format!(
                "`{name}` is off at `{off}`, which is not accepted: an instance without it is \
                 refused"
            );
            found.push(Finding::new(Rule::OffRefused, &[file], id, message).of(name));
        }
    }
    found
}

/// One model in several files.
fn together(id: &ModelId, models: &[(&str, &Model)]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut known = Known::nothing();
    let mut told = BTreeSet::new();
    let mut aliases: BTreeMap<&Name, (&str, Settings)> = BTreeMap::new();
    for (file, model) in models {
        known.add_known(model.known());
        for (name, conflict) in known.conflicts() {
            if told.insert(name.clone()) {
                let message = Reason::conflict(id, name, conflict).message;
                let stating: Vec<&str> = models
                    .iter()
                    .filter(|(_, m)| m.known().kind(name.as_str()).is_some())
                    .map(|(file, _)| *file)
                    .collect();
                found.push(Finding::new(Rule::Conflict, &stating, id, message).of(name));
            }
        }
        for (alias, settings) in model.aliases() {
            let meant = super::configuration::canon(settings, model.known().offs());
            match aliases.get(alias) {
                Some((first, other)) if *other != meant => {
                    let message = format!("the alias `{alias}` has two meanings");
                    found.push(Finding::new(Rule::AliasConflict, &[first, file], id, message));
                }
                Some(_) => {}
                None => drop(aliases.insert(alias, (file, meant))),
            }
        }
    }
    found
}

/// Ids that can be taken for each other.
fn confusable(models: &BTreeMap<&ModelId, Vec<(&str, &Model)>>) -> Vec<Finding> {
    let mut alike: BTreeMap<String, Vec<&ModelId>> = BTreeMap::new();
    for id in models.keys() {
        alike.entry(id.skeleton()).or_default().push(id);
    }
    let mut found = Vec::new();
    for group in alike.values() {
        // Neighbours are enough to show each of them once.
        for pair in group.windows(2) {
            let [a, b] = pair else { continue };
            let Some(near) = a.near(b) else { continue };
            let files: Vec<&str> = [a, b]
                .iter()
                .filter_map(|id| models.get(*id).and_then(|all| all.first()))
                .map(|(file, _)| *file)
                .collect();
            let message = format!("`{a}` and `{b}` are two models: one {near}");
            let mut finding = Finding::new(Rule::NearId, &files, a, message);
            if matches!(near, Near::Case | Near::LookAlike) {
                finding.severity = Severity::Warning;
            }
            found.push(finding);
        }
    }
    found
}

/// Whether a release takes back what the one before it accepted: one finding for each kind of reason
/// and parameter, with an instance that is affected.
#[must_use]
pub fn releases(old: (&str, &Implementation), new: (&str, &Implementation)) -> Vec<Finding> {
    let files = [old.0, new.0];
    let mut found = Vec::new();
    for model in old.1.models().values() {
        let mut broken: BTreeMap<(Kind, Option<String>), (Reason, Instance)> = BTreeMap::new();
        let mut hold = |instance: Instance| {
            if let Err(refusal) = check(&instance, new.1)
                && check(&instance, old.1).is_ok()
            {
                for reason in refusal.reasons() {
                    let key = (reason.kind, reason.parameter.clone());
                    broken.entry(key).or_insert_with(|| (reason.clone(), instance.clone()));
                }
            }
        };
        let undecided = tried(model, new.1.model(model.id()), &mut hold).is_err();
        for (reason, instance) in broken.into_values() {
            let message =
                format!("a previously accepted configuration is refused: {}", reason.message);
            let mut finding = Finding::new(Rule::Breaking, &files, model.id(), message);
            finding.parameter = reason.parameter;
            finding.instance = Some(InstanceForm::from(&instance));
            found.push(finding);
        }
        if undecided {
            let message = format!("{TooMuch}: more may be refused than is reported here");
            found.push(Finding::new(Rule::Undecided, &files, model.id(), message));
        }
    }
    found
}

/// Instances of the old release of which every other is like one, as far as the new one can tell.
fn tried(old: &Model, new: Option<&Model>, hold: &mut dyn FnMut(Instance)) -> Result<(), TooMuch> {
    let both = || old.constraints().iter().chain(new.iter().flat_map(|new| new.constraints()));
    let joint: BTreeSet<&Name> = both().flat_map(Constraint::parameters).collect();
    let mut domains: BTreeMap<Name, Vec<Value>> = BTreeMap::new();
    for (name, parameter) in old.parameters() {
        let there = new.and_then(|new| new.parameters().get(name));
        let mut sets = vec![parameter.allowed()];
        sets.extend(there.map(|there| there.allowed()));
        sets.extend(both().flat_map(|constraint| constraint.sets(name)));
        let mut named = vec![parameter.init()];
        named.extend(old.known().offs().get(name));
        named.extend(new.and_then(|new| new.known().offs().get(name)));
        named.retain(|value| value.kind() == parameter.kind());
        let mut values = representatives(parameter.kind(), &sets, &named)?;
        values.retain(|value| parameter.allowed().contains(value));
        domains.insert(name.clone(), values);
    }
    let first = |name: &Name, values: &[Value]| {
        let init = old.parameters().get(name).map(|p| p.init());
        init.filter(|init| values.contains(init)).or(values.first()).cloned()
    };
    let mut base = Settings::new();
    let mut free: BTreeMap<Name, Vec<Value>> = BTreeMap::new();
    for (name, values) in domains {
        if joint.contains(&name) {
            free.insert(name, values);
            continue;
        }
        let Some(value) = first(&name, &values) else { return Ok(()) };
        base.insert(name.clone(), value);
        free.insert(name, values);
    }
    let joined: BTreeMap<Name, Vec<Value>> = free
        .iter()
        .filter(|(name, _)| joint.contains(name))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    let own: Vec<&Constraint> = old.constraints().iter().collect();
    let statement = old.statement();
    let running = |settings: &Settings| {
        let configuration = Configuration::made(old.id().clone(), settings.clone());
        Instance::running(&configuration, statement.clone(), External::new())
    };
    let mut start = None;
    let outcome = assignments(&joined, &base, &own, &mut |settings| {
        start.get_or_insert_with(|| settings.clone());
        hold(running(settings));
        true
    });
    let Some(start) = start else { return outcome };
    for (name, values) in free.iter().filter(|(name, _)| !joint.contains(name)) {
        for value in values {
            let mut settings = start.clone();
            settings.insert(name.clone(), value.clone());
            hold(running(&settings));
        }
    }
    // Instances of others, which do not have a parameter and do not say why.
    let silent = Definition::new(old.id().clone(), BTreeMap::new());
    for name in old.parameters().keys() {
        let mut settings = start.clone();
        settings.remove(name);
        let configuration = Configuration::made(old.id().clone(), settings);
        hold(Instance::running(&configuration, silent.clone(), External::new()));
    }
    outcome
}
