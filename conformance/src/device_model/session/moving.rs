//! State that is saved and loaded.

use super::{Session, finding, stop};
use crate::device_model::state::Device;
use crate::harness::verdict::TestEnd;
use crate::vfio::device::ErrorNumber;

impl Session<'_> {
    fn device(&mut self) -> Result<&mut Device, TestEnd> {
        self.device.as_mut().ok_or_else(|| TestEnd::Harness("no device is started".into()))
    }

    fn last(&self) -> Result<Vec<u8>, TestEnd> {
        self.saved.last().cloned().ok_or_else(|| TestEnd::Harness("nothing is saved yet".into()))
    }

    pub(super) fn save(&mut self) -> Result<(), TestEnd> {
        let state = self.device()?.save().map_err(stop)?;
        let state = state.map_err(|errno| {
            finding(format!("it returns no state: {errno}"), "its state, to the end")
        })?;
        self.say(format!("-> a state of {} bytes", state.len()));
        self.saved.push(state);
        Ok(())
    }

    /// Loads the state that was saved last.
    fn put(&mut self) -> Result<Result<(), ErrorNumber>, TestEnd> {
        let state = self.last()?;
        self.say(format!("<- a state of {} bytes", state.len()));
        let loaded = self.device()?.load(&state).map_err(stop)?;
        let what = if loaded.is_ok() { "it is accepted" } else { "it is refused" };
        self.say(format!("-> {what}"));
        Ok(loaded)
    }

    pub(super) fn load(&mut self) -> Result<(), TestEnd> {
        self.put()?.map_err(|errno| {
            finding(
                format!("the state is refused: {errno}"),
                "it is accepted: the configuration is the same",
            )
        })
    }

    pub(super) fn refuse_state(&mut self) -> Result<(), TestEnd> {
        match self.put()? {
            Err(_) => Ok(()),
            Ok(()) => Err(finding("the state of another device is accepted", "it is refused")),
        }
    }

    pub(super) fn same(&mut self) -> Result<(), TestEnd> {
        let [.., before, after] = self.saved.as_slice() else {
            return Err(TestEnd::Harness("there are no two states".into()));
        };
        if before == after {
            return Ok(());
        }
        let same = before.iter().zip(after).take_while(|(one, other)| one == other).count();
        let lengths = (before.len(), after.len());
        let observed = format!(
            "it differs from byte {same}: {} bytes were loaded, and {} saved",
            lengths.0, lengths.1
        );
        Err(finding(observed, "the same bytes"))
    }

    pub(super) fn golden(&mut self) -> Result<(), TestEnd> {
        let transport = self.transport;
        let golden = self.case()?.golden.as_ref();
        let golden =
            golden.ok_or_else(|| TestEnd::Harness("this case has no golden state".into()))?;
        let Some(state) = golden.states.get(&transport) else {
            return Err(TestEnd::Skip(format!("needs {} over {}", golden.name, transport.name())));
        };
        self.say(format!("golden state {}", golden.name));
        self.saved.push(state.clone());
        Ok(())
    }

    pub(super) fn look(&mut self) -> Result<(), TestEnd> {
        self.seen = self.device()?.seen().map_err(stop)?;
        let bytes: usize = self.seen.iter().map(|(_, bytes)| bytes.len()).sum();
        self.say(format!("-> {bytes} bytes can be read of its regions"));
        Ok(())
    }

    pub(super) fn same_look(&mut self) -> Result<(), TestEnd> {
        let before = std::mem::take(&mut self.seen);
        self.look()?;
        for ((region, one), (_, other)) in before.iter().zip(&self.seen) {
            if let Some(at) = one.iter().zip(other).position(|(a, b)| a != b) {
                let observed =
                    format!("a guest sees a difference: region {region} differs at {at:#x}");
                return Err(finding(observed, "a guest sees no difference"));
            }
        }
        match before.len() == self.seen.len() {
            true => Ok(()),
            false => Err(finding("a guest sees different regions", "the same")),
        }
    }
}
