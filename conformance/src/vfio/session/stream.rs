//! Data: reading to the end, and writing what is right or wrong.

use std::time::Duration;

use devmig_model::protocol::vfio::event::{Act, Answer, Call, Data};

use super::Session;
use crate::harness::verdict::TestEnd;
use crate::vfio::data::MOST;
use crate::vfio::device::Read;
use crate::vfio::script::What;

/// How much came of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Came {
    /// Data, and there may be more.
    More,
    /// Nothing for now, no more at all, or a refusal.
    Nothing,
}

impl Session<'_> {
    /// One read.
    pub(super) fn read(&mut self, most: u32) -> Result<Came, TestEnd> {
        let runs = self.runs()?;
        let descriptors = self.device.transport().descriptors;
        let rest = if runs { Answer::Nothing } else { Answer::End };
        let said = self.ask(
            Call::Read,
            |device| device.read(most),
            |read| match read {
                Read::Bytes(bytes) if !bytes.is_empty() => Answer::Data(Data::Part(0)),
                Read::Bytes(_) if descriptors => Answer::End,
                Read::Bytes(_) => rest,
                Read::Later => Answer::Nothing,
            },
        )?;
        let Ok(Read::Bytes(bytes)) = said else { return Ok(Came::Nothing) };
        let short = !descriptors && bytes.len() < most as usize;
        if self.saved.len().saturating_add(bytes.len()) > MOST {
            let clause = self.clause("vfio.stop-copy.end")?;
            self.finding_of(clause, format!("more than {MOST} bytes without an end"), Vec::new())?;
        }
        self.saved.extend(&bytes);
        if bytes.is_empty() || short {
            if !bytes.is_empty() {
                // Where there is no descriptor, a read that returns less says that there is no more.
                self.call(Call::Read)?;
                self.see(Act::Answer(rest))?;
            }
            self.whole |= !runs;
            return Ok(Came::Nothing);
        }
        Ok(Came::More)
    }

    /// Reads until there is nothing more for now, or at all. What runs may always have more.
    pub(super) fn drain(&mut self, size: u32) -> Result<(), TestEnd> {
        let runs = self.runs()?;
        let mut rest = if runs { 4096 } else { usize::MAX };
        while rest > 0 && self.read(size)? == Came::More {
            rest = rest.saturating_sub(1);
        }
        Ok(())
    }

    /// Poll of the descriptor, against what a read gives then.
    pub(super) fn poll(&mut self) -> Result<(), TestEnd> {
        let ready = match self.device.poll(Duration::ZERO) {
            Ok(Ok(ready)) => ready,
            // Not every driver has poll on its descriptor.
            Ok(Err(errno)) => {
                return Err(TestEnd::Skip(format!("needs a descriptor that polls ({errno})")));
            }
            Err(trouble) => return self.trouble(trouble),
        };
        let before = self.saved.len();
        self.read(1)?;
        let came = self.saved.len() > before;
        if came && !ready.readable {
            let clause = self.clause("vfio.pre-copy.quiet")?;
            let observed = "poll reports no data, but a read returns data".to_owned();
            return self.finding_of(clause, observed, vec!["readable".into()]);
        }
        Ok(())
    }

    /// What such data is made of.
    fn made(&mut self, what: What) -> Result<Vec<u8>, TestEnd> {
        if what == What::Garbage {
            return Ok(b"no device ever gave this ".repeat(8));
        }
        if what == What::Foreign {
            let foreign = self.place.foreign();
            let foreign = match foreign {
                Ok(foreign) => foreign,
                Err(trouble) => return self.trouble(trouble),
            };
            let why = "needs another device's data (see --foreign)";
            return foreign.ok_or_else(|| TestEnd::Skip(why.into()));
        }
        if !self.whole {
            return Err(TestEnd::Skip("needs data that was read to its end".into()));
        }
        if self.saved.len() < 8 {
            return Err(TestEnd::Skip("needs a device with more than a few bytes of data".into()));
        }
        let mut data = self.saved.clone();
        let middle = data.len() / 2;
        match what {
            What::Truncated(by) => data.truncate(data.len().saturating_sub(by as usize)),
            What::Extended => data.push(0),
            What::Reordered => data.rotate_left(middle),
            What::Corrupted(at) => match data.get_mut(at as usize) {
                Some(byte) => *byte ^= 0x10,
                None => return Err(TestEnd::Skip("needs a device with more data".into())),
            },
            What::Headless => data.iter_mut().take(1).for_each(|byte| *byte ^= 0xff),
            What::Saved | What::Garbage | What::Foreign => {}
        }
        Ok(data)
    }

    /// Writes data in pieces.
    pub(super) fn write(&mut self, what: What, size: u32) -> Result<(), TestEnd> {
        let data = self.made(what)?;
        for piece in data.chunks(size as usize) {
            let mut rest = piece;
            while !rest.is_empty() {
                self.sample()?;
                let said = self.device.write(rest);
                // How much was taken says what the piece was.
                let taken = match &said {
                    Ok(Ok(taken)) => *taken,
                    _ => rest.len(),
                };
                self.call(Call::Write(self.kind(rest.get(..taken).unwrap_or(rest))))?;
                let said = match said {
                    Ok(said) => said,
                    Err(trouble) => return self.trouble(trouble),
                };
                let answer = if said.is_ok() { Answer::Done } else { Answer::Refused };
                self.see(Act::Answer(answer))?;
                if said.is_err() {
                    return Ok(());
                }
                if taken == 0 || taken > rest.len() {
                    let clause = self.clause("vfio.resume.accepts")?;
                    let observed = format!("{taken} bytes of {} were accepted", rest.len());
                    return self.finding_of(clause, observed, vec!["at least one byte".into()]);
                }
                let (done, left) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
                self.written.extend(done);
                rest = left;
            }
        }
        Ok(())
    }

    /// What a piece is, behind what was written before.
    fn kind(&self, piece: &[u8]) -> Data {
        let rest = self.saved.get(self.written.len()..);
        let goes_on = self.whole && self.saved.starts_with(&self.written);
        match rest {
            Some(rest) if goes_on && rest == piece => Data::Last(0),
            Some(rest) if goes_on && rest.starts_with(piece) => Data::Part(0),
            _ => Data::Wrong,
        }
    }
}
