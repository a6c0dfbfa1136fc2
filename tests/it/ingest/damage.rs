//! No damage to a capture makes the reader panic, invent packets before the damage, or lose whole ones.
#![cfg(feature = "pcap")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use crate::support::captures::{Packet, read_all, rich_pcapng, small_pcap};
use crate::support::random::Rng;
use panther_events::ingest::capture::CaptureFault;
use panther_events::ingest::{Coverage, Decoded, Frame, PacketDigest};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, PcapBlockOwned, PcapError};

fn fixtures() -> Vec<Vec<u8>> {
    vec![small_pcap(false, true), small_pcap(true, false), rich_pcapng()]
}

#[test]
fn every_cut_delivers_all_whole_packets_and_says_where_it_is() {
    for whole in fixtures() {
        let (all, end) = read_all(&whole);
        end.unwrap();
        // Where each packet's record ends: at the start of the next thing in the file. Blocks between packets
        // are handled by asking only that a packet never appears before its last byte is there.
        for cut in 0..whole.len() {
            let (packets, end) = read_all(&whole[..cut]);
            assert_eq!(packets[..], all[..packets.len()], "cut at {cut}");
            if let Some(next) = all.get(packets.len()) {
                let record_len = record_len(&whole, next);
                assert!(next.offset as usize + record_len > cut, "cut at {cut} lost a whole packet");
            }
            match end {
                Ok(()) => {}
                Err(error) => match error.fault() {
                    CaptureFault::Empty => assert_eq!(cut, 0),
                    CaptureFault::Truncated { end, missing, .. } => {
                        assert!(error.offset() <= cut as u64 && *end == cut as u64 && *missing > 0);
                    }
                    other => panic!("cut at {cut}: {other}"),
                },
            }
        }
    }
}

/// Returns the length of a packet's record with its headers.
fn record_len(file: &[u8], packet: &Packet) -> usize {
    let at = packet.offset as usize;
    if file[0] != 0x0a {
        return 16 + packet.data.len();
    }
    let field: [u8; 4] = file[at + 4..at + 8].try_into().unwrap();
    u32::from_le_bytes(field).min(u32::from_be_bytes(field)) as usize
}

#[test]
fn a_cut_between_records_is_a_clean_end() {
    let whole = small_pcap(false, false);
    let (all, _) = read_all(&whole);
    for (n, packet) in all.iter().enumerate() {
        let (packets, end) = read_all(&whole[..packet.offset as usize]);
        assert!(end.is_ok());
        assert_eq!(packets.len(), n);
    }
}

/// Where records and blocks end, by the lengths in the file alone.
fn ends(file: &[u8], big_endian: bool) -> Vec<usize> {
    let number = |at: usize, big_endian: bool| {
        let bytes: [u8; 4] = file[at..at + 4].try_into().unwrap();
        (if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }) as usize
    };
    let is_ng = file.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]);
    let (mut ends, mut big_endian) = (vec![if is_ng { 0 } else { 24 }], big_endian);
    while let Some(at) = ends.last().copied().filter(|at| *at < file.len()) {
        if is_ng && file[at..at + 4] == [0x0a, 0x0d, 0x0d, 0x0a] {
            big_endian = file[at + 8] == 0x1a;
        }
        let len = if is_ng { number(at + 4, big_endian) } else { 16 + number(at + 8, big_endian) };
        ends.push(at + len);
    }
    // No byte at all is no capture.
    ends.retain(|end| *end > 0);
    ends
}

/// A cut is silent at the end of a record or block and nowhere else; everywhere else it is named exactly.
#[test]
fn a_cut_is_silent_between_records_and_blocks_only() {
    for (whole, big_endian) in [
        (small_pcap(false, true), false),
        (small_pcap(true, false), true),
        (rich_pcapng(), false),
        (rich_pcapng().repeat(2), false),
    ] {
        let ends = ends(&whole, big_endian);
        assert!(ends.len() > 6 && ends.last() == Some(&whole.len()));
        let (all, _) = read_all(&whole);
        for cut in 1..whole.len() {
            let (packets, end) = read_all(&whole[..cut]);
            let before = all.iter().filter(|p| p.offset as usize + record_len(&whole, p) <= cut).count();
            assert_eq!(packets[..], all[..before], "cut at {cut}: all whole packets, and no other");
            if ends.contains(&cut) {
                assert!(end.is_ok(), "cut at {cut}: {end:?}");
                continue;
            }
            let error = end.expect_err(&format!("cut at {cut}: nothing was told"));
            let CaptureFault::Truncated { end, missing, .. } = error.fault() else {
                panic!("cut at {cut}: {error}")
            };
            let from = ends.iter().rfind(|end| **end < cut).copied().unwrap_or(0);
            let through = ends.iter().find(|end| **end > cut).copied().unwrap();
            assert_eq!((error.offset(), *end), (from as u64, cut as u64), "cut at {cut}");
            // What is missing of the part that was being read: of a header, or of all.
            assert!((1..=(through - cut) as u64).contains(missing), "cut at {cut}: {missing} missing");
            let (header, needed) = if whole[0] == 0x0a { (8, 12) } else { (16, 16) };
            let of_section = whole[from..].starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]);
            if cut - from >= if of_section { needed } else { header } && from > 0 {
                assert_eq!(*missing, (through - cut) as u64, "cut at {cut}");
            }
        }
    }
}

#[test]
fn random_damage_gives_packets_or_a_typed_error() {
    let mut random = Rng::seeded();
    let digest = PacketDigest::new(Coverage::Whole).mask_l4_checksum(true);
    for whole in fixtures() {
        let (all, _) = read_all(&whole);
        for _ in 0..6_000 {
            let mut bytes = whole.clone();
            let mut first = bytes.len();
            for _ in 0..=random.index(4) {
                let at = random.index(bytes.len());
                first = first.min(at);
                match random.index(3) {
                    0 => bytes[at] ^= 1 << random.index(8),
                    1 => bytes[at] = random.next() as u8,
                    _ => bytes[at] = [0, 0xff, 0x7f, 0x80][random.index(4)],
                }
            }
            if random.one_in(4) {
                bytes.truncate(random.index(bytes.len()));
            }
            let (packets, end) = read_all(&bytes);
            for packet in &packets {
                let Packet { time_ns, wire_len, link, direction, interface, ref data, offset } = *packet;
                let frame = Frame { time_ns, wire_len, link, direction, interface, data, offset };
                if let Decoded::Ip(ip) = frame.decode() {
                    let _ = (digest.digest(&ip), ip.flow().to_string());
                }
            }
            // What lies wholly before the first damaged byte is delivered as it was.
            let untouched = first.min(bytes.len());
            let sound = all.iter().filter(|p| p.offset as usize + record_len(&whole, p) <= untouched).count();
            assert!(packets.len() >= sound, "{} of {sound} packets before byte {untouched}", packets.len());
            assert_eq!(packets[..sound], all[..sound]);
            if let Err(error) = end {
                assert!(error.offset() <= bytes.len() as u64);
                assert!(!matches!(error.fault(), CaptureFault::Io(_)), "{error}");
            }
        }
    }
}

#[test]
fn another_reader_finds_the_same_packets() {
    for whole in fixtures() {
        // The other reader knows no obsolete Packet Blocks.
        let obsolete = |packet: &Packet| whole[0] == 0x0a && whole[packet.offset as usize] == 2;
        let ours: Vec<(u32, Vec<u8>)> = read_all(&whole)
            .0
            .into_iter()
            .filter(|packet| !obsolete(packet))
            .map(|packet| (packet.wire_len, packet.data))
            .collect();
        assert_eq!(ours, others(&whole));
    }
}

/// Reads a capture with `pcap-parser`: lengths on the wire and data.
fn others(whole: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut reader = pcap_parser::create_reader(65_536, std::io::Cursor::new(whole.to_vec())).unwrap();
    let mut packets = Vec::new();
    loop {
        match reader.next() {
            Ok((consumed, block)) => {
                match block {
                    PcapBlockOwned::Legacy(b) => packets.push((b.origlen, b.data.to_vec())),
                    PcapBlockOwned::NG(Block::EnhancedPacket(b)) => {
                        packets.push((b.orig_len(), b.packet_data().to_vec()));
                    }
                    PcapBlockOwned::NG(Block::SimplePacket(b)) => {
                        packets.push((b.orig_len(), b.packet_data().to_vec()));
                    }
                    _ => {}
                }
                reader.consume(consumed);
            }
            Err(PcapError::Eof) => return packets,
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(error) => panic!("{error:?}"),
        }
    }
}
