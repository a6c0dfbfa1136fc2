//! Promise: what the sightings say of a path is what the path did.
//!
//! A simulated path loses, duplicates, delays and reorders packets, some of them identical to earlier ones; the
//! simulation itself keeps the true account.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::random::Rng;
use bytemuck::Zeroable;
use panther_events::domain::packet::PacketSeen;
use panther_events::event::{EventId, Symbol};
use panther_events::paths::{ClockDoubt, PathReport, Sightings, SightingsOptions, SightingsReport};
use panther_events::pipeline::{Builder, PipelineOptions, Topology};
use std::time::Duration;

const MS: u64 = 1_000_000;
const START: u64 = 1_700_000_000_000_000_000;

#[derive(Clone, Copy)]
struct Sighted {
    time_ns: u64,
    vantage: &'static str,
    id: u64,
    flow: u64,
}

#[derive(Default, Debug)]
struct Truth {
    sent: u64,
    lost: u64,
    duplicated: u64,
    delays: Vec<u64>,
    /// Of first copies: when sent, when arrived.
    arrivals: Vec<(u64, u64)>,
}

impl Truth {
    fn reordered(&self) -> u64 {
        let mut arrivals = self.arrivals.clone();
        arrivals.sort_by_key(|(_, arrived)| *arrived);
        let mut newest = 0;
        let mut reordered = 0;
        for (sent, _) in arrivals {
            reordered += u64::from(sent < newest);
            newest = newest.max(sent);
        }
        reordered
    }
}

/// Sends packets along a path; every 50th is identical to an earlier one that was sent long enough ago.
fn simulate(rng: &mut Rng, from: &'static str, to: &'static str, ids: u64) -> (Vec<Sighted>, Truth) {
    let (mut seen, mut truth) = (Vec::new(), Truth::default());
    let mut time_ns = START + rng.below(MS);
    for n in 0..4_000 {
        // Odd steps keep all times different, so that order is never a matter of luck.
        time_ns += 1 + rng.below(2 * MS) * 2;
        let recurring = n % 50 == 49;
        let id = if recurring { ids } else { ids + 1 + n };
        let flow = id % 7;
        seen.push(Sighted { time_ns, vantage: from, id, flow });
        truth.sent += 1;
        if rng.below(100) < 5 {
            truth.lost += 1;
            continue;
        }
        let delay = 3 * MS + rng.below(8 * MS);
        truth.delays.push(delay);
        truth.arrivals.push((time_ns, time_ns + delay));
        seen.push(Sighted { time_ns: time_ns + delay, vantage: to, id, flow });
        if rng.below(100) < 3 {
            truth.duplicated += 1;
            let again = time_ns + delay + 1 + rng.below(2 * MS);
            seen.push(Sighted { time_ns: again, vantage: to, id, flow });
        }
    }
    (seen, truth)
}

/// Runs the sightings through a pipeline with an emitter per vantage point, as on two hosts.
fn observe(seen: &[Sighted], topology: Topology, one_emitter: bool) -> SightingsReport {
    let options = SightingsOptions {
        // Above the largest delay, below the distance of identical packets.
        horizon: Duration::from_millis(20),
        lateness: Duration::from_secs(3600),
        vantages: vec![Symbol::of("a"), Symbol::of("b")],
        ..SightingsOptions::default()
    };
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    let key = builder.observer("sightings", move |_| Sightings::new(&options));
    let pipeline = builder.start().unwrap();
    let emit = |name: &str, only: Option<&str>| {
        let mut emitter = pipeline.emitter(name).unwrap();
        for sighted in seen.iter().filter(|sighted| only.is_none_or(|only| only == sighted.vantage)) {
            let payload = PacketSeen { vantage: Symbol::of(sighted.vantage), ..PacketSeen::zeroed() };
            let digest = EventId::digest(&sighted.id.to_le_bytes());
            let flow = Symbol::of(&format!("flow-{}", sighted.flow));
            emitter.emit_digest(digest, sighted.time_ns, flow, &payload).unwrap();
            if topology == Topology::Inline {
                pipeline.poll();
            }
        }
    };
    if one_emitter {
        emit("both", None);
    } else {
        std::thread::scope(|scope| {
            scope.spawn(|| emit("tap a", Some("a")));
            scope.spawn(|| emit("tap b", Some("b")));
        });
    }
    let snapshot = pipeline.shutdown();
    assert_eq!(snapshot.warnings, Vec::<String>::new());
    snapshot.report(key).unwrap().clone()
}

fn compare(path: &PathReport, truth: &Truth, label: &str) {
    let found = (path.sent, path.lost, path.duplicated, path.reordered);
    let expected = (truth.sent, truth.lost, truth.duplicated, truth.reordered());
    assert_eq!(found, expected, "{label}: sent, lost, duplicated, reordered");
    assert_eq!(path.delays.min_ns, truth.delays.iter().min().copied(), "{label}");
    assert_eq!(path.delays.max_ns, truth.delays.iter().max().copied(), "{label}");
    assert_eq!(path.delays.sum_ns, truth.delays.iter().map(|delay| u128::from(*delay)).sum(), "{label}");
    assert_eq!(path.delays.histogram.len(), truth.delays.len() as u64, "{label}");
}

#[test]
fn what_sightings_say_is_what_the_path_did() {
    let seed = crate::support::random::seed();
    let mut rng = Rng::new(seed);
    let (mut seen, there) = simulate(&mut rng, "a", "b", 0);
    let (back_seen, back) = simulate(&mut rng, "b", "a", 1_000_000);
    seen.extend(back_seen);
    seen.sort_by_key(|sighted| sighted.time_ns);
    for topology in [
        Topology::Inline,
        Topology::Fused,
        Topology::Staged { dedup: 1, workers: 2 },
        Topology::Staged { dedup: 3, workers: 2 },
    ] {
        for one_emitter in [true, false] {
            let report = observe(&seen, topology, one_emitter);
            let label = format!("{topology} one emitter {one_emitter} seed {seed}");
            assert_eq!(
                (report.late, report.pending, report.waiting, report.refused),
                (0, 0, 0, 0),
                "{label}"
            );
            assert_eq!((report.paths.len(), report.flows), (2, 7), "{label}");
            for path in &report.paths {
                let truth = if path.from == Symbol::of("a") { &there } else { &back };
                compare(path, truth, &label);
            }
        }
    }
}

#[test]
fn three_vantage_points_make_a_path_from_the_origin_to_each_other_one() {
    let options = SightingsOptions {
        vantages: ["a", "m", "b"].map(Symbol::of).to_vec(),
        horizon: Duration::from_millis(100),
        ..SightingsOptions::default()
    };
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    let key = builder.observer("sightings", move |_| Sightings::new(&options));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("taps").unwrap();
    let mut see = |vantage: &str, id: u64, time_ms: u64, flow: &str| {
        let payload = PacketSeen { vantage: Symbol::of(vantage), ..PacketSeen::zeroed() };
        let digest = EventId::digest(&id.to_le_bytes());
        emitter.emit_digest(digest, START + time_ms * MS, Symbol::of(flow), &payload).unwrap();
    };
    // Packet 1 passes everywhere; packet 2 is lost behind the middle; packet 3 at once; packet 4 is of a flow that
    // never leaves.
    see("a", 1, 0, "f");
    see("m", 1, 5, "f");
    see("b", 1, 12, "f");
    see("a", 2, 20, "f");
    see("m", 2, 26, "f");
    see("a", 3, 30, "f");
    see("a", 4, 40, "local");
    let snapshot = pipeline.shutdown();
    let report = snapshot.report(key).unwrap();
    let path = |to: &str| {
        let is = |path: &&PathReport| (path.from, path.to) == (Symbol::of("a"), Symbol::of(to));
        let path = report.paths.iter().find(is).unwrap();
        (path.sent, path.lost, path.delays.min_ns, path.delays.max_ns)
    };
    assert_eq!(path("m"), (3, 1, Some(5 * MS), Some(6 * MS)));
    assert_eq!(path("b"), (3, 2, Some(12 * MS), Some(12 * MS)));
    assert_eq!(report.unpaired, 1);
}

#[test]
fn what_is_still_on_its_way_is_neither_lost_nor_arrived() {
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    let key = builder.observer("sightings", |_| {
        Sightings::new(&SightingsOptions { disorder: Duration::ZERO, ..SightingsOptions::default() })
    });
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("taps").unwrap();
    let mut see = |vantage: &str, id: u64, time_ms: u64| {
        let payload = PacketSeen { vantage: Symbol::of(vantage), ..PacketSeen::zeroed() };
        let digest = EventId::digest(&id.to_le_bytes());
        emitter.emit_digest(digest, START + time_ms * MS, Symbol::of("f"), &payload).unwrap();
    };
    for (vantage, id, time_ms) in [("a", 1, 0), ("b", 1, 5), ("a", 2, 10), ("b", 9, 1008), ("a", 8, 1009)] {
        see(vantage, id, time_ms);
    }
    while pipeline.poll() > 0 {}
    let snapshot = pipeline.snapshot();
    let report = snapshot.report(key).unwrap();
    assert_eq!(report.paths.iter().map(|path| (path.sent, path.lost)).collect::<Vec<_>>(), [(1, 0)]);
    assert!(report.pending >= 1);
    let after = pipeline.shutdown();
    let report = after.report(key).unwrap();
    let lost: u64 = report.paths.iter().map(|path| path.lost).sum();
    assert_eq!((lost, report.pending), (3, 0));
}

/// Runs the sightings through one emitter, in the order given.
fn observe_in_order(seen: &[Sighted], horizon_ms: u64) -> SightingsReport {
    let options = SightingsOptions {
        horizon: Duration::from_millis(horizon_ms),
        vantages: vec![Symbol::of("a"), Symbol::of("b")],
        ..SightingsOptions::default()
    };
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    let key = builder.observer("sightings", move |_| Sightings::new(&options));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("taps").unwrap();
    for sighted in seen {
        let payload = PacketSeen { vantage: Symbol::of(sighted.vantage), ..PacketSeen::zeroed() };
        let digest = EventId::digest(&sighted.id.to_le_bytes());
        let flow = Symbol::of(&format!("flow-{}", sighted.flow));
        emitter.emit_digest(digest, sighted.time_ns, flow, &payload).unwrap();
        pipeline.poll();
    }
    let snapshot = pipeline.shutdown();
    snapshot.report(key).unwrap().clone()
}

/// Both directions of a simulated path, in order of time.
fn both_ways(rng: &mut Rng) -> Vec<Sighted> {
    let (mut seen, _) = simulate(rng, "a", "b", 0);
    seen.extend(simulate(rng, "b", "a", 1_000_000).0);
    seen.sort_by_key(|sighted| sighted.time_ns);
    seen
}

/// Sends one packet again and again, a `period_ns` apart, 5 ms to the far end; `lost` are those that do not arrive.
fn train(count: u64, period_ns: u64, lost: &[u64]) -> Vec<Sighted> {
    let mut seen = Vec::new();
    for n in 0..count {
        let time_ns = START + n * period_ns;
        seen.push(Sighted { time_ns, vantage: "a", id: 1, flow: 0 });
        if !lost.contains(&n) {
            seen.push(Sighted { time_ns: time_ns + 5 * MS, vantage: "b", id: 1, flow: 0 });
        }
    }
    seen.sort_by_key(|sighted| sighted.time_ns);
    seen
}

fn same(found: &SightingsReport, expected: &SightingsReport, label: &str) {
    assert!(format!("{found:?}") == format!("{expected:?}"), "{label}: the reports differ");
}

#[test]
fn packets_written_late_change_nothing() {
    let seed = crate::support::random::seed();
    let mut rng = Rng::new(seed);
    let sorted = both_ways(&mut rng);
    let expected = observe_in_order(&sorted, 20);
    let mut written: Vec<(u64, Sighted)> =
        sorted.iter().map(|sighted| (sighted.time_ns + rng.below(5 * MS), *sighted)).collect();
    written.sort_by_key(|(written_ns, _)| *written_ns);
    let shuffled: Vec<Sighted> = written.into_iter().map(|(_, sighted)| sighted).collect();
    assert!(!shuffled.is_sorted_by_key(|sighted| sighted.time_ns));
    let found = observe_in_order(&shuffled, 20);
    assert_eq!((found.late, found.outliers), (0, 0), "seed {seed}");
    same(&found, &expected, &format!("seed {seed}"));
}

#[test]
fn one_wrong_time_costs_one_sighting() {
    let seed = crate::support::random::seed();
    let sorted = both_ways(&mut Rng::new(seed));
    for (at, ahead_ms) in [(0, 86_400_000), (sorted.len() / 2, 10_000), (sorted.len() / 3, 86_400_000)] {
        let mut wrong = sorted.clone();
        wrong[at].time_ns += ahead_ms * MS;
        let mut without = sorted.clone();
        without.remove(at);
        let found = observe_in_order(&wrong, 20);
        assert_eq!((found.outliers, found.late), (1, 0), "seed {seed} at {at}");
        let found = SightingsReport { outliers: 0, ..found };
        same(&found, &observe_in_order(&without, 20), &format!("seed {seed} at {at}"));
    }
}

#[test]
fn a_silence_longer_than_the_lateness_is_no_outlier() {
    let mut seen = train(5, 10 * MS, &[]);
    let later = train(5, 10 * MS, &[]);
    seen.extend(later.into_iter().map(|s| Sighted { time_ns: s.time_ns + 60_000 * MS, ..s }));
    // A lone packet at the end has none after it to confirm it.
    seen.push(Sighted { time_ns: START + 200_000 * MS, vantage: "a", id: 2, flow: 0 });
    let found = observe_in_order(&seen, 8);
    assert_eq!((found.outliers, found.late), (0, 0));
    assert_eq!((found.paths[0].sent, found.paths[0].lost), (11, 1));
}

#[test]
fn a_late_sighting_never_arrives_before_it_was_sent() {
    // The origin is heard of only after the far end has been processed.
    let see = |vantage, id, ms| Sighted { time_ns: START + ms * MS, vantage, id, flow: 0 };
    let mut seen: Vec<Sighted> = (0..200).map(|n| see("b", 1_000 + n, n * 20)).collect();
    seen.insert(60, see("b", 1, 1_185));
    seen.extend([see("a", 1, 1_180), see("a", 9, 3_980)]);
    // At 3.98 s, with a horizon of 10 s, all of `b` up to 2.98 s is processed.
    let found = observe_in_order(&seen, 10_000);
    assert_eq!(found.late, 1);
    let there = found.paths.iter().find(|path| path.from == Symbol::of("a")).unwrap();
    assert_eq!((there.arrivals(), there.delays.min_ns), (1, Some(5 * MS)));
    let back = found.paths.iter().find(|path| path.from == Symbol::of("b")).unwrap();
    assert_eq!((back.sent, back.lost), (200, 200));
}

#[test]
fn descending_times_are_sorted_and_not_slow() {
    let mut seen: Vec<Sighted> = (0..100_000)
        .flat_map(|n| {
            // All within 40 ms, less than the disorder.
            let time_ns = START + n * 400;
            let at = |vantage, delay| Sighted { time_ns: time_ns + delay, vantage, id: n, flow: 0 };
            [at("a", 0), at("b", 3_001)]
        })
        .collect();
    seen.sort_by_key(|sighted| sighted.time_ns);
    let expected = observe_in_order(&seen, 20);
    seen.reverse();
    let found = observe_in_order(&seen, 20);
    assert_eq!((found.late, found.outliers, found.paths[0].arrivals()), (0, 0, 100_000));
    same(&found, &expected, "descending");
}

#[test]
fn one_loss_in_a_train_of_identical_packets_shifts_no_other() {
    let found = observe_in_order(&train(200, 100 * MS, &[50, 120, 121]), 1_000);
    let path = &found.paths[0];
    assert_eq!((path.sent, path.lost, path.duplicated), (200, 3, 0));
    assert_eq!((path.delays.min_ns, path.delays.max_ns), (Some(5 * MS), Some(5 * MS)));
    assert_eq!(found.ambiguous, 2);
    // More than one under way at any time: order tells them apart, and the report says that it was needed.
    let found = observe_in_order(&train(200, 2 * MS, &[]), 1_000);
    let path = &found.paths[0];
    assert_eq!((path.sent, path.lost, path.delays.max_ns), (200, 0, Some(5 * MS)));
    assert!(found.ambiguous > 190, "{}", found.ambiguous);
}

#[test]
fn identical_packets_without_end_are_forgotten_after_the_horizon() {
    let seen = train(20_000, MS, &[]);
    let options = SightingsOptions { horizon: Duration::from_millis(100), ..SightingsOptions::default() };
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    let key = builder.observer("sightings", move |_| Sightings::new(&options));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("taps").unwrap();
    let mut most = 0;
    for (n, sighted) in seen.iter().enumerate() {
        let payload = PacketSeen { vantage: Symbol::of(sighted.vantage), ..PacketSeen::zeroed() };
        let digest = EventId::digest(&sighted.id.to_le_bytes());
        emitter.emit_digest(digest, sighted.time_ns, Symbol::of("f"), &payload).unwrap();
        pipeline.poll();
        if n % 1_000 == 999 {
            most = most.max(pipeline.snapshot().report(key).unwrap().remembered);
        }
    }
    // 100 are within the horizon, each seen twice; what is due is looked at when there is as much of it.
    assert!((100..=304).contains(&most), "{most}");
    let report = pipeline.shutdown();
    let path = &report.report(key).unwrap().paths[0];
    assert_eq!((path.sent, path.lost), (20_000, 0));
}

#[test]
fn clocks_that_differ_by_more_than_the_delay_are_hinted_at() {
    let seen = both_ways(&mut Rng::new(crate::support::random::seed()));
    assert_eq!(observe_in_order(&seen, 100).clock_hints(), []);
    for (ahead_ms, doubt) in
        [(15, ClockDoubt::OneWay), (800, ClockDoubt::Unpaired), (60_000, ClockDoubt::Apart)]
    {
        let mut shifted = seen.clone();
        for sighted in shifted.iter_mut().filter(|sighted| sighted.vantage == "b") {
            sighted.time_ns += ahead_ms * MS;
        }
        shifted.sort_by_key(|sighted| sighted.time_ns);
        let hints = observe_in_order(&shifted, 40).clock_hints();
        assert_eq!(hints.iter().map(|hint| hint.doubt).collect::<Vec<_>>(), [doubt], "{ahead_ms} ms");
    }
}

/// Of one path, found by its ends: sent, lost, beyond the horizon, duplicated.
fn path_counts(report: &SightingsReport, from: &str, to: &str) -> Option<(u64, u64, u64, u64)> {
    let ends = (Symbol::of(from), Symbol::of(to));
    let path = report.paths.iter().find(|path| (path.from, path.to) == ends)?;
    Some((path.sent, path.lost, beyond_horizon(path), path.duplicated))
}

fn beyond_horizon(path: &PathReport) -> u64 {
    path.beyond_horizon
}

#[test]
fn a_packet_slower_than_the_horizon_counts_once() {
    let see = |vantage, id, ms| Sighted { time_ns: START + ms * MS, vantage, id, flow: 0 };
    // Exactly the horizon is within it; one nanosecond more is not.
    let mut seen = vec![see("a", 1, 0), see("b", 1, 100), see("a", 2, 200), see("b", 2, 301)];
    // Much slower, twice of which the second is a copy; lost; on its way at the end.
    seen.extend([
        see("a", 3, 400),
        see("b", 3, 720),
        see("b", 3, 721),
        see("a", 4, 1_000),
        see("a", 5, 2_000),
    ]);
    let found = observe_in_order(&seen, 100);
    assert_eq!(path_counts(&found, "a", "b"), Some((5, 2, 2, 1)));
    assert_eq!(found.paths.len(), 1, "a path back that nobody took");
    assert_eq!(found.paths[0].delays.max_ns, Some(100 * MS), "only arrivals within the horizon have a delay");
    assert_eq!((found.paths[0].arrivals(), found.pending), (1, 0));
}

#[test]
fn each_sending_of_a_packet_is_beyond_the_horizon_at_most_once() {
    let see = |vantage, id, ms| Sighted { time_ns: START + ms * MS, vantage, id, flow: 0 };
    // Sent twice within the horizon, both arrive beyond it; then once more, and arrives in time.
    let seen = [
        see("a", 1, 0),
        see("a", 1, 50),
        see("b", 1, 160),
        see("b", 1, 210),
        see("a", 1, 300),
        see("b", 1, 305),
        see("a", 2, 900),
        see("b", 2, 905),
    ];
    let found = observe_in_order(&seen, 100);
    assert_eq!(path_counts(&found, "a", "b"), Some((4, 0, 2, 0)));
    assert_eq!(found.paths.len(), 1);
    // What is forgotten is a packet from the far end: told in the module's limits.
    let found = observe_in_order(&[see("a", 1, 0), see("b", 1, 5_000)], 100);
    assert_eq!(path_counts(&found, "a", "b"), Some((1, 1, 0, 0)));
}

#[test]
fn with_three_vantage_points_each_path_counts_what_was_beyond_its_horizon() {
    let options = SightingsOptions {
        vantages: ["a", "m", "b"].map(Symbol::of).to_vec(),
        horizon: Duration::from_millis(100),
        ..SightingsOptions::default()
    };
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    let key = builder.observer("sightings", move |_| Sightings::new(&options));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("taps").unwrap();
    let mut see = |vantage: &str, id: u64, time_ms: u64, flow: &str| {
        let payload = PacketSeen { vantage: Symbol::of(vantage), ..PacketSeen::zeroed() };
        let digest = EventId::digest(&id.to_le_bytes());
        emitter.emit_digest(digest, START + time_ms * MS, Symbol::of(flow), &payload).unwrap();
    };
    // In time in the middle, beyond the horizon at the end.
    see("a", 1, 0, "f");
    see("m", 1, 5, "f");
    see("b", 1, 150, "f");
    // The first that is seen of its flow anywhere else.
    see("a", 2, 300, "g");
    see("m", 2, 450, "g");
    let snapshot = pipeline.shutdown();
    let report = snapshot.report(key).unwrap();
    assert_eq!(path_counts(report, "a", "m"), Some((2, 0, 1, 0)));
    assert_eq!(path_counts(report, "a", "b"), Some((1, 0, 1, 0)));
    assert_eq!((report.paths.len(), report.unpaired), (2, 0));
}
