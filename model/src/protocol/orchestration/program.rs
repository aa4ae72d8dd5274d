//! Programs: what management does, step by step, and what it does when a step fails.

use crate::protocol::program::unknown_step;
use crate::spec::{Diagnostics, Item, Spanned};

/// What a step can be, and what it means (shown by `devmig proposal words`).
pub const STEPS: &[(&str, &str)] = &[
    ("describe source", "read the description of the device"),
    ("describe destination", "read the description of the other host"),
    ("check", "check the device against the host; a refusal fails"),
    (
        "create",
        "create the device at the destination, as the check computed, naming the checked \
         description",
    ),
    ("create undated", "create the device without naming the checked description"),
    ("write attributes", "write the configuration to attributes that all creators share"),
    ("create from attributes", "create a device from the current attributes"),
    ("read back", "read back the created device; another configuration fails"),
    ("read back what was asked", "read back only the parameters that the creation named"),
    ("stop", "stop the source"),
    ("save", "save its state"),
    ("load", "load it at the destination"),
    ("run", "run the destination; from then on nothing is undone, and failed steps are repeated"),
    ("destroy source", "destroy the old device"),
    ("upgrade source", "upgrade the old host to its next release, if it has no device"),
    ("upgrade destination", "upgrade the other host to its next release, if it has no device"),
    ("turn", "from here on the two hosts swap roles"),
    (
        "ask destination",
        "ask whether the destination runs, if it was asked to run; if so, the migration succeeded \
         and the program continues",
    ),
    ("destroy destination", "destroy the device at the destination, if there is one"),
    ("run source", "run the source again, if it was asked to stop"),
];

/// What management may do in any order when its program is over (`then`).
pub const THEN: &[(&str, &str)] = &[
    ("describe", "read the description of either host"),
    ("check", "check the device against the description of the other host"),
    ("create", "create the device, naming the last description"),
    ("create-undated", "create the device without naming the checked description"),
    ("write", "write shared attributes, and create from them"),
    ("read", "read the description of the device"),
    ("stop", "stop the device"),
    ("save", "save its state"),
    ("load", "load the state that was saved last"),
    ("run", "run the device"),
    ("destroy", "destroy the device"),
    ("set", "try to change the configuration"),
    ("upgrade", "upgrade a host that has no device"),
];

/// One of the two hosts, by its part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Where the device is.
    Source,
    /// Where it is to go.
    Destination,
}

/// One step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// `describe`
    Describe(Part),
    /// `check`
    Check,
    /// `create`, dated or not.
    Create(bool),
    /// `write attributes`
    Write,
    /// `create from attributes`
    CreateShared,
    /// `read back`: all of it, or what was named.
    ReadBack(bool),
    /// `stop`
    Stop,
    /// `save`
    Save,
    /// `load`
    Load,
    /// `run`
    Run(Part),
    /// `destroy`
    Destroy(Part),
    /// `ask destination`
    OpenChoice,
    /// `upgrade`
    Upgrade(Part),
    /// `turn`
    Turn,
}

impl Step {
    /// The step of a line.
    pub fn compile<T>(item: &Item<T>, line: &Spanned<String>, d: &mut Diagnostics) -> Option<Step> {
        Some(match line.get_ref().as_str() {
            "describe source" => Step::Describe(Part::Source),
            "describe destination" => Step::Describe(Part::Destination),
            "check" => Step::Check,
            "create" => Step::Create(true),
            "create undated" => Step::Create(false),
            "write attributes" => Step::Write,
            "create from attributes" => Step::CreateShared,
            "read back" => Step::ReadBack(true),
            "read back what was asked" => Step::ReadBack(false),
            "stop" => Step::Stop,
            "save" => Step::Save,
            "load" => Step::Load,
            "run" => Step::Run(Part::Destination),
            "run source" => Step::Run(Part::Source),
            "destroy source" => Step::Destroy(Part::Source),
            "destroy destination" => Step::Destroy(Part::Destination),
            "ask destination" => Step::OpenChoice,
            "upgrade source" => Step::Upgrade(Part::Source),
            "upgrade destination" => Step::Upgrade(Part::Destination),
            "turn" => Step::Turn,
            _ => {
                unknown_step(item, line, STEPS.iter().map(|(step, _)| *step), d);
                return None;
            }
        })
    }

    /// At which of the two hosts it is done.
    #[must_use]
    pub fn part(self) -> Part {
        match self {
            Step::Describe(part) | Step::Run(part) | Step::Destroy(part) | Step::Upgrade(part) => {
                part
            }
            Step::Stop | Step::Save => Part::Source,
            _ => Part::Destination,
        }
    }
}

/// What management does.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Program {
    /// Step by step.
    pub run: Vec<Step>,
    /// When one of them fails, before the destination was let run.
    pub failure: Vec<Step>,
    /// Anything of [`THEN`], when it is over.
    pub then: Vec<&'static str>,
}
