//! Mistakes that real implementations made, as mutants of the model: each is one system with one
//! thing wrong, and the properties that notice.
//!
//! ```text
//!  bugs.toml: system + (without | choices | run | patch) --compile--> Bug { def, table, caught }
//! ```
//!
//! **Invariant.** A bug that nothing notices cannot be written down: `caught` is never empty.

use std::sync::Arc;

use devmig_engine::explore::names::OF_EVERY_SYSTEM;
use schemars::JsonSchema;
use serde::Deserialize;

use super::program::Compiler;
use super::properties;
use super::systems::SystemDef;
use super::table::{RawPatch, Table};
use crate::protocol::definition::{Definition, SystemList, Systems};
use crate::protocol::input::Overlaid;
use crate::protocol::program::Programs;
use crate::protocol::registration;
use crate::spec::{Diagnostics, Spanned, Spec, did_you_mean, renamed_or_near, with_help};

/// A bug of a real implementation, as a mutant of a system.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawBug {
    /// Its short name.
    pub id: Spanned<String>,
    /// Where it was reported.
    seen: Spanned<String>,
    /// What went wrong.
    about: Spanned<String>,
    /// The system to which it is applied, whose verdicts are as expected without it.
    system: Spanned<String>,
    /// Ids of clauses that are not kept.
    #[serde(default)]
    without: Vec<Spanned<String>>,
    /// Choices that it fixes, each as `CHOICE = OPTION`.
    #[serde(default)]
    choices: Vec<Spanned<String>>,
    /// Steps of the front-end, if the bug is in the front-end; default: those of the system.
    run: Option<Vec<Spanned<String>>>,
    /// Rows that go before those of messages, if the bug is in the back-end.
    #[serde(default)]
    patch: Vec<RawPatch>,
    /// The properties that detect it, and no others.
    caught: Vec<Spanned<String>>,
}

/// A bug, resolved.
#[derive(Clone, Debug)]
pub struct Bug {
    /// Its short name.
    pub id: String,
    /// Where it was reported.
    pub seen: String,
    /// What went wrong.
    pub about: String,
    /// The system without it.
    pub system: String,
    /// The system with it, named `bug/ID`.
    pub def: SystemDef,
    /// The messages with it.
    pub table: Arc<Table>,
    /// The properties that notice.
    pub caught: Vec<String>,
    /// Whether a proposal brings it.
    pub proposed: bool,
}

impl Bug {
    /// As every protocol's are shown.
    #[must_use]
    pub fn shown(&self) -> registration::Bug<'_> {
        registration::Bug {
            id: &self.id,
            seen: &self.seen,
            about: &self.about,
            system: &self.system,
            caught: &self.caught,
            proposed: self.proposed,
            definition: &self.def,
        }
    }
}

/// Resolves one item; `None` if its system is unknown.
pub fn compile(
    spec: &Spec,
    table: &Table,
    programs: &Programs,
    systems: &Systems<SystemDef>,
    Overlaid { item, proposed }: &Overlaid<RawBug>,
    d: &mut Diagnostics,
) -> Option<Bug> {
    let raw = &item.value;
    let name = raw.system.get_ref();
    let Some(base) = systems.named(name) else {
        let message = format!("no system is called `{name}`");
        let error = item.error(raw.system.span(), message, "unknown system");
        let names = systems.iter().map(Definition::name);
        d.push(with_help(error, did_you_mean(name, names)));
        return None;
    };
    let mut def = base.clone();
    def.common.name = format!("bug/{}", raw.id.get_ref());
    def.common.about.clone_from(raw.about.get_ref());
    def.common.choices.extend(spec.pins_at(item, &raw.choices, d));
    def.common.without.extend(raw.without.iter().filter_map(|id| spec.clause_at(item, id, d)));
    if let Some(run) = &raw.run {
        def.steps = Compiler { table, programs, rings: def.rings }.steps(item, run, d);
    }
    if raw.caught.is_empty() {
        d.push(item.error(
            raw.id.span(),
            "no property detects this bug",
            "name the properties that detect it",
        ));
    }
    for name in &raw.caught {
        let known = properties::ALL.iter().map(|known| known.name);
        let written = systems.written().iter().map(|written| written.name.as_str());
        let known = known.chain(written).chain(OF_EVERY_SYSTEM);
        if !known.clone().any(|known| known == name.get_ref()) {
            let message = format!("no property is called `{}`", name.get_ref());
            let error = item.error(name.span(), message, "unknown property");
            d.push(with_help(error, renamed_or_near(name.get_ref(), known)));
        }
    }
    Some(Bug {
        id: raw.id.get_ref().clone(),
        seen: raw.seen.get_ref().clone(),
        about: raw.about.get_ref().clone(),
        system: name.clone(),
        def,
        table: Arc::new(table.patched(spec, item, &raw.patch, d)),
        caught: raw.caught.iter().map(|name| name.get_ref().clone()).collect(),
        proposed: *proposed,
    })
}
