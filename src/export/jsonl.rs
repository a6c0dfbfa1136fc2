//! JSON Lines of events: `events.jsonl`, one object a line.
//!
//! ```json
//! {"id":"0e1d…","time_ns":1700000000000000000,"entity":"client","kind":"packet.seen","source":0,"seq":7,"verdict":"duplicate","first_time_ns":1699999999999000000,"first_source":1,"payload":{"size_bytes":1200}}
//! ```
//!
//! (The id is shortened here.) Members always come in this order; `verdict` and what follows it up to `payload` only
//! where known, and so `emitter`, the emitter's name, between `seq` and `verdict`: it stands in journals, and the command `cat`
//! shows it. An event that has an id elsewhere too has it after `id`, as `panther_id` for PANTHER's. One that was
//! emitted in a context has it before `payload`: `"context":{"experiment":"exp-1","test":"handshake"}`.
//!
//! - Integers have all their digits. Times exceed 2^53: a reader that keeps numbers as doubles rounds them to
//!   256 ns.
//! - Symbols are written as their names; one that the table does not know as `"#"` and 16 hexadecimal
//!   digits, and no symbol as `null`.
//! - Controls above the space, marks of direction and separators of lines are written as escapes, so that a line is
//!   safe to print.
//! - Detail documents are otherwise written as they are, one JSON value each; one that the table does not know as symbols
//!   are. A field without a value is written as `null`.
//! - A kind without a known name is written as `"#domain.code"`, and its payload as a string of 48
//!   hexadecimal digits, the bytes in memory order.
//! - JSON has no NaN and no infinities. They are written as `null`, so that a column stays numeric, and
//!   counted ([`EventLines::non_finite`]).
//!
//! Lines are written by hand: building JSON values first would take several times as long, and this runs
//! once for each of millions of events. What repeats (kinds, fields, most names) is quoted and escaped once.

mod line;
mod quote;

use crate::dedup::Verdict;
use crate::event::kind::KIND_COUNT;
use crate::event::payload::FieldValue;
use crate::event::{Context, Contexts, Detail, EventId, EventKind, Field, Record, Symbols};
use line::Line;
use quote::{QuotedNames, push_hex_digits, push_json, push_string};
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use uuid::Uuid;

/// How a kind is written: its name, such as `packet.seen`, and its payload's fields.
pub type KindText<'a> = (&'a str, &'a [Field]);

/// Tells the id that an event has elsewhere.
pub type IdLookup = Arc<dyn Fn(&Record) -> Option<Uuid> + Send + Sync>;

/// Writes events as JSON, one a line.
///
/// Each line goes to the output in one call; give it a buffered one and flush that. After an error of the output it
/// may end within a line. A line that there is no memory for is an error, of which nothing was written.
#[derive(Debug)]
pub struct EventLines<W> {
    out: W,
    line: Line,
    kinds: Vec<Option<KindLine>>,
    names: QuotedNames,
    elsewhere: Option<Elsewhere>,
    contexts: Option<Arc<Contexts>>,
    written: u64,
    non_finite: u64,
}

/// A second id of an event, with what stands before it.
struct Elsewhere {
    before: Line,
    id: IdLookup,
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elsewhere").finish_non_exhaustive()
    }
}

/// What all lines of a kind have in common.
#[derive(Debug)]
struct KindLine {
    /// From after the entity to before the source's value.
    kind: Line,
    /// The fields, each with what stands before its value.
    fields: Vec<(Line, Field)>,
}

impl<W: Write> EventLines<W> {
    /// Makes a writer of lines. `kinds`, asked once for each kind there can be, is the schema.
    pub fn new<'a>(out: W, kinds: impl Fn(EventKind) -> Option<KindText<'a>>) -> EventLines<W> {
        EventLines {
            out,
            line: Line::default(),
            kinds: kind_lines(kinds),
            names: QuotedNames::new(),
            elsewhere: None,
            contexts: None,
            written: 0,
            non_finite: 0,
        }
    }

    /// Takes another schema for the lines that follow, as [`EventLines::new`] takes it.
    pub fn set_kinds<'a>(&mut self, kinds: impl Fn(EventKind) -> Option<KindText<'a>>) {
        self.kinds = kind_lines(kinds);
    }

    /// Writes a second id of each event that has one, under `member`, after the first.
    #[must_use]
    pub fn with_id_elsewhere(mut self, member: &str, id: IdLookup) -> EventLines<W> {
        let mut before = Line::default();
        before.push(b',');
        push_string(&mut before, member);
        before.push(b':');
        self.elsewhere = Some(Elsewhere { before, id });
        self
    }

    /// Writes the context of each event that has one.
    #[must_use]
    pub fn with_contexts(mut self, contexts: Arc<Contexts>) -> EventLines<W> {
        self.contexts = Some(contexts);
        self
    }

    /// Writes one event. `symbols` holds the names; give the same table each time, names are kept.
    ///
    /// # Errors
    /// When the output fails, or there is no memory for the line; the next one may be written then.
    pub fn write(&mut self, record: &Record, verdict: Option<Verdict>, symbols: &Symbols) -> io::Result<()> {
        self.write_of(record, None, verdict, symbols)
    }

    /// Writes one event of the emitter of that name, as [`EventLines::write`] does.
    ///
    /// # Errors
    /// When the output fails.
    pub fn write_of(
        &mut self,
        record: &Record,
        emitter: Option<&str>,
        verdict: Option<Verdict>,
        symbols: &Symbols,
    ) -> io::Result<()> {
        let line = &mut self.line;
        line.clear();
        line.extend_from_slice(b"{\"id\":");
        push_uuid(line, record.id().map(EventId::uuid));
        if let Some(elsewhere) = &self.elsewhere
            && let Some(id) = (elsewhere.id)(record)
        {
            line.append(&elsewhere.before);
            push_uuid(line, Some(id));
        }
        line.extend_from_slice(b",\"time_ns\":");
        push_integer(line, record.time_ns());
        line.extend_from_slice(b",\"entity\":");
        self.names.push(line, record.entity(), symbols);
        let kind = self.kinds.get(record.kind().index()).and_then(Option::as_ref);
        match kind {
            Some(kind) => line.append(&kind.kind),
            None => push_unknown_kind(line, record.kind()),
        }
        push_integer(line, record.source());
        line.extend_from_slice(b",\"seq\":");
        push_integer(line, record.seq());
        if let Some(emitter) = emitter {
            line.extend_from_slice(b",\"emitter\":");
            push_string(line, emitter);
        }
        if let Some(verdict) = verdict {
            push_verdict(line, verdict);
        }
        if let Some(contexts) = &self.contexts {
            push_context(line, &contexts.of(record), symbols, &mut self.names);
        }
        line.extend_from_slice(b",\"payload\":");
        match kind {
            Some(kind) => {
                self.non_finite += push_fields(line, record, &kind.fields, symbols, &mut self.names)
            }
            None => push_hex(line, record.payload_bytes()),
        }
        line.extend_from_slice(b"}\n");
        self.out.write_all(line.whole()?)?;
        self.written += 1;
        Ok(())
    }

    /// Returns how many lines were written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Returns how many floats were written as `null` because JSON cannot hold them.
    #[must_use]
    pub fn non_finite(&self) -> u64 {
        self.non_finite
    }

    /// Returns the output: to flush it, or to empty it where it is a buffer.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Gives the output back, which is not flushed.
    pub fn into_inner(self) -> W {
        self.out
    }
}

fn kind_lines<'a>(kinds: impl Fn(EventKind) -> Option<KindText<'a>>) -> Vec<Option<KindLine>> {
    let all = (0..KIND_COUNT as u16).map(EventKind::from_index);
    all.map(|kind| kinds(kind).map(KindLine::new)).collect()
}

impl KindLine {
    fn new((name, fields): KindText<'_>) -> KindLine {
        let mut kind = Line::default();
        kind.extend_from_slice(b",\"kind\":");
        push_string(&mut kind, name);
        kind.extend_from_slice(SOURCE);
        let before = |(at, field): (usize, &Field)| {
            let mut text = Line::default();
            text.push(if at == 0 { b'{' } else { b',' });
            push_string(&mut text, &field.name);
            text.push(b':');
            (text, field.clone())
        };
        KindLine { kind, fields: fields.iter().enumerate().map(before).collect() }
    }
}

const SOURCE: &[u8] = b",\"source\":";

/// Appends the context as an object of names, if there is one.
fn push_context(line: &mut Line, context: &Context, symbols: &Symbols, names: &mut QuotedNames) {
    for (at, (level, name)) in context.parts().enumerate() {
        line.extend_from_slice(if at == 0 { b",\"context\":{\"" } else { b",\"" });
        line.extend_from_slice(level.name().as_bytes());
        line.extend_from_slice(b"\":");
        names.push(line, name, symbols);
    }
    if !context.is_none() {
        line.push(b'}');
    }
}

fn push_verdict(line: &mut Line, verdict: Verdict) {
    match verdict {
        Verdict::New => line.extend_from_slice(b",\"verdict\":\"new\""),
        Verdict::Duplicate { first } => {
            line.extend_from_slice(b",\"verdict\":\"duplicate\"");
            if let Some(first) = first {
                line.extend_from_slice(b",\"first_time_ns\":");
                push_integer(line, first.time_ns);
                line.extend_from_slice(b",\"first_source\":");
                push_integer(line, first.source);
            }
        }
    }
}

/// Appends the payload as an object and returns how many floats it could not hold.
fn push_fields(
    line: &mut Line,
    record: &Record,
    fields: &[(Line, Field)],
    symbols: &Symbols,
    names: &mut QuotedNames,
) -> u64 {
    let mut non_finite = 0;
    for (before, field) in fields {
        line.append(before);
        match field.read(record.payload_bytes()) {
            Some(FieldValue::Unsigned(value)) => push_integer(line, value),
            Some(FieldValue::Signed(value)) => push_integer(line, value),
            Some(FieldValue::Float(value)) if value.is_finite() => {
                line.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
            }
            Some(FieldValue::Float(_)) => {
                line.extend_from_slice(b"null");
                non_finite += 1;
            }
            Some(FieldValue::Symbol(symbol)) => names.push(line, symbol, symbols),
            Some(FieldValue::Bool(value)) => line.extend_from_slice(if value { b"true" } else { b"false" }),
            Some(FieldValue::Name(name)) => push_string(line, name),
            Some(FieldValue::Detail(detail)) => push_document(line, detail, symbols),
            // No value, or a field outside the payload: the schema's description is wrong, the line stays valid.
            None => line.extend_from_slice(b"null"),
        }
    }
    line.extend_from_slice(if fields.is_empty() { b"{}" } else { b"}" });
    non_finite
}

/// Appends the document: it is JSON in one line.
fn push_document(line: &mut Line, detail: Detail, symbols: &Symbols) {
    if detail == Detail::NONE {
        return line.extend_from_slice(b"null");
    }
    symbols.details().with_text(detail, |text| match text {
        Some(text) => push_json(line, text),
        None => {
            line.extend_from_slice(b"\"#");
            push_hex_digits(line, &detail.bits().to_be_bytes());
            line.push(b'"');
        }
    });
}

/// `null` is the id of a record that no pipeline has seen.
fn push_uuid(line: &mut Line, id: Option<Uuid>) {
    let Some(id) = id else { return line.extend_from_slice(b"null") };
    line.push(b'"');
    line.extend_from_slice(id.hyphenated().encode_lower(&mut [0; 36]).as_bytes());
    line.push(b'"');
}

#[cold]
fn push_unknown_kind(line: &mut Line, kind: EventKind) {
    line.extend_from_slice(b",\"kind\":\"#");
    push_integer(line, kind.domain().number());
    line.push(b'.');
    push_integer(line, kind.code());
    line.push(b'"');
    line.extend_from_slice(SOURCE);
}

fn push_integer(line: &mut Line, value: impl itoa::Integer) {
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn push_hex(line: &mut Line, bytes: &[u8]) {
    line.push(b'"');
    push_hex_digits(line, bytes);
    line.push(b'"');
}
