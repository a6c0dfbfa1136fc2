//! Promise: `--require-passed` is never content with a part: what may hold a failure that nobody saw has not passed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use panther_events::domain::TypedSink;
use panther_events::domain::packet::PacketSeen;
use panther_events::emit::{ContextEntered, Emitter, FullPolicy};
use panther_events::event::{
    Domain, EventId, EventKind, KindSet, Level, Payload, Record, Symbol, Symbols, Value as EventValue,
};
use panther_events::journal::format::{BlockHeader, BlockKind};
use panther_events::journal::{
    Defined, Durability, JournalLog, JournalReader, JournalWorker, JournalWriter, Options, ReadOptions,
    RunId, Select,
};
use panther_events::observe::state::{StateOptions, StateQuery};
use panther_events::pipeline::{Builder, ObserverOptions, Pipeline, PipelineOptions, Topology, Validated};
use panther_events::process::{Derived, Processor};
use panther_events::recorder::{FlightRecorder, RecorderOptions};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

fn run(args: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_panther-events")).args(args).current_dir(dir).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn results(dir: &Path, out: &str) -> Value {
    let summary = fs::read(dir.join(out).join("summary.json")).unwrap();
    serde_json::from_slice::<Value>(&summary).unwrap()["results"].take()
}

/// A test of that name that passes, as lines of PANTHER's.
fn passing(name: &str) -> Vec<String> {
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
fn ingest(dir: &Path, lines: &[String], options: &[&str]) -> Output {
    fs::write(dir.join("events.jsonl"), lines.join("\n")).unwrap();
    let args = ["ingest", "events.jsonl", "--format", "panther", "--out", "ingested", "--force"];
    run(&[&args, options].concat(), dir)
}

/// A journal of one test that passed, closed in order.
fn passed(dir: &Path) {
    let output = ingest(dir, &passing("t"), &["--journal", "journal", "--require-passed", "--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
}

/// Replays `journal` and says how that ended, and the verdict.
fn replay(dir: &Path, journal: &str) -> (i32, String, Value) {
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
fn assert_unknown(dir: &Path, journal: &str, status: i32, why: &str) {
    let (code, told, results) = replay(dir, journal);
    assert_eq!((code, &results["outcome"]), (status, &"unknown".into()), "{told}");
    assert!(told.contains(why), "{why:?} is not in\n{told}");
    let doubts = results["doubts"].as_array().unwrap();
    assert!(doubts.iter().any(|doubt| doubt.as_str().unwrap().contains(why)), "{why:?}: {doubts:?}");
    let shown = run(&["replay", journal, "--out", "shown", "--force"], dir);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("outcome: unknown"), "{}", told);
}

#[track_caller]
fn assert_passed(dir: &Path, journal: &str) {
    let (code, told, results) = replay(dir, journal);
    assert_eq!((code, &results["outcome"]), (0, &"passed".into()), "{told}");
    assert!(results.get("doubts").is_none());
    let shown = run(&["replay", journal, "--out", "shown", "--force"], dir);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("outcome: passed"), "{}", told);
}

fn segments(journal: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "journal")).collect();
    files.sort();
    files
}

fn blocks(bytes: &[u8]) -> Vec<BlockHeader> {
    let (mut blocks, mut at) = (Vec::new(), 0);
    while let Some(Ok(header)) = bytes.get(at..).map(BlockHeader::decode) {
        at = header.end().offset as usize;
        blocks.push(header);
    }
    blocks
}

/// Takes the end from the journal, as if its writer had died, and `more` bytes of what is before.
fn cut(journal: &Path, more: usize) {
    let path = segments(journal).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let end = blocks(&bytes).into_iter().find(|block| block.kind == BlockKind::End).unwrap();
    bytes.truncate(end.at.offset as usize - more);
    fs::write(path, bytes).unwrap();
}

/// Writes what the journal `from` holds anew, behind `padding` packets.
fn rewrite(dir: &Path, from: &str, to: &str, options: Options, padding: u32) {
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

fn small() -> Options {
    Options {
        block_len: Options::BLOCK_LEN_MIN.next_multiple_of(4096),
        segment_len: 4 * Options::BLOCK_LEN_MIN.next_multiple_of(4096) as u64,
        ..Options::new(Durability::ProcessCrash)
    }
}

fn one_that_passes(emitter: &mut Emitter) {
    let mut test = emitter.test("t");
    test.created("t", EventValue::Null, Default::default()).unwrap();
    test.setup_started(EventValue::Null, Default::default()).unwrap();
    test.setup_completed(EventValue::Null, Default::default()).unwrap();
    test.environment_setup_started("docker", Default::default()).unwrap();
    test.environment_setup_completed("docker", Default::default()).unwrap();
    test.deployment_started(EventValue::Null).unwrap();
    test.deployment_completed(EventValue::Null, Default::default()).unwrap();
    test.execution_started(EventValue::Null, Default::default()).unwrap();
    test.step_started("work", Default::default()).unwrap();
    test.step_completed("work", Default::default()).unwrap();
    test.teardown_started().unwrap();
    test.completed("t", Default::default()).unwrap();
}

#[test]
fn a_whole_journal_passes_and_so_does_its_repair() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    passed(dir);
    assert_passed(dir, "journal");
    assert_eq!(run(&["repair", "journal", "--out", "repaired"], dir).status.code(), Some(0));
    assert_passed(dir, "repaired");
    rewrite(dir, "journal", "small", small(), 2_000);
    assert!(segments(&dir.join("small")).len() > 2);
    assert_passed(dir, "small");
}

#[test]
fn what_a_repair_does_not_know_to_be_lost_is_not_forgotten_by_it() {
    // The last block of records is cut, or its last byte, or nothing is missing but the end.
    for (more, why) in [(0, "not closed"), (1, "torn tail")] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        passed(dir);
        // Another test's events, in a segment of their own.
        let output = ingest(dir, &passing("u"), &["--journal", "journal", "--resume", "--quiet"]);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        cut(&dir.join("journal"), more);
        assert_unknown(dir, "journal", 1, why);
        let mut from = "journal".to_owned();
        for to in ["once", "twice", "thrice"] {
            let verb = if to == "twice" { "recover" } else { "repair" };
            let output = run(&[verb, &from, "--out", to], dir);
            assert_eq!(output.status.code(), Some(i32::from(to == "once")), "{}", told(&output));
            assert_unknown(dir, to, 3, why);
            to.clone_into(&mut from);
        }
        // It is sound as it is, and says where it comes from.
        let verified = run(&["verify", "thrice"], dir);
        assert!(verified.status.success() && told(&verified).contains(why), "{}", told(&verified));
    }
}

#[test]
fn what_retention_removed_is_not_forgotten_by_a_repair() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    passed(dir);
    rewrite(dir, "journal", "kept", Options { retain_bytes: Some(100 << 10), ..small() }, 20_000);
    assert_unknown(dir, "kept", 3, "earlier events are gone");
    assert_eq!(run(&["repair", "kept", "--out", "repaired"], dir).status.code(), Some(0));
    assert_unknown(dir, "repaired", 3, "earlier events are gone");
    assert_eq!(run(&["recover", "repaired", "--out", "again"], dir).status.code(), Some(0));
    assert_unknown(dir, "again", 3, "earlier events are gone");
}

#[test]
fn segments_that_somebody_deleted_make_no_journal_pass() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    passed(dir);
    for (name, which) in [("first", 0), ("middle", 1)] {
        rewrite(dir, "journal", name, small(), 2_000);
        fs::remove_file(&segments(&dir.join(name))[which]).unwrap();
        assert_unknown(dir, name, 1, "missing");
        let repaired = format!("{name}-repaired");
        assert_eq!(run(&["repair", name, "--out", &repaired], dir).status.code(), Some(1));
        let (code, told, results) = replay(dir, &repaired);
        assert!(code == 1 || code == 3, "{told}");
        assert_eq!(results["outcome"], "unknown", "{told}");
    }
    // The last one: what was before it has no end.
    ingest(dir, &passing("u"), &["--journal", "journal", "--resume"]);
    rewrite(dir, "journal", "last", small(), 2_000);
    fs::remove_file(segments(&dir.join("last")).pop().unwrap()).unwrap();
    let (code, told, results) = replay(dir, "last");
    assert_eq!((code, &results["outcome"] == "passed"), (1, false), "{told}");
}

#[test]
fn a_journal_that_was_resumed_after_its_writer_died_is_not_known_to_be_whole() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    passed(dir);
    cut(&dir.join("journal"), 0);
    let output = ingest(dir, &passing("u"), &["--journal", "journal", "--resume", "--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_unknown(dir, "journal", 3, "did not close it");
    assert_eq!(run(&["repair", "journal", "--out", "repaired"], dir).status.code(), Some(0));
    assert_unknown(dir, "repaired", 3, "did not close it");
}

#[test]
fn a_segment_that_nobody_went_on_with_leaves_a_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    passed(dir);
    // A writer went on with the journal, and a power cut left nothing of what it wrote.
    fs::write(dir.join("journal/00000001.journal"), [0; 8192]).unwrap();
    let output = ingest(dir, &passing("u"), &["--journal", "journal", "--resume", "--quiet"]);
    assert!(dir.join("journal/00000002.journal").exists(), "{}", told(&output));
    assert_unknown(dir, "journal", 3, "given up");
    assert_eq!(run(&["repair", "journal", "--out", "repaired"], dir).status.code(), Some(0));
    assert_unknown(dir, "repaired", 3, "gave up");
}

#[test]
fn a_journal_that_is_being_written_has_not_passed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    passed(dir);
    let id = JournalReader::open(&dir.join("journal"), ReadOptions::default()).unwrap().run().unwrap();
    // Opened anew, and nothing is written yet.
    let options = Options::new(Durability::ProcessCrash);
    let mut writer = JournalWriter::open(&dir.join("journal"), id, options, 7).unwrap();
    assert_unknown(dir, "journal", 3, "is being written");
    assert_eq!(run(&["repair", "journal", "--out", "repaired"], dir).status.code(), Some(0));
    assert_unknown(dir, "repaired", 3, "was being written");
    let seen: PacketSeen = bytemuck::Zeroable::zeroed();
    let record = Record::with_digest(EventId::digest(b"p"), 7, Symbol::of("flow"), &seen).numbered(9, 0);
    assert_eq!(writer.append(&[record]).lost, 0);
    assert_unknown(dir, "journal", 1, "is being written");
    writer.close().unwrap();
    assert_passed(dir, "journal");
    // Between two segments: one has ended, and the next is not there yet.
    rewrite(dir, "journal", "between", small(), 2_000);
    fs::remove_file(segments(&dir.join("between")).pop().unwrap()).unwrap();
    let _writer = JournalWriter::open(&dir.join("between"), RunId([5; 16]), small(), 7).unwrap();
    let (code, told, _) = replay(dir, "between");
    assert!(code == 1 && told.contains("not closed"), "{code}: {told}");
}

#[test]
fn a_journal_without_all_kinds_that_tell_of_failures_makes_nothing_pass() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    passed(dir);
    let domains = [Domain::TEST, Domain::STEP, Domain::ASSERTION, Domain::EXPERIMENT];
    let all = |domains: &[Domain]| {
        let contexts = KindSet::of(&[ContextEntered::KIND]);
        domains.iter().fold(contexts, |kinds, domain| kinds.union(&KindSet::domain(*domain)))
    };
    let whole = all(&domains).union(&KindSet::domain(Domain::SERVICE));
    let select = |kinds| Options { select: Select::kinds(kinds), ..small() };
    rewrite(dir, "journal", "enough", select(whole), 100);
    assert_passed(dir, "enough");
    for (name, kinds) in [
        ("tests", KindSet::domain(Domain::TEST)),
        ("no-steps", all(&[Domain::TEST, Domain::ASSERTION, Domain::EXPERIMENT, Domain::SERVICE])),
        ("no-service", all(&domains)),
        ("no-check", whole.without(EventKind::new(Domain::ASSERTION, 2))),
    ] {
        rewrite(dir, "journal", name, select(kinds), 0);
        assert_unknown(dir, name, 3, "were not stored");
        let repaired = format!("{name}-repaired");
        assert_eq!(run(&["repair", name, "--out", &repaired], dir).status.code(), Some(0));
        assert_unknown(dir, &repaired, 3, "were not stored");
    }
}

#[test]
fn a_log_that_hands_on_some_kinds_says_so_whatever_its_writer_would_store() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let symbols = Arc::new(Symbols::new());
    let mut builder = Builder::default();
    builder.symbols(Arc::clone(&symbols));
    let writer = JournalWriter::open(&dir.join("journal"), RunId([6; 16]), small(), 7).unwrap();
    let worker = JournalWorker::start(writer, 16, || 7).unwrap();
    let kinds = Select::kinds(KindSet::domain(Domain::TEST));
    let mut log = Some(JournalLog::new(worker, kinds, &symbols, |_| None));
    builder.observer("journal", move |setup| {
        log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
    });
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    one_that_passes(&mut emitter);
    emitter.step("lone").execution_failed("boom", 0, "lone", Default::default()).unwrap();
    drop(emitter);
    pipeline.shutdown().account.check().unwrap();
    assert_unknown(dir, "journal", 3, "were not stored");
}

#[test]
fn a_resumed_run_judges_its_own_events_only_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    passed(dir);
    for (lines, again) in [(passing("u"), 0), ([passing("t"), passing("v")].concat(), 11)] {
        for options in [&["--require-passed"][..], &[]] {
            let journal = ["--journal", "journal", "--resume"];
            fs::remove_dir_all(dir.join("journal")).unwrap();
            passed(dir);
            let output = ingest(dir, &lines, &[&journal, options].concat());
            let expected = if options.is_empty() { 0 } else { 3 };
            assert_eq!(output.status.code(), Some(expected), "{}", told(&output));
            let results = results(dir, "ingested");
            assert_eq!(results["outcome"], "unknown");
            let doubts = results["doubts"].to_string();
            assert!(doubts.contains("this run's new events only"), "{doubts}");
            assert!(again == 0 || doubts.contains(&again.to_string()), "{doubts}");
            let shown = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(shown.contains("outcome: unknown: ") && shown.contains("new events only"), "{shown}");
        }
    }
    assert_passed(dir, "journal");
}

#[test]
fn a_line_that_was_refused_makes_nothing_pass_however_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut lines = passing("t");
    lines.push("this may have been the failure".to_owned());
    for options in
        [&[][..], &["--quiet"], &["--json"], &["--journal", "journal"], &["--journal", "journal", "--resume"]]
    {
        let output = ingest(dir, &lines, &[&["--require-passed"], options].concat());
        assert_eq!(output.status.code(), Some(1), "{options:?}: {}", told(&output));
        let outcome = &results(dir, "ingested")["outcome"];
        assert_ne!(outcome, "passed", "{options:?}");
    }
}

#[test]
fn what_a_dead_process_recorded_has_not_passed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let recorder = FlightRecorder::create(&dir.join("run.flight"), &RecorderOptions::default(), 42).unwrap();
    let mut builder = Builder::default();
    builder.recorder(&recorder);
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    one_that_passes(&mut emitter);
    // A copy is what is left where the process dies here.
    fs::copy(dir.join("run.flight"), dir.join("dead.flight")).unwrap();
    drop(emitter);
    pipeline.shutdown().account.check().unwrap();
    drop(recorder);
    for (file, status) in [("run.flight", 0), ("dead.flight", 3)] {
        let journal = format!("{file}.journal");
        let output = run(&["recover", file, "--out", &journal], dir);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        match status {
            0 => assert_passed(dir, &journal),
            _ => assert_unknown(dir, &journal, status, "its process died"),
        }
    }
}

/// Runs what `emit` emits through a pipeline that drops events, with a journal of this selection, added when `late` has been
/// emitted.
fn journaled(
    path: &Path,
    select: Select,
    late: impl FnOnce(&mut Emitter),
    emit: impl FnOnce(&mut Emitter),
) -> u64 {
    let symbols = Arc::new(Symbols::new());
    let mut builder = Builder::new(PipelineOptions {
        topology: Topology::Inline,
        ring_capacity: 64,
        full_policy: FullPolicy::DropNewest,
        ..PipelineOptions::default()
    });
    builder.symbols(Arc::clone(&symbols));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    late(&mut emitter);
    pipeline.poll();
    let options = Options { select, ..small() };
    let writer = JournalWriter::open(path, RunId([7; 16]), options, 7).unwrap();
    let worker = JournalWorker::start(writer, 16, || 7).unwrap();
    let catalogue = panther_events::domain::Catalogue::new();
    let mut log = Some(JournalLog::new(worker, select, &symbols, |kind| catalogue.fields(kind)));
    pipeline
        .add_observer("journal", move |setup| {
            log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
        })
        .unwrap();
    emit(&mut emitter);
    drop(emitter);
    let account = pipeline.shutdown().account;
    account.check().unwrap();
    account.dropped_full
}

fn fails(emitter: &mut Emitter) {
    let _ = emitter.step("lone").execution_failed("boom", 0, "lone", Default::default());
}

#[test]
fn what_never_came_into_the_journal_may_have_failed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert_eq!(journaled(&dir.join("whole"), Select::ALL, |_| {}, one_that_passes), 0);
    assert_passed(dir, "whole");
    journaled(&dir.join("late"), Select::ALL, fails, one_that_passes);
    assert_unknown(dir, "late", 3, "1 events never came into the journal");
    assert_eq!(run(&["repair", "late", "--out", "late-repaired"], dir).status.code(), Some(0));
    assert_unknown(dir, "late-repaired", 3, "1 events never came into the journal");
    // The ring is full, and then it is not: the journal's last event is a later one.
    let pipeline = dropping(&dir.join("dropped"), true);
    let mut emitter = pipeline.emitter("runner").unwrap();
    fill(&mut emitter);
    fails(&mut emitter);
    pipeline.poll();
    one_that_passes(&mut emitter);
    drop(emitter);
    assert_eq!(pipeline.shutdown().account.dropped_full, 2);
    assert_unknown(dir, "dropped", 3, "2 events never came into the journal");
}

/// A pipeline that drops what finds its ring full, with a journal at `path`, which learns of the pipeline's account if it
/// is `told`.
fn dropping(path: &Path, told: bool) -> Pipeline {
    let symbols = Arc::new(Symbols::new());
    let mut builder = Builder::new(PipelineOptions {
        topology: Topology::Inline,
        ring_capacity: 64,
        full_policy: FullPolicy::DropNewest,
        ..PipelineOptions::default()
    });
    builder.symbols(Arc::clone(&symbols));
    let writer = JournalWriter::open(path, RunId([8; 16]), small(), 7).unwrap();
    let worker = JournalWorker::start(writer, 16, || 7).unwrap();
    let catalogue = panther_events::domain::Catalogue::new();
    let mut log = Some(JournalLog::new(worker, Select::ALL, &symbols, |kind| catalogue.fields(kind)));
    builder.observer(
        ObserverOptions { scope: Some("files".into()), ..ObserverOptions::from("journal") },
        move |setup| match log.take() {
            Some(log) if told => log.of(setup.origin, setup.totals),
            Some(log) => log,
            None => JournalLog::closed(),
        },
    );
    builder.start().unwrap()
}

fn fill(emitter: &mut Emitter) {
    while emitter.service("server").ready("server", Default::default()).is_ok() {}
}

/// After the last event of a source there is no number that would show a gap.
#[test]
fn what_was_dropped_at_the_end_and_all_that_a_source_sent_may_have_failed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let pipeline = dropping(&dir.join("last"), true);
    let mut emitter = pipeline.emitter("runner").unwrap();
    one_that_passes(&mut emitter);
    fill(&mut emitter);
    fails(&mut emitter);
    drop(emitter);
    assert_eq!(pipeline.shutdown().account.dropped_full, 2);
    assert_unknown(dir, "last", 3, "2 events never came into the journal");
    assert_eq!(run(&["repair", "last", "--out", "last-repaired"], dir).status.code(), Some(0));
    assert_unknown(dir, "last-repaired", 3, "2 events never came into the journal");
    // All that the source has sent was refused, since its state does not allow it.
    let pipeline = dropping(&dir.join("refused"), true);
    one_that_passes(&mut pipeline.emitter("runner").unwrap());
    pipeline.poll();
    let states = StateQuery::new(StateOptions::default());
    let mut other = Validated::new(pipeline.emitter("other").unwrap(), states, &pipeline);
    other.step("lone").execution_failed("boom", 0, "lone", Default::default()).unwrap_err();
    drop(other);
    assert_eq!(pipeline.shutdown().account.rejected, 1);
    assert_unknown(dir, "refused", 3, "1 events never came into the journal");
}

#[test]
fn a_journal_that_was_not_there_to_the_end_may_lack_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let pipeline = dropping(&dir.join("removed"), true);
    let mut emitter = pipeline.emitter("runner").unwrap();
    one_that_passes(&mut emitter);
    pipeline.poll();
    assert_eq!(pipeline.remove_scope("files"), 1);
    fails(&mut emitter);
    drop(emitter);
    drop(pipeline.shutdown());
    assert_unknown(dir, "removed", 3, "it was closed while its pipeline went on");
    // All that came before it was of a source that sent nothing later.
    let early = |emitter: &mut Emitter| fails(&mut emitter.within(Level::Test, "early").unwrap());
    let pipeline = dropping(&dir.join("unused"), true);
    early(&mut pipeline.emitter("early").unwrap());
    pipeline.poll();
    let late = late_journal(&pipeline, &dir.join("added"));
    one_that_passes(&mut pipeline.emitter("runner").unwrap());
    drop(pipeline.shutdown());
    assert!(late);
    assert_unknown(dir, "added", 3, "its pipeline had been offered");
    // Nobody has told it what its pipeline drops.
    let pipeline = dropping(&dir.join("untold"), false);
    one_that_passes(&mut pipeline.emitter("runner").unwrap());
    drop(pipeline.shutdown());
    assert_unknown(dir, "untold", 3, "who wrote it did not know its pipeline");
}

/// Adds a journal to a pipeline that runs.
fn late_journal(pipeline: &Pipeline, path: &Path) -> bool {
    let writer = JournalWriter::open(path, RunId([9; 16]), small(), 7).unwrap();
    let worker = JournalWorker::start(writer, 16, || 7).unwrap();
    let fields = |kind| pipeline.catalogue().fields(kind);
    let mut log = Some(JournalLog::new(worker, Select::ALL, pipeline.symbols(), fields));
    let added = pipeline.add_observer("late", move |setup| {
        log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
    });
    added.is_ok()
}

#[test]
fn a_processor_that_failed_may_have_derived_a_failure() {
    struct Fails;
    impl Processor for Fails {
        fn interest(&self) -> KindSet {
            KindSet::domain(Domain::TEST)
        }
        fn process(&mut self, _: &Record, _: &mut Derived<'_>) {
            panic!("planted")
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let symbols = Arc::new(Symbols::new());
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    builder.symbols(Arc::clone(&symbols)).processor("finder", |_| Fails);
    let pipeline = builder.start().unwrap();
    assert!(late_journal(&pipeline, &dir.join("journal")));
    one_that_passes(&mut pipeline.emitter("runner").unwrap());
    assert!(pipeline.shutdown().account.processors[0].1.failed > 0);
    assert_unknown(dir, "journal", 3, "a processor failed 1 times");
}

#[test]
fn numbers_of_duplicates_that_were_not_to_be_stored_are_not_missing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let twice = |emitter: &mut Emitter| {
        for _ in 0..2 {
            let ready = EventId::key(&["ready"]);
            emitter.keyed(ready).service("server").ready("server", Default::default()).unwrap();
        }
        one_that_passes(emitter);
    };
    journaled(&dir.join("unique"), Select::UNIQUE, |_| {}, twice);
    assert_passed(dir, "unique");
    journaled(&dir.join("all"), Select::ALL, |_| {}, twice);
    assert_passed(dir, "all");
}

#[test]
fn what_was_refused_when_a_journal_was_written_is_not_forgotten_by_its_replay() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut lines = passing("t");
    lines.push("{\"name\": \"failed\", \"ty".to_owned());
    let output = ingest(dir, &lines, &["--journal", "journal", "--require-passed"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert_unknown(dir, "journal", 3, "1 of the records of events.jsonl were refused");
    assert_eq!(run(&["repair", "journal", "--out", "repaired"], dir).status.code(), Some(0));
    assert_unknown(dir, "repaired", 3, "1 of the records of events.jsonl were refused");
}

#[test]
fn a_journal_that_is_resumed_may_have_held_what_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    passed(dir);
    // Of its records nothing is left.
    let segment = segments(&dir.join("journal")).pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes.iter_mut().skip(200).for_each(|byte| *byte ^= 0x55);
    fs::write(&segment, bytes).unwrap();
    let output = ingest(dir, &passing("u"), &["--journal", "journal", "--resume", "--require-passed"]);
    assert_eq!(output.status.code(), Some(3), "{}", told(&output));
    let results = results(dir, "ingested");
    assert_eq!(results["outcome"], "unknown");
    assert!(results["doubts"].to_string().contains("the earlier journal: "), "{results}");
}
