//! The channel through which a back-end's state is saved or loaded.
//!
//! **Invariants.** The bytes are opaque. At most [`MAX_STATE`] of them are kept; every wait has a
//! limit.

use super::*;

/// The most bytes of device state that are kept.
const MAX_STATE: usize = 64 << 20;

impl Session<'_> {
    pub(super) fn open_channel(&mut self, direction: u32) -> Result<OwnedFd, TestEnd> {
        let (reader, writer) =
            pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(harness)?;
        let (ours, theirs) =
            if direction == Transfer::SAVE { (reader, writer) } else { (writer, reader) };
        // The back-end gets a channel that blocks, as a pipe does that nobody prepared.
        rustix::io::ioctl_fionbio(&theirs, false).map_err(harness)?;
        self.channel = Some(ours);
        (self.state_ended, self.transfer_answered) = (false, false);
        if direction == Transfer::SAVE {
            self.state.clear();
        }
        Ok(theirs)
    }

    /// Reads what the state channel has. Whether its end was seen, now or before.
    pub(super) fn read_channel(&mut self) -> Result<bool, TestEnd> {
        let Some(channel) = self.channel.as_ref().filter(|_| !self.state_ended) else {
            return Ok(self.state_ended);
        };
        let mut piece = vec![0; 1 << 16];
        loop {
            match rustix::io::read(channel, &mut piece[..]) {
                Ok(0) => {
                    self.state_ended = true;
                    return Ok(true);
                }
                Ok(n) => self.state.extend_from_slice(&piece[..n]),
                Err(rustix::io::Errno::INTR) => {}
                // Nothing now; or this is the writing end.
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::BADF) => return Ok(false),
                Err(error) => return Err(harness(error)),
            }
            if self.state.len() > MAX_STATE {
                return Err(TestEnd::Harness(format!(
                    "more than {MAX_STATE} bytes of device state"
                )));
            }
        }
    }

    /// The whole state is here. Its bytes are opaque: the model's number is what it says itself.
    pub(super) fn saved(&mut self) -> Result<(), TestEnd> {
        self.log.push(format!("<- {} bytes of device state, and their end", self.state.len()));
        let mut fault = None;
        // What the device remembers cannot be seen, so any number that the model allows will do.
        for value in 0..=u8::MAX {
            match self.possible.observe(&Event::Saved { value }) {
                Ok(()) => {
                    self.keeps.did(&self.machine.table, &Move::ReadState);
                    self.records.push(Record::Seen(Event::Saved { value }));
                    return Ok(());
                }
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        fault.map_or(Ok(()), |fault| self.fault(fault, "the state channel ended".into()))
    }

    pub(super) fn read_state(&mut self) -> Result<(), TestEnd> {
        let deadline = Deadline::after(self.limits.owed);
        while self.channel.is_some() {
            let late = deadline.passed();
            self.sample()?;
            if late {
                let observed = format!("no end of the state within {:?}", self.limits.owed);
                return match self.silent(TimeClass::Io) {
                    Ok(()) => Ok(()),
                    Err(fault) => self.fault(fault, observed),
                };
            }
            self.pause()?;
        }
        Ok(())
    }

    pub(super) fn write_state(&mut self) -> Result<(), TestEnd> {
        let deadline = Deadline::after(self.limits.owed);
        let state = std::mem::take(&mut self.state);
        let mut rest = state.as_slice();
        let Some(channel) = self.channel.take() else {
            return Err(TestEnd::Harness("there is no state channel".into()));
        };
        while !rest.is_empty() {
            match rustix::io::write(&channel, rest) {
                Ok(n) => rest = &rest[n..],
                Err(rustix::io::Errno::AGAIN) if !deadline.passed() => self.pause()?,
                Err(rustix::io::Errno::INTR) => {}
                // A reader that has seen enough says so in its answer to CHECK_DEVICE_STATE.
                Err(rustix::io::Errno::PIPE) => break,
                Err(rustix::io::Errno::AGAIN) => {
                    let (left, all) = (rest.len(), state.len());
                    let waited = self.limits.owed;
                    let observed =
                        format!("{left} of {all} bytes of state were not read in {waited:?}");
                    return self.finding(ClauseId::NONE, &observed);
                }
                Err(error) => return Err(harness(error)),
            }
        }
        drop(channel);
        self.keeps.did(&self.machine.table, &Move::WriteState);
        self.did(&Event::Loaded { value: 0 })
    }
}

/// Less than a channel holds at a time.
pub(super) const LITTLE: usize = 4096;
/// More than that, whatever the kernel gives a pipe.
pub(super) const MUCH: usize = 2 << 20;

/// Bytes that are no state of any device: a fixed function of the seed.
pub(super) fn garbage(seed: u64, length: usize) -> Vec<u8> {
    let mut x = seed | 1;
    let byte = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..length).map(byte).collect()
}
