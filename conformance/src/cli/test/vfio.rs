//! What `devmig test vfio-user` and `devmig test vfio` have in common: the VFIO suite at some place.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use devmig_engine::rules::Rules;
use devmig_model::registry::Library;
use devmig_model::spec::SourceFile;

use super::super::number::limit;
use super::super::select;
use super::shared::{Of, Shared, script_words, timeout_words};
use super::{Error, Out, Status};
use crate::harness::report::Result as TestResult;
use crate::harness::suite::{load, script};
use crate::harness::walk::Walk;
use crate::vfio::device::Place;
use crate::vfio::runner::{self, Run, Subject};
use crate::vfio::session::Limits;
use crate::vfio::suite;

/// What every transport's command takes.
#[derive(Debug, ClapArgs)]
pub(super) struct Common {
    /// Run this many random walks instead of tests, with the seeds from `--seed` upwards
    #[arg(long, value_name = "N", help_heading = "Selection",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    walks: Option<u32>,
    /// Number of steps in each walk
    #[arg(long, value_name = "M", default_value_t = 60, help_heading = "Selection",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    steps: u32,
    /// The tests of this file (in the form of the suite's own), and no others.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// These steps, and nothing else: what a walk that found something prints.
    #[arg(long, value_name = "STEP; STEP…", conflicts_with = "script")]
    play: Option<String>,
    /// Fix the interpretation of a choice; see `devmig choices`
    #[arg(long, value_name = "NAME=OPTION", help_heading = "Judgement")]
    choice: Vec<String>,
    /// Version of the VFIO specification
    #[arg(
        long = "spec-version",
        alias = "text",
        value_name = "VERSION",
        default_value = "6.18",
        help_heading = "Judgement"
    )]
    pub(super) text: String,
    /// Maximum time for each call, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = limit,
          help_heading = "Judgement")]
    timeout: Duration,
    #[command(flatten)]
    pub(super) shared: Shared,
}

impl Common {
    /// How long a call may take.
    pub(super) fn limit(&self) -> Duration {
        self.timeout
    }

    /// The command that runs a test again, but for the test's name and the seed.
    fn again(&self, mut command: String) -> String {
        command.extend(self.choice.iter().map(|pin| format!(" --choice {pin}")));
        if let Some(waivers) = &self.shared.waivers {
            command += &format!(" --waivers {}", shell_words::quote(&waivers.to_string_lossy()));
        }
        if self.text != "6.18" {
            command += &format!(" --spec-version {}", self.text);
        }
        command.extend(timeout_words(self.timeout).map(|words| format!(" {words}")));
        command
    }
}

/// Rules by a version of the text of VFIO, without what cannot be seen from outside.
pub(super) fn judged_by(library: &Library, text: &str) -> Result<Rules, Error> {
    Ok(library.spec.judged_by("linux-vfio", text)?)
}

/// Runs what is asked for at this place; `p2p` says whether the flag means there what it means in VFIO.
pub(super) fn run(
    args: &Common,
    place: Option<&dyn Place>,
    p2p: bool,
    protocol: &str,
    again: String,
    out: &mut Out<'_>,
) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let asked = match (&args.script, &args.play) {
        (Some(path), _) => Some(SourceFile::new(path.to_string_lossy(), select::read(path)?)),
        (None, Some(steps)) => Some(SourceFile::new("--play", script::<suite::Form>(steps))),
        (None, None) => None,
    };
    let suite = match asked {
        Some(file) => load(&library, &file)?,
        None => suite::builtin(&library)?,
    };
    let walk =
        |n: u32| Walk { seed: args.shared.seed.wrapping_add(n.into()), steps: args.steps as usize };
    let walks: Vec<Walk> = (0..args.walks.unwrap_or(0)).map(walk).collect();
    let tests = match args.walks {
        Some(_) if args.shared.only.is_empty() && args.script.is_none() => Vec::new(),
        _ => args.shared.chosen(&suite, "vfio-user")?,
    };
    let Some(place) = place.filter(|_| !args.shared.list) else {
        return args.shared.list(&library, &tests, out);
    };
    let pins = args.choice.iter().map(|pin| library.spec.pin(pin));
    let waivers = args.shared.accepted(&library, &suite)?;
    let run = Run {
        library: &library,
        subject: Subject { place, limits: Limits::default(), p2p },
        pinned: pins.collect::<Result<Vec<_>, _>>()?,
        reproduce: args.again(again),
        script: script_words(args.script.as_deref(), args.play.as_deref()),
        text: args.text.clone(),
        rules: judged_by(&library, &args.text)?,
        waivers,
        seed: args.shared.seed,
    };
    let of = Of { protocol, again: &run.reproduce, text: &run.text };
    args.shared.play(&library, of, tests.len() + walks.len(), out, |done| {
        Ok(runner::play(&run, &tests, &walks, |result: &TestResult| done(result)))
    })
}
