//! Promise: what a recording is short of makes no test pass.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod replay_support;

use crate::replay_support::{begins, ends};
use panther_events::emit::Emitter;
use panther_events::event::{Level, Value};
use panther_events::journal::{JournalReader, ReadOptions, keep};
use panther_events::pipeline::{Builder, PipelineOptions, Topology};
use panther_events::recorder::{FlightRecorder, RecorderOptions};
use std::path::Path;
use std::process::Command;

fn begin(emitter: &mut Emitter, name: &str) {
    begins(emitter, name);
    emitter.test(name).step_started("work", Default::default()).unwrap();
    emitter.test(name).step_completed("work", Default::default()).unwrap();
}

fn replay(journal: &Path, out: &Path, topology: &str) -> (Option<i32>, String, serde_json::Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_panther-events"))
        .args(["replay", "--require-passed", "--topology", topology, "--out"])
        .arg(out)
        .arg(journal)
        .output()
        .unwrap();
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let summary = std::fs::read(out.join("summary.json")).unwrap_or_default();
    (output.status.code(), told, serde_json::from_slice(&summary).unwrap_or_default())
}

#[test]
fn a_recorder_that_let_a_failure_go_makes_no_test_pass() {
    let dir = tempfile::tempdir().unwrap();
    let options = RecorderOptions { slots: 32, tracks: 4, definition_bytes: 1 << 16 };
    let recorder = FlightRecorder::create(&dir.path().join("run.flight"), &options, 42).unwrap();
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    builder.recorder(&recorder);
    let pipeline = builder.start().unwrap();
    let mut runner = pipeline.emitter("runner").unwrap();
    let mut steps = pipeline.emitter("steps").unwrap();
    begin(&mut runner, "t");
    let mut within = steps.within(Level::Test, "t").unwrap();
    within.step("connect").execution_started(Value::Null, "connect", Default::default()).unwrap();
    within.step("connect").execution_failed("boom", 0, "connect", Default::default()).unwrap();
    for n in 0..40 {
        let check = format!("check {n}");
        within.service("server").health_check_passed("server", &check, Default::default()).unwrap();
    }
    drop(within);
    ends(&mut runner, "t");
    drop((runner, steps));
    let recording = recorder.snapshot().unwrap();
    drop(pipeline.shutdown());
    let journal = dir.path().join("journal");
    keep(&recording, &journal, 1).unwrap();
    let (status, told, _) = replay(&journal, &dir.path().join("out"), "inline");
    assert_eq!(status, Some(3), "{told}");
    assert!(told.contains("earlier events are gone; whether all passed is not known"), "{told}");
}

#[test]
fn two_pipelines_of_one_recorder_do_not_mix_their_contexts() {
    for round in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let options = RecorderOptions { slots: 64, tracks: 4, definition_bytes: 1 << 16 };
        let recorder = FlightRecorder::create(&dir.path().join("run.flight"), &options, 42).unwrap();
        let start = || {
            let mut builder =
                Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
            builder.recorder(&recorder);
            builder.start().unwrap()
        };
        let (one, two) = (start(), start());
        for (pipeline, name, fails) in [(&one, "a", true), (&two, "b", false)] {
            let mut emitter = pipeline.emitter("runner").unwrap();
            let mut within = emitter.within(Level::Test, name).unwrap();
            begin(&mut within, name);
            within.step("connect").execution_started(Value::Null, "connect", Default::default()).unwrap();
            if fails {
                within.step("connect").execution_failed("boom", 0, "connect", Default::default()).unwrap();
            } else {
                within.step("connect").execution_completed("connect", Default::default()).unwrap();
            }
            ends(&mut within, name);
        }
        let recording = recorder.snapshot().unwrap();
        drop(one.shutdown());
        drop(two.shutdown());
        let journal = dir.path().join("journal");
        keep(&recording, &journal, 1).unwrap();
        let (_, _, summary) =
            replay(&journal, &dir.path().join("out"), if round % 2 == 0 { "fused" } else { "staged:2x2" });
        let tests = summary["results"]["tree"].as_array().unwrap();
        let outcome = |name: &str| tests.iter().find(|t| t["test"] == name).unwrap()["outcome"].clone();
        assert_eq!((outcome("a"), outcome("b")), ("failed".into(), "passed".into()), "round {round}");
    }
}

/// An assertion passes by the word of one emitter, and then begins again by that of another, whose source is the lower one, and
/// hangs.
#[test]
fn what_is_recovered_comes_in_the_order_of_its_times() {
    let dir = tempfile::tempdir().unwrap();
    let options = RecorderOptions { slots: 64, tracks: 4, definition_bytes: 1 << 16 };
    let recorder = FlightRecorder::create(&dir.path().join("run.flight"), &options, 42).unwrap();
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    builder.recorder(&recorder);
    let pipeline = builder.start().unwrap();
    let (mut runner, mut other) = (pipeline.emitter("runner").unwrap(), pipeline.emitter("other").unwrap());
    runner.enter(Level::Test, "t").unwrap();
    other.enter(Level::Test, "t").unwrap();
    begin(&mut runner, "t");
    other.service("server").error("server", "crashed", Default::default()).unwrap();
    let first = runner.clock().now_ns();
    runner.assertion("rtt").at(first).validation_started("rtt", Default::default()).unwrap();
    other.assertion("rtt").at(first + 10).result(true, "", "rtt", Default::default()).unwrap();
    runner.assertion("rtt").at(first + 20).validation_started("rtt", Default::default()).unwrap();
    ends(&mut runner, "t");
    drop((runner, other));
    let recording = recorder.snapshot().unwrap();
    let origin = pipeline.origin();
    drop(pipeline.shutdown());
    let merged = recording.merged_records_of(origin);
    assert!(merged.is_sorted_by_key(|record| record.time_ns()), "each source's times rise");
    for source in 0..2 {
        let seqs = merged.iter().filter(|record| record.source() == source).map(|record| record.seq());
        assert!(seqs.is_sorted(), "{source}");
    }
    let journal = dir.path().join("journal");
    keep(&recording, &journal, 1).unwrap();
    let mut kept = Vec::new();
    let mut reader = JournalReader::open(&journal, ReadOptions::default()).unwrap();
    reader.for_each(|record| kept.push((record.source(), record.seq()))).unwrap();
    assert!(kept.iter().copied().eq(merged.iter().map(|record| (record.source(), record.seq()))));
    let (_, told, summary) = replay(&journal, &dir.path().join("out"), "inline");
    assert_eq!(summary["results"]["outcome"], "incomplete", "{told}");
}
