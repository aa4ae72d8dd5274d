//! Systems of a hand-over: the programs of two VMMs and of a management layer, as data.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Loaded;
use super::event::{Actor, ENVIRONMENT, Message};
use super::program::{Code, Runner};
use super::properties::{self, Facts, Parts};
use super::world::{Phase, World};
use crate::protocol::assembly;
use crate::protocol::definition::{Common, Definition, RawSystem};
use crate::protocol::program::Programs;
use crate::protocol::registration::Protocol;
use crate::protocol::size::{Bound, Size};
use crate::spec::{Diagnostics, Item, Spanned};
use devmig_engine::rules::Rules;
use devmig_engine::system;
use devmig_engine::system::System;

/// A system of a hand-over: no queue of the engine's.
pub type HandOver = system!(Parts);

/// The last steps of a migration, with a fault at any of them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Program of the source.
    source: Spanned<String>,
    /// Program of the destination.
    destination: Spanned<String>,
    /// Program of the management layer, if there is one.
    management: Option<Spanned<String>>,
    /// The VM has disks, which are locked.
    #[serde(default)]
    disks: bool,
    /// The VM was paused before the migration.
    #[serde(default)]
    paused: bool,
    /// A failed hand-over is tried once more.
    #[serde(default)]
    twice: bool,
}

/// A system, resolved.
#[derive(Clone, Debug)]
pub struct SystemDef {
    /// What every system says.
    pub common: Common,
    /// The programs by [`Actor`].
    pub code: [Code; 3],
    /// The VM has disks, which are locked.
    pub disks: bool,
    /// The VM was paused before the migration.
    pub paused: bool,
    /// A failed hand-over is tried once more.
    pub twice: bool,
}

/// How many faults happen at most. One: a second one at the right moment defeats every program.
const FAULTS: u8 = 1;

impl Definition for SystemDef {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bounds(&self) -> Vec<Bound> {
        Vec::new()
    }

    fn scaled(&self, _: &Size) -> Self {
        self.clone()
    }
}

/// Resolves the keys of one item.
pub fn compile(
    programs: &Programs,
    common: Common,
    item: &Item<RawSystem<Keys>>,
    d: &mut Diagnostics,
) -> SystemDef {
    let raw = &item.value.1;
    let mut code = |name: &Spanned<String>| Code::compile(programs, item, name, d);
    SystemDef {
        common,
        code: [
            code(&raw.source),
            code(&raw.destination),
            raw.management.as_ref().map(code).unwrap_or_default(),
        ],
        disks: raw.disks,
        paused: raw.paused,
        twice: raw.twice,
    }
}

impl SystemDef {
    /// Whether it has a management layer.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        self.code[Actor::Management as usize] != Code::default()
    }

    /// What properties have to know.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let go = self.code.iter().any(|code| code.sends(Message::Go));
        let commit = if go { Phase::GoSent } else { Phase::Sent };
        Facts { disks: self.disks, paused: self.paused, commit }
    }

    /// Whether it is a row of the table: one attempt with a VM that runs.
    #[must_use]
    pub fn is_in_table(&self) -> bool {
        !self.paused && !self.twice
    }
}

impl Loaded {
    /// The system under these rules.
    #[must_use]
    pub fn system(&self, def: &SystemDef, rules: Rules) -> HandOver {
        let SystemDef { disks, paused, twice, .. } = *def;
        let laws = self.laws;
        let managed = def.is_managed();
        let world = World { laws, disks, paused, managed, faults: FAULTS, twice };
        let runner =
            |actor: Actor| Runner { actor, code: def.code[actor as usize].clone(), paused };
        let [source, destination, management] = Actor::ALL.map(runner);
        let (facts, machine) = (def.facts(), (world, source, destination, management));
        let known = (properties::ALL, &self.clauses[..], &facts);
        let system = assembly::system(&def.common, Self::name(), known, (machine, rules));
        System { environment: vec![ENVIRONMENT], ..system }
    }
}
