//! A process that is forked while a pipeline is at work: in the child, what was made before refuses to work and touches nothing, and
//! nothing hangs, whatever locks other threads held. A program of its own: a fork concerns all of a process.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "helpers of tests are tests")]
#![allow(unsafe_code, reason = "fork has no safe form")]

use panther_events::Shared;
use panther_events::domain::{DomainDef, KindDef};
use panther_events::emit::{ContextError, EmitError, Emitter};
use panther_events::event::{Context, Domain, EventKind, Identity, Level, Symbol, Value};
use panther_events::observe::history::History;
use panther_events::observe::state::{StateOptions, StateQuery, WaitError};
use panther_events::pipeline::{
    AddError, Builder, DrainError, EmitterPool, Pipeline, PipelineOptions, RemoveError, SettleError,
    StartError, Topology, Unanswered,
};
use panther_events::recorder::{FlightRecorder, RecorderOptions, Recording};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

panther_events::payload! {
    /// A sample.
    struct Sample [EventKind::new(Domain::FIRST_USER, 0)] { value: u64 }
}
const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[KindDef::of::<Sample>("sample", Identity::Occurrence)]),
    states: None,
};

/// After so many seconds a child counts as one that hangs, and is killed.
const CHILD_S: u32 = 30;
const FORKS: usize = 40;

/// Runs `run` in a child, and tells whether it returned.
fn in_child(run: impl FnOnce()) -> Result<(), String> {
    // SAFETY: the child uses what is to be tested in a child, and ends without running what the parent would at its end.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above; the alarm ends a child that hangs.
        unsafe { libc::alarm(CHILD_S) };
        let returned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        // SAFETY: as above.
        unsafe { libc::_exit(i32::from(returned.is_err())) };
    }
    assert!(child > 0, "{}", std::io::Error::last_os_error());
    let mut status = 0;
    // SAFETY: the status is this function's.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
        (true, 0) => Ok(()),
        (true, code) => Err(format!("the child ended with {code}")),
        (false, _) => Err(format!("the child was ended by signal {}", libc::WTERMSIG(status))),
    }
}

fn emit(emitter: &mut Emitter, name: &str) -> Result<(), EmitError> {
    emitter.service(name).created(name, "quic", "picoquic", Value::Null)
}

fn recorder(path: &Path) -> FlightRecorder {
    FlightRecorder::create(path, &RecorderOptions { tracks: 64, slots: 256, ..RecorderOptions::default() }, 1)
        .unwrap()
}

fn builder(topology: Topology, recorder: &FlightRecorder, states: &StateQuery) -> Builder {
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    builder.domain(&LAB).recorder(recorder);
    let states = states.clone();
    builder.observer("state", move |setup| states.observer(setup.schema, setup.symbols, setup.contexts));
    builder
}

/// Everything that a pipeline's user can call, in a child; `emitter` is within a test.
fn call_all(pipeline: Pipeline, mut emitter: Emitter, states: &StateQuery, recorder: &FlightRecorder) {
    assert_eq!(emit(&mut emitter, "server"), Err(EmitError::Forked));
    assert_eq!(emit(&mut emitter, "never heard of"), Err(EmitError::Forked));
    let rejected = emitter.sent().rejected;
    // An iterator without an end.
    let samples = std::iter::repeat_with(|| (Symbol::of("server"), Sample { value: 1 }));
    assert_eq!(emitter.emit_batch(samples).accepted, 0);
    assert!(emitter.sent().rejected > rejected);
    assert_eq!(emitter.enter(Level::Step, "new"), Err(ContextError::Forked));
    assert!(emitter.within(Level::Step, "new").is_err());
    assert_eq!(emitter.set_context(Context::NONE), Err(ContextError::Forked));
    assert_eq!(pipeline.emitter("new").err(), Some(EmitError::Forked));
    let handle = pipeline.handle();
    assert_eq!(handle.emitter("new").err(), Some(EmitError::Forked));
    assert_eq!(EmitterPool::new(handle.clone()).service("server").err(), Some(EmitError::Forked));
    assert_eq!(handle.drain(Duration::MAX), Err(DrainError::Forked));
    assert_eq!(pipeline.poll(), 0);
    assert_eq!(pipeline.snapshot().unanswered, [Unanswered::Forked]);
    let forked = Unanswered::Forked;
    let added = pipeline.add_observer("new", |_| History::new(10));
    assert_eq!(added.err(), Some(AddError::Unanswered("new".into(), forked.clone())));
    assert_eq!(pipeline.remove_scope("any").err(), Some(RemoveError::Unanswered(forked)));
    assert_eq!(pipeline.drain(Duration::MAX), Err(DrainError::Forked));
    let settled = pipeline.settled(states, Duration::MAX).err();
    assert_eq!(settled, Some(SettleError::Drain(DrainError::Forked)));
    let server = Symbol::of("server");
    assert_eq!(states.state(Domain::SERVICE, server), None);
    let waited = states.wait_until(Domain::SERVICE, server, &["ready"], Duration::MAX);
    assert_eq!(waited.err(), Some(WaitError::Forked));
    let point = states.point(Domain::SERVICE, server);
    assert_eq!(states.wait_until_after(&point, &["ready"], Duration::MAX).err(), Some(WaitError::Forked));
    let mut own = Pipeline::builder();
    own.recorder(recorder);
    assert!(matches!(own.start(), Err(StartError::RecorderForked { .. })));
    drop(emitter);
    assert_eq!(pipeline.shutdown().unanswered, [Unanswered::Forked]);
    // One of its own works as any other.
    let own = Pipeline::builder().start().unwrap();
    let mut emitter = own.emitter("own").unwrap();
    emit(&mut emitter, "server").unwrap();
    own.drain(Duration::from_secs(10)).unwrap();
    drop(emitter);
    let last = own.shutdown();
    assert_eq!((last.account.unique, last.unanswered), (1, vec![]));
}

fn main() {
    for topology in [Topology::Inline, Topology::Fused, Topology::Staged { dedup: 2, workers: 2 }] {
        all_calls_in_a_child(topology);
    }
    a_recorder_is_not_closed_by_a_child();
    an_iterator_that_forks_writes_nothing_in_the_child();
    #[cfg(feature = "journal")]
    a_journal_is_not_written_by_a_child();
    a_result_is_not_written_by_a_child();
    a_child_of_a_busy_process_does_not_hang();
    eprintln!("forks: ok");
}

fn all_calls_in_a_child(topology: Topology) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recorder");
    let recorder = recorder(&path);
    let states = StateQuery::new(StateOptions::default());
    let pipeline = builder(topology, &recorder, &states).start().unwrap();
    let mut emitter = pipeline.emitter("one").unwrap();
    emitter.enter(Level::Test, "handshake").unwrap();
    emit(&mut emitter, "server").unwrap();
    let mut spare = Some((pipeline, emitter));
    let before = std::fs::read(&path).unwrap();
    // The child has its own copies of all that is taken out here.
    let ended = in_child(|| {
        let (pipeline, emitter) = spare.take().unwrap();
        call_all(pipeline, emitter, &states, &recorder);
    });
    assert_eq!(ended, Ok(()), "{topology}");
    // Dropping alone, and the last reference to the recorder.
    let mut all = Some((spare.take().unwrap(), recorder));
    assert_eq!(in_child(|| drop(all.take())), Ok(()), "{topology}");
    assert_eq!(std::fs::read(&path).unwrap(), before, "{topology}: a child has written into the recorder");
    let ((pipeline, mut emitter), recorder) = all.take().unwrap();
    emit(&mut emitter, "client").unwrap();
    pipeline.drain(Duration::from_secs(10)).unwrap();
    assert!(states.state(Domain::SERVICE, Symbol::of("client")).is_some());
    drop(emitter);
    let last = pipeline.shutdown();
    assert_eq!((last.account.accepted, last.account.check(), last.unanswered), (3, Ok(()), vec![]));
    drop(recorder);
    let recording = Recording::read(&path).unwrap();
    assert_eq!(recording.tracks.iter().map(|track| track.records.len()).sum::<usize>(), 3);
}

fn a_recorder_is_not_closed_by_a_child() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recorder");
    let mut alone = Some(recorder(&path));
    let before = std::fs::read(&path).unwrap();
    assert_eq!(in_child(|| drop(alone.take())), Ok(()));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    drop(alone);
    assert_ne!(std::fs::read(&path).unwrap(), before, "its own process closes it");
}

/// The child goes on in the middle of the parent's call.
fn an_iterator_that_forks_writes_nothing_in_the_child() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recorder");
    let recorder = recorder(&path);
    let builder = builder(Topology::Fused, &recorder, &StateQuery::new(StateOptions::default()));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("one").unwrap();
    let before = std::fs::read(&path).unwrap();
    let (mut child, mut status) = (0, 0);
    let samples = (0..40).map(|value| {
        if value == 20 {
            // SAFETY: the child goes on within the call, and ends right behind it.
            child = unsafe { libc::fork() };
            if child > 0 {
                // The parent writes nothing meanwhile.
                // SAFETY: the status is this function's.
                assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            }
        }
        (Symbol::of("one"), Sample { value })
    });
    let sent = emitter.emit_batch(samples);
    if child == 0 {
        let same = std::fs::read(&path).unwrap() == before;
        // SAFETY: the child ends without running what the parent would at its end.
        unsafe { libc::_exit(i32::from(!same || sent.accepted > 0 || sent.rejected == 0)) };
    }
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status}");
    assert_eq!(sent.accepted, 40);
    drop(emitter);
    assert_eq!(pipeline.shutdown().account.unique, 40);
}

/// The bytes of each file in a directory.
fn files(dir: &Path) -> std::collections::BTreeMap<std::ffi::OsString, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap())).collect()
}

#[cfg(feature = "journal")]
fn a_journal_is_not_written_by_a_child() {
    use panther_events::event::Record;
    use panther_events::journal::{Durability, JournalWorker, JournalWriter, Options, RunId, WorkerError};
    let record = |seq| {
        let kind = EventKind::new(Domain::SERVICE, 0);
        Record::of_kind(kind, Identity::Occurrence, 7, Symbol::NONE, [0; Record::PAYLOAD_LEN])
            .numbered(1, seq)
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let open = |path: &Path| {
        JournalWriter::open(path, RunId([1; 16]), Options::new(Durability::Buffered), 0).unwrap()
    };
    // A writer that holds records, and one that has its thread.
    let mut plain = Some(open(&path));
    let _ = plain.as_mut().unwrap().append(&[record(0)]);
    let mut worker = Some(JournalWorker::start(open(&dir.path().join("other")), 4, || 1).unwrap());
    worker.as_mut().unwrap().append(&[record(0)]);
    worker.as_mut().unwrap().flush().unwrap();
    let before = (files(&path), files(&dir.path().join("other")));
    let ended = in_child(|| {
        let mut plain = plain.take().unwrap();
        let _ = plain.append(&vec![record(1); 100_000]);
        assert!(plain.flush().is_err() && plain.close().is_err());
        let mut worker = worker.take().unwrap();
        let notes = worker.notes();
        assert_eq!((worker.append(&[record(1)]), worker.refused()), (1, 1));
        worker.define(Symbol::of("name"), "name");
        assert!(!notes.define_document(1 << 100, b"{}") && worker.stall().is_none());
        assert!(matches!(worker.flush(), Err(WorkerError::Forked)));
        assert!(matches!(worker.close(), Err(WorkerError::Forked)));
    });
    assert_eq!(ended, Ok(()));
    let ended = in_child(|| drop((plain.take(), worker.take())));
    assert_eq!(ended, Ok(()));
    assert_eq!((files(&path), files(&dir.path().join("other"))), before);
    let mut worker = worker.unwrap();
    worker.append(&[record(1)]);
    let (plain, worker) = (plain.unwrap().close().unwrap(), worker.close().unwrap());
    assert_eq!((plain.stored, worker.stored), (1, 2));
}

fn a_result_is_not_written_by_a_child() {
    use panther_events::export::dir::{DirError, FileError, Overwrite, ResultDir};
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let result = ResultDir::create(&path, Overwrite::Refuse).unwrap();
    let mut open = result.file("open.txt").unwrap();
    open.write_all(b"held back").unwrap();
    let mut all = Some((result, open));
    let before = files(&path);
    let ended = in_child(|| {
        let (result, mut open) = all.take().unwrap();
        assert!(matches!(result.file("new.txt"), Err(FileError::Forked { .. })));
        let _ = open.write_all(&[b'x'; 1 << 20]);
        assert!(open.commit().is_err());
        assert!(matches!(result.commit(), Err(DirError::Forked { .. })));
    });
    assert_eq!(ended, Ok(()));
    assert_eq!(in_child(|| drop(all.take())), Ok(()));
    assert_eq!(files(&path), before);
    let (result, open) = all.take().unwrap();
    open.commit().unwrap();
    assert_eq!(result.commit().unwrap().get("open.txt"), Some(&9));
}

/// Threads take every lock that there is, over and over, while the process is forked.
fn a_child_of_a_busy_process_does_not_hang() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(&dir.path().join("recorder"));
    let states = StateQuery::new(StateOptions::default());
    let pipeline = builder(Topology::Fused, &recorder, &states).start().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (pipeline, states, done) = (&pipeline, &states, &done);
            scope.spawn(move || {
                let mut round = 0;
                while !done.load(Ordering::Relaxed) {
                    let mut emitter = pipeline.emitter("busy").unwrap();
                    emitter.enter(Level::Test, &format!("test {round}")).unwrap();
                    let name = format!("service {thread} {round}");
                    emit(&mut emitter, &name).unwrap();
                    let _ = pipeline.snapshot();
                    let _ = states.point(Domain::SERVICE, Symbol::of(&name));
                    round += 1;
                }
            });
        }
        #[cfg(feature = "journal")]
        let mut journal = Some(std::sync::Mutex::new(busy_journal(dir.path())));
        for fork in 0..FORKS {
            std::thread::sleep(Duration::from_millis(2));
            let mut emitter = pipeline.emitter("forked").unwrap();
            emitter.enter(Level::Test, "forked").unwrap();
            let mut emitter = Some(emitter);
            let ended = in_child(|| {
                // SAFETY: only in the child, which ends without dropping the parent's.
                let twin = unsafe { std::ptr::read(&raw const pipeline) };
                call_all(twin, emitter.take().unwrap(), &states, &recorder);
            });
            assert_eq!(ended, Ok(()), "fork {fork}");
            #[cfg(feature = "journal")]
            for _ in 0..10 {
                // At work in its own thread.
                journal_append(&journal);
                assert_eq!(in_child(|| drop(journal.take())), Ok(()), "fork {fork}");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(pipeline.shutdown().account.check(), Ok(()));
}

/// A worker whose thread has something to do.
#[cfg(feature = "journal")]
fn busy_journal(dir: &Path) -> panther_events::journal::JournalWorker {
    use panther_events::journal::{Durability, JournalWorker, JournalWriter, Options, RunId};
    let options = Options::new(Durability::ProcessCrash);
    let writer = JournalWriter::open(&dir.join("busy"), RunId([1; 16]), options, 0).unwrap();
    JournalWorker::start(writer, 4, || 1).unwrap()
}

#[cfg(feature = "journal")]
fn journal_append(journal: &Option<std::sync::Mutex<panther_events::journal::JournalWorker>>) {
    use panther_events::event::Record;
    let kind = EventKind::new(Domain::SERVICE, 0);
    let record = Record::of_kind(kind, Identity::Occurrence, 7, Symbol::NONE, [0; Record::PAYLOAD_LEN]);
    let mut journal = journal.as_ref().unwrap().lock().unwrap();
    for seq in 0..4_096 * 6 {
        journal.append(&[record.numbered(1, seq)]);
    }
}
