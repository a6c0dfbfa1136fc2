//! Promise: when somebody removes a journal's files while it is written, the writer notices, counts what went with them,
//! goes on in a new segment, and stays the only writer; and readers say what is missing.
#![cfg(feature = "journal")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use crate::support::journal::{
    Fault, FaultKind, Model, Rng, Sample, batch, define, env_count, record, seed, small,
};
use panther_events::clock::Clock;
use panther_events::domain::{Catalogue, DomainDef, KindDef};
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

/// Compares what a reader finds with what the writer says; every record was selected. Returns the numbers that are there.
fn check(storage: impl Storage + Clone, account: &JournalAccount, what: &str) -> Vec<u32> {
    let mut reader = JournalReader::over(storage.clone(), ReadOptions::default()).unwrap();
    let mut seqs = Vec::new();
    reader.for_each(|record| seqs.push(record.seq())).unwrap();
    let missing: u64 = reader.findings().iter().filter_map(|finding| finding.records).sum();
    let what = format!("{what}: {account:?}, {:?}, {:?}", reader.totals(), reader.findings());
    assert_eq!(account.offered, account.stored + account.pending + account.lost, "{what}");
    assert!(account.removed <= account.lost && account.lost_duplicates <= account.lost, "{what}");
    assert_eq!(reader.totals().lost, account.lost - account.removed, "{what}");
    let gaps = reader.findings().iter().flat_map(|finding| &finding.sources);
    assert!(gaps.clone().all(|gap| gap.records <= account.removed), "{what}");
    if account.segments_suspect == 0 || account.segments_removed == 0 {
        assert!(seqs.is_sorted_by(|a, b| a < b) && reader.falls() == 0, "{what}");
        assert_eq!((seqs.len() as u64, missing), (account.stored, account.removed), "{what}");
    } else {
        // Where the segment that told up to where a suspect one counts was removed, readers take all of that one, with what was
        // written again later; and say so.
        assert!(seqs.is_sorted_by(|a, b| a < b) || reader.falls() > 0, "{what}");
        seqs.sort_unstable();
        seqs.dedup();
        assert!(seqs.len() as u64 >= account.stored, "{what}");
        assert!(seqs.len() as u64 + missing >= account.stored + account.removed, "{what}");
    }
    assert_eq!(reader.totals().records, account.stored + account.removed, "{what}");
    let report = verify(storage, ReadOptions::default()).unwrap();
    // A removed segment that nothing counted was in may leave no trace.
    assert!(!report.is_sound() || account.removed == 0, "{what}: {report:?}");
    assert!(report.is_sound() || !report.closed || account.segments_removed > 0, "{what}: {report:?}");
    seqs
}

#[derive(Clone)]
struct At<'a>(&'a Path);

impl At<'_> {
    fn check(&self, account: &JournalAccount, what: &str) -> Vec<u32> {
        let model = Model::default();
        for name in files(self.0) {
            model.disk().insert(&name, std::fs::read(self.0.join(&name)).unwrap());
        }
        check(model, account, what)
    }
}

#[test]
fn a_directory_that_disappears_is_noticed_and_the_journal_goes_on() {
    for durability in DURABILITIES {
        // Within the first segment, and after several; with nothing, something, and several segments coming after it; noticed
        // by the look once a second, or before.
        for (before, after, waits) in
            [(200, 0, false), (200, 10, true), (2_000, 0, false), (2_000, 10, true), (2_000, 1_000, false)]
        {
            let what = format!("{durability:?}, {before} before, {after} after, {waits}");
            let (_parent, path, mut writer) = open(durability);
            let _ = writer.append(&batch(0, before));
            let synced = writer.watermark().records();
            std::fs::remove_dir_all(&path).unwrap();
            if waits {
                writer.tick(2 * SECOND_NS);
            }
            let _ = writer.append(&batch(before, after));
            let account = writer.close().unwrap();
            let seqs = At(&path).check(&account, &what);
            assert!(account.segments_removed >= u64::from(before / 500), "{what}: {account:?}");
            assert_eq!(
                seqs.last().copied(),
                (before + after).checked_sub(1).filter(|last| *last >= account.lost as u32),
                "{what}"
            );
            if durability == Durability::ProcessCrash {
                assert!(account.removed >= u64::from(before), "{what}: {account:?}");
            } else if matches!(durability, Durability::PowerLoss { .. }) {
                assert_eq!(
                    account.removed, synced,
                    "{what}: what waits for its sync is held, and written once more"
                );
            }
        }
    }
}

#[test]
fn a_segment_that_disappears_is_noticed_and_the_lock_is_not_let_go() {
    for (name, rest) in [("00000000.journal", 1_000), ("00000001.journal", 1_000), ("00000001.journal", 0)] {
        let (_parent, path, mut writer) = open(Durability::ProcessCrash);
        let _ = writer.append(&batch(0, 700));
        let lock = std::fs::metadata(path.join("LOCK")).unwrap();
        std::fs::remove_file(path.join(name)).unwrap();
        writer.tick(2 * SECOND_NS);
        let _ = writer.append(&batch(700, rest));
        assert!(matches!(second(&path), Err(OpenError::Locked { .. })));
        let account = writer.close().unwrap();
        At(&path).check(&account, name);
        assert!(account.removed > 0 && account.segments_removed == 1, "{account:?}");
        let same = std::fs::metadata(path.join("LOCK")).unwrap();
        assert_eq!(lock.modified().unwrap(), same.modified().unwrap(), "it was not taken anew");
    }
}

#[test]
fn whoever_removes_the_directory_does_not_make_room_for_a_second_writer() {
    let power_loss = DURABILITIES[2];
    // Before there is a segment; while one waits for its first sync; while one is written.
    for (durability, before, flushes) in [
        (Durability::ProcessCrash, 0, false),
        (power_loss, 300, true),
        (power_loss, 300, false),
        (Durability::ProcessCrash, 300, false),
    ] {
        let (_parent, path, mut writer) = open(durability);
        let _ = writer.append(&batch(0, before));
        std::fs::remove_dir_all(&path).unwrap();
        if flushes {
            writer.flush().unwrap();
        }
        let _ = writer.append(&batch(before, 200));
        writer.tick(2 * SECOND_NS);
        writer.flush().unwrap();
        let what = format!("{durability:?} {before} {flushes}: {:?}", files(&path));
        assert!(matches!(second(&path), Err(OpenError::Locked { .. })), "{what}");
        let account = writer.close().unwrap();
        At(&path).check(&account, &what);
        assert!(second(&path).is_ok(), "{what}");
    }
}

#[test]
fn a_lock_that_disappears_is_made_anew_unless_another_writer_has_made_it() {
    for (removes_all, writes) in [(false, 0), (false, 300), (true, 300)] {
        let (_parent, path, mut writer) = open(Durability::ProcessCrash);
        let _ = writer.append(&batch(0, 100));
        std::fs::remove_file(path.join("LOCK")).unwrap();
        writer.tick(2 * SECOND_NS);
        assert!(matches!(second(&path), Err(OpenError::Locked { .. })));

        if removes_all {
            std::fs::remove_dir_all(&path).unwrap();
        } else {
            std::fs::remove_file(path.join("LOCK")).unwrap();
        }
        let mut other = second(&path).unwrap();
        define(&mut other);
        let _ = other.append(&batch(1_000, writes));
        // Whether it has ended or not: what is in the directory is its own now.
        let other = if writes == 0 { Some(other) } else { other.close().map(|_| None).unwrap() };
        let before = all_bytes(&path);
        writer.tick(4 * SECOND_NS);
        let _ = writer.append(&batch(100, 100));
        let trouble = writer.stall().unwrap().to_string();
        assert!(trouble.contains("another writer has taken its place (process"), "{trouble}");
        assert!(!trouble.contains("resumes"), "{trouble}");
        writer.tick(6 * SECOND_NS);
        let error = writer.close().unwrap_err();
        assert!(error.to_string().contains("another writer"), "{error}");
        assert_eq!((error.account.stored, error.account.lost), (100, 100));
        drop(other);
        assert!(all_bytes(&path) == before, "nothing was written, cut or removed: {:?}", files(&path));
    }
}

#[test]
fn a_directory_that_a_file_has_replaced_is_trouble_until_it_is_gone() {
    let (_parent, path, mut writer) = open(Durability::ProcessCrash);
    let _ = writer.append(&batch(0, 100));
    std::fs::rename(&path, path.with_extension("away")).unwrap();
    std::fs::write(&path, "no directory").unwrap();
    writer.tick(2 * SECOND_NS);
    let _ = writer.append(&batch(100, 50));
    assert!(writer.stall().is_some_and(|trouble| trouble.to_string().contains("resumes")));
    std::fs::remove_file(&path).unwrap();
    writer.tick(4 * SECOND_NS);
    assert!(writer.stall().is_none() && matches!(second(&path), Err(OpenError::Locked { .. })));
    let account = writer.close().unwrap();
    assert_eq!((account.stored, account.removed), (50, 100));
    At(&path).check(&account, "");
}

fn all_bytes(path: &Path) -> Vec<(String, Vec<u8>)> {
    files(path).into_iter().map(|name| (name.clone(), std::fs::read(path.join(name)).unwrap())).collect()
}

/// What comes after a removal that was noticed is found by a reader after a kill, by the next run, and by one who follows.
#[test]
fn what_comes_after_a_removal_survives_a_kill() {
    for durability in DURABILITIES {
        for all in [true, false] {
            let model = Model::default();
            let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, small(durability), 0).unwrap();
            define(&mut writer);
            let mut follower = None;
            let mut followed = Vec::new();
            let mut follow = |model: &Model, seen: &mut Vec<u32>| {
                model.disk().writer = Some("this test".into());
                let reader = follower.get_or_insert_with(|| {
                    JournalReader::over(model.clone(), ReadOptions::default()).unwrap()
                });
                reader.for_each(|record| seen.push(record.seq())).unwrap();
                reader.for_each(|record| seen.push(record.seq())).unwrap();
                model.disk().writer = None;
            };
            let _ = writer.append(&batch(0, 700));
            follow(&model, &mut followed);
            let names = model.disk().names();
            for name in names.iter().rev().take(if all { names.len() } else { 1 }) {
                model.disk().remove(name);
            }
            writer.tick(2 * SECOND_NS);
            let _ = writer.append(&batch(700, 2_000));
            writer.tick(4 * SECOND_NS);
            follow(&model, &mut followed);
            let account = writer.account();
            drop(writer);
            let what = format!("{durability:?}, {all}, {account:?}");
            assert!(account.removed > 0 || durability == DURABILITIES[2], "{what}");

            let killed = Model::of(model.disk().killed());
            let mut reader = JournalReader::over(killed.clone(), ReadOptions::default()).unwrap();
            let mut seqs = Vec::new();
            reader.for_each(|record| seqs.push(record.seq())).unwrap();
            assert_eq!(seqs.len() as u64, account.stored, "{what}: {:?}", reader.findings());
            let missing: u64 = reader.findings().iter().filter_map(|finding| finding.records).sum();
            assert_eq!(missing, account.removed, "{what}: {:?}", reader.findings());
            let after = |seqs: &[u32]| seqs.iter().filter(|seq| **seq >= 700).count();
            assert_eq!(after(&followed), after(&seqs), "{what}: a follower");

            let mut next = JournalWriter::over(Box::new(killed.clone()), RUN, small(durability), 9).unwrap();
            define(&mut next);
            let _ = next.append(&(0..10).map(|seq| record(2, seq, 0)).collect::<Vec<_>>());
            next.close().unwrap();
            let mut reader = JournalReader::over(killed, ReadOptions::default()).unwrap();
            let mut read = 0;
            reader.for_each(|_| read += 1).unwrap();
            assert_eq!(read, account.stored + 10, "{what}: resumed, {:?}", reader.findings());
        }
    }
}

#[test]
fn a_segment_that_has_ended_and_disappears_does_not_take_what_follows_with_it() {
    for removed in ["00000000.journal", "00000003.journal"] {
        let model = Model::default();
        let options = small(Durability::ProcessCrash);
        let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
        define(&mut writer);
        let _ = writer.append(&batch(0, 5_000));
        model.disk().remove(removed);
        writer.tick(2 * SECOND_NS);
        let _ = writer.append(&batch(5_000, 10));
        let account = writer.account();
        drop(writer);
        let killed = Model::of(model.disk().killed());
        assert!(account.removed > 400 && account.segments_removed == 1, "{account:?}");
        check(killed, &account, removed);
    }
}

/// A writer in trouble has left a segment whose end it would cut at the close.
#[cfg(unix)]
#[test]
fn a_writer_in_trouble_cuts_nothing_that_another_has_taken_over() {
    let (_parent, path, mut writer) = open(DURABILITIES[2]);
    let _ = writer.append(&batch(0, 300));
    // The sync of the directory fails, and a new one cannot be made.
    std::fs::rename(&path, path.with_extension("away")).unwrap();
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    assert!(writer.flush().is_err() && writer.account().segments_suspect == 1, "{:?}", writer.account());
    std::fs::remove_file(&path).unwrap();
    std::fs::rename(path.with_extension("away"), &path).unwrap();
    std::fs::remove_file(path.join("LOCK")).unwrap();
    let mut other = second(&path).unwrap();
    let _ = other.append(&[record(2, 0, 0)]);
    other.close().unwrap();
    let before = all_bytes(&path);
    assert!(before[0].1.len() > 300 * 64, "there is something to cut: {:?}", files(&path));
    assert!(writer.close().is_err());
    assert!(all_bytes(&path) == before, "{:?}", files(&path));
}

#[test]
fn a_segment_that_somebody_removes_before_its_time_does_not_count_as_retired() {
    let model = Model::default();
    let options = Options { retain_bytes: Some(128 << 10), ..small(Durability::ProcessCrash) };
    let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
    define(&mut writer);
    let _ = writer.append(&batch(0, 1_500));
    model.disk().remove("00000001.journal");
    let _ = writer.append(&batch(1_500, 6_000));
    let account = writer.account();
    assert!(account.segments_removed == 1 && account.removed > 400 && account.errors == 0, "{account:?}");
    assert_eq!(
        account.segments_retired + 1 + model.disk().names().len() as u64,
        account.segments,
        "{account:?}"
    );
    assert_eq!(account.offered, account.stored + account.pending + account.lost);
}

/// Appends, time, errors and removals in any order: at the end there is on the disk what the account says.
#[test]
fn whatever_is_removed_and_fails_the_account_is_what_is_on_the_disk() {
    let runs = env_count("JOURNAL_RUNS", 3_000);
    let seed = seed();
    let (mut removed, mut lost, mut struck) = (0, 0, 0);
    for run in 0..runs {
        let mut rng = Rng::new(seed.wrapping_add(run));
        let options = Options {
            rotate_after: rng.chance(30).then_some(Duration::from_secs(2)),
            held_bytes_max: if rng.chance(50) { 1 << 20 } else { 64 << 10 },
            compress: (cfg!(feature = "zstd") && rng.chance(30)).then_some(1),
            ..small(DURABILITIES[rng.below(3) as usize])
        };
        let mut story = vec![format!("run {run}: {options:?}")];
        let model = Model::default();
        let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
        if rng.chance(80) {
            define(&mut writer);
        }
        // A kill, if all that was removed was noticed and nothing fails, leaves what a close does.
        let killed = rng.chance(40);
        let (mut next, mut now_ns, mut duplicates) = (0, 0, Vec::new());
        for _ in 0..=rng.below(30) {
            match rng.below(10) {
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
                    let names = model.disk().names();
                    let all = rng.chance(30);
                    let one = rng.below(names.len() as u64 + 1) as usize;
                    for name in
                        names.iter().skip(if all { 0 } else { one }).take(if all { names.len() } else { 1 })
                    {
                        model.disk().remove(name);
                        story.push(format!("remove {name}"));
                    }
                }
                8 if !killed => {
                    let mut disk = model.disk();
                    let at = disk.ops + rng.below(6);
                    disk.fault = Some(Fault { at, for_good: rng.chance(30), kind: FaultKind::Error(ENOSPC) });
                    story.push(format!("{:?}", disk.fault));
                }
                _ => model.disk().fault = None,
            }
            let account = writer.account();
            let sum = account.stored + account.pending + account.lost;
            assert_eq!(account.offered, sum, "{story:#?} {account:?}");
        }
        struck += std::mem::take(&mut model.disk().struck);
        model.disk().fault = None;
        let (account, model) = if killed {
            writer.tick(now_ns + 2 * SECOND_NS);
            // It tells of what is missing.
            let _ = writer.append(&batch(next, 10));
            next += 10;
            writer.tick(now_ns + 4 * SECOND_NS);
            let account = writer.account();
            drop(writer);
            let disk = model.disk().killed();
            (account, Model::of(disk))
        } else {
            (writer.close().unwrap(), model)
        };
        let seqs = check(model, &account, &format!("{story:#?}"));
        let there = duplicates.iter().filter(|seq| seqs.binary_search(seq).is_ok()).count();
        let pending =
            duplicates.iter().rev().take_while(|seq| u64::from(next - **seq) <= account.pending).count();
        let gone = (duplicates.len() - there - pending) as u64;
        let is_exact = account.segments_suspect == 0 || account.segments_removed == 0;
        assert!(gone == account.lost_duplicates || !is_exact && gone < account.lost_duplicates, "{story:#?}");
        (removed, lost) = (removed + account.removed, lost + account.lost);
    }
    println!("{runs} runs, {struck} errors, {lost} records lost, {removed} of them removed");
    assert!(struck > runs / 10 && removed > runs * 10 && lost > removed, "the test has no teeth");
}

#[test]
fn what_was_lost_before_is_told_again_without_any_definition() {
    let model = Model::default();
    let options = Options { held_bytes_max: 64 << 10, ..small(Durability::ProcessCrash) };
    let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
    let _ = writer.append(&batch(0, 10));
    let at = model.disk().ops;
    model.disk().fault = Some(Fault { at, for_good: true, kind: FaultKind::Error(ENOSPC) });
    for from in (10..4_000).step_by(100) {
        let _ = writer.append(&batch(from, 100));
    }
    model.disk().fault = None;
    writer.tick(SECOND_NS);
    let lost = writer.account().lost;
    let last = model.disk().names().pop().unwrap();
    model.disk().remove(&last);
    let account = writer.close().unwrap();
    check(model.clone(), &account, "");
    let mut reader = JournalReader::over(model, ReadOptions::default()).unwrap();
    reader.for_each(|_| {}).unwrap();
    let told: u64 = reader.losses().map(|span| u64::from(span.count)).sum();
    assert!(lost > 1_000 && told == lost, "{told} {account:?}");
}

#[test]
fn a_pipeline_says_that_its_journal_was_removed() {
    const LAB: DomainDef = DomainDef {
        domain: Domain::FIRST_USER,
        name: "lab",
        kinds: &[KindDef::of::<Sample>("sample", Identity::Content)],
        states: None,
    };
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("journal");
    let symbols = Arc::new(Symbols::new());
    let entity = symbols.intern("entity").unwrap();
    let mut catalogue = Catalogue::new();
    catalogue.register(&LAB).unwrap();
    let options = small(Durability::ProcessCrash);
    let fields = |kind| catalogue.fields(kind);
    let mut log = Some(JournalLog::open(&path, RUN, options, Clock::cycles(), &symbols, fields).unwrap());
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
    // Moved in one step; what the journal's thread has still to write goes into a new directory.
    std::fs::rename(&path, parent.path().join("elsewhere")).unwrap();
    let snapshot = pipeline.shutdown();
    let report = snapshot.report(key).unwrap();
    let (_, delivery) = snapshot.account.observers.iter().find(|(name, _)| &**name == "journal").unwrap();
    At(&path).check(&report.account, "");
    assert!(report.closed && report.account.removed > 0, "{report:?}");
    let new = report.account.lost - report.account.lost_duplicates;
    // Events that tell of what was lost at the end come when the journal is closed: it is not offered them any more.
    let seen = snapshot.account.unique + snapshot.account.duplicates;
    let too_late = seen - report.account.offered;
    assert_eq!((snapshot.account.duplicates, report.refused), (10_000, 0));
    assert!(too_late <= snapshot.account.unique - 10_000, "{report:?}");
    assert_eq!(delivery.failed, new + too_late, "{delivery:?} {report:?}");
    assert_eq!(delivery.handled + delivery.failed, snapshot.account.unique);
    let said = snapshot.warnings.iter().any(|warning| warning.contains("were removed while it was written"));
    assert!(said, "{:?}", snapshot.warnings);
}
