//! The handlers that one would put together from what the shelf offers: `fastbloom` in front of a `hashbrown` set, maps
//! with their default hashers for states and counters, and `hdrhistogram`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

use crate::support::{Hop, ORIGIN, Sum, quantiles, step};
use fastbloom::BloomFilter;
use hashbrown::{HashMap, HashSet};
use hdrhistogram::Histogram;
use panther_events::event::{EventKind, Record, Symbol};

pub(crate) struct Shelf {
    bloom: BloomFilter,
    set: HashSet<u128>,
    states: HashMap<Symbol, u8>,
    counters: HashMap<u16, u64>,
    delays: Histogram<u64>,
    sizes: Histogram<u64>,
    sum: Sum,
}

impl Shelf {
    /// Makes handlers with room for `ids` from the start.
    pub(crate) fn new(ids: u64) -> Shelf {
        Shelf {
            bloom: BloomFilter::with_false_pos(0.01).expected_items(ids as usize),
            set: HashSet::with_capacity(ids as usize),
            states: HashMap::new(),
            counters: HashMap::new(),
            delays: Histogram::new(3).unwrap(),
            sizes: Histogram::new(3).unwrap(),
            sum: Sum::default(),
        }
    }

    /// Takes one event; returns how many different ones there were so far.
    #[inline]
    pub(crate) fn take(&mut self, record: &Record) -> u64 {
        let id = record.id_in(ORIGIN).bits();
        let perhaps_known = self.bloom.insert(&id);
        if !self.set.insert(id) {
            assert!(perhaps_known);
            self.sum.duplicates += 1;
            return self.sum.unique;
        }
        self.sum.unique += 1;
        let Some(hop) = record.payload::<Hop>() else { return self.sum.unique };
        let kind: EventKind = record.kind();
        *self.counters.entry(kind.index() as u16).or_default() += 1;
        self.delays.record(hop.delay_ns).unwrap();
        self.sizes.record(u64::from(hop.size_bytes)).unwrap();
        self.sum.delay_sum += u128::from(hop.delay_ns);
        self.sum.size_sum += u128::from(hop.size_bytes);
        let moved = step(self.states.entry(record.entity()).or_default(), hop.phase);
        self.sum.applied += u64::from(moved);
        self.sum.refused += u64::from(!moved);
        self.sum.unique
    }

    pub(crate) fn sum(&self) -> Sum {
        let mut sum = self.sum.clone();
        sum.counted = self.counters.values().sum();
        for state in self.states.values() {
            sum.states[*state as usize] += 1;
        }
        sum.quantiles = quantiles(&self.delays, &self.sizes);
        sum
    }
}
