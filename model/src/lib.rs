//! devmig's model: one description of each protocol, pure.
pub mod clause;
pub mod compose;
pub mod machine;
pub mod pack;
pub mod queue;
pub mod rules;
pub mod spec;
pub mod system;
