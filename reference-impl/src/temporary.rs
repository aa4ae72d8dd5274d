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
//! **Not here:** what SIGKILL leaves behind. No program is asked.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What there is to remove.
static MADE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// How often it is tried to remove a folder in which a thread is about to make a file.
const TRIES: usize = 8;

fn made() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder with all that is in it, or a socket. Dropping it removes it.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
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

/// Makes a folder for temporary files; its name begins with `prefix`.
///
/// # Errors
/// The system's.
pub fn folder(prefix: &str) -> io::Result<Temporary> {
    let mut made = made();
    let path = tempfile::Builder::new().prefix(prefix).tempdir()?.keep();
    made.insert(path.clone());
    Ok(Temporary { path })
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
    Ok((listener, Temporary { path }))
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
        let folder = folder("devmig-test-").unwrap();
        let (path, socket) = (folder.path().to_owned(), folder.path().join("socket"));
        let (_listener, listening) = listen(&socket).unwrap();
        assert!(socket.exists() && listen(&socket).is_err());
        drop(listening);
        assert!(!socket.exists());
        std::fs::write(path.join("file"), "text").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
