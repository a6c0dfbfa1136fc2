//! What can be wrong with a capture file, where, and what to do about it.

use std::fmt;
use std::io;
use std::sync::Arc;

/// Says which capture could not be read further, where, and why.
///
/// Everything before the fault has been delivered.
#[derive(Debug, thiserror::Error)]
#[error("{label}: byte {offset}: {fault}")]
pub struct CaptureError {
    label: Arc<str>,
    offset: u64,
    #[source]
    fault: CaptureFault,
}

impl CaptureError {
    pub(crate) fn new(label: Arc<str>, offset: u64, fault: CaptureFault) -> CaptureError {
        CaptureError { label, offset, fault }
    }

    /// Returns the path of the capture, or the label that its reader was given.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns the byte offset at which the record or block that is at fault begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns what is wrong.
    #[must_use]
    pub fn fault(&self) -> &CaptureFault {
        &self.fault
    }
}

/// What is wrong with a capture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureFault {
    /// The operating system refused to open or read the file.
    #[error("cannot read: {0}; check that the file exists and may be read")]
    Io(#[from] io::Error),
    /// The path is that of a directory.
    #[error("is a directory; name a capture file in it")]
    Directory,
    /// The file has no bytes.
    #[error("the file is empty; the capture was never written, or not flushed")]
    Empty,
    /// The first bytes belong to no capture format.
    #[error("{what}; give a pcap or pcapng file")]
    UnknownFormat {
        /// What the first bytes look like.
        what: Magic,
    },
    /// A known format in a version that this reader does not know.
    #[error("{format} version {major}.{minor} is not supported; convert the file to pcap 2.4 or pcapng 1.0")]
    UnsupportedVersion {
        /// The format's name.
        format: &'static str,
        /// The version's first number.
        major: u16,
        /// The version's second number.
        minor: u16,
    },
    /// The file ends inside a record or block.
    #[error(
        "the capture is cut: the {what} here needs {missing} more bytes than the file has, which ends at byte \
         {end}; all packets before it are whole, use them or capture again"
    )]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Byte offset of the file's end.
        end: u64,
        /// Bytes that are missing. When a header is cut this counts only the header.
        missing: u64,
    },
    /// A length is over the reader's limit.
    #[error(
        "the {what} claims {len} bytes, the limit is {limit}; the file is damaged here, or raise \
         CaptureOptions::block_len_max"
    )]
    TooLong {
        /// What has the length.
        what: &'static str,
        /// The length in bytes.
        len: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A length cannot be true.
    #[error("the {what} has length {len}, which cannot be: {rule}; the file is damaged here")]
    BadLength {
        /// What has the length.
        what: &'static str,
        /// The length in bytes.
        len: u64,
        /// The rule that the length breaks.
        rule: &'static str,
    },
    /// A section header has no valid byte-order magic.
    #[error("the section header's byte-order magic is {magic:#010x}, none; the file is damaged here")]
    BadByteOrder {
        /// The bytes found, read as little-endian.
        magic: u32,
    },
    /// A packet refers to an interface that was not described.
    #[error(
        "a packet is of interface {interface}, but only {described} were described; the file is damaged here"
    )]
    UnknownInterface {
        /// The interface's number in its section.
        interface: u32,
        /// How many interfaces the section described so far.
        described: usize,
    },
    /// The reader failed by a bug of its own.
    #[error("the reader panicked ({message}); please report this bug, with the capture if you can")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// Whoever reads was told to stop.
    #[error("reading was interrupted here")]
    Interrupted,
    /// A section describes more interfaces than the reader keeps.
    #[error("a section describes more than {limit} interfaces; split the capture by interface")]
    TooManyInterfaces {
        /// The limit.
        limit: usize,
    },
}

/// What the first bytes of a file that is no capture look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Magic {
    /// gzip data.
    Gzip,
    /// Zstandard data.
    Zstd,
    /// xz data.
    Xz,
    /// The pcap variant with the magic `a1b2cd34` and longer record headers.
    ModifiedPcap,
    /// Sun snoop.
    Snoop,
    /// None that is known.
    Other([u8; 4]),
}

impl Magic {
    pub(crate) fn of(bytes: [u8; 4]) -> Magic {
        match bytes {
            [0x1f, 0x8b, ..] => Magic::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] => Magic::Zstd,
            [0xfd, b'7', b'z', b'X'] => Magic::Xz,
            [0xa1, 0xb2, 0xcd, 0x34] | [0x34, 0xcd, 0xb2, 0xa1] => Magic::ModifiedPcap,
            [b's', b'n', b'o', b'o'] => Magic::Snoop,
            other => Magic::Other(other),
        }
    }
}

impl fmt::Display for Magic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Magic::Gzip => f.write_str("the file is compressed with gzip: decompress it first"),
            Magic::Zstd => f.write_str("the file is compressed with zstd: decompress it first"),
            Magic::Xz => f.write_str("the file is compressed with xz: decompress it first"),
            Magic::ModifiedPcap => f.write_str("the file is of the modified pcap format: convert it"),
            Magic::Snoop => f.write_str("the file is of the snoop format: convert it"),
            Magic::Other([a, b, c, d]) => {
                write!(f, "the first bytes are {a:02x} {b:02x} {c:02x} {d:02x}, of no capture format")
            }
        }
    }
}
