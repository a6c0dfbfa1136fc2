//! Promise: captures in, a right result directory out, and a clear word for whatever is wrong.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests are tests")]

#[path = "../../../tests/it/support/skip.rs"]
mod skip;

use crate::skip::skip;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(name)
}

/// A folder of the reference data; `None`, with a word, where it is absent.
fn reference(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/capture").join(folder);
    if !path.is_dir() {
        skip("data", &format!("the reference captures {folder:?} are not here"));
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
fn whole_packets_are_counted_exactly_as_an_independent_script_does() {
    let (client, server) = (fixture("whole/client.pcap"), fixture("whole/server.pcap"));
    let expected: Value = serde_json::from_slice(&fs::read(fixture("whole.expected.json")).unwrap()).unwrap();
    for topology in ["fused", "staged:2x2"] {
        let run = Run::new(&[&client, &server], &["--topology", topology]);
        assert_eq!((run.status(), run.stderr().as_str()), (0, ""), "{topology}");
        let summary = run.summary();
        assert!(summary.pointer("/packets/digest_bytes").is_some_and(Value::is_null));
        for (ours, theirs) in [("accepted", "ip"), ("unique", "unique"), ("duplicates", "duplicates")] {
            assert_eq!(
                number(&summary, &format!("/accounting/{ours}")),
                number(&expected, &format!("/{theirs}"))
            );
        }
        for (from, direction) in [("client", "client_to_server"), ("server", "server_to_client")] {
            let (ours, theirs) = (path(&summary, from), expected.get(direction).unwrap());
            for name in ["sent", "lost", "duplicated", "reordered"].into_iter().chain([
                "delay_ns/count",
                "delay_ns/min",
                "delay_ns/max",
                "delay_ns/mean",
            ]) {
                let name = format!("/{name}");
                assert_eq!(number(ours, &name), number(theirs, &name), "{topology} {direction} {name}");
            }
            // A histogram of three significant digits gives the upper end of the bucket that the value is in.
            for quantile in ["p50", "p90", "p99", "p999"] {
                let name = format!("/delay_ns/{quantile}");
                let (a, b) = (number(ours, &name), number(theirs, &name));
                assert!(b <= a && a <= b * 1.001, "{topology} {direction} {name}: {a}, expected {b}");
            }
        }
    }
}

#[test]
fn readme_shows_what_its_command_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let (_, behind) = readme.split_once("\npanther-events ingest tests/data/client.pcap").unwrap();
    let (args, behind) = behind.split_once('\n').unwrap();
    let args = format!("ingest tests/data/client.pcap{args}");
    let (args, _) = args.rsplit_once(' ').unwrap();
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_panther-events"))
        .current_dir(&root)
        .args(args.split(' '))
        .arg(dir.path().join("out"))
        .output()
        .unwrap();
    let lines = |bytes: &[u8]| -> Vec<String> {
        String::from_utf8_lossy(bytes).lines().map(|line| line.trim_end().to_owned()).collect()
    };
    let (printed, table) = (lines(&output.stderr), lines(&output.stdout));
    let printed = printed.into_iter().chain(table.into_iter().take_while(|line| !line.is_empty()));
    let (_, sample) = behind.split_once("```text\n").unwrap();
    let (sample, _) = sample.split_once("\n```").unwrap();
    assert_eq!(printed.collect::<Vec<_>>().join("\n"), sample);
}

#[test]
fn the_large_captures_agree_whole_and_with_one_side_cut_to_96_bytes() {
    let Some(folder) = reference("large") else { return };
    let (client, server) = (folder.join("client.pcap"), folder.join("server.pcap"));
    let expected: Value = serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let whole = Run::new(&[&client, &server], &[]);
    assert_eq!(whole.status(), 0, "{}", whole.stderr());
    compare(&whole.summary(), &expected);
    for (from, direction) in [("client", "client_to_server"), ("server", "server_to_client")] {
        for name in ["/delay_ns/min", "/delay_ns/max"] {
            let theirs = number(expected.get(direction).unwrap(), name);
            assert_eq!(number(path(&whole.summary(), from), name), theirs, "{direction} {name}");
        }
    }

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

/// Sets the seconds of one packet in the middle of a little-endian pcap.
fn set_seconds(pcap: &mut [u8], seconds: u32) {
    let middle = pcap.len() / 2;
    let mut at = 24;
    while at < middle {
        at += 16 + u32::from_le_bytes(pcap[at + 8..at + 12].try_into().unwrap()) as usize;
    }
    pcap[at..at + 4].copy_from_slice(&seconds.to_le_bytes());
}

#[test]
fn one_wild_time_does_not_upset_the_order_of_the_captures() {
    let (client, server) = (fixture("client.pcap"), fixture("server.pcap"));
    let as_it_is = Run::new(&[&client, &server], &[]).summary();
    for seconds in [0, u32::MAX] {
        let dir = tempfile::tempdir().unwrap();
        let wild = dir.path().join("client.pcap");
        let mut bytes = fs::read(&client).unwrap();
        set_seconds(&mut bytes, seconds);
        fs::write(&wild, bytes).unwrap();
        let summary = Run::new(&[&wild, &server], &[]).summary();
        assert_eq!(summary["accounting"]["unique"], as_it_is["accounting"]["unique"]);
        for from in ["client", "server"] {
            for count in ["sent", "lost", "duplicated", "reordered"] {
                let pointer = format!("/{count}");
                let (got, plain) = (path(&summary, from), path(&as_it_is, from));
                let (got, plain) = (number(got, &pointer), number(plain, &pointer));
                // The packet itself may miss its other sighting, and be before or behind others.
                assert!((got - plain).abs() <= 1.0, "{seconds}: {from} {count}: {got}, not {plain}");
            }
        }
    }
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
    assert!(stderr.contains(&format!("client.pcap: byte {at}: ")), "{at}: {stderr}");
    assert!(stderr.contains("ends at byte 100000"), "{stderr}");
    assert!(!stderr.contains("warning"), "quiet prints errors only: {stderr}");
    let summary = run.summary();
    assert!(number(&summary, "/inputs/0/records") > 500.0);
    // What the damaged file held before its end counts when all are cut to a common length.
    assert_eq!(number(&summary, "/packets/digest_bytes"), 146.0);
    assert!(summary.pointer("/warnings/0").is_some());
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
    for option in
        ["--window=last:0", "--window=first", "--topology=staged:0x1", "--horizon=soon", "--horizon=0s"]
    {
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

/// Runs the command; kills it, and fails, when it hangs.
fn finish(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("{command:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

#[cfg(unix)]
#[test]
fn pipes_need_to_be_told_the_digest_and_are_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo.pcap");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let binary = env!("CARGO_BIN_EXE_panther-events");
    let out = dir.path().join("out");
    let refused = finish(Command::new(binary).arg("ingest").arg(&fifo).arg("--out").arg(&out));
    assert_eq!(refused.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(stderr.contains("fifo.pcap") && stderr.contains("--digest-bytes"), "{stderr}");
    assert!(!out.exists());

    let (client, server) = (fixture("client.pcap"), fixture("server.pcap"));
    // Both ends of a process substitution are pipes with names of numbers.
    let script = r#""$0" ingest <(cat "$1") <(cat "$2") --digest-bytes 146 --out "$3""#;
    let piped = finish(Command::new("bash").args(["-c", script, binary]).arg(&client).arg(&server).arg(&out));
    assert_eq!(piped.status.code(), Some(0), "{}", String::from_utf8_lossy(&piped.stderr));
    let piped: Value = serde_json::from_slice(&fs::read(out.join("summary.json")).unwrap()).unwrap();
    let files = Run::new(&[&client, &server], &[]).summary();
    // Pipes have other names, and their paths another order.
    let delays = |summary: &Value| -> Vec<String> {
        let paths = summary.pointer("/packets/paths").and_then(Value::as_array).unwrap();
        let mut delays: Vec<String> =
            paths.iter().map(|path| path.get("delay_ns").unwrap().to_string()).collect();
        delays.sort_unstable();
        delays
    };
    assert_eq!(delays(&piped), delays(&files));
    assert_eq!(number(&piped, "/accounting/unique"), number(&files, "/accounting/unique"));
}

#[cfg(unix)]
#[test]
fn a_hard_link_is_the_same_capture() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one.pcap"), dir.path().join("two.pcap"));
    fs::copy(fixture("whole/client.pcap"), &one).unwrap();
    fs::hard_link(&one, &two).unwrap();
    let run = Run::new(&[&one, &two], &[]);
    assert_eq!(run.status(), 2);
    assert!(run.stderr().contains("given twice"), "{}", run.stderr());
}

#[test]
fn a_capture_that_the_run_would_replace_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = fs::read(fixture("whole/client.pcap")).unwrap();
    for name in ["summary.json", "events.jsonl", "MANIFEST", ".paths.csv.panther-partial"] {
        let path = dir.path().join(name);
        fs::write(&path, &bytes).unwrap();
        for options in [&["--force"][..], &["--force", "--events=none"]] {
            let output = Command::new(env!("CARGO_BIN_EXE_panther-events"))
                .arg("ingest")
                .arg(&path)
                .arg("--out")
                .arg(dir.path())
                .args(options)
                .output()
                .unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{name}: {stderr}");
            assert!(stderr.contains("would replace"), "{stderr}");
            assert!(fs::read(&path).unwrap() == bytes, "{name} was changed");
        }
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn more_vantage_points_than_there_can_be_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = (0..65)
        .map(|n| {
            let path = dir.path().join(format!("{n}.pcap"));
            fs::copy(fixture("whole/client.pcap"), &path).unwrap();
            path
        })
        .collect();
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let run = Run::new(&paths, &["--events=none"]);
    assert_eq!(run.status(), 2);
    assert!(run.stderr().contains("at most 64"), "{}", run.stderr());
    assert!(run.left_nothing());
}

#[test]
fn metrics_count_what_the_summary_counts() {
    let dir = tempfile::tempdir().unwrap();
    let damaged = dir.path().join("damaged.pcap");
    let mut bytes = fs::read(fixture("whole/client.pcap")).unwrap();
    // An IPv4 header of no length in the first packet.
    bytes[24 + 16 + 14] = 0x40;
    fs::write(&damaged, bytes).unwrap();
    let run = Run::new(&[&damaged, &fixture("whole/server.pcap")], &[]);
    assert_eq!(run.status(), 1, "{}", run.stderr());
    let (summary, metrics) = (run.summary(), fs::read_to_string(run.out.join("metrics.om")).unwrap());
    assert_eq!(number(&summary, "/inputs/0/rejected"), 1.0);
    for (at, vantage) in ["damaged", "server"].into_iter().enumerate() {
        for name in ["records", "rejected", "non_ip"] {
            let value = number(&summary, &format!("/inputs/{at}/{name}"));
            let line = format!("panther_input_{name}_total{{vantage=\"{vantage}\"}} {value}");
            assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
        }
    }
    for line in [
        "panther_dedup_late_total 0",
        "panther_dedup_spill_failures_total{operation=\"read\"} 0",
        "panther_dedup_spill_failures_total{operation=\"write\"} 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
}
