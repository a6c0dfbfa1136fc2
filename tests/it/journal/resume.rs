//! Promise: a journal may be resumed again and again, after kills and power cuts, with failing syncs and with retention:
//! what a reader finds is without a gap, begins at the begin or where retention has cut, and has all that was certain.
#![cfg(feature = "journal")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use crate::support::journal::{Disk, Fault, FaultKind, Model, Rng, entity_name, env_count, record, seed};
use panther_events::event::{Record, Symbol};
use panther_events::journal::{
    Damage, Durability, Finding, JournalReader, JournalWriter, Options, ReadOptions, RunId, Status,
};
use std::time::Duration;

const RUN: RunId = RunId(*b"a run of a test.");
const EVERY: Duration = Duration::from_millis(10);
const DURABILITIES: [Durability; 3] =
    [Durability::Buffered, Durability::ProcessCrash, Durability::PowerLoss { every: EVERY }];
const SOURCES: u64 = 3;
const EIO: FaultKind = FaultKind::Error(5);

fn options(durability: Durability, retain_bytes: Option<u64>, rng: &mut Rng) -> Options {
    Options {
        block_len: Options::BLOCK_LEN_MIN,
        segment_len: 4 * Options::BLOCK_LEN_MIN as u64,
        held_bytes_max: 1 << 20,
        rotate_after: rng.chance(30).then_some(Duration::from_millis(20)),
        compress: (cfg!(feature = "zstd") && rng.chance(30)).then_some(1),
        retain_bytes,
        ..Options::new(durability)
    }
}

fn read(disk: &Disk) -> (Vec<Record>, Vec<Finding>) {
    let mut reader = JournalReader::over(Model::of(disk.clone()), ReadOptions::default()).unwrap();
    let mut records = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        records.extend_from_slice(block.records());
        let entities: Vec<Symbol> = block.records().iter().map(Record::entity).collect();
        assert!(entities.iter().all(|entity| reader.name(*entity).is_some()), "a name is missing");
    }
    assert_eq!(reader.status(), Status::Ended);
    (records, reader.findings().to_vec())
}

/// A gap: something is missing in the middle, and reading went on behind it.
fn is_gap(finding: &Finding) -> bool {
    finding.loses_records() && !matches!(finding.damage, Damage::NotClosed | Damage::TornTail(_))
}

/// A journal over all the lives of its writers.
struct Journal {
    /// As the last life has left it: what was not synced may still be lost.
    disk: Disk,
    /// All its records in order, each with a time of its own; retention may have removed the first ones.
    history: Vec<Record>,
    /// How many of them no power cut takes away.
    certain: usize,
    retains: bool,
    time_ns: u64,
}

/// What one life has promised once so many operations were done.
struct Promise {
    ops: u64,
    after_kill: usize,
    after_power_cut: usize,
}

impl Journal {
    /// Checks an image, of which the first `certain` of all records must be there; returns what its history is. With `gaps`,
    /// there may be some, which are told.
    fn check(&self, image: &Disk, certain: usize, gaps: bool, what: &str) -> Vec<Record> {
        let (records, findings) = read(image);
        let what = || format!("{what}: {} records, {certain} were certain: {findings:?}", records.len());
        let Some(first) = records.first() else {
            assert!(certain == 0 || self.retains, "{}", what());
            return self.history[..certain].to_vec();
        };
        let place = |record: &Record| {
            let at = self.history.binary_search_by_key(&record.time_ns(), Record::time_ns);
            let at = at.unwrap_or_else(|_| panic!("{}: a record of a past that was cut off", what()));
            assert!(self.history[at] == *record, "{}: {at} is another record", what());
            at
        };
        let from = place(first);
        assert!(from == 0 || self.retains, "{}: the first {from} are missing", what());
        let told = findings.iter().any(is_gap);
        if gaps && told {
            assert!(records.is_sorted_by(|a, b| place(a) < place(b)), "{}: not in order", what());
            return records;
        }
        assert!(!told, "{}: a gap is told of", what());
        let through = from + records.len();
        let follows = self.history.get(from..through) == Some(&records[..]);
        assert!(follows, "{}: what is read from {from} on has a gap", what());
        assert!(gaps || through >= certain, "{}: from {from}", what());
        self.history[..through].to_vec()
    }

    fn batch(&mut self, writer: &mut JournalWriter, len: u64, rng: &mut Rng) -> Vec<Record> {
        let mut batch = Vec::new();
        for _ in 0..len {
            let source = rng.below(SOURCES);
            writer.define(Symbol::of(&entity_name(source)), &entity_name(source)).unwrap();
            self.time_ns += 1;
            batch.push(record(source as u16, self.time_ns as u32, self.time_ns));
        }
        self.history.extend_from_slice(&batch);
        batch
    }
}

/// Opens the journal; a sync may fail meanwhile. Returns the writer, and whether one did.
fn open(
    model: &Model,
    durability: Durability,
    retain_bytes: Option<u64>,
    rng: &mut Rng,
) -> (JournalWriter, bool) {
    let fault = Fault { at: model.disk().ops + rng.below(6), for_good: false, kind: EIO };
    model.disk().fault = rng.chance(40).then_some(fault);
    model.disk().struck = 0;
    let options = options(durability, retain_bytes, rng);
    let opened = JournalWriter::over(Box::new(model.clone()), RUN, options.clone(), 0);
    model.disk().fault = None;
    let failed = model.disk().struck > 0;
    // Without its first segment, a run is not resumed.
    assert!(opened.is_ok() || failed);
    let again = |_| JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
    let writer = opened.unwrap_or_else(again);
    (writer, failed)
}

/// One life of a writer, checked at random moments; returns whether another one may follow.
fn live(
    journal: &mut Journal,
    durability: Durability,
    rng: &mut Rng,
    what: &str,
    done: &mut [u64; 3],
) -> bool {
    let model = Model::of(journal.disk.clone());
    let retain_bytes = journal.retains.then_some(9 * Options::BLOCK_LEN_MIN as u64);
    let (mut writer, failed) = open(&model, durability, retain_bytes, rng);
    let base = journal.history.len();
    if !failed {
        // What is there before anything is written is certain, whatever the durability.
        journal.check(&model.disk().only_synced(), base, false, &format!("{what}, resumed"));
        journal.certain = base;
    } else if rng.chance(50) {
        // A write fails too, some time.
        let at = model.disk().ops + rng.below(20);
        model.disk().fault = Some(Fault { at, for_good: false, kind: EIO });
    }
    let ops = model.disk().ops;
    model.disk().capture = (ops..ops + 250).filter(|_| rng.chance(6)).collect();
    let promise = |model: &Model, writer: &JournalWriter, certain: usize| {
        let marks = writer.watermark().records() as usize;
        let after_kill = base + if durability == Durability::ProcessCrash { marks } else { 0 };
        let power_loss = matches!(durability, Durability::PowerLoss { .. }) && marks > 0;
        let after_power_cut = if power_loss { base + marks } else { certain };
        Promise { ops: model.disk().ops, after_kill, after_power_cut }
    };
    let mut promises = vec![promise(&model, &writer, journal.certain)];
    let mut now = 0;
    for _ in 0..8 + rng.below(20) {
        match rng.below(8) {
            0 => drop(writer.flush().map_err(ToString::to_string)),
            1..3 => writer.tick(now),
            _ => {
                let len = rng.below(70);
                let batch = journal.batch(&mut writer, len, rng);
                assert_eq!(writer.append(&batch).lost, 0);
            }
        }
        writer.compress_some();
        now += rng.below(8_000_000);
        promises.push(promise(&model, &writer, journal.certain));
    }
    let closes = rng.chance(40);
    if closes {
        let closed = writer.close();
        if !failed {
            assert_eq!(closed.unwrap().errors, 0, "{what}");
            let all = journal.history.len();
            promises.push(Promise { ops: model.disk().ops, after_kill: all, after_power_cut: all });
        }
    } else {
        drop(writer);
    }
    model.disk().capture.clear();
    let mut images = std::mem::take(&mut model.disk().captured);
    let last = model.disk().clone();
    images.push((last.ops, last));
    let mut ends = Vec::new();
    for (ops, mut disk) in images {
        disk.fault = None;
        let promise = promises.iter().rev().find(|promise| promise.ops <= ops).unwrap();
        let what = format!("{what}, {failed} failed, operation {ops}");
        let history = journal.check(&disk, promise.after_kill, false, &format!("{what}, killed"));
        let certain = promise.after_power_cut.min(history.len());
        ends.push((disk.clone(), history, certain));
        // Removals may be on the disk before that which takes the place of what was removed, unless power cuts are guarded against.
        let gaps = journal.retains && !matches!(durability, Durability::PowerLoss { .. });
        // Then a failed sync may bring back what was removed, or what an earlier life has cut off: nothing is promised.
        for image in 0..if gaps && failed { 0 } else { 5 } {
            let cut = match image {
                0 => disk.only_synced(),
                1 => disk.removals_and_synced(),
                _ => disk.power_cut(rng),
            };
            let what = format!("{what}, power cut {image}");
            let history = journal.check(&cut, promise.after_power_cut, gaps, &what);
            let certain = history.len();
            // What has a gap already is no beginning.
            if !gaps {
                ends.push((cut, history, certain));
            }
            done[0] += 1;
        }
    }
    done[1] += u64::from(failed);
    done[2] += u64::from(closes);
    let end = ends.swap_remove(rng.below(ends.len() as u64) as usize);
    (journal.disk, journal.history, journal.certain) = end;
    // What a failed sync has left in doubt, a later one takes for certain: nobody can know better.
    !failed
}

fn campaign(durability: Durability, retains: bool) {
    let seed = seed();
    let mut rng = Rng::new(seed);
    let images = env_count("JOURNAL_RESUME_IMAGES", 1_500);
    let (mut chains, mut longest, mut done) = (0, 0, [0; 3]);
    while done[0] < images {
        chains += 1;
        let (disk, history) = (Disk::default(), Vec::new());
        let mut journal = Journal { disk, history, certain: 0, retains, time_ns: 0 };
        for life in 0..5 {
            let what = format!("PANTHER_SEED={seed} {durability:?} chain {chains} life {life}");
            if !live(&mut journal, durability, &mut rng, &what, &mut done) {
                break;
            }
            longest = longest.max(life);
        }
    }
    println!("{durability:?}, retention {retains}: {chains} chains, [images, failed syncs, closed] {done:?}");
    assert!(longest == 4 && done.iter().all(|count| *count > 0), "{longest} {done:?}");
}

#[test]
fn lives_of_a_buffered_journal_leave_no_gap() {
    campaign(DURABILITIES[0], false);
}

#[test]
fn lives_of_a_journal_for_process_crashes_leave_no_gap() {
    campaign(DURABILITIES[1], false);
}

#[test]
fn lives_of_a_journal_for_power_cuts_leave_no_gap() {
    campaign(DURABILITIES[2], false);
}

#[test]
fn retention_leaves_no_gap_under_any_durability() {
    for durability in DURABILITIES {
        campaign(durability, true);
    }
}

fn write(model: &Model, durability: Durability, range: std::ops::Range<u32>) -> JournalWriter {
    let options = crate::support::journal::small(durability);
    let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
    crate::support::journal::define(&mut writer);
    assert_eq!(writer.append(&crate::support::journal::batch(range.start, range.end - range.start)).lost, 0);
    writer
}

/// A process dies, the next one goes on with what the page cache has, and then the power is cut.
#[test]
fn what_a_dead_process_left_in_the_cache_is_certain_once_the_next_one_has_it_open() {
    for durability in DURABILITIES {
        let model = Model::default();
        drop(write(&model, Durability::ProcessCrash, 0..1_000));
        assert_eq!(read(&model.disk().only_synced()).0.len(), 0, "the test has no teeth");
        drop(write(&model, durability, 1_000..1_001));
        let left = read(&model.disk().only_synced()).0;
        assert!(
            left.get(..1_000) == Some(&crate::support::journal::batch(0, 1_000)[..]),
            "{durability:?}: {}",
            left.len()
        );
    }
}

/// The same, and the operating system cannot write what the dead process left: whatever is lost of it, nothing behind it is
/// read as if it followed.
#[test]
fn what_cannot_be_synced_when_a_journal_is_resumed_is_never_taken_for_certain() {
    for durability in DURABILITIES {
        // The files of the journal, and its directory.
        for fails in 0..4 {
            for closes in [false, true] {
                let model = Model::default();
                drop(write(&model, Durability::ProcessCrash, 0..1_000));
                assert_eq!(model.disk().names().len(), 3);
                let at = model.disk().ops + fails;
                model.disk().fault = Some(Fault { at, for_good: false, kind: EIO });
                let mut writer = write(&model, durability, 1_000..1_300);
                assert_eq!(model.disk().struck, 1);
                let _ = writer.flush();
                let promised = if durability == DURABILITIES[2] { writer.watermark().records() } else { 0 };
                let what = format!("{durability:?}, sync {fails} failed, closes {closes}");
                if closes {
                    let closed = writer.close();
                    assert!(closed.is_err() || fails == 3, "{what}: it is not certain, and that is not told");
                }
                let all = crate::support::journal::batch(0, 1_300);
                let read = read(&model.disk().only_synced()).0;
                assert!(all.starts_with(&read), "{what}: {} records are no prefix", read.len());
                assert!(read.len() as u64 >= promised, "{what}: {} of {promised}", read.len());
                assert!(promised == 0 || read.len() as u64 >= 1_000 + promised, "{what}: {}", read.len());
            }
        }
    }
}

/// A sync fails when the journal is resumed, and then a write or another sync: what is saved of the segment that failed is
/// no more certain than what lies before it.
#[test]
fn an_error_after_a_sync_that_failed_makes_nothing_certain() {
    for durability in DURABILITIES {
        for (fails, at) in (0..3).flat_map(|fails| (0..14).map(move |at| (fails, at))) {
            let model = Model::default();
            drop(write(&model, Durability::ProcessCrash, 0..1_000));
            let fault = |at| Some(Fault { at: model.disk().ops + at, for_good: false, kind: EIO });
            let first = fault(fails);
            model.disk().fault = first;
            let mut writer = write(&model, durability, 1_000..1_000);
            assert_eq!(model.disk().struck, 1);
            let second = fault(at);
            model.disk().fault = second;
            for part in 0..3 {
                assert_eq!(writer.append(&crate::support::journal::batch(1_000 + part * 150, 150)).lost, 0);
                let _ = writer.flush();
            }
            let what = format!("{durability:?}, sync {fails} and operation {at} failed");
            let all = crate::support::journal::batch(0, 1_450);
            let certain = read(&model.disk().only_synced()).0;
            assert!(all.starts_with(&certain), "{what}: {} records are no prefix", certain.len());
            let (left, findings) = read(&model.disk());
            assert!(left == all, "{what}: {} records in the cache: {findings:?}", left.len());
        }
    }
}

/// A journal that was closed in order, and what readers say of it when somebody has opened it again and died at once.
#[test]
fn a_journal_that_was_closed_is_not_so_any_more_once_it_is_opened_again() {
    for durability in [
        Durability::Buffered,
        Durability::ProcessCrash,
        Durability::PowerLoss { every: Duration::from_secs(1) },
    ] {
        let model = Model::default();
        write(&model, durability, 0..100).close().unwrap();
        let closed = |disk: &Disk| {
            let mut reader = JournalReader::over(Model::of(disk.clone()), ReadOptions::default()).unwrap();
            reader.for_each(|_| {}).unwrap();
            (reader.closed(), reader.unclosed())
        };
        assert_eq!(closed(&model.disk()), (true, 0));
        let options = crate::support::journal::small(durability);
        drop(JournalWriter::over(Box::new(model.clone()), RUN, options.clone(), 0).unwrap());
        // Killed, and by a power cut.
        let killed = closed(&model.disk());
        let cut = closed(&model.disk().only_synced());
        assert!(!killed.0 && !cut.0, "{durability:?}: {killed:?}, {cut:?}");
        write(&model, durability, 100..200).close().unwrap();
        assert_eq!(closed(&model.disk()), (true, 1), "{durability:?}");
        // Where that cannot be put down, it is not opened.
        let before = model.disk().names();
        let at = model.disk().ops;
        model.disk().fault = Some(Fault { at, for_good: true, kind: FaultKind::Error(28) });
        assert!(JournalWriter::over(Box::new(model.clone()), RUN, options, 0).is_err());
        model.disk().fault = None;
        let after = model.disk().names();
        assert_eq!(after, before);
        assert_eq!(closed(&model.disk()), (true, 1), "{durability:?}");
    }
}
