//! A back-end in a thread of its own, for tests.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Deadline, Options, ServeError, Stop, serve};

/// What the socket is called from which the device is changed.
const OUTSIDE: &str = "outside.sock";

/// A back-end in a thread of its own, on a socket in a folder of its own. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    folder: tempfile::TempDir,
    stop: Stop,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Running {
    /// Starts one; its socket accepts when this returns.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub fn start(options: Options) -> Result<Self, ServeError> {
        Self::start_with(move |listener, outside, stop| {
            serve(listener, Some(outside), &options, stop)
        })
    }

    /// The same for any server; the second socket is the one from which a device is changed.
    pub(crate) fn start_with(
        serve: impl FnOnce(&UnixListener, &UnixListener, &Stop) -> Result<(), ServeError>
        + Send
        + 'static,
    ) -> Result<Self, ServeError> {
        let folder = tempfile::Builder::new().prefix("devmig-").tempdir()?;
        let path = folder.path().join("vhost.sock");
        let listener = UnixListener::bind(&path)
            .map_err(|error| ServeError::Listen { path: path.clone(), error })?;
        let path = folder.path().join(OUTSIDE);
        let outside = UnixListener::bind(&path)
            .map_err(|error| ServeError::Listen { path: path.clone(), error })?;
        let stop = Stop::new()?;
        let theirs = stop.clone();
        let thread = std::thread::Builder::new()
            .name("reference back-end".into())
            .spawn(move || serve(&listener, &outside, &theirs))?;
        Ok(Running { folder, stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder().join("vhost.sock")
    }

    /// Where somebody who connects changes the device that is being served.
    #[must_use]
    pub fn outside(&self) -> PathBuf {
        self.folder().join(OUTSIDE)
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops it, and says how it ended.
    ///
    /// # Errors
    /// What [`serve`] ended with; [`ServeError::Stuck`] if it does not end within the limit.
    pub fn stop(mut self, limit: Duration) -> Result<(), ServeError> {
        self.end(limit)
    }

    fn end(&mut self, limit: Duration) -> Result<(), ServeError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.stop.stop()?;
        let deadline = Deadline::after(limit);
        while !thread.is_finished() {
            if deadline.passed() {
                return Err(ServeError::Stuck(limit));
            }
            deadline.pause(Duration::from_millis(1));
        }
        thread.join().map_err(|_| ServeError::Panicked)?
    }
}

impl Drop for Running {
    /// A thread that is stuck is left behind: a destructor can tell nobody.
    fn drop(&mut self) {
        let _ = self.end(Duration::from_secs(5));
    }
}
