//! Coverage of the clauses: derived from the systems, the suite, the mutants and the recordings, and
//! written nowhere.
//!
//! ```text
//!   systems --properties--+
//!   suite.toml --tests----+--> for each clause: what carries it, what it lacks
//!   mutants --------------+        |
//!   recordings -----------+        +-- specs/exceptions.toml: gaps with a reason; stale ones are errors
//! ```
//!
//! **Invariant.** A MUST on a back-end, a device or an implementation of device models lacks nothing if
//! it has a test and a mutant; a MUST on a front-end if a recording breaks it. A test that nothing here
//! can run carries nothing. Whether a test kills its clause's mutant is the hunt's to say (see
//! [`crate::vhost_user::mutants`]).

use std::collections::BTreeMap;

use devmig_engine::clause::ClauseId;
use devmig_engine::columns::{count, grid};
use devmig_engine::explore::names::NON_VACUOUS;
use devmig_engine::system::PropertyKind;
use devmig_model::protocol::vfio::event::DEVICE;
use devmig_model::protocol::vhost_user::event::{BACK_END, FRONT_END};
use devmig_model::registry::Library;
use devmig_model::spec::{Exception, Lack, Level, SpecErrors};
use devmig_reference::switches::Fault;
use devmig_reference::vhost_user::Mutant;
use devmig_reference::{nic, vfio_user};
use serde::Serialize;

use crate::device_model;
use crate::vfio;
use crate::vhost_user::mutants::Expected;
use crate::vhost_user::suite;
use crate::watch::mutate;

/// Whoever makes devices by a description.
const IMPLEMENTATION: &str = "implementation";

/// What carries a clause.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(into = "Form")]
pub struct Carried {
    /// The clause.
    pub id: String,
    /// MUST, SHOULD or MAY.
    pub level: Level,
    /// Whom it binds.
    pub party: String,
    /// Properties of systems that state it.
    pub properties: Vec<String>,
    /// Tests of the suite that are about it.
    pub tests: Vec<String>,
    /// Mutants of the reference that break it, and are killed.
    pub mutants: Vec<String>,
    /// Recordings that break it, and are caught.
    pub recordings: Vec<String>,
    /// Gaps that have a reason.
    pub exceptions: Vec<Reasoned>,
    /// Gaps that have none.
    pub lacks: Vec<Lack>,
}

/// What is written of it. To whoever reads it, a recording with a fault in it is a mutant: that of a
/// party of which there is no reference.
#[derive(Serialize)]
struct Form {
    id: String,
    level: Level,
    party: String,
    properties: Vec<String>,
    tests: Vec<String>,
    mutants: Vec<String>,
    exceptions: Vec<Reasoned>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lacks: Vec<Lack>,
}

impl From<Carried> for Form {
    fn from(clause: Carried) -> Self {
        let Carried { id, level, party, properties, tests, exceptions, lacks, .. } = clause;
        let mutants = [clause.mutants, clause.recordings].concat();
        Form { id, level, party, properties, tests, mutants, exceptions, lacks }
    }
}

/// A gap, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Reasoned {
    /// What is missing.
    pub what: Lack,
    /// Why.
    pub reason: String,
}

/// All clauses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Coverage {
    /// The version of this form: 1.
    pub schema: u32,
    /// In the specification's order.
    pub clauses: Vec<Carried>,
    /// Exceptions that cover no gap.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<String>,
}

impl Coverage {
    /// Whether no clause lacks anything without a reason, and every exception covers a gap.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lacking() == 0 && self.stale.is_empty()
    }

    fn lacking(&self) -> usize {
        self.clauses.iter().filter(|clause| !clause.lacks.is_empty()).count()
    }

    /// A line a clause, and how many lack something.
    #[must_use]
    pub fn text(&self) -> String {
        let head =
            ["clause", "level", "party", "properties", "tests", "mutants", "recordings", "lacks"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.clauses.iter().map(row));
        let mut text = grid(&rows);
        for stale in &self.stale {
            text += &format!("stale exception: {stale}\n");
        }
        let lacks = format!("{} lack something without a reason", self.lacking());
        text + &format!("\n{}, {lacks}\n", count(self.clauses.len(), "clause"))
    }
}

/// One clause: how many of each carry it, and what it lacks (in parentheses: for a reason).
fn row(clause: &Carried) -> Vec<String> {
    let number = |n: usize| if n == 0 { "-".to_owned() } else { n.to_string() };
    let lacks = clause.lacks.iter().map(|what| word(*what).to_owned());
    let excused = clause.exceptions.iter().map(|exception| format!("({})", word(exception.what)));
    vec![
        clause.id.clone(),
        clause.level.to_string(),
        clause.party.clone(),
        number(clause.properties.len()),
        number(clause.tests.len()),
        number(clause.mutants.len()),
        number(clause.recordings.len()),
        lacks.chain(excused).collect::<Vec<_>>().join(" "),
    ]
}

/// The coverage of what is built in.
///
/// # Errors
/// Problems of what is built in.
pub fn of(library: &Library) -> Result<Coverage, SpecErrors> {
    let mutations = mutate::builtin(library)?;
    let mut recordings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mutation in &mutations {
        recordings.entry(mutation.clause.clone()).or_default().push(mutation.name.clone());
    }
    derive(library, library.spec.exceptions(), &recordings)
}

/// The same, with these exceptions.
///
/// # Errors
/// Problems of what is built in.
pub fn derive(
    library: &Library,
    exceptions: &[Exception],
    recordings: &BTreeMap<String, Vec<String>>,
) -> Result<Coverage, SpecErrors> {
    let suite = suite::builtin(library)?;
    let expected = Expected::builtin(library, &suite)?;
    let vfio_suite = vfio::suite::builtin(library)?;
    let model_suite = device_model::suite::builtin(library)?;
    let stated = stated(library);
    let mut used: Vec<Vec<Lack>> = vec![Vec::new(); exceptions.len()];
    let mut clauses = Vec::new();
    for (index, clause) in library.spec.clauses().iter().enumerate() {
        let id = ClauseId::new(index);
        let runs = suite.iter().filter(|test| !expected.skips(&test.id));
        let tests = runs.map(|test| (test.clause, &test.id));
        let tests = tests.chain(vfio_suite.iter().map(|test| (test.clause, &test.id)));
        let tests = tests.chain(model_suite.iter().map(|test| (test.clause, &test.id)));
        let tests = tests.filter(|(about, _)| *about == id).map(|(_, test)| test.clone());
        let mutants = breaking::<Mutant>(&clause.id)
            .chain(breaking::<vfio_user::Mutant>(&clause.id))
            .chain(breaking::<nic::Mutant>(&clause.id));
        let mut carried = Carried {
            id: clause.id.clone(),
            level: clause.level,
            party: clause.party.clone(),
            properties: stated.get(&id).cloned().unwrap_or_default(),
            tests: tests.collect(),
            mutants: mutants.map(str::to_owned).collect(),
            recordings: recordings.get(&clause.id).cloned().unwrap_or_default(),
            exceptions: Vec::new(),
            lacks: Vec::new(),
        };
        let mut excused = Vec::new();
        for (exception, used) in exceptions.iter().zip(&mut used) {
            let about = exception.clauses.contains(&id);
            for what in exception.lacks.iter().filter(|_| about) {
                if !has_no(&carried, *what) {
                    continue;
                }
                used.push(*what);
                excused.push(*what);
                carried.exceptions.push(Reasoned { what: *what, reason: exception.reason.clone() });
            }
        }
        carried.lacks = gaps(&carried).into_iter().filter(|gap| !excused.contains(gap)).collect();
        clauses.push(carried);
    }
    let stale = exceptions.iter().zip(&used).flat_map(|(exception, used)| {
        let first =
            exception.clauses.first().map_or("", |clause| library.spec.clause_name(*clause));
        let unused = exception.lacks.iter().filter(|what| !used.contains(what));
        unused.map(|what| format!("{first} lacks no {}", word(*what))).collect::<Vec<_>>()
    });
    Ok(Coverage { schema: 1, stale: stale.collect(), clauses })
}

/// The faults of a reference that break this clause.
fn breaking<F: Fault>(clause: &str) -> impl Iterator<Item = &'static str> {
    F::ALL.iter().filter(move |fault| fault.clause() == clause).map(|fault| fault.name())
}

/// As in the file.
#[must_use]
pub const fn word(what: Lack) -> &'static str {
    match what {
        Lack::Test => "test",
        Lack::Mutant => "mutant",
        Lack::Watch => "recording",
    }
}

/// Whether nothing of this kind carries a clause.
fn has_no(clause: &Carried, what: Lack) -> bool {
    match what {
        Lack::Test => clause.tests.is_empty(),
        Lack::Mutant => clause.mutants.is_empty(),
        Lack::Watch => clause.recordings.is_empty(),
    }
}

/// What a clause should have and has not.
fn gaps(clause: &Carried) -> Vec<Lack> {
    let wanted: &[Lack] = match clause.level {
        Level::Must if clause.party == BACK_END.0 => &[Lack::Test, Lack::Mutant],
        Level::Must if clause.party == DEVICE.0 && clause.id.starts_with("vfio") => {
            &[Lack::Test, Lack::Mutant]
        }
        Level::Must if clause.party == IMPLEMENTATION => &[Lack::Test, Lack::Mutant],
        Level::Must if clause.party == FRONT_END.0 => &[Lack::Watch],
        _ => &[],
    };
    wanted.iter().copied().filter(|what| has_no(clause, *what)).collect()
}

/// The properties that some system checks, by the clause that they state.
fn stated(library: &Library) -> BTreeMap<ClauseId, Vec<String>> {
    let mut all: BTreeMap<ClauseId, Vec<String>> = BTreeMap::new();
    for system in library.catalogue(&[]) {
        for listed in system.properties() {
            let own = listed.kind != PropertyKind::Reachable || !listed.name.contains(NON_VACUOUS);
            if let Some(clause) = listed.clause.filter(|_| own) {
                let names = all.entry(clause).or_default();
                if !names.contains(&listed.name) {
                    names.push(listed.name);
                }
            }
        }
    }
    all
}
