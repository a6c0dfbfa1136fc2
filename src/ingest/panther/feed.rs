//! Feeds PANTHER's files into a pipeline, merged in order of time.
//!
//! The merge takes the earliest event of all files and keeps each file's order, so what enters the pipeline is the same
//! on every run. A line that is no event is refused and told, and the rest of its file is used.

use crate::emit::source::Source;
use crate::emit::{EmitStats, Emitter};
use crate::event::Record;
use crate::ingest::input::Input;
use crate::ingest::panther::escape::escape_for_terminal;
use crate::ingest::panther::{
    Counts, PantherEvent, PantherIds, PantherReader, PantherRecords, PythonVersion, Reason, RecordError,
    Refused, panther_uuid,
};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use uuid::Uuid;

/// Events that are emitted at once, between two calls of the pump.
const BLOCK_LEN: usize = 1024;

/// Different ids of PANTHER's that are told apart: 16 MiB of them.
pub const DISTINCT_MAX: usize = 1 << 20;

/// Refused lines, and wrong ids, that are told one by one, per file.
pub const REFUSALS_KEPT: usize = 20;

/// A line that made no event. Shown as `file:line: reason`, safe to print on a terminal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineRefusal {
    /// It is no event.
    #[error(transparent)]
    Line(Refused),
    /// It is an event that is none of PANTHER's, or that the tables refused.
    #[error("{}:{line}: {error}", Shown(path))]
    Record {
        /// The file.
        path: Arc<Path>,
        /// The line, the first being 1.
        line: u64,
        /// Why.
        error: RecordError,
    },
}

/// An id that is not the one of its event's content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdMismatch {
    /// The file.
    pub path: Arc<Path>,
    /// The line, the first being 1.
    pub line: u64,
    /// The id in the file.
    pub given: Uuid,
    /// The id of the content.
    pub computed: Uuid,
}

/// What was read from one file.
#[derive(Debug)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// Lines by what became of them; `events` are those that could be read as events.
    pub counts: Counts,
    /// Bytes read.
    pub bytes: u64,
    /// Events that were emitted.
    pub used: u64,
    /// Lines that were refused, as no event or as none of PANTHER's.
    pub refused: u64,
    /// The first of them.
    pub refusals: Vec<LineRefusal>,
    /// Earliest and latest time of an event that was used, in nanoseconds since the Unix epoch.
    pub time_ns: Option<(u64, u64)>,
    /// Events whose id in the file is not the one of their content.
    pub id_mismatches: u64,
    /// The first of them.
    pub mismatches: Vec<IdMismatch>,
    /// What ended the reading early.
    pub error: Option<String>,
}

/// What a feed found and did.
#[derive(Debug)]
pub struct PantherFeedReport {
    /// Per file, in the order given.
    pub files: Vec<FileReport>,
    /// What became of the events.
    pub sent: EmitStats,
    /// Different ids of PANTHER's among the events that were used. It is fewer than the events where the same thing was said
    /// at several times: PANTHER's ids leave time out. Not known where there are more than [`DISTINCT_MAX`].
    pub distinct_ids: Option<u64>,
    /// Values that stand only in documents; see [`PantherRecords::unplaced`].
    pub unplaced: u64,
}

impl PantherFeedReport {
    /// Returns how many lines had something on them.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.files.iter().map(|file| file.counts.events + file.counts.refused).sum()
    }

    /// Returns how many events had an id that is not the one of their content.
    #[must_use]
    pub fn id_mismatches(&self) -> u64 {
        self.files.iter().map(|file| file.id_mismatches).sum()
    }
}

/// Feeds all files through `emitter`; their names and documents go into its symbol table. Each has a source of its own, named by
/// its path: what one file tells of a step that failed is no retry by the word of another.
///
/// `python` is the version whose text PANTHER hashed. Ids that are not those of their events are kept in `ids`.
/// `progress` is raised by the bytes read. `pump` is called after every thousand events or so, and now and then while none come: under
/// [`Topology::Inline`](crate::pipeline::Topology::Inline) it polls the pipeline, elsewhere it has nothing to do.
pub fn feed(
    paths: &[PathBuf],
    python: PythonVersion,
    emitter: &mut Emitter,
    ids: &PantherIds,
    progress: &AtomicU64,
    pump: impl FnMut(),
) -> PantherFeedReport {
    feed_until(paths, python, emitter, ids, progress, pump, &AtomicBool::new(false))
}

/// Feeds all files as [`feed`] does, until `interrupt` becomes true: then each file that has not ended gets an error that
/// says so, and what was read before is used.
pub fn feed_until(
    paths: &[PathBuf],
    python: PythonVersion,
    emitter: &mut Emitter,
    ids: &PantherIds,
    progress: &AtomicU64,
    pump: impl FnMut(),
    interrupt: &AtomicBool,
) -> PantherFeedReport {
    let mut records = PantherRecords::new(Arc::clone(emitter.symbols()), python);
    // Emitted from here, and by readers that wait for their files: never by one within the other.
    let tellers = paths.iter().map(|path| emitter.open_teller(&Shown(path).to_string())).collect();
    let output = RefCell::new(FeedOutput {
        emitter,
        sent: EmitStats::default(),
        block: Vec::new(),
        tellers,
        runs: Vec::new(),
        pump,
    });
    let emit = || {
        if let Ok(mut output) = output.try_borrow_mut() {
            output.emit();
        }
    };
    let mut distinct = Some(HashSet::new());
    let mut heads: Vec<_> = paths.iter().map(|path| Head::open(path, interrupt, &emit)).collect();
    if let [head] = &mut *heads {
        // What there is nothing to be merged with need not wait for the event behind it.
        head.looks_ahead = false;
        head.advance(&mut records, ids);
    } else {
        for head in &mut heads {
            head.advance(&mut records, ids);
            head.advance(&mut records, ids);
        }
    }
    let (mut told, mut left) = (0, true);
    while left {
        let waiting = heads.iter_mut().enumerate().filter_map(|(at, head)| Some((head.due_ns()?, at, head)));
        let first = waiting.min_by_key(|(due_ns, ..)| *due_ns);
        left = first.is_some();
        if let Some((_, at, head)) = first {
            if let Some(record) = head.next {
                count_distinct(&mut distinct, panther_uuid(&record));
                output.borrow_mut().push(at, record);
            }
            head.advance(&mut records, ids);
        }
        if output.borrow().block.len() >= BLOCK_LEN || !left {
            emit();
            let bytes = heads.iter().map(|head| head.bytes.get()).sum::<u64>();
            progress.fetch_add(bytes - told, Ordering::Relaxed);
            told = bytes;
            if left && interrupt.load(Ordering::Relaxed) {
                heads.iter_mut().for_each(Head::interrupt);
                break;
            }
        }
    }
    output.borrow_mut().close();
    PantherFeedReport {
        files: heads.into_iter().map(Head::into_report).collect(),
        sent: output.borrow().sent,
        distinct_ids: distinct.map(|ids| ids.len() as u64),
        unplaced: records.unplaced(),
    }
}

/// Notes the id that PANTHER gives an event, as long as there are not too many to tell how many differ.
fn count_distinct(distinct: &mut Option<HashSet<Uuid>>, id: Option<Uuid>) {
    let Some(ids) = distinct else { return };
    ids.extend(id);
    if ids.len() > DISTINCT_MAX {
        *distinct = None;
    }
}

/// Where events go.
struct FeedOutput<'a, P> {
    emitter: &'a mut Emitter,
    sent: EmitStats,
    /// Events that are merged and not emitted.
    block: Vec<Record>,
    /// By file: its source. None where no number was left: then it is the emitter's own.
    tellers: Vec<Option<Arc<Source>>>,
    /// How many of the events in `block` come from which file, one after the other.
    runs: Vec<(usize, usize)>,
    pump: P,
}

impl<P: FnMut()> FeedOutput<'_, P> {
    fn push(&mut self, file: usize, record: Record) {
        self.block.push(record);
        match self.runs.last_mut() {
            Some((last, events)) if *last == file => *events += 1,
            _ => self.runs.push((file, 1)),
        }
    }

    fn emit(&mut self) {
        let mut block = self.block.drain(..);
        for (file, events) in self.runs.drain(..) {
            let records = block.by_ref().take(events);
            let sent = match self.tellers.get_mut(file).and_then(Option::as_mut) {
                Some(teller) => self.emitter.speak_as(teller, |emitter| emitter.emit_records(records)),
                None => self.emitter.emit_records(records),
            };
            self.sent.add(sent);
        }
        drop(block);
        (self.pump)();
    }

    fn close(&mut self) {
        for teller in self.tellers.drain(..).flatten() {
            self.emitter.close_teller(&teller);
        }
    }
}

/// One file, and the next two events in it, or the next one.
struct Head<'a> {
    looks_ahead: bool,
    path: Arc<Path>,
    /// `None` where the file could not be opened.
    reader: Option<PantherReader<BufReader<Counted<'a>>>>,
    interrupt: &'a AtomicBool,
    bytes: Rc<Cell<u64>>,
    next: Option<Record>,
    after: Option<Record>,
    /// The line of `next`, and that of `after`.
    lines: (u64, u64),
    report: FileReport,
}

impl<'a> Head<'a> {
    fn open(path: &Path, interrupt: &'a AtomicBool, while_waiting: &'a dyn Fn()) -> Head<'a> {
        let bytes = Rc::new(Cell::new(0));
        let mut head = Head {
            looks_ahead: true,
            path: path.into(),
            reader: None,
            interrupt,
            bytes: Rc::clone(&bytes),
            next: None,
            after: None,
            lines: (0, 0),
            report: FileReport {
                path: path.to_path_buf(),
                counts: Counts::default(),
                bytes: 0,
                used: 0,
                refused: 0,
                refusals: Vec::new(),
                time_ns: None,
                id_mismatches: 0,
                mismatches: Vec::new(),
                error: None,
            },
        };
        match Input::open(path, interrupt, while_waiting) {
            Ok(file) => {
                let input = BufReader::with_capacity(1 << 16, Counted { file, bytes });
                head.reader = Some(PantherReader::new(input, path));
            }
            Err(error) => head.report.error = Some(format!("{}: cannot be opened: {error}", Shown(path))),
        }
        head
    }

    /// Returns the time at which the file is next in turn. A single time far ahead of those around it must not hold
    /// the file back until all others have been read, so the event behind it counts too.
    fn due_ns(&self) -> Option<u64> {
        let next = self.next?.time_ns();
        Some(self.after.map_or(next, |after| next.min(after.time_ns())))
    }

    /// Reads on to the next line that makes a record.
    fn advance(&mut self, records: &mut PantherRecords, ids: &PantherIds) {
        (self.next, self.lines.0) = (self.after.take(), self.lines.1);
        let Some(reader) = &mut self.reader else { return };
        while let Some(read) = reader.next() {
            let line = reader.counts().lines;
            match read {
                Ok(event) => match records.record(&event) {
                    Ok(record) => {
                        let (path, report) = (&self.path, &mut self.report);
                        report.used += 1;
                        let (first, last) = report.time_ns.unwrap_or((event.time_ns, event.time_ns));
                        report.time_ns = Some((first.min(event.time_ns), last.max(event.time_ns)));
                        report.compare_ids(&event, &record, path, line, ids);
                        (self.after, self.lines.1) = (Some(record), line);
                        if !self.looks_ahead {
                            (self.next, self.lines.0) = (self.after.take(), line);
                        }
                        return;
                    }
                    Err(error) => {
                        let path = Arc::clone(&self.path);
                        self.report.refuse(|| LineRefusal::Record { path, line, error });
                    }
                },
                Err(refused) => {
                    if let Reason::Unreadable(_) = refused.reason {
                        if self.interrupt.load(Ordering::Relaxed) {
                            self.report.error = Some(stopped(&self.path, line));
                            return;
                        }
                        self.report.error = Some(refused.to_string());
                    }
                    self.report.refuse(|| LineRefusal::Line(refused));
                }
            }
        }
    }

    /// Leaves the rest unread.
    fn interrupt(&mut self) {
        if self.next.take().is_some() {
            let line = self.lines.0;
            self.report.used -= 1 + u64::from(self.after.take().is_some());
            self.report.error = Some(stopped(&self.path, line));
        }
    }

    fn into_report(mut self) -> FileReport {
        self.report.counts = self.reader.map(|reader| reader.counts()).unwrap_or_default();
        self.report.bytes = self.bytes.get();
        self.report
    }
}

impl FileReport {
    fn refuse(&mut self, refusal: impl FnOnce() -> LineRefusal) {
        self.refused += 1;
        if self.refusals.len() < REFUSALS_KEPT {
            self.refusals.push(refusal());
        }
    }

    fn compare_ids(
        &mut self,
        event: &PantherEvent,
        record: &Record,
        path: &Arc<Path>,
        line: u64,
        ids: &PantherIds,
    ) {
        let (Some(computed), Some(id)) = (panther_uuid(record), record.id()) else { return };
        let Some(given) = event.id.filter(|given| *given != computed) else { return };
        ids.keep(id, given);
        self.id_mismatches += 1;
        if self.mismatches.len() < REFUSALS_KEPT {
            self.mismatches.push(IdMismatch { path: Arc::clone(path), line, given, computed });
        }
    }
}

impl fmt::Display for IdMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IdMismatch { path, line, given, computed } = self;
        write!(f, "{}:{line}: the id {given} is not that of the content, {computed}", Shown(path))
    }
}

fn stopped(path: &Path, line: u64) -> String {
    format!("{}:{line}: the run was stopped here", Shown(path))
}

/// A path, safe to print on a terminal.
struct Shown<'a>(&'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape_for_terminal(&self.0.to_string_lossy()))
    }
}

/// A file that counts what is read of it.
struct Counted<'a> {
    file: Input<'a>,
    bytes: Rc<Cell<u64>>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.bytes.set(self.bytes.get() + read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_ids_differ_is_not_told_where_it_is_not_known() {
        let id = |number| Some(Uuid::from_u128(number));
        let mut distinct = Some(HashSet::new());
        count_distinct(&mut distinct, id(1));
        count_distinct(&mut distinct, id(1));
        assert_eq!(distinct.as_ref().map(HashSet::len), Some(1));
        let more = (0..DISTINCT_MAX as u128).map(Uuid::from_u128);
        distinct.iter_mut().for_each(|ids| ids.extend(more.clone()));
        assert_eq!(distinct.as_ref().map(HashSet::len), Some(DISTINCT_MAX));
        count_distinct(&mut distinct, id(2));
        assert!(distinct.is_some());
        count_distinct(&mut distinct, id(u128::MAX));
        assert_eq!(distinct, None);
    }
}
