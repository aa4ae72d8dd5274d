//! What the owner of a model says of its parameters, wherever it is implemented.
//!
//! The RFC has each implementation state its off values. Two that disagree accept each other's
//! instances and run them differently (hole H1), so an off value belongs to the model: what two
//! parties state of it must agree.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id::ModelId;
use super::value::{Name, Type, Value};

/// The off value of each parameter that has one.
pub type Offs = BTreeMap<Name, Value>;

/// What of a device a parameter changes.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Affects {
    /// What the guest sees.
    Interface,
    /// How its state is written down.
    Representation,
    /// Both.
    Both,
}

/// What is stated of one parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stated {
    kind: Type,
    off: Option<Value>,
    affects: Option<Affects>,
}

/// An off value is of another type than its parameter.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the off value `{0}` is not of type {1}")]
pub struct BadOff(pub(super) Value, pub(super) Type);

impl Stated {
    /// A statement.
    ///
    /// # Errors
    /// If the off value is of another type.
    pub fn new(kind: Type, off: Option<Value>, affects: Option<Affects>) -> Result<Self, BadOff> {
        match off {
            Some(off) if off.kind() != kind => Err(BadOff(off, kind)),
            off => Ok(Stated { kind, off, affects }),
        }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Type {
        self.kind
    }

    /// The value at which it is as if it did not exist.
    #[must_use]
    pub fn off(&self) -> Option<&Value> {
        self.off.as_ref()
    }

    /// What it changes.
    #[must_use]
    pub fn affects(&self) -> Option<Affects> {
        self.affects
    }
}

/// The owner's statement about a model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Definition {
    model: ModelId,
    parameters: BTreeMap<Name, Stated>,
}

impl Definition {
    /// A statement.
    #[must_use]
    pub fn new(model: ModelId, parameters: BTreeMap<Name, Stated>) -> Self {
        Definition { model, parameters }
    }

    /// About which model.
    #[must_use]
    pub fn model(&self) -> &ModelId {
        &self.model
    }

    /// Its parameters.
    #[must_use]
    pub fn parameters(&self) -> &BTreeMap<Name, Stated> {
        &self.parameters
    }
}

/// Two statements that cannot both be right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Conflict {
    /// Two off values.
    Off(Value, Value),
    /// Two types.
    Type(Type, Type),
}

/// What is known of each parameter of a model, from all that state something of it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Known {
    types: BTreeMap<Name, Type>,
    offs: Offs,
    conflicts: BTreeMap<Name, Conflict>,
}

impl Known {
    /// Nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Known::default()
    }

    /// With one more statement about a parameter. The first of two that disagree stands, and the
    /// conflict is noted; which is first makes no difference to whether there is one.
    pub fn add(&mut self, name: &Name, kind: Type, off: Option<&Value>) {
        match self.types.get(name) {
            Some(known) if *known != kind => {
                let conflict = Conflict::Type(*known, kind);
                self.conflicts.entry(name.clone()).or_insert(conflict);
                return;
            }
            Some(_) => {}
            None => drop(self.types.insert(name.clone(), kind)),
        }
        match (self.offs.get(name), off) {
            (Some(known), Some(off)) if known != off => {
                let conflict = Conflict::Off(known.clone(), off.clone());
                self.conflicts.entry(name.clone()).or_insert(conflict);
            }
            (None, Some(off)) => drop(self.offs.insert(name.clone(), off.clone())),
            _ => {}
        }
    }

    /// With all that a definition states.
    pub fn add_all(&mut self, definition: &Definition) {
        for (name, stated) in definition.parameters() {
            self.add(name, stated.kind, stated.off());
        }
    }

    /// With all that is known elsewhere.
    pub fn add_known(&mut self, other: &Known) {
        for (name, kind) in &other.types {
            self.add(name, *kind, other.offs.get(name));
        }
        for (name, conflict) in &other.conflicts {
            self.conflicts.entry(name.clone()).or_insert_with(|| conflict.clone());
        }
    }

    /// The off values.
    #[must_use]
    pub fn offs(&self) -> &Offs {
        &self.offs
    }

    /// The type of a parameter.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<Type> {
        self.types.get(name).copied()
    }

    /// Where statements disagree.
    #[must_use]
    pub fn conflicts(&self) -> &BTreeMap<Name, Conflict> {
        &self.conflicts
    }
}
