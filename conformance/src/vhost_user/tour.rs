//! Tours: scripts that drive every arc of the machine, generated from its table.
//!
//! ```text
//!   table --> alphabet --+
//!                        +--> graph of one ring, one front-end, an eager back-end
//!   default readings ----+        |
//!                                 +--> covering walk: to the nearest arc not driven yet, again and again
//!                                 |        --> scripts, one feature at a time
//!                                 +--> arcs that no front-end may drive, each with its reason
//! ```
//!
//! An *arc* is a row of a message (or a kick, a request, a read or written state) in a *situation*:
//! started or stopped, enabled or disabled, which features are acknowledged, the status, where a
//! transfer stands, whether a request waits.
//!
//! **Invariants.** The same table gives the same tours. An arc is counted as driven only if its step
//! was taken in a test that came that far; every other one is named, with the reason.
//!
//! **Not here:** other readings than the default ones (a walk meets them), several rings.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use devmig_model::clause::ClauseId;
use devmig_model::library::Library;
use devmig_model::machine::{Machine as _, On};
use devmig_model::rules::Rules;
use devmig_model::vhost_user::event::{Event, Message, Value};
use devmig_model::vhost_user::machine::VhostUser;
use devmig_model::vhost_user::program::{Number, Step};
use devmig_model::vhost_user::state::{State, Transfer};
use devmig_model::vhost_user::systems::F_PROTOCOL_FEATURES;
use devmig_model::vhost_user::table::MessageDef;
use devmig_model::vhost_user::vocabulary::{Answer, Effect};
use devmig_model::vhost_user::wire::PayloadKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drive::{Keeps, Move, alphabet, has, resets};
use super::script::{self, Act};
use super::session::Taken;
use super::suite::{Need, Test};
use crate::report::SuiteReport;

/// The longest script: a failure hides what comes after it.
const LONGEST: usize = 150;
/// VIRTIO_F_VERSION_1, which stands for the device's features.
const DEVICE_FEATURES: u64 = 1 << 32;
/// Unseen steps of a back-end between two of the front-end.
const UNSEEN: usize = 64;

/// The tours, and the arcs that they drive.
#[derive(Clone, Debug)]
pub struct Tours {
    /// As tests.
    pub tests: Vec<Test>,
    /// For each test, the arc that each of its steps drives first.
    arcs: Vec<Vec<Option<usize>>>,
    /// All arcs, by number.
    names: Vec<String>,
    /// Arcs that no tour drives, and why.
    barred: BTreeMap<String, String>,
}

/// How much of the machine was driven.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// Arcs that exist.
    pub arcs: usize,
    /// Arcs that were driven.
    pub driven: usize,
    /// Arcs that were not, by the reason.
    pub not_driven: BTreeMap<String, Vec<String>>,
}

/// A state of the closed system.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Node {
    state: State<1>,
    keeps: Keeps,
    /// What GET_VRING_BASE returned last, less the ring's base.
    saved: u16,
}

/// A row in a situation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Arc {
    /// Of the alphabet.
    act: usize,
    row: Option<u8>,
    started: bool,
    enabled: bool,
    features: Features,
    status: u8,
    transfer: Transfer,
    waits: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Features {
    None,
    Plain,
    All,
}

/// A step that is taken in a node.
#[derive(Clone, Copy, Debug)]
struct Edge {
    arc: Arc,
    message: Option<Message>,
    to: usize,
}

/// What a step leads to.
enum Leads {
    To {
        node: Node,
        row: Option<u8>,
    },
    Barred {
        row: Option<u8>,
        why: String,
    },
    /// Not here, for no reason that is worth a word.
    Away,
}

struct Guide<'l> {
    library: &'l Library,
    machine: VhostUser<1>,
    rules: Rules,
    acts: Vec<Act>,
    /// Protocol features of this part.
    protocol: u64,
}

/// What is being made.
#[derive(Default)]
struct Making {
    known: HashMap<Arc, usize>,
    names: Vec<String>,
    barred: HashMap<Arc, String>,
    tests: Vec<Test>,
    arcs: Vec<Vec<Option<usize>>>,
}

impl Tours {
    /// All tours of a library's table.
    #[must_use]
    pub fn of(library: &Library) -> Self {
        let VhostUser { table, laws, readings, bounds } = library.tester();
        let mut gates: Vec<(String, u8)> = Vec::new();
        for gate in table.messages.iter().filter_map(|def| def.gate.as_ref()) {
            if !gates.iter().any(|(name, _)| *name == gate.feature) {
                gates.push((gate.feature.clone(), gate.bit));
            }
        }
        let mut guide = Guide {
            library,
            acts: alphabet(&table).into_iter().map(|letter| letter.act).collect(),
            machine: VhostUser { table, laws, readings, bounds },
            rules: Rules { choices: library.spec.defaults(), off: library.spec.unobservable() },
            protocol: 0,
        };
        let mut making = Making::default();
        for part in std::iter::once(None).chain(gates.iter().map(Some)) {
            guide.protocol = part.map_or(0, |(_, bit)| 1 << bit);
            guide.tour(part.map(|(name, bit)| (name.as_str(), *bit)), &mut making);
        }
        let Making { known, names, barred, tests, arcs } = making;
        let barred = barred.into_iter().filter(|(arc, _)| !known.contains_key(arc));
        let barred = barred.map(|(arc, why)| (guide.name(&arc), why)).collect();
        let mut tours = Tours { tests, arcs, names, barred };
        tours.other_readings(library, &guide.machine);
        tours
    }

    /// Rows that only another reading uses.
    fn other_readings(&mut self, library: &Library, machine: &VhostUser<1>) {
        let defaults = library.spec.defaults();
        for def in &machine.table.messages {
            for (index, row) in def.rows.iter().enumerate() {
                let Some((choice, option)) = row.choice else { continue };
                if defaults.fixed(choice) == Some(option) {
                    continue;
                }
                let (choice_name, option) =
                    (library.spec.choice_name(choice), library.spec.option_name(choice, option));
                let why = format!("only where {choice_name} is read as {option}");
                self.barred.insert(format!("{} (row {})", def.name, index + 1), why);
            }
        }
    }

    /// How many arcs the tours drive if nothing is passed over.
    #[must_use]
    pub fn arcs(&self) -> usize {
        self.names.len()
    }

    /// What a run has driven.
    #[must_use]
    pub fn coverage(&self, report: &SuiteReport) -> Coverage {
        let mut driven: HashSet<usize> = HashSet::new();
        let mut why: BTreeMap<usize, String> = BTreeMap::new();
        for (test, arcs) in self.tests.iter().zip(&self.arcs) {
            let Some(result) = report.results.iter().find(|result| result.test == test.id) else {
                for arc in arcs.iter().flatten() {
                    why.entry(*arc).or_insert_with(|| "its tour was not run".into());
                }
                continue;
            };
            for (at, arc) in arcs.iter().enumerate() {
                let Some(arc) = *arc else { continue };
                match result.taken.get(at) {
                    Some(Taken::Yes) => {
                        driven.insert(arc);
                    }
                    Some(Taken::No(reason)) => {
                        why.insert(arc, reason.clone());
                    }
                    None => {
                        let observed = result.observed.as_deref().unwrap_or("it was not reached");
                        let reason = format!("{} ended before: {observed}", test.id);
                        why.entry(arc).or_insert(reason);
                    }
                }
            }
        }
        let mut not_driven: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (arc, name) in self.names.iter().enumerate().filter(|(arc, _)| !driven.contains(arc)) {
            let reason = why.get(&arc).cloned().unwrap_or_else(|| "it was not reached".into());
            not_driven.entry(reason).or_default().push(name.clone());
        }
        for (name, reason) in &self.barred {
            not_driven.entry(reason.clone()).or_default().push(name.clone());
        }
        Coverage { arcs: self.names.len() + self.barred.len(), driven: driven.len(), not_driven }
    }
}

impl Coverage {
    /// A few lines for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!("{} of {} arcs of the machine driven\n", self.driven, self.arcs);
        for (why, arcs) in &self.not_driven {
            let first = arcs.first().map_or("", String::as_str);
            let more = match arcs.len() {
                1 => String::new(),
                n => format!(" and {} more", n - 1),
            };
            out += &format!("  {:>4} not: {why}\n            {first}{more}\n", arcs.len());
        }
        out
    }
}

impl Guide<'_> {
    /// Covers what is not covered yet with one feature; `None` for no feature at all.
    fn tour(&self, part: Option<(&str, u8)>, making: &mut Making) {
        let Some((connect, start)) = self.connected() else { return };
        let (nodes, edges) = self.graph(start, making);
        let (mut script, mut arcs) = (connect.clone(), vec![None; connect.len()]);
        let mut at = 0;
        loop {
            let path = nearest(at, &edges, &making.known);
            let ends = path.is_none();
            for (from, edge) in path.into_iter().flatten() {
                let fresh = !making.known.contains_key(&edge.arc);
                if fresh {
                    making.known.insert(edge.arc, making.names.len());
                    making.names.push(self.name(&edge.arc));
                }
                script.push(self.acts[edge.arc.act]);
                arcs.push(making.known.get(&edge.arc).copied().filter(|_| fresh));
                let waiting = |node: usize| nodes[node].state.rings[0].waiting() > 0;
                let follows = self.follows(&edge, waiting(from), waiting(edge.to));
                arcs.extend(follows.iter().map(|_| None));
                script.extend(follows);
                at = edge.to;
            }
            if script.len() >= LONGEST || (ends && script.len() > connect.len()) {
                self.finish(part, &mut script, &mut arcs, &connect, making);
                at = 0;
            } else if ends {
                return;
            }
        }
    }

    /// Everything that can be reached, and how. What may not be done is noted.
    fn graph(&self, start: Node, making: &mut Making) -> (Vec<Node>, Vec<Vec<Edge>>) {
        let mut index = HashMap::from([(start, 0)]);
        let (mut nodes, mut edges) = (vec![start], Vec::new());
        while let Some(node) = nodes.get(edges.len()).copied() {
            let mut out = Vec::new();
            for at in 0..self.acts.len() {
                let message = self.message(&self.acts[at], &node);
                match self.leads(&node, &self.acts[at], message.as_ref()) {
                    Leads::Away => {}
                    Leads::Barred { row, why } => {
                        making.barred.entry(arc(&node, at, row)).or_insert(why);
                    }
                    Leads::To { node: next, row } => {
                        let to = *index.entry(next).or_insert_with(|| {
                            nodes.push(next);
                            nodes.len() - 1
                        });
                        out.push(Edge { arc: arc(&node, at, row), message, to });
                    }
                }
            }
            edges.push(out);
        }
        (nodes, edges)
    }

    /// What belongs to a step: a request is waited for, a check tells of success.
    fn follows(&self, edge: &Edge, waited: bool, waits: bool) -> Vec<Act> {
        let message = edge.message.as_ref();
        let def = message.map(|m| self.machine.message(m.id));
        match self.acts[edge.arc.act] {
            Act::Requests { .. } if !waits => vec![Act::Settle],
            Act::Program(Step::Kick { .. }, _) if waited && !waits => vec![Act::Settle],
            Act::Requests { .. } | Act::Program(Step::Kick { .. }, _) => vec![Act::Barrier],
            _ if def.is_some_and(|d| d.answer == Some(Answer::Check)) => {
                vec![Act::Answered { success: true }]
            }
            _ if message.is_some_and(|m| resets(self.machine.message(m.id), m)) => vec![Act::Anew],
            _ if waited && !waits => vec![Act::Barrier, Act::Settle],
            _ => Vec::new(),
        }
    }

    fn finish(
        &self,
        part: Option<(&str, u8)>,
        script: &mut Vec<Act>,
        arcs: &mut Vec<Option<usize>>,
        connect: &[Act],
        tours: &mut Making,
    ) {
        let (word, purpose, needs) = match part {
            None => ("base".to_owned(), "no protocol feature".to_owned(), Vec::new()),
            Some((name, bit)) => (
                name.to_lowercase().replace('_', "-"),
                name.to_owned(),
                vec![Need::Feature(name.to_owned(), bit)],
            ),
        };
        let prefix = format!("tour.{word}.");
        let n = tours.tests.iter().filter(|test| test.id.starts_with(&prefix)).count() + 1;
        script.push(Act::Settle);
        arcs.push(None);
        tours.tests.push(Test {
            id: format!("{prefix}{n}"),
            clause: self.machine.laws.reply_must,
            purpose: format!("Arcs of the machine, as far as they need {purpose}."),
            needs,
            acknowledged: false,
            careful: true,
            breaks: Vec::new(),
            acts: std::mem::replace(script, connect.to_vec()),
        });
        tours.arcs.push(std::mem::replace(arcs, vec![None; connect.len()]));
    }

    /// Negotiation, and where it leads.
    fn connected(&self) -> Option<(Vec<Act>, Node)> {
        let mut acts = Vec::new();
        let mut node = Node { state: self.machine.initial(), keeps: Keeps::default(), saved: 0 };
        for (name, number) in [
            ("GET_FEATURES", Number::Literal(0)),
            ("GET_PROTOCOL_FEATURES", Number::Literal(0)),
            ("SET_PROTOCOL_FEATURES", Number::ProtocolOffered),
            ("SET_OWNER", Number::Literal(0)),
        ] {
            let id = self.machine.table.named(name)?;
            let act = Act::Program(
                Step::Send { id, ring: 0, number, need_reply: false },
                script::Which::Requests,
            );
            let message = self.message(&act, &node);
            let Leads::To { node: next, .. } = self.leads(&node, &act, message.as_ref()) else {
                return None;
            };
            node = next;
            acts.push(act);
        }
        Some((acts, node))
    }

    fn message(&self, act: &Act, node: &Node) -> Option<Message> {
        let Act::Program(Step::Send { id, number, .. }, _) = *act else { return None };
        let def = self.machine.message(id);
        let ring = &node.state.rings[0];
        let value = match number {
            _ if def.request == PayloadKind::Memory => 1,
            _ if has(def, Effect::SetSize) => 256,
            Number::Literal(value) => value,
            Number::Used => u64::from(ring.used),
            Number::Logging => return None,
            Number::Saved => u64::from(ring.base.wrapping_add(node.saved)),
            Number::Offered => node.state.offered.0,
            Number::Plain => node.state.offered.0 & !F_PROTOCOL_FEATURES,
            Number::ProtocolOffered => node.state.protocol_offered.0,
        };
        Some(Message { id, ring: 0, value: Value(value), need_reply: false })
    }

    fn leads(&self, node: &Node, act: &Act, message: Option<&Message>) -> Leads {
        let table = &self.machine.table;
        let mut next = *node;
        let m = match *act {
            Act::Requests { kick, .. } => Move::Ring { ring: 0, request: true, kick },
            Act::Program(Step::Kick { .. }, _) => {
                Move::Ring { ring: 0, request: false, kick: true }
            }
            Act::Program(Step::ReadState, _) => Move::ReadState,
            Act::Program(Step::WriteState, _) => Move::WriteState,
            _ => match message {
                Some(message) => Move::Message(*message),
                None => return Leads::Away,
            },
        };
        // One request that waits shows as much as eight.
        let waits = node.state.rings[0].waiting() > 0;
        if waits && matches!(m, Move::Ring { request: true, .. }) {
            return Leads::Away;
        }
        let mut row = None;
        if let Move::Message(message) = &m {
            let def = self.machine.message(message.id);
            if let Some(gate) = &def.gate {
                let had =
                    if gate.by_offer { node.state.protocol_offered } else { node.state.protocol };
                if had.0 >> gate.bit & 1 == 0 {
                    return Leads::Away;
                }
            }
            let Ok(found) = self.machine.row(def, &node.state, message, &mut self.rules.judge())
            else {
                return Leads::Away;
            };
            row = found.map(|(index, _)| index);
            if let Some((_, found)) = found {
                let clause = |clause: ClauseId| self.library.spec.clause_name(clause).to_owned();
                if let Some(broken) = found.breaks {
                    let why = format!("the front-end would break {}", clause(broken));
                    return Leads::Barred { row, why };
                }
                if let Some(open) = found.undefined {
                    let why = format!("{} leaves open what follows", clause(open));
                    return Leads::Barred { row, why };
                }
            }
        }
        if let Err(insane) = node.keeps.sane(table, &node.state, &m) {
            return match m {
                Move::Message(_) => Leads::Barred { row, why: insane.to_owned() },
                _ => Leads::Away,
            };
        }
        if let Move::Message(message) = &m
            && !node.keeps.in_order(table, message)
        {
            return Leads::Away;
        }
        let happens = |state: &mut State<1>, event: Event| match self.machine.on(
            state,
            &event,
            &mut self.rules.judge(),
        ) {
            Ok(On::To(to)) => {
                *state = to;
                true
            }
            Ok(On::Ignore) => true,
            _ => false,
        };
        let state = &mut next.state;
        let did = match m {
            Move::Message(message) => happens(state, Event::Message(message)),
            Move::ReadState if state.transfer != Transfer::Saving => return Leads::Away,
            Move::ReadState => {
                let value = state.internal;
                happens(state, Event::Saved { value })
            }
            Move::WriteState => happens(state, Event::Loaded { value: 0 }),
            Move::Ring { ring, request, kick } => {
                (!request || happens(state, Event::Available { ring }))
                    && (!kick || happens(state, Event::Kick { ring, front_end: false }))
            }
        };
        if !did {
            return Leads::Away;
        }
        next.keeps.did(table, &m);
        match self.rest(&mut next) {
            true => Leads::To { node: normal(next), row },
            false => Leads::Away,
        }
    }

    /// The back-end does all that it can, in one order. Whether it comes to rest.
    fn rest(&self, node: &mut Node) -> bool {
        for _ in 0..UNSEEN {
            let state = &mut node.state;
            let mut hidden = None;
            let mut judge = self.rules.judge();
            let asked = self.machine.hidden(state, &mut judge, &mut |_, to| {
                hidden = hidden.or(Some(to));
            });
            if asked.is_err() {
                return false;
            }
            let ring = &state.rings[0];
            let event = if let Some(to) = hidden {
                *state = to;
                continue;
            } else if ring.open != 0 {
                Event::Used { ring: 0, request: ring.oldest_open() }
            } else if ring.unnotified && ring.started {
                Event::Call { ring: 0 }
            } else if let Some(owing) = state.owed.head() {
                let m = owing.message;
                let def = self.machine.message(m.id);
                let value = self.answers(def, state, &m);
                if def.answer == Some(Answer::Base) {
                    node.saved = (value as u16).wrapping_sub(state.rings[0].base);
                }
                let ring = if def.reply == Some(PayloadKind::VringState) { m.ring } else { 0 };
                Event::Reply { id: m.id, ring, value: Value(value), descriptors: 0 }
            } else {
                return true;
            };
            match self.machine.on(&node.state, &event, &mut self.rules.judge()) {
                Ok(On::To(to)) => node.state = to,
                Ok(On::Ignore) => {}
                _ => return false,
            }
        }
        false
    }

    fn answers(&self, def: &MessageDef, state: &State<1>, m: &Message) -> u64 {
        let answer = def.answer.unwrap_or(Answer::Ack);
        match (answer.demanded(state, m), answer) {
            (Some(value), _) => value.0,
            (None, Answer::Features) => F_PROTOCOL_FEATURES | DEVICE_FEATURES,
            (None, Answer::ProtocolFeatures) => self.protocol,
            (None, Answer::Transfer) => 1 << 8,
            (None, Answer::Number) => 1,
            (None, Answer::Log) => 8,
            (None, _) => 0,
        }
    }

    /// The name of an arc.
    fn name(&self, arc: &Arc) -> String {
        let act = &self.acts[arc.act];
        let row = match (arc.row, act) {
            (Some(row), Act::Program(Step::Send { id, .. }, _))
                if self.machine.message(*id).rows.len() > 1 =>
            {
                format!(" (row {})", row + 1)
            }
            _ => String::new(),
        };
        let features = match arc.features {
            Features::None => "no features",
            Features::Plain => "features without bit 30",
            Features::All => "features",
        };
        let mut situation = vec![
            if arc.started { "started" } else { "stopped" }.to_owned(),
            if arc.enabled { "enabled" } else { "disabled" }.to_owned(),
            features.to_owned(),
        ];
        if arc.status != 0 {
            situation.push(format!("status {}", arc.status));
        }
        if arc.transfer != Transfer::None {
            situation.push(format!("{:?}", arc.transfer).to_lowercase());
        }
        if arc.waits {
            situation.push("a request waits".into());
        }
        format!("{}{row}: {}", script::text(act, &self.machine.table), situation.join(", "))
    }
}

fn arc(node: &Node, act: usize, row: Option<u8>) -> Arc {
    let (s, ring) = (&node.state, &node.state.rings[0]);
    let features = match s.features.0 {
        0 => Features::None,
        f if f & F_PROTOCOL_FEATURES == 0 => Features::Plain,
        _ => Features::All,
    };
    Arc {
        act,
        row,
        started: ring.started,
        enabled: ring.enabled,
        features,
        status: s.status,
        transfer: s.transfer,
        waits: ring.waiting() > 0,
    }
}

/// The shortest way to an arc that is not known yet: edges, each with where it begins.
fn nearest(
    from: usize,
    edges: &[Vec<Edge>],
    known: &HashMap<Arc, usize>,
) -> Option<Vec<(usize, Edge)>> {
    let mut came: HashMap<usize, (usize, Edge)> = HashMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(at) = queue.pop_front() {
        for edge in &edges[at] {
            if !known.contains_key(&edge.arc) {
                let (mut path, mut back) = (vec![(at, *edge)], at);
                while back != from
                    && let Some((before, edge)) = came.get(&back)
                {
                    path.push((*before, *edge));
                    back = *before;
                }
                path.reverse();
                return Some(path);
            }
            if edge.to != from && !came.contains_key(&edge.to) {
                came.insert(edge.to, (at, *edge));
                queue.push_back(edge.to);
            }
        }
    }
    None
}

/// The same state with its counters begun again: nothing depends on where they stand.
fn normal(mut node: Node) -> Node {
    let ring = &mut node.state.rings[0];
    ring.available = ring.available.wrapping_sub(ring.base);
    ring.used = ring.used.wrapping_sub(ring.base);
    ring.base = 0;
    ring.call_fresh = false;
    (node.state.internal, node.state.image) = (0, 0);
    node
}
