use devmig_conformance::vhost_user::{
    process::Command,
    runner,
    session::{Device, Limits},
    suite,
    target::Target,
};
use devmig_model::{library::Library, rules::Rules};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let library = Library::builtin().unwrap();
    let tests = match suite::builtin(&library) {
        Ok(t) => t,
        Err(e) => {
            for x in e.errors() {
                println!("{} {:?}", x.message(), x.advice());
            }
            return;
        }
    };
    let device = match args[1].as_str() {
        "blk" => Device::Blk,
        "fs" => Device::Fs,
        _ => Device::None,
    };
    let target = Target::Spawn(Command::parse(&args[2]).unwrap());
    let only = args.get(3).cloned().unwrap_or_default();
    let tests: Vec<_> = tests.iter().filter(|t| t.id.contains(&only)).collect();
    let run = runner::Run {
        library: &library,
        target: &target,
        device,
        scratch: false,
        limits: Limits::default(),
        seed: 1,
        pinned: vec![],
        reproduce: "X".into(),
        text: "10.2".into(),
        rules: Rules { off: library.spec.unobservable(), ..Rules::default() },
    };
    let t = std::time::Instant::now();
    let report = runner::run(&run, &tests, |r| println!("{}", r.line()));
    print!(
        "{}",
        report.closing(|c| library
            .spec
            .clause(c)
            .ok()
            .and_then(|id| library.spec.get(id))
            .map(|c| c.text.clone())
            .unwrap_or_default())
    );
    println!("{:?}", t.elapsed());
}
