//! Commands by number.

use std::fmt;

/// Who sends a command.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sender {
    /// The one who connects: a VMM.
    Client,
    /// The one who has the device.
    Server,
}

macro_rules! commands {
    ($($name:ident = $number:literal $sender:ident,)+) => {
        /// A command, spelled as in the text without its `VFIO_USER_`.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[allow(non_camel_case_types, missing_docs)] // named as in the text
        pub enum Command { $($name = $number,)+ }

        impl Command {
            /// All of them, by number. There is no 14 any more.
            pub const ALL: &'static [Command] = &[$(Command::$name,)+];

            /// The one with this number.
            #[must_use]
            pub const fn find(number: u16) -> Option<Command> {
                match number { $($number => Some(Command::$name),)+ _ => None }
            }

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Command::$name => stringify!($name),)+ }
            }

            /// Who sends it.
            #[must_use]
            pub const fn sender(self) -> Sender {
                match self { $(Command::$name => Sender::$sender,)+ }
            }
        }
    };
}

commands! {
    VERSION = 1 Client,
    DMA_MAP = 2 Client,
    DMA_UNMAP = 3 Client,
    DEVICE_GET_INFO = 4 Client,
    DEVICE_GET_REGION_INFO = 5 Client,
    DEVICE_GET_REGION_IO_FDS = 6 Client,
    DEVICE_GET_IRQ_INFO = 7 Client,
    DEVICE_SET_IRQS = 8 Client,
    REGION_READ = 9 Client,
    REGION_WRITE = 10 Client,
    DMA_READ = 11 Server,
    DMA_WRITE = 12 Server,
    DEVICE_RESET = 13 Client,
    REGION_WRITE_MULTI = 15 Client,
    DEVICE_FEATURE = 16 Client,
    MIG_DATA_READ = 17 Client,
    MIG_DATA_WRITE = 18 Client,
}

impl Command {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
