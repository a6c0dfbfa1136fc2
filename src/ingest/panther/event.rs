//! One event of PANTHER, taken from a line of JSON.

use crate::ingest::panther::escape::excerpt;
use crate::ingest::panther::json::{Limits, ParseError, ParseErrorKind, parse_members};
use crate::ingest::panther::text::Text;
use crate::ingest::panther::time::{TimeError, time_ns};
use crate::ingest::panther::value::{Object, PantherValue};
use uuid::Uuid;

/// Holds an event as PANTHER's `to_dict()` gives it. Whether its types are known is not looked at here.
#[derive(Clone, PartialEq, Debug)]
pub struct PantherEvent {
    /// The id that PANTHER gave the event, if the line has one.
    pub id: Option<Uuid>,
    /// The event's name, such as `setup_started`.
    pub name: String,
    /// The event's type, such as `test.setup_started`; the field `type`.
    pub event_type: String,
    /// The type of the entity that the event is about, such as `test`.
    pub entity_type: String,
    /// The name of the entity that the event is about.
    pub entity_id: String,
    /// When the event was made: nanoseconds since the Unix epoch, a local time taken as UTC.
    pub time_ns: u64,
    /// The event's data, in the order of the file.
    pub data: Object,
}

/// Says at which byte of a line, and why, the line is no event.
#[derive(Debug, thiserror::Error)]
#[error("byte {offset}: {reason}")]
pub struct LineError {
    /// Bytes before the one at fault, or before the field's value.
    pub offset: usize,
    /// What is wrong there.
    pub reason: Reason,
}

/// Says why a line is no event. Messages are safe to print on a terminal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The line is not JSON, or exceeds a limit.
    #[error(transparent)]
    Json(ParseErrorKind),
    /// The line is JSON of another type.
    #[error("not an object; write one event a line")]
    NotAnObject,
    /// A field is missing.
    #[error("the field {0:?} is missing")]
    MissingField(&'static str),
    /// A field has the wrong type.
    #[error("the field {field:?} is {found}; it has to be {expected}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// The type that it has to have.
        expected: &'static str,
        /// The type that it has.
        found: &'static str,
    },
    /// A name holds a surrogate that stands alone, so Python's `uuid5` cannot encode it.
    #[error(
        "the field {0:?} holds a lone surrogate, which has no UTF-8 form; Python gives no id to such an event"
    )]
    LoneSurrogate(&'static str),
    /// The id is no UUID.
    #[error("the id \"{0}\" is not a UUID")]
    BadId(String),
    /// The time is not one that Python writes.
    #[error("the timestamp \"{excerpt}\" is {why}")]
    BadTimestamp {
        /// The beginning of the timestamp, safe to print.
        excerpt: String,
        /// What is wrong with it.
        why: TimeError,
    },
    /// The line is longer than the reader's limit.
    #[error("a line of more than {0} bytes; raise the limit or split it")]
    LineTooLong(usize),
    /// The file cannot be read further.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::Error),
}

impl PantherEvent {
    /// Takes an event from a line of JSON. Fields that an event does not have are ignored; of fields with the
    /// same name the last counts.
    ///
    /// # Errors
    /// When the line is not JSON, exceeds a limit, or is no event.
    pub fn from_json(line: &[u8], limits: &Limits) -> Result<PantherEvent, LineError> {
        let [mut id, mut name, mut event_type, mut entity_type, mut entity_id, mut timestamp, mut data] =
            FIELDS.map(Field::new);
        let mut take = |key: Text, value, offset| {
            let field = match key.as_str() {
                Some("id") => &mut id,
                Some("name") => &mut name,
                Some("type") => &mut event_type,
                Some("entity_type") => &mut entity_type,
                Some("entity_id") => &mut entity_id,
                Some("timestamp") => &mut timestamp,
                Some("data") => &mut data,
                _ => return,
            };
            (field.value, field.offset) = (Some(value), offset);
        };
        if !parse_members(line, limits, &mut take)? {
            return Err(LineError { offset: 0, reason: Reason::NotAnObject });
        }
        Ok(PantherEvent {
            id: id.uuid()?,
            name: name.string()?,
            event_type: event_type.string()?,
            entity_type: entity_type.string()?,
            entity_id: entity_id.string()?,
            time_ns: timestamp.time_ns()?,
            data: data.object()?,
        })
    }
}

impl From<ParseError> for LineError {
    fn from(error: ParseError) -> LineError {
        LineError { offset: error.offset, reason: Reason::Json(error.kind) }
    }
}

const FIELDS: [&str; 7] = ["id", "name", "type", "entity_type", "entity_id", "timestamp", "data"];

/// A field as found in a line.
struct Field {
    name: &'static str,
    value: Option<PantherValue>,
    offset: usize,
}

impl Field {
    fn new(name: &'static str) -> Field {
        Field { name, value: None, offset: 0 }
    }

    fn uuid(self) -> Result<Option<Uuid>, LineError> {
        if let None | Some(PantherValue::Null) = self.value {
            return Ok(None);
        }
        let offset = self.offset;
        let text = self.string()?;
        let refused = |_| LineError { offset, reason: Reason::BadId(excerpt(&text)) };
        Uuid::parse_str(&text).map(Some).map_err(refused)
    }

    fn time_ns(self) -> Result<u64, LineError> {
        let offset = self.offset;
        let text = self.string()?;
        let refused =
            |why| LineError { offset, reason: Reason::BadTimestamp { excerpt: excerpt(&text), why } };
        time_ns(&text).map_err(refused)
    }

    fn string(self) -> Result<String, LineError> {
        let (field, offset) = (self.name, self.offset);
        match self.present()? {
            PantherValue::Text(text) => {
                text.into_string().map_err(|_| LineError { offset, reason: Reason::LoneSurrogate(field) })
            }
            other => Err(Field::wrong_type(field, offset, "a string", &other)),
        }
    }

    fn object(self) -> Result<Object, LineError> {
        let (field, offset) = (self.name, self.offset);
        match self.present()? {
            PantherValue::Object(object) => Ok(object),
            other => Err(Field::wrong_type(field, offset, "an object", &other)),
        }
    }

    fn present(self) -> Result<PantherValue, LineError> {
        self.value.ok_or(LineError { offset: self.offset, reason: Reason::MissingField(self.name) })
    }

    fn wrong_type(
        field: &'static str,
        offset: usize,
        expected: &'static str,
        value: &PantherValue,
    ) -> LineError {
        LineError { offset, reason: Reason::WrongType { field, expected, found: value.type_name() } }
    }
}
