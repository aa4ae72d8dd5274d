//! `devmig device nic --vfio-user`: the NIC as a PCI device that migrates.

use std::path::Path;

use devmig_model::registry::Library;
use devmig_reference::vfio_user::{CoreOptions, Mutant, ServerOptions, Settings, serve};

use super::making::Making;
use super::nic::Nic;
use super::{Error, Out, Status, at, bad_setting, mutant};

/// Serves it there.
pub(super) fn run(
    path: &Path,
    nic: &Nic,
    making: &Making,
    out: &mut Out<'_>,
) -> Result<Status, Error> {
    let names = Mutant::ALL.iter().map(|mutant| mutant.name());
    let behind = nic.common.behind.as_deref().map(|name| mutant(name, names.clone()));
    let (function, features) = (nic.over_vfio_user(making)?, features(&nic.features)?);
    let core = CoreOptions {
        mutant: nic.common.fault().map(|name| mutant(name, names)).transpose()?,
        behind: behind.transpose()?,
        ..CoreOptions::new(function, features, settings(&nic.common.settings)?)
    };
    let options = ServerOptions { core, once: nic.common.once };
    at(path, out, |listener, stop| serve(listener, &options, stop))
}

/// Features by their names, as bits.
fn features(names: &str) -> Result<u64, Error> {
    if names == "none" {
        return Ok(0);
    }
    let library = Library::builtin()?;
    let flags = library.vfio().table.flags(names.split(',').map(str::trim));
    flags.map_err(|(message, help)| Error::usage(message, help))
}

fn settings(list: &[String]) -> Result<Settings, Error> {
    let mut settings = Settings::default();
    for setting in list {
        let done = settings.set(setting);
        done.map_err(|error| bad_setting(&error, setting, Settings::KNOWN))?;
    }
    Ok(settings)
}
