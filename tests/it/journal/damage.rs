//! No damage to a journal makes its reader panic or hand out a wrong record, and none goes unreported.
#![cfg(feature = "journal")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use crate::support::journal::{Disk, Model, entity_name, env_count, record};
use panther_events::event::{Record, Symbol};
use panther_events::journal::format::BlockHeader;
use panther_events::journal::{
    Durability, JournalReader, JournalWriter, Options, ReadOptions, RunId, Status, verify,
};
use std::collections::BTreeSet;

const RUN: RunId = RunId(*b"a run of a test.");
const NAME: &str = "00000000.journal";

/// A journal of one segment, about 64 KiB, with blocks of several lengths, and its records.
struct Sample {
    bytes: Vec<u8>,
    records: Vec<Record>,
    blocks: Vec<BlockHeader>,
}

fn sample() -> Sample {
    let model = Model::default();
    let options =
        Options { block_len: 8 << 10, segment_len: 1 << 20, ..Options::new(Durability::ProcessCrash) };
    let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 7).unwrap();
    let mut records = Vec::new();
    for batch in 0..26u32 {
        let source = (batch % 5) as u16;
        writer.define(Symbol::of(&entity_name(u64::from(source))), &entity_name(u64::from(source))).unwrap();
        let len = [1, 30, 64, 10, 70][batch as usize % 5];
        let next: Vec<Record> =
            (0..len).map(|n| record(source, batch / 5 * 100 + n, u64::from(batch))).collect();
        assert_eq!(writer.append(&next).lost, 0);
        records.extend(next);
    }
    writer.close().unwrap();
    let bytes = model.disk().bytes(NAME).to_vec();
    assert!((60_000..80_000).contains(&bytes.len()), "{}", bytes.len());
    let blocks = blocks(&bytes);
    Sample { bytes, records, blocks }
}

fn blocks(bytes: &[u8]) -> Vec<BlockHeader> {
    let mut blocks: Vec<BlockHeader> = Vec::new();
    while let Ok(header) = BlockHeader::decode(&bytes[blocks.last().map_or(0, |b| b.end().offset as usize)..])
    {
        blocks.push(header);
    }
    blocks
}

struct Read {
    records: Vec<Record>,
    findings: usize,
    missing: u64,
}

fn read(bytes: Vec<u8>, options: ReadOptions) -> Read {
    let mut disk = Disk::default();
    disk.insert(NAME, bytes);
    let mut reader = JournalReader::over(Model::of(disk), options).unwrap();
    let mut records = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        records.extend_from_slice(block.records());
    }
    assert_eq!(reader.status(), Status::Ended);
    let missing = reader.findings().iter().filter_map(|finding| finding.records).sum();
    Read { records, findings: reader.findings().len(), missing }
}

/// Asserts that what was read is what was written, in order, with nothing added; damage is reported.
fn assert_sound(sample: &Sample, read: &Read, what: &str) {
    assert!(read.findings > 0, "{what}: not reported");
    // Batches differ in source or number, so every record is unique.
    let mut rest = sample.records.iter();
    for record in &read.records {
        assert!(rest.any(|sent| sent == record), "{what}: a record that was not sent, or out of order");
    }
}

#[test]
fn the_sample_is_sound() {
    let sample = sample();
    let read = read(sample.bytes.clone(), ReadOptions::default());
    assert!(read.records == sample.records);
    assert_eq!((read.findings, read.missing), (0, 0));
    let mut unique = BTreeSet::new();
    assert!(sample.records.iter().all(|record| unique.insert((record.source(), record.seq()))));
    assert!(sample.blocks.len() > 30);
}

#[test]
fn a_truncation_at_any_byte_is_reported_and_leaves_a_prefix() {
    let sample = sample();
    for len in 0..sample.bytes.len() {
        let read = read(sample.bytes[..len].to_vec(), ReadOptions::default());
        assert_sound(&sample, &read, &format!("cut at {len}"));
        let whole = sample.blocks.iter().filter(|block| block.end().offset as usize <= len);
        let expected: u32 = whole.map(|block| block.records).sum();
        assert!(
            read.records == sample.records[..expected as usize],
            "cut at {len}: every whole block is read"
        );
    }
}

/// Bits are flipped by several threads, each its share.
#[test]
fn every_flipped_bit_is_reported_and_costs_at_most_its_block() {
    let sample = sample();
    let step = env_count("JOURNAL_FLIP_STEP", 1) as usize;
    let threads = 2;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let sample = &sample;
            scope.spawn(move || {
                for bit in (thread * step..sample.bytes.len() * 8).step_by(threads * step) {
                    let mut bytes = sample.bytes.clone();
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    let hit =
                        sample.blocks.iter().find(|block| (bit as u64 / 8) < block.end().offset).unwrap();
                    let read = read(bytes, ReadOptions::default());
                    let what = format!("bit {bit}");
                    assert!(read.findings > 0, "{what}: not reported");
                    let first = hit.totals.records as usize;
                    let (before, after) =
                        (&sample.records[..first], &sample.records[first + hit.records as usize..]);
                    let got = read.records.split_at_checked(before.len());
                    assert!(got.is_some_and(|got| got.0 == before && got.1 == after), "{what}: {hit:?}");
                    assert_eq!(read.missing, u64::from(hit.records), "{what}: the gap has its length");
                }
            });
        }
    });
}

#[test]
fn swapped_duplicated_zeroed_and_stale_blocks_are_reported() {
    let sample = sample();
    let span = |block: &BlockHeader| block.at.offset as usize..block.end().offset as usize;
    let check = |bytes: Vec<u8>, what: String| {
        if bytes == sample.bytes {
            return;
        }
        for salvage in [false, true] {
            let read = read(bytes.clone(), ReadOptions { salvage, ..ReadOptions::default() });
            assert_sound(&sample, &read, &format!("{what}, salvage {salvage}"));
        }
    };
    for (i, a) in sample.blocks.iter().enumerate() {
        let mut zeroed = sample.bytes.clone();
        zeroed[span(a)].fill(0);
        check(zeroed, format!("block {i} zeroed"));

        let mut removed = sample.bytes.clone();
        removed.drain(span(a));
        check(removed, format!("block {i} removed"));

        let mut repeated = sample.bytes.clone();
        repeated
            .splice(a.end().offset as usize..a.end().offset as usize, sample.bytes[span(a)].iter().copied());
        check(repeated, format!("block {i} repeated behind itself"));

        for (j, b) in sample.blocks.iter().enumerate() {
            if i < j {
                let mut swapped = sample.bytes[..span(a).start].to_vec();
                swapped.extend_from_slice(&sample.bytes[span(b)]);
                swapped.extend_from_slice(&sample.bytes[span(a).end..span(b).start]);
                swapped.extend_from_slice(&sample.bytes[span(a)]);
                swapped.extend_from_slice(&sample.bytes[span(b).end..]);
                check(swapped, format!("blocks {i} and {j} swapped"));
            }
            // A copy of one block over another, cut or followed by what was there.
            let mut copied = sample.bytes.clone();
            let len = span(a).len().min(copied.len() - span(b).start);
            let start = span(b).start;
            copied[start..start + len].copy_from_slice(&sample.bytes[span(a)][..len]);
            check(copied, format!("block {i} over block {j}"));
        }
    }
}

/// Blocks of an earlier state of the same place: another run's, and the same run's with another past.
#[test]
fn blocks_of_another_run_or_another_past_are_not_taken_for_this_journals() {
    let sample = sample();
    for (run, skip) in [(RunId([1; 16]), 0), (RUN, 1)] {
        let model = Model::default();
        let options =
            Options { block_len: 8 << 10, segment_len: 1 << 20, ..Options::new(Durability::ProcessCrash) };
        let mut writer = JournalWriter::over(Box::new(model.clone()), run, options, 7).unwrap();
        writer.define(Symbol::of(&entity_name(0)), &entity_name(0)).unwrap();
        for batch in 0..26u32 {
            let len = [1, 30, 64, 10, 70][batch as usize % 5];
            let other: Vec<Record> = (0..len).map(|n| record(9, batch * 100 + n + skip, 1)).collect();
            assert_eq!(writer.append(&other).lost, 0);
        }
        writer.close().unwrap();
        let stale = model.disk().bytes(NAME).to_vec();
        for block in blocks(&stale) {
            let (from, to) = (block.at.offset as usize, block.end().offset as usize);
            let own = sample.blocks.iter().find(|own| own.at == block.at);
            // Where both pasts are still the same, the block could be either's; its successor will tell.
            let same_past = own.is_some_and(|own| own.run == block.run && own.previous == block.previous);
            if to > sample.bytes.len() || same_past {
                continue;
            }
            let mut bytes = sample.bytes.clone();
            bytes[from..to].copy_from_slice(&stale[from..to]);
            let read = read(bytes, ReadOptions::default());
            // At a journal's very start, either of two runs can be the right one; all else is refused.
            if from > 0 {
                assert_sound(&sample, &read, &format!("stale block at {from} of {run}"));
            }
        }
    }
}

#[test]
fn a_damaged_block_is_named_by_source_and_numbers() {
    let sample = sample();
    let hit = sample.blocks.iter().filter(|block| block.records == 64).nth(2).unwrap();
    let first = &sample.records[hit.totals.records as usize];
    let last = &sample.records[hit.totals.records as usize + hit.records as usize - 1];
    for byte in [hit.at.offset + 20, hit.at.offset + u64::from(hit.header_len) + 100] {
        let mut disk = Disk::default();
        disk.insert(NAME, sample.bytes.clone());
        disk.bytes_mut(NAME)[byte as usize] ^= 0x10;
        let report = verify(Model::of(disk), ReadOptions::default()).unwrap();
        assert_eq!(report.findings.len(), 1, "{report:?}");
        let finding = &report.findings[0];
        assert_eq!((finding.at, finding.len, finding.records), (hit.at, u64::from(hit.len), Some(64)));
        let [gap] = &finding.sources[..] else { panic!("{finding:?}") };
        assert_eq!((gap.source, gap.records, gap.through), (first.source(), 64, last.seq()));
        let after = sample.records.iter().filter(|record| record.source() == gap.source);
        assert_eq!(gap.after, after.map(|record| record.seq()).take_while(|seq| *seq < first.seq()).last());
    }
}
