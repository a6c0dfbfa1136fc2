//! Promise: what the sightings say of a path is what the path did.
//!
//! A simulated path loses, duplicates, delays and reorders packets, some of them identical to earlier ones; the
//! simulation itself keeps the true account.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use bytemuck::Zeroable;
use panther_events::domain::packet::PacketSeen;
use panther_events::event::{EventId, Symbol};
use panther_events::observe::sightings::{PathReport, Sightings, SightingsOptions, SightingsReport};
use panther_events::pipeline::{Builder, PipelineOptions, Topology};
use std::time::Duration;
use support::Rng;

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
    assert_eq!(path.delay_ns_min, truth.delays.iter().min().copied(), "{label}");
    assert_eq!(path.delay_ns_max, truth.delays.iter().max().copied(), "{label}");
    assert_eq!(path.delay_ns_sum, truth.delays.iter().map(|delay| u128::from(*delay)).sum(), "{label}");
    assert_eq!(path.delay_ns.len(), truth.delays.len() as u64, "{label}");
}

#[test]
fn what_sightings_say_is_what_the_path_did() {
    let seed = support::seed();
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
        (path.sent, path.lost, path.delay_ns_min, path.delay_ns_max)
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
    for (vantage, id, time_ms) in [("a", 1, 0), ("b", 1, 5), ("a", 2, 10), ("b", 9, 300)] {
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
    assert_eq!((lost, report.pending), (2, 0));
}
