//! The documents that items cite, and copies of them.

use devmig_model::spec::Spec;
use devmig_model::spec::texts::{TextVersion, digest, digests};

#[test]
fn a_paragraph_is_the_same_however_it_is_broken_into_lines() {
    let one = digests("The device\nlogs only writes.\n\nAnother.\n");
    let other = digests("/**\n * The device logs\n *\tonly   writes.\n *\n * Another.\n */\n");
    assert!(one.is_subset(&other), "{one:?} {other:?}");
    assert_eq!(one.len(), 2);
    assert!(one.contains(&digest(" The device logs only writes. ")));
}

#[test]
fn a_copy_is_recognised_and_what_it_lacks_is_named() {
    let spec = Spec::builtin().unwrap();
    assert!(spec.check_copy("nothing of all that").is_none());
    let paragraph = "Get, set, or probe feature data of the device.  The feature is selected \
                     using the FEATURE_MASK portion of the flags field.  Support for a feature \
                     can be probed by setting both the FEATURE_MASK and PROBE bits.  A probe \
                     may optionally include the GET and/or SET bits to determine read vs write \
                     access of the feature respectively.  Probing a feature will return success \
                     if the feature is supported and all of the optionally indicated GET/SET \
                     methods are supported.  The format of the data portion of the structure is \
                     specific to the given feature.  The data portion is not required for \
                     probing.  GET and SET are mutually exclusive, except for use with PROBE.";
    let checked = spec.check_copy(paragraph).unwrap();
    assert_eq!(checked.text, "linux-vfio");
    let found: usize = checked.versions.iter().map(|version| version.found).sum();
    assert_eq!(found, 1);
    assert!(checked.missing.iter().all(|missing| missing.item != "vfio.feature.probe"));
    assert!(checked.missing.len() > 20);
}

#[test]
fn what_only_a_mailing_list_has_is_marked() {
    let texts = Spec::builtin().unwrap().texts();
    let vhost_user = texts.texts.iter().find(|text| text.id == "vhost-user").unwrap();
    let posted = |version: &&TextVersion| version.posted;
    assert_eq!(vhost_user.versions.iter().filter(posted).count(), 1);
    let newest = vhost_user.versions.iter().find(|version| version.name == "11.1").unwrap();
    assert!(newest.citations > 2 && newest.digests.is_empty());
}
