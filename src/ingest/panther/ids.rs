//! PANTHER's ids beside ours.

use crate::event::{EventId, Record};
use crate::hash::Keyed;
use crate::ingest::panther::panther_uuid;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// Ids of files that are kept because they are not those of their events' content.
pub const KEPT_MAX: usize = 1 << 16;

/// Knows the id that PANTHER's file gave each event.
///
/// Nearly always it follows from the record's own id, by [`panther_uuid`], and nothing is kept. Only ids that are not
/// those of their events' content are: the first for each event, and at most [`KEPT_MAX`] of them.
#[derive(Debug, Default)]
pub struct PantherIds {
    any: AtomicBool,
    other: Mutex<HashMap<EventId, Uuid, Keyed>>,
    forgotten: AtomicU64,
}

impl PantherIds {
    /// Returns the id that the file gave the event, or else the one that PANTHER computes; `None` for events that are
    /// not PANTHER's.
    #[must_use]
    pub fn of(&self, record: &Record) -> Option<Uuid> {
        let computed = panther_uuid(record)?;
        let id = record.id()?;
        // Relaxed: who has the record has what was kept before it was emitted.
        if self.any.load(Ordering::Relaxed)
            && let Some(other) = self.other.lock().unwrap_or_else(PoisonError::into_inner).get(&id)
        {
            return Some(*other);
        }
        Some(computed)
    }

    /// Returns how many ids were not kept because there were too many; their events show the computed one.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// Keeps the id that the file gave the event with our id `id`.
    pub(super) fn keep(&self, id: EventId, given: Uuid) {
        let mut other = self.other.lock().unwrap_or_else(PoisonError::into_inner);
        if other.len() >= KEPT_MAX && !other.contains_key(&id) {
            self.forgotten.fetch_add(1, Ordering::Relaxed);
            return;
        }
        other.entry(id).or_insert(given);
        self.any.store(true, Ordering::Relaxed);
    }
}
