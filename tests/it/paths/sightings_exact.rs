//! Promise: sightings are paired exactly, at ties and at the very edges of horizon, disorder and lateness.
//!
//! Every short sequence of sightings, and random long ones, against an interpreter of the rules that is as naive as can
//! be: it holds all that was ever sent in a list. It knows of no packet that comes after its horizon.
//!
//! Replay a failure with `PANTHER_SEED=<the printed seed> cargo test --test it paths::sightings_exact`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::random::Rng;
use bytemuck::Zeroable;
use panther_events::dedup::{BATCH, Verdict};
use panther_events::domain::packet::PacketSeen;
use panther_events::event::{EventId, Record, Symbol};
use panther_events::observe::{Batch, Observer};
use panther_events::paths::{
    ClockDoubt, ClockHint, Delays, PathReport, Sightings, SightingsOptions, SightingsReport, VANTAGES_MAX,
    VantageReport,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A sighting: vantage point, packet, flow, time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    vantage: usize,
    id: u64,
    flow: u64,
    time_ns: u64,
}

fn seen(vantage: usize, id: u64, time_ns: u64) -> Seen {
    Seen { vantage, id, flow: 0, time_ns }
}

fn name(vantage: usize) -> Symbol {
    Symbol::of(&format!("vantage-{vantage}"))
}

fn options(vantages: usize, horizon: u64, disorder: u64, lateness: u64) -> SightingsOptions {
    SightingsOptions {
        horizon: Duration::from_nanos(horizon),
        lateness: Duration::from_nanos(lateness),
        disorder: Duration::from_nanos(disorder),
        vantages: (0..vantages).map(name).collect(),
        survey: None,
    }
}

fn feed(observer: &mut Sightings, sightings: &[Seen]) {
    let records: Vec<Record> = sightings
        .iter()
        .map(|seen| {
            let payload = PacketSeen { vantage: name(seen.vantage), ..PacketSeen::zeroed() };
            let flow = Symbol::of(&format!("flow-{}", seen.flow));
            Record::with_digest(EventId::digest(&seen.id.to_le_bytes()), seen.time_ns, flow, &payload)
        })
        .collect();
    for records in records.chunks(BATCH) {
        observer.observe(&Batch::new(records, &[Verdict::New; BATCH], u64::MAX)).unwrap();
    }
}

fn observe(options: &SightingsOptions, sightings: &[Seen]) -> SightingsReport {
    let mut observer = Sightings::new(options);
    feed(&mut observer, sightings);
    observer.flush().unwrap();
    observer.report()
}

/// What is counted of a path: sent, lost, duplicated, reordered, and all delays in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Way {
    sent: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    delays: Vec<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Found {
    ways: BTreeMap<(usize, usize), Way>,
    flows: u64,
    unpaired: u64,
    ambiguous: u64,
}

struct EmitStats {
    seen: Seen,
    closed: bool,
    dealt: BTreeSet<usize>,
}

/// Follows the rules over sightings that come in order; `None` where a packet comes after its horizon, or where what is likely decides.
#[derive(Default)]
struct Oracle {
    vantages: usize,
    horizon: u64,
    sent: Vec<EmitStats>,
    flows: BTreeMap<u64, BTreeSet<usize>>,
    /// By path: when the latest-sent packet that arrived was sent, and the longest delay of an unambiguous arrival.
    newest: BTreeMap<(usize, usize), u64>,
    slowest: BTreeMap<(usize, usize), u64>,
    /// The longest delay of an arrival for which there was another candidate: whether that is likely depends on what is known by the time at
    /// which the packet is looked at.
    doubtful: BTreeMap<(usize, usize), u64>,
    found: Found,
}

impl Oracle {
    fn run(vantages: usize, horizon: u64, sightings: &[Seen]) -> Option<Found> {
        // Which of two vantage points saw a packet first at one time, nobody knows.
        let is_tie = |one: &Seen, other: &Seen| {
            (one.id, one.time_ns) == (other.id, other.time_ns) && one.vantage != other.vantage
        };
        if sightings
            .iter()
            .enumerate()
            .any(|(at, one)| sightings[at + 1..].iter().any(|other| is_tie(one, other)))
        {
            return None;
        }
        let mut oracle = Oracle { vantages, horizon, ..Oracle::default() };
        for seen in sightings {
            oracle.take(*seen)?;
        }
        oracle.close(u64::MAX);
        let is_likely = |(path, delay): (&(usize, usize), &u64)| {
            oracle.slowest.get(path).is_none_or(|slowest| *delay <= 2 * slowest)
        };
        if !oracle.doubtful.iter().all(is_likely) {
            return None;
        }
        oracle.found.flows = oracle.flows.len() as u64;
        Some(oracle.found)
    }

    fn way(&mut self, from: usize, to: usize) -> &mut Way {
        self.found.ways.entry((from, to)).or_default()
    }

    fn take(&mut self, seen: Seen) -> Option<()> {
        self.close(seen.time_ns.saturating_sub(self.horizon));
        self.flows.entry(seen.flow).or_default().insert(seen.vantage);
        let open = |sent: &EmitStats| sent.seen.id == seen.id && !sent.closed;
        let Some(origin) = self.sent.iter().find(|sent| open(sent)).map(|sent| sent.seen.vantage) else {
            let earlier =
                self.sent.iter().any(|sent| sent.seen.id == seen.id && sent.seen.vantage != seen.vantage);
            self.sent.push(EmitStats { seen, closed: false, dealt: BTreeSet::new() });
            return (!earlier).then_some(());
        };
        if origin == seen.vantage {
            self.sent.push(EmitStats { seen, closed: false, dealt: BTreeSet::new() });
            return Some(());
        }
        let path = (origin, seen.vantage);
        let candidates: Vec<usize> = (0..self.sent.len())
            .filter(|at| open(&self.sent[*at]) && !self.sent[*at].dealt.contains(&seen.vantage))
            .collect();
        self.found.ambiguous += u64::from(candidates.len() > 1);
        if let Some(at) = candidates.first() {
            let sent_ns = self.sent[*at].seen.time_ns;
            let delay = seen.time_ns - sent_ns;
            self.sent[*at].dealt.insert(seen.vantage);
            self.way(path.0, path.1).sent += 1;
            if candidates.len() > 1 {
                let doubtful = self.doubtful.entry(path).or_default();
                *doubtful = delay.max(*doubtful);
            } else {
                // Any of them may be all that is known.
                let slowest = self.slowest.entry(path).or_insert(delay);
                *slowest = delay.min(*slowest);
            }
            let is_reordered = self.newest.get(&path).is_some_and(|newest| sent_ns < *newest);
            let newest = self.newest.entry(path).or_default();
            *newest = sent_ns.max(*newest);
            let way = self.way(path.0, path.1);
            way.reordered += u64::from(is_reordered);
            way.delays.push(delay);
            return Some(());
        }
        self.way(path.0, path.1).duplicated += 1;
        Some(())
    }

    fn close(&mut self, before_ns: u64) {
        for at in 0..self.sent.len() {
            let sent = &mut self.sent[at];
            if sent.closed || sent.seen.time_ns >= before_ns {
                continue;
            }
            sent.closed = true;
            let (origin, dealt) = (sent.seen.vantage, sent.dealt.clone());
            // A flow is that under which the packet was first seen.
            let flow = sent.seen.flow;
            let far: Vec<usize> = match self.vantages {
                2 => vec![1 - origin],
                _ => self.flows[&flow].iter().copied().filter(|vantage| *vantage != origin).collect(),
            };
            self.found.unpaired += u64::from(far.is_empty());
            for to in far.into_iter().filter(|to| !dealt.contains(to)) {
                let way = self.way(origin, to);
                way.sent += 1;
                way.lost += 1;
            }
        }
    }
}

fn number(vantage: Symbol) -> usize {
    (0..=VANTAGES_MAX).find(|at| name(*at) == vantage).unwrap()
}

/// What a report says, in the oracle's words; its own figures must agree with each other.
fn said(report: &SightingsReport) -> Found {
    let way = |path: &PathReport| {
        let listed = |of: &Delays| {
            let mut delays = Vec::new();
            for step in of.histogram.iter_recorded() {
                // Below 2,048 a histogram of three digits is exact.
                assert!(step.value_iterated_to() < 2_048);
                delays.extend(std::iter::repeat_n(step.value_iterated_to(), step.count_at_value() as usize));
            }
            assert_eq!((of.min_ns, of.max_ns), (delays.first().copied(), delays.last().copied()));
            assert_eq!(of.sum_ns, delays.iter().map(|delay| u128::from(*delay)).sum());
            assert_eq!((of.count, of.clamped), (delays.len() as u64, 0));
            delays
        };
        let mut delays = listed(&path.delays);
        // Of several packets that an arrival can be of, one is taken; what is known for sure counts alone.
        delays.extend(path.ambiguous_delays.iter().flat_map(listed));
        delays.sort_unstable();
        assert_eq!(path.arrivals(), delays.len() as u64);
        let (sent, lost, duplicated, reordered) = (path.sent, path.lost, path.duplicated, path.reordered);
        ((number(path.from), number(path.to)), Way { sent, lost, duplicated, reordered, delays })
    };
    Found {
        ways: report.paths.iter().map(way).collect(),
        flows: report.flows,
        unpaired: report.unpaired,
        ambiguous: report.ambiguous,
    }
}

fn compare(report: &SightingsReport, mut expected: Found, label: &dyn Fn() -> String) {
    expected.ways.values_mut().for_each(|way| way.delays.sort_unstable());
    // At one time, the oracle knows which came first.
    let ambiguous = said(report).ambiguous;
    assert!(ambiguous >= expected.ambiguous, "{}", label());
    expected.ambiguous = ambiguous;
    assert_eq!(said(report), expected, "{}", label());
    let rest = (report.pending, report.waiting, report.late, report.refused, report.outliers);
    assert_eq!(rest, (0, 0, 0, 0, 0), "{}", label());
}

#[test]
fn every_short_sequence_of_two_packets_is_paired_by_the_rules() {
    const HORIZON: u64 = 6;
    let options = options(2, HORIZON, 0, 1_000);
    let steps = [0, 1, 3, HORIZON, HORIZON + 1];
    let symbols: Vec<(usize, u64, u64)> = (0..20).map(|n| (n % 2, n as u64 / 2 % 2, steps[n / 4])).collect();
    let mut judged = 0;
    for sequence in 0..symbols.len().pow(4) {
        let mut sightings = vec![seen(0, 0, 100)];
        for at in 0..4 {
            let (vantage, id, step) = symbols[sequence / symbols.len().pow(at) % symbols.len()];
            let time_ns = sightings.last().map_or(0, |last: &Seen| last.time_ns) + step;
            sightings.push(seen(vantage, id, time_ns));
        }
        // At one time, the first vantage point has its turn first.
        sightings.sort_by_key(|seen| (seen.time_ns, seen.vantage));
        let Some(expected) = Oracle::run(2, HORIZON, &sightings) else { continue };
        judged += 1;
        compare(&observe(&options, &sightings), expected, &|| format!("{sightings:?}"));
    }
    assert!(judged > 50_000, "{judged}");
}

#[test]
fn random_trains_of_equal_packets_are_paired_by_the_rules() {
    let seed = crate::support::random::seed();
    let mut rng = Rng::new(seed);
    let (mut judged, mut reordered, mut ambiguous) = (0, 0, 0);
    for round in 0..20_000 {
        // With more, paths lead from each to the next.
        let vantages = 2;
        let (horizon, ids) = (1 + rng.below(40), 1 + rng.below(6));
        let mut sightings = Vec::new();
        let mut time_ns = 1_000;
        for _ in 0..1 + rng.below(30) {
            let id = rng.below(ids);
            // Each packet has one origin, so that few come after their horizon.
            let origin =
                if rng.below(40) == 0 { rng.below(vantages as u64) as usize } else { id as usize % vantages };
            time_ns += [0, 0, 1, 2, horizon / 2, horizon][rng.below(6) as usize];
            let flow = id % 3;
            sightings.push(Seen { vantage: origin, id, flow, time_ns });
            for to in (0..vantages).filter(|to| *to != origin) {
                for _ in 0..[0, 1, 1, 1, 1, 2][rng.below(6) as usize] {
                    let delay = [0, 1, 2, 3, horizon / 2, horizon][rng.below(6) as usize];
                    sightings.push(Seen { vantage: to, id, flow, time_ns: time_ns + delay });
                }
            }
        }
        sightings.sort_by_key(|seen| (seen.time_ns, seen.vantage));
        let Some(expected) = Oracle::run(vantages, horizon, &sightings) else { continue };
        judged += 1;
        reordered += expected.ways.values().map(|way| way.reordered).sum::<u64>();
        ambiguous += expected.ambiguous;
        let found = observe(&options(vantages, horizon, 0, 1 << 40), &sightings);
        compare(&found, expected, &|| format!("round {round} seed {seed}: horizon {horizon}, {sightings:?}"));
    }
    let passed = (judged > 1_000, reordered > 40, ambiguous > 500);
    assert_eq!(passed, (true, true, true), "{judged} {reordered} {ambiguous} seed {seed}");
}

#[test]
fn sightings_out_of_order_by_the_disorder_are_taken_in_order_of_time_and_then_of_arrival() {
    let seed = crate::support::random::seed();
    let mut rng = Rng::new(seed);
    for round in 0..4_000 {
        let (horizon, disorder) = (30, 1 + rng.below(6));
        // Many at one time: what matters is which of them counts first.
        let mut written: Vec<(u64, Seen)> = Vec::new();
        let mut time_ns = 1_000;
        for id in 0..30 {
            time_ns += rng.below(2);
            written.push((time_ns + rng.below(disorder + 1), seen(0, id, time_ns)));
            let arrived_ns = time_ns + 1 + rng.below(4);
            written.push((arrived_ns + rng.below(disorder + 1), seen(1, id, arrived_ns)));
        }
        // Those of one vantage point are at most `disorder` apart where they change places.
        written.sort_by_key(|(written_ns, _)| *written_ns);
        let arrived: Vec<Seen> = written.into_iter().map(|(_, seen)| seen).collect();
        let mut sorted = arrived.clone();
        sorted.sort_by_key(|seen| (seen.time_ns, seen.vantage));
        let Some(expected) = Oracle::run(2, horizon, &sorted) else { panic!("all are within the horizon") };
        let report = observe(&options(2, horizon, disorder, 1_000), &arrived);
        compare(&report, expected, &|| format!("round {round} seed {seed}: {arrived:?}"));
    }
}

#[test]
fn a_lone_slow_arrival_is_no_loss_and_no_copy() {
    // One packet under way: however slow it is, it is that one, and it may be as slow from then on.
    for slow in [10, 20, 21, 30, 90] {
        let mut sightings = Vec::new();
        for (id, delay) in [(0, 10), (1, 10), (2, slow)] {
            sightings.extend([seen(0, id, 1_000 * (id + 1)), seen(1, id, 1_000 * (id + 1) + delay)]);
        }
        let report = observe(&options(2, 100, 0, 1 << 40), &sightings);
        let expected = Way { sent: 3, delays: vec![10, 10, slow], ..Way::default() };
        assert_eq!(said(&report).ways, BTreeMap::from([((0, 1), expected)]), "{slow}");
    }
}

#[test]
fn an_older_candidate_is_given_up_beyond_twice_the_longest_sure_delay_only() {
    // A sure delay of 10; then two equal packets 15 apart, of which one arrives, `delay` behind the first.
    for (delay, first_is_it) in [(19, true), (20, true), (21, false), (29, false)] {
        let sightings = [
            seen(0, 0, 1_000),
            seen(1, 0, 1_010),
            seen(0, 1, 2_000),
            seen(0, 1, 2_015),
            seen(1, 1, 2_000 + delay),
        ];
        let report = observe(&options(2, 100, 0, 1 << 40), &sightings);
        let second = if first_is_it { delay } else { delay - 15 };
        let mut delays = vec![10, second];
        delays.sort_unstable();
        let expected = Way { sent: 3, lost: 1, delays, ..Way::default() };
        assert_eq!(said(&report).ways, BTreeMap::from([((0, 1), expected)]), "{delay}");
        assert_eq!(report.ambiguous, 1);
        // What was ambiguous makes no delay sure: another pair is judged as the first one was.
        let mut again = sightings.to_vec();
        again.extend([seen(0, 2, 3_000), seen(0, 2, 3_015), seen(1, 2, 3_021)]);
        let report = observe(&options(2, 100, 0, 1 << 40), &again);
        let way = &said(&report).ways[&(0, 1)];
        assert_eq!((way.sent, way.lost, way.delays.contains(&6)), (5, 2, true), "{delay}");
    }
}

#[test]
fn a_packet_arrives_up_to_its_horizon() {
    for delay in [0, 1, 99, 100] {
        let report = observe(&options(2, 100, 0, 1 << 40), &[seen(0, 7, 500), seen(1, 7, 500 + delay)]);
        let expected = Way { sent: 1, delays: vec![delay], ..Way::default() };
        assert_eq!(said(&report).ways, BTreeMap::from([((0, 1), expected)]));
    }
    // Other packets move the time on: up to the horizon it is still under way, and lost after it.
    for (time_ns, lost, pending) in [(599, 0, 2), (600, 0, 2), (601, 1, 1)] {
        let mut observer = Sightings::new(&options(2, 100, 0, 1 << 40));
        feed(&mut observer, &[seen(0, 7, 500), seen(0, 8, time_ns), seen(1, 99, time_ns)]);
        let report = observer.report();
        let there = report.paths.iter().find(|path| path.from == name(0));
        assert_eq!(there.map_or(0, |path| path.lost), lost, "{time_ns}");
        // And the one that was seen at the far end.
        assert_eq!(report.pending, pending + 1, "{time_ns}");
    }
    // What has arrived is under way no more; neither is what has arrived at the one of several far ends that saw it.
    for (vantages, arrivals, pending) in [(2, 0, 2), (2, 1, 1), (2, 2, 0), (3, 1, 1), (3, 2, 0)] {
        let mut observer = Sightings::new(&options(vantages, 100, 0, 1 << 40));
        feed(&mut observer, &[seen(0, 7, 500), seen(0, 7, 510)]);
        feed(&mut observer, &[seen(1, 7, 520), seen(1, 7, 530)][..arrivals]);
        feed(&mut observer, &[seen(0, 8, 540), seen(1, 9, 540), seen(2, 10, 540)][..vantages]);
        let report = observer.report();
        assert_eq!((report.pending, report.waiting), (pending + vantages as u64, 0), "{vantages} {arrivals}");
    }
}

#[test]
fn a_sighting_is_held_until_all_are_later_by_the_disorder_or_one_by_the_lateness() {
    let waiting = |sightings: &[Seen]| {
        let mut observer = Sightings::new(&options(2, 1_000, 10, 100));
        feed(&mut observer, sightings);
        observer.report().waiting
    };
    let begin = [seen(0, 1, 1_000), seen(1, 2, 1_000)];
    let and = |more: &[Seen]| begin.iter().chain(more).copied().collect::<Vec<_>>();
    assert_eq!(waiting(&begin), 2);
    assert_eq!(waiting(&and(&[seen(0, 3, 1_010), seen(1, 4, 1_009)])), 4);
    assert_eq!(waiting(&and(&[seen(0, 3, 1_010), seen(1, 4, 1_010)])), 2);
    // The other one is silent.
    assert_eq!(waiting(&and(&[seen(0, 3, 1_050), seen(0, 4, 1_099)])), 4);
    assert_eq!(waiting(&and(&[seen(0, 3, 1_050), seen(0, 4, 1_100)])), 2);
    // It has not been heard of at all.
    assert_eq!(waiting(&[seen(0, 1, 1_000), seen(0, 3, 1_050), seen(0, 4, 1_099)]), 3);
    assert_eq!(waiting(&[seen(0, 1, 1_000), seen(0, 3, 1_050), seen(0, 4, 1_100)]), 2);
    // The lateness is at least the disorder.
    let mut observer = Sightings::new(&options(2, 1_000, 10, 0));
    feed(&mut observer, &[seen(0, 1, 1_000), seen(0, 2, 1_009)]);
    assert_eq!(observer.report().waiting, 2);
    feed(&mut observer, &[seen(0, 3, 1_010)]);
    assert_eq!(observer.report().waiting, 2);
}

#[test]
fn a_sighting_is_late_when_a_later_one_was_taken_and_not_when_one_of_its_time_was() {
    for (time_ns, late) in [(1_001, 0), (1_000, 0), (999, 1)] {
        let mut observer = Sightings::new(&options(1, 1_000, 10, 100));
        feed(&mut observer, &[seen(0, 1, 1_000), seen(0, 2, 1_010)]);
        assert_eq!(observer.report().waiting, 1, "the first is taken");
        feed(&mut observer, &[seen(0, 3, time_ns)]);
        observer.flush().unwrap();
        let report = observer.report();
        assert_eq!((report.late, report.outliers, report.waiting), (late, 0, 0), "{time_ns}");
    }
    // One from before the horizon is late and fits nowhere; one at its very beginning does.
    for (time_ns, packets) in [(1_000, 4), (999, 3)] {
        let mut observer = Sightings::new(&options(1, 1_000, 0, 100));
        feed(&mut observer, &[seen(0, 1, 1_950), seen(0, 2, 2_000), seen(0, 3, 2_000)]);
        feed(&mut observer, &[seen(0, 4, time_ns)]);
        assert_eq!((observer.report().late, observer.report().pending), (1, packets), "{time_ns}");
    }
}

#[test]
fn what_is_ahead_by_the_lateness_is_believed_and_what_is_further_ahead_is_doubted() {
    // Ahead of the first by so much, and then one at `back`: outliers, and sightings taken.
    let cases = [
        // As far as the lateness: it counts, whatever comes.
        (100, 0, 0, 3),
        (100, -1, 0, 3),
        // Further: the next one confirms it from the lateness before it on.
        (101, 0, 1, 2),
        (101, 1, 0, 3),
        (500, 399, 1, 2),
        (500, 400, 0, 3),
        (500, 500, 0, 3),
        (500, 900, 0, 3),
    ];
    for (ahead, back, outliers, taken) in cases {
        let next = (1_000_i64 + back) as u64;
        let sightings = [seen(0, 1, 1_000), seen(0, 2, 1_000 + ahead), seen(0, 3, next)];
        // The first of all is in doubt itself, until the second one comes: begin with one before it.
        let mut all = vec![seen(0, 0, 1_000)];
        all.extend(sightings);
        let report = observe(&options(1, 1_000, 0, 100), &all);
        assert_eq!((report.outliers, report.waiting), (outliers, 0), "{ahead} {back}");
        assert_eq!(report.vantages[0].sightings, taken + 1, "{ahead} {back}");
        let counted = if outliers == 0 { [1_000 + ahead, next] } else { [1_000, next] };
        let last_ns = counted.into_iter().max().unwrap();
        assert_eq!((report.vantages[0].first_ns, report.vantages[0].last_ns), (next.min(1_000), last_ns));
    }
    // Another vantage point comes as near as the lateness: what was doubted counts.
    for (time_ns, taken) in [(1_399, 1), (1_400, 2)] {
        let mut observer = Sightings::new(&options(2, 1_000, 0, 100));
        feed(&mut observer, &[seen(0, 1, 1_000), seen(0, 2, 1_000), seen(0, 3, 1_500)]);
        let steps: Vec<Seen> =
            (0..).map(|n| seen(1, 9, 1_000 + 99 * n)).take_while(|s| s.time_ns < time_ns).collect();
        feed(&mut observer, &steps);
        assert_eq!(observer.report().vantages[0].sightings, 2, "{time_ns}");
        feed(&mut observer, &[seen(1, 9, time_ns)]);
        assert_eq!(observer.report().vantages[0].sightings, taken + 1, "{time_ns}");
    }
}

#[test]
fn vantage_points_beyond_the_most_are_refused_one_sighting_at_a_time() {
    let sightings: Vec<Seen> = (0..=VANTAGES_MAX).flat_map(|at| [seen(at, 1, 1_000); 2]).collect();
    let report = observe(&options(0, 1_000, 0, 100), &sightings);
    assert_eq!((report.vantages.len(), report.refused), (VANTAGES_MAX, 2));
    let there: BTreeSet<usize> = report.paths.iter().map(|path| number(path.to)).collect();
    assert_eq!(there, (1..VANTAGES_MAX).collect());
}

#[test]
fn clocks_are_doubted_from_99_of_100_packets_on() {
    use ClockDoubt::{Apart, OneWay, Unpaired};
    // Sent and arrived from the first vantage point to the second, the same back, and who is `a` of the hint.
    let cases = [
        ((99, 99), (0, 0), None),
        ((100, 100), (0, 0), Some((OneWay, 0))),
        ((0, 0), (100, 100), Some((OneWay, 1))),
        ((0, 0), (99, 99), None),
        ((50, 50), (50, 50), None),
        // 198 of 200 are practically all, and 197 of 199 are not.
        ((198, 198), (2, 2), Some((OneWay, 0))),
        ((197, 197), (2, 2), None),
        ((2, 2), (198, 198), Some((OneWay, 1))),
        ((99, 99), (1, 1), None),
        ((100, 100), (1, 1), Some((OneWay, 0))),
        ((120, 99), (0, 0), None),
        // 2 of 200 are practically none, and 3 are not.
        ((100, 0), (100, 0), Some((Unpaired, 0))),
        ((100, 2), (100, 0), Some((Unpaired, 0))),
        ((100, 1), (100, 1), Some((Unpaired, 0))),
        ((100, 0), (100, 2), Some((Unpaired, 1))),
        ((100, 3), (100, 0), None),
        ((50, 0), (49, 0), None),
    ];
    let report = |ways: [(u64, u64); 2], times: [(u64, u64); 2]| {
        // Paths as the observer makes them, with other counts.
        let mut report = observe(
            &options(2, 10, 0, 1 << 40),
            &[seen(0, 1, 1_000), seen(1, 2, 1_000), seen(1, 1, 1_001), seen(0, 2, 1_001)],
        );
        for path in &mut report.paths {
            let (sent, arrived) = ways[number(path.from)];
            (path.sent, path.lost, path.lost_max) = (sent, sent - arrived, sent - arrived);
        }
        report.vantages = (0..2)
            .map(|at| VantageReport {
                name: name(at),
                sightings: 1,
                first_ns: times[at].0,
                last_ns: times[at].1,
                repeats: 0,
                missed: 0,
                capture_dropped: None,
                clock: None,
            })
            .collect();
        report
    };
    for (there, back, expected) in cases {
        let hints = report([there, back], [(1, 9), (5, 10)]).clock_hints();
        let expected = expected.map(|(doubt, at)| ClockHint { a: name(at), b: name(1 - at), doubt });
        assert_eq!(hints, expected.into_iter().collect::<Vec<_>>(), "{there:?} {back:?}");
    }
    // Times that meet overlap.
    for (first, second, apart) in [
        ((1, 10), (10, 20), false),
        ((1, 10), (11, 20), true),
        ((10, 20), (1, 10), false),
        ((10, 20), (1, 9), true),
        ((1, 20), (5, 6), false),
    ] {
        let hints = report([(50, 50), (50, 50)], [first, second]).clock_hints();
        let doubts: Vec<ClockDoubt> = hints.iter().map(|hint| hint.doubt).collect();
        assert_eq!(doubts, if apart { vec![Apart] } else { vec![] }, "{first:?} {second:?}");
    }
}
