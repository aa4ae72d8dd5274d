//! The first packet of a channel.

use super::intake::Fields;
use super::{MAGIC, VERSION};

/// What a channel says first: 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Init {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`VERSION`].
    pub version: u32,
    /// The UUID of the virtual machine.
    pub uuid: [u8; 16],
    /// Which of the channels this is, from 0 on.
    pub id: u8,
    /// Not used: zero.
    pub unused: [u8; 39],
}

impl Init {
    /// Length in bytes.
    pub const LEN: usize = 64;

    /// The packet of channel `id`.
    #[must_use]
    pub fn new(uuid: [u8; 16], id: u8) -> Self {
        Init { magic: MAGIC, version: VERSION, uuid, id, unused: [0; 39] }
    }

    /// The meaning of these bytes.
    #[must_use]
    pub fn decode(bytes: &[u8; Init::LEN]) -> Self {
        let mut from = Fields(bytes);
        Init {
            magic: from.u32(),
            version: from.u32(),
            uuid: from.array(),
            id: from.u8(),
            unused: from.array(),
        }
    }

    /// Appends the bytes as sent.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.magic.to_be_bytes());
        out.extend(self.version.to_be_bytes());
        out.extend(self.uuid);
        out.push(self.id);
        out.extend(self.unused);
    }
}
