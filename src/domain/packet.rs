//! The domain `packet`: packets seen at vantage points.

use crate::domain::definition::DomainDef;
use crate::domain::kind::KindDef;
use crate::event::{Domain, EventKind, Identity, Shared};

crate::payload! {
    /// A packet was seen at a vantage point. The record's entity is the packet's flow, its id the packet's digest.
    pub struct PacketSeen [EventKind::new(Domain::PACKET, 0)] {
        /// The vantage point's name.
        vantage: crate::event::Symbol,
        /// Length on the wire in bytes, link layer included.
        wire_len_bytes: u32,
        /// Captured length in bytes, link layer included.
        captured_len_bytes: u32,
        /// See [`flags`].
        flags: u32,
        /// VLAN id of the outermost tag, 0 for none.
        vlan: u16,
        /// Protocol above IP (6 TCP, 17 UDP, …).
        protocol: u8,
        /// IP version, 4 or 6.
        ip_version: u8,
    }
}

/// Bits of [`PacketSeen::flags`].
pub mod flags {
    /// The flags byte of the TCP header stands in the low eight bits (FIN is bit 0, SYN bit 1, …).
    pub const TCP_MASK: u32 = 0xff;
    /// The packet is a fragment, the first one included.
    pub const FRAGMENT: u32 = 1 << 8;
    /// More fragments follow.
    pub const MORE_FRAGMENTS: u32 = 1 << 9;
    /// The capture cut the packet.
    pub const TRUNCATED: u32 = 1 << 10;
    /// The frame has a VLAN tag.
    pub const VLAN: u32 = 1 << 11;
}

/// The domain's table.
pub const DOMAIN: DomainDef = DomainDef {
    domain: Domain::PACKET,
    name: Shared::Static("packet"),
    kinds: Shared::Static(&[KindDef::of::<PacketSeen>("seen", Identity::Digest)]),
    states: None,
};
