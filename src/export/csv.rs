//! CSV tables: `paths.csv`, one row for each path, and `states.csv`, one row for each entity.
//!
//! RFC 4180 with a header row, `,` between cells and `\n` after rows. A cell without a value is empty: a path
//! without a single delay has no quantiles, which is not the same as zero.
//!
//! # Names
//!
//! Names come from whoever runs the test, and from captures, so a cell of text is made harmless ([`cell`]):
//!
//! - A cell that begins with `=`, `+`, `-`, `@` or their full-width forms, which spreadsheets take for a formula, or with `'`, gets one `'`
//!   before it. Numbers of ours are not text, and stand as they are.
//! - Control characters, and those that turn the direction of text, are written as `\u{a}`; a backslash before `u{` as `\u{5c}`.
//!
//! Other names stand as they are. Who joins rows with other files takes the first `'` off a cell and then the escapes; no two names give
//! one cell.

use crate::event::is_harmful;
use std::borrow::Cow;
use std::io::{self, Write};

/// What is known of one path between two vantage points; counts are packets, delays nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathRow<'a> {
    /// Where packets were sent.
    pub from: &'a str,
    /// Where they were to arrive.
    pub to: &'a str,
    /// Packets sent.
    pub sent: u64,
    /// Packets that never arrived.
    pub lost: u64,
    /// Packets that arrived later than the horizon allows.
    pub beyond_horizon: u64,
    /// Packets that arrived more than once.
    pub duplicated: u64,
    /// Packets that arrived after one sent later.
    pub reordered: u64,
    /// Packets whose delay is known.
    pub delay_count: u64,
    /// Their delays, unless there is none.
    pub delay: Option<DelayCells>,
}

/// The delays of a path, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names are those of the columns")]
pub struct DelayCells {
    pub min_ns: u64,
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
    pub max_ns: u64,
    pub mean_ns: u64,
}

/// The columns of `paths.csv`.
pub const PATH_COLUMNS: [&str; 15] = [
    "from",
    "to",
    "sent",
    "lost",
    "duplicated",
    "reordered",
    "delay_count",
    "delay_min_ns",
    "delay_p50_ns",
    "delay_p90_ns",
    "delay_p99_ns",
    "delay_p999_ns",
    "delay_max_ns",
    "delay_mean_ns",
    "beyond_horizon",
];

/// The state of one entity, in one context where it is one in each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateRow<'a> {
    /// The entity's name.
    pub entity: &'a str,
    /// Its domain.
    pub domain: &'a str,
    /// The state that it is in.
    pub state: &'a str,
    /// When it came there, in nanoseconds since the Unix epoch; at first, when its first event was.
    pub since_ns: u64,
    /// The experiment that it belongs to, where it is one in each; else empty.
    pub experiment: &'a str,
    /// The test, likewise.
    pub test: &'a str,
    /// The step, likewise.
    pub step: &'a str,
}

/// The columns of `states.csv`.
pub const STATE_COLUMNS: [&str; 7] = ["entity", "domain", "state", "since_ns", "experiment", "test", "step"];

/// Writes the header and one row for each entity, and flushes.
///
/// # Errors
/// When the output fails.
pub fn write_states<'a>(out: &mut dyn Write, rows: impl IntoIterator<Item = StateRow<'a>>) -> io::Result<()> {
    let mut table = csv::Writer::from_writer(out);
    table.write_record(STATE_COLUMNS)?;
    for row in rows {
        let since_ns = row.since_ns.to_string();
        let context = [row.experiment, row.test, row.step];
        let [entity, domain, state] = [row.entity, row.domain, row.state].map(cell);
        let [experiment, test, step] = context.map(cell);
        let cells = [entity, domain, state, since_ns.into(), experiment, test, step];
        table.write_record(cells.iter().map(|cell| cell.as_bytes()))?;
    }
    table.flush()
}

/// Writes the header and one row for each path, and flushes.
///
/// # Errors
/// When the output fails.
pub fn write_paths<'a>(out: &mut dyn Write, rows: impl IntoIterator<Item = PathRow<'a>>) -> io::Result<()> {
    let mut table = csv::Writer::from_writer(out);
    table.write_record(PATH_COLUMNS)?;
    for row in rows {
        let counts = [row.sent, row.lost, row.duplicated, row.reordered, row.delay_count];
        let delays = match row.delay {
            Some(d) => [d.min_ns, d.p50_ns, d.p90_ns, d.p99_ns, d.p999_ns, d.max_ns, d.mean_ns].map(Some),
            None => [None; 7],
        };
        let numbers = counts.into_iter().map(Some).chain(delays).chain([Some(row.beyond_horizon)]);
        let cells = numbers.map(|number| number.map_or_else(String::new, |number| number.to_string()));
        let names = [row.from, row.to].map(|name| cell(name).into_owned());
        table.write_record(names.into_iter().chain(cells))?;
    }
    table.flush()
}

/// Returns a name as a cell has it: no formula, no control character. See [the module](self).
#[must_use]
pub fn cell(name: &str) -> Cow<'_, str> {
    let is_formula =
        name.starts_with(['=', '+', '-', '@', '\'', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    if !is_formula && !name.contains(is_harmful) && !name.contains("\\u{") {
        return Cow::Borrowed(name);
    }
    let mut text = String::with_capacity(name.len() + 8);
    if is_formula {
        text.push('\'');
    }
    for (at, character) in name.char_indices() {
        let looks_escaped = || name.get(at..).is_some_and(|rest| rest.starts_with("\\u{"));
        if is_harmful(character) || (character == '\\' && looks_escaped()) {
            text.extend(character.escape_unicode());
        } else {
            text.push(character);
        }
    }
    Cow::Owned(text)
}
