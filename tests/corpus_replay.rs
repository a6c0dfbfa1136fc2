//! Promise: what the fuzz targets began with, and whatever they found, is read without a panic.
#![cfg(all(feature = "journal", feature = "panther", feature = "pcap"))]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod corpus_support;

use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 2, "{}: no corpus", folder.display());
    for file in files {
        println!("{}", file.display());
        let bytes = std::fs::read(file).unwrap();
        check(&bytes);
        // Every seed cut short, at a few places.
        for part in 1..8 {
            check(&bytes[..bytes.len() * part / 8]);
        }
    }
}

#[test]
fn the_journal_reader_takes_its_corpus() {
    replay("journal", corpus_support::journal);
}

#[cfg(feature = "zstd")]
#[test]
fn the_reader_of_compressed_segments_takes_its_corpus() {
    replay("compressed", corpus_support::compressed);
}

#[test]
fn the_reader_of_flight_recorders_takes_its_corpus() {
    replay("recorder", corpus_support::recorder);
}

#[test]
fn the_reader_of_pcap_takes_its_corpus() {
    replay("pcap", corpus_support::pcap);
}

#[test]
fn the_reader_of_pcapng_takes_its_corpus() {
    replay("pcapng", corpus_support::pcapng);
}

#[test]
fn the_reader_of_schemas_takes_its_corpus() {
    replay("schema", corpus_support::schema);
}

#[test]
fn the_reader_of_panther_events_takes_its_corpus() {
    replay("panther", corpus_support::panther);
}
