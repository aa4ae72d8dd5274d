use devmig_model::library::Library;
use devmig_model::explore::Options;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let library = match args.get(2) { Some(p) => Library::with_proposal(p, &std::fs::read_to_string(p).unwrap()), None => Library::builtin() };
    let library = match library { Ok(l) => l, Err(e) => { for x in e.errors() { println!("{:?} {} {:?}", x.file(), x.message(), x.advice()); } return } };
    for def in &library.systems {
        if !def.name.contains(&args[1]) { continue }
        let check = library.check(def);
        let name = |id: devmig_model::clause::ClauseId| library.spec.clause_name(id).to_owned();
        let mut o = Options { clause: &name, ..Options::default() };
        o.limits.max_states = Some(5_000_000);
        match check.check(&o) {
            Ok(r) => { println!("{}", r.text()); }
            Err(e) => println!("{} {e}", def.name),
        }
    }
}
