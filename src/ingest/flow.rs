//! Flows: which packets belong together, and the name of what they are about.

use bytemuck::{Pod, Zeroable};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names one direction of a conversation: protocol, addresses and, where there are any, ports.
///
/// Only TCP and UDP have ports here. A fragment that is not the first has none either and says that it is a
/// fragment, so the fragments of a datagram are in another flow than its first. A packet whose ports were
/// not captured has none.
///
/// The name ([`fmt::Display`]) is a function of the key alone: `udp 10.0.0.1:5001 > 10.0.0.2:443`,
/// `tcp [2001:db8::1]:80 > [2001:db8::2]:5000`, `icmpv6 fe80::1 > ff02::2`,
/// `udp 10.0.0.1 > 10.0.0.2 fragment`, `ip-proto-132 10.0.0.1 > 10.0.0.2`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
#[repr(C)]
pub struct FlowKey {
    /// An IPv4 address has the first four bytes, the rest is zero.
    src: [u8; 16],
    dst: [u8; 16],
    src_port: u16,
    dst_port: u16,
    protocol: u8,
    form: u8,
    spare: [u8; 2],
}

const V6: u8 = 1;
const PORTS: u8 = 2;
const FRAGMENT: u8 = 4;

impl FlowKey {
    #[inline]
    pub(super) fn v4(src: [u8; 4], dst: [u8; 4], protocol: u8) -> FlowKey {
        let widen = |[a, b, c, d]: [u8; 4]| [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        FlowKey { src: widen(src), dst: widen(dst), protocol, ..FlowKey::zeroed() }
    }

    #[inline]
    pub(super) fn v6(src: [u8; 16], dst: [u8; 16], protocol: u8) -> FlowKey {
        FlowKey { src, dst, protocol, form: V6, ..FlowKey::zeroed() }
    }

    #[inline]
    pub(super) fn set_ports(&mut self, src_port: u16, dst_port: u16) {
        (self.src_port, self.dst_port) = (src_port, dst_port);
        self.form |= PORTS;
    }

    #[inline]
    pub(super) fn set_fragment(&mut self) {
        self.form |= FRAGMENT;
    }

    /// Returns the address of the sender.
    #[inline]
    #[must_use]
    pub fn src(&self) -> IpAddr {
        self.address(self.src)
    }

    /// Returns the address of the receiver.
    #[inline]
    #[must_use]
    pub fn dst(&self) -> IpAddr {
        self.address(self.dst)
    }

    /// Returns the ports of sender and receiver, if it has any.
    #[inline]
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        (self.form & PORTS != 0).then_some((self.src_port, self.dst_port))
    }

    /// Returns the number of the upper-layer protocol: that after all extension headers.
    #[inline]
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Tells whether these are fragments other than the first.
    #[inline]
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.form & FRAGMENT != 0
    }

    /// Tells whether the addresses are IPv6.
    #[inline]
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.form & V6 != 0
    }

    /// Returns the key of the other direction.
    #[inline]
    #[must_use]
    pub fn reversed(&self) -> FlowKey {
        FlowKey { src: self.dst, dst: self.src, src_port: self.dst_port, dst_port: self.src_port, ..*self }
    }

    #[inline]
    fn address(&self, bytes: [u8; 16]) -> IpAddr {
        if self.is_ipv6() {
            return IpAddr::V6(Ipv6Addr::from(bytes));
        }
        let [a, b, c, d, ..] = bytes;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    }
}

impl Hash for FlowKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(bytemuck::bytes_of(self));
    }
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match protocol_name(self.protocol) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "ip-proto-{}", self.protocol)?,
        }
        let (src, dst) = (self.src(), self.dst());
        match (self.ports(), self.is_ipv6()) {
            (Some((from, to)), true) => write!(f, " [{src}]:{from} > [{dst}]:{to}")?,
            (Some((from, to)), false) => write!(f, " {src}:{from} > {dst}:{to}")?,
            (None, _) => write!(f, " {src} > {dst}")?,
        }
        f.write_str(if self.is_fragment() { " fragment" } else { "" })
    }
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlowKey({self})")
    }
}

fn protocol_name(protocol: u8) -> Option<&'static str> {
    Some(match protocol {
        1 => "icmp",
        2 => "igmp",
        6 => "tcp",
        17 => "udp",
        47 => "gre",
        50 => "esp",
        58 => "icmpv6",
        _ => return None,
    })
}
