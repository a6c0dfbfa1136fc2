//! The observer that hands a pipeline's events to a journal.

use crate::clock::Clock;
use crate::dedup::Verdict;
use crate::domain::Schema;
use crate::emit::EmitTotals;
use crate::event::{Detail, Origin, Record, Symbol, Symbols};
use crate::hash::Keyed;
use crate::journal::format::RunId;
use crate::journal::format::definition::SourceFrom;
use crate::journal::format::marks::Marks;
use crate::journal::format::select::Select;
use crate::journal::read::lacking::{self, Lacking};
use crate::journal::write::durability::JournalAccount;
use crate::journal::write::options::{OpenError, Options};
use crate::journal::write::references::{Reference, References};
use crate::journal::write::worker::{JournalNotes, JournalWorker, WorkerError};
use crate::journal::write::writer::JournalWriter;
use crate::observe::{Batch, Interest, Observer, Report, Scope, Undelivered, mask};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// Batches of 4,096 records that may wait for the journal's thread: 64 MiB.
const QUEUE_LEN: usize = 256;

/// Symbols that are remembered as needing no look: 32 KiB.
const SETTLED: usize = 4096;

/// Batches after which all symbols are looked at again.
const SETTLED_FOR: u32 = 4096;

/// Names and documents, and bytes of them, of which the journal's thread is told before it is to forget them all: what it keeps.
const TOLD_MAX: usize = 1 << 16;
const TOLD_BYTES_MAX: usize = 16 << 20;

/// Batches between two looks at what the thread has lost.
const LOOK_EVERY: u32 = 16;

/// Writes events into a journal, with the names and documents that they refer to before their first use.
///
/// One instance sees all events ([`Scope::Whole`]): a journal has one writer, and each source's records come in
/// their order, so that what a crash leaves is a prefix of each source. In a staged pipeline all events then take one
/// shard and one worker.
///
/// Handing over never waits for the disk. What the journal's thread has no room for is refused, and what it cannot
/// write and hold any longer is lost, as is what somebody removes; all count as failed in the pipeline's account, exactly,
/// and stand in the journal as gaps. When the disk takes writes again, the journal goes on. Ending the pipeline, or removing the
/// observer, closes the journal; that waits for the disk.
///
/// What the pipeline dropped or refused never came here. The journal says at its end how many events those were, and whether
/// the observer was there from the beginning to the end ([`Lacking`]), so that nobody takes it for the whole.
pub struct JournalLog {
    worker: Option<JournalWorker>,
    pipeline: Option<PipelineEnd>,
    symbols: Arc<Symbols>,
    select: Select,
    references: References,
    /// What the journal's thread was told of, since it was last told to forget.
    names: HashSet<Symbol, Keyed>,
    /// Symbols by their low bits that need no look: defined, or without a name while the table had so many.
    settled: Box<[Symbol; SETTLED]>,
    names_ever: u64,
    details: HashSet<u64, Keyed>,
    /// Bytes of those.
    told_bytes: usize,
    until_look: u32,
    batches: u32,
    /// New events that came before the log was there.
    missed: u64,
    /// New events handed over.
    handed: u64,
    /// New events reported as undelivered.
    failed: u64,
    /// Why events failed at the end.
    told: Option<String>,
    last: JournalReport,
}

/// What a journal holds, and what it does not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JournalReport {
    /// Where the records are.
    pub account: JournalAccount,
    /// Up to where the promise of the journal's durability holds.
    pub watermark: Marks,
    /// Records refused because the journal's thread was behind, or there was no memory for them.
    pub refused: u64,
    /// What keeps the journal from being written, or kept it from being closed in order.
    pub stall: Option<String>,
    /// The journal was closed in order.
    pub closed: bool,
}

impl Report for JournalReport {
    /// There is one instance; were there more, the first would tell.
    fn merge(&mut self, _other: JournalReport) {}
}

/// What is to be asked of the pipeline at the end.
struct PipelineEnd {
    origin: Origin,
    totals: EmitTotals,
}

impl PipelineEnd {
    /// Says what never came to the journal, and is in no count of it.
    fn lacking(&self, missed: u64) -> Lacking {
        let sums = self.totals.sums();
        let mut lacking =
            Lacking { absent: sums.dropped_full.saturating_add(sums.rejected), ..Lacking::default() };
        if missed > 0 {
            lacking.unsure.push(format!("{missed} events of its pipeline came before it was there"));
        }
        if !self.totals.is_closed() {
            lacking.unsure.push("it was closed while its pipeline went on".to_owned());
        }
        lacking
    }
}

impl JournalLog {
    /// Opens the journal at `path`, and starts its thread. `schema` tells which fields of a kind's payload refer to names and
    /// documents, and goes into the journal with them.
    ///
    /// # Errors
    /// As [`JournalWriter::open`], and when the system has no thread to give.
    pub fn open(
        path: &Path,
        run: RunId,
        options: Options,
        clock: Clock,
        symbols: &Arc<Symbols>,
        schema: &Schema,
    ) -> Result<JournalLog, OpenError> {
        let select = options.select;
        let writer = JournalWriter::open(path, run, options, clock.now_ns())?;
        let worker = JournalWorker::start(writer, QUEUE_LEN, move || clock.now_ns());
        let worker = worker.map_err(|source| OpenError::Thread { path: path.to_owned(), source })?;
        Ok(JournalLog::new(worker, select, symbols, schema))
    }

    /// Hands events to `worker`, those that `select` names.
    #[must_use]
    pub fn new(
        mut worker: JournalWorker,
        select: Select,
        symbols: &Arc<Symbols>,
        schema: &Schema,
    ) -> JournalLog {
        if let Some((key, text)) = lacking::selection_document(&select) {
            worker.define_detail(key, &text);
        }
        worker.set_schema(schema);
        JournalLog {
            worker: Some(worker),
            symbols: Arc::clone(symbols),
            select,
            references: References::of(schema),
            ..JournalLog::closed()
        }
    }

    /// Makes a log without a journal: every event that it gets fails. It stands in where a builder asks for a second
    /// instance.
    #[must_use]
    pub fn closed() -> JournalLog {
        JournalLog {
            worker: None,
            pipeline: None,
            symbols: Arc::default(),
            select: Select::ALL,
            references: References::of(&Schema::new()),
            names: HashSet::default(),
            settled: Box::new([Symbol::NONE; SETTLED]),
            names_ever: 0,
            details: HashSet::default(),
            told_bytes: 0,
            until_look: LOOK_EVERY,
            batches: 0,
            missed: 0,
            handed: 0,
            failed: 0,
            told: None,
            last: JournalReport::default(),
        }
    }

    /// Says which pipeline the events come from, and what knows how many it drops, as its setup tells. A log that is not told
    /// says at its end that nobody knows what it lacks.
    ///
    /// ```no_run
    /// # use panther_events::{journal::JournalLog, pipeline::Builder};
    /// # fn add(builder: &mut Builder, log: JournalLog) {
    /// let mut log = Some(log);
    /// builder.observer("journal", move |setup| {
    ///     // One worker sees everything, so one instance is made.
    ///     log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
    /// });
    /// # }
    /// ```
    #[must_use]
    pub fn of(mut self, origin: Origin, totals: &EmitTotals) -> JournalLog {
        if let Some(worker) = &mut self.worker {
            worker.set_origin(origin);
            let notes = worker.notes();
            totals.tell_names(Box::new(move |source, seq, name| {
                notes.define_source(SourceFrom { origin, source, seq }, name)
            }));
        }
        self.pipeline = Some(PipelineEnd { origin, totals: totals.clone() });
        self
    }

    /// Puts down in the journal what never came to it.
    fn put_lacking(&self, worker: &mut JournalWorker) {
        let document = match &self.pipeline {
            Some(pipeline) => pipeline.lacking(self.missed).document_of(pipeline.origin),
            None => {
                let unsure = vec!["who wrote it did not know its pipeline".to_owned()];
                Lacking { unsure, ..Lacking::default() }.document_of(Origin::from_bits(0))
            }
        };
        if let Some((key, text)) = document {
            worker.define_detail(key, &text);
        }
    }

    /// Puts a document of the caller's into the journal, such as a description of the run. `key` is above
    /// `u64::MAX`: what is below belongs to events' documents.
    pub fn define_document(&mut self, key: u128, bytes: &[u8]) {
        if let Some(worker) = &mut self.worker {
            worker.define_detail(key, bytes);
        }
    }

    /// Returns a handle through which documents come into the journal while the pipeline owns the log.
    #[must_use]
    pub fn notes(&self) -> JournalNotes {
        self.worker.as_ref().map(JournalWorker::notes).unwrap_or_default()
    }

    /// Tells the journal's thread of what the record refers to, unless it was told.
    fn define(&mut self, record: &Record) {
        self.define_name(record.entity());
        if !self.references.has(record.kind()) {
            return;
        }
        // A payload has room for three words, each of which may be a name or a document.
        let mut referred = [None; 6];
        let mut places = referred.iter_mut();
        self.references.each(record, |reference| {
            if let Some(place) = places.next() {
                *place = Some(reference);
            }
        });
        for reference in referred.into_iter().flatten() {
            match reference {
                Reference::Name(symbol) => self.define_name(symbol),
                Reference::Document(detail) => self.define_document_of(detail),
            }
        }
    }

    fn define_document_of(&mut self, detail: Detail) {
        if self.details.contains(&detail.bits()) {
            return;
        }
        let (details, worker, told_bytes) = (&mut self.details, &mut self.worker, &mut self.told_bytes);
        self.symbols.details().with_text(detail, |text| {
            if let (Some(text), Some(worker)) = (text, worker) {
                *told_bytes += text.len();
                // What is not remembered is told once more.
                if worker.define_detail(u128::from(detail.bits()), text.as_bytes())
                    && details.try_reserve(1).is_ok()
                {
                    details.insert(detail.bits());
                }
            }
        });
    }

    /// Lets the journal's thread forget what it was told of, once that is much; what records refer to from here on, it is told
    /// again.
    fn forget_now_and_then(&mut self) {
        let told = self.names.len() + self.details.len();
        if told < TOLD_MAX && self.told_bytes < TOLD_BYTES_MAX {
            return;
        }
        if let Some(worker) = &mut self.worker {
            worker.forget_definitions();
        }
        (self.names, self.details) = (HashSet::default(), HashSet::default());
        self.told_bytes = 0;
        self.settled.fill(Symbol::NONE);
    }

    #[inline]
    fn define_name(&mut self, symbol: Symbol) {
        let settled = &mut self.settled[symbol.bits() as usize % SETTLED];
        if symbol == Symbol::NONE || *settled == symbol {
            return;
        }
        *settled = symbol;
        if !self.names.contains(&symbol) {
            self.define_new_name(symbol);
        }
    }

    fn define_new_name(&mut self, symbol: Symbol) {
        let (names, worker, told_bytes) = (&mut self.names, &mut self.worker, &mut self.told_bytes);
        let settled = &mut self.settled[symbol.bits() as usize % SETTLED];
        self.symbols.with_name(symbol, |name| {
            if let (Some(name), Some(worker)) = (name, worker) {
                *told_bytes += name.len();
                if !worker.define(symbol, name) {
                    // It is tried again at the next event.
                    *settled = Symbol::NONE;
                } else if names.try_reserve(1).is_ok() {
                    names.insert(symbol);
                }
            }
        });
    }

    /// Lets symbols without a name be asked for again: when names have come into the table, and now and then, since their
    /// number may be seen before the names are.
    fn look_for_names(&mut self) {
        let ever = self.symbols.came();
        self.batches = self.batches.wrapping_add(1);
        if ever != self.names_ever || self.batches.is_multiple_of(SETTLED_FOR) {
            self.names_ever = ever;
            self.settled.fill(Symbol::NONE);
        }
    }

    /// Tells of new events that were lost since the last time.
    fn lost(
        &mut self,
        account: &JournalAccount,
        refused_new: u64,
        stall: Option<&str>,
    ) -> Result<(), Undelivered> {
        let failed = refused_new + account.lost - account.lost_duplicates;
        let events = failed - self.failed;
        self.failed = failed;
        if events == 0 {
            return Ok(());
        }
        let no_memory = "the system gave the journal no memory; give the process more";
        let behind = "the journal's thread was behind, or had no memory; use a faster disk, fewer events, or more memory";
        let behind = if account.lost_out_of_memory > 0 { no_memory } else { behind };
        let reason = stall.unwrap_or(behind);
        Err(Undelivered { events, reason: reason.to_owned() })
    }

    fn look(worker: &JournalWorker) -> JournalReport {
        JournalReport {
            account: worker.account(),
            watermark: worker.watermark(),
            refused: worker.refused(),
            stall: worker.stall(),
            closed: false,
        }
    }
}

impl Observer for JournalLog {
    type Report = JournalReport;

    fn interest(&self) -> Interest {
        Interest { kinds: self.select.kinds, duplicates: self.select.duplicates, scope: Scope::Whole }
    }

    fn start(&mut self, missed: u64) {
        self.missed = missed;
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        self.look_for_names();
        self.forget_now_and_then();
        let mut duplicates = 0_u64;
        for (at, (record, verdict)) in batch.records.iter().zip(batch.verdicts).enumerate() {
            if batch.selected >> at & 1 != 0 {
                self.define(record);
                duplicates |= u64::from(*verdict != Verdict::New) << at;
            }
        }
        let new = u64::from((batch.selected & mask(batch.records.len()) & !duplicates).count_ones());
        let Some(worker) = &mut self.worker else {
            let closed = "the journal is closed";
            // Events that tell of what failed at the end come now, and are not to hide it.
            let reason =
                self.told.as_ref().map_or_else(|| closed.to_owned(), |told| format!("{told}; {closed}"));
            return Err(Undelivered { events: new, reason });
        };
        self.handed += new;
        let refused = worker.append_selected(batch.records, batch.selected, duplicates);
        self.until_look -= 1;
        if refused == 0 && self.until_look > 0 {
            return Ok(());
        }
        self.until_look = LOOK_EVERY;
        let refused_new = worker.refused() - worker.refused_duplicates();
        let (account, stall) = (worker.account(), worker.stall());
        self.lost(&account, refused_new, stall.as_deref())
    }

    fn flush(&mut self) -> Result<(), Undelivered> {
        let Some(mut worker) = self.worker.take() else { return Ok(()) };
        self.put_lacking(&mut worker);
        let refused_new = worker.refused() - worker.refused_duplicates();
        let mut report = JournalReport {
            account: worker.account(),
            refused: worker.refused(),
            stall: worker.stall(),
            ..JournalReport::default()
        };
        let (ended, watermark) = worker.finish();
        report.watermark = watermark;
        let lost = match ended {
            Ok(account) => {
                report.account = account;
                report.closed = true;
                self.lost(&report.account, refused_new, report.stall.as_deref())
            }
            Err(WorkerError::Close(error)) => {
                report.stall = Some(error.to_string());
                report.account = *error.account;
                self.lost(&report.account, refused_new, report.stall.as_deref())
            }
            Err(error) => {
                // The thread died: what it last told of is all that is certain to be stored.
                report.stall = Some(error.to_string());
                let events = self.handed.saturating_sub(report.account.stored).saturating_sub(self.failed);
                Err(Undelivered { events, reason: error.to_string() })
            }
        };
        self.last = report;
        self.told = lost.as_ref().err().map(|undelivered| undelivered.reason.clone());
        lost
    }

    fn report(&self) -> JournalReport {
        self.worker.as_ref().map_or_else(|| self.last.clone(), JournalLog::look)
    }
}

impl std::fmt::Debug for JournalLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalLog")
            .field("worker", &self.worker)
            .field("select", &self.select)
            .finish_non_exhaustive()
    }
}
