//! What makes two records the same event, and the 128-bit id that says so.
//!
//! The id is xxh3-128 (seed 0) over the 40 bytes of content, little-endian, as they lie in a record
//! (`entity, kind word, source, seq, payload`), formed as a version-8 UUID (RFC 9562): 122 of the 128 bits
//! are the hash's. Under [`Identity::Content`] source and seq count as zero.

use std::fmt;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

/// Says which parts of a record make it the same event as another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Identity {
    /// Kind, entity and payload: the same content from anywhere is the same event (a test's lifecycle).
    Content = 0,
    /// Content plus source and number: equal samples are different events, only a redelivery is a
    /// duplicate (metrics, progress).
    Occurrence = 1,
    /// The emitter gives the digest of something outside the record (a packet's bytes).
    Digest = 2,
}

impl Identity {
    /// Returns the identity with this number, or `None` for a number that no identity has.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Identity> {
        match bits {
            0 => Some(Identity::Content),
            1 => Some(Identity::Occurrence),
            2 => Some(Identity::Digest),
            _ => None,
        }
    }
}

/// Names an event by its content: 128 bits, a version-8 UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct EventId(u128);

pub(super) const UUID_FIXED: u128 = 0xf000_c000_0000_0000_0000;
pub(super) const UUID_V8: u128 = 0x8000_8000_0000_0000_0000;

impl EventId {
    /// Makes an id from a 128-bit hash: six of its bits give way to the UUID's version and variant.
    #[inline]
    #[must_use]
    pub const fn from_hash(hash: u128) -> EventId {
        EventId(hash & !UUID_FIXED | UUID_V8)
    }

    /// Makes the id that is the digest of `bytes`, for [`Identity::Digest`].
    #[inline]
    #[must_use]
    pub fn digest(bytes: &[u8]) -> EventId {
        EventId::from_hash(xxh3_128(bytes))
    }

    /// Takes `bits` for an id, or `None` unless its version and variant are those of an id.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u128) -> Option<EventId> {
        if bits & UUID_FIXED == UUID_V8 { Some(EventId(bits)) } else { None }
    }

    /// Returns the id's bits; never zero.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// Returns the id as a UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        Uuid::from_u128(self.0)
    }

    /// Makes the id of 40 bytes of content, given as five little-endian words.
    #[inline]
    pub(crate) const fn of_content(words: [u64; 5]) -> EventId {
        EventId::from_hash(xxh3_128_of_40(words))
    }
}

impl From<EventId> for Uuid {
    fn from(id: EventId) -> Uuid {
        id.uuid()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid().hyphenated().fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

pub(super) const PRIME_1: u64 = 0x9e37_79b1_85eb_ca87;
pub(super) const PRIME_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
pub(super) const PRIME_4: u64 = 0x85eb_ca77_c2b2_ae63;
pub(super) const PRIME_MX: u64 = 0x1656_6791_9e37_79f9;
/// Bytes that are hashed.
pub(super) const LENGTH: u64 = 40;
/// The first 64 bytes of the algorithm's default secret, as little-endian words.
pub(super) const SECRET: [u64; 8] = [
    0xbe4b_a423_396c_feb8,
    0x1cad_21f7_2c81_017c,
    0xdb97_9083_e96d_d4de,
    0x1f67_b3b7_a4a4_4072,
    0x78e5_c0cc_4ee6_79cb,
    0x2172_ffcc_7dd0_5a82,
    0x8e24_43f7_7446_08b8,
    0x4c26_3a81_e690_35e0,
];

/// Computes xxh3-128, seed 0, of exactly 40 bytes. The general function decides by length at run time; with the
/// length known, the four multiplications are independent of each other and a batch of ids overlaps.
#[inline]
const fn xxh3_128_of_40([a, b, c, d, e]: [u64; 5]) -> u128 {
    let low = LENGTH.wrapping_mul(PRIME_1).wrapping_add(fold(c ^ SECRET[4], d ^ SECRET[5]));
    let low = (low ^ b.wrapping_add(c)).wrapping_add(fold(a ^ SECRET[0], b ^ SECRET[1]));
    let low = low ^ d.wrapping_add(e);
    let high = fold(b ^ SECRET[6], c ^ SECRET[7]) ^ c.wrapping_add(d);
    let high = high.wrapping_add(fold(d ^ SECRET[2], e ^ SECRET[3])) ^ a.wrapping_add(b);
    let mixed = low
        .wrapping_mul(PRIME_1)
        .wrapping_add(high.wrapping_mul(PRIME_4))
        .wrapping_add(LENGTH.wrapping_mul(PRIME_2));
    (avalanche(low.wrapping_add(high)) as u128) | ((avalanche(mixed).wrapping_neg() as u128) << 64)
}

#[inline]
const fn fold(left: u64, right: u64) -> u64 {
    let product = left as u128 * right as u128;
    product as u64 ^ (product >> 64) as u64
}

#[inline]
const fn avalanche(value: u64) -> u64 {
    let value = (value ^ (value >> 37)).wrapping_mul(PRIME_MX);
    value ^ (value >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_length_hash_is_xxh3_128() {
        let seed = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64);
        println!("seed {seed}");
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ (state >> 29)
        };
        let fixed = [[0; 5], [u64::MAX; 5], [0, 1, 2, 3, 4]];
        let random = std::iter::repeat_with(|| [next(), next(), next(), next(), next()]).take(10_000);
        for words in fixed.into_iter().chain(random.collect::<Vec<_>>()) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(xxh3_128_of_40(words), xxh3_128(&bytes), "{words:x?}");
        }
    }

    #[test]
    fn an_id_is_a_version_8_uuid_that_keeps_122_bits_of_the_hash() {
        for hash in [0, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let id = EventId::from_hash(hash);
            assert_eq!(id.uuid().get_version_num(), 8);
            assert_eq!(id.uuid().get_variant(), uuid::Variant::RFC4122);
            assert_eq!((id.bits() ^ hash) & !UUID_FIXED, 0);
            assert_eq!(EventId::from_bits(id.bits()), Some(id));
        }
        assert_eq!(UUID_FIXED.count_ones(), 6);
        assert_eq!(EventId::from_bits(0), None);
    }
}
