//! When a writer compresses its ended segments, and how a compressed file takes the original's place.

use crate::journal::format::names::{compressed_name, partial_name, segment_name};
use crate::journal::format::seekable::tail;
use crate::journal::read::scan::Scan;
use crate::journal::storage::uninterrupted;
use crate::journal::write::compress::{Compression, Left};
use crate::journal::write::ended::ClosedSegment;
use crate::journal::write::writer::JournalWriter;
use std::io;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

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
        let segment = match self.storage.open(&segment_name(number)) {
            // Somebody has removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Left::AsItIs),
            other => Scan::new(other?),
        };
        let mut compressor = Compressor::new(self.options.compress.unwrap_or_default())?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        let file = uninterrupted(|| self.storage.create(&partial_name(number)))?;
        Ok(Compression::new(number, segment, self.run, file, compressor))
    }

    /// Ends the compressed file, and puts it in the original's place.
    fn put_in_place(&mut self, mut compression: Compression) -> Result<(), Left> {
        let number = compression.number;
        let original_gone = compression.is_gone();
        let (packed, partial, name) =
            (&mut compression.packed, partial_name(number), compressed_name(number));
        packed.write(&tail(&packed.frames))?;
        packed.file.sync()?;
        if original_gone {
            // Somebody has removed it: it does not come back.
            return Err(Left::AsItIs);
        }
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
