//! The guest: a Debian kernel with a busybox that does I/O for ever and says so.
//!
//! ```text
//!   kernel package, busybox package (unpacked in the cache) --> initramfs, a newc archive made here
//! ```
//!
//! Each turn of its loop prints `io N: pass N` on the serial console once something came back:
//!
//! | device | a turn |
//! |---|---|
//! | `blk` | a sector is written, the page cache dropped, the sector read |
//! | `net` | a frame to everybody is sent, and one comes in: what the NIC transmits, its link returns |
//! | `fs` | a file is written, the page cache dropped, the file read |
//!
//! Which device it has, it is told on the kernel's command line (`io=blk`).

use std::io;
use std::path::{Path, PathBuf};

use super::error::Error;

/// Modules that its devices need, each after those it depends on.
const MODULES: [&str; 11] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
    "fuse",
    "virtiofs",
];

/// The first process of the guest.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in MODULES; do insmod /lib/$module.ko; done
forget() { echo 3 > /proc/sys/vm/drop_caches; }
blk() {
  at=$((n % 64))
  echo \"pass $n\" > /block
  dd if=/block of=/dev/vda bs=512 seek=$at count=1 conv=sync,fsync 2> /dev/null
  forget
  dd if=/dev/vda bs=512 skip=$at count=1 2> /dev/null | head -n 1
}
net() {
  came=$(cat /sys/class/net/eth0/statistics/rx_packets)
  arping -q -c 1 -w 1 -I eth0 10.0.0.2
  test $(cat /sys/class/net/eth0/statistics/rx_packets) -gt $came && echo \"pass $n\"
}
fs() {
  echo \"pass $n\" > /shared/file
  forget
  cat /shared/file
}
case $io in
  net)
    mount -t sysfs sys /sys
    ip link set eth0 up
    ip address add 10.0.0.1/24 dev eth0 ;;
  fs) mount -t virtiofs shared /shared ;;
esac
n=0
while :; do
  n=$((n + 1))
  echo \"io $n: $($io)\"
  usleep 100000
done
";

/// What QEMU boots.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The kernel's image.
    pub kernel: PathBuf,
    /// The initramfs.
    pub initramfs: PathBuf,
}

impl Guest {
    /// Finds the unpacked packages in `cache`, and makes the initramfs in `folder`.
    ///
    /// # Errors
    /// What is missing.
    pub fn prepare(cache: &Path, folder: &Path) -> Result<Self, Error> {
        let missing = |what| Error::NoGuest { what, folder: cache.to_owned() };
        let kernel = find(&cache.join("boot"), 1, &|name| name.starts_with("vmlinuz-"))
            .ok_or_else(|| missing("guest kernel".into()))?;
        let read = |path: &Path| std::fs::read(path).map_err(Error::io(path.display().to_string()));
        let mut archive = Archive::default();
        for folder in ["bin", "dev", "lib", "proc", "shared", "sys"] {
            archive.add(folder, 0o40_755, &[], (0, 0));
        }
        archive.add("dev/console", 0o20_600, &[], (5, 1));
        archive.add("bin/busybox", 0o100_755, &read(&cache.join("bin/busybox"))?, (0, 0));
        for module in MODULES {
            let file = format!("{module}.ko");
            let path = find(&cache.join("lib/modules"), 8, &|name| name == file)
                .ok_or_else(|| missing(format!("module {module} of the guest kernel")))?;
            archive.add(&format!("lib/{file}"), 0o100_644, &read(&path)?, (0, 0));
        }
        let init = INIT.replace("MODULES", &MODULES.join(" "));
        archive.add("init", 0o100_755, init.as_bytes(), (0, 0));
        let initramfs = folder.join("initramfs");
        archive.write(&initramfs).map_err(Error::io("the guest's initramfs"))?;
        Ok(Guest { kernel, initramfs })
    }
}

/// The first file, in the order of names, whose name is wanted, at most `depth` folders down.
fn find(folder: &Path, depth: usize, wanted: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    let named = |path: &&PathBuf| path.file_name().and_then(|n| n.to_str()).is_some_and(wanted);
    if let Some(path) = entries.iter().find(|path| path.is_file() && named(path)) {
        return Some(path.clone());
    }
    let deeper = depth.checked_sub(1).filter(|left| *left > 0)?;
    entries.iter().filter(|path| path.is_dir()).find_map(|path| find(path, deeper, wanted))
}

/// A cpio archive in the form that the kernel takes (newc).
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    count: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, data: &[u8], (major, minor): (u32, u32)) {
        self.count += 1;
        let size = u32::try_from(data.len()).unwrap_or_default();
        let name_size = u32::try_from(name.len() + 1).unwrap_or_default();
        // inode, mode, owner, group, links, time, size, device, device of its own, name, checksum
        let fields =
            [self.count, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0].into_iter();
        self.bytes.extend(b"070701");
        self.bytes.extend(fields.flat_map(|field| format!("{field:08x}").into_bytes()));
        self.bytes.extend(name.bytes().chain([0]));
        self.pad();
        self.bytes.extend(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn write(mut self, path: &Path) -> io::Result<()> {
        self.add("TRAILER!!!", 0, &[], (0, 0));
        std::fs::write(path, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_has_the_form_that_the_kernel_takes() {
        let mut archive = Archive::default();
        archive.add("dev/console", 0o20_600, &[], (5, 1));
        archive.add("init", 0o100_755, b"hello", (0, 0));
        let text = String::from_utf8(archive.bytes).unwrap();
        assert_eq!(
            text.replace('\0', "."),
            "070701000000010000218000000000000000000000000100000000000000000000000000000000\
             000000050000000100\
             00000c00000000dev/console...\
             07070100000002000081ed00000000000000000000000100000000000000050000000000000000\
             000000000000000000000005000000\
             00init..hello..."
                .replace([' ', '\n'], "")
        );
    }

    #[test]
    fn a_missing_kernel_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let error = Guest::prepare(folder.path(), folder.path()).unwrap_err();
        assert!(error.to_string().starts_with("no guest kernel below"), "{error}");
    }
}
