//! What the main stream is made of.

use super::Name;

/// Bytes that begin a section.
pub(super) mod kind {
    pub(in super::super) const EOF: u8 = 0;
    pub(in super::super) const START: u8 = 1;
    pub(in super::super) const PART: u8 = 2;
    pub(in super::super) const END: u8 = 3;
    pub(in super::super) const FULL: u8 = 4;
    pub(in super::super) const SUBSECTION: u8 = 5;
    pub(in super::super) const VMDESC: u8 = 6;
    pub(in super::super) const CONFIGURATION: u8 = 7;
    pub(in super::super) const COMMAND: u8 = 8;
    pub(in super::super) const FOOTER: u8 = 0x7e;
}

/// Flags of the items of the RAM section, in the low bits of an address.
pub mod ram_flag {
    /// A page that is filled with one byte.
    pub const ZERO: u64 = 0x2;
    /// The list of blocks.
    pub const MEM_SIZE: u64 = 0x4;
    /// A page.
    pub const PAGE: u64 = 0x8;
    /// The end of this section.
    pub const EOS: u64 = 0x10;
    /// The block is that of the page before.
    pub const CONTINUE: u64 = 0x20;
    /// The difference to what the page was.
    pub const XBZRLE: u64 = 0x40;
    /// RDMA's.
    pub const HOOK: u64 = 0x80;
    /// A compressed page, until 9.0.
    pub const COMPRESS: u64 = 0x100;
    /// All channels have sent a SYNC: the end of an epoch.
    pub const MULTIFD_FLUSH: u64 = 0x200;
}

/// Numbers of commands.
pub mod command {
    /// The destination opens the return path.
    pub const OPEN_RETURN_PATH: u16 = 1;
    /// To be answered on the return path.
    pub const PING: u16 = 2;
    /// Postcopy may follow.
    pub const POSTCOPY_ADVISE: u16 = 3;
    /// Postcopy begins.
    pub const POSTCOPY_LISTEN: u16 = 4;
    /// The destination runs.
    pub const POSTCOPY_RUN: u16 = 5;
    /// Pages that are to be discarded.
    pub const POSTCOPY_RAM_DISCARD: u16 = 6;
    /// Sections in one piece.
    pub const PACKAGED: u16 = 7;
    /// COLO begins, until 10.2.
    pub const ENABLE_COLO: u16 = 8;
    /// Postcopy goes on after an interruption.
    pub const POSTCOPY_RESUME: u16 = 9;
    /// Which pages came is asked.
    pub const RECV_BITMAP: u16 = 10;
    /// The source has stopped.
    pub const SWITCHOVER_START: u16 = 11;
}

/// What VFIO puts into its sections.
pub mod vfio_tag {
    /// The end of this section.
    pub const END_OF_STATE: u64 = 0xffff_ffff_ef10_0001;
    /// The device's configuration follows.
    pub const DEV_CONFIG_STATE: u64 = 0xffff_ffff_ef10_0002;
    /// Set-up.
    pub const DEV_SETUP_STATE: u64 = 0xffff_ffff_ef10_0003;
    /// Data follows: its length, and so many bytes.
    pub const DEV_DATA_STATE: u64 = 0xffff_ffff_ef10_0004;
    /// All initial data was sent.
    pub const DEV_INIT_DATA_SENT: u64 = 0xffff_ffff_ef10_0005;
    /// The device may load its configuration from a channel.
    pub const DEV_CONFIG_LOAD_READY: u64 = 0xffff_ffff_ef10_0006;
}

/// How a page is sent on the main stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageForm {
    /// Filled with this byte.
    Fill(u8),
    /// As it is; its bytes follow.
    Raw,
    /// As a difference of so many bytes, which follow.
    Xbzrle(u16),
    /// Compressed to so many bytes, which follow.
    Compressed(u32),
}

/// What comes next in the main stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MainEvent<'a> {
    /// The stream begins, in this version.
    Start(u32),
    /// The machine type of the source.
    Machine(Name),
    /// The size of the target's pages, as a number of bits.
    PageBits(u32),
    /// A capability that both sides must have.
    Capability(Name),
    /// The UUID of the virtual machine.
    Uuid([u8; 16]),
    /// A section with its name begins: START, or FULL.
    Section {
        /// Whether nothing of it follows later.
        full: bool,
        /// By which later sections refer to it.
        id: u32,
        /// Its name.
        name: Name,
        /// Its instance.
        instance: u32,
        /// Its version.
        version: u32,
    },
    /// More of a section: PART, or END.
    More {
        /// Whether it is the last.
        last: bool,
        /// Which section.
        id: u32,
    },
    /// The end of a section that says so.
    Footer(u32),
    /// A block of RAM, in the list of all.
    Block {
        /// Its name.
        name: Name,
        /// Its length in bytes.
        length: u64,
    },
    /// A page.
    Page {
        /// Its block.
        block: Name,
        /// Where in the block.
        offset: u64,
        /// How it is sent.
        form: PageForm,
    },
    /// MULTIFD_FLUSH.
    Flush,
    /// The end of a RAM section.
    EndOfSection,
    /// RDMA's hook.
    Hook,
    /// What VFIO puts into its sections; see [`vfio_tag`].
    Vfio(u64),
    /// A command, and the length of its data; see [`command`].
    Command {
        /// Which.
        number: u16,
        /// How long its data is, which follows.
        length: u16,
    },
    /// The content of a page, of a device, of a command, or a piece of it.
    Data(&'a [u8]),
    /// The end of the sections.
    Eof,
    /// The description of the devices' sections, of this length, follows.
    Description(u32),
    /// The rest of the stream cannot be followed.
    Error(MainError),
}

/// Why the main stream cannot be followed any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(clippy::large_enum_variant, reason = "names are kept in place: nothing is allocated")]
pub enum MainError {
    /// It is something else.
    #[error("the stream begins with {0:#010x}, not with QEVM")]
    Magic(u32),
    /// It has another form.
    #[error("the stream has version {0}, not 3")]
    Version(u32),
    /// A stream without a section.
    #[error("the stream ends without a section")]
    Empty,
    /// A byte after the end that begins no description.
    #[error("after the end of the sections comes {0:#04x}")]
    After(u8),
    /// A byte that begins no section.
    #[error("no section begins with {0:#04x}")]
    Kind(u8),
    /// The name of the machine type is too long.
    #[error("a machine type with a name of {0} bytes")]
    MachineName(u32),
    /// A part of the configuration whose length is not known.
    #[error("unknown subsection {0} of the configuration")]
    Subsection(Name),
    /// A size of pages that no target has.
    #[error("pages of 2^{0} bytes")]
    PageBits(u32),
    /// More of a section that was not begun.
    #[error("section {0} was not begun")]
    Section(u32),
    /// A target has a few dozen.
    #[error("more than {0} sections")]
    Sections(usize),
    /// A section that ends as another one.
    #[error("section {expected} ends as section {got}")]
    Footer {
        /// The section that was begun.
        expected: u32,
        /// What the footer says.
        got: u32,
    },
    /// The description at the end has another length for this section.
    #[error("section {0} is longer than its description says")]
    Length(u32),
    /// What is no item of the RAM section.
    #[error("unknown item {0:#018x} of the RAM section")]
    Item(u64),
    /// A page of the same block as the one before, but there was none.
    #[error("the first page has no block")]
    NoBlock,
    /// The list of blocks is longer than it says.
    #[error("the blocks have more bytes than the list announces")]
    BlockList,
    /// A page that is longer than a page.
    #[error("a page is sent in {0} bytes")]
    PageLength(u32),
    /// A page as a difference of an unknown kind.
    #[error("a page is sent as a difference of kind {0:#04x}, not 0x01")]
    Encoding(u8),
    /// What is no item of a VFIO section.
    #[error("unknown tag {0:#018x} of a VFIO section")]
    Tag(u64),
}
