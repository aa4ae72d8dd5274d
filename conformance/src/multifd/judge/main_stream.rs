//! The main stream: marks, blocks, and pages that do not go over a channel.

use std::io;

use devmig_model::protocol::multifd::wire::{
    At, MainDecoder, MainEvent, PageForm, PageSize, SectionSize, XbzrleDecoder, command, flag,
};
use devmig_reference::multifd::unpack::Unpacking;

use super::Judge;
use crate::multifd::memory::Memory;
use crate::multifd::recording::Connection;
use crate::multifd::stream::{Read, Stream};
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
    /// The page whose bytes follow.
    page: Option<Page>,
}

/// A page whose bytes follow.
struct Page {
    /// Where it is said to follow.
    at: u64,
    block: Vec<u8>,
    /// Where its next bytes belong.
    offset: u64,
    /// How many bytes are still to come.
    left: u64,
    form: Form,
}

/// How a page is to be read.
enum Form {
    Raw,
    Xbzrle(XbzrleDecoder),
    Compressed(Box<Unpacking>),
    /// It cannot be.
    Broken,
}

impl Page {
    /// A page whose bytes follow, if any do.
    fn new(at: u64, block: &[u8], offset: u64, form: PageForm, page: PageSize) -> Option<Self> {
        let bytes = u64::from(page.bytes());
        let (form, left) = match form {
            PageForm::Fill(_) => return None,
            PageForm::Raw => (Form::Raw, bytes),
            PageForm::Xbzrle(length) => (Form::Xbzrle(XbzrleDecoder::new(page)), length.into()),
            PageForm::Compressed(length) => {
                let mut unpacking = Unpacking::default();
                unpacking.begin(flag::ZLIB, length.into(), bytes);
                (Form::Compressed(Box::new(unpacking)), length.into())
            }
        };
        Some(Page { at, block: block.to_vec(), offset, left, form })
    }

    /// Writes what comes of it to memory; what is wrong with it.
    fn take(&mut self, data: &[u8], memory: &mut Memory) -> Result<(), String> {
        self.left = self.left.saturating_sub(data.len() as u64);
        let (block, begin) = (&self.block, self.offset);
        let done = match &mut self.form {
            Form::Broken => Ok(()),
            Form::Raw => {
                memory.write(block, begin, data);
                count(&mut self.offset, data.len() as u64);
                Ok(())
            }
            Form::Xbzrle(decoder) => {
                let write = &mut |at: u32, bytes: &[u8]| {
                    memory.write(block, begin.saturating_add(at.into()), bytes);
                };
                let pushed = decoder.push(data, write);
                let ended = if self.left == 0 { decoder.finish() } else { Ok(()) };
                pushed.and(ended).map_err(|why| why.to_string())
            }
            Form::Compressed(unpacking) => {
                let mut at = begin;
                let done = unpacking.push(data, &mut |bytes| {
                    memory.write(block, at, bytes);
                    count(&mut at, bytes.len() as u64);
                });
                self.offset = at;
                done
            }
        };
        if done.is_err() {
            self.form = Form::Broken;
        }
        done
    }
}

impl Main {
    /// From the first byte on.
    pub(super) fn open(
        connection: &Connection,
        sizes: Vec<SectionSize>,
        read: &Read,
    ) -> io::Result<Self> {
        Main::read(connection, MainDecoder::with_sizes(sizes), true, read)
    }

    /// Pages on a connection of their own, during postcopy.
    pub(super) fn of_pages(
        connection: &Connection,
        page: PageSize,
        read: &Read,
    ) -> io::Result<Self> {
        let main = Main::read(connection, MainDecoder::of_pages(page), false, read)?;
        Ok(Main { postcopy: true, ..main })
    }

    fn read(
        connection: &Connection,
        decoder: MainDecoder,
        marked: bool,
        read: &Read,
    ) -> io::Result<Self> {
        rewind(&connection.file)?;
        let stream = Stream::new(connection.file.try_clone()?, read);
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
                let page = self.page.take();
                match event {
                    MainEvent::Block { name, length } => judge.list(name.as_bytes(), length),
                    MainEvent::Page { block, offset, form } => {
                        let here = Here { conn: self.conn, at, postcopy: self.postcopy };
                        judge.page(here, block.as_bytes(), offset, form);
                        let raw = form == PageForm::Raw;
                        if !raw || !judge.memory.is_empty() {
                            let size = judge.form.page;
                            self.page = Page::new(at, block.as_bytes(), offset, form, size);
                            // A page of no bytes is judged now.
                            if let Some(page) = self.page.as_mut().filter(|page| page.left == 0) {
                                judge.page_data(self.conn, page, &[]);
                            }
                        }
                    }
                    MainEvent::Data(data) => {
                        judge.said.data(data);
                        self.page = page;
                        if let Some(page) = &mut self.page {
                            judge.page_data(self.conn, page, data);
                        }
                    }
                    MainEvent::Command { number, .. } => {
                        self.postcopy |= starts_postcopy(number);
                        if number == command::ENABLE_COLO {
                            let what = format!("the command {number}, which is no longer one");
                            let clause = judge.form.laws.main_command;
                            judge.faults(self.conn, at, vec![(clause, what)]);
                        }
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
            PageForm::Xbzrle(_) => count(&mut self.counted.differences, 1),
            PageForm::Raw | PageForm::Compressed(_) => {}
        }
    }

    /// Bytes of a page of the main stream.
    fn page_data(&mut self, conn: u32, page: &mut Page, data: &[u8]) {
        if let Err(why) = page.take(data, &mut self.memory) {
            let (offset, block) = (page.offset, page.block.escape_ascii());
            let what = format!("the page at {offset:#x} of \"{block}\" cannot be unpacked: {why}");
            let (clause, at) = (self.form.laws.main_unpacked, page.at);
            self.faults(conn, at, vec![(clause, what)]);
            self.replayed = false;
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
