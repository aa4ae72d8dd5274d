//! Arcs: a row of a message, or another step, in a situation; and the states between them.

use devmig_model::protocol::vhost_user::event::Message;
use devmig_model::protocol::vhost_user::state::{State, Transfer};
use devmig_model::protocol::vhost_user::systems::F_PROTOCOL_FEATURES;

use crate::vhost_user::drive::Keeps;

/// A state of the closed system.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Node {
    pub(super) state: State<1>,
    pub(super) keeps: Keeps,
    /// What GET_VRING_BASE returned last, less the ring's base.
    pub(super) saved: u16,
}

/// A row in a situation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Arc {
    /// Of the alphabet.
    pub(super) act: usize,
    pub(super) row: Option<u8>,
    pub(super) started: bool,
    pub(super) enabled: bool,
    pub(super) features: Features,
    pub(super) status: u8,
    pub(super) transfer: Transfer,
    pub(super) waits: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Features {
    None,
    Plain,
    All,
}

/// A step that is taken in a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) arc: Arc,
    /// The arc's number in its graph.
    pub(super) number: usize,
    pub(super) message: Option<Message>,
    pub(super) to: usize,
}

/// What a step leads to.
pub(super) enum Leads {
    To {
        node: Node,
        row: Option<u8>,
    },
    Barred {
        row: Option<u8>,
        why: String,
    },
    /// Not here, for no reason that is worth a word.
    Away,
}

pub(super) fn arc(node: &Node, act: usize, row: Option<u8>) -> Arc {
    let (s, ring) = (&node.state, &node.state.rings[0]);
    let features = match s.features.0 {
        0 => Features::None,
        f if f & F_PROTOCOL_FEATURES == 0 => Features::Plain,
        _ => Features::All,
    };
    Arc {
        act,
        row,
        started: ring.started,
        enabled: ring.enabled,
        features,
        status: s.status,
        transfer: s.transfer,
        waits: ring.waiting() > 0,
    }
}
