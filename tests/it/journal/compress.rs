//! Promise: a compressed segment is the segment that it was, to every reader and through every trouble.
//!
//! `JOURNAL_GOLDEN_WRITE=1` writes the golden file anew; that is a new form, or a mistake.
#![cfg(feature = "journal")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use panther_events::journal::{Durability, Options};
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/journal").join(name)
}

#[cfg(not(feature = "zstd"))]
#[test]
fn a_build_without_the_feature_says_so_and_what_to_do() {
    use panther_events::journal::storage::DirStorage;
    use panther_events::journal::{JournalReader, JournalWriter, ReadOptions, RunId, verify};
    let remedy = |told: &str| {
        assert!(told.contains("00000000.journal.zst"), "{told}");
        assert!(told.contains("feature zstd") && told.contains("`zstd -d`"), "{told}");
    };
    let path = golden("v1-zst");
    remedy(&JournalReader::open(&path, ReadOptions::default()).err().unwrap().to_string());
    remedy(&verify(DirStorage::new(&path), ReadOptions::default()).unwrap_err().to_string());
    let run = RunId(*b"0123456789abcdef");
    let options = Options::new(Durability::Buffered);
    let storage = || Box::new(DirStorage::new(&path));
    remedy(&JournalWriter::over(storage(), run, options.clone(), 0).unwrap_err().to_string());
    let refused =
        JournalWriter::over(storage(), run, Options { compress: Some(3), ..options }, 0).unwrap_err();
    assert!(refused.to_string().contains("the option compress is 3"), "{refused}");
    // Unpacked beside the compressed file, as the remedy says, it is read.
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(golden("v1-zst/00000000.journal.zst"), dir.path().join("00000000.journal.zst")).unwrap();
    std::fs::copy(golden("v1/00000000.journal"), dir.path().join("00000000.journal")).unwrap();
    let report = verify(DirStorage::new(dir.path()), ReadOptions::default()).unwrap();
    assert!(report.is_sound() && report.records == 25, "{report:?}");
}

#[cfg(feature = "zstd")]
mod compressed {
    use super::*;
    use crate::support::journal::watched::{Call, Watched};
    use crate::support::journal::{Disk, Model, ORIGIN, Rng, entity_name, env_count, record, seed};
    use panther_events::event::{Record, Symbol};
    use panther_events::journal::storage::{DirStorage, Storage};
    use panther_events::journal::{
        Damage, Filter, JournalReader, JournalWorker, JournalWriter, ReadOptions, RunId, Status, repair,
        verify,
    };
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    const RUN: RunId = RunId(*b"0123456789abcdef");
    const NAME: &str = "00000000.journal.zst";
    const SECOND_NS: u64 = 1_000_000_000;

    fn options(durability: Durability) -> Options {
        Options { block_len: 8 << 10, segment_len: 64 << 10, compress: Some(3), ..Options::new(durability) }
    }

    fn batch(from: u32, len: u32) -> Vec<Record> {
        (from..from + len).map(|seq| record((seq % 3) as u16, seq, u64::from(seq))).collect()
    }

    fn define(writer: &mut JournalWriter) {
        for source in 0..3 {
            writer.define(Symbol::of(&entity_name(source)), &entity_name(source)).unwrap();
        }
    }

    fn write(model: &Model, options: Options, records: &[Record]) {
        let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
        writer.set_origin(ORIGIN);
        define(&mut writer);
        for batch in records.chunks(70) {
            assert_eq!(writer.append(batch).lost, 0);
        }
        let account = writer.close().unwrap();
        assert_eq!((account.stored, account.errors), (records.len() as u64, 0));
    }

    fn read(storage: impl Storage) -> (Vec<Record>, Vec<String>) {
        let mut reader = JournalReader::over(storage, ReadOptions::default()).unwrap();
        let mut records = Vec::new();
        reader.for_each(|record| records.push(*record)).unwrap();
        assert_eq!(reader.status(), Status::Ended);
        (records, reader.findings().iter().map(ToString::to_string).collect())
    }

    /// What an independent decoder makes of a compressed file.
    fn unpacked(mut bytes: &[u8]) -> Vec<u8> {
        let mut decoder = ruzstd::decoding::FrameDecoder::new();
        let mut all = Vec::new();
        while !bytes.is_empty() {
            match decoder.init(&mut bytes) {
                Ok(()) => {
                    decoder.decode_blocks(&mut bytes, ruzstd::decoding::BlockDecodingStrategy::All).unwrap();
                    all.extend(decoder.collect().unwrap());
                }
                Err(error) => {
                    let text = format!("{error:?}");
                    let skip = text.split("length: ").nth(1).unwrap_or_else(|| panic!("{text}"));
                    let skip: String = skip.chars().take_while(char::is_ascii_digit).collect();
                    bytes = &bytes[skip.parse::<usize>().unwrap()..];
                }
            }
        }
        all
    }

    #[test]
    fn a_compressed_journal_is_read_like_any_other() {
        for durability in [
            Durability::Buffered,
            Durability::ProcessCrash,
            Durability::PowerLoss { every: Duration::from_millis(1) },
        ] {
            let (plain, packed) = (Model::default(), Model::default());
            let records = batch(0, 5_000);
            write(&plain, Options { compress: None, ..options(durability) }, &records);
            write(&packed, options(durability), &records);
            let (names, originals) = (packed.disk().names(), plain.disk().names());
            let expected: Vec<_> = originals.iter().map(|name| format!("{name}.zst")).collect();
            assert!(names == expected && names.len() > 4, "{names:?}");
            for (name, original) in names.iter().zip(&originals) {
                let (packed, plain) =
                    (packed.disk().bytes(name).to_vec(), plain.disk().bytes(original).to_vec());
                assert!(unpacked(&packed) == plain, "{name}");
                // A quarter of each record is its id, which does not get shorter.
                assert!(packed.len() * 5 < plain.len() * 4, "{name}: {} of {}", packed.len(), plain.len());
            }
            assert!(read(packed.clone()) == (records.clone(), Vec::new()));
            let mut reader = JournalReader::over(packed.clone(), ReadOptions::default()).unwrap();
            let sought = |reader: &mut JournalReader<'_>| reader.next_block().unwrap().unwrap().records()[0];
            reader.seek_time(4_321);
            assert!(sought(&mut reader) == records[4_321]);
            reader.seek_seq(1, 2_002);
            assert!(sought(&mut reader) == records[2_002]);
            reader.rewind();
            reader.set_filter(Filter { source: Some(2), time_ns: Some((100, 199)), ..Filter::ALL });
            let mut filtered = Vec::new();
            reader.for_each(|record| filtered.push(*record)).unwrap();
            let expected = records[100..200].iter().filter(|record| record.source() == 2);
            assert!(filtered.iter().eq(expected));
            let repaired = Model::default();
            let (report, account) =
                repair(packed.clone(), Box::new(repaired.clone()), ReadOptions::default(), 0).unwrap();
            assert!(report.is_sound() && account.stored == 5_000, "{report:?}");
            assert!(read(repaired).0 == records);
        }
    }

    #[test]
    fn a_run_is_resumed_behind_compressed_segments_and_what_was_left_half_done_is_tidied() {
        let model = Model::default();
        write(&model, options(Durability::ProcessCrash), &batch(0, 1_000));
        let mut expected = batch(0, 1_000);
        // A run that died while it compressed: both forms are there, and a beginning of another.
        let plain = unpacked(model.disk().bytes(NAME));
        model.disk().insert("00000000.journal", plain);
        model.disk().insert("00000001.journal.zst.partial", vec![1, 2, 3]);
        assert!(read(model.clone()) == (expected.clone(), Vec::new()), "both forms are one segment");
        let more: Vec<Record> = (0..1_000).map(|seq| record(7, seq, 9)).collect();
        let mut writer =
            JournalWriter::over(Box::new(model.clone()), RUN, options(Durability::ProcessCrash), 0).unwrap();
        let mut names = model.disk().names();
        assert!(names.pop().is_some_and(|own| own.ends_with(".journal")));
        assert!(names.iter().all(|name| name.ends_with(".zst")), "{names:?}");
        define(&mut writer);
        assert_eq!(writer.append(&more).lost, 0);
        writer.close().unwrap();
        expected.extend(more);
        assert!(read(model.clone()) == (expected, Vec::new()));
        assert!(model.disk().names().iter().all(|name| name.ends_with(".zst")));
    }

    #[test]
    fn a_resumed_run_compresses_what_an_earlier_one_left() {
        let model = Model::default();
        write(&model, Options { compress: None, ..options(Durability::ProcessCrash) }, &batch(0, 2_000));
        // A segment that is damaged stays as it is.
        let middle = model.disk().bytes("00000001.journal").len() / 2;
        model.disk().bytes_mut("00000001.journal")[middle] ^= 1;
        let before = read(model.clone());
        let writer =
            JournalWriter::over(Box::new(model.clone()), RUN, options(Durability::ProcessCrash), 0).unwrap();
        let account = writer.close().unwrap();
        let names = model.disk().names();
        let plain: Vec<_> = names.iter().filter(|name| name.ends_with(".journal")).collect();
        assert_eq!(plain, ["00000001.journal"]);
        assert_eq!((account.segments_compressed, account.errors), (names.len() as u64 - 1, 0));
        assert!(read(model) == before);
    }

    #[test]
    fn retention_by_size_counts_the_compressed_bytes() {
        let kept = |compress| {
            let model = Model::default();
            let retain_bytes = Some(192 << 10);
            let options = Options { compress, retain_bytes, ..options(Durability::ProcessCrash) };
            let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
            define(&mut writer);
            for second in 0..250 {
                assert_eq!(writer.append(&batch(second * 100, 100)).lost, 0);
                writer.tick(u64::from(second) * SECOND_NS);
                // Sometimes a segment goes that is being compressed.
                if second % 3 != 0 {
                    writer.compress_some();
                }
            }
            while writer.compress_some() {}
            let names = model.disk().names();
            let size: usize = names.iter().map(|name| model.disk().bytes(name).len()).sum();
            assert!(size < 224 << 10, "{size}");
            let account = writer.close().unwrap();
            assert!(account.segments_retired > 3 && account.errors == 0, "{account:?}");
            let (records, findings) = read(model.clone());
            assert_eq!(findings, Vec::<String>::new());
            assert!(records == batch(25_000 - records.len() as u32, records.len() as u32));
            assert!(!model.disk().names().iter().any(|name| name.ends_with(".partial")));
            records.len()
        };
        let (plain, compressed) = (kept(None), kept(Some(3)));
        assert!(compressed * 4 > plain * 5, "{compressed} compressed, {plain} plain");
    }

    /// A compressed segment of some blocks, and its records.
    fn sample() -> (Vec<u8>, Vec<Record>) {
        let model = Model::default();
        let records = batch(0, 300);
        write(&model, Options { segment_len: 1 << 20, ..options(Durability::ProcessCrash) }, &records);
        let bytes = model.disk().bytes(NAME).to_vec();
        assert!((3_000..12_000).contains(&bytes.len()), "{}", bytes.len());
        (bytes, records)
    }

    fn with(bytes: Vec<u8>) -> Model {
        let mut disk = Disk::default();
        disk.insert(NAME, bytes);
        Model::of(disk)
    }

    /// What is read was written, in order; damage is told.
    fn assert_sound(bytes: Vec<u8>, sent: &[Record], what: &str) {
        let (records, findings) = read(with(bytes));
        assert!(!findings.is_empty(), "{what}: not reported");
        let mut rest = sent.iter();
        for record in &records {
            assert!(rest.any(|sent| sent == record), "{what}: a record that was not sent, or out of order");
        }
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_reported() {
        let (bytes, records) = sample();
        for len in 0..bytes.len() {
            assert_sound(bytes[..len].to_vec(), &records, &format!("cut at {len}"));
        }
        for bit in (0..bytes.len() * 8).step_by(env_count("JOURNAL_FLIP_STEP", 1) as usize) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_sound(flipped, &records, &format!("bit {bit}"));
        }
        let mut longer = bytes;
        longer.extend([0; 9]);
        assert_sound(longer, &records, "with bytes behind it");
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        let (bytes, records) = sample();
        let mut rng = Rng::new(seed());
        for round in 0..2_000 {
            let mut changed = bytes.clone();
            for _ in 0..1 + rng.below(8) {
                let at = rng.below(changed.len().max(1) as u64) as usize;
                let to = (at + rng.below(64) as usize).min(changed.len());
                match rng.below(4) {
                    0 => changed[at..to].fill(rng.next() as u8),
                    1 => drop(changed.drain(at..to)),
                    2 => changed.truncate(to),
                    _ => changed.extend_from_within(at..to),
                }
            }
            if changed != bytes {
                assert_sound(changed, &records, &format!("round {round}"));
            }
        }
    }

    /// Two frames are damaged: what lies between and behind is read, and the gaps have their lengths.
    #[test]
    fn damage_costs_its_frame_and_no_more() {
        let model = Model::default();
        let options = Options { block_len: 128 << 10, segment_len: 4 << 20, ..options(Durability::Buffered) };
        let records = batch(0, 20_000);
        let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
        define(&mut writer);
        assert_eq!(writer.append(&records).lost, 0);
        writer.close().unwrap();
        let len = model.disk().bytes(NAME).len();
        for at in [len / 3, len * 2 / 3] {
            model.disk().bytes_mut(NAME)[at] ^= 0x20;
        }
        let report = verify(model.clone(), ReadOptions::default()).unwrap();
        let quarantined =
            report.findings.iter().filter(|f| matches!(f.damage, Damage::Quarantined(_))).count();
        let missing: u64 = report.findings.iter().filter_map(|finding| finding.records).sum();
        assert_eq!(
            (quarantined, report.findings.len(), report.records + missing),
            (2, 2, 20_000),
            "{report:?}"
        );
        assert!((2_000..4_200).contains(&missing), "{missing}: two blocks");
        assert!(report.closed && !report.is_sound());
        let named: u64 = report.findings.iter().flat_map(|f| &f.sources).map(|gap| gap.records).sum();
        assert_eq!(named, missing);
    }

    #[test]
    fn a_seek_unpacks_headers_and_not_all_that_lies_before() {
        let model = Model::default();
        let options =
            Options { block_len: 256 << 10, segment_len: 32 << 20, ..options(Durability::Buffered) };
        let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
        assert_eq!(writer.append(&batch(0, 200_000)).lost, 0);
        writer.close().unwrap();
        let len = model.disk().bytes(NAME).len() as u64;
        let read = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&read);
        let counting = Watched::new(model, move |call| {
            if let Call::Read(bytes) = call {
                count.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            Ok(())
        });
        let mut reader = JournalReader::over(counting, ReadOptions::default()).unwrap();
        reader.seek_time(190_000);
        assert_eq!(reader.next_block().unwrap().unwrap().records()[0].time_ns(), 190_000);
        let read = read.load(Ordering::Relaxed);
        assert!(read < len / 8, "{read} bytes of {len}");
    }

    /// Frames by the thousand-fold, hidden behind a sound start, cost neither memory nor much time.
    #[test]
    fn a_file_that_claims_to_be_huge_is_refused() {
        // One raw-coded run-length block: 128 KiB in 4 bytes. A frame of `blocks` of them, single segment, with its
        // length in 8 bytes.
        let bomb = |blocks: u64, claimed: u64| {
            let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
            frame.extend(claimed.to_le_bytes());
            for block in 1..=blocks {
                let header: u32 = u32::from(block == blocks) | 1 << 1 | (128 << 10) << 3;
                frame.extend(&header.to_le_bytes()[..3]);
                frame.push(0);
            }
            frame
        };
        for (blocks, claimed) in
            [(64, 8 << 20), (1 << 10, 128 << 20), (1, 1 << 62), (8, u64::MAX), (64, 4 << 20), (1, 0)]
        {
            let mut file = Vec::new();
            for _ in 0..1_000 {
                file.extend(bomb(blocks, claimed));
            }
            let start = std::time::Instant::now();
            let (records, findings) = read(with(file));
            assert!(records.is_empty() && !findings.is_empty(), "{findings:?}");
            assert!(start.elapsed() < Duration::from_secs(10));
        }
    }

    #[test]
    fn a_worker_compresses_beside_its_writing_and_whoever_follows_misses_nothing() {
        static NOW: AtomicU64 = AtomicU64::new(0);
        let clock = || NOW.fetch_add(1_000, Ordering::Relaxed);
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_len: 512 << 10, ..options(Durability::ProcessCrash) };
        let options = Options { block_len: 64 << 10, ..options };
        let writer = JournalWriter::open(dir.path(), RUN, options, 0).unwrap();
        let mut worker = JournalWorker::start(writer, 1_000, clock).unwrap();
        let path = dir.path().to_owned();
        let follower = std::thread::spawn(move || {
            let mut reader = JournalReader::open(&path, ReadOptions::default()).unwrap();
            let mut seen = Vec::new();
            while reader.status() != Status::Ended {
                reader.for_each(|record| seen.push(*record)).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
            (seen, reader.findings().to_vec())
        });
        for part in 0..40 {
            assert_eq!(worker.append(&batch(part * 5_000, 5_000)), 0);
            std::thread::sleep(Duration::from_millis(2));
        }
        worker.flush().unwrap();
        let start = std::time::Instant::now();
        while !dir.path().join(NAME).exists() {
            assert!(start.elapsed() < Duration::from_secs(30), "nothing is compressed while it runs");
            std::thread::sleep(Duration::from_millis(5));
        }
        let account = worker.close().unwrap();
        assert_eq!((account.segments_compressed, account.errors), (account.segments, 0));
        let (seen, findings) = follower.join().unwrap();
        assert!(findings.is_empty(), "{findings:?}");
        assert!(seen == batch(0, 200_000), "{} records", seen.len());
        assert!(read(DirStorage::new(dir.path())) == (seen, Vec::new()));
    }

    #[test]
    fn levels_out_of_range_are_refused() {
        for level in [-1, 0, 20, i32::MIN] {
            let options = Options { compress: Some(level), ..options(Durability::Buffered) };
            let refused = JournalWriter::over(Box::new(Model::default()), RUN, options, 0).unwrap_err();
            assert!(refused.to_string().contains("valid is 1 to 19"), "{refused}");
        }
    }

    #[test]
    fn the_golden_file_is_read_and_lies_as_documented() {
        let plain = std::fs::read(golden("v1/00000000.journal")).unwrap();
        let name = golden("v1-zst/00000000.journal.zst");
        if std::env::var_os("JOURNAL_GOLDEN_WRITE").is_some() {
            let mut disk = Disk::default();
            disk.insert("00000000.journal", plain.clone());
            let model = Model::of(disk);
            let writer =
                JournalWriter::over(Box::new(model.clone()), RUN, options(Durability::Buffered), 0).unwrap();
            writer.close().unwrap();
            std::fs::create_dir_all(golden("v1-zst")).unwrap();
            std::fs::write(&name, model.disk().bytes(NAME)).unwrap();
        }
        let bytes = std::fs::read(&name).unwrap();
        assert!(unpacked(&bytes) == plain);
        let (records, findings) = read(DirStorage::new(golden("v1-zst")));
        assert_eq!((records.len(), findings), (25, Vec::new()));
        // By the diagram alone.
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let footer = bytes.len() - 9;
        let (entries, table) = (number(footer), footer - 8 - 8 * number(footer));
        assert_eq!((number(footer + 5), bytes[footer + 4], entries), (0x8f92_eab1, 0, 2));
        assert_eq!((number(table), number(table + 4)), (0x184d_2a5e, 8 * entries + 9));
        let (packed, len) = (number(table + 8), number(table + 12));
        assert_eq!(len, plain.len());
        assert_eq!((number(packed), number(packed + 4), packed + 8 + 8), (0x184d_2a5d, 8, table));
        assert_eq!((number(table + 16), number(table + 20)), (16, 0), "the checks' own entry");
        let crc = |parts: &[&[u8]]| crc(&parts.concat()) as usize;
        assert_eq!(number(packed + 8), crc(&[&bytes[..packed]]));
        assert_eq!(number(packed + 12), crc(&[&bytes[packed..packed + 12], &bytes[table..]]));
    }

    /// CRC-32C, bit by bit: reflected polynomial 0x82f63b78.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(
                crc ^ u32::from(*byte),
                |crc, _| {
                    if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
                },
            )
        })
    }
}
