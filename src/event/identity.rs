//! What makes two records the same event, and the 128-bit id that says so.
//!
//! The id is xxh3-128 (seed 0) over the 40 bytes of content, little-endian, as they lie in a record
//! (`entity, kind word, source, seq, payload`), formed as a version-8 UUID (RFC 9562): 122 of the 128 bits
//! are the hash's. Under [`Identity::Content`] source and seq count as zero.

use crate::event::record::Record;
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
    /// The emitter gives the digest of something outside the record (a packet's bytes). The entity must be
    /// a function of what was digested, because events are shared out among threads by entity.
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

const UUID_FIXED: u128 = 0xf000_c000_0000_0000_0000;
const UUID_V8: u128 = 0x8000_8000_0000_0000_0000;

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

    #[inline]
    pub(crate) fn of_content(content: &[u8; Record::CONTENT_LEN]) -> EventId {
        EventId::from_hash(xxh3_128(content))
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

#[cfg(test)]
mod tests {
    use super::*;

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
