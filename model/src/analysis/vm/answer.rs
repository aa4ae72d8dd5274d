//! The answer: what refuses the migration, what is explored, what would have to change.
//!
//! What is explored has two pages of memory, and two pages for the state of each device that has any. Only the
//! order of the limit, of that state, and of state and memory together matters:
//!
//! ```text
//!   limit:      0      below the state     up to state and memory     beyond     unlimited
//!   in pages:   0      1 .. state - 1      state .. state + 1         state + 2  unlimited
//! ```
//!
//! A yes needs a yes at each number of pages of its range.
//!
//! **Invariant.** The model has whole numbers of pages, and a VM's threshold is none, unless it is 0. `<` and
//! `<=` are one for it, so that what versions do about a threshold that is met exactly counts for 0 alone.

use std::collections::HashMap;
use std::fmt::Write as _;

use devmig_engine::clause::ChoiceId;
use devmig_engine::explore::trace::{self, Line, wrapped};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::migrating::{ASKED, Asked, base};
use super::super::{Error, Explorer};
use super::change::{self, Change, Changes, MOST_CHANGES};
use super::{DEVICES, Device, Vm};
use crate::protocol::migration::names::Acknowledge;
use crate::protocol::migration::tracking::Gives;
use crate::protocol::migration::vmm::{Known, Limit, Tracker};
use crate::registry::Library;

/// Sets of changes that the console shows.
const SHOWN: usize = 12;
/// Pages that are explored.
const PAGES: u8 = 2;
/// The state of a device that has any, in pages.
const STATE: u8 = 2;

/// What tracks the writes of a VM without devices.
const NO_DEVICE: &str = "Only vCPUs write, and KVM logs what they write.";

/// Why a VM cannot migrate.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Reason {
    /// Who says so: `monitor`, `devices`, `limit`, `bandwidth`, or the name of the property that is violated.
    pub by: String,
    /// A message, or what does not hold.
    pub says: String,
    /// What it means.
    pub text: String,
    /// The shortest trace of the model, if a property is violated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Vec<Line>>,
    /// The number of the first event of a cycle that then repeats without end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycle_at: Option<usize>,
}

impl Reason {
    fn new(by: &str, says: impl Into<String>, text: impl Into<String>) -> Self {
        let (by, says, text) = (by.to_owned(), says.into(), text.into());
        Reason { by, says, text, trace: None, cycle_at: None }
    }
}

/// How long the VM is stopped.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Downtime {
    /// The least, in ms, if it migrates: what is always sent after the stop; `null`: unknown.
    pub least_ms: Option<u64>,
    /// What that is, in words.
    pub text: String,
}

/// Whether a VM can migrate.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Answer {
    /// The version of this form: 1.
    pub schema: u32,
    /// Whether it can; `null`: a bound cut a run short that would decide it.
    pub can_migrate: Option<bool>,
    /// What tracks the writes of its devices; `null`: it has none.
    pub tracked_by: Option<Gives>,
    /// What that means.
    pub tracked_by_text: String,
    /// How long it is stopped.
    pub downtime: Downtime,
    /// Why it cannot; empty, if it can.
    pub reasons: Vec<Reason>,
    /// Conditions of the hosts that were not looked at.
    pub conditions: Vec<String>,
    /// Sets of at most three changes after which it can, none of which contains another.
    pub changes: Vec<Vec<Change>>,
    /// A bound cut runs short that would decide about further sets.
    pub changes_cut: bool,
}

/// A verdict about one VM.
#[derive(Clone, Debug)]
struct Verdict {
    /// As [`Answer::can_migrate`].
    pub yes: Option<bool>,
    /// As [`Answer::reasons`].
    pub reasons: Vec<Reason>,
}

/// What is explored of a VM, at one limit.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Explored {
    devices: Vec<(u64, Tracker, Option<u8>)>,
    choices: Vec<(ChoiceId, u8)>,
    throttles: bool,
    limit: Limit,
}

/// Asks about VMs; what was explored once is not explored again.
struct Asker<'a> {
    explorer: &'a Explorer<'a>,
    library: &'a Library,
    known: HashMap<Explored, Asked>,
}

impl Answer {
    /// Answers for this VM.
    ///
    /// # Errors
    /// If the model cannot be explored.
    pub fn of(explorer: &Explorer<'_>, library: &Library, vm: &Vm) -> Result<Self, Error> {
        let mut asker = Asker { explorer, library, known: HashMap::new() };
        let Verdict { yes, reasons } = asker.ask(vm)?;
        let tracked =
            library.migration().tracking.tracker(&vm.version, &vm.facts(library)).cloned();
        let tracked = tracked.filter(|_| !vm.devices.is_empty());
        let tracked_by = tracked.as_ref().map(|row| row.gives);
        let capabilities = &library.multifd().capabilities;
        let refusals = capabilities.refusals(&vm.version, &vm.capabilities);
        let conditions = refusals.iter().filter_map(|refusal| {
            let condition = refusal.condition()?;
            Some(format!("{}: {condition}", refusal.capability))
        });
        let changes = match yes {
            Some(false) => {
                change::smallest(library, vm, &mut |vm| asker.ask(vm).map(|verdict| verdict.yes))?
            }
            _ => Changes::default(),
        };
        Ok(Answer {
            schema: 1,
            can_migrate: yes,
            tracked_by,
            tracked_by_text: tracked.map_or_else(|| NO_DEVICE.to_owned(), |row| row.text),
            downtime: downtime(vm, tracked_by),
            reasons,
            conditions: conditions.collect(),
            changes: changes.sets,
            changes_cut: changes.cut,
        })
    }

    /// For the console; with the traces of what is violated, unless it is to be `brief`.
    #[must_use]
    pub fn text(&self, brief: bool) -> String {
        let answer = match self.can_migrate {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not decided: a bound cut a run short",
        };
        let mut out = format!("can this VM migrate: {answer}\n");
        let mut say = |text: &str| {
            let _ = writeln!(out, "{}", wrapped(text, 4));
        };
        say(&format!("  tracked by: {}", self.tracked_by_text));
        say(&format!("  downtime: {}", self.downtime.text));
        for condition in &self.conditions {
            say(&format!("  condition that was not looked at: {condition}"));
        }
        for reason in &self.reasons {
            say(&format!("  no, {}: {}", reason.by, reason.says));
            say(&format!("    {}", reason.text));
        }
        if self.can_migrate == Some(false) {
            say(&match (self.changes.is_empty(), self.changes_cut) {
                (true, false) => format!("  no set of up to {MOST_CHANGES} known changes helps"),
                (true, true) => "  no change was found: a bound cut runs short".to_owned(),
                (false, _) => "  it can after each of these changes:".to_owned(),
            });
        }
        for set in self.changes.iter().take(SHOWN) {
            let words: Vec<String> = set.iter().map(Change::words).collect();
            say(&format!("  - {}", words.join("; and ")));
        }
        if let Some(more) = self.changes.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            say(&format!("  - and {more} more (--format json)"));
        }
        if self.changes_cut && !self.changes.is_empty() {
            say("  a bound cut runs short that would decide about further changes");
        }
        for reason in self.reasons.iter().filter(|_| !brief) {
            if let Some(lines) = &reason.trace {
                let _ = writeln!(out, "\n{}:", reason.by);
                out += &trace::text(lines, reason.cycle_at);
            }
        }
        out
    }
}

/// What is always sent after the stop.
fn downtime(vm: &Vm, tracked_by: Option<Gives>) -> Downtime {
    let all = tracked_by == Some(Gives::None);
    let Some(state) = vm.state() else {
        let text = "unknown, since a device does not say how large its state is".to_owned();
        return Downtime { least_ms: None, text };
    };
    let (amount, what) = match all {
        true => (state.saturating_add(vm.memory), "all of memory and the state of its devices"),
        false if vm.devices.is_empty() => (state, "what is written after the last sync"),
        false => (state, "the state of its devices, and what is written after the last sync"),
    };
    let least_ms = vm.time(amount);
    let text = match least_ms {
        Some(time) => format!("at least {time} ms: {what}"),
        None => format!("without end, since nothing can be sent: {what}"),
    };
    Downtime { least_ms, text }
}

impl Asker<'_> {
    /// Whether this VM can migrate.
    fn ask(&mut self, vm: &Vm) -> Result<Verdict, Error> {
        let reasons = self.refusals(vm);
        if !reasons.is_empty() {
            return Ok(Verdict { yes: Some(false), reasons });
        }
        let (mut yes, mut reasons) = (Some(true), Vec::new());
        for explored in self.explored(vm)? {
            let asked = self.answered(explored)?;
            let own = asked.answers.iter().try_fold(true, |all, answer| Some(all && (*answer)?));
            let violated = asked.answers.contains(&Some(false));
            yes = if violated || yes == Some(false) { Some(false) } else { yes.and(own) };
            for property in &asked.violated {
                if reasons.iter().any(|known: &Reason| known.by == property.name) {
                    continue;
                }
                let meaning =
                    ASKED.iter().find(|(_, _, names, _)| names.contains(&&*property.name));
                let meaning = meaning.map_or("", |(_, meaning, ..)| *meaning);
                let mut reason = Reason::new(&property.name, "this does not hold", meaning);
                (reason.trace, reason.cycle_at) = (property.trace.clone(), property.cycle_at);
                reasons.push(reason);
            }
        }
        Ok(Verdict { yes, reasons })
    }

    /// What refuses the migration before it begins, or keeps it from being asked for.
    fn refusals(&self, vm: &Vm) -> Vec<Reason> {
        let migration = self.library.migration();
        let refused = self.library.multifd().capabilities.refusals(&vm.version, &vm.capabilities);
        let monitor =
            refused.iter().filter(|refusal| refusal.condition().is_none()).map(|refusal| {
                let text = format!("The monitor refuses the capability {}.", refusal.capability);
                Reason::new("monitor", &refusal.message, text)
            });
        let facts = vm.facts(self.library);
        let devices = migration
            .tracking
            .refusals(&vm.version, &facts)
            .map(|row| Reason::new("devices", row.says.clone().unwrap_or_default(), &row.text));
        let ranges = migration.releases.ranges.iter().enumerate();
        let asked =
            ranges.filter(|(at, range)| *at == 0 || vm.layer.as_ref() == Some(&range.layer));
        let limits = asked.filter(|(_, range)| !range.takes(vm.limit)).map(|(_, range)| {
            let limit = change::limit_in_words(vm.limit);
            Reason::new("limit", format!("{} has no limit of {limit}", range.layer), &range.text)
        });
        let bandwidth = (vm.bandwidth == 0).then(|| {
            Reason::new(
                "bandwidth",
                "nothing can be sent",
                "The bandwidth is 0, whatever the limit is.",
            )
        });
        monitor.chain(devices).chain(limits).chain(bandwidth).collect()
    }

    /// What is explored of this VM.
    fn explored(&self, vm: &Vm) -> Result<Vec<Explored>, Error> {
        let migration = self.library.migration();
        let facts = vm.facts(self.library);
        let row = migration.tracking.tracker(&vm.version, &facts);
        let tracker = row.and_then(|row| row.gives.tracker()).unwrap_or(Tracker::None);
        let size = |state: u64| if state > 0 { STATE } else { 0 };
        let devices = stand_ins(vm);
        let devices = devices.iter().map(|device| (device.flags, tracker, device.state.map(size)));
        let has = |name: &str| vm.capabilities.iter().any(|own| own == name);
        let readings = &migration.readings;
        let waits = if has("switchover-ack") { Acknowledge::On } else { Acknowledge::Off };
        let versions = migration.releases.choices(&vm.version).into_iter();
        let exact = vm.limit == Some(0);
        let versions = versions.filter(|(choice, _)| exact || *choice != readings.resync.id());
        let choices = versions.chain([readings.acknowledge.as_option(waits)]).collect();
        let all = Explored {
            devices: devices.collect(),
            choices,
            throttles: has("auto-converge"),
            limit: Limit::Unlimited,
        };
        Ok(limits(vm).into_iter().map(|limit| Explored { limit, ..all.clone() }).collect())
    }

    /// What is known of it, or explored now.
    fn answered(&mut self, explored: Explored) -> Result<&Asked, Error> {
        if !self.known.contains_key(&explored) {
            let mut def = base(self.library)?.clone();
            let pre_copy = self.library.migration().table.named("PRE_COPY");
            let table = &self.library.migration().table;
            let known = |&(flags, tracker, size): &(u64, Tracker, Option<u8>)| Known {
                flags,
                pre_copy: pre_copy.is_some_and(|state| table.supports(flags, state.value)),
                tracker,
                size,
            };
            def.devices = explored.devices.iter().map(known).collect();
            def.common.choices.extend(explored.choices.iter().copied());
            (def.pages, def.limit, def.throttles) = (PAGES, explored.limit, explored.throttles);
            let asked = Asked::of(self.explorer, self.library, &def)?;
            self.known.insert(explored.clone(), asked);
        }
        Ok(&self.known[&explored])
    }
}

/// The devices that are explored: each kind once, and two of a single kind for any number of it.
fn stand_ins(vm: &Vm) -> Vec<&Device> {
    match &vm.devices[..] {
        [only] if only.count > 1 => vec![only; DEVICES],
        kinds => kinds.iter().collect(),
    }
}

/// The limits in pages that have the order of this VM's.
fn limits(vm: &Vm) -> Vec<Limit> {
    let Some(limit) = vm.limit else { return vec![Limit::Unlimited] };
    // What can be sent within it, in MiB per 1000.
    let sent = u128::from(limit) * u128::from(vm.bandwidth);
    let amount = |size: u64| u128::from(size) * 1000;
    let devices = stand_ins(vm);
    let with_state = devices.iter().filter(|device| device.state.is_some_and(|state| state > 0));
    let pages = with_state.count() as u8 * STATE;
    // A device that does not say how large its state is exceeds every limit.
    let state = vm.state().unwrap_or(0);
    let range = if sent == 0 {
        0..=0
    } else if sent < amount(state) {
        1..=pages.saturating_sub(1)
    } else if sent < amount(state.saturating_add(vm.memory)) {
        pages.max(1)..=pages + 1
    } else {
        pages + PAGES..=pages + PAGES
    };
    range.map(Limit::Pages).collect()
}
