//! A reader's names and documents, as far as it was read.

use crate::event::Symbol;
use crate::journal::read::defined::{Defined, Key};
use crate::journal::read::reader::JournalReader;

impl JournalReader<'_> {
    /// Returns the name behind `symbol`, as far as the journal was read: names come before their first use.
    #[must_use]
    pub fn name(&self, symbol: Symbol) -> Option<&str> {
        self.names.get(&symbol).map(|name| &**name)
    }

    /// Returns the document behind `digest`.
    #[must_use]
    pub fn detail(&self, digest: u128) -> Option<&[u8]> {
        self.details.get(&digest).map(|bytes| &**bytes)
    }

    /// Iterates over the names read so far, in no order.
    pub fn names(&self) -> impl Iterator<Item = (Symbol, &str)> {
        self.names.iter().map(|(symbol, name)| (*symbol, &**name))
    }

    /// Iterates over the documents read so far, in no order.
    pub fn details(&self) -> impl Iterator<Item = (u128, &[u8])> {
        self.details.iter().map(|(digest, bytes)| (*digest, &**bytes))
    }

    /// Returns how many names and documents were read.
    #[must_use]
    pub fn definitions(&self) -> usize {
        self.order.len()
    }

    /// Iterates over the names and documents in the order in which they were read, without the first `known`: what
    /// [`JournalReader::definitions`] was when the caller took the others.
    pub fn definitions_after(&self, known: usize) -> impl Iterator<Item = Defined<'_>> {
        self.order.get(known..).unwrap_or_default().iter().filter_map(|key| match *key {
            Key::Name(symbol) => Some(Defined::Name(symbol, self.name(symbol)?)),
            Key::Detail(digest) => Some(Defined::Detail(digest, self.detail(digest)?)),
        })
    }
}
