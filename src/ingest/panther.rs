//! Reads PANTHER's events from JSON Lines and computes their ids exactly as PANTHER does.
//!
//! PANTHER is a Python program, and its id is a UUID over what Python's `str()` writes for an event's data. So
//! this module keeps what Python sees in a file ([`PantherValue`], [`Text`]), writes it as Python does ([`write_repr`]), and
//! hashes that ([`id`]).
//!
//! ```text
//! bytes ──► reader ──► json ──► event ──┬──► id (repr, printable)
//!           lines      values   fields  └──► records ──► feed ──► emitter
//! ```
//!
//! The files are untrusted: line length, string length, nesting and the number of values are bounded
//! ([`Limits`]), and what is refused is told with its line, its byte and the reason, and counted.

mod escape;
pub mod event;
pub mod feed;
pub mod id;
pub mod ids;
pub mod json;
mod printable;
pub mod reader;
pub mod records;
mod repr;
mod text;
mod time;
pub mod value;

pub use escape::escape_for_terminal;
pub use event::{LineError, PantherEvent, Reason};
pub use feed::{FileReport, IdMismatch, LineRefusal, PantherFeedReport, feed, feed_until};
pub use id::{content, panther_id};
pub use ids::PantherIds;
pub use json::{Limits, ParseError, ParseErrorKind};
pub use printable::{PythonVersion, PythonVersionError};
pub use reader::{Counts, PantherReader, Refused};
pub use records::{PantherRecords, RecordError, panther_uuid};
pub use repr::{write_float, write_repr};
pub use text::Text;
pub use time::TimeError;
pub use value::{Object, PantherValue};
