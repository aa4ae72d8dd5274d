//! Conversations that nobody would hold, thrown at the back-end without a socket.
//!
//! ```text
//!  bytes --Arbitrary--> settings, Turn, Turn, Turn, ... --> Backend --> outputs
//! ```
//!
//! Bytes become turns, not wire bytes: so most messages get past the codec and meet rings, memory
//! and transfers in an order that no front-end keeps. Half of the conversations begin with a proper
//! set-up, so that the turns after it meet running rings.
//!
//! **Invariants held here.** Nothing panics; each call does a bounded amount of work; after
//! [`Output::Close`] nothing follows; a state that the back-end saved itself is loaded again; and when
//! a back-end is gone, so are its descriptors. The corpus (`tests/corpus/back-end/`) has a conversation
//! for each outcome that was reached; the seeds after it are the same in every run.

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use devmig_model::protocol::vhost_user::wire::{Flags, Header, PayloadKind};
use devmig_reference::block::{Block, BlockOptions};
use devmig_reference::vhost_user::backend::Fault;
use devmig_reference::vhost_user::ids::{self, Message, OFFERED_PROTOCOL_FEATURES};
use devmig_reference::vhost_user::{Backend, Output, Settings};
use devmig_testing::Premises;
use devmig_testing::fuzz::{Fuzz, corpus};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};

const SEEDS: u64 = 2_000;
const BYTES: usize = 3_000;
/// The fewest outcomes that the corpus reaches.
const OUTCOMES: usize = 60;
/// Where the rings begin: at 0, and shortly before an index wraps.
const BASES: [u64; 2] = [0, 0xfff8];
/// Where the front-end says that its memory is; the guest's addresses begin at 0.
const USER: u64 = 0x7000_0000_0000;
const LENGTH: u64 = 0x4_0000;
/// Each ring's descriptors, available and used parts have this many bytes.
const PART: u64 = 0x1000;
const RINGS: usize = 2;
/// The most that one call may ask for: every request of the largest rings, and a few words.
const OUTPUTS: usize = RINGS * 2 * 1024 + 16;

/// A number: often one that means something.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    Small(u8),
    Bit(u8),
    Offered,
    User(u16),
    Part(u8),
    Any(u64),
}

impl Number {
    fn get(self) -> u64 {
        match self {
            Number::Small(n) => u64::from(n % 4),
            Number::Bit(n) => 1 << (n % 64),
            Number::Offered => OFFERED_PROTOCOL_FEATURES,
            Number::User(n) => USER + u64::from(n),
            Number::Part(n) => USER + u64::from(n % 8) * PART,
            Number::Any(n) => n,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Id {
    Known(u8),
    Ring(u8),
    Any(u32),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Descriptor {
    Memory,
    Event,
    Nothing,
}

/// What the payload has to do with the message.
#[derive(Arbitrary, Clone, Debug)]
enum Shape {
    Right,
    Cut(u8),
    Longer(u8),
    Of(u8),
    Bytes([u8; 16]),
}

/// One thing that happens to a back-end.
#[derive(Arbitrary, Clone, Debug)]
enum Turn {
    Message {
        id: Id,
        flags: u8,
        shape: Shape,
        numbers: [Number; 6],
        descriptors: [Option<Descriptor>; 2],
    },
    Kick(u8),
    Time(u8),
    Saved(bool),
    /// The state comes: what was saved last, perhaps damaged.
    Loaded {
        damaged: Option<(u16, u8)>,
    },
    /// Something else comes.
    Foreign {
        bytes: [u8; 24],
        length: u8,
    },
    Unreadable,
    /// The guest writes anything where rings are.
    Write {
        at: u16,
        bytes: [u8; 8],
    },
    /// The guest's available index.
    Available {
        ring: u8,
        index: u8,
    },
    /// A descriptor in a ring.
    Buffer {
        ring: u8,
        place: u8,
        at: u16,
        length: Number,
        flags: u8,
        next: u8,
    },
}

/// What a front-end does that keeps the rules: some of it takes several messages.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Proper {
    SetUp,
    Stop,
    Start,
    /// A request of its driver, with a kick.
    Request(bool),
    Save,
    Load,
    /// The transfer is carried out.
    Transferred,
    Check,
}

struct Harness {
    backend: Backend<Block>,
    guest: GuestMemoryMmap<()>,
    file: File,
    now: Instant,
    base: u64,
    saved: Vec<u8>,
    loading: bool,
    closed: Option<Fault>,
    /// A state was saved, and its own was loaded.
    transfers: (bool, bool),
}

impl Harness {
    fn new(settings: Settings) -> Self {
        let file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
        ftruncate(&file, LENGTH).unwrap();
        let part = FileOffset::new(file.try_clone().unwrap(), 0);
        let ranges = [(GuestAddress(0), LENGTH as usize, Some(part))];
        let options = BlockOptions { sectors: 64, rings: RINGS, ..BlockOptions::default() };
        Harness {
            backend: Backend::new(Block::new(options), settings, None).unwrap(),
            guest: GuestMemoryMmap::from_ranges_with_files(ranges).unwrap(),
            file,
            now: Instant::now(),
            base: 0,
            saved: Vec::new(),
            loading: false,
            closed: None,
            transfers: (false, false),
        }
    }

    fn descriptor(&self, kind: Descriptor) -> OwnedFd {
        match kind {
            Descriptor::Memory => self.file.try_clone().unwrap().into(),
            Descriptor::Event => eventfd(0, EventfdFlags::CLOEXEC).unwrap(),
            Descriptor::Nothing => File::open("/dev/null").unwrap().into(),
        }
    }

    fn message(&mut self, id: u32, flags: u32, payload: &[u8], kinds: &[Descriptor]) {
        // A server reads no further while an answer is owed.
        if !self.backend.wants_message() {
            return;
        }
        let descriptors = kinds.iter().map(|kind| self.descriptor(*kind)).collect();
        let flags = Flags::from_bits(flags);
        let header = Header { request: id, flags, size: payload.len() as u32 };
        self.backend.handle_message(header, payload, descriptors, self.now);
        self.drain();
    }

    fn say(&mut self, message: Message, all: &[u64], kinds: &[Descriptor]) {
        let numbers: Vec<_> = all.iter().map(|n| Number::Any(*n)).collect();
        let kind = ids::find(message.id()).unwrap().payload;
        self.message(message.id(), 1, &payload(kind, &numbers), kinds);
    }

    /// A front-end that does everything right, up to running rings.
    fn set_up(&mut self, base: u64) {
        self.base = base;
        for ring in 0..RINGS as u64 {
            for index in [PART, 2 * PART] {
                let place = GuestAddress(ring * 4 * PART + index + 2);
                self.guest.write_obj(base as u16, place).unwrap();
            }
        }
        self.say(Message::SET_FEATURES, &[1 << 30 | 1 << 32], &[]);
        self.say(Message::SET_PROTOCOL_FEATURES, &[OFFERED_PROTOCOL_FEATURES], &[]);
        self.say(Message::SET_MEM_TABLE, &[1, 0, LENGTH, USER, 0], &[Descriptor::Memory]);
        self.start();
    }

    fn start(&mut self) {
        for ring in 0..RINGS as u64 {
            let at = USER + ring * 4 * PART;
            self.say(Message::SET_VRING_NUM, &[ring, 16], &[]);
            self.say(Message::SET_VRING_BASE, &[ring, self.base], &[]);
            self.say(Message::SET_VRING_ADDR, &[ring, 0, at, at + 2 * PART, at + PART, 0], &[]);
            self.say(Message::SET_VRING_CALL, &[ring], &[Descriptor::Event]);
            self.say(Message::SET_VRING_KICK, &[ring], &[Descriptor::Event]);
            self.say(Message::SET_VRING_ENABLE, &[ring, 1], &[]);
        }
    }

    /// A flush: its head and its status.
    fn request(&mut self, ring: u64) {
        let (head, status) = (LENGTH - 64, LENGTH - 32);
        let put = |at: u64, bytes: &[u8]| self.guest.write_slice(bytes, GuestAddress(at)).unwrap();
        put(head, &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let at = ring * 4 * PART;
        for (entry, (place, length, flags, next)) in
            [(head, 16_u32, 1_u16, 1_u16), (status, 1, 2, 0)].into_iter().enumerate()
        {
            let at = at + entry as u64 * 16;
            put(at, &place.to_le_bytes());
            put(at + 8, &length.to_le_bytes());
            put(at + 12, &flags.to_le_bytes());
            put(at + 14, &next.to_le_bytes());
        }
        let index: u16 = self.guest.read_obj(GuestAddress(at + PART + 2)).unwrap();
        put(at + PART + 4 + u64::from(index % 16) * 2, &[0, 0]);
        put(at + PART + 2, &index.wrapping_add(1).to_le_bytes());
        self.backend.handle_kick(ring as usize, self.now);
    }

    fn proper(&mut self, proper: Proper) {
        match proper {
            Proper::SetUp => self.set_up(self.base),
            Proper::Stop => {
                for ring in 0..RINGS as u64 {
                    self.say(Message::GET_VRING_BASE, &[ring, 0], &[]);
                }
            }
            Proper::Start => self.start(),
            Proper::Request(ring) => self.request(ring.into()),
            Proper::Save => {
                self.say(Message::SET_DEVICE_STATE_FD, &[0, 0], &[Descriptor::Nothing]);
            }
            Proper::Load => {
                self.say(Message::SET_DEVICE_STATE_FD, &[1, 0], &[Descriptor::Nothing]);
            }
            Proper::Transferred if self.loading => self.turn(Turn::Loaded { damaged: None }),
            Proper::Transferred => self.backend.handle_saved(true, self.now),
            Proper::Check => self.say(Message::CHECK_DEVICE_STATE, &[], &[]),
        }
        self.drain();
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Message { id, flags, shape, numbers, descriptors } => {
                let of = |ids: &[Message], n: u8| ids[usize::from(n) % ids.len()].id();
                let id = match id {
                    Id::Known(n) => of(Message::ALL, n),
                    Id::Ring(n) => of(
                        &[
                            Message::SET_VRING_KICK,
                            Message::GET_VRING_BASE,
                            Message::SET_VRING_ENABLE,
                        ],
                        n,
                    ),
                    Id::Any(id) => id,
                };
                let right = ids::find(id).map_or(PayloadKind::U64, |known| known.payload);
                let mut bytes = payload(right, &numbers);
                match shape {
                    Shape::Right => {}
                    Shape::Cut(n) => bytes.truncate(usize::from(n)),
                    Shape::Longer(n) => bytes.resize(bytes.len() + usize::from(n), n),
                    Shape::Of(n) => {
                        let kinds = PayloadKind::ALL;
                        bytes = payload(kinds[usize::from(n) % kinds.len()], &numbers);
                    }
                    Shape::Bytes(raw) => bytes = raw.to_vec(),
                }
                // Version 1 most of the time, with need_reply and the reply bit as they come.
                let flags = if flags < 240 { 1 | u32::from(flags & 0b1000) } else { flags.into() };
                let kinds: Vec<_> = descriptors.into_iter().flatten().collect();
                self.message(id, flags, &bytes, &kinds);
            }
            Turn::Kick(ring) => self.backend.handle_kick(usize::from(ring % 4), self.now),
            Turn::Time(ms) => {
                self.now += Duration::from_millis(ms.into());
                self.backend.handle_time(self.now);
            }
            Turn::Saved(well) => self.backend.handle_saved(well, self.now),
            Turn::Loaded { damaged } => {
                let mut state = self.saved.clone();
                if let Some((at, by)) = damaged.filter(|_| !state.is_empty()) {
                    let at = usize::from(at) % state.len();
                    state[at] ^= by;
                }
                let was = self.loading;
                let loaded = self.backend.handle_loaded(Some(&state), self.now);
                let whole = !state.is_empty() && damaged.is_none_or(|(_, by)| by == 0);
                assert!(!whole || !was || loaded.is_ok(), "its own state is refused");
                self.transfers.1 |= whole && was;
                self.loading = false;
            }
            Turn::Foreign { bytes, length } => {
                let bytes = &bytes[..usize::from(length) % (bytes.len() + 1)];
                let _ = self.backend.handle_loaded(Some(bytes), self.now);
                self.loading = false;
            }
            Turn::Unreadable => {
                let _ = self.backend.handle_loaded(None, self.now);
                self.loading = false;
            }
            Turn::Write { at, bytes } => {
                let at = u64::from(at) % (LENGTH - 8);
                self.guest.write_slice(&bytes, GuestAddress(at)).unwrap();
            }
            Turn::Available { ring, index } => {
                let at = u64::from(ring % 2) * 4 * PART + PART + 2;
                self.guest.write_obj(u16::from(index), GuestAddress(at)).unwrap();
            }
            Turn::Buffer { ring, place, at, length, flags, next } => {
                let entry = u64::from(ring % 2) * 4 * PART + u64::from(place % 16) * 16;
                let put = |n: u64, value: u64, size: usize| {
                    let bytes = &value.to_le_bytes()[..size];
                    self.guest.write_slice(bytes, GuestAddress(entry + n)).unwrap();
                };
                put(0, u64::from(at) * 4, 8);
                put(8, length.get(), 4);
                put(12, u64::from(flags % 8), 2);
                put(14, u64::from(next % 20), 2);
            }
        }
        self.drain();
    }

    /// Takes what the back-end wants, as a server would, and holds it to its bounds.
    fn drain(&mut self) {
        let mut count = 0;
        while let Some(output) = self.backend.poll_output() {
            assert!(self.closed.is_none(), "{output:?} after the close");
            count += 1;
            assert!(count <= OUTPUTS, "one call asks for more than {OUTPUTS} things");
            match output {
                Output::Reply { header, payload, .. } => {
                    assert_eq!(header.size as usize, payload.len());
                    assert!(header.flags.is_reply());
                }
                Output::Save { state, .. } => {
                    self.saved = state;
                    self.transfers.0 = true;
                }
                Output::Load { .. } => self.loading = true,
                Output::Close(fault) => self.closed = Some(fault),
                _ => {}
            }
        }
        assert!(self.closed.is_none() || !self.backend.wants_message());
    }
}

/// A payload of this kind of these numbers.
fn payload(kind: PayloadKind, numbers: &[Number]) -> Vec<u8> {
    let mut numbers = numbers.iter().map(|n| n.get()).chain(std::iter::repeat(0));
    let mut out = Vec::new();
    let mut put = |sizes: &[usize]| {
        for size in sizes {
            let number = numbers.next().unwrap_or_default();
            out.extend_from_slice(&number.to_le_bytes()[..*size]);
        }
    };
    match kind {
        PayloadKind::None => {}
        PayloadKind::U64 | PayloadKind::VringFd | PayloadKind::TransferReply => put(&[8]),
        PayloadKind::VringState | PayloadKind::Transfer => put(&[4, 4]),
        PayloadKind::VringAddr => put(&[4, 4, 8, 8, 8, 8]),
        PayloadKind::Memory => put(&[8, 8, 8, 8, 8]),
        PayloadKind::MemoryRegion => put(&[8, 8, 8, 8, 8]),
        PayloadKind::Config => put(&[4, 4, 4, 8]),
        PayloadKind::Inflight => put(&[8, 8, 2, 2]),
        PayloadKind::Log => put(&[8, 8]),
        // What this back-end never negotiates: as long as it has to be, whatever it says.
        other => {
            put(&vec![8; other.size().least.div_ceil(8)]);
            out.truncate(other.size().least);
        }
    }
    out
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Every setting has one of its options, by a byte each.
fn settings(source: &mut Unstructured<'_>) -> Settings {
    // One number for all of them: a setting that is added later moves nothing in a kept input.
    let seed = u64::arbitrary(source).unwrap();
    let mut settings = Settings::default();
    for (name, options) in Settings::KNOWN {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let number = (name.bytes().fold(seed, mix) >> 32) as usize;
        // Most are as they are by default.
        if number.is_multiple_of(4) {
            settings.set(&format!("{name}={}", options[number / 4 % options.len()])).unwrap();
        }
    }
    settings
}

/// Holds the conversation that these bytes are, and says how it ended.
fn hold(bytes: &[u8]) -> String {
    let before = open_descriptors();
    let mut source = Unstructured::new(bytes);
    let start = u8::arbitrary(&mut source).unwrap();
    let mut harness = Harness::new(settings(&mut source));
    if start % 2 == 1 {
        harness.set_up(BASES[usize::from(start / 2 % 2)]);
        assert!(harness.closed.is_none(), "the set-up is refused");
    }
    let mut turns = 0;
    // Some end before the back-end closes, most by a turn that breaks a rule.
    let most = u8::arbitrary(&mut source).unwrap();
    while !source.is_empty() && harness.closed.is_none() && turns < most {
        if bool::arbitrary(&mut source).unwrap() {
            harness.proper(Proper::arbitrary(&mut source).unwrap());
        } else {
            harness.turn(Turn::arbitrary(&mut source).unwrap());
        }
        turns += 1;
    }
    let ended = match &harness.closed {
        Some(fault) => format!("{fault:?}"),
        None => "open".to_owned(),
    };
    let ended = ended.split(['(', '{', ' ']).next().unwrap_or_default();
    let mut outcome = vec![ended.to_owned()];
    let happened = [
        (harness.backend.device().completed() > 0, "requests done"),
        (harness.transfers.0, "saved"),
        (harness.transfers.1, "loaded"),
        (turns > 20, "long"),
    ];
    outcome.extend(happened.iter().filter(|(did, _)| *did).map(|(_, what)| (*what).to_owned()));
    drop(harness);
    assert_eq!(open_descriptors(), before, "a descriptor is left behind");
    outcome.join(" ")
}

#[test]
fn no_conversation_breaks_the_back_end() {
    let corpus = corpus(env!("CARGO_MANIFEST_DIR"), "back-end");
    let premises = Premises::new();
    let target = |bytes: &[u8]| {
        let outcome = hold(bytes);
        for what in ["requests done", "saved", "loaded", "long", "open"] {
            premises.holds(what, outcome.contains(what));
        }
        outcome
    };
    let reached = Fuzz { corpus, seeds: SEEDS, length: BYTES, target: &target }.run();
    assert!(reached.by_corpus.len() >= OUTCOMES, "{reached:#?}");
    // The conversations are worth holding: some are long, some end, and some rings do work.
    premises.at_least("requests done", 20);
    premises.at_least("long", 10);
    premises.at_least("open", 5);
    premises.at_least("saved", 10);
    premises.each(["loaded"], 60);
}
