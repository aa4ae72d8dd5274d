//! The main stream: sections, one after the other.
//!
//! ```text
//!   Magic -> Kind --CONFIGURATION--> machine, subsections --> Kind
//!                 --START, FULL, PART, END--> RAM items | VFIO tags | opaque bytes --> Footer --> Kind
//!                 --COMMAND--> data --> Kind        --EOF--> End --VMDESC--> JSON --> End
//! ```
//!
//! The content of most sections has no form of its own. Their length is known from the description at the end
//! of the stream ([`super::section_sizes`]), if it is given; else a section ends at the first footer that is
//! followed by the beginning of another.
//!
//! | file | its one job |
//! |---|---|
//! | `want.rs` | what comes next, and how long it is |
//! | `ram.rs` | blocks, pages and marks of the RAM section |
//! | `content.rs` | the content of other sections |

mod content;
mod ram;
mod want;

use std::collections::BTreeMap;

use self::content::{Content, begins};
use self::want::Want;
use super::intake::{Fields, clamp, length};
use super::section::kind;
use super::{
    At, MAIN_MAGIC, MAIN_VERSION, MainError, MainEvent, Name, PageForm, PageSize, SectionSize,
    command,
};

/// The most sections that a stream begins. QEMU has a few dozen.
const SECTIONS: usize = 4096;
/// How a page that is sent as a difference says that it is one.
const XBZRLE: u8 = 1;
/// The longest machine type's name.
const MACHINE: u32 = 255;
/// The longest item: a name of 255 bytes and what stands beside it.
const ITEM: usize = 280;

/// Follows the main stream.
#[derive(Clone, Debug)]
pub struct MainDecoder {
    want: Want,
    item: [u8; ITEM],
    have: usize,
    taken: u64,
    /// Data that is passed on before anything else.
    pass: u64,
    page: PageSize,
    /// The summary of the sizes of pages, if postcopy may follow.
    summary: u64,
    ignore_shared: bool,
    contents: BTreeMap<u32, Content>,
    /// The section that is open.
    section: u32,
    block: Option<Name>,
    /// The name of a block whose length is known.
    listed: Name,
    sizes: Vec<SectionSize>,
    size: usize,
    /// The current section's end is exact.
    exact: bool,
    /// A section was begun.
    begun: bool,
    complete: bool,
    /// Something follows the end that belongs to no migration.
    followed: bool,
}

impl Default for MainDecoder {
    fn default() -> Self {
        MainDecoder::new()
    }
}

impl MainDecoder {
    /// A stream from its first byte on, whose sections end at their footers.
    #[must_use]
    pub fn new() -> Self {
        MainDecoder {
            want: Want::Magic,
            item: [0; ITEM],
            have: 0,
            taken: 0,
            pass: 0,
            page: PageSize::FOUR_KIB,
            summary: 0,
            ignore_shared: false,
            contents: BTreeMap::new(),
            section: 0,
            block: None,
            listed: Name::EMPTY,
            sizes: Vec::new(),
            size: 0,
            exact: false,
            begun: false,
            complete: false,
            followed: false,
        }
    }

    /// The same, with the lengths of its FULL sections, in their order.
    #[must_use]
    pub fn with_sizes(sizes: Vec<SectionSize>) -> Self {
        MainDecoder { sizes, ..MainDecoder::new() }
    }

    /// Pages alone, as the connection of `postcopy-preempt` has them.
    #[must_use]
    pub fn of_pages(page: PageSize) -> Self {
        MainDecoder { want: Want::Ram, page, ..MainDecoder::new() }
    }

    /// How many bytes it has taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The target's pages, as far as the stream has said.
    #[must_use]
    pub fn page(&self) -> PageSize {
        self.page
    }

    /// Whether the end of the sections was there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether nothing is left open: the stream may end here.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        use Want::{End, Kind, MaybeFooter, MaybeSubsection};
        let between = matches!(self.want, Kind | End | MaybeFooter | MaybeSubsection);
        between && self.have == 0 && self.pass == 0
    }

    /// Whether something follows the end that is not followed, such as COLO's messages.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.followed
    }

    /// Whether the stream cannot be followed any further.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.want == Want::Over
    }

    /// Takes bytes: how many, and what they came to. Without an event, all of them.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> (usize, Option<At<MainEvent<'a>>>) {
        let mut rest = input;
        loop {
            if self.pass > 0 {
                let count = clamp(self.pass).min(rest.len());
                let (data, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
                let at = self.taken;
                self.advance(data);
                self.pass = self.pass.saturating_sub(length(data));
                let event = At { at, event: MainEvent::Data(data) };
                let used = input.len().saturating_sub(after.len());
                return (used, (count > 0).then_some(event));
            }
            let Some((byte, after)) = rest.split_first() else { return (input.len(), None) };
            match self.want {
                Want::Over => {
                    self.advance(rest);
                    return (input.len(), None);
                }
                Want::MaybeSubsection => {
                    let there = *byte == kind::SUBSECTION;
                    self.want = if there { Want::SubsectionLength } else { Want::Kind };
                    continue;
                }
                Want::MaybeFooter => {
                    let there = *byte == kind::FOOTER;
                    if self.exact && !there && !begins(*byte) {
                        self.want = Want::Over;
                        let error = MainError::Length(self.section);
                        let event = At { at: self.taken, event: MainEvent::Error(error) };
                        return (input.len().saturating_sub(rest.len()), Some(event));
                    }
                    self.want = if there { Want::Footer } else { Want::Kind };
                    continue;
                }
                Want::MaybeVfio => {
                    let there = *byte == 0xff;
                    self.want = if there { Want::Vfio } else { Want::MaybeFooter };
                    continue;
                }
                _ => {}
            }
            let need = self.want.need();
            if need > 0 {
                self.advance(std::slice::from_ref(byte));
                rest = after;
            }
            let event = match self.want {
                // A name without a byte.
                _ if need == 0 => self.step(&[]),
                Want::Opaque(last) => self.opaque(last, *byte),
                Want::VfioConfig(last) => self.vfio_config(last, *byte),
                _ => {
                    if let Some(place) = self.item.get_mut(self.have) {
                        *place = *byte;
                    }
                    self.have = self.have.saturating_add(1);
                    if self.have < need {
                        continue;
                    }
                    let item = self.item;
                    let count = std::mem::take(&mut self.have);
                    self.step(item.get(..count).unwrap_or_default())
                }
            };
            if let Some((back, event)) = event {
                if matches!(event, MainEvent::Error(_)) {
                    self.want = Want::Over;
                }
                let at = self.taken.saturating_sub(back);
                return (input.len().saturating_sub(rest.len()), Some(At { at, event }));
            }
        }
    }

    fn advance(&mut self, bytes: &[u8]) {
        self.taken = self.taken.saturating_add(length(bytes));
    }

    /// An item is whole: what it comes to, and how many bytes back it began.
    fn step(&mut self, item: &[u8]) -> Option<(u64, MainEvent<'static>)> {
        let mut from = Fields(item);
        let back = length(item);
        let event = match self.want {
            Want::Magic => {
                let (magic, version) = (from.u32(), from.u32());
                self.want = Want::Kind;
                match () {
                    () if magic != MAIN_MAGIC => MainEvent::Error(MainError::Magic(magic)),
                    () if version != MAIN_VERSION => MainEvent::Error(MainError::Version(version)),
                    () => MainEvent::Start(version),
                }
            }
            Want::Kind => return self.kind(from.u8()),
            Want::End => return self.after(from.u8()),
            Want::MachineLength => {
                let length = from.u32();
                self.want = Want::Machine(length);
                match length {
                    1..=MACHINE => return None,
                    _ => MainEvent::Error(MainError::MachineName(length)),
                }
            }
            Want::Machine(_) => {
                self.want = Want::MaybeSubsection;
                MainEvent::Machine(Name::new(item))
            }
            Want::SubsectionLength => {
                from.u8();
                self.want = Want::Subsection(from.u8());
                return None;
            }
            Want::Subsection(length) => {
                let name = from.take(usize::from(length));
                self.want = match name {
                    b"configuration/target-page-bits" => Want::PageBits,
                    b"configuration/uuid" => Want::Uuid,
                    b"configuration/capabilities" => Want::CapabilityCount,
                    _ => {
                        let error = MainError::Subsection(Name::new(name));
                        return Some((back, MainEvent::Error(error)));
                    }
                };
                return None;
            }
            Want::PageBits => {
                let bits = from.u32();
                self.want = Want::MaybeSubsection;
                match 1_u32.checked_shl(bits).and_then(PageSize::new) {
                    Some(page) => {
                        self.page = page;
                        MainEvent::PageBits(bits)
                    }
                    None => MainEvent::Error(MainError::PageBits(bits)),
                }
            }
            Want::Uuid => {
                self.want = Want::MaybeSubsection;
                MainEvent::Uuid(from.array())
            }
            Want::CapabilityCount => {
                self.capabilities(from.u32());
                return None;
            }
            Want::CapabilityLength(left) => {
                self.want = Want::Capability(left, from.u8());
                return None;
            }
            Want::Capability(left, _) => {
                self.ignore_shared |= item == b"x-ignore-shared";
                self.capabilities(left.saturating_sub(1));
                MainEvent::Capability(Name::new(item))
            }
            Want::SectionLength(full) => {
                self.want = Want::Section(full, from.u32(), from.u8());
                return None;
            }
            Want::Section(full, id, length) => {
                let name = Name::new(from.take(usize::from(length)));
                return Some((back.saturating_add(6), self.section(full, id, name, from)));
            }
            Want::Part(last) => {
                let id = from.u32();
                self.section = id;
                let content = self.contents.get(&id).copied();
                let event = match content {
                    None => MainEvent::Error(MainError::Section(id)),
                    Some(content) => {
                        self.content(content);
                        MainEvent::More { last, id }
                    }
                };
                return Some((back.saturating_add(1), event));
            }
            Want::Ram => self.ram(from.u64())?,
            Want::BlockLength(left) => {
                self.want = Want::Block(left, from.u8());
                return None;
            }
            Want::Block(left, length) => {
                self.listed = Name::new(from.take(usize::from(length)));
                let bytes = from.u64();
                let name = self.listed;
                let Some(left) = left.checked_sub(bytes) else {
                    return Some((back, MainEvent::Error(MainError::BlockList)));
                };
                match () {
                    () if self.other_pages() != 0 => self.want = Want::MaybeBlockPage(left, bytes),
                    () if self.ignore_shared => self.want = Want::BlockAddress(left, bytes),
                    () => self.blocks(left),
                }
                MainEvent::Block { name, length: bytes }
            }
            Want::MaybeBlockPage(left, bytes) => {
                let page = from.u64();
                if page.is_power_of_two() && page & self.other_pages() != 0 {
                    match self.ignore_shared {
                        true => self.want = Want::BlockAddress(left, bytes),
                        false => self.blocks(left),
                    }
                    return None;
                }
                // It was something else: the address of the block, or what follows it.
                self.blocks(left);
                return if self.ignore_shared { None } else { self.again(item) };
            }
            Want::BlockAddress(left, _) => {
                self.blocks(left);
                return None;
            }
            Want::PageNameLength(address) => {
                self.want = Want::PageName(address, from.u8());
                return None;
            }
            Want::PageName(address, _) => {
                self.block = Some(Name::new(item));
                return self.page_form(address).map(|event| (back, event));
            }
            Want::Fill(address) => {
                self.want = Want::Ram;
                self.page_event(address, PageForm::Fill(from.u8()))
            }
            Want::Xbzrle(address) => {
                let (encoding, bytes) = (from.u8(), from.u16());
                self.pass = u64::from(bytes);
                self.want = Want::Ram;
                match () {
                    () if encoding != XBZRLE => MainEvent::Error(MainError::Encoding(encoding)),
                    () if u32::from(bytes) > self.page.bytes() => {
                        MainEvent::Error(MainError::PageLength(bytes.into()))
                    }
                    () => self.page_event(address, PageForm::Xbzrle(bytes)),
                }
            }
            Want::Compressed(address) => {
                let bytes = from.u32();
                self.pass = u64::from(bytes);
                self.want = Want::Ram;
                match bytes > self.page.bytes().saturating_mul(2) {
                    true => MainEvent::Error(MainError::PageLength(bytes)),
                    false => self.page_event(address, PageForm::Compressed(bytes)),
                }
            }
            Want::Vfio => self.vfio(from.u64()),
            Want::VfioLength => {
                self.pass = from.u64();
                self.want = Want::MaybeVfio;
                return None;
            }
            Want::Footer => {
                from.u8();
                let got = from.u32();
                let expected = self.section;
                self.want = Want::Kind;
                match got == expected {
                    true => MainEvent::Footer(got),
                    false => MainEvent::Error(MainError::Footer { expected, got }),
                }
            }
            Want::Command => {
                let (number, length) = (from.u16(), from.u16());
                self.want = match (number, length) {
                    (command::POSTCOPY_ADVISE, 16) => Want::Advise,
                    (command::PACKAGED, 4) => Want::Packaged,
                    _ => {
                        self.pass = u64::from(length);
                        Want::Kind
                    }
                };
                let event = MainEvent::Command { number, length };
                return Some((back.saturating_add(1), event));
            }
            Want::Advise => {
                self.summary = from.u64();
                self.want = Want::Kind;
                return None;
            }
            // The sections in the package have the same form.
            Want::Packaged => {
                self.want = Want::Kind;
                return None;
            }
            Want::DescriptionLength => {
                let bytes = from.u32();
                self.pass = u64::from(bytes);
                self.want = if self.complete { Want::End } else { Want::Kind };
                return Some((back.saturating_add(1), MainEvent::Description(bytes)));
            }
            Want::MaybeSubsection
            | Want::MaybeFooter
            | Want::MaybeVfio
            | Want::Opaque(_)
            | Want::VfioConfig(_)
            | Want::Over => return None,
        };
        Some((back, event))
    }

    fn kind(&mut self, byte: u8) -> Option<(u64, MainEvent<'static>)> {
        self.want = match byte {
            kind::EOF if !self.begun => return Some((1, MainEvent::Error(MainError::Empty))),
            kind::EOF => {
                self.complete = true;
                self.want = Want::End;
                return Some((1, MainEvent::Eof));
            }
            kind::START => Want::SectionLength(false),
            kind::FULL => Want::SectionLength(true),
            kind::PART => Want::Part(false),
            kind::END => Want::Part(true),
            kind::VMDESC => Want::DescriptionLength,
            kind::CONFIGURATION => Want::MachineLength,
            kind::COMMAND => Want::Command,
            _ => return Some((1, MainEvent::Error(MainError::Kind(byte)))),
        };
        None
    }

    /// A byte after the end: a description of the sections, or the first message of COLO, whose number is small.
    fn after(&mut self, byte: u8) -> Option<(u64, MainEvent<'static>)> {
        self.want = match byte {
            kind::VMDESC => Want::DescriptionLength,
            0 => {
                self.followed = true;
                Want::Over
            }
            _ => return Some((1, MainEvent::Error(MainError::After(byte)))),
        };
        None
    }

    fn capabilities(&mut self, left: u32) {
        self.want = if left == 0 { Want::MaybeSubsection } else { Want::CapabilityLength(left) };
    }

    fn section(
        &mut self,
        full: bool,
        id: u32,
        name: Name,
        mut from: Fields<'_>,
    ) -> MainEvent<'static> {
        let (instance, version) = (from.u32(), from.u32());
        self.section = id;
        self.begun = true;
        let content = Content::of(&name);
        if self.contents.len() >= SECTIONS && !self.contents.contains_key(&id) {
            return MainEvent::Error(MainError::Sections(SECTIONS));
        }
        self.contents.insert(id, content);
        self.content(content);
        if full && content == Content::Opaque {
            let later = self.sizes.get(self.size..).unwrap_or_default();
            let found = later.iter().position(|size| size.is(&name, instance));
            if let Some(size) = found.and_then(|skip| later.get(skip)) {
                self.pass = size.bytes;
                self.want = Want::MaybeFooter;
                self.exact = true;
                self.size = self.size.saturating_add(found.unwrap_or(0)).saturating_add(1);
            }
        }
        MainEvent::Section { full, id, name, instance, version }
    }

    /// The content of a section begins.
    fn content(&mut self, content: Content) {
        self.exact = false;
        self.want = match content {
            Content::Ram => Want::Ram,
            Content::Vfio => Want::MaybeVfio,
            Content::Opaque => Want::Opaque(0),
        };
    }

    /// Takes bytes again that belong to something else than they were read for. There are so few that they
    /// end no item with an event and begin another.
    fn again(&mut self, item: &[u8]) -> Option<(u64, MainEvent<'static>)> {
        let mut event = None;
        for byte in item {
            if let Some(place) = self.item.get_mut(self.have) {
                *place = *byte;
            }
            self.have = self.have.saturating_add(1);
            if self.have >= self.want.need() {
                let item = self.item;
                let count = std::mem::take(&mut self.have);
                event = self.step(item.get(..count).unwrap_or_default());
            }
        }
        event
    }
}
