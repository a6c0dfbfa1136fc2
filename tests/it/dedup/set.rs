//! The exact set by itself: growth at every size, crafted ids, many epochs.

use crate::support::dedup::{Rng, id_of};
use panther_events::dedup::{BATCH, ExactSet, Sighting};
use panther_events::event::EventId;
use std::collections::{HashMap, HashSet};

/// Inserts `ids` in batches and returns those that were new.
fn insert(set: &mut ExactSet, ids: &[EventId]) -> Vec<EventId> {
    let mut new = Vec::new();
    for batch in ids.chunks(BATCH) {
        let mask = set.insert_batch(batch, &[], &mut []);
        new.extend(batch.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, id)| *id));
    }
    new
}

#[test]
fn a_set_grown_one_by_one_holds_all_and_nothing_else_at_every_size() {
    let mut set = ExactSet::new(0, true).unwrap();
    for size in 0..3_000u64 {
        let seen = Sighting { time_ns: size, source: size as u16 };
        assert_eq!(set.insert_batch(&[id_of(size)], &[seen], &mut []), 1, "size {size}");
        assert_eq!(set.len(), size + 1);
        let step = 1 + size / 50;
        let known: Vec<u64> = (0..=size).step_by(step as usize).take(BATCH).collect();
        let ids: Vec<EventId> = known.iter().map(|&number| id_of(number)).collect();
        let mut firsts = [Sighting::default(); BATCH];
        assert_eq!(set.insert_batch(&ids, &[seen; BATCH], &mut firsts), 0, "size {size}");
        for (number, first) in known.iter().zip(firsts) {
            assert_eq!(first, Sighting { time_ns: *number, source: *number as u16 }, "size {size}");
        }
    }
    assert!(set.counts().sweeps > 3, "the set must have grown: {:?}", set.counts());
}

#[test]
fn any_presized_room_is_enough_for_what_was_expected() {
    for expected in (0..2_000).step_by(7).chain([10_000, 65_537]) {
        let mut set = ExactSet::new(expected, false).unwrap();
        let ids: Vec<EventId> = (0..expected as u64).map(id_of).collect();
        assert_eq!(insert(&mut set, &ids).len(), expected);
        assert_eq!(set.counts().sweeps, 0, "grew below the {expected} ids expected");
        assert_eq!(insert(&mut set, &ids).len(), 0);
    }
}

#[test]
fn crafted_ids_of_one_home_stay_exact_and_cost_no_memory() {
    let mut set = ExactSet::new(1 << 16, true).unwrap();
    let before = set.memory_bytes();
    // All high words alike: every id has the same home in a table of any size.
    let crafted = |i: u64| EventId::from_hash(7u128 << 120 | u128::from(i));
    let ids: Vec<EventId> = (0..20_000).map(crafted).collect();
    assert_eq!(insert(&mut set, &ids).len(), ids.len());
    assert_eq!(insert(&mut set, &ids).len(), 0);
    assert!(set.counts().overflowed > 10_000, "{:?}", set.counts());
    assert_eq!((set.counts().sweeps, set.len()), (0, 20_000));
    assert!(set.memory_bytes() < before + 20_000 * 200, "{} bytes", set.memory_bytes());
    // The others, among them neighbours of the cluster, keep their verdicts, also while the table grows.
    let honest: Vec<EventId> = (0..150_000).map(id_of).collect();
    let near: Vec<EventId> = (1..2_000u128).map(|i| EventId::from_hash((7 << 120) + (i << 96) + i)).collect();
    assert_eq!(insert(&mut set, &near).len(), near.len());
    assert_eq!(insert(&mut set, &honest).len(), honest.len());
    assert!(set.counts().sweeps > 0);
    assert_eq!(insert(&mut set, &[ids, near, honest].concat()).len(), 0);
}

#[test]
fn clusters_at_both_ends_of_the_table_stay_exact() {
    let mut set = ExactSet::new(0, false).unwrap();
    let low = |i: u64| EventId::from_hash(u128::from(i));
    let high = |i: u64| EventId::from_hash(u128::MAX - u128::from(i));
    let ids: Vec<EventId> = (0..3_000).flat_map(|i| [low(i), high(i), id_of(i)]).collect();
    let distinct: HashSet<EventId> = ids.iter().copied().collect();
    assert_eq!(insert(&mut set, &ids).len(), distinct.len());
    assert_eq!(insert(&mut set, &ids).len(), 0);
    assert_eq!(set.len(), distinct.len() as u64);
}

#[test]
fn the_id_with_no_bit_set_is_an_id_like_others() {
    let zero = EventId::from_hash(0);
    let mut set = ExactSet::new(0, false).unwrap();
    assert_eq!(set.insert_batch(&[zero, zero, id_of(1), zero], &[], &mut []), 0b101);
    assert_eq!(insert(&mut set, &(2..500).map(id_of).collect::<Vec<_>>()).len(), 498);
    assert_eq!(set.insert_batch(&[zero], &[], &mut []), 0);
}

#[test]
fn ids_that_differ_in_one_bit_are_different_ids() {
    let base = id_of(99).bits();
    let ids: HashSet<EventId> = (0..128).map(|bit| EventId::from_hash(base ^ (1 << bit))).collect();
    assert_eq!(ids.len(), 123, "122 bits and the base itself");
    let mut set = ExactSet::new(0, false).unwrap();
    assert_eq!(insert(&mut set, &ids.iter().copied().collect::<Vec<_>>()).len(), 123);
}

#[test]
fn epochs_are_forgotten_whole_and_in_order_through_hundreds_of_them() {
    let mut rng = Rng::seeded();
    let mut set = ExactSet::new(0, true).unwrap();
    let mut oracle: HashMap<EventId, (u64, Sighting)> = HashMap::new();
    let mut lens: HashMap<u64, u64> = HashMap::new();
    let (mut oldest, mut hot, mut time_ns, mut forgotten, mut lazy) = (0u64, 0u64, 0u64, 0u64, 0);
    for _ in 0..6_000 {
        let ids: Vec<EventId> = (0..rng.below(65)).map(|_| id_of(rng.below(30_000))).collect();
        let seen: Vec<Sighting> = ids
            .iter()
            .map(|_| {
                time_ns += 1;
                Sighting { time_ns, source: rng.next() as u16 }
            })
            .collect();
        let mut firsts = [Sighting::default(); BATCH];
        let new = set.insert_batch(&ids, &seen, &mut firsts);
        for (i, id) in ids.iter().enumerate() {
            match oracle.get(id).filter(|(epoch, _)| *epoch >= oldest) {
                Some((_, first)) => {
                    assert_eq!((new >> i & 1, firsts[i]), (0, *first), "id {i} of {}", ids.len());
                }
                None => {
                    assert_eq!(new >> i & 1, 1, "a new event is dropped");
                    oracle.insert(*id, (hot, seen[i]));
                    *lens.entry(hot).or_default() += 1;
                }
            }
        }
        if rng.below(8) == 0 {
            if set.open_epoch() { hot += 1 } else { lazy += 1 }
        }
        while set.epochs() > 20 {
            let expected = lens.remove(&oldest).unwrap_or(0);
            assert_eq!(set.forget_oldest(), expected);
            forgotten += expected;
            oldest += 1;
        }
        assert_eq!(set.len(), lens.values().sum::<u64>());
    }
    assert!(
        hot > 300 && forgotten > 10_000 && lazy < 100,
        "{hot} epochs, {forgotten} forgotten, {lazy} late"
    );
}
