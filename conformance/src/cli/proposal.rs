//! `devmig proposal`: the words that a proposal may use, and what is wrong with one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Subcommand;
use devmig_model::registry::{self, Library};

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

/// What is wrong with the migration states of VFIO, if the proposal touches them.
fn states(base: &Library, library: &Library, out: &mut Out<'_>) -> Result<Status, Error> {
    if library.vfio().expect.is_none() {
        out.text("\nno errors\n")?;
        return Ok(Status::Good);
    }
    let found = library.vfio().lint(base.vfio(), library.vfio().reading(&library.choices()));
    out.text(&format!(
        "\nmigration states, by the reading `{}`\n{}",
        library.vfio().reading(&library.choices()),
        change::lint_text(&found)
    ))?;
    if found.is_sound() {
        out.text("\nno errors\n")?;
        return Ok(Status::Good);
    }
    out.text("\nNOT sound: every pair needs one path, and old devices stay what they are\n")?;
    Ok(Status::Bad)
}

fn words() -> String {
    let mut text = String::new();
    for (n, (title, words)) in registry::words().into_iter().enumerate() {
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
    let mut additions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (heading, names) in library.additions(base) {
        additions.entry(heading).or_default().extend(names);
    }
    line("features", additions.remove("features").unwrap_or_default());
    let clauses = spec.clauses().iter().filter(|clause| base.spec.clause(&clause.id).is_err());
    line("clauses", clauses.map(|clause| clause.id.clone()).collect());
    let choices = spec.choices().iter().filter(|choice| base.spec.choice(&choice.id).is_err());
    let options = |choice: &devmig_model::spec::Choice| {
        let options: Vec<_> = choice.options.iter().map(|option| option.name.as_str()).collect();
        format!("{} ({})", choice.id, options.join(", "))
    };
    line("choices", choices.map(options).collect());
    for heading in ["messages", "patches", "back-end's"] {
        line(heading, additions.remove(heading).unwrap_or_default());
    }
    let systems = change::concerned(base, library, proposal).into_iter().map(|name| {
        let new = if change::is_known(base, name) { "" } else { " (new)" };
        format!("{name}{new}")
    });
    line("systems", systems.collect());
    for heading in ["states", "states gone", "arcs", "arcs gone"] {
        line(heading, additions.remove(heading).unwrap_or_default());
    }
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
