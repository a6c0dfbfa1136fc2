//! PANTHER's id of an event: a version-5 UUID over its content as Python writes it.
//!
//! The id is what Python computes from the event as the file holds it. Where PANTHER's own data held what JSON
//! cannot carry (tuples, enumeration members, keys that are no strings), the id in the file differs from this
//! one, and the file's is PANTHER's.

use crate::ingest::panther::event::PantherEvent;
use crate::ingest::panther::printable::PythonVersion;
use crate::ingest::panther::repr::{write_repr, write_str, write_text};
use crate::ingest::panther::value::{Object, PantherValue};
use uuid::Uuid;

/// Returns the id that PANTHER gives an event under a version of Python: the version-5 UUID of [`content`].
#[must_use]
pub fn panther_id(event: &PantherEvent, python: PythonVersion) -> Uuid {
    Uuid::new_v5(&NAMESPACE, content(event, python).as_bytes())
}

/// Returns what PANTHER's id is computed from: `entity_type:name:entity_id:data`, where data is nothing when
/// it is empty, and otherwise Python's `str()` of a dict of strings, sorted by key, without `timestamp`.
#[must_use]
pub fn content(event: &PantherEvent, python: PythonVersion) -> String {
    let mut out = String::with_capacity(256);
    for part in [&event.entity_type, &event.name, &event.entity_id] {
        out.push_str(part);
        out.push(':');
    }
    // Data that holds nothing but a timestamp is not empty: Python writes `{}`.
    if !event.data.is_empty() {
        write_data(&mut out, &event.data, python);
    }
    out
}

/// The namespace that PANTHER uses, the one of DNS names.
const NAMESPACE: Uuid = Uuid::NAMESPACE_DNS;

fn write_data(out: &mut String, data: &Object, python: PythonVersion) {
    let mut members: Vec<_> = data.iter().filter(|(key, _)| key.as_str() != Some("timestamp")).collect();
    members.sort_by_key(|(key, _)| *key);
    let mut string = String::new();
    out.push('{');
    for (index, (key, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_text(out, key, python);
        out.push_str(": ");
        match value {
            // `str()` of a string is the string.
            PantherValue::Text(text) => write_text(out, text, python),
            _ => {
                string.clear();
                write_repr(&mut string, value, python);
                write_str(out, &string, python);
            }
        }
    }
    out.push('}');
}
