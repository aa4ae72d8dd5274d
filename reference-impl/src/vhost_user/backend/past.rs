//! What has happened to the device before: nothing but mutants asks, which do something right the first
//! time, or alone, and wrong after something else.

/// What has happened since the process began, or since this connection did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Past {
    /// Another connection was served before.
    pub(super) further: bool,
    /// A ring was broken over an earlier one.
    pub(super) broke_before: bool,
    /// A ring was broken.
    pub(super) broke: bool,
    /// Logging was turned on, and off again.
    pub(super) logged: bool,
    /// Rings that were stopped.
    pub(super) stops: u32,
    /// SET_BACKEND_REQ_FD, so often.
    pub(super) channels: u32,
    /// RESET_DEVICE, so often.
    pub(super) resets: u32,
    /// Status 0, so often.
    pub(super) zeros: u32,
    /// States that were loaded.
    pub(super) loads: u32,
    /// A state was refused.
    pub(super) refused: bool,
    /// States that were saved.
    pub(super) saves: u32,
    /// A state was loaded before the last reset.
    pub(super) reset_after_load: bool,
    /// CHECK_DEVICE_STATE was answered since the last transfer began.
    pub(super) checked: bool,
    /// A running ring was disabled.
    pub(super) disabled: bool,
    /// The next connection is to be served by a process that does nothing: a mutant's.
    pub(super) ruined: bool,
    /// This connection is.
    pub(super) stalled: bool,
    /// The memory table of a running device was replaced, and nobody was notified since.
    pub(super) table: bool,
}

impl Past {
    /// What the next connection's device has behind it.
    #[must_use]
    pub fn next(self) -> Self {
        Past {
            further: true,
            broke_before: self.broke,
            broke: self.broke,
            stalled: self.ruined,
            ..Past::default()
        }
    }
}
