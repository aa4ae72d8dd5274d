//! Programs: what management does, step by step, and what it does when a step fails.

use crate::spec::{Diagnostics, Item, Spanned, did_you_mean, with_help};

/// What a step can be, and what it means (shown by `devmig proposal words`).
pub const STEPS: &[(&str, &str)] = &[
    ("describe source", "ask what the device is"),
    ("describe destination", "ask what the other host can make"),
    ("check", "hold the one against the other; a refusal fails"),
    ("create", "make the device there, as the check said, by the description it rests on"),
    ("create undated", "the same, without saying which description it rests on"),
    ("write attributes", "put the configuration into attributes that all creators share"),
    ("create from attributes", "make a device of what is there by then"),
    ("read back", "ask what was made; another configuration fails"),
    (
        "read back what was asked",
        "the same, for the parameters that were named at the creation alone",
    ),
    ("stop", "stop the source"),
    ("save", "take its state"),
    ("load", "give it to the destination"),
    (
        "run",
        "let the destination run; from then on nothing is undone, and what fails is done again",
    ),
    ("destroy source", "the old device goes"),
    ("upgrade source", "the old host becomes its next release, if it has no device"),
    ("upgrade destination", "the same of the other"),
    ("turn", "from here on the two hosts have the other's part"),
    (
        "ask destination",
        "does it run? then it has moved, and the program goes on; if it was told to run",
    ),
    ("destroy destination", "what was made there goes; if anything was"),
    ("run source", "it goes on where it was; if it was told to stop"),
];

/// What management may do in any order when its program is over (`then`).
pub const THEN: &[(&str, &str)] = &[
    ("describe", "ask either host what it can make"),
    ("check", "hold the description of the other host against the device's"),
    ("create", "make the device there, by what was last described"),
    ("create-undated", "the same, without saying which description it rests on"),
    ("write", "write shared attributes, and create from them"),
    ("read", "ask what the device is"),
    ("stop", "stop the device"),
    ("save", "take its state"),
    ("load", "give the state that was taken last"),
    ("run", "let the device run"),
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
            text => {
                let error =
                    item.error(line.span(), format!("`{text}` is not a step"), "unknown step");
                d.push(with_help(error, did_you_mean(text, STEPS.iter().map(|(step, _)| *step))));
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
