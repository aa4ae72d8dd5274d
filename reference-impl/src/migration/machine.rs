//! A device's migration state, and what each arc does.
//!
//! ```text
//!   RUNNING --> PRE_COPY            a session begins: the whole image is initial data
//!   PRE_COPY --> ... --> STOP_COPY  the image is final: what changed is told, and the end
//!   STOP --> STOP_COPY              both at once
//!   out of the saving states        the session ends
//!   STOP --> RESUMING               a session begins, empty
//!   RESUMING --> STOP               what was written is validated, and taken over as a whole
//! ```

use super::state::{Flow, State};
use super::stream::{self, StreamError, Writer};
use crate::vfio_user::settings::{BadData, Reset, Settings};
use crate::vfio_user::{Mutant, Mutants};

/// The most bytes that are kept of what is written in RESUMING.
pub const MAX_STREAM: usize = 1 << 24;

/// What migrates.
pub trait Device {
    /// Whose state it is: a model and its configuration.
    fn identity(&self) -> Vec<u8>;

    /// Its state now.
    fn save(&self) -> Vec<u8>;

    /// Takes over a state, as a whole. `false` if it is none of this device's; nothing has changed then.
    fn load(&mut self, image: &[u8]) -> bool;
}

/// Why something is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// No such state, or none of this device's, or no way leads there.
    #[error("no way leads from {from} to state {to}")]
    NoWay {
        /// Where the device is.
        from: State,
        /// The value asked for.
        to: u32,
    },
    /// Data cannot be read or written, or told of, in this state.
    #[error("there is no such data in {0}")]
    NoData(State),
    /// More than [`MAX_STREAM`] bytes were written.
    #[error("more than {MAX_STREAM} bytes of data")]
    TooMuch,
    /// What was written is not taken.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// It is a stream, and what it tells of is no state of this device's.
    #[error("the state makes no sense")]
    Image,
}

/// What a read gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read {
    /// Data, at least a byte.
    Data(Vec<u8>),
    /// None now; there may be some later.
    Later,
    /// No more.
    End,
}

/// What is left to be read in PRE_COPY.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PreCopyInfo {
    /// Bytes of what the session began with, or began anew with.
    pub initial_bytes: u64,
    /// Bytes that came up since.
    pub dirty_bytes: u64,
    /// The device's state has been made up anew: `initial_bytes` begins again. Told once.
    pub reinit: bool,
}

#[derive(Clone, Debug)]
enum Session {
    None,
    Saving {
        stream: Writer,
        /// How much of what is left is initial.
        initial: usize,
        reinit: bool,
        ended: bool,
    },
    Resuming(Vec<u8>),
}

/// The migration of one device.
#[derive(Clone, Debug)]
pub struct Migration {
    features: u64,
    settings: Settings,
    mutants: Mutants,
    state: State,
    before: State,
    session: Session,
    /// Whether the client wants to be told of REINIT.
    reinit: bool,
}

impl Migration {
    /// Of a device with these features, running.
    #[must_use]
    pub fn new(features: u64, settings: Settings, mutants: impl Into<Mutants>) -> Self {
        let (state, session) = (State::RUNNING, Session::None);
        let mutants = mutants.into();
        Migration { features, settings, mutants, state, before: state, session, reinit: false }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutants.has(mutant)
    }

    /// Its features.
    #[must_use]
    pub fn features(&self) -> u64 {
        match self.is(Mutant::FlagsLie) {
            true => self.features & !super::state::STOP_COPY,
            false => self.features,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Where it is said to be.
    #[must_use]
    pub fn get(&self) -> State {
        if self.is(Mutant::GetStale) { self.before } else { self.state }
    }

    /// The client wants to be told when initial data begins anew (PRECOPY_INFOv2).
    pub fn opt_in(&mut self) {
        self.reinit = true;
    }

    /// The states that a SET leads through; empty if it is there already.
    ///
    /// # Errors
    /// [`Refused::NoWay`].
    pub fn way_to(&self, value: u32) -> Result<Vec<State>, Refused> {
        let refused = Refused::NoWay { from: self.state, to: value };
        let to = State::find(value).ok_or(refused.clone())?;
        let by = |states: &[State]| {
            states.iter().try_fold((self.state, Vec::new()), |(from, mut way), to| {
                way.extend(from.way_to(*to, self.features)?);
                Some((*to, way))
            })
        };
        match (self.state, to) {
            (_, State::ERROR) if self.is(Mutant::SetToError) => return Ok(vec![State::ERROR]),
            (State::ERROR, to) if self.is(Mutant::ErrorLeft) && to.is_in(self.features) => {
                return Ok(vec![to]);
            }
            (State::STOP_COPY, State::PRE_COPY) if self.is(Mutant::BlockedAllowed) => {
                return by(&[State::STOP, to]).map(|(_, way)| way).ok_or(refused);
            }
            (_, to) if self.is(Mutant::UnsupportedAccepted) && !to.is_in(self.features) => {
                return Ok(Vec::new());
            }
            _ => {}
        }
        let mut way = self.state.way_to(to, self.features).ok_or(refused)?;
        if self.is(Mutant::StopEarly) {
            way.pop();
        }
        Ok(way)
    }

    /// Goes there, arc by arc. Nothing may be under way in the device.
    ///
    /// # Errors
    /// See [`Refused`]. The device is then where it was, or on the way; or in ERROR, if that is how bad
    /// data is answered.
    pub fn set(&mut self, value: u32, device: &mut impl Device) -> Result<(), Refused> {
        let before = self.state;
        for to in self.way_to(value)? {
            if let Err(refused) = self.arc(to, device) {
                if self.is(Mutant::FailureRuns) {
                    (self.state, self.session) = (State::RUNNING, Session::None);
                } else if self.settings.bad_data == BadData::Error {
                    (self.state, self.session) = (State::ERROR, Session::None);
                }
                return Err(refused);
            }
            self.state = to;
        }
        self.before = before;
        Ok(())
    }

    fn arc(&mut self, to: State, device: &mut impl Device) -> Result<(), Refused> {
        let (from, into) = (self.state.flow(), to.flow());
        if from == Flow::Resuming && into != Flow::Resuming {
            self.take_over(device)?;
        }
        if from != into {
            let lingers = self.is(Mutant::SessionLingers) && into == Flow::None;
            self.session = match into {
                Flow::None if lingers => std::mem::replace(&mut self.session, Session::None),
                Flow::None => Session::None,
                Flow::Saving => Self::saving(device),
                Flow::Resuming => Session::Resuming(Vec::new()),
            };
        }
        if to == State::STOP_COPY {
            if self.is(Mutant::SessionRestarts) {
                self.session = Self::saving(device);
            }
            let lost = self.is(Mutant::LastRoundLost) && self.state != State::STOP;
            if let Session::Saving { stream, ended, .. } = &mut self.session {
                if !lost {
                    stream.update(device.save());
                }
                stream.end();
                *ended = true;
            }
        }
        Ok(())
    }

    fn saving(device: &impl Device) -> Session {
        let stream = Writer::new(&device.identity(), device.save());
        Session::Saving { initial: stream.left(), stream, reinit: false, ended: false }
    }

    fn take_over(&self, device: &mut impl Device) -> Result<(), Refused> {
        let Session::Resuming(bytes) = &self.session else { return Ok(()) };
        match stream::read(bytes, &device.identity(), self.mutants) {
            Err(StreamError::Identity { .. }) if self.is(Mutant::ForeignTaken) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) if self.is(Mutant::ResumeForgets) => Ok(()),
            Ok(image) if device.load(&image) => Ok(()),
            // Its end was never looked at, so that anything may be missing.
            Ok(_) if self.is(Mutant::TruncatedTaken) => Ok(()),
            Ok(_) => Err(Refused::Image),
        }
    }

    /// Brings the stream up to date with a device that runs.
    fn refresh(&mut self, device: &impl Device) {
        if let Session::Saving { stream, initial, reinit, ended: false } = &mut self.session {
            let image = device.save();
            let other = stream.is_other(&image);
            stream.update(image);
            if other && self.reinit {
                (*initial, *reinit) = (stream.left(), true);
            }
        }
    }

    /// What is left to be read.
    ///
    /// # Errors
    /// [`Refused::NoData`] but in PRE_COPY and PRE_COPY_P2P.
    pub fn pre_copy_info(&mut self, device: &impl Device) -> Result<PreCopyInfo, Refused> {
        let running = self.state.flow() == Flow::Saving && self.state.runs();
        if !running && !self.is(Mutant::InfoAlways) {
            return Err(Refused::NoData(self.state));
        }
        if self.reinit {
            self.refresh(device);
        }
        let (empty, rises) = (self.is(Mutant::InitialEmpty), self.is(Mutant::InitialRises));
        let (all, unasked) = (self.is(Mutant::DirtyFromStart), self.is(Mutant::ReinitUnasked));
        let Session::Saving { stream, initial, reinit, .. } = &mut self.session else {
            return Ok(PreCopyInfo::default());
        };
        let left = stream.left() + stream.cost(&device.save());
        let first = match () {
            () if empty => 0,
            () if rises => left,
            () => *initial,
        };
        Ok(PreCopyInfo {
            initial_bytes: first as u64,
            dirty_bytes: if all { left } else { left.saturating_sub(first) } as u64,
            reinit: std::mem::take(reinit) || unasked,
        })
    }

    /// Reads at most so many bytes of data.
    ///
    /// # Errors
    /// [`Refused::NoData`] outside of the saving states.
    pub fn read(&mut self, most: usize, device: &impl Device) -> Result<Read, Refused> {
        let lingers = self.is(Mutant::SessionLingers);
        let always = self.is(Mutant::DataAlways) && self.state == State::RUNNING;
        if self.state.flow() != Flow::Saving {
            match &self.session {
                Session::Saving { .. } if lingers => {}
                _ if always => {
                    return Ok(Read::Data(device.save().into_iter().take(most).collect()));
                }
                _ => return Err(Refused::NoData(self.state)),
            }
        }
        let withholds = self.is(Mutant::PreCopyWithholds) && self.state.runs();
        let more = matches!(&self.session, Session::Saving { stream, .. } if stream.left() < most);
        if more {
            self.refresh(device);
        }
        let half = if self.is(Mutant::ShortReads) { most.div_ceil(2) } else { most };
        let Session::Saving { stream, initial, ended, .. } = &mut self.session else {
            return Err(Refused::NoData(self.state));
        };
        let ended = *ended;
        if withholds {
            return Ok(Read::Later);
        }
        if stream.left() == 0 && ended {
            if self.is(Mutant::EndRepeats) {
                self.session = Self::saving(device);
            } else if self.is(Mutant::FallsToStop) {
                (self.state, self.session) = (State::STOP, Session::None);
            }
            return Ok(Read::End);
        }
        let bytes = stream.read(half);
        *initial = initial.saturating_sub(bytes.len());
        Ok(if bytes.is_empty() { Read::Later } else { Read::Data(bytes) })
    }

    /// Writes data.
    ///
    /// # Errors
    /// [`Refused::NoData`] outside of RESUMING, [`Refused::TooMuch`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let cut = self.is(Mutant::LongWritesCut);
        match &mut self.session {
            Session::Resuming(data) if self.state == State::RESUMING => {
                if data.len() + bytes.len() > MAX_STREAM {
                    return Err(Refused::TooMuch);
                }
                data.extend(bytes.iter().take(if cut { 512 } else { usize::MAX }));
                Ok(())
            }
            _ => Err(Refused::NoData(self.state)),
        }
    }

    /// The device was reset.
    pub fn reset(&mut self) {
        let keeps = self.settings.reset == Reset::Keeps;
        let stays = match self.state {
            State::ERROR => self.is(Mutant::ResetKeepsError),
            State::RESUMING if self.is(Mutant::ResetKeepsSession) => true,
            _ => keeps,
        };
        if stays {
            return;
        }
        (self.state, self.session) = (State::RUNNING, Session::None);
        self.before = self.state;
    }
}
