//! Reads a file of PANTHER's events, line by line.

use crate::ingest::panther::escape::escape_for_terminal;
use crate::ingest::panther::event::{LineError, PantherEvent, Reason};
use crate::ingest::panther::json::Limits;
use std::fmt;
use std::io::{BufRead, Read};
use std::path::Path;
use std::sync::Arc;

/// Bytes that a line may have unless [`PantherReader::with_limits`] says otherwise.
pub const LINE_BYTES_MAX: usize = 8 << 20;

/// Iterates over the events of a file in JSON Lines.
///
/// A line ends at a line feed; carriage returns before it do not matter, and blank lines are passed over. A
/// line that is no event is refused and the next one read; after an error of the input itself the iteration
/// ends. Memory stays within the length of a line and what [`Limits`] allow.
#[derive(Debug)]
pub struct PantherReader<R> {
    input: R,
    path: Arc<Path>,
    limits: Limits,
    line_bytes_max: usize,
    line: Vec<u8>,
    counts: Counts,
    has_ended: bool,
}

/// Counts lines by what became of them: `lines = events + refused + blank`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Lines begun, the last one with or without a line feed.
    pub lines: u64,
    /// Lines that were events.
    pub events: u64,
    /// Lines that were refused.
    pub refused: u64,
    /// Lines with nothing but white space.
    pub blank: u64,
}

/// Says which line of a file was refused, and why. Shown as `file:line: byte N: reason`, safe to print on a
/// terminal.
#[derive(Debug)]
pub struct Refused {
    /// The file.
    pub path: Arc<Path>,
    /// The line, the first being 1.
    pub line: u64,
    /// Bytes of the line before the one at fault.
    pub offset_in_line: usize,
    /// What is wrong.
    pub reason: Reason,
}

impl<R: BufRead> PantherReader<R> {
    /// Reads `input`, called `path` in messages, within the default limits.
    #[must_use]
    pub fn new(input: R, path: &Path) -> PantherReader<R> {
        PantherReader::with_limits(input, path, LINE_BYTES_MAX, Limits::default())
    }

    /// Reads `input`, called `path` in messages; lines have at most `line_bytes_max` bytes, the line feed not
    /// counted.
    #[must_use]
    pub fn with_limits(input: R, path: &Path, line_bytes_max: usize, limits: Limits) -> PantherReader<R> {
        PantherReader {
            input,
            path: path.into(),
            limits,
            line_bytes_max,
            line: Vec::new(),
            counts: Counts::default(),
            has_ended: false,
        }
    }

    /// Returns what became of the lines read so far; `lines` is the number of the current one.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Reads the next line into `self.line`, without its line feed; `None` at the end.
    fn read_line(&mut self) -> Option<Result<(), LineError>> {
        self.line.clear();
        // One byte more than a line may have: its line feed, or the proof that it is too long.
        let take = (self.line_bytes_max as u64).saturating_add(1);
        match self.input.by_ref().take(take).read_until(b'\n', &mut self.line) {
            Ok(0) => return None,
            Ok(_) => self.counts.lines += 1,
            Err(error) => {
                self.counts.lines += 1;
                return Some(Err(self.unreadable(error)));
            }
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if self.line.len() > self.line_bytes_max {
            if let Err(error) = self.input.skip_until(b'\n') {
                return Some(Err(self.unreadable(error)));
            }
            let reason = Reason::LineTooLong(self.line_bytes_max);
            return Some(Err(LineError { offset: self.line_bytes_max, reason }));
        }
        Some(Ok(()))
    }

    fn unreadable(&mut self, error: std::io::Error) -> LineError {
        self.has_ended = true;
        LineError { offset: self.line.len(), reason: Reason::Unreadable(error) }
    }
}

impl<R: BufRead> Iterator for PantherReader<R> {
    type Item = Result<PantherEvent, Refused>;

    fn next(&mut self) -> Option<Result<PantherEvent, Refused>> {
        while !self.has_ended {
            let Some(line) = self.read_line() else {
                self.has_ended = true;
                break;
            };
            if line.is_ok() && self.line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
                self.counts.blank += 1;
                continue;
            }
            let event = line.and_then(|()| PantherEvent::from_json(&self.line, &self.limits));
            match event {
                Ok(event) => {
                    self.counts.events += 1;
                    return Some(Ok(event));
                }
                Err(LineError { offset, reason }) => {
                    self.counts.refused += 1;
                    return Some(Err(Refused {
                        path: Arc::clone(&self.path),
                        line: self.counts.lines,
                        offset_in_line: offset,
                        reason,
                    }));
                }
            }
        }
        None
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.to_string_lossy();
        let path = escape_for_terminal(&path);
        write!(f, "{path}:{}: byte {}: {}", self.line, self.offset_in_line, self.reason)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Reason::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}
