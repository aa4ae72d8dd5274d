//! What the monitors of both ends of a migration report, judged by the machine of a whole migration.
//!
//! ```text
//!   QMP of the source       --events--.
//!                                      >--> log.rs: one event a line --> judge.rs --> report.rs
//!   QMP of the destination  --events--'                                     ^
//!                                                devmig_model::protocol::migration::observed
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `log.rs` | a log of events: its form, written and read |
//! | `event.rs` | what an event of QEMU's says |
//! | `heard.rs` | the events of both monitors, put in order of time |
//! | `judge.rs` | all that is possible after each line, for every set of features that devices may have |
//! | `report.rs` | the verdict |
//! | `live.rs` | both monitors, watched |

pub mod event;
pub mod heard;
pub mod judge;
pub mod live;
pub mod log;
pub mod report;
