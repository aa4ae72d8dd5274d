//! Requests of DEVICE_FEATURE whose arguments are wrong, generated from what each feature can.

use devmig_model::protocol::vfio_user::{Feature, FeatureFlags};
use rustix::io::Errno;

use super::Session;
use crate::harness::verdict::TestEnd;
use crate::vfio::device::HarnessError;

/// A feature that no text knows.
const UNKNOWN: u32 = 0xfff0;

const GET: u32 = FeatureFlags::GET;
const SET: u32 = FeatureFlags::SET;
const PROBE: u32 = FeatureFlags::PROBE;

impl Session<'_> {
    /// Every request of a feature whose arguments are wrong, and every PROBE.
    pub(super) fn arguments(&mut self) -> Result<(), TestEnd> {
        let unsupported = self.clause("vfio.feature.unsupported")?;
        let wrong = self.clause("vfio.feature.arguments")?;
        for feature in Feature::ALL {
            let number = feature as u32;
            let (get, set) = feature.methods();
            let methods = if get { GET } else { 0 } | if set { SET } else { 0 };
            let there = self.request(8, number | methods | PROBE)?;
            if matches!(there, Err(Errno::NOTTY)) {
                for method in [GET, SET].into_iter().filter(|method| methods & method != 0) {
                    let said = self.request(8, number | method | PROBE)?;
                    self.expect(unsupported, number | method | PROBE, 8, said, Err(Errno::NOTTY))?;
                }
                continue;
            }
            self.expect(wrong, number | methods | PROBE, 8, there, Ok(()))?;
            let mut requests = vec![
                (16, number),
                (16, number | 1 << 19),
                (16, number | 1 << 31 | methods),
                (7, number | methods),
                (0, number | methods),
            ];
            requests.push((16, number | GET | SET));
            for method in [GET, SET] {
                match methods & method {
                    0 => requests.extend([(16, number | method | PROBE), (16, number | method)]),
                    _ => {
                        let said = self.request(8, number | method | PROBE)?;
                        self.expect(wrong, number | method | PROBE, 8, said, Ok(()))?;
                    }
                }
            }
            for (argsz, flags) in requests {
                let said = self.request(argsz, flags)?;
                self.expect(wrong, flags, argsz, said, Err(Errno::INVAL))?;
            }
        }
        for method in [GET, SET, GET | PROBE, SET | PROBE] {
            let said = self.request(16, UNKNOWN | method)?;
            self.expect(unsupported, UNKNOWN | method, 16, said, Err(Errno::NOTTY))?;
        }
        Ok(())
    }

    /// A request with as much data as its argsz says, or none where that is short.
    fn request(&mut self, argsz: u32, flags: u32) -> Result<Result<(), Errno>, TestEnd> {
        let data = vec![0; argsz.saturating_sub(8) as usize];
        self.conversation.note(format!("-> DEVICE_FEATURE argsz {argsz}, flags {flags:#x}"));
        match self.device.feature(argsz, flags, &data) {
            Ok(said) => Ok(said.map(|_| ())),
            Err(HarnessError::Lacks(what)) => Err(TestEnd::Skip(format!("needs {what}"))),
            Err(trouble) => self.trouble(trouble),
        }
    }

    fn expect(
        &mut self,
        clause: devmig_engine::clause::ClauseId,
        flags: u32,
        argsz: u32,
        said: Result<(), Errno>,
        due: Result<(), Errno>,
    ) -> Result<(), TestEnd> {
        if said == due {
            return Ok(());
        }
        let text = |said: Result<(), Errno>| match said {
            Ok(()) => "success".to_owned(),
            Err(errno) => errno.to_string(),
        };
        let observed = format!("argsz {argsz}, flags {flags:#x}: {}", text(said));
        self.finding_of(clause, observed, vec![text(due)])
    }
}
