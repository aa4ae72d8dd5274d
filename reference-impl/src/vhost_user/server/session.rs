//! One front-end: its descriptors, and what to do when one of them is ready.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use devmig_model::protocol::vhost_user::wire::Header;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::{Deadline, Event, LONGEST, MAX_STATE, Options, PATIENCE, ServeError, Stop, wait};
use crate::socket::transport::{Connection, ReceiveError};
use crate::vhost_user::backend::{Backend, Output, Past};
use crate::vhost_user::device::Device;
use crate::vhost_user::settings::Pieces;

/// What is read or written at once: a pipe that is ready takes as much without blocking.
const CHUNK: usize = 4096;

/// What a channel for device state is used for.
#[derive(Debug)]
enum Channel {
    Save { fd: OwnedFd, state: Vec<u8>, written: usize, close: bool },
    Load { fd: OwnedFd, state: Vec<u8>, whole: bool },
}

impl Channel {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Channel::Save { fd, .. } | Channel::Load { fd, .. } => fd.as_fd(),
        }
    }
}

/// A ring's descriptors.
#[derive(Debug, Default)]
struct Doorbells {
    kick: Option<Event>,
    call: Option<Event>,
    /// A mutant signals it too.
    replaced: Option<Event>,
    error: Option<Event>,
}

/// What became ready.
#[derive(Clone, Copy, Debug)]
enum Ready {
    Socket,
    Kick(usize),
    Channel,
    Requests,
    Outside,
}

/// One front-end.
pub(super) struct Session<D> {
    connection: Connection,
    backend: Backend<D>,
    rings: Vec<Doorbells>,
    channel: Option<Channel>,
    /// The back-end's own channel.
    requests: Option<Connection>,
    /// Channels that a mutant does not close.
    kept: Vec<OwnedFd>,
    /// What becomes of a message that comes in pieces.
    pieces: Pieces,
    over: bool,
}

impl<D: Device> Session<D> {
    pub(super) fn new(
        connection: Connection,
        device: D,
        options: &Options,
        past: Past,
    ) -> Result<Self, ServeError> {
        let rings = (0..device.rings()).map(|_| Doorbells::default()).collect();
        let mut backend = Backend::new(device, options.settings, options.mutants())?.after(past);
        if options.plain {
            backend = backend.plain();
        }
        let (channel, requests, kept) = (None, None, Vec::new());
        let pieces = options.settings.pieces;
        Ok(Session { connection, backend, rings, channel, requests, kept, pieces, over: false })
    }

    /// Until the front-end has gone, or was sent away, or we are told to stop. What has happened is
    /// returned.
    pub(super) fn run(
        mut self,
        stop: &Stop,
        outside: Option<&UnixListener>,
    ) -> Result<Past, ServeError> {
        while !self.over && !stop.requested()? {
            for ready in self.wait(stop, outside)? {
                let caller = match ready {
                    Ready::Outside => outside.and_then(|outside| outside.accept().ok()),
                    _ => None,
                };
                match ready {
                    Ready::Socket => self.receive(),
                    Ready::Kick(ring) => self.kicked(ring),
                    Ready::Channel => self.transfer(),
                    Ready::Requests => self.told(),
                    Ready::Outside if caller.is_some() => {
                        self.backend.handle_outside(Instant::now());
                    }
                    // Whoever called has gone again.
                    Ready::Outside => {}
                }
                self.act();
                // Only now is it let go: what it asked for is done.
                drop(caller);
            }
            self.backend.handle_time(Instant::now());
            self.act();
        }
        Ok(self.backend.past())
    }

    fn wait(
        &mut self,
        stop: &Stop,
        outside: Option<&UnixListener>,
    ) -> Result<Vec<Ready>, ServeError> {
        // Without a flag, a hang-up is seen all the same.
        let message = match self.backend.wants_message() {
            true => PollFlags::IN,
            false => PollFlags::empty(),
        };
        let mut polled = vec![PollFd::new(&*stop.0, PollFlags::IN)];
        let mut who = vec![None];
        let wanted = self.backend.wants_kicks();
        for (at, ring) in self.rings.iter().enumerate().filter(|_| wanted) {
            if let Some(kick) = &ring.kick {
                polled.push(PollFd::new(kick, PollFlags::IN));
                who.push(Some(Ready::Kick(at)));
            }
        }
        if let Some(channel) = &self.channel {
            let flags = match channel {
                Channel::Save { .. } => PollFlags::OUT,
                Channel::Load { .. } => PollFlags::IN,
            };
            polled.push(PollFd::from_borrowed_fd(channel.fd(), flags));
            who.push(Some(Ready::Channel));
        }
        if let Some(requests) = &self.requests {
            polled.push(PollFd::new(requests, PollFlags::IN));
            who.push(Some(Ready::Requests));
        }
        if let Some(outside) = outside {
            polled.push(PollFd::from_borrowed_fd(outside.as_fd(), PollFlags::IN));
            who.push(Some(Ready::Outside));
        }
        // Last: a kick from before a message counts before it.
        polled.push(PollFd::new(&self.connection, message));
        who.push(Some(Ready::Socket));
        let now = Instant::now();
        let until = self.backend.poll_timeout(now);
        wait(&mut polled, until.map_or(LONGEST, |until| until.saturating_duration_since(now)))?;
        let fired = polled.iter().zip(who).filter(|(fd, _)| !fd.revents().is_empty());
        Ok(fired.filter_map(|(_, who)| who).collect())
    }

    /// One message at most, so that nothing is read while an answer is owed.
    fn receive(&mut self) {
        if !self.backend.wants_message() {
            // Only a hang-up can have woken us.
            self.over = true;
            return;
        }
        match self.connection.receive(Deadline::now()) {
            Ok(message) => {
                let now = Instant::now();
                self.backend.handle_message(message.header, &message.payload, message.fds, now);
            }
            // A part of a message: what that is worth, the text leaves open.
            Err(ReceiveError::Timeout { got }) => {
                self.over = match self.pieces {
                    Pieces::Together => false,
                    Pieces::Header => got > Header::LEN,
                    Pieces::Whole => got > 0 && got != Header::LEN,
                };
            }
            Err(_) => self.over = true,
        }
    }

    /// An acknowledgement of a request of ours; whoever sends anything else is told nothing more.
    fn told(&mut self) {
        let Some(requests) = &mut self.requests else { return };
        let right = match requests.receive(Deadline::now()) {
            Ok(message) => self.backend.handle_told(message.header),
            Err(ReceiveError::Timeout { .. }) => true,
            Err(_) => false,
        };
        if !right {
            self.requests = None;
            self.backend.handle_channel_gone();
        }
    }

    fn kicked(&mut self, at: usize) {
        let Some(ring) = self.rings.get_mut(at) else { return };
        match ring.kick.as_ref().map(Event::take) {
            Some(Ok(count)) if count > 0 => self.backend.handle_kick(at, Instant::now()),
            // Not readable after all.
            Some(Ok(_)) if ring.kick.as_ref().is_some_and(alive) => {}
            // Whatever it is, it is no event descriptor, or the front-end has broken it.
            _ => ring.kick = None,
        }
    }

    /// Moves what can be moved of the device's state.
    fn transfer(&mut self) {
        let now = Instant::now();
        match self.channel.take() {
            None => {}
            Some(Channel::Save { fd, state, mut written, close }) => {
                let rest = state.get(written..).unwrap_or(&[]);
                let chunk = rest.get(..CHUNK).unwrap_or(rest);
                match rustix::io::write(&fd, chunk) {
                    Ok(count) => written += count,
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    Err(_) => {
                        drop(fd);
                        self.backend.handle_saved(false, now);
                        return;
                    }
                }
                if written < state.len() {
                    self.channel = Some(Channel::Save { fd, state, written, close });
                    return;
                }
                if !close {
                    self.kept.push(fd);
                }
                self.backend.handle_saved(true, now);
            }
            Some(Channel::Load { fd, mut state, whole }) => {
                let mut chunk = [0; CHUNK];
                let read = match rustix::io::read(&fd, &mut chunk) {
                    Ok(0) => Some(state.as_slice()),
                    Ok(count) if state.len() + count <= MAX_STATE => {
                        state.extend(chunk.iter().take(count));
                        if !whole {
                            self.kept.push(fd);
                            let _ = self.backend.handle_loaded(Some(&state), now);
                            return;
                        }
                        self.channel = Some(Channel::Load { fd, state, whole });
                        return;
                    }
                    Err(Errno::INTR | Errno::AGAIN) => {
                        self.channel = Some(Channel::Load { fd, state, whole });
                        return;
                    }
                    Ok(_) | Err(_) => None,
                };
                // Why it was refused, the front-end learns by CHECK_DEVICE_STATE.
                let _ = self.backend.handle_loaded(read, now);
            }
        }
    }

    /// Does what the core wants done.
    fn act(&mut self) {
        while let Some(output) = self.backend.poll_output().filter(|_| !self.over) {
            match output {
                Output::Reply { header, payload, descriptors } => {
                    let fds: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
                    let limit = Deadline::after(PATIENCE);
                    self.over = self.connection.send(header, &payload, &fds, limit).is_err();
                }
                Output::Kick { ring, descriptor, pending_counts } => {
                    let kick = descriptor.map(Event::from);
                    if let Some(kick) = kick.as_ref().filter(|_| !pending_counts) {
                        // One that cannot be read is found out when it is waited for.
                        let _ = kick.take();
                    }
                    self.set(ring, |bells| bells.kick = kick);
                }
                Output::SetCall { ring, descriptor, besides } => self.set(ring, |bells| {
                    let new = descriptor.map(Event::from);
                    let replaced = std::mem::replace(&mut bells.call, new);
                    bells.replaced = replaced.filter(|_| besides);
                }),
                Output::SetError { ring, descriptor } => {
                    self.set(ring, |bells| bells.error = descriptor.map(Event::from));
                }
                Output::Call(ring) => self.set(ring, |bells| {
                    signal(&mut bells.call);
                    signal(&mut bells.replaced);
                }),
                Output::Error(ring) => self.set(ring, |bells| signal(&mut bells.error)),
                Output::Save { channel, state, close } => {
                    let written = 0;
                    self.open(Channel::Save { fd: channel, state, written, close });
                }
                Output::Load { channel: fd, whole } => {
                    self.open(Channel::Load { fd, state: Vec::new(), whole });
                }
                Output::OpenChannel(socket) => match Connection::from_socket(socket) {
                    Ok(requests) => self.requests = Some(requests),
                    Err(_) => self.backend.handle_channel_gone(),
                },
                Output::Tell { header, payload } => {
                    let limit = Deadline::after(PATIENCE);
                    let sent = self.requests.as_mut().map(|r| r.send(header, &payload, &[], limit));
                    if !matches!(sent, Some(Ok(()))) {
                        self.requests = None;
                        self.backend.handle_channel_gone();
                    }
                }
                Output::Close(_) => self.over = true,
            }
        }
    }

    fn open(&mut self, channel: Channel) {
        // Where it cannot be set, each use waits for readiness first, and takes small pieces.
        let _ = rustix::io::ioctl_fionbio(channel.fd(), true);
        self.channel = Some(channel);
    }

    fn set(&mut self, ring: usize, change: impl FnOnce(&mut Doorbells)) {
        if let Some(bells) = self.rings.get_mut(ring) {
            change(bells);
        }
    }
}

/// Whether a descriptor that was ready and gave nothing can be waited for again.
fn alive(event: &Event) -> bool {
    let mut polled = [PollFd::new(event, PollFlags::IN)];
    let broken = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL | PollFlags::IN;
    wait(&mut polled, Duration::ZERO).is_ok()
        && !polled.iter().any(|p| p.revents().intersects(broken))
}

/// Signals through a descriptor, if there is one; one that fails is given up.
fn signal(event: &mut Option<Event>) {
    if event.as_ref().is_some_and(|event| event.signal().is_err()) {
        *event = None;
    }
}
