//! The command line: see [`devmig_conformance::cli`].

fn main() -> std::process::ExitCode {
    devmig_conformance::cli::main()
}
