//! Link layers: from a captured frame to the network-layer packet in it.

use crate::ingest::malformed::Malformed;
use std::fmt;

pub use crate::ingest::malformed::VLAN_TAGS_MAX;

/// Says what a frame's first bytes are: a number from the registry of pcap link types.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: the address family in the byte order of the capturing machine.
    pub const NULL: LinkType = LinkType(0);
    /// Ethernet.
    pub const ETHERNET: LinkType = LinkType(1);
    /// An IPv4 or IPv6 packet.
    pub const RAW: LinkType = LinkType(101);
    /// OpenBSD loopback: the address family in network byte order.
    pub const LOOP: LinkType = LinkType(108);
    /// Linux cooked capture, version 1.
    pub const LINUX_SLL: LinkType = LinkType(113);
    /// An IPv4 packet.
    pub const IPV4: LinkType = LinkType(228);
    /// An IPv6 packet.
    pub const IPV6: LinkType = LinkType(229);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: LinkType = LinkType(276);

    /// `DLT_RAW` as most systems number it, found in old files.
    const RAW_OLD: LinkType = LinkType(12);
    /// `DLT_RAW` as OpenBSD numbers it.
    const RAW_OPENBSD: LinkType = LinkType(14);
}

impl fmt::Debug for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkType({})", self.0)
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            LinkType::NULL => "null",
            LinkType::ETHERNET => "ethernet",
            LinkType::RAW | LinkType::RAW_OLD | LinkType::RAW_OPENBSD => "raw",
            LinkType::LOOP => "loop",
            LinkType::LINUX_SLL => "linux-sll",
            LinkType::IPV4 => "ipv4",
            LinkType::IPV6 => "ipv6",
            LinkType::LINUX_SLL2 => "linux-sll2",
            LinkType(number) => return write!(f, "link-type-{number}"),
        };
        f.write_str(name)
    }
}

/// Which way a packet went, as the host says that captured it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// The host sent it.
    Sent,
    /// It came to the host, for the host itself or for others.
    Received,
}

/// What a link-layer header tells of its packet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct LinkFacts {
    /// The VLAN of the first tag.
    pub(super) vlan: Option<u16>,
    pub(super) direction: Option<Direction>,
    /// The index that the host has for the interface.
    pub(super) interface: Option<u32>,
}

/// What is behind a link-layer header.
pub(super) enum Payload<'a> {
    /// An IP packet, perhaps followed by padding.
    Ip {
        version: u8,
        bytes: &'a [u8],
        facts: LinkFacts,
    },
    NotIp,
    UnknownLink,
}

/// Takes the link-layer header off a frame.
#[inline]
pub(super) fn strip(link: LinkType, data: &[u8]) -> Result<Payload<'_>, Malformed> {
    if link == LinkType::ETHERNET {
        let (header, rest) = data.split_first_chunk::<14>().ok_or(Malformed::LinkHeaderCut)?;
        return by_ether_type(u16::from_be_bytes([header[12], header[13]]), LinkFacts::default(), rest);
    }
    strip_other(link, data)
}

fn strip_other(link: LinkType, data: &[u8]) -> Result<Payload<'_>, Malformed> {
    let ip = |version| Ok(Payload::Ip { version, bytes: data, facts: LinkFacts::default() });
    match link {
        LinkType::RAW | LinkType::RAW_OLD | LinkType::RAW_OPENBSD => match data.first() {
            Some(first) => ip(first >> 4),
            None => Err(Malformed::IpHeaderCut),
        },
        LinkType::IPV4 => ip(4),
        LinkType::IPV6 => ip(6),
        LinkType::NULL | LinkType::LOOP => loopback(data),
        LinkType::LINUX_SLL => {
            let (header, rest) = data.split_first_chunk::<16>().ok_or(Malformed::LinkHeaderCut)?;
            let direction = cooked_direction(u16::from_be_bytes([header[0], header[1]]));
            let facts = LinkFacts { direction, ..LinkFacts::default() };
            cooked([header[2], header[3]], [header[14], header[15]], facts, rest)
        }
        LinkType::LINUX_SLL2 => {
            let (header, rest) = data.split_first_chunk::<20>().ok_or(Malformed::LinkHeaderCut)?;
            let facts = LinkFacts {
                direction: cooked_direction(header[10].into()),
                interface: Some(u32::from_be_bytes([header[4], header[5], header[6], header[7]])),
                vlan: None,
            };
            cooked([header[8], header[9]], [header[0], header[1]], facts, rest)
        }
        _ => Ok(Payload::UnknownLink),
    }
}

const ETHER_IPV4: u16 = 0x0800;
const ETHER_IPV6: u16 = 0x86dd;

#[inline]
fn by_ether_type(ether_type: u16, facts: LinkFacts, bytes: &[u8]) -> Result<Payload<'_>, Malformed> {
    match ether_type {
        ETHER_IPV4 => Ok(Payload::Ip { version: 4, bytes, facts }),
        ETHER_IPV6 => Ok(Payload::Ip { version: 6, bytes, facts }),
        _ => behind_tags(ether_type, facts, bytes),
    }
}

/// Takes 802.1Q, 802.1ad and the older QinQ tags off.
fn behind_tags(
    mut ether_type: u16,
    mut facts: LinkFacts,
    mut bytes: &[u8],
) -> Result<Payload<'_>, Malformed> {
    for _ in 0..=VLAN_TAGS_MAX {
        match ether_type {
            ETHER_IPV4 => return Ok(Payload::Ip { version: 4, bytes, facts }),
            ETHER_IPV6 => return Ok(Payload::Ip { version: 6, bytes, facts }),
            0x8100 | 0x88a8 | 0x9100 | 0x9200 => {}
            _ => return Ok(Payload::NotIp),
        }
        let (tag, rest) = bytes.split_first_chunk::<4>().ok_or(Malformed::LinkHeaderCut)?;
        facts.vlan = facts.vlan.or(Some(u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff));
        ether_type = u16::from_be_bytes([tag[2], tag[3]]);
        bytes = rest;
    }
    Err(Malformed::TooManyVlanTags)
}

/// Reads a Linux cooked header: its protocol is an EtherType only for hardware that carries one.
fn cooked(
    hardware: [u8; 2],
    protocol: [u8; 2],
    facts: LinkFacts,
    rest: &[u8],
) -> Result<Payload<'_>, Malformed> {
    const FRAD: u16 = 770;
    const IPGRE: u16 = 778;
    const RADIOTAP: u16 = 803;
    const NETLINK: u16 = 824;
    match u16::from_be_bytes(hardware) {
        FRAD | IPGRE | RADIOTAP | NETLINK => Ok(Payload::NotIp),
        _ => by_ether_type(u16::from_be_bytes(protocol), facts, rest),
    }
}

/// Reads the packet type of a Linux cooked header: sent to the host, to all, to a group, to another host, or by the host itself.
fn cooked_direction(packet_type: u16) -> Option<Direction> {
    match packet_type {
        0..=3 => Some(Direction::Received),
        4 => Some(Direction::Sent),
        _ => None,
    }
}

/// Reads a BSD loopback header. Families are small, so their byte order shows.
fn loopback(data: &[u8]) -> Result<Payload<'_>, Malformed> {
    let (&family, bytes) = data.split_first_chunk::<4>().ok_or(Malformed::LinkHeaderCut)?;
    let version = match u32::from_le_bytes(family).min(u32::from_be_bytes(family)) {
        2 => 4,
        // IPv6 has another number on Linux, Windows, NetBSD and OpenBSD, FreeBSD, and macOS.
        10 | 23 | 24 | 28 | 30 => 6,
        _ => return Ok(Payload::NotIp),
    };
    Ok(Payload::Ip { version, bytes, facts: LinkFacts::default() })
}
