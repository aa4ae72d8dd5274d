//! Features that a run leaves out: it does not use them, and skips the tests that need them.

use devmig_model::protocol::vfio::table::Table;
use devmig_model::spec::did_you_mean;

use crate::harness::report::Offers;
use crate::harness::without::UnknownFeature;

/// What the log of writes is called.
pub(crate) const LOG: &str = "dirty-log";

/// Features that are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Without {
    /// Migration features, as bits.
    pub flags: u64,
    /// The log of writes.
    pub log: bool,
}

impl Without {
    /// Features by their names: those of MIGRATION that not every device has, and `dirty-log`.
    ///
    /// # Errors
    /// The first that there is not.
    pub fn named(table: &Table, names: &[String]) -> Result<Self, UnknownFeature> {
        let mut without = Without::default();
        for name in names {
            let plain = name.to_lowercase().replace('_', "-");
            let optional = table.features.iter().filter(|feature| !feature.mandatory);
            let mut known = optional.clone();
            match known.find(|feature| feature.name == plain) {
                Some(feature) => without.flags |= 1 << feature.bit,
                None if plain == LOG => without.log = true,
                None => {
                    let known = optional.map(|feature| feature.name.as_str()).chain([LOG]);
                    let help = did_you_mean(&plain, known);
                    return Err(UnknownFeature { name: name.clone(), help });
                }
            }
        }
        Ok(without)
    }

    /// The names of the features that a device has and that can be left out, but for those that are.
    #[must_use]
    pub fn others(self, table: &Table, offers: &Offers) -> Vec<String> {
        let flags = offers.feature_bits() & !self.flags;
        let optional = table.features.iter().filter(|feature| !feature.mandatory);
        let optional = optional.filter(|feature| flags >> feature.bit & 1 == 1);
        let log = (!self.log).then(|| LOG.to_owned());
        optional.map(|feature| feature.name.clone()).chain(log).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use devmig_model::registry::Library;

    #[test]
    fn what_every_device_has_cannot_be_left_out() {
        let library = Library::builtin().unwrap();
        let table = &library.vfio().table;
        let named = |name: &str| Without::named(table, &[name.to_owned()]);
        let p2p = table.feature("p2p").unwrap().bit;
        assert_eq!(named("P2P"), Ok(Without { flags: 1 << p2p, log: false }));
        assert_eq!(named("dirty_log"), Ok(Without { flags: 0, log: true }));
        assert!(named("pre_copy").is_ok());
        assert!(named("stop-copy").is_err());
        let unknown = named("pre-cpy").unwrap_err();
        assert_eq!(unknown.help.as_deref(), Some("did you mean `pre-copy`?"));
    }
}
