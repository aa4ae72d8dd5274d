//! Several devices, clients and connections of one control program.

use devmig_reference::socket::Deadline;

use super::making::{Attempt, ID, is_as};
use super::{Session, finding};
use crate::device_model::arguments::Written;
use crate::device_model::control::Answer;
use crate::harness::verdict::TestEnd;

/// The name of a second device.
const BESIDE: &str = "beside";

/// The name of one that is refused.
const REFUSED: &str = "refused";

/// A parameter that no model has.
const UNKNOWN: &str = "devmig-unknown-parameter";

fn serves_once() -> TestEnd {
    TestEnd::Skip("needs a device that serves a further connection".into())
}

impl Session<'_> {
    pub(super) fn make_beside(&mut self) -> Result<(), TestEnd> {
        let (other, transport) = (self.other()?, self.transport);
        self.say(format!("device-add {BESIDE} {}", other.members()));
        match self.control()?.add(BESIDE, other, transport)? {
            Answer::Done(_) => Ok(()),
            Answer::Refused(why) => {
                let observed = format!("it is refused: {}", why.trim());
                Err(finding(observed, "it is created, as the description allows"))
            }
        }
    }

    pub(super) fn read_back_beside(&mut self) -> Result<(), TestEnd> {
        let expected = self.case()?.other_made.clone();
        let expected =
            expected.ok_or_else(|| TestEnd::Harness("this case has no other device".into()))?;
        is_as(&self.listed(BESIDE)?, &expected)
    }

    pub(super) fn delete_beside(&mut self) -> Result<(), TestEnd> {
        self.delete_named(BESIDE)
    }

    pub(super) fn refuse_another(&mut self) -> Result<(), TestEnd> {
        self.before = self.control()?.list()?;
        let unknown = UNKNOWN.parse().map_err(|_| TestEnd::Harness("no name".into()))?;
        let asked = self.case()?.asked.clone().with(&unknown, Written::text("1"));
        let transport = self.transport;
        self.say(format!("device-add {REFUSED} {}", asked.members()));
        match self.control()?.add(REFUSED, &asked, transport)? {
            Answer::Refused(_) => Ok(()),
            Answer::Done(_) => {
                Err(finding(format!("it is created with `{UNKNOWN}`"), "it is refused"))
            }
        }
    }

    pub(super) fn new_client(&mut self) -> Result<(), TestEnd> {
        self.before = self.control()?.list()?;
        self.say("another client");
        self.control()?.reconnect()
    }

    pub(super) fn nothing_left(&mut self) -> Result<(), TestEnd> {
        let there = self.control()?.list()?;
        match there.first() {
            None => Ok(()),
            Some((id, _)) => {
                Err(finding(format!("`{id}` exists after it was deleted"), "no device exists"))
            }
        }
    }

    /// The created device, over a connection of its own: it may have served another before.
    pub(super) fn attach(&mut self) -> Result<(), TestEnd> {
        let made = match self.attempt.take() {
            Some(Attempt::Made(made)) => made,
            // It was used, and that connection is closed.
            _ => {
                let path = self.control()?.socket(ID);
                let deadline = Deadline::after(self.subject.limit);
                let made = self.connected(&path, deadline).map_err(|_| serves_once())?;
                let device = made.device(self.subject.limit);
                // No text says that a device serves a further connection.
                self.device = Some(device.map_err(|_| serves_once())?);
                return Ok(());
            }
        };
        self.device = Some(made.device(self.subject.limit)?);
        Ok(())
    }
}
