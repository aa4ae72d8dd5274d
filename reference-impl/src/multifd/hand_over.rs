//! Jobs from whoever has one to the worker that is free.
//!
//! ```text
//!            give            take            done
//!   Idle ----------> Given ----------> Busy ----------> Idle
//!    (any giver)       (its worker)      (its worker)
//! ```
//!
//! A slot is written by one side at a time: by a giver while it is idle, by its worker from then on. Several
//! threads may give.
//!
//! **Invariants.** Each job that was given is taken once, by the worker of its slot. Who waits is woken by
//! whatever it can be waiting for, and by the end. After the end nothing is taken that nobody waits for: jobs
//! that were given are still done, unless it ended by a failure.
//!
//! **Not here:** what a job is. `tests/hand_over.rs` runs this file with shuttle's locks.

use super::sync::{Condvar, Mutex, MutexGuard};

/// There are no workers any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stopped;

/// What may be done wrong here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Flaws {
    /// One of those that wait is woken, whoever it is.
    pub(super) wakes_one: bool,
    /// A job is left where it was taken from.
    pub(super) leaves_job: bool,
    /// A giver does not look whether a slot is free.
    pub(super) takes_any_slot: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Slot<J> {
    Idle,
    Given(J),
    Busy,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// What was given is still done.
    Closed,
    /// Nothing is done any more.
    Failed,
}

#[derive(Debug)]
struct State<J> {
    slots: Vec<Slot<J>>,
    /// Where the search for a free slot begins.
    next: usize,
    end: Option<End>,
}

/// Workers, and the slots through which they get their jobs.
#[derive(Debug)]
pub(super) struct Crew<J> {
    state: Mutex<State<J>>,
    moved: Condvar,
    flaws: Flaws,
}

impl<J: Clone> Crew<J> {
    /// So many workers.
    pub(super) fn new(workers: usize, flaws: Flaws) -> Self {
        let slots = vec![Slot::Idle; workers];
        let state = Mutex::new(State { slots, next: 0, end: None });
        Crew { state, moved: Condvar::new(), flaws }
    }

    /// Gives a job to the first worker that is free.
    pub(super) fn give(&self, job: J) -> Result<(), Stopped> {
        let mut state = self.state();
        loop {
            if state.end.is_some() || state.slots.is_empty() {
                return Err(Stopped);
            }
            let count = state.slots.len();
            let from = state.next;
            let free = |slot: &usize| {
                self.flaws.takes_any_slot || matches!(state.slots.get(*slot), Some(Slot::Idle))
            };
            let found = (from..from + count).map(|n| n % count).find(free);
            if let Some(found) = found {
                state.next = (found + 1) % count;
                self.put(&mut state, found, Slot::Given(job));
                return Ok(());
            }
            state = self.wait(state);
        }
    }

    /// Gives a job to each worker, and waits until all of them are done with it.
    pub(super) fn give_each(&self, job: &J, to: impl Fn(usize) -> bool) -> Result<(), Stopped> {
        let mut left: Vec<usize> = (0..self.state().slots.len()).filter(|slot| to(*slot)).collect();
        let mut state = self.state();
        while state.end.is_none() {
            let slots = &state.slots;
            let is_idle = |slot: &usize| matches!(slots.get(*slot), Some(Slot::Idle));
            if left.is_empty() && (0..slots.len()).all(|slot| is_idle(&slot)) {
                return Ok(());
            }
            match left.iter().position(is_idle) {
                Some(place) => {
                    let slot = left.swap_remove(place);
                    self.put(&mut state, slot, Slot::Given(job.clone()));
                }
                None => state = self.wait(state),
            }
        }
        Err(Stopped)
    }

    /// The next job of a worker; none at the end.
    pub(super) fn take(&self, worker: usize) -> Option<J> {
        let mut state = self.state();
        loop {
            if state.end == Some(End::Failed) {
                return None;
            }
            if let Some(job) = self.taken(&mut state, worker) {
                return Some(job);
            }
            if state.end.is_some() {
                return None;
            }
            state = self.wait(state);
        }
    }

    fn taken(&self, state: &mut State<J>, worker: usize) -> Option<J> {
        let slot = state.slots.get_mut(worker)?;
        let Slot::Given(job) = slot else { return None };
        if self.flaws.leaves_job {
            return Some(job.clone());
        }
        let Slot::Given(job) = std::mem::replace(slot, Slot::Busy) else { return None };
        Some(job)
    }

    /// A worker is done with its job.
    pub(super) fn done(&self, worker: usize) {
        let mut state = self.state();
        if !self.flaws.leaves_job {
            self.put(&mut state, worker, Slot::Idle);
        }
    }

    /// Nothing more is given.
    pub(super) fn close(&self) {
        self.finish(End::Closed);
    }

    /// Nothing more is done; whether that was so before.
    pub(super) fn fail(&self) -> bool {
        self.finish(End::Failed)
    }

    fn finish(&self, end: End) -> bool {
        let mut state = self.state();
        let before = state.end == Some(End::Failed);
        if !before {
            state.end = Some(end);
        }
        self.moved.notify_all();
        before
    }

    fn put(&self, state: &mut State<J>, at: usize, slot: Slot<J>) {
        if let Some(place) = state.slots.get_mut(at) {
            *place = slot;
        }
        if self.flaws.wakes_one {
            self.moved.notify_one();
        } else {
            self.moved.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<J>>) -> MutexGuard<'a, State<J>> {
        self.moved.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
