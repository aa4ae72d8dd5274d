//! `devmig proposal`: the words that a proposal may use, and what is wrong with one.

use std::path::PathBuf;

use clap::Subcommand;
use devmig_model::library::Library;
use devmig_model::vhost_user::program::STEPS;
use devmig_model::vhost_user::properties;
use devmig_model::vhost_user::vocabulary::{Answer, Effect, Guard, Word};

use super::grid::{count, grid};
use super::{Error, Out, Status, change, select};

/// Says what a proposal's file may contain, and whether one has errors.
#[derive(Debug, clap::Args)]
#[command(after_long_help = words())]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find every problem of a proposal's file, or say what it contains
    Lint {
        /// The file
        file: PathBuf,
    },
    /// List the words of the message table, the steps of programs, and the properties
    Words,
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    match &args.command {
        Command::Words => out.text(&words())?,
        Command::Lint { file } => {
            let library = select::library(Some(file))?;
            out.text(&contents(&Library::builtin()?, &library))?;
        }
    }
    Ok(Status::Good)
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
    line("features", features.map(|f| format!("{} (bit {})", f.name, f.bit)).collect());
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
        let new = if base.system(name).is_none() { " (new)" } else { "" };
        format!("{name}{new}")
    });
    line("systems", systems.collect());
    let decides = library.decisions.iter().skip(base.decisions.len());
    line("decides", decides.map(|decision| decision.system.clone()).collect());
    line(
        "expects",
        match proposal.expects.len() {
            0 => Vec::new(),
            n => vec![count(n, "expectation")],
        },
    );
    text + "\nno errors\n"
}
