//! A stale page is one of which the destination has another version: the bit of the machine, held against
//! versions that are counted beside it.

use devmig_engine::machine::{Machine, Reaction};
use devmig_engine::rules::Rules;
use devmig_model::protocol::migration::event::{Act, Event};
use devmig_model::protocol::migration::memory::Memory;
use devmig_model::protocol::vfio::event as vfio;
use devmig_testing::Premises;
use proptest::prelude::*;

const PAGES: u8 = 3;
/// A page that holds zeroes until it is written: new memory has the same version of it.
const ZERO: usize = 2;

fn acts() -> impl Strategy<Value = Event> {
    let page = 0..PAGES;
    let dma = |page| vfio::Event { device: 0, act: vfio::Act::Write(page) };
    prop_oneof![
        page.clone().prop_map(|page| Event::new(0, Act::Write(page))),
        page.clone().prop_map(move |page| Event::device(dma(page))),
        page.prop_map(|page| Event::new(0, Act::Send(page))),
        Just(Event::new(0, Act::Log(true))),
        (0..1_u64 << PAGES).prop_map(|pages| Event::new(0, Act::Sync(pages))),
        (0..1_u64 << PAGES).prop_map(|empty| Event::new(0, Act::MarkAll(empty))),
    ]
}

#[test]
fn stale_means_another_version() {
    let memory = Memory {
        pages: PAGES,
        shared: 0,
        zero: 1 << ZERO,
        writes: (1 << PAGES) - 1,
        iommu: 1,
        unmaps: false,
        runs: true,
        lock: false,
        postcopy: false,
        unprotected: false,
    };
    let premises = Premises::new();
    proptest!(|(events in prop::collection::vec(acts(), 1..60))| {
        let rules = Rules::default();
        let mut state = memory.initial();
        // The destination has nothing, which is no version but of zeroes.
        let (mut source, mut copies) = ([1_u32; PAGES as usize], [0_u32; PAGES as usize]);
        source[ZERO] = 0;
        for event in events {
            let mut judge = rules.judge();
            match memory.on(&state, &event, &mut judge).unwrap() {
                Reaction::To(next) => state = next,
                Reaction::Ignore => {}
                _ => continue,
            }
            match event.act {
                Act::Write(page) | Act::Device(vfio::Event { act: vfio::Act::Write(page), .. }) => {
                    source[usize::from(page)] += 1;
                }
                Act::Send(page) => copies[usize::from(page)] = source[usize::from(page)],
                Act::MarkAll(empty) => {
                    prop_assert_eq!(empty, u64::from(source[ZERO] == 0) << ZERO);
                    premises.holds("zeroes are found", empty != 0);
                    premises.holds("zeroes were written", empty == 0);
                }
                _ => {}
            }
            for page in 0..usize::from(PAGES) {
                let differs = source[page] != copies[page];
                prop_assert_eq!(state.stale >> page & 1 == 1, differs, "page {}", page);
                premises.holds("stale", differs);
            }
        }
    });
    premises.at_least("stale", 10);
    premises.at_least("zeroes are found", 10);
    premises.at_least("zeroes were written", 10);
}
