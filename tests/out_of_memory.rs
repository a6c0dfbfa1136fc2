//! Memory that is not given: each allocation of the writers' that grows with what they are given is refused once, and as the first of
//! a row. What they cannot take is lost and counted, or an error; nothing is written wrong, and the process goes on. What does end the
//! process leaves its journal and its flight recorder. A program of its own: it has an allocator of its own, and tries each place in
//! a child.
#![cfg(all(target_os = "linux", feature = "journal", feature = "json"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "helpers of tests are tests")]
#![allow(unsafe_code, reason = "an allocator, and a fork, have no safe form")]

use panther_events::Shared;
use panther_events::domain::{DomainDef, KindDef};
use panther_events::event::{Domain, EventKind, Identity, Record, Symbol, Symbols};
use panther_events::export::from_snapshot::EventFile;
use panther_events::export::{Overwrite, ResultDir};
use panther_events::journal::{
    Durability, JournalLog, JournalReader, JournalReport, JournalWriter, OpenError, Options, ReadOptions,
    RunId,
};
use panther_events::observe::history::History;
use panther_events::observe::{Batch, Interest, Observer, Undelivered};
use panther_events::pipeline::{Builder, Pipeline, PipelineOptions, ReportKey, Topology};
use panther_events::recorder::{
    FlightRecorder, RecordedDefinition, RecorderError, RecorderOptions, Recording,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

panther_events::payload! {
    /// A sample.
    struct Echo [EventKind::new(Domain::FIRST_USER, 0)] { number: u64 }
}
const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[KindDef::of::<Echo>("echo", Identity::Occurrence)]),
    states: None,
};

/// Allocations under this many bytes are always given: a path, an `Arc`, a channel's entry. There is a fixed number of them for
/// each thing that a writer does, so they are not what memory is asked for by the more; and a system that has no kilobyte left has
/// other programs' allocations to refuse as well. Where the standard library takes so little, it has no form that can fail.
const BYTES_MIN: usize = 1 << 10;

/// Allocations to be given before some are refused; negative where all are given. Of all threads that are not exempt.
static GIVEN: AtomicI64 = AtomicI64::new(i64::MIN);
/// How many are then refused.
static TO_REFUSE: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);
static ASKED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// What this thread asks for is given.
    static EXEMPT: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, that refuses some.
struct Refusing;

fn is_refused(bytes: usize) -> bool {
    if bytes < BYTES_MIN || EXEMPT.try_with(Cell::get).unwrap_or(true) {
        return false;
    }
    ASKED.fetch_add(1, Ordering::Relaxed);
    if GIVEN.load(Ordering::Relaxed) == i64::MIN || GIVEN.fetch_sub(1, Ordering::Relaxed) > 0 {
        return false;
    }
    let refused =
        TO_REFUSE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    REFUSED.fetch_add(u64::from(refused), Ordering::Relaxed);
    refused
}

// SAFETY: all of it is the system's allocator, or a refusal, which every caller must expect.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        if is_refused(layout.size()) { std::ptr::null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        if is_refused(layout.size()) { std::ptr::null_mut() } else { unsafe { System.alloc_zeroed(layout) } }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        if is_refused(bytes) { std::ptr::null_mut() } else { unsafe { System.realloc(old, layout, bytes) } }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

fn refuse(given: u64, to_refuse: u64) {
    TO_REFUSE.store(to_refuse, Ordering::Relaxed);
    GIVEN.store(given as i64, Ordering::Relaxed);
}

/// Runs `run` in a child; how that ended, as the system says.
fn in_child(run: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the process has one thread, and the child ends without running what the parent would at its end.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let returned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        // SAFETY: as above.
        unsafe { libc::_exit(returned.unwrap_or(2)) };
    }
    assert!(child > 0, "{}", std::io::Error::last_os_error());
    let mut status = 0;
    // SAFETY: the status is this function's.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status
}

/// Runs `run` in a child in which `to_refuse` allocations behind the first `given` are refused. Whether one was.
fn with_refused(name: &str, given: u64, to_refuse: u64, run: &dyn Fn()) -> bool {
    let status = in_child(|| {
        refuse(given, to_refuse);
        run();
        i32::from(REFUSED.load(Ordering::Relaxed) > 0)
    });
    match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
        (true, code @ (0 | 1)) => code == 1,
        (true, code) => panic!("{name}: {to_refuse} refused behind {given}: ended with {code}"),
        (false, _) => {
            panic!("{name}: {to_refuse} refused behind {given}: ended by signal {}", libc::WTERMSIG(status))
        }
    }
}

/// Refuses allocations of `run`, and then rows of them, until there is none left: each in turn where `OUT_OF_MEMORY_EACH` is set (some
/// minutes), else some of them, which others each time.
fn refuse_each(name: &str, run: &dyn Fn()) {
    let step = if std::env::var_os("OUT_OF_MEMORY_EACH").is_some() { 1 } else { 12 };
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |now| u64::from(now.subsec_micros()));
    let mut given = 0;
    let mut refused = 0;
    // With several threads, one run may have an allocation less than another.
    let mut in_vain = 0;
    while in_vain < 3 {
        let is_refused = with_refused(name, given, 1, run);
        (in_vain, refused) = if is_refused { (0, refused + 1) } else { (in_vain + 1, refused) };
        // The first ones each.
        given += if given < 20 {
            1
        } else if given < 20 + step {
            1 + now % step
        } else {
            step
        };
    }
    assert!(refused > 0, "{name}: nothing was refused");
    let rows = (0..given).step_by(1 + given as usize * step as usize / 40);
    for given in rows {
        with_refused(name, given, 40, run);
    }
    eprintln!("{name}: {refused} of some {given} allocations refused, each {step}");
}

/// What this does is not what is tried: it may have all the memory that it needs.
fn exempt<T>(run: impl FnOnce() -> T) -> T {
    let before = EXEMPT.replace(true);
    let returned = run();
    EXEMPT.set(before);
    returned
}

fn main() {
    // What is made once of this crate's own domains is made here.
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(Durability::Buffered);
    JournalWriter::open(dir.path(), RunId([1; 16]), options.clone(), 0).unwrap().close().unwrap();
    refuse_each("journal", &|| journal(options.clone()));
    for (name, durability) in [
        ("journal, small segments, process crash", Durability::ProcessCrash),
        ("journal, small segments, power loss", Durability::PowerLoss { every: Duration::from_millis(800) }),
    ] {
        let options = Options { block_len: 16 << 10, segment_len: 128 << 10, ..Options::new(durability) };
        refuse_each(name, &|| journal(Options { retain_bytes: Some(256 << 10), ..options.clone() }));
        let compress = cfg!(feature = "zstd").then_some(1);
        refuse_each(name, &|| journal(Options { compress, ..options.clone() }));
    }
    refuse_each("journal in a pipeline", &journal_in_pipeline);
    refuse_each("JSON Lines", &json_lines);
    refuse_each("flight recorder", &recorder);
    what_ends_the_process_leaves_journal_and_recorder();
}

fn record(seq: u32) -> Record {
    let kind = EventKind::new(Domain::SERVICE, 0);
    let (name, payload) = (Symbol::of(&name(seq)), [0; Record::PAYLOAD_LEN]);
    Record::of_kind(kind, Identity::Occurrence, 7, name, payload).numbered(seq as u16 % 300, seq)
}

/// One in a hundred is longer than what is always given.
fn name(seq: u32) -> String {
    format!("name {seq}{}", if seq.is_multiple_of(100) { "\t.".repeat(1_000) } else { String::new() })
}

/// Writes records with names, sources and documents of their own; the account is what is there to be read.
fn journal(options: Options) {
    const RECORDS: u32 = 4_000;
    let dir = exempt(|| tempfile::tempdir().unwrap());
    let keeps_all = options.retain_bytes.is_none();
    let mut writer = match JournalWriter::open(dir.path(), RunId([1; 16]), options, 0) {
        Ok(writer) => writer,
        Err(error) => return exempt(|| check_open_error(&error)),
    };
    let mut lost = 0;
    for seq in (0..RECORDS).step_by(20) {
        let records: Vec<Record> = exempt(|| (seq..seq + 20).map(record).collect());
        for seq in seq..seq + 20 {
            let name = exempt(|| name(seq));
            // The account has what is refused.
            let _ = writer.define(Symbol::of(&name), &name);
        }
        let document = seq.is_multiple_of(200).then(|| exempt(|| vec![b' '; 2_000]));
        if let Some(document) = document {
            let _ = writer.define_detail(1 << 100 | u128::from(seq), &document);
        }
        lost += writer.append(&records).lost;
        if seq % 200 == 0 {
            writer.tick(u64::from(seq) * 1_000_000);
            writer.compress_some();
        }
    }
    let closed = writer.close();
    exempt(|| {
        let once = REFUSED.load(Ordering::Relaxed) <= 1;
        assert!(closed.is_ok() || !once, "{closed:?}");
        let account = closed.unwrap_or_else(|error| *error.account);
        assert_eq!(account.offered, u64::from(RECORDS));
        assert_eq!(account.offered, account.stored + account.lost, "{account:?}");
        assert!(account.lost == 0 || !once, "{account:?}");
        assert!(lost <= account.lost && account.lost_out_of_memory <= account.lost, "{account:?}");
        let (records, unknown) = check_read(dir.path());
        // What was retired is stored as well.
        assert!(if keeps_all { records == account.stored } else { records <= account.stored }, "{account:?}");
        assert!(unknown <= account.definitions_refused, "{unknown} names are not known: {account:?}");
    });
}

fn check_open_error(error: &OpenError) {
    let OpenError::Io { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::OutOfMemory, "{error}");
    assert!(error.to_string().contains("memory"), "{error}");
}

/// What is stored can be read, in order: how many records, and how many of them have a name that is not known.
fn check_read(path: &Path) -> (u64, u64) {
    let mut reader = JournalReader::open(path, ReadOptions::default()).unwrap();
    let (mut last, mut records, mut unknown) = ([None; 1 << 16], 0, 0);
    while let Some(block) = reader.next_block().unwrap() {
        let read = block.records().to_vec();
        for record in read {
            let last = &mut last[usize::from(record.source())];
            assert!(*last < Some(record.seq()));
            *last = Some(record.seq());
            records += 1;
            unknown += u64::from(reader.name(record.entity()).is_none());
        }
    }
    (records, unknown)
}

/// An observer, to which memory may be refused; to the rest of the pipeline's thread it is not.
struct Tried<O>(O);

fn tried<T>(run: impl FnOnce() -> T) -> T {
    let before = EXEMPT.replace(false);
    let returned = run();
    EXEMPT.set(before);
    returned
}

impl<O: Observer> Observer for Tried<O> {
    type Report = O::Report;

    fn interest(&self) -> Interest {
        self.0.interest()
    }

    fn start(&mut self, missed: u64) {
        self.0.start(missed);
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        tried(|| self.0.observe(batch))
    }

    fn flush(&mut self) -> Result<(), Undelivered> {
        tried(|| self.0.flush())
    }

    fn report(&self) -> O::Report {
        self.0.report()
    }
}

const EVENTS: u32 = 3_000;

fn table() -> Arc<Symbols> {
    let symbols = Arc::new(Symbols::new());
    (0..EVENTS).for_each(|n| assert!(symbols.intern(&name(n)).is_ok()));
    symbols
}

fn builder(symbols: &Arc<Symbols>) -> Builder {
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    builder.domain(&LAB).symbols(Arc::clone(symbols));
    builder
}

fn emit(pipeline: &Pipeline) {
    let mut emitter = pipeline.emitter("client").unwrap();
    for number in 0..EVENTS {
        emitter.emit(Symbol::of(&name(number)), &Echo { number: number.into() }).unwrap();
        if number.is_multiple_of(300) {
            pipeline.drain(Duration::from_secs(30)).unwrap();
        }
    }
    pipeline.drain(Duration::from_secs(30)).unwrap();
}

fn add_journal(builder: &mut Builder, path: &Path, symbols: &Arc<Symbols>) -> ReportKey<JournalReport> {
    let clock = PipelineOptions::default().clock;
    let mut schema = panther_events::domain::Schema::new();
    schema.register(&LAB).unwrap();
    let options = Options::new(Durability::ProcessCrash);
    let log = JournalLog::open(path, RunId([1; 16]), options, clock, symbols, &schema).unwrap();
    let mut log = Some(log);
    builder.observer("journal", move |setup| {
        let log = log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals));
        Tried(log)
    })
}

fn journal_in_pipeline() {
    exempt(|| {
        let dir = tempfile::tempdir().unwrap();
        let symbols = table();
        let mut builder = builder(&symbols);
        let key = add_journal(&mut builder, dir.path(), &symbols);
        let pipeline = builder.start().unwrap();
        emit(&pipeline);
        let snapshot = pipeline.shutdown();
        let report = snapshot.report(key).unwrap();
        let account = &report.account;
        let once = REFUSED.load(Ordering::Relaxed) <= 1;
        assert!(report.closed || !once, "{report:?}");
        assert_eq!(account.offered, account.stored + account.lost, "{report:?}");
        assert!(account.lost + report.refused == 0 || !once, "{report:?}");
        let delivery = snapshot.account.observers.iter().find(|(name, _)| &**name == "journal").unwrap().1;
        assert_eq!(delivery.handled + delivery.failed, snapshot.account.unique, "{delivery:?} {report:?}");
        assert!(delivery.handled <= account.stored, "{delivery:?} {report:?}");
        let (records, unknown) = check_read(dir.path());
        assert_eq!(records, account.stored, "{report:?}");
        assert!(unknown <= account.definitions_refused, "{unknown} names are not known: {report:?}");
    });
}

fn json_lines() {
    exempt(|| {
        let dir = tempfile::tempdir().unwrap();
        let results = ResultDir::create(dir.path().join("run"), Overwrite::Refuse).unwrap();
        let file = EventFile::new(results.file("events.jsonl").unwrap());
        let symbols = table();
        let mut builder = builder(&symbols);
        let log = file.clone();
        builder.observer("events", move |setup| Tried(log.observer(setup, false)));
        let pipeline = builder.start().unwrap();
        // So that lines come to more than what is held back: long names only.
        let mut emitter = pipeline.emitter("client").unwrap();
        for number in 0..EVENTS {
            let long = Symbol::of(&name(number / 100 * 100));
            emitter.emit(long, &Echo { number: number.into() }).unwrap();
        }
        drop(emitter);
        let snapshot = pipeline.shutdown();
        file.commit().unwrap();
        results.commit().unwrap();
        let text = std::fs::read_to_string(dir.path().join("run/events.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let named = |line: &serde_json::Value| {
            line["kind"] != "lab.echo" || line["entity"].as_str().unwrap().ends_with("\t.")
        };
        let lines = lines.inspect(|line| assert!(named(line), "{line}")).count() as u64;
        let delivery = snapshot.account.observers[0].1;
        assert_eq!((delivery.handled, delivery.handled + delivery.failed), (lines, snapshot.account.unique));
        assert!(delivery.failed <= REFUSED.load(Ordering::Relaxed), "{delivery:?}");
    });
}

/// Makes a recorder, and a pipeline that takes down all names at its start, which is what is tried of that.
fn recorder() {
    EXEMPT.set(true);
    let (given, to_refuse) = (GIVEN.swap(i64::MIN, Ordering::Relaxed), TO_REFUSE.load(Ordering::Relaxed));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recorder");
    let options = RecorderOptions { slots: 64, tracks: 300, ..RecorderOptions::default() };
    // What a pipeline takes before it comes to the names is given.
    let unhindered = FlightRecorder::create(&dir.path().join("unhindered"), &options, 0).unwrap();
    let (pipeline, fixed) = start_recorded(&Arc::new(Symbols::new()), &unhindered);
    drop(pipeline.shutdown());

    refuse(given as u64, to_refuse);
    let made = tried(|| FlightRecorder::create(&path, &options, 0));
    let recorder = match made {
        Ok(recorder) => recorder,
        Err(RecorderError::Io { source, .. }) => {
            assert_eq!(source.kind(), std::io::ErrorKind::OutOfMemory);
            assert!(!path.exists());
            return;
        }
        Err(error) => panic!("{error}"),
    };
    GIVEN.fetch_add(fixed, Ordering::Relaxed);
    let symbols = table();
    let (pipeline, _) = start_recorded(&symbols, &recorder);
    emit(&pipeline);
    drop(pipeline.shutdown());
    drop(recorder);
    let recording = Recording::read(&path).unwrap();
    assert!(recording.closed && recording.definition_bytes_damaged == 0);
    let known = |definition: &RecordedDefinition| match definition {
        RecordedDefinition::Name(symbol, name) => Symbol::of(name) == *symbol,
        _ => false,
    };
    let names = recording.definitions.iter().filter(|definition| known(definition)).count() as u64;
    let (left_out, refused) = (recording.definitions_left_out, REFUSED.load(Ordering::Relaxed));
    assert_eq!(left_out, refused, "{names} names");
    assert!(names + left_out >= u64::from(EVENTS), "{names} {left_out}");
    assert_eq!(recording.tracks[0].recorded, u64::from(EVENTS));
}

/// Starts a pipeline, to which memory may be refused until it makes observers, and how often it asked.
fn start_recorded(symbols: &Arc<Symbols>, recorder: &FlightRecorder) -> (Pipeline, i64) {
    let mut builder = builder(symbols);
    builder.recorder(recorder);
    let asked = ASKED.load(Ordering::Relaxed);
    builder.observer("exempt", |_| {
        EXEMPT.set(true);
        History::new(1)
    });
    let pipeline = tried(|| builder.start()).unwrap();
    (pipeline, (ASKED.load(Ordering::Relaxed) - asked) as i64)
}

/// What is made of a snapshot at the end takes memory that cannot be refused.
fn what_ends_the_process_leaves_journal_and_recorder() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, recorder) = (dir.path().join("journal"), dir.path().join("recorder"));
    let status = in_child(|| {
        EXEMPT.set(true);
        let symbols = table();
        let mut builder = builder(&symbols);
        let options = RecorderOptions { slots: 4096, ..RecorderOptions::default() };
        builder.recorder(&FlightRecorder::create(&recorder, &options, 0).unwrap());
        let key = add_journal(&mut builder, &journal, &symbols);
        let pipeline = builder.start().unwrap();
        emit(&pipeline);
        let start = Instant::now();
        while pipeline.snapshot().report(key).unwrap().account.stored < u64::from(EVENTS) {
            assert!(start.elapsed() < Duration::from_secs(30), "nothing was written");
            std::thread::sleep(Duration::from_millis(10));
        }
        let snapshot = pipeline.snapshot();
        refuse(0, u64::MAX);
        tried(|| snapshot.schema.to_json());
        0
    });
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT, "{status:#x}");
    let (records, unknown) = check_read(&journal);
    assert!(records >= u64::from(EVENTS) && unknown == 0, "{records} {unknown}");
    let recording = Recording::read(&recorder).unwrap();
    assert!(!recording.closed && !recording.live && recording.definitions_left_out == 0);
    assert_eq!(recording.tracks[0].recorded, u64::from(EVENTS));
}
