//! The cases of the discussion, and what the seven steps answer.

use devmig_model::device_model::{
    Configuration, Implementation, Instance, Kind, Refusal, Settings, admit, check, decide, form,
    read_back,
};
use serde_json::{Value as Json, json};

fn host(json: &Json) -> Implementation {
    form::implementation(json.to_string().as_bytes()).unwrap()
}

fn instance(json: &Json) -> Instance {
    form::instance(json.to_string().as_bytes()).unwrap()
}

/// A NIC with a receive filter of one of these sizes.
fn nic(sizes: &Json) -> Implementation {
    host(&json!({"models": [{"model": "vendor-a.com/my-nic", "parameters": [
        {"name": "rx-filter-size", "type": "int", "allowed_values": sizes, "init_value": 32, "off_value": 0},
    ]}]}))
}

fn filter(size: u64) -> Instance {
    instance(&json!({"model": "vendor-a.com/my-nic", "parameters": {"rx-filter-size": size}}))
}

fn kinds(answer: Result<Configuration, Refusal>) -> Vec<Kind> {
    answer.map_or_else(|refusal| refusal.reasons().iter().map(|r| r.kind).collect(), |_| vec![])
}

#[test]
fn a_filter_does_not_grow() {
    assert_eq!(kinds(check(&filter(16), &nic(&json!([0, 32])))), [Kind::ValueNotAllowed]);
}

#[test]
fn a_filter_does_not_shrink() {
    assert_eq!(kinds(check(&filter(32), &nic(&json!([0, 16])))), [Kind::ValueNotAllowed]);
}

#[test]
fn a_filter_goes_to_a_newer_host_as_it_is_and_back() {
    let (old, new) = (nic(&json!([0, 16])), nic(&json!([0, 16, 32])));
    let there = check(&filter(16), &new).unwrap();
    assert_eq!(there.get("rx-filter-size"), filter(16).parameters().get("rx-filter-size"));
    let statement = new.model(there.model()).unwrap().statement();
    let running = Instance::running(&there, statement, Default::default());
    assert_eq!(check(&running, &old).unwrap().parameters(), there.parameters());
}

/// X on and Y off cannot become X on and Y on.
#[test]
fn a_capability_is_not_switched_on_by_moving() {
    let with = |y: &Json| {
        host(&json!({"models": [{"model": "vendor-a.com/my-nic", "parameters": [
            {"name": "x", "type": "bool", "allowed_values": [true], "init_value": true},
            {"name": "y", "type": "bool", "allowed_values": y, "init_value": true, "off_value": false},
        ]}]}))
    };
    let source =
        instance(&json!({"model": "vendor-a.com/my-nic", "parameters": {"x": true, "y": false}}));
    assert_eq!(kinds(check(&source, &with(&json!([true])))), [Kind::CannotDisable]);
    assert_eq!(kinds(check(&source, &with(&json!([false, true])))), []);
    let unaware = instance(&json!({"model": "vendor-a.com/my-nic", "parameters": {"x": true}}));
    assert_eq!(kinds(check(&unaware, &with(&json!([true])))), [Kind::CannotDisable]);
}

#[test]
fn another_port_makes_no_difference() {
    let port = |port: &str| {
        instance(&json!({"model": "vendor-a.com/my-nic", "parameters": {"rx-filter-size": 16},
            "external": {"port": port, "pci": {"slot": [0, 3]}}}))
    };
    let host = nic(&json!([0, 16]));
    assert_eq!(check(&port("eth0"), &host), check(&port("eth1"), &host));
    assert!(check(&port("eth0"), &host).is_ok());
}

#[test]
fn no_description_is_a_refusal() {
    let (device, host) = (filter(16), nic(&json!([16])));
    assert_eq!(kinds(decide(None, Some(&host))), [Kind::NoDescription]);
    assert_eq!(kinds(decide(Some(&device), None)), [Kind::NoDescription]);
    assert_eq!(kinds(decide(None, None)), [Kind::NoDescription; 2]);
    assert!(decide(Some(&device), Some(&host)).is_ok());
}

#[test]
fn all_reasons_are_told_at_once() {
    let host = host(&json!({"models": [{"model": "vendor-a.com/my-nic", "parameters": [
        {"name": "a", "type": "int", "allowed_values": ["1-4"], "init_value": 1},
        {"name": "b", "type": "bool", "init_value": true},
        {"name": "d", "type": "str", "init_value": "x"},
    ]}]}));
    let source = instance(&json!({"model": "vendor-a.com/my-nic",
        "parameters": {"a": 5, "b": 1, "c": true}}));
    let wanted =
        [Kind::ValueNotAllowed, Kind::TypeMismatch, Kind::UnknownParameter, Kind::MandatoryMissing];
    assert_eq!(kinds(check(&source, &host)), wanted);
}

/// The seventh step defends against a first that was skipped.
#[test]
fn a_device_that_is_another_is_found_before_it_runs() {
    let host = nic(&json!([0, 16, 32]));
    let asked = check(&filter(16), &host).unwrap();
    assert_eq!(read_back(&asked, asked.parameters()), Ok(()));
    let kept: Settings = filter(32).parameters().clone();
    assert_eq!(read_back(&asked, &kept).unwrap_err().reasons()[0].kind, Kind::ReadBackMismatch);
    assert!(read_back(&asked, &Settings::new()).is_err());
    let model = host.model(asked.model()).unwrap();
    let offs = model.known().offs();
    assert_eq!(admit((asked.model(), asked.parameters()), &asked, offs), Ok(()));
    assert!(admit((asked.model(), &kept), &asked, offs).is_err());
    let other = "vendor-a.com/other".parse().unwrap();
    assert!(admit((&other, asked.parameters()), &asked, offs).is_err());
}
