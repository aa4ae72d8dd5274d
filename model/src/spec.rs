//! What is normative, loaded from `specs/`: sources, clauses, choices.
//!
//! ```text
//! specs/*.toml --SourceFile--> items --checks--> Spec --clause("vhost-user.reply.must")--> ClauseId
//! ```
//!
//! What is built in is compiled in ([`Spec::builtin`]); a file from the command line is added, or
//! takes the place of the built-in file of the same name ([`Spec::builtin_with`]).
//!
//! **Invariants.** A [`Spec`] that exists is valid: every id is unique and well-formed, every
//! reference leads somewhere, every clause cites a document. Every problem of a load is reported,
//! not only the first, each with its place ([`diagnostic`]). Loading never panics and reads no
//! files itself.
//!
//! The machinery is not bound to clauses: another kind of item (a table row, a program) is a
//! `serde` struct that [`file::Tables::items`] reads and whose checks use the same
//! [`diagnostic::Diagnostics`].

pub mod choice;
pub mod clause;
pub mod diagnostic;
pub mod exception;
pub mod excerpt;
pub mod file;
pub mod kind;
pub mod source;
mod source_file;
mod spanned;
pub mod texts;
pub mod traceability;

use std::collections::BTreeMap;

pub use choice::{Choice, ChoiceOf, ChoiceOption};
pub use clause::{Clause, Level};
pub use diagnostic::{Diagnostics, SpecError, SpecErrors, did_you_mean, renamed_or_near};
pub use exception::{Exception, Lack};
pub use file::{Item, Spanned, Tables, WrittenItem, with_help};
pub use kind::{ItemKind, Within};
pub use source::{Citation, Source, Version};
pub use source_file::SourceFile;

use choice::RawChoice;
use clause::RawClause;
use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::rules::{Choices, ClauseSet, MAX_CHOICES, MAX_CLAUSES, Rules};
use exception::RawException;
use source::RawSource;

/// The kinds of items that are read here. Others belong to protocols and proposals, which read them
/// from the same files ([`crate::registry`]).
#[must_use]
pub fn kinds() -> Vec<ItemKind> {
    vec![
        ItemKind::of::<RawClause>("clause"),
        ItemKind::of::<RawChoice>("choice"),
        ItemKind::of::<RawSource>("source"),
        ItemKind::of::<RawException>("exception").within(Within::BuiltIn),
    ]
}

macro_rules! builtin {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../specs/", $name)))),*]
    };
}

const BUILTIN: &[(&str, &str)] = builtin! {
    "sources.toml"
    "clauses/example.toml"
    "clauses/vhost-user/negotiation.toml"
    "clauses/vhost-user/rings.toml"
    "clauses/vhost-user/messages.toml"
    "clauses/vhost-user/status-and-reset.toml"
    "clauses/vhost-user/suspend.toml"
    "clauses/vhost-user/device-state.toml"
    "clauses/vhost-user/wire.toml"
    "clauses/vhost-user/back-end-channel.toml"
    "clauses/vhost-user/extensions.toml"
    "exceptions.toml"
    "clauses/vdpa/rings.toml"
    "clauses/vhost-user/in-flight.toml"
    "clauses/vhost-user/dirty-log.toml"
    "vhost-user/choices.toml"
    "vhost-user/messages.toml"
    "vhost-user/tracking.toml"
    "vhost-user/programs.toml"
    "vhost-user/systems.toml"
    "vdpa/choices.toml"
    "vdpa/systems.toml"
    "clauses/device-model.toml"
    "device-model/choices.toml"
    "device-model/systems.toml"
    "vhost-user/migration-systems.toml"
    "vhost-user/bugs.toml"
    "clauses/vfio/states.toml"
    "clauses/vfio/data.toml"
    "clauses/vfio/log.toml"
    "clauses/vfio/messages.toml"
    "vfio/choices.toml"
    "vfio/states.toml"
    "vfio/systems.toml"
    "clauses/multifd/packets.toml"
    "clauses/multifd/synchronisation.toml"
    "clauses/multifd/main-stream.toml"
    "clauses/multifd/device-state.toml"
    "clauses/multifd/destination.toml"
    "clauses/multifd/mapped-ram.toml"
    "clauses/multifd/return-path.toml"
    "clauses/multifd/colo.toml"
    "clauses/multifd/tls.toml"
    "multifd/capabilities.toml"
    "multifd/parameters.toml"
    "multifd/transports.toml"
    "multifd/systems.toml"
    "multifd/mapped-ram.toml"
    "clauses/migration.toml"
    "migration/choices.toml"
    "migration/programs.toml"
    "migration/tracking.toml"
    "migration/releases.toml"
    "migration/systems.toml"
    "migration/watched.toml"
    "clauses/hand-over.toml"
    "hand-over/programs.toml"
    "hand-over/systems.toml"
};

const PROPOSALS: &[(&str, &str)] = builtin! {
    "proposals/suspend.toml"
    "proposals/resume-by-enable.toml"
    "proposals/status-suspend.toml"
    "proposals/status-suspend-broken.toml"
    "proposals/reset-device-invalid.toml"
    "proposals/stop-by-statefulness.toml"
    "proposals/leave-suspended.toml"
    "proposals/one-model.toml"
    "proposals/vfio-back-to-pre-copy.toml"
    "proposals/vfio-resume-straight-broken.toml"
    "proposals/cap-on-count.toml"
    "proposals/load-config-after-iter.toml"
    "proposals/skip-pre-copy.toml"
    "proposals/forbid-untracked.toml"
    "proposals/abort-pre-copy.toml"
    "proposals/mark-all-dirty.toml"
    "proposals/refuse-if-limit.toml"
    "proposals/tracking-off.toml"
    "proposals/ram-not-sent.toml"
    "proposals/check-anytime.toml"
    "proposals/check-before-stop.toml"
    "proposals/destination-decides.toml"
    "proposals/check-descriptions.toml"
    "proposals/model-ids.toml"
    "proposals/variants-as-parameters.toml"
    "proposals/parameters.toml"
    "proposals/version-strings.toml"
    "proposals/minimum-version.toml"
    "proposals/major-minor-bugfix.toml"
    "proposals/self-and-compatible.toml"
    "proposals/capability-sets.toml"
    "proposals/opaque-string.toml"
    "proposals/driver-prefix.toml"
    "proposals/filter-by-tags.toml"
    "proposals/send-if-needed.toml"
    "proposals/optional-parts.toml"
    "proposals/skip-drain.toml"
    "proposals/resumed-by-message.toml"
    "proposals/state-again.toml"
    "proposals/stop-all.toml"
    "proposals/reset-vring.toml"
    "proposals/snapshot-restore.toml"
    "proposals/live-back-end.toml"
    "proposals/state-while-running.toml"
    "proposals/suspend-may-fail.toml"
    "proposals/device-parts.toml"
    "proposals/reconnect-at-index.toml"
    "proposals/unlike-interpretations.toml"
    "proposals/log-base-when-idle.toml"
    "proposals/num-says-drain.toml"
};

/// The built-in proposals: their names below `specs/`, and their text.
#[must_use]
pub fn builtin_proposals() -> Vec<(String, String)> {
    PROPOSALS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// The built-in files: their names below `specs/`, and their text.
#[must_use]
pub fn builtin_files() -> Vec<(String, String)> {
    BUILTIN.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// A loaded specification.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    sources: Vec<Source>,
    clauses: Vec<Clause>,
    choices: Vec<Choice>,
    exceptions: Vec<Exception>,
    clause_ids: BTreeMap<String, ClauseId>,
    choice_ids: BTreeMap<String, ChoiceId>,
}

impl Spec {
    /// What is compiled in.
    ///
    /// # Errors
    /// None in a build that passed its tests.
    pub fn builtin() -> Result<Self, SpecErrors> {
        Self::builtin_with(Vec::new())
    }

    /// What is compiled in, changed by further files (name and text): one whose name is that of a
    /// built-in file (`vhost-user/choices.toml`, with or without `specs/` before it) takes its
    /// place, every other is added.
    ///
    /// # Errors
    /// All problems of all files.
    pub fn builtin_with(files: Vec<(String, String)>) -> Result<Self, SpecErrors> {
        let mut all = builtin_files();
        for (name, text) in files {
            let short = name.rsplit_once("specs/").map_or(name.as_str(), |(_, short)| short);
            match all.iter_mut().find(|(known, _)| known == short) {
                Some(known) => *known = (name, text),
                None => all.push((name, text)),
            }
        }
        let files: Vec<_> =
            all.into_iter().map(|(name, text)| SourceFile::new(name, text)).collect();
        let mut d = Diagnostics::default();
        let mut tables: Vec<Tables<'_>> = files.iter().map(|file| file.parse(&mut d)).collect();
        let spec = Self::read(&mut tables, &mut d);
        d.finish(spec)
    }

    /// A specification made of these files (name and text) alone; they hold nothing else.
    ///
    /// # Errors
    /// All problems of all files.
    pub fn load(files: Vec<(String, String)>) -> Result<Self, SpecErrors> {
        let files: Vec<_> =
            files.into_iter().map(|(name, text)| SourceFile::new(name, text)).collect();
        let mut d = Diagnostics::default();
        let mut tables: Vec<Tables<'_>> = files.iter().map(|file| file.parse(&mut d)).collect();
        let spec = Self::read(&mut tables, &mut d);
        let known: Vec<&str> = kinds().iter().map(|kind| kind.name).collect();
        tables.into_iter().for_each(|tables| tables.finish(&known, &mut d));
        d.finish(spec)
    }

    /// Takes what these files hold of it, as far as it can be read: good for finding further
    /// problems, and valid if none was noted.
    #[must_use]
    pub fn read(files: &mut [Tables<'_>], d: &mut Diagnostics) -> Self {
        let (mut sources, mut clauses, mut choices) = (Vec::new(), Vec::new(), Vec::new());
        let mut exceptions = Vec::new();
        for tables in files {
            sources.extend(tables.items::<RawSource>("source", d));
            clauses.extend(tables.items::<RawClause>("clause", d));
            choices.extend(tables.items::<RawChoice>("choice", d));
            exceptions.extend(tables.items::<RawException>("exception", d));
        }
        let mut spec = Spec::default();
        unique("document", &sources, |raw| &raw.id, usize::MAX, d);
        unique("clause", &clauses, |raw| &raw.id, MAX_CLAUSES, d);
        unique("choice", &choices, |raw| &raw.id, MAX_CHOICES, d);
        spec.sources = sources.iter().map(|item| source::check(item, d)).collect();

        for item in &clauses {
            let clause = clause::check(item, &spec.sources, d);
            let id = ClauseId::new(spec.clauses.len());
            spec.clause_ids.entry(clause.id.clone()).or_insert(id);
            spec.clauses.push(clause);
        }
        for (i, item) in clauses.iter().enumerate() {
            let replaces = spec.resolve(item, &item.value.replaces, d);
            if let Some(itself) = replaces.iter().position(|id| id.index() == i) {
                let span = item.value.replaces[itself].span();
                d.push(item.error(span, "a clause cannot replace itself", "itself"));
            }
            spec.clauses[i].replaces = replaces;
        }
        for item in &choices {
            let mut choice = choice::check(item, &spec.sources, d);
            choice.clauses = spec.resolve(item, &item.value.clauses, d);
            let by = item.value.recommended_by.as_ref();
            choice.recommended_by = by.and_then(|clause| spec.clause_at(item, clause, d));
            let id = ChoiceId::new(spec.choices.len());
            spec.choice_ids.entry(choice.id.clone()).or_insert(id);
            spec.choices.push(choice);
        }
        let ids: Vec<&str> = spec.clauses.iter().map(|clause| clause.id.as_str()).collect();
        spec.exceptions = exceptions.iter().map(|item| exception::check(item, &ids, d)).collect();
        spec
    }

    /// The clauses that an item refers to.
    fn resolve<T>(
        &self,
        item: &Item<T>,
        ids: &[Spanned<String>],
        d: &mut Diagnostics,
    ) -> Vec<ClauseId> {
        ids.iter().filter_map(|id| self.clause_at(item, id, d)).collect()
    }

    /// The clause that an item of any kind names; if there is none, the place is noted.
    pub fn clause_at<T>(
        &self,
        item: &Item<T>,
        id: &Spanned<String>,
        d: &mut Diagnostics,
    ) -> Option<ClauseId> {
        let found = self.clause(id.get_ref());
        if found.is_ok() {
            d.uses(id.get_ref());
        }
        found
            .map_err(|error| d.reference(error.placed(&item.file, id.span(), "unknown clause")))
            .ok()
    }

    /// The choice and option that an item of any kind names, as `CHOICE = OPTION`; if there is no
    /// such choice or option, the place is noted.
    pub fn pin_at<T>(
        &self,
        item: &Item<T>,
        written: &Spanned<String>,
        d: &mut Diagnostics,
    ) -> Option<(ChoiceId, u8)> {
        self.pin(written.get_ref())
            .map_err(|error| d.reference(error.placed(&item.file, written.span(), "unknown")))
            .ok()
    }

    /// The same in a rule, which is what uses a choice: to fix an option uses nothing.
    pub fn rule_pin_at<T>(
        &self,
        item: &Item<T>,
        written: &Spanned<String>,
        d: &mut Diagnostics,
    ) -> Option<(ChoiceId, u8)> {
        let found = self.pin_at(item, written, d);
        if let Some((choice, _)) = found {
            d.uses(self.choice_name(choice));
        }
        found
    }

    /// Several such; a choice that is fixed before is noted too.
    pub fn pins_at<T>(
        &self,
        item: &Item<T>,
        written: &[Spanned<String>],
        d: &mut Diagnostics,
    ) -> Vec<(ChoiceId, u8)> {
        let mut pins: Vec<(ChoiceId, u8)> = Vec::new();
        for text in written {
            let Some(pin) = self.pin_at(item, text, d) else { continue };
            if pins.iter().any(|(known, _)| *known == pin.0) {
                let message = format!("`{}` is fixed twice", self.choice_name(pin.0));
                d.push(item.error(text.span(), message, "the second time"));
            }
            pins.push(pin);
        }
        pins
    }

    /// The choice that an item of any kind names; if there is none, the place is noted.
    pub fn choice_at<T>(
        &self,
        item: &Item<T>,
        id: &Spanned<String>,
        d: &mut Diagnostics,
    ) -> Option<ChoiceId> {
        self.choice(id.get_ref())
            .map_err(|error| d.reference(error.placed(&item.file, id.span(), "unknown choice")))
            .ok()
    }

    /// The version of a document that an item of any kind names, by index; if there is none, the
    /// place is noted.
    pub fn version_at<T>(
        &self,
        document: &str,
        item: &Item<T>,
        version: &Spanned<String>,
        d: &mut Diagnostics,
    ) -> Option<usize> {
        let source = self.sources.iter().find(|source| source.id == document)?;
        source::version_of(item, source, version.get_ref(), version.span(), d)
    }

    /// The documents, in the order of the files.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The clauses, in the order of the files: a [`ClauseId`] is an index of it.
    #[must_use]
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// The choices, in the order of the files: a [`ChoiceId`] is an index of it.
    #[must_use]
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// The clause with this id.
    ///
    /// # Errors
    /// If there is none: names the nearest that there is.
    pub fn clause(&self, id: &str) -> Result<ClauseId, SpecError> {
        self.clause_ids.get(id).copied().ok_or_else(|| {
            let error = SpecError::new(format!("no clause has the id `{id}`"));
            with_help(error, did_you_mean(id, self.clause_names()))
        })
    }

    /// The clauses whose ids match a pattern, in which `*` stands for anything.
    #[must_use]
    pub fn matching(&self, pattern: &str) -> ClauseSet {
        let mut set = ClauseSet::default();
        for (i, clause) in self.clauses.iter().enumerate() {
            if matches(pattern, &clause.id) {
                set.insert(ClauseId::new(i));
            }
        }
        set
    }

    /// What a clause says, unless it is [`ClauseId::NONE`].
    #[must_use]
    pub fn get(&self, clause: ClauseId) -> Option<&Clause> {
        self.clauses.get(clause.index())
    }

    /// The id of a clause; empty for [`ClauseId::NONE`].
    #[must_use]
    pub fn clause_name(&self, clause: ClauseId) -> &str {
        self.get(clause).map_or("", |clause| &clause.id)
    }

    /// The choice with this id.
    ///
    /// # Errors
    /// If there is none: names the nearest that there is.
    pub fn choice(&self, id: &str) -> Result<ChoiceId, SpecError> {
        self.choice_ids.get(id).copied().ok_or_else(|| {
            let error = SpecError::new(format!("no choice has the id `{id}`"));
            with_help(error, did_you_mean(id, self.choice_ids.keys().map(String::as_str)))
        })
    }

    /// What a choice says.
    #[must_use]
    pub fn get_choice(&self, choice: ChoiceId) -> Option<&Choice> {
        self.choices.get(choice.index())
    }

    /// The id of a choice.
    #[must_use]
    pub fn choice_name(&self, choice: ChoiceId) -> &str {
        self.get_choice(choice).map_or("", |choice| &choice.id)
    }

    /// The index of the option with this name.
    #[must_use]
    pub fn option(&self, choice: ChoiceId, name: &str) -> Option<u8> {
        let options = &self.get_choice(choice)?.options;
        options.iter().position(|option| option.name == name).and_then(|i| u8::try_from(i).ok())
    }

    /// The name of an option.
    #[must_use]
    pub fn option_name(&self, choice: ChoiceId, option: u8) -> &str {
        self.get_choice(choice)
            .and_then(|choice| choice.options.get(usize::from(option)))
            .map_or("", |option| &option.name)
    }

    /// What a clause says; empty for an id that is none.
    #[must_use]
    pub fn clause_text(&self, id: &str) -> String {
        let clause = self.clause(id).ok().and_then(|clause| self.get(clause));
        clause.map(|clause| clause.text.clone()).unwrap_or_default()
    }

    /// A choice and its option, written as `NAME=OPTION` on a command line.
    ///
    /// # Errors
    /// If there is no such choice or option: names the nearest.
    pub fn pin(&self, written: &str) -> Result<(ChoiceId, u8), SpecError> {
        let Some((name, option)) = written.split_once('=') else {
            let error = SpecError::new(format!("`{written}` is not a choice and an option"));
            return Err(error.help("write it as `NAME=OPTION`"));
        };
        let (name, option) = (name.trim(), option.trim());
        let choice = self.choice(name)?;
        let found = self.option(choice, option).ok_or_else(|| {
            let error = SpecError::new(format!("choice `{name}` has no option `{option}`"));
            let options = self.choices[choice.index()].options.iter().map(|o| o.name.as_str());
            with_help(error, did_you_mean(option, options))
        })?;
        Ok((choice, found))
    }

    /// Several such.
    ///
    /// # Errors
    /// If there is no such choice or option, or one is fixed to two options.
    pub fn pins(&self, written: &[String]) -> Result<Vec<(ChoiceId, u8)>, SpecError> {
        let mut pins: Vec<(ChoiceId, u8)> = Vec::new();
        for pin in written {
            let (choice, option) = self.pin(pin)?;
            if pins.iter().any(|(known, other)| *known == choice && *other != option) {
                let message = format!("`{}` is fixed to two options", self.choice_name(choice));
                return Err(SpecError::new(message).help("use `devmig decide` to compare"));
            }
            pins.push((choice, option));
        }
        Ok(pins)
    }

    /// Every choice fixed at its default: what exploration begins with.
    #[must_use]
    pub fn defaults(&self) -> Choices {
        self.choices
            .iter()
            .enumerate()
            .fold(Choices::default(), |all, (i, c)| all.with(ChoiceId::new(i), c.default))
    }

    /// Every choice open, among the options that it has: what a test begins with.
    #[must_use]
    pub fn open(&self) -> Choices {
        self.choices.iter().enumerate().fold(Choices::default(), |all, (i, c)| {
            all.limit(ChoiceId::new(i), u8::try_from(c.options.len()).unwrap_or(8))
        })
    }

    /// The clauses that cannot be observed from outside: they hold in exploration only.
    #[must_use]
    pub fn unobservable(&self) -> ClauseSet {
        self.select(|clause| !clause.observable())
    }

    /// The clauses of a document that are not in force in one of its versions: switched off, they
    /// judge a run against that version of the text.
    ///
    /// # Errors
    /// If there is no such document or version: names the nearest.
    pub fn not_in_force(&self, document: &str, version: &str) -> Result<ClauseSet, SpecError> {
        let (source, version) = self.version(document, version)?;
        Ok(self.select(|clause| clause.citation.source == source && !clause.in_force(version)))
    }

    /// How an implementation is judged by one version of a document: nothing of what cannot be seen
    /// from outside, or is not in force there, and no reading that this version ruled out.
    ///
    /// # Errors
    /// If there is no such document or version: names the nearest.
    pub fn judged_by(&self, document: &str, version: &str) -> Result<Rules, SpecError> {
        let mut rules = Rules { off: self.unobservable(), choices: self.open() };
        rules.off.extend(&self.not_in_force(document, version)?);
        let (source, version) = self.version(document, version)?;
        for (index, choice) in self.choices.iter().enumerate() {
            if let Some((since, option)) = choice.settled
                && choice.recommended_by.is_none()
                && choice.citation.source == source
                && since <= version
            {
                rules = rules.fixing(ChoiceId::new(index), option);
            }
        }
        Ok(rules)
    }

    /// What a version of a document says of a choice that it no longer leaves open: the option, and
    /// whether it only recommends it.
    #[must_use]
    pub fn settled_by(
        &self,
        choice: ChoiceId,
        source: usize,
        version: usize,
    ) -> Option<(u8, Option<ClauseId>)> {
        let choice = self.get_choice(choice)?;
        let (since, option) = choice.settled?;
        let is_said = choice.citation.source == source && since <= version;
        is_said.then_some((option, choice.recommended_by))
    }

    /// What clauses go without, in the order of the files.
    #[must_use]
    pub fn exceptions(&self) -> &[Exception] {
        &self.exceptions
    }

    /// A document and one of its versions, by index.
    ///
    /// # Errors
    /// If there is no such document or version: names the nearest.
    pub fn version(&self, document: &str, version: &str) -> Result<(usize, usize), SpecError> {
        let source = self.sources.iter().position(|s| s.id == document).ok_or_else(|| {
            let error = SpecError::new(format!("no document is called `{document}`"));
            with_help(error, did_you_mean(document, self.sources.iter().map(|s| s.id.as_str())))
        })?;
        let names = self.sources[source].versions.iter().map(|v| v.name.as_str());
        let index = self.sources[source].version(version).ok_or_else(|| {
            let error = SpecError::new(format!("`{document}` has no version `{version}`"));
            with_help(error, did_you_mean(version, names))
        })?;
        Ok((source, index))
    }

    /// A citation in words: `vhost-user 10.2, "Communication" > "Ring states"`.
    #[must_use]
    pub fn cite(&self, citation: &Citation) -> String {
        let Some(source) = self.sources.get(citation.source) else { return String::new() };
        let version = source.versions.get(citation.version).map_or("", |v| v.name.as_str());
        let place: Vec<_> = citation.place.iter().map(|part| format!("\"{part}\"")).collect();
        format!("{} {version}, {}", source.id, place.join(" > "))
    }

    fn select(&self, mut wanted: impl FnMut(&Clause) -> bool) -> ClauseSet {
        let mut set = ClauseSet::default();
        for (i, clause) in self.clauses.iter().enumerate() {
            if wanted(clause) {
                set.insert(ClauseId::new(i));
            }
        }
        set
    }

    fn clause_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.clause_ids.keys().map(String::as_str)
    }
}

/// Makes a struct of clause ids, each with the id that it stands for:
///
/// ```
/// devmig_model::clause_ids! {
///     /// The clauses of the opening example.
///     struct Copier {
///         /// A write after the copy is marked.
///         marks: "example.copier.marks-writes",
///     }
/// }
/// let spec = devmig_model::spec::Spec::builtin().expect("built in");
/// let ids = Copier::resolve(&spec).expect("all there");
/// assert_eq!(spec.clause_name(ids.marks), "example.copier.marks-writes");
/// ```
///
/// `resolve` reports every id that the specification lacks.
#[macro_export]
macro_rules! clause_ids {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field:ident: $id:literal),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        $vis struct $name {
            $($(#[$field_meta])* $vis $field: $crate::engine::clause::ClauseId,)*
        }

        impl $name {
            /// All of them, in order.
            $vis fn all(&self) -> Vec<$crate::engine::clause::ClauseId> {
                vec![$(self.$field),*]
            }

            /// Finds the clauses by their ids.
            ///
            /// # Errors
            /// Every id that the specification lacks.
            $vis fn resolve(
                spec: &$crate::spec::Spec,
            ) -> Result<Self, $crate::spec::SpecErrors> {
                let mut diagnostics = $crate::spec::Diagnostics::default();
                $(
                    let $field = spec.clause($id).unwrap_or_else(|error| {
                        diagnostics.push(error);
                        $crate::engine::clause::ClauseId::NONE
                    });
                )*
                diagnostics.finish($name { $($field),* })
            }
        }
    };
}

/// Makes a struct of choices, and for each an enum of its options:
///
/// ```
/// devmig_model::choice_ids! {
///     /// What vDPA leaves open.
///     struct Choices {
///         /// What becomes of requests that were not completed when SUSPEND is called.
///         in_flight: "vdpa.suspend.in-flight" as InFlight { Drain = "drain", Hold = "hold" },
///     }
/// }
/// use devmig_engine::rules::Rules;
/// let spec = devmig_model::spec::Spec::builtin().expect("built in");
/// let choices = Choices::resolve(&spec).expect("all there");
/// let rules = Rules { choices: spec.defaults(), ..Rules::default() };
/// assert_eq!(choices.in_flight.taken(&rules.judge()), Ok(InFlight::Drain));
/// ```
///
/// `resolve` reports every choice that the specification lacks, and every option that is there and
/// not named here, or named here and not there: the order of options in a file means nothing.
#[macro_export]
macro_rules! choice_ids {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field:ident: $id:literal as $options:ident {
            $first:ident = $first_name:literal $(, $option:ident = $option_name:literal)* $(,)?
        }),* $(,)?
    }) => {
        $(
            #[doc = concat!("The options of `", $id, "`.")]
            #[derive(Clone, Copy, PartialEq, Eq, Debug)]
            $vis enum $options {
                #[doc = concat!("`", $first_name, "`")]
                $first,
                $(
                    #[doc = concat!("`", $option_name, "`")]
                    $option,
                )*
            }
        )*

        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        $vis struct $name {
            $($(#[$field_meta])* $vis $field: $crate::spec::ChoiceOf<$options>,)*
        }

        impl $name {
            /// Finds the choices by their ids, and their options by name.
            ///
            /// # Errors
            /// Every choice and option that the specification lacks, and every option that is not
            /// named here.
            $vis fn resolve(
                spec: &$crate::spec::Spec,
            ) -> Result<Self, $crate::spec::SpecErrors> {
                let mut diagnostics = $crate::spec::Diagnostics::default();
                $(
                    let options = (
                        ($first_name, $options::$first),
                        &[$(($option_name, $options::$option)),*][..],
                    );
                    let $field =
                        $crate::spec::ChoiceOf::resolve(spec, $id, options, &mut diagnostics);
                )*
                diagnostics.finish($name { $($field),* })
            }
        }
    };
}

/// Notes names that were given twice, and items beyond `most`.
pub(crate) fn unique<T>(
    what: &str,
    items: &[Item<T>],
    id: impl Fn(&T) -> &Spanned<String>,
    most: usize,
    d: &mut Diagnostics,
) {
    let mut seen: BTreeMap<&str, &Item<T>> = BTreeMap::new();
    for item in items {
        let here = id(&item.value);
        let Some(first) = seen.insert(here.get_ref(), item) else { continue };
        let there = id(&first.value).span();
        let message = format!("the {what} `{}` is defined twice", here.get_ref());
        let error = item.error(here.span(), message, "again here");
        d.push(if first.file.name() == item.file.name() {
            error.and(there, "first here")
        } else {
            error.help(format!("first in {}; an id is never reused", first.file.name()))
        });
    }
    if let Some(item) = items.get(most) {
        let message = format!("there are too many: a specification holds at most {most} {what}s");
        d.push(item.error(id(&item.value).span(), message, "the first that is too many"));
    }
}

/// Notes a text that says nothing.
fn not_empty<T>(item: &Item<T>, text: &Spanned<String>, d: &mut Diagnostics) {
    if text.get_ref().trim().is_empty() {
        d.push(item.error(text.span(), "this text is empty", "says nothing"));
    }
}

/// Notes an id that is not one word: lower-case letters and digits, in parts joined by `-`.
fn word<T>(item: &Item<T>, id: &Spanned<String>, d: &mut Diagnostics) {
    if !is_word(id.get_ref()) {
        let message = format!("`{}` is not a name", id.get_ref());
        d.push(
            item.error(id.span(), message, "malformed")
                .help("lower-case letters and digits, in parts joined by `-`"),
        );
    }
}

/// Notes an id that is not at least two words joined by dots.
fn dotted<T>(item: &Item<T>, id: &Spanned<String>, d: &mut Diagnostics) {
    if id.get_ref().split('.').count() < 2 || !id.get_ref().split('.').all(is_word) {
        let message = format!("`{}` is not an id", id.get_ref());
        d.push(item.error(id.span(), message, "malformed").help(
            "at least two names joined by `.`; a name is lower-case letters and digits, in parts \
             joined by `-`: `vhost-user.ring.kick-starts`",
        ));
    }
}

/// Whether a text is a name: lower-case letters and digits, in parts joined by `-`.
#[must_use]
pub fn is_word(text: &str) -> bool {
    text.split('-').all(|part| {
        !part.is_empty() && part.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    })
}

/// A number as it stands within a text: decimal, or hexadecimal after `0x`, as traces print them.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) if digits.bytes().all(|c| c.is_ascii_hexdigit()) => {
            u64::from_str_radix(digits, 16).ok()
        }
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// Whether a text matches a pattern in which `*` stands for anything. Upper and lower case differ.
/// The time is bounded by the product of both lengths, however many stars there are.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    // The crate can have a sign for one character too, which is not ours: no argument holds NUL.
    wildmatch::WildMatchPattern::<'*', '\0'>::new(pattern).matches(text)
}
