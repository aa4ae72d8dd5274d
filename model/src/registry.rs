//! Everything that is loaded: the specification, every registered protocol, and a proposal if there
//! is one.
//!
//! ```text
//!  specs/**/*.toml (compiled in) --\
//!                                   >-- Library --> systems, tables, tester, docs
//!  proposal.toml (a file) ---------/
//! ```
//!
//! A proposal is one file: it may add choices, clauses, tables, programs and systems of every
//! protocol, put rows before those of a message, and says what it expects. **Invariants:** a
//! [`Library`] that exists is valid; every problem of every file is reported, with its place. No item
//! of a file is accepted and then ignored. A name stands for one system.

pub mod described;
mod lint;
pub mod schema;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use self::described::{CompatExpectation, RawCompatExpect, RawSchemeExpect, SchemeExpectation};
use crate::protocol::definition::Definition;
use crate::protocol::input::{self, Input, Read};
use crate::protocol::registration::{Bug, Protocol, SHARED, Section};
use crate::protocol::size::{BadScale, Bound, Scale, Speaks};
use crate::protocol::{
    barrier, example, hand_over, mapped_ram, migration, multifd, orchestration, ring, transfer,
    vdpa, vfio, vhost_user, written,
};
use crate::spec::traceability;
use crate::spec::{
    self, Diagnostics, Item, ItemKind, SourceFile, Spanned, Spec, SpecError, SpecErrors, Tables,
    Within, WrittenItem, builtin_files, did_you_mean, renamed_or_near, with_help,
};
use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::explore::Check;
use devmig_engine::explore::names::{NON_VACUOUS, OF_EVERY_SYSTEM};
use devmig_engine::rules::{Choices, Rules};

/// Registers protocols: a field of [`Protocols`] for each, in the order in which systems are listed.
macro_rules! registered {
    ($($(#[$meta:meta])* $field:ident: $protocol:ty,)*) => {
        /// Every registered protocol, loaded.
        #[derive(Clone, Debug)]
        struct Protocols {
            $($field: Arc<$protocol>,)*
        }

        impl Protocols {
            fn load(
                spec: &Spec,
                input: &mut Input<'_>,
                d: &mut Diagnostics,
            ) -> Result<Protocols, SpecErrors> {
                // Each is read before any is given up, so that all problems are reported.
                $(let $field = <$protocol>::load(spec, input, d);)*
                Ok(Protocols { $($field: Arc::new($field?),)* })
            }

            fn all(&self) -> Vec<(&'static str, &dyn Protocol)> {
                vec![$((<$protocol>::name(), &*self.$field as &dyn Protocol),)*]
            }

            fn by_text(&mut self, spec: &Spec, source: usize, version: usize) {
                $(if let Some(protocol) = self.$field.by_text(spec, source, version) {
                    self.$field = Arc::new(protocol);
                })*
            }

            fn says(&self, protocol: &str, property: &str) -> Option<&'static str> {
                $(if <$protocol>::name() == protocol {
                    let sections = <$protocol>::words().into_iter();
                    let words = sections.filter(|(title, _)| title.to_lowercase().contains("properties"));
                    let mut words = words.flat_map(|(_, words)| words);
                    return words.find(|(name, _)| *name == property).map(|(_, says)| says);
                })*
                None
            }

            fn additions(&self, base: &Self) -> Vec<(&'static str, Vec<String>)> {
                [$(self.$field.additions(&base.$field)),*].concat()
            }
        }

        impl Library {
            $(
                $(#[$meta])*
                #[must_use]
                pub fn $field(&self) -> &$protocol {
                    &self.protocols.$field
                }
            )*
        }

        /// The registered protocols by name, each with the kinds of items that it reads.
        #[must_use]
        pub fn tables() -> Vec<(&'static str, Vec<ItemKind>)> {
            vec![$((<$protocol>::name(), <$protocol>::tables()),)*]
        }

        /// The registered protocols by name, each with the others whose choices its systems have.
        fn protocols_and_what_they_ask() -> Vec<(&'static str, &'static [&'static str])> {
            vec![$((<$protocol>::name(), <$protocol>::asks_of()),)*]
        }

        /// The words of every protocol, in sections, with its name.
        #[must_use]
        pub fn words_by_protocol() -> Vec<(&'static str, Vec<Section>)> {
            vec![$((<$protocol>::name(), <$protocol>::words()),)*]
        }
    };
}

registered! {
    /// The opening example.
    example: example::Loaded,
    /// The abstract ring.
    ring: ring::Loaded,
    /// The abstract barrier.
    barrier: barrier::Loaded,
    /// The abstract transfer of state.
    transfer: transfer::Loaded,
    /// vhost-user.
    vhost_user: vhost_user::Loaded,
    /// vDPA.
    vdpa: vdpa::Loaded,
    /// VFIO.
    vfio: vfio::Loaded,
    /// multifd.
    multifd: multifd::Loaded,
    /// A migration to a file.
    mapped_ram: mapped_ram::Loaded,
    /// Whole migrations: memory, devices, downtime.
    migration: migration::Loaded,
    /// Whole migrations: management and hosts.
    orchestration: orchestration::Loaded,
    /// Hand-overs of a VM.
    hand_over: hand_over::Loaded,
}

/// The kinds of items that are read here.
fn own_kinds() -> Vec<ItemKind> {
    vec![
        ItemKind::of::<RawProposal>("proposal").within(Within::Proposals),
        ItemKind::of::<RawExpect>("expect").within(Within::Proposals),
        ItemKind::of::<RawDecide>("decide"),
        ItemKind::of::<RawSchemeExpect>("scheme-expect").within(Within::Proposals),
        ItemKind::of::<RawCompatExpect>("compat-expect").within(Within::Proposals),
    ]
}

/// The words of every protocol, in sections.
#[must_use]
pub fn words() -> Vec<Section> {
    let of_protocols = words_by_protocol().into_iter().flat_map(|(_, sections)| sections);
    of_protocols.chain([words_of_properties()]).collect()
}

/// The words of properties that a file states, of any protocol.
#[must_use]
pub fn words_of_properties() -> Section {
    ("Properties that a file states: expressions", written::WORDS.to_vec())
}

/// The kinds of items that belong to no protocol.
#[must_use]
pub fn common_kinds() -> Vec<ItemKind> {
    [own_kinds(), spec::kinds()].concat()
}

/// Kinds that were once written otherwise, and what takes their place.
const RENAMED: [(&str, &str); 2] = [
    ("vfio-system", "write `[[system]]` with `protocol = \"vfio\"`"),
    ("device-model-system", "write `[[system]]` with `protocol = \"device-model\"`"),
];

/// Every kind of item that a file may hold.
#[must_use]
pub fn kinds() -> Vec<&'static str> {
    let mut all = Vec::new();
    for kind in common_kinds().into_iter().chain(tables().into_iter().flat_map(|(_, own)| own)) {
        if !all.contains(&kind.name) {
            all.push(kind.name);
        }
    }
    all
}

/// The proposal: what the file is about. A proposal file has exactly one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawProposal {
    /// Short name of the proposal.
    id: Spanned<String>,
    /// Its title, in a few words.
    title: Spanned<String>,
    /// What it changes and why, in a few sentences.
    about: Spanned<String>,
    /// Rows of the founding discussions that it is about.
    #[serde(default)]
    rows: Vec<Spanned<String>>,
    /// Built-in systems that are explored without the proposal and with it.
    #[serde(default)]
    systems: Vec<Spanned<String>>,
    /// Choices that the proposal settles, each as `CHOICE = OPTION`.
    #[serde(default)]
    fixes: Vec<Spanned<String>>,
}

/// An expectation: under these options, these properties are violated and all others hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawExpect {
    /// Name of the system.
    system: Spanned<String>,
    /// Options that are fixed, each as `CHOICE = OPTION`; empty for the defaults.
    under: Vec<Spanned<String>>,
    /// The properties that are violated; a name may end in `: non-vacuous`.
    #[serde(default)]
    violated: Vec<Spanned<String>>,
}

/// A question: which properties of a system hold under each option of some choices.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawDecide {
    /// Name of the system.
    system: Spanned<String>,
    /// Ids of the choices; every combination of their options is explored.
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
    /// Rows of the founding discussions that it carries.
    pub rows: Vec<String>,
    /// Systems of the base that are checked again.
    pub systems: Vec<String>,
    /// Choices that it settles.
    pub fixes: Vec<(ChoiceId, u8)>,
    /// What it expects.
    pub expects: Vec<Expectation>,
    /// What it expects of schemes of compatibility.
    pub schemes: Vec<SchemeExpectation>,
    /// What it expects of descriptions.
    pub descriptions: Vec<CompatExpectation>,
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
    /// The questions.
    pub decisions: Vec<Decision>,
    /// The proposal, if one was loaded.
    pub proposal: Option<Proposal>,
    /// The items of its file.
    pub contents: Vec<WrittenItem>,
    /// What has no effect, or perhaps another one than was meant.
    pub warnings: Vec<SpecError>,
    protocols: Protocols,
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
        let base = files.len();
        let files: Vec<SourceFile> = files
            .into_iter()
            .chain(proposal)
            .map(|(name, text)| SourceFile::new(name, text))
            .collect();
        let mut d = Diagnostics::default();
        let mut tables: Vec<Tables<'_>> = files.iter().map(|file| file.parse(&mut d)).collect();
        let proposed_file = files.get(base);
        if let Some(proposed) = tables.get_mut(base) {
            let message = "a proposal has no `[[exception]]`: it is not tested";
            let help = "an `[[exception]]` says what a built-in clause lacks: leave it out";
            proposed.refuse("exception", message, help, &mut d);
        }
        if !d.is_readable() {
            // Half a file would only give rise to complaints about what is missing.
            return Err(d.finish(()).err().unwrap_or_else(|| SpecError::new("unreadable").into()));
        }
        let contents = tables.get(base).map(Tables::written).unwrap_or_default();
        let built_in: Vec<WrittenItem> = tables
            .iter()
            .take(base)
            .filter(|_| !contents.is_empty())
            .flat_map(Tables::written)
            .collect();
        check_kinds(&mut tables, &mut d);
        let spec = Spec::read(&mut tables, &mut d);
        let proposed = if proposed_file.is_some() { tables.pop() } else { None };
        let mut input = Input::new(tables, proposed).knowing(protocols_and_what_they_ask());
        let proposals = input.items::<RawProposal>("proposal", &mut d);
        let expects = input.items::<RawExpect>("expect", &mut d);
        let decides = input.items::<RawDecide>("decide", &mut d);
        let schemes = input.items::<RawSchemeExpect>("scheme-expect", &mut d);
        let descriptions = input.items::<RawCompatExpect>("compat-expect", &mut d);
        let protocols = Protocols::load(&spec, &mut input, &mut d);
        if let Some(file) = proposed_file {
            one_proposal(file, &proposals.proposed, &mut d);
        }
        only_proposed(&proposals, &mut d);
        only_proposed(&expects, &mut d);
        only_proposed(&schemes, &mut d);
        only_proposed(&descriptions, &mut d);
        let protocols = match protocols {
            Ok(protocols) => protocols,
            // What a file says wrongly comes before what is missing for that reason.
            Err(missing) => return d.finish(()).and(Err(missing)),
        };
        let names = Names::of(&protocols);
        let all = protocols.all();
        let gone: Vec<&String> =
            all.iter().flat_map(|(_, protocol)| protocol.systems().gone()).collect();
        let about = |item: &&Item<RawDecide>| !gone.contains(&item.value.system.get_ref());
        let asked = decides.base.iter().filter(about).chain(&decides.proposed);
        let decisions = asked.map(|item| names.decision(&spec, item, &mut d)).collect();
        let proposal = proposals.proposed.first().map(|item| {
            let mut proposal = names.proposal(&spec, item, &mut d);
            let expects = expects.proposed.iter();
            proposal.expects = expects.map(|item| names.expectation(&spec, item, &mut d)).collect();
            let schemes = schemes.proposed.iter();
            proposal.schemes = schemes.map(|item| described::scheme(item, &mut d)).collect();
            let all = descriptions.proposed.iter();
            proposal.descriptions =
                all.map(|item| described::compat(&spec, item, &mut d)).collect();
            proposal
        });
        if let Some(proposal) = &proposal {
            lint::unused(&contents, &built_in, &mut d);
            lint::replaced(&contents, &built_in, &proposal.systems, &mut d);
        }
        let ((), warnings) = d.finish_with_warnings(())?;
        let mut library = Library { spec, decisions, proposal, contents, warnings, protocols };
        let mut d = Diagnostics::default();
        library.check_written(&mut d);
        library.warn_of_systems(&expects.proposed, &mut d);
        let ((), further) = d.finish_with_warnings(())?;
        library.warnings.extend(further);
        Ok(library)
    }

    /// Warnings that can only be given when every system is there.
    fn warn_of_systems(&self, expects: &[Item<RawExpect>], d: &mut Diagnostics) {
        for item in expects {
            let name = item.value.system.get_ref();
            if let Some(system) = self.find(name, &[]) {
                let checked = system.properties().into_iter().map(|listed| listed.name.to_string());
                let checked: Vec<String> = checked.collect();
                lint::unchecked(item, (name, &checked), &item.value.violated, d);
            }
        }
        let has_systems = |proposal: &Proposal| {
            let brings = |protocol: &dyn Protocol| {
                !protocol.systems().proposed().is_empty()
                    || protocol.bugs().iter().any(|bug| bug.proposed)
            };
            !proposal.systems.is_empty() || self.protocols().into_iter().any(|(_, p)| brings(p))
        };
        let is_about_others = |proposal: &Proposal| {
            !(proposal.schemes.is_empty() && proposal.descriptions.is_empty())
                || self.vfio().expect.is_some()
        };
        if let Some(proposal) = &self.proposal
            && !has_systems(proposal)
            && !is_about_others(proposal)
        {
            lint::without_a_system(&self.contents, d);
        }
    }

    /// Notes properties of files that make no sense of a system that names them.
    fn check_written(&self, d: &mut Diagnostics) {
        let files: Vec<_> = self.definitions().flat_map(|(_, def)| &def.common().written).collect();
        files.iter().for_each(|(written, _)| d.enter(written.file()));
        for (protocol, def) in self.definitions() {
            let common = def.common();
            if common.written.is_empty() {
                continue;
            }
            let Some(system) = self.under(protocol, def, &[]) else { continue };
            let fields = system.fields();
            for (written, _) in &common.written {
                if let Err(error) = written.fits(&common.name, &fields) {
                    d.push(error);
                }
            }
        }
    }

    /// What a property of a protocol says, in one sentence.
    #[must_use]
    pub fn says(&self, protocol: &str, property: &str) -> Option<&str> {
        let all = self.protocols.all();
        let own = all.iter().find(|(name, _)| *name == protocol);
        let stated = own.and_then(|(_, own)| {
            own.systems().written().iter().find(|written| written.name == property)
        });
        match stated {
            Some(written) => Some(&written.says),
            None => self.protocols.says(protocol, property),
        }
    }

    /// Every registered protocol by name, in the order in which systems are listed.
    #[must_use]
    pub fn protocols(&self) -> Vec<(&'static str, &dyn Protocol)> {
        self.protocols.all()
    }

    /// The same for judging by one version of a document: what came later is unknown there.
    ///
    /// # Errors
    /// If there is no such document or version: names the nearest.
    pub fn by_text(mut self, document: &str, version: &str) -> Result<Self, SpecError> {
        let (source, version) = self.spec.version(document, version)?;
        self.protocols.by_text(&self.spec, source, version);
        Ok(self)
    }

    /// Every choice fixed: by default, or as a proposal settles it.
    #[must_use]
    pub fn choices(&self) -> Choices {
        let fixes = self.proposal.iter().flat_map(|proposal| &proposal.fixes);
        fixes.fold(self.spec.defaults(), |all, (choice, option)| all.with(*choice, *option))
    }

    /// The rules of a system: defaults, then what the proposal settles, then what it fixes or
    /// switches off itself.
    #[must_use]
    pub fn rules(&self, def: &dyn Definition) -> Rules {
        let settled = Rules { choices: self.choices(), ..Rules::default() };
        let choices = def.common().choices.iter();
        let fixed = choices.fold(settled, |rules, (choice, option)| rules.fixing(*choice, *option));
        def.common().without.iter().fold(fixed, |rules, clause: &ClauseId| rules.without(*clause))
    }

    /// Every system under its own rules, with these choices fixed otherwise.
    #[must_use]
    pub fn catalogue(&self, options: &[(ChoiceId, u8)]) -> Vec<Box<dyn Check>> {
        let systems = self.definitions();
        systems.filter_map(|(protocol, def)| self.under(protocol, def, options)).collect()
    }

    /// The system of this name, with these choices fixed otherwise.
    #[must_use]
    pub fn find(&self, name: &str, options: &[(ChoiceId, u8)]) -> Option<Box<dyn Check>> {
        let (protocol, def) = self.definitions().find(|(_, def)| def.name() == name)?;
        self.under(protocol, def, options)
    }

    /// What bounds the system of this name, and at which sizes it speaks.
    #[must_use]
    pub fn size(&self, name: &str) -> Option<(Vec<Bound>, Speaks)> {
        let (_, def) = self.definitions().find(|(_, def)| def.name() == name)?;
        Some((def.bounds(), def.common().speaks.clone()))
    }

    /// The system of this name at this size, with these choices fixed otherwise; none, if there is
    /// no such system.
    ///
    /// # Errors
    /// If it has no such size: lists its bounds.
    pub fn find_scaled(
        &self,
        name: &str,
        options: &[(ChoiceId, u8)],
        scale: &Scale,
    ) -> Result<Option<Box<dyn Check>>, BadScale> {
        match self.definitions().find(|(_, def)| def.name() == name) {
            None => Ok(None),
            Some((protocol, def)) => {
                let scale = scale.of(name, def.common().large.as_ref())?;
                protocol.build(name, &scale, self.fixed(def, options))
            }
        }
    }

    /// A scale for the system of this name: bounds and their values, if it is a preset.
    ///
    /// # Errors
    /// If the system does not have the preset.
    pub fn scale_of(&self, name: &str, scale: &Scale) -> Result<Scale, BadScale> {
        let def = self.definitions().find(|(_, def)| def.name() == name);
        let large = def.and_then(|(_, def)| def.common().large.as_ref());
        scale.of(name, large)
    }

    /// The names of all systems, in the order in which they are listed.
    pub fn system_names(&self) -> impl Iterator<Item = &str> {
        self.system_definitions().map(Definition::name)
    }

    /// The systems as they are defined, in the order in which they are listed.
    pub fn system_definitions(&self) -> impl Iterator<Item = &dyn Definition> {
        self.definitions().map(|(_, def)| def)
    }

    fn definitions(&self) -> impl Iterator<Item = (&dyn Protocol, &dyn Definition)> {
        self.protocols().into_iter().flat_map(|(_, protocol)| {
            protocol.systems().definitions().into_iter().map(move |def| (protocol, def))
        })
    }

    fn under(
        &self,
        protocol: &dyn Protocol,
        def: &dyn Definition,
        options: &[(ChoiceId, u8)],
    ) -> Option<Box<dyn Check>> {
        // The size that it has is one that it can have.
        protocol.build(def.name(), &Scale::default(), self.fixed(def, options)).ok().flatten()
    }

    /// The rules of a system, with these choices fixed otherwise.
    fn fixed(&self, def: &dyn Definition, options: &[(ChoiceId, u8)]) -> Rules {
        let fixing =
            |rules: Rules, (choice, option): &(ChoiceId, u8)| rules.fixing(*choice, *option);
        options.iter().fold(self.rules(def), fixing)
    }

    /// Mistakes that were made in earnest, of every protocol.
    #[must_use]
    pub fn bugs(&self) -> Vec<Bug<'_>> {
        self.protocols().into_iter().flat_map(|(_, protocol)| protocol.bugs()).collect()
    }

    /// The system of a bug, with it.
    #[must_use]
    pub fn check_bug(&self, bug: &Bug<'_>) -> Option<Box<dyn Check>> {
        let rules = self.rules(bug.definition);
        self.protocols().into_iter().find_map(|(_, protocol)| protocol.build_bug(bug.id, rules))
    }

    /// What its proposal adds to the tables of every protocol and takes from them, in lines with a
    /// heading each.
    #[must_use]
    pub fn additions(&self, base: &Library) -> Vec<(&'static str, Vec<String>)> {
        self.protocols.additions(&base.protocols)
    }
}

/// Notes items of kinds that do not exist (any more), or whose protocol does not.
fn check_kinds(files: &mut [Tables<'_>], d: &mut Diagnostics) {
    let kinds = kinds();
    let tables_of = tables();
    for tables in files {
        for (old, new) in RENAMED {
            tables.refuse(old, &format!("`[[{old}]]` has another form now"), new, d);
        }
        tables.known(&kinds, d);
        for kind in SHARED {
            let reads = |kinds: &[ItemKind]| kinds.iter().any(|own| own.name == kind);
            let takes = tables_of.iter().filter(|(_, kinds)| reads(kinds));
            let takes: Vec<&str> = takes.map(|(name, _)| *name).collect();
            tables.derive_protocols(kind, &takes);
            tables.protocols(kind, &takes, d);
        }
    }
}

fn one_proposal(file: &SourceFile, proposals: &[Item<RawProposal>], d: &mut Diagnostics) {
    if proposals.len() != 1 {
        let message = "a proposal's file has one `[[proposal]]`";
        let label = format!("{} here", proposals.len());
        d.reference(SpecError::at(file, 0..0, message, label));
    }
}

/// Notes items of what is built in that only a proposal can have: nothing would read them.
fn only_proposed<T>(read: &Read<T>, d: &mut Diagnostics) {
    for item in &read.base {
        d.push(item.error(item.span.clone(), "only a proposal has this", "not built in"));
    }
}

/// The systems by name, each with the properties of its protocol.
struct Names<'a> {
    systems: Vec<&'a str>,
    properties: BTreeMap<&'a str, Vec<&'a str>>,
    protocols: BTreeMap<&'a str, &'static str>,
}

impl<'a> Names<'a> {
    fn of(protocols: &'a Protocols) -> Self {
        let mut names =
            Names { systems: Vec::new(), properties: BTreeMap::new(), protocols: BTreeMap::new() };
        for (name, protocol) in protocols.all() {
            let written = protocol.systems().written().iter().map(|own| own.name.as_str());
            let properties = protocol.properties().into_iter().chain(written);
            let properties: Vec<&str> = properties.chain(OF_EVERY_SYSTEM).collect();
            for def in protocol.systems().definitions() {
                names.properties.insert(def.name(), properties.clone());
                names.protocols.insert(def.name(), name);
                names.systems.push(def.name());
            }
        }
        names
    }

    /// The system's name, if there is one of that name.
    fn known<T>(&self, item: &Item<T>, name: &Spanned<String>, d: &mut Diagnostics) -> String {
        if !self.systems.contains(&name.get_ref().as_str()) {
            let message = format!("no system is called `{}`", name.get_ref());
            let error = item.error(name.span(), message, "unknown system");
            let names = self.systems.iter().copied();
            d.push(with_help(error, did_you_mean(name.get_ref(), names)));
        }
        name.get_ref().clone()
    }

    fn proposal(&self, spec: &Spec, item: &Item<RawProposal>, d: &mut Diagnostics) -> Proposal {
        let raw = &item.value;
        let known = if raw.rows.is_empty() { Vec::new() } else { traceability::numbers() };
        for row in raw.rows.iter().filter(|row| !known.contains(row.get_ref())) {
            let message = format!("no row of the discussions is called `{}`", row.get_ref());
            let help = did_you_mean(row.get_ref(), known.iter().map(String::as_str));
            d.push(with_help(item.error(row.span(), message, "unknown row"), help));
        }
        Proposal {
            rows: raw.rows.iter().map(|row| row.get_ref().clone()).collect(),
            id: raw.id.get_ref().clone(),
            title: raw.title.get_ref().clone(),
            about: raw.about.get_ref().clone(),
            systems: raw.systems.iter().map(|name| self.known(item, name, d)).collect(),
            fixes: spec.pins_at(item, &raw.fixes, d),
            expects: Vec::new(),
            schemes: Vec::new(),
            descriptions: Vec::new(),
        }
    }

    fn expectation(&self, spec: &Spec, item: &Item<RawExpect>, d: &mut Diagnostics) -> Expectation {
        let raw = &item.value;
        let system = self.known(item, &raw.system, d);
        for name in &raw.violated {
            let Some(known) = self.properties.get(system.as_str()) else { break };
            // A vacuity check may be violated too: the antecedent of its `always` never occurs.
            let own = name.get_ref().strip_suffix(NON_VACUOUS).unwrap_or(name.get_ref());
            if !known.contains(&own) {
                let message = format!("no property is called `{}`", name.get_ref());
                let error = item.error(name.span(), message, "unknown property");
                let help = renamed_or_near(name.get_ref(), known.iter().copied());
                d.push(with_help(error, help));
            }
        }
        self.own_choices(item, &system, &raw.under, d);
        Expectation {
            system,
            under: spec.pins_at(item, &raw.under, d),
            violated: raw.violated.iter().map(|name| name.get_ref().clone()).collect(),
        }
    }

    /// Notes choices of other protocols than that of a system.
    fn own_choices<T>(
        &self,
        item: &Item<T>,
        system: &str,
        choices: &[Spanned<String>],
        d: &mut Diagnostics,
    ) {
        if let Some(protocol) = self.protocols.get(system) {
            let known = protocols_and_what_they_ask();
            input::own_choices(&known, protocol, item, choices, d);
        }
    }

    fn decision(&self, spec: &Spec, item: &Item<RawDecide>, d: &mut Diagnostics) -> Decision {
        let raw = &item.value;
        self.own_choices(item, raw.system.get_ref(), &raw.choices, d);
        Decision {
            system: self.known(item, &raw.system, d),
            choices: raw.choices.iter().filter_map(|id| spec.choice_at(item, id, d)).collect(),
        }
    }
}
