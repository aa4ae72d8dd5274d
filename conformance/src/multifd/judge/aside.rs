//! Connections that are not channels: they carry parts of the main stream.
//!
//! ```text
//!   postcopy-preempt   pages that the destination asked for, as items of the RAM section
//!   a resumed postcopy the main stream goes on with a command, on another connection
//! ```

use std::io;
use std::os::unix::fs::FileExt as _;

use devmig_model::protocol::multifd::wire::{MAGIC, PageSize, ram_flag};

use super::Judge;
use super::main_stream::Main;
use crate::multifd::recording::Connection;
use crate::multifd::survey::Survey;

/// How a command begins: its kind, and the high byte of its number.
const COMMAND: [u8; 2] = [8, 0];

/// What a connection carries that does not begin as a channel does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Aside {
    /// Pages that the destination asked for.
    Pages,
    /// The rest of a main stream that was interrupted.
    Rest,
}

impl Aside {
    /// What a connection carries, if it is not a channel. Only a migration that announces postcopy has one.
    pub(super) fn of(connection: &Connection, survey: &Survey) -> io::Result<Option<Self>> {
        let mut begin = [0; 8];
        if !survey.advised || connection.length < 8 {
            return Ok(None);
        }
        connection.file.read_exact_at(&mut begin, 0)?;
        let item = u64::from_be_bytes(begin);
        Ok(match () {
            () if begin.starts_with(&MAGIC.to_be_bytes()) => None,
            () if is_page(item, survey.page) => Some(Aside::Pages),
            () if begin.starts_with(&COMMAND) => Some(Aside::Rest),
            () => None,
        })
    }
}

/// Whether an item of the RAM section is a page with the name of its block, or the end.
fn is_page(item: u64, page: PageSize) -> bool {
    let flags = item & u64::from(page.bytes()).saturating_sub(1);
    matches!(flags, ram_flag::PAGE | ram_flag::ZERO | ram_flag::EOS)
}

impl Judge<'_> {
    /// Judges connections that are not channels, after the main stream.
    pub(super) fn aside(&mut self, connections: &[(Aside, Connection)]) -> io::Result<()> {
        for (aside, connection) in connections {
            let number = connection.number;
            match aside {
                Aside::Pages => {
                    let what = format!("connection {number} has pages that were asked for");
                    self.notes.push(what);
                    self.truncated |= connection.is_cut();
                    let mut pages = Main::of_pages(connection, self.form.page, &self.read)?;
                    pages.run(self)?;
                }
                Aside::Rest => {
                    let what = format!(
                        "connection {number} continues the main stream after an interruption, and is not judged"
                    );
                    self.notes.push(what);
                    self.truncated = true;
                }
            }
        }
        Ok(())
    }
}
