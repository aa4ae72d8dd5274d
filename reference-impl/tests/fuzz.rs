//! Conversations that nobody would hold, thrown at the back-end without a socket.
//!
//! ```text
//!  seed --xorshift--> bytes --Arbitrary--> Turn, Turn, Turn, ... --> Backend --> outputs
//! ```
//!
//! Bytes become turns, not wire bytes: so most messages get past the codec and meet rings, memory
//! and transfers in an order that no front-end keeps. Half of the conversations begin with a proper
//! set-up, so that the turns after it meet running rings.
//!
//! **Invariants held here.** Nothing panics; each call does a bounded amount of work; after
//! [`Output::Close`] nothing follows; and when a back-end is gone, so are its descriptors. The same
//! conversations are held in every run.

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use devmig_model::protocol::vhost_user::wire::{Flags, Header, PayloadKind};
use devmig_reference::block::{Block, BlockOptions};
use devmig_reference::vhost_user::ids::{self, Message, OFFERED_PROTOCOL_FEATURES};
use devmig_reference::vhost_user::{Backend, Output, Settings};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};

const CASES: u64 = 2_000;
const BYTES: usize = 3_000;
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

struct Harness {
    backend: Backend<Block>,
    guest: GuestMemoryMmap<()>,
    file: File,
    now: Instant,
    saved: Vec<u8>,
    loading: bool,
    closed: bool,
}

impl Harness {
    fn new(setting: &str) -> Self {
        let file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
        ftruncate(&file, LENGTH).unwrap();
        let part = FileOffset::new(file.try_clone().unwrap(), 0);
        let ranges = [(GuestAddress(0), LENGTH as usize, Some(part))];
        let mut settings = Settings::default();
        settings.set(setting).unwrap();
        let options = BlockOptions { sectors: 64, rings: RINGS, ..BlockOptions::default() };
        Harness {
            backend: Backend::new(Block::new(options), settings, None).unwrap(),
            guest: GuestMemoryMmap::from_ranges_with_files(ranges).unwrap(),
            file,
            now: Instant::now(),
            saved: Vec::new(),
            loading: false,
            closed: false,
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

    /// A front-end that does everything right, up to running rings.
    fn set_up(&mut self) {
        let numbers = |all: &[u64]| all.iter().map(|n| Number::Any(*n)).collect::<Vec<_>>();
        let mut say = |message: Message, all: &[u64], kinds: &[Descriptor]| {
            let kind = ids::find(message.id()).unwrap().payload;
            self.message(message.id(), 1, &payload(kind, &numbers(all)), kinds);
        };
        say(Message::SET_FEATURES, &[1 << 30 | 1 << 32], &[]);
        say(Message::SET_PROTOCOL_FEATURES, &[OFFERED_PROTOCOL_FEATURES], &[]);
        say(Message::SET_MEM_TABLE, &[1, 0, LENGTH, USER, 0], &[Descriptor::Memory]);
        for ring in 0..RINGS as u64 {
            let at = USER + ring * 4 * PART;
            say(Message::SET_VRING_NUM, &[ring, 16], &[]);
            say(Message::SET_VRING_BASE, &[ring, 0], &[]);
            say(Message::SET_VRING_ADDR, &[ring, 0, at, at + 2 * PART, at + PART, 0], &[]);
            say(Message::SET_VRING_CALL, &[ring], &[Descriptor::Event]);
            say(Message::SET_VRING_KICK, &[ring], &[Descriptor::Event]);
            say(Message::SET_VRING_ENABLE, &[ring, 1], &[]);
        }
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
            assert!(!self.closed, "{output:?} after the close");
            count += 1;
            assert!(count <= OUTPUTS, "one call asks for more than {OUTPUTS} things");
            match output {
                Output::Reply { header, payload, .. } => {
                    assert_eq!(header.size as usize, payload.len());
                    assert!(header.flags.is_reply());
                }
                Output::Save { state, .. } => self.saved = state,
                Output::Load { .. } => self.loading = true,
                Output::Close(_) => self.closed = true,
                _ => {}
            }
        }
        assert!(!self.closed || !self.backend.wants_message());
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

/// Fixed bytes from a seed.
fn bytes(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    })
    .take(BYTES)
    .collect()
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn no_conversation_breaks_the_back_end() {
    let settings: Vec<String> = Settings::KNOWN
        .iter()
        .flat_map(|(name, options)| options.iter().map(move |option| format!("{name}={option}")))
        .collect();
    let before = open_descriptors();
    let (mut turns, mut answered, mut ended) = (0u64, 0u64, 0u64);
    for case in 0..CASES {
        let bytes = bytes(case + 1);
        let mut source = Unstructured::new(&bytes);
        let mut harness = Harness::new(&settings[case as usize % settings.len()]);
        if case % 2 == 1 {
            harness.set_up();
            assert!(!harness.closed, "the set-up is refused");
        }
        while !source.is_empty() && !harness.closed {
            harness.turn(Turn::arbitrary(&mut source).unwrap());
            turns += 1;
        }
        answered += harness.backend.device().completed();
        ended += u64::from(harness.closed);
        drop(harness);
        assert_eq!(open_descriptors(), before, "a descriptor is left behind in case {case}");
    }
    // The conversations are worth holding: they are long, some end, and some rings do work.
    assert!(turns > 5 * CASES, "{turns} turns");
    assert!(ended > CASES / 10, "{ended} closed");
    assert!(answered > CASES / 10, "{answered} requests done");
}
