//! What records refer to: names, documents and domains, as a writer was given them, and which of them a block needs.
//!
//! A block of records takes the definitions along that its records refer to, and they are written before it unless they are in
//! its segment. So a segment holds what its records use, and can be read alone. The writer itself keeps what it was given until
//! it is told to [forget](Definitions::forget) it.

use crate::emit::ContextEntered;
use crate::event::{Detail, EventKind, Origin, Record, Symbol, Symbols};
use crate::journal::format::block::{Block, Refer, SourceFacts, Uses};
use crate::journal::format::definition::{Definition, DefinitionKey, SourceFrom};
use crate::journal::format::{BLOCK_LEN_MAX, BlockKind, HEADER_LEN_MAX};
use crate::journal::write::options::DefineError;
use crate::journal::write::references::Reference;
use crate::journal::write::schema::WriterSchema;
use crate::journal::write::sources::SourceTable;
use std::collections::{HashMap, TryReserveError};
use std::io;
use std::sync::Arc;

/// Names of entities, and documents, that are remembered to be with the block that is being filled.
const RECENT: usize = 1024;

pub(super) struct Definitions {
    schema: WriterSchema,
    /// Names, and documents of events.
    of_records: HashMap<DefinitionKey, Known>,
    /// Which block is being filled, from 1 on.
    block: u64,
    /// The journal's own documents, which stand in each segment, in the order in which they came.
    notes: Vec<Definition>,
    note_keys: HashMap<u128, usize>,
    notes_bytes: u64,
    /// Of the block that is being filled: names that are with it, each in a place of its own. One that is not here may be
    /// with it all the same.
    recent: Box<[Symbol; RECENT]>,
    recent_domains: u32,
    /// The kind of the record before, where its payloads refer to nothing.
    recent_plain: Option<EventKind>,
    sources: SourceTable,
}

/// A definition, and the last block that has it.
struct Known {
    definition: Arc<Definition>,
    block: u64,
}

impl Definitions {
    /// Takes this crate's own domains for the schema.
    pub(super) fn new() -> io::Result<Definitions> {
        let recent = bytemuck::try_zeroed_box().map_err(|()| io::ErrorKind::OutOfMemory)?;
        Ok(Definitions {
            schema: WriterSchema::built_in().clone(),
            of_records: HashMap::new(),
            block: 1,
            notes: Vec::new(),
            note_keys: HashMap::new(),
            notes_bytes: 0,
            recent,
            recent_domains: 0,
            recent_plain: None,
            sources: SourceTable::default(),
        })
    }

    /// Says which kinds there are: where their payloads refer to something, and what a block is to say of their domains.
    /// Domains that it does not have stay as they are.
    pub(super) fn set_schema(&mut self, schema: WriterSchema) {
        self.schema.references = schema.references;
        for (number, domain) in (0..).zip(schema.domains) {
            if let Some(domain) = domain {
                self.set_domain(number, domain);
            }
        }
        self.recent_plain = None;
    }

    fn set_domain(&mut self, number: u8, domain: Arc<Definition>) {
        if let Some(place) = self.schema.domains.get_mut(usize::from(number)) {
            *place = Some(domain);
        }
        self.recent_domains &= !(1 << number);
        self.recent_plain = None;
    }

    /// Takes a name. `Ok(false)` when it is there already.
    pub(super) fn define_name(&mut self, symbol: Symbol, name: &str) -> Result<bool, DefineError> {
        check_len(name.len(), Symbols::NAME_LEN_MAX)?;
        self.define(DefinitionKey::name(symbol), name.as_bytes(), || Definition::of_name(symbol, name))
    }

    /// Takes a document. `Ok(false)` when it is there already.
    pub(super) fn define_detail(&mut self, digest: u128, bytes: &[u8]) -> Result<bool, DefineError> {
        check_len(bytes.len(), Definition::DETAIL_LEN_MAX)?;
        let key = DefinitionKey::document(digest);
        let new = || Definition::of_document(digest, bytes);
        if let Some(number) = key.domain() {
            self.set_domain(number, Arc::new(new()?));
            return Ok(true);
        }
        if u64::try_from(digest).is_ok() {
            return self.define(key, bytes, new);
        }
        if let Some(known) = self.note_keys.get(&digest) {
            return match self.notes.get(*known) {
                Some(note) if note.bytes() == bytes => Ok(false),
                _ => Err(DefineError::Collision { key: digest }),
            };
        }
        let note = new()?;
        self.note_keys.try_reserve(1)?;
        self.notes.try_reserve(1)?;
        self.note_keys.insert(digest, self.notes.len());
        self.notes_bytes += note.encoded_len() as u64;
        self.notes.push(note);
        Ok(true)
    }

    fn define(
        &mut self,
        key: DefinitionKey,
        bytes: &[u8],
        new: impl FnOnce() -> Result<Definition, TryReserveError>,
    ) -> Result<bool, DefineError> {
        match self.of_records.get(&key) {
            Some(known) if known.definition.bytes() == bytes => return Ok(false),
            Some(_) => return Err(DefineError::Collision { key: key.bits() }),
            None => {}
        }
        let definition = Arc::new(new()?);
        self.of_records.try_reserve(1)?;
        self.of_records.insert(key, Known { definition, block: 0 });
        // Records of the block may have referred to it before it came.
        let place = &mut self.recent[key.bits() as usize % RECENT];
        if key == DefinitionKey::name(*place) {
            *place = Symbol::NONE;
        }
        Ok(true)
    }

    /// Forgets what is known of sources: the records that come are of `origin`.
    pub(super) fn begin_origin(&mut self, origin: Origin) {
        self.sources.go_over_to(origin);
    }

    /// Takes what is said of a source. `Ok(false)` when it is of another origin, or there is no room for it.
    pub(super) fn define_source(&mut self, from: SourceFrom, name: &str) -> Result<bool, DefineError> {
        check_len(name.len(), Symbols::NAME_LEN_MAX)?;
        Ok(self.sources.name(from, name))
    }

    /// Takes in that a source is in the context of a document.
    pub(super) fn define_context(&mut self, from: SourceFrom, detail: Detail) -> bool {
        let document = self.of_records.get(&DefinitionKey::document(detail.bits().into()));
        self.sources.enter(from, detail, document.map(|known| &known.definition))
    }

    /// Returns what was refused of what is said of sources, for want of room.
    pub(super) fn refused(&self) -> u64 {
        self.sources.refused()
    }

    /// Forgets the names and documents of records; those that blocks need stay with them.
    pub(super) fn forget(&mut self) {
        self.of_records = HashMap::new();
        self.begin_block();
    }

    /// To be called when another block is being filled.
    pub(super) fn begin_block(&mut self) {
        self.block += 1;
        self.recent.fill(Symbol::NONE);
        self.recent_domains = 0;
        self.recent_plain = None;
    }

    fn note_kind(&mut self, kind: EventKind, uses: &mut Uses) {
        let domain = kind.domain().number();
        if self.recent_domains >> domain & 1 == 0 {
            self.recent_domains |= 1 << domain;
            if let Some(Some(definition)) = self.schema.domains.get(usize::from(domain)) {
                uses.add(definition);
            }
        }
    }

    #[inline]
    fn note_name(&mut self, symbol: Symbol, uses: &mut Uses) {
        let place = &mut self.recent[symbol.bits() as usize % RECENT];
        if *place != symbol {
            *place = symbol;
            self.take_along(DefinitionKey::name(symbol), uses);
        }
    }

    fn note_references(&mut self, record: &Record, uses: &mut Uses) {
        // A payload has room for three words, each of which may be a name or a document.
        let mut referred = [None; 6];
        let mut places = referred.iter_mut();
        self.schema.references.each(record, |reference| {
            if let Some(place) = places.next() {
                *place = Some(reference);
            }
        });
        for reference in referred.into_iter().map_while(|reference| reference) {
            match reference {
                Reference::Name(symbol) => self.note_name(symbol, uses),
                Reference::Document(detail) => {
                    self.take_along(DefinitionKey::document(u128::from(detail.bits())), uses);
                }
            }
        }
    }

    fn take_along(&mut self, key: DefinitionKey, uses: &mut Uses) {
        if self.of_records.is_empty() {
            return;
        }
        if let Some(known) = self.of_records.get_mut(&key)
            && std::mem::replace(&mut known.block, self.block) != self.block
        {
            uses.add(&known.definition);
        }
    }

    /// Returns how many notes there are.
    pub(super) fn notes(&self) -> usize {
        self.notes.len()
    }

    /// Returns a block of at most `len_max` bytes with the notes behind the first `done`, at least one, and how many it has;
    /// none when there is no more.
    pub(super) fn notes_behind(&self, done: usize, len_max: usize) -> io::Result<Option<(Block, usize)>> {
        block_of(self.notes.get(done..).unwrap_or_default().iter(), len_max)
    }

    /// Returns room for all notes, in blocks of `block_len`, and for a few more.
    pub(super) fn room(&self, block_len: usize) -> u64 {
        room(self.notes_bytes, self.notes.len(), block_len)
    }
}

impl Refer for Definitions {
    #[inline]
    fn are_with(&self, record: &Record) -> bool {
        let symbol = record.entity();
        self.recent_plain == Some(record.kind()) && self.recent[symbol.bits() as usize % RECENT] == symbol
    }

    #[inline(never)]
    fn add_to(&mut self, uses: &mut Uses, record: &Record) {
        self.note_kind(record.kind(), uses);
        self.note_name(record.entity(), uses);
        let refers = self.schema.references.has(record.kind());
        self.recent_plain = (!refers).then_some(record.kind());
        if refers {
            self.note_references(record, uses);
        }
    }

    fn facts_of(&self, uses: &mut Uses, record: &Record) -> SourceFacts {
        self.sources.facts_of(uses, record)
    }

    #[inline]
    fn takes_context(&mut self, record: &Record) -> Option<bool> {
        let entered = record.payload::<ContextEntered>()?;
        let from = SourceFrom { origin: self.sources.origin(), source: record.source(), seq: record.seq() };
        self.define_context(from, entered.context);
        Some(self.sources.is_told(record.source()))
    }
}

/// Returns a block of at most `len_max` bytes with the first of `definitions`, at least one, and how many it has; none when
/// there are none.
pub(super) fn block_of<'a>(
    definitions: impl Iterator<Item = &'a Definition>,
    len_max: usize,
) -> io::Result<Option<(Block, usize)>> {
    let (mut body, mut taken) = (Vec::new(), 0);
    for definition in definitions {
        let len = body.len() + definition.encoded_len();
        if taken > 0 && len + HEADER_LEN_MAX > len_max.min(BLOCK_LEN_MAX) {
            break;
        }
        body.try_reserve(definition.encoded_len())?;
        definition.encode(&mut body);
        taken += 1;
    }
    Ok(if taken > 0 { Some((Block::of_bytes(BlockKind::Definitions, &body)?, taken)) } else { None })
}

/// Returns room for `count` definitions of `bytes`, in blocks of `block_len`, and for a few more.
pub(super) fn room(bytes: u64, count: usize, block_len: usize) -> u64 {
    let blocks = bytes / block_len as u64 + count as u64 / 64 + 1;
    bytes + (blocks + 1) * HEADER_LEN_MAX as u64
}

fn check_len(len: usize, limit: usize) -> Result<(), DefineError> {
    if len > limit { Err(DefineError::TooLong { len, limit }) } else { Ok(()) }
}

const _: () = assert!(Definition::DETAIL_LEN_MAX + 2 * HEADER_LEN_MAX < BLOCK_LEN_MAX);
