//! What a capture tells of itself is told on: stamps that cannot be believed, drops, the time it covers, directions and interfaces.
#![cfg(feature = "pcap")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::captures::packets::{ethernet, ipv4, udp};
use crate::support::captures::{PcapNgWriter, PcapWriter, read_all};
use panther_events::domain::packet::{PacketSeen, flags};
use panther_events::event::{Record, Symbols};
use panther_events::ingest::capture::{CaptureCounts, CaptureOptions};
use panther_events::ingest::feed::{CaptureInput, CaptureReport, FeedOptions, feed};
use panther_events::ingest::{CaptureReader, Coverage, Direction, PacketDigest, scan};
use panther_events::observe::{Batch, Interest, Observer, Report, Undelivered};
use panther_events::pipeline::{Builder, PipelineOptions, Topology};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

const S: u64 = 1_000_000_000;
const START: u16 = 2;
const END: u16 = 3;
const IFDROP: u16 = 5;
const OSDROP: u16 = 7;

fn counts(bytes: &[u8]) -> CaptureCounts {
    let mut reader = CaptureReader::new(bytes, "memory", CaptureOptions::default()).unwrap();
    while reader.next().unwrap().is_some() {}
    reader.counts()
}

#[test]
fn the_last_statistics_of_each_interface_of_each_section_count() {
    for big_endian in [false, true] {
        let mut file = PcapNgWriter::new(big_endian);
        file.interface(1, 0, &[]);
        file.interface(1, 0, &[]);
        assert_eq!(counts(&file.bytes).capture_dropped, None);
        file.statistics(0, &[]);
        assert_eq!(counts(&file.bytes).capture_dropped, None, "statistics that say nothing of drops");
        file.statistics(0, &[file.number(IFDROP, 3), file.number(OSDROP, 4)].concat());
        file.statistics(
            0,
            &[file.number(4, 1_000), file.number(IFDROP, 10), file.number(OSDROP, 5)].concat(),
        );
        assert_eq!(counts(&file.bytes).capture_dropped, Some(15), "they are cumulative");
        file.statistics(1, &file.number(OSDROP, 1 << 40));
        assert_eq!(counts(&file.bytes).capture_dropped, Some(15 + (1 << 40)));
        file.section(!big_endian, 0);
        file.interface(1, 0, &[]);
        file.statistics(0, &file.number(IFDROP, 100));
        assert_eq!(counts(&file.bytes).capture_dropped, Some(115 + (1 << 40)));
        file.statistics(0, &file.number(IFDROP, 200));
        let found = counts(&file.bytes);
        assert_eq!(found.capture_dropped, Some(215 + (1 << 40)));
        assert_eq!((found.blocks_skipped, found.options_malformed), (0, 0));
    }
}

#[test]
fn a_capture_that_says_it_dropped_nothing_differs_from_one_that_says_nothing() {
    let mut file = PcapNgWriter::new(false);
    file.interface(1, 0, &[]);
    file.statistics(0, &file.number(IFDROP, 0));
    assert_eq!(counts(&file.bytes).capture_dropped, Some(0));
}

#[test]
fn drops_before_packets_count_where_no_statistics_tell() {
    for big_endian in [false, true] {
        let mut file = PcapNgWriter::new(big_endian);
        file.interface(1, 0, &[]);
        file.interface(1, 0, &[]);
        let dropped = |file: &PcapNgWriter, count| file.number(4, count);
        for count in [2, 0, 7] {
            let options = dropped(&file, count);
            file.enhanced(0, S, 3, &[1, 2, 3], &options);
        }
        assert_eq!(counts(&file.bytes).capture_dropped, Some(9), "they are not cumulative");
        let options = dropped(&file, 100);
        file.enhanced(1, S, 4, &[1, 2, 3, 4], &options);
        file.obsolete(1, S, 1, &[1]); // three were dropped before it
        assert_eq!(counts(&file.bytes).capture_dropped, Some(112));
        // What statistics tell of an interface takes the place of what its packets told.
        file.statistics(0, &file.number(OSDROP, 20));
        assert_eq!(counts(&file.bytes).capture_dropped, Some(123));
        let options = dropped(&file, 5);
        file.enhanced(0, S, 1, &[1], &options);
        file.enhanced(1, S, 1, &[1], &options);
        assert_eq!(counts(&file.bytes).capture_dropped, Some(128));
    }
}

#[test]
fn drops_beyond_all_numbers_stay_at_the_last_one() {
    let mut file = PcapNgWriter::new(false);
    file.interface(1, 0, &[]);
    file.interface(1, 0, &[]);
    file.statistics(0, &[file.number(IFDROP, u64::MAX), file.number(OSDROP, 1)].concat());
    file.statistics(1, &file.number(IFDROP, 5));
    assert_eq!(counts(&file.bytes).capture_dropped, Some(u64::MAX));
    file.statistics(0, &[file.number(IFDROP, 1), file.number(OSDROP, 1)].concat());
    assert_eq!(counts(&file.bytes).capture_dropped, Some(7), "the sum itself is exact");
}

#[test]
fn statistics_tell_when_a_capture_began_and_ended() {
    for big_endian in [false, true] {
        let mut file = PcapNgWriter::new(big_endian);
        let nanoseconds = file.option(9, &[9]);
        file.interface(1, 0, &nanoseconds);
        let later = file.option(14, &file.order.i64(1_000));
        file.interface(1, 0, &later);
        assert_eq!(counts(&file.bytes).captured_ns, (None, None));
        file.statistics(0, &file.stamp(START, 1_700_000_000 * S + 1));
        assert_eq!(counts(&file.bytes).captured_ns, (Some(1_700_000_000 * S + 1), None));
        let options =
            [file.stamp(START, 1_699_998_999 * 1_000_000 + 7), file.stamp(END, 1_700_000_000 * 1_000_000)];
        file.statistics(1, &options.concat());
        file.statistics(0, &file.stamp(END, 1_700_000_500 * S));
        let (began, ended) = (1_699_999_999 * S + 7_000, 1_700_001_000 * S);
        assert_eq!(counts(&file.bytes).captured_ns, (Some(began), Some(ended)));
        // No time is none: neither zero nor what 64 bits of nanoseconds cannot say.
        file.statistics(0, &[file.stamp(START, 0), file.stamp(END, 0)].concat());
        file.statistics(1, &file.stamp(END, u64::MAX));
        assert_eq!(counts(&file.bytes).captured_ns, (Some(began), Some(ended)));
        assert_eq!(counts(&file.bytes).options_malformed, 0);
    }
}

#[test]
fn options_that_lie_are_counted_and_end_no_reading() {
    let mut file = PcapNgWriter::new(false);
    file.interface(1, 0, &[]);
    let too_short = file.option(IFDROP, &[1, 2, 3, 4]);
    let good = file.number(OSDROP, 6);
    file.statistics(0, &[&good[..], &too_short].concat());
    assert_eq!((counts(&file.bytes).options_malformed, counts(&file.bytes).capture_dropped), (1, Some(6)));
    file.statistics(0, &[&[7, 0, 200, 0, 9, 9, 9, 9][..]].concat());
    assert_eq!(counts(&file.bytes).options_malformed, 2);
    // Of an interface that is not described, and too short for its fields.
    file.statistics(1, &good);
    file.block(5, &[0; 4]);
    file.block(5, &[]);
    let found = counts(&file.bytes);
    assert_eq!((found.options_malformed, found.blocks_skipped, found.capture_dropped), (2, 3, Some(6)));
    for options in [
        file.option(2, &[1, 0]),
        file.option(4, &[0; 4]),
        vec![2, 0, 200, 0],
        [file.option(2, &[2, 0, 0, 0]), file.option(4, &[0; 7])].concat(),
    ] {
        file.enhanced(0, 1, 4, &[1; 4], &options);
    }
    let (packets, end) = read_all(&file.bytes);
    end.unwrap();
    let directions: Vec<_> = packets.iter().map(|packet| packet.direction).collect();
    assert_eq!(directions, [None, None, None, Some(Direction::Sent)], "what came before the fault holds");
    assert_eq!((counts(&file.bytes).options_malformed, counts(&file.bytes).capture_dropped), (6, Some(6)));
}

#[test]
fn the_flags_of_a_packet_block_tell_which_way_it_went_and_its_number_where() {
    for big_endian in [false, true] {
        let mut file = PcapNgWriter::new(big_endian);
        for _ in 0..3 {
            file.interface(1, 0, &[]);
        }
        let cases = [
            (0, 0u32, None),
            (1, 1, Some(Direction::Received)),
            (2, 2, Some(Direction::Sent)),
            (0, 3, None),
            (1, 0xffff_fffd, Some(Direction::Received)),
            (2, 0x0000_0104, None),
        ];
        for (interface, word, _) in cases {
            let options =
                [file.option(1, b"why"), file.option(2, &file.order.u32(word)), file.option(0, &[])];
            file.enhanced(interface, S, 3, &[1, 2, 3], &options.concat());
        }
        file.obsolete(2, S, 1, &[1]);
        file.simple(1, &[1]);
        let (packets, end) = read_all(&file.bytes);
        end.unwrap();
        let found: Vec<_> = packets.iter().map(|packet| (packet.interface, packet.direction)).collect();
        let expected = cases.iter().map(|(interface, _, direction)| (*interface, *direction));
        assert_eq!(found, expected.chain([(2, None), (0, None)]).collect::<Vec<_>>());
    }
}

#[test]
fn stamps_of_classic_pcap_that_cannot_be_believed_are_counted() {
    for (big_endian, nanoseconds) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut file = PcapWriter::new(big_endian, nanoseconds, 1, 0);
        let second = if nanoseconds { 1_000_000_000 } else { 1_000_000 };
        let stamps = [
            (0, 0, 0),
            (0, 1, S / u64::from(second)),
            (1, 0, S),
            (5, second - 1, 5 * S + u64::from(second - 1) * (S / u64::from(second))),
            (5, second, 6 * S),
            (5, u32::MAX, 5 * S + u64::from(u32::MAX) * (S / u64::from(second))),
            (0x7fff_ffff, 0, 0x7fff_ffff * S),
            (0x8000_0000, 0, 0x8000_0000 * S),
            (0xbfff_ffff, 0, 0xbfff_ffff * S),
            (0xc000_0000, 0, 0),
            (u32::MAX, second - 1, 0),
        ];
        for (seconds, fraction, _) in stamps {
            file.packet(seconds, fraction, 60, &[1]);
        }
        let (packets, end) = read_all(&file.bytes);
        end.unwrap();
        let times: Vec<u64> = packets.iter().map(|packet| packet.time_ns).collect();
        assert_eq!(times, stamps.map(|(_, _, time_ns)| time_ns));
        let found = counts(&file.bytes);
        let expected = CaptureCounts {
            records: 11,
            zero_time: 1,
            before_1970: 2,
            long_fraction: 2,
            ..Default::default()
        };
        assert_eq!(found, expected);
    }
}

/// All records that came, in order.
#[derive(Default, Clone)]
struct Collect(Vec<Record>);

impl Report for Collect {
    fn merge(&mut self, other: Collect) {
        self.0.extend(other.0);
    }
}

impl Observer for Collect {
    type Report = Collect;

    fn interest(&self) -> Interest {
        Interest { duplicates: true, ..Interest::ALL }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        self.0.extend(batch.iter().map(|(record, _)| *record));
        Ok(())
    }

    fn report(&self) -> Collect {
        self.clone()
    }
}

/// Feeds one capture, and returns its report and the sightings: time, flags.
fn fed(path: &Path) -> (CaptureReport, Vec<(u64, u32)>) {
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    let collected = builder.observer("collect", |_| Collect::default());
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("ingest").unwrap();
    let input = CaptureInput { path: path.to_owned(), vantage: "here".to_owned() };
    let options = FeedOptions { digest: PacketDigest::new(Coverage::Whole), survey: None };
    let symbols = Arc::new(Symbols::new());
    let pump = || {
        pipeline.poll();
    };
    let mut fed = feed(&[input], options, &mut emitter, &symbols, &AtomicU64::new(0), pump).unwrap();
    drop(emitter);
    let snapshot = pipeline.shutdown();
    let records = &snapshot.report(collected).unwrap().0;
    let seen = |record: &Record| (record.time_ns(), record.payload::<PacketSeen>().unwrap().flags);
    let report = fed.captures.pop().unwrap();
    assert!(report.error.is_none(), "{:?}", report.error);
    let used = report.counts.records - report.non_ip - report.refused - report.untimed;
    assert_eq!((used, fed.sent.accepted), (records.len() as u64, used), "every frame has its count");
    (report, records.iter().map(seen).collect())
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures").join(name)
}

/// Returns how many packets were used and left out for their time, and the counts of what the stamps are.
fn stamps(name: &str) -> (usize, u64, [u64; 5]) {
    let (report, seen) = fed(&file(name));
    assert_eq!(report.has_usable_packets(), !seen.is_empty());
    let times = seen.iter().map(|(time_ns, _)| *time_ns);
    assert_eq!(
        report.time_ns,
        times.clone().min().zip(times.max()),
        "{name}: times are those of packets used"
    );
    assert_eq!(scan(file(name)).unwrap().time_ns, report.time_ns, "{name}");
    let c = report.counts;
    (seen.len(), report.untimed, [c.without_time, c.zero_time, c.before_1970, c.long_fraction, c.far_future])
}

#[test]
fn packets_without_a_time_are_left_out_and_counted() {
    assert_eq!(stamps("base_b.pcap"), (40, 0, [0, 0, 0, 0, 0]));
    assert_eq!(stamps("c04_spb.pcapng"), (0, 40, [40, 0, 0, 0, 0]));
    assert_eq!(stamps("no_times/client.pcapng"), (0, 209, [209, 0, 0, 0, 0]));
    assert_eq!(stamps("no_times/server.pcapng"), (0, 207, [207, 0, 0, 0, 0]));
    assert_eq!(stamps("c05_zero_time.pcap"), (0, 40, [0, 40, 0, 0, 0]));
    assert_eq!(stamps("c14_neg.pcap"), (36, 4, [0, 0, 4, 0, 0]));
}

#[test]
fn stamps_that_are_only_doubtful_are_counted_and_their_packets_go_on() {
    // The first fraction is 0, in whichever unit.
    assert_eq!(stamps("c15_ns_in_us.pcap"), (40, 0, [0, 0, 0, 39, 0]));
    assert_eq!(stamps("c23_unpadded_name.pcapng"), (40, 0, [0, 0, 0, 0, 40]));
    assert_eq!(stamps("c24_ns_no_tsresol.pcapng"), (40, 0, [0, 0, 0, 0, 40]));
}

#[test]
fn a_capture_without_a_usable_packet_is_known_as_such() {
    let (report, seen) = fed(&file("c44_header_only.pcap"));
    assert_eq!((report.has_usable_packets(), report.counts.records, seen.len()), (false, 0, 0));
    let (report, seen) = fed(&file("c64_arp_only.pcap"));
    assert_eq!((report.has_usable_packets(), report.non_ip, seen.len()), (false, 40, 0));
}

#[test]
fn drops_of_real_captures_are_those_that_their_statistics_tell() {
    let dropped = |name| fed(&file(name)).0.counts.capture_dropped;
    assert_eq!(dropped("c41_capture_drops.pcapng"), Some(5));
    assert_eq!(dropped("capture_drops/client.pcapng"), Some(0));
    assert_eq!(dropped("capture_drops/server.pcapng"), Some(21));
    assert_eq!(dropped("no_times/client.pcapng"), None);
    assert_eq!(dropped("base_b.pcap"), None);
}

#[test]
fn sightings_have_the_hops_left_the_direction_and_the_interface() {
    /// How often (TTL, sent, received, interface) was seen.
    fn seen(path: &Path) -> Vec<((u8, bool, bool, u8), usize)> {
        let mut seen: Vec<_> = fed(path).1.iter().map(|(_, word)| *word).collect();
        seen.sort_unstable_by_key(|word| (flags::is_sent(*word), flags::interface(*word), flags::ttl(*word)));
        let facts = |word: &u32| {
            let (sent, received) = (flags::is_sent(*word), flags::is_received(*word));
            (flags::ttl(*word), sent, received, flags::interface(*word))
        };
        let chunks = seen.chunk_by(|a, b| facts(a) == facts(b));
        chunks.map(|same| (facts(&same[0]), same.len())).collect()
    }
    assert_eq!(seen(&file("base_b.pcap")), [((60, false, false, 0), 20), ((64, false, false, 0), 20)]);
    assert_eq!(seen(&file("c30_sll.pcap")), [((64, false, true, 0), 40)]);
    assert_eq!(seen(&file("c30_sll2.pcap")), [((64, false, true, 2), 40)]);
    assert_eq!(
        seen(&file("c31d_two_ifs.pcapng")),
        [((64, false, false, 0), 40), ((64, false, false, 1), 40)]
    );
    assert_eq!(
        seen(&file("any_router/router.pcap")),
        [
            ((64, false, true, 2), 60),
            ((64, false, true, 3), 60),
            ((63, true, false, 2), 60),
            ((63, true, false, 3), 60)
        ]
    );

    // The flags of a packet block count before the cooked header behind them, its interface index before the block's number.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made.pcapng");
    let mut made = PcapNgWriter::new(false);
    for _ in 0..66 {
        made.interface(1, 0, &[]);
    }
    made.interface(276, 0, &[]);
    let outbound = [made.option(2, &2u32.to_le_bytes()), made.option(0, &[])].concat();
    let frame = ethernet(&[], &ipv4(17, 0, &[], &udp(b"first")));
    made.enhanced(65, S, frame.len() as u32, &frame, &outbound);
    let cooked = [8, 0, 0, 0, 0, 0, 0, 0x45, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    let frame = [&cooked[..], &ipv4(17, 0, &[], &udp(b"second"))].concat();
    made.enhanced(66, S, frame.len() as u32, &frame, &outbound);
    std::fs::write(&path, &made.bytes).unwrap();
    assert_eq!(seen(&path), [((63, true, false, 1), 1), ((63, true, false, 5), 1)]);
}

#[test]
fn the_digest_does_not_know_what_the_capture_tells() {
    let ids = |name| {
        let mut reader = CaptureReader::open(file(name)).unwrap();
        let mut ids = Vec::new();
        while let Some(frame) = reader.next().unwrap() {
            let panther_events::ingest::Decoded::Ip(packet) = frame.decode() else {
                panic!("no IP in {name}")
            };
            ids.push(PacketDigest::new(Coverage::Whole).digest(&packet).unwrap());
        }
        ids
    };
    let plain = ids("base_b.pcap");
    for name in ["c30_sll.pcap", "c30_sll2.pcap", "c04_spb.pcapng", "c05_zero_time.pcap"] {
        let mut found = ids(name);
        let mut plain = plain.clone();
        found.sort_unstable_by_key(|id| id.bits());
        plain.sort_unstable_by_key(|id| id.bits());
        assert_eq!(found, plain, "{name}");
    }
}
