//! Compresses segments that have ended, a piece at a time, beside the writing. The form is in
//! [`crate::journal::format`].
//!
//! The original goes last: the compressed file is written under another name, synced, renamed, its name is synced, and
//! only then is the original removed. Whatever ends the process in between, one of the two is whole: a file that bears
//! its final name is, and is read in place of the original where both are there.

use crate::journal::format::names::{is_partial, segment_name};
use crate::journal::format::seekable::{FRAMES_MAX, Frame, RATIO_MAX};
use crate::journal::format::{BlockHeader, BlockKind, HEADER_LEN_MAX, Position, RunId};
use crate::journal::read::scan::{Expect, Probe, Scan};
use crate::journal::storage::{Storage, StorageFile, write_all_at};
use crate::journal::write::ended::ClosedSegment;
use std::collections::{TryReserveError, VecDeque};
use std::io;
use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

/// A block of this length has frames of its own.
const OWN_FRAMES_LEN: u32 = 64 << 10;
/// Smaller blocks are gathered up to this.
const GATHERED_LEN: usize = 256 << 10;

/// A segment that is being compressed.
pub(super) struct Compression {
    pub(super) number: u32,
    segment: Scan,
    next: Expect,
    gathered: Vec<u8>,
    pub(super) packed: Packed,
    pub(super) ended: bool,
}

/// What there is of the compressed file.
pub(super) struct Packed {
    pub(super) file: Box<dyn StorageFile>,
    compressor: Compressor<'static>,
    /// The frame that is written.
    frame: Vec<u8>,
    pub(super) frames: Vec<Frame>,
    /// Bytes written of it, and bytes that they unpack to.
    pub(super) len: u64,
    unpacked_len: u64,
}

/// Why a segment stays as it is.
pub(super) enum Left {
    /// It did not end in order, or it would not be read back in this form.
    AsItIs,
    /// The system refuses: the disk, or memory.
    Refused,
}

impl From<io::Error> for Left {
    fn from(_: io::Error) -> Left {
        Left::Refused
    }
}

impl From<TryReserveError> for Left {
    fn from(_: TryReserveError) -> Left {
        Left::Refused
    }
}

/// Removes what is left of compressions that did not come to their end, and originals whose compressed form is whole.
pub(super) fn tidy(storage: &dyn Storage, kept: &mut VecDeque<ClosedSegment>) {
    // What cannot be removed stays, and is passed by.
    for name in storage.list().unwrap_or_default() {
        if is_partial(&name) {
            let _ = storage.remove(&name);
        }
    }
    let twice = |kept: &&mut ClosedSegment| kept.plain && kept.compressed;
    if kept.iter_mut().any(|kept| twice(&kept)) && storage.sync_dir().is_ok() {
        for kept in kept.iter_mut().filter(twice) {
            kept.plain = storage.remove(&segment_name(kept.number)).is_err();
        }
    }
}

impl Compression {
    pub(super) fn new(
        number: u32,
        segment: Scan,
        run: RunId,
        file: Box<dyn StorageFile>,
        compressor: Compressor<'static>,
    ) -> Compression {
        let at = Position { segment: number, offset: 0 };
        Compression {
            number,
            segment,
            next: Expect { run, at, block: 0, previous: None },
            gathered: Vec::new(),
            packed: Packed {
                file,
                compressor,
                frame: Vec::new(),
                frames: Vec::new(),
                len: 0,
                unpacked_len: 0,
            },
            ended: false,
        }
    }

    /// Goes on up to the next frame. Every block is looked at on the way: what is damaged stays for `repair`.
    pub(super) fn step(&mut self) -> Result<(), Left> {
        loop {
            let Probe::Block(header) = self.segment.probe(&self.next, true)? else {
                return Err(Left::AsItIs);
            };
            self.pass(&header);
            let bytes = self.segment.verified_bytes(&header);
            self.gathered.try_reserve(bytes.len())?;
            if header.kind == BlockKind::End {
                self.gathered.extend_from_slice(bytes);
                self.packed.emit(&mut self.gathered)?;
                // A file whose zeros could not be truncated ends here as well.
                self.ended = self.segment.zeros_from(header.end().offset)?;
                return if self.ended { Ok(()) } else { Err(Left::AsItIs) };
            }
            if header.len >= OWN_FRAMES_LEN {
                let (head, rest) = bytes.split_at_checked(HEADER_LEN_MAX).unwrap_or((bytes, &[]));
                self.gathered.extend_from_slice(head);
                self.packed.emit(&mut self.gathered)?;
                self.gathered.extend_from_slice(rest);
                return self.packed.emit(&mut self.gathered);
            }
            self.gathered.extend_from_slice(bytes);
            if self.gathered.len() >= GATHERED_LEN {
                return self.packed.emit(&mut self.gathered);
            }
        }
    }

    /// Tells whether the original was removed.
    pub(super) fn is_gone(&self) -> bool {
        self.segment.is_linked().is_ok_and(|is_linked| !is_linked)
    }

    fn pass(&mut self, header: &BlockHeader) {
        self.next.at = header.end();
        self.next.block = header.block + 1;
        self.next.previous = Some(header.header_crc);
    }
}

impl Packed {
    /// Writes `bytes` as a frame, and empties them.
    fn emit(&mut self, bytes: &mut Vec<u8>) -> Result<(), Left> {
        self.frames.try_reserve(1)?;
        let mut packed = std::mem::take(&mut self.frame);
        packed.clear();
        packed.try_reserve(compress_bound(bytes.len()))?;
        self.compressor.compress_to_buffer(bytes, &mut packed)?;
        // What a reader would refuse is not written.
        if packed.len() as u64 * RATIO_MAX < bytes.len() as u64 || self.frames.len() >= FRAMES_MAX {
            return Err(Left::AsItIs);
        }
        self.frames.push(Frame {
            at: self.unpacked_len,
            len: bytes.len() as u32,
            packed_at: self.len,
            packed_len: packed.len() as u32,
            crc: Some(crc32c::crc32c(&packed)),
        });
        self.unpacked_len += bytes.len() as u64;
        bytes.clear();
        self.write(&packed)?;
        self.frame = packed;
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_all_at(&*self.file, bytes, self.len)?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}
