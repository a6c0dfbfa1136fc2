//! The bytes of a block: its header, its table of sources, and the checks that make it a block.
//!
//! All numbers are little-endian. The byte diagram is in [`crate::journal`]; this file is the only one that
//! knows offsets.

use crate::event::{Origin, Record, random_bits};
use std::{fmt, io};

/// The format's version, in every block's header. A reader refuses blocks of another version.
pub const VERSION: u16 = 1;
/// What every block begins with; the line break reveals a transfer in text mode.
pub const MAGIC: [u8; 8] = *b"PEVJRNL\n";
/// Bytes of a header without its table of sources.
pub const HEADER_LEN_MIN: usize = 192;
/// Bytes of the longest header, table included.
pub const HEADER_LEN_MAX: usize = 4096;
/// Bytes of one entry of the table of sources.
pub const SPAN_LEN: usize = 24;
/// Sources that fit in a block's table; the block is closed when another one comes.
pub const SPANS_MAX: usize = (HEADER_LEN_MAX - HEADER_LEN_MIN) / SPAN_LEN;
/// Blocks begin and end at multiples of this, so records can be read in place.
pub const ALIGN: usize = 64;
/// The longest block that a reader accepts; it bounds what is allocated for foreign bytes.
pub const BLOCK_LEN_MAX: usize = 8 << 20;

const _: () = assert!(size_of::<Record>() == ALIGN && HEADER_LEN_MIN.is_multiple_of(ALIGN));

/// Names a run: 16 bytes that the caller draws at random (a UUID), the same for all segments of a journal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunId(pub [u8; 16]);

impl RunId {
    /// Draws an id at random, from the operating system's randomness.
    #[must_use]
    pub fn random() -> RunId {
        RunId(random_bits().to_le_bytes())
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&uuid::Uuid::from_bytes(self.0).hyphenated(), f)
    }
}

/// A place in a journal: everything in segments of lower number, and this segment's bytes below `offset`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position {
    /// The segment's number.
    pub segment: u32,
    /// Bytes from the segment's start.
    pub offset: u64,
}

/// What a block holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum BlockKind {
    /// The first block of a segment: a link to the segment before it.
    Open = 1,
    /// Names and details.
    Definitions = 2,
    /// Records.
    Records = 3,
    /// What the writer could not deliver so far, by source, in the table of sources; no body.
    Loss = 4,
    /// The last block of a segment that was ended in order.
    End = 5,
}

impl BlockKind {
    /// All kinds.
    pub const ALL: [BlockKind; 5] =
        [BlockKind::Open, BlockKind::Definitions, BlockKind::Records, BlockKind::Loss, BlockKind::End];

    fn from_bits(bits: u8) -> Option<BlockKind> {
        BlockKind::ALL.into_iter().find(|kind| *kind as u8 == bits)
    }
}

/// The records of one source in one block, or the source's losses in a [`BlockKind::Loss`] block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SourceSpan {
    /// The source.
    pub source: u16,
    /// The numbers do not rise from `first` to `last` within the block: only a look inside tells which it has.
    pub unordered: bool,
    /// The source's last number before this block; `None` when this is the source's first block.
    pub previous: Option<u32>,
    /// Records of the source.
    pub count: u32,
    /// The number of the first of them.
    pub first: u32,
    /// The number of the last of them.
    pub last: u32,
    /// Records of the source that the journal holds before this block, modulo 2^32.
    pub before: u32,
}

/// A block's header. See the diagram in [`crate::journal`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockHeader {
    /// CRC-32C of the header from byte 12 to its end; the next block repeats it in `previous`.
    pub header_crc: u32,
    /// Bytes of header and table, a multiple of [`ALIGN`].
    pub header_len: u32,
    /// Bytes of the block, padding included, a multiple of [`ALIGN`].
    pub len: u32,
    /// Bytes of the body, padding excluded.
    pub body_len: u32,
    /// CRC-32C of all bytes after the header, padding included.
    pub body_crc: u32,
    /// `header_crc` of the block before; of the previous segment's last block in a segment's first; else 0.
    pub previous: u32,
    /// The run.
    pub run: RunId,
    /// Where the block begins.
    pub at: Position,
    /// The block's number in its segment, from 0.
    pub block: u32,
    /// What the block holds.
    pub kind: BlockKind,
    /// Entries of the table of sources.
    pub sources: u16,
    /// Records in the body.
    pub records: u32,
    /// Everything before this place was synced when the block was written.
    pub synced: Position,
    /// The oldest segment that retention had left when the block was written.
    pub oldest_segment: u32,
    /// Totals when the block was written.
    pub totals: Totals,
    /// The earliest time in the body, ns since the Unix epoch; `u64::MAX` without records.
    pub time_ns_min: u64,
    /// The latest time in the body; 0 without records.
    pub time_ns_max: u64,
    /// The writer's time when the block was written, ns since the Unix epoch.
    pub written_ns: u64,
    /// Bit `n` is set when the body has a record of domain `n`.
    pub domains: u32,
    /// The pipeline that the records were taken from, which the ids of its occurrences follow from, where the writer was told
    /// ([`JournalWriter::set_origin`](crate::journal::JournalWriter::set_origin)); else one that the writer drew, from which the
    /// ids follow of records that came without one. Of blocks without records, 0.
    pub origin: Origin,
}

/// Running totals of a journal, in every header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Totals {
    /// Records stored before the block, whatever became of their files.
    pub records: u64,
    /// Records that could not be written.
    pub lost: u64,
    /// Records that were not selected.
    pub skipped: u64,
    /// Records lost before they reached the journal, as its caller told.
    pub lost_upstream: u64,
}

/// Why bytes are not a block that belongs where they lie.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HeaderFault {
    /// They are no header: too short, another magic, a wrong checksum, lengths that cannot be.
    Damaged,
    /// A header of another version, intact by its own checksum.
    UnknownVersion(u16),
}

impl BlockHeader {
    /// Reads a header from the start of `bytes`.
    ///
    /// The first 16 bytes mean the same in every version, so that a reader can tell an unknown version from
    /// damage.
    ///
    /// # Errors
    /// When the bytes are no header of this version.
    pub fn decode(bytes: &[u8]) -> Result<BlockHeader, HeaderFault> {
        let fixed: &[u8; 16] = bytes.first_chunk().ok_or(HeaderFault::Damaged)?;
        if fixed[..8] != MAGIC {
            return Err(HeaderFault::Damaged);
        }
        let header_crc = le32(fixed, 8);
        let version = le16(fixed, 12);
        let header_len = le16(fixed, 14) as usize;
        if !(ALIGN..=HEADER_LEN_MAX).contains(&header_len) || !header_len.is_multiple_of(ALIGN) {
            return Err(HeaderFault::Damaged);
        }
        let covered = bytes.get(12..header_len).ok_or(HeaderFault::Damaged)?;
        if crc32c::crc32c(covered) != header_crc {
            return Err(HeaderFault::Damaged);
        }
        if version != VERSION {
            return Err(HeaderFault::UnknownVersion(version));
        }
        let b: &[u8; HEADER_LEN_MIN] = bytes.first_chunk().ok_or(HeaderFault::Damaged)?;
        let mut run = [0; 16];
        run.copy_from_slice(&b[32..48]);
        let header = BlockHeader {
            header_crc,
            header_len: header_len as u32,
            len: le32(b, 16),
            body_len: le32(b, 20),
            body_crc: le32(b, 24),
            previous: le32(b, 28),
            run: RunId(run),
            at: Position { segment: le32(b, 48), offset: le64(b, 56) },
            block: le32(b, 52),
            kind: BlockKind::from_bits(b[64]).ok_or(HeaderFault::Damaged)?,
            sources: le16(b, 66),
            records: le32(b, 68),
            synced: Position { segment: le32(b, 72), offset: le64(b, 80) },
            oldest_segment: le32(b, 76),
            totals: Totals {
                records: le64(b, 88),
                lost: le64(b, 96),
                skipped: le64(b, 104),
                lost_upstream: le64(b, 112),
            },
            time_ns_min: le64(b, 120),
            time_ns_max: le64(b, 128),
            written_ns: le64(b, 136),
            domains: le32(b, 144),
            origin: Origin::from_bits(u128::from(le64(b, 152)) | u128::from(le64(b, 160)) << 64),
        };
        if header.lengths_fit() { Ok(header) } else { Err(HeaderFault::Damaged) }
    }

    /// Writes the header and the table into the first `header_len` bytes of `bytes` and returns the
    /// header's checksum. `header_crc` is computed, not taken; `header_len` and `sources` follow from the table.
    pub(crate) fn encode(&self, spans: &[SourceSpan], bytes: &mut [u8]) -> u32 {
        bytes.fill(0);
        let mut put = |at: usize, field: &[u8]| {
            if let Some(to) = bytes.get_mut(at..at + field.len()) {
                to.copy_from_slice(field);
            }
        };
        put(0, &MAGIC);
        put(12, &VERSION.to_le_bytes());
        put(14, &(header_len(spans.len()) as u16).to_le_bytes());
        put(16, &self.len.to_le_bytes());
        put(20, &self.body_len.to_le_bytes());
        put(24, &self.body_crc.to_le_bytes());
        put(28, &self.previous.to_le_bytes());
        put(32, &self.run.0);
        put(48, &self.at.segment.to_le_bytes());
        put(52, &self.block.to_le_bytes());
        put(56, &self.at.offset.to_le_bytes());
        put(64, &[self.kind as u8, 0]);
        put(66, &(spans.len() as u16).to_le_bytes());
        put(68, &self.records.to_le_bytes());
        put(72, &self.synced.segment.to_le_bytes());
        put(76, &self.oldest_segment.to_le_bytes());
        put(80, &self.synced.offset.to_le_bytes());
        put(88, &self.totals.records.to_le_bytes());
        put(96, &self.totals.lost.to_le_bytes());
        put(104, &self.totals.skipped.to_le_bytes());
        put(112, &self.totals.lost_upstream.to_le_bytes());
        put(120, &self.time_ns_min.to_le_bytes());
        put(128, &self.time_ns_max.to_le_bytes());
        put(136, &self.written_ns.to_le_bytes());
        put(144, &self.domains.to_le_bytes());
        put(152, &self.origin.bits().to_le_bytes());
        for (index, span) in spans.iter().enumerate() {
            put(HEADER_LEN_MIN + index * SPAN_LEN, &span.encode());
        }
        let crc = crc32c::crc32c(bytes.get(12..).unwrap_or_default());
        if let Some(field) = bytes.get_mut(8..12) {
            field.copy_from_slice(&crc.to_le_bytes());
        }
        crc
    }

    /// Returns where the next block begins.
    #[must_use]
    pub fn end(&self) -> Position {
        Position { segment: self.at.segment, offset: self.at.offset.saturating_add(u64::from(self.len)) }
    }

    /// Tells whether `body`, the bytes after the header, has the header's checksum.
    #[must_use]
    pub fn body_fits(&self, body: &[u8]) -> bool {
        body.len() == (self.len - self.header_len) as usize && crc32c::crc32c(body) == self.body_crc
    }

    fn lengths_fit(&self) -> bool {
        let len = self.len as usize;
        let body_max = len.saturating_sub(self.header_len as usize);
        let records_len = match self.kind {
            BlockKind::Records => self.records as usize * size_of::<Record>(),
            BlockKind::Open | BlockKind::Definitions | BlockKind::Loss | BlockKind::End => {
                self.body_len as usize
            }
        };
        len <= BLOCK_LEN_MAX
            && len.is_multiple_of(ALIGN)
            && self.at.offset.is_multiple_of(ALIGN as u64)
            && self.header_len as usize == header_len(self.sources as usize)
            && self.header_len as usize <= len
            && self.body_len as usize <= body_max
            && self.body_len as usize == records_len
    }
}

impl SourceSpan {
    const UNORDERED: u16 = 1;
    const HAS_PREVIOUS: u16 = 2;

    fn encode(&self) -> [u8; SPAN_LEN] {
        let flags = if self.unordered { Self::UNORDERED } else { 0 }
            | if self.previous.is_some() { Self::HAS_PREVIOUS } else { 0 };
        let mut bytes = [0; SPAN_LEN];
        bytes[..2].copy_from_slice(&self.source.to_le_bytes());
        bytes[2..4].copy_from_slice(&flags.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.first.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.last.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.previous.unwrap_or(0).to_le_bytes());
        bytes[20..24].copy_from_slice(&self.before.to_le_bytes());
        bytes
    }

    fn decode(b: &[u8; SPAN_LEN]) -> SourceSpan {
        let flags = le16(b, 2);
        SourceSpan {
            source: le16(b, 0),
            unordered: flags & Self::UNORDERED != 0,
            previous: (flags & Self::HAS_PREVIOUS != 0).then(|| le32(b, 16)),
            count: le32(b, 4),
            first: le32(b, 8),
            last: le32(b, 12),
            before: le32(b, 20),
        }
    }
}

/// Iterates over the table of a header whose bytes, table included, are `header`.
pub fn spans(header: &[u8]) -> impl Iterator<Item = SourceSpan> + '_ {
    let count = header.first_chunk::<HEADER_LEN_MIN>().map_or(0, |b| le16(b, 66) as usize);
    let table = header.get(HEADER_LEN_MIN..).unwrap_or_default();
    table.as_chunks::<SPAN_LEN>().0.iter().take(count).map(SourceSpan::decode)
}

/// Returns the bytes of a header with `sources` entries in its table.
#[must_use]
pub fn header_len(sources: usize) -> usize {
    (HEADER_LEN_MIN + sources * SPAN_LEN).next_multiple_of(ALIGN)
}

/// Turns records from the host's byte order to that of the file, or back: nothing on little-endian hosts.
///
/// Payloads are opaque bytes and stay as they are.
pub(crate) fn swap_records(records: &mut [Record]) {
    if cfg!(target_endian = "big") {
        for record in records {
            turn(record);
        }
    }
}

fn turn(record: &mut Record) {
    let bytes = bytemuck::bytes_of_mut(record);
    for field in [0..16, 16..24, 24..32, 32..40] {
        if let Some(field) = bytes.get_mut(field) {
            field.reverse();
        }
    }
}

/// A segment's first block's body: how the segment before it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Where the segment before ends, as its successor's writer knows; `None` in a journal's first segment.
    /// Bytes of that segment at and after this place are not part of the journal.
    pub previous_end: Option<Position>,
    /// The segment was begun by a new process: its sources count anew.
    pub resumed: bool,
}

impl Link {
    pub(crate) const LEN: usize = 16;

    pub(crate) fn encode(self) -> [u8; Link::LEN] {
        let end = self.previous_end.unwrap_or(Position { segment: u32::MAX, offset: 0 });
        let mut bytes = [0; Link::LEN];
        bytes[..4].copy_from_slice(&end.segment.to_le_bytes());
        bytes[4] = u8::from(self.resumed);
        bytes[8..].copy_from_slice(&end.offset.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(body: &[u8]) -> Option<Link> {
        let b: &[u8; Link::LEN] = body.first_chunk()?;
        let end = Position { segment: le32(b, 0), offset: le64(b, 8) };
        Some(Link { previous_end: (end.segment != u32::MAX).then_some(end), resumed: b[4] != 0 })
    }
}

/// The end of a segment that the next one links to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tail {
    pub(crate) end: Position,
    /// The last block's header checksum.
    pub(crate) crc: u32,
}

/// An end block's body: why the segment ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum EndReason {
    /// Another segment follows.
    Rotated = 1,
    /// The journal was closed.
    Closed = 2,
}

impl EndReason {
    pub(crate) const LEN: usize = 8;

    pub(crate) fn encode(self) -> [u8; EndReason::LEN] {
        [self as u8, 0, 0, 0, 0, 0, 0, 0]
    }

    pub(crate) fn decode(body: &[u8]) -> Option<EndReason> {
        match body.first()? {
            1 => Some(EndReason::Rotated),
            2 => Some(EndReason::Closed),
            _ => None,
        }
    }
}

/// Allocates zeroed bytes that are aligned as records are.
pub(crate) fn aligned(bytes: usize) -> io::Result<Vec<Record>> {
    bytemuck::try_zeroed_vec(bytes.div_ceil(size_of::<Record>()))
        .map_err(|()| io::ErrorKind::OutOfMemory.into())
}

pub(crate) fn le16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_le_bytes(field(bytes, at))
}

pub(crate) fn le32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes(field(bytes, at))
}

pub(crate) fn le64<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    u64::from_le_bytes(field(bytes, at))
}

fn field<const N: usize, const M: usize>(bytes: &[u8; N], at: usize) -> [u8; M] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; M])
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    fn header() -> BlockHeader {
        BlockHeader {
            header_crc: 0,
            header_len: header_len(2) as u32,
            len: 4096,
            body_len: 128,
            body_crc: 0x0102_0304,
            previous: 0x0506_0708,
            run: RunId(*b"0123456789abcdef"),
            at: Position { segment: 3, offset: 8192 },
            block: 7,
            kind: BlockKind::Records,
            sources: 2,
            records: 2,
            synced: Position { segment: 2, offset: 64 },
            oldest_segment: 1,
            totals: Totals { records: 11, lost: 12, skipped: 13, lost_upstream: 14 },
            time_ns_min: 15,
            time_ns_max: 16,
            written_ns: 17,
            domains: 18,
            origin: Origin::from_bits(19 | 20 << 64),
        }
    }

    const SPANS: [SourceSpan; 2] = [
        SourceSpan { source: 1, unordered: false, previous: Some(4), count: 1, first: 5, last: 5, before: 9 },
        SourceSpan { source: 2, unordered: true, previous: None, count: 1, first: 8, last: 8, before: 0 },
    ];

    #[test]
    fn a_header_comes_back_with_its_table() {
        let mut bytes = vec![0xaa; header_len(2)];
        let mut expected = header();
        expected.header_crc = expected.encode(&SPANS, &mut bytes);
        assert_eq!(BlockHeader::decode(&bytes), Ok(expected));
        assert_eq!(spans(&bytes).collect::<Vec<_>>(), SPANS);
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let mut bytes = vec![0; header_len(2)];
        header().encode(&SPANS, &mut bytes);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BlockHeader::decode(&bytes), Err(HeaderFault::Damaged), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..bytes.len() {
            assert_eq!(BlockHeader::decode(&bytes[..len]), Err(HeaderFault::Damaged), "length {len}");
        }
    }

    #[test]
    fn a_header_whose_lengths_cannot_be_is_refused_though_its_checksum_fits() {
        let wrong: [fn(&mut BlockHeader); 6] = [
            |h| h.len = BLOCK_LEN_MAX as u32 + 64,
            |h| h.len = 4097,
            |h| h.len = 64,
            |h| h.body_len = 4096,
            |h| h.records = u32::MAX,
            |h| h.at.offset = 1,
        ];
        for change in wrong {
            let mut bytes = vec![0; header_len(2)];
            let mut header = header();
            change(&mut header);
            header.encode(&SPANS, &mut bytes);
            assert_eq!(BlockHeader::decode(&bytes), Err(HeaderFault::Damaged), "{header:?}");
        }
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut bytes = vec![0; header_len(2)];
        header().encode(&SPANS, &mut bytes);
        bytes[12] = 9;
        assert_eq!(BlockHeader::decode(&bytes), Err(HeaderFault::Damaged));
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(BlockHeader::decode(&bytes), Err(HeaderFault::UnknownVersion(9)));
    }

    /// What kind, source and number are in a file, whatever the host: two, two and four little-endian bytes.
    #[test]
    fn the_word_of_kind_source_and_number_is_three_fields_in_a_file() {
        let kind = crate::event::EventKind::from_index(0x123);
        let symbol = crate::event::Symbol::from_bits(1);
        let record = Record::raw(0, crate::event::Identity::Occurrence, 0, symbol, kind, [0; 3]);
        let record = record.numbered(0x4567, 0x89ab_cdef);
        let mut in_file = record;
        swap_records(std::slice::from_mut(&mut in_file));
        let expected = [0x23, 0x41, 0x67, 0x45, 0xef, 0xcd, 0xab, 0x89];
        assert_eq!(bytemuck::bytes_of(&in_file)[32..40], expected);
        // As a big-endian host has it in memory.
        let word = u64::from_le_bytes(expected);
        let mut foreign = Record::zeroed();
        bytemuck::bytes_of_mut(&mut foreign)[32..40].copy_from_slice(&word.to_be_bytes());
        turn(&mut foreign);
        assert_eq!(bytemuck::bytes_of(&foreign)[32..40], expected);
    }

    #[test]
    fn turning_a_record_twice_gives_it_back_and_leaves_the_payload() {
        let mut record = Record::zeroed();
        let bytes: Vec<u8> = (0..64).collect();
        bytemuck::bytes_of_mut(&mut record).copy_from_slice(&bytes);
        let original = record;
        turn(&mut record);
        let turned = bytemuck::bytes_of(&record);
        assert_eq!((turned[0], turned[16], turned[24]), (15, 23, 31));
        assert_eq!((&turned[32..40], &turned[40..]), (&[39, 38, 37, 36, 35, 34, 33, 32][..], &bytes[40..]));
        turn(&mut record);
        assert_eq!(record, original);
    }
}
