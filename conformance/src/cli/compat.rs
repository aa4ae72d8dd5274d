//! `devmig compat`: which migrations are safe, from descriptions alone.

use std::path::{Path, PathBuf};

use devmig_engine::columns::{count, grid};
use devmig_model::device_model::baseline::Baseline;
use devmig_model::device_model::lint::{Finding, Severity};
use devmig_model::device_model::read::{Verdict, Word};
use devmig_model::device_model::rfc;

use super::{Error, Format, Out, Status};
use crate::compat::{Bad, Baselines, Findings, Unusable, fleet, implementation, verdict};

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
#[command(after_help = super::help::COMPAT_BASELINE)]
struct FilesArgs {
    /// Description of each host
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
#[command(after_help = super::help::COMPAT_LINT)]
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
#[command(after_help = super::help::COMPAT_FLEET)]
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

impl From<Unusable> for Error {
    fn from(error: Unusable) -> Self {
        let only = "only the form of this project and v3 of the RFC have parameters";
        let help = matches!(error.bad, Bad::Parameters).then(|| only.to_owned());
        Error::usage(error.to_string(), help)
    }
}

fn decide(from: &Path, to: &Path, format: Format, out: &mut Out<'_>) -> Result<Status, Error> {
    let verdict = verdict(from, to)?;
    out.show(format, &verdict, || text(&verdict))?;
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

fn common(args: &FilesArgs, out: &mut Out<'_>) -> Result<Status, Error> {
    let found = Baselines::of(&args.hosts)?;
    out.show(args.format, &found, || match found.models.is_empty() {
        true => "no model is supported by all hosts\n".to_owned(),
        false => found.models.iter().map(base_text).collect(),
    })?;
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
    let found = Findings::of(&args.files, args.catalogue)?;
    out.show(args.format, &found, || match found.findings.is_empty() {
        true => "nothing is wrong\n".to_owned(),
        false => found.findings.iter().map(finding_text).collect(),
    })?;
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
