//! Programs of others on this machine: installed by their lines, found, asked for their version.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Why an implementation is not there, or cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// A program cannot be run at all.
    #[error("cannot run `{program}`: {error}")]
    Run {
        /// The program, or the line of a shell.
        program: String,
        /// What the kernel says.
        error: io::Error,
    },
    /// A line that installs it failed.
    #[error("`{line}` failed ({status}): {last}")]
    Install {
        /// The line.
        line: String,
        /// How it ended.
        status: ExitStatus,
        /// Its last words.
        last: String,
    },
    /// It prints no version.
    #[error("`{0}` prints no version")]
    NoVersion(String),
    /// Its program is nowhere.
    #[error("there is no {0}: `devmig implementations --install` installs it")]
    Nowhere(String),
    /// A kernel that was built otherwise.
    #[error("it was not built here with this configuration")]
    OtherConfiguration,
    /// A command in its file cannot be split into words.
    #[error("its command cannot be split into words: {0}")]
    Words(#[from] shell_words::ParseError),
    /// A command in its file cannot be used.
    #[error(transparent)]
    Spawn(#[from] crate::harness::io::process::SpawnError),
    /// A file that installing it needs.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        error: io::Error,
    },
    /// The guests in which its suite runs.
    #[error(transparent)]
    Guest(#[from] crate::vfio::guest::RunError),
    /// No test of the suite is meant.
    #[error("there is no such test")]
    NoTest,
}

impl Missing {
    /// What is wrong with a file.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Missing::File { path, error }
    }
}

/// Runs the lines that install something, one after the other.
///
/// # Errors
/// The line that failed, with its last words.
pub(crate) fn install(lines: impl IntoIterator<Item = String>) -> Result<(), Missing> {
    for line in lines {
        let output = Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).output();
        let output = output.map_err(|error| Missing::Run { program: line.clone(), error })?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            let last = words.lines().last().unwrap_or_default().to_owned();
            return Err(Missing::Install { line, status: output.status, last });
        }
    }
    Ok(())
}

/// The version that a command prints: the first word that is one. `place` is where its program is.
///
/// # Errors
/// If it cannot be run, or prints none.
pub(crate) fn version(
    command: &str,
    place: impl FnOnce(&str) -> PathBuf,
) -> Result<(PathBuf, String), Missing> {
    let mut words = shell_words::split(command)?.into_iter();
    let program = place(&words.next().unwrap_or_default());
    let output = Command::new(&program).args(words).stdin(Stdio::null()).output();
    let name = || program.display().to_string();
    let output = output.map_err(|error| Missing::Run { program: name(), error })?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let numbered = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_ascii_digit());
        (word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.'))
            .then(|| word.to_owned())
    };
    let found = text.split_whitespace().find_map(numbered);
    found.map(|version| (program, version)).ok_or_else(|| Missing::NoVersion(command.to_owned()))
}
