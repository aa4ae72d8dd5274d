//! A kernel's driver as a peer: how the kernel is configured, and its suite in guests.
//!
//! The kernel is user-mode Linux, built from a distribution's source by the lines of the peer's file.
//! Its configuration is ours; it stands beside that file, and in the cache while it is built:
//!
//! ```text
//!   peers/linux-mtty.config --prepare--> cache/linux-mtty.config --install--> cache/bin/linux-mtty
//!                                          the same? else: not there --> built anew by --install
//! ```
//!
//! **Invariant.** A kernel that was built by another configuration is none of ours.

use std::path::{Path, PathBuf};
use std::time::Duration;

use devmig_model::spec::matches;

use super::installed::Missing;
use super::setting::{Setting, cache};
use super::{Peer, Serves};
use crate::harness::report::SuiteReport;
use crate::vfio::guest::{Machine, Opening, Plan};
use crate::vfio::suite::Test;

/// The configurations: a peer's name, and what is switched on.
const CONFIGURATIONS: &[(&str, &str)] =
    &[("linux-mtty", include_str!("../../implementations/linux-mtty.config"))];

/// The version of VFIO's text by which a driver is judged.
const TEXT: &str = "7.1";

/// How long the tests that return may take together: they take a tenth of it.
const LIMIT: Duration = Duration::from_secs(120);

/// How long a test that may never return may take: it takes a tenth of it, or for ever.
const ALONE: Duration = Duration::from_secs(10);

impl Peer {
    /// Where its kernel's configuration is kept, and what it is; none for what is no kernel.
    fn configuration(&self) -> Option<(PathBuf, &'static str)> {
        let Serves::Mediated { .. } = self.serves else { return None };
        let (name, text) = CONFIGURATIONS.iter().find(|(name, _)| *name == self.name)?;
        Some((cache().join(format!("{name}.config")), text))
    }

    /// Puts what the lines that install it need where they find it.
    pub(super) fn prepare(&self) -> Result<(), Missing> {
        let Some((path, text)) = self.configuration() else { return Ok(()) };
        let written = std::fs::create_dir_all(cache()).and_then(|()| std::fs::write(&path, text));
        // What was built by another must not be taken for what is built now, should that fail.
        let _ = std::fs::remove_file(cache().join("bin").join(&self.name));
        written.map_err(Missing::file(&path))
    }

    /// Whether what is there was built as it is configured now.
    pub(super) fn is_as_configured(&self) -> Result<(), Missing> {
        match self.configuration() {
            Some((path, text)) if std::fs::read_to_string(&path).ok().as_deref() != Some(text) => {
                Err(Missing::OtherConfiguration)
            }
            _ => Ok(()),
        }
    }
}

/// The suite in guests of a kernel.
pub(super) struct Guests<'a> {
    machine: Machine,
    device: &'a str,
    setting: Setting<'a>,
}

impl<'a> Guests<'a> {
    pub(super) fn new(peer: &Peer, device: &'a str, setting: Setting<'a>) -> Result<Self, Missing> {
        let program =
            std::env::current_exe().map_err(Missing::file(Path::new("/proc/self/exe")))?;
        let machine = Machine { kernel: peer.program(&peer.name), program };
        Ok(Guests { machine, device, setting })
    }

    /// All tests, or those that match, with the device opened in this way.
    pub(super) fn play(
        &self,
        opening: Opening,
        pattern: Option<&str>,
    ) -> Result<SuiteReport, Missing> {
        let wanted = |test: &&Test| pattern.is_none_or(|pattern| matches(pattern, &test.id));
        let tests: Vec<&Test> = self.setting.vfio.iter().filter(wanted).collect();
        let plan = Plan {
            machine: &self.machine,
            device: self.device,
            opening,
            text: TEXT,
            limit: LIMIT,
            alone: ALONE,
        };
        let report = plan.play(self.setting.library, &tests)?;
        report.ok_or(Missing::NoTest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use devmig_model::registry::Library;

    #[test]
    fn every_kernel_has_a_configuration_and_nothing_else_has_one() {
        let library = Library::builtin().unwrap();
        let suite = crate::vhost_user::suite::whole(&library).unwrap();
        let peers = super::super::builtin(&library, &suite).unwrap();
        for peer in &peers {
            let kernel = matches!(peer.serves, Serves::Mediated { .. });
            assert_eq!(peer.configuration().is_some(), kernel, "{}", peer.name);
        }
        assert!(peers.iter().any(|peer| peer.configuration().is_some()));
    }
}
