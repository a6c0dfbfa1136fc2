//! Promise: clocks of two processes agree to within 10 us. `PANTHER_CLOCK_S` says for how many seconds they are compared.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

use panther_events::clock::Clock;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const CHILD: &str = "PANTHER_CLOCK_CHILD";
const TOLERANCE_NS: i64 = 10_000;

/// What the child does: tells the time for each line that it reads; without a parent, nothing.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let (clock, mut out) = (Clock::cycles(), std::io::stdout());
    // The test harness leaves a line begun.
    writeln!(out).unwrap();
    for line in std::io::stdin().lines() {
        line.unwrap();
        writeln!(out, "now {}", clock.now_ns()).unwrap();
        out.flush().unwrap();
    }
}

struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start() -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Process { child, input, output }
    }

    fn now_ns(&mut self) -> i64 {
        writeln!(self.input).unwrap();
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the child ended");
            if let Some(now_ns) = line.trim().strip_prefix("now ") {
                return now_ns.parse().unwrap();
            }
        }
    }
}

#[test]
fn two_processes_agree_and_so_does_one_that_starts_later() {
    let seconds = std::env::var("PANTHER_CLOCK_S").map_or(3, |seconds| seconds.parse().unwrap());
    let mut first = Process::start();
    first.now_ns();
    std::thread::sleep(Duration::from_millis(1_300));
    let mut second = Process::start();
    second.now_ns();
    // The first 10 ms go by the first guess of the counter's pace.
    std::thread::sleep(Duration::from_millis(50));
    let (start, mut narrowest, mut furthest) = (Instant::now(), i64::MAX, 0);
    while start.elapsed() < Duration::from_secs(seconds) {
        let (before, between, after) = (first.now_ns(), second.now_ns(), first.now_ns());
        assert!(before <= after);
        // By how much the second is ahead lies between these.
        let (least, most) = (between - after, between - before);
        let off = least.max(0).max(-most);
        furthest = furthest.max(off);
        assert!(off <= TOLERANCE_NS, "{off} ns apart after {:?}", start.elapsed());
        narrowest = narrowest.min(most - least);
        std::thread::sleep(Duration::from_micros(500));
    }
    println!(
        "{seconds} s: at most {furthest} ns beyond what a question takes, the quickest of which took {narrowest} ns"
    );
    for mut process in [first, second] {
        drop(process.input);
        process.child.wait().unwrap();
    }
    assert!(narrowest < 1_000_000, "the questions took too long to tell anything: {narrowest} ns");
}
