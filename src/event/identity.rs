//! What makes two records the same event, and the 128-bit id that says so.
//!
//! An id is formed as a version-8 UUID (RFC 9562): 122 of its 128 bits are a hash's. For [`Identity::Occurrence`] and
//! [`Identity::Content`] the hash is xxh3-128 (seed 0) over 56 bytes, little-endian: 16 bytes of *scope*, then the 40 bytes of
//! content as they lie in a record (`entity, kind word, source, seq, payload`).
//!
//! | identity | scope | source and seq |
//! |---|---|---|
//! | `Occurrence` | the [`Origin`] of the pipeline that took the event | as they are |
//! | `Content` | xxh3-128 of the whole context, six symbols of eight bytes; zeros where there is none | zeros |
//! | `Digest` | none: the caller gives the digest | |

use std::fmt;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

/// Says which parts of a record make it the same event as another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Identity {
    /// Kind, entity, whole context and payload: equal contents **merge**, wherever and whenever they were emitted, so two
    /// things that happened alike are one event. For what is said again and again and counts once, by choice.
    Content = 0,
    /// Origin, source, number and content: whatever is emitted happened each time it was emitted. Only a redelivery (a
    /// replay, a batch sent twice, a journal read again) is a duplicate. The default of every kind that is emitted live.
    #[default]
    Occurrence = 1,
    /// The caller gives the digest of what identifies the event: a packet's bytes, or a key that all who tell of one fact
    /// agree on. Never inferred.
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

/// Names one start of a pipeline: 128 random bits.
///
/// Every start draws its own, one that goes on with an earlier run too. So what two pipelines emit is never the same
/// occurrence, though their sources and numbers both begin at 0: two processes of one run, a run that is resumed and gives
/// numbers again which a lost tail had used, a forked child that starts a pipeline of its own. Journals and recorders hold
/// it, so that replays keep their ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Origin(u128);

impl Origin {
    /// Draws an origin, from the operating system's randomness.
    #[must_use]
    pub fn random() -> Origin {
        Origin(random_bits())
    }

    /// Makes the origin of these bits, as a file holds them.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Origin {
        Origin(bits)
    }

    /// Returns the bits.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl fmt::Display for Origin {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

/// Returns 128 random bits of the operating system's. Asked for each time: state that a process keeps would be the same in
/// a forked child.
pub(crate) fn random_bits() -> u128 {
    if cfg!(loom) {
        // A model is to take the same way each time.
        return 7;
    }
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        // A system that denies its randomness. The standard library's keys are random too, but a fork copies them; the process
        // and the time tell its copies apart.
        use std::hash::BuildHasher;
        let now = std::time::SystemTime::now();
        let half = |part: u8| std::hash::RandomState::new().hash_one((part, std::process::id(), now));
        return u128::from(half(0)) << 64 | u128::from(half(1));
    }
    u128::from_le_bytes(bytes)
}

/// Names an event: 128 bits, a version-8 UUID.
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

    /// Makes the key of a fact that several may tell of, of what they agree on: the run, the attempt, the fact.
    ///
    /// Equal parts give equal keys and others do not: each part counts with its length.
    ///
    /// ```
    /// use panther_events::event::EventId;
    ///
    /// let first = EventId::key(&["nightly-7", "attempt 1", "server is ready"]);
    /// assert_eq!(first, EventId::key(&["nightly-7", "attempt 1", "server is ready"]));
    /// assert_ne!(first, EventId::key(&["nightly-7", "attempt 2", "server is ready"]));
    /// assert_ne!(EventId::key(&["ab", "c"]), EventId::key(&["a", "bc"]));
    /// ```
    #[must_use]
    pub fn key(parts: &[&str]) -> EventId {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        EventId::digest(&bytes)
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

    /// Makes the id of 40 bytes of content within a scope, given as five little-endian words.
    #[inline]
    pub(crate) const fn of_content(scope: &Scope, words: [u64; 5]) -> EventId {
        EventId::from_hash(xxh3_128_of_56(scope, words))
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
pub(super) const LENGTH: u64 = 56;
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

/// The first 16 bytes that are hashed, as far as the hash can be computed of them alone: once for all events of an origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Scope {
    /// What is added to the low half.
    pub(super) added: u64,
    /// What is added, without carry, to the high half.
    pub(super) mixed: u64,
}

impl Scope {
    #[inline]
    pub(crate) const fn new(bits: u128) -> Scope {
        let (low, high) = (bits as u64, (bits >> 64) as u64);
        Scope { added: fold(low ^ SECRET[0], high ^ SECRET[1]), mixed: low.wrapping_add(high) }
    }
}

/// Computes xxh3-128, seed 0, of exactly 56 bytes: a scope's 16 and these. The general function decides by length at run time;
/// with the length known, the three multiplications that are left are independent of each other and a batch of ids overlaps.
#[inline]
const fn xxh3_128_of_56(scope: &Scope, [a, b, c, d, e]: [u64; 5]) -> u128 {
    let low = LENGTH.wrapping_mul(PRIME_1).wrapping_add(fold(a ^ SECRET[4], b ^ SECRET[5]));
    let low = (low ^ b.wrapping_add(c)).wrapping_add(scope.added);
    let low = low ^ d.wrapping_add(e);
    let high = fold(b ^ SECRET[6], c ^ SECRET[7]) ^ a.wrapping_add(b);
    let high = high.wrapping_add(fold(d ^ SECRET[2], e ^ SECRET[3])) ^ scope.mixed;
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
        let fixed = [[0; 7], [u64::MAX; 7], [0, 1, 2, 3, 4, 5, 6]];
        let random = std::iter::repeat_with(|| std::array::from_fn(|_| next())).take(10_000);
        for words in fixed.into_iter().chain(random.collect::<Vec<_>>()) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let [low, high, content @ ..] = words;
            let scope = Scope::new(u128::from(low) | u128::from(high) << 64);
            assert_eq!(xxh3_128_of_56(&scope, content), xxh3_128(&bytes), "{words:x?}");
        }
    }

    #[test]
    fn origins_differ_from_draw_to_draw_and_between_threads() {
        let draw = || (0..1000).map(|_| Origin::random()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(draw)).collect();
        let drawn: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let distinct: std::collections::HashSet<_> = drawn.iter().collect();
        assert_eq!(distinct.len(), drawn.len());
        // Each bit is drawn: of 4,000, one that never changes has a chance of 2^-3998.
        let (ones, zeros) =
            drawn.iter().fold((0, 0), |(ones, zeros), origin| (ones | origin.0, zeros | !origin.0));
        assert_eq!((ones, zeros), (u128::MAX, u128::MAX));
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
