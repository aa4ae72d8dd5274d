//! multifd: the encoding of its streams, the capabilities of a migration, and its systems.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod auto;
mod barrier;
mod capability;
mod channel;
mod follow;
mod main_stream;
mod mapped_ram;
mod return_path;
mod systems;
mod transport;
mod xbzrle;
