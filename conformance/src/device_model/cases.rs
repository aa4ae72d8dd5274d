//! For each kind of case: what is asked for, and what should come of it, computed from descriptions.
//!
//! | kind | what is asked for |
//! |---|---|
//! | `initial` | a model, and nothing of it |
//! | `allowed` | configurations that the description allows, with every parameter named |
//! | `value` | a value outside of what is accepted for one parameter |
//! | `type` | a value of another type |
//! | `unknown` | a parameter that the model does not have |
//! | `model` | a model that is not described |
//! | `joint` | values that are accepted one by one, and not together |
//! | `twice` | two values for one parameter |
//! | `version` | a version, and nothing besides |
//! | `version-and-value` | a version, and another value for a parameter that it names |
//! | `no-version` | a version that there is not |
//! | `pooled` | a configuration that is far from the initial one |
//! | `other-configuration` | two configurations of one model |
//! | `other-model` | two models |
//! | `vector` | what a golden state is of, where it is accepted |
//! | `vector-off` | the same, with a parameter of the model that is off |
//! | `shared` | what both this implementation and its peer accept |
//! | `peer-only` | what only the peer makes |
//!
//! **Invariant.** At most as many cases of a kind as asked for, and the same for the same seed.

use std::collections::BTreeMap;

use devmig_model::device_model::{
    Allowed, Configuration, External, Implementation, Instance, Model, ModelId, Name, Parameter,
    Value, check,
};

use super::arguments::{Asked, Written};
use super::covering::{jointly_refused, sample};
use super::golden::Golden;

/// A kind of case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the table above says what each is
pub enum Kind {
    Initial,
    Allowed,
    Value,
    Type,
    Unknown,
    Model,
    Joint,
    Twice,
    Version,
    VersionAndValue,
    NoVersion,
    Pooled,
    OtherConfiguration,
    OtherModel,
    Vector,
    VectorOff,
    Shared,
    PeerOnly,
}

impl Kind {
    /// All, by their names.
    pub const ALL: [(&'static str, Kind); 18] = [
        ("initial", Kind::Initial),
        ("allowed", Kind::Allowed),
        ("value", Kind::Value),
        ("type", Kind::Type),
        ("unknown", Kind::Unknown),
        ("model", Kind::Model),
        ("joint", Kind::Joint),
        ("twice", Kind::Twice),
        ("version", Kind::Version),
        ("version-and-value", Kind::VersionAndValue),
        ("no-version", Kind::NoVersion),
        ("pooled", Kind::Pooled),
        ("other-configuration", Kind::OtherConfiguration),
        ("other-model", Kind::OtherModel),
        ("vector", Kind::Vector),
        ("vector-off", Kind::VectorOff),
        ("shared", Kind::Shared),
        ("peer-only", Kind::PeerOnly),
    ];

    /// What must be there for it, if anything.
    #[must_use]
    pub fn needs(self) -> Option<&'static str> {
        match self {
            Kind::Vector | Kind::VectorOff => Some("golden states (--golden)"),
            Kind::Shared => {
                Some("another implementation with some of the same configurations (--peer)")
            }
            Kind::PeerOnly => Some("another implementation with more configurations (--peer)"),
            Kind::Joint => Some("a description with joint constraints"),
            Kind::Version | Kind::VersionAndValue => Some("a description with versions"),
            Kind::OtherModel => Some("a description of two models"),
            _ => None,
        }
    }
}

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is asked for.
    pub asked: Asked,
    /// What it should be; none if it is to be refused.
    pub made: Option<Configuration>,
    /// What a refusal has to name, one of them at least.
    pub about: Vec<String>,
    /// What else is made: of another configuration, of another model, or by the peer.
    pub other: Option<Asked>,
    /// What that should be, where it is read back.
    pub other_made: Option<Configuration>,
    /// A golden state of it.
    pub golden: Option<Golden>,
}

/// What cases are made of.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// What the implementation says of itself.
    pub own: &'a Implementation,
    /// What its peer says.
    pub peer: Option<&'a Implementation>,
    /// States that were kept.
    pub golden: &'a [Golden],
    /// At most so many.
    pub most: usize,
    /// For what is drawn.
    pub seed: u64,
}

impl Case {
    fn refused(asked: Asked, about: impl IntoIterator<Item = impl ToString>) -> Self {
        let about = about.into_iter().map(|name| name.to_string()).collect();
        Case { asked, made: None, about, other: None, other_made: None, golden: None }
    }

    fn made(asked: Asked, made: Configuration) -> Self {
        let (about, other, other_made, golden) = Default::default();
        Case { asked, made: Some(made), about, other, other_made, golden }
    }

    fn whole(configuration: &Configuration) -> Self {
        Self::made(Asked::all(configuration), configuration.clone())
    }

    fn and(self, other: Asked) -> Self {
        Case { other: Some(other), ..self }
    }
}

impl Source<'_> {
    /// The cases of a kind.
    #[must_use]
    pub fn cases(&self, kind: Kind) -> Vec<Case> {
        let models = || self.own.models().values();
        let per_model = self.most.div_ceil(models().count().max(1)).max(1);
        let each =
            |of: &dyn Fn(&Model) -> Vec<Case>| -> Vec<Case> { models().flat_map(of).collect() };
        let mut cases = match kind {
            Kind::Initial => each(&|model| {
                let initial = model.initial().ok();
                initial.into_iter().map(|made| Case::made(Asked::of(model.id()), made)).collect()
            }),
            Kind::Allowed => self.allowed(),
            Kind::Value => each(&|model| by_parameter(model, &outside)),
            Kind::Type => each(&|model| by_parameter(model, &|p| Written::not_of(p.kind()))),
            Kind::Unknown => each(&unknown),
            Kind::Model => self.models(),
            Kind::Joint => each(&|model| self.joint(model)),
            Kind::Twice => each(&|model| twice(model)),
            Kind::Version => each(&|model| versions(model)),
            Kind::VersionAndValue => each(&|model| versions_and_values(model)),
            Kind::NoVersion => each(&|model| {
                let version = Some("devmig-no-such-version".to_owned());
                let asked = Asked { version, ..Asked::of(model.id()) };
                let names = ["devmig-no-such-version".to_owned(), model.id().to_string()];
                vec![Case::refused(asked, names)]
            }),
            Kind::Pooled => each(&|model| self.pooled(model)),
            Kind::OtherConfiguration => each(&|model| neighbours(model, per_model)),
            Kind::OtherModel => self.other_models(),
            Kind::Vector => self.vectors(false),
            Kind::VectorOff => self.vectors(true),
            Kind::Shared => self.shared(),
            Kind::PeerOnly => self.peer_only(),
        };
        cases.truncate(self.most);
        cases
    }

    /// Of each model in turn, so that the bound leaves none out.
    fn allowed(&self) -> Vec<Case> {
        let models = self.own.models().values();
        let count = models.len().max(1);
        let share = |n: usize| self.most / count + usize::from(n < self.most % count);
        let of = |(n, model)| sample(model, share(n).max(1), self.seed);
        let all: Vec<Configuration> = models.enumerate().flat_map(of).collect();
        all.iter().map(Case::whole).collect()
    }

    fn models(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for id in self.own.models().keys() {
            // Nearly the name of one that is there.
            for other in [format!("{id}-x"), format!("x.{}", id.as_str().replace("https://", ""))] {
                let there =
                    other.parse::<ModelId>().is_ok_and(|other| self.own.model(&other).is_some());
                if !there {
                    let asked = Asked { model: other.clone(), ..Asked::default() };
                    cases.push(Case::refused(asked, [other]));
                }
            }
        }
        cases
    }

    fn joint(&self, model: &Model) -> Vec<Case> {
        let case = |row: Vec<(Name, Value)>| {
            let names =
                model.constraints().iter().flat_map(|c| c.parameters()).map(Name::to_string);
            let asked =
                row.iter().fold(Asked::of(model.id()), |asked, (name, v)| asked.with(name, v));
            Case::refused(asked, names.collect::<Vec<_>>())
        };
        jointly_refused(model, self.most, self.seed).into_iter().map(case).collect()
    }

    /// The farthest from the initial configuration, in how many parameters differ.
    fn pooled(&self, model: &Model) -> Vec<Case> {
        let Ok(initial) = model.initial() else { return Vec::new() };
        let differ = |c: &Configuration| {
            c.parameters().iter().filter(|(name, v)| initial.get(name.as_str()) != Some(*v)).count()
        };
        let rows = sample(model, self.most.max(8), self.seed);
        let far = rows.iter().max_by_key(|row| differ(row)).filter(|row| differ(row) > 0);
        let case = |row| Case {
            other_made: Some(initial.clone()),
            ..Case::whole(row).and(Asked::of(model.id()))
        };
        far.map(case).into_iter().collect()
    }

    fn other_models(&self) -> Vec<Case> {
        let initial = |model: &Model| model.initial().ok();
        let all: Vec<Configuration> = self.own.models().values().filter_map(initial).collect();
        let mut cases = Vec::new();
        for one in &all {
            let others = all.iter().filter(|other| other.model() != one.model());
            cases.extend(others.map(|other| Case::whole(one).and(Asked::all(other))));
        }
        cases
    }

    fn vectors(&self, with_off: bool) -> Vec<Case> {
        let mut cases = Vec::new();
        for golden in self.golden {
            let Ok(here) = check(&golden.instance, self.own) else { continue };
            let offs = self.own.model(here.model()).map(|model| model.known().offs());
            let is_off = |(name, value): (&Name, &Value)| {
                offs.is_some_and(|offs| offs.get(name) == Some(value))
            };
            if with_off && !here.parameters().iter().any(is_off) {
                continue;
            }
            let there = self.peer.and_then(|peer| check(&golden.instance, peer).ok());
            let (other, golden) = (there.as_ref().map(Asked::all), Some(golden.clone()));
            cases.push(Case { other, golden, ..Case::whole(&here) });
        }
        cases
    }

    fn shared(&self) -> Vec<Case> {
        let Some(peer) = self.peer else { return Vec::new() };
        let there = |case: Case| {
            let made = case.made.clone()?;
            let model = self.own.model(made.model())?;
            let instance = Instance::running(&made, model.statement(), External::new());
            let there = check(&instance, peer).ok()?;
            Some(case.and(Asked::all(&there)))
        };
        self.allowed().into_iter().filter_map(there).collect()
    }

    fn peer_only(&self) -> Vec<Case> {
        let Some(peer) = self.peer else { return Vec::new() };
        let source =
            Source { own: peer, peer: None, golden: &[], most: self.most, seed: self.seed };
        let refused = |case: Case| {
            let made = case.made.clone()?;
            let model = peer.model(made.model())?;
            let instance = Instance::running(&made, model.statement(), External::new());
            let reasons = check(&instance, self.own).err()?;
            let names = reasons.reasons().iter().flat_map(|reason| {
                let names = reason.parameter.iter().flat_map(|names| names.split(", "));
                let names: Vec<String> = names.map(str::to_owned).collect();
                if names.is_empty() { vec![made.model().to_string()] } else { names }
            });
            Some(Case::refused(case.asked, names.collect::<Vec<_>>()))
        };
        source.allowed().into_iter().filter_map(refused).collect()
    }
}

/// For each parameter, what is written for it.
fn by_parameter(model: &Model, values: &dyn Fn(&Parameter) -> Vec<Written>) -> Vec<Case> {
    let of = |(name, p): (&Name, &Parameter)| {
        let asked = |value| Asked::of(model.id()).with(name, value);
        let cases = values(p).into_iter().map(|value| Case::refused(asked(value), [name]));
        cases.collect::<Vec<_>>()
    };
    let of_each: Vec<Vec<Case>> = model.parameters().iter().map(of).collect();
    in_turns(of_each)
}

/// The first of each, then the second of each, so that a bound leaves no parameter out.
fn in_turns(lists: Vec<Vec<Case>>) -> Vec<Case> {
    let most = lists.iter().map(Vec::len).max().unwrap_or(0);
    let at = |n: usize| lists.iter().filter_map(move |list| list.get(n).cloned());
    (0..most).flat_map(at).collect()
}

/// Values of the parameter's type that are not among those that are accepted: next to its ranges, and
/// far away.
fn outside(parameter: &Parameter) -> Vec<Written> {
    let allowed = parameter.allowed();
    let mut values = match allowed {
        Allowed::Any(_) => Vec::new(),
        Allowed::Bool(both) => [false, true]
            .into_iter()
            .filter(|on| !both[usize::from(*on)])
            .map(Value::Bool)
            .collect(),
        Allowed::Int(ranges) => {
            let (first, last) = (ranges.first(), ranges.last());
            let above = last.and_then(|(_, hi)| hi.checked_add(1));
            let below = first.and_then(|(lo, _)| lo.checked_sub(1));
            let gaps = ranges.iter().filter_map(|(_, hi)| hi.checked_add(1)).take(4);
            let far = [above, below, Some(u64::MAX)].into_iter().flatten().chain(gaps);
            far.map(Value::Int).collect()
        }
        Allowed::Str(_) => vec![Value::Str("devmig-no-such-value".into()), Value::Str("".into())],
    };
    values.retain(|value| !allowed.contains(value));
    values.dedup();
    values.iter().map(Written::from).collect()
}

fn unknown(model: &Model) -> Vec<Case> {
    let name = "devmig-no-such-parameter";
    let asked =
        |value: Written| Asked { given: vec![(name.to_owned(), value)], ..Asked::of(model.id()) };
    let values = [Value::Bool(true), Value::Bool(false), Value::Int(0)];
    values.iter().map(|value| Case::refused(asked(value.into()), [name])).collect()
}

/// Another value that is accepted, if there is one.
pub(super) fn another(parameter: &Parameter, than: &Value) -> Option<Value> {
    let allowed = parameter.allowed();
    let off = parameter.off().cloned();
    let mut known = match allowed {
        Allowed::Any(_) => Vec::new(),
        Allowed::Int(ranges) => {
            ranges.iter().flat_map(|(lo, hi)| [Value::Int(*lo), Value::Int(*hi)]).collect()
        }
        _ => allowed.list().unwrap_or_default(),
    };
    known.extend(off);
    known.into_iter().find(|value| value != than && allowed.contains(value))
}

fn twice(model: &Model) -> Vec<Case> {
    let of = |(name, p): (&Name, &Parameter)| {
        let init = p.init();
        let second = another(p, init).unwrap_or_else(|| init.clone());
        let asked = Asked::of(model.id()).with(name, &second).with(name, init);
        Case::refused(asked, [name])
    };
    model.parameters().iter().map(of).collect()
}

fn versions(model: &Model) -> Vec<Case> {
    let of = |version: &Name| {
        let made = model.configure(Some(version.as_str()), &[]).ok()?;
        let version = Some(version.to_string());
        Some(Case::made(Asked { version, ..Asked::of(model.id()) }, made))
    };
    model.aliases().keys().filter_map(of).collect()
}

fn versions_and_values(model: &Model) -> Vec<Case> {
    let mut cases = Vec::new();
    for (version, named) in model.aliases() {
        for (name, value) in named {
            let Some(p) = model.parameters().get(name) else { continue };
            let Some(other) = another(p, value) else { continue };
            let given = [(name.clone(), other.clone())];
            let Ok(made) = model.configure(Some(version.as_str()), &given) else { continue };
            let asked = Asked { version: Some(version.to_string()), ..Asked::of(model.id()) };
            cases.push(Case::made(asked.with(name, &other), made));
        }
    }
    cases
}

/// Configurations that differ from the initial one in one parameter, each against it and it against each.
fn neighbours(model: &Model, most: usize) -> Vec<Case> {
    let Ok(initial) = model.initial() else { return Vec::new() };
    let mut cases = Vec::new();
    for (name, p) in model.parameters() {
        let Some(other) = another(p, p.init()) else { continue };
        let settings: BTreeMap<Name, Value> = initial.parameters().clone();
        let changed = settings.into_iter().map(|(known, value)| match known == *name {
            true => (known, other.clone()),
            false => (known, value),
        });
        let changed: Vec<(Name, Value)> = changed.collect();
        let Ok(neighbour) = model.configure(None, &changed) else { continue };
        cases.push(Case::whole(&neighbour).and(Asked::all(&initial)));
        cases.push(Case::whole(&initial).and(Asked::all(&neighbour)));
    }
    cases.truncate(most);
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use devmig_reference::nic::{Release, model};

    fn source(own: &Implementation) -> Source<'_> {
        Source { own, peer: None, golden: &[], most: 40, seed: 1 }
    }

    #[test]
    fn what_should_come_of_a_case_is_what_the_model_says() {
        let own = model::implementation(Release::Two).unwrap();
        let older = model::implementation(Release::One).unwrap();
        let golden = super::super::golden::builtin().unwrap();
        let source = Source { peer: Some(&older), golden: &golden, ..source(&own) };
        for (name, kind) in Kind::ALL {
            let cases = source.cases(kind);
            let none = matches!(kind, Kind::PeerOnly);
            assert_eq!(cases.is_empty(), none, "{name}");
            assert!(cases.len() <= 40, "{name}");
            for case in cases {
                assert_eq!(case.made.is_some(), case.about.is_empty(), "{name}: {case:?}");
            }
        }
        let source = Source { own: &older, peer: Some(&own), ..source };
        let only = source.cases(Kind::PeerOnly);
        let wide = |case: &Case| case.about.contains(&"rx-filter-size".to_owned());
        assert!(only.iter().any(wide) && !source.cases(Kind::Shared).is_empty());
    }

    #[test]
    fn values_next_to_a_range_are_outside_of_it() {
        let own = model::implementation(Release::Two).unwrap();
        let values = source(&own).cases(Kind::Value);
        let asked: Vec<String> = values.iter().map(|case| case.asked.parameters()).collect();
        for wanted in
            ["{\"mtu\":67}", "{\"mtu\":9217}", "{\"queue-pairs\":0}", "{\"rx-filter-size\":1025}"]
        {
            assert!(asked.iter().any(|asked| asked == wanted), "{wanted}: {asked:?}");
        }
    }
}
