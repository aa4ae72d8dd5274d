//! Which combinations of capabilities a monitor refuses, against the table of exclusions.
//!
//! ```text
//!   query-version, query-migrate-capabilities
//!   each capability, each pair --migrate-set-capabilities--> accepted, or the reason --table--> as expected?
//! ```
//!
//! **Invariants.** What was switched on is switched off again after each question. A condition of the host or of
//! the build is no matter of capabilities: where the table names one, both answers are right.

use std::time::Duration;

use devmig_model::protocol::multifd::capability::{Capabilities, Refusal};
use devmig_model::protocol::release::Release;
use devmig_reference::socket::Deadline;
use serde::Serialize;
use serde_json::{Value, json};

use crate::scenario::error::Error;
use crate::scenario::qmp::Qmp;

/// How long the monitor may take for an answer.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// The most capabilities that are asked for in pairs.
const MOST: usize = 128;

/// A set of capabilities for which the monitor answers otherwise than the table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// The transport of a migration that was to begin; none, if the capabilities were switched on only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<String>,
    /// What was set besides, and when; none, if nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// The capabilities that were switched on together.
    pub capabilities: Vec<String>,
    /// The reason that the monitor gave, if it refused.
    pub answer: Option<String>,
    /// What the table says: the reasons that are right; none, if it is to accept.
    pub expected: Vec<String>,
}

/// What came of all questions.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// The version of this form: 1.
    pub schema: u32,
    /// The version that the monitor names.
    pub version: String,
    /// How many capabilities it has.
    pub capabilities: usize,
    /// How many sets were asked for.
    pub asked: usize,
    /// How many of them it refused.
    pub refused: usize,
    /// How many questions were about parameters.
    pub parameters: usize,
    /// How many migrations were to begin, over a transport with a set of capabilities.
    pub transports: usize,
    /// Capabilities of the table that it lacks.
    pub missing: Vec<String>,
    /// Capabilities that the table lacks.
    pub unknown: Vec<String>,
    /// Where it answers otherwise.
    pub differences: Vec<Difference>,
}

impl Report {
    /// Whether the monitor answers as the table says.
    #[must_use]
    pub fn is_as_expected(&self) -> bool {
        self.missing.is_empty() && self.unknown.is_empty() && self.differences.is_empty()
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let Report { version, capabilities, asked, refused, .. } = self;
        let mut lines = vec![format!(
            "QEMU {version}: {capabilities} capabilities, {asked} sets of one or two, {refused} refused"
        )];
        if self.parameters > 0 {
            lines.push(format!("{} settings with parameters", self.parameters));
        }
        if self.transports > 0 {
            lines.push(format!("{} migrations over transports", self.transports));
        }
        let named = [("lacks", &self.missing), ("has, and the table lacks", &self.unknown)];
        for (what, names) in named {
            lines.extend(names.iter().map(|name| format!("the monitor {what} `{name}`")));
        }
        for Difference { over, with: besides, capabilities, answer, expected } in &self.differences
        {
            let over = over.as_deref().map(|over| format!("a migration over {over} with "));
            let with = match capabilities.is_empty() {
                true => "no capability".to_owned(),
                false => capabilities.join(" and "),
            };
            let besides = besides.as_deref().map(|what| format!(", {what}")).unwrap_or_default();
            lines.push(format!("\n{}{with}{besides}", over.unwrap_or_default()));
            let answer =
                answer.as_deref().map_or("accepted".to_owned(), |why| format!("refused: {why}"));
            lines.push(format!("  answer    {answer}"));
            let expected = match expected.is_empty() {
                true => "accepted".to_owned(),
                false => format!("refused: {}", expected.join(" / ")),
            };
            lines.push(format!("  expected  {expected}"));
        }
        let verdict = if self.is_as_expected() { "as expected" } else { "not as expected" };
        lines.push(format!("\nverdict: {verdict}"));
        lines.join("\n") + "\n"
    }
}

/// Whether an answer is right, and else what would be.
fn expected(refusals: &[Refusal], answer: Option<&str>) -> Result<(), Vec<String>> {
    // The first rule that refuses for certain decides, unless a condition before it does.
    let certain = refusals.iter().position(|refusal| refusal.condition().is_none());
    let end = certain.map_or(refusals.len(), |place| place.saturating_add(1));
    let right = refusals.get(..end).unwrap_or_default();
    match answer {
        None if certain.is_none() => return Ok(()),
        Some(why) if right.iter().any(|refusal| refusal.message == why) => return Ok(()),
        _ => {}
    }
    Err(right.iter().map(|refusal| refusal.message.clone()).collect())
}

/// Has the monitor enable each capability, and each pair of them.
///
/// # Errors
/// If the monitor does not answer, or answers something else.
pub fn ask(qmp: &mut Qmp, table: &Capabilities) -> Result<Report, Error> {
    let mut monitor = Monitor { qmp };
    let version = monitor.version()?;
    let release: Release =
        version.parse().map_err(|_| Error::Monitor("names a version that is none"))?;
    let has = monitor.capabilities()?;
    let known: Vec<&str> = table.of(&release).collect();
    let missing = known.iter().filter(|name| !has.iter().any(|(other, _)| other == *name));
    let unknown = has.iter().filter(|(name, _)| !known.contains(&name.as_str()));
    let (missing, unknown) = (
        missing.map(|name| (*name).to_owned()).collect(),
        unknown.map(|(name, _)| name.clone()).collect(),
    );
    let mut report = Report {
        schema: 1,
        version,
        capabilities: has.len(),
        asked: 0,
        refused: 0,
        parameters: 0,
        transports: 0,
        missing,
        unknown,
        differences: Vec::new(),
    };
    // What is on already is left alone: it would be in every set.
    let names: Vec<&str> = has.iter().filter(|(_, on)| !on).map(|(name, _)| &**name).collect();
    let names = names.get(..names.len().min(MOST)).unwrap_or_default();
    let pairs = names.iter().enumerate().flat_map(|(place, first)| {
        names.iter().skip(place.saturating_add(1)).map(move |second| vec![*first, *second])
    });
    for set in names.iter().map(|name| vec![*name]).chain(pairs) {
        let answer = monitor.set(&set, true)?;
        report.asked = report.asked.saturating_add(1);
        report.refused = report.refused.saturating_add(usize::from(answer.is_some()));
        if answer.is_none() {
            monitor.set(&set, false)?;
        }
        let refusals = table.refusals(&release, &set);
        if let Err(expected) = expected(&refusals, answer.as_deref()) {
            let capabilities = set.iter().map(|name| (*name).to_owned()).collect();
            let (over, with) = (None, None);
            report.differences.push(Difference { over, with, capabilities, answer, expected });
        }
    }
    Ok(report)
}

/// A monitor that is asked.
struct Monitor<'q> {
    qmp: &'q mut Qmp,
}

impl Monitor<'_> {
    fn run(&mut self, command: &str, arguments: Value) -> Result<Value, Error> {
        self.qmp.run(command, arguments, Deadline::after(ANSWER))
    }

    fn version(&mut self) -> Result<String, Error> {
        let answer = self.run("query-version", json!({}))?;
        let number = |name: &str| answer.pointer(&format!("/qemu/{name}")).and_then(Value::as_u64);
        match [number("major"), number("minor"), number("micro")] {
            [Some(major), Some(minor), Some(micro)] => Ok(format!("{major}.{minor}.{micro}")),
            _ => Err(Error::Monitor("names no version")),
        }
    }

    /// All capabilities, and whether they are on.
    fn capabilities(&mut self) -> Result<Vec<(String, bool)>, Error> {
        let answer = self.run("query-migrate-capabilities", json!({}))?;
        let all = answer.as_array().map(Vec::as_slice).unwrap_or_default();
        let one = |entry: &Value| {
            let name = entry.get("capability")?.as_str()?.to_owned();
            Some((name, entry.get("state")?.as_bool()?))
        };
        Ok(all.iter().filter_map(one).collect())
    }

    /// Switches capabilities on or off: the reason if it refuses.
    fn set(&mut self, names: &[&str], on: bool) -> Result<Option<String>, Error> {
        switch(self.qmp, names, on)
    }
}

/// Switches capabilities on or off: the reason if the monitor refuses.
pub(super) fn switch(qmp: &mut Qmp, names: &[&str], on: bool) -> Result<Option<String>, Error> {
    let all: Vec<_> = names.iter().map(|name| json!({ "capability": name, "state": on })).collect();
    let arguments = json!({ "capabilities": all });
    reason(qmp.run("migrate-set-capabilities", arguments, Deadline::after(ANSWER)))
}

/// The reason for which a command was refused, if it was.
pub(super) fn reason(answer: Result<Value, Error>) -> Result<Option<String>, Error> {
    match answer {
        Ok(_) => Ok(None),
        Err(Error::Refused { answer, .. }) => {
            let error: Value = serde_json::from_str(&answer).unwrap_or_default();
            let why = error.get("desc").and_then(Value::as_str).unwrap_or(&answer);
            Ok(Some(why.to_owned()))
        }
        Err(other) => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use devmig_model::registry::Library;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixListener;

    use crate::vhost_user::transport::Connection;

    /// A monitor of a version that answers as the table says, but for one pair that it accepts.
    fn monitor(listener: &UnixListener, table: &Capabilities, version: &str, accepts: &[&str]) {
        let (stream, _) = listener.accept().unwrap();
        let release: Release = version.parse().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        writeln!(stream, "{{\"QMP\": {{}}}}").unwrap();
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            let asked: Value = serde_json::from_str(&line).unwrap();
            line.clear();
            let answer = match asked["execute"].as_str().unwrap() {
                "query-version" => {
                    let numbers: Vec<u64> =
                        version.split('.').map(|n| n.parse().unwrap()).collect();
                    json!({ "return": { "qemu":
                        { "major": numbers[0], "minor": numbers[1], "micro": numbers[2] } } })
                }
                "query-migrate-capabilities" => {
                    let of = table.of(&release);
                    let all = of.map(|name| json!({ "capability": name, "state": false }));
                    json!({ "return": all.collect::<Vec<_>>() })
                }
                "migrate-set-capabilities" => {
                    let all = asked["arguments"]["capabilities"].as_array().unwrap();
                    let on = all[0]["state"].as_bool().unwrap();
                    let names: Vec<_> =
                        all.iter().map(|one| one["capability"].as_str().unwrap()).collect();
                    let mut why = table.refusals(&release, &names).into_iter();
                    let why = why.find(|why| why.condition().is_none());
                    match why.filter(|_| on && names != accepts) {
                        Some(why) => json!({ "error": { "class": "e", "desc": why.message } }),
                        None => json!({ "return": {} }),
                    }
                }
                _ => json!({ "return": {} }),
            };
            writeln!(stream, "{answer}").unwrap();
        }
    }

    fn asked(version: &str, accepts: &[&str]) -> Report {
        let library = Library::builtin().unwrap();
        let table = &library.multifd().capabilities;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("q");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| monitor(&listener, table, version, accepts));
            let deadline = Deadline::after(ANSWER);
            let connection = Connection::connect(&path, deadline).unwrap();
            let mut qmp = Qmp::new(&connection, deadline).unwrap();
            drop(connection);
            ask(&mut qmp, table).unwrap()
        })
    }

    #[test]
    fn a_monitor_that_answers_as_the_table_says() {
        for (version, sets) in [("7.2.22", 231), ("10.0.2", 253), ("11.1.3", 231)] {
            let report = asked(version, &[]);
            assert!(report.is_as_expected(), "{}", report.text());
            assert_eq!(report.asked, sets, "{version}");
            assert!(report.refused > 0);
        }
    }

    #[test]
    fn a_pair_that_is_accepted_and_should_not_be() {
        let report = asked("10.0.2", &["postcopy-ram", "multifd"]);
        let [difference] = &report.differences[..] else { panic!("{}", report.text()) };
        assert_eq!(difference.capabilities, ["postcopy-ram", "multifd"]);
        assert_eq!(difference.expected, ["Postcopy is not yet compatible with multifd"]);
        assert!(!report.is_as_expected());
    }
}
