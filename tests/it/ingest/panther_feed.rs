//! PANTHER's files go through the pipeline whole: every good line once, every bad line told, and a whole experiment
//! ends in the states that it must, under every topology.
#![cfg(feature = "panther")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use panther_events::event::{KindSet, Symbol};
use panther_events::ingest::panther::{PantherFeedReport, PantherIds, PythonVersion, feed, feed_until};
use panther_events::observe::history::{History, HistoryReport};
use panther_events::observe::state::{StateOptions, StateQuery, StateReport};
use panther_events::observe::{Batch, Interest, Observer, Report, Scope, Undelivered};
use panther_events::pipeline::{Builder, PipelineOptions, ReportKey, Snapshot, Topology};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const TOPOLOGIES: [Topology; 5] = [
    Topology::Inline,
    Topology::Fused,
    Topology::Staged { dedup: 1, workers: 1 },
    Topology::Staged { dedup: 1, workers: 3 },
    Topology::Staged { dedup: 4, workers: 3 },
];

struct Run {
    fed: PantherFeedReport,
    snapshot: Snapshot,
    states: ReportKey<StateReport>,
    history: ReportKey<HistoryReport>,
    /// The entities of new events, in the order in which they were observed.
    order: ReportKey<Order>,
    ids: PantherIds,
}

#[derive(Clone, Default)]
struct Order(Vec<Symbol>);

impl Report for Order {
    fn merge(&mut self, other: Order) {
        self.0.extend(other.0);
    }
}

impl Observer for Order {
    type Report = Order;

    fn interest(&self) -> Interest {
        Interest { kinds: KindSet::ALL, duplicates: false, scope: Scope::Entity }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        self.0.extend(batch.iter().map(|(record, _)| record.entity()));
        Ok(())
    }

    fn report(&self) -> Order {
        self.clone()
    }
}

fn run(topology: Topology, paths: &[PathBuf]) -> Run {
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    let query = StateQuery::new(StateOptions::default());
    let states =
        builder.observer("state", move |setup| query.observer(setup.schema, setup.symbols, setup.contexts));
    let history = builder.observer("history", |_| History::new(1 << 16));
    let order = builder.observer("order", |_| Order::default());
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("ingest").unwrap();
    let (ids, progress) = (PantherIds::default(), AtomicU64::new(0));
    let fed = feed(paths, PythonVersion::default(), &mut emitter, &ids, &progress, || {
        pipeline.poll();
    });
    let bytes: u64 = fed.files.iter().map(|file| file.bytes).sum();
    assert_eq!(progress.into_inner(), bytes);
    Run { fed, snapshot: pipeline.shutdown(), states, history, order, ids }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn good_line(n: usize) -> String {
    format!(
        r#"{{"id": null, "name": "created", "type": "test.created", "entity_type": "test", "entity_id": "t{n}", "timestamp": "2026-11-23T22:43:{:02}", "data": {{}}}}"#,
        n % 60
    )
}

#[test]
fn an_experiment_ends_in_the_states_that_it_must_under_every_topology() {
    let path = fixture("panther-lifecycle.jsonl");
    let expected = std::fs::read_to_string(fixture("panther-lifecycle.expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    for topology in TOPOLOGIES {
        let Run { fed, snapshot, states, .. } = run(topology, std::slice::from_ref(&path));
        assert_eq!(expected["lines"], fed.lines(), "{topology}");
        assert_eq!((fed.id_mismatches(), fed.files[0].refused), (0, 0), "{topology}");
        assert_eq!(expected["unique"], snapshot.account.unique, "{topology}");
        assert_eq!(expected["unique"].as_u64(), fed.distinct_ids, "{topology}");
        assert_eq!(expected["duplicates"], snapshot.account.duplicates, "{topology}");
        let report = snapshot.report(states).unwrap();
        assert_eq!(expected["final"], serde_json::to_value(report.by_state()).unwrap(), "{topology}");
        let invalid: BTreeMap<_, _> = report
            .domains()
            .iter()
            .filter(|domain| domain.invalid > 0)
            .map(|domain| (domain.name.to_string(), domain.invalid))
            .collect();
        assert_eq!(expected["invalid_transitions"], serde_json::to_value(invalid).unwrap(), "{topology}");
        let ended: BTreeMap<String, String> = report
            .entities()
            .map(|entity| {
                let domain = snapshot.schema.domain_name(entity.domain).unwrap();
                (
                    format!("{domain}:{}", snapshot.symbols.name(entity.entity).unwrap()),
                    entity.state.to_string(),
                )
            })
            .collect();
        assert_eq!(expected["states"], serde_json::to_value(ended).unwrap(), "{topology}");
    }
}

#[test]
fn every_id_in_panthers_files_is_that_of_its_content_and_stands_beside_ours() {
    for name in ["panther-dev.jsonl", "panther-odd.jsonl"] {
        let Run { fed, snapshot, history, ids, .. } = run(Topology::Fused, &[fixture(name)]);
        assert_eq!((fed.id_mismatches(), fed.files[0].refused), (0, 0), "{name}");
        let text = std::fs::read_to_string(fixture(name)).unwrap();
        // Not by a JSON parser: those refuse lone surrogates.
        let theirs: BTreeSet<&str> = text.lines().map(|line| &line[8..44]).collect();
        let timed: BTreeSet<_> = text.lines().map(|line| (&line[8..44], timestamp(line))).collect();
        assert_eq!(
            (fed.distinct_ids, snapshot.account.unique),
            (Some(theirs.len() as u64), timed.len() as u64)
        );
        let ours: BTreeSet<String> = snapshot
            .report(history)
            .unwrap()
            .iter()
            .filter_map(|record| ids.of(record))
            .map(|id| id.to_string())
            .collect();
        assert_eq!(ours.iter().map(String::as_str).collect::<BTreeSet<_>>(), theirs, "{name}");
    }
}

fn timestamp(line: &str) -> &str {
    let (_, rest) = line.split_once("\"timestamp\": \"").unwrap();
    rest.split_once('"').unwrap().0
}

/// The reference file has 11 ids that come at more than one time: those are not one event.
#[test]
fn what_is_said_at_two_times_is_two_events_and_what_is_said_twice_is_one() {
    let at = |second: u32| good_line(0).replace("22:43:00", &format!("22:43:{second:02}"));
    assert_ne!(at(1), at(2), "the line has a time");
    let dir = tempfile::tempdir().unwrap();
    let paths = ["one.jsonl", "other.jsonl"].map(|name| dir.path().join(name));
    std::fs::write(&paths[0], [at(1), at(2), at(2)].join("\n")).unwrap();
    std::fs::write(&paths[1], [at(1), at(3)].join("\n")).unwrap();
    for topology in TOPOLOGIES {
        let Run { fed, snapshot, history, ids, .. } = run(topology, &paths);
        assert_eq!((fed.distinct_ids, snapshot.account.unique, snapshot.account.duplicates), (Some(1), 3, 2));
        let shown: BTreeSet<_> =
            snapshot.report(history).unwrap().iter().map(|record| ids.of(record).unwrap()).collect();
        assert_eq!(shown.len(), 1, "one id of PANTHER's");
    }
}

#[test]
fn a_wrong_id_is_told_and_kept_and_makes_no_two_events_one() {
    let wrong = "00000000-0000-5000-8000-000000000001";
    let lines: Vec<String> =
        (0..3).map(|n| good_line(n).replace("\"id\": null", &format!("\"id\": \"{wrong}\""))).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wrong\u{1b}[31m.jsonl");
    std::fs::write(&path, lines.join("\n") + "\n" + &good_line(3)).unwrap();
    let Run { fed, snapshot, history, ids, .. } = run(Topology::Inline, &[path]);
    assert_eq!((fed.id_mismatches(), fed.distinct_ids, snapshot.account.unique), (3, Some(4), 4));
    let told = fed.files[0].mismatches[1].to_string();
    assert!(told.contains("jsonl:2: ") && told.contains(wrong) && !told.contains('\u{1b}'), "{told}");
    let shown: Vec<bool> = snapshot
        .report(history)
        .unwrap()
        .iter()
        .map(|record| ids.of(record).unwrap().to_string() == wrong)
        .collect();
    assert_eq!(shown, [true, true, true, false]);
    assert_eq!(ids.forgotten(), 0);
}

#[test]
fn bad_lines_are_told_with_their_numbers_and_the_rest_is_used() {
    let deep = format!("{{\"data\": {}1{}}}", "[".repeat(1000), "]".repeat(1000));
    let long =
        good_line(0).replace("\"data\": {}", &format!("\"data\": {{\"x\": \"{}\"}}", "y".repeat(10 << 20)));
    let bad: Vec<(Vec<u8>, &str)> = vec![
        (b"not json".to_vec(), "not JSON"),
        (b"[1, 2]".to_vec(), "not an object"),
        (good_line(0).replace("\"entity_id\": \"t0\", ", "").into(), "\"entity_id\" is missing"),
        (good_line(0).replace("\"t0\"", "7").into(), "\"entity_id\" is an integer"),
        (
            good_line(0).replace("\"name\": \"created\"", "\"name\": \"exploded\\u001b[2J\"").into(),
            "exploded\\u{1b}",
        ),
        (
            good_line(0).replace("\"entity_type\": \"test\"", "\"entity_type\": \"toaster\"").into(),
            "\"toaster\"",
        ),
        (long.into(), "more than 8388608 bytes"),
        (deep.into(), "nested"),
        (b"{\"id\": \"\xff\xfe\"}".to_vec(), "not UTF-8"),
        (good_line(0).replace("22:43:00", "25:43:00").into(), "timestamp"),
        (good_line(0).replace("null", "\"no-uuid\"").into(), "not a UUID"),
    ];
    let (mut text, mut wanted) = (Vec::new(), Vec::new());
    for (n, (line, reason)) in bad.iter().enumerate() {
        text.extend_from_slice(good_line(n).as_bytes());
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(line);
        text.push(b'\n');
        wanted.push((2 * n as u64 + 2, *reason));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.jsonl");
    std::fs::write(&path, &text).unwrap();
    let Run { fed, snapshot, .. } = run(Topology::Inline, std::slice::from_ref(&path));
    let file = &fed.files[0];
    let expected = bad.len() as u64;
    assert_eq!((file.used, file.refused, snapshot.account.unique), (expected, expected, expected));
    assert_eq!(fed.lines(), 2 * expected);
    for (refusal, (line, reason)) in file.refusals.iter().zip(wanted) {
        let told = refusal.to_string();
        assert!(told.starts_with(&format!("{}:{line}: ", path.display())), "{told}");
        assert!(told.contains(reason) && !told.contains('\u{1b}'), "{told} does not say {reason}");
    }
    assert_eq!(file.refusals.len(), bad.len());
}

#[test]
fn only_the_first_refusals_are_kept_and_all_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.jsonl");
    std::fs::write(&path, "x\n".repeat(100)).unwrap();
    let missing = dir.path().join("missing.jsonl");
    let Run { fed, .. } = run(Topology::Inline, &[path, missing]);
    assert_eq!((fed.files[0].refused, fed.files[0].refusals.len()), (100, 20));
    assert!(fed.files[1].error.as_ref().unwrap().contains("missing.jsonl: cannot be opened"));
}

#[test]
fn a_run_that_is_stopped_says_where_and_uses_what_it_has() {
    let pipeline = Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    let pipeline = pipeline.start().unwrap();
    let mut emitter = pipeline.emitter("ingest").unwrap();
    let (ids, progress, interrupt) = (PantherIds::default(), AtomicU64::new(0), AtomicBool::new(false));
    let pump = || {
        pipeline.poll();
        interrupt.store(true, Ordering::Relaxed);
    };
    let paths = [fixture("panther-lifecycle.jsonl")];
    let fed = feed_until(&paths, PythonVersion::default(), &mut emitter, &ids, &progress, pump, &interrupt);
    drop(emitter);
    let file = &fed.files[0];
    assert!(file.error.as_ref().unwrap().ends_with("lifecycle.jsonl:1025: the run was stopped here"));
    assert_eq!((file.used, pipeline.shutdown().account.accepted), (1024, 1024));
}

#[test]
fn several_files_are_merged_by_time_and_each_keeps_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name| dir.path().join(name);
    let write = |name, order: &[usize]| {
        let lines: Vec<_> = order.iter().map(|n| good_line(*n)).collect();
        std::fs::write(path(name), lines.join("\n")).unwrap();
    };
    write("a", &[1, 4, 3, 9]);
    write("b", &[2, 5, 5, 7]);
    let Run { snapshot, order, .. } = run(Topology::Inline, &[path("a"), path("b")]);
    let order = &snapshot.report(order).unwrap().0;
    let expected: Vec<Symbol> =
        ["t1", "t2", "t4", "t3", "t5", "t7", "t9"].iter().map(|name| Symbol::of(name)).collect();
    assert_eq!(*order, expected);
    assert_eq!((snapshot.account.unique, snapshot.account.duplicates), (7, 1));
}

#[test]
fn one_time_far_ahead_does_not_hold_its_file_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name| dir.path().join(name);
    let far = good_line(100).replace("2026-", "2200-");
    std::fs::write(path("a"), [good_line(1), far, good_line(3), good_line(5)].join("\n")).unwrap();
    std::fs::write(path("b"), [good_line(2), good_line(4), good_line(6)].join("\n")).unwrap();
    let Run { snapshot, order, .. } = run(Topology::Inline, &[path("a"), path("b")]);
    let order = &snapshot.report(order).unwrap().0;
    assert_eq!(**order, ["t1", "t2", "t100", "t3", "t4", "t5", "t6"].map(Symbol::of));
}
