//! Journals of tests that pass, and what a replay says of them.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use panther_events::domain::packet::PacketSeen;
use panther_events::emit::Emitter;
use panther_events::event::{EventId, Record, Symbol, Value as EventValue};
use panther_events::journal::format::{BlockHeader, BlockKind};
use panther_events::journal::{
    Defined, Durability, JournalReader, JournalWriter, Options, ReadOptions, RunId,
};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) fn run(args: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_panther-events")).args(args).current_dir(dir).output().unwrap()
}

pub(crate) fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

pub(crate) fn results(dir: &Path, out: &str) -> Value {
    let summary = fs::read(dir.join(out).join("summary.json")).unwrap();
    serde_json::from_slice::<Value>(&summary).unwrap()["results"].take()
}

/// A test of that name that passes, as lines of PANTHER's.
pub(crate) fn passing(name: &str) -> Vec<String> {
    let events = [
        ("setup_started", r#"{"service_names": []}"#),
        ("setup_completed", "{}"),
        ("environment_setup_started", "{}"),
        ("environment_setup_completed", "{}"),
        ("deployment_started", "{}"),
        ("deployment_completed", "{}"),
        ("execution_started", "{}"),
        ("step_started", r#"{"step_name": "connect"}"#),
        ("step_completed", r#"{"step_name": "connect"}"#),
        ("teardown_started", "{}"),
        ("completed", "{}"),
    ];
    let line = |(number, (event, data)): (usize, (&str, &str))| {
        format!(
            r#"{{"name": "{event}", "type": "x", "entity_type": "test", "entity_id": "{name}", "timestamp": "2026-11-23T22:43:47.{number:06}", "data": {data}}}"#
        )
    };
    (0..).zip(events).map(line).collect()
}

/// Reads lines of PANTHER's into the journal `journal`.
pub(crate) fn ingest(dir: &Path, lines: &[String], options: &[&str]) -> Output {
    fs::write(dir.join("events.jsonl"), lines.join("\n")).unwrap();
    let args = ["ingest", "events.jsonl", "--format", "panther", "--out", "ingested", "--force"];
    run(&[&args, options].concat(), dir)
}

/// A journal of one test that passed, closed in order.
pub(crate) fn passed(dir: &Path) {
    let output = ingest(dir, &passing("t"), &["--journal", "journal", "--require-passed", "--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
}

/// Replays `journal` and says how that ended, and the verdict.
pub(crate) fn replay(dir: &Path, journal: &str) -> (i32, String, Value) {
    let mut status = None;
    for quiet in [&["--quiet"][..], &["--json"], &["--within", "test=nowhere"], &["--topology", "staged:1x2"]]
    {
        let args = ["replay", journal, "--require-passed", "--out", "replayed", "--force"];
        let output = run(&[&args, quiet].concat(), dir);
        let now = (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
        // The same is said on standard error whatever is printed beside.
        let before = status.get_or_insert_with(|| now.clone());
        assert_eq!(
            (before.0, now.1.contains(before.1.trim())),
            (now.0, true),
            "{quiet:?}: {}",
            told(&output)
        );
    }
    let (code, told) = status.unwrap();
    (code, told, results(dir, "replayed"))
}

/// Says that a replay knows of no failure and will not say that everything passed, and why.
#[track_caller]
pub(crate) fn assert_unknown(dir: &Path, journal: &str, status: i32, why: &str) {
    let (code, told, results) = replay(dir, journal);
    assert_eq!((code, &results["outcome"]), (status, &"unknown".into()), "{told}");
    assert!(told.contains(why), "{why:?} is not in\n{told}");
    let doubts = results["doubts"].as_array().unwrap();
    assert!(doubts.iter().any(|doubt| doubt.as_str().unwrap().contains(why)), "{why:?}: {doubts:?}");
    let shown = run(&["replay", journal, "--out", "shown", "--force"], dir);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("outcome: unknown"), "{}", told);
}

#[track_caller]
pub(crate) fn assert_passed(dir: &Path, journal: &str) {
    let (code, told, results) = replay(dir, journal);
    assert_eq!((code, &results["outcome"]), (0, &"passed".into()), "{told}");
    assert!(results.get("doubts").is_none());
    let shown = run(&["replay", journal, "--out", "shown", "--force"], dir);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("outcome: passed"), "{}", told);
}

pub(crate) fn segments(journal: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "journal")).collect();
    files.sort();
    files
}

pub(crate) fn blocks(bytes: &[u8]) -> Vec<BlockHeader> {
    let (mut blocks, mut at) = (Vec::new(), 0);
    while let Some(Ok(header)) = bytes.get(at..).map(BlockHeader::decode) {
        at = header.end().offset as usize;
        blocks.push(header);
    }
    blocks
}

/// Takes the end from the journal, as if its writer had died, and `more` bytes of what is before.
pub(crate) fn cut(journal: &Path, more: usize) {
    let path = segments(journal).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let end = blocks(&bytes).into_iter().find(|block| block.kind == BlockKind::End).unwrap();
    bytes.truncate(end.at.offset as usize - more);
    fs::write(path, bytes).unwrap();
}

/// Writes what the journal `from` holds anew, behind `padding` packets.
pub(crate) fn rewrite(dir: &Path, from: &str, to: &str, options: Options, padding: u32) {
    let mut reader = JournalReader::open(&dir.join(from), ReadOptions::default()).unwrap();
    let (mut records, mut known) = (Vec::new(), 0);
    let mut writer = JournalWriter::open(&dir.join(to), RunId([5; 16]), options, 7).unwrap();
    let seen: PacketSeen = bytemuck::Zeroable::zeroed();
    let packet = |seq: u32| {
        let id = EventId::digest(&seq.to_le_bytes());
        Record::with_digest(id, u64::from(seq), Symbol::of("flow"), &seen).numbered(9, seq)
    };
    for seq in 0..padding {
        assert_eq!(writer.append(&[packet(seq)]).lost, 0);
    }
    while let Some(block) = reader.next_block().unwrap() {
        writer.set_origin(block.header().origin);
        records.clear();
        records.extend_from_slice(block.records());
        for definition in reader.definitions_after(known) {
            match definition {
                Defined::Name(symbol, name) => writer.define(symbol, name).unwrap(),
                Defined::Detail(digest, bytes) => writer.define_detail(digest, bytes).unwrap(),
            };
        }
        known = reader.definitions();
        assert_eq!(writer.append(&records).lost, 0);
    }
    writer.close().unwrap();
}

pub(crate) fn small() -> Options {
    Options {
        block_len: Options::BLOCK_LEN_MIN.next_multiple_of(4096),
        segment_len: 4 * Options::BLOCK_LEN_MIN.next_multiple_of(4096) as u64,
        ..Options::new(Durability::ProcessCrash)
    }
}

pub(crate) fn one_that_passes(emitter: &mut Emitter) {
    begins(emitter, "t");
    emitter.test("t").step_started("work", Default::default()).unwrap();
    emitter.test("t").step_completed("work", Default::default()).unwrap();
    ends(emitter, "t");
}

/// A test of that name up to where it runs its steps.
pub(crate) fn begins(emitter: &mut Emitter, name: &str) {
    let mut test = emitter.test(name);
    test.created(name, EventValue::Null, Default::default()).unwrap();
    test.setup_started(EventValue::Null, Default::default()).unwrap();
    test.setup_completed(EventValue::Null, Default::default()).unwrap();
    test.environment_setup_started("docker", Default::default()).unwrap();
    test.environment_setup_completed("docker", Default::default()).unwrap();
    test.deployment_started(EventValue::Null).unwrap();
    test.deployment_completed(EventValue::Null, Default::default()).unwrap();
    test.execution_started(EventValue::Null, Default::default()).unwrap();
}

/// Its end, by which it has passed.
pub(crate) fn ends(emitter: &mut Emitter, name: &str) {
    let mut test = emitter.test(name);
    test.teardown_started().unwrap();
    test.completed(name, Default::default()).unwrap();
}
