//! Compresses segments that have ended, a piece at a time, beside the writing. The form is in
//! [`crate::journal::compressed`].
//!
//! The original goes last: the compressed file is written under another name, synced, renamed, its name is synced, and
//! only then is the original removed. Whatever ends the process in between, one of the two is whole: a file that bears
//! its final name is, and is read in place of the original where both are there.

use crate::journal::delivery::ClosedSegment;
use crate::journal::format::{BlockHeader, BlockKind, HEADER_LEN_MAX, Position, RunId};
use crate::journal::scan::{Expect, Probe, Scan};
use crate::journal::seekable::{FRAMES_MAX, Frame, RATIO_MAX, tail};
use crate::journal::segment::{compressed_name, is_partial, partial_name, segment_name};
use crate::journal::storage::{Storage, StorageFile, uninterrupted, write_all_at};
use crate::journal::writer::JournalWriter;
use std::collections::VecDeque;
use std::io;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// A block of this length has frames of its own.
const OWN_FRAMES_LEN: u32 = 64 << 10;
/// Smaller blocks are gathered up to this.
const GATHERED_LEN: usize = 256 << 10;

/// A segment that is being compressed.
pub(super) struct Compression {
    number: u32,
    segment: Scan,
    next: Expect,
    gathered: Vec<u8>,
    packed: Packed,
    ended: bool,
}

/// What there is of the compressed file.
struct Packed {
    file: Box<dyn StorageFile>,
    compressor: Compressor<'static>,
    frames: Vec<Frame>,
    /// Bytes written of it, and bytes that they unpack to.
    len: u64,
    unpacked_len: u64,
}

/// Why a segment stays as it is.
enum Left {
    /// It did not end in order, or it would not be read back in this form.
    AsItIs,
    /// The disk refuses.
    Disk,
}

impl From<io::Error> for Left {
    fn from(_: io::Error) -> Left {
        Left::Disk
    }
}

impl JournalWriter {
    /// Tells whether an ended segment waits to be compressed.
    pub(super) fn has_to_compress(&self) -> bool {
        self.stall.is_none() && (self.compression.is_some() || self.next_to_compress().is_some())
    }

    pub(super) fn compress_piece(&mut self) {
        if !self.has_to_compress() {
            return;
        }
        let mut compression = match (self.compression.take(), self.next_to_compress()) {
            (Some(compression), _) => compression,
            (None, Some(number)) => match self.begin_compression(number) {
                Ok(compression) => compression,
                Err(left) => return self.leave_as_it_is(number, left),
            },
            (None, None) => return,
        };
        let number = compression.number;
        let done = match compression.ended {
            false => compression.step().map(|()| self.compression = Some(compression)),
            true => self.put_in_place(compression),
        };
        if let Err(left) = done {
            self.leave_as_it_is(number, left);
        }
    }

    /// Forgets what there is of a segment that is to be removed.
    pub(super) fn stop_compressing(&mut self, number: u32) {
        if self.compression.take_if(|compression| compression.number == number).is_some() {
            // Should it stay, the next writer removes it.
            let _ = self.storage.remove(&partial_name(number));
        }
    }

    fn next_to_compress(&self) -> Option<u32> {
        self.kept.iter().skip(self.retired).find(|kept| kept.to_compress).map(|kept| kept.number)
    }

    fn kept_mut(&mut self, number: u32) -> Option<&mut ClosedSegment> {
        self.kept.iter_mut().find(|kept| kept.number == number)
    }

    fn leave_as_it_is(&mut self, number: u32, left: Left) {
        self.account.errors += u64::from(matches!(left, Left::Disk));
        if let Some(kept) = self.kept_mut(number) {
            kept.to_compress = false;
        }
        // Should it stay, the next writer removes it.
        let _ = self.storage.remove(&partial_name(number));
    }

    fn begin_compression(&self, number: u32) -> Result<Compression, Left> {
        let segment = Scan::new(self.storage.open(&segment_name(number))?);
        let mut compressor = Compressor::new(self.options.compress.unwrap_or_default())?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        let file = uninterrupted(|| self.storage.create(&partial_name(number)))?;
        Ok(Compression::new(number, segment, self.run, file, compressor))
    }

    /// Ends the compressed file, and puts it in the original's place.
    fn put_in_place(&mut self, mut compression: Compression) -> Result<(), Left> {
        let number = compression.number;
        let (packed, partial, name) =
            (&mut compression.packed, partial_name(number), compressed_name(number));
        packed.write(&tail(&packed.frames))?;
        packed.file.sync()?;
        uninterrupted(|| self.storage.rename(&partial, &name))?;
        if let Err(error) = self.storage.sync_dir() {
            // Its name is in doubt, so the original stays.
            let both = self.storage.remove(&name).is_err();
            if let Some(kept) = self.kept_mut(number) {
                kept.compressed = both;
            }
            return Err(error.into());
        }
        let removed = uninterrupted(|| self.storage.remove(&segment_name(number)));
        // Where both stay, the compressed one is read.
        self.account.errors += u64::from(removed.is_err());
        self.account.segments_compressed += 1;
        let len = packed.len;
        if let Some(kept) = self.kept_mut(number) {
            kept.len = if removed.is_ok() { len } else { kept.len + len };
            (kept.plain, kept.compressed) = (removed.is_err(), true);
            (kept.synced, kept.doubtful, kept.to_compress) = (true, false, false);
        }
        Ok(())
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
    fn new(
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
            packed: Packed { file, compressor, frames: Vec::new(), len: 0, unpacked_len: 0 },
            ended: false,
        }
    }

    /// Goes on up to the next frame. Every block is looked at on the way: what is damaged stays for `repair`.
    fn step(&mut self) -> Result<(), Left> {
        loop {
            let Probe::Block(header) = self.segment.probe(&self.next, true)? else {
                return Err(Left::AsItIs);
            };
            self.pass(&header);
            let bytes = self.segment.verified_bytes(&header);
            if header.kind == BlockKind::End {
                self.gathered.extend_from_slice(bytes);
                self.packed.emit(&mut self.gathered)?;
                // A file whose zeros could not be cut off ends here as well.
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

    fn pass(&mut self, header: &BlockHeader) {
        self.next.at = header.end();
        self.next.block = header.block + 1;
        self.next.previous = Some(header.header_crc);
    }
}

impl Packed {
    /// Writes `bytes` as a frame, and empties them.
    fn emit(&mut self, bytes: &mut Vec<u8>) -> Result<(), Left> {
        let packed = self.compressor.compress(bytes)?;
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
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_all_at(&*self.file, bytes, self.len)?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}
