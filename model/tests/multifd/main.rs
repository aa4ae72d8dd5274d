//! multifd: the encoding of its streams.

#![allow(clippy::unwrap_used)]

mod channel;
mod follow;
mod main_stream;
mod return_path;
