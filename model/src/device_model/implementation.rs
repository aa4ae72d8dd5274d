//! Implementations: which models a host can make, with which parameters.
//!
//! **Invariants.** An [`Implementation`] holds each model once. A [`Model`] that exists agrees with
//! itself as far as types go: each initial, off and alias value is of its parameter's type, and what is
//! said of a parameter is said of one that exists. Whether its initial configuration is acceptable is
//! not taken for granted: that is for a linter to say (`lint.rs`).

use std::collections::{BTreeMap, BTreeSet};

use super::allowed::Allowed;
use super::configuration::{Configuration, Settings};
use super::constraint::Constraint;
use super::definition::{BadOff, Definition, Known, Stated};
use super::id::ModelId;
use super::reason::Reason;
use super::refusal::Refusal;
use super::value::{Name, Type, Value};

/// A parameter, as one implementation has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameter {
    allowed: Allowed,
    init: Value,
    off: Option<Value>,
}

/// Why there is no such parameter, or model.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadModel {
    /// An initial value of another type.
    #[error("the initial value `{0}` is not of type {1}")]
    Init(Value, Type),
    /// An off value of another type.
    #[error(transparent)]
    Off(#[from] BadOff),
    /// Something is said of a parameter that does not exist.
    #[error("{0} names a parameter `{1}` that `{2}` does not have")]
    NoParameter(String, Name, ModelId),
    /// A value of another type than its parameter.
    #[error("{0} has a value for `{1}` that is not of type {2}")]
    Type(String, Name, Type),
    /// A definition of another model.
    #[error("the definition is of `{0}`, which is missing")]
    Definition(ModelId),
    /// A row of a table that does not fit its heading.
    #[error("a constraint has {0} parameters and a row of {1}")]
    Row(usize, usize),
    /// A constraint that names a parameter twice in a heading.
    #[error("a constraint names `{0}` twice in its heading")]
    Heading(Name),
    /// A constraint with a set of all values, which constrains nothing.
    #[error("a constraint does not say which values of `{0}`")]
    Open(Name),
    /// A model that is defined twice.
    #[error("the model `{0}` is defined twice")]
    Twice(ModelId),
}

impl Parameter {
    /// A parameter that accepts `allowed`, and has `init` in a new instance.
    ///
    /// # Errors
    /// If a value is of another type.
    pub fn new(allowed: Allowed, init: Value, off: Option<Value>) -> Result<Self, BadModel> {
        let kind = allowed.kind();
        if init.kind() != kind {
            return Err(BadModel::Init(init, kind));
        }
        match off {
            Some(off) if off.kind() != kind => Err(BadOff(off, kind).into()),
            off => Ok(Parameter { allowed, init, off }),
        }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Type {
        self.allowed.kind()
    }

    /// What it can be set to.
    #[must_use]
    pub fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// What it is in a new instance, unless another value is asked for.
    #[must_use]
    pub fn init(&self) -> &Value {
        &self.init
    }

    /// The value at which it is as if it did not exist; none if it cannot be disabled.
    #[must_use]
    pub fn off(&self) -> Option<&Value> {
        self.off.as_ref()
    }
}

/// A model, as one implementation makes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Model {
    id: ModelId,
    parameters: BTreeMap<Name, Parameter>,
    aliases: BTreeMap<Name, Settings>,
    constraints: Vec<Constraint>,
    definition: Option<Definition>,
    known: Known,
}

impl Model {
    /// A model.
    ///
    /// # Errors
    /// If an alias or a constraint does not fit the parameters, or the definition is of another model.
    pub fn new(
        id: ModelId,
        parameters: BTreeMap<Name, Parameter>,
        aliases: BTreeMap<Name, Settings>,
        constraints: Vec<Constraint>,
        definition: Option<Definition>,
    ) -> Result<Self, BadModel> {
        let kind = |what: &dyn Fn() -> String, name: &Name, kind: Type| match parameters.get(name) {
            None => Err(BadModel::NoParameter(what(), name.clone(), id.clone())),
            Some(p) if p.kind() != kind => Err(BadModel::Type(what(), name.clone(), p.kind())),
            Some(_) => Ok(()),
        };
        for (alias, settings) in &aliases {
            for (name, value) in settings {
                kind(&|| format!("alias `{alias}`"), name, value.kind())?;
            }
        }
        for constraint in &constraints {
            if let Constraint::Table { parameters: heading, rows } = constraint {
                if let Some(row) = rows.iter().find(|row| row.len() != heading.len()) {
                    return Err(BadModel::Row(heading.len(), row.len()));
                }
                let mut seen = BTreeSet::new();
                if let Some(name) = heading.iter().find(|name| !seen.insert(*name)) {
                    return Err(BadModel::Heading(name.clone()));
                }
            }
            for name in constraint.parameters() {
                let what = || "a constraint".to_owned();
                if !parameters.contains_key(name) {
                    return Err(BadModel::NoParameter(what(), name.clone(), id));
                }
                for set in constraint.sets(name) {
                    kind(&what, name, set.kind())?;
                    if matches!(set, Allowed::Any(_)) {
                        return Err(BadModel::Open(name.clone()));
                    }
                }
            }
        }
        if let Some(definition) = definition.as_ref().filter(|d| *d.model() != id) {
            return Err(BadModel::Definition(definition.model().clone()));
        }
        let mut known = Known::nothing();
        if let Some(definition) = &definition {
            known.add_all(definition);
        }
        for (name, parameter) in &parameters {
            known.add(name, parameter.kind(), parameter.off());
        }
        Ok(Model { id, parameters, aliases, constraints, definition, known })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &ModelId {
        &self.id
    }

    /// Its parameters.
    #[must_use]
    pub fn parameters(&self) -> &BTreeMap<Name, Parameter> {
        &self.parameters
    }

    /// Its aliases: names for some settings, such as a version.
    #[must_use]
    pub fn aliases(&self) -> &BTreeMap<Name, Settings> {
        &self.aliases
    }

    /// Its joint constraints.
    #[must_use]
    pub fn constraints(&self) -> &[Constraint] {
        &self.constraints
    }

    /// The owner's statement, if it came with one.
    #[must_use]
    pub fn definition(&self) -> Option<&Definition> {
        self.definition.as_ref()
    }

    /// What is stated of its parameters, here and by its owner.
    #[must_use]
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// What an instance takes with it: the owner's statement, and what this implementation adds to it.
    #[must_use]
    pub fn statement(&self) -> Definition {
        let own = |(name, p): (&Name, &Parameter)| {
            let off = self.known.offs().get(name).cloned().filter(|off| off.kind() == p.kind());
            Some((name.clone(), Stated::new(p.kind(), off, None).ok()?))
        };
        let mut parameters: BTreeMap<Name, Stated> =
            self.parameters.iter().filter_map(own).collect();
        if let Some(definition) = &self.definition {
            for (name, stated) in definition.parameters() {
                match (stated.off(), parameters.get(name)) {
                    // The owner may leave open what this implementation states.
                    (None, Some(own)) if own.kind() == stated.kind() && own.off().is_some() => {}
                    _ => drop(parameters.insert(name.clone(), stated.clone())),
                }
            }
        }
        Definition::new(self.id.clone(), parameters)
    }

    /// Makes settings total: those that an alias names, then those that are given (the last word is
    /// theirs), and for the rest the value that is off or, without an alias, the initial one.
    ///
    /// An alias keeps its meaning when later releases add parameters: they are off in it.
    ///
    /// # Errors
    /// All reasons why there is no such configuration.
    pub fn configure(
        &self,
        alias: Option<&str>,
        given: &[(Name, Value)],
    ) -> Result<Configuration, Refusal> {
        let named = match alias.map(|alias| self.aliases.get(alias).ok_or(alias)).transpose() {
            Ok(named) => named,
            Err(alias) => return Err(Reason::no_alias(&self.id, alias, self.aliases.keys()).into()),
        };
        let mut reasons = Vec::new();
        let mut settings = Settings::new();
        for (name, value) in given {
            if settings.insert(name.clone(), value.clone()).is_some() {
                reasons.push(Reason::twice(&self.id, name, value));
            }
        }
        for (name, value) in named.into_iter().flatten() {
            settings.entry(name.clone()).or_insert_with(|| value.clone());
        }
        for (name, parameter) in &self.parameters {
            let off = self.known.offs().get(name).filter(|_| named.is_some());
            let rest = off.unwrap_or(&parameter.init);
            settings.entry(name.clone()).or_insert_with(|| rest.clone());
        }
        for (name, value) in &settings {
            let off = self.known.offs().get(name);
            match self.parameters.get(name) {
                None => reasons.push(Reason::unknown(&self.id, name, value, off)),
                Some(parameter) => reasons.extend(self.refuses(name, parameter, value)),
            }
        }
        self.together(settings, reasons)
    }

    /// The configuration of a new instance for which nothing is asked.
    ///
    /// # Errors
    /// If this implementation does not accept its own initial values.
    pub fn initial(&self) -> Result<Configuration, Refusal> {
        self.configure(None, &[])
    }

    /// Why one value is not accepted.
    pub(super) fn refuses(&self, name: &Name, p: &Parameter, value: &Value) -> Option<Reason> {
        if value.kind() != p.kind() {
            Some(Reason::mismatch(&self.id, name, value, &p.allowed))
        } else if !p.allowed.contains(value) {
            Some(Reason::not_allowed(&self.id, name, value, &p.allowed))
        } else {
            None
        }
    }

    /// Settings that are total and pass one by one, held against the joint constraints.
    pub(super) fn together(
        &self,
        settings: Settings,
        mut reasons: Vec<Reason>,
    ) -> Result<Configuration, Refusal> {
        if reasons.is_empty() {
            let broken = self.constraints.iter().filter(|c| !c.holds(&settings));
            reasons.extend(broken.map(|c| Reason::joint(&self.id, c, &settings)));
        }
        Refusal::unless_none(reasons, ())?;
        Ok(Configuration::made(self.id.clone(), settings))
    }
}

/// What a host can make.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Implementation {
    models: BTreeMap<ModelId, Model>,
}

impl Implementation {
    /// An implementation of these models.
    ///
    /// # Errors
    /// If one is defined twice.
    pub fn new(models: impl IntoIterator<Item = Model>) -> Result<Self, BadModel> {
        let mut all = BTreeMap::new();
        for model in models {
            let id = model.id.clone();
            if all.insert(id.clone(), model).is_some() {
                return Err(BadModel::Twice(id));
            }
        }
        Ok(Implementation { models: all })
    }

    /// Its models.
    #[must_use]
    pub fn models(&self) -> &BTreeMap<ModelId, Model> {
        &self.models
    }

    /// One of them.
    #[must_use]
    pub fn model(&self, id: &ModelId) -> Option<&Model> {
        self.models.get(id)
    }
}
