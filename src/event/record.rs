//! The record: one event in one cache line.

use crate::event::identity::{EventId, Identity, Origin, Scope};
use crate::event::kind::{EventKind, KIND_COUNT};
use crate::event::payload::Payload;
use crate::event::symbol::Symbol;
use bytemuck::{Pod, Zeroable};
use std::fmt;

/// One event: 64 bytes, one cache line, plain data.
///
/// The layout is part of the file formats. The word at byte 32 holds, from its lowest bits, the kind with the identity
/// (16 bits), the source (16) and the number (32). The kind's index is in the low 11 bits of its part and the [`Identity`]
/// in the top two, so that a record explains itself without a table. Of the three bits between, the lowest says that a digest
/// was made of an id of PANTHER's ([`Record::is_panthers`]), and the others are zero. Integers are in the byte order of the host
/// in memory, little-endian in files.
///
/// The id is zero until a stage computes it: dedup does, so whatever an observer, a processor or an exporter sees has one.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Record {
    id: u128,
    time_ns: u64,
    entity: Symbol,
    /// Kind and identity, source << 16, number << 32: in one word, because it is stored in one.
    names: u64,
    payload: [u64; 3],
}

const _: () = {
    assert!(size_of::<Record>() == 64 && align_of::<Record>() == 64);
    assert!(std::mem::offset_of!(Record, id) == 0);
    assert!(std::mem::offset_of!(Record, time_ns) == 16);
    assert!(std::mem::offset_of!(Record, entity) == 24);
    assert!(std::mem::offset_of!(Record, names) == 32);
    assert!(std::mem::offset_of!(Record, payload) == 40);
    assert!(KIND_COUNT as u64 <= PANTHERS_BIT);
};

const IDENTITY_SHIFT: u32 = 14;
/// Where the identity is among the names.
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) const IDENTITY_BITS: u64 = 0b11 << IDENTITY_SHIFT;
/// Among the names: the digest was made of an id of PANTHER's.
const PANTHERS_BIT: u64 = 1 << 11;

impl Record {
    /// Bytes of content, from byte 24 to the end: what the id is computed from.
    pub const CONTENT_LEN: usize = 40;
    /// Bytes of payload.
    pub const PAYLOAD_LEN: usize = 24;

    /// Makes a record whose id is to be computed, as `identity` says, once it has a source and a number.
    ///
    /// `time_ns` counts nanoseconds since the Unix epoch. A `Digest` identity has its id in
    /// [`Record::with_digest`].
    #[inline]
    #[must_use]
    pub fn new<P: Payload>(identity: Identity, time_ns: u64, entity: Symbol, payload: &P) -> Record {
        Record::raw(0, identity, time_ns, entity, P::KIND, payload.to_words())
    }

    /// Makes a record of identity `Digest`, whose id the caller gives.
    #[inline]
    #[must_use]
    pub fn with_digest<P: Payload>(id: EventId, time_ns: u64, entity: Symbol, payload: &P) -> Record {
        Record::raw(id.bits(), Identity::Digest, time_ns, entity, P::KIND, payload.to_words())
    }

    /// Makes a record of a kind that is known at run time only, whose id is to be computed as `identity` says. The payload is as its
    /// schema has it: see [`Field::write`](crate::event::Field::write).
    #[must_use]
    pub fn of_kind(
        kind: EventKind,
        identity: Identity,
        time_ns: u64,
        entity: Symbol,
        payload: [u8; Record::PAYLOAD_LEN],
    ) -> Record {
        Record::raw(0, identity, time_ns, entity, kind, bytemuck::cast(payload))
    }

    /// Makes a record of a kind that is known at run time only, of identity `Digest`, whose id the caller gives.
    #[must_use]
    pub fn of_kind_with_digest(
        id: EventId,
        kind: EventKind,
        time_ns: u64,
        entity: Symbol,
        payload: [u8; Record::PAYLOAD_LEN],
    ) -> Record {
        Record::raw(id.bits(), Identity::Digest, time_ns, entity, kind, bytemuck::cast(payload))
    }

    #[inline]
    pub(crate) fn raw(
        id: u128,
        identity: Identity,
        time_ns: u64,
        entity: Symbol,
        kind: EventKind,
        payload: [u64; 3],
    ) -> Record {
        let names = kind.index() as u64 | (identity as u64) << IDENTITY_SHIFT;
        Record { id, time_ns, entity, names, payload }
    }

    /// Returns the record as emitter `source` sends it under `seq`.
    #[inline]
    #[must_use]
    pub fn numbered(mut self, source: u16, seq: u32) -> Record {
        self.names = self.names & u64::from(u16::MAX) | u64::from(source) << 16 | u64::from(seq) << 32;
        self
    }

    /// Returns the record as words: on a little-endian host, those that it is in memory. Joined here and not read from
    /// memory, since a load of what was just stored in parts waits for the stores.
    #[inline(always)]
    pub(crate) fn to_words(self) -> [u64; 8] {
        let [first, second, third] = self.payload;
        let (low, high) = (self.id as u64, (self.id >> 64) as u64);
        [low, high, self.time_ns, self.entity.bits(), self.names, first, second, third]
    }

    /// Makes a record of [`Record::to_words`].
    pub(crate) fn from_words(words: [u64; 8]) -> Record {
        let [low, high, time_ns, entity, names, first, second, third] = words;
        Record {
            id: u128::from(low) | u128::from(high) << 64,
            time_ns,
            entity: Symbol::from_bits(entity),
            names,
            payload: [first, second, third],
        }
    }

    /// Returns the id, or `None` where no stage has computed it yet.
    #[inline(always)]
    #[must_use]
    pub fn id(&self) -> Option<EventId> {
        EventId::from_bits(self.id)
    }

    /// Returns the id: the one that is there, or else the one that a pipeline of this origin gives the record. For
    /// [`Identity::Content`] that is the id without a context.
    #[must_use]
    pub fn id_in(&self, origin: Origin) -> EventId {
        self.id().unwrap_or_else(|| self.computed_id(&Scope::new(origin.bits())))
    }

    /// Returns the record with its id, as [`Record::id_in`] gives it.
    #[must_use]
    pub fn identified(mut self, origin: Origin) -> Record {
        self.id = self.id_in(origin).bits();
        self
    }

    /// Returns a record of identity `Content` with its id in a context, if there is one; any other, and one that has an id, as
    /// it is. Without a context the id is left to dedup.
    #[inline]
    #[must_use]
    pub(crate) fn within(mut self, context: Option<&Scope>) -> Record {
        if let Some(context) = context
            && self.identity() == Some(Identity::Content)
            && self.id().is_none()
        {
            self.id = self.content_id(context).bits();
        }
        self
    }

    /// Returns the record identified by `digest`; one that has an id, as it is.
    #[must_use]
    pub(crate) fn with_digest_unless_identified(mut self, digest: EventId) -> Record {
        if self.id().is_none() {
            self.id = digest.bits();
            self.names = self.names & !(0b11 << IDENTITY_SHIFT) | (Identity::Digest as u64) << IDENTITY_SHIFT;
        }
        self
    }

    /// Writes the id into the record unless it is there; after this the bytes never change.
    #[inline]
    pub(crate) fn set_id(&mut self, origin: &Scope) {
        if EventId::from_bits(self.id).is_none() {
            self.id = self.computed_id(origin).bits();
        }
    }

    /// Returns the bits where the id is, or will be: of a record that has its id, the id's.
    #[inline(always)]
    pub(crate) fn id_bits(&self) -> u128 {
        self.id
    }

    /// Writes the 16 bytes of an id that was computed elsewhere.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[inline]
    pub(super) fn put_id(&mut self, id: std::arch::x86_64::__m128i) {
        let [place, ..]: &mut [std::arch::x86_64::__m128i; 4] = bytemuck::must_cast_mut(self);
        *place = id;
    }

    #[inline]
    fn computed_id(&self, origin: &Scope) -> EventId {
        match self.identity() {
            Some(Identity::Content) => self.content_id(&NO_CONTEXT),
            _ => EventId::of_content(origin, self.content(u64::MAX)),
        }
    }

    #[inline]
    fn content_id(&self, context: &Scope) -> EventId {
        EventId::of_content(context, self.content(u64::from(u16::MAX)))
    }

    /// Returns what is hashed: of kind, source and number, what `counted` has.
    #[inline(always)]
    fn content(&self, counted: u64) -> [u64; 5] {
        // Payload words are opaque bytes that the payload type wrote; the other fields are numbers.
        let [first, second, third] = self.payload.map(u64::from_le);
        [self.entity.bits(), self.names & counted, first, second, third]
    }

    /// Tells whether the digest of the record was made of an id of PANTHER's and the record's time.
    #[must_use]
    pub fn is_panthers(&self) -> bool {
        self.names & PANTHERS_BIT != 0
    }

    /// Returns the record, whose digest was made of an id of PANTHER's, as [`Record::is_panthers`] knows it.
    #[cfg(feature = "panther")]
    #[must_use]
    pub(crate) fn as_panthers(mut self) -> Record {
        self.names |= PANTHERS_BIT;
        self
    }

    /// Returns the time in nanoseconds since the Unix epoch.
    #[inline]
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.time_ns
    }

    /// Returns what the event is about.
    #[inline]
    #[must_use]
    pub fn entity(&self) -> Symbol {
        self.entity
    }

    /// Returns the kind.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> EventKind {
        EventKind::from_index(self.names as u16)
    }

    /// Returns the identity; `None` when the bits are those of no identity (foreign bytes).
    #[inline]
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        Identity::from_bits((self.names as u16 >> IDENTITY_SHIFT) as u8)
    }

    /// Returns which emitter sent the record.
    #[inline]
    #[must_use]
    pub fn source(&self) -> u16 {
        (self.names >> 16) as u16
    }

    /// Returns the emitter's running number of the record.
    #[inline]
    #[must_use]
    pub fn seq(&self) -> u32 {
        (self.names >> 32) as u32
    }

    /// Returns the payload, or `None` when it is of another kind.
    #[inline]
    #[must_use]
    pub fn payload<P: Payload>(&self) -> Option<P> {
        (self.kind() == P::KIND).then(|| P::from_words(self.payload))
    }

    #[inline]
    pub(crate) fn payload_words(&self) -> &[u64; 3] {
        &self.payload
    }

    /// Returns the payload's 24 bytes.
    #[inline]
    #[must_use]
    pub fn payload_bytes(&self) -> &[u8; Record::PAYLOAD_LEN] {
        bytemuck::must_cast_ref(&self.payload)
    }

    /// Tells whether this can be a record: its identity exists, its spare bits are zero, and an id that is there is of the
    /// right form. A digest is there always, and only a digest can be PANTHER's.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let spare = self.names as u16 & ((1 << IDENTITY_SHIFT) - 1) & !(KIND_COUNT as u16 - 1);
        let has_id = self.id().is_some();
        match self.identity() {
            None => false,
            Some(Identity::Digest) => has_id && spare & !(PANTHERS_BIT as u16) == 0,
            Some(_) => (has_id || self.id == 0) && spare == 0,
        }
    }
}

/// The scope of a content without a context.
pub(super) const NO_CONTEXT: Scope = Scope::new(0);

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("id", &self.id())
            .field("time_ns", &self.time_ns)
            .field("entity", &self.entity)
            .field("kind", &self.kind())
            .field("source", &self.source())
            .field("seq", &self.seq())
            .field("payload", &self.payload_bytes())
            .finish()
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Record) -> bool {
        bytemuck::bytes_of(self) == bytemuck::bytes_of(other)
    }
}

impl Eq for Record {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::kind::Domain;

    const KIND: EventKind = EventKind::new(Domain::PACKET, 5);

    fn record(identity: Identity) -> Record {
        Record::raw(0, identity, 7, Symbol::of("e"), KIND, [1, 2, 3])
    }

    const HERE: Origin = Origin::from_bits(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210);
    const THERE: Origin = Origin::from_bits(1);

    #[test]
    fn content_identity_is_blind_to_time_source_seq_and_origin_but_not_to_context() {
        let one = record(Identity::Content).numbered(1, 1);
        let mut other = record(Identity::Content).numbered(2, 9);
        other.time_ns = 99;
        assert_eq!(one.id_in(HERE), other.id_in(THERE));
        let [test, step] = [3, 4].map(Scope::new);
        assert_eq!(one.within(Some(&test)).id(), other.within(Some(&test)).id());
        assert_ne!(one.within(Some(&test)).id(), one.within(Some(&step)).id());
        assert_ne!(one.within(Some(&test)).id(), Some(one.id_in(HERE)));
        let there = one.within(Some(&test));
        assert_eq!(there.within(Some(&step)), there, "an id that is there stays");
        assert_eq!(one.within(None), one);
        other.payload[2] ^= 1 << 63;
        assert_ne!(one.id_in(HERE), other.id_in(HERE));
    }

    #[test]
    fn occurrence_identity_sees_origin_source_and_seq_but_not_time() {
        let one = record(Identity::Occurrence).numbered(1, 1);
        let mut late = one;
        late.time_ns += 1;
        assert_eq!(one.id_in(HERE), late.id_in(HERE));
        assert_ne!(one.id_in(HERE), one.id_in(THERE));
        assert_ne!(one.id_in(HERE), one.numbered(1, 2).id_in(HERE));
        assert_ne!(one.id_in(HERE), one.numbered(2, 1).id_in(HERE));
        assert_ne!(one.id_in(HERE), record(Identity::Content).numbered(1, 1).id_in(HERE));
        assert_eq!(one.id(), None);
        assert_eq!(one.identified(HERE).identified(THERE).id(), Some(one.id_in(HERE)));
        assert_eq!(one.within(Some(&Scope::new(9))), one, "a context is nothing to an occurrence");
    }

    #[test]
    fn every_bit_of_origin_and_content_reaches_the_id() {
        let base = record(Identity::Occurrence).numbered(3, 4);
        for bit in 24 * 8..64 * 8 {
            let mut bytes = [0u8; 64];
            bytes.copy_from_slice(bytemuck::bytes_of(&base));
            bytes[bit / 8] ^= 1 << (bit % 8);
            let other: Record = bytemuck::pod_read_unaligned(&bytes);
            // Source and seq only count while the identity stays `Occurrence`.
            assert_ne!(base.id_in(HERE), other.id_in(HERE), "bit {bit}");
        }
        for bit in 0..128 {
            assert_ne!(base.id_in(HERE), base.id_in(Origin::from_bits(HERE.bits() ^ 1 << bit)), "bit {bit}");
        }
    }

    /// The definition that other programs can compute ids by.
    #[test]
    fn the_id_is_xxh3_128_of_the_scope_and_the_last_forty_bytes() {
        let occurrence = record(Identity::Occurrence).numbered(3, 4);
        let hashed = [&HERE.bits().to_le_bytes()[..], &bytemuck::bytes_of(&occurrence)[24..]].concat();
        assert_eq!(occurrence.id_in(HERE), EventId::digest(&hashed));
        let content = record(Identity::Content).numbered(3, 4);
        let blind = content.numbered(0, 0);
        let hashed = [&[0; 16], &bytemuck::bytes_of(&blind)[24..]].concat();
        assert_eq!(content.id_in(HERE), EventId::digest(&hashed));
        let mut set = occurrence;
        set.set_id(&Scope::new(HERE.bits()));
        assert_eq!(set, occurrence.identified(HERE));
        assert!(set.is_well_formed() && occurrence.is_well_formed());
    }

    #[test]
    fn foreign_bytes_are_not_well_formed() {
        let mut bad = record(Identity::Content);
        bad.names |= 1 << 12;
        assert!(!bad.is_well_formed());
        bad.names |= u64::from(u16::MAX);
        assert!(!bad.is_well_formed());
        let mut no_id = record(Identity::Content);
        no_id.id = 5;
        assert!(!no_id.is_well_formed());
        assert!(!Record::raw(0, Identity::Digest, 0, Symbol::NONE, KIND, [0; 3]).is_well_formed());
        let mut panthers =
            Record::raw(EventId::digest(b"x").bits(), Identity::Digest, 0, Symbol::NONE, KIND, [0; 3]);
        panthers.names |= PANTHERS_BIT;
        assert!(panthers.is_well_formed() && panthers.kind() == KIND);
        let mut not_panthers = record(Identity::Occurrence);
        not_panthers.names |= PANTHERS_BIT;
        assert!(!not_panthers.is_well_formed());
    }
}
