//! The files of the RFC itself: migration info of its third and fourth version, and the attributes of
//! an mdev type.
//!
//! ```text
//! v3  {"models": {"vendor-a.com/my-nic": {"params": {"rss": {"type": "bool", "init_value": true,
//!       "off_value": false, "allowed_values": [true, false], "description": "…"}}}}}
//! v4  {"models": {"vendor-a.com/my-nic": {"versions": ["q1-v1", "q1-v2"]}}}
//! v4  vendor-a.com/my-nic:\nq1-v1\nq1-v2\n            (the attribute migration_device_models)
//! ```
//!
//! What v3 cannot say (aliases, joint constraints, the owner's definition) is lost when it is written;
//! [`lost`] tells.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounded_json::{List, Object};
use super::form::{
    self, BadForm, ImplementationForm, MAX_MODELS, MAX_PARAMETERS, MAX_VALUES, ModelForm,
    ParameterForm,
};
use super::id::{ModelId, Profile};
use super::implementation::{BadModel, Implementation, Model};
use super::reason::Reason;
use super::refusal::Refusal;
use super::value::{Name, Type, Value};

/// Migration info of the third version.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "migration info, RFC v3")]
pub struct InfoForm {
    /// The models, by their ids.
    pub models: Object<String, InfoModelForm, MAX_MODELS>,
}

/// A model of the third version.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InfoModelForm {
    /// Its parameters, by their names.
    pub params: Object<Name, InfoParameterForm, MAX_PARAMETERS>,
}

/// A parameter of the third version.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InfoParameterForm {
    /// What it can be set to. Absent: any value of the type, which may still be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_values: Option<List<Value, MAX_VALUES>>,
    /// Plain text
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its value in a new instance.
    pub init_value: Value,
    /// The value that disables it; absent if it cannot be disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off_value: Option<Value>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Type,
}

/// Reads migration info of the third version.
///
/// # Errors
/// See [`BadForm`]; an id with a scheme is none there.
pub fn info(bytes: &[u8]) -> Result<Implementation, BadForm> {
    form::json::<InfoForm>(bytes)?.resolve()
}

impl InfoForm {
    /// Checks it.
    ///
    /// # Errors
    /// See [`BadForm`].
    pub fn resolve(self) -> Result<Implementation, BadForm> {
        let mut models = Vec::with_capacity(self.models.0.len());
        for (model, form) in self.models.0 {
            ModelId::parse_as(Profile::V3, &model)?;
            let parameter = |(name, p): (Name, InfoParameterForm)| ParameterForm {
                name,
                kind: p.kind,
                allowed_values: p.allowed_values,
                init_value: p.init_value,
                off_value: p.off_value,
                description: p.description,
            };
            models.push(ModelForm {
                model,
                parameters: List(form.params.0.into_iter().map(parameter).collect()),
                aliases: Object::default(),
                constraints: List::default(),
                description: None,
            });
        }
        ImplementationForm { models: List(models), definition: None }.resolve()
    }
}

impl From<&Implementation> for InfoForm {
    fn from(implementation: &Implementation) -> Self {
        let model = |model: &Model| {
            let parameters = ModelForm::from(model).parameters.0;
            let params = parameters.into_iter().map(|p| {
                let info = InfoParameterForm {
                    allowed_values: p.allowed_values,
                    description: p.description,
                    init_value: p.init_value,
                    off_value: p.off_value,
                    kind: p.kind,
                };
                (p.name, info)
            });
            InfoModelForm { params: Object(params.collect()) }
        };
        let models = implementation.models().values();
        InfoForm { models: Object(models.map(|m| (m.id().to_string(), model(m))).collect()) }
    }
}

/// What of an implementation the third version has no words for.
#[must_use]
pub fn lost(implementation: &Implementation) -> Vec<String> {
    let mut all = Vec::new();
    for model in implementation.models().values() {
        let mut lost = |there: bool, what: &str| {
            if there {
                all.push(format!("{what} of `{}`", model.id()));
            }
        };
        lost(!model.aliases().is_empty(), "the aliases");
        lost(!model.constraints().is_empty(), "the joint constraints");
        lost(model.definition().is_some(), "the owner's definition");
        lost(model.id().is_uri(), "the scheme");
    }
    all
}

/// What the fourth version says of a host: models, each with version strings.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Versions {
    models: BTreeMap<ModelId, BTreeSet<String>>,
}

/// An instance by the fourth version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versioned {
    /// Its model.
    pub model: ModelId,
    /// Its version string.
    pub version: String,
}

/// Migration info of the fourth version.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "migration info, RFC v4")]
pub struct VersionsForm {
    /// The models, by their ids.
    pub models: Object<String, VersionsModelForm, MAX_MODELS>,
}

/// A model of the fourth version.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionsModelForm {
    /// Its version strings.
    pub versions: List<String, MAX_VALUES>,
}

/// An instance of the fourth version, as it is written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionedForm {
    /// The id of its model.
    pub model: String,
    /// Its version string.
    pub version: String,
}

fn version(text: &str) -> Result<String, BadForm> {
    match text.is_empty() || !text.is_ascii() || text.contains(|c: char| c.is_ascii_control()) {
        true => Err(BadForm::Json(format!(
            "`{}` is not a version string: it must be ASCII without newlines",
            text.chars().take(64).collect::<String>().escape_debug()
        ))),
        false => Ok(text.to_owned()),
    }
}

impl Versions {
    /// Reads migration info of the fourth version.
    ///
    /// # Errors
    /// See [`BadForm`].
    pub fn info(bytes: &[u8]) -> Result<Self, BadForm> {
        let mut models = BTreeMap::new();
        for (model, form) in form::json::<VersionsForm>(bytes)?.models.0 {
            let id = ModelId::parse_as(Profile::V4, &model)?;
            let versions: Result<_, _> = form.versions.0.iter().map(|v| version(v)).collect();
            models.insert(id, versions?);
        }
        Ok(Versions { models })
    }

    /// Reads the attribute `migration_device_models`: a line `MODEL:`, then a line for each version.
    ///
    /// # Errors
    /// See [`BadForm`].
    pub fn attribute(text: &str) -> Result<Self, BadForm> {
        let mut models: BTreeMap<ModelId, BTreeSet<String>> = BTreeMap::new();
        let mut current = None;
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(model) = line.strip_suffix(':') {
                let id = ModelId::parse_as(Profile::V4, model)?;
                if models.insert(id.clone(), BTreeSet::new()).is_some() {
                    return Err(BadModel::Twice(id).into());
                }
                current = Some(id);
            } else if let Some(versions) = current.as_ref().and_then(|id| models.get_mut(id)) {
                versions.insert(version(line)?);
            } else {
                return Err(BadForm::Json("a version precedes every model".to_owned()));
            }
        }
        match models.is_empty() {
            true => Err(BadForm::Nothing),
            false => Ok(Versions { models }),
        }
    }

    /// The version strings of each model.
    #[must_use]
    pub fn models(&self) -> &BTreeMap<ModelId, BTreeSet<String>> {
        &self.models
    }

    /// The check of the fourth version: the model, and the version string.
    ///
    /// # Errors
    /// What is not there.
    pub fn check(&self, instance: &Versioned) -> Result<(), Refusal> {
        match self.models.get(&instance.model) {
            None => Err(Reason::unsupported(&instance.model, self.models.keys()).into()),
            Some(versions) if !versions.contains(&instance.version) => {
                let have = versions.iter().map(String::as_str);
                Err(Reason::version(&instance.model, &instance.version, have).into())
            }
            Some(_) => Ok(()),
        }
    }
}

impl Versioned {
    /// Reads an instance of the fourth version.
    ///
    /// # Errors
    /// See [`BadForm`].
    pub fn read(bytes: &[u8]) -> Result<Self, BadForm> {
        let form = form::json::<VersionedForm>(bytes)?;
        let model = ModelId::parse_as(Profile::V4, &form.model)?;
        Ok(Versioned { model, version: version(&form.version)? })
    }
}

/// The attributes of an instance by the third version (`migration/NAME`), typed by its type's migration
/// info.
///
/// # Errors
/// If an attribute is no value of its type, or no parameter.
pub fn settings(
    model: &Model,
    attributes: &BTreeMap<String, String>,
) -> Result<super::Settings, BadForm> {
    let mut all = super::Settings::new();
    for (name, text) in attributes {
        let bad = |why: String| BadForm::Values(name.clone(), model.id().clone(), why);
        let parsed: Name =
            name.parse().map_err(|error: super::value::BadName| bad(error.to_string()))?;
        let Some(parameter) = model.parameters().get(&parsed) else {
            return Err(
                BadModel::NoParameter("migration/".into(), parsed, model.id().clone()).into()
            );
        };
        let text = text.strip_suffix('\n').unwrap_or(text);
        let value = parameter.kind().read(text).map_err(|error| bad(error.to_string()))?;
        all.insert(parsed, value);
    }
    Ok(all)
}

/// The options of a vfio-user program that make an instance with these settings (RFC v3):
/// `--m-NAME=VALUE`.
#[must_use]
pub fn options(settings: &super::Settings) -> Vec<String> {
    settings.iter().map(|(name, value)| format!("--m-{name}={value}")).collect()
}
