//! HdrHistogram interval logs: whole histograms, for HdrHistogram's own readers and plotters.
//!
//! Each histogram is one line: a tag, the interval's start and length, its largest value, and the histogram
//! itself, compressed (format V2). Units are those that the readers expect:
//!
//! - values inside the histogram are nanoseconds, at the histogram's own precision;
//! - the column of the largest value is in **milliseconds** ([`MAX_VALUE_DIVISOR`]); it is there for people,
//!   readers take the maximum from the histogram;
//! - starts are seconds since the log's base time, which equals its start time; starts and lengths have
//!   millisecond precision. That is the format's, so what lies between is truncated here.
//!
//! A tag must not hold commas, spaces or line breaks. [`escape_tag`] writes those, `%`, and all other white
//! space and control characters as in a URL: `%2C` is a comma. Any URL decoder reads the name back. The tag
//! of a path is [`path_tag`]: `from->to`, each name escaped, `>` within a name too.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};
use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

/// Nanoseconds in a unit of the log's column of largest values: a millisecond, as is the format's custom.
pub const MAX_VALUE_DIVISOR: f64 = 1e6;

/// One line of a log: a histogram of what happened in an interval.
#[derive(Clone, Copy, Debug)]
pub struct Interval<'a> {
    /// What was measured, as [`path_tag`] or [`escape_tag`] return it. Empty gives a line without a tag.
    pub tag: &'a str,
    /// Start, in nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// Length, in nanoseconds.
    pub len_ns: u64,
    /// The values, in nanoseconds.
    pub histogram: &'a Histogram<u64>,
}

/// Why a log could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HlogError {
    /// A tag holds what the format forbids.
    #[error("the tag {tag:?} holds a comma, a space or a line break; apply escape_tag to it")]
    Tag {
        /// The tag.
        tag: String,
    },
    /// An interval starts before the log does. Readers would pass over it in silence.
    #[error(
        "the interval {tag:?} starts at {start_ns} ns, before its log at {log_start_ns} ns; start the log earlier"
    )]
    StartsBeforeLog {
        /// The interval's tag.
        tag: String,
        /// Its start.
        start_ns: u64,
        /// The log's start.
        log_start_ns: u64,
    },
    /// A histogram cannot be laid into the format.
    #[error("the histogram {tag:?} does not fit the format: {reason}; use a smaller range or precision")]
    Histogram {
        /// The interval's tag.
        tag: String,
        /// What the serializer said.
        reason: String,
    },
    /// The output failed.
    #[error("cannot write the histogram log: {0}; check the output")]
    Io(#[from] io::Error),
}

/// Writes a log that starts at `start_ns` (nanoseconds since the Unix epoch) and flushes; returns the
/// number of intervals.
///
/// Readers expect intervals in order of their starts; they are written in the order given. Intervals may
/// share a tag (successive ones) or a start (one for each path).
///
/// # Errors
/// When an interval starts before the log, a histogram does not fit the format, or the output fails. The
/// output is then incomplete.
pub fn write_hlog<'a>(
    out: &mut dyn Write,
    start_ns: u64,
    intervals: impl IntoIterator<Item = Interval<'a>>,
) -> Result<u64, HlogError> {
    let mut out = out;
    let mut serializer = V2DeflateSerializer::new();
    let start = Duration::from_millis(start_ns / 1_000_000);
    let mut written = 0;
    {
        let mut log = IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .add_comment("Values in the histograms are nanoseconds.")
            .add_comment("Columns: tag (URL-encoded), start (s), length (s), largest value (ms), histogram.")
            .with_start_time(UNIX_EPOCH + start)
            .with_base_time(UNIX_EPOCH + start)
            .with_max_value_divisor(MAX_VALUE_DIVISOR)
            .begin_log_with(&mut out, &mut serializer)?;
        for interval in intervals {
            let own = || interval.tag.to_owned();
            let tag = Tag::new(interval.tag).ok_or_else(|| HlogError::Tag { tag: own() })?;
            if interval.start_ns < start_ns {
                let (start_ns, log_start_ns) = (interval.start_ns, start_ns);
                return Err(HlogError::StartsBeforeLog { tag: own(), start_ns, log_start_ns });
            }
            let offset = Duration::from_millis(interval.start_ns / 1_000_000).saturating_sub(start);
            let len = Duration::from_millis(interval.len_ns / 1_000_000);
            let tag = Some(tag).filter(|tag| !tag.is_empty());
            log.write_histogram(interval.histogram, offset, len, tag).map_err(|error| match error {
                IntervalLogWriterError::IoError(error) => HlogError::Io(error),
                IntervalLogWriterError::SerializeError(error) => {
                    HlogError::Histogram { tag: own(), reason: error.to_string() }
                }
            })?;
            written += 1;
        }
    }
    out.flush()?;
    Ok(written)
}

/// Returns the tag of the path from `from` to `to`: the names, escaped, joined by `->`.
///
/// A `>` within a name is escaped too, so that the tag falls apart at its only `>`.
#[must_use]
pub fn path_tag(from: &str, to: &str) -> String {
    let mut tag = escaped(from, ">");
    tag.push_str("->");
    tag.push_str(&escaped(to, ">"));
    tag
}

/// Returns `text` as a tag: `%`, commas, white space and control characters as `%XX`.
#[must_use]
pub fn escape_tag(text: &str) -> String {
    escaped(text, "")
}

fn escaped(text: &str, also: &str) -> String {
    let mut tag = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | ',') || c.is_whitespace() || c.is_control() || also.contains(c) {
            let mut utf8 = [0; 4];
            for byte in c.encode_utf8(&mut utf8).bytes() {
                tag.push_str(&format!("%{byte:02X}"));
            }
        } else {
            tag.push(c);
        }
    }
    tag
}
