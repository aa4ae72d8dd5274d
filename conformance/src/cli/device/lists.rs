//! `devmig device settings` and `devmig device mutants`: what there is to switch.

use devmig_reference::{vfio_user, vhost_user};

use super::{Error, Out, Status};

const VHOST_USER: &str = "over vhost-user (--socket-path)";
const VFIO_USER: &str = "over vfio-user (--vfio-user)";

/// What `--set` can set.
pub(super) fn settings(out: &mut Out<'_>) -> Result<Status, Error> {
    let known =
        [(VHOST_USER, vhost_user::Settings::KNOWN), (VFIO_USER, vfio_user::Settings::KNOWN)];
    for (protocol, settings) in known {
        heading(protocol, out)?;
        for (name, options) in settings {
            out.text(&format!("{name} = {}\n", options.join(" | ")))?;
        }
    }
    Ok(Status::Good)
}

/// What `--mutant` can do wrong.
pub(super) fn mutants(out: &mut Out<'_>) -> Result<Status, Error> {
    heading(VHOST_USER, out)?;
    for mutant in vhost_user::Mutant::ALL {
        line(mutant.name(), mutant.about(), mutant.clause(), out)?;
    }
    heading(VFIO_USER, out)?;
    for mutant in vfio_user::Mutant::ALL {
        line(mutant.name(), mutant.about(), mutant.clause(), out)?;
    }
    for mutant in devmig_reference::nic::Mutant::ALL {
        out.text(&format!("{mutant}\n    {} ({})\n", mutant.about(), mutant.clause()))?;
    }
    Ok(Status::Good)
}

fn heading(protocol: &str, out: &mut Out<'_>) -> Result<(), Error> {
    out.text(&format!("# {protocol}\n"))
}

fn line(name: &str, about: &str, clause: &str, out: &mut Out<'_>) -> Result<(), Error> {
    out.text(&format!("{name}\n    {about} ({clause})\n"))
}
