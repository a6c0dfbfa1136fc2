//! Every capture format gives the packets that were written, and every fault is named with its place.
#![cfg(feature = "pcap")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use crate::support::captures::{PcapNgWriter, PcapWriter, read_all, rich_pcapng, small_pcap};
use panther_events::ingest::capture::{CaptureFault, CaptureOptions, Format, Magic};
use panther_events::ingest::{CaptureReader, LinkType};
use std::io::Read;

const S: u64 = 1_000_000_000;

#[test]
fn classic_pcap_is_read_in_both_byte_orders_and_resolutions() {
    for (big_endian, nanoseconds) in [(false, false), (false, true), (true, false), (true, true)] {
        let bytes = small_pcap(big_endian, nanoseconds);
        let reader = CaptureReader::new(&bytes[..], "x", CaptureOptions::default()).unwrap();
        assert_eq!(reader.format(), Format::Pcap { big_endian, nanoseconds });
        let (packets, end) = read_all(&bytes);
        end.unwrap();
        assert_eq!(packets.len(), 6);
        let mut offset = 24;
        for (n, packet) in packets.iter().enumerate() {
            let unit = if nanoseconds { 1 } else { 1_000 };
            assert_eq!(packet.time_ns, 1_700_000_000 * S + n as u64 * unit);
            assert_eq!(packet.data, vec![n as u8; n * 13]);
            assert_eq!((packet.wire_len, packet.link), (90, LinkType::ETHERNET));
            assert_eq!(packet.offset, offset);
            offset += 16 + packet.data.len() as u64;
        }
    }
}

#[test]
fn times_and_link_types_use_their_whole_range() {
    let mut file = PcapWriter::new(false, false, 0x2400_0000 | 1, 0);
    let last_second = 0xbfff_ffff; // those after it are negative ones
    file.packet(last_second, u32::MAX, u32::MAX, &[]);
    let (packets, end) = read_all(&file.bytes);
    end.unwrap();
    assert_eq!(packets[0].link, LinkType::ETHERNET, "frame check sequence bits are no link type");
    assert_eq!(packets[0].time_ns, u64::from(last_second) * S + u64::from(u32::MAX) * 1_000);
    assert_eq!(packets[0].wire_len, u32::MAX);
}

#[test]
fn pcapng_sections_interfaces_and_packet_blocks_are_all_read() {
    let bytes = rich_pcapng();
    let (packets, end) = read_all(&bytes);
    end.unwrap();
    let expected = [
        (1_700_000_000 * S + 1, 60, 1, vec![0xa1; 33]),
        (1_700_000_000 * S + 2_000, 4_000, 101, vec![0x45; 96]),
        (1_700_000_000 * S + 3_000, 21, 101, vec![0x45; 21]),
        (0, 10, 1, vec![0xa2; 10]),
        (1_700_001_000 * S + S / 2, 80, 113, vec![0xb1; 80]),
        (1_700_001_001 * S, 5, 113, vec![0xb2; 5]),
    ];
    let found: Vec<_> = packets.into_iter().map(|p| (p.time_ns, p.wire_len, p.link.0, p.data)).collect();
    assert_eq!(found, expected);

    let mut reader = CaptureReader::new(&bytes[..], "x", CaptureOptions::default()).unwrap();
    assert_eq!(reader.format(), Format::PcapNg);
    while reader.next().unwrap().is_some() {}
    let counts = reader.counts();
    // Names and what is private; the statistics are read.
    assert_eq!((counts.records, counts.blocks_skipped, counts.options_malformed), (6, 2, 0));
    assert_eq!(counts.without_time, 1);
    assert_eq!((counts.zero_time, counts.before_1970, counts.far_future, counts.long_fraction), (0, 0, 0, 0));
    assert_eq!(reader.bytes_read(), bytes.len() as u64);
}

#[test]
fn a_simple_packet_is_cut_at_the_snapshot_length_of_the_first_interface() {
    let mut file = PcapNgWriter::new(true);
    file.interface(228, 6, &[]);
    file.simple(100, &[7; 6]);
    let (packets, end) = read_all(&file.bytes);
    end.unwrap();
    assert_eq!((packets[0].wire_len, &packets[0].data[..]), (100, &[7; 6][..]));
    assert_eq!(packets[0].offset, 28 + 20);
}

#[test]
fn time_stamps_are_exact_in_every_resolution_and_clamp_at_the_ends() {
    const GOOD: [u64; 3] = [0, 0, 0];
    const ZERO: [u64; 3] = [1, 0, 0];
    const BEFORE: [u64; 3] = [0, 1, 0];
    const AFTER: [u64; 3] = [0, 0, 1];
    // (if_tsresol, if_tsoffset, units, nanoseconds, counted)
    let cases: [(u8, i64, u64, u64, [u64; 3]); 15] = [
        (0, 0, 5, 5 * S, GOOD),
        (3, 0, 1_500, 1_500_000_000, GOOD),
        (6, -3, 4_000_001, S + 1_000, GOOD),
        (6, -3, 3_000_000, 0, ZERO),
        (9, 0, 0, 0, ZERO),
        (9, 0, u64::MAX, u64::MAX, GOOD),
        (12, 0, 1_999, 1, GOOD),
        (12, 2, 1_000, 2 * S + 1, GOOD),
        (127, 0, u64::MAX, 0, ZERO),
        (0x80, 0, 7, 7 * S, GOOD),
        (0x80 | 32, 0, 3 << 31, S + S / 2, GOOD),
        (0x80 | 63, 0, u64::MAX, 2 * S - 1, GOOD),
        (0x80 | 127, 0, u64::MAX, 0, ZERO),
        (6, -5, 4_000_000, 0, BEFORE),
        (0, i64::MAX, u64::MAX, u64::MAX, AFTER),
    ];
    for big_endian in [false, true] {
        for (resolution, offset, units, time_ns, counted) in cases {
            let mut file = PcapNgWriter::new(big_endian);
            let options = [
                file.option(9, &[resolution]),
                file.option(14, &file.order.i64(offset)),
                file.option(0, &[]),
            ];
            file.interface(1, 0, &options.concat());
            file.enhanced(0, units, 1, &[1], &[]);
            let mut reader = CaptureReader::new(&file.bytes[..], "x", CaptureOptions::default()).unwrap();
            let frame = reader.next().unwrap().unwrap();
            let of = format!("resolution {resolution:#x}, offset {offset}, units {units}");
            assert_eq!((frame.time_ns, frame.has_time()), (time_ns, time_ns != 0), "{of}");
            let counts = reader.counts();
            assert_eq!([counts.zero_time, counts.before_1970, counts.far_future], counted, "{of}");
        }
    }
}

/// Reads a capture that must fail, and returns where, with what, and how many packets came before.
fn fault(bytes: &[u8]) -> (u64, CaptureFault, usize) {
    let (packets, end) = read_all(bytes);
    let error = end.expect_err("the capture is at fault");
    let text = error.to_string();
    assert!(text.starts_with(&format!("memory: byte {}: ", error.offset())), "{text}");
    assert!(text.contains(';') || text.contains(": "), "no remedy in: {text}");
    let offset = error.offset();
    match error.fault() {
        CaptureFault::Truncated { what, end, missing } => {
            (offset, CaptureFault::Truncated { what, end: *end, missing: *missing }, packets.len())
        }
        CaptureFault::BadLength { what, len, rule } => {
            (offset, CaptureFault::BadLength { what, len: *len, rule }, packets.len())
        }
        CaptureFault::TooLong { what, len, limit } => {
            (offset, CaptureFault::TooLong { what, len: *len, limit: *limit }, packets.len())
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_length_that_lies_is_named_with_its_place() {
    // A classic record that claims more than any snapshot length.
    let mut file = PcapWriter::new(false, true, 1, 100);
    file.packet(1, 1, 3, &[1, 2, 3]);
    let second = file.bytes.len();
    file.packet(1, 1, 3, &[1, 2, 3]);
    file.bytes[second + 8..second + 12].copy_from_slice(&300_000u32.to_le_bytes());
    let (offset, found, packets) = fault(&file.bytes);
    assert_eq!((offset, packets), (second as u64, 1));
    assert!(matches!(found, CaptureFault::TooLong { len: 300_000, limit: 262_144, .. }));

    let mut file = PcapNgWriter::new(false);
    file.interface(1, 0, &[]);
    let at = file.bytes.len();
    file.enhanced(0, 1, 4, &[1; 4], &[]);
    let whole = file.bytes;
    // (offset in the block, value, part of the rule)
    let cases: [(usize, u32, &str); 7] = [
        (4, 0, "shorter than its fixed fields"),
        (4, 11, "shorter than its fixed fields"),
        (4, 28, "shorter than its fixed fields"),
        (4, 34, "multiples of 4"),
        (32, 32, "two ends differ"),
        (20, 5, "past its block"),
        (20, u32::MAX, "past its block"),
    ];
    for (place, value, part) in cases {
        let mut bytes = whole.clone();
        bytes[at + place..at + place + 4].copy_from_slice(&value.to_le_bytes());
        let (offset, found, packets) = fault(&bytes);
        assert_eq!((offset, packets), (at as u64, 0), "{part}");
        let CaptureFault::BadLength { rule, len, .. } = found else { panic!("{found} for {part}") };
        assert!(rule.contains(part), "{rule} for {part}");
        assert_eq!(len, u64::from(value));
    }
    let mut bytes = whole.clone();
    bytes[at + 4..at + 8].copy_from_slice(&0x7fff_fff0u32.to_le_bytes());
    assert!(matches!(fault(&bytes).1, CaptureFault::TooLong { len: 0x7fff_fff0, limit: 0x10_0000, .. }));

    let mut file = PcapNgWriter::new(true);
    file.interface(1, 0, &[0, 2, 0, 9, 1, 1, 1, 1]);
    assert!(matches!(fault(&file.bytes).1, CaptureFault::BadLength { len: 9, .. }));
    for (code, value) in [(9, &[6, 6][..]), (14, &[0; 4])] {
        let mut file = PcapNgWriter::new(true);
        let option = file.option(code, value);
        file.interface(1, 0, &option);
        assert!(matches!(fault(&file.bytes), (28, CaptureFault::BadLength { .. }, 0)));
    }
}

#[test]
fn a_cut_is_named_with_what_was_cut() {
    let bytes = small_pcap(false, false);
    let last = 24 + 5 * 16 + 13 * (1 + 2 + 3 + 4);
    let (offset, found, packets) = fault(&bytes[..last + 9]);
    assert_eq!((offset, packets), (last as u64, 5));
    let found_end = last as u64 + 9;
    assert!(
        matches!(found, CaptureFault::Truncated { what: "record header", end, missing: 7 } if end == found_end)
    );
    let (offset, found, packets) = fault(&bytes[..bytes.len() - 1]);
    assert_eq!((offset, packets), (last as u64, 5));
    assert!(matches!(found, CaptureFault::Truncated { what: "record", missing: 1, .. }));
}

#[test]
fn files_that_are_no_captures_are_refused_with_a_reason() {
    let error = |bytes: &[u8]| read_all(bytes).1.unwrap_err();
    assert!(matches!(error(&[]).fault(), CaptureFault::Empty));
    assert!(matches!(error(&[0xd4]).fault(), CaptureFault::Truncated { missing: 3, .. }));
    for (bytes, magic) in [
        (&[0x1f, 0x8b, 8, 0][..], Magic::Gzip),
        (&[0x28, 0xb5, 0x2f, 0xfd], Magic::Zstd),
        (&[0xfd, b'7', b'z', b'X', b'Z'], Magic::Xz),
        (&[0x34, 0xcd, 0xb2, 0xa1, 2, 0], Magic::ModifiedPcap),
        (b"snoop\0\0\0", Magic::Snoop),
        (b"not a capture", Magic::Other(*b"not ")),
    ] {
        let error = error(bytes);
        assert!(matches!(error.fault(), CaptureFault::UnknownFormat { what } if *what == magic), "{error}");
    }
    let mut old = small_pcap(true, false);
    old[7] = 2;
    assert!(matches!(
        error(&old).fault(),
        CaptureFault::UnsupportedVersion { format: "pcap", major: 2, minor: 2 }
    ));
    let mut new = rich_pcapng();
    new[12] = 2;
    assert!(matches!(
        error(&new).fault(),
        CaptureFault::UnsupportedVersion { format: "pcapng", major: 2, minor: 0 }
    ));
    let mut orderless = rich_pcapng();
    orderless[8] = 0;
    assert!(matches!(error(&orderless).fault(), CaptureFault::BadByteOrder { .. }));
}

#[test]
fn a_packet_needs_its_interface_in_its_own_section() {
    let mut file = PcapNgWriter::new(false);
    file.interface(1, 0, &[]);
    file.enhanced(0, 1, 1, &[1], &[]);
    file.section(false, 0);
    let at = file.bytes.len() as u64;
    file.enhanced(0, 1, 1, &[1], &[]);
    let (packets, end) = read_all(&file.bytes);
    let error = end.unwrap_err();
    assert_eq!((packets.len(), error.offset()), (1, at));
    assert!(matches!(error.fault(), CaptureFault::UnknownInterface { interface: 0, described: 0 }));
}

#[test]
fn interfaces_are_bounded() {
    let mut file = PcapNgWriter::new(false);
    for _ in 0..=65_536 {
        file.interface(1, 0, &[]);
    }
    let error = read_all(&file.bytes).1.unwrap_err();
    assert!(matches!(error.fault(), CaptureFault::TooManyInterfaces { limit: 65_536 }));
}

#[test]
fn a_folder_and_a_missing_file_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let error = CaptureReader::open(folder.path()).unwrap_err();
    assert!(matches!(error.fault(), CaptureFault::Directory));
    assert_eq!(error.label(), folder.path().display().to_string());
    let error = CaptureReader::open(folder.path().join("none.pcap")).unwrap_err();
    assert!(matches!(error.fault(), CaptureFault::Io(_)));
}

/// A stream that gives a few bytes at a time, is interrupted often, and fails at its end.
struct Flaky<'a> {
    bytes: &'a [u8],
    calls: usize,
}

impl Read for Flaky<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(2) {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        if self.bytes.is_empty() {
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        let len = into.len().min(self.bytes.len()).min(1 + self.calls % 7);
        into[..len].copy_from_slice(&self.bytes[..len]);
        self.bytes = &self.bytes[len..];
        Ok(len)
    }
}

#[test]
fn a_stream_may_be_slow_interrupted_and_fail_without_losing_a_packet() {
    for bytes in [small_pcap(false, true), rich_pcapng()] {
        let flaky = Flaky { bytes: &bytes, calls: 0 };
        let mut reader = CaptureReader::new(flaky, "flaky", CaptureOptions::default()).unwrap();
        let mut packets = 0;
        let error = loop {
            match reader.next() {
                Ok(Some(_)) => packets += 1,
                Ok(None) => panic!("the stream failed, it did not end"),
                Err(error) => break error,
            }
        };
        assert_eq!(packets, 6);
        assert_eq!(error.offset(), bytes.len() as u64);
        assert!(matches!(error.fault(), CaptureFault::Io(_)));
    }
}
