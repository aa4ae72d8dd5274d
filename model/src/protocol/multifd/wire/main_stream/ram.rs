//! The items of the RAM section: blocks, pages, marks.

use super::super::{MainError, MainEvent, PageForm, ram_flag};
use super::{MainDecoder, Want};

impl MainDecoder {
    /// Sizes of pages that a block may have and that differ from the smallest.
    pub(super) fn other_pages(&self) -> u64 {
        self.summary & self.summary.wrapping_sub(1)
    }

    pub(super) fn blocks(&mut self, left: u64) {
        self.want = if left == 0 { Want::Ram } else { Want::BlockLength(left) };
    }

    pub(super) fn ram(&mut self, item: u64) -> Option<MainEvent<'static>> {
        let mask = u64::from(self.page.bytes()).saturating_sub(1);
        let (address, flags) = (item & !mask, item & mask);
        match flags & !ram_flag::CONTINUE {
            ram_flag::MEM_SIZE => {
                self.blocks(address);
                None
            }
            ram_flag::EOS => {
                self.want = Want::MaybeFooter;
                Some(MainEvent::EndOfSection)
            }
            ram_flag::HOOK => Some(MainEvent::Hook),
            ram_flag::MULTIFD_FLUSH => Some(MainEvent::Flush),
            ram_flag::ZERO | ram_flag::PAGE | ram_flag::XBZRLE | ram_flag::COMPRESS => {
                match (flags & ram_flag::CONTINUE, self.block) {
                    (0, _) => {
                        self.want = Want::PageNameLength(item);
                        None
                    }
                    (_, Some(_)) => self.page_form(item),
                    (_, None) => Some(MainEvent::Error(MainError::NoBlock)),
                }
            }
            _ => Some(MainEvent::Error(MainError::Item(item))),
        }
    }

    /// The block of a page is known.
    pub(super) fn page_form(&mut self, item: u64) -> Option<MainEvent<'static>> {
        self.want = match () {
            () if item & ram_flag::ZERO != 0 => Want::Fill(item),
            () if item & ram_flag::XBZRLE != 0 => Want::Xbzrle(item),
            () if item & ram_flag::COMPRESS != 0 => Want::Compressed(item),
            () => {
                self.want = Want::Ram;
                self.pass = u64::from(self.page.bytes());
                return Some(self.page_event(item, PageForm::Raw));
            }
        };
        None
    }

    pub(super) fn page_event(&self, item: u64, form: PageForm) -> MainEvent<'static> {
        let mask = u64::from(self.page.bytes()).saturating_sub(1);
        MainEvent::Page { block: self.block.unwrap_or_default(), offset: item & !mask, form }
    }
}
