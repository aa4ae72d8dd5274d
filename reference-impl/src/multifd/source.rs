//! The source: rounds of pages, the switchover, and the state of the devices.
//!
//! ```text
//!   connect --> set-up, SYNC --> round, SYNC --> ... --> stop the guest --> last round, SYNC
//!           --> the devices' buffers --> EOF --> wait for the destination
//! ```
//!
//! A SYNC on every channel and a mark on the main stream end a round. The buffers of devices may come before
//! and after the last SYNC: they belong to no round.

mod channel;
mod main_stream;

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use devmig_model::protocol::multifd::wire::{Buffer, PageSize};

use self::channel::{Channel, Job};
use self::main_stream::MainStream;
use super::compression::Packer;
use super::hand_over::{Crew, Flaws};
use super::{Error, Image, Mutant, Options, Stream, ZeroPages, cause};

/// What a device has saved.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeviceState {
    /// The name of its section.
    pub name: String,
    /// The instance of its section.
    pub instance: u32,
    /// Its data, which is sent in pieces.
    pub data: Vec<u8>,
    /// Its configuration, which is loaded last.
    pub config: Vec<u8>,
}

/// What a source has sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// How many rounds, with the last.
    pub rounds: usize,
    /// How many pages, each as often as it was sent.
    pub pages: usize,
    /// How many packets with pages, and SYNC packets.
    pub packets: u64,
}

/// Migrates a guest over these connections, the main one first. `devices` are the names and instances of its
/// devices; `stop` stops it, and returns what they saved.
///
/// # Errors
/// See [`Error`]. The guest may have been stopped.
pub fn migrate(
    streams: Vec<Stream>,
    image: &Image,
    devices: &[(&str, u32)],
    options: &Options,
    stop: impl FnOnce() -> Vec<DeviceState>,
) -> Result<Sent, Error> {
    for stream in &streams {
        stream.limit(options.limit)?;
    }
    let ends: Result<Vec<Stream>, _> = streams.iter().map(Stream::again).collect();
    let ends = ends?;
    let mut streams = streams.into_iter();
    let main = streams.next().ok_or(Error::Late("main connection"))?;
    let packers = (0..streams.len()).map(|_| Packer::new(options.compression));
    let packers = packers.collect::<Result<Vec<_>, _>>()?;
    let crew = Crew::new(streams.len(), Flaws::default());
    let numbers = AtomicU64::new(0);
    let at_fault = |error: Error| {
        // What happens to a thread after another has failed is a consequence.
        let error = if crew.fail() { Error::Ended } else { error };
        ends.iter().for_each(|stream| stream.end(Shutdown::Both));
        error
    };
    let (sent, errors) = thread::scope(|scope| {
        let channels: Vec<_> = streams
            .zip(packers)
            .enumerate()
            .map(|(id, (stream, packer))| {
                let (crew, numbers) = (&crew, &numbers);
                let scratch = (Vec::new(), Vec::new());
                let mut channel =
                    Channel { id, stream, crew, image, numbers, options, packer, scratch };
                scope.spawn(move || channel.work().map_err(at_fault))
            })
            .collect();
        let source = Source { main: MainStream::new(main, options), crew: &crew, image, options };
        let sent = source.run(devices, stop).map_err(at_fault);
        let ended = channels.into_iter().map(|channel| channel.join().unwrap_or(Err(Error::Ended)));
        (sent, ended.filter_map(Result::err).collect::<Vec<_>>())
    });
    let packets = numbers.load(Ordering::Relaxed);
    match (sent, cause(errors)) {
        (Ok(sent), None) => Ok(Sent { packets, ..sent }),
        (Ok(_), Some(error)) => Err(error),
        (Err(error), other) => Err(cause([error].into_iter().chain(other)).unwrap_or(Error::Ended)),
    }
}

/// What the main thread has.
struct Source<'a> {
    main: MainStream<'a>,
    crew: &'a Crew<Job>,
    image: &'a Image,
    options: &'a Options,
}

impl Source<'_> {
    fn has(&self, mutant: Mutant) -> bool {
        self.options.mutants.has(mutant)
    }

    fn run(
        mut self,
        devices: &[(&str, u32)],
        stop: impl FnOnce() -> Vec<DeviceState>,
    ) -> Result<Sent, Error> {
        let mut sent = Sent::default();
        self.image.mark_all();
        self.main.set_up(self.image, devices)?;
        if self.has(Mutant::SetUpUnsynced) {
            self.crew.give(Job::Ram { pages: vec![0], sync: false })?;
        }
        self.sync(&sent)?;
        self.main.end_section()?;
        let mut marked = self.image.take_marked();
        while marked.len() > self.options.threshold && sent.rounds + 1 < self.options.rounds {
            self.main.begin_section(false)?;
            self.round(&marked, &mut sent)?;
            self.main.end_section()?;
            marked = self.image.take_marked();
        }
        let late = self.has(Mutant::StopsLate);
        let (mut stop, mut states) = (Some(stop), Vec::new());
        if !late {
            states = stop.take().map(|stop| stop()).unwrap_or_default();
            marked.extend(self.image.take_marked());
            marked.sort_unstable();
            marked.dedup();
        }
        if self.has(Mutant::PageForgotten) {
            marked.pop();
        }
        self.main.switch_over()?;
        self.main.begin_section(true)?;
        if self.has(Mutant::MainPageBeyond) {
            self.main.zero_page(self.image, self.image.pages())?;
        }
        self.round(&marked, &mut sent)?;
        if self.has(Mutant::PagesAfterLast) {
            self.crew.give(Job::Ram { pages: vec![0], sync: false })?;
        }
        self.main.end_section()?;
        if let Some(stop) = stop {
            states = stop();
        }
        for state in states {
            self.device(state)?;
        }
        self.main.end(devices)?;
        self.crew.close();
        self.main.wait_for_destination()?;
        Ok(sent)
    }

    /// Sends these pages and ends their epoch.
    fn round(&mut self, pages: &[usize], sent: &mut Sent) -> Result<(), Error> {
        sent.rounds += 1;
        sent.pages += pages.len();
        let on_main = self.options.zero == ZeroPages::Main;
        let is_zero = |page: &usize| on_main && self.image.is_zero(*page);
        let (zero, rest): (Vec<usize>, Vec<usize>) = pages.iter().copied().partition(is_zero);
        for page in zero {
            self.main.zero_page(self.image, page)?;
        }
        let room = PageSize::FOUR_KIB.per_packet() as usize;
        for (n, pages) in rest.chunks(room).enumerate() {
            let sync = n == 0 && self.has(Mutant::SyncWithPages);
            self.crew.give(Job::Ram { pages: pages.to_vec(), sync })?;
        }
        if let (Some(first), true) = (rest.first(), self.has(Mutant::PageTwice)) {
            self.crew.give(Job::Ram { pages: vec![*first], sync: false })?;
        }
        if let (Some(first), true) = (rest.first(), self.has(Mutant::PageOnMainToo)) {
            self.main.zero_page(self.image, *first)?;
        }
        if self.has(Mutant::EmptyPacket) {
            self.crew.give(Job::Ram { pages: Vec::new(), sync: false })?;
        }
        if self.has(Mutant::MarksTakenLate) {
            let _ = self.image.take_marked();
        }
        self.sync(sent)
    }

    /// Ends an epoch: every channel has sent all of it, and a SYNC; then the mark.
    fn sync(&mut self, sent: &Sent) -> Result<(), Error> {
        let first = sent.rounds == 1;
        if sent.rounds == 0 && self.has(Mutant::SetUpUnsynced) {
            return Ok(());
        }
        let last = usize::from(self.options.channels).saturating_sub(1);
        let skips = first && self.has(Mutant::SyncSkipsChannel);
        self.crew.give_each(&Job::Sync, |channel| !(skips && channel == last))?;
        if first && self.has(Mutant::SyncUnmarked) {
            return Ok(());
        }
        self.main.mark()?;
        if first && self.has(Mutant::MarkTwice) {
            self.main.mark()?;
        }
        Ok(())
    }

    /// Sends the state of a device in buffers, the last of them its configuration.
    fn device(&self, state: DeviceState) -> Result<(), Error> {
        let DeviceState { name, instance, data, config } = state;
        let name: Arc<str> = match self.has(Mutant::DeviceUnknown) {
            true => "another".into(),
            false => name.into(),
        };
        let send = |index: u32, flags: u32, data: &[u8]| {
            let buffer = Buffer { version: 0, index, flags };
            let (name, data) = (Arc::clone(&name), data.to_vec());
            self.crew.give(Job::Device { name, instance, buffer, data })
        };
        let mut index = 0;
        if self.has(Mutant::ConfigEarly) {
            send(0, Buffer::CONFIG, &config)?;
            index = 1;
        }
        for (n, piece) in data.chunks(self.options.buffer.max(1)).enumerate() {
            let first = n == 0;
            if !(first && self.has(Mutant::BufferMissing)) {
                let huge = first && self.has(Mutant::DeviceIndex);
                send(if huge { u32::MAX } else { index }, 0, piece)?;
            }
            if first && self.has(Mutant::IndexTwice) {
                send(index, 0, piece)?;
            }
            index += 1;
        }
        if !self.has(Mutant::ConfigEarly) && !self.has(Mutant::ConfigMissing) {
            send(index, Buffer::CONFIG, &config)?;
        }
        if self.has(Mutant::ConfigTwice) {
            send(index + 1, Buffer::CONFIG, &config)?;
        }
        Ok(())
    }
}
