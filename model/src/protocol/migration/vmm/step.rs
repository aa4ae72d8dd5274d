//! The steps of a VMM's program: what a line can be.

use std::fmt::Write as _;

use super::super::event::DEVICES;
use crate::protocol::program::unknown_step;
use crate::protocol::vfio::table::Table;
use crate::spec::{Diagnostics, Item, Spanned, did_you_mean, number, with_help};

/// What a step can be, and what it means (shown by `devmig proposal words`).
pub const STEPS: &[(&str, &str)] = &[
    ("check", "refuse the migration, if `migration.untracked` says so"),
    ("log start", "dirty logging begins: KVM, the IOMMU, and devices that log"),
    ("log stop", "dirty logging ends"),
    ("mark all", "all pages are to be sent"),
    ("pre-copy", "send and sync until the threshold is reached, then decide to switch over"),
    ("ask again", "GET_PRECOPY_INFO: has a device new initial bytes since the decision?"),
    ("sync", "read the logs, and mark the pages"),
    ("recheck", "give up if more is left than the limit allows, if `migration.recheck` says so"),
    ("send all", "send every marked page"),
    ("SIDE set STATE", "SET each device of `source` or `destination` to the state"),
    ("SIDE set STATE or STATE if there", "... to the first of these states that it has"),
    (
        "SIDE set STATE where STATE else STATE",
        "... to the first if it has the second, or to the third",
    ),
    ("SIDE N set STATE", "SET the device N alone"),
    ("SIDE reset", "VFIO_DEVICE_RESET of each device"),
    (
        "SIDE opt in",
        "SET PRECOPY_INFOv2 of each device with PRE_COPY, if `migration.switchover-ack` is on",
    ),
    ("SIDE vcpus run", "the vCPUs run there, if they ran when the migration began"),
    ("SIDE vcpus stop", "they stop"),
    ("SIDE lock", "take what only one host may hold"),
    ("SIDE unlock", "give it up"),
    (
        "device state",
        "read the state of each device at the source, and write it at the destination",
    ),
    ("device N state", "... of the device N alone"),
    ("config", "the destination loads the configuration of each device"),
    ("complete", "the VMM says that the migration is complete"),
];

/// One of the two hosts, by what it is in a migration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Where the VM runs.
    Source,
    /// Where it is to run.
    Destination,
}

/// One step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Refuse, if a policy says so.
    Check,
    /// Logs on or off.
    Log(bool),
    /// All pages are to be sent.
    MarkAll,
    /// Rounds.
    PreCopy,
    /// Ask devices for new initial bytes.
    AskAgain,
    /// Read the logs.
    Sync,
    /// Test the limit.
    Recheck,
    /// Send what is marked.
    SendAll,
    /// SET each device, or one, to the first state that it has.
    Set(Side, Option<u8>, Vec<u8>),
    /// Reset each device.
    Reset(Side),
    /// Opt in to new initial bytes.
    OptIn(Side),
    /// Run the vCPUs, or stop them.
    Vcpus(Side, bool),
    /// Take the lock, or give it up.
    Lock(Side, bool),
    /// Transfer the state of each device, or of one.
    State(Option<u8>),
    /// Load the configuration of each.
    Config,
    /// The end.
    Complete,
}

impl Step {
    /// Whether it is done for each device, one after the other.
    #[must_use]
    pub fn is_of_each_device(&self) -> bool {
        matches!(
            self,
            Step::AskAgain
                | Step::OptIn(_)
                | Step::Set(..)
                | Step::Reset(_)
                | Step::State(_)
                | Step::Config
        )
    }

    /// The step of a line.
    pub fn compile<T>(
        table: &Table,
        item: &Item<T>,
        line: &Spanned<String>,
        d: &mut Diagnostics,
    ) -> Option<Step> {
        let words: Vec<&str> = line.get_ref().split_whitespace().collect();
        Some(match words.as_slice() {
            ["check"] => Step::Check,
            ["log", "start"] => Step::Log(true),
            ["log", "stop"] => Step::Log(false),
            ["mark", "all"] => Step::MarkAll,
            ["pre-copy"] => Step::PreCopy,
            ["ask", "again"] => Step::AskAgain,
            ["sync"] => Step::Sync,
            ["recheck"] => Step::Recheck,
            ["send", "all"] => Step::SendAll,
            ["device", "state"] => Step::State(None),
            ["device", number, "state"] if device(number).is_some() => Step::State(device(number)),
            ["config"] => Step::Config,
            ["complete"] => Step::Complete,
            [side @ ("source" | "destination"), rest @ ..] => {
                let side = if *side == "source" { Side::Source } else { Side::Destination };
                match rest {
                    ["reset"] => Step::Reset(side),
                    ["opt", "in"] => Step::OptIn(side),
                    ["vcpus", "run"] => Step::Vcpus(side, true),
                    ["vcpus", "stop"] => Step::Vcpus(side, false),
                    ["lock"] => Step::Lock(side, true),
                    ["unlock"] => Step::Lock(side, false),
                    ["set", states @ ..] => {
                        Step::Set(side, None, states_of(table, states, item, line, d)?)
                    }
                    [number, "set", states @ ..] if device(number).is_some() => {
                        let states = states_of(table, states, item, line, d)?;
                        Step::Set(side, device(number), states)
                    }
                    _ => return unknown(item, line, d),
                }
            }
            _ => return unknown(item, line, d),
        })
    }
}

fn unknown<T>(item: &Item<T>, line: &Spanned<String>, d: &mut Diagnostics) -> Option<Step> {
    unknown_step(item, line, STEPS.iter().map(|(step, _)| *step), d);
    None
}

fn device(word: &str) -> Option<u8> {
    number(word)
        .and_then(|device| u8::try_from(device).ok())
        .filter(|at| usize::from(*at) < DEVICES)
}

/// `STATE`, or `STATE or STATE if there`: values of states, and [`SKIP`] if it is only done where there.
fn states_of<T>(
    table: &Table,
    words: &[&str],
    item: &Item<T>,
    line: &Spanned<String>,
    d: &mut Diagnostics,
) -> Option<Vec<u8>> {
    let (names, there) = match words {
        [names @ .., "if", "there"] => (names, true),
        names => (names, false),
    };
    let is_divided = matches!(names, [_, "where", _, "else", _]);
    let mut states = Vec::new();
    for (at, name) in names.iter().enumerate() {
        if at % 2 == 1 && (*name == "or" || is_divided) {
            continue;
        }
        let Some(state) = table.named(name) else {
            let mut message = String::new();
            let _ = write!(message, "no state is called `{name}`");
            let known = table.states.iter().map(|state| state.name.as_str());
            let error = item.error(line.span(), message, "unknown");
            d.push(with_help(error, did_you_mean(name, known)));
            return None;
        };
        states.push(state.value);
    }
    if states.is_empty() || names.len() != 2 * states.len() - 1 {
        return unknown(item, line, d).map(|_| Vec::new());
    }
    if there {
        states.push(SKIP);
    }
    if is_divided {
        states.push(WHERE);
    }
    Some(states)
}

/// Among the states of a SET: a device that has none of those before it is passed over.
pub const SKIP: u8 = u8::MAX;
/// Among the states of a SET: the first is for devices that have the second, the third for others.
pub const WHERE: u8 = SKIP - 1;
