//! Why a file gave no recording.

use crate::recorder::format::VERSION;
use std::io;
use std::path::PathBuf;

/// Why a file gave no recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The operating system refused.
    #[error("{path}: cannot be read at offset {offset}: {source}; check that the file can be read")]
    Io {
        /// The file.
        path: PathBuf,
        /// The offset in bytes.
        offset: u64,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path}: is no flight recorder; give the file that a recorder made")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It was written on a host of the other byte order.
    #[error("{path}: was written on a host of the other byte order; read it on one like that")]
    ByteOrder {
        /// The file.
        path: PathBuf,
    },
    /// Another version of the program wrote it.
    #[error("{path}: has version {version}, and this program reads {VERSION}; use the program that wrote it")]
    Version {
        /// The file.
        path: PathBuf,
        /// The version.
        version: u64,
    },
    /// Without its header, nothing in it can be found.
    #[error("{path}: its header, at offset 0, is damaged; nothing in it can be found")]
    Header {
        /// The file.
        path: PathBuf,
    },
    /// It was cut.
    #[error("{path}: has {len} of its {expected} bytes; find a whole copy")]
    Short {
        /// The file.
        path: PathBuf,
        /// The file's length.
        len: u64,
        /// The length that its header tells.
        expected: u64,
    },
}
