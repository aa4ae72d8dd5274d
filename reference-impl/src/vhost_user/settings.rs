//! One setting for each choice that the specification leaves to a back-end.
//!
//! Names and options are those of `specs/vhost-user/choices.toml`, without the leading
//! `vhost-user.`, which is accepted too.

use crate::switches::settings;

settings! {
    ["vhost-user."]
    /// What happens to requests in flight when GET_VRING_BASE arrives.
    in_flight: InFlight = "get-vring-base.in-flight" {
        /// The back-end completes them, then replies.
        #[default]
        Drain "drain",
        /// The back-end drops them.
        Abandon "abandon",
        /// The back-end drops them and returns the base of the oldest of them.
        Rewind "rewind",
    }
    /// What happens to the requests of a ring that is started and disabled.
    disabled: Disabled = "disabled.requests" {
        /// The back-end fetches and completes nothing.
        Hold "hold",
        /// The back-end completes requests that it fetched before.
        #[default]
        Finish "finish",
        /// The back-end processes the ring as if it were enabled.
        Process "process",
    }
    /// What SET_STATUS with 0 does.
    status_zero: StatusZero = "status.zero" {
        /// It only stores the status.
        Keeps "keeps",
        /// It resets the device's internal state, and stops and disables the rings.
        #[default]
        Resets "resets",
    }
    /// What starts a ring.
    ring_start: RingStart = "ring.start" {
        /// A kick.
        #[default]
        Kick "kick",
        /// SET_VRING_KICK.
        Descriptor "descriptor",
    }
    /// What RESET_DEVICE does to rings.
    reset_rings: ResetRings = "reset-device.rings" {
        /// It disables them.
        Disables "disables",
        /// It also stops them.
        #[default]
        Stops "stops",
    }
    /// What a kick that was written before SET_VRING_KICK does.
    kick_pending: KickPending = "kick.pending" {
        /// It starts the ring.
        #[default]
        Starts "starts",
        /// It is lost.
        Lost "lost",
    }
    /// Whether the descriptor that a ring had before GET_VRING_BASE can start it again.
    kick_after_stop: KickAfterStop = "get-vring-base.kick" {
        /// No.
        #[default]
        Forgets "forgets",
        /// Yes.
        Keeps "keeps",
    }
    /// Whether a device that never ran is suspended, so that its state may be transferred.
    transfer_birth: TransferBirth = "transfer.birth" {
        /// Yes.
        #[default]
        Suspended "suspended",
        /// No.
        Not "not",
    }
    /// Whether setting a call descriptor notifies the guest.
    call_signals: CallSignals = "set-vring-call.signals" {
        /// No.
        #[default]
        Silent "silent",
        /// Yes, once.
        Signals "signals",
    }
    /// What a second SET_OWNER does.
    set_owner_again: SetOwnerAgain = "set-owner.again" {
        /// Nothing.
        #[default]
        Accepts "accepts",
        /// The back-end closes the connection.
        Closes "closes",
    }
    /// Whether further messages are read while a state is loaded.
    load_pending: LoadPending = "device-state.load-pending" {
        /// Yes.
        #[default]
        Reads "reads",
        /// No.
        Waits "waits",
    }
    /// What RESET_OWNER does.
    reset_owner: ResetOwner = "reset-owner.effect" {
        /// Nothing.
        #[default]
        Ignores "ignores",
        /// It disables the rings.
        Disables "disables",
        /// It resets the rings, and discards memory and features.
        Discards "discards",
    }
    /// Whether the back-end replies to SET_LOG_BASE.
    log_base: LogBase = "log-base.answer" {
        /// Yes.
        #[default]
        Answered "answered",
        /// No, unless the message asks for an acknowledgement.
        Silent "silent",
    }
    /// The payload of the reply to SET_LOG_BASE.
    log_taken: LogTaken = "log-base.payload" {
        /// The number 0.
        #[default]
        Number "number",
        /// The payload of the request.
        Request "request",
        /// No payload.
        Nothing "nothing",
    }
    /// Whether a message may arrive in pieces.
    pieces: Pieces = "message.pieces" {
        /// Yes.
        #[default]
        Together "together",
        /// The header may; if the payload does, the back-end closes the connection.
        Header "header",
        /// No: the back-end closes the connection.
        Whole "whole",
    }
    /// What happens to the connection when the guest has corrupted a ring.
    broken_ring: BrokenRing = "ring.broken" {
        /// It stays open.
        #[default]
        Stays "stays",
        /// The back-end closes it.
        Closes "closes",
    }
    /// Whether kicks start a ring before the status has DRIVER_OK.
    before_driver_ok: BeforeDriverOk = "status.before-driver-ok" {
        /// Yes.
        #[default]
        Processes "processes",
        /// No, if STATUS was negotiated.
        Waits "waits",
    }
    /// When a polled ring starts.
    polled_start: PolledStart = "kick.polled-start" {
        /// With SET_VRING_KICK.
        #[default]
        AtOnce "at-once",
        /// Never, without a kick.
        Never "never",
    }
    /// When the back-end reports a configuration change that happens while every ring is stopped.
    config_change: ConfigChange = "config-change.while-suspended" {
        /// Once a ring runs.
        #[default]
        Later "later",
        /// Never.
        Never "never",
    }
    /// Whether a back-end with a pending reply reads further messages.
    reads_ahead: ReadsAhead = "reply.reads-ahead" {
        /// No.
        #[default]
        Waits "waits",
        /// Yes, until two replies are pending. Replies keep the order of their messages.
        Reads "reads",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_every_setting_is_read_and_written() {
        for (name, options) in Settings::KNOWN {
            for option in *options {
                let text = format!("{name}={option}");
                let settings: Settings = text.parse().unwrap();
                assert!(settings.list().any(|item| item == text), "{text}");
                assert_eq!(settings.list().collect::<Vec<_>>().join(",").parse(), Ok(settings));
                assert_eq!(format!("vhost-user.{text}").parse(), Ok(settings));
            }
        }
    }

    #[test]
    fn the_defaults_are_the_reference() {
        let defaults: Vec<String> = Settings::default().list().collect();
        let options = defaults.iter().map(|item| item.split_once('=').unwrap().1);
        let expected = [
            "drain",
            "finish",
            "resets",
            "kick",
            "stops",
            "starts",
            "forgets",
            "suspended",
            "silent",
            "accepts",
            "reads",
            "ignores",
            "answered",
            "number",
            "together",
            "stays",
            "processes",
            "at-once",
            "later",
            "waits",
        ];
        assert!(options.eq(expected), "{defaults:?}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |text: &str| text.parse::<Settings>().unwrap_err().to_string();
        assert_eq!(error("drain"), "`drain` is no setting: write NAME=OPTION");
        assert_eq!(
            error("ring.start=now"),
            "`ring.start` cannot be `now`: it can be kick, descriptor"
        );
        assert!(error("ring=kick").starts_with("there is no setting `ring`: there are get-vring"));
    }
}
