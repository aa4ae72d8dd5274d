//! Stands between a front-end and a back-end, passes everything on, and says what passed.
//!
//! ```text
//!   front-end == main ============== back-end
//!             == back-end's channel ==          once SET_BACKEND_REQ_FD brought it
//! ```
//!
//! A message is told of before it is passed on, and the back-end's side is read first. So the order in
//! which events are told is one in which they can have happened: an answer told of before a message
//! was sent before that message could be read.
//!
//! The back-end's channel is a socket of the front-end's that passes by as a descriptor; a pair of
//! ours goes on in its place. Other descriptors (memory, kick, call, pipes) go on as they are.
//!
//! **Invariants.** One thread, no blocking call. A side that does not read stops only the line towards
//! it. When one side has closed, what is on its way still arrives, within `GRACE`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use devmig_model::protocol::vhost_user::wire::Header;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair, sockopt,
};

use super::line::{Came, Line, Passing};
use super::record::{Channel, Event, Said, Side, What};
use super::rings::Rings;

/// How long what is on its way may take once a side has closed.
const GRACE: Duration = Duration::from_secs(1);
/// How many reads of one line before the others are looked at.
const TURN: usize = 16;
/// Back-end's channels at once: a front-end has one, and may replace it.
const MAX_CHANNELS: usize = 4;
/// SET_BACKEND_REQ_FD, as in the text.
const SET_BACKEND_REQ_FD: u32 = 21;

/// Two sockets and the lines between them.
#[derive(Debug)]
struct Pair {
    channel: Channel,
    front: OwnedFd,
    back: OwnedFd,
    /// From the front-end to the back-end.
    down: Line,
    /// From the back-end to the front-end.
    up: Line,
}

impl Pair {
    fn new(channel: Channel, front: OwnedFd, back: OwnedFd) -> Self {
        Pair { channel, front, back, down: Line::default(), up: Line::default() }
    }

    fn end(&self, side: Side) -> BorrowedFd<'_> {
        match side {
            Side::FrontEnd => self.front.as_fd(),
            Side::BackEnd => self.back.as_fd(),
        }
    }

    /// The line that a side writes to.
    fn from(&self, side: Side) -> &Line {
        match side {
            Side::FrontEnd => &self.down,
            Side::BackEnd => &self.up,
        }
    }

    /// What to wait for at a side.
    fn interest(&self, side: Side) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.from(side).wants());
        flags.set(PollFlags::OUT, self.from(side.other()).holds());
        flags
    }

    /// Nothing moves any more.
    fn over(&self) -> bool {
        let done = |line: &Line| (line.ended || line.broken) && !line.holds();
        done(&self.down) && done(&self.up)
    }

    fn closing(&self) -> bool {
        [&self.down, &self.up].into_iter().any(|line| line.ended || line.broken)
    }
}

/// Why watching ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// A side closed.
    Closed,
    /// It was asked to.
    Asked,
    /// Its time was up.
    Time,
}

/// The relay.
#[derive(Debug)]
pub struct Relay {
    main: Pair,
    channels: Vec<Pair>,
    rings: Rings,
    began: Instant,
    closed: Option<Instant>,
}

impl Relay {
    /// Between these connected sockets.
    #[must_use]
    pub fn new(front: OwnedFd, back: OwnedFd) -> Self {
        Relay {
            main: Pair::new(Channel::Main, front, back),
            channels: Vec::new(),
            rings: Rings::default(),
            began: Instant::now(),
            closed: None,
        }
    }

    /// Passes everything on until a side has closed, `until` has come, or `stop` is readable. `told`
    /// hears of each event, and ends the watch by an error.
    ///
    /// # Errors
    /// The kernel's, and those of `told`.
    pub fn run(
        &mut self,
        until: Option<Instant>,
        stop: BorrowedFd<'_>,
        told: &mut dyn FnMut(Event) -> Result<(), std::io::Error>,
    ) -> Result<End, std::io::Error> {
        let end = loop {
            if self.main.over() || self.closed.is_some_and(|at| at.elapsed() > GRACE) {
                break End::Closed;
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                break End::Time;
            }
            if self.wait(until, stop)? {
                break End::Asked;
            }
            if let Err(error) = self.turn(told) {
                // If it is `told` that fails, it does so once more.
                let _ = told(self.event(What::Ends(format!("devmig failed: {error}"))));
                return Err(error);
            }
        };
        let why = match end {
            End::Closed => "the connection is over",
            End::Asked => "interrupted",
            End::Time => "the time is up",
        };
        told(self.event(What::Ends(why.into())))?;
        Ok(end)
    }

    fn event(&self, what: What) -> Event {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Event { ms, what }
    }

    /// Waits until something can be moved; whether it was asked to stop.
    fn wait(&self, until: Option<Instant>, stop: BorrowedFd<'_>) -> Result<bool, Errno> {
        let longest = if self.closed.is_some() { Duration::from_millis(20) } else { GRACE };
        let left = until.map_or(longest, |until| until.saturating_duration_since(Instant::now()));
        let wait = Timespec::try_from(left.min(longest)).map_err(|_| Errno::INVAL)?;
        let mut fds = vec![PollFd::from_borrowed_fd(stop, PollFlags::IN)];
        for pair in self.channels.iter().chain([&self.main]) {
            for side in [Side::FrontEnd, Side::BackEnd] {
                let flags = pair.interest(side);
                // Without an interest a socket that hung up would wake us for ever.
                if !flags.is_empty() {
                    fds.push(PollFd::from_borrowed_fd(pair.end(side), flags));
                }
            }
        }
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => Ok(fds.first().is_some_and(|fd| !fd.revents().is_empty())),
            Err(error) => Err(error),
        }
    }

    /// Moves what can be moved: back-end first.
    fn turn(
        &mut self,
        told: &mut dyn FnMut(Event) -> Result<(), std::io::Error>,
    ) -> Result<(), std::io::Error> {
        for side in [Side::BackEnd, Side::FrontEnd] {
            let mut events = Vec::new();
            let mut opened = Vec::new();
            let began = self.began;
            let now = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            for pair in self.channels.iter_mut().chain([&mut self.main]) {
                read(pair, side, &mut self.rings, &mut opened, &mut |what| {
                    events.push(Event { ms: now(), what });
                })?;
            }
            for event in events {
                if matches!(event.what, What::Closed(_)) {
                    self.closed.get_or_insert_with(Instant::now);
                }
                told(event)?;
            }
            self.channels.extend(opened);
            for pair in self.channels.iter_mut().chain([&mut self.main]) {
                write(pair, side)?;
            }
        }
        self.channels.retain(|pair| {
            let waits = pair.down.holds() || pair.up.holds();
            !pair.over() && (waits || !pair.closing())
        });
        Ok(())
    }
}

/// Reads what a side says.
fn read(
    pair: &mut Pair,
    side: Side,
    rings: &mut Rings,
    opened: &mut Vec<Pair>,
    told: &mut dyn FnMut(What),
) -> Result<(), Errno> {
    let Pair { channel, front, back, down, up } = pair;
    let channel = *channel;
    let (socket, line) = match side {
        Side::FrontEnd => (front.as_fd(), down),
        Side::BackEnd => (back.as_fd(), up),
    };
    let main = channel == Channel::Main;
    let mut swap = |header: Header, fds: &mut Vec<OwnedFd>| {
        let brings = main && side == Side::FrontEnd && header.request == SET_BACKEND_REQ_FD;
        if brings && opened.len() < MAX_CHANNELS {
            opened.extend(fds.first_mut().and_then(replaced));
        }
    };
    for _ in 0..TURN {
        if !line.wants() {
            break;
        }
        match line.fill(socket, &mut swap)? {
            Came::Nothing => break,
            Came::Part => {}
            Came::Message(passing) if main => said(passing, side, rings, told),
            Came::Message(passing) => told(What::Said(kept(passing, side, channel).0)),
            Came::End(passing) => {
                if let Some(passing) = passing {
                    told(What::Said(kept(passing, side, channel).0));
                }
                if main {
                    told(What::Closed(side));
                }
                break;
            }
        }
    }
    Ok(())
}

/// A whole message on the main channel.
fn said(passing: Passing, side: Side, rings: &mut Rings, told: &mut dyn FnMut(What)) {
    let (said, fds) = kept(passing, side, Channel::Main);
    let (mut before, mut after) = (None, None);
    if let Some((head, payload)) = said.bytes.split_first_chunk() {
        (before, after) = rings.look(side, Header::decode(*head), payload, fds);
    }
    before.into_iter().chain([What::Said(said)]).chain(after).for_each(told);
}

fn kept(passing: Passing, from: Side, channel: Channel) -> (Said, Vec<OwnedFd>) {
    let Passing { bytes, omitted, fds, count, late, .. } = passing;
    (Said { from, channel, bytes, omitted, fds: count, late }, fds)
}

/// Puts one end of a pair of ours in the place of a stream socket.
fn replaced(fd: &mut OwnedFd) -> Option<Pair> {
    if sockopt::socket_type(&fd).ok()? != SocketType::STREAM {
        return None;
    }
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    Some(Pair::new(Channel::BackEnd, std::mem::replace(fd, theirs), ours))
}

/// Writes what waits for the other side, and tells it of an end.
fn write(pair: &mut Pair, side: Side) -> Result<(), Errno> {
    let Pair { front, back, down, up, .. } = pair;
    let (line, socket) = match side {
        Side::FrontEnd => (down, back.as_fd()),
        Side::BackEnd => (up, front.as_fd()),
    };
    if line.holds() {
        line.drain(socket)?;
    }
    if line.ended && !line.holds() && !line.broken {
        // Once is enough; that it is gone already is no matter.
        let _ = shutdown(socket, Shutdown::Write);
        line.broken = true;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
