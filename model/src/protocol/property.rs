//! A protocol's list of properties: name, clause, meaning and test of each, in one place.
//!
//! ```text
//!  properties.rs: ALL = [PropertyDefinition { name, clause, says, per, test }, ...]
//!        |  find (a system's file names it)      |  clauses (of the specification)
//!        v                                       v
//!  holds = [..], violated = [..]  ----build----> Vec<Property>
//! ```

use devmig_engine::clause::ClauseId;
use devmig_engine::system::{Property, Test};

use crate::spec::{Diagnostics, Item, Spanned, Spec, SpecErrors, did_you_mean, with_help};

/// What a property is stated of: each ring, each device. The engine quantifies it.
pub struct Per<C> {
    /// One of them, e.g. `ring`.
    pub each: &'static str,
    /// How many there are in a system.
    pub count: fn(&C) -> usize,
}

/// A property that a file may name. `C` is what its test needs to know of the system.
pub struct PropertyDefinition<C, W, E> {
    /// Its name.
    pub name: &'static str,
    /// The clause behind it; empty, if there is none.
    pub clause: &'static str,
    /// What it says, in one sentence.
    pub says: &'static str,
    /// What it is stated of, if not of the system as a whole.
    pub per: Option<Per<C>>,
    /// The test of one instance, by its index.
    pub test: fn(C, usize) -> Test<W, E>,
}

impl<C: Clone, W, E> PropertyDefinition<C, W, E> {
    /// A property of the system as a whole.
    pub(crate) const fn of_system(
        name: &'static str,
        clause: &'static str,
        says: &'static str,
        test: fn(C, usize) -> Test<W, E>,
    ) -> Self {
        PropertyDefinition { name, clause, says, per: None, test }
    }

    /// A property of each ring, device, ...
    pub(crate) const fn of_each(
        name: &'static str,
        clause: &'static str,
        says: &'static str,
        per: Per<C>,
        test: fn(C, usize) -> Test<W, E>,
    ) -> Self {
        PropertyDefinition { name, clause, says, per: Some(per), test }
    }

    /// The property in one system.
    pub(crate) fn property(&self, of: &C) -> Property<W, E> {
        let test = |instance| (self.test)(of.clone(), instance);
        match &self.per {
            None => Property::new(self.name, test(0)),
            Some(per) => Property::for_each(self.name, per.each, (per.count)(of), test),
        }
    }
}

/// The names of all.
pub(crate) fn names<C, W, E>(all: &[PropertyDefinition<C, W, E>]) -> Vec<&'static str> {
    all.iter().map(|known| known.name).collect()
}

/// The names of all, each with what it says.
pub(crate) fn words<C, W, E>(
    all: &[PropertyDefinition<C, W, E>],
) -> Vec<(&'static str, &'static str)> {
    all.iter().map(|known| (known.name, known.says)).collect()
}

/// A property that an item names, by its index among those of code and of files, in this order; if there is none,
/// the place is noted.
pub(crate) fn find_at<T>(
    names: &[&str],
    item: &Item<T>,
    name: &Spanned<String>,
    d: &mut Diagnostics,
) -> Option<usize> {
    let found = names.iter().position(|known| *known == name.get_ref());
    if found.is_none() {
        let message = format!("no property is called `{}`", name.get_ref());
        let error = item.error(name.span(), message, "unknown property");
        d.push(with_help(error, did_you_mean(name.get_ref(), names.iter().copied())));
    }
    found
}

/// The clause behind each property.
///
/// # Errors
/// What the specification lacks.
pub(crate) fn clauses<C, W, E>(
    spec: &Spec,
    all: &[PropertyDefinition<C, W, E>],
) -> Result<Vec<Option<ClauseId>>, SpecErrors> {
    let clauses = all.iter().map(|known| known.clause);
    let clauses = clauses.map(|id| (!id.is_empty()).then(|| spec.clause(id)).transpose());
    Ok(clauses.collect::<Result<_, _>>()?)
}

/// The properties of a system, by their indices: those that hold, then those whose counterexample is the
/// point.
pub(crate) fn build<C: Clone, W, E>(
    all: &[PropertyDefinition<C, W, E>],
    clauses: &[Option<ClauseId>],
    of: &C,
    (holds, violated): (&[usize], &[usize]),
) -> Vec<Property<W, E>> {
    let property = |index: &usize| {
        let property = all[*index].property(of);
        match clauses[*index] {
            Some(clause) => property.by(clause),
            None => property,
        }
    };
    let violated = violated.iter().map(property).map(Property::violated);
    holds.iter().map(property).chain(violated).collect()
}
