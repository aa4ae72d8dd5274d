//! Programs by name: what a participant of a system does, as steps that other programs may run.

use schemars::JsonSchema;
use serde::Deserialize;

use super::input::Input;
use crate::spec::{Diagnostics, Item, ItemKind, Spanned};

/// A program: steps by a name, which systems and other programs run with `run NAME`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawProgram {
    /// Its name.
    pub name: Spanned<String>,
    /// What it does, and where it was seen.
    pub about: Spanned<String>,
    /// Its steps, in the vocabulary of the protocol; numbers are decimal or hexadecimal (`0x10`).
    pub steps: Vec<Spanned<String>>,
}

/// The programs of a protocol: `run NAME` stands for all steps of another program.
#[derive(Clone, Debug, Default)]
pub struct Programs(Vec<Item<RawProgram>>);

/// `run` within `run`, no deeper than this.
const DEPTH: usize = 8;
/// Steps that one line may stand for.
const MOST: usize = 1000;

impl Programs {
    /// The kind `[[program]]`.
    #[must_use]
    pub fn kind() -> ItemKind {
        ItemKind::of::<RawProgram>("program")
    }

    /// The programs of a protocol, a proposal's before those of the base.
    pub fn read(input: &mut Input<'_>, protocol: &str, d: &mut Diagnostics) -> Self {
        let read = input.items_of::<RawProgram>("program", protocol, d);
        let all = read.overlaid("program", |raw| &raw.name, d);
        Programs(all.into_iter().map(|program| program.item).collect())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().map(|program| program.value.name.get_ref().as_str())
    }

    /// Every program as it is written, with its place.
    #[must_use]
    pub fn items(&self) -> &[Item<RawProgram>] {
        &self.0
    }

    /// Each program's name, with its steps as they are written.
    pub fn all(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.0.iter().map(|program| {
            let steps = program.value.steps.iter().map(|step| step.get_ref().as_str());
            (program.value.name.get_ref().as_str(), steps.collect())
        })
    }

    /// The steps of a program that another one runs, `depth` deep.
    ///
    /// # Errors
    /// If there is none of this name, or programs run each other too deep.
    pub fn steps(&self, name: &str, depth: usize) -> Result<Vec<&str>, StepError> {
        let Some(program) = self.0.iter().find(|p| p.value.name.get_ref() == name) else {
            let help = crate::spec::did_you_mean(name, self.names());
            return Err((format!("no program is called `{name}`"), help));
        };
        if depth == DEPTH {
            return Err((format!("programs run each other more than {DEPTH} deep"), None));
        }
        Ok(program.value.steps.iter().map(|step| step.get_ref().as_str()).collect())
    }

    /// A list of steps with `run NAME` replaced by the steps of that program, where there is one.
    /// Each step keeps the place of the line that brings it in.
    pub fn flat<T>(
        &self,
        item: &Item<T>,
        lines: &[Spanned<String>],
        d: &mut Diagnostics,
    ) -> Vec<Spanned<String>> {
        let mut all = Vec::new();
        for line in lines {
            let mut steps = Vec::new();
            match self.expand(line.get_ref(), 0, &mut steps) {
                Ok(()) => {
                    all.extend(steps.into_iter().map(|step| Spanned::new(line.span(), step)));
                }
                Err((message, help)) => {
                    let error = item.error(line.span(), message, "this step");
                    d.push(crate::spec::with_help(error, help));
                }
            }
        }
        all
    }

    fn expand(&self, text: &str, depth: usize, steps: &mut Vec<String>) -> Result<(), StepError> {
        let program = text.strip_prefix("run ").filter(|name| self.names().any(|n| n == *name));
        match program {
            Some(name) => {
                let inner = self.steps(name, depth)?;
                inner.into_iter().try_for_each(|step| self.expand(step, depth + 1, steps))
            }
            None if steps.len() == MOST => Err((format!("more than {MOST} steps"), None)),
            None => {
                steps.push(text.to_owned());
                Ok(())
            }
        }
    }
}

/// A line that is none of a protocol's steps, which have these names.
pub fn unknown_step<'a, T>(
    item: &Item<T>,
    line: &Spanned<String>,
    steps: impl IntoIterator<Item = &'a str> + Clone,
    d: &mut Diagnostics,
) {
    let text = line.get_ref();
    let error = item.error(line.span(), format!("`{text}` is not a step"), "unknown step");
    d.push(crate::spec::with_help(error, crate::spec::did_you_mean(text, steps)));
}

/// What is wrong with a step, and what to do about it.
pub type StepError = (String, Option<String>);
