//! Where the channels wait at the end of an epoch until the main stream has its mark, and the main stream
//! until all of them are there.
//!
//! ```text
//!   channel   SYNC --> arrive --waits-->                 --> goes on
//!   main                                  mark --> pass
//! ```
//!
//! **Invariants.** A channel that has read a SYNC reads nothing more before the mark. A mark is passed once
//! every channel has arrived, so what was sent before it is loaded. A channel that ends without a SYNC, a failure and the time
//! limit end every wait.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why nobody passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoPass {
    /// This channel has ended without a SYNC.
    Ended(usize),
    /// This channel has sent none in time.
    Late(usize),
    /// Another part has failed.
    Failed,
}

#[derive(Debug, Default)]
struct State {
    arrived: Vec<bool>,
    ended: Vec<bool>,
    /// How many marks were passed.
    passed: u64,
    failed: bool,
    /// No mark follows.
    last: bool,
}

/// The meeting point of the channels and the main stream.
#[derive(Debug)]
pub(super) struct Barrier {
    state: Mutex<State>,
    moved: Condvar,
    limit: Duration,
    /// How many channels a mark waits for.
    wanted: usize,
}

impl Barrier {
    /// For so many channels, of which a mark waits for the first `wanted`.
    pub(super) fn new(channels: usize, wanted: usize, limit: Duration) -> Self {
        let none = || vec![false; channels];
        let state = State { arrived: none(), ended: none(), ..State::default() };
        Barrier { state: Mutex::new(state), moved: Condvar::new(), limit, wanted }
    }

    /// A channel has read a SYNC: waits for the mark. False if there will be none.
    pub(super) fn arrive(&self, channel: usize) -> bool {
        let mut state = self.state();
        if let Some(arrived) = state.arrived.get_mut(channel) {
            *arrived = true;
        }
        let before = state.passed;
        self.moved.notify_all();
        if self.wanted < state.arrived.len() {
            return true;
        }
        // The main thread has a limit of its own, and ends this wait.
        let waits = |state: &mut State| state.passed == before && !state.failed && !state.last;
        let state = self.moved.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        state.passed != before
    }

    /// A channel ends.
    pub(super) fn leave(&self, channel: usize) {
        if let Some(ended) = self.state().ended.get_mut(channel) {
            *ended = true;
        }
        self.moved.notify_all();
    }

    /// The main stream has a mark: waits for every channel, and lets them go on.
    pub(super) fn pass(&self) -> Result<(), NoPass> {
        let (deadline, mut state) = (Instant::now() + self.limit, self.state());
        loop {
            if state.failed {
                return Err(NoPass::Failed);
            }
            let missing = state.arrived.iter().take(self.wanted).position(|arrived| !arrived);
            let Some(missing) = missing else { break };
            if state.ended.get(missing) == Some(&true) {
                return Err(NoPass::Ended(missing));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NoPass::Late(missing));
            }
            let waited = self.moved.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.arrived.fill(false);
        state.passed += 1;
        self.moved.notify_all();
        Ok(())
    }

    /// Nothing more is waited for: no mark follows.
    pub(super) fn finish(&self) {
        self.state().last = true;
        self.moved.notify_all();
    }

    /// Everybody gives up; whether that was so before.
    pub(super) fn fail(&self) -> bool {
        let before = std::mem::replace(&mut self.state().failed, true);
        self.moved.notify_all();
        before
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
