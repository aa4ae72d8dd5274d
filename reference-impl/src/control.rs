//! Devices that are added, listed and deleted over a socket: the second way of the founding discussion
//! to make one (`device-add`).
//!
//! ```text
//!   one JSON-RPC 2.0 message, or a batch, a line --> answer, a line
//!
//!   device-add   {"id", "model"?, "version"?, "parameters"?, "transport"?, "socket", "link"?}
//!   device-list  --> [{"id", "transport", "socket", "instance"}]
//!   device-set   {"id", "parameters"}: always refused; the configuration of a device never changes
//!   device-del   {"id"}
//! ```
//!
//! **Invariants.** A device that cannot be made is not made, and all reasons are told. A slot is as new
//! when it is filled again. At most [`SLOTS`] devices exist; a line has at most [`MAX_LINE`] bytes,
//! and a batch [`MAX_BATCH`] calls, so an answer is bounded. One client at a time; its devices outlive it.
//!
//! **Not here:** the devices (`vhost_user`, `vfio_user`), and what they may be (`nic/model.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use devmig_model::device_model::bounded_json::Object;
use devmig_model::device_model::form::{InstanceForm, MAX_PARAMETERS};
use devmig_model::device_model::{External, Value};
use jsonrpsee_types::error::{
    INVALID_PARAMS_CODE, METHOD_NOT_FOUND_CODE, OVERSIZED_REQUEST_CODE, TOO_BIG_BATCH_REQUEST_CODE,
};
use jsonrpsee_types::{ErrorObjectOwned, Id, Request, Response, ResponsePayload};
use serde::{Deserialize, Serialize};

use crate::migration::state::{PRE_COPY, STOP_COPY};
use crate::nic::{Build, Given, Link, Mutant, NicConfig, NicModel, Order};
use crate::pci::FunctionOptions;
use crate::temporary::{self, Temporary};
use crate::vfio_user::{self, CoreOptions, ServerOptions};
use crate::vhost_user::net::NetOptions;
use crate::vhost_user::server::{ServeError, Serving, Stop};
use crate::vhost_user::{self, Options};

/// The most devices.
pub const SLOTS: usize = 64;

/// The longest line, in bytes.
pub const MAX_LINE: u64 = 1 << 20;

/// The most calls in a batch.
pub const MAX_BATCH: usize = 64;

/// The code of an error: the device is refused.
pub const REFUSED: i32 = 1;

/// How long a device that is deleted may take to end.
const ENDS: Duration = Duration::from_secs(5);

/// How long a client may say nothing before somebody else may come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a device is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// As a virtio device.
    #[default]
    VhostUser,
    /// As a PCI device.
    VfioUser,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    id: String,
    model: Option<String>,
    version: Option<String>,
    #[serde(default)]
    parameters: Object<String, Value, MAX_PARAMETERS>,
    #[serde(default)]
    transport: Transport,
    socket: PathBuf,
    /// `loopback` or `none`: what belongs to the host.
    link: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    id: String,
    parameters: Object<String, Value, MAX_PARAMETERS>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Del {
    id: String,
}

/// A device that exists, as it is listed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// What it is called.
    pub id: String,
    /// How it is reached.
    pub transport: Transport,
    /// Where.
    pub socket: PathBuf,
    /// What it is.
    pub instance: InstanceForm,
}

struct Device {
    listed: Listed,
    /// The client that had it created, by number.
    client: u32,
    serving: Serving,
    // Removed after the server has stopped.
    _socket: Temporary,
}

/// All devices of one program.
pub struct Control {
    build: Build,
    devices: BTreeMap<String, Device>,
    /// What the last device of the one slot that is filled next was made with.
    last: Vec<(String, Given)>,
    past: Past,
}

/// What has happened, for faults that only that shows; without one, nothing of it is kept.
#[derive(Debug, Default)]
struct Past {
    /// How many devices were created.
    made: u32,
    /// What the first was created with.
    first: Vec<(String, Given)>,
    /// What was refused since the last was created.
    refused: Vec<(String, Given)>,
    /// How often a device of a name was deleted.
    deleted: BTreeMap<String, u32>,
    /// How often a second device under a name was asked for.
    again: BTreeMap<String, u32>,
    /// Devices that existed when another was deleted.
    older: BTreeSet<String>,
    /// How many clients there were.
    clients: u32,
    /// The device that was created last.
    last: Option<InstanceForm>,
}

fn refused(why: impl std::fmt::Display) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(REFUSED, why.to_string(), None::<()>)
}

impl Control {
    /// None yet.
    #[must_use]
    pub fn new(build: Build) -> Self {
        Control { build, devices: BTreeMap::new(), last: Vec::new(), past: Past::default() }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.build.mutant == Some(mutant)
    }

    /// Serves one client after the other until told to stop.
    ///
    /// # Errors
    /// The kernel's; nothing that a client does.
    pub fn serve(&mut self, listener: &UnixListener, stop: &Stop) -> Result<(), ServeError> {
        listener.set_nonblocking(true)?;
        while !stop.requested()? {
            stop.wait_beside(listener)?;
            match listener.accept() {
                Ok((client, _)) => {
                    self.past.clients = self.past.clients.wrapping_add(1);
                    // Who breaks off is gone, whatever the reason.
                    let _ = self.converse(&client);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The client has gone again, or descriptors are short for a moment.
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        Ok(())
    }

    fn converse(&mut self, client: &UnixStream) -> io::Result<()> {
        client.set_nonblocking(false)?;
        client.set_read_timeout(Some(PATIENCE))?;
        client.set_write_timeout(Some(PATIENCE))?;
        let mut reader = BufReader::new(client);
        loop {
            let mut line = Vec::new();
            let got = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
            let cut = line.last() != Some(&b'\n');
            let answer = match cut {
                // Where the next message would begin is not known, so this is the last answer.
                true if got as u64 == MAX_LINE => {
                    let message = format!("a line has at most {MAX_LINE} bytes");
                    Some(failure(Id::Null, OVERSIZED_REQUEST_CODE, message))
                }
                true => return Ok(()),
                false => self.answer(&line),
            };
            if let Some(mut answer) = answer {
                answer.push('\n');
                let mut client = client;
                client.write_all(answer.as_bytes())?;
            }
            if cut {
                return Ok(());
            }
        }
    }

    /// The answer to a line; none if nothing in it asks for one.
    #[must_use]
    pub fn answer(&mut self, line: &[u8]) -> Option<String> {
        let Ok(text) = std::str::from_utf8(line) else { return Some(failed(Id::Null, -32700)) };
        let text = text.trim();
        if !text.starts_with('[') {
            return self.one(text);
        }
        let batch: Vec<&serde_json::value::RawValue> = match serde_json::from_str(text) {
            Ok(batch) => batch,
            Err(_) => return Some(failed(Id::Null, -32700)),
        };
        if batch.is_empty() {
            return Some(failed(Id::Null, -32600));
        }
        if batch.len() > MAX_BATCH {
            let message = format!("a batch has at most {MAX_BATCH} calls");
            return Some(failure(Id::Null, TOO_BIG_BATCH_REQUEST_CODE, message));
        }
        let answers: Vec<String> = batch.iter().filter_map(|one| self.one(one.get())).collect();
        (!answers.is_empty()).then(|| format!("[{}]", answers.join(",")))
    }

    fn one(&mut self, text: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Shape {
            id: Option<serde_json::Value>,
        }
        let Ok(shape) = serde_json::from_str::<Shape>(text) else {
            let json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            return Some(failed(Id::Null, if json { -32600 } else { -32700 }));
        };
        // A notification: nobody learns what becomes of it, so nothing is done.
        shape.id?;
        let Ok(request) = serde_json::from_str::<Request<'_>>(text) else {
            return Some(failed(Id::Null, -32600));
        };
        let params = request.params.as_ref().map_or("{}", |raw| raw.get());
        let done = match &*request.method {
            "device-add" => read(params).and_then(|add| self.add(add)),
            "device-list" => Ok(self.list()),
            "device-set" => read(params).and_then(|set| self.set(set)),
            "device-del" => read(params).and_then(|del: Del| self.delete(&del.id)),
            other => {
                let message = format!("there is no method `{}`", other.escape_debug());
                Err(ErrorObjectOwned::owned(METHOD_NOT_FOUND_CODE, message, None::<()>))
            }
        };
        let payload = match done {
            Ok(value) => ResponsePayload::success(value),
            Err(error) => ResponsePayload::error(error),
        };
        serde_json::to_string(&Response::new(payload, request.id)).ok()
    }

    fn add(&mut self, add: Add) -> Result<serde_json::Value, ErrorObjectOwned> {
        let Add { id, model, version, parameters, transport, socket, link } = add;
        if self.devices.contains_key(&id) {
            let again = self.past.again.get(&id).is_some_and(|again| *again > 0);
            let replaces = self.is(Mutant::AddsAgain) || (self.is(Mutant::ReplacesSecond) && again);
            if !replaces {
                self.note_refused(&id, &parameters);
                return Err(refused(format!("there is a device `{}` already", id.escape_debug())));
            }
            self.delete(&id)?;
        }
        if self.devices.len() >= SLOTS {
            return Err(refused(format!("there are {SLOTS} devices, which is the most")));
        }
        let (word, link) = match link.as_deref() {
            None | Some("loopback") => ("loopback", Link::Loopback),
            Some("none") => ("none", Link::Nobody),
            Some(_) => return Err(refused("`link` is `loopback` or `none`")),
        };
        let mut given: Vec<(String, Given)> =
            parameters.0.into_iter().map(|(name, value)| (name, Given::Value(value))).collect();
        if self.is(Mutant::PoolNotReset) {
            let kept = |(name, _): &&(String, _)| !given.iter().any(|(known, _)| known == name);
            given.extend(self.last.iter().filter(kept).cloned().collect::<Vec<_>>());
        }
        let model = model.unwrap_or_else(|| NicModel::default().id().to_owned());
        let own = given.clone();
        let left = match self.build.mutant {
            Some(Mutant::PoolKeepsFirst) if self.past.made > 1 => self.past.first.clone(),
            Some(Mutant::ChangeLeaks | Mutant::RefusedLeaks) => self.past.refused.clone(),
            _ => Vec::new(),
        };
        let is_given = |name: &str| own.iter().any(|(known, _)| known == name);
        given.extend(left.into_iter().filter(|(name, _)| !is_given(name)));
        let order = Order { model, version, given, build: self.build };
        let config = NicConfig::make(&order).map_err(|error| match self.build.mutant {
            Some(Mutant::NamesNothing) => refused("the device cannot be created"),
            _ => refused(error),
        })?;
        let external = [("link", word)]
            .into_iter()
            .filter_map(|(name, value)| Some((name.parse().ok()?, serde_json::Value::from(value))));
        let instance = config.instance(external.collect::<External>());
        let (serving, listening) = start(&socket, transport, config, link).map_err(refused)?;
        if self.build.mutant.is_some_and(Mutant::meets) {
            if self.past.made == 0 {
                self.past.first = own;
            }
            self.past.made = self.past.made.saturating_add(1);
            self.past.refused.clear();
            self.past.older.remove(&id);
        }
        self.last = order.given;
        let instance = InstanceForm::from(&instance);
        if self.is(Mutant::LastShown) {
            self.past.last = Some(instance.clone());
        }
        let listed = Listed { id: id.clone(), transport, socket, instance };
        self.devices
            .insert(id, Device { listed, client: self.past.clients, serving, _socket: listening });
        Ok(serde_json::Value::Bool(true))
    }

    /// A device under an existing name is refused.
    fn note_refused(&mut self, id: &str, given: &Object<String, Value, MAX_PARAMETERS>) {
        if !self.build.mutant.is_some_and(Mutant::meets) {
            return;
        }
        let again = self.past.again.entry(id.to_owned()).or_default();
        *again = again.saturating_add(1);
        if self.is(Mutant::RefusedLeaks) {
            let one =
                |(name, value): (&String, &Value)| (name.clone(), Given::Value(value.clone()));
            self.past.refused = given.0.iter().map(one).collect();
        }
    }

    fn list(&self) -> serde_json::Value {
        let is_listed = |device: &&Device| match self.build.mutant {
            Some(Mutant::ListGap) => !self.past.older.contains(&device.listed.id),
            Some(Mutant::ClientForgets) => device.client == self.past.clients,
            _ => true,
        };
        let all = self.devices.values().filter(is_listed).map(|device| &device.listed);
        let mut all: Vec<Listed> = all.cloned().collect();
        if let Some(last) = self.past.last.clone().filter(|_| self.is(Mutant::LastShown)) {
            all.iter_mut().for_each(|listed| listed.instance = last.clone());
        }
        serde_json::to_value(all).unwrap_or_default()
    }

    fn set(&mut self, set: Set) -> Result<serde_json::Value, ErrorObjectOwned> {
        let again = self.past.deleted.contains_key(&set.id);
        let changes = self.is(Mutant::ChangesLive) || (self.is(Mutant::ChangesAgain) && again);
        if self.is(Mutant::ChangeLeaks) {
            let one =
                |(name, value): (&String, &Value)| (name.clone(), Given::Value(value.clone()));
            self.past.refused = set.parameters.0.iter().map(one).collect();
        }
        let device = self.found(&set.id)?;
        if changes {
            for (name, value) in set.parameters.0 {
                if let Ok(name) = name.parse() {
                    device.listed.instance.parameters.0.insert(name, value);
                }
            }
            return Ok(serde_json::Value::Bool(true));
        }
        let names: Vec<String> =
            set.parameters.0.keys().map(|name| format!("`{}`", name.escape_debug())).collect();
        let id = set.id.escape_debug();
        let names = names.join(", ");
        Err(refused(format!(
            "{names} of `{id}` cannot change: another configuration is another device"
        )))
    }

    fn found(&mut self, id: &str) -> Result<&mut Device, ErrorObjectOwned> {
        let missing = || refused(format!("there is no device `{}`", id.escape_debug()));
        self.devices.get_mut(id).ok_or_else(missing)
    }

    fn delete(&mut self, id: &str) -> Result<serde_json::Value, ErrorObjectOwned> {
        self.found(id)?;
        let first = self.devices.keys().next().cloned().filter(|_| self.is(Mutant::DeletesOther));
        let id = first.as_deref().unwrap_or(id);
        if self.build.mutant.is_some_and(Mutant::meets) {
            let deleted = self.past.deleted.entry(id.to_owned()).or_default();
            *deleted = deleted.saturating_add(1);
            if *deleted > 1 && self.is(Mutant::DeletesOnce) {
                return Ok(serde_json::Value::Bool(true));
            }
            self.past.older = self.devices.keys().filter(|other| *other != id).cloned().collect();
            self.past.again.remove(id);
        }
        if let Some(mut device) = self.devices.remove(id) {
            device.serving.stop(ENDS).map_err(refused)?;
        }
        Ok(serde_json::Value::Bool(true))
    }
}

fn read<'p, T: Deserialize<'p>>(params: &'p str) -> Result<T, ErrorObjectOwned> {
    serde_json::from_str(params).map_err(|error| {
        ErrorObjectOwned::owned(INVALID_PARAMS_CODE, error.to_string(), None::<()>)
    })
}

fn failed(id: Id<'_>, code: i32) -> String {
    let message = if code == -32700 { "this is no JSON" } else { "this is no request" };
    failure(id, code, message.to_owned())
}

fn failure(id: Id<'_>, code: i32, message: String) -> String {
    let error = ErrorObjectOwned::owned(code, message, None::<()>);
    serde_json::to_string(&Response::new(ResponsePayload::<()>::error(error), id))
        .unwrap_or_default()
}

/// Serves a device in a thread of its own.
fn start(
    socket: &std::path::Path,
    transport: Transport,
    config: NicConfig,
    link: Link,
) -> Result<(Serving, Temporary), ServeError> {
    let (listener, listening) = temporary::listen(socket)
        .map_err(|error| ServeError::Listen { path: socket.to_owned(), error })?;
    let latency = Duration::ZERO;
    let serving = Serving::start(move |stop| match transport {
        Transport::VhostUser => {
            let options = Options::nic(NetOptions { config, link, latency, flap: None });
            vhost_user::serve(&listener, None, &options, stop)
        }
        Transport::VfioUser => {
            let function = FunctionOptions { config, link, latency };
            let core = CoreOptions::new(function, STOP_COPY | PRE_COPY, Default::default());
            vfio_user::serve(&listener, &ServerOptions { core, once: false }, stop)
        }
    })?;
    Ok((serving, listening))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(control: &mut Control, method: &str, params: serde_json::Value) -> serde_json::Value {
        let request = serde_json::json!(
            {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        );
        let answer = control.answer(request.to_string().as_bytes()).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((&answer["id"], &answer["jsonrpc"]), (&7.into(), &"2.0".into()));
        answer
    }

    #[test]
    fn a_device_is_added_listed_never_changed_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let mut control = Control::new(Build::default());
        let socket = folder.path().join("a");
        let add = |size: u64| {
            serde_json::json!(
                {"id": "a", "socket": socket, "parameters": {"rx-filter-size": size}}
            )
        };
        let said = ask(&mut control, "device-add", add(4096));
        assert!(said["error"]["message"].as_str().unwrap().contains("`rx-filter-size`"), "{said}");
        assert!(!socket.exists());
        assert_eq!(ask(&mut control, "device-add", add(16))["result"], true);
        assert!(ask(&mut control, "device-add", add(32))["error"].is_object());
        let change = serde_json::json!({"id": "a", "parameters": {"rss": true}});
        let said = ask(&mut control, "device-set", change);
        assert!(said["error"]["message"].as_str().unwrap().contains("`rss`"), "{said}");
        let listed = ask(&mut control, "device-list", serde_json::json!({}));
        let [one] = &listed["result"].as_array().unwrap()[..] else { panic!("{listed}") };
        assert_eq!(one["instance"]["parameters"]["rx-filter-size"], 16);
        assert_eq!(one["instance"]["parameters"]["rss"], false);
        assert!(UnixStream::connect(&socket).is_ok());
        let id = serde_json::json!({"id": "a"});
        assert_eq!(ask(&mut control, "device-del", id.clone())["result"], true);
        assert!(ask(&mut control, "device-del", id)["error"].is_object());
        assert!(!socket.exists());
    }

    #[test]
    fn faults_of_what_exists_are_seen_in_the_list() {
        let listed = |mutant, change: bool| {
            let folder = tempfile::tempdir().unwrap();
            let mut control = Control::new(Build { mutant, ..Build::default() });
            let add = |id: &str, parameters: serde_json::Value| serde_json::json!({"id": id, "socket": folder.path().join(id), "parameters": parameters});
            let first = add("a", serde_json::json!({"queue-pairs": 4}));
            assert_eq!(ask(&mut control, "device-add", first)["result"], true);
            if change {
                let set = serde_json::json!({"id": "a", "parameters": {"rss": true}});
                ask(&mut control, "device-set", set);
                ask(&mut control, "device-add", add("a", serde_json::json!({"rss": true})));
            }
            ask(&mut control, "device-add", add("b", serde_json::json!({})));
            let all = ask(&mut control, "device-list", serde_json::json!({}))["result"].clone();
            let one = |at: usize| {
                let set = &all[at]["instance"]["parameters"];
                (set["queue-pairs"].clone(), set["rss"].clone())
            };
            (one(0), one(1))
        };
        let right = listed(None, true);
        assert_eq!(right, ((4.into(), false.into()), (1.into(), false.into())));
        for mutant in
            [Mutant::ReadBackLies, Mutant::ChangesLive, Mutant::AddsAgain, Mutant::PoolNotReset]
        {
            assert_ne!(listed(Some(mutant), true), right, "{mutant}");
        }
    }

    #[test]
    fn what_is_no_request_is_said_and_a_batch_is_answered_as_one() {
        let mut control = Control::new(Build::default());
        let code = |answer: Option<String>| {
            let answer: serde_json::Value = serde_json::from_str(&answer.unwrap()).unwrap();
            answer["error"]["code"].as_i64().unwrap()
        };
        assert_eq!(code(control.answer(b"{")), -32700);
        assert_eq!(code(control.answer(b"\xff")), -32700);
        assert_eq!(code(control.answer(b"[]")), -32600);
        assert_eq!(code(control.answer(b"{\"id\": 1}")), -32600);
        let many = format!(
            "[{}]",
            ["{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"device-list\"}"; 65].join(",")
        );
        assert_eq!(code(control.answer(many.as_bytes())), i64::from(TOO_BIG_BATCH_REQUEST_CODE));
        let none = b"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"device-move\"}";
        assert_eq!(code(control.answer(none)), -32601);
        let told = b"{\"jsonrpc\": \"2.0\", \"method\": \"device-list\"}";
        assert_eq!(control.answer(told), None);
        let two = b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"device-list\"},{\"jsonrpc\":\"2.0\",\"method\":\"x\"}]";
        let answers: serde_json::Value =
            serde_json::from_str(&control.answer(two).unwrap()).unwrap();
        assert_eq!(answers.as_array().unwrap().len(), 1);
    }
}
