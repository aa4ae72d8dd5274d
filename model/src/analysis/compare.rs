//! Two specifications side by side: whether an observer could tell them apart, and how.
//!
//! ```text
//!  A and B                     two systems
//!  S, options                  S by default             and  S under the options
//!  S, options, and others      S under the others       and  S under the options
//!  S of a proposal             S of the base            and  S of the proposal
//! ```

use std::cell::Cell;

use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::explore::Check;
use devmig_engine::explore::behaviour::Seen;
use devmig_engine::explore::compare::{Comparison, Limits, Verdict, compare};
use serde::Serialize;

use super::{Error, Outcome};
use crate::protocol::size::Scale;
use crate::protocol::{barrier, ring, transfer};
use crate::registry::Library;
use crate::spec::{SpecError, SpecErrors, matches};

/// One side of a comparison.
struct Side {
    library: Library,
    pins: Vec<(ChoiceId, u8)>,
    system: Box<dyn Check>,
    note: Option<String>,
}

impl Side {
    fn new(
        library: &Library,
        name: &str,
        (pins, scale): (&[(ChoiceId, u8)], &Scale),
        note: Option<&str>,
    ) -> Result<Self, SpecError> {
        let system = library.system(name, pins, scale)?;
        let (library, pins) = (library.clone(), pins.to_vec());
        Ok(Side { library, pins, system, note: note.map(str::to_owned) })
    }

    /// What it is, in words.
    fn name(&self) -> String {
        let spec = &self.library.spec;
        let pin = |(choice, option): &(ChoiceId, u8)| {
            format!("{} = {}", spec.choice_name(*choice), spec.option_name(*choice, *option))
        };
        let notes: Vec<_> = self.note.iter().cloned().chain(self.pins.iter().map(pin)).collect();
        match notes.is_empty() {
            true => self.system.name().to_owned(),
            false => format!("{} ({})", self.system.name(), notes.join(", ")),
        }
    }
}

/// What is set side by side, by name; options of choices as they are written.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// A system.
    pub a: &'a str,
    /// The other system, if it is another.
    pub b: Option<&'a str>,
    /// Options for both systems, or for B.
    pub pins: &'a [String],
    /// Options for A.
    pub against: &'a [String],
    /// The size of both.
    pub scale: &'a Scale,
}

/// The abstract machines of which systems can be refinements.
pub const ABSTRACT: [&str; 3] = [ring::RING, barrier::BARRIER, transfer::TRANSFER];

/// What of both is observed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Observed<'a> {
    /// Patterns of events that were hidden.
    pub hidden: &'a [String],
    /// The abstract machine of which only what it knows was seen, e.g. `ring`.
    #[serde(rename = "as")]
    pub machine: Option<&'a str>,
    /// Whether it was seen when messages were read.
    pub reads: bool,
    /// Only whether A refines B is asked.
    #[serde(skip)]
    pub refines: bool,
}

/// The two sides of a comparison.
pub struct Sides {
    a: Side,
    b: Side,
}

/// The result, and what was seen.
#[derive(Serialize)]
pub struct Compared<'a> {
    #[serde(flatten)]
    comparison: Comparison,
    #[serde(flatten)]
    observed: Observed<'a>,
    /// Patterns that matched no event.
    #[serde(skip)]
    unmet: Vec<&'a str>,
}

impl Sides {
    /// What is set side by side. `library` may hold a proposal.
    ///
    /// # Errors
    /// If there is no such system, choice or option, or nothing to compare with.
    pub fn of(library: &Library, question: &Question<'_>) -> Result<Self, SpecErrors> {
        let Question { a, b, pins: written, against, scale } = *question;
        let pins = library.spec.pins(written)?;
        let proposal = library.proposal.as_ref().map(|proposal| proposal.id.as_str());
        let side = |name, pins: &[_]| Side::new(library, name, (pins, scale), proposal);
        if let Some(b) = b {
            return Ok(Sides { a: side(a, &pins)?, b: side(b, &pins)? });
        }
        let base = match (proposal, against) {
            (None, []) if pins.is_empty() => {
                let error = SpecError::new(format!("`{a}` is compared with nothing"));
                let help = "name a second system, another reading by --choice, or a --proposal";
                return Err(error.help(help).into());
            }
            // A pin of a choice that only the proposal knows does not concern the base.
            (Some(_), []) => {
                let base = Library::builtin()?;
                let known = written.iter().filter_map(|pin| base.spec.pin(pin).ok());
                let known: Vec<_> = known.collect();
                library.system(a, &pins, scale)?;
                if base.find(a, &[]).is_none() {
                    let error =
                        SpecError::new(format!("`{a}` is new: the base has no such system"));
                    let help =
                        "name the system to compare it with, or readings by --choice and --against";
                    return Err(error.help(help).into());
                }
                Side::new(&base, a, (&known, scale), Some("base"))?
            }
            _ => side(a, &library.spec.pins(against)?)?,
        };
        Ok(Sides { a: base, b: side(a, &pins)? })
    }

    /// Compares them.
    ///
    /// # Errors
    /// If one cannot be explored, or does not refine the abstract machine that is observed.
    pub fn compared<'o>(
        &self,
        observed: Observed<'o>,
        limits: &Limits<'_>,
    ) -> Result<Compared<'o>, Error> {
        let Sides { a, b } = self;
        let met: Vec<Cell<bool>> = observed.hidden.iter().map(|_| Cell::new(false)).collect();
        let hidden = |words: &str| {
            let matching = observed.hidden.iter().zip(&met).filter(|(p, _)| matches(p, words));
            matching.map(|(_, met)| met.set(true)).count() > 0
        };
        let clause_a = |id: ClauseId| a.library.spec.clause_name(id).to_owned();
        let clause_b = |id: ClauseId| b.library.spec.clause_name(id).to_owned();
        let (name_a, name_b) = (a.name(), b.name());
        let failed = |name: &str| {
            let system = name.to_owned();
            move |cause| Error::Explore { system, cause }
        };
        let seen = Seen {
            refinement: observed.machine,
            reads: observed.reads,
            hidden: &hidden,
            clause: &clause_a,
        };
        let mut left = a.system.behaviour(seen).map_err(failed(&name_a))?;
        let seen = Seen { clause: &clause_b, ..seen };
        let mut right = b.system.behaviour(seen).map_err(failed(&name_b))?;
        let compared = compare((&name_a, &mut *left), (&name_b, &mut *right), limits);
        let mut comparison = compared.map_err(failed(&name_a))?;
        if observed.refines {
            // What else B can do was not asked.
            (comparison.only_b, comparison.a_allows) = (None, None);
        }
        let unmet = observed.hidden.iter().zip(&met).filter(|(_, met)| !met.get());
        let unmet = unmet.map(|(pattern, _)| pattern.as_str()).collect();
        Ok(Compared { comparison, observed, unmet })
    }
}

impl Compared<'_> {
    /// For the console.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.comparison.text();
        for pattern in &self.unmet {
            text += &format!("\nnothing was hidden by `{pattern}`: no event was met so called\n");
        }
        text
    }

    /// What it comes to: as expected is that nobody can tell them apart.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let Comparison { verdict, only_a, only_b, .. } = &self.comparison;
        match verdict {
            Verdict::Equal => Outcome::Expected,
            Verdict::AInB if self.observed.refines => Outcome::Expected,
            _ if only_a.is_some() || only_b.is_some() => Outcome::Unexpected,
            _ => Outcome::Incomplete,
        }
    }
}
