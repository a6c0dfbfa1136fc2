//! Promise: a compressed segment gives every record whose frame is whole, whatever became of its seek table, and says that
//! the table is damaged.
#![cfg(feature = "zstd")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use crate::support::journal::{Disk, Model, Rng, batch, define, seed};
use panther_events::event::Record;
use panther_events::journal::{Durability, JournalReader, JournalWriter, Options, ReadOptions, RunId};

const RUN: RunId = RunId(*b"a run of a test.");
const NAME: &str = "00000000.journal.zst";

/// A compressed segment of several frames.
struct Sample {
    bytes: Vec<u8>,
    records: Vec<Record>,
    /// Where the frames begin; at the end, where the checks do.
    frames: Vec<usize>,
    /// The records that are whole in the first so many frames.
    whole: Vec<usize>,
}

fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn sample() -> Sample {
    let model = Model::default();
    // Blocks with frames of their own, and some smaller ones at the end that share one.
    let options = Options {
        block_len: 80 << 10,
        segment_len: 4 << 20,
        compress: Some(1),
        ..Options::new(Durability::ProcessCrash)
    };
    let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
    define(&mut writer);
    let records = batch(0, 4_000);
    for part in records[..3_900].chunks(1_300).chain(records[3_900..].chunks(20)) {
        assert_eq!(writer.append(part).lost, 0);
    }
    writer.close().unwrap();
    let bytes = model.disk().bytes(NAME).to_vec();
    // By the diagram alone.
    let entries = number(&bytes, bytes.len() - 9);
    let table = bytes.len() - 9 - 8 * entries;
    let mut frames = vec![0];
    for entry in 0..entries - 1 {
        frames.push(frames[entry] + number(&bytes, table + 8 * entry));
    }
    assert!(frames.len() > 6, "{frames:?}");
    let whole = frames.iter().map(|end| read(&bytes[..*end]).0.len()).collect();
    Sample { bytes, records, frames, whole }
}

fn read(bytes: &[u8]) -> (Vec<Record>, usize) {
    let mut disk = Disk::default();
    disk.insert(NAME, bytes.to_vec());
    let mut reader = JournalReader::over(Model::of(disk), ReadOptions::default()).unwrap();
    let mut records = Vec::new();
    reader.for_each(|record| records.push(*record)).unwrap();
    (records, reader.findings().len())
}

#[test]
fn without_its_seek_table_every_record_is_read_and_the_damage_told() {
    let sample = sample();
    assert_eq!(read(&sample.bytes), (sample.records.clone(), 0));
    let checks = *sample.frames.last().unwrap();
    // Cut off anywhere, from the last byte to the whole of it.
    for len in checks..sample.bytes.len() {
        let (records, findings) = read(&sample.bytes[..len]);
        assert!(records == sample.records, "cut at {len}: {} records", records.len());
        assert!(findings > 0, "cut at {len}: not told");
    }
    // With any byte of it changed, or with bytes behind it.
    for at in checks..sample.bytes.len() {
        for bit in [0, 3, 7] {
            let mut bytes = sample.bytes.clone();
            bytes[at] ^= 1 << bit;
            let (records, findings) = read(&bytes);
            assert!(records == sample.records, "byte {at}, bit {bit}: {} records", records.len());
            assert!(findings > 0, "byte {at}, bit {bit}: not told");
        }
    }
    for more in [1, 8, 64, 5_000] {
        let (records, findings) = read(&[&sample.bytes[..], &vec![0; more]].concat());
        assert!(records == sample.records && findings > 0, "{more} bytes more: {findings}");
    }
}

/// Each frame that is whole gives its records: the more of them are there, the more are read, and all in the end.
#[test]
fn a_file_that_is_cut_gives_the_records_of_its_whole_frames() {
    let sample = sample();
    assert!(sample.whole.is_sorted() && sample.whole.last() == Some(&sample.records.len()));
    let steps = sample.whole.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!(steps > 3, "{:?}", sample.whole);
    let mut rng = Rng::new(seed());
    for (at, pair) in sample.frames.windows(2).enumerate() {
        let inside = (0..20).map(|_| pair[0] as u64 + rng.below((pair[1] - pair[0]) as u64));
        for len in inside.map(|len| len as usize).chain([pair[0], pair[0] + 1, pair[1] - 1]) {
            let (records, findings) = read(&sample.bytes[..len]);
            assert!(records == sample.records[..sample.whole[at]], "cut at {len}: {}", records.len());
            assert!(findings > 0, "cut at {len}: not told");
        }
    }
}

/// A table that is sound in itself, of frames that are not those: what it says of a frame is not believed.
#[test]
fn a_frame_that_is_damaged_costs_its_records_and_no_other() {
    let sample = sample();
    for (at, pair) in sample.frames.windows(2).enumerate() {
        let mut bytes = sample.bytes.clone();
        bytes[(pair[0] + pair[1]) / 2] ^= 0x10;
        let (records, findings) = read(&bytes);
        assert!(findings > 0, "frame {at}: not told");
        let mut rest = sample.records.iter();
        assert!(records.iter().all(|record| rest.any(|sent| sent == record)), "frame {at}");
        assert!(records.starts_with(&sample.records[..sample.whole[at]]), "frame {at}: {}", records.len());
    }
}
