//! Programs: what a front-end *does*, as a list of steps in data.
//!
//! The steps there are: [`STEPS`].
//!
//! **Invariant.** A program has no branches: what it does next depends only on how far it is.

use super::event::MessageId;
use super::table::Table;
use super::vocabulary::Effect;
use crate::protocol::program::{Programs, StepError};
use crate::spec::{Diagnostics, Item, Spanned, SpecError, did_you_mean, number, with_help};

/// What a step can be, and what it means (shown by `devmig proposal words`).
pub const STEPS: &[(&str, &str)] = &[
    ("MESSAGE", "send the message, and wait for its reply if it has one"),
    ("MESSAGE NUMBER", "send the message with this number, decimal or hexadecimal (0x...)"),
    ("MESSAGE offered", "send the message with all features that the back-end offers"),
    (
        "MESSAGE NUMBER acknowledged",
        "send the message with this number, and ask for an acknowledgement (need_reply)",
    ),
    ("SET_PROTOCOL_FEATURES A+B", "send the message with these protocol features"),
    ("SET_VRING_KICK none", "send the message with bit 8 and without a descriptor"),
    ("SET_FEATURES plain", "send the offered features without bit 30"),
    ("SET_FEATURES logging", "send the offered features with LOG_ALL, which `offered` omits"),
    ("MESSAGE until NUMBER", "send the message again until the reply is this number"),
    ("MESSAGE used", "send the message with the ring's used index from guest memory"),
    ("MESSAGE available", "send the message with the ring's available index from guest memory"),
    ("MESSAGE saved", "send the message with the base that GET_VRING_BASE returned for the ring"),
    ("SET_DEVICE_STATE_FD save", "ask the back-end to write its state"),
    ("SET_DEVICE_STATE_FD load", "ask the back-end to read a state"),
    (
        "SET_DEVICE_STATE_FD save phase N",
        "the same in this phase (`load phase N` likewise); 0 is stopped",
    ),
    ("each ring STEP", "take the step for every ring in turn"),
    ("kick", "write to the ring's kick descriptor"),
    ("vcpus run", "run the virtual CPUs: the guest can make requests available"),
    ("vcpus stop", "stop the virtual CPUs"),
    ("read state", "read the state channel to its end"),
    ("write state", "write a state and close the channel"),
    ("write part", "write a part of a state and close the channel"),
    ("copy all", "copy all of guest memory to the destination"),
    ("copy marked N", "copy the pages that log N marks, and clear it"),
    ("renew", "the guest's driver sets the ring up again: both indices are 0"),
    ("crash", "the back-end crashes, and another process replaces it"),
    ("move", "switch to another back-end, with the guest's memory"),
    ("hand over", "another front-end takes over the connection; it knows no base and no state"),
    ("run PROGRAM", "take all steps of another program"),
];

/// One step, for one ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Send a message.
    Send {
        /// Which.
        id: MessageId,
        /// The ring that it names.
        ring: u8,
        /// Its number.
        number: Number,
        /// Whether it asks for an acknowledgement.
        need_reply: bool,
    },
    /// Write to a kick descriptor.
    Kick {
        /// Of this ring.
        ring: u8,
    },
    /// Start or stop the virtual CPUs.
    Vcpus {
        /// Whether they run.
        run: bool,
    },
    /// Read the state channel to its end.
    ReadState,
    /// Write a state and close the channel.
    WriteState,
    /// Write a part of a state and close the channel.
    WritePart,
    /// Another front-end takes over the connection.
    HandOver,
    /// Send a message until its answer is this.
    Until {
        /// Which.
        id: MessageId,
        /// The answer.
        number: u64,
    },
    /// Copy pages.
    Copy {
        /// Those that this log marks; 0: all.
        log: u8,
    },
    /// The guest sets a ring up anew.
    Renew {
        /// This ring.
        ring: u8,
    },
    /// Another back-end takes the place of this one.
    Successor {
        /// Whether the first one died.
        died: bool,
    },
}

/// The number in a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Number {
    /// This one.
    Literal(u64),
    /// The base that GET_VRING_BASE returned for the ring.
    Saved,
    /// The ring's used index.
    Used,
    /// The ring's available index.
    Available,
    /// The features that the back-end offers, as far as they are understood, without LOG_ALL.
    Offered,
    /// The same with it.
    Logging,
    /// The same without bit 30.
    Plain,
    /// The protocol features that the back-end offers, as far as they are understood.
    ProtocolOffered,
}

/// Makes steps of text.
pub struct Compiler<'a> {
    /// For names of messages.
    pub table: &'a Table,
    /// For `run`.
    pub programs: &'a Programs,
    /// For `each ring`.
    pub rings: u8,
}

/// Steps in all: what a front-end's program counter can hold.
pub const MAX_STEPS: usize = 127;

impl Compiler<'_> {
    /// All steps of a list.
    pub fn steps<T>(
        &self,
        item: &Item<T>,
        texts: &[Spanned<String>],
        d: &mut Diagnostics,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        for text in texts {
            if let Err((message, help)) = self.step(text.get_ref(), 0, &mut steps) {
                d.push(with_help(item.error(text.span(), message, "this step"), help));
            }
        }
        if let Some(last) = texts.last()
            && steps.len() > MAX_STEPS
        {
            let message = format!("{} steps are more than {MAX_STEPS}", steps.len());
            d.push(item.error(last.span(), message, "too long"));
        }
        steps
    }

    /// All steps of a program, if it has no error.
    #[must_use]
    pub fn run(&self, name: &str) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        self.step(&format!("run {name}"), 0, &mut steps).ok()?;
        Some(steps)
    }

    fn step(&self, text: &str, depth: usize, steps: &mut Vec<Step>) -> Result<(), StepError> {
        if let Some(name) = text.strip_prefix("run ") {
            let texts = self.programs.steps(name, depth)?;
            return texts.iter().try_for_each(|text| self.step(text, depth + 1, steps));
        }
        if steps.len() > MAX_STEPS {
            return Err((format!("these are more than {MAX_STEPS} steps"), None));
        }
        match text.strip_prefix("each ring ") {
            Some(text) => {
                for ring in 0..self.rings {
                    steps.push(self.single(text, ring)?);
                }
            }
            None => steps.push(self.single(text, 0)?),
        }
        match steps.last() {
            Some(Step::Successor { .. }) => self.nothing_under_way(steps),
            // A test may send any number; only exploration has no room for some.
            Some(Step::Send { id, number, .. }) => self.fits(*id, *number),
            _ => Ok(()),
        }
    }

    /// A message that was not read when the back-end is another one would be read by that one: the
    /// last one before must have an answer, which is awaited.
    fn nothing_under_way(&self, steps: &[Step]) -> Result<(), StepError> {
        let last = steps.iter().rev().find_map(|step| match step {
            Step::Send { id, .. } | Step::Until { id, .. } => Some(id),
            _ => None,
        });
        match last.map(|id| &self.table.messages[id.0 as usize]) {
            Some(message) if message.reply.is_none() => Err((
                format!("{} may not have been read by then", message.name),
                Some("send a message that has a reply before, such as GET_FEATURES".to_owned()),
            )),
            _ => Ok(()),
        }
    }

    /// One step, for one ring.
    ///
    /// # Errors
    /// What is wrong with the text, and what to do about it.
    pub fn single(&self, text: &str, ring: u8) -> Result<Step, StepError> {
        Ok(match text {
            "kick" => Step::Kick { ring },
            "vcpus run" => Step::Vcpus { run: true },
            "vcpus stop" => Step::Vcpus { run: false },
            "read state" => Step::ReadState,
            "write state" => Step::WriteState,
            "write part" => Step::WritePart,
            "hand over" => Step::HandOver,
            "copy all" => Step::Copy { log: 0 },
            "copy marked 1" => Step::Copy { log: 1 },
            "copy marked 2" => Step::Copy { log: 2 },
            "renew" => Step::Renew { ring },
            "crash" => Step::Successor { died: true },
            "move" => Step::Successor { died: false },
            _ => {
                let (text, need_reply) = match text.strip_suffix(" acknowledged") {
                    Some(text) => (text, true),
                    None => (text, false),
                };
                let (name, argument) = text.split_once(' ').unwrap_or((text, "0"));
                let Some(id) = self.table.named(name) else {
                    let help = did_you_mean(name, self.table.messages.iter().map(|m| &*m.name));
                    return Err((format!("`{text}` is not a step"), help));
                };
                if let Some(number) = argument.strip_prefix("until ") {
                    let Number::Literal(number) = self.number(name, number)? else {
                        return Err((format!("`{number}` is not a number here"), None));
                    };
                    if self.table.messages[id.0 as usize].reply.is_none() {
                        return Err((format!("{name} has no reply to wait for"), None));
                    }
                    return Ok(Step::Until { id, number });
                }
                Step::Send { id, ring, number: self.number(name, argument)?, need_reply }
            }
        })
    }

    /// Complains about a number that exploration has no room for where the message puts it.
    fn fits(&self, id: MessageId, number: Number) -> Result<(), StepError> {
        let Number::Literal(value) = number else { return Ok(()) };
        let message = &self.table.messages[usize::from(id.0)];
        let limit = LIMITS.iter().find(|(effect, most, _)| message.has(*effect) && value > *most);
        match limit {
            Some((_, most, what)) => Err((
                format!("{} with {value} cannot be explored", message.name),
                Some(format!("{what} is at most {most} in exploration")),
            )),
            None => Ok(()),
        }
    }

    /// What the front-end may send at any time: a message, and its number if there is one.
    ///
    /// # Errors
    /// What is wrong with the text, and what to do about it.
    pub fn anytime(&self, text: &str) -> Result<(MessageId, Option<Number>), StepError> {
        let (name, argument) = match text.split_once(' ') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        let Some(id) = self.table.named(name) else {
            let help = did_you_mean(name, self.table.messages.iter().map(|m| &*m.name));
            return Err((format!("no message is called `{name}`"), help));
        };
        let number = argument.map(|argument| self.number(name, argument)).transpose()?;
        number.map_or(Ok(()), |number| self.fits(id, number))?;
        Ok((id, number))
    }

    /// Protocol features by their names, with `+` between.
    fn features(&self, names: &str) -> Result<Number, StepError> {
        let bit = |name: &str| {
            let bit = self.table.feature(name);
            bit.ok_or_else(|| {
                let known = self.table.features.iter().map(|feature| &*feature.name);
                (format!("no protocol feature is called `{name}`"), did_you_mean(name, known))
            })
        };
        let mask = names.split('+').try_fold(0, |mask, name| Ok(mask | 1 << bit(name)?));
        mask.map(Number::Literal)
    }

    fn number(&self, message: &str, argument: &str) -> Result<Number, StepError> {
        Ok(Number::Literal(match argument {
            "saved" => return Ok(Number::Saved),
            "used" => return Ok(Number::Used),
            "available" => return Ok(Number::Available),
            "logging" => return Ok(Number::Logging),
            "offered" if message == "SET_PROTOCOL_FEATURES" => return Ok(Number::ProtocolOffered),
            "offered" => return Ok(Number::Offered),
            "plain" => return Ok(Number::Plain),
            "save" => 0,
            "load" => 1,
            "none" => 1 << 8,
            phase if let Some(number) = in_phase(phase) => number,
            names if message == "SET_PROTOCOL_FEATURES" && number(names).is_none() => {
                return self.features(names);
            }
            written => number(written).ok_or_else(|| {
                let help =
                    "a number, `offered`, `logging`, `plain`, `saved`, `used`, `available`, \
                            `save`, `load` or `none`"
                        .to_owned();
                (format!("`{written}` is not a number here"), Some(help))
            })?,
        }))
    }
}

/// The largest numbers that exploration has room for, by the effect that takes them.
const LIMITS: &[(Effect, u64, &str)] = &[
    (Effect::SetSize, 3, "the size of a ring"),
    (Effect::SetBase, 7, "an index of a ring"),
    (Effect::SetMemory, 3, "the number of memory regions"),
    (Effect::SetStatus, 127, "the virtio status"),
    (Effect::SetLog, 2, "the number of a dirty log"),
];

/// A transfer's direction and phase: `save phase 1`.
fn in_phase(text: &str) -> Option<u64> {
    let (direction, phase) = text.split_once(" phase ")?;
    let direction = match direction {
        "save" => 0,
        "load" => 1,
        _ => return None,
    };
    Some(direction | number(phase).filter(|phase| *phase <= u64::from(u32::MAX))? << 32)
}

/// A problem without a place, for callers that have none.
impl From<StepError> for SpecError {
    fn from((message, help): (String, Option<String>)) -> Self {
        with_help(SpecError::new(message), help)
    }
}
