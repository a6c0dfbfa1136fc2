//! The observer `log`: writes events to the program's logger, through the facade of the `log` crate.
//!
//! Whatever logger the program has installed takes the lines (`tracing` by way of `tracing-log`); a program
//! without one may install [`Terminal`]. A line reads
//!
//! ```text
//! 22:45:14.698049 service.ready test-000-client {"service_name":"client"} port=4433
//! 22:45:15.000000 metrics.collected ×512 in 1.0 s
//! ```
//!
//! with the event's own time (UTC), kind, entity, document, and those payload fields that are set. Control characters
//! and marks that turn the writing direction are escaped, so that a name cannot forge a line.

mod terminal;
mod text;

pub use terminal::{Colors, Terminal};

use crate::domain::Schema;
use crate::event::kind::KIND_COUNT;
use crate::event::payload::FieldValue;
use crate::event::{Detail, EventKind, Identity, KindSet, Record, Symbol, Symbols};
use crate::observe::{Batch, Interest, Observer, Report, Scope, Undelivered};
use log::Level;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

/// How a [`Log`] writes.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The target of the log records, by which loggers filter.
    pub target: &'static str,
    /// Events of noisy kinds are counted for this long, by their own times, and written as one line. Zero writes
    /// each.
    pub noisy_window: Duration,
    /// Whether lines begin with the event's time.
    pub times: bool,
    /// Levels that differ from [`default_level`]; `None` keeps the kinds out of the log.
    pub levels: Vec<(KindSet, Option<Level>)>,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            target: "panther_events",
            noisy_window: Duration::from_secs(1),
            times: true,
            levels: Vec::new(),
        }
    }
}

/// Writes new events to the program's logger.
///
/// Kinds whose identity is `Occurrence` or `Digest` (samples, progress, packets) are noisy: they are counted, and
/// each has one line a window. A window that has passed is written with the next event of any kind that the
/// instance sees, or at the end of the run.
pub struct Log {
    schema: Arc<Schema>,
    symbols: Arc<Symbols>,
    target: &'static str,
    window_ns: u64,
    times: bool,
    /// By kind.
    kinds: Vec<Option<KindPlan>>,
    interest: KindSet,
    /// Kinds with an open window.
    open: Vec<EventKind>,
    /// When the earliest of the open windows ends.
    due_ns: u64,
    line: String,
    report: LogReport,
}

#[derive(Clone, Copy)]
struct KindPlan {
    level: Level,
    noisy: bool,
    window: Option<NoisyWindow>,
}

/// What is counted of a noisy kind.
#[derive(Clone, Copy)]
struct NoisyWindow {
    start_ns: u64,
    last_ns: u64,
    count: u64,
    first: Record,
}

/// How much a [`Log`] wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogReport {
    /// Lines given to the logger.
    pub lines: u64,
    /// Events without a line of their own: counted in the line of a window, or in one to come.
    pub batched: u64,
    /// Events of a level that the logger did not want.
    pub unwanted: u64,
    /// Documents of which only the beginning, [`DOCUMENT_BYTES_MAX`], was written.
    pub cut: u64,
}

/// Bytes that a line shows of an event's document.
pub const DOCUMENT_BYTES_MAX: usize = 512;

/// Returns the level of a kind, from the last word of its name, and from whether it is
/// [sampled](crate::domain::KindDef::sampled): `error` for errors and observers that failed, `warn` for what failed or is
/// not supported, `debug` for samples and progress, `trace` for packets, else `info`.
#[must_use]
pub fn default_level(name: &str, identity: Identity, sampled: bool) -> Level {
    let last = name.rsplit('.').next().unwrap_or(name);
    let word = last.rsplit('_').next().unwrap_or(last);
    match word {
        "error" => Level::Error,
        "failed" if sampled => Level::Error,
        "failed" | "failure" | "unsupported" | "unknown" => Level::Warn,
        _ if identity == Identity::Digest => Level::Trace,
        "progress" => Level::Debug,
        _ if sampled => Level::Debug,
        _ => Level::Info,
    }
}

impl Log {
    /// Writes events of all kinds of `schema`, with names from `symbols`.
    #[must_use]
    pub fn new(schema: &Arc<Schema>, symbols: &Arc<Symbols>, options: &LogOptions) -> Log {
        let mut log = Log {
            schema: Arc::clone(schema),
            symbols: Arc::clone(symbols),
            target: options.target,
            window_ns: u64::try_from(options.noisy_window.as_nanos()).unwrap_or(u64::MAX),
            times: options.times,
            kinds: vec![None; KIND_COUNT],
            interest: KindSet::EMPTY,
            open: Vec::new(),
            due_ns: u64::MAX,
            line: String::new(),
            report: LogReport::default(),
        };
        for (kind, name) in schema.kinds() {
            let identity = schema.identity(kind).unwrap_or_default();
            let sampled = schema.is_sampled(kind);
            let told = options.levels.iter().rev().find(|(kinds, _)| kinds.contains(kind));
            let level =
                told.map_or_else(|| Some(default_level(name, identity, sampled)), |(_, level)| *level);
            let noisy =
                (sampled || identity == Identity::Digest) && level.is_some_and(|level| level > Level::Warn);
            if let (Some(level), Some(plan)) = (level, log.kinds.get_mut(kind.index())) {
                *plan = Some(KindPlan { level, noisy: noisy && log.window_ns > 0, window: None });
                log.interest = log.interest.with(kind);
            }
        }
        log
    }

    fn take(&mut self, record: &Record) {
        if record.time_ns() >= self.due_ns {
            self.close_windows(record.time_ns());
        }
        let kind = record.kind();
        let Some(Some(plan)) = self.kinds.get_mut(kind.index()) else { return };
        if !log::log_enabled!(target: self.target, plan.level) {
            self.report.unwanted += 1;
            return;
        }
        if !plan.noisy {
            let level = plan.level;
            return self.write_event(record, level);
        }
        self.report.batched += 1;
        let time_ns = record.time_ns();
        match &mut plan.window {
            Some(window) => {
                window.count += 1;
                window.last_ns = window.last_ns.max(time_ns);
            }
            empty @ None => {
                *empty = Some(NoisyWindow { start_ns: time_ns, last_ns: time_ns, count: 1, first: *record });
                self.open.push(kind);
                self.due_ns = self.due_ns.min(time_ns.saturating_add(self.window_ns));
            }
        }
    }

    /// Writes the windows that have ended at `now_ns`.
    fn close_windows(&mut self, now_ns: u64) {
        let mut open = std::mem::take(&mut self.open);
        self.due_ns = u64::MAX;
        open.retain(|kind| {
            let Some(Some(plan)) = self.kinds.get_mut(kind.index()) else { return false };
            let Some(window) = plan.window else { return false };
            let end_ns = window.start_ns.saturating_add(self.window_ns);
            if end_ns > now_ns {
                self.due_ns = self.due_ns.min(end_ns);
                return true;
            }
            plan.window = None;
            let level = plan.level;
            self.write_window(*kind, &window, level);
            false
        });
        self.open = open;
    }

    fn write_window(&mut self, kind: EventKind, window: &NoisyWindow, level: Level) {
        if window.count == 1 {
            self.report.batched -= 1;
            return self.write_event(&window.first, level);
        }
        let span_ns = window.last_ns.saturating_sub(window.start_ns);
        let name = self.schema.name(kind).unwrap_or("?");
        let span = Span(span_ns);
        self.line.clear();
        // Writing to a string cannot fail.
        let _ = if self.times {
            write!(self.line, "{} {name} ×{} in {span}", text::TimeOfDay(window.last_ns), window.count)
        } else {
            write!(self.line, "{name} ×{} in {span}", window.count)
        };
        self.hand_over(level);
    }

    fn write_event(&mut self, record: &Record, level: Level) {
        self.line.clear();
        // Writing to a string cannot fail.
        let _ = self.format_event(record);
        self.hand_over(level);
    }

    fn format_event(&mut self, record: &Record) -> fmt::Result {
        if self.times {
            write!(self.line, "{} ", text::TimeOfDay(record.time_ns()))?;
        }
        let kind = record.kind();
        self.line.push_str(self.schema.name(kind).unwrap_or("?"));
        if record.entity() != Symbol::NONE {
            self.line.push(' ');
            push_name(&mut self.line, &self.symbols, record.entity());
        }
        for field in self.schema.fields(kind).unwrap_or_default() {
            let Some(value) = field.read(record.payload_bytes()) else { continue };
            match value {
                FieldValue::Symbol(Symbol::NONE) => {}
                FieldValue::Symbol(symbol) => {
                    write!(self.line, " {}=", field.name)?;
                    push_name(&mut self.line, &self.symbols, symbol);
                }
                FieldValue::Detail(Detail::NONE) => {}
                FieldValue::Detail(detail) => {
                    self.line.push(' ');
                    self.report.cut += u64::from(push_document(&mut self.line, &self.symbols, detail));
                }
                FieldValue::Unsigned(value) => write!(self.line, " {}={value}", field.name)?,
                FieldValue::Signed(value) => write!(self.line, " {}={value}", field.name)?,
                FieldValue::Float(value) => write!(self.line, " {}={value}", field.name)?,
                FieldValue::Bool(value) => write!(self.line, " {}={value}", field.name)?,
                FieldValue::Name(value) => write!(self.line, " {}={value}", field.name)?,
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, level: Level) {
        self.report.lines += 1;
        log::log!(target: self.target, level, "{}", self.line);
    }
}

impl Observer for Log {
    type Report = LogReport;

    fn interest(&self) -> Interest {
        Interest { kinds: self.interest, duplicates: false, scope: Scope::Entity }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        for (record, _) in batch.iter() {
            self.take(record);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Undelivered> {
        self.close_windows(u64::MAX);
        log::logger().flush();
        Ok(())
    }

    fn report(&self) -> LogReport {
        self.report
    }
}

impl Report for LogReport {
    fn merge(&mut self, other: LogReport) {
        self.lines += other.lines;
        self.batched += other.batched;
        self.unwanted += other.unwanted;
        self.cut += other.cut;
    }
}

/// Adds a symbol's name, or its number where the table does not hold it.
fn push_name(line: &mut String, symbols: &Symbols, symbol: Symbol) {
    symbols.with_name(symbol, |name| match name {
        Some(name) => text::push_escaped(line, name),
        // Writing to a string cannot fail.
        None => drop(write!(line, "{symbol}")),
    });
}

/// Adds a document's text, or its number where the table does not hold it; true when only the beginning was added.
fn push_document(line: &mut String, symbols: &Symbols, detail: Detail) -> bool {
    symbols.details().with_text(detail, |text| {
        let Some(text) = text else {
            // Writing to a string cannot fail.
            let _ = write!(line, "#{:016x}", detail.bits());
            return false;
        };
        let end = (0..=DOCUMENT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        let end = end.unwrap_or(0);
        text::push_escaped(line, text.get(..end).unwrap_or(text));
        if end < text.len() {
            line.push('…');
        }
        end < text.len()
    })
}

/// A duration in nanoseconds, for people.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ns if ns >= 100_000_000 => write!(f, "{:.1} s", ns as f64 / 1e9),
            ns if ns >= 100_000 => write!(f, "{:.1} ms", ns as f64 / 1e6),
            ns => write!(f, "{:.1} µs", ns as f64 / 1e3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_the_last_word() {
        let expected = [
            ("service.error", Level::Error),
            ("pipeline.observer_failed", Level::Error),
            ("test.deployment_failed", Level::Warn),
            ("test.completed", Level::Info),
            ("step.progress", Level::Debug),
            ("metrics.collected", Level::Debug),
            ("packet.seen", Level::Trace),
        ];
        let schema = Schema::new();
        let kinds: std::collections::HashMap<_, _> =
            schema.kinds().map(|(kind, name)| (name, kind)).collect();
        for (name, level) in expected {
            let kind = kinds[name];
            let found = default_level(name, schema.identity(kind).unwrap(), schema.is_sampled(kind));
            assert_eq!(found, level, "{name}");
        }
    }

    #[test]
    fn spans_read_well() {
        let texts = [1_000_000_000, 2_345_000, 1_500].map(|ns| Span(ns).to_string());
        assert_eq!(texts, ["1.0 s", "2.3 ms", "1.5 µs"]);
    }
}
