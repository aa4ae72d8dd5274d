//! Liveness decided once more, by another algorithm: a fixpoint over explicit edges (Emerson and
//! Lei). Slow and short; the oracle that tests hold [`super::liveness`] against on small graphs.
//!
//! **Invariant.** Nothing is shared with [`super::liveness`] but the [`Graph`] trait.

use super::Error;
use super::liveness::Graph;

struct Node {
    owed: u64,
    enabled: u64,
    any: bool,
    edges: Vec<(usize, u64)>,
}

/// Whether `obligation` can be owed for ever.
///
/// # Errors
/// If a choice is open.
pub fn starves(graph: &impl Graph, obligation: u32) -> Result<bool, Error> {
    let nodes = explicit(graph)?;
    let owing: Vec<bool> = nodes.iter().map(|n| n.owed >> obligation & 1 == 1).collect();
    let fair = fair(&nodes, owing.clone(), 1 << obligation);
    Ok((0..nodes.len()).any(|n| fair[n] || owing[n] && !nodes[n].any))
}

/// Whether after some node of `from`, `to` may never come: where nothing is owed, nothing need happen.
///
/// # Errors
/// If a choice is open.
pub fn avoids(graph: &impl Graph, from: &[bool], to: &[bool]) -> Result<bool, Error> {
    let nodes = explicit(graph)?;
    let mut bad = fair(&nodes, to.iter().map(|to| !to).collect(), 0);
    for (n, node) in nodes.iter().enumerate() {
        bad[n] |= !to[n] && (!node.any || node.owed == 0);
    }
    // Backwards, while not yet `to`.
    loop {
        let before = bad.clone();
        for n in 0..nodes.len() {
            bad[n] |= !to[n] && nodes[n].edges.iter().any(|(t, _)| bad[*t]);
        }
        if bad == before {
            return Ok((0..nodes.len()).any(|n| from[n] && !to[n] && bad[n]));
        }
    }
}

fn explicit(graph: &impl Graph) -> Result<Vec<Node>, Error> {
    let mut nodes = Vec::new();
    for n in 0..graph.len() {
        let mut node = Node { owed: graph.owed(n)?, enabled: 0, any: false, edges: Vec::new() };
        graph.edges(n, &mut |to, discharges| {
            node.any = true;
            node.enabled |= discharges;
            node.edges.extend(to.map(|to| (to, discharges)));
        })?;
        nodes.push(node);
    }
    Ok(nodes)
}

/// The nodes from which some infinite path stays in `all`, over edges that discharge nothing of
/// `without`, and gives every obligation infinitely often a reason.
fn fair(nodes: &[Node], mut all: Vec<bool>, without: u64) -> Vec<bool> {
    loop {
        let before = all.clone();
        for p in 0..64u32 {
            let mut reaches = vec![false; nodes.len()];
            loop {
                let mut more = false;
                for (n, node) in nodes.iter().enumerate() {
                    if !all[n] || reaches[n] {
                        continue;
                    }
                    reaches[n] = node.edges.iter().any(|(to, discharges)| {
                        let inside = all[*to] && discharges & without == 0;
                        let blocked = (nodes[*to].owed & nodes[*to].enabled) >> p & 1 == 0;
                        inside && (discharges >> p & 1 == 1 || blocked || reaches[*to])
                    });
                    more |= reaches[n];
                }
                if !more {
                    break;
                }
            }
            all = reaches;
        }
        if all == before {
            return all;
        }
    }
}
