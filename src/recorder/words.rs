//! Where a recording's words come from: a file, or memory.

use crate::directory::next_data;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// What a recording is read from.
pub(super) trait Words {
    /// Fills `words` with those from `from` on.
    fn load(&mut self, from: usize, words: &mut [u64]) -> io::Result<()>;

    /// Returns the first place at or after `from` where there may be something else than zeros.
    fn next_data(&mut self, from: usize) -> Option<usize> {
        Some(from)
    }
}

impl<L: FnMut(usize, &mut [u64]) -> io::Result<()>> Words for L {
    fn load(&mut self, from: usize, words: &mut [u64]) -> io::Result<()> {
        self(from, words)
    }
}

/// The words of a file. Its holes, which cost nothing to make, are not read.
pub(super) struct FileWords(pub(super) File);

impl Words for FileWords {
    fn load(&mut self, from: usize, words: &mut [u64]) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(from as u64 * 8))?;
        self.0.read_exact(bytemuck::cast_slice_mut(words))
    }

    fn next_data(&mut self, from: usize) -> Option<usize> {
        let data = next_data(&self.0, from as u64 * 8)?;
        usize::try_from(data / 8).ok()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use crate::recorder::format::{IN_USE, Layout, MAGIC, ORDER_MARK, VERSION, header, track, words_check};
    use crate::recorder::read::Recording;
    use std::os::unix::fs::FileExt;
    use std::time::{Duration, Instant};

    #[test]
    fn a_terabyte_of_holes_is_not_read() {
        // As many tracks as there can be, and as many slots as a file has room for; each tells of events, and has none.
        let layout = Layout::new(1 << 12, 1 << 21, 1 << 10).unwrap();
        let mut head = [0; header::FORGOTTEN + 1];
        (head[header::MAGIC], head[header::VERSION], head[header::ORDER]) = (MAGIC, VERSION, ORDER_MARK);
        (head[header::TRACKS], head[header::SIZES]) = (1 << 12, layout.sizes_word());
        head[header::CHECK] = words_check(&head[..header::CHECK]);
        let mut in_use = [0; track::WORDS];
        (in_use[track::STATE], in_use[track::HEAD]) = (IN_USE, u64::MAX / 2);
        in_use[track::CHECK] = words_check(&in_use[track::SALT..track::CHECK]);
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |words: &[u64], at: usize| {
            file.as_file().write_all_at(bytemuck::cast_slice(words), at as u64 * 8).unwrap();
        };
        if file.as_file().set_len(layout.words() * 8).is_err() {
            println!("skipped: this file system has no files of {} bytes", layout.words() * 8);
            return;
        }
        write(&head, 0);
        (0..1 << 12).for_each(|number| write(&in_use, layout.track_header(number)));
        // Something in the last slot of all is found.
        write(&[7], layout.slot((1 << 12) - 1, (1 << 21) - 1).1);
        let start = Instant::now();
        let recording = Recording::read(file.path()).unwrap();
        assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
        assert_eq!((recording.tracks.len(), recording.tracks_damaged), (1 << 12, 0));
        let damaged = |of: &crate::recorder::RecordedTrack| of.damaged + u64::from(of.torn);
        assert!(recording.tracks.iter().all(|track| damaged(track) == 1 << 21 && track.records.is_empty()));
    }
}
