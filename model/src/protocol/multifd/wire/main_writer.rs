//! The main stream, written.

use super::section::kind;
use super::{MAIN_MAGIC, MAIN_VERSION, PageForm, ram_flag};

/// Writes a main stream, item by item, into a buffer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MainWriter {
    /// What was written.
    pub bytes: Vec<u8>,
}

impl MainWriter {
    /// The beginning of a stream, and the machine type.
    #[must_use]
    pub fn new(machine: &str) -> Self {
        let mut writer = MainWriter::default();
        writer.u32(MAIN_MAGIC).u32(MAIN_VERSION).u8(kind::CONFIGURATION);
        writer.u32(u32::try_from(machine.len()).unwrap_or(u32::MAX)).raw(machine.as_bytes());
        writer
    }

    fn u8(&mut self, n: u8) -> &mut Self {
        self.raw(&[n])
    }

    fn u32(&mut self, n: u32) -> &mut Self {
        self.raw(&n.to_be_bytes())
    }

    fn u64(&mut self, n: u64) -> &mut Self {
        self.raw(&n.to_be_bytes())
    }

    fn name(&mut self, name: &[u8]) -> &mut Self {
        let name = name.get(..255).unwrap_or(name);
        self.u8(u8::try_from(name.len()).unwrap_or(u8::MAX)).raw(name)
    }

    /// Any bytes.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A subsection of the configuration: the size of pages.
    pub fn page_bits(&mut self, bits: u32) -> &mut Self {
        let name = b"configuration/target-page-bits";
        self.u8(kind::SUBSECTION).name(name).u32(1).u32(bits)
    }

    /// A subsection of the configuration: the UUID.
    pub fn uuid(&mut self, uuid: [u8; 16]) -> &mut Self {
        self.u8(kind::SUBSECTION).name(b"configuration/uuid").u32(1).raw(&uuid)
    }

    /// A subsection of the configuration: capabilities that both sides must have.
    pub fn capabilities(&mut self, names: &[&str]) -> &mut Self {
        self.u8(kind::SUBSECTION).name(b"configuration/capabilities").u32(1);
        self.u32(u32::try_from(names.len()).unwrap_or(u32::MAX));
        names.iter().fold(self, |writer, name| writer.name(name.as_bytes()))
    }

    fn section(&mut self, kind: u8, id: u32, of: (&str, u32), version: u32) -> &mut Self {
        self.u8(kind).u32(id).name(of.0.as_bytes()).u32(of.1).u32(version)
    }

    /// The beginning of a section with this name and instance, of which more will follow.
    pub fn start(&mut self, id: u32, of: (&str, u32), version: u32) -> &mut Self {
        self.section(kind::START, id, of, version)
    }

    /// The beginning of a section with this name and instance, which is whole.
    pub fn full(&mut self, id: u32, of: (&str, u32), version: u32) -> &mut Self {
        self.section(kind::FULL, id, of, version)
    }

    /// More of a section.
    pub fn part(&mut self, id: u32) -> &mut Self {
        self.u8(kind::PART).u32(id)
    }

    /// The last of a section.
    pub fn end(&mut self, id: u32) -> &mut Self {
        self.u8(kind::END).u32(id)
    }

    /// A section ends.
    pub fn footer(&mut self, id: u32) -> &mut Self {
        self.u8(kind::FOOTER).u32(id)
    }

    /// The list of the blocks of RAM, with their lengths.
    pub fn blocks(&mut self, blocks: &[(&str, u64)]) -> &mut Self {
        let total = blocks.iter().fold(0_u64, |sum, (_, length)| sum.saturating_add(*length));
        self.u64(total | ram_flag::MEM_SIZE);
        for (name, length) in blocks {
            self.name(name.as_bytes()).u64(*length);
        }
        self
    }

    /// A page; without a block, it is of the same as the page before. What follows is not written.
    pub fn page(&mut self, block: Option<&str>, offset: u64, form: PageForm) -> &mut Self {
        let flag = match form {
            PageForm::Fill(_) => ram_flag::ZERO,
            PageForm::Raw => ram_flag::PAGE,
            PageForm::Xbzrle(_) => ram_flag::XBZRLE,
            PageForm::Compressed(_) => ram_flag::COMPRESS,
        };
        match block {
            Some(block) => self.u64(offset | flag).name(block.as_bytes()),
            None => self.u64(offset | flag | ram_flag::CONTINUE),
        };
        match form {
            PageForm::Fill(byte) => self.u8(byte),
            PageForm::Raw => self,
            PageForm::Xbzrle(length) => self.u8(1).raw(&length.to_be_bytes()),
            PageForm::Compressed(length) => self.u32(length),
        }
    }

    /// The end of an epoch.
    pub fn flush(&mut self) -> &mut Self {
        self.u64(ram_flag::MULTIFD_FLUSH)
    }

    /// The end of a RAM section.
    pub fn end_of_section(&mut self) -> &mut Self {
        self.u64(ram_flag::EOS)
    }

    /// What VFIO puts into its sections.
    pub fn vfio(&mut self, tag: u64) -> &mut Self {
        self.u64(tag)
    }

    /// A command with its data.
    pub fn command(&mut self, number: u16, data: &[u8]) -> &mut Self {
        let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
        self.u8(kind::COMMAND).raw(&number.to_be_bytes()).raw(&length.to_be_bytes()).raw(data)
    }

    /// The end of the sections.
    pub fn eof(&mut self) -> &mut Self {
        self.u8(kind::EOF)
    }

    /// The description of the sections.
    pub fn description(&mut self, json: &[u8]) -> &mut Self {
        self.u8(kind::VMDESC).u32(u32::try_from(json.len()).unwrap_or(u32::MAX)).raw(json)
    }
}
