//! Promise: when somebody removes the segment that a journal is written into, or its lock, the writer stops for good, says so,
//! and its account is what is on the disk; an ended segment that is removed is told by readers.
#![cfg(feature = "journal")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use crate::support::journal::{
    Fault, FaultKind, Model, Rng, Sample, batch, define, env_count, record, seed, small,
};
use panther_events::Shared;
use panther_events::clock::Clock;
use panther_events::domain::{DomainDef, KindDef, Schema};
use panther_events::event::{Domain, Identity, Symbols};
use panther_events::journal::storage::{DirStorage, Storage};
use panther_events::journal::{
    Durability, JournalAccount, JournalLog, JournalReader, JournalWriter, OpenError, Options, ReadOptions,
    RunId, verify,
};
use panther_events::pipeline::Builder;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const RUN: RunId = RunId(*b"a run of a test.");
const SECOND_NS: u64 = 1_000_000_000;
const ENOSPC: i32 = 28;

const DURABILITIES: [Durability; 3] =
    [Durability::Buffered, Durability::ProcessCrash, Durability::PowerLoss { every: Duration::from_secs(1) }];

/// A directory that can be removed, and a journal in it.
fn open(durability: Durability) -> (tempfile::TempDir, PathBuf, JournalWriter) {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("journal");
    let mut writer = JournalWriter::open(&path, RUN, small(durability), 0).unwrap();
    define(&mut writer);
    (parent, path, writer)
}

fn second(path: &Path) -> Result<JournalWriter, OpenError> {
    JournalWriter::open(path, RUN, small(Durability::ProcessCrash), 0)
}

fn files(path: &Path) -> Vec<String> {
    let mut names = DirStorage::new(path).list().unwrap();
    names.sort();
    names
}

/// What a journal on a disk holds, read as far as anything can be read.
struct There {
    seqs: Vec<u32>,
    /// Records that retention removed before the first that is there.
    retired: u64,
    /// Records that headers tell of and that are not there.
    missing: u64,
}

fn there(storage: impl Storage) -> There {
    let options = ReadOptions { salvage: true, ..ReadOptions::default() };
    let mut reader = JournalReader::over(storage, options).unwrap();
    let missing = |reader: &JournalReader<'_>| -> u64 {
        reader.findings().iter().filter_map(|finding| finding.records).sum()
    };
    let (mut seqs, mut first) = (Vec::new(), None);
    while let Some(block) = reader.next_block().unwrap() {
        let before = block.header().totals.records;
        let is_empty = block.records().is_empty();
        seqs.extend(block.records().iter().map(|record| record.seq()));
        if !is_empty && first.is_none() {
            first = Some(before.saturating_sub(missing(&reader)));
        }
    }
    let missing = missing(&reader);
    There { seqs, retired: first.unwrap_or(0), missing }
}

fn is_exact(account: &JournalAccount) -> bool {
    account.offered == account.stored + account.pending + account.lost + account.skipped
        && account.removed <= account.lost
        && account.lost_duplicates <= account.lost
}

fn copy_of(path: &Path) -> Model {
    let model = Model::default();
    for name in files(path) {
        model.disk().insert(&name, std::fs::read(path.join(&name)).unwrap());
    }
    model
}

fn all_bytes(path: &Path) -> Vec<(String, Vec<u8>)> {
    files(path).into_iter().map(|name| (name.clone(), std::fs::read(path.join(name)).unwrap())).collect()
}

fn last_segment(path: &Path) -> PathBuf {
    path.join(files(path).into_iter().rfind(|name| name.ends_with(".journal")).unwrap())
}

/// Says what the writer says once it has stopped.
fn stopped(writer: &JournalWriter) -> String {
    writer.stall().expect("it has stopped").to_string()
}

#[test]
fn a_journal_whose_open_segment_is_removed_stops_and_says_so() {
    for durability in DURABILITIES {
        for (before, looks) in [(200, 0), (200, 1), (200, 2), (2_000, 0), (2_000, 1), (2_000, 3)] {
            let what = format!("{durability:?}, {before} before, {looks}");
            let (_parent, path, mut writer) = open(durability);
            let _ = writer.append(&batch(0, before));
            writer.flush().unwrap();
            std::fs::remove_file(last_segment(&path)).unwrap();
            match looks {
                1 => writer.tick(2 * SECOND_NS),
                // Up to the segment's end.
                2 | 3 => drop(writer.append(&batch(before, 1_000))),
                _ => {}
            }
            let given = if looks > 1 { before + 1_000 } else { before };
            if looks > 0 && !(looks > 1 && writer.stall().is_none()) {
                let said = stopped(&writer);
                assert!(said.contains("was removed while it was written"), "{what}: {said}");
                assert!(
                    said.contains("begin another journal") && !said.contains("resumes"),
                    "{what}: {said}"
                );
            }
            assert!(looks < 2 || writer.stall().is_some(), "{what}: noticed when it ends");
            let _ = writer.append(&batch(given, 50));
            assert!(matches!(second(&path), Err(OpenError::Locked { .. })), "{what}");
            let left = all_bytes(&path);
            let error = writer.close().unwrap_err();
            assert!(error.to_string().contains("begin another journal"), "{what}: {error}");
            assert!(all_bytes(&path) == left, "{what}: nothing is written any more");
            let account = error.account;
            assert!(is_exact(&account) && account.pending == 0 && account.removed > 0, "{what}: {account:?}");
            let there = there(copy_of(&path));
            assert_eq!(there.seqs.len() as u64, account.stored, "{what}: {account:?}");
            assert!(there.seqs.iter().copied().eq(0..account.stored as u32), "{what}");
        }
    }
}

#[test]
fn a_sync_of_a_removed_segment_promises_nothing() {
    for (removes, what) in [("segment", "removed while it was written"), ("lock", "lock file was removed")] {
        let (_parent, path, mut writer) = open(Durability::PowerLoss { every: Duration::from_secs(1) });
        let _ = writer.append(&batch(0, 200));
        writer.flush().unwrap();
        let promised = writer.watermark().clone();
        assert_eq!(promised.records(), 200);
        let _ = writer.append(&batch(200, 100));
        let file = if removes == "lock" { path.join("LOCK") } else { last_segment(&path) };
        std::fs::remove_file(file).unwrap();
        // The files take the write and the sync; no time has passed that would make the writer look for them by itself.
        let told = writer.flush().expect_err("what it synced has no name").to_string();
        assert!(told.contains(what), "{told}");
        assert_eq!(*writer.watermark(), promised, "{removes}");
        assert_eq!(writer.account().syncs, 1, "{removes}");
    }
}

#[test]
fn a_journal_whose_lock_is_removed_or_moved_keeps_what_it_has_and_touches_nothing_any_more() {
    for durability in DURABILITIES {
        for (moved, other) in [(false, false), (false, true), (true, false), (true, true)] {
            let what = format!("{durability:?}, moved {moved}, another writer {other}");
            let (parent, path, mut writer) = open(durability);
            let _ = writer.append(&batch(0, 700));
            writer.flush().unwrap();
            let away = parent.path().join("away");
            if moved {
                std::fs::rename(&path, &away).unwrap();
            } else {
                std::fs::remove_file(path.join("LOCK")).unwrap();
            }
            let other = other.then(|| {
                let mut other = second(&path).unwrap();
                let _ = other.append(&[record(2, 0, 0)]);
                other
            });
            let at = if moved { &away } else { &path };
            let read = there(copy_of(at)).seqs.len();
            let before = all_bytes(at);
            let made = path.exists();
            let _ = writer.append(&batch(700, 2_000));
            writer.tick(2 * SECOND_NS);
            let said = stopped(&writer);
            assert!(said.contains("its lock file was removed, or the directory moved"), "{what}: {said}");
            let _ = writer.append(&batch(2_700, 10));
            let after = all_bytes(at);
            writer.tick(9 * SECOND_NS);
            let account = writer.close().unwrap_err().account;
            assert!(all_bytes(at) == after && path.exists() == made, "{what}: {:?}", files(at));
            assert_eq!(before.len(), after.len(), "{what}: no segment is begun");
            assert!(is_exact(&account) && account.removed == 0, "{what}: {account:?}");
            let now = there(copy_of(at)).seqs.len();
            if other.is_none() {
                assert_eq!(now as u64, account.stored, "{what}: {account:?}");
            }
            assert!(now >= read, "{what}");
        }
    }
}

#[test]
fn a_directory_that_disappears_is_not_made_again() {
    for durability in DURABILITIES {
        for before in [0, 200, 2_000] {
            let (_parent, path, mut writer) = open(durability);
            let _ = writer.append(&batch(0, before));
            std::fs::remove_dir_all(&path).unwrap();
            let _ = writer.append(&batch(before, 1_000));
            writer.tick(2 * SECOND_NS);
            stopped(&writer);
            let _ = writer.append(&batch(before + 1_000, 10));
            let account = writer.close().unwrap_err().account;
            assert!(is_exact(&account) && account.pending == 0, "{account:?}");
            assert!(!path.exists(), "{durability:?}, {before}");
        }
    }
}

#[test]
fn an_ended_segment_that_is_removed_is_told_by_readers_and_the_journal_goes_on() {
    for durability in DURABILITIES {
        let (_parent, path, mut writer) = open(durability);
        let _ = writer.append(&batch(0, 2_000));
        std::fs::remove_file(path.join("00000001.journal")).unwrap();
        writer.tick(2 * SECOND_NS);
        let _ = writer.append(&batch(2_000, 1_000));
        let account = writer.close().unwrap();
        assert_eq!((account.stored, account.lost, account.errors), (3_000, 0, 0), "{account:?}");
        let report = verify(copy_of(&path), ReadOptions::default()).unwrap();
        let missing: u64 = report.findings.iter().filter_map(|finding| finding.records).sum();
        assert!(missing > 400 && !report.is_sound() && report.closed, "{report:?}");
        assert_eq!(report.records + missing, 3_000);
    }
}

/// A segment that a failed sync has left is cut when its successor, which says up to where it counts, is removed.
#[test]
fn what_a_removed_successor_said_of_a_suspect_segment_holds() {
    let model = Model::default();
    let durability = DURABILITIES[2];
    let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, small(durability), 0).unwrap();
    define(&mut writer);
    let _ = writer.append(&batch(0, 100));
    writer.flush().unwrap();
    let _ = writer.append(&batch(100, 100));
    let at = model.disk().ops;
    // The block, its padding to a page, then the sync.
    for at in at..at + 3 {
        model.disk().fault = Some(Fault { at, for_good: false, kind: FaultKind::Error(ENOSPC) });
        let _ = writer.flush();
    }
    assert!(writer.account().segments_suspect > 0, "{:?}", writer.account());
    let last = model.disk().names().pop().unwrap();
    model.disk().remove(&last);
    writer.tick(2 * SECOND_NS);
    let account = writer.close().unwrap_err().account;
    assert_eq!(there(model).seqs.len() as u64, account.stored, "{account:?}");
}

/// Where a story's journal lies.
enum Place {
    Memory(Model),
    Dir(PathBuf),
}

impl Place {
    fn names(&self) -> Vec<String> {
        match self {
            Place::Memory(model) => model.disk().names(),
            Place::Dir(path) => files(path),
        }
    }

    fn remove(&self, name: &str) {
        match self {
            Place::Memory(model) => model.disk().remove(name),
            Place::Dir(path) => std::fs::remove_file(path.join(name)).unwrap(),
        }
    }

    fn copy(&self) -> Model {
        match self {
            Place::Memory(model) => Model::of(model.disk().killed()),
            Place::Dir(path) => copy_of(path),
        }
    }

    fn bytes(&self) -> Vec<(String, Vec<u8>)> {
        match self {
            Place::Memory(model) => {
                let disk = model.disk();
                disk.names().into_iter().map(|name| (name.clone(), disk.bytes(&name).to_vec())).collect()
            }
            Place::Dir(path) => all_bytes(path),
        }
    }
}

/// Appends, time, errors and one removal in any order: at the end there is on the disk what the account says, and nothing was
/// written after the stop.
#[test]
fn whatever_is_removed_and_fails_the_account_is_what_is_on_the_disk() {
    let runs = env_count("JOURNAL_RUNS", 3_000);
    let seed = seed();
    let parent = tempfile::tempdir().unwrap();
    let (mut stops, mut removed, mut struck, mut retired) = (0, 0, 0, 0);
    for run in 0..runs {
        let mut rng = Rng::new(seed.wrapping_add(run));
        let options = Options {
            rotate_after: rng.chance(30).then_some(Duration::from_secs(2)),
            held_bytes_max: if rng.chance(50) { 1 << 20 } else { 64 << 10 },
            retain_bytes: rng.chance(30).then_some(100 << 10),
            compress: (cfg!(feature = "zstd") && rng.chance(30)).then_some(1),
            ..small(DURABILITIES[rng.below(3) as usize])
        };
        let mut story = vec![format!("run {run} of seed {seed}: {options:?}")];
        let (place, mut writer) = if rng.chance(15) {
            let path = parent.path().join(run.to_string());
            let writer = JournalWriter::open(&path, RUN, options, 0).unwrap();
            (Place::Dir(path), writer)
        } else {
            let model = Model::default();
            let writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
            (Place::Memory(model), writer)
        };
        if rng.chance(80) {
            define(&mut writer);
        }
        let steps = rng.below(30) + 1;
        let (mut removes_at, mut gone) = (rng.below(steps + 5), None);
        let (mut next, mut now_ns, mut duplicates, mut frozen) = (0, 0, Vec::new(), None);
        for step in 0..steps {
            let names = place.names();
            let lock = names.iter().find(|name| *name == "LOCK").filter(|_| rng.chance(40));
            let last = || names.iter().rfind(|name| name.ends_with(".journal"));
            if step >= removes_at
                && let Some(name) = lock.or_else(last)
            {
                removes_at = u64::MAX;
                gone = Some(name.clone());
                place.remove(name);
                story.push(format!("remove {name}"));
            }
            match rng.below(9) {
                0..=3 => {
                    let (len, marked) = (rng.below(400) as u32, rng.next());
                    let is_duplicate = |at: usize| marked >> (at % 64) & 1 != 0;
                    duplicates.extend((0..len).filter(|at| is_duplicate(*at as usize)).map(|at| next + at));
                    let _ = writer.append_marked(&batch(next, len), is_duplicate);
                    next += len;
                    story.push(format!("append {len}"));
                }
                4 => {
                    now_ns += rng.below(3) * SECOND_NS / 2;
                    writer.tick(now_ns);
                    story.push(format!("tick {now_ns}"));
                }
                5 => story.push(format!("flush {:?}", writer.flush().is_ok())),
                6 => drop(writer.compress_some()),
                7 => {
                    if let Place::Memory(model) = &place {
                        let mut disk = model.disk();
                        let at = disk.ops + rng.below(6);
                        let for_good = rng.chance(30);
                        disk.fault = Some(Fault { at, for_good, kind: FaultKind::Error(ENOSPC) });
                        story.push(format!("{:?}", disk.fault));
                    }
                }
                _ => {
                    if let Place::Memory(model) = &place {
                        model.disk().fault = None;
                    }
                }
            }
            let account = writer.account();
            assert!(is_exact(&account), "{story:#?} {account:?}");
            if writer.stall().is_some_and(|stall| stall.to_string().contains("begin another")) {
                story.push("stopped".to_owned());
                let seqs = there(place.copy()).seqs;
                if let Some(seqs_before) = frozen.replace(seqs.clone()) {
                    assert!(seqs.len() <= Vec::len(&seqs_before), "written after the stop: {story:#?}");
                }
            }
        }
        if let Place::Memory(model) = &place {
            struck += std::mem::take(&mut model.disk().struck);
            model.disk().fault = None;
        }
        let bytes = place.bytes();
        let was_stopped = frozen.is_some();
        let cut_waits = writer.account().segments_suspect > 0;
        let (account, stopped) = match writer.close() {
            Ok(account) => (account, false),
            Err(error) => {
                assert!(error.to_string().contains("begin another journal"), "{error} {story:#?}");
                (*error.account, true)
            }
        };
        assert!(!was_stopped || stopped, "{story:#?}");
        assert!(!was_stopped || cut_waits || place.bytes() == bytes, "written after the stop: {story:#?}");
        let there = there(place.copy());
        let what = || {
            let (found, missing) = (there.seqs.len(), there.missing);
            format!("{story:#?} {account:?} {found} there, {missing} missing, {}", there.retired)
        };
        assert!(is_exact(&account) && account.pending == 0, "{}", what());
        let found = there.seqs.len() as u64 + there.retired;
        if gone.is_some() && !stopped {
            // It had ended: what was in it counts as stored, and is told by readers.
            let name = gone.as_deref();
            assert!(account.removed == 0 && name != Some("LOCK") && found <= account.stored, "{}", what());
        } else {
            assert!(!stopped || gone.is_some(), "{}", what());
            assert!(gone.as_deref() != Some("LOCK") || account.removed == 0, "{}", what());
            // A segment that told how much retention had removed may have gone itself: then that is missing.
            assert!(there.missing == 0 || stopped && account.segments_retired > 0, "{}", what());
            assert_eq!(found + there.missing, account.stored, "{}", what());
        }
        assert!(there.seqs.is_sorted_by(|a, b| a < b), "{}", what());
        if there.retired == 0 && there.missing == 0 && (gone.is_none() || stopped) {
            let there_too = duplicates.iter().filter(|seq| there.seqs.binary_search(seq).is_ok()).count();
            assert_eq!((duplicates.len() - there_too) as u64, account.lost_duplicates, "{}", what());
        }
        stops += u64::from(stopped);
        removed += account.removed;
        retired += account.segments_retired;
        if let Place::Dir(path) = &place {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    println!(
        "{runs} runs, {struck} errors, {stops} stops, {removed} records removed, {retired} segments retired"
    );
    assert!(struck > runs / 10 && stops > runs / 3 && removed > runs * 10 && retired > runs / 10, "no teeth");
}

#[test]
fn a_pipeline_says_that_its_journal_was_removed() {
    const LAB: DomainDef = DomainDef {
        domain: Domain::FIRST_USER,
        name: Shared::Static("lab"),
        kinds: Shared::Static(&[KindDef::of::<Sample>("sample", Identity::Content)]),
        states: None,
    };
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("journal");
    let symbols = Arc::new(Symbols::new());
    let entity = symbols.intern("entity").unwrap();
    let mut schema = Schema::new();
    schema.register(&LAB).unwrap();
    let options = small(Durability::ProcessCrash);
    let mut log = Some(JournalLog::open(&path, RUN, options, Clock::cycles(), &symbols, &schema).unwrap());
    let mut builder = Builder::default();
    builder.domain(&LAB).symbols(Arc::clone(&symbols));
    let key = builder.observer("journal", move |setup| {
        log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
    });
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("test").unwrap();
    // Every second one is a duplicate.
    emitter.emit_batch((0..20_000).map(|n| (entity, Sample { value: n / 2, other: 0 })));
    pipeline.drain(Duration::from_secs(10)).unwrap();
    // The journal's thread has a time of its own: before it has written something, there is nothing to remove.
    let start = Instant::now();
    while pipeline.snapshot().report(key).unwrap().account.stored == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing was written");
        std::thread::yield_now();
    }
    // Not while a segment is begun in it.
    while std::fs::remove_dir_all(&path).is_err() {}
    let snapshot = pipeline.shutdown();
    let report = snapshot.report(key).unwrap();
    let (_, delivery) = snapshot.account.observers.iter().find(|(name, _)| &**name == "journal").unwrap();
    assert!(!path.exists(), "it is not made again");
    assert!(!report.closed, "{report:?}");
    let account = &report.account;
    assert_eq!(account.offered, account.stored + account.lost, "{report:?}");
    let new = report.account.lost - report.account.lost_duplicates;
    // Events that tell of what was lost at the end come when the journal is closed: it is not offered them any more.
    let seen = snapshot.account.unique + snapshot.account.duplicates;
    let too_late = seen - report.account.offered;
    assert_eq!((snapshot.account.duplicates, report.refused), (10_000, 0));
    assert!(too_late <= snapshot.account.unique - 10_000, "{report:?}");
    assert_eq!(delivery.failed, new + too_late, "{delivery:?} {report:?}");
    assert_eq!(delivery.handled + delivery.failed, snapshot.account.unique);
    let said = snapshot.warnings.iter().any(|warning| warning.contains("begin another journal"));
    assert!(said, "{:?}", snapshot.warnings);
}
