//! The main stream: marks, blocks, and pages that do not go over a channel.

use std::io;

use devmig_model::protocol::multifd::wire::{
    At, MainDecoder, MainEvent, PageForm, PageSize, SectionSize,
};

use super::Judge;
use crate::multifd::recording::Connection;
use crate::multifd::stream::Stream;
use crate::multifd::survey::{Mode, starts_postcopy};
use crate::multifd::{count, rewind};

/// The most blocks of RAM.
const BLOCKS: usize = 4096;

/// The main stream, which is read a second time.
pub(super) struct Main {
    stream: Stream,
    decoder: MainDecoder,
    /// The number of its connection.
    conn: u32,
    postcopy: bool,
    /// It is the main stream itself, which has marks.
    marked: bool,
    /// The page whose bytes follow: its block, its offset, and how many came.
    page: Option<(Vec<u8>, u64)>,
}

impl Main {
    /// From the first byte on.
    pub(super) fn open(connection: &Connection, sizes: Vec<SectionSize>) -> io::Result<Self> {
        Main::read(connection, MainDecoder::with_sizes(sizes), true)
    }

    /// Pages on a connection of their own, during postcopy.
    pub(super) fn of_pages(connection: &Connection, page: PageSize) -> io::Result<Self> {
        Ok(Main { postcopy: true, ..Main::read(connection, MainDecoder::of_pages(page), false)? })
    }

    fn read(connection: &Connection, decoder: MainDecoder, marked: bool) -> io::Result<Self> {
        rewind(&connection.file)?;
        let stream = Stream::new(connection.file.try_clone()?);
        let (conn, postcopy, page) = (connection.number, false, None);
        Ok(Main { stream, decoder, conn, postcopy, marked, page })
    }

    /// Reads to the next mark, or to the end: where it is.
    pub(super) fn run(&mut self, judge: &mut Judge<'_>) -> io::Result<u64> {
        loop {
            let input = self.stream.fill()?;
            if input.is_empty() {
                return Ok(self.decoder.taken());
            }
            let (used, event) = self.decoder.next(input);
            let mut mark = None;
            if let Some(At { at, event }) = event {
                let here = self.page.take();
                match event {
                    MainEvent::Block { name, length } => judge.list(name.as_bytes(), length),
                    MainEvent::Page { block, offset, form } => {
                        let here = Here { conn: self.conn, at, postcopy: self.postcopy };
                        judge.page(here, block.as_bytes(), offset, form);
                        if form == PageForm::Raw && !judge.memory.is_empty() {
                            self.page = Some((block.as_bytes().to_vec(), offset));
                        }
                    }
                    MainEvent::Data(data) => {
                        judge.said.data(data);
                        if let Some((block, offset)) = here {
                            judge.memory.write(&block, offset, data);
                            let next = offset.saturating_add(data.len() as u64);
                            self.page = Some((block, next));
                        }
                    }
                    MainEvent::Command { number, .. } => {
                        self.postcopy |= starts_postcopy(number);
                        judge.said.command(number);
                    }
                    MainEvent::Error(error) => {
                        let fault = (judge.form.laws.main_followed, error.to_string());
                        judge.faults(self.conn, at, vec![fault]);
                        judge.lost = true;
                    }
                    _ => {}
                }
                let is_mark = self.marked && judge.survey.is_mark(&event, self.postcopy);
                mark = is_mark.then_some(at);
            }
            self.stream.take(used);
            if let Some(at) = mark {
                return Ok(at);
            }
        }
    }
}

/// Where a page is.
#[derive(Clone, Copy)]
struct Here {
    conn: u32,
    at: u64,
    /// Postcopy has begun.
    postcopy: bool,
}

impl Judge<'_> {
    /// A page of the main stream.
    fn page(&mut self, here: Here, block: &[u8], offset: u64, form: PageForm) {
        let Here { conn, at, postcopy } = here;
        count(&mut self.counted.pages, 1);
        let page = u64::from(self.form.page.bytes());
        let place = self.places.get(block).copied();
        let length = place.and_then(|place| self.blocks.get(place)).map(|(_, length)| *length);
        let fits = length.and_then(|length| length.checked_sub(page));
        if fits.is_none_or(|most| offset > most) {
            let clause = self.form.laws.main_block;
            let what = format!("offset {offset:#x} of block \"{}\"", block.escape_ascii());
            self.faults(conn, at, vec![(clause, what)]);
            return;
        }
        let synchronised = self.survey.mode != Mode::None && !postcopy;
        if let Some(place) = place.filter(|_| synchronised)
            && self.pages.insert(place, self.form.page.number(offset))
        {
            count(&mut self.counted.duplicates, 1);
            let clause = self.machine.laws.page_once;
            let (block, epoch) = (block.escape_ascii(), self.epoch());
            let what = format!("page {offset:#x} of \"{block}\" was sent before in epoch {epoch}");
            self.faults(conn, at, vec![(clause, what)]);
        }
        match form {
            PageForm::Fill(byte) => {
                count(&mut self.counted.zero, u64::from(byte == 0));
                self.memory.fill(block, offset, page, byte);
            }
            PageForm::Raw => {}
            PageForm::Xbzrle(_) | PageForm::Compressed(_) => self.replayed = false,
        }
    }

    /// A block of the list that the main stream begins with.
    fn list(&mut self, name: &[u8], length: u64) {
        self.listed = true;
        if self.blocks.len() < BLOCKS && !self.places.contains_key(name) {
            self.places.insert(name.to_vec(), self.blocks.len());
            self.blocks.push((name.to_vec(), length));
        }
        if let Err(error) = self.memory.list(name, length) {
            self.wrong.get_or_insert(error);
        }
    }
}
