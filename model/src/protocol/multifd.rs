//! multifd: the RAM and the device state of a migration, sent over several connections.
//!
//! ```text
//!   source   ==main==================================> destination   sections, FLUSH or EOS
//!            --channel 0--RAM-packets--SYNC--RAM-----> (a thread each)
//!            --channel 1--RAM--device-state--SYNC----> (a thread each)
//!            <=return path============================ acknowledgements
//! ```
//!
//! A SYNC packet on every channel, and then a mark on the main stream, end an *epoch*: no page is sent twice
//! in an epoch, so the order of its packets does not matter.
//!
//! | file | holds |
//! |---|---|
//! | `wire.rs`, `wire/` | the encoding: channels, the main stream, the return path |
//! | `form.rs` | what is wrong with one packet |
//! | `event.rs`, `machine.rs` | epochs, and the order of a device's buffers |

pub mod event;
pub mod form;
pub mod machine;
pub mod wire;
