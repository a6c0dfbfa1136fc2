//! Promise: a signal ends a run with a journal that is closed in order, or copies its flight recorder.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_panther-events"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A run that reads a capture from a pipe.
struct Run {
    child: Child,
    dir: tempfile::TempDir,
}

impl Run {
    fn new(options: &[&str]) -> Run {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let child = command()
            .current_dir(dir.path())
            .args(["ingest", "pipe", "--out", "out", "--digest-bytes", "60", "--events", "all", "--quiet"])
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Run { child, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Writes packets into the pipe until `stop`, or nobody reads them; then calls `then` beside it.
    fn feed(&self, then: impl FnOnce(&Run)) {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/client.pcap");
                let capture = fs::read(data).unwrap();
                let mut pipe: File = OpenOptions::new().write(true).open(self.path("pipe")).unwrap();
                let (header, packets) = capture.split_at(24);
                let mut written = pipe.write_all(header);
                while written.is_ok() && !stop.load(Ordering::Relaxed) {
                    written = pipe.write_all(packets);
                    // Slow enough that a busy machine has no more to read back than an idle one.
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            then(self);
            stop.store(true, Ordering::Relaxed);
        });
    }

    /// Ends by itself, whatever the pipe does.
    fn end_soon(mut self) -> (Output, tempfile::TempDir) {
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if start.elapsed() > Duration::from_secs(5) {
                self.child.kill().unwrap();
                panic!("it goes on waiting");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.end()
    }

    fn end(self) -> (Output, tempfile::TempDir) {
        (self.child.wait_with_output().unwrap(), self.dir)
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn assert_sound(journal: &Path) {
    let verified = command().arg("verify").arg(journal).output().unwrap();
    let told = text(&verified.stdout);
    assert!(told.contains("closed in order"), "{told}");
}

#[test]
fn a_run_that_is_told_to_stop_closes_its_journal_and_writes_what_it_has() {
    for signal in ["INT", "TERM"] {
        let run = Run::new(&["--journal", "journal"]);
        let mut follower = None;
        run.feed(|run| {
            // Half a segment's worth is not needed; some blocks are.
            wait_until("the journal", || {
                let cat =
                    command().arg("cat").arg(run.path("journal")).args(["--source", "0"]).output().unwrap();
                cat.stdout.len() > 1 << 16
            });
            let mut follow = command();
            follow.arg("cat").arg(run.path("journal")).arg("--follow").stdout(Stdio::piped());
            // Its output is read at once, so that it never waits for room.
            let follow = follow.spawn().unwrap();
            follower = Some(std::thread::spawn(move || follow.wait_with_output().unwrap()));
            std::thread::sleep(Duration::from_millis(50));
            run.signal(signal);
            // It reads on to the next packet, and no further.
            std::thread::sleep(Duration::from_millis(100));
        });
        let (output, dir) = run.end();
        assert_eq!(output.status.code(), Some(1), "{signal}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("interrupted"), "{signal}: {}", text(&output.stderr));
        let journal = dir.path().join("journal");
        assert_sound(&journal);
        let cat = command().arg("cat").arg(&journal).output().unwrap();
        let events = fs::read_to_string(dir.path().join("out/events.jsonl")).unwrap();
        assert_eq!(text(&cat.stdout).lines().count(), events.lines().count());
        // Who followed saw the same, and ended with the run.
        let followed = follower.unwrap().join().unwrap();
        assert_eq!(followed.status.code(), Some(0));
        assert!(followed.stdout == cat.stdout, "{signal}: the follower saw something else");
        assert!(dir.path().join("out/MANIFEST").exists(), "no results");
    }
}

#[test]
fn a_signal_copies_the_flight_recorder() {
    let run = Run::new(&["--recorder", "run.flight"]);
    run.feed(|run| {
        wait_until("the recorder", || {
            let told = command().arg("recover").arg(run.path("run.flight")).output().unwrap();
            !told.stdout.is_empty()
        });
        // An earlier run left its own.
        fs::create_dir(run.path("run.flight.1.journal")).unwrap();
        for n in 2..=3 {
            run.signal("USR1");
            wait_until("the snapshot", || run.path(&format!("run.flight.{n}.journal")).exists());
        }
    });
    let (output, dir) = run.end();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for n in 2..=3 {
        let journal = dir.path().join(format!("run.flight.{n}.journal"));
        assert_sound(&journal);
        let verified = command().arg("verify").arg(&journal).output().unwrap();
        assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stdout));
        let cat = command().arg("cat").arg(&journal).output().unwrap();
        let lines = text(&cat.stdout).lines().count();
        assert!((1..=4096).contains(&lines), "{lines}");
        assert!(text(&cat.stdout).contains("\"kind\":\"packet.seen\""), "{}", &text(&cat.stdout)[..200]);
    }
    // At the end the file is closed in order, and holds the last events.
    let run = command().arg("recover").arg(dir.path().join("run.flight")).output().unwrap();
    assert!(text(&run.stderr).contains("closed in order"), "{}", text(&run.stderr));
    assert_eq!(text(&run.stdout).lines().count(), 4096);
}

/// What a pipe gives before it falls silent.
fn beginnings() -> [(&'static str, &'static str, Vec<u8>); 2] {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    // Both end in the middle of something.
    let part = |name: &str, len: usize| fs::read(data.join(name)).unwrap()[..len].to_vec();
    [
        ("--format=capture", "packet.seen", part("client.pcap", 50_000)),
        ("--format=panther", "", part("panther-lifecycle.jsonl", 5_000)),
    ]
}

/// Returns how many events of `kind` a file of these bytes gives.
fn events_of(bytes: &[u8], format: &str, kind: &str) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), bytes).unwrap();
    let mut ingest = command();
    ingest.arg("ingest").arg(at("file")).arg("--out").arg(at("out")).arg("--journal").arg(at("journal"));
    ingest.args(["--digest-bytes", "60", "--quiet", format]);
    // Its end is cut, which is told.
    assert!(ingest.output().unwrap().status.code().is_some());
    let cat = command().arg("cat").arg(at("journal")).output().unwrap();
    let count = text(&cat.stdout).lines().filter(|line| line.contains(kind)).count();
    assert!((6..1024).contains(&count), "{format}: {count}");
    count
}

#[test]
fn a_run_that_waits_for_bytes_stops_when_it_is_told() {
    for (format, kind, beginning) in beginnings() {
        let run = Run::new(&["--journal", "journal", "--recorder", "run.flight", format]);
        let mut pipe = OpenOptions::new().write(true).open(run.path("pipe")).unwrap();
        pipe.write_all(&beginning).unwrap();
        // It has read that, and waits for more; what came before went through, though it is less than a block.
        let whole = events_of(&beginning, format, kind);
        wait_until("what was written", || {
            let told = command().arg("recover").arg(run.path("run.flight")).output().unwrap();
            text(&told.stdout).lines().filter(|line| line.contains(kind)).count() == whole
        });
        run.signal("USR1");
        wait_until("the snapshot", || run.path("run.flight.1.journal").exists());
        run.signal("TERM");
        let (output, dir) = run.end_soon();
        assert_eq!(output.status.code(), Some(1), "{format}: {}", text(&output.stderr));
        let told = text(&output.stderr);
        assert!(
            told.contains("interrupted") || told.contains("the run was stopped here"),
            "{format}: {told}"
        );
        let journal = dir.path().join("journal");
        assert_sound(&journal);
        let cat = command().arg("cat").arg(&journal).output().unwrap();
        let lines = text(&cat.stdout).lines().filter(|line| line.contains(kind)).count();
        assert_eq!(lines, whole, "{format}: {}", text(&cat.stdout));
        assert!(dir.path().join("out/MANIFEST").exists(), "{format}: no results");
        drop(pipe);
    }
}

#[test]
fn a_run_that_waits_for_somebody_to_write_stops_when_it_is_told() {
    for (format, ..) in beginnings() {
        let run = Run::new(&["--journal", "journal", format]);
        wait_until("the journal", || {
            run.path("journal/00000000.journal").exists() || run.path("journal/LOCK").exists()
        });
        std::thread::sleep(Duration::from_millis(100));
        run.signal("INT");
        let (output, dir) = run.end_soon();
        assert_eq!(output.status.code(), Some(2), "{format}: {}", text(&output.stderr));
        let verified = command().arg("verify").arg(dir.path().join("journal")).output().unwrap();
        assert_eq!(verified.status.code(), Some(0), "{format}: {}", text(&verified.stdout));
    }
}

/// The journals that snapshots were written to, and what was said of them.
fn snapshots(dir: &Path, told: &str) -> (Vec<String>, usize) {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("run.flight.")).collect();
    names.sort();
    (names, told.matches("events written to run.flight.").count())
}

/// Events that the run has recorded so far.
fn recorded(run: &Run) -> u64 {
    let told = text(&command().arg("recover").arg(run.path("run.flight")).output().unwrap().stderr);
    let count = told.split("ingest: the last ").nth(1).and_then(|rest| rest.split(" of ").nth(1));
    let digits = count.and_then(|rest| rest.split(' ').next()).unwrap_or_default().replace(',', "");
    digits.parse().unwrap_or(0)
}

/// As many signals, each once the one before was answered, as snapshots: the run goes on for long between and behind them.
#[test]
fn each_signal_makes_one_snapshot() {
    for signals in 0..=2 {
        let run = Run::new(&["--recorder", "run.flight"]);
        run.feed(|run| {
            let goes_on = || {
                // Many times as much as it reads between two looks at what was asked for.
                let before = recorded(run);
                wait_until("more events", || recorded(run) >= before + 10_000);
            };
            goes_on();
            for n in 1..=signals {
                run.signal("USR1");
                wait_until("the snapshot", || run.path(&format!("run.flight.{n}.journal")).exists());
                goes_on();
            }
        });
        let (output, dir) = run.end();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let expected: Vec<String> = (1..=signals).map(|n| format!("run.flight.{n}.journal")).collect();
        let found = snapshots(dir.path(), &text(&output.stderr));
        assert_eq!(found, (expected, signals), "{signals} signals: {}", text(&output.stderr));
    }
}

/// A run that is told to stop makes no snapshot that nobody asked for, and still the one that somebody did.
#[test]
fn a_stop_is_no_snapshot_and_a_snapshot_no_stop() {
    for (asks, signal) in [(false, "TERM"), (true, "TERM"), (false, "INT"), (true, "INT")] {
        let run = Run::new(&["--recorder", "run.flight", "--journal", "journal"]);
        run.feed(|run| {
            wait_until("events", || recorded(run) > 2_000);
            if asks {
                run.signal("USR1");
                wait_until("the snapshot", || run.path("run.flight.1.journal").exists());
                let before = recorded(run);
                wait_until("more events", || recorded(run) > before + 2_000);
            }
            run.signal(signal);
            // It reads on to the next packet, and no further.
            wait_until("the results", || run.path("out/MANIFEST").exists());
        });
        let (output, dir) = run.end_soon();
        assert_eq!(output.status.code(), Some(1), "{signal}: {}", text(&output.stderr));
        let (names, told) = snapshots(dir.path(), &text(&output.stderr));
        assert_eq!((names.len(), told), (usize::from(asks), usize::from(asks)), "{signal}: {names:?}");
        assert_sound(&dir.path().join("journal"));
        let left = command().arg("recover").arg(dir.path().join("run.flight")).output().unwrap();
        assert!(text(&left.stderr).contains("closed in order"), "{}", text(&left.stderr));
    }
}
