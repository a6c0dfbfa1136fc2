//! The n-th operation on the disk fails, for every n: accounting stays exact, the journal stays readable, and
//! writing resumes.
#![cfg(feature = "journal")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use crate::support::journal::{Disk, Fault, FaultKind, Model, Rng, entity_name, record};
use panther_events::event::{Record, Symbol};
use panther_events::journal::{
    Durability, JournalAccount, JournalReader, JournalWriter, Marks, Options, ReadOptions, RunId,
};
use std::time::Duration;

const RUN: RunId = RunId(*b"a run of a test.");
const EINTR: i32 = 4;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const KINDS: [FaultKind; 5] = [
    FaultKind::Error(ENOSPC),
    FaultKind::Error(EIO),
    FaultKind::Error(EINTR),
    FaultKind::Short,
    FaultKind::ShortThenError(ENOSPC),
];
const DURABILITIES: [Durability; 3] = [
    Durability::Buffered,
    Durability::ProcessCrash,
    Durability::PowerLoss { every: Duration::from_millis(10) },
];
const ROUNDS: u32 = 36;
const BATCH: u32 = 37;
const LIFTED_AT: u32 = 24;

/// What a run with a fault ended in.
struct Outcome {
    sent: Vec<Record>,
    account: JournalAccount,
    closed: bool,
    /// The watermark before the journal was closed, and a copy of the disk then.
    promised: Marks,
    before_close: Disk,
    disk: Disk,
    lost_seen: u64,
}

fn run(durability: Durability, compress: bool, fault: Option<Fault>, lifted: bool) -> Outcome {
    let model = Model::default();
    model.disk().fault = fault;
    let options = Options {
        block_len: Options::BLOCK_LEN_MIN,
        segment_len: 6 * Options::BLOCK_LEN_MIN as u64,
        // Less than what comes while the fault lasts, so that records are lost.
        held_bytes_max: 4 * Options::BLOCK_LEN_MIN,
        compress: compress.then_some(1),
        ..Options::new(durability)
    };
    let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
    let (mut sent, mut lost_seen) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        if round == LIFTED_AT && lifted {
            model.disk().fault = None;
        }
        for source in 0..3u64 {
            let name = entity_name(source);
            writer.define(Symbol::of(&name), &name).unwrap();
        }
        let batch: Vec<Record> =
            (0..BATCH).map(|n| record((n % 3) as u16, round * BATCH + n, u64::from(round))).collect();
        lost_seen += writer.append(&batch).lost;
        sent.extend(batch);
        writer.tick(u64::from(round) * 20_000_000);
        writer.compress_some();
        let account = writer.account();
        assert_eq!(account.offered, account.stored + account.pending + account.skipped + account.lost);
        assert!(writer.stall().is_some() || account.pending <= 200, "{account:?}");
    }
    lost_seen += writer.append(&[]).lost;
    let promised = writer.watermark().clone();
    let before_close = model.disk().clone();
    let (account, closed) = match writer.close() {
        Ok(account) => (account, true),
        Err(error) => (*error.account, false),
    };
    let disk = model.disk().clone();
    Outcome { sent, account, closed, promised, before_close, disk, lost_seen }
}

fn read(disk: &Disk) -> (Vec<Record>, u64, u64, usize) {
    let mut reader = JournalReader::over(Model::of(disk.killed()), ReadOptions::default()).unwrap();
    let mut records = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        records.extend_from_slice(block.records());
        let entities: Vec<Symbol> = block.records().iter().map(Record::entity).collect();
        assert!(entities.iter().all(|entity| reader.name(*entity).is_some()));
    }
    let lost_by_source: u64 = reader.losses().map(|span| u64::from(span.count)).sum();
    let losing = reader.findings().iter().filter(|finding| finding.loses_records()).count();
    (records, reader.totals().lost, lost_by_source, losing)
}

fn assert_in_order(sent: &[Record], read: &[Record], what: &str) {
    let mut rest = sent.iter();
    for record in read {
        assert!(
            rest.any(|sent| sent == record),
            "{what}: a record that was not sent, twice, or out of order"
        );
    }
}

fn assert_promise_kept(outcome: &Outcome, disk: &Disk, what: &str) {
    let (read, ..) = read(disk);
    assert_in_order(&outcome.sent, &read, what);
    for (source, mark) in outcome.promised.iter() {
        let count = read.iter().filter(|record| record.source() == source).count() as u64;
        assert!(count >= mark.records, "{what}: source {source}: {count} of {} promised", mark.records);
    }
}

fn every_way() -> impl Iterator<Item = (Durability, bool)> {
    let compress: &[bool] = if cfg!(feature = "zstd") { &[false, true] } else { &[false] };
    compress.iter().flat_map(|compress| DURABILITIES.map(|durability| (durability, *compress)))
}

/// Runs the workload with the fault at every operation until none is left to fail.
fn campaign(for_good: bool, lifted: bool, each: impl Fn(Durability, FaultKind, &Outcome, &str)) {
    let mut rng = Rng::new(11);
    for (durability, compress) in every_way() {
        for kind in KINDS {
            let mut at = 0;
            loop {
                let fault = Fault { at, for_good, kind };
                let outcome = run(durability, compress, Some(fault), lifted);
                let what = format!("{durability:?} {fault:?} compress {compress} lifted {lifted}");
                if outcome.disk.struck == 0 {
                    assert!(at > 20, "{what}: the run has operations");
                    break;
                }
                each(durability, kind, &outcome, &what);
                if matches!(durability, Durability::PowerLoss { .. }) {
                    assert_promise_kept(&outcome, &outcome.before_close.power_cut(&mut rng), &what);
                }
                if outcome.closed {
                    let (records, ..) = read(&outcome.disk.power_cut(&mut rng));
                    assert_eq!(
                        records.len() as u64,
                        outcome.account.stored,
                        "{what}: a closed journal is durable"
                    );
                }
                at += 1;
            }
        }
    }
}

#[test]
fn a_run_without_faults_is_clean() {
    for (durability, compress) in every_way() {
        let outcome = run(durability, compress, None, false);
        assert!(outcome.closed);
        assert_eq!(compress, outcome.disk.names().iter().all(|name| name.ends_with(".zst")));
        let (records, lost, by_source, losing) = read(&outcome.disk);
        assert!(records == outcome.sent);
        assert_eq!((outcome.account.errors, outcome.account.lost, lost, by_source, losing), (0, 0, 0, 0, 0));
    }
}

#[test]
fn one_failure_of_any_operation_loses_no_record() {
    campaign(false, false, |durability, _, outcome, what| {
        // A buffered journal that cannot be synced at its end is whole, and says that it may not be certain.
        let sync_in_doubt = !outcome.closed && !matches!(durability, Durability::PowerLoss { .. });
        assert!(outcome.closed || sync_in_doubt, "{what}");
        assert_eq!((outcome.account.lost, outcome.account.stored), (0, outcome.account.offered), "{what}");
        let (records, lost, _, losing) = read(&outcome.disk);
        assert!(records == outcome.sent, "{what}: {} of {}", records.len(), outcome.sent.len());
        assert_eq!((lost, losing), (0, 0), "{what}");
    });
}

#[test]
fn writing_resumes_when_the_disk_works_again_and_the_gap_is_in_the_journal() {
    campaign(true, true, |_, kind, outcome, what| {
        assert!(outcome.closed, "{what}: {:?}", outcome.account);
        let account = outcome.account;
        assert_eq!((account.offered, account.pending), (account.stored + account.lost, 0), "{what}");
        assert_eq!(account.lost, outcome.lost_seen, "{what}: the caller was told at once");
        let (records, lost, by_source, losing) = read(&outcome.disk);
        assert_in_order(&outcome.sent, &records, what);
        assert_eq!(records.len() as u64, account.stored, "{what}: exact");
        assert_eq!((lost, by_source), (account.lost, account.lost), "{what}: the journal says what it lacks");
        assert_eq!(losing, 0, "{what}");
        if kind == FaultKind::Short {
            assert_eq!(account.lost, 0, "{what}: short writes are no failure");
        }
    });
}

#[test]
fn a_disk_that_never_works_again_leaves_a_readable_journal() {
    campaign(true, false, |_, _, outcome, what| {
        let account = outcome.account;
        assert_eq!((account.offered, account.pending), (account.stored + account.lost, 0), "{what}");
        let (records, ..) = read(&outcome.disk);
        assert_in_order(&outcome.sent, &records, what);
        // Whether the operating system kept what a failed sync left in its cache cannot be known any more.
        assert!(records.len() as u64 >= account.stored, "{what}: {} of {}", records.len(), account.stored);
        assert!(outcome.closed || account.errors > 0, "{what}");
    });
}
