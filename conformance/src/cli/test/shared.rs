//! What every suite's command takes, and does with what its suite shows.
//!
//! ```text
//!   the suite --result--> a line, at once --all--> the closing part or JSON, and JUnit
//!   a reference's faults --hunt--> what came of each
//! ```

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use devmig_model::registry::Library;
use devmig_model::spec::{self, SourceFile};
use devmig_reference::switches::Fault;

use super::super::{Error, Format, Out, Status, progress, select};
use super::{Listed, ListedTest, clause_text};
use crate::harness::mutation::{HarnessError, MutantResult, MutationReport};
use crate::harness::report::{Result as TestResult, SuiteReport, junit};
use crate::harness::verdict::{Entry, TestInfo};
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
    /// Also write the results to this file as JUnit XML
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    junit: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value = "text", help_heading = "Output")]
    pub(super) format: Format,
}

impl Shared {
    /// The tests that are asked for; `command` lists them all.
    pub(super) fn chosen<'s, T: Entry>(
        &self,
        suite: &'s [T],
        command: &str,
    ) -> Result<Vec<&'s T>, Error> {
        chosen(suite, &self.only, command)
    }

    /// Says what tests there are.
    pub(super) fn list<T: Entry>(
        &self,
        library: &Library,
        tests: &[&T],
        out: &mut Out<'_>,
    ) -> Result<Status, Error> {
        let entry = |test: &&T| {
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
    pub(super) fn accepted<T: Entry>(
        &self,
        library: &Library,
        suite: &[T],
    ) -> Result<Vec<Waiver>, Error> {
        let Some(path) = &self.waivers else { return Ok(Vec::new()) };
        let ids: Vec<&str> = suite.iter().map(|test| test.about().test).collect();
        let file = SourceFile::new(path.to_string_lossy(), select::read(path)?);
        Ok(waivers::load(library, &ids, &file)?)
    }

    /// Plays so many tests, and writes what they show as it comes.
    pub(super) fn play(
        &self,
        library: &Library,
        protocol: &str,
        count: usize,
        out: &mut Out<'_>,
        suite: impl FnOnce(&mut dyn FnMut(&TestResult)) -> Result<SuiteReport, Error>,
    ) -> Result<Status, Error> {
        let junit_file = self.junit.as_deref().map(created).transpose()?;
        let bar = progress::bar(count);
        let mut trouble = Ok(());
        let report = suite(&mut |result| {
            bar.inc(1);
            bar.set_message(result.test.clone());
            if self.format == Format::Text && trouble.is_ok() {
                // Who is killed, as a guest may be, keeps what it has written.
                let line = result.line() + "\n";
                trouble = bar.suspend(|| out.text(&line).and_then(|()| out.flush()));
            }
        });
        bar.finish_and_clear();
        trouble?;
        let report = report?;
        match self.format {
            Format::Text => out.text(&report.closing(|id| clause_text(library, id)))?,
            Format::Json => out.json(&report)?,
        }
        if let Some((path, mut file)) = junit_file {
            // What was found is not lost when this cannot be written.
            out.flush()?;
            let document = junit(protocol, &report, |id| clause_text(library, id));
            file.write_all(document.as_bytes()).map_err(|cause| failed(path, cause))?;
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
pub(super) fn chosen<'s, T: Entry>(
    suite: &'s [T],
    only: &[String],
    command: &str,
) -> Result<Vec<&'s T>, Error> {
    for pattern in only {
        if !suite.iter().any(|test| spec::matches(pattern, test.about().test)) {
            let help = spec::did_you_mean(pattern, suite.iter().map(|test| test.about().test))
                .or_else(|| Some(format!("`devmig test {command} --list` names them")));
            return Err(Error::usage(format!("no test is called `{pattern}`"), help));
        }
    }
    let wanted = |test: &&T| {
        only.is_empty() || only.iter().any(|pattern| spec::matches(pattern, test.about().test))
    };
    Ok(suite.iter().filter(wanted).collect())
}

/// A limit that is given in seconds.
pub(super) fn seconds(timeout: f64) -> Result<Duration, Error> {
    if timeout > 0.0 && timeout <= 3600.0 {
        return Ok(Duration::from_secs_f64(timeout));
    }
    let help = "use a number of seconds greater than 0, up to 3600".to_owned();
    Err(Error::usage("invalid value for --timeout", Some(help)))
}

/// A file that results go to. A place that cannot be written to is better known before the run than
/// after it.
pub(super) fn created(path: &Path) -> Result<(&Path, File), Error> {
    Ok((path, File::create(path).map_err(|cause| failed(path, cause))?))
}

/// A file that cannot be written.
pub(super) fn failed(path: &Path, cause: std::io::Error) -> Error {
    Error::Write { to: path.display().to_string(), cause }
}
