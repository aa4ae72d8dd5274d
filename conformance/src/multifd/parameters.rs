//! With which parameters a monitor refuses a capability, against the table.
//!
//! ```text
//!   parameter --> capability? --> another parameter?
//!   capability --> parameter? --> another parameter?
//! ```
//!
//! **Invariant.** What was set is set back after each question.

use devmig_model::protocol::multifd::capability::{Capabilities, Reason};
use devmig_model::protocol::multifd::parameter::{ParameterRule, Setting};
use devmig_model::protocol::release::Release;
use devmig_reference::socket::Deadline;
use serde_json::{Value, json};

use super::capabilities::{ANSWER, Difference, Report, reason, switch};
use crate::scenario::error::Error;
use crate::scenario::qmp::Qmp;

/// A parameter that goes with everything, at its default.
const ANOTHER: &str = "downtime-limit";

/// Values of the parameters of the table: one that is not the default, and the default.
fn values(parameter: &str) -> Option<[Value; 2]> {
    match parameter {
        "tls-creds" => Some([json!("devmig"), json!("")]),
        "multifd-compression" => Some([json!("zlib"), json!("none")]),
        _ => None,
    }
}

/// What can be set at a monitor; the reason, if it refuses.
trait Settings {
    fn switch(&mut self, names: &[&str], on: bool) -> Result<Option<String>, Error>;
    fn put(&mut self, parameter: &str, value: &Value) -> Result<Option<String>, Error>;
}

impl Settings for Qmp {
    fn switch(&mut self, names: &[&str], on: bool) -> Result<Option<String>, Error> {
        switch(self, names, on)
    }

    fn put(&mut self, parameter: &str, value: &Value) -> Result<Option<String>, Error> {
        let arguments = json!({ parameter: value });
        reason(self.run("migrate-set-parameters", arguments, Deadline::after(ANSWER)))
    }
}

/// Asks a monitor that does not migrate, and adds what came of it.
///
/// # Errors
/// If the monitor does not answer.
pub fn ask(
    report: &mut Report,
    (rules, capabilities): (&[ParameterRule], &Capabilities),
    qmp: &mut Qmp,
) -> Result<(), Error> {
    let release: Release =
        report.version.parse().map_err(|_| Error::Monitor("names a version that is none"))?;
    settings(report, (rules, capabilities), &release, qmp)
}

fn settings(
    report: &mut Report,
    (rules, capabilities): (&[ParameterRule], &Capabilities),
    release: &Release,
    monitor: &mut dyn Settings,
) -> Result<(), Error> {
    for rule in rules.iter().filter(|rule| rule.span.contains(release)) {
        // With what the capability needs by itself.
        let exclusions = capabilities.exclusions.iter();
        let of = exclusions.filter(|e| e.capability == rule.capability && e.span.contains(release));
        let needs = of.flat_map(|exclusion| &exclusion.reasons).filter_map(|reason| match reason {
            Reason::Needs(other) => Some(other.as_str()),
            _ => None,
        });
        let set: Vec<&str> = needs.chain([rule.capability.as_str()]).collect();
        for parameter in &rule.parameters {
            let Some(values) = values(parameter) else { continue };
            for first in [Setting::Parameter, Setting::Capability] {
                one(report, rule, (&set, parameter, &values), first, monitor)?;
            }
        }
    }
    Ok(())
}

/// Sets one of both, then the other, then another parameter; and all back.
fn one(
    report: &mut Report,
    rule: &ParameterRule,
    (set, parameter, [value, default]): (&[&str], &str, &[Value; 2]),
    first: Setting,
    monitor: &mut dyn Settings,
) -> Result<(), Error> {
    let mut set_now = |setting| match setting {
        Setting::Capability => monitor.switch(set, true),
        Setting::Parameter => monitor.put(parameter, value),
        Setting::Another => monitor.put(ANOTHER, &json!(300)),
    };
    let second = match first {
        Setting::Parameter => Setting::Capability,
        _ => Setting::Parameter,
    };
    let asked = [(first, None), (second, rule.refusal(second)), {
        // Both are set only if the second was accepted.
        let both = rule.refusal(second).is_none();
        (Setting::Another, rule.refusal(Setting::Another).filter(|_| both))
    }];
    for (setting, expected) in asked {
        let answer = set_now(setting)?;
        report.parameters = report.parameters.saturating_add(1);
        if answer.as_deref() != expected {
            let what = match setting {
                Setting::Capability => format!("with `{parameter}` set"),
                Setting::Parameter => format!("then `{parameter}`"),
                Setting::Another => format!("and `{parameter}`, then another parameter"),
            };
            report.differences.push(Difference {
                over: None,
                with: Some(what),
                capabilities: set.iter().map(|name| (*name).to_owned()).collect(),
                answer,
                expected: expected.map(str::to_owned).into_iter().collect(),
            });
        }
    }
    // The capability first: while it is on, a parameter may be refused.
    monitor.switch(set, false)?;
    monitor.put(parameter, default)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use devmig_model::registry::Library;
    use std::collections::BTreeSet;

    /// A monitor that answers as the table says, but for what it accepts.
    struct Monitor<'r> {
        rules: &'r [ParameterRule],
        on: BTreeSet<String>,
        set: BTreeSet<String>,
        accepts: Option<Setting>,
    }

    impl Monitor<'_> {
        fn answer(&self, setting: Setting, is: impl Fn(&ParameterRule) -> bool) -> Option<String> {
            let rule = self.rules.iter().find(|rule| is(rule))?;
            rule.refusal(setting).filter(|_| self.accepts != Some(setting)).map(str::to_owned)
        }
    }

    impl Settings for Monitor<'_> {
        fn switch(&mut self, names: &[&str], on: bool) -> Result<Option<String>, Error> {
            let named = |rule: &ParameterRule| {
                let set = rule.parameters.iter().any(|parameter| self.set.contains(parameter));
                names.contains(&rule.capability.as_str()) && set
            };
            let why = self.answer(Setting::Capability, named).filter(|_| on);
            for name in names.iter().filter(|_| why.is_none()) {
                match on {
                    true => drop(self.on.insert((*name).to_owned())),
                    false => drop(self.on.remove(*name)),
                }
            }
            Ok(why)
        }

        fn put(&mut self, parameter: &str, value: &Value) -> Result<Option<String>, Error> {
            let is_set = |rule: &ParameterRule| {
                rule.parameters.iter().any(|parameter| self.set.contains(parameter))
            };
            let both = |rule: &ParameterRule| self.on.contains(&rule.capability) && is_set(rule);
            let names = |rule: &ParameterRule| {
                self.on.contains(&rule.capability)
                    && rule.parameters.iter().any(|name| name == parameter)
            };
            let why = self.answer(Setting::Another, both);
            let why = why.or_else(|| self.answer(Setting::Parameter, names));
            if why.is_none() {
                match values(parameter).is_some_and(|[set, _]| set == *value) {
                    true => drop(self.set.insert(parameter.to_owned())),
                    false => drop(self.set.remove(parameter)),
                }
            }
            Ok(why)
        }
    }

    fn asked(accepts: Option<Setting>) -> Report {
        let library = Library::builtin().unwrap();
        let multifd = library.multifd();
        let mut monitor = Monitor {
            rules: &multifd.parameters,
            on: BTreeSet::new(),
            set: BTreeSet::new(),
            accepts,
        };
        let mut report = Report { schema: 1, version: "11.1.3".into(), ..Report::default() };
        let tables = (&multifd.parameters[..], &multifd.capabilities);
        let release = report.version.parse().unwrap();
        settings(&mut report, tables, &release, &mut monitor).unwrap();
        assert!(monitor.on.is_empty() && monitor.set.is_empty(), "everything is set back");
        report
    }

    #[test]
    fn a_monitor_that_answers_as_the_table_says() {
        let report = asked(None);
        assert!(report.differences.is_empty(), "{}", report.text());
        // Two rules, two parameters, two orders, three questions.
        assert_eq!(report.parameters, 24);
    }

    #[test]
    fn each_answer_that_is_another_is_found() {
        for (accepts, differences) in
            [(Setting::Capability, 2), (Setting::Parameter, 2), (Setting::Another, 4)]
        {
            let report = asked(Some(accepts));
            assert_eq!(report.differences.len(), differences, "{accepts:?}: {}", report.text());
        }
    }
}
