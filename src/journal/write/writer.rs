//! The writer: takes records and definitions, fills blocks, and answers for every record it was given.

use crate::directory::{Directory, size_hint};
use crate::domain::Schema;
use crate::event::{Detail, KindSet, Origin, Record, Symbol};
use crate::journal::format::block::Block;
use crate::journal::format::definition::SourceFrom;
use crate::journal::format::marks::Marks;
use crate::journal::format::select::Select;
use crate::journal::format::{Position, RunId, Totals};
use crate::journal::read::lacking;
use crate::journal::storage::{DirStorage, Storage, lock};
use crate::journal::write::definitions::Definitions;
use crate::journal::write::durability::{CloseError, Durability, JournalAccount};
use crate::journal::write::losses::Losses;
use crate::journal::write::options::{DefineError, OpenError, Options, nanos};
use crate::journal::write::queue::BlockQueue;
use crate::journal::write::resume::resume;
use crate::journal::write::schema::WriterSchema;
use crate::journal::write::segments::Segments;
use crate::sync::inside::Beats;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Writes a journal.
///
/// A plain object without threads: whoever calls it pays for the write. [`JournalWorker`](crate::journal::JournalWorker) runs one on a
/// thread of its own. It never panics on disk trouble and never stops taking records: see
/// [`JournalWriter::stall`].
///
/// Dropping a writer that was not closed is like killing its process.
pub struct JournalWriter {
    pub(super) options: Options,
    pub(super) run: RunId,
    /// Of the records in the block being filled.
    origin: Origin,
    pub(super) now_ns: u64,
    pub(super) queue: BlockQueue,
    pub(super) definitions: Definitions,
    pub(super) losses: Losses,
    pub(super) segments: Segments,
    pub(super) progress: Progress,
    pub(super) account: JournalAccount,
    /// Of the lost records: how many `append` has told of.
    lost_told: u64,
    pub(super) stall: Option<WriteStall>,
    /// When the writer last looked for its files.
    pub(super) looked_ns: u64,
    /// Blocks written, syncs and pieces compressed: told to whoever waits for the writer.
    pub(super) steps: Arc<Beats>,
}

/// What is in the journal, and how much of it is synced.
pub(super) struct Progress {
    pub(super) stored: Marks,
    pub(super) durable: Marks,
    pub(super) synced: Position,
    /// Totals of the journal before this writer.
    pub(super) base: Totals,
}

impl Progress {
    /// Makes room for the marks of the block's sources, so that they can be told once it is written.
    pub(super) fn reserve(&mut self, block: &Block) -> io::Result<()> {
        if let Some(last) = block.spans().iter().map(|span| span.source).max() {
            self.stored.reserve(last)?;
            self.durable.reserve(last)?;
        }
        Ok(())
    }
}

/// What keeps a writer from writing. It goes on trying, and holds records in memory meanwhile; unless its open segment or
/// its lock was removed, when it stops for good.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write the journal {path} since {since_ns} ns after 1970: {source}{}{}",
    size_hint(source),
    if *for_good { "" } else { "; free space or repair the disk, writing then resumes by itself" }
)]
pub struct WriteStall {
    /// The journal's directory.
    pub path: std::path::PathBuf,
    /// When it began, ns since the Unix epoch.
    pub since_ns: u64,
    /// When the writer tries again, unless it is told to flush before.
    pub(super) again_ns: u64,
    /// Nothing will be written any more: a file that the writer needs was removed.
    pub(super) for_good: bool,
    /// What the operating system said last.
    pub source: io::Error,
}

/// What became of the records given to [`JournalWriter::append`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use = "records may wait in memory or be lost"]
pub struct Appended {
    /// Records lost since the last `append` returned: not written, and no longer held, or written into files that somebody
    /// has removed. The journal says so when it can be written again.
    pub lost: u64,
    /// Records in memory after this call that wait for the disk; 0 unless the writer is in trouble.
    pub waiting: u64,
}

/// How long after an error the writer tries again by itself.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(100);

impl JournalWriter {
    /// Opens the journal in the directory `path` for writing and takes its lock: creates it, or resumes the
    /// run that is there with a new segment.
    ///
    /// `run` names the run; draw it at random for a new one. `now_ns` counts nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// When an option is out of range, another writer has the journal, it is of another run, or the directory
    /// cannot be used.
    pub fn open(path: &Path, run: RunId, options: Options, now_ns: u64) -> Result<JournalWriter, OpenError> {
        options.check()?;
        let io = |action| move |source| OpenError::Io { action, path: path.to_owned(), source };
        // The process may go elsewhere.
        let path = &*std::path::absolute(path).map_err(io("find"))?;
        let io = |action| move |source| OpenError::Io { action, path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(io("create"))?;
        let dir = Directory::open(path).map_err(io("open"))?;
        let lock = lock::acquire(&dir, now_ns)
            .map_err(io("lock"))?
            .map_err(|holder| OpenError::Locked { path: path.to_owned(), holder })?;
        let mut writer = JournalWriter::over(Box::new(DirStorage::of_existing(dir)), run, options, now_ns)?;
        writer.segments.hold(lock);
        Ok(writer)
    }

    /// Opens the journal in `storage`, like [`JournalWriter::open`] but without a lock.
    ///
    /// # Errors
    /// As [`JournalWriter::open`].
    pub fn over(
        storage: Box<dyn Storage>,
        run: RunId,
        options: Options,
        now_ns: u64,
    ) -> Result<JournalWriter, OpenError> {
        options.check()?;
        let resume = resume(&*storage, run, now_ns)?;
        let (synced, base) = (resume.synced, resume.totals);
        let path = storage.path().to_owned();
        let no_memory = |source| OpenError::Io { action: "have memory to write", path: path.clone(), source };
        let mut writer = JournalWriter {
            queue: BlockQueue::new(options.block_len).map_err(no_memory)?,
            definitions: Definitions::new().map_err(no_memory)?,
            losses: Losses::default(),
            segments: Segments::behind(storage, resume, options.compress.is_some()),
            progress: Progress { stored: Marks::default(), durable: Marks::default(), synced, base },
            account: JournalAccount::default(),
            lost_told: 0,
            stall: None,
            looked_ns: now_ns,
            steps: Arc::default(),
            options,
            run,
            origin: Origin::random(),
            now_ns,
        };
        writer.definitions.begin_origin(writer.origin);
        if let Some((key, text)) = lacking::selection_document(&writer.options.select) {
            // It is the first one, so that it is not refused.
            let _ = writer.define_detail(key, &text);
        }
        writer.begin_resumed().map_err(|source| {
            let path = writer.segments.storage.path().to_owned();
            OpenError::Io { action: "begin a segment of", path, source }
        })?;
        Ok(writer)
    }

    /// Says which pipeline the records come from that are appended from now on. Until then it is none that any other has:
    /// the writer draws an origin of its own. Blocks say whose their records are, so this ends the block that is being filled.
    pub fn set_origin(&mut self, origin: Origin) {
        if origin != self.origin {
            self.end_block();
            self.origin = origin;
            self.definitions.begin_origin(origin);
        }
    }

    /// Appends records, all of them first sightings, in the order in which each source sent them.
    ///
    /// What is promised when it returns is the [`Durability`]'s matter.
    pub fn append(&mut self, records: &[Record]) -> Appended {
        self.account.offered += records.len() as u64;
        if self.options.select.kinds == KindSet::ALL {
            self.fill(records, 0, &|_| false);
        } else {
            let kinds = self.options.select.kinds;
            self.fill_selected(records, |_, record| kinds.contains(record.kind()), |_| false);
        }
        self.appended()
    }

    /// Appends records of which `is_duplicate` tells, by index, whether they are later sightings of a known
    /// event.
    pub fn append_marked(&mut self, records: &[Record], is_duplicate: impl Fn(usize) -> bool) -> Appended {
        self.account.offered += records.len() as u64;
        let select = self.options.select;
        if select == Select::ALL {
            self.fill(records, 0, &is_duplicate);
        } else {
            let selects = |at: usize, record: &Record| {
                select.kinds.contains(record.kind()) && (select.duplicates || !is_duplicate(at))
            };
            self.fill_selected(records, selects, &is_duplicate);
        }
        self.appended()
    }

    /// Says which kinds of records come, at first those of this crate: where their payloads refer to names and documents, and
    /// how their domains are defined. The journal has the definition of a domain where it has records of it.
    pub fn set_schema(&mut self, schema: &Schema) {
        self.take_schema(WriterSchema::of(schema));
    }

    pub(super) fn take_schema(&mut self, schema: WriterSchema) {
        self.definitions.set_schema(schema);
    }

    /// Counts `definitions` that never came here, since there was no memory for them.
    pub(super) fn note_definitions_refused(&mut self, definitions: u64) {
        self.account.definitions_refused += definitions;
    }

    /// Defines `symbol` as `name`, before any record that is appended later. `Ok(false)` when the writer has the definition.
    ///
    /// The writer keeps a copy, and writes it into each segment with a record that refers to it, so that a segment holds what
    /// its records use, and can be read alone. See [`JournalWriter::forget_definitions`].
    ///
    /// # Errors
    /// When the symbol has another name, or the name is longer than [`Symbols::NAME_LEN_MAX`](crate::event::Symbols::NAME_LEN_MAX).
    pub fn define(&mut self, symbol: Symbol, name: &str) -> Result<bool, DefineError> {
        let result = self.definitions.define_name(symbol, name);
        self.defined(result)
    }

    /// Defines the document behind `digest`, before any record that is appended later. `Ok(false)` when the writer has it.
    ///
    /// Documents above `u64::MAX` are no events', but the journal's own, and stand in each of its segments.
    ///
    /// # Errors
    /// When the digest has another document, or this one is longer than [`Definition::DETAIL_LEN_MAX`](crate::journal::Definition::DETAIL_LEN_MAX).
    pub fn define_detail(&mut self, digest: u128, bytes: &[u8]) -> Result<bool, DefineError> {
        let result = self.definitions.define_detail(digest, bytes);
        self.defined(result)
    }

    /// Says what the emitter is named whose records a source's are, from a number on; before any of them is appended. `Ok(false)`
    /// when they are of another [origin](JournalWriter::set_origin) than those that come.
    ///
    /// The writer keeps the last name of each source, and writes it into each segment with records of the source.
    ///
    /// # Errors
    /// When the name is longer than [`Symbols::NAME_LEN_MAX`](crate::event::Symbols::NAME_LEN_MAX).
    pub fn define_source(&mut self, from: SourceFrom, name: &str) -> Result<bool, DefineError> {
        self.seal_behind(from.source);
        let result = self.definitions.define_source(from, name);
        self.defined(result)
    }

    /// Says in which context a source's records are, from a number on; the document behind `detail` is defined before, and
    /// [`Detail::NONE`] is no context. `false` when they are of another [origin](JournalWriter::set_origin) than those that come.
    ///
    /// Records of the kind [`ContextEntered`](crate::emit::ContextEntered) say so themselves; this is for those that never came. The
    /// writer keeps the last context of each source, and writes it into each segment with records of the source before its own
    /// records say another one.
    pub fn define_context(&mut self, from: SourceFrom, detail: Detail) -> bool {
        self.seal_behind(from.source);
        self.definitions.define_context(from, detail)
    }

    /// Forgets the names and documents that records refer to: those that come from now on refer to none until they are defined
    /// again. Who defines ever new ones calls this now and then, so that memory stays bounded.
    pub fn forget_definitions(&mut self) {
        self.definitions.forget();
    }

    /// Counts `records` that were lost before they reached the journal; every later block's header says so.
    pub fn note_upstream_loss(&mut self, records: u64) {
        self.account.lost_upstream += records;
    }

    /// Tells the writer the time, ns since the Unix epoch, and does what is due: flush, sync, rotation, another
    /// try after an error.
    pub fn tick(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        if self.is_stopped() {
            self.segments.cut_suspects(&mut self.account);
            return;
        }
        self.look_now_and_then();
        let waits_since = self.queue.waits_since_ns();
        let waited_ns = waits_since.map_or(0, |since| self.now_ns.saturating_sub(since));
        let (due, sync) = match self.options.durability {
            Durability::Buffered => (nanos(self.options.flush_after), false),
            Durability::ProcessCrash => (0, false),
            // Half of the time is left for the next tick and for the sync itself.
            Durability::PowerLoss { every } => (nanos(every) / 2, true),
        };
        if waits_since.is_some() && waited_ns >= due && self.may_try() {
            self.seal();
            self.deliver(sync);
        } else if self.stall.is_some() && self.may_try() {
            self.deliver(sync);
        }
        self.rotate_if_old();
    }

    /// Compresses a piece of the oldest ended segment that is not compressed yet, when [`Options::compress`] asks for
    /// it; returns whether more is left to do.
    ///
    /// A piece is about as much as a block, and a segment's last one is a sync: call it when there is nothing else to
    /// do. [`JournalWriter::close`] does all that is left. On an error, which the account counts, the segment stays as
    /// it is, and so does one that is damaged.
    pub fn compress_some(&mut self) -> bool {
        #[cfg(feature = "zstd")]
        if self.stall.is_none() {
            self.segments.compress_piece(&self.options, self.run, &mut self.account);
            self.steps.beat();
        }
        self.has_to_compress()
    }

    /// Tells whether an ended segment waits to be compressed.
    pub(super) fn has_to_compress(&self) -> bool {
        #[cfg(feature = "zstd")]
        let waits = self.stall.is_none() && self.segments.has_to_compress();
        #[cfg(not(feature = "zstd"))]
        let waits = false;
        waits
    }

    /// Writes everything that is held, and syncs it under [`Durability::PowerLoss`].
    ///
    /// # Errors
    /// When the disk does not take it; the records stay held.
    pub fn flush(&mut self) -> Result<(), &WriteStall> {
        self.make_room();
        self.seal();
        self.deliver(matches!(self.options.durability, Durability::PowerLoss { .. }));
        match &self.stall {
            None => Ok(()),
            Some(stall) => Err(stall),
        }
    }

    /// Writes everything, syncs it whatever the durability, and ends the journal in order. Then compresses what is to
    /// be compressed and is not yet, which may take as long as the journal is large.
    ///
    /// # Errors
    /// When the disk does not take it. Records that could not be written are then counted lost.
    pub fn close(mut self) -> Result<JournalAccount, CloseError> {
        self.end()
    }

    /// Ends the journal; nothing may be appended after.
    pub(super) fn end(&mut self) -> Result<JournalAccount, CloseError> {
        self.make_room();
        self.seal();
        match self.finish() {
            Ok(()) => {
                // The journal is whole, whatever becomes of this.
                while self.compress_some() {}
                Ok(self.account())
            }
            Err(source) => {
                self.give_up();
                Err(CloseError { source, account: Box::new(self.account()) })
            }
        }
    }

    /// Returns up to which record of which source the [`Durability`]'s promise holds now: under
    /// [`Durability::PowerLoss`] what is synced, under [`Durability::ProcessCrash`] what is in the page cache,
    /// under [`Durability::Buffered`] nothing. Nothing either under [`Durability::PowerLoss`] as long as the journal has an
    /// earlier segment that could not be synced: what lies behind it goes with it.
    #[must_use]
    pub fn watermark(&self) -> &Marks {
        static NOTHING: Marks = Marks::NONE;
        match self.options.durability {
            Durability::ProcessCrash => &self.progress.stored,
            Durability::PowerLoss { .. } if self.segments.has_doubtful() => &NOTHING,
            Durability::Buffered | Durability::PowerLoss { .. } => &self.progress.durable,
        }
    }

    /// Says what keeps the writer from writing, if anything does.
    ///
    /// In trouble, the writer holds records in memory up to [`Options::held_bytes_max`]; then the newest are
    /// lost, counted, and entered in the journal's next loss block. It tries again every 100 ms (by the time
    /// that [`JournalWriter::tick`] tells) and at every flush.
    #[must_use]
    pub fn stall(&self) -> Option<&WriteStall> {
        self.stall.as_ref()
    }

    /// Returns where the records are.
    #[must_use]
    pub fn account(&self) -> JournalAccount {
        JournalAccount {
            pending: self.queue.pending(),
            definitions_refused: self.account.definitions_refused + self.definitions.refused(),
            ..self.account
        }
    }

    /// Returns what the journal promises.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.options.durability
    }

    /// Returns whose the records are that are appended.
    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// Returns the run.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.run
    }

    /// Fills in `records`, of which the first has the index `at` in the caller's batch.
    fn fill(&mut self, mut records: &[Record], mut at: usize, is_duplicate: &impl Fn(usize) -> bool) {
        while !records.is_empty() {
            let is_duplicate = |within: usize| is_duplicate(at + within);
            let taken =
                self.queue.fill(records, self.origin, self.now_ns, &mut self.definitions, is_duplicate);
            at += taken;
            records = records.get(taken..).unwrap_or_default();
            if !records.is_empty() || self.queue.is_filled() {
                self.end_block();
            }
        }
    }

    /// Fills in runs of neighbours that are selected.
    fn fill_selected(
        &mut self,
        records: &[Record],
        mut selects: impl FnMut(usize, &Record) -> bool,
        is_duplicate: impl Fn(usize) -> bool,
    ) {
        let mut start = 0;
        for (at, record) in records.iter().enumerate() {
            if !selects(at, record) {
                self.fill(records.get(start..at).unwrap_or_default(), start, &is_duplicate);
                self.account.skipped += 1;
                start = at + 1;
            }
        }
        self.fill(records.get(start..).unwrap_or_default(), start, &is_duplicate);
    }

    fn appended(&mut self) -> Appended {
        if self.options.durability == Durability::ProcessCrash && self.queue.is_filling() && self.may_try() {
            self.seal();
            self.deliver(false);
        }
        if self.is_stopped() {
            self.lose_held();
        }
        let waiting = if self.stall.is_some() { self.account().pending } else { 0 };
        let told = std::mem::replace(&mut self.lost_told, self.account.lost);
        Appended { lost: self.account.lost - told, waiting }
    }

    fn defined(&mut self, result: Result<bool, DefineError>) -> Result<bool, DefineError> {
        match result {
            Ok(is_new) => self.account.definitions += u64::from(is_new),
            Err(_) => self.account.definitions_refused += 1,
        }
        result
    }

    /// Ends the block being filled where it has records of `source`: what is said of that now holds for later ones.
    fn seal_behind(&mut self, source: u16) {
        if self.queue.is_filling_of(source) {
            self.end_block();
        }
    }

    /// Ends the block being filled, and writes it: blocks that wait take their memory however few records they have.
    fn end_block(&mut self) {
        self.seal();
        if self.stall.is_none() || self.may_try() {
            self.deliver(false);
        }
    }

    /// Moves the block being filled into the queue, and makes room when too much is held.
    fn seal(&mut self) {
        let sealed = self.queue.seal().or_else(|_| {
            // What is written, and synced where it waits for that, can be filled again.
            if self.stall.is_none() || self.may_try() {
                self.deliver(self.queue.has_written());
            }
            self.queue.seal()
        });
        match sealed {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => return self.lose_filling(),
        }
        let limit = self.options.held_bytes_max;
        if self.queue.held_bytes() > limit && self.queue.has_written() && self.stall.is_none() {
            self.deliver(true);
        }
        while self.queue.held_bytes() > limit && self.lose_newest() {}
    }

    /// Tries to write what waits, before more is held and the newest would be lost.
    fn make_room(&mut self) {
        if self.stall.is_some() {
            self.deliver(false);
        }
    }

    /// Counts the block being filled as lost: there is no memory for another one.
    fn lose_filling(&mut self) {
        let (losses, account) = (&mut self.losses, &mut self.account);
        self.queue.drop_filling(|block| {
            lose(block, losses, account);
            account.lost_out_of_memory += block.records() as u64;
        });
        self.tell_loss();
    }

    /// Counts the newest block that is not written as lost. False when there is none.
    fn lose_newest(&mut self) -> bool {
        let (losses, account) = (&mut self.losses, &mut self.account);
        let is_lost = self.queue.drop_newest(|block| lose(block, losses, account));
        if is_lost {
            self.tell_loss();
        }
        is_lost
    }

    fn tell_loss(&mut self) {
        if let Some(segment) = &mut self.segments.open {
            segment.loss_written = false;
        }
    }

    fn give_up(&mut self) {
        self.lose_held();
        self.segments.cut_suspects(&mut self.account);
    }

    /// Counts what waits to be written as lost; what waits for a sync is no longer held.
    pub(super) fn lose_held(&mut self) {
        self.queue.release_written(|_| {});
        self.seal();
        while self.lose_newest() {}
    }

    fn may_try(&self) -> bool {
        self.stall.as_ref().is_none_or(|stall| !stall.for_good && self.now_ns >= stall.again_ns)
    }

    pub(super) fn enter_trouble(&mut self, source: io::Error) {
        let since_ns = self.stall.as_ref().map_or(self.now_ns, |stall| stall.since_ns);
        let again_ns = self.now_ns.saturating_add(nanos(TRY_AGAIN_AFTER));
        let (path, for_good) = (self.segments.storage.path().to_owned(), false);
        self.stall = Some(WriteStall { path, since_ns, again_ns, for_good, source });
    }
}

fn lose(block: &Block, losses: &mut Losses, account: &mut JournalAccount) {
    losses.add(block);
    account.lost += block.records() as u64;
    account.lost_duplicates += block.duplicates;
}

impl std::fmt::Debug for JournalWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalWriter")
            .field("path", &self.segments.storage.path())
            .field("run", &self.run)
            .field("account", &self.account())
            .finish_non_exhaustive()
    }
}
