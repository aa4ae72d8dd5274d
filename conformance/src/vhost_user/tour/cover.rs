//! The covering walk: to the nearest arc that is not driven yet, again and again, as scripts. What many
//! back-ends answer by closing the connection comes last, after all that can be driven without it: it would
//! hide what comes after it.

use std::collections::VecDeque;

use devmig_model::protocol::vhost_user::program::Step;
use devmig_model::protocol::vhost_user::vocabulary::Answer;

use super::arc::{Arc, Edge};
use super::graph::{Graph, Guide, HashMap};
use crate::vhost_user::drive::resets;
use crate::vhost_user::script::Act;
use crate::vhost_user::suite::{Need, Own, Test};

/// The longest script: a failure hides what comes after it.
const LONGEST: usize = 150;

/// Messages at which many back-ends close the connection: a second SET_OWNER, and RESET_OWNER, which no
/// front-end sends any more.
pub(super) const CLOSING: [&str; 2] = ["SET_OWNER", "RESET_OWNER"];

/// What is being made.
#[derive(Default)]
pub(super) struct Making {
    pub(super) known: HashMap<Arc, usize>,
    pub(super) names: Vec<String>,
    pub(super) barred: HashMap<Arc, String>,
    pub(super) tests: Vec<Test>,
    pub(super) arcs: Vec<Vec<Option<usize>>>,
}

impl Guide<'_> {
    /// Covers what is not covered yet with one feature; `None` for no feature at all.
    pub(super) fn tour(&self, part: Option<(&str, u8)>, graph: Graph, making: &mut Making) {
        let Graph { connect, nodes, edges, arcs: numbers, barred } = graph;
        for (arc, why) in barred {
            making.barred.entry(arc).or_insert(why);
        }
        let mut known = vec![false; numbers.len()];
        for (arc, number) in &numbers {
            known[*number] = making.known.contains_key(arc);
        }
        let (mut script, mut arcs) = (connect.clone(), vec![None; connect.len()]);
        let mut at = 0;
        let closes = |edge: &Edge| {
            let name = edge.message.as_ref().map(|m| self.machine.message(m.id).name.as_str());
            name.is_some_and(|name| CLOSING.contains(&name))
        };
        // At first around them, until nothing more is reached so.
        let mut around = true;
        loop {
            let path = nearest(at, &edges, &known, |edge| !(around && closes(edge)));
            let ends = path.is_none();
            for (from, edge) in path.into_iter().flatten() {
                let fresh = !known[edge.number];
                if fresh {
                    known[edge.number] = true;
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
            } else if ends && around {
                around = false;
            } else if ends {
                return;
            }
        }
    }

    /// What belongs to a step: a request is waited for, a check tells of success.
    fn follows(&self, edge: &Edge, waited: bool, waits: bool) -> Vec<Act> {
        let message = edge.message.as_ref();
        let def = message.map(|m| self.machine.message(m.id));
        match self.acts[edge.arc.act] {
            Act::Request(_) | Act::Publish(_) if !waits => vec![Act::Settle],
            Act::Program(Step::Kick { .. }, _) if waited && !waits => vec![Act::Settle],
            Act::Request(_) | Act::Publish(_) | Act::Program(Step::Kick { .. }, _) => {
                vec![Act::Barrier]
            }
            _ if def.is_some_and(|d| d.answer == Some(Answer::Check)) => {
                vec![Act::Succeeds]
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
        let (id, purpose) =
            (format!("{prefix}{n}"), format!("Drive the arcs of the machine that need {purpose}."));
        let test = Test::generated(id, self.machine.laws.reply_must, purpose, Own::default());
        let steps = std::mem::replace(script, connect.to_vec());
        tours.tests.push(Test { needs, steps, ..test });
        tours.arcs.push(std::mem::replace(arcs, vec![None; connect.len()]));
    }
}

/// The shortest way to an arc that is not known yet: edges, each with where it begins.
fn nearest(
    from: usize,
    edges: &[Vec<Edge>],
    known: &[bool],
    takes: impl Fn(&Edge) -> bool,
) -> Option<Vec<(usize, Edge)>> {
    let mut came: Vec<Option<(usize, Edge)>> = vec![None; edges.len()];
    let mut queue = VecDeque::from([from]);
    while let Some(at) = queue.pop_front() {
        for edge in edges[at].iter().filter(|edge| takes(edge)) {
            if !known[edge.number] {
                let (mut path, mut back) = (vec![(at, *edge)], at);
                while back != from
                    && let Some((before, edge)) = came[back]
                {
                    path.push((before, edge));
                    back = before;
                }
                path.reverse();
                return Some(path);
            }
            if edge.to != from && came[edge.to].is_none() {
                came[edge.to] = Some((at, *edge));
                queue.push_back(edge.to);
            }
        }
    }
    None
}
