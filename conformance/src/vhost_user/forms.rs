//! Malformed messages, systematically: for every message of the table, everything that can be wrong
//! with its form, generated from the kind of its payload.
//!
//! ```text
//!   table --> kind --> sizes, flags, rings, values, memory, descriptors --> cases
//!                                                                            |
//!   session: one after the other, over one connection until it is closed  <--+
//! ```
//!
//! What is judged is `malformed.may-close` and no more: the back-end ends the conversation or goes on
//! with it, does not die, and serves the next one.
//!
//! **Not here:** single malformed messages with a name of their own (see [`super::malformed`]).

use devmig_model::protocol::vhost_user::table::{MessageDef, Table};
use devmig_model::protocol::vhost_user::vocabulary::Effect;
use devmig_model::protocol::vhost_user::wire::{Flags, Header, PayloadKind};

use super::drive::has;

macro_rules! forms {
    ($($variant:ident $name:literal $what:literal,)+) => {
        /// What is wrong.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Form { $(#[doc = $what] $variant,)+ }

        impl Form {
            /// All of them: name, meaning, value.
            pub const ALL: &'static [(&'static str, &'static str, Form)] =
                &[$(($name, $what, Form::$variant),)+];
        }
    };
}

forms! {
    Sizes "sizes" "every invalid payload size",
    Flags "flags" "every wrong version, the reply flag, undefined flags",
    Rings "rings" "a ring index out of range, in every message that names a ring",
    Values "values" "invalid ring sizes, bases and addresses",
    Memory "memory" "memory regions that overlap, wrap, are empty, too many, or exceed their file",
    Descriptors "descriptors" "descriptors that are missing, too many, unexpected, or of the wrong kind",
    Ids "ids" "undefined request codes",
}

/// Descriptors that go along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fds {
    /// So many of guest memory.
    Memory(usize),
    /// The writing end of a pipe that nobody reads.
    ClosedPipe,
    /// Guest memory, opened for reading only.
    ReadOnly,
    /// A file of one page.
    OnePage,
    /// A directory.
    Directory,
}

/// One malformed message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// What it is, for a reader.
    pub what: String,
    /// Its bytes, header included.
    pub bytes: Vec<u8>,
    /// What goes along.
    pub fds: Fds,
    /// The stream makes no sense after it.
    pub derails: bool,
}

/// Rings that no device has.
const NO_RINGS: [u32; 3] = [127, 0xffff, u32::MAX];
/// Descriptors that no message brings.
const MANY: usize = 32;

impl Form {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(n, ..)| *n == name).map(|(.., value)| *value)
    }

    /// Its cases. `region` is one of guest memory: guest address, size, user address, offset.
    #[must_use]
    pub fn cases(self, table: &Table, region: [u64; 4]) -> Vec<Case> {
        let mut cases = Vec::new();
        for def in &table.messages {
            let payload = plain(def.request, region);
            let mut add = |what: String, bytes: Vec<u8>, fds: Fds, derails: bool| {
                cases.push(Case { what: format!("{} {what}", def.name), bytes, fds, derails });
            };
            let fds = Fds::Memory(usize::from(brings(def.request)));
            match self {
                Form::Sizes => {
                    let sizes = def.request.size();
                    let right = payload.len();
                    let wrong = [0, 1, right.saturating_sub(1), right + 1, right + 8, 4096];
                    let mut done = Vec::new();
                    for size in wrong {
                        if sizes.admit(size) || done.contains(&size) {
                            continue;
                        }
                        done.push(size);
                        let mut bytes = payload.clone();
                        bytes.resize(size, 0);
                        let what = format!("with {size} bytes in place of {right}");
                        add(what, message(def.id, Flags::request(), &bytes), fds, false);
                    }
                    let huge = Header { request: def.id, flags: Flags::request(), size: u32::MAX };
                    add("announcing 4 GiB".into(), huge.encode().to_vec(), fds, true);
                }
                Form::Flags => {
                    for bits in [0, 2, 3, 0b101, 0b1101, 0xffff_fff1, 0x11] {
                        let bytes = message(def.id, Flags::from_bits(bits), &payload);
                        add(format!("with flags {bits:#x}"), bytes, fds, false);
                    }
                }
                Form::Rings if def.names_ring() => {
                    for ring in NO_RINGS {
                        let mut bytes = payload.clone();
                        put(&mut bytes, 0, &ring.to_ne_bytes());
                        let bytes = message(def.id, Flags::request(), &bytes);
                        add(format!("for ring {ring}"), bytes, fds, false);
                    }
                }
                Form::Values => {
                    for (what, bytes) in values(def, &payload) {
                        let bytes = message(def.id, Flags::request(), &bytes);
                        add(what, bytes, fds, false);
                    }
                }
                Form::Memory => {
                    for (what, bytes, fds) in memory(def.request, region) {
                        let bytes = message(def.id, Flags::request(), &bytes);
                        add(what.to_owned(), bytes, fds, false);
                    }
                }
                Form::Descriptors => {
                    let bytes = message(def.id, Flags::request(), &payload);
                    let mut bad = vec![Fds::Memory(2), Fds::Memory(MANY)];
                    bad.extend(match brings(def.request) {
                        true => vec![
                            Fds::Memory(0),
                            Fds::ClosedPipe,
                            Fds::ReadOnly,
                            Fds::OnePage,
                            Fds::Directory,
                        ],
                        false => vec![Fds::Memory(1)],
                    });
                    for fds in bad {
                        add(format!("with {fds:?}"), bytes.clone(), fds, false);
                    }
                }
                Form::Rings | Form::Ids => {}
            }
        }
        if self == Form::Ids {
            let known = |id: u32| table.messages.iter().any(|def| def.id == id);
            let ids = [0, 100, 0xffff, 0x8000_0000, u32::MAX];
            for id in ids.into_iter().filter(|id| !known(*id)) {
                for flags in [Flags::request(), Flags::request().with_need_reply()] {
                    for size in [0, 8, 40] {
                        let bytes = message(id, flags, &vec![0; size]);
                        let what = format!("message {id} with {size} bytes, flags {flags:?}");
                        cases.push(Case { what, bytes, fds: Fds::Memory(0), derails: false });
                    }
                }
            }
        }
        cases
    }
}

fn message(request: u32, flags: Flags, payload: &[u8]) -> Vec<u8> {
    let header = Header { request, flags, size: payload.len() as u32 };
    [&header.encode()[..], payload].concat()
}

/// Overwrites bytes, as far as they are there.
fn put(bytes: &mut [u8], at: usize, with: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + with.len()) {
        place.copy_from_slice(with);
    }
}

/// A payload of the right form.
fn plain(kind: PayloadKind, region: [u64; 4]) -> Vec<u8> {
    match kind {
        PayloadKind::Memory => table_of(&[region], 1),
        PayloadKind::MemoryRegion => {
            [0].iter().chain(&region).flat_map(|n| n.to_ne_bytes()).collect()
        }
        PayloadKind::VringState => [0u32, 8].iter().flat_map(|n| n.to_ne_bytes()).collect(),
        _ => vec![0; kind.size().least],
    }
}

/// A table that says that it has so many regions.
fn table_of(regions: &[[u64; 4]], says: u32) -> Vec<u8> {
    let head = [says, 0].into_iter().flat_map(u32::to_ne_bytes);
    head.chain(regions.iter().flatten().flat_map(|n| n.to_ne_bytes())).collect()
}

/// Whether a message of this kind comes with a descriptor.
fn brings(kind: PayloadKind) -> bool {
    matches!(
        kind,
        PayloadKind::Memory
            | PayloadKind::MemoryRegion
            | PayloadKind::VringFd
            | PayloadKind::Transfer
            | PayloadKind::Inflight
            | PayloadKind::Log
    )
}

fn values(def: &MessageDef, payload: &[u8]) -> Vec<(String, Vec<u8>)> {
    let with = |what: String, at: usize, bytes: &[u8]| {
        let mut payload = payload.to_vec();
        put(&mut payload, at, bytes);
        (what, payload)
    };
    match def.request {
        PayloadKind::VringState if has(def, Effect::SetSize) => [0u32, 3, 32769, 65536, u32::MAX]
            .map(|n| with(format!("with size {n}"), 4, &n.to_ne_bytes()))
            .to_vec(),
        PayloadKind::VringState => [65536u32, 0x8000_0000, u32::MAX]
            .map(|n| with(format!("with number {n}"), 4, &n.to_ne_bytes()))
            .to_vec(),
        PayloadKind::VringAddr => {
            let parts = [(8, "descriptors"), (16, "the used ring"), (24, "the available ring")];
            let places = [0u64, 1, u64::MAX, u64::MAX - 0xfff, 1 << 63];
            let cases = parts.into_iter().flat_map(|(at, part)| {
                places.map(|place| {
                    with(format!("with {part} at {place:#x}"), at, &place.to_ne_bytes())
                })
            });
            cases.collect()
        }
        PayloadKind::Transfer => [(0, 2u32), (0, u32::MAX), (4, 1), (4, u32::MAX)]
            .map(|(at, n)| with(format!("with {n} at byte {at}"), at, &n.to_ne_bytes()))
            .to_vec(),
        PayloadKind::Config => [(0, u32::MAX), (4, u32::MAX), (8, u32::MAX), (0, 0xffff)]
            .map(|(at, n)| with(format!("with {n} at byte {at}"), at, &n.to_ne_bytes()))
            .to_vec(),
        PayloadKind::Inflight => [(0, u64::MAX), (8, u64::MAX), (16, u64::MAX)]
            .map(|(at, n)| with(format!("with {n:#x} at byte {at}"), at, &n.to_ne_bytes()))
            .to_vec(),
        PayloadKind::Log => [(0, u64::MAX), (8, u64::MAX), (0, 0)]
            .map(|(at, n)| with(format!("with {n:#x} at byte {at}"), at, &n.to_ne_bytes()))
            .to_vec(),
        PayloadKind::U64 => {
            vec![with("with all bits".to_owned(), 0, &u64::MAX.to_ne_bytes())]
        }
        _ => Vec::new(),
    }
}

/// What is wrong with memory regions.
fn memory(kind: PayloadKind, region: [u64; 4]) -> Vec<(&'static str, Vec<u8>, Fds)> {
    let [guest, size, user, offset] = region;
    let bad = [
        ("of no bytes", [guest, 0, user, offset]),
        ("that wraps in guest memory", [u64::MAX - 0xfff, size, user, offset]),
        ("that wraps in the front-end's memory", [guest, size, u64::MAX - 0xfff, offset]),
        ("beyond its file", [guest, size, user, 1 << 40]),
        ("larger than its file", [guest, 1 << 40, user, offset]),
        ("at an offset that wraps", [guest, size, user, u64::MAX - 0xfff]),
        ("of all bytes", [guest, u64::MAX, user, offset]),
        ("at an odd offset", [guest, size, user, 1]),
    ];
    let one = |region: [u64; 4]| plain(kind, region);
    let mut cases: Vec<_> = match kind {
        PayloadKind::Memory | PayloadKind::MemoryRegion => {
            let bad = bad.map(|(what, region)| (what, one(region), Fds::Memory(1)));
            bad.into_iter().collect()
        }
        _ => return Vec::new(),
    };
    cases.push(("in a file that is shorter", one(region), Fds::OnePage));
    cases.push(("that cannot be written", one(region), Fds::ReadOnly));
    cases.push(("in a pipe", one(region), Fds::ClosedPipe));
    if kind == PayloadKind::Memory {
        let twice = [region, region];
        cases.extend([
            ("of no regions", table_of(&[], 0), Fds::Memory(0)),
            ("that overlap", table_of(&twice, 2), Fds::Memory(2)),
            ("with a descriptor too few", table_of(&twice, 2), Fds::Memory(1)),
            ("with a descriptor too many", table_of(&[region], 1), Fds::Memory(2)),
            ("of nine regions", table_of(&[region; 9], 9), Fds::Memory(9)),
            ("that says more than it has", table_of(&[region], 8), Fds::Memory(1)),
            ("that says 2^32 - 1 regions", table_of(&[region], u32::MAX), Fds::Memory(1)),
        ]);
    }
    cases
}
