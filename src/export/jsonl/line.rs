//! A line while it is written.

use std::io;

/// Takes what is appended as long as there is memory for it. What there is none for is left out, and the line is not whole.
#[derive(Debug, Default)]
pub(super) struct Line {
    bytes: Vec<u8>,
    is_short: bool,
}

impl Line {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.is_short = false;
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    #[inline]
    pub(super) fn extend_from_slice(&mut self, bytes: &[u8]) {
        if self.bytes.try_reserve(bytes.len()).is_err() {
            self.is_short = true;
            return;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends what was made before.
    #[inline]
    pub(super) fn append(&mut self, other: &Line) {
        self.is_short |= other.is_short;
        self.extend_from_slice(&other.bytes);
    }

    /// Returns the bytes from `start` on; `None` where some may be missing.
    pub(super) fn whole_from(&self, start: usize) -> Option<&[u8]> {
        if self.is_short { None } else { self.bytes.get(start..) }
    }

    /// Returns the line.
    ///
    /// # Errors
    /// When there was no memory for all of it.
    pub(super) fn whole(&self) -> io::Result<&[u8]> {
        if self.is_short { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(&self.bytes) }
    }
}
