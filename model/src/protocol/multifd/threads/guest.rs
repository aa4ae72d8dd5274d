//! The vCPUs, which write pages until they are stopped.

use devmig_engine::machine::{Machine, Party, Reaction, Stimulus, Verdict};
use devmig_engine::packed;
use devmig_engine::rules::RuleContext;

use super::event::{Event, GUEST};

/// What is remembered of the guest.
#[packed]
pub struct GuestState {
    /// The vCPUs are stopped.
    pub stopped: bool,
    /// How many pages were written.
    #[bits(2)]
    pub writes: u8,
}

/// A guest that writes so often.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// How many pages it has.
    pub pages: u8,
    /// How often it writes at most.
    pub writes: u8,
}

impl Machine for Guest {
    type State = GuestState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "guest"
    }

    fn plays(&self, party: Party) -> bool {
        party == GUEST
    }

    fn on(&self, s: &GuestState, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        Ok(match event {
            Event::Write(_) if s.stopped || s.writes >= self.writes => Reaction::Disabled,
            Event::Write(_) => Reaction::To(GuestState { writes: s.writes + 1, ..*s }),
            Event::Stop => Reaction::To(GuestState { stopped: true, ..*s }),
            Event::Resume => Reaction::To(GuestState { stopped: false, ..*s }),
            _ => Reaction::Ignore,
        })
    }

    fn stimuli(&self, _: &GuestState, f: &mut dyn FnMut(Stimulus<Event>)) {
        self.domain(&mut |event| f(Stimulus::Guarded(event)));
    }

    fn domain(&self, f: &mut dyn FnMut(Event)) {
        (0..self.pages).map(Event::Write).for_each(f);
    }
}
