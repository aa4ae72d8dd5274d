//! Other orders of the same packets that a source may choose, so that the destination must end with the same memory.

use super::find::{at, header, put_long};
use crate::multifd::pieces::{Kind, Pieces};

/// Another order of the packets of a migration, which no clause forbids.
#[derive(Clone, Copy, Debug)]
pub struct Reordering {
    /// Its name, with no spaces.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Reorders a migration; without an answer there is nothing to reorder.
    change: fn(&mut Pieces) -> Option<()>,
}

impl Reordering {
    /// Reorders a migration. Whether it had what is reordered.
    #[must_use]
    pub fn apply(&self, migration: &mut Pieces) -> bool {
        super::changed(migration, self.change)
    }
}

/// All of them.
pub const REORDERINGS: &[Reordering] = &[
    Reordering {
        name: "channels-exchanged",
        about: "Two RAM packets of an epoch are exchanged between their channels.",
        change: |m| {
            let epochs = 1..m.channels.iter().map(|channel| channel.syncs().len()).max()?;
            let (one, other) = epochs.into_iter().find_map(|epoch| {
                let mut of =
                    rams(m, epoch).into_iter().filter_map(|(n, all)| Some((n, *all.first()?)));
                Some((of.next()?, of.next()?))
            })?;
            exchange(m, one, other)
        },
    },
    Reordering {
        name: "epoch-reversed",
        about: "The RAM packets of an epoch are sent in the reverse order on each channel.",
        change: |m| {
            let epochs = 1..m.channels.iter().map(|channel| channel.syncs().len()).max()?;
            let longest = |(_, all): &(usize, Vec<usize>)| all.len();
            let epoch =
                epochs.into_iter().max_by_key(|epoch| rams(m, *epoch).iter().map(longest).max())?;
            for (channel, all) in rams(m, epoch) {
                for (one, other) in all.iter().zip(all.iter().rev()).take(all.len() / 2) {
                    exchange(m, (channel, *one), (channel, *other))?;
                }
            }
            Some(())
        },
    },
    Reordering {
        name: "device-on-another-channel",
        about: "A packet with the state of a device is sent on another channel, after everything else.",
        change: |m| {
            let (channel, place) = m.device(Kind::Data)?;
            let other = (0..m.channels.len()).find(|other| *other != channel)?;
            let piece = m.packets(channel)?.remove(place);
            m.packets(other)?.push(piece);
            Some(())
        },
    },
    Reordering {
        name: "device-configuration-first",
        about: "The configuration of a device is sent before its data, on the same channel.",
        change: |m| {
            let (from, config) = m.device(Kind::Config)?;
            let piece = m.packets(from)?.remove(config);
            let (channel, data) = m.device(Kind::Data)?;
            m.packets(channel)?.insert(data, piece);
            Some(())
        },
    },
];

/// The RAM packets of an epoch whose pages can be exchanged, channel by channel: they are not compressed, since a
/// compressed packet continues the one before, and carry no SYNC.
fn rams(m: &Pieces, epoch: usize) -> Vec<(usize, Vec<usize>)> {
    let of = m.channels.iter().enumerate().filter_map(|(number, channel)| {
        let syncs = channel.syncs();
        let (begin, end) = (*syncs.get(epoch.checked_sub(1)?)?, *syncs.get(epoch)?);
        let inside = |place: &usize| (begin..end).contains(place);
        let places: Vec<_> = channel.rams().into_iter().filter(inside).collect();
        let rides = |place: &usize| {
            channel.packets.get(*place).is_some_and(|piece| header(piece).is_sync())
        };
        (!places.is_empty() && !places.iter().any(rides)).then_some((number, places))
    });
    of.collect()
}

/// Exchanges two RAM packets; the numbers stay where they are, since those of a channel increase.
fn exchange(m: &mut Pieces, one: (usize, usize), other: (usize, usize)) -> Option<()> {
    let (first, second) = (m.piece(one)?.clone(), m.piece(other)?.clone());
    let (low, high) = (header(&first).number, header(&second).number);
    *m.piece(one)? = second;
    *m.piece(other)? = first;
    put_long(m.piece(one)?, at::NUMBER, low)?;
    put_long(m.piece(other)?, at::NUMBER, high)
}
