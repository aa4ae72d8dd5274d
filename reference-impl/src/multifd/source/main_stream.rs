//! The main stream: the sections of RAM with their marks, and what devices have on it.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use devmig_model::protocol::multifd::wire::{
    MainWriter, PageForm, ReturnDecoder, ReturnEvent, ReturnMessage, command, vfio_tag,
};

use crate::multifd::image::PAGE;
use crate::multifd::{Error, Image, Mutant, Options, Stream, SyncMode};

/// The description of the sections: no device has one here that is not known by its form. A destination waits
/// for it after the end.
const DESCRIPTION: &[u8] = br#"{"page_size": 4096, "devices": []}"#;
/// The id of the RAM section, after which those of the devices follow.
const RAM: u32 = 2;

/// Writes the main stream.
pub(super) struct MainStream<'a> {
    stream: Stream,
    writer: MainWriter,
    options: &'a Options,
    last: bool,
}

impl<'a> MainStream<'a> {
    pub(super) fn new(stream: Stream, options: &'a Options) -> Self {
        MainStream { stream, writer: MainWriter::new(&options.machine), options, last: false }
    }

    fn send(&mut self) -> Result<(), Error> {
        self.stream.write_all(&self.writer.bytes)?;
        self.writer.bytes.clear();
        Ok(())
    }

    /// The blocks of RAM, in a section that is left open; what the devices begin with comes after it.
    pub(super) fn set_up(&mut self, image: &Image, devices: &[(&str, u32)]) -> Result<(), Error> {
        self.writer.command(command::OPEN_RETURN_PATH, &[]);
        for (id, device) in (RAM + 1..).zip(devices) {
            self.writer.start(id, *device, 1).vfio(vfio_tag::DEV_SETUP_STATE);
            self.writer.vfio(vfio_tag::END_OF_STATE).footer(id);
        }
        let length = (image.pages() * PAGE) as u64;
        self.writer.start(RAM, ("ram", 0), 4).blocks(&[(image.name(), length)]);
        self.send()
    }

    /// More of the RAM section.
    pub(super) fn begin_section(&mut self, last: bool) -> Result<(), Error> {
        self.last = last;
        match last {
            true => self.writer.end(RAM),
            false => self.writer.part(RAM),
        };
        self.send()
    }

    /// A page that is zero.
    pub(super) fn zero_page(&mut self, image: &Image, page: usize) -> Result<(), Error> {
        self.writer.page(Some(image.name()), (page * PAGE) as u64, PageForm::Fill(0));
        self.send()
    }

    /// Every channel has sent its SYNC.
    pub(super) fn mark(&mut self) -> Result<(), Error> {
        if self.options.sync == SyncMode::PerRound {
            self.writer.flush();
        }
        self.send()
    }

    /// The end of the section that is open.
    pub(super) fn end_section(&mut self) -> Result<(), Error> {
        let other = self.last && self.options.mutants.has(Mutant::OtherFooter);
        self.writer.end_of_section().footer(if other { RAM + 90 } else { RAM });
        self.send()
    }

    /// The guest has stopped.
    pub(super) fn switch_over(&mut self) -> Result<(), Error> {
        self.writer.command(command::SWITCHOVER_START, &[]);
        self.send()
    }

    /// The end.
    pub(super) fn end(&mut self, devices: &[(&str, u32)]) -> Result<(), Error> {
        for (id, _) in (RAM + 1..).zip(devices) {
            self.writer.end(id).vfio(vfio_tag::END_OF_STATE).footer(id);
        }
        self.writer.eof().description(DESCRIPTION);
        self.send()
    }

    /// The destination says how it went.
    pub(super) fn wait_for_destination(&mut self) -> Result<(), Error> {
        self.stream.end(Shutdown::Write);
        let (mut decoder, mut bytes) = (ReturnDecoder::new(), [0; 64]);
        loop {
            let count = self.stream.read(&mut bytes)?;
            if count == 0 {
                return Err(Error::Late("word of the destination"));
            }
            let mut input = bytes.get(..count).unwrap_or_default();
            while !input.is_empty() {
                let (used, event) = decoder.next(input);
                match event.map(|at| at.event) {
                    Some(ReturnEvent::Message(ReturnMessage::Shut(0))) => return Ok(()),
                    Some(ReturnEvent::Message(ReturnMessage::Shut(error))) => {
                        return Err(Error::Destination(error));
                    }
                    _ => {}
                }
                input = input.get(used.max(1)..).unwrap_or_default();
            }
        }
    }
}
