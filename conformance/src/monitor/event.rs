//! What an event of QEMU's says about a migration.

use devmig_model::protocol::migration::observed::report::{Reported, Status};
use serde_json::Value;

use super::log::Answers;

/// The longest name of a device, in bytes.
const LONGEST: usize = 256;
/// How QEMU 11.1 names a state that it is about to set: the event that matters follows.
const ANNOUNCED: &str = "-prepare";
/// Statuses of migrations that the machine does not have: of postcopy, of COLO, and of failover.
const BEYOND: [&str; 7] = [
    "postcopy-device",
    "postcopy-active",
    "postcopy-paused",
    "postcopy-recover-setup",
    "postcopy-recover",
    "colo",
    "wait-unplug",
];

/// What an event says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Says {
    /// Something of the migration or of the VM.
    Reports(Reported),
    /// The state of a device has changed.
    Device {
        /// Its name: `device-id`, or its path if it has none.
        id: String,
        /// The state, as QEMU calls it.
        state: String,
    },
    /// Nothing that concerns a migration.
    Nothing,
}

/// What is wrong with an event.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadEvent {
    /// It has no name.
    #[error("an event has a name: `event`")]
    NoName,
    /// It lacks something.
    #[error("{0} has no `{1}`")]
    Lacks(&'static str, &'static str),
    /// A status that no version of QEMU has.
    #[error("no migration has the status `{0}`")]
    Status(String),
    /// A name that is too long.
    #[error("the name of a device is at most {LONGEST} bytes long")]
    Long,
}

/// A status of a migration; none, if the machine does not have it.
///
/// # Errors
/// If no version of QEMU has it.
pub fn status(name: &str) -> Result<Option<Status>, BadEvent> {
    match Status::named(name) {
        None if BEYOND.contains(&name) => Ok(None),
        None => Err(BadEvent::Status(name.chars().take(LONGEST).collect())),
        found => Ok(found),
    }
}

/// What an event says.
///
/// # Errors
/// If it is not of the form that QEMU gives it.
pub fn says(event: &Value) -> Result<Says, BadEvent> {
    let text = |of: &'static str, key: &'static str| {
        let value = event.pointer(&format!("/data/{key}")).and_then(Value::as_str);
        value.ok_or(BadEvent::Lacks(of, key))
    };
    let name = event.get("event").and_then(Value::as_str).ok_or(BadEvent::NoName)?;
    Ok(match name {
        "MIGRATION" => {
            let status = status(text("MIGRATION", "status")?)?;
            Says::Reports(status.map_or(Reported::Beyond, Reported::Status))
        }
        "STOP" => Says::Reports(Reported::Runs(false)),
        "RESUME" => Says::Reports(Reported::Runs(true)),
        "MIGRATION_PASS" => Says::Reports(Reported::Pass),
        "VFIO_MIGRATION" => {
            let of = "VFIO_MIGRATION";
            let id = text(of, "device-id").or_else(|_| text(of, "qom-path"))?;
            let state = text(of, "device-state")?;
            if id.len() > LONGEST || state.len() > LONGEST {
                return Err(BadEvent::Long);
            }
            match state.strip_suffix(ANNOUNCED) {
                Some(_) => Says::Nothing,
                None => Says::Device { id: id.to_owned(), state: state.to_owned() },
            }
        }
        _ => Says::Nothing,
    })
}

/// QEMU's time of an event, in microseconds since 1970.
#[must_use]
pub fn time(event: &Value) -> Option<u64> {
    let number = |key: &str| event.pointer(&format!("/timestamp/{key}")).and_then(Value::as_u64);
    number("seconds")?.checked_mul(1_000_000)?.checked_add(number("microseconds")?)
}

/// How things are, from the answers to `query-migrate` and `query-status`.
#[must_use]
pub fn answers(migration: &Value, vm: &Value) -> Answers {
    let status = migration.get("status").and_then(Value::as_str).unwrap_or("none");
    let running = vm.get("running").and_then(Value::as_bool).unwrap_or_default();
    Answers { status: status.to_owned(), running }
}
