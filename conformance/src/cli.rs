//! The command line, one file a subcommand.
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
//!
//! **Invariants.** A command writes its result to `out::Out` and nothing else to stdout; the same
//! command prints the same bytes each time (seconds stand only in JSON). Nothing here decides what
//! is right: the model does.

mod change;
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
mod grid;
mod guest;
mod help;
mod hunt;
mod out;
mod peers;
mod peers_page;
mod progress;
mod proposal;
mod scenario;
mod schema;
mod select;
mod table;
mod table_vfio;
mod test;
mod verify;
mod watch;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::harness::io::process::end_all;

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
    Implementations(peers::Args),
    Watch(watch::Args),
    Replay(watch::ReplayArgs),
    Scenario(scenario::Args),
    Device(device::Args),
    Guest(guest::Args),
    Table(table::Args),
    Proposal(proposal::Args),
    Clauses(clauses::ClausesArgs),
    Choices(clauses::ChoicesArgs),
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
        end_children_with_us();
    }
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    let (color, color_errors) =
        (cli.color.on(stdout.is_terminal()), cli.color.on(stderr.is_terminal()));
    let mut out = Out::new(stdout, color);
    let status = run(cli.command, &mut out).and_then(|status| out.flush().map(|()| status));
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

/// Back-ends that we started run in groups of their own, which no Ctrl-C at a terminal reaches: a
/// signal that ends us ends them first. Without it we would still work, so a failure is no error.
fn end_children_with_us() {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            end_all(|| {
                let _ = emulate_default_handler(signal);
            });
        }
    });
}

/// Runs a command line (without the program's name) whose result goes to a string.
///
/// # Errors
/// If it is no command line, or the command has no result.
fn captured(arguments: &[String]) -> Result<String, Error> {
    let named = std::iter::once("devmig").chain(arguments.iter().map(String::as_str));
    let cli = Cli::try_parse_from(named).map_err(|error| Error::usage(error.to_string(), None))?;
    let mut bytes = Vec::new();
    run(cli.command, &mut Out::new(&mut bytes, false))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
        Command::Implementations(args) => peers::run(&args, out),
        Command::Watch(args) => watch::run(&args, out),
        Command::Replay(args) => watch::replay(&args, out),
        Command::Scenario(args) => scenario::run(&args, out),
        Command::Device(args) => device::run(&args, out),
        Command::Guest(args) => guest::run(&args, out),
        Command::Table(args) => table::run(&args, out),
        Command::Proposal(args) => proposal::run(&args, out),
        Command::Clauses(args) => clauses::clauses(&args, out),
        Command::Choices(args) => clauses::choices(&args, out),
        Command::Explain(args) => explain::run(&args, out),
        Command::Schema(args) => schema::run(&args, out),
        Command::Docs(args) => docs::run(&args, out),
    }
}
