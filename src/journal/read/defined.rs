//! The names and documents that a reader has come upon.

use crate::event::Symbol;

/// What a definition that was read is of.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Name(Symbol),
    Detail(u128),
}

/// A name or a document, as a reader hands it out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Defined<'a> {
    /// A name.
    Name(Symbol, &'a str),
    /// A document, of an event or of the journal's own, such as the definition of a domain.
    Detail(u128, &'a [u8]),
}
