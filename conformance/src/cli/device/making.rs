//! How the NIC is made, by the command line: an option for each row of its table, in both spellings of
//! the founding discussion, and what it says of itself before anything is made.
//!
//! ```text
//!   --rss on      --m-rss=on      --model-version 2      --print-migration-info-json
//! ```
//!
//! **Invariant.** What is asked of the model is refused by the model, with exit status 1, and by nothing
//! before it: clap takes any value, any value twice, and options that nobody knows.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use devmig_model::device_model::form::InstanceForm;
use devmig_reference::nic::{
    Build, ConfigError, Encoder, Given, Mutant, NicConfig, Order, Release,
};
use devmig_reference::nic::{NicModel, description, model};

use super::{Error, Out, Status};

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Making {
    order: Order,
    print: Option<Print>,
}

/// In which form it describes itself.
#[derive(Clone, Copy, Debug)]
enum Print {
    Info,
    Own,
    Instance,
}

const MODEL: &str = "model";
const VERSION: &str = "model-version";
const RELEASE: &str = "release";
const ENCODER: &str = "encoder";
const INFO: &str = "print-migration-info-json";
const OWN: &str = "print-implementation-json";
const INSTANCE: &str = "print-instance-json";
const REST: &str = "unknown";

impl Args for Making {
    fn augment_args(command: Command) -> Command {
        let value = |name: &'static str, about: &'static str| {
            Arg::new(name).long(name).help(about).help_heading("Device")
        };
        let flag =
            |name, about| value(name, about).action(ArgAction::SetTrue).help_heading("Output");
        let model = value(MODEL, "Model of the device, by its name in either version of the RFC")
            .value_name("MODEL")
            .default_value(NicModel::Nic.id());
        let version = value(VERSION, "Version of the model (an alias for parameter values)")
            .value_name("VERSION");
        let release = value(RELEASE, "Release of the device")
            .value_name("RELEASE")
            .value_parser(["1", "2"])
            .default_value("2");
        let encoder = value(ENCODER, "Encoder that writes and reads the state")
            .value_parser(["first", "second"])
            .default_value("first");
        let own = flag(OWN, "Print the complete description in the form of this project, and exit");
        let rest = Arg::new(REST).hide(true).num_args(0..).allow_hyphen_values(true);
        let parameters = model::options().map(|(name, option, about)| {
            value(name, about).alias(option).value_name("VALUE").action(ArgAction::Append)
        });
        command.args([model, version, release, encoder]).args(parameters).args([
            flag(INFO, "Print what can be created (RFC v3), and exit"),
            own,
            flag(INSTANCE, "Print what this command line creates, and exit"),
            rest,
        ])
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Making {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let text = |name| matches.get_one::<String>(name).cloned();
        let mut given = Vec::new();
        for (name, ..) in model::options() {
            let values = matches.get_many::<String>(name).into_iter().flatten();
            given.extend(values.map(|value| (name.to_owned(), Given::Text(value.clone()))));
        }
        given.extend(matches.get_many::<String>(REST).and_then(unknown));
        let release: Option<Release> = text(RELEASE).and_then(|text| text.parse().ok());
        let encoder = match text(ENCODER).as_deref() {
            Some("second") => Encoder::Second,
            _ => Encoder::First,
        };
        let build = Build { release: release.unwrap_or_default(), encoder, mutant: None };
        let forms = [(INFO, Print::Info), (OWN, Print::Own), (INSTANCE, Print::Instance)];
        let print = forms.into_iter().find(|(flag, _)| matches.get_flag(flag));
        let print = print.map(|(_, form)| form);
        let model = text(MODEL).unwrap_or_default();
        Ok(Making { order: Order { model, version: text(VERSION), given, build }, print })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The first option that nobody knows: it is held against the model, which does not know it either.
fn unknown<'a>(mut rest: impl Iterator<Item = &'a String>) -> Option<(String, Given)> {
    let first = rest.next()?;
    let name = first.strip_prefix("--m-").or(first.strip_prefix("--")).unwrap_or(first);
    let (name, value) = match name.split_once('=') {
        Some((name, value)) => (name, value),
        None => (name, rest.next().map_or("", String::as_str)),
    };
    Some((name.to_owned(), Given::Text(value.to_owned())))
}

impl Making {
    /// With this fault.
    pub(super) fn with(&self, mutant: Option<Mutant>) -> Self {
        let mut own = self.clone();
        own.order.build.mutant = mutant;
        own
    }

    /// Who makes it.
    pub(super) fn build(&self) -> Build {
        self.order.build
    }

    /// The NIC.
    pub(super) fn config(&self) -> Result<NicConfig, Error> {
        NicConfig::make(&self.order).map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &ConfigError) -> Error {
        let mutant = self.order.build.mutant;
        let message = match mutant {
            Some(Mutant::NamesNothing) => "the device cannot be created".to_owned(),
            _ => error.to_string(),
        };
        Error::Refused { message, quietly: mutant == Some(Mutant::RefusesQuietly) }
    }

    /// Says what can be made, or what is made (`instance`), if that is asked for.
    pub(super) fn print(
        &self,
        out: &mut Out<'_>,
        instance: impl FnOnce() -> Result<InstanceForm, Error>,
    ) -> Result<Option<Status>, Error> {
        let mutant = self.order.build.mutant;
        let described =
            || description::described(&self.order).map_err(|error| Error::Serve(error.to_string()));
        match self.print {
            None => return Ok(None),
            Some(Print::Instance) => {
                out.json(&instance()?)?;
                return Ok(Some(Status::Good));
            }
            Some(Print::Info) if mutant == Some(Mutant::DescriptionTwice) => {
                out.text("{\"models\": {}, \"models\": {}}\n")?;
            }
            Some(Print::Info) => out.json(&described()?.0)?,
            Some(Print::Own) => out.json(&described()?.1)?,
        }
        Ok(Some(match mutant {
            Some(Mutant::DescriptionFails) => Status::Bad,
            _ => Status::Good,
        }))
    }
}
