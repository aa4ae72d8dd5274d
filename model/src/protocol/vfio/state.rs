//! What a VFIO device remembers, as far as its rules need it.

use devmig_engine::packed;

use super::event::Call;

/// The stream of migration data. Amounts are those that are there in exploration; in a test they
/// are the last that was told.
#[packed]
pub struct Stream {
    /// Initial bytes left.
    #[bits(2)]
    pub initial: u64,
    /// Dirty bytes left.
    #[bits(2)]
    pub dirty: u64,
    /// Since the session began nothing was told or read.
    pub fresh: bool,
    /// The amounts were told, and nothing was read since.
    pub told: bool,
    /// The state inside changed since the session began.
    pub changed: bool,
    /// Initial bytes began anew, and that was not told yet.
    pub anew: bool,
    /// The client opted in to being told.
    pub opted_in: bool,
    /// Reading: the last piece was given. Writing: it was taken.
    pub last: bool,
    /// Writing: something else was written than a device gave.
    pub wrong: bool,
    /// Writing: the state inside that was told.
    #[bits(2)]
    pub staged: u8,
}

/// The log of written pages.
#[packed]
pub struct Log {
    /// Writes are logged.
    pub on: bool,
    /// Pages written and not reported: bit `page`.
    #[bits(4)]
    pub dirty: u64,
    /// A report under way has read the log.
    pub read: bool,
    /// ... and cleared it.
    pub cleared: bool,
    /// What it has read.
    #[bits(4)]
    pub found: u64,
}

/// All of it.
#[packed]
pub struct State {
    /// The migration state, by its value.
    #[bits(4)]
    pub at: u8,
    /// The call that waits for its answer.
    pub pending: Option<Call>,
    /// The SET under way failed.
    pub failed: bool,
    /// The last arc of the SET under way began a session.
    pub opened: bool,
    /// The last SET failed, and nobody asked yet where the device is.
    pub unsettled: bool,
    /// The state inside; not known in a test.
    #[bits(2)]
    pub inside: u8,
    /// DMA to the peer that is under way.
    #[bits(2)]
    pub peer: u8,
    /// The stream.
    pub stream: Stream,
    /// The log.
    pub log: Log,
}

impl Stream {
    /// No session.
    pub const NONE: Stream = Stream {
        initial: 0,
        dirty: 0,
        fresh: false,
        told: false,
        changed: false,
        anew: false,
        opted_in: false,
        last: false,
        wrong: false,
        staged: 0,
    };
}

impl Log {
    /// Nothing is logged.
    pub const OFF: Log = Log { on: false, dirty: 0, read: false, cleared: false, found: 0 };
}

impl State {
    /// A device in this state, to which nothing happened yet.
    #[must_use]
    pub const fn new(at: u8) -> Self {
        State {
            at,
            pending: None,
            failed: false,
            opened: false,
            unsettled: false,
            inside: 0,
            peer: 0,
            stream: Stream::NONE,
            log: Log::OFF,
        }
    }
}
