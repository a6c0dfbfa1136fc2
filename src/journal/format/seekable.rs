//! Frames and seek table of a compressed segment, and a file that reads as what they unpack to. The form is in
//! [`crate::journal::format`].

use crate::journal::format::{ALIGN, BLOCK_LEN_MAX, le32};
use crate::journal::storage::{StorageFile, read_up_to};
use std::io;
use std::sync::{Mutex, MutexGuard};
use zstd::bulk::Decompressor;
use zstd::zstd_safe::{compress_bound, find_frame_compressed_size, get_frame_content_size};

/// Bytes of a frame when unpacked, at most.
const FRAME_LEN_MAX: u64 = BLOCK_LEN_MAX as u64;
/// A frame unpacks to at most this many times its bytes in the file: what a hostile file can make a reader do stays
/// in proportion to its length.
pub(crate) const RATIO_MAX: u64 = 1024;
/// Frames of a file, at most; it bounds what is allocated for its table.
pub(crate) const FRAMES_MAX: usize = 1 << 20;

const CHECKS_MAGIC: u32 = 0x184d_2a5d;
const TABLE_MAGIC: u32 = 0x184d_2a5e;
const FOOTER_MAGIC: u32 = 0x8f92_eab1;
const SKIPPABLE_LEN: usize = 8;
const ENTRY_LEN: usize = 8;
const FOOTER_LEN: usize = 9;

/// One frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    /// Where its bytes begin in the segment.
    pub(crate) at: u64,
    pub(crate) len: u32,
    /// Where it begins in the file.
    pub(crate) packed_at: u64,
    pub(crate) packed_len: u32,
    /// What its bytes in the file must add up to; `None` when nothing tells.
    pub(crate) crc: Option<u32>,
}

impl Frame {
    /// Tells whether its lengths can be.
    fn is_possible(&self) -> bool {
        let (len, packed_len) = (u64::from(self.len), u64::from(self.packed_len));
        (1..=FRAME_LEN_MAX).contains(&len)
            && len <= packed_len * RATIO_MAX
            && packed_len <= compress_bound(FRAME_LEN_MAX as usize) as u64
    }
}

/// Returns what comes behind the frames: checks and seek table.
pub(crate) fn tail(frames: &[Frame]) -> io::Result<Vec<u8>> {
    let checks_len = 4 * (frames.len() + 1);
    let table_len = ENTRY_LEN * (frames.len() + 1) + FOOTER_LEN;
    let skippable = |magic: u32, len: usize, room: usize| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(SKIPPABLE_LEN + room)?;
        bytes.extend(magic.to_le_bytes());
        bytes.extend((len as u32).to_le_bytes());
        Ok(bytes)
    };
    let mut checks = skippable(CHECKS_MAGIC, checks_len, checks_len + SKIPPABLE_LEN + table_len)?;
    let mut table = skippable(TABLE_MAGIC, table_len, table_len)?;
    for frame in frames {
        checks.extend(frame.crc.unwrap_or(0).to_le_bytes());
        table.extend(frame.packed_len.to_le_bytes());
        table.extend(frame.len.to_le_bytes());
    }
    table.extend(((SKIPPABLE_LEN + checks_len) as u32).to_le_bytes());
    table.extend(0u32.to_le_bytes());
    table.extend((frames.len() as u32 + 1).to_le_bytes());
    table.push(0);
    table.extend(FOOTER_MAGIC.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&checks), &table);
    checks.extend(crc.to_le_bytes());
    checks.append(&mut table);
    Ok(checks)
}

/// Reads the seek table; `None` when there is no sound one.
fn read_tail(file: &dyn StorageFile, file_len: u64) -> io::Result<Option<Vec<Frame>>> {
    let mut footer = [0; FOOTER_LEN];
    let Some(footer_at) = file_len.checked_sub(FOOTER_LEN as u64) else { return Ok(None) };
    if read_up_to(file, &mut footer, footer_at)? < FOOTER_LEN || le32(&footer, 5) != FOOTER_MAGIC {
        return Ok(None);
    }
    let entries = le32(&footer, 0) as usize;
    let Some(count) = entries.checked_sub(1).filter(|count| *count <= FRAMES_MAX) else { return Ok(None) };
    let checks_len = SKIPPABLE_LEN + 4 * (count + 1);
    let tail_len = checks_len + SKIPPABLE_LEN + ENTRY_LEN * entries + FOOTER_LEN;
    let Some(tail_at) = file_len.checked_sub(tail_len as u64) else { return Ok(None) };
    let mut found = vec![0; tail_len];
    if read_up_to(file, &mut found, tail_at)? < tail_len {
        return Ok(None);
    }
    let crcs = found.get(SKIPPABLE_LEN..checks_len - 4).unwrap_or_default().as_chunks::<4>().0;
    let lens = found.get(checks_len + SKIPPABLE_LEN..).unwrap_or_default().as_chunks::<ENTRY_LEN>().0;
    let mut frames = Vec::with_capacity(count);
    let (mut at, mut packed_at) = (0, 0);
    for (crc, lens) in crcs.iter().zip(lens) {
        let (packed_len, len) = (le32(lens, 0), le32(lens, 4));
        frames.push(Frame { at, len, packed_at, packed_len, crc: Some(le32(crc, 0)) });
        at += u64::from(len);
        packed_at += u64::from(packed_len);
    }
    // Made anew from what it says, it is the same to the last byte, or it is not sound.
    let sound = packed_at == tail_at && frames.iter().all(Frame::is_possible) && tail(&frames)? == found;
    Ok(sound.then_some(frames))
}

/// Finds the frames without a seek table. What is no frame is one of damage.
fn walk(file: &dyn StorageFile, file_len: u64) -> io::Result<Vec<Frame>> {
    let (mut frames, mut at, mut packed_at) = (Vec::new(), 0, 0);
    while frames.len() < FRAMES_MAX
        && let Some(frame) = frame_at(file, file_len, packed_at, at)?
    {
        frames.push(frame);
        at += u64::from(frame.len);
        packed_at += u64::from(frame.packed_len);
    }
    if file_len > 0 {
        // How much is missing, nothing tells: as much as the file has there, so that it is told at all.
        let len = (file_len - packed_at).clamp(ALIGN as u64, FRAME_LEN_MAX) as u32;
        let len = len.next_multiple_of(ALIGN as u32);
        frames.push(Frame { at, len, packed_at, packed_len: 0, crc: None });
    }
    Ok(frames)
}

fn frame_at(file: &dyn StorageFile, file_len: u64, packed_at: u64, at: u64) -> io::Result<Option<Frame>> {
    let most = (file_len - packed_at).min(compress_bound(FRAME_LEN_MAX as usize) as u64) as usize;
    // Most frames are small.
    let mut want = most.min(256 << 10);
    loop {
        let mut bytes = vec![0; want];
        let read = read_up_to(file, &mut bytes, packed_at)?;
        bytes.truncate(read);
        let Ok(Some(len)) = get_frame_content_size(&bytes) else { return Ok(None) };
        match find_frame_compressed_size(&bytes) {
            Ok(packed_len) => {
                let (len, packed_len) = (u32::try_from(len).unwrap_or(0), packed_len as u32);
                let frame = Frame { at, len, packed_at, packed_len, crc: None };
                return Ok(Some(frame).filter(Frame::is_possible));
            }
            Err(_) if want < most => want = most.min(want * 4),
            Err(_) => return Ok(None),
        }
    }
}

/// A compressed segment, read as the segment that it was.
struct CompressedFile {
    file: Box<dyn StorageFile>,
    frames: Vec<Frame>,
    unpacked: Mutex<Unpacked>,
}

/// The frame that was looked at last.
struct Unpacked {
    decompressor: Decompressor<'static>,
    frame: Option<usize>,
    bytes: Vec<u8>,
}

/// Makes of a compressed segment the segment that it was.
pub(crate) fn open(file: Box<dyn StorageFile>) -> io::Result<Box<dyn StorageFile>> {
    let file_len = file.size()?;
    let frames = match read_tail(&*file, file_len)? {
        Some(frames) => frames,
        None => walk(&*file, file_len)?,
    };
    let unpacked = Unpacked { decompressor: Decompressor::new()?, frame: None, bytes: Vec::new() };
    Ok(Box::new(CompressedFile { file, frames, unpacked: Mutex::new(unpacked) }))
}

impl CompressedFile {
    fn len(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.at + u64::from(frame.len))
    }

    fn lock(&self) -> MutexGuard<'_, Unpacked> {
        self.unpacked.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn read_only<T>() -> io::Result<T> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

impl Unpacked {
    fn load(&mut self, file: &dyn StorageFile, index: usize, frame: &Frame) -> io::Result<()> {
        if self.frame == Some(index) {
            return Ok(());
        }
        self.frame = None;
        let mut packed = vec![0; frame.packed_len as usize];
        let whole = read_up_to(file, &mut packed, frame.packed_at)? == packed.len()
            && frame.crc.is_none_or(|crc| crc == crc32c::crc32c(&packed));
        let len = frame.len as usize;
        let unpacked = whole.then(|| self.decompressor.decompress(&packed, len));
        self.bytes = match unpacked {
            Some(Ok(bytes)) if bytes.len() == len => bytes,
            _ => vec![0xff; len],
        };
        self.frame = Some(index);
        Ok(())
    }
}

impl StorageFile for CompressedFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let index = self.frames.partition_point(|frame| frame.at + u64::from(frame.len) <= offset);
        let Some(frame) = self.frames.get(index) else { return Ok(0) };
        let mut unpacked = self.lock();
        unpacked.load(&*self.file, index, frame)?;
        let rest = unpacked.bytes.get((offset - frame.at) as usize..).unwrap_or_default();
        let len = rest.len().min(bytes.len());
        if let (Some(to), Some(from)) = (bytes.get_mut(..len), rest.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<usize> {
        CompressedFile::read_only()
    }

    fn preallocate(&self, _len: u64) -> io::Result<()> {
        CompressedFile::read_only()
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        CompressedFile::read_only()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn is_linked(&self) -> io::Result<bool> {
        self.file.is_linked()
    }
}
