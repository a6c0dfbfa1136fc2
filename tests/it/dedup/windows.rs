//! Windows at their very edges: every short sequence, and long ones of few ids and few steps of time, against what the
//! promise says of each verdict.
//!
//! Replay a failure with `PANTHER_SEED=<the printed seed> cargo test --test it dedup::windows`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::dedup::{Rng, id_of};
use panther_events::dedup::{BATCH, Dedup, DedupOptions, Sighting, Verdict, Window};
use panther_events::event::{Record, Symbol};
use std::collections::HashMap;
use std::time::Duration;

fn dedup(window: Window, epochs: usize) -> Dedup {
    Dedup::new(&DedupOptions { window, epochs, expected_ids: 0, ..DedupOptions::default() }).unwrap()
}

fn record(id: u64, time_ns: u64, source: u16) -> Record {
    Record::with_digest(id_of(id), time_ns, Symbol::NONE, &crate::support::dedup::Number(id))
        .numbered(source, 0)
}

/// What is known of the ids that were new, by the promise alone.
#[derive(Default)]
struct Oracle {
    /// By id: its first sighting, the newest time then, to what that may have been moved, and how many new ones came before it.
    known: HashMap<u64, (Sighting, u64, u64, u64)>,
    newest_ns: u64,
    /// Times that were more than the window ahead, one after the other.
    ahead: Vec<u64>,
    born: u64,
    late: u64,
}

impl Oracle {
    fn born(&mut self, id: u64, seen: Sighting) {
        self.known.insert(id, (seen, self.newest_ns, self.newest_ns, self.born));
        self.born += 1;
    }

    /// Where the window is goes with the newest time. A time that is more than the window ahead counts only once it is the
    /// eighth of such.
    fn moves(&mut self, keep_ns: u64, time_ns: u64) {
        self.late += u64::from(time_ns + keep_ns < self.newest_ns);
        if self.newest_ns == 0 || time_ns <= self.newest_ns + keep_ns {
            self.ahead.clear();
            self.newest_ns = self.newest_ns.max(time_ns);
            return;
        }
        self.ahead.push(time_ns);
        if self.ahead.len() == 8 {
            self.ahead.sort_unstable();
            let near = (1..8).rev().find(|at| self.ahead[*at] - self.ahead[at - 1] <= keep_ns);
            let newest = self.ahead[near.unwrap_or(4)];
            self.ahead.clear();
            self.newest_ns = newest;
            // What came before is held with them.
            self.known.values_mut().for_each(|(_, _, moved, _)| *moved = newest.max(*moved));
        }
    }

    /// A sliding window holds an id as long as the newest time is within `keep_ns` of the id's own, and forgets it at
    /// the latest when the newest time is an epoch and `keep_ns` behind what it was when the id came.
    fn slide(&mut self, keep_ns: u64, epoch_ns: u64, id: u64, seen: Sighting, verdict: Verdict) {
        self.moves(keep_ns, seen.time_ns);
        match (self.known.get(&id), verdict) {
            (None, verdict) => assert_eq!(verdict, Verdict::New, "a new event is dropped"),
            (Some((first, newest_then, ..)), Verdict::New) => {
                // What was ahead is remembered with what came when it did.
                let time_ns = first.time_ns.min(*newest_then);
                assert!(self.newest_ns > time_ns + keep_ns, "forgot too early: {first:?}");
            }
            (Some((first, _, newest_then, _)), Verdict::Duplicate { first: told }) => {
                assert!(self.newest_ns < newest_then + keep_ns + epoch_ns, "keeps too long: {first:?}");
                assert_eq!(told, Some(*first));
            }
        }
        if verdict == Verdict::New {
            self.born(id, seen);
        }
    }

    /// The last `keep` ids that were new are held, and at most an epoch more.
    fn last(&mut self, keep: u64, epochs: u64, id: u64, seen: Sighting, verdict: Verdict) {
        match (self.known.get(&id), verdict) {
            (None, verdict) => assert_eq!(verdict, Verdict::New, "a new event is dropped"),
            (Some((.., number)), Verdict::New) => {
                assert!(self.born - number > keep, "forgot too early: {} of {keep}", self.born - number);
            }
            (Some((first, .., number)), Verdict::Duplicate { first: told }) => {
                // One less, in fact: an epoch goes as soon as there are `keep` without it.
                let most = keep + keep.div_ceil(epochs) - 1;
                assert!(self.born - number <= most, "keeps too much: {} of {keep}", self.born - number);
                assert_eq!(told, Some(*first));
            }
        }
        if verdict == Verdict::New {
            self.born(id, seen);
        }
    }
}

/// Gives all steps in one batch, hands each with its verdict to `judge`, and returns the mask of the new ones.
fn check(dedup: &mut Dedup, steps: &[(u64, u64)], mut judge: impl FnMut(u64, Sighting, Verdict)) -> u64 {
    let mut records = [record(0, 0, 0); BATCH];
    for (source, (place, (id, time_ns))) in (0..).zip(records.iter_mut().zip(steps)) {
        *place = record(*id, *time_ns, source);
    }
    let mut verdicts = [Verdict::New; BATCH];
    let new = dedup.check(&mut records[..steps.len()], &mut verdicts);
    for (at, (id, time_ns)) in steps.iter().enumerate() {
        assert_eq!(verdicts[at] == Verdict::New, new >> at & 1 == 1, "mask and verdict {at} differ");
        judge(*id, Sighting { time_ns: *time_ns, source: at as u16 }, verdicts[at]);
    }
    new
}

/// Counts all numbers below `base` to the power of `len` up, digit by digit.
fn every(base: usize, len: usize) -> impl Iterator<Item = Vec<usize>> {
    let digits = move |number: usize| (0..len as u32).map(move |at| number / base.pow(at) % base).collect();
    (0..base.pow(len as u32)).map(digits)
}

#[test]
fn every_short_sequence_in_a_sliding_window_is_judged_by_the_promise() {
    const KEEP: u64 = 8;
    // Within an epoch, to its edge, to the edge of the window and beyond; and back by as much.
    let steps: [i64; 10] = [0, 1, 3, 4, 7, 8, 9, 13, -4, -9];
    for epochs in [1, 2] {
        let epoch_ns = KEEP / epochs as u64;
        for sequence in every(2 * steps.len(), 3) {
            let mut time_ns = 1_000_i64;
            let mut events = vec![(0, time_ns as u64)];
            for digit in &sequence {
                time_ns += steps[digit / 2];
                events.push((*digit as u64 % 2, time_ns as u64));
            }
            let window = Window::Sliding(Duration::from_nanos(KEEP));
            let (mut whole, mut oracle) = (dedup(window, epochs), Oracle::default());
            check(&mut whole, &events, |id, seen, verdict| {
                oracle.slide(KEEP, epoch_ns, id, seen, verdict);
            });
            let stats = whole.stats();
            assert_eq!(
                (stats.late, stats.remembered + stats.forgotten),
                (oracle.late, oracle.born),
                "{events:?}"
            );
        }
    }
}

#[test]
fn a_sliding_window_is_exact_at_its_edges_and_however_events_are_batched() {
    let mut rng = Rng::seeded();
    for (keep_ns, epochs) in [(1, 1), (1, 8), (2, 2), (3, 2), (8, 1), (8, 2), (8, 4), (9, 8), (40, 24)] {
        let epoch_ns = (keep_ns / epochs as u64).max(1);
        let window = Window::Sliding(Duration::from_nanos(keep_ns));
        for backward in [false, true] {
            let (mut batched, mut single) = (dedup(window, epochs), dedup(window, epochs));
            let mut oracle = Oracle::default();
            let mut time_ns = 1_000_u64;
            for _ in 0..1_500 {
                let mut events = Vec::new();
                for _ in 0..rng.below(12) {
                    let edges = [
                        0,
                        0,
                        0,
                        1,
                        1,
                        epoch_ns - 1,
                        epoch_ns,
                        epoch_ns + 1,
                        keep_ns - 1,
                        keep_ns,
                        keep_ns + 1,
                    ];
                    let step = edges[rng.below(edges.len() as u64) as usize];
                    // Now and then back, by all that can matter; never before 0.
                    if backward && rng.below(4) == 0 {
                        time_ns = time_ns.saturating_sub(step).max(500);
                    } else {
                        time_ns += step;
                    }
                    events.push((rng.below(6), time_ns));
                }
                let new = check(&mut batched, &events, |id, seen, verdict| {
                    oracle.slide(keep_ns, epoch_ns, id, seen, verdict);
                });
                for (at, event) in events.iter().enumerate() {
                    let one = check(&mut single, &[*event], |_, _, _| ());
                    assert_eq!(
                        one,
                        new >> at & 1,
                        "{keep_ns} ns, {epochs} epochs: alone it is judged otherwise"
                    );
                }
            }
            let stats = batched.stats();
            assert_eq!(stats.late, oracle.late, "{keep_ns} ns, {epochs} epochs");
            assert_eq!(stats.remembered + stats.forgotten, oracle.born);
            assert_eq!(single.stats().late, oracle.late);
            assert_eq!(backward, oracle.late > 0, "going back makes some of them late");
            assert!(stats.forgotten > 0);
        }
    }
}

#[test]
fn every_short_sequence_in_a_window_of_the_last_ids_is_judged_by_the_promise() {
    for (keep, epochs) in [(1, 1), (2, 1), (2, 2), (3, 2), (4, 4)] {
        for sequence in every(5, 5) {
            let events: Vec<(u64, u64)> = (1..).zip(&sequence).map(|(time, id)| (*id as u64, time)).collect();
            let (mut whole, mut oracle) = (dedup(Window::Last(keep), epochs), Oracle::default());
            check(&mut whole, &events, |id, seen, verdict| {
                oracle.last(keep, epochs as u64, id, seen, verdict);
            });
            let stats = whole.stats();
            assert_eq!((stats.late, stats.remembered + stats.forgotten), (0, oracle.born), "{events:?}");
        }
    }
}

#[test]
fn a_window_of_the_last_ids_holds_them_and_at_most_an_epoch_more() {
    let mut rng = Rng::seeded();
    for (keep, epochs) in
        [(1, 8), (3, 2), (7, 3), (16, 2), (64, 1), (65, 8), (1_000, 1), (1_024, 2), (5_000, 8)]
    {
        let window = Window::Last(keep);
        let (mut whole, mut oracle) = (dedup(window, epochs), Oracle::default());
        let most = keep + keep.div_ceil(epochs as u64);
        let (mut time_ns, mut next) = (0, 0);
        // Numbers of ids by their births, so that those at the edges of the window can be sent again.
        let mut births: Vec<u64> = Vec::new();
        while oracle.born < 6 * most + 200 {
            let events: Vec<(u64, u64)> = (0..rng.below(BATCH as u64 + 1))
                .map(|_| {
                    time_ns += 1;
                    let ages = [keep - 1, keep, keep + 1, most - 1, most, most + 1, rng.below(2 * most) + 1];
                    let age = ages[rng.below(7) as usize] as usize;
                    match births.len().checked_sub(age) {
                        Some(at) if rng.below(3) == 0 && age > 0 => (births[at], time_ns),
                        _ => {
                            next += 1;
                            (next, time_ns)
                        }
                    }
                })
                .collect();
            check(&mut whole, &events, |id, seen, verdict| {
                oracle.last(keep, epochs as u64, id, seen, verdict);
                if verdict == Verdict::New {
                    births.push(id);
                }
            });
            let stats = whole.stats();
            assert_eq!(stats.remembered + stats.forgotten, oracle.born);
            assert!(stats.remembered >= oracle.born.min(keep) && stats.remembered < most, "{stats:?}");
        }
    }
}

/// One event in 4,096 has a time a thousand seconds ahead, and then the clocks of all are set back, and forward.
#[test]
fn a_wild_time_moves_no_window_and_is_counted() {
    const KEEP: u64 = 1_000_000_000;
    const STEP: u64 = 10_000;
    let mut dedup = dedup(Window::Sliding(Duration::from_nanos(KEEP)), 8);
    let (mut time_ns, mut wild, mut id) = (1_790_000_000 * KEEP, 0, 0);
    let most = KEEP / STEP + KEEP / STEP / 8 + BATCH as u64;
    let mut emit = |time_ns: &mut u64, events: u64, wild: &mut u64| {
        let first = *time_ns;
        while *time_ns < first + events * STEP {
            let mut times = Vec::new();
            for _ in 0..BATCH {
                *time_ns += STEP;
                id += 1;
                let is_wild = id % 4_096 == 77;
                *wild += u64::from(is_wild);
                times.push((id, *time_ns + if is_wild { 1_000 * KEEP } else { 0 }));
            }
            let new = check(&mut dedup, &times, |_, _, _| ());
            assert_eq!(new, u64::MAX);
            // What came within the window is a duplicate, wild or not.
            check(&mut dedup, &times, |_, _, verdict| assert_ne!(verdict, Verdict::New));
        }
        dedup.stats()
    };
    let stats = emit(&mut time_ns, 960_000, &mut wild);
    // Each came twice.
    assert_eq!((stats.wild, stats.late), (2 * wild, 0));
    assert!(wild > 200 && stats.remembered <= most, "{} of {most}", stats.remembered);
    // A leap that all take is a gap in the traffic: then the window goes with them.
    time_ns += 500 * KEEP;
    let stats = emit(&mut time_ns, 300_000, &mut wild);
    assert!(stats.remembered <= most, "{} of {most}", stats.remembered);
    assert!(stats.late == 0 && stats.wild <= 2 * wild, "{stats:?}");
}
