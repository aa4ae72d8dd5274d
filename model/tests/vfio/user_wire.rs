//! The encoding of vfio-user, with every length and with bytes that nobody would send.

#![allow(clippy::unwrap_used)]

use devmig_model::protocol::vfio_user::{
    Access, Capabilities, CapabilitiesError, Command, DeviceState, DmaMap, DmaWritten, Feature,
    FeatureFlags, Flags, Header, IrqSet, Kind, LoggingReport, LoggingStart, MAX_PAYLOAD, MigData,
    MigrationFlags, Range, Reply, Request, Sender, TwinSocket, Version, WireError, Write,
};
use devmig_testing::Premises;
use quickcheck::{Arbitrary, Gen, QuickCheck, quickcheck};

/// The least length of each command's request and reply, and whether more bytes may follow. What a
/// reply of DMA_WRITE has more is its own test.
const LENGTHS: &[(Command, usize, bool, usize, bool)] = &[
    (Command::VERSION, 4, true, 4, true),
    (Command::DMA_MAP, 32, false, 0, false),
    (Command::DMA_UNMAP, 24, false, 24, false),
    (Command::DEVICE_GET_INFO, 16, false, 16, false),
    (Command::DEVICE_GET_REGION_INFO, 32, false, 32, true),
    (Command::DEVICE_GET_IRQ_INFO, 16, false, 16, false),
    (Command::DEVICE_SET_IRQS, 20, true, 0, false),
    (Command::REGION_READ, 16, false, 16, true),
    (Command::REGION_WRITE, 16, true, 16, false),
    (Command::DMA_READ, 16, false, 16, true),
    (Command::DEVICE_RESET, 0, false, 0, false),
    (Command::DEVICE_FEATURE, 8, true, 8, true),
    (Command::MIG_DATA_READ, 8, false, 8, true),
    (Command::MIG_DATA_WRITE, 8, true, 0, false),
];

#[test]
fn every_length_is_taken_or_refused_as_the_text_has_it() {
    for (command, request, more, reply, more_in_reply) in LENGTHS {
        for length in 0..100 {
            let bytes = vec![0x5a; length];
            let fits = |least: usize, more: bool| length == least || more && length > least;
            let decoded = Request::decode(command.number(), &bytes);
            assert_eq!(decoded.is_ok(), fits(*request, *more), "{command} {length}");
            let decoded = Reply::decode(command.number(), &bytes);
            assert_eq!(decoded.is_ok(), fits(*reply, *more_in_reply), "{command} {length}");
        }
    }
    for length in 0..100_usize {
        let bytes = vec![0; length];
        let multi = Request::decode(Command::REGION_WRITE_MULTI.number(), &bytes);
        assert_eq!(multi.is_ok(), length >= 8 && (length - 8).is_multiple_of(24), "{length}");
        let fds = Reply::decode(Command::DEVICE_GET_REGION_IO_FDS.number(), &bytes);
        assert_eq!(fds.is_ok(), length >= 16 && (length - 16).is_multiple_of(40), "{length}");
        let written = Reply::decode(Command::DMA_WRITE.number(), &bytes);
        assert_eq!(written.is_ok(), length == 12 || length == 16, "{length}");
        assert_eq!(MigrationFlags::decode(&bytes).is_ok(), length == 8);
        assert_eq!(DeviceState::decode(&bytes).is_ok(), length == 8);
        assert_eq!(LoggingStart::decode(&bytes).is_ok(), length == 16);
        let report = LoggingReport::decode(&bytes);
        assert_eq!(report.is_ok(), length >= 24 && length.is_multiple_of(8), "{length}");
    }
}

#[test]
fn commands_are_numbered_as_in_the_text() {
    for number in 0..=u16::MAX {
        let known = Command::find(number);
        let there = matches!(number, 1..=13 | 15..=18);
        assert_eq!(known.is_some(), there, "{number}");
        assert_eq!(known.map_or(number, Command::number), number);
        if known.is_none() {
            assert_eq!(Request::decode(number, &[]), Err(WireError::Command(number)));
            assert_eq!(Reply::decode(number, &[]), Err(WireError::Command(number)));
        }
    }
    let from_server = Command::ALL.iter().filter(|command| command.sender() == Sender::Server);
    assert!(from_server.eq([Command::DMA_READ, Command::DMA_WRITE].iter()));
    assert_eq!(format!("{:>9}", Command::DMA_MAP), "  DMA_MAP");
}

#[test]
fn fields_are_where_the_text_puts_them() {
    let map = DmaMap { argsz: 32, flags: 3, offset: 0x1000, address: 0x8000, size: 0x2000 };
    let bytes = Request::DmaMap(map).encode();
    assert_eq!(bytes[..8], [32_u32.to_ne_bytes(), 3_u32.to_ne_bytes()].concat());
    assert_eq!(bytes[8..16], 0x1000_u64.to_ne_bytes());
    assert_eq!(bytes[24..], 0x2000_u64.to_ne_bytes());

    let set = IrqSet { argsz: 22, flags: 0x22, index: 1, start: 2, count: 3 };
    let bytes = Request::SetIrqs(set, vec![1, 0]).encode();
    assert_eq!((bytes.len(), bytes[16..20].to_vec()), (22, 3_u32.to_ne_bytes().to_vec()));

    let write = Write { offset: 4, region: 2, count: 1, data: u64::from_ne_bytes(*b"abcdefgh") };
    let bytes = Request::RegionWriteMulti(1, vec![write]).encode();
    assert_eq!((bytes.len(), &bytes[24..]), (32, &b"abcdefgh"[..]));

    let flags = FeatureFlags::set(Feature::MIG_DEVICE_STATE).probe();
    assert_eq!((flags.0, flags.index(), flags.undefined()), (0x6_0002, 2, 0));
    let state = DeviceState { device_state: 3, data_fd: -1 };
    let request = Request::DeviceFeature(16, flags, state.encode());
    assert_eq!(request.encode()[12..], [0xff; 4]);

    let start = LoggingStart {
        page_size: 4096,
        reserved: 0,
        ranges: vec![Range { iova: 1, length: 2 }, Range::default()],
    };
    let bytes = start.encode();
    assert_eq!((bytes.len(), bytes[8..12].to_vec()), (48, 2_u32.to_ne_bytes().to_vec()));
    let count = |announced| {
        let mut bytes = start.encode();
        bytes[8] = announced;
        LoggingStart::decode(&bytes)
    };
    let wrong = |announced| WireError::Count { what: "DMA_LOGGING_START", announced, carried: 2 };
    assert_eq!((count(1), count(3)), (Err(wrong(1)), Err(wrong(3))));
    assert_eq!(count(2), Ok(start.clone()));
}

#[test]
fn a_count_of_four_bytes_and_one_of_eight_are_told_apart() {
    let decode = |bytes: &[u8]| Reply::decode(Command::DMA_WRITE.number(), bytes).unwrap();
    let written = |wide| Reply::DmaWrite(DmaWritten { address: 7, count: 9, wide });
    for (wide, length) in [(false, 12), (true, 16)] {
        let bytes = written(wide).encode();
        assert_eq!((bytes.len(), decode(&bytes)), (length, written(wide)));
    }
    let large = DmaWritten { address: 0, count: 1 << 40, wide: false };
    assert_eq!(Reply::DmaWrite(large).encode().len(), 16);
}

#[test]
fn pages_of_a_bitmap_are_counted_from_its_range() {
    let pages = |iova, page_size, bitmap: &[u64]| {
        let report = LoggingReport { iova, length: 0, page_size, bitmap: bitmap.to_vec() };
        report.pages().collect::<Vec<_>>()
    };
    assert_eq!(pages(0x1_0000, 0x1000, &[0b101, 1 << 63]), [0x1_0000, 0x1_2000, 0x8_f000]);
    assert_eq!(pages(0, u64::MAX, &[0b111]), [0, u64::MAX]);
    assert_eq!(pages(u64::MAX, 1, &[0b11]), [u64::MAX]);
}

#[test]
fn capabilities_are_json_with_one_nul() {
    let said = |data: &[u8]| Version { data: data.to_vec(), ..Version::default() }.capabilities();
    assert_eq!(said(b""), Ok(Capabilities::default()));
    assert_eq!(said(b"{}\0"), Ok(Capabilities::default()));
    let old = br#"{"capabilities": {"max_msg_fds": 8, "migration": {"pgsize": 4096}}}"#;
    let known = Capabilities { max_msg_fds: Some(8), ..Capabilities::default() };
    assert_eq!(said(&[&old[..], b"\0"].concat()), Ok(known));
    for bad in [&old[..], b"\0\0", b"{}\0\0", b"{\0}\0"] {
        assert_eq!(said(bad), Err(CapabilitiesError::Terminator), "{bad:?}");
    }
    let deep = [vec![b'['; 1 << 20], vec![0]].concat();
    for bad in [&b"\0"[..], b"[]\0", b"7\0", b"{\"capabilities\":3}\0", b"\xff\0", &deep] {
        assert!(matches!(said(bad), Err(CapabilitiesError::Json(_))));
    }
    let negative = br#"{"capabilities":{"max_msg_fds":-1}}"#;
    assert!(said(&[&negative[..], b"\0"].concat()).is_err());
}

/// A payload by who reads it.
#[derive(Clone, Copy, Debug)]
enum Form {
    Request(Command),
    Reply(Command),
    LogStart,
    LogReport,
    State,
    Flags,
}

fn forms() -> Vec<Form> {
    let commands = Command::ALL.iter().flat_map(|c| [Form::Request(*c), Form::Reply(*c)]);
    commands.chain([Form::LogStart, Form::LogReport, Form::State, Form::Flags]).collect()
}

/// The least length of a form, in which steps it may be longer, and by how many steps at most.
fn lengths(form: Form) -> (usize, usize, usize) {
    let row = |command| LENGTHS.iter().find(|row| row.0 == command).unwrap();
    match form {
        Form::LogStart => (16, 16, 8),
        Form::LogReport => (24, 8, 8),
        Form::State | Form::Flags => (8, 0, 0),
        Form::Request(Command::DEVICE_GET_REGION_IO_FDS) => (16, 0, 0),
        Form::Request(Command::REGION_WRITE_MULTI) => (8, 24, 8),
        Form::Request(Command::DMA_WRITE) => (16, 1, 100),
        Form::Reply(Command::DEVICE_GET_REGION_IO_FDS) => (16, 40, 4),
        Form::Reply(Command::REGION_WRITE_MULTI) => (8, 0, 0),
        Form::Reply(Command::DMA_WRITE) => (12, 4, 1),
        Form::Request(command) => (row(command).1, usize::from(row(command).2), 100),
        Form::Reply(command) => (row(command).3, usize::from(row(command).4), 100),
    }
}

/// A form and bytes: three times of four of a length that the form has.
#[derive(Clone, Debug)]
struct Shaped(Form, Vec<u8>);

impl Arbitrary for Shaped {
    fn arbitrary(g: &mut Gen) -> Self {
        let form = *g.choose(&forms()).unwrap();
        let (least, step, most) = lengths(form);
        let length = match u8::arbitrary(g) % 4 {
            0 => usize::arbitrary(g) % 200,
            _ => least + usize::arbitrary(g) % (most + 1) * step,
        };
        let mut bytes: Vec<u8> = (0..length).map(|_| u8::arbitrary(g)).collect();
        if matches!(form, Form::LogStart) && length >= least && u8::arbitrary(g) > 25 {
            let ranges = (length - least) / step;
            bytes[8..12].copy_from_slice(&(ranges as u32).to_ne_bytes());
        }
        Shaped(form, bytes)
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let form = self.0;
        Box::new(self.1.shrink().map(move |bytes| Shaped(form, bytes)))
    }
}

/// The bytes that a form has again, if it takes them.
fn again(form: Form, bytes: &[u8]) -> Option<Vec<u8>> {
    match form {
        Form::Request(command) => Request::decode(command.number(), bytes).ok().map(|request| {
            assert_eq!(request.command(), command);
            request.encode()
        }),
        Form::Reply(command) => Reply::decode(command.number(), bytes).ok().map(|r| r.encode()),
        Form::LogStart => LoggingStart::decode(bytes).ok().map(|start| start.encode()),
        Form::LogReport => LoggingReport::decode(bytes).ok().map(|report| {
            assert!(report.pages().count() <= report.bitmap.len() * 64);
            report.encode()
        }),
        Form::State => DeviceState::decode(bytes).ok().map(|state| state.encode()),
        Form::Flags => MigrationFlags::decode(bytes).ok().map(MigrationFlags::encode),
    }
}

#[test]
fn what_decodes_encodes_to_the_same_bytes() {
    static PREMISES: Premises = Premises::new();
    fn law(Shaped(form, bytes): Shaped) -> bool {
        let again = again(form, &bytes);
        if PREMISES.holds("it decodes", again.is_some()) {
            PREMISES.met(format!("{form:?}"));
        }
        again.is_none_or(|again| again == bytes)
    }
    QuickCheck::new().tests(8000).quickcheck(law as fn(Shaped) -> bool);
    PREMISES.at_least("it decodes", 60);
    PREMISES.each(forms().into_iter().map(|form| format!("{form:?}")), 70);
}

impl Arbitrary for Any<Capabilities> {
    fn arbitrary(g: &mut Gen) -> Self {
        let twin: Option<(bool, Option<u32>)> = Option::arbitrary(g);
        Any(Capabilities {
            max_msg_fds: Option::arbitrary(g),
            max_data_xfer_size: Option::arbitrary(g),
            max_dma_maps: Option::arbitrary(g),
            pgsizes: Option::arbitrary(g),
            twin_socket: twin.map(|(supported, fd_index)| TwinSocket { supported, fd_index }),
            write_multiple: Option::arbitrary(g),
        })
    }
}

/// A value that this test generates.
#[derive(Clone, Copy, Debug)]
struct Any<T>(T);

quickcheck! {
    fn data_of_any_length_is_kept(data: Vec<u8>, more: u16, count: u32, argsz: u32) -> bool {
        let data = [data, vec![0x5a; usize::from(more % 3000)]].concat();
        let access = Access { offset: 1, region: 2, count };
        let requests = [
            Request::RegionWrite(access, data.clone()),
            Request::MigDataWrite(MigData { argsz, size: count }, data.clone()),
            Request::DeviceFeature(argsz, FeatureFlags(count), data.clone()),
        ];
        let reply = Reply::RegionRead(access, data);
        requests.into_iter().all(|request| {
            Request::decode(request.command().number(), &request.encode()) == Ok(request)
        }) && Reply::decode(Command::REGION_READ.number(), &reply.encode()) == Ok(reply)
    }

    fn versions_survive_a_round_trip(major: u16, minor: u16, capabilities: Any<Capabilities>) -> bool {
        let version = Version::new(major, minor, capabilities.0);
        let bytes = Request::Version(version.clone()).encode();
        version.capabilities() == Ok(capabilities.0)
            && Request::decode(1, &bytes) == Ok(Request::Version(version))
    }

    fn a_header_announces_what_it_is_made_for(id: u16, command: u16, length: u32) -> bool {
        let length = length as usize % (MAX_PAYLOAD + 1);
        let header = Header::new(id, command, Flags::command(), length);
        Header::decode(header.encode()) == header && header.payload() == Some(length)
    }
}

quickcheck! {
    fn a_header_survives_a_round_trip(a: u64, b: u64) -> bool {
        let mut bytes = [0; Header::LEN];
        bytes[..8].copy_from_slice(&a.to_ne_bytes());
        bytes[8..].copy_from_slice(&b.to_ne_bytes());
        Header::decode(bytes).encode() == bytes
    }
}

#[test]
fn flags_are_where_the_text_puts_them() {
    let flags = Flags::from_bits(0b1011_0001);
    assert_eq!(flags.kind(), Kind::Reply);
    assert!(flags.wants_no_reply() && flags.is_error());
    assert_eq!(flags.undefined(), 0b1000_0000);
    assert_eq!(format!("{flags:?}"), "reply|no_reply|error|0x80");
    assert_eq!(Flags::from_bits(7).kind(), Kind::Undefined(7));
    assert_eq!((Flags::no_reply().bits(), Flags::error().bits()), (0x10, 0x21));
}

#[test]
fn a_size_counts_the_header() {
    let header = Header::new(3, 9, Flags::command(), 16);
    assert_eq!((header.size, header.payload()), (32, Some(16)));
    assert_eq!(Header { size: 15, ..header }.payload(), None);
    let failed = header.failed(22);
    assert_eq!((failed.size, failed.error, failed.id, failed.command), (16, 22, 3, 9));
    assert_eq!(Header::new(0, 0, Flags::reply(), usize::MAX).size, u32::MAX);
}
