//! Exact deduplication of a stream in which every 16th event is an earlier one again. Making the records is not timed,
//! making ids of them is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

use crate::contest::Contest;
use crate::support::{ORIGIN, Stream, events, whole};
use fastbloom::BloomFilter;
use hashbrown::HashSet;
use panther_events::dedup::{BATCH, Dedup, DedupOptions, Verdict};
use panther_events::event::{Identity, Record};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

const BLOCK: u64 = 4096;

pub(crate) fn contests(sizes: &[u64]) -> Vec<Contest> {
    sizes.iter().map(|size| contest(whole(*size))).collect()
}

fn contest(ids: u64) -> Contest {
    let mut contest = Contest::new(format!("dedup, {ids} ids"), events(ids));
    contest.add("panther-events: presized", move || ours(ids, ids, false));
    contest.add("panther-events: presized, with first sightings", move || ours(ids, ids, true));
    contest.add("panther-events: growing", move || ours(ids, 0, false));
    contest.add("hashbrown: identity hasher, presized", move || {
        let set = HashSet::with_capacity_and_hasher(ids as usize, BuildHasherDefault::<IdHasher>::default());
        hashed(ids, set)
    });
    contest.add("hashbrown: identity hasher, growing", move || {
        hashed(ids, HashSet::with_hasher(BuildHasherDefault::<IdHasher>::default()))
    });
    contest.add("hashbrown: default hasher, presized", move || {
        hashed(ids, HashSet::with_capacity(ids as usize))
    });
    contest.add("hashbrown: default hasher, growing", move || hashed(ids, HashSet::new()));
    contest.add("fastbloom + hashbrown: default hashers, presized", move || {
        let mut bloom = BloomFilter::with_false_pos(0.01).expected_items(ids as usize);
        let mut set: HashSet<u128> = HashSet::with_capacity(ids as usize);
        run(ids, |records| {
            let is_new = |record: &&mut Record| {
                let id = record.id_in(ORIGIN).bits();
                if bloom.insert(&id) {
                    set.insert(id)
                } else {
                    set.insert(id);
                    true
                }
            };
            records.iter_mut().filter(is_new).count() as u64
        })
    });
    contest
}

fn ours(ids: u64, expected_ids: u64, first_sightings: bool) -> Duration {
    let options =
        DedupOptions { expected_ids: expected_ids as usize, first_sightings, ..DedupOptions::default() };
    let mut dedup = Dedup::new(&options).unwrap();
    let mut verdicts = [Verdict::New; BATCH];
    run(ids, |records| {
        let check = |batch| u64::from(dedup.check(batch, &mut verdicts).count_ones());
        records.chunks_mut(BATCH).map(check).sum()
    })
}

fn hashed<S: BuildHasher>(ids: u64, mut set: HashSet<u128, S>) -> Duration {
    run(ids, |records| records.iter().filter(|record| set.insert(record.id_in(ORIGIN).bits())).count() as u64)
}

/// Gives the stream to `check` block by block; it returns how many were new.
fn run(ids: u64, mut check: impl FnMut(&mut [Record]) -> u64) -> Duration {
    let stream = Stream::new();
    let (mut time, mut new) = (Duration::ZERO, 0);
    let mut records = Vec::with_capacity(BLOCK as usize);
    for from in (0..events(ids)).step_by(BLOCK as usize) {
        records.clear();
        records.extend((from..(from + BLOCK).min(events(ids))).map(|place| {
            let (entity, hop) = stream.event(place);
            Record::new(Identity::Content, place, entity, &hop)
        }));
        let start = Instant::now();
        new += check(&mut records);
        time += start.elapsed();
    }
    assert_eq!(new, ids);
    time
}

#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("ids are hashed as one number")
    }
    fn write_u128(&mut self, id: u128) {
        self.0 = id as u64 ^ (id >> 64) as u64;
    }
}
