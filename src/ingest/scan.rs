//! Looks through a capture once, to find how much of each packet it holds.

use crate::ingest::capture::{CaptureCounts, CaptureError, CaptureReader};
use crate::ingest::digest::Coverage;
use crate::ingest::packet::Decoded;
use std::io::Read;
use std::path::Path;

/// What a look through a capture found.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Scan {
    /// What the reader counted.
    pub counts: CaptureCounts,
    /// IP packets.
    pub ip_packets: u64,
    /// Frames that hold no IP packet or one that is malformed.
    pub other_frames: u64,
    /// IP packets that the capture cut.
    pub truncated: u64,
    /// IP packets whose header announces more bytes than their frame had. Nothing is missing in the capture,
    /// so they do not shorten the coverage; whole-packet digests refuse them.
    pub overlong: u64,
    /// Fewest bytes that the capture holds of a packet it cut, from the IP header on.
    pub cut_len_min: Option<u32>,
    /// Earliest and latest time of those frames that have one, in nanoseconds since the Unix epoch.
    pub time_ns: Option<(u64, u64)>,
}

/// A capture that could not be read to its end, and what it showed before.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct ScanError {
    /// What was found up to the fault.
    pub seen: Box<Scan>,
    /// What ended the reading.
    #[source]
    pub fault: Box<CaptureError>,
}

/// Scans the capture at `path`.
///
/// # Errors
/// When the capture cannot be read to its end; the error holds what was found up to there.
pub fn scan(path: impl AsRef<Path>) -> Result<Scan, ScanError> {
    match CaptureReader::open(path) {
        Ok(mut reader) => scan_reader(&mut reader),
        Err(fault) => Err(ScanError { seen: Box::default(), fault: Box::new(fault) }),
    }
}

/// Scans what is left of a capture.
///
/// # Errors
/// When the capture cannot be read to its end; the error holds what was found up to there.
pub fn scan_reader<R: Read>(reader: &mut CaptureReader<R>) -> Result<Scan, ScanError> {
    let mut scan = Scan::default();
    loop {
        let frame = match reader.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(fault) => {
                scan.counts = reader.counts();
                return Err(ScanError { seen: Box::new(scan), fault: Box::new(fault) });
            }
        };
        if frame.has_time() {
            let (first, last) = scan.time_ns.unwrap_or((frame.time_ns, frame.time_ns));
            scan.time_ns = Some((first.min(frame.time_ns), last.max(frame.time_ns)));
        }
        let Decoded::Ip(packet) = frame.decode() else {
            scan.other_frames += 1;
            continue;
        };
        scan.ip_packets += 1;
        if !packet.is_truncated() {
            continue;
        }
        if frame.is_cut() {
            scan.truncated += 1;
            let captured = packet.bytes().len() as u32;
            scan.cut_len_min = Some(scan.cut_len_min.map_or(captured, |least| least.min(captured)));
        } else {
            scan.overlong += 1;
        }
    }
    scan.counts = reader.counts();
    Ok(scan)
}

/// Returns the coverage under which captures can be compared: whole packets when none of them cut any, else
/// the shortest cut, but at least [`Coverage::PREFIX_MIN`].
///
/// Packets cut shorter than that are refused by the digest ([`TooShort`](crate::ingest::TooShort)); count them.
#[must_use]
pub fn common_coverage(scans: &[Scan]) -> Coverage {
    match scans.iter().filter_map(|scan| scan.cut_len_min).min() {
        None => Coverage::Whole,
        Some(least) => Coverage::Prefix(least.max(Coverage::PREFIX_MIN)),
    }
}
