//! A run's result directory, as the library writes it.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use panther_events::dedup::Window;
use panther_events::domain::packet::PacketSeen;
use panther_events::event::{EventId, Symbols, Value};
use panther_events::export::{DirError, Overwrite, ResultDir};
use panther_events::run::{
    EventChoice, FILE_NAMES, FileFormat, FinishedRun, IdElsewhere, RunOptions, WriteError,
};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs over a packet that two vantage points saw, one twice, and over a test, where there is to be one.
fn run(options: RunOptions, dir: &ResultDir, has_packets: bool, has_tests: bool) -> FinishedRun {
    let (symbols, start) = (Arc::new(Symbols::new()), Instant::now());
    let (builder, observers) = options.builder(&symbols, dir).unwrap();
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    if has_packets {
        let flow = symbols.intern("flow").unwrap();
        for (time_ns, vantage) in [(1_000, "near"), (5_000, "far"), (6_000, "far")] {
            let vantage = symbols.intern(vantage).unwrap();
            let seen = PacketSeen {
                vantage,
                wire_len_bytes: 60,
                captured_len_bytes: 60,
                flags: 0,
                vlan: 0,
                protocol: 17,
                ip_version: 4,
            };
            emitter.emit_digest(EventId::digest(b"packet"), time_ns, flow, &seen).unwrap();
        }
    }
    if has_tests {
        emitter.test("handshake").created("handshake", Value::Null, Default::default()).unwrap();
    }
    drop(emitter);
    let snapshot = pipeline.shutdown();
    let time_ns = has_packets.then_some((1_000, 6_000));
    FinishedRun { snapshot, observers, inputs: Vec::new(), time_ns, elapsed: start.elapsed() }
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_directory_has_the_files_of_what_was_there_and_no_others() {
    let cases: [(bool, bool, &[&str]); 3] = [
        (true, true, &FILE_NAMES),
        (true, false, &["MANIFEST", "delay.hlog", "events.jsonl", "metrics.om", "paths.csv", "summary.json"]),
        (false, true, &["MANIFEST", "events.jsonl", "metrics.om", "states.csv", "summary.json"]),
    ];
    for (has_packets, has_tests, expected) in cases {
        let out = tempfile::tempdir().unwrap();
        let dir = ResultDir::create(out.path(), Overwrite::Refuse).unwrap();
        let options = RunOptions::default();
        let topology = options.topology;
        let run = run(options, &dir, has_packets, has_tests);
        assert_eq!(run.losses(), Vec::<String>::new());
        let summary = run.summary(topology, None);
        run.write(dir, &summary, &FileFormat::ALL).unwrap();
        let expected = expected.iter().chain(&["schema.json"]);
        let expected: BTreeSet<String> = expected.map(|name| (*name).to_owned()).collect();
        assert_eq!(names(out.path()), expected);
        let lines = fs::read_to_string(out.path().join("events.jsonl")).unwrap();
        // Sightings of one packet are one event.
        assert_eq!(lines.lines().count(), usize::from(has_packets) + usize::from(has_tests), "{lines}");
        if has_packets {
            let paths = fs::read_to_string(out.path().join("paths.csv")).unwrap();
            let row = paths.lines().nth(1).unwrap();
            // Sent, lost, duplicated.
            assert!(row.starts_with("near,far,1,0,1,"), "{paths}");
        }
    }
}

#[test]
fn options_choose_events_their_further_id_and_the_formats() {
    let out = tempfile::tempdir().unwrap();
    let dir = ResultDir::create(out.path(), Overwrite::Refuse).unwrap();
    let id = Arc::new(|_: &_| Some(uuid::Uuid::from_u128(7)));
    let options = RunOptions {
        events: EventChoice::All,
        window: Window::Sliding(Duration::from_secs(1)),
        id_elsewhere: Some(IdElsewhere { member: "lab_id".to_owned(), id }),
        ..RunOptions::default()
    };
    let topology = options.topology;
    let finished = run(options, &dir, true, false);
    finished.write(dir, &finished.summary(topology, Some(64)), &[FileFormat::Jsonl]).unwrap();
    let expected = ["MANIFEST", "events.jsonl", "schema.json"].map(str::to_owned);
    assert_eq!(names(out.path()), BTreeSet::from(expected));
    let lines = fs::read_to_string(out.path().join("events.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert!(lines.contains("\"lab_id\":\"00000000-0000-0000-0000-000000000007\""), "{lines}");

    // Without the format that it was opened for, the file is still open; without the file, the format has nothing to write.
    let out = tempfile::tempdir().unwrap();
    let dir = ResultDir::create(out.path(), Overwrite::Refuse).unwrap();
    let finished = run(RunOptions::default(), &dir, false, true);
    let refused = finished.write(dir, &finished.summary(topology, None), &[FileFormat::Summary]);
    assert!(matches!(refused, Err(WriteError::Dir(DirError::StillOpen { .. }))), "{refused:?}");
    assert!(!names(out.path()).contains("MANIFEST"));
    let out = tempfile::tempdir().unwrap();
    let dir = ResultDir::create(out.path(), Overwrite::Refuse).unwrap();
    let finished = run(RunOptions { events: EventChoice::None, ..RunOptions::default() }, &dir, false, true);
    finished
        .write(dir, &finished.summary(topology, None), &[FileFormat::Summary, FileFormat::Jsonl])
        .unwrap();
    let expected = ["MANIFEST", "schema.json", "summary.json"].map(str::to_owned);
    assert_eq!(names(out.path()), BTreeSet::from(expected));
}
