//! The reference back-end as a program, for trying it by hand or with another tester.
//!
//! ```text
//! cargo run -p devmig-reference --example vhost_user_blk -- SOCKET [NAME=OPTION | MUTANT | LATENCY_MS]...
//! ```

use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::time::Duration;

use devmig_reference::vhost_user::{Options, Stop, serve};

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let socket = arguments.next().ok_or("which socket?")?;
    let mut options = Options::default();
    for argument in arguments {
        if argument.contains('=') {
            options.settings.set(&argument)?;
        } else if let Ok(ms) = argument.parse() {
            options.block.latency = Duration::from_millis(ms);
        } else {
            options.mutant = Some(argument.parse()?);
        }
    }
    let listener = UnixListener::bind(socket)?;
    Ok(serve(&listener, &options, &Stop::new()?)?)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
