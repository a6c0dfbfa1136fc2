//! What the tests of the deduplication share: a generator whose seed is printed, and records.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and prints its seed")]

use panther_events::event::{
    Domain, EventId, EventKind, Field, FieldType, Identity, Origin, Payload, Record, Shared, Symbol,
};

pub(crate) use super::random::Rng;

/// Returns an id that nothing else has.
pub(crate) fn random_id(rng: &mut Rng) -> EventId {
    EventId::from_hash(u128::from(rng.next()) << 64 | u128::from(rng.next()))
}

/// The origin of occurrences in tests.
pub(crate) const ORIGIN: Origin = Origin::from_bits(7);

/// The id that stands for `number`; different numbers have different ids.
pub(crate) fn id_of(number: u64) -> EventId {
    EventId::digest(&number.to_le_bytes())
}

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Number(pub(crate) u64);

impl Payload for Number {
    const KIND: EventKind = EventKind::new(Domain::PACKET, 1);
    const FIELDS: &'static [Field] =
        &[Field { name: Shared::Static("number"), ty: FieldType::U64, offset: 0 }];
}

/// A record that stands for `number`, of an identity that depends on it.
pub(crate) fn record_of(number: u64, time_ns: u64, source: u16) -> Record {
    let entity = Symbol::from_bits(number % 7);
    let record = match number % 3 {
        0 => Record::new(Identity::Content, time_ns, entity, &Number(number)),
        1 => Record::with_digest(id_of(number), time_ns, entity, &Number(number)),
        // An occurrence has its source in its identity, so here the number decides about both.
        _ => {
            return Record::new(Identity::Occurrence, time_ns, entity, &Number(0))
                .numbered((number % 11) as u16, number as u32);
        }
    };
    record.numbered(source, 0)
}
