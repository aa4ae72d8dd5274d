//! Everything that one ring, one front-end and an eager back-end can come to, by the machine's own rules.

use devmig_engine::clause::ClauseId;
use devmig_engine::machine::{Machine as _, Reaction};
use devmig_engine::rules::Rules;
use devmig_model::protocol::vhost_user::event::{Event, Message, RingImages, Value};
use devmig_model::protocol::vhost_user::machine::VhostUser;
use devmig_model::protocol::vhost_user::program::{Number, Step};
use devmig_model::protocol::vhost_user::state::{State, Transfer};
use devmig_model::protocol::vhost_user::systems::F_PROTOCOL_FEATURES;
use devmig_model::protocol::vhost_user::table::MessageDef;
use devmig_model::protocol::vhost_user::vocabulary::{Answer, Effect};
use devmig_model::protocol::vhost_user::wire::PayloadKind;
use devmig_model::registry::Library;
use foldhash::fast::RandomState;

use super::arc::{Arc, Edge, Features, Leads, Node, arc};
use crate::vhost_user::drive::{Keeps, Move};
use crate::vhost_user::script;
use crate::vhost_user::script::Act;

/// VIRTIO_F_VERSION_1, which stands for the device's features.
const DEVICE_FEATURES: u64 = 1 << 32;
/// Unseen steps of a back-end between two of the front-end.
const UNSEEN: usize = 64;

/// A map whose keys come from no stranger, and are many.
pub(super) type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;

/// What can be reached: nodes, the edges of each, and the arcs that they stand for, numbered.
pub(super) struct Graph {
    /// The steps of the negotiation, after which it begins.
    pub(super) connect: Vec<Act>,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Vec<Edge>>,
    pub(super) arcs: HashMap<Arc, usize>,
    /// What may not be done, and why.
    pub(super) barred: HashMap<Arc, String>,
}

#[derive(Clone)]
pub(super) struct Guide<'l> {
    pub(super) library: &'l Library,
    pub(super) machine: VhostUser<1>,
    pub(super) rules: Rules,
    pub(super) acts: Vec<Act>,
    /// Protocol features of this part.
    pub(super) protocol: u64,
}

impl Guide<'_> {
    /// The name of an arc.
    pub(super) fn name(&self, arc: &Arc) -> String {
        let act = &self.acts[arc.act];
        let row = match (arc.row, act) {
            (Some(row), Act::Program(Step::Send { id, .. }, _))
                if self.machine.message(*id).rows.len() > 1 =>
            {
                format!(" (row {})", row + 1)
            }
            _ => String::new(),
        };
        let features = match arc.features {
            Features::None => "no features",
            Features::Plain => "features without bit 30",
            Features::All => "features",
        };
        let mut situation = vec![
            if arc.started { "started" } else { "stopped" }.to_owned(),
            if arc.enabled { "enabled" } else { "disabled" }.to_owned(),
            features.to_owned(),
        ];
        if arc.status != 0 {
            situation.push(format!("status {}", arc.status));
        }
        if arc.transfer != Transfer::None {
            situation.push(format!("{:?}", arc.transfer).to_lowercase());
        }
        if arc.waits {
            situation.push("a request waits".into());
        }
        format!("{}{row}: {}", act.text(&self.machine.table), situation.join(", "))
    }

    /// Everything that can be reached, and how; nothing, if no negotiation is possible.
    pub(super) fn graph(&self) -> Option<Graph> {
        let (connect, start) = self.connected()?;
        let mut index = HashMap::from_iter([(start, 0)]);
        let (mut arcs, mut barred) = (HashMap::default(), HashMap::default());
        let (mut nodes, mut edges) = (vec![start], Vec::new());
        while let Some(node) = nodes.get(edges.len()).copied() {
            let mut out = Vec::new();
            for at in 0..self.acts.len() {
                let message = self.message(&self.acts[at], &node);
                match self.leads(&node, &self.acts[at], message.as_ref()) {
                    Leads::Away => {}
                    Leads::Barred { row, why } => {
                        barred.entry(arc(&node, at, row)).or_insert(why);
                    }
                    Leads::To { node: next, row } => {
                        let to = *index.entry(next).or_insert_with(|| {
                            nodes.push(next);
                            nodes.len() - 1
                        });
                        let (arc, next) = (arc(&node, at, row), arcs.len());
                        let number = *arcs.entry(arc).or_insert(next);
                        out.push(Edge { arc, number, message, to });
                    }
                }
            }
            edges.push(out);
        }
        Some(Graph { connect, nodes, edges, arcs, barred })
    }

    /// Negotiation, and where it leads.
    fn connected(&self) -> Option<(Vec<Act>, Node)> {
        let mut acts = Vec::new();
        let mut node = Node { state: self.machine.initial(), keeps: Keeps::default(), saved: 0 };
        for (name, number) in [
            ("GET_FEATURES", Number::Literal(0)),
            ("GET_PROTOCOL_FEATURES", Number::Literal(0)),
            ("SET_PROTOCOL_FEATURES", Number::ProtocolOffered),
            ("SET_OWNER", Number::Literal(0)),
        ] {
            let id = self.machine.table.named(name)?;
            let act = Act::Program(
                Step::Send { id, ring: 0, number, need_reply: false },
                script::Which::Requests,
            );
            let message = self.message(&act, &node);
            let Leads::To { node: next, .. } = self.leads(&node, &act, message.as_ref()) else {
                return None;
            };
            node = next;
            acts.push(act);
        }
        Some((acts, node))
    }

    pub(super) fn message(&self, act: &Act, node: &Node) -> Option<Message> {
        let Act::Program(Step::Send { id, number, .. }, _) = *act else { return None };
        let def = self.machine.message(id);
        let ring = &node.state.rings[0];
        let value = match number {
            _ if def.request == PayloadKind::Memory => 1,
            _ if def.has(Effect::SetSize) => 256,
            Number::Literal(value) => value,
            Number::Used => u64::from(ring.used),
            Number::Available => u64::from(ring.available),
            Number::Logging => return None,
            Number::Saved => u64::from(ring.base.wrapping_add(node.saved)),
            Number::Offered => node.state.offered.0,
            Number::Plain => node.state.offered.0 & !F_PROTOCOL_FEATURES,
            Number::ProtocolOffered => node.state.protocol_offered.0,
        };
        Some(Message { id, ring: 0, value: Value(value), need_reply: false })
    }

    pub(super) fn leads(&self, node: &Node, act: &Act, message: Option<&Message>) -> Leads {
        let table = &self.machine.table;
        let mut next = *node;
        let m = match *act {
            Act::Request(_) => Move::Ring { ring: 0, request: true, kick: true },
            Act::Publish(_) => Move::Ring { ring: 0, request: true, kick: false },
            Act::Program(Step::Kick { .. }, _) => {
                Move::Ring { ring: 0, request: false, kick: true }
            }
            Act::Program(Step::ReadState, _) => Move::ReadState,
            Act::Program(Step::WriteState, _) => Move::WriteState,
            _ => match message {
                Some(message) => Move::Message(*message),
                None => return Leads::Away,
            },
        };
        // One request that waits shows as much as eight.
        let waits = node.state.rings[0].waiting() > 0;
        if waits && matches!(m, Move::Ring { request: true, .. }) {
            return Leads::Away;
        }
        let mut row = None;
        if let Move::Message(message) = &m {
            let def = self.machine.message(message.id);
            if let Some(gate) = &def.gate {
                let had =
                    if gate.by_offer { node.state.protocol_offered } else { node.state.protocol };
                if had.0 >> gate.bit & 1 == 0 {
                    return Leads::Away;
                }
            }
            let Ok(found) = self.machine.row(def, &node.state, message, &mut self.rules.judge())
            else {
                return Leads::Away;
            };
            row = found.map(|(index, _)| index);
            if let Some((_, found)) = found {
                let clause = |clause: ClauseId| self.library.spec.clause_name(clause).to_owned();
                if let Some(broken) = found.breaks {
                    let why = format!("the front-end would violate {}", clause(broken));
                    return Leads::Barred { row, why };
                }
                if let Some(open) = found.undefined {
                    let why =
                        format!("the specification does not say what follows ({})", clause(open));
                    return Leads::Barred { row, why };
                }
            }
        }
        if let Err(insane) = node.keeps.sane(table, &node.state, &m) {
            return match m {
                Move::Message(_) => Leads::Barred { row, why: insane.to_owned() },
                _ => Leads::Away,
            };
        }
        if let Move::Message(message) = &m
            && !node.keeps.in_order(table, message)
        {
            return Leads::Away;
        }
        let happens = |state: &mut State<1>, event: Event| match self.machine.on(
            state,
            &event,
            &mut self.rules.judge(),
        ) {
            Ok(Reaction::To(to)) => {
                *state = to;
                true
            }
            Ok(Reaction::Ignore) => true,
            _ => false,
        };
        let state = &mut next.state;
        let did = match m {
            Move::Message(message) => happens(state, Event::Message(message)),
            Move::ReadState if state.transfer != Transfer::Saving => return Leads::Away,
            Move::ReadState => {
                let (value, rings) = (state.internal, RingImages::default());
                happens(state, Event::Saved { value, rings })
            }
            Move::WriteState => {
                happens(state, Event::Loaded { value: 0, rings: RingImages::default() })
            }
            Move::Ring { ring, request, kick } => {
                (!request || happens(state, Event::Available { ring }))
                    && (!kick || happens(state, Event::Kick { ring, front_end: false }))
            }
        };
        if !did {
            return Leads::Away;
        }
        next.keeps.did(table, &m);
        match self.rest(&mut next) {
            true => Leads::To { node: normal(next), row },
            false => Leads::Away,
        }
    }

    /// The back-end does all that it can, in one order. Whether it comes to rest.
    pub(super) fn rest(&self, node: &mut Node) -> bool {
        for _ in 0..UNSEEN {
            let state = &mut node.state;
            let mut hidden = None;
            let mut judge = self.rules.judge();
            let asked = self.machine.hidden(state, &mut judge, &mut |_, to| {
                hidden = hidden.or(Some(to));
            });
            if asked.is_err() {
                return false;
            }
            let ring = &state.rings[0];
            let event = if let Some(to) = hidden {
                *state = to;
                continue;
            } else if ring.open != 0 {
                Event::Used { ring: 0, request: ring.oldest_open() }
            } else if ring.unnotified && ring.started {
                Event::Call { ring: 0 }
            } else if let Some(owing) = state.owed.head() {
                let m = owing.message;
                let def = self.machine.message(m.id);
                let value = self.answers(def, state, &m);
                if def.answer == Some(Answer::Base) {
                    node.saved = (value as u16).wrapping_sub(state.rings[0].base);
                }
                let ring = if def.reply == Some(PayloadKind::VringState) { m.ring } else { 0 };
                Event::Reply { id: m.id, ring, value: Value(value), descriptors: 0 }
            } else {
                return true;
            };
            match self.machine.on(&node.state, &event, &mut self.rules.judge()) {
                Ok(Reaction::To(to)) => node.state = to,
                Ok(Reaction::Ignore) => {}
                _ => return false,
            }
        }
        false
    }

    pub(super) fn answers(&self, def: &MessageDef, state: &State<1>, m: &Message) -> u64 {
        let answer = def.answer.unwrap_or(Answer::Ack);
        match (answer.demanded(state, m), answer) {
            (Some(value), _) => value.0,
            (None, Answer::Features) => F_PROTOCOL_FEATURES | DEVICE_FEATURES,
            (None, Answer::ProtocolFeatures) => self.protocol,
            (None, Answer::Transfer) => 1 << 8,
            (None, Answer::Number) => 1,
            (None, Answer::Log) => 8,
            (None, _) => 0,
        }
    }
}

/// The same state with its counters begun again: nothing depends on where they stand.
fn normal(mut node: Node) -> Node {
    let ring = &mut node.state.rings[0];
    ring.available = ring.available.wrapping_sub(ring.base);
    ring.used = ring.used.wrapping_sub(ring.base);
    ring.base = 0;
    ring.call_fresh = false;
    (node.state.internal, node.state.image) = (0, 0);
    node
}
