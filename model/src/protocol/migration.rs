//! A migration as a whole: memory that is copied while it changes, devices, a limit for the downtime.
//!
//! ```text
//!   devices of A --- state ---> devices of B          the machine of VFIO, for each device
//!        | DMA                                 \
//!   memory, vCPUs -- pages ---> stale or not    >---  one VMM, with a program (specs/migration)
//!        | logs                                /
//!        +-----> marked pages -----------------
//! ```
//!
//! What a VMM does is a program and a few policies ([`names::ChoiceIds`]); what is expected is said over
//! memory and devices ([`properties`]). Wrong programs are systems whose violation is expected.
//!
//! **Not here.** Both ends as processes of their own, with faults between them, and channels: `hand-over`
//! and `multifd`. Time: a limit is a number of pages that can be sent in it.

pub mod devices;
pub mod event;
pub mod memory;
pub mod names;
pub mod observed;
pub mod properties;
pub mod releases;
pub mod systems;
pub mod tracking;
pub mod vmm;

use std::sync::Arc;

use self::names::{ChoiceIds, ClauseIds};
use self::releases::Releases;
use self::systems::SystemDef;
use self::tracking::Tracking;
use super::definition::{self, SystemList, Systems};
use super::input::Input;
use super::program::Programs;
use super::property;
use super::registration::{Protocol, Section};
use super::size::{BadScale, Scale};
use super::vfio::names::Names as Vfio;
use super::vfio::table::Table;
use super::written;
use crate::spec::{Diagnostics, ItemKind, Spec, SpecErrors};
use devmig_engine::clause::ClauseId;
use devmig_engine::explore::Check;
use devmig_engine::rules::Rules;

/// All of whole migrations that is loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The states of VFIO devices.
    pub table: Arc<Table>,
    /// What VFIO devices are judged by.
    pub vfio: Vfio,
    /// What the VMM owes.
    pub laws: ClauseIds,
    /// Its policies.
    pub readings: ChoiceIds,
    /// The clause behind each property of [`properties::ALL`].
    pub clauses: Vec<Option<ClauseId>>,
    /// What tracks the writes of devices, and what is refused.
    pub tracking: Tracking,
    /// What versions do, and which limits can be said.
    pub releases: Releases,
    /// The systems.
    pub systems: Systems<SystemDef>,
}

impl Protocol for Loaded {
    fn name() -> &'static str {
        "migration"
    }

    fn tables() -> Vec<ItemKind> {
        let shared =
            vec![Programs::kind(), written::item_kind(), definition::kind::<systems::Keys>()];
        [shared, vec![tracking::kind()], releases::kinds()].concat()
    }

    fn asks_of() -> &'static [&'static str] {
        &["vfio"]
    }

    fn words() -> Vec<Section> {
        vec![
            ("Whole migrations: facts about a VM, `when`", tracking::FACTS.to_vec()),
            ("Whole migrations: steps, `run`, `failure`", vmm::step::STEPS.to_vec()),
            ("Whole migrations: properties, `holds`, `violated`", property::words(properties::ALL)),
        ]
    }

    fn load(spec: &Spec, input: &mut Input<'_>, d: &mut Diagnostics) -> Result<Self, SpecErrors> {
        let table = input.kept::<Table>();
        let programs = Programs::read(input, Self::name(), d);
        // A proposal may take a state away that a step of a system names.
        let of = (spec, Self::name(), input.has_proposal());
        let systems = Systems::read(of, properties::ALL, input, d, |common, item, d| {
            Some(systems::compile(&table, &programs, common, item, d))
        });
        Ok(Loaded {
            table,
            vfio: Vfio::resolve(spec)?,
            laws: ClauseIds::resolve(spec)?,
            readings: ChoiceIds::resolve(spec)?,
            clauses: property::clauses(spec, properties::ALL)?,
            tracking: Tracking::read(input, d),
            releases: Releases::read(spec, input, d),
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
