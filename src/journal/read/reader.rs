//! The reader: hands out blocks of records in place, and says what is wrong with the rest.

use crate::event::{Record, Symbol};
use crate::journal::format::Tail;
use crate::journal::format::definition::{Definition, SourceFrom};
use crate::journal::format::marks::Marks;
use crate::journal::format::{BlockHeader, BlockKind, EndReason, Link, Position, RunId, SourceSpan, Totals};
use crate::journal::read::damage::{Damage, Finding, SourceGap};
use crate::journal::read::defined::Key;
use crate::journal::read::error::ReadError;
use crate::journal::read::filter::{Filter, Target};
use crate::journal::read::plan::{self, Plan, Step};
use crate::journal::read::recovery::{Found, Surveyed};
use crate::journal::read::scan::{Expect, Probe, Scan};
use crate::journal::read::sources::ReadSources;
use crate::journal::storage::{DirStorage, Storage};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

/// How a journal is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReadOptions {
    /// Read intact blocks behind a torn tail too. The result is then no prefix of what was sent; the gaps are
    /// named.
    pub salvage: bool,
    /// Take the journal as it is for all of it, even where a live process has it open for writing: for that process
    /// itself, before it has written.
    pub as_ended: bool,
}

/// Where a reader is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// There may be another block.
    Reading,
    /// At the end of a journal that a live process is writing; more may come.
    Waiting,
    /// At the end.
    Ended,
}

/// A block of records, in place.
#[derive(Clone, Copy, Debug)]
pub struct ReadBlock<'a> {
    header: BlockHeader,
    head: &'a [u8],
    records: &'a [Record],
}

impl<'a> ReadBlock<'a> {
    /// Returns the records, in the order in which they were appended. After a seek, the first block's records
    /// begin with the one that was sought.
    #[must_use]
    pub fn records(&self) -> &'a [Record] {
        self.records
    }

    /// Returns the block's header.
    #[must_use]
    pub fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// Iterates over the block's records by source.
    pub fn sources(&self) -> impl Iterator<Item = SourceSpan> + 'a {
        crate::journal::format::spans(self.head)
    }
}

/// Reads a journal, also one that is being written. Never changes a file.
///
/// Every block that is handed out has passed its checksums, has this journal's run, and lies where it says it
/// belongs. That is why records are not examined one by one: [`Record::is_well_formed`] asks whether bytes from
/// anywhere can be a record, and these are the bytes that a writer was given.
pub struct JournalReader<'s> {
    pub(super) storage: Box<dyn Storage + 's>,
    pub(super) options: ReadOptions,
    pub(super) plan: Plan,
    pub(super) step: usize,
    pub(super) cursor: Option<Cursor>,
    pub(super) status: Status,
    pub(super) filter: Filter,
    pub(super) target: Option<Target>,

    pub(super) marks: Marks,
    /// Every source's records were seen from its first on, so an unknown source's `before` tells a gap.
    pub(super) from_start: bool,
    pub(super) records_expected: Option<u64>,
    pub(super) totals: Totals,
    pub(super) oldest_segment: u32,
    pub(super) tail: Option<Tail>,
    pub(super) synced: Position,
    /// Once `synced` is what the whole journal says, and not only its blocks so far.
    pub(super) surveyed: Option<Surveyed>,
    pub(super) closed: bool,
    /// A live process was writing when the end was looked at last, or when the journal was opened.
    saw_writer: bool,
    pub(super) findings: Vec<Finding>,
    pub(super) names: HashMap<Symbol, Box<str>>,
    pub(super) details: HashMap<u128, Box<[u8]>>,
    /// By number: the definition of a domain that was read last.
    pub(super) domains: HashMap<u8, u128>,
    /// The keys of `names` and `details`, in the order in which they were read.
    pub(super) order: Vec<Key>,
    /// Bytes of names and documents that records may refer to.
    pub(super) defined_bytes: usize,
    /// Definitions of domains in `order`.
    pub(super) domains_read: usize,
    /// How many keys were forgotten, and how often.
    pub(super) forgotten: usize,
    pub(super) forgettings: u64,
    pub(super) sources: ReadSources,
    pub(super) losses: BTreeMap<u16, SourceSpan>,
    /// Places where a source's numbers do not rise.
    pub(super) falls: u64,
    pub(super) unclosed: u64,
}

/// A place in the segment being read.
pub(super) struct Cursor {
    pub(super) scan: Scan,
    pub(super) offset: u64,
    pub(super) block: u32,
    pub(super) previous: Option<u32>,
    pub(super) ended: Option<EndReason>,
}

impl JournalReader<'static> {
    /// Opens the journal in the directory `path`.
    ///
    /// # Errors
    /// When the directory or a segment's first block cannot be read. A directory without segments is an empty
    /// journal.
    pub fn open(path: &Path, options: ReadOptions) -> Result<JournalReader<'static>, ReadError> {
        JournalReader::over(DirStorage::new(path), options)
    }
}

impl<'s> JournalReader<'s> {
    /// Opens the journal in `storage`.
    ///
    /// # Errors
    /// As [`JournalReader::open`].
    pub fn over(storage: impl Storage + 's, options: ReadOptions) -> Result<JournalReader<'s>, ReadError> {
        let storage: Box<dyn Storage + 's> = Box::new(storage);
        let plan = plan_of(&*storage)?;
        let mut reader = JournalReader {
            storage,
            options,
            plan,
            step: 0,
            cursor: None,
            status: Status::Reading,
            filter: Filter::ALL,
            target: None,
            marks: Marks::default(),
            from_start: true,
            records_expected: None,
            totals: Totals::default(),
            oldest_segment: 0,
            tail: None,
            synced: Position::default(),
            surveyed: None,
            closed: false,
            saw_writer: false,
            findings: Vec::new(),
            names: HashMap::new(),
            details: HashMap::new(),
            domains: HashMap::new(),
            order: Vec::new(),
            defined_bytes: 0,
            domains_read: 0,
            forgotten: 0,
            forgettings: 0,
            sources: ReadSources::default(),
            losses: BTreeMap::new(),
            falls: 0,
            unclosed: 0,
        };
        reader.saw_writer = reader.has_writer();
        reader.rewind();
        Ok(reader)
    }

    /// Returns the journal's run; `None` when it has no intact block.
    #[must_use]
    pub fn run(&self) -> Option<RunId> {
        self.plan.run
    }

    /// Sets which records [`JournalReader::for_each`] hands out. Blocks whose header shows that they have none
    /// of them are passed over, their bodies unread.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = filter;
    }

    /// Returns the next block of records; `None` at the end, and where a live writer has not come yet.
    ///
    /// The block's records are borrowed from the reader's buffer: nothing is copied or converted on a
    /// little-endian host.
    ///
    /// # Errors
    /// When the operating system refuses to read.
    pub fn next_block(&mut self) -> Result<Option<ReadBlock<'_>>, ReadError> {
        self.sources.begin_block();
        let Some((header, from)) = self.advance()? else { return Ok(None) };
        self.sources.hand_out(header.origin);
        #[cfg(target_endian = "big")]
        if let Some(cursor) = &mut self.cursor {
            cursor.scan.turn(&header);
        }
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let bytes = cursor.scan.verified(&header);
        let records: &[Record] = bytemuck::try_cast_slice(bytes.body(&header)).unwrap_or_default();
        Ok(Some(ReadBlock { header, head: bytes.head(), records: records.get(from..).unwrap_or_default() }))
    }

    /// Calls `each` on every record from here to the end that the filter lets through; returns how many.
    ///
    /// # Errors
    /// When the operating system refuses to read.
    pub fn for_each(&mut self, mut each: impl FnMut(&Record)) -> Result<u64, ReadError> {
        let filter = self.filter;
        let mut count = 0;
        while let Some(block) = self.next_block()? {
            for record in block.records().iter().filter(|record| filter.contains(record)) {
                each(record);
                count += 1;
            }
        }
        Ok(count)
    }

    /// Goes to the journal's start.
    pub fn rewind(&mut self) {
        self.go_to_step(0);
        let first = self.plan.steps.first();
        self.from_start = first.is_some_and(|step| step.number == 0) || self.plan.oldest_segment == 0;
        self.records_expected = self.from_start.then_some(0);
        self.findings.clear();
        (self.falls, self.unclosed) = (0, 0);
        for number in &self.plan.abandoned {
            let at = Position { segment: *number, offset: 0 };
            self.findings.push(Finding::new(Damage::Abandoned, at, 0));
        }
    }

    /// Goes to the first record at or after `time_ns` (ns since the Unix epoch), in the journal's order. Passes
    /// over blocks by their headers.
    pub fn seek_time(&mut self, time_ns: u64) {
        self.rewind();
        self.target = Some(Target::Time(time_ns));
    }

    /// Goes to the first record of `source` that is numbered `seq` or higher, in the journal's order.
    pub fn seek_seq(&mut self, source: u16, seq: u32) {
        self.rewind();
        self.target = Some(Target::Seq(source, seq));
    }

    /// Says where the reader is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns what is wrong with the journal, as far as it was read.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Tells whether the journal was closed in order; known once it is read to the end.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// Iterates over what the last writer could not deliver, by source: how many, from `first` to `last`.
    pub fn losses(&self) -> impl Iterator<Item = &SourceSpan> {
        self.losses.values()
    }

    /// Returns the totals at the last block that was read, that block included.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Returns what was read of each source.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Returns at how many places a source's numbers do not rise, in what was read: its events came in another order,
    /// or more than one run is in the journal under the same numbers.
    #[must_use]
    pub fn falls(&self) -> u64 {
        self.falls
    }

    pub(crate) fn unknown_version(&self) -> bool {
        self.plan.unknown_version
    }

    pub(crate) fn tail(&self) -> Option<Tail> {
        self.tail
    }

    pub(crate) fn oldest_segment(&self) -> u32 {
        self.oldest_segment
    }

    pub(crate) fn steps(&self) -> usize {
        self.plan.steps.len()
    }

    /// Goes to the start of a segment, and forgets what came before.
    pub(crate) fn go_to_step(&mut self, step: usize) {
        self.step = step;
        self.cursor = None;
        self.status = Status::Reading;
        self.target = None;
        self.marks = Marks::default();
        self.sources.forget();
        self.from_start = false;
        self.records_expected = None;
        self.totals = Totals::default();
        self.surveyed = None;
        self.tail = None;
        self.closed = false;
    }

    /// Goes to the next block of records that is wanted; returns its header and the index of the first record
    /// to hand out.
    fn advance(&mut self) -> Result<Option<(BlockHeader, usize)>, ReadError> {
        let mut looked_again = self.status == Status::Waiting;
        if looked_again {
            self.look_again()?;
        }
        while self.status == Status::Reading {
            let Some(step) = self.plan.steps.get(self.step).cloned() else {
                if self.writer_has_gone() {
                    self.look_again()?;
                    continue;
                }
                self.finish();
                if self.status == Status::Waiting && !std::mem::replace(&mut looked_again, true) {
                    self.look_again()?;
                }
                continue;
            };
            let (found, header) = self.look(&step)?;
            if let (Found::Block, Some(header)) = (found, header) {
                let read = self.take(&step, header).map_err(|source| self.error(&step, source))?;
                if let Some(from) = read {
                    return Ok(Some((header, from)));
                }
                continue;
            }
            let growing = self.is_growing();
            if !growing && self.writer_has_gone() {
                self.look_again()?;
            } else {
                self.decide(&step, found, header, growing).map_err(|source| self.error(&step, source))?;
            }
        }
        Ok(None)
    }

    /// Says what is where the next block should be.
    fn look(&mut self, step: &Step) -> Result<(Found, Option<BlockHeader>), ReadError> {
        let looked = self.try_look(step);
        looked.map_err(|source| self.error(step, source))
    }

    pub(crate) fn try_look(&mut self, step: &Step) -> io::Result<(Found, Option<BlockHeader>)> {
        let Some(run) = self.plan.run else {
            return Ok((if self.plan.all_empty { Found::EmptyFile } else { Found::Damaged }, None));
        };
        let cursor = match &mut self.cursor {
            Some(cursor) => cursor,
            empty => {
                let scan = if step.name.is_some() { plan::open(&*self.storage, step.number)? } else { None };
                let Some(scan) = scan else { return Ok((Found::MissingSegment, None)) };
                empty.insert(Cursor { scan, offset: 0, block: 0, previous: None, ended: None })
            }
        };
        if cursor.ended.is_some() || step.end.is_some_and(|(end, _)| cursor.offset >= end) {
            return Ok((Found::AnnouncedEnd, None));
        }
        let at = Position { segment: step.number, offset: cursor.offset };
        let expect = Expect { run, at, block: cursor.block, previous: cursor.previous };
        let selective = self.target.is_some() || self.filter != Filter::ALL;
        let mut probe = cursor.scan.probe(&expect, !selective)?;
        if selective
            && let Probe::Block(header) = probe
            && self.wants(step, &header)?
            && let Some(cursor) = &mut self.cursor
        {
            probe = cursor.scan.probe(&expect, true)?;
        }
        if probe == Probe::Nothing
            && !self.is_growing()
            && let Some(cursor) = &mut self.cursor
            && !cursor.scan.zeros_from(at.offset)?
        {
            probe = Probe::Damaged(None);
        }
        Ok(match probe {
            Probe::Block(header) => (Found::Block, Some(header)),
            Probe::Nothing if at.offset == 0 => (Found::EmptyFile, None),
            Probe::Nothing => (Found::Nothing, None),
            Probe::Damaged(header) => (Found::Damaged, header),
            Probe::Foreign => (Found::Foreign, None),
            Probe::UnknownVersion => (Found::UnknownVersion, None),
        })
    }

    /// Tells from the header alone whether the block's body is needed.
    fn wants(&mut self, step: &Step, header: &BlockHeader) -> io::Result<bool> {
        if header.kind != BlockKind::Records || (self.target.is_none() && self.filter == Filter::ALL) {
            return Ok(true);
        }
        debug_assert_eq!(header.at.segment, step.number);
        let Some(cursor) = &mut self.cursor else { return Ok(true) };
        let head = cursor.scan.head(header)?;
        let by_target =
            self.target.is_none_or(|target| target.may_be_in(header, crate::journal::format::spans(head)));
        Ok(by_target && self.filter.may_be_in(header, crate::journal::format::spans(head)))
    }

    /// Takes an intact block in; returns the index of the first record to hand out when it is one of records.
    fn take(&mut self, step: &Step, header: BlockHeader) -> io::Result<Option<usize>> {
        let Some(cursor) = &mut self.cursor else { return Ok(None) };
        let spans: Vec<SourceSpan> = crate::journal::format::spans(cursor.scan.head(&header)?).collect();
        cursor.offset = header.end().offset;
        cursor.block = header.block + 1;
        cursor.previous = Some(header.header_crc);
        self.tail = Some(Tail { end: header.end(), crc: header.header_crc });
        self.synced = self.synced.max(header.synced);
        self.oldest_segment = self.oldest_segment.max(header.oldest_segment);
        self.account_for(&header, &spans);
        if header.kind == BlockKind::Records {
            let wanted = header.records > 0 && self.wants(step, &header)?;
            return Ok(if wanted { self.aim(&header) } else { None });
        }
        let Some(cursor) = &mut self.cursor else { return Ok(None) };
        let mut body = cursor.scan.verified(&header).body(&header);
        match header.kind {
            BlockKind::Definitions => {
                let definitions = std::iter::from_fn(|| Definition::decode(&mut body));
                definitions.collect::<Vec<_>>().into_iter().for_each(|definition| self.define(definition));
            }
            BlockKind::Loss => self.losses.extend(spans.iter().map(|span| (span.source, *span))),
            BlockKind::End => {
                cursor.ended = Some(EndReason::decode(body).unwrap_or(EndReason::Rotated));
                let (offset, len) = (cursor.offset, cursor.scan.len()?);
                if !cursor.scan.zeros_from(offset)? {
                    let at = Position { segment: step.number, offset };
                    self.findings.push(Finding::new(Damage::Trailing, at, len.saturating_sub(offset)));
                }
            }
            BlockKind::Open => {
                let is_resumed = Link::decode(body).is_some_and(|link| link.resumed);
                self.forget_where_many();
                self.sources.begin_segment();
                if is_resumed {
                    self.unclosed += u64::from(self.step > 0 && !self.closed);
                    self.marks = Marks::default();
                    self.from_start = true;
                    self.losses.clear();
                }
                // Whatever ended before it, this one has not.
                self.closed = false;
            }
            BlockKind::Records => {}
        }
        Ok(None)
    }

    /// Compares the block's running numbers with what was read, and names what is missing.
    fn account_for(&mut self, header: &BlockHeader, spans: &[SourceSpan]) {
        let missing =
            self.records_expected.map_or(0, |expected| header.totals.records.saturating_sub(expected));
        if missing > 0 {
            let at = header.at;
            let finding = self.gap_finding(at);
            finding.records = Some(finding.records.unwrap_or(0) + missing);
        } else if let Some(last) = self.findings.last_mut()
            && matches!(last.damage, Damage::Quarantined(_))
            && self.records_expected.is_some()
        {
            last.records.get_or_insert(0);
        }
        self.records_expected = Some(header.totals.records + u64::from(header.records));
        self.totals = Totals { records: header.totals.records + u64::from(header.records), ..header.totals };
        if header.kind != BlockKind::Records {
            return;
        }
        for span in spans {
            let mark = self.marks.get(span.source);
            self.falls += u64::from(span.unordered || mark.last.is_some_and(|last| span.first <= last));
            let known = mark.last.is_some() || self.from_start;
            // Less than was read is no gap: the segment was removed that told which of these had been written again.
            let missing = (span.before.wrapping_sub(mark.records as u32) as i32).max(0) as u32;
            if known
                && missing > 0
                && let Some(through) = span.previous
            {
                let gap =
                    SourceGap { source: span.source, records: u64::from(missing), after: mark.last, through };
                self.gap_finding(header.at).sources.push(gap);
            }
            let from = SourceFrom { origin: header.origin, source: span.source, seq: span.first };
            self.sources.meet(from, known && missing > 0);
            let records = if known { mark.records + u64::from(missing) } else { u64::from(span.before) };
            self.marks.set(span.source, span.last, records + u64::from(span.count));
        }
    }

    /// The finding that a gap noticed at `at` belongs to: the last one that skipped something.
    fn gap_finding(&mut self, at: Position) -> &mut Finding {
        let is_gap =
            |finding: &Finding| matches!(finding.damage, Damage::Quarantined(_) | Damage::BrokenLink);
        let index = match self.findings.iter().rposition(is_gap) {
            Some(index) => index,
            None => {
                self.findings.push(Finding::new(Damage::BrokenLink, at, 0));
                self.findings.len() - 1
            }
        };
        &mut self.findings[index]
    }

    /// Narrows a block down to the sought record; `None` when the block does not have it.
    fn aim(&mut self, header: &BlockHeader) -> Option<usize> {
        let Some(target) = self.target else { return Some(0) };
        let cursor = self.cursor.as_mut()?;
        let bytes = cursor.scan.verified(header);
        let records: &[Record] = bytemuck::try_cast_slice(bytes.body(header)).unwrap_or_default();
        let mut at = records.iter().position(|record| target.is_met_by(record));
        if cfg!(target_endian = "big") {
            // The records are not turned yet; the whole block is handed out.
            at = Some(0);
        }
        if at.is_some() {
            self.target = None;
        }
        at
    }

    /// Tells whether a live process is writing the segment being read.
    pub(crate) fn is_growing(&self) -> bool {
        !self.options.as_ended && self.step + 1 >= self.plan.steps.len() && self.storage.writer().is_some()
    }

    /// Tells whether there was a writer and is none any more. What it wrote last may not have been there when the place
    /// was looked at: nothing is said of it before it has been looked at once more.
    fn writer_has_gone(&mut self) -> bool {
        let is_there = self.has_writer();
        std::mem::replace(&mut self.saw_writer, is_there) && !is_there
    }

    fn has_writer(&self) -> bool {
        !self.options.as_ended && self.storage.writer().is_some()
    }

    fn error(&self, step: &Step, source: io::Error) -> ReadError {
        let offset = self.cursor.as_ref().map_or(0, |cursor| cursor.offset);
        ReadError::Io { path: self.storage.path().join(plan::name_of(step)), offset, source }
    }
}

/// Looks which segments there are.
pub(crate) fn plan_of(storage: &dyn Storage) -> Result<Plan, ReadError> {
    let path = || storage.path().to_owned();
    let plan = Plan::of(storage).map_err(|source| ReadError::Io { path: path(), offset: 0, source })?;
    match plan.unreadable {
        Some(name) => Err(ReadError::Compressed { path: path().join(name) }),
        None => Ok(plan),
    }
}
