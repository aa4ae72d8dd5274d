//! Devices that are asked for: made or refused, read back, and not changed.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use devmig_model::device_model::{Configuration, Instance, Name, Value, check};
use devmig_model::protocol::{vfio_user, vhost_user::wire};
use devmig_reference::socket::Deadline;
use devmig_reference::socket::transport::{Channel, ConnectError};

use super::{Session, Who, finding, harness, stop};
use crate::device_model::arguments::Asked;
use crate::device_model::back_end::BackEnd;
use crate::device_model::cases::another;
use crate::device_model::control::{Answer, Control};
use crate::device_model::state::Device;
use crate::device_model::subject::Subject;
use crate::device_model::suite::Way;
use crate::device_model::transport::Transport;
use crate::harness::io::process::{Command, Process, Remains, SpawnError, is_crash, words};
use crate::harness::verdict::TestEnd;
use crate::vfio::user::started;

/// The name of the one device that a control program is told to make.
pub(super) const ID: &str = "device";

/// The devices that there were, by their names.
pub(super) type Before = Vec<(String, Instance)>;

/// What came of asking for a device.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It is there, and listens.
    Made(Connected),
    /// It is not.
    Refused {
        /// How the program ended, if it is the device.
        status: Option<ExitStatus>,
        /// What was said about it.
        said: String,
    },
}

/// A device that accepted a connection; it ends with its process, if that is ours.
#[derive(Debug)]
pub(super) enum Connected {
    VhostUser(Option<Process>, Channel<wire::Header>),
    VfioUser(Option<Process>, Channel<vfio_user::Header>),
}

impl Connected {
    /// What is left of its process, which is told to end.
    pub(super) fn remains(&mut self) -> Remains {
        let (Connected::VhostUser(process, _) | Connected::VfioUser(process, _)) = self;
        Remains::of(process.as_mut(), Duration::ZERO)
    }

    /// The device behind it, whose state can be moved.
    pub(super) fn device(self, limit: Duration) -> Result<Device, TestEnd> {
        Ok(match self {
            Connected::VhostUser(process, channel) => {
                Device::VhostUser(Box::new(BackEnd::over(channel, process, limit).map_err(stop)?))
            }
            Connected::VfioUser(Some(process), channel) => {
                let memory = Box::new(devmig_reference::vfio_user::client::NoMemory);
                Device::VfioUser(started(process, channel, memory, limit).map_err(stop)?)
            }
            Connected::VfioUser(None, _) => {
                return Err(TestEnd::Skip("needs a device over vhost-user".into()));
            }
        })
    }
}

/// Whether a device is described as it was requested.
pub(super) fn is_as(found: &Instance, expected: &Configuration) -> Result<(), TestEnd> {
    if found.model() != expected.model() {
        let observed = format!("it is described as a `{}`", found.model());
        return Err(finding(observed, &format!("`{}`", expected.model())));
    }
    check::read_back(expected, found.parameters())
        .map_err(|why| finding(why.to_string(), &expected.to_string()))
}

impl Session<'_> {
    /// Asks for a device on a command line.
    fn by_command(&mut self, line: Vec<String>) -> Result<Attempt, TestEnd> {
        self.command(&line);
        let command = Command::plain(line).map_err(harness)?;
        let deadline = Deadline::after(self.subject.start);
        let made = match self.transport {
            Transport::VhostUser => command
                .start_over(deadline)
                .map(|(process, channel)| Connected::VhostUser(Some(process), channel)),
            Transport::VfioUser => command
                .start_over(deadline)
                .map(|(process, channel)| Connected::VfioUser(Some(process), channel)),
        };
        match made {
            Ok(connected) => {
                self.say("-> it listens");
                Ok(Attempt::Made(connected))
            }
            // A refusal has an exit status; a crash is none.
            Err(error @ SpawnError::Exited { status, .. }) if is_crash(status) => {
                self.say(format!("-> {}", words(status)));
                Err(TestEnd::died(error.to_string()))
            }
            Err(SpawnError::Exited { status, output, .. }) => {
                self.say(format!("-> {status}{output}"));
                Ok(Attempt::Refused { status: Some(status), said: output })
            }
            Err(error @ SpawnError::Connect { .. }) => {
                Err(finding(error.to_string(), "it listens, or exits"))
            }
            Err(error) => Err(harness(error)),
        }
    }

    /// The control program, started when it is first needed.
    pub(super) fn control(&mut self) -> Result<&mut Control, TestEnd> {
        if self.control.is_none() {
            let Some(words) = &self.subject.control else {
                return Err(TestEnd::Skip("needs a control program (--control)".into()));
            };
            self.log.push(format!("$ {}", shell_words::join(words)));
            self.control = Some(Control::start(words, self.subject.start, self.subject.limit)?);
        }
        self.control.as_mut().ok_or_else(|| TestEnd::Harness("there is no control program".into()))
    }

    /// Asks for a device over the control socket.
    fn by_control(&mut self, asked: &Asked) -> Result<Attempt, TestEnd> {
        let transport = self.transport;
        self.say(format!("device-add {}", asked.members()));
        let answer = self.control()?.add(ID, asked, transport)?;
        let limit = self.subject.limit;
        match answer {
            Answer::Refused(said) => {
                self.say(format!("-> error: {said}"));
                Ok(Attempt::Refused { status: None, said })
            }
            Answer::Done(_) => {
                self.say("-> done");
                let path = self.control()?.socket(ID);
                let deadline = Deadline::after(limit);
                let odd = |error| finding(format!("it is added, but {error}"), "it listens");
                Ok(Attempt::Made(self.connected(&path, deadline).map_err(odd)?))
            }
        }
    }

    /// A connection to what listens there.
    pub(super) fn connected(
        &self,
        path: &Path,
        deadline: Deadline,
    ) -> Result<Connected, ConnectError> {
        Ok(match self.transport {
            Transport::VhostUser => Connected::VhostUser(None, Channel::connect(path, deadline)?),
            Transport::VfioUser => Connected::VfioUser(None, Channel::connect(path, deadline)?),
        })
    }

    /// The command line of a device.
    fn words(&self, who: Who, asked: &Asked) -> Result<Vec<String>, TestEnd> {
        let skip = |what: &str| TestEnd::Skip(format!("needs {what}"));
        let subject = self.subject;
        let program = match who {
            Who::Peer => subject.peer.as_ref().ok_or(skip("another implementation (--peer)"))?,
            _ => &subject.program,
        };
        let mut besides = match who {
            Who::Elsewhere => {
                subject.elsewhere.clone().ok_or(skip("another place (--elsewhere)"))?
            }
            _ => Vec::new(),
        };
        besides.extend(subject.listening(self.transport).unwrap_or_default().iter().cloned());
        Ok(Subject::command(program, asked, &besides))
    }

    fn ask(&mut self) -> Result<&Attempt, TestEnd> {
        // The one before has to be gone, or its place is taken.
        self.attempt = None;
        let asked = self.asked()?;
        let attempt = match self.test.own.way {
            Way::Command if !asked.is_text() => {
                return Err(TestEnd::Skip("cannot be expressed on a command line".into()));
            }
            Way::Command => {
                let words = self.words(Who::Own, asked)?;
                self.by_command(words)?
            }
            Way::Control => self.by_control(asked)?,
        };
        Ok(self.attempt.insert(attempt))
    }

    pub(super) fn make(&mut self) -> Result<(), TestEnd> {
        match self.ask()? {
            Attempt::Made(_) => Ok(()),
            Attempt::Refused { said, .. } => {
                let observed = format!("it is refused: {}", said.trim());
                Err(finding(observed, "it is created, as the description allows"))
            }
        }
    }

    pub(super) fn refuse(&mut self) -> Result<(), TestEnd> {
        let asked = self.asked()?;
        match self.ask()? {
            Attempt::Refused { .. } => Ok(()),
            Attempt::Made(_) => {
                let observed = format!("it is created: {} {}", asked.model, asked.parameters());
                Err(finding(observed, "it is refused"))
            }
        }
    }

    pub(super) fn status(&mut self) -> Result<(), TestEnd> {
        if let Some(Attempt::Refused { status: Some(status), .. }) = &self.attempt
            && status.code() != Some(1)
        {
            return Err(finding(format!("it exits with {status}"), "exit status 1"));
        }
        if self.test.own.way == Way::Control {
            let there = self.control()?.list()?;
            if let Some((id, _)) = there.first() {
                let observed = format!("`{id}` exists after it was refused");
                return Err(finding(observed, "no device exists"));
            }
        }
        Ok(())
    }

    pub(super) fn named(&mut self) -> Result<(), TestEnd> {
        let about = &self.case()?.about;
        let Some(Attempt::Refused { said, .. }) = &self.attempt else {
            return Err(TestEnd::Harness("nothing was refused".into()));
        };
        if about.iter().any(|name| said.contains(name.as_str())) {
            return Ok(());
        }
        let observed = format!("the error does not name its subject: {}", said.trim());
        let names: Vec<String> = about.iter().map(|name| format!("`{name}`")).collect();
        Err(finding(observed, &format!("it names {}", names.join(" or "))))
    }

    /// What the device should be.
    fn expected(&self) -> Result<&Configuration, TestEnd> {
        let case = self.case()?;
        let expected = if self.is_other { &case.other_made } else { &case.made };
        expected.as_ref().ok_or_else(|| TestEnd::Harness("this case creates nothing".into()))
    }

    pub(super) fn read_back(&mut self) -> Result<(), TestEnd> {
        let expected = self.expected()?.clone();
        let found = match self.test.own.way {
            Way::Control => self.listed(ID)?,
            Way::Command => {
                if !self.hosts.is_some_and(|hosts| hosts.prints_instances) {
                    let what = "a program that prints the instance (--print-instance-json)";
                    return Err(TestEnd::Skip(format!("needs {what}")));
                }
                let asked = self.asked()?;
                self.printed_instance(asked)?
            }
        };
        is_as(&found, &expected)
    }

    /// What the control program says of the device with this name.
    pub(super) fn listed(&mut self, id: &str) -> Result<Instance, TestEnd> {
        self.say(format!("device-list: {id}"));
        let mut there = self.control()?.list()?;
        let at = there.iter().position(|(listed, _)| listed == id);
        let at = at.ok_or_else(|| finding(format!("`{id}` is not listed"), "it is"))?;
        Ok(there.swap_remove(at).1)
    }

    pub(super) fn delete(&mut self) -> Result<(), TestEnd> {
        (self.device, self.attempt) = (None, None);
        self.delete_named(ID)
    }

    pub(super) fn delete_named(&mut self, id: &str) -> Result<(), TestEnd> {
        self.say(format!("device-del {id}"));
        match self.control()?.delete(id)? {
            Answer::Done(_) => Ok(()),
            Answer::Refused(why) => {
                Err(finding(format!("device-del is refused: {why}"), "it is done"))
            }
        }
    }

    /// Another value for each parameter, one at a time.
    fn changes(&self) -> Result<Vec<(Name, Value)>, TestEnd> {
        let expected = self.expected()?;
        let own = self.hosts.map(|hosts| &hosts.own);
        let model = own.and_then(|own| own.model(expected.model()));
        let model = model.ok_or_else(|| TestEnd::Harness("the model is not described".into()))?;
        let change = |(name, value): (&Name, &Value)| {
            let parameter = model.parameters().get(name)?;
            Some((name.clone(), another(parameter, value)?))
        };
        Ok(expected.parameters().iter().filter_map(change).collect())
    }

    pub(super) fn change(&mut self) -> Result<(), TestEnd> {
        self.before = self.control()?.list()?;
        for (name, value) in self.changes()? {
            let asked = Asked::default().with(&name, &value);
            self.say(format!("device-set {}", asked.parameters()));
            match self.control()?.set(ID, &asked)? {
                Answer::Refused(why) => self.say(format!("-> error: {why}")),
                Answer::Done(_) => {
                    let observed = format!("`{name}` is set to `{value}`");
                    return Err(finding(observed, "the configuration of a device never changes"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn make_again(&mut self) -> Result<(), TestEnd> {
        self.before = self.control()?.list()?;
        // Of another configuration than the one that is there.
        let other = if self.is_other { &self.case()?.asked } else { self.other()? };
        let transport = self.transport;
        self.say(format!("device-add {}", other.members()));
        match self.control()?.add(ID, other, transport)? {
            Answer::Refused(_) => Ok(()),
            Answer::Done(_) => Err(finding("it replaces the first", "it is refused")),
        }
    }

    pub(super) fn unchanged(&mut self) -> Result<(), TestEnd> {
        let now = self.control()?.list()?;
        match now == self.before {
            true => Ok(()),
            false => Err(finding("the description of the device has changed", "as before")),
        }
    }

    /// Starts a device whose state is to be saved or loaded.
    pub(super) fn start(&mut self, who: Who) -> Result<(), TestEnd> {
        (self.device, self.attempt) = (None, None);
        let asked = match who {
            Who::Own | Who::Elsewhere => &self.case()?.asked,
            Who::Other => self.other()?,
            Who::Peer => {
                let skip = || TestEnd::Skip("needs a peer that accepts the configuration".into());
                self.case()?.other.as_ref().ok_or_else(skip)?
            }
        };
        let words = self.words(who, asked)?;
        let connected = match self.by_command(words)? {
            Attempt::Made(connected) => connected,
            Attempt::Refused { said, .. } => {
                let why = said.lines().next_back().unwrap_or_default().trim();
                return Err(TestEnd::Skip(format!("needs a device that is refused: {why}")));
            }
        };
        let limit = self.subject.limit;
        self.device = Some(connected.device(limit)?);
        Ok(())
    }
}
