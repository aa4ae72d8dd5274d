//! Properties that a file states: `[[property]]`.
//!
//! ```text
//!  [[property]] --read--> Written (its expressions parsed)
//!                            |  fits(fields of a system)     every field exists, what is compared can be
//!                            v
//!                        property(machine) --> Property, beside those that stand in code
//! ```
//!
//! A property is one of `always`, `never`, `at-end`, `reachable` and `leads-to`; `when` is its antecedent. Fields
//! and events go by the names that traces print, so that what a counterexample shows can be said.
//!
//! | file | its one job |
//! |---|---|
//! | `expression.pest`, `expression.rs` | the grammar, and what follows from it |
//! | `kind.rs` | whether an expression makes sense of a system |
//! | `evaluate.rs` | what it is, of a state or a step |
//!
//! **Invariant.** A system whose property names a field that it does not have is not loaded.
//!
//! **Not here.** Fast evaluation: a state is described as for a trace each time.

mod evaluate;
pub mod expression;
mod kind;

use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use self::evaluate::{Scene, Variables, holds};
use self::expression::{Expression, Path, Segment};
use self::kind::Senseless;
use super::input::{Input, Overlaid};
use crate::spec::{Diagnostics, Item, ItemKind, SourceFile, Spanned, Spec, SpecError, with_help};
use devmig_engine::clause::ClauseId;
use devmig_engine::compose::{Action, GlobalStateOf};
use devmig_engine::explore::trace::said;
use devmig_engine::machine::Machine;
use devmig_engine::system::{Property, Test, Transition};

/// What may be written in an expression, as `devmig proposal words` shows it.
pub const WORDS: &[(&str, &str)] = &[
    ("FIELD", "a field of the state before the step, as traces name it: `guest.running`"),
    ("after FIELD", "a field of the state after the step"),
    ("LIST[ring].FIELD", "... of the element whose number `ring` is (`each`, `every`, `some`)"),
    ("size LIST", "how many elements a list has"),
    ("event", "what happens in the step, as traces print it: `SET_STATUS 0x0 (read)`"),
    ("party", "who does it, as traces print it"),
    ("17, 0x11, \"text\", true", "a number, a text (or the name of a variant), a truth value"),
    ("not, and, or, ( )", "as usual; `and` binds stronger than `or`"),
    ("=, !=, <, <=, >, >=", "two values, compared; nothing is equal to a field that is not there"),
    ("TEXT like \"FORM\"", "the text has this form; `*` matches any characters"),
    ("NUMBER has BIT", "the number has this bit"),
    ("every x in LIST: E", "E is true of each element, whose number `x` is"),
    ("some x in LIST: E", "E is true of one element at least"),
];

/// A property that a file states: one of `always`, `never`, `at-end`, `reachable`, `leads-to`, each an
/// expression over fields and events.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawProperty {
    /// Its name, by which `holds` and `violated` of a system name it.
    name: Spanned<String>,
    /// What it says, in one sentence.
    says: Spanned<String>,
    /// Id of the clause behind it, if there is one.
    clause: Option<Spanned<String>>,
    /// `NAME in LIST`, such as `ring in vhost-user.rings`: it is stated of each element of the list.
    each: Option<Spanned<String>>,
    /// The antecedent, of `always`, `never`, `at-end` and `leads-to`.
    when: Option<Spanned<String>>,
    /// This is true in every step.
    always: Option<Spanned<String>>,
    /// This is true in no step.
    never: Option<Spanned<String>>,
    /// This is true in every accepted end.
    at_end: Option<Spanned<String>>,
    /// This is true in some step.
    reachable: Option<Spanned<String>>,
    /// After a state of which `when` is true there is, in the end, a state of which this is true.
    leads_to: Option<Spanned<String>>,
}

/// The kind `[[property]]`.
#[must_use]
pub fn item_kind() -> ItemKind {
    ItemKind::of::<RawProperty>("property")
}

/// What a property says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Always,
    Never,
    AtEnd,
    Reachable,
    LeadsTo,
}

/// A property that a file states.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its name.
    pub name: String,
    /// What it says, in one sentence.
    pub says: String,
    /// Whether a proposal brings it.
    pub proposed: bool,
    clause: Option<ClauseId>,
    each: Option<(String, Path)>,
    form: Form,
    when: Option<Expression>,
    then: Expression,
    item: Item<Range<usize>>,
}

/// Takes the `[[property]]` items of a protocol, whose own properties are called `known`.
pub(super) fn read(
    spec: &Spec,
    (input, protocol): (&mut Input<'_>, &str),
    known: &[&str],
    d: &mut Diagnostics,
) -> Vec<Arc<Written>> {
    let items = input.items_of::<RawProperty>("property", protocol, d);
    let items = items.overlaid("property", |raw| &raw.name, d);
    for Overlaid { item, .. } in &items {
        let name = &item.value.name;
        if known.contains(&name.get_ref().as_str()) {
            let message = format!("`{}` is a property of this protocol already", name.get_ref());
            d.push(item.error(name.span(), message, "built in"));
        }
    }
    items.iter().map(|item| Arc::new(Written::of(spec, item, d))).collect()
}

impl Written {
    /// Resolves an item. One that says nothing right keeps its name, so that no system is said to name what is
    /// unknown.
    fn of(spec: &Spec, of: &Overlaid<RawProperty>, d: &mut Diagnostics) -> Self {
        let (item, raw) = (&of.item, &of.item.value);
        let forms = [
            (Form::Always, &raw.always),
            (Form::Never, &raw.never),
            (Form::AtEnd, &raw.at_end),
            (Form::Reachable, &raw.reachable),
            (Form::LeadsTo, &raw.leads_to),
        ];
        let said = forms.iter().filter_map(|(form, text)| Some((*form, text.as_ref()?)));
        let said: Vec<_> = said.collect();
        let (form, then, place) = match said[..] {
            [(form, text)] => (form, parsed(item, text, d), text.span()),
            _ => {
                let message =
                    "a property says one of `always`, `never`, `at-end`, `reachable`, `leads-to`";
                d.push(item.error(item.span.clone(), message, "one of them"));
                (Form::Always, None, item.span.clone())
            }
        };
        match (form, &raw.when) {
            (Form::LeadsTo, None) => {
                d.push(item.error(place.clone(), "`when` says what leads to this", "needs `when`"));
            }
            (Form::Reachable, Some(when)) => {
                let message = "`reachable` has no antecedent: say both in it, with `and`";
                d.push(item.error(when.span(), message, "not here"));
            }
            _ => {}
        }
        let when = raw.when.as_ref().and_then(|when| parsed(item, when, d));
        let looks = when.iter().chain(&then).any(Expression::looks_at_a_step);
        if matches!(form, Form::AtEnd | Form::LeadsTo) && looks {
            let message = "`at-end` and `leads-to` are said of states: there is no step in them";
            let error = item.error(place.clone(), message, "`after`, `event` or `party`");
            d.push(error.help("say it with `always` or `never`"));
        }
        Written {
            name: raw.name.get_ref().clone(),
            says: raw.says.get_ref().clone(),
            proposed: of.proposed,
            clause: raw.clause.as_ref().and_then(|id| spec.clause_at(item, id, d)),
            each: raw.each.as_ref().and_then(|each| each_of(item, each, d)),
            form,
            when,
            then: then.unwrap_or(Expression::Truth(true)),
            item: Item { file: item.file.clone(), span: item.span.clone(), value: place },
        }
    }

    /// The file that states it.
    pub(crate) fn file(&self) -> &SourceFile {
        &self.item.file
    }

    /// Whether it makes sense of a system of this name that begins with these fields.
    ///
    /// # Errors
    /// What makes no sense, at its place.
    pub fn fits(&self, system: &str, fields: &Map<String, Value>) -> Result<(), SpecError> {
        let judged = || -> Result<(), Senseless> {
            let variable = self.each.as_ref().map(|(name, _)| name.as_str());
            if let Some((_, list)) = &self.each {
                kind::is_list(list, fields)?;
            }
            let all = self.when.iter().chain([&self.then]);
            all.into_iter().try_for_each(|e| kind::is_truth(e, fields, variable))
        };
        judged().map_err(|Senseless { why, help }| {
            let message = format!("`{}` makes no sense of `{system}`: {why}", self.name);
            with_help(self.item.error(self.item.value.clone(), message, "here"), help)
        })
    }

    /// The property in a system with this machine.
    pub fn property<M, const Q: usize, const N: usize>(
        self: &Arc<Self>,
        machine: &Arc<M>,
    ) -> Property<GlobalStateOf<M, Q, N>, M::Event>
    where
        M: Machine + Send + 'static,
    {
        let test = |instance| self.test::<M, Q, N>(machine, instance);
        let property = match &self.each {
            None => Property::new(self.name.clone(), test(0)),
            Some((variable, list)) => {
                let fields = machine.describe(&machine.initial());
                let count = kind::is_list(list, &fields).unwrap_or(0).max(1);
                Property::for_each(self.name.clone(), variable.clone(), count, test)
            }
        };
        match self.clause {
            Some(clause) => property.by(clause),
            None => property,
        }
    }

    fn test<M, const Q: usize, const N: usize>(
        self: &Arc<Self>,
        machine: &Arc<M>,
        instance: usize,
    ) -> Test<GlobalStateOf<M, Q, N>, M::Event>
    where
        M: Machine + Send + 'static,
    {
        let (this, machine) = (Arc::clone(self), Arc::clone(machine));
        let (from, from_machine) = (Arc::clone(self), Arc::clone(&machine));
        match self.form {
            Form::Always | Form::Never => Test::implies(move |t: &StepIn<'_, M, Q, N>| {
                let (before, after) = (&t.before.parts, &t.after.parts);
                let scene = Moment::new(&*machine, before, Some((after, t.action)));
                let met = this.when.as_ref().is_none_or(|e| this.holds(e, &scene, instance));
                let right = this.form == Form::Always;
                met.then(|| this.holds(&this.then, &scene, instance) == right)
            }),
            Form::AtEnd => Test::at_end_implies(move |world: &GlobalStateOf<M, Q, N>| {
                let scene = Moment::new(&*machine, &world.parts, None);
                let met = this.when.as_ref().is_none_or(|e| this.holds(e, &scene, instance));
                met.then(|| this.holds(&this.then, &scene, instance))
            }),
            Form::Reachable => Test::reachable(move |t: &StepIn<'_, M, Q, N>| {
                let (before, after) = (&t.before.parts, &t.after.parts);
                let scene = Moment::new(&*machine, before, Some((after, t.action)));
                this.holds(&this.then, &scene, instance)
            }),
            Form::LeadsTo => Test::leads_to(
                move |world: &GlobalStateOf<M, Q, N>| {
                    let scene = Moment::new(&*from_machine, &world.parts, None);
                    from.when.as_ref().is_some_and(|e| from.holds(e, &scene, instance))
                },
                move |world: &GlobalStateOf<M, Q, N>| {
                    let scene = Moment::new(&*machine, &world.parts, None);
                    this.holds(&this.then, &scene, instance)
                },
            ),
        }
    }

    fn holds(&self, e: &Expression, scene: &dyn Scene, instance: usize) -> bool {
        let variable = self.each.as_ref().map(|(name, _)| (name.as_str(), instance));
        let variables: &Variables<'_> = variable.as_slice();
        holds(e, scene, variables)
    }
}

/// `ring in LIST`.
fn each_of(
    item: &Item<RawProperty>,
    each: &Spanned<String>,
    d: &mut Diagnostics,
) -> Option<(String, Path)> {
    let read = each.get_ref().split_once(" in ").and_then(|(variable, list)| {
        let plain = variable.chars().all(|c| c.is_ascii_alphabetic()) && !variable.is_empty();
        match Expression::parse(list) {
            Ok(Expression::Path(path)) if plain && !path.after => Some((variable.to_owned(), path)),
            _ => None,
        }
    });
    let fixed = |(_, path): &(String, Path)| {
        path.segments.iter().all(|segment| matches!(segment, Segment::Name(_)))
    };
    let read = read.filter(fixed);
    if read.is_none() {
        let error = item.error(each.span(), "this is not `NAME in LIST`", "here");
        d.push(error.help("for instance `ring in vhost-user.rings`"));
    }
    read
}

fn parsed(
    item: &Item<RawProperty>,
    text: &Spanned<String>,
    d: &mut Diagnostics,
) -> Option<Expression> {
    match Expression::parse(text.get_ref()) {
        Ok(expression) => Some(expression),
        Err(bad) => {
            let span = text.span();
            let quoted = item.file.text().get(span.clone()).unwrap_or_default();
            // In a text without escapes the place is known to the byte.
            let head =
                if quoted.starts_with("\"\"\"") || quoted.starts_with("'''") { 3 } else { 1 };
            let place =
                match quoted.get(head..).is_some_and(|q| q.starts_with(text.get_ref().as_str())) {
                    true => {
                        let at = (span.start + head + bad.at).min(span.end.saturating_sub(1));
                        at..at + 1
                    }
                    false => span,
                };
            let error = item.error(place, format!("this is no expression: {bad}"), "here");
            d.push(error.help("`devmig proposal words` lists what may be written"));
            None
        }
    }
}

/// A step of a system.
type StepIn<'a, M, const Q: usize, const N: usize> =
    Transition<'a, GlobalStateOf<M, Q, N>, <M as Machine>::Event>;

/// A state or a step, described when it is asked for.
struct Moment<'m, M: Machine> {
    machine: &'m M,
    before: &'m M::State,
    step: Option<(&'m M::State, &'m Action<M::Event>)>,
    was: OnceCell<Map<String, Value>>,
    is: OnceCell<Map<String, Value>>,
    said: OnceCell<(String, String)>,
}

impl<'m, M: Machine> Moment<'m, M> {
    fn new(
        machine: &'m M,
        before: &'m M::State,
        step: Option<(&'m M::State, &'m Action<M::Event>)>,
    ) -> Self {
        let (was, is, said) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Moment { machine, before, step, was, is, said }
    }

    fn said(&self) -> &(String, String) {
        self.said.get_or_init(|| {
            self.step.map(|(_, action)| said(self.machine, action)).unwrap_or_default()
        })
    }
}

impl<M: Machine> Scene for Moment<'_, M> {
    fn fields(&self, after: bool) -> &Map<String, Value> {
        match self.step.filter(|_| after) {
            Some((state, _)) => self.is.get_or_init(|| self.machine.describe(state)),
            None => self.was.get_or_init(|| self.machine.describe(self.before)),
        }
    }

    fn event(&self) -> &str {
        &self.said().1
    }

    fn party(&self) -> &str {
        &self.said().0
    }
}
