//! The releases of a system's hosts, and what they make of each other's devices: computed once, by the
//! rules of [`crate::device_model`], so that a step of exploration looks it up.
//!
//! **Invariants.** A configuration is known by what is in effect in it: two numbers are equal if and only
//! if the devices are. Every configuration that some release makes has a number.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::device_model::bounded_json::List;
use crate::device_model::configuration::canon;
use crate::device_model::form::{BadForm, ImplementationForm, ModelForm, ParameterForm};
use crate::device_model::{
    Allowed, External, Implementation, Instance, Model, Name, Offs, Settings, Value, check,
};
use crate::spec::Spanned;

/// A release: which devices a host with this release can create.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRelease {
    /// Its name.
    pub name: Spanned<String>,
    /// What distinguishes it, in one sentence.
    pub about: Spanned<String>,
    /// Which of two formats it writes device state in: 0 or 1.
    #[serde(default)]
    pub representation: u8,
    /// The parameters of its device model, as in a description of an implementation.
    pub parameters: Vec<ParameterForm>,
}

/// The model that all of them make.
const MODEL: &str = "vendor-a.com/my-nic";
/// The most configurations: their numbers have four bits.
pub const MOST: usize = 16;

/// A release, resolved.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// What it can make.
    pub implementation: Implementation,
    /// How it writes state down: 0 or 1.
    pub representation: u8,
}

impl Release {
    /// Resolves one.
    ///
    /// # Errors
    /// Why its description is none, or too large to be explored.
    pub fn resolve(raw: &RawRelease) -> Result<Self, BadRelease> {
        let model = ModelForm {
            model: MODEL.to_owned(),
            parameters: List(raw.parameters.clone()),
            aliases: Default::default(),
            constraints: Default::default(),
            description: None,
        };
        let form = ImplementationForm { models: List(vec![model]), definition: None };
        let implementation = form.resolve()?;
        if raw.representation > 1 {
            return Err(BadRelease::Representation);
        }
        let release = Release {
            name: raw.name.get_ref().clone(),
            implementation,
            representation: raw.representation,
        };
        release.all().map(|_| release)
    }

    fn model(&self) -> Option<&Model> {
        self.implementation.models().values().next()
    }

    /// Every total configuration that it makes.
    fn all(&self) -> Result<Vec<Settings>, BadRelease> {
        let mut all = vec![Settings::new()];
        for (name, parameter) in self.model().into_iter().flat_map(Model::parameters) {
            let values = match parameter.allowed() {
                Allowed::Any(_) => None,
                set => set.list(),
            };
            let values = values.unwrap_or_default();
            let plain = values.iter().all(|value| parameter.allowed().contains(value));
            if values.is_empty() || !plain || all.len() * values.len() > MOST {
                return Err(BadRelease::Values(name.clone()));
            }
            let with = |settings: &Settings, value: &Value| {
                let mut settings = settings.clone();
                settings.insert(name.clone(), value.clone());
                settings
            };
            let each = |settings| values.iter().map(|v| with(settings, v)).collect::<Vec<_>>();
            all = all.iter().flat_map(each).collect();
        }
        Ok(all)
    }
}

/// Why a release cannot be explored.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadRelease {
    /// Its description is wrong.
    #[error(transparent)]
    Form(#[from] BadForm),
    /// A representation that is neither of two.
    #[error("a representation is 0 or 1")]
    Representation,
    /// A parameter with too many values.
    #[error("`{0}` needs a list of a few values and no ranges")]
    Values(Name),
}

/// Why releases are no universe.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadUniverse {
    /// Too many configurations.
    #[error("the releases make more than {MOST} different devices")]
    Many,
    /// They do not agree on what is off.
    #[error("the releases do not agree at which value `{0}` is off")]
    Off(Name),
    /// A release that is none.
    #[error(transparent)]
    Release(#[from] BadRelease),
}

crate::choice_ids! {
    /// The choices that are asked of hosts.
    pub struct ChoiceIds {
        /// What becomes of a parameter that a creation does not name and that has no off value.
        mandatory: "device-model.mandatory" as Mandatory { Refuse = "refuse", Initial = "initial" },
    }
}

/// All that the hosts of a system can make, and what each makes of the others' devices.
#[derive(Clone, Debug)]
pub struct Universe {
    /// The releases.
    pub releases: Vec<Release>,
    offs: Offs,
    configs: Vec<Settings>,
    /// `makes[release]`: the configurations, as a bit set.
    makes: Vec<u16>,
    /// `accepts[release]`: those that a check accepts, wherever they come from.
    accepts: Vec<u16>,
    /// `refusing[named][now][config]`: what comes of asking for it by [`Mandatory::Refuse`].
    refusing: Vec<Vec<Vec<Option<u8>>>>,
    /// The same by [`Mandatory::Initial`].
    completing: Vec<Vec<Vec<Option<u8>>>>,
    /// `initial[release]`: what a new device is.
    initial: Vec<Option<u8>>,
}

impl Universe {
    /// Computes it.
    ///
    /// # Errors
    /// See [`BadUniverse`].
    pub fn new(releases: Vec<Release>) -> Result<Self, BadUniverse> {
        let mut offs = Offs::new();
        for (name, off) in releases.iter().filter_map(Release::model).flat_map(|m| m.known().offs())
        {
            if offs.get(name).is_some_and(|known| known != off) {
                return Err(BadUniverse::Off(name.clone()));
            }
            offs.insert(name.clone(), off.clone());
        }
        let mut configs: Vec<Settings> = Vec::new();
        for release in &releases {
            for settings in release.all()? {
                let effect = canon(&settings, &offs);
                if !configs.contains(&effect) {
                    configs.push(effect);
                }
            }
        }
        if configs.len() > MOST {
            return Err(BadUniverse::Many);
        }
        // The smallest first: numbers, and with them traces, do not depend on the order of releases.
        configs.sort_by_key(|effect| (effect.len(), effect.clone()));
        let mut universe = Universe {
            releases,
            offs,
            configs,
            makes: Vec::new(),
            accepts: Vec::new(),
            refusing: Vec::new(),
            completing: Vec::new(),
            initial: Vec::new(),
        };
        universe.compute();
        Ok(universe)
    }

    fn compute(&mut self) {
        let all: Vec<u8> = self.configs().collect();
        let set = |of: &dyn Fn(u8) -> bool| {
            all.iter().filter(|c| of(**c)).fold(0_u16, |set, c| set | 1 << c)
        };
        let releases: Vec<usize> = (0..self.releases.len()).collect();
        let makes = |r: usize| set(&|c| self.make(r, r, c, Mandatory::Refuse) == Some(c));
        let makes: Vec<u16> = releases.iter().map(|r| makes(*r)).collect();
        let instance = |c: u8| {
            let from = makes.iter().position(|set| set >> c & 1 == 1)?;
            self.instance(from, c)
        };
        let accepts = |r: usize| {
            set(&|c| {
                instance(c).is_some_and(|i| check(&i, &self.releases[r].implementation).is_ok())
            })
        };
        let accepts = releases.iter().map(|r| accepts(*r)).collect();
        let one = |reading: Mandatory, named: usize, now: usize| {
            all.iter().map(|c| self.make(named, now, *c, reading)).collect::<Vec<_>>()
        };
        let row = |reading: Mandatory, named: usize| {
            releases.iter().map(|now| one(reading, named, *now)).collect::<Vec<_>>()
        };
        let table = |reading: Mandatory| {
            releases.iter().map(|named| row(reading, *named)).collect::<Vec<_>>()
        };
        let (refusing, completing) = (table(Mandatory::Refuse), table(Mandatory::Initial));
        let initial = |r: &usize| {
            let settings = self.releases[*r].model()?.initial().ok()?.parameters().clone();
            self.number(&settings)
        };
        let initial = releases.iter().map(initial).collect();
        (self.refusing, self.completing) = (refusing, completing);
        (self.makes, self.accepts, self.initial) = (makes, accepts, initial);
    }

    /// The settings of a configuration over the parameters of a release.
    fn total(&self, release: usize, config: u8) -> Vec<(Name, Value)> {
        let mut given = self.configs[usize::from(config)].clone();
        let own = self.releases[release].model().into_iter().flat_map(|m| m.parameters().keys());
        for name in own {
            if let Some(off) = self.offs.get(name).filter(|_| !given.contains_key(name)) {
                given.insert(name.clone(), off.clone());
            }
        }
        given.into_iter().collect()
    }

    fn instance(&self, release: usize, config: u8) -> Option<Instance> {
        let Release { implementation, .. } = &self.releases[release];
        let given = self.total(release, config);
        let id = implementation.models().keys().next()?;
        Instance::create(implementation, id, None, &given, External::new()).ok()
    }

    /// What a host that is release `now` makes of a call that names the parameters of release `named`.
    /// What is off and not known there needs nothing; what is not named is off, or as `reading` says.
    fn make(&self, named: usize, now: usize, config: u8, reading: Mandatory) -> Option<u8> {
        let model = self.releases[now].model()?;
        let given: BTreeMap<Name, Value> = self.total(named, config).into_iter().collect();
        let known = |(name, value): &(Name, Value)| {
            model.parameters().contains_key(name) || self.offs.get(name) != Some(value)
        };
        let mut asked: Vec<(Name, Value)> = given.clone().into_iter().filter(known).collect();
        for name in model.parameters().keys().filter(|name| !given.contains_key(*name)) {
            match self.offs.get(name) {
                Some(off) => asked.push((name.clone(), off.clone())),
                None if reading == Mandatory::Refuse => return None,
                None => {}
            }
        }
        self.number(model.configure(None, &asked).ok()?.parameters())
    }

    /// The number of a configuration.
    #[must_use]
    pub fn number(&self, settings: &Settings) -> Option<u8> {
        let effect = canon(settings, &self.offs);
        self.configs.iter().position(|known| *known == effect).map(|c| c as u8)
    }

    /// All configurations.
    pub fn configs(&self) -> impl Iterator<Item = u8> + use<> {
        0..self.configs.len() as u8
    }

    /// Whether a release makes it.
    #[must_use]
    pub fn makes(&self, release: usize, config: u8) -> bool {
        self.makes[release] >> config & 1 == 1
    }

    /// Whether a check accepts it at a host of this release.
    #[must_use]
    pub fn accepts(&self, release: usize, config: u8) -> bool {
        self.accepts[release] >> config & 1 == 1
    }

    /// What comes of asking a host of release `now` for it, by the parameters of release `named`.
    #[must_use]
    pub fn made(&self, reading: Mandatory, named: usize, now: usize, config: u8) -> Option<u8> {
        let table = match reading {
            Mandatory::Refuse => &self.refusing,
            Mandatory::Initial => &self.completing,
        };
        table[named][now][usize::from(config)]
    }

    /// What a new device is.
    #[must_use]
    pub fn initial(&self, release: usize) -> Option<u8> {
        self.initial[release]
    }

    /// Whether two configurations are the same in all parameters that a release has.
    #[must_use]
    pub fn alike(&self, release: usize, one: u8, other: u8) -> bool {
        let own = self.releases[release].model().map(Model::parameters);
        let of = |config: u8, name: &Name| self.configs[usize::from(config)].get(name).cloned();
        own.into_iter().flat_map(BTreeMap::keys).all(|name| of(one, name) == of(other, name))
    }

    /// A configuration in one line: what is in effect in it.
    #[must_use]
    pub fn label(&self, config: u8) -> String {
        let effect = self.configs.get(usize::from(config));
        let effect: Vec<_> =
            effect.into_iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
        if effect.is_empty() { "all off".to_owned() } else { effect.join(" ") }
    }
}
