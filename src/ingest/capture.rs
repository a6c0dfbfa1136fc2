//! Reads capture files as streams: classic pcap and pcapng, in memory that the file cannot grow.
//!
//! The format is found by the first four bytes. Classic pcap is read in both byte orders, with micro- and
//! nanosecond times. Pcapng is read with any number of sections, each in its own byte order, and any
//! interfaces with their own time resolution and offset; packets come from Enhanced, Simple and (obsolete)
//! Packet Blocks. Interface Statistics Blocks tell what the capturing host dropped, and when it began and ended; every other block is
//! skipped and counted.
//!
//! The parsers are written here rather than taken from the crate `pcap-parser`, which the tests use for
//! comparison: it keeps a vector of the options of each block (so a file could make it allocate ten times a
//! block's length), knows no obsolete Packet Blocks, and does not say at which byte a record is.
//!
//! Memory: one buffer of [`CaptureOptions::buffer_bytes`], which grows to at most
//! [`CaptureOptions::block_len_max`] when one record is that long, and at most 65,536 interface
//! descriptions.

mod fault;
mod interface;
mod located;
mod pcap;
mod pcapng;
mod window;

pub use fault::{CaptureError, CaptureFault, Magic};
pub use located::CaptureCounts;

use crate::ingest::link::{Direction, LinkType};
use crate::ingest::packet::{self, Decoded};
use located::{Fault, truncated};
use pcap::PcapFraming;
use pcapng::PcapNgFraming;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use window::Window;

/// Limits of a [`CaptureReader`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CaptureOptions {
    /// Bytes that are asked of the file at once; at least 64, and at most `block_len_max`, are taken.
    pub buffer_bytes: usize,
    /// Longest record or block that is read, in bytes with its headers.
    pub block_len_max: usize,
}

impl Default for CaptureOptions {
    /// Returns a buffer of 256 KiB (it stays in a core's cache) and a limit of 16 MiB.
    fn default() -> CaptureOptions {
        CaptureOptions { buffer_bytes: 256 << 10, block_len_max: 16 << 20 }
    }
}

/// The format of a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Classic pcap.
    Pcap {
        /// Whether the headers are big-endian.
        big_endian: bool,
        /// Whether times count nanoseconds; microseconds otherwise.
        nanoseconds: bool,
    },
    /// Pcapng.
    PcapNg,
}

/// One captured packet, as it lies in the reader's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// When it was captured, in nanoseconds since the Unix epoch; 0 when the record has no time, or one before 1970, and
    /// [`u64::MAX`] when it has one after 2554. [`CaptureCounts`] counts which.
    pub time_ns: u64,
    /// Bytes that it had on the wire, with its link-layer header.
    pub wire_len: u32,
    /// What its first bytes are.
    pub link: LinkType,
    /// Which way it went, where the record tells: the flags of pcapng's Enhanced and obsolete Packet Blocks.
    pub direction: Option<Direction>,
    /// The number of the interface in its section of a pcapng file; 0 in classic pcap.
    pub interface: u32,
    /// The captured bytes.
    pub data: &'a [u8],
    /// Byte offset in the file of the record or block that holds it.
    pub offset: u64,
}

impl<'a> Frame<'a> {
    /// Decodes the packet in the frame; see [`packet::decode`].
    #[inline]
    #[must_use]
    pub fn decode(&self) -> Decoded<'a> {
        packet::decode_cut(self.link, self.data, self.wire_len)
    }

    /// Tells whether it has a time that can be used: one of 1970 or later, and not the very beginning of 1970.
    #[inline]
    #[must_use]
    pub fn has_time(&self) -> bool {
        self.time_ns != 0
    }

    /// Tells whether the capture holds fewer bytes than the wire did.
    #[inline]
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.data.len() < self.wire_len as usize
    }
}

/// Reads one capture, packet by packet.
///
/// # Examples
///
/// ```
/// use panther_events::ingest::capture::{CaptureOptions, CaptureReader};
///
/// let mut pcap = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
/// pcap.extend([0; 8]);
/// pcap.extend(65_535u32.to_le_bytes());
/// pcap.extend(1u32.to_le_bytes()); // Ethernet
/// for word in [7u32, 5, 2, 60] {
///     pcap.extend(word.to_le_bytes()); // seconds, microseconds, captured, on the wire
/// }
/// pcap.extend([0xaa, 0xbb]);
///
/// let mut reader = CaptureReader::new(&pcap[..], "example", CaptureOptions::default())?;
/// let frame = reader.next()?.unwrap();
/// assert_eq!((frame.time_ns, frame.wire_len, frame.data), (7_000_005_000, 60, &[0xaa, 0xbb][..]));
/// assert!(reader.next()?.is_none());
/// # Ok::<(), panther_events::ingest::CaptureError>(())
/// ```
pub struct CaptureReader<R> {
    window: Window<R>,
    framing: Framing,
    format: Format,
    counts: CaptureCounts,
    label: Arc<str>,
    ended: bool,
}

impl CaptureReader<File> {
    /// Opens the capture at `path` with the default limits.
    ///
    /// # Errors
    /// When the file cannot be opened, is a directory, or does not begin as a capture.
    pub fn open(path: impl AsRef<Path>) -> Result<CaptureReader<File>, CaptureError> {
        let path = path.as_ref();
        let label: Arc<str> = path.display().to_string().into();
        let at_start = |fault| CaptureError::new(Arc::clone(&label), 0, fault);
        let file = File::open(path).map_err(|error| at_start(error.into()))?;
        if file.metadata().map_err(|error| at_start(error.into()))?.is_dir() {
            return Err(at_start(CaptureFault::Directory));
        }
        CaptureReader::new(file, &label, CaptureOptions::default())
    }
}

impl<R: Read> CaptureReader<R> {
    /// Makes a reader over a stream that begins with a capture's first byte. `label` stands for the path
    /// in errors.
    ///
    /// # Errors
    /// When the stream fails, is empty, or does not begin as a capture.
    pub fn new(reader: R, label: &str, options: CaptureOptions) -> Result<CaptureReader<R>, CaptureError> {
        let mut window = Window::new(reader, options.buffer_bytes.min(options.block_len_max));
        let label = Arc::from(label);
        match Framing::detect(&mut window, options.block_len_max) {
            Ok((framing, format)) => Ok(CaptureReader {
                window,
                framing,
                format,
                counts: CaptureCounts::default(),
                label,
                ended: false,
            }),
            Err((offset, fault)) => Err(CaptureError::new(label, offset, fault)),
        }
    }

    /// Returns the next packet, or `None` at the end of the capture.
    ///
    /// After an error the reader is at its end: the next call returns `None`.
    ///
    /// # Errors
    /// When the stream fails, or the capture is cut or damaged. All packets before that place have been
    /// returned.
    #[inline]
    #[expect(
        clippy::should_implement_trait,
        reason = "the frame borrows the reader; no iterator can do that"
    )]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        if self.ended {
            return Ok(None);
        }
        let located = match &mut self.framing {
            Framing::Pcap(pcap) => pcap.next(&mut self.window, &mut self.counts),
            Framing::PcapNg(pcapng) => pcapng.next(&mut self.window, &mut self.counts),
        };
        match located {
            Ok(Some(at)) => {
                self.counts.records += 1;
                Ok(Some(Frame {
                    time_ns: at.time_ns,
                    wire_len: at.wire_len,
                    link: at.link,
                    direction: at.direction,
                    interface: at.interface,
                    data: self.window.consumed(at.back, at.len),
                    offset: at.offset,
                }))
            }
            Ok(None) => {
                self.ended = true;
                Ok(None)
            }
            Err((offset, fault)) => {
                self.ended = true;
                Err(CaptureError::new(Arc::clone(&self.label), offset, fault))
            }
        }
    }

    /// Returns the capture's format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns how many bytes of the capture have been consumed.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.window.offset()
    }

    /// Returns how many packets were delivered.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.counts.records
    }

    /// Returns what was counted so far.
    #[must_use]
    pub fn counts(&self) -> CaptureCounts {
        self.counts
    }
}

impl<R> fmt::Debug for CaptureReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureReader")
            .field("label", &self.label)
            .field("format", &self.format)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

enum Framing {
    Pcap(PcapFraming),
    PcapNg(PcapNgFraming),
}

impl Framing {
    fn detect<R: Read>(window: &mut Window<R>, block_len_max: usize) -> Result<(Framing, Format), Fault> {
        let found = window.peek(4).map_err(|error| (0, error.into()))?;
        let Some(&magic) = found.first_chunk::<4>() else {
            return Err(match found.len() {
                0 => (0, CaptureFault::Empty),
                len => truncated("file header", 0, len, 4),
            });
        };
        if u32::from_le_bytes(magic) == pcapng::SECTION_HEADER {
            return Ok((Framing::PcapNg(PcapNgFraming::new(block_len_max)), Format::PcapNg));
        }
        let Some((big_endian, nanoseconds)) = pcap::magic(magic) else {
            return Err((0, CaptureFault::UnknownFormat { what: Magic::of(magic) }));
        };
        let framing = PcapFraming::read_header(window, big_endian, nanoseconds, block_len_max)?;
        Ok((Framing::Pcap(framing), Format::Pcap { big_endian, nanoseconds }))
    }
}
