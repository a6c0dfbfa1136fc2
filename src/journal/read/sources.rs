//! What a reader was told of sources: the names of their emitters, and the contexts that they are in.

use crate::event::{Detail, Origin};
use crate::journal::format::definition::SourceFrom;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Bytes of what a segment says of sources that are held, at most, about: far more than a writer of ours puts into one.
const HELD_BYTES_MAX: usize = 64 << 20;
/// Bytes that each name and context takes beside its text, about.
const ENTRY_BYTES: usize = 128;

/// Names of a source's emitters, by the numbers from which on they hold.
pub(super) type Names = BTreeMap<u32, Box<str>>;

/// What the segment being read has said of sources.
#[derive(Default)]
pub(super) struct ReadSources {
    /// Of the block of records that was read last.
    pub(super) origin: Option<Origin>,
    /// By origin and source: from which number on an emitter of that name had it.
    pub(super) names: HashMap<(Origin, u16), Names>,
    held_bytes: usize,
    /// What was told of a source last, since a block was handed out.
    pub(super) contexts: BTreeMap<(Origin, u16), (u32, EnteredContext)>,
    pub(super) news: Vec<(SourceFrom, Box<str>)>,
    is_handed_out: bool,
    /// A part of the segment could not be read.
    is_torn: bool,
    /// It may have said something of sources.
    may_lack: bool,
    /// Sources of which the segment has said what there is to say, or it was handed out that this is not known.
    settled: HashSet<u16>,
    /// Sources of which it was handed out that their context is not known.
    doubted: HashSet<u16>,
}

/// In which context a source is, as a journal says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EnteredContext {
    /// In none.
    None,
    /// In that of the document.
    Of(Detail),
    /// It is not known: what may have told of it is missing.
    Unknown,
}

impl ReadSources {
    /// Begins another segment, which says itself what is to be known of its sources.
    pub(super) fn begin_segment(&mut self) {
        self.names.clear();
        self.held_bytes = 0;
        (self.is_torn, self.may_lack) = (false, false);
        self.settled.clear();
    }

    /// Takes in that a part of the segment could not be read, which `may_define` something.
    pub(super) fn skip(&mut self, may_define: bool) {
        self.is_torn = true;
        if may_define {
            self.may_lack = true;
            self.settled.clear();
            self.names.clear();
        }
    }

    /// Makes room for what takes so many bytes. Where there is none, all is forgotten, and what comes then is not known to be told.
    fn hold(&mut self, len: usize) {
        self.held_bytes += ENTRY_BYTES + len;
        if self.held_bytes > HELD_BYTES_MAX {
            self.skip(true);
            self.news.clear();
            self.contexts.clear();
            self.held_bytes = ENTRY_BYTES + len;
        }
    }

    /// Forgets all.
    pub(super) fn forget(&mut self) {
        *self = ReadSources::default();
    }

    /// To be called before another block is looked for.
    pub(super) fn begin_block(&mut self) {
        if std::mem::take(&mut self.is_handed_out) {
            self.contexts.clear();
            self.news.clear();
        }
    }

    /// Takes in that a block of records of `origin` is handed out.
    pub(super) fn hand_out(&mut self, origin: Origin) {
        debug_assert_eq!(self.origin, Some(origin));
        self.is_handed_out = true;
    }

    pub(super) fn name(&mut self, from: SourceFrom, name: Box<str>) {
        self.hold(2 * name.len());
        self.news.push((from, name.clone()));
        self.names.entry((from.origin, from.source)).or_default().insert(from.seq, name);
    }

    /// Takes in that a block has records of a source from there on; `is_behind_gap` where some before them are missing.
    pub(super) fn meet(&mut self, from: SourceFrom, is_behind_gap: bool) {
        if self.origin.replace(from.origin) != Some(from.origin) {
            self.settled.clear();
            self.doubted.clear();
        }
        // Nothing is missing, as in most journals.
        if !is_behind_gap && !self.may_lack && self.doubted.is_empty() {
            return;
        }
        let (key, is_first) = ((from.origin, from.source), self.settled.insert(from.source));
        if is_first && self.may_lack && !self.names.contains_key(&key) {
            // The name that was told before may be that of another emitter.
            self.news.push((from, Box::default()));
        }
        let context = match self.contexts.get(&key) {
            // What the journal says behind a gap holds.
            Some((_, context)) => *context,
            None if is_behind_gap && self.is_torn || is_first && self.may_lack => EnteredContext::Unknown,
            // The segment says it of each source that was ever in one.
            None if is_behind_gap || is_first && self.doubted.contains(&from.source) => EnteredContext::None,
            None => return,
        };
        match context {
            EnteredContext::Unknown => self.doubted.insert(from.source),
            EnteredContext::None | EnteredContext::Of(_) => self.doubted.remove(&from.source),
        };
        self.contexts.entry(key).or_insert((from.seq, context));
    }

    pub(super) fn context(&mut self, from: SourceFrom, context: EnteredContext) {
        self.hold(0);
        self.contexts.insert((from.origin, from.source), (from.seq, context));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn from(origin: u128, seq: u32) -> SourceFrom {
        SourceFrom { origin: Origin::from_bits(origin), source: 1, seq }
    }

    /// Names that are told backwards, the same one over and over, contexts of ever new origins: what is held is bounded, and what was
    /// forgotten is said not to be known.
    #[test]
    fn what_a_hostile_segment_says_of_sources_takes_bounded_memory_and_time() {
        let long = "x".repeat(1 << 16);
        for what in 0..3 {
            let mut sources = ReadSources::default();
            for round in 0..1_000_000_u32 {
                match what {
                    0 => sources.name(from(1, u32::MAX - round), "name".into()),
                    1 if round < 10_000 => sources.name(from(1, 7), long.as_str().into()),
                    1 => break,
                    _ => sources.context(from(u128::from(round), 1), EnteredContext::None),
                }
            }
            let held = sources.news.len() + sources.contexts.len();
            let bytes: usize = sources.news.iter().map(|(_, name)| name.len()).sum();
            assert!(
                held * ENTRY_BYTES / 2 + bytes <= HELD_BYTES_MAX,
                "{what}: {held} entries, {bytes} bytes"
            );
            assert!(sources.may_lack && held > 0, "{what}");
            sources.meet(from(9, 3), false);
            let told = sources.contexts.get(&(Origin::from_bits(9), 1)).map(|told| told.1);
            assert_eq!(told, Some(EnteredContext::Unknown), "{what}");
        }
    }
}
