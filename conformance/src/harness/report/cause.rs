//! Findings by their cause: those that broke the same clause in the same way are told once.
//!
//! **Invariant.** Every finding is in one group. What differs in numbers alone is one cause.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Result, Status};

/// Findings of one cause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cause<'r> {
    /// The first of them.
    pub first: Cow<'r, Result>,
    /// The others, in their order.
    pub others: Vec<Cow<'r, Result>>,
}

/// What two results have in common that have one cause: how they ended, the clause, what came and what
/// was allowed.
#[must_use]
pub fn alike(result: &Result) -> (Status, String, String, String) {
    let observed = result.observed.as_deref().unwrap_or_default();
    let observed = observed.lines().next().unwrap_or_default();
    let expected = without_numbers(&result.expected.join("\n"));
    (result.status, result.clause.clone(), without_numbers(observed), expected)
}

/// A text with one sign in place of each number.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        let digit = if inside { c.is_ascii_hexdigit() || c == 'x' } else { c.is_ascii_digit() };
        if digit && !inside {
            out.push('#');
        }
        if !digit {
            out.push(c);
        }
        inside = digit;
    }
    out
}

/// The findings and errors among these, by cause: what failed before what warns, and then the cause with
/// the most findings first.
#[must_use]
pub fn causes(results: &[Result]) -> Vec<Cause<'_>> {
    let mut places: BTreeMap<_, usize> = BTreeMap::new();
    let mut causes: Vec<Cause<'_>> = Vec::new();
    let told = |result: &Cow<'_, Result>| result.is_finding() || result.status == Status::Error;
    for result in results.iter().flat_map(Result::each).filter(told) {
        match places.get(&alike(&result)) {
            Some(place) => causes[*place].others.push(result),
            None => {
                places.insert(alike(&result), causes.len());
                causes.push(Cause { first: result, others: Vec::new() });
            }
        }
    }
    let rank = |cause: &Cause<'_>| match cause.first.status {
        Status::Error => 0,
        Status::Fail => 1,
        _ => 2,
    };
    causes.sort_by_key(|cause| (rank(cause), std::cmp::Reverse(cause.others.len())));
    causes
}

impl Cause<'_> {
    /// The first in full, and which others there are. `text` is the clause's.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut out = self.first.detail(text);
        if !self.others.is_empty() {
            let ids: Vec<&str> = self.others.iter().map(|result| &*result.test).collect();
            let count = self.others.len();
            let ids = textwrap::wrap(&ids.join(", "), WIDTH).join("\n             ");
            let _ = writeln!(out, "  {:<10} {count} with the same cause: {ids}", "and");
        }
        out
    }
}

/// Columns of the list of ids.
const WIDTH: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_numbers_alone_is_one_cause_and_the_most_frequent_comes_first() {
        let results = [
            Result::example("w", Status::Warn, "a", "answers 0x10"),
            Result::example("p", Status::Pass, "a", "answers 0x10"),
            Result::example("one", Status::Fail, "b", "closes"),
            Result::example("x", Status::Fail, "a", "ring 1 answers 0xff"),
            Result::example("y", Status::Fail, "a", "ring 0 answers 0x3"),
            Result::example("z", Status::Fail, "c", "ring 0 answers 0x3"),
        ];
        let ids = |cause: &Cause<'_>| {
            let others = cause.others.iter().map(|result| result.test.as_str());
            [cause.first.test.as_str()].into_iter().chain(others).collect::<Vec<_>>().join(" ")
        };
        let causes = causes(&results);
        assert_eq!(causes.iter().map(ids).collect::<Vec<_>>(), ["x y", "one", "z", "w"]);
        assert!(causes[0].text("").contains("1 with the same cause: y"));
    }

    #[test]
    fn what_a_test_finds_besides_counts_as_its_cause() {
        let mut one = Result::example("one", Status::Fail, "a", "answers 1");
        let other = Result::example("other", Status::Fail, "b", "answers 2");
        one.further.push(super::super::Further {
            clause: "b".into(),
            level: "MUST".into(),
            status: Status::Fail,
            observed: "answers 3".into(),
            expected: Vec::new(),
            log: Vec::new(),
            after: vec!["a".into()],
        });
        let results = [one, other];
        let causes = causes(&results);
        let of: Vec<_> = causes.iter().map(|c| (&*c.first.clause, c.others.len())).collect();
        assert_eq!(of, [("b", 1), ("a", 0)]);
        assert!(causes[0].text("").contains("a not enforced"));
    }
}
