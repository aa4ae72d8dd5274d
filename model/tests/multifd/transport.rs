//! Over which transports a migration begins, by version and capabilities.

use devmig_model::protocol::multifd::transport::Answer;
use devmig_model::protocol::release::Release;

use crate::common::builtin;

/// 7.2.22, 10.0.2 and 11.1.3 were asked, and gave these answers.
#[test]
fn every_transport_of_three_versions() {
    let library = builtin();
    let multifd = library.multifd();
    let mut out = String::new();
    for version in ["7.2", "10.0", "11.1"] {
        let release: Release = version.parse().unwrap();
        for transport in &multifd.transports.all {
            for set in [&[][..], &["multifd"], &["mapped-ram"], &["multifd", "mapped-ram"]] {
                let known: Vec<&str> = multifd.capabilities.of(&release).collect();
                if !set.iter().all(|one| known.contains(one)) {
                    continue;
                }
                let answer = match multifd.transports.answer(&release, transport, set) {
                    Answer::Accepted => "accepted".to_owned(),
                    Answer::Refused(why) => why,
                    Answer::Depends(what) => format!("depends on {what}"),
                };
                let with = if set.is_empty() { "nothing".to_owned() } else { set.join(", ") };
                out += &format!("{version:5} {:6} {with:20} {answer}\n", transport.name);
            }
        }
    }
    insta::assert_snapshot!(out);
}
