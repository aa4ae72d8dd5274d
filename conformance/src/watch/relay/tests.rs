use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::*;

type Watched = JoinHandle<(End, Vec<Event>)>;

/// Both ends, what asks it to stop, and what it will have seen.
fn watched() -> (UnixStream, UnixStream, UnixStream, Watched) {
    let (front, a) = UnixStream::pair().unwrap();
    let (back, b) = UnixStream::pair().unwrap();
    let (stop, asked) = UnixStream::pair().unwrap();
    for end in [&front, &back] {
        end.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        end.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    let thread = std::thread::spawn(move || {
        let mut events = Vec::new();
        let mut relay = Relay::new(a.into(), b.into());
        let until = Some(Instant::now() + Duration::from_secs(60));
        let end = relay.run(until, asked.as_fd(), &mut |event| {
            events.push(event);
            Ok(())
        });
        (end.unwrap(), events)
    });
    (front, back, stop, thread)
}

fn message(request: u32, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap();
    let flags = devmig_model::protocol::vhost_user::wire::Flags::request();
    [&Header { request, flags, size }.encode()[..], payload].concat()
}

fn send(socket: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let rights = SendAncillaryMessage::ScmRights(fds);
    let mut space = vec![MaybeUninit::uninit(); rights.size()];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(rights));
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty());
    assert_eq!(sent, Ok(bytes.len()));
}

/// So many bytes, and the descriptors that came with them.
fn receive(socket: &UnixStream, count: usize) -> (Vec<u8>, Vec<OwnedFd>) {
    let (mut all, mut fds) = (Vec::new(), Vec::new());
    while all.len() < count {
        let mut bytes = vec![0; count - all.len()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let iov = &mut [IoSliceMut::new(&mut bytes)];
        let got = recvmsg(socket, iov, &mut control, RecvFlags::empty()).unwrap().bytes;
        assert!(got > 0, "closed after {} of {count} bytes", all.len());
        all.extend(&bytes[..got]);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
    }
    (all, fds)
}

fn messages(events: &[Event]) -> Vec<(Side, Channel, usize, usize)> {
    let said = |event: &Event| match &event.what {
        What::Said(said) => Some((said.from, said.channel, said.bytes.len(), said.fds)),
        _ => None,
    };
    events.iter().filter_map(said).collect()
}

#[test]
fn bytes_and_descriptors_pass_both_ways_in_whatever_pieces() {
    let (front, back, _stop, thread) = watched();
    let (near, far) = UnixStream::pair().unwrap();
    let (first, second) = (message(12, &[7; 8]), message(3, &[]));
    send(&front, &first[..5], &[near.as_fd()]);
    std::thread::sleep(Duration::from_millis(20));
    (&front).write_all(&[&first[5..], &second].concat()).unwrap();
    let (bytes, fds) = receive(&back, first.len() + second.len());
    assert_eq!(bytes, [&first[..], &second].concat());
    assert_eq!(fds.len(), 1);
    // It is the very descriptor: what is written there arrives.
    UnixStream::from(fds.into_iter().next().unwrap()).write_all(b"x").unwrap();
    let mut byte = [0];
    (&far).read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x");
    send(&back, &message(42, &[0; 8]), &[near.as_fd(), far.as_fd()]);
    assert_eq!(receive(&front, 20).1.len(), 2);
    drop(front);
    let (end, events) = thread.join().unwrap();
    assert_eq!(end, End::Closed);
    use Side::{BackEnd, FrontEnd};
    let main = Channel::Main;
    let expected = [(FrontEnd, main, 20, 1), (FrontEnd, main, 12, 0), (BackEnd, main, 20, 2)];
    assert_eq!(messages(&events), expected);
    assert!(events.iter().any(|event| event.what == What::Closed(FrontEnd)));
}

#[test]
fn a_side_that_does_not_read_does_not_stop_the_other_direction() {
    let (front, back, stop, thread) = watched();
    front.set_nonblocking(true).unwrap();
    // The back-end reads nothing: all that fits on the way is some buffers' worth.
    let flood = message(99, &[0; 4096]);
    let mut sent = 0;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(500) {
        match (&front).write(&flood) {
            Ok(count) => sent += count,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    assert!(sent < 4 << 20, "{sent} bytes are held");
    front.set_nonblocking(false).unwrap();
    (&back).write_all(&message(1, &[1; 8])).unwrap();
    assert_eq!(receive(&front, 20).0.len(), 20);
    drop(stop);
    assert_eq!(thread.join().unwrap().0, End::Asked);
}

#[test]
fn what_is_on_its_way_arrives_after_a_half_close() {
    let (front, back, _stop, thread) = watched();
    (&front).write_all(&message(11, &[0; 8])).unwrap();
    front.shutdown(std::net::Shutdown::Write).unwrap();
    let mut all = Vec::new();
    (&back).read_to_end(&mut all).unwrap();
    assert_eq!(all, message(11, &[0; 8]));
    (&back).write_all(&message(11, &[2; 8])).unwrap();
    drop(back);
    let mut answer = Vec::new();
    (&front).read_to_end(&mut answer).unwrap();
    assert_eq!(answer, message(11, &[2; 8]));
    assert_eq!(thread.join().unwrap().0, End::Closed);
}

#[test]
fn the_back_ends_channel_is_watched_too() {
    let (front, back, stop, thread) = watched();
    let (kept, given) = UnixStream::pair().unwrap();
    kept.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    send(&front, &message(SET_BACKEND_REQ_FD, &[]), &[given.as_fd()]);
    drop(given);
    let (_, fds) = receive(&back, 12);
    let channel = UnixStream::from(fds.into_iter().next().unwrap());
    channel.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    send(&channel, &message(2, &[]), &[kept.as_fd()]);
    assert_eq!(receive(&kept, 12).1.len(), 1);
    (&kept).write_all(&message(2, &[0; 8])).unwrap();
    assert_eq!(receive(&channel, 20).0, message(2, &[0; 8]));
    drop(stop);
    let (_, events) = thread.join().unwrap();
    let expected = [
        (Side::FrontEnd, Channel::Main, 12, 1),
        (Side::BackEnd, Channel::BackEnd, 12, 1),
        (Side::FrontEnd, Channel::BackEnd, 20, 0),
    ];
    assert_eq!(messages(&events), expected);
}

#[test]
fn a_huge_size_and_half_a_header_pass_as_they_are() {
    let (front, back, _stop, thread) = watched();
    let huge = Header { size: u32::MAX, ..Header::default() }.encode();
    (&front).write_all(&[&huge[..], &[5; 9000]].concat()).unwrap();
    assert_eq!(receive(&back, 9012).0.len(), 9012);
    (&back).write_all(&[1, 2, 3]).unwrap();
    drop(back);
    let mut all = Vec::new();
    (&front).read_to_end(&mut all).unwrap();
    assert_eq!(all, [1, 2, 3]);
    drop(front);
    let (_, events) = thread.join().unwrap();
    let lengths: Vec<usize> = messages(&events).iter().map(|message| message.2).collect();
    assert_eq!(lengths, [3, super::super::record::MAX_BYTES]);
}
