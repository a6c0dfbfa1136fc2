//! What the command's options say, as values: filters, times, windows, speeds. Nothing here touches a file.

use panther_events::dedup::Window;
use panther_events::domain::Schema;
use panther_events::event::{Context, KindSet, Level, Symbol};
use panther_events::journal::{Durability, Filter};
use std::time::Duration;

// No documentation comment: clap would take it for the description of the command.
#[allow(missing_docs, reason = "the options that choose events, as `cat` has them")]
#[derive(clap::Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct Filters {
    /// Only events of this kind, or below it: `packet.seen`, `test`. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub kind: Vec<String>,
    /// Only events about this entity.
    #[arg(long, value_name = "NAME")]
    pub entity: Option<String>,
    /// Only events at or after this time (such as 2024-05-01T12:00:00.25Z, or nanoseconds since 1970).
    #[arg(long, value_name = "TIME", value_parser = parse_time_ns)]
    pub since: Option<u64>,
    /// Only events at or before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time_ns)]
    pub until: Option<u64>,
    /// Only events of this source.
    #[arg(long, value_name = "N")]
    pub source: Option<u16>,
    /// Only what was emitted within this part of the experiment, such as `test=handshake`; events are shown with their
    /// contexts then, and the whole journal is read. May be given for several levels.
    #[arg(long, value_name = "LEVEL=NAME", value_parser = parse_part)]
    pub within: Vec<(Level, String)>,
}

impl Filters {
    /// Returns what a journal's reader filters by; [`Filters::within`] is not its matter.
    ///
    /// # Errors
    /// When no kind has a name that is asked for, or no time can be in the range.
    pub fn filter(&self, schema: &Schema) -> Result<Filter, String> {
        let mut kinds = if self.kind.is_empty() { KindSet::ALL } else { KindSet::EMPTY };
        for name in &self.kind {
            let named = schema.select(name);
            if named.is_empty() {
                return Err(format!("no kind is named {name:?}; names are such as packet.seen or test"));
            }
            kinds = kinds.union(&named);
        }
        let time_ns = match (self.since, self.until) {
            (None, None) => None,
            (Some(since), Some(until)) if since > until => {
                return Err(
                    "--since is later than --until: no event can be between them; swap them".to_owned()
                );
            }
            (since, until) => Some((since.unwrap_or(0), until.unwrap_or(u64::MAX))),
        };
        let entity = self.entity.as_deref().map(Symbol::of);
        Ok(Filter { kinds, entity, source: self.source, time_ns })
    }
}

/// A time: RFC 3339 (`2024-05-01T12:00:00Z`), or nanoseconds since the Unix epoch.
///
/// # Errors
/// When the text is none, with what would be one.
pub fn parse_time_ns(text: &str) -> Result<u64, String> {
    if let Ok(time_ns) = text.parse() {
        return Ok(time_ns);
    }
    let valid = "write a time such as 2024-05-01T12:00:00.25Z, or nanoseconds since 1970";
    let time = humantime::parse_rfc3339_weak(text).map_err(|_| valid.to_owned())?;
    let since = time.duration_since(std::time::UNIX_EPOCH).map_err(|_| valid.to_owned())?;
    u64::try_from(since.as_nanos()).map_err(|_| valid.to_owned())
}

/// A part of an experiment: `test=handshake`.
///
/// # Errors
/// When the text is none, with what would be one.
pub fn parse_part(text: &str) -> Result<(Level, String), String> {
    let part = text.split_once('=').filter(|(_, name)| !name.is_empty());
    let known = |level: &str| Level::ALL.into_iter().find(|known| known.name() == level);
    part.and_then(|(level, name)| Some((known(level)?, name.to_owned()))).ok_or_else(|| {
        "write LEVEL=NAME, with experiment, test, step, assertion, service or environment".to_owned()
    })
}

/// The context of all the parts, from the outermost inwards.
#[must_use]
pub fn context(parts: &[(Level, String)]) -> Context {
    let mut parts: Vec<_> = parts.iter().collect();
    parts.sort_by_key(|(level, _)| *level);
    parts.iter().fold(Context::NONE, |context, (level, name)| context.entered(*level, Symbol::of(name)))
}

/// `--durability`.
///
/// # Errors
/// When the text is none, with what would be one.
pub fn parse_durability(text: &str) -> Result<Durability, String> {
    let valid = "write buffered, process-crash, or power-loss:DURATION (such as 100ms)";
    match text.split_once(':') {
        None if text == "buffered" => Ok(Durability::Buffered),
        None if text == "process-crash" => Ok(Durability::ProcessCrash),
        Some(("power-loss", every)) => match humantime::parse_duration(every) {
            Ok(every) if !every.is_zero() => Ok(Durability::PowerLoss { every }),
            _ => Err(valid.to_owned()),
        },
        _ => Err(valid.to_owned()),
    }
}

/// `--rotate-after` and `--keep-for`.
///
/// # Errors
/// When the text is none, with what would be one.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    some_time(text, "give more than no time, such as 1h")
}

/// Reads a duration; `remedy` is told of none.
fn some_time(text: &str, remedy: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err(remedy.to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

/// `--keep-size`: bytes, or a number with a unit.
///
/// # Errors
/// When the text is none, with what would be one.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    // Sizes with a unit go through a float: exact as far as any are that people write.
    let size = || text.parse::<bytesize::ByteSize>().map(|size| size.as_u64());
    let valid = |error| format!("{error}; give bytes, or a size such as 64MiB or 2GB");
    text.parse().or_else(|_| size()).map_err(valid)
}

/// `--segment-size`.
///
/// # Errors
/// When the text is none, or out of range, with what would be one.
pub fn parse_segment(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        bytes @ SEGMENT_MIN..=SEGMENT_MAX => Ok(bytes),
        bytes => Err(format!("{bytes} bytes are too few or too many for a segment; give 1MiB to 1TiB")),
    }
}

/// Bytes that a segment may have; the least are four blocks.
const SEGMENT_MIN: u64 = 1 << 20;
const SEGMENT_MAX: u64 = 1 << 40;

/// `--horizon`.
///
/// # Errors
/// When the text is none, with what would be one.
pub fn parse_horizon(text: &str) -> Result<Duration, String> {
    some_time(text, "within no time no packet arrives; give more, such as 1s")
}

/// `--window`.
///
/// # Errors
/// When the text is none, with what would be one.
pub fn parse_window(text: &str) -> Result<Window, String> {
    let valid = "write unbounded, last:N (a number of ids) or sliding:DURATION (such as 500ms or 10s)";
    match text.split_once(':') {
        None if text == "unbounded" => Ok(Window::Unbounded),
        Some(("last", n)) => n.parse().map(Window::Last).map_err(|_| valid.to_owned()),
        Some(("sliding", span)) => {
            humantime::parse_duration(span).map(Window::Sliding).map_err(|_| valid.to_owned())
        }
        _ => Err(valid.to_owned()),
    }
}

/// Writes a window as [`parse_window`] reads it.
#[must_use]
pub fn window_text(window: Window) -> String {
    match window {
        Window::Unbounded => "unbounded".to_owned(),
        Window::Last(n) => format!("last:{n}"),
        Window::Sliding(span) => match u64::try_from(span.as_nanos()) {
            Ok(ns) => format!("sliding:{ns}ns"),
            // More than a reader takes for one number: some 584 years.
            Err(_) => format!("sliding:{}s {}ns", span.as_secs(), span.subsec_nanos()),
        },
    }
}

/// How fast a journal is fed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Speed {
    /// As fast as it goes.
    Max,
    /// This many times the pace at which it happened.
    Times(f64),
}

/// `--speed`.
///
/// # Errors
/// When the text is none, with what would be one.
pub fn parse_speed(text: &str) -> Result<Speed, String> {
    match text.parse::<f64>() {
        _ if text == "max" => Ok(Speed::Max),
        Ok(times) if times.is_finite() && times > 0.0 => Ok(Speed::Times(times)),
        _ => Err("write max, or a number above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for window in [
            Window::Unbounded,
            Window::Last(7),
            Window::Sliding(Duration::from_nanos(1_500_000_001)),
            Window::Sliding(Duration::new(u64::MAX, 7)),
        ] {
            assert_eq!(parse_window(&window_text(window)), Ok(window));
        }
        let every = Duration::from_millis(100);
        assert_eq!(parse_durability("power-loss:100ms"), Ok(Durability::PowerLoss { every }));
        assert!(parse_durability("power-loss:0s").is_err() && parse_durability("fast").is_err());
        assert_eq!(parse_time_ns("1970-01-01T00:00:01.5Z"), Ok(1_500_000_000));
        assert_eq!(parse_time_ns("12"), Ok(12));
        assert!(parse_time_ns("1969-01-01T00:00:00Z").is_err());
    }
}
