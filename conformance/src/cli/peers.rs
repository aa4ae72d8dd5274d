//! `devmig implementations`: the suite against every real implementation that is known, compared with what
//! each is known to do.

use clap::Args as ClapArgs;
use devmig_model::registry::Library;
use devmig_model::spec;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Error, Format, Out, Status, progress, test};
use crate::harness::parallel::in_turn;
use crate::harness::report::SuiteReport;
use crate::implementations::{self, Missing, Peer, Serves, Setting, Verdict};
use crate::vhost_user::suite;

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
    let library = Library::builtin()?;
    let suite = suite::builtin(&library)?;
    let vfio = crate::vfio::suite::builtin(&library)?;
    let all = implementations::builtin(&library, &suite)?;
    let peers = chosen(&all, &args.name)?;
    if args.list {
        for peer in peers {
            out.text(&format!("{:<28} {}\n", peer.name, peer.about))?;
        }
        return Ok(Status::Good);
    }
    let text = "10.2";
    let rules = test::judged_by(&library, text)?;
    let bar = progress::bar(peers.len() * suite.len());
    // One after the other: package managers take locks.
    let there: Vec<Result<(), Missing>> = peers
        .iter()
        .map(|peer| {
            bar.set_message(format!("{}: looking for it", peer.name));
            let missing = args.install && peer.find_version().is_err();
            if missing { install(peer) } else { Ok(()) }
        })
        .collect();
    let jobs: Vec<(&Peer, Result<(), Missing>)> = peers.into_iter().zip(there).collect();
    let verdicts = in_turn(&jobs, AT_ONCE, |(peer, there)| {
        let done = |test: &str| {
            bar.inc(1);
            bar.set_message(format!("{}: {test}", peer.name));
        };
        let (library, suite, vfio, done) = (&library, &suite, &vfio, &done);
        let setting = Setting { library, suite, vfio, text, rules, done };
        match there {
            Ok(()) => peer.run(setting),
            Err(why) => Verdict::NotRun(why.to_string()),
        }
    });
    bar.finish_and_clear();
    let verdicts: Vec<(&Peer, Verdict)> =
        jobs.into_iter().map(|(peer, _)| peer).zip(verdicts).collect();
    if args.record {
        for (peer, verdict) in &verdicts {
            out.text(&recorded(peer, verdict))?;
        }
    } else if args.format == Format::Text {
        for (peer, verdict) in &verdicts {
            show(&library, peer, verdict, args.full, out)?;
        }
    }
    close(&verdicts, args.format, out)
}

/// Peers that run at once. Most of the time is spent waiting.
const AT_ONCE: usize = 3;

/// What a peer's file should hold of its offers and readings.
fn recorded(peer: &Peer, verdict: &Verdict) -> String {
    let Verdict::Ran { version, report, .. } = verdict else { return String::new() };
    let quoted = |words: &[String]| {
        words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
    };
    let offers = report.offers.clone().unwrap_or_default();
    let mut text = format!("# {} {version}\n", peer.name);
    text += &format!("features = \"{}\"\n", offers.features);
    let table = match peer.serves {
        Serves::VhostUser { .. } => {
            text += &format!("protocol_features = \"{}\"\n", offers.protocol_features);
            "peer"
        }
        Serves::Mediated { .. } => "kernel",
    };
    text += &format!("[{table}.readings]\n");
    for (choice, options) in &report.readings {
        text += &format!("\"{choice}\" = [{}]\n", quoted(options));
    }
    text + "\n"
}

/// A mirror that refuses is tried once more.
fn install(peer: &Peer) -> Result<(), Missing> {
    peer.install().or_else(|_| {
        std::thread::sleep(std::time::Duration::from_secs(5));
        peer.install()
    })
}

fn chosen<'p>(all: &'p [Peer], names: &[String]) -> Result<Vec<&'p Peer>, Error> {
    for pattern in names {
        if !all.iter().any(|peer| spec::matches(pattern, &peer.name)) {
            let help = spec::did_you_mean(pattern, all.iter().map(|peer| peer.name.as_str()));
            return Err(Error::usage(format!("no implementation is called `{pattern}`"), help));
        }
    }
    let wanted = |peer: &&Peer| {
        names.is_empty() || names.iter().any(|pattern| spec::matches(pattern, &peer.name))
    };
    Ok(all.iter().filter(wanted).collect())
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
        out.text(&report.closing(|id| test::clause_text(library, id)))?;
    } else {
        for (choice, options) in &report.readings {
            out.text(&format!("  reads    {choice} = {}\n", options.join(" or ")))?;
        }
    }
    Ok(())
}

/// The closing lines: one a peer.
fn close(
    verdicts: &[(&Peer, Verdict)],
    format: Format,
    out: &mut Out<'_>,
) -> Result<Status, Error> {
    let ran = verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Ran { .. }));
    if format == Format::Json {
        let peers = verdicts.iter().map(|(peer, verdict)| entry(peer, verdict)).collect();
        out.json(&Document { schema: 1, peers })?;
    } else {
        out.text("\n")?;
        for (peer, verdict) in verdicts {
            out.text(&format!("{:<28} {}\n", peer.name, line(verdict)))?;
        }
        if !ran {
            out.text("no implementation ran, so nothing was compared\n")?;
        }
    }
    let fails = !ran || verdicts.iter().any(|(_, verdict)| verdict.fails());
    Ok(if fails { Status::Bad } else { Status::Good })
}

fn line(verdict: &Verdict) -> String {
    match verdict {
        Verdict::NotRun(why) => format!("NOT RUN: {why}"),
        Verdict::Ran { version, listed, report, new, gone, changed, errors, .. } => {
            let version =
                if *listed { version.clone() } else { format!("{version}, UNKNOWN VERSION") };
            let s = report.summary;
            let counts = format!(
                "{} passed, {} warned, {} failed, {} skipped",
                s.pass, s.warn, s.fail, s.skip
            );
            let held = match (new.len(), gone.len(), changed.len(), errors.len()) {
                (0, 0, 0, 0) => "as known".to_owned(),
                (new, gone, changed, errors) => {
                    format!("{new} NEW, {gone} GONE, {changed} CHANGED, {errors} errors")
                }
            };
            format!("{version}: {counts}; {held}")
        }
    }
}

/// What `--format json` writes.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Document {
    /// The version of this form: 1.
    schema: u32,
    /// The implementations, in order.
    peers: Vec<Entry>,
}

/// The result for one implementation. Without `ran` there is only `why`.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Entry {
    /// Its name.
    peer: String,
    /// Whether it was there.
    ran: bool,
    /// Why not.
    why: Option<String>,
    /// Its version.
    version: Option<String>,
    /// Whether deviations are held for that version.
    listed: bool,
    /// Known deviations that were seen.
    known: Vec<String>,
    /// Deviations that are not recorded.
    new: Vec<String>,
    /// Deviations that are always seen, and were not.
    gone: Vec<String>,
    /// Features and interpretations that differ from the recorded ones.
    changed: Vec<String>,
    /// Errors of the harness.
    errors: Vec<String>,
    /// The whole report.
    report: Option<SuiteReport>,
}

fn entry(peer: &Peer, verdict: &Verdict) -> Entry {
    let peer = peer.name.clone();
    match verdict.clone() {
        Verdict::NotRun(why) => Entry { peer, why: Some(why), ..Entry::default() },
        Verdict::Ran { version, listed, report, seen, new, gone, changed, errors } => Entry {
            peer,
            ran: true,
            why: None,
            version: Some(version),
            listed,
            known: seen,
            new,
            gone,
            changed,
            errors,
            report: Some(*report),
        },
    }
}
