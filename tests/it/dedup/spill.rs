//! Within a memory budget, verdicts are the same as without one; what cannot be written stays in memory.

use crate::support::dedup::{Rng, record_of};
use panther_events::dedup::{BATCH, BUDGET_MIN, Dedup, DedupError, DedupOptions, FilterUse, Verdict, Window};
use panther_events::event::Record;
use std::path::Path;

fn options(dir: &Path) -> DedupOptions {
    DedupOptions {
        memory_budget_bytes: Some(BUDGET_MIN),
        spill_dir: Some(dir.to_path_buf()),
        expected_ids: 0,
        ..DedupOptions::default()
    }
}

/// Gives both the same records and demands the same verdicts.
fn agree(frugal: &mut Dedup, free: &mut Dedup, mut next: impl FnMut(u64) -> Record, count: u64) {
    let (mut left, mut right) = ([Verdict::New; BATCH], [Verdict::New; BATCH]);
    for batch in 0..count / 64 {
        let mut records: Vec<Record> = (0..64).map(|i| next(batch * 64 + i)).collect();
        let new = frugal.check(&mut records, &mut left);
        assert_eq!(new, free.check(&mut records, &mut right), "batch {batch}");
        assert_eq!(left, right, "batch {batch}");
    }
}

#[test]
fn verdicts_and_first_sightings_are_the_same_within_a_budget() {
    let mut rng = Rng::seeded();
    for (first_sightings, filter) in
        [(true, FilterUse::Auto), (false, FilterUse::On), (false, FilterUse::Off)]
    {
        let dir = tempfile::tempdir().unwrap();
        let with_budget = DedupOptions { first_sightings, filter, ..options(dir.path()) };
        let without = DedupOptions { memory_budget_bytes: None, spill_dir: None, ..with_budget.clone() };
        let mut frugal = Dedup::new(&with_budget).unwrap();
        let mut free = Dedup::new(&without).unwrap();
        let count = if filter == FilterUse::Off { 320_000 } else { 450_000 };
        let next = |i| {
            let number = if rng.below(10) == 0 { rng.below(i + 1) } else { i };
            record_of(number, i, rng.next() as u16)
        };
        agree(&mut frugal, &mut free, next, count);
        let (stats, whole) = (frugal.stats(), free.stats());
        assert_eq!(stats.remembered, whole.remembered);
        assert!(stats.spilled_ids > count / 4 && stats.cold_hits > 1_000, "{stats:?}");
        assert_eq!(filter != FilterUse::Off, stats.filter_negatives > count / 2, "{stats:?}");
        assert!(stats.filter_false_positives * 20 <= stats.filter_negatives, "{stats:?}");
        assert!(stats.memory_bytes <= BUDGET_MIN * 17 / 16, "over the budget: {stats:?}");
        assert!(stats.memory_bytes < whole.memory_bytes / 2, "{stats:?}\n{whole:?}");
        assert_eq!((stats.spill_read_failures, stats.spill_write_failures), (0, 0));
        assert!(stats.spilled_bytes >= stats.spilled_ids * if first_sightings { 32 } else { 16 });
    }
}

#[test]
fn filters_may_come_and_go() {
    let mut rng = Rng::seeded();
    let dir = tempfile::tempdir().unwrap();
    let with_budget = DedupOptions { first_sightings: false, ..options(dir.path()) };
    let without = DedupOptions { memory_budget_bytes: None, spill_dir: None, ..with_budget.clone() };
    let mut frugal = Dedup::new(&with_budget).unwrap();
    let mut free = Dedup::new(&without).unwrap();
    let mut negatives = Vec::new();
    for (part, filter) in [FilterUse::On, FilterUse::Off, FilterUse::Auto, FilterUse::Off].iter().enumerate()
    {
        frugal.set_filter(*filter);
        let next = |i| {
            let last = part as u64 * 80_000 + i;
            record_of(if rng.below(10) == 0 { rng.below(last + 1) } else { last }, i, 1)
        };
        agree(&mut frugal, &mut free, next, 80_000);
        negatives.push(frugal.stats().filter_negatives);
    }
    assert!(negatives[0] < negatives[2] && negatives[0] == negatives[1] && negatives[2] == negatives[3]);
    let stats = frugal.stats();
    assert!(stats.spilled_ids > 100_000 && stats.cold_hits > 1_000, "{stats:?}");
    assert_eq!(stats.remembered, free.stats().remembered);
}

#[test]
fn ids_that_come_again_and_again_lie_in_one_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut dedup = Dedup::new(&options(dir.path())).unwrap();
    let mut verdicts = [Verdict::New; BATCH];
    for round in 0..6 {
        for batch in 0..4_000u64 {
            let mut records: Vec<Record> = (0..64).map(|i| record_of(batch * 64 + i, 1, 1)).collect();
            let new = dedup.check(&mut records, &mut verdicts);
            assert_eq!(new, if round == 0 { u64::MAX } else { 0 }, "{round} {batch}");
        }
        let stats = dedup.stats();
        assert_eq!(stats.remembered, 256_000);
        assert!(stats.spilled_ids <= 256_000, "{round}: {stats:?}");
        assert!(stats.memory_bytes <= BUDGET_MIN * 17 / 16, "{round}: {stats:?}");
    }
    assert!(dedup.stats().cold_hits > 500_000);
}

#[test]
fn a_window_with_a_budget_forgets_on_disk_too() {
    let mut rng = Rng::seeded();
    let dir = tempfile::tempdir().unwrap();
    let window = Window::Last(200_000);
    let with_budget = DedupOptions { window, ..options(dir.path()) };
    let without = DedupOptions { memory_budget_bytes: None, spill_dir: None, ..with_budget.clone() };
    let mut frugal = Dedup::new(&with_budget).unwrap();
    let mut free = Dedup::new(&without).unwrap();
    let next =
        |i: u64| record_of(if rng.below(4) == 0 { i.saturating_sub(rng.below(330_000)) } else { i }, i, 1);
    agree(&mut frugal, &mut free, next, 900_000);
    let (stats, whole) = (frugal.stats(), free.stats());
    assert_eq!((stats.remembered, stats.forgotten), (whole.remembered, whole.forgotten));
    assert!(stats.cold_hits > 1_000, "{stats:?}");
    assert!(stats.spilled_ids < 600_000, "forgotten runs stay on disk: {stats:?}");
}

#[test]
fn the_disk_is_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut dedup = Dedup::new(&options(dir.path())).unwrap();
    let mut verdicts = [Verdict::New; BATCH];
    for batch in 0..6_000u64 {
        let mut records: Vec<Record> = (0..64).map(|i| record_of(batch * 64 + i, 1, 1)).collect();
        assert_eq!(dedup.check(&mut records, &mut verdicts), u64::MAX);
    }
    assert!(dedup.stats().spilled_ids > 0);
    drop(dedup);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn when_the_disk_refuses_everything_stays_in_memory_and_exact() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("gone");
    let mut dedup = Dedup::new(&options(&dir)).unwrap();
    std::fs::remove_dir(&dir).unwrap();
    let mut verdicts = [Verdict::New; BATCH];
    for round in 0..2 {
        for batch in 0..8_000u64 {
            let mut records: Vec<Record> = (0..64).map(|i| record_of(batch * 64 + i, 1, 1)).collect();
            let expected = if round == 0 { u64::MAX } else { 0 };
            assert_eq!(dedup.check(&mut records, &mut verdicts), expected, "{round} {batch}");
        }
    }
    let stats = dedup.stats();
    assert_eq!((stats.spill_write_failures, stats.overflowed), (1, 0), "{stats:?}");
}

#[test]
fn a_budget_without_a_place_or_too_small_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let small = DedupOptions { memory_budget_bytes: Some(5), ..options(dir.path()) };
    assert!(matches!(Dedup::new(&small), Err(DedupError::Budget { budget_bytes: 5 })));
    let homeless = DedupOptions { spill_dir: None, ..options(dir.path()) };
    assert!(matches!(Dedup::new(&homeless), Err(DedupError::NoSpillDir)));
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Dedup::new(&options(&file)).err().unwrap();
    assert!(matches!(error, DedupError::SpillDir { .. }) && error.to_string().contains("file"), "{error}");
}

/// What is being written to disk is asked from memory, and what was written from the disk: in both, an epoch that is
/// forgotten is forgotten at once, and one that is not is known to its last id.
#[test]
fn epochs_that_are_forgotten_while_they_are_written_are_new_again() {
    let mut rng = Rng::seeded();
    let (mut again, mut cold) = (0, 0);
    // About as many ids as the hot table has room for, with and without first sightings.
    for (first_sightings, keep, epochs) in [
        (true, 18_000_u64, 8),
        (true, 24_000, 24),
        (true, 30_000, 4),
        (true, 38_000, 24),
        (false, 36_000, 16),
        (false, 60_000, 24),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let window = Window::Last(keep);
        let with_budget = DedupOptions { window, epochs, first_sightings, ..options(dir.path()) };
        let mut dedup = Dedup::new(&with_budget).unwrap();
        let most = keep + keep.div_ceil(epochs as u64);
        // By number of the id: how many new ones came before it.
        let mut births: Vec<u64> = Vec::new();
        let mut by_birth: Vec<u64> = Vec::new();
        let mut verdicts = [Verdict::New; BATCH];
        while by_birth.len() < 260_000 {
            let numbers: Vec<u64> = (0..64)
                .map(|i| {
                    let born = by_birth.len() as u64;
                    // Just forgotten, about to be forgotten, and long known.
                    let age = match rng.below(24) {
                        0 | 1 => most + rng.below(keep / 4),
                        2 => keep.saturating_sub(rng.below(200)),
                        3 => 1 + rng.below(keep),
                        _ => 0,
                    };
                    match born.checked_sub(age) {
                        Some(at) if age > 0 => by_birth[at as usize],
                        _ => births.len() as u64 + i,
                    }
                })
                .collect();
            let time_ns = by_birth.len() as u64;
            let mut records: Vec<Record> =
                numbers.iter().map(|number| record_of(*number, time_ns, 1)).collect();
            dedup.check(&mut records, &mut verdicts);
            for (number, verdict) in numbers.iter().zip(verdicts) {
                let born = by_birth.len() as u64;
                let at = *number as usize;
                if at >= births.len() {
                    births.resize(at + 1, u64::MAX);
                }
                let age = (births[at] != u64::MAX).then(|| born - births[at]);
                let label = format!("{keep} ids in {epochs} epochs, {born} born");
                match (age, verdict) {
                    (None, verdict) => assert_eq!(verdict, Verdict::New, "{label}: a new event is dropped"),
                    (Some(age), Verdict::New) => assert!(age > keep, "{label}: forgot after {age}"),
                    (Some(age), Verdict::Duplicate { .. }) => {
                        assert!(age <= most, "{label}: still knew after {age}");
                    }
                }
                if verdict == Verdict::New {
                    again += u64::from(age.is_some());
                    births[at] = born;
                    by_birth.push(*number);
                }
            }
        }
        let stats = dedup.stats();
        assert_eq!(stats.remembered + stats.forgotten, by_birth.len() as u64, "{stats:?}");
        assert!(stats.remembered >= keep && stats.remembered <= most, "{stats:?}");
        assert_eq!((stats.spill_read_failures, stats.spill_write_failures), (0, 0));
        println!("{keep} ids in {epochs} epochs: {stats:?}");
        cold += stats.cold_hits;
    }
    assert!(again > 1_000 && cold > 1_000, "{again} sent again, {cold} cold");
}

/// An id that was read from disk lately is known without another look; one that only resembles it is not.
#[test]
fn an_id_that_resembles_a_cold_one_is_new() {
    use panther_events::event::{EventId, Symbol};
    let dir = tempfile::tempdir().unwrap();
    let mut dedup = Dedup::new(&options(dir.path())).unwrap();
    let mut verdicts = [Verdict::New; BATCH];
    let digest = |id: u128| {
        Record::with_digest(EventId::from_hash(id), 7, Symbol::NONE, &crate::support::dedup::Number(0))
            .numbered(3, 0)
    };
    let number = |i: u64| crate::support::dedup::id_of(i).bits();
    for batch in 0..4_000_u64 {
        let mut records: Vec<Record> = (0..64).map(|i| digest(number(batch * 64 + i))).collect();
        assert_eq!(dedup.check(&mut records, &mut verdicts), u64::MAX, "{batch}");
    }
    assert!(dedup.stats().spilled_ids > 100_000);
    for i in 0..2_000 {
        let cold = number(i);
        // The same low word beside it, and the same high word: each is new once, and changes nothing for the other.
        let near = [cold ^ 1 << 64, cold ^ 1 << 66, cold ^ 1, cold ^ 1 << 40];
        for (at, near) in near.into_iter().enumerate() {
            let mut records = [digest(cold), digest(near), digest(cold), digest(near)];
            assert_eq!(dedup.check(&mut records, &mut verdicts), 0b10, "{i}, neighbour {at}");
        }
    }
    let stats = dedup.stats();
    assert_eq!(stats.remembered, 256_000 + 8_000);
    // In each batch the cold one came twice.
    assert_eq!(stats.cold_hits, 2_000 * 4 * 2, "{stats:?}");
}
