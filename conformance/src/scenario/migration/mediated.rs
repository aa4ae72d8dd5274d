//! Devices of a kernel's sample driver, made for one machine each.
//!
//! A driver may keep the state of a device after its client has closed it, so every machine gets new devices.
//! They are removed when the machine ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Where drivers are that make such devices.
const DRIVERS: &str = "/sys/class/mdev_bus";
/// Where the devices are.
const DEVICES: &str = "/sys/bus/mdev/devices";
/// How long a device may take to appear.
const PATIENCE: Duration = Duration::from_secs(5);

/// A device that is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Mediated {
    path: PathBuf,
}

impl Mediated {
    /// Makes a device of a type, e.g. `mtty-2`.
    ///
    /// # Errors
    /// If no driver makes such devices, or the driver makes no more.
    pub(super) fn make(kind: &str) -> io::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let uuid = format!("00000000-0000-4000-8000-{:012x}", MADE.fetch_add(1, Ordering::Relaxed));
        let create = std::fs::read_dir(DRIVERS)?
            .flatten()
            .map(|driver| driver.path().join("mdev_supported_types").join(kind).join("create"))
            .find(|path| path.exists())
            .ok_or(io::ErrorKind::NotFound)?;
        std::fs::write(create, &uuid)?;
        let device = Mediated { path: Path::new(DEVICES).join(uuid) };
        let start = Instant::now();
        while !device.is_there() && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(device)
    }

    /// Where it is in sysfs.
    #[must_use]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its character device can be opened.
    fn is_there(&self) -> bool {
        let names = std::fs::read_dir(self.path.join("vfio-dev"));
        let mut nodes = names.into_iter().flatten().flatten();
        nodes.any(|entry| Path::new("/dev/vfio/devices").join(entry.file_name()).exists())
    }
}

impl Drop for Mediated {
    fn drop(&mut self) {
        // The kernel tells a client that still has it open; nothing else can be done.
        let _ = std::fs::write(self.path.join("remove"), "1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_driver_is_there_is_no_device() {
        if !Path::new(DRIVERS).exists() {
            assert!(Mediated::make("mtty-2").is_err());
        }
    }
}
