//! The laws of the codec, on arbitrary meanings and arbitrary bytes.

#![allow(clippy::unwrap_used)] // a test says by panicking what is wrong

use devmig_model::protocol::vhost_user::wire::{
    Config, CryptoSession, Flags, Header, Inflight, Iotlb, Log, LogTaken, MAX_CONFIG, MAX_CRYPTO,
    MAX_PAYLOAD, MAX_REGIONS, MAX_SHMEM, Memory, MemoryRegion, Mmap, Payload, PayloadKind, Region,
    SharedObject, ShmemConfig, Sizes, Transfer, TransferReply, VringAddr, VringArea, VringFd,
    VringState, WireError, XenMemory, XenMemoryRegion, XenRegion,
};
use devmig_testing::Premises;
use quickcheck::{Arbitrary, Gen, QuickCheck, quickcheck};

fn kind(g: &mut Gen) -> PayloadKind {
    *g.choose(&PayloadKind::ALL).unwrap()
}

/// Bytes of any length, and often of a length that some kind has.
#[derive(Clone, Debug)]
struct Bytes(PayloadKind, Vec<u8>);

impl Arbitrary for Bytes {
    fn arbitrary(g: &mut Gen) -> Self {
        let kind = kind(g);
        if bool::arbitrary(g) {
            return Bytes(kind, Vec::arbitrary(g));
        }
        let Sizes { least, most, step } = kind.size();
        let length = least + (usize::arbitrary(g) % ((most - least) / step + 1)) * step;
        let mut bytes: Vec<u8> = (0..length).map(|_| u8::arbitrary(g)).collect();
        let table =
            matches!(kind, PayloadKind::Memory | PayloadKind::MemoryXen | PayloadKind::ShmemConfig);
        if table && u8::arbitrary(g) > 20 {
            let regions = ((length - 8) / step) as u32;
            bytes[..4].copy_from_slice(&regions.to_ne_bytes());
        }
        Bytes(kind, bytes)
    }
}

fn region(g: &mut Gen) -> Region {
    let mut n = || u64::arbitrary(g);
    Region { guest_address: n(), size: n(), user_address: n(), mmap_offset: n() }
}

fn xen_region(g: &mut Gen) -> XenRegion {
    XenRegion { region: region(g), flags: u32::arbitrary(g), domid: u32::arbitrary(g) }
}

/// A payload with any meaning.
#[derive(Clone, Debug)]
struct Meaning(Payload);

impl Arbitrary for Meaning {
    fn arbitrary(g: &mut Gen) -> Self {
        Meaning(match kind(g) {
            PayloadKind::None => Payload::None,
            PayloadKind::U64 => Payload::U64(u64::arbitrary(g)),
            PayloadKind::VringState => {
                Payload::VringState(VringState { index: u32::arbitrary(g), num: u32::arbitrary(g) })
            }
            PayloadKind::VringAddr => Payload::VringAddr(VringAddr {
                index: u32::arbitrary(g),
                flags: u32::arbitrary(g),
                descriptor: u64::arbitrary(g),
                used: u64::arbitrary(g),
                available: u64::arbitrary(g),
                log: u64::arbitrary(g),
            }),
            PayloadKind::Memory => {
                let count = usize::arbitrary(g) % (MAX_REGIONS + 1);
                let mut memory = Memory::new((0..count).map(|_| region(g)).collect()).unwrap();
                memory.padding = u32::arbitrary(g);
                Payload::Memory(memory)
            }
            PayloadKind::MemoryRegion => Payload::MemoryRegion(MemoryRegion {
                padding: u64::arbitrary(g),
                region: region(g),
            }),
            PayloadKind::VringFd => Payload::VringFd(VringFd(u64::arbitrary(g))),
            PayloadKind::Transfer => Payload::Transfer(Transfer {
                direction: u32::arbitrary(g),
                phase: u32::arbitrary(g),
            }),
            PayloadKind::TransferReply => Payload::TransferReply(TransferReply(u64::arbitrary(g))),
            PayloadKind::Config => {
                let count = usize::arbitrary(g) % (MAX_CONFIG + 1);
                let bytes = (0..count).map(|_| u8::arbitrary(g)).collect();
                let mut config = Config::new(u32::arbitrary(g), u32::arbitrary(g), bytes).unwrap();
                config.size = u32::arbitrary(g);
                Payload::Config(config)
            }
            PayloadKind::Inflight => Payload::Inflight(Inflight {
                mmap_size: u64::arbitrary(g),
                mmap_offset: u64::arbitrary(g),
                num_queues: u16::arbitrary(g),
                queue_size: u16::arbitrary(g),
                alignment: bool::arbitrary(g).then(|| u32::arbitrary(g).to_ne_bytes()),
            }),
            PayloadKind::Log => {
                Payload::Log(Log { size: u64::arbitrary(g), offset: u64::arbitrary(g) })
            }
            PayloadKind::LogTaken => {
                let request = Log { size: u64::arbitrary(g), offset: u64::arbitrary(g) };
                let forms = [
                    LogTaken::Nothing,
                    LogTaken::Number(u64::arbitrary(g)),
                    LogTaken::Request(request),
                ];
                Payload::LogTaken(*g.choose(&forms).unwrap())
            }
            PayloadKind::Iotlb => Payload::Iotlb(Iotlb {
                iova: u64::arbitrary(g),
                size: u64::arbitrary(g),
                user_address: u64::arbitrary(g),
                permissions: u8::arbitrary(g),
                kind: u8::arbitrary(g),
                alignment: bool::arbitrary(g).then(|| [u8::arbitrary(g); 6]),
            }),
            PayloadKind::VringArea => Payload::VringArea(VringArea {
                ring: u64::arbitrary(g),
                size: u64::arbitrary(g),
                offset: u64::arbitrary(g),
            }),
            PayloadKind::CryptoSession => {
                let count = 8 + usize::arbitrary(g) % (MAX_CRYPTO - 7);
                let bytes = (0..count).map(|_| u8::arbitrary(g)).collect();
                Payload::CryptoSession(CryptoSession::new(bytes).unwrap())
            }
            PayloadKind::SharedObject => {
                Payload::SharedObject(SharedObject(u128::arbitrary(g).to_ne_bytes()))
            }
            PayloadKind::MemoryXen => {
                let count = usize::arbitrary(g) % (MAX_REGIONS + 1);
                let regions = (0..count).map(|_| xen_region(g)).collect();
                let mut memory = XenMemory::new(regions).unwrap();
                memory.padding = u32::arbitrary(g);
                Payload::MemoryXen(memory)
            }
            PayloadKind::MemoryRegionXen => Payload::MemoryRegionXen(XenMemoryRegion {
                padding: u64::arbitrary(g),
                region: xen_region(g),
            }),
            PayloadKind::Mmap => Payload::Mmap(Mmap {
                shmid: u8::arbitrary(g),
                padding: [u8::arbitrary(g); 7],
                fd_offset: u64::arbitrary(g),
                shm_offset: u64::arbitrary(g),
                len: u64::arbitrary(g),
                flags: u64::arbitrary(g),
            }),
            PayloadKind::ShmemConfig => {
                let count = usize::arbitrary(g) % (MAX_SHMEM + 1);
                let sizes = (0..count).map(|_| u64::arbitrary(g)).collect();
                let mut config = ShmemConfig::new(sizes).unwrap();
                config.num_regions = (usize::arbitrary(g) % (count + 1)) as u32;
                config.padding = u32::arbitrary(g);
                Payload::ShmemConfig(config)
            }
        })
    }
}

/// Cases of a law: about a hundred for each kind.
const CASES: u64 = 100 * PayloadKind::ALL.len() as u64;

#[test]
fn a_meaning_survives_a_round_trip() {
    static PREMISES: Premises = Premises::new();
    fn law(Meaning(payload): Meaning) -> bool {
        PREMISES.met(payload.kind().to_string());
        let bytes = payload.encode();
        bytes.len() <= MAX_PAYLOAD
            && payload.kind().size().admit(bytes.len())
            && Payload::decode(payload.kind(), &bytes) == Ok(payload)
    }
    QuickCheck::new().tests(CASES).quickcheck(law as fn(Meaning) -> bool);
    PREMISES.each(PayloadKind::ALL, 40);
}

#[test]
fn bytes_that_mean_something_survive_a_round_trip() {
    static PREMISES: Premises = Premises::new();
    fn law(Bytes(kind, bytes): Bytes) -> bool {
        let decoded = Payload::decode(kind, &bytes);
        if PREMISES.holds("it decodes", decoded.is_ok()) {
            PREMISES.met(kind.to_string());
        }
        match decoded {
            Ok(payload) => payload.kind() == kind && payload.encode() == bytes,
            Err(WireError::Size { .. }) => {
                PREMISES.met("wrong size");
                !kind.size().admit(bytes.len())
            }
            Err(WireError::Regions { .. }) => {
                PREMISES.met("wrong number of regions");
                matches!(
                    kind,
                    PayloadKind::Memory | PayloadKind::MemoryXen | PayloadKind::ShmemConfig
                )
            }
        }
    }
    QuickCheck::new().tests(2 * CASES).quickcheck(law as fn(Bytes) -> bool);
    PREMISES.at_least("it decodes", 33);
    PREMISES.each(PayloadKind::ALL, 30);
    PREMISES.each(["wrong size"], 500);
    PREMISES.each(["wrong number of regions"], 20);
}

#[test]
fn every_length_up_to_the_bound_is_answered() {
    for kind in PayloadKind::ALL {
        for length in 0..=MAX_PAYLOAD {
            let admitted = kind.size().admit(length);
            match Payload::decode(kind, &vec![0; length]) {
                Ok(payload) => assert!(admitted && payload.encode().len() == length),
                Err(error) => assert!(!admitted || length > 8, "{error}"),
            }
        }
    }
}

#[test]
fn names_are_those_of_the_message_table() {
    let names: Vec<String> = PayloadKind::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(
        names.join(" "),
        "none u64 vring-state vring-addr memory memory-region vring-fd transfer transfer-reply \
         config inflight log log-taken iotlb vring-area crypto-session shared-object memory-xen \
         memory-region-xen mmap shmem-config"
    );
    for (kind, name) in PayloadKind::ALL.iter().zip(&names) {
        assert_eq!(serde_json::from_value::<PayloadKind>(name.as_str().into()).unwrap(), *kind);
    }
}

#[test]
fn a_memory_table_is_as_the_text_describes_it() {
    let region = Region { guest_address: 1, size: 2, user_address: 3, mmap_offset: 4 };
    let bytes = Payload::Memory(Memory::new(vec![region; 2]).unwrap()).encode();
    assert_eq!(bytes.len(), 72);
    assert_eq!(bytes[..4], 2_u32.to_ne_bytes());
    assert_eq!(bytes[40..48], 1_u64.to_ne_bytes());
    assert_eq!(bytes[64..72], 4_u64.to_ne_bytes());
    assert!(Memory::new(vec![region; 9]).is_err());
}

#[test]
fn errors_name_the_kind_and_what_it_allows() {
    let text = |kind, bytes: &[u8]| Payload::decode(kind, bytes).unwrap_err().to_string();
    assert_eq!(text(PayloadKind::U64, &[0; 4]), "a payload of kind u64 has 8 bytes, not 4");
    assert_eq!(
        text(PayloadKind::Memory, &[0; 300]),
        "a payload of kind memory has 8 to 264 in steps of 32 bytes, not 300"
    );
    assert_eq!(
        text(PayloadKind::Memory, &[0xff; 8]),
        "a table announces 4294967295 regions and has bytes for 0"
    );
    assert_eq!(
        text(PayloadKind::Iotlb, &[0; 30]),
        "a payload of kind iotlb has 26 to 32 in steps of 6 bytes, not 30"
    );
    assert!(CryptoSession::new(vec![0; 7]).is_err());
    assert!(CryptoSession::new(vec![0; MAX_CRYPTO + 1]).is_err());
    assert!(XenMemory::new(vec![XenRegion::default(); 9]).is_err());
    assert!(ShmemConfig::new(vec![0; MAX_SHMEM + 1]).is_err());
}

#[test]
fn packed_bits_are_where_the_text_puts_them() {
    assert_eq!(VringFd::new(3, true).0, 0x103);
    assert!(VringFd(0x1ff).no_descriptor());
    assert_eq!(VringFd(0x2ff).index(), 255);
    assert!(!VringFd(0x2ff).no_descriptor());
    assert_eq!((TransferReply(0x105).error(), TransferReply(0x105).no_descriptor()), (5, true));
}

#[test]
fn an_array_of_shared_memory_regions_may_be_longer_than_what_it_announces() {
    let mut bytes = vec![0; 8 + MAX_SHMEM * 8];
    bytes[..4].copy_from_slice(&2_u32.to_ne_bytes());
    let Ok(Payload::ShmemConfig(config)) = Payload::decode(PayloadKind::ShmemConfig, &bytes) else {
        panic!("not decoded");
    };
    assert_eq!((config.num_regions, config.sizes().len()), (2, MAX_SHMEM));
    // More than are there is no meaning.
    assert!(Payload::decode(PayloadKind::ShmemConfig, &bytes[..16]).is_err());
}

#[test]
fn the_layouts_are_those_of_the_text() {
    let size = |payload: Payload| payload.encode().len();
    assert_eq!(size(Payload::Iotlb(Iotlb::default())), 26);
    assert_eq!(size(Payload::VringArea(VringArea::default())), 24);
    assert_eq!(size(Payload::MemoryRegionXen(XenMemoryRegion::default())), 48);
    assert_eq!(size(Payload::Mmap(Mmap::default())), 40);
    let xen = XenMemory::new(vec![XenRegion { domid: 7, ..XenRegion::default() }; 2]).unwrap();
    let bytes = Payload::MemoryXen(xen).encode();
    assert_eq!((bytes.len(), bytes[44]), (88, 7 * u8::from(cfg!(target_endian = "little"))));
    let entry = Iotlb { kind: Iotlb::MISS, permissions: 3, ..Iotlb::default() };
    assert_eq!(Payload::Iotlb(entry).encode()[24..], [3, 1]);
    let session = CryptoSession::new([[0xff; 8], [1; 8]].concat()).unwrap();
    assert_eq!(session.first_id(), -1);
    assert!(session.last_id() > 0);
}

#[test]
fn xen_has_kinds_of_its_own_for_memory_alone() {
    let changed = PayloadKind::ALL.into_iter().filter(|kind| kind.with_xen() != *kind);
    assert_eq!(changed.collect::<Vec<_>>(), [PayloadKind::Memory, PayloadKind::MemoryRegion]);
}

quickcheck! {
    fn a_header_survives_a_round_trip(request: u32, flags: u32, size: u32) -> bool {
        let header = Header { request, flags: Flags::from_bits(flags), size };
        Header::decode(header.encode()) == header && header.flags.bits() == flags
    }
}

#[test]
fn flags_are_where_the_text_puts_them() {
    let flags = Flags::from_bits(0b1_1101);
    assert_eq!((flags.version(), flags.is_reply(), flags.need_reply()), (1, true, true));
    assert_eq!(flags.undefined(), 0b1_0000);
    assert_eq!(format!("{flags:?}"), "v1|reply|need_reply|0x10");
    assert_eq!(Flags::request().with_need_reply().bits(), 0b1001);
    assert_eq!(Flags::reply().bits(), 0b101);
}
