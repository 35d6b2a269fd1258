//! Chance that is the same everywhere and every time.

use std::time::Duration;

/// SplitMix64: enough of a die.
#[derive(Debug, Clone)]
pub(super) struct Die(u64);

impl Die {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A die for one matter, so that what is thrown for it depends on nothing that was thrown before.
    pub(super) fn about(seed: u64, matter: &[u64]) -> Self {
        matter.iter().fold(Self(seed), |mut die, part| Self(die.next() ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93)))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// The same as a place in a list.
    pub(super) fn place(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap()
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.place(all.len())]
    }

    pub(super) fn seconds(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.below(below * 1000))
    }
}
