//! Every system there is, whatever its protocol: what the command line lists, checks and serves.
//!
//! ```text
//!  example, ring, vdpa ---\
//!                          >-- Library::catalogue() --> Box<dyn Check>, by name
//!  systems.toml, proposal-/         (vhost-user, VFIO, device models)
//! ```
//!
//! **Invariant.** A name stands for one system; the order is that of the files.

use crate::protocol::example;
use crate::protocol::ring;
use crate::protocol::vdpa;
use crate::registry::Library;
use devmig_engine::clause::ChoiceId;
use devmig_engine::explore::Check;
use devmig_engine::rules::Rules;

impl Library {
    /// Every system under its own rules, with these choices fixed otherwise: the opening example,
    /// the abstract ring, then the protocols'.
    #[must_use]
    pub fn catalogue(&self, options: &[(ChoiceId, u8)]) -> Vec<Box<dyn Check>> {
        let rules = Rules { choices: self.spec.defaults(), ..Rules::default() };
        let rules = options.iter().fold(rules, |rules, (choice, o)| rules.fixing(*choice, *o));
        let examples = example::Clauses::resolve(&self.spec).map(|clauses| {
            example::systems(clauses, rules).map(|system| Box::new(system) as Box<dyn Check>)
        });
        let ring: Box<dyn Check> = Box::new(ring::system());
        let vdpa = vdpa::systems::Names::resolve(&self.spec).map(|names| {
            vdpa::systems::systems(names, rules).map(|system| Box::new(system) as Box<dyn Check>)
        });
        let protocols = self.systems.iter().map(|def| self.check_under(def, options));
        let vdpa = vdpa.into_iter().flatten();
        let of_vfio = self.vfio_systems.iter().map(|def| {
            let rules = self.vfio_rules(def);
            let rules = options.iter().fold(rules, |rules, (choice, o)| rules.fixing(*choice, *o));
            Box::new(self.vfio().system(def, rules)) as Box<dyn Check>
        });
        let of_migrations = self.migrations.iter().map(|def| {
            let rules = self.migration_rules(def);
            let rules = options.iter().fold(rules, |rules, (choice, o)| rules.fixing(*choice, *o));
            Box::new(self.orchestration().system(def, rules)) as Box<dyn Check>
        });
        examples
            .into_iter()
            .flatten()
            .chain([ring])
            .chain(protocols)
            .chain(vdpa)
            .chain(of_vfio)
            .chain(of_migrations)
            .collect()
    }

    /// The system of this name, with these choices fixed otherwise.
    #[must_use]
    pub fn find(&self, name: &str, options: &[(ChoiceId, u8)]) -> Option<Box<dyn Check>> {
        self.catalogue(options).into_iter().find(|system| system.name() == name)
    }
}
