//! Examples and exit codes, which `--help` prints after the options.
//!
//! **Invariant.** Every command that can end with something other than 0 or 2 lists its exit codes.

pub(super) const DEVMIG: &str = "\
Exit codes of all commands:
  0  the result is as expected
  1  the result is not as expected
  2  wrong usage, or a specification with errors
  3  incomplete: a bound ended the run, and nothing unexpected was found before
  4  an error of devmig itself, for example a file that cannot be written";

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

Exit codes:
  0  the tables are complete, whatever the verdicts
  2  wrong usage, or a specification with errors
  3  a bound ended the run";

pub(super) const VERIFY: &str = "\
Exit codes:
  0  everything is as expected
  1  something is not as expected
  3  a bound ended the run
  4  an error of devmig itself";

pub(super) const EXPLORE: &str = "\
Example:
  devmig explore example/copy";

pub(super) const TEST: &str = "\
Examples:
  devmig test vhost-user --device fs --spawn 'virtiofsd --socket-path={socket} --shared-dir={folder}'
  devmig test vfio-user --socket /run/device.sock --junit results.xml
  devmig test device-model --spawn 'devmig device nic'

Exit codes:
  0  no finding, apart from warnings and waived findings
  1  a finding
  2  wrong usage, or an implementation that cannot be started
  4  an error of the harness";

pub(super) const TEST_VHOST_USER: &str = "\
Examples:
  devmig test vhost-user --device blk --socket /run/disk.sock --only 'stop.*'
  devmig test vhost-user --device fs --spawn 'virtiofsd --socket-path={socket} --shared-dir={folder}'
  devmig test vhost-user --device blk --spawn 'COMMAND {socket}' --walks 50 --seed 7

Exit codes:
  0  no finding, apart from warnings and waived findings
  1  a finding, or a mutant that survived
  2  wrong usage, or a back-end that cannot be started
  4  an error of the harness";

pub(super) const TEST_VFIO_USER: &str = "\
Examples:
  devmig test vfio-user --spawn 'COMMAND {socket}'
  devmig test vfio-user --socket /run/device.sock --walks 50

Exit codes:
  0  no finding, apart from warnings and waived findings
  1  a finding, or a mutant that survived
  2  wrong usage, or a server that cannot be started
  4  an error of the harness";

pub(super) const TEST_VFIO: &str = "\
Examples:
  devmig test vfio --cdev /dev/vfio/devices/vfio0
  devmig test vfio --group /dev/vfio/7 --device 0000:00:01.0

Exit codes:
  0  no finding, apart from warnings and waived findings
  1  a finding
  2  wrong usage, or a device that cannot be opened
  4  an error of the harness";

pub(super) const TEST_DEVICE_MODEL: &str = "\
Examples:
  devmig test device-model --spawn 'devmig device nic'
  devmig test device-model --spawn 'devmig device nic' --only 'state.*'

Exit codes:
  0  no finding, apart from waived findings
  1  a finding, or a mutant that survived
  2  wrong usage
  4  an error of the harness";

pub(super) const IMPLEMENTATIONS: &str = "\
Examples:
  devmig implementations --list
  devmig implementations virtiofsd --install

Exit codes:
  0  every finding is a known deviation
  1  a new finding, a known deviation that was not found, or no implementation ran";

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

pub(super) const SCENARIO: &str = "\
Examples:
  devmig scenario --list
  devmig scenario block-reference --install --record recordings

Exit codes:
  0  every finding is a known deviation
  1  a new finding, a known deviation that was not found, or no scenario ran";

pub(super) const DEVICE: &str = "\
Examples:
  devmig device blk --socket-path disk.sock
  devmig device nic --socket-path nic.sock --model https://devmig.example/nic --rss on
  devmig device blk --socket-path disk.sock --mutant base-zero";

pub(super) const COMPAT: &str = "\
Examples:
  devmig compat --source INSTANCE.json --destination HOST.json
  devmig compat baseline HOST-A.json HOST-B.json
  devmig compat lint OLD.json NEW.json

Exit codes:
  0  the migration is safe; lint: no problem; fleet: every instance can migrate
  1  the migration is refused; lint: a problem; fleet: an instance cannot migrate anywhere
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
  devmig clauses coverage";

pub(super) const DOCS: &str = "\
Exit codes:
  0  the pages were written, or are up to date
  1  with --check: a page is out of date
  2  wrong usage";
