//! vhost-user: the protocol between a front-end (a VMM) and a back-end (the process that serves a
//! virtio device).
//!
//! ```text
//!  specs/vhost-user/messages.toml --> table ---\
//!  vocabulary (words of the table) ------------>  machine --- judged by every use
//!  event, state -------------------------------/     |
//!  wire (bytes <-> meaning)                           |
//!  program, front_end, guest --- systems, properties -+-- explored
//! ```

mod back_end_channel;
pub mod bugs;
pub mod event;
pub mod form;
pub mod front_end;
pub mod guest;
pub mod ids;
pub mod machine;
pub mod mapped;
pub mod monitor;
pub mod program;
pub mod properties;
pub mod state;
pub mod systems;
pub mod table;
pub mod vocabulary;
pub mod wire;
