//! Everything that is loaded: the specification, the protocols' tables, programs and systems, and
//! a proposal if there is one.
//!
//! ```text
//!  specs/**/*.toml (compiled in) --\
//!                                   >-- Library --> systems, tables, tester, docs
//!  proposal.toml (a file) ---------/
//! ```
//!
//! A proposal is one file: it may add choices, clauses, features, messages, programs and systems,
//! put rows before those of a message, and says what it expects. **Invariant:** a [`Library`] that
//! exists is valid; every problem of every file is reported, with its place.

pub mod catalogue;

use std::sync::Arc;

use serde::Deserialize;

use crate::protocol::orchestration;
use crate::protocol::vfio;
use crate::protocol::vhost_user::bugs::{self, Bug, RawBug};
use crate::protocol::vhost_user::ids::{ChoiceIds, ClauseIds};
use crate::protocol::vhost_user::machine::{Bounds, MAX_RINGS, VhostUser};
use crate::protocol::vhost_user::program::RawProgram;
use crate::protocol::vhost_user::properties;
use crate::protocol::vhost_user::systems::{Builder, RawSystem, SystemDef, compile};
use crate::protocol::vhost_user::table::{
    RawBackEndMessage, RawFeature, RawMessage, SOURCE, Table,
};
use crate::spec::{
    Diagnostics, Item, SourceFile, Spanned, Spec, SpecError, SpecErrors, builtin_files,
    did_you_mean, renamed_or_near, unique, with_help,
};
use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::explore::Check;
use devmig_engine::explore::names::{NON_VACUOUS, OF_EVERY_SYSTEM};
use devmig_engine::rules::Rules;

/// One `[[proposal]]`: what the file is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProposal {
    id: Spanned<String>,
    title: Spanned<String>,
    about: Spanned<String>,
    /// Systems of the base that are checked again under the proposal.
    #[serde(default)]
    systems: Vec<Spanned<String>>,
    /// Choices that it settles.
    #[serde(default)]
    fixes: Vec<Spanned<String>>,
}

/// One `[[expect]]`: under these options, these properties are violated and all others hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpect {
    system: Spanned<String>,
    under: Vec<Spanned<String>>,
    #[serde(default)]
    violated: Vec<Spanned<String>>,
}

/// One `[[decide]]`: a table of choices and properties.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDecide {
    system: Spanned<String>,
    choices: Vec<Spanned<String>>,
}

/// A proposal, resolved.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Its short name.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What it is about.
    pub about: String,
    /// Systems of the base that are checked again.
    pub systems: Vec<String>,
    /// Choices that it settles.
    pub fixes: Vec<(ChoiceId, u8)>,
    /// What it expects.
    pub expects: Vec<Expectation>,
    /// What it expects to become of VFIO's migration states, if it touches them.
    pub states: Option<vfio::lint::Expect>,
}

/// What is expected of a system under some options.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// The system.
    pub system: String,
    /// The options.
    pub under: Vec<(ChoiceId, u8)>,
    /// The names of the properties that are violated; all others hold.
    pub violated: Vec<String>,
}

/// A question that is answered by a table of choices and properties.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The system.
    pub system: String,
    /// The choices, whose options are all tried.
    pub choices: Vec<ChoiceId>,
}

/// All that is loaded.
#[derive(Clone, Debug)]
pub struct Library {
    /// Clauses, choices, documents.
    pub spec: Spec,
    /// The vhost-user messages.
    pub table: Arc<Table>,
    /// The migration states of VFIO.
    pub vfio: Arc<vfio::table::Table>,
    /// The clauses and choices of VFIO's machine.
    pub vfio_names: vfio::names::Names,
    /// The systems of VFIO.
    pub vfio_systems: Vec<vfio::systems::SystemDef>,
    /// The built-in systems about what the proposal takes away, by name.
    pub gone: Vec<String>,
    /// The systems of a whole migration.
    pub migrations: Vec<orchestration::systems::SystemDef>,
    /// The programs, as they were written.
    pub programs: Vec<Item<RawProgram>>,
    /// The systems.
    pub systems: Vec<SystemDef>,
    /// The questions.
    pub decisions: Vec<Decision>,
    /// Mistakes that were made in earnest, each with what notices it.
    pub bugs: Vec<Bug>,
    /// The proposal, if one was loaded.
    pub proposal: Option<Proposal>,
    builder: Builder,
    vfio_builder: vfio::systems::Builder,
    orchestration: orchestration::systems::Builder,
}

#[derive(Default)]
struct Raw {
    features: Vec<Item<RawFeature>>,
    messages: Vec<Item<RawMessage>>,
    back_end: Vec<Item<RawBackEndMessage>>,
    programs: Vec<Item<RawProgram>>,
    systems: Vec<Item<RawSystem>>,
    proposals: Vec<Item<RawProposal>>,
    expects: Vec<Item<RawExpect>>,
    decides: Vec<Item<RawDecide>>,
    bugs: Vec<Item<RawBug>>,
    vfio: vfio::table::Raw,
    vfio_systems: Vec<Item<vfio::systems::RawSystem>>,
    vfio_expects: Vec<Item<vfio::lint::RawExpect>>,
    releases: Vec<Item<orchestration::universe::RawRelease>>,
    migrations: Vec<Item<orchestration::systems::RawSystem>>,
}

impl Raw {
    fn take(&mut self, file: &SourceFile, d: &mut Diagnostics) {
        let mut tables = file.parse(d);
        self.features.extend(tables.items("feature", d));
        self.messages.extend(tables.items("message", d));
        self.back_end.extend(tables.items("back-end-message", d));
        self.programs.extend(tables.items("program", d));
        self.systems.extend(tables.items("system", d));
        self.proposals.extend(tables.items("proposal", d));
        self.expects.extend(tables.items("expect", d));
        self.decides.extend(tables.items("decide", d));
        self.bugs.extend(tables.items("bug", d));
        self.vfio.take(&mut tables, d);
        self.vfio_systems.extend(tables.items("vfio-system", d));
        self.vfio_expects.extend(tables.items("vfio-expect", d));
        self.releases.extend(tables.items("device-model-release", d));
        self.migrations.extend(tables.items("device-model-system", d));
    }
}

impl Library {
    /// What is built in.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn builtin() -> Result<Self, SpecErrors> {
        Self::load(builtin_files(), None)
    }

    /// What is built in, and a proposal: a name for reports, and its text.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn with_proposal(name: &str, text: &str) -> Result<Self, SpecErrors> {
        Self::load(builtin_files(), Some((name.to_owned(), text.to_owned())))
    }

    /// These files (name, text), and a proposal.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn load(
        files: Vec<(String, String)>,
        proposal: Option<(String, String)>,
    ) -> Result<Self, SpecErrors> {
        let all = files.iter().chain(&proposal).cloned().collect();
        let mut d = Diagnostics::default();
        let spec = Spec::read(all, &mut d);
        if !d.complete() {
            // Half a file would only give rise to complaints about what is missing.
            return Err(d.finish(()).err().unwrap_or_else(|| SpecError::new("unreadable").into()));
        }
        let (mut base, mut proposed) = (Raw::default(), Raw::default());
        for (name, text) in files {
            base.take(&SourceFile::new(name, text), &mut d);
        }
        if let Some((name, text)) = &proposal {
            let file = SourceFile::new(name.clone(), text.clone());
            proposed.take(&file, &mut d);
            if proposed.proposals.len() != 1 {
                let message = "a proposal's file has one `[[proposal]]`";
                let label = format!("{} here", proposed.proposals.len());
                d.push(crate::spec::SpecError::at(&file, 0..0, message, label));
            }
        }
        let mut table = Table::default();
        table.add_features(&spec, &base.features, &mut d);
        table.add_features(&spec, &proposed.features, &mut d);
        table.add(&spec, &base.messages, false, &mut d);
        table.add(&spec, &proposed.messages, true, &mut d);
        table.add_back_end(&spec, &base.back_end, &mut d);
        table.add_back_end(&spec, &proposed.back_end, &mut d);
        let mut vfio = vfio::table::Table::default();
        vfio.add(&base.vfio, false, &mut d);
        vfio.add(&proposed.vfio, true, &mut d);
        let programs: Vec<_> = proposed.programs.into_iter().chain(base.programs).collect();
        let items = overlaid("system", base.systems, proposed.systems, |raw| &raw.name, &mut d);
        let systems: Vec<SystemDef> =
            items.iter().map(|item| compile(&spec, &table, &programs, item, &mut d)).collect();
        let (ours, theirs) = (base.vfio_systems, proposed.vfio_systems);
        let vfio_items = overlaid("system", ours, theirs, |raw| &raw.name, &mut d);
        // What a proposal takes away takes the systems with it that are about it.
        let mut gone = Vec::new();
        let vfio_systems: Vec<vfio::systems::SystemDef> = vfio_items
            .iter()
            .filter_map(|item| {
                let mut own = Diagnostics::default();
                let def = vfio::systems::compile(&spec, &vfio, item, &mut own);
                let proposed = proposal.as_ref().is_none_or(|(name, _)| item.file.name() == *name);
                if !proposed && !own.is_empty() {
                    gone.push(def.name);
                    return None;
                }
                d.append(own);
                Some(def)
            })
            .collect();
        let (ours, theirs) = (base.releases, proposed.releases);
        let releases = overlaid("release", ours, theirs, |raw| &raw.name, &mut d);
        let releases = orchestration::systems::releases(&releases, &mut d);
        let (ours, theirs) = (base.migrations, proposed.migrations);
        let migrations = overlaid("system", ours, theirs, |raw| &raw.name, &mut d);
        let migrations: Vec<orchestration::systems::SystemDef> = migrations
            .iter()
            .filter_map(|item| orchestration::systems::compile(&spec, &releases, item, &mut d))
            .collect();
        let names = systems.iter().map(|def| &def.name);
        let names = names.chain(vfio_systems.iter().map(|def| &def.name));
        let names = names.chain(migrations.iter().map(|def| &def.name));
        let names: Vec<String> = names.cloned().collect();
        let about = |item: &&Item<RawDecide>| !gone.contains(item.value.system.get_ref());
        let decides = base.decides.iter().filter(about).chain(&proposed.decides);
        let decisions = decides.map(|item| decision(&spec, &names, item, &mut d)).collect();
        let proposal = proposed.proposals.first().map(|item| {
            let mut p = resolve(&spec, &names, item, &mut d);
            p.expects = proposed
                .expects
                .iter()
                .map(|item| expectation(&spec, &names, item, &mut d))
                .collect();
            p.states = (!proposed.vfio.is_empty()).then(|| {
                let expect = proposed.vfio_expects.first();
                expect.map(|item| item.value.plain()).unwrap_or_default()
            });
            p
        });
        unique("bug", &base.bugs, |raw| &raw.id, usize::MAX, &mut d);
        let bugs = base.bugs.iter();
        let bugs = bugs
            .filter_map(|item| bugs::compile(&spec, &table, &programs, &systems, item, &mut d))
            .collect();
        let d = d.finish(());
        d?;
        let clauses = properties::ALL
            .iter()
            .map(|(_, clause, _)| (!clause.is_empty()).then(|| spec.clause(clause)).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let (table, vfio) = (Arc::new(table), Arc::new(vfio));
        let builder = Builder {
            table: Arc::clone(&table),
            laws: ClauseIds::resolve(&spec)?,
            readings: ChoiceIds::resolve(&spec)?,
            clauses,
        };
        let vfio_names = vfio::names::Names::resolve(&spec)?;
        let clauses = vfio::properties::ALL
            .iter()
            .map(|(_, clause, _)| (!clause.is_empty()).then(|| spec.clause(clause)).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let vfio_builder =
            vfio::systems::Builder { table: Arc::clone(&vfio), names: vfio_names, clauses };
        let orchestration = orchestration::systems::Builder::resolve(&spec)?;
        Ok(Library {
            spec,
            table,
            vfio,
            vfio_names,
            vfio_systems,
            gone,
            vfio_builder,
            migrations,
            orchestration,
            programs,
            systems,
            decisions,
            bugs,
            proposal,
            builder,
        })
    }

    /// The builder of vhost-user systems.
    #[must_use]
    pub fn vhost_user(&self) -> &Builder {
        &self.builder
    }

    /// The machine that a tester judges by: the protocol's own limits, and nothing assumed of what
    /// the back-end offers.
    #[must_use]
    pub fn tester(&self) -> VhostUser<MAX_RINGS> {
        let bounds = Bounds { requests: 64, ..Bounds::default() };
        let Builder { laws, readings, .. } = self.builder;
        VhostUser { table: Arc::clone(&self.table), laws, readings, bounds }
    }

    /// The same for judging by one version of the text: messages and features that came later are
    /// unknown there.
    ///
    /// # Errors
    /// If there is no such version: names the nearest.
    pub fn by_text(mut self, version: &str) -> Result<Self, SpecError> {
        let (_, version) = self.spec.version(SOURCE, version)?;
        self.table = Arc::new(self.table.by_text(version));
        self.builder.table = Arc::clone(&self.table);
        Ok(self)
    }

    /// How VFIO's combination transitions are read: by default, or as a proposal settles it.
    #[must_use]
    pub fn vfio_reading(&self) -> vfio::path::Reading {
        let defaults = self.spec.defaults();
        let fixes = self.proposal.iter().flat_map(|p| &p.fixes);
        let choices = fixes.fold(defaults, |all, (choice, option)| all.with(*choice, *option));
        self.vfio_names.reading(&choices)
    }

    /// What its proposal does to the migration states, against those of the base.
    #[must_use]
    pub fn vfio_lint(&self, base: &Library) -> vfio::lint::Lint {
        vfio::lint::lint(&base.vfio, &self.vfio, self.vfio_reading())
    }

    /// The definition of a system.
    #[must_use]
    pub fn system(&self, name: &str) -> Option<&SystemDef> {
        self.systems.iter().find(|def| def.name == name)
    }

    /// The rules of a system: defaults, then what the proposal settles, then what it fixes or
    /// switches off itself.
    #[must_use]
    pub fn rules(&self, def: &SystemDef) -> Rules {
        self.rules_with(&def.choices, &def.without)
    }

    /// The same of a system of VFIO.
    #[must_use]
    pub fn vfio_rules(&self, def: &vfio::systems::SystemDef) -> Rules {
        self.rules_with(&def.choices, &def.without)
    }

    /// The same of a system of a whole migration.
    #[must_use]
    pub fn migration_rules(&self, def: &orchestration::systems::SystemDef) -> Rules {
        self.rules_with(&def.choices, &def.without)
    }

    /// The builder of systems of a whole migration.
    #[must_use]
    pub fn orchestration(&self) -> &orchestration::systems::Builder {
        &self.orchestration
    }

    /// The builder of VFIO systems.
    #[must_use]
    pub fn vfio(&self) -> &vfio::systems::Builder {
        &self.vfio_builder
    }

    /// The machine that a tester of VFIO judges by, for a device with these features; whether data
    /// passes through descriptors depends on the transport.
    #[must_use]
    pub fn vfio_tester(&self, flags: u64, descriptors: bool) -> vfio::machine::Device {
        let table = Arc::clone(&self.vfio);
        vfio::machine::Device::tester(table, self.vfio_names, flags, descriptors)
    }

    fn rules_with(&self, choices: &[(ChoiceId, u8)], without: &[ClauseId]) -> Rules {
        let fixes = self.proposal.iter().flat_map(|p| &p.fixes);
        let defaults = Rules { choices: self.spec.defaults(), ..Rules::default() };
        let settled =
            fixes.fold(defaults, |rules, (choice, option)| rules.fixing(*choice, *option));
        let fixed =
            choices.iter().fold(settled, |rules, (choice, option)| rules.fixing(*choice, *option));
        without.iter().fold(fixed, |rules, clause| rules.without(*clause))
    }

    /// The system under its own rules.
    #[must_use]
    pub fn check(&self, def: &SystemDef) -> Box<dyn Check> {
        self.builder.build(def, self.rules(def))
    }

    /// The system of a bug, with it.
    #[must_use]
    pub fn check_bug(&self, bug: &Bug) -> Box<dyn Check> {
        let builder = Builder { table: Arc::clone(&bug.table), ..self.builder.clone() };
        builder.build(&bug.def, self.rules(&bug.def))
    }

    /// The system with some choices fixed otherwise.
    #[must_use]
    pub fn check_under(&self, def: &SystemDef, options: &[(ChoiceId, u8)]) -> Box<dyn Check> {
        let rules = options.iter().fold(self.rules(def), |rules, (c, o)| rules.fixing(*c, *o));
        self.builder.build(def, rules)
    }
}

/// A proposal's item takes the place of the base's of its name.
fn overlaid<T>(
    what: &str,
    mut base: Vec<Item<T>>,
    proposed: Vec<Item<T>>,
    name: impl Fn(&T) -> &Spanned<String>,
    d: &mut Diagnostics,
) -> Vec<Item<T>> {
    unique(what, &base, &name, usize::MAX, d);
    unique(what, &proposed, &name, usize::MAX, d);
    for item in proposed {
        let own = name(&item.value).get_ref();
        match base.iter_mut().find(|known| name(&known.value).get_ref() == own) {
            Some(replaced) => *replaced = item,
            None => base.push(item),
        }
    }
    base
}

/// The system's name, if there is one of that name.
fn known<T>(
    systems: &[String],
    item: &Item<T>,
    name: &Spanned<String>,
    d: &mut Diagnostics,
) -> String {
    if !systems.contains(name.get_ref()) {
        let message = format!("no system is called `{}`", name.get_ref());
        let error = item.error(name.span(), message, "unknown system");
        let names = systems.iter().map(String::as_str);
        d.push(with_help(error, did_you_mean(name.get_ref(), names)));
    }
    name.get_ref().clone()
}

fn resolve(
    spec: &Spec,
    systems: &[String],
    item: &Item<RawProposal>,
    d: &mut Diagnostics,
) -> Proposal {
    let raw = &item.value;
    Proposal {
        id: raw.id.get_ref().clone(),
        title: raw.title.get_ref().clone(),
        about: raw.about.get_ref().clone(),
        systems: raw.systems.iter().map(|name| known(systems, item, name, d)).collect(),
        fixes: raw.fixes.iter().filter_map(|pin| spec.pin_at(item, pin, d)).collect(),
        expects: Vec::new(),
        states: None,
    }
}

fn expectation(
    spec: &Spec,
    systems: &[String],
    item: &Item<RawExpect>,
    d: &mut Diagnostics,
) -> Expectation {
    let raw = &item.value;
    let system = known(systems, item, &raw.system, d);
    for name in &raw.violated {
        let known = properties::ALL.iter().map(|(known, ..)| *known);
        let known = known.chain(vfio::properties::ALL.iter().map(|(known, ..)| *known));
        let known = known.chain(orchestration::properties::ALL.iter().map(|(known, ..)| *known));
        let known = known.chain(OF_EVERY_SYSTEM);
        // A vacuity check may be violated too: the antecedent of its `always` never occurs.
        let own = name.get_ref().strip_suffix(NON_VACUOUS).unwrap_or(name.get_ref());
        if !known.clone().any(|known| known == own) {
            let message = format!("no property is called `{}`", name.get_ref());
            let error = item.error(name.span(), message, "unknown property");
            d.push(with_help(error, renamed_or_near(name.get_ref(), known)));
        }
    }
    Expectation {
        system,
        under: raw.under.iter().filter_map(|pin| spec.pin_at(item, pin, d)).collect(),
        violated: raw.violated.iter().map(|name| name.get_ref().clone()).collect(),
    }
}

fn decision(
    spec: &Spec,
    systems: &[String],
    item: &Item<RawDecide>,
    d: &mut Diagnostics,
) -> Decision {
    let raw = &item.value;
    Decision {
        system: known(systems, item, &raw.system, d),
        choices: raw.choices.iter().filter_map(|id| spec.choice_at(item, id, d)).collect(),
    }
}
