//! `devmig compare`: whether anybody outside could tell two specifications apart, and how.
//!
//! ```text
//!  compare A B                       two systems
//!  compare S --choice N=x            S by default          and  S under N = x
//!  compare S --choice N=x --against N=y      S under N = y and  S under N = x
//!  compare S --proposal FILE         S of the base         and  S of the proposal
//! ```

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::explore::behaviour::Seen;
use devmig_engine::explore::compare::{Comparison, Limits, Progress, Verdict, compare};
use devmig_engine::explore::{self, Check};
use devmig_model::protocol::ring;
use devmig_model::protocol::size::Scale;
use devmig_model::registry::Library;
use devmig_model::spec;
use serde::Serialize;

use super::grid::thousands;
use super::number::{MANY, WEEK};
use super::progress::Meter;
use super::select::{self, Pins, Size};
use super::{Error, Format, Out, Status};

/// Compare the observable behaviour of two systems (hanging counts as observable)
///
/// Compare two systems, a system under two interpretations (`--choice`), or a system of the base
/// with that of a proposal. Internal steps of a participant are not observable, nor is the moment
/// at which a message is read. If the systems differ, a shortest trace shows a difference.
#[derive(Debug, clap::Args)]
#[command(after_help = super::help::COMPARE)]
pub(crate) struct Args {
    /// System A
    #[arg(value_name = "A")]
    a: String,
    /// System B [default: A with the given interpretations or proposal]
    #[arg(value_name = "B", conflicts_with = "against")]
    b: Option<String>,
    /// Apply this proposal to B (to both if B or `--against` is given)
    #[arg(long, value_name = "FILE", help_heading = "Specification")]
    proposal: Option<PathBuf>,
    #[command(flatten)]
    pins: Pins,
    #[command(flatten)]
    size: Size,
    /// Fix the interpretation of a choice for A
    #[arg(long, value_name = "NAME=OPTION", requires = "pins", help_heading = "Specification")]
    against: Vec<String>,
    /// Hide events by their text in traces (`*` matches any characters)
    #[arg(long, value_name = "EVENT|GLOB", help_heading = "Observation")]
    hide: Vec<String>,
    /// Make the reading of messages observable
    #[arg(long, help_heading = "Observation")]
    reads: bool,
    /// Map both systems to the abstract ring (`ring/abstract`): requests, kicks, stops and bases
    #[arg(long, conflicts_with = "reads", help_heading = "Observation")]
    ring: bool,
    /// Check only that A refines B: exit code 0 also if B allows more
    #[arg(long, help_heading = "Observation")]
    refines: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t, help_heading = "Output")]
    format: Format,
    /// Maximum number of pairs in each direction; beyond it the verdict is `incomplete`
    #[arg(long, value_name = "N", help_heading = "Bounds", default_value_t = Limits::PAIRS as u64,
          value_parser = clap::value_parser!(u64).range(1..=MANY))]
    max_pairs: u64,
    /// Maximum search depth, in observable events
    #[arg(long, value_name = "N", help_heading = "Bounds",
          value_parser = clap::value_parser!(u32).range(1..))]
    max_depth: Option<u32>,
    /// Maximum time for each direction
    #[arg(long, value_name = "SECONDS", help_heading = "Bounds",
          value_parser = clap::value_parser!(u32).range(1..=WEEK))]
    timeout: Option<u32>,
}

/// One side of a comparison.
struct Side {
    library: Library,
    pins: Vec<(ChoiceId, u8)>,
    system: Box<dyn Check>,
    note: Option<String>,
}

impl Side {
    fn new(
        library: Library,
        name: &str,
        (pins, scale): (Vec<(ChoiceId, u8)>, &Scale),
        note: Option<&str>,
    ) -> Result<Self, Error> {
        let system = select::system(&library, name, &pins, scale)?;
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

/// The result, and what was seen.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    comparison: &'a Comparison,
    /// Patterns of events that were hidden.
    hidden: &'a [String],
    /// Whether only what the abstract ring knows was seen.
    ring: bool,
    /// Whether it was seen when messages were read.
    reads: bool,
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let (a, b) = sides(args)?;
    let met: Vec<Cell<bool>> = args.hide.iter().map(|_| Cell::new(false)).collect();
    let hidden = |words: &str| {
        let matching = args.hide.iter().zip(&met).filter(|(p, _)| spec::matches(p, words));
        matching.map(|(_, met)| met.set(true)).count() > 0
    };
    let clause_a = |id: ClauseId| a.library.spec.clause_name(id).to_owned();
    let clause_b = |id: ClauseId| b.library.spec.clause_name(id).to_owned();
    let (name_a, name_b) = (a.name(), b.name());
    let failed = |name: &str| {
        let system = name.to_owned();
        move |cause: explore::Error| Error::Explore { system, cause }
    };
    let refinement = args.ring.then_some(ring::RING);
    let seen = Seen { refinement, reads: args.reads, hidden: &hidden, clause: &clause_a };
    let mut left = a.system.behaviour(seen).map_err(failed(&name_a))?;
    let seen = Seen { clause: &clause_b, ..seen };
    let mut right = b.system.behaviour(seen).map_err(failed(&name_b))?;
    let meter = Meter::new(1);
    let show = |p: &Progress| {
        meter.say(format!("{} pairs, {} visible events", thousands(p.pairs as u64), p.depth));
    };
    let limits = Limits {
        max_pairs: usize::try_from(args.max_pairs).unwrap_or(usize::MAX),
        max_depth: args.max_depth,
        deadline: args.timeout.map(|s| Duration::from_secs(s.into())),
        progress: Some(&show),
    };
    let mut comparison =
        compare((&name_a, &mut *left), (&name_b, &mut *right), &limits).map_err(failed(&name_a))?;
    drop(meter);
    if args.refines {
        // What else B can do was not asked.
        (comparison.only_b, comparison.a_allows) = (None, None);
    }
    match args.format {
        Format::Json => {
            let (hidden, ring, reads) = (&args.hide[..], args.ring, args.reads);
            out.json(&Document { comparison: &comparison, hidden, ring, reads })?;
        }
        Format::Text => {
            out.text(&comparison.text())?;
            for (pattern, _) in args.hide.iter().zip(&met).filter(|(_, met)| !met.get()) {
                out.text(&format!(
                    "\nnothing was hidden by `{pattern}`: no event was met so called\n"
                ))?;
            }
        }
    }
    Ok(match comparison.verdict {
        Verdict::Equal => Status::Good,
        Verdict::AInB if args.refines => Status::Good,
        _ if comparison.only_a.is_some() || comparison.only_b.is_some() => Status::Bad,
        _ => Status::Incomplete,
    })
}

/// What is set side by side.
fn sides(args: &Args) -> Result<(Side, Side), Error> {
    let scale = &args.size.scale();
    let library = || select::library(args.proposal.as_ref());
    let pinned = |library: &Library| args.pins.resolve(&library.spec);
    let proposed = library()?;
    let pins = pinned(&proposed)?;
    let proposal = proposed.proposal.as_ref().map(|proposal| proposal.id.clone());
    if let Some(b) = &args.b {
        let a = Side::new(library()?, &args.a, (pins.clone(), scale), proposal.as_deref())?;
        return Ok((a, Side::new(proposed, b, (pins, scale), proposal.as_deref())?));
    }
    let base = match (&proposal, args.against.is_empty()) {
        (None, true) if pins.is_empty() => {
            let message = format!("`{}` is compared with nothing", args.a);
            let help = "name a second system, another reading by --choice, or a --proposal";
            return Err(Error::usage(message, Some(help.to_owned())));
        }
        // A pin of a choice that only the proposal knows does not concern the base.
        (Some(_), true) => {
            let base = Library::builtin()?;
            let known = args.pins.written().iter().filter_map(|pin| base.spec.pin(pin).ok());
            let known = known.collect();
            select::system(&proposed, &args.a, &pins, scale)?;
            if base.find(&args.a, &[]).is_none() {
                let message = format!("`{}` is new: the base has no such system", args.a);
                let help =
                    "name the system to compare it with, or readings by --choice and --against";
                return Err(Error::usage(message, Some(help.to_owned())));
            }
            Side::new(base, &args.a, (known, scale), Some("base"))?
        }
        _ => {
            let against = Pins::of(&args.against).resolve(&proposed.spec)?;
            Side::new(library()?, &args.a, (against, scale), proposal.as_deref())?
        }
    };
    Ok((base, Side::new(proposed, &args.a, (pins, scale), proposal.as_deref())?))
}
