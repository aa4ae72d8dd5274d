//! What is expected of a migration to a file.

use super::PAGES;
use super::event::Event;
use super::file::{Destination, File};
use super::rules::FileRules;
use super::source::{Guest, Source};
use crate::protocol::property::{Per, PropertyDefinition};
use devmig_engine::compose::GlobalStateOf;
use devmig_engine::system::{Test, Transition};

/// Who takes part: the rules, the source, the file, the destination, and the guest.
pub type Parts = (FileRules, Source, File, Destination, Guest);
/// The state of them all.
pub type GlobalState = GlobalStateOf<Parts, 0, 0>;
type Seen<'a> = Transition<'a, GlobalState, Event>;

/// What a property needs to know of its system.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Pages.
    pub pages: usize,
}

type D = PropertyDefinition<Names, GlobalState, Event>;

const PAGE: Per<Names> = Per { each: "page", count: |names| names.pages };

fn event<'a>(t: &Seen<'a>) -> Option<&'a Event> {
    t.action.event()
}

/// Every property.
pub const ALL: &[D] = &[
    D::of_each(
        "memory-as-source",
        "multifd.memory.as-source",
        "in the end, the memory of the destination is that of the source",
        PAGE,
        |_, page| {
            Test::at_end_implies(move |w: &GlobalState| {
                let (source, destination) = (&w.parts.1, &w.parts.3);
                destination.runs.then_some(destination.memory[page] == source.memory[page])
            })
        },
    ),
    D::of_system(
        "no-page-before-header",
        "multifd.mapped-ram.header-first",
        "a page is written once its place is known",
        |_, _| {
            Test::implies(|t: &Seen| {
                let writes = matches!(event(t), Some(Event::Begin(..)));
                writes.then_some(t.before.parts.0.header)
            })
        },
    ),
    D::of_system(
        "one-write-of-a-page",
        "multifd.mapped-ram.page-once",
        "no two writes of one page are under way",
        |_, _| {
            Test::implies(|t: &Seen| {
                let Some(Event::Begin(_, page, _)) = event(t) else { return None };
                let under_way = t.before.parts.2.under_way.iter();
                let same = |write: &&super::file::UnderWay| write.is && write.page == *page;
                Some(under_way.filter(same).count() == 0)
            })
        },
    ),
    D::of_system(
        "synchronised-means-stored",
        "multifd.mapped-ram.sync-waits",
        "when the source has synchronised, every page that a channel wrote is in the file",
        |_, _| {
            Test::implies(|t: &Seen| {
                let synced = matches!(event(t), Some(Event::Synced));
                synced.then(|| t.before.parts.2.under_way.iter().all(|write| !write.is))
            })
        },
    ),
    D::of_system(
        "bitmap-means-stored",
        "multifd.mapped-ram.bitmap-last",
        "when the bitmap is written, every page is in the file, and none is written after it",
        |_, _| {
            Test::implies(|t: &Seen| {
                let (before, after) = (&t.before.parts, &t.after.parts);
                let marks = matches!(event(t), Some(Event::Bitmap(_)));
                let marked = before.0.bitmap && matches!(event(t), Some(Event::Begin(..)));
                (marks || marked).then(|| after.2.under_way.iter().all(|write| !write.is))
            })
        },
    ),
    D::of_each(
        "bit-means-content",
        "multifd.mapped-ram.bits",
        "when the bitmap is written, a page has a bit exactly if it is not zero",
        PAGE,
        |_, page| {
            Test::implies(move |t: &Seen| {
                let Some(Event::Bitmap(bits)) = event(t) else { return None };
                let source = &t.before.parts.1;
                let still = source.stopped && source.log == [false; PAGES];
                still.then(|| bits[page] == (source.memory[page].content != 0))
            })
        },
    ),
    D::of_system(
        "read-when-ended",
        "multifd.mapped-ram.reads-whole",
        "the destination reads the file after its end",
        |_, _| {
            Test::implies(|t: &Seen| {
                let reads = matches!(event(t), Some(Event::Load(_) | Event::LoadAll(_)));
                reads.then_some(t.before.parts.2.ended)
            })
        },
    ),
    D::of_each(
        "clear-means-zero",
        "multifd.mapped-ram.clear-is-zero",
        "a page whose bit is clear is zero at the destination",
        PAGE,
        |_, page| {
            Test::implies(move |t: &Seen| {
                let reads = matches!(event(t), Some(Event::Load(_) | Event::LoadAll(_)));
                let clear = !t.before.parts.2.bitmap[page];
                (reads && clear).then(|| t.after.parts.3.memory[page].content == 0)
            })
        },
    ),
    D::of_system(
        "source-ends-alone",
        "multifd.mapped-ram.no-return-path",
        "the source can end the migration before a destination reads the file",
        |_, _| {
            Test::reachable(|t: &Seen| {
                matches!(event(t), Some(Event::End)) && !t.before.parts.3.runs
            })
        },
    ),
    D::of_system(
        "stale-place",
        "",
        "a file can hold an old content at the place of a page that is zero",
        |names, _| {
            Test::reachable(move |t: &Seen| {
                let file = &t.after.parts.2;
                let stale = |page: usize| !file.bitmap[page] && file.pages[page].content != 0;
                matches!(event(t), Some(Event::End)) && (0..names.pages).any(stale)
            })
        },
    ),
    D::of_system(
        "destination-runs",
        "",
        "the virtual machine can run at the destination",
        |_, _| Test::reachable(|t: &Seen| t.after.parts.3.runs && !t.before.parts.3.runs),
    ),
];
