//! What comes next in the main stream, and how many bytes of it make an item.

use super::super::intake::clamp;

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Want {
    Magic,
    Kind,
    MachineLength,
    Machine(u32),
    /// A subsection of the configuration, or something else.
    MaybeSubsection,
    SubsectionLength,
    Subsection(u8),
    PageBits,
    Uuid,
    CapabilityCount,
    CapabilityLength(u32),
    Capability(u32, u8),
    SectionLength(bool),
    Section(bool, u32, u8),
    Part(bool),
    Ram,
    BlockLength(u64),
    Block(u64, u8),
    /// The length is known; the size of its pages may follow.
    MaybeBlockPage(u64, u64),
    BlockAddress(u64, u64),
    PageNameLength(u64),
    PageName(u64, u8),
    Fill(u64),
    Xbzrle(u64),
    Compressed(u64),
    /// A tag of VFIO, or something else.
    MaybeVfio,
    Vfio,
    VfioLength,
    /// The configuration of a device ends with a tag.
    VfioConfig(u64),
    MaybeFooter,
    Footer,
    Opaque(u64),
    Command,
    Advise,
    Packaged,
    DescriptionLength,
    /// After the end of the sections.
    End,
    Over,
}

impl Want {
    /// How many bytes the next item has.
    pub(super) fn need(self) -> usize {
        match self {
            Want::Magic | Want::Ram | Want::Vfio | Want::VfioLength | Want::BlockAddress(..) => 8,
            Want::Advise | Want::Uuid => 16,
            Want::Kind
            | Want::End
            | Want::BlockLength(_)
            | Want::PageNameLength(_)
            | Want::CapabilityLength(_)
            | Want::Fill(_) => 1,
            Want::SubsectionLength => 2,
            Want::MachineLength
            | Want::PageBits
            | Want::CapabilityCount
            | Want::Part(_)
            | Want::Command
            | Want::Compressed(_)
            | Want::Packaged
            | Want::DescriptionLength => 4,
            Want::Footer | Want::SectionLength(_) => 5,
            Want::Xbzrle(_) => 3,
            Want::Machine(length) => clamp(u64::from(length)),
            Want::Subsection(length) => usize::from(length).saturating_add(4),
            Want::Section(_, _, length) | Want::Block(_, length) => {
                usize::from(length).saturating_add(8)
            }
            // As many bytes as tell whether there is one: see `step`.
            Want::MaybeBlockPage(..) => 8,
            Want::PageName(_, length) | Want::Capability(_, length) => usize::from(length),
            Want::MaybeSubsection
            | Want::MaybeFooter
            | Want::MaybeVfio
            | Want::Opaque(_)
            | Want::VfioConfig(_)
            | Want::Over => 1,
        }
    }
}
