//! Promise: every value that a result file holds is the one that was found, under its own name, in its own unit.
//!
//! All inputs differ from each other, so that no figure can stand in the place of another, and what is expected is
//! reckoned here from the values themselves.
#![cfg(all(feature = "json", feature = "openmetrics"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use bytemuck::Zeroable;
use hdrhistogram::Histogram;
use panther_events::dedup::{DedupStats, Verdict};
use panther_events::domain::packet::PacketSeen;
use panther_events::event::{Domain, EventId, EventKind, Field, FieldType, Payload, Record, Symbol};
use panther_events::export::from_snapshot::{InputCounts, write_exposition};
use panther_events::export::summary::Summary;
use panther_events::observe::metrics::{KindCount, Measure, MetricsReport, Unit};
use panther_events::observe::{Batch, Observer};
use panther_events::paths::{PathReport, Sightings, SightingsOptions, SightingsReport};
use panther_events::pipeline::{Account, Delivery, Further, Pipeline, Snapshot};
use panther_events::process::Processing;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// Gives numbers of which none comes twice, none the double of another.
struct Distinct(u64);

impl Distinct {
    fn next(&mut self) -> u64 {
        self.0 += 7;
        1_000_003 * self.0 + 11
    }
}

fn snapshot(numbers: &mut Distinct) -> Snapshot {
    let mut next = || numbers.next();
    let mut snapshot = Pipeline::builder().start().unwrap().shutdown();
    let delivery = |next: &mut dyn FnMut() -> u64| Delivery {
        handled: next(),
        skipped: next(),
        failed: next(),
        duplicates: next(),
    };
    let processing = |next: &mut dyn FnMut() -> u64| Processing {
        seen: next(),
        derived: next(),
        rejected: next(),
        failed: next(),
        panicked: next(),
    };
    snapshot.account = Account {
        offered: next(),
        accepted: next(),
        dropped_full: next(),
        rejected: next(),
        unique: next(),
        duplicates: next(),
        in_flight: next(),
        observers: vec![("first".into(), delivery(&mut next)), ("second".into(), delivery(&mut next))],
        further_observers: Further { observers: next(), delivery: delivery(&mut next) },
        processors: vec![("one".into(), processing(&mut next)), ("other".into(), processing(&mut next))],
    };
    snapshot.dedup = DedupStats {
        remembered: next(),
        forgotten: next(),
        late: next(),
        wild: next(),
        epochs: next(),
        memory_bytes: next() as usize,
        huge_page_bytes: next() as usize,
        filter_negatives: next(),
        filter_false_positives: next(),
        growths: next(),
        growth_failures: next(),
        overflowed: next(),
        spilled_ids: next(),
        spilled_bytes: next(),
        cold_hits: next(),
        spill_write_failures: next(),
        spill_read_failures: next(),
    };
    snapshot.warnings = vec!["something went wrong".into()];
    snapshot
}

/// The greatest value that a histogram of three digits does not tell from `value`.
fn upper(value: u64) -> u64 {
    let kept = 64 - value.leading_zeros().min(64 - 11);
    value | ((1 << (kept - 11)) - 1)
}

/// The value of the nearest rank, to three digits.
fn quantile(values: &[u64], q: f64) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = ((q * sorted.len() as f64).round() as usize).clamp(1, sorted.len().max(1));
    sorted.get(rank - 1).map(|value| upper(*value))
}

fn histogram(values: &[u64]) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).unwrap();
    values.iter().for_each(|value| histogram.record(*value).unwrap());
    histogram
}

/// A path and the delays of what arrived.
fn path(numbers: &mut Distinct, from: Symbol, to: Symbol, delays: &[u64]) -> PathReport {
    let options = SightingsOptions { vantages: vec![from, to], ..SightingsOptions::default() };
    let mut observer = Sightings::new(&options);
    let payload = PacketSeen { vantage: from, ..PacketSeen::zeroed() };
    let record = Record::with_digest(EventId::digest(b"one"), 1, Symbol::NONE, &payload);
    observer.observe(&Batch::new(&[record], &[Verdict::New], 1)).unwrap();
    observer.flush().unwrap();
    let mut path = observer.report().paths.remove(0);
    (path.lost, path.beyond_horizon) = (numbers.next(), numbers.next());
    path.lost_max = path.lost + numbers.next();
    path.sent = delays.len() as u64 + path.lost_max + path.beyond_horizon;
    (path.undetermined, path.outside, path.unseen) = (numbers.next(), numbers.next(), numbers.next());
    path.delays.count = delays.len() as u64;
    (path.duplicated, path.reordered, path.delays.clamped) = (numbers.next(), numbers.next(), numbers.next());
    path.delays.histogram = histogram(delays);
    (path.delays.min_ns, path.delays.max_ns) = (delays.iter().min().copied(), delays.iter().max().copied());
    path.delays.sum_ns = delays.iter().map(|delay| u128::from(*delay)).sum();
    path
}

/// Delays of which all quantiles differ.
fn delays(count: u64, scale: u64) -> Vec<u64> {
    (1..=count).map(|n| n * n * scale + n).rev().collect()
}

struct Found {
    snapshot: Snapshot,
    sightings: SightingsReport,
    /// By path: names, and delays.
    ways: Vec<(&'static str, &'static str, Vec<u64>)>,
}

fn found(numbers: &mut Distinct) -> Found {
    let snapshot = snapshot(numbers);
    let ways = vec![
        ("client", "server", delays(1_700, 9)),
        ("server", "client", delays(7, 1_000_000)),
        ("client", "tap", vec![]),
        // Their mean is nearer to the number above.
        ("tap", "server", vec![3, 4, 4]),
    ];
    let paths = ways.iter().map(|(from, to, delays)| {
        let [from, to] = [from, to].map(|name| snapshot.symbols.intern(name).unwrap());
        path(numbers, from, to, delays)
    });
    let paths = paths.collect();
    let sightings = SightingsReport {
        paths,
        flows: numbers.next(),
        pending: numbers.next(),
        remembered: numbers.next(),
        waiting: numbers.next(),
        late: numbers.next(),
        unpaired: numbers.next(),
        refused: numbers.next(),
        ambiguous: numbers.next(),
        outliers: numbers.next(),
        ..SightingsReport::default()
    };
    Found { snapshot, sightings, ways }
}

/// Samples by name and labels, as they stand there.
#[derive(Default)]
struct Samples(BTreeMap<String, f64>);

impl Samples {
    fn add(&mut self, name: impl Into<String>, value: f64) {
        let name = name.into();
        assert_eq!(self.0.insert(name.clone(), value), None, "{name} comes twice");
    }

    fn parse(text: &str) -> Samples {
        let mut samples = Samples::default();
        let body = text.strip_suffix("# EOF\n").unwrap();
        for line in body.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            samples.add(name, value.parse().unwrap());
        }
        samples
    }

    fn add_summary(&mut self, family: &str, labels: &str, values: &[u64], scale: f64) {
        for q in [0.5, 0.9, 0.99, 0.999] {
            if let Some(value) = quantile(values, q) {
                self.add(format!("{family}{{{labels},quantile=\"{q}\"}}"), value as f64 * scale);
            }
        }
        let sum: u128 = values.iter().map(|value| u128::from(*value)).sum();
        self.add(format!("{family}_count{{{labels}}}"), values.len() as f64);
        self.add(format!("{family}_sum{{{labels}}}"), sum as f64 * scale);
    }
}

fn assert_same(found: &Samples, expected: &Samples) {
    let names = |samples: &Samples| samples.0.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected));
    for (name, value) in &expected.0 {
        let there = found.0[name];
        assert!((there - value).abs() <= value.abs() * 1e-12, "{name}: {there}, expected {value}");
    }
}

#[test]
fn metrics_om_holds_every_figure_under_its_name_in_its_unit() {
    let mut numbers = Distinct(0);
    let Found { snapshot, sightings, ways } = found(&mut numbers);
    let mut next = || numbers.next();
    let counts = [("left", [next(), next(), next()]), ("right", [next(), next(), next()])];
    let inputs = counts.map(|(vantage, [records, rejected, non_ip])| InputCounts {
        vantage,
        records,
        rejected,
        non_ip,
    });
    const UNKNOWN: EventKind = EventKind::new(Domain::FIRST_USER, 3);
    let kind_counts =
        [(PacketSeen::KIND, "packet.seen", next(), next()), (UNKNOWN, "unknown", next(), next())];
    let field = |name: &'static str| Field { name: name.into(), ty: FieldType::U64, offset: 0 };
    let measured = [
        (PacketSeen::KIND, "packet.seen", "wire_len_bytes", Unit::Bytes, delays(900, 1)),
        (PacketSeen::KIND, "packet.seen", "age_ns", Unit::Nanoseconds, delays(1_100, 77_777)),
        (UNKNOWN, "unknown", "rtt_ns", Unit::Nanoseconds, vec![3_000_000_000]),
        (UNKNOWN, "unknown", "queue_bytes", Unit::Bytes, vec![]),
    ];
    let metrics = MetricsReport {
        kinds: kind_counts.map(|(kind, _, new, duplicates)| KindCount { kind, new, duplicates }).to_vec(),
        measures: measured
            .iter()
            .map(|(kind, _, name, unit, values)| Measure {
                kind: *kind,
                field: field(name),
                unit: *unit,
                histogram: histogram(values),
                sum: values.iter().map(|value| u128::from(*value)).sum(),
                refused: 5,
            })
            .collect(),
    };
    let mut text = Vec::new();
    write_exposition(&mut text, &snapshot, &inputs, Some(&metrics), Some(&sightings)).unwrap();
    let text = String::from_utf8(text).unwrap();

    let mut expected = Samples::default();
    expected.add(format!("panther_events_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1.0);
    for (vantage, counts) in counts {
        for (name, count) in ["records", "rejected", "non_ip"].into_iter().zip(counts) {
            expected.add(format!("panther_input_{name}_total{{vantage=\"{vantage}\"}}"), count as f64);
        }
    }
    let account = &snapshot.account;
    for (name, count) in [
        ("offered", account.offered),
        ("accepted", account.accepted),
        ("dropped_full", account.dropped_full),
        ("rejected", account.rejected),
        ("unique", account.unique),
        ("duplicates", account.duplicates),
    ] {
        expected.add(format!("panther_events_{name}_total"), count as f64);
    }
    expected.add("panther_events_in_flight", account.in_flight as f64);
    for (observer, delivery) in &account.observers {
        let outcomes =
            [("handled", delivery.handled), ("skipped", delivery.skipped), ("failed", delivery.failed)];
        for (outcome, count) in outcomes {
            let labels = format!("observer=\"{observer}\",outcome=\"{outcome}\"");
            expected.add(format!("panther_events_observed_total{{{labels}}}"), count as f64);
        }
    }
    let further = &account.further_observers.delivery;
    let outcomes = [("handled", further.handled), ("skipped", further.skipped), ("failed", further.failed)];
    for (outcome, count) in outcomes {
        let name = format!("panther_events_observed_further_total{{outcome=\"{outcome}\"}}");
        expected.add(name, count as f64);
    }
    let dedup = &snapshot.dedup;
    for (name, count) in [
        ("remembered", dedup.remembered),
        ("memory_bytes", dedup.memory_bytes as u64),
        ("forgotten_total", dedup.forgotten),
        ("late_total", dedup.late),
        ("wild_total", dedup.wild),
        ("spill_failures_total{operation=\"read\"}", dedup.spill_read_failures),
        ("spill_failures_total{operation=\"write\"}", dedup.spill_write_failures),
        ("filter_negatives_total", dedup.filter_negatives),
        ("filter_false_positives_total", dedup.filter_false_positives),
    ] {
        expected.add(format!("panther_dedup_{name}"), count as f64);
    }
    for (_, kind, new, duplicates) in kind_counts {
        for (verdict, count) in [("new", new), ("duplicate", duplicates)] {
            let labels = format!("kind=\"{kind}\",verdict=\"{verdict}\"");
            expected.add(format!("panther_events_by_kind_total{{{labels}}}"), count as f64);
        }
    }
    for (_, kind, field, unit, values) in &measured {
        let labels = format!("kind=\"{kind}\",field=\"{field}\"");
        match unit {
            Unit::Nanoseconds => expected.add_summary("panther_payload_seconds", &labels, values, 1e-9),
            Unit::Bytes => expected.add_summary("panther_payload_bytes", &labels, values, 1.0),
        }
    }
    for ((from, to, delays), path) in ways.iter().zip(&sightings.paths) {
        let labels = format!("from=\"{from}\",to=\"{to}\"");
        for (name, count) in [
            ("sent", path.sent),
            ("lost", path.lost),
            ("lost_max", path.lost_max),
            ("undetermined", path.undetermined),
            ("outside", path.outside),
            ("unseen", path.unseen),
            ("beyond_horizon", path.beyond_horizon),
            ("duplicated", path.duplicated),
            ("reordered", path.reordered),
        ] {
            expected.add(format!("panther_path_{name}_total{{{labels}}}"), count as f64);
        }
        expected.add_summary("panther_path_delay_seconds", &labels, delays, 1e-9);
    }
    for (name, count) in [
        ("late", sightings.late),
        ("refused", sightings.refused),
        ("unpaired", sightings.unpaired),
        ("ambiguous", sightings.ambiguous),
        ("outliers", sightings.outliers),
        ("clamped", sightings.paths.iter().map(|path| path.delays.clamped).sum()),
    ] {
        expected.add(format!("panther_sightings_{name}_total"), count as f64);
    }
    assert_same(&Samples::parse(&text), &expected);

    // A unit that is said is the one that the values are in, and each type has its samples.
    let units: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# UNIT ")).collect();
    let told = [
        "panther_dedup_memory_bytes bytes",
        "panther_payload_seconds seconds",
        "panther_payload_bytes bytes",
        "panther_path_delay_seconds seconds",
    ];
    assert_eq!(units, told);
    let of_type = |kind: &str| -> Vec<&str> {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|line| line.strip_suffix(kind)).map(str::trim_end).collect()
    };
    let gauges = ["panther_events_in_flight", "panther_dedup_remembered", "panther_dedup_memory_bytes"];
    assert_eq!(of_type(" gauge"), gauges);
    assert_eq!(
        of_type(" summary"),
        ["panther_payload_seconds", "panther_payload_bytes", "panther_path_delay_seconds"]
    );
    assert_eq!(of_type(" info"), ["panther_events_build"]);

    // Without inputs, measures and paths, there is nothing of them.
    let mut bare = Vec::new();
    write_exposition(&mut bare, &snapshot, &[], None, None).unwrap();
    expected.0.retain(|name, _| {
        ![
            "panther_input_",
            "panther_events_by_kind",
            "panther_payload_",
            "panther_path_",
            "panther_sightings_",
        ]
        .iter()
        .any(|part| name.starts_with(part))
    });
    assert_same(&Samples::parse(&String::from_utf8(bare).unwrap()), &expected);
}

#[test]
fn summary_json_holds_every_figure_under_its_name() {
    let mut numbers = Distinct(100);
    let Found { snapshot, sightings, ways } = found(&mut numbers);
    let mut summary = Summary::new(&snapshot, "inline", 2.5);
    summary.add_sightings(&sightings, &snapshot, Some(82));
    let mut text = Vec::new();
    summary.write(&mut text).unwrap();
    let found: Value = serde_json::from_slice(&text).unwrap();
    let (account, dedup) = (&snapshot.account, &snapshot.dedup);
    let observers: HashMap<&str, Value> = account
        .observers
        .iter()
        .map(|(name, d)| {
            let counts = json!({
                "handled": d.handled, "skipped": d.skipped, "failed": d.failed, "duplicates": d.duplicates,
            });
            (&**name, counts)
        })
        .collect();
    let processors: HashMap<&str, Value> = account
        .processors
        .iter()
        .map(|(name, p)| {
            let counts =
                json!({ "seen": p.seen, "derived": p.derived, "rejected": p.rejected, "failed": p.failed, "panicked": p.panicked });
            (&**name, counts)
        })
        .collect();
    let further = &account.further_observers.delivery;
    assert_eq!(
        found["accounting"],
        json!({
            "offered": account.offered, "accepted": account.accepted, "dropped_full": account.dropped_full,
            "rejected": account.rejected, "unique": account.unique, "duplicates": account.duplicates,
            "in_flight": account.in_flight, "observers": observers, "processors": processors,
            "further_observers": {
                "observers": account.further_observers.observers, "handled": further.handled,
                "skipped": further.skipped, "failed": further.failed, "duplicates": further.duplicates,
            },
        })
    );
    assert_eq!(
        found["dedup"],
        json!({
            "remembered": dedup.remembered, "forgotten": dedup.forgotten, "late": dedup.late, "wild": dedup.wild,
            "memory_bytes": dedup.memory_bytes, "huge_page_bytes": dedup.huge_page_bytes,
            "filter_negatives": dedup.filter_negatives,
            "filter_false_positives": dedup.filter_false_positives,
            "spilled_ids": dedup.spilled_ids, "spilled_bytes": dedup.spilled_bytes,
            "spill_read_failures": dedup.spill_read_failures,
            "spill_write_failures": dedup.spill_write_failures,
            "growth_failures": dedup.growth_failures, "overflowed": dedup.overflowed,
        })
    );
    let packets = &found["packets"];
    for (name, count) in [
        ("flows", sightings.flows),
        ("digest_bytes", 82),
        ("late", sightings.late),
        ("outliers", sightings.outliers),
        ("ambiguous", sightings.ambiguous),
        ("unpaired", sightings.unpaired),
        ("refused", sightings.refused),
    ] {
        assert_eq!(packets[name], count, "{name}");
    }
    assert_eq!(packets["paths"].as_array().unwrap().len(), 4);
    for (at, ((from, to, delays), path)) in ways.iter().zip(&sightings.paths).enumerate() {
        let found = &packets["paths"][at];
        assert_eq!((&found["from"], &found["to"]), (&json!(from), &json!(to)));
        for (name, count) in [
            ("sent", path.sent),
            ("lost", path.lost),
            ("lost_max", path.lost_max),
            ("undetermined", path.undetermined),
            ("outside", path.outside),
            ("unseen", path.unseen),
            ("beyond_horizon", path.beyond_horizon),
            ("duplicated", path.duplicated),
            ("reordered", path.reordered),
        ] {
            assert_eq!(found[name], count, "{from} {name}");
        }
        // A bucket may reach beyond the largest delay; no quantile does.
        let max = delays.iter().max().copied();
        let quantile = |q| quantile(delays, q).map(|value| value.min(max.unwrap()));
        let sum: u128 = delays.iter().map(|delay| u128::from(*delay)).sum();
        let count = delays.len() as u128;
        // Rounded to the nearest.
        let mean = (count > 0).then(|| (2 * sum + count) / (2 * count.max(1)));
        assert_eq!(
            found["delay_ns"],
            json!({
                "count": delays.len(), "min": delays.iter().min(), "p50": quantile(0.5),
                "p90": quantile(0.9), "p99": quantile(0.99), "p999": quantile(0.999), "max": max,
                "mean": mean.map(|mean| mean as u64),
            })
        );
    }
    let throughput = &found["throughput"];
    assert_eq!((&throughput["events"], &throughput["seconds"]), (&json!(account.offered), &json!(2.5)));
    assert_eq!(throughput["events_per_second"], json!(account.offered as f64 / 2.5));
    assert_eq!(
        (&found["topology"], &found["version"]),
        (&json!("inline"), &json!(env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(found["schema"], "panther-events/summary/1");

    // Each doubt has one warning, with its number; and none where there is no doubt.
    let warnings = |summary: &Summary| -> Vec<String> { summary.warnings.clone() };
    assert_eq!(warnings(&summary)[0], "something went wrong");
    let clamped: u64 = sightings.paths.iter().map(|path| path.delays.clamped).sum();
    for (count, word) in [
        (sightings.late, "too late"),
        (sightings.outliers, "far ahead"),
        (sightings.ambiguous, "identical"),
        (sightings.paths.iter().map(|path| path.beyond_horizon).sum(), "beyond the horizon"),
        (sightings.refused, "more vantage points"),
        (sightings.unpaired, "only one"),
        (clamped, "range"),
    ] {
        let told: Vec<String> =
            warnings(&summary).into_iter().filter(|text| text.starts_with(&format!("{count} "))).collect();
        assert!(told.len() == 1 && told[0].contains(word), "{word}: {told:?}");
    }
    let mut calm = Summary::new(&snapshot, "inline", 0.0);
    calm.add_sightings(&SightingsReport::default(), &snapshot, None);
    assert_eq!(warnings(&calm), ["something went wrong"]);
    let calm = serde_json::to_value(&calm).unwrap();
    assert_eq!(
        (&calm["packets"]["digest_bytes"], &calm["throughput"]["events_per_second"]),
        (&json!(null), &json!(0.0))
    );
    for (name, word) in [("late", "too late"), ("unpaired", "only one"), ("refused", "more vantage points")] {
        let mut report = SightingsReport::default();
        *(match name {
            "late" => &mut report.late,
            "unpaired" => &mut report.unpaired,
            _ => &mut report.refused,
        }) = 1;
        let mut summary = Summary::new(&snapshot, "inline", 0.0);
        summary.add_sightings(&report, &snapshot, None);
        let told = warnings(&summary);
        assert!(told.len() == 2 && told[1].starts_with("1 ") && told[1].contains(word), "{told:?}");
    }
}
