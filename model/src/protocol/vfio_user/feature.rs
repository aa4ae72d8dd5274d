//! What DEVICE_FEATURE carries: migration, device state, and DMA logging.

use serde::Serialize;

use super::WireError;
use super::payload::{Reader, Sizes, Writer};

/// A bit of VFIO_DEVICE_FEATURE_MIGRATION: every device that migrates has it.
pub const MIGRATION_STOP_COPY: u64 = 1;
/// A bit of VFIO_DEVICE_FEATURE_MIGRATION: states without DMA to peers.
pub const MIGRATION_P2P: u64 = 1 << 1;
/// A bit of VFIO_DEVICE_FEATURE_MIGRATION: data flows while the device runs.
pub const MIGRATION_PRE_COPY: u64 = 1 << 2;

/// Features by index, spelled as in the text without `VFIO_DEVICE_FEATURE_`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(non_camel_case_types, missing_docs)] // named as in the text
pub enum Feature {
    MIGRATION = 1,
    MIG_DEVICE_STATE = 2,
    DMA_LOGGING_START = 6,
    DMA_LOGGING_STOP = 7,
    DMA_LOGGING_REPORT = 8,
}

impl Feature {
    /// All that vfio-user has.
    pub const ALL: [Feature; 5] = [
        Feature::MIGRATION,
        Feature::MIG_DEVICE_STATE,
        Feature::DMA_LOGGING_START,
        Feature::DMA_LOGGING_STOP,
        Feature::DMA_LOGGING_REPORT,
    ];

    /// The one with this index.
    #[must_use]
    pub fn find(index: u16) -> Option<Feature> {
        Self::ALL.into_iter().find(|feature| *feature as u16 == index)
    }

    /// Whether it can be got, and whether it can be set.
    #[must_use]
    pub const fn methods(self) -> (bool, bool) {
        match self {
            Feature::MIGRATION | Feature::DMA_LOGGING_REPORT => (true, false),
            Feature::MIG_DEVICE_STATE => (true, true),
            Feature::DMA_LOGGING_START | Feature::DMA_LOGGING_STOP => (false, true),
        }
    }
}

/// Which feature, and what to do with it; undefined bits are kept as they came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct FeatureFlags(pub u32);

impl FeatureFlags {
    /// Get the feature's data.
    pub const GET: u32 = 1 << 16;
    /// Set the feature's data.
    pub const SET: u32 = 1 << 17;
    /// Say whether it can be done.
    pub const PROBE: u32 = 1 << 18;

    /// Get this feature's data.
    #[must_use]
    pub const fn get(feature: Feature) -> Self {
        FeatureFlags(feature as u32 | Self::GET)
    }

    /// Set this feature's data.
    #[must_use]
    pub const fn set(feature: Feature) -> Self {
        FeatureFlags(feature as u32 | Self::SET)
    }

    /// OpenChoice whether this can be done.
    #[must_use]
    pub const fn probe(self) -> Self {
        FeatureFlags(self.0 | Self::PROBE)
    }

    /// The feature's index.
    #[must_use]
    pub const fn index(self) -> u16 {
        self.0 as u16
    }

    /// Whether a bit is set.
    #[must_use]
    pub const fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    /// The bits that the text does not define, in place.
    #[must_use]
    pub const fn undefined(self) -> u32 {
        self.0 & !(0xffff | Self::GET | Self::SET | Self::PROBE)
    }
}

/// VFIO_DEVICE_FEATURE_MIGRATION.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct MigrationFlags(pub u64);

impl MigrationFlags {
    /// The meaning of these bytes.
    ///
    /// # Errors
    /// [`WireError::Size`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader::new("MIGRATION", Sizes::Exactly(8), bytes);
        let flags = from.u64()?;
        from.end(MigrationFlags(flags))
    }

    /// The bytes as sent.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        Writer::default().u64(self.0).0
    }
}

/// VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct DeviceState {
    /// By value in `enum vfio_device_mig_state`.
    pub device_state: u32,
    /// Not used in vfio-user.
    pub data_fd: i32,
}

impl DeviceState {
    /// The meaning of these bytes.
    ///
    /// # Errors
    /// [`WireError::Size`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader::new("MIG_DEVICE_STATE", Sizes::Exactly(8), bytes);
        let (device_state, data_fd) = (from.u32()?, from.u32()?.cast_signed());
        from.end(DeviceState { device_state, data_fd })
    }

    /// The bytes as sent.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        Writer::default().u32(self.device_state).u32(self.data_fd.cast_unsigned()).0
    }
}

/// A stretch of DMA addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Range {
    /// The first.
    pub iova: u64,
    /// Bytes.
    pub length: u64,
}

/// VFIO_DEVICE_FEATURE_DMA_LOGGING_START.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct LoggingStart {
    /// Bytes of a page: asked for, and what was chosen.
    pub page_size: u64,
    /// Nothing.
    pub reserved: u32,
    /// What to log; none for everything.
    pub ranges: Vec<Range>,
}

impl LoggingStart {
    /// The meaning of these bytes.
    ///
    /// # Errors
    /// [`WireError`]: also if there are more or fewer ranges than announced.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "DMA_LOGGING_START";
        let mut from = Reader::new(WHAT, Sizes::Entries(16, 16), bytes);
        let (page_size, count, reserved) = (from.u64()?, from.u32()?, from.u32()?);
        let ranges =
            from.entries(16, |from| Ok(Range { iova: from.u64()?, length: from.u64()? }))?;
        let (announced, carried) = (u64::from(count), ranges.len() as u64);
        match announced == carried {
            true => from.end(LoggingStart { page_size, reserved, ranges }),
            false => Err(WireError::Count { what: WHAT, announced, carried }),
        }
    }

    /// The bytes as sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.ranges.len()).unwrap_or(u32::MAX);
        let to = Writer::default().u64(self.page_size).u32(count).u32(self.reserved);
        self.ranges.iter().fold(to, |to, range| to.u64(range.iova).u64(range.length)).0
    }
}

/// VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT: the bitmap is empty in a request.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct LoggingReport {
    /// The first DMA address.
    pub iova: u64,
    /// Bytes.
    pub length: u64,
    /// Bytes that a bit stands for.
    pub page_size: u64,
    /// A bit for each page, the first in bit 0 of the first word.
    pub bitmap: Vec<u64>,
}

impl LoggingReport {
    /// The meaning of these bytes.
    ///
    /// # Errors
    /// [`WireError::Size`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader::new("DMA_LOGGING_REPORT", Sizes::Entries(24, 8), bytes);
        let (iova, length, page_size) = (from.u64()?, from.u64()?, from.u64()?);
        let bitmap = from.entries(8, Reader::u64)?;
        from.end(LoggingReport { iova, length, page_size, bitmap })
    }

    /// The bytes as sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let to = Writer::default().u64(self.iova).u64(self.length).u64(self.page_size);
        self.bitmap.iter().fold(to, |to, word| to.u64(*word)).0
    }

    /// The first address of every page whose bit is set.
    pub fn pages(&self) -> impl Iterator<Item = u64> + '_ {
        let bits = (0..(self.bitmap.len() as u64).saturating_mul(64)).filter(|bit| {
            let word = self.bitmap.get((bit / 64) as usize);
            word.is_some_and(|word| word >> (bit % 64) & 1 == 1)
        });
        bits.map_while(|bit| self.iova.checked_add(bit.checked_mul(self.page_size)?))
    }
}
