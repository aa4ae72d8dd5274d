//! The connections of a migration. A thread writes each connection, and another reads it.
//!
//! **Invariant.** A destination that does not read delays nothing but its own connection, and what it sends is
//! read and dropped.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;

use devmig_reference::socket::Deadline;

/// How often a thread looks whether it has ended.
const LOOK: std::time::Duration = std::time::Duration::from_millis(5);

/// Connections that are open.
#[derive(Debug, Default)]
pub struct Sending {
    sockets: Vec<UnixStream>,
    writers: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
}

impl Sending {
    /// Opens a connection for each of these, in their order, and sends it; then ends it, if it has an end. A
    /// destination that has failed accepts no further ones.
    ///
    /// # Errors
    /// If the first connection cannot be opened.
    pub fn start(to: &Path, connections: Vec<(Vec<u8>, bool)>) -> io::Result<Self> {
        let mut sending = Sending::default();
        for (bytes, ends) in connections {
            let socket = match UnixStream::connect(to) {
                Ok(socket) => socket,
                Err(error) if sending.sockets.is_empty() => return Err(error),
                Err(_) => break,
            };
            let (mut writer, mut reader) = (socket.try_clone()?, socket.try_clone()?);
            sending.writers.push(std::thread::spawn(move || {
                // A destination that has had enough closes the connection.
                let whole = writer.write_all(&bytes).is_ok();
                if whole && ends {
                    let _ = writer.shutdown(Shutdown::Write);
                }
            }));
            sending.readers.push(std::thread::spawn(move || {
                let mut room = [0; 4096];
                while reader.read(&mut room).is_ok_and(|count| count > 0) {}
            }));
            sending.sockets.push(socket);
        }
        Ok(sending)
    }

    /// Waits until all was written, or the deadline has passed: whether it was.
    #[must_use]
    pub fn is_written(&self, deadline: Deadline) -> bool {
        while !self.writers.iter().all(JoinHandle::is_finished) {
            if deadline.passed() {
                return false;
            }
            deadline.pause(LOOK);
        }
        true
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        for socket in &self.sockets {
            // It may be gone already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        for thread in self.writers.drain(..).chain(self.readers.drain(..)) {
            let _ = thread.join();
        }
    }
}
