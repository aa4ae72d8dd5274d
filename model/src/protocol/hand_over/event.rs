//! What the actors of a hand-over do: each act at once with the world, which fixes what comes of it.

use serde::Serialize;

use devmig_engine::machine::{Kind, Party};
use devmig_engine::packed;

/// The world: processes, links, the disk lock. It also brings the faults.
pub const ENVIRONMENT: Party = Party("environment");

/// Who runs a program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// The VMM that has the VM at first.
    #[default]
    Source,
    /// The VMM that is to have it.
    Destination,
    /// The management layer.
    Management,
}

impl Actor {
    /// All, by index.
    pub const ALL: [Actor; 3] = [Actor::Source, Actor::Destination, Actor::Management];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["source", "destination", "management"][self as usize]
    }

    /// Its name in a sentence.
    #[must_use]
    pub fn the(self) -> &'static str {
        ["the source", "the destination", "management"][self as usize]
    }

    /// The actor of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|actor| actor.name() == name)
    }

    /// It as a party.
    #[must_use]
    pub fn party(self) -> Party {
        Party(self.name())
    }
}

/// What one actor sends to another.
#[packed]
#[derive(Default, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// Nothing: the slot is free.
    #[default]
    Nothing,
    /// The whole state of the VM.
    State,
    /// The destination has what was sent.
    Ready,
    /// The destination is to run.
    Go,
    /// The answer to a request that was carried out.
    Answer,
    /// The answer to a request that failed.
    Failed,
    /// Management tells the source to migrate.
    Perform,
    /// Management tells the source that its VM is no longer needed.
    Confirm,
    /// Management tells the source to run again.
    Resume,
    /// Management tells the destination to give up.
    Cancel,
}

impl Message {
    /// Every message, with its word in a program.
    pub const ALL: [(&'static str, Message); 9] = [
        ("state", Message::State),
        ("ready", Message::Ready),
        ("go", Message::Go),
        ("answer", Message::Answer),
        ("failed", Message::Failed),
        ("perform", Message::Perform),
        ("confirm", Message::Confirm),
        ("resume", Message::Resume),
        ("cancel", Message::Cancel),
    ];

    /// The word of a message.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("nothing", |(word, _)| word)
    }
}

/// What an actor reports to whoever started it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// The hand-over succeeded.
    #[default]
    Success,
    /// It failed.
    Failure,
    /// It is not known who may run: somebody else has to decide.
    Unknown,
}

/// What goes wrong.
#[packed]
#[derive(Default, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Nothing has.
    #[default]
    None,
    /// The link between the two VMMs is cut.
    LinkCut,
    /// The destination is killed.
    DestinationKilled,
    /// The source is killed.
    SourceKilled,
    /// The management layer is killed.
    ManagementKilled,
    /// The link between the management layer and the destination is cut.
    ManagementCut,
}

impl Fault {
    /// All that can happen, in the order of the table.
    pub const ALL: [Fault; 5] = [
        Fault::LinkCut,
        Fault::DestinationKilled,
        Fault::SourceKilled,
        Fault::ManagementKilled,
        Fault::ManagementCut,
    ];

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Fault::None => "no fault",
            Fault::LinkCut => "link cut",
            Fault::DestinationKilled => "destination killed",
            Fault::SourceKilled => "source killed",
            Fault::ManagementKilled => "management killed",
            Fault::ManagementCut => "management loses the destination",
        }
    }
}

/// What happens.
#[packed(unqueued)]
#[derive(Default)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The source copies RAM to the destination, until little is left.
    Copy(Actor, Actor),
    /// The VMM stops its virtual CPUs.
    Stop(Actor),
    /// It runs them.
    Run(Actor),
    /// It releases the disk lock.
    Release(Actor),
    /// It tries to take the disk lock: whether it gets it.
    Take(Actor, bool),
    /// The same, unless another process has held the lock since.
    TakeBack(Actor, bool),
    /// One sends to another. If the link is cut, the message is lost, which the sender does not see.
    Send(Actor, Actor, Message),
    /// The second receives from the first.
    Receive(Actor, Actor, Message),
    /// The first does not hear the second, or cannot send to it: it does not know why.
    GiveUp(Actor, Actor),
    /// An actor reports.
    Report(Actor, Report),
    /// A process ends by itself.
    End(Actor),
    /// Something goes wrong.
    Fault(Fault),
    /// The VM is to be handed over once more, over a new link and to a new destination.
    #[default]
    Again,
}

impl devmig_engine::machine::Event for Event {
    fn owner(&self) -> Party {
        match self {
            Event::Copy(by, _)
            | Event::Stop(by)
            | Event::Run(by)
            | Event::Release(by)
            | Event::Take(by, _)
            | Event::TakeBack(by, _)
            | Event::Send(by, ..)
            | Event::Receive(_, by, _)
            | Event::GiveUp(by, _)
            | Event::Report(by, _)
            | Event::End(by) => by.party(),
            Event::Fault(_) | Event::Again => ENVIRONMENT,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Event::Fault(_) => Kind::Output,
            // Its host does not begin a second process before the first has done what it does.
            Event::Again => Kind::Call { callee: Actor::Destination.party() },
            _ => Kind::Call { callee: ENVIRONMENT },
        }
    }

    fn label(&self) -> String {
        match self {
            Event::Copy(_, to) => format!("copy RAM to {}", to.the()),
            Event::Stop(_) => "stop the vCPUs".into(),
            Event::Run(_) => "run the vCPUs".into(),
            Event::Release(_) => "release the disk lock".into(),
            Event::Take(_, true) => "take the disk lock".into(),
            Event::Take(_, false) => "take the disk lock: refused".into(),
            Event::TakeBack(_, true) => "take the disk lock back".into(),
            Event::TakeBack(_, false) => "take the disk lock back: refused".into(),
            Event::Send(_, to, message) => {
                format!("send `{}` to {}", message.word(), to.the())
            }
            Event::Receive(from, _, message) => {
                format!("receive `{}` from {}", message.word(), from.the())
            }
            Event::GiveUp(_, peer) => format!("no connection to {}", peer.the()),
            Event::Report(_, Report::Success) => "report success".into(),
            Event::Report(_, Report::Failure) => "report failure".into(),
            Event::Report(_, Report::Unknown) => "report that the outcome is unknown".into(),
            Event::End(_) => "end the process".into(),
            Event::Fault(fault) => fault.words().into(),
            Event::Again => "second attempt".into(),
        }
    }
}
