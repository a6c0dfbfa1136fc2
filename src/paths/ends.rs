//! The addresses between which the packets of a flow go, read from its name.

use std::net::IpAddr;

/// The sender's address and the receiver's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ends {
    /// The sender's address.
    pub src: IpAddr,
    /// The receiver's address.
    pub dst: IpAddr,
}

impl Ends {
    /// Reads them from the name that a [`FlowKey`](crate::ingest::FlowKey) has: `udp 10.0.0.1:5001 > 10.0.0.2:443`,
    /// `icmpv6 fe80::1 > ff02::2`. `None` for names of another form.
    #[must_use]
    pub fn of_flow(name: &str) -> Option<Ends> {
        let (_, ends) = name.split_once(' ')?;
        let ends = ends.strip_suffix(" fragment").unwrap_or(ends);
        let (src, dst) = ends.split_once(" > ")?;
        Some(Ends { src: address(src)?, dst: address(dst)? })
    }

    /// The same for the way back.
    #[must_use]
    pub fn reversed(self) -> Ends {
        Ends { src: self.dst, dst: self.src }
    }

    /// Tells whether several hosts may send so: with the address of nobody, before they have one.
    #[must_use]
    pub fn is_from_anyone(self) -> bool {
        self.src.is_unspecified()
    }

    /// Tells whether the packets go to many.
    #[must_use]
    pub fn is_multicast(self) -> bool {
        self.dst.is_multicast() || self.dst == IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
    }
}

/// Reads an address with or without a port: `10.0.0.1:80`, `[fe80::1]:80`, `fe80::1`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => match text.split_once(':') {
            // More than one colon: IPv6 without a port.
            Some((address, port)) if !port.contains(':') => address,
            _ => text,
        },
    };
    bare.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_flows_tell_their_ends() {
        for (name, src, dst) in [
            ("udp 10.0.0.1:5001 > 10.0.0.2:443", "10.0.0.1", "10.0.0.2"),
            ("tcp [2001:db8::1]:80 > [2001:db8::2]:5000", "2001:db8::1", "2001:db8::2"),
            ("icmpv6 fe80::1 > ff02::2", "fe80::1", "ff02::2"),
            ("udp 10.0.0.1 > 10.0.0.2 fragment", "10.0.0.1", "10.0.0.2"),
            ("ip-proto-132 10.0.0.1 > 10.0.0.2", "10.0.0.1", "10.0.0.2"),
        ] {
            let ends = Ends::of_flow(name).unwrap();
            assert_eq!((ends.src.to_string(), ends.dst.to_string()), (src.to_owned(), dst.to_owned()));
            assert_eq!(ends.reversed().reversed(), ends);
        }
        for name in ["flow-1", "a b", "udp 10.0.0.1:5001 > somewhere", "", "udp  > "] {
            assert_eq!(Ends::of_flow(name), None, "{name}");
        }
    }

    #[test]
    fn some_packets_go_to_many() {
        for (dst, many) in
            [("224.0.0.251", true), ("255.255.255.255", true), ("ff02::1", true), ("10.0.0.255", false)]
        {
            let ends = Ends { src: "10.0.0.1".parse().unwrap(), dst: dst.parse().unwrap() };
            assert_eq!(ends.is_multicast(), many, "{dst}");
        }
    }
}
