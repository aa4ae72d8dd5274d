//! What has happened to the device before: nothing but mutants asks, which do something right the first
//! time, or alone, and wrong after something else.

use super::{Core, Mutant, State};

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
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
        self.past.loads += u32::from(from == State::RESUMING && to != State::RESUMING);
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
