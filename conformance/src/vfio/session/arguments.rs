//! Requests of DEVICE_FEATURE whose arguments are wrong, generated from what each feature can.

use devmig_engine::clause::ClauseId;
use devmig_model::protocol::vfio_user::{Feature, FeatureFlags};
use rustix::io::Errno;

use super::Session;
use crate::harness::verdict::TestEnd;
use crate::vfio::device::{ErrorNumber, HarnessError};

/// A feature that no text knows.
const UNKNOWN: u32 = 0xfff0;

const GET: u32 = FeatureFlags::GET;
const SET: u32 = FeatureFlags::SET;
const PROBE: u32 = FeatureFlags::PROBE;

impl Session<'_> {
    /// PROBE of every method of every feature, and of a feature that no text knows.
    pub(super) fn probe(&mut self) -> Result<(), TestEnd> {
        let clause = self.clause("vfio.feature.probe")?;
        for feature in Feature::ALL {
            let number = feature as u32;
            let is_there = self.is_there(feature)?;
            for (method, has) in methods(feature) {
                let said = self.request(8, number | method | PROBE)?;
                let due = if is_there && has { "success" } else { "a refusal" };
                if said.is_ok() != (is_there && has) {
                    self.differs(clause, (8, number | method | PROBE), said, due)?;
                }
            }
        }
        for method in [GET, SET] {
            let flags = UNKNOWN | method | PROBE;
            let said = self.request(8, flags)?;
            if said.is_ok() {
                self.differs(clause, (8, flags), said, "a refusal")?;
            }
        }
        Ok(())
    }

    /// Every request of a feature that the device does not have.
    pub(super) fn unsupported(&mut self) -> Result<(), TestEnd> {
        let clause = self.clause("vfio.feature.unsupported")?;
        let mut absent = vec![UNKNOWN | GET, UNKNOWN | SET];
        for feature in Feature::ALL {
            if !self.is_there(feature)? {
                let has = methods(feature).into_iter().filter(|(_, has)| *has);
                absent.extend(has.map(|(method, _)| feature as u32 | method));
            }
        }
        for flags in absent {
            for (argsz, flags) in [(8, flags | PROBE), (16, flags)] {
                self.refused(clause, argsz, flags, Errno::NOTTY)?;
            }
        }
        Ok(())
    }

    /// Every request whose arguments are wrong, of the features that the device has.
    pub(super) fn arguments(&mut self) -> Result<(), TestEnd> {
        let clause = self.clause("vfio.feature.arguments")?;
        for feature in Feature::ALL {
            if !self.is_there(feature)? {
                continue;
            }
            let number = feature as u32;
            let (own, others): (Vec<_>, Vec<_>) =
                methods(feature).into_iter().partition(|(_, has)| *has);
            let own = own.iter().fold(0, |all, (method, _)| all | method);
            for (method, _) in others {
                self.refused(clause, 8, number | method | PROBE, Errno::INVAL)?;
                self.refused(clause, 16, number | method, Errno::INVAL)?;
            }
            let wrong = [number, number | 1 << 19, number | 1 << 31 | own, number | GET | SET];
            for flags in wrong {
                self.refused(clause, 16, flags, Errno::INVAL)?;
            }
            // In vfio-user an argsz below the length of the reply asks for a shorter reply.
            if self.device.transport().kernel {
                for argsz in [7, 0] {
                    self.refused(clause, argsz, number | own, Errno::INVAL)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the device has a feature with all of its methods.
    fn is_there(&mut self, feature: Feature) -> Result<bool, TestEnd> {
        let has = methods(feature).into_iter().filter(|(_, has)| *has);
        let all = has.fold(0, |all, (method, _)| all | method);
        Ok(self.request(8, feature as u32 | all | PROBE)?.is_ok())
    }

    fn refused(
        &mut self,
        clause: ClauseId,
        argsz: u32,
        flags: u32,
        due: Errno,
    ) -> Result<(), TestEnd> {
        let said = self.request(argsz, flags)?;
        match said {
            // In vfio-user the number is optional: a server that gives none says only that it refuses.
            Err(number) if number == due || !number.is_given() => Ok(()),
            _ => self.differs(clause, (argsz, flags), said, &due.to_string()),
        }
    }

    fn differs(
        &mut self,
        clause: ClauseId,
        (argsz, flags): (u32, u32),
        said: Result<(), ErrorNumber>,
        due: &str,
    ) -> Result<(), TestEnd> {
        let said = said.map_or_else(|errno| errno.to_string(), |()| "success".to_owned());
        let observed = format!("argsz {argsz}, flags {flags:#x}: {said}");
        self.finding_of(clause, observed, vec![due.to_owned()])
    }

    /// A request with as much data as its argsz says, or none where that is short.
    fn request(&mut self, argsz: u32, flags: u32) -> Result<Result<(), ErrorNumber>, TestEnd> {
        let data = vec![0; argsz.saturating_sub(8) as usize];
        self.conversation.note(format!("-> DEVICE_FEATURE argsz {argsz}, flags {flags:#x}"));
        match self.device.feature(argsz, flags, &data) {
            Ok(said) => {
                self.deviations()?;
                Ok(said.map(|_| ()))
            }
            Err(HarnessError::Lacks(what)) => Err(TestEnd::Skip(format!("needs {what}"))),
            Err(trouble) => self.trouble(trouble),
        }
    }
}

/// The methods, and whether a feature has each.
fn methods(feature: Feature) -> [(u32, bool); 2] {
    let (get, set) = feature.methods();
    [(GET, get), (SET, set)]
}
