//! DEVICE_FEATURE: migration, device state, DMA logging; and the data of migration.

use devmig_model::protocol::vfio_user::{
    DeviceState, Feature, FeatureFlags, LoggingReport, LoggingStart, MAX_PAYLOAD, MigData,
    MigrationFlags, Reply,
};
use rustix::io::Errno;

use super::Core;
use crate::migration::{Device, Log, LogError, Read, Refused, log};
use crate::pci::Function;
use crate::vfio_user::settings::{Granularity, ZeroRanges};
use crate::vfio_user::{Mutant, Mutants};

/// How a SET of the device's state begins.
pub(super) const SET_STATE: FeatureFlags = FeatureFlags::set(Feature::MIG_DEVICE_STATE);

/// From this size on, a mutant reports no page.
const HUGE_PAGE: u64 = 0x20_0000;

/// The function as what migrates, with what a faulty one forgets.
pub(super) struct Whole<'a> {
    pub(super) function: &'a mut Function,
    pub(super) mutants: Mutants,
    /// States that were taken over before, and what a save gives in place of the state: for mutants.
    pub(super) loads: u32,
    pub(super) stale: Option<Vec<u8>>,
}

impl Device for Whole<'_> {
    fn identity(&self) -> Vec<u8> {
        self.function.nic().config().identity().into_bytes()
    }

    fn save(&self) -> Vec<u8> {
        self.stale.clone().unwrap_or_else(|| self.function.save())
    }

    fn load(&mut self, image: &[u8]) -> bool {
        if self.mutants.has(Mutant::LoadVoid) && self.loads > 0 {
            return true;
        }
        if self.function.load(image).is_err() {
            return false;
        }
        let fresh = crate::nic::state::State::new(self.function.nic().config());
        if self.mutants.has(Mutant::WaitingLost) {
            self.function.nic_mut().state_mut().waiting.clear();
        }
        if self.mutants.has(Mutant::FilterLost) {
            let state = self.function.nic_mut().state_mut();
            (state.modes, state.table) = (fresh.modes, fresh.table);
        }
        if self.mutants.has(Mutant::TailsLost) {
            self.function.registers_mut().1.iter_mut().for_each(|queue| queue.tail = 0);
        }
        if self.mutants.has(Mutant::CausesLost) {
            let registers = self.function.registers_mut().0;
            (registers.cause, registers.mask) = (0, 0);
        }
        true
    }
}

impl Core {
    pub(super) fn feature(
        &mut self,
        argsz: u32,
        flags: FeatureFlags,
        data: Vec<u8>,
    ) -> Result<Reply, Errno> {
        let (get, set) = (flags.has(FeatureFlags::GET), flags.has(FeatureFlags::SET));
        let probe = flags.has(FeatureFlags::PROBE);
        let both = get && set && !probe && !self.is(Mutant::GetAndSet);
        if flags.undefined() != 0 || !(get || set || probe) || both || argsz < 8 {
            return Err(Errno::INVAL);
        }
        let migrates = self.migration.features() != 0 || self.is(Mutant::FlagsLie);
        let Some(feature) = Feature::find(flags.index()).filter(|_| migrates) else {
            let wrong = self.is(Mutant::UnsupportedInvalid);
            return Err(if wrong { Errno::INVAL } else { Errno::NOTTY });
        };
        let (can_get, can_set) = feature.methods();
        let can = (!get || can_get) && (!set || can_set);
        if !(can || probe && self.is(Mutant::ProbeAlways)) {
            return Err(Errno::INVAL);
        }
        // What is set is answered as it came: that there is room for it is looked at before.
        if set && !probe && (argsz as usize) < 8 + data.len() {
            return Err(Errno::INVAL);
        }
        if probe {
            return Ok(Reply::DeviceFeature(argsz, flags, data));
        }
        let answer = match feature {
            Feature::MIGRATION => MigrationFlags(self.migration.features()).encode(),
            Feature::MIG_DEVICE_STATE if get => {
                let device_state = self.migration.get() as u32;
                DeviceState { device_state, data_fd: -1 }.encode()
            }
            Feature::MIG_DEVICE_STATE => self.set_state(data)?,
            Feature::DMA_LOGGING_START => self.log_start(&data)?,
            Feature::DMA_LOGGING_STOP => {
                // Of a log that was not started nothing is left to stop.
                self.log = None;
                data
            }
            Feature::DMA_LOGGING_REPORT => self.log_report(argsz, &data)?,
        };
        let needed = 8 + answer.len();
        if (argsz as usize) < needed {
            return Err(Errno::INVAL);
        }
        Ok(Reply::DeviceFeature(needed as u32, flags, answer))
    }

    fn set_state(&mut self, data: Vec<u8>) -> Result<Vec<u8>, Errno> {
        let asked = DeviceState::decode(&data).map_err(|_| Errno::INVAL)?;
        if self.takes_no_more() {
            return Err(Errno::INVAL);
        }
        let (loads, stale) = (self.loads(), self.stale());
        let Core { function, mutants, migration, .. } = self;
        let mut whole = Whole { function, mutants: *mutants, loads, stale };
        let from = migration.state();
        migration.set(asked.device_state, &mut whole).map_err(|refused| errno(&refused))?;
        self.state_changed(from);
        if self.is(Mutant::LogEndsWithRun) && !self.migration.state().runs() {
            self.log.iter_mut().for_each(Log::clear);
        }
        Ok(DeviceState { data_fd: -1, ..asked }.encode())
    }

    fn log_start(&mut self, data: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut asked = LoggingStart::decode(data).map_err(|_| Errno::INVAL)?;
        let none = asked.ranges.is_empty() && self.settings.zero_ranges == ZeroRanges::Error;
        if self.log.is_some() || none {
            return Err(Errno::INVAL);
        }
        let overlapping = self.is(Mutant::BadRangesTaken);
        let logged = match &asked.ranges[..] {
            [first, _, ..] if self.is(Mutant::SecondRangeUnlogged) => std::slice::from_ref(first),
            all => all,
        };
        let started = Log::start(asked.page_size, logged, overlapping);
        let number = |error| match self.is(Mutant::RangesInvalid) {
            true => Errno::INVAL,
            false => log_errno(error),
        };
        let (log, page_size) = started.map_err(number)?;
        self.first_page = asked.ranges.first().map_or(0, |range| range.iova);
        self.log = Some(log);
        self.logged = self.memory.ranges();
        self.logging_began();
        asked.page_size = if self.is(Mutant::PageSizeLost) { 0 } else { page_size };
        Ok(asked.encode())
    }

    /// What would not fit is not reported, and not cleared.
    fn log_report(&mut self, argsz: u32, data: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut asked = LoggingReport::decode(data).map_err(|_| Errno::INVAL)?;
        if !asked.bitmap.is_empty() {
            return Err(Errno::INVAL);
        }
        let bits = asked.length.checked_div(asked.page_size).ok_or(Errno::INVAL)?;
        let needed = 32 + 8 * (bits.div_ceil(64) as u128);
        if needed > u128::from(argsz).min(MAX_PAYLOAD as u128) {
            return Err(Errno::INVAL);
        }
        let smallest = match self.settings.granularity {
            Granularity::AnyPower => 1,
            Granularity::AtLeast4k => log::PAGE,
        };
        let (cut, last_unlogged) =
            (self.is(Mutant::LargePagesCut), self.is(Mutant::LastPageUnlogged));
        let shifted = self.is(Mutant::ReportShifted) && asked.iova > self.first_page;
        let (keeps, all) = (self.is(Mutant::ReportKeeps), self.is(Mutant::ClearsTooMuch));
        let (unstarted, outside) = (self.is(Mutant::ReportUnstarted), self.is(Mutant::BitsOutside));
        let first_word = self.is(Mutant::FirstWordOnly);
        let huge = self.is(Mutant::HugePagesEmpty) && asked.page_size >= HUGE_PAGE;
        let mut empty = Log::start(0, &[], true).map_err(log_errno)?.0;
        let log = match &mut self.log {
            Some(log) => log,
            None if unstarted => &mut empty,
            None => return Err(Errno::INVAL),
        };
        let mut request = asked.clone();
        if cut {
            request.page_size = request.page_size.min(log::PAGE);
        }
        asked.bitmap = log.report(&request, smallest, !keeps).map_err(log_errno)?;
        asked.bitmap.truncate(bits.div_ceil(64) as usize);
        if cut && let Some(last) = asked.bitmap.last_mut().filter(|_| bits % 64 > 0) {
            *last &= !(u64::MAX << (bits % 64));
        }
        if shifted && let Some(word) = asked.bitmap.first_mut() {
            *word = (*word << 1) & (u64::MAX >> (64 - bits.clamp(1, 64)));
        }
        if let Some(word) = asked.bitmap.last_mut().filter(|_| last_unlogged && bits > 0) {
            *word &= !(1 << ((bits - 1) % 64));
        }
        let lost = match () {
            () if huge => 0,
            () if first_word => 1,
            () => usize::MAX,
        };
        asked.bitmap.iter_mut().skip(lost).for_each(|word| *word = 0);
        if all {
            log.clear();
        }
        let inside = bits % 64;
        if let Some(last) = asked.bitmap.last_mut().filter(|_| outside && inside > 0) {
            *last |= u64::MAX << inside;
        }
        Ok(asked.encode())
    }

    pub(super) fn data_read(&mut self, asked: MigData) -> Result<Reply, Errno> {
        let most = asked.size as usize;
        if most > self.max_data || (asked.argsz as usize) < MigData::LEN + most {
            return Err(Errno::INVAL);
        }
        let (loads, stale) = (self.loads(), self.stale());
        let Core { function, mutants, migration, .. } = self;
        let whole = Whole { function, mutants: *mutants, loads, stale };
        let data = match migration.read(most, &whole).map_err(|refused| errno(&refused))? {
            Read::Data(data) => data,
            Read::Later | Read::End => Vec::new(),
        };
        let (argsz, size) = ((MigData::LEN + data.len()) as u32, data.len() as u32);
        Ok(Reply::MigDataRead(MigData { argsz, size }, data))
    }

    pub(super) fn data_write(&mut self, asked: MigData, data: &[u8]) -> Result<Reply, Errno> {
        if asked.size as usize != data.len() || data.len() > self.max_data {
            return Err(Errno::INVAL);
        }
        let written = self.migration.write(data).map_err(|refused| errno(&refused));
        if !self.is(Mutant::WriteAlways) {
            written?;
        }
        Ok(Reply::Empty)
    }
}

fn errno(refused: &Refused) -> Errno {
    match refused {
        Refused::TooMuch => Errno::NOSPC,
        Refused::NoWay { .. } | Refused::NoData(_) | Refused::Stream(_) | Refused::Image => {
            Errno::INVAL
        }
    }
}

fn log_errno(error: LogError) -> Errno {
    match error {
        LogError::TooMany => Errno::TOOBIG,
        LogError::Wraps => Errno::OVERFLOW,
        LogError::PageSize | LogError::Ranges | LogError::TooLong => Errno::INVAL,
    }
}
