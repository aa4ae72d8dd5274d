//! Starting a kernel as a process, and what came of it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ARGUMENTS, EXIT, OUT, PROGRAM, STDERR, STDOUT};
use crate::vhost_user::Deadline;
use crate::vhost_user::process::{Command, SpawnError};

/// A kernel, and the program that it runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    /// User-mode Linux with the driver in it.
    pub kernel: PathBuf,
    /// `devmig`, linked statically.
    pub program: PathBuf,
}

/// What came of a guest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ended {
    /// The command's exit code; none if it did not come to an end in time.
    pub code: Option<u8>,
    /// What it printed.
    pub output: String,
    /// What it printed to standard error.
    pub errors: String,
    /// The end of what the kernel printed.
    pub console: String,
    /// It was ended from outside since its time was up.
    pub hung: bool,
}

/// Why there is no guest.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program needs libraries that the guest does not have.
    #[error(
        "{0} is linked dynamically, and the guest has no libraries: build it with \
         RUSTFLAGS='-C target-feature=+crt-static' cargo build --profile guest --target \
         x86_64-unknown-linux-gnu"
    )]
    Dynamic(PathBuf),
    /// A file cannot be had or made.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// The kernel cannot be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// The guest's folders.
const FOLDERS: [&str; 5] = ["dev", "proc", "sys", "tmp", OUT];

impl Machine {
    /// Boots, makes a mediated device of a type (`mtty-2`), runs `devmig` with these arguments, and
    /// waits for the end, at most for `limit`.
    ///
    /// # Errors
    /// If there is no guest. One that hangs or fails is no error.
    pub fn run(
        &self,
        device: &str,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<Ended, RunError> {
        let folder = tempfile::Builder::new().prefix("devmig-guest-").tempdir();
        let folder = folder.map_err(|error| file(Path::new("a temporary folder"), error))?;
        let root = self.furnish(folder.path())?;
        let words = vec![
            self.kernel.to_string_lossy().into_owned(),
            "mem=96M".into(),
            format!("uml_dir={}", folder.path().display()),
            "root=/dev/root".into(),
            "rootfstype=hostfs".into(),
            format!("rootflags={}", root.display()),
            "rw".into(),
            "quiet".into(),
            "panic=-1".into(),
            "con=null".into(),
            "con0=null,fd:1".into(),
            format!("init=/{PROGRAM}"),
            "--".into(),
            "guest".into(),
            device.into(),
        ];
        let path = root.join(ARGUMENTS);
        fs::write(&path, arguments.join("\n")).map_err(|error| file(&path, error))?;
        let mut process = Command::plain(words)?.spawn()?;
        let hung = process.wait(Deadline::after(limit)).is_none();
        let console = process.last_output();
        process.stop();
        let out = root.join(OUT);
        let text = |name: &str| {
            fs::read(out.join(name))
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .unwrap_or_default()
        };
        let code = text(EXIT).trim().parse().ok();
        Ok(Ended { code, output: text(STDOUT), errors: text(STDERR), console, hung })
    }

    /// The guest's root.
    fn furnish(&self, folder: &Path) -> Result<PathBuf, RunError> {
        if is_dynamic(&self.program)? {
            return Err(RunError::Dynamic(self.program.clone()));
        }
        let root = folder.join("root");
        for name in FOLDERS {
            let path = root.join(name);
            fs::create_dir_all(&path).map_err(|error| file(&path, error))?;
        }
        let program = root.join(PROGRAM);
        fs::copy(&self.program, &program).map_err(|error| file(&self.program, error))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
            .map_err(|error| file(&program, error))?;
        Ok(root)
    }
}

fn file(path: &Path, error: io::Error) -> RunError {
    RunError::File { path: path.to_owned(), error }
}

/// Whether an ELF file names an interpreter, i.e. a dynamic linker.
fn is_dynamic(path: &Path) -> Result<bool, RunError> {
    const INTERPRETER: usize = 3;
    let bytes = fs::read(path).map_err(|error| file(path, error))?;
    let number = |at: usize, size: usize| {
        let bytes = bytes.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let headers = || {
        if !bytes.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let (first, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        Some((0..count).filter_map(move |n| first.checked_add(n * size)))
    };
    let Some(mut headers) = headers() else {
        let error = io::Error::other("no 64-bit ELF file");
        return Err(file(path, error));
    };
    Ok(headers.any(|at| number(at, 4) == Some(INTERPRETER)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_needs_a_linker_is_refused_with_the_way_to_build_it() {
        let program = std::env::current_exe().unwrap();
        let machine = Machine { kernel: "/nonexistent/linux".into(), program };
        let error = machine.run("mtty-2", &[], Duration::from_secs(1)).unwrap_err().to_string();
        assert!(error.contains("crt-static"), "{error}");
    }

    #[test]
    fn what_is_no_program_is_an_error() {
        let machine =
            Machine { kernel: "/nonexistent/linux".into(), program: "/etc/passwd".into() };
        let error = machine.run("mtty-2", &[], Duration::from_secs(1)).unwrap_err().to_string();
        assert!(error.contains("no 64-bit ELF"), "{error}");
    }
}
