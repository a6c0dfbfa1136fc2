//! Texts under 64-bit hashes of their content; what [`Symbols`](super::Symbols) and [`Details`](super::Details) share.

use crate::hash::BuildContentHasher;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use xxhash_rust::xxh3::xxh3_64;

/// Is told of each text before it can be found in a table.
pub(crate) trait Tap: Send + Sync {
    /// `text` comes into the table under `hash`; perhaps again, and perhaps not after all, where two threads put texts
    /// in at once.
    fn comes(&self, hash: u64, text: &str);
}

/// Holds texts by hash. Looking one up, or putting in one that is there, takes no lock. Texts are never removed.
pub(super) struct Table {
    texts: papaya::HashMap<u64, Arc<str>, BuildContentHasher>,
    len_max: usize,
    limit: usize,
    bytes_limit: u64,
    bytes: AtomicU64,
    refused: AtomicU64,
    /// Held for reading while a text is put in, so that none comes between a tap's first look and its first call.
    taps: RwLock<Vec<Weak<dyn Tap>>>,
}

/// Why a text was not taken in.
pub(super) enum Refused {
    Collision { known: Arc<str> },
    TooLong,
    Full,
}

impl Table {
    /// Makes a table for at most about `limit` texts and `bytes_limit` bytes: threads that put something in at the
    /// same moment may each go one text over.
    pub(super) fn new(len_max: usize, limit: usize, bytes_limit: u64) -> Table {
        Table {
            texts: papaya::HashMap::default(),
            len_max,
            limit,
            bytes_limit,
            bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            taps: RwLock::default(),
        }
    }

    /// Returns the hash of `text`; never 0.
    #[inline]
    pub(super) fn hash(text: &str) -> u64 {
        // A text whose hash is 0 (one in 2^64) shares its place with one whose hash is 1; a table would detect both
        // in one run.
        xxh3_64(text.as_bytes()).max(1)
    }

    /// Puts `text` under `hash`, which is its own.
    pub(super) fn insert(&self, hash: u64, text: &str) -> Result<(), Refused> {
        self.put(hash, text).inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn put(&self, hash: u64, text: &str) -> Result<(), Refused> {
        let texts = self.texts.pin();
        let known = match texts.get(&hash) {
            Some(known) => known,
            None if text.len() > self.len_max => return Err(Refused::TooLong),
            None if texts.len() >= self.limit => return Err(Refused::Full),
            None if self.bytes() + text.len() as u64 > self.bytes_limit => return Err(Refused::Full),
            None => {
                let taps = self.taps.read().unwrap_or_else(PoisonError::into_inner);
                taps.iter().filter_map(Weak::upgrade).for_each(|tap| tap.comes(hash, text));
                // Not `get_or_insert_with`: with papaya 0.2 a map that grows by that one alone is never moved to its larger
                // table as a whole, and who looks for a text goes through all the tables that there ever were.
                match texts.try_insert(hash, Arc::from(text)) {
                    Ok(_) => {
                        self.bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
                        return Ok(());
                    }
                    Err(known) => known.current,
                }
            }
        };
        if **known == *text { Ok(()) } else { Err(Refused::Collision { known: Arc::clone(known) }) }
    }

    /// Tells `tap` of all texts that there are, and of each new one as long as it lives.
    pub(super) fn tap(&self, tap: &Arc<dyn Tap>) {
        self.taps.write().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(tap));
        self.for_each(|hash, text| tap.comes(hash, text));
    }

    pub(super) fn get(&self, hash: u64) -> Option<Arc<str>> {
        self.texts.pin().get(&hash).map(Arc::clone)
    }

    /// Calls `with` on the text, without counting a reference.
    pub(super) fn with<R>(&self, hash: u64, with: impl FnOnce(Option<&str>) -> R) -> R {
        with(self.texts.pin().get(&hash).map(|text| &**text))
    }

    /// Calls `each` for every text there is; those that come meanwhile may be missed.
    pub(super) fn for_each(&self, mut each: impl FnMut(u64, &str)) {
        for (hash, text) in &self.texts.pin() {
            each(*hash, text);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes of text.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("len", &self.len()).field("limit", &self.limit).finish_non_exhaustive()
    }
}
