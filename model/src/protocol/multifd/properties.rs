//! What is expected of a multifd migration: over what the destination has and what it did when.

use std::sync::Arc;

use super::threads::destination::{Destination, Joins, size_of};
use super::threads::event::{Event, Main, Packet, Page};
use super::threads::guest::Guest;
use super::threads::judged::Judged;
use super::threads::source::{Job, Source, Step};
use super::threads::{BUFFERS, QUEUES, ROOM};
use crate::protocol::property::{Per, PropertyDefinition};
use devmig_engine::compose::{Action, GlobalStateOf};
use devmig_engine::system::{Test, Transition};

/// Who takes part: the rules, both ends, and the guest.
pub type Parts = (Judged, Source, Destination, Guest);
/// The state of them all.
pub type GlobalState = GlobalStateOf<Parts, QUEUES, ROOM>;
type Seen<'a> = Transition<'a, GlobalState, Event>;

/// What a property needs to know of its system.
#[derive(Clone, Debug)]
pub struct Names {
    /// The program of the source's main thread.
    pub steps: Arc<[Step]>,
    /// Pages.
    pub pages: u8,
    /// Buffers of the device.
    pub buffers: u8,
    /// How much may wait to be loaded.
    pub limit: u8,
}

type D = PropertyDefinition<Names, GlobalState, Event>;

const PAGE: Per<Names> = Per { each: "page", count: |names| usize::from(names.pages) };

fn implies(
    holds: impl Fn(&Seen<'_>) -> Option<bool> + Send + Sync + 'static,
) -> Test<GlobalState, Event> {
    Test::implies(holds)
}

/// The page that the destination reads, if it reads one.
fn page_read(t: &Seen<'_>) -> Option<Page> {
    match t.action {
        Action::Read(Event::Channel(_, Packet::Ram(page, _)) | Event::Main(Main::Page(page))) => {
            Some(*page)
        }
        _ => None,
    }
}

/// The pages in RAM packets that were written and not read.
fn under_way(w: &GlobalState) -> impl Iterator<Item = Page> {
    w.queues[1..].iter().flat_map(|queue| queue.iter()).filter_map(|event| match event {
        Event::Channel(_, Packet::Ram(page, _)) => Some(*page),
        _ => None,
    })
}

/// The main thread of the source is done with a synchronisation.
fn synchronised(names: &Names, t: &Seen<'_>) -> bool {
    let (before, after) = (&t.before.parts.1, &t.after.parts.1);
    let step = names.steps.get(usize::from(before.step));
    let syncs = matches!(step, Some(Step::Sync(_) | Step::Gate));
    syncs && after.step > before.step && !before.failed
}

/// The virtual machine begins to run at the destination.
fn begins(t: &Seen<'_>) -> bool {
    t.after.parts.2.runs && !t.before.parts.2.runs
}

/// A buffer is loaded.
fn loads(t: &Seen<'_>) -> bool {
    t.after.parts.2.loaded > t.before.parts.2.loaded
}

/// A buffer is added to those that wait to be loaded.
fn queues(t: &Seen<'_>) -> bool {
    let event = t.action.event();
    matches!(event, Some(Event::Channel(_, Packet::Device(_)))) && !t.after.parts.2.failed
}

/// The indices of the buffers that wait.
fn waiting(w: &GlobalState) -> impl Iterator<Item = usize> {
    (0..BUFFERS).filter(|index| w.parts.2.queued[*index])
}

/// Every property.
pub const ALL: &[D] = &[
    D::of_each(
        "memory-as-source",
        "multifd.memory.as-source",
        "in the end, if the virtual machine runs, its memory is that of the source",
        PAGE,
        |_, page| {
            Test::at_end_implies(move |w: &GlobalState| {
                let (source, destination) = (&w.parts.1, &w.parts.2);
                destination.runs.then_some(destination.memory[page] == source.memory[page])
            })
        },
    ),
    D::of_system(
        "no-page-before-list",
        "multifd.sync.setup-first",
        "the destination reads no page before the list of RAM blocks",
        |_, _| implies(|t| page_read(t).map(|_| t.before.parts.2.list)),
    ),
    D::of_system(
        "sync-means-written",
        "",
        "when the source has synchronised, every page that it handed over was written",
        |names, _| {
            implies(move |t| {
                let idle = |job: Job| !matches!(job, Job::Page(_));
                let threads = &t.after.parts.1.threads;
                synchronised(&names, t).then(|| threads.iter().all(|one| idle(one.job)))
            })
        },
    ),
    D::of_system(
        "sync-means-received",
        "",
        "when the source has synchronised, the destination has read every page",
        |names, _| {
            implies(move |t| synchronised(&names, t).then(|| under_way(t.after).next().is_none()))
        },
    ),
    D::of_system(
        "mark-means-received",
        "multifd.sync.destination-waits",
        "when the destination acts on a mark, it has read every page of the epoch that it ends",
        |_, _| {
            implies(|t| {
                let marks = t.after.parts.2.marks;
                let acts = marks > t.before.parts.2.marks;
                acts.then(|| under_way(t.after).all(|page| page.epoch >= marks))
            })
        },
    ),
    D::of_system(
        "epochs-do-not-overlap",
        "multifd.sync.channel-waits",
        "the destination reads a page after the mark that ends the epoch before, and before its own",
        |_, _| implies(|t| page_read(t).map(|page| page.epoch == t.before.parts.2.marks)),
    ),
    D::of_system(
        "no-page-after-run",
        "multifd.sync.no-pages-after-last",
        "the destination reads no page once the virtual machine runs",
        |_, _| implies(|t| page_read(t).map(|_| !t.before.parts.2.runs)),
    ),
    D::of_system(
        "one-owner",
        "multifd.sync.one-owner",
        "an object that was handed over belongs to the channel alone",
        |_, _| {
            implies(|t| {
                let source = &t.after.parts.1;
                let given = source.threads.iter().any(|one| one.job != Job::None);
                given.then_some(source.shared == 0)
            })
        },
    ),
    D::of_system(
        "destination-runs",
        "",
        "the virtual machine can run at the destination",
        |_, _| Test::reachable(begins),
    ),
    D::of_system(
        "in-order",
        "multifd.device.in-order",
        "buffers of a device are loaded in the order of their indices, from 0 on",
        |_, _| {
            implies(|t| {
                let (before, after) = (&t.before.parts.2, &t.after.parts.2);
                loads(t).then_some(after.next == before.loaded + 1)
            })
        },
    ),
    D::of_system(
        "everything-loaded",
        "multifd.device.whole",
        "the virtual machine runs once every buffer that the source handed over was loaded",
        |names, _| implies(move |t| begins(t).then_some(t.after.parts.2.loaded == names.buffers)),
    ),
    D::of_system(
        "config-after-iterables",
        "multifd.device.config-after-iterables",
        "the configuration is loaded after the state of all other devices",
        |_, _| {
            implies(|t| {
                let (before, after) = (&t.before.parts.2, &t.after.parts.2);
                (after.configured && !before.configured).then_some(before.iterables)
            })
        },
    ),
    D::of_system(
        "loads-after-start",
        "multifd.device.switchover-start",
        "a buffer is loaded once SWITCHOVER_START was read",
        |_, _| implies(|t| loads(t).then_some(t.before.parts.2.started)),
    ),
    D::of_system(
        "locks-in-order",
        "multifd.device.lock-order",
        "the main thread takes the lock of the buffers without the big lock",
        |_, _| {
            implies(|t| {
                let main = |w: &GlobalState| w.parts.2.locks.main;
                let takes = main(t.before) != Joins::Looks && main(t.after) == Joins::Looks;
                takes.then_some(main(t.before) == Joins::Released)
            })
        },
    ),
    D::of_system(
        "count-within-limit",
        "multifd.device.queue-bounded",
        "at most `limit` buffers wait to be loaded",
        |names, _| {
            implies(move |t| {
                queues(t).then(|| waiting(t.after).count() <= usize::from(names.limit))
            })
        },
    ),
    D::of_system(
        "size-within-limit",
        "multifd.device.queue-bounded",
        "the buffers that wait to be loaded have at most the size `limit`",
        |names, _| {
            implies(move |t| {
                let size = || waiting(t.after).map(size_of).sum::<usize>();
                queues(t).then(|| size() <= usize::from(names.limit))
            })
        },
    ),
    D::of_system(
        "array-within-limit",
        "multifd.device.queue-bounded",
        "the array of buffers has at most `limit` entries before the first that waits",
        |names, _| {
            implies(move |t| {
                let most = || waiting(t.after).max().map_or(0, |index| index + 1);
                let loaded = usize::from(t.after.parts.2.next);
                queues(t).then(|| most().saturating_sub(loaded) <= usize::from(names.limit))
            })
        },
    ),
    D::of_system(
        "failure-noticed",
        "",
        "the main thread of either end can give up after a channel has failed",
        |_, _| Test::reachable(|t: &Seen| t.after.parts.1.gave_up || t.after.parts.2.gave_up),
    ),
    D::of_system(
        "end-accepted",
        "multifd.tls.premature-end",
        "the destination takes the end of a channel for no error",
        |_, _| {
            implies(|t| {
                let event = match t.action {
                    Action::Read(event) => Some(event),
                    _ => None,
                };
                let end = matches!(
                    event,
                    Some(Event::Channel(_, Packet::Closed | Packet::Cut | Packet::Lost))
                );
                (end && !t.before.parts.2.failed).then_some(!t.after.parts.2.failed)
            })
        },
    ),
    D::of_system(
        "takes-over-a-checkpoint",
        "multifd.colo.cache",
        "a destination that takes over has the memory of the source at the last checkpoint",
        |_, _| {
            implies(|t| {
                let (source, destination) = (&t.after.parts.1, &t.after.parts.2);
                let last = usize::from(destination.checkpoints).checked_sub(1)?;
                let checkpoint = source.checkpoints.get(last)?;
                begins(t).then_some(destination.memory == checkpoint.memory)
            })
        },
    ),
    D::of_system(
        "buffers-accepted",
        "multifd.device.index-once",
        "the destination accepts every buffer",
        |_, _| {
            implies(|t| {
                let event = t.action.event();
                let buffer = matches!(event, Some(Event::Channel(_, Packet::Device(_))));
                buffer.then_some(!t.after.parts.2.failed)
            })
        },
    ),
    D::of_system(
        "sent-is-loaded",
        "multifd.device.config-last",
        "the virtual machine runs once every buffer that was written was loaded",
        |_, _| {
            implies(|t| {
                let written = |w: &GlobalState| w.parts.0.indices.iter().filter(|i| **i).count();
                begins(t).then(|| usize::from(t.after.parts.2.loaded) == written(t.after))
            })
        },
    ),
];
