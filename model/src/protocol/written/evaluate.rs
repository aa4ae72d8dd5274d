//! What an expression is, of a state or a step.
//!
//! ```text
//!  Expression + Scene (fields before and after, event, party) --evaluate--> Is
//! ```
//!
//! **Invariant.** A field that is not there is nothing: no comparison with it holds but `!=`, and it is not true.
//! Which fields there are is judged before ([`super::kind`]).

use std::borrow::Cow;

use serde_json::{Map, Value};
use wildmatch::WildMatch;

use super::expression::{Expression, Operator, Path, Segment};

/// What an expression looks at.
pub(super) trait Scene {
    /// The fields of the state before a step, or after it, by participant.
    fn fields(&self, after: bool) -> &Map<String, Value>;
    /// The event of the step, as traces print it.
    fn event(&self) -> &str;
    /// Who does it.
    fn party(&self) -> &str;
}

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Is<'s> {
    /// true or false.
    Truth(bool),
    /// A number.
    Number(i128),
    /// A text, or the name of a variant.
    Text(Cow<'s, str>),
    /// A list with so many elements.
    List(usize),
    /// There is no such field now.
    Nothing,
}

/// The number of each variable.
pub(super) type Variables<'v> = [(&'v str, usize)];

/// Whether an expression is true.
pub(super) fn holds(expression: &Expression, scene: &dyn Scene, variables: &Variables<'_>) -> bool {
    evaluate(expression, scene, variables) == Is::Truth(true)
}

/// What an expression is.
fn evaluate<'s>(e: &'s Expression, scene: &'s dyn Scene, variables: &Variables<'_>) -> Is<'s> {
    match e {
        Expression::Truth(truth) => Is::Truth(*truth),
        Expression::Number(number) => Is::Number(*number),
        Expression::Text(text) => Is::Text(Cow::Borrowed(text)),
        Expression::Path(path) => is(look_up(path, scene.fields(path.after), variables)),
        Expression::Size(path) => {
            Is::Number(length(look_up(path, scene.fields(path.after), variables)) as i128)
        }
        Expression::Event => Is::Text(Cow::Borrowed(scene.event())),
        Expression::Party => Is::Text(Cow::Borrowed(scene.party())),
        Expression::Not(inner) => Is::Truth(!holds(inner, scene, variables)),
        Expression::And(parts) => Is::Truth(parts.iter().all(|part| holds(part, scene, variables))),
        Expression::Or(parts) => Is::Truth(parts.iter().any(|part| holds(part, scene, variables))),
        Expression::Compare(one, operator, other) => {
            let values = (evaluate(one, scene, variables), evaluate(other, scene, variables));
            Is::Truth(compare(*operator, &values.0, &values.1))
        }
        Expression::Each { every, variable, list, body } => {
            let count = length(look_up(list, scene.fields(list.after), variables));
            let of = |n: usize| {
                let mut own = variables.to_vec();
                own.insert(0, (variable, n));
                holds(body, scene, &own)
            };
            Is::Truth(if *every { (0..count).all(of) } else { (0..count).any(of) })
        }
    }
}

fn compare(operator: Operator, one: &Is<'_>, other: &Is<'_>) -> bool {
    let number = |is: &Is<'_>| match is {
        Is::Number(number) => Some(*number),
        _ => None,
    };
    let numbers = number(one).zip(number(other));
    match operator {
        Operator::Is => one == other && *one != Is::Nothing,
        Operator::IsNot => one != other,
        Operator::Less => numbers.is_some_and(|(one, other)| one < other),
        Operator::AtMost => numbers.is_some_and(|(one, other)| one <= other),
        Operator::More => numbers.is_some_and(|(one, other)| one > other),
        Operator::AtLeast => numbers.is_some_and(|(one, other)| one >= other),
        Operator::Has => numbers.is_some_and(|(one, bit)| {
            let bit = u32::try_from(bit).ok().and_then(|bit| one.checked_shr(bit));
            bit.is_some_and(|rest| rest & 1 == 1)
        }),
        Operator::Like => match (one, other) {
            (Is::Text(text), Is::Text(form)) => WildMatch::new(form).matches(text),
            _ => false,
        },
    }
}

/// A field, if there is one of this path.
pub(super) fn look_up<'m>(
    path: &Path,
    fields: &'m Map<String, Value>,
    variables: &Variables<'_>,
) -> Option<&'m Value> {
    let mut segments = path.segments.iter();
    let Some(Segment::Name(participant)) = segments.next() else { return None };
    let mut at = fields.get(participant)?;
    for segment in segments {
        let number = match segment {
            Segment::Name(name) => name.parse().ok(),
            Segment::Variable(name) => {
                variables.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
            }
        };
        at = match (at, segment, number) {
            (Value::Object(fields), Segment::Name(name), _) => fields.get(name)?,
            (Value::Array(items), _, Some(number)) => items.get(number)?,
            _ => return None,
        };
    }
    Some(at)
}

fn length(field: Option<&Value>) -> usize {
    field.and_then(Value::as_array).map_or(0, Vec::len)
}

fn is(field: Option<&Value>) -> Is<'_> {
    match field {
        Some(Value::Bool(truth)) => Is::Truth(*truth),
        Some(Value::Number(number)) => {
            let whole = number.as_u64().map(i128::from).or(number.as_i64().map(i128::from));
            whole.map_or(Is::Nothing, Is::Number)
        }
        Some(Value::String(text)) => Is::Text(Cow::Borrowed(text)),
        Some(Value::Array(items)) => Is::List(items.len()),
        Some(Value::Object(_) | Value::Null) | None => Is::Nothing,
    }
}
