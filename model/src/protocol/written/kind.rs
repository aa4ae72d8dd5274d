//! Whether an expression makes sense of a system: its fields exist there, and what is compared can be.

use serde_json::{Map, Value};

use super::evaluate::look_up;
use super::expression::{Expression, Operator, Path, Segment};
use crate::spec::did_you_mean;

/// What kind of value an expression is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Truth,
    Number,
    Text,
    List,
    /// Nothing is there at the beginning: it may be anything later.
    Any,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::Truth => "true or false",
            Kind::Number => "a number",
            Kind::Text => "a text",
            Kind::List => "a list",
            Kind::Any => "anything",
        }
    }

    fn fits(self, wanted: Kind) -> bool {
        self == wanted || self == Kind::Any || wanted == Kind::Any
    }
}

/// Why an expression makes no sense.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct Senseless {
    /// What is wrong.
    pub why: String,
    /// What may be meant.
    pub help: Option<String>,
}

fn wrong<T>(why: String) -> Result<T, Senseless> {
    Err(Senseless { why, help: None })
}

/// Whether an expression is true or false, of a system that begins with these fields. `variable`: the one that is
/// known from outside.
///
/// # Errors
/// What makes no sense.
pub(super) fn is_truth(
    e: &Expression,
    fields: &Map<String, Value>,
    variable: Option<&str>,
) -> Result<(), Senseless> {
    truth(e, fields, &variable.into_iter().collect::<Vec<_>>())
}

/// Whether this is a list, of a system that begins with these fields.
///
/// # Errors
/// If it is none.
pub(super) fn is_list(list: &Path, fields: &Map<String, Value>) -> Result<usize, Senseless> {
    match field(list, fields, &[])? {
        Some(Value::Array(items)) => Ok(items.len()),
        _ => wrong(format!("`{list}` is not a list")),
    }
}

fn truth(e: &Expression, fields: &Map<String, Value>, variables: &[&str]) -> Result<(), Senseless> {
    let is = kind(e, fields, variables)?;
    match is.fits(Kind::Truth) {
        true => Ok(()),
        false => wrong(format!("this is {}, and not true or false", is.words())),
    }
}

fn kind(
    e: &Expression,
    fields: &Map<String, Value>,
    variables: &[&str],
) -> Result<Kind, Senseless> {
    let of = |e: &Expression| kind(e, fields, variables);
    Ok(match e {
        Expression::Truth(_) => Kind::Truth,
        Expression::Number(_) => Kind::Number,
        Expression::Text(_) | Expression::Event | Expression::Party => Kind::Text,
        Expression::Path(path) => match field(path, fields, variables)? {
            Some(Value::Bool(_)) => Kind::Truth,
            Some(Value::Number(_)) => Kind::Number,
            Some(Value::String(_)) => Kind::Text,
            Some(Value::Array(_)) => Kind::List,
            Some(Value::Object(_)) => return wrong(format!("`{path}` has fields of its own")),
            Some(Value::Null) | None => Kind::Any,
        },
        Expression::Size(path) => match field(path, fields, variables)? {
            Some(Value::Array(_) | Value::Null) | None => Kind::Number,
            _ => return wrong(format!("`{path}` is not a list")),
        },
        Expression::Not(inner) => {
            truth(inner, fields, variables)?;
            Kind::Truth
        }
        Expression::And(parts) | Expression::Or(parts) => {
            parts.iter().try_for_each(|part| truth(part, fields, variables))?;
            Kind::Truth
        }
        Expression::Compare(one, operator, other) => {
            let (one, other) = (of(one)?, of(other)?);
            let wanted = match operator {
                Operator::Is | Operator::IsNot => Kind::Any,
                Operator::Like => Kind::Text,
                _ => Kind::Number,
            };
            if !(one.fits(wanted) && other.fits(wanted) && one.fits(other)) {
                return wrong(format!("{} is compared with {}", one.words(), other.words()));
            }
            Kind::Truth
        }
        Expression::Each { variable, list, body, .. } => {
            match field(list, fields, variables)? {
                Some(Value::Array(_) | Value::Null) | None => {}
                _ => return wrong(format!("`{list}` is not a list")),
            }
            let mut own = variables.to_vec();
            own.push(variable);
            truth(body, fields, &own)?;
            Kind::Truth
        }
    })
}

/// The field at the beginning; none, if it may come later: it is inside of something that is not there yet.
fn field<'m>(
    path: &Path,
    fields: &'m Map<String, Value>,
    variables: &[&str],
) -> Result<Option<&'m Value>, Senseless> {
    for segment in &path.segments {
        if let Segment::Variable(name) = segment
            && !variables.contains(&name.as_str())
        {
            return wrong(format!("no list is counted by `{name}`"));
        }
    }
    let first: Vec<(&str, usize)> = variables.iter().map(|name| (*name, 0)).collect();
    if let Some(value) = look_up(path, fields, &first) {
        return Ok(Some(value));
    }
    // Inside of what is nothing, or empty, at the beginning anything may come.
    for length in (1..path.segments.len()).rev() {
        let head = Path { segments: path.segments[..length].to_vec(), after: path.after };
        match look_up(&head, fields, &first) {
            Some(Value::Null) => return Ok(None),
            Some(Value::Array(items)) if items.is_empty() => return Ok(None),
            Some(_) => break,
            None => {}
        }
    }
    let mut known = Vec::new();
    for (name, value) in fields {
        names(name.clone(), value, &mut known);
    }
    let text = path.to_string();
    let help = did_you_mean(&text, known.iter().map(String::as_str));
    Err(Senseless { why: format!("there is no field `{path}`"), help })
}

/// The names of all fields, as they are written in a path; of a list those of its first element.
fn names(name: String, value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (own, value) in fields {
                names(format!("{name}.{own}"), value, into);
            }
        }
        Value::Array(items) => {
            into.push(name.clone());
            if let Some(first) = items.first().filter(|first| first.is_object()) {
                names(format!("{name}.0"), first, into);
            }
        }
        _ => into.push(name),
    }
}
