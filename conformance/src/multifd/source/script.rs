//! The steps of a test of a source.

use crate::harness::steps::{Named, steps};

/// A parameter of a migration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it is set to.
    pub value: &'static str,
}

const fn set(name: &'static str, value: &'static str) -> Parameter {
    Parameter { name, value }
}

impl Named for Parameter {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("zlib", set("multifd-compression", "zlib")),
        ("zstd", set("multifd-compression", "zstd")),
        ("zero-none", set("zero-page-detection", "none")),
        ("zero-legacy", set("zero-page-detection", "legacy")),
    ];
    const WHAT: &'static str = "parameter";
}

steps! {
    /// A step.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Step in () {
        Channels(count: u16) = "channels COUNT": "enable multifd with this number of channels";
        Set(parameter: Parameter) = "set PARAMETER": "set a parameter of the migration";
        Rounds(count: u16) = "rounds COUNT":
            "the migration ends after this number of passes over dirty memory";
        Migrate = "migrate": "the source migrates, and completes";
        Cancel = "cancel": "the source migrates, and the migration is cancelled";
        Conformant = "conformant":
            "the stream is complete and violates no clause; its pages are the source's memory";
        AsFar = "conformant as far as it goes": "the stream violates no clause";
    }
}
