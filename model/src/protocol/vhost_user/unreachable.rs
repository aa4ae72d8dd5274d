//! Rows of a message that can never apply: their guards exclude each other, or rows before them always
//! apply first.

use std::collections::BTreeMap;

use super::vocabulary::Guard;
use crate::spec::{Diagnostics, Item, Spanned, Spec};
use devmig_engine::clause::ChoiceId;

/// Guards, each with whether it holds, that never hold together.
const EXCLUSIVE: [[(Guard, bool); 2]; 7] = [
    [(Guard::Started, true), (Guard::AllStopped, true)],
    [(Guard::Idle, false), (Guard::AllIdle, true)],
    [(Guard::Suspended, true), (Guard::Halted, false)],
    [(Guard::Zero, true), (Guard::Mtu, true)],
    [(Guard::Zero, true), (Guard::Flag, false)],
    [(Guard::Flag, true), (Guard::Mtu, true)],
    [(Guard::Transferring, true), (Guard::Transferred, true)],
];

/// A guard, and whether it must hold.
type Condition = (Guard, bool);

/// When a row applies.
pub(super) struct Applies {
    /// Its guards.
    pub(super) when: Vec<Condition>,
    /// Its option of a choice.
    pub(super) choice: Option<(ChoiceId, u8)>,
    /// Whether no later row is looked at then. Past a row that breaks a clause goes whoever does not enforce
    /// it: a tester, or a system without it.
    pub(super) decides: bool,
}

/// Two conditions of a row that exclude each other.
fn contradiction(when: &[Condition]) -> Option<(Condition, Condition)> {
    let pairs = when
        .iter()
        .enumerate()
        .flat_map(|(at, one)| when.iter().skip(at + 1).map(move |other| (*one, *other)));
    pairs.into_iter().find(|(one, other)| {
        let is_negation = one.0 == other.0 && one.1 != other.1;
        let both = [*one, *other];
        is_negation || EXCLUSIVE.iter().any(|pair| pair.iter().all(|of| both.contains(of)))
    })
}

/// The row before this one that applies whenever it does, by its index: alone, or with others that have
/// the other options of a choice.
fn covered(spec: &Spec, rows: &[Applies], at: usize) -> Option<usize> {
    let row = rows.get(at)?;
    let mut options: BTreeMap<ChoiceId, Vec<u8>> = BTreeMap::new();
    for (index, earlier) in rows.iter().enumerate().take(at).filter(|(_, row)| row.decides) {
        if !earlier.when.iter().all(|condition| row.when.contains(condition)) {
            continue;
        }
        match earlier.choice {
            None => return Some(index),
            choice if choice == row.choice => return Some(index),
            Some((choice, option)) => {
                let tried = options.entry(choice).or_default();
                if !tried.contains(&option) {
                    tried.push(option);
                }
                let all = spec.get_choice(choice).map_or(usize::MAX, |of| of.options.len());
                if tried.len() == all {
                    return Some(index);
                }
            }
        }
    }
    None
}

/// Warns of each row of an item that can never apply.
pub(super) fn warn<T, R>(
    spec: &Spec,
    item: &Item<T>,
    places: &[Spanned<R>],
    rows: &[Applies],
    d: &mut Diagnostics,
) {
    for (at, (row, place)) in rows.iter().zip(places).enumerate() {
        if let Some((one, other)) = contradiction(&row.when) {
            let [one, other] = [one, other]
                .map(|(guard, wanted)| format!("`{}{guard}`", if wanted { "" } else { "not " }));
            let message = format!("this row can never apply: {one} and {other} exclude each other");
            d.warn(item.error(place.span(), message, "never applies"));
        } else if let Some(first) = covered(spec, rows, at) {
            let message = "this row can never apply: whenever it would, an earlier row does";
            let warning = item.error(place.span(), message, "never applies");
            d.warn(match places.get(first) {
                Some(earlier) => warning.and(earlier.span(), "applies first"),
                None => warning,
            });
        }
    }
}
