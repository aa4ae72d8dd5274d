//! `devmig verify`: everything that is built in, once.

use devmig_model::registry::Library;

use super::progress::Meter;
use super::select::Bounds;
use super::{Error, Format, Out, Status, this_program};
use crate::verify::{Verification, passes};

/// Check all built-in systems, proposals and bugs, and test the reference devices
#[derive(Debug, clap::Args)]
#[command(after_help = super::help::VERIFY)]
pub(crate) struct Args {
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    bounds: Bounds,
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let meter = Meter::new();
    let explorer = meter.explorer(args.bounds.limits());
    let found = Verification::of(&explorer, &library, this_program()?)?;
    drop(meter);
    out.show(args.format, &found, || found.text(&library))?;
    let suites = found.suites().into_iter().map(|(_, suite)| match suite.summary.error {
        0 if passes(suite) => Status::Good,
        0 => Status::Bad,
        _ => Status::HarnessError,
    });
    Ok(suites.fold(found.outcome().into(), Status::max))
}
