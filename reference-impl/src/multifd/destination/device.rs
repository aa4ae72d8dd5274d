//! The devices of a destination: buffers come in any order, and are loaded in theirs.
//!
//! ```text
//!   buffer 0, 2, 1 from any channel --> waiting: by index --> load 0, 1, 2 --> the configuration, at the end
//! ```
//!
//! **Invariants.** A device loads its buffers by index, each once, and its configuration after all of them and
//! after the main stream. What waits is bounded.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use devmig_engine::clause::ClauseId;
use devmig_model::protocol::multifd::machine::ClauseIds;
use devmig_model::protocol::multifd::wire::Buffer;

use crate::multifd::{Mutant, Options};

/// A device that takes its state.
pub trait Load: Send {
    /// The next piece of its data.
    ///
    /// # Errors
    /// Why it does not take it.
    fn data(&mut self, data: &[u8]) -> Result<(), String>;

    /// Its configuration, after all data.
    ///
    /// # Errors
    /// Why it does not take it.
    fn config(&mut self, config: &[u8]) -> Result<(), String>;
}

/// Why a buffer is not taken.
pub(super) enum NotTaken {
    /// It breaks a clause.
    Refused(ClauseId, String),
    /// The device does not want it.
    Device(String),
    /// More waits than may.
    Full(usize),
}

struct State<'a> {
    load: &'a mut dyn Load,
    /// The index of the buffer that is loaded next.
    next: u32,
    waiting: BTreeMap<u32, Vec<u8>>,
    queued: usize,
    config: Option<(u32, Vec<u8>)>,
    highest: u32,
}

/// One device.
pub(super) struct Device<'a> {
    pub(super) name: &'a str,
    pub(super) instance: u32,
    state: Mutex<State<'a>>,
}

impl<'a> Device<'a> {
    pub(super) fn new(name: &'a str, instance: u32, load: &'a mut dyn Load) -> Self {
        let (waiting, config) = (BTreeMap::new(), None);
        let state = State { load, next: 0, waiting, queued: 0, config, highest: 0 };
        Device { name, instance, state: Mutex::new(state) }
    }

    /// A buffer has come.
    pub(super) fn take(
        &self,
        buffer: Buffer,
        data: Vec<u8>,
        laws: &ClauseIds,
        options: &Options,
    ) -> Result<(), NotTaken> {
        let mut state = self.state();
        let index = buffer.index;
        let refused = |clause, what: String| Err(NotTaken::Refused(clause, what));
        let has = |mutant| options.mutants.has(mutant);
        let config = state.config.as_ref().map(|(index, _)| *index);
        let came = index < state.next || state.waiting.contains_key(&index);
        if came || config == Some(index) {
            if has(Mutant::AcceptsIndexTwice) {
                return state.load.data(&data).map_err(NotTaken::Device);
            }
            return refused(laws.index_once, format!("index {index} came before"));
        }
        if buffer.is_config() && config.is_some() {
            return refused(laws.config_once, "a second configuration".to_owned());
        }
        let beyond = match config {
            Some(config) => index > config,
            None => buffer.is_config() && index < state.highest,
        };
        if beyond {
            return refused(laws.config_last, format!("index {index} and the configuration's"));
        }
        state.highest = state.highest.max(index);
        if has(Mutant::LoadsAsItCame) && !buffer.is_config() {
            state.next += 1;
            return state.load.data(&data).map_err(NotTaken::Device);
        }
        state.queued += data.len();
        if state.queued > options.queued {
            return Err(NotTaken::Full(options.queued));
        }
        match buffer.is_config() {
            true => state.config = Some((index, data)),
            false => drop(state.waiting.insert(index, data)),
        }
        let State { load, next, waiting, queued, .. } = &mut *state;
        while let Some(data) = waiting.remove(next) {
            *queued -= data.len();
            load.data(&data).map_err(NotTaken::Device)?;
            *next += 1;
        }
        Ok(())
    }

    /// Whether every buffer up to its configuration came.
    pub(super) fn is_whole(&self) -> bool {
        let state = self.state();
        state.config.as_ref().is_some_and(|(index, _)| *index == state.next)
    }

    /// No buffer follows: loads the configuration.
    pub(super) fn finish(&self, laws: &ClauseIds, options: &Options) -> Result<(), NotTaken> {
        let mut state = self.state();
        let State { load, next, config, .. } = &mut *state;
        let missing = || format!("the buffers of \"{}\" end before index {next}", self.name);
        match config {
            Some((index, config)) if index == next || options.mutants.has(Mutant::HoleAccepted) => {
                load.config(config).map_err(NotTaken::Device)
            }
            _ => Err(NotTaken::Refused(laws.whole, missing())),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
