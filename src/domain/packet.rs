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
    /// The time to live (IPv4) or hop limit (IPv6) of the packet that is digested: see [`ttl`].
    pub const TTL_MASK: u32 = 0xff << TTL_SHIFT;
    /// The capture says that the host on which it was made sent the packet.
    pub const SENT: u32 = 1 << 24;
    /// The capture says that the packet came to the host on which it was made; it need not have been meant for it.
    pub const RECEIVED: u32 = 1 << 25;
    /// The network interface at which the packet was seen: see [`interface`].
    pub const INTERFACE_MASK: u32 = 0x3f << INTERFACE_SHIFT;

    const TTL_SHIFT: u32 = 16;
    const INTERFACE_SHIFT: u32 = 26;

    /// Returns the time to live (IPv4) or hop limit (IPv6), in hops; 0 where it is not known.
    #[inline]
    #[must_use]
    pub const fn ttl(flags: u32) -> u8 {
        (flags >> TTL_SHIFT) as u8
    }

    /// Returns the bits of a time to live or hop limit, in hops.
    #[inline]
    #[must_use]
    pub const fn of_ttl(ttl: u8) -> u32 {
        (ttl as u32) << TTL_SHIFT
    }

    /// Tells whether the capture says that its host sent the packet. Where this and [`is_received`] are false, the capture does
    /// not tell; both are never true.
    #[inline]
    #[must_use]
    pub const fn is_sent(flags: u32) -> bool {
        flags & SENT != 0
    }

    /// Tells whether the capture says that the packet came to its host.
    #[inline]
    #[must_use]
    pub const fn is_received(flags: u32) -> bool {
        flags & RECEIVED != 0
    }

    /// Returns the interface at which the packet was seen, modulo 64: the index in the header of a Linux cooked capture of version 2,
    /// else the number that it has in its section of a pcapng file, else 0.
    #[inline]
    #[must_use]
    pub const fn interface(flags: u32) -> u8 {
        (flags >> INTERFACE_SHIFT) as u8
    }

    /// Returns the bits of an interface's number, of which the low six are kept.
    #[inline]
    #[must_use]
    pub const fn of_interface(number: u32) -> u32 {
        (number << INTERFACE_SHIFT) & INTERFACE_MASK
    }
}

/// The domain's table.
pub const DOMAIN: DomainDef = DomainDef {
    domain: Domain::PACKET,
    name: Shared::Static("packet"),
    kinds: Shared::Static(&[KindDef::of::<PacketSeen>("seen", Identity::Digest)]),
    states: None,
};

#[cfg(test)]
mod tests {
    use super::flags;

    #[test]
    fn each_flag_has_bits_of_its_own() {
        let parts = [
            flags::TCP_MASK,
            flags::FRAGMENT,
            flags::MORE_FRAGMENTS,
            flags::TRUNCATED,
            flags::VLAN,
            flags::TTL_MASK,
            flags::SENT,
            flags::RECEIVED,
            flags::INTERFACE_MASK,
        ];
        assert!(parts.iter().all(|part| *part != 0));
        // Sums of parts that share no bit are their union.
        assert_eq!(parts.iter().fold(0, |all, part| all | part), parts.iter().sum::<u32>());
        // The places are part of the format: records are kept in journals.
        assert_eq!(flags::of_ttl(255), 0x00ff_0000);
        assert_eq!((flags::SENT, flags::RECEIVED), (0x0100_0000, 0x0200_0000));
        assert_eq!(flags::of_interface(63), 0xfc00_0000);
    }

    #[test]
    fn a_ttl_and_an_interface_come_back_and_touch_nothing_else() {
        for (ttl, number) in [(0, 0), (1, 63), (64, 64), (255, u32::MAX), (128, 65)] {
            let bits = flags::of_ttl(ttl) | flags::of_interface(number);
            for others in [0, !(flags::TTL_MASK | flags::INTERFACE_MASK)] {
                let all = bits | others;
                assert_eq!(flags::ttl(all), ttl);
                assert_eq!(u32::from(flags::interface(all)), number % 64);
                assert_eq!(flags::is_sent(all), others != 0);
                assert_eq!(flags::is_received(all), others != 0);
            }
        }
        assert!(flags::is_sent(flags::SENT) && !flags::is_received(flags::SENT));
        assert!(flags::is_received(flags::RECEIVED) && !flags::is_sent(flags::RECEIVED));
    }
}
