//! Faults, each a switch in the real code, so that a judge can show that it would notice.
//!
//! A mutant does one thing wrong, names the clause that this breaks, and is otherwise the reference. The first
//! are a source's, the last a destination's.

use crate::switches::mutants;

mutants! {
    ["multifd."]

    // The source's: epochs.
    SyncSkipsChannel "sync-skips-channel" "sync.every-channel"
        "The last channel sends no SYNC after the first round.",
    SyncUnmarked "sync-unmarked" "sync.marked"
        "After the first round, the main stream lacks a FLUSH.",
    MarkTwice "mark-twice" "sync.every-channel"
        "After the first round, the main stream has two FLUSHes.",
    SetUpUnsynced "set-up-unsynced" "sync.setup-first"
        "Pages are sent before any SYNC.",
    SyncWithPages "sync-with-pages" "sync.alone"
        "One packet with pages is a SYNC packet.",
    PageTwice "page-twice" "sync.page-once"
        "The first page of a round is sent again at its end.",
    PageOnMainToo "page-on-main-too" "sync.page-once"
        "The first page of a round is sent on the main stream as well.",
    PagesAfterLast "pages-after-last" "sync.no-pages-after-last"
        "A page is sent after the last SYNC.",

    // The source's: packets.
    NumberRepeats "number-repeats" "packet.number-increases"
        "Every packet has the number 0.",
    NumberSkips "number-skips" "packet.numbers-whole"
        "Every other number is left out.",
    EmptyPacket "empty-packet" "packet.has-pages"
        "A packet without pages is sent.",
    InitMagic "init-magic" "init.magic"
        "The last channel begins with other bytes.",
    InitVersion "init-version" "init.version"
        "The last channel has version 2.",
    OtherUuid "other-uuid" "init.uuid"
        "The last channel has the UUID of another virtual machine.",
    IdTooLarge "id-too-large" "init.id-below-channels"
        "The last channel's id is the number of channels.",
    IdTwice "id-twice" "init.id-once"
        "Every channel has the id 0.",
    PacketMagic "packet-magic" "packet.followed"
        "A packet with pages begins with zeroes.",
    PacketVersion "packet-version" "packet.version"
        "Packets with pages have version 2.",
    UnknownFlag "unknown-flag" "packet.flags-known"
        "Packets with pages have a flag that means nothing.",
    OtherBlock "other-block" "packet.block"
        "Packets with pages name a block that is not in the list.",
    OffsetBeyond "offset-beyond" "packet.offset"
        "One page lies past its block.",
    WrongSize "wrong-size" "packet.size"
        "The packets' size is one page too large.",
    EndsInside "ends-inside" "end.packet-boundary"
        "The last channel ends inside a packet.",

    // The source's: compression.
    OtherMethod "other-method" "packet.compression"
        "Every other compressed packet names another method of compression.",
    PackedAnew "packed-anew" "packet.unpacked"
        "Each compressed packet begins a new compressed stream.",
    PackedUnflushed "packed-unflushed" "packet.unpacked"
        "Compressed packets are not flushed: what is missing comes with a later one.",
    PackedShort "packed-short" "packet.unpacked"
        "The last page of a compressed packet is not in its data.",
    PackedPlain "packed-plain" "packet.unpacked"
        "The data of compressed packets is not compressed.",

    // The source's: memory.
    PageForgotten "page-forgotten" "memory.as-source"
        "The last page of the last round is not sent.",
    StopsLate "stops-late" "memory.as-source"
        "The guest is stopped after the last round instead of before it.",
    ClaimsZero "claims-zero" "memory.as-source"
        "The last page of a packet is sent as a zero page, whatever it holds.",
    MarksTakenLate "marks-taken-late" "memory.as-source"
        "Marks that the guest sets while a round is sent are taken with it.",

    // The source's: the main stream, and devices.
    OtherFooter "other-footer" "main.followed"
        "The last RAM section ends as another one.",
    MainPageBeyond "main-page-beyond" "main.block"
        "The main stream has a page past its block.",
    DeviceSync "device-sync" "device.no-sync"
        "Packets with the state of a device are SYNC packets.",
    DeviceShort "device-short" "device.buffer-whole"
        "A packet with the state of a device has 8 bytes.",
    DeviceVersion "device-version" "device.version"
        "The header before a device's data has version 1.",
    DeviceFlags "device-flags" "device.flags-known"
        "The header before a device's data has a flag that means nothing.",
    DeviceIndex "device-index" "device.index"
        "The first buffer of a device has the index 2^32 - 1.",
    DeviceUnknown "device-unknown" "device.known"
        "Packets with the state of a device name another one.",
    IndexTwice "index-twice" "device.index-once"
        "The first buffer of a device is sent twice.",
    ConfigTwice "config-twice" "device.config-once"
        "The configuration of a device is sent twice.",
    ConfigEarly "config-early" "device.config-last"
        "The configuration of a device has an index before those of its data.",
    BufferMissing "buffer-missing" "device.whole"
        "The first buffer of a device is not sent.",
    ConfigMissing "config-missing" "device.whole"
        "The configuration of a device is not sent.",

    // The destination's.
    MarkNotWaited "mark-not-waited" "sync.every-channel"
        "The destination goes on at a mark, whatever its channels have read.",
    MarkWaitsForFirst "mark-waits-for-first" "sync.every-channel"
        "At a mark, the destination waits for its first channel only.",
    ZeroKept "zero-kept" "memory.as-source"
        "The destination leaves zero pages as they are.",
    LastPageLost "last-page-lost" "memory.as-source"
        "The destination does not load the last page of a packet.",
    LoadsAsItCame "loads-as-it-came" "device.whole"
        "The destination loads the buffers of a device in the order in which they came.",
    HoleAccepted "hole-accepted" "device.whole"
        "The destination runs a device although a buffer never came.",
    AcceptsUuid "accepts-uuid" "init.uuid"
        "The destination accepts channels of another virtual machine.",
    AcceptsVersion "accepts-version" "packet.version"
        "The destination accepts packets of another version.",
    AcceptsIndexTwice "accepts-index-twice" "device.index-once"
        "The destination accepts a buffer twice.",
    UnpacksAnew "unpacks-anew" "packet.unpacked"
        "The destination begins a new compressed stream with each packet.",
    AcceptsShort "accepts-short" "packet.unpacked"
        "The destination accepts a compressed packet that lacks pages.",
    AcceptsMethod "accepts-method" "packet.compression"
        "The destination accepts a packet with another method of compression.",
}

impl Mutant {
    /// Whether it shows only if the channels compress pages.
    #[must_use]
    pub fn needs_compression(self) -> bool {
        matches!(
            self,
            Mutant::OtherMethod
                | Mutant::PackedAnew
                | Mutant::PackedUnflushed
                | Mutant::PackedShort
                | Mutant::PackedPlain
                | Mutant::UnpacksAnew
                | Mutant::AcceptsShort
                | Mutant::AcceptsMethod
        )
    }
}
