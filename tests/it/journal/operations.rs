//! Rotation, retention, repair, disk trouble and the worker, on a real directory where it matters.
#![cfg(feature = "journal")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use crate::support::journal::{Model, batch, define, entity_name, record, small};
use panther_events::event::{Record, Symbol};
use panther_events::journal::storage::DirStorage;
use panther_events::journal::{
    Defined, Durability, JournalReader, JournalWorker, JournalWriter, Options, ReadOptions, RepairError,
    RunId, repair, verify,
};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const RUN: RunId = RunId(*b"a run of a test.");
const SECOND_NS: u64 = 1_000_000_000;

fn read(path: &Path) -> (Vec<Record>, Vec<String>) {
    let mut reader = JournalReader::open(path, ReadOptions::default()).unwrap();
    let mut records = Vec::new();
    reader.for_each(|record| records.push(*record)).unwrap();
    assert!(records.is_empty() || reader.name(Symbol::of(&entity_name(1))).is_some());
    (records, reader.findings().iter().map(ToString::to_string).collect())
}

#[test]
fn segments_rotate_by_time_and_by_size() {
    let model = Model::default();
    let options = Options { rotate_after: Some(Duration::from_secs(10)), ..small(Durability::ProcessCrash) };
    let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
    for second in 0..35 {
        assert_eq!(writer.append(&batch(second, 1)).lost, 0);
        writer.tick(u64::from(second) * SECOND_NS);
    }
    assert_eq!(writer.account().segments, 4);
    assert_eq!(writer.append(&batch(35, 2_000)).lost, 0);
    let account = writer.close().unwrap();
    assert!(account.segments >= 4 + 2_000 * 64 / (32 << 10));
    assert!(verify(model, ReadOptions::default()).unwrap().is_sound());
}

#[test]
fn retention_removes_the_oldest_segments_and_readers_miss_nothing() {
    for durability in [Durability::ProcessCrash, Durability::PowerLoss { every: Duration::from_secs(1) }] {
        for by_size in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let options = Options {
                retain_bytes: by_size.then_some(128 << 10),
                retain_for: (!by_size).then_some(Duration::from_secs(20)),
                ..small(durability)
            };
            let mut writer = JournalWriter::open(dir.path(), RUN, options, 0).unwrap();
            define(&mut writer);
            for second in 0..100 {
                assert_eq!(writer.append(&batch(second * 100, 100)).lost, 0);
                writer.tick(u64::from(second) * SECOND_NS);
            }
            let account = writer.close().unwrap();
            assert!(account.segments_retired > 10 && account.errors == 0, "{account:?}");
            let (records, findings) = read(dir.path());
            assert_eq!(findings, Vec::<String>::new());
            assert!((1_000..4_000).contains(&records.len()), "{}", records.len());
            assert!(records == batch(10_000 - records.len() as u32, records.len() as u32));
        }
    }
}

#[test]
fn a_missing_segment_is_named_by_source_and_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = JournalWriter::open(dir.path(), RUN, small(Durability::Buffered), 0).unwrap();
    define(&mut writer);
    assert_eq!(writer.append(&batch(0, 3_000)).lost, 0);
    writer.close().unwrap();
    std::fs::remove_file(dir.path().join("00000002.journal")).unwrap();
    let report = verify(DirStorage::new(dir.path()), ReadOptions::default()).unwrap();
    let [finding] = &report.findings[..] else { panic!("{report:?}") };
    let missing = 3_000 - report.records;
    assert_eq!((finding.at.segment, finding.records), (2, Some(missing)));
    assert_eq!((finding.sources[0].source, finding.sources[0].records), (1, missing));
}

#[test]
fn the_next_run_keeps_what_a_reader_sees_behind_a_damaged_block() {
    let model = Model::default();
    let options = small(Durability::PowerLoss { every: Duration::from_secs(1) });
    let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options.clone(), 0).unwrap();
    define(&mut writer);
    for from in (0..1_500).step_by(100) {
        assert_eq!(writer.append(&batch(from, 100)).lost, 0);
        writer.tick(u64::from(from) * SECOND_NS);
    }
    drop(writer);
    let disk = Model::of(model.disk().killed());
    let count = |model: &Model| {
        let mut reader = JournalReader::over(model.clone(), ReadOptions::default()).unwrap();
        let mut records = 0;
        reader.for_each(|_| records += 1).unwrap();
        records
    };
    let names = disk.disk().names();
    disk.disk().bytes_mut(&names[0])[9_000] ^= 1;
    // A crash has left it behind.
    disk.disk().insert(&format!("{:08}.journal", names.len()), vec![0; 4096]);
    let before = count(&disk);
    let mut next = JournalWriter::over(Box::new(disk.clone()), RUN, options, 0).unwrap();
    assert_eq!(next.append(&[record(2, 0, 0)]).lost, 0);
    next.close().unwrap();
    assert_eq!((before > 1_000, count(&disk)), (true, before + 1), "{names:?}");
}

#[test]
fn repair_writes_a_sound_journal_and_leaves_the_old_one() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut writer = JournalWriter::open(old.path(), RUN, small(Durability::Buffered), 0).unwrap();
    define(&mut writer);
    writer.define_detail(5 << 64, b"five").unwrap();
    assert_eq!(writer.append(&batch(0, 1_000)).lost, 0);
    writer.close().unwrap();
    let name = old.path().join("00000001.journal");
    let mut bytes = std::fs::read(&name).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&name, &bytes).unwrap();

    let storage = || Box::new(DirStorage::new(new.path()));
    let (report, account) =
        repair(DirStorage::new(old.path()), storage(), ReadOptions::default(), 9).unwrap();
    let missing: u64 = report.findings.iter().filter_map(|finding| finding.records).sum();
    assert_eq!((report.findings.len(), account.stored, account.lost_upstream), (1, 1_000 - missing, missing));
    assert!(missing > 0 && std::fs::read(&name).unwrap() == bytes);
    let (records, findings) = read(new.path());
    assert_eq!(findings, Vec::<String>::new());
    assert!(records == read(old.path()).0);
    let mut reader = JournalReader::over(*storage(), ReadOptions::default()).unwrap();
    while reader.next_block().unwrap().is_some() {}
    let defined: Vec<_> = reader.definitions_after(0).collect();
    assert_eq!(defined.len(), 3, "a name, a document, a domain: {defined:?}");
    let again = repair(DirStorage::new(old.path()), storage(), ReadOptions::default(), 9).unwrap_err();
    assert!(matches!(again, RepairError::NotEmpty { .. }), "{again}");
}

#[test]
fn a_repair_reserves_no_more_than_it_needs() {
    let (old, new) = (Model::default(), Model::default());
    let mut writer = JournalWriter::over(Box::new(old.clone()), RUN, small(Durability::Buffered), 0).unwrap();
    define(&mut writer);
    assert_eq!(writer.append(&batch(0, 50_000)).lost, 0);
    writer.close().unwrap();
    // Once its first segment is there.
    new.disk().capture = vec![2];
    let (_, account) = repair(old, Box::new(new.clone()), ReadOptions::default(), 0).unwrap();
    assert_eq!((account.stored, account.segments), (50_000, 1));
    let (_, early) = new.disk().captured.remove(0);
    let reserved = early.bytes("00000000.journal").len();
    assert!((3_200_000..6_000_000).contains(&reserved), "{reserved}");
}

#[test]
fn reading_and_verifying_change_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = JournalWriter::open(dir.path(), RUN, small(Durability::ProcessCrash), 0).unwrap();
    define(&mut writer);
    assert_eq!(writer.append(&batch(0, 1_000)).lost, 0);
    drop(writer);
    let snapshot = || {
        let mut files: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (
                    entry.file_name(),
                    std::fs::read(entry.path()).unwrap(),
                    entry.metadata().unwrap().modified().unwrap(),
                )
            })
            .collect();
        files.sort();
        files
    };
    let before = snapshot();
    let report =
        verify(DirStorage::new(dir.path()), ReadOptions { salvage: true, ..ReadOptions::default() }).unwrap();
    assert!(report.records == 1_000 && !report.closed && !report.is_sound());
    assert!(snapshot() == before);
}

#[test]
fn a_worker_writes_what_it_is_handed_and_keeps_its_promises() {
    static NOW: AtomicU64 = AtomicU64::new(0);
    let clock = || NOW.fetch_add(1_000_000, Ordering::Relaxed);
    for durability in [Durability::ProcessCrash, Durability::PowerLoss { every: Duration::from_millis(20) }] {
        let dir = tempfile::tempdir().unwrap();
        let writer = JournalWriter::open(dir.path(), RUN, Options::new(durability), 0).unwrap();
        let mut worker = JournalWorker::start(writer, 64, clock).unwrap();
        worker.define(Symbol::of(&entity_name(1)), &entity_name(1));
        assert_eq!(worker.append(&batch(0, 100_000)), 0);
        worker.flush().unwrap();
        assert_eq!((worker.watermark().records(), worker.watermark().get(1).last), (100_000, Some(99_999)));
        assert_eq!(worker.append(&batch(100_000, 10)), 0);
        let account = worker.close().unwrap();
        assert_eq!((account.stored, account.lost, account.errors), (100_010, 0, 0));
        let (records, findings) = read(dir.path());
        assert!(records == batch(0, 100_010) && findings.is_empty(), "{findings:?}");
    }
}

#[test]
fn a_worker_whose_queue_is_full_refuses_counts_and_tells_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let writer = JournalWriter::open(dir.path(), RUN, Options::new(Durability::ProcessCrash), 0).unwrap();
    // The clock stands still until the test lets it go on: the thread hangs after its first batch.
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let mut worker = JournalWorker::start(writer, 1, move || gate.recv().map_or(1, |()| 1)).unwrap();
    let refused: u64 = (0..10).map(|n| worker.append(&batch(n * 4096, 4096))).sum();
    assert!(refused >= 7 * 4096 && refused == worker.refused(), "{refused}");
    drop(go);
    let account = worker.close().unwrap();
    assert_eq!((account.stored + refused, account.lost_upstream), (10 * 4096, refused));
    let report = verify(DirStorage::new(dir.path()), ReadOptions::default()).unwrap();
    assert_eq!((report.records, report.totals.lost_upstream), (account.stored, refused));
}

#[test]
fn definitions_are_handed_out_once_and_in_order() {
    let model = Model::default();
    let mut writer =
        JournalWriter::over(Box::new(model.clone()), RUN, small(Durability::Buffered), 0).unwrap();
    for number in 0..500 {
        writer.define(Symbol::of(&entity_name(number)), &entity_name(number)).unwrap();
        assert_eq!(writer.append(&[record(number as u16, 0, number)]).lost, 0);
    }
    // A document of the journal's own needs no record.
    writer.define_detail(5 << 64, b"five").unwrap();
    writer.close().unwrap();
    let mut reader = JournalReader::over(model, ReadOptions::default()).unwrap();
    let (mut handed, mut known) = (Vec::new(), 0);
    loop {
        let more = reader.next_block().unwrap().is_some();
        handed.extend(reader.definitions_after(known).map(|definition| match definition {
            Defined::Name(_, name) => name.to_owned(),
            Defined::Detail(digest, _) => digest.to_string(),
        }));
        known = reader.definitions();
        if !more {
            break;
        }
    }
    let note = handed.iter().position(|text| *text == (5_u128 << 64).to_string());
    handed.remove(note.unwrap());
    assert!(handed.into_iter().eq((0..500).map(entity_name)));
    assert_eq!(
        (reader.definitions_after(known).count(), reader.definitions_after(known + 1).count()),
        (0, 0)
    );
}
