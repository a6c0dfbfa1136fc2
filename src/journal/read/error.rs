//! Why a journal could not be read.

use std::io;
use std::path::PathBuf;

/// Why a journal could not be read on. Damage is no error: see [`JournalReader::findings`](crate::journal::JournalReader::findings).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system refused.
    #[error("cannot read {path} at offset {offset}: {source}; check that the file can be read")]
    Io {
        /// The file.
        path: PathBuf,
        /// The offset in bytes.
        offset: u64,
        /// What the operating system said.
        source: io::Error,
    },
    /// A segment is compressed, and this build cannot unpack it.
    #[error(
        "cannot read {path} from offset 0 on: it is compressed, and this build lacks the feature zstd; build with it, or unpack the file with `zstd -d`"
    )]
    Compressed {
        /// The file.
        path: PathBuf,
    },
}
