//! Verdicts are those of a `HashMap`: without a window exactly, within a window wherever the promise decides.

use crate::support::dedup::{ORIGIN, Rng, record_of};
use panther_events::dedup::{BATCH, Dedup, DedupError, DedupOptions, Sighting, Verdict, Window};
use panther_events::event::{EventId, Record};
use std::collections::HashMap;
use std::time::Duration;

fn options(window: Window) -> DedupOptions {
    DedupOptions { window, expected_ids: 0, ..DedupOptions::default() }
}

/// Checks `records` and hands each one, with its verdict, to `each`.
fn check(dedup: &mut Dedup, records: &mut [Record], mut each: impl FnMut(&Record, Verdict)) {
    let mut verdicts = [Verdict::New; BATCH];
    let new = dedup.check(records, &mut verdicts);
    for (i, record) in records.iter().enumerate() {
        assert_eq!(verdicts[i] == Verdict::New, new >> i & 1 == 1, "mask and verdict {i} differ");
        each(record, verdicts[i]);
    }
    assert_eq!(new.checked_shr(records.len() as u32).unwrap_or(0), 0, "a bit beyond the batch");
}

#[test]
fn an_unbounded_set_gives_the_verdicts_of_a_hash_map() {
    let mut rng = Rng::seeded();
    for first_sightings in [true, false] {
        let mut dedup = Dedup::new(&DedupOptions { first_sightings, ..options(Window::Unbounded) })
            .unwrap()
            .with_origin(ORIGIN);
        let mut oracle: HashMap<EventId, Sighting> = HashMap::new();
        let mut time_ns = 0;
        for step in 0..8_000u64 {
            let range = 1 + step * 60;
            let mut records: Vec<Record> = (0..rng.below(BATCH as u64 + 1))
                .map(|_| {
                    time_ns += 1;
                    record_of(rng.below(range), time_ns, rng.next() as u16)
                })
                .collect();
            check(&mut dedup, &mut records, |record, verdict| {
                let seen = Sighting { time_ns: record.time_ns(), source: record.source() };
                let expected = match oracle.entry(record.id_in(ORIGIN)) {
                    std::collections::hash_map::Entry::Vacant(place) => {
                        place.insert(seen);
                        Verdict::New
                    }
                    std::collections::hash_map::Entry::Occupied(place) => {
                        Verdict::Duplicate { first: first_sightings.then(|| *place.get()) }
                    }
                };
                assert_eq!(verdict, expected);
            });
        }
        let stats = dedup.stats();
        assert_eq!(stats.remembered, oracle.len() as u64);
        assert_eq!((stats.forgotten, stats.overflowed, stats.growth_failures), (0, 0, 0));
        assert!(stats.growths > 5, "the test must pass through growth: {stats:?}");
    }
}

#[test]
fn of_equal_records_in_one_batch_the_first_is_the_new_one() {
    let mut dedup = Dedup::new(&options(Window::Unbounded)).unwrap().with_origin(ORIGIN);
    for round in 0..500u64 {
        let mut records: Vec<Record> =
            (0..64).map(|i| record_of(3 * (round * 4 + i % 4), i, i as u16)).collect();
        let mut verdicts = [Verdict::New; BATCH];
        assert_eq!(dedup.check(&mut records, &mut verdicts), 0b1111);
        for (i, verdict) in verdicts.iter().enumerate().skip(4) {
            let first = Sighting { time_ns: i as u64 % 4, source: i as u16 % 4 };
            assert_eq!(*verdict, Verdict::Duplicate { first: Some(first) });
        }
    }
}

#[test]
fn last_n_remembers_at_least_n_and_at_most_one_epoch_more() {
    let mut rng = Rng::seeded();
    for (keep, epochs, steps) in
        [(1, 8, 400), (2, 1, 400), (17, 8, 800), (100, 3, 1500), (1000, 24, 3000), (20_000, 8, 6000)]
    {
        let window = Window::Last(keep);
        let mut dedup = Dedup::new(&DedupOptions { epochs, ..options(window) }).unwrap().with_origin(ORIGIN);
        let most = keep + keep.div_ceil(epochs as u64);
        let mut oracle: HashMap<EventId, (u64, Sighting)> = HashMap::new();
        let mut born = 0u64;
        let mut time_ns = 0;
        for _ in 0..steps {
            let mut records: Vec<Record> = (0..rng.below(65))
                .map(|_| {
                    time_ns += 1;
                    record_of(rng.below(most * 2) + time_ns / 4, time_ns, 7)
                })
                .collect();
            check(&mut dedup, &mut records, |record, verdict| {
                let known = oracle.get(&record.id_in(ORIGIN));
                match (known, verdict) {
                    (Some((order, first)), Verdict::Duplicate { first: Some(told) }) => {
                        assert!(born - order <= most, "keeps too much: {} of {keep}", born - order);
                        assert_eq!(*first, told);
                    }
                    (Some((order, _)), Verdict::New) => {
                        assert!(born - order > keep, "forgot too early: {} of {keep}", born - order);
                    }
                    (None, verdict) => assert_eq!(verdict, Verdict::New, "a new event is dropped"),
                    (_, verdict) => panic!("no sighting in {verdict:?}"),
                }
                if verdict == Verdict::New {
                    let seen = Sighting { time_ns: record.time_ns(), source: record.source() };
                    oracle.insert(record.id_in(ORIGIN), (born, seen));
                    born += 1;
                }
            });
            let stats = dedup.stats();
            assert_eq!(stats.remembered + stats.forgotten, born);
            assert!(stats.remembered >= born.min(keep) && stats.remembered <= most, "{stats:?}");
        }
        assert!(born > 3 * most, "the test must pass through forgetting");
    }
}

#[test]
fn sliding_remembers_the_duration_and_at_most_one_epoch_more() {
    let mut rng = Rng::seeded();
    // Mean steps of time from far below an epoch to beyond the window.
    for (step_ns, steps) in [(1, 8000u64), (50, 2000), (3_000, 500), (20_000, 300)] {
        let (keep_ns, epochs) = (10_000u64, 8);
        let window = Window::Sliding(Duration::from_nanos(keep_ns));
        let mut dedup = Dedup::new(&DedupOptions { epochs, ..options(window) }).unwrap().with_origin(ORIGIN);
        let mut oracle: HashMap<EventId, u64> = HashMap::new();
        let mut time_ns = 1_000_000u64;
        for _ in 0..steps {
            let mut records: Vec<Record> = (0..rng.below(65))
                .map(|_| {
                    time_ns += rng.below(2 * step_ns + 1);
                    record_of(3 * rng.below(4 + 60_000 / step_ns), time_ns, 7)
                })
                .collect();
            check(&mut dedup, &mut records, |record, verdict| {
                let newest = record.time_ns();
                let age = oracle.get(&record.id_in(ORIGIN)).map(|first| newest - first);
                match (age, verdict) {
                    (None, verdict) => assert_eq!(verdict, Verdict::New, "a new event is dropped"),
                    (Some(age), Verdict::New) => assert!(age > keep_ns, "forgot after {age}"),
                    (Some(age), Verdict::Duplicate { first }) => {
                        // Where each event is a leap, the window follows some behind.
                        let leaps = step_ns > keep_ns;
                        let most = keep_ns + keep_ns / epochs as u64;
                        assert!(age <= most || leaps && age <= 40 * step_ns, "still knew after {age}");
                        assert_eq!(first.unwrap().time_ns, newest - age);
                    }
                }
                if verdict == Verdict::New {
                    oracle.insert(record.id_in(ORIGIN), newest);
                }
            });
        }
        assert!(dedup.stats().forgotten > 0);
        assert_eq!(dedup.stats().late, 0);
    }
}

#[test]
fn time_that_goes_backward_loses_nothing_within_the_window() {
    let mut rng = Rng::seeded();
    let keep_ns = 10_000u64;
    let window = Window::Sliding(Duration::from_nanos(keep_ns));
    let mut dedup = Dedup::new(&options(window)).unwrap().with_origin(ORIGIN);
    let mut oracle: HashMap<EventId, u64> = HashMap::new();
    let (mut clock, mut newest, mut late) = (1_000_000u64, 0u64, 0u64);
    for _ in 0..3000 {
        let mut records: Vec<Record> = (0..rng.below(65))
            .map(|_| {
                clock += rng.below(40);
                let back = if rng.below(50) == 0 { rng.below(50_000) } else { rng.below(5_000) };
                record_of(3 * rng.below(2_000), clock - back, 7)
            })
            .collect();
        check(&mut dedup, &mut records, |record, verdict| {
            newest = newest.max(record.time_ns());
            late += u64::from(record.time_ns() + keep_ns < newest);
            let first = oracle.get(&record.id_in(ORIGIN));
            match (first, verdict) {
                (None, verdict) => assert_eq!(verdict, Verdict::New, "a new event is dropped"),
                (Some(first), Verdict::New) => assert!(first + keep_ns < newest, "forgot too early"),
                (Some(first), Verdict::Duplicate { first: told }) => {
                    assert_eq!(told.unwrap().time_ns, *first);
                }
            }
            if verdict == Verdict::New {
                oracle.insert(record.id_in(ORIGIN), record.time_ns());
            }
        });
    }
    assert!(late > 0 && dedup.stats().late == late, "{late} came late: {:?}", dedup.stats());
}

#[test]
fn a_leap_of_time_forgets_and_memory_comes_back() {
    let window = Window::Sliding(Duration::from_secs(1));
    let mut dedup = Dedup::new(&options(window)).unwrap().with_origin(ORIGIN);
    let mut verdicts = [Verdict::New; BATCH];
    for batch in 0..16_000u64 {
        let mut records: Vec<Record> = (0..64).map(|i| record_of(batch * 64 + i, 5, 1)).collect();
        dedup.check(&mut records, &mut verdicts);
    }
    let full = dedup.stats();
    assert_eq!(full.remembered, 16_000 * 64);
    for batch in 0..10_000u64 {
        let mut records = [record_of(2_000_000 + batch, 10_000_000_000 + batch * 500_000_000, 1)];
        assert_eq!(dedup.check(&mut records, &mut verdicts), 1);
    }
    let after = dedup.stats();
    assert_eq!(after.remembered + after.forgotten, 16_000 * 64 + 10_000);
    assert!(after.remembered <= 4, "{after:?}");
    assert!(after.memory_bytes < full.memory_bytes / 4, "{full:?} then {after:?}");
}

#[test]
fn options_that_mean_nothing_are_refused_by_name() {
    let epochs = Dedup::new(&DedupOptions { epochs: 0, ..DedupOptions::default() });
    assert!(matches!(epochs, Err(DedupError::Epochs { epochs: 0 })));
    assert!(Dedup::new(&DedupOptions { epochs: 25, ..DedupOptions::default() }).is_err());
    let error = Dedup::new(&options(Window::Last(0))).err().unwrap().to_string();
    assert!(error.contains("window") && error.contains("Last(0)"), "{error}");
    assert!(Dedup::new(&options(Window::Sliding(Duration::ZERO))).is_err());
}
