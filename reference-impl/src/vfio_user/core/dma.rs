//! The engine at work: in memory that is mapped, and by DMA_READ and DMA_WRITE.
//!
//! **Invariants.** At most one command is outstanding, no longer than the client takes. What was
//! written is marked after it was written, whoever wrote it.

use std::time::Instant;

use devmig_model::protocol::vfio_user::{Command, DmaAccess, Flags, Header, Reply, Request};

use super::{Core, Fault, Output, PATIENCE};
use crate::migration::{DmaAllowed, Flow, State};
use crate::pci::{Dma, DmaError};
use crate::vfio_user::Mutant;
use crate::vfio_user::memory::Place;
use crate::vfio_user::settings::ClientWrites;

/// How many accesses are made in one call.
const AT_ONCE: usize = 4096;

/// An access that the client makes for the engine, in pieces that it takes.
#[derive(Debug)]
pub(super) struct Outstanding {
    id: u16,
    access: Dma,
    /// What was read already; of a write, how much was written.
    read: Vec<u8>,
    written: usize,
    /// Bytes of the piece that was asked for.
    piece: usize,
    pub(super) until: Instant,
}

impl Core {
    /// Whether the engine may begin something.
    fn open(&self) -> bool {
        let state = self.migration.state();
        let allowed = match state.dma() {
            DmaAllowed::Any => true,
            // Which memory is a peer's, the engine cannot tell: it begins nothing.
            DmaAllowed::NoPeer => self.is(Mutant::P2pKeepsGoing),
            DmaAllowed::None => {
                let ran = state == State::STOP_COPY && self.is(Mutant::StopCopyRuns);
                let stopped = state.flow() != Flow::Resuming && state != State::ERROR;
                ran || stopped && self.is(Mutant::StopKeepsGoing) || self.runs_on()
            }
        };
        allowed && self.connected && !self.closing
    }

    /// Lets the engine do what it can do now.
    pub(super) fn work(&mut self, now: Instant) {
        self.more = false;
        if self.is_deaf() {
            return;
        }
        self.function.set_open(self.open());
        for _ in 0..AT_ONCE {
            let Some(access) = self.function.poll(now) else { return };
            match self.make(&access) {
                Some(outcome) => self.function.handle_dma(outcome, now),
                None => return self.ask(access, now),
            }
        }
        self.more = true;
    }

    /// Makes an access here; `None` if the client must make it.
    fn make(&mut self, access: &Dma) -> Option<Result<Vec<u8>, DmaError>> {
        match access {
            Dma::Read { address, length } => {
                if self.is(Mutant::ReadsLogged) {
                    self.mark(*address, *length);
                }
                match self.memory.find(*address, *length, false) {
                    Err(error) => Some(Err(error)),
                    Ok(place) => place.read(*length),
                }
            }
            Dma::Write { address, bytes } => {
                let written = match self.memory.find(*address, bytes.len(), true) {
                    Err(error) => return Some(Err(error)),
                    Ok(place @ Place::Mapped(..)) => place.write(bytes)?,
                    Ok(Place::Client) => return None,
                };
                self.mark(*address, bytes.len());
                Some(written.map(|()| Vec::new()))
            }
        }
    }

    fn mark(&mut self, address: u64, length: usize) {
        if self.is(Mutant::ReportsUnlogged) && length == 4 {
            return;
        }
        let length = if self.is(Mutant::MarksFirstPage) { 1 } else { length };
        let later = self.is(Mutant::LogLacksLater) && !self.logged.reaches(address);
        if self.logs_no_more() || later {
            return;
        }
        if let Some(log) = &mut self.log {
            log.mark(address, length as u64);
        }
    }

    /// Asks the client for an access, or for the next piece of it.
    fn ask(&mut self, access: Dma, now: Instant) {
        if let (Dma::Write { address, bytes }, true) = (&access, self.is(Mutant::MarksBefore)) {
            self.mark(*address, bytes.len());
        }
        let (read, written, piece) = (Vec::new(), 0, 0);
        self.outstanding = Some(Outstanding { id: 0, access, read, written, piece, until: now });
        self.ask_on(now);
    }

    fn ask_on(&mut self, now: Instant) {
        let most = self.agreed.map_or(1, |agreed| agreed.most);
        let Some(asked) = &mut self.outstanding else { return };
        let request = match &asked.access {
            Dma::Read { address, length } => {
                let done = asked.read.len();
                let count = (length - done).min(most);
                let address = address.wrapping_add(done as u64);
                Request::DmaRead(DmaAccess { address, count: count as u64 })
            }
            Dma::Write { address, bytes } => {
                let rest = bytes.get(asked.written..).unwrap_or(&[]);
                let data = rest.get(..most).unwrap_or(rest).to_vec();
                let address = address.wrapping_add(asked.written as u64);
                Request::DmaWrite(DmaAccess { address, count: data.len() as u64 }, data)
            }
        };
        asked.piece = match &request {
            Request::DmaRead(access) | Request::DmaWrite(access, _) => access.count as usize,
            _ => 0,
        };
        (asked.id, asked.until) = (self.next_id, now + PATIENCE);
        self.next_id = self.next_id.wrapping_add(1);
        let payload = request.encode();
        let command = request.command().number();
        let header = Header::new(asked.id, command, Flags::command(), payload.len());
        self.outputs.push_back(Output::Send { header, payload });
    }

    /// The client has answered.
    pub(super) fn told(&mut self, header: Header, payload: &[u8], now: Instant) {
        let Some(asked) = &mut self.outstanding else { return self.close(Fault::Reply) };
        let reads = matches!(asked.access, Dma::Read { .. });
        let command = if reads { Command::DMA_READ } else { Command::DMA_WRITE };
        if (header.id, header.command) != (asked.id, command.number()) {
            return self.close(Fault::Reply);
        }
        if header.flags.is_error() {
            return self.finish(Err(DmaError::Denied), now);
        }
        let whole = match Reply::decode(header.command, payload) {
            Ok(Reply::DmaRead(said, data))
                if said.count as usize == asked.piece && data.len() == asked.piece =>
            {
                asked.read.extend(data);
                matches!(asked.access, Dma::Read { length, .. } if asked.read.len() >= length)
            }
            Ok(Reply::DmaWrite(said)) if said.count == asked.piece as u64 => {
                asked.written += asked.piece;
                matches!(&asked.access, Dma::Write { bytes, .. } if asked.written >= bytes.len())
            }
            _ => return self.close(Fault::Reply),
        };
        match whole {
            true => {
                let bytes = std::mem::take(&mut asked.read);
                self.finish(Ok(bytes), now);
            }
            false => self.ask_on(now),
        }
    }

    /// What a client says that it has not written, it may have written in part: it is marked too.
    fn finish(&mut self, outcome: Result<Vec<u8>, DmaError>, now: Instant) {
        let Some(asked) = self.outstanding.take() else { return };
        if let Dma::Write { address, bytes } = &asked.access {
            let ours = self.settings.client_writes == ClientWrites::Server;
            if ours && !self.is(Mutant::MarksBefore) {
                self.mark(*address, bytes.len());
            }
        }
        self.function.handle_dma(outcome, now);
    }
}
