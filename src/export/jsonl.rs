//! JSON Lines of events: `events.jsonl`, one object a line.
//!
//! ```json
//! {"id":"0e1d…","time_ns":1700000000000000000,"entity":"client","kind":"packet.seen","source":0,"seq":7,"verdict":"duplicate","first_time_ns":1699999999999000000,"first_source":1,"payload":{"size_bytes":1200}}
//! ```
//!
//! (The id is shortened here.) Members always come in this order; `verdict` and what follows it up to `payload` only where known.
//!
//! - Integers have all their digits. Times exceed 2^53: a reader that keeps numbers as doubles rounds them to
//!   256 ns.
//! - Symbols are written as their names; one that the table does not know as `"#"` and 16 hexadecimal
//!   digits, and no symbol as `null`.
//! - A kind without a known name is written as `"#domain.code"`, and its payload as a string of 48
//!   hexadecimal digits, the bytes in memory order.
//! - JSON has no NaN and no infinities. They are written as `null`, so that a column stays numeric, and
//!   counted ([`EventLines::non_finite`]).
//!
//! Lines are written by hand: building JSON values first would take several times as long, and this runs
//! once for each of millions of events.

use crate::event::payload::Value;
use crate::event::{EventKind, Field, Record, Symbol, Symbols};
use std::io::{self, Write};

/// What deduplication said of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is the first of its id.
    New,
    /// Its id was seen before.
    Duplicate {
        /// When and by which emitter, where that is kept.
        first: Option<FirstSighting>,
    },
}

/// When and by whom an event was first seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FirstSighting {
    /// Nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// The emitter.
    pub source: u16,
}

/// How a kind is written: its name, such as `packet.seen`, and its payload's fields.
pub type KindText<'a> = (&'a str, &'a [Field]);

/// Writes events as JSON, one a line.
///
/// Each line goes to the output in one call; give it a buffered one and flush that. After an error the
/// output may end within a line.
#[derive(Debug)]
pub struct EventLines<W> {
    out: W,
    line: Vec<u8>,
    written: u64,
    non_finite: u64,
}

impl<W: Write> EventLines<W> {
    /// Makes a writer of lines.
    pub fn new(out: W) -> EventLines<W> {
        EventLines { out, line: Vec::with_capacity(512), written: 0, non_finite: 0 }
    }

    /// Writes one event. `kind` is what the catalogue knows of the record's kind.
    ///
    /// # Errors
    /// When the output fails.
    pub fn write(
        &mut self,
        record: &Record,
        verdict: Option<Verdict>,
        kind: Option<KindText<'_>>,
        symbols: &Symbols,
    ) -> io::Result<()> {
        let line = &mut self.line;
        line.clear();
        line.extend_from_slice(b"{\"id\":\"");
        line.extend_from_slice(record.id().uuid().hyphenated().encode_lower(&mut [0; 36]).as_bytes());
        line.extend_from_slice(b"\",\"time_ns\":");
        push_integer(line, record.time_ns());
        line.extend_from_slice(b",\"entity\":");
        push_symbol(line, record.entity(), symbols);
        line.extend_from_slice(b",\"kind\":");
        match kind {
            Some((name, _)) => push_string(line, name),
            None => push_unknown_kind(line, record.kind()),
        }
        line.extend_from_slice(b",\"source\":");
        push_integer(line, record.source());
        line.extend_from_slice(b",\"seq\":");
        push_integer(line, record.seq());
        if let Some(verdict) = verdict {
            push_verdict(line, verdict);
        }
        line.extend_from_slice(b",\"payload\":");
        match kind {
            Some((_, fields)) => self.non_finite += push_fields(line, record, fields, symbols),
            None => push_hex(line, record.payload_bytes()),
        }
        line.extend_from_slice(b"}\n");
        self.out.write_all(line)?;
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

    /// Gives the output back, which is not flushed.
    pub fn into_inner(self) -> W {
        self.out
    }
}

fn push_verdict(line: &mut Vec<u8>, verdict: Verdict) {
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
fn push_fields(line: &mut Vec<u8>, record: &Record, fields: &[Field], symbols: &Symbols) -> u64 {
    let mut non_finite = 0;
    let mut separator = b'{';
    for field in fields {
        line.push(separator);
        separator = b',';
        push_string(line, field.name);
        line.push(b':');
        match field.read(record.payload_bytes()) {
            Some(Value::Unsigned(value)) => push_integer(line, value),
            Some(Value::Signed(value)) => push_integer(line, value),
            Some(Value::Float(value)) if value.is_finite() => {
                line.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
            }
            Some(Value::Float(_)) => {
                line.extend_from_slice(b"null");
                non_finite += 1;
            }
            Some(Value::Symbol(symbol)) => push_symbol(line, symbol, symbols),
            // A field outside the payload: the catalogue's description is wrong, the line stays valid.
            None => line.extend_from_slice(b"null"),
        }
    }
    if separator == b'{' {
        line.push(b'{');
    }
    line.push(b'}');
    non_finite
}

fn push_symbol(line: &mut Vec<u8>, symbol: Symbol, symbols: &Symbols) {
    if symbol == Symbol::NONE {
        return line.extend_from_slice(b"null");
    }
    symbols.with_name(symbol, |name| match name {
        Some(name) => push_string(line, name),
        None => {
            line.extend_from_slice(b"\"#");
            push_hex_digits(line, &symbol.bits().to_be_bytes());
            line.push(b'"');
        }
    });
}

#[cold]
fn push_unknown_kind(line: &mut Vec<u8>, kind: EventKind) {
    line.extend_from_slice(b"\"#");
    push_integer(line, kind.domain().number());
    line.push(b'.');
    push_integer(line, kind.code());
    line.push(b'"');
}

fn push_integer(line: &mut Vec<u8>, value: impl itoa::Integer) {
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn push_hex(line: &mut Vec<u8>, bytes: &[u8]) {
    line.push(b'"');
    push_hex_digits(line, bytes);
    line.push(b'"');
}

fn push_hex_digits(line: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        line.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// Appends `text` in quotes. Only quotes, backslashes and control characters need an escape in JSON; other
/// characters stand as UTF-8.
fn push_string(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)) {
        let (plain, from_special) = rest.split_at(at);
        line.extend_from_slice(plain);
        if let Some((special, after)) = from_special.split_first() {
            push_escape(line, *special);
            rest = after;
        }
    }
    line.extend_from_slice(rest);
    line.push(b'"');
}

#[cold]
fn push_escape(line: &mut Vec<u8>, special: u8) {
    let short = match special {
        b'"' | b'\\' => special,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            line.extend_from_slice(b"\\u00");
            return push_hex_digits(line, &[special]);
        }
    };
    line.extend_from_slice(&[b'\\', short]);
}
