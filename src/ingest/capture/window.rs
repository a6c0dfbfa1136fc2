//! A window over a stream: the bytes from the current record on, in one buffer that is filled as needed.

use std::io::{self, Read};

/// Holds the unread part of what was read from `reader`.
///
/// The buffer starts at one size and grows only when a single record needs more, never past the longest
/// record that was asked for.
pub(super) struct Window<R> {
    reader: R,
    buf: Vec<u8>,
    /// First unread byte; `pos <= end <= buf.len()`.
    pos: usize,
    /// End of what was read.
    end: usize,
    /// Offset in the stream of `buf[0]`.
    base: u64,
    at_eof: bool,
}

impl<R: Read> Window<R> {
    /// Makes a window whose buffer has `capacity` bytes.
    pub(super) fn new(reader: R, capacity: usize) -> Window<R> {
        Window { reader, buf: vec![0; capacity.max(64)], pos: 0, end: 0, base: 0, at_eof: false }
    }

    /// Returns the next `len` bytes without consuming them, or fewer when the stream ends before.
    #[inline]
    pub(super) fn peek(&mut self, len: usize) -> io::Result<&[u8]> {
        if self.end - self.pos < len {
            self.fill(len)?;
        }
        Ok(&self.buf[self.pos..self.end.min(self.pos + len)])
    }

    /// Consumes `len` bytes that were peeked at.
    #[inline]
    pub(super) fn consume(&mut self, len: usize) {
        debug_assert!(len <= self.end - self.pos);
        self.pos = self.end.min(self.pos + len);
    }

    /// Returns the `len` bytes that end `back` bytes before the current position; they were consumed
    /// after the last [`Window::peek`].
    #[inline]
    pub(super) fn consumed(&self, back: usize, len: usize) -> &[u8] {
        let start = self.pos.saturating_sub(back);
        self.buf.get(start..start + len).unwrap_or_default()
    }

    /// Returns the offset in the stream of the next byte.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.base + self.pos as u64
    }

    /// Reads until `len` bytes are there or the stream ends.
    #[cold]
    fn fill(&mut self, len: usize) -> io::Result<()> {
        self.buf.copy_within(self.pos..self.end, 0);
        self.base += self.pos as u64;
        self.end -= self.pos;
        self.pos = 0;
        while self.end < len && !self.at_eof {
            if self.end == self.buf.len() {
                // Doubling follows the bytes that are really there, so a length that lies costs no memory.
                self.buf.resize(len.min(self.buf.len() * 2), 0);
            }
            match self.reader.read(&mut self.buf[self.end..]) {
                Ok(0) => self.at_eof = true,
                Ok(read) => self.end = self.buf.len().min(self.end + read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
