//! What a program prints of itself: its description, in the RFC's form and in this project's, and what
//! it would make.

use devmig_model::device_model::form::MAX_FILE;
use devmig_model::device_model::{Implementation, Instance, form, rfc};
use devmig_reference::socket::Deadline;

use super::{Session, finding, harness};
use crate::device_model::arguments::Asked;
use crate::device_model::subject::{Subject, print};
use crate::harness::io::process::{Captured, Command, SpawnError, is_crash, words};
use crate::harness::verdict::TestEnd;

/// What is known of those that take part, before any test.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// What the implementation says of itself.
    pub own: Implementation,
    /// What its peer says, if there is one.
    pub peer: Option<Implementation>,
    /// Whether it prints what it would make.
    pub prints_instances: bool,
}

/// Runs a program to its end.
fn run(subject: &Subject, line: Vec<String>) -> Result<Captured, TestEnd> {
    let command = Command::plain(line).map_err(harness)?;
    let captured = command.captured(MAX_FILE, Deadline::after(subject.limit));
    let captured = captured.map_err(|error| match error {
        // That it does not end, or prints without end, is what it does.
        SpawnError::Silent { .. } | SpawnError::Long { .. } => {
            finding(error.to_string(), "it prints the requested document, and exits")
        }
        other => harness(other),
    })?;
    match is_crash(captured.status) {
        true => Err(TestEnd::died(format!("the process ended: {}", said(&captured)))),
        false => Ok(captured),
    }
}

fn with(program: &[String], option: &str) -> Vec<String> {
    [program, &[option.to_owned()]].concat()
}

/// The description, in the richer form where there is one.
fn described(subject: &Subject, program: &[String]) -> Result<Implementation, TestEnd> {
    let own = run(subject, with(program, print::OWN))?;
    if own.status.success() {
        return form::implementation(&own.output).map_err(|error| finding(error.to_string(), ""));
    }
    let info = run(subject, with(program, print::INFO))?;
    match info.status.success() {
        true => rfc::info(&info.output).map_err(|error| finding(error.to_string(), "")),
        false => Err(finding(said(&info), "")),
    }
}

/// How it ended, and the end of what it said.
fn said(captured: &Captured) -> String {
    let last = captured.errors.trim_end();
    match last.is_empty() {
        true => words(captured.status),
        false => format!("{}: {last}", words(captured.status)),
    }
}

impl Hosts {
    /// Asks the program, and its peer.
    ///
    /// # Errors
    /// [`TestEnd::Finding`] if there is no description that can be read.
    pub fn of(subject: &Subject) -> Result<Self, TestEnd> {
        let own = described(subject, &subject.program)?;
        let peer = subject.peer.as_ref().map(|program| described(subject, program));
        let peer =
            peer.transpose().map_err(|stop| TestEnd::Harness(format!("the peer: {stop:?}")))?;
        let made = own.models().values().find(|model| model.initial().is_ok());
        let prints_instances = match made {
            None => false,
            Some(model) => {
                let asked = Asked::of(model.id());
                let besides = [print::INSTANCE.to_owned()];
                let words = Subject::command(&subject.program, &asked, &besides);
                run(subject, words)?.status.success()
            }
        };
        Ok(Hosts { own, peer, prints_instances })
    }
}

impl Session<'_> {
    fn run(&mut self, words: Vec<String>) -> Result<Captured, TestEnd> {
        self.command(&words);
        let captured = run(self.subject, words)?;
        let length = captured.output.len();
        self.say(format!("-> {}, {length} bytes", said(&captured)));
        Ok(captured)
    }

    /// Both forms, as they are printed now; the second is optional.
    fn print(&mut self, asked: &[String]) -> Result<[Option<Vec<u8>>; 2], TestEnd> {
        let program = [&self.subject.program[..], asked].concat();
        let info = self.run(with(&program, print::INFO))?;
        if !info.status.success() {
            return Err(finding(said(&info), "the description, and exit status 0"));
        }
        let own = self.run(with(&program, print::OWN))?;
        Ok([Some(info.output), own.status.success().then_some(own.output)])
    }

    pub(super) fn describe(&mut self) -> Result<(), TestEnd> {
        let [info, own] = self.print(&[])?;
        let bad =
            |error: form::BadForm| finding(error.to_string(), "a description that can be read");
        for bytes in info.iter() {
            let read = rfc::info(bytes).map_err(bad)?;
            if read.models().is_empty() {
                return Err(finding("no model is described", "at least one model"));
            }
        }
        for bytes in own.iter() {
            form::implementation(bytes).map_err(bad)?;
        }
        self.printed = vec![info, own];
        Ok(())
    }

    pub(super) fn describe_again(&mut self, with_case: bool) -> Result<(), TestEnd> {
        let asked = match with_case {
            true if self.case()?.asked.is_text() => self.case()?.asked.options(),
            _ => Vec::new(),
        };
        let again = self.print(&asked)?;
        match self.printed == again {
            true => Ok(()),
            false => Err(finding("the description has changed", "the same description each time")),
        }
    }

    /// What the program says of itself, in the richer form.
    fn own(&self) -> Result<Implementation, TestEnd> {
        let bad = |error: form::BadForm| finding(error.to_string(), "");
        match self.printed.as_slice() {
            [_, Some(own)] => form::implementation(own).map_err(bad),
            [Some(info), _] => rfc::info(info).map_err(bad),
            _ => Err(TestEnd::Harness("nothing is described yet".into())),
        }
    }

    pub(super) fn statements_agree(&mut self) -> Result<(), TestEnd> {
        for model in self.own()?.models().values() {
            if let Some((name, _)) = model.known().conflicts().iter().next() {
                let observed = format!(
                    "the owner of `{}` and this implementation state different off values, or types, \
                     of `{name}`",
                    model.id()
                );
                return Err(finding(observed, "one statement"));
            }
        }
        Ok(())
    }

    pub(super) fn initial_accepted(&mut self) -> Result<(), TestEnd> {
        for model in self.own()?.models().values() {
            model
                .initial()
                .map_err(|why| finding(why.to_string(), "initial values are accepted"))?;
        }
        Ok(())
    }

    /// What this command line would make.
    pub(super) fn printed_instance(&mut self, asked: &Asked) -> Result<Instance, TestEnd> {
        let besides = [print::INSTANCE.to_owned()];
        let words = Subject::command(&self.subject.program, asked, &besides);
        let captured = self.run(words)?;
        if !captured.status.success() {
            return Err(finding(said(&captured), "the instance, with exit status 0"));
        }
        form::instance(&captured.output)
            .map_err(|error| finding(error.to_string(), "an instance that can be read"))
    }
}
