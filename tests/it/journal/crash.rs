//! Whatever a crash leaves of a journal: each source's records are a prefix of what it sent, and the watermark
//! holds. Crash images come from a disk in memory; the seed is printed.
#![cfg(feature = "journal")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use crate::support::journal::{Disk, Model, Rng, entity_name, env_count, record, seed};
use panther_events::event::{Record, Symbol};
use panther_events::journal::{
    Durability, JournalReader, JournalWriter, Marks, Options, ReadOptions, RunId, Status, verify,
};
use std::time::Duration;

const RUN: RunId = RunId(*b"a run of a test.");
const EVERY: Duration = Duration::from_millis(10);
const SOURCES: u64 = 4;

fn options(durability: Durability, rng: &mut Rng) -> Options {
    Options {
        block_len: Options::BLOCK_LEN_MIN,
        // Sometimes one segment, sometimes many.
        segment_len: (4 + rng.below(12)) * Options::BLOCK_LEN_MIN as u64,
        held_bytes_max: (4 + rng.below(30) as usize) * Options::BLOCK_LEN_MIN * 3,
        compress: compress(rng),
        ..Options::new(durability)
    }
}

fn compress(rng: &mut Rng) -> Option<i32> {
    (cfg!(feature = "zstd") && rng.chance(50)).then_some(1)
}

/// One run of a writer: what was sent, and what it promised after which operation.
struct Run {
    sent: Vec<Vec<Record>>,
    promises: Vec<(u64, Marks)>,
    model: Model,
    closed_at: Option<u64>,
}

/// Writes at random; copies of the disk are taken before random operations.
fn run(durability: Durability, rng: &mut Rng) -> Run {
    let model = Model::default();
    // A run has 20 to 300 operations; numbers beyond its end are never reached.
    model.disk().capture = (0..300).filter(|_| rng.chance(12)).collect();
    let options = options(durability, rng);
    let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
    let mut sent = vec![Vec::new(); SOURCES as usize];
    let mut promises = vec![(0, Marks::default())];
    let mut now = 0;
    for _ in 0..20 + rng.below(40) {
        match rng.below(10) {
            0 => writer.flush().unwrap(),
            1..3 => writer.tick(now),
            _ => {
                let mut batch = Vec::new();
                for _ in 0..rng.below(60) {
                    let source = rng.below(SOURCES) as u16;
                    let seq = sent[usize::from(source)].len() as u32;
                    let name = entity_name(u64::from(source));
                    writer.define(Symbol::of(&name), &name).unwrap();
                    let record = record(source, seq, now);
                    sent[usize::from(source)].push(record);
                    batch.push(record);
                }
                assert_eq!(writer.append(&batch).lost, 0);
            }
        }
        for _ in 0..rng.below(3) {
            writer.compress_some();
        }
        now += rng.below(4_000_000);
        let ops = model.disk().ops;
        promises.push((ops, writer.watermark().clone()));
    }
    let closed_at = rng.chance(50).then(|| {
        let account = writer.close().unwrap();
        assert_eq!((account.stored, account.errors), (account.offered, 0));
        model.disk().ops
    });
    Run { sent, promises, model, closed_at }
}

/// Reads an image and compares it with what was sent and what was promised.
fn check(run: &Run, image: Disk, promised: &Marks, what: &str) -> Vec<Vec<Record>> {
    let mut reader = JournalReader::over(Model::of(image), ReadOptions::default()).unwrap();
    let mut read = vec![Vec::new(); SOURCES as usize];
    while let Some(block) = reader.next_block().unwrap() {
        for record in block.records() {
            read[usize::from(record.source())].push(*record);
        }
        let entities: Vec<Symbol> = block.records().iter().map(Record::entity).collect();
        assert!(entities.iter().all(|entity| reader.name(*entity).is_some()), "{what}: a name is missing");
    }
    assert_eq!(reader.status(), Status::Ended);
    for (source, (read, sent)) in read.iter().zip(&run.sent).enumerate() {
        assert!(
            read.len() <= sent.len() && *read == sent[..read.len()],
            "{what}: source {source} is no prefix: {:?}",
            reader.findings()
        );
        let promised = promised.get(source as u16);
        assert!(
            read.len() as u64 >= promised.records,
            "{what}: source {source} has {} records, {} were promised; {:?}",
            read.len(),
            promised.records,
            reader.findings()
        );
        if let Some(last) = promised.last {
            assert!(read.iter().any(|record| record.seq() == last), "{what}: source {source} lacks {last}");
        }
    }
    let all: usize = run.sent.iter().map(Vec::len).sum();
    let got: usize = read.iter().map(Vec::len).sum();
    assert!(
        got == all || !reader.findings().is_empty(),
        "{what}: records are missing and nothing is reported"
    );
    read
}

/// Resumes the run on an image: what was there stays, what is new follows, and the journal ends in order.
fn resume(image: Disk, before: &[Vec<Record>], durability: Durability, what: &str, rng: &mut Rng) {
    let model = Model::of(image);
    let compress = compress(rng);
    let options = Options { block_len: 8 << 10, segment_len: 1 << 16, compress, ..Options::new(durability) };
    let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 9).unwrap();
    for source in 0..SOURCES {
        writer.define(Symbol::of(&entity_name(source)), &entity_name(source)).unwrap();
    }
    let new: Vec<Record> = (0..300).map(|n| record((n % SOURCES as u32) as u16, 1_000_000 + n, 5)).collect();
    assert_eq!(writer.append(&new).lost, 0);
    writer.close().unwrap();
    let names = model.disk().names();
    assert!(!names.iter().any(|name| name.ends_with(".partial")), "{what}: {names:?}");
    let report = verify(model.clone(), ReadOptions::default()).unwrap();
    assert!(report.closed, "{what}: {report:?}");
    let mut reader = JournalReader::over(model, ReadOptions::default()).unwrap();
    let mut read = vec![Vec::new(); SOURCES as usize];
    reader.for_each(|record| read[usize::from(record.source())].push(*record)).unwrap();
    for (source, read) in read.iter().enumerate() {
        let own = new.iter().filter(|record| usize::from(record.source()) == source);
        let expected: Vec<Record> = before[source].iter().chain(own).copied().collect();
        assert!(
            *read == expected,
            "{what}, resumed: source {source}: {} of {}: {:?}",
            read.len(),
            expected.len(),
            reader.findings()
        );
    }
}

fn campaign(durability: Durability, images: u64) {
    let seed = seed();
    let mut rng = Rng::new(seed);
    let (mut done, mut runs, mut whole, mut resumed, mut compressed) = (0, 0u64, 0u64, 0u64, 0);
    while done < images {
        let run = run(durability, &mut rng);
        runs += 1;
        compressed += run.model.disk().names().iter().filter(|name| name.ends_with(".zst")).count();
        let mut captured = std::mem::take(&mut run.model.disk().captured);
        let last = run.model.disk().ops;
        captured.push((last, run.model.disk().clone()));
        let nothing = Marks::default();
        for (op, disk) in captured {
            // What was promised before this operation began.
            let promised = &run.promises.iter().rev().find(|(at, _)| *at <= op).unwrap().1;
            let closed = run.closed_at.is_some_and(|at| at <= op);
            for image in 0..=5 {
                let what =
                    format!("PANTHER_SEED={seed} {durability:?} run {runs} operation {op} image {image}");
                let (disk, promised) = match (image, durability) {
                    (0, _) => (disk.killed(), promised),
                    (_, Durability::PowerLoss { .. }) => (disk.power_cut(&mut rng), promised),
                    _ => (disk.power_cut(&mut rng), &nothing),
                };
                let read = check(&run, disk.clone(), promised, &what);
                if closed {
                    assert!(read == run.sent, "{what}: a closed journal is whole");
                    whole += 1;
                }
                if rng.chance(8) {
                    resume(disk, &read, durability, &what, &mut rng);
                    resumed += 1;
                }
                done += 1;
            }
        }
    }
    println!("{durability:?}: {done} images of {runs} runs, {whole} of closed journals, {resumed} resumed");
    assert!(whole > 0 && resumed > 0 && (compressed > 0 || !cfg!(feature = "zstd")));
}

fn images() -> u64 {
    env_count("JOURNAL_CRASH_IMAGES", 20_000).div_ceil(3)
}

#[test]
fn crash_images_of_a_buffered_journal_are_prefixes() {
    campaign(Durability::Buffered, images());
}

#[test]
fn crash_images_after_process_crashes_have_what_was_appended() {
    campaign(Durability::ProcessCrash, images());
}

#[test]
fn crash_images_after_power_cuts_have_what_the_watermark_says() {
    campaign(Durability::PowerLoss { every: EVERY }, images());
}
