pub mod mutants;
pub mod settings;

pub use mutants::Mutant;
pub use settings::Settings;
