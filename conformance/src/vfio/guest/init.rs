//! The guest's first process: prepares a device, runs one command, powers off.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};

use super::{ARGUMENTS, EXIT, GROUP, NODE, OUT, PROGRAM, STDERR, STDOUT, UUID};

/// How long the device's node and its group's may take to appear.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the guest could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// It is not what a kernel starts first.
    #[error("this is for the first process of a guest (see `devmig implementations`)")]
    NotFirst,
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// The kernel's words.
        error: io::Error,
    },
    /// No driver makes such devices.
    #[error("no driver of this kernel makes devices of the type {0}")]
    NoType(String),
}

/// Does the guest's work, and powers it off. Returns only if it is no guest.
///
/// # Errors
/// [`InitError::NotFirst`]. What goes wrong in a guest is written to its files.
pub fn init(device: &str) -> Result<(), InitError> {
    if std::process::id() != 1 {
        return Err(InitError::NotFirst);
    }
    let out = Path::new("/").join(OUT);
    let code = match prepare(device).and_then(|()| command(&out)) {
        Ok(code) => code,
        Err(error) => {
            let _ = fs::write(out.join(STDERR), format!("{error}\n"));
            4
        }
    };
    let _ = fs::write(out.join(EXIT), format!("{code}\n"));
    rustix::fs::sync();
    // If the kernel does not power off, the host's limit ends it.
    let _ = reboot(RebootCommand::PowerOff);
    Ok(())
}

fn prepare(device: &str) -> Result<(), InitError> {
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount(kind, place, kind, MountFlags::empty(), None)
            .map_err(|error| file(Path::new(place), error.into()))?;
    }
    let class = Path::new("/sys/class/mdev_bus");
    let parents = fs::read_dir(class).map_err(|error| file(class, error))?;
    let create = parents
        .flatten()
        .map(|parent| parent.path().join("mdev_supported_types").join(device).join("create"))
        .find(|path| path.exists())
        .ok_or_else(|| InitError::NoType(device.to_owned()))?;
    fs::write(&create, UUID).map_err(|error| file(&create, error))?;
    let start = Instant::now();
    let there = || [NODE, GROUP].iter().all(|node| Path::new(node).exists());
    while !there() && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Runs the command, and returns its exit code.
fn command(out: &Path) -> Result<u8, InitError> {
    let path = Path::new("/").join(ARGUMENTS);
    let arguments = fs::read_to_string(&path).map_err(|error| file(&path, error))?;
    let create = |name: &str| {
        let path = out.join(name);
        File::create(&path).map_err(|error| file(&path, error))
    };
    let program = Path::new("/").join(PROGRAM);
    let status = Command::new(&program)
        .args(arguments.lines())
        .stdin(Stdio::null())
        .stdout(create(STDOUT)?)
        .stderr(create(STDERR)?)
        .status()
        .map_err(|error| file(&program, error))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

fn file(path: &Path, error: io::Error) -> InitError {
    InitError::File { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_process_may() {
        assert!(matches!(init("mtty-2"), Err(InitError::NotFirst)));
    }
}
