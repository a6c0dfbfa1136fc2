//! A hasher for maps whose keys are hashes already, or short.

use std::hash::{BuildHasherDefault, Hasher};
use xxhash_rust::xxh3::xxh3_64;

/// Builds [`ContentHasher`]s.
pub(crate) type BuildContentHasher = BuildHasherDefault<ContentHasher>;

/// Takes symbols and ids as they are, and hashes what is given in one piece of bytes.
///
/// Not keyed: whoever crafts names or packets can make maps slow, as with any content hash. Such maps hold what
/// a test itself made or captured.
#[derive(Default)]
pub(crate) struct ContentHasher(u64);

impl Hasher for ContentHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = self.0.rotate_left(32) ^ xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = self.0.rotate_left(32) ^ hash;
    }

    fn write_u128(&mut self, id: u128) {
        // Maps want entropy in the top bits, and those of an id's lower half are the UUID's variant.
        self.write_u64((id >> 64) as u64 ^ (id as u64));
    }
}
