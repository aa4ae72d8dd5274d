//! `devmig test multifd-destination`: a recorded migration with one fault at a time, sent to a destination.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs};
use devmig_engine::rules::Rules;
use devmig_model::registry::Library;
use serde_json::{Map, Value};

use super::super::number::limit;
use super::super::pace::Plan;
use super::shared::{Again, Followed, Of, Shared, Start, lacking};
use super::{Error, Out, Status};
use crate::harness::io::files;
use crate::multifd::destination::runner::{self, Run};
use crate::multifd::destination::session::Subject;
use crate::multifd::destination::suite::{self, Test};
use crate::multifd::judge::DOCUMENT;
use crate::multifd::pieces::{LONGEST, Pieces};
use crate::multifd::recording::Recording;
use crate::scenario::migration::machine::Launch;

/// The version that judges, if none is named.
const VERSION: &str = "11.1";

/// Send a recorded migration to a destination, with one fault at a time, and judge how it ends
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::TEST_MULTIFD_DESTINATION)]
#[command(group = ArgGroup::new("where").required(true).args(["spawn", "list"]))]
pub(super) struct Args {
    /// Command that starts QEMU with the machine of the source. `{socket}` is replaced by the path of
    /// its monitor, and `{ram}` by the file of its memory, which must be shared. devmig adds
    /// `-S -incoming defer`. Each test starts it anew
    #[arg(long, value_name = "COMMAND", help_heading = "Target",
          requires_all = ["recording", "source_ram"])]
    spawn: Option<String>,
    /// Folder with the recording of a complete migration; see `devmig watch multifd`
    #[arg(long, value_name = "DIR", help_heading = "Target")]
    recording: Option<PathBuf>,
    /// Memory of the source when it stopped
    #[arg(long, value_name = "FILE", help_heading = "Target")]
    source_ram: Option<PathBuf>,
    /// Capability to enable besides multifd and return-path; repeatable
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    capability: Vec<String>,
    /// Parameter of the migration to set; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = parameter, help_heading = "Target")]
    parameter: Vec<(String, Value)>,
    /// Maximum time for the migration to end after everything was sent, and for an answer of the
    /// monitor, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = limit,
          help_heading = "Judgement")]
    timeout: Duration,
    #[command(flatten)]
    start: Start,
    #[command(flatten)]
    shared: Shared,
}

/// A number, `true`, `false` or else a string.
fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("it has the form NAME=VALUE")?;
    let scalar = |value: &Value| value.is_number() || value.is_boolean();
    let read = serde_json::from_str(value).ok().filter(scalar);
    Ok((name.to_owned(), read.unwrap_or_else(|| Value::String(value.to_owned()))))
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let suite = suite::builtin(&library)?;
    let tests = args.shared.chosen(&suite, "multifd-destination")?;
    let given = (&args.spawn, &args.recording, &args.source_ram);
    let (Some(spawn), Some(recording), Some(source)) = given else {
        return args.shared.list(&library, &tests, out);
    };
    if args.shared.list {
        return args.shared.list(&library, &tests, out);
    }
    let launch = Launch::theirs(spawn).map_err(lacking)?;
    let memory = files::bytes(source, LONGEST)
        .map_err(|why| Error::usage(format!("{}: {why}", source.display()), None))?;
    let opened = Recording::open(recording);
    let opened = opened.map_err(|why| Error::usage(why.of(recording), None))?;
    let pieces = Pieces::of(&opened)
        .map_err(|why| Error::usage(format!("{}: {why}", recording.display()), None))?;
    if !pieces.complete {
        let why = format!("{}: the migration has no end", recording.display());
        return Err(Error::usage(why, Some("record a migration that completes".to_owned())));
    }
    let parameters: Map<String, Value> = args.parameter.iter().cloned().collect();
    let subject = Subject {
        launch,
        start: args.start.start_timeout,
        capabilities: &args.capability,
        parameters: &parameters,
        pieces: &pieces,
        memory: &memory,
        limit: args.timeout,
    };
    let again = Again::new("devmig test multifd-destination")
        .value("--spawn", Some(spawn))
        .path("--recording", Some(recording))
        .path("--source-ram", Some(source))
        .each("--capability", &args.capability);
    let again = args.parameter.iter().fold(again, |again, (name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        again.value("--parameter", Some(format!("{name}={value}")))
    });
    let seconds = args.timeout.as_secs_f64();
    let again = again.value("--timeout", Some(seconds.to_string())).start(args.start);
    let rules: Rules = library.spec.judged_by(DOCUMENT, VERSION)?;
    let run = Run {
        reproduce: again.finish(),
        waivers: args.shared.accepted(&library, &suite)?,
        seed: args.shared.seed,
        ..Run::new(&library, &subject, VERSION, rules)
    };
    let of = Of { protocol: "multifd-destination", again: &run.reproduce, text: VERSION };
    let tests: Vec<&Test> = tests;
    let played = |followed: Followed<'_>| {
        let run = Run { aside: followed.aside, ..run.clone() };
        Ok(runner::run(&run, &tests, followed.done)?)
    };
    args.shared.play(&library, of, Plan::even(tests.len(), 1), out, played)
}
