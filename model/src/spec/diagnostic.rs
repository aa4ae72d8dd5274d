//! What is wrong with a specification, at which place, and what to do about it.
//!
//! A [`SpecError`] underlines a place in a [`SourceFile`]; a [`Diagnostics`] collects every problem
//! of all files, so that an author does not meet them one by one. Both print through miette's
//! report handlers.
//!
//! **Invariants.** Nothing here panics, whatever the file holds: a span outside the text is moved
//! to its end. Errors come out in the order of files and places, and never twice.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use devmig_engine::explore::names::renamed;
use miette::{Diagnostic, LabeledSpan, Severity, SourceCode};
use thiserror::Error;

use super::source_file::SourceFile;

/// One problem of a specification.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub struct SpecError {
    message: Box<str>,
    help: Option<Box<str>>,
    at: Option<Box<At>>,
    is_warning: bool,
}

/// Where: a file, the place underlined, and an earlier place that it clashes with.
#[derive(Clone, Debug)]
struct At {
    file: SourceFile,
    span: Range<usize>,
    label: String,
    other: Option<(Range<usize>, String)>,
}

impl SpecError {
    /// A problem that has no place in a file: a lookup from code.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        SpecError { message: message.into().into(), help: None, at: None, is_warning: false }
    }

    /// A problem at a place, given as a byte range, with a few words beneath the underline.
    #[must_use]
    pub fn at(
        file: &SourceFile,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        let span = file.clamp(span);
        let at = At { file: file.clone(), span, label: label.into(), other: None };
        SpecError { at: Some(Box::new(at)), ..SpecError::new(message) }
    }

    /// The same problem, at a place.
    #[must_use]
    pub fn placed(
        mut self,
        file: &SourceFile,
        span: Range<usize>,
        label: impl Into<String>,
    ) -> Self {
        self.at = SpecError::at(file, span, "", label).at;
        self
    }

    /// The same, saying what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into().into());
        self
    }

    /// The same, pointing to an earlier place of the same file too.
    #[must_use]
    pub fn and(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        if let Some(at) = &mut self.at {
            at.other = Some((at.file.clamp(span), label.into()));
        }
        self
    }

    /// Whether it is only a warning: what it is about has no effect, or perhaps another one than was meant.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        self.is_warning
    }

    /// What is wrong, in one line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do, if that is known.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The name of the file, if it has a place.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.at.as_ref().map(|at| at.file.name())
    }

    /// The place as a byte range of the file's text.
    #[must_use]
    pub fn span(&self) -> Option<Range<usize>> {
        self.at.as_ref().map(|at| at.span.clone())
    }
}

impl Diagnostic for SpecError {
    fn severity(&self) -> Option<Severity> {
        Some(if self.is_warning { Severity::Warning } else { Severity::Error })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.at.as_ref().map(|at| &at.file as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let at = self.at.as_ref()?;
        let main = LabeledSpan::new_primary_with_span(Some(at.label.clone()), at.span.clone());
        let other = at
            .other
            .iter()
            .map(|(span, label)| LabeledSpan::new_with_span(Some(label.clone()), span.clone()));
        Some(Box::new(std::iter::once(main).chain(other)))
    }
}

/// The most problems that are reported of one load: nobody reads more, and each costs time to draw.
pub const MAX_ERRORS: usize = 100;

/// The most problems that are kept until they are put in order.
const MAX_KEPT: usize = 10 * MAX_ERRORS;

/// The longest word for which a similar one is looked for, in characters.
const MAX_WORD: usize = 256;

/// Every problem that was found in one load, or the first [`MAX_ERRORS`] of them.
#[derive(Clone, Debug, Error)]
#[error("{}", self.summary())]
pub struct SpecErrors {
    errors: Vec<SpecError>,
    warnings: Vec<SpecError>,
    more: usize,
    of: &'static str,
}

/// What has the problems, if nothing else is said.
const SPECIFICATION: &str = "the specification";

impl SpecErrors {
    /// The problems, in the order of files and places. There is at least one.
    #[must_use]
    pub fn errors(&self) -> &[SpecError] {
        &self.errors
    }

    /// The warnings, in the order of files and places.
    #[must_use]
    pub fn warnings(&self) -> &[SpecError] {
        &self.warnings
    }

    /// How many problems there are beyond [`SpecErrors::errors`].
    #[must_use]
    pub fn more(&self) -> usize {
        self.more
    }

    fn summary(&self) -> String {
        let of = self.of;
        match (self.errors.len(), self.more) {
            (1, 0) => format!("{of} has an error"),
            (many, 0) => format!("{of} has {many} errors"),
            (shown, more) => {
                let all = shown + more;
                format!("{of} has {all} errors: the first {shown}, and {more} more")
            }
        }
    }

    /// The same about something else than the specification.
    #[must_use]
    pub fn about(self, of: &'static str) -> Self {
        SpecErrors { of, ..self }
    }
}

impl From<SpecError> for SpecErrors {
    fn from(error: SpecError) -> Self {
        SpecErrors { errors: vec![error], warnings: Vec::new(), more: 0, of: SPECIFICATION }
    }
}

impl Diagnostic for SpecErrors {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let all = self.errors.iter().chain(&self.warnings);
        Some(Box::new(all.map(|error| error as &dyn Diagnostic)))
    }
}

/// Collects problems while files are read.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    errors: Vec<SpecError>,
    warnings: Vec<SpecError>,
    /// How many were found once enough were kept.
    more: usize,
    files: BTreeMap<String, usize>,
    malformed: bool,
    /// Whether an item could not be read that has no name.
    nameless: bool,
    /// Whether a file is not TOML at all.
    unreadable: bool,
    /// The names of items that could not be read.
    lost: BTreeSet<String>,
    /// The ids of clauses and choices that an item uses.
    used: BTreeSet<String>,
}

impl Diagnostics {
    /// Notes a problem.
    pub fn push(&mut self, error: SpecError) {
        if self.errors.len() < MAX_KEPT {
            self.errors.push(error);
        } else {
            self.more += 1;
        }
    }

    /// Notes something that has no effect, or perhaps another one than was meant.
    pub fn warn(&mut self, warning: SpecError) {
        if self.warnings.len() < MAX_KEPT {
            self.warnings.push(SpecError { is_warning: true, ..warning });
        }
    }

    /// Notes that an item uses the clause or choice of this id.
    pub fn uses(&mut self, id: &str) {
        self.used.insert(id.to_owned());
    }

    /// Whether an item uses the clause or choice of this id.
    #[must_use]
    pub fn is_used(&self, id: &str) -> bool {
        self.used.contains(id)
    }

    /// Notes the name of an item that could not be read: nothing is said of what refers to it.
    pub fn lost(&mut self, name: Option<String>) {
        self.malformed = true;
        match name {
            Some(name) => drop(self.lost.insert(name)),
            None => self.nameless = true,
        }
    }

    /// Notes that a file is not TOML.
    pub fn unreadable(&mut self) {
        self.malformed = true;
        self.nameless = true;
        self.unreadable = true;
    }

    /// Whether every file is TOML.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        !self.unreadable
    }

    /// Notes all that was noted elsewhere.
    pub fn append(&mut self, other: Diagnostics) {
        other.warnings.into_iter().for_each(|warning| self.warn(warning));
        self.lost.extend(other.lost);
        self.used.extend(other.used);
        self.unreadable |= other.unreadable;
        self.nameless |= other.nameless;
        other.errors.into_iter().for_each(|error| self.push(error));
        self.more += other.more;
        self.malformed |= other.malformed;
    }

    /// Notes a reference that leads nowhere, unless what it refers to may be what could not be
    /// read.
    pub fn reference(&mut self, error: SpecError) {
        if !self.nameless {
            self.push(error);
        }
    }

    /// Notes that a file or an item could not be read, so that what others refer to may be missing
    /// for that reason alone.
    pub fn malformed(&mut self) {
        self.malformed = true;
    }

    /// Whether every item of every file could be read.
    #[must_use]
    pub fn complete(&self) -> bool {
        !self.malformed
    }

    /// Gives a file its place in the order of reports.
    pub fn enter(&mut self, file: &SourceFile) {
        let next = self.files.len();
        self.files.entry(file.name().to_owned()).or_insert(next);
    }

    /// Whether nothing was found so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// `value` if nothing was found.
    ///
    /// # Errors
    /// The problems found, in the order of files and places: the first [`MAX_ERRORS`].
    pub fn finish<T>(self, value: T) -> Result<T, SpecErrors> {
        self.finish_with_warnings(value).map(|(value, _)| value)
    }

    /// `value` and the warnings, if nothing worse was found.
    ///
    /// # Errors
    /// The problems found, in the order of files and places: the first [`MAX_ERRORS`].
    pub fn finish_with_warnings<T>(self, value: T) -> Result<(T, Vec<SpecError>), SpecErrors> {
        let mut warnings = in_order(self.warnings, &self.files);
        warnings.truncate(MAX_ERRORS);
        let is_lost = |error: &SpecError| refers_to(error.message(), &self.lost);
        let errors: Vec<_> = self.errors.into_iter().filter(|error| !is_lost(error)).collect();
        let mut errors = in_order(errors, &self.files);
        let more = self.more + errors.len().saturating_sub(MAX_ERRORS);
        errors.truncate(MAX_ERRORS);
        match errors.is_empty() {
            true => Ok((value, warnings)),
            false => Err(SpecErrors { errors, warnings, more, of: SPECIFICATION }),
        }
    }
}

/// In the order of files and places, each once.
fn in_order(mut all: Vec<SpecError>, files: &BTreeMap<String, usize>) -> Vec<SpecError> {
    all.sort_by_key(|error| {
        let file = error.file().and_then(|name| files.get(name)).copied();
        (file.unwrap_or(usize::MAX), error.span().map_or(0, |span| span.start))
    });
    let mut seen = BTreeSet::new();
    all.retain(|error| {
        let place = error.span().map(|span| (span.start, span.end));
        seen.insert((error.message.clone(), error.file().map(str::to_owned), place))
    });
    all
}

/// Whether a message is that one of these names is not known: it quotes the name, alone or as the first
/// word of a step.
fn refers_to(message: &str, names: &BTreeSet<String>) -> bool {
    let quoted = message.split('`').nth(1).unwrap_or_default();
    let word = quoted.split(' ').next().unwrap_or_default();
    let is_unknown = message.starts_with("no ") || message.ends_with("is not a step");
    is_unknown && (names.contains(quoted) || names.contains(word))
}

/// The candidate nearest to `word`, if any is near enough to be what was meant: at most a third of
/// its characters wrong, and at most three.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A longer word is nobody's slip, and would take long to compare.
    let limit = match word.chars().take(MAX_WORD + 1).count() {
        length if length > MAX_WORD => return None,
        length => (length / 3).min(3),
    };
    candidates
        .into_iter()
        .map(|candidate| (strsim::levenshtein(word, candidate), candidate))
        .filter(|(far, _)| *far <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// "did you mean", or else a list of what there is, if that is short: of what begins with the same
/// words before the last dot, or else of all.
#[must_use]
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(near) = nearest(word, candidates.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let list = |wanted: &dyn Fn(&str) -> bool| {
        let names = candidates.clone().into_iter().filter(|name| wanted(name));
        let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
        (!names.is_empty() && names.len() <= 16)
            .then(|| format!("the known names are {}", names.join(", ")))
    };
    let area = word.rsplit_once('.').map(|(area, _)| format!("{area}."));
    area.and_then(|area| list(&|name| name.starts_with(&area))).or_else(|| list(&|_| true))
}

/// The present name of a property that was renamed, or else [`did_you_mean`].
#[must_use]
pub fn renamed_or_near<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    match renamed(word) {
        Some(name) => Some(format!("this property is now called `{name}`")),
        None => did_you_mean(word, candidates),
    }
}
