//! Feeds captures into a pipeline: a reader thread a file, merged in order of time.
//!
//! ```text
//!  file ──► reader thread: read, decode, digest ──┐
//!  file ──► reader thread: read, decode, digest ──┴─► merge by time ──► emitter
//! ```
//!
//! Reading, decoding and hashing run beside the merge and the pipeline. The merge takes the earliest packet of
//! all files, and keeps each file's order; so what enters the pipeline is in order of time as far as the captures
//! are, and the same on every run. Memory holds a few blocks of [`BLOCK_LEN`] records per file.

use crate::domain::packet::{PacketSeen, flags};
use crate::emit::{Emitter, Sent};
use crate::event::{Record, Symbol, Symbols};
use crate::hash::BuildContentHasher;
use crate::ingest::capture::{CaptureCounts, CaptureError, CaptureReader, Format};
use crate::ingest::digest::{Coverage, PacketDigest};
use crate::ingest::flow::FlowKey;
use crate::ingest::link::LinkType;
use crate::ingest::packet::{Decoded, IpPacket, Malformed, PacketFlags};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Records that a reader hands over at once.
pub const BLOCK_LEN: usize = 1024;

/// Blocks that a reader may be ahead of the merge.
const BLOCKS_AHEAD: usize = 8;

/// Refused packets of which the reason is kept, per file.
pub const REFUSALS_KEPT: usize = 20;

/// One capture to be fed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaptureInput {
    /// The file.
    pub path: PathBuf,
    /// The name of the vantage point that it was taken at.
    pub vantage: String,
}

/// How captures are fed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeedOptions {
    /// What the digest covers.
    pub digest: PacketDigest,
}

/// What was read from one capture.
#[derive(Debug)]
pub struct CaptureReport {
    /// The file and its vantage point.
    pub input: CaptureInput,
    /// The format; `None` when the file could not be opened as a capture.
    pub format: Option<Format>,
    /// What the reader counted.
    pub counts: CaptureCounts,
    /// Bytes read.
    pub bytes: u64,
    /// Earliest and latest time of a packet that was used, in nanoseconds since the Unix epoch.
    pub time_ns: Option<(u64, u64)>,
    /// Frames that hold no IP packet.
    pub non_ip: u64,
    /// Packets that were refused: malformed, or cut too short for the digest.
    pub refused: u64,
    /// The first of them.
    pub refusals: Vec<Refusal>,
    /// Flows whose name the symbol table refused; they go by number.
    pub unnamed_flows: u64,
    /// What ended the reading early.
    pub error: Option<CaptureError>,
}

/// A packet that was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("packet at byte {offset}: {reason}")]
pub struct Refusal {
    /// Byte offset of its record in the file.
    pub offset: u64,
    /// Why.
    pub reason: RefusalReason,
}

/// Why a packet was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RefusalReason {
    /// What its first bytes are is not known here.
    #[error("link type {0} is not known; known are Ethernet, Linux cooked, raw IP and loopback")]
    UnknownLink(LinkType),
    /// Its headers are no good.
    #[error(transparent)]
    Malformed(Malformed),
    /// The capture cut off more of it than the digest can do without.
    #[error("the capture holds {captured} bytes of the packet, and {covered} are needed to recognise it")]
    TooShort {
        /// Bytes of the packet in the capture.
        captured: u32,
        /// Bytes that the digest covers.
        covered: u32,
    },
}

/// What a feed found and did.
#[derive(Debug)]
pub struct FeedReport {
    /// Per file, in the order given.
    pub captures: Vec<CaptureReport>,
    /// What became of the packets.
    pub sent: Sent,
}

/// Why a feed gave up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FeedError {
    /// A capture is cut, and the digest is to cover whole packets: scan the captures for a common
    /// [`Coverage`] and begin anew.
    #[error("a capture holds only the beginning of its packets; digests must cover a prefix")]
    Cut,
}

/// Feeds all captures through `emitter`, and names flows and vantage points in `symbols`.
///
/// `progress` is raised by the bytes read. A file that cannot be read further is reported in
/// [`CaptureReport::error`]; what was read before is used.
///
/// # Errors
/// Only [`FeedError::Cut`]; some packets have been emitted then.
pub fn feed(
    inputs: &[CaptureInput],
    options: FeedOptions,
    emitter: &mut Emitter,
    symbols: &Symbols,
    progress: &AtomicU64,
) -> Result<FeedReport, FeedError> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (mut readers, mut heads) = (Vec::new(), Vec::new());
        for input in inputs {
            let (sender, receiver) = sync_channel(BLOCKS_AHEAD);
            let reader = Reader { input, options, symbols, progress, stop: &stop, blocks: sender };
            readers.push(scope.spawn(move || reader.run()));
            heads.push(Head { receiver, block: Vec::new().into_iter(), next: None });
        }
        let sent = merge(heads, emitter);
        // Readers end when their files do, or when the first of them finds its packets cut.
        let captures: Vec<_> = readers.into_iter().filter_map(|reader| reader.join().ok()).collect();
        if stop.load(Ordering::Relaxed) { Err(FeedError::Cut) } else { Ok(FeedReport { captures, sent }) }
    })
}

/// The next record of one file.
struct Head {
    receiver: Receiver<Vec<Record>>,
    block: std::vec::IntoIter<Record>,
    next: Option<Record>,
}

impl Head {
    fn advance(&mut self) {
        self.next = self.block.next();
        while self.next.is_none() {
            match self.receiver.recv() {
                Ok(block) => {
                    self.block = block.into_iter();
                    self.next = self.block.next();
                }
                Err(_) => return,
            }
        }
    }
}

fn merge(mut heads: Vec<Head>, emitter: &mut Emitter) -> Sent {
    let mut sent = Sent::default();
    if let [head] = &mut *heads {
        for block in head.receiver.iter() {
            sent.add(emitter.emit_records(block));
        }
        return sent;
    }
    for head in &mut heads {
        head.advance();
    }
    let mut merged = Vec::with_capacity(BLOCK_LEN);
    loop {
        let first = heads.iter_mut().filter(|head| head.next.is_some());
        let Some(head) = first.min_by_key(|head| head.next.map(|record| record.time_ns())) else { break };
        merged.extend(head.next);
        head.advance();
        if merged.len() == BLOCK_LEN {
            sent.add(emitter.emit_records(merged.drain(..)));
        }
    }
    sent.add(emitter.emit_records(merged));
    sent
}

/// Reads one file.
struct Reader<'a> {
    input: &'a CaptureInput,
    options: FeedOptions,
    symbols: &'a Symbols,
    progress: &'a AtomicU64,
    stop: &'a AtomicBool,
    blocks: SyncSender<Vec<Record>>,
}

impl Reader<'_> {
    fn run(self) -> CaptureReport {
        let mut report = CaptureReport {
            input: self.input.clone(),
            format: None,
            counts: CaptureCounts::default(),
            bytes: 0,
            time_ns: None,
            non_ip: 0,
            refused: 0,
            refusals: Vec::new(),
            unnamed_flows: 0,
            error: None,
        };
        match CaptureReader::open(&self.input.path) {
            Ok(mut capture) => self.read(&mut capture, &mut report),
            Err(error) => report.error = Some(error),
        }
        report
    }

    fn read(&self, capture: &mut CaptureReader<std::fs::File>, report: &mut CaptureReport) {
        let vantage = self.symbols.intern(&self.input.vantage).unwrap_or(Symbol::of(&self.input.vantage));
        let mut flows = Flows { names: HashMap::default(), symbols: self.symbols, unnamed: 0 };
        let mut block = Vec::with_capacity(BLOCK_LEN);
        let mut bytes_told = 0;
        loop {
            let frame = match capture.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    report.error = Some(error);
                    break;
                }
            };
            let refused = match frame.decode() {
                Decoded::Ip(packet) => match self.options.digest.digest(&packet) {
                    Ok(digest) => {
                        let (first, last) = report.time_ns.unwrap_or((frame.time_ns, frame.time_ns));
                        report.time_ns = Some((first.min(frame.time_ns), last.max(frame.time_ns)));
                        let flow = flows.symbol(self.options.digest.flow(&packet));
                        let seen = seen(vantage, frame.wire_len, frame.data.len() as u32, &packet);
                        block.push(Record::with_digest(digest, frame.time_ns, flow, &seen));
                        None
                    }
                    Err(_) if frame.is_cut() && self.options.digest.coverage() == Coverage::Whole => {
                        self.stop.store(true, Ordering::Relaxed);
                        break;
                    }
                    Err(short) => {
                        Some(RefusalReason::TooShort { captured: short.captured, covered: short.covered })
                    }
                },
                Decoded::NotIp => {
                    report.non_ip += 1;
                    None
                }
                Decoded::UnknownLink(link) => Some(RefusalReason::UnknownLink(link)),
                Decoded::Malformed(reason) => Some(RefusalReason::Malformed(reason)),
            };
            if let Some(reason) = refused {
                report.refused += 1;
                if report.refusals.len() < REFUSALS_KEPT {
                    report.refusals.push(Refusal { offset: frame.offset, reason });
                }
            }
            if block.len() == BLOCK_LEN {
                self.progress.fetch_add(capture.bytes_read() - bytes_told, Ordering::Relaxed);
                bytes_told = capture.bytes_read();
                let full = std::mem::replace(&mut block, Vec::with_capacity(BLOCK_LEN));
                if self.stop.load(Ordering::Relaxed) || self.blocks.send(full).is_err() {
                    break;
                }
            }
        }
        // The merge may be gone only when another reader has stopped it.
        let _ = self.blocks.send(block);
        self.progress.fetch_add(capture.bytes_read() - bytes_told, Ordering::Relaxed);
        report.format = Some(capture.format());
        report.counts = capture.counts();
        report.bytes = capture.bytes_read();
        report.unnamed_flows = flows.unnamed;
    }
}

/// The symbols of the flows that a file has shown; most packets are of a flow that is known.
struct Flows<'a> {
    names: HashMap<FlowKey, Symbol, BuildContentHasher>,
    symbols: &'a Symbols,
    unnamed: u64,
}

impl Flows<'_> {
    #[inline]
    fn symbol(&mut self, flow: FlowKey) -> Symbol {
        *self.names.entry(flow).or_insert_with(|| {
            let name = flow.to_string();
            self.symbols.intern(&name).unwrap_or_else(|_| {
                self.unnamed += 1;
                Symbol::of(&name)
            })
        })
    }
}

#[inline]
fn seen(vantage: Symbol, wire_len: u32, captured_len: u32, packet: &IpPacket<'_>) -> PacketSeen {
    let set = |flag: PacketFlags, bit: u32| if packet.flags().contains(flag) { bit } else { 0 };
    PacketSeen {
        vantage,
        wire_len_bytes: wire_len,
        captured_len_bytes: captured_len,
        flags: u32::from(packet.tcp_flags())
            | set(PacketFlags::FRAGMENT, flags::FRAGMENT)
            | set(PacketFlags::MORE_FRAGMENTS, flags::MORE_FRAGMENTS)
            | set(PacketFlags::TRUNCATED, flags::TRUNCATED)
            | set(PacketFlags::VLAN, flags::VLAN),
        vlan: packet.vlan().unwrap_or(0),
        protocol: packet.protocol(),
        ip_version: packet.version(),
    }
}
