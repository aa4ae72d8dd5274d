//! Streams followed to their end, in pieces: each event as a line, and the data between two of them as one.

use devmig_model::protocol::multifd::wire::{
    ChannelDecoder, ChannelEvent, MainDecoder, MainEvent, PageSize, ReturnDecoder, ReturnEvent,
};

/// The events of a stream.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Events {
    pub(crate) lines: Vec<String>,
    data: Vec<u8>,
}

impl Events {
    fn data(&mut self, data: &[u8]) {
        assert!(!data.is_empty(), "a piece of data has bytes");
        self.data.extend(data);
    }

    fn line(&mut self, line: String) {
        self.end();
        self.lines.push(line);
    }

    fn end(&mut self) {
        let data = std::mem::take(&mut self.data);
        if !data.is_empty() {
            self.lines.push(format!("{} bytes {:x?}", data.len(), &data[..data.len().min(8)]));
        }
    }
}

/// The pieces of a stream that is cut in so many places.
pub(crate) fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([bytes.len()]);
    let mut begin = 0;
    ends.map(|end| {
        let piece = &bytes[begin..end];
        begin = end;
        piece
    })
    .collect()
}

pub(crate) fn channel(page: PageSize, pieces: &[&[u8]]) -> (Events, ChannelDecoder) {
    let mut decoder = ChannelDecoder::new(page);
    let mut events = Events::default();
    let mut total = 0;
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let (used, event) = decoder.next(rest);
            total += used as u64;
            rest = &rest[used..];
            match event {
                None => break assert!(rest.is_empty(), "without an event, all was taken"),
                Some(at) => match at.event {
                    ChannelEvent::Data(data) => events.data(data),
                    ChannelEvent::Ram(header) => {
                        let pages: Vec<_> =
                            header.normal_offsets().chain(header.zero_offsets()).collect();
                        let block = header.block().escape_ascii();
                        let (flags, number) = (header.flags, header.number);
                        events.line(format!("{} ram {block} {flags} {number} {pages:?}", at.at));
                    }
                    other => events.line(format!("{} {other:?}", at.at)),
                },
            }
        }
        assert_eq!(decoder.taken(), total);
    }
    events.end();
    (events, decoder)
}

pub(crate) fn main_stream(mut decoder: MainDecoder, pieces: &[&[u8]]) -> (Events, MainDecoder) {
    let mut events = Events::default();
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let (used, event) = decoder.next(rest);
            rest = &rest[used..];
            match event {
                None => break assert!(rest.is_empty(), "without an event, all was taken"),
                Some(at) => match at.event {
                    MainEvent::Data(data) => events.data(data),
                    other => events.line(format!("{} {other:?}", at.at)),
                },
            }
        }
    }
    events.end();
    (events, decoder)
}

pub(crate) fn return_path(pieces: &[&[u8]]) -> (Events, ReturnDecoder) {
    let mut decoder = ReturnDecoder::new();
    let mut events = Events::default();
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let (used, event) = decoder.next(rest);
            rest = &rest[used..];
            match event {
                None => break assert!(rest.is_empty(), "without an event, all was taken"),
                Some(at) => match at.event {
                    ReturnEvent::Data(data) => events.data(data),
                    other => events.line(format!("{} {other:?}", at.at)),
                },
            }
        }
    }
    events.end();
    (events, decoder)
}
