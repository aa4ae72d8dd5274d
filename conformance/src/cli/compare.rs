//! `devmig compare`: whether an observer could tell two specifications apart, and how.

use std::path::PathBuf;
use std::time::Duration;

use devmig_engine::columns::thousands;
use devmig_engine::explore::compare::{Limits, Progress};
use devmig_model::analysis::compare::{ABSTRACT, Observed, Question, Sides};

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
    /// Map both systems to an abstract machine: `ring` (requests, kicks, stops, bases), `barrier`
    /// (pages written, pages received, barriers passed) or `transfer` (pieces of state written and
    /// received, the destination takes over). The systems `ring/abstract`, `barrier/abstract` and
    /// `transfer/abstract` are these machines alone
    #[arg(long = "as", value_name = "MACHINE", value_parser = ABSTRACT, conflicts_with = "reads",
          help_heading = "Observation")]
    machine: Option<String>,
    /// The same as `--as ring`
    #[arg(long, conflicts_with_all = ["reads", "machine"], help_heading = "Observation")]
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

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let question = Question {
        a: &args.a,
        b: args.b.as_deref(),
        pins: args.pins.written(),
        against: &args.against,
        scale: &args.size.scale(),
    };
    let sides = Sides::of(&select::library(args.proposal.as_ref())?, &question)?;
    let meter = Meter::new();
    let show = |p: &Progress| {
        meter.say(format!("{} pairs, {} visible events", thousands(p.pairs as u64), p.depth));
    };
    let limits = Limits {
        max_pairs: usize::try_from(args.max_pairs).unwrap_or(usize::MAX),
        max_depth: args.max_depth,
        deadline: args.timeout.map(|s| Duration::from_secs(s.into())),
        progress: Some(&show),
    };
    let Args { hide: hidden, reads, refines, .. } = args;
    let machine = args.machine.as_deref().or(args.ring.then_some(ABSTRACT[0]));
    let observed = Observed { hidden, machine, reads: *reads, refines: *refines };
    let compared = sides.compared(observed, &limits)?;
    drop(meter);
    out.show(args.format, &compared, || compared.text())?;
    Ok(compared.outcome().into())
}
