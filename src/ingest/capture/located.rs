//! What both formats have in common: where a packet lies, what was counted, and what is wrong at which byte.

use super::fault::CaptureFault;
use crate::ingest::link::LinkType;

/// What a [`CaptureReader`](super::CaptureReader) counted so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CaptureCounts {
    /// Packets delivered.
    pub records: u64,
    /// Pcapng blocks skipped because they hold no packet that is known here (names, statistics, secrets).
    pub blocks_skipped: u64,
    /// Packets whose time lies before 1970 or after 2554 and was set to the nearer end.
    pub times_clamped: u64,
    /// Packets without a time (Simple Packet Blocks); theirs is 0.
    pub times_missing: u64,
}

/// A fault and its byte offset.
pub(super) type Fault = (u64, CaptureFault);

/// Where a packet's bytes are once its record has been consumed.
pub(super) struct Located {
    pub(super) time_ns: u64,
    pub(super) wire_len: u32,
    pub(super) link: LinkType,
    pub(super) offset: u64,
    /// Bytes from the first byte of data to the end of the record.
    pub(super) back: usize,
    pub(super) len: usize,
}

/// Byte order of the integers in a file.
#[derive(Clone, Copy)]
pub(super) struct ByteOrder {
    pub(super) big_endian: bool,
}

impl ByteOrder {
    #[inline]
    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    #[inline]
    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    /// Reads the integer at `at`, or 0 where there are no four bytes.
    #[inline]
    pub(super) fn u32_at(self, bytes: &[u8], at: usize) -> u32 {
        self.u32(bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default())
    }

    /// Reads the integer at `at`, or 0 where there are no two bytes.
    #[inline]
    pub(super) fn u16_at(self, bytes: &[u8], at: usize) -> u16 {
        self.u16(bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default())
    }
}

/// Makes the fault of a stream that ended after `found` of the `needed` bytes of what starts at `start`.
#[cold]
pub(super) fn truncated(what: &'static str, start: u64, found: usize, needed: usize) -> Fault {
    let missing = needed.saturating_sub(found) as u64;
    (start, CaptureFault::Truncated { what, end: start + found as u64, missing })
}
