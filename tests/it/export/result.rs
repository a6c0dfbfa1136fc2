//! A whole result directory satisfies other people's readers, and a changed number does not.
//!
//! Needs Python with `prometheus_client` and `hdrhistogram`: `PANTHER_PYTHON` names the interpreter (default
//! `python3`). Without them the test says so and passes; `.ci/run` has them.
#![cfg(all(feature = "json", feature = "openmetrics", feature = "hlog", feature = "csv"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::skip::skip;
use hdrhistogram::Histogram;
use panther_events::dedup::{Sighting, Verdict};
use panther_events::event::{Domain, EventKind, Identity, Origin, Payload, Record, Symbols};
use panther_events::export::csv::{DelayCells, PathRow, write_paths};
use panther_events::export::hlog::{Interval, path_tag, write_hlog};
use panther_events::export::jsonl::EventLines;
use panther_events::export::openmetrics::Exposition;
use panther_events::export::{Overwrite, ResultDir};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

panther_events::payload! {
    struct Seen [EventKind::new(Domain::PACKET, 0)] {
        size_bytes: u64,
    }
}

const START_NS: u64 = 1_700_000_000_123_456_789;
const UNIQUE: u64 = 700;
const DUPLICATES: u64 = 650;
const PATHS: [(&str, &str); 2] = [("client, the \"first\"", "sérver\r->%"), ("b", "=a")];

fn delays(path: usize) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
    for n in 0..DUPLICATES * (1 - path as u64) {
        histogram.record(4_000_000 + n * n * 7).unwrap();
    }
    histogram
}

fn write_result(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let dir = ResultDir::create(path, Overwrite::Force)?;
    let histograms = [delays(0), delays(1)];
    let cells = |h: &Histogram<u64>| DelayCells {
        min_ns: h.min(),
        p50_ns: h.value_at_quantile(0.5),
        p90_ns: h.value_at_quantile(0.9),
        p99_ns: h.value_at_quantile(0.99),
        p999_ns: h.value_at_quantile(0.999),
        max_ns: h.max(),
        mean_ns: h.mean().round() as u64,
    };
    let rows = PATHS.iter().zip(&histograms).map(|((from, to), h)| PathRow {
        from,
        to,
        sent: 700,
        lost: 32,
        beyond_horizon: 3,
        duplicated: 9,
        reordered: 5,
        delay_count: h.len(),
        delay: (!h.is_empty()).then(|| cells(h)),
    });
    let rows: Vec<_> = rows.collect();

    let mut file = dir.file("paths.csv")?;
    write_paths(&mut file, rows.iter().copied())?;
    file.commit()?;

    let tags = PATHS.map(|(from, to)| path_tag(from, to));
    let intervals = tags.iter().zip(&histograms).map(|(tag, histogram)| Interval {
        tag,
        start_ns: START_NS,
        len_ns: 5_000_000_000,
        histogram,
    });
    let mut file = dir.file("delay.hlog")?;
    write_hlog(&mut file, START_NS, intervals)?;
    file.commit()?;

    let counters = [
        ("offered", 1400),
        ("accepted", UNIQUE + DUPLICATES),
        ("dropped_full", 40),
        ("rejected", 10),
        ("unique", UNIQUE),
        ("duplicates", DUPLICATES),
    ];
    let mut file = dir.file("metrics.om")?;
    let mut exposition = Exposition::new(&mut file);
    for (name, value) in counters {
        let mut counter = exposition.counter(&format!("panther_events_{name}"), "Events.", None)?;
        counter.sample(&[("source", "0")], value - 3)?.sample(&[("source", "1")], 3u64)?;
    }
    let mut summary =
        exposition.summary("panther_path_delay_seconds", "One-way \"delay\".\n", Some("seconds"))?;
    for ((from, to), h) in PATHS.iter().zip(&histograms) {
        let quantile = |q: f64| (q, h.value_at_quantile(q) as f64 / 1e9);
        let quantiles = if h.is_empty() { vec![] } else { vec![quantile(0.5), quantile(0.999)] };
        summary.sample(
            &[("from", from), ("to", to)],
            &quantiles,
            h.mean() * h.len() as f64 / 1e9,
            h.len(),
        )?;
    }
    exposition.histogram("size_bytes", "Sizes.", Some("bytes"))?.sample(
        &[],
        &[(64.0, 1), (1e6, 3)],
        3000.0,
        4,
    )?;
    exposition.info("panther_run", "The run.")?.sample(&[("name", "a\"b\\c\nd,e}🦀")])?;
    exposition.gauge("nan", "Any number.", None)?.sample(&[], f64::NAN)?;
    exposition.finish()?;
    file.commit()?;

    let symbols = Symbols::new();
    let mut file = dir.file("events.jsonl")?;
    let mut lines = EventLines::new(&mut file, |_| Some(("packet.seen", Seen::FIELDS)));
    for n in 0..UNIQUE + DUPLICATES {
        let entity = symbols.intern(PATHS[n as usize % 2].0)?;
        let seen = Seen { size_bytes: n % UNIQUE };
        let record = Record::new(Identity::Content, START_NS + n, entity, &seen)
            .numbered(0, n as u32)
            .identified(Origin::from_bits(7));
        let first = Sighting { time_ns: START_NS + n % UNIQUE, source: 0 };
        let verdict = if n < UNIQUE { Verdict::New } else { Verdict::Duplicate { first: Some(first) } };
        lines.write(&record, Some(verdict), &symbols)?;
    }
    file.commit()?;

    let paths = rows.iter().map(|row| {
        let delay = row.delay.map_or(json!({ "count": 0 }), |d| {
            json!({
                "count": row.delay_count, "min": d.min_ns, "p50": d.p50_ns, "p90": d.p90_ns,
                "p99": d.p99_ns, "p999": d.p999_ns, "max": d.max_ns, "mean": d.mean_ns,
            })
        });
        json!({
            "from": row.from, "to": row.to, "sent": row.sent, "lost": row.lost,
            "beyond_horizon": row.beyond_horizon,
            "duplicated": row.duplicated, "reordered": row.reordered, "delay_ns": delay,
        })
    });
    let accounting: serde_json::Map<_, _> =
        counters.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let summary = json!({ "accounting": accounting, "packets": { "paths": paths.collect::<Vec<_>>() } });
    let mut file = dir.file("summary.json")?;
    file.write_all(serde_json::to_string_pretty(&summary)?.as_bytes())?;
    file.commit()?;
    dir.commit()?;
    Ok(())
}

fn python() -> String {
    std::env::var("PANTHER_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn check(dir: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/check_outputs.py");
    Command::new(python()).arg(script).arg(dir).args(["--events", "all"]).output().unwrap()
}

#[test]
fn other_readers_find_the_same_numbers_and_notice_a_changed_one() {
    let modules = Command::new(python()).args(["-c", "import prometheus_client, hdrh.log"]).output();
    if !modules.is_ok_and(|output| output.status.success()) {
        skip("python", &format!("{} has no prometheus_client and hdrhistogram", python()));
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let fresh = |name: &str| {
        let path = temp.path().join(name);
        write_result(&path).unwrap();
        path
    };
    let output = check(&fresh("whole"));
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("delay.hlog: 2 histograms; 11 comparisons, ok"), "{text}");
    assert!(text.contains("events.jsonl: 1350 events"), "{text}");
    println!("{text}");

    // Same lengths, so that the manifest is not what goes red.
    let changes = [
        (
            "metrics.om",
            "panther_events_unique_total{source=\"0\"} 697",
            "panther_events_unique_total{source=\"0\"} 698",
        ),
        ("metrics.om", "# EOF\n", "# EOX\n"),
        ("paths.csv", ",700,32,", ",700,23,"),
        ("paths.csv", ",9,5,650,", ",9,5,651,"),
        ("summary.json", "\"lost\": 32", "\"lost\": 33"),
        ("summary.json", "\"count\": 650", "\"count\": 651"),
        ("summary.json", "\"offered\": 1400", "\"offered\": 1401"),
        ("events.jsonl", "\"verdict\":\"new\"", "\"verdict\":\"old\""),
        ("events.jsonl", "{\"id\":", "[\"id\":"),
        ("delay.hlog", "Tag=b->=a", "Tag=b->=c"),
        ("MANIFEST", " summary.json", " summary.jsom"),
    ];
    for (number, (file, from, to)) in changes.into_iter().enumerate() {
        let path = fresh(&number.to_string());
        let text = std::fs::read_to_string(path.join(file)).unwrap();
        assert!(text.contains(from), "{file} holds no {from:?}");
        std::fs::write(path.join(file), text.replacen(from, to, 1)).unwrap();
        let output = check(&path);
        assert_eq!(output.status.code(), Some(1), "{file}: {from:?} to {to:?} went unnoticed");
        let faults = String::from_utf8_lossy(&output.stderr);
        assert!(faults.contains(file) || file == "summary.json", "{faults}");
    }
}
