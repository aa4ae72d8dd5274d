//! Configurations: what an instance is, for all its life.
//!
//! **Invariants, by construction.** A [`Configuration`] is total over the parameters of the model that
//! made it, every value is allowed and every joint constraint holds: only
//! [`Model`](super::Model) makes one. It never changes: its fields are private and nothing takes it by
//! `&mut`, so what is to differ is a new instance. It is not read from a file: what a file says is
//! [`Settings`], and has to pass a check.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::definition::Offs;
use super::id::ModelId;
use super::value::{Name, Value};

/// Parameters that were set, not yet held against anything.
pub type Settings = BTreeMap<Name, Value>;

/// What an instance is: a model, and a value for each of its parameters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Configuration {
    model: ModelId,
    parameters: Settings,
}

impl Configuration {
    /// Only what made sure of the invariants calls it.
    pub(super) fn made(model: ModelId, parameters: Settings) -> Self {
        Configuration { model, parameters }
    }

    /// Of which model.
    #[must_use]
    pub fn model(&self) -> &ModelId {
        &self.model
    }

    /// All parameters, in the order of their names.
    #[must_use]
    pub fn parameters(&self) -> &Settings {
        &self.parameters
    }

    /// One parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.parameters.get(name)
    }

    /// What is in effect: the parameters that are not at their off value. Two configurations of a model
    /// are the same device if and only if this is the same for both.
    #[must_use]
    pub fn canon(&self, offs: &Offs) -> Settings {
        canon(&self.parameters, offs)
    }
}

/// The settings that are not at their off value.
#[must_use]
pub fn canon(settings: &Settings, offs: &Offs) -> Settings {
    let on = settings.iter().filter(|(name, value)| offs.get(*name) != Some(*value));
    on.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// As on the command line of the first version of the RFC.
impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.model)?;
        self.parameters.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}
