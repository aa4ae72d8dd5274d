//! vhost-user systems: a back-end, a guest and a front-end with a program, as data.
//!
//! ```text
//!  systems.toml: run = [...], then = [...], holds = [...], violated = [...]
//!        |  Systems::read, compile (every name resolved, every problem reported)
//!        v
//!  SystemDef --build(rules)--> System<(VhostUser, Guest, FrontEnd)> --> explore
//! ```

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Loaded;
use super::event::{GUEST, MessageId, OUTSIDE};
use super::front_end::FrontEnd;
use super::guest::Guest;
use super::ids::Acknowledged;
use super::machine::{Bounds, VhostUser};
use super::program::{Compiler, Number, Step};
use super::properties::{self, Names, Properties};
use super::state::LOG_ALL;
use super::table::{SOURCE, Table};
use super::vocabulary::Effect;
use crate::protocol::assembly;
use crate::protocol::definition::{Common, Definition, RawSystem};
use crate::protocol::program::Programs;
use crate::protocol::registration::Protocol;
use crate::protocol::ring::{RING, Ring};
use crate::protocol::size::{Bound, Size};
use crate::spec::{Diagnostics, Item, Spanned, Spec, did_you_mean, with_help};
use devmig_engine::clause::ChoiceId;
use devmig_engine::explore::Check;
use devmig_engine::rules::{Choices, Rules};
use devmig_engine::system::{Refinement, System, words_of};

/// The interpretations of one party, as `CHOICE = OPTION`, where they are not those of the system.
#[derive(Clone, Default, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawInterpretations {
    /// The front-end's.
    #[serde(default)]
    front_end: Vec<Spanned<String>>,
    /// The back-end's, by which the system is judged.
    #[serde(default)]
    back_end: Vec<Spanned<String>>,
}

/// A back-end, a guest, and a front-end with a program.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Keys {
    /// Rings, 1 or 2.
    #[serde(default = "one")]
    rings: Spanned<u8>,
    /// Requests that the guest makes available on each ring, 1 to 4.
    #[serde(default = "two")]
    requests: Spanned<u16>,
    /// Protocol features that the back-end offers by name, and `LOG_ALL` of virtio's features.
    #[serde(default)]
    features: Vec<Spanned<String>>,
    /// Further virtio features that it offers, by their bits.
    #[serde(default)]
    virtio: Vec<Spanned<u8>>,
    /// The back-end completes requests in the order in which they were made available.
    #[serde(default)]
    in_order: bool,
    /// The guest never stops making requests.
    #[serde(default)]
    endless: bool,
    /// The configuration space may change at any time.
    #[serde(default)]
    config_changes: bool,
    /// Where the parties hold different interpretations.
    #[serde(default)]
    interpretations: RawInterpretations,
    /// Steps of the front-end.
    run: Vec<Spanned<String>>,
    /// Messages that the front-end may send after its steps, in any order.
    #[serde(default, rename = "then")]
    permissive: Vec<Spanned<String>>,
    /// Version of the vhost-user specification by which it is judged; default: the newest.
    text: Option<Spanned<String>>,
}

fn one() -> Spanned<u8> {
    Spanned::new(0..0, 1)
}

fn two() -> Spanned<u16> {
    Spanned::new(0..0, 2)
}

/// A system, resolved.
#[derive(Clone, Debug)]
pub struct SystemDef {
    /// What every system says.
    pub common: Common,
    /// How many rings.
    pub rings: u8,
    /// What is offered, how many requests.
    pub bounds: Bounds,
    /// The front-end's program.
    pub steps: Vec<Step>,
    /// The same for each number of rings from 1 on, as far as it is not too long.
    pub sized: Vec<Vec<Step>>,
    /// What the front-end may send afterwards.
    pub then: Vec<(MessageId, Option<Number>)>,
    /// The guest never stops making requests.
    pub endless: bool,
    /// The configuration space may change at any time.
    pub config_changes: bool,
    /// The front-end's interpretations, where they are not those of the system.
    pub front_end: Vec<(ChoiceId, u8)>,
}

/// The most rings that are explored.
const RINGS: u8 = 2;
/// The most requests a ring.
const REQUESTS: u16 = 4;

pub use super::state::F_PROTOCOL_FEATURES;

/// Resolves one item.
pub fn compile(
    (spec, table, programs): (&Spec, &Table, &Programs),
    mut common: Common,
    item: &Item<RawSystem<Keys>>,
    d: &mut Diagnostics,
) -> SystemDef {
    let raw = &item.value.1;
    let rings = *raw.rings.get_ref();
    if !(1..=RINGS).contains(&rings) {
        d.push(item.error(raw.rings.span(), "a system has one ring or two", "here"));
    }
    if !(1..=REQUESTS).contains(raw.requests.get_ref()) {
        let message = "a system has one to four requests a ring";
        d.push(item.error(raw.requests.span(), message, "here"));
    }
    let mut protocol = 0;
    let mut features = F_PROTOCOL_FEATURES;
    for feature in &raw.features {
        if feature.get_ref() == "LOG_ALL" {
            features |= 1 << LOG_ALL;
            continue;
        }
        match table.feature(feature.get_ref()) {
            Some(bit) => protocol |= 1 << bit,
            None => {
                let message = format!("no protocol feature is called `{}`", feature.get_ref());
                let error = item.error(feature.span(), message, "unknown feature");
                let names = table.features.iter().map(|f| f.name.as_str());
                d.push(with_help(error, did_you_mean(feature.get_ref(), names)));
            }
        }
    }
    for bit in &raw.virtio {
        match 1u64.checked_shl((*bit.get_ref()).into()) {
            Some(mask) => features |= mask,
            None => {
                let message = format!("there is no bit {}: feature masks have 64", bit.get_ref());
                d.push(item.error(bit.span(), message, "too large"));
            }
        }
    }
    let requests = *raw.requests.get_ref();
    let bounds = Bounds { features, protocol, requests, in_order: raw.in_order };
    let steps = Compiler { table, programs, rings }.steps(item, &raw.run, d);
    // What is wrong with the program is said above; here it may only be too long.
    let sized = (1..=RINGS).map_while(|rings| {
        let own = &mut Diagnostics::default();
        let steps = Compiler { table, programs, rings }.steps(item, &raw.run, own);
        own.is_empty().then_some(steps)
    });
    let sized: Vec<_> = sized.collect();
    let mut then = Vec::new();
    for text in &raw.permissive {
        match (Compiler { table, programs, rings }).anytime(text.get_ref()) {
            Ok(message) => then.push(message),
            Err((message, help)) => {
                d.push(with_help(item.error(text.span(), message, "this message"), help));
            }
        }
    }
    if raw.endless {
        indices_are_read(item, table, &steps, d);
    }
    // One party's interpretations are judged by: the back-end's.
    let back_end = spec.pins_at(item, &raw.interpretations.back_end, d);
    let front_end = spec.pins_at(item, &raw.interpretations.front_end, d);
    common.choices.extend(back_end);
    if let Some(text) = &raw.text
        && spec.version_at(SOURCE, item, text, d).is_some()
        && let Ok(later) = spec.not_in_force(SOURCE, text.get_ref())
    {
        common.without.extend(later.iter());
    }
    let (endless, config_changes) = (raw.endless, raw.config_changes);
    SystemDef { common, rings, bounds, steps, sized, then, endless, config_changes, front_end }
}

/// Complains about an index that is written down where indices are counted from the oldest request that
/// the guest remembers.
fn indices_are_read(
    item: &Item<RawSystem<Keys>>,
    table: &Table,
    steps: &[Step],
    d: &mut Diagnostics,
) {
    let writes = |step: &&Step| match step {
        Step::Send { id, number: Number::Literal(_), .. } => {
            table.messages[id.0 as usize].has(Effect::SetBase)
        }
        _ => false,
    };
    if steps.iter().any(|step| writes(&step)) {
        let message = "a system with endless requests cannot set a base by its number";
        let error = item.error(item.span.clone(), message, "in its steps");
        d.push(error.help("write `saved`, `used` or `available`"));
    }
}

impl Definition for SystemDef {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bounds(&self) -> Vec<Bound> {
        vec![
            Bound::new("rings", u16::from(self.rings), (1, self.sized.len() as u16)),
            Bound::new("requests", self.bounds.requests, (1, REQUESTS)),
        ]
    }

    fn scaled(&self, size: &Size) -> Self {
        let rings = size.of("rings");
        let steps = match rings == u16::from(self.rings) {
            true => self.steps.clone(),
            false => self.sized[usize::from(rings) - 1].clone(),
        };
        let bounds = Bounds { requests: size.of("requests"), ..self.bounds };
        SystemDef { rings: rings as u8, bounds, steps, ..self.clone() }
    }
}

/// How many words a state takes with `R` rings and room for `N` messages in the socket.
const fn words<const R: usize, const N: usize>() -> usize {
    words_of::<properties::Parts<R>, 1, N>()
}

impl Loaded {
    /// The system under these rules.
    #[must_use]
    pub fn check(&self, def: &SystemDef, rules: Rules) -> Box<dyn Check> {
        match def.rings {
            1 => Box::new(self.system::<1, 2, { words::<1, 2>() }>(def, rules)),
            _ => Box::new(self.system::<2, 2, { words::<2, 2>() }>(def, rules)),
        }
    }

    /// How many slots the program gives each ring: the least, if it says it more than once.
    fn slots<const R: usize>(&self, def: &SystemDef) -> [u16; R] {
        let sizes = |step: &Step| match *step {
            Step::Send { id, ring, number: Number::Literal(size), .. } => {
                let rows = &self.table.messages[id.0 as usize].rows;
                let sets = rows.iter().any(|row| row.receive.contains(&Effect::SetSize));
                sets.then_some((usize::from(ring), size as u16))
            }
            _ => None,
        };
        std::array::from_fn(|of| {
            let own = def.steps.iter().filter_map(sizes).filter(|(ring, _)| *ring == of);
            own.map(|(_, size)| size).min().unwrap_or(0)
        })
    }

    /// The messages by these interpretations.
    fn interpreted(&self, choices: &Choices) -> Arc<Table> {
        if self.table.messages.iter().all(|message| message.unanswered.is_none()) {
            return Arc::clone(&self.table);
        }
        Arc::new(self.table.interpreted(|choice, option| choices.fixed(choice) == Some(option)))
    }

    /// The system with `R` rings and room for `N` messages in the socket, packed into `W` words.
    #[must_use]
    pub fn system<const R: usize, const N: usize, const W: usize>(
        &self,
        def: &SystemDef,
        rules: Rules,
    ) -> System<properties::Parts<R>, 1, N, W> {
        let fronts = def.front_end.iter();
        let fronts = fronts.fold(rules, |all, (choice, option)| all.fixing(*choice, *option));
        let machine = VhostUser {
            table: self.interpreted(&rules.choices),
            laws: self.laws,
            readings: self.readings,
            bounds: def.bounds,
        };
        let guest = Guest {
            requests: def.bounds.requests,
            slots: self.slots(def),
            endless: def.endless,
            config_changes: def.config_changes,
        };
        let unasked = self.readings.acknowledged_unasked;
        let awaits_unasked = def.front_end.iter().any(|(choice, _)| *choice == unasked.id())
            && unasked.taken(&fronts.judge()) == Ok(Acknowledged::Always);
        let front_end = FrontEnd {
            not_offered: self.table.not_offered(def.bounds.features | def.bounds.protocol),
            awaits_unasked,
            table: self.interpreted(&fronts.choices),
            bounds: def.bounds,
            steps: def.steps.clone(),
            then: def.then.clone(),
        };
        let names = Names::new(&machine.table, def.endless);
        let refinements = vec![Refinement::new::<Ring>(RING, machine.clone())];
        let known = (Properties::<R, N>::ALL, &self.clauses[..], &names);
        let machine = (machine, guest, front_end);
        System {
            refinements,
            environment: vec![GUEST, OUTSIDE],
            ..assembly::system(&def.common, Self::name(), known, (machine, rules))
        }
    }
}
