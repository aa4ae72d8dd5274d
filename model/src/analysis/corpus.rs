//! All built-in proposals, each with all that it is about.

use std::collections::BTreeSet;

use devmig_engine::columns::{count, grid};
use schemars::JsonSchema;
use serde::Serialize;

use super::change::Examined;
use super::listing::yes;
use super::{Error, Explorer, Outcome};
use crate::protocol::size::Scale;
use crate::registry::Library;
use crate::spec::builtin_proposals;

/// What `devmig check --proposals` writes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Corpus {
    /// The version of this form: 1.
    schema: u32,
    /// Every proposal is as expected.
    pub as_expected: bool,
    /// The proposals, in the order of their files.
    pub proposals: Vec<Examined>,
}

/// Runs every built-in proposal: the path of its file below `specs/`, and what it comes to.
///
/// # Errors
/// If one has errors, or a system cannot be explored.
pub fn builtin(explorer: &Explorer<'_>, base: &Library) -> Result<Vec<(String, Examined)>, Error> {
    let mut all = Vec::new();
    for (name, text) in builtin_proposals() {
        let proposed = Library::with_proposal(&name, &text)?;
        if let Some(proposal) = &proposed.proposal {
            let (libraries, as_declared) = ((base, &proposed), (&[][..], &Scale::default()));
            let examined = Examined::of(explorer, libraries, proposal, None, as_declared)?;
            all.push((name, examined));
        }
    }
    Ok(all)
}

impl Corpus {
    /// All of them.
    ///
    /// # Errors
    /// See [`builtin`].
    pub fn of(explorer: &Explorer<'_>, base: &Library) -> Result<Self, Error> {
        let all = builtin(explorer, base)?;
        let proposals: Vec<Examined> = all.into_iter().map(|(_, examined)| examined).collect();
        let as_expected = proposals.iter().all(|examined| examined.as_expected);
        Ok(Corpus { schema: 1, as_expected, proposals })
    }

    /// What they come to.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.proposals.iter().map(Examined::outcome).max().unwrap_or(Outcome::Expected)
    }

    /// For the console: what is not as expected, and one line a proposal.
    #[must_use]
    pub fn text(&self) -> String {
        let not: Vec<_> = self.proposals.iter().filter(|one| !one.as_expected).collect();
        let mut text: String = not.iter().map(|examined| examined.text() + "\n").collect();
        let head = ["proposal", "rows", "checks", "as expected"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.proposals.iter().map(|examined| {
            vec![
                examined.proposal.clone(),
                examined.rows.join(" "),
                (examined.systems.len() + examined.expected()).to_string(),
                yes(examined.as_expected),
            ]
        }));
        let carried: BTreeSet<&String> =
            self.proposals.iter().flat_map(|examined| &examined.rows).collect();
        let verdict = match not.len() {
            0 => "all as expected".to_owned(),
            n => format!("{n} NOT as expected"),
        };
        let proposals = count(self.proposals.len(), "proposal");
        text += &format!(
            "{}\n{proposals} of {}: {verdict}\n",
            grid(&rows),
            count(carried.len(), "row")
        );
        text
    }
}
