//! What the destination says on the return path of the main connection.
//!
//! **Invariant.** What is said in one direction is compared with what is said in the other only where the
//! main stream is whole: otherwise the cause may not have been recorded.

use std::collections::BTreeMap;
use std::io;

use devmig_engine::clause::ClauseId;
use devmig_model::protocol::multifd::wire::{
    At, Name, ReturnDecoder, ReturnEvent, ReturnMessage, command,
};

use super::Judge;
use crate::multifd::recording::Connection;
use crate::multifd::report::Dir;
use crate::multifd::rewind;
use crate::multifd::stream::{Read, Stream};

/// The most different values of PING that are kept.
const PINGS: usize = 4096;

devmig_model::clause_ids! {
    /// The clauses about the return path.
    pub(super) struct ReturnLaws {
        /// `multifd.return.followed`
        followed: "multifd.return.followed",
        /// `multifd.return.opened`
        opened: "multifd.return.opened",
        /// `multifd.return.pong`
        pong: "multifd.return.pong",
        /// `multifd.return.shut-last`
        shut_last: "multifd.return.shut-last",
        /// `multifd.return.request-in-postcopy`
        request_in_postcopy: "multifd.return.request-in-postcopy",
        /// `multifd.return.request-inside`
        request_inside: "multifd.return.request-inside",
        /// `multifd.return.resume`
        resume: "multifd.return.resume",
    }
}

/// What the main stream says that the return path depends on.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    opened: bool,
    postcopy: bool,
    resumed: bool,
    /// How often each value of a PING was sent.
    pings: BTreeMap<u32, u64>,
    /// There were more values than are kept.
    overflow: bool,
    /// A PING whose value follows: the bytes that came.
    ping: Option<Vec<u8>>,
}

impl Said {
    pub(super) fn command(&mut self, number: u16) {
        self.opened |= number == command::OPEN_RETURN_PATH;
        self.postcopy |= number == command::POSTCOPY_LISTEN;
        self.resumed |= matches!(number, command::POSTCOPY_RESUME | command::RECV_BITMAP);
        self.ping = (number == command::PING).then(Vec::new);
    }

    /// Data that may belong to a PING.
    pub(super) fn data(&mut self, data: &[u8]) {
        let Some(ping) = &mut self.ping else { return };
        let room = 4_usize.saturating_sub(ping.len());
        ping.extend(data.iter().take(room));
        if let Ok(value) = <[u8; 4]>::try_from(ping.as_slice()) {
            self.ping = None;
            let value = u32::from_be_bytes(value);
            if self.pings.len() < PINGS || self.pings.contains_key(&value) {
                let count = self.pings.entry(value).or_default();
                *count = count.saturating_add(1);
            } else {
                self.overflow = true;
            }
        }
    }

    /// A PING with this value is answered: whether there was one.
    fn answered(&mut self, value: u32) -> bool {
        match self.pings.get_mut(&value).filter(|count| **count > 0) {
            Some(count) => {
                *count = count.saturating_sub(1);
                true
            }
            None => self.overflow,
        }
    }
}

impl Judge<'_> {
    /// Judges the return path, after the main stream.
    pub(super) fn return_path(&mut self, main: &Connection) -> io::Result<()> {
        let Some(file) = &main.reverse else { return Ok(()) };
        rewind(file)?;
        let mut stream = Stream::new(file.try_clone()?, &Read::default());
        let mut decoder = ReturnDecoder::new();
        let mut seen = Seen::default();
        loop {
            let input = stream.fill()?;
            if input.is_empty() {
                return Ok(());
            }
            let (used, event) = decoder.next(input);
            if let Some(At { at, event }) = event {
                match event {
                    ReturnEvent::Message(message) => self.returned(&mut seen, at, &message),
                    // COLO answers on the return path, in a form of its own.
                    ReturnEvent::Error(_) if self.survey.followed => return Ok(()),
                    ReturnEvent::Error(error) => {
                        self.wrong_return(self.returned.followed, at, error.to_string());
                    }
                    ReturnEvent::Data(_) => {}
                }
            }
            stream.take(used);
        }
    }

    fn returned(&mut self, seen: &mut Seen, at: u64, message: &ReturnMessage) {
        let laws = self.returned;
        // What is not in the main stream was not said, if all of it is there.
        let whole = self.survey.complete && !self.lost && !self.resumed();
        if !self.said.opened && whole && !seen.unopened {
            seen.unopened = true;
            let what = "a message, and the source has not opened the return path".to_owned();
            self.wrong_return(laws.opened, at, what);
        }
        if seen.shut {
            self.wrong_return(laws.shut_last, at, format!("{message:?} after SHUT"));
        }
        match *message {
            ReturnMessage::Shut(value) => {
                seen.shut = true;
                if value != 0 {
                    let what = format!("the destination ends the return path with error {value}");
                    self.notes.push(what);
                }
            }
            ReturnMessage::Pong(value) => {
                if whole && !self.said.answered(value) {
                    let what = format!("PONG {value:#x} answers no PING");
                    self.wrong_return(laws.pong, at, what);
                }
            }
            ReturnMessage::RequestPages { block, start, length } => {
                if whole && !self.said.postcopy {
                    let what = "pages are requested, and postcopy has not begun".to_owned();
                    self.wrong_return(laws.request_in_postcopy, at, what);
                }
                seen.block = block.or(seen.block);
                if let Some(what) = self.outside(seen.block, start, length) {
                    self.wrong_return(laws.request_inside, at, what);
                }
            }
            ReturnMessage::ReceivedBitmap(_) | ReturnMessage::ResumeAck(_) => {
                if whole && !self.said.resumed {
                    let what = "the source has not resumed a migration".to_owned();
                    self.wrong_return(laws.resume, at, what);
                }
            }
            ReturnMessage::SwitchoverAck => {}
        }
    }

    /// The main stream goes on elsewhere.
    fn resumed(&self) -> bool {
        self.said.resumed || self.truncated && self.survey.advised
    }

    /// What is wrong with a request for pages.
    fn outside(&self, block: Option<Name>, start: u64, length: u32) -> Option<String> {
        let Some(block) = block else {
            return Some("the first request names no block".to_owned());
        };
        let name = block.as_bytes().escape_ascii().to_string();
        let page = u64::from(self.form.page.bytes());
        if start.checked_rem(page) != Some(0) {
            return Some(format!("offset {start:#x} in \"{name}\" is not that of a page"));
        }
        if !self.listed {
            return None;
        }
        let place = self.places.get(block.as_bytes()).copied();
        let has = place.and_then(|place| self.blocks.get(place)).map(|(_, length)| *length);
        match has {
            None => Some(format!("the list has no block \"{name}\"")),
            Some(has) if start.checked_add(u64::from(length)).is_none_or(|end| end > has) => Some(
                format!("{length} bytes at {start:#x} in \"{name}\", which has {has:#x} bytes"),
            ),
            Some(_) => None,
        }
    }

    fn wrong_return(&mut self, clause: ClauseId, at: u64, what: String) {
        let before = self.violations.len();
        self.faults(self.main, at, vec![(clause, what)]);
        for (_, violation) in self.violations.iter_mut().skip(before) {
            violation.dir = Dir::Returned;
        }
    }
}

/// What came on the return path so far.
#[derive(Debug, Default)]
struct Seen {
    shut: bool,
    /// The violation that no OPEN_RETURN_PATH came was reported already.
    unopened: bool,
    /// The block of the last request.
    block: Option<Name>,
}
