//! Steps that nobody wrote: generated ones, and what is left of a script that is being shortened.
//!
//! **Invariant.** A step is taken only where every reading that is still possible allows it and a sane
//! front-end would take it; else it is passed over. So no such script can be at fault itself.

use devmig_engine::machine::{Machine as _, Reaction};
use devmig_model::protocol::vhost_user::event::{Event, Message, Value};
use devmig_model::protocol::vhost_user::program::Step;

use super::program;
use crate::harness::verdict::{StepOutcome, TestEnd};
use crate::vhost_user::drive::Move;
use crate::vhost_user::script::Act;
use crate::vhost_user::session::Session;

/// Does a step if it may be done here.
pub(in super::super) fn take(s: &mut Session<'_>, act: &Act) -> Result<StepOutcome, TestEnd> {
    if !s.link.is_open() || s.conversation.is_unspecified() {
        return Ok(StepOutcome::No("the specification does not say what follows".into()));
    }
    if *act == Act::Anew && s.driver.lines.iter().any(|line| line.ring.outstanding() > 0) {
        return Ok(StepOutcome::No("requests are still in flight".into()));
    }
    if let Err(why) = sensible(s, act)? {
        return Ok(StepOutcome::No(why));
    }
    match super::take(s, act) {
        Ok(()) => Ok(StepOutcome::Yes),
        // The text provides for it, and for nothing after it.
        Err(TestEnd::Skip(why)) => Ok(StepOutcome::No(why)),
        Err(end) => Err(end),
    }
}

/// Whether a step may be taken now; else why not.
fn sensible(s: &mut Session<'_>, act: &Act) -> Result<Result<(), String>, TestEnd> {
    let moves: Vec<Move> = match *act {
        Act::Program(step, which) => {
            if let Step::Send { id, .. } = step
                && let Some(gate) = &s.machine().message(id).gate
                && s.negotiation.is_shut(gate)
            {
                return Ok(Err(format!("needs {}", gate.feature)));
            }
            let Some(rings) = program::named(s, which) else {
                return Ok(Err("there is no such ring".into()));
            };
            let moves = rings.filter_map(|ring| step_move(s, step, ring).transpose());
            moves.collect::<Result<_, _>>()?
        }
        Act::Request(_) | Act::Publish(_) => {
            let kick = matches!(act, Act::Request(_));
            let Ok(ring) = s.driver.request_ring() else {
                return Ok(Err("the type of the device is unknown".into()));
            };
            vec![Move::Ring { ring, request: true, kick }]
        }
        _ => return Ok(Ok(())),
    };
    s.read_all()?;
    if !s.link.is_open() {
        return Ok(Err("the connection is closed".into()));
    }
    let (machine, keeps) = (s.machine(), s.negotiation.keeps);
    for m in moves {
        let mut why = "an interpretation that is still possible forbids it".to_owned();
        let may = s.conversation.every(|state, context| {
            if let Err(insane) = keeps.sane(&machine.table, state, &m) {
                insane.clone_into(&mut why);
                return Ok(false);
            }
            let Move::Message(message) = m else { return Ok(true) };
            Ok(match machine.on(state, &Event::Message(message), context)? {
                Reaction::To(next) if next.must_disconnect && !state.must_disconnect => {
                    "the back-end may close the connection on it".clone_into(&mut why);
                    false
                }
                Reaction::To(_) | Reaction::Ignore => true,
                _ => false,
            })
        });
        if !may? {
            return Ok(Err(why));
        }
    }
    Ok(Ok(()))
}

fn step_move(s: &Session<'_>, step: Step, ring: u8) -> Result<Option<Move>, TestEnd> {
    Ok(match step {
        Step::Send { id, number, .. } => {
            let def = s.machine().message(id);
            let value = Value(s.value(def, ring, number)?);
            let ring = if def.names_ring() { ring } else { 0 };
            Some(Move::Message(Message { id, ring, value, need_reply: false }))
        }
        Step::Kick { .. } => Some(Move::Ring { ring, request: false, kick: true }),
        Step::Vcpus { .. } => None,
        Step::ReadState => Some(Move::ReadState),
        Step::WriteState => Some(Move::WriteState),
        _ => None,
    })
}
