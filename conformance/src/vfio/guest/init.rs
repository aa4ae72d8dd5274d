//! The guest's first process: prepares a device, runs one command, powers off.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};

use super::{ARGUMENTS, ENVIRONMENT, EXIT, GROUP, NODE, OUT, PROGRAM, STDERR, STDOUT, UUID};

/// How long the device's node and its group's may take to appear.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where temporary files are in a guest that has the host's files.
const ROOM: &str = "/dev/shm";

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

/// What a guest is for.
#[derive(Clone, Copy, Debug)]
pub enum Work<'w> {
    /// A device of this type is made, and a command runs that opens it: the guest has its own files.
    Device(&'w str),
    /// A command makes its devices itself. The guest has the host's files, and its command in this folder.
    Here(&'w Path),
}

/// Does the guest's work, and powers it off. Returns only if it is no guest.
///
/// # Errors
/// [`InitError::NotFirst`]. What goes wrong in a guest is written to its files.
pub fn init(work: Work<'_>) -> Result<(), InitError> {
    if std::process::id() != 1 {
        return Err(InitError::NotFirst);
    }
    let said = match work {
        Work::Device(_) => Path::new("/"),
        Work::Here(said) => said,
    };
    let out = said.join(OUT);
    let prepared = mounted().and_then(|()| match work {
        Work::Device(device) => made(device),
        Work::Here(_) => with_room(),
    });
    let code = match prepared.and_then(|()| command(said, work)) {
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

fn mounted() -> Result<(), InitError> {
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount(kind, place, kind, MountFlags::empty(), None)
            .map_err(|error| file(Path::new(place), error.into()))?;
    }
    Ok(())
}

/// Room for temporary files in the guest's own memory.
fn with_room() -> Result<(), InitError> {
    let place = Path::new(ROOM);
    fs::create_dir_all(place).map_err(|error| file(place, error))?;
    mount("tmpfs", place, "tmpfs", MountFlags::empty(), None)
        .map_err(|error| file(place, error.into()))
}

fn made(device: &str) -> Result<(), InitError> {
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
fn command(said: &Path, work: Work<'_>) -> Result<u8, InitError> {
    let (path, out) = (said.join(ARGUMENTS), said.join(OUT));
    let arguments = fs::read_to_string(&path).map_err(|error| file(&path, error))?;
    let create = |name: &str| {
        let path = out.join(name);
        File::create(&path).map_err(|error| file(&path, error))
    };
    let program = match work {
        Work::Device(_) => said.join(PROGRAM),
        Work::Here(_) => {
            std::env::current_exe().map_err(|e| file(Path::new("/proc/self/exe"), e))?
        }
    };
    let mut command = Command::new(&program);
    if let Work::Here(_) = work {
        let path = said.join(ENVIRONMENT);
        let text = fs::read_to_string(&path).map_err(|error| file(&path, error))?;
        command.envs(text.lines().filter_map(|line| line.split_once('='))).env("TMPDIR", ROOM);
    }
    let status = command
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
        assert!(matches!(init(Work::Device("mtty-2")), Err(InitError::NotFirst)));
    }
}
