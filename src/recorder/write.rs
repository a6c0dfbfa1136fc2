//! Making a recorder's file, and giving its tracks to emitters.

use crate::directory::{is_at, size_hint};
use crate::event::{Domain, Origin, Symbols, Tap};
use crate::recorder::definitions::{Listener, Tag};
use crate::recorder::file::RecorderFile;
use crate::recorder::format::{DEFINITION_PAGES_MAX, Layout, SLOTS_MAX, TRACKS_MAX, header};
use crate::recorder::read::Recording;
use crate::recorder::track::TrackWriter;
use crate::sync::lock;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How much a flight recorder holds; its file takes about `tracks * slots * 72` bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecorderOptions {
    /// Events that are kept of each emitter: a power of two, 1 to 16,777,216.
    pub slots: usize,
    /// Emitters that can be there at once: 1 to 4,096. An emitter without a track is not recorded, which is counted. The
    /// tracks of emitters that are gone are given away last, those gone longest first.
    pub tracks: usize,
    /// Bytes for names and documents: up to 1 GiB, rounded up to pages. The first ones are kept; those for which there is
    /// no room any more are left out, which is counted.
    pub definition_bytes: usize,
}

impl Default for RecorderOptions {
    /// 4,096 events of each of 64 emitters, and 1 MiB of names: 20 MB in all.
    fn default() -> RecorderOptions {
        RecorderOptions { slots: 4096, tracks: 64, definition_bytes: 1 << 20 }
    }
}

/// Why a flight recorder was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecorderError {
    /// An option is out of range.
    #[error("option `{option}` is {value}; give {valid}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        value: usize,
        /// What would do.
        valid: &'static str,
    },
    /// There is a file, which may be what a dead process left.
    #[error("{path}: is there already; recover what it holds and remove it, or choose another name")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error(
        "{path}: the flight recorder cannot be made: {source}; choose a place with room for {bytes} bytes{}",
        size_hint(source)
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// The bytes that it takes.
        bytes: u64,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A flight recorder's file, open for writing. Clones are the same recorder; it is closed in order when the last one and
/// the last emitter are gone.
#[derive(Clone)]
pub struct FlightRecorder(Arc<RecorderFile>);

impl FlightRecorder {
    /// Makes the file, as long as it will ever be. `now_ns` is the time, in nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// When an option is out of range, there is a file of that name, or there is no room.
    pub fn create(
        path: &Path,
        options: &RecorderOptions,
        now_ns: u64,
    ) -> Result<FlightRecorder, RecorderError> {
        let layout = layout(options)?;
        let bytes = layout.words() * 8;
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => RecorderError::Exists { path: path.to_owned() },
            _ => RecorderError::Io { path: path.to_owned(), bytes, source },
        };
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(io)?;
        let made = file.try_clone().map_err(io)?;
        let inner = RecorderFile::new(path, file, layout, now_ns).map_err(|source| {
            // Half a recorder is of no use to anyone, and would be in the way of the next try. Another file may be there by now.
            if is_at(&made, path) {
                let _ = std::fs::remove_file(path);
            }
            io(source)
        })?;
        Ok(FlightRecorder(Arc::new(inner)))
    }

    /// Returns the file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Removes the file, where its path still leads to it: another one, which somebody put in its place, stays, and so does the file
    /// of a process that this one was forked by. Whoever has it mapped keeps what it had.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn remove_file(&self) -> io::Result<()> {
        if self.0.is_here() && self.0.is_in_place() { std::fs::remove_file(&self.0.path) } else { Ok(()) }
    }

    /// Copies what the recorder holds now, while emitters write on. Events that are overwritten meanwhile count as
    /// overwritten.
    ///
    /// # Errors
    /// Never on account of the file: it is in memory.
    pub fn snapshot(&self) -> Result<Recording, crate::recorder::fault::RecordingError> {
        let map = &self.0.map;
        Recording::of(&self.0.path, self.0.layout.words(), true, |from: usize, words: &mut [u64]| {
            let part = map.part(from, words.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            for (to, word) in words.iter_mut().zip(part.iter()) {
                // Relaxed: a slot is believed by its check.
                *to = word.load(Ordering::Relaxed);
            }
            Ok(())
        })
    }

    /// Tells whether the file is this process's, and not that of a parent that has forked it.
    pub(crate) fn is_here(&self) -> bool {
        self.0.is_here()
    }

    /// Takes down how a domain is defined.
    pub(crate) fn define_domain(&self, domain: Domain, json: &str) {
        self.0.log.put(Tag::Domain, u64::from(domain.number()), json);
    }

    /// Takes down the names and documents of `symbols`, and from now on each new one before it can be used.
    pub(crate) fn listen(&self, symbols: &Symbols) {
        let inner = &self.0;
        let listener = |tag| -> Arc<dyn Tap> { Arc::new(Listener { tag, log: Arc::clone(&inner.log) }) };
        let (names, documents) = (listener(Tag::Name), listener(Tag::Document));
        symbols.tap(&names, &documents);
        lock(&inner.listeners).extend([names, documents]);
    }

    /// Takes down of what a pipeline tells its observers no emitter knows: what processors derive, and what an earlier part of its run
    /// told.
    pub(crate) fn begins(&self, derives: bool, is_continued: bool) {
        self.0.count(header::DERIVING, u64::from(derives));
        self.0.count(header::CONTINUED, u64::from(is_continued));
    }

    /// Gives an emitter of the pipeline `origin` a track; `None`, which is counted, when all are in use.
    pub(crate) fn track(&self, name: &str, origin: Origin) -> Option<TrackWriter> {
        let inner = &self.0;
        let mut state = lock(&inner.state);
        let track = if state.fresh < inner.layout.tracks {
            state.fresh += 1;
            Some(state.fresh - 1)
        } else {
            state.gone.pop_front()
        };
        let writer = track.and_then(|track| {
            let (salt, slots, head) = inner.begin(track, name, origin)?;
            Some(TrackWriter::new(Arc::clone(inner), track, salt, slots, head))
        });
        if writer.is_none() {
            inner.count(header::WITHOUT_TRACK, 1);
        }
        writer
    }
}

impl std::fmt::Debug for FlightRecorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlightRecorder")
            .field("path", &self.0.path)
            .field("layout", &self.0.layout)
            .finish_non_exhaustive()
    }
}

fn layout(options: &RecorderOptions) -> Result<Layout, RecorderError> {
    let refuse = |option, value, valid| Err(RecorderError::Option { option, value, valid });
    if !(1..=SLOTS_MAX).contains(&options.slots) || !options.slots.is_power_of_two() {
        return refuse("slots", options.slots, "a power of two from 1 to 16777216");
    }
    if !(1..=TRACKS_MAX).contains(&options.tracks) {
        return refuse("tracks", options.tracks, "1 to 4096");
    }
    let pages = options.definition_bytes.div_ceil(4096);
    if pages > DEFINITION_PAGES_MAX {
        return refuse("definition_bytes", options.definition_bytes, "0 to 1073741824");
    }
    match Layout::new(options.tracks, options.slots, pages) {
        Some(layout) => Ok(layout),
        None => refuse("tracks", options.tracks, "fewer tracks or slots: no file is larger than 1 TiB"),
    }
}
