//! Folders and sockets that are gone when a program ends, whatever ends it.
//!
//! ```text
//!   folder(), listen(path) --> noted --drop--> removed
//!                                \--a signal: remove_all()--> removed
//! ```
//!
//! A destructor does not run when a signal ends the program, so what is made here is noted until it is
//! removed, and whoever handles the signal removes what is still noted.
//!
//! **Invariants.** What is made is noted before a signal can be handled: both happen under one lock.
//! After [`remove_all`] nothing is made any more.
//!
//! A folder is locked as long as its owner runs, and then marked. After SIGKILL nobody removes it: the next
//! program that makes a folder removes those that are marked and not locked any more.
//!
//! **Not here:** sockets that SIGKILL leaves behind outside such a folder, where a user asked for them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// What there is to remove.
static MADE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The beginning of every folder's name.
const OURS: &str = "devmig-";

/// The file that marks a folder as ours. It is made once the folder is locked.
const MARK: &str = ".temporary";

/// What earlier programs left behind is removed once.
static SWEPT: Once = Once::new();

/// How often it is tried to remove a folder in which a thread is about to make a file.
const TRIES: usize = 8;

fn made() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder with all that is in it, or a socket. Dropping it removes it.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
    /// A folder's lock, which the kernel lets go when we are gone.
    _held: Option<File>,
}

impl Temporary {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let mut made = made();
        remove(&self.path);
        made.remove(&self.path);
    }
}

/// Makes a folder for temporary files; its name begins with `devmig-` and `kind`.
///
/// # Errors
/// The system's.
pub fn folder(kind: &str) -> io::Result<Temporary> {
    SWEPT.call_once(|| sweep(&std::env::temp_dir()));
    let mut made = made();
    let folder = tempfile::Builder::new().prefix(&format!("{OURS}{kind}")).tempdir()?;
    let held = File::open(folder.path())?;
    held.try_lock()?;
    File::create(folder.path().join(MARK))?;
    let path = folder.keep();
    made.insert(path.clone());
    Ok(Temporary { path, _held: Some(held) })
}

/// Removes the folders here whose owners are gone. Nobody could be told of a failure.
fn sweep(all: &Path) {
    for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let named = entry.file_name().to_string_lossy().starts_with(OURS);
        if named
            && is_folder
            && path.join(MARK).is_file()
            && let Ok(lock) = File::open(&path)
            && lock.try_lock().is_ok()
        {
            remove(&path);
        }
    }
}

/// Listens at a path.
///
/// # Errors
/// The system's: something is there already, say.
pub fn listen(path: &Path) -> io::Result<(UnixListener, Temporary)> {
    let mut made = made();
    let listener = UnixListener::bind(path)?;
    // A program that changes its folder must still find it.
    let path = std::path::absolute(path)?;
    made.insert(path.clone());
    Ok((listener, Temporary { path, _held: None }))
}

/// Removes all that was made, since the program is about to end, and then calls `leave`, which does
/// not return: nothing can be made meanwhile.
pub fn remove_all(leave: impl FnOnce()) {
    let made = made();
    made.iter().for_each(|path| remove(path));
    leave();
}

/// That it is gone already is what we want; and nobody could be told of another failure.
fn remove(path: &Path) {
    for _ in 0..TRIES {
        let done = match std::fs::symlink_metadata(path) {
            Ok(there) if there.is_dir() => std::fs::remove_dir_all(path),
            Ok(_) => std::fs::remove_file(path),
            Err(_) => return,
        };
        if done.is_ok() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_gone() {
        let folder = folder("test-").unwrap();
        let (path, socket) = (folder.path().to_owned(), folder.path().join("socket"));
        let (_listener, listening) = listen(&socket).unwrap();
        assert!(socket.exists() && listen(&socket).is_err());
        drop(listening);
        assert!(!socket.exists());
        std::fs::write(path.join("file"), "text").unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_program_left_is_removed_and_nothing_else() {
        let all = tempfile::tempdir().unwrap();
        let [left, used, other, foreign] =
            ["devmig-left", "devmig-used", "devmig-notes", "mine"].map(|n| all.path().join(n));
        for folder in [&left, &used, &other, &foreign] {
            std::fs::create_dir(folder).unwrap();
        }
        for folder in [&left, &used, &foreign] {
            std::fs::write(folder.join(MARK), "").unwrap();
        }
        let held = File::open(&used).unwrap();
        held.try_lock().unwrap();
        sweep(all.path());
        assert!(!left.exists());
        assert!(used.exists() && other.exists() && foreign.exists());
        drop(held);
        sweep(all.path());
        assert!(!used.exists());
    }
}
