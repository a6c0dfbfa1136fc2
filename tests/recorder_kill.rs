//! Promise: whatever ends a process, its last events are in the flight recorder; and whatever ends a recovery, the next
//! one is whole.
//!
//! The child is this test binary once more. It tells over a pipe how many events it has emitted; the parent ends it, or
//! lets it end itself, and reads the file. `RECORDER_KILLS=10000 cargo test --release --all-features --test recorder_kill`
//! runs ten thousand.
#![cfg(all(feature = "journal", unix))]
#![allow(unsafe_code, reason = "a program under test that writes where it should not")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

#[path = "it/support"]
mod support {
    #![allow(dead_code, clippy::print_stdout, clippy::unwrap_used, reason = "each test uses its part")]
    pub(crate) mod journal;
    pub(crate) mod random;
    pub(crate) mod skip;
}

use crate::support::journal::{Rng, Sample, env_count, seed};
use crate::support::skip::skip;
use panther_events::Shared;
use panther_events::domain::{DomainDef, KindDef};
use panther_events::event::{Domain, Identity, Record, Symbol};
use panther_events::journal::storage::DirStorage;
use panther_events::journal::{
    JournalReader, ReadOptions, RecoverError, keep, overwritten, recover, snapshot, verify,
};
use panther_events::pipeline::{Builder, Pipeline, PipelineOptions, Topology};
use panther_events::recorder::{FlightRecorder, RecordedDefinition, RecorderOptions, Recording};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const JOB: &str = "RECORDER_KILL_JOB";
const DIR: &str = "RECORDER_KILL_DIR";
const SLOTS: u64 = 64;
const OPTIONS: RecorderOptions = RecorderOptions { slots: SLOTS as usize, tracks: 4, definition_bytes: 4096 };

const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[KindDef::of::<Sample>("sample", Identity::Occurrence)]),
    states: None,
};

fn kills() -> u64 {
    env_count("RECORDER_KILLS", if std::env::var_os("CI").is_some() { 200 } else { 60 })
}

/// What the child does; with no job, nothing.
#[test]
fn child() {
    let Ok(job) = std::env::var(JOB) else { return };
    let dir = std::env::var(DIR).unwrap();
    let dir = Path::new(&dir);
    match &*job {
        "keep" => {
            tell(0);
            let _ = keep(&Recording::read(&dir.join("x.flight")).unwrap(), &dir.join("kept"), 0).unwrap();
        }
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        "steps" => emit_in_steps(dir),
        "recover" => {
            tell(0);
            drop(recover(&dir.join("journal"), &dir.join("kept"), ReadOptions::default(), 0).unwrap());
        }
        job => emit(dir, job),
    }
}

fn tell(count: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\ntold {count}").unwrap();
    out.flush().unwrap();
}

/// Starts a pipeline whose emitters are recorded in `x.flight`.
fn recorded_pipeline(dir: &Path, topology: Topology, options: &RecorderOptions) -> Pipeline {
    let recorder = FlightRecorder::create(&dir.join("x.flight"), options, 0).unwrap();
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    builder.domain(&LAB).recorder(&recorder);
    builder.start().unwrap()
}

/// Emits for ever, or until it dies of itself. A worker takes the events: without one, the ring would be full soon.
fn emit(dir: &Path, job: &str) {
    let pipeline = recorded_pipeline(dir, Topology::Fused, &OPTIONS);
    let mut emitter = pipeline.emitter("child").unwrap();
    let entity = pipeline.symbols().intern("entity").unwrap();
    tell(0);
    // Of 128 events, half are emitted one by one and half as a batch.
    let record = |value| Record::new(Identity::Occurrence, value, entity, &Sample { value, other: !value });
    for value in 0_u64.. {
        match value % 128 {
            0..64 => emitter.emit_at(value, entity, &Sample { value, other: !value }).unwrap(),
            64 => assert_eq!(emitter.emit_records((value..value + 64).map(record)).accepted, 64),
            _ => continue,
        }
        if value == 9_999 {
            match job {
                "abort" => std::process::abort(),
                "panic" => panic!("as it is told"),
                "segfault" => {
                    let nowhere = std::ptr::without_provenance_mut::<u8>(64);
                    // SAFETY: none; the kernel ends the process here, which is what is tested.
                    unsafe { nowhere.write_volatile(1) }
                }
                _ => {}
            }
        }
        if value % 512 == 0 {
            tell(value + 1);
        }
    }
}

/// What is there before a step is taken, and how many events the batch then has: with fours and a rest, over the track's end.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const STEPS: (u64, u64) = (21, 11);

/// Emits a batch between two stops.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn emit_in_steps(dir: &Path) {
    let options = RecorderOptions { slots: 16, ..OPTIONS };
    let pipeline = recorded_pipeline(dir, Topology::Inline, &options);
    let mut emitter = pipeline.emitter("child").unwrap();
    let entity = pipeline.symbols().intern("entity").unwrap();
    let record = |value| Record::new(Identity::Occurrence, value, entity, &Sample { value, other: !value });
    let (before, more) = STEPS;
    assert_eq!(emitter.emit_records((0..before).map(record)).accepted, before);
    // SAFETY: a system call without arguments.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    std::fs::write(dir.join("thread"), format!("{thread}\n")).unwrap();
    // SAFETY: stops this process, until the one that traces it lets it go on.
    unsafe { libc::raise(libc::SIGSTOP) };
    assert_eq!(emitter.emit_records((before..before + more).map(record)).accepted, more);
    // SAFETY: as above.
    unsafe { libc::raise(libc::SIGSTOP) };
    std::process::abort();
}

/// The stores of a batch, in the order in which the program really makes them: after each single instruction, the file is what
/// a process that dies there leaves.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn after_each_instruction_of_a_batch_at_most_one_event_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(JOB, "steps")
        .env(DIR, dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The job may run on a thread of its own.
    let process = child.id() as libc::pid_t;
    let Some(thread) = stopped_thread(process, dir.path()) else { panic!("the child did not stop") };
    let trace = |request, data: usize| {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: requests that touch the traced thread only, and none of this process's memory.
        unsafe { libc::ptrace(request, thread, none, std::ptr::without_provenance_mut::<libc::c_void>(data)) }
    };
    let wait = || {
        let mut status = 0;
        // SAFETY: `status` is a valid place for the answer.
        let waited = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) };
        assert!(waited == thread && libc::WIFSTOPPED(status), "{waited} {status:x}");
        libc::WSTOPSIG(status)
    };
    let kill = |mut child: std::process::Child| {
        let _ = child.kill();
        // Who traces a thread has to be told of its end before the process can go.
        // SAFETY: no place is given for the answer.
        unsafe { libc::waitpid(thread, std::ptr::null_mut(), libc::__WALL) };
        let _ = child.wait();
    };
    if trace(libc::PTRACE_SEIZE, libc::PTRACE_O_EXITKILL as usize) != 0 {
        skip("trace", "no process may be traced here");
        return kill(child);
    }
    // It is stopped, and tells so to who traces it once it is interrupted.
    assert_eq!(trace(libc::PTRACE_INTERRUPT, 0), 0);
    wait();
    // SAFETY: a signal to the child.
    assert_eq!(unsafe { libc::kill(process, libc::SIGCONT) }, 0);
    let (before, more) = STEPS;
    let (mut torn, mut recorded, mut steps) = (0, before, 0_u64);
    while recorded < before + more {
        assert_eq!(trace(libc::PTRACE_SINGLESTEP, 0), 0, "after {steps} steps");
        wait();
        steps += 1;
        let recording = Recording::read(&dir.path().join("x.flight")).unwrap();
        let track = &recording.tracks[0];
        // Its file is locked: read as one of a live process, whose torn slots are those that hold no event.
        assert!(recording.live && track.damaged == 0 && track.recorded >= recorded, "{steps}: {track:?}");
        recorded = track.recorded;
        let first = recorded.saturating_sub(16);
        let values: Vec<u64> =
            track.records.iter().map(|record| record.payload::<Sample>().unwrap().value).collect();
        let is_torn = values.len() < 16;
        torn += u64::from(is_torn);
        let whole: Vec<u64> = (first + u64::from(is_torn)..recorded).collect();
        assert_eq!(values, whole, "after {steps} steps, of {recorded} events");
        assert!(steps < 1_000_000, "the batch has no end");
    }
    println!("{steps} steps, an event torn after {torn} of them");
    // Each event is torn between its first store and its check.
    assert!(torn >= more, "{torn}");
    kill(child);
}

/// Returns the thread that runs the job of a process, once it has stopped.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn stopped_thread(process: libc::pid_t, dir: &Path) -> Option<libc::pid_t> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
        let told = std::fs::read_to_string(dir.join("thread")).unwrap_or_default();
        let Some(thread) = told.strip_suffix('\n') else { continue };
        let stat = std::fs::read_to_string(format!("/proc/{process}/task/{thread}/stat")).unwrap_or_default();
        if stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T')) {
            return thread.parse().ok();
        }
    }
    None
}

/// Runs the job, kills it after `after` from its first word, and returns what it told last and how it ended.
fn run(job: &str, dir: &Path, kill_after: Option<Duration>) -> (u64, ExitStatus) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(JOB, job)
        .env(DIR, dir)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while lines.next().unwrap().unwrap() != "told 0" {}
    // Read on while the child works, or it would wait for room in the pipe.
    let reader = std::thread::spawn(move || {
        let told = |line: String| line.strip_prefix("told ").and_then(|count| count.parse().ok());
        // A line that the kill has cut tells less than was so.
        lines.map_while(Result::ok).filter_map(told).max().unwrap_or(0)
    });
    if let Some(after) = kill_after {
        std::thread::sleep(after);
        // SIGKILL; it may have ended.
        let _ = child.kill();
    }
    let status = child.wait().unwrap();
    (reader.join().unwrap(), status)
}

/// Reads what the child left, and compares each event with what was sent.
fn read(dir: &Path, told: u64) -> Recording {
    let recording = Recording::read(&dir.join("x.flight")).unwrap();
    assert!(!recording.live && !recording.closed);
    let [track] = &*recording.tracks else { panic!("one emitter, {} tracks", recording.tracks.len()) };
    assert_eq!((&*track.name, track.damaged), ("child", 0));
    assert!(track.recorded >= told, "{told} were emitted, {} recorded", track.recorded);
    let first = track.recorded.saturating_sub(SLOTS) + u64::from(track.torn && track.recorded >= SLOTS);
    assert_eq!(track.overwritten, first);
    assert_eq!(track.records.len() as u64, track.recorded - first);
    for (value, record) in (first..).zip(&track.records) {
        let sample = record.payload::<Sample>().unwrap();
        assert_eq!((sample.value, sample.other, u64::from(record.seq())), (value, !value, value));
        assert_eq!(record.entity(), Symbol::of("entity"));
    }
    assert!(recording.definitions.contains(&RecordedDefinition::Name(Symbol::of("entity"), "entity".into())));
    recording
}

#[test]
fn a_process_that_ends_itself_leaves_its_last_events() {
    for (job, signals) in [("segfault", &[libc::SIGSEGV, libc::SIGBUS][..]), ("abort", &[libc::SIGABRT])] {
        let dir = tempfile::tempdir().unwrap();
        let (told, status) = run(job, dir.path(), None);
        assert!(status.signal().is_some_and(|signal| signals.contains(&signal)), "{job}: {status}");
        let recording = read(dir.path(), told);
        assert_eq!((recording.tracks[0].recorded, recording.is_whole()), (10_000, true), "{job}");
    }
    // A panic unwinds: the recorder is closed, and has the events all the same.
    let dir = tempfile::tempdir().unwrap();
    let (_, status) = run("panic", dir.path(), None);
    assert!(!status.success());
    let recording = Recording::read(&dir.path().join("x.flight")).unwrap();
    assert_eq!(recording.tracks[0].recorded, 10_000);
    assert_eq!(recording.tracks[0].records.len() as u64, SLOTS);
}

#[test]
fn a_process_that_is_killed_leaves_its_last_events() {
    let mut rng = Rng::new(seed());
    let (mut told_total, mut torn) = (0, 0);
    for _ in 0..kills() {
        let dir = tempfile::tempdir().unwrap();
        let (told, status) = run("emit", dir.path(), Some(Duration::from_micros(rng.below(20_000))));
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        torn += u64::from(read(dir.path(), told).tracks[0].torn);
        told_total += told;
    }
    println!("{} kills, {told_total} events were told emitted, {torn} torn", kills());
    assert!(told_total > kills() * 100, "the children emitted next to nothing: the test has no teeth");
}

/// Compares a journal with the recording that it was made of.
fn assert_kept(journal: &Path, recording: &Recording) {
    let mut reader = JournalReader::open(journal, ReadOptions::default()).unwrap();
    let mut records = Vec::new();
    reader.for_each(|record| records.push(*record)).unwrap();
    let origins = recording.origins();
    let kept: Vec<Record> =
        origins.into_iter().flat_map(|origin| recording.merged_records_of(origin)).collect();
    assert!(records == kept);
    assert!(reader.closed() && reader.name(Symbol::of("entity")) == Some("entity"));
    // What is overwritten by design is told, and is no loss.
    let gone = recording.tracks.iter().map(|track| track.overwritten).sum::<u64>();
    let lost = recording.tracks.iter().map(|track| track.damaged).sum::<u64>();
    assert_eq!((overwritten(&reader), reader.totals().lost_upstream), (Some(gone), lost));
    assert!(verify(DirStorage::new(journal), ReadOptions::default()).unwrap().findings.is_empty());
}

#[test]
fn a_recovery_that_is_killed_leaves_nothing_half_done() {
    let mut rng = Rng::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let (file, kept) = (dir.path().join("x.flight"), dir.path().join("kept"));
    let (told, _) = run("emit", dir.path(), Some(Duration::from_millis(20)));
    let (recording, before) = (read(dir.path(), told), std::fs::read(&file).unwrap());
    // Recoveries of the recorder's file, then of the journal that came of it.
    let journal = dir.path().join("journal");
    keep(&recording, &journal, 0).unwrap();
    for job in ["keep", "recover"] {
        let start = Instant::now();
        let (_, status) = run(job, dir.path(), None);
        assert!(status.success());
        // From its first word on, it takes less.
        let longest_us = start.elapsed().as_micros() as u64;
        assert_kept(&kept, &recording);
        std::fs::remove_dir_all(&kept).unwrap();
        let (mut killed, mut partial) = (0, 0);
        for _ in 0..kills().div_ceil(2) {
            let (_, status) = run(job, dir.path(), Some(Duration::from_micros(rng.below(longest_us))));
            killed += u64::from(status.signal() == Some(libc::SIGKILL));
            if kept.exists() {
                // It has its name, so it is whole, whatever became of its writer.
                assert_kept(&kept, &recording);
                let again = keep(&recording, &kept, 0).unwrap_err();
                assert!(matches!(again, RecoverError::Exists { .. }), "{again}");
                std::fs::remove_dir_all(&kept).unwrap();
            } else {
                partial += 1;
                // What the dead one left is in nobody's way.
                match job {
                    "keep" => assert!(keep(&recording, &kept, 0).is_ok()),
                    _ => assert!(recover(&journal, &kept, ReadOptions::default(), 0).is_ok()),
                }
                assert_kept(&kept, &recording);
                std::fs::remove_dir_all(&kept).unwrap();
            }
            assert!(std::fs::read(&file).unwrap() == before, "the recorder's file was changed");
            // Thousands of them would fill the disk.
            for entry in std::fs::read_dir(dir.path()).unwrap().flatten() {
                if entry.path().extension().is_some_and(|end| end == "partial") {
                    std::fs::remove_dir_all(entry.path()).unwrap();
                }
            }
        }
        println!("{job}: {killed} killed, {partial} of them before the end");
        assert!(partial > 0, "no kill fell into a recovery: the test has no teeth");
    }
}

#[test]
fn a_snapshot_is_a_journal_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = FlightRecorder::create(&dir.path().join("x.flight"), &OPTIONS, 0).unwrap();
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    builder.domain(&LAB).recorder(&recorder);
    let pipeline = builder.start().unwrap();
    let entity = pipeline.symbols().intern("entity").unwrap();
    let mut emitters: Vec<_> = (0..3).map(|n| pipeline.emitter(&n.to_string()).unwrap()).collect();
    for value in 0..200 {
        let emitter = &mut emitters[value as usize % 3];
        emitter.emit_at(value, entity, &Sample { value, other: !value }).unwrap();
    }
    // Something interesting happens.
    let journal = dir.path().join("snapshot-1");
    let account = snapshot(&recorder, &journal, 0).unwrap();
    assert_eq!((account.stored, account.lost_upstream), (3 * SLOTS, 0));
    assert_kept(&journal, &recorder.snapshot().unwrap());
    emitters[0].emit_at(7, entity, &Sample { value: 1_000, other: !1_000 }).unwrap();
    snapshot(&recorder, &dir.path().join("snapshot-2"), 0).unwrap();
    let again = snapshot(&recorder, &journal, 0).unwrap_err();
    assert!(matches!(again, RecoverError::Exists { .. }), "{again}");
    // What is somebody else's is not touched, a journal neither.
    let partial = dir.path().join("snapshot-3.partial");
    std::fs::rename(&journal, &partial).unwrap();
    snapshot(&recorder, &dir.path().join("snapshot-3/"), 0).unwrap();
    assert_kept(&dir.path().join("snapshot-3"), &recorder.snapshot().unwrap());
    assert!(JournalReader::open(&partial, ReadOptions::default()).unwrap().run().is_some());
    // Nothing half done is left, whether it came to an end or not.
    let inside = partial.join("new/er");
    let refused = recover(&partial, &inside, ReadOptions::default(), 0).unwrap_err();
    assert!(matches!(refused, RecoverError::Inside { .. }), "{refused}");
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(recover(&empty, &dir.path().join("of-nothing"), ReadOptions::default(), 0).is_err());
    let mut names: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["empty", "snapshot-2", "snapshot-3", "snapshot-3.partial", "x.flight"]);
}
