//! Rules can be switched off, and choices can be open: one mechanism for both.
//!
//! [`Rules`] says which clauses are enforced and which options of each choice are possible. A
//! [`RuleContext`] lends them to one call of a machine and notes which switched-off clauses it met, so
//! that a waiver masks exactly one finding and is counted.
//!
//! **Invariants.** Rules never change during a call. In exploration every choice is fixed; in
//! testing an open choice comes back as [`OpenChoice`], and the caller splits: options are never a product.

use std::cell::Cell;

use crate::clause::{ChoiceId, ClauseId};

/// The largest number of clauses that a specification may hold.
pub const MAX_CLAUSES: usize = 512;
/// The largest number of choices that a specification may hold.
pub const MAX_CHOICES: usize = 128;
/// The largest number of options that a choice may have.
pub const MAX_OPTIONS: usize = 8;

/// A set of clauses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ClauseSet([u64; MAX_CLAUSES / 64]);

impl ClauseSet {
    /// Adds a clause.
    pub fn insert(&mut self, id: ClauseId) {
        self.0[id.index() / 64] |= 1 << (id.index() % 64);
    }

    /// Takes a clause out.
    pub fn remove(&mut self, id: ClauseId) {
        self.0[id.index() / 64] &= !(1 << (id.index() % 64));
    }

    /// Whether it holds this clause; never [`ClauseId::NONE`].
    #[must_use]
    pub fn contains(&self, id: ClauseId) -> bool {
        self.0.get(id.index() / 64).is_some_and(|word| word >> (id.index() % 64) & 1 == 1)
    }

    /// Adds all of another set.
    pub fn extend(&mut self, other: &ClauseSet) {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a |= b;
        }
    }

    /// The clauses, in the specification's order.
    pub fn iter(&self) -> impl Iterator<Item = ClauseId> + '_ {
        (0..MAX_CLAUSES).map(ClauseId::new).filter(|id| self.contains(*id))
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|w| *w == 0)
    }
}

/// A set of choices.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ChoiceSet(u128);

impl ChoiceSet {
    /// Adds a choice.
    pub fn insert(&mut self, id: ChoiceId) {
        self.0 |= 1 << id.index();
    }

    /// Adds all of another set.
    pub fn extend(&mut self, other: &ChoiceSet) {
        self.0 |= other.0;
    }

    /// Whether both have a choice in common.
    #[must_use]
    pub fn meets(&self, other: &ChoiceSet) -> bool {
        self.0 & other.0 != 0
    }
}

/// For each choice the options that are still possible, as a bit set. Choices never mentioned are
/// wholly open.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Choices([u8; MAX_CHOICES]);

impl Default for Choices {
    fn default() -> Self {
        Choices([u8::MAX; MAX_CHOICES])
    }
}

impl Choices {
    /// The only possible option, if just one is left.
    #[must_use]
    pub fn fixed(&self, choice: ChoiceId) -> Option<u8> {
        let open = self.0[choice.index()];
        (open.count_ones() == 1).then(|| open.trailing_zeros() as u8)
    }

    /// Whether this option is still possible.
    #[must_use]
    pub fn allows(&self, choice: ChoiceId, option: u8) -> bool {
        self.0[choice.index()] >> option & 1 == 1
    }

    /// The same with this choice fixed to this option.
    #[must_use]
    pub fn with(mut self, choice: ChoiceId, option: u8) -> Self {
        self.0[choice.index()] = 1 << option;
        self
    }

    /// Keeps only these options of a choice.
    #[must_use]
    pub fn only(mut self, choice: ChoiceId, options: &[u8]) -> Self {
        self.0[choice.index()] &= options.iter().fold(0, |mask, option| mask | 1 << option);
        self
    }

    /// What is possible by both.
    #[must_use]
    pub fn and(mut self, other: &Choices) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a &= b);
        self
    }

    /// The choices of which not the same options are possible by both.
    #[must_use]
    pub fn differing(&self, other: &Choices) -> ChoiceSet {
        let mut all = ChoiceSet::default();
        let differ = (0..MAX_CHOICES).filter(|at| self.0[*at] != other.0[*at]);
        differ.for_each(|at| all.insert(ChoiceId::new(at)));
        all
    }

    /// The same with this choice wholly open.
    #[must_use]
    pub fn opened(mut self, choice: ChoiceId) -> Self {
        self.0[choice.index()] = u8::MAX;
        self
    }

    /// Keeps only the first `options` options of a choice (which has no more).
    #[must_use]
    pub fn limit(mut self, choice: ChoiceId, options: u8) -> Self {
        self.0[choice.index()] &= ((1u16 << options) - 1) as u8;
        self
    }
}

/// A choice has to be fixed before the machine can answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenChoice(pub ChoiceId);

/// Which rules are in force.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Rules {
    /// Clauses that are not enforced: waived, dropped as a mutant, or unobservable from outside.
    pub off: ClauseSet,
    /// The options still possible.
    pub choices: Choices,
}

impl Rules {
    /// A judge by these rules, for one call.
    #[must_use]
    pub fn judge(&self) -> RuleContext<'_> {
        RuleContext { rules: self, hits: ClauseSet::default(), asked: None }
    }

    /// The same, which adds to `asked` each choice that it is asked for while more than one option is
    /// possible.
    #[must_use]
    pub fn judge_noting<'a>(&'a self, asked: &'a Cell<ChoiceSet>) -> RuleContext<'a> {
        RuleContext { asked: Some(asked), ..self.judge() }
    }

    /// The same rules without one clause: the model mutant of that clause.
    #[must_use]
    pub fn without(mut self, clause: ClauseId) -> Self {
        self.off.insert(clause);
        self
    }

    /// The same rules with one choice fixed.
    #[must_use]
    pub fn fixing(mut self, choice: ChoiceId, option: u8) -> Self {
        self.choices = self.choices.with(choice, option);
        self
    }
}

/// Lends the rules to one call of a machine.
#[derive(Debug)]
pub struct RuleContext<'a> {
    rules: &'a Rules,
    /// The switched-off clauses that would have been broken.
    pub hits: ClauseSet,
    /// Where open choices that were asked for are noted.
    asked: Option<&'a Cell<ChoiceSet>>,
}

impl RuleContext<'_> {
    /// The clause would be broken here: `true` if that counts, otherwise it is noted as a hit.
    #[inline]
    pub fn enforces(&mut self, clause: ClauseId) -> bool {
        let off = self.rules.off.contains(clause);
        if off {
            self.hits.insert(clause);
        }
        !off
    }

    /// The option of a choice.
    ///
    /// # Errors
    /// [`OpenChoice`] if more than one is possible.
    #[inline]
    pub fn choice(&self, choice: ChoiceId) -> Result<u8, OpenChoice> {
        self.rules.choices.fixed(choice).ok_or_else(|| self.is_open(choice))
    }

    #[cold]
    fn is_open(&self, choice: ChoiceId) -> OpenChoice {
        if let Some(asked) = self.asked {
            let mut all = asked.get();
            all.insert(choice);
            asked.set(all);
        }
        OpenChoice(choice)
    }
}
