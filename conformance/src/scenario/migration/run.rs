//! A migration from the installation of both versions to its verdict.

use std::path::Path;
use std::time::{Duration, Instant};

use devmig_model::registry::Library;
use devmig_model::spec::matches;
use devmig_reference::temporary;

use super::drive::{self, Played};
use super::guest;
use super::inside;
use super::known::{End, Migration, Transport};
use super::machine::{BLOCK, Launch, START};
use crate::harness::io::files;
use crate::harness::report::Status;
use crate::implementations::{Deviation, Finding, Peer, Serves, When, deviates, found, redact};
use crate::monitor::log::Writer;
use crate::monitor::{self, judge};
use crate::multifd::destination::runner::{self, Run};
use crate::multifd::destination::session::Subject;
use crate::multifd::destination::suite::{self, Test};
use crate::multifd::judge::{DOCUMENT, judge as judge_stream};
use crate::multifd::mapped_ram;
use crate::multifd::memory::Memory;
use crate::multifd::pieces::Pieces;
use crate::multifd::recording::Recording;
use crate::multifd::report::{Report, Verdict};
use crate::scenario::came::{Came, Part, Ran, not_run, stuck};
use crate::scenario::known::Held;

/// How long a destination may take after all was sent.
const LIMIT: Duration = Duration::from_secs(4);
/// How many destinations run at the same time: they wait most of the time.
const JOBS: usize = 4;

/// How often the logs are read in every migration: at set-up, and when the source has stopped.
const AT_BOTH_ENDS: u64 = 2;
/// What a VMM violates that reads them no more often, and switches over.
const FRESH: &str = "migration.switchover.fresh";
/// What one violates whose guest does not go on after a migration that failed.
const RESUMED: &str = "migration.failure.source";

/// The finding of events that no clause is about, or that have no end.
const EVENTS: &str = "events";

/// Plays a migration; what is missing is installed first if `install` says so, and what passed is kept in a
/// folder of its name below `record`. One with devices is played in a guest that has them, by this program,
/// unless it is that program: `is_inside`.
#[must_use]
pub fn run(
    library: &Library,
    migration: &Migration,
    (install, is_inside): (bool, bool),
    record: Option<&Path>,
) -> Came {
    let came = match migration.devices > 0 && !is_inside {
        true => both_found(migration, install).and_then(|_| {
            let kernel = kernel(library).map_err(not_run)?;
            inside::play(migration, &kernel, install, record)
        }),
        false => played(library, migration, install, record),
    };
    came.unwrap_or_else(|came| *came)
}

/// The kernel that has a driver for mediated devices.
fn kernel(library: &Library) -> Result<Peer, Box<dyn std::error::Error>> {
    let suite = crate::vhost_user::suite::whole(library)?;
    let peers = crate::implementations::builtin(library, &suite)?;
    let is_kernel = |peer: &Peer| matches!(peer.serves, Serves::Mediated { .. });
    peers.into_iter().find(is_kernel).ok_or_else(|| "no kernel is known".into())
}

/// Both versions, installed if need be, and whether they are listed.
fn both_found(migration: &Migration, install: bool) -> Result<(Vec<String>, bool), Box<Came>> {
    let mut versions = Vec::new();
    let mut listed = true;
    for qemu in [&migration.source, &migration.destination] {
        if install && qemu.find().is_err() {
            qemu.install().map_err(not_run)?;
        }
        let version = qemu.find().map_err(not_run)?;
        listed &= qemu.listed.contains(&version);
        if versions.last() != Some(&version) {
            versions.push(version);
        }
    }
    Ok((versions, listed))
}

fn played(
    library: &Library,
    migration: &Migration,
    install: bool,
    record: Option<&Path>,
) -> Result<Came, Box<Came>> {
    let (versions, listed) = both_found(migration, install)?;
    let folder = temporary::folder("migration-").map_err(stuck)?;
    let played =
        drive::play(migration, folder.path()).map_err(|why| match why.is_unsupported() {
            true => not_run(why),
            false => stuck(why),
        })?;
    if let Some(record) = record {
        keep(&played, &record.join(&migration.name)).map_err(stuck)?;
    }
    let (report, mut found) = judged(library, migration, &played).map_err(stuck)?;
    let (events, not_allowed) = events(library, &played).map_err(stuck)?;
    found.extend(
        not_allowed.into_iter().filter(|finding| !found.contains(finding)).collect::<Vec<_>>(),
    );
    let known = migration.known.iter().map(|(finding, _)| finding.clone()).collect();
    let mut held = Held::of(found, known);
    let always = |line: &String| migration.known.contains(&(line.clone(), When::Always));
    held.gone.retain(always);
    if let Some(faults) = migration.faults.as_deref().filter(|_| held.new.is_empty()) {
        return with_faults(library, (migration, faults), &played, versions).map_err(stuck);
    }
    let summary = format!(
        "{}, {} packets, {} pages, {} events judged",
        devmig_engine::columns::count(usize::try_from(report.epochs).unwrap_or(0), "epoch"),
        report.packets,
        report.pages,
        events.events
    );
    let json = serde_json::to_value(&report).map_err(stuck)?;
    let said = serde_json::to_value(&events).map_err(stuck)?;
    let parts = vec![
        Part { name: "migration".into(), text: report.text(), json },
        Part { name: "events".into(), text: events.text(), json: said },
    ];
    let version = versions.join(" to ");
    Ok(Came::Ran(Ran { version, listed, steps: played.steps, summary, parts, held }))
}

/// Sends what was recorded to destinations, with one fault at a time.
fn with_faults(
    library: &Library,
    (migration, faults): (&Migration, &str),
    played: &Played,
    versions: Vec<String>,
) -> Result<Came, Box<dyn std::error::Error>> {
    let version = versions.last().cloned().unwrap_or_default();
    let pieces = Pieces::of(&Recording::open(&played.recording)?)?;
    let subject = Subject {
        launch: Launch::Ours {
            command: &migration.destination.command,
            machine: &migration.machine,
            guest: &played.guest,
            unnamed: false,
            devices: migration.devices,
        },
        start: START,
        capabilities: &migration.capabilities,
        parameters: &migration.parameters,
        pieces: &pieces,
        memory: &played.source_memory,
        limit: LIMIT,
    };
    let judged_by = &migration.destination.name;
    let rules = library.spec.judged_by(DOCUMENT, judged_by)?;
    let run = Run {
        reproduce: format!("devmig scenario {}", migration.name),
        jobs: JOBS,
        ..Run::new(library, &subject, judged_by, rules)
    };
    let began = Instant::now();
    let suite = suite::builtin(library)?;
    let tests: Vec<_> = suite.iter().filter(|test| matches(faults, &test.id)).collect();
    let mut report = runner::run(&run, &tests, |_| ())?;
    let mut steps = played.steps.clone();
    steps.push(("faults".into(), began.elapsed()));
    if let Some(error) = report.results.iter().find(|result| result.status == Status::Error) {
        let why = error.observed.clone().unwrap_or_default();
        return Err(format!("{}: {why}", error.test).into());
    }
    // What this recording has no place for is skipped, and shows nothing.
    let ran = report.results.iter().filter(|result| result.status != Status::Skip);
    let ran: Vec<String> = ran.map(|result| result.test.clone()).collect();
    let is_asked = |known: &&Deviation| ran.iter().any(|test| matches(&known.test, test));
    let known = migration.destinations.iter().filter(|known| known.covers(&version));
    let known: Vec<_> = known.filter(is_asked).collect();
    redact(&mut report, &known);
    let line = |of: &Deviation| deviates(&(of.test.clone(), of.clause.clone()));
    let always = |text: &String| {
        known.iter().any(|known| known.when == When::Always && line(known) == *text)
    };
    let holds = |findings: &[Finding]| {
        let found = findings.iter().map(|finding| {
            let of = known.iter().find(|known| known.is(finding));
            of.map_or_else(|| deviates(finding), |known| line(known))
        });
        let mut held = Held::of(found.collect(), known.iter().map(|known| line(known)).collect());
        held.gone.retain(always);
        held
    };
    let mut findings = found(&report);
    let mut held = holds(&findings);
    if !(held.new.is_empty() && held.gone.is_empty()) {
        // What comes of a fault can be a race: new is what comes twice, gone what comes in neither run.
        let is_known = |finding: &Finding| known.iter().any(|known| known.is(finding));
        let is_new = |test: &str| findings.iter().any(|f| f.0 == test && !is_known(f));
        let is_gone = |test: &str| {
            known.iter().any(|known| held.gone.contains(&line(known)) && matches(&known.test, test))
        };
        let is_open = |test: &&&Test| is_new(&test.id) || is_gone(&test.id);
        let open: Vec<&Test> = tests.iter().filter(is_open).copied().collect();
        let again = found(&runner::run(&Run { jobs: 1, ..run.clone() }, &open, |_| ())?);
        findings.retain(|finding| is_known(finding) || again.contains(finding));
        findings.extend(again.into_iter().filter(is_known));
        held = holds(&findings);
    }
    let text = report.closing(|id| library.spec.clause_text(id));
    let (ran, json) = (report.results.len(), serde_json::to_value(&report)?);
    let skipped = report.summary.skip;
    let summary = format!("{ran} faults sent, {skipped} skipped");
    let listed = migration.destination.listed.contains(&version);
    let parts = vec![Part { name: "destination".into(), text, json }];
    Ok(Came::Ran(Ran { version, listed, steps, summary, parts, held }))
}

/// What both monitors reported, judged.
fn events(
    library: &Library,
    played: &Played,
) -> Result<(monitor::report::Report, Vec<String>), judge::Error> {
    let law = judge::Law::new(library)?;
    let mut judging = judge::Judge::new(&law, &[]);
    for entry in &played.events {
        judging.take(entry)?;
    }
    let report = judging.report()?;
    let clause = |violation: &monitor::report::Violation| violation.clause.clone();
    let named =
        report.violations.iter().map(|one| clause(one).unwrap_or_else(|| EVENTS.to_owned()));
    let mut found: Vec<String> = named.collect();
    if report.verdict == monitor::report::Verdict::Truncated {
        found.push(EVENTS.to_owned());
    }
    Ok((report, found))
}

/// What passed, what the monitors reported, and the memory of the source.
fn keep(played: &Played, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    let file = files::create(&to.join("events.jsonl")).map_err(std::io::Error::from)?;
    let mut log = Writer::new(file)?;
    played.events.iter().try_for_each(|entry| log.write(entry))?;
    if played.recording.is_file() {
        std::fs::copy(&played.recording, to.join("state"))?;
        return std::fs::write(to.join(format!("{BLOCK}.ram")), &played.source_memory);
    }
    for entry in std::fs::read_dir(&played.recording)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    std::fs::write(to.join(format!("{BLOCK}.ram")), &played.source_memory)
}

/// The report on the stream, and all findings.
fn judged(
    library: &Library,
    migration: &Migration,
    played: &Played,
) -> Result<(Report, Vec<String>), Box<dyn std::error::Error>> {
    let compared = match migration.end {
        End::Complete | End::Postcopy => {
            guest::round(&played.source_memory)?;
            vec![(BLOCK.to_owned(), played.source_ram.clone())]
        }
        // The source goes on.
        End::Cancel => Vec::new(),
    };
    let (version, memory) = (Some(migration.source.name.as_str()), Memory::of(&compared)?);
    let report = match migration.transport {
        Transport::File => mapped_ram::judge(&played.recording, library, version, memory)?,
        _ => judge_stream(Recording::open(&played.recording)?, library, version, memory)?,
    };
    let mut found: Vec<String> = Vec::new();
    for violation in &report.violations {
        if !found.contains(&violation.clause) {
            found.push(violation.clause.clone());
        }
    }
    // With a limit of 0 nothing is ever below the threshold: were the logs read between set-up and stop?
    if migration.limit == Some(0) && played.syncs.is_some_and(|syncs| syncs <= AT_BOTH_ENDS) {
        found.push(FRESH.to_owned());
    }
    if !played.resumed {
        found.push(RESUMED.to_owned());
    }
    if migration.end == End::Cancel {
        // One that is cancelled after its last byte is whole.
        return match played.source.as_str() {
            "cancelled" => Ok((report, found)),
            status => Err(format!("the migration was to be cancelled, and is {status}").into()),
        };
    }
    if played.source != "completed" {
        return Err(format!("the migration at the source is {}", played.source).into());
    }
    let finding = |name: &str| name.to_owned();
    if report.verdict == Verdict::Truncated {
        found.push(finding("truncated"));
    }
    if played.destination != "completed" {
        found.push(finding("destination-refuses"));
    } else {
        if played.destination_memory != played.source_memory {
            found.push(finding("destination-memory"));
        }
        if guest::round(&played.destination_memory).is_err() {
            found.push(finding("destination-pattern"));
        }
    }
    Ok((report, found))
}
