//! The reference captures give the counts that an independent script found in them.
#![cfg(feature = "pcap")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use crate::support::skip::skip;
use panther_events::ingest::capture::Format;
use panther_events::ingest::{
    CaptureReader, Coverage, Decoded, PacketDigest, Scan, common_coverage, decode, scan,
};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Counts of both captures of a run together, under one digest.
#[derive(Default, PartialEq, Debug)]
struct Counts {
    total: u64,
    ip: u64,
    non_ip: u64,
    unique: u64,
    refused: u64,
}

fn small() -> [PathBuf; 2] {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    [folder.join("client.pcap"), folder.join("server.pcap")]
}

fn large() -> Option<[PathBuf; 2]> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/capture/large");
    let paths = [folder.join("client.pcap"), folder.join("server.pcap")];
    if !paths.iter().all(|path| path.is_file()) {
        skip("data", "the large reference captures are not here");
        return None;
    }
    Some(paths)
}

fn count(paths: &[PathBuf; 2], digest: PacketDigest) -> Counts {
    let mut counts = Counts::default();
    let mut ids = HashSet::new();
    for path in paths {
        let mut reader = CaptureReader::open(path).unwrap();
        assert!(matches!(reader.format(), Format::Pcap { big_endian: false, .. }));
        let mut offset = 24;
        while let Some(frame) = reader.next().unwrap() {
            assert_eq!(frame.offset, offset);
            offset += 16 + frame.data.len() as u64;
            counts.total += 1;
            assert_eq!(decode(frame.link, frame.data), frame.decode());
            match frame.decode() {
                Decoded::Ip(packet) => {
                    counts.ip += 1;
                    match digest.digest(&packet) {
                        Ok(id) => {
                            ids.insert(id);
                        }
                        Err(_) => counts.refused += 1,
                    }
                }
                Decoded::NotIp => counts.non_ip += 1,
                other => panic!("{other:?} at byte {offset}"),
            }
        }
        assert_eq!(reader.bytes_read(), path.metadata().unwrap().len());
    }
    counts.unique = ids.len() as u64;
    counts
}

#[test]
fn the_small_captures_are_cut_and_agree_on_a_prefix() {
    let scans: Vec<Scan> = small().iter().map(|path| scan(path).unwrap()).collect();
    assert!(scans.iter().all(|scan| scan.truncated > 0 && scan.overlong == 0));
    assert_eq!(common_coverage(&scans), Coverage::Prefix(146));
    let counts = count(&small(), PacketDigest::new(Coverage::Prefix(146)));
    assert_eq!(counts, Counts { total: 3857, ip: 3853, non_ip: 4, unique: 1938, refused: 0 });

    let truncated: u64 = scans.iter().map(|scan| scan.truncated).sum();
    let counts = count(&small(), PacketDigest::new(Coverage::Whole));
    assert_eq!(counts.refused, truncated, "whole digests refuse exactly what was cut");
}

#[test]
fn masked_checksums_and_short_prefixes_give_what_the_script_gives() {
    for (prefix, masked, unique) in [(60, false, 1938), (60, true, 1936), (82, true, 1938), (146, true, 1938)]
    {
        let digest = PacketDigest::new(Coverage::Prefix(prefix)).mask_l4_checksum(masked);
        assert_eq!(count(&small(), digest).unique, unique, "prefix {prefix}, masked {masked}");
    }
    let Some(large) = large() else { return };
    for (prefix, masked, unique) in [(60, false, 10_319), (60, true, 10_318), (146, true, 10_319)] {
        let digest = PacketDigest::new(Coverage::Prefix(prefix)).mask_l4_checksum(masked);
        assert_eq!(count(&large, digest).unique, unique, "prefix {prefix}, masked {masked}");
    }
}

#[test]
fn the_large_captures_are_whole() {
    let Some(large) = large() else { return };
    let scans: Vec<Scan> = large.iter().map(|path| scan(path).unwrap()).collect();
    assert_eq!(common_coverage(&scans), Coverage::Whole);
    let counts = count(&large, PacketDigest::new(Coverage::Whole));
    assert_eq!(counts, Counts { total: 20_552, ip: 20_548, non_ip: 4, unique: 10_319, refused: 0 });
}
