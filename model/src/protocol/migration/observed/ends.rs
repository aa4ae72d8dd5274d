//! What each end has reported, as far as it was seen, and what of it is still to be seen.
//!
//! Reports of devices that a VMM sets in one step are a *group*: it sets them in an order of its own, so within a
//! group they are seen in any order, and groups are seen one after the other.

use devmig_engine::packed;

use super::report::{DESTINATION, Reported, Status};
use crate::protocol::migration::event::DEVICES;

/// How many reports may be under way at one end.
const ROOM: usize = 12;

/// A report under way.
#[packed]
pub struct Item {
    /// Changes with each group.
    pub group: bool,
    /// What is reported.
    pub said: Reported,
}

/// One end.
#[packed]
pub struct End {
    /// Its monitor is watched.
    pub heard: bool,
    /// The status that was seen last.
    pub said: Status,
    /// The VM was seen to run.
    pub runs: bool,
    /// The states of its devices that were seen last.
    #[bits(4)]
    pub first: u8,
    /// ... of the second device.
    #[bits(4)]
    pub second: u8,
    /// What is under way.
    pub queue: [Option<Item>; ROOM],
    /// The group of the last report.
    pub group: bool,
    /// The step of the VMM that the last group is of, if it is one of devices.
    pub step: Option<u8>,
}

/// Both ends.
#[packed]
pub struct Ends {
    /// The source and the destination.
    pub of: [End; 2],
    /// The vCPUs of the source have stopped, and the VM has not been said to.
    pub stopping: bool,
    /// The status with which a migration that came to nothing is still to end.
    pub last: Option<Status>,
    /// The source has said that the migration comes to nothing; its thread may not know yet.
    pub gives_up: bool,
    /// The source has reached a destination.
    pub reached: bool,
    /// Management has paused the VM, at the source.
    pub paused: bool,
}

impl End {
    fn new(running: u8, runs: bool) -> Self {
        End {
            heard: false,
            said: Status::None,
            runs,
            first: running,
            second: running,
            queue: [None; ROOM],
            group: false,
            step: None,
        }
    }

    /// The states of its devices that were seen last.
    #[must_use]
    pub fn devices(&self) -> [u8; DEVICES] {
        [self.first, self.second]
    }

    /// What is under way, the oldest first.
    pub fn items(&self) -> impl Iterator<Item = Item> {
        self.queue.into_iter().flatten()
    }

    /// With a report that was seen.
    fn after(mut self, said: Reported) -> Self {
        match said {
            Reported::Status(status) => self.said = status,
            Reported::Runs(runs) => self.runs = runs,
            Reported::Device { at: 0, state } => self.first = state,
            Reported::Device { state, .. } => self.second = state,
            Reported::Pass | Reported::Beyond => {}
        }
        self
    }

    /// As it is when all that is under way was seen.
    #[must_use]
    pub fn in_truth(&self) -> Self {
        self.items().fold(*self, |end, item| end.after(item.said))
    }

    /// The places in the queue of what may be seen next.
    fn open(&self) -> impl Iterator<Item = (usize, Reported)> {
        let is_device = |item: &Item| matches!(item.said, Reported::Device { .. });
        let head = self.queue.first().copied().flatten();
        let places = self.queue.into_iter().flatten().enumerate();
        places
            .take_while(move |(at, item)| {
                let like = head.is_some_and(|head| head.group == item.group && is_device(&head));
                *at == 0 || like && is_device(item)
            })
            .map(|(at, item)| (at, item.said))
    }
}

impl Ends {
    /// Nothing has happened: the VM runs at the source.
    #[must_use]
    pub fn new(running: u8) -> Self {
        let of = [End::new(running, true), End::new(running, false)];
        Ends { of, stopping: false, last: None, gives_up: false, reached: false, paused: false }
    }

    /// With one more report, which is seen at once if nobody watches the end; `step`: of the VMM, if devices are
    /// reported that it sets. None, if there is no room.
    #[must_use]
    pub fn with(&self, end: usize, said: Reported, step: Option<u8>) -> Option<Self> {
        let mut next = *self;
        let here = &mut next.of[end];
        if !here.heard {
            *here = here.after(said);
            return Some(next);
        }
        let is_like = step.is_some() && step == here.step;
        here.group ^= !is_like;
        here.step = step;
        let place = here.queue.iter_mut().find(|place| place.is_none())?;
        *place = Some(Item { group: here.group, said });
        Some(next)
    }

    /// After a report was seen; none, if it is not what comes next.
    #[must_use]
    pub fn seen(&self, end: usize, said: Reported) -> Option<Self> {
        let (place, _) = self.of[end].open().find(|(_, open)| *open == said)?;
        let mut next = *self;
        let here = &mut next.of[end];
        here.queue[place..].rotate_left(1);
        here.queue[ROOM - 1] = None;
        *here = here.after(said);
        Some(next)
    }

    /// Whether an end says again that a migration came to nothing: each thread that notices reports it (QEMU 10.0,
    /// multifd_send_set_error and migration_detect_error).
    #[must_use]
    pub fn repeats(&self, end: usize, said: Reported) -> bool {
        matches!(said, Reported::Status(status) if status.is_failure() && status == self.of[end].said)
    }

    /// What may be seen next at an end.
    pub fn next(&self, end: usize) -> impl Iterator<Item = Reported> {
        self.of[end].open().map(|(_, said)| said)
    }

    /// After an answer; none, if it is neither what was reported nor what is about to be. `is`: whether the vCPUs
    /// run in truth.
    #[must_use]
    pub fn answered(&self, end: usize, (status, runs): (Status, bool), is: bool) -> Option<Self> {
        let here = &self.of[end];
        if !here.heard {
            let mut next = *self;
            next.of[end].heard = true;
            return (here.said == status && here.runs == runs).then_some(next);
        }
        let mut now = *here;
        let allows = |now: &End| now.said == status && (now.runs == runs || is == runs);
        let mut any = allows(&now);
        for item in here.items() {
            now = now.after(item.said);
            any |= allows(&now);
        }
        any.then_some(*self)
    }

    /// After a monitor was closed. A destination that comes after it is another one.
    #[must_use]
    pub fn closed(&self, end: usize, running: u8) -> Self {
        let mut next = *self;
        next.of[end] = match end {
            DESTINATION => End::new(running, false),
            _ => End { heard: false, ..self.of[end].in_truth() },
        };
        next.of[end].queue = [None; ROOM];
        next
    }
}
