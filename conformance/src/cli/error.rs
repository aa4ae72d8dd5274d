//! What can go wrong at the command line, and the exit code that says so.

use std::path::PathBuf;
use std::process::ExitCode;

use super::plain::{plain, plain_but_colours};
use devmig_engine::explore;
use devmig_model::analysis::{self, Outcome};
use devmig_model::spec::{SpecError, SpecErrors};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

use crate::harness::without::UnknownFeature;
use crate::verify;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Status {
    /// As expected.
    Good,
    /// A bound cut it short.
    Incomplete,
    /// Not as expected.
    Bad,
    /// Bad usage, or a specification with an error.
    Usage,
    /// devmig's own trouble.
    HarnessError,
    /// Nothing was judged.
    NothingJudged,
}

impl From<verify::Error> for Error {
    fn from(error: verify::Error) -> Self {
        match error {
            verify::Error::Analysis(error) => error.into(),
            verify::Error::Reference(why) => Error::Reference(why),
        }
    }
}

impl From<Outcome> for Status {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Expected => Status::Good,
            Outcome::Incomplete => Status::Incomplete,
            Outcome::Unexpected => Status::Bad,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        ExitCode::from(match status {
            Status::Good => 0,
            Status::Bad => 1,
            Status::Usage => 2,
            Status::Incomplete => 3,
            Status::HarnessError => 4,
            Status::NothingJudged => 5,
        })
    }
}

/// Why a command has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A specification has errors, or an argument names what it does not hold.
    #[error(transparent)]
    Spec(#[from] SpecErrors),
    /// Something is asked that cannot be.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Output cannot be written.
    #[error("cannot write {to}: {cause}")]
    Write {
        /// Where to.
        to: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The reference back-end cannot be run.
    #[error("cannot test the reference back-end: {0}")]
    Reference(String),
    /// A device is not made: by the RFC that is told with exit status 1.
    #[error("{message}")]
    Refused {
        /// All reasons.
        message: String,
        /// Whether a faulty device exits as if it had been made.
        quietly: bool,
    },
    /// A device cannot be served any more.
    #[error("{0}")]
    Serve(String),
    /// A system cannot be explored.
    #[error("cannot explore {system}: {cause}")]
    Explore {
        /// Which.
        system: String,
        /// Why.
        cause: explore::Error,
    },
}

impl From<UnknownFeature> for Error {
    fn from(error: UnknownFeature) -> Self {
        let message = format!("--without: {error}");
        Error::Usage { message, help: error.help }
    }
}

impl From<SpecError> for Error {
    fn from(error: SpecError) -> Self {
        Error::Spec(error.into())
    }
}

impl From<analysis::Error> for Error {
    fn from(error: analysis::Error) -> Self {
        match error {
            analysis::Error::Spec(errors) => Error::Spec(errors),
            analysis::Error::Explore { system, cause } => Error::Explore { system, cause },
        }
    }
}

impl Error {
    /// Bad usage.
    pub(crate) fn usage(message: impl Into<String>, help: Option<String>) -> Self {
        Error::Usage { message: message.into(), help }
    }

    /// The exit code.
    pub(crate) fn status(&self) -> Status {
        match self {
            Error::Refused { quietly: true, .. } => Status::Good,
            Error::Refused { .. } => Status::Bad,
            Error::Spec(_) | Error::Usage { .. } | Error::Read { .. } => Status::Usage,
            Error::Write { .. } | Error::Explore { .. } | Error::Serve(_) | Error::Reference(_) => {
                Status::HarnessError
            }
        }
    }

    /// Says it on stderr.
    pub(crate) fn print(&self, color: bool) {
        use std::io::Write as _;
        let text = self.text(color);
        let text = if color { plain_but_colours(&text) } else { plain(&text) };
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// The message, with the places underlined if it has any.
    pub(crate) fn text(&self, color: bool) -> String {
        let Error::Spec(errors) = self else {
            let mut text = format!("error: {self}\n");
            if let Error::Usage { help: Some(help), .. } = self {
                text += &format!("  help: {help}\n");
            }
            return text;
        };
        let mut text = String::new();
        for error in errors.errors().iter().chain(errors.warnings()) {
            if error.span().is_some() {
                text += &diagnostic(error, color);
                text.push('\n');
            } else {
                text += &format!("error: {error}\n");
                text += &error.advice().map_or_else(String::new, |h| format!("  help: {h}\n"));
            }
        }
        if errors.more() > 0 || errors.errors().iter().any(|error| error.span().is_some()) {
            text += &format!("error: {errors}\n");
        }
        text
    }
}

/// Warnings, with the places underlined.
pub(super) fn warnings(of: &[SpecError], color: bool) -> String {
    of.iter().map(|warning| diagnostic(warning, color) + "\n").collect()
}

/// A diagnostic, drawn the same on every machine: ids are not broken at their hyphens.
fn diagnostic(error: &dyn Diagnostic, color: bool) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .with_links(false)
        .with_word_splitter(textwrap::WordSplitter::NoHyphenation);
    match handler.render_report(&mut text, error) {
        Ok(()) => text,
        Err(_) => format!("error: {error}\n"),
    }
}
