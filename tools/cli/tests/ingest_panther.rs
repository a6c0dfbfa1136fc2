//! Promise: PANTHER's events in, a right result directory out; every bad line told, and the rest used.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

#[path = "../../../tests/it/support/skip.rs"]
mod skip;

use crate::skip::skip;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const TOPOLOGIES: [&str; 4] = ["inline", "fused", "staged:1x2", "staged:3x2"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(name)
}

fn command(verb: &str, files: &[&Path], out: &Path, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_panther-events"));
    command.arg(verb).args(files).arg("--out").arg(out).args(options).output().unwrap()
}

struct Run {
    output: Output,
    dir: tempfile::TempDir,
}

impl Run {
    fn new(files: &[&Path], options: &[&str]) -> Run {
        let dir = tempfile::tempdir().unwrap();
        let output = command("ingest", files, &dir.path().join("out"), options);
        Run { output, dir }
    }

    fn status(&self) -> i32 {
        self.output.status.code().unwrap()
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).unwrap()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join("out").join(name)).unwrap()
    }

    fn summary(&self) -> Value {
        serde_json::from_str(&self.read("summary.json")).unwrap()
    }

    fn states(&self) -> BTreeMap<String, String> {
        let text = self.read("states.csv");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("entity,domain,state,since_ns,experiment,test,step"));
        let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        lines
            .map(cells)
            .map(|cells| {
                assert!(cells[3].parse::<u64>().unwrap() > 1_700_000_000_000_000_000);
                (format!("{}:{}", cells[1], cells[0]), cells[2].clone())
            })
            .collect()
    }
}

#[test]
fn an_experiment_ends_as_expected_under_every_topology_and_after_a_replay() {
    let file = fixture("panther-lifecycle.jsonl");
    let expected = fs::read_to_string(fixture("panther-lifecycle.expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let check = |run: &Run, label: &str| {
        assert_eq!(run.status(), 0, "{label}: {}", run.stderr());
        let summary = run.summary();
        assert_eq!(summary["states"]["entities"], expected["entities"], "{label}");
        assert_eq!(summary["states"]["final"], expected["final"], "{label}");
        assert_eq!(summary["states"]["invalid_transitions"], expected["invalid_transitions"], "{label}");
        assert_eq!(serde_json::to_value(run.states()).unwrap(), expected["states"], "{label}");
        assert_eq!(summary["accounting"]["unique"], expected["unique"], "{label}");
        assert_eq!(summary["accounting"]["duplicates"], expected["duplicates"], "{label}");
        assert_eq!(summary["results"]["tests"]["total"], 20, "{label}");
        assert!(summary.get("packets").is_none());
    };
    for topology in TOPOLOGIES {
        let run = Run::new(&[&file], &["--topology", topology]);
        check(&run, topology);
        let panther = &run.summary()["panther"];
        assert_eq!((&panther["lines"], &panther["distinct_ids"]), (&expected["lines"], &expected["unique"]));
        assert_eq!(panther["id_mismatches"], 0);
        assert_eq!(run.summary()["inputs"][0]["format"], "panther");
    }
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let first = Run::new(&[&file], &["--journal", journal.to_str().unwrap()]);
    check(&first, "with a journal");
    let dir = tempfile::tempdir().unwrap();
    let output = command("replay", &[&journal], &dir.path().join("out"), &[]);
    let replayed = Run { output, dir };
    check(&replayed, "replay");
    assert_eq!(first.read("events.jsonl"), replayed.read("events.jsonl"));
    let again = Run::new(&[&file], &["--journal", journal.to_str().unwrap(), "--resume"]);
    assert_eq!(again.summary()["accounting"]["unique"], 0, "{}", again.stderr());
}

#[test]
fn panthers_ids_stand_beside_ours() {
    for name in ["panther-dev.jsonl", "panther-odd.jsonl"] {
        let run = Run::new(&[&fixture(name)], &["--quiet"]);
        assert_eq!((run.status(), run.stderr()), (0, String::new()), "{name}");
        let text = fs::read_to_string(fixture(name)).unwrap();
        let theirs: BTreeSet<&str> = text.lines().map(|line| &line[8..44]).collect();
        let summary = run.summary();
        assert_eq!(summary["panther"]["distinct_ids"], theirs.len(), "{name}");
        assert_eq!(summary["panther"]["id_mismatches"], 0, "{name}");
        assert_eq!(summary["panther"]["lines"], text.lines().count(), "{name}");
        assert_eq!(summary["accounting"]["unique"], theirs.len(), "{name}");
        let events = run.read("events.jsonl");
        let ours: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ids: BTreeSet<&str> = ours.iter().map(|event| event["panther_id"].as_str().unwrap()).collect();
        assert_eq!(ids, theirs, "{name}");
        assert!(ours.iter().all(|event| event["id"].as_str().unwrap().as_bytes()[14] == b'8'));
    }
}

fn line(entity: &str) -> String {
    format!(
        r#"{{"id": null, "name": "created", "type": "test.created", "entity_type": "test", "entity_id": {entity}, "timestamp": "2026-11-23T22:43:47", "data": {{"test_name": "t"}}}}"#
    )
}

#[test]
fn bad_lines_are_told_by_file_and_number_and_the_rest_is_used() {
    let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
    let mut text = Vec::new();
    let mut bad = Vec::new();
    let mut put = |bytes: &[u8], why: Option<&'static str>| {
        text.extend_from_slice(bytes);
        text.push(b'\n');
        if let Some(why) = why {
            bad.push((text.iter().filter(|byte| **byte == b'\n').count(), why));
        }
    };
    put(b"\x1b[2Jnot json", Some("not JSON"));
    put(line("\"a\"").as_bytes(), None);
    put(line("\"a\"").replace("\"name\"", "\"nome\"").as_bytes(), Some("missing"));
    put(line("17").as_bytes(), Some("an integer"));
    put(line("\"b\"").replace("\"created\"", "\"\\u001b[31mburnt\"").as_bytes(), Some("unknown"));
    put(line(&format!("\"{}\"", "x".repeat(10 << 20))).as_bytes(), Some("bytes"));
    put(line("\"c\"").replace("\"t\"", &deep).as_bytes(), Some("nested"));
    put(b"{\"entity_id\": \"\xff\"}", Some("UTF-8"));
    // A name that is good, but not for a terminal.
    put(line("\"\\u001b[31mred\\u0007\"").as_bytes(), None);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad\u{1b}[31m.jsonl");
    fs::write(&path, &text).unwrap();
    for options in [&[][..], &["--format", "panther", "--events", "all"]] {
        let run = Run::new(&[&path], options);
        assert_eq!(run.status(), 1, "{}", run.stderr());
        let told = run.stderr() + &String::from_utf8(run.output.stdout.clone()).unwrap();
        assert!(!told.contains('\u{1b}') && !told.contains('\u{7}'), "{told:?}");
        let summary = run.summary();
        assert_eq!(
            (&summary["inputs"][0]["rejected"], &summary["accounting"]["unique"]),
            (&7.into(), &2.into())
        );
        assert_eq!(summary["panther"]["lines"], 9);
        let refusals = summary["inputs"][0]["refusals"].as_array().unwrap();
        assert_eq!(refusals.len(), bad.len());
        for (refusal, (number, why)) in refusals.iter().zip(&bad) {
            let refusal = refusal.as_str().unwrap();
            assert!(
                refusal.contains(&format!(".jsonl:{number}: ")) && refusal.contains(why),
                "{refusal} {why}"
            );
            assert!(run.stderr().contains(refusal));
        }
        assert!(run.stderr().contains("7 lines were refused"));
    }
}

#[test]
fn the_first_twenty_refusals_are_told_and_all_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.jsonl");
    fs::write(&path, line("\"a\"") + "\n" + &"{}\n".repeat(50)).unwrap();
    let run = Run::new(&[&path], &[]);
    assert_eq!(run.status(), 1);
    assert_eq!(run.stderr().matches("bad.jsonl:").count(), 20 + 1, "{}", run.stderr());
    assert!(run.stderr().contains("and 30 more"));
    assert_eq!(run.summary()["inputs"][0]["rejected"], 50);
}

#[test]
fn wrong_ids_are_counted_and_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wrong.jsonl");
    let wrong = "8c6b7bb0-0000-5000-8000-000000000000";
    fs::write(&path, line("\"a\"").replace("null", &format!("\"{wrong}\"")) + "\n" + &line("\"b\"")).unwrap();
    let run = Run::new(&[&path], &[]);
    assert_eq!((run.status(), &run.summary()["panther"]["id_mismatches"]), (0, &1.into()));
    assert!(run.stderr().contains("wrong.jsonl:1: the id 8c6b7bb0"), "{}", run.stderr());
    assert_eq!(run.read("events.jsonl").matches(wrong).count(), 1);
}

#[test]
fn failures_are_printed_with_their_reasons() {
    let failed = |kind: &str, name: &str, entity: &str, data: &str| {
        format!(
            r#"{{"name": "{name}", "type": "x", "entity_type": "{kind}", "entity_id": "{entity}", "timestamp": "2026-11-23T22:43:47", "data": {data}}}"#
        )
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("failed.jsonl");
    let lines = [
        failed("step", "execution_started", "connect", r#"{"test_case_id": "t"}"#),
        failed(
            "step",
            "execution_failed",
            "connect",
            r#"{"error_message": "no \u001b[31manswer", "test_case_id": "t"}"#,
        ),
        failed("test", "failed", "t", r#"{"error_message": "a step failed"}"#),
    ];
    fs::write(&path, lines.join("\n")).unwrap();
    let run = Run::new(&[&path], &[]);
    let told = String::from_utf8(run.output.stdout.clone()).unwrap();
    let expected = "failed: test t: a step failed\n  step connect: no \\u{1b}[31manswer\n";
    assert!(told.contains(expected), "{told}");
    assert_eq!(run.status(), 0, "{}", run.stderr());
}

/// A line of PANTHER's.
fn numbered_line(number: usize, kind: &str, name: &str, entity: &str, data: &str) -> String {
    format!(
        r#"{{"name": "{name}", "type": "x", "entity_type": "{kind}", "entity_id": "{entity}", "timestamp": "2026-11-23T22:43:47.{number:06}", "data": {data}}}"#
    )
}

#[test]
fn nothing_that_has_not_passed_goes_unnamed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let in_test = r#"{"test_case_id": "t"}"#;
    let events = [
        ("test", "setup_started", "t", r#"{"service_names": []}"#),
        ("test", "setup_completed", "t", "{}"),
        ("test", "environment_setup_started", "t", "{}"),
        ("test", "environment_setup_completed", "t", "{}"),
        ("test", "deployment_started", "t", "{}"),
        ("test", "deployment_completed", "t", "{}"),
        ("test", "execution_started", "t", "{}"),
        ("test", "step_started", "t", r#"{"step_name": "connect"}"#),
        ("step", "execution_started", "connect", in_test),
        ("assertion", "validation_started", "rtt", in_test),
        ("test", "teardown_started", "t", "{}"),
        ("test", "completed", "t", "{}"),
        // Of no known test.
        ("step", "execution_failed", "lone", r#"{"error_message": "no answer"}"#),
        ("assertion", "result", "lost", r#"{"assertion_passed": false, "assertion_message": "too slow"}"#),
        ("step", "execution_started", "open", "{}"),
        ("experiment", "failed", "x", r#"{"error_message": "no plugin"}"#),
        ("test", "completed", "u", "{}"),
    ];
    let lines: Vec<_> = (0..)
        .zip(events)
        .map(|(number, (kind, name, entity, data))| numbered_line(number, kind, name, entity, data))
        .collect();
    fs::write(&path, lines.join("\n")).unwrap();
    let run = Run::new(&[&path], &[]);
    let told = String::from_utf8(run.output.stdout.clone()).unwrap();
    let expected = "incomplete: test t\n  step connect: running\n  assertion rtt: running\nrunning: test u\n\
        failed: step lone: no answer, of no known test\nfailed: assertion lost: too slow, of no known test\n\
        1 steps of no known test have not passed\nfailed: experiment x: no plugin\n";
    assert!(told.contains(expected), "{told}");
    let invalid = [
        "warning: 1 invalid transition of domain test: \"u\" was created when completed came",
        "warning: 1 invalid transition of domain step: \"lone\" was created when execution_failed came",
        "warning: 1 invalid transition of domain assertion: \"lost\" was created when result came",
    ];
    for warning in invalid {
        assert!(run.stderr().contains(warning), "{}", run.stderr());
    }
    assert_eq!(Run::new(&[&path], &["--require-passed", "--quiet"]).status(), 3);
    // What the events tell is no loss.
    assert_eq!(run.status(), 0, "{}", run.stderr());
    let results = &run.summary()["results"];
    assert_eq!((&results["outcome"], &results["tests"]["passed"]), (&"failed".into(), &0.into()));
    assert_eq!((&results["tests"]["incomplete"], &results["tests"]["running"]), (&1.into(), &1.into()));
    assert_eq!(
        (&results["steps_beside"]["total"], &results["assertions_beside"]["failed"]),
        (&2.into(), &1.into())
    );
    assert_eq!(run.summary()["warnings"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_run_that_is_to_pass_ends_with_success_only_where_something_passed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let events = [
        ("test", "setup_started", "t", r#"{"service_names": []}"#),
        ("test", "setup_completed", "t", "{}"),
        ("test", "environment_setup_started", "t", "{}"),
        ("test", "environment_setup_completed", "t", "{}"),
        ("test", "deployment_started", "t", "{}"),
        ("test", "deployment_completed", "t", "{}"),
        ("test", "execution_started", "t", "{}"),
        ("test", "step_started", "t", r#"{"step_name": "connect"}"#),
        ("test", "step_completed", "t", r#"{"step_name": "connect"}"#),
        ("test", "teardown_started", "t", "{}"),
        ("test", "completed", "t", "{}"),
        ("step", "execution_failed", "lone", "{}"),
    ];
    let lines: Vec<_> = (0..)
        .zip(events)
        .map(|(number, (kind, name, entity, data))| numbered_line(number, kind, name, entity, data))
        .collect();
    // Nothing; a test that has not ended; all that passed; a step beside it that failed.
    for (count, required) in [(0, 3), (10, 3), (11, 0), (12, 3)] {
        fs::write(&path, lines[..count].join("\n")).unwrap();
        let status = |options: &[&str]| {
            let run = Run::new(&[&path], &[&["--format", "panther", "--quiet"], options].concat());
            (run.status(), run.stderr())
        };
        assert_eq!(status(&["--require-passed"]), (required, String::new()), "{count} lines");
        assert_eq!(status(&[]), (0, String::new()), "{count} lines");
    }
}

#[test]
fn a_run_without_a_test_is_no_run_that_passed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let events = [
        ("initialized", "{}"),
        ("plugin_loading_started", "{}"),
        ("plugin_loading_completed", "{}"),
        ("test_cases_initialized", "{}"),
        ("execution_started", "{}"),
        ("execution_completed", r#"{"success_count": 0, "failure_count": 0, "total_count": 0}"#),
        ("completed", "{}"),
    ];
    let lines: Vec<_> = (0..)
        .zip(events)
        .map(|(number, (name, data))| numbered_line(number, "experiment", name, "x", data))
        .collect();
    fs::write(&path, lines.join("\n")).unwrap();
    let run = Run::new(&[&path], &["--require-passed", "--quiet"]);
    assert_eq!(run.summary()["results"]["experiments"][0]["outcome"], "passed");
    assert_eq!((run.status(), run.stderr()), (3, String::new()));
}

#[test]
fn a_failure_that_a_resumed_journal_knew_already_makes_no_run_pass() {
    let dir = tempfile::tempdir().unwrap();
    let (path, journal) = (dir.path().join("events.jsonl"), dir.path().join("journal"));
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
    let failed = [("failed", "{}")];
    let all = failed.iter().map(|event| ("a", event)).chain(events.iter().map(|event| ("b", event)));
    let lines: Vec<_> = (0..)
        .zip(all)
        .map(|(number, (test, (name, data)))| numbered_line(number, "test", name, test, data))
        .collect();
    let run = |count: usize, options: &[&str]| {
        fs::write(&path, lines[..count].join("\n")).unwrap();
        let journal =
            ["--format", "panther", "--quiet", "--require-passed", "--journal", journal.to_str().unwrap()];
        Run::new(&[&path], &[&journal, options].concat())
    };
    assert_eq!(run(1, &[]).status(), 3);
    let again = run(lines.len(), &["--resume"]);
    assert_eq!(again.status(), 3, "{}", again.stderr());
    assert!(again.stderr().contains("`replay` judges all that it holds"), "{}", again.stderr());
}

#[test]
fn formats_are_told_apart_and_not_mixed() {
    let capture = fixture("client.pcap");
    let events = fixture("panther-lifecycle.jsonl");
    let run = Run::new(&[&capture, &events], &[]);
    assert_eq!(run.status(), 2);
    assert!(run.stderr().contains("different formats"), "{}", run.stderr());
    let forced = Run::new(&[&capture], &["--format", "panther", "--quiet"]);
    assert_eq!(forced.status(), 1);
    assert_eq!(forced.summary()["accounting"]["offered"], 0);
    assert_eq!(forced.summary()["states"]["entities"], 0);
    assert!(forced.summary().get("packets").is_none());
    let forced = Run::new(&[&events], &["--format", "capture"]);
    assert_eq!(forced.status(), 2);
    // Two files of one name, in different directories.
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("panther-lifecycle.jsonl");
    fs::copy(&events, &copy).unwrap();
    let run = Run::new(&[&events, &copy], &["--quiet"]);
    assert_eq!(
        (run.status(), &run.summary()["panther"]["lines"]),
        (0, &(2 * 1342).into()),
        "{}",
        run.stderr()
    );
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_when_its_format_is_said() {
    let script = format!(
        "{} ingest --format panther <(cat {}) --out \"$1\" --quiet",
        env!("CARGO_BIN_EXE_panther-events"),
        fixture("panther-lifecycle.jsonl").display()
    );
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let Ok(output) = Command::new("bash").args(["-c", &script, "bash"]).arg(&out).output() else {
        skip("shell", "there is no bash");
        return;
    };
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: Value =
        serde_json::from_str(&fs::read_to_string(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["panther"]["lines"], 1342);
}

/// A journal that a test has written keeps the contexts of its events.
#[test]
fn contexts_survive_a_journal() {
    use panther_events::clock::Clock;
    use panther_events::domain::Schema;
    use panther_events::event::{Level, Symbols};
    use panther_events::journal::{Durability, JournalLog, Options, RunId};
    use panther_events::pipeline::Pipeline;
    use std::sync::Arc;
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let (schema, symbols) = (Schema::new(), Arc::new(Symbols::new()));
    let options = Options::new(Durability::Buffered);
    let log =
        JournalLog::open(&journal, RunId::random(), options, Clock::cycles(), &symbols, &schema).unwrap();
    let mut builder = Pipeline::builder();
    builder.symbols(Arc::clone(&symbols));
    let mut log = Some(log);
    builder.observer("journal", move |setup| {
        log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
    });
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    emitter.test("before").teardown_started().unwrap();
    emitter.within(Level::Test, "inside").unwrap().test("inside").teardown_started().unwrap();
    emitter.test("after").teardown_started().unwrap();
    drop(emitter);
    pipeline.shutdown().account.check().unwrap();
    let shown = Command::new(env!("CARGO_BIN_EXE_panther-events"))
        .args(["cat", journal.to_str().unwrap(), "--within", "test=inside", "--kind", "test"])
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert_eq!((shown.lines().count(), shown.matches("\"context\":{\"test\":\"inside\"}").count()), (1, 1));
    let within = dir.path().join("within");
    command("replay", &[&journal], &within, &["--within", "test=inside"]);
    let output = command("replay", &[&journal], &dir.path().join("out"), &[]);
    let replayed = Run { output, dir };
    assert_eq!(replayed.status(), 0, "{}", replayed.stderr());
    let events = replayed.read("events.jsonl");
    // The definition of the context that was entered, and the event in it.
    let kept = fs::read_to_string(within.join("events.jsonl")).unwrap();
    let inside: Vec<&str> = events.lines().filter(|line| line.contains("\"context\":{\"test\"")).collect();
    assert_eq!((kept.lines().count(), kept.lines().collect::<Vec<_>>()), (2, inside));
    let contexts: Vec<(String, Value)> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["kind"] == "test.teardown_started")
        .map(|mut event| (event["entity"].as_str().unwrap().to_owned(), event["context"].take()))
        .collect();
    let inside = serde_json::json!({"test": "inside"});
    let expected = [("before", Value::Null), ("inside", inside), ("after", Value::Null)];
    assert_eq!(contexts, expected.map(|(entity, context)| (entity.to_owned(), context)));
}
