//! The format does not change by accident: golden files are written byte for byte, and read as documented.
//!
//! `JOURNAL_GOLDEN_WRITE=1` writes them anew; that is a new version of the format, or a mistake.
#![cfg(feature = "journal")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use crate::support::journal::{Model, ORIGIN, entity_name, record};
use panther_events::event::{Detail, Record, Symbol};
use panther_events::journal::{
    Damage, Durability, EnteredContext, JournalReader, JournalWriter, Options, ReadOptions, RunId,
    SourceFrom, verify,
};
use std::path::PathBuf;

/// Of the document that tells of a context.
const CONTEXT: Detail = Detail::from_bits(0x8877_6655_4433_2211);

const RUN: RunId = RunId(*b"0123456789abcdef");

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/journal/v1").join(name)
}

fn sent() -> Vec<Record> {
    (0..40).map(|n| record((n % 2) as u16, n / 2, 1_700_000_000_000_000_000 + u64::from(n))).collect()
}

/// Two segments: the second resumes the run.
fn write() -> Model {
    let model = Model::default();
    let options =
        Options { block_len: 8 << 10, segment_len: 32 << 10, ..Options::new(Durability::ProcessCrash) };
    for (part, records) in sent().chunks(25).enumerate() {
        let now_ns = 1_700_000_001_000_000_000 + part as u64;
        let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options.clone(), now_ns).unwrap();
        writer.set_origin(ORIGIN);
        for source in 0..2 {
            writer.define(Symbol::of(&entity_name(source)), &entity_name(source)).unwrap();
        }
        writer.define_detail(0x0123_4567_89ab_cdef_0011_2233_4455_6677, b"{\"a\": 1}").unwrap();
        let from = |source| SourceFrom { origin: ORIGIN, source, seq: 0 };
        writer.define_source(from(0), "runner").unwrap();
        writer.define_detail(CONTEXT.bits().into(), b"{\"test\":\"soak\"}").unwrap();
        assert!(writer.define_context(from(1), CONTEXT));
        writer.note_upstream_loss(3);
        for batch in records.chunks(10) {
            assert_eq!(writer.append(batch).lost, 0);
        }
        writer.close().unwrap();
    }
    model
}

#[test]
fn the_same_run_is_written_as_the_same_bytes() {
    let model = write();
    let disk = model.disk();
    assert_eq!(disk.names(), ["00000000.journal", "00000001.journal"]);
    for name in disk.names() {
        if std::env::var_os("JOURNAL_GOLDEN_WRITE").is_some() {
            std::fs::write(golden(&name), disk.bytes(&name)).unwrap();
        }
        assert!(disk.bytes(&name) == std::fs::read(golden(&name)).unwrap(), "{name} is not the golden file");
    }
}

#[test]
fn golden_files_are_read_as_they_were_written() {
    let mut reader = JournalReader::open(&golden(""), ReadOptions::default()).unwrap();
    let mut records = Vec::new();
    reader.for_each(|record| records.push(*record)).unwrap();
    assert!(records == sent());
    assert_eq!((reader.run(), reader.closed(), reader.findings()), (Some(RUN), true, &[][..]));
    assert_eq!(reader.name(Symbol::of("entity-1")), Some("entity-1"));
    assert_eq!(reader.detail(0x0123_4567_89ab_cdef_0011_2233_4455_6677), Some(&b"{\"a\": 1}"[..]));
    assert_eq!((reader.totals().records, reader.totals().lost_upstream), (40, 6));
    reader.rewind();
    reader.next_block().unwrap().unwrap();
    let from = SourceFrom { origin: ORIGIN, source: 1, seq: 0 };
    assert!(reader.contexts_told().eq([(from, EnteredContext::Of(CONTEXT))]));
    assert_eq!((reader.source_name(0, 7), reader.source_name(1, 7)), (Some("runner"), None));
    assert_eq!(reader.detail(CONTEXT.bits().into()), Some(&b"{\"test\":\"soak\"}"[..]));
}

/// Reads the golden file by the documented offsets alone, without the crate's decoder.
#[test]
fn golden_bytes_lie_where_the_diagram_says() {
    let bytes = std::fs::read(golden("00000000.journal")).unwrap();
    let number = |at: usize, len: usize| {
        bytes[at..at + len].iter().rev().fold(0u128, |number, byte| number << 8 | u128::from(*byte))
    };
    let (mut at, mut block, mut previous, mut kinds, mut stored) = (0, 0, 0, Vec::new(), 0);
    while at < bytes.len() {
        assert_eq!(&bytes[at..at + 8], b"PEVJRNL\n");
        assert_eq!(number(at + 12, 2), 1, "version");
        let (head, len, body) =
            (number(at + 14, 2) as usize, number(at + 16, 4) as usize, number(at + 20, 4) as usize);
        assert_eq!(number(at + 8, 4), u128::from(crc(&bytes[at + 12..at + head])), "header checksum");
        assert_eq!(number(at + 24, 4), u128::from(crc(&bytes[at + head..at + len])), "body checksum");
        assert_eq!(number(at + 28, 4), previous, "previous block's checksum");
        assert_eq!(&bytes[at + 32..at + 48], b"0123456789abcdef");
        assert_eq!((number(at + 48, 4), number(at + 52, 4), number(at + 56, 8)), (0, block, at as u128));
        assert_eq!(number(at + 88, 8), stored, "records stored before");
        assert!(bytes[at + head + body..at + len].iter().all(|byte| *byte == 0), "padding");
        let (kind, sources, records) = (bytes[at + 64], number(at + 66, 2) as usize, number(at + 68, 4));
        kinds.push(kind);
        if kind == 2 && block == 2 {
            // The last two are what is said of sources.
            let of_sources = &bytes[at + head + body - 40 - 40..];
            let number = |at: usize, len: usize| {
                of_sources[at..at + len]
                    .iter()
                    .rev()
                    .fold(0u128, |number, byte| number << 8 | u128::from(*byte))
            };
            assert_eq!((number(0, 1), number(2, 2), number(4, 4)), (3, 0, 8 + 6), "a name of source 0");
            assert_eq!((number(8, 16), number(24, 4)), (ORIGIN.bits(), 0), "from number 0 on");
            assert_eq!(&of_sources[32..40], b"runner\0\0");
            assert_eq!((number(40, 1), number(42, 2), number(44, 4)), (4, 1, 16), "a context of source 1");
            assert_eq!((number(48, 16), number(64, 8)), (ORIGIN.bits(), 0));
            assert_eq!(number(72, 8), u128::from(CONTEXT.bits()));
        }
        if kind == 3 && records > 0 {
            assert_eq!(number(at + 152, 16), ORIGIN.bits(), "origin");
            assert_eq!((sources, body), (2, 640));
            let entry = at + 192 + 24;
            assert_eq!((number(entry, 2), number(entry + 4, 4)), (1, 5), "source 1 has five records");
            assert_eq!(number(entry + 20, 4), stored / 2, "and had as many before as source 0");
            let first = at + head;
            assert_eq!(number(first + 16, 8), 1_700_000_000_000_000_000 + stored, "time");
            assert_eq!(number(first + 24, 8), u128::from(Symbol::of("entity-0").bits()), "entity");
            assert_eq!((number(first + 34, 2), number(first + 36, 4)), (0, stored / 2), "source and number");
        }
        stored += records;
        previous = number(at + 8, 4);
        block += 1;
        at += len;
        if stored == 20 {
            break;
        }
    }
    // The journal's own document, then what the records refer to.
    assert_eq!((kinds, stored), (vec![1, 2, 2, 3, 3], 20));
}

/// CRC-32C, bit by bit: reflected polynomial 0x82f63b78.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 },
        )
    })
}

#[test]
fn a_later_version_is_reported_and_not_written_over() {
    let model = write();
    {
        let mut disk = model.disk();
        for name in disk.names() {
            let bytes = disk.bytes_mut(&name);
            bytes[12] = 2;
            let len = usize::from(u16::from_le_bytes([bytes[14], bytes[15]]));
            let crc = crc(&bytes[12..len]).to_le_bytes();
            bytes[8..12].copy_from_slice(&crc);
            bytes.truncate(len);
        }
    }
    let report = verify(model.clone(), ReadOptions::default()).unwrap();
    assert!(report.records == 0 && !report.findings.is_empty() && !report.is_sound(), "{report:?}");
    assert!(!report.findings.iter().any(|finding| finding.damage == Damage::NotClosed));
    let options = Options::new(Durability::Buffered);
    let refused = JournalWriter::over(Box::new(model), RUN, options, 0).unwrap_err().to_string();
    assert!(refused.contains("another version"), "{refused}");
}
