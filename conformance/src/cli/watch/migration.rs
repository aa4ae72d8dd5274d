//! `devmig watch migration` and `devmig replay migration`: what the monitors of a migration report, judged.

use std::io::{self, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use devmig_model::registry::Library;

use super::super::number::span;
use super::super::plain::plain;
use super::super::{Error, Format, Out, Status, interrupt};
use crate::harness::io::files;
use crate::monitor::judge::{self, Judge, Law, device_and_features};
use crate::monitor::live::{self, Watched};
use crate::monitor::log::{Reader, Writer};
use crate::monitor::report::Report;

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

/// The monitors of both ends of a migration. Every event is judged as it comes, until the migration has ended. It
/// turns the capability `events` on, and changes nothing else.
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::WATCH_MIGRATION)]
pub(super) struct Watch {
    /// QMP socket of the source
    #[arg(long, value_name = "PATH", help_heading = "Connection")]
    source: PathBuf,
    /// QMP socket of the destination, on the same host; default: the source alone is judged
    #[arg(long, value_name = "PATH", help_heading = "Connection")]
    destination: Option<PathBuf>,
    /// Record the events to this file, for `devmig replay migration`
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    record: Option<PathBuf>,
    /// Maximum time to watch
    #[arg(long = "for", value_name = "SECONDS", value_parser = span, help_heading = "Connection")]
    seconds: Option<Duration>,
    #[command(flatten)]
    judgement: Judgement,
}

/// Runs `watch migration`.
pub(super) fn run(args: &Watch, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let law = Law::new(&library).map_err(|error| failed(&error))?;
    let trouble = |to: &Path, cause| Error::Write { to: to.display().to_string(), cause };
    let mut writer = match &args.record {
        None => None,
        Some(path) => {
            let file = files::create(path).map_err(io::Error::from).and_then(Writer::new);
            Some(file.map_err(|cause| trouble(path, cause))?)
        }
    };
    let (stop, signalled) = UnixStream::pair().map_err(|cause| trouble(&args.source, cause))?;
    for signal in interrupt::SIGNALS {
        let end = signalled.try_clone().map_err(|cause| trouble(&args.source, cause))?;
        signal_hook::low_level::pipe::register(signal, end)
            .map_err(|cause| trouble(&args.source, cause))?;
    }
    let mut judge = Judge::new(&law, &args.judgement.features);
    let watched = Watched {
        source: &args.source,
        destination: args.destination.as_deref(),
        until: args.seconds.map(|seconds| Instant::now() + seconds),
        stop: &stop,
    };
    let format = args.judgement.format;
    let ended = live::watch(
        watched,
        &mut judge,
        &mut |entry| writer.as_mut().map_or(Ok(()), |writer| writer.write(entry)),
        &mut |violation| {
            // The report has it too; a JSON document stands alone, so the words go beside it.
            let text = format!("{}\n", violation.text());
            match format {
                Format::Text => {
                    out.text(&text).and_then(|()| out.flush()).map_err(io::Error::other)
                }
                Format::Json => io::stderr().write_all(plain(&text).as_bytes()),
            }
        },
    );
    ended.map_err(|error| match error {
        live::Error::Io(cause) => trouble(args.record.as_ref().unwrap_or(&args.source), cause),
        live::Error::Connect { .. } => {
            let help = "start QEMU with `-qmp unix:PATH,server=on,wait=off`".to_owned();
            Error::usage(error.to_string(), Some(help))
        }
        live::Error::Monitor { .. } | live::Error::Judge(_) => Error::Serve(error.to_string()),
    })?;
    let report = judge.report().map_err(|error| failed(&error))?;
    say(&report, format, out)
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
    let wrong =
        |error: &dyn std::fmt::Display| Error::usage(format!("{}: {error}", path.display()), None);
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
    out.show(format, report, || report.text())?;
    Ok(super::status(report.verdict))
}
