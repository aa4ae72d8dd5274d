//! A device that a kernel's VFIO driver serves, opened by its character device or by its group.
//!
//! ```text
//!   /dev/vfio/devices/vfio0 --bind--> /dev/iommu --new address space, attach--> Device
//!   /dev/vfio/7 --container, type--> VFIO_GROUP_GET_DEVICE_FD-----------------> Device
//!                                                                 SET --> data descriptor: Data
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `kernel/mod.rs` | opening, and a device's calls with the types of Rust |
//! | `kernel/transport.rs` | the suite's device over them |
//! | `kernel/ioctl.rs` | the ioctls themselves, which need `unsafe` |
//!
//! Numbers are passed as they are: a suite asks for states that no text knows.
//!
//! **Invariants.** Closing is dropping, in the order that the kernel wants: data descriptors do not
//! outlive what they came from but as the kernel lets them. No call is tried twice.
//!
//! **Not here:** mapping memory for a device's DMA: the drivers that can be run in a guest of ours do
//! none. A call that a driver never finishes is not given up either, since the kernel does not let
//! go of it; a limit is kept from outside the guest.

mod ioctl;
mod transport;

pub use transport::KernelDevice;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_API_VERSION, VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, VFIO_DEVICE_FEATURE_GET,
    VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
    VFIO_DEVICE_FEATURE_MIGRATION, VFIO_DEVICE_FEATURE_SET, VFIO_DEVICE_FLAGS_PCI,
    VFIO_DEVICE_FLAGS_RESET, VFIO_GROUP_FLAGS_VIABLE, VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_NONE,
    VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE, VFIO_TYPE1v2_IOMMU,
    vfio_device_feature_dma_logging_range,
};

use super::device::{DeviceInfo, Left, Range, Ready, RegionInfo};

/// The bit of a pre-copy information's flags that says that `initial_bytes` began anew; none in the
/// first form of the call.
const REINIT: u32 = 1;

/// Where a device is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// A character device, e.g. `/dev/vfio/devices/vfio0`.
    Cdev(PathBuf),
    /// A group, e.g. `/dev/vfio/7`, and the device's name in it: a PCI address or a UUID.
    Group(PathBuf, String),
}

/// Why a device cannot be had, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file is not there.
    #[error(
        "{path} does not exist: {}",
        if path.starts_with("/dev/vfio/devices") {
            "bind a driver with VFIO support to the device, in a kernel with CONFIG_VFIO_DEVICE_CDEV; \
             `ls /dev/vfio/devices` lists those there are"
        } else if path.starts_with("/dev/iommu") {
            "the kernel needs CONFIG_IOMMUFD (modprobe iommufd)"
        } else {
            "load vfio (modprobe vfio vfio_iommu_type1) and bind a driver with VFIO support; \
             `ls /dev/vfio` lists the groups"
        }
    )]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// A file that may not be opened.
    #[error(
        "{path} may not be opened for reading and writing: run as root, or give your user the \
             right (chown, or a udev rule)"
    )]
    Rights {
        /// Which.
        path: PathBuf,
    },
    /// Somebody else has it.
    #[error(
        "{path} is in use: end the virtual machine or the test that has it open \
             (`fuser -v {path}` names it)"
    )]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// Another device of the group is bound to a driver of the host.
    #[error(
        "{path} is not viable: every device of the group must be bound to a VFIO driver, or none"
    )]
    NotViable {
        /// The group.
        path: PathBuf,
    },
    /// The container is of another version.
    #[error("/dev/vfio/vfio speaks version {0} of the API, and this speaks {VFIO_API_VERSION}")]
    Version(i32),
    /// A name with a zero in it.
    #[error("{0:?} is no device's name")]
    Name(String),
    /// Anything else.
    #[error("{path}: {what} failed: {error}")]
    Call {
        /// Which file.
        path: PathBuf,
        /// What was asked of it.
        what: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
}

impl OpenError {
    fn of(path: &Path, what: &'static str, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => OpenError::Missing { path },
            Some(Errno::ACCESS | Errno::PERM) => OpenError::Rights { path },
            Some(Errno::BUSY) => OpenError::InUse { path },
            _ => OpenError::Call { path, what, error },
        }
    }
}

fn open(path: &Path) -> Result<File, OpenError> {
    let file = File::options().read(true).write(true).open(path);
    file.map_err(|error| OpenError::of(path, "opening", error))
}

/// An open device.
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
    /// What must stay open for as long as the device does, and is closed after it.
    _kept: Vec<File>,
}

/// A state's data, as a descriptor.
#[derive(Debug)]
pub struct Data(OwnedFd);

impl Device {
    /// Opens a device.
    ///
    /// # Errors
    /// What is missing, and what to do.
    pub fn open(address: &Address) -> Result<Self, OpenError> {
        match address {
            Address::Cdev(path) => Self::open_cdev(path),
            Address::Group(path, name) => Self::open_group(path, name),
        }
    }

    fn open_cdev(path: &Path) -> Result<Self, OpenError> {
        let device = open(path)?;
        let iommu = Path::new("/dev/iommu");
        let iommufd = open(iommu)?;
        let call = |what| move |error: Errno| OpenError::of(path, what, error.into());
        ioctl::bind(device.as_fd(), &iommufd).map_err(call("VFIO_DEVICE_BIND_IOMMUFD"))?;
        let space = ioctl::new_address_space(&iommufd)
            .map_err(|error| OpenError::of(iommu, "IOMMU_IOAS_ALLOC", error.into()))?;
        ioctl::attach(device.as_fd(), space).map_err(call("VFIO_DEVICE_ATTACH_IOMMUFD_PT"))?;
        Ok(Device { fd: device.into(), _kept: vec![iommufd] })
    }

    fn open_group(path: &Path, name: &str) -> Result<Self, OpenError> {
        let c_name = CString::new(name).map_err(|_| OpenError::Name(name.to_owned()))?;
        let place = Path::new("/dev/vfio/vfio");
        let container = open(place)?;
        let version = ioctl::api_version(&container)
            .map_err(|error| OpenError::of(place, "VFIO_GET_API_VERSION", error.into()))?;
        if u32::try_from(version) != Ok(VFIO_API_VERSION) {
            return Err(OpenError::Version(version));
        }
        let group = open(path)?;
        let call = |what| move |error: Errno| OpenError::of(path, what, error.into());
        let status = ioctl::group_status(&group).map_err(call("VFIO_GROUP_GET_STATUS"))?;
        if status & VFIO_GROUP_FLAGS_VIABLE == 0 {
            return Err(OpenError::NotViable { path: path.to_owned() });
        }
        ioctl::set_container(&group, &container).map_err(call("VFIO_GROUP_SET_CONTAINER"))?;
        ioctl::set_iommu(&container, VFIO_TYPE1v2_IOMMU)
            .map_err(|error| OpenError::of(place, "VFIO_SET_IOMMU", error.into()))?;
        let fd = ioctl::group_device(&group, &c_name).map_err(call("VFIO_GROUP_GET_DEVICE_FD"))?;
        Ok(Device { fd, _kept: vec![group, container] })
    }

    /// VFIO_DEVICE_GET_INFO.
    ///
    /// # Errors
    /// The kernel's.
    pub fn info(&self) -> Result<DeviceInfo, Errno> {
        let flags = ioctl::info(self.fd.as_fd())?;
        Ok(DeviceInfo {
            resets: flags & VFIO_DEVICE_FLAGS_RESET != 0,
            is_pci: flags & VFIO_DEVICE_FLAGS_PCI != 0,
        })
    }

    /// VFIO_DEVICE_GET_REGION_INFO.
    ///
    /// # Errors
    /// The kernel's.
    pub fn region_info(&self, region: u32) -> Result<RegionInfo, Errno> {
        let info = ioctl::region_info(self.fd.as_fd(), region)?;
        Ok(RegionInfo {
            size: info.size,
            is_readable: info.flags & VFIO_REGION_INFO_FLAG_READ != 0,
            is_writable: info.flags & VFIO_REGION_INFO_FLAG_WRITE != 0,
        })
    }

    /// VFIO_DEVICE_FEATURE as it stands: `flags` are the feature's number and GET, SET, PROBE; what
    /// comes back replaces `data`. A data descriptor that comes back is closed.
    ///
    /// # Errors
    /// The kernel's; EFAULT for features whose data holds a pointer, see the calls for the DMA log.
    pub fn feature(&self, argsz: u32, flags: u32, data: &mut [u8]) -> Result<(), Errno> {
        ioctl::feature(self.fd.as_fd(), argsz, flags, data)?;
        if flags == VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE
            && let Some(number) = data.get(4..8).and_then(|bytes| bytes.try_into().ok())
        {
            drop(ioctl::data_descriptor(i32::from_ne_bytes(number)));
        }
        Ok(())
    }

    fn get(&self, number: u32) -> Result<u64, Errno> {
        let mut data = [0; 8];
        ioctl::feature(self.fd.as_fd(), 16, VFIO_DEVICE_FEATURE_GET | number, &mut data)?;
        Ok(u64::from_ne_bytes(data))
    }

    /// The flags of VFIO_DEVICE_FEATURE_MIGRATION.
    ///
    /// # Errors
    /// ENOTTY if the device has no migration.
    pub fn migration_flags(&self) -> Result<u64, Errno> {
        self.get(VFIO_DEVICE_FEATURE_MIGRATION)
    }

    /// The bytes that STOP_COPY would give, as VFIO_DEVICE_FEATURE_MIG_DATA_SIZE estimates.
    ///
    /// # Errors
    /// The kernel's.
    pub fn data_size(&self) -> Result<u64, Errno> {
        self.get(VFIO_DEVICE_FEATURE_MIG_DATA_SIZE)
    }

    /// The state, by number, and whether a data descriptor came with it, which the text forbids.
    ///
    /// # Errors
    /// The kernel's.
    pub fn state(&self) -> Result<(u32, bool), Errno> {
        let [state, number] = self.device_state(VFIO_DEVICE_FEATURE_GET, [0, 0])?;
        Ok((state, number.cast_signed() >= 0))
    }

    /// Asks for a state, by number. A new session's data descriptor comes back.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_state(&self, state: u32) -> Result<Option<Data>, Errno> {
        let none = u32::MAX;
        let [_, number] = self.device_state(VFIO_DEVICE_FEATURE_SET, [state, none])?;
        Ok(ioctl::data_descriptor(number.cast_signed()).map(Data))
    }

    fn device_state(&self, what: u32, [state, number]: [u32; 2]) -> Result<[u32; 2], Errno> {
        let [a, b, c, d] = state.to_ne_bytes();
        let [e, f, g, h] = number.to_ne_bytes();
        let mut data = [a, b, c, d, e, f, g, h];
        let flags = what | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
        ioctl::feature(self.fd.as_fd(), 16, flags, &mut data)?;
        let [a, b, c, d, e, f, g, h] = data;
        Ok([u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])])
    }

    /// Reads part of a region, once.
    ///
    /// # Errors
    /// The kernel's.
    pub fn region_read(&self, region: u32, offset: u64, length: u32) -> Result<Vec<u8>, Errno> {
        let place = self.region(region, offset)?;
        let mut bytes = vec![0; length as usize];
        let read = rustix::io::pread(&self.fd, &mut bytes, place)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Writes part of a region, all of it.
    ///
    /// # Errors
    /// The kernel's; EIO if it takes less than all.
    pub fn region_write(&self, region: u32, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let place = self.region(region, offset)?;
        let written = rustix::io::pwrite(&self.fd, bytes, place)?;
        if written == bytes.len() { Ok(()) } else { Err(Errno::IO) }
    }

    /// Where in the device's file a place of a region is.
    fn region(&self, region: u32, offset: u64) -> Result<u64, Errno> {
        let info = ioctl::region_info(self.fd.as_fd(), region)?;
        info.offset.checked_add(offset).ok_or(Errno::OVERFLOW)
    }

    /// The first line of VFIO_DEVICE_SET_IRQS (INTx of a PCI device) is signalled through this.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_trigger(&self, event: BorrowedFd<'_>) -> Result<(), Errno> {
        let flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
        ioctl::set_irqs(self.fd.as_fd(), flags, Some(event))
    }

    /// It is unmasked.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unmask(&self) -> Result<(), Errno> {
        let flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK;
        ioctl::set_irqs(self.fd.as_fd(), flags, None)
    }

    /// VFIO_DEVICE_RESET.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reset(&self) -> Result<(), Errno> {
        ioctl::reset(self.fd.as_fd())
    }

    /// Starts the DMA log. The page size that is tracked by comes back.
    ///
    /// # Errors
    /// The kernel's.
    pub fn logging_start(&self, page_size: u64, ranges: &[Range]) -> Result<u64, Errno> {
        let ranges: Vec<vfio_device_feature_dma_logging_range> = ranges
            .iter()
            .map(|&Range { iova, length }| vfio_device_feature_dma_logging_range { iova, length })
            .collect();
        ioctl::logging_start(self.fd.as_fd(), VFIO_DEVICE_FEATURE_SET, page_size, &ranges)
    }

    /// Stops it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn logging_stop(&self) -> Result<(), Errno> {
        let flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP;
        ioctl::feature(self.fd.as_fd(), 8, flags, &mut [])
    }

    /// Adds what was written in a range to a bitmap, and forgets it; a bit a page of `page_size`.
    ///
    /// # Errors
    /// The kernel's; EFAULT if the bitmap is too short for the range, and nothing else is wrong with it.
    pub fn logging_report(
        &self,
        Range { iova, length }: Range,
        page_size: u64,
        bitmap: &mut [u64],
    ) -> Result<(), Errno> {
        ioctl::logging_report(self.fd.as_fd(), (iova, length), page_size, bitmap)
    }
}

impl Data {
    /// Reads once. No bytes is the end.
    ///
    /// # Errors
    /// The kernel's; ENOMSG says that there is nothing now and that more may come.
    pub fn read(&self, into: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::read(&self.0, into)
    }

    /// Writes once.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        rustix::io::write(&self.0, bytes)
    }

    /// VFIO_MIG_GET_PRECOPY_INFO.
    ///
    /// # Errors
    /// The kernel's.
    pub fn precopy(&self, argsz: u32) -> Result<Left, Errno> {
        let info = ioctl::precopy_info(self.0.as_fd(), argsz)?;
        let (initial, dirty) = (info.initial_bytes, info.dirty_bytes);
        Ok(Left { initial, dirty, reinit: info.flags & REINIT != 0 })
    }

    /// Whether there is something to read, waiting so long for it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn poll(&self, limit: Duration) -> Result<Ready, Errno> {
        let limit = Timespec::try_from(limit).map_err(|_| Errno::INVAL)?;
        let mut list = [PollFd::new(&self.0, PollFlags::IN)];
        poll(&mut list, Some(&limit))?;
        let seen = list[0].revents();
        Ok(Ready {
            readable: seen.contains(PollFlags::IN),
            error: seen.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(address: Address) -> String {
        Device::open(&address).unwrap_err().to_string()
    }

    #[test]
    fn a_missing_device_says_what_to_do() {
        let said = error(Address::Cdev("/dev/vfio/devices/no-such".into()));
        assert!(
            said.starts_with("/dev/vfio/devices/no-such does not exist: bind a driver"),
            "{said}"
        );
        let of = |error: Errno| OpenError::of(Path::new("/dev/vfio/7"), "x", error.into());
        assert!(of(Errno::NOENT).to_string().contains("modprobe vfio vfio_iommu_type1"));
        assert!(of(Errno::ACCESS).to_string().contains("run as root"));
        assert!(of(Errno::BUSY).to_string().contains("fuser -v /dev/vfio/7"));
        assert!(of(Errno::INVAL).to_string().starts_with("/dev/vfio/7: x failed"));
    }

    #[test]
    fn what_is_no_device_is_an_error_that_names_the_call() {
        let said = error(Address::Cdev("/dev/null".into()));
        assert!(
            said.contains("/dev/iommu does not exist") || said.contains("BIND_IOMMUFD"),
            "{said}"
        );
    }
}
