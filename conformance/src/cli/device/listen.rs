//! A socket to listen on.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::Error;

/// Listens there. A socket that a server has left behind is no obstacle, anything else is.
pub(super) fn listen(path: &Path) -> Result<UnixListener, Error> {
    let refused = |message: String, help: &str| Err(Error::usage(message, Some(help.into())));
    let shown = path.display();
    if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                // If it cannot be removed, binding says why.
                let _ = fs::remove_file(path);
            }
            _ => {
                return refused(
                    format!("a server listens at {shown} already"),
                    "end it, or choose another --socket-path",
                );
            }
        }
    }
    match UnixListener::bind(path) {
        Ok(listener) => Ok(listener),
        Err(error) => match error.kind() {
            ErrorKind::AddrInUse => refused(
                format!("{shown} is there already, and is no socket"),
                "choose another --socket-path",
            ),
            ErrorKind::NotFound => {
                refused(format!("there is no folder for {shown}"), "make it first")
            }
            ErrorKind::PermissionDenied => refused(
                format!("{shown} cannot be made: its folder may not be written to"),
                "choose another --socket-path",
            ),
            ErrorKind::InvalidInput => refused(
                format!("{shown} is too long for a socket's path"),
                "107 bytes are the most",
            ),
            _ => Err(Error::Write { to: shown.to_string(), cause: error }),
        },
    }
}
