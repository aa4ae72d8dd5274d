//! Bugs of real implementations, in `[[bug]]`: whether each is detected by what is said to detect it.

use devmig_engine::explore::Report;
use devmig_engine::explore::names::NON_VACUOUS;
use devmig_engine::explore::report::PropertyVerdict;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Error, Explorer, Outcome};
use crate::protocol::registration::Bug;
use crate::registry::Library;
use crate::spec::SpecError;

/// One mistake.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Hunted")]
pub struct Detected {
    /// Its short name.
    pub bug: String,
    /// Where it was reported.
    seen: String,
    /// The system that it was put into.
    system: String,
    /// The properties that should notice.
    expected: Vec<String>,
    /// Those that do.
    pub found: Vec<String>,
    /// They are the same, and the run was complete.
    pub met: bool,
    /// The run.
    #[serde(skip)]
    pub report: Report,
}

impl Detected {
    /// Puts a bug into its system, and looks which properties notice. That something can no longer
    /// happen is no property of its own.
    ///
    /// # Errors
    /// If the library has no such bug, or its system cannot be explored.
    pub fn of(explorer: &Explorer<'_>, library: &Library, bug: &Bug<'_>) -> Result<Self, Error> {
        let unknown = || SpecError::new(format!("no bug is called `{}`", bug.id));
        let system = library.check_bug(bug).ok_or_else(unknown)?;
        let report = explorer.explore(library, &*system)?;
        let own = |name: &str| !name.ends_with(NON_VACUOUS);
        let properties = report.properties.iter();
        let mut found: Vec<String> = properties
            .filter(|p| p.verdict == PropertyVerdict::Violated && own(&p.name))
            .map(|p| p.name.clone())
            .collect();
        found.sort();
        let mut expected = bug.caught.to_vec();
        expected.sort();
        Ok(Detected {
            bug: bug.id.to_owned(),
            seen: bug.seen.to_owned(),
            system: bug.system.to_owned(),
            met: found == expected && report.incomplete.is_none(),
            expected,
            found,
            report,
        })
    }

    /// What it comes to.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        Outcome::of(self.met, self.report.incomplete.is_some())
    }

    /// Whether it is noticed as it should be, in a line.
    pub(super) fn line(&self) -> String {
        match self.met {
            true => format!("bug/{}: noticed by {}\n", self.bug, self.found.join(", ")),
            false => self.text(),
        }
    }

    /// What is wrong, for those that are not noticed as they should be.
    #[must_use]
    pub fn text(&self) -> String {
        let list = |names: &[String]| match names {
            [] => "nothing".to_owned(),
            names => names.join(", "),
        };
        let (found, expected) = (list(&self.found), list(&self.expected));
        let Some(reason) = &self.report.incomplete else {
            return format!("bug/{}: detected by {found}, expected {expected}\n", self.bug);
        };
        format!("bug/{}: the run is incomplete: {reason}\n", self.bug)
    }
}
