//! What both formats have in common: where a packet lies, what was counted, and what is wrong at which byte.

use super::fault::CaptureFault;
use crate::ingest::link::{Direction, LinkType};

/// What a [`CaptureReader`](super::CaptureReader) counted so far, and what the capture told of itself.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CaptureCounts {
    /// Packets delivered.
    pub records: u64,
    /// Pcapng blocks skipped because they hold neither packets nor statistics of an interface that is known here (names, secrets).
    pub blocks_skipped: u64,
    /// Pcapng packets and statistics with an option that could not be read; what it and those behind it told is not known.
    pub options_malformed: u64,
    /// Packets without a time (Simple Packet Blocks); theirs is 0.
    pub without_time: u64,
    /// Packets whose time is exactly the beginning of 1970: the capturing program had none.
    pub zero_time: u64,
    /// Packets whose time lies before 1970; theirs is set to 0. In classic pcap, whose seconds have 32 bits and no sign, these are the
    /// last quarter of all: they mean 1936 to 1969 rather than 2072 to 2106.
    pub before_1970: u64,
    /// Packets of classic pcap of which the fraction of the second is a second or more; it is added to the seconds all the same. A
    /// capture is like that when it counts nanoseconds, and its magic number says microseconds.
    pub long_fraction: u64,
    /// Packets whose time lies after 2554; it is set to the end of the range, [`u64::MAX`] nanoseconds.
    pub far_future: u64,
    /// Packets that the capturing host says it dropped: `isb_ifdrop` and `isb_osdrop` of the last Interface Statistics Block of each
    /// interface in each section, summed; for interfaces without these, the sum of what their packets tell (`epb_dropcount`). `None`
    /// where nothing tells.
    pub capture_dropped: Option<u64>,
    /// When the capture began and ended, in nanoseconds since the Unix epoch, as Interface Statistics Blocks tell: the earliest
    /// `isb_starttime` and the latest `isb_endtime` of all interfaces. Times outside of 1970 to 2554 count as not told.
    pub captured_ns: (Option<u64>, Option<u64>),
}

impl CaptureCounts {
    /// Counts a stamp that cannot be believed, and returns the time in nanoseconds since the epoch, 0 for none.
    #[inline]
    pub(super) fn time_ns(&mut self, stamp: Stamp) -> u64 {
        match stamp {
            Stamp::At(0) => self.zero_time += 1,
            Stamp::At(time_ns) => return time_ns,
            Stamp::Absent => self.without_time += 1,
            Stamp::Before1970 => self.before_1970 += 1,
            Stamp::FarFuture => {
                self.far_future += 1;
                return u64::MAX;
            }
        }
        0
    }
}

/// When a packet was captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stamp {
    /// Nanoseconds since the epoch.
    At(u64),
    Absent,
    Before1970,
    /// After what 64 bits of nanoseconds can say.
    FarFuture,
}

/// A fault and its byte offset.
pub(super) type Fault = (u64, CaptureFault);

/// Where a packet's bytes are once its record has been consumed.
pub(super) struct Located {
    pub(super) time_ns: u64,
    pub(super) wire_len: u32,
    pub(super) link: LinkType,
    /// As the record tells, not the link layer.
    pub(super) direction: Option<Direction>,
    /// The number of the interface in its section; 0 in classic pcap.
    pub(super) interface: u32,
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

    #[inline]
    pub(super) fn u64(self, bytes: [u8; 8]) -> u64 {
        if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
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
