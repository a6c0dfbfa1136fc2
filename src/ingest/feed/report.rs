//! What was read from a capture, and what not.

use crate::ingest::capture::{CaptureCounts, CaptureError, Format};
use crate::ingest::link::LinkType;
use crate::ingest::packet::Malformed;
use std::path::PathBuf;

/// Refused packets of which the reason is kept, per file.
pub const REFUSALS_KEPT: usize = 20;

/// One capture to be fed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaptureInput {
    /// The file.
    pub path: PathBuf,
    /// The name of the vantage point that it was taken at.
    pub vantage: String,
}

/// What was read from one capture.
#[derive(Debug)]
pub struct CaptureReport {
    /// The file and its vantage point.
    pub input: CaptureInput,
    /// The format; `None` when the file could not be opened as a capture.
    pub format: Option<Format>,
    /// What the reader counted, also of stamps that cannot be believed, and what the capture told of itself: packets that it dropped,
    /// and when it began and ended.
    pub counts: CaptureCounts,
    /// Bytes read.
    pub bytes: u64,
    /// Earliest and latest time of a packet that was used, in nanoseconds since the Unix epoch; `None` where there is none.
    pub time_ns: Option<(u64, u64)>,
    /// Frames that hold no IP packet.
    pub non_ip: u64,
    /// Packets that were refused: malformed, or cut too short for the digest.
    pub refused: u64,
    /// The first of them.
    pub refusals: Vec<PacketRefusal>,
    /// IP packets that would have been used if they had a time: theirs is absent, zero, or before 1970 ([`CaptureCounts`] tells). No
    /// delay, direction or order can be told of them, so no event is made of them.
    pub untimed: u64,
    /// Flows whose name the symbol table refused; they go by number.
    pub unnamed_flows: u64,
    /// What ended the reading early.
    pub error: Option<CaptureError>,
}

impl CaptureReport {
    /// Makes the report of a capture of which nothing has been read.
    pub(super) fn new(input: &CaptureInput) -> CaptureReport {
        CaptureReport {
            input: input.clone(),
            format: None,
            counts: CaptureCounts::default(),
            bytes: 0,
            time_ns: None,
            non_ip: 0,
            refused: 0,
            refusals: Vec::new(),
            untimed: 0,
            unnamed_flows: 0,
            error: None,
        }
    }

    /// Tells whether an event was made of any packet. Without one, there was nothing to look at from this vantage point.
    #[must_use]
    pub fn has_usable_packets(&self) -> bool {
        self.time_ns.is_some()
    }

    /// Takes note of the time of a packet that is used.
    #[inline]
    pub(super) fn used_at(&mut self, time_ns: u64) {
        let (first, last) = self.time_ns.unwrap_or((time_ns, time_ns));
        self.time_ns = Some((first.min(time_ns), last.max(time_ns)));
    }

    /// Takes note of a packet that is refused.
    pub(super) fn refuse(&mut self, offset: u64, reason: RefusalReason) {
        self.refused += 1;
        if self.refusals.len() < REFUSALS_KEPT {
            self.refusals.push(PacketRefusal { offset, reason });
        }
    }
}

/// A packet that was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("packet at byte {offset}: {reason}")]
pub struct PacketRefusal {
    /// Byte offset of its record in the file.
    pub offset: u64,
    /// Why.
    pub reason: RefusalReason,
}

/// Why a packet was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefusalReason {
    /// What its first bytes are is not known here.
    #[error("link type {0} is not known; known are Ethernet, Linux cooked, raw IP and loopback")]
    UnknownLink(LinkType),
    /// Its headers are no good.
    #[error(transparent)]
    Malformed(Malformed),
    /// The capture cut off more of it than the digest can do without.
    #[error("the capture holds {captured} bytes of the packet, and {covered} are needed to recognise it")]
    TooShort {
        /// Bytes of the packet in the capture.
        captured: u32,
        /// Bytes that the digest covers.
        covered: u32,
    },
}
