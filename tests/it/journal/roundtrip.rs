//! What goes into a journal comes out of it, in order, with its names.
#![cfg(feature = "journal")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use crate::support::journal::{Model, Other, Rng, entity_name, record, seed};
use panther_events::event::{EventKind, KindSet, Payload, Record, Symbol};
use panther_events::journal::{
    Durability, Filter, JournalReader, JournalWriter, OpenError, Options, ReadOptions, RunId, Select, Status,
};
use std::time::Duration;

const RUN: RunId = RunId(*b"a run of a test.");
const EVERY: Duration = Duration::from_millis(10);
const DURABILITIES: [Durability; 3] =
    [Durability::Buffered, Durability::ProcessCrash, Durability::PowerLoss { every: EVERY }];

fn small(durability: Durability) -> Options {
    Options {
        block_len: Options::BLOCK_LEN_MIN,
        segment_len: 4 * Options::BLOCK_LEN_MIN as u64,
        held_bytes_max: 64 * Options::BLOCK_LEN_MIN,
        ..Options::new(durability)
    }
}

/// Appends batches of random lengths from `sources` sources, with a tick and now and then a flush between.
fn write_random(writer: &mut JournalWriter, rng: &mut Rng, sources: u64, total: usize) -> Vec<Record> {
    let mut seqs = vec![0u32; sources as usize];
    let mut sent = Vec::new();
    let mut now = 1_000;
    while sent.len() < total {
        let batch: Vec<Record> = (0..rng.below(200))
            .map(|_| {
                let source = rng.below(sources) as u16;
                let seq = &mut seqs[usize::from(source)];
                *seq += 1 + rng.below(2) as u32;
                now += rng.below(1_000_000);
                writer
                    .define(Symbol::of(&entity_name(u64::from(source))), &entity_name(u64::from(source)))
                    .unwrap();
                record(source, *seq, now)
            })
            .collect();
        assert_eq!(writer.append(&batch).lost, 0);
        sent.extend(batch);
        writer.tick(now);
        if rng.chance(10) {
            writer.flush().unwrap();
        }
        let account = writer.account();
        assert_eq!(account.offered, account.stored + account.pending + account.skipped + account.lost);
    }
    sent
}

fn read_all(reader: &mut JournalReader) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        records.extend_from_slice(block.records());
        let entities: Vec<Symbol> = block.records().iter().map(Record::entity).collect();
        assert!(
            entities.iter().all(|entity| reader.name(*entity).is_some()),
            "a name comes before its first use"
        );
    }
    records
}

#[test]
fn what_was_appended_is_read_back_under_every_durability() {
    let mut rng = Rng::new(seed());
    for durability in DURABILITIES {
        for sources in [1, 3, 200, 1_000] {
            let model = Model::default();
            let mut writer =
                JournalWriter::over(Box::new(model.clone()), RUN, small(durability), 1_000).unwrap();
            let sent = write_random(&mut writer, &mut rng, sources, 5_000);
            assert!(writer.define_detail(7 << 64, b"a document").unwrap());
            let account = writer.close().unwrap();
            assert_eq!((account.stored, account.lost, account.errors), (sent.len() as u64, 0, 0));
            assert!(account.segments > 5);

            let mut reader = JournalReader::over(model.clone(), ReadOptions::default()).unwrap();
            assert!(read_all(&mut reader) == sent, "{durability:?}, {sources} sources");
            assert_eq!(reader.findings(), []);
            assert!(reader.closed() && reader.status() == Status::Ended);
            assert_eq!(reader.detail(7 << 64), Some(&b"a document"[..]));
            assert_eq!((reader.run(), reader.totals().records), (Some(RUN), sent.len() as u64));
        }
    }
}

#[test]
fn seeking_and_filtering_find_what_a_search_of_all_records_finds() {
    let mut rng = Rng::new(seed());
    let model = Model::default();
    let mut writer =
        JournalWriter::over(Box::new(model.clone()), RUN, small(Durability::Buffered), 0).unwrap();
    let sent = write_random(&mut writer, &mut rng, 20, 5_000);
    writer.close().unwrap();
    let mut reader = JournalReader::over(model, ReadOptions::default()).unwrap();
    for _ in 0..200 {
        let wanted = sent[rng.below(sent.len() as u64) as usize];
        let time = wanted.time_ns() + rng.below(2);
        reader.seek_time(time);
        let at = sent.iter().position(|record| record.time_ns() >= time);
        assert_eq!(reader.next_block().unwrap().map(|block| block.records()[0]), at.map(|at| sent[at]));

        let seq = wanted.seq() + rng.below(2) as u32;
        reader.seek_seq(wanted.source(), seq);
        let at = sent.iter().position(|record| record.source() == wanted.source() && record.seq() >= seq);
        assert_eq!(reader.next_block().unwrap().map(|block| block.records()[0]), at.map(|at| sent[at]));
        if let Some(at) = at {
            // From there on everything follows.
            reader.seek_seq(wanted.source(), seq);
            assert!(read_all(&mut reader) == sent[at..]);
        }

        let filter = Filter {
            kinds: if rng.chance(50) { KindSet::of(&[Other::KIND]) } else { KindSet::ALL },
            entity: rng.chance(50).then(|| wanted.entity()),
            source: rng.chance(50).then(|| wanted.source()),
            time_ns: rng.chance(50).then(|| (wanted.time_ns(), wanted.time_ns() + 100_000_000)),
        };
        reader.rewind();
        reader.set_filter(filter);
        let mut found = Vec::new();
        reader.for_each(|record| found.push(*record)).unwrap();
        let expected: Vec<Record> = sent.iter().copied().filter(|record| filter.contains(record)).collect();
        assert!(found == expected, "{filter:?}");
        assert_eq!(reader.findings(), []);
        reader.set_filter(Filter::ALL);
    }
    reader.seek_time(u64::MAX);
    assert!(reader.next_block().unwrap().is_none());
}

#[test]
fn only_what_is_selected_is_stored_and_the_rest_is_counted() {
    let records: Vec<Record> = (0..1_000).map(|seq| record(1, seq, u64::from(seq))).collect();
    let duplicate = |at: usize| at.is_multiple_of(3);
    let other: EventKind = Other::KIND;
    for select in [Select::ALL, Select::UNIQUE, Select::kinds(KindSet::of(&[other]))] {
        let model = Model::default();
        let options = Options { select, ..small(Durability::Buffered) };
        let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
        writer.define(Symbol::of(&entity_name(1)), &entity_name(1)).unwrap();
        assert_eq!(writer.append_marked(&records, duplicate).lost, 0);
        let account = writer.close().unwrap();
        let keep = |(at, record): &(usize, &Record)| {
            select.kinds.contains(record.kind()) && (select.duplicates || !duplicate(*at))
        };
        let expected: Vec<Record> =
            records.iter().enumerate().filter(keep).map(|(_, record)| *record).collect();
        assert_eq!(account.stored, expected.len() as u64);
        assert_eq!(account.offered, account.stored + account.skipped);
        let mut reader = JournalReader::over(model, ReadOptions::default()).unwrap();
        assert!(read_all(&mut reader) == expected);
        assert_eq!(reader.findings(), [], "what was not selected is no gap");
    }
}

#[test]
fn a_run_is_resumed_in_a_new_segment_and_another_run_is_refused() {
    let mut rng = Rng::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let mut sent = Vec::new();
    for process in 0..4 {
        let mut writer = JournalWriter::open(dir.path(), RUN, small(DURABILITIES[process % 3]), 5).unwrap();
        let refused = JournalWriter::open(dir.path(), RUN, small(Durability::Buffered), 6).unwrap_err();
        let message = refused.to_string();
        assert!(matches!(refused, OpenError::Locked { .. }), "{message}");
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        sent.extend(write_random(&mut writer, &mut rng, 10, 700));
        writer.close().unwrap();
    }
    let refused =
        JournalWriter::open(dir.path(), RunId([9; 16]), small(Durability::Buffered), 6).unwrap_err();
    assert!(matches!(refused, OpenError::AnotherRun { found: RUN, .. }), "{refused}");
    let mut reader = JournalReader::open(dir.path(), ReadOptions::default()).unwrap();
    assert!(read_all(&mut reader) == sent);
    assert_eq!(reader.findings(), []);
}

#[test]
fn a_reader_follows_a_journal_that_is_being_written() {
    let mut rng = Rng::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let mut writer = JournalWriter::open(dir.path(), RUN, small(Durability::ProcessCrash), 5).unwrap();
    let mut reader = JournalReader::open(dir.path(), ReadOptions::default()).unwrap();
    let (mut sent, mut read) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        sent.extend(write_random(&mut writer, &mut rng, 4, 150));
        read.extend(read_all(&mut reader));
        assert!(read == sent, "{} of {}", read.len(), sent.len());
        assert_eq!((reader.status(), reader.findings()), (Status::Waiting, &[][..]));
    }
    writer.close().unwrap();
    assert!(read_all(&mut reader).is_empty());
    assert_eq!((reader.status(), reader.closed(), reader.findings()), (Status::Ended, true, &[][..]));
}

#[test]
fn an_empty_journal_can_be_closed_read_and_resumed() {
    let model = Model::default();
    for _ in 0..2 {
        let writer =
            JournalWriter::over(Box::new(model.clone()), RUN, small(Durability::Buffered), 0).unwrap();
        writer.close().unwrap();
    }
    let mut reader = JournalReader::over(model, ReadOptions::default()).unwrap();
    assert!(reader.next_block().unwrap().is_none());
    assert!(reader.closed() && reader.findings().is_empty() && reader.run() == Some(RUN));
    let mut nothing = JournalReader::over(Model::default(), ReadOptions::default()).unwrap();
    assert!(nothing.next_block().unwrap().is_none());
}
