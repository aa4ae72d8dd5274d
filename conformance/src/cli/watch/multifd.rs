//! `devmig watch multifd` and `devmig replay multifd`: a migration between two VMMs, judged.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use clap::Args as ClapArgs;
use devmig_model::registry::Library;
use devmig_reference::temporary;
use indicatif::{ProgressBar, ProgressStyle};

use super::super::plain::plain;
use super::super::{Error, Format, Out, Status, interrupt};
use crate::multifd::judge;
use crate::multifd::live::judge_while_it_grows;
use crate::multifd::mapped_ram;
use crate::multifd::memory::{Memory, block_and_file};
use crate::multifd::recording::Recording;
use crate::multifd::relay::{Address, Listener, Relay};
use crate::multifd::report::{Report, Violation};
use crate::multifd::stream::Read;

/// How often it is shown how far a recording was read.
const SHOWN: Duration = Duration::from_millis(100);

/// Between the source and the destination of a migration. Every connection is relayed and recorded. A violation
/// is shown as soon as it is found, and the verdict when all connections have ended, or at an interrupt.
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::WATCH_MULTIFD)]
pub(super) struct Watch {
    /// Socket for the source to connect to: a path, or HOST:PORT
    #[arg(long, value_name = "ADDRESS", help_heading = "Connection")]
    listen: Address,
    /// Socket on which the destination listens: a path, or HOST:PORT
    #[arg(long, value_name = "ADDRESS", help_heading = "Connection")]
    connect: Address,
    /// Folder for the recording, which must not hold one; default: a temporary folder
    #[arg(long, value_name = "FOLDER", help_heading = "Output")]
    record: Option<PathBuf>,
    /// Version of QEMU to judge by; default: that of the machine type
    #[arg(long, value_name = "VERSION", help_heading = "Judgement")]
    spec_version: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value = "text", help_heading = "Output")]
    format: Format,
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
    let report = {
        let (read, of) = (recording.read.clone(), recording.bytes());
        let _bar = Reading::new(read, of);
        judge::judge(recording, &library, version, memory)
    };
    let report = report.map_err(|error| wrong(folder, error))?;
    say(&report, format, out)
}

/// Says a verdict.
fn say(report: &Report, format: Format, out: &mut Out<'_>) -> Result<Status, Error> {
    out.show(format, report, || report.text())?;
    Ok(super::status(report.verdict))
}

/// Why a recording was not judged.
fn wrong(folder: &Path, error: judge::Error) -> Error {
    match error {
        judge::Error::Spec(error) => error.into(),
        judge::Error::Recording(error) => Error::usage(error.of(folder), None),
        other => Error::usage(format!("{}: {other}", folder.display()), None),
    }
}

/// Runs `watch multifd`.
pub(super) fn run(args: &Watch, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    if let Some(version) = &args.spec_version {
        library.spec.judged_by(judge::DOCUMENT, version)?;
    }
    let temporary = match &args.record {
        None => Some(temporary::folder("watch-").map_err(trouble(Path::new("a folder")))?),
        Some(_) => None,
    };
    let record = match (&args.record, &temporary) {
        (Some(path), _) => path.as_path(),
        (None, Some(folder)) => folder.path(),
        (None, None) => Path::new("."),
    };
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in interrupt::SIGNALS {
        signal_hook::flag::register(signal, Arc::clone(&stopped)).map_err(trouble(record))?;
    }
    let (listener, _socket) = args.listen.listen().map_err(|cause| {
        let help = "the socket must not exist yet, and its folder must exist".to_owned();
        Error::usage(format!("cannot listen on {}: {cause}", args.listen), Some(help))
    })?;
    let relay = Relay::new(record).map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => {
            let help = "name a folder that does not exist yet".to_owned();
            Error::usage(format!("{} holds a recording", record.display()), Some(help))
        }
        _ => trouble(record)(cause),
    })?;
    let count = relayed(relay, &listener, (args, record), &library, &stopped, out)?;
    if count == 0 {
        out.text("no source came\n")?;
        return Ok(Status::HarnessError);
    }
    judged(record, args.spec_version.as_deref(), Memory::default(), args.format, out)
}

fn trouble(to: &Path) -> impl Fn(io::Error) -> Error {
    let to = to.display().to_string();
    move |cause| Error::Write { to: to.clone(), cause }
}

/// Relays the migration to its end or to a signal, and says what is found meanwhile: how many connections there
/// were.
fn relayed(
    relay: Relay,
    listener: &Listener,
    (args, record): (&Watch, &Path),
    library: &Library,
    stopped: &AtomicBool,
    out: &mut Out<'_>,
) -> Result<u32, Error> {
    let (growing, over) = (relay.growing(), AtomicBool::new(false));
    let (tell, found) = mpsc::channel();
    let version = args.spec_version.as_deref();
    let progress = Progress::new(format!("listens on {}", args.listen));
    std::thread::scope(|scope| {
        let live = || judge_while_it_grows(record, library, version, &growing, &over, &tell);
        let judging = scope.spawn(live);
        let mut said = Ok(());
        let ended = relay.run(listener, &args.connect, &mut || {
            progress.show(growing.bytes());
            for violation in found.try_iter() {
                let done = say_at_once(&violation, args.format, out);
                said = std::mem::replace(&mut said, Ok(())).and(done);
            }
            stopped.load(Ordering::Relaxed)
        });
        over.store(true, Ordering::Relaxed);
        let _ = judging.join();
        said?;
        ended.map_err(|cause| {
            Error::Serve(format!("the migration cannot be relayed or recorded: {cause}"))
        })
    })
}

/// Says what is wrong while the migration goes on. A JSON document stands alone, so the words go beside it.
fn say_at_once(violation: &Violation, format: Format, out: &mut Out<'_>) -> Result<(), Error> {
    let text = format!("{}\n", violation.text());
    match format {
        Format::Text => {
            out.text(&text)?;
            out.flush()
        }
        Format::Json => {
            // The report has it too.
            let _ = io::stderr().write_all(plain(&text).as_bytes());
            Ok(())
        }
    }
}

/// How much of a recording was read, on a terminal.
struct Reading {
    bar: ProgressBar,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Reading {
    /// `read` counts what was read of so many bytes.
    fn new(read: Read, bytes: u64) -> Self {
        let bar = ProgressBar::new(bytes);
        if let Ok(style) =
            ProgressStyle::with_template("{binary_bytes}/{binary_total_bytes} {bar:20} {elapsed}")
        {
            bar.set_style(style);
        }
        let over = Arc::new(AtomicBool::new(false));
        let shown = (bar.clone(), Arc::clone(&over));
        let thread = (!bar.is_hidden()).then(|| {
            std::thread::spawn(move || {
                let (bar, over) = shown;
                while !over.load(Ordering::Relaxed) {
                    bar.set_position(read.bytes());
                    std::thread::sleep(SHOWN);
                }
            })
        });
        Reading { bar, over, thread }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}

/// How much has passed, on a terminal.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new(message: String) -> Self {
        let bar = ProgressBar::new_spinner();
        bar.set_message(message);
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress { bar }
    }

    fn show(&self, bytes: u64) {
        if bytes > 0 {
            self.bar.set_message(format!("{} passed", indicatif::BinaryBytes(bytes)));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
