//! What the tests of the deduplication share: a generator whose seed is printed, and records.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and prints its seed")]

use panther_events::event::{
    Domain, EventId, EventKind, Field, FieldType, Identity, Origin, Payload, Record, Symbol,
};

/// SplitMix64.
pub(crate) struct Rng(u64);

impl Rng {
    /// Takes the seed from `PANTHER_TEST_SEED`, else from the time, and prints it.
    pub(crate) fn printed(test: &str) -> Rng {
        let given = std::env::var("PANTHER_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
        println!("{test}: PANTHER_TEST_SEED={seed}");
        Rng(seed)
    }

    pub(crate) fn seeded(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn id(&mut self) -> EventId {
        EventId::from_hash(u128::from(self.next()) << 64 | u128::from(self.next()))
    }
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
    const FIELDS: &'static [Field] = &[Field { name: "number", ty: FieldType::U64, offset: 0 }];
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
