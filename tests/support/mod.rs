//! What several tests need.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::expect_used, clippy::print_stdout, reason = "helpers of tests are tests")]

/// A small random number generator (SplitMix64), so that a seed replays a run.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Below `n`; `n` is not 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// The seed of this run: from `PANTHER_SEED`, or from the time; printed.
pub(crate) fn seed() -> u64 {
    let seed = match std::env::var("PANTHER_SEED") {
        Ok(text) => text.parse().expect("PANTHER_SEED is a number"),
        Err(_) => std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos() as u64),
    };
    println!("PANTHER_SEED={seed}");
    seed
}
