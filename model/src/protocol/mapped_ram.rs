//! mapped-ram: a migration to a file in which each page has a place. The destination reads it later.
//!
//! ```text
//!   guest --writes--> source: main thread --jobs--> a thread a channel ==pages==> file --> destination
//!                             main thread ===header=====bitmap=====end==========>  file
//! ```
//!
//! There is no packet, no SYNC and no mark: a synchronisation is a local wait until every write has ended. And
//! there is no return path. What the guest writes during a round is sent in the next, to the same place, so two
//! writes of one page must not be under way at the same time. A page of zeroes is not written: its bit in the
//! bitmap is clear, and the file may hold something else at its place.
//!
//! | file | holds |
//! |---|---|
//! | `event.rs` | what happens |
//! | `rules.rs` | what a source may write when |
//! | `source.rs` | the main thread with its program, and a thread for each channel; the guest |
//! | `file.rs` | the file, and the destination that reads it |
//! | `properties.rs`, `systems.rs` | what is expected, and the systems as data |
//!
//! **Not here.** Bytes (`conformance/src/multifd/mapped_ram.rs` judges a real file), several blocks, devices.

pub mod event;
pub mod file;
pub mod properties;
pub mod rules;
pub mod source;
pub mod systems;

use self::rules::ClauseIds;
use self::systems::SystemDef;
use super::definition::{self, SystemList, Systems};
use super::input::Input;
use super::multifd::switches;
use super::program::Programs;
use super::property;
use super::registration::{Protocol, Section};
use super::size::{BadScale, Scale};
use super::written;
use crate::spec::{Diagnostics, ItemKind, Spec, SpecErrors};
use devmig_engine::clause::ClauseId;
use devmig_engine::explore::Check;
use devmig_engine::rules::Rules;

/// The most channels of a system.
pub const CHANNELS: usize = 3;
/// The most pages.
pub const PAGES: usize = 2;

/// All of mapped-ram that is loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the rules judge.
    pub laws: ClauseIds,
    /// The clause behind each property of [`properties::ALL`].
    pub clauses: Vec<Option<ClauseId>>,
    /// The systems.
    pub systems: Systems<SystemDef>,
}

impl Protocol for Loaded {
    fn name() -> &'static str {
        "mapped-ram"
    }

    fn tables() -> Vec<ItemKind> {
        vec![Programs::kind(), written::item_kind(), definition::kind::<systems::Keys>()]
    }

    fn words() -> Vec<Section> {
        vec![
            (
                "mapped-ram: steps of the source's main thread, `run`, `steps`",
                source::STEPS.iter().map(|(name, says, _)| (*name, *says)).collect(),
            ),
            ("mapped-ram: how a source differs, `source`", switches(source::MANNERS)),
            ("mapped-ram: how a destination differs, `destination`", switches(file::MANNERS)),
            ("mapped-ram: properties, `holds`, `violated`", property::words(properties::ALL)),
        ]
    }

    fn load(spec: &Spec, input: &mut Input<'_>, d: &mut Diagnostics) -> Result<Self, SpecErrors> {
        let programs = Programs::read(input, Self::name(), d);
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
