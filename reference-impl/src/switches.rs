//! What can be switched in a device: settings, for what a text leaves open, and mutants, for what may
//! be done wrong. One form of each for every protocol.
//!
//! ```text
//!   settings! { [prefixes] field: Type = "name" { Variant "option", ... } ... }
//!   mutants!  { [prefix]   Variant "name" "clause" "what it does", ... }
//! ```
//!
//! **Not here:** what there is to switch.

/// Why a setting was not understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SettingError {
    /// There is no `=`.
    #[error("`{0}` is no setting: write NAME=OPTION")]
    Form(String),
    /// No such name.
    #[error("there is no setting `{name}`: there are {known}")]
    Name {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// No such option.
    #[error("`{name}` cannot be `{option}`: it can be {known}")]
    Option {
        /// The setting.
        name: &'static str,
        /// What was asked for.
        option: String,
        /// What there is.
        known: String,
    },
}

/// What the faults of every device have, for whoever hunts them.
pub trait Fault: Copy + Sync + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// Its name, for the command line.
    fn name(self) -> &'static str;

    /// The id of the clause that it breaks.
    fn clause(self) -> &'static str;

    /// What it does, in one sentence.
    fn about(self) -> &'static str;
}

/// There is no such mutant.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no mutant `{0}`")]
pub struct UnknownMutant(String);

impl UnknownMutant {
    /// Named like this.
    pub(crate) fn new(name: &str) -> Self {
        UnknownMutant(name.into())
    }
}

macro_rules! settings {
    ([$($prefix:literal),+] $($(#[$meta:meta])* $field:ident: $type:ident = $name:literal {
        $($(#[$option_meta:meta])* $variant:ident $option:literal,)+
    })+) => {
        use std::str::FromStr;

        pub use $crate::switches::SettingError;

        $(
            $(#[$meta])*
            #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
            pub enum $type { $($(#[$option_meta])* $variant,)+ }
        )+

        /// All of them. The defaults are those of the reference.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
        pub struct Settings { $($(#[$meta])* pub $field: $type,)+ }

        impl Settings {
            /// Names and options.
            pub const KNOWN: &'static [(&'static str, &'static [&'static str])] =
                &[$(($name, &[$($option,)+]),)+];

            /// Sets one from `NAME=OPTION`.
            ///
            /// # Errors
            /// See [`SettingError`]. Nothing has changed then.
            pub fn set(&mut self, setting: &str) -> Result<(), SettingError> {
                let (name, option) =
                    setting.split_once('=').ok_or_else(|| SettingError::Form(setting.into()))?;
                let short = [$($prefix),+].iter().find_map(|prefix| name.strip_prefix(prefix));
                match short.unwrap_or(name) {
                    $($name => {
                        self.$field = match option {
                            $($option => $type::$variant,)+
                            _ => return Err(SettingError::Option {
                                name: $name,
                                option: option.into(),
                                known: [$($option,)+].join(", "),
                            }),
                        };
                    })+
                    _ => return Err(SettingError::Name {
                        name: name.into(),
                        known: [$($name,)+].join(", "),
                    }),
                }
                Ok(())
            }

            /// The defaults, then each other option of each setting, by name.
            #[must_use]
            pub fn each() -> Vec<(String, Self)> {
                let mut all = vec![("the defaults".to_owned(), Self::default())];
                for (name, options) in Self::KNOWN {
                    for option in *options {
                        let text = format!("{name}={option}");
                        match text.parse::<Self>() {
                            Ok(settings) if settings != Self::default() => {
                                all.push((text, settings));
                            }
                            _ => {}
                        }
                    }
                }
                all
            }

            /// Each as `NAME=OPTION`, in order.
            pub fn list(&self) -> impl Iterator<Item = String> {
                [$(match self.$field { $($type::$variant => concat!($name, "=", $option),)+ },)+]
                    .into_iter()
                    .map(String::from)
            }
        }

        impl FromStr for Settings {
            type Err = SettingError;

            /// The defaults, changed by a list of `NAME=OPTION` with commas between.
            fn from_str(list: &str) -> Result<Self, SettingError> {
                let mut settings = Settings::default();
                let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.into_iter().try_for_each(|item| settings.set(item))?;
                Ok(settings)
            }
        }
    };
}
pub(crate) use settings;

macro_rules! mutants {
    ([$prefix:literal] $($variant:ident $name:literal $clause:literal $about:literal,)+) => {
        use std::fmt;
        use std::str::FromStr;

        pub use $crate::switches::UnknownMutant;

        /// One fault.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Mutant { $(#[doc = $about] $variant,)+ }

        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Mutant] = &[$(Mutant::$variant,)+];

            /// Its name, for the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Mutant::$variant => $name,)+ }
            }

            /// The id of the clause that it breaks.
            #[must_use]
            pub const fn clause(self) -> &'static str {
                match self { $(Mutant::$variant => concat!($prefix, $clause),)+ }
            }

            /// What it does, in one sentence.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Mutant::$variant => $about,)+ }
            }
        }

        /// The faults of one device: none, one, or two of which one may hide the other.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
        pub struct Mutants([Option<Mutant>; 2]);

        impl Mutants {
            /// These.
            #[must_use]
            pub const fn new(one: Option<Mutant>, other: Option<Mutant>) -> Self {
                Mutants([one, other])
            }

            /// Whether this is one of them.
            #[must_use]
            pub fn has(self, mutant: Mutant) -> bool {
                self.0.contains(&Some(mutant))
            }
        }

        impl From<Option<Mutant>> for Mutants {
            fn from(mutant: Option<Mutant>) -> Self {
                Mutants([mutant, None])
            }
        }

        impl $crate::switches::Fault for Mutant {
            const ALL: &'static [Mutant] = Mutant::ALL;

            fn name(self) -> &'static str {
                self.name()
            }

            fn clause(self) -> &'static str {
                self.clause()
            }

            fn about(self) -> &'static str {
                self.about()
            }
        }

        impl FromStr for Mutant {
            type Err = UnknownMutant;

            fn from_str(name: &str) -> Result<Self, UnknownMutant> {
                let found = Mutant::ALL.iter().find(|mutant| mutant.name() == name);
                found.copied().ok_or_else(|| UnknownMutant::new(name))
            }
        }

        impl fmt::Display for Mutant {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
pub(crate) use mutants;
