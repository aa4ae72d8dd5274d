//! What a `[[system]]` says of its source: the steps of the main thread, and how it differs from QEMU 11.1.

use crate::protocol::multifd::threads::event::Main;

/// One step of the main thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Something on the main stream.
    Main(Main),
    /// SYNC on these channels (bit `channel`), and wait until each has written it.
    Sync(u8),
    /// Read the dirty log, and hand over each dirty page.
    Round,
    /// Send a page of the last round again, on the main stream.
    MainPage,
    /// Hand over each page again, dirty or not.
    Again,
    /// Stop the vCPUs.
    StopGuest,
    /// Hand over the buffers of the device.
    Devices,
    /// Wait for SHUT.
    WaitShut,
    /// End every channel, whatever its thread has not written yet.
    Shutdown,
    /// End every channel once its thread has written all.
    Close,
    /// Anything that the rules allow, as often as it likes.
    Anything,
    /// Wait until each chunk was acknowledged.
    Gate,
    /// Wait until the destination has loaded the last checkpoint.
    WaitLoaded,
    /// Start the vCPUs again.
    Resume,
}

/// What a step can be, and what it means (shown by `devmig proposal words`).
pub const STEPS: &[(&str, &str, Step)] = &[
    ("list", "send the list of RAM blocks on the main stream", Step::Main(Main::List)),
    ("sync", "ask each channel for a SYNC, and wait until all are written", Step::Sync(u8::MAX)),
    ("sync but channel 0", "the same without the first channel", Step::Sync(!1)),
    ("flush", "send RAM_SAVE_FLAG_MULTIFD_FLUSH", Step::Main(Main::Flush)),
    ("eos", "send RAM_SAVE_FLAG_EOS: the end of a RAM section", Step::Main(Main::Eos)),
    ("round", "read the dirty log, and hand each dirty page to an idle channel", Step::Round),
    ("again", "hand each page to an idle channel, dirty or not", Step::Again),
    ("main page", "send the first page on the main stream", Step::MainPage),
    ("stop", "stop the vCPUs", Step::StopGuest),
    ("devices", "hand the buffers of the device to idle channels", Step::Devices),
    ("switchover start", "send SWITCHOVER_START", Step::Main(Main::SwitchoverStart)),
    ("iterables", "send the state of all other devices", Step::Main(Main::Iterables)),
    ("checkpoint", "send the state of all devices (COLO)", Step::Main(Main::Checkpoint)),
    ("wait for the checkpoint", "wait until the destination has loaded it", Step::WaitLoaded),
    ("resume", "start the vCPUs again", Step::Resume),
    ("end", "end the main stream", Step::Main(Main::End)),
    ("wait for SHUT", "wait until the destination reports that it has loaded", Step::WaitShut),
    ("shut down", "end every channel at once, whatever was not written", Step::Shutdown),
    ("close", "end every channel when all was written", Step::Close),
    ("gate", "wait until every chunk was acknowledged", Step::Gate),
    ("anything", "send anything that the rules allow", Step::Anything),
];

/// Steps in all: what a program counter can hold.
pub const MAX_STEPS: usize = 31;

/// How a source differs from QEMU 11.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Manner {
    /// SYNC rides on the packet with pages that waits (before 9.0).
    pub sync_rides: bool,
    /// A thread that ends because another has failed does not wake the main thread (before 11.0).
    pub ends_silently: bool,
    /// A thread is woken by a signal that is lost unless it sleeps.
    pub signal_is_lost: bool,
    /// A thread takes its job off the slot only when it is asked for the next.
    pub job_stays: bool,
    /// The main thread goes on to fill the object that it has handed over.
    pub object_is_shared: bool,
    /// The packet does not set its pages' dirty bits apart: the log is cleared when the round ends.
    pub log_cleared_late: bool,
    /// Each end of a section is a mark (machine types up to 8.0).
    pub per_section: bool,
    /// It ends its connections without a bye (TLS, before 10.0).
    pub no_bye: bool,
    /// A source that sends anything also sends a checkpoint, and no end.
    pub checkpoints: bool,
    /// Chunks with an answer each, and a queue for each worker (cloud-hypervisor).
    pub acknowledged: bool,
}

/// What a switch is called, and what it means.
pub type Switch<M> = (&'static str, &'static str, fn(&mut M));

/// The switches of a source (shown by `devmig proposal words`).
pub const MANNERS: &[Switch<Manner>] = &[
    ("SYNC rides on pages", "before 9.0: a SYNC rides on a packet that waits", |m| {
        m.sync_rides = true;
    }),
    ("threads end silently", "before 11.0: a thread that ends wakes nobody", |m| {
        m.ends_silently = true;
    }),
    ("signal is lost", "a thread that does not sleep yet misses the signal of a job", |m| {
        m.signal_is_lost = true;
    }),
    ("job stays", "a thread leaves the job in its slot until it is asked again", |m| {
        m.job_stays = true;
    }),
    ("object is shared", "the main thread fills the object that it has handed over", |m| {
        m.object_is_shared = true;
    }),
    ("log is cleared late", "the dirty log is cleared at the end of a round", |m| {
        m.log_cleared_late = true;
    }),
    ("per section", "machine type 8.0: the end of each RAM section is the mark", |m| {
        m.per_section = true;
    }),
    ("no bye", "before 10.0: the TLS session of a channel ends without a bye", |m| {
        m.no_bye = true;
    }),
    ("sends checkpoints", "COLO: `anything` includes a checkpoint", |m| m.checkpoints = true),
    ("chunks are acknowledged", "cloud-hypervisor: an answer for each chunk", |m| {
        m.acknowledged = true;
    }),
];
