//! One setting for each choice that the specifications leave to a device.
//!
//! Names and options are those of `specs/vfio/choices.toml`, without the leading `vfio.` or
//! `vfio-user.`, which are accepted too.
//!
//! **Not here:** the option `split` of `vfio.reset.target`, which is a proposal: a second call by which
//! a guest resets the device. vfio-user has only one command for a reset.

use crate::switches::settings;

settings! {
    ["vfio-user.", "vfio."]
    /// The state of the device after it refused data.
    bad_data: BadData = "resume.bad-data" {
        /// Unchanged.
        #[default]
        Stays "stays",
        /// ERROR.
        Error "error",
    }
    /// What RESET does to the migration state.
    reset: Reset = "reset.target" {
        /// It becomes RUNNING.
        #[default]
        Running "running",
        /// It does not change, except from ERROR.
        Keeps "keeps",
    }
    /// The state in which a client finds a device that another client left.
    client_gone: ClientGone = "client-gone.state" {
        /// The state in which the other client left it.
        #[default]
        Kept "kept",
        /// RUNNING: the device is reset.
        Running "running",
    }
    /// Which accesses a stopped device answers.
    stop_answers: StopAnswers = "stop.answers" {
        /// Accesses to configuration space.
        Config "config",
        /// All accesses.
        #[default]
        All "all",
    }
    /// What happens to a write to the registers of a stopped device.
    stopped_write: StoppedWrite = "stopped-target.write" {
        /// It changes the device.
        #[default]
        Lands "lands",
        /// It has no effect.
        Lost "lost",
    }
    /// Whether DMA may begin while a SET waits for outstanding DMA to end.
    draining: Draining = "p2p.draining" {
        /// No.
        #[default]
        NoneNew "none-new",
        /// Yes, until the outstanding DMA has ended.
        AdmitsNew "admits-new",
    }
    /// Which page sizes a REPORT may request.
    granularity: Granularity = "log.granularity" {
        /// Any power of two.
        #[default]
        AnyPower "any-power",
        /// Powers of two from 4 KiB.
        AtLeast4k "at-least-4k",
    }
    /// What START without a range logs.
    zero_ranges: ZeroRanges = "log.zero-ranges" {
        /// Nothing: it fails.
        Error "error",
        /// Every write.
        #[default]
        All "all",
    }
    /// What the P2P flag means over vfio-user.
    p2p: P2p = "p2p.flag" {
        /// Nothing: the flag is not reported, and its states do not exist.
        #[default]
        Unused "unused",
        /// As in VFIO.
        AsVfio "as-vfio",
    }
    /// Who marks a page that the client wrote on behalf of the server.
    client_writes: ClientWrites = "log.client-writes" {
        /// The server.
        #[default]
        Server "server",
        /// The client.
        Client "client",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_prefixes_are_understood() {
        let text = "vfio.resume.bad-data=error, vfio-user.p2p.flag=as-vfio, stop.answers=config";
        let settings: Settings = text.parse().unwrap();
        assert_eq!((settings.bad_data, settings.p2p), (BadData::Error, P2p::AsVfio));
        assert_eq!(settings.stop_answers, StopAnswers::Config);
        assert_eq!(settings.list().collect::<Vec<_>>().join(",").parse(), Ok(settings));
        assert!("reset.target=split".parse::<Settings>().is_err());
    }
}
