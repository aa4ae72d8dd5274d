//! What the text leaves open and a back-end decides: one setting for each choice.
//!
//! Names and options are those of `specs/vhost-user/choices.toml`, without the leading
//! `vhost-user.`, which is accepted too.

use crate::switches::settings;

settings! {
    ["vhost-user."]
    /// What becomes of requests in flight when GET_VRING_BASE arrives.
    in_flight: InFlight = "get-vring-base.in-flight" {
        /// They are completed, then it is answered.
        #[default]
        Drain "drain",
        /// They are dropped.
        Abandon "abandon",
        /// They are dropped, and the base goes back to the oldest of them.
        Rewind "rewind",
    }
    /// What becomes of the requests of a ring that is started and disabled.
    disabled: Disabled = "disabled.requests" {
        /// Nothing is fetched or completed.
        Hold "hold",
        /// What was fetched before is completed.
        #[default]
        Finish "finish",
        /// As if it were enabled.
        Process "process",
    }
    /// What SET_STATUS with 0 does.
    status_zero: StatusZero = "status.zero" {
        /// It is stored.
        Keeps "keeps",
        /// The device's state is reset, rings are stopped and disabled.
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
        /// They are disabled.
        Disables "disables",
        /// They are stopped too.
        #[default]
        Stops "stops",
    }
    /// What a kick from before SET_VRING_KICK does.
    kick_pending: KickPending = "kick.pending" {
        /// It starts the ring.
        #[default]
        Starts "starts",
        /// It is forgotten.
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
    /// Whether a device that never ran is suspended, so that state may be transferred.
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
    /// What RESET_OWNER does.
    reset_owner: ResetOwner = "reset-owner.effect" {
        /// Nothing.
        #[default]
        Ignores "ignores",
        /// Rings are disabled.
        Disables "disables",
        /// Rings are as at first, and memory and features are forgotten.
        Discards "discards",
    }
    /// Whether SET_LOG_BASE has an answer.
    log_base: LogBase = "log-base.answer" {
        /// Yes.
        #[default]
        Answered "answered",
        /// No, unless one is asked for.
        Silent "silent",
    }
    /// What answers SET_LOG_BASE.
    log_taken: LogTaken = "log-base.payload" {
        /// The number 0.
        #[default]
        Number "number",
        /// What was asked.
        Request "request",
        /// No payload.
        Nothing "nothing",
    }
    /// Whether a message may come in pieces.
    pieces: Pieces = "message.pieces" {
        /// Yes.
        #[default]
        Together "together",
        /// Its header may; if its payload does, the connection is closed.
        Header "header",
        /// No: the connection is closed.
        Whole "whole",
    }
    /// What becomes of the connection when a guest has made nonsense of a ring.
    broken_ring: BrokenRing = "ring.broken" {
        /// It stays.
        #[default]
        Stays "stays",
        /// It is closed.
        Closes "closes",
    }
    /// Whether kicks are listened for before the status has DRIVER_OK.
    before_driver_ok: BeforeDriverOk = "status.before-driver-ok" {
        /// Yes.
        #[default]
        Processes "processes",
        /// No, once STATUS was negotiated.
        Waits "waits",
    }
    /// When a ring starts that is polled.
    polled_start: PolledStart = "kick.polled-start" {
        /// With SET_VRING_KICK.
        #[default]
        AtOnce "at-once",
        /// Never, without a kick.
        Never "never",
    }
    /// What becomes of a change of the configuration while every ring is stopped.
    config_change: ConfigChange = "config-change.while-suspended" {
        /// It is told once a ring runs.
        #[default]
        Later "later",
        /// It is not told.
        Never "never",
    }
    /// Whether a back-end that owes an answer reads on.
    reads_ahead: ReadsAhead = "reply.reads-ahead" {
        /// No.
        #[default]
        Waits "waits",
        /// Yes, until it owes two answers. Answers keep the order of their messages.
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
