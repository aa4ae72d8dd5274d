//! Device models: which migrations are safe, decided from descriptions before anything moves.
//!
//! ```text
//!   Implementation --create--> Instance --check(other Implementation)--> Configuration | Refusal
//!     models, parameters,        model, parameters,       |
//!     aliases, constraints       what belongs to its host `-- all reasons, typed
//! ```
//!
//! A **model** is a hardware interface together with a representation of its state; its parameters say
//! what may differ between instances, and an instance's configuration never changes. Two hosts that
//! accept one configuration of one model can therefore exchange an instance both ways: that is the one
//! idea of the discussion of November 2020, and every law in `tests/device_model/laws.rs` follows from
//! it.
//!
//! | module | what |
//! |---|---|
//! | [`id`] | names of models, in one spelling |
//! | [`value`], [`allowed`] | values, and sets of them |
//! | [`definition`] | what the owner of a model states |
//! | [`implementation`], [`constraint`] | what a host can make |
//! | [`configuration`], [`instance`] | what a device is |
//! | [`mod@check`], [`reason`], [`kind`], [`refusal`] | the seven steps, and why one fails |
//! | [`form`], [`rfc`], [`bounded_json`] | the files, ours and the RFC's, within bounds; `resolve` checks ours |
//! | [`opaque_string`], [`read`] | the forms of 2020; which form a file has |
//! | [`mod@baseline`], [`lint`], [`classes`] | what a pool has in common; what is wrong with a catalogue or a release |
//!
//! **Invariants.** Nothing here does I/O or looks at saved state. Nothing compares what belongs to a
//! host. What is read from outside is bounded ([`form`]).

pub mod allowed;
pub mod baseline;
pub mod bounded_json;
pub mod check;
pub mod classes;
pub mod configuration;
pub mod constraint;
pub mod definition;
pub mod form;
pub mod id;
pub mod implementation;
pub mod instance;
pub mod kind;
pub mod lint;
pub mod opaque_string;
pub mod read;
pub mod reason;
pub mod refusal;
mod resolve;
pub mod rfc;
pub mod value;

pub use allowed::Allowed;
pub use check::{admit, check, decide, read_back};
pub use configuration::{Configuration, Settings};
pub use constraint::Constraint;
pub use definition::{Affects, Definition, Known, Offs, Stated};
pub use id::{BadId, ModelId, Near, Profile};
pub use implementation::{BadModel, Implementation, Model, Parameter};
pub use instance::{External, Instance};
pub use kind::Kind;
pub use reason::Reason;
pub use refusal::Refusal;
pub use value::{Name, Type, Value};
