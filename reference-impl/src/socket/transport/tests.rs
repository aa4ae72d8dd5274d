//! Peers of every kind, in threads over a socket pair.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;
use std::time::Instant;

use devmig_model::protocol::vhost_user::wire::Flags;
use devmig_testing::Premises;
use quickcheck::QuickCheck;

use super::*;

fn soon() -> Deadline {
    Deadline::after(Duration::from_millis(50))
}

fn later() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

fn header(size: u32) -> Header {
    Header { request: 7, flags: Flags::reply(), size }
}

/// A connection to a peer that does what `act` does, then closes.
fn peer(act: impl FnOnce(&mut UnixStream) + Send + 'static) -> (Connection, JoinHandle<()>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let thread = std::thread::spawn(move || act(&mut theirs));
    (Connection::from_socket(ours).unwrap(), thread)
}

/// A connection, and its other end in our own hands.
fn pair() -> (Connection, Connection) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Connection::from_socket(ours).unwrap(), Connection::from_socket(theirs).unwrap())
}

fn descriptors(count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect()
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_message_arrives_with_its_descriptors() {
    let (mut a, mut b) = pair();
    let fds = descriptors(8);
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    a.send(header(3), b"abc", &fds, later()).unwrap();
    a.send(header(0), b"", &[], later()).unwrap();
    let first = b.receive(later()).unwrap();
    assert_eq!((first.header, &first.payload[..], first.fds.len()), (header(3), &b"abc"[..], 8));
    let second = b.receive(later()).unwrap();
    assert_eq!((second.header, second.payload.len(), second.fds.len()), (header(0), 0, 0));
}

#[test]
fn a_fragment_is_kept_over_a_timeout() {
    let (mut a, mut b) = pair();
    let whole = [&header(4).encode()[..], b"wxyz"].concat();
    for cut in 0..whole.len() {
        let fd = descriptors(1);
        a.send_raw(&whole[..cut], &[fd[0].as_fd()], later()).unwrap();
        match b.receive(soon()) {
            Err(ReceiveError::Timeout { got }) => assert_eq!(got, cut),
            other => panic!("{other:?}"),
        }
        a.send_raw(&whole[cut..], &[], later()).unwrap();
        let message = b.receive(later()).unwrap();
        assert_eq!((message.header, &message.payload[..]), (header(4), &b"wxyz"[..]));
        assert_eq!(message.fds.len(), usize::from(cut > 0));
    }
}

/// However bytes are cut into pieces, the same messages come.
#[test]
fn cuts_do_not_matter() {
    static PREMISES: Premises = Premises::new();
    fn law(messages: Vec<(u32, Vec<u8>)>, pieces: Vec<u8>) -> bool {
        let message = |(request, payload): &(u32, Vec<u8>)| {
            let header = Header { request: *request, ..header(payload.len() as u32) };
            [&header.encode()[..], payload].concat()
        };
        let stream: Vec<u8> = messages.iter().flat_map(message).collect();
        let (mut a, mut b) = pair();
        let (mut rest, mut came) = (&stream[..], Vec::new());
        PREMISES.holds("several messages", messages.len() > 1);
        for piece in pieces.iter().map(|n| usize::from(*n)).chain([usize::MAX]) {
            let (now, then) = rest.split_at(piece.min(rest.len()));
            a.send_raw(now, &[], later()).unwrap();
            rest = then;
            let before = came.len();
            while let Ok(Received { header, payload, .. }) = b.receive(Deadline::now()) {
                came.push((header.request, payload));
            }
            if !now.is_empty() {
                PREMISES.holds("a piece without the end of a message", came.len() == before);
                PREMISES.holds("a piece with several ends", came.len() > before + 1);
            }
        }
        came == messages
    }
    QuickCheck::new().quickcheck(law as fn(Vec<(u32, Vec<u8>)>, Vec<u8>) -> bool);
    PREMISES.at_least("several messages", 50);
    PREMISES.at_least("a piece without the end of a message", 5);
    PREMISES.at_least("a piece with several ends", 5);
}

#[test]
fn a_silent_peer_is_a_timeout() {
    let (mut a, _b) = pair();
    let start = Instant::now();
    assert!(matches!(a.receive(soon()), Err(ReceiveError::Timeout { got: 0 })));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(matches!(a.receive(Deadline::now()), Err(ReceiveError::Timeout { got: 0 })));
}

#[test]
fn a_peer_that_closes_says_where() {
    for after in [0, 5, 12, 14] {
        let bytes = [&header(4).encode()[..], b"wx"].concat();
        let (mut a, thread) = peer(move |s| s.write_all(&bytes[..after]).unwrap());
        thread.join().unwrap();
        match a.receive(later()) {
            Err(ReceiveError::Closed { after: n }) => assert_eq!(n, after),
            other => panic!("{other:?}"),
        }
        assert!(matches!(a.send(header(0), b"", &[], later()), Err(SendError::Closed { sent: 0 })));
    }
}

#[test]
fn a_peer_that_closes_with_our_message_unread_has_closed() {
    let (mut a, b) = pair();
    a.send(header(0), b"", &[], later()).unwrap();
    drop(b);
    assert!(matches!(a.receive(later()), Err(ReceiveError::Closed { after: 0 })));
}

#[test]
fn a_huge_payload_is_not_read() {
    for size in [MAX_PAYLOAD as u32 + 1, 1 << 31, u32::MAX] {
        let (mut a, _thread) = peer(move |s| s.write_all(&header(size).encode()).unwrap());
        match a.receive(later()) {
            Err(ReceiveError::TooLarge { header: said }) => assert_eq!(said, header(size)),
            other => panic!("{other:?}"),
        }
        assert_eq!(a.incoming.len(), Header::LEN);
    }
    let size = MAX_PAYLOAD as u32;
    let (mut a, _thread) = peer(move |s| {
        s.write_all(&header(size).encode()).unwrap();
        s.write_all(&vec![9; MAX_PAYLOAD]).unwrap();
    });
    assert_eq!(a.receive(later()).unwrap().payload.len(), MAX_PAYLOAD);
}

#[test]
fn an_endless_stream_is_taken_message_by_message() {
    let (mut a, thread) = peer(|s| while s.write_all(&[0; 4096]).is_ok() {});
    for _ in 0..1000 {
        let message = a.receive(later()).unwrap();
        assert_eq!(message.header, Header::default());
        assert!(a.incoming.capacity() <= Header::LEN + MAX_PAYLOAD);
    }
    drop(a);
    thread.join().unwrap();
}

#[test]
fn garbage_is_a_header_or_too_large() {
    for seed in 0..=255_u8 {
        let garbage: Vec<u8> = (0..64).map(|i| seed.wrapping_mul(i).wrapping_add(seed)).collect();
        let (mut a, _thread) = peer(move |s| s.write_all(&garbage).unwrap());
        while a.receive(later()).is_ok() {}
    }
}

#[test]
fn too_many_descriptors_are_closed() {
    let (mut a, mut b) = pair();
    let many = descriptors(50);
    let many: Vec<_> = many.iter().map(AsFd::as_fd).collect();
    a.send(header(0), b"", &many, later()).unwrap();
    assert!(matches!(b.receive(later()), Err(ReceiveError::TooManyDescriptors)));
    assert!(b.fds.is_empty());

    // Some with each byte: more than a message may bring, though no single byte brings them.
    let (mut a, mut b) = pair();
    for byte in header(0).encode() {
        a.send_raw(&[byte], &many[..2], later()).unwrap();
    }
    assert!(matches!(b.receive(later()), Err(ReceiveError::TooManyDescriptors)));
    assert!(b.fds.is_empty());
}

#[test]
fn descriptors_that_nobody_takes_are_closed() {
    let (mut a, mut b) = pair();
    let one = descriptors(1);
    let before = open_descriptors();
    for _ in 0..2000 {
        a.send(header(0), b"", &[one[0].as_fd()], later()).unwrap();
        drop(b.receive(later()).unwrap());
    }
    // Other tests open descriptors meanwhile; a leak would be 2000 of them.
    assert!(open_descriptors() < before + 500);
}

#[test]
fn a_peer_that_does_not_read_is_a_timeout() {
    let (mut a, b) = pair();
    let error = a.send_raw(&vec![0; 16 << 20], &[], soon()).unwrap_err();
    match error {
        SendError::Timeout { sent } => assert!(sent > 0 && sent < 16 << 20),
        other => panic!("{other:?}"),
    }
    drop(b);
    assert!(matches!(a.send_raw(&[0], &[], soon()), Err(SendError::Closed { .. })));
}

#[test]
fn a_slow_reader_gets_everything() {
    let (mut a, thread) = peer(|s| {
        let (mut buffer, mut total) = ([0; 1 << 16], 0);
        while total < 4 << 20 {
            std::thread::sleep(Duration::from_micros(100));
            total += s.read(&mut buffer).unwrap();
        }
    });
    a.send_raw(&vec![1; 4 << 20], &[], later()).unwrap();
    thread.join().unwrap();
}

#[test]
fn more_descriptors_than_the_kernel_takes_is_our_fault() {
    let (mut a, _b) = pair();
    let one = descriptors(1);
    let fds = vec![one[0].as_fd(); 300];
    assert!(matches!(a.send_raw(&[0], &fds, soon()), Err(SendError::Io(_))));
}

#[test]
fn connecting_fails_with_the_cause() {
    let dir = tempfile::tempdir().unwrap();
    let error = |path: &Path| Connection::connect(path, soon()).unwrap_err();
    let path = dir.path().join("s");
    assert!(matches!(error(&path), ConnectError::NoSuchSocket(_)));
    std::fs::write(&path, "").unwrap();
    assert!(matches!(error(&path), ConnectError::Refused(_)));
    std::fs::remove_file(&path).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    assert!(matches!(error(&path), ConnectError::Refused(_)));
    assert!(matches!(error(&dir.path().join("l".repeat(200))), ConnectError::PathTooLong(_)));
}

#[test]
fn a_listener_that_does_not_accept_is_a_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _first = Connection::connect(&path, soon()).unwrap();
    let error = Connection::connect(&path, soon()).unwrap_err();
    assert!(matches!(error, ConnectError::Timeout(_)), "{error}");
}
