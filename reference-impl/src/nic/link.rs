//! What a NIC is connected to.

/// Where frames go that the driver transmits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Link {
    /// Back to the receive side, so that one tester sees both directions.
    #[default]
    Loopback,
    /// Nowhere, and none comes.
    Nobody,
    /// To whoever holds the other end: they are fetched by [`super::Nic::poll_sent`].
    Peer,
}
