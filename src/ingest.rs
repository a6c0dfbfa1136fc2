//! Readers of other programs' files.
//!
//! Everything here treats its input as untrusted: no input makes it panic, and no length is allocated before it
//! is bounded.
//!
//! # Captures (feature `pcap`)
//!
//! ```text
//!  file ──► capture ──► link ──► packet ──► digest ──► feed ──► emitter
//!           Frame       strip    IpPacket   EventId    merges files
//!           (pcap,      headers  FlowKey               by time
//!            pcapng)
//! ```
//!
//! `scan` looks through a file once, to find how much of each packet it holds. The header parsers are this
//! crate's own: the hot path reads a few fields and allocates nothing. (The crate `pcap-parser`, read for this,
//! allocates per pcapng block by the file's word, and takes the time resolution and byte order of some interfaces
//! wrong.) The tests compare them with the crates `pcap-parser` and `etherparse`.
//!
//! # PANTHER's events (feature `panther`)
//!
//! JSON Lines as PANTHER writes them, and its ids. [`InputFormat`] tells by content which of both a file is.

#[cfg(feature = "pcap")]
pub mod capture;
#[cfg(feature = "pcap")]
pub mod digest;
#[cfg(feature = "pcap")]
pub mod feed;
#[cfg(feature = "pcap")]
pub mod flow;
pub mod format;
#[cfg(any(feature = "panther", feature = "pcap"))]
mod input;
#[cfg(feature = "pcap")]
pub mod link;
#[cfg(feature = "pcap")]
mod malformed;
#[cfg(feature = "pcap")]
pub mod packet;
#[cfg(feature = "panther")]
pub mod panther;
#[cfg(feature = "pcap")]
pub mod scan;
#[cfg(feature = "pcap")]
mod survey;

pub use self::format::InputFormat;
#[cfg(feature = "pcap")]
pub use self::survey::{SurveyError, survey};
#[cfg(feature = "pcap")]
pub use self::{
    capture::{CaptureError, CaptureReader, Frame},
    digest::{Coverage, DigestKey, DigestKeyError, PacketDigest, TooShort},
    flow::FlowKey,
    link::{Direction, LinkType},
    packet::{Decoded, IpPacket, decode},
    scan::{Scan, ScanError, common_coverage, scan},
};
