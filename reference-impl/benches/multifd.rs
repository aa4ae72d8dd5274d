//! How fast memory is migrated, by the number of channels, beside a plain copy of as many bytes through one
//! socket of the same kind: `cargo bench -p devmig-reference --bench multifd`.
//!
//! Both are measured in the time that passes, since several threads work: on a machine that is busy, or that
//! has fewer cores than threads, more channels are no faster.

#![allow(clippy::unwrap_used)] // a bench that cannot go on is a bench that fails

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;

use devmig_model::registry::Library;
use devmig_reference::multifd::{Image, Options, PAGE, migrate, pairs, receive};

const PAGES: usize = 64 << 10;
const PIECE: usize = 512 << 10;
const TIMES: usize = 5;

/// A copy of so many bytes through a socket, in seconds.
fn copied() -> f64 {
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || {
            let piece = vec![1; PIECE];
            for _ in 0..PAGES * PAGE / PIECE {
                here.write_all(&piece).unwrap();
            }
        });
        let mut piece = vec![0; PIECE];
        let mut left = PAGES * PAGE;
        while left > 0 {
            left -= there.read(&mut piece).unwrap();
        }
    });
    began.elapsed().as_secs_f64()
}

/// A migration of as many bytes, none of which is zero, in seconds.
fn migrated(library: &Library, channels: u8) -> f64 {
    let (source, destination) = (Image::new("pc.ram", PAGES), Image::new("pc.ram", PAGES));
    (0..PAGES).for_each(|page| source.write(page * PAGE / 8, page as u64 + 1));
    let options = Options { channels, ..Options::default() };
    let (here, there) = pairs(channels).unwrap();
    let began = Instant::now();
    thread::scope(|scope| {
        let streams = there.into_iter().map(Ok);
        let took = scope.spawn(|| receive(library, streams, &destination, Vec::new(), &options));
        migrate(here, &source, &[], &options, Vec::new).unwrap();
        took.join().unwrap().unwrap();
    });
    let seconds = began.elapsed().as_secs_f64();
    assert!(source.bytes() == destination.bytes(), "memory differs");
    seconds
}

fn best(run: impl Fn() -> f64) -> f64 {
    (0..TIMES).map(|_| run()).fold(f64::INFINITY, f64::min)
}

fn main() {
    let library = Library::builtin().unwrap();
    let mib = (PAGES * PAGE) as f64 / f64::from(1 << 20);
    println!("{mib} MiB, best of {TIMES}, on {} cores", thread::available_parallelism().unwrap());
    let copy = best(copied);
    println!("  one socket, copied       {:>7.0} MiB/s", mib / copy);
    for channels in [1, 2, 4, 8] {
        let seconds = best(|| migrated(&library, channels));
        println!(
            "  {channels} channel{}, migrated     {:>7.0} MiB/s   {:.2} of the copy",
            if channels == 1 { " " } else { "s" },
            mib / seconds,
            copy / seconds
        );
    }
}
