//! Definitions: what records refer to, and what is known of their sources.

use crate::event::kind::DOMAIN_COUNT;
use crate::event::{Detail, Domain, Origin, Symbol};
use crate::journal::format::{le16, le32, le64};
use std::collections::TryReserveError;
use xxhash_rust::xxh3::xxh3_64;

/// What a definition is of: the symbol of a name, or the digest of a document.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct DefinitionKey {
    tag: u8,
    bits: u128,
}

/// What the digest of a domain's definition begins with; its number and the hash of its text follow.
const DOMAIN_KEY: [u8; 7] = *b"domain/";

impl DefinitionKey {
    pub(crate) fn name(symbol: Symbol) -> DefinitionKey {
        DefinitionKey { tag: 1, bits: u128::from(symbol.bits()) }
    }

    pub(crate) fn document(digest: u128) -> DefinitionKey {
        DefinitionKey { tag: 2, bits: digest }
    }

    pub(crate) fn bits(self) -> u128 {
        self.bits
    }

    /// The number of the domain whose definition it is of.
    pub(crate) fn domain(self) -> Option<u8> {
        let high = (self.bits >> 64) as u64;
        let [start @ .., number] = high.to_be_bytes();
        (self.tag == 2 && start == DOMAIN_KEY)
            .then_some(number)
            .filter(|number| usize::from(*number) < DOMAIN_COUNT)
    }
}

/// A number of a source: what is said of it holds for the source's records from there on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SourceFrom {
    /// Which start of a pipeline numbered the records.
    pub origin: Origin,
    /// The source.
    pub source: u16,
    /// The number.
    pub seq: u32,
}

/// A name or a detail document, addressed by content; or what is known of a source.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Definition {
    /// The name behind a symbol.
    Name(Symbol, Box<str>),
    /// A document behind its digest.
    Detail(u128, Box<[u8]>),
    /// The name of the emitter whose records a source's are; empty where it is not known.
    Source(SourceFrom, Box<str>),
    /// The context in which a source's records were emitted: the document behind the detail; no context where there is none.
    Context(SourceFrom, Detail),
}

impl Definition {
    /// Bytes that a detail document can have.
    pub const DETAIL_LEN_MAX: usize = 4 << 20;
    const HEAD_LEN: usize = 24;
    /// Bytes of a source's number, which come before what is said of it.
    const SEQ_LEN: usize = 8;

    /// Makes the definition of a name, where there is memory for it.
    pub(crate) fn of_name(symbol: Symbol, name: &str) -> Result<Definition, TryReserveError> {
        Ok(Definition::Name(symbol, boxed_text(name)?))
    }

    /// Makes the definition of a document, where there is memory for it.
    pub(crate) fn of_document(digest: u128, bytes: &[u8]) -> Result<Definition, TryReserveError> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(bytes.len())?;
        copy.extend_from_slice(bytes);
        Ok(Definition::Detail(digest, copy.into_boxed_slice()))
    }

    /// Makes what is said of a source's name, where there is memory for it.
    pub(crate) fn of_source(from: SourceFrom, name: &str) -> Result<Definition, TryReserveError> {
        Ok(Definition::Source(from, boxed_text(name)?))
    }

    /// Returns the digest under which `text` defines `domain` in a journal.
    pub(crate) fn domain_key(domain: Domain, text: &str) -> u128 {
        let [a, b, c, d, e, f, g] = DOMAIN_KEY;
        let high = u64::from_be_bytes([a, b, c, d, e, f, g, domain.number()]);
        u128::from(high) << 64 | u128::from(xxh3_64(text.as_bytes()))
    }

    /// Returns what it is of.
    pub(crate) fn key(&self) -> DefinitionKey {
        let (tag, bits) = match self {
            Definition::Name(symbol, _) => (1, u128::from(symbol.bits())),
            Definition::Detail(digest, _) => (2, *digest),
            Definition::Source(from, _) => (3, from.origin.bits()),
            Definition::Context(from, _) => (4, from.origin.bits()),
        };
        DefinitionKey { tag, bits }
    }

    /// Tells whether it is a name or an event's document, and neither one of the journal's own nor of a source.
    pub(crate) fn is_of_records(&self) -> bool {
        match self {
            Definition::Name(..) => true,
            Definition::Detail(digest, _) => u64::try_from(*digest).is_ok(),
            Definition::Source(..) | Definition::Context(..) => false,
        }
    }

    /// Tells whether it says something of a source.
    pub(crate) fn is_of_source(&self) -> bool {
        self.from().is_some()
    }

    /// Returns the number from which on it holds, of what is said of a source.
    pub(crate) fn seq(&self) -> Option<u32> {
        self.from().map(|from| from.seq)
    }

    /// Returns the name's or the document's bytes; none of a context.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Definition::Name(_, name) | Definition::Source(_, name) => name.as_bytes(),
            Definition::Detail(_, bytes) => bytes,
            Definition::Context(..) => &[],
        }
    }

    fn from(&self) -> Option<&SourceFrom> {
        match self {
            Definition::Name(..) | Definition::Detail(..) => None,
            Definition::Source(from, _) | Definition::Context(from, _) => Some(from),
        }
    }

    /// Returns how many bytes it has behind its head, without padding.
    fn len(&self) -> usize {
        let seq = if self.from().is_some() { Definition::SEQ_LEN } else { 0 };
        let detail = if matches!(self, Definition::Context(..)) { size_of::<Detail>() } else { 0 };
        seq + detail + self.bytes().len()
    }

    /// Returns how many bytes the definition takes in a block's body.
    pub(crate) fn encoded_len(&self) -> usize {
        Definition::HEAD_LEN + self.len().next_multiple_of(8)
    }

    /// Appends the definition to a block's body.
    pub(crate) fn encode(&self, body: &mut Vec<u8>) {
        let (from, key) = (self.from(), self.key());
        body.extend_from_slice(&[key.tag, 0]);
        body.extend_from_slice(&from.map_or(0, |from| from.source).to_le_bytes());
        body.extend_from_slice(&(self.len() as u32).to_le_bytes());
        body.extend_from_slice(&key.bits.to_le_bytes());
        if let Some(from) = from {
            body.extend_from_slice(&u64::from(from.seq).to_le_bytes());
        }
        if let Definition::Context(_, detail) = self {
            body.extend_from_slice(&detail.bits().to_le_bytes());
        }
        body.extend_from_slice(self.bytes());
        body.resize(body.len().next_multiple_of(8), 0);
    }

    /// Takes the first definition off `body`; `None` at its end, and when the rest is none (a later version's
    /// tag, a name that is no text).
    pub(crate) fn decode(body: &mut &[u8]) -> Option<Definition> {
        let (head, rest) = body.split_first_chunk::<{ Definition::HEAD_LEN }>()?;
        let len = le32(head, 4) as usize;
        let key = u128::from_le_bytes(*head.last_chunk()?);
        let bytes = rest.get(..len)?;
        *body = rest.get(len.next_multiple_of(8)..)?;
        let text = |bytes| Some(std::str::from_utf8(bytes).ok()?.into());
        let from = |bytes: &[u8; Definition::SEQ_LEN]| SourceFrom {
            origin: Origin::from_bits(key),
            source: le16(head, 2),
            seq: le32(bytes, 0),
        };
        match head[0] {
            1 => Some(Definition::Name(Symbol::from_bits(key as u64), text(bytes)?)),
            2 => Some(Definition::Detail(key, bytes.into())),
            3 => {
                let (seq, name) = bytes.split_first_chunk()?;
                Some(Definition::Source(from(seq), text(name)?))
            }
            4 => {
                let (seq, detail) = bytes.split_first_chunk()?;
                Some(Definition::Context(from(seq), Detail::from_bits(le64::<8>(detail.try_into().ok()?, 0))))
            }
            _ => None,
        }
    }
}

fn boxed_text(text: &str) -> Result<Box<str>, TryReserveError> {
    let mut copy = String::new();
    copy.try_reserve_exact(text.len())?;
    copy.push_str(text);
    Ok(copy.into_boxed_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_read_back_and_what_is_cut_is_none() {
        let from = |seq| SourceFrom { origin: Origin::from_bits(3 << 100 | 7), source: 513, seq };
        let definitions = [
            Definition::Name(Symbol::of("a"), "a".into()),
            Definition::Detail(1 << 90, [1, 2, 3].into()),
            Definition::Source(from(u32::MAX), "an emitter".into()),
            Definition::Source(from(1), "".into()),
            Definition::Context(from(77), Detail::from_bits(u64::MAX - 1)),
            Definition::Context(from(0), Detail::NONE),
        ];
        let mut body = Vec::new();
        for definition in &definitions {
            let before = body.len();
            definition.encode(&mut body);
            assert_eq!(body.len() - before, definition.encoded_len());
            let alone = &body[before..];
            for cut in 0..alone.len() {
                let _ = Definition::decode(&mut &alone[..cut]);
            }
        }
        let mut rest = &body[..];
        let read: Vec<_> = std::iter::from_fn(|| Definition::decode(&mut rest)).collect();
        assert_eq!((&read[..], rest), (&definitions[..], &[][..]));
        for len in [0_u32, 7, 8, 15, 17] {
            let mut short = Vec::new();
            definitions[4].encode(&mut short);
            short[4..8].copy_from_slice(&len.to_le_bytes());
            short.resize(64, 0);
            assert_eq!(Definition::decode(&mut &short[..]), None, "a context of {len} bytes");
        }
    }
}
