//! The world of a hand-over: two VMM processes, the links, a disk lock, and what goes wrong.
//!
//! ```text
//!   source --link, one slot each way--> destination       a cut link loses what is under way, or not
//!      \                                  /                a killed process takes its VM and frees its lock
//!       `---------- management ----------'                 neither end can tell one from the other
//! ```
//!
//! **Invariant.** A time-out needs no event of its own: who gives up closes its connection, and that is a
//! link that is cut a moment before, while what is under way may still arrive.

use serde_json::{Map, Value as Json, json};

use super::event::{Actor, ENVIRONMENT, Event, Fault, Message, Report};
use devmig_engine::machine::{Machine, Party, Reaction, Stimulus, Verdict};
use devmig_engine::packed;
use devmig_engine::rules::RuleContext;

crate::clause_ids! {
    /// What the world is judged by.
    pub struct ClauseIds {
        /// `hand-over.lock.exclusive`
        exclusive: "hand-over.lock.exclusive",
        /// `hand-over.lock.freed-by-exit`
        freed_by_exit: "hand-over.lock.freed-by-exit",
        /// `hand-over.lock.state-validated`
        state_validated: "hand-over.lock.state-validated",
    }
}

/// How far a hand-over is.
#[packed]
#[derive(Default, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// RAM is being copied.
    #[default]
    Copying,
    /// Little is left to be copied; the source has not stopped.
    Copied,
    /// The source has stopped.
    Stopped,
    /// It has sent the state.
    Sent,
    /// The destination has received all of it.
    Loaded,
    /// The destination was told to run.
    GoSent,
    /// It knows.
    GoReceived,
    /// It has run.
    Running,
    /// Its answer was received.
    Answered,
}

impl Phase {
    /// All, in their order.
    pub const ALL: [Phase; 9] = [
        Phase::Copying,
        Phase::Copied,
        Phase::Stopped,
        Phase::Sent,
        Phase::Loaded,
        Phase::GoSent,
        Phase::GoReceived,
        Phase::Running,
        Phase::Answered,
    ];

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Phase::Copying => "while RAM is copied",
            Phase::Copied => "RAM copied",
            Phase::Stopped => "source stopped",
            Phase::Sent => "state sent",
            Phase::Loaded => "state received",
            Phase::GoSent => "go sent",
            Phase::GoReceived => "go received",
            Phase::Running => "destination runs",
            Phase::Answered => "answer received",
        }
    }
}

/// A VMM's process.
#[packed]
pub struct Process {
    /// It is there.
    pub alive: bool,
    /// Its connections are closed: for it, the migration is over.
    pub closed: bool,
    /// It has the whole state of the VM.
    pub has: bool,
    /// Its virtual CPUs run.
    pub runs: bool,
}

impl Process {
    const GONE: Process = Process { alive: false, closed: true, has: false, runs: false };
    const FRESH: Process = Process { alive: true, closed: false, has: false, runs: false };
}

/// The holder of a lock that is left of a first destination.
const OLD: u8 = 3;

/// All that is outside the programs.
#[packed]
pub struct WorldState {
    /// What is under way, by sender and receiver.
    pub slots: [Message; 9],
    /// The processes of the source, the destination and the management layer.
    pub processes: [Process; 3],
    /// The link between the VMMs is cut.
    pub cut: bool,
    /// The link between the management layer and the destination is cut.
    pub management_cut: bool,
    /// Who holds the disk lock: 0 for none, else an actor's index plus one, or 3 for a first destination
    /// that is left.
    #[bits(2)]
    pub lock: u8,
    /// The destination has held it.
    pub lock_moved: bool,
    /// How many faults may still happen.
    #[bits(2)]
    pub faults: u8,
    /// What went wrong last.
    pub fault: Fault,
    /// How far the hand-over was then.
    pub at: Phase,
    /// How far it is.
    pub phase: Phase,
    /// This is the second attempt.
    pub second: bool,
    /// Something went wrong in it.
    pub again_faulty: bool,
    /// The destination has run.
    pub ran: bool,
    /// A fault took the only process that had the VM.
    pub with_host: bool,
    /// Somebody reported success.
    pub success: bool,
    /// Somebody reported failure.
    pub failure: bool,
    /// Somebody reported that the outcome is unknown.
    pub unknown: bool,
}

impl WorldState {
    /// A VMM's process, or management's.
    #[must_use]
    pub fn process(&self, actor: Actor) -> &Process {
        &self.processes[actor as usize]
    }

    /// Whether there is still a process that has the VM as it was last.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.process(Actor::Source).has && !self.ran || self.process(Actor::Destination).has
    }

    /// Whether an actor holds the disk lock.
    #[must_use]
    pub fn locks(&self, actor: Actor) -> bool {
        self.lock == actor as u8 + 1
    }

    fn slot(from: Actor, to: Actor) -> usize {
        from as usize * 3 + to as usize
    }

    /// What is under way from one to the other.
    #[must_use]
    pub fn under_way(&self, from: Actor, to: Actor) -> Message {
        self.slots[Self::slot(from, to)]
    }

    /// Whether the link between two actors is cut.
    fn is_cut(&self, one: Actor, other: Actor) -> bool {
        match (one.min(other), one.max(other)) {
            (Actor::Source, Actor::Destination) => self.cut,
            (Actor::Destination, Actor::Management) => self.management_cut,
            _ => false,
        }
    }

    fn reach(&mut self, phase: Phase) {
        self.phase = self.phase.max(phase);
    }
}

/// The world.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// What it is judged by.
    pub laws: ClauseIds,
    /// The VM has disks, with a lock that only one process may hold.
    pub disks: bool,
    /// The VM was paused before the migration.
    pub paused: bool,
    /// There is a management layer.
    pub managed: bool,
    /// How many faults happen at most.
    pub faults: u8,
    /// A failed hand-over is tried once more.
    pub twice: bool,
}

impl World {
    /// A process ends, or is killed.
    fn gone(self, s: &mut WorldState, actor: Actor, judge: &mut RuleContext) {
        s.processes[actor as usize] = Process::GONE;
        if s.locks(actor) && judge.enforces(self.laws.freed_by_exit) {
            s.lock = 0;
        }
    }

    /// An actor tries to take the disk lock: whether it gets it.
    fn takes(self, s: &mut WorldState, actor: Actor, judge: &mut RuleContext) -> bool {
        let free = !self.disks || s.lock == 0 || s.locks(actor);
        let gets = free || !judge.enforces(self.laws.exclusive);
        if gets && self.disks {
            s.lock = actor as u8 + 1;
            s.lock_moved |= actor == Actor::Destination;
        }
        gets
    }

    /// Whether a fault can happen.
    fn can_fail(self, s: &WorldState, fault: Fault) -> bool {
        s.faults > 0
            && match fault {
                Fault::None => false,
                Fault::LinkCut => !s.cut,
                Fault::DestinationKilled => s.process(Actor::Destination).alive,
                Fault::SourceKilled => s.process(Actor::Source).alive,
                Fault::ManagementKilled => self.managed && s.process(Actor::Management).alive,
                Fault::ManagementCut => self.managed && !s.management_cut,
            }
    }

    fn fails(self, s: &mut WorldState, fault: Fault, judge: &mut RuleContext) {
        let held = s.is_held();
        match fault {
            Fault::None => {}
            Fault::LinkCut => s.cut = true,
            Fault::ManagementCut => s.management_cut = true,
            Fault::DestinationKilled => self.gone(s, Actor::Destination, judge),
            Fault::SourceKilled => self.gone(s, Actor::Source, judge),
            Fault::ManagementKilled => self.gone(s, Actor::Management, judge),
        }
        s.with_host |= held && !s.is_held();
        s.faults -= 1;
        (s.fault, s.at) = (fault, s.phase);
        s.again_faulty |= s.second;
    }

    /// Whether a failed hand-over can be tried once more: the VM is where and as it was.
    fn can_try_again(self, s: &WorldState) -> bool {
        let source = s.process(Actor::Source);
        let over = s.processes.iter().all(|process| process.closed);
        self.twice && !s.second && s.failure && over && source.has && source.runs != self.paused
    }

    fn moves(self, s: &mut WorldState, event: &Event, judge: &mut RuleContext) -> bool {
        match *event {
            Event::Copy(from, to) => {
                if s.is_cut(from, to) || s.process(to).closed {
                    return false;
                }
                s.reach(Phase::Copied);
            }
            Event::Stop(actor) => {
                s.processes[actor as usize].runs = false;
                s.reach(Phase::Stopped);
            }
            Event::Run(actor) => {
                s.processes[actor as usize].runs = true;
                if actor == Actor::Destination {
                    s.ran = true;
                    s.reach(Phase::Running);
                }
            }
            Event::Release(actor) => {
                if s.locks(actor) {
                    s.lock = 0;
                }
            }
            Event::Take(actor, got) => return got == self.takes(s, actor, judge),
            Event::TakeBack(_, got)
                if s.lock_moved && judge.enforces(self.laws.state_validated) =>
            {
                return !got;
            }
            Event::TakeBack(actor, got) => return got == self.takes(s, actor, judge),
            Event::Send(from, to, message) => {
                let slot = WorldState::slot(from, to);
                if s.slots[slot] != Message::Nothing {
                    return false;
                }
                if !s.is_cut(from, to) && !s.process(to).closed {
                    s.slots[slot] = message;
                }
                match message {
                    Message::State => s.reach(Phase::Sent),
                    Message::Go => s.reach(Phase::GoSent),
                    _ => {}
                }
            }
            Event::Receive(from, to, message) => {
                let slot = WorldState::slot(from, to);
                if s.slots[slot] != message {
                    return false;
                }
                s.slots[slot] = Message::Nothing;
                match message {
                    Message::State => {
                        s.processes[to as usize].has = true;
                        s.reach(Phase::Loaded);
                    }
                    Message::Go => s.reach(Phase::GoReceived),
                    Message::Answer if s.ran => s.reach(Phase::Answered),
                    _ => {}
                }
            }
            Event::GiveUp(actor, peer) => {
                let empty = s.under_way(peer, actor) == Message::Nothing;
                let (there, closed) = (s.process(peer).alive, s.process(peer).closed);
                // What a process sent before it ended arrives, unless it was killed.
                let killed = !there && self.killed(s, peer);
                if !(s.is_cut(actor, peer) || killed || closed && empty) {
                    return false;
                }
                s.slots[WorldState::slot(peer, actor)] = Message::Nothing;
            }
            Event::Report(actor, report) => {
                s.processes[actor as usize].closed = true;
                match report {
                    Report::Success => s.success = true,
                    Report::Failure => s.failure = true,
                    Report::Unknown => s.unknown = true,
                }
            }
            Event::End(actor) => self.gone(s, actor, judge),
            Event::Fault(fault) => {
                if !self.can_fail(s, fault) {
                    return false;
                }
                self.fails(s, fault, judge);
            }
            Event::Again => {
                if !self.can_try_again(s) {
                    return false;
                }
                let source = Process { closed: false, ..*s.process(Actor::Source) };
                // What is left of the first destination keeps its lock.
                let lock = if s.locks(Actor::Destination) { OLD } else { s.lock };
                *s = WorldState {
                    processes: [source, Process::FRESH, self.management()],
                    lock,
                    faults: s.faults,
                    fault: s.fault,
                    at: s.at,
                    second: true,
                    ..self.initial()
                };
            }
        }
        true
    }

    /// Whether a process that is gone was killed.
    fn killed(self, s: &WorldState, actor: Actor) -> bool {
        match actor {
            Actor::Source => s.fault == Fault::SourceKilled,
            Actor::Destination => s.fault == Fault::DestinationKilled,
            Actor::Management => s.fault == Fault::ManagementKilled,
        }
    }

    fn management(self) -> Process {
        if self.managed { Process::FRESH } else { Process::GONE }
    }
}

impl Machine for World {
    type State = WorldState;
    type Event = Event;

    fn name(&self) -> &'static str {
        ENVIRONMENT.0
    }

    fn plays(&self, party: Party) -> bool {
        party == ENVIRONMENT
    }

    fn initial(&self) -> WorldState {
        let source = Process { has: true, runs: !self.paused, ..Process::FRESH };
        WorldState {
            slots: [Message::Nothing; 9],
            processes: [source, Process::FRESH, self.management()],
            cut: false,
            management_cut: false,
            lock: u8::from(self.disks),
            lock_moved: false,
            faults: self.faults,
            fault: Fault::None,
            at: Phase::Copying,
            phase: Phase::Copying,
            second: false,
            again_faulty: false,
            ran: false,
            with_host: false,
            success: false,
            failure: false,
            unknown: false,
        }
    }

    fn on(&self, s: &WorldState, event: &Event, judge: &mut RuleContext) -> Verdict<Self> {
        let mut next = *s;
        let moves = self.moves(&mut next, event, judge);
        Ok(if moves { Reaction::To(next) } else { Reaction::Disabled })
    }

    fn stimuli(&self, _: &WorldState, f: &mut dyn FnMut(Stimulus<Event>)) {
        self.domain(&mut |event| f(Stimulus::Guarded(event)));
    }

    fn domain(&self, f: &mut dyn FnMut(Event)) {
        Fault::ALL.into_iter().map(Event::Fault).chain([Event::Again]).for_each(f);
    }

    /// What a person wants to know: where the VM is, who holds the lock, what was reported.
    fn describe(&self, s: &WorldState) -> Map<String, Json> {
        let vm = |actor: Actor| {
            let process = s.process(actor);
            match process {
                Process { alive: false, .. } => "gone",
                Process { runs: true, .. } => "runs",
                Process { has: true, .. } => "stopped",
                _ => "empty",
            }
        };
        let mut all = json!({ "source": vm(Actor::Source), "destination": vm(Actor::Destination) });
        if let Some(all) = all.as_object_mut() {
            if self.disks {
                let holder = ["none", "source", "destination", "first destination"];
                all.insert("lock".into(), holder[usize::from(s.lock & 3)].into());
            }
            all.insert("link".into(), if s.cut { "cut" } else { "open" }.into());
            let reports = [("success", s.success), ("failure", s.failure), ("unknown", s.unknown)];
            let reports = reports.iter().filter(|(_, said)| *said).map(|(word, _)| *word);
            all.insert("reported".into(), reports.collect::<Vec<_>>().join(", ").into());
        }
        Map::from_iter([("VM".to_owned(), all)])
    }
}
