//! Messages by id: name, payload, and the protocol feature that each belongs to.
//!
//! The columns that a back-end needs of `specs/vhost-user/messages.toml`, as constants to match on,
//! and those messages which the slice there does not have yet. A test holds both together.

use devmig_model::protocol::vhost_user::wire::PayloadKind;

/// `VHOST_USER_F_PROTOCOL_FEATURES`, a bit of the virtio features.
pub const PROTOCOL_FEATURES_BIT: u32 = 30;

/// `VHOST_F_LOG_ALL`, a bit of the virtio features.
pub const LOG_ALL_BIT: u32 = 26;

/// Protocol feature bits.
pub mod feature {
    #![allow(missing_docs)] // named as in the text
    pub const MQ: u32 = 0;
    pub const LOG_SHMFD: u32 = 1;
    pub const REPLY_ACK: u32 = 3;
    pub const MTU: u32 = 4;
    pub const BACKEND_REQ: u32 = 5;
    pub const CONFIG: u32 = 9;
    pub const INFLIGHT_SHMFD: u32 = 12;
    pub const RESET_DEVICE: u32 = 13;
    pub const INBAND_NOTIFICATIONS: u32 = 14;
    pub const CONFIGURE_MEM_SLOTS: u32 = 15;
    pub const STATUS: u32 = 16;
    pub const DEVICE_STATE: u32 = 19;
    pub const GET_VRING_BASE_INFLIGHT: u32 = 20;
}

/// What this back-end offers, whatever its device is: every feature of [`feature`] but MTU, which
/// only a NIC has.
pub const OFFERED_PROTOCOL_FEATURES: u64 = 1 << feature::MQ
    | 1 << feature::LOG_SHMFD
    | 1 << feature::REPLY_ACK
    | 1 << feature::BACKEND_REQ
    | 1 << feature::CONFIG
    | 1 << feature::INFLIGHT_SHMFD
    | 1 << feature::RESET_DEVICE
    | 1 << feature::INBAND_NOTIFICATIONS
    | 1 << feature::CONFIGURE_MEM_SLOTS
    | 1 << feature::STATUS
    | 1 << feature::DEVICE_STATE
    | 1 << feature::GET_VRING_BASE_INFLIGHT;

/// A message that the front-end sends.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Which one.
    pub message: Message,
    /// Its payload.
    pub payload: PayloadKind,
    /// The protocol feature that must have been negotiated, as a bit.
    pub gate: Option<u32>,
}

macro_rules! messages {
    ($($name:ident = $id:literal $kind:ident $(if $gate:ident)?,)+) => {
        /// The messages, named as in the text.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[allow(non_camel_case_types, missing_docs)]
        pub enum Message { $($name = $id,)+ }

        impl Message {
            /// Every message that this back-end knows.
            pub const ALL: &'static [Message] = &[$(Message::$name,)+];

            /// Its id.
            #[must_use]
            pub const fn id(self) -> u32 {
                self as u32
            }

            /// Whether it has an answer of its own, which an acknowledgement would be taken for.
            #[must_use]
            pub const fn replies(self) -> bool {
                matches!(
                    self,
                    Message::GET_FEATURES
                        | Message::GET_VRING_BASE
                        | Message::GET_PROTOCOL_FEATURES
                        | Message::GET_QUEUE_NUM
                        | Message::GET_CONFIG
                        | Message::SET_LOG_BASE
                        | Message::GET_INFLIGHT_FD
                        | Message::GET_MAX_MEM_SLOTS
                        | Message::GET_STATUS
                        | Message::SET_DEVICE_STATE_FD
                        | Message::CHECK_DEVICE_STATE
                )
            }
        }

        /// The message of this id, if this back-end knows it.
        #[must_use]
        pub fn find(id: u32) -> Option<Definition> {
            let (message, payload, gate) = match id {
                $($id => (Message::$name, PayloadKind::$kind, messages!(@gate $($gate)?)),)+
                _ => return None,
            };
            Some(Definition { message, payload, gate })
        }
    };
    (@gate) => { None };
    (@gate $gate:ident) => { Some(feature::$gate) };
}

messages! {
    GET_FEATURES = 1 None,
    SET_FEATURES = 2 U64,
    SET_OWNER = 3 None,
    RESET_OWNER = 4 None,
    SET_MEM_TABLE = 5 Memory,
    SET_LOG_BASE = 6 Log if LOG_SHMFD,
    SET_LOG_FD = 7 None,
    SET_VRING_NUM = 8 VringState,
    SET_VRING_ADDR = 9 VringAddr,
    SET_VRING_BASE = 10 VringState,
    GET_VRING_BASE = 11 VringState,
    SET_VRING_KICK = 12 VringFd,
    SET_VRING_CALL = 13 VringFd,
    SET_VRING_ERR = 14 VringFd,
    GET_PROTOCOL_FEATURES = 15 None,
    SET_PROTOCOL_FEATURES = 16 U64,
    // MQ need only be offered, and is.
    GET_QUEUE_NUM = 17 None,
    SET_VRING_ENABLE = 18 VringState,
    // The same of MTU and BACKEND_REQ.
    NET_SET_MTU = 20 U64,
    SET_BACKEND_REQ_FD = 21 None,
    GET_CONFIG = 24 Config if CONFIG,
    SET_CONFIG = 25 Config if CONFIG,
    GET_INFLIGHT_FD = 31 Inflight if INFLIGHT_SHMFD,
    SET_INFLIGHT_FD = 32 Inflight if INFLIGHT_SHMFD,
    RESET_DEVICE = 34 None if RESET_DEVICE,
    VRING_KICK = 35 VringState if INBAND_NOTIFICATIONS,
    GET_MAX_MEM_SLOTS = 36 None if CONFIGURE_MEM_SLOTS,
    ADD_MEM_REG = 37 MemoryRegion if CONFIGURE_MEM_SLOTS,
    REM_MEM_REG = 38 MemoryRegion if CONFIGURE_MEM_SLOTS,
    SET_STATUS = 39 U64 if STATUS,
    GET_STATUS = 40 None if STATUS,
    SET_DEVICE_STATE_FD = 42 Transfer if DEVICE_STATE,
    CHECK_DEVICE_STATE = 43 None if DEVICE_STATE,
}

/// A message that the back-end sends, over its own channel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(non_camel_case_types, missing_docs)] // named as in the text, without `BACKEND_`
pub enum Request {
    CONFIG_CHANGE_MSG = 2,
    VRING_CALL = 4,
    VRING_ERR = 5,
}

impl Request {
    /// Its id.
    #[must_use]
    pub const fn id(self) -> u32 {
        self as u32
    }
}
