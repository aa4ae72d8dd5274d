//! What has happened to the device before: nothing but mutants asks, which do something right the first
//! time, or alone, and wrong after something else.

use super::{Core, Mutant, State};

/// What has happened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Past {
    /// Logs that were started.
    logs: u32,
    /// Clients that have gone.
    clients: u32,
    /// States that were taken over.
    loads: u32,
    /// Writes are logged no more.
    unlogged: bool,
    /// Nothing works any more.
    deaf: bool,
    /// Interrupts that were raised.
    interrupts: u32,
    /// No interrupt is raised any more.
    mute: bool,
    /// Times that it was stopped.
    stops: u32,
    /// What the first save gave.
    image: Option<Vec<u8>>,
}

impl Core {
    /// A log is started.
    pub(super) fn logging_began(&mut self) {
        let past = &mut self.past;
        let (again, other) =
            (self.mutants.has(Mutant::LogOnce), self.mutants.has(Mutant::LogOfFirst));
        past.unlogged = again && past.logs > 0 || other && past.clients > 0;
        past.logs += 1;
    }

    /// A client has gone.
    pub(super) fn client_went(&mut self) {
        self.past.clients += 1;
    }

    /// The migration state was another before.
    pub(super) fn state_changed(&mut self, from: State) {
        let to = self.migration.state();
        let loaded = from == State::RESUMING && to != State::RESUMING;
        let stopped = to == State::STOP && from.runs();
        self.past.stops += u32::from(stopped);
        self.past.mute |= self.is(Mutant::InterruptsLostByStop) && stopped
            || self.is(Mutant::InterruptsLostByLoad) && loaded;
        if self.is(Mutant::SaveStale) && from == State::STOP_COPY && to != State::STOP_COPY {
            let image = self.function.save();
            self.past.image.get_or_insert(image);
        }
        self.past.loads += u32::from(loaded);
        self.past.unlogged |= self.is(Mutant::SaveEndsLog) && from == State::STOP_COPY;
    }

    /// Whether a state is not taken over, since another was.
    pub(super) fn takes_no_more(&self) -> bool {
        let resuming = self.migration.state() == State::RESUMING;
        self.is(Mutant::LoadOnce) && resuming && self.past.loads > 0
    }

    /// The device is reset.
    pub(super) fn was_reset(&mut self) {
        self.past.deaf |= self.is(Mutant::DeafAfterReset) && self.past.loads > 0;
        self.past.mute |= self.is(Mutant::InterruptsLostByReset);
    }

    /// Whether it works although it was stopped.
    pub(super) fn runs_on(&self) -> bool {
        let stopped = self.migration.state() == State::STOP;
        self.is(Mutant::SecondStopRuns) && stopped && self.past.stops > 1
    }

    /// Whether an interrupt is raised that should be.
    pub(super) fn signals(&mut self) -> bool {
        let again = self.is(Mutant::InterruptsOnce) && self.past.interrupts > 0;
        self.past.interrupts = self.past.interrupts.saturating_add(1);
        !again && !self.past.mute
    }

    /// Whether a later client is told something else.
    pub(super) fn is_of_later_client(&self) -> bool {
        self.past.clients > 0
    }

    /// States that were taken over.
    pub(super) fn loads(&self) -> u32 {
        self.past.loads
    }

    /// What a save gives in place of the state.
    pub(super) fn stale(&self) -> Option<Vec<u8>> {
        self.past.image.clone()
    }

    /// Whether writes are not logged although they should be.
    pub(super) fn logs_no_more(&self) -> bool {
        self.past.unlogged
    }

    /// Whether the device does not work although it should.
    pub(super) fn is_deaf(&self) -> bool {
        self.past.deaf
    }
}
