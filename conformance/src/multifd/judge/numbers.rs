//! The numbers of packets, epoch by epoch.

/// The numbers of the packets of an epoch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    /// The first that the epoch should have.
    begin: u64,
    count: u64,
    last: u64,
    /// A sum over them that tells apart what has the same count and end.
    sum: u64,
    /// They were wrong once: judged no further.
    over: bool,
}

impl Numbers {
    pub(super) fn take(&mut self, number: u64) {
        self.count = self.count.saturating_add(1);
        self.last = self.last.max(number);
        self.sum = self.sum.wrapping_add(mix(number));
    }

    /// What is wrong with the epoch that ends.
    pub(super) fn end(&mut self) -> Option<String> {
        let Numbers { begin, count, last, sum, over } = *self;
        if over || count == 0 {
            return None;
        }
        let end = last.saturating_add(1);
        let whole = end.checked_sub(begin) == Some(count)
            && (begin..end).fold(0_u64, |sum, n| sum.wrapping_add(mix(n))) == sum;
        *self = Numbers { begin: end, over: !whole, ..Numbers::default() };
        let from = end.saturating_sub(begin);
        (!whole).then(|| {
            format!("{count} packets with numbers up to {last}, where {from} begin at {begin}")
        })
    }
}

/// Spreads a number over all bits (the finaliser of splitmix64).
fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}
