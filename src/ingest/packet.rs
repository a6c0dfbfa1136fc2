//! Decodes IP packets: where they end, which flow they are of, and what is special about them.

use crate::ingest::flow::FlowKey;
use crate::ingest::link::{self, LinkFacts, LinkType, Payload};

pub use crate::ingest::link::Direction;
pub use crate::ingest::malformed::Malformed;

/// Extension headers that are walked; after so many the walk stops and the packet keeps the protocol number
/// of the header at which it stopped.
pub const EXTENSIONS_MAX: usize = 16;

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded<'a> {
    /// An IP packet.
    Ip(IpPacket<'a>),
    /// Something else: ARP, IEEE 802.3 frames, MPLS, PPPoE.
    NotIp,
    /// The reader does not know this link layer.
    UnknownLink(LinkType),
    /// Something that says it is IP but cannot be.
    Malformed(Malformed),
}

/// A set of properties of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PacketFlags(u8);

impl PacketFlags {
    /// It is a fragment.
    pub const FRAGMENT: PacketFlags = PacketFlags(1);
    /// More fragments follow it.
    pub const MORE_FRAGMENTS: PacketFlags = PacketFlags(2);
    /// The capture holds fewer bytes than the IP header announces.
    pub const TRUNCATED: PacketFlags = PacketFlags(4);
    /// The frame has a VLAN tag.
    pub const VLAN: PacketFlags = PacketFlags(8);

    /// Tells whether all of `flags` are set.
    #[inline]
    #[must_use]
    pub const fn contains(self, flags: PacketFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Returns the set as bits.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    #[inline]
    fn set(&mut self, flag: PacketFlags, on: bool) {
        self.0 |= if on { flag.0 } else { 0 };
    }
}

/// A decoded IP packet, as it lies in the capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpPacket<'a> {
    bytes: &'a [u8],
    ip_len: u32,
    upper_at: u32,
    flow: FlowKey,
    flags: PacketFlags,
    tcp_flags: u8,
    facts: LinkFacts,
}

impl<'a> IpPacket<'a> {
    /// Returns the captured bytes of the packet from its IP header on, without link-layer padding; at least
    /// the 20 or 40 bytes of the fixed header.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the packet's length in bytes as its IP header has it.
    ///
    /// A header that says 0 (segmentation offload, jumbograms) means the rest of the frame.
    #[inline]
    #[must_use]
    pub fn ip_len(&self) -> u32 {
        self.ip_len
    }

    /// Tells whether the capture holds less than the whole packet.
    #[inline]
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.flags.contains(PacketFlags::TRUNCATED)
    }

    /// Returns the flow.
    #[inline]
    #[must_use]
    pub fn flow(&self) -> FlowKey {
        self.flow
    }

    /// Returns the number of the upper-layer protocol.
    #[inline]
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.flow.protocol()
    }

    /// Returns the IP version, 4 or 6.
    #[inline]
    #[must_use]
    pub fn version(&self) -> u8 {
        if self.flow.is_ipv6() { 6 } else { 4 }
    }

    /// Returns what is special about it.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> PacketFlags {
        self.flags
    }

    /// Returns the flags byte of the TCP header (`FIN` is 1), or 0.
    #[inline]
    #[must_use]
    pub fn tcp_flags(&self) -> u8 {
        self.tcp_flags
    }

    /// Returns the VLAN of the frame's first tag.
    #[inline]
    #[must_use]
    pub fn vlan(&self) -> Option<u16> {
        self.facts.vlan
    }

    /// Returns the time to live (IPv4) or hop limit (IPv6) as it stands in the header, in hops.
    #[inline]
    #[must_use]
    pub fn ttl(&self) -> u8 {
        let at = if self.flow.is_ipv6() { 7 } else { 8 };
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// Returns which way it went, where the frame's link layer tells: in Linux cooked captures.
    #[inline]
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        self.facts.direction
    }

    /// Returns the capturing host's index of the interface at which it was seen, where the frame's link layer tells: in Linux cooked
    /// captures of version 2.
    #[inline]
    #[must_use]
    pub fn interface(&self) -> Option<u32> {
        self.facts.interface
    }

    /// Returns where the upper-layer header starts, counted from the IP header; it may not be captured.
    #[inline]
    #[must_use]
    pub fn upper_at(&self) -> usize {
        self.upper_at as usize
    }

    /// Returns the flow as it shows in the first `len` bytes of the packet.
    ///
    /// It is the whole packet's flow unless options or extension headers push the ports further back.
    #[inline]
    #[must_use]
    pub fn flow_within(&self, len: usize) -> FlowKey {
        if self.upper_at() + 4 <= len {
            return self.flow;
        }
        let head = self.bytes.get(..len).unwrap_or(self.bytes);
        ip(self.version(), head, self.ip_len as usize, self.facts).map_or(self.flow, |packet| packet.flow)
    }
}

/// Decodes a frame that the capture holds whole.
#[inline]
#[must_use]
pub fn decode(link: LinkType, data: &[u8]) -> Decoded<'_> {
    decode_cut(link, data, 0)
}

/// Decodes a frame of which the capture may hold only the beginning. `wire_len` counts the frame's bytes on
/// the wire; it matters only for IP packets whose header does not say their length.
#[inline]
#[must_use]
pub fn decode_cut(link: LinkType, data: &[u8], wire_len: u32) -> Decoded<'_> {
    let packet = match link::strip(link, data) {
        Ok(Payload::Ip { version, bytes, facts }) => {
            let header_len = data.len() - bytes.len();
            let frame_rest = (wire_len as usize).max(data.len()) - header_len;
            ip(version, bytes, frame_rest, facts)
        }
        Ok(Payload::NotIp) => return Decoded::NotIp,
        Ok(Payload::UnknownLink) => return Decoded::UnknownLink(link),
        Err(reason) => Err(reason),
    };
    match packet {
        Ok(packet) => Decoded::Ip(packet),
        Err(reason) => Decoded::Malformed(reason),
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const NO_NEXT_HEADER: u8 = 59;

/// Decodes the IP packet at the start of `data`, behind which the frame may have padding. `frame_rest`
/// counts the bytes that the frame had on the wire from here on.
#[inline]
fn ip(version: u8, data: &[u8], frame_rest: usize, facts: LinkFacts) -> Result<IpPacket<'_>, Malformed> {
    let first = *data.first().ok_or(Malformed::IpHeaderCut)?;
    match (version, first >> 4) {
        (4, 4) => ipv4(data, frame_rest, facts),
        (6, 6) => ipv6(data, frame_rest, facts),
        _ => Err(Malformed::IpVersion),
    }
}

#[inline]
fn ipv4(data: &[u8], frame_rest: usize, facts: LinkFacts) -> Result<IpPacket<'_>, Malformed> {
    let h = data.first_chunk::<20>().ok_or(Malformed::IpHeaderCut)?;
    let header_len = usize::from(h[0] & 0x0f) * 4;
    if header_len < 20 {
        return Err(Malformed::HeaderLength);
    }
    let ip_len = match usize::from(u16::from_be_bytes([h[2], h[3]])) {
        0 => frame_rest,
        total_len => total_len,
    };
    if ip_len < header_len {
        return Err(Malformed::TotalLength);
    }
    let fragment = u16::from_be_bytes([h[6], h[7]]);
    let mut chain = Chain {
        protocol: h[9],
        at: header_len,
        fragment_offset: fragment & 0x1fff,
        more_fragments: fragment & 0x2000 != 0,
    };
    let bytes = data.get(..ip_len).unwrap_or(data);
    if chain.protocol == AUTHENTICATION {
        chain.walk(bytes, |header| header == AUTHENTICATION);
    }
    let flow = FlowKey::v4([h[12], h[13], h[14], h[15]], [h[16], h[17], h[18], h[19]], chain.protocol);
    Ok(packet(bytes, ip_len, flow, &chain, facts))
}

#[inline]
fn ipv6(data: &[u8], frame_rest: usize, facts: LinkFacts) -> Result<IpPacket<'_>, Malformed> {
    let h = data.first_chunk::<40>().ok_or(Malformed::IpHeaderCut)?;
    let ip_len = match (usize::from(u16::from_be_bytes([h[4], h[5]])), h[6]) {
        (0, NO_NEXT_HEADER) => 40,
        (0, _) => frame_rest,
        (payload_len, _) => 40 + payload_len,
    };
    let bytes = data.get(..ip_len).unwrap_or(data);
    let mut chain = Chain { protocol: h[6], at: 40, fragment_offset: 0, more_fragments: false };
    if !matches!(chain.protocol, TCP | UDP) {
        chain.walk(bytes, is_extension);
    }
    let (mut src, mut dst) = ([0; 16], [0; 16]);
    src.copy_from_slice(&h[8..24]);
    dst.copy_from_slice(&h[24..40]);
    Ok(packet(bytes, ip_len, FlowKey::v6(src, dst, chain.protocol), &chain, facts))
}

/// Reads what is the same behind both IP versions.
#[inline]
fn packet<'a>(
    bytes: &'a [u8],
    ip_len: usize,
    mut flow: FlowKey,
    chain: &Chain,
    facts: LinkFacts,
) -> IpPacket<'a> {
    let mut tcp_flags = 0;
    if chain.fragment_offset != 0 {
        flow.set_fragment();
    } else if matches!(chain.protocol, TCP | UDP) {
        let upper = bytes.get(chain.at..).unwrap_or_default();
        if let Some(&[a, b, c, d]) = upper.first_chunk() {
            flow.set_ports(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        }
        if chain.protocol == TCP {
            tcp_flags = upper.get(13).copied().unwrap_or(0);
        }
    }
    let mut flags = PacketFlags::default();
    flags.set(PacketFlags::FRAGMENT, chain.fragment_offset != 0 || chain.more_fragments);
    flags.set(PacketFlags::MORE_FRAGMENTS, chain.more_fragments);
    flags.set(PacketFlags::TRUNCATED, bytes.len() < ip_len);
    flags.set(PacketFlags::VLAN, facts.vlan.is_some());
    // Both fit: an IP length has 17 bits or is that of a frame, whose length has 32.
    IpPacket { bytes, ip_len: ip_len as u32, upper_at: chain.at as u32, flow, flags, tcp_flags, facts }
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT_HEADER: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

#[inline]
fn is_extension(header: u8) -> bool {
    matches!(header, HOP_BY_HOP | ROUTING | FRAGMENT_HEADER | AUTHENTICATION | DESTINATION)
}

/// The way from the IP header to the upper layer.
struct Chain {
    /// The header that comes next.
    protocol: u8,
    /// Where it starts.
    at: usize,
    fragment_offset: u16,
    more_fragments: bool,
}

impl Chain {
    /// Walks over extension headers until another protocol, the end of the capture, or a fragment that
    /// has no more of the chain.
    fn walk(&mut self, bytes: &[u8], is_extension: impl Fn(u8) -> bool) {
        for _ in 0..EXTENSIONS_MAX {
            if self.fragment_offset != 0 || !is_extension(self.protocol) {
                return;
            }
            let Some(&[next, len, b2, b3, ..]) =
                bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>())
            else {
                return;
            };
            self.at += match self.protocol {
                AUTHENTICATION => (usize::from(len) + 2) * 4,
                FRAGMENT_HEADER => {
                    let fragment = u16::from_be_bytes([b2, b3]);
                    self.fragment_offset = fragment >> 3;
                    self.more_fragments = fragment & 1 != 0;
                    8
                }
                _ => (usize::from(len) + 1) * 8,
            };
            self.protocol = next;
        }
    }
}
