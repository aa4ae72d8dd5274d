//! What `devmig test vfio-user` and `devmig test vfio` have in common: the VFIO suite at some place.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use devmig_model::library::Library;
use devmig_model::rules::Rules;
use devmig_model::spec::SourceFile;

use super::super::select;
use super::{Error, Format, Out, Status};
use super::{ListedTest, chosen, clause_text, list, progress, waivers};
use crate::report::{Result as TestResult, SuiteReport, junit};
use crate::vfio::device::Place;
use crate::vfio::runner::{self, Run};
use crate::vfio::session::Limits;
use crate::vfio::suite::{self, Test};
use crate::vfio::walk::Walk;

/// Where the ids of tests are said.
const HELP: &str = "`devmig test vfio-user --list` names them";

/// What every transport's command takes.
#[derive(Debug, ClapArgs)]
pub(super) struct Common {
    /// Say what tests there are.
    #[arg(long)]
    pub(super) list: bool,
    /// Only these tests; `*` stands for anything.
    #[arg(long, value_name = "TEST")]
    pub(super) only: Vec<String>,
    /// So many random walks, each from a seed of its own (--seed and the numbers after it), and no
    /// other tests.
    #[arg(long, value_name = "N")]
    walks: Option<usize>,
    /// So many steps in each walk.
    #[arg(long, value_name = "M", default_value_t = 60)]
    steps: usize,
    /// The tests of this file (in the form of the suite's own), and no others.
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    script: Option<PathBuf>,
    /// These steps, and nothing else: what a walk that found something prints.
    #[arg(long, value_name = "STEP; STEP…", conflicts_with_all = ["only", "script"])]
    play: Option<String>,
    /// Judge by one reading of what the text leaves open.
    #[arg(long, value_name = "NAME=OPTION")]
    choice: Vec<String>,
    /// Judge by this version of the text of VFIO.
    #[arg(long, value_name = "VERSION", default_value = "6.18")]
    pub(super) text: String,
    /// For whatever is random.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long a call may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    timeout: f64,
    /// Findings that are accepted: a file of `[[waiver]]`s, each with `test` or `clause` or both
    /// (`*` stands for anything), and a `reason`.
    #[arg(long, value_name = "FILE")]
    waivers: Option<PathBuf>,
    /// Write each result there as it comes, a line of JSON each: what is left of a run that is ended
    /// from outside.
    #[arg(long, value_name = "FILE", hide = true)]
    results: Option<PathBuf>,
    /// Write the results there too, as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
}

impl Common {
    /// How long a call may take.
    pub(super) fn limit(&self) -> Result<Duration, Error> {
        if self.timeout > 0.0 && self.timeout <= 3600.0 {
            return Ok(Duration::from_secs_f64(self.timeout));
        }
        let help = "a number of seconds above 0 and up to 3600".to_owned();
        Err(Error::usage("--timeout cannot be that", Some(help)))
    }

    /// The command that runs a test again, but for the test's name and the seed.
    fn again(&self, mut command: String) -> String {
        command.extend(self.choice.iter().map(|pin| format!(" --choice {pin}")));
        if let Some(waivers) = &self.waivers {
            command += &format!(" --waivers {}", shell_words::quote(&waivers.to_string_lossy()));
        }
        if self.text != "6.18" {
            command += &format!(" --text {}", self.text);
        }
        command
    }
}

/// Rules by a version of the text of VFIO, without what cannot be seen from outside.
pub(super) fn judged_by(library: &Library, text: &str) -> Result<Rules, Error> {
    Ok(library.spec.judged_by("linux-vfio", text)?)
}

fn id(test: &Test) -> &str {
    &test.id
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
    let walk = |n| Walk { seed: args.seed.wrapping_add(n as u64), steps: args.steps };
    let walks: Vec<Walk> = (0..args.walks.unwrap_or(0)).map(walk).collect();
    let tests = match args.walks {
        Some(_) if args.only.is_empty() && args.script.is_none() => Vec::new(),
        _ => chosen(&suite, id, &args.only, HELP)?,
    };
    let Some(place) = place.filter(|_| !args.list) else {
        let entry = |test: &&Test| ListedTest::new(&library, &test.id, test.clause, &test.purpose);
        return list(tests.iter().map(entry).collect(), args.format, out);
    };
    let pins = args.choice.iter().map(|pin| library.spec.pin(pin));
    let waivers = {
        let ids: Vec<&str> = suite.iter().map(|test| test.id.as_str()).collect();
        waivers(&library, &ids, args.waivers.as_deref())?
    };
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
        seed: args.seed,
    };
    // A place that cannot be written to is better known before the run than after it.
    let failed = |path: &Path, cause| Error::Write { to: path.display().to_string(), cause };
    let junit_file = match &args.junit {
        Some(path) => Some((path, File::create(path).map_err(|cause| failed(path, cause))?)),
        None => None,
    };
    let results = match &args.results {
        Some(path) => Some((path, File::create(path).map_err(|cause| failed(path, cause))?)),
        None => None,
    };
    let mut keep = |result: &TestResult| match &results {
        Some((path, file)) => kept(file, result).map_err(|cause| failed(path, cause)),
        None => Ok(()),
    };
    let report = play(&run, &tests, &walks, args.format, &mut keep, out)?;
    if let Some((path, mut file)) = junit_file {
        // What was found is not lost when this cannot be written.
        out.flush()?;
        let document = junit(protocol, &report, |id| clause_text(&library, id));
        file.write_all(document.as_bytes()).map_err(|cause| failed(path, cause))?;
    }
    Ok(match report.summary.exit_code() {
        0 => Status::Good,
        1 => Status::Bad,
        _ => Status::Trouble,
    })
}

/// A result as a line.
fn kept(mut file: &File, result: &TestResult) -> std::io::Result<()> {
    file.write_all((serde_json::to_string(result)? + "\n").as_bytes())
}

/// Runs the tests, and writes what they show as it comes.
fn play(
    run: &Run<'_>,
    tests: &[&Test],
    walks: &[Walk],
    format: Format,
    keep: &mut dyn FnMut(&TestResult) -> Result<(), Error>,
    out: &mut Out<'_>,
) -> Result<SuiteReport, Error> {
    let bar = progress::bar(tests.len() + walks.len());
    let mut trouble = Ok(());
    let report = runner::play(run, tests, walks, |result: &TestResult| {
        bar.inc(1);
        bar.set_message(result.test.clone());
        if trouble.is_ok() {
            trouble = keep(result);
        }
        if format == Format::Text && trouble.is_ok() {
            // A guest that is killed keeps what it has written.
            trouble = bar.suspend(|| out.text(&(result.line() + "\n")).and_then(|()| out.flush()));
        }
    });
    bar.finish_and_clear();
    trouble?;
    match format {
        Format::Text => out.text(&report.closing(|id| clause_text(run.library, id)))?,
        Format::Json => out.json(&report)?,
    }
    Ok(report)
}
