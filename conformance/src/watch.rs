//! Watching: a conversation between two real parties, judged on both sides.
//!
//! ```text
//!   front-end <==> relay <==> back-end        bytes and descriptors, as they come
//!                    |
//!                  events ---> recording      one line each, to be judged again
//!                    |             |
//!                    +--> judge <--+ replay
//!                           |
//!                         report              findings about either side
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `meet.rs` | the two parties, connected |
//! | `relay.rs` | the sockets: passes everything on, and says what passed |
//! | `line.rs` | one direction of one socket: what was read and not yet written |
//! | `rings.rs` | the indices of split rings, read through the descriptors that pass by |
//! | `record.rs` | events as a file |
//! | `judge.rs` | events to findings, by the model's machine |
//! | `mutate.rs` | recordings with a fault each, one for each MUST on a front-end |
//! | `report.rs` | findings as text and JSON |
//!
//! **Invariants.** Nothing is changed on its way. What is held for either side is bounded, and a
//! side that does not read stops only the direction towards it. A judgement is made of events alone,
//! so a recording is judged as the conversation was. Nobody is accused for what cannot be seen.

pub mod judge;
pub mod line;
pub mod meet;
pub mod mutate;
pub mod record;
pub mod relay;
pub mod report;
pub mod rings;
