//! Promise: captures in, a right result directory out, and a clear word for whatever is wrong.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests are tests")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(name)
}

/// A folder of the reference data; `None`, with a word, where it is absent.
fn reference(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/capture").join(folder);
    if !path.is_dir() {
        println!("skipped: the reference captures {folder:?} are not here");
        return None;
    }
    Some(path)
}

struct Run {
    output: Output,
    out: PathBuf,
    _dir: tempfile::TempDir,
}

impl Run {
    fn new(files: &[&Path], options: &[&str]) -> Run {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let output = Command::new(env!("CARGO_BIN_EXE_panther-events"))
            .arg("ingest")
            .args(files)
            .arg("--out")
            .arg(&out)
            .args(options)
            .output()
            .unwrap();
        Run { output, out, _dir: dir }
    }

    fn status(&self) -> i32 {
        self.output.status.code().unwrap()
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).unwrap()
    }

    fn summary(&self) -> Value {
        serde_json::from_slice(&fs::read(self.out.join("summary.json")).unwrap()).unwrap()
    }

    /// Nothing was left behind, under any name.
    fn left_nothing(&self) -> bool {
        !self.out.exists()
    }
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {pointer}"))
}

fn path<'a>(summary: &'a Value, from: &str) -> &'a Value {
    let paths = summary.pointer("/packets/paths").and_then(Value::as_array).unwrap();
    paths.iter().find(|path| path.get("from").and_then(Value::as_str) == Some(from)).unwrap()
}

/// Compares a run over `client` and `server` with what an independent script found.
fn compare(summary: &Value, expected: &Value) {
    for (ours, theirs) in [("unique", "unique"), ("duplicates", "duplicates"), ("accepted", "ip")] {
        let ours = number(summary, &format!("/accounting/{ours}"));
        assert_eq!(ours, number(expected, &format!("/{theirs}")), "{theirs}");
    }
    for (from, direction) in [("client", "client_to_server"), ("server", "server_to_client")] {
        let (ours, theirs) = (path(summary, from), expected.get(direction).unwrap());
        let near = |name: &str, theirs_name: &str, tolerance: f64| {
            let (a, b) = (number(ours, &format!("/{name}")), number(theirs, &format!("/{theirs_name}")));
            assert!((a - b).abs() <= tolerance, "{direction} {name}: {a}, expected {b}");
        };
        near("lost", "lost", 3.0);
        near("sent", "unique_sent", 12.0);
        near("duplicated", "extra_copies_far", 5.0);
        near("reordered", "reordered", number(theirs, "/reordered") * 0.01);
        for quantile in ["min", "p50", "p90", "p99", "mean"] {
            let name = format!("delay_ns/{quantile}");
            near(&name, &name, number(theirs, &format!("/{name}")) * 0.01);
        }
    }
}

#[test]
fn the_main_job_finds_what_an_independent_script_finds() {
    let (client, server) = (fixture("client.pcap"), fixture("server.pcap"));
    let expected: Value = serde_json::from_slice(&fs::read(fixture("expected.json")).unwrap()).unwrap();
    for topology in ["fused", "inline", "staged:1x1", "staged:2x3", "auto"] {
        let run = Run::new(&[&client, &server], &["--topology", topology]);
        assert_eq!(run.status(), 0, "{topology}: {}", run.stderr());
        compare(&run.summary(), &expected);
    }
}

#[test]
fn the_large_captures_agree_whole_and_with_one_side_cut_to_96_bytes() {
    let Some(folder) = reference("large") else { return };
    let (client, server) = (folder.join("client.pcap"), folder.join("server.pcap"));
    let expected: Value = serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let whole = Run::new(&[&client, &server], &[]);
    assert_eq!(whole.status(), 0, "{}", whole.stderr());
    compare(&whole.summary(), &expected);

    let dir = tempfile::tempdir().unwrap();
    let cut = dir.path().join("server.pcap");
    fs::write(&cut, cut_packets(&fs::read(&server).unwrap(), 96)).unwrap();
    let run = Run::new(&[&client, &cut], &["--json"]);
    assert_eq!(run.status(), 0, "{}", run.stderr());
    let (summary, whole) = (run.summary(), whole.summary());
    assert_eq!(summary.pointer("/packets/digest_bytes").and_then(Value::as_u64), Some(82));
    for count in ["unique", "duplicates"] {
        let (a, b) = (
            number(&summary, &format!("/accounting/{count}")),
            number(&whole, &format!("/accounting/{count}")),
        );
        assert!((a - b).abs() <= b * 0.01, "{count}: {a}, uncut {b}");
    }
    for from in ["client", "server"] {
        for count in ["sent", "lost", "duplicated", "reordered"] {
            let (a, b) = (
                number(path(&summary, from), &format!("/{count}")),
                number(path(&whole, from), &format!("/{count}")),
            );
            assert!((a - b).abs() <= (b * 0.01).max(1.0), "{from} {count}: {a}, uncut {b}");
        }
    }
    let printed: Value = serde_json::from_slice(&run.output.stdout).unwrap();
    assert_eq!(printed, summary);
}

/// Cuts every packet of a little-endian pcap, as `editcap -s` does.
fn cut_packets(pcap: &[u8], len_max: usize) -> Vec<u8> {
    let (header, mut rest) = pcap.split_at(24);
    let mut cut = header.to_vec();
    while !rest.is_empty() {
        let (record, tail) = rest.split_at(16);
        let len = u32::from_le_bytes(record[8..12].try_into().unwrap()) as usize;
        let (packet, tail) = tail.split_at(len);
        let kept = len.min(len_max);
        cut.extend_from_slice(&record[..8]);
        cut.extend_from_slice(&(kept as u32).to_le_bytes());
        cut.extend_from_slice(&record[12..]);
        cut.extend_from_slice(&packet[..kept]);
        rest = tail;
    }
    cut
}

#[test]
fn a_truncated_capture_is_used_up_to_the_cut_and_reported_with_its_offset() {
    let dir = tempfile::tempdir().unwrap();
    let cut = dir.path().join("client.pcap");
    let whole = fs::read(fixture("client.pcap")).unwrap();
    fs::write(&cut, &whole[..100_000]).unwrap();
    let run = Run::new(&[&cut, &fixture("server.pcap")], &["--quiet"]);
    assert_eq!(run.status(), 1);
    // The record that the cut goes through begins here.
    let mut at = 24;
    loop {
        let len = u32::from_le_bytes(whole[at + 8..at + 12].try_into().unwrap()) as usize;
        if at + 16 + len > 100_000 {
            break;
        }
        at += 16 + len;
    }
    let stderr = run.stderr();
    assert!(stderr.contains("client.pcap") && stderr.contains(&at.to_string()), "{at}: {stderr}");
    let summary = run.summary();
    assert!(number(&summary, "/inputs/0/records") > 500.0);
    assert!(summary.pointer("/inputs/0/error").and_then(Value::as_str).is_some());
    assert!(summary.pointer("/inputs/1/error").is_some_and(Value::is_null));
}

#[test]
fn unusable_input_is_told_clearly_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let client = fixture("client.pcap");
    let missing = dir.path().join("missing.pcap");
    let same_name = write("sub-client.pcap", &fs::read(&client).unwrap());
    fs::create_dir(dir.path().join("b")).unwrap();
    let twin = dir.path().join("b/client.pcap");
    fs::rename(same_name, &twin).unwrap();
    let empty = write("empty.pcap", b"");
    let garbage = write("garbage.pcap", &[0x5a; 4096]);
    let zeros = write("zeros.pcapng", &[0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a]);
    let escape = dir.path().join("\x1b[31mred.pcap");
    let cases: [(&[&Path], &str); 8] = [
        (&[&empty], "empty"),
        (&[&missing], "missing.pcap"),
        (&[dir.path()], "directory"),
        (&[&client, &client], "given twice"),
        (&[&client, &twin], "--vantage"),
        (&[&garbage], "garbage.pcap"),
        (&[&zeros], "zeros.pcapng"),
        (&[&escape], "\\u{1b}"),
    ];
    for (files, word) in cases {
        let run = Run::new(files, &[]);
        let stderr = run.stderr();
        assert_eq!(run.status(), 2, "{files:?}: {stderr}");
        assert!(stderr.contains(word), "{files:?}: {stderr}");
        assert!(!stderr.contains("panicked") && !stderr.contains('\x1b'), "{stderr}");
        assert!(run.left_nothing(), "{files:?}");
    }
    assert_eq!(Run::new(&[], &[]).status(), 2);
    for option in ["--window=last:0", "--window=first", "--topology=staged:0x1", "--horizon=soon"] {
        assert_eq!(Run::new(&[&client], &[option]).status(), 2, "{option}");
    }
}

#[test]
fn a_used_directory_is_refused_and_forced_only_when_told() {
    let client = fixture("client.pcap");
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let ingest = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_panther-events"));
        command.arg("ingest").arg(&client).arg("--out").arg(&out).args(options).output().unwrap()
    };
    assert_eq!(ingest(&[]).status.code(), Some(0));
    let before = fs::read(out.join("summary.json")).unwrap();
    let refused = ingest(&[]);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(fs::read(out.join("summary.json")).unwrap(), before);
    assert_eq!(ingest(&["--force", "--events=none"]).status.code(), Some(0));
    assert!(!out.join("events.jsonl").exists(), "a file of the earlier run stayed");
    let parent_missing = dir.path().join("no/such/dir");
    let output = Command::new(env!("CARGO_BIN_EXE_panther-events"))
        .arg("ingest")
        .arg(&client)
        .arg("--out")
        .arg(&parent_missing)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no/such"));
}

#[test]
fn windows_forget_and_say_so() {
    let (client, server) = (fixture("client.pcap"), fixture("server.pcap"));
    let run = Run::new(&[&client, &server], &["--window", "last:64", "--events", "all"]);
    assert_eq!(run.status(), 0);
    let summary = run.summary();
    assert!(number(&summary, "/dedup/forgotten") > 1_000.0);
    assert!(number(&summary, "/dedup/remembered") <= 72.0);
    let account = |name: &str| number(&summary, &format!("/accounting/{name}"));
    assert_eq!(account("unique") + account("duplicates"), account("accepted"));
    let lines = fs::read_to_string(run.out.join("events.jsonl")).unwrap();
    assert_eq!(lines.lines().count() as f64, account("accepted"));
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}

#[test]
fn a_vantage_point_is_named_after_its_file_unless_told() {
    let (client, server) = (fixture("client.pcap"), fixture("server.pcap"));
    let named = format!("lab, left={}", client.display());
    let run = Run::new(&[&client, &server], &["--vantage", &named]);
    assert_eq!(run.status(), 0, "{}", run.stderr());
    assert_eq!(number(path(&run.summary(), "lab, left"), "/lost"), 32.0);
}
