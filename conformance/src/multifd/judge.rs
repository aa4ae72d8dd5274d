//! Judges a recorded migration in the order in which a destination acts on it.
//!
//! ```text
//!   for each mark:  every channel up to its SYNC  -->  the main stream up to the mark
//!   at the end:     the main stream to its end    -->  every channel to its end
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `channel.rs` | a channel's packets, as events of the machine |
//! | `aside.rs` | connections that are not channels |
//! | `return_path.rs` | what the destination says |
//! | `main_stream.rs` | marks, blocks, pages of the main stream |
//! | `numbers.rs` | whether the packets of an epoch are all there, by their numbers |
//! | `outcome.rs` | memory, the report |
//!
//! A violation does not end the judgement: the clause is suppressed for that one event. A connection that
//! cannot be decoded is not judged further, and what it lacks from there on is not a violation.

mod aside;
mod channel;
mod main_stream;
mod numbers;
mod outcome;
mod return_path;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use devmig_engine::clause::ClauseId;
use devmig_engine::machine::{Machine as _, Reaction};
use devmig_engine::rules::Rules;
use devmig_model::protocol::multifd::event::Event;
use devmig_model::protocol::multifd::form::{Fault, Form, FormLaws};
use devmig_model::protocol::multifd::machine::{
    ClauseIds, MAX_CHANNELS, MAX_DEVICES, Multifd, State,
};
use devmig_model::registry::Library;
use devmig_model::spec::{Spec, SpecErrors};

use self::aside::Aside;
use self::channel::Channel;
use self::main_stream::Main;
use self::numbers::Numbers;
use self::return_path::{ReturnLaws, Said};
use super::count;
use super::indices::Indices;
use super::memory::Memory;
use super::pages::Pages;
use super::recording::{Connection, Recording, RecordingError};
use super::report::{Dir, Report, Violation};
use super::stream::Read;
use super::survey::{Mode, Survey, survey};

/// The document by which a migration is judged.
pub const DOCUMENT: &str = "qemu-multifd";
/// The most violations that are listed.
const VIOLATIONS: usize = 200;

/// What is said of a main stream that goes on after its end: the destination follows to later checkpoints, in
/// the same connections and in both directions.
pub const CHECKPOINTS: &str = "the main stream goes on after its end, as with COLO: nothing after that is judged, on any connection";

type Machine = Multifd<MAX_CHANNELS, MAX_DEVICES>;

/// Why a recording was not judged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read, or is not one.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// A connection cannot be read.
    #[error("a connection cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The specification, or the version.
    #[error(transparent)]
    Spec(#[from] SpecErrors),
}

/// Judges a recording by a version of QEMU, or by that of its machine type.
///
/// # Errors
/// See [`Error`].
pub fn judge(
    recording: Recording,
    library: &Library,
    version: Option<&str>,
    memory: Memory,
) -> Result<Report, Error> {
    let Recording { main, channels, silent, silent_open, mut notes, read } = recording;
    let mut survey = survey(&main, channels.len(), &read)?;
    let spec = &library.spec;
    let version = match version {
        Some(version) => version.to_owned(),
        None => version_of(spec, survey.machine.as_deref()),
    };
    let rules = spec.judged_by(DOCUMENT, &version).map_err(SpecErrors::from)?;
    let (laws, form) = (ClauseIds::resolve(spec)?, FormLaws::resolve(spec)?);
    let returned = ReturnLaws::resolve(spec)?;
    let (aside, channels) = apart(channels, &survey)?;
    if channels.is_empty() {
        survey.mode = Mode::None;
    }
    if survey.followed {
        notes.push(CHECKPOINTS.to_owned());
    }
    let machine = Multifd { laws, channels: channels.len().min(MAX_CHANNELS) };
    let mut judge = Judge {
        form: Form { laws: &form, rules: &rules, page: survey.page },
        returned: &returned,
        said: Said::default(),
        spec,
        state: machine.initial(),
        machine,
        rules,
        main: main.number,
        channels: channels.len().saturating_add(silent),
        blocks: Vec::new(),
        places: BTreeMap::new(),
        listed: false,
        pages: Pages::default(),
        memory,
        replayed: true,
        devices: Vec::new(),
        ids: BTreeSet::new(),
        uuid: survey.uuid,
        method: None,
        numbers: Numbers::default(),
        epochs: 0,
        counted: Counted::default(),
        truncated: !survey.whole || main.is_cut() || silent_open,
        cut: silent_open,
        lost: false,
        wrong: None,
        violations: Vec::new(),
        more: 0,
        notes,
        survey: &survey,
        read,
    };
    judge.run(&main, channels, &aside, version)
}

/// Parts connections that are not channels from those that are.
#[expect(clippy::type_complexity, reason = "two lists")]
fn apart(
    connections: Vec<Connection>,
    survey: &Survey,
) -> io::Result<(Vec<(Aside, Connection)>, Vec<Connection>)> {
    let (mut aside, mut channels) = (Vec::new(), Vec::new());
    for connection in connections {
        match Aside::of(&connection, survey)? {
            Some(what) => aside.push((what, connection)),
            None => channels.push(connection),
        }
    }
    Ok((aside, channels))
}

/// The newest version that is not newer than a machine type (`pc-q35-8.2`), or the oldest of all.
pub(super) fn version_of(spec: &Spec, machine: Option<&str>) -> String {
    let number = |text: &str| -> Option<(u32, u32)> {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let of = machine.and_then(|name| name.rsplit('-').next()).and_then(number).unwrap_or((0, 0));
    let source = spec.sources().iter().find(|source| source.id == DOCUMENT);
    let versions = source.map(|source| &source.versions[..]).unwrap_or_default();
    let not_newer = |name: &str| number(name).is_some_and(|version| version <= of);
    let found = versions.iter().rev().find(|version| not_newer(&version.name));
    found.or(versions.first()).map(|version| version.name.clone()).unwrap_or_default()
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    packets: u64,
    pages: u64,
    zero: u64,
    /// Pages that were sent as differences.
    differences: u64,
    duplicates: u64,
}

struct Device {
    name: Vec<u8>,
    instance: u32,
    indices: Indices,
    buffers: u64,
    config: Option<u32>,
    /// The highest index of data.
    data: Option<u32>,
}

struct Judge<'l> {
    form: Form<'l>,
    returned: &'l ReturnLaws,
    /// What the main stream says that the return path depends on.
    said: Said,
    spec: &'l Spec,
    machine: Machine,
    state: State<MAX_CHANNELS, MAX_DEVICES>,
    rules: Rules,
    main: u32,
    channels: usize,
    blocks: Vec<(Vec<u8>, u64)>,
    places: BTreeMap<Vec<u8>, usize>,
    listed: bool,
    pages: Pages,
    memory: Memory,
    /// Every page was one that can be replayed.
    replayed: bool,
    devices: Vec<Device>,
    ids: BTreeSet<u8>,
    uuid: Option<[u8; 16]>,
    method: Option<u32>,
    numbers: Numbers,
    epochs: u64,
    counted: Counted,
    truncated: bool,
    /// Packets may be missing, because a channel has no end.
    cut: bool,
    /// A connection cannot be followed.
    lost: bool,
    /// Memory that does not fit the recording.
    wrong: Option<RecordingError>,
    violations: Vec<(ClauseId, Violation)>,
    more: u64,
    notes: Vec<String>,
    survey: &'l Survey,
    read: Read,
}

impl Judge<'_> {
    fn run(
        &mut self,
        connection: &Connection,
        channels: Vec<Connection>,
        aside: &[(Aside, Connection)],
        version: String,
    ) -> Result<Report, Error> {
        let mut main = Main::open(connection, self.survey.sizes.clone(), &self.read)?;
        let opened = channels.into_iter().enumerate();
        let opened =
            opened.map(|(place, channel)| Channel::open(place, channel, self.form, &self.read));
        let mut channels = opened.collect::<io::Result<Vec<_>>>()?;
        if channels.len() > MAX_CHANNELS {
            self.notes.push(format!("more than {MAX_CHANNELS} channels: not all are judged"));
        }
        for _ in 0..self.survey.marks() {
            for channel in &mut channels {
                channel.run(self)?;
            }
            let at = main.run(self)?;
            self.mark(at, &channels);
        }
        main.run(self)?;
        if let Some(error) = self.wrong.take() {
            return Err(error.into());
        }
        self.end(&mut channels)?;
        self.aside(aside)?;
        self.compare()?;
        self.return_path(connection)?;
        Ok(self.report(connection, &channels, aside, version))
    }

    /// The main stream marks the end of an epoch.
    fn mark(&mut self, at: u64, channels: &[Channel]) {
        for channel in channels.iter().filter(|channel| channel.ended) {
            // What is missing would have come later, or cannot be seen.
            if channel.is_cut() || channel.decoder.is_over() {
                self.truncated |= channel.is_cut();
                self.cut |= channel.is_cut();
                if let Some(synced) = self.state.synced.get_mut(channel.place) {
                    *synced = true;
                }
            }
        }
        let missing = self.machine.missing(&self.state).and_then(|place| channels.get(place));
        let missing = missing.map(|channel| (channel.connection.number, channel.syncs));
        let epoch = self.epoch();
        self.event(Event::Mark, self.main, at, |_, _| match missing {
            Some((conn, syncs)) => {
                format!("mark {epoch}, and connection {conn} has {syncs} SYNC packets in all")
            }
            None => format!("mark {epoch}"),
        });
        self.numbers(at);
        self.pages.next_epoch();
        self.epochs = epoch;
    }

    /// The number of the epoch that goes on.
    fn epoch(&self) -> u64 {
        self.epochs.saturating_add(1)
    }

    fn numbers(&mut self, at: u64) {
        let clause = self.form.laws.numbers_whole;
        if let Some(what) = self.numbers.end().filter(|_| !self.lost && !self.cut) {
            let what = format!("epoch {}: {what}", self.epoch());
            self.faults(self.main, at, vec![(clause, what)]);
        }
    }

    /// No mark follows.
    fn end(&mut self, channels: &mut [Channel]) -> io::Result<()> {
        match self.survey.complete {
            true => {
                self.event(Event::Last, self.main, 0, |_, _| String::new());
            }
            // What follows a mark that is missing is not known to be wrong.
            false => {
                let laws = self.machine.laws;
                for clause in [laws.marked, laws.page_once, laws.setup_first] {
                    self.rules.off.insert(clause);
                }
                self.truncated = true;
            }
        }
        // Checkpoints go on in the channels, and what an epoch of theirs repeats is not known.
        let channels = if self.survey.followed { &mut [] } else { channels };
        for channel in channels.iter_mut() {
            while !channel.ended {
                channel.run(self)?;
            }
        }
        for channel in channels.iter() {
            let (whole, over) = (channel.decoder.at_boundary(), channel.decoder.is_over());
            if channel.is_cut() {
                self.truncated |= !whole;
                self.cut = true;
            } else if self.survey.complete {
                let place = u8::try_from(channel.place).unwrap_or(u8::MAX);
                let event = Event::Closed(place, whole || over);
                let end = channel.decoder.taken();
                self.event(event, channel.connection.number, end, |_, _| {
                    "the channel ends inside a packet".to_owned()
                });
            }
        }
        if !self.survey.complete || self.survey.followed || self.truncated || self.lost {
            return Ok(());
        }
        self.numbers(0);
        for place in 0..self.devices.len().min(MAX_DEVICES) {
            let Some(device) = self.devices.get(place) else { break };
            let missing = device.indices.first_missing();
            let whole = device.config.is_some_and(|config| config < missing);
            if !whole && self.cut {
                self.truncated = true;
                continue;
            }
            let event = Event::Sent(u8::try_from(place).unwrap_or(u8::MAX), whole);
            let name = device.name.escape_ascii();
            let what = match device.config {
                None => format!("{name} has sent no configuration"),
                Some(config) => {
                    format!("{name} lacks index {missing}; its configuration has {config}")
                }
            };
            self.event(event, self.main, 0, |_, _| what.clone());
        }
        Ok(())
    }

    /// Puts an event to the machine.
    fn event(
        &mut self,
        event: Event,
        conn: u32,
        at: u64,
        what: impl Fn(&ClauseIds, ClauseId) -> String,
    ) {
        let mut rules = self.rules;
        loop {
            match self.machine.on(&self.state, &event, &mut rules.judge()) {
                Ok(Reaction::To(next)) => {
                    self.state = next;
                    return;
                }
                Ok(Reaction::Violation(clause)) => {
                    let what = what(&self.machine.laws, clause);
                    self.violated(clause, conn, at, what);
                    rules = rules.without(clause);
                }
                _ => return,
            }
        }
    }

    fn faults(&mut self, conn: u32, at: u64, faults: Vec<Fault>) {
        for (clause, what) in faults {
            if !self.rules.off.contains(clause) {
                self.violated(clause, conn, at, what);
            }
        }
    }

    fn violated(&mut self, clause: ClauseId, conn: u32, offset: u64, message: String) {
        if self.violations.len() >= VIOLATIONS {
            count(&mut self.more, 1);
            return;
        }
        let (name, bytes) = (self.spec.clause_name(clause).to_owned(), String::new());
        let dir = Dir::Sent;
        let violation = Violation { clause: name, conn, dir, offset, message, bytes };
        self.violations.push((clause, violation));
    }
}
