//! What a proposal says to no effect, or perhaps to another one than was meant: warnings.

use crate::spec::{Diagnostics, Item, Spanned, SpecError, WrittenItem, did_you_mean, with_help};
use devmig_engine::explore::names::{NON_VACUOUS, OF_EVERY_SYSTEM};

/// A warning at the name of an item.
fn at(item: &WrittenItem, message: String, label: &str) -> SpecError {
    SpecError::at(&item.file, item.place.clone(), message, label)
}

/// Warns of clauses, choices, properties and programs of a proposal that nothing uses.
pub(super) fn unused(contents: &[WrittenItem], built_in: &[WrittenItem], d: &mut Diagnostics) {
    for item in contents {
        let name = &item.label;
        match item.kind.as_str() {
            "clause" if !d.is_used(name) => {
                let message = format!("nothing uses the clause `{name}`");
                let help = "a row names it in `breaks`, `undefined`, `late` or `refused`, or a system \
                            in `without` or `breaks`";
                d.warn(at(item, message, "unused").help(help));
            }
            "choice" if !d.is_used(name) => {
                let message = format!("no rule asks for the choice `{name}`");
                let help = format!("a row asks for it with `choice = \"{name} = OPTION\"`");
                d.warn(at(item, message, "unused").help(help));
            }
            "property"
                if !contents
                    .iter()
                    .any(|other| other.kind == "system" && other.texts.contains(name)) =>
            {
                let message = format!("no system checks the property `{name}`");
                let help = "a system names it in `holds` or `violated`";
                d.warn(at(item, message, "unused").help(help));
            }
            "program" => {
                let replaces =
                    built_in.iter().any(|known| known.kind == "program" && known.label == *name);
                let runs = |text: &String| {
                    let before = text.strip_suffix(name.as_str());
                    before.is_some_and(|before| {
                        before.is_empty() || before.ends_with("run ") || before.ends_with("else ")
                    })
                };
                let others = contents.iter().filter(|other| other.place != item.place);
                if !replaces && !others.flat_map(|other| &other.texts).any(runs) {
                    let message = format!("nothing runs the program `{name}`");
                    let help = format!("a system runs it with the step `run {name}`");
                    d.warn(at(item, message, "unused").help(help));
                }
            }
            _ => {}
        }
    }
}

/// Warns of systems that take the place of built-in ones, if the proposal does not say that these are
/// explored.
pub(super) fn replaced(
    contents: &[WrittenItem],
    built_in: &[WrittenItem],
    systems: &[String],
    d: &mut Diagnostics,
) {
    for item in contents.iter().filter(|item| item.kind == "system") {
        let name = &item.label;
        let is_known = built_in.iter().any(|known| known.kind == "system" && known.label == *name);
        if is_known && !systems.contains(name) {
            let message = format!("this takes the place of the built-in system `{name}`");
            let help = format!(
                "give it another name; or, if it is meant, add \"{name}\" to `systems` of the proposal"
            );
            d.warn(at(item, message, "a built-in name").help(help));
        }
    }
}

/// Warns of each property of an expectation that its system does not check.
pub(super) fn unchecked<T>(
    item: &Item<T>,
    (system, checked): (&str, &[String]),
    violated: &[Spanned<String>],
    d: &mut Diagnostics,
) {
    for name in violated {
        let own = name.get_ref().strip_suffix(NON_VACUOUS).unwrap_or(name.get_ref());
        let known = checked.iter().map(String::as_str).chain(OF_EVERY_SYSTEM);
        if !known.clone().any(|known| known == own) {
            let message = format!("`{system}` does not check the property `{own}`");
            let warning = item.error(name.span(), message, "never violated there");
            d.warn(with_help(warning, did_you_mean(own, known)));
        }
    }
}

/// Warns of a proposal that nothing is explored for.
pub(super) fn without_a_system(contents: &[WrittenItem], d: &mut Diagnostics) {
    for item in contents.iter().filter(|item| item.kind == "proposal") {
        let message = "this proposal has no system, so that nothing is explored".to_owned();
        let help = "name built-in systems in `systems`, or add a `[[system]]`";
        d.warn(at(item, message, "no system").help(help));
    }
}
