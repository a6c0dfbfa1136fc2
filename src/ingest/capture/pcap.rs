//! Classic pcap: a header of 24 bytes, then records of a 16-byte header and the captured bytes.

use super::fault::CaptureFault;
use super::located::{ByteOrder, CaptureCounts, Fault, Located, Stamp, truncated};
use super::window::Window;
use crate::ingest::link::LinkType;
use std::io::Read;

const HEADER_LEN: usize = 24;
const RECORD_HEADER_LEN: usize = 16;

/// Longest record that capture programs write whatever snapshot length a file declares.
const SNAPLEN_USUAL: u32 = 262_144;

/// Seconds from here on are negative ones. Their field has no sign, but programs that have one write into it, and a clock that was
/// not set lies about 1970 more often than in the year 2072.
const NEGATIVE_FROM: u32 = 0xc000_0000;

/// Returns whether the file is big-endian and counts nanoseconds, or `None` when `bytes` start no pcap file.
pub(super) fn magic(bytes: [u8; 4]) -> Option<(bool, bool)> {
    match bytes {
        [0xd4, 0xc3, 0xb2, 0xa1] => Some((false, false)),
        [0x4d, 0x3c, 0xb2, 0xa1] => Some((false, true)),
        [0xa1, 0xb2, 0xc3, 0xd4] => Some((true, false)),
        [0xa1, 0xb2, 0x3c, 0x4d] => Some((true, true)),
        _ => None,
    }
}

/// Finds the records of a classic pcap file.
pub(super) struct PcapFraming {
    order: ByteOrder,
    fraction_ns: u64,
    link: LinkType,
    captured_len_max: u32,
}

impl PcapFraming {
    pub(super) fn read_header<R: Read>(
        window: &mut Window<R>,
        big_endian: bool,
        nanoseconds: bool,
        block_len_max: usize,
    ) -> Result<PcapFraming, Fault> {
        let order = ByteOrder { big_endian };
        let found = window.peek(HEADER_LEN).map_err(|error| (0, error.into()))?;
        let Some(header) = found.first_chunk::<HEADER_LEN>() else {
            return Err(truncated("file header", 0, found.len(), HEADER_LEN));
        };
        let (major, minor) = (order.u16_at(header, 4), order.u16_at(header, 6));
        if (major, minor) != (2, 4) {
            return Err((4, CaptureFault::UnsupportedVersion { format: "pcap", major, minor }));
        }
        // A snapshot length of 0 or with the top bit set is how some programs say "no limit".
        let snaplen = match order.u32_at(header, 16) {
            0 | 0x8000_0000.. => u32::MAX,
            snaplen => snaplen.max(SNAPLEN_USUAL),
        };
        let record_len_max = block_len_max.saturating_sub(RECORD_HEADER_LEN);
        // The high half of the word says how many checksum bytes end each frame; the IP length cuts them off.
        let link = LinkType((order.u32_at(header, 20) & 0xffff) as u16);
        window.consume(HEADER_LEN);
        Ok(PcapFraming {
            order,
            fraction_ns: if nanoseconds { 1 } else { 1_000 },
            link,
            captured_len_max: u32::try_from(record_len_max).unwrap_or(u32::MAX).min(snaplen),
        })
    }

    #[inline]
    pub(super) fn next<R: Read>(
        &mut self,
        window: &mut Window<R>,
        counts: &mut CaptureCounts,
    ) -> Result<Option<Located>, Fault> {
        let offset = window.offset();
        let found = window.peek(RECORD_HEADER_LEN).map_err(|error| (offset, error.into()))?;
        let Some(header) = found.first_chunk::<RECORD_HEADER_LEN>() else {
            if found.is_empty() {
                return Ok(None);
            }
            return Err(truncated("record header", offset, found.len(), RECORD_HEADER_LEN));
        };
        let seconds = self.order.u32_at(header, 0);
        let fraction_ns = u64::from(self.order.u32_at(header, 4)) * self.fraction_ns;
        let captured_len = self.order.u32_at(header, 8);
        let wire_len = self.order.u32_at(header, 12);
        if captured_len > self.captured_len_max {
            return Err(self.too_long(offset, captured_len));
        }
        let len = captured_len as usize;
        let record_len = RECORD_HEADER_LEN + len;
        let found = window.peek(record_len).map_err(|error| (offset, error.into()))?.len();
        if found < record_len {
            return Err(truncated("record", offset, found, record_len));
        }
        window.consume(record_len);
        counts.long_fraction += u64::from(fraction_ns >= 1_000_000_000);
        let stamp = if seconds >= NEGATIVE_FROM {
            Stamp::Before1970
        } else {
            // No sum overflows: 2^32 seconds and 2^32 microseconds are less than 2^63 ns.
            Stamp::At(u64::from(seconds) * 1_000_000_000 + fraction_ns)
        };
        Ok(Some(Located {
            time_ns: counts.time_ns(stamp),
            wire_len,
            link: self.link,
            direction: None,
            interface: 0,
            offset,
            back: len,
            len,
        }))
    }

    #[cold]
    fn too_long(&self, offset: u64, len: u32) -> Fault {
        let limit = self.captured_len_max.into();
        (offset, CaptureFault::TooLong { what: "record", len: len.into(), limit })
    }
}
