//! Two interpretations of one choice: which test takes which.
//!
//! ```text
//!   tests before  --each narrows choices--> Shown: the test that narrowed each
//!   this test     --fails by what is known, is allowed with every choice open--> with one of them open?
//!                                                                                    |
//!                                           Conflict: the choice, what this test takes <--'
//! ```

use std::collections::BTreeMap;

use devmig_engine::clause::ChoiceId;
use devmig_engine::rules::{Choices, Rules};
use devmig_model::registry::Library;
use devmig_model::spec::Spec;

use crate::harness::report::{Outcome, Status};
use crate::harness::verdict::options;

/// The test that has narrowed each choice last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Shown(BTreeMap<ChoiceId, String>);

impl Shown {
    /// After this test, what was possible `before` is what is possible `after`.
    pub(super) fn add(&mut self, spec: &Spec, before: &Choices, after: &Choices, test: &str) {
        let narrowed = all(spec).filter(|c| options(spec, *c, before) != options(spec, *c, after));
        self.0.extend(narrowed.map(|choice| (choice, test.to_owned())));
    }

    fn by(&self, choice: ChoiceId) -> &str {
        self.0.get(&choice).map_or("other tests", String::as_str)
    }
}

/// A choice of which a conversation takes another interpretation than is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Conflict {
    choice: ChoiceId,
    /// What it can be here.
    here: Vec<u8>,
}

fn all(spec: &Spec) -> impl Iterator<Item = ChoiceId> + '_ {
    (0..spec.choices().len()).map(ChoiceId::new)
}

/// The choices of which each, if it alone were not `known`, would allow a conversation. `allows` judges it.
pub(super) fn conflicts(
    spec: &Spec,
    known: Rules,
    open: &Choices,
    allows: impl Fn(Rules) -> bool,
) -> Vec<Conflict> {
    let with = |choices: Choices| allows(Rules { choices, ..known });
    let is_known = |c: &ChoiceId| options(spec, *c, &known.choices) != options(spec, *c, open);
    let explains = all(spec).filter(is_known).filter(|choice| {
        let only_this_open = known.choices.opened(*choice).and(open);
        // What is known of the others holds.
        let others =
            all(spec).filter(|other| other != choice).fold(only_this_open, |all, other| {
                all.only(other, &options(spec, other, &known.choices))
            });
        with(others)
    });
    let here = |choice: ChoiceId| -> Vec<u8> {
        let one = |option: &u8| with(known.choices.with(choice, *option));
        options(spec, choice, open).into_iter().filter(one).collect()
    };
    explains.map(|choice| Conflict { choice, here: here(choice) }).collect()
}

/// A test fails by what other tests have shown, and passes without that.
pub(super) fn contradiction(
    library: &Library,
    known: &Choices,
    shown: &Shown,
    conflicts: &[Conflict],
    log: Vec<String>,
) -> Outcome {
    let spec = &library.spec;
    let named = |choice: ChoiceId, of: &[u8]| {
        let of: Vec<&str> = of.iter().map(|option| spec.option_name(choice, *option)).collect();
        of.join(" or ")
    };
    let each = conflicts.iter().map(|Conflict { choice, here }| {
        let (name, by) = (spec.choice_name(*choice), shown.by(*choice));
        let there = named(*choice, &options(spec, *choice, known));
        let here = named(*choice, here);
        (
            format!("{name} = {here} in this test, {there} in {by}"),
            format!("{name} = {there}, as in {by}"),
        )
    });
    let (mut seen, mut expected): (Vec<String>, Vec<String>) = each.unzip();
    if seen.is_empty() {
        seen.push("this behaviour contradicts that in other tests".to_owned());
        let fixed = all(spec).filter_map(|choice| Some((choice, known.fixed(choice)?)));
        let fixed = fixed.map(|(choice, option)| {
            let (name, option) = (spec.choice_name(choice), spec.option_name(choice, option));
            format!("{name} = {option}, as in {}", shown.by(choice))
        });
        expected.extend(fixed);
    }
    if expected.is_empty() {
        expected.push("the interpretation that other tests have shown".to_owned());
    }
    let seen = seen.join("; or ");
    Outcome {
        observed: Some(format!(
            "the implementation takes two interpretations of one choice: {seen}"
        )),
        expected,
        log,
        ..Outcome::new(Status::Fail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two choices of more than one option, and what is possible of them at first.
    fn two(library: &Library) -> (ChoiceId, ChoiceId, Choices) {
        let (spec, open) = (&library.spec, library.spec.open());
        let mut several = all(spec).filter(|choice| options(spec, *choice, &open).len() > 1);
        (several.next().unwrap(), several.next().unwrap(), open)
    }

    #[test]
    fn a_contradiction_names_the_choice_and_a_test_for_each_interpretation() {
        let library = Library::builtin().unwrap();
        let (spec, (one, other, open)) = (&library.spec, two(&library));
        let known = open.with(one, 0).with(other, 1);
        let mut shown = Shown::default();
        shown.add(spec, &open, &open.with(one, 0), "first");
        shown.add(spec, &open.with(one, 0), &known, "second");
        let rules = Rules { choices: known, ..Rules::default() };
        // It was seen to take the first option of the second choice, whatever the first choice is.
        let conflicts = conflicts(spec, rules, &open, |rules| rules.choices.allows(other, 0));
        assert_eq!(conflicts, [Conflict { choice: other, here: vec![0] }]);
        let outcome = contradiction(&library, &known, &shown, &conflicts, Vec::new());
        let name = spec.choice_name(other);
        let [zero, one] = [0, 1].map(|option| spec.option_name(other, option));
        let said = format!("one choice: {name} = {zero} in this test, {one} in second");
        assert!(outcome.observed.as_ref().unwrap().ends_with(&said), "{outcome:?}");
        assert_eq!(outcome.expected, [format!("{name} = {one}, as in second")]);
    }

    #[test]
    fn a_contradiction_that_no_single_choice_explains_names_all_that_is_known() {
        let library = Library::builtin().unwrap();
        let (spec, (one, other, open)) = (&library.spec, two(&library));
        let known = open.with(one, 0).with(other, 0);
        let mut shown = Shown::default();
        shown.add(spec, &open, &known, "first");
        let rules = Rules { choices: known, ..Rules::default() };
        let needs_both =
            |rules: Rules| rules.choices.allows(one, 1) && rules.choices.allows(other, 1);
        let conflicts = conflicts(spec, rules, &open, needs_both);
        assert_eq!(conflicts, []);
        let outcome = contradiction(&library, &known, &shown, &conflicts, Vec::new());
        assert!(outcome.observed.unwrap().ends_with("contradicts that in other tests"));
        let named = |choice| {
            format!("{} = {}, as in first", spec.choice_name(choice), spec.option_name(choice, 0))
        };
        assert_eq!(outcome.expected[..2], [named(one), named(other)]);
    }
}
