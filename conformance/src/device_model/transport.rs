//! How a device that was made is reached.

/// How a device is reached, once it is made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Transport {
    /// As a virtio device.
    VhostUser,
    /// As a PCI device.
    VfioUser,
}

impl Transport {
    /// Both.
    pub const ALL: [Transport; 2] = [Transport::VhostUser, Transport::VfioUser];

    /// As tests, golden states and `device-add` name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Transport::VhostUser => "vhost-user",
            Transport::VfioUser => "vfio-user",
        }
    }

    /// The words that tell a program where to listen, unless others are given.
    #[must_use]
    pub fn usual(self) -> Vec<String> {
        let option = match self {
            Transport::VhostUser => "--socket-path",
            Transport::VfioUser => "--vfio-user",
        };
        vec![option.to_owned(), "{socket}".to_owned()]
    }
}
