//! The forms of 2020: an opaque string, and a device that lists what it is compatible with.
//!
//! ```text
//! {"migration_version": "i915-v1-8086-591d-i915-GVTg_V5_8-1"}
//! {"self":       {"mdev_type": "i915-GVTg_V5_2", "aggregator": 1, "software_version": "1.0.0"},
//!  "compatible": [{"mdev_type": "i915-GVTg_V5_{val:int:1,2,4,8}", "aggregator": "{val}/2",
//!                  "software_version": "1.0.0"}]}
//! ```
//!
//! They are here to be seen answering: what the first accepts is its target's secret (equal strings are
//! all that an onlooker can go by), and the second accepts what the source's release knew of. Neither
//! says whether the device can come back.
//!
//! **Invariants.** A template stands for at most [`MAX_MEANINGS`] combinations of its variables. A
//! quotient that is no integer matches nothing.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounded_json::{Object, OneOrMore};
use super::form::{self, BadForm, MAX_MODELS, MAX_PARAMETERS};
use super::reason::Reason;
use super::refusal::Refusal;
use super::value::{Name, Value};

/// The most combinations of values that a template stands for.
pub const MAX_MEANINGS: usize = 4096;

/// A device described by an opaque string, as it is written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpaqueForm {
    /// What only the vendor's driver understands.
    pub migration_version: Value,
}

/// A device that lists others, as it is written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListedForm {
    /// What it is.
    #[serde(rename = "self")]
    pub own: Object<Name, Value, MAX_PARAMETERS>,
    /// What it can migrate to: attributes with values, or templates of values.
    #[serde(default)]
    pub compatible: Option<OneOrMore<Object<Name, Value, MAX_PARAMETERS>, MAX_MODELS>>,
}

/// A device described by an opaque string.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opaque(Box<str>);

impl Opaque {
    /// Reads one.
    ///
    /// # Errors
    /// See [`BadForm`].
    pub fn read(bytes: &[u8]) -> Result<Self, BadForm> {
        Ok(Opaque(form::json::<OpaqueForm>(bytes)?.migration_version.to_string().into()))
    }

    /// The attribute itself.
    ///
    /// # Errors
    /// If it is empty: then there is none.
    pub fn attribute(text: &str) -> Result<Self, BadForm> {
        match text.trim_end_matches('\n') {
            "" => Err(BadForm::Nothing),
            text => Ok(Opaque(text.into())),
        }
    }

    /// What an onlooker can say: two that are equal are compatible.
    ///
    /// # Errors
    /// If they differ; the vendor's driver might still have accepted it.
    pub fn check(&self, target: &Opaque) -> Result<(), Refusal> {
        match self == target {
            true => Ok(()),
            false => Err(Reason::opaque(&self.0, &target.0).into()),
        }
    }
}

/// A device that lists others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    own: BTreeMap<Name, String>,
    compatible: Vec<BTreeMap<Name, Template>>,
}

impl Listed {
    /// Reads one.
    ///
    /// # Errors
    /// See [`BadForm`]; a template that stands for too much.
    pub fn read(bytes: &[u8]) -> Result<Self, BadForm> {
        let form = form::json::<ListedForm>(bytes)?;
        let own = form.own.0.into_iter().map(|(name, value)| (name, text(&value))).collect();
        let mut compatible = Vec::new();
        for entry in form.compatible.map(OneOrMore::into_vec).unwrap_or_default() {
            let template =
                |(name, value): (Name, Value)| Ok((name, Template::parse(&text(&value))?));
            compatible.push(entry.0.into_iter().map(template).collect::<Result<_, BadForm>>()?);
        }
        Listed { own, compatible }.bounded()
    }

    /// Reads the attributes `migration/self` and `migration/compatible`: lines `NAME=VALUE`, and an empty
    /// line between two entries.
    ///
    /// # Errors
    /// See [`BadForm`].
    pub fn attributes(own: &str, compatible: &str) -> Result<Self, BadForm> {
        let pairs = |block: &str| {
            let pair = |line: &str| {
                let (name, value) = line.trim().split_once('=').ok_or_else(|| {
                    BadForm::Json("an attribute is written `NAME=VALUE`".to_owned())
                })?;
                let name: Name = name
                    .parse()
                    .map_err(|e: super::value::BadName| BadForm::Json(e.to_string()))?;
                Ok((name, value.trim_matches('"').to_owned()))
            };
            block.lines().filter(|l| !l.trim().is_empty()).map(pair).collect::<Result<_, BadForm>>()
        };
        let own: BTreeMap<Name, String> = pairs(own)?;
        if own.is_empty() {
            return Err(BadForm::Nothing);
        }
        let mut entries = Vec::new();
        for block in compatible.split("\n\n").filter(|block| !block.trim().is_empty()) {
            let block: BTreeMap<Name, String> = pairs(block)?;
            let template = |(name, text): (Name, String)| Ok((name, Template::parse(&text)?));
            entries.push(block.into_iter().map(template).collect::<Result<_, BadForm>>()?);
        }
        Listed { own, compatible: entries }.bounded()
    }

    fn bounded(self) -> Result<Self, BadForm> {
        let many = |entry: &BTreeMap<Name, Template>| meanings(entry).is_none();
        match self.compatible.iter().any(many) {
            true => Err(BadForm::Json(format!(
                "an entry stands for more than {MAX_MEANINGS} devices, or has a variable twice"
            ))),
            false => Ok(self),
        }
    }

    /// What it is.
    #[must_use]
    pub fn own(&self) -> &BTreeMap<Name, String> {
        &self.own
    }

    /// Whether a target is on the list of its source.
    ///
    /// # Errors
    /// If it is not.
    pub fn check(&self, target: &Listed) -> Result<(), Refusal> {
        match self.compatible.iter().any(|entry| matches(entry, &target.own)) {
            true => Ok(()),
            false => {
                let back = target.compatible.iter().any(|entry| matches(entry, &self.own));
                Err(Reason::not_listed(&target.own, back).into())
            }
        }
    }
}

/// A value as these files compare it.
fn text(value: &Value) -> String {
    match value {
        Value::Bool(on) => on.to_string(),
        other => other.to_string(),
    }
}

/// A value with variables in it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Template(Vec<Part>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    /// A variable and its values.
    Declares(String, Vec<String>),
    /// A variable, divided.
    Uses(String, u64),
}

impl Template {
    fn parse(text: &str) -> Result<Self, BadForm> {
        let bad = || BadForm::Json(format!("`{}` is not a template", text.escape_debug()));
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, from)) = rest.split_once('{') {
            let (inside, after) = from.split_once('}').ok_or_else(bad)?;
            parts.push(Part::Text(before.to_owned()));
            rest = after;
            match inside.splitn(3, ':').collect::<Vec<_>>()[..] {
                [name] => {
                    let mut by = 1;
                    if let Some(divided) = after.strip_prefix('/') {
                        let digits = divided.bytes().take_while(u8::is_ascii_digit).count();
                        by = divided.get(..digits).and_then(|d| d.parse().ok()).ok_or_else(bad)?;
                        rest = divided.get(digits..).unwrap_or_default();
                    }
                    if by == 0 {
                        return Err(bad());
                    }
                    parts.push(Part::Uses(name.to_owned(), by));
                }
                [name, "int" | "string", values] => {
                    let values = values.split(',').map(|v| v.trim().trim_matches('"').to_owned());
                    parts.push(Part::Declares(name.to_owned(), values.collect()));
                }
                _ => return Err(bad()),
            }
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Template(parts))
    }

    /// The text for some values of the variables.
    fn meaning(&self, variables: &BTreeMap<&str, &str>) -> Option<String> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Declares(name, _) | Part::Uses(name, 1) => {
                    out.push_str(variables.get(name.as_str())?);
                }
                Part::Uses(name, by) => {
                    let value: u64 = variables.get(name.as_str())?.parse().ok()?;
                    let whole = value.is_multiple_of(*by).then_some(value / by)?;
                    out.push_str(&whole.to_string());
                }
            }
        }
        Some(out)
    }
}

/// All values of the variables of an entry; none if there are too many, or one is declared twice.
fn meanings(entry: &BTreeMap<Name, Template>) -> Option<Vec<BTreeMap<&str, &str>>> {
    let mut all: Vec<BTreeMap<&str, &str>> = vec![BTreeMap::new()];
    for part in entry.values().flat_map(|template| &template.0) {
        let Part::Declares(name, values) = part else { continue };
        if all.first().is_some_and(|known| known.contains_key(name.as_str()))
            || all.len().saturating_mul(values.len()) > MAX_MEANINGS
        {
            return None;
        }
        let mut next = Vec::with_capacity(all.len() * values.len());
        for known in &all {
            for value in values {
                let mut one = known.clone();
                one.insert(name, value);
                next.push(one);
            }
        }
        all = next;
    }
    Some(all)
}

fn matches(entry: &BTreeMap<Name, Template>, own: &BTreeMap<Name, String>) -> bool {
    // An attribute that an entry gives as empty may be absent.
    let fits = |variables: &BTreeMap<&str, &str>| {
        entry.iter().all(|(name, template)| {
            let wanted = template.meaning(variables);
            wanted.is_some_and(|wanted| match own.get(name) {
                Some(have) => *have == wanted,
                None => wanted.is_empty(),
            })
        }) && own.keys().all(|name| entry.contains_key(name))
    };
    meanings(entry).is_some_and(|all| all.iter().any(fits))
}
