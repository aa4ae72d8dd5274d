//! vhost-user: the protocol between a front-end (a VMM) and a back-end (the process that serves a
//! virtio device).
//!
//! ```text
//!  specs/vhost-user/messages.toml --> table ---\
//!  vocabulary (words of the table) ------------>  machine --- judged by every use
//!  event, state -------------------------------/     |
//!  wire (bytes <-> meaning)                           |
//!  program, front_end, guest --- systems, properties -+-- explored
//! ```

mod back_end_channel;
pub mod bugs;
pub mod event;
pub mod form;
pub mod front_end;
pub mod guest;
pub mod ids;
pub mod image;
pub mod machine;
pub mod mapped;
pub mod monitor;
pub mod number;
pub mod program;
pub mod properties;
pub mod state;
pub mod systems;
pub mod table;
mod unreachable;
pub mod vocabulary;
pub mod wire;

use std::sync::Arc;

use self::bugs::RawBug;
use self::ids::{ChoiceIds, ClauseIds};
use self::machine::{Bounds, MAX_RINGS, VhostUser};
use self::program::{Compiler, STEPS, Step};
use self::systems::SystemDef;
use self::table::{RawBackEndMessage, RawFeature, RawMessage, SOURCE, Table};
use self::vocabulary::{Answer, Effect, Guard, Word};
use super::definition::{self, SystemList, Systems};
use super::input::Input;
use super::program::Programs;
use super::property;
use super::registration::{Bug, Protocol, Section};
use super::size::{BadScale, Scale};
use super::written;
use crate::spec::{Diagnostics, ItemKind, Spec, SpecErrors};
use devmig_engine::clause::ClauseId;
use devmig_engine::explore::Check;
use devmig_engine::rules::Rules;

/// All of vhost-user that is loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The messages.
    pub table: Arc<Table>,
    /// What the machine judges.
    pub laws: ClauseIds,
    /// What it asks.
    pub readings: ChoiceIds,
    /// The clause behind each property of [`properties::ALL`].
    pub clauses: Vec<Option<ClauseId>>,
    /// The programs, as they were written.
    pub programs: Programs,
    /// The systems.
    pub systems: Systems<SystemDef>,
    /// Mistakes that were made in earnest, each with what notices it.
    pub bugs: Vec<bugs::Bug>,
}

impl Loaded {
    /// The machine that a tester judges by: the protocol's own limits, and nothing assumed of what
    /// the back-end offers.
    #[must_use]
    pub fn tester(&self) -> VhostUser<MAX_RINGS> {
        let bounds = Bounds { requests: 64, ..Bounds::default() };
        let (laws, readings) = (self.laws, self.readings);
        VhostUser { table: Arc::clone(&self.table), laws, readings, bounds }
    }
}

/// The most rings of a system whose programs are known by name in a trace.
const MOST_RINGS: u8 = 3;

impl Protocol for Loaded {
    fn name() -> &'static str {
        "vhost-user"
    }

    fn tables() -> Vec<ItemKind> {
        vec![
            ItemKind::of::<RawFeature>("feature"),
            ItemKind::of::<RawMessage>("message"),
            ItemKind::of::<RawBackEndMessage>("back-end-message"),
            Programs::kind(),
            written::item_kind(),
            definition::kind::<systems::Keys>(),
            ItemKind::of::<RawBug>("bug"),
        ]
    }

    fn words() -> Vec<Section> {
        fn of<W: Word>() -> Vec<(&'static str, &'static str)> {
            W::ALL.iter().map(|(name, meaning, _)| (*name, *meaning)).collect()
        }
        vec![
            ("Guards: `when`, `ready` (`not WORD` negates)", of::<Guard>()),
            ("Effects: `receive`, `reply`", of::<Effect>()),
            ("Answers: `answer`", of::<Answer>()),
            ("Steps: `run`, `steps`", STEPS.to_vec()),
            ("Properties: `holds`, `violated`", property::words(properties::ALL)),
        ]
    }

    fn load(spec: &Spec, input: &mut Input<'_>, d: &mut Diagnostics) -> Result<Self, SpecErrors> {
        let features = input.items::<RawFeature>("feature", d);
        let messages = input.items::<RawMessage>("message", d);
        let back_end = input.items::<RawBackEndMessage>("back-end-message", d);
        let mut table = Table::default();
        table.add_features(spec, &features.base, d);
        table.add_features(spec, &features.proposed, d);
        table.add(spec, &messages.base, false, d);
        table.add(spec, &messages.proposed, true, d);
        table.add_back_end(spec, &back_end.base, d);
        table.add_back_end(spec, &back_end.proposed, d);
        let programs = Programs::read(input, Self::name(), d);
        let of = (spec, Self::name(), false);
        let systems = Systems::read(of, properties::ALL, input, d, |common, item, d| {
            Some(systems::compile((spec, &table, &programs), common, item, d))
        });
        let items = input.items_of::<RawBug>("bug", Self::name(), d);
        let items = items.overlaid("bug", |raw| &raw.id, d);
        let compiled =
            items.iter().filter_map(|i| bugs::compile(spec, &table, &programs, &systems, i, d));
        let bugs = compiled.collect();
        Ok(Loaded {
            table: Arc::new(table),
            laws: ClauseIds::resolve(spec)?,
            readings: ChoiceIds::resolve(spec)?,
            clauses: property::clauses(spec, properties::ALL)?,
            programs,
            systems,
            bugs,
        })
    }

    fn additions(&self, base: &Self) -> Vec<(&'static str, Vec<String>)> {
        let features = self.table.features.iter().skip(base.table.features.len());
        let messages = self.table.messages.iter();
        let new = messages.clone().filter(|message| message.proposed);
        let patched = messages.filter(|message| !message.proposed).filter_map(|message| {
            let rows = message.rows.iter().filter(|row| row.proposed).count();
            let plural = if rows == 1 { "" } else { "s" };
            (rows > 0).then(|| format!("{} ({rows} row{plural} first)", message.name))
        });
        let own = self.table.back_end.iter().skip(base.table.back_end.len());
        vec![
            ("features", features.map(|f| format!("{} (bit {})", f.name, f.bit)).collect()),
            ("messages", new.map(|m| format!("{} ({})", m.name, m.id)).collect()),
            ("patches", patched.collect()),
            ("back-end's", own.map(|m| format!("{} ({})", m.name, m.id)).collect()),
        ]
    }

    fn by_text(&self, spec: &Spec, source: usize, version: usize) -> Option<Self> {
        let ours = spec.sources().get(source).is_some_and(|source| source.id == SOURCE);
        ours.then(|| Loaded { table: Arc::new(self.table.by_text(version)), ..self.clone() })
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
        Ok(def.map(|def| self.check(&def, rules)))
    }

    fn programs(&self) -> Vec<(String, Vec<String>)> {
        let named = self.programs.names().map(str::to_owned);
        let all = named.flat_map(|name| (1..=MOST_RINGS).map(move |rings| (name.clone(), rings)));
        all.filter_map(|(name, rings)| {
            let compiler = Compiler { table: &self.table, programs: &self.programs, rings };
            let steps = compiler.run(&name)?;
            let sent = steps.iter().filter_map(|step| match step {
                Step::Send { id, .. } => self.table.messages.get(id.0 as usize),
                _ => None,
            });
            let sent = sent.map(|message| message.name.clone()).collect();
            // How often such a step sends its message, no program says.
            let known = !steps.iter().any(|step| matches!(step, Step::Until { .. }));
            known.then_some((name, sent))
        })
        .collect()
    }

    fn properties(&self) -> Vec<&'static str> {
        property::names(properties::ALL)
    }

    fn bugs(&self) -> Vec<Bug<'_>> {
        self.bugs.iter().map(bugs::Bug::shown).collect()
    }

    fn build_bug(&self, id: &str, rules: Rules) -> Option<Box<dyn Check>> {
        let bug = self.bugs.iter().find(|bug| bug.id == id)?;
        let with = Loaded { table: Arc::clone(&bug.table), ..self.clone() };
        Some(with.check(&bug.def, rules))
    }
}
