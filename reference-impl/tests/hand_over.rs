//! The hand-over of packets to channels, under every order of threads that a search finds: shuttle runs the
//! same file with its own locks.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

mod sync {
    pub(super) use shuttle::sync::{Condvar, Mutex, MutexGuard};
}

#[path = "../src/multifd/hand_over.rs"]
mod hand_over;

use std::panic::{AssertUnwindSafe, catch_unwind};

use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use hand_over::{Crew, Flaws, Stopped};

const WORKERS: usize = 2;
const JOBS: usize = 3;
const ORDERS: usize = 2000;

/// A packet, or the end of an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Job {
    Packet(usize),
    Sync,
}

/// Two givers and two workers, and an end of the epoch: each packet is sent once, by one worker, and before
/// the epoch's end returns.
fn hands_over(flaws: Flaws) {
    let crew = Arc::new(Crew::new(WORKERS, flaws));
    let sent: Arc<Mutex<Vec<Job>>> = Arc::default();
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let (crew, sent) = (Arc::clone(&crew), Arc::clone(&sent));
            thread::spawn(move || {
                while let Some(job) = crew.take(worker) {
                    sent.lock().unwrap().push(job);
                    crew.done(worker);
                    assert!(sent.lock().unwrap().len() <= 2 * JOBS + WORKERS, "a job ran twice");
                }
            })
        })
        .collect();
    let other = {
        let crew = Arc::clone(&crew);
        thread::spawn(move || (JOBS..2 * JOBS).try_for_each(|n| crew.give(Job::Packet(n))))
    };
    for n in 0..JOBS {
        crew.give(Job::Packet(n)).unwrap();
    }
    other.join().unwrap().unwrap();
    crew.give_each(&Job::Sync, |_| true).unwrap();
    let all = sent.lock().unwrap().clone();
    for n in 0..2 * JOBS {
        let times = all.iter().filter(|job| **job == Job::Packet(n)).count();
        assert_eq!(times, 1, "packet {n} was sent {times} times");
    }
    assert_eq!(all.iter().filter(|job| **job == Job::Sync).count(), WORKERS);
    crew.close();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

/// A worker fails while others give: everybody ends.
fn fails() {
    let crew = Arc::new(Crew::new(WORKERS, Flaws::default()));
    let taken = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let (crew, taken) = (Arc::clone(&crew), Arc::clone(&taken));
            thread::spawn(move || {
                while crew.take(worker).is_some() {
                    if taken.fetch_add(1, Ordering::SeqCst) == 1 {
                        crew.fail();
                        return;
                    }
                    crew.done(worker);
                }
            })
        })
        .collect();
    let given = (0..8).try_for_each(|n| crew.give(Job::Packet(n)));
    let synced = crew.give_each(&Job::Sync, |_| true);
    assert_eq!((given, synced), (Err(Stopped), Err(Stopped)));
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

fn finds_fault(flaws: Flaws) -> bool {
    let search = || shuttle::check_random(move || hands_over(flaws), ORDERS);
    catch_unwind(AssertUnwindSafe(search)).is_err()
}

#[test]
fn every_packet_is_sent_once_and_nobody_waits_for_ever() {
    shuttle::check_random(|| hands_over(Flaws::default()), ORDERS);
    shuttle::check_pct(|| hands_over(Flaws::default()), ORDERS, 3);
}

#[test]
fn a_failure_ends_everybody() {
    shuttle::check_random(fails, ORDERS);
}

#[test]
fn each_flaw_is_found() {
    let flaws = [
        Flaws { wakes_one: true, ..Flaws::default() },
        Flaws { leaves_job: true, ..Flaws::default() },
        Flaws { takes_any_slot: true, ..Flaws::default() },
    ];
    for flaws in flaws {
        assert!(finds_fault(flaws), "{flaws:?}");
    }
}
