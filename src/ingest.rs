//! From a capture file to decoded IP packets with digests.
//!
//! ```text
//!  file ──► capture ──► link ──► packet ──► digest
//!           Frame       strip    IpPacket   EventId
//!           (pcap,      headers  FlowKey
//!            pcapng)
//! ```
//!
//! - [`capture`] reads records from a stream in bounded memory.
//! - [`link`] finds the IP packet behind the link-layer headers.
//! - [`packet`] decodes the IP packet and names its [`flow`].
//! - [`digest`] makes the id under which two captures recognise the same packet.
//! - [`mod@scan`] looks through a file once to find how much of each packet it holds.
//!
//! Everything here treats its input as untrusted: no input makes it panic, and no length is allocated
//! before it is bounded. The header parsers are this crate's own: the hot path reads a few fields and
//! allocates nothing. The tests compare them with the crates `pcap-parser` and `etherparse`.

pub mod capture;
pub mod digest;
pub mod feed;
pub mod flow;
pub mod link;
pub mod packet;
pub mod scan;

pub use capture::{CaptureError, CaptureReader, Frame};
pub use digest::{Coverage, PacketDigest, TooShort};
pub use flow::FlowKey;
pub use link::LinkType;
pub use packet::{Decoded, IpPacket, decode};
pub use scan::{Scan, common_coverage, scan};
