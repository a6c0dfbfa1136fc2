//! A reader's names and documents, and what it was told of sources, as far as it was read.

use crate::domain::{DomainDef, KindDef, Schema, SchemaTextError};
use crate::event::{Detail, EventKind, KindSet, Shared, Symbol};
use crate::journal::format::definition::{Definition, DefinitionKey, SourceFrom};
use crate::journal::read::defined::{Defined, Key};
use crate::journal::read::error::ReadError;
use crate::journal::read::filter::Filter;
use crate::journal::read::reader::JournalReader;
use crate::journal::read::sources::EnteredContext;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Names and documents, and bytes of them, from which on they are forgotten when another segment begins.
const HELD_MAX: usize = 1 << 16;
const HELD_BYTES_MAX: usize = 16 << 20;

impl JournalReader<'_> {
    /// Returns the name behind `symbol`, as far as the journal was read: names come before their first use. It is there for the
    /// records of the segment being read; those of segments before may have been forgotten.
    #[must_use]
    pub fn name(&self, symbol: Symbol) -> Option<&str> {
        self.names.get(&symbol).map(|name| &**name)
    }

    /// Returns the document behind `digest`; of events' documents, as for [`JournalReader::name`].
    #[must_use]
    pub fn detail(&self, digest: u128) -> Option<&[u8]> {
        self.details.get(&digest).map(|bytes| &**bytes)
    }

    /// Iterates over the names that were read and not forgotten, in no order.
    pub fn names(&self) -> impl Iterator<Item = (Symbol, &str)> {
        self.names.iter().map(|(symbol, name)| (*symbol, &**name))
    }

    /// Iterates over the documents that were read and not forgotten, in no order.
    pub fn details(&self) -> impl Iterator<Item = (u128, &[u8])> {
        self.details.iter().map(|(digest, bytes)| (*digest, &**bytes))
    }

    /// Iterates over the definitions of domains read so far, as JSON, in the order in which they were read.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.order.iter().filter_map(|key| match *key {
            Key::Detail(digest) if DefinitionKey::document(digest).domain().is_some() => {
                std::str::from_utf8(self.detail(digest)?).ok()
            }
            _ => None,
        })
    }

    /// Returns how many definitions of domains were read so far.
    #[must_use]
    pub fn domain_count(&self) -> usize {
        self.domains_read
    }

    /// Returns the schema by which the records read so far are to be read: the domains that the journal tells of, and this
    /// crate's own for the rest. Where the journal defines a domain in several ways, as a run that was resumed may, the one that
    /// was read last holds.
    ///
    /// # Errors
    /// When a definition is not sound, or two contradict each other.
    pub fn schema(&self) -> Result<Schema, SchemaTextError> {
        let mut domains: Vec<DomainDef> = Vec::new();
        for text in self.domains() {
            let def = DomainDef::from_json(text)?;
            domains.retain(|known| known.domain != def.domain);
            domains.push(def);
        }
        Ok(Schema::of_file(&domains)?)
    }

    /// Reads on to the end for the definitions alone, and of records the headers only: so that [`JournalReader::schema`] is that of
    /// all of them. Nothing is left to read then.
    ///
    /// # Errors
    /// When the operating system refuses to read.
    pub fn read_definitions(&mut self) -> Result<(), ReadError> {
        self.set_filter(Filter { kinds: KindSet::EMPTY, ..Filter::ALL });
        while self.next_block()?.is_some() {}
        Ok(())
    }

    /// Returns the names of the domains that the journal defines in several ways which contradict each other, as far as it was read: a
    /// kind has another name or other fields. One schema does not read all of its records.
    ///
    /// # Errors
    /// When a definition is not sound.
    pub fn redefined(&self) -> Result<Vec<Shared<str>>, SchemaTextError> {
        let mut known: HashMap<EventKind, KindDef> = HashMap::new();
        let mut redefined = Vec::new();
        for text in self.domains() {
            let def = DomainDef::from_json(text)?;
            let differs =
                |kind: &KindDef, known: &KindDef| (&kind.name, &kind.fields) != (&known.name, &known.fields);
            if def.kinds.iter().any(|kind| known.get(&kind.kind).is_some_and(|known| differs(kind, known))) {
                redefined.push(def.name.clone());
            }
            known.extend(def.kinds.iter().map(|kind| (kind.kind, kind.clone())));
        }
        Ok(redefined)
    }

    /// Takes in what a block defines.
    pub(super) fn define(&mut self, definition: Definition) {
        match definition {
            Definition::Name(symbol, name) => {
                if let Entry::Vacant(place) = self.names.entry(symbol) {
                    self.defined_bytes += name.len();
                    place.insert(name);
                    self.order.push(Key::Name(symbol));
                }
            }
            Definition::Detail(digest, bytes) => {
                let is_new = match self.details.entry(digest) {
                    Entry::Vacant(place) => {
                        self.defined_bytes += bytes.len();
                        place.insert(bytes);
                        true
                    }
                    Entry::Occupied(_) => false,
                };
                // A run may define a domain again as one before the last did.
                let domain = DefinitionKey::document(digest).domain();
                let holds = domain.and_then(|domain| self.domains.insert(domain, digest));
                if is_new || domain.is_some() && holds != Some(digest) {
                    self.order.push(Key::Detail(digest));
                    self.domains_read += usize::from(domain.is_some());
                }
            }
            of_source => self.take_source(of_source),
        }
    }

    /// Forgets the names and documents of records, if there are many, when another segment begins: it has again what its own records
    /// use.
    pub(super) fn forget_where_many(&mut self) {
        if self.order.len() < HELD_MAX && self.defined_bytes < HELD_BYTES_MAX {
            return;
        }
        let before = self.order.len();
        let is_note = |digest: u128| u64::try_from(digest).is_err();
        self.order.retain(|key| matches!(key, Key::Detail(digest) if is_note(*digest)));
        self.details.retain(|digest, _| is_note(*digest));
        (self.names, self.defined_bytes) = (HashMap::new(), 0);
        self.forgotten += before - self.order.len();
        self.forgettings += 1;
    }

    /// Returns how often the names and documents read so far were forgotten: when another segment begins and there are many, since
    /// it has again what its own records use.
    #[must_use]
    pub fn forgettings(&self) -> u64 {
        self.forgettings
    }

    /// Returns how many names and documents were read; one that was forgotten and read again counts again.
    #[must_use]
    pub fn definitions(&self) -> usize {
        self.forgotten + self.order.len()
    }

    /// Iterates over the names and documents in the order in which they were read, without the first `known`: what
    /// [`JournalReader::definitions`] was when the caller took the others, behind the last block. What was forgotten meanwhile, no record
    /// refers to that is still to be read.
    pub fn definitions_after(&self, known: usize) -> impl Iterator<Item = Defined<'_>> {
        self.order.get(known.saturating_sub(self.forgotten)..).unwrap_or_default().iter().filter_map(|key| {
            match *key {
                Key::Name(symbol) => Some(Defined::Name(symbol, self.name(symbol)?)),
                Key::Detail(digest) => Some(Defined::Detail(digest, self.detail(digest)?)),
            }
        })
    }
}

impl JournalReader<'_> {
    /// Returns the name of the emitter that had the number `seq` of `source`, of the
    /// [origin](crate::journal::format::BlockHeader::origin) of the block that was handed out last, as far as its segment was
    /// read; `None` where its writer did not know it.
    #[must_use]
    pub fn source_name(&self, source: u16, seq: u32) -> Option<&str> {
        let names = self.sources.names.get(&(self.sources.origin?, source))?;
        names.range(..=seq).next_back().map(|(_, name)| &**name).filter(|name| !name.is_empty())
    }

    /// Iterates over what the journal says, before the block that was handed out last, of the contexts in which its sources are: from
    /// which number on, and in which. A segment says it of each source that it has records of, unless its own records do, so that it
    /// can be read without those before; what they said already, it says again.
    ///
    /// Where records of a source are missing, it is not known in which context those behind them are
    /// ([`EnteredContext::Unknown`]), until the journal says it again.
    pub fn contexts_told(&self) -> impl Iterator<Item = (SourceFrom, EnteredContext)> {
        self.sources.contexts.iter().filter(|((origin, _), _)| Some(*origin) == self.sources.origin).map(
            |((origin, source), (seq, context))| {
                (SourceFrom { origin: *origin, source: *source, seq: *seq }, *context)
            },
        )
    }

    /// Iterates over the names of emitters that were told before the block that was handed out last.
    pub(crate) fn names_told(&self) -> impl Iterator<Item = (SourceFrom, &str)> {
        self.sources.news.iter().map(|(from, name)| (*from, &**name))
    }

    /// Takes in what a definition says of a source.
    pub(super) fn take_source(&mut self, definition: Definition) {
        match definition {
            Definition::Source(from, name) => self.sources.name(from, name),
            Definition::Context(from, Detail::NONE) => self.sources.context(from, EnteredContext::None),
            Definition::Context(from, detail) => {
                // Where the writer had no room for the document, nobody knows the context.
                let is_known = self.detail(detail.bits().into()).is_some();
                let context = if is_known { EnteredContext::Of(detail) } else { EnteredContext::Unknown };
                self.sources.context(from, context);
            }
            Definition::Name(..) | Definition::Detail(..) => {}
        }
    }
}
