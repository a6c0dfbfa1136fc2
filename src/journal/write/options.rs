//! What a journal's user chooses, and why a writer refuses to start.

use crate::event::Record;
use crate::journal::format::compressed;
use crate::journal::format::select::Select;
use crate::journal::format::{BLOCK_LEN_MAX, HEADER_LEN_MAX, RunId};
use crate::journal::write::durability::Durability;
use std::collections::TryReserveError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A writer's options; checked once, when the journal is opened.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// What the journal promises.
    pub durability: Durability,
    /// What is stored.
    pub select: Select,
    /// Bytes of a full block, header included. Records are written when a block is full, or earlier as
    /// [`Options::durability`] demands.
    pub block_len: usize,
    /// Bytes reserved for a segment. Definitions repeated from earlier segments come on top.
    pub segment_len: u64,
    /// The longest time that records are put into one segment; `None` for no limit.
    pub rotate_after: Option<Duration>,
    /// Bytes that all segments may take together, compressed ones by what they take so; the oldest are removed when a new one is begun. `None`
    /// keeps all. The segment being written is never removed.
    pub retain_bytes: Option<u64>,
    /// How long a segment is kept after its last record was written; looked at when a new one is begun.
    pub retain_for: Option<Duration>,
    /// The level (1 to 19) at which segments that have ended are compressed with Zstandard, with the feature `zstd`;
    /// `None` leaves them as they are.
    ///
    /// It is done beside the writing, when there is nothing else to do: see [`JournalWriter::compress_some`]. What is
    /// left is done when the journal is closed. Level 3 is usual: higher ones take longer, and of ids, which are
    /// random, nothing can be gained.
    ///
    /// [`JournalWriter::compress_some`]: crate::journal::JournalWriter::compress_some
    pub compress: Option<i32>,
    /// Bytes of records held in memory while the disk does not take them, and until they are synced.
    pub held_bytes_max: usize,
    /// The longest time that records wait in memory for their block to fill up, under
    /// [`Durability::Buffered`].
    pub flush_after: Duration,
}

impl Options {
    /// Returns the defaults for `durability`: all records, blocks of 256 KiB, segments of 256 MiB, nothing
    /// removed, 64 MiB held.
    #[must_use]
    pub fn new(durability: Durability) -> Options {
        Options {
            durability,
            select: Select::ALL,
            block_len: 256 << 10,
            segment_len: 256 << 20,
            rotate_after: None,
            retain_bytes: None,
            retain_for: None,
            compress: None,
            held_bytes_max: 64 << 20,
            flush_after: Duration::from_secs(1),
        }
    }

    /// Returns the options for a journal that is written at once, of as many records: it reserves what they take, and
    /// not a long run's segment.
    pub(crate) fn at_once(records: u64) -> Options {
        let usual = Options::new(Durability::Buffered);
        // An eighth and some blocks are more than headers and padding take.
        let record_len = size_of::<Record>() as u64;
        let needed = records.saturating_mul(record_len + record_len / 8);
        let segment_len = needed.saturating_add(4 * usual.block_len as u64).min(usual.segment_len);
        Options { segment_len, ..usual }
    }

    /// The smallest block: a full header and 64 records.
    pub const BLOCK_LEN_MIN: usize = HEADER_LEN_MAX + 64 * size_of::<Record>();

    /// The valid levels of [`Options::compress`].
    pub const COMPRESS_LEVELS: std::ops::RangeInclusive<i32> = 1..=19;

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let refuse = |option, value: u64, valid: String| Err(OpenError::Option { option, value, valid });
        let (block_len, block_max) = (self.block_len, BLOCK_LEN_MAX / 2);
        if !(Options::BLOCK_LEN_MIN..=block_max).contains(&block_len) {
            return refuse(
                "block_len",
                block_len as u64,
                format!("{} to {block_max}", Options::BLOCK_LEN_MIN),
            );
        }
        let segment_min = 4 * block_len as u64;
        if !(segment_min..=1 << 40).contains(&self.segment_len) {
            return refuse("segment_len", self.segment_len, format!("{segment_min} (4 blocks) to 2^40"));
        }
        let held_min = 4 * block_len;
        if self.held_bytes_max < held_min {
            return refuse(
                "held_bytes_max",
                self.held_bytes_max as u64,
                format!("{held_min} (4 blocks) or more"),
            );
        }
        if let Some(level) = self.compress
            && !(compressed::READABLE && Options::COMPRESS_LEVELS.contains(&level))
        {
            let valid = match compressed::READABLE {
                true => "1 to 19",
                false => "none in a build without the feature zstd",
            };
            return refuse("compress", u64::from(level.unsigned_abs()), valid.to_owned());
        }
        match self.durability {
            Durability::PowerLoss { every } if every.is_zero() => {
                refuse("durability.every", 0, "a nanosecond or more".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Why a journal could not be opened for writing. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// An option's value is out of range.
    #[error("the option {option} is {value}; valid is {valid}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// Its value.
        value: u64,
        /// What would be valid.
        valid: String,
    },
    /// Another writer has the journal.
    #[error("the journal {path} is being written by {holder}; wait for its end, or choose another directory")]
    Locked {
        /// The journal's directory.
        path: PathBuf,
        /// Who writes it.
        holder: String,
    },
    /// The directory holds the journal of another run.
    #[error(
        "the journal {path} is of run {found}, not of run {wanted}; choose another directory, or that run's id to resume it"
    )]
    AnotherRun {
        /// The journal's directory.
        path: PathBuf,
        /// The run of the journal that is there.
        found: RunId,
        /// The run that was to be written.
        wanted: RunId,
    },
    /// The directory holds segments, and none of them can be read: appending would bury them.
    #[error(
        "the journal {path} has segments that cannot be read ({why}); move them away, or choose another directory"
    )]
    Unreadable {
        /// The journal's directory.
        path: PathBuf,
        /// What is wrong with them.
        why: String,
    },
    /// The system gave no thread.
    #[error(
        "the thread that writes the journal {path} could not be started: {source}; raise the limit on threads (`ulimit -u`, a container's `pids.max`) or on memory (`ulimit -v`)"
    )]
    Thread {
        /// The journal's directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The directory cannot be used.
    #[error("cannot {action} {path}: {source}; check that the directory exists and can be written to")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Why a definition was refused. Refusals are counted in
/// [`JournalAccount::definitions_refused`](crate::journal::JournalAccount::definitions_refused).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DefineError {
    /// The journal has another name for the symbol, or another document for the digest.
    #[error("the journal already defines {key:#x}, and differently; rename one of the two")]
    Collision {
        /// The symbol or digest.
        key: u128,
    },
    /// The name or document is too long.
    #[error("a definition of {len} bytes is too long; the limit is {limit} bytes")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The system gave no memory for it.
    #[error(
        "there is no memory for a definition; give the process more, or call `forget_definitions` now and then"
    )]
    OutOfMemory,
}

impl From<TryReserveError> for DefineError {
    fn from(_: TryReserveError) -> DefineError {
        DefineError::OutOfMemory
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
