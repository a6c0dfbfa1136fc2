//! Makes records of PANTHER's events.
//!
//! **Identity.** A line is known by the id that PANTHER computes of its content, and its time: the id leaves time out, so that
//! the same thing said at two times has one id, and is two events. The record's digest is that id with a hash of the time
//! (xxh3-128 of its 8 bytes, little-endian) added without carry; [`panther_uuid`] takes it out again. Of the 128 bits the
//! version, 5, gives way to that of this crate's ids, 8. The id in the file is compared and decides nothing, so that a wrong
//! one cannot make two different events one; where it differs, [`PantherRecords::id_mismatches`] counts it.
//!
//! What PANTHER makes equal at one time is one event here too: values of which Python's `str()` is the same (`"False"` and `false`),
//! and lines that differ in a member `timestamp` of their data only. The first one counts.
//!
//! **Data.** The document holds all of an event's data, in the order of the file. JSON has no NaN and no infinities,
//! so a float that is one becomes the string `"NaN"`, `"Infinity"` or `"-Infinity"`; half a surrogate pair stays an
//! escape. Numbers and flags that the kind has places for stand in the payload too.
//!
//! **Variant.** Where a kind has several classes, the record says the one whose fields fit the data best; a fixed
//! field (`action`) decides before all others.

use crate::domain::{DataField, DataType, PANTHER, Schema, VariantDef, table, variants};
use crate::event::json::{Value as Json, push_number, push_text};
use crate::event::payload::FieldValue as Number;
use crate::event::{
    Detail, DetailError, EventId, EventKind, Field, Identity, Record, Shared, SymbolError, Symbols,
};
use crate::ingest::panther::escape::excerpt;
use crate::ingest::panther::{Object, PantherEvent, PantherValue, PythonVersion, Text, panther_id};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

/// Why an event of PANTHER's became no record. Messages are safe to print on a terminal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// PANTHER has no such entities.
    #[error("the entity type \"{0}\" is unknown; PANTHER has {known}", known = known_domains())]
    UnknownEntityType(String),
    /// Entities of this type have no such events.
    #[error("the event \"{event}\" of a {entity_type} is unknown; look for its name in PANTHER's catalogue")]
    UnknownEvent {
        /// The type of the entity.
        entity_type: Shared<str>,
        /// The beginning of the event's name, safe to print.
        event: String,
    },
    /// The line names two events: a reader could take it for either, and one may be a failure.
    #[error(
        "the name is \"{name}\" and the type \"{event_type}\", which is another event; correct one of them"
    )]
    TwoEvents {
        /// The beginning of the event's name, safe to print.
        name: String,
        /// The beginning of the type, safe to print.
        event_type: String,
    },
    /// The entity's name was not taken into the symbol table.
    #[error("the entity's name was refused: {}", escaped(.0))]
    Entity(SymbolError),
    /// The data was not taken into the table of documents.
    #[error("the event's data was refused: {0}")]
    Detail(#[from] DetailError),
}

/// Makes records of PANTHER's events; names and data go into a symbol table.
#[derive(Debug)]
pub struct PantherRecords {
    symbols: Arc<Symbols>,
    kinds: HashMap<Box<str>, Shape>,
    python: PythonVersion,
    /// Where names and documents are written, kept for the next event.
    text: String,
    id_mismatches: u64,
    unplaced: u64,
}

/// What events of a kind look like.
#[derive(Debug)]
struct Shape {
    kind: EventKind,
    fields: Shared<[Field]>,
    variants: Vec<&'static VariantDef>,
}

impl PantherRecords {
    /// Makes records of events of PANTHER's eight domains. `python` is the version whose text PANTHER hashed.
    #[must_use]
    pub fn new(symbols: Arc<Symbols>, python: PythonVersion) -> PantherRecords {
        let schema = Schema::new();
        let shape = |(kind, name): (EventKind, &str)| {
            let variants: Vec<_> = variants(kind).collect();
            let shape = Shape { kind, fields: schema.fields(kind)?.iter().cloned().collect(), variants };
            (!shape.variants.is_empty()).then(|| (name.into(), shape))
        };
        let kinds = schema.kinds().filter_map(shape).collect();
        PantherRecords { symbols, kinds, python, text: String::new(), id_mismatches: 0, unplaced: 0 }
    }

    /// Makes the record of `event`.
    ///
    /// # Errors
    /// When the event is none of PANTHER's, or its entity's name or data is refused by the tables.
    pub fn record(&mut self, event: &PantherEvent) -> Result<Record, RecordError> {
        self.text.clear();
        self.text.extend([&event.entity_type, ".", &event.name]);
        let Some(shape) = self.kinds.get(&*self.text) else {
            return Err(unknown(event));
        };
        // The type is the name behind its domain, or the name alone. Any other text is no event, and says nothing.
        let is_bare = !event.event_type.contains('.') && event.event_type != event.name;
        let full = is_bare.then(|| format!("{}.{}", event.entity_type, event.event_type));
        let other = self.kinds.get(full.as_deref().unwrap_or(&event.event_type));
        if other.is_some_and(|other| other.kind != shape.kind) {
            let (name, event_type) = (excerpt(&event.name), excerpt(&event.event_type));
            return Err(RecordError::TwoEvents { name, event_type });
        }
        let entity = self.symbols.intern(&event.entity_id).map_err(RecordError::Entity)?;
        let mut payload = [0; 24];
        for field in &shape.fields {
            field.write(&mut payload, None);
        }
        if let Some(variant) = best_fit(&shape.variants, &event.data) {
            self.unplaced += fill(&mut payload, &shape.fields, variant, &event.data);
        }
        let detail = if event.data.is_empty() {
            Detail::NONE
        } else {
            self.text.clear();
            push_object(&mut self.text, &event.data);
            self.symbols.details().insert(&self.text)?
        };
        table::DETAIL.write(&mut payload, Some(Number::Detail(detail)));
        let id = panther_id(event, self.python);
        let digest = EventId::from_hash(id.as_u128() ^ time_hash(event.time_ns));
        self.id_mismatches += u64::from(event.id.is_some_and(|given| given != id));
        let payload = bytemuck::cast(payload);
        let record = Record::raw(digest.bits(), Identity::Digest, event.time_ns, entity, shape.kind, payload);
        Ok(record.as_panthers())
    }

    /// Returns how many events had another id in the file than the one computed of their content.
    #[must_use]
    pub fn id_mismatches(&self) -> u64 {
        self.id_mismatches
    }

    /// Returns how many values stand only in documents, though their field has a place in the payload: they are of
    /// another type, or do not fit.
    #[must_use]
    pub fn unplaced(&self) -> u64 {
        self.unplaced
    }
}

/// Returns the id that PANTHER computes for the event; `None` of a record that was not made of an event of PANTHER's.
#[must_use]
pub fn panther_uuid(record: &Record) -> Option<Uuid> {
    const FIXED: u128 = 0xf000_c000_0000_0000_0000;
    const VERSION_5: u128 = 0x5000_8000_0000_0000_0000;
    let id = record.id().filter(|_| record.is_panthers())?;
    Some(Uuid::from_u128((id.bits() ^ time_hash(record.time_ns())) & !FIXED | VERSION_5))
}

fn time_hash(time_ns: u64) -> u128 {
    xxh3_128(&time_ns.to_le_bytes())
}

#[cold]
fn unknown(event: &PantherEvent) -> RecordError {
    match PANTHER.iter().find(|domain| *domain.name == *event.entity_type) {
        Some(domain) => {
            RecordError::UnknownEvent { entity_type: domain.name.clone(), event: excerpt(&event.name) }
        }
        None => RecordError::UnknownEntityType(excerpt(&event.entity_type)),
    }
}

fn known_domains() -> String {
    let names: Vec<_> = PANTHER.iter().map(|domain| &*domain.name).collect();
    names.join(", ")
}

fn escaped(error: &SymbolError) -> String {
    excerpt(&error.to_string())
}

/// Finds the class that the data is of, or most like; the first of equals.
fn best_fit(variants: &[&'static VariantDef], data: &Object) -> Option<&'static VariantDef> {
    let fit = |variant: &VariantDef| {
        let fixed = variant.data().filter(|field| match field.ty {
            DataType::Fixed(text) => data.get(field.name).and_then(PantherValue::as_str) == Some(text),
            _ => false,
        });
        let shared = variant.data().filter(|field| data.get(field.name).is_some()).count();
        let (strange, missing) = (data.len().saturating_sub(shared), variant.data().count() - shared);
        (fixed.count(), Reverse(strange), Reverse(missing))
    };
    // The last of equals is the greatest to `max_by_key`.
    variants.iter().rev().copied().max_by_key(|variant| fit(variant))
}

/// Fills the payload with what has a place there; returns how many values had one that cannot hold them.
fn fill(payload: &mut [u8; 24], fields: &[Field], variant: &'static VariantDef, data: &Object) -> u64 {
    let place = |name: &str| fields.iter().find(|field| *field.name == *name);
    if let Some(field) = place("variant") {
        field.write(payload, Some(Number::Name(variant.method)));
    }
    let mut unplaced = 0;
    for field in variant.data() {
        let Some(place) = field.place.and_then(place) else { continue };
        match data.get(field.name) {
            None | Some(PantherValue::Null) => {}
            Some(value) => {
                let number = number(field, value);
                let held = number.is_some() && place.write(payload, number);
                // A value of free form need not be a number.
                unplaced += u64::from(!held && field.ty != DataType::Any);
            }
        }
    }
    unplaced
}

/// Reads a value as what the field's place holds.
fn number(field: &DataField, value: &PantherValue) -> Option<Number<'static>> {
    match (field.ty, value) {
        (DataType::Bool, PantherValue::Bool(flag)) => Some(Number::Bool(*flag)),
        (DataType::Unsigned, PantherValue::Int(int)) => u64::try_from(*int).ok().map(Number::Unsigned),
        (DataType::Signed, PantherValue::Int(int)) => Some(Number::Signed(*int)),
        (DataType::Float | DataType::Any, value) => value.as_f64().map(Number::Float),
        (DataType::Duration, value) => {
            let per_unit = if field.name.ends_with("_ms") { 1e6 } else { 1e9 };
            nanoseconds(value.as_f64()? * per_unit)
        }
        (DataType::Ports, PantherValue::List(ports)) => {
            let port = ports.first()?.as_i64()?;
            u16::try_from(port).ok().map(|port| Number::Unsigned(port.into()))
        }
        _ => None,
    }
}

fn nanoseconds(nanos: f64) -> Option<Number<'static>> {
    // 2^64, above which a cast would clamp.
    let fits = (0.0..18_446_744_073_709_551_616.0).contains(&nanos);
    fits.then(|| Number::Unsigned(nanos.round() as u64))
}

fn push_value(out: &mut String, value: &PantherValue) {
    match value {
        PantherValue::Null => out.push_str("null"),
        PantherValue::Bool(flag) => Json::Bool(*flag).push(out),
        PantherValue::Int(int) => Json::Signed(*int).push(out),
        PantherValue::BigInt(digits) => out.push_str(digits),
        PantherValue::Float(float) => Json::Float(*float).push(out),
        PantherValue::Text(text) => push_python_text(out, text),
        PantherValue::List(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                push_value(out, value);
            }
            out.push(']');
        }
        PantherValue::Object(object) => push_object(out, object),
    }
}

fn push_object(out: &mut String, object: &Object) {
    out.push('{');
    for (at, (key, value)) in object.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_python_text(out, key);
        out.push(':');
        push_value(out, value);
    }
    out.push('}');
}

fn push_python_text(out: &mut String, text: &Text) {
    if let Some(utf8) = text.as_str() {
        return push_text(out, utf8);
    }
    out.push('"');
    for point in text.code_points() {
        match char::from_u32(point) {
            Some(quoted @ ('"' | '\\')) => out.extend(['\\', quoted]),
            Some(c) if point >= 0x20 => out.push(c),
            // A control character, or half a surrogate pair.
            _ => push_number(out, format_args!("\\u{point:04x}")),
        }
    }
    out.push('"');
}
