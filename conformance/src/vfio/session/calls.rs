//! Each call, in the machine's words, and its answer.

use devmig_model::protocol::vfio::event::{Act, Answer, Call, For, Region};
use devmig_model::protocol::vfio::table::Session as Stream;
use devmig_reference::pci::region::{BAR0, CONFIG};
use rustix::io::Errno;

use super::Session;
use super::looked::Access;
use crate::harness::verdict::TestEnd;
use crate::vfio::device::{Device, ErrorNumber, Said};

impl Session<'_> {
    /// Calls, and has the answer judged.
    pub(super) fn ask<T>(
        &mut self,
        call: Call,
        ask: impl FnOnce(&mut dyn Device) -> Said<T>,
        answer: impl FnOnce(&T) -> Answer,
    ) -> Result<Result<T, ErrorNumber>, TestEnd> {
        self.sample()?;
        self.call(call)?;
        let said = ask(self.device);
        let said = match said {
            Ok(said) => said,
            Err(trouble) => return self.trouble(trouble),
        };
        // What was seen until the answer came may have been before it.
        self.sample()?;
        self.see(Act::Answer(match &said {
            Ok(value) => answer(value),
            Err(_) => Answer::Refused,
        }))?;
        Ok(said)
    }

    pub(super) fn set(&mut self, state: u32) -> Result<bool, TestEnd> {
        let to = u8::try_from(state).unwrap_or(u8::MAX);
        let before = self.stream()?;
        let done = self.ask(
            Call::Set(to),
            |device| device.set(state),
            |descriptor| if *descriptor { Answer::DoneWithDescriptor } else { Answer::Done },
        )?;
        let Ok(descriptor) = done else {
            self.at = None;
            return Ok(false);
        };
        let after = self.library.vfio().table.state(to).map(|state| state.session);
        if descriptor || before != after {
            // What was read is not forgotten by beginning to write it.
            if after == Some(Stream::Saving) {
                self.saved.clear();
                self.whole = false;
            }
            self.written.clear();
        }
        self.at = Some(to);
        Ok(true)
    }

    /// The stream that is open, if every reading says so.
    fn stream(&mut self) -> Result<Option<Stream>, TestEnd> {
        let machine = self.conversation.machine();
        let here = |at: u8| machine.table.state(at).map(|state| state.session);
        for stream in [Stream::None, Stream::Saving, Stream::Resuming] {
            if self.conversation.every(|state, _| Ok(here(state.at) == Some(stream)))? {
                return Ok(Some(stream));
            }
        }
        Ok(None)
    }

    pub(super) fn get(&mut self) -> Result<Option<u8>, TestEnd> {
        let number = |state: u32| u8::try_from(state).unwrap_or(u8::MAX);
        let said =
            self.ask(Call::Get, |device| device.get(), |(state, _)| Answer::State(number(*state)))?;
        let Ok((state, descriptor)) = said else {
            let clause = self.clause("vfio.get.state")?;
            let expected = vec!["the state".to_owned()];
            self.finding_of(clause, "GET of the state is refused".into(), expected)?;
            return Ok(None);
        };
        if descriptor {
            let clause = self.clause("vfio.get.state")?;
            let expected = vec!["the state, and no descriptor".to_owned()];
            self.finding_of(clause, "a descriptor was returned with the state".into(), expected)?;
        }
        self.at = Some(number(state));
        if let Some(before) = self.left_in.take() {
            self.anew |= self.at != Some(before);
        }
        Ok(self.at)
    }

    pub(super) fn info(&mut self) -> Result<(), TestEnd> {
        let argsz = self.device.left_argsz();
        let _ = self.ask(
            Call::Info,
            |device| device.left(argsz),
            |left| Answer::Info(left.initial, left.dirty, left.reinit),
        )?;
        Ok(())
    }

    /// The same with too little room.
    pub(super) fn short_info(&mut self) -> Result<(), TestEnd> {
        let argsz = self.device.left_argsz().saturating_sub(1);
        match self.device.left(argsz) {
            Ok(Err(number)) if number == Errno::INVAL || !number.is_given() => Ok(()),
            Ok(other) => {
                let clause = self.clause("vfio.feature.arguments")?;
                let observed = format!("GET_PRECOPY_INFO with an argsz of {argsz}: {other:?}");
                self.finding_of(clause, observed, vec!["EINVAL".into()])
            }
            Err(trouble) => self.trouble(trouble),
        }
    }

    pub(super) fn opt_in(&mut self) -> Result<(), TestEnd> {
        self.ask(Call::OptIn, |device| device.opt_in(), |()| Answer::Done).map(|_| ())
    }

    pub(super) fn config(&mut self) -> Result<(), TestEnd> {
        self.region(CONFIG, 0, 64).map(|_| ())
    }

    pub(super) fn registers(&mut self) -> Result<Option<Vec<u8>>, TestEnd> {
        self.region(BAR0, 0, 4)
    }

    /// Reads part of a region that the device says it has; none if that is refused.
    pub(super) fn region(
        &mut self,
        region: u32,
        offset: u64,
        length: u32,
    ) -> Result<Option<Vec<u8>>, TestEnd> {
        self.may_access(region, Access::Read, offset, length.into())?;
        let kind = if region == CONFIG { Region::Config } else { Region::Registers };
        let read = |device: &mut dyn Device| device.region_read(region, offset, length);
        Ok(self.ask(Call::Access(kind), read, |_| Answer::Done)?.ok())
    }

    /// Writes a register of four bytes; whether that was taken.
    pub(super) fn write_region(
        &mut self,
        region: u32,
        offset: u64,
        bytes: &[u8],
    ) -> Result<bool, TestEnd> {
        self.may_access(region, Access::Write, offset, bytes.len() as u64)?;
        let kind = if region == CONFIG { Region::Config } else { Region::Registers };
        let write = |device: &mut dyn Device| device.region_write(region, offset, bytes);
        Ok(self.ask(Call::Access(kind), write, |()| Answer::Done)?.is_ok())
    }

    pub(super) fn reset(&mut self, whom: For) -> Result<(), TestEnd> {
        self.may_reset()?;
        let _ = self.ask(Call::Reset(whom), |device| device.reset(), |()| Answer::Done)?;
        self.at = None;
        Ok(())
    }

    pub(super) fn reopen(&mut self) -> Result<(), TestEnd> {
        let _ = self.ask(Call::Reopen, |device| device.reopen().map(Ok), |()| Answer::Done)?;
        self.left_in = self.at.take();
        self.interrupts = None;
        self.guest.taken_back();
        Ok(())
    }

    /// The same bytes by accesses of every width that PCI has.
    pub(super) fn widths(&mut self) -> Result<(), TestEnd> {
        let Some(whole) = self.region(CONFIG, 0, 4)? else { return Ok(()) };
        for width in [2, 1] {
            let mut parts = Vec::new();
            for offset in (0..4).step_by(width) {
                let part = self.region(CONFIG, offset, width as u32)?;
                parts.extend(part.unwrap_or_default());
            }
            if parts != whole {
                let clause = self.clause("vfio-user.region-read.data")?;
                let observed = format!(
                    "accesses of {width} bytes to configuration space read {parts:02x?} at 0"
                );
                let expected = vec![format!("{whole:02x?}, as one access of 4 bytes reads")];
                return self.finding_of(clause, observed, expected);
            }
        }
        Ok(())
    }

    /// What registers show: configuration space, and of a device that the tester knows, BAR 0.
    fn shown(&mut self) -> Result<Vec<u8>, TestEnd> {
        let length = self.region_info(CONFIG)?.size.min(256) as u32;
        let mut all = self.region(CONFIG, 0, length)?.unwrap_or_default();
        if self.is_nic()? {
            all.extend(self.region(BAR0, 0, 0x200)?.unwrap_or_default());
        }
        Ok(all)
    }

    pub(super) fn look(&mut self) -> Result<(), TestEnd> {
        self.looked = self.shown()?;
        Ok(())
    }

    /// What registers show is what they showed, so the state was taken over.
    pub(super) fn same(&mut self) -> Result<(), TestEnd> {
        if self.anew {
            return Err(TestEnd::Skip("needs a device that is not reset for a new client".into()));
        }
        let shown = self.shown()?;
        let Some(at) = differs(&self.looked, &shown) else { return Ok(()) };
        let clause = self.clause("vfio.resume.restores")?;
        let expected = vec![format!("the value when it was saved: {}", byte(&self.looked, at))];
        self.finding_of(
            clause,
            format!("byte {at:#x} of the registers is {}", byte(&shown, at)),
            expected,
        )
    }

    /// What registers show does not change while they are looked at.
    pub(super) fn still(&mut self) -> Result<(), TestEnd> {
        let before = self.shown()?;
        let after = self.shown()?;
        match differs(&before, &after) {
            Some(_) => self.see(Act::Works),
            None => Ok(()),
        }
    }

    /// Whether the device is where it works.
    pub(super) fn runs(&mut self) -> Result<bool, TestEnd> {
        let machine = self.conversation.machine();
        let runs = |at: u8| machine.table.state(at).is_some_and(|state| state.runs);
        self.conversation.every(|state, _| Ok(runs(state.at)))
    }
}

fn differs(one: &[u8], other: &[u8]) -> Option<usize> {
    let at = one.iter().zip(other).position(|(a, b)| a != b);
    at.or((one.len() != other.len()).then(|| one.len().min(other.len())))
}

fn byte(bytes: &[u8], at: usize) -> String {
    bytes.get(at).map_or("not there".into(), |byte| format!("{byte:#04x}"))
}
