//! VERSION: what both sides can do.

use devmig_model::protocol::vfio_user::{Capabilities, MAX_DATA, MAX_DESCRIPTORS, Reply, Version};
use rustix::io::Errno;

use super::{Core, Fault};
use crate::vfio_user::Mutant;
use crate::vfio_user::memory::{MAX_MAPS, PAGE};

/// The only major version that there is, and the latest minor one.
pub(super) const MAJOR: u16 = 0;
/// See [`MAJOR`].
pub(super) const MINOR: u16 = 1;

/// What was agreed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreed {
    /// The most bytes in a DMA_READ or DMA_WRITE.
    pub(super) most: usize,
    /// Whether REGION_WRITE_MULTI may come.
    pub(super) write_multiple: bool,
}

impl Core {
    /// Names only capabilities that the client has named.
    pub(super) fn negotiate(&mut self, theirs: &Version) -> Result<Result<Reply, Errno>, Fault> {
        if self.agreed.is_some() {
            return Ok(Err(Errno::INVAL));
        }
        if theirs.major != MAJOR {
            return Err(Fault::Version(theirs.major));
        }
        let said = theirs.capabilities().map_err(|_| Fault::Capabilities)?;
        let most = said.max_data_xfer_size.unwrap_or(MAX_DATA as u64).min(MAX_DATA as u64);
        if most == 0 {
            return Err(Fault::Capabilities);
        }
        let ours = Capabilities {
            max_msg_fds: said.max_msg_fds.map(|_| MAX_DESCRIPTORS as u64),
            max_data_xfer_size: said.max_data_xfer_size.map(|_| self.max_data as u64),
            max_dma_maps: said.max_dma_maps.map(|_| MAX_MAPS as u64),
            pgsizes: said.pgsizes.map(|_| PAGE),
            twin_socket: None,
            write_multiple: said.write_multiple,
        };
        let write_multiple = said.write_multiple == Some(true);
        self.agreed = Some(Agreed { most: most as usize, write_multiple });
        let later = self.is(Mutant::VersionLater) && self.is_of_later_client();
        let minor = theirs.minor.min(MINOR) + u16::from(later);
        Ok(Ok(Reply::Version(Version::new(MAJOR, minor, ours))))
    }
}
