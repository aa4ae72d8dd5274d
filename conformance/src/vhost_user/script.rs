//! The steps of a test, as data.
//!
//! Every step of a front-end's program (see [`devmig_model::protocol::vhost_user::program`]) is a step of a
//! test. Without `each ring` or `ring N` before it, it goes to the ring that carries requests.
//! Besides:
//!
//! | step | meaning |
//! |---|---|
//! | `request N` | make N requests available, and kick |
//! | `publish N` | make N requests available, and do not kick |
//! | `settle` | wait until nothing is owed any more |
//! | `notified` | the same, and the guest was notified of what was used |
//! | `first` | wait until something came back |
//! | `crash` | the back-end is gone, and another takes its place with the same memory |
//! | `quiet` | nothing is expected: whatever comes is judged |
//! | `silence` | nothing is expected for as long as a request may take: a reading that owes one is excluded |
//! | `pause N` | N microseconds in which nobody looks |
//! | `barrier` | wait for an answer, so that all messages before were read |
//! | `renew N` | the driver sets the ring up anew, at index N |
//! | `driver anew` | the driver begins again with a device that was reset: its first request first |
//! | `reconnect` | a fresh connection (and process, if we start it), with the same guest memory |
//! | `serves` | a fresh connection, over which a request is processed |
//! | `renew N elsewhere` | the same, in another place in guest memory |
//! | `room N` | the driver offers room for N in every ring that something can come through |
//! | `send N to WHOM` | N are sent to `all`, a `group`, `us` or `nobody`; `from pair P`, if not from the first |
//! | `tell WHAT` | the device is told of its filter (`strict`, `filter`), its `address`, or to use all `pairs` or `one-pair` |
//! | `event indices` | from the next SET_FEATURES on, EVENT_IDX is accepted |
//! | `interrupts off`, `on` | the driver asks not to be notified, or to be again |
//! | `stray descriptor` | the next message brings a descriptor that it has no use for |
//! | `closed` | the back-end has closed it |
//! | `write garbage` | bytes that are no state, through the state channel |
//! | `write much garbage` | the same, of more than the channel holds at a time |
//! | `unsettled` | the record says what it said before the last request came back: the back-end died in between |
//! | `others mark` | from here on another party marks pages in the same dirty log |
//! | `succeeds`, `fails` | what the last answer said |
//! | `malformed KIND` | see [`super::malformed`] |
//! | `every malformed FORM` | see [`super::forms`] |
//! | `pieces of N` | from here on messages are sent in pieces of N bytes; 0: whole |
//! | `joined` | from here on messages go together in one write, as far as descriptors and answers allow |
//! | `outside changes` | something outside changes the device's configuration space |
//! | `break ring` | the guest writes an index that is further ahead than its ring is long, and kicks |
//!
//! **Invariant.** A step has no opinion: what the back-end does is judged by the machine.

use devmig_model::protocol::vhost_user::program::{Compiler, Number, Step};
use devmig_model::protocol::vhost_user::table::Table;
use devmig_model::protocol::vhost_user::vocabulary::Effect;
use devmig_model::spec::{Diagnostics, Item, Spanned, did_you_mean, with_help};

use super::drive::has;
use super::forms::Form;
use super::malformed::Malformed;
use crate::harness::io::virtio::outside::{Command, To};

/// One step of a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// A step of a program, to a ring.
    Program(Step, Which),
    /// Requests, kicked or not.
    Requests {
        /// How many.
        count: u16,
        /// Whether the back-end is kicked.
        kick: bool,
    },
    /// Wait until nothing is owed.
    Settle,
    /// Wait until the guest was notified.
    Notified,
    /// Wait until something came back.
    First,
    /// Nothing is expected.
    Quiet,
    /// Nothing is expected for as long as a request may take.
    Silence,
    /// This many microseconds in which nobody looks.
    Pause(u16),
    /// All messages before were read.
    Barrier,
    /// The ring begins anew at this index.
    Renew(u16),
    /// The same, at another place in guest memory.
    Elsewhere(u16),
    /// The driver begins again with the device's first request.
    Anew,
    /// Room for so many in every ring that something can come through.
    Room(u16),
    /// So many are sent.
    SendOut {
        /// How many.
        count: u16,
        /// To whom.
        to: To,
        /// From the ring of this pair.
        pair: u8,
    },
    /// The device is told something.
    Tell(Command),
    /// EVENT_IDX is accepted from now on.
    Events,
    /// The driver asks to be notified, or not to be.
    Interrupts(bool),
    /// The next message brings a descriptor too many.
    Stray,
    /// That was closed.
    Closed,
    /// A fresh connection, with the same guest memory.
    Reconnect,
    /// A fresh connection, over which a request is processed.
    Serves,
    /// Bytes that are no state.
    WriteGarbage {
        /// More than a pipe holds.
        much: bool,
    },
    /// The record was not brought up to date for the last request.
    Unsettled,
    /// Somebody else marks pages in the log.
    OthersMark,
    /// The last answer said success, or not.
    Answered {
        /// Whether it must say success.
        success: bool,
    },
    /// Something malformed.
    Malformed(Malformed),
    /// Everything of this form.
    Forms(Form),
    /// Messages go in pieces of this size, or whole.
    Pieces(u16),
    /// Messages go together.
    Joined,
    /// Something outside changes the configuration space.
    Change,
    /// The guest makes nonsense of its ring.
    Break,
}

/// Which ring a program's step is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// The one that carries requests.
    Requests,
    /// Every ring of the device, in turn.
    Each,
    /// This one.
    Index(u8),
}

/// Makes steps of text; what is wrong is noted.
pub fn compile<T>(
    compiler: &Compiler<'_>,
    item: &Item<T>,
    texts: &[Spanned<String>],
    d: &mut Diagnostics,
) -> Vec<Act> {
    let mut acts = Vec::new();
    for text in texts {
        if let Err((message, help)) = act(compiler, text.get_ref(), 0, &mut acts) {
            d.push(with_help(item.error(text.span(), message, "this step"), help));
        }
    }
    acts
}

type Problem = (String, Option<String>);

fn act(
    compiler: &Compiler<'_>,
    text: &str,
    depth: usize,
    acts: &mut Vec<Act>,
) -> Result<(), Problem> {
    if let Some(name) = text.strip_prefix("run ") {
        let steps = compiler.programs.steps(name, depth)?;
        return steps.iter().try_for_each(|text| act(compiler, text, depth + 1, acts));
    }
    acts.push(match text.split_once(' ').unwrap_or((text, "")) {
        ("request", count) => Act::Requests { count: number(count)?, kick: true },
        ("publish", count) => Act::Requests { count: number(count)?, kick: false },
        ("pause", micros) => Act::Pause(number(micros)?),
        ("renew", index) => match index.strip_suffix(" elsewhere") {
            Some(index) => Act::Elsewhere(number(index)?),
            None => Act::Renew(number(index)?),
        },
        ("room", count) => Act::Room(number(count)?),
        ("send", rest) => send(rest)?,
        ("tell", what) => Act::Tell(one_of(what, Command::ALL, "a driver tells")?),
        ("event", "indices") => Act::Events,
        ("interrupts", "on") => Act::Interrupts(true),
        ("interrupts", "off") => Act::Interrupts(false),
        ("stray", "descriptor") => Act::Stray,
        ("closed", "") => Act::Closed,
        ("malformed", kind) => Act::Malformed(Malformed::named(kind).ok_or_else(|| {
            let help = did_you_mean(kind, Malformed::ALL.iter().map(|(name, ..)| *name));
            (format!("nothing malformed is called `{kind}`"), help)
        })?),
        ("every", rest) => {
            let name = rest.strip_prefix("malformed ").unwrap_or(rest);
            Act::Forms(Form::named(name).ok_or_else(|| {
                let help = did_you_mean(name, Form::ALL.iter().map(|(name, ..)| *name));
                (format!("no malformed form is called `{name}`"), help)
            })?)
        }
        ("pieces", rest) => Act::Pieces(number(rest.strip_prefix("of ").unwrap_or(rest))?),
        ("joined", "") => Act::Joined,
        ("outside", "changes") => Act::Change,
        ("break", "ring") => Act::Break,
        ("settle", "") => Act::Settle,
        ("notified", "") => Act::Notified,
        ("first", "") => Act::First,
        ("quiet", "") => Act::Quiet,
        ("silence", "") => Act::Silence,
        ("barrier", "") => Act::Barrier,
        ("reconnect", "") => Act::Reconnect,
        ("serves", "") => Act::Serves,
        ("driver", "anew") => Act::Anew,
        ("write", "garbage") => Act::WriteGarbage { much: false },
        ("write", "much garbage") => Act::WriteGarbage { much: true },
        ("unsettled", "") => Act::Unsettled,
        ("others", "mark") => Act::OthersMark,
        ("succeeds", "") => Act::Answered { success: true },
        ("fails", "") => Act::Answered { success: false },
        ("each", _) => {
            let rest = text.strip_prefix("each ring ").unwrap_or(text);
            Act::Program(compiler.single(rest, 0)?, Which::Each)
        }
        ("ring", rest) => {
            let (index, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let index = u8::try_from(number(index)?).unwrap_or(u8::MAX);
            Act::Program(compiler.single(rest, index)?, Which::Index(index))
        }
        _ => Act::Program(compiler.single(text, 0)?, Which::Requests),
    });
    Ok(())
}

/// A step as it is written in a file.
#[must_use]
pub fn text(act: &Act, table: &Table) -> String {
    match *act {
        Act::Program(step, Which::Requests) => step_text(step, table),
        Act::Program(step, Which::Each) => format!("each ring {}", step_text(step, table)),
        Act::Program(step, Which::Index(ring)) => format!("ring {ring} {}", step_text(step, table)),
        Act::Requests { count, kick: true } => format!("request {count}"),
        Act::Requests { count, kick: false } => format!("publish {count}"),
        Act::Settle => "settle".into(),
        Act::Notified => "notified".into(),
        Act::First => "first".into(),
        Act::Quiet => "quiet".into(),
        Act::Silence => "silence".into(),
        Act::Pause(micros) => format!("pause {micros}"),
        Act::Barrier => "barrier".into(),
        Act::Renew(index) => format!("renew {index}"),
        Act::Elsewhere(index) => format!("renew {index} elsewhere"),
        Act::Anew => "driver anew".into(),
        Act::Room(count) => format!("room {count}"),
        Act::SendOut { count, to, pair: 0 } => format!("send {count} to {}", name(&to, To::ALL)),
        Act::SendOut { count, to, pair } => {
            format!("send {count} to {} from pair {pair}", name(&to, To::ALL))
        }
        Act::Tell(command) => format!("tell {}", name(&command, Command::ALL)),
        Act::Events => "event indices".into(),
        Act::Interrupts(true) => "interrupts on".into(),
        Act::Interrupts(false) => "interrupts off".into(),
        Act::Stray => "stray descriptor".into(),
        Act::Closed => "closed".into(),
        Act::Reconnect => "reconnect".into(),
        Act::Serves => "serves".into(),
        Act::WriteGarbage { much: false } => "write garbage".into(),
        Act::WriteGarbage { much: true } => "write much garbage".into(),
        Act::Unsettled => "unsettled".into(),
        Act::OthersMark => "others mark".into(),
        Act::Answered { success: true } => "succeeds".into(),
        Act::Answered { success: false } => "fails".into(),
        Act::Forms(form) => {
            let known = Form::ALL.iter().find(|(.., value)| *value == form);
            format!("every malformed {}", known.map_or("", |(name, ..)| name))
        }
        Act::Pieces(size) => format!("pieces of {size}"),
        Act::Joined => "joined".into(),
        Act::Change => "outside changes".into(),
        Act::Break => "break ring".into(),
        Act::Malformed(kind) => {
            let known = Malformed::ALL.iter().find(|(.., value)| *value == kind);
            format!("malformed {}", known.map_or("", |(name, ..)| name))
        }
    }
}

fn step_text(step: Step, table: &Table) -> String {
    match step {
        Step::Kick { .. } => "kick".into(),
        Step::Vcpus { run: true } => "vcpus run".into(),
        Step::Vcpus { run: false } => "vcpus stop".into(),
        Step::ReadState => "read state".into(),
        Step::WriteState => "write state".into(),
        Step::Until { id, number } => {
            let name = table.messages.get(id.0 as usize).map_or("", |def| &def.name);
            format!("{name} until {number}")
        }
        Step::Copy { log: 0 } => "copy all".into(),
        Step::Copy { log } => format!("copy marked {log}"),
        Step::Renew { .. } => "renew".into(),
        Step::Successor { died: true } => "crash".into(),
        Step::Successor { died: false } => "move".into(),
        Step::Send { id, number, need_reply, .. } => {
            let Some(def) = table.messages.get(id.0 as usize) else { return String::new() };
            let says = has(def, Effect::SetEnabled) || has(def, Effect::SetStatus);
            let mut text = match number {
                Number::Literal(0) if !says => def.name.clone(),
                Number::Literal(number) => format!("{} {number}", def.name),
                Number::Saved => format!("{} saved", def.name),
                Number::Offered | Number::ProtocolOffered => format!("{} offered", def.name),
                Number::Plain => format!("{} plain", def.name),
                Number::Used => format!("{} used", def.name),
                Number::Logging => format!("{} logging", def.name),
            };
            if need_reply {
                text += " acknowledged";
            }
            text
        }
    }
}

/// `N to WHOM`, `N to WHOM from pair P`.
fn send(text: &str) -> Result<Act, Problem> {
    let (text, pair) = match text.split_once(" from pair ") {
        Some((text, pair)) => (text, u8::try_from(number(pair)?).unwrap_or(u8::MAX)),
        None => (text, 0),
    };
    let (count, whom) = text.split_once(" to ").unwrap_or((text, ""));
    Ok(Act::SendOut { count: number(count)?, to: one_of(whom, To::ALL, "is sent to")?, pair })
}

fn one_of<T: Copy>(text: &str, all: &[(&str, T)], what: &str) -> Result<T, Problem> {
    let found = all.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let help = did_you_mean(text, all.iter().map(|(name, _)| *name));
        (format!("`{text}` is not something that {what}"), help)
    })
}

fn name<T: PartialEq>(value: &T, all: &[(&'static str, T)]) -> &'static str {
    all.iter().find(|(_, other)| other == value).map_or("", |(name, _)| name)
}

fn number(text: &str) -> Result<u16, Problem> {
    text.parse().map_err(|_| (format!("`{text}` is not a number up to 65535"), None))
}
