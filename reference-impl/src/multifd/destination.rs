//! The destination: the main stream, and what its marks wait for.
//!
//! ```text
//!   accept main and channels --> main: set-up --> mark: wait for every channel --> ... --> EOF
//!       --> channels end --> devices load their configurations --> SHUT on the return path
//! ```
//!
//! **Not here:** which packets are refused; see the model.

mod barrier;
mod channel;
mod device;

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use devmig_engine::clause::ClauseId;
use devmig_engine::rules::Rules;
use devmig_model::protocol::multifd::form::{Fault, Form, FormLaws};
use devmig_model::protocol::multifd::machine::ClauseIds;
use devmig_model::protocol::multifd::wire::{
    Init, MAIN_MAGIC, MainDecoder, MainEvent, PageForm, PageSize, ReturnMessage,
};
use devmig_model::registry::Library;

use self::barrier::{Barrier, NoPass};
use self::channel::Channel;
pub use self::device::Load;
use self::device::{Device, NotTaken};
use super::image::PAGE;
use super::{Error, Image, Mutant, Options, Stream, SyncMode, cause};

/// How often it is looked whether every device is whole.
const LOOK: Duration = Duration::from_millis(1);

/// What a destination has received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Received {
    /// How many marks.
    pub epochs: u64,
}

/// The clauses of packets, and those of their order.
struct Laws {
    form: FormLaws,
    machine: ClauseIds,
}

/// What all threads of a destination share.
struct Shared<'a> {
    image: &'a Image,
    options: &'a Options,
    library: &'a Library,
    laws: Laws,
    rules: Rules,
    barrier: Barrier,
    devices: Vec<Device<'a>>,
}

impl Shared<'_> {
    fn form(&self) -> Form<'_> {
        Form { laws: &self.laws.form, rules: &self.rules, page: PageSize::FOUR_KIB }
    }

    fn refused(&self, clause: ClauseId, what: String) -> Error {
        Error::Refused { clause: self.library.spec.clause_name(clause).to_owned(), what }
    }

    /// The first of these faults, if there is one.
    fn first(&self, faults: Vec<Fault>) -> Result<(), Error> {
        match faults.into_iter().next() {
            Some((clause, what)) => Err(self.refused(clause, what)),
            None => Ok(()),
        }
    }

    /// Loads the configurations of the devices, of which everything came.
    fn load(&self) -> Result<(), Error> {
        self.devices.iter().try_for_each(|device| {
            let finished = device.finish(&self.laws.machine, self.options);
            finished.map_err(|why| self.not_taken(device.name, why))
        })
    }

    fn full(&self, length: usize) -> Error {
        let why = format!("{length} bytes wait, and {} may", self.options.queued);
        Error::Device { device: "the queue of buffers".to_owned(), why }
    }

    fn not_taken(&self, device: &str, why: NotTaken) -> Error {
        match why {
            NotTaken::Refused(clause, what) => self.refused(clause, what),
            NotTaken::Device(why) => Error::Device { device: device.to_owned(), why },
            NotTaken::Full(length) => self.full(length),
        }
    }
}

/// The connections of a migration: the main one, and the channels by their ids, each with its first packet.
struct Connected {
    main: Stream,
    channels: Vec<(usize, Stream, [u8; Init::LEN])>,
}

/// Receives a migration over these connections, which may come in any order, into this memory and these
/// devices.
///
/// # Errors
/// See [`Error`]. The memory is then of no use.
pub fn receive<'a>(
    library: &'a Library,
    streams: impl IntoIterator<Item = std::io::Result<Stream>>,
    image: &'a Image,
    devices: Vec<(&'a str, u32, &'a mut dyn Load)>,
    options: &'a Options,
) -> Result<Received, Error> {
    let count = usize::from(options.channels);
    let specification = |error: &dyn std::fmt::Display| Error::Specification(error.to_string());
    let laws = Laws {
        form: FormLaws::resolve(&library.spec).map_err(|error| specification(&error))?,
        machine: ClauseIds::resolve(&library.spec).map_err(|error| specification(&error))?,
    };
    let mut rules = Rules::default();
    let accepts = [
        (Mutant::AcceptsUuid, laws.form.init_uuid),
        (Mutant::AcceptsVersion, laws.form.version),
        (Mutant::AcceptsMethod, laws.form.compression),
    ];
    for (mutant, clause) in accepts {
        if options.mutants.has(mutant) {
            rules.off.insert(clause);
        }
    }
    let wanted = match () {
        () if options.mutants.has(Mutant::MarkNotWaited) => 0,
        () if options.mutants.has(Mutant::MarkWaitsForFirst) => 1,
        () => count,
    };
    let barrier = Barrier::new(count, wanted, options.limit);
    let device = |(name, instance, load)| Device::new(name, instance, load);
    let devices = devices.into_iter().map(device).collect();
    let shared = Shared { image, options, library, laws, rules, barrier, devices };
    let Connected { main, channels } = connected(streams, &shared)?;
    let mut back = Back { stream: main.again()?, told: None };
    let received = received(main, channels, &shared, &mut back);
    // A source that is gone is told nothing.
    back.tell(u32::from(received.is_err()));
    back.stream.end(Shutdown::Both);
    let received = received?;
    back.told.unwrap_or(Ok(()))?;
    Ok(received)
}

/// The return path.
struct Back {
    stream: Stream,
    /// How it went to say how the migration went.
    told: Option<std::io::Result<()>>,
}

impl Back {
    /// Says it, once.
    fn tell(&mut self, error: u32) {
        if self.told.is_none() {
            let mut word = Vec::new();
            ReturnMessage::Shut(error).encode(&mut word);
            self.told = Some(self.stream.write_all(&word));
        }
    }
}

/// Takes the connections, and finds out which is which.
fn connected(
    streams: impl IntoIterator<Item = std::io::Result<Stream>>,
    shared: &Shared<'_>,
) -> Result<Connected, Error> {
    let (count, laws) = (usize::from(shared.options.channels), &shared.laws);
    let (mut main, mut channels) = (None, Vec::<(usize, Stream, [u8; Init::LEN])>::new());
    for stream in streams {
        let mut stream = stream?;
        stream.limit(shared.options.limit)?;
        let mut head = [0; 4];
        stream.read_exact(&mut head)?;
        if u32::from_be_bytes(head) == MAIN_MAGIC {
            main = Some(stream);
        } else {
            let mut bytes = [0; Init::LEN];
            let (first, rest) = bytes.split_at_mut(4);
            first.copy_from_slice(&head);
            stream.read_exact(rest)?;
            let init = Init::decode(&bytes);
            shared.first(shared.form().init(&init, count, Some(shared.options.uuid)))?;
            let id = usize::from(init.id);
            if channels.iter().any(|(other, ..)| *other == id) {
                let what = format!("another channel has the id {id}");
                return Err(shared.refused(laws.machine.id_once, what));
            }
            channels.push((id, stream, bytes));
        }
        if main.is_some() && channels.len() == count {
            break;
        }
    }
    let main = main.ok_or(Error::Late("main connection"))?;
    if channels.len() != count {
        return Err(Error::Late("connection for each channel"));
    }
    Ok(Connected { main, channels })
}

/// Runs the threads, to the end of all of them.
fn received(
    main: Stream,
    channels: Vec<(usize, Stream, [u8; Init::LEN])>,
    shared: &Shared<'_>,
    back: &mut Back,
) -> Result<Received, Error> {
    let ends: Result<Vec<Stream>, _> =
        channels.iter().map(|(_, stream, _)| stream.again()).collect();
    let (ends, main_end) = (ends?, main.again()?);
    let at_fault = |error: Error| {
        // What happens to a thread after another has failed is a consequence.
        let error = if shared.barrier.fail() { Error::Ended } else { error };
        ends.iter().for_each(|stream| stream.end(Shutdown::Both));
        main_end.end(Shutdown::Read);
        error
    };
    let mut loaded = false;
    let (received, errors) = thread::scope(|scope| {
        let work = |(id, stream, init): (usize, Stream, [u8; Init::LEN])| {
            scope.spawn(move || Channel::new(id, stream, shared).work(&init).map_err(at_fault))
        };
        let threads: Vec<_> = channels.into_iter().map(work).collect();
        let received = Main { stream: main, shared, received: Received::default() }.work();
        let received = received.map_err(at_fault).and_then(|received| {
            shared.barrier.finish();
            // A source may keep its channels open until it is told that all is there.
            while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
                if shared.devices.iter().all(Device::is_whole) {
                    shared.load()?;
                    loaded = true;
                    back.tell(0);
                    break;
                }
                thread::sleep(LOOK);
            }
            Ok(received)
        });
        shared.barrier.finish();
        let ended = threads.into_iter().map(|thread| thread.join().unwrap_or(Err(Error::Ended)));
        (received, ended.filter_map(Result::err).collect::<Vec<_>>())
    });
    let (received, error) = match received {
        Ok(received) => (received, cause(errors)),
        Err(error) => (Received::default(), cause([error].into_iter().chain(errors))),
    };
    if let Some(error) = error {
        return Err(error);
    }
    if !loaded {
        shared.load()?;
    }
    Ok(received)
}

/// The main stream.
struct Main<'s, 'd> {
    stream: Stream,
    shared: &'s Shared<'d>,
    received: Received,
}

impl Main<'_, '_> {
    fn work(mut self) -> Result<Received, Error> {
        let mut decoder = MainDecoder::new();
        let (mut bytes, mut page) = (vec![0; 64 << 10], Vec::new());
        let mut into = None;
        let magic = MAIN_MAGIC.to_be_bytes();
        let mut input: &[u8] = &magic;
        loop {
            while !input.is_empty() {
                let (used, event) = decoder.next(input);
                match event.map(|at| at.event) {
                    Some(MainEvent::Page { block, offset, form }) => {
                        into = self.page(block.as_bytes(), offset, form)?;
                        page.clear();
                    }
                    Some(MainEvent::Data(data)) => {
                        page.extend_from_slice(data);
                        page.truncate(PAGE);
                        if let (PAGE, Some(to)) = (page.len(), into) {
                            self.shared.image.load(to, &page);
                            into = None;
                        }
                    }
                    Some(MainEvent::Block { name, length }) => {
                        self.block(name.as_bytes(), length)?
                    }
                    Some(MainEvent::Flush) => self.mark(SyncMode::PerRound)?,
                    Some(MainEvent::EndOfSection) => self.mark(SyncMode::PerSection)?,
                    Some(MainEvent::Eof) => return Ok(self.received),
                    Some(MainEvent::Error(error)) => {
                        let clause = self.shared.laws.form.main_followed;
                        return Err(self.shared.refused(clause, error.to_string()));
                    }
                    _ => {}
                }
                input = input.get(used..).unwrap_or_default();
            }
            let count = self.stream.read(&mut bytes)?;
            if count == 0 {
                return Err(Error::Late("end of the main stream"));
            }
            input = bytes.get(..count).unwrap_or_default();
        }
    }

    fn block(&self, name: &[u8], length: u64) -> Result<(), Error> {
        let image = self.shared.image;
        let is_ours = name == image.name().as_bytes() && length == (image.pages() * PAGE) as u64;
        let what = || format!("a block \"{}\" of {length} bytes", name.escape_ascii());
        is_ours
            .then_some(())
            .ok_or_else(|| self.shared.refused(self.shared.laws.form.main_block, what()))
    }

    /// A page, and which one its bytes belong to, if they follow.
    fn page(&self, block: &[u8], offset: u64, form: PageForm) -> Result<Option<usize>, Error> {
        let (image, form_laws) = (self.shared.image, &self.shared.laws.form);
        let page = usize::try_from(offset).unwrap_or(usize::MAX) / PAGE;
        if block != image.name().as_bytes() || page >= image.pages() {
            let what = format!("offset {offset:#x} in \"{}\"", block.escape_ascii());
            return Err(self.shared.refused(form_laws.main_block, what));
        }
        match form {
            PageForm::Fill(byte) => image.load(page, &[byte; PAGE]),
            PageForm::Raw => return Ok(Some(page)),
            PageForm::Xbzrle(_) | PageForm::Compressed(_) => {
                let what = "a page in a form that was not agreed on".to_owned();
                return Err(self.shared.refused(form_laws.main_followed, what));
            }
        }
        Ok(None)
    }

    /// What may be the mark of an epoch.
    fn mark(&mut self, mode: SyncMode) -> Result<(), Error> {
        if self.shared.options.sync != mode {
            return Ok(());
        }
        let missing = |channel| format!("channel {channel} has sent no SYNC before a mark");
        let clause = self.shared.laws.machine.every_channel;
        self.shared.barrier.pass().map_err(|why| match why {
            NoPass::Ended(channel) | NoPass::Late(channel) => {
                self.shared.refused(clause, missing(channel))
            }
            NoPass::Failed => Error::Ended,
        })?;
        self.received.epochs += 1;
        Ok(())
    }
}
