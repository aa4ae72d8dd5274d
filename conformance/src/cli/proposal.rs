//! `devmig proposal`: the words that a proposal may use, and what is wrong with one.

use std::path::PathBuf;

use clap::Subcommand;
use devmig_model::protocol::orchestration;
use devmig_model::protocol::vfio;
use devmig_model::protocol::vhost_user::program::STEPS;
use devmig_model::protocol::vhost_user::properties;
use devmig_model::protocol::vhost_user::vocabulary::{Answer, Effect, Guard, Word};
use devmig_model::registry::Library;

use super::grid::{count, grid};
use super::{Error, Out, Status, change, select};

/// Check a proposal file, or list the vocabulary of proposals
#[derive(Debug, clap::Args)]
#[command(after_long_help = words())]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Report every problem of a proposal file, or summarize a correct one
    Lint {
        /// The file
        file: PathBuf,
    },
    /// List the vocabulary of proposals: guards, effects, steps and properties
    Words,
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    match &args.command {
        Command::Words => out.text(&words())?,
        Command::Lint { file } => {
            let (base, library) = (Library::builtin()?, select::library(Some(file))?);
            out.text(&contents(&base, &library))?;
            return states(&base, &library, out);
        }
    }
    Ok(Status::Good)
}

/// The keys of the table of migration states.
const STATES: &[(&str, &str)] = &[
    ("name", "of a feature or state; one that is known is changed by what is given"),
    ("bit", "of a feature, in VFIO_DEVICE_FEATURE_MIGRATION"),
    ("mandatory", "every device has this feature"),
    ("value", "of a state, in enum vfio_device_mig_state"),
    ("needs", "the features that a state or an arc needs"),
    ("runs", "whether the device does the guest's work"),
    ("dma", "what it may start: none, no-peer, any"),
    ("session", "the stream that is open: none, saving, resuming"),
    ("final", "no SET leads to this state or away"),
    ("from, to", "the ends of an arc"),
    ("remove", "take it away"),
];

/// What is wrong with the migration states of VFIO, if the proposal touches them.
fn states(base: &Library, library: &Library, out: &mut Out<'_>) -> Result<Status, Error> {
    if library.proposal.as_ref().is_none_or(|proposal| proposal.states.is_none()) {
        out.text("\nno errors\n")?;
        return Ok(Status::Good);
    }
    let found = library.vfio_lint(base);
    out.text(&format!(
        "\nmigration states, by the reading `{}`\n{}",
        library.vfio_reading(),
        change::lint_text(&found)
    ))?;
    if found.is_sound() {
        out.text("\nno errors\n")?;
        return Ok(Status::Good);
    }
    out.text("\nNOT sound: every pair needs one path, and old devices stay what they are\n")?;
    Ok(Status::Bad)
}

/// The vocabulary: sections, each with words and their meanings.
pub(crate) fn sections() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    fn of<W: Word>() -> Vec<(&'static str, &'static str)> {
        W::ALL.iter().map(|(name, meaning, _)| (*name, *meaning)).collect()
    }
    let properties = properties::ALL.iter().map(|(name, _, meaning)| (*name, *meaning));
    vec![
        ("Guards: `when`, `ready` (`not WORD` negates)", of::<Guard>()),
        ("Effects: `receive`, `reply`", of::<Effect>()),
        ("Answers: `answer`", of::<Answer>()),
        ("Steps: `run`, `steps`", STEPS.to_vec()),
        ("Properties: `holds`, `violated`", properties.collect()),
        ("VFIO: keys of `[[vfio-feature]]`, `[[vfio-state]]`, `[[vfio-arc]]`", STATES.to_vec()),
        ("VFIO: steps, `run`", vfio::client::STEPS.to_vec()),
        ("VFIO: what a client may do, `then`", vfio::client::THEN.to_vec()),
        (
            "VFIO: properties, `holds`, `violated`",
            vfio::properties::ALL.iter().map(|(name, _, meaning)| (*name, *meaning)).collect(),
        ),
        ("Migrations: steps, `run`, `failure`", orchestration::program::STEPS.to_vec()),
        ("Migrations: what management may do, `then`", orchestration::program::THEN.to_vec()),
        (
            "Migrations: properties, `holds`, `violated`",
            orchestration::properties::ALL
                .iter()
                .map(|(name, _, meaning)| (*name, *meaning))
                .collect(),
        ),
    ]
}

fn words() -> String {
    let mut text = String::new();
    for (n, (title, words)) in sections().into_iter().enumerate() {
        let rows: Vec<_> = words
            .iter()
            .map(|(word, meaning)| vec![format!("  {word}"), (*meaning).to_owned()])
            .collect();
        text += if n == 0 { "" } else { "\n" };
        text += &format!("{title}\n{}", grid(&rows));
    }
    text
}

/// What a valid proposal contains, against the base.
fn contents(base: &Library, library: &Library) -> String {
    let Some(proposal) = &library.proposal else { return String::new() };
    let mut text = format!("{}: {}\n  {}\n\n", proposal.id, proposal.title, proposal.about);
    let mut line = |what: &str, names: Vec<String>| {
        if !names.is_empty() {
            text += &format!("  {what:11}  {}\n", names.join(", "));
        }
    };
    let spec = &library.spec;
    let fixes = proposal.fixes.iter();
    let fixes =
        fixes.map(|(c, o)| format!("{} = {}", spec.choice_name(*c), spec.option_name(*c, *o)));
    line("fixes", fixes.collect());
    let features = library.table.features.iter().skip(base.table.features.len());
    let new = library.vfio.features.iter().filter(|feature| feature.proposed);
    let features = features
        .map(|f| format!("{} (bit {})", f.name, f.bit))
        .chain(new.map(|f| format!("{} (bit {})", f.name, f.bit)));
    line("features", features.collect());
    let clauses = spec.clauses().iter().filter(|clause| base.spec.clause(&clause.id).is_err());
    line("clauses", clauses.map(|clause| clause.id.clone()).collect());
    let choices = spec.choices().iter().filter(|choice| base.spec.choice(&choice.id).is_err());
    let options = |choice: &devmig_model::spec::Choice| {
        let options: Vec<_> = choice.options.iter().map(|option| option.name.as_str()).collect();
        format!("{} ({})", choice.id, options.join(", "))
    };
    line("choices", choices.map(options).collect());
    let messages = library.table.messages.iter();
    let new = messages.clone().filter(|message| message.proposed);
    line("messages", new.map(|message| format!("{} ({})", message.name, message.id)).collect());
    let patched = messages.filter(|message| !message.proposed).filter_map(|message| {
        let rows = message.rows.iter().filter(|row| row.proposed).count();
        (rows > 0).then(|| format!("{} ({} first)", message.name, count(rows, "row")))
    });
    line("patches", patched.collect());
    let systems = change::concerned(base, library, proposal).into_iter().map(|name| {
        let new = if change::is_known(base, name) { "" } else { " (new)" };
        format!("{name}{new}")
    });
    line("systems", systems.collect());
    let states = library.vfio.states.iter().filter(|state| state.proposed);
    line("states", states.map(|state| state.name.clone()).collect());
    let gone = base.vfio.states.iter().filter(|state| library.vfio.named(&state.name).is_none());
    line("states gone", gone.map(|state| state.name.clone()).collect());
    let arcs = library.vfio.arcs.iter().filter(|arc| arc.proposed);
    let arc = |from, to| format!("{} to {}", library.vfio.name(from), library.vfio.name(to));
    line("arcs", arcs.map(|a| arc(a.from, a.to)).collect());
    let kept = |from, to| library.vfio.arcs.iter().any(|arc| (arc.from, arc.to) == (from, to));
    let gone = base.vfio.arcs.iter().filter(|arc| !kept(arc.from, arc.to));
    line("arcs gone", gone.map(|a| arc(a.from, a.to)).collect());
    let decides = library.decisions.iter().skip(base.decisions.len());
    line("decides", decides.map(|decision| decision.system.clone()).collect());
    line(
        "expects",
        match proposal.expects.len() {
            0 => Vec::new(),
            n => vec![count(n, "expectation")],
        },
    );
    text
}
