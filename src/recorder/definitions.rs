//! The names and documents in a recorder's file: a list that only grows.

use crate::event::{Detail, Domain, Symbol, Tap};
use crate::fork::Birthplace;
use crate::recorder::format::words_check;
use crate::recorder::map::Part;
use crate::sync::{Mutex, lock};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a record's symbol or detail stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordedDefinition {
    /// A name.
    Name(Symbol, Box<str>),
    /// A document: compact JSON.
    Document(Detail, Box<str>),
    /// The definition of a domain that is not this crate's own, as JSON:
    /// [`DomainDef::from_json`](crate::domain::DomainDef::from_json).
    Domain(Domain, Box<str>),
}

/// What a definition is of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Tag {
    Name = 1,
    Document = 2,
    Domain = 3,
}

/// Words before a definition's text.
const HEAD_WORDS: usize = 3;

/// Takes definitions down.
pub(super) struct Log {
    state: Mutex<LogState>,
    birthplace: Birthplace,
}

struct LogState {
    area: Part,
    /// Two words: bytes in the area, and how often a definition was left out.
    counts: Part,
    at: usize,
    known: HashSet<(Tag, u64)>,
}

/// What a table of texts tells of new ones; by a tag, since two tables tell one log.
pub(super) struct Listener {
    pub(super) tag: Tag,
    pub(super) log: Arc<Log>,
}

impl Tap for Listener {
    fn comes(&self, hash: u64, text: &str) {
        self.log.put(self.tag, hash, text);
    }
}

impl Log {
    pub(super) fn new(area: Part, counts: Part) -> Log {
        let state = Mutex::new(LogState { area, counts, at: 0, known: HashSet::new() });
        Log { state, birthplace: Birthplace::here() }
    }

    /// Takes a definition down, once. In a child of the process that made the file, nothing.
    pub(super) fn put(&self, tag: Tag, key: u64, text: &str) {
        if !self.birthplace.is_here() {
            // The file is the parent's, and so is the lock.
            return;
        }
        let mut state = lock(&self.state);
        if state.known.contains(&(tag, key)) {
            return;
        }
        if state.take(tag, key, text.as_bytes()).is_none()
            && let Some(left_out) = state.counts.get(1)
        {
            left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl LogState {
    /// Takes a definition down; `None` where there is no room for it in the file, or no memory.
    fn take(&mut self, tag: Tag, key: u64, text: &[u8]) -> Option<()> {
        let len = HEAD_WORDS + text.len().div_ceil(8);
        let room = self.area.get(self.at..self.at + len)?;
        // Those that found no room are not remembered: there is no end of them.
        self.known.try_reserve(1).ok()?;
        let mut words = Vec::new();
        words.try_reserve_exact(len).ok()?;
        words.extend(text_words(text));
        let head = (tag as u64) << 32 | text.len() as u64;
        let check = entry_check(head, key, &words);
        for (to, word) in room.iter().zip([head, key, check].iter().chain(&words)) {
            to.store(*word, Ordering::Relaxed);
        }
        self.at += len;
        self.known.insert((tag, key));
        if let Some(len) = self.counts.first() {
            // Release: as the head of a track.
            len.store(self.at as u64 * 8, Ordering::Release);
        }
        Some(())
    }
}

fn text_words(text: &[u8]) -> impl Iterator<Item = u64> {
    let word_of = |chunk: &[u8]| {
        let mut word = [0; 8];
        word.iter_mut().zip(chunk).for_each(|(to, byte)| *to = *byte);
        u64::from_ne_bytes(word)
    };
    text.chunks(8).map(word_of)
}

fn entry_check(head: u64, key: u64, text: &[u64]) -> u64 {
    words_check(&[head, key, words_check(text)])
}

/// Reads the definitions in `words`, up to the first that is none, and tells how many bytes they take. Behind the last
/// one there are zeros.
pub(super) fn parse(words: &[u64]) -> (Vec<RecordedDefinition>, u64) {
    let (mut definitions, mut rest) = (Vec::new(), words);
    while let Some((definition, behind)) = parse_one(rest) {
        definitions.push(definition);
        rest = behind;
    }
    (definitions, (words.len() - rest.len()) as u64 * 8)
}

fn parse_one(words: &[u64]) -> Option<(RecordedDefinition, &[u64])> {
    let (&head, &key, &check) = (words.first()?, words.get(1)?, words.get(2)?);
    let len = usize::try_from(head & 0xffff_ffff).ok()?;
    let end = HEAD_WORDS + len.div_ceil(8);
    let text = words.get(HEAD_WORDS..end)?;
    if entry_check(head, key, text) != check {
        return None;
    }
    let mut bytes: Vec<u8> = text.iter().flat_map(|word| word.to_ne_bytes()).collect();
    bytes.truncate(len);
    let text = String::from_utf8(bytes).ok()?.into_boxed_str();
    let definition = match head >> 32 {
        1 => RecordedDefinition::Name(Symbol::from_bits(key), text),
        2 => RecordedDefinition::Document(Detail::from_bits(key), text),
        3 => RecordedDefinition::Domain(Domain::new(u8::try_from(key).ok()?)?, text),
        _ => return None,
    };
    Some((definition, words.get(end..)?))
}
