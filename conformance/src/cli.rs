//! The command line: a file for each subcommand, with its arguments and what it prints.
//!
//! ```text
//!  arguments --clap--> Command --run(out)--> Status | Error --> exit code
//!                                   |            |
//!                                 stdout       stderr
//! ```
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | as expected |
//! | 1 | not as expected |
//! | 2 | bad usage, or a specification with an error |
//! | 3 | incomplete: a bound cut it short, and nothing unexpected was found before |
//! | 4 | devmig's own trouble: a file or stream that cannot be written, a harness error |
//! | 128 + N | signal N ended it; what was found before is written |
//!
//! **Invariants.** A command writes its result to `out::Out` and nothing else to stdout; the same
//! command prints the same bytes each time (seconds stand only in JSON). Nothing here decides what
//! is right: the model does. No command's file imports another's, and nothing outside imports this.

mod check;
mod clauses;
mod compare;
mod compat;
mod decide;
mod device;
mod docs;
mod error;
mod explain;
mod explore;
mod guest;
mod help;
mod implementations;
mod interrupt;
mod number;
mod out;
mod pace;
#[cfg(test)]
mod paths;
mod plain;
mod progress;
mod proposal;
mod reference;
mod scenario;
mod schema;
mod select;
mod table;
mod test;
mod texts;
mod verify;
mod watch;

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
pub(crate) use error::{Error, Status};
pub(crate) use out::Out;

/// An executable specification of device live migration: check it, test implementations against it,
/// change it with a proposal file
#[derive(Debug, Parser)]
#[command(name = "devmig", version, max_term_width = 100, after_help = help::DEVMIG)]
struct Cli {
    /// Use colours and show progress; `auto`: if the output is a terminal
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Compare(compare::Args),
    Compat(compat::Args),
    Decide(decide::Args),
    Explore(explore::Args),
    Verify(verify::Args),
    Test(test::Args),
    #[command(alias = "peers")]
    Implementations(implementations::Args),
    Watch(watch::Args),
    Replay(watch::ReplayArgs),
    Scenario(scenario::Args),
    Device(device::Args),
    Reference(reference::Args),
    Guest(guest::Args),
    Table(table::Args),
    Proposal(proposal::Args),
    Clauses(clauses::ClausesArgs),
    Choices(clauses::ChoicesArgs),
    Texts(texts::Args),
    Explain(explain::Args),
    Schema(schema::Args),
    Docs(docs::Args),
}

/// When to use colours.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How a result is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Format {
    /// Plain text
    #[default]
    Text,
    /// One JSON document with a schema version
    Json,
}

impl Color {
    fn on(self, terminal: bool) -> bool {
        match self {
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
            Color::Always => true,
            Color::Never => false,
        }
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // A watch starts nobody, and makes its report when it is told to end.
    if !matches!(cli.command, Command::Watch(_)) {
        interrupt::handle();
    }
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    let (color, color_errors) =
        (cli.color.on(stdout.is_terminal()), cli.color.on(stderr.is_terminal()));
    let mut out = Out::new(stdout, color);
    let status = run(cli.command, &mut out);
    interrupt::unless_ending();
    let status = status.and_then(|status| out.flush().map(|()| status));
    match status {
        Ok(status) => status.into(),
        Err(error) => {
            // What was found before the trouble is kept.
            let _ = out.flush();
            error.print(color_errors);
            error.status().into()
        }
    }
}

/// A command line (without the program's name) of a page.
///
/// # Errors
/// If it is no command line, or one that a page may not have run.
fn of_a_page(arguments: &[String], page: &Path) -> Result<Command, Error> {
    let named = std::iter::once("devmig").chain(arguments.iter().map(String::as_str));
    let cli = Cli::try_parse_from(named).map_err(|error| Error::usage(error.to_string(), None))?;
    match cli.command.only_prints() {
        true => Ok(cli.command),
        false => {
            let line = arguments.join(" ");
            let message = format!("{}: a block cannot run `devmig {line}`", page.display());
            let help = "a page's commands start no program, serve nobody, and write no file";
            Err(Error::usage(message, Some(help.to_owned())))
        }
    }
}

/// Runs such a command line, whose result goes to a string, and so do the errors of a specification that
/// it reads: a page may show them.
///
/// # Errors
/// As [`of_a_page`], and if the command has no result.
fn captured(arguments: &[String], page: &Path) -> Result<String, Error> {
    let command = of_a_page(arguments, page)?;
    let mut bytes = Vec::new();
    let errors = match run(command, &mut Out::new(&mut bytes, false)) {
        Ok(_) => String::new(),
        Err(error @ Error::Spec(_)) => error.text(false),
        Err(error) => return Err(error),
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned() + &errors)
}

impl Command {
    /// Whether it only prints: it starts no program, listens on no socket and writes no file. The author of
    /// a page of the book must not decide which programs run where the book is built.
    fn only_prints(&self) -> bool {
        match self {
            Command::Check(_)
            | Command::Compare(_)
            | Command::Compat(_)
            | Command::Decide(_)
            | Command::Replay(_)
            | Command::Table(_)
            | Command::Clauses(_)
            | Command::Texts(_)
            | Command::Choices(_)
            | Command::Explain(_)
            | Command::Schema(_) => true,
            Command::Proposal(proposal) => proposal.only_prints(),
            Command::Explore(_)
            | Command::Verify(_)
            | Command::Test(_)
            | Command::Implementations(_)
            | Command::Watch(_)
            | Command::Scenario(_)
            | Command::Device(_)
            | Command::Reference(_)
            | Command::Guest(_)
            | Command::Docs(_) => false,
        }
    }
}

/// This program, for suites that start the reference as anybody's program is started.
fn this_program() -> Result<String, Error> {
    let path = std::env::current_exe();
    let path = path.map_err(|cause| Error::Read { path: "/proc/self/exe".into(), cause })?;
    Ok(path.to_string_lossy().into_owned())
}

fn run(command: Command, out: &mut Out<'_>) -> Result<Status, Error> {
    match command {
        Command::Check(args) => check::run(&args, out),
        Command::Compare(args) => compare::run(&args, out),
        Command::Compat(args) => compat::run(&args, out),
        Command::Decide(args) => decide::run(&args, out),
        Command::Explore(args) => explore::run(&args, out),
        Command::Verify(args) => verify::run(&args, out),
        Command::Test(args) => test::run(&args, out),
        Command::Implementations(args) => implementations::run(&args, out),
        Command::Watch(args) => watch::run(&args, out),
        Command::Replay(args) => watch::replay(&args, out),
        Command::Scenario(args) => scenario::run(&args, out),
        Command::Device(args) => device::run(&args, out),
        Command::Reference(args) => reference::run(&args, out),
        Command::Guest(args) => guest::run(&args, out),
        Command::Table(args) => table::run(&args, out),
        Command::Proposal(args) => proposal::run(&args, out),
        Command::Clauses(args) => clauses::clauses(&args, out),
        Command::Choices(args) => clauses::choices(&args, out),
        Command::Texts(args) => texts::run(&args, out),
        Command::Explain(args) => explain::run(&args, out),
        Command::Schema(args) => schema::run(&args, out),
        Command::Docs(args) => docs::run(&args, out),
    }
}

/// Every command, with its path, for tests of the whole command line.
#[cfg(test)]
fn commands() -> Vec<(String, clap::Command)> {
    let mut all = vec![("devmig".to_owned(), <Cli as clap::CommandFactory>::command())];
    let mut at = 0;
    while let Some((path, command)) = all.get(at) {
        let inside = command.get_subcommands();
        let inside: Vec<_> =
            inside.map(|sub| (format!("{path} {}", sub.get_name()), sub.clone())).collect();
        all.extend(inside);
        at += 1;
    }
    all
}
