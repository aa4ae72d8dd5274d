//! The back-end's own channel: what it says there is judged, and answered at once; and what changes the
//! device from outside, so that it has something to say.
//!
//! **Invariants.** At most [`AT_ONCE`] messages are read at a look and [`MOST`] in a conversation. An
//! answer is success, and only what the text has answered is.

use std::os::unix::net::UnixStream;

use devmig_model::protocol::vhost_user::event::{BACK_END, BackEndMessage};
use devmig_model::protocol::vhost_user::form::{Raw, own};

use super::*;

/// The most messages that are read before something else is looked at.
const AT_ONCE: usize = 64;
/// The most messages of a conversation: no device has more to say while a test runs.
const MOST: usize = 2000;

/// The channel.
#[derive(Default)]
pub(super) struct Own {
    connection: Option<Connection>,
    /// How many messages came.
    came: usize,
    /// What came instead of a message.
    wrong: Option<String>,
}

impl Own {
    /// A new channel, and the end of it that the back-end gets.
    pub(super) fn open(&mut self) -> Result<OwnedFd, TestEnd> {
        let (ours, theirs) = UnixStream::pair().map_err(harness)?;
        self.connection = Some(Connection::from_socket(ours).map_err(harness)?);
        Ok(theirs.into())
    }

    /// For waiting.
    pub(super) fn socket(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    /// The messages that are there.
    pub(super) fn receive(&mut self) -> Result<Vec<Received>, TestEnd> {
        let mut all = Vec::new();
        while let Some(connection) = &mut self.connection
            && all.len() < AT_ONCE
        {
            match connection.receive(Deadline::now()) {
                Ok(received) => all.push(received),
                Err(ReceiveError::Timeout { .. }) => break,
                Err(ReceiveError::Closed { .. }) => self.connection = None,
                Err(ReceiveError::Io(error)) => return Err(harness(error)),
                Err(error) => {
                    self.wrong = Some(error.to_string());
                    self.connection = None;
                }
            }
        }
        self.came += all.len();
        Ok(all)
    }

    fn answer(&mut self, request: u32, deadline: Deadline) {
        let payload = Payload::U64(0).encode();
        let header = Header { request, flags: Flags::reply(), size: payload.len() as u32 };
        let sent = self.connection.as_mut().map(|c| c.send(header, &payload, &[], deadline));
        // Whoever does not read its answers is asked nothing more.
        if !matches!(sent, Some(Ok(()))) {
            self.connection = None;
        }
    }
}

impl Session<'_> {
    /// What the back-end said on its channel.
    pub(super) fn told(&mut self, all: Vec<Received>) -> Result<(), TestEnd> {
        let laws = &self.machine.laws;
        for Received { header, payload, fds } in all {
            let table = &self.machine.table;
            if !fds.is_empty() && !self.sends_descriptors() {
                let observed = format!("{} descriptors on the back-end channel", fds.len());
                return self.finding(laws.told_descriptors, &observed);
            }
            let raw = Raw { header, payload: &payload, descriptors: fds.len(), late: 0 };
            let event = own(table, RINGS, BACK_END, raw);
            let Some(Event::BackEndMessage(message)) = event else {
                let observed = format!(
                    "message {} with {} bytes on the back-end channel, which does not have it",
                    header.request, header.size
                );
                return self.finding(laws.told_gated, &observed);
            };
            self.observe(&Event::BackEndMessage(message))?;
            self.acknowledge(message)?;
        }
        if let Some(wrong) = self.own.wrong.take() {
            return self.finding(laws.told_gated, &format!("on the back-end channel: {wrong}"));
        }
        if self.own.came > MOST {
            let observed = format!("more than {MOST} messages on the back-end channel");
            return self.finding(ClauseId::NONE, &observed);
        }
        Ok(())
    }

    fn sends_descriptors(&self) -> bool {
        let bit = self.machine.table.feature("BACKEND_SEND_FD");
        bit.is_some_and(|bit| self.protocol >> bit & 1 == 1)
    }

    /// Answers, if an answer is owed.
    fn acknowledge(&mut self, message: BackEndMessage) -> Result<(), TestEnd> {
        let Some(def) = self.machine.own_message(message.id) else { return Ok(()) };
        let acknowledges = self.protocol >> self.machine.table.reply_ack & 1 == 1;
        let owed = def.reply.is_some() || (message.need_reply && acknowledges);
        if !owed || self.possible.undefined() {
            return Ok(());
        }
        let id = message.id;
        self.did(&Event::BackEndAnswer { id, value: Value(0), descriptors: 0 })?;
        self.own.answer(def.id, Deadline::after(self.limits.quiet));
        Ok(())
    }

    /// Has the configuration space changed, and waits until it is.
    pub(super) fn change(&mut self) -> Result<(), TestEnd> {
        let Some(outside) = self.outside else {
            let why = "needs a way to change the device from outside: see --outside";
            return Err(TestEnd::Skip(why.into()));
        };
        self.read_all()?;
        let socket = match (self.target, &self.live.process) {
            (Target::Socket(path), _) => path.as_path(),
            (_, Some(process)) => process.socket(),
            (_, None) => return Err(TestEnd::Harness("there is no process".into())),
        };
        let path = outside.replace("{socket}", &socket.to_string_lossy());
        self.did(&Event::Changed)?;
        let deadline = Deadline::after(self.limits.owed);
        let mut caller = Connection::connect(path.as_ref(), deadline).map_err(harness)?;
        match caller.receive(deadline) {
            Err(ReceiveError::Closed { after: 0 }) => Ok(()),
            other => {
                Err(TestEnd::Harness(format!("{path} does not close the connection: {other:?}")))
            }
        }
    }
}
