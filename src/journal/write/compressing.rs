//! When ended segments are compressed, and how a compressed file takes the original's place.

use crate::journal::format::RunId;
use crate::journal::format::names::{compressed_name, partial_name, segment_name};
use crate::journal::format::seekable::tail;
use crate::journal::read::scan::Scan;
use crate::journal::storage::uninterrupted;
use crate::journal::write::compress::{Compression, Left};
use crate::journal::write::durability::JournalAccount;
use crate::journal::write::ended::ClosedSegment;
use crate::journal::write::options::Options;
use crate::journal::write::segments::Segments;
use std::io;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

impl Segments {
    /// Tells whether an ended segment waits to be compressed.
    pub(super) fn has_to_compress(&self) -> bool {
        self.compression.is_some() || self.next_to_compress().is_some()
    }

    /// Compresses a piece of the oldest of these.
    pub(super) fn compress_piece(&mut self, options: &Options, run: RunId, account: &mut JournalAccount) {
        let mut compression = match (self.compression.take(), self.next_to_compress()) {
            (Some(compression), _) => compression,
            (None, Some(number)) => match self.begin_compression(number, options, run) {
                Ok(compression) => compression,
                Err(left) => return self.leave_as_it_is(number, left, account),
            },
            (None, None) => return,
        };
        let number = compression.number;
        let done = match compression.ended {
            false => compression.step().map(|()| self.compression = Some(compression)),
            true => self.put_in_place(compression, account),
        };
        if let Err(left) = done {
            self.leave_as_it_is(number, left, account);
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
        self.ended.iter().skip(self.retired).find(|ended| ended.to_compress).map(|ended| ended.number)
    }

    fn ended_mut(&mut self, number: u32) -> Option<&mut ClosedSegment> {
        self.ended.iter_mut().find(|ended| ended.number == number)
    }

    fn leave_as_it_is(&mut self, number: u32, left: Left, account: &mut JournalAccount) {
        account.errors += u64::from(matches!(left, Left::Refused));
        if let Some(ended) = self.ended_mut(number) {
            ended.to_compress = false;
        }
        // Should it stay, the next writer removes it.
        let _ = self.storage.remove(&partial_name(number));
    }

    fn begin_compression(&self, number: u32, options: &Options, run: RunId) -> Result<Compression, Left> {
        let segment = match self.storage.open(&segment_name(number)) {
            // Somebody has removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Left::AsItIs),
            other => Scan::new(other?),
        };
        let mut compressor = Compressor::new(options.compress.unwrap_or_default())?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        let file = uninterrupted(|| self.storage.create(&partial_name(number)))?;
        Ok(Compression::new(number, segment, run, file, compressor))
    }

    /// Ends the compressed file, and puts it in the original's place.
    fn put_in_place(
        &mut self,
        mut compression: Compression,
        account: &mut JournalAccount,
    ) -> Result<(), Left> {
        let number = compression.number;
        let original_gone = compression.is_gone();
        let (packed, partial, name) =
            (&mut compression.packed, partial_name(number), compressed_name(number));
        packed.write(&tail(&packed.frames)?)?;
        packed.file.sync()?;
        if original_gone {
            // Somebody has removed it: it does not come back.
            return Err(Left::AsItIs);
        }
        uninterrupted(|| self.storage.rename(&partial, &name))?;
        if let Err(error) = self.storage.sync_dir() {
            // Its name is in doubt, so the original stays.
            let both = self.storage.remove(&name).is_err();
            if let Some(ended) = self.ended_mut(number) {
                ended.compressed = both;
            }
            return Err(error.into());
        }
        let removed = uninterrupted(|| self.storage.remove(&segment_name(number)));
        // Where both stay, the compressed one is read.
        account.errors += u64::from(removed.is_err());
        account.segments_compressed += 1;
        let len = packed.len;
        if let Some(ended) = self.ended_mut(number) {
            ended.len = if removed.is_ok() { len } else { ended.len + len };
            (ended.plain, ended.compressed) = (removed.is_err(), true);
            (ended.synced, ended.doubtful, ended.to_compress) = (true, false, false);
        }
        Ok(())
    }
}
