//! `devmig test multifd-source`: a source migrates in several ways, and its stream is judged.

use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs};
use devmig_engine::rules::Rules;
use devmig_model::registry::Library;

use super::super::number::span;
use super::super::pace::Plan;
use super::shared::{Again, Followed, Of, Shared, Start, lacking};
use super::{Error, Out, Status};
use crate::multifd::judge::DOCUMENT;
use crate::multifd::source::runner::{self, Run};
use crate::multifd::source::session::Subject;
use crate::multifd::source::suite;
use crate::scenario::migration::machine::{BLOCK, Launch};

/// Let a source migrate in several ways, and judge its stream
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::TEST_MULTIFD_SOURCE)]
#[command(group = ArgGroup::new("where").required(true).args(["spawn", "list"]))]
pub(super) struct Args {
    /// Command that starts QEMU with a guest that runs. `{socket}` is replaced by the path of its
    /// monitor, and `{ram}` by the file of its memory, which must be shared. Each test starts it anew
    #[arg(long, value_name = "COMMAND", help_heading = "Target")]
    spawn: Option<String>,
    /// Name of the block of RAM that is the memory
    #[arg(long, value_name = "NAME", default_value = BLOCK, help_heading = "Target")]
    block: String,
    /// Time for which the guest runs before it migrates
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = span,
          help_heading = "Target")]
    boot: Duration,
    /// Version of QEMU to judge by; default: that of the machine type
    #[arg(long, value_name = "VERSION", help_heading = "Judgement")]
    spec_version: Option<String>,
    #[command(flatten)]
    start: Start,
    #[command(flatten)]
    shared: Shared,
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let suite = suite::builtin(&library)?;
    let tests = args.shared.chosen(&suite, "multifd-source")?;
    let Some(spawn) = args.spawn.as_deref().filter(|_| !args.shared.list) else {
        return args.shared.list(&library, &tests, out);
    };
    let launch = Launch::theirs(spawn).map_err(lacking)?;
    let version = args.spec_version.as_deref();
    // Each stream is judged by the version of its machine type, which its log names.
    let text = version.unwrap_or_default();
    let rules = match version {
        Some(version) => library.spec.judged_by(DOCUMENT, version)?,
        None => Rules::default(),
    };
    let start = args.start.start_timeout;
    let subject = Subject { launch, start, block: &args.block, boot: args.boot, version };
    let seconds = args.boot.as_secs_f64().to_string();
    let again = Again::new("devmig test multifd-source")
        .value("--spawn", Some(spawn))
        .value("--block", Some(&args.block))
        .value("--boot", Some(seconds))
        .value("--spec-version", version)
        .start(args.start);
    let run = Run {
        reproduce: again.finish(),
        waivers: args.shared.accepted(&library, &suite)?,
        seed: args.shared.seed,
        ..Run::new(&library, &subject, text, rules)
    };
    let of = Of { protocol: "multifd-source", again: &run.reproduce, text };
    let played = |followed: Followed<'_>| {
        let run = Run { aside: followed.aside, ..run.clone() };
        Ok(runner::run(&run, &tests, followed.done))
    };
    args.shared.play(&library, of, Plan::even(tests.len(), 1), out, played)
}
