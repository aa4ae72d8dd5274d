//! The content of sections that are not RAM: the tags of VFIO, and bytes whose form is not known here.

use super::super::section::kind;
use super::super::{MainError, MainEvent, Name, vfio_tag};
use super::{MainDecoder, Want};

/// What a section contains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    Ram,
    Vfio,
    Opaque,
}

impl Content {
    pub(super) fn of(name: &Name) -> Self {
        match name.as_bytes() {
            b"ram" => Content::Ram,
            name if name == b"vfio" || name.ends_with(b"/vfio") => Content::Vfio,
            _ => Content::Opaque,
        }
    }
}

impl MainDecoder {
    pub(super) fn vfio(&mut self, tag: u64) -> MainEvent<'static> {
        self.want = match tag {
            vfio_tag::END_OF_STATE => Want::MaybeFooter,
            vfio_tag::DEV_CONFIG_STATE => Want::VfioConfig(0),
            vfio_tag::DEV_DATA_STATE => Want::VfioLength,
            vfio_tag::DEV_SETUP_STATE
            | vfio_tag::DEV_INIT_DATA_SENT
            | vfio_tag::DEV_CONFIG_LOAD_READY => Want::MaybeVfio,
            _ => return MainEvent::Error(MainError::Tag(tag)),
        };
        MainEvent::Vfio(tag)
    }

    pub(super) fn vfio_config(&mut self, last: u64, byte: u8) -> Option<(u64, MainEvent<'static>)> {
        let last = last << 8 | u64::from(byte);
        self.want = Want::VfioConfig(last);
        (last == vfio_tag::END_OF_STATE).then(|| {
            self.want = Want::MaybeFooter;
            (8, MainEvent::Vfio(last))
        })
    }

    /// The content of a section has no form: it ends at a footer that something follows. `last` are the bytes
    /// before this one.
    pub(super) fn opaque(&mut self, last: u64, byte: u8) -> Option<(u64, MainEvent<'static>)> {
        let footer = u64::from(kind::FOOTER) << 32 | u64::from(self.section);
        if last & 0xff_ffff_ffff != footer || !begins(byte) {
            self.want = Want::Opaque(last << 8 | u64::from(byte));
            return None;
        }
        // Two events in one byte: the footer is passed over, and the byte begins a section.
        self.want = Want::Kind;
        self.kind(byte)
    }
}

/// Whether a section can begin so.
pub(super) fn begins(byte: u8) -> bool {
    matches!(
        byte,
        kind::EOF
            | kind::START
            | kind::PART
            | kind::END
            | kind::FULL
            | kind::VMDESC
            | kind::COMMAND
    )
}
