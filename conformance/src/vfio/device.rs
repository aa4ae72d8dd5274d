//! A device under test, whatever it is reached by: what the suite asks of every transport.
//!
//! ```text
//!   session --set, get, read, write, ...--> Device --+
//!           <--answer, errno, HarnessError-----         +-- user.rs     vfio-user, over a socket or in this process
//!                                                    +-- kernel/     ioctls
//! ```
//!
//! The words are those of [`devmig_model::protocol::vfio::event`]; numbers are passed as they are, also such as
//! no text knows. An answer has two levels: what the device says (an answer, or the number by which it
//! refuses), and [`HarnessError`], after which there is nothing to be judged by numbers.
//!
//! **Invariants.** Every call ends within the transport's limit. A transport judges nothing: what
//! comes back is what came.

use std::os::fd::BorrowedFd;
use std::process::ExitStatus;
use std::time::Duration;

pub use devmig_reference::vfio_user::client::ErrorNumber;

use crate::harness::io::process::{Remains, words};

/// What a device says: an answer, or the number by which it refuses.
pub type Said<T> = Result<Result<T, ErrorNumber>, HarnessError>;

/// Why a call has neither answer nor number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HarnessError {
    /// This transport, or this device over it, has no way to ask for that: a test that needs it is
    /// skipped.
    Lacks(&'static str),
    /// Something came that is no answer to what was asked.
    Wrong(String),
    /// A reply does not have the form of one.
    Malformed {
        /// The clause that it breaks.
        clause: &'static str,
        /// What came.
        said: String,
    },
    /// The other side has gone.
    Gone(String),
    /// The other side was never there.
    Unreached {
        /// Why.
        why: String,
        /// How its process ended before it listened, if it did.
        ended: Option<ExitStatus>,
        /// Opening it once more does not help.
        for_good: bool,
    },
    /// No answer within the limit.
    Silent(String),
    /// The harness cannot do its part.
    Harness(String),
}

impl HarnessError {
    /// The same error, with how the process ended and what it printed last. For errors that end the
    /// conversation.
    #[must_use]
    pub fn with_remains(self, remains: &Remains) -> Self {
        let ended = remains.ended.map(|status| format!("; the process ended: {}", words(status)));
        let printed: String = remains.output.iter().map(|line| format!("\n    {line}")).collect();
        let with = |said| format!("{said}{}{printed}", ended.unwrap_or_default());
        match self {
            HarnessError::Wrong(said)
            | HarnessError::Malformed { said, .. }
            | HarnessError::Silent(said)
                if remains.crash().is_some() =>
            {
                HarnessError::Gone(with(said))
            }
            HarnessError::Gone(said) => HarnessError::Gone(with(said)),
            HarnessError::Wrong(said) => HarnessError::Wrong(with(said)),
            HarnessError::Malformed { clause, said } => {
                HarnessError::Malformed { clause, said: with(said) }
            }
            HarnessError::Silent(said) => HarnessError::Silent(with(said)),
            other => other,
        }
    }

    /// What is said of it.
    #[must_use]
    pub fn said(self) -> String {
        match self {
            HarnessError::Lacks(what) => what.to_owned(),
            HarnessError::Wrong(said)
            | HarnessError::Malformed { said, .. }
            | HarnessError::Gone(said)
            | HarnessError::Silent(said)
            | HarnessError::Harness(said)
            | HarnessError::Unreached { why: said, .. } => said,
        }
    }
}

/// Something of a reply that breaks a clause and is passed over: the reply is taken for what it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deviation {
    /// The clause.
    pub clause: &'static str,
    /// What came.
    pub observed: String,
    /// What should have come.
    pub expected: &'static str,
}

/// What is the same for all devices of a transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transport {
    /// As reports name it: `in-process`, `vfio-user`, `kernel`.
    pub name: &'static str,
    /// A session's data passes through a descriptor, which a SET returns. Where there is none, a read
    /// that returns less than was asked for says that there is no more.
    pub descriptors: bool,
    /// The P2P flag means what it means in VFIO, unless a choice says otherwise.
    pub p2p: bool,
    /// START without a range is an error, as the core of the kernel has it, unless a choice says
    /// otherwise.
    pub kernel: bool,
}

/// What a read gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read {
    /// These bytes, perhaps fewer than asked for; none is the end where there are descriptors.
    Bytes(Vec<u8>),
    /// ENOMSG: none for now.
    Later,
}

/// What is left to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Left {
    /// Bytes of what the session began with.
    pub initial: u64,
    /// Bytes that came up since.
    pub dirty: u64,
    /// The former began anew (REINIT).
    pub reinit: bool,
}

/// What poll says of a data descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ready {
    /// A read would not wait.
    pub readable: bool,
    /// It gives nothing more: an error, or the other end is closed.
    pub error: bool,
}

/// A range of addresses of the device's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// The first.
    pub iova: u64,
    /// How many bytes.
    pub length: u64,
}

/// The clause about the number of an error.
pub const ERROR_NUMBER: &str = "vfio-user.reply.error-number";

/// A command that was sent: which, and how the device described itself, nothing for what may change, or
/// with which number it refused.
pub type Described = (String, Result<String, ErrorNumber>);
/// The command of [`Described`] that maps a region, which is unmapped again.
pub const MAPPED: &str = "DMA_MAP";

/// What DEVICE_GET_INFO says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceInfo {
    /// The device supports RESET.
    pub resets: bool,
    /// It is a PCI device, so that its regions and interrupts are numbered as VFIO numbers those.
    pub is_pci: bool,
}

/// What DEVICE_GET_REGION_INFO says of a region.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RegionInfo {
    /// Its length in bytes.
    pub size: u64,
    /// The client may read it.
    pub is_readable: bool,
    /// The client may write it.
    pub is_writable: bool,
}

/// What DEVICE_GET_IRQ_INFO says of a type of interrupts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IrqInfo {
    /// How many there are of it.
    pub count: u32,
    /// They are signalled through event descriptors.
    pub is_signalled: bool,
    /// They can be masked and unmasked.
    pub is_maskable: bool,
}

/// A device under test that is open.
///
/// What a transport cannot ask for has a body here that says so.
pub trait Device: std::fmt::Debug {
    /// What its transport is like.
    fn transport(&self) -> Transport;

    /// DEVICE_FEATURE as it stands: `flags` are the feature's number with GET, SET and PROBE, `argsz` is
    /// what the header says, whatever follows. What comes back is the data behind the header. Data that
    /// holds pointers is not for this call, see those for the DMA log.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn feature(&mut self, argsz: u32, flags: u32, data: &[u8]) -> Said<Vec<u8>>;

    /// GET of MIGRATION: the features, as bits.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn flags(&mut self) -> Said<u64>;

    /// SET of the migration state, by any number: whether a data descriptor came back. It takes the
    /// place of the one before, which is closed.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn set(&mut self, state: u32) -> Said<bool>;

    /// GET of it, and whether a data descriptor came with it, which the text forbids.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn get(&mut self) -> Said<(u32, bool)>;

    /// A read of migration data, of at most so many bytes. Where data passes through descriptors: the
    /// last that came back, also after its session; EBADF if none ever did.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn read(&mut self, most: u32) -> Said<Read>;

    /// A write of migration data; how much of it was taken. As for a read.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn write(&mut self, bytes: &[u8]) -> Said<usize>;

    /// GET_PRECOPY_INFO, with this argsz.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn left(&mut self, _argsz: u32) -> Said<Left> {
        Err(HarnessError::Lacks("a transport that reports the remaining data (GET_PRECOPY_INFO)"))
    }

    /// What `argsz` is for GET_PRECOPY_INFO.
    fn left_argsz(&self) -> u32 {
        24
    }

    /// The client opts in to REINIT.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn opt_in(&mut self) -> Said<()> {
        Err(HarnessError::Lacks("a transport that opts in to REINIT (PRECOPY_INFOv2)"))
    }

    /// Poll of the data descriptor, waiting so long.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn poll(&mut self, _limit: Duration) -> Said<Ready> {
        Err(HarnessError::Lacks("a transport with data descriptors"))
    }

    /// DEVICE_GET_INFO.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn info(&mut self) -> Said<DeviceInfo>;

    /// DEVICE_GET_REGION_INFO of a region, numbered as VFIO numbers those of a PCI device.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn region_info(&mut self, region: u32) -> Said<RegionInfo>;

    /// DEVICE_GET_IRQ_INFO of INTx.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn irq_info(&mut self) -> Said<IrqInfo> {
        Err(HarnessError::Lacks("a transport over which the tester takes interrupts"))
    }

    /// Reads part of a region, numbered as VFIO numbers those of a PCI device.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn region_read(&mut self, region: u32, offset: u64, length: u32) -> Said<Vec<u8>>;

    /// Writes part of a region.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn region_write(&mut self, region: u32, offset: u64, bytes: &[u8]) -> Said<()>;

    /// DMA_LOGGING_START, with a page size as a hint: the page size that comes back.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn log_start(&mut self, page_size: u64, ranges: &[Range]) -> Said<u64>;

    /// DMA_LOGGING_STOP.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn log_stop(&mut self) -> Said<()>;

    /// DMA_LOGGING_REPORT into a bitmap that holds `before` in each of its words.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn log_report(&mut self, range: Range, page_size: u64, before: u64) -> Said<Vec<u64>>;

    /// DEVICE_RESET.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn reset(&mut self) -> Said<()>;

    /// This client goes, and another comes to the same device.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn reopen(&mut self) -> Result<(), HarnessError>;

    /// Gives the device memory: from this place of a descriptor on; or, without one, to be asked for.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn map(&mut self, _range: Range, _from: Option<(BorrowedFd<'_>, u64)>) -> Said<()> {
        Err(HarnessError::Lacks("a transport over which the tester gives the device memory"))
    }

    /// Takes back memory that was given.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn unmap(&mut self, _range: Range) -> Said<()> {
        Err(HarnessError::Lacks("a transport over which the tester gives the device memory"))
    }

    /// Every command that describes the device, and accesses to its regions: what each was, and how the
    /// device describes itself; nothing for what may change.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn commands(&mut self) -> Result<Vec<Described>, HarnessError> {
        Err(HarnessError::Lacks("a transport whose commands the tester knows"))
    }

    /// The interrupt line is signalled through this descriptor.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn trigger(&mut self, _event: BorrowedFd<'_>) -> Said<()> {
        Err(HarnessError::Lacks("a transport over which the tester takes interrupts"))
    }

    /// The interrupt line is unmasked.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn unmask(&mut self) -> Said<()> {
        Err(HarnessError::Lacks("a transport over which the tester takes interrupts"))
    }

    /// From now on, what the device asks for while it is to answer is served so much later, or after
    /// its answer.
    fn hold(&mut self, _time: Duration) {}

    /// Ends the server, if we started it and it does not end within this limit, and tells what is left of
    /// it.
    fn remains(&mut self, _limit: Duration) -> Remains {
        Remains::default()
    }

    /// What was passed over in replies since this was last asked.
    fn deviations(&mut self) -> Vec<Deviation> {
        Vec::new()
    }

    /// Serves what the device asks for by itself, for so long.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn serve(&mut self, time: Duration) -> Result<(), HarnessError> {
        std::thread::sleep(time);
        Ok(())
    }
}

/// A place where a device can be opened, again and again.
pub trait Place: std::fmt::Debug + Sync {
    /// Opens the device for a test: a new one, if the place can make one. `memory` is what it reaches by
    /// asking.
    ///
    /// # Errors
    /// See [`HarnessError`]: [`HarnessError::Harness`] says what to do.
    fn open(&self, memory: Box<dyn Memory>) -> Result<Box<dyn Device>, HarnessError>;

    /// Whether each opening makes a new device, so that one which hangs keeps no other from running.
    fn fresh(&self) -> bool;

    /// What another device gave, of the same kind with another model or configuration: data that this
    /// one must not take. None if nobody named one.
    ///
    /// # Errors
    /// See [`HarnessError`].
    fn foreign(&self) -> Result<Option<Vec<u8>>, HarnessError> {
        Ok(None)
    }
}

pub use devmig_reference::vfio_user::client::Memory;
