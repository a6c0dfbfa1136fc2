//! Files that are read: PANTHER's lines, captures, documents.

use crate::check_growth;
use panther_events::event::Symbols;
use panther_events::ingest::capture::{CaptureOptions, CaptureReader};
use panther_events::ingest::panther::json::{Limits, parse};
use panther_events::ingest::panther::{PantherReader, PantherRecords, PythonVersion};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// No limit that would end the work early.
fn unlimited() -> Limits {
    Limits { depth_max: u8::MAX, string_bytes_max: usize::MAX, values_max: usize::MAX }
}

#[test]
fn objects_of_many_members() {
    for (name, distinct) in [("members", usize::MAX), ("members of few names", 3)] {
        check_growth(name, 20_000, |n| {
            let mut text = String::from("{");
            for at in 0..n {
                let comma = if at > 0 { "," } else { "" };
                write!(text, "{comma}\"m{}\":{at}", at % distinct).unwrap();
            }
            text.push('}');
            parse(text.as_bytes(), &unlimited()).unwrap();
        });
    }
}

#[test]
fn texts_of_many_escapes_and_arrays_of_arrays() {
    check_growth("escapes", 50_000, |n| {
        let text = format!("\"{}\"", "\\ud83d\\ude00\\ud800x".repeat(n / 4));
        parse(text.as_bytes(), &unlimited()).unwrap();
    });
    check_growth("arrays", 5_000, |n| {
        let one = format!("{}{}", "[".repeat(100), "]".repeat(100));
        let text = format!("[{}0]", format!("{one},").repeat(n / 50));
        parse(text.as_bytes(), &unlimited()).unwrap();
    });
}

/// Lines with an entity and a document of their own each, through ids and records.
#[test]
fn lines_of_panthers() {
    check_growth("lines", 3_000, |n| {
        let mut file = String::new();
        for at in 0..n {
            writeln!(
                file,
                "{{\"name\":\"execution_started\",\"type\":\"step.execution_started\",\"entity_type\":\"step\",\
                 \"entity_id\":\"step {at}\",\"timestamp\":\"2025-01-01T00:00:00\",\"data\":{{\"n\":{at}}}}}"
            )
            .unwrap();
        }
        let symbols = Arc::new(Symbols::new());
        let reader = PantherReader::new(file.as_bytes(), Path::new("lines"));
        let mut records = PantherRecords::new(symbols, PythonVersion::default());
        let mut known = 0;
        for event in reader {
            known += u64::from(records.record(&event.unwrap()).is_ok());
        }
        assert_eq!(known, n as u64);
    });
}

/// A pcapng block.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = (12 + body.len()) as u32;
    [&kind.to_le_bytes()[..], &len.to_le_bytes(), body, &len.to_le_bytes()].concat()
}

fn read_capture(bytes: &[u8]) -> u64 {
    let mut reader = CaptureReader::new(bytes, "memory", CaptureOptions::default()).unwrap();
    while let Ok(Some(_)) = reader.next() {}
    reader.bytes_read()
}

const SECTION: &[u8] = &[
    0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255,
    255, 255, 28, 0, 0, 0,
];

#[test]
fn captures_of_blocks_without_packets() {
    let interface = block(1, &[1, 0, 0, 0, 0, 0, 0, 0]);
    let unknown = block(0x0bad_cafe, &[]);
    let named = |what: &'static str, one: Vec<u8>| {
        check_growth(what, 20_000, move |n| {
            let bytes = [SECTION, &one.repeat(n)].concat();
            assert!(read_capture(&bytes) > 0);
        });
    };
    named("interfaces", interface);
    named("unknown blocks", unknown);
    named("sections", SECTION.to_vec());
    // Of one interface, many options.
    check_growth("options", 4_000, |n| {
        let options = [9, 0, 1, 0, 6, 0, 0, 0].repeat(n);
        let bytes = [SECTION, &block(1, &[&[1, 0, 0, 0, 0, 0, 0, 0], &options[..]].concat())].concat();
        assert_eq!(read_capture(&bytes), bytes.len() as u64);
    });
}
