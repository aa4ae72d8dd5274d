//! Every argument that names a file is known, with what holds it to the limits.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::path::PathBuf;

use super::commands;

/// Files that are read: `tests/inputs.rs` tries each kind with what is no regular file, or too large.
const READ: [&str; 15] = [
    "vm",
    "memory",
    "check",
    "proposal",
    "file",
    "script",
    "waivers",
    "source",
    "destination",
    "hosts",
    "files",
    "golden",
    "dir",
    "recording",
    "source_ram",
];

/// Files that are written, and folders for them: the same test.
const WRITTEN: [&str; 7] = ["junit", "results", "record", "folder", "came", "save", "new_file"];

/// Sockets, devices and places for them: nothing is read from their files.
const PLACES: [&str; 12] = [
    "socket",
    "socket_path",
    "vfio_user",
    "outside",
    "control",
    "listen",
    "connect",
    "cdev",
    "group",
    "device",
    "qmp",
    // The folder of a guest, which this program has made for itself.
    "here",
];

#[test]
fn every_path_is_held_to_the_limits() {
    let commands = commands();
    let arguments = commands.iter().flat_map(|(_, command)| command.get_arguments());
    let path = TypeId::of::<PathBuf>();
    let paths = arguments.filter(|arg| arg.get_value_parser().type_id() == path);
    let found: BTreeSet<String> = paths.map(|arg| arg.get_id().to_string()).collect();
    assert!(found.len() > 10, "{found:?}");
    let known = |name: &str| READ.iter().chain(&WRITTEN).chain(&PLACES).any(|k| *k == name);
    let new: Vec<_> = found.iter().filter(|name| !known(name)).collect();
    assert!(
        new.is_empty(),
        "add {new:?} here, and to tests/inputs.rs if a file is read or written"
    );
}
