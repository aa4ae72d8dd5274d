//! Steps that nobody wrote: generated ones, and what is left of a script that is being shortened.
//!
//! **Invariant.** A step is taken only where every reading that is still possible allows it and a sane
//! front-end would take it; else it is passed over. So no such script can be at fault itself.

use devmig_engine::machine::{Machine as _, Reaction};

use super::*;

impl Session<'_> {
    /// Does a step if it may be done here.
    ///
    /// # Errors
    /// What ends the test.
    pub fn carefully(&mut self, act: &Act) -> Result<StepOutcome, TestEnd> {
        if self.connection.is_none() || self.possible.undefined() {
            return Ok(StepOutcome::No("the specification does not say what follows".into()));
        }
        if *act == Act::Anew && self.lines.iter().any(|line| line.ring.outstanding() > 0) {
            return Ok(StepOutcome::No("requests are still in flight".into()));
        }
        if let Err(why) = self.sensible(act)? {
            return Ok(StepOutcome::No(why));
        }
        match self.act(act) {
            Ok(()) => {}
            // The text provides for it, and for nothing after it.
            Err(TestEnd::Skip(why)) => return Ok(StepOutcome::No(why)),
            Err(stop) => return Err(stop),
        }
        Ok(StepOutcome::Yes)
    }

    /// Whether a step may be taken now; else why not.
    fn sensible(&mut self, act: &Act) -> Result<Result<(), String>, TestEnd> {
        let moves: Vec<Move> = match *act {
            Act::Program(step, which) => {
                if let Step::Send { id, .. } = step
                    && let Some(gate) = &self.machine.message(id).gate
                {
                    let had = if gate.by_offer { self.protocol_offered } else { self.protocol };
                    if had >> gate.bit & 1 == 0 {
                        return Ok(Err(format!("needs {}", gate.feature)));
                    }
                }
                let Some(rings) = self.named(which) else {
                    return Ok(Err("there is no such ring".into()));
                };
                rings
                    .filter_map(|ring| self.step_move(step, ring).transpose())
                    .collect::<Result<_, _>>()?
            }
            Act::Requests { kick, .. } => {
                let Ok(ring) = self.request_ring() else {
                    return Ok(Err("the type of the device is unknown".into()));
                };
                vec![Move::Ring { ring, request: true, kick }]
            }
            _ => return Ok(Ok(())),
        };
        self.read_all()?;
        if self.connection.is_none() {
            return Ok(Err("the connection is closed".into()));
        }
        let (machine, keeps) = (self.machine, self.keeps);
        for m in moves {
            let mut why = "an interpretation that is still possible forbids it".to_owned();
            let may = self.possible.every(|state, judge| {
                if let Err(insane) = keeps.sane(&machine.table, state, &m) {
                    insane.clone_into(&mut why);
                    return Ok(false);
                }
                let Move::Message(message) = m else { return Ok(true) };
                let verdict = machine.on(state, &Event::Message(message), judge)?;
                Ok(matches!(verdict, Reaction::To(_) | Reaction::Ignore))
            });
            match may {
                Ok(true) => {}
                Ok(false) => return Ok(Err(why)),
                Err(fault) => return Err(harness(fault)),
            }
        }
        Ok(Ok(()))
    }

    fn step_move(&self, step: Step, ring: u8) -> Result<Option<Move>, TestEnd> {
        Ok(match step {
            Step::Send { id, number, .. } => {
                let def = self.machine.message(id);
                let value = Value(self.value(def, ring, number)?);
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
}
