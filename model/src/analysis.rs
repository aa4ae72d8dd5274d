//! What a library is asked: which properties hold, what each option of a choice costs, what a proposal
//! changes, which properties detect a bug.
//!
//! ```text
//!  Library --by name, options, size--> systems --Explorer--> Report --> Outcome
//!                                         |
//!              decide: a report for each combination of options
//!              change: a report under the base and one under the proposal
//!              bug:    a report of the system with the bug
//!              compare: what an observer sees of two systems
//! ```
//!
//! **Invariants.** A result is data, a text ([`listing`] has that of several systems) and an
//! [`Outcome`]; nothing here prints, and nothing here decides what is right: what is expected stands
//! beside the systems in `specs/`.

pub mod bug;
pub mod change;
pub mod compare;
pub mod corpus;
pub mod decide;
pub mod described;
pub mod hand_over;
pub mod listing;
pub mod migrating;
pub mod proposal;
pub mod skeleton;
pub mod vm;

use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::explore::report::PropertyVerdict;
use devmig_engine::explore::search::{Limits, Progress};
use devmig_engine::explore::{self, Check, Options, Report};

use crate::protocol::definition::Definition;
use crate::protocol::size::{BadScale, Scale};
use crate::registry::Library;
use crate::spec::{self, SpecError, SpecErrors};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It names what the specification does not have, or the specification has errors.
    #[error(transparent)]
    Spec(#[from] SpecErrors),
    /// A system cannot be explored.
    #[error("cannot explore {system}: {cause}")]
    Explore {
        /// Which.
        system: String,
        /// Why.
        cause: explore::Error,
    },
}

impl From<SpecError> for Error {
    fn from(error: SpecError) -> Self {
        Error::Spec(error.into())
    }
}

/// What a result comes to, from the best to the worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// As expected.
    Expected,
    /// A bound cut it short, and nothing unexpected was found before.
    Incomplete,
    /// Not as expected.
    Unexpected,
}

impl Outcome {
    /// Of a result that is as expected, or not; and if not, whether a bound may be the reason.
    fn of(as_expected: bool, cut: bool) -> Self {
        match (as_expected, cut) {
            (true, _) => Outcome::Expected,
            (false, true) => Outcome::Incomplete,
            (false, false) => Outcome::Unexpected,
        }
    }

    /// Of one system.
    #[must_use]
    pub fn of_report(report: &Report) -> Self {
        let unexpected = report
            .properties
            .iter()
            .any(|p| !p.as_expected && p.verdict != PropertyVerdict::Unknown);
        Outcome::of(report.as_expected, report.incomplete.is_some() && !unexpected)
    }
}

/// How far along an analysis is.
#[derive(Clone, Copy, Debug)]
pub enum Stage<'a> {
    /// So many more systems are to be explored, or tests to be run.
    Planned(usize),
    /// One of them runs: its name, and how far along that is.
    Running(&'a str, Option<&'a Progress>),
    /// It is done.
    Done,
}

/// Explores systems within some bounds.
#[derive(Clone, Copy)]
pub struct Explorer<'a> {
    limits: Limits<'a>,
    watch: &'a (dyn Fn(Stage<'_>) + Sync),
}

impl<'a> Explorer<'a> {
    /// Explores within these bounds; `watch` is told how far along it is.
    #[must_use]
    pub fn new(limits: Limits<'a>, watch: &'a (dyn Fn(Stage<'_>) + Sync)) -> Self {
        Explorer { limits, watch }
    }

    /// Explores a system.
    ///
    /// # Errors
    /// If it cannot be explored at all.
    pub fn explore(&self, library: &Library, system: &dyn Check) -> Result<Report, Error> {
        self.explored(library, system.name(), |options| system.check(options))
    }

    /// Explores several.
    ///
    /// # Errors
    /// If one cannot be explored at all.
    pub fn explore_all(
        &self,
        library: &Library,
        systems: &[Box<dyn Check>],
    ) -> Result<Vec<Report>, Error> {
        self.expects(systems.len());
        systems.iter().map(|system| self.explore(library, &**system)).collect()
    }

    /// Says how many systems are to be explored.
    pub fn expects(&self, systems: usize) {
        self.tell(Stage::Planned(systems));
    }

    /// Says how far along something is.
    pub fn tell(&self, stage: Stage<'_>) {
        (self.watch)(stage);
    }

    fn explored<R>(
        &self,
        library: &Library,
        system: &str,
        explore: impl FnOnce(&Options<'_>) -> Result<R, explore::Error>,
    ) -> Result<R, Error> {
        self.tell(Stage::Running(system, None));
        let progress = |progress: &Progress| self.tell(Stage::Running(system, Some(progress)));
        let limits = Limits { progress: Some(&progress), ..self.limits };
        let clause = |id: ClauseId| library.spec.clause_name(id).to_owned();
        let result = explore(&Options { limits, clause: &clause });
        self.tell(Stage::Done);
        result.map_err(|cause| Error::Explore { system: system.to_owned(), cause })
    }
}

impl Library {
    /// The system of this name at this size, with these choices fixed otherwise.
    ///
    /// # Errors
    /// If there is no such system: names the nearest. If it has no such size: lists its bounds. If it says
    /// nothing at this size: says why.
    pub fn system(
        &self,
        name: &str,
        options: &[(ChoiceId, u8)],
        scale: &Scale,
    ) -> Result<Box<dyn Check>, SpecError> {
        let bad = |bad: BadScale| self.bad_scale(&bad);
        if self.size(name).is_none() {
            return Err(self.unknown(name));
        }
        let scale = &self.scale_of(name, scale).map_err(bad)?;
        if let (false, Some((bounds, speaks))) = (scale.is_empty(), self.size(name))
            && !speaks.at(&scale.resolve(name, &bounds).map_err(bad)?)
        {
            let message = format!("{name} says nothing at {scale}: {}", speaks.why);
            return Err(SpecError::new(message).help(format!("its verdicts are for {speaks}")));
        }
        let found = self.find_scaled(name, options, scale).map_err(bad)?;
        found.ok_or_else(|| self.unknown(name))
    }

    fn bad_scale(&self, bad: &BadScale) -> SpecError {
        let error = SpecError::new(bad.to_string());
        match bad {
            BadScale::NoPreset(_) => {
                error.help(format!("these have it: {}", self.large().join(", ")))
            }
            _ => error,
        }
    }

    /// The names of the systems with the preset `large`.
    #[must_use]
    pub fn large(&self) -> Vec<&str> {
        let definitions = self.system_definitions();
        let large = definitions.filter(|def| def.common().large.is_some());
        large.map(Definition::name).collect()
    }

    /// The systems whose names match any of the patterns, in the catalogue's order; all if there is
    /// no pattern. Of several, those without a preset that is asked for are left out.
    ///
    /// # Errors
    /// If a pattern matches nothing, or a system has no such size.
    pub fn systems(
        &self,
        patterns: &[String],
        options: &[(ChoiceId, u8)],
        scale: &Scale,
    ) -> Result<Vec<Box<dyn Check>>, SpecError> {
        let matching = |name: &str| patterns.iter().any(|pattern| spec::matches(pattern, name));
        for pattern in patterns {
            if !self.system_names().any(|name| spec::matches(pattern, name)) {
                return Err(self.unknown(pattern));
            }
        }
        if scale.is_empty() {
            let mut all = self.catalogue(options);
            all.retain(|system| patterns.is_empty() || matching(system.name()));
            return Ok(all);
        }
        let names = self.matching(patterns);
        let named = |name: &str| patterns.iter().any(|pattern| pattern == name);
        let names: Vec<&str> =
            names.filter(|name| named(name) || self.scale_of(name, scale).is_ok()).collect();
        if names.is_empty() {
            return Err(self.bad_scale(&BadScale::NoPreset("no system among these".to_owned())));
        }
        names.into_iter().map(|name| self.system(name, options, scale)).collect()
    }

    /// The names that match any of the patterns; all if there is no pattern.
    pub fn matching(&self, patterns: &[String]) -> impl Iterator<Item = &str> {
        let matching = |name: &str| patterns.iter().any(|pattern| spec::matches(pattern, name));
        self.system_names().filter(move |name| patterns.is_empty() || matching(name))
    }

    fn unknown(&self, name: &str) -> SpecError {
        let near = spec::diagnostic::nearest(name, self.system_names());
        // The protocol may have been left out.
        let tail = |known: &&str| known.split_once('/').is_some_and(|(_, tail)| tail == name);
        let help = match near.or_else(|| self.system_names().find(tail)) {
            Some(near) => format!("did you mean `{near}`? `devmig check --list` lists all"),
            None => "`devmig check --list` lists all".to_owned(),
        };
        SpecError::new(format!("no system is called `{name}`")).help(help)
    }
}
