//! The steps of a test of vhost-user: those of this file, and every step of a front-end's program (see
//! [`devmig_model::protocol::vhost_user::program`]). Without `each ring` or `ring N` before it, such a step
//! goes to the ring that carries requests.
//!
//! **Invariant.** A step has no opinion: what the back-end does is judged by the machine.

use devmig_model::protocol::vhost_user::program::{Compiler, Number, Step};
use devmig_model::protocol::vhost_user::table::Table;
use devmig_model::protocol::vhost_user::vocabulary::Effect;
use devmig_model::registry::Library;

use super::forms::Form;
use super::malformed::Malformed;
use crate::harness::io::virtio::outside::{Command, To};
use crate::harness::steps::{Named, Word, steps};
use crate::harness::suite::Problem;

steps! {
    /// One step of a test.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Act in Table {
        Request(count: u16) = "request COUNT": "make so many requests available, and kick";
        Publish(count: u16) = "publish COUNT": "make so many requests available, and do not kick";
        Settle = "settle": "wait until nothing is owed any more";
        Notified = "notified": "wait until nothing is owed, and the guest was notified of what was used";
        First = "first": "wait until something came back";
        Quiet = "quiet": "nothing is expected: whatever comes is judged";
        Silence = "silence":
            "nothing is expected for as long as a request may take: an interpretation that owes one is \
             excluded";
        Pause(micros: u16) = "pause MICROSECONDS": "nobody looks for so long";
        Barrier = "barrier": "wait for a reply, so that all messages before were read";
        Elsewhere(index: u16) = "renew INDEX elsewhere":
            "the driver sets the ring up anew at this index, at another place in guest memory";
        Renew(index: u16) = "renew INDEX": "the driver sets the ring up anew at this index";
        Anew = "driver anew":
            "the driver begins again with a device that was reset: its first request first";
        Reconnect = "reconnect":
            "a fresh connection (and process, if devmig starts it), with the same guest memory";
        Serves = "serves": "a fresh connection, over which a request is processed";
        Room(count: u16) = "room COUNT":
            "the driver offers room for so many in every ring that something can come through";
        SendOut(count: u16, to: To, pair: Pair) = "send COUNT to WHOM [from pair PAIR]":
            "so many are sent to `all`, a `group`, `us` or `nobody`";
        Tell(command: Command) = "tell WHAT":
            "the device is told of its filter (`strict`, `filter`), its `address`, or to use all \
             `pairs` or `one-pair`";
        Events = "event indices": "from the next SET_FEATURES on, EVENT_IDX is accepted";
        InterruptsOn = "interrupts on": "the driver asks to be notified again";
        InterruptsOff = "interrupts off": "the driver asks not to be notified";
        Stray = "stray descriptor": "the next message brings a descriptor that it has no use for";
        Closed = "closed": "the back-end has closed that descriptor";
        WriteGarbage = "write garbage": "bytes that are no state, through the state channel";
        WriteMuchGarbage = "write much garbage":
            "bytes that are no state, more than the channel holds at a time";
        Unsettled = "unsettled":
            "the record says what it said before the last request came back: the back-end died in \
             between";
        OthersMark = "others mark": "from here on another party marks pages in the same dirty log";
        Succeeds = "succeeds": "the last reply said success";
        Fails = "fails": "the last reply said an error";
        Forms(form: Form) = "every malformed FORM": "messages of each malformed FORM in turn";
        Malformed(kind: Malformed) = "malformed KIND": "one malformed message";
        Pieces(size: u16) = "pieces of SIZE":
            "from here on messages are sent in pieces of so many bytes; 0: whole";
        Joined = "joined":
            "from here on messages go together in one write, as far as descriptors and replies allow";
        Change = "outside changes":
            "something outside changes the device's configuration space";
        Break = "break ring":
            "the guest writes an index that is further ahead than its ring is long, and kicks";
    }
    besides {
        /// A step of a program, to a ring.
        Program(step: Step, which: Which) = program_text;
    }
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

/// The pair of queues from whose ring something is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pair(pub u8);

impl<C> Word<C> for Pair {
    fn read(text: Option<&str>, context: &C) -> Result<Self, Problem> {
        let Some(text) = text else { return Ok(Pair(0)) };
        u16::read(Some(text), context).map(|pair| Pair(u8::try_from(pair).unwrap_or(u8::MAX)))
    }

    fn written(&self, _: &C) -> Option<String> {
        (self.0 != 0).then(|| self.0.to_string())
    }
}

impl Named for To {
    const WHAT: &'static str = "addressee";
    const NAMES: &'static [(&'static str, To)] = To::ALL;
}

impl Named for Command {
    const WHAT: &'static str = "command of a driver's";
    const NAMES: &'static [(&'static str, Command)] = Command::ALL;
}

/// The step that is written like this.
///
/// # Errors
/// What is wrong with it.
pub fn act(library: &Library, text: &str) -> Result<Act, Problem> {
    let compiler = Compiler {
        table: &library.vhost_user().table,
        programs: &library.vhost_user().programs,
        rings: 1,
    };
    if Act::is_one(text) {
        return Act::parse(text, &library.vhost_user().table);
    }
    let (step, ring, which) = match text.split_once(' ') {
        Some(("each", _)) => (text.strip_prefix("each ring ").unwrap_or(text), 0, Which::Each),
        Some(("ring", rest)) => {
            let (index, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let index = u8::try_from(u16::read(Some(index), &())?).unwrap_or(u8::MAX);
            (rest, index, Which::Index(index))
        }
        _ => (text, 0, Which::Requests),
    };
    Ok(Act::Program(compiler.single(step, ring)?, which))
}

/// A step of a program, as it is written.
fn program_text(step: Step, which: Which, table: &Table) -> String {
    let text = step_text(step, table);
    match which {
        Which::Requests => text,
        Which::Each => format!("each ring {text}"),
        Which::Index(ring) => format!("ring {ring} {text}"),
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
            let says = def.has(Effect::SetEnabled) || def.has(Effect::SetStatus);
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
