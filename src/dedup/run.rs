//! A run: ids on disk, sorted, written once.
//!
//! The file is a sequence of blocks of 4096 bytes; a block holds 256 ids, or 128 with their first sightings, in
//! ascending order. The first id of every block is kept in memory, so a lookup reads one block. The format belongs to one
//! process: on Unix the file has no name once it is open, elsewhere it is removed with the run.

use crate::dedup::table::Key;
use crate::dedup::verdict::Sighting;
use bytemuck::{Pod, Zeroable};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const BLOCK: usize = 4096;
/// Bytes that are written at once.
const CHUNK: usize = 16 * BLOCK;

/// One id as it lies in a run, with its epoch's tag.
#[derive(Clone, Copy, Default)]
pub(super) struct Entry {
    pub(super) words: (u64, u64),
    pub(super) sighting: Sighting,
}

impl Entry {
    /// Tells whether it is that of `key`. One that was never written is no key's.
    pub(super) fn is(&self, key: Key) -> bool {
        let (own, _) = Key::untag(self.words.0, self.words.1);
        self.words.0 != 0 && (own.low, own.high) == (key.low, key.high)
    }
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Plain {
    low: u64,
    high: u64,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Seen {
    low: u64,
    high: u64,
    time_ns: u64,
    source: u64,
}

/// A run that is being written.
pub(super) struct RunWriter {
    run: Option<Run>,
    buffer: Vec<u8>,
}

/// A finished run.
pub(super) struct Run {
    file: Option<File>,
    path: PathBuf,
    firsts: Vec<(u64, u64)>,
    with_sightings: bool,
    ids: u64,
    bytes: u64,
}

impl RunWriter {
    /// Opens a new file in `dir`, which exists.
    pub(super) fn create(dir: &Path, with_sightings: bool) -> io::Result<RunWriter> {
        // Relaxed: the number only has to be this process's own.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("dedup-{}-{number}.run", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        if cfg!(unix) {
            std::fs::remove_file(&path)?;
        }
        let run = Run { file: Some(file), path, firsts: Vec::new(), with_sightings, ids: 0, bytes: 0 };
        Ok(RunWriter { run: Some(run), buffer: Vec::with_capacity(CHUNK) })
    }

    /// Appends an id that is greater than all before it.
    #[inline]
    pub(super) fn push(&mut self, entry: &Entry) -> io::Result<()> {
        let (low, high) = entry.words;
        let Some(run) = &mut self.run else { return Err(finished()) };
        if self.buffer.len().is_multiple_of(BLOCK) {
            run.firsts.push(order(Key::untag(low, high).0));
        }
        if run.with_sightings {
            let Sighting { time_ns, source } = entry.sighting;
            let seen = Seen { low, high, time_ns, source: u64::from(source) };
            self.buffer.extend_from_slice(bytemuck::bytes_of(&seen));
        } else {
            self.buffer.extend_from_slice(bytemuck::bytes_of(&Plain { low, high }));
        }
        run.ids += 1;
        if self.buffer.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    /// Writes what is left and returns the run; after that the writer is of no more use.
    pub(super) fn finish(&mut self) -> io::Result<Run> {
        let padded = self.buffer.len().next_multiple_of(BLOCK);
        self.buffer.resize(padded, 0);
        self.flush()?;
        let mut run = self.run.take().ok_or_else(finished)?;
        run.firsts.shrink_to_fit();
        Ok(run)
    }

    fn flush(&mut self) -> io::Result<()> {
        use std::io::Write;
        let run = self.run.as_mut().ok_or_else(finished)?;
        if let Some(file) = &mut run.file {
            file.write_all(&self.buffer)?;
        }
        run.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Run {
    pub(super) fn ids(&self) -> u64 {
        self.ids
    }

    pub(super) fn bytes_on_disk(&self) -> u64 {
        self.bytes
    }

    pub(super) fn bytes_in_memory(&self) -> usize {
        self.firsts.capacity() * size_of::<(u64, u64)>()
    }

    /// Reads the block in which `key` would be and looks for it.
    ///
    /// # Errors
    ///
    /// What the system says when the block cannot be read.
    pub(super) fn find(&self, key: Key) -> io::Result<Option<Entry>> {
        let Some(block) = self.block_of(order(key)) else { return Ok(None) };
        let mut bytes = Page([0; BLOCK]);
        if let Some(file) = &self.file {
            read_at(file, &mut bytes.0, block as u64 * BLOCK as u64)?;
        }
        let per_block = BLOCK / if self.with_sightings { size_of::<Seen>() } else { size_of::<Plain>() };
        let count = (self.ids - (block * per_block) as u64).min(per_block as u64) as usize;
        if self.with_sightings {
            let entries: &[Seen] = bytemuck::cast_slice(&bytes.0);
            let entries = entries.get(..count).unwrap_or_default();
            let found = entries.binary_search_by_key(&order(key), |entry| slot_order(entry.low, entry.high));
            return Ok(found.ok().and_then(|at| entries.get(at)).map(|entry| Entry {
                words: (entry.low, entry.high),
                sighting: Sighting { time_ns: entry.time_ns, source: entry.source as u16 },
            }));
        }
        let entries: &[Plain] = bytemuck::cast_slice(&bytes.0);
        let entries = entries.get(..count).unwrap_or_default();
        let found = entries.binary_search_by_key(&order(key), |entry| slot_order(entry.low, entry.high));
        Ok(found
            .ok()
            .and_then(|at| entries.get(at))
            .map(|entry| Entry { words: (entry.low, entry.high), sighting: Sighting::default() }))
    }

    /// Returns the last block whose first id is not greater. Hashed ids are spread evenly, so the search begins where the id
    /// would be if they were spread perfectly, and doubles its step from there.
    fn block_of(&self, wanted: (u64, u64)) -> Option<usize> {
        let blocks = self.firsts.len();
        let guess = ((u128::from(wanted.0) * blocks as u128) >> 64) as usize;
        let is_after = |at: usize| self.firsts.get(at).is_some_and(|first| *first > wanted);
        let (mut from, mut to, mut step) = (guess, guess + 1, 1);
        while from > 0 && is_after(from) {
            to = from;
            from = from.saturating_sub(step);
            step *= 2;
        }
        while to < blocks && !is_after(to) {
            from = to;
            to += step;
            step *= 2;
        }
        let part = self.firsts.get(from..to.min(blocks))?;
        (from + part.partition_point(|first| *first <= wanted)).checked_sub(1)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.file = None;
        if !cfg!(unix) {
            // A file that stays is rubbish in the directory that the caller gave, and no harm.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn finished() -> io::Error {
    io::Error::other("the run is finished")
}

#[repr(align(64))]
struct Page([u8; BLOCK]);

/// Ids in a table are ordered by their high words first.
#[inline]
pub(super) fn order(key: Key) -> (u64, u64) {
    (key.high, key.low)
}

#[inline]
fn slot_order(low: u64, high: u64) -> (u64, u64) {
    order(Key::untag(low, high).0)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::dedup::table::TAGS;

    /// Sorted keys: several high words, each with many low ones, from the very first to the very last.
    fn keys(count: usize) -> Vec<Key> {
        let step = u64::MAX / 8;
        let key = |at: usize| {
            let at = at as u64;
            // Blocks of one high word, so that it does not tell them apart, among others that stand alone.
            let high = if at < 300 { at / 100 * step } else { 3 * step + at * (1 << 40) };
            let low = if at == 0 { 0 } else { (at % 100) << 50 | at };
            Key { low: low & (u64::MAX >> 2), high: high & !0xf000 }
        };
        let mut keys: Vec<Key> = (0..count).map(key).collect();
        if let Some(last) = keys.last_mut().filter(|_| count > 1) {
            *last = Key { low: u64::MAX >> 2, high: !0xf000 };
        }
        keys.sort_by_key(|key| order(*key));
        keys
    }

    fn sighting(at: usize) -> Sighting {
        Sighting { time_ns: u64::MAX - at as u64, source: u16::MAX - at as u16 }
    }

    #[test]
    fn an_entry_is_that_of_its_own_key_and_of_no_other() {
        let key = Key { low: 0x2345_6789_abcd_ef01, high: 0xfedc_ba98_7654_0210 };
        for tag in 0..TAGS {
            let entry = Entry { words: key.tagged(tag), sighting: Sighting::default() };
            assert!(entry.is(key), "tag {tag}");
            for bit in (0..62).map(|bit| 1 << bit) {
                assert!(!entry.is(Key { low: key.low ^ bit, ..key }), "tag {tag}");
            }
            for bit in (0..64).filter(|bit| !(12..16).contains(bit)).map(|bit| 1 << bit) {
                assert!(!entry.is(Key { high: key.high ^ bit, ..key }), "tag {tag}");
            }
        }
        let zero = Key::default();
        assert!(!Entry::default().is(zero), "what was never written is no key's");
        assert!(Entry { words: zero.tagged(0), sighting: Sighting::default() }.is(zero));
    }

    #[test]
    fn of_a_run_of_any_length_every_id_is_found_and_no_neighbour() {
        let dir = tempfile::tempdir().unwrap();
        for with_sightings in [false, true] {
            for count in [1, 2, 127, 128, 129, 255, 256, 257, 511, 512, 513, 5_000] {
                let keys = keys(count);
                let mut writer = RunWriter::create(dir.path(), with_sightings).unwrap();
                for (at, key) in keys.iter().enumerate() {
                    let words = key.tagged(at as u64 % TAGS);
                    writer.push(&Entry { words, sighting: sighting(at) }).unwrap();
                }
                let run = writer.finish().unwrap();
                let per_block = BLOCK / if with_sightings { 32 } else { 16 };
                let blocks = count.div_ceil(per_block);
                assert_eq!((run.ids(), run.bytes_on_disk()), (count as u64, (blocks * BLOCK) as u64));
                for (at, key) in keys.iter().enumerate() {
                    let found = run.find(*key).unwrap().unwrap();
                    assert!(found.is(*key), "{at} of {count}");
                    assert_eq!(found.words, key.tagged(at as u64 % TAGS), "{at} of {count}");
                    let expected = if with_sightings { sighting(at) } else { Sighting::default() };
                    assert_eq!(found.sighting, expected, "{at} of {count}");
                    // The same low word, or the same high word, with the other one beside it.
                    for near in [Key { low: key.low ^ 1, ..*key }, Key { high: key.high ^ 1, ..*key }] {
                        let is_there = keys.binary_search_by_key(&order(near), |key| order(*key)).is_ok();
                        assert_eq!(run.find(near).unwrap().is_some(), is_there, "beside {at} of {count}");
                    }
                }
            }
        }
        let run = RunWriter::create(dir.path(), true).unwrap().finish().unwrap();
        assert!(run.find(Key::default()).unwrap().is_none());
    }
}
