//! What an implementation is run with, and where those are kept that were installed.

use std::path::PathBuf;

use devmig_model::registry::Library;

use crate::harness::report::Result as TestResult;
use crate::vhost_user::suite::Test;

/// What a run of peers shares.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// Everything that is loaded.
    pub library: &'a Library,
    /// The tests of vhost-user.
    pub suite: &'a [Test],
    /// The tests of VFIO.
    pub vfio: &'a [crate::vfio::suite::Test],
    /// The version of the text of vhost-user.
    pub text: &'a str,
    /// The rules of that version.
    pub rules: devmig_engine::rules::Rules,
    /// Told of each test that is over.
    pub done: &'a dyn Fn(&TestResult),
}

/// Where peers are installed that the system does not have.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("DEVMIG_PEERS").map_or_else(
        || {
            let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
            home.join(".cache").join("devmig-peers")
        },
        PathBuf::from,
    )
}
