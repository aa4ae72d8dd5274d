//! Files that a user names: how they are read, and how they are written.
//!
//! ```text
//!   --script, --waivers, --proposal, recordings, descriptions, golden states --> read, within a limit
//!   --junit, --record, --results  <-- written: in place as it comes, or whole at the end
//! ```
//!
//! **Invariants.** Only a regular file is opened: a FIFO or a device could block for ever, or never
//! end. No more than the limit is read, whatever the file says of its size. A file that is written
//! whole is replaced in one step, or not at all.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// The most bytes of a file, unless its kind has a smaller limit.
pub const MAX_FILE: u64 = 16 << 20;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system does not give it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A folder, a FIFO, a socket or a device.
    #[error("it is not a regular file, but {0}")]
    NotRegular(&'static str),
    /// More than the limit.
    #[error("it has more than {0} bytes, which is the limit")]
    TooLarge(u64),
    /// Bytes that are no text.
    #[error("it is not text in UTF-8")]
    NotText,
}

impl FileError {
    /// Whether there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, FileError::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io(error) => error,
            other => io::Error::other(other),
        }
    }
}

/// What a file is that is not a regular one.
fn kind(kind: std::fs::FileType) -> Result<(), FileError> {
    use std::os::unix::fs::FileTypeExt as _;
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(FileError::NotRegular(what))
}

/// Opens a regular file, which links may lead to, to be read.
///
/// # Errors
/// If it is not there, or not a regular file.
pub fn open(path: &Path) -> Result<File, FileError> {
    // Opening a device may have effects, so its kind is looked at before; and once more after, since
    // it may have become another meanwhile. Opening a FIFO must not wait for its other end.
    kind(std::fs::metadata(path)?.file_type())?;
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    kind(file.metadata()?.file_type())?;
    Ok(file)
}

/// The bytes of a file, at most `limit` of them.
///
/// # Errors
/// If it is not there, not a regular file, or larger.
pub fn bytes(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let file = open(path)?;
    // What says that it is too large need not be read.
    if file.metadata()?.len() > limit {
        return Err(FileError::TooLarge(limit));
    }
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()).is_ok_and(|read| read <= limit) {
        true => Ok(bytes),
        false => Err(FileError::TooLarge(limit)),
    }
}

/// The text of a file of at most [`MAX_FILE`] bytes.
///
/// # Errors
/// If it is not there, not a regular file, larger, or not text.
pub fn text(path: &Path) -> Result<String, FileError> {
    String::from_utf8(bytes(path, MAX_FILE)?).map_err(|_| FileError::NotText)
}

/// Creates or empties a regular file that is written as results come.
///
/// # Errors
/// If something else is there, or it cannot be made.
pub fn create(path: &Path) -> Result<File, FileError> {
    match std::fs::metadata(path) {
        Ok(there) => kind(there.file_type())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).custom_flags(flags).open(path)?;
    kind(file.metadata()?.file_type())?;
    file.set_len(0)?;
    Ok(file)
}

/// Writes a file that does not exist yet.
///
/// # Errors
/// If something is there, or it cannot be written.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    if let Ok(there) = std::fs::metadata(path) {
        kind(there.file_type())?;
    }
    Ok(OpenOptions::new().write(true).create_new(true).open(path)?.write_all(bytes)?)
}

/// A file that is replaced when all that goes into it is known.
#[derive(Clone, Debug)]
pub struct Whole {
    /// Where a link leads to: the link itself stays.
    path: PathBuf,
    folder: PathBuf,
}

impl Whole {
    /// The file of this path. A place that cannot be written to is better known before a run than
    /// after it.
    ///
    /// # Errors
    /// If something other than a regular file is there, or none can be made there.
    pub fn new(path: &Path) -> Result<Self, FileError> {
        let path = match std::fs::canonicalize(path) {
            Ok(there) => {
                kind(std::fs::metadata(&there)?.file_type())?;
                OpenOptions::new().write(true).open(&there)?;
                there
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(error.into()),
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        let whole = Whole { path, folder };
        whole.beside()?;
        Ok(whole)
    }

    /// A new file in the same folder, gone unless it is kept.
    fn beside(&self) -> io::Result<tempfile::NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".devmig-").permissions(Permissions::from_mode(0o666));
        builder.tempfile_in(&self.folder)
    }

    /// Replaces the file by one that holds this.
    ///
    /// # Errors
    /// The system's; the file is then as it was.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut beside = self.beside()?;
        beside.write_all(bytes)?;
        beside.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_neither_read_nor_written() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [&fifo, &link, &socket, &folder.path().to_owned()] {
            let ends = [
                bytes(path, 10).unwrap_err(),
                text(path).unwrap_err(),
                create(path).unwrap_err(),
                Whole::new(path).unwrap_err(),
            ];
            for end in ends {
                assert!(matches!(end, FileError::NotRegular(_)), "{}: {end}", path.display());
            }
        }
    }

    #[test]
    fn the_limit_is_the_last_size_that_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(bytes(&path, 5).unwrap(), b"12345");
        assert!(matches!(bytes(&path, 4), Err(FileError::TooLarge(4))));
        // A file of the kernel says that it is empty, and is not.
        assert!(matches!(bytes(Path::new("/proc/self/status"), 4), Err(FileError::TooLarge(4))));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(matches!(text(&path), Err(FileError::NotText)));
        assert!(text(&folder.path().join("none")).unwrap_err().is_missing());
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let whole = Whole::new(&link).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        whole.write(b"new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(Whole::new(&folder.path().join("no/such")).is_err());
    }

    #[test]
    fn a_write_that_fails_late_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let path = inner.join("file");
        let whole = Whole::new(&path).unwrap();
        // The folder goes while the run lasts.
        std::fs::remove_dir(&inner).unwrap();
        assert_eq!(whole.write(b"new").unwrap_err().kind(), io::ErrorKind::NotFound);
        // A folder takes the place of the file.
        std::fs::create_dir_all(path.join("other")).unwrap();
        whole.write(b"new").unwrap_err();
        assert_eq!(std::fs::read_dir(&inner).unwrap().count(), 1, "the new file is gone again");
        // A device is refused before the run.
        assert!(matches!(Whole::new(Path::new("/dev/full")), Err(FileError::NotRegular(_))));
    }
}
