//! The page of what tracks the writes of devices: the rows, and what follows for each version.

use devmig_model::protocol::migration::tracking::{Facts, Gives, Row};
use devmig_model::protocol::release::{Release, Span};
use devmig_model::registry::Library;

use super::cell;

/// What differs between the columns: trackers, and a guest's IOMMU.
const VMS: [(&str, &[&str]); 6] = [
    ("device", &["device tracker"]),
    ("IOMMU", &["iommu tracker"]),
    ("none", &[]),
    ("device, vIOMMU", &["device tracker", "viommu"]),
    ("IOMMU, vIOMMU", &["iommu tracker", "viommu"]),
    ("none, vIOMMU", &["viommu"]),
];

/// The rows; then every version at which something changes, with each tracker, with and without a vIOMMU.
pub(super) fn body(library: &Library) -> String {
    let tracking = &library.migration().tracking;
    let mut out = String::from(
        "| row | versions | if | gives | message | meaning |\n|---|---|---|---|---|---|\n",
    );
    for row in &tracking.rows {
        let when: Vec<_> = row
            .when
            .iter()
            .map(|(word, yes)| if *yes { word.clone() } else { format!("not {word}") })
            .collect();
        let cells = [
            row.name.clone(),
            span(&row.span),
            if when.is_empty() { "always".to_owned() } else { when.join(", ") },
            given(row.gives).to_owned(),
            row.says.clone().unwrap_or_default(),
            row.text.clone(),
        ];
        out += &format!("| {} |\n", cells.map(|text| cell(&text)).join(" | "));
    }
    for (title, auto) in
        [("`enable-migration=auto`, the default", true), ("`enable-migration=on`", false)]
    {
        out += &format!("\n## One device, {title}\n\n| QEMU |");
        out += &VMS.map(|(name, _)| format!(" {name} |")).concat();
        out += &format!("\n|---|{}\n", "---|".repeat(VMS.len()));
        for (version, next) in versions(&tracking.rows) {
            let answer = |(_, words): (&str, &[&str])| {
                let mut facts: Facts = words.iter().map(|word| (*word).to_owned()).collect();
                facts.insert("device".to_owned());
                if auto {
                    facts.insert("migration auto".to_owned());
                }
                let refused = tracking.refusals(&version, &facts).next().is_some();
                let tracker =
                    tracking.tracker(&version, &facts).map_or(Gives::None, |row| row.gives);
                format!(" {} |", given(if refused { Gives::Refused } else { tracker }))
            };
            let until = next.map_or_else(|| "on".to_owned(), |next| format!("until {next}"));
            out += &format!("| {version} {until} |{}\n", VMS.map(answer).concat());
        }
    }
    out
}

fn span(span: &Span) -> String {
    match (&span.since, &span.until) {
        (None, None) => "all".to_owned(),
        (Some(since), None) => format!("since {since}"),
        (None, Some(until)) => format!("until {until}"),
        (Some(since), Some(until)) => format!("{since} until {until}"),
    }
}

fn given(gives: Gives) -> &'static str {
    match gives {
        Gives::Refused => "refused",
        Gives::Device => "device",
        Gives::Iommu => "IOMMU",
        Gives::None => "nothing",
    }
}

/// Every version at which a row begins or ends, and the next one.
fn versions(rows: &[Row]) -> Vec<(Release, Option<Release>)> {
    let ends = rows.iter().flat_map(|row| [&row.span.since, &row.span.until]);
    let mut all: Vec<Release> = ends.flatten().cloned().collect();
    all.sort();
    all.dedup();
    let next = all.iter().skip(1).cloned().map(Some).chain([None]);
    all.iter().cloned().zip(next).collect()
}
