//! The main stream: marks, blocks, and pages that do not go over a channel.

use std::io;

use devmig_model::protocol::multifd::wire::{At, MainDecoder, MainEvent, PageForm, SectionSize};

use super::Judge;
use crate::multifd::recording::Connection;
use crate::multifd::rewind;
use crate::multifd::stream::Stream;
use crate::multifd::survey::{Mode, starts_postcopy};

/// The most blocks of RAM.
const BLOCKS: usize = 4096;

/// The main stream, which is read a second time.
pub(super) struct Main {
    stream: Stream,
    decoder: MainDecoder,
    postcopy: bool,
    /// The page whose bytes follow: its block, its offset, and how many came.
    page: Option<(Vec<u8>, u64)>,
}

impl Main {
    /// From the first byte on.
    pub(super) fn open(connection: &Connection, sizes: Vec<SectionSize>) -> io::Result<Self> {
        rewind(&connection.file)?;
        Ok(Main {
            stream: Stream::new(connection.file.try_clone()?),
            decoder: MainDecoder::with_sizes(sizes),
            postcopy: false,
            page: None,
        })
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
                        judge.page(at, block.as_bytes(), offset, form, self.postcopy);
                        if form == PageForm::Raw && !judge.memory.is_empty() {
                            self.page = Some((block.as_bytes().to_vec(), offset));
                        }
                    }
                    MainEvent::Data(data) => {
                        if let Some((block, offset)) = here {
                            judge.memory.write(&block, offset, data);
                            let next = offset.saturating_add(data.len() as u64);
                            self.page = Some((block, next));
                        }
                    }
                    MainEvent::Command { number, .. } => {
                        self.postcopy |= starts_postcopy(number);
                    }
                    MainEvent::Error(error) => {
                        let fault = (judge.form.laws.main_followed, error.to_string());
                        judge.faults(judge.main, at, vec![fault]);
                        judge.lost = true;
                    }
                    _ => {}
                }
                mark = judge.survey.is_mark(&event, self.postcopy).then_some(at);
            }
            self.stream.take(used);
            if let Some(at) = mark {
                return Ok(at);
            }
        }
    }
}

impl Judge<'_> {
    /// A page of the main stream.
    fn page(&mut self, at: u64, block: &[u8], offset: u64, form: PageForm, postcopy: bool) {
        self.counted.pages += 1;
        let page = u64::from(self.form.page.bytes());
        let place = self.places.get(block).copied();
        let length = place.and_then(|place| self.blocks.get(place)).map(|(_, length)| *length);
        let fits = length.and_then(|length| length.checked_sub(page));
        if fits.is_none_or(|most| offset > most) {
            let clause = self.form.laws.main_block;
            let what = format!("offset {offset:#x} of block \"{}\"", block.escape_ascii());
            self.faults(self.main, at, vec![(clause, what)]);
            return;
        }
        let synchronised = self.survey.mode != Mode::None && !postcopy;
        if let Some(place) = place.filter(|_| synchronised)
            && self.pages.insert(place, offset / page)
        {
            self.counted.duplicates += 1;
            let clause = self.machine.laws.page_once;
            let (block, epoch) = (block.escape_ascii(), self.epochs + 1);
            let what = format!("page {offset:#x} of \"{block}\" was sent before in epoch {epoch}");
            self.faults(self.main, at, vec![(clause, what)]);
        }
        match form {
            PageForm::Fill(byte) => {
                self.counted.zero += u64::from(byte == 0);
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
