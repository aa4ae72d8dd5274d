//! Sets of values: what an implementation accepts for a parameter.
//!
//! **Invariant.** Equal sets are equal: ranges are sorted, disjoint and never adjacent, so the order,
//! the overlaps and the spelling of a list do not show. A set takes memory for its ranges, not for
//! their members.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::value::{Type, Value, integer};

/// A set of values of one type.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Allowed {
    /// Every value of the type.
    Any(Type),
    /// Whether `false` is in it, and `true`.
    Bool([bool; 2]),
    /// Ranges, both ends included.
    Int(Vec<(u64, u64)>),
    /// Character strings.
    Str(BTreeSet<Arc<str>>),
}

/// Why a list is no set of values.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadAllowed {
    /// A value of another type.
    #[error("{0} is neither of type {1} nor a range `lo-hi`")]
    Type(String, Type),
    /// A range that ends before it begins, or does not fit into 64 bits.
    #[error("`{0}` is no range: write `lo-hi` in decimal, lo at most hi, hi at most {max}", max = u64::MAX)]
    Range(String),
}

impl Allowed {
    /// The set that a list describes; a list of integers may have ranges, written `"lo-hi"`.
    ///
    /// # Errors
    /// If an entry is of another type, or no range.
    pub fn of(kind: Type, list: &[Value]) -> Result<Self, BadAllowed> {
        let other = |value: &Value| BadAllowed::Type(format!("`{value}`"), kind);
        match kind {
            Type::Bool => {
                let mut both = [false; 2];
                for value in list {
                    let Value::Bool(on) = value else { return Err(other(value)) };
                    both[usize::from(*on)] = true;
                }
                Ok(Allowed::Bool(both))
            }
            Type::Int => {
                let mut ranges = Vec::with_capacity(list.len());
                for value in list {
                    ranges.push(match value {
                        Value::Int(n) => (*n, *n),
                        Value::Str(text) => range(text)?,
                        Value::Bool(_) => return Err(other(value)),
                    });
                }
                Ok(Allowed::Int(merged(ranges)))
            }
            Type::Str => {
                let mut all = BTreeSet::new();
                for value in list {
                    let Value::Str(text) = value else { return Err(other(value)) };
                    all.insert(text.clone());
                }
                Ok(Allowed::Str(all))
            }
        }
    }

    /// Of which type its values are.
    #[must_use]
    pub fn kind(&self) -> Type {
        match self {
            Allowed::Any(kind) => *kind,
            Allowed::Bool(_) => Type::Bool,
            Allowed::Int(_) => Type::Int,
            Allowed::Str(_) => Type::Str,
        }
    }

    /// Whether a value is in it.
    #[must_use]
    pub fn contains(&self, value: &Value) -> bool {
        match (self, value) {
            (Allowed::Any(kind), value) => *kind == value.kind(),
            (Allowed::Bool(both), Value::Bool(on)) => both[usize::from(*on)],
            (Allowed::Int(ranges), Value::Int(n)) => {
                let after = ranges.partition_point(|(lo, _)| lo <= n);
                after.checked_sub(1).and_then(|i| ranges.get(i)).is_some_and(|(_, hi)| n <= hi)
            }
            (Allowed::Str(all), Value::Str(text)) => all.contains(text),
            _ => false,
        }
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Allowed::Any(_) => false,
            Allowed::Bool(both) => *both == [false; 2],
            Allowed::Int(ranges) => ranges.is_empty(),
            Allowed::Str(all) => all.is_empty(),
        }
    }

    /// What is in both; nothing if they are of two types.
    #[must_use]
    pub fn and(&self, other: &Allowed) -> Allowed {
        match (self, other) {
            (Allowed::Any(a), b) if *a == b.kind() => b.clone(),
            (a, Allowed::Any(b)) if *b == a.kind() => a.clone(),
            (Allowed::Bool(a), Allowed::Bool(b)) => Allowed::Bool([a[0] && b[0], a[1] && b[1]]),
            (Allowed::Int(a), Allowed::Int(b)) => Allowed::Int(common(a, b)),
            (Allowed::Str(a), Allowed::Str(b)) => {
                Allowed::Str(a.intersection(b).cloned().collect())
            }
            (a, _) => match a.kind() {
                Type::Bool => Allowed::Bool([false; 2]),
                Type::Int => Allowed::Int(Vec::new()),
                Type::Str => Allowed::Str(BTreeSet::new()),
            },
        }
    }

    /// The list that describes it; none for [`Allowed::Any`].
    #[must_use]
    pub fn list(&self) -> Option<Vec<Value>> {
        match self {
            Allowed::Any(_) => None,
            Allowed::Bool(both) => {
                let values = [false, true].into_iter().filter(|on| both[usize::from(*on)]);
                Some(values.map(Value::Bool).collect())
            }
            Allowed::Int(ranges) => Some(
                ranges
                    .iter()
                    .map(|(lo, hi)| match lo == hi {
                        true => Value::Int(*lo),
                        false => Value::Str(format!("{lo}-{hi}").into()),
                    })
                    .collect(),
            ),
            Allowed::Str(all) => Some(all.iter().cloned().map(Value::Str).collect()),
        }
    }
}

/// At most so many entries of a long list are spelled out.
const SHOWN: usize = 16;

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(list) = self.list() else { return write!(f, "any {}", self.kind()) };
        if list.is_empty() {
            return f.write_str("nothing");
        }
        let shown: Vec<_> = list.iter().take(SHOWN).map(Value::to_string).collect();
        f.write_str(&shown.join(", "))?;
        match list.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

fn range(text: &str) -> Result<(u64, u64), BadAllowed> {
    let bounds = text.split_once('-').and_then(|(lo, hi)| Some((integer(lo)?, integer(hi)?)));
    bounds
        .filter(|(lo, hi)| lo <= hi)
        .ok_or_else(|| BadAllowed::Range(text.chars().take(64).collect()))
}

fn merged(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut out: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (lo, hi) in ranges {
        match out.last_mut() {
            Some((_, end)) if lo <= end.saturating_add(1) => *end = hi.max(*end),
            _ => out.push((lo, hi)),
        }
    }
    out
}

/// Goes through both lists once.
fn common(a: &[(u64, u64)], b: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while let (Some((a_lo, a_hi)), Some((b_lo, b_hi))) = (a.get(i), b.get(j)) {
        let (lo, hi) = (*a_lo.max(b_lo), *a_hi.min(b_hi));
        if lo <= hi {
            out.push((lo, hi));
        }
        if a_hi < b_hi { i += 1 } else { j += 1 }
    }
    out
}
