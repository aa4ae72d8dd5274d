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

/// Follows a stream in pieces: `next` takes bytes, says how many, and whether they came to an event.
fn follow(
    pieces: &[&[u8]],
    events: &mut Events,
    mut next: impl FnMut(&[u8], &mut Events) -> (usize, bool),
) {
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let (used, is_event) = next(rest, events);
            rest = &rest[used..];
            if !is_event {
                break assert!(rest.is_empty(), "without an event, all was taken");
            }
        }
    }
    events.end();
}

pub(crate) fn channel(page: PageSize, pieces: &[&[u8]]) -> (Events, ChannelDecoder) {
    let (mut decoder, mut events, mut total) = (ChannelDecoder::new(page), Events::default(), 0);
    follow(pieces, &mut events, |rest, events| {
        let (used, event) = decoder.next(rest);
        total += used as u64;
        let is_event = event.is_some();
        match event.map(|at| (at.at, at.event)) {
            None => {}
            Some((_, ChannelEvent::Data(data))) => events.data(data),
            Some((at, ChannelEvent::Ram(header))) => {
                let pages: Vec<_> = header.normal_offsets().chain(header.zero_offsets()).collect();
                let block = header.block().escape_ascii();
                let (flags, number) = (header.flags, header.number);
                events.line(format!("{at} ram {block} {flags} {number} {pages:?}"));
            }
            Some((at, other)) => events.line(format!("{at} {other:?}")),
        }
        assert_eq!(decoder.taken(), total);
        (used, is_event)
    });
    (events, decoder)
}

pub(crate) fn main_stream(mut decoder: MainDecoder, pieces: &[&[u8]]) -> (Events, MainDecoder) {
    let mut events = Events::default();
    follow(pieces, &mut events, |rest, events| {
        let (used, event) = decoder.next(rest);
        let is_event = event.is_some();
        match event.map(|at| (at.at, at.event)) {
            None => {}
            Some((_, MainEvent::Data(data))) => events.data(data),
            Some((at, other)) => events.line(format!("{at} {other:?}")),
        }
        (used, is_event)
    });
    (events, decoder)
}

pub(crate) fn return_path(pieces: &[&[u8]]) -> (Events, ReturnDecoder) {
    let (mut decoder, mut events) = (ReturnDecoder::new(), Events::default());
    follow(pieces, &mut events, |rest, events| {
        let (used, event) = decoder.next(rest);
        let is_event = event.is_some();
        match event.map(|at| (at.at, at.event)) {
            None => {}
            Some((_, ReturnEvent::Data(data))) => events.data(data),
            Some((at, other)) => events.line(format!("{at} {other:?}")),
        }
        (used, is_event)
    });
    (events, decoder)
}
