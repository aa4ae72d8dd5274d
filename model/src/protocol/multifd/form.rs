//! What is wrong with a packet whatever came before it.
//!
//! **Invariants.** Pure and total. Each fault names its clause, and says what was seen.
//!
//! **Not here:** what depends on other packets; that is the machine's.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use devmig_engine::clause::ClauseId;
use devmig_engine::rules::Rules;

use super::wire::{Buffer, DevicePacket, Init, MAGIC, PageSize, RamHeader, VERSION, flag};

crate::clause_ids! {
    /// The clauses that are judged here.
    pub struct FormLaws {
        /// `multifd.init.magic`
        init_magic: "multifd.init.magic",
        /// `multifd.init.version`
        init_version: "multifd.init.version",
        /// `multifd.init.uuid`
        init_uuid: "multifd.init.uuid",
        /// `multifd.init.id-below-channels`
        id_below_channels: "multifd.init.id-below-channels",
        /// `multifd.packet.followed`
        followed: "multifd.packet.followed",
        /// `multifd.packet.version`
        version: "multifd.packet.version",
        /// `multifd.packet.flags-known`
        flags_known: "multifd.packet.flags-known",
        /// `multifd.packet.compression`
        compression: "multifd.packet.compression",
        /// `multifd.packet.block`
        block: "multifd.packet.block",
        /// `multifd.packet.offset`
        offset: "multifd.packet.offset",
        /// `multifd.packet.size`
        size: "multifd.packet.size",
        /// `multifd.packet.unpacked`
        unpacked: "multifd.packet.unpacked",
        /// `multifd.packet.numbers-whole`
        numbers_whole: "multifd.packet.numbers-whole",
        /// `multifd.main.followed`
        main_followed: "multifd.main.followed",
        /// `multifd.main.block`
        main_block: "multifd.main.block",
        /// `multifd.main.unpacked`
        main_unpacked: "multifd.main.unpacked",
        /// `multifd.main.command`
        main_command: "multifd.main.command",
        /// `multifd.memory.as-source`
        memory: "multifd.memory.as-source",
        /// `multifd.device.no-sync`
        no_sync: "multifd.device.no-sync",
        /// `multifd.device.buffer-whole`
        buffer_whole: "multifd.device.buffer-whole",
        /// `multifd.device.version`
        device_version: "multifd.device.version",
        /// `multifd.device.flags-known`
        device_flags_known: "multifd.device.flags-known",
        /// `multifd.device.index`
        device_index: "multifd.device.index",
        /// `multifd.device.known`
        device_known: "multifd.device.known",
    }
}

/// A clause that is broken, and by what.
pub type Fault = (ClauseId, String);

/// Gathers what is broken.
struct Faults<'a> {
    rules: &'a Rules,
    found: Vec<Fault>,
}

impl Faults<'_> {
    fn unless(&mut self, holds: bool, clause: ClauseId, what: impl FnOnce() -> String) {
        if !holds && !self.rules.off.contains(clause) {
            self.found.push((clause, what()));
        }
    }
}

/// What a packet is judged by, besides the clauses.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    /// The clauses.
    pub laws: &'a FormLaws,
    /// Those that are in force.
    pub rules: &'a Rules,
    /// The size of the target's pages.
    pub page: PageSize,
}

impl<'a> Form<'a> {
    fn faults(&self) -> Faults<'a> {
        Faults { rules: self.rules, found: Vec::new() }
    }

    /// An initial packet, of one of so many channels.
    #[must_use]
    pub fn init(&self, init: &Init, channels: usize, uuid: Option<[u8; 16]>) -> Vec<Fault> {
        let (laws, mut faults) = (self.laws, self.faults());
        let Init { magic, version, id, .. } = *init;
        faults.unless(magic == MAGIC, laws.init_magic, || {
            format!("the channel begins with {magic:#010x}, not with 0x11223344")
        });
        faults.unless(version == VERSION, laws.init_version, || {
            format!("the initial packet has version {version}, not 1")
        });
        faults.unless(uuid.is_none_or(|uuid| uuid == init.uuid), laws.init_uuid, || {
            let hex = |uuid: &[u8; 16]| uuid.map(|byte| format!("{byte:02x}")).concat();
            let expected = hex(&uuid.unwrap_or_default());
            format!("UUID {}, the first channel's {expected}", hex(&init.uuid))
        });
        faults.unless(usize::from(id) < channels, laws.id_below_channels, || {
            format!("the channel's id is {id}, and there are {channels} channels")
        });
        faults.found
    }

    /// A RAM packet. `block` finds the length of a block, unless the list is not known; `method` is the
    /// compression of the packets before.
    #[must_use]
    pub fn ram(
        &self,
        packet: &RamHeader<'_>,
        block: Option<Option<u64>>,
        method: &mut Option<u32>,
    ) -> Vec<Fault> {
        let (laws, mut faults) = (self.laws, self.faults());
        self.head(packet.version, packet.flags, &mut faults);
        let pages = packet.normal > 0 || packet.zero > 0;
        if packet.normal > 0 {
            let bits = packet.compression();
            let named = bits.count_ones() <= 1;
            let before = *method.get_or_insert(bits);
            faults.unless(named && before == bits, laws.compression, || {
                format!(
                    "the packet's compression is {}, before it was {}",
                    names(bits),
                    names(before)
                )
            });
        }
        // What a compressed packet has is known by its size alone.
        if packet.compression() == 0 {
            let payload = packet.payload(self.page);
            faults.unless(payload == u64::from(packet.size), laws.size, || {
                format!("next_packet_size is {}, and {payload} bytes follow", packet.size)
            });
        }
        if !pages {
            return faults.found;
        }
        faults.unless(packet.block_ends() && block != Some(None), laws.block, || {
            format!("the list has no block \"{}\"", packet.block().escape_ascii())
        });
        let length = block.flatten();
        let page = u64::from(self.page.bytes());
        let mask = page.saturating_sub(1);
        let inside = |offset: u64| {
            let fits = length
                .is_none_or(|length| length.checked_sub(page).is_some_and(|most| offset <= most));
            fits && offset & mask == 0
        };
        let mut offsets = packet.normal_offsets().chain(packet.zero_offsets());
        if let Some(offset) = offsets.find(|offset| !inside(*offset)) {
            faults.unless(false, laws.offset, || {
                let block = packet.block().escape_ascii();
                match length {
                    Some(length) if offset & mask == 0 => {
                        format!("offset {offset:#x} in \"{block}\", which has {length:#x} bytes")
                    }
                    _ => format!("offset {offset:#x} in \"{block}\" is not that of a page"),
                }
            });
        }
        faults.found
    }

    /// The header of a packet with the state of a device, which the main stream has named or not.
    #[must_use]
    pub fn device(&self, packet: &DevicePacket<'_>, known: bool) -> Vec<Fault> {
        let (laws, mut faults) = (self.laws, self.faults());
        self.head(packet.version, packet.flags & !flag::COMPRESSION, &mut faults);
        let (name, instance, size) = (packet.name().escape_ascii(), packet.instance, packet.size);
        faults.unless(!packet.is_sync(), laws.no_sync, || {
            format!("a packet with the state of \"{name}\" is a SYNC packet")
        });
        let least = u32::try_from(Buffer::LEN).unwrap_or(u32::MAX);
        faults.unless(size >= least, laws.buffer_whole, || {
            format!("a packet with the state of \"{name}\" has {size} bytes")
        });
        faults.unless(known, laws.device_known, || {
            format!("no section has the name \"{name}\" and the instance {instance}")
        });
        faults.found
    }

    /// What stands before a device's data.
    #[must_use]
    pub fn buffer(&self, buffer: &Buffer) -> Vec<Fault> {
        let (laws, mut faults) = (self.laws, self.faults());
        let Buffer { version, index, flags } = *buffer;
        faults.unless(version == 0, laws.device_version, || {
            format!("the header before the data has version {version}, not 0")
        });
        faults.unless(flags & !Buffer::CONFIG == 0, laws.device_flags_known, || {
            format!("the header before the data has the flags {flags:#x}")
        });
        faults.unless(index != u32::MAX, laws.device_index, || format!("the index is {index:#x}"));
        faults.found
    }

    fn head(&self, version: u32, flags: u32, faults: &mut Faults<'_>) {
        faults.unless(version == VERSION, self.laws.version, || {
            format!("the packet has version {version}, not 1")
        });
        faults.unless(flags & !flag::KNOWN == 0, self.laws.flags_known, || {
            format!("the packet has the flags {flags:#x}")
        });
    }
}

/// The methods of compression that these bits name.
fn names(bits: u32) -> String {
    let named = flag::METHODS.iter().filter(|(bit, _)| bits & bit != 0);
    let named: Vec<_> = named.map(|(_, name)| *name).collect();
    if named.is_empty() { "none".to_owned() } else { named.join(" and ") }
}
