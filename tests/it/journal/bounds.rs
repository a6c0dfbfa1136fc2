//! Promise: whatever compares times, numbers and sizes does so exactly, at the bounds and in ties: filters, seeks, numbers
//! that do not rise, syncs, rotation and retention.
#![cfg(feature = "journal")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use crate::support::journal::{Model, Other, Rng, Sample, entity_name, record, seed};
use panther_events::event::{Domain, Identity, KindSet, Payload, Record, Symbol};
use panther_events::journal::{
    Durability, Filter, JournalReader, JournalWriter, Options, ReadOptions, RunId,
};
use std::time::Duration;

const RUN: RunId = RunId(*b"a run of a test.");
const MS: u64 = 1_000_000;

fn open(model: &Model, options: Options) -> JournalWriter {
    // The disk is in memory.
    let options = Options { segment_len: options.segment_len.min(2 << 20), ..options };
    JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap()
}

fn append(writer: &mut JournalWriter, records: &[Record]) {
    for record in records {
        let name = entity_name(u64::from(record.source()));
        writer.define(Symbol::of(&name), &name).unwrap();
    }
    assert_eq!(writer.append(records).lost, 0);
}

/// A record that differs from all others by `id`, of one of two domains.
fn numbered(id: u64, source: u16, seq: u32, time_ns: u64, other: bool) -> Record {
    let entity = Symbol::of(&entity_name(u64::from(source)));
    let record = match other {
        true => Record::new(Identity::Occurrence, time_ns, entity, &Other { value: id }),
        false => Record::new(Identity::Occurrence, time_ns, entity, &Sample { value: id, other: 0 }),
    };
    record.numbered(source, seq).identified(crate::support::journal::ORIGIN)
}

/// Blocks of one to three records each, with times, numbers, sources and kinds from a few, so that ties are common.
fn blocks_with_ties(rng: &mut Rng) -> (Model, Vec<Vec<Record>>) {
    let model = Model::default();
    // Each append is a block of its own.
    let mut writer = open(&model, Options::new(Durability::ProcessCrash));
    let mut blocks = Vec::new();
    for block in 0..12 {
        let len = [1, 1, 2, 3][rng.below(4) as usize];
        let records: Vec<Record> = (0..len)
            .map(|at| {
                let (source, seq) = (rng.below(3) as u16, 10 + rng.below(6) as u32);
                numbered(block * 3 + at, source, seq, 100 + rng.below(6), rng.chance(30))
            })
            .collect();
        append(&mut writer, &records);
        blocks.push(records);
    }
    writer.close().unwrap();
    (model, blocks)
}

fn rest(reader: &mut JournalReader<'_>) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        records.extend_from_slice(block.records());
    }
    records
}

#[test]
fn filters_let_through_what_a_look_at_every_record_does_at_every_bound() {
    let mut rng = Rng::new(seed());
    for _ in 0..6 {
        let (model, blocks) = blocks_with_ties(&mut rng);
        let all: Vec<Record> = blocks.concat();
        let mut reader = JournalReader::over(model, ReadOptions::default()).unwrap();
        let times = (99..=107).flat_map(|from| (from..=107).map(move |to| Some((from, to)))).chain([None]);
        for time_ns in times {
            for source in [None, Some(0), Some(2), Some(3)] {
                for (kinds, domain) in [
                    (KindSet::ALL, None),
                    (KindSet::of(&[Other::KIND]), Some(Domain::METRICS)),
                    (KindSet::of(&[Sample::KIND]), Some(Domain::FIRST_USER)),
                ] {
                    let entity = source.filter(|_| rng.chance(50));
                    let entity = entity.map(|source| Symbol::of(&entity_name(u64::from(source))));
                    reader.rewind();
                    reader.set_filter(Filter { kinds, entity, source, time_ns });
                    let mut found = Vec::new();
                    let count = reader.for_each(|record| found.push(*record)).unwrap();
                    let wanted = |record: &&Record| {
                        time_ns.is_none_or(|(from, to)| from <= record.time_ns() && record.time_ns() <= to)
                            && source.is_none_or(|source| source == record.source())
                            && domain.is_none_or(|domain| domain == record.kind().domain())
                    };
                    let expected: Vec<Record> = all.iter().filter(wanted).copied().collect();
                    assert!(found == expected, "{time_ns:?} {source:?} {domain:?}: {}", found.len());
                    assert_eq!(count, expected.len() as u64);
                    assert_eq!(reader.findings(), []);
                }
            }
        }
    }
}

#[test]
fn seeks_find_the_first_record_at_every_time_and_number() {
    let mut rng = Rng::new(seed());
    for _ in 0..40 {
        let (model, blocks) = blocks_with_ties(&mut rng);
        let all: Vec<Record> = blocks.concat();
        let mut reader = JournalReader::over(model, ReadOptions::default()).unwrap();
        for time_ns in 99..=107 {
            reader.seek_time(time_ns);
            let at = all.iter().position(|record| record.time_ns() >= time_ns).unwrap_or(all.len());
            assert!(rest(&mut reader) == all[at..], "time {time_ns}");
        }
        for (source, seq) in (0..4).flat_map(|source| (9..=17).map(move |seq| (source, seq))) {
            reader.seek_seq(source, seq);
            let sought = |record: &Record| record.source() == source && record.seq() >= seq;
            let at = all.iter().position(sought).unwrap_or(all.len());
            assert!(rest(&mut reader) == all[at..], "source {source}, number {seq}");
        }
    }
}

/// What a block's header says, counted by hand.
#[test]
fn headers_tell_of_their_records_and_numbers_that_do_not_rise_are_counted() {
    let mut rng = Rng::new(seed());
    let mut equal = 0;
    for _ in 0..100 {
        let (model, blocks) = blocks_with_ties(&mut rng);
        let mut reader = JournalReader::over(model, ReadOptions::default()).unwrap();
        let (mut falls, mut seen) = (0, vec![(None, 0_u32); 3]);
        for expected in &blocks {
            let block = reader.next_block().unwrap().unwrap();
            assert!(block.records() == expected);
            let (header, times) = (*block.header(), expected.iter().map(Record::time_ns));
            let bounds = (times.clone().min().unwrap(), times.max().unwrap());
            assert_eq!((header.time_ns_min, header.time_ns_max), bounds);
            let domains = expected.iter().fold(0, |bits, r| bits | 1 << r.kind().domain().number());
            assert_eq!((header.domains, header.records as usize), (domains, expected.len()));
            let spans: Vec<_> = block.sources().collect();
            for (source, (last, before)) in (0..).zip(&mut seen) {
                let seqs: Vec<u32> =
                    expected.iter().filter(|r| r.source() == source).map(Record::seq).collect();
                let span = spans.iter().find(|span| span.source == source);
                let Some(span) = span else {
                    assert!(seqs.is_empty());
                    continue;
                };
                let unordered = seqs.windows(2).any(|pair| pair[1] <= pair[0]);
                equal += usize::from(seqs.windows(2).any(|pair| pair[1] == pair[0]));
                assert_eq!((span.count as usize, span.unordered), (seqs.len(), unordered), "{seqs:?}");
                assert_eq!((Some(&span.first), Some(&span.last)), (seqs.first(), seqs.last()));
                assert_eq!((span.previous, span.before), (*last, *before));
                falls += u64::from(unordered || last.is_some_and(|last| seqs[0] <= last));
                (*last, *before) = (seqs.last().copied(), *before + seqs.len() as u32);
            }
        }
        assert!(reader.next_block().unwrap().is_none());
        assert_eq!((reader.falls(), reader.findings()), (falls, &[][..]));
    }
    assert!(equal > 20, "{equal}: the test has no teeth");
}

/// What of a run of one source was synced, or written, when its writer was told these times.
fn waiting(options: Options, steps: &[(Option<u32>, u64)]) -> Vec<u64> {
    let model = Model::default();
    let durability = options.durability;
    let mut writer = open(&model, options);
    let mut next = 0;
    let mut told = Vec::new();
    for (append_len, tick) in steps {
        if let Some(len) = append_len {
            append(&mut writer, &(next..next + len).map(|seq| record(1, seq, 0)).collect::<Vec<_>>());
            next += len;
        }
        writer.tick(*tick);
        told.push(match durability {
            Durability::PowerLoss { .. } => writer.watermark().records(),
            _ => writer.account().stored,
        });
    }
    told
}

#[test]
fn a_sync_comes_at_half_the_interval_and_not_before() {
    for every_ns in [2, 3, 1_001, 10 * MS, 10 * MS + 1] {
        let options = Options::new(Durability::PowerLoss { every: Duration::from_nanos(every_ns) });
        let half = every_ns / 2;
        // By the oldest record that waits, and not by the newest; then by the next one's time.
        let steps = [
            (Some(5), half - 1),
            (Some(5), half),
            (None, 3 * half),
            (Some(1), 3 * half),
            (None, 4 * half - 1),
            (None, 4 * half),
        ];
        assert_eq!(waiting(options.clone(), &steps), [0, 10, 10, 10, 10, 11], "every {every_ns} ns");
        assert_eq!(waiting(options.clone(), &[(Some(3), every_ns)]), [3]);
        // Full blocks wait as well, by the oldest one, whatever was filled since.
        let options = Options { block_len: Options::BLOCK_LEN_MIN, ..options };
        assert_eq!(
            waiting(options, &[(Some(64), half - 1), (Some(70), half)]),
            [0, 134],
            "every {every_ns} ns"
        );
    }
}

#[test]
fn what_is_buffered_is_written_at_its_time_and_not_before() {
    let options = Options { flush_after: Duration::from_millis(100), ..Options::new(Durability::Buffered) };
    let steps = [
        (Some(5), 100 * MS - 1),
        (Some(5), 100 * MS),
        (Some(1), 150 * MS),
        (None, 200 * MS - 1),
        (None, 200 * MS),
    ];
    assert_eq!(waiting(options, &steps), [0, 10, 10, 10, 11]);
    let options = Options::new(Durability::ProcessCrash);
    assert_eq!(waiting(options, &[(Some(5), 0), (Some(2), 0)]), [5, 7]);
}

#[test]
fn a_segment_ends_at_its_age_and_not_before() {
    for durability in [Durability::Buffered, Durability::ProcessCrash] {
        let model = Model::default();
        let rotate_after = Some(Duration::from_millis(10));
        let mut writer =
            open(&model, Options { rotate_after, flush_after: Duration::ZERO, ..Options::new(durability) });
        let mut segments = Vec::new();
        for (seq, time) in (0..).zip([0, 10 * MS - 1, 10 * MS, 20 * MS - 1, 20 * MS]) {
            append(&mut writer, &[record(1, seq, 0)]);
            writer.tick(time);
            segments.push(writer.account().segments);
        }
        assert_eq!(segments, [1, 1, 2, 2, 3], "{durability:?}");
        // One without records stays, however old.
        writer.tick(90 * MS);
        assert_eq!(writer.account().segments, 3, "{durability:?}");
    }
}

/// An error is tried again after 100 ms, and not before.
#[test]
fn trouble_is_tried_again_at_its_time_and_not_before() {
    use crate::support::journal::{Fault, FaultKind};
    let model = Model::default();
    let mut writer = open(&model, Options::new(Durability::ProcessCrash));
    writer.tick(7 * MS);
    model.disk().fault = Some(Fault { at: 0, for_good: true, kind: FaultKind::Error(28) });
    append(&mut writer, &[record(1, 0, 0)]);
    assert!(writer.stall().is_some());
    model.disk().fault = None;
    writer.tick(107 * MS - 1);
    assert!(writer.stall().is_some() && writer.account().stored == 0);
    writer.tick(107 * MS);
    assert!(writer.stall().is_none() && writer.account().stored == 1);
}

fn segments(model: &Model) -> Vec<(String, u64)> {
    let disk = model.disk();
    disk.names().into_iter().map(|name| (name.clone(), disk.bytes(&name).len() as u64)).collect()
}

/// The oldest segments go when all with the new one's room take more than the limit: not at the limit.
#[test]
fn retention_by_size_keeps_what_fits_to_the_byte() {
    for durability in [Durability::ProcessCrash, Durability::PowerLoss { every: Duration::from_millis(1) }] {
        let run = |retain_bytes| {
            let model = Model::default();
            let mut writer =
                open(&model, Options { retain_bytes, ..crate::support::journal::small(durability) });
            append(&mut writer, &(0..2_600).map(|seq| record(1, seq, 0)).collect::<Vec<_>>());
            writer.flush().unwrap();
            let segments = segments(&model);
            let retired = writer.account().segments_retired;
            drop(writer);
            (segments, retired)
        };
        let (all, none) = run(None);
        assert!(all.len() > 5 && none == 0, "{all:?}");
        let room = crate::support::journal::small(durability).segment_len;
        // The last one is being written.
        let ended = &all[..all.len() - 1];
        for keeps in 1..ended.len() {
            let len: u64 = ended[ended.len() - keeps..].iter().map(|(_, len)| len).sum();
            for (limit, expected) in [(len + room, keeps + 1), (len + room - 1, keeps)] {
                let (left, retired) = run(Some(limit));
                assert_eq!(left, all[all.len() - expected..], "{durability:?}, {limit} bytes");
                assert_eq!(retired as usize, all.len() - expected);
            }
        }
    }
}

/// A segment goes when its last record is older than the limit: not at the limit.
#[test]
fn retention_by_age_keeps_what_is_of_the_age_to_the_nanosecond() {
    for (late, expected) in [(0, 3), (1, 2), (10 * MS - 1, 2), (10 * MS, 2), (10 * MS + 1, 1)] {
        let model = Model::default();
        let mut writer = open(
            &model,
            Options {
                rotate_after: Some(Duration::from_millis(10)),
                retain_for: Some(Duration::from_millis(50)),
                ..Options::new(Durability::ProcessCrash)
            },
        );
        // Segments end at 10 and 20 ms, and the third one is begun then.
        for (seq, time) in (0..).zip([0, 10 * MS, 20 * MS]) {
            append(&mut writer, &[record(1, seq, 0)]);
            writer.tick(time);
        }
        append(&mut writer, &[record(1, 3, 0)]);
        assert_eq!(segments(&model).len(), 3);
        // The next one is begun when the first one is 50 ms of age, or a bit more.
        writer.tick(60 * MS + late);
        let left = segments(&model);
        // With those that stay there is the one that ended now, and the new one.
        assert_eq!(left.len(), expected + 1, "{late} ns late: {left:?}");
        let report = panther_events::journal::verify(model, ReadOptions::default()).unwrap();
        assert!(report.findings.iter().all(|finding| finding.records.is_none()), "{report:?}");
    }
}

/// Nobody else's file is touched, whatever it is called.
#[test]
fn files_of_others_in_the_directory_stay() {
    let foreign = [
        "notes.txt",
        "1.journal",
        "00000001.journal.bak",
        "00000001.zst.partial",
        "00000001.journal.partial",
        "x00000001.journal.zst.partial",
        ".00000001.journal.zst.partial",
        "00000001.journal.zst.partial.old",
        "partial",
    ];
    let model = Model::default();
    for name in foreign {
        model.disk().insert(name, name.as_bytes().to_vec());
    }
    for round in 0..3 {
        let options = Options {
            retain_bytes: Some(70 << 10),
            compress: cfg!(feature = "zstd").then_some(1),
            ..crate::support::journal::small(Durability::ProcessCrash)
        };
        let mut writer = open(&model, options);
        append(&mut writer, &(0..3_000).map(|seq| record(1, seq, round)).collect::<Vec<_>>());
        while writer.compress_some() {}
        assert!(writer.close().unwrap().segments_retired > 0);
    }
    for name in foreign {
        assert_eq!(model.disk().bytes(name), name.as_bytes());
    }
}
