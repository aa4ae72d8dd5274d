//! A back-end in a thread of its own, for tests.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Options, ServeError, Stop, serve};
use crate::temporary::{self, Temporary};

/// What its socket is called.
const MAIN: &str = "vhost.sock";
/// What the socket is called from which the device is changed.
const OUTSIDE: &str = "outside.sock";

/// A server in a thread of its own. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Serving {
    stop: Stop,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
    /// Closed when the thread ends, whatever ends it.
    over: Receiver<()>,
}

impl Serving {
    /// Starts one.
    pub(crate) fn start(
        serve: impl FnOnce(&Stop) -> Result<(), ServeError> + Send + 'static,
    ) -> Result<Self, ServeError> {
        let stop = Stop::new()?;
        let theirs = stop.clone();
        let (running, over) = channel::<()>();
        let thread =
            std::thread::Builder::new().name("reference back-end".into()).spawn(move || {
                let _running = running;
                serve(&theirs)
            })?;
        Ok(Serving { stop, thread: Some(thread), over })
    }

    /// Stops it, and says how it ended: [`ServeError::Stuck`] if it does not end within the limit.
    pub(crate) fn stop(&mut self, limit: Duration) -> Result<(), ServeError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.stop.stop()?;
        if self.over.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            return Err(ServeError::Stuck(limit));
        }
        thread.join().map_err(|_| ServeError::Panicked)?
    }
}

impl Drop for Serving {
    /// A thread that is stuck is left behind: a destructor can tell nobody.
    fn drop(&mut self) {
        let _ = self.stop(Duration::from_secs(5));
    }
}

/// A back-end in a thread of its own, on a socket in a folder of its own. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    serving: Serving,
    // Removed after the server has stopped.
    folder: Temporary,
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
        let folder = temporary::folder("")?;
        let listen = |name| {
            let path = folder.path().join(name);
            UnixListener::bind(&path).map_err(|error| ServeError::Listen { path, error })
        };
        let (listener, outside) = (listen(MAIN)?, listen(OUTSIDE)?);
        let serving = Serving::start(move |stop| serve(&listener, &outside, stop))?;
        Ok(Running { serving, folder })
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(MAIN)
    }

    /// Where somebody who connects changes the device that is being served.
    #[must_use]
    pub fn outside(&self) -> PathBuf {
        self.folder.path().join(OUTSIDE)
    }

    /// Stops it, and says how it ended.
    ///
    /// # Errors
    /// What [`serve`] ended with; [`ServeError::Stuck`] if it does not end within the limit.
    pub fn stop(mut self, limit: Duration) -> Result<(), ServeError> {
        self.serving.stop(limit)
    }
}
