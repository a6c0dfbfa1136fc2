//! Promise: what a dead process left comes out, in order, with what is missing named.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn panther(args: &[&dyn AsRef<OsStr>]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_panther-events"))
        .args(args.iter().map(|arg| arg.as_ref()))
        .output()
        .unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Emitter `first` wrote 13 events into 8 slots, `second` wrote 3; then the process died.
fn flight() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/recorder/v1.flight")
}

fn lines(output: &Output) -> Vec<(u64, u64)> {
    let events = text(&output.stdout);
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.map(|event| (event["source"].as_u64().unwrap(), event["seq"].as_u64().unwrap())).collect()
}

#[test]
fn a_recorders_events_are_printed_in_order_and_gaps_named() {
    let run = panther(&[&"recover", &flight()]);
    assert_eq!(status(&run), 0, "{}", text(&run.stderr));
    let expected: Vec<_> = (5..13).map(|seq| (0, seq)).chain((0..3).map(|seq| (1, seq))).collect();
    assert_eq!(lines(&run), expected);
    let told = text(&run.stderr);
    for line in [
        "its process died",
        "first: the last 8 of 13 events, 5 overwritten",
        "second: the last 3 of 3 events, 0 overwritten",
        "source 0: no events with numbers 0 to 4",
    ] {
        assert!(told.contains(line), "{line:?} is not in\n{told}");
    }
    assert!(text(&run.stdout).contains("\"entity\":\"entity\""));
}

#[test]
fn a_recovered_journal_is_one_and_recovers_again() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let run = panther(&[&"recover", &flight(), &"--out", &first]);
    assert_eq!(status(&run), 0, "{}", text(&run.stderr));
    assert!(text(&run.stdout).starts_with("11 records written"), "{}", text(&run.stdout));
    let cat = panther(&[&"cat", &first]);
    assert_eq!(lines(&cat), lines(&panther(&[&"recover", &flight()])));
    assert!(
        text(&cat.stderr).contains("5 were lost before they reached the journal"),
        "{}",
        text(&cat.stderr)
    );
    // A second time there is nothing to do, and nothing is done.
    let again = panther(&[&"recover", &flight(), &"--out", &first]);
    assert_eq!(status(&again), 2);
    assert!(text(&again.stderr).contains("is there already"), "{}", text(&again.stderr));
    // A journal recovers too, to a journal and to lines.
    let run = panther(&[&"recover", &first, &"--out", &second]);
    assert_eq!(status(&run), 1, "events are missing: {}", text(&run.stderr));
    assert_eq!(text(&panther(&[&"cat", &second]).stdout), text(&cat.stdout));
    assert_eq!(text(&panther(&[&"recover", &second]).stdout), text(&cat.stdout));
}

#[test]
fn damage_is_told_and_what_is_no_recorder_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.flight");
    let mut bytes = fs::read(flight()).unwrap();
    // In a slot of the first lane: behind header, lane headers and a page of names.
    bytes[3 * 4096 + 40] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let run = panther(&[&"recover", &path]);
    assert_eq!((status(&run), lines(&run).len()), (1, 10));
    assert!(text(&run.stderr).contains("first: 1 events are damaged"), "{}", text(&run.stderr));
    assert!(fs::read(&path).unwrap() == bytes, "the file was changed");
    fs::write(&path, &bytes[..5000]).unwrap();
    let run = panther(&[&"recover", &path]);
    assert_eq!(status(&run), 2);
    assert!(text(&run.stderr).contains("5000 of its 20480 bytes"), "{}", text(&run.stderr));
    for other in [Path::new("nowhere"), dir.path()] {
        assert_eq!(status(&panther(&[&"recover", &other])), 2);
    }
}
