//! The files: an instance, an implementation, and the owner's definition that either may carry.
//!
//! ```text
//! {"model": "vendor-a.com/my-nic", "parameters": {"rss": false}, "external": {"port": "eth0"}}
//! {"models": [{"model": …, "parameters": [{"name": "rss", "type": "bool", "init_value": true,
//!   "off_value": false}], "aliases": {"1": {"rss": false}}, "constraints": []}]}
//! ```
//!
//! **Invariants.** A file has at most [`MAX_FILE`] bytes and [`MAX_ITEMS`] values, which are counted before
//! any is read; a list or object in it a stated number of items, no key twice and no key that is not
//! known: a member that was not understood might narrow what is accepted. Nesting is bounded by the
//! reader of JSON (128). Time is linear in the size of the file, memory in the number of its values.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::bounded_json::{List, Object, OneOrMore};
use super::definition::Affects;
use super::id::{BadId, ModelId};
use super::implementation::{BadModel, Implementation};
use super::instance::Instance;
use super::value::{Name, Type, Value};

/// The longest file, in bytes.
pub const MAX_FILE: usize = 16 << 20;
/// The most models of an implementation.
pub const MAX_MODELS: usize = 1024;
/// The most parameters of a model, aliases of a model, and members of what belongs to a host.
pub const MAX_PARAMETERS: usize = 4096;
/// The most entries of a list of values, and rows of a constraint.
pub const MAX_VALUES: usize = 65_536;
/// The most values of a whole file, whatever they are in: so memory is bounded by what a file means, and
/// not by how densely it is written.
pub const MAX_ITEMS: usize = 1 << 20;
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
    /// Too much in it.
    #[error("it has more than {MAX_ITEMS} values")]
    Many,
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
    #[error("the parameter `{0}` of `{1}` is defined twice")]
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
    /// Plain text
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
    /// Plain text
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
    /// Plain text
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
    /// Plain text
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
    if items(bytes) > MAX_ITEMS {
        return Err(BadForm::Many);
    }
    serde_json::from_slice(bytes).map_err(|error| BadForm::Json(error.to_string()))
}

/// How many values a document has at most: each but the first follows a comma or a bracket.
fn items(bytes: &[u8]) -> usize {
    let (mut within, mut escaped, mut count) = (false, false, 1);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = within,
            b'"' => within = !within,
            b',' | b'[' | b'{' if !within => count += 1,
            _ => {}
        }
    }
    count
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
