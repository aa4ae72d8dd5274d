//! What a VFIO device remembers, as far as its rules need it.

use super::event::{PENDING_BITS, Pending};

devmig_engine::packed! {
    /// The stream of migration data. Amounts are those that are there in exploration; in a test they
    /// are the last that was told.
    pub struct Stream {
        /// Initial bytes left.
        pub initial: u64 = 2,
        /// Dirty bytes left.
        pub dirty: u64 = 2,
        /// Since the session began nothing was told or read.
        pub fresh: bool = 1,
        /// The amounts were told, and nothing was read since.
        pub told: bool = 1,
        /// The state inside changed since the session began.
        pub changed: bool = 1,
        /// Initial bytes began anew, and that was not told yet.
        pub anew: bool = 1,
        /// The client opted in to being told.
        pub opted_in: bool = 1,
        /// Reading: the last piece was given. Writing: it was taken.
        pub last: bool = 1,
        /// Writing: something else was written than a device gave.
        pub wrong: bool = 1,
        /// Writing: the state inside that was told.
        pub staged: u8 = 2,
    }
}

devmig_engine::packed! {
    /// The log of written pages.
    pub struct Log {
        /// Writes are logged.
        pub on: bool = 1,
        /// Pages written and not reported: bit `page`.
        pub dirty: u64 = 2,
        /// A report under way has read the log.
        pub read: bool = 1,
        /// ... and cleared it.
        pub cleared: bool = 1,
        /// What it has read.
        pub found: u64 = 2,
    }
}

devmig_engine::packed! {
    /// All of it.
    pub struct State {
        /// The migration state, by its value.
        pub at: u8 = 4,
        /// The call that waits for its answer.
        pub pending: Pending = PENDING_BITS,
        /// The SET under way failed.
        pub failed: bool = 1,
        /// The last arc of the SET under way began a session.
        pub opened: bool = 1,
        /// The last SET failed, and nobody asked yet where the device is.
        pub unsettled: bool = 1,
        /// The state inside; not known in a test.
        pub inside: u8 = 2,
        /// DMA to the peer that is under way.
        pub peer: u8 = 2,
        /// The stream.
        pub stream: Stream,
        /// The log.
        pub log: Log,
    }
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
            pending: Pending(None),
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
