//! Promise: a reader that forgets the definitions of segments before, as it does where there are many, has for each record the names
//! and documents that the record was written with, or none, and none only where damage is told: in a journal that was resumed, one
//! that is damaged, and one that a repair made of that.
#![cfg(feature = "journal")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::support::journal::{Disk, Model, ORIGIN, Rng, seed};
use panther_events::Shared;
use panther_events::domain::{DomainDef, KindDef, Schema};
use panther_events::event::{Detail, Details, Domain, EventKind, Identity, Record, Symbol};
use panther_events::journal::format::{BlockHeader, BlockKind};
use panther_events::journal::{
    Durability, JournalReader, JournalWriter, Options, ReadOptions, RunId, repair,
};

const RUN: RunId = RunId(*b"a run of a test.");

panther_events::payload! {
    struct Flap [EventKind::new(Domain::FIRST_USER, 0)] { number: u64, via: Symbol, why: Detail }
}

const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[KindDef::of::<Flap>("flap", Identity::Occurrence)]),
    states: None,
};

/// Some come once, some again in a later segment, and one all the time.
fn names(number: u64) -> [String; 2] {
    let again = number / 3 % 20_000;
    [
        format!("link {number}"),
        if number.is_multiple_of(7) { "core".to_owned() } else { format!("via {again}") },
    ]
}

fn document(number: u64) -> String {
    format!("{{\"of\":{}}}", number / 2)
}

/// Writes a journal in several lives, of which only the last closes it.
fn written(lives: u64, records: u64) -> Disk {
    let (model, details) = (Model::of(Disk::default()), Details::new());
    let options = Options { segment_len: 1 << 20, ..Options::new(Durability::Buffered) };
    let mut schema = Schema::new();
    schema.register(&LAB).unwrap();
    for life in 0..lives {
        let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options.clone(), 0).unwrap();
        writer.set_schema(&schema);
        for number in life * records..(life + 1) * records {
            let [entity, via] = names(number);
            let text = document(number);
            let why = details.intern(&text).unwrap();
            for name in [&entity, &via] {
                writer.define(Symbol::of(name), name).unwrap();
            }
            writer.define_detail(why.bits().into(), text.as_bytes()).unwrap();
            let flap = Flap { number, via: Symbol::of(&via), why };
            let record = Record::new(Identity::Occurrence, number, Symbol::of(&entity), &flap);
            let record = record.numbered(1, number as u32).identified(ORIGIN);
            assert_eq!(writer.append(&[record]).lost, 0);
            if number % 1_000 == 0 {
                writer.forget_definitions();
            }
        }
        writer.flush().unwrap();
        if life + 1 == lives {
            writer.close().unwrap();
        }
    }
    model.disk().killed()
}

/// What was read.
#[derive(Debug, Default)]
struct Found {
    records: u64,
    /// Names and documents that are not known.
    unknown: u64,
    forgettings: u64,
    /// Findings that tell of what is missing.
    told: usize,
}

/// Reads a journal; panics where a name or a document is another than the record was written with.
fn read(disk: &Disk, what: &str) -> Found {
    let mut reader = JournalReader::over(Model::of(disk.clone()), ReadOptions::default()).unwrap();
    let (mut found, mut next) = (Found::default(), 0);
    while let Some(records) = reader.next_block().unwrap().map(|block| block.records().to_vec()) {
        for record in records {
            let flap: Flap = record.payload().unwrap();
            assert!(flap.number >= next, "{what}: {} again", flap.number);
            next = flap.number + 1;
            let ([entity, via], document) = (names(flap.number), document(flap.number));
            let known = [
                reader.name(record.entity()).map(|name| name == entity),
                reader.name(flap.via).map(|name| name == via),
                reader.detail(flap.why.bits().into()).map(|text| text == document.as_bytes()),
            ];
            assert!(!known.contains(&Some(false)), "{what}: of {} another is known", flap.number);
            found.unknown += known.iter().filter(|known| known.is_none()).count() as u64;
            found.records += 1;
        }
    }
    found.forgettings = reader.forgettings();
    found.told = reader.findings().iter().filter(|finding| finding.loses_records()).count();
    found
}

/// Changes a byte of one of the blocks of that kind.
fn damage(bytes: &mut [u8], kind: BlockKind, rng: &mut Rng) {
    let (mut at, mut blocks) = (0, Vec::new());
    while let Ok(header) = BlockHeader::decode(&bytes[at..]) {
        let end = header.end().offset as usize;
        if header.kind == kind {
            blocks.push((at, end));
        }
        at = end;
    }
    let (begin, end) = blocks[rng.below(blocks.len() as u64) as usize];
    let at = begin + rng.below((end - begin) as u64) as usize;
    bytes[at] ^= 1 << rng.below(8);
}

#[test]
fn each_record_has_its_names_and_documents_across_what_was_forgotten_or_they_are_told_to_be_unknown() {
    let disk = written(3, 50_000);
    let whole = read(&disk, "whole");
    assert_eq!((whole.records, whole.unknown, whole.told), (150_000, 0, 0), "{whole:?}");
    assert!(whole.forgettings >= 3, "{whole:?}");
    let seed = seed();
    let mut rng = Rng::new(seed);
    let mut unknown = 0;
    for round in 0..4 {
        let what = format!("seed {seed}, round {round}");
        let mut damaged = disk.clone();
        let segments: Vec<_> =
            disk.names().into_iter().filter(|name| disk.bytes(name).len() > 4_096).collect();
        for _ in 0..4 {
            let segment = &segments[rng.below(segments.len() as u64) as usize];
            let kind = if rng.below(3) > 0 { BlockKind::Definitions } else { BlockKind::Records };
            damage(damaged.bytes_mut(segment), kind, &mut rng);
        }
        let found = read(&damaged, &what);
        assert!(found.told > 0 && found.records > 100_000 && found.forgettings > 0, "{what}: {found:?}");
        unknown += found.unknown;
        let repaired = Model::of(Disk::default());
        repair(Model::of(damaged), Box::new(repaired.clone()), ReadOptions::default(), 0).unwrap();
        let again = read(&repaired.disk().clone(), &what);
        assert_eq!(again.records, found.records, "{what}: repaired");
        assert!(again.unknown <= found.unknown, "{what}: {found:?}, repaired {again:?}");
    }
    assert!(unknown > 0, "seed {seed}: no definition was damaged that was needed");
}
