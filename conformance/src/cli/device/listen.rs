//! A socket to listen on.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use devmig_reference::temporary::{self, Temporary};

use super::Error;

/// Listens there, until what is given with the listener is dropped. A socket that a server has left
/// behind is no obstacle, anything else is.
pub(super) fn listen(path: &Path) -> Result<(UnixListener, Temporary), Error> {
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
                    format!("a server already listens at {shown}"),
                    "stop it, or choose another --socket-path",
                );
            }
        }
    }
    match temporary::listen(path) {
        Ok(listening) => Ok(listening),
        Err(error) => match error.kind() {
            ErrorKind::AddrInUse => refused(
                format!("{shown} exists and is not a socket"),
                "choose another --socket-path",
            ),
            ErrorKind::NotFound => {
                refused(format!("the folder of {shown} does not exist"), "create it first")
            }
            ErrorKind::PermissionDenied => refused(
                format!("{shown} cannot be created: its folder is not writable"),
                "choose another --socket-path",
            ),
            ErrorKind::InvalidInput => {
                refused(format!("{shown} is too long for a socket's path"), "use at most 107 bytes")
            }
            _ => Err(Error::Write { to: shown.to_string(), cause: error }),
        },
    }
}
