//! Promise: `--require-passed` is never content with a part: what may hold a failure that nobody saw has not passed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod replay_support;

use crate::replay_support::*;
use panther_events::domain::packet::PacketSeen;
use panther_events::domain::pipeline::ProcessorFailed;
use panther_events::emit::ContextEntered;
use panther_events::event::{
    Detail, Domain, EventId, EventKind, Identity, KindSet, Payload, Record, Symbol, Symbols,
};
use panther_events::journal::{
    Durability, JournalLog, JournalReader, JournalWorker, JournalWriter, Options, ReadOptions, RunId, Select,
};
use panther_events::pipeline::Builder;
use panther_events::process::{Derived, Processor};
use panther_events::recorder::{FlightRecorder, RecorderOptions};
use std::fs;
use std::sync::Arc;

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
    // Opened anew, and no record is written yet.
    let options = Options::new(Durability::ProcessCrash);
    let mut writer = JournalWriter::open(&dir.join("journal"), id, options, 7).unwrap();
    assert_unknown(dir, "journal", 1, "is being written");
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
        let contexts = KindSet::of(&[ContextEntered::KIND, ProcessorFailed::KIND]);
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
        ("no-processors", whole.without(ProcessorFailed::KIND)),
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
    let mut log = Some(JournalLog::new(worker, kinds, &symbols, &Default::default()));
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

/// It was closed in order, and holds each event that an emitter accepted; there were more.
#[test]
fn what_no_emitter_recorded_leaves_a_doubt() {
    type Prepare = fn(&mut Builder);
    let as_it_is: Prepare = |_| {};
    let derives: Prepare = |builder| {
        builder.processor("relay", |_| Relay);
    };
    let goes_on: Prepare = |builder| {
        builder.preload(|each| {
            let left = ContextEntered { context: Detail::NONE };
            each(&[Record::new(Identity::Occurrence, 1, Symbol::of("earlier"), &left)]);
        });
    };
    for (prepare, refuses, why) in [
        (as_it_is, false, None),
        (derives, false, Some("1 pipelines had processors")),
        (goes_on, false, Some("1 pipelines went on with a run")),
        (as_it_is, true, Some("1 events were refused by their emitters")),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let file = dir.join("run.flight");
        let recorder = FlightRecorder::create(&file, &RecorderOptions::default(), 42).unwrap();
        let mut builder = Builder::default();
        builder.recorder(&recorder);
        prepare(&mut builder);
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("runner").unwrap();
        one_that_passes(&mut emitter);
        if refuses {
            // Of its kind, each has a digest.
            emitter.emit::<PacketSeen>(Symbol::of("flow"), &bytemuck::Zeroable::zeroed()).unwrap_err();
        }
        drop(emitter);
        pipeline.shutdown().account.check().unwrap();
        drop(recorder);
        let output = run(&["recover", "run.flight", "--out", "journal"], dir);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        match why {
            None => assert_passed(dir, "journal"),
            Some(why) => assert_unknown(dir, "journal", 3, why),
        }
    }
}

/// Derives nothing that a verdict follows from; but who replays does not know that.
struct Relay;

impl Processor for Relay {
    fn interest(&self) -> KindSet {
        KindSet::ALL
    }

    fn process(&mut self, _: &Record, _: &mut Derived<'_>) {}
}

/// A step fails in one file; another file's step of that name is no retry of it, in whichever order the files are given.
#[test]
fn what_one_file_tells_undoes_no_failure_that_another_tells() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let step = |name: &str, micros: u32| {
        format!(
            r#"{{"name": "{name}", "type": "x", "entity_type": "step", "entity_id": "s", "timestamp": "2026-11-23T22:43:47.{micros:06}", "data": {{"test_case_id": "t"}}}}"#
        )
    };
    let test = passing("t");
    let (before, after) = test.split_at(8);
    let fails = [step("execution_started", 7), step("execution_failed", 7)];
    let retries = [step("execution_started", 8), step("execution_completed", 8)];
    let ingest = |files: &[&str]| {
        let args = ["ingest", "--format", "panther", "--out", "out", "--force", "--require-passed"];
        run(&[&args, files].concat(), dir).status.code()
    };
    let write =
        |name: &str, parts: &[&[String]]| fs::write(dir.join(name), parts.concat().join("\n")).unwrap();
    write("one", &[before, &fails, &retries, after]);
    write("client", &[before, &fails, after]);
    write("server", &[&retries]);
    assert_eq!(ingest(&["one"]), Some(0), "it is a retry where one file tells of both");
    assert_eq!(ingest(&["client"]), Some(3));
    for files in [["client", "server"], ["server", "client"]] {
        assert_eq!(ingest(&files), Some(3), "{files:?}");
    }
}

/// What an earlier part of the run refused, and stored nothing of, may have failed.
#[test]
fn a_resumed_journal_without_events_is_not_passed_over_where_its_run_refused_some() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let resumed = |earlier: &[String]| {
        let _ = fs::remove_dir_all(dir.join("journal"));
        ingest(dir, earlier, &["--journal", "journal", "--quiet"]);
        let options = ["--journal", "journal", "--resume", "--require-passed", "--quiet"];
        ingest(dir, &passing("t"), &options).status.code()
    };
    assert_eq!(resumed(&["no event".to_owned()]), Some(3));
    let none: Vec<String> = passing("u").into_iter().take(0).collect();
    assert_eq!(resumed(&none), Some(0), "nothing came, and nothing was refused");
}

/// The note of what was read goes into the journal however long it is.
#[test]
fn what_was_refused_of_many_inputs_with_long_names_is_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("good.jsonl"), passing("t").join("\n")).unwrap();
    // Signs that take six bytes as they are written.
    let folder = dir.join("\u{1}".repeat(200)).join("\u{2}".repeat(200)).join("\u{3}".repeat(200));
    fs::create_dir_all(&folder).unwrap();
    let bad = (0..300).map(|number| {
        let bad = folder.join(format!("{number}.jsonl"));
        fs::write(&bad, "no event\n").unwrap();
        bad.to_str().unwrap().to_owned()
    });
    let bad: Vec<String> = bad.collect();
    let mut args = vec!["ingest", "good.jsonl", "--format", "panther", "--out", "out"];
    args.extend(["--journal", "journal"]);
    args.extend(bad.iter().map(String::as_str));
    let output = run(&args, dir);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert_unknown(dir, "journal", 3, "300 of the records of all inputs were refused");
}

/// Two testers tell of one fact under one key, and the second one that it failed: a journal without duplicates has the first alone.
#[test]
fn a_journal_without_what_others_told_under_a_key_makes_nothing_pass() {
    use panther_events::clock::Clock;
    use panther_events::domain::TypedSink;
    use panther_events::event::Value;
    use panther_events::journal::JournalLog;
    use panther_events::pipeline::Pipeline;
    for (keyed, select, code, word) in [
        (true, Select::ALL, 1, "worse"),
        (true, Select::UNIQUE, 3, "under keys"),
        (false, Select::UNIQUE, 0, ""),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut builder = Pipeline::builder();
        builder.observer("journal", move |setup| {
            let options = Options { select, ..small() };
            JournalLog::open(&path, RunId([5; 16]), options, Clock::cycles(), setup.symbols, setup.schema)
                .unwrap()
                .of(setup.origin, setup.totals)
        });
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("runner").unwrap();
        {
            let mut test = emitter.test("t");
            test.created("t", Value::Null, Default::default()).unwrap();
            test.setup_started(Value::Null, Default::default()).unwrap();
            test.setup_completed(Value::Null, Default::default()).unwrap();
            test.environment_setup_started("docker", Default::default()).unwrap();
            test.environment_setup_completed("docker", Default::default()).unwrap();
            test.deployment_started(Value::Null).unwrap();
            test.deployment_completed(Value::Null, Default::default()).unwrap();
            test.execution_started(Value::Null, Default::default()).unwrap();
            test.step_started("work", Default::default()).unwrap();
            test.step_completed("work", Default::default()).unwrap();
        }
        for passes in [true, !keyed] {
            let mut teller = pipeline.emitter("teller").unwrap();
            if keyed {
                let key = EventId::key(&["run", "fact"]);
                teller.keyed(key).assertion("a").result(passes, "why", "a", Default::default()).unwrap();
            }
        }
        let mut test = emitter.test("t");
        test.teardown_started().unwrap();
        test.completed("t", Default::default()).unwrap();
        drop(emitter);
        let _ = pipeline.shutdown();
        let (found, told, _) = replay(dir.path(), "journal");
        assert!(found == code && told.contains(word), "{keyed} {select:?}: {found}: {told}");
    }
}
