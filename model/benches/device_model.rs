//! How fast a fleet is decided: 1,000 instances against 1,000 hosts, ten parameters each, with joint
//! constraints: `cargo bench -p devmig-model --bench device_model`.
//!
//! One thread, on the clock; `devmig compat fleet` takes as many as there are.

use std::time::Instant;

use devmig_model::device_model::{Implementation, Instance, check, form};

const HOSTS: u64 = 1000;
const INSTANCES: u64 = 1000;
const PARAMETERS: u64 = 10;

fn host(n: u64) -> Implementation {
    let parameter = |p: u64| {
        let most = 16 + (n * 7 + p) % 48;
        format!(
            r#"{{"name":"p{p}","type":"int","allowed_values":["0-{most}"],"init_value":0,"off_value":0}}"#
        )
    };
    let parameters: Vec<String> = (0..PARAMETERS).map(parameter).collect();
    let text = format!(
        r#"{{"models":[{{"model":"vendor-a.com/my-nic","parameters":[{}],
            "constraints":[{{"if":{{"p0":["1-64"]}},"then":{{"p1":["{}-64"]}}}}]}}]}}"#,
        parameters.join(","),
        n % 3
    );
    form::implementation(text.as_bytes()).expect("well formed")
}

fn instance(n: u64) -> Instance {
    let parameter = |p: u64| format!(r#""p{p}":{}"#, (n * 11 + p * 5) % 24);
    let parameters: Vec<String> = (0..PARAMETERS).map(parameter).collect();
    let text =
        format!(r#"{{"model":"vendor-a.com/my-nic","parameters":{{{}}}}}"#, parameters.join(","));
    form::instance(text.as_bytes()).expect("well formed")
}

fn main() {
    let hosts: Vec<Implementation> = (0..HOSTS).map(host).collect();
    let instances: Vec<Instance> = (0..INSTANCES).map(instance).collect();
    let begin = Instant::now();
    let mut safe = 0_u64;
    for instance in &instances {
        safe += hosts.iter().filter(|host| check(instance, host).is_ok()).count() as u64;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let pairs = HOSTS * INSTANCES;
    println!(
        "{pairs} pairs, {safe} safe, {seconds:.2} s, {:.2} us a pair",
        seconds * 1e6 / pairs as f64
    );
}
