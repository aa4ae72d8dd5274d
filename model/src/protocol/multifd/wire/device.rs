//! Packets with the state of a device.

use super::intake::Fields;
use super::name::{put_field, until_nul};
use super::{MAGIC, VERSION, flag};

/// The header of a device-state packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DevicePacket<'a> {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`VERSION`].
    pub version: u32,
    /// See [`flag`].
    pub flags: u32,
    /// The name of the device's section, with what follows its NUL.
    pub field: &'a [u8],
    /// The instance of the section.
    pub instance: u32,
    /// The bytes that follow.
    pub size: u32,
}

impl<'a> DevicePacket<'a> {
    /// Length in bytes.
    pub const LEN: usize = 276;

    /// The header of a packet with `size` bytes.
    #[must_use]
    pub fn new(name: &'a [u8], instance: u32, size: u32) -> Self {
        let flags = flag::DEVICE_STATE;
        DevicePacket { magic: MAGIC, version: VERSION, flags, field: name, instance, size }
    }

    /// The meaning of these bytes, which are [`DevicePacket::LEN`] many.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Self {
        let mut from = Fields(bytes);
        DevicePacket {
            magic: from.u32(),
            version: from.u32(),
            flags: from.u32(),
            field: from.take(256),
            instance: from.u32(),
            size: from.u32(),
        }
    }

    /// The name of the device's section.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        until_nul(self.field)
    }

    /// Whether it claims to be a SYNC packet too.
    #[must_use]
    pub fn is_sync(&self) -> bool {
        self.flags & flag::SYNC != 0
    }

    /// Appends the bytes as sent.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.magic.to_be_bytes());
        out.extend(self.version.to_be_bytes());
        out.extend(self.flags.to_be_bytes());
        put_field(self.name(), out);
        out.extend(self.instance.to_be_bytes());
        out.extend(self.size.to_be_bytes());
    }
}

/// What VFIO puts before the data of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Buffer {
    /// 0.
    pub version: u32,
    /// The place of this buffer among those of its device.
    pub index: u32,
    /// See [`Buffer::CONFIG`].
    pub flags: u32,
}

impl Buffer {
    /// Length in bytes.
    pub const LEN: usize = 12;
    /// The flag of the device's configuration, which is the last buffer.
    pub const CONFIG: u32 = 1;

    /// The meaning of these bytes.
    #[must_use]
    pub fn decode(bytes: &[u8; Buffer::LEN]) -> Self {
        let mut from = Fields(bytes);
        Buffer { version: from.u32(), index: from.u32(), flags: from.u32() }
    }

    /// Whether this is the device's configuration.
    #[must_use]
    pub fn is_config(&self) -> bool {
        self.flags & Buffer::CONFIG != 0
    }

    /// Appends the bytes as sent.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.version.to_be_bytes());
        out.extend(self.index.to_be_bytes());
        out.extend(self.flags.to_be_bytes());
    }
}
