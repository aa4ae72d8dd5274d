//! `devmig peers`: the suite against every real implementation that is known, held against what
//! each is known to do.

use clap::Args as ClapArgs;
use devmig_model::library::Library;
use devmig_model::spec;
use serde_json::json;

use super::{Error, Format, Out, Status, progress, test};
use crate::peers::{self, Peer, Setting, Verdict};
use crate::vhost_user::suite;

/// Run the suite against real implementations and hold what it finds against what is known.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Only these peers; `*` stands for anything.
    name: Vec<String>,
    /// Say what peers there are.
    #[arg(long)]
    list: bool,
    /// Install those that are missing, from the system's packages and from crates.
    #[arg(long)]
    install: bool,
    /// Show every finding in full.
    #[arg(long)]
    full: bool,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let suite = suite::builtin(&library)?;
    let all = peers::builtin(&library, &suite)?;
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
    let mut verdicts = Vec::new();
    for peer in peers {
        let done = |test: &str| {
            bar.inc(1);
            bar.set_message(format!("{}: {test}", peer.name));
        };
        let missing = args.install && peer.find_version().is_err();
        let installed = if missing { install(peer) } else { Ok(()) };
        let setting = Setting { library: &library, suite: &suite, text, rules, done: &done };
        let verdict = match installed {
            Ok(()) => peer.run(setting),
            Err(why) => Verdict::NotRun(why),
        };
        if args.format == Format::Text {
            bar.suspend(|| show(&library, peer, &verdict, args.full, out))?;
        }
        verdicts.push((peer, verdict));
    }
    bar.finish_and_clear();
    close(&verdicts, args.format, out)
}

/// A mirror that refuses is tried once more.
fn install(peer: &Peer) -> Result<(), String> {
    peer.install().or_else(|_| {
        std::thread::sleep(std::time::Duration::from_secs(5));
        peer.install()
    })
}

fn chosen<'p>(all: &'p [Peer], names: &[String]) -> Result<Vec<&'p Peer>, Error> {
    for pattern in names {
        if !all.iter().any(|peer| spec::matches(pattern, &peer.name)) {
            let help = spec::did_you_mean(pattern, all.iter().map(|peer| peer.name.as_str()));
            return Err(Error::usage(format!("no peer is called `{pattern}`"), help));
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
    let Verdict::Ran { version, report, seen, new, gone, errors, .. } = verdict else {
        return Ok(());
    };
    out.text(&format!("{} {version}\n", peer.name))?;
    for (what, lines) in [("known", seen), ("NEW", new), ("GONE", gone), ("harness", errors)] {
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
        let peers: Vec<_> = verdicts.iter().map(|(peer, verdict)| entry(peer, verdict)).collect();
        out.json(&json!({ "schema": 1, "peers": peers }))?;
    } else {
        out.text("\n")?;
        for (peer, verdict) in verdicts {
            out.text(&format!("{:<28} {}\n", peer.name, line(verdict)))?;
        }
        if !ran {
            out.text("no peer ran: nothing was held against a real implementation\n")?;
        }
    }
    let fails = !ran || verdicts.iter().any(|(_, verdict)| verdict.fails());
    Ok(if fails { Status::Bad } else { Status::Good })
}

fn line(verdict: &Verdict) -> String {
    match verdict {
        Verdict::NotRun(why) => format!("NOT RUN: {why}"),
        Verdict::Ran { version, listed, report, new, gone, errors, .. } => {
            let version =
                if *listed { version.clone() } else { format!("{version}, UNKNOWN VERSION") };
            let s = report.summary;
            let counts = format!(
                "{} passed, {} warned, {} failed, {} skipped",
                s.pass, s.warn, s.fail, s.skip
            );
            let held = match (new.len(), gone.len(), errors.len()) {
                (0, 0, 0) => "as known".to_owned(),
                (new, gone, errors) => format!("{new} NEW, {gone} GONE, {errors} errors"),
            };
            format!("{version}: {counts}; {held}")
        }
    }
}

fn entry(peer: &Peer, verdict: &Verdict) -> serde_json::Value {
    match verdict {
        Verdict::NotRun(why) => json!({ "peer": peer.name, "ran": false, "why": why }),
        Verdict::Ran { version, listed, report, seen, new, gone, errors } => json!({
            "peer": peer.name, "ran": true, "version": version, "listed": listed,
            "known": seen, "new": new, "gone": gone, "errors": errors, "report": report,
        }),
    }
}
