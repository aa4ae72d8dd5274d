//! What a version of a VMM does where versions differ, and which limits for the downtime can be said.
//!
//! ```text
//!  migration/releases.toml --read--> options of a version; ranges by layer, the VMM first
//! ```

use schemars::JsonSchema;
use serde::Deserialize;

use crate::protocol::input::{Input, Read};
use crate::protocol::release::{Release, Span};
use crate::spec::{Diagnostics, Item, ItemKind, Spanned, Spec};
use devmig_engine::clause::ChoiceId;

/// The kinds of items that are read here.
pub const TABLES: [&str; 2] = ["release", "downtime-range"];

/// The same, with their keys.
#[must_use]
pub fn kinds() -> Vec<ItemKind> {
    vec![ItemKind::of::<RawRelease>(TABLES[0]), ItemKind::of::<RawRange>(TABLES[1])]
}

/// What some versions do.
#[derive(Clone, Debug)]
pub struct Manner {
    /// These versions.
    pub span: Span,
    /// What they do.
    pub choices: Vec<(ChoiceId, u8)>,
}

/// The limits that a layer takes.
#[derive(Clone, Debug)]
pub struct Range {
    /// The layer.
    pub layer: String,
    /// The smallest, in ms.
    pub least: u64,
    /// The largest, if the layer has one.
    pub most: Option<u64>,
    /// Whether it can be said that any downtime will do.
    pub unlimited: bool,
    /// The range in words.
    pub text: String,
}

impl Range {
    /// Whether the layer takes this limit; none: any downtime will do.
    #[must_use]
    pub fn takes(&self, limit: Option<u64>) -> bool {
        match limit {
            None => self.unlimited,
            Some(limit) => limit >= self.least && self.most.is_none_or(|most| limit <= most),
        }
    }
}

/// Both tables.
#[derive(Clone, Default, Debug)]
pub struct Releases {
    /// What some versions do.
    pub manners: Vec<Manner>,
    /// The ranges; the first is the VMM's.
    pub ranges: Vec<Range>,
}

/// What some versions of QEMU do where versions differ.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawRelease {
    /// First version of QEMU that has it; default: every version.
    since: Option<Spanned<String>>,
    /// First version of QEMU that no longer has it; default: none.
    until: Option<Spanned<String>>,
    /// What these versions do, each as `CHOICE = OPTION`.
    choices: Vec<Spanned<String>>,
    /// Where that is written.
    #[serde(rename = "place")]
    _place: Vec<String>,
}

/// The limits for the downtime that a layer accepts. The name of a built-in layer replaces its
/// range.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawRange {
    /// The layer: the VMM, or a management layer.
    layer: Spanned<String>,
    /// The smallest limit, in ms.
    least: u64,
    /// The largest limit, in ms; default: no bound.
    most: Option<Spanned<u64>>,
    /// The layer accepts that any downtime will do.
    #[serde(default)]
    unlimited: bool,
    /// Where that is written.
    #[serde(rename = "place")]
    _place: Vec<String>,
    /// The range in words.
    text: String,
}

impl Releases {
    /// Reads both tables; a proposal's range takes the place of the one of its layer.
    pub fn read(spec: &Spec, input: &mut Input<'_>, d: &mut Diagnostics) -> Self {
        let releases: Read<RawRelease> = input.items(TABLES[0], d);
        let mut manner = |item: &Item<RawRelease>| {
            let raw = &item.value;
            let span = Span::of(item, (&raw.since, &raw.until), d);
            Manner { span, choices: spec.pins_at(item, &raw.choices, d) }
        };
        let manners = releases.base.iter().chain(&releases.proposed).map(&mut manner).collect();
        let ranges = input.items::<RawRange>(TABLES[1], d).overlaid("range", |r| &r.layer, d);
        let mut range = |item: &Item<RawRange>| {
            let raw = &item.value;
            if let Some(most) = raw.most.as_ref().filter(|most| *most.get_ref() < raw.least) {
                d.push(item.error(most.span(), "`most` is less than `least`", "here"));
            }
            Range {
                layer: raw.layer.get_ref().clone(),
                least: raw.least,
                most: raw.most.as_ref().map(|most| *most.get_ref()),
                unlimited: raw.unlimited,
                text: raw.text.clone(),
            }
        };
        let ranges = ranges.iter().map(|overlaid| range(&overlaid.item)).collect();
        Releases { manners, ranges }
    }

    /// What this version does where versions differ.
    pub fn choices(&self, release: &Release) -> Vec<(ChoiceId, u8)> {
        let own = self.manners.iter().filter(|manner| manner.span.contains(release));
        own.flat_map(|manner| manner.choices.iter().copied()).collect()
    }
}
