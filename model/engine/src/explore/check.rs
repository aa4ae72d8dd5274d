//! One face for all systems, whatever their machines: what a command line and the laws need.
//!
//! **Invariant.** Nothing here decides anything: [`super::report`] does, and [`super::view`] asks
//! stateright.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Error;
use super::behaviour::{Behaving, Behaviour, Seen};
use super::options::{Listed, Options, listed};
use super::report::{Report, check};
use super::view::{self, Counts};
use crate::machine::Machine;
use crate::system::System;

/// A system that can be checked.
pub trait Check: Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &str;

    /// The protocol that it is about.
    fn protocol(&self) -> &str;

    /// What it shows, in one sentence.
    fn about(&self) -> &str;

    /// Its properties, twins and built-in ones included, in the order of the report.
    fn properties(&self) -> Vec<Listed>;

    /// Where it begins: participants by name, each with its fields, as traces name them.
    fn fields(&self) -> Map<String, Value>;

    /// Explores it.
    ///
    /// # Errors
    /// If a choice is open, or the initial state does not fit its packing.
    fn check(&self, options: &Options<'_>) -> Result<Report, Error>;

    /// What can be seen of it, to be compared with what can be seen of another.
    ///
    /// # Errors
    /// If the initial state does not fit its packing.
    fn behaviour<'a>(&'a self, seen: Seen<'a>) -> Result<Box<dyn Behaviour + 'a>, Error>;

    /// What stateright finds: the second opinion.
    ///
    /// # Errors
    /// If a choice is open, or the initial state does not fit its packing.
    fn stateright(self: Arc<Self>) -> Result<Counts, Error>;

    /// Serves stateright's Explorer, the interactive view; returns only when it ends.
    ///
    /// # Errors
    /// As [`Check::stateright`].
    fn serve(self: Arc<Self>, address: SocketAddr) -> Result<(), Error>;
}

impl<M, const Q: usize, const N: usize, const W: usize> Check for System<M, Q, N, W>
where
    M: Machine + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn protocol(&self) -> &str {
        self.protocol
    }

    fn about(&self) -> &str {
        &self.about
    }

    fn properties(&self) -> Vec<Listed> {
        listed(self)
    }

    fn fields(&self) -> Map<String, Value> {
        self.closed.machine.describe(&self.closed.initial().parts)
    }

    fn check(&self, options: &Options<'_>) -> Result<Report, Error> {
        check(self, options)
    }

    fn behaviour<'a>(&'a self, seen: Seen<'a>) -> Result<Box<dyn Behaviour + 'a>, Error> {
        Ok(Box::new(Behaving::new(self, seen)?))
    }

    fn stateright(self: Arc<Self>) -> Result<Counts, Error> {
        view::run(self)
    }

    fn serve(self: Arc<Self>, address: SocketAddr) -> Result<(), Error> {
        view::serve(self, address)
    }
}
