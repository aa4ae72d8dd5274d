//! Over which transports a monitor begins a migration, against the table.
//!
//! ```text
//!   each transport, with each set of capabilities: a new QEMU --migrate--> accepted, or the reason
//! ```
//!
//! Nobody listens at the addresses: a migration that is accepted fails, or ends with its QEMU.

use std::path::Path;

use devmig_model::protocol::multifd::capability::Capabilities;
use devmig_model::protocol::multifd::transport::{Answer, Transports};
use devmig_model::protocol::release::Release;
use devmig_reference::socket::Deadline;
use serde_json::json;

use super::capabilities::{ANSWER, Difference, Report, reason, switch};
use crate::scenario::error::Error;
use crate::scenario::qmp::Qmp;

/// The capabilities that matter to a transport.
const SETS: [&[&str]; 5] = [
    &[],
    &["multifd"],
    &["mapped-ram"],
    &["multifd", "mapped-ram"],
    &["postcopy-ram", "postcopy-preempt"],
];

/// A monitor, and what keeps it alive.
pub type Monitor<K> = (K, Qmp);

/// Has a new monitor for each question begin a migration over each transport, and adds what came of it.
///
/// # Errors
/// If a monitor does not start, or does not answer.
pub fn ask<K, E: From<Error>>(
    report: &mut Report,
    (transports, capabilities): (&Transports, &Capabilities),
    folder: &Path,
    start: &mut dyn FnMut() -> Result<Monitor<K>, E>,
) -> Result<(), E> {
    let release: Release =
        report.version.parse().map_err(|_| Error::Monitor("names a version that is none"))?;
    let known: Vec<&str> = capabilities.of(&release).collect();
    for transport in &transports.all {
        for set in SETS.iter().filter(|set| set.iter().all(|one| known.contains(one))) {
            let (_kept, mut qmp) = start()?;
            if let Some(answer) = switch(&mut qmp, set, true)? {
                return Err(
                    Error::Refused { command: "migrate-set-capabilities".into(), answer }.into()
                );
            }
            let uri = transport.uri.replace("{folder}", &folder.to_string_lossy());
            let answer = qmp.run("migrate", json!({ "uri": uri }), Deadline::after(ANSWER));
            let answer = reason(answer)?;
            report.transports = report.transports.saturating_add(1);
            let expected = match transports.answer(&release, transport, set) {
                Answer::Depends(_) => continue,
                Answer::Accepted => None,
                Answer::Refused(why) => Some(why),
            };
            if answer != expected {
                let capabilities = set.iter().map(|name| (*name).to_owned()).collect();
                let (over, expected) =
                    (Some(transport.name.clone()), expected.into_iter().collect());
                let with = None;
                report.differences.push(Difference { over, with, capabilities, answer, expected });
            }
        }
    }
    Ok(())
}
