//! What is known of sources: the names of their emitters, and the contexts that they are in.
//!
//! A context is told of by a record, once, and holds for all later ones of its source. So that each segment can be read alone,
//! one with records of a source says first in which context the source is, unless its own records do; and what the emitter is
//! named.
//!
//! ```text
//!  records ──► SourceTable ──► SourceFacts, of each source of a block ──► ToldSources, of a segment
//!              the last word   as it was at the source's first record      what is missing is written first
//! ```

use crate::event::{Detail, Origin, Record};
use crate::journal::format::block::{Block, SourceFacts, Uses};
use crate::journal::format::definition::{Definition, SourceFrom};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of names, and of documents that contexts are told by, that are held; one for each source.
const HELD_BYTES_MAX: usize = 32 << 20;

/// What is known of the sources of one origin.
pub(super) struct SourceTable {
    origin: Origin,
    known: HashMap<u16, Known>,
    held_bytes: usize,
    refused: u64,
}

#[derive(Default)]
struct Known {
    name: Option<Arc<Definition>>,
    context: Option<Arc<Definition>>,
    /// What the context is, where there was room to hold it.
    document: Option<Arc<Definition>>,
}

impl Known {
    fn is_told(&self) -> bool {
        let is_none = |context: &Arc<Definition>| matches!(**context, Definition::Context(_, Detail::NONE));
        self.document.is_some() || self.context.as_ref().is_none_or(is_none)
    }
}

impl SourceTable {
    pub(super) fn of(origin: Origin) -> SourceTable {
        SourceTable { origin, known: HashMap::new(), held_bytes: 0, refused: 0 }
    }

    /// Begins with another origin; what was refused stays counted.
    pub(super) fn go_over_to(&mut self, origin: Origin) {
        *self = SourceTable { refused: self.refused, ..SourceTable::of(origin) };
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// Returns how many names and documents had no room.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes the name of a source's emitter. False where the source is of another origin, or there is no room.
    pub(super) fn name(&mut self, from: SourceFrom, name: &str) -> bool {
        if from.origin != self.origin || !self.has_place(from.source) {
            return false;
        }
        let known = self.known.entry(from.source).or_default();
        release(&mut self.held_bytes, known.name.take());
        let fits = |name: &&str| self.held_bytes + name.len() <= HELD_BYTES_MAX;
        let copy = Some(name).filter(fits).and_then(|name| Definition::of_source(from, name).ok());
        let fits = copy.is_some() && hold(&mut self.held_bytes, name.len());
        self.refused += u64::from(!fits);
        // Without room for it, that the number has passed to another emitter is said all the same.
        let unnamed = || Definition::Source(from, "".into());
        known.name = Some(Arc::new(copy.unwrap_or_else(unnamed)));
        fits
    }

    /// Takes in that a source is in another context. False where the source is of another origin, or there is no memory for it.
    pub(super) fn enter(
        &mut self,
        from: SourceFrom,
        detail: Detail,
        document: Option<&Arc<Definition>>,
    ) -> bool {
        if from.origin != self.origin || !self.has_place(from.source) {
            return false;
        }
        let known = self.known.entry(from.source).or_default();
        release(&mut self.held_bytes, known.document.take());
        let fits = |document: &&Arc<Definition>| hold(&mut self.held_bytes, document.bytes().len());
        known.document = document.filter(fits).cloned();
        self.refused += u64::from(known.document.is_none() && document.is_some());
        known.context = Some(Arc::new(Definition::Context(from, detail)));
        true
    }

    /// Tells whether there is a place for the source, and counts where there is none.
    fn has_place(&mut self, source: u16) -> bool {
        let has_place = self.known.try_reserve(1).is_ok();
        self.refused += u64::from(!has_place);
        if !has_place {
            // What was known of it holds no longer.
            let known = self.known.remove(&source).unwrap_or_default();
            release(&mut self.held_bytes, known.name);
            release(&mut self.held_bytes, known.document);
        }
        has_place
    }

    /// Tells whether it is held in which context the source is.
    pub(super) fn is_told(&self, source: u16) -> bool {
        self.known.get(&source).is_some_and(Known::is_told)
    }

    /// Returns what is known of the source of `record`, which is its first in a block; the block takes along what that refers to.
    pub(super) fn facts_of(&self, uses: &mut Uses, record: &Record) -> SourceFacts {
        let Some(known) = self.known.get(&record.source()) else { return SourceFacts::default() };
        if let Some(document) = &known.document {
            uses.add(document);
        }
        let (name, context) = (known.name.clone(), known.context.clone());
        SourceFacts { name, context, is_told: known.is_told(), changed: None }
    }
}

impl Default for SourceTable {
    fn default() -> SourceTable {
        SourceTable::of(Origin::from_bits(0))
    }
}

/// Tells whether there is room for so many bytes more, and takes it.
fn hold(held_bytes: &mut usize, len: usize) -> bool {
    let fits = *held_bytes + len <= HELD_BYTES_MAX;
    *held_bytes += if fits { len } else { 0 };
    fits
}

fn release(held_bytes: &mut usize, definition: Option<Arc<Definition>>) {
    *held_bytes -= definition.map_or(0, |definition| definition.bytes().len());
}

/// What a segment says of the sources of the origin that its last records are of.
#[derive(Default)]
pub(crate) struct ToldSources {
    origin: Option<Origin>,
    told: HashMap<u16, Told>,
}

/// From which numbers on the name and the context hold that were told last.
#[derive(Clone, Copy, Default)]
struct Told {
    name: Option<u32>,
    /// And whether what that is was told.
    context: Option<(u32, bool)>,
}

impl ToldSources {
    /// Iterates over what `block` needs of its sources that is not told.
    pub(crate) fn lacks<'b>(&self, block: &'b Block) -> impl Iterator<Item = &'b Arc<Definition>> {
        let is_same = self.origin == Some(block.origin());
        block.facts().flat_map(move |(source, facts)| {
            let told = self.told.get(&source).filter(|_| is_same).copied().unwrap_or_default();
            let name = facts.name.as_ref().filter(|name| name.seq() != told.name);
            let context = facts.context.as_ref().filter(|context| match told.context {
                Some((seq, is_told)) => context.seq() != Some(seq) || facts.is_told && !is_told,
                None => true,
            });
            name.into_iter().chain(context)
        })
    }

    /// Takes in that `block` was written, and before it what it lacked.
    pub(crate) fn take(&mut self, block: &Block) {
        if self.origin != Some(block.origin()) {
            self.origin = Some(block.origin());
            self.told.clear();
        }
        if self.told.try_reserve(block.spans().len()).is_err() {
            // It is told once more.
            self.told.clear();
            return;
        }
        for (source, facts) in block.facts() {
            let seq = facts.context.as_ref().and_then(|context| context.seq());
            let context = facts.changed.or(seq.map(|seq| (seq, facts.is_told)));
            let name = facts.name.as_ref().and_then(|name| name.seq());
            if name.is_some() || context.is_some() {
                self.told.insert(source, Told { name, context });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_held_of_sources_is_bounded_and_what_has_no_room_is_counted() {
        let origin = Origin::from_bits(7);
        let from = |source, seq| SourceFrom { origin, source, seq };
        let mut table = SourceTable::of(origin);
        let document = Arc::new(Definition::Detail(1, vec![b' '; HELD_BYTES_MAX / 2].into()));
        for round in 0..3 {
            assert!(table.enter(from(0, round), Detail::from_bits(1), Some(&document)));
            assert!(table.enter(from(1, round), Detail::from_bits(1), Some(&document)));
        }
        assert_eq!((table.held_bytes, table.refused()), (HELD_BYTES_MAX, 0), "what goes makes room");
        assert!(table.enter(from(2, 0), Detail::from_bits(1), Some(&document)));
        assert!(!table.name(from(2, 0), "x"));
        assert_eq!((table.held_bytes, table.refused()), (HELD_BYTES_MAX, 2));
        let known = table.known.get(&2).unwrap();
        assert!(known.context.is_some() && known.document.is_none() && known.name.is_some());
        assert!(table.enter(from(1, 9), Detail::NONE, None) && table.name(from(2, 0), "x"));
        assert_eq!((table.held_bytes, table.refused()), (HELD_BYTES_MAX / 2 + 1, 2));
        let other = SourceFrom { origin: Origin::from_bits(8), ..from(0, 0) };
        assert!(!table.enter(other, Detail::NONE, None) && !table.name(other, "x"));
    }
}
