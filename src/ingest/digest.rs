//! The id of a packet: the same at every vantage point that sees it, and of no other packet.
//!
//! # Definition
//!
//! Let *n* be the covered length: the packet's IP length under [`Coverage::Whole`], the lesser of it and
//! *p* under [`Coverage::Prefix`]`(p)`. Let *m* be the first *n* bytes of the IP packet with these fields set
//! to zero, because routers change them:
//!
//! - IPv4: DSCP and ECN (byte 1), time to live (byte 8), header checksum (bytes 10 and 11);
//! - IPv6: traffic class and flow label (the low 28 bits of bytes 0 to 3), hop limit (byte 7);
//! - with [`PacketDigest::mask_l4_checksum`]: the checksum of TCP and UDP, in packets that have the
//!   upper-layer header, where both its bytes lie within the first 112 bytes of the packet.
//!
//! The digest is
//!
//! - *n* ≤ 128: `xxh3_128(m)`;
//! - *n* > 128: `xxh3_128(m[..112] ++ le128(xxh3_128(m[112..])))`, where `++` joins and `le128` is 16 bytes,
//!   little-endian;
//!
//! with seed 0, formed as an [`EventId`]. All 128 bits of both parts reach the result, so two packets that
//! differ in either part collide no more often than 128-bit hashes do. Only the first part is ever copied.
//!
//! # Under a key
//!
//! The function above is public and can be inverted: who writes a packet's bytes chooses its digest, so a peer under test that is
//! hostile can let two different packets pass for one. [`PacketDigest::keyed`] takes SipHash-2-4 with 128 bits of result
//! (Aumasson and Bernstein, 2012) of *m* instead, under a key that the peer does not know; the same at all vantage points.
//!
//! # Lengths
//!
//! The IP length is a covered field: packets with equal prefixes and different lengths differ. Only packets
//! whose header gives no length (0, segmentation offload) are told apart by their covered bytes alone.

use crate::event::{EventId, random_bits};
use crate::ingest::flow::FlowKey;
use crate::ingest::packet::IpPacket;
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use std::fmt;
use std::hash::Hasher as _;
use std::str::FromStr;
use xxhash_rust::xxh3::xxh3_128;

/// Says how much of a packet its digest covers.
///
/// Two captures recognise each other's packets only under the same coverage.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Coverage {
    /// The whole IP packet.
    Whole,
    /// At most so many bytes, from the IP header on.
    Prefix(u32),
}

impl Coverage {
    /// The shortest prefix: it holds the IPv6 header and the TCP or UDP ports behind it.
    pub const PREFIX_MIN: u32 = 60;
}

/// The capture holds fewer bytes of a packet than the digest is to cover.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{captured} bytes of the packet were captured, the digest covers {covered}; use a shorter coverage for all \
     captures, or capture with a longer snapshot length"
)]
pub struct TooShort {
    /// Bytes that the capture holds, from the IP header on.
    pub captured: u32,
    /// Bytes that the digest has to cover.
    pub covered: u32,
}

/// A key of digests, 128 bits; shown, and read, as 32 hexadecimal digits.
///
/// All vantage points of a run need the same one. It protects as long as whoever writes the packets does not know it: draw one for each
/// run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DigestKey([u8; 16]);

impl DigestKey {
    /// Draws a key.
    #[must_use]
    pub fn random() -> DigestKey {
        DigestKey(random_bits().to_le_bytes())
    }

    /// Makes a key of bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> DigestKey {
        DigestKey(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// A text is no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a key of digests has 32 hexadecimal digits")]
pub struct DigestKeyError;

impl FromStr for DigestKey {
    type Err = DigestKeyError;

    fn from_str(text: &str) -> Result<DigestKey, DigestKeyError> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        bits.map(|bits| DigestKey(bits.to_be_bytes())).ok_or(DigestKeyError)
    }
}

impl fmt::Display for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Not shown where it is not asked for: in logs, say.
impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey(..)")
    }
}

/// Computes packet digests under one coverage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketDigest {
    /// `u32::MAX` for whole packets.
    prefix: u32,
    mask_l4_checksum: bool,
    key: Option<DigestKey>,
}

impl PacketDigest {
    /// Makes a digest of `coverage`; a prefix under [`Coverage::PREFIX_MIN`] is raised to it.
    #[must_use]
    pub const fn new(coverage: Coverage) -> PacketDigest {
        let prefix = match coverage {
            Coverage::Whole => u32::MAX,
            Coverage::Prefix(len) if len < Coverage::PREFIX_MIN => Coverage::PREFIX_MIN,
            Coverage::Prefix(len) => len,
        };
        PacketDigest { prefix, mask_l4_checksum: false, key: None }
    }

    /// Sets whether TCP and UDP checksums are masked too (default: no).
    ///
    /// A sender whose network card computes checksums captures its own packets with unfinished ones. In return,
    /// packets that differ in nothing but the checksum of a part that is not covered become the same.
    #[must_use]
    pub const fn mask_l4_checksum(mut self, on: bool) -> PacketDigest {
        self.mask_l4_checksum = on;
        self
    }

    /// Computes digests under a key: for packets of a peer that may be hostile. See [the module](self). Two captures recognise each
    /// other's packets only under the same key.
    #[must_use]
    pub const fn keyed(mut self, key: DigestKey) -> PacketDigest {
        self.key = Some(key);
        self
    }

    /// Returns the coverage.
    #[must_use]
    pub const fn coverage(&self) -> Coverage {
        match self.prefix {
            u32::MAX => Coverage::Whole,
            len => Coverage::Prefix(len),
        }
    }

    /// Returns the digest of a packet.
    ///
    /// # Errors
    /// When the capture holds fewer bytes of the packet than are to be covered. This costs two comparisons.
    #[inline]
    pub fn digest(&self, packet: &IpPacket<'_>) -> Result<EventId, TooShort> {
        let covered = packet.ip_len().min(self.prefix);
        let Some(bytes) = packet.bytes().get(..covered as usize) else {
            return Err(TooShort { captured: packet.bytes().len() as u32, covered });
        };
        let mut head = [0u8; ONE_CALL_MAX];
        if let Some(key) = &self.key {
            let (first, rest) = bytes.split_at(bytes.len().min(HEAD_LEN));
            head[..first.len()].copy_from_slice(first);
            self.mask(&mut head, packet);
            let mut hasher = SipHasher24::new_with_key(&key.0);
            hasher.write(&head[..first.len()]);
            hasher.write(rest);
            return Ok(EventId::from_hash(hasher.finish128().as_u128()));
        }
        let hash = if bytes.len() <= ONE_CALL_MAX {
            head[..bytes.len()].copy_from_slice(bytes);
            self.mask(&mut head, packet);
            xxh3_128(&head[..bytes.len()])
        } else {
            let (first, rest) = bytes.split_at(HEAD_LEN);
            head[..HEAD_LEN].copy_from_slice(first);
            self.mask(&mut head, packet);
            head[HEAD_LEN..].copy_from_slice(&xxh3_128(rest).to_le_bytes());
            xxh3_128(&head)
        };
        Ok(EventId::from_hash(hash))
    }

    /// Returns the flow as the covered bytes show it: a function of what is digested, as the entity of an
    /// event with a digest must be.
    #[inline]
    #[must_use]
    pub fn flow(&self, packet: &IpPacket<'_>) -> FlowKey {
        packet.flow_within(self.prefix as usize)
    }

    /// Masks the copy of a packet's beginning. Masking behind the covered length does no harm: it is not hashed.
    #[inline]
    fn mask(&self, head: &mut [u8; ONE_CALL_MAX], packet: &IpPacket<'_>) {
        if packet.version() == 4 {
            head[1] = 0;
            head[8] = 0;
            head[10] = 0;
            head[11] = 0;
        } else {
            head[0] = 0x60;
            head[1] = 0;
            head[2] = 0;
            head[3] = 0;
            head[7] = 0;
        }
        if self.mask_l4_checksum && !packet.flow().is_fragment() {
            let checksum_at = match packet.protocol() {
                6 => packet.upper_at() + 16,
                17 => packet.upper_at() + 6,
                _ => return,
            };
            if checksum_at + 2 <= HEAD_LEN {
                head[checksum_at] = 0;
                head[checksum_at + 1] = 0;
            }
        }
    }
}

/// Longest packet that is hashed in one call.
const ONE_CALL_MAX: usize = 128;

/// Bytes of a longer packet that are hashed together with the hash of the rest.
const HEAD_LEN: usize = ONE_CALL_MAX - 16;
