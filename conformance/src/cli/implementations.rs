//! `devmig implementations`: the suite against every real implementation that is known, compared with what
//! each is known to do.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use devmig_model::registry::Library;

use super::pace::{Pace, Plan};
use super::{Error, Format, Out, Status, progress, select};
use crate::harness::report::Result as TestResult;
use crate::implementations::matrix::{Document, recorded, run as run_all};
use crate::implementations::{self, Peer, Setting, Verdict};
use crate::vhost_user::suite::Test;
use crate::{vfio, vhost_user};

/// Test real implementations and compare the findings with known deviations
#[derive(Debug, ClapArgs)]
#[command(after_help = super::help::IMPLEMENTATIONS)]
pub(super) struct Args {
    /// Implementations by name or pattern (`*` matches any characters) [default: all]
    name: Vec<String>,
    /// List the implementations
    #[arg(long)]
    list: bool,
    /// Install missing implementations from the system's packages and from crates.io
    #[arg(long)]
    install: bool,
    /// Print the features and interpretations of each implementation, in the form of its file
    #[arg(long)]
    record: bool,
    /// Show complete findings
    #[arg(long)]
    full: bool,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = &Library::builtin()?;
    let suite = &vhost_user::suite::whole(library)?;
    let vfio = &vfio::suite::whole(library)?;
    let all = implementations::builtin(library, suite)?;
    let peers = select::chosen(&all, &args.name, |peer| &peer.name, "implementation", None)?;
    if args.list {
        for peer in peers {
            out.text(&format!("{:<28} {}\n", peer.name, peer.about))?;
        }
        return Ok(Status::Good);
    }
    let text = "10.2";
    let rules = library.spec.judged_by("vhost-user", text)?;
    let bar = progress::bar(0);
    let searched = |peer: &Peer| bar.set_message(format!("{}: looking for it", peer.name));
    let paces = Paces::default();
    let done = |peer: &Peer, result: &TestResult| {
        let Told { tests, foresight, outlook } = paces.after(peer, suite, result);
        bar.inc_length(tests);
        if let Some(foresight) = foresight {
            bar.println(format!("{}: {foresight}", peer.name));
        }
        bar.inc(1);
        bar.set_message(format!("{}: {} {outlook}", peer.name, result.test));
    };
    let setting = Setting { library, suite, vfio, text, rules, done: &|_| () };
    let verdicts = run_all(peers, setting, args.install, &searched, &done);
    bar.finish_and_clear();
    if args.record {
        for (peer, verdict) in &verdicts {
            out.text(&recorded(peer, verdict))?;
        }
    } else if args.format == Format::Text {
        for (peer, verdict) in &verdicts {
            show(library, peer, verdict, args.full, out)?;
        }
    }
    let ran = verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Ran { .. }));
    out.show(args.format, &Document::of(&verdicts), || {
        let line =
            |(peer, verdict): &(&Peer, Verdict)| format!("{:<28} {}\n", peer.name, verdict.line());
        let none = if ran { "" } else { "no implementation ran, so nothing was compared\n" };
        format!("\n{}{none}", verdicts.iter().map(line).collect::<String>())
    })?;
    let fails = !ran || verdicts.iter().any(|(_, verdict)| verdict.fails());
    Ok(if fails { Status::Bad } else { Status::Good })
}

/// How far the run of each implementation is.
#[derive(Default)]
struct Paces(Mutex<BTreeMap<String, (Instant, Pace)>>);

/// What is told after a test.
struct Told {
    /// How many tests there are, after the first.
    tests: u64,
    /// About how long all take, after the first.
    foresight: Option<String>,
    /// About how long the others take.
    outlook: String,
}

impl Paces {
    fn after(&self, peer: &Peer, suite: &[Test], result: &TestResult) -> Told {
        let took = Duration::from_millis(result.milliseconds);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tests = 0;
        let (began, pace) = all.entry(peer.name.clone()).or_insert_with(|| {
            let (lengths, jobs) = peer.planned(suite);
            tests = lengths.len() as u64;
            let began = Instant::now();
            (began.checked_sub(took).unwrap_or(began), Pace::new(Plan { lengths, jobs }))
        });
        pace.test_took(result.milliseconds);
        let passed = began.elapsed();
        Told { tests, foresight: pace.foresight(passed), outlook: pace.outlook(passed) }
    }
}

fn show(
    library: &Library,
    peer: &Peer,
    verdict: &Verdict,
    full: bool,
    out: &mut Out<'_>,
) -> Result<(), Error> {
    let Verdict::Ran { version, report, seen, new, gone, changed, errors, .. } = verdict else {
        return Ok(());
    };
    out.text(&format!("{} {version}\n", peer.name))?;
    let parts =
        [("known", seen), ("NEW", new), ("GONE", gone), ("CHANGED", changed), ("harness", errors)];
    for (what, lines) in parts {
        for line in lines {
            out.text(&format!("  {what:<8} {line}\n"))?;
        }
    }
    if full || !new.is_empty() || !errors.is_empty() {
        out.text(&report.closing(|id| library.spec.clause_text(id)))?;
    } else {
        for (choice, options) in &report.readings {
            out.text(&format!("  reads    {choice} = {}\n", options.join(" or ")))?;
        }
    }
    Ok(())
}
