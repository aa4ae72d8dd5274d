//! Instances: a device that exists, as its host describes it.
//!
//! **Invariants.** What an instance is never changes; a device that is to be another is another
//! instance. What belongs to its host (a port, the path of an image) is kept apart: it is handed on
//! and never compared.

use std::collections::BTreeMap;

use super::configuration::{Configuration, Settings};
use super::definition::Definition;
use super::id::ModelId;
use super::implementation::{BadModel, Implementation, Model};
use super::reason::Reason;
use super::refusal::Refusal;
use super::value::{Name, Value};

/// What belongs to the host: any JSON.
pub type External = BTreeMap<Name, serde_json::Value>;

/// A device that exists.
#[derive(Clone, PartialEq, Debug)]
pub struct Instance {
    model: ModelId,
    parameters: Settings,
    external: External,
    definition: Option<Definition>,
}

impl Instance {
    /// An instance as its host describes it.
    ///
    /// # Errors
    /// If the definition is of another model.
    pub fn described(
        model: ModelId,
        parameters: Settings,
        external: External,
        definition: Option<Definition>,
    ) -> Result<Self, BadModel> {
        match definition {
            Some(definition) if *definition.model() != model => {
                Err(BadModel::Definition(definition.model().clone()))
            }
            definition => Ok(Instance { model, parameters, external, definition }),
        }
    }

    /// Makes one.
    ///
    /// # Errors
    /// All reasons why there is none.
    pub fn create(
        host: &Implementation,
        model: &ModelId,
        alias: Option<&str>,
        given: &[(Name, Value)],
        external: External,
    ) -> Result<Self, Refusal> {
        let Some(known) = host.model(model) else {
            return Err(Reason::unsupported(model, host.models().keys()).into());
        };
        let configuration = known.configure(alias, given)?;
        Ok(Instance::running(&configuration, known.statement(), external))
    }

    /// The instance that runs with a configuration.
    #[must_use]
    pub fn running(
        configuration: &Configuration,
        statement: Definition,
        external: External,
    ) -> Self {
        Instance {
            model: configuration.model().clone(),
            parameters: configuration.parameters().clone(),
            external,
            definition: Some(statement),
        }
    }

    /// The instance as it runs at its destination, with that configuration: what was stated of its
    /// parameters travels with it, and what the destination states is added.
    #[must_use]
    pub fn arrived(
        &self,
        configuration: &Configuration,
        destination: &Model,
        external: External,
    ) -> Self {
        let mut stated = destination.statement().parameters().clone();
        for (name, own) in self.definition.iter().flat_map(Definition::parameters) {
            match stated.get(name) {
                Some(there) if there.off().is_some() || own.off().is_none() => {}
                _ => drop(stated.insert(name.clone(), own.clone())),
            }
        }
        Instance::running(configuration, Definition::new(self.model.clone(), stated), external)
    }

    /// Of which model.
    #[must_use]
    pub fn model(&self) -> &ModelId {
        &self.model
    }

    /// Its parameters.
    #[must_use]
    pub fn parameters(&self) -> &Settings {
        &self.parameters
    }

    /// What belongs to its host.
    #[must_use]
    pub fn external(&self) -> &External {
        &self.external
    }

    /// The owner's statement that it came with.
    #[must_use]
    pub fn definition(&self) -> Option<&Definition> {
        self.definition.as_ref()
    }
}
