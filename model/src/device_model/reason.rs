//! Why a migration, or a device, is refused.
//!
//! **Invariant.** A message is one line: what others wrote is escaped in it.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::allowed::Allowed;
use super::configuration::Settings;
use super::constraint::Constraint;
use super::definition::Conflict;
use super::id::{BadId, ModelId};
use super::kind::Kind;
use super::value::{Name, Type, Value};

/// Why something is refused.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, JsonSchema)]
pub struct Reason {
    /// What kind of reason.
    pub kind: Kind,
    /// The device model.
    pub model: Option<String>,
    /// The parameter; several are joined by `, `.
    pub parameter: Option<String>,
    /// Its value at the source.
    pub value: Option<Value>,
    /// What would be accepted, as in `allowed_values`.
    pub allowed: Option<Vec<Value>>,
    /// All of it in a sentence.
    pub message: String,
}

/// Text from outside, in one line.
fn shown(text: &dyn fmt::Display) -> String {
    text.to_string().escape_debug().to_string()
}

impl Reason {
    fn about(kind: Kind, model: &ModelId, message: String) -> Self {
        let model = Some(model.to_string());
        Reason { kind, model, parameter: None, value: None, allowed: None, message }
    }

    fn of(mut self, parameter: &Name) -> Self {
        self.parameter = Some(parameter.to_string());
        self
    }

    fn at(mut self, value: &Value) -> Self {
        self.value = Some(value.clone());
        self
    }

    fn but(mut self, allowed: &Allowed) -> Self {
        self.allowed = allowed.list();
        self
    }

    /// A side that says nothing of itself: `source`, or `destination`.
    #[must_use]
    pub fn no_description(side: &str) -> Self {
        let message = format!("the {side} has no description");
        let kind = Kind::NoDescription;
        Reason { kind, model: None, parameter: None, value: None, allowed: None, message }
    }

    /// An id that is none.
    #[must_use]
    pub fn bad_id(bad: &BadId) -> Self {
        let model = Some(bad.written.clone());
        let message = bad.to_string();
        let allowed = bad.suggestion.as_ref().and_then(|s| Value::text(s).ok()).map(|v| vec![v]);
        Reason { kind: Kind::BadModelId, model, parameter: None, value: None, allowed, message }
    }

    /// A model that the destination does not have.
    #[must_use]
    pub fn unsupported<'a>(model: &ModelId, have: impl Iterator<Item = &'a ModelId>) -> Self {
        let have: Vec<&ModelId> = have.collect();
        let near = have.iter().find_map(|known| Some((*known, known.near(model)?)));
        let list = match have.len() {
            0 => "no model at all".to_owned(),
            n => {
                let first: Vec<_> = have.iter().take(8).map(|id| format!("`{id}`")).collect();
                let more = if n > 8 { format!(" and {} more", n - 8) } else { String::new() };
                first.join(", ") + &more
            }
        };
        let mut message = format!("the destination does not have `{model}`; it has {list}");
        if let Some((id, how)) = near {
            message += &format!(" (`{id}` {how}, and is another model)");
        }
        let mut reason = Reason::about(Kind::ModelUnsupported, model, message);
        reason.allowed = Some(have.iter().map(|id| Value::Str(id.as_str().into())).collect());
        reason
    }

    /// Two statements that disagree.
    #[must_use]
    pub fn conflict(model: &ModelId, parameter: &Name, conflict: &Conflict) -> Self {
        let name = shown(parameter);
        let (what, values) = match conflict {
            Conflict::Off(a, b) => {
                let what = format!("`{name}` is off at `{}` and at `{}`", shown(a), shown(b));
                (what, vec![a.clone(), b.clone()])
            }
            Conflict::Type(a, b) => (format!("`{name}` is of type {a} and of type {b}"), vec![]),
        };
        let message = format!("two statements about `{model}` disagree: {what}");
        let mut reason = Reason::about(Kind::DefinitionConflict, model, message).of(parameter);
        reason.allowed = (!values.is_empty()).then_some(values);
        reason
    }

    /// A parameter in effect that nobody there knows.
    #[must_use]
    pub fn unknown(model: &ModelId, parameter: &Name, value: &Value, off: Option<&Value>) -> Self {
        let (name, at) = (shown(parameter), shown(value));
        let why = match off {
            Some(off) => format!("it is `{at}`, and off only at `{}`", shown(off)),
            None => format!("it is `{at}`, and no description states its off value"),
        };
        let message =
            format!("the destination does not know the parameter `{name}` of `{model}`: {why}");
        Reason::about(Kind::UnknownParameter, model, message).of(parameter).at(value)
    }

    /// A value of another type.
    #[must_use]
    pub fn mismatch(model: &ModelId, parameter: &Name, value: &Value, wanted: &Allowed) -> Self {
        let (name, at, is, kind) = (shown(parameter), shown(value), value.kind(), wanted.kind());
        let message = format!("`{name}` of `{model}` is of type {kind}, and `{at}` of type {is}");
        Reason::about(Kind::TypeMismatch, model, message).of(parameter).at(value).but(wanted)
    }

    /// A value of another type than stated.
    #[must_use]
    pub fn misstated(model: &ModelId, parameter: &Name, value: &Value, stated: Type) -> Self {
        Reason::mismatch(model, parameter, value, &Allowed::Any(stated))
    }

    /// A value that is not accepted.
    #[must_use]
    pub fn not_allowed(
        model: &ModelId,
        parameter: &Name,
        value: &Value,
        allowed: &Allowed,
    ) -> Self {
        let (name, at, set) = (shown(parameter), shown(value), shown(allowed));
        let message =
            format!("`{name}` of `{model}` is not accepted at `{at}`: accepted values are {set}");
        Reason::about(Kind::ValueNotAllowed, model, message).of(parameter).at(value).but(allowed)
    }

    /// A parameter that must be given, and is not.
    #[must_use]
    pub fn missing(model: &ModelId, parameter: &Name, allowed: &Allowed) -> Self {
        let name = shown(parameter);
        let message = format!(
            "the destination needs `{name}` for `{model}`, which the source does not state, and has no \
             value at which it is off"
        );
        Reason::about(Kind::MandatoryMissing, model, message).of(parameter).but(allowed)
    }

    /// A parameter that has an off value, which is not accepted.
    #[must_use]
    pub fn cannot_disable(
        model: &ModelId,
        parameter: &Name,
        off: &Value,
        allowed: &Allowed,
    ) -> Self {
        let (name, at, set) = (shown(parameter), shown(off), shown(allowed));
        let message = format!(
            "`{name}` of `{model}` is off at the source, at `{at}`, which the destination does not \
             accept: it accepts {set}"
        );
        Reason::about(Kind::CannotDisable, model, message).of(parameter).at(off).but(allowed)
    }

    /// Values that do not go together.
    #[must_use]
    pub fn joint(model: &ModelId, constraint: &Constraint, settings: &Settings) -> Self {
        let names = constraint.parameters();
        let list = |of: &dyn Fn(&Name) -> String| {
            names.iter().map(|name| of(name)).collect::<Vec<_>>().join(", ")
        };
        let value = |name: &Name| settings.get(name).map(Value::to_string).unwrap_or_default();
        let (rule, values) = (constraint.to_string(), list(&value));
        let is = list(&|name| format!("`{}` at `{}`", shown(name), shown(&value(name))));
        let message = format!("{is} of `{model}` are not accepted together: {}", shown(&rule));
        let mut reason = Reason::about(Kind::JointConstraint, model, message);
        reason.parameter = Some(list(&Name::to_string));
        reason.value = Some(Value::Str(values.into()));
        reason.allowed = Some(vec![Value::Str(rule.into())]);
        reason
    }

    /// A parameter that is set twice.
    #[must_use]
    pub fn twice(model: &ModelId, parameter: &Name, value: &Value) -> Self {
        let message = format!("`{}` of `{model}` is set twice", shown(parameter));
        Reason::about(Kind::SetTwice, model, message).of(parameter).at(value)
    }

    /// An alias that does not exist.
    #[must_use]
    pub fn no_alias<'a>(
        model: &ModelId,
        alias: &str,
        have: impl Iterator<Item = &'a Name>,
    ) -> Self {
        let message = format!("`{model}` has no alias `{}`", shown(&alias));
        let mut reason = Reason::about(Kind::UnknownAlias, model, message);
        reason.value = Value::text(alias).ok();
        reason.allowed = Some(have.map(|name| Value::Str(name.as_str().into())).collect());
        reason
    }

    /// A device that is not what was asked for.
    #[must_use]
    pub fn read_back(
        model: &ModelId,
        parameter: &Name,
        asked: Option<&Value>,
        found: Option<&Value>,
    ) -> Self {
        let say = |v: Option<&Value>| v.map_or("nothing".into(), |v| format!("`{}`", shown(v)));
        let (name, asked_for, is) = (shown(parameter), say(asked), say(found));
        let message = format!(
            "the destination was asked for `{name}` of `{model}` at {asked_for}, but reads back \
             {is}"
        );
        let mut reason = Reason::about(Kind::ReadBackMismatch, model, message).of(parameter);
        reason.value = found.cloned();
        reason.allowed = asked.map(|value| vec![value.clone()]);
        reason
    }

    /// A destination that has run out of something.
    #[must_use]
    pub fn no_resource(model: &ModelId, what: &str) -> Self {
        let message = format!("the destination cannot create a `{model}` now: {}", shown(&what));
        Reason::about(Kind::NoResource, model, message)
    }

    /// Saved state of another model.
    #[must_use]
    pub fn other_model(model: &ModelId, saved: &ModelId) -> Self {
        let message = format!("the state was saved by a `{saved}`, but this is a `{model}`");
        let mut reason = Reason::about(Kind::StateMismatch, model, message);
        reason.value = Some(Value::Str(saved.as_str().into()));
        reason.allowed = Some(vec![Value::Str(model.as_str().into())]);
        reason
    }

    /// Saved state of another configuration.
    #[must_use]
    pub fn other_state(
        model: &ModelId,
        parameter: &Name,
        saved: Option<&Value>,
        here: Option<&Value>,
    ) -> Self {
        let say = |v: Option<&Value>| v.map_or("off".into(), |v| format!("`{}`", shown(v)));
        let (name, then, now) = (shown(parameter), say(saved), say(here));
        let message = format!(
            "the state was saved with `{name}` of `{model}` at {then}, but here it is {now}"
        );
        let mut reason = Reason::about(Kind::StateMismatch, model, message).of(parameter);
        reason.value = saved.cloned();
        reason.allowed = here.map(|value| vec![value.clone()]);
        reason
    }

    /// A version string that is not listed.
    #[must_use]
    pub fn version<'a>(
        model: &ModelId,
        version: &str,
        have: impl Iterator<Item = &'a str>,
    ) -> Self {
        let have: Vec<Value> = have.map(|v| Value::Str(v.into())).collect();
        let first: Vec<_> = have.iter().take(8).map(shown_value).collect();
        let message = format!(
            "the destination does not have version `{}` of `{model}`; it has {}",
            shown(&version),
            if first.is_empty() { "none".to_owned() } else { first.join(", ") }
        );
        let mut reason = Reason::about(Kind::VersionUnsupported, model, message);
        reason.value = Value::text(version).ok();
        reason.allowed = Some(have);
        reason
    }
}

impl Reason {
    fn silent(kind: Kind, message: String) -> Self {
        Reason { kind, model: None, parameter: None, value: None, allowed: None, message }
    }

    /// Two descriptions of which one cannot be held against the other.
    #[must_use]
    pub fn other_form(source: &str, destination: &str) -> Self {
        let message = format!(
            "the source is described by {source} and the destination by {destination}: neither says \
             anything about the other"
        );
        Reason::silent(Kind::NoDescription, message)
    }

    /// Two opaque strings that differ.
    #[must_use]
    pub fn opaque(source: &str, target: &str) -> Self {
        let message = format!(
            "`{}` is not `{}`; only the vendor's driver knows whether they are compatible",
            shown(&source),
            shown(&target)
        );
        let mut reason = Reason::silent(Kind::NotListed, message);
        reason.value = Value::text(source).ok();
        reason.allowed = Value::text(target).ok().map(|value| vec![value]);
        reason
    }

    /// A target that is not on the source's list.
    #[must_use]
    pub fn not_listed(target: &std::collections::BTreeMap<Name, String>, back: bool) -> Self {
        let pairs: Vec<_> = target.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let turn = if back { ", though the target's list has the source" } else { "" };
        let message =
            format!("`{}` is not on the list of the source{turn}", shown(&pairs.join(" ")));
        let mut reason = Reason::silent(Kind::NotListed, message);
        reason.value = Value::text(&pairs.join(" ")).ok();
        reason
    }
}

fn shown_value(value: &Value) -> String {
    format!("`{}`", shown(value))
}
