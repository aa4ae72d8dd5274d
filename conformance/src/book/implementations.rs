//! The page of real back-ends: what is held of each, as a matrix.
//!
//! **Invariant.** Nothing is measured here: it is drawn from `conformance/implementations/`, which
//! `devmig implementations` verifies. What is sensitive shows its clause and nothing else.

use devmig_model::registry::Library;
use devmig_model::spec::SpecErrors;

use super::cell;
use crate::implementations::{self, Deviation, Peer, When};
use crate::vhost_user::suite;

/// The page's body.
pub(super) fn body(library: &Library) -> Result<String, SpecErrors> {
    let peers = implementations::builtin(library, &suite::whole(library)?)?;
    let names = peers.iter().map(|peer| format!(" {} |", peer.name)).collect::<String>();
    let lines = "---|".repeat(peers.len());
    let row = |first: &str, of: &dyn Fn(&Peer) -> String| {
        let cells = peers.iter().map(|peer| format!(" {} |", of(peer))).collect::<String>();
        format!("| {first} |{cells}\n")
    };

    let mut out = format!("| |{names}\n|---|{lines}\n");
    out += &row("what it is", &|peer| cell(&peer.about));
    out += &row("versions held", &|peer| peer.listed.join(", "));
    out += &row("features", &|peer| format!("`{}`", peer.offers.features));

    out += &format!("\n## Protocol features\n\n| |{names}\n|---|{lines}\n");
    let name = |bit: u8| {
        let known = library.vhost_user().table.features.iter().find(|known| known.bit == bit);
        known.map_or_else(|| format!("bit {bit}"), |known| known.name.clone())
    };
    for bit in 0..64 {
        let has = |peer: &Peer| peer.protocol_features() >> bit & 1 == 1;
        if peers.iter().any(has) {
            out += &row(&name(bit), &|peer| if has(peer) { "yes" } else { "" }.to_owned());
        }
    }

    out += "\n## Interpretations\n\nThe options that the observed behaviour does not exclude; empty if no \
            test met the choice.\n\n";
    out += &format!("| choice |{names}\n|---|{lines}\n");
    for choice in library.spec.choices() {
        if peers.iter().any(|peer| peer.readings.contains_key(&choice.id)) {
            let link = format!("[{}](choices.md)", choice.id);
            out += &row(&link, &|peer| {
                peer.readings
                    .get(&choice.id)
                    .map(|options| options.join(" or "))
                    .unwrap_or_default()
            });
        }
    }

    out += "\n## Deviations\n";
    for peer in &peers {
        out += &format!("\n### {}\n\n", peer.name);
        if peer.known.is_empty() {
            out += "No deviation is known.\n";
        }
        for deviation in &peer.known {
            out += &entry(deviation);
        }
    }
    Ok(out)
}

fn entry(deviation: &Deviation) -> String {
    let until =
        deviation.until.as_ref().map_or(String::new(), |until| format!(", gone in {until}"));
    let when = match deviation.when {
        When::Always => "always",
        When::Sometimes => "sometimes",
    };
    let what = format!("violates `{}`, {when}, since {}{until}", deviation.clause, deviation.since);
    match &deviation.evidence {
        Some(evidence) => format!("- `{}` {what}. {}\n", deviation.test, cell(evidence)),
        None => format!("- {what}.\n"),
    }
}
