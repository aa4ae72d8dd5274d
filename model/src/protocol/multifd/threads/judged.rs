//! The rules of a recording, asked while packets are written.
//!
//! A destination reads a channel up to its SYNC, and then a mark on the main stream. What the source wrote on a
//! channel after its SYNC is therefore of the next epoch, also if it was written before the mark: it is put
//! off until then.
//!
//! Which pages and indices were sent before is worked out here, and [`Multifd`] decides. **Invariant.** The one
//! rule that stands here is about the order between connections, which no recording shows.

use devmig_engine::machine::{Machine, Reaction, Verdict};
use devmig_engine::packed;
use devmig_engine::rules::{OpenChoice, RuleContext};

use serde_json::{Map, Value};

use super::event::{Event, Main, Packet, channel_of};
use super::{BUFFERS, CHANNELS, PAGES};
use crate::protocol::multifd::event::{Buffer, Event as Judgement, Ram};
use crate::protocol::multifd::machine::{Multifd, State};

crate::clause_ids! {
    /// The clause that no recording shows.
    pub struct OrderIds {
        /// `multifd.sync.page-after-mark`
        page_after_mark: "multifd.sync.page-after-mark",
    }
}

/// What was sent, and what the rules remember.
#[packed]
pub struct JudgedState {
    /// Of the rules.
    pub rules: State<CHANNELS, 1>,
    /// These pages were sent on a channel in this epoch.
    pub sent: [bool; PAGES],
    /// These were sent on the main stream.
    pub main: [bool; PAGES],
    /// These were sent on a channel after its SYNC, so in the next epoch.
    pub next: [bool; PAGES],
    /// Buffers with these indices were sent.
    pub indices: [bool; BUFFERS],
    /// The index of the configuration, and whether there is one.
    #[bits(3)]
    pub config: u8,
    /// Channels that have ended.
    pub closed: [bool; CHANNELS],
}

/// The rules, for a source that marks epochs in this way.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// The rules.
    pub rules: Multifd<CHANNELS, 1>,
    /// What no recording shows.
    pub order: OrderIds,
    /// Each end of a section is a mark, not each FLUSH.
    pub per_section: bool,
    /// Whether the state of a device is sent.
    pub device: bool,
}

/// The rules' answer to several events in a row.
struct Asked<'a, 'r> {
    rules: &'a Multifd<CHANNELS, 1>,
    judge: &'a mut RuleContext<'r>,
    state: State<CHANNELS, 1>,
    stopped: Option<Reaction<JudgedState>>,
}

impl Asked<'_, '_> {
    fn ask(&mut self, event: Judgement) -> Result<(), OpenChoice> {
        if self.stopped.is_some() {
            return Ok(());
        }
        match self.rules.on(&self.state, &event, self.judge)? {
            Reaction::To(next) => self.state = next,
            Reaction::Ignore => {}
            Reaction::Disabled => self.stopped = Some(Reaction::Disabled),
            Reaction::Violation(clause) => self.stopped = Some(Reaction::Violation(clause)),
            Reaction::Unspecified(clause) => self.stopped = Some(Reaction::Unspecified(clause)),
        }
        Ok(())
    }
}

impl Machine for Judged {
    type State = JudgedState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "rules"
    }

    /// What was sent, the other parties show.
    fn describe(&self, _: &JudgedState) -> Map<String, Value> {
        Map::new()
    }

    fn on(&self, _: &JudgedState, _: &Event, _: &mut RuleContext) -> Verdict<Self> {
        Ok(Reaction::Ignore)
    }

    fn sent(&self, s: &JudgedState, event: &Event, judge: &mut RuleContext) -> Verdict<Self> {
        let mut next = *s;
        let page_once = self.rules.laws.page_once;
        if let Event::Main(Main::Page(page)) = event
            && (s.sent[usize::from(page.page)] || s.main[usize::from(page.page)])
            && judge.enforces(page_once)
        {
            return Ok(Reaction::Violation(page_once));
        }
        if let Event::Channel(queue, Packet::Ram(..)) = event
            && s.rules.synced[channel_of(*queue)]
            && judge.enforces(self.order.page_after_mark)
        {
            return Ok(Reaction::Violation(self.order.page_after_mark));
        }
        let mut asked = Asked { rules: &self.rules, judge, state: s.rules, stopped: None };
        match *event {
            Event::Channel(queue, packet) => {
                let (channel, number) = (channel_of(queue), queue.0.saturating_sub(1));
                let waits = s.rules.synced[channel];
                let mut ram = Ram::default();
                match packet {
                    Packet::Ram(page, sync) => {
                        let at = usize::from(page.page);
                        let sent = if waits { &mut next.next[at] } else { &mut next.sent[at] };
                        let again = *sent || !waits && s.main[at];
                        ram = Ram { pages: true, again, sync, late: false };
                        *sent = true;
                    }
                    Packet::Sync => ram.sync = true,
                    Packet::Device(of) => {
                        let (index, config) = (usize::from(of.index), of.config);
                        let again = s.indices[index];
                        let configured = s.rules.configured[0];
                        let above = s.indices.iter().skip(index + 1).any(|sent| *sent);
                        let beyond = if config { above } else { configured && of.index > s.config };
                        let buffer = Buffer { device: 0, config, again, beyond };
                        asked.ask(Judgement::Device(number, buffer))?;
                        next.indices[index] = true;
                        if config {
                            next.config = of.index;
                        }
                    }
                    // Whoever ends the connection, it is not the source.
                    Packet::Lost => next.closed[channel] = true,
                    Packet::Closed | Packet::Cut => {
                        asked.ask(Judgement::Closed(number, true))?;
                        if packet == Packet::Cut {
                            asked.ask(Judgement::NoBye(number))?;
                        }
                        next.closed[channel] = true;
                        let all = next.closed.iter().take(self.rules.channels).all(|c| *c);
                        if all && self.device {
                            let configured = asked.state.configured[0];
                            let upto = next.indices.iter().take(usize::from(next.config) + 1);
                            let whole = configured && upto.copied().all(|sent| sent);
                            asked.ask(Judgement::Sent(0, whole))?;
                        }
                    }
                }
                let off = waits && ram.pages && !ram.again && !ram.sync;
                if matches!(packet, Packet::Ram(..) | Packet::Sync) && !off {
                    asked.ask(Judgement::Ram(number, ram))?;
                }
            }
            Event::Main(Main::Page(page)) => next.main[usize::from(page.page)] = true,
            Event::Main(Main::Flush) if !self.per_section => self.mark(&mut next, &mut asked)?,
            Event::Main(Main::Eos) if self.per_section => self.mark(&mut next, &mut asked)?,
            Event::Main(Main::Checkpoint) => {
                let sent = (0..PAGES).any(|page| s.sent[page] || s.next[page] || s.main[page]);
                asked.ask(Judgement::Checkpoint(!sent))?;
            }
            Event::Main(Main::End) => {
                asked.ask(Judgement::Last)?;
                // A destination that does not wait for a SYNC any more has not read these.
                if (0..PAGES).any(|page| next.sent[page] || next.next[page]) {
                    asked.ask(Judgement::Ram(0, Ram { pages: true, ..Ram::default() }))?;
                }
                let synced = s.rules.synced.iter().position(|synced| *synced);
                if let Some(channel) = synced {
                    let ram = Ram { sync: true, ..Ram::default() };
                    asked.ask(Judgement::Ram(channel as u8, ram))?;
                }
            }
            _ => return Ok(Reaction::Ignore),
        }
        next.rules = asked.state;
        Ok(asked.stopped.unwrap_or(Reaction::To(next)))
    }
}

impl Judged {
    fn mark(&self, next: &mut JudgedState, asked: &mut Asked<'_, '_>) -> Result<(), OpenChoice> {
        asked.ask(Judgement::Mark)?;
        next.sent = next.next;
        (next.next, next.main) = ([false; PAGES], [false; PAGES]);
        for _ in next.sent.iter().filter(|sent| **sent) {
            asked.ask(Judgement::Ram(0, Ram { pages: true, ..Ram::default() }))?;
        }
        Ok(())
    }
}
