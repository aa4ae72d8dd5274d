//! The example program: what it prints, and that it stays as short as a page of documentation should.

#![allow(clippy::unwrap_used)] // a test says by panicking what is wrong

#[path = "../examples/migrate.rs"]
#[allow(dead_code)] // its `main`
mod migrate;

/// Frames come back on the way there and back: the engine works while data are read. All of memory is
/// compared by the example itself.
#[test]
fn the_guest_comes_back_with_all_its_frames_in_every_feature_set() {
    let ways = [
        (1, "RUNNING, STOP_COPY"),
        (3, "RUNNING, RUNNING_P2P, STOP_COPY"),
        (5, "RUNNING, PRE_COPY, STOP_COPY"),
        (7, "RUNNING, PRE_COPY, PRE_COPY_P2P, STOP_COPY"),
    ];
    for (flags, way) in ways {
        let line = migrate::there_and_back(flags).unwrap();
        let rest = line.strip_prefix(&format!("flags {flags}: {way}; ")).unwrap();
        let numbers: Vec<u16> = rest.split(' ').filter_map(|word| word.parse().ok()).collect();
        assert_eq!(numbers.len(), 3, "{line}");
        assert!(
            numbers[0] > 0 && numbers[1] > 0 && numbers[2] >= numbers[0] + numbers[1],
            "{line}"
        );
    }
}

#[test]
fn it_is_shorter_than_150_lines() {
    assert!(include_str!("../examples/migrate.rs").lines().count() < 150);
}
