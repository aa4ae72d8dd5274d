//! A NIC behind virtqueues: virtio-net.
//!
//! ```text
//!   ring 2n      room for frames          | header | frame ... |
//!   ring 2n + 1  frames to transmit       | header | frame ... |
//!   the last     commands                 | class 1 | command 1 | data ... | ack: 1 |
//!                (ring 2, if several pairs were not accepted)
//! ```
//!
//! **Invariants.** A header that is read is ignored, since no offload is offered, and one that is
//! written says that nothing was offloaded. What cannot be read as a frame is not transmitted; room
//! that is too small for a frame comes back empty, and the frame is dropped.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::bindings::virtio_net::{
    VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_RX_EXTRA,
    VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_MAC, VIRTIO_NET_F_MQ,
    VIRTIO_NET_F_MTU, VIRTIO_NET_F_RSS, VIRTIO_NET_F_STATUS, VIRTIO_NET_S_LINK_UP,
};
use virtio_queue::{Reader, Writer};

use super::device::{Chain, Device, Role, StateError};
use super::ids::feature;
use super::mutants::{Mutant, Mutants};
use crate::nic::config::MTU;
use crate::nic::control::MAX_COMMAND;
use crate::nic::rss::{MAX_KEY, MAX_TABLE, hash};
use crate::nic::{Ack, Link, Mac, Nic, NicConfig};

/// Bytes of the configuration space.
const CONFIG: usize = 24;

/// How a NIC is reached.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// What it is.
    pub config: NicConfig,
    /// What it is connected to.
    pub link: Link,
    /// How long a frame or a command takes.
    pub latency: Duration,
    /// How long the link stays up, or down, each time; `None` for ever.
    pub flap: Option<Duration>,
}

/// A virtio-net device.
#[derive(Clone, Debug)]
pub struct Net {
    nic: Nic,
    latency: Duration,
    flap: Option<Duration>,
    flaps_at: Option<Instant>,
    accepted: u64,
    mutants: Mutants,
}

impl Net {
    /// A new one.
    #[must_use]
    pub fn new(options: &NetOptions) -> Self {
        let nic = Nic::new(options.config.clone(), options.link);
        let (latency, flap) = (options.latency, options.flap);
        Net { nic, latency, flap, flaps_at: None, accepted: 0, mutants: Mutants::default() }
    }

    /// The NIC itself.
    #[must_use]
    pub fn nic(&self) -> &Nic {
        &self.nic
    }

    /// The NIC itself, for what comes from its peer.
    pub fn nic_mut(&mut self) -> &mut Nic {
        &mut self.nic
    }

    fn has(&self, bit: u32) -> bool {
        self.accepted >> bit & 1 == 1
    }

    /// Bytes of the header in front of each frame: drivers of old have none for merged buffers.
    fn header(&self) -> usize {
        if self.has(VIRTIO_F_VERSION_1) { 12 } else { 10 }
    }

    fn pairs(&self) -> usize {
        self.nic.config().queue_pairs().into()
    }

    /// The ring of commands, if there is one.
    fn control_ring(&self) -> Option<usize> {
        let at = if self.has(VIRTIO_NET_F_MQ) { 2 * self.pairs() } else { 2 };
        self.has(VIRTIO_NET_F_CTRL_VQ).then_some(at)
    }

    fn transmit(&mut self, pair: u16, chain: &Chain) -> Option<()> {
        let mut reader = Reader::new(chain.memory(), chain.clone()).ok()?;
        let mut header = [0; 12];
        reader.read_exact(header.get_mut(..self.header())?).ok()?;
        // One more than can be sent, so that what is too long is seen to be.
        let most = self.nic.config().max_frame() + 1;
        let mut frame = vec![0; reader.available_bytes().min(most)];
        reader.read_exact(&mut frame).ok()?;
        self.nic.transmit(pair, &frame);
        Some(())
    }

    fn command(&mut self, chain: &Chain) -> Option<u32> {
        let mut reader = Reader::new(chain.memory(), chain.clone()).ok()?;
        let mut writer = Writer::new(chain.memory(), chain.clone()).ok()?;
        let mut ack = writer.split_at(writer.available_bytes().checked_sub(1)?).ok()?;
        let length = reader.available_bytes();
        let done = match length <= MAX_COMMAND {
            true => {
                let mut command = vec![0; length];
                reader.read_exact(&mut command).ok()?;
                self.nic.control(&command)
            }
            false => Ack::Err,
        };
        ack.write_all(&[done as u8]).ok()?;
        Some(1)
    }

    fn put(&mut self, queue: u16, chain: &Chain) -> Option<u32> {
        let frame = self.nic.next(queue)?;
        let mut header = [0; 12];
        // `num_buffers`, which drivers of old do not have.
        header[10] = 1;
        let header = header.get(..self.header())?;
        let mut writer = Writer::new(chain.memory(), chain.clone()).ok()?;
        let length = header.len() + frame.len();
        if writer.available_bytes() < length {
            return None;
        }
        writer.write_all(header).and_then(|()| writer.write_all(frame)).ok()?;
        u32::try_from(length).ok()
    }
}

impl Device for Net {
    fn features(&self) -> u64 {
        let several = u64::from(self.pairs() > 1);
        let rss = u64::from(self.nic.config().rss());
        let vlans = u64::from(self.nic.config().vlan_filter());
        1 << VIRTIO_NET_F_MAC
            | 1 << VIRTIO_NET_F_MTU
            | 1 << VIRTIO_NET_F_STATUS
            | 1 << VIRTIO_NET_F_CTRL_VQ
            | 1 << VIRTIO_NET_F_CTRL_RX
            | 1 << VIRTIO_NET_F_CTRL_RX_EXTRA
            | 1 << VIRTIO_NET_F_CTRL_MAC_ADDR
            | vlans << VIRTIO_NET_F_CTRL_VLAN
            | several << VIRTIO_NET_F_MQ
            | rss << VIRTIO_NET_F_RSS
    }

    fn protocol_features(&self) -> u64 {
        1 << feature::MTU
    }

    /// Whatever is not longer than what the link takes. Nothing depends on it: the guest keeps to it.
    fn set_mtu(&mut self, mtu: u64) -> Option<bool> {
        let most = self.nic.config().mtu();
        let valid = u16::try_from(mtu).is_ok_and(|mtu| (*MTU.start()..=most).contains(&mtu));
        Some(valid || self.mutants.has(Mutant::AcceptsAnyMtu))
    }

    fn set_mutants(&mut self, mutants: Mutants) {
        self.mutants = mutants;
    }

    fn accepted(&mut self, features: u64) {
        self.accepted = features;
        self.nic.set_filtering(self.has(VIRTIO_NET_F_CTRL_RX));
    }

    fn rings(&self) -> usize {
        2 * self.pairs() + 1
    }

    fn role(&self, ring: usize) -> Role {
        match ring {
            _ if self.control_ring() == Some(ring) => Role::Control,
            _ if ring.is_multiple_of(2) => Role::Receive,
            _ => Role::Requests,
        }
    }

    fn config(&self) -> Vec<u8> {
        let config = self.nic.config();
        let status = if self.nic.is_up() { VIRTIO_NET_S_LINK_UP as u16 } else { 0 };
        let mut space = Vec::with_capacity(CONFIG);
        space.extend(self.nic.state().mac.0);
        space.extend(status.to_le_bytes());
        space.extend(config.queue_pairs().to_le_bytes());
        space.extend(config.mtu().to_le_bytes());
        // Neither speed nor duplex is known.
        space.extend([0xff; 5]);
        space.push(MAX_KEY as u8);
        space.extend((MAX_TABLE as u16).to_le_bytes());
        space.extend(hash::SUPPORTED.to_le_bytes());
        space
    }

    /// Of its fields only the address can be set, and by the driver only by one of old; whether the
    /// link is up is a matter of where it is now.
    fn set_config(&mut self, offset: usize, bytes: &[u8], migrated: bool) -> bool {
        const MAC: usize = 6;
        const STATUS: std::ops::Range<usize> = 6..8;
        let mut space = self.config();
        let end = offset.saturating_add(bytes.len());
        let Some(part) = space.get_mut(offset..end) else { return false };
        part.copy_from_slice(bytes);
        let other =
            |(at, (new, old)): (usize, (u8, u8))| at >= MAC && !STATUS.contains(&at) && new != old;
        let differs = space.iter().copied().zip(self.config()).enumerate().any(other);
        let legacy = !self.has(VIRTIO_F_VERSION_1) && end <= MAC;
        match space.first_chunk() {
            Some(mac) if (migrated && !differs) || legacy => self.nic.set_mac(Mac(*mac)),
            _ => false,
        }
    }

    fn latency(&mut self, _: usize) -> Duration {
        self.latency
    }

    fn execute(&mut self, ring: usize, chain: Chain, discarded: bool) -> u32 {
        match self.role(ring) {
            Role::Control => self.command(&chain).unwrap_or(0),
            // What cannot be read is not sent; the driver learns nothing of it.
            _ if !discarded => {
                let _ = self.transmit((ring / 2) as u16, &chain);
                0
            }
            _ => 0,
        }
    }

    fn waits(&self, ring: usize) -> bool {
        self.nic.next((ring / 2) as u16).is_some()
    }

    fn deliver(&mut self, ring: usize, chain: Chain) -> u32 {
        let queue = (ring / 2) as u16;
        let written = self.put(queue, &chain);
        self.nic.taken(queue, written.is_some());
        written.unwrap_or(0)
    }

    fn due(&self) -> Option<Instant> {
        self.flaps_at
    }

    fn pass(&mut self, now: Instant) -> bool {
        let Some(period) = self.flap else { return false };
        let flaps = self.flaps_at.is_some_and(|at| at <= now);
        if flaps {
            self.nic.set_up(!self.nic.is_up());
        }
        if flaps || self.flaps_at.is_none() {
            self.flaps_at = now.checked_add(period);
        }
        flaps
    }

    /// The link goes down, or up again.
    fn change(&mut self) -> bool {
        self.nic.set_up(!self.nic.is_up());
        true
    }

    fn reset(&mut self) {
        let state = self.nic.state();
        let (modes, table) = (state.modes, state.table.clone());
        self.nic.reset();
        if self.mutants.has(Mutant::ResetKeepsFilter) {
            let state = self.nic.state_mut();
            (state.modes, state.table) = (modes, table);
        }
    }

    fn save(&self) -> Vec<u8> {
        self.nic.save()
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let before = self.nic.state().clone();
        self.nic.load(state)?;
        let state = self.nic.state_mut();
        if self.mutants.has(Mutant::FilterNotRestored) {
            (state.modes, state.table) = (before.modes, before.table);
        }
        if self.mutants.has(Mutant::AddressNotRestored) {
            state.mac = before.mac;
        }
        if self.mutants.has(Mutant::SteeringNotRestored) {
            state.steering = before.steering;
        }
        if self.mutants.has(Mutant::WaitingNotRestored) {
            state.waiting = before.waiting;
        }
        Ok(())
    }
}
