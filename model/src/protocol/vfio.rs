//! VFIO migration, version 2: a device, its migration states, and the client that moves it.
//!
//! ```text
//!            SET RUNNING ... SET STOP                       SET RESUMING ... SET STOP
//!  client  ------------------------------->  device  ------------------------------->
//!            Read, Info, Log start/report              Write
//! ```
//!
//! The table of states and arcs is data (`specs/vfio/states.toml`); what a SET does follows from it:
//! [`path`] finds the arcs, the attributes of their ends say what each brings about.

pub mod client;
pub mod event;
pub mod lint;
pub mod machine;
pub mod names;
pub mod path;
pub mod properties;
pub mod state;
pub mod systems;
pub mod table;
