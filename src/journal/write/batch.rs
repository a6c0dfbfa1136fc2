//! What is handed to a journal's thread at once: records and what is to be said before them.

use crate::emit::ContextEntered;
use crate::event::{Origin, Record};
use crate::journal::format::definition::{Definition, SourceFrom};
use crate::journal::write::schema::WriterSchema;
use std::collections::{HashMap, HashSet, TryReserveError};

/// Records in a batch: 256 KiB.
pub(super) const BATCH_LEN: usize = 4096;

/// What goes to the thread at once.
#[derive(Default, Debug)]
pub(super) struct Batch {
    /// Whose its records are, where that is another than before.
    pub(super) origin: Option<Origin>,
    /// Which kinds there are, where that is said anew.
    pub(super) schema: Option<Box<WriterSchema>>,
    /// The writer is to forget its definitions, before it takes these.
    pub(super) forget: bool,
    /// Definitions, to be made before the records.
    pub(super) definitions: Vec<Definition>,
    /// Definitions that there was no memory for.
    pub(super) definitions_refused: u64,
    pub(super) records: Vec<Record>,
    /// A bit for each record: it is a later sighting.
    pub(super) duplicates: Vec<u64>,
}

impl Batch {
    /// Takes up to 64 records; a bit of `duplicates` for each says that it is a later sighting.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub(super) fn push(&mut self, records: &[Record], duplicates: u64) -> Result<(), TryReserveError> {
        self.records.try_reserve(records.len())?;
        // They bring two words at most.
        self.duplicates.try_reserve(2)?;
        let (word, bit) = (self.records.len() / 64, self.records.len() % 64);
        self.records.extend_from_slice(records);
        self.duplicates.resize(self.records.len().div_ceil(64), 0);
        let duplicates = u128::from(duplicates) << bit;
        for (word, part) in self.duplicates.iter_mut().skip(word).zip([duplicates, duplicates >> 64]) {
            *word |= part as u64;
        }
        Ok(())
    }

    /// Takes a definition; false, which is counted, when there is no memory for it.
    pub(super) fn define(&mut self, definition: Result<Definition, TryReserveError>) -> bool {
        let room = self.definitions.try_reserve(1);
        match room.and(definition) {
            Ok(definition) => {
                self.definitions.push(definition);
                true
            }
            Err(_) => {
                self.definitions_refused += 1;
                false
            }
        }
    }

    pub(super) fn is_duplicate(&self, at: usize) -> bool {
        self.duplicates.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 != 0)
    }

    /// Makes definitions of what `records` tell of contexts.
    pub(super) fn keep_contexts(&mut self, records: &[Record], origin: Origin) {
        let entered = |record: &Record| {
            let entered = record.payload::<ContextEntered>()?;
            let from = SourceFrom { origin, source: record.source(), seq: record.seq() };
            Some((from.source, (from, entered.context)))
        };
        let count = records.iter().filter_map(entered).count();
        if count == 0 {
            return;
        }
        // The last word of each source counts.
        let mut last: HashMap<u16, _> = HashMap::new();
        if last.try_reserve(count).is_err() {
            self.definitions_refused += count as u64;
            return;
        }
        last.extend(records.iter().filter_map(entered));
        self.definitions.retain(
            |known| !matches!(known, Definition::Context(known, _) if last.contains_key(&known.source)),
        );
        for (from, detail) in last.into_values() {
            self.define(Ok(Definition::Context(from, detail)));
        }
    }

    /// Forgets names and documents, but for those by which contexts are told.
    pub(super) fn forget_definitions(&mut self) {
        let told = self.definitions.iter().filter_map(|definition| match definition {
            Definition::Context(_, detail) => Some(u128::from(detail.bits())),
            _ => None,
        });
        let mut digests = HashSet::new();
        if digests.try_reserve(self.definitions.len()).is_err() {
            // They are defined once more.
            return;
        }
        digests.extend(told);
        self.definitions.retain(|definition| match definition {
            Definition::Detail(digest, _) if digests.contains(digest) => true,
            other => !other.is_of_records(),
        });
    }

    pub(super) fn clear_records(&mut self) {
        self.records.clear();
        self.duplicates.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        let says_nothing = self.origin.is_none() && self.schema.is_none() && !self.forget;
        let defines_nothing = self.definitions.is_empty() && self.definitions_refused == 0;
        says_nothing && defines_nothing && self.records.is_empty()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::observe::mask;
    use bytemuck::Zeroable;

    #[test]
    fn marks_stay_with_their_records_across_words() {
        let records = [Record::zeroed(); 64];
        for step in 1..=64 {
            let (mut batch, mut expected) = (Batch::default(), Vec::new());
            for round in 0..40_u64 {
                let len = (step * (round as usize + 1)) % 64 + 1;
                let marks = (round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask(len);
                expected.extend((0..len).map(|at| marks >> at & 1 != 0));
                batch.push(&records[..len], marks).unwrap();
            }
            let found: Vec<_> = (0..batch.records.len()).map(|at| batch.is_duplicate(at)).collect();
            assert_eq!(found, expected, "step {step}");
        }
    }
}
