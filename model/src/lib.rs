//! devmig's model: one description of each protocol, pure.
pub mod catalogue;
pub mod clause;
pub mod compose;
pub mod example;
pub mod explore;
pub mod laws;
pub mod library;
pub mod machine;
pub mod pack;
pub mod possible;
pub mod queue;
pub mod ring;
pub mod rules;
pub mod spec;
pub mod system;
pub mod vdpa;
pub mod vhost_user;
