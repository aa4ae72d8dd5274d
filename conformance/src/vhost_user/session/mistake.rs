//! What the caller got wrong about the back-end: no deviation, and said as what it is.

use devmig_model::protocol::vhost_user::table::Table;
use virtio_bindings::bindings::virtio_net::VIRTIO_NET_F_MQ;

use super::setting::Device;

/// Feature bits that only a network device has: commands about its filter, announcements, several
/// queues, its address.
const ONLY_NET: u64 = 0b11_1111 << 18;
/// Several pairs of queues.
const SEVERAL_PAIRS: u64 = 1 << VIRTIO_NET_F_MQ;
/// VIRTIO_BLK_F_RO.
const READ_ONLY: u64 = 1 << 5;
/// Protocol features that only a network device has.
const ONLY_NET_PROTOCOL: [&str; 2] = ["RARP", "MTU"];
/// One that no network device has: who offers this too offers whatever there is, and says nothing of
/// what it is.
const NEVER_NET: &str = "CRYPTO_SESSION";

/// Why what was offered cannot be tested as this device; none if nothing is known against it.
pub(in crate::vhost_user) fn mistake(
    table: &Table,
    (device, scratch): (Device, bool),
    offered: u64,
    protocol_offered: u64,
) -> Option<String> {
    if device == Device::NetLoopback && offered != 0 && offered & SEVERAL_PAIRS == 0 {
        return Some(
            "wrong --device: net-loopback drives two pairs of queues, and the back-end has one \
             (it does not offer VIRTIO_NET_F_MQ); use --device net"
                .to_owned(),
        );
    }
    if matches!(device, Device::Net | Device::NetLoopback | Device::None) {
        return None;
    }
    let has = |name: &&str| table.feature(name).is_some_and(|bit| protocol_offered >> bit & 1 == 1);
    let protocol = ONLY_NET_PROTOCOL.iter().find(|name| has(name) && !has(&NEVER_NET));
    let sign = match protocol {
        Some(name) => Some(format!("protocol feature {name}")),
        None if offered & ONLY_NET != 0 => Some(format!("features {:#x}", offered & ONLY_NET)),
        None => None,
    };
    if let Some(sign) = sign {
        return Some(format!(
            "wrong --device: the back-end offers {sign}, which only a network device has"
        ));
    }
    let read_only = device == Device::Blk && scratch && offered & READ_ONLY != 0;
    read_only.then(|| {
        "wrong --scratch: the disk is read-only (VIRTIO_BLK_F_RO); leave the option out".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use devmig_model::registry::Library;

    #[test]
    fn a_network_device_is_not_tested_as_a_disk() {
        let library = Library::builtin().unwrap();
        let table = &library.vhost_user().table;
        let rarp = 1 << table.feature("RARP").unwrap();
        let said = |device, scratch, offered, protocol| {
            mistake(table, (device, scratch), offered, protocol)
        };
        assert!(said(Device::Blk, false, 0, rarp).is_some_and(|why| why.contains("RARP")));
        assert_eq!(said(Device::Blk, false, 0, !0), None);
        assert!(said(Device::Fs, false, 1 << 22, 0).is_some_and(|why| why.contains("0x400000")));
        assert_eq!(said(Device::Net, true, READ_ONLY | 1 << 22, rarp), None);
        assert_eq!(said(Device::None, true, READ_ONLY | 1 << 22, rarp), None);
    }

    #[test]
    fn a_network_device_with_one_pair_of_queues_is_not_tested_as_one_with_two() {
        let library = Library::builtin().unwrap();
        let table = &library.vhost_user().table;
        let said = |offered| mistake(table, (Device::NetLoopback, false), offered, 0);
        assert!(said(1 << 30).is_some_and(|why| why.contains("two pairs")));
        assert_eq!(said(1 << 30 | SEVERAL_PAIRS), None);
        // It was not asked yet.
        assert_eq!(said(0), None);
    }

    #[test]
    fn what_cannot_be_written_is_no_scratch_disk() {
        let library = Library::builtin().unwrap();
        let table = &library.vhost_user().table;
        let said = |scratch| mistake(table, (Device::Blk, scratch), READ_ONLY, 0);
        assert!(said(true).is_some_and(|why| why.contains("read-only")));
        assert_eq!(said(false), None);
    }
}
