//! Which form a file has: ours, the RFC's, or one of 2020; and one answer for all of them.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::check::check;
use super::configuration::Settings;
use super::form::{self, BadForm};
use super::implementation::Implementation;
use super::instance::Instance;
use super::opaque_string::{Listed, Opaque};
use super::reason::Reason;
use super::refusal::Refusal;
use super::rfc::{self, Versioned, Versions};
use super::value::{Name, Value};

/// A device that exists, in any form.
#[derive(Clone, PartialEq, Debug)]
pub enum Source {
    /// Ours, and the third version of the RFC.
    Instance(Instance),
    /// The fourth version of the RFC.
    Versioned(Versioned),
    /// An opaque string.
    Opaque(Opaque),
    /// A list.
    Listed(Listed),
}

/// What a host can make, in any form.
#[derive(Clone, PartialEq, Debug)]
pub enum Destination {
    /// Ours, and the third version of the RFC.
    Implementation(Implementation),
    /// The fourth version of the RFC.
    Versions(Versions),
    /// A device's opaque string.
    Opaque(Opaque),
    /// A device that lists others.
    Listed(Listed),
}

/// The keys of a document that tell its form.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Shape {
    models: Option<Models>,
    version: Option<IgnoredAny>,
    migration_version: Option<IgnoredAny>,
    #[serde(rename = "self")]
    own: Option<IgnoredAny>,
}

enum Models {
    List,
    Parameters,
    Versions,
}

impl<'de> Deserialize<'de> for Models {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Models;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of models, or an object of them")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Models, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Models::List)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Models, A::Error> {
                #[derive(Default, Deserialize)]
                #[serde(default)]
                struct Model {
                    versions: Option<IgnoredAny>,
                }
                let mut answer = Models::Parameters;
                while let Some((_, model)) = map.next_entry::<IgnoredAny, Model>()? {
                    if model.versions.is_some() {
                        answer = Models::Versions;
                    }
                }
                Ok(answer)
            }
        }
        deserializer.deserialize_any(Look)
    }
}

/// Reads a device that exists.
///
/// # Errors
/// See [`BadForm`].
pub fn source(bytes: &[u8]) -> Result<Source, BadForm> {
    let shape: Shape = form::json(bytes)?;
    if shape.migration_version.is_some() {
        Opaque::read(bytes).map(Source::Opaque)
    } else if shape.own.is_some() {
        Listed::read(bytes).map(Source::Listed)
    } else if shape.version.is_some() {
        Versioned::read(bytes).map(Source::Versioned)
    } else {
        form::instance(bytes).map(Source::Instance)
    }
}

/// Reads what a host can make.
///
/// # Errors
/// See [`BadForm`].
pub fn destination(bytes: &[u8]) -> Result<Destination, BadForm> {
    let shape: Shape = form::json(bytes)?;
    match shape.models {
        _ if shape.migration_version.is_some() => Opaque::read(bytes).map(Destination::Opaque),
        _ if shape.own.is_some() => Listed::read(bytes).map(Destination::Listed),
        Some(Models::Parameters) => rfc::info(bytes).map(Destination::Implementation),
        Some(Models::Versions) => Versions::info(bytes).map(Destination::Versions),
        Some(Models::List) | None => form::implementation(bytes).map(Destination::Implementation),
    }
}

impl Source {
    fn form(&self) -> &'static str {
        match self {
            Source::Instance(_) => "parameters",
            Source::Versioned(_) => "a version string",
            Source::Opaque(_) => "an opaque string",
            Source::Listed(_) => "a list",
        }
    }
}

impl Destination {
    fn form(&self) -> &'static str {
        match self {
            Destination::Implementation(_) => "parameters",
            Destination::Versions(_) => "version strings",
            Destination::Opaque(_) => "an opaque string",
            Destination::Listed(_) => "a list",
        }
    }
}

/// What a form answers: the configuration at the destination, as far as the form knows it.
///
/// # Errors
/// All reasons; two descriptions of different forms are no description of each other.
pub fn answer(source: &Source, destination: &Destination) -> Result<Settings, Refusal> {
    match (source, destination) {
        (Source::Instance(instance), Destination::Implementation(there)) => {
            check(instance, there).map(|configuration| configuration.parameters().clone())
        }
        (Source::Versioned(instance), Destination::Versions(there)) => {
            there.check(instance)?;
            Ok(pair("version", &instance.version).into_iter().collect())
        }
        (Source::Opaque(here), Destination::Opaque(there)) => {
            here.check(there)?;
            Ok(Settings::new())
        }
        (Source::Listed(here), Destination::Listed(there)) => {
            here.check(there)?;
            Ok(there.own().iter().filter_map(|(name, text)| pair(name.as_str(), text)).collect())
        }
        (source, destination) => Err(Reason::other_form(source.form(), destination.form()).into()),
    }
}

fn pair(name: &str, text: &str) -> Option<(Name, Value)> {
    Some((name.parse().ok()?, Value::text(text).ok()?))
}

/// Whether a migration is safe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// It is.
    Safe,
    /// It is not known to be.
    Refused,
}

/// What `devmig compat` answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Verdict {
    /// Whether it is safe.
    pub verdict: Word,
    /// The parameters that the device will have at the destination; null if it is refused.
    pub configuration: Option<std::collections::BTreeMap<Name, Value>>,
    /// Why it is refused: all reasons.
    pub reasons: Vec<Reason>,
}

impl From<Result<Settings, Refusal>> for Verdict {
    fn from(answer: Result<Settings, Refusal>) -> Self {
        match answer {
            Ok(settings) => {
                Verdict { verdict: Word::Safe, configuration: Some(settings), reasons: Vec::new() }
            }
            Err(refusal) => {
                let reasons = refusal.reasons().to_vec();
                Verdict { verdict: Word::Refused, configuration: None, reasons }
            }
        }
    }
}

/// Either side, as a file of a fleet is: a device tells what it is, a host what it can make, and by the
/// forms of 2020 a device is both.
#[derive(Clone, PartialEq, Debug)]
pub struct Side {
    /// The device.
    pub source: Option<Source>,
    /// The host.
    pub destination: Option<Destination>,
}

/// Reads a file of either side.
///
/// # Errors
/// See [`BadForm`].
pub fn side(bytes: &[u8]) -> Result<Side, BadForm> {
    let shape: Shape = form::json(bytes)?;
    let both = shape.migration_version.is_some() || shape.own.is_some();
    let host = shape.models.is_some();
    Ok(Side {
        source: (both || !host).then(|| source(bytes)).transpose()?,
        destination: (both || host).then(|| destination(bytes)).transpose()?,
    })
}
