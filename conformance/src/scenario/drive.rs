//! The steps of a scenario, and what both sides were seen to do meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use devmig_reference::temporary;
use serde_json::json;

use super::came::Steps;
use super::error::Error;
use super::guest::Guest;
use super::known::{BackEnd, Kind};
use super::vmm::{Parts, Vmm};
use crate::watch::record::Event;

/// How long a guest may take to boot.
const BOOT: Duration = Duration::from_secs(60);
/// How long a running guest may take for a turn of its loop.
const TURN: Duration = Duration::from_secs(20);
/// How long a stopped guest stays so.
const PAUSE: Duration = Duration::from_millis(300);

/// What a scenario runs with.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'s> {
    /// What QEMU boots.
    pub guest: &'s Guest,
    /// QEMU's program.
    pub program: &'s Path,
    /// What the device is.
    pub device: Kind,
    /// Who serves it.
    pub back_end: &'s BackEnd,
    /// Where recordings go: `NAME-source.jsonl`, `NAME-destination.jsonl`.
    pub record: Option<&'s Path>,
    /// The scenario's name.
    pub name: &'s str,
    /// Whether it migrates.
    pub migrates: bool,
}

/// How long each step took, and what was said.
#[derive(Debug, Default)]
pub struct Played {
    /// Steps that were taken, with their time.
    pub steps: Steps,
    /// What the source said and was told.
    pub source: Vec<Event>,
    /// The same of the destination.
    pub destination: Vec<Event>,
}

/// Boots a guest that does I/O, stops it, lets it go on, resets it, migrates it if its back-end can,
/// and quits.
///
/// # Errors
/// The step that came to nothing, and why.
pub fn play(setting: Setting<'_>) -> Result<Played, Error> {
    let folder = temporary::folder("vm-").map_err(Error::io("a temporary folder"))?;
    let (from, to) = (folder.path().join("a"), folder.path().join("b"));
    let shared = folder.path().join("shared");
    for folder in [&from, &to, &shared] {
        std::fs::create_dir(folder).map_err(Error::io("a temporary folder"))?;
    }
    let path = folder.path().join("migration");
    let record =
        |half: &str| setting.record.map(|r| r.join(format!("{}-{half}.jsonl", setting.name)));
    let recorded = [record("source"), record("destination")];
    let parts = |folder, incoming, record| Parts {
        guest: setting.guest,
        device: setting.device,
        back_end: setting.back_end,
        shared: &shared,
        folder,
        program: setting.program,
        incoming,
        record,
    };
    let mut played = Played::default();
    let mut clock = Instant::now();
    let mut took = |name, result: Result<(), Error>| {
        result.map_err(|why| why.within(name))?;
        played.steps.push((name.into(), clock.elapsed()));
        clock = Instant::now();
        Ok::<(), Error>(())
    };
    let mut source = Vmm::start(parts(from.as_path(), None, recorded[0].as_deref()))?;
    took("boot", source.prints("io 3: pass 3", 0, BOOT))?;
    took("stop", source.run("stop", json!({})).map(|_| std::thread::sleep(PAUSE)))?;
    let printed = source.printed();
    took("cont", source.run("cont", json!({})).map(|_| ()))?;
    took("I/O", source.prints(": pass ", printed, TURN))?;
    let printed = source.printed();
    took("reset", source.run("system_reset", json!({})).map(|_| ()))?;
    took("boot again", source.prints("io 3: pass 3", printed, BOOT))?;
    let mut destination = None;
    if setting.migrates {
        let there = parts(to.as_path(), Some(path.as_path()), recorded[1].as_deref());
        let mut there = Vmm::start(there)?;
        let uri = json!({ "uri": format!("unix:{}", path.display()) });
        let migrated = source
            .run("migrate", uri)
            .and_then(|_| source.reaches("query-migrate", "completed", BOOT))
            .and_then(|()| there.reaches("query-status", "running", TURN));
        took("migrate", migrated)?;
        let printed = there.printed();
        took("I/O there", there.prints(": pass ", printed, TURN))?;
        destination = Some(there);
    }
    let events = source.quit();
    let there = destination.map_or(Ok(Vec::new()), Vmm::quit);
    let ended = events.and_then(|events| Ok((events, there?)));
    let (events, there) = ended.map_err(|why| why.within("quit"))?;
    took("quit", Ok(()))?;
    (played.source, played.destination) = (events, there);
    Ok(played)
}
