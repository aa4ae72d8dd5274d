//! What every suite's command takes, and does with what its suite shows.
//!
//! ```text
//!   the suite --result--> a line, at once --all--> the closing part or JSON, and JUnit
//!   a reference's faults --hunt--> what came of each
//! ```

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use devmig_model::registry::Library;
use devmig_model::spec::SourceFile;
use devmig_reference::switches::Fault;
use indicatif::ProgressBar;

use super::super::interrupt::{self, Found, Results};
use super::super::number::limit;
use super::super::pace::{Pace, Plan};
use super::super::{Error, Format, Out, Status, progress, select};
use crate::harness::around::around;
use crate::harness::io::files::{self, FileError, Whole};
use crate::harness::listed::Listed;
use crate::harness::mutation::{HarnessError, MutantResult, MutationReport};
use crate::harness::report::{Result as TestResult, SuiteReport, junit, versions};
use crate::harness::runner::Aside;
use crate::harness::suite::{self, SuiteForm, Test};
use crate::harness::waivers::{self, Waiver};
use crate::harness::without;

/// What every suite's command takes.
#[derive(Debug, ClapArgs)]
pub(super) struct Shared {
    /// List the tests
    #[arg(long, help_heading = "Selection", conflicts_with_all = ["junit", "results"])]
    pub(super) list: bool,
    /// Run only these tests (`*` matches any characters)
    #[arg(long, value_name = "TEST", help_heading = "Selection")]
    pub(super) only: Vec<String>,
    /// Seed of all random decisions
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Selection")]
    pub(super) seed: u64,
    /// Accept the findings in this file: `[[waiver]]`s, each with `test` or `clause` or both (`*`
    /// matches any characters), and a `reason`
    #[arg(long, value_name = "FILE", help_heading = "Judgement")]
    pub(super) waivers: Option<PathBuf>,
    /// Also write the results to this file as JUnit XML. An existing file is replaced at the end, or
    /// when a signal ends the run
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    junit: Option<PathBuf>,
    /// Write each result to this file as it comes, one JSON document a line: what remains of a run
    /// that is killed
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    results: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value = "text", help_heading = "Output")]
    pub(super) format: Format,
}

/// Other versions of the specification by which the tests are judged too.
#[derive(Clone, Debug, ClapArgs)]
pub(super) struct Versions {
    /// Also judge the tests by these versions, and say which verdicts differ [default: every newer
    /// release]
    #[arg(long, value_name = "VERSION", num_args = 0.., value_delimiter = ',',
          help_heading = "Judgement", conflicts_with = "walks")]
    compare_versions: Option<Vec<String>>,
}

impl Versions {
    /// Which these are, of a document of which this version judges.
    pub(super) fn others(
        &self,
        library: &Library,
        document: &str,
        judged_by: &str,
    ) -> Result<Vec<String>, Error> {
        let named = self.compare_versions.as_ref();
        let others = named.map(|named| versions::others(&library.spec, document, judged_by, named));
        Ok(others.transpose()?.unwrap_or_default())
    }
}

/// Features that a run leaves out.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeftOut<'a> {
    /// By the command line.
    pub(super) given: &'a [String],
    /// What can be left out besides.
    pub(super) optional: &'a [String],
}

impl LeftOut<'_> {
    /// The report with a second run around one cause, if there is one. `play` runs these tests without
    /// these features; the command does so again.
    pub(super) fn around<F: SuiteForm>(
        self,
        report: SuiteReport,
        command: &str,
        tests: &[&Test<F>],
        aside: &dyn Aside,
        play: impl Fn(&[String], String, &[&Test<F>]) -> Result<SuiteReport, Error>,
    ) -> Result<SuiteReport, Error> {
        around(report, self.optional, |left_out, only| {
            aside.begins(&format!("once more without {}", left_out.join(" and ")));
            let names = [self.given, left_out].concat();
            let is_wanted = |test: &&Test<F>| only.is_empty() || only.contains(&&*test.id);
            let tests: Vec<&Test<F>> = tests.iter().copied().filter(is_wanted).collect();
            play(&names, without::command(command, left_out), &tests)
        })
    }
}

/// A command without a placeholder that it needs.
pub(super) fn lacking(placeholder: &str) -> Error {
    Error::usage(format!("--spawn has no {placeholder}"), None)
}

/// How long a process may take to listen.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub(super) struct Start {
    /// Maximum time for a process to listen after it was started, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = limit,
          help_heading = "Judgement")]
    pub(super) start_timeout: Duration,
}

/// How many tests run at the same time.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub(super) struct Jobs {
    /// Number of tests that run at the same time; only with `--spawn`. The results are those of
    /// `--jobs 1` [default: 8 with `--spawn`]
    #[arg(long, value_name = "N", help_heading = "Selection",
          value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: Option<u8>,
}

/// How many tests run at the same time where each starts a process: most of the time is spent waiting.
const SPAWNED: u8 = 8;

impl Jobs {
    /// How many, where each test starts a process if `spawns` says so.
    pub(super) fn count(self, spawns: bool) -> Result<usize, Error> {
        match (self.jobs, spawns) {
            (jobs, true) => Ok(jobs.unwrap_or(SPAWNED).into()),
            (None | Some(1), false) => Ok(1),
            // They share its state, and where it dies each of them may be why.
            (Some(_), false) => {
                let help = "with --spawn 'COMMAND {socket}', each test has a process".to_owned();
                Err(Error::usage("the tests of one server cannot run at the same time", Some(help)))
            }
        }
    }
}

/// What a run is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a> {
    /// The suite.
    pub(super) protocol: &'a str,
    /// The command that runs a test again.
    pub(super) again: &'a str,
    /// The version of the text by which it is judged.
    pub(super) text: &'a str,
}

impl Of<'_> {
    /// A report without results.
    fn report(&self, seed: u64) -> SuiteReport {
        SuiteReport::of(self.again, self.text, seed, Vec::new(), &[])
    }
}

impl Shared {
    /// The tests that are asked for; `command` lists them all.
    pub(super) fn chosen<'s, P: SuiteForm>(
        &self,
        suite: &'s [Test<P>],
        command: &str,
    ) -> Result<Vec<&'s Test<P>>, Error> {
        chosen(suite, &self.only, command)
    }

    /// Says what tests there are.
    pub(super) fn list<P: SuiteForm>(
        &self,
        library: &Library,
        tests: &[&Test<P>],
        out: &mut Out<'_>,
    ) -> Result<Status, Error> {
        let listed = Listed::of(library, tests);
        out.show(self.format, &listed, || listed.text())?;
        Ok(Status::Good)
    }

    /// No file is written over another that this run reads or writes.
    fn files_differ(&self) -> Result<(), Error> {
        let files =
            [("--waivers", &self.waivers), ("--junit", &self.junit), ("--results", &self.results)];
        let given: Vec<_> =
            files.iter().filter_map(|(option, path)| Some((option, path.as_ref()?))).collect();
        for (at, (option, path)) in given.iter().enumerate() {
            let place = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
            let same = given.iter().skip(at + 1).find(|(_, other)| place(other) == place(path));
            if let Some((other, _)) = same {
                let message =
                    format!("{option} and {other} name the same file: {}", path.display());
                return Err(Error::usage(message, Some("give each a file of its own".into())));
            }
        }
        Ok(())
    }

    /// The findings that are accepted of a suite.
    pub(super) fn accepted<P: SuiteForm>(
        &self,
        library: &Library,
        suite: &[Test<P>],
    ) -> Result<Vec<Waiver>, Error> {
        let Some(path) = &self.waivers else { return Ok(Vec::new()) };
        let ids: Vec<&str> = suite.iter().map(|test| test.about().test).collect();
        let file = SourceFile::new(path.to_string_lossy(), select::read(path)?);
        Ok(waivers::load(library, &ids, &file)?)
    }

    /// Runs the tests of this plan and writes each result as it comes. If a signal ends the run, the
    /// results so far are written.
    pub(super) fn play(
        &self,
        library: &Library,
        of: Of<'_>,
        plan: Plan,
        out: &mut Out<'_>,
        played: impl FnOnce(Followed<'_>) -> Result<SuiteReport, Error>,
    ) -> Result<Status, Error> {
        self.files_differ()?;
        let whole = |path: &PathBuf| Ok((path.clone(), Whole::new(path)?));
        let junit_file = self
            .junit
            .as_ref()
            .map(|path| whole(path).map_err(|error: FileError| failed(path, error.into())));
        let junit_file = junit_file.transpose()?;
        let lines = self.results.as_deref().map(created).transpose()?;
        let count = plan.lengths.len();
        let (bar, began, mut pace) = (progress::bar(count), Instant::now(), Pace::new(plan));
        bar.enable_steady_tick(TICK);
        let mut trouble = Ok(());
        let found = Found::nothing();
        let cut = SuiteReport { interrupted: true, ..of.report(self.seed) };
        let (format, suite, file) = (self.format, of.protocol.to_owned(), junit_file.clone());
        let copy = |(path, file): &(&Path, File)| file.try_clone().map_err(|e| failed(path, e));
        let late = lines.as_ref().map(copy).transpose()?;
        let guard = found.written_on_signal(out.color(), move |found: &Results<_>, out| {
            interrupted(
                Cut { suite, report: cut, count, format, junit: file, lines: late },
                found,
                out,
            )
        });
        let beside = Beside { bar: bar.clone(), found: found.clone() };
        let report = played(Followed {
            aside: &beside,
            done: &mut |result| {
                // What our own end does to a back-end is no result.
                if interrupt::ending() {
                    return;
                }
                pace.test_took(result.milliseconds);
                if let Some(foresight) = pace.foresight(began.elapsed()) {
                    bar.println(foresight);
                }
                bar.inc(1);
                bar.set_message(format!("{} {}", result.test, pace.outlook(began.elapsed())));
                found.add(result.clone());
                if let Some((path, file)) = lines.as_ref().filter(|_| trouble.is_ok()) {
                    trouble = kept(file, result).map_err(|cause| failed(path, cause));
                }
                if self.format == Format::Text && trouble.is_ok() {
                    // Who is killed, as a guest may be, keeps what it has written.
                    let line = result.line() + "\n";
                    trouble = bar.suspend(|| out.text(&line).and_then(|()| out.flush()));
                }
            },
        });
        drop(guard);
        bar.finish_and_clear();
        trouble?;
        let report = report?;
        let text = |id: &str| library.spec.clause_text(id);
        out.show(self.format, &report, || report.closing(text))?;
        if let Some((path, file)) = junit_file {
            // What was found is not lost when this cannot be written.
            out.flush()?;
            let document = junit(of.protocol, &report, text);
            file.write(document.as_bytes()).map_err(|cause| failed(&path, cause))?;
        }
        Ok(match report.exit_code() {
            0 => Status::Good,
            1 => Status::Bad,
            5 => Status::NothingJudged,
            _ => Status::HarnessError,
        })
    }

    /// Hunts the faults that are asked for; `hunt` is told which, and whether these are all.
    pub(super) fn hunt<M: Fault>(
        &self,
        out: &mut Out<'_>,
        hunt: impl FnOnce(
            &[M],
            bool,
            &(dyn Fn(&MutantResult) + Sync),
        ) -> Result<MutationReport, HarnessError>,
    ) -> Result<Status, Error> {
        let chosen = select::chosen(M::ALL, &self.only, |mutant| mutant.name(), "mutant", None)?;
        let chosen: Vec<M> = chosen.into_iter().copied().collect();
        let all = self.only.is_empty();
        let bar = progress::bar(chosen.len());
        let found = Found::nothing();
        let (format, count) = (self.format, chosen.len());
        let guard = found.written_on_signal(out.color(), move |found: &Results<_>, out| {
            let tried: &[MutantResult] = &found.in_turn;
            let cut = format!("interrupted: {} of {count} mutants tried", tried.len());
            let report = MutationReport::of(tried.to_vec(), vec![cut]);
            out.show(format, &report, || report.text())
        });
        let hunt = hunt(&chosen, all, &|fate| {
            // What our own end does to a device is no result.
            if interrupt::ending() {
                return;
            }
            bar.inc(1);
            bar.set_message(fate.mutant.clone());
            found.add(fate.clone());
        });
        drop(guard);
        bar.finish_and_clear();
        let hunt = hunt.map_err(|error| Error::usage(error.to_string(), None))?;
        out.show(self.format, &hunt, || hunt.text())?;
        Ok(if hunt.as_expected { Status::Good } else { Status::Bad })
    }
}

/// The tests that match; `command` lists them all.
pub(super) fn chosen<'s, P: SuiteForm>(
    suite: &'s [Test<P>],
    only: &[String],
    command: &str,
) -> Result<Vec<&'s Test<P>>, Error> {
    let help = format!("`devmig test {command} --list` names them");
    select::chosen(suite, only, |test| test.about().test, "test", Some(help))
}

/// Tests that are not the suite's own.
#[derive(Debug, ClapArgs)]
pub(super) struct Scripted {
    /// Run the tests of this file, and no others. It has the form of the suite's own file; the book's
    /// page "The steps of a test" (docs/src/reference/steps.md) lists the steps
    #[arg(long, value_name = "FILE", help_heading = "Selection")]
    script: Option<PathBuf>,
    /// Run these steps, and nothing else, as a walk prints them that finds something
    #[arg(long, value_name = "STEP; STEP…", conflicts_with = "script", help_heading = "Selection")]
    play: Option<String>,
}

impl Scripted {
    /// Them, if they are asked for.
    pub(super) fn tests<P: SuiteForm>(
        &self,
        library: &Library,
    ) -> Result<Option<Vec<Test<P>>>, Error> {
        let file = match (&self.script, &self.play) {
            (Some(path), _) => SourceFile::new(path.to_string_lossy(), select::read(path)?),
            (None, Some(steps)) => SourceFile::new("--play", suite::script::<P>(steps)),
            (None, None) => return Ok(None),
        };
        Ok(Some(suite::load(library, &file)?))
    }

    /// Whether a file is given.
    pub(super) fn is_file(&self) -> bool {
        self.script.is_some()
    }

    /// Whether anything is.
    pub(super) fn is_any(&self) -> bool {
        self.script.is_some() || self.play.is_some()
    }

    /// What names them in a command that runs one of them again.
    pub(super) fn words(&self) -> String {
        let script = self.script.as_ref().map(|path| path.to_string_lossy());
        let again = Again::new("").value("--script", script).value("--play", self.play.as_ref());
        again.0
    }
}

/// A command that runs a test again, but for the test's name and the seed.
pub(super) struct Again(String);

impl Again {
    /// It begins so.
    pub(super) fn new(command: impl Into<String>) -> Self {
        Again(command.into())
    }

    /// An option with this value, if it has one.
    pub(super) fn value(mut self, option: &str, value: Option<impl AsRef<str>>) -> Self {
        if let Some(value) = value {
            self.0 += &format!(" {option} {}", shell_words::quote(value.as_ref()));
        }
        self
    }

    /// An option with a path, if it has one.
    pub(super) fn path(self, option: &str, path: Option<&PathBuf>) -> Self {
        self.value(option, path.map(|path| path.to_string_lossy()))
    }

    /// These words, if that is so.
    pub(super) fn words(mut self, so: bool, words: &str) -> Self {
        if so {
            self.0 += &format!(" {words}");
        }
        self
    }

    /// An option with each of these values.
    pub(super) fn each(self, option: &str, values: &[String]) -> Self {
        values.iter().fold(self, |again, value| again.value(option, Some(value)))
    }

    /// These choices.
    pub(super) fn choices(mut self, pins: &[String]) -> Self {
        self.0.extend(pins.iter().map(|pin| format!(" --choice {pin}")));
        self
    }

    /// With this limit of a start.
    pub(super) fn start(self, Start { start_timeout }: Start) -> Self {
        let words = format!("--start-timeout {}", start_timeout.as_secs_f64());
        self.words(start_timeout != START_TIMEOUT, &words)
    }

    /// The command.
    pub(super) fn finish(self) -> String {
        self.0
    }

    /// With this limit.
    pub(super) fn timeout(self, limit: Duration) -> String {
        self.words(limit != TIMEOUT, &format!("--timeout {}", limit.as_secs_f64())).0
    }
}

/// How often the terminal shows how far a run is.
const TICK: Duration = Duration::from_millis(200);

/// The default of `--start-timeout`.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The default of `--timeout`.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What a run's results go to while it goes on.
pub(super) struct Followed<'f> {
    /// Each, in its turn.
    pub(super) done: &'f mut dyn FnMut(&TestResult),
    /// What is no result in its turn.
    pub(super) aside: &'f dyn Aside,
}

/// Keeps what comes before its turn, and says on a terminal what takes time.
#[derive(Debug)]
struct Beside {
    bar: ProgressBar,
    found: Found<TestResult>,
}

impl Aside for Beside {
    fn early(&self, place: usize, result: &TestResult) {
        // What our own end does to a back-end is no result.
        if !interrupt::ending() {
            self.found.add_early(place, result.clone());
        }
    }

    fn begins(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    fn ends(&self) {
        self.bar.set_message("");
    }
}

/// What is written of a run that a signal ends.
struct Cut {
    suite: String,
    report: SuiteReport,
    /// How many tests there are.
    count: usize,
    format: Format,
    junit: Option<(PathBuf, Whole)>,
    /// Where results go, one a line.
    lines: Option<File>,
}

/// Writes what a run has found that a signal ends.
fn interrupted(cut: Cut, found: &Results<TestResult>, out: &mut Out<'_>) -> Result<(), Error> {
    let Cut { suite, report, count, format, junit: junit_file, lines } = cut;
    let library = Library::builtin()?;
    let text = |id: &str| library.spec.clause_text(id);
    for result in found.early.values() {
        if format == Format::Text {
            out.text(&(result.line() + "\n"))?;
        }
        // What cannot be kept there is in the report.
        let _ = lines.as_ref().map(|file| kept(file, result));
    }
    let results: Vec<_> = found.in_turn.iter().chain(found.early.values()).cloned().collect();
    let (ran, early) = (results.len(), found.early.len());
    let report = &report.with(results);
    let before = match early {
        0 => String::new(),
        early => format!(", {early} of them before their turn"),
    };
    let ended = format!("interrupted: {ran} of {count} tests ran{before}\n");
    out.show(format, report, || report.closing(text) + &ended)?;
    out.flush()?;
    if let Some((path, file)) = junit_file {
        let document = junit(&suite, report, text);
        file.write(document.as_bytes()).map_err(|cause| failed(&path, cause))?;
    }
    Ok(())
}

/// A result as a line.
fn kept(mut file: &File, result: &TestResult) -> std::io::Result<()> {
    file.write_all((serde_json::to_string(result)? + "\n").as_bytes())
}

/// A file that results go to. A place that cannot be written to is better known before the run than
/// after it.
fn created(path: &Path) -> Result<(&Path, File), Error> {
    Ok((path, files::create(path).map_err(|error| failed(path, error.into()))?))
}

/// A file that cannot be written.
fn failed(path: &Path, cause: std::io::Error) -> Error {
    Error::Write { to: path.display().to_string(), cause }
}
