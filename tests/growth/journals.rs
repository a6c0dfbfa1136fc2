//! Journals: their blocks, definitions and gaps, and the contexts that are told in them.

use crate::check_growth;
use panther_events::event::{Contexts, Domain, EventKind, Identity, Record, Symbol};
use panther_events::journal::{Durability, JournalReader, JournalWriter, Options, ReadOptions, RunId};
use std::path::Path;

fn record(source: u16, seq: u32, entity: Symbol) -> Record {
    let kind = EventKind::new(Domain::SERVICE, 0);
    Record::of_kind(kind, Identity::Occurrence, 7, entity, [0; Record::PAYLOAD_LEN]).numbered(source, seq)
}

fn writer(path: &Path) -> JournalWriter {
    JournalWriter::open(path, RunId([1; 16]), Options::new(Durability::Buffered), 0).unwrap()
}

/// Writes with `write`, and reads all.
fn written_and_read(n: usize, write: impl Fn(&mut JournalWriter, usize)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut journal = writer(&path);
    (0..n).for_each(|at| write(&mut journal, at));
    journal.close().unwrap();
    let mut reader = JournalReader::open(&path, ReadOptions::default()).unwrap();
    let mut records = 0;
    while let Some(block) = reader.next_block().unwrap() {
        records += block.records().len();
    }
    assert_eq!(records, n);
}

#[test]
fn blocks_of_one_record() {
    check_growth("blocks", 2_000, |n| {
        written_and_read(n, |journal, at| {
            let _ = journal.append(&[record(1, at as u32, Symbol::NONE)]);
            journal.flush().unwrap();
        });
    });
}

#[test]
fn names_and_gaps() {
    check_growth("names and gaps", 10_000, |n| {
        written_and_read(n, |journal, at| {
            let name = format!("name {at}");
            journal.define(Symbol::of(&name), &name).unwrap();
            // Each number leaves a gap, and each source has its own.
            let _ = journal.append(&[record((at % 50_000) as u16, 2 * at as u32, Symbol::of(&name))]);
        });
    });
}

/// Each before half of all that came earlier.
#[test]
fn contexts_that_are_told_from_the_middle() {
    check_growth("contexts", 100_000, |n| {
        let contexts = Contexts::default();
        for at in 0..n as u32 {
            let seq = if at % 2 == 0 { at } else { 1_000_000 - at };
            contexts.restore(3, seq, Some("{\"test\":\"one\"}")).unwrap();
        }
    });
}

#[test]
fn an_entity_in_many_contexts() {
    check_growth("contexts of one entity", 5_000, |n| {
        let contexts = Contexts::default();
        for seq in 0..n as u32 {
            let document = format!("{{\"test\":\"one\",\"step\":\"step {seq}\"}}");
            contexts.restore(3, seq, Some(&document)).unwrap();
        }
        assert_eq!(contexts.of_entity(Domain::TEST, Symbol::of("one")).len(), n);
    });
}
