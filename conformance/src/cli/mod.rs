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
//! **Invariants.** A command writes its result to [`out::Out`] and nothing else to stdout; the same
//! command prints the same bytes each time (seconds stand only in JSON). Nothing here decides what
//! is right: the model does.

mod check;
mod error;
mod grid;
mod out;
mod select;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use error::{Error, Status};
pub(crate) use out::Out;

/// An executable specification of device live migration: check it, test implementations against
/// it, change it with a file, read it.
#[derive(Debug, Parser)]
#[command(name = "devmig", version, max_term_width = 100)]
struct Cli {
    /// Colours and progress: `auto` asks whether the output is a terminal.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Explore systems exhaustively, and say which properties hold.
    Check(check::Args),
}

/// When to use colours.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How a result is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one document with `"schema": 1`.
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

fn run(command: Command, out: &mut Out<'_>) -> Result<Status, Error> {
    match command {
        Command::Check(args) => check::run(&args, out),
    }
}
