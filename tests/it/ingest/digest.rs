//! The digest is what its documentation defines, is blind to what routers change, and sees all else.
#![cfg(feature = "pcap")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use crate::support::captures::PcapWriter;
use crate::support::captures::packets::*;
use crate::support::random::Rng;
use panther_events::event::EventId;
use panther_events::ingest::{
    Coverage, Decoded, DigestKey, IpPacket, LinkType, PacketDigest, Scan, TooShort, common_coverage, decode,
    scan,
};
use std::collections::HashSet;
use xxhash_rust::xxh3::xxh3_128;

const WHOLE: PacketDigest = PacketDigest::new(Coverage::Whole);

/// The definition in the module's documentation, written down without regard to speed.
fn defined(packet: &IpPacket<'_>, prefix: usize, mask_l4_checksum: bool) -> EventId {
    let mut m = masked(packet, prefix, mask_l4_checksum);
    if m.len() <= 128 {
        return EventId::from_hash(xxh3_128(&m));
    }
    let rest = xxh3_128(&m[112..]);
    m.truncate(112);
    m.extend(rest.to_le_bytes());
    EventId::from_hash(xxh3_128(&m))
}

/// The covered bytes, without what routers change.
fn masked(packet: &IpPacket<'_>, prefix: usize, mask_l4_checksum: bool) -> Vec<u8> {
    let mut m = packet.bytes()[..prefix.min(packet.ip_len() as usize)].to_vec();
    let mut zero = |places: &[usize]| {
        for &place in places {
            if place < m.len() {
                m[place] = 0;
            }
        }
    };
    if packet.version() == 4 {
        zero(&[1, 8, 10, 11]);
    } else {
        zero(&[1, 2, 3, 7]);
    }
    let checksum_at = match packet.protocol() {
        6 => packet.upper_at() + 16,
        17 => packet.upper_at() + 6,
        _ => usize::MAX - 2,
    };
    if mask_l4_checksum && !packet.flow().is_fragment() && checksum_at + 1 < 112 {
        zero(&[checksum_at, checksum_at + 1]);
    }
    if packet.version() == 6 {
        m[0] = 0x60;
    }
    m
}

#[test]
fn the_digest_is_the_documented_one() {
    let mut random = Rng::seeded();
    for _ in 0..5_000 {
        let bytes = random_packet(&mut random);
        let packet = ip(LinkType::RAW, &bytes);
        for mask in [false, true] {
            let whole = WHOLE.mask_l4_checksum(mask);
            assert_eq!(whole.digest(&packet), Ok(defined(&packet, usize::MAX, mask)));
            let prefix = 60 + random.index(200);
            let digest = PacketDigest::new(Coverage::Prefix(prefix as u32)).mask_l4_checksum(mask);
            assert_eq!(digest.digest(&packet), Ok(defined(&packet, prefix, mask)), "prefix {prefix}");
        }
    }
}

/// SipHash-2-4-128 of the masked bytes, all at once.
#[test]
fn a_keyed_digest_is_the_documented_one_and_another_under_each_key() {
    use siphasher::sip128::{Hasher128, SipHasher24};
    use std::hash::Hasher;
    let mut random = Rng::seeded();
    let mut known = HashSet::new();
    for round in 0..2_000 {
        let bytes = random_packet(&mut random);
        let packet = ip(LinkType::RAW, &bytes);
        let key: [u8; 16] = std::array::from_fn(|_| random.index(256) as u8);
        let prefix = 60 + random.index(200);
        let digest = PacketDigest::new(Coverage::Prefix(prefix as u32)).mask_l4_checksum(round % 2 == 0);
        let mut hasher = SipHasher24::new_with_key(&key);
        hasher.write(&masked(&packet, prefix, round % 2 == 0));
        let expected = EventId::from_hash(hasher.finish128().as_u128());
        let keyed = digest.keyed(DigestKey::from_bytes(key));
        assert_eq!(keyed.digest(&packet), Ok(expected));
        for other in [digest, digest.keyed(DigestKey::random()), digest.keyed(DigestKey::random())] {
            known.insert(other.digest(&packet).unwrap());
        }
        known.insert(expected);
    }
    assert!(known.len() > 7_990, "{}", known.len());
}

#[test]
fn a_key_is_shown_only_where_it_is_asked_for_and_read_as_it_is_shown() {
    let text = "000102030405060708090a0b0c0d0e0f";
    let key = DigestKey::from_bytes(std::array::from_fn(|at| at as u8));
    assert_eq!((key.to_string(), text.parse()), (text.to_owned(), Ok(key)));
    assert!(!format!("{key:?}").contains('0'));
    for wrong in
        ["", "00", "000102030405060708090a0b0c0d0e0g", "+00102030405060708090a0b0c0d0e0f", &text.repeat(2)]
    {
        assert!(wrong.parse::<DigestKey>().is_err(), "{wrong}");
    }
}

#[test]
fn the_lengths_around_the_limit_of_one_call_all_differ() {
    let mut ids = HashSet::new();
    for len in 90..140 {
        let bytes = ipv4(17, 0, &[], &udp(&vec![0; len - 28]));
        let packet = ip(LinkType::RAW, &bytes);
        let id = WHOLE.digest(&packet).unwrap();
        assert_eq!(id, defined(&packet, usize::MAX, false));
        assert!(ids.insert(id));
        // An equal prefix of a longer packet is another packet.
        assert!(ids.insert(PacketDigest::new(Coverage::Prefix(80)).digest(&packet).unwrap()));
    }
}

#[test]
fn every_bit_counts_except_those_that_routers_change() {
    for data_len in [10, 90, 300] {
        for bytes in [ipv4(17, 0, &[], &udp(&vec![7; data_len])), ipv6(6, &tcp(16, &vec![7; data_len]))] {
            let four = bytes[0] >> 4 == 4;
            let id = WHOLE.digest(&ip(LinkType::RAW, &bytes)).unwrap();
            let mut blind = Vec::new();
            for bit in 0..bytes.len() * 8 {
                let mut other = bytes.clone();
                other[bit / 8] ^= 0x80 >> (bit % 8);
                let Decoded::Ip(packet) = decode(LinkType::RAW, &other) else { continue };
                match WHOLE.digest(&packet) {
                    Ok(found) if found == id => blind.push(bit),
                    Ok(_) => {}
                    Err(TooShort { captured, covered }) => assert!(captured < covered),
                }
            }
            let expected: Vec<usize> = if four {
                (8..16).chain(64..72).chain(80..96).collect()
            } else {
                (4..32).chain(56..64).collect()
            };
            assert_eq!(blind, expected);
        }
    }
}

#[test]
fn masked_checksums_are_those_of_tcp_and_udp_only() {
    let digest = WHOLE.mask_l4_checksum(true);
    let same = |bytes: &[u8], at: usize| {
        let mut other = bytes.to_vec();
        other[at] ^= 0xff;
        digest.digest(&ip(LinkType::RAW, bytes)) == digest.digest(&ip(LinkType::RAW, &other))
    };
    let options = [1; 40];
    for (bytes, at) in [
        (ipv4(17, 0, &[], &udp(&[7; 200])), 26),
        (ipv4(17, 0x2000, &options, &udp(&[7; 20])), 66),
        (ipv6(6, &tcp(16, &[7; 200])), 56),
        (ipv6(60, &extension(60, 17, 8, &udp(b"x"))), 54),
    ] {
        assert!(same(&bytes, at) && same(&bytes, at + 1));
        assert!(!same(&bytes, at - 1) && !same(&bytes, at + 2));
    }
    // A later fragment has no checksum there, ICMP is not masked.
    assert!(!same(&ipv4(17, 5, &[], &udp(&[7; 20])), 26));
    assert!(!same(&ipv6(58, &[128, 0, 1, 1, 0, 0, 0, 0]), 42));
}

#[test]
fn the_link_layer_does_not_reach_the_digest() {
    let packet = ipv4(17, 0, &[], &udp(&[7; 10]));
    let id = WHOLE.digest(&ip(LinkType::RAW, &packet));
    for tags in [&[][..], &[(0x8100, 9)]] {
        let mut frame = ethernet(tags, &packet);
        assert_eq!(WHOLE.digest(&ip(LinkType::ETHERNET, &frame)), id);
        frame.extend([0x55; 8]);
        assert_eq!(WHOLE.digest(&ip(LinkType::ETHERNET, &frame)), id);
    }
}

#[test]
fn a_cut_packet_is_refused_unless_the_cut_is_not_covered() {
    let bytes = ipv6(17, &udp(&[7; 400]));
    let whole = ip(LinkType::RAW, &bytes);
    let cut = ip(LinkType::RAW, &bytes[..146]);
    assert_eq!(WHOLE.digest(&cut), Err(TooShort { captured: 146, covered: 448 }));
    let prefix = PacketDigest::new(Coverage::Prefix(146));
    assert_eq!(prefix.digest(&cut), prefix.digest(&whole));
    assert!(prefix.digest(&cut).is_ok());
    let longer = PacketDigest::new(Coverage::Prefix(147));
    assert_eq!(longer.digest(&cut), Err(TooShort { captured: 146, covered: 147 }));
    assert_eq!(PacketDigest::new(Coverage::Prefix(3)).coverage(), Coverage::Prefix(60));
    assert_eq!(WHOLE.coverage(), Coverage::Whole);
}

#[test]
fn the_flow_of_a_digest_is_the_same_in_every_capture_that_is_long_enough() {
    // The ports lie behind the covered 60 bytes: a capture that has them must not name another flow.
    let bytes = ipv6(60, &extension(60, 17, 24, &udp(&[7; 40])));
    let prefix = PacketDigest::new(Coverage::Prefix(60));
    let (long, short) = (ip(LinkType::RAW, &bytes), ip(LinkType::RAW, &bytes[..60]));
    assert_ne!(long.flow(), short.flow());
    assert_eq!(prefix.flow(&long), prefix.flow(&short));
    assert_eq!(prefix.digest(&long), prefix.digest(&short));
    assert_eq!(WHOLE.flow(&long), long.flow());
}

#[test]
fn a_scan_finds_the_coverage_that_fits_all_captures() {
    let folder = tempfile::tempdir().unwrap();
    let packet = ethernet(&[], &ipv4(17, 0, &[], &udp(&[7; 300])));
    let write = |name: &str, cuts: &[usize]| {
        let mut file = PcapWriter::new(false, true, 1, 0);
        for (n, &cut) in cuts.iter().enumerate() {
            file.packet(10 - n as u32, 0, packet.len() as u32, &packet[..cut]);
        }
        // Padding that a snapshot length cuts off is no loss, ARP no IP packet.
        let small = ethernet(&[], &ipv4(17, 0, &[], &udp(b"")));
        file.packet(5, 0, 60, &small);
        file.packet(5, 0, 60, &[0; 20]);
        let path = folder.path().join(name);
        std::fs::write(&path, &file.bytes).unwrap();
        scan(&path).unwrap()
    };
    let whole = write("whole", &[packet.len(); 2]);
    assert_eq!((whole.ip_packets, whole.other_frames, whole.truncated), (3, 1, 0));
    assert_eq!(whole.time_ns, Some((5_000_000_000, 10_000_000_000)));
    assert_eq!(whole.counts.records, 4);
    let cut = write("cut", &[packet.len(), 200, 110, 160]);
    assert_eq!((cut.truncated, cut.cut_len_min), (3, Some(96)));
    let very_cut = write("very-cut", &[50]);
    assert_eq!(common_coverage(&[]), Coverage::Whole);
    assert_eq!(common_coverage(&[whole, whole]), Coverage::Whole);
    assert_eq!(common_coverage(&[whole, cut]), Coverage::Prefix(96));
    assert_eq!(common_coverage(&[whole, cut, very_cut]), Coverage::Prefix(60));

    // A header that announces more than its frame had is no reason to compare less of all others.
    let mut liar = PcapWriter::new(false, true, 1, 0);
    let mut lie = packet.clone();
    lie[16] = 0xff;
    liar.packet(1, 0, lie.len() as u32, &lie);
    let path = folder.path().join("liar");
    std::fs::write(&path, &liar.bytes).unwrap();
    let found: Scan = scan(&path).unwrap();
    assert_eq!((found.overlong, found.truncated, found.cut_len_min), (1, 0, None));
    assert_eq!(common_coverage(&[found]), Coverage::Whole);
}
