//! What is expected of a whole migration: over what memory and devices hold, and who runs.
//!
//! A property names what it assumes: `downtime-within-limit-if-quiet-in-the-gap` says nothing of a
//! migration in which something was written between the decision and the stop.

use std::sync::Arc;

use super::devices::Devices;
use super::event::{Act, DEVICES, Event, host_of};
use super::memory::{Memory, MemoryState};
use super::vmm::{Limit, Outcome, Phase, Vmm, VmmState};
use crate::protocol::property::{Per, PropertyDefinition};
use crate::protocol::vfio::event::{Act as DeviceAct, Call};
use crate::protocol::vfio::state::State;
use crate::protocol::vfio::table::Table;
use devmig_engine::compose::GlobalStateOf;
use devmig_engine::system::{Test, Transition};

/// Who takes part: the devices of both hosts, memory with the vCPUs, the VMM.
pub type Parts = (Devices, Devices, Memory, Vmm);
/// The state of them all.
pub type GlobalState = GlobalStateOf<Parts, 0, 0>;
type Seen<'a> = Transition<'a, GlobalState, Event>;

/// What a property needs to know of its system.
#[derive(Clone, Debug)]
pub struct Names {
    /// How many devices a host has.
    pub devices: usize,
    /// How many pages memory has.
    pub pages: u8,
    /// The longest downtime.
    pub limit: Limit,
    /// Whether there is a lock.
    pub lock: bool,
    /// Devices with PRE_COPY.
    pub pre_copy: u64,
    /// Each sync marks every page: nothing tracks some device, and the VMM knows.
    pub marks_all: bool,
    /// The logs of devices are read before the migration completes.
    pub asks: bool,
    /// The vCPUs run at first.
    pub runs: bool,
    /// The states of devices.
    pub table: Arc<Table>,
    /// The state RUNNING.
    pub running: u8,
    /// The state STOP_COPY.
    pub stop_copy: u8,
    /// The state STOP.
    pub stop: u8,
}

impl Names {
    /// Whether a device in this state works.
    fn runs_in(&self, state: u8) -> bool {
        self.table.state(state).is_some_and(|state| state.runs)
    }
}

type D = PropertyDefinition<Names, GlobalState, Event>;

const PAGE: Per<Names> = Per { each: "page", count: |names| usize::from(names.pages) };
const DEVICE: Per<Names> = Per { each: "device", count: |names| names.devices };

fn implies(
    holds: impl Fn(&Seen) -> Option<bool> + Send + Sync + 'static,
) -> Test<GlobalState, Event> {
    Test::implies(holds)
}

fn at_end(
    holds: impl Fn(&GlobalState) -> Option<bool> + Send + Sync + 'static,
) -> Test<GlobalState, Event> {
    Test::at_end_implies(holds)
}

fn memory(world: &GlobalState) -> &MemoryState {
    &world.parts.2
}

fn vmm(world: &GlobalState) -> &VmmState {
    &world.parts.3
}

fn devices(world: &GlobalState, host: u8) -> &[State; DEVICES] {
    if host == 0 { &world.parts.0.each } else { &world.parts.1.each }
}

/// The act of the VMM, a vCPU or a device in this transition.
fn act(t: &Seen) -> Option<Act> {
    Some(t.action.event()?.act)
}

/// The VM begins to run at the destination: its vCPUs, or nothing more is to come.
fn taken_over(t: &Seen) -> bool {
    let at_destination = |host: u8| host != vmm(t.before).source;
    match t.action.event() {
        Some(Event { host, act: Act::Vcpus(true) }) => at_destination(*host),
        Some(Event { act: Act::Complete, .. }) => !memory(t.before).runs.contains(&true),
        _ => false,
    }
}

/// A device of the destination begins to run.
fn begins(names: &Names, t: &Seen, at: usize) -> bool {
    let there = 1 - vmm(t.before).source;
    let of = |world| devices(world, there)[at].at;
    let migrates = vmm(t.before).phase == Phase::Migrates;
    migrates && !names.runs_in(of(t.before)) && names.runs_in(of(t.after))
}

/// Pages of which somebody knows that they are to be sent.
fn known(names: &Names, world: &GlobalState) -> u64 {
    let (memory, vmm) = (memory(world), vmm(world));
    if names.marks_all {
        return u64::MAX;
    }
    let logs = devices(world, vmm.source).iter().filter(|_| names.asks);
    let logs = logs.map(|device| device.log.dirty | device.log.found);
    logs.fold(vmm.marked | memory.kvm | memory.iommu, |all, log| all | log)
}

/// Whether a failed migration is over, and what is left of it.
fn failed(world: &GlobalState) -> bool {
    vmm(world).phase == Phase::Ended && vmm(world).outcome == Outcome::Failed
}

/// Every property.
pub const ALL: &[D] = &[
    D::of_each(
        "stale-page-is-known",
        "migration.memory.known",
        "while pages are copied, a page whose copy is old is marked or in a log",
        PAGE,
        |names, page| {
            implies(move |t| {
                let (vmm, memory) = (vmm(t.after), memory(t.after));
                let here = vmm.copying && vmm.phase == Phase::Migrates;
                let open = here && !memory.runs[usize::from(1 - vmm.source)];
                (open && memory.stale >> page & 1 == 1)
                    .then(|| known(&names, t.after) >> page & 1 == 1)
            })
        },
    ),
    D::of_each(
        "memory-equal-when-the-destination-runs",
        "migration.memory.equal",
        "when the destination runs, its memory is the source's",
        PAGE,
        |_, page| implies(move |t| taken_over(t).then(|| memory(t.before).stale >> page & 1 == 0)),
    ),
    D::of_system(
        "destination-uses-no-old-page",
        "migration.postcopy.waits",
        "vCPUs of the destination use a page that has arrived, and wait for any other",
        |_, _| {
            implies(|t| match t.action.event()? {
                Event { host, act: Act::Write(page) } => {
                    let (vmm, memory) = (vmm(t.before), memory(t.before));
                    let there = *host != vmm.source && vmm.phase == Phase::Migrates;
                    there.then(|| memory.stale >> page & 1 == 0)
                }
                _ => None,
            })
        },
    ),
    D::of_system(
        "page-of-the-destination-stays",
        "migration.postcopy.once",
        "a page that the destination has written is not sent to it any more",
        |_, _| {
            implies(|t| match act(t)? {
                Act::Send(page) if memory(t.before).runs[usize::from(1 - vmm(t.before).source)] => {
                    Some(memory(t.before).there >> page & 1 == 0)
                }
                _ => None,
            })
        },
    ),
    D::of_each(
        "device-equal-when-it-runs",
        "migration.devices.equal",
        "when a device of the destination begins to run, the state inside is that of the source's device",
        DEVICE,
        |names, at| {
            implies(move |t| {
                let source = vmm(t.before).source;
                let inside = |host: u8| devices(t.after, host)[at].inside;
                begins(&names, t, at).then(|| inside(source) == inside(1 - source))
            })
        },
    ),
    D::of_system(
        "the-devices-are-those-of-the-beginning",
        "migration.devices.stay",
        "when the destination runs, the source has the devices that it had when the migration began",
        |_, _| {
            implies(|t| {
                let (vmm, parts) = (vmm(t.before), &t.before.parts);
                let source = if vmm.source == 0 { &parts.0 } else { &parts.1 };
                taken_over(t).then_some(source.attached == vmm.began)
            })
        },
    ),
    D::of_each(
        "device-runs-at-one-host",
        "migration.run.one",
        "when a device of the destination begins to run, the source's does not",
        DEVICE,
        |names, at| {
            implies(move |t| {
                let there = devices(t.after, vmm(t.before).source)[at].at;
                begins(&names, t, at).then(|| !names.runs_in(there))
            })
        },
    ),
    D::of_each(
        "stopped-device-does-not-change",
        "migration.stop.together",
        "while a device of the source stands still, the state inside stays as it is",
        DEVICE,
        |names, at| {
            implies(move |t| {
                let source = vmm(t.before).source;
                let (before, after) = (devices(t.before, source)[at], devices(t.after, source)[at]);
                let stands = |at: u8| at == names.stop_copy || at == names.stop;
                (stands(before.at) && stands(after.at)).then_some(before.inside == after.inside)
            })
        },
    ),
    D::of_system(
        "never-two-runners",
        "migration.run.one",
        "the vCPUs never run at both hosts",
        |_, _| {
            implies(|t| match act(t)? {
                Act::Vcpus(true) => Some(memory(t.after).runs != [true, true]),
                _ => None,
            })
        },
    ),
    D::of_system(
        "runner-holds-the-lock",
        "migration.run.lock",
        "where vCPUs begin to run, the lock is held, and nowhere else",
        |names, _| {
            implies(move |t| match t.action.event()? {
                Event { host, act: Act::Vcpus(true) } if names.lock => {
                    let locks = memory(t.before).locks;
                    Some(locks[usize::from(*host)] && locks != [true, true])
                }
                _ => None,
            })
        },
    ),
    D::of_each(
        "state-saved-after-the-vcpus-stop",
        "migration.stop.vcpus-first",
        "the state that is saved at the end is read while no vCPU runs",
        DEVICE,
        |names, at| {
            implies(move |t| {
                let source = vmm(t.before).source;
                let stopped = devices(t.before, source)[at].at == names.stop_copy;
                match act(t)? {
                    Act::Device(event) if event.act == DeviceAct::Call(Call::Read) => {
                        let mine = host_of(event.device) == source
                            && usize::from(event.device) % DEVICES == at;
                        let runs = memory(t.before).runs[usize::from(source)];
                        (mine && stopped).then_some(!runs)
                    }
                    _ => None,
                }
            })
        },
    ),
    D::of_each(
        "configuration-after-everything",
        "migration.config.last",
        "the configuration of a device is loaded after all pages and all state of devices",
        DEVICE,
        |names, at| {
            implies(move |t| match act(t)? {
                Act::Config(device) if usize::from(device) % DEVICES == at => {
                    let (vmm, memory) = (vmm(t.before), memory(t.before));
                    let there = devices(t.before, 1 - vmm.source);
                    let all = there.iter().take(names.devices).all(|device| device.stream.last);
                    Some(memory.stale == 0 && all)
                }
                _ => None,
            })
        },
    ),
    D::of_system(
        "switch-over-after-a-sync",
        "migration.switchover.fresh",
        "the VMM decides to switch over on what the logs said, and not on what it knew before",
        |_, _| {
            implies(|t| match act(t)? {
                Act::SwitchOver => Some(vmm(t.before).fresh),
                _ => None,
            })
        },
    ),
    D::of_system(
        "downtime-within-limit-if-quiet-in-the-gap",
        "migration.downtime.limit",
        "if nothing is written between the decision and the stop, what is sent in the downtime is within \
         the limit",
        |names, _| {
            implies(move |t| {
                let Limit::Pages(limit) = names.limit else { return None };
                let quiet = taken_over(t) && !memory(t.before).gap;
                quiet.then(|| vmm(t.before).spent <= limit)
            })
        },
    ),
    D::of_system(
        "downtime-within-limit",
        "migration.downtime.limit",
        "what is sent in the downtime is within the limit",
        |names, _| {
            implies(move |t| {
                let Limit::Pages(limit) = names.limit else { return None };
                taken_over(t).then(|| vmm(t.before).spent <= limit)
            })
        },
    ),
    D::of_system(
        "switch-over-after-initial-bytes",
        "migration.switchover.acknowledged",
        "when the VMM decides to switch over, the destination has the initial bytes of each device",
        |names, _| {
            implies(move |t| match act(t)? {
                Act::SwitchOver if names.pre_copy != 0 => {
                    Some(vmm(t.before).loaded & names.pre_copy == names.pre_copy)
                }
                _ => None,
            })
        },
    ),
    D::of_system("can-complete", "", "a migration can complete", |_, _| {
        Test::reachable(|t: &Seen| act(t) == Some(Act::Complete))
    }),
    D::of_system("ends", "migration.vmm.ends", "a migration ends, well or not", |_, _| {
        Test::leads_to(
            |world| vmm(world).phase == Phase::Migrates,
            |world| vmm(world).phase == Phase::Ended,
        )
    }),
    D::of_system("completes", "", "a migration completes", |_, _| {
        Test::leads_to(
            |world| vmm(world).phase == Phase::Migrates,
            |world| vmm(world).outcome == Outcome::Completed,
        )
    }),
    D::of_system(
        "failure-leaves-the-source-as-it-was",
        "migration.failure.source",
        "after a failure the source runs if it did before, with its devices, and holds what it held",
        |names, _| {
            at_end(move |world| {
                let source = vmm(world).source;
                let memory = memory(world);
                let mine = usize::from(source);
                let vcpus = memory.runs[mine] == names.runs && !memory.runs[1 - mine];
                let lock = !names.lock || memory.locks[mine] && !memory.locks[1 - mine];
                let mut all = devices(world, source).iter().take(names.devices);
                failed(world).then(|| {
                    vcpus && lock && (!names.runs || all.all(|device| device.at == names.running))
                })
            })
        },
    ),
    D::of_system(
        "failure-leaves-nothing-behind",
        "migration.failure.clean",
        "after a failure no log is on, no vCPU is slowed, and the devices of the destination are as new",
        |names, _| {
            at_end(move |world| {
                let (memory, vmm) = (memory(world), vmm(world));
                let logs = devices(world, vmm.source).iter().take(names.devices);
                let there = devices(world, 1 - vmm.source).iter().take(names.devices);
                failed(world).then(|| {
                    !memory.logs
                        && !memory.slowed
                        && logs.clone().all(|device| !device.log.on)
                        && there.clone().all(|device| device.at == names.running)
                })
            })
        },
    ),
];
