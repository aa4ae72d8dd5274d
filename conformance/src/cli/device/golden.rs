//! `devmig device golden`: golden states of the NIC, as files; or whether those that are there are still
//! what it writes.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use devmig_reference::golden::{Form, vectors};

use super::super::select::text_if_there;
use super::{Error, Out, Status};
use crate::harness::io::files;

/// Write golden states: what a NIC of each model and configuration saves, for programs that must go on
/// to read it.
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::DEVICE_GOLDEN)]
pub(super) struct Golden {
    /// Folder of the files
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Write nothing; exit with 1 if a file is out of date
    #[arg(long)]
    check: bool,
}

/// Runs it.
pub(super) fn run(args: &Golden, out: &mut Out<'_>) -> Result<Status, Error> {
    let vectors = vectors().map_err(|error| Error::Serve(error.to_string()))?;
    let mut status = Status::Good;
    for vector in &vectors {
        let path = args.folder.join(format!("{}.json", vector.name));
        let text = serde_json::to_string_pretty(&Form::from(vector));
        let text = text.map_err(|error| Error::Serve(error.to_string()))? + "\n";
        let word = match (args.check, text_if_there(&path)?) {
            (true, Some(known)) if known == text => "same",
            (true, known) => {
                status = Status::Bad;
                if known.is_some() { "DIFFERS" } else { "MISSING" }
            }
            (false, _) => {
                let failed = |cause| Error::Write { to: path.display().to_string(), cause };
                let written = files::create(&path).map_err(std::io::Error::from);
                written.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
                "written"
            }
        };
        out.text(&format!("{word:<8} {}\n", path.display()))?;
    }
    Ok(status)
}
