//! What tracks the writes of a VM's devices, and what a VMM refuses before it migrates: a matrix, as data.
//!
//! ```text
//!  migration/tracking.toml --Tracking::read--> rows
//!      rows + facts about a VM + a version --> every refusal; or what tracks the writes of its devices
//! ```
//!
//! **Invariant.** The last row applies to everything, so that each VM has an answer.
//!
//! **Not here.** What follows from it in a migration: [`super::vmm`]. Capabilities that exclude each other
//! whatever the devices are: [`crate::protocol::multifd::capability`].

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::vmm::Tracker;
use crate::protocol::input::{Input, Overlaid};
use crate::protocol::multifd::capability::Capabilities;
use crate::protocol::release::{Release, Span};
use crate::spec::{Diagnostics, Item, ItemKind, Spanned, did_you_mean, with_help};

/// The kind of items that are read here.
pub const TABLE: &str = "tracking";

/// The same, with its keys.
#[must_use]
pub fn kind() -> ItemKind {
    ItemKind::of::<Raw>(TABLE)
}

/// What a capability's word begins with.
const CAPABILITY: &str = "capability ";

/// The words of `when`, and what they mean; beside them `capability NAME`.
pub const FACTS: &[(&str, &str)] = &[
    ("device", "the VM has a VFIO device"),
    ("several devices", "it has more than one"),
    ("p2p", "each of them has the states of P2P"),
    ("device tracker", "each of them tracks its own writes, and is asked"),
    ("iommu tracker", "each of them is behind an IOMMU with a log, by iommufd"),
    ("each tracked", "each of them has the one or the other"),
    ("type 1", "one of them is in a type 1 container, not behind iommufd"),
    ("beyond the bitmap", "memory is larger than 8 TiB, the most that one bitmap of type 1 covers"),
    ("viommu", "the guest has an IOMMU for them"),
    ("migration auto", "`enable-migration` is `auto`, the default"),
    ("migration off", "`enable-migration` is `off`"),
];

/// What is known of a VM: the words that are true of it.
pub type Facts = BTreeSet<String>;

/// What a row gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Gives {
    /// No migration.
    Refused,
    /// The device tracks its writes.
    Device,
    /// The IOMMU does.
    Iommu,
    /// Nothing does.
    None,
}

impl Gives {
    /// What tracks a device's writes; nothing, if a migration is refused.
    #[must_use]
    pub fn tracker(self) -> Option<Tracker> {
        match self {
            Gives::Refused => None,
            Gives::Device => Some(Tracker::Device),
            Gives::Iommu => Some(Tracker::Iommu),
            Gives::None => Some(Tracker::None),
        }
    }
}

/// A row, resolved.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Words, and whether each has to be true.
    pub when: Vec<(String, bool)>,
    /// The versions that have it.
    pub span: Span,
    /// What it gives.
    pub gives: Gives,
    /// A refusal's message.
    pub says: Option<String>,
    /// What it means.
    pub text: String,
}

/// A row of the matrix of what tracks the writes of devices, and of what QEMU refuses. A new row is
/// asked before the built-in rows.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Raw {
    /// Its name; that of a built-in row replaces that row.
    name: Spanned<String>,
    /// Facts about the VM that all have to be true; `not WORD`: false.
    when: Vec<Spanned<String>>,
    /// First version of QEMU that has it; default: every version.
    since: Option<Spanned<String>>,
    /// First version of QEMU that no longer has it; default: none.
    until: Option<Spanned<String>>,
    /// A refusal, or what tracks the writes of a device.
    gives: Gives,
    /// Message of a refusal.
    says: Option<Spanned<String>>,
    /// What the row means.
    text: String,
}

/// The matrix: rows in the order in which they are asked.
#[derive(Clone, Default, Debug)]
pub struct Tracking {
    /// The rows.
    pub rows: Vec<Row>,
}

impl Tracking {
    /// Reads the table; a proposal's row takes the place of the one of its name, or comes first.
    pub fn read(input: &mut Input<'_>, d: &mut Diagnostics) -> Self {
        let capabilities = input.kept::<Capabilities>();
        let all = input.items::<Raw>(TABLE, d).overlaid("row", |raw| &raw.name, d);
        let built_in = |overlaid: &&Overlaid<Raw>| !overlaid.proposed;
        let known: BTreeSet<&str> =
            all.iter().filter(built_in).map(|o| o.item.value.name.get_ref().as_str()).collect();
        let (first, rest): (Vec<_>, Vec<_>) = all.iter().partition(|overlaid| {
            overlaid.proposed && !known.contains(overlaid.item.value.name.get_ref().as_str())
        });
        let mut rows: Vec<Row> = first
            .into_iter()
            .chain(rest)
            .map(|overlaid| row(&overlaid.item, &capabilities, d))
            .collect();
        let decides = |row: &Row| {
            row.when.is_empty() && row.gives != Gives::Refused && row.span == Span::default()
        };
        if let (false, Some(last)) = (rows.iter().any(decides), all.last()) {
            let message = "one row has to apply to each VM in each version: no `when`, no version";
            d.push(last.item.error(last.item.span.clone(), message, "no row does"));
        }
        // What is asked last has to be asked last also where a proposal replaces it.
        rows.sort_by_key(|row| row.when.is_empty() && row.gives != Gives::Refused);
        Tracking { rows }
    }

    /// The rows that apply.
    fn applying<'t>(
        &'t self,
        release: &'t Release,
        facts: &'t Facts,
    ) -> impl Iterator<Item = &'t Row> {
        let applies = |row: &&Row| {
            row.span.contains(release)
                && row.when.iter().all(|(word, wanted)| facts.contains(word) == *wanted)
        };
        self.rows.iter().filter(applies)
    }

    /// Every refusal of a migration of this VM, in the order of the rows.
    pub fn refusals<'t>(
        &'t self,
        release: &'t Release,
        facts: &'t Facts,
    ) -> impl Iterator<Item = &'t Row> {
        self.applying(release, facts).filter(|row| row.gives == Gives::Refused)
    }

    /// What tracks the writes of its devices, if a migration is not refused.
    #[must_use]
    pub fn tracker<'t>(&'t self, release: &'t Release, facts: &'t Facts) -> Option<&'t Row> {
        self.applying(release, facts).find(|row| row.gives != Gives::Refused)
    }
}

/// One row.
fn row(item: &Item<Raw>, capabilities: &Capabilities, d: &mut Diagnostics) -> Row {
    let raw = &item.value;
    let mut word = |written: &Spanned<String>| {
        let text = written.get_ref();
        let (word, wanted) =
            text.strip_prefix("not ").map_or((&**text, true), |word| (word, false));
        let words = FACTS.iter().map(|(fact, _)| (*fact).to_owned());
        let words = words.chain(capabilities.all.iter().map(|known| capability(&known.name)));
        let words: Vec<String> = words.collect();
        let known = words.iter().any(|known| known == word);
        if !known {
            let message = format!("`{word}` is no fact about a VM");
            let error = item.error(written.span(), message, "unknown");
            d.push(with_help(error, did_you_mean(word, words.iter().map(String::as_str))));
        }
        (word.to_owned(), wanted)
    };
    let when: Vec<(String, bool)> = raw.when.iter().map(&mut word).collect();
    for (written, (word, wanted)) in raw.when.iter().zip(&when) {
        if !wanted && when.contains(&(word.clone(), true)) {
            let message = format!("this row can never apply: `{word}` has to be true and false");
            d.warn(item.error(written.span(), message, "never applies"));
        }
    }
    let span = Span::of(item, (&raw.since, &raw.until), d);
    if (raw.gives == Gives::Refused) != raw.says.is_some() {
        let message = "a refusal has a message (`says`), and nothing else has";
        d.push(item.error(item.span.clone(), message, "in this row"));
    }
    Row {
        name: raw.name.get_ref().clone(),
        when,
        span,
        gives: raw.gives,
        says: raw.says.as_ref().map(|says| says.get_ref().clone()),
        text: raw.text.clone(),
    }
}

/// The word for a capability.
#[must_use]
pub fn capability(name: &str) -> String {
    format!("{CAPABILITY}{name}")
}
