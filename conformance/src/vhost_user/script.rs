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
use super::hostile::Hostile;
use super::malformed::Malformed;
use crate::harness::io::virtio::outside::{Command, To};
use crate::harness::steps::{Named, Word, steps};
use crate::harness::suite::Problem;

steps! {
    /// One step of a test.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Act in Table {
        Request(count: u16) = "request COUNT":
            "the driver makes COUNT requests available and kicks";
        Publish(count: u16) = "publish COUNT":
            "the driver makes COUNT requests available and does not kick";
        Settle = "settle": "wait until the back-end owes nothing";
        Notified = "notified":
            "wait until the back-end owes nothing and has notified the guest of every used \
             request";
        Completed = "completed":
            "wait until the back-end owes nothing and has notified the guest, and no longer";
        Amid(count: u16) = "stop amid COUNT requests":
            "stop the ring that carries requests while COUNT of them are processed, and restart it: \
             again and again, at other moments, until some were in flight at the stop, or at none \
             of them any was";
        NoneLost = "none lost": "every request that was made available has come back";
        First = "first": "wait until the back-end has used a request";
        Quiet = "quiet": "send nothing; every event that arrives is judged";
        Silence = "silence":
            "send nothing for as long as a request may take: an interpretation by which the \
             back-end owes something is excluded";
        Pause(micros: u16) = "pause MICROSECONDS": "the tester does nothing for this time";
        Barrier = "barrier": "wait for a reply: the back-end has then read all earlier messages";
        Elsewhere(index: u16) = "renew INDEX elsewhere":
            "the driver sets up the ring again, at this index and at another place in guest memory";
        Renew(index: u16) = "renew INDEX": "the driver sets up the ring again, at this index";
        RingOf(size: u16) = "ring of SIZE":
            "from the next `renew` on, the ring that carries requests has SIZE descriptors";
        Heed = "kicks as asked":
            "from now on the driver does not kick a ring while the flags of its used ring say that \
             the back-end needs no kick";
        RingsAnew = "rings anew":
            "the driver sets up every ring again, at index 0, for a device that was reset";
        MemoryMoves = "memory moves":
            "the guest's memory has the same contents and layout in another file: from now on \
             messages carry its descriptor";
        MemoryFurther = "memory moves to an offset":
            "the same, and the memory begins at an offset in that file";
        BuffersIn(part: u16) = "buffers in part PART":
            "from now on requests have their buffers in this part of guest memory: 4 is a region \
             of its own, anything else the first";
        Calls = "fresh call descriptors":
            "the driver has new call descriptors: from now on messages carry them";
        Kicks = "fresh kick descriptors":
            "the driver has new kick descriptors: from now on messages carry them";
        Anew = "driver anew":
            "the driver begins again with a device that was reset, from its first request";
        Reconnect = "reconnect":
            "open a new connection (to a new process, if devmig starts it), with the same guest \
             memory";
        SameServer = "reconnect to the same server":
            "open a new connection to the same process, with the same guest memory; a back-end \
             that serves one connection only skips the test";
        Serves = "serves": "open a new connection, on which the back-end processes a request";
        Room(count: u16) = "room COUNT":
            "the driver offers COUNT buffers in every ring on which the device can send";
        SendOut(count: u16, to: To, pair: Pair) = "send COUNT to WHOM [from pair PAIR]":
            "send COUNT frames to `all`, a `group`, `us` or `nobody`";
        Tell(command: Command) = "tell WHAT":
            "the driver sets the device's filter (`strict`, `filter`), its `address`, or the \
             number of queue pairs (`pairs`, `one-pair`)";
        Events = "event indices": "from the next SET_FEATURES on, the driver accepts EVENT_IDX";
        InterruptsOn = "interrupts on": "the driver enables notifications";
        InterruptsOff = "interrupts off": "the driver disables notifications";
        Stray = "stray descriptor": "the next message carries a descriptor that it has no use for";
        Closed = "closed": "the back-end has closed that descriptor";
        WriteGarbage = "write garbage": "write bytes that are not a state into the state channel";
        WriteMuchGarbage = "write much garbage":
            "write bytes that are not a state, more than the channel holds at a time";
        Unsettled = "unsettled":
            "restore the in-flight record to what it was before the last request was used, as if \
             the back-end had died in between";
        OthersMark = "others mark": "from now on another party marks pages in the same dirty log";
        LogFurther = "logs at an offset": "from now on a dirty log begins at an offset in its file";
        LogCleared = "log cleared": "clear the dirty log, into which nothing is to be marked";
        LogUnmarked = "log unmarked": "nothing was marked in the dirty log since `log cleared`";
        ConfigPart(size: u16, offset: u16) = "configuration SIZE at OFFSET":
            "GET_CONFIG of SIZE bytes at OFFSET; the next GET_CONFIG shows whether they were right";
        ConfigDiffers = "configuration differs":
            "what GET_CONFIG returned last is not what it returned before";
        LastQueue = "last queue":
            "set the size of the last of the queues that GET_QUEUE_NUM has announced: the back-end \
             accepts it";
        EverySlot = "every slot":
            "add as many memory regions as GET_MAX_MEM_SLOTS has announced: the back-end accepts \
             them";
        Succeeds = "succeeds": "the last reply reports success";
        Fails = "fails": "the last reply reports an error";
        Forms(form: Form) = "every malformed FORM": "send messages of each malformed FORM in turn";
        Hostile(kind: Hostile) = "hostile KIND":
            "the guest makes a chain available that no driver makes, and kicks: what is used in \
             this ring is not looked at from then on";
        Malformed(kind: Malformed) = "malformed KIND": "send one malformed message";
        Pieces(size: u16) = "pieces of SIZE":
            "from now on the tester sends messages in pieces of SIZE bytes; 0: whole";
        Joined = "joined":
            "from now on the tester sends several messages in one write, as far as descriptors \
             and replies allow";
        Change = "outside changes":
            "something outside the connection changes the device's configuration space";
        Break = "break ring":
            "the guest writes an available index that is further ahead than the ring is long, and \
             kicks";
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
    let step = compiler.single(step, ring)?;
    if let Step::Until { .. }
    | Step::Copy { .. }
    | Step::Renew { .. }
    | Step::WritePart
    | Step::HandOver
    | Step::Successor { died: false } = step
    {
        let message =
            format!("`{}` is a step of systems, not of tests", step_text(step, compiler.table));
        return Err((
            message,
            Some("docs/src/reference/steps.md lists the steps of a test".into()),
        ));
    }
    Ok(Act::Program(step, which))
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
        Step::WritePart => "write part".into(),
        Step::HandOver => "hand over".into(),
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
                Number::Available => format!("{} available", def.name),
                Number::Logging => format!("{} logging", def.name),
            };
            if need_reply {
                text += " acknowledged";
            }
            text
        }
    }
}
