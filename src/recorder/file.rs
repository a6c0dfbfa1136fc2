//! The recorder's file: its parts, and which emitter has which track.

use crate::directory::is_at;
use crate::event::{Origin, Tap, random_bits};
use crate::fork::Birthplace;
use crate::recorder::definitions::Log;
use crate::recorder::format::{
    CLOSED, GONE, IN_USE, Layout, MAGIC, ORDER_MARK, RECORD_WORDS, SLOT_WORDS, VERSION, header, track,
    words_check,
};
use crate::recorder::map::{Map, Part, SlotRing};
use crate::sync::{Mutex, lock};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The mapped file, and who writes where in it.
pub(super) struct RecorderFile {
    pub(super) path: PathBuf,
    pub(super) map: Arc<Map>,
    pub(super) layout: Layout,
    header: Part,
    pub(super) log: Arc<Log>,
    pub(super) state: Mutex<WriterState>,
    /// Who listens to tables of symbols on behalf of the log; tables hold them weakly.
    pub(super) listeners: Mutex<Vec<Arc<dyn Tap>>>,
    /// Locked as long as the process lives: tells a reader that there is one.
    file: File,
    birthplace: Birthplace,
}

pub(super) struct WriterState {
    pub(super) fresh: usize,
    /// Tracks whose emitters are gone, in the order in which they went.
    pub(super) gone: VecDeque<usize>,
}

impl RecorderFile {
    pub(super) fn new(path: &Path, mut file: File, layout: Layout, now_ns: u64) -> io::Result<RecorderFile> {
        // Emitters go when there may be no memory any more.
        let mut gone = VecDeque::new();
        gone.try_reserve_exact(layout.tracks)?;
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
        let header = part(0, header::REFUSED + 1)?;
        let run = random_bits();
        let mut words = [0; header::CHECK];
        words[header::MAGIC] = MAGIC;
        words[header::VERSION] = VERSION;
        words[header::ORDER] = ORDER_MARK;
        words[header::RUN] = run as u64;
        words[header::RUN + 1] = (run >> 64) as u64;
        words[header::CREATED] = now_ns;
        words[header::TRACKS] = layout.tracks as u64;
        words[header::SIZES] = layout.sizes_word();
        for (to, word) in header.iter().zip(words.iter().chain([&words_check(&words)])) {
            to.store(*word, Ordering::Relaxed);
        }
        let area = part(layout.definitions(), layout.definition_words())?;
        let log = Arc::new(Log::new(area, part(header::DEFINITIONS_LEN, 2)?));
        let state = Mutex::new(WriterState { fresh: 0, gone });
        let listeners = Mutex::new(Vec::new());
        Ok(RecorderFile {
            path: path.to_owned(),
            map,
            layout,
            header,
            log,
            state,
            listeners,
            file,
            birthplace: Birthplace::here(),
        })
    }

    /// Tells whether the path leads to the file.
    pub(super) fn is_in_place(&self) -> bool {
        is_at(&self.file, &self.path)
    }

    /// Writes the track's header; the state is locked. Returns the salt of its checks, its slots and its head.
    pub(super) fn begin(&self, track: usize, name: &str, origin: Origin) -> Option<(u64, SlotRing, Part)> {
        let layout = self.layout;
        let words = self.map.part(layout.track_header(track), track::WORDS)?;
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
        let head = self.map.part(layout.track_header(track) + track::HEAD, 1)?;
        let (first_record, first_check) = layout.slot(track, 0);
        let records = self.map.part(first_record, layout.slots * RECORD_WORDS)?;
        let slots = SlotRing::new(records, self.map.part(first_check, layout.slots)?)?;
        Some((salt, slots, head))
    }

    /// The track's emitter is gone; its events stay until the track is given away.
    pub(super) fn end(&self, track: usize) {
        if !self.is_here() {
            return;
        }
        let mut state = lock(&self.state);
        if let Some(state) = self.map.part(self.layout.track_header(track), 1) {
            state.iter().for_each(|state| state.store(GONE, Ordering::Release));
        }
        state.gone.push_back(track);
    }

    /// Tells whether the file is this process's, and not that of a parent.
    pub(super) fn is_here(&self) -> bool {
        self.birthplace.is_here()
    }

    pub(super) fn count(&self, at: usize, more: u64) {
        if let Some(word) = self.header.get(at) {
            word.fetch_add(more, Ordering::Relaxed);
        }
    }
}

impl Drop for RecorderFile {
    fn drop(&mut self) {
        if self.is_here()
            && let Some(state) = self.header.get(header::STATE)
        {
            state.store(CLOSED, Ordering::Release);
        }
    }
}
