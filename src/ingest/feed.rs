//! Feeds captures into a pipeline: a reader thread a file, merged in order of time.
//!
//! ```text
//!  file ──► reader thread: read, decode, digest ──┐
//!  file ──► reader thread: read, decode, digest ──┴─► merge by time ──► emitter
//! ```
//!
//! Reading, decoding and hashing run beside the merge and the pipeline. The merge takes the earliest packet of
//! all files, and keeps each file's order; so what enters the pipeline is in order of time as far as the captures
//! are, and the same on every run. Memory holds a few blocks of [`BLOCK_LEN`] records per file. Of a pipe that has nothing
//! to be read, what came before goes on its way within 100 ms, except that of several files each holds its last two records
//! back until it says more.

mod report;

pub use report::{CaptureInput, CaptureReport, PacketRefusal, REFUSALS_KEPT, RefusalReason};

use crate::domain::packet::{PacketSeen, flags};
use crate::emit::{EmitStats, Emitter};
use crate::event::{HeldNames, Holder, Record, Symbol, Symbols};
use crate::hash::Keyed;
use crate::ingest::capture::{CaptureError, CaptureFault, CaptureOptions, CaptureReader, Frame};
use crate::ingest::digest::{Coverage, PacketDigest};
use crate::ingest::flow::FlowKey;
use crate::ingest::input::Input;
use crate::ingest::link::Direction;
use crate::ingest::packet::{Decoded, IpPacket, PacketFlags};
use crate::paths::Survey;
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, SyncSender, sync_channel};
use std::time::Duration;

/// Records that a reader hands over at once.
pub const BLOCK_LEN: usize = 1024;

/// Blocks that a reader may be ahead of the merge.
const BLOCKS_AHEAD: usize = 8;

/// How long the merge waits for packets before it pumps without any.
const PUMP_EVERY: Duration = Duration::from_millis(50);

/// How captures are fed.
#[derive(Clone, Debug)]
pub struct FeedOptions {
    /// What the digest covers.
    pub digest: PacketDigest,
    /// What is known of the vantage points, in the order of the inputs: packets are merged by the times that their clocks have in common.
    pub survey: Option<Arc<Survey>>,
}

/// What a feed found and did.
#[derive(Debug)]
pub struct CaptureFeedReport {
    /// Per file, in the order given.
    pub captures: Vec<CaptureReport>,
    /// What became of the packets.
    pub sent: EmitStats,
}

/// Why a feed gave up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// A capture is cut, and the digest is to cover whole packets: scan the captures for a common
    /// [`Coverage`] and begin anew.
    #[error("a capture holds only the beginning of its packets; digests must cover a prefix")]
    Cut,
    /// The system gave no thread. Nothing was read.
    #[error("{}: the thread that reads it could not be started: {source}; raise the limit on threads (`ulimit -u`, a container's `pids.max`) or on memory (`ulimit -v`), or read fewer captures at once", path.display())]
    Thread {
        /// The capture.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// Feeds all captures through `emitter`, and names flows and vantage points in `symbols`.
///
/// `progress` is raised by the bytes read. `pump` is called after every [`BLOCK_LEN`] packets, and now and then while none come: under
/// [`Topology::Inline`](crate::pipeline::Topology::Inline) it polls the pipeline, elsewhere it has nothing to do. A file that cannot be read further is reported in
/// [`CaptureReport::error`]; what was read before is used.
///
/// # Errors
/// [`FeedError::Cut`], when some packets have been emitted; [`FeedError::Thread`], when none was.
pub fn feed(
    inputs: &[CaptureInput],
    options: FeedOptions,
    emitter: &mut Emitter,
    symbols: &Arc<Symbols>,
    progress: &AtomicU64,
    pump: impl FnMut(),
) -> Result<CaptureFeedReport, FeedError> {
    feed_until(inputs, options, emitter, symbols, progress, pump, &AtomicBool::new(false))
}

/// Feeds all captures as [`feed`] does, until `interrupt` becomes true: then each file ends where its reader is, with an
/// error that says so, and what was read before is used. On Linux that takes a moment, also while a pipe has nothing to be
/// read.
///
/// # Errors
/// As for [`feed`].
pub fn feed_until(
    inputs: &[CaptureInput],
    options: FeedOptions,
    emitter: &mut Emitter,
    symbols: &Arc<Symbols>,
    progress: &AtomicU64,
    mut pump: impl FnMut(),
    interrupt: &AtomicBool,
) -> Result<CaptureFeedReport, FeedError> {
    let read: ReadFile = |reader, capture, reading| reader.read(capture, reading);
    feed_with(inputs, options, emitter, symbols, progress, &mut pump, interrupt, read)
}

/// How a reader goes through its file.
type ReadFile = fn(&Reader<'_>, &mut CaptureReader<Input<'_>>, &mut Reading<'_>);

#[allow(clippy::too_many_arguments, reason = "those of `feed_until`, and a reader for tests")]
fn feed_with(
    inputs: &[CaptureInput],
    options: FeedOptions,
    emitter: &mut Emitter,
    symbols: &Arc<Symbols>,
    progress: &AtomicU64,
    pump: &mut dyn FnMut(),
    interrupt: &AtomicBool,
    read: ReadFile,
) -> Result<CaptureFeedReport, FeedError> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (mut readers, mut heads, mut gates) = (Vec::new(), Vec::new(), Vec::new());
        for (number, input) in inputs.iter().enumerate() {
            let (sender, receiver) = sync_channel(BLOCKS_AHEAD);
            let (gate, opened) = sync_channel::<()>(1);
            let digest = options.digest;
            let is_timed = options.survey.as_ref().is_none_or(|survey| survey.has_packets(number));
            let reader =
                Reader { input, digest, is_timed, symbols, progress, stop: &stop, interrupt, blocks: sender };
            // Where one cannot be had, the others end without having touched their files: their gates are gone.
            let run = move || match opened.recv() {
                Ok(()) => reader.run(read),
                Err(_) => CaptureReport::new(reader.input),
            };
            let thread = std::thread::Builder::new().name(format!("pe-capture-{number}"));
            let thread = thread.spawn_scoped(scope, run);
            readers.push(thread.map_err(|source| FeedError::Thread { path: input.path.clone(), source })?);
            gates.push(gate);
            let clock = options.survey.clone().map(|survey| (survey, number));
            heads.push(Head { receiver, block: Vec::new().into_iter(), next: None, after: None, clock });
        }
        for gate in gates {
            // A thread that is there waits for it.
            let _ = gate.send(());
        }
        let sent = merge(heads, emitter, pump);
        // Readers end when their files do, or when the first of them finds its packets cut.
        let captures = readers.into_iter().zip(inputs).map(|(reader, input)| {
            reader.join().unwrap_or_else(|panic| {
                let mut report = CaptureReport::new(input);
                report.error = Some(panicked(input, 0, &*panic));
                report
            })
        });
        let captures: Vec<_> = captures.collect();
        if stop.load(Ordering::Relaxed) {
            Err(FeedError::Cut)
        } else {
            Ok(CaptureFeedReport { captures, sent })
        }
    })
}

/// Where the merge puts its records.
struct FeedOutput<'a> {
    emitter: &'a mut Emitter,
    sent: EmitStats,
    /// Records that are merged and not emitted.
    merged: Vec<Record>,
    pump: &'a mut dyn FnMut(),
}

impl FeedOutput<'_> {
    fn emit(&mut self) {
        self.sent.add(self.emitter.emit_records(self.merged.drain(..)));
        (self.pump)();
    }

    /// Waits for the next block; `None` when the reader has ended. Emits while it waits: a pipe may have nothing for long.
    fn next_block(&mut self, receiver: &Receiver<Vec<Record>>) -> Option<Vec<Record>> {
        loop {
            match receiver.recv_timeout(PUMP_EVERY) {
                Ok(block) => return Some(block),
                Err(RecvTimeoutError::Timeout) => self.emit(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

/// The next two records of one file.
struct Head {
    receiver: Receiver<Vec<Record>>,
    block: std::vec::IntoIter<Record>,
    /// Each with its time by the common clock.
    next: Option<(Record, u64)>,
    after: Option<(Record, u64)>,
    clock: Option<(Arc<Survey>, usize)>,
}

impl Head {
    fn advance(&mut self, output: &mut FeedOutput<'_>) {
        self.next = self.after.take();
        let last_ns = self.next.map_or(0, |(_, last_ns)| last_ns);
        let mut after = self.block.next();
        while after.is_none() {
            let Some(block) = output.next_block(&self.receiver) else { return };
            self.block = block.into_iter();
            after = self.block.next();
        }
        let common_ns = |time_ns| match &self.clock {
            Some((survey, number)) => survey.to_common(*number, time_ns, last_ns),
            None => time_ns,
        };
        self.after = after.map(|record| (record, common_ns(record.time_ns())));
    }

    /// Returns the time at which the file is next in turn. A single time far ahead of those around it must not hold
    /// the file back until all others have been read, so the record behind it counts too.
    fn due_ns(&self) -> Option<u64> {
        let (_, next_ns) = self.next?;
        Some(self.after.map_or(next_ns, |(_, after_ns)| next_ns.min(after_ns)))
    }
}

fn merge(mut heads: Vec<Head>, emitter: &mut Emitter, pump: &mut dyn FnMut()) -> EmitStats {
    let mut output = FeedOutput { emitter, sent: EmitStats::default(), merged: Vec::new(), pump };
    if let [head] = &mut *heads {
        while let Some(block) = output.next_block(&head.receiver) {
            output.merged = block;
            output.emit();
        }
        return output.sent;
    }
    for head in &mut heads {
        head.advance(&mut output);
        head.advance(&mut output);
    }
    loop {
        let first = heads.iter_mut().filter_map(|head| Some((head.due_ns()?, head)));
        let Some((_, head)) = first.min_by_key(|(due_ns, _)| *due_ns) else { break };
        output.merged.extend(head.next.map(|(record, _)| record));
        head.advance(&mut output);
        if output.merged.len() == BLOCK_LEN {
            output.emit();
        }
    }
    output.emit();
    output.sent
}

/// Reads one file.
struct Reader<'a> {
    input: &'a CaptureInput,
    digest: PacketDigest,
    /// The times of its packets can be used, as far as is known beforehand.
    is_timed: bool,
    symbols: &'a Arc<Symbols>,
    progress: &'a AtomicU64,
    stop: &'a AtomicBool,
    interrupt: &'a AtomicBool,
    blocks: SyncSender<Vec<Record>>,
}

/// What a reader has of its file so far; it outlives a panic.
struct Reading<'a> {
    report: CaptureReport,
    flows: Flows<'a>,
    /// Records that are to be handed over, in a cell because that happens also while the file is waited for.
    block: &'a RefCell<Vec<Record>>,
}

impl Reader<'_> {
    fn run(self, read: ReadFile) -> CaptureReport {
        let block = RefCell::new(Vec::with_capacity(BLOCK_LEN));
        let mut reading = Reading {
            report: CaptureReport::new(self.input),
            flows: Flows::new(self.symbols),
            block: &block,
        };
        let hand_over = || drop(self.hand_over(&block));
        let mut capture = match self.open(&hand_over) {
            Ok(capture) => capture,
            Err(error) => {
                reading.report.error = Some(self.interrupted_at(0).unwrap_or(error));
                return reading.report;
            }
        };
        // What was read before a panic is used, as with any other fault. Only counts and whole records are looked
        // at after it.
        let went = catch_unwind(AssertUnwindSafe(|| read(&self, &mut capture, &mut reading)));
        let Reading { mut report, flows, .. } = reading;
        if let Err(panic) = went {
            report.error = Some(panicked(self.input, capture.bytes_read(), &*panic));
        }
        hand_over();
        report.format = Some(capture.format());
        report.counts = capture.counts();
        report.bytes = capture.bytes_read();
        report.unnamed_flows = flows.unnamed;
        report
    }

    /// Hands the merge what there is. It may be gone only when another reader has stopped it.
    fn hand_over(&self, block: &RefCell<Vec<Record>>) -> Result<(), SendError<Vec<Record>>> {
        let mut block = block.borrow_mut();
        if block.is_empty() {
            return Ok(());
        }
        self.blocks.send(std::mem::replace(&mut *block, Vec::with_capacity(BLOCK_LEN)))
    }

    fn open<'a>(&'a self, while_waiting: &'a dyn Fn()) -> Result<CaptureReader<Input<'a>>, CaptureError> {
        let label = self.input.path.display().to_string();
        let at_start = |fault| CaptureError::new(label.as_str().into(), 0, fault);
        let file = Input::open(&self.input.path, self.interrupt, while_waiting);
        let file = file.map_err(|error| at_start(error.into()))?;
        if file.is_dir().map_err(|error| at_start(error.into()))? {
            return Err(at_start(CaptureFault::Directory));
        }
        CaptureReader::new(file, &label, CaptureOptions::default())
    }

    /// Says that reading was interrupted at `offset`, where it was.
    fn interrupted_at(&self, offset: u64) -> Option<CaptureError> {
        self.interrupt.load(Ordering::Relaxed).then(|| {
            let label = self.input.path.display().to_string().into();
            CaptureError::new(label, offset, CaptureFault::Interrupted)
        })
    }

    fn read(&self, capture: &mut CaptureReader<Input<'_>>, reading: &mut Reading<'_>) {
        let Reading { report, flows, block } = reading;
        let vantage = self.symbols.intern(&self.input.vantage).unwrap_or(Symbol::of(&self.input.vantage));
        let mut held = HeldNames::new(self.symbols, Holder::Emission);
        held.hold(vantage);
        let mut bytes_told = 0;
        loop {
            if let Some(interrupted) = self.interrupted_at(capture.bytes_read()) {
                report.error = Some(interrupted);
                break;
            }
            let frame = match capture.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    report.error = Some(self.interrupted_at(capture.bytes_read()).unwrap_or(error));
                    break;
                }
            };
            let refused = match frame.decode() {
                Decoded::Ip(packet) => match self.digest.digest(&packet) {
                    Ok(_) if !frame.has_time() || !self.is_timed => {
                        report.untimed += 1;
                        None
                    }
                    Ok(digest) => {
                        report.used_at(frame.time_ns);
                        let flow = flows.symbol(self.digest.flow(&packet));
                        let seen = seen(vantage, &frame, &packet);
                        block.borrow_mut().push(Record::with_digest(digest, frame.time_ns, flow, &seen));
                        None
                    }
                    Err(_) if frame.is_cut() && self.digest.coverage() == Coverage::Whole => {
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
                report.refuse(frame.offset, reason);
            }
            if block.borrow().len() == BLOCK_LEN {
                self.progress.fetch_add(capture.bytes_read() - bytes_told, Ordering::Relaxed);
                bytes_told = capture.bytes_read();
                if self.stop.load(Ordering::Relaxed) || self.hand_over(block).is_err() {
                    break;
                }
            }
        }
        self.progress.fetch_add(capture.bytes_read() - bytes_told, Ordering::Relaxed);
    }
}

#[cold]
fn panicked(input: &CaptureInput, offset: u64, panic: &(dyn Any + Send)) -> CaptureError {
    let text = panic.downcast_ref::<&str>().copied();
    let message = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    let label = input.path.display().to_string().into();
    CaptureError::new(label, offset, CaptureFault::Panicked { message: message.to_owned() })
}

/// Flows of which the symbols are remembered; those of more are looked up anew.
const FLOWS_MAX: usize = 1 << 16;

/// The symbols of the flows that a file has shown; most packets are of a flow that is known.
struct Flows<'a> {
    names: HashMap<FlowKey, Symbol, Keyed>,
    symbols: &'a Arc<Symbols>,
    /// Those of the flows that are remembered.
    held: HeldNames,
    unnamed: u64,
}

impl<'a> Flows<'a> {
    fn new(symbols: &'a Arc<Symbols>) -> Flows<'a> {
        let held = HeldNames::new(symbols, Holder::Emission);
        Flows { names: HashMap::default(), symbols, held, unnamed: 0 }
    }

    #[inline]
    fn symbol(&mut self, flow: FlowKey) -> Symbol {
        if let Some(symbol) = self.names.get(&flow) {
            return *symbol;
        }
        self.new_symbol(flow)
    }

    #[cold]
    fn new_symbol(&mut self, flow: FlowKey) -> Symbol {
        if self.names.len() >= FLOWS_MAX {
            self.names.clear();
            self.held = HeldNames::new(self.symbols, Holder::Emission);
        }
        *self.names.entry(flow).or_insert_with(|| {
            let name = flow.to_string();
            let Ok(symbol) = self.symbols.intern(&name) else {
                self.unnamed += 1;
                return Symbol::of(&name);
            };
            self.held.hold(symbol);
            symbol
        })
    }
}

#[inline]
fn seen(vantage: Symbol, frame: &Frame<'_>, packet: &IpPacket<'_>) -> PacketSeen {
    PacketSeen {
        vantage,
        wire_len_bytes: frame.wire_len,
        captured_len_bytes: frame.data.len() as u32,
        flags: packet_flags(frame, packet),
        vlan: packet.vlan().unwrap_or(0),
        protocol: packet.protocol(),
        ip_version: packet.version(),
    }
}

/// What stands in [`PacketSeen::flags`].
pub(super) fn packet_flags(frame: &Frame<'_>, packet: &IpPacket<'_>) -> u32 {
    let set = |flag: PacketFlags, bit: u32| if packet.flags().contains(flag) { bit } else { 0 };
    // Where record and link layer contradict each other, the record counts: a program wrote it that knew the link layer.
    let direction = match frame.direction.or(packet.direction()) {
        None => 0,
        Some(Direction::Sent) => flags::SENT,
        Some(Direction::Received) => flags::RECEIVED,
    };
    u32::from(packet.tcp_flags())
        | set(PacketFlags::FRAGMENT, flags::FRAGMENT)
        | set(PacketFlags::MORE_FRAGMENTS, flags::MORE_FRAGMENTS)
        | set(PacketFlags::TRUNCATED, flags::TRUNCATED)
        | set(PacketFlags::VLAN, flags::VLAN)
        | flags::of_ttl(packet.ttl())
        | flags::of_interface(packet.interface().unwrap_or(frame.interface))
        | direction
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;
    use crate::pipeline::{Builder, PipelineOptions, Topology};
    use std::path::Path;

    #[test]
    fn a_reader_that_panics_is_reported_and_what_it_read_is_used() {
        fn panicking(reader: &Reader<'_>, capture: &mut CaptureReader<Input<'_>>, reading: &mut Reading<'_>) {
            if reader.input.vantage == "b" {
                let frame = capture.next().unwrap().unwrap();
                let seen: PacketSeen = bytemuck::Zeroable::zeroed();
                let id = crate::event::EventId::digest(b"one");
                reading.block.borrow_mut().push(Record::with_digest(
                    id,
                    frame.time_ns,
                    Symbol::of("flow"),
                    &seen,
                ));
                panic!("planted in {}", reader.input.vantage);
            }
            reader.read(capture, reading);
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/whole/client.pcap");
        let inputs: Vec<_> =
            ["a", "b"].map(|v| CaptureInput { path: file.clone(), vantage: v.into() }).into();
        let pipeline =
            Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() })
                .start()
                .unwrap();
        let mut emitter = pipeline.emitter("ingest").unwrap();
        let options = FeedOptions { digest: PacketDigest::new(Coverage::Whole), survey: None };
        let (symbols, progress, never) =
            (Arc::new(Symbols::new()), AtomicU64::new(0), AtomicBool::new(false));
        let mut pump = || {
            pipeline.poll();
        };
        let fed =
            feed_with(&inputs, options, &mut emitter, &symbols, &progress, &mut pump, &never, panicking)
                .unwrap();
        let [a, b] = &*fed.captures else { panic!("{} reports for two files", fed.captures.len()) };
        assert!(a.error.is_none() && a.counts.records > 100);
        assert_eq!((b.input.vantage.as_str(), b.counts.records), ("b", 1));
        let error = b.error.as_ref().unwrap();
        assert!(error.to_string().contains("planted in b"), "{error}");
        assert!(error.offset() > 24, "{error}");
        // The record that was read before the panic came through.
        assert_eq!(fed.sent.accepted, a.counts.records - a.non_ip + 1);
    }
}
