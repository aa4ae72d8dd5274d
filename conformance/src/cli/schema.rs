//! `devmig schema`: the form of each JSON document that outside scripts read or write.

use devmig_engine::explore::trace::wrapped;

use super::{Error, Out, Status};
use crate::book::schemas::{ALL, text};

/// Print the JSON schema of a document that devmig reads or writes
#[derive(Debug, clap::Args)]
#[command(after_help = super::help::SCHEMA)]
pub(crate) struct Args {
    /// Name of the document [default: list the names]
    #[arg(value_name = "DOCUMENT")]
    document: Option<String>,
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let Some(wanted) = &args.document else {
        for (name, command, _) in ALL {
            out.text(&format!("{name:<17} {command}\n"))?;
        }
        return Ok(Status::Good);
    };
    // The name of the document before the command was renamed.
    let wanted = if wanted == "peers" { "implementations" } else { wanted };
    let Some((_, _, schema)) = ALL.iter().find(|(name, ..)| *name == wanted) else {
        let names: Vec<&str> = ALL.iter().map(|(name, ..)| *name).collect();
        // Behind `  help: `.
        let help = wrapped(&format!("{:8}the documents are {}", "", names.join(", ")), 8);
        let help = help.trim_start().to_owned();
        return Err(Error::usage(format!("no document is called `{wanted}`"), Some(help)));
    };
    out.text(&text(*schema))?;
    Ok(Status::Good)
}
