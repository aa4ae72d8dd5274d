//! What is fixed when a NIC is made: its model, and the configuration of that model.
//!
//! ```text
//!   Order (by name, as asked for) --make--> NicConfig      all reasons, where it cannot be made
//!   Parameters (by field)         --new---> NicConfig
//! ```
//!
//! **Invariant.** A [`NicConfig`] is valid and never changes: its fields are private, and nothing
//! takes it by `&mut`. What can change is state, and has types of its own (`state.rs`).
//!
//! **Not here:** what is allowed (`model.rs`).

use devmig_model::device_model::value::BadName;
use devmig_model::device_model::{
    Allowed, Configuration, Definition, External, Implementation, Instance, Model, Name, Offs,
    Reason, Refusal, Settings, Type, Value,
};

use super::mac::Mac;
use super::model::{self, BadTable, NicModel, Release};
use super::mutants::Mutant;

/// The most addresses that a filter table holds.
pub const MAX_FILTER: u16 = 1024;

/// The most queue pairs.
pub const MAX_PAIRS: u16 = 16;

/// The smallest and the largest MTU.
pub const MTU: std::ops::RangeInclusive<u16> = 68..=9216;

/// Which of two programs, written apart from each other, writes and reads its state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Encoder {
    /// `state.rs`.
    #[default]
    First,
    /// `second.rs`.
    Second,
}

/// How a NIC is built: no part of what it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Build {
    /// Which release.
    pub release: Release,
    /// How its state is written.
    pub encoder: Encoder,
    /// What is wrong with it, if anything.
    pub mutant: Option<Mutant>,
}

/// Why there is no such NIC.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// All reasons.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What is asked for has no name that a parameter could have.
    #[error("{0}")]
    Name(String),
    /// No address, or a group's, which is no NIC's.
    #[error("`mac` of `{model}` is not accepted at `{value}`: {why}")]
    Address {
        /// Of which model.
        model: String,
        /// What was asked for.
        value: String,
        /// Why it is none.
        why: String,
    },
    /// Our own fault.
    #[error(transparent)]
    Table(#[from] BadTable),
}

/// A value, as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Given {
    /// On a command line.
    Text(String),
    /// With its type.
    Value(Value),
}

/// What is asked for, by name, and not yet held against anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// The model, by either of its names.
    pub model: String,
    /// A version of it, which stands for values.
    pub version: Option<String>,
    /// Parameters and their values.
    pub given: Vec<(String, Given)>,
    /// Who makes it.
    pub build: Build,
}

impl Default for Order {
    /// The model's initial configuration.
    fn default() -> Self {
        let model = NicModel::default().id().to_owned();
        Order { model, version: None, given: Vec::new(), build: Build::default() }
    }
}

/// What one can ask for, by field. What the basic model does not have is ignored for one.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Which model.
    pub model: NicModel,
    /// Whether it has receive-side scaling.
    pub rss: bool,
    /// How many addresses its filter table holds.
    pub rx_filter_size: u16,
    /// How many pairs of a receive and a transmit queue it has.
    pub queue_pairs: u16,
    /// Whether it filters by tags.
    pub vlan_filter: bool,
    /// Its address.
    pub mac: Mac,
    /// The longest payload of a frame, in bytes.
    pub mtu: u16,
}

impl Default for Parameters {
    /// What the second release makes by itself.
    fn default() -> Self {
        Parameters {
            model: NicModel::Nic,
            rss: false,
            rx_filter_size: 32,
            queue_pairs: 1,
            vlan_filter: false,
            mac: Mac([0x52, 0x54, 0, 0xde, 0x71, 0x61]),
            mtu: 1500,
        }
    }
}

impl From<Parameters> for Order {
    fn from(p: Parameters) -> Self {
        let number = |n: u16| Value::Int(n.into());
        let mut given = vec![("mac", Value::Str(p.mac.to_string().into())), ("mtu", number(p.mtu))];
        if p.model == NicModel::Nic {
            given.extend([
                ("rss", Value::Bool(p.rss)),
                ("rx-filter-size", number(p.rx_filter_size)),
                ("queue-pairs", number(p.queue_pairs)),
                ("vlan-filter", Value::Bool(p.vlan_filter)),
            ]);
        }
        let given = given.into_iter().map(|(name, value)| (name.to_owned(), Given::Value(value)));
        Order { model: p.model.id().to_owned(), given: given.collect(), ..Order::default() }
    }
}

/// What a NIC is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NicConfig {
    configuration: Configuration,
    definition: Definition,
    offs: Offs,
    rss: bool,
    rx_filter_size: u16,
    queue_pairs: u16,
    vlan_filter: bool,
    mac: Mac,
    mtu: u16,
    build: Build,
}

impl NicConfig {
    /// A NIC with these parameters.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(parameters: Parameters) -> Result<Self, ConfigError> {
        Self::make(&parameters.into())
    }

    /// The NIC that is asked for.
    ///
    /// # Errors
    /// See [`ConfigError`]: all reasons, as far as names go by which it is asked for.
    pub fn make(order: &Order) -> Result<Self, ConfigError> {
        let Order { build, .. } = *order;
        let host = makes(build)?;
        let (known, given) = understood(&host, order)?;
        let version = order.version.as_deref();
        let configuration = match (build.mutant, version) {
            (Some(Mutant::AliasUnexpanded), Some(_)) => {
                // That there is such a version is still looked at.
                known.configure(version, &given)?;
                known.configure(None, &given)?
            }
            (Some(Mutant::AnyVersion), Some(alias)) if !known.aliases().contains_key(alias) => {
                known.configure(None, &given)?
            }
            (Some(Mutant::OtherInit), None) if given.is_empty() => {
                let mtu = "mtu".parse().map_err(|error: BadName| BadTable::new(&error))?;
                known.configure(None, &[(mtu, Value::Int(9000))])?
            }
            (Some(Mutant::AliasWins), Some(alias)) => {
                let named = known.aliases().get(alias);
                let kept = |(name, _): &&(Name, Value)| named.is_none_or(|n| !n.contains_key(name));
                let given: Vec<_> = given.iter().filter(kept).cloned().collect();
                known.configure(version, &given)?
            }
            _ => known.configure(version, &given)?,
        };
        Self::of(known, configuration, build)
    }

    /// By field. What a model or a release does not have is off.
    fn of(model: &Model, configuration: Configuration, build: Build) -> Result<Self, ConfigError> {
        let number = |name: &str, off: u16| match configuration.get(name) {
            Some(Value::Int(n)) => u16::try_from(*n).unwrap_or(u16::MAX),
            _ => off,
        };
        let is_on = |name: &str| configuration.get(name) == Some(&Value::Bool(true));
        let written = configuration.get("mac").map(Value::to_string).unwrap_or_default();
        let address = |why: String| ConfigError::Address {
            model: model.id().to_string(),
            value: written.escape_debug().to_string(),
            why,
        };
        let mac: Mac =
            written.parse().map_err(|error: super::mac::MacError| address(error.to_string()))?;
        if mac.is_group() {
            return Err(address("it is a group's, which no NIC has".into()));
        }
        if mac.to_string() != written {
            return Err(address(format!("it is written `{mac}`")));
        }
        Ok(NicConfig {
            rss: is_on("rss"),
            rx_filter_size: number("rx-filter-size", 0),
            queue_pairs: number("queue-pairs", 1).clamp(1, MAX_PAIRS),
            vlan_filter: is_on("vlan-filter"),
            mac,
            mtu: number("mtu", *MTU.end()),
            definition: model.statement(),
            offs: model.known().offs().clone(),
            configuration,
            build,
        })
    }

    /// Its model, and a value for each parameter.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// What is off at which value.
    #[must_use]
    pub fn offs(&self) -> &Offs {
        &self.offs
    }

    /// What is in effect: what its state is marked with.
    #[must_use]
    pub fn canon(&self) -> Settings {
        self.configuration.canon(&self.offs)
    }

    /// Its model and what is in effect, for people and for comparing.
    #[must_use]
    pub fn identity(&self) -> String {
        if self.is(Mutant::NoIdentity) {
            return "nic".to_owned();
        }
        let one = |(name, value): (&Name, &Value)| format!(" {name}={value}");
        let canon: String = self.canon().iter().map(one).collect();
        format!("{}{canon}", self.configuration.model())
    }

    /// How it is described, once it exists. `external` is what belongs to the host.
    #[must_use]
    pub fn instance(&self, external: External) -> Instance {
        let true_one = Instance::running(&self.configuration, self.definition.clone(), external);
        if !self.is(Mutant::ReadBackLies) {
            return true_one;
        }
        let mut parameters = true_one.parameters().clone();
        if let Some(pairs) = parameters.get_mut("queue-pairs") {
            *pairs = Value::Int(1);
        }
        let external = true_one.external().clone();
        let lie = Instance::described(true_one.model().clone(), parameters, external, None);
        lie.unwrap_or(true_one)
    }

    /// Who made it.
    #[must_use]
    pub fn build(&self) -> Build {
        self.build
    }

    pub(super) fn is(&self, mutant: Mutant) -> bool {
        self.build.mutant == Some(mutant)
    }

    /// Whether it has receive-side scaling.
    #[must_use]
    pub fn rss(&self) -> bool {
        self.rss
    }

    /// How many addresses its filter table holds.
    #[must_use]
    pub fn rx_filter_size(&self) -> u16 {
        self.rx_filter_size
    }

    /// How many queue pairs it has, 1 to [`MAX_PAIRS`].
    #[must_use]
    pub fn queue_pairs(&self) -> u16 {
        self.queue_pairs
    }

    /// Whether it filters by tags.
    #[must_use]
    pub fn vlan_filter(&self) -> bool {
        self.vlan_filter
    }

    /// Its first address: the driver may set another.
    #[must_use]
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// The longest payload of a frame, in bytes.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// The longest frame, in bytes: a header, a VLAN tag, and the payload.
    #[must_use]
    pub fn max_frame(&self) -> usize {
        super::frame::HEADER + super::frame::TAG + usize::from(self.mtu)
    }
}

/// What this build makes; it is what it says that it makes, unless something is wrong with it.
fn makes(build: Build) -> Result<Implementation, ConfigError> {
    let host = model::implementation(build.release)?;
    let changed = |change: &dyn Fn(&Name, Allowed) -> Allowed, joint: bool| {
        let models = host.models().values().map(|model| {
            let parameters = model.parameters().iter().map(|(name, p)| {
                let allowed = change(name, p.allowed().clone());
                let parameter = devmig_model::device_model::Parameter::new(
                    allowed,
                    p.init().clone(),
                    p.off().cloned(),
                );
                Ok((name.clone(), parameter.map_err(table)?))
            });
            let parameters = parameters.collect::<Result<_, BadTable>>()?;
            let constraints = if joint { model.constraints().to_vec() } else { Vec::new() };
            let (id, aliases) = (model.id().clone(), model.aliases().clone());
            Model::new(id, parameters, aliases, constraints, model.definition().cloned())
                .map_err(table)
        });
        let models = models.collect::<Result<Vec<_>, _>>()?;
        Ok(Implementation::new(models).map_err(table)?)
    };
    match build.mutant {
        Some(Mutant::AllowsMore) => changed(&|_, set| Allowed::Any(set.kind()), true),
        Some(Mutant::AllowsLess) => changed(
            &|name, set| match name.as_str() {
                "queue-pairs" => Allowed::Int(vec![(1, u64::from(MAX_PAIRS) - 1)]),
                _ => set,
            },
            true,
        ),
        Some(Mutant::JointIgnored) => changed(&|_, set| set, false),
        _ => Ok(host),
    }
}

fn table(error: devmig_model::device_model::BadModel) -> BadTable {
    BadTable::new(&error)
}

/// Values of parameters, in the order in which they were asked for.
type Asked = Vec<(Name, Value)>;

/// The model that is asked for, and values of the right types where text can be read so.
fn understood<'h>(
    host: &'h Implementation,
    order: &Order,
) -> Result<(&'h Model, Asked), ConfigError> {
    let is = |mutant| order.build.mutant == Some(mutant);
    let written: &str = match NicModel::named(&order.model) {
        None if is(Mutant::AnyModel) => NicModel::default().id(),
        _ => &order.model,
    };
    let id = NicModel::named(written).map_or_else(|| written.to_owned(), |m| m.id().to_owned());
    let id = id
        .parse::<devmig_model::device_model::ModelId>()
        .map_err(|bad| Refusal::from(Reason::bad_id(&bad)))?;
    let known = host.model(&id);
    let known =
        known.ok_or_else(|| Refusal::from(Reason::unsupported(&id, host.models().keys())))?;
    let mut given: Vec<(Name, Value)> = Vec::new();
    for (name, value) in &order.given {
        let name: Name = name.parse().map_err(|bad: BadName| ConfigError::Name(bad.to_string()))?;
        let parameter = known.parameters().get(&name);
        if parameter.is_none() && is(Mutant::IgnoresUnknown) {
            continue;
        }
        let mut value = match value {
            Given::Value(value) => value.clone(),
            // What cannot be read stays a string, and is refused as one.
            Given::Text(text) => parameter
                .and_then(|parameter| parameter.kind().read(text).ok())
                .unwrap_or_else(|| Value::Str(text.as_str().into())),
        };
        if let Some(parameter) = parameter {
            if is(Mutant::CoercesTypes) && parameter.kind() == Type::Bool {
                value = Value::Bool(value != Value::Bool(false));
            }
            if let (Allowed::Int(ranges), Value::Int(n)) = (parameter.allowed(), &mut value) {
                let most = ranges.last().map_or(u64::MAX, |(_, most)| *most);
                *n = if is(Mutant::Clamps) { most.min(*n) } else { *n };
            }
        }
        if is(Mutant::LastWins) {
            given.retain(|(known, _)| *known != name);
        }
        given.push((name, value));
    }
    Ok((known, given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_made_is_said_with_all_reasons() {
        let with = |change: fn(&mut Parameters)| {
            let mut parameters = Parameters::default();
            change(&mut parameters);
            NicConfig::new(parameters).map_err(|error| error.to_string())
        };
        let said = with(|p| (p.rx_filter_size, p.queue_pairs) = (1025, 0)).unwrap_err();
        assert_eq!(
            said,
            "`queue-pairs` of `devmig.example/nic` is not accepted at `0`: accepted values are 1-16; \
             `rx-filter-size` of `devmig.example/nic` is not accepted at `1025`: accepted values are \
             0-1024"
        );
        assert!(with(|p| p.mtu = 67).is_err());
        assert!(with(|p| p.mac = Mac::BROADCAST).unwrap_err().contains("`mac`"));
        let joint = with(|p| (p.vlan_filter, p.rx_filter_size) = (true, 0)).unwrap_err();
        assert!(joint.contains("rx-filter-size") && joint.contains("vlan-filter"), "{joint}");
        assert_eq!(with(|p| p.mtu = 9216).map(|config| config.max_frame()), Ok(9234));
        assert_eq!(MAX_FILTER, 1024);
    }

    #[test]
    fn the_defaults_are_the_table_s() {
        assert_eq!(NicConfig::new(Parameters::default()), NicConfig::make(&Order::default()));
        let basic = Parameters { model: NicModel::Basic, ..Parameters::default() };
        let order = Order { model: NicModel::Basic.uri().into(), ..Order::default() };
        assert_eq!(NicConfig::new(basic), NicConfig::make(&order));
    }

    #[test]
    fn a_version_is_expanded_and_what_is_given_has_the_last_word() {
        let order = |given: Vec<(String, Given)>| Order {
            version: Some("2".into()),
            given,
            ..Order::default()
        };
        let plain = NicConfig::make(&order(Vec::new())).unwrap();
        assert!(plain.rss() && plain.vlan_filter() && plain.rx_filter_size() == 32);
        let less = order(vec![("rss".into(), Given::Text("off".into()))]);
        assert!(!NicConfig::make(&less).unwrap().rss());
        let other = Order { version: Some("3".into()), ..Order::default() };
        assert!(NicConfig::make(&other).unwrap_err().to_string().contains("no alias `3`"));
    }
}
