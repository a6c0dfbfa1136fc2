//! Several tellers of one fact, under a key on which they agree. The first is the event, and the others are duplicates of it: of what
//! these say only what is worse counts. No failure is hidden by who was faster to say that there was none.

use super::evidence::Evidence;
use super::verdict::Outcome;
use crate::event::{Identity, Record};
use std::collections::HashMap;

/// Keys that are known, at most.
const KEYS_MAX: usize = 1 << 20;

/// What the first teller of each key said, or a later one that said worse.
#[derive(Debug, Default)]
pub(super) struct Keyed {
    said: HashMap<u128, Outcome>,
}

/// How what is told relates to what was told under its key before.
pub(super) enum Told {
    First,
    /// Nothing worse than before, or no failure, of what was known before the observer was there.
    Again,
    /// Something worse than before, or a failure where what was said before is not known.
    Worse,
    /// There is no room to keep what was said.
    Unkept,
}

/// Whether several may tell of it under one key. PANTHER's ids are made of what a line says: of one id, all say the same.
pub(super) fn is_keyed(record: &Record) -> bool {
    record.identity() == Some(Identity::Digest) && !record.is_panthers()
}

impl Keyed {
    pub(super) fn compare(
        &mut self,
        record: &Record,
        evidence: &Evidence,
        is_duplicate: bool,
        has_room: bool,
    ) -> Told {
        let (id, says) = (record.id_bits(), evidence.worst());
        if is_duplicate {
            return match self.said.get_mut(&id) {
                Some(said) if said.weight() < says.weight() => {
                    *said = says;
                    Told::Worse
                }
                // What the first one said is not known here: a failure counts, whoever told of it first.
                None if says == Outcome::Failed => {
                    if self.said.len() < KEYS_MAX {
                        self.said.insert(id, says);
                    }
                    Told::Worse
                }
                _ => Told::Again,
            };
        }
        if !has_room || self.said.len() >= KEYS_MAX {
            return Told::Unkept;
        }
        // Dedup may have forgotten it, and tell it anew.
        self.said.insert(id, says);
        Told::First
    }
}
