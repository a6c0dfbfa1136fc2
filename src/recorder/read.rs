//! Reading a recorder's file: of a process that is dead, or lives.

use crate::directory::open_regular;
use crate::event::{Origin, Record, Symbols};
use crate::recorder::definitions::{RecordedDefinition, parse};
use crate::recorder::fault::RecordingError;
use crate::recorder::format::{
    CLOSED, GONE, HEAD_BEHIND, IN_USE, Layout, MAGIC, ORDER_MARK, PAGE_WORDS, RECORD_WORDS, SLOT_WORDS,
    VERSION, header, slot_check, track, words_check,
};
use crate::recorder::words::{FileWords, Words};
use std::fs::TryLockError;
use std::io;
use std::path::Path;

/// What a flight recorder held when it was read.
#[derive(Clone, PartialEq, Debug)]
pub struct Recording {
    /// Drawn when the file was made.
    pub run: [u8; 16],
    /// When the file was made, in nanoseconds since the Unix epoch.
    pub created_ns: u64,
    /// It was closed in order: its process did not die with it open.
    pub closed: bool,
    /// Its process lives, and may write on.
    pub live: bool,
    /// The emitters' tracks, in the order in which they began.
    pub tracks: Vec<RecordedTrack>,
    /// The names and documents that the events refer to.
    pub definitions: Vec<RecordedDefinition>,
    /// Names and documents for which there was no room.
    pub definitions_left_out: u64,
    /// Bytes of names and documents that are damaged.
    pub definition_bytes_damaged: u64,
    /// Emitters that were not recorded, because all tracks were in use.
    pub emitters_without_track: u64,
    /// Events of emitters that were gone, whose tracks were given to others.
    pub forgotten: u64,
    /// Pipelines with processors, whose derived events are in no track.
    pub deriving_pipelines: u64,
    /// Pipelines that began with the ids of an earlier part of their run, whose events are not here.
    pub continued_pipelines: u64,
    /// Events that emitters refused, as far as these are gone.
    pub refused: u64,
    /// Tracks that cannot be read, because their headers are damaged.
    pub tracks_damaged: u64,
}

/// The last events of one emitter. `recorded = records + overwritten + damaged`.
#[derive(Clone, PartialEq, Debug)]
pub struct RecordedTrack {
    /// The emitter's name, or its first 72 bytes.
    pub name: String,
    /// The pipeline in which the emitter was.
    pub origin: Origin,
    /// Its last events, in order, with the ids that the pipeline gave them or would have.
    pub records: Vec<Record>,
    /// Events that it wrote in all.
    pub recorded: u64,
    /// Events that later ones were written over.
    pub overwritten: u64,
    /// Events whose slots hold something else.
    pub damaged: u64,
    /// An event was being written when the process died. It counts nowhere else: its call had not returned.
    pub torn: bool,
    /// The emitter was gone when the file was read.
    pub gone: bool,
}

/// Numbers of a source that are not in a recording, where events are before or behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NumberGap {
    /// The source.
    pub source: u16,
    /// The first number that is missing.
    pub first: u32,
    /// The last number that is missing.
    pub last: u32,
}

/// How often a slot that is being written is read again.
const TRIES: u32 = 1 << 10;

/// Slots that are read at once: a file may tell of more than there is memory for, and have holes for them.
const PIECE_SLOTS: usize = 1 << 12;

impl Recording {
    /// Reads the file at `path`, which stays as it is.
    ///
    /// Of a file whose process lives, what is overwritten meanwhile counts as overwritten. One that a live process
    /// writes in another address space is best told to copy itself: [`FlightRecorder::snapshot`](super::FlightRecorder).
    ///
    /// # Errors
    /// When the file is no recorder's, is cut, or cannot be read. Damage to events is no error: it is counted.
    pub fn read(path: &Path) -> Result<Recording, RecordingError> {
        let io = |source| RecordingError::Io { path: path.to_owned(), offset: 0, source };
        // Whatever else has the name is not waited for.
        let file = open_regular(path).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => RecordingError::Foreign { path: path.to_owned() },
            _ => io(error),
        })?;
        let words = file.metadata().map_err(io)?.len() / 8;
        // The writer holds the lock as long as it lives.
        let live = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        Recording::of(path, words, live, FileWords(file))
    }

    /// Reads the bytes of a file that no process has open; `path` is what errors call it.
    ///
    /// # Errors
    /// As for [`Recording::read`].
    pub fn of_bytes(path: &Path, bytes: &[u8]) -> Result<Recording, RecordingError> {
        Recording::of(path, bytes.len() as u64 / 8, false, |from: usize, words: &mut [u64]| {
            let to: &mut [u8] = bytemuck::cast_slice_mut(words);
            let there = bytes.get(from * 8..).and_then(|rest| rest.get(..to.len()));
            to.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    /// Reads a file of `file_words` words.
    pub(super) fn of(
        path: &Path,
        file_words: u64,
        live: bool,
        words: impl Words,
    ) -> Result<Recording, RecordingError> {
        let mut source = Source { path, words };
        if file_words < PAGE_WORDS as u64 {
            return Err(RecordingError::Foreign { path: path.to_owned() });
        }
        let head: [u64; header::REFUSED + 1] = source.array(0)?;
        let layout = layout(path, &head)?;
        if file_words < layout.words() {
            let (len, expected) = (file_words * 8, layout.words() * 8);
            return Err(RecordingError::Short { path: path.to_owned(), len, expected });
        }
        let mut recording = Recording {
            run: bytemuck::cast([head[header::RUN], head[header::RUN + 1]]),
            created_ns: head[header::CREATED],
            closed: head[header::STATE] == CLOSED,
            live,
            tracks: Vec::new(),
            definitions: Vec::new(),
            definitions_left_out: head[header::DEFINITIONS_LEFT_OUT],
            definition_bytes_damaged: 0,
            emitters_without_track: head[header::WITHOUT_TRACK],
            forgotten: head[header::FORGOTTEN],
            deriving_pipelines: head[header::DERIVING],
            continued_pipelines: head[header::CONTINUED],
            refused: head[header::REFUSED],
            tracks_damaged: 0,
        };
        for track in 0..layout.tracks {
            match source.track(&layout, track, live)? {
                Track::Free => {}
                Track::Damaged => recording.tracks_damaged += 1,
                Track::Read(track) => recording.tracks.push(track),
            }
        }
        // Read behind the events: each one's names were there before it.
        let [len]: [u64; 1] = source.array(header::DEFINITIONS_LEN)?;
        let sound;
        (recording.definitions, sound) = source.definitions(&layout)?;
        recording.definition_bytes_damaged = len.saturating_sub(sound);
        Ok(recording)
    }

    /// Returns the pipelines whose emitters were recorded, in the order in which they began.
    #[must_use]
    pub fn origins(&self) -> Vec<Origin> {
        let mut origins = Vec::new();
        for track in &self.tracks {
            if !origins.contains(&track.origin) {
                origins.push(track.origin);
            }
        }
        origins
    }

    /// Returns all events, pipeline after pipeline, by source and number.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.origins().into_iter().flat_map(|origin| self.records_of(origin)).collect()
    }

    /// Returns all events as they happened: by time, each source's in the order of its numbers. Those of several pipelines come
    /// among each other.
    #[must_use]
    pub fn merged_records(&self) -> Vec<Record> {
        let mut due: Vec<_> =
            self.origins().into_iter().flat_map(|origin| self.due_records_of(origin)).collect();
        // Stable: what is due at once stays pipeline after pipeline.
        due.sort_by_key(|(due_ns, _)| *due_ns);
        due.into_iter().map(|(_, record)| record).collect()
    }

    /// Returns the texts of the definitions of domains that are not this crate's own.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.definitions.iter().filter_map(|definition| match definition {
            RecordedDefinition::Domain(_, text) => Some(&**text),
            _ => None,
        })
    }

    /// Returns the events of one pipeline, by source and number.
    #[must_use]
    pub fn records_of(&self, origin: Origin) -> Vec<Record> {
        let tracks = self.tracks.iter().filter(|track| track.origin == origin);
        let mut records: Vec<Record> = tracks.flat_map(|track| &track.records).copied().collect();
        records.sort_by_key(|record| (record.source(), record.seq()));
        records
    }

    /// Returns the events of one pipeline as they happened: by time, each source's in the order of its numbers. An event whose time is
    /// ahead of what its source told later does not hold that back.
    #[must_use]
    pub fn merged_records_of(&self, origin: Origin) -> Vec<Record> {
        self.due_records_of(origin).into_iter().map(|(_, record)| record).collect()
    }

    /// The events of one pipeline as they happened, each with the time from which on it is due.
    fn due_records_of(&self, origin: Origin) -> Vec<(u64, Record)> {
        let mut due: Vec<(u64, Record)> =
            self.records_of(origin).into_iter().map(|record| (record.time_ns(), record)).collect();
        let mut later: Option<(u64, u16)> = None;
        for (due_ns, record) in due.iter_mut().rev() {
            if let Some((later_ns, source)) = later
                && source == record.source()
            {
                *due_ns = later_ns.min(*due_ns);
            }
            later = Some((*due_ns, record.source()));
        }
        // Stable: what is due at once stays by source and number.
        due.sort_by_key(|(due_ns, _)| *due_ns);
        due
    }

    /// Returns the numbers that are missing before and between the events of each source of each pipeline. An event that an
    /// emitter could not make has a number, too.
    #[must_use]
    pub fn gaps(&self) -> Vec<NumberGap> {
        let mut gaps = Vec::new();
        for origin in self.origins() {
            let mut before: Option<Record> = None;
            for record in self.records_of(origin) {
                let same = before.filter(|before| before.source() == record.source());
                let first = same.map_or(0, |before| before.seq().saturating_add(1));
                if record.seq() > first {
                    gaps.push(NumberGap { source: record.source(), first, last: record.seq() - 1 });
                }
                before = Some(record);
            }
        }
        gaps
    }

    /// Puts the names and documents into `symbols`; returns how many do not fit what they stand for.
    pub fn define_in(&self, symbols: &Symbols) -> u64 {
        let refused = |definition: &&RecordedDefinition| match definition {
            RecordedDefinition::Name(symbol, name) => symbols.intern(name) != Ok(*symbol),
            RecordedDefinition::Document(detail, text) => {
                symbols.details().intern(text).ok() != Some(*detail)
            }
            RecordedDefinition::Domain(..) => false,
        };
        self.definitions.iter().filter(refused).count() as u64
    }

    /// Tells whether nothing but overwritten events is missing, and nobody may doubt it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let track_is_whole = |track: &RecordedTrack| track.damaged == 0 && !track.torn;
        self.tracks_damaged == 0
            && self.definition_bytes_damaged == 0
            && self.definitions_left_out == 0
            && self.emitters_without_track == 0
            && self.tracks.iter().all(track_is_whole)
    }
}

enum Track {
    Free,
    Damaged,
    Read(RecordedTrack),
}

/// Where words come from.
struct Source<'a, W> {
    path: &'a Path,
    words: W,
}

impl<W: Words> Source<'_, W> {
    fn fill(&mut self, from: usize, words: &mut [u64]) -> Result<(), RecordingError> {
        let path = self.path;
        self.words.load(from, words).map_err(|source| RecordingError::Io {
            path: path.to_owned(),
            offset: from as u64 * 8,
            source,
        })
    }

    fn array<const N: usize>(&mut self, from: usize) -> Result<[u64; N], RecordingError> {
        let mut words = [0; N];
        self.fill(from, &mut words)?;
        Ok(words)
    }

    /// `len` is within a file that is there, so nobody can ask for more memory than there is file.
    fn words(&mut self, from: usize, len: usize) -> Result<Vec<u64>, RecordingError> {
        let mut words = vec![0; len];
        self.fill(from, &mut words)?;
        Ok(words)
    }

    /// Reads the definitions, and no more than there are: as [`parse`].
    fn definitions(&mut self, layout: &Layout) -> Result<(Vec<RecordedDefinition>, u64), RecordingError> {
        let room = layout.definition_words();
        let mut len = room.min(PIECE_SLOTS * SLOT_WORDS);
        loop {
            let words = self.words(layout.definitions(), len)?;
            let (definitions, sound) = parse(&words);
            // Behind the last one there are zeros; other words may be one that goes on behind this piece.
            if len == room || words.get(sound as usize / 8) == Some(&0) {
                return Ok((definitions, sound));
            }
            len = room.min(len * 2);
        }
    }

    fn track(&mut self, layout: &Layout, number: usize, live: bool) -> Result<Track, RecordingError> {
        // A track that begins while it is read has words of both times.
        let mut tries = if live { TRIES } else { 1 };
        loop {
            tries -= 1;
            match self.track_as_it_is(layout, number, live)? {
                Track::Damaged if tries > 0 => {}
                track => return Ok(track),
            }
        }
    }

    fn track_as_it_is(
        &mut self,
        layout: &Layout,
        number: usize,
        live: bool,
    ) -> Result<Track, RecordingError> {
        let place = layout.track_header(number);
        let head: [u64; track::WORDS] = self.array(place)?;
        let state = head[track::STATE];
        let sound = words_check(&head[track::SALT..track::CHECK]) == head[track::CHECK];
        if state == 0 && head[track::HEAD] == 0 {
            // Where events are that nobody has begun to write, the state is damaged.
            let is_free = !sound || self.slots(layout, number, head[track::SALT], 1)?.events.is_empty();
            return Ok(if is_free { Track::Free } else { Track::Damaged });
        }
        let bytes: Vec<u8> =
            head[track::NAME..track::CHECK].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let len = usize::try_from(head[track::LEN]).unwrap_or(usize::MAX);
        let name = bytes.get(..len).and_then(|name| std::str::from_utf8(name).ok());
        let (true, Some(name), IN_USE | GONE) = (sound, name, state) else { return Ok(Track::Damaged) };
        let slots = self.slots(layout, number, head[track::SALT], if live { TRIES } else { 1 })?;
        let [end]: [u64; 1] = self.array(place + track::HEAD)?;
        let mut track = slots.account(layout.slots as u64, end, live);
        let [low, high] = [head[track::ORIGIN], head[track::ORIGIN + 1]];
        let origin = Origin::from_bits(u128::from(low) | u128::from(high) << 64);
        Record::fill_ids(&mut track.records, origin);
        Ok(Track::Read(RecordedTrack { name: name.to_owned(), origin, gone: state == GONE, ..track }))
    }

    /// Reads every slot of a track that holds an event that can be there.
    fn slots(
        &mut self,
        layout: &Layout,
        track: usize,
        salt: u64,
        tries: u32,
    ) -> Result<Slots, RecordingError> {
        let head_at = layout.track_header(track) + track::HEAD;
        let slots = layout.slots as u64;
        let [mut head]: [u64; 1] = self.array(head_at)?;
        let mut found = Slots { events: Vec::new(), misfits: Vec::new() };
        let mut first = 0;
        // A hole has no event: whoever made the file has written all of it.
        while let Some(next) = self.next_slot(layout, track, first) {
            first = next / PIECE_SLOTS * PIECE_SLOTS;
            let piece = self.piece(layout, track, first, PIECE_SLOTS.min(layout.slots - first))?;
            for (slot, mut words) in (first..).zip(piece) {
                // Nothing was ever here, and nobody is there who might write, or he has told of nothing here yet.
                if words == ([0; RECORD_WORDS], 0) && (tries == 1 || slot as u64 >= head) {
                    continue;
                }
                let mut tries = tries;
                loop {
                    let fits = |number: &u64| slot_check(&words.0, salt, *number) == words.1;
                    match candidates(head, slot as u64, slots).find(fits) {
                        Some(number) => {
                            found.events.push((number, Record::from_words(words.0)));
                            break;
                        }
                        None if tries > 1 => {
                            tries -= 1;
                            let (record, check) = layout.slot(track, slot);
                            words = (self.array(record)?, self.array::<1>(check)?[0]);
                            [head] = self.array(head_at)?;
                        }
                        None => {
                            let is_empty = words == ([0; RECORD_WORDS], 0);
                            found.misfits.extend((!is_empty).then_some(slot as u64));
                            break;
                        }
                    }
                }
            }
            first += PIECE_SLOTS;
        }
        Ok(found)
    }

    /// Returns the first slot at or after `first` that may have something in it.
    fn next_slot(&mut self, layout: &Layout, track: usize, first: usize) -> Option<usize> {
        if first >= layout.slots {
            return None;
        }
        let ((records, checks), (record, check)) = (layout.slot(track, 0), layout.slot(track, first));
        let by_record = self.words.next_data(record).map(|at| (at - records) / RECORD_WORDS);
        let by_check = self.words.next_data(check).map(|at| at - checks);
        by_record.into_iter().chain(by_check).min().filter(|slot| *slot < layout.slots)
    }

    /// Reads `len` slots, each a record's words and its check.
    fn piece(
        &mut self,
        layout: &Layout,
        track: usize,
        first: usize,
        len: usize,
    ) -> Result<Vec<([u64; RECORD_WORDS], u64)>, RecordingError> {
        let (record, check) = layout.slot(track, first);
        let (records, checks) = (self.words(record, len * RECORD_WORDS)?, self.words(check, len)?);
        Ok(records.as_chunks().0.iter().copied().zip(checks).collect())
    }
}

/// The numbers of the events that can be in a slot when `head` events were told: those that were not told yet, the last
/// ones that were, and what the event at work has not yet been written over; the latest first.
fn candidates(head: u64, slot: u64, slots: u64) -> impl Iterator<Item = u64> {
    let last = head.saturating_add(HEAD_BEHIND);
    let newest = last.checked_sub(last.wrapping_sub(slot) % slots);
    let earlier =
        move |number: &u64| number.checked_sub(slots).filter(|number| number.saturating_add(slots) >= head);
    std::iter::successors(newest, earlier)
}

/// What was found in the slots of a track.
struct Slots {
    /// By the event's number in its track.
    events: Vec<(u64, Record)>,
    /// Slots that hold something, and no event that can be there.
    misfits: Vec<u64>,
}

impl Slots {
    /// Says what became of all events, when `head` of them had been written.
    fn account(mut self, slots: u64, head: u64, live: bool) -> RecordedTrack {
        self.events.sort_unstable_by_key(|(number, _)| *number);
        let newest = self.events.last().map_or(0, |(number, _)| number.saturating_add(1));
        // Those behind the head are whole, up to the one at which the process died.
        let recorded = head.max(newest);
        let kept = self.events.len() as u64;
        let torn = !live && self.misfits.contains(&(recorded % slots));
        let overwritten = if live {
            recorded - kept
        } else {
            // The event in a torn slot is gone as well.
            recorded.saturating_sub(slots) + u64::from(torn && recorded >= slots)
        };
        let damaged = recorded.saturating_sub(kept).saturating_sub(overwritten);
        // Slots that hold something of which the head does not know: it is the head that is damaged.
        let unknown = (self.misfits.len() as u64 - u64::from(torn)).saturating_sub(damaged);
        let unknown = if live { 0 } else { unknown };
        RecordedTrack {
            name: String::new(),
            origin: Origin::from_bits(0),
            records: self.events.into_iter().map(|(_, record)| record).collect(),
            recorded: recorded.saturating_add(unknown),
            overwritten,
            damaged: damaged.saturating_add(unknown),
            torn,
            gone: false,
        }
    }
}

fn layout(path: &Path, head: &[u64]) -> Result<Layout, RecordingError> {
    let path = || path.to_owned();
    let [magic, version, order, ..] = head else { return Err(RecordingError::Foreign { path: path() }) };
    if *magic != MAGIC {
        return Err(RecordingError::Foreign { path: path() });
    }
    if *order == ORDER_MARK.swap_bytes() {
        return Err(RecordingError::ByteOrder { path: path() });
    }
    if *version != VERSION {
        return Err(RecordingError::Version { path: path(), version: *version });
    }
    let (words, check) = head.split_at_checked(header::CHECK).unwrap_or_default();
    let sound = check.first() == Some(&words_check(words));
    let sizes = words.get(header::TRACKS).zip(words.get(header::SIZES));
    let layout = sizes.and_then(|(tracks, sizes)| Layout::from_words(*tracks, *sizes));
    layout.filter(|_| sound).ok_or_else(|| RecordingError::Header { path: path() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_holes_is_read_in_pieces() {
        // What a lying header could tell of: two tracks of 256 Ki slots each, 8 MiB of names, nothing in them.
        let layout = Layout::new(2, 1 << 18, 2048).unwrap();
        let mut head = [0; header::FORGOTTEN + 1];
        (head[0], head[1], head[2]) = (MAGIC, VERSION, ORDER_MARK);
        (head[header::TRACKS], head[header::SIZES]) = (2, layout.sizes_word());
        head[header::CHECK] = words_check(&head[..header::CHECK]);
        let mut in_use = [0; track::WORDS];
        (in_use[track::STATE], in_use[track::HEAD]) = (IN_USE, u64::MAX / 2);
        in_use[track::CHECK] = words_check(&in_use[track::SALT..track::CHECK]);
        let (mut longest, mut total) = (0, 0);
        let recording =
            Recording::of(Path::new("x"), layout.words(), false, |from: usize, words: &mut [u64]| {
                (longest, total) = (longest.max(words.len()), total + words.len());
                words.fill(0);
                for (at, part) in
                    [(0, &head[..]), (layout.track_header(0), &in_use), (layout.track_header(1), &in_use)]
                {
                    if let Some(part) = from.checked_sub(at).and_then(|skip| part.get(skip..)) {
                        words.iter_mut().zip(part).for_each(|(to, word)| *to = *word);
                    }
                }
                Ok(())
            });
        let recording = recording.unwrap();
        assert_eq!((recording.tracks.len(), recording.tracks_damaged), (2, 0));
        assert!(recording.tracks.iter().all(|track| track.records.is_empty() && track.damaged == 1 << 18));
        assert!(longest <= PIECE_SLOTS * SLOT_WORDS, "{longest} words at once");
        let slots = 2 * (1 << 18) * SLOT_WORDS;
        assert!((slots..slots + layout.definition_words() / 8).contains(&total), "{total} words in all");
    }
}
