//! `devmig reference`: either end of a migration with multifd, as the reference does it.
//!
//! ```text
//!   devmig reference multifd-source       --> any destination
//!   any source                            --> devmig reference multifd-destination
//! ```
//!
//! **Invariant.** A file is created before a socket: what cannot be written is known before a migration begins.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use devmig_model::registry::Library;
use devmig_model::spec::did_you_mean;
use devmig_reference::multifd::{
    self, DeviceState, Guest, Image, Load, Mutant, Options, PAGE, Stream, SyncMode, ZeroPages,
};
use devmig_reference::socket::Deadline;
use rustix::event::PollFlags;

use super::number::limit;
use super::{Error, Out, Status};
use crate::harness::io::files;
use crate::multifd::relay::{Address, Listener};

/// The largest memory, in MiB.
const MOST: u64 = 4096;
/// The length of a page, as of a file.
const PAGE_BYTES: u64 = PAGE as u64;

/// Migrate with the reference at one end: a source or a destination that follows the specification, or
/// a mutant
#[derive(Debug, ClapArgs)]
#[command(after_help = super::help::REFERENCE)]
pub(super) struct Args {
    #[command(subcommand)]
    end: End,
}

#[derive(Debug, Subcommand)]
enum End {
    MultifdSource(Source),
    MultifdDestination(Destination),
    /// List the mutants for `--mutant`, and the clause that each violates
    Mutants,
}

/// Migrate the memory of a guest that keeps writing to a destination
#[derive(Debug, ClapArgs)]
#[command(after_help = super::help::REFERENCE_MULTIFD_SOURCE)]
struct Source {
    /// Socket on which the destination listens: a path, or HOST:PORT
    #[arg(long, value_name = "ADDRESS", help_heading = "Connection")]
    connect: Address,
    #[command(flatten)]
    common: Common,
    /// Machine type that the main stream names
    #[arg(long, value_name = "TYPE", default_value = "pc-q35-10.0", help_heading = "Guest")]
    machine: String,
    /// Begin with the memory in this file, of whole pages, instead of a pattern; it takes the place of
    /// `--size`
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    memory: Option<PathBuf>,
    /// The guest writes nothing while it migrates
    #[arg(long, help_heading = "Guest")]
    still: bool,
    /// Which thread detects zero pages
    #[arg(long, value_enum, default_value = "channels", help_heading = "Behaviour")]
    zero: Zero,
    /// Maximum number of rounds; the guest is stopped before the last
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Behaviour",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
}

/// Receive a migration, and load it
#[derive(Debug, ClapArgs)]
#[command(after_help = super::help::REFERENCE_MULTIFD_DESTINATION)]
struct Destination {
    /// Socket for the source to connect to: a path, or HOST:PORT
    #[arg(long, value_name = "ADDRESS", help_heading = "Connection")]
    listen: Address,
    #[command(flatten)]
    common: Common,
}

/// What both ends have to agree on: nothing is negotiated.
#[derive(Debug, ClapArgs)]
struct Common {
    /// Number of channels
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Connection",
          value_parser = clap::value_parser!(u8).range(1..=64))]
    channels: u8,
    /// Maximum time to wait for the other side, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = limit,
          help_heading = "Connection")]
    timeout: Duration,
    /// Name of the block of RAM
    #[arg(long, value_name = "NAME", default_value = "pc.ram", help_heading = "Guest")]
    block: String,
    /// Size of the memory, in MiB
    #[arg(long, value_name = "N", default_value_t = 16, help_heading = "Guest",
          value_parser = clap::value_parser!(u64).range(1..=MOST))]
    size: u64,
    /// UUID of the virtual machine
    #[arg(long, value_name = "UUID", default_value = "00000000-0000-0000-0000-000000000000",
          value_parser = uuid, help_heading = "Guest")]
    uuid: [u8; 16],
    /// Name of a device whose state goes over the channels; repeatable. The source makes up its state
    #[arg(long = "device", value_name = "NAME", help_heading = "Guest")]
    states: Vec<String>,
    /// Write the memory to this file when the migration has completed: that of the source when it
    /// stopped, or that of the destination
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    save: Option<PathBuf>,
    /// How the end of an epoch is marked
    #[arg(long, value_enum, default_value = "per-round", help_heading = "Behaviour")]
    sync: Sync,
    /// How the channels compress pages
    #[arg(long, value_enum, default_value = "none", help_heading = "Behaviour")]
    compression: Compression,
    /// Run this mutant; see `devmig reference mutants`
    #[arg(long, value_name = "NAME", help_heading = "Behaviour")]
    mutant: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sync {
    /// A FLUSH after each round
    PerRound,
    /// The end of each RAM section, as with machine types up to 8.0
    PerSection,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Zero {
    /// The channels
    Channels,
    /// The main thread; zero pages go on the main stream
    Main,
    /// None; zero pages are sent like others
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Compression {
    /// Not at all
    None,
    /// With zlib
    Zlib,
    /// With zstd
    Zstd,
}

/// A UUID, as bytes.
fn uuid(text: &str) -> Result<[u8; 16], String> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let hex = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| hex);
    number.map(u128::to_be_bytes).ok_or_else(|| "a UUID has 32 hexadecimal digits".to_owned())
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    match &args.end {
        End::MultifdSource(args) => source(args, out),
        End::MultifdDestination(args) => destination(args, out),
        End::Mutants => {
            for mutant in Mutant::ALL {
                let (name, about, clause) = (mutant.name(), mutant.about(), mutant.clause());
                out.text(&format!("{name}\n    {about} ({clause})\n"))?;
            }
            Ok(Status::Good)
        }
    }
}

impl Common {
    fn options(&self) -> Result<Options, Error> {
        let mutant = self.mutant.as_deref().map(|name| {
            name.parse::<Mutant>().map_err(|error| {
                let known = Mutant::ALL.iter().map(|mutant| mutant.name());
                let help = did_you_mean(name, known);
                let help = help.or(Some("see `devmig reference mutants`".into()));
                Error::usage(error.to_string(), help)
            })
        });
        Ok(Options {
            channels: self.channels,
            uuid: self.uuid,
            sync: match self.sync {
                Sync::PerRound => SyncMode::PerRound,
                Sync::PerSection => SyncMode::PerSection,
            },
            compression: match self.compression {
                Compression::None => multifd::Compression::None,
                Compression::Zlib => multifd::Compression::Zlib,
                Compression::Zstd => multifd::Compression::Zstd,
            },
            limit: self.timeout,
            mutants: mutant.transpose()?.into(),
            ..Options::default()
        })
    }

    /// The file that the memory is written to.
    fn file(&self) -> Result<Option<(&Path, File)>, Error> {
        let created = |path: &PathBuf| {
            let file = files::create(path).map_err(|error| unwritten(path, error.into()))?;
            Ok((self.save.as_deref().unwrap_or(Path::new("")), file))
        };
        self.save.as_ref().map(created).transpose()
    }

    /// As many pages as the size says.
    fn pages(&self) -> usize {
        usize::try_from((self.size << 20) / PAGE_BYTES).unwrap_or(0)
    }
}

fn unwritten(path: &Path, cause: io::Error) -> Error {
    Error::Write { to: path.display().to_string(), cause }
}

/// Writes the memory, if it is wanted.
fn save(file: Option<(&Path, File)>, image: &Image) -> Result<(), Error> {
    let Some((path, mut file)) = file else { return Ok(()) };
    file.write_all(&image.bytes()).map_err(|cause| unwritten(path, cause))
}

/// The memory that a source begins with.
fn memory(args: &Source) -> Result<Image, Error> {
    let block = &args.common.block;
    let Some(path) = &args.memory else {
        let image = Image::new(block, args.common.pages());
        // Every other page is zero, and the others tell which they are.
        for page in (0..image.pages()).step_by(2) {
            image.write(page * PAGE / 8, page as u64 | 1 << 40);
        }
        return Ok(image);
    };
    let bytes = files::bytes(path, MOST << 20)
        .map_err(|why| Error::usage(format!("{}: {why}", path.display()), None))?;
    if bytes.is_empty() || !bytes.len().is_multiple_of(PAGE) {
        let why = format!("{} has {} bytes", path.display(), bytes.len());
        return Err(Error::usage(why, Some(format!("memory has whole pages of {PAGE} bytes"))));
    }
    let image = Image::new(block, bytes.len() / PAGE);
    bytes.chunks(PAGE).enumerate().for_each(|(page, bytes)| image.load(page, bytes));
    Ok(image)
}

/// What a device saves.
fn state(name: &str) -> DeviceState {
    let data = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
    let config = format!("configuration of {name}").into_bytes();
    DeviceState { name: name.to_owned(), instance: 0, data, config }
}

fn source(args: &Source, out: &mut Out<'_>) -> Result<Status, Error> {
    let zero = match args.zero {
        Zero::Channels => ZeroPages::Channels,
        Zero::Main => ZeroPages::Main,
        Zero::None => ZeroPages::Sent,
    };
    let (rounds, machine) = (args.rounds.into(), args.machine.clone());
    let options = Options { zero, rounds, machine, ..args.common.options()? };
    let image = memory(args)?;
    let file = args.common.file()?;
    let connect = |_| {
        args.connect.connect().map_err(|cause| {
            let help = "start the destination first; it needs as many channels".to_owned();
            Error::usage(format!("cannot connect to {}: {cause}", args.connect), Some(help))
        })
    };
    let streams = (0..=options.channels).map(connect).collect::<Result<Vec<_>, _>>()?;
    let devices: Vec<_> = args.common.states.iter().map(|name| (name.as_str(), 0)).collect();
    let guest = Guest::default();
    let sent = std::thread::scope(|scope| {
        let works = (!args.still).then(|| scope.spawn(|| guest.work(&image)));
        let stop = || {
            guest.stop();
            let _ = works.map(std::thread::ScopedJoinHandle::join);
            devices.iter().map(|(name, _)| state(name)).collect()
        };
        let sent = multifd::migrate(streams, &image, &devices, &options, stop);
        guest.stop();
        sent
    });
    match sent {
        Ok(sent) => {
            save(file, &image)?;
            let (pages, packets) = (sent.pages, sent.packets);
            let rounds = devmig_engine::columns::count(sent.rounds, "round");
            out.text(&format!("completed: {rounds}, {pages} pages sent, {packets} packets\n"))?;
            Ok(Status::Good)
        }
        Err(error) => failed(&error, out),
    }
}

fn failed(error: &multifd::Error, out: &mut Out<'_>) -> Result<Status, Error> {
    out.text(&format!("failed: {error}\n"))?;
    Ok(Status::Bad)
}

/// What a device has loaded.
#[derive(Default)]
struct Loaded {
    data: usize,
    config: usize,
}

impl Load for Loaded {
    fn data(&mut self, data: &[u8]) -> Result<(), String> {
        self.data = self.data.saturating_add(data.len());
        Ok(())
    }

    fn config(&mut self, config: &[u8]) -> Result<(), String> {
        self.config = config.len();
        Ok(())
    }
}

/// Connections as they come. The first may take any time, the others not.
struct Incoming<'l> {
    listener: &'l Listener,
    limit: Duration,
    first: bool,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<Stream>;

    fn next(&mut self) -> Option<Self::Item> {
        if !std::mem::take(&mut self.first) {
            let socket = match self.listener {
                Listener::Unix(listener) => listener.as_fd(),
                Listener::Tcp(listener) => listener.as_fd(),
            };
            match Deadline::after(self.limit).wait(socket, PollFlags::IN) {
                Ok(true) => {}
                Ok(false) => return Some(Err(io::ErrorKind::TimedOut.into())),
                Err(error) => return Some(Err(error.into())),
            }
        }
        Some(match self.listener {
            Listener::Unix(listener) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
            Listener::Tcp(listener) => listener.accept().map(|(stream, _)| Stream::Tcp(stream)),
        })
    }
}

fn destination(args: &Destination, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let options = args.common.options()?;
    let image = Image::new(&args.common.block, args.common.pages());
    let file = args.common.file()?;
    let (listener, _socket) = args.listen.listen().map_err(|cause| {
        let help = "the socket must not exist yet, and its folder must exist".to_owned();
        Error::usage(format!("cannot listen on {}: {cause}", args.listen), Some(help))
    })?;
    let at = match &listener {
        Listener::Tcp(listener) => listener.local_addr().map(|address| address.to_string()),
        Listener::Unix(_) => Ok(args.listen.to_string()),
    };
    let at = at.map_err(|cause| Error::Serve(cause.to_string()))?;
    out.text(&format!("listening at {at}\n"))?;
    out.flush()?;
    let mut loaded: Vec<(&str, Loaded)> =
        args.common.states.iter().map(|name| (name.as_str(), Loaded::default())).collect();
    let devices = loaded.iter_mut().map(|(name, load)| (*name, 0, load as &mut dyn Load));
    let incoming = Incoming { listener: &listener, limit: options.limit, first: true };
    let received = multifd::receive(&library, incoming, &image, devices.collect(), &options);
    match received {
        Ok(received) => {
            save(file, &image)?;
            let epochs = usize::try_from(received.epochs).unwrap_or(usize::MAX);
            let epochs = devmig_engine::columns::count(epochs, "epoch");
            out.text(&format!("completed: {epochs}\n"))?;
            for (name, Loaded { data, config }) in &loaded {
                out.text(&format!("{name}: {data} bytes, a configuration of {config} bytes\n"))?;
            }
            Ok(Status::Good)
        }
        Err(error) => failed(&error, out),
    }
}
