//! The kinds of reasons for a refusal, and the clause that demands each.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// What kind of reason.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One side has no description.
    NoDescription,
    /// An id is not canonical.
    BadModelId,
    /// The destination does not have the model.
    ModelUnsupported,
    /// Two statements about a parameter disagree (H1).
    DefinitionConflict,
    /// A parameter is in effect that the destination does not know.
    UnknownParameter,
    /// A value is of another type than the destination's parameter.
    TypeMismatch,
    /// The destination does not accept a value.
    ValueNotAllowed,
    /// The destination needs a parameter that the source does not have (H2).
    MandatoryMissing,
    /// The destination does not accept the value at which a parameter is off (H5).
    CannotDisable,
    /// Values that are allowed one by one, and not together (H3).
    JointConstraint,
    /// A parameter is set twice.
    SetTwice,
    /// No alias has this name.
    UnknownAlias,
    /// The destination reads back other than it was asked for (H4).
    ReadBackMismatch,
    /// The destination lacks what a device needs.
    NoResource,
    /// Saved state is of another model or configuration.
    StateMismatch,
    /// A version string that the destination does not list (RFC v4).
    VersionUnsupported,
    /// By a form of 2020, the two are not compatible.
    NotListed,
}

impl Kind {
    /// All.
    pub const ALL: [Kind; 17] = [
        Kind::NoDescription,
        Kind::BadModelId,
        Kind::ModelUnsupported,
        Kind::DefinitionConflict,
        Kind::UnknownParameter,
        Kind::TypeMismatch,
        Kind::ValueNotAllowed,
        Kind::MandatoryMissing,
        Kind::CannotDisable,
        Kind::JointConstraint,
        Kind::SetTwice,
        Kind::UnknownAlias,
        Kind::ReadBackMismatch,
        Kind::NoResource,
        Kind::StateMismatch,
        Kind::VersionUnsupported,
        Kind::NotListed,
    ];

    /// The clause that demands the refusal.
    #[must_use]
    pub fn clause(self) -> &'static str {
        match self {
            Kind::NoDescription => "device-model.description.needed",
            Kind::BadModelId => "device-model.id.canonical",
            Kind::ModelUnsupported => "device-model.model.supported",
            Kind::DefinitionConflict => "device-model.off.agrees",
            Kind::UnknownParameter => "device-model.parameter.known",
            Kind::TypeMismatch => "device-model.parameter.type",
            Kind::ValueNotAllowed => "device-model.parameter.allowed",
            Kind::MandatoryMissing => "device-model.parameter.mandatory",
            Kind::CannotDisable => "device-model.parameter.can-be-off",
            Kind::JointConstraint => "device-model.joint.holds",
            Kind::SetTwice => "device-model.create.set-once",
            Kind::UnknownAlias => "device-model.alias.expanded",
            Kind::ReadBackMismatch => "device-model.create.reads-back",
            Kind::NoResource => "device-model.create.all-or-nothing",
            Kind::StateMismatch => "device-model.load.checks",
            Kind::VersionUnsupported => "device-model.version.equal",
            Kind::NotListed => "device-model.listed.by-source",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::NoDescription => "no-description",
            Kind::BadModelId => "bad-model-id",
            Kind::ModelUnsupported => "model-unsupported",
            Kind::DefinitionConflict => "definition-conflict",
            Kind::UnknownParameter => "unknown-parameter",
            Kind::TypeMismatch => "type-mismatch",
            Kind::ValueNotAllowed => "value-not-allowed",
            Kind::MandatoryMissing => "mandatory-missing",
            Kind::CannotDisable => "cannot-disable",
            Kind::JointConstraint => "joint-constraint",
            Kind::SetTwice => "set-twice",
            Kind::UnknownAlias => "unknown-alias",
            Kind::ReadBackMismatch => "read-back-mismatch",
            Kind::NoResource => "no-resource",
            Kind::StateMismatch => "state-mismatch",
            Kind::VersionUnsupported => "version-unsupported",
            Kind::NotListed => "not-listed",
        })
    }
}
