//! The receive filter: which frames a NIC takes.
//!
//! ```text
//!   promiscuous?         --> everything
//!   broadcast            --> unless no_broadcast
//!   another group        --> unless no_multicast: all_multicast, or in the table
//!   one NIC              --> unless no_unicast:   all_unicast, its own, or in the table
//!   and its VLAN tag     --> none, no list of tags yet, or in the list
//! ```
//!
//! **Invariants.** The table holds at most as many addresses as the NIC was made with, in the
//! kind's own half. A table that does not fit changes nothing.

use std::collections::BTreeSet;

use super::mac::Mac;

/// Switches beside the table (virtio-net's `VIRTIO_NET_CTRL_RX`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)] // named as in the text
pub struct Modes {
    pub promiscuous: bool,
    pub all_multicast: bool,
    pub all_unicast: bool,
    pub no_multicast: bool,
    pub no_unicast: bool,
    pub no_broadcast: bool,
}

impl Modes {
    const BITS: u8 = 6;

    /// One bit each, in the order of the commands that set them.
    #[must_use]
    pub fn bits(self) -> u8 {
        let modes = [
            self.promiscuous,
            self.all_multicast,
            self.all_unicast,
            self.no_multicast,
            self.no_unicast,
            self.no_broadcast,
        ];
        modes.iter().rev().fold(0, |bits, mode| bits << 1 | u8::from(*mode))
    }

    /// What these bits say, or `None` if one of them says nothing.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        let mut modes = Modes::default();
        for bit in 0..Self::BITS {
            if bits >> bit & 1 == 1 {
                *modes.by_command(bit)? = true;
            }
        }
        (bits >> Self::BITS == 0).then_some(modes)
    }

    /// The switch that a command of the class RX sets.
    pub fn by_command(&mut self, command: u8) -> Option<&mut bool> {
        Some(match command {
            0 => &mut self.promiscuous,
            1 => &mut self.all_multicast,
            2 => &mut self.all_unicast,
            3 => &mut self.no_multicast,
            4 => &mut self.no_unicast,
            5 => &mut self.no_broadcast,
            _ => return None,
        })
    }
}

/// The addresses that pass.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    unicast: Vec<Mac>,
    multicast: Vec<Mac>,
}

impl Table {
    /// A table of these, for a NIC with room for `size`; `None` if they are too many, or of the
    /// wrong kind.
    #[must_use]
    pub fn new(unicast: Vec<Mac>, multicast: Vec<Mac>, size: u16) -> Option<Self> {
        let fits = unicast.len() + multicast.len() <= usize::from(size);
        let kinds =
            unicast.iter().all(|mac| !mac.is_group()) && multicast.iter().all(|mac| mac.is_group());
        (fits && kinds).then_some(Table { unicast, multicast })
    }

    /// The addresses of single NICs.
    #[must_use]
    pub fn unicast(&self) -> &[Mac] {
        &self.unicast
    }

    /// The addresses of groups.
    #[must_use]
    pub fn multicast(&self) -> &[Mac] {
        &self.multicast
    }
}

/// The VLAN tags that pass: all of them, until the driver first says which.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tags {
    list: Option<BTreeSet<u16>>,
}

/// The greatest tag.
pub const MAX_TAG: u16 = 4095;

impl Tags {
    /// These, or all; `None` if one is no tag.
    #[must_use]
    pub fn new(list: Option<BTreeSet<u16>>) -> Option<Self> {
        let possible = list.iter().flatten().all(|tag| *tag <= MAX_TAG);
        possible.then_some(Tags { list })
    }

    /// The list, if there is one.
    #[must_use]
    pub fn list(&self) -> Option<&BTreeSet<u16>> {
        self.list.as_ref()
    }

    /// Lets a tag pass, or no more. `None` if it is none.
    pub fn set(&mut self, tag: u16, passes: bool) -> Option<()> {
        (tag <= MAX_TAG).then_some(())?;
        let list = self.list.get_or_insert_default();
        match passes {
            true => list.insert(tag),
            false => list.remove(&tag),
        };
        Some(())
    }

    /// Whether this tag passes.
    #[must_use]
    pub fn pass(&self, tag: u16) -> bool {
        self.list.as_ref().is_none_or(|list| list.contains(&tag))
    }
}

/// Whether a frame to this address passes, for a NIC whose own address is `own`.
#[must_use]
pub fn passes(modes: Modes, table: &Table, own: Mac, to: Mac) -> bool {
    if modes.promiscuous {
        true
    } else if to.is_broadcast() {
        !modes.no_broadcast
    } else if to.is_group() {
        !modes.no_multicast && (modes.all_multicast || table.multicast.contains(&to))
    } else {
        !modes.no_unicast && (modes.all_unicast || to == own || table.unicast.contains(&to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const GROUP: Mac = Mac([1, 0, 0x5e, 0, 0, 1]);
    const ALL: [Mac; 4] = [OWN, OTHER, GROUP, Mac::BROADCAST];

    fn passing(modes: Modes, table: &Table) -> [bool; 4] {
        ALL.map(|to| passes(modes, table, OWN, to))
    }

    #[test]
    fn each_switch_does_what_it_says() {
        let none = Table::default();
        let only = |command: u8| Modes::from_bits(1 << command).unwrap();
        assert_eq!(passing(Modes::default(), &none), [true, false, false, true]);
        assert_eq!(passing(only(0), &none), [true, true, true, true]);
        assert_eq!(passing(only(1), &none), [true, false, true, true]);
        assert_eq!(passing(only(2), &none), [true, true, false, true]);
        assert_eq!(passing(only(4), &none), [false, false, false, true]);
        assert_eq!(passing(only(5), &none), [true, false, false, false]);
        let table = Table::new(vec![OTHER], vec![GROUP], 2).unwrap();
        assert_eq!(passing(Modes::default(), &table), [true; 4]);
        assert_eq!(passing(only(3), &table), [true, true, false, true]);
    }

    #[test]
    fn a_table_is_as_large_as_it_was_made_and_each_half_of_its_kind() {
        assert!(Table::new(vec![OTHER], vec![GROUP], 1).is_none());
        assert!(Table::new(vec![GROUP], vec![], 9).is_none());
        assert!(Table::new(vec![], vec![OTHER], 9).is_none());
        assert!(Table::new(vec![], vec![], 0).is_some());
    }

    #[test]
    fn tags_pass_until_the_driver_says_which() {
        let mut tags = Tags::default();
        assert!(tags.pass(7) && tags.set(MAX_TAG + 1, true).is_none());
        assert!(tags.pass(8) && tags.set(7, true).is_some());
        assert!(tags.pass(7) && !tags.pass(8));
        assert!(tags.set(7, false).is_some() && !tags.pass(7));
        assert!(Tags::new(Some([MAX_TAG + 1].into())).is_none());
    }

    #[test]
    fn modes_are_bits() {
        for bits in 0..=u8::MAX {
            assert_eq!(Modes::from_bits(bits).map(Modes::bits), (bits < 64).then_some(bits));
        }
    }
}
