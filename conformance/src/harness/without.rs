//! What all protocols share of `--without`: the command that leaves features out, and the error for a
//! name that no feature has.

/// A command that also leaves these features out.
#[must_use]
pub fn command(command: &str, left_out: &[String]) -> String {
    let options = left_out.iter().map(|name| format!(" --without {name}"));
    options.fold(command.to_owned(), |command, option| command + &option)
}

/// No feature has this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no feature is called `{name}`")]
pub struct UnknownFeature {
    /// What was asked for.
    pub name: String,
    /// What may be meant.
    pub help: Option<String>,
}
