//! `devmig watch migration` and `devmig replay migration`: what the monitors of a migration report, judged.

use std::io::BufReader;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use devmig_model::registry::Library;

use super::super::{Error, Format, Out, Status};
use crate::harness::io::files;
use crate::monitor::judge::{self, Judge, Law, device_and_features};
use crate::monitor::log::Reader;
use crate::monitor::report::{Report, Verdict};

/// How events are judged, and how that is said.
#[derive(Debug, ClapArgs)]
struct Judgement {
    /// Features of a VFIO device, from p2p and pre-copy; default: those that its events allow. Repeatable
    #[arg(
        long = "device",
        value_name = "ID=FEATURES",
        value_parser = device_and_features,
        help_heading = "Judgement"
    )]
    features: Vec<(String, Vec<String>)>,
    /// Output format
    #[arg(long, value_enum, default_value = "text", help_heading = "Output")]
    format: Format,
}

/// Judge the events of a migration, as `devmig watch migration --record` writes them
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::REPLAY_MIGRATION)]
pub(super) struct Replay {
    /// Log of events
    file: PathBuf,
    #[command(flatten)]
    judgement: Judgement,
}

/// Runs `replay migration`.
pub(super) fn replay(args: &Replay, out: &mut Out<'_>) -> Result<Status, Error> {
    let path = &args.file;
    let file = files::open(path)
        .map_err(|error| Error::Read { path: path.clone(), cause: error.into() })?;
    let wrong = |error: &dyn std::fmt::Display| {
        Error::usage(format!("{}: {error}", path.display()), None)
    };
    let library = Library::builtin()?;
    let law = Law::new(&library).map_err(|error| failed(&error))?;
    let mut reader = Reader::new(BufReader::new(file)).map_err(|error| wrong(&error))?;
    let mut judge = Judge::new(&law, &args.judgement.features);
    while let Some(entry) = reader.next_entry().map_err(|error| wrong(&error))? {
        judge.take(&entry).map_err(|error| wrong(&error))?;
    }
    let mut report = judge.report().map_err(|error| wrong(&error))?;
    if reader.cut {
        report.notes.push("the last line has no end: the log is cut off".to_owned());
    }
    say(&report, args.judgement.format, out)
}

fn failed(error: &judge::Error) -> Error {
    Error::Serve(error.to_string())
}

/// Says a verdict.
fn say(report: &Report, format: Format, out: &mut Out<'_>) -> Result<Status, Error> {
    match format {
        Format::Text => out.text(&report.text())?,
        Format::Json => out.json(report)?,
    }
    Ok(match report.verdict {
        Verdict::Conformant => Status::Good,
        Verdict::Violated => Status::Bad,
        Verdict::Truncated => Status::Incomplete,
    })
}
