//! The models that this NIC can be made of, and what they are made with: one table, from which its
//! description, its checks, its command line and its saved states follow.
//!
//! ```text
//!   TABLE --implementation(release)--> Implementation --> descriptions, `Model::configure`
//!     |                                                     (devmig_model::device_model)
//!     '--config.rs--> NicConfig: the same, with a field for each parameter
//! ```
//!
//! | release | what is new |
//! |---|---|
//! | 1 | filter tables of up to 16 addresses |
//! | 2 | up to 1024; `vlan-filter`, which is off where it is absent |
//!
//! **Invariants.** Both releases state the same of a parameter that both have: its type, its off value,
//! what it affects. What is new in a release is off by default.

use std::collections::BTreeMap;
use std::str::FromStr;

use devmig_model::device_model::rfc::InfoForm;
use devmig_model::device_model::{
    Affects, Allowed, Constraint, Definition, Implementation, Model, ModelId, Name, Parameter,
    Settings, Stated, Type, Value,
};

/// The release of the device: which program this is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Release {
    /// The first.
    One,
    /// The second.
    #[default]
    Two,
}

impl Release {
    /// All of them.
    pub const ALL: [Release; 2] = [Release::One, Release::Two];
}

/// There is no such release.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no such release: there are 1 and 2")]
pub struct NoRelease;

impl FromStr for Release {
    type Err = NoRelease;

    fn from_str(text: &str) -> Result<Self, NoRelease> {
        match text {
            "1" => Ok(Release::One),
            "2" => Ok(Release::Two),
            _ => Err(NoRelease),
        }
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Release::One => "1",
            Release::Two => "2",
        })
    }
}

/// Which model: a NIC, or one without what few drivers use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum NicModel {
    /// With everything.
    #[default]
    Nic,
    /// One pair of queues, no table and no scaling.
    Basic,
}

impl NicModel {
    /// All of them.
    pub const ALL: [NicModel; 2] = [NicModel::Nic, NicModel::Basic];

    /// Its id.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            NicModel::Nic => "devmig.example/nic",
            NicModel::Basic => "devmig.example/basic-nic",
        }
    }

    /// The name that it has by the first version of the RFC: its owner declares both to be one model.
    #[must_use]
    pub const fn uri(self) -> &'static str {
        match self {
            NicModel::Nic => "https://devmig.example/nic",
            NicModel::Basic => "https://devmig.example/basic-nic",
        }
    }

    /// The model that is called this, by either name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| name == model.id() || name == model.uri())
    }
}

/// There is no such model.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no model `{0}`: there are devmig.example/nic and devmig.example/basic-nic")]
pub struct NoModel(String);

impl FromStr for NicModel {
    type Err = NoModel;

    fn from_str(name: &str) -> Result<Self, NoModel> {
        NicModel::named(name).ok_or_else(|| NoModel(name.escape_debug().to_string()))
    }
}

impl std::fmt::Display for NicModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id())
    }
}

/// A value, or several, as the table has them.
#[derive(Clone, Copy, Debug)]
enum Cell {
    Bool(bool),
    Int(u64),
    Range(&'static str),
    Str(&'static str),
}

impl Cell {
    fn value(self) -> Value {
        match self {
            Cell::Bool(on) => Value::Bool(on),
            Cell::Int(n) => Value::Int(n),
            Cell::Range(text) | Cell::Str(text) => Value::Str(text.into()),
        }
    }
}

/// What a release does with a parameter.
#[derive(Clone, Copy, Debug)]
struct Accepts {
    /// Nothing: any value of the type, which may still be refused.
    allowed: Option<&'static [Cell]>,
    init: Cell,
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
struct Row {
    name: &'static str,
    /// Its option by the third version of the RFC.
    option: &'static str,
    kind: Type,
    off: Option<Cell>,
    affects: Affects,
    /// Whether the basic model has it.
    basic: bool,
    /// By release; `None` where it does not exist.
    releases: [Option<Accepts>; 2],
    about: &'static str,
}

/// The table.
const TABLE: [Row; 6] = {
    const SWITCH: &[Cell] = &[Cell::Bool(false), Cell::Bool(true)];
    const fn both(allowed: &'static [Cell], init: Cell) -> [Option<Accepts>; 2] {
        let accepts = Accepts { allowed: Some(allowed), init };
        [Some(accepts), Some(accepts)]
    }
    [
        Row {
            name: "mac",
            option: "m-mac",
            kind: Type::Str,
            off: None,
            affects: Affects::Both,
            basic: true,
            releases: {
                let any = Accepts { allowed: None, init: Cell::Str("52:54:00:de:71:61") };
                [Some(any), Some(any)]
            },
            about: "Its first address: the driver may set another",
        },
        Row {
            name: "mtu",
            option: "m-mtu",
            kind: Type::Int,
            off: None,
            affects: Affects::Interface,
            basic: true,
            releases: both(&[Cell::Range("68-9216")], Cell::Int(1500)),
            about: "The longest payload of a frame, in bytes",
        },
        Row {
            name: "queue-pairs",
            option: "m-queue-pairs",
            kind: Type::Int,
            off: Some(Cell::Int(1)),
            affects: Affects::Both,
            basic: false,
            releases: both(&[Cell::Range("1-16")], Cell::Int(1)),
            about: "How many pairs of a receive and a transmit queue",
        },
        Row {
            name: "rss",
            option: "m-rss",
            kind: Type::Bool,
            off: Some(Cell::Bool(false)),
            affects: Affects::Both,
            basic: false,
            releases: both(SWITCH, Cell::Bool(false)),
            about: "Receive-side scaling",
        },
        Row {
            name: "rx-filter-size",
            option: "m-rx-filter-size",
            kind: Type::Int,
            off: Some(Cell::Int(0)),
            affects: Affects::Both,
            basic: false,
            releases: [
                Some(Accepts { allowed: Some(&[Cell::Range("0-16")]), init: Cell::Int(16) }),
                Some(Accepts { allowed: Some(&[Cell::Range("0-1024")]), init: Cell::Int(32) }),
            ],
            about: "How many addresses the filter table holds",
        },
        Row {
            name: "vlan-filter",
            option: "m-vlan-filter",
            kind: Type::Bool,
            off: Some(Cell::Bool(false)),
            affects: Affects::Both,
            basic: false,
            releases: [None, Some(Accepts { allowed: Some(SWITCH), init: Cell::Bool(false) })],
            about: "Tags to filter by; needs a filter table",
        },
    ]
};

/// The table is wrong, which is a bug.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the NIC's own table of parameters: {0}")]
pub struct BadTable(String);

impl BadTable {
    pub(super) fn new(error: &dyn std::fmt::Display) -> Self {
        BadTable(error.to_string())
    }
}

fn bad(error: impl std::fmt::Display) -> BadTable {
    BadTable::new(&error)
}

/// What a release can make.
///
/// # Errors
/// Never, for the table as it is: a test builds both.
pub fn implementation(release: Release) -> Result<Implementation, BadTable> {
    let models = NicModel::ALL.into_iter().map(|which| model(which, release));
    Implementation::new(models.collect::<Result<Vec<_>, _>>()?).map_err(bad)
}

fn model(which: NicModel, release: Release) -> Result<Model, BadTable> {
    let id: ModelId = which.id().parse().map_err(bad)?;
    let (mut parameters, mut stated) = (BTreeMap::new(), BTreeMap::new());
    for row in TABLE.iter().filter(|row| row.basic || which == NicModel::Nic) {
        let [one, two] = row.releases;
        let accepts = if release == Release::One { one } else { two };
        let Some(Accepts { allowed, init }) = accepts else { continue };
        let allowed = match allowed {
            None => Allowed::Any(row.kind),
            Some(cells) => {
                let list: Vec<Value> = cells.iter().map(|cell| cell.value()).collect();
                Allowed::of(row.kind, &list).map_err(bad)?
            }
        };
        let (name, off) = (name(row.name)?, row.off.map(Cell::value));
        let parameter = Parameter::new(allowed, init.value(), off.clone()).map_err(bad)?;
        parameters.insert(name.clone(), parameter);
        stated.insert(name, Stated::new(row.kind, off, Some(row.affects)).map_err(bad)?);
    }
    let has_vlans = parameters.contains_key("vlan-filter");
    let constraints = if has_vlans { vec![tags_need_a_table()?] } else { Vec::new() };
    let aliases = aliases(which, release)?;
    let definition = Definition::new(id.clone(), stated);
    Model::new(id, parameters, aliases, constraints, Some(definition)).map_err(bad)
}

fn name(text: &str) -> Result<Name, BadTable> {
    text.parse().map_err(bad)
}

/// A NIC that filters by tags has a table of addresses too.
fn tags_need_a_table() -> Result<Constraint, BadTable> {
    let set = |name_of: &str, kind, value: Value| {
        Ok((name(name_of)?, Allowed::of(kind, &[value]).map_err(bad)?))
    };
    Ok(Constraint::Implies {
        when: BTreeMap::from([set("vlan-filter", Type::Bool, Value::Bool(true))?]),
        then: BTreeMap::from([set("rx-filter-size", Type::Int, Value::Str("1-1024".into()))?]),
    })
}

/// What a version stands for: what was made by default when it came out.
fn aliases(which: NicModel, release: Release) -> Result<BTreeMap<Name, Settings>, BadTable> {
    let mut all = BTreeMap::new();
    if which == NicModel::Basic {
        return Ok(all);
    }
    let filter = |size| Ok((name("rx-filter-size")?, Value::Int(size)));
    all.insert(name("1")?, Settings::from([filter(16)?]));
    if release == Release::Two {
        let vlans = (name("vlan-filter")?, Value::Bool(true));
        let rss = (name("rss")?, Value::Bool(true));
        all.insert(name("2")?, Settings::from([filter(32)?, vlans, rss]));
    }
    Ok(all)
}

/// Each parameter of some release: its name, its option by the third version of the RFC, and what it is.
pub fn options() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    TABLE.iter().map(|row| (row.name, row.option, row.about))
}

/// The description, in the form of the third version of the RFC.
#[must_use]
pub(super) fn info(implementation: &Implementation) -> InfoForm {
    let mut info = InfoForm::from(implementation);
    for model in info.models.0.values_mut() {
        for (name, parameter) in &mut model.params.0 {
            let row = TABLE.iter().find(|row| row.name == name.as_str());
            parameter.description = row.map(|row| row.about.to_owned());
        }
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;
    use devmig_model::device_model::lint;

    #[test]
    fn the_table_is_a_description_and_its_second_release_breaks_nothing() {
        let [one, two] = Release::ALL.map(|release| implementation(release).unwrap());
        assert!(lint::catalogue(&[("1", &one), ("2", &two)]).is_empty());
        assert!(lint::releases(("1", &one), ("2", &two)).is_empty());
        for implementation in [one, two] {
            for model in implementation.models().values() {
                assert!(model.known().conflicts().is_empty());
                assert!(model.initial().is_ok());
            }
        }
    }

    #[test]
    fn options_are_names_with_a_prefix() {
        for (name, option, _) in options() {
            assert_eq!(option, format!("m-{name}"));
        }
    }
}
