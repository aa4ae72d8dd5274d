//! Which capabilities a monitor refuses together, by version.

use devmig_model::protocol::multifd::capability::{Reason, Refusal};
use devmig_model::protocol::release::Release;
use devmig_model::registry::Library;

use crate::common::builtin;

fn release(text: &str) -> Release {
    text.parse().unwrap()
}

/// What a monitor under TCG says first, of a host that tracks writes.
fn first(all: &[Refusal], tcg: bool) -> Option<&str> {
    let applies =
        |refusal: &&Refusal| refusal.condition().is_none_or(|c| tcg && c == "KVM has a dirty ring");
    all.iter().find(applies).map(|refusal| refusal.message.as_str())
}

/// Every pair: `+` is accepted, a letter stands for the first reason. 7.2.22, 10.0.2 and 11.1.3 were asked,
/// under TCG, and gave these answers.
fn table(library: &Library, version: &str) -> String {
    let (capabilities, release) = (&library.multifd().capabilities, release(version));
    let names: Vec<&str> = capabilities.of(&release).collect();
    let mut reasons: Vec<String> = Vec::new();
    let mut out = String::new();
    for (row, name) in names.iter().enumerate() {
        out += &format!("{name:24}");
        for other in &names[..=row] {
            // A capability beside itself is asked for alone.
            let all = capabilities.refusals(&release, &[*name, *other]);
            let letter = first(&all, true).map(|message| {
                let general = message.split(" with ").next().unwrap_or(message).to_owned();
                let at = reasons.iter().position(|known| *known == general).unwrap_or_else(|| {
                    reasons.push(general);
                    reasons.len() - 1
                });
                char::from(b'a' + u8::try_from(at).unwrap())
            });
            out.push(letter.unwrap_or('+'));
        }
        out.push('\n');
    }
    for (letter, reason) in (b'a'..).zip(reasons) {
        out += &format!("{}: {reason}\n", char::from(letter));
    }
    out
}

#[test]
fn every_pair_of_three_versions() {
    let library = builtin();
    for version in ["7.2", "10.0", "11.1"] {
        insta::assert_snapshot!(format!("pairs-{version}"), table(&library, version));
    }
}

/// Postcopy beside multifd is a rule with a beginning and an end.
#[test]
fn postcopy_beside_multifd() {
    let library = builtin();
    let capabilities = &library.multifd().capabilities;
    for (version, refused) in
        [("7.2.22", false), ("8.0", false), ("8.1", true), ("10.0.2", true), ("10.1", false)]
    {
        let all = capabilities.refusals(&release(version), &["multifd", "postcopy-ram"]);
        let message = "Postcopy is not yet compatible with multifd";
        assert_eq!(first(&all, false) == Some(message), refused, "{version}: {all:?}");
    }
}

#[test]
fn a_capability_that_a_version_lacks_is_refused() {
    let library = builtin();
    let capabilities = &library.multifd().capabilities;
    for (version, name) in [("7.2", "mapped-ram"), ("10.0", "compress"), ("11.0", "zero-blocks")] {
        let all = capabilities.refusals(&release(version), &[name]);
        assert_eq!(all.first().map(|refusal| &refusal.reason), Some(&Reason::Unknown), "{version}");
    }
    let old = release("7.2");
    let older: Vec<&str> = capabilities.of(&old).collect();
    assert!(older.contains(&"compress"));
    assert!(release("9.10") > release("9.2.3") && "9.x".parse::<Release>().is_err());
}

/// A set is refused for whatever a part of it is excluded for: more capabilities excuse nothing but a need.
#[test]
fn a_larger_set_has_the_exclusions_of_a_smaller_one() {
    let library = builtin();
    let capabilities = &library.multifd().capabilities;
    let release = release("11.1");
    let names: Vec<&str> = capabilities.of(&release).collect();
    for (at, first) in names.iter().enumerate() {
        for second in &names[at + 1..] {
            let pair = capabilities.refusals(&release, &[*first, *second]);
            for third in &names {
                let three = capabilities.refusals(&release, &[*first, *second, *third]);
                for refusal in &pair {
                    let met = refusal.reason == Reason::Needs((*third).to_owned());
                    assert!(
                        met || three.contains(refusal),
                        "{first} {second} {third}: {refusal:?}"
                    );
                }
            }
        }
    }
}
