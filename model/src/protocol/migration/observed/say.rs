//! The projection: what QEMU reports of each step of a migration.
//!
//! | step | the source reports | the destination reports |
//! |---|---|---|
//! | it waits for a migration | | MIGRATION setup |
//! | the migration begins | MIGRATION setup | |
//! | the source reaches it | | MIGRATION active |
//! | all pages are to be sent | MIGRATION active | |
//! | a device is set, and has done it | VFIO_MIGRATION | VFIO_MIGRATION |
//! | vCPUs and devices have stopped | STOP; MIGRATION device, or pre-switchover and device | |
//! | the first device is to run again | | RESUME; with `-S` MIGRATION completed before it |
//! | the destination runs | MIGRATION completed | MIGRATION completed |
//! | a step fails | MIGRATION failed, or failing or cancelling and the last status later | MIGRATION failed |
//! | the first device is to run again after it | RESUME, if it had stopped | |
//!
//! STOP is reported when everything has stopped, and RESUME before anything runs (QEMU 11.1, do_vm_stop,
//! vm_prepare_start). A VMM that gives up before the stop sets its devices to RUNNING at once.

use super::ends::Ends;
use super::report::{DESTINATION, Reported, SOURCE, Status};
use super::{Inner, Observed, State};
use crate::protocol::migration::event::{Act, DEVICES, Event, host_of};
use crate::protocol::migration::vmm::{Phase, VmmState};
use crate::protocol::vfio::event::{Act as DeviceAct, Answer, Call};
use crate::protocol::vfio::state::State as DeviceState;

/// The ways in which a step may be reported.
struct Ways(Vec<Ends>);

impl Ways {
    /// Each way with these reports after it.
    fn say(&mut self, end: usize, said: &[Reported]) {
        let with =
            |ends: &Ends| said.iter().try_fold(*ends, |ends, said| ends.with(end, *said, None));
        self.0 = self.0.iter().filter_map(with).collect();
    }

    /// Each way with each of these reports.
    fn either(&mut self, end: usize, ways: &[&[Reported]]) {
        let mut all = Vec::new();
        for said in ways {
            let mut one = Ways(self.0.clone());
            one.say(end, said);
            all.extend(one.0);
        }
        self.0 = all;
    }

    /// What all ways have reported at an end.
    fn status(&self, end: usize) -> Option<Status> {
        self.0.first().map(|ends| ends.of[end].in_truth().said)
    }

    /// Whether the VM was said to run there.
    fn runs(&self, end: usize) -> bool {
        self.0.first().is_some_and(|ends| ends.of[end].in_truth().runs)
    }

    fn change(&mut self, change: impl Fn(&mut Ends)) {
        self.0.iter_mut().for_each(change);
    }
}

const STOP: Reported = Reported::Runs(false);
const RESUME: Reported = Reported::Runs(true);
const COMPLETED: Reported = Reported::Status(Status::Completed);
const DEVICE: Reported = Reported::Status(Status::Device);
const PRE_SWITCHOVER: Reported = Reported::Status(Status::PreSwitchover);
const FAILED: Reported = Reported::Status(Status::Failed);

/// A step as one number.
fn step(vmm: &VmmState) -> u8 {
    vmm.step | u8::from(vmm.phase == Phase::RollsBack) << 5
}

impl Observed {
    /// The ways in which a step is reported; none, if it cannot be taken before more was seen.
    pub(super) fn say(
        &self,
        (before, ends): (&Inner, &Ends),
        event: Option<&Event>,
        after: &Inner,
    ) -> Vec<Ends> {
        let waits = ends.of[SOURCE].items().next().is_some();
        let mut ways = Ways(vec![*ends]);
        match event.map(|event| event.act) {
            // The destination acts on what the source has sent: what that reported is seen before.
            Some(Act::Device(inner))
                if host_of(inner.device) != 0
                    && (waits || !ends.reached && before.3.phase == Phase::Migrates) =>
            {
                return Vec::new();
            }
            Some(Act::Device(inner)) => {
                let end = usize::from(host_of(inner.device) & 1);
                let at = inner.device % DEVICES as u8;
                let set = match (inner.act, before.3.waits) {
                    (DeviceAct::Answer(Answer::Done | Answer::DoneWithDescriptor), call) => call,
                    _ => None,
                };
                if let Some(Call::Set(to)) = set {
                    self.device(&mut ways, (before, after), (end, at, to));
                }
            }
            // Whatever else the source does, it has reported what was before.
            Some(_) if waits => return Vec::new(),
            // Nothing has begun that could fail.
            Some(Act::Fault) if before.3.step == 0 => return Vec::new(),
            // Once the vCPUs stop, so do the devices: what fails meanwhile is noticed afterwards.
            Some(Act::Fault) if ends.stopping => return Vec::new(),
            Some(Act::Fault) if Self::has_gone(ends) && !ends.gives_up => return Vec::new(),
            Some(Act::Fault) => {}
            // Management has not said yet that it may go on.
            Some(_) if Self::is_held(ends) => return Vec::new(),
            Some(Act::Begin) => {
                ways.say(SOURCE, &[Reported::Status(Status::Setup)]);
                ways.change(|ends| (ends.reached, ends.gives_up) = (false, false));
            }
            Some(Act::MarkAll(_)) if !ends.reached => return Vec::new(),
            Some(Act::MarkAll(_)) if ends.gives_up => {}
            Some(Act::MarkAll(_)) => ways.say(SOURCE, &[Reported::Status(Status::Active)]),
            Some(Act::SwitchOver) if ends.paused && !ends.gives_up => {
                ways.either(SOURCE, &[&[], &[DEVICE], &[PRE_SWITCHOVER]]);
            }
            Some(Act::Vcpus(false)) => ways.change(|ends| ends.stopping = true),
            Some(Act::Vcpus(true))
                if event.is_some_and(|event| event.host == 0) && !ways.runs(SOURCE) =>
            {
                ways.say(SOURCE, &[RESUME]);
            }
            Some(Act::Again) if ends.last.is_some() => return Vec::new(),
            _ => {}
        }
        if before.3.phase == Phase::Migrates && after.3.phase == Phase::RollsBack {
            self.fails(&mut ways);
        }
        // A device has stopped when it has said so.
        let rests = |device: &DeviceState| !self.works(device.at) && device.pending.is_none();
        let stopped = |host: &[DeviceState]| host.iter().take(self.count()).all(rests);
        if ends.stopping || matches!(event, Some(Event { act: Act::Vcpus(false), .. })) {
            let stops = ways.0.first().is_some_and(|ends| ends.stopping) && stopped(&after.0.each);
            if stops {
                ways.change(|ends| ends.stopping = false);
                match ends.gives_up {
                    true => ways.say(SOURCE, &[STOP]),
                    false => {
                        ways.either(SOURCE, &[&[STOP], &[STOP, DEVICE], &[STOP, PRE_SWITCHOVER]])
                    }
                }
            }
        }
        if after.3.committed && !before.3.committed {
            if ends.gives_up {
                return Vec::new();
            }
            if !ends.paused && !ways.runs(DESTINATION) {
                ways.either(DESTINATION, &[&[RESUME], &[COMPLETED, RESUME]]);
            }
            let mut all = Vec::new();
            for ends in ways.0 {
                let mut one = Ways(vec![ends]);
                if one.status(DESTINATION) != Some(Status::Completed) {
                    one.say(DESTINATION, &[COMPLETED]);
                }
                one.say(SOURCE, &[COMPLETED]);
                all.extend(one.0);
            }
            return all;
        }
        ways.0
    }

    /// A device has done what it was set to.
    fn device(
        &self,
        ways: &mut Ways,
        (before, after): (&Inner, &Inner),
        (end, at, to): (usize, u8, u8),
    ) {
        let is = if end == SOURCE { after.0.each } else { after.1.each }[usize::from(at)].at;
        let was = ways.0.first().map(|ends| ends.of[end].in_truth().devices()[usize::from(at)]);
        if was == Some(is) || is != to {
            return;
        }
        let step = step(&before.3);
        let waits = ways.0.iter().flat_map(|ends| ends.of[SOURCE].items()).next().is_some();
        let is_like = ways.0.iter().all(|ends| ends.of[SOURCE].step == Some(step));
        // What the source has reported is seen before it goes on.
        if end == SOURCE && waits && !is_like {
            return ways.0.clear();
        }
        // What the source has given up does not run at the destination.
        if end != SOURCE && self.works(to) && ways.0.iter().any(|ends| ends.gives_up) {
            return ways.0.clear();
        }
        let vcpus = before.2.runs[end];
        let paused = ways.0.iter().all(|ends| ends.paused);
        if self.works(to) && !paused && !vcpus && !ways.runs(end) {
            match end {
                SOURCE => ways.say(SOURCE, &[RESUME]),
                _ => ways.either(DESTINATION, &[&[RESUME], &[COMPLETED, RESUME]]),
            }
        }
        // It did not stop: a device goes from PRE_COPY to RUNNING in one step.
        let rolls_back = before.3.phase == Phase::RollsBack;
        if end == SOURCE && rolls_back && vcpus && to != self.running {
            return;
        }
        let said = Reported::Device { at, state: to };
        ways.0 = ways.0.iter().filter_map(|ends| ends.with(end, said, Some(step))).collect();
    }

    /// A migration comes to nothing.
    fn fails(&self, ways: &mut Ways) {
        if ways.0.first().is_some_and(|ends| ends.stopping) {
            ways.change(|ends| ends.stopping = false);
            ways.say(SOURCE, &[STOP]);
        }
        self.destination_fails(ways);
        if !ways.0.iter().all(|ends| ends.gives_up) {
            Self::gives_up(ways);
        }
    }

    /// The destination may notice that it comes to nothing.
    fn destination_fails(&self, ways: &mut Ways) {
        match ways.status(DESTINATION) {
            Some(Status::Active) if self.may_have_all(ways) => {
                ways.either(DESTINATION, &[&[], &[FAILED], &[COMPLETED]]);
            }
            Some(Status::Setup | Status::Active) => ways.either(DESTINATION, &[&[], &[FAILED]]),
            _ => {}
        }
    }

    /// Whether everything may have been sent: the destination completes then, and does not run.
    fn may_have_all(&self, ways: &Ways) -> bool {
        let is_set = |ends: &Ends| {
            let devices = ends.of[DESTINATION].in_truth().devices();
            devices.iter().take(self.count()).all(|state| *state != self.running)
        };
        !ways.runs(SOURCE) && ways.0.iter().all(is_set)
    }

    /// The source says that a migration comes to nothing.
    fn gives_up(ways: &mut Ways) {
        let mut all = Vec::new();
        for (first, last) in [
            (Status::Failed, None),
            (Status::Failing, Some(Status::Failed)),
            (Status::Cancelling, Some(Status::Cancelled)),
        ] {
            let mut one = Ways(ways.0.clone());
            one.say(SOURCE, &[Reported::Status(first)]);
            one.change(|ends| (ends.last, ends.gives_up) = (last, true));
            all.extend(one.0);
        }
        ways.0 = all;
    }

    /// The source says so before the thread of the migration knows: a monitor cancels it, or another thread fails.
    pub(super) fn gives_up_early(&self, (inner, ends): &State) -> Vec<Ends> {
        let under_way = inner.3.phase == Phase::Migrates && inner.3.step > 0;
        let waits = ends.of[SOURCE].items().next().is_some();
        if !under_way || inner.3.committed || ends.gives_up || waits || Self::has_gone(ends) {
            return Vec::new();
        }
        let mut ways = Ways(vec![*ends]);
        // It closes the connection, too.
        self.destination_fails(&mut ways);
        Self::gives_up(&mut ways);
        ways.0
    }

    /// Whether the destination has begun to run: there is no way back.
    fn has_gone(ends: &Ends) -> bool {
        let there = ends.of[DESTINATION].in_truth();
        there.runs || there.said == Status::Completed
    }

    /// Whether the source waits before the switchover.
    fn is_held(ends: &Ends) -> bool {
        !ends.gives_up && ends.of[SOURCE].in_truth().said == Status::PreSwitchover
    }

    /// Management lets the source go on.
    pub(super) fn goes_on(&self, (_, ends): &State) -> Option<Ends> {
        let held = Self::is_held(ends) && ends.of[SOURCE].items().next().is_none();
        held.then(|| ends.with(SOURCE, DEVICE, None)).flatten()
    }

    /// The source says how a migration ended that came to nothing.
    pub(super) fn ends_at_last(&self, (inner, ends): &State) -> Option<Ends> {
        let last = ends.last.filter(|_| inner.3.phase != Phase::Migrates)?;
        let said = ends.with(SOURCE, Reported::Status(last), None)?;
        Some(Ends { last: None, ..said })
    }

    /// A destination waits for a migration, or the source reaches it.
    pub(super) fn begins_at_the_destination(&self, (inner, ends): &State) -> Vec<Ends> {
        let mut all = Vec::new();
        let there = ends.of[DESTINATION].in_truth().said;
        if there == Status::None {
            all.extend(ends.with(DESTINATION, Reported::Status(Status::Setup), None));
        }
        let begun = inner.3.phase == Phase::Migrates && inner.3.step > 0;
        let waits = ends.of[SOURCE].items().next().is_some();
        if begun && !waits && !ends.reached && there == Status::Setup {
            let active = ends.with(DESTINATION, Reported::Status(Status::Active), None);
            all.extend(active.map(|ends| Ends { reached: true, ..ends }));
        }
        all
    }
}
