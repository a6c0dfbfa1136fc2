//! Making a recorder's file, and giving its tracks to emitters.

use crate::event::{Origin, Symbols, Tap, random_bits};
use crate::recorder::definitions::{Listener, Log, Tag};
use crate::recorder::format::{
    CLOSED, DEFINITION_PAGES_MAX, GONE, IN_USE, LANES_MAX, Layout, MAGIC, ORDER_MARK, RECORD_WORDS,
    SLOT_WORDS, SLOTS_MAX, VERSION, header, track, words_check,
};
use crate::recorder::map::{Map, Part, SlotRing};
use crate::recorder::read::Recording;
use crate::recorder::track::TrackWriter;
use crate::sync::{Mutex, lock};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
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
        "{path}: the flight recorder cannot be made: {source}; choose a place with room for {bytes} bytes"
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
pub struct FlightRecorder(Arc<Inner>);

pub(super) struct Inner {
    path: PathBuf,
    map: Arc<Map>,
    layout: Layout,
    header: Part,
    log: Arc<Log>,
    state: Mutex<WriterState>,
    /// Who listens to tables of symbols on behalf of the log; tables hold them weakly.
    listeners: Mutex<Vec<Arc<dyn Tap>>>,
    /// Locked as long as the process lives: tells a reader that there is one.
    _file: File,
}

struct WriterState {
    fresh: usize,
    /// Lanes whose emitters are gone, in the order in which they went.
    gone: VecDeque<usize>,
}

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
        let inner = Inner::new(path, file, layout, now_ns).map_err(|source| {
            // Half a recorder is of no use to anyone, and would be in the way of the next try.
            let _ = std::fs::remove_file(path);
            io(source)
        })?;
        Ok(FlightRecorder(Arc::new(inner)))
    }

    /// Returns the file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Copies what the recorder holds now, while emitters write on. Events that are overwritten meanwhile count as
    /// overwritten.
    ///
    /// # Errors
    /// Never on account of the file: it is in memory.
    pub fn snapshot(&self) -> Result<Recording, crate::recorder::RecordingError> {
        let map = &self.0.map;
        Recording::of(&self.0.path, self.0.layout.words(), true, |from, words| {
            let part = map.part(from, words.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            for (to, word) in words.iter_mut().zip(part.iter()) {
                // Relaxed: a slot is believed by its check.
                *to = word.load(Ordering::Relaxed);
            }
            Ok(())
        })
    }

    /// Takes down the names and documents of `symbols`, and from now on each new one before it can be used.
    pub(crate) fn listen(&self, symbols: &Symbols) {
        let inner = &self.0;
        let listener = |tag| -> Arc<dyn Tap> { Arc::new(Listener { tag, log: Arc::clone(&inner.log) }) };
        let (names, documents) = (listener(Tag::Name), listener(Tag::Document));
        symbols.tap(&names, &documents);
        lock(&inner.listeners).extend([names, documents]);
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
        let writer = track.and_then(|track| inner.begin(track, name, origin));
        if writer.is_none() {
            inner.count(header::WITHOUT_LANE, 1);
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

impl Inner {
    fn new(path: &Path, mut file: File, layout: Layout, now_ns: u64) -> io::Result<Inner> {
        // Zeros, not a hole: what has no room is to fail here, and not when it is first touched.
        let zeros = [0; 1 << 16];
        let mut left = layout.words() * 8;
        while left > 0 {
            let now = left.min(zeros.len() as u64) as usize;
            file.write_all(zeros.get(..now).unwrap_or(&zeros))?;
            left -= now as u64;
        }
        file.try_lock().map_err(io::Error::from)?;
        let map = Map::new(&file, layout.words())?;
        let part = |from, len| map.part(from, len).ok_or(io::ErrorKind::UnexpectedEof);
        let header = part(0, header::FORGOTTEN + 1)?;
        let run = random_bits();
        let mut words = [0; header::CHECK];
        words[header::MAGIC] = MAGIC;
        words[header::VERSION] = VERSION;
        words[header::ORDER] = ORDER_MARK;
        words[header::RUN] = run as u64;
        words[header::RUN + 1] = (run >> 64) as u64;
        words[header::CREATED] = now_ns;
        words[header::LANES] = layout.tracks as u64;
        words[header::SIZES] = layout.sizes_word();
        for (to, word) in header.iter().zip(words.iter().chain([&words_check(&words)])) {
            to.store(*word, Ordering::Relaxed);
        }
        let area = part(layout.definitions(), layout.definition_words())?;
        let log = Arc::new(Log::new(area, part(header::DEFINITIONS_LEN, 2)?));
        let state = Mutex::new(WriterState { fresh: 0, gone: VecDeque::new() });
        let listeners = Mutex::new(Vec::new());
        Ok(Inner { path: path.to_owned(), map, layout, header, log, state, listeners, _file: file })
    }

    /// Writes the track's header and makes its writer; the book is locked.
    fn begin(self: &Arc<Inner>, track: usize, name: &str, origin: Origin) -> Option<TrackWriter> {
        let layout = self.layout;
        let words = self.map.part(layout.lane_header(track), track::WORDS)?;
        let set = |at: usize, value: u64| {
            if let Some(word) = words.get(at) {
                // Release: none of it may be put before what comes first here.
                word.store(value, Ordering::Release);
            }
        };
        set(track::STATE, 0);
        // From here on it is no track, whatever is in its slots.
        set(track::CHECK, 0);
        let before = words.get(track::HEAD)?.load(Ordering::Relaxed);
        self.count(header::FORGOTTEN, before);
        set(track::HEAD, 0);
        let whole = self.map.part(layout.slots_of(track), layout.slots * SLOT_WORDS)?;
        if before > 0 {
            // What an earlier emitter left is not to look like an event that was begun.
            whole.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
        let room = track::NAME_WORDS * 8;
        let len = (0..=name.len().min(room)).rfind(|len| name.is_char_boundary(*len)).unwrap_or(0);
        // Drawn anew, so that no slot that a crash left of the track's earlier emitter fits its check.
        let salt = random_bits() as u64;
        set(track::SALT, salt);
        set(track::LEN, len as u64);
        set(track::ORIGIN, origin.bits() as u64);
        set(track::ORIGIN + 1, (origin.bits() >> 64) as u64);
        let mut text = [0; track::NAME_WORDS * 8];
        text.iter_mut().zip(name.bytes().take(len)).for_each(|(to, byte)| *to = byte);
        for (at, word) in text.as_chunks::<8>().0.iter().enumerate() {
            set(track::NAME + at, u64::from_ne_bytes(*word));
        }
        let checked: Vec<u64> =
            words.get(track::SALT..track::CHECK)?.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        set(track::CHECK, words_check(&checked));
        set(track::STATE, IN_USE);
        let head = self.map.part(layout.lane_header(track) + track::HEAD, 1)?;
        let (first_record, first_check) = layout.slot(track, 0);
        let records = self.map.part(first_record, layout.slots * RECORD_WORDS)?;
        let slots = SlotRing::new(records, self.map.part(first_check, layout.slots)?)?;
        Some(TrackWriter::new(Arc::clone(self), track, salt, slots, head))
    }

    /// The track's emitter is gone; its events stay until the track is given away.
    pub(super) fn end(&self, track: usize) {
        let mut state = lock(&self.state);
        if let Some(state) = self.map.part(self.layout.lane_header(track), 1) {
            state.iter().for_each(|state| state.store(GONE, Ordering::Release));
        }
        state.gone.push_back(track);
    }

    fn count(&self, at: usize, more: u64) {
        if let Some(word) = self.header.get(at) {
            word.fetch_add(more, Ordering::Relaxed);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(state) = self.header.get(header::STATE) {
            state.store(CLOSED, Ordering::Release);
        }
    }
}

fn layout(options: &RecorderOptions) -> Result<Layout, RecorderError> {
    let refuse = |option, value, valid| Err(RecorderError::Option { option, value, valid });
    if !(1..=SLOTS_MAX).contains(&options.slots) || !options.slots.is_power_of_two() {
        return refuse("slots", options.slots, "a power of two from 1 to 16777216");
    }
    if !(1..=LANES_MAX).contains(&options.tracks) {
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
