//! Which names and documents a record refers to.

use crate::domain::Schema;
use crate::event::{Detail, EventKind, Field, FieldType, FieldValue, KindSet, Record, Symbol};
use crate::hash::Keyed;
use std::collections::HashMap;

/// The places in the payloads of a schema's kinds that refer to names and documents.
pub(super) struct References {
    known: KindSet,
    referring: KindSet,
    fields: HashMap<EventKind, Vec<Field>, Keyed>,
}

impl References {
    pub(super) fn of(schema: &Schema) -> References {
        let refers = |field: &&Field| matches!(field.ty, FieldType::Symbol | FieldType::Detail);
        let (known, referring) = (KindSet::EMPTY, KindSet::EMPTY);
        let mut references = References { known, referring, fields: HashMap::default() };
        for (kind, _) in schema.kinds() {
            references.known = references.known.with(kind);
            let fields = schema.fields(kind).unwrap_or_default().iter().filter(refers);
            let fields: Vec<Field> = fields.cloned().collect();
            if !fields.is_empty() {
                references.referring = references.referring.with(kind);
                references.fields.insert(kind, fields);
            }
        }
        references
    }

    /// Tells whether payloads of `kind` may refer to something.
    #[inline]
    pub(super) fn has(&self, kind: EventKind) -> bool {
        self.referring.contains(kind) || !self.known.contains(kind)
    }

    /// Shows the names and documents that the payload of `record` refers to. Of a kind that the schema has not, each word may be
    /// either.
    #[inline]
    pub(super) fn each(&self, record: &Record, mut show: impl FnMut(Reference)) {
        let kind = record.kind();
        if !self.has(kind) {
            return;
        }
        match self.fields.get(&kind) {
            Some(fields) => {
                for field in fields {
                    match field.read(record.payload_bytes()) {
                        Some(FieldValue::Symbol(symbol)) => show(Reference::Name(symbol)),
                        Some(FieldValue::Detail(detail)) if detail != Detail::NONE => {
                            show(Reference::Document(detail));
                        }
                        _ => {}
                    }
                }
            }
            None => {
                for word in record.payload_words() {
                    show(Reference::Name(Symbol::from_bits(*word)));
                    show(Reference::Document(Detail::from_bits(*word)));
                }
            }
        }
    }
}

/// What a record refers to.
#[derive(Clone, Copy)]
pub(super) enum Reference {
    Name(Symbol),
    Document(Detail),
}
