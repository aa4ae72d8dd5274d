//! What a recording comes to: memory, the report.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use devmig_engine::clause::ClauseId;

use super::aside::Aside;
use super::channel::Channel;
use super::{Error, Judge};
use crate::multifd::recording::Connection;
use crate::multifd::report::{self, Dir, Report, Verdict};

/// How many bytes of a violation are shown.
const SHOWN: usize = 32;

impl Judge<'_> {
    pub(super) fn compare(&mut self) -> Result<(), Error> {
        if self.memory.is_empty() {
            return Ok(());
        }
        let names: Vec<_> =
            self.blocks.iter().map(|(name, _)| name.escape_ascii().to_string()).collect();
        if self.listed {
            self.memory.all_listed(&names)?;
        }
        if self.survey.ignore_shared {
            for name in self.memory.without_unsent() {
                let what = format!(
                    "block \"{name}\" is not compared: x-ignore-shared, and no page was sent"
                );
                self.notes.push(what);
            }
        }
        let why = match () {
            () if self.memory.is_empty() => return Ok(()),
            () if !self.replayed => "pages are compressed in a way that is not unpacked here",
            () if self.survey.followed => "later checkpoints change it",
            () if self.truncated || self.lost => "not all pages are there",
            () => {
                let page = usize::try_from(self.form.page.bytes()).unwrap_or(4096);
                let clause = self.form.laws.memory;
                for difference in self.memory.compare(page)? {
                    self.faults(self.main, 0, vec![(clause, difference.to_string())]);
                }
                return Ok(());
            }
        };
        self.replayed = false;
        self.notes.push(format!("memory is not compared: {why}"));
        Ok(())
    }

    /// What follows from a SYNC or a mark that is missing is not reported beside it.
    fn without_consequences(&mut self) {
        let laws = self.machine.laws;
        let causes = [laws.every_channel, laws.marked];
        let follow = [laws.page_once, laws.setup_first, laws.no_pages_after_last];
        if self.violations.iter().any(|(clause, _)| causes.contains(clause)) {
            let memory = self.form.laws.memory;
            let follows = |clause: &ClauseId| follow.contains(clause) || *clause == memory;
            let mut left_out: Vec<(String, usize)> = Vec::new();
            for (_, violation) in self.violations.iter().filter(|(clause, _)| follows(clause)) {
                match left_out.iter_mut().find(|(clause, _)| *clause == violation.clause) {
                    Some((_, count)) => *count = count.saturating_add(1),
                    None => left_out.push((violation.clause.clone(), 1)),
                }
            }
            self.violations.retain(|(clause, _)| !follows(clause));
            self.notes.extend(left_out.into_iter().map(|(clause, count)| {
                format!("not listed, since it may follow from that: {clause} ({count} times)")
            }));
        }
    }

    pub(super) fn report(
        &mut self,
        main: &Connection,
        channels: &[Channel],
        aside: &[(Aside, Connection)],
        version: String,
    ) -> Report {
        let memory = self.form.laws.memory;
        let differs = self.violations.iter().any(|(clause, _)| *clause == memory);
        self.without_consequences();
        if self.counted.differences > 0 {
            let count = self.counted.differences;
            self.notes.push(format!("{count} pages were sent as differences (XBZRLE)"));
        }
        let compared = !self.memory.is_empty() && self.replayed;
        if self.pages.overflow || self.devices.iter().any(|device| device.indices.overflow) {
            self.notes.push("not every page or index was told apart: too many".to_owned());
        }
        let mut violations = std::mem::take(&mut self.violations);
        for (_, violation) in &mut violations {
            let aside = aside.iter().map(|(_, connection)| connection);
            let of = channels.iter().map(|channel| &channel.connection).chain([main]).chain(aside);
            if let Some(of) = of.into_iter().find(|of| of.number == violation.conn) {
                let file = match violation.dir {
                    Dir::Sent => Some(&of.file),
                    Dir::Returned => of.reverse.as_ref(),
                };
                violation.bytes =
                    file.map(|file| shown(file, violation.offset)).unwrap_or_default();
            }
        }
        let verdict = match () {
            () if !violations.is_empty() => Verdict::Violated,
            () if self.truncated => Verdict::Truncated,
            () => Verdict::Conformant,
        };
        let connections = channels.iter().map(|channel| report::Channel {
            conn: channel.connection.number,
            id: channel.id,
            syncs: channel.syncs,
            packets: channel.packets,
            device_packets: channel.device_packets,
        });
        let devices = self.devices.iter().map(|device| report::Device {
            id: device.name.escape_ascii().to_string(),
            instance: device.instance,
            buffers: device.buffers,
            config_index: device.config,
        });
        Report {
            schema: 1,
            verdict,
            version,
            machine: self.survey.machine.clone(),
            mode: self.survey.mode,
            channels: channels.len(),
            epochs: self.epochs,
            packets: self.counted.packets,
            pages: self.counted.pages,
            zero_pages: self.counted.zero,
            duplicates: self.counted.duplicates,
            connections: connections.collect(),
            devices: devices.collect(),
            memory: compared.then_some(!differs),
            violations: violations.into_iter().map(|(_, violation)| violation).collect(),
            more_violations: self.more,
            notes: std::mem::take(&mut self.notes),
        }
    }
}

/// The bytes of a file from an offset on.
fn shown(file: &File, offset: u64) -> String {
    let mut bytes = [0; SHOWN];
    let read = file.read_at(&mut bytes, offset).unwrap_or_default();
    let shown = bytes.iter().take(read).map(|byte| format!("{byte:02x}"));
    shown.collect::<Vec<_>>().join(" ")
}
