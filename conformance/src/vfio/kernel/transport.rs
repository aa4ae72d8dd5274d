//! The suite's device over a kernel's ioctls.
//!
//! **Invariants.** One data descriptor at a time is held: the last that came back, also after its
//! session, until a reopening. What the kernel says comes back as it came.
//!
//! **Not here:** a limit. A kernel that never returns holds the process that asked it, so whoever
//! expects that runs it in a guest; see `guest/`.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::io::Errno;

use super::{Address, Data, Device as Open, OpenError};
use crate::vfio::device::{
    Device, DeviceInfo, ErrorNumber, HarnessError, Left, Memory, Place, Range, Read, Ready,
    RegionInfo, Said, Transport,
};

/// A device that is open, and the last data descriptor that it gave.
#[derive(Debug)]
pub struct KernelDevice {
    address: Address,
    /// Before the device, and so closed before it.
    data: Option<Data>,
    /// None only where a reopening failed.
    device: Option<Open>,
    /// A client that went had a descriptor: its session's data is nobody's now.
    left: bool,
}

impl KernelDevice {
    /// Opens one.
    ///
    /// # Errors
    /// What is missing, and what to do.
    pub fn open(address: &Address) -> Result<Self, OpenError> {
        let device = Some(Open::open(address)?);
        Ok(KernelDevice { address: address.clone(), data: None, device, left: false })
    }

    fn device(&self) -> Result<&Open, HarnessError> {
        self.device
            .as_ref()
            .ok_or_else(|| HarnessError::Gone("the device could not be opened again".into()))
    }

    /// A call of the device's.
    fn asked<T>(&self, call: impl FnOnce(&Open) -> Result<T, Errno>) -> Said<T> {
        Ok(call(self.device()?).map_err(ErrorNumber::from))
    }

    /// A call of the data descriptor's; EBADF without one. A session that a client left goes on, and no
    /// call gives another client its descriptor.
    fn data<T>(&self, call: impl FnOnce(&Data) -> Result<T, Errno>) -> Said<T> {
        if self.data.is_none() && self.left {
            return Err(HarnessError::Lacks(
                "the data descriptor of a session that another client left",
            ));
        }
        Ok(self.data.as_ref().ok_or(Errno::BADF).and_then(call).map_err(ErrorNumber::from))
    }
}

/// What came back, with the kernel's way to say that there is nothing for now taken apart.
fn heard(read: Result<usize, Errno>, mut bytes: Vec<u8>) -> Result<Read, Errno> {
    match read {
        Ok(length) => {
            bytes.truncate(length);
            Ok(Read::Bytes(bytes))
        }
        Err(Errno::NOMSG) => Ok(Read::Later),
        Err(errno) => Err(errno),
    }
}

impl Device for KernelDevice {
    fn transport(&self) -> Transport {
        Transport { name: "kernel", descriptors: true, p2p: true, kernel: true }
    }

    fn feature(&mut self, argsz: u32, flags: u32, data: &[u8]) -> Said<Vec<u8>> {
        let mut data = data.to_vec();
        self.asked(|device| device.feature(argsz, flags, &mut data).map(|()| data))
    }

    fn flags(&mut self) -> Said<u64> {
        self.asked(|device| device.migration_flags())
    }

    fn set(&mut self, state: u32) -> Said<bool> {
        let said = self.asked(|device| device.set_state(state))?;
        Ok(said.map(|data| {
            let came = data.is_some();
            self.data = data.or(self.data.take());
            came
        }))
    }

    fn get(&mut self) -> Said<(u32, bool)> {
        self.asked(|device| device.state())
    }

    fn read(&mut self, most: u32) -> Said<Read> {
        let mut bytes = vec![0; most as usize];
        self.data(|data| heard(data.read(&mut bytes), bytes))
    }

    fn write(&mut self, bytes: &[u8]) -> Said<usize> {
        self.data(|data| data.write(bytes))
    }

    fn left(&mut self, argsz: u32) -> Said<Left> {
        self.data(|data| data.precopy(argsz))
    }

    fn poll(&mut self, limit: Duration) -> Said<Ready> {
        self.data(|data| data.poll(limit))
    }

    fn info(&mut self) -> Said<DeviceInfo> {
        self.asked(|device| device.info())
    }

    fn region_info(&mut self, region: u32) -> Said<RegionInfo> {
        self.asked(|device| device.region_info(region))
    }

    fn region_read(&mut self, region: u32, offset: u64, length: u32) -> Said<Vec<u8>> {
        self.asked(|device| device.region_read(region, offset, length))
    }

    fn region_write(&mut self, region: u32, offset: u64, bytes: &[u8]) -> Said<()> {
        self.asked(|device| device.region_write(region, offset, bytes))
    }

    fn log_start(&mut self, page_size: u64, ranges: &[Range]) -> Said<u64> {
        self.asked(|device| device.logging_start(page_size, ranges))
    }

    fn log_stop(&mut self) -> Said<()> {
        self.asked(|device| device.logging_stop())
    }

    fn log_report(&mut self, range: Range, page_size: u64, before: u64) -> Said<Vec<u64>> {
        let mut bitmap = vec![before; words(range, page_size)];
        self.asked(|device| device.logging_report(range, page_size, &mut bitmap).map(|()| bitmap))
    }

    fn reset(&mut self) -> Said<()> {
        self.asked(|device| device.reset())
    }

    fn reopen(&mut self) -> Result<(), HarnessError> {
        self.left |= self.data.is_some();
        (self.data, self.device) = (None, None);
        let device =
            Open::open(&self.address).map_err(|error| HarnessError::Gone(error.to_string()))?;
        self.device = Some(device);
        Ok(())
    }

    fn trigger(&mut self, event: BorrowedFd<'_>) -> Said<()> {
        self.asked(|device| device.set_trigger(event))
    }

    fn unmask(&mut self) -> Said<()> {
        self.asked(|device| device.unmask())
    }
}

/// The words of a bitmap for a range; at most [`MOST_WORDS`], beyond which the call is made without one.
fn words(Range { length, .. }: Range, page_size: u64) -> usize {
    const MOST_WORDS: u64 = 1 << 16;
    let pages = length.checked_div(page_size).unwrap_or_default();
    // A first page that is not the first of a word may need one word more.
    usize::try_from((pages.div_ceil(64) + 1).min(MOST_WORDS)).unwrap_or_default()
}

impl Place for Address {
    fn open(&self, _: Box<dyn Memory>) -> Result<Box<dyn Device>, HarnessError> {
        let device = KernelDevice::open(self);
        Ok(Box::new(device.map_err(|error| HarnessError::Harness(error.to_string()))?))
    }

    /// It is the same device each time.
    fn fresh(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use devmig_reference::vfio_user::client::NoMemory;

    #[test]
    fn a_place_without_a_device_says_what_to_do() {
        let place = Address::Cdev("/dev/vfio/devices/no-such".into());
        let Err(HarnessError::Harness(said)) = Place::open(&place, Box::new(NoMemory)) else {
            panic!("there is no such device");
        };
        assert!(said.contains("bind a driver"), "{said}");
        assert!(!place.fresh());
    }

    #[test]
    fn nothing_for_now_is_told_from_the_end() {
        let bytes = || vec![7; 4];
        assert_eq!(heard(Err(Errno::NOMSG), bytes()), Ok(Read::Later));
        assert_eq!(heard(Ok(0), bytes()), Ok(Read::Bytes(Vec::new())));
        assert_eq!(heard(Ok(2), bytes()), Ok(Read::Bytes(vec![7, 7])));
        assert_eq!(heard(Err(Errno::NODEV), bytes()), Err(Errno::NODEV));
    }

    #[test]
    fn bitmaps_are_as_long_as_their_ranges_and_bounded() {
        let of = |length, page| words(Range { iova: 0, length }, page);
        assert_eq!(of(4096, 4096), 2);
        assert_eq!(of(65 << 12, 4096), 3);
        assert_eq!(of(u64::MAX, 1), 1 << 16);
        assert_eq!(of(4096, 0), 1);
    }
}
