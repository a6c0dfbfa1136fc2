//! Detail documents: what an event carries beside its payload, as JSON text under a 64-bit hash of its content.
//!
//! A document is put into the table once, whoever sends it and however often; records carry its [`Detail`]. Texts
//! are compact (no space between tokens, so that a document is part of one line), keys stand as they were given, and
//! numbers keep all their digits.

use crate::event::json::{Json, JsonError};
use crate::event::stages::Stages;
use crate::event::table::{Holder, Refused, Table, Tap};
use bytemuck::{Pod, Zeroable};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Stands for a document: the xxh3-64 (seed 0) of its compact text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Detail(u64);

impl Detail {
    /// No document. A document's hash is never 0.
    pub const NONE: Detail = Detail(0);

    /// Takes a number for a detail.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u64) -> Detail {
        Detail(bits)
    }

    /// Returns the detail's number.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Detail({:016x})", self.0)
    }
}

/// Why a document was not taken into a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetailError {
    /// Another document with the same hash is in the table.
    #[error("another document has the same hash; change the document, for example the order of its keys")]
    Collision,
    /// The document is longer than [`Details::LEN_MAX`].
    #[error("a document of {len} bytes is too long; documents have at most {} bytes", Details::LEN_MAX)]
    TooLong {
        /// The document's length in bytes.
        len: usize,
    },
    /// The table has no room for a document of this length.
    #[error(
        "the table of documents has no room for one of {len} bytes, {limit} bytes being its limit; raise it"
    )]
    Full {
        /// The document's length in bytes.
        len: usize,
        /// The table's limit in bytes.
        limit: u64,
    },
    /// The text is not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
}

/// Holds the documents behind [`Detail`]s; each [`Symbols`](crate::event::Symbols) has one.
///
/// Looking up a document, or putting in one that is there, takes no lock and does not allocate. The table is bounded in bytes, and
/// evicts documents as [`Symbols`](crate::event::Symbols) does names. What the table refuses is counted in [`Details::refused`].
pub struct Details {
    table: Table,
    unplaced: AtomicU64,
}

impl Details {
    /// Bytes that a document can have.
    pub const LEN_MAX: usize = 1 << 20;
    /// Bytes of documents that a table made by [`Details::new`] can hold, 128 more for each included: 512 MiB.
    pub const LIMIT_DEFAULT: u64 = 1 << 29;

    /// Makes an empty table.
    #[must_use]
    pub fn new() -> Details {
        Details::with_limit(Details::LIMIT_DEFAULT)
    }

    /// Makes an empty table for documents of at most about `limit` bytes in all, 128 more for each included: threads that put
    /// something in at the same moment may each go one document over it.
    #[must_use]
    pub fn with_limit(limit: u64) -> Details {
        Details { table: Table::new(Details::LEN_MAX, limit), unplaced: AtomicU64::new(0) }
    }

    /// Takes `text`, which is to be JSON, into the table. Space between tokens is left out.
    ///
    /// # Errors
    /// When the text is not JSON or too long, there is no room for it, or another document has the same hash.
    pub fn intern(&self, text: &str) -> Result<Detail, DetailError> {
        let compact = Json::new(text)?.compact();
        self.insert(&compact)
    }

    /// Takes a text that is known to be compact JSON.
    pub(crate) fn insert(&self, text: &str) -> Result<Detail, DetailError> {
        self.insert_under(Table::hash(text), text)
    }

    fn insert_under(&self, hash: u64, text: &str) -> Result<Detail, DetailError> {
        match self.table.insert(hash, text) {
            Ok(()) => Ok(Detail(hash)),
            Err(Refused::Collision { .. }) => Err(DetailError::Collision),
            Err(Refused::TooLong) => Err(DetailError::TooLong { len: text.len() }),
            Err(Refused::Full) => Err(DetailError::Full { len: text.len(), limit: self.table.limit() }),
        }
    }

    /// Returns the document behind `detail`, if the table has it: compact JSON.
    #[must_use]
    pub fn text(&self, detail: Detail) -> Option<Arc<str>> {
        self.table.get(detail.0)
    }

    /// Calls `with` on the document behind `detail`, without counting a reference.
    pub fn with_text<R>(&self, detail: Detail, with: impl FnOnce(Option<&str>) -> R) -> R {
        self.table.with(detail.0, with)
    }

    /// Calls `each` for every document; those that come meanwhile may be missed.
    pub fn for_each(&self, mut each: impl FnMut(Detail, &str)) {
        self.table.for_each(|hash, text| each(Detail(hash), text));
    }

    /// Keeps the document from being evicted until it has been released as often.
    pub(super) fn hold(&self, detail: Detail) -> bool {
        self.table.hold(detail.0, Holder::Report)
    }

    pub(super) fn release(&self, detail: Detail) {
        self.table.release(detail.0);
    }

    pub(super) fn tap(&self, tap: &Arc<dyn Tap>) {
        self.table.tap(tap);
    }

    pub(super) fn serve(&self, stages: Weak<dyn Stages>) {
        self.table.serve(stages);
    }

    /// Returns how many documents have come so far, one that was evicted and came again counted again: as many as the table
    /// [holds](Details::len), [evicted](Details::evicted) and [evicted early](Details::evicted_early).
    #[must_use]
    pub fn came(&self) -> u64 {
        self.table.count_ever()
    }

    /// Returns how many documents the table holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Tells whether the table holds no document.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many bytes the documents take, 128 more for each included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.table.bytes()
    }

    /// Returns how many documents were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.table.refused()
    }

    /// Returns how many bytes the documents take that are [held](crate::event::Held), 128 more for each included: at most a quarter of
    /// the limit.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.table.held_bytes()
    }

    /// Returns how often a document could not be held because those that are take all they may.
    #[must_use]
    pub fn hold_refused(&self) -> u64 {
        self.table.hold_refused()
    }

    /// Returns how many documents were evicted when nobody needed them any more.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.table.evicted()
    }

    /// Returns how many documents were evicted because the limit was reached, although events on their way may have needed them.
    #[must_use]
    pub fn evicted_early(&self) -> u64 {
        self.table.evicted_early()
    }

    /// Returns how often a document was looked for in vain since the first was evicted: it may have been one of those.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.table.missed()
    }

    /// Returns how many numbers stand only in documents, because their place in the payload cannot hold them.
    #[must_use]
    pub fn unplaced(&self) -> u64 {
        self.unplaced.load(Ordering::Relaxed)
    }

    pub(crate) fn count_unplaced(&self, numbers: u64) {
        self.unplaced.fetch_add(numbers, Ordering::Relaxed);
    }
}

impl Default for Details {
    fn default() -> Details {
        Details::new()
    }
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Details").field("len", &self.len()).field("bytes", &self.bytes()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_document_is_the_same_detail_however_it_is_spaced() {
        let details = Details::new();
        let detail = details.intern("{\"a\": [1, \"b c\"]}\n").unwrap();
        assert_eq!(details.intern("{\"a\":[1,\"b c\"]}"), Ok(detail));
        assert_eq!(details.text(detail).as_deref(), Some("{\"a\":[1,\"b c\"]}"));
        assert_eq!((details.len(), details.bytes(), details.refused()), (1, 15 + 128, 0));
    }

    #[test]
    fn a_collision_is_refused_and_counted_never_ignored() {
        let details = Details::new();
        let detail = details.insert("1").unwrap();
        // No two documents with equal xxh3-64 are at hand, so the table is told a wrong hash.
        assert_eq!(details.insert_under(detail.0, "2"), Err(DetailError::Collision));
        assert_eq!(details.text(detail).as_deref(), Some("1"));
        assert_eq!(details.refused(), 1);
    }

    #[test]
    fn limits_refuse_new_documents_and_keep_known_ones() {
        let details = Details::with_limit(200);
        details.insert("[1]").unwrap();
        let long = "1".repeat(100);
        assert_eq!(details.insert(&long), Err(DetailError::Full { len: 100, limit: 200 }));
        assert!(details.insert("[1]").is_ok());
        let long = "1".repeat(Details::LEN_MAX + 1);
        assert_eq!(Details::new().intern(&long), Err(DetailError::TooLong { len: long.len() }));
        assert!(matches!(details.intern("{"), Err(DetailError::Json(_))));
        assert_eq!(details.refused(), 1);
    }
}
