//! `devmig watch multifd` and `devmig replay multifd`: a migration between two VMMs, judged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args as ClapArgs;
use devmig_model::registry::Library;
use devmig_reference::temporary;

use super::super::{Error, Format, Out, Status, interrupt};
use crate::multifd::judge;
use crate::multifd::mapped_ram;
use crate::multifd::memory::{Memory, block_and_file};
use crate::multifd::recording::Recording;
use crate::multifd::relay::{Address, Listener, Relay};
use crate::multifd::report::{Report, Verdict};

/// Between the source and the destination of a migration. Every connection is relayed and recorded, and the
/// migration is judged when all have ended, or at an interrupt.
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::WATCH_MULTIFD)]
pub(super) struct Watch {
    /// Socket for the source to connect to: a path, or HOST:PORT
    #[arg(long, value_name = "ADDRESS", value_parser = address, help_heading = "Connection")]
    listen: Address,
    /// Socket on which the destination listens: a path, or HOST:PORT
    #[arg(long, value_name = "ADDRESS", value_parser = address, help_heading = "Connection")]
    connect: Address,
    /// Folder for the recording, which must not hold one
    #[arg(long, value_name = "FOLDER", help_heading = "Output")]
    record: PathBuf,
    /// Version of QEMU to judge by; default: that of the machine type
    #[arg(long, value_name = "VERSION", help_heading = "Judgement")]
    spec_version: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value = "text", help_heading = "Output")]
    format: Format,
}

/// A path has a slash or no colon.
fn address(text: &str) -> Result<Address, String> {
    match text.rsplit_once(':') {
        _ if text.is_empty() => Err("an address is a path, or HOST:PORT".to_owned()),
        Some((_, port)) if !text.contains('/') => match port.parse::<u16>() {
            Ok(_) => Ok(Address::Tcp(text.to_owned())),
            Err(_) => Err(format!("`{port}` is not a port")),
        },
        _ => Ok(Address::Unix(text.into())),
    }
}

/// What a migration is held against, and how the verdict is shown.
#[derive(Debug, ClapArgs)]
struct Judgement {
    /// Compare a block of RAM with the memory of the source; repeatable
    #[arg(
        long,
        value_name = "BLOCK=FILE",
        value_parser = block_and_file,
        help_heading = "Judgement"
    )]
    source_ram: Vec<(String, PathBuf)>,
    /// Version of QEMU to judge by; default: that of the machine type
    #[arg(long, value_name = "VERSION", help_heading = "Judgement")]
    spec_version: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value = "text", help_heading = "Output")]
    format: Format,
}

/// Judge a recorded migration with multifd
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::REPLAY_MULTIFD)]
pub(super) struct Replay {
    /// Folder with `conn<N>.bin`, `conn<N>.rev.bin` and `index.csv`
    dir: PathBuf,
    #[command(flatten)]
    judgement: Judgement,
}

/// Judge a migration to a file with mapped-ram
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::REPLAY_MAPPED_RAM)]
pub(super) struct ReplayMappedRam {
    /// File to which the migration was written
    file: PathBuf,
    #[command(flatten)]
    judgement: Judgement,
}

/// Runs `replay mapped-ram`.
pub(super) fn replay_mapped_ram(
    args: &ReplayMappedRam,
    out: &mut Out<'_>,
) -> Result<Status, Error> {
    let Judgement { source_ram, spec_version, format } = &args.judgement;
    let memory = Memory::of(source_ram).map_err(|error| wrong(&args.file, error.into()))?;
    let library = Library::builtin()?;
    let report = mapped_ram::judge(&args.file, &library, spec_version.as_deref(), memory);
    say(&report.map_err(|error| wrong(&args.file, error))?, *format, out)
}

/// Runs `replay multifd`.
pub(super) fn replay(args: &Replay, out: &mut Out<'_>) -> Result<Status, Error> {
    let Judgement { source_ram, spec_version, format } = &args.judgement;
    let memory = Memory::of(source_ram).map_err(|error| wrong(&args.dir, error.into()))?;
    judged(&args.dir, spec_version.as_deref(), memory, *format, out)
}

/// Judges a recording, and says what came of it.
fn judged(
    folder: &Path,
    version: Option<&str>,
    memory: Memory,
    format: Format,
    out: &mut Out<'_>,
) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let recording = Recording::open(folder).map_err(|error| wrong(folder, error.into()))?;
    let report = judge::judge(recording, &library, version, memory);
    let report = report.map_err(|error| wrong(folder, error))?;
    say(&report, format, out)
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

/// Why a recording was not judged.
fn wrong(folder: &Path, error: judge::Error) -> Error {
    match error {
        judge::Error::Spec(error) => error.into(),
        other => Error::usage(format!("{}: {other}", folder.display()), None),
    }
}

/// Runs `watch multifd`.
pub(super) fn run(args: &Watch, out: &mut Out<'_>) -> Result<Status, Error> {
    let trouble = |cause| Error::Write { to: args.record.display().to_string(), cause };
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in interrupt::SIGNALS {
        signal_hook::flag::register(signal, Arc::clone(&stopped)).map_err(trouble)?;
    }
    let cannot = |cause: std::io::Error| {
        let help = "the socket must not exist yet, and its folder must exist".to_owned();
        Error::usage(format!("cannot listen on {}: {cause}", args.listen), Some(help))
    };
    let (listener, _socket) = match &args.listen {
        Address::Unix(path) => {
            let (listener, socket) = temporary::listen(path).map_err(cannot)?;
            (Listener::Unix(listener), Some(socket))
        }
        Address::Tcp(address) => {
            (Listener::Tcp(std::net::TcpListener::bind(address).map_err(cannot)?), None)
        }
    };
    let relay = Relay::new(&args.record).map_err(trouble)?;
    let stop = || stopped.load(Ordering::Relaxed);
    let count = relay.run(&listener, &args.connect, &stop).map_err(|cause| {
        Error::Serve(format!("the migration cannot be relayed or recorded: {cause}"))
    })?;
    if count == 0 {
        out.text("no source came\n")?;
        return Ok(Status::HarnessError);
    }
    judged(&args.record, args.spec_version.as_deref(), Memory::default(), args.format, out)
}
