//! Starting a kernel as a process, and what came of it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use devmig_reference::temporary;

use super::{ARGUMENTS, ENVIRONMENT, EXIT, OUT, PROGRAM, RESULTS, STDERR, STDOUT};
use crate::harness::io::process::{Command, SpawnError};
use crate::vhost_user::Deadline;

/// A kernel, and the program that it runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    /// User-mode Linux with the driver in it.
    pub kernel: PathBuf,
    /// `devmig`. What it needs of libraries is given to the guest; linked statically, it needs none.
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
    /// The results that it kept as they came.
    pub results: String,
    /// The end of what the kernel printed.
    pub console: String,
    /// It was ended from outside since its time was up.
    pub hung: bool,
}

/// Why there is no guest.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The libraries that the program needs cannot be found.
    #[error(
        "the libraries of {0} cannot be found: build it with \
         RUSTFLAGS='-C target-feature=+crt-static' cargo build --profile guest --target \
         x86_64-unknown-linux-gnu, which needs none"
    )]
    Libraries(PathBuf),
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
    /// The kernel did not come as far as the command.
    #[error("the guest does not start: {0}")]
    NotStarted(String),
}

/// Where a guest's files are.
struct Place<'p> {
    /// What is its root.
    root: &'p Path,
    /// The program that it begins with, there.
    init: &'p str,
    /// Where it is told its command, and leaves what came of it.
    said: &'p Path,
}

/// The memory of a guest that has one program, in MiB.
const OWN_MEMORY: u32 = 96;

/// What of the environment a guest with the host's files has too: where programs are.
const PASSED_ON: [&str; 3] = ["PATH", "HOME", "DEVMIG_PEERS"];

/// The guest's folders.
const FOLDERS: [&str; 5] = ["dev", "proc", "sys", "tmp", OUT];

impl Machine {
    /// Boots, makes a mediated device of a type (`mtty-2`), runs `devmig` with these arguments, and
    /// waits for the end, at most for `limit`.
    ///
    /// # Errors
    /// If there is no guest. One that hangs or fails once it has begun is no error.
    pub fn run(
        &self,
        device: &str,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<Ended, RunError> {
        let folder = temporary::folder("guest-");
        let folder = folder.map_err(|error| file(Path::new("a temporary folder"), error))?;
        let root = self.furnish(folder.path())?;
        let place = Place { root: &root, init: &format!("/{PROGRAM}"), said: &root };
        self.boot(&place, folder.path(), OWN_MEMORY, &[device], arguments, limit)
    }

    /// Boots with the host's files as its own, and runs `devmig` with these arguments, which makes the devices
    /// that it needs. Temporary files are in the guest's memory: `memory` MiB in all.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn run_here(
        &self,
        memory: u32,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<Ended, RunError> {
        let folder = temporary::folder("guest-");
        let folder = folder.map_err(|error| file(Path::new("a temporary folder"), error))?;
        let said = folder.path().join("said");
        let out = said.join(OUT);
        fs::create_dir_all(&out).map_err(|error| file(&out, error))?;
        let named = |name: &&str| Some(format!("{name}={}\n", std::env::var(name).ok()?));
        let path = said.join(ENVIRONMENT);
        let environment: String = PASSED_ON.iter().filter_map(named).collect();
        fs::write(&path, environment).map_err(|error| file(&path, error))?;
        let init = self.program.to_string_lossy();
        let place = Place { root: Path::new("/"), init: &init, said: &said };
        let words = ["--here", &*said.to_string_lossy()];
        self.boot(&place, folder.path(), memory, &words, arguments, limit)
    }

    fn boot(
        &self,
        place: &Place<'_>,
        folder: &Path,
        memory: u32,
        guest: &[&str],
        arguments: &[&str],
        limit: Duration,
    ) -> Result<Ended, RunError> {
        let mut words = vec![
            self.kernel.to_string_lossy().into_owned(),
            format!("mem={memory}M"),
            format!("uml_dir={}", folder.display()),
            "root=/dev/root".into(),
            "rootfstype=hostfs".into(),
            format!("rootflags={}", place.root.display()),
            "rw".into(),
            "quiet".into(),
            "panic=-1".into(),
            "con=null".into(),
            "con0=null,fd:1".into(),
            // Not said, it is added behind what is meant for init.
            "console=tty0".into(),
            format!("init={}", place.init),
            "--".into(),
            "guest".into(),
        ];
        words.extend(guest.iter().map(|word| (*word).to_owned()));
        let path = place.said.join(ARGUMENTS);
        fs::write(&path, arguments.join("\n")).map_err(|error| file(&path, error))?;
        let mut process = Command::plain(words)?.spawn()?;
        let hung = process.wait(Deadline::after(limit)).is_none();
        let console = process.last_output();
        process.stop();
        let out = place.said.join(OUT);
        if !out.join(STDOUT).exists() && !out.join(EXIT).exists() {
            let panic = console.lines().find(|line| line.contains("panic"));
            let words = panic.or(console.lines().last()).unwrap_or("it says nothing");
            return Err(RunError::NotStarted(words.to_owned()));
        }
        let text = |name: &str| {
            fs::read(out.join(name))
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .unwrap_or_default()
        };
        let code = text(EXIT).trim().parse().ok();
        let (output, errors, results) = (text(STDOUT), text(STDERR), text(RESULTS));
        Ok(Ended { code, output, errors, results, console, hung })
    }

    /// The guest's root.
    fn furnish(&self, folder: &Path) -> Result<PathBuf, RunError> {
        let libraries = libraries(&self.program)?;
        let root = folder.join("root");
        for name in FOLDERS {
            let path = root.join(name);
            fs::create_dir_all(&path).map_err(|error| file(&path, error))?;
        }
        bring(&self.program, &root.join(PROGRAM))?;
        for library in libraries {
            let place = library.strip_prefix("/").unwrap_or(&library);
            bring(&library, &root.join(place))?;
        }
        Ok(root)
    }
}

/// Brings a program or a library into the guest's root.
fn bring(from: &Path, to: &Path) -> Result<(), RunError> {
    let parent = to.parent().unwrap_or(to);
    fs::create_dir_all(parent).map_err(|error| file(parent, error))?;
    fs::copy(from, to).map_err(|error| file(from, error))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).map_err(|error| file(to, error))
}

/// The libraries that a program needs, and its dynamic linker, which is who names them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, RunError> {
    let Some(linker) = interpreter(program)? else { return Ok(Vec::new()) };
    let listed = Process::new(&linker).arg("--list").arg(program).stdin(Stdio::null()).output();
    let listed = listed.map_err(|error| file(&linker, error))?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let paths = text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    let mut paths: Vec<PathBuf> = paths.collect();
    if !listed.status.success() || paths.is_empty() {
        return Err(RunError::Libraries(program.to_owned()));
    }
    if !paths.contains(&linker) {
        paths.push(linker);
    }
    Ok(paths)
}

fn file(path: &Path, error: io::Error) -> RunError {
    RunError::File { path: path.to_owned(), error }
}

/// The dynamic linker that an ELF file names, if it does.
fn interpreter(path: &Path) -> Result<Option<PathBuf>, RunError> {
    const INTERPRETER: usize = 3;
    let bytes = fs::read(path).map_err(|error| file(path, error))?;
    let part = |at: usize, size: usize| bytes.get(at..at.checked_add(size)?);
    let number = |at, size| {
        Some(part(at, size)?.iter().rev().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let headers = || {
        if !bytes.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let (first, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        Some((0..count).filter_map(move |n| first.checked_add(n * size)))
    };
    let Some(mut headers) = headers() else {
        return Err(file(path, io::Error::other("no 64-bit ELF file")));
    };
    let named = headers.find(|at| number(*at, 4) == Some(INTERPRETER)).and_then(|at| {
        let name = part(number(at.checked_add(8)?, 8)?, number(at.checked_add(32)?, 8)?)?;
        Some(OsStr::from_bytes(name.split(|byte| *byte == 0).next()?).into())
    });
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_brings_its_libraries_and_their_linker() {
        let program = std::env::current_exe().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine { kernel: "/nonexistent/linux".into(), program: program.clone() };
        let root = machine.furnish(folder.path()).unwrap();
        assert!(root.join(PROGRAM).is_file() && root.join(OUT).is_dir());
        let linker = interpreter(&program).unwrap();
        for library in libraries(&program).unwrap().iter().chain(&linker) {
            assert!(root.join(library.strip_prefix("/").unwrap()).is_file(), "{library:?}");
        }
    }

    #[test]
    fn a_program_that_is_linked_statically_is_all_that_its_guest_has() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("static");
        let mut header = [0; 64]; // of a 64-bit ELF file without program headers
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        fs::write(&program, header).unwrap();
        let machine = Machine { kernel: "/nonexistent/linux".into(), program };
        let root = machine.furnish(folder.path()).unwrap();
        let there = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name());
        let mut there: Vec<_> = there.collect();
        there.sort();
        assert_eq!(there, ["dev", "devmig", "out", "proc", "sys", "tmp"]);
    }

    #[test]
    fn a_kernel_that_is_not_there_is_an_error() {
        let program = std::env::current_exe().unwrap();
        let machine = Machine { kernel: "/nonexistent/linux".into(), program };
        let error = machine.run("mtty-2", &[], Duration::from_secs(1)).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/linux"), "{error}");
    }

    #[test]
    fn a_kernel_that_does_not_come_as_far_as_the_command_is_an_error() {
        let machine =
            Machine { kernel: "/bin/false".into(), program: std::env::current_exe().unwrap() };
        let error = machine.run("mtty-2", &[], Duration::from_secs(5)).unwrap_err().to_string();
        assert!(error.contains("does not start"), "{error}");
    }

    #[test]
    fn what_is_no_program_is_an_error() {
        let machine =
            Machine { kernel: "/nonexistent/linux".into(), program: "/etc/passwd".into() };
        let error = machine.run("mtty-2", &[], Duration::from_secs(1)).unwrap_err().to_string();
        assert!(error.contains("no 64-bit ELF"), "{error}");
    }
}
