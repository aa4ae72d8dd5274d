//! What every suite's command takes, and does with what its suite shows.
//!
//! ```text
//!   the suite --result--> a line, at once --all--> the closing part or JSON, and JUnit
//!   a reference's faults --hunt--> what came of each
//! ```

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args as ClapArgs;
use devmig_model::registry::Library;
use devmig_model::spec::{self, SourceFile};
use devmig_reference::switches::Fault;

use super::super::{Error, Format, Out, Status, interrupt, progress, select};
use super::{Listed, ListedTest, clause_text};
use crate::harness::io::files::{self, FileError, Whole};
use crate::harness::mutation::{HarnessError, MutantResult, MutationReport};
use crate::harness::report::{Result as TestResult, SuiteReport, junit};
use crate::harness::suite::{SuiteForm, Test};
use crate::harness::verdict::TestInfo;
use crate::harness::waivers::{self, Waiver};

/// What every suite's command takes.
#[derive(Debug, ClapArgs)]
pub(super) struct Shared {
    /// List the tests
    #[arg(long, help_heading = "Selection")]
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
        let entry = |test: &&Test<P>| {
            let TestInfo { test, purpose, clause } = test.about();
            let clause = library.spec.clause_name(clause).to_owned();
            ListedTest { test: test.to_owned(), clause, purpose: purpose.to_owned() }
        };
        let tests: Vec<ListedTest> = tests.iter().map(entry).collect();
        match self.format {
            Format::Text => {
                for test in tests {
                    out.text(&format!("{:<36} {}\n", test.test, test.purpose))?;
                }
            }
            Format::Json => out.json(&Listed { schema: 1, tests })?,
        }
        Ok(Status::Good)
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

    /// Plays so many tests, and writes what they show as it comes. What a signal that ends the run
    /// leaves is written too.
    pub(super) fn play(
        &self,
        library: &Library,
        of: Of<'_>,
        count: usize,
        out: &mut Out<'_>,
        suite: impl FnOnce(&mut dyn FnMut(&TestResult)) -> Result<SuiteReport, Error>,
    ) -> Result<Status, Error> {
        let whole = |path: &PathBuf| Ok((path.clone(), Whole::new(path)?));
        let junit_file = self
            .junit
            .as_ref()
            .map(|path| whole(path).map_err(|error: FileError| failed(path, error.into())));
        let junit_file = junit_file.transpose()?;
        let lines = self.results.as_deref().map(created).transpose()?;
        let bar = progress::bar(count);
        let mut trouble = Ok(());
        let found = Arc::new(Mutex::new(Vec::new()));
        let guard = interrupt::on_signal({
            let cut = SuiteReport { interrupted: true, ..of.report(self.seed) };
            let (found, color, format) = (Arc::clone(&found), out.color(), self.format);
            let (suite, junit_file) = (of.protocol.to_owned(), junit_file.clone());
            move || {
                let found = found.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let ended = cut.with(found);
                // Nobody could be told of a failure.
                let mut out = Out::new(std::io::stdout(), color);
                let _ = interrupted(&suite, &ended, count, format, junit_file, &mut out);
            }
        });
        let report = suite(&mut |result| {
            // What our own end does to a back-end is no result.
            if interrupt::ending() {
                return;
            }
            bar.inc(1);
            bar.set_message(result.test.clone());
            found.lock().unwrap_or_else(PoisonError::into_inner).push(result.clone());
            if let Some((path, file)) = lines.as_ref().filter(|_| trouble.is_ok()) {
                trouble = kept(file, result).map_err(|cause| failed(path, cause));
            }
            if self.format == Format::Text && trouble.is_ok() {
                // Who is killed, as a guest may be, keeps what it has written.
                let line = result.line() + "\n";
                trouble = bar.suspend(|| out.text(&line).and_then(|()| out.flush()));
            }
        });
        drop(guard);
        bar.finish_and_clear();
        trouble?;
        let report = report?;
        match self.format {
            Format::Text => out.text(&report.closing(|id| clause_text(library, id)))?,
            Format::Json => out.json(&report)?,
        }
        if let Some((path, file)) = junit_file {
            // What was found is not lost when this cannot be written.
            out.flush()?;
            let document = junit(of.protocol, &report, |id| clause_text(library, id));
            file.write(document.as_bytes()).map_err(|cause| failed(&path, cause))?;
        }
        Ok(match report.summary.exit_code() {
            0 => Status::Good,
            1 => Status::Bad,
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
        let matches = |mutant: &M, pattern: &String| spec::matches(pattern, mutant.name());
        for pattern in &self.only {
            if !M::ALL.iter().any(|mutant| matches(mutant, pattern)) {
                let help = spec::did_you_mean(pattern, M::ALL.iter().map(|mutant| mutant.name()));
                return Err(Error::usage(format!("no mutant is called `{pattern}`"), help));
            }
        }
        let all = self.only.is_empty();
        let wanted = |m: &&M| all || self.only.iter().any(|pattern| matches(m, pattern));
        let chosen: Vec<M> = M::ALL.iter().filter(wanted).copied().collect();
        let bar = progress::bar(chosen.len());
        let hunt = hunt(&chosen, all, &|fate| {
            bar.inc(1);
            bar.set_message(fate.mutant.clone());
        });
        bar.finish_and_clear();
        let hunt = hunt.map_err(|error| Error::usage(error.to_string(), None))?;
        match self.format {
            Format::Json => out.json(&hunt)?,
            Format::Text => out.text(&hunt.text())?,
        }
        Ok(if hunt.as_expected { Status::Good } else { Status::Bad })
    }
}

/// The tests that match; `command` lists them all.
pub(super) fn chosen<'s, P: SuiteForm>(
    suite: &'s [Test<P>],
    only: &[String],
    command: &str,
) -> Result<Vec<&'s Test<P>>, Error> {
    for pattern in only {
        if !suite.iter().any(|test| spec::matches(pattern, test.about().test)) {
            let help = spec::did_you_mean(pattern, suite.iter().map(|test| test.about().test))
                .or_else(|| Some(format!("`devmig test {command} --list` names them")));
            return Err(Error::usage(format!("no test is called `{pattern}`"), help));
        }
    }
    let wanted = |test: &&Test<P>| {
        only.is_empty() || only.iter().any(|pattern| spec::matches(pattern, test.about().test))
    };
    Ok(suite.iter().filter(wanted).collect())
}

/// What names tests that are not the suite's own, in a command that runs one of them again.
pub(super) fn script_words(script: Option<&Path>, play: Option<&str>) -> String {
    let words = |option, value: &str| format!(" {option} {}", shell_words::quote(value));
    match (script, play) {
        (Some(path), _) => words("--script", &path.to_string_lossy()),
        (None, Some(steps)) => words("--play", steps),
        (None, None) => String::new(),
    }
}

/// The default of `--timeout`.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What names a limit other than the default.
pub(super) fn timeout_words(limit: Duration) -> Option<String> {
    (limit != TIMEOUT).then(|| format!("--timeout {}", limit.as_secs_f64()))
}

/// Writes what a run has found that a signal ends.
fn interrupted(
    suite: &str,
    report: &SuiteReport,
    count: usize,
    format: Format,
    junit_file: Option<(PathBuf, Whole)>,
    out: &mut Out<'_>,
) -> Result<(), Error> {
    let library = Library::builtin()?;
    let text = |id: &str| clause_text(&library, id);
    match format {
        Format::Json => out.json(report)?,
        Format::Text => {
            let ran = report.results.len();
            out.text(&report.closing(text))?;
            out.text(&format!("interrupted: {ran} of {count} tests ran\n"))?;
        }
    }
    out.flush()?;
    if let Some((path, file)) = junit_file {
        let document = junit(suite, report, text);
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
