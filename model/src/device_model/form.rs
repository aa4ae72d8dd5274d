//! The files: an instance, an implementation, and the owner's definition that either may carry.
//!
//! ```text
//! {"model": "vendor-a.com/my-nic", "parameters": {"rss": false}, "external": {"port": "eth0"}}
//! {"models": [{"model": …, "parameters": [{"name": "rss", "type": "bool", "init_value": true,
//!   "off_value": false}], "aliases": {"1": {"rss": false}}, "constraints": []}]}
//! ```
//!
//! **Invariants.** A file has at most [`MAX_FILE`] bytes, a list or object in it a stated number of
//! items, no key twice and no key that is not known: a member that was not understood might narrow what
//! is accepted. Nesting is bounded by the reader of JSON (128). Time and memory are linear in the size
//! of the file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::allowed::Allowed;
use super::configuration::Settings;
use super::constraint::Constraint;
use super::definition::{Affects, Definition, Stated};
use super::id::{BadId, ModelId};
use super::implementation::{BadModel, Implementation, Model, Parameter};
use super::instance::Instance;
use super::limited::{List, Object, OneOrMore};
use super::value::{Name, Type, Value};

/// The longest file, in bytes.
pub const MAX_FILE: usize = 16 << 20;
/// The most models of an implementation.
pub const MAX_MODELS: usize = 1024;
/// The most parameters of a model, aliases of a model, and members of what belongs to a host.
pub const MAX_PARAMETERS: usize = 4096;
/// The most entries of a list of values, and rows of a constraint.
pub const MAX_VALUES: usize = 65_536;
/// The most joint constraints of a model.
pub const MAX_CONSTRAINTS: usize = 1024;

/// Why a file cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadForm {
    /// It says nothing: there is no description.
    #[error("it is empty: there is no description")]
    Nothing,
    /// Too long.
    #[error("it has more than {MAX_FILE} bytes")]
    Long,
    /// Not of its form.
    #[error("{0}")]
    Json(String),
    /// A model's name that is none: nothing is decided about such a description.
    #[error("{0}")]
    Id(BadId),
    /// It contradicts itself.
    #[error("{0}")]
    Model(#[from] BadModel),
    /// A parameter that is described twice.
    #[error("the parameter `{0}` of `{1}` is there twice")]
    Twice(Name, ModelId),
    /// A set of values that is none.
    #[error("`{0}` of `{1}`: {2}")]
    Values(String, ModelId, String),
    /// A constraint that is of neither form.
    #[error("a constraint has either `if` and `then`, or `parameters` and `allowed`")]
    Constraint,
    /// A second definition of a model.
    #[error("`{0}` is defined twice")]
    Defined(ModelId),
}

impl From<BadId> for BadForm {
    fn from(bad: BadId) -> Self {
        BadForm::Id(bad)
    }
}

/// An instance, as it is written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "instance")]
pub struct InstanceForm {
    /// The id of its model.
    pub model: String,
    /// Each parameter, with its value.
    pub parameters: Object<Name, Value, MAX_PARAMETERS>,
    /// What belongs to its host (a port, the path of an image): never compared.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    pub external: Object<Name, serde_json::Value, MAX_PARAMETERS>,
    /// What the owner of the model states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<DefinitionForm>,
}

/// What the owner of a model states, as it is written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefinitionForm {
    /// The id of the model.
    pub model: String,
    /// Its parameters.
    pub parameters: List<StatedForm, MAX_PARAMETERS>,
}

/// What is stated of one parameter.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatedForm {
    /// Its name.
    pub name: Name,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Type,
    /// The value at which it is as if it did not exist; absent if it cannot be disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off_value: Option<Value>,
    /// What it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affects: Option<Affects>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// An implementation, as it is written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "implementation")]
pub struct ImplementationForm {
    /// The models that it can make.
    pub models: List<ModelForm, MAX_MODELS>,
    /// What the owners of the models state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<OneOrMore<DefinitionForm, MAX_MODELS>>,
}

/// A model, as one implementation makes it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelForm {
    /// Its id.
    pub model: String,
    /// Its parameters.
    #[serde(default)]
    pub parameters: List<ParameterForm, MAX_PARAMETERS>,
    /// Names for some settings, such as versions.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    pub aliases: Object<Name, Object<Name, Value, MAX_PARAMETERS>, MAX_PARAMETERS>,
    /// What must hold between parameters.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub constraints: List<ConstraintForm, MAX_CONSTRAINTS>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A parameter, as one implementation has it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParameterForm {
    /// Its name.
    pub name: Name,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Type,
    /// What it can be set to; ranges of integers are strings, `"1-16"`. Absent: any value of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_values: Option<List<Value, MAX_VALUES>>,
    /// Its value in a new instance.
    pub init_value: Value,
    /// The value at which it is as if it did not exist; absent if it cannot be disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off_value: Option<Value>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What must hold between parameters: `if` and `then`, or `parameters` and `allowed`.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConstraintForm {
    /// A condition: values for each parameter that it is about.
    #[serde(rename = "if", default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Object<Name, List<Value, MAX_VALUES>, MAX_PARAMETERS>>,
    /// What must hold where the condition does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Object<Name, List<Value, MAX_VALUES>, MAX_PARAMETERS>>,
    /// The heading of a table of rows of which one must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<List<Name, MAX_PARAMETERS>>,
    /// Its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<List<RowForm, MAX_VALUES>>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A row of a table: a value, a range, or a list of these for each parameter.
pub type RowForm = List<OneOrMore<Value, MAX_VALUES>, MAX_PARAMETERS>;

/// Reads a document of a form; nothing, blanks and `null` are no description.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadForm> {
    if bytes.len() > MAX_FILE {
        return Err(BadForm::Long);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if matches!(bytes.trim_ascii(), b"" | b"null") {
        return Err(BadForm::Nothing);
    }
    serde_json::from_slice(bytes).map_err(|error| BadForm::Json(error.to_string()))
}

/// Reads an instance.
///
/// # Errors
/// See [`BadForm`].
pub fn instance(bytes: &[u8]) -> Result<Instance, BadForm> {
    json::<InstanceForm>(bytes)?.resolve()
}

/// Reads an implementation.
///
/// # Errors
/// See [`BadForm`].
pub fn implementation(bytes: &[u8]) -> Result<Implementation, BadForm> {
    json::<ImplementationForm>(bytes)?.resolve()
}

impl InstanceForm {
    /// Checks it.
    ///
    /// # Errors
    /// See [`BadForm`].
    pub fn resolve(self) -> Result<Instance, BadForm> {
        let model: ModelId = self.model.parse()?;
        let definition = self.definition.map(DefinitionForm::resolve).transpose()?;
        Ok(Instance::described(model, self.parameters.0, self.external.0, definition)?)
    }
}

impl From<&Instance> for InstanceForm {
    fn from(instance: &Instance) -> Self {
        InstanceForm {
            model: instance.model().to_string(),
            parameters: Object(instance.parameters().clone()),
            external: Object(instance.external().clone()),
            definition: instance.definition().map(DefinitionForm::from),
        }
    }
}

impl DefinitionForm {
    /// Checks it.
    ///
    /// # Errors
    /// See [`BadForm`].
    pub fn resolve(self) -> Result<Definition, BadForm> {
        let model: ModelId = self.model.parse()?;
        let mut parameters = BTreeMap::new();
        for form in self.parameters.0 {
            let stated = Stated::new(form.kind, form.off_value, form.affects).map_err(|bad| {
                BadForm::Values(form.name.to_string(), model.clone(), bad.to_string())
            })?;
            if parameters.insert(form.name.clone(), stated).is_some() {
                return Err(BadForm::Twice(form.name, model));
            }
        }
        Ok(Definition::new(model, parameters))
    }
}

impl From<&Definition> for DefinitionForm {
    fn from(definition: &Definition) -> Self {
        let stated = |(name, stated): (&Name, &Stated)| StatedForm {
            name: name.clone(),
            kind: stated.kind(),
            off_value: stated.off().cloned(),
            affects: stated.affects(),
            description: None,
        };
        DefinitionForm {
            model: definition.model().to_string(),
            parameters: List(definition.parameters().iter().map(stated).collect()),
        }
    }
}

impl ImplementationForm {
    /// Checks it.
    ///
    /// # Errors
    /// See [`BadForm`].
    pub fn resolve(self) -> Result<Implementation, BadForm> {
        let definitions = self.definition.map(OneOrMore::into_vec).unwrap_or_default();
        let mut owners = BTreeMap::new();
        for form in definitions {
            let definition = form.resolve()?;
            let id = definition.model().clone();
            if owners.insert(id.clone(), definition).is_some() {
                return Err(BadForm::Defined(id));
            }
        }
        let mut models = Vec::with_capacity(self.models.0.len());
        for form in self.models.0 {
            let id: ModelId = form.model.parse()?;
            let definition = owners.remove(&id);
            models.push(form.resolve(id, definition)?);
        }
        if let Some(id) = owners.into_keys().next() {
            return Err(BadModel::Definition(id).into());
        }
        Ok(Implementation::new(models)?)
    }
}

impl From<&Implementation> for ImplementationForm {
    fn from(implementation: &Implementation) -> Self {
        let models = implementation.models().values();
        let mut definitions: Vec<DefinitionForm> =
            models.clone().filter_map(Model::definition).map(DefinitionForm::from).collect();
        ImplementationForm {
            models: List(models.map(ModelForm::from).collect()),
            definition: match definitions.len() {
                0 => None,
                1 => definitions.pop().map(OneOrMore::One),
                _ => Some(OneOrMore::More(List(definitions))),
            },
        }
    }
}

impl ModelForm {
    fn resolve(self, id: ModelId, definition: Option<Definition>) -> Result<Model, BadForm> {
        let mut parameters = BTreeMap::new();
        for form in self.parameters.0 {
            let name = form.name.clone();
            let bad = |why: String| BadForm::Values(name.to_string(), id.clone(), why);
            let allowed = match &form.allowed_values {
                None => Allowed::Any(form.kind),
                Some(list) => {
                    Allowed::of(form.kind, &list.0).map_err(|error| bad(error.to_string()))?
                }
            };
            let parameter = Parameter::new(allowed, form.init_value, form.off_value)
                .map_err(|error| bad(error.to_string()))?;
            if parameters.insert(form.name.clone(), parameter).is_some() {
                return Err(BadForm::Twice(form.name, id));
            }
        }
        let aliases =
            self.aliases.0.into_iter().map(|(name, settings)| (name, settings.0)).collect();
        let constraints: Result<Vec<_>, _> =
            self.constraints.0.into_iter().map(|form| form.resolve(&id, &parameters)).collect();
        Ok(Model::new(id, parameters, aliases, constraints?, definition)?)
    }
}

impl From<&Model> for ModelForm {
    fn from(model: &Model) -> Self {
        let parameter = |(name, p): (&Name, &Parameter)| ParameterForm {
            name: name.clone(),
            kind: p.kind(),
            allowed_values: p.allowed().list().map(List),
            init_value: p.init().clone(),
            off_value: p.off().cloned(),
            description: None,
        };
        let alias = |(name, settings): (&Name, &Settings)| (name.clone(), Object(settings.clone()));
        ModelForm {
            model: model.id().to_string(),
            parameters: List(model.parameters().iter().map(parameter).collect()),
            aliases: Object(model.aliases().iter().map(alias).collect()),
            constraints: List(model.constraints().iter().map(ConstraintForm::from).collect()),
            description: None,
        }
    }
}

impl ConstraintForm {
    fn resolve(
        self,
        id: &ModelId,
        parameters: &BTreeMap<Name, Parameter>,
    ) -> Result<Constraint, BadForm> {
        let set = |name: &Name, list: &[Value]| {
            let what = || "a constraint".to_owned();
            let known = parameters.get(name).ok_or_else(|| {
                BadForm::from(BadModel::NoParameter(what(), name.clone(), id.clone()))
            })?;
            Allowed::of(known.kind(), list)
                .map_err(|error| BadForm::Values(name.to_string(), id.clone(), error.to_string()))
        };
        let sets = |object: Object<Name, List<Value, MAX_VALUES>, MAX_PARAMETERS>| {
            let each = |(name, list): (Name, List<Value, MAX_VALUES>)| {
                let set = set(&name, &list.0)?;
                Ok((name, set))
            };
            object.0.into_iter().map(each).collect::<Result<BTreeMap<_, _>, BadForm>>()
        };
        match (self.when, self.then, self.parameters, self.allowed) {
            (Some(when), Some(then), None, None) => {
                Ok(Constraint::Implies { when: sets(when)?, then: sets(then)? })
            }
            (None, None, Some(names), Some(rows)) => {
                let mut table = Vec::with_capacity(rows.0.len());
                for row in rows.0 {
                    if row.0.len() != names.0.len() {
                        return Err(BadModel::Row(names.0.len(), row.0.len()).into());
                    }
                    let cells = names.0.iter().zip(row.0);
                    let row: Result<Vec<_>, _> =
                        cells.map(|(name, cell)| set(name, &cell.into_vec())).collect();
                    table.push(row?);
                }
                Ok(Constraint::Table { parameters: names.0, rows: table })
            }
            _ => Err(BadForm::Constraint),
        }
    }
}

impl From<&Constraint> for ConstraintForm {
    fn from(constraint: &Constraint) -> Self {
        let list = |set: &Allowed| List(set.list().unwrap_or_default());
        let sets = |sets: &BTreeMap<Name, Allowed>| {
            Some(Object(sets.iter().map(|(name, set)| (name.clone(), list(set))).collect()))
        };
        match constraint {
            Constraint::Implies { when, then } => {
                ConstraintForm { when: sets(when), then: sets(then), ..ConstraintForm::default() }
            }
            Constraint::Table { parameters, rows } => {
                let row = |row: &Vec<Allowed>| {
                    List(row.iter().map(|set| OneOrMore::More(list(set))).collect())
                };
                ConstraintForm {
                    parameters: Some(List(parameters.clone())),
                    allowed: Some(List(rows.iter().map(row).collect())),
                    ..ConstraintForm::default()
                }
            }
        }
    }
}
