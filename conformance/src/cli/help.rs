//! Examples and exit codes, which `--help` prints after the options.
//!
//! **Invariants.** Every command that can end with something other than 0 or 2 lists its exit codes. Every
//! example is a command line.

pub(super) const DEVMIG: &str = "\
Exit codes of all commands:
  0  the result is as expected
  1  the result is not as expected
  2  wrong usage, or a specification with errors
  3  incomplete: a bound ended the run, and nothing unexpected was found before
  4  an error of devmig itself, for example a file that cannot be written
  5  nothing was judged: every test was skipped, or ended before the first answer";

pub(super) const CHECK: &str = "\
Examples:
  devmig check vhost-user/stop-start
  devmig check 'vfio/*' --choice vfio.log.report=read-then-clear
  devmig check --proposal specs/proposals/suspend.toml
  devmig check --list

Exit codes:
  0  every verdict is as expected
  1  some verdict is not as expected
  2  wrong usage, or a specification with errors
  3  a bound ended the run";

pub(super) const COMPARE: &str = "\
Examples:
  devmig compare vfio/set-detailed vfio/set-atomic
  devmig compare vhost-user/stop-start --choice vhost-user.get-vring-base.in-flight=abandon
  devmig compare --ring --refines vhost-user/stop-start ring/abstract

Exit codes:
  0  no observer can distinguish the systems (with --refines: A refines B)
  1  the systems differ
  2  wrong usage, or a specification with errors
  3  a bound ended the run";

pub(super) const DECIDE: &str = "\
Examples:
  devmig decide vhost-user/stop-start-with-status --choices vhost-user.status.zero
  devmig decide --brief device-model
  devmig decide --brief migration
  devmig decide migration --vm vm.toml
  devmig decide --brief hand-over

Exit codes:
  0  the tables are complete, whatever the verdicts (with --vm: it can migrate)
  1  with --vm: it cannot migrate
  2  wrong usage, or a specification with errors
  3  a bound ended the run";

pub(super) const VERIFY: &str = "\
Examples:
  devmig verify
  devmig verify --format json

Exit codes:
  0  everything is as expected
  1  something is not as expected
  3  a bound ended the run
  4  an error of devmig itself";

pub(super) const EXPLORE: &str = "\
Example:
  devmig explore example/copy

Exit codes:
  2  wrong usage, or a specification with errors
  4  the system cannot be explored, or the address cannot be used";

pub(super) const TEST: &str = "\
Examples:
  devmig test vhost-user --device fs --spawn 'virtiofsd --socket-path={socket} --shared-dir={folder}'
  devmig test vfio-user --socket /run/device.sock --junit results.xml
  devmig test device-model --spawn 'devmig device nic'

The steps of tests, for --script and --play, are in the book's page \"The steps of a test\":
docs/src/reference/steps.md

Exit codes:
  0  no finding, apart from warnings and waived findings
  1  a finding, or a crash
  2  wrong usage
  4  an error of the harness, or an implementation that cannot be started
  5  nothing was judged: every test was skipped, or ended before the first answer";

pub(super) const TEST_VHOST_USER: &str = "\
Examples:
  devmig test vhost-user --device blk --socket /run/disk.sock --only 'stop.*'
  devmig test vhost-user --device fs --spawn 'virtiofsd --socket-path={socket} --shared-dir={folder}'
  devmig test vhost-user --device blk --spawn 'COMMAND {socket}' --walks 50 --seed 7

Exit codes:
  0  no finding, apart from warnings and waived findings
  1  a finding or a crash, or a mutant that survived
  2  wrong usage
  4  an error of the harness, or a back-end that cannot be started
  5  nothing was judged: every test was skipped, or ended before the first answer";

pub(super) const TEST_VFIO_USER: &str = "\
Examples:
  devmig test vfio-user --spawn 'COMMAND {socket}'
  devmig test vfio-user --socket /run/device.sock --walks 50

Exit codes:
  0  no finding, apart from warnings and waived findings
  1  a finding or a crash, or a mutant that survived
  2  wrong usage
  4  an error of the harness, or a server that cannot be started
  5  nothing was judged: every test was skipped, or ended before the first answer";

pub(super) const TEST_VFIO: &str = "\
Examples:
  devmig test vfio --cdev /dev/vfio/devices/vfio0
  devmig test vfio --group /dev/vfio/7 --device 0000:00:01.0

Exit codes:
  0  no finding, apart from warnings and waived findings
  1  a finding
  2  wrong usage, or a device that cannot be opened
  4  an error of the harness
  5  nothing was judged: every test was skipped, or ended before the first answer";

pub(super) const TEST_DEVICE_MODEL: &str = "\
Examples:
  devmig test device-model --spawn 'devmig device nic'
  devmig test device-model --spawn 'devmig device nic' --only 'state.*'

Exit codes:
  0  no finding, apart from waived findings
  1  a finding or a crash, or a mutant that survived
  2  wrong usage
  4  an error of the harness
  5  nothing was judged: every test was skipped, or ended before the first answer";

pub(super) const TEST_MULTIFD_DESTINATION: &str = "\
Examples:
  devmig test multifd-destination --list
  devmig test multifd-destination --recording r --source-ram m.ram --spawn './qemu {ram} {socket}'

Exit codes:
  0  no finding, apart from waived findings
  1  a finding or a crash
  2  wrong usage
  4  an error of the harness
  5  nothing was judged: every test was skipped";

pub(super) const TEST_MULTIFD_SOURCE: &str = "\
Examples:
  devmig test multifd-source --list
  devmig test multifd-source --block m --spawn './qemu {ram} {socket}'

Exit codes:
  0  no finding, apart from waived findings
  1  a finding or a crash
  2  wrong usage
  4  an error of the harness
  5  nothing was judged: every test was skipped";

pub(super) const TEST_MIGRATION_CAPABILITIES: &str = "\
Examples:
  devmig test migration-capabilities --binary qemu-system-x86_64
  devmig test migration-capabilities --qmp qmp.sock --format json

Exit codes:
  0  the monitor answers as the table says
  1  it does not
  2  wrong usage, or the monitor cannot be reached
  4  the monitor does not answer";

pub(super) const IMPLEMENTATIONS: &str = "\
Examples:
  devmig implementations --list
  devmig implementations virtiofsd --install

Exit codes:
  0  every finding is a known deviation
  1  a new finding, a known deviation that was not found, or no implementation ran
  2  wrong usage";

pub(super) const WATCH: &str = "\
Example:
  devmig watch vhost-user --listen vmm.sock --connect device.sock --record talk.jsonl

Exit codes:
  0  no party violated a MUST
  1  a party violated a MUST
  2  wrong usage, or a socket that cannot be used
  4  no front-end connected";

pub(super) const REPLAY: &str = "\
Example:
  devmig replay conformance/recordings/tester-device-state.jsonl

Exit codes:
  0  no party violated a MUST
  1  a party violated a MUST
  2  the file is not a recording";

pub(super) const WATCH_MULTIFD: &str = "\
Examples:
  devmig watch multifd --listen source.sock --connect destination.sock --record capture
  devmig watch multifd --listen 127.0.0.1:4444 --connect 192.0.2.1:4444

Exit codes:
  0  conformant
  1  a clause is violated
  2  wrong usage, or what passed is not a migration
  3  truncated: no clause is violated, and the migration has no end
  4  no source connected, the destination cannot be reached, or the recording cannot be written";

pub(super) const WATCH_MIGRATION: &str = "\
Examples:
  devmig watch migration --source a.qmp --destination b.qmp --record events.jsonl
  devmig watch migration --source a.qmp --for 60

Exit codes:
  0  conformant
  1  an event is not allowed, or one is missing after a migration that failed
  2  wrong usage, or a monitor cannot be connected to
  3  truncated: every event is allowed, and the migration has not ended
  4  a socket is not a monitor's, or the log cannot be written";

pub(super) const REPLAY_MIGRATION: &str = "\
Examples:
  devmig replay migration events.jsonl
  devmig replay migration events.jsonl --device hostdev0=p2p,pre-copy --format json

Exit codes:
  0  conformant
  1  an event is not allowed, or one is missing after a migration that failed
  2  wrong usage, or the file is not a log of events
  3  truncated: every event is allowed, and the log has no end";

pub(super) const REPLAY_MAPPED_RAM: &str = "\
Examples:
  devmig replay mapped-ram state.bin --source-ram pc.ram=source.img

Exit codes:
  0  conformant: the file is complete, and no clause is violated
  1  a clause is violated
  2  wrong usage, or the file is not a main stream
  3  truncated: no clause is violated, and the file has no end";

pub(super) const REPLAY_MULTIFD: &str = "\
Example:
  devmig replay multifd capture --source-ram pc.ram=ram.img

Exit codes:
  0  conformant
  1  a clause is violated
  2  the folder is not a recording of a migration
  3  truncated: no clause is violated, and the migration has no end";

pub(super) const SCENARIO: &str = "\
Examples:
  devmig scenario --list
  devmig scenario block-reference --install --record recordings

Exit codes:
  0  every finding is a known deviation
  1  a new finding, a known deviation that was not found, or no scenario ran
  2  wrong usage";

pub(super) const REFERENCE: &str = "\
Examples:
  devmig reference multifd-destination --listen migration.sock --save destination.ram
  devmig reference multifd-source --connect migration.sock --save source.ram
  devmig reference mutants

Exit codes:
  0  the migration has completed
  1  it has failed
  2  wrong usage, or a socket that cannot be used
  4  a file that cannot be written";

pub(super) const REFERENCE_MULTIFD_SOURCE: &str = "\
Examples:
  devmig reference multifd-source --connect 127.0.0.1:4444 --channels 4 --compression zstd
  devmig reference multifd-source --connect migration.sock --block ram --machine none
  devmig reference multifd-source --connect migration.sock --mutant page-twice

Exit codes:
  0  the destination reports that the migration has completed
  1  the migration has failed
  2  wrong usage, or the destination cannot be reached
  4  a file that cannot be written";

pub(super) const REFERENCE_MULTIFD_DESTINATION: &str = "\
Examples:
  devmig reference multifd-destination --listen migration.sock --size 64 --block m --save m.ram
  devmig reference multifd-destination --listen 127.0.0.1:0 --sync per-section

Exit codes:
  0  the migration has completed
  1  it has failed, or was refused: the clause is named
  2  wrong usage, or a socket that cannot be listened on
  4  a file that cannot be written";

pub(super) const DEVICE: &str = "\
Examples:
  devmig device blk --socket-path disk.sock
  devmig device nic --socket-path nic.sock --model https://devmig.example/nic --rss on
  devmig device blk --socket-path disk.sock --mutant base-zero

Exit codes:
  0  the connection closed (--once); a signal ends it with 128 and the number of the signal
  1  the device cannot be created as asked; golden --check: a file is out of date
  2  wrong usage, or a socket that cannot be listened on
  4  the device cannot be served any more";

pub(super) const DEVICE_NIC: &str = "\
Examples:
  devmig device nic --socket-path nic.sock --rss on
  devmig device nic --vfio-user nic.sock
  devmig device nic --print-migration-info-json

Exit codes:
  0  the connection closed (--once); a signal ends it with 128 and the number of the signal
  1  the device cannot be created as asked
  2  wrong usage, or a socket that cannot be listened on
  4  the device cannot be served any more";

pub(super) const DEVICE_BLK: &str = "\
Example:
  devmig device blk --socket-path disk.sock

Exit codes:
  0  the connection closed (--once); a signal ends it with 128 and the number of the signal
  2  wrong usage, or a socket that cannot be listened on
  4  the device cannot be served any more";

pub(super) const DEVICE_SERVE: &str = "\
Example:
  devmig device serve --control control.sock

Exit codes:
  130, 143, 129  ended by SIGINT, SIGTERM, SIGHUP: devices are served until then
  2  wrong usage, or a socket that cannot be listened on
  4  devices cannot be served any more";

pub(super) const DEVICE_GOLDEN: &str = "\
Examples:
  devmig device golden states
  devmig device golden states --check

Exit codes:
  0  the states were written, or are up to date
  1  with --check: a file is out of date
  2  wrong usage
  4  a file cannot be written";

pub(super) const COMPAT: &str = "\
Examples:
  devmig compat --source INSTANCE.json --destination HOST.json
  devmig compat baseline HOST-A.json HOST-B.json
  devmig compat lint OLD.json NEW.json

Exit codes:
  0  the migration is safe; baseline: there is one; lint: no problem; fleet: every instance can
     migrate
  1  the migration is refused; baseline: there is none; lint: a problem; fleet: an instance cannot
     migrate anywhere
  2  wrong usage, or a file that is not a description";

pub(super) const COMPAT_BASELINE: &str = "\
Example:
  devmig compat baseline HOST-A.json HOST-B.json

Exit codes:
  0  a model has a configuration that all hosts accept
  1  no model has
  2  wrong usage, or a file that is not a description";

pub(super) const COMPAT_LINT: &str = "\
Examples:
  devmig compat lint OLD.json NEW.json
  devmig compat lint --catalogue HOST-A.json HOST-B.json

Exit codes:
  0  no error
  1  an error
  2  wrong usage, or a file that is not a description";

pub(super) const COMPAT_FLEET: &str = "\
Example:
  devmig compat fleet DIRECTORY

Exit codes:
  0  every instance can migrate to a host
  1  an instance cannot migrate anywhere
  2  wrong usage, or a file that is not a description";

pub(super) const TABLE: &str = "\
Examples:
  devmig table vhost-user --proposal specs/proposals/suspend.toml
  devmig table vfio --flags stop-copy,pre-copy";

pub(super) const EXPLAIN: &str = "\
Examples:
  devmig explain vhost-user.ring.kick-starts
  devmig explain vhost-user.status.zero";

pub(super) const CLAUSES: &str = "\
Examples:
  devmig clauses 'vhost-user.ring.*'
  devmig clauses coverage

Exit codes:
  0  the clauses are listed; coverage: no clause lacks anything without a reason
  1  coverage: a clause lacks something, or an exception covers no gap
  2  wrong usage";

pub(super) const CLAUSES_COVERAGE: &str = "\
Exit codes:
  0  no clause lacks anything without a reason
  1  a clause lacks something, or an exception covers no gap";

pub(super) const TEXTS: &str = "\
Examples:
  devmig texts
  devmig texts vhost-user
  devmig texts --check vhost-user.rst

Exit codes:
  0  the documents are listed; --check: the copy has every paragraph that is cited of one version
  1  --check: the copy lacks paragraphs of every version
  2  wrong usage, or a file that has no cited paragraph";

pub(super) const PROPOSAL_LINT: &str = "\
Example:
  devmig proposal lint specs/proposals/suspend.toml

Exit codes:
  0  the proposal has no errors
  1  the migration states of VFIO would not be sound
  2  wrong usage, or a proposal with errors";

pub(super) const PROPOSAL_NEW: &str = "\
Examples:
  devmig proposal new
  devmig proposal new --protocol vfio --id half-state half-state.toml

The file passes `devmig proposal lint` as it is, and `devmig check --proposal` explores it. The keys of
each item are in the book, in the chapter \"The keys of a file\".

Exit codes:
  0  the proposal was written
  2  wrong usage, or the file exists";

pub(super) const SCHEMA: &str = "\
Examples:
  devmig schema
  devmig schema check";

pub(super) const DOCS: &str = "\
Examples:
  devmig docs
  devmig docs --check

Exit codes:
  0  the pages were written, or are up to date
  1  with --check: a page is out of date
  2  wrong usage";

#[cfg(test)]
mod tests {
    use clap::{Command, Parser as _};

    use crate::cli::{Cli, commands};

    /// Commands that end with 0 or 2, but for trouble that every command may have.
    const PLAIN: [&str; 10] = [
        "devmig table",
        "devmig proposal",
        "devmig proposal words",
        "devmig choices",
        "devmig explain",
        "devmig schema",
        "devmig compat info",
        "devmig device settings",
        "devmig device mutants",
        "devmig reference mutants",
    ];

    /// Every command that a person sees, with what it says after its options.
    fn found() -> Vec<(String, String)> {
        let seen = commands().into_iter().filter(|(_, command)| !command.is_hide_set());
        let after = |command: &Command| command.get_after_help().map(ToString::to_string);
        let found = seen.map(|(path, command)| (path, after(&command).unwrap_or_default()));
        let found: Vec<_> = found.collect();
        assert!(found.len() > 30, "{}", found.len());
        found
    }

    #[test]
    fn every_command_lists_its_exit_codes() {
        for (path, after) in found() {
            let lists = after.contains("Exit codes");
            assert_eq!(lists, !PLAIN.contains(&path.as_str()), "{path}");
        }
    }

    #[test]
    fn every_example_is_a_command_line() {
        let mut examples = 0;
        for (path, after) in found() {
            for line in after.lines().filter_map(|line| line.strip_prefix("  devmig ")) {
                let words = shell_words::split(&format!("devmig {line}")).unwrap();
                if let Err(error) = Cli::try_parse_from(words) {
                    panic!("{path}: {line}: {error}");
                }
                examples += 1;
            }
        }
        assert!(examples > 40, "{examples}");
    }

    #[test]
    fn every_suite_says_where_its_steps_are_listed() {
        let suites = ["vhost-user", "vfio-user", "device-model", "vfio"];
        for suite in suites {
            let help = Cli::try_parse_from(["devmig", "test", suite, "--help"]).unwrap_err();
            let said = help.to_string().contains("docs/src/reference/steps.md");
            assert_eq!(said, suite != "device-model", "{suite}");
        }
        let help = Cli::try_parse_from(["devmig", "test", "--help"]).unwrap_err();
        assert!(help.to_string().contains("docs/src/reference/steps.md"));
    }
}
