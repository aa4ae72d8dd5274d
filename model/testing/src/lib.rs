//! What the generated tests of all crates share. A dev-dependency: no product code uses it.
//!
//! ```text
//!  generator --case--> test --premise held?--> Premises      (a test that cannot fail is a defect)
//!  corpus + seeds --bytes--> target --panic--> minimised bytes (a failure that can be read)
//! ```
//!
//! **Not here.** Generators: they stand with the types that they generate.

pub mod fuzz;
pub mod premises;

pub use premises::Premises;
