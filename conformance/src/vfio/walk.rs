//! What random walks draw from: everything that a client may do.

use devmig_model::protocol::vfio::table::Table;
use devmig_model::registry::Library;

use super::suite::Test;
use crate::harness::random::Random;
use crate::harness::walk::Walk;

/// What is drawn besides SET, each as likely as it is often here.
const LETTERS: &[&str] = &[
    "get",
    "get",
    "read 1",
    "read 64",
    "read 65536",
    "drain",
    "drain",
    "drain by 100",
    "write saved",
    "write saved by 7",
    "write saved",
    "write truncated",
    "write garbage",
    "info",
    "info",
    "opt in",
    "config",
    "registers",
    "still",
    "log all",
    "log none",
    "log overlapping",
    "log stop",
    "report",
    "report",
    "report small",
    "report part",
    "reset",
    "reset for guest",
    "reopen",
    "nic",
    "send 1",
    "send 2",
    "room 2",
    "settle",
];

/// The test that a walk is, without its steps.
#[must_use]
pub fn test(walk: Walk, library: &Library) -> Test {
    let (id, purpose) = walk.name();
    Test::generated(id, library.vfio().names.laws.completes, purpose, ())
}

/// The `n`th draw.
pub(super) fn draw(n: usize, random: &mut Random, table: &Table) -> String {
    match random.below(2) {
        _ if n == 0 => "memory mapped".to_owned(),
        0 => format!("set {}", state(random, table)),
        _ => {
            let at = random.below(LETTERS.len() as u64) as usize;
            LETTERS.get(at).copied().unwrap_or("get").to_owned()
        }
    }
}

fn state(random: &mut Random, table: &Table) -> String {
    let at = random.below(table.states.len() as u64 + 1) as usize;
    table.states.get(at).map_or_else(|| "200".into(), |state| state.name.clone())
}
