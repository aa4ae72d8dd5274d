//! The size of a system: bounds by name, which `--scale rings=2,requests=3` changes.
//!
//! ```text
//!  protocol: bounds of a system = [Bound { name, now, least, most }]
//!                   |
//!  "rings=2" --> Scale --resolve--> the numbers, or why not: the bounds that there are
//! ```
//!
//! A system that is given a further size is the same system: its program is compiled for as many rings,
//! its guest makes as many requests. Law 8 says that its verdicts are the same too; a system that speaks
//! at some sizes only says so ([`Speaks`]).
//!
//! `--scale large` is a preset: each system that has one says in its item what it is (`large = "pages=4"`).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::spec::{Diagnostics, Item, Spanned, number};

/// A number that bounds the exploration of a system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// Its name, e.g. `rings`.
    pub name: &'static str,
    /// What it is in the specification.
    pub now: u16,
    /// The least that it can be.
    pub least: u16,
    /// The most.
    pub most: u16,
}

impl Bound {
    /// A bound.
    #[must_use]
    pub const fn new(name: &'static str, now: u16, (least, most): (u16, u16)) -> Self {
        Bound { name, now, least, most }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} to {}, now {})", self.name, self.least, self.most, self.now)
    }
}

/// Bounds that are given other values, or a preset of the system.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Scale {
    bounds: BTreeMap<String, u16>,
    large: bool,
}

/// The preset that changes nothing.
const SMALL: &str = "small";
/// The preset that each system defines.
const LARGE: &str = "large";

/// What is wrong with a scale.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadScale {
    /// It is not a list of bounds.
    #[error(
        "`{0}` is not a bound and its value, such as `requests=3`, and not a preset: the presets are \
         `{SMALL}` (as declared) and `{LARGE}`"
    )]
    Form(String),
    /// The system has no such preset.
    #[error("{0} has no preset `{LARGE}`")]
    NoPreset(String),
    /// A bound is given twice.
    #[error("`{0}` is given twice")]
    Twice(String),
    /// The system has no such bound.
    #[error("{system} has no bound `{name}`: its bounds are {known}")]
    Unknown {
        /// The system.
        system: String,
        /// The bound.
        name: String,
        /// Those that it has.
        known: String,
    },
    /// The value is out of range.
    #[error("`{name}={value}` is out of range in {system}: its bounds are {known}")]
    Range {
        /// The system.
        system: String,
        /// The bound.
        name: String,
        /// The value.
        value: u16,
        /// The bounds that it has.
        known: String,
    },
}

impl FromStr for Scale {
    type Err = BadScale;

    fn from_str(text: &str) -> Result<Self, BadScale> {
        let mut scale = Scale { large: text.trim() == LARGE, ..Scale::default() };
        if scale.large || text.trim() == SMALL {
            return Ok(scale);
        }
        for part in text.split(',').map(str::trim) {
            let form = || BadScale::Form(part.to_owned());
            let (name, value) = part.split_once('=').ok_or_else(form)?;
            let value = number(value.trim()).and_then(|value| u16::try_from(value).ok());
            let (name, value) = (name.trim(), value.ok_or_else(form)?);
            if scale.bounds.insert(name.to_owned(), value).is_some() {
                return Err(BadScale::Twice(name.to_owned()));
            }
        }
        Ok(scale)
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.bounds.iter().map(|(name, n)| format!("{name}={n}"));
        let parts: Vec<_> = self.large.then(|| LARGE.to_owned()).into_iter().chain(parts).collect();
        f.write_str(&parts.join(", "))
    }
}

impl Scale {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bounds.is_empty() && !self.large
    }

    /// Whether it is a preset, which each system defines.
    #[must_use]
    pub fn is_preset(&self) -> bool {
        self.large
    }

    /// The same for a system with this preset: bounds and their values.
    ///
    /// # Errors
    /// If the preset is asked for, and the system has none.
    pub fn of(&self, system: &str, large: Option<&Scale>) -> Result<Scale, BadScale> {
        match (self.large, large) {
            (false, _) => Ok(self.clone()),
            (true, Some(large)) => Ok(large.clone()),
            (true, None) => Err(BadScale::NoPreset(system.to_owned())),
        }
    }

    /// The bounds of a system with the values of this scale.
    ///
    /// # Errors
    /// If the system lacks a bound, or a value is out of range.
    pub fn resolve(&self, system: &str, bounds: &[Bound]) -> Result<Size, BadScale> {
        let known = || match bounds {
            [] => "none".to_owned(),
            _ => bounds.iter().map(Bound::to_string).collect::<Vec<_>>().join(", "),
        };
        if self.large {
            return Err(BadScale::NoPreset(system.to_owned()));
        }
        let mut size = Size(bounds.iter().map(|bound| (bound.name, bound.now)).collect());
        for (name, value) in &self.bounds {
            let (system, name) = (system.to_owned(), name.clone());
            let Some(bound) = bounds.iter().find(|bound| bound.name == name) else {
                return Err(BadScale::Unknown { system, name, known: known() });
            };
            if !(bound.least..=bound.most).contains(value) {
                return Err(BadScale::Range { system, name, value: *value, known: known() });
            }
            size.0.insert(bound.name, *value);
        }
        Ok(size)
    }
}

/// All bounds of a system, with their values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Size(BTreeMap<&'static str, u16>);

impl Size {
    /// The value of a bound that the system has.
    #[must_use]
    pub fn of(&self, name: &str) -> u16 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

/// The sizes at which a system speaks, if not at all of them: `sizes = ["rings=1"]`, and `why`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Speaks {
    /// Bounds, and the values that they may have.
    only: Vec<(String, u16)>,
    /// Why a verdict depends on them.
    pub why: String,
}

impl fmt::Display for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.only.iter().map(|(name, n)| format!("{name}={n}")).collect();
        f.write_str(&parts.join(", "))
    }
}

impl Speaks {
    /// Whether it says anything of a system of this size.
    #[must_use]
    pub fn at(&self, size: &Size) -> bool {
        self.only.iter().all(|(name, value)| size.of(name) == *value)
    }
}

/// Reads the keys of a system's item that say at which sizes it speaks.
pub(crate) fn speaks<T>(
    item: &Item<T>,
    (sizes, why): (&[Spanned<String>], Option<&Spanned<String>>),
    d: &mut Diagnostics,
) -> Speaks {
    let mut speaks = Speaks::default();
    for written in sizes {
        match written.get_ref().parse::<Scale>() {
            Ok(scale) => speaks.only.extend(scale.bounds),
            Err(bad) => d.push(item.error(written.span(), bad.to_string(), "here")),
        }
    }
    match (why, sizes.first()) {
        (Some(why), Some(_)) => speaks.why.clone_from(why.get_ref()),
        (None, Some(first)) => {
            let message = "a system that speaks at some sizes only says why";
            d.push(item.error(first.span(), message, "needs `why`"));
        }
        (Some(why), None) => {
            d.push(item.error(why.span(), "`why` belongs to `sizes`", "no sizes"));
        }
        (None, None) => {}
    }
    speaks
}

/// Reads the key of a system's item that is its preset `large`.
pub(crate) fn large<T>(
    item: &Item<T>,
    written: Option<&Spanned<String>>,
    d: &mut Diagnostics,
) -> Option<Scale> {
    let written = written?;
    match written.get_ref().parse::<Scale>() {
        Ok(scale) if scale.bounds.is_empty() => {
            d.push(item.error(written.span(), "a preset is bounds and their values", "no bounds"));
        }
        Ok(scale) => return Some(scale),
        Err(bad) => d.push(item.error(written.span(), bad.to_string(), "here")),
    }
    None
}

/// Complains about each size that a system with these bounds cannot have.
pub(crate) fn known<'a, T>(
    item: &Item<T>,
    sizes: impl IntoIterator<Item = &'a Spanned<String>>,
    bounds: &[Bound],
    d: &mut Diagnostics,
) {
    for written in sizes {
        let Ok(scale) = written.get_ref().parse::<Scale>() else { continue };
        if let Err(bad) = scale.resolve("this system", bounds) {
            d.push(item.error(written.span(), bad.to_string(), "here"));
        }
    }
}
