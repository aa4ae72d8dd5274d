//! What `devmig test vfio-user` and `devmig test vfio` have in common: the VFIO suite at some place.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use devmig_engine::rules::Rules;
use devmig_model::registry::Library;
use devmig_model::spec::SourceFile;

use super::super::select;
use super::shared::{Shared, created, failed, seconds};
use super::{Error, Out, Status};
use crate::harness::report::Result as TestResult;
use crate::vfio::device::Place;
use crate::vfio::runner::{self, Run};
use crate::vfio::session::Limits;
use crate::vfio::suite;
use crate::vfio::walk::Walk;

/// What every transport's command takes.
#[derive(Debug, ClapArgs)]
pub(super) struct Common {
    /// Run this many random walks instead of tests, with the seeds from `--seed` upwards
    #[arg(long, value_name = "N", help_heading = "Selection")]
    walks: Option<usize>,
    /// Number of steps in each walk
    #[arg(long, value_name = "M", default_value_t = 60, help_heading = "Selection")]
    steps: usize,
    /// Run the tests in this file instead (in the form of the built-in suite)
    #[arg(long, value_name = "FILE", conflicts_with = "only", help_heading = "Selection")]
    script: Option<PathBuf>,
    /// Run only these steps, as printed by a walk with a finding
    #[arg(long, value_name = "STEP; STEP…", conflicts_with_all = ["only", "script"], help_heading = "Selection")]
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
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, help_heading = "Judgement")]
    timeout: f64,
    /// Write each result there as it comes, a line of JSON each: what is left of a run that is ended
    /// from outside.
    #[arg(long, value_name = "FILE", hide = true)]
    results: Option<PathBuf>,
    #[command(flatten)]
    pub(super) shared: Shared,
}

impl Common {
    /// How long a call may take.
    pub(super) fn limit(&self) -> Result<Duration, Error> {
        seconds(self.timeout)
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
        (None, Some(steps)) => Some(SourceFile::new("--play", suite::script(steps))),
        (None, None) => None,
    };
    let suite = match asked {
        Some(file) => suite::load(&library, &file)?,
        None => suite::builtin(&library)?,
    };
    let walk = |n| Walk { seed: args.shared.seed.wrapping_add(n as u64), steps: args.steps };
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
        place,
        limits: Limits::default(),
        pinned: pins.collect::<Result<Vec<_>, _>>()?,
        p2p,
        reproduce: args.again(again),
        text: args.text.clone(),
        rules: judged_by(&library, &args.text)?,
        waivers,
        seed: args.shared.seed,
    };
    let results = args.results.as_deref().map(created).transpose()?;
    args.shared.play(&library, protocol, tests.len() + walks.len(), out, |done| {
        let mut written = Ok(());
        let report = runner::play(&run, &tests, &walks, |result: &TestResult| {
            if let Some((path, file)) = results.as_ref().filter(|_| written.is_ok()) {
                written = kept(file, result).map_err(|cause| failed(path, cause));
            }
            if written.is_ok() {
                done(result);
            }
        });
        written.map(|()| report)
    })
}

/// A result as a line.
fn kept(mut file: &File, result: &TestResult) -> std::io::Result<()> {
    file.write_all((serde_json::to_string(result)? + "\n").as_bytes())
}
