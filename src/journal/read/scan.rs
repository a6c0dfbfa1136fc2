//! Looks at a segment's bytes: is there an intact block, and if not, what is there?

use crate::event::Record;
use crate::journal::format::{
    ALIGN, BLOCK_LEN_MAX, BlockHeader, HEADER_LEN_MAX, HeaderFault, MAGIC, Position, RunId, aligned,
};
use crate::journal::storage::{StorageFile, read_up_to};
use std::io;

/// Bytes read at once. Small enough to stay in the second-level cache between read and checksum.
const READ_LEN: usize = 512 << 10;

/// What is at a place of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Probe {
    /// An intact block. Its body was not looked at unless asked for.
    Block(BlockHeader),
    /// The end of the file, or zeros.
    Nothing,
    /// No intact block. The header is given when only the body is damaged.
    Damaged(Option<BlockHeader>),
    /// An intact header that belongs elsewhere.
    Foreign,
    /// A header of another version.
    UnknownVersion,
}

/// What the block at a place must say to belong there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Expect {
    pub(crate) run: RunId,
    pub(crate) at: Position,
    /// Blocks before it in the segment; exact unless something was skipped.
    pub(crate) block: u32,
    /// The checksum of the block before; `None` when that one was not read.
    pub(crate) previous: Option<u32>,
}

/// A segment's bytes, through a window that is aligned as records are.
pub(crate) struct Scan {
    file: Box<dyn StorageFile>,
    window: Vec<Record>,
    start: u64,
    filled: usize,
    /// The window reaches to the file's end, as it was when it was read.
    at_end: bool,
}

impl Scan {
    pub(crate) fn new(file: Box<dyn StorageFile>) -> Scan {
        Scan { file, window: Vec::new(), start: 0, filled: 0, at_end: false }
    }

    /// Forgets what was read, so that the next look sees what a writer has written since.
    pub(crate) fn refresh(&mut self) {
        self.filled = 0;
        self.at_end = false;
    }

    /// Looks at `expect.at`. With `body`, the body's checksum is verified too. Zeros where the block should begin
    /// count as nothing; what comes behind them is not looked at.
    pub(crate) fn probe(&mut self, expect: &Expect, body: bool) -> io::Result<Probe> {
        let offset = expect.at.offset;
        let bytes = self.bytes(offset, HEADER_LEN_MAX, body)?;
        let header = match BlockHeader::decode(bytes) {
            Ok(header) => header,
            Err(HeaderFault::UnknownVersion(_)) => return Ok(Probe::UnknownVersion),
            Err(HeaderFault::Damaged) => {
                return Ok(if all_zero(bytes) { Probe::Nothing } else { Probe::Damaged(None) });
            }
        };
        let number_fits = match expect.previous {
            Some(previous) => header.previous == previous && header.block == expect.block,
            None => header.block >= expect.block,
        };
        if header.run != expect.run || header.at != expect.at || !number_fits {
            return Ok(Probe::Foreign);
        }
        if body && !self.block(&header)?.is_some_and(|block| block.intact) {
            return Ok(Probe::Damaged(Some(header)));
        }
        Ok(Probe::Block(header))
    }

    /// Returns the header at `offset`, whatever it says of itself.
    pub(crate) fn header_at(&mut self, offset: u64) -> io::Result<Option<BlockHeader>> {
        Ok(BlockHeader::decode(self.bytes(offset, HEADER_LEN_MAX, false)?).ok())
    }

    /// Tells whether a header of an unknown version is at `offset`.
    pub(crate) fn is_unknown_version(&mut self, offset: u64) -> io::Result<bool> {
        let header = BlockHeader::decode(self.bytes(offset, HEADER_LEN_MAX, false)?);
        Ok(matches!(header, Err(HeaderFault::UnknownVersion(_))))
    }

    /// Returns the bytes of a block's header, table included.
    pub(crate) fn head(&mut self, header: &BlockHeader) -> io::Result<&[u8]> {
        self.bytes(header.at.offset, header.header_len as usize, false)
    }

    /// Returns the bytes of the block that `header` was read from; `None` when the file is too short.
    pub(crate) fn block(&mut self, header: &BlockHeader) -> io::Result<Option<BlockBytes<'_>>> {
        let len = header.len as usize;
        let bytes = self.bytes(header.at.offset, len, len > HEADER_LEN_MAX)?;
        let Some((head, body)) =
            bytes.get(..len).and_then(|b| b.split_at_checked(header.header_len as usize))
        else {
            return Ok(None);
        };
        Ok(Some(BlockBytes { head, body, intact: header.body_fits(body) }))
    }

    /// Returns the block's bytes without verifying them again: for a block that was probed with its body.
    pub(crate) fn verified(&self, header: &BlockHeader) -> BlockBytes<'_> {
        let bytes = self.verified_bytes(header);
        let (head, body) = bytes.split_at_checked(header.header_len as usize).unwrap_or_default();
        BlockBytes { head, body, intact: true }
    }

    /// As [`Scan::verified`], in one piece.
    pub(crate) fn verified_bytes(&self, header: &BlockHeader) -> &[u8] {
        let from = header.at.offset.saturating_sub(self.start) as usize;
        let bytes: &[u8] = bytemuck::cast_slice(&self.window);
        bytes.get(from..from + header.len as usize).unwrap_or_default()
    }

    /// Turns the records of a verified block to the host's byte order, in place.
    #[cfg(target_endian = "big")]
    pub(crate) fn turn(&mut self, header: &BlockHeader) {
        let from =
            (header.at.offset.saturating_sub(self.start) as usize + header.header_len as usize) / ALIGN;
        if let Some(records) = self.window.get_mut(from..from + header.records as usize) {
            crate::journal::format::swap_records(records);
        }
        // The window's bytes are no longer the file's.
        self.filled = 0;
    }

    /// Returns the first intact header of this journal at or after `from` that says it belongs where it is.
    pub(crate) fn next_header(
        &mut self,
        run: RunId,
        segment: u32,
        from: u64,
    ) -> io::Result<Option<BlockHeader>> {
        self.find_header(from, |header, offset| {
            header.run == run && header.at == Position { segment, offset }
        })
    }

    /// Returns the first intact header that any journal has in this file.
    pub(crate) fn any_header(&mut self) -> io::Result<Option<BlockHeader>> {
        self.find_header(0, |_, _| true)
    }

    /// Returns the first intact header at or after `from` that is `wanted` where it is.
    fn find_header(
        &mut self,
        from: u64,
        wanted: impl Fn(&BlockHeader, u64) -> bool,
    ) -> io::Result<Option<BlockHeader>> {
        let mut offset = from.next_multiple_of(ALIGN as u64);
        loop {
            let Some(next) = self.behind_hole(offset) else { return Ok(None) };
            offset = next;
            let bytes = self.bytes(offset, READ_LEN, true)?;
            let last = bytes.len() < READ_LEN;
            // A header that the window cuts off is looked at again from its own start.
            let usable = if last { bytes.len() } else { bytes.len() - HEADER_LEN_MAX };
            for at in (0..usable).step_by(ALIGN) {
                let rest = bytes.get(at..).unwrap_or_default();
                if !rest.starts_with(&MAGIC) {
                    continue;
                }
                match BlockHeader::decode(rest) {
                    Ok(header) if wanted(&header, offset + at as u64) => return Ok(Some(header)),
                    _ => {}
                }
            }
            if last {
                return Ok(None);
            }
            offset += usable.next_multiple_of(ALIGN) as u64;
        }
    }

    /// Returns where reading goes on at or after `offset`, a multiple of [`ALIGN`]: a hole has no block. `None` where nothing
    /// but a hole follows.
    fn behind_hole(&self, offset: u64) -> Option<u64> {
        let align = ALIGN as u64;
        self.file.next_data(offset).map(|data| (data / align * align).max(offset))
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        self.file.size()
    }

    #[cfg(feature = "zstd")]
    pub(crate) fn is_linked(&self) -> io::Result<bool> {
        self.file.is_linked()
    }

    /// Tells whether the file has only zeros from `offset` on.
    pub(crate) fn zeros_from(&mut self, mut offset: u64) -> io::Result<bool> {
        loop {
            let Some(next) = self.behind_hole(offset) else { return Ok(true) };
            offset = next;
            let bytes = self.bytes(offset, READ_LEN, true)?;
            if !all_zero(bytes) {
                return Ok(false);
            }
            if bytes.len() < READ_LEN {
                return Ok(true);
            }
            offset += bytes.len() as u64;
        }
    }

    /// Returns `len` bytes from `offset`, a multiple of [`ALIGN`], fewer only at the file's end. With `ahead`,
    /// what follows is read too.
    fn bytes(&mut self, offset: u64, len: usize, ahead: bool) -> io::Result<&[u8]> {
        debug_assert!(len <= BLOCK_LEN_MAX, "a block's length is bounded before its bytes are read");
        let reaches = |from: &u64| from + len as u64 <= self.filled as u64 || self.at_end;
        let inside =
            offset.checked_sub(self.start).filter(|from| *from <= self.filled as u64).filter(reaches);
        let from = match inside {
            Some(from) => from as usize,
            None => {
                self.fill(offset, len, ahead)?;
                0
            }
        };
        let to = self.filled.min(from + len);
        let bytes: &[u8] = bytemuck::cast_slice(&self.window);
        Ok(bytes.get(from..to).unwrap_or_default())
    }

    /// Reads the window anew from `offset` on; what it has of it already is kept.
    fn fill(&mut self, offset: u64, len: usize, ahead: bool) -> io::Result<()> {
        // No more than the file has now: a small journal needs no large window.
        let rest = self.file.size()?.saturating_sub(offset);
        let want = if ahead {
            len.max(READ_LEN.min(usize::try_from(rest.next_multiple_of(ALIGN as u64)).unwrap_or(READ_LEN)))
        } else {
            len
        };
        if size_of_val(&*self.window) < want {
            let mut window = aligned(want)?;
            if let Some(to) = window.get_mut(..self.window.len()) {
                to.copy_from_slice(&self.window);
            }
            self.window = window;
        }
        let window: &mut [u8] = bytemuck::cast_slice_mut(&mut self.window);
        let keep = match offset.checked_sub(self.start) {
            Some(from) if (from as usize) < self.filled => {
                window.copy_within(from as usize..self.filled, 0);
                self.filled - from as usize
            }
            _ => 0,
        };
        self.start = offset;
        self.filled = keep;
        if let Some(rest) = window.get_mut(keep..want.max(keep)) {
            self.filled += read_up_to(&*self.file, rest, offset + keep as u64)?;
        }
        self.at_end = self.filled < want || want as u64 >= rest;
        Ok(())
    }
}

/// A block's bytes in a [`Scan`]'s window.
pub(crate) struct BlockBytes<'a> {
    head: &'a [u8],
    body: &'a [u8],
    pub(crate) intact: bool,
}

impl<'a> BlockBytes<'a> {
    /// Returns the body without its padding.
    pub(crate) fn body(&self, header: &BlockHeader) -> &'a [u8] {
        self.body.get(..header.body_len as usize).unwrap_or_default()
    }

    /// Returns the head's bytes, table included.
    pub(crate) fn head(&self) -> &'a [u8] {
        self.head
    }
}

fn all_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| *chunk == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}
