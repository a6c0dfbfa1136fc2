//! Every link layer leads to the IP packet in it, and the packet to its flow; `etherparse` agrees.
#![cfg(feature = "pcap")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use crate::support::captures::packets::*;
use crate::support::random::Rng;
use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use panther_events::ingest::packet::{Direction, Malformed, PacketFlags, decode_cut};
use panther_events::ingest::{Decoded, FlowKey, LinkType, decode};
use std::net::IpAddr;

#[test]
fn every_link_layer_leads_to_the_same_packet() {
    for packet in [ipv4(17, 0, &[], &udp(b"data")), ipv6(17, &udp(b"data"))] {
        let four = packet[0] >> 4 == 4;
        let ether_type = ether_type(&packet);
        let family = if four { [2, 0, 0, 0] } else { [30, 0, 0, 0] };
        let swapped = if four { [0, 0, 0, 2] } else { [0, 0, 0, 10] };
        let sll = [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &ether_type].concat();
        let sll2 = [&ether_type[..], &[0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0]].concat();
        let links: [(u16, &[u8]); 11] = [
            (1, &ethernet(&[], &packet)[..14]),
            (113, &sll),
            (276, &sll2),
            (101, &[]),
            (12, &[]),
            (14, &[]),
            (if four { 228 } else { 229 }, &[]),
            (0, &family),
            (0, &swapped),
            (108, &family),
            (108, &swapped),
        ];
        for (link, header) in links {
            // Padding behind the packet must not be taken for a part of it.
            let frame = [header, &packet, &[0xee; 9]].concat();
            let found = ip(LinkType(link), &frame);
            assert_eq!(found.bytes(), &packet[..], "link {link}");
            assert_eq!(found.ip_len() as usize, packet.len());
            assert_eq!(found.flow().ports(), Some((5001, 443)));
            assert_eq!((found.flags(), found.vlan()), (PacketFlags::default(), None));
            for cut in 0..header.len() {
                let cut = decode(LinkType(link), &frame[..cut]);
                assert!(matches!(cut, Decoded::Malformed(Malformed::LinkHeaderCut)), "{cut:?}");
            }
        }
    }
}

#[test]
fn a_cooked_header_tells_which_way_a_packet_went_and_where() {
    let packet = ipv4(17, 0, &[], &udp(b"data"));
    let directions = [
        (0, Some(Direction::Received)),
        (1, Some(Direction::Received)),
        (2, Some(Direction::Received)),
        (3, Some(Direction::Received)),
        (4, Some(Direction::Sent)),
        (5, None),
        (6, None),
        (255, None),
    ];
    for (kind, direction) in directions {
        let sll = [&[0, kind, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0][..], &packet].concat();
        let found = ip(LinkType::LINUX_SLL, &sll);
        assert_eq!((found.direction(), found.interface()), (direction, None), "type {kind}");
        let sll2 = [&[8, 0, 0, 0, 1, 2, 3, 4, 0, 1, kind, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &packet].concat();
        let found = ip(LinkType::LINUX_SLL2, &sll2);
        assert_eq!((found.direction(), found.interface()), (direction, Some(0x0102_0304)), "type {kind}");
        // Behind a VLAN tag, too.
        let tagged =
            [&[0, kind, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x81, 0, 0, 7, 8, 0][..], &packet].concat();
        let found = ip(LinkType::LINUX_SLL, &tagged);
        assert_eq!((found.direction(), found.vlan()), (direction, Some(7)), "type {kind}");
    }
    // The type has 16 bits in version 1.
    let sll = [&[1, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0][..], &packet].concat();
    assert_eq!(ip(LinkType::LINUX_SLL, &sll).direction(), None);
    let frame = ethernet(&[], &packet);
    let found = ip(LinkType::ETHERNET, &frame);
    assert_eq!((found.direction(), found.interface()), (None, None));
}

#[test]
fn the_hops_left_are_read_of_both_ip_versions() {
    let (mut four, mut six) = (ipv4(17, 0, &[], &udp(b"data")), ipv6(17, &udp(b"data")));
    for hops in [0, 1, 64, 255] {
        (four[8], six[7]) = (hops, hops);
        assert_eq!(ip(LinkType::RAW, &four).ttl(), hops);
        assert_eq!(ip(LinkType::RAW, &six).ttl(), hops);
    }
}

#[test]
fn vlan_tags_stack_up_to_a_limit() {
    let packet = ipv4(17, 0, &[], &udp(b""));
    let tags = [(0x88a8, 100), (0x8100, 7), (0x9100, 8), (0x9200, 9), (0x8100, 10)];
    for depth in 1..=4 {
        let frame = ethernet(&tags[..depth], &packet);
        let found = ip(LinkType::ETHERNET, &frame);
        assert_eq!((found.bytes(), found.vlan()), (&packet[..], Some(100)));
        assert!(found.flags().contains(PacketFlags::VLAN));
    }
    let deep = ethernet(&tags, &packet);
    assert_eq!(decode(LinkType::ETHERNET, &deep), Decoded::Malformed(Malformed::TooManyVlanTags));
    assert_eq!(decode(LinkType::ETHERNET, &deep[..17]), Decoded::Malformed(Malformed::LinkHeaderCut));
}

#[test]
fn what_is_not_ip_is_told_from_what_is_broken() {
    let mut arp = ethernet(&[], &ipv4(17, 0, &[], &[]));
    arp[12..14].copy_from_slice(&[8, 6]);
    assert_eq!(decode(LinkType::ETHERNET, &arp), Decoded::NotIp);
    arp[12..14].copy_from_slice(&[0, 38]); // an IEEE 802.3 length
    assert_eq!(decode(LinkType::ETHERNET, &arp), Decoded::NotIp);
    assert_eq!(decode(LinkType::NULL, &[0, 0, 0, 7, 1]), Decoded::NotIp);
    let netlink = [&[0, 4, 3, 56, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0][..], &[0x45; 40]].concat();
    assert_eq!(decode(LinkType::LINUX_SLL, &netlink), Decoded::NotIp);
    assert_eq!(decode(LinkType(147), &arp), Decoded::UnknownLink(LinkType(147)));

    let broken = |packet: &[u8], reason| {
        assert_eq!(decode(LinkType::RAW, packet), Decoded::Malformed(reason));
    };
    let packet = ipv4(17, 0, &[], &udp(b""));
    broken(&packet[..19], Malformed::IpHeaderCut);
    broken(&[], Malformed::IpHeaderCut);
    broken(&ipv6(17, &udp(b""))[..39], Malformed::IpHeaderCut);
    broken(&[0x55; 60], Malformed::IpVersion);
    let mut short = packet.clone();
    short[0] = 0x44;
    broken(&short, Malformed::HeaderLength);
    short = packet.clone();
    short[3] = 19;
    broken(&short, Malformed::TotalLength);
    assert_eq!(decode(LinkType::IPV6, &packet), Decoded::Malformed(Malformed::IpVersion));
}

#[test]
fn a_length_of_zero_means_the_rest_of_the_frame() {
    let mut four = ipv4(6, 0, &[], &tcp(0x18, &[7; 100]));
    four[2..4].copy_from_slice(&[0, 0]);
    let mut six = ipv6(6, &tcp(0x18, &[7; 100]));
    six[4..6].copy_from_slice(&[0, 0]);
    for packet in [four, six] {
        assert_eq!(ip(LinkType::RAW, &packet).ip_len() as usize, packet.len());
        let frame = ethernet(&[], &packet);
        let Decoded::Ip(cut) = decode_cut(LinkType::ETHERNET, &frame[..80], frame.len() as u32) else {
            panic!("no IP packet");
        };
        assert_eq!((cut.ip_len() as usize, cut.bytes().len()), (packet.len(), 66));
        assert!(cut.is_truncated());
    }
    let mut none = ipv6(59, &[]);
    none.extend([0; 6]);
    assert_eq!(ip(LinkType::RAW, &none).ip_len(), 40);
}

#[test]
fn flows_have_readable_names() {
    let name = |packet: &[u8]| ip(LinkType::RAW, packet).flow().to_string();
    assert_eq!(name(&ipv4(17, 0, &[], &udp(b""))), "udp 10.0.0.1:5001 > 10.0.0.2:443");
    assert_eq!(name(&ipv6(6, &tcp(2, b""))), "tcp [2001:db8::1]:80 > [2001:db8::2]:5000");
    assert_eq!(name(&ipv6(58, &[128, 0, 0, 0])), "icmpv6 2001:db8::1 > 2001:db8::2");
    assert_eq!(name(&ipv4(132, 0, &[], &[0; 12])), "ip-proto-132 10.0.0.1 > 10.0.0.2");
    assert_eq!(name(&ipv4(17, 185, &[], &[0; 12])), "udp 10.0.0.1 > 10.0.0.2 fragment");
    let later = ipv6(44, &fragment6(17, 185, false, &[0; 12]));
    assert_eq!(name(&later), "udp 2001:db8::1 > 2001:db8::2 fragment");
    let first = ipv6(44, &fragment6(17, 0, true, &udp(b"x")));
    assert_eq!(name(&first), "udp [2001:db8::1]:5001 > [2001:db8::2]:443");
    // The capture, not the packet, ends before the ports.
    assert_eq!(name(&ipv4(17, 0, &[], &udp(b""))[..22]), "udp 10.0.0.1 > 10.0.0.2");

    let flow = ip(LinkType::RAW, &first).flow();
    assert_eq!(flow.reversed().reversed(), flow);
    assert_eq!(flow.reversed().to_string(), "udp [2001:db8::2]:443 > [2001:db8::1]:5001");
}

#[test]
fn fragments_and_tcp_flags_are_marked() {
    let flags = |packet: &[u8]| ip(LinkType::RAW, packet).flags().bits();
    let (fragment, more) = (PacketFlags::FRAGMENT.bits(), PacketFlags::MORE_FRAGMENTS.bits());
    for (word, expected) in [(0x4000, 0), (0x2000, fragment | more), (0x2001, fragment | more), (1, fragment)]
    {
        assert_eq!(flags(&ipv4(17, word, &[], &udp(b""))), expected);
        if word & 0x4000 == 0 {
            let six = fragment6(17, word & 0x1fff, word & 0x2000 != 0, &udp(b""));
            assert_eq!(flags(&ipv6(44, &six)), expected);
        }
    }
    assert_eq!(ip(LinkType::RAW, &ipv4(6, 0, &[], &tcp(0x12, b""))).tcp_flags(), 0x12);
    assert_eq!(ip(LinkType::RAW, &ipv4(6, 9, &[], &tcp(0x12, b""))).tcp_flags(), 0);
}

#[test]
fn chains_of_extension_headers_are_bounded() {
    let mut payload = udp(b"x");
    let mut protocol = 17;
    for n in 1..=17 {
        payload = extension(60, protocol, 8, &payload);
        protocol = 60;
        let packet = ipv6(60, &payload);
        let flow = ip(LinkType::RAW, &packet).flow();
        assert_eq!(flow.protocol(), if n <= 16 { 17 } else { 60 });
        assert_eq!(flow.ports().is_some(), n <= 16);
    }
}

#[test]
fn a_flow_within_fewer_bytes_is_the_flow_of_a_capture_cut_there() {
    let mut random = Rng::seeded();
    for _ in 0..2_000 {
        let packet = random_packet(&mut random);
        let whole = ip(LinkType::RAW, &packet);
        let len = 60 + random.index(80);
        let cut = ip(LinkType::RAW, &packet[..len.min(packet.len())]);
        assert_eq!(whole.flow_within(len), cut.flow(), "{len} bytes of {packet:02x?}");
    }
}

#[test]
fn etherparse_decodes_random_packets_the_same() {
    let mut random = Rng::seeded();
    let tags = [(0x88a8, 300), (0x8100, 40), (0x8100, 5)];
    let mut compared = 0;
    for _ in 0..20_000 {
        let packet = random_packet(&mut random);
        let mut frame = ethernet(&tags[..random.index(4)], &packet);
        let whole_len = frame.len();
        frame.extend(vec![0; random.index(20)]);
        if random.one_in(3) {
            frame.truncate(14 + random.index(whole_len - 14));
        }
        let theirs = LaxSlicedPacket::from_ethernet(&frame).unwrap();
        let ours = match decode(LinkType::ETHERNET, &frame) {
            Decoded::Ip(ours) => ours,
            Decoded::Malformed(Malformed::LinkHeaderCut | Malformed::IpHeaderCut) => {
                assert!(theirs.net.is_none(), "{frame:02x?}");
                continue;
            }
            other => panic!("{other:?} in {frame:02x?}"),
        };
        let (src, dst, payload): (IpAddr, IpAddr, _) = match &theirs.net {
            Some(LaxNetSlice::Ipv4(net)) => {
                (net.header().source_addr().into(), net.header().destination_addr().into(), net.payload())
            }
            Some(LaxNetSlice::Ipv6(net)) => {
                (net.header().source_addr().into(), net.header().destination_addr().into(), net.payload())
            }
            // They want the options, we only the fixed header.
            _ => {
                assert!(ours.is_truncated() && ours.bytes().len() < ours.upper_at());
                continue;
            }
        };
        let flow: FlowKey = ours.flow();
        assert_eq!((flow.src(), flow.dst()), (src, dst));
        assert_eq!(ours.vlan(), theirs.vlan_ids().first().map(|id| id.value()));
        assert_eq!(ours.is_truncated(), payload.incomplete, "{frame:02x?}");
        if ours.is_truncated() && ours.bytes().len() < ours.upper_at() {
            continue; // cut inside the chain: they stop at another place
        }
        assert_eq!(ours.protocol(), payload.ip_number.0, "{frame:02x?}");
        assert_eq!(ours.flags().contains(PacketFlags::FRAGMENT), payload.fragmented);
        assert_eq!(&ours.bytes()[ours.upper_at()..], payload.payload);
        match &theirs.transport {
            Some(TransportSlice::Udp(udp)) => {
                assert_eq!(flow.ports(), Some((udp.source_port(), udp.destination_port())));
            }
            Some(TransportSlice::Tcp(tcp)) => {
                assert_eq!(flow.ports(), Some((tcp.source_port(), tcp.destination_port())));
                assert_eq!(ours.tcp_flags(), tcp.slice()[13]);
            }
            _ => assert!(
                flow.ports().is_none() || payload.fragmented || payload.incomplete,
                "ports from nowhere: {frame:02x?}"
            ),
        }
        compared += 1;
    }
    assert!(compared > 10_000, "only {compared} packets were compared");
}
