//! Random numbers of which the seed is printed.

/// A generator; equal seeds give equal numbers.
#[derive(Clone)]
pub(crate) struct Rng(fastrand::Rng);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(fastrand::Rng::with_seed(seed))
    }

    /// Seeds it with [`seed`].
    pub(crate) fn seeded() -> Rng {
        Rng::new(seed())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// Below `n`, which is not 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0.u64(..n)
    }

    /// An index below `n`; 0 where that is 0.
    pub(crate) fn index(&mut self, n: usize) -> usize {
        self.0.usize(..n.max(1))
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.0.u8(..)).collect()
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.index(n) == 0
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The seed of this run: from `PANTHER_SEED`, or from the time; printed.
pub(crate) fn seed() -> u64 {
    let seed = match std::env::var("PANTHER_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64),
    };
    println!("PANTHER_SEED={seed}");
    seed
}

/// How often something is tried: from the environment, or `usual`.
pub(crate) fn env_count(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}
