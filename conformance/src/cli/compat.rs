//! `devmig compat`: which migrations are safe, from descriptions alone.

use std::path::{Path, PathBuf};

use devmig_model::device_model::baseline::{Baseline, baseline};
use devmig_model::device_model::lint::{self, Finding, Severity};
use devmig_model::device_model::read::{Destination, Verdict, Word};
use devmig_model::device_model::{Implementation, Reason, Refusal, rfc};
use schemars::JsonSchema;
use serde::Serialize;

use super::grid::{count, grid};
use super::{Error, Format, Out, Status};
use crate::compat::{Bad, any, destinations, fleet, source};

/// Decide from descriptions whether a device can migrate to a host
///
/// A description is a JSON file in the form of this project, of the RFC (v3, v4) or of 2020, or a
/// directory with the attributes of an mdev device or type.
#[derive(Debug, clap::Args)]
#[command(after_help = super::help::COMPAT)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Description of the device (instance)
    #[arg(long, value_name = "INSTANCE", required = true)]
    source: Option<PathBuf>,
    /// Description of the destination (implementation)
    #[arg(long, value_name = "IMPLEMENTATION", required = true)]
    destination: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Compute the configuration that all hosts accept, closest to their defaults
    Baseline(FilesArgs),
    /// Check a catalogue for errors, or two releases for incompatible changes
    Lint(LintArgs),
    /// Check every instance in a directory against every host in it
    Fleet(FleetArgs),
    /// Convert a description to migration info of the RFC's third version
    Info(InfoArgs),
}

#[derive(Debug, clap::Args)]
struct FilesArgs {
    /// Description of each host
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct LintArgs {
    /// Descriptions of hosts
    #[arg(value_name = "CATALOGUE", required = true)]
    files: Vec<PathBuf>,
    /// Treat two files as a catalogue, not as two releases
    #[arg(long)]
    catalogue: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct FleetArgs {
    /// Directory of JSON files, each an instance or an implementation
    dir: PathBuf,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct InfoArgs {
    /// Description of a host
    file: PathBuf,
}

/// What `compat baseline` finds.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "baseline")]
pub(super) struct Baselines {
    /// The version of this form: 1.
    schema: u32,
    /// The models that all hosts have.
    models: Vec<Baseline>,
}

/// What `compat lint` finds.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "lint")]
pub(super) struct Findings {
    /// The version of this form: 1.
    schema: u32,
    /// In the order of the models.
    findings: Vec<Finding>,
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    match (&args.action, &args.source, &args.destination) {
        (Some(Action::Baseline(args)), ..) => common(args, out),
        (Some(Action::Lint(args)), ..) => linted(args, out),
        (Some(Action::Fleet(args)), ..) => all(args, out),
        (Some(Action::Info(args)), ..) => info(args, out),
        (None, Some(source), Some(destination)) => decide(source, destination, args.format, out),
        (None, ..) => Err(Error::usage("--source and --destination are required", None)),
    }
}

/// A file that cannot be used.
fn unusable(path: &Path, bad: &Bad) -> Error {
    Error::usage(format!("cannot use {}: {bad}", path.display()), None)
}

fn decide(from: &Path, to: &Path, format: Format, out: &mut Out<'_>) -> Result<Status, Error> {
    let (here, there) = (source(from), destinations(to));
    let mut reasons: Vec<Reason> = Vec::new();
    for (path, side, bad) in
        [(from, "source", here.as_ref().err()), (to, "destination", there.as_ref().err())]
    {
        if let Some(bad) = bad {
            reasons.push(bad.refusal(side).ok_or_else(|| unusable(path, bad))?);
        }
    }
    let answer = match (&here, &there) {
        (Ok(here), Ok(there)) => any(here, there),
        _ => Refusal::unless_none(reasons, Default::default()),
    };
    let verdict = Verdict::from(answer);
    match format {
        Format::Json => out.json(&verdict)?,
        Format::Text => out.text(&text(&verdict))?,
    }
    Ok(if verdict.verdict == Word::Safe { Status::Good } else { Status::Bad })
}

fn text(verdict: &Verdict) -> String {
    let mut out = match verdict.verdict {
        Word::Safe => "safe\n".to_owned(),
        Word::Refused => "refused\n".to_owned(),
    };
    for (name, value) in verdict.configuration.iter().flatten() {
        out += &format!("  {name} = {}\n", value.to_string().escape_debug());
    }
    for reason in &verdict.reasons {
        out += &format!("  {}: {}\n", reason.kind, reason.message);
    }
    out
}

/// What a host can make, where only parameters will do.
fn implementation(path: &Path) -> Result<Implementation, Error> {
    let mut all = destinations(path).map_err(|bad| unusable(path, &bad))?;
    match (all.pop(), all.is_empty()) {
        (Some(Destination::Implementation(one)), true) => Ok(one),
        _ => {
            let message = format!("cannot use {}: it has no parameters", path.display());
            Err(Error::usage(
                message,
                Some("only the form of this project and v3 of the RFC have parameters".into()),
            ))
        }
    }
}

fn named(paths: &[PathBuf]) -> Result<Vec<(String, Implementation)>, Error> {
    paths.iter().map(|path| Ok((path.display().to_string(), implementation(path)?))).collect()
}

fn common(args: &FilesArgs, out: &mut Out<'_>) -> Result<Status, Error> {
    let hosts = named(&args.hosts)?;
    let hosts: Vec<_> = hosts.iter().map(|(name, host)| (name.as_str(), host)).collect();
    let found = Baselines { schema: 1, models: baseline(&hosts) };
    match args.format {
        Format::Json => out.json(&found)?,
        Format::Text => {
            if found.models.is_empty() {
                out.text("no model is supported by all hosts\n")?;
            }
            for model in &found.models {
                out.text(&base_text(model))?;
            }
        }
    }
    let good = found.models.iter().any(|model| model.configuration.is_some());
    Ok(if good { Status::Good } else { Status::Bad })
}

fn base_text(model: &Baseline) -> String {
    let Some(configuration) = &model.configuration else {
        let reasons = model.reasons.iter().map(|reason| format!("  {reason}\n"));
        return format!("{}: none\n{}", model.model, reasons.collect::<String>());
    };
    let mut rows = Vec::new();
    for (name, value) in configuration {
        let common = model.common.get(name).cloned().flatten();
        let list = common.map_or("any value".to_owned(), |list| {
            let shown: Vec<_> = list.iter().take(16).map(ToString::to_string).collect();
            let more = if list.len() > 16 { ", …" } else { "" };
            shown.join(", ") + more
        });
        let cells = [format!("  {name} = {value}"), format!("of {list}")];
        rows.push(cells.map(|cell| cell.escape_debug().to_string()).to_vec());
    }
    let away = match model.distance {
        0 => "the default configuration".to_owned(),
        n => format!("{} from the default configuration", count(n as usize, "step")),
    };
    format!("{}: {away}\n{}", model.model, grid(&rows))
}

fn linted(args: &LintArgs, out: &mut Out<'_>) -> Result<Status, Error> {
    let files = named(&args.files)?;
    let named: Vec<_> = files.iter().map(|(name, file)| (name.as_str(), file)).collect();
    let findings = match named[..] {
        [old, new] if !args.catalogue => {
            let mut found = lint::catalogue(&[new]);
            found.extend(lint::releases(old, new));
            found
        }
        _ => lint::catalogue(&named),
    };
    let found = Findings { schema: 1, findings };
    match args.format {
        Format::Json => out.json(&found)?,
        Format::Text => {
            for finding in &found.findings {
                out.text(&finding_text(finding))?;
            }
            if found.findings.is_empty() {
                out.text("nothing is wrong\n")?;
            }
        }
    }
    let wrong = found.findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if wrong { Status::Bad } else { Status::Good })
}

fn finding_text(finding: &Finding) -> String {
    let (severity, rule) = (finding.severity, finding.rule);
    let mut text = format!("{severity}: {rule}: {}\n", finding.message);
    text += &format!("  in {}\n", finding.files.join(", "));
    if let Some(instance) = &finding.instance {
        let settings = instance.parameters.0.iter();
        let settings: Vec<_> = settings.map(|(name, value)| format!(" {name}={value}")).collect();
        let line = format!("  e.g. {}{}", instance.model, settings.concat());
        text += &format!("{}\n", line.escape_debug());
    }
    text
}

fn all(args: &FleetArgs, out: &mut Out<'_>) -> Result<Status, Error> {
    let fleet = fleet::Fleet::read(&args.dir).map_err(|bad| {
        let lines: Vec<_> = bad
            .iter()
            .take(16)
            .map(|(path, bad)| format!("cannot use {}: {bad}", path.display()))
            .collect();
        let more = bad.len() - lines.len();
        let rest = if more > 0 { format!("\nand {more} more") } else { String::new() };
        Error::usage(lines.join("\n") + &rest, None)
    })?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let matrix = fleet.matrix(threads);
    let stuck = matrix.instances.iter().filter(|row| row.accepted_by.is_empty()).count();
    match args.format {
        Format::Json => out.json(&matrix)?,
        Format::Text => {
            let hosts = count(matrix.hosts, "host");
            let mut rows = vec![["instance", "hosts", "refused for"].map(str::to_owned).to_vec()];
            for row in &matrix.instances {
                let why: Vec<_> = row.refused_for.iter().map(|(k, n)| format!("{k} {n}")).collect();
                let cells =
                    [row.instance.clone(), row.accepted_by.len().to_string(), why.join(", ")];
                rows.push(cells.to_vec());
            }
            out.text(&grid(&rows))?;
            let instances = count(matrix.instances.len(), "instance");
            out.text(&format!("{instances}, {hosts}; {stuck} cannot migrate anywhere\n"))?;
            for idle in &matrix.idle {
                out.text(&format!("{idle} accepts none\n"))?;
            }
        }
    }
    Ok(if stuck == 0 { Status::Good } else { Status::Bad })
}

fn info(args: &InfoArgs, out: &mut Out<'_>) -> Result<Status, Error> {
    let implementation = implementation(&args.file)?;
    let lost = rfc::lost(&implementation);
    if !lost.is_empty() {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "not in v3 of the RFC: {}", lost.join(", "));
    }
    out.json(&rfc::InfoForm::from(&implementation))?;
    Ok(Status::Good)
}
