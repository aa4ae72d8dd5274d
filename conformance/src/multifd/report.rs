//! The verdict on a recorded migration.
//!
//! The JSON form is a contract (`"schema": 1`).

use std::fmt::Write as _;

use devmig_engine::columns::count;
use schemars::JsonSchema;
use serde::Serialize;

use super::survey::Mode;

/// What a recording comes to: of streams, or of what monitors report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Whole, and no clause is violated.
    Conformant,
    /// A clause is violated.
    Violated,
    /// No clause is violated as far as it goes, and it has no end.
    Truncated,
}

/// One direction of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Dir {
    /// From the source to the destination.
    #[serde(rename = ">")]
    Sent,
    /// From the destination to the source.
    #[serde(rename = "<")]
    Returned,
}

/// A clause that is violated.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Violation {
    /// Which.
    pub clause: String,
    /// On which connection.
    pub conn: u32,
    /// In which direction.
    pub dir: Dir,
    /// Where in `conn<N>.bin`, or in `conn<N>.rev.bin`.
    pub offset: u64,
    /// What was seen.
    pub message: String,
    /// The bytes from there on, in hexadecimal.
    pub bytes: String,
}

impl Violation {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let Violation { clause, conn, dir, offset, message, bytes } = self;
        let path = if *dir == Dir::Returned { " (return path)" } else { "" };
        let mut text = format!(
            "violated: {clause}\n  connection {conn}{path}, offset {offset} ({offset:#x}): {message}\n"
        );
        if !bytes.is_empty() {
            let _ = writeln!(text, "  {bytes}");
        }
        text
    }
}

/// A channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Channel {
    /// Its connection.
    pub conn: u32,
    /// Its id, if it has one.
    pub id: Option<u8>,
    /// SYNC packets.
    pub syncs: u64,
    /// RAM packets, SYNC packets included.
    pub packets: u64,
    /// Packets with the state of a device.
    pub device_packets: u64,
}

/// A device whose state was sent over the channels.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Device {
    /// The name of its section.
    pub id: String,
    /// The instance of its section.
    pub instance: u32,
    /// How many buffers it has.
    pub buffers: u64,
    /// The index of its configuration.
    pub config_index: Option<u32>,
}

/// The verdict on a recording.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// The version of this form: 1.
    pub schema: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// By which version of QEMU it was judged.
    pub version: String,
    /// The machine type of the source.
    pub machine: Option<String>,
    /// How epochs are marked.
    pub mode: Mode,
    /// How many channels there are.
    pub channels: usize,
    /// How many marks.
    pub epochs: u64,
    /// How many packets on all channels.
    pub packets: u64,
    /// How many pages on all connections.
    pub pages: u64,
    /// How many of them are zero.
    pub zero_pages: u64,
    /// How many were sent again in one epoch.
    pub duplicates: u64,
    /// Each channel.
    pub connections: Vec<Channel>,
    /// Each device with packets of its own.
    pub devices: Vec<Device>,
    /// Whether memory was compared, and is the same.
    pub memory: Option<bool>,
    /// What was found.
    pub violations: Vec<Violation>,
    /// How many violations are not listed.
    pub more_violations: u64,
    /// What else there is to say.
    pub notes: Vec<String>,
}

impl Report {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let machine = self.machine.as_deref().unwrap_or("not named");
        let _ = writeln!(text, "machine type: {machine}, judged by QEMU {}", self.version);
        let _ = writeln!(text, "mode: {}", self.mode.words());
        let (pages, zero) = (count_of(self.pages, "page"), self.zero_pages);
        let packets = count_of(self.packets, "packet");
        let epochs = count_of(self.epochs, "epoch");
        let _ = writeln!(text, "{epochs}, {packets}, {pages} ({zero} zero)");
        for channel in &self.connections {
            let Channel { conn, syncs, packets, device_packets, .. } = channel;
            let id = channel.id.map_or("-".to_owned(), |id| id.to_string());
            let devices = match device_packets {
                0 => String::new(),
                n => format!(", {n} with the state of a device"),
            };
            let _ = writeln!(
                text,
                "channel {id} (connection {conn}): {syncs} SYNC, {packets} RAM packets{devices}"
            );
        }
        for device in &self.devices {
            let Device { id, instance, buffers, .. } = device;
            let config = match device.config_index {
                Some(index) => format!("configuration at index {index}"),
                None => "no configuration".to_owned(),
            };
            let buffers = count_of(*buffers, "buffer");
            let _ = writeln!(text, "device {id}, instance {instance}: {buffers}, {config}");
        }
        if let Some(same) = self.memory {
            let is = if same { "the same as" } else { "different from" };
            let _ = writeln!(text, "memory: {is} that of the source");
        }
        for violation in &self.violations {
            let _ = write!(text, "\n{}", violation.text());
        }
        if self.more_violations > 0 {
            let _ = writeln!(text, "\n{} more violations are not listed", self.more_violations);
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        let verdict = match self.verdict {
            Verdict::Conformant => "conformant",
            Verdict::Violated => "violated",
            Verdict::Truncated => "truncated: no clause is violated, and the migration has no end",
        };
        let _ = writeln!(text, "\nverdict: {verdict}");
        text
    }
}

fn count_of(n: u64, what: &str) -> String {
    count(usize::try_from(n).unwrap_or(usize::MAX), what)
}
