//! Promise: what several instances of an observer report, merged in whatever order, is what one would have reported.
//!
//! Replay a failure with `PANTHER_SEED=<the printed seed> cargo test --test it observe::report_merges`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::random::Rng;
use crate::support::states::{random_domain, record};
use panther_events::dedup::{BATCH, Verdict};
use panther_events::domain::{DomainDef, Schema};
use panther_events::emit::{EmitError, Emitter};
use panther_events::event::{Domain, Identity, Level, Record, Symbol, Value};
use panther_events::observe::history::{History, HistoryReport};
use panther_events::observe::results::{Results, ResultsReport};
use panther_events::observe::state::{EntityState, StateOptions, StateReport, States};
use panther_events::observe::{Batch, Interest, Observer, Report, Undelivered};
use panther_events::paths::{PathReport, Sightings, SightingsOptions, SightingsReport, VantageReport};
use panther_events::pipeline::{Builder, PipelineOptions, Topology};
use std::collections::BTreeMap;

fn feed<O: Observer>(observer: &mut O, records: &[Record]) {
    for records in records.chunks(BATCH) {
        // What cannot be taken is in the report.
        let _ = observer.observe(&Batch::new(records, &[Verdict::New; BATCH], u64::MAX));
    }
}

/// Merges the reports in the order of their numbers, and against it.
fn merges<R: Report>(reports: impl Fn() -> Vec<R>) -> [R; 2] {
    let merge = |reports: Vec<R>| {
        let mut reports = reports.into_iter();
        let mut merged = reports.next().unwrap();
        reports.for_each(|report| merged.merge(report));
        merged
    };
    let mut backward = reports();
    backward.reverse();
    [merge(reports()), merge(backward)]
}

/// Shares records out by entity: all of one go to one instance.
fn shares(rng: &mut Rng, records: &[Record], instances: u64) -> Vec<Vec<Record>> {
    let mut shares = vec![Vec::new(); instances as usize];
    let mut homes: BTreeMap<u64, usize> = BTreeMap::new();
    for record in records {
        let home = *homes.entry(record.entity().bits()).or_insert_with(|| rng.below(instances) as usize);
        shares[home].push(*record);
    }
    shares
}

fn states(schema: &Schema, options: StateOptions, records: &[Record]) -> States {
    let mut observer = States::new(schema, &Default::default(), &Default::default(), options);
    feed(&mut observer, records);
    observer
}

/// What a report of states says, in an order of its own.
fn said(report: &StateReport) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut entities: Vec<EntityState> = report.entities().collect();
    entities.sort_by_key(|entity| (entity.domain, entity.entity));
    let counts: Vec<_> = report
        .domains()
        .iter()
        .map(|d| (d.domain, d.by_state.clone(), d.moved, d.unchanged, d.invalid))
        .collect();
    let invalid = report.invalid().to_vec();
    let totals =
        (report.entities_total(), report.invalid_total(), report.workflow().span_ns, report.by_state());
    (entities, counts, invalid, totals)
}

#[test]
fn states_of_several_instances_are_those_of_one() {
    let seed = crate::support::random::seed();
    let mut rng = Rng::new(seed);
    for round in 0..40 {
        let domains: Vec<DomainDef> = (0..2).map(|number| random_domain(&mut rng, number)).collect();
        let mut schema = Schema::new();
        domains.iter().for_each(|domain| schema.register(domain).unwrap());
        let records: Vec<Record> = (0..400)
            .map(|_| {
                let domain = &domains[rng.below(2) as usize];
                let kind = domain.kinds[rng.below(domain.kinds.len() as u64) as usize].kind;
                let mut payload = [0; 24];
                payload[0] = rng.below(2) as u8;
                let entity = Symbol::from_bits(1 + rng.below(30));
                // Times come in any order, and all differ.
                record(kind, Identity::Content, rng.next() >> 1, entity, payload)
            })
            .collect();
        // All invalid ones that are kept, and fewer: the first in each instance, and then the earliest.
        let options = StateOptions { invalid_max: 1_000, ..StateOptions::default() };
        let instances = 2 + rng.below(3);
        let shares = shares(&mut rng, &records, instances);
        let whole = states(&schema, options, &records).report();
        let label = format!("round {round} seed {seed}");
        let mut expected = whole.invalid().to_vec();
        expected.sort_by_key(|invalid| invalid.time_ns);
        for merged in merges(|| shares.iter().map(|share| states(&schema, options, share).report()).collect())
        {
            assert_eq!(merged.invalid(), expected, "{label}");
            // A single instance keeps them as they come.
            let (mut found, mut wanted) = (format!("{:?}", said(&merged)), format!("{:?}", said(&whole)));
            let invalid = |report: &StateReport| format!("{:?}", report.invalid());
            found = found.replace(&invalid(&merged), "");
            wanted = wanted.replace(&invalid(&whole), "");
            assert_eq!(found, wanted, "{label}");
        }
        let few = StateOptions { invalid_max: 3, entities_max: 4, ..StateOptions::default() };
        let mut untracked = 0;
        let mut kept = Vec::new();
        for share in &shares {
            let report = states(&schema, few, share).report();
            kept.extend(report.invalid().to_vec());
            let mut known = Vec::new();
            for record in share {
                let key = (record.kind().domain(), record.entity());
                if !known.contains(&key) && known.len() == 4 {
                    untracked += 1;
                } else if !known.contains(&key) {
                    known.push(key);
                }
            }
        }
        kept.sort_by_key(|invalid| invalid.time_ns);
        kept.truncate(3);
        for merged in merges(|| shares.iter().map(|share| states(&schema, few, share).report()).collect()) {
            assert_eq!((merged.untracked(), merged.invalid()), (untracked, &*kept), "{label}");
        }
    }
}

/// Keeps all records.
#[derive(Clone, Default)]
struct Capture(Vec<Record>);

impl Report for Capture {
    fn merge(&mut self, other: Capture) {
        self.0.extend(other.0);
    }
}

impl Observer for Capture {
    type Report = Capture;

    fn interest(&self) -> Interest {
        Interest::ALL
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        self.0.extend(batch.iter().map(|(record, _)| *record));
        Ok(())
    }

    fn report(&self) -> Capture {
        self.clone()
    }
}

/// Something happens in one of a few tests.
fn act(emitter: &mut Emitter, rng: &mut Rng, time_ns: u64) -> Result<(), EmitError> {
    let test = &*format!("t{}", rng.below(4));
    let step = &*format!("{test}-s{}", rng.below(3));
    let assertion = &*format!("{step}-a{}", rng.below(2));
    let mut emitter = emitter.within(Level::Test, test).unwrap();
    match rng.below(14) {
        0 => emitter.test(test).at(time_ns).setup_started(Value::Null, Default::default()),
        1 => emitter.test(test).at(time_ns).step_started(step, Default::default()),
        2 => emitter.test(test).at(time_ns).step_completed(step, Default::default()),
        3 => emitter.test(test).at(time_ns).step_failed(step, "boom", Default::default()),
        4 => emitter.test(test).at(time_ns).assertion_checked("equal", rng.below(4) > 0, Default::default()),
        5 => emitter.test(test).at(time_ns).completed(test, Default::default()),
        6 | 7 => emitter.step(step).at(time_ns).execution_started(Value::Null, step, Default::default()),
        8 => emitter.step(step).at(time_ns).execution_completed(step, Default::default()),
        9 => emitter.step(step).at(time_ns).execution_failed("own", 0, step, Default::default()),
        10 => emitter.step(step).at(time_ns).skipped("not today", step, Default::default()),
        11 => {
            let mut emitter = emitter.within(Level::Step, step).unwrap();
            emitter.assertion(assertion).at(time_ns).validation_started(assertion, Default::default())
        }
        _ => {
            let mut emitter = emitter.within(Level::Step, step).unwrap();
            let passed = rng.below(2) == 0;
            emitter.assertion(assertion).at(time_ns).result(passed, "slow", assertion, Default::default())
        }
    }
}

#[test]
fn results_of_several_instances_are_those_of_one() {
    let seed = crate::support::random::seed();
    let mut rng = Rng::new(seed);
    for round in 0..60 {
        let mut builder =
            Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
        let key = builder.observer("capture", |_| Capture::default());
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("runner").unwrap();
        emitter.enter(Level::Experiment, "exp").unwrap();
        for time_ns in 1..150 {
            act(&mut emitter, &mut rng, time_ns).unwrap();
        }
        drop(emitter);
        let snapshot = pipeline.shutdown();
        let records = &snapshot.report(key).unwrap().0;
        let results = |records: &[Record], limit: usize| -> ResultsReport {
            let results = Results::new(&snapshot.schema, &snapshot.symbols, &snapshot.contexts);
            let mut results = results.with_limit(limit);
            let of_interest = |record: &&Record| results.interest().kinds.contains(record.kind());
            let records: Vec<Record> = records.iter().filter(of_interest).copied().collect();
            feed(&mut results, &records);
            results.report()
        };
        let instances = 2 + rng.below(3);
        let shares = shares(&mut rng, records, instances);
        let whole = results(records, usize::MAX).tree();
        assert!(whole.checks_tally().total() > 0 && whole.all_assertions().count() > 0);
        for merged in merges(|| shares.iter().map(|share| results(share, usize::MAX)).collect()) {
            assert_eq!(merged.tree(), whole, "round {round} seed {seed}");
            assert_eq!(merged.untracked(), 0);
        }
        let untracked: u64 = shares.iter().map(|share| results(share, 2).untracked()).sum();
        assert!(untracked > 0);
        for merged in merges(|| shares.iter().map(|share| results(share, 2)).collect()) {
            assert_eq!(merged.untracked(), untracked, "round {round} seed {seed}");
        }
    }
}

fn vantage(name: Symbol, sightings: u64, first_ns: u64, last_ns: u64) -> VantageReport {
    let (repeats, missed, capture_dropped, clock) = (sightings / 2, sightings / 3, None, None);
    VantageReport { name, sightings, first_ns, last_ns, repeats, missed, capture_dropped, clock }
}

/// A path with these delays, and its counts.
fn path(
    from: Symbol,
    to: Symbol,
    delays: &[u64],
    [lost, duplicated, reordered, clamped]: [u64; 4],
) -> PathReport {
    use bytemuck::Zeroable;
    use panther_events::domain::packet::PacketSeen;
    // An empty one, as the observer makes it.
    let options = SightingsOptions { vantages: vec![from, to], ..SightingsOptions::default() };
    let mut observer = Sightings::new(&options);
    let payload = PacketSeen { vantage: from, ..PacketSeen::zeroed() };
    let id = panther_events::event::EventId::digest(b"one");
    feed(&mut observer, &[Record::with_digest(id, 1, Symbol::NONE, &payload)]);
    observer.flush().unwrap();
    let mut path = observer.report().paths.remove(0);
    assert_eq!((path.from, path.to, path.lost), (from, to, 1));
    (path.sent, path.lost, path.lost_max) = (delays.len() as u64 + lost, lost, lost);
    path.delays.count = delays.len() as u64;
    (path.duplicated, path.reordered, path.delays.clamped) = (duplicated, reordered, clamped);
    delays.iter().for_each(|delay| path.delays.histogram.record(*delay).unwrap());
    (path.delays.min_ns, path.delays.max_ns) = (delays.iter().min().copied(), delays.iter().max().copied());
    path.delays.sum_ns = delays.iter().map(|delay| u128::from(*delay)).sum();
    path
}

#[test]
fn sightings_merge_path_by_path_and_figure_by_figure() {
    let seed = crate::support::random::seed();
    let mut rng = Rng::new(seed);
    let name = |n: u64| Symbol::of(&format!("vantage-{n}"));
    for round in 0..200 {
        let count = 2 + rng.below(3) as usize;
        let mut parts: Vec<SightingsReport> = Vec::new();
        let mut totals = [0_u64; 9];
        let mut paths: BTreeMap<(Symbol, Symbol), (Vec<u64>, [u64; 4])> = BTreeMap::new();
        let mut vantages: BTreeMap<Symbol, (u64, u64, u64)> = BTreeMap::new();
        for _ in 0..count {
            let figures: [u64; 9] = std::array::from_fn(|_| rng.below(1_000));
            totals.iter_mut().zip(figures).for_each(|(total, figure)| *total += figure);
            let [flows, pending, remembered, waiting, late, unpaired, refused, ambiguous, outliers] = figures;
            let mut part = SightingsReport {
                flows,
                pending,
                remembered,
                waiting,
                late,
                unpaired,
                refused,
                ambiguous,
                outliers,
                ..SightingsReport::default()
            };
            for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 1)] {
                if rng.below(3) == 0 {
                    continue;
                }
                let delays: Vec<u64> = (0..rng.below(4)).map(|_| rng.next() >> rng.below(60)).collect();
                let counts: [u64; 4] = std::array::from_fn(|_| rng.below(1_000));
                let known = paths.entry((name(from), name(to))).or_default();
                known.0.extend(&delays);
                known.1.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
                part.paths.push(path(name(from), name(to), &delays, counts));
            }
            for at in 0..3 {
                if rng.below(3) == 0 {
                    continue;
                }
                let (sightings, one, other) = (1 + rng.below(1_000), rng.next(), rng.next());
                let (first_ns, last_ns) = (one.min(other), one.max(other));
                let known = vantages.entry(name(at)).or_insert((0, u64::MAX, 0));
                *known = (known.0 + sightings, known.1.min(first_ns), known.2.max(last_ns));
                part.vantages.push(vantage(name(at), sightings, first_ns, last_ns));
            }
            parts.push(part);
        }
        for merged in merges(|| parts.clone()) {
            let label = format!("round {round} seed {seed}");
            let SightingsReport { flows, pending, remembered, waiting, late, .. } = merged;
            let SightingsReport { unpaired, refused, ambiguous, outliers, .. } = merged;
            let found = [flows, pending, remembered, waiting, late, unpaired, refused, ambiguous, outliers];
            assert_eq!(found, totals, "{label}");
            let found: BTreeMap<Symbol, (u64, u64, u64)> =
                merged.vantages.iter().map(|v| (v.name, (v.sightings, v.first_ns, v.last_ns))).collect();
            assert_eq!((found.len(), &found), (merged.vantages.len(), &vantages), "{label}");
            assert_eq!(merged.paths.len(), paths.len(), "{label}");
            for found in &merged.paths {
                let (delays, counts) = &paths[&(found.from, found.to)];
                let expected = path(found.from, found.to, delays, *counts);
                let histogram = |path: &PathReport| -> Vec<(u64, u64)> {
                    let steps = path.delays.histogram.iter_recorded();
                    steps.map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
                };
                assert_eq!(histogram(found), histogram(&expected), "{label}");
                let figures = |path: &PathReport| {
                    let counts = [path.sent, path.lost, path.duplicated, path.reordered, path.delays.clamped];
                    let delays = (
                        path.delays.min_ns,
                        path.delays.max_ns,
                        path.delays.sum_ns,
                        path.delays.histogram.len(),
                    );
                    (counts, delays, path.arrivals())
                };
                assert_eq!(figures(found), figures(&expected), "{label}");
                assert_eq!(found.delays.histogram.len(), delays.len() as u64, "{label}");
            }
        }
    }
}

#[test]
fn histories_of_events_of_one_time_hold_the_last_ones() {
    let seed = crate::support::random::seed();
    let mut rng = Rng::new(seed);
    let kind = panther_events::event::EventKind::new(Domain::PACKET, 0);
    for round in 0..300 {
        let capacity = rng.below(20) as usize;
        let mut time_ns = 0;
        let records: Vec<Record> = (0..rng.below(60))
            .map(|number| {
                // Most of them at one time.
                time_ns += u64::from(rng.below(3) == 0);
                record(kind, Identity::Content, time_ns, Symbol::from_bits(number), [0; 24])
            })
            .collect();
        let instances = 1 + rng.below(3) as usize;
        let mut histories: Vec<History> = (0..instances).map(|_| History::new(capacity)).collect();
        for record in &records {
            feed(&mut histories[rng.below(instances as u64) as usize], &[*record]);
        }
        let expected: Vec<u64> =
            records[records.len().saturating_sub(capacity)..].iter().map(Record::time_ns).collect();
        // Beside those of the instances, one of an instance that was never asked.
        let reports = || {
            let of_instances = histories.iter().map(Observer::report);
            std::iter::once(HistoryReport::default()).chain(of_instances).collect()
        };
        for merged in merges(reports) {
            let label = format!("round {round} seed {seed}");
            let times: Vec<u64> = merged.iter().map(Record::time_ns).collect();
            assert_eq!((times, merged.len()), (expected.clone(), expected.len()), "{label}");
            assert_eq!(merged.forgotten() as usize, records.len() - expected.len(), "{label}");
            let mut held: Vec<u64> = merged.iter().map(|record| record.entity().bits()).collect();
            held.sort_unstable();
            held.dedup();
            assert_eq!(held.len(), expected.len(), "{label}: one is held twice");
        }
    }
}

#[cfg(feature = "channel")]
#[test]
fn channels_add_up_count_by_count() {
    use panther_events::observe::channel::ChannelReport;
    let one = |times| ChannelReport {
        sent: times,
        lost: 10 * times,
        sent_duplicates: 100 * times,
        lost_duplicates: 1_000 * times,
    };
    assert_eq!(merges(|| vec![one(1), one(2), one(4)]), [one(7), one(7)]);
}

#[cfg(feature = "log")]
#[test]
fn logs_add_up_count_by_count() {
    use panther_events::observe::log::LogReport;
    let one =
        |times| LogReport { lines: times, batched: 10 * times, unwanted: 100 * times, cut: 1_000 * times };
    assert_eq!(merges(|| vec![one(1), one(2), one(4)]), [one(7), one(7)]);
}
