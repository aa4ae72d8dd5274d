//! What a parameter is called, and what it can be set to.
//!
//! **Invariants.** A [`Name`] and a [`Value`] are what the third version of the RFC allows, and at most
//! [`MAX_NAME`] and [`MAX_TEXT`] bytes long. Integers are 0, 1, 2, … up to 64 bits: no sign, no fraction,
//! and none is ever rounded.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// The longest name of a parameter, in bytes.
pub const MAX_NAME: usize = 128;
/// The longest character string, in bytes.
pub const MAX_TEXT: usize = 4096;

/// The name of a parameter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(Arc<str>);

/// Not the name of a parameter.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` names no parameter: a name is 1 to {MAX_NAME} bytes without `=`, `/`, blanks and control \
     characters"
)]
pub struct BadName(String);

impl Name {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let odd = |c: char| matches!(c, '=' | '/') || c.is_whitespace() || c.is_control();
        match text.is_empty() || text.len() > MAX_NAME || text.contains(odd) {
            true => {
                Err(BadName(text.chars().take(MAX_NAME).flat_map(char::escape_debug).collect()))
            }
            false => Ok(Name(text.into())),
        }
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The name of a parameter.",
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_NAME,
            "pattern": r"^[^=/\s]+$",
        })
    }
}

/// What kind of values a parameter has.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// On or off.
    Bool,
    /// 0, 1, 2, …
    Int,
    /// A character string.
    Str,
}

impl Type {
    /// Reads a value as it stands on a command line or in an attribute: `on`, `off`, `true`, `false`,
    /// `1` and `0` for a boolean, decimal digits for an integer.
    ///
    /// # Errors
    /// If it is no value of this type.
    pub fn read(self, text: &str) -> Result<Value, BadValue> {
        match self {
            Type::Bool => match text {
                "on" | "true" | "1" => Ok(Value::Bool(true)),
                "off" | "false" | "0" => Ok(Value::Bool(false)),
                _ => Err(BadValue::Text(self)),
            },
            Type::Int => integer(text).map(Value::Int).ok_or(BadValue::Text(self)),
            Type::Str => Value::text(text),
        }
    }
}

/// Decimal digits, in the one way to write them.
pub(super) fn integer(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|c| c.is_ascii_digit());
    let plain = text == "0" || !text.starts_with('0');
    (digits && plain).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Str => "str",
        })
    }
}

/// What a parameter is set to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// On or off.
    Bool(bool),
    /// 0, 1, 2, …
    Int(u64),
    /// A character string; see [`Value::text`].
    Str(Arc<str>),
}

/// Not a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadValue {
    /// Not of the type.
    #[error("not of type {0}")]
    Text(Type),
    /// A string with a newline, or another control character.
    #[error("a character string has no newline or other control character")]
    Control,
    /// A string that is too long.
    #[error("a character string has at most {MAX_TEXT} bytes")]
    Long,
}

impl Value {
    /// A character string.
    ///
    /// # Errors
    /// If it is too long, or has a newline or another control character.
    pub fn text(text: &str) -> Result<Self, BadValue> {
        if text.len() > MAX_TEXT {
            return Err(BadValue::Long);
        }
        match text.contains(char::is_control) {
            true => Err(BadValue::Control),
            false => Ok(Value::Str(text.into())),
        }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Type {
        match self {
            Value::Bool(_) => Type::Bool,
            Value::Int(_) => Type::Int,
            Value::Str(_) => Type::Str,
        }
    }
}

/// As on a command line.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(on) => f.write_str(if *on { "on" } else { "off" }),
            Value::Int(n) => n.fmt(f),
            Value::Str(text) => f.write_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar)
    }
}

struct Scalar;

impl de::Visitor<'_> for Scalar {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, an integer from 0 to 18446744073709551615, or a string")
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<Value, E> {
        Ok(Value::Bool(on))
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<Value, E> {
        Ok(Value::Int(n))
    }

    /// As TOML has it.
    fn visit_i64<E: de::Error>(self, n: i64) -> Result<Value, E> {
        let unsigned = |_| E::invalid_value(de::Unexpected::Signed(n), &self);
        u64::try_from(n).map(Value::Int).map_err(unsigned)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Value::text(text).map_err(E::custom)
    }
}

impl JsonSchema for Value {
    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What a parameter is set to.",
            "anyOf": [
                { "type": "boolean" },
                { "type": "integer", "minimum": 0, "maximum": u64::MAX },
                { "type": "string", "maxLength": MAX_TEXT },
            ],
        })
    }
}
