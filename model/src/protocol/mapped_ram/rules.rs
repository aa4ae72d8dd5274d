//! What a source may write to a file when.
//!
//! ```text
//!   header --> pages, none twice --synchronised--> pages ... --synchronised--> bitmap --> end
//! ```

use devmig_engine::clause::ClauseId;
use devmig_engine::machine::{Machine, Reaction, Verdict};
use devmig_engine::packed;
use devmig_engine::rules::RuleContext;

use serde_json::{Map, Value};

use super::event::Event;
use super::{CHANNELS, PAGES};

crate::clause_ids! {
    /// The clauses that are judged here.
    pub struct ClauseIds {
        /// `multifd.mapped-ram.header-first`
        header_first: "multifd.mapped-ram.header-first",
        /// `multifd.mapped-ram.page-once`
        page_once: "multifd.mapped-ram.page-once",
        /// `multifd.mapped-ram.sync-waits`
        sync_waits: "multifd.mapped-ram.sync-waits",
        /// `multifd.mapped-ram.bits`
        bits: "multifd.mapped-ram.bits",
        /// `multifd.mapped-ram.bitmap-last`
        bitmap_last: "multifd.mapped-ram.bitmap-last",
    }
}

/// What was written.
#[packed]
pub struct RulesState {
    /// The header.
    pub header: bool,
    /// These pages, since the last synchronisation.
    pub since: [bool; PAGES],
    /// These pages had content when a channel looked at them last.
    pub filled: [bool; PAGES],
    /// These channels write.
    pub under_way: [bool; CHANNELS],
    /// The bitmap.
    pub bitmap: bool,
}

/// The rules.
#[derive(Clone, Copy, Debug)]
pub struct FileRules {
    /// The clauses.
    pub laws: ClauseIds,
    /// How many pages there are.
    pub pages: usize,
}

impl FileRules {
    /// A channel looks at a page: what that breaks.
    fn page(&self, s: &RulesState, page: usize) -> [Option<ClauseId>; 3] {
        let laws = &self.laws;
        [
            (!s.header).then_some(laws.header_first),
            s.since[page].then_some(laws.page_once),
            s.bitmap.then_some(laws.bitmap_last),
        ]
    }
}

impl Machine for FileRules {
    type State = RulesState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "rules"
    }

    /// What was written, the file shows.
    fn describe(&self, _: &RulesState) -> Map<String, Value> {
        Map::new()
    }

    fn on(&self, s: &RulesState, event: &Event, judge: &mut RuleContext) -> Verdict<Self> {
        let laws = &self.laws;
        let writes = s.under_way.iter().any(|under_way| *under_way);
        let one = |is: bool, clause| [is.then_some(clause), None, None];
        let mut next = *s;
        let broken = match *event {
            Event::Header => {
                next.header = true;
                [None; 3]
            }
            Event::Begin(channel, page, content) => {
                let page = usize::from(page);
                next.under_way[usize::from(channel)] = true;
                (next.since[page], next.filled[page]) = (true, content != 0);
                self.page(s, page)
            }
            Event::Zero(_, page) => {
                let page = usize::from(page);
                (next.since[page], next.filled[page]) = (true, false);
                self.page(s, page)
            }
            Event::Landed(channel) => {
                next.under_way[usize::from(channel)] = false;
                [None; 3]
            }
            Event::Synced => {
                next.since = [false; PAGES];
                one(writes, laws.sync_waits)
            }
            Event::Bitmap(bits) => {
                next.bitmap = true;
                let unsynced = s.since.iter().any(|since| *since);
                let right = bits[..self.pages] == s.filled[..self.pages];
                [
                    unsynced.then_some(laws.bitmap_last),
                    s.bitmap.then_some(laws.bitmap_last),
                    (!right).then_some(laws.bits),
                ]
            }
            Event::End => one(!s.bitmap, laws.bitmap_last),
            Event::Write(..) | Event::Stop | Event::Load(_) | Event::LoadAll(_) => {
                return Ok(Reaction::Ignore);
            }
        };
        let broken = broken.into_iter().flatten().find(|clause| judge.enforces(*clause));
        Ok(broken.map_or(Reaction::To(next), Reaction::Violation))
    }
}
