//! VFIO migration, version 2: a device, its migration states, and the client that moves it.
//!
//! ```text
//!            SET RUNNING ... SET STOP                       SET RESUMING ... SET STOP
//!  client  ------------------------------->  device  ------------------------------->
//!            Read, Info, Log start/report              Write
//! ```
//!
//! The table of states and arcs is data (`specs/vfio/states.toml`); what a SET does follows from it:
//! [`path`] finds the arcs, the attributes of their ends say what each brings about.

pub mod client;
pub mod event;
pub mod lint;
pub mod machine;
pub mod names;
pub mod path;
pub mod properties;
pub mod state;
pub mod systems;
pub mod table;

use std::sync::Arc;

use self::lint::{Expect, Lint, RawExpect};
use self::machine::Device;
use self::names::Names;
use self::path::Reading;
use self::systems::SystemDef;
use self::table::{RawArc, RawFeature, RawPair, RawState, Table};
use super::definition::{self, SystemList, Systems};
use super::input::Input;
use super::program::Programs;
use super::property;
use super::registration::{Protocol, Section};
use super::size::{BadScale, Scale};
use super::written;
use crate::spec::{Diagnostics, ItemKind, Spec, SpecErrors, Within};
use devmig_engine::clause::ClauseId;
use devmig_engine::explore::Check;
use devmig_engine::rules::{Choices, Rules};

/// All of VFIO that is loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The states and arcs.
    pub table: Arc<Table>,
    /// What the machine judges and asks.
    pub names: Names,
    /// The clause behind each property of [`properties::ALL`].
    pub clauses: Vec<Option<ClauseId>>,
    /// The systems.
    pub systems: Systems<SystemDef>,
    /// What the proposal expects to become of the states and arcs, if it touches them.
    pub expect: Option<Expect>,
}

impl Loaded {
    /// The machine that a tester judges by, for a device with these features; whether data passes
    /// through descriptors depends on the transport.
    #[must_use]
    pub fn tester(&self, flags: u64, descriptors: bool) -> Device {
        Device::tester(Arc::clone(&self.table), self.names, flags, descriptors)
    }

    /// How combination transitions are read, if that is fixed; else as the kernel does.
    #[must_use]
    pub fn reading(&self, choices: &Choices) -> Reading {
        self.names.reading(choices)
    }

    /// What a proposal does to the migration states, against those of the base.
    #[must_use]
    pub fn lint(&self, base: &Self, reading: Reading) -> Lint {
        lint::lint(&base.table, &self.table, reading)
    }
}

impl Protocol for Loaded {
    fn name() -> &'static str {
        "vfio"
    }

    fn tables() -> Vec<ItemKind> {
        vec![
            ItemKind::of::<RawFeature>("vfio-feature"),
            ItemKind::of::<RawState>("vfio-state"),
            ItemKind::of::<RawArc>("vfio-arc"),
            ItemKind::of::<RawPair>("vfio-pair"),
            ItemKind::of::<RawExpect>("vfio-expect").within(Within::Proposals),
            Programs::kind(),
            written::item_kind(),
            definition::kind::<systems::Keys>(),
        ]
    }

    fn words() -> Vec<Section> {
        vec![
            ("VFIO: steps, `run`", client::STEPS.to_vec()),
            ("VFIO: what a client may do, `then`", client::THEN.to_vec()),
            ("VFIO: properties, `holds`, `violated`", property::words(properties::ALL)),
        ]
    }

    fn load(spec: &Spec, input: &mut Input<'_>, d: &mut Diagnostics) -> Result<Self, SpecErrors> {
        let features = input.items::<RawFeature>("vfio-feature", d);
        let states = input.items::<RawState>("vfio-state", d);
        let arcs = input.items::<RawArc>("vfio-arc", d);
        let pairs = input.items::<RawPair>("vfio-pair", d);
        let mut table = Table::default();
        table.add((&features.base, &states.base, &arcs.base, &pairs.base), false, d);
        let proposed = (&features.proposed, &states.proposed, &arcs.proposed, &pairs.proposed);
        table.add((&proposed.0[..], proposed.1, proposed.2, proposed.3), true, d);
        let (f, s, a, p) = proposed;
        let table = Arc::new(table);
        input.keep(&table);
        let touched = !(f.is_empty() && s.is_empty() && a.is_empty() && p.is_empty());
        let expect = input.items::<RawExpect>("vfio-expect", d);
        let expect = lint::expected(&expect, touched, d);
        let programs = Programs::read(input, Self::name(), d);
        let of = (spec, Self::name(), touched);
        let systems = Systems::read(of, properties::ALL, input, d, |common, item, d| {
            Some(systems::compile(&table, &programs, common, item, d))
        });
        Ok(Loaded {
            table,
            names: Names::resolve(spec)?,
            clauses: property::clauses(spec, properties::ALL)?,
            systems,
            expect,
        })
    }

    fn additions(&self, base: &Self) -> Vec<(&'static str, Vec<String>)> {
        let (new, old) = (&self.table, &base.table);
        let features = new.features.iter().filter(|feature| feature.proposed);
        let states = new.states.iter().filter(|state| state.proposed);
        let states_gone = old.states.iter().filter(|state| new.named(&state.name).is_none());
        let arc = |from, to| format!("{} to {}", new.name(from), new.name(to));
        let arcs = new.arcs.iter().filter(|arc| arc.proposed);
        let kept = |from, to| new.arcs.iter().any(|arc| (arc.from, arc.to) == (from, to));
        let arcs_gone = old.arcs.iter().filter(|arc| !kept(arc.from, arc.to));
        vec![
            ("features", features.map(|f| format!("{} (bit {})", f.name, f.bit)).collect()),
            ("states", states.map(|state| state.name.clone()).collect()),
            ("states gone", states_gone.map(|state| state.name.clone()).collect()),
            ("arcs", arcs.map(|a| arc(a.from, a.to)).collect()),
            ("arcs gone", arcs_gone.map(|a| arc(a.from, a.to)).collect()),
        ]
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
