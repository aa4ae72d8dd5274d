//! Mistakes, in `[[bug]]`: whether each is noticed by what is said to notice it.

use devmig_engine::explore::check::NON_VACUOUS;
use devmig_engine::explore::report::PropertyVerdict;
use devmig_engine::explore::search::Limits;
use devmig_engine::explore::{Options, Report};
use devmig_model::protocol::registration::Bug;
use devmig_model::registry::Library;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Error, Status};

/// One mistake.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Hunted {
    /// Its short name.
    pub(crate) bug: String,
    /// Where it was reported.
    seen: String,
    /// The system that it was put into.
    system: String,
    /// The properties that should notice.
    expected: Vec<String>,
    /// Those that do.
    pub(crate) found: Vec<String>,
    /// They are the same, and the run was complete.
    pub(crate) met: bool,
    /// The run.
    #[serde(skip)]
    pub(crate) report: Report,
}

impl Hunted {
    /// The exit code that it asks for.
    pub(crate) fn status(&self) -> Status {
        match (&self.report.incomplete, self.met) {
            (_, true) => Status::Good,
            (Some(_), false) => Status::Incomplete,
            (None, false) => Status::Bad,
        }
    }

    /// Whether it is noticed as it should be, in a line.
    pub(crate) fn line(&self) -> String {
        match self.met {
            true => format!("bug/{}: noticed by {}\n", self.bug, self.found.join(", ")),
            false => self.text(),
        }
    }

    /// What is wrong, for those that are not noticed as they should be.
    pub(crate) fn text(&self) -> String {
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

/// Puts a mistake into its system, and looks which properties notice. That something can no longer
/// happen is no property of its own.
pub(crate) fn hunted(
    library: &Library,
    bug: &Bug<'_>,
    limits: Limits<'_>,
) -> Result<Hunted, Error> {
    let clause = |id| library.spec.clause_name(id).to_owned();
    let options = Options { limits, clause: &clause };
    let system = library
        .check_bug(bug)
        .ok_or_else(|| Error::usage(format!("no bug is called `{}`", bug.id), None))?;
    let explored = system.check(&options);
    let failed = |cause| Error::Explore { system: bug.system.to_owned(), cause };
    let report = explored.map_err(failed)?;
    let own = |name: &str| !name.ends_with(NON_VACUOUS);
    let properties = report.properties.iter();
    let mut found: Vec<String> = properties
        .filter(|p| p.verdict == PropertyVerdict::Violated && own(&p.name))
        .map(|p| p.name.clone())
        .collect();
    found.sort();
    let mut expected = bug.caught.to_vec();
    expected.sort();
    Ok(Hunted {
        bug: bug.id.to_owned(),
        seen: bug.seen.to_owned(),
        system: bug.system.to_owned(),
        met: found == expected && report.incomplete.is_none(),
        expected,
        found,
        report,
    })
}
