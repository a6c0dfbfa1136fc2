//! Builders of IP packets and of the link layers around them.
#![allow(dead_code, reason = "each test uses a part")]

use crate::support::random::Rng;
use panther_events::ingest::{Decoded, IpPacket, LinkType, decode};

pub(crate) const A4: [u8; 4] = [10, 0, 0, 1];
pub(crate) const B4: [u8; 4] = [10, 0, 0, 2];

/// Returns an IPv6 address `2001:db8::last`.
pub(crate) fn v6(last: u8) -> [u8; 16] {
    [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

/// Builds an IPv4 packet from 10.0.0.1 to 10.0.0.2; `fragment` is the word of flags and offset.
pub(crate) fn ipv4(protocol: u8, fragment: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len();
    let mut packet = vec![0x40 | (header_len / 4) as u8, 0x2e];
    packet.extend(((header_len + payload.len()) as u16).to_be_bytes());
    packet.extend([0xab, 0xcd]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([63, protocol, 0x12, 0x34]);
    packet.extend(A4);
    packet.extend(B4);
    packet.extend(options);
    packet.extend(payload);
    packet
}

/// Builds an IPv6 packet from 2001:db8::1 to 2001:db8::2 that carries `payload` behind `next`.
pub(crate) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x6a, 0xbc, 0xde, 0xf1];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 61]);
    packet.extend(v6(1));
    packet.extend(v6(2));
    packet.extend(payload);
    packet
}

/// Builds a UDP datagram from port 5001 to 443.
pub(crate) fn udp(data: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0x13, 0x89, 0x01, 0xbb];
    datagram.extend((8 + data.len() as u16).to_be_bytes());
    datagram.extend([0xc5, 0x5c]);
    datagram.extend(data);
    datagram
}

/// Builds a TCP segment from port 80 to 5000 with these flags.
pub(crate) fn tcp(flags: u8, data: &[u8]) -> Vec<u8> {
    let mut segment = vec![0, 80, 0x13, 0x88, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, flags];
    segment.extend([0xff, 0xff, 0xc5, 0x5c, 0, 0]);
    segment.extend(data);
    segment
}

/// Puts an extension header in front of `rest`; the length is that of the header.
pub(crate) fn extension(kind: u8, next: u8, len: usize, rest: &[u8]) -> Vec<u8> {
    let mut header = vec![0x5a; len];
    header[0] = next;
    header[1] = match kind {
        51 => len / 4 - 2,
        44 => 0,
        _ => len / 8 - 1,
    } as u8;
    header.extend(rest);
    header
}

/// Puts a fragment header in front of `rest`.
pub(crate) fn fragment6(next: u8, offset: u16, more: bool, rest: &[u8]) -> Vec<u8> {
    let [a, b] = (offset << 3 | u16::from(more)).to_be_bytes();
    [&[next, 0, a, b, 1, 2, 3, 4], rest].concat()
}

/// Puts an Ethernet header with these VLAN tags (TPID, VLAN) in front of a packet.
pub(crate) fn ethernet(tags: &[(u16, u16)], packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for (tpid, vlan) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend((vlan | 0x6000).to_be_bytes());
    }
    frame.extend(ether_type(packet));
    frame.extend(packet);
    frame
}

pub(crate) fn ether_type(packet: &[u8]) -> [u8; 2] {
    if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] }
}

/// Decodes what must be an IP packet.
pub(crate) fn ip(link: LinkType, frame: &[u8]) -> IpPacket<'_> {
    match decode(link, frame) {
        Decoded::Ip(packet) => packet,
        other => panic!("{other:?} in {frame:02x?}"),
    }
}

/// Builds a random well-formed IP packet, with options, extension headers and fragments.
pub(crate) fn random_packet(random: &mut Rng) -> Vec<u8> {
    let largest = [8, 100, 400, 1400][random.index(4)];
    let size = random.index(largest);
    let data = random.bytes(size);
    let (mut protocol, mut payload) = match random.index(5) {
        0 | 1 => (17, udp(&data)),
        2 | 3 => (6, tcp(random.next() as u8, &data)),
        _ => ([132, 47, 1, 58][random.index(4)], data),
    };
    let version4 = random.one_in(2);
    let mut fragment = 0;
    if random.one_in(4) {
        fragment = [0x2000, 0x2000 | 185, 185, 0x4000][random.index(4)];
        if !version4 {
            payload = fragment6(protocol, fragment & 0x1fff, fragment & 0x2000 != 0, &payload);
            protocol = 44;
        }
    }
    // In a fragment other than the first no extension header can be recognised in IPv4.
    if random.one_in(4) && (!version4 || fragment & 0x1fff == 0) {
        payload = extension(51, protocol, 12 + 4 * random.index(6), &payload);
        protocol = 51;
    }
    if version4 {
        let words = [0, 0, 0, 1, 10][random.index(5)];
        let options = vec![1; words * 4];
        return ipv4(protocol, fragment, &options, &payload);
    }
    for kind in [60, 43, 60] {
        if random.one_in(4) {
            payload = extension(kind, protocol, 8 + 8 * random.index(3), &payload);
            protocol = kind;
        }
    }
    if random.one_in(4) {
        payload = extension(0, protocol, 8 + 8 * random.index(3), &payload);
        protocol = 0;
    }
    ipv6(protocol, &payload)
}
