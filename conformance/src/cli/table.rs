//! `devmig table`: the messages of vhost-user, or the migration states of VFIO.

use std::path::PathBuf;

use clap::ValueEnum;
use devmig_model::registry::Library;

use super::{Error, Out, Status, select};
use crate::book::messages::Document;
use crate::book::vfio_states::Device;

/// Show the vhost-user messages, or the VFIO migration states, as a table
///
/// The rows of a message are tried from the top; the first that applies determines the effect. For
/// VFIO, the arcs are those of a device with the given features, and a combination shows the arcs
/// that a SET takes. Additions of a proposal are marked with `+`.
#[derive(Debug, clap::Args)]
#[command(after_help = super::help::TABLE)]
pub(crate) struct Args {
    /// The protocol
    #[arg(value_enum)]
    protocol: Protocol,
    /// Apply this proposal
    #[arg(long, value_name = "FILE")]
    proposal: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: TableFormat,
    /// VFIO: comma-separated features of the device (stop-copy, p2p, pre-copy) [default: all]
    #[arg(long, value_name = "NAMES")]
    flags: Option<String>,
    /// VFIO: interpretation of the rule for combination transitions
    #[arg(long = "interpretation", alias = "reading", value_parser = ["literal", "kernel", "session"])]
    reading: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    /// vhost-user messages
    VhostUser,
    /// VFIO migration states
    Vfio,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum TableFormat {
    /// Plain text
    #[default]
    Text,
    /// JSON
    Json,
    /// Markdown
    Markdown,
    /// VFIO: Mermaid state diagram
    Diagram,
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = select::library(args.proposal.as_ref())?;
    match args.protocol {
        Protocol::VhostUser => vhost_user(args, &library, out)?,
        Protocol::Vfio => {
            let device = Device::new(&library, args.flags.as_deref(), args.reading.as_deref())?;
            match args.format {
                TableFormat::Text => out.text(&device.text())?,
                TableFormat::Markdown => out.text(&device.markdown())?,
                TableFormat::Diagram => out.text(&device.diagram())?,
                TableFormat::Json => out.json(&device.document())?,
            }
        }
    }
    Ok(Status::Good)
}

fn vhost_user(args: &Args, library: &Library, out: &mut Out<'_>) -> Result<(), Error> {
    if args.flags.is_some() || args.reading.is_some() {
        let help = "use them with `devmig table vfio`".to_owned();
        return Err(Error::usage(
            "`--flags` and `--interpretation` do not apply to vhost-user",
            Some(help),
        ));
    }
    match args.format {
        TableFormat::Text => out.text(&Document::of(library).text()),
        TableFormat::Markdown => out.text(&Document::of(library).markdown()),
        TableFormat::Diagram => {
            let help = "`--format text` shows what each message does".to_owned();
            Err(Error::usage("the message table has no state diagram", Some(help)))
        }
        TableFormat::Json => out.json(&Document::of(library)),
    }
}
