//! `devmig device settings` and `devmig device mutants`: what there is to switch.

use devmig_reference::vhost_user::{Mutant, Settings};

use super::{Error, Out, Status};

/// What `--set` can set.
pub(super) fn settings(out: &mut Out<'_>) -> Result<Status, Error> {
    for (name, options) in Settings::KNOWN {
        out.text(&format!("{name} = {}\n", options.join(" | ")))?;
    }
    Ok(Status::Good)
}

/// What `--mutant` can do wrong.
pub(super) fn mutants(out: &mut Out<'_>) -> Result<Status, Error> {
    for mutant in Mutant::ALL {
        out.text(&format!("{mutant}\n    {} ({})\n", mutant.about(), mutant.clause()))?;
    }
    Ok(Status::Good)
}
