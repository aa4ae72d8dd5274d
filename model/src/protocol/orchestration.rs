//! A migration as a whole: management moves a device from host to host, and anything may fail.
//!
//! ```text
//!              describe, check, create, read back | stop, save, load, run | destroy the source
//!  management ---------------------------------------------------------------------> host A, host B
//!              every call: done, refused, failed (no effect), or unheard (effect, no answer)
//! ```
//!
//! What a host can make is a release, described as every other implementation is; what is accepted and
//! what is made is asked of [`crate::device_model`], so that no rule of compatibility stands twice
//! ([`universe`]). What management owes is judged by one machine ([`migration`]); programs are data
//! (`specs/device-model/systems.toml`), and so are the programs that leave a step out.
//!
//! **Not here.** What is in saved state, how long anything takes, calls that take effect after they were
//! given up, and hosts that are lost for good: nobody can then tell whether the device there still runs.

pub mod event;
pub mod host;
pub mod manager;
pub mod migration;
pub mod program;
pub mod properties;
pub mod systems;
pub mod universe;

use self::systems::SystemDef;
use self::universe::{ChoiceIds, RawRelease};
use super::definition::{self, SystemList, Systems};
use super::input::Input;
use super::program::Programs;
use super::property;
use super::registration::{Protocol, Section};
use super::size::{BadScale, Scale};
use super::written;
use crate::spec::{Diagnostics, Item, ItemKind, Spec, SpecErrors};
use devmig_engine::clause::ClauseId;
use devmig_engine::explore::Check;
use devmig_engine::rules::Rules;

/// All of whole migrations that is loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What hosts are judged by.
    pub hosts: host::ClauseIds,
    /// What management is judged by.
    pub migration: migration::ClauseIds,
    /// What hosts ask.
    pub readings: ChoiceIds,
    /// The clause behind each property of [`properties::ALL`].
    pub clauses: Vec<Option<ClauseId>>,
    /// The systems.
    pub systems: Systems<SystemDef>,
}

impl Protocol for Loaded {
    fn name() -> &'static str {
        "device-model"
    }

    fn tables() -> Vec<ItemKind> {
        vec![
            ItemKind::of::<RawRelease>("device-model-release"),
            Programs::kind(),
            written::item_kind(),
            definition::kind::<systems::Keys>(),
        ]
    }

    fn words() -> Vec<Section> {
        vec![
            ("Migrations: steps, `run`, `failure`", program::STEPS.to_vec()),
            ("Migrations: what management may do, `then`", program::THEN.to_vec()),
            ("Migrations: properties, `holds`, `violated`", property::words(properties::ALL)),
        ]
    }

    fn load(spec: &Spec, input: &mut Input<'_>, d: &mut Diagnostics) -> Result<Self, SpecErrors> {
        let items = input.items::<RawRelease>("device-model-release", d);
        let items = items.overlaid("release", |raw| &raw.name, d);
        let items: Vec<Item<RawRelease>> = items.into_iter().map(|release| release.item).collect();
        let releases = systems::releases(&items, d);
        let programs = Programs::read(input, Self::name(), d);
        let of = (spec, Self::name(), false);
        let systems = Systems::read(of, properties::ALL, input, d, |common, item, d| {
            systems::compile(&releases, &programs, common, item, d)
        });
        Ok(Loaded {
            hosts: host::ClauseIds::resolve(spec)?,
            migration: migration::ClauseIds::resolve(spec)?,
            readings: ChoiceIds::resolve(spec)?,
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
