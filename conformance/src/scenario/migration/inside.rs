//! A migration with devices: it is played by this program in a guest whose kernel has a driver for them.
//!
//! ```text
//!   host                                    guest: user-mode Linux with the host's files
//!   devmig scenario NAME --starts--> linux    init = devmig guest
//!      reads what came of it  <------------   devmig scenario NAME --came FILE: both QEMUs, relay, judge
//! ```

use std::path::Path;
use std::time::Duration;

use devmig_reference::temporary;

use super::known::Migration;
use crate::implementations::Peer;
use crate::scenario::came::{Came, not_run, stuck};
use crate::vfio::guest::Machine;

/// How long such a guest may take.
const LIMIT: Duration = Duration::from_secs(900);
/// Its memory: two QEMUs, their memories, and what was recorded.
const MEMORY: u32 = 2048;

/// Plays a migration in a guest.
pub(super) fn play(
    migration: &Migration,
    kernel: &Peer,
    install: bool,
    record: Option<&Path>,
) -> Result<Came, Box<Came>> {
    if install && kernel.find_version().is_err() {
        kernel.install().map_err(not_run)?;
    }
    kernel.find_version().map_err(not_run)?;
    let program = std::env::current_exe().map_err(stuck)?;
    let machine = Machine { kernel: kernel.program(&kernel.name), program };
    let folder = temporary::folder("migration-").map_err(stuck)?;
    let came = folder.path().join("came");
    // The guest begins in its root, so a path from here would lead elsewhere.
    let record = record.map(std::path::absolute).transpose().map_err(stuck)?;
    let (said, record) = (came.to_string_lossy(), record.as_deref().map(Path::to_string_lossy));
    let mut arguments = vec!["scenario", &migration.name, "--came", &said];
    if let Some(record) = &record {
        arguments.extend(["--record", record]);
    }
    let ended = machine.run_here(MEMORY, &arguments, LIMIT).map_err(not_run)?;
    let Ok(text) = std::fs::read(&came) else {
        let why = if ended.hung { "it did not end in time" } else { ended.errors.trim() };
        return Err(stuck(format!("the guest left no result: {why}")));
    };
    serde_json::from_slice(&text).map_err(stuck)
}
