//! The permissive front-end made concrete: every step that a front-end may take, and what a sane one
//! does not do although no rule forbids it.
//!
//! ```text
//!   message table --> alphabet of steps --+--> tour.rs   every arc, by a walk over the machine's graph
//!                                         +--> walk.rs   one of them at random, again and again
//!   rules (the machine's) and sense (here) --> whether a step may be taken now
//! ```
//!
//! **Invariants.** What may be sent is the machine's to say. What stands here is the rest: a ring
//! runs with memory, size and addresses, goes on where it stopped, and what a transfer needs to stay
//! as it is stays so.

use devmig_model::protocol::vhost_user::event::{Message, MessageId};
use devmig_model::protocol::vhost_user::machine::MAX_RINGS;
use devmig_model::protocol::vhost_user::program::{Number, Step};
use devmig_model::protocol::vhost_user::state::{State, Transfer};
use devmig_model::protocol::vhost_user::table::{Condition, MessageDef, Table};
use devmig_model::protocol::vhost_user::vocabulary::{Effect, Guard};
use devmig_model::protocol::vhost_user::wire::PayloadKind;

use super::script::{Act, Which};

/// A step, as far as it has to be judged before it is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Move {
    /// A message.
    Message(Message),
    /// A request becomes available on a ring, or only a kick.
    Ring {
        /// Which.
        ring: u8,
        /// Whether a request is made.
        request: bool,
        /// Whether its kick descriptor is written.
        kick: bool,
    },
    /// The state channel is read to its end.
    ReadState,
    /// The state that was read is written.
    WriteState,
}

/// What was set up in a ring since it was last needed to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct SetUp {
    size: bool,
    base: bool,
    addresses: bool,
    call: bool,
    kick: bool,
}

/// What the front-end keeps in mind besides what the machine does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Keeps {
    rings: [SetUp; MAX_RINGS],
    /// A whole state was read.
    state: bool,
}

/// The status of a device that may be used (VIRTIO 2.1).
const DRIVER_OK: u8 = 4;
/// Requests that may wait in a ring.
const WAITING: u16 = 8;

impl Keeps {
    /// Whether a sane front-end does this here.
    ///
    /// # Errors
    /// Why not.
    pub fn sane<const R: usize>(
        &self,
        table: &Table,
        s: &State<R>,
        m: &Move,
    ) -> Result<(), &'static str> {
        let demand = |holds: bool, else_why| if holds { Ok(()) } else { Err(else_why) };
        let busy = s.transfer != Transfer::None;
        match *m {
            Move::ReadState => {
                // Whoever looks at the channel may have seen its end already.
                let saves = matches!(s.transfer, Transfer::Saving | Transfer::Saved);
                demand(saves, "no state is being saved")
            }
            Move::WriteState => {
                demand(s.transfer == Transfer::Loading, "no state is being loaded")?;
                demand(self.state, "there is no state to load")
            }
            Move::Ring { ring, request, kick } => {
                let set_up = self.rings[ring as usize];
                let whole = set_up.size && set_up.base && set_up.addresses && set_up.call;
                demand(!busy, "a state transfer is in progress")?;
                demand(s.features.0 != 0 && s.regions > 0, "the device is not set up")?;
                demand(!kick || (whole && set_up.kick), "the ring is not set up")?;
                // A back-end need not look at a ring that runs unless it is kicked.
                let runs = s.rings[ring as usize].started;
                demand(kick || !runs, "the back-end would not be notified")?;
                let status =
                    table.feature("STATUS").is_some_and(|bit| s.protocol.0 >> bit & 1 == 1);
                demand(!status || s.status & DRIVER_OK != 0, "the status is not DRIVER_OK")?;
                let room = s.rings[ring as usize].waiting() < WAITING;
                demand(!request || (set_up.size && room), "the ring has no room")
            }
            Move::Message(m) => {
                let def = &table.messages[m.id.0 as usize];
                let ring = &s.rings[m.ring as usize];
                let set_up = self.rings[m.ring as usize];
                let has = |effect| def.has(effect);
                let moves = [
                    Effect::SetMemory,
                    Effect::AddRegion,
                    Effect::RemoveRegion,
                    Effect::SetKick,
                    Effect::SetFeatures,
                    Effect::SetProtocolFeatures,
                    Effect::SetStatus,
                    Effect::ResetState,
                    Effect::BeginTransfer,
                    Effect::Stop,
                ];
                if busy && moves.into_iter().any(has) {
                    return Err("a state transfer is in progress");
                }
                if has(Effect::AddRegion) {
                    demand(s.regions == 0, "the region is already mapped")?;
                }
                if has(Effect::RemoveRegion) {
                    let free = s.rings.iter().all(|ring| !ring.started);
                    let unset = self.rings.iter().all(|ring| !ring.kick);
                    demand(s.regions > 0 && free && unset, "the memory is in use, or not mapped")?;
                }
                if has(Effect::SetAddresses) {
                    demand(s.regions > 0 && set_up.size, "the ring has no memory or size")?;
                }
                if has(Effect::SetBase) {
                    let next = m.value.0 as u16;
                    let idle = ring.available == ring.used;
                    let right = next == ring.base || (idle && next == ring.used);
                    demand(right, "the base is not where the ring continues")?;
                }
                if has(Effect::SetKick) {
                    let whole = set_up.size && set_up.base && set_up.addresses;
                    demand(whole && s.regions > 0, "the ring is not set up")?;
                }
                if has(Effect::SetStatus) {
                    let only_more = m.value.0 & u64::from(s.status) == u64::from(s.status);
                    demand(m.value.0 == 0 || only_more, "the status must grow, or be 0")?;
                }
                if has(Effect::BeginTransfer) && m.value.0 & 0xffff_ffff != 0 {
                    demand(self.state, "there is no state to load")?;
                }
                Ok(())
            }
        }
    }

    /// Whether a front-end that sets rings up in the usual order has come to this message: only so
    /// many states are worth a tour.
    #[must_use]
    pub fn in_order(&self, table: &Table, m: &Message) -> bool {
        let def = &table.messages[m.id.0 as usize];
        let ring = self.rings[m.ring as usize];
        (ring.addresses || !def.has(Effect::SetBase)) && (ring.base || !def.has(Effect::SetCall))
    }

    /// It was done.
    pub fn did(&mut self, table: &Table, m: &Move) {
        let m = match m {
            Move::ReadState => return self.state = true,
            Move::WriteState => return self.state = false,
            Move::Ring { .. } => return,
            Move::Message(m) => m,
        };
        let def = &table.messages[m.id.0 as usize];
        let ring = &mut self.rings[m.ring as usize];
        ring.size |= def.has(Effect::SetSize);
        ring.base |= def.has(Effect::SetBase);
        ring.addresses |= def.has(Effect::SetAddresses);
        ring.call |= def.has(Effect::SetCall);
        ring.kick |= def.has(Effect::SetKick);
        if def.has(Effect::Stop) {
            (ring.base, ring.call, ring.kick) = (false, false, false);
        }
        if def.has(Effect::RemoveRegion) {
            self.rings.iter_mut().for_each(|ring| ring.addresses = false);
        }
        if resets(def, m) {
            self.rings = Default::default();
        }
    }
}

/// Whether this message resets the device under some reading.
#[must_use]
pub fn resets(def: &MessageDef, m: &Message) -> bool {
    let resets = |effect: &Effect| matches!(effect, Effect::ResetState | Effect::StopAll);
    let meant = |c: &Condition| c.guard != Guard::Zero || (m.value.0 == 0) == c.wanted;
    def.rows.iter().any(|row| row.receive.iter().any(resets) && row.when.iter().all(meant))
}

/// A step, and how often it is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Letter {
    /// The step.
    pub act: Act,
    /// Its weight among all.
    pub weight: u32,
}

/// Every step that a front-end can take with this table: each message with the numbers that make a
/// difference, and what is done in memory, with descriptors and through the state channel.
#[must_use]
pub fn alphabet(table: &Table) -> Vec<Letter> {
    let mut all = Vec::new();
    for (index, def) in table.messages.iter().enumerate().filter(|(_, def)| speaks(def)) {
        let mut add = |number, weight| {
            let step =
                Step::Send { id: MessageId(index as u8), ring: 0, number, need_reply: false };
            all.push(Letter { act: Act::Program(step, Which::Requests), weight });
        };
        let has = |effect| def.has(effect);
        if has(Effect::SetBase) {
            add(Number::Saved, 4);
        } else if has(Effect::SetEnabled) {
            add(Number::Literal(0), 2);
            add(Number::Literal(1), 4);
        } else if has(Effect::SetStatus) {
            [(0, 1), (1, 1), (15, 2)].into_iter().for_each(|(n, w)| add(Number::Literal(n), w));
        } else if has(Effect::SetFeatures) {
            add(Number::Offered, 2);
            add(Number::Plain, 1);
        } else if has(Effect::SetProtocolFeatures) {
            add(Number::ProtocolOffered, 1);
        } else if has(Effect::BeginTransfer) {
            add(Number::Literal(0), 1);
            add(Number::Literal(1), 1);
        } else if has(Effect::SetKick) {
            add(Number::Literal(0), 6);
        } else if has(Effect::SetSize) || has(Effect::SetAddresses) || has(Effect::SetCall) {
            add(Number::Literal(0), 3);
        } else {
            add(Number::Literal(0), 1);
        }
    }
    let others = [
        (Act::Request(1), 6),
        (Act::Publish(1), 1),
        (Act::Program(Step::Kick { ring: 0 }, Which::Requests), 2),
        (Act::Program(Step::ReadState, Which::Requests), 4),
        (Act::Program(Step::WriteState, Which::Requests), 4),
    ];
    all.extend(others.map(|(act, weight)| Letter { act, weight }));
    all
}

/// Features whose messages a session drives by itself, without a test that prepares it.
const GATES: [&str; 5] = ["MQ", "CONFIGURE_MEM_SLOTS", "RESET_DEVICE", "STATUS", "DEVICE_STATE"];

/// Whether a session can make this message and understand its answer.
fn speaks(def: &MessageDef) -> bool {
    let gated = def.gate.as_ref().is_none_or(|gate| GATES.contains(&gate.feature.as_str()));
    // What changes nothing and has no answer shows nothing.
    let shows = def.reply.is_some() || def.rows.iter().any(|row| !row.receive.is_empty());
    let makes = matches!(
        def.request,
        PayloadKind::None
            | PayloadKind::U64
            | PayloadKind::VringState
            | PayloadKind::VringAddr
            | PayloadKind::Memory
            | PayloadKind::MemoryRegion
            | PayloadKind::VringFd
            | PayloadKind::Transfer
    );
    let understands = matches!(
        def.reply,
        None | Some(PayloadKind::U64 | PayloadKind::VringState | PayloadKind::TransferReply)
    );
    let sane = def.discouraged.is_none();
    gated && shows && makes && understands && sane && !def.has(Effect::SetChannel)
}
