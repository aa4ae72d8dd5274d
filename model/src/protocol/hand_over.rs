//! The hand-over of a VM: who runs in the end, if a link is cut or a process is killed at any step.
//!
//! ```text
//!   source       stop, release the lock, send the state, ... | end, or run again
//!   destination  receive the state, ... take the lock, run   | end
//!   management   perform ... go ... confirm, or resume       | or none
//!                        ^ a fault at any step, and neither end knows which
//! ```
//!
//! VMMs and management layers are programs ([`program`], `specs/hand-over/programs.toml`); what they share
//! is one machine ([`world`]); what comes of a hand-over is read off its state ([`outcome`]) and tabulated
//! (`analysis::hand_over`).
//!
//! **Not here.** How memory and device state are copied, how long anything takes, two faults in one
//! attempt, and connections on which one direction fails alone.

pub mod event;
pub mod outcome;
pub mod program;
pub mod properties;
pub mod systems;
pub mod world;

use self::systems::SystemDef;
use self::world::ClauseIds;
use super::definition::{self, SystemList, Systems};
use super::input::Input;
use super::program::Programs;
use super::property;
use super::registration::{Protocol, Section};
use super::size::{BadScale, Scale};
use super::written;
use crate::spec::{Diagnostics, ItemKind, Spec, SpecErrors};
use devmig_engine::clause::ClauseId;
use devmig_engine::explore::Check;
use devmig_engine::rules::Rules;

/// All of hand-overs that is loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the world is judged by.
    pub laws: ClauseIds,
    /// The clause behind each property of [`properties::ALL`].
    pub clauses: Vec<Option<ClauseId>>,
    /// The systems.
    pub systems: Systems<SystemDef>,
}

impl Protocol for Loaded {
    fn name() -> &'static str {
        "hand-over"
    }

    fn tables() -> Vec<ItemKind> {
        vec![Programs::kind(), written::item_kind(), definition::kind::<systems::Keys>()]
    }

    fn words() -> Vec<Section> {
        vec![
            ("Hand-over: steps of a program", program::STEPS.to_vec()),
            ("Hand-over: properties, `holds`, `violated`", property::words(properties::ALL)),
        ]
    }

    fn load(spec: &Spec, input: &mut Input<'_>, d: &mut Diagnostics) -> Result<Self, SpecErrors> {
        let programs = Programs::read(input, Self::name(), d);
        program::check(&programs, d);
        let of = (spec, Self::name(), false);
        let systems = Systems::read(of, properties::ALL, input, d, |common, item, d| {
            Some(systems::compile(&programs, common, item, d))
        });
        Ok(Loaded {
            laws: ClauseIds::resolve(spec)?,
            clauses: property::clauses(spec, properties::ALL)?,
            systems,
        })
    }

    fn systems(&self) -> &dyn SystemList {
        &self.systems
    }

    fn build(
        &self,
        name: &str,
        scale: &Scale,
        rules: Rules,
    ) -> Result<Option<Box<dyn Check>>, BadScale> {
        let def = self.systems.at(name, scale)?;
        Ok(def.map(|def| Box::new(self.system(&def, rules)) as _))
    }

    fn properties(&self) -> Vec<&'static str> {
        property::names(properties::ALL)
    }
}
