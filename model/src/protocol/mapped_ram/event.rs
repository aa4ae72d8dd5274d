//! What happens in a migration to a file.

use devmig_engine::machine::{Kind, Party};
use devmig_engine::packed;

use super::PAGES;
use crate::protocol::multifd::event::{DESTINATION, SOURCE};
use crate::protocol::multifd::threads::event::GUEST;

/// The file system, which ends writes.
pub const FILE: Party = Party("file");

/// What a page contains: 0 is a page of zeroes.
pub type Content = u8;

/// What happens.
#[packed(unqueued)]
#[derive(Default)]
pub enum Event {
    /// The guest writes this content to a page.
    Write(u8, Content),
    /// The source stops the vCPUs.
    Stop,
    /// The source writes the header, which gives every page a place.
    Header,
    /// A channel begins to write a page with this content to its place.
    Begin(u8, u8, Content),
    /// A channel finds that a page is zero, and writes nothing.
    Zero(u8, u8),
    /// What a channel writes is in the file.
    Landed(u8),
    /// The source has synchronised.
    #[default]
    Synced,
    /// The source writes the bitmap: these pages are in the file.
    Bitmap([bool; PAGES]),
    /// The source ends the file.
    End,
    /// The destination loads the pages that are marked, and zeroes for the others: the memory that results.
    Load([Content; PAGES]),
    /// The destination loads every page, marked or not.
    LoadAll([Content; PAGES]),
}

impl devmig_engine::machine::Event for Event {
    fn owner(&self) -> Party {
        match self {
            Event::Write(..) => GUEST,
            Event::Landed(_) => FILE,
            Event::Load(_) | Event::LoadAll(_) => DESTINATION,
            _ => SOURCE,
        }
    }

    /// What a file holds, the file says.
    fn kind(&self) -> Kind {
        match self {
            Event::Load(_) | Event::LoadAll(_) => Kind::Call { callee: FILE },
            _ => Kind::Output,
        }
    }

    fn label(&self) -> String {
        let content = |of: &Content| match of {
            0 => "zeroes".to_owned(),
            version => format!("content {version}"),
        };
        let both = |memory: &[Content]| memory.iter().map(content).collect::<Vec<_>>().join(", ");
        match self {
            Event::Write(page, to) => format!("page {page} becomes {}", content(to)),
            Event::Stop => "vCPUs stop".into(),
            Event::Header => "header written".into(),
            Event::Begin(channel, page, of) => {
                format!("channel {channel}: page {page} begins, {}", content(of))
            }
            Event::Zero(channel, page) => format!("channel {channel}: page {page} is zero"),
            Event::Landed(channel) => format!("channel {channel}: write ends"),
            Event::Synced => "synchronised".into(),
            Event::Bitmap(bits) => {
                let marked = (0..PAGES).filter(|page| bits[*page]).map(|page| page.to_string());
                let marked = marked.collect::<Vec<_>>().join(", ");
                match marked.as_str() {
                    "" => "bitmap: no page".into(),
                    pages => format!("bitmap: page {pages}"),
                }
            }
            Event::End => "end of the file".into(),
            Event::Load(memory) => format!("load: {}", both(memory)),
            Event::LoadAll(memory) => format!("load without the bitmap: {}", both(memory)),
        }
    }
}
