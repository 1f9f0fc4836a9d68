//! Seeded random draws. They are the only randomness in this crate.
//!
//! The draws are computed here from the generator's raw numbers. The results of `shuffle` and
//! `random_range` of the crate `rand` may change with its version, and a probe set must stay the
//! same, byte for byte, for one [`crate::INSTRUMENT_VERSION`].

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};

/// A stream of draws, determined by a seed and a purpose.
pub(crate) struct Draw(ChaCha20Rng);

impl Draw {
    /// Creates a stream. Different purposes have independent streams for the same seed.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        let digest = Sha256::digest(format!("membreak/1/{seed}/{purpose}").as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(&digest);
        Self(ChaCha20Rng::from_seed(key))
    }

    /// Returns a number below `end`, all equally likely. Returns 0 if there is no choice.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        if end <= 1 {
            return 0;
        }
        let end = end as u64;
        // Numbers above the last whole multiple are drawn again. Otherwise small numbers would be
        // more likely.
        let whole = u64::MAX - u64::MAX % end;
        loop {
            let raw = self.0.next_u64();
            if raw < whole {
                return (raw % end) as usize;
            }
        }
    }

    /// Returns a number from `first` to `last`, both included.
    pub(crate) fn between(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last.saturating_sub(first) + 1)
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// Returns the items in a drawn order.
    pub(crate) fn shuffled<T>(&mut self, items: impl IntoIterator<Item = T>) -> Vec<T> {
        let mut items: Vec<T> = items.into_iter().collect();
        self.shuffle(&mut items);
        items
    }
}

#[cfg(test)]
mod tests {
    use super::Draw;

    #[test]
    fn the_same_seed_and_purpose_draw_the_same() {
        let draws = |seed, purpose| {
            let mut draw = Draw::new(seed, purpose);
            [draw.below(1000), draw.below(1000), draw.below(1000)]
        };
        assert_eq!(draws(7, "a"), draws(7, "a"));
        assert_ne!(draws(7, "a"), draws(8, "a"));
        assert_ne!(draws(7, "a"), draws(7, "b"));
    }

    #[test]
    fn every_number_below_the_end_is_about_equally_likely() {
        let mut draw = Draw::new(1, "fair");
        let mut counts = [0_u32; 3];
        for _ in 0..30_000 {
            counts[draw.below(3)] += 1;
        }
        assert!(
            counts.iter().all(|&count| (9_700..10_300).contains(&count)),
            "{counts:?}"
        );
    }
}
