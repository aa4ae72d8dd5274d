//! Counterexamples in the forms that are no report: which one is meant, and the command that finds it.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use devmig_engine::explore::trace::{Look, NARROWEST, WIDTH};
use devmig_model::spec;

use super::{Error, Format, Out};
use crate::story::{Story, html, itf, mail, mermaid, script};

/// The form of a result of exploration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Form {
    /// Plain text
    #[default]
    Text,
    /// One JSON document with a schema version
    Json,
    /// Counterexamples for a mailing list: ASCII, 72 columns, with the command that finds them
    Mail,
    /// One counterexample as a Mermaid sequence diagram
    Mermaid,
    /// One counterexample in Apalache's Informal Trace Format (JSON)
    Itf,
    /// Counterexamples as a page without outside requests: step with the arrow keys, Home and End
    Html,
    /// One counterexample of vhost-user as a script for `devmig test vhost-user --script`
    Script,
}

impl Form {
    /// The form of a report, if it is one.
    pub(crate) fn report(self) -> Option<Format> {
        match self {
            Form::Text => Some(Format::Text),
            Form::Json => Some(Format::Json),
            _ => None,
        }
    }
}

/// How traces are shown.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Shown {
    /// Show every trace with every step, also for expected verdicts, reachable states and ends
    #[arg(long)]
    full: bool,
    /// Columns of a line [default: those of the terminal; 100 in a file or pipe]
    #[arg(long, value_name = "COLUMNS",
          value_parser = clap::value_parser!(u16).range(NARROWEST as i64..=400))]
    width: Option<u16>,
    /// Hide events and fields of the state in traces by their text (`*` matches any characters)
    #[arg(long, value_name = "EVENT|FIELD|GLOB")]
    hide: Vec<String>,
    /// Show the counterexample of this property only; needed by a format that shows one, where several
    /// are violated
    #[arg(long, value_name = "NAME|GLOB")]
    property: Option<String>,
}

impl Shown {
    /// Whether everything is shown.
    pub(crate) fn full(&self) -> bool {
        self.full
    }

    /// The same for what prints traces; the hidden are asked for by `hides`.
    pub(crate) fn look<'a>(&self, hide: &'a dyn Fn(&str) -> bool) -> Look<'a> {
        let terminal = || {
            let size = terminal_size::terminal_size().filter(|_| std::io::stdout().is_terminal());
            size.map(|(terminal_size::Width(columns), _)| usize::from(columns))
        };
        let width = self.width.map(usize::from).or_else(terminal).unwrap_or(WIDTH);
        Look { width: width.clamp(NARROWEST, 400), full: self.full, hide }
    }

    /// Whether an event or a field is hidden.
    pub(crate) fn hides(&self, text: &str) -> bool {
        self.hide.iter().any(|pattern| spec::matches(pattern, text))
    }

    /// Whether a property is to be shown.
    fn wanted(&self, name: &str) -> bool {
        self.property.as_ref().is_none_or(|pattern| spec::matches(pattern, name))
    }

    /// Writes counterexamples in their form.
    ///
    /// # Errors
    /// If there is none, or several where the form has room for one; if a script cannot say it.
    pub(crate) fn write(
        &self,
        form: Form,
        mut stories: Vec<Story>,
        out: &mut Out<'_>,
    ) -> Result<(), Error> {
        stories.retain(|story| self.wanted(&story.name));
        if !self.full {
            for line in stories.iter_mut().flat_map(|story| &mut story.lines) {
                line.changed.retain(|name, _| !self.hides(name));
            }
        }
        let names = || {
            let names: Vec<_> =
                stories.iter().map(|story| format!("{} of {}", story.name, story.system)).collect();
            names.join(", ")
        };
        let one = || match &stories[..] {
            [one] => Ok(one),
            _ => {
                let message = format!("this format shows one counterexample: {}", names());
                let help = "choose a system and `--property NAME`".to_owned();
                Err(Error::usage(message, Some(help)))
            }
        };
        if stories.is_empty() {
            let message = "there is no counterexample: no property that is asked for is violated";
            let help = "`--full` shows examples of what can happen".to_owned();
            return Err(Error::usage(message, Some(help)));
        }
        match form {
            Form::Mail => out.document(&mail::text(&stories)),
            Form::Mermaid => out.document(&mermaid::text(one()?)),
            Form::Itf => out.json(&itf::document(one()?)),
            Form::Html => {
                let page = html::page(&stories);
                out.document(&page.map_err(|_| Error::usage("the page cannot be written", None))?)
            }
            Form::Script => {
                let text = script::text(one()?);
                let help = "`--format mail` shows any counterexample".to_owned();
                out.document(&text.map_err(|why| Error::usage(why.to_string(), Some(help)))?)
            }
            Form::Text | Form::Json => Ok(()),
        }
    }
}
