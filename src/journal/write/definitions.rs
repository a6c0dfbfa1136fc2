//! The names and documents that a writer was given: each once, in the order in which they came.

use crate::event::{Symbol, Symbols};
use crate::journal::format::block::{Block, Definition};
use crate::journal::format::{BLOCK_LEN_MAX, BlockKind, HEADER_LEN_MAX};
use crate::journal::write::options::DefineError;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

#[derive(Default)]
pub(super) struct Definitions {
    all: Vec<Definition>,
    bytes: u64,
    /// By key: where in `all`.
    names: HashMap<Symbol, usize>,
    details: HashMap<u128, usize>,
}

impl Definitions {
    /// Takes a name. `Ok(false)` when it is there already.
    pub(super) fn define_name(&mut self, symbol: Symbol, name: &str) -> Result<bool, DefineError> {
        check_len(name.len(), Symbols::NAME_LEN_MAX)?;
        let new = match self.names.entry(symbol) {
            Entry::Vacant(entry) => {
                entry.insert(self.all.len());
                Definition::Name(symbol, name.into())
            }
            Entry::Occupied(entry) => {
                return match self.all.get(*entry.get()) {
                    Some(Definition::Name(_, known)) if **known == *name => Ok(false),
                    _ => Err(DefineError::Collision { key: u128::from(symbol.bits()) }),
                };
            }
        };
        self.push(new);
        Ok(true)
    }

    /// Takes a document. `Ok(false)` when it is there already.
    pub(super) fn define_detail(&mut self, digest: u128, bytes: &[u8]) -> Result<bool, DefineError> {
        check_len(bytes.len(), Definition::DETAIL_LEN_MAX)?;
        let new = match self.details.entry(digest) {
            Entry::Vacant(entry) => {
                entry.insert(self.all.len());
                Definition::Detail(digest, bytes.into())
            }
            Entry::Occupied(entry) => {
                return match self.all.get(*entry.get()) {
                    Some(Definition::Detail(_, known)) if **known == *bytes => Ok(false),
                    _ => Err(DefineError::Collision { key: digest }),
                };
            }
        };
        self.push(new);
        Ok(true)
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns a block of at most `len_max` bytes with what comes behind the first `done`, at least one, and how many it
    /// has; none when there is no more.
    pub(super) fn block_behind(&self, done: usize, len_max: usize) -> Option<(Block, usize)> {
        let rest = self.all.get(done..).filter(|rest| !rest.is_empty())?;
        let (mut body, mut taken) = (Vec::new(), 0);
        for definition in rest {
            let len = body.len() + definition.encoded_len() + HEADER_LEN_MAX;
            if taken > 0 && len > len_max.min(BLOCK_LEN_MAX) {
                break;
            }
            definition.encode(&mut body);
            taken += 1;
        }
        Some((Block::of_bytes(BlockKind::Definitions, &body), taken))
    }

    /// Returns room for all of them, in blocks of `block_len`, and for a few more.
    pub(super) fn room(&self, block_len: usize) -> u64 {
        let blocks = self.bytes / block_len as u64 + self.all.len() as u64 / 64 + 1;
        self.bytes + (blocks + 1) * HEADER_LEN_MAX as u64
    }

    fn push(&mut self, definition: Definition) {
        self.bytes += definition.encoded_len() as u64;
        self.all.push(definition);
    }
}

fn check_len(len: usize, limit: usize) -> Result<(), DefineError> {
    if len > limit { Err(DefineError::TooLong { len, limit }) } else { Ok(()) }
}

const _: () = assert!(Definition::DETAIL_LEN_MAX + 2 * HEADER_LEN_MAX < BLOCK_LEN_MAX);
