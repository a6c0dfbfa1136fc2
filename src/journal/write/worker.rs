//! A writer on a thread of its own, so that whoever hands records over never waits for a disk.

use crate::domain::Schema;
use crate::event::{Origin, Record, Symbol};
use crate::fork::Birthplace;
use crate::journal::format::definition::{Definition, SourceFrom};
use crate::journal::format::marks::Marks;
use crate::journal::write::batch::{BATCH_LEN, Batch};
use crate::journal::write::durability::{CloseError, Durability, JournalAccount};
use crate::journal::write::options::nanos;
use crate::journal::write::schema::WriterSchema;
use crate::journal::write::writer::JournalWriter;
use crate::observe::{mask, still_at_work};
use crate::sync::inside::Beats;
use crate::sync::lock;
use std::collections::TryReserveError;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// Runs a [`JournalWriter`] on its own thread.
///
/// Records are copied into batches, and full batches go through a bounded queue to the thread, which writes them
/// and keeps the time: it ticks the writer, so syncs and retries need no call from outside. When the queue is
/// full, or there is no memory for them, records are refused, counted, and the journal's headers say so: handing over never blocks.
///
/// What the [`Durability`] promises holds from the moment the thread has written, not from the moment of handing
/// over: [`JournalWorker::watermark`] says how far that is, and [`JournalWorker::flush`] waits for it.
#[derive(Debug)]
pub struct JournalWorker {
    commands: SyncSender<Command>,
    empty: Receiver<Batch>,
    /// What has not filled a batch. The thread takes it when it has nothing else to do, under this lock, so that
    /// nothing overtakes it.
    filling: Arc<Mutex<Batch>>,
    status: Arc<Mutex<Written>>,
    /// There until it is joined.
    thread: Option<JoinHandle<Result<JournalAccount, CloseError>>>,
    refused: u64,
    refused_duplicates: u64,
    refused_told: u64,
    /// Whose the records are that are handed over.
    origin: Origin,
    /// What the writer does.
    steps: Arc<Beats>,
    birthplace: Birthplace,
}

/// Why a worker did not do as told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The process is a child of the one in which the worker was started, and its thread is not here. Nothing was handed over.
    #[error("the journal was opened before this process was forked; open one of its own here")]
    Forked,
    /// The thread has ended.
    #[error("the journal's thread has ended early; close the journal to learn why")]
    Ended,
    /// The writer is in trouble; the records wait in memory.
    #[error("the journal is in stall: {0}")]
    WriteStall(String),
    /// The journal was not closed in order.
    #[error(transparent)]
    Close(#[from] CloseError),
}

#[derive(Default, Debug)]
struct Written {
    account: JournalAccount,
    watermark: Marks,
    stall: Option<String>,
}

enum Command {
    Batch(Batch),
    Refused(u64),
    Flush(SyncSender<Result<(), String>>),
    Close,
}

/// So often whoever waits for the thread looks what it does, at least.
const LOOK_MAX: Duration = Duration::from_millis(5);

/// Puts documents into a journal while a pipeline owns what writes its events: such as what is known only at the end
/// of a run. May be used from any thread.
#[derive(Clone, Debug, Default)]
pub struct JournalNotes(Option<(Weak<Mutex<Batch>>, Birthplace)>);

impl JournalNotes {
    /// Defines a document, as [`JournalWorker::define_detail`]; false when the journal is closed, there is no memory for it, and in
    /// a process that was forked since.
    ///
    /// A document that comes while the journal is being closed may be left out: put it before.
    #[must_use = "a closed journal takes nothing"]
    pub fn define_document(&self, key: u128, bytes: &[u8]) -> bool {
        self.put(|| Definition::of_document(key, bytes))
    }

    /// Says what the emitter of a source is named; false when the journal is closed.
    pub(super) fn define_source(&self, from: SourceFrom, name: &str) -> bool {
        self.put(|| Definition::of_source(from, name))
    }

    fn put(&self, definition: impl FnOnce() -> Result<Definition, TryReserveError>) -> bool {
        let here = self.0.as_ref().filter(|(_, birthplace)| birthplace.is_here());
        let Some(filling) = here.and_then(|(filling, _)| filling.upgrade()) else { return false };
        let definition = definition();
        lock(&filling).define(definition)
    }
}

impl JournalWorker {
    /// Starts the thread, once the writer knows whose records they are ([`JournalWriter::set_origin`]) or later, with
    /// [`JournalWorker::set_origin`]. `clock` tells the time in nanoseconds since the Unix epoch; up to `queue_len` batches
    /// of 4,096 records wait for the disk.
    ///
    /// # Errors
    /// When the operating system has no thread to give.
    pub fn start(
        writer: JournalWriter,
        queue_len: usize,
        clock: impl FnMut() -> u64 + Send + 'static,
    ) -> std::io::Result<JournalWorker> {
        let filling = Arc::new(Mutex::new(Batch::default()));
        let rest = Arc::clone(&filling);
        let (commands, inbox) = sync_channel(queue_len.max(1));
        let (recycle, empty) = sync_channel(queue_len.max(1));
        let status = Arc::new(Mutex::new(Written::default()));
        let shared = Arc::clone(&status);
        let (origin, steps) = (writer.origin(), Arc::clone(&writer.steps));
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || work(writer, clock, &inbox, &rest, &recycle, &shared))?;
        Ok(JournalWorker {
            commands,
            empty,
            filling,
            status,
            thread: Some(thread),
            refused: 0,
            refused_duplicates: 0,
            refused_told: 0,
            origin,
            steps,
            birthplace: Birthplace::here(),
        })
    }

    /// Hands over records, all of them first sightings; returns how many were refused because the queue is full.
    /// Never blocks.
    pub fn append(&mut self, records: &[Record]) -> u64 {
        self.append_marked(records, |_| false)
    }

    /// Hands over records of which `is_duplicate` tells, by index, whether they are later sightings of a known
    /// event; returns how many were refused. Never blocks.
    pub fn append_marked(&mut self, records: &[Record], is_duplicate: impl Fn(usize) -> bool) -> u64 {
        let refused = self.refused;
        for (part, records) in records.chunks(64).enumerate() {
            let mark = |at: usize| u64::from(is_duplicate(part * 64 + at)) << at;
            let duplicates = (0..records.len()).fold(0, |marks, at| marks | mark(at));
            self.append_selected(records, u64::MAX, duplicates);
        }
        self.refused - refused
    }

    /// Hands over those of at most 64 records whose bits are set in `selected`; those of later sightings are set in
    /// `duplicates`. Returns how many were refused. Never blocks.
    pub(super) fn append_selected(&mut self, records: &[Record], selected: u64, duplicates: u64) -> u64 {
        let refused = self.refused;
        let mut left = selected & mask(records.len());
        if !self.birthplace.is_here() {
            self.refused += u64::from(left.count_ones());
            self.refused_duplicates += u64::from((left & duplicates).count_ones());
            return self.refused - refused;
        }
        let filling = Arc::clone(&self.filling);
        let mut filling = lock(&filling);
        while left != 0 {
            let from = left.trailing_zeros();
            let room = BATCH_LEN.saturating_sub(filling.records.len());
            let len = ((left >> from).trailing_ones() as usize).min(room);
            let run = mask(len) << from;
            let from = from as usize;
            let Some(records) = records.get(from..from + len) else { break };
            self.put(&mut filling, records, (duplicates & run) >> from);
            left &= !run;
            if filling.records.len() >= BATCH_LEN {
                self.hand_over(&mut filling);
            }
        }
        self.refused - refused
    }

    /// Puts up to 64 records into the batch; where there is no memory for them, into another one, or they are refused.
    fn put(&mut self, filling: &mut Batch, records: &[Record], duplicates: u64) {
        if filling.push(records, duplicates).is_ok() {
            return;
        }
        if !filling.records.is_empty() {
            self.hand_over(filling);
        }
        if filling.push(records, duplicates).is_err() {
            self.refused += records.len() as u64;
            self.refused_duplicates += u64::from(duplicates.count_ones());
            filling.keep_contexts(records, self.origin);
        }
    }

    /// Hands over what has not filled a batch; returns how many records were refused. Never blocks. Without it,
    /// the thread takes them within 100 ms when it has nothing else to do.
    pub fn push(&mut self) -> u64 {
        if !self.birthplace.is_here() {
            return 0;
        }
        let refused = self.refused;
        let filling = Arc::clone(&self.filling);
        let mut filling = lock(&filling);
        if !filling.is_empty() {
            self.hand_over(&mut filling);
        }
        self.refused - refused
    }

    /// Says which pipeline the records come from that are handed over from now on.
    pub fn set_origin(&mut self, origin: Origin) {
        self.push();
        self.fill(|filling| filling.origin = Some(origin));
        self.origin = origin;
    }

    /// Says which kinds of records come from now on: [`JournalWriter::set_schema`].
    pub fn set_schema(&mut self, schema: &Schema) {
        self.push();
        let schema = Box::new(WriterSchema::of(schema));
        self.fill(|filling| filling.schema = Some(schema));
    }

    /// Lets the writer forget names and documents of records: [`JournalWriter::forget_definitions`]. Those that records refer to
    /// that are handed over from now on are to be defined again.
    pub fn forget_definitions(&mut self) {
        // What is handed over already keeps its definitions. Where it was refused, so are they.
        self.push();
        self.fill(|filling| {
            filling.forget = true;
            filling.forget_definitions();
        });
    }

    /// Returns how many of the refused records were later sightings.
    #[must_use]
    pub fn refused_duplicates(&self) -> u64 {
        self.refused_duplicates
    }

    /// Defines a name before the records that are handed over with it or later. Never blocks: definitions wait for
    /// the next batch that finds room. False when there is no memory for it. That is counted in
    /// [`JournalAccount::definitions_refused`], as is a collision, which only the thread finds.
    pub fn define(&mut self, symbol: Symbol, name: &str) -> bool {
        self.fill(|filling| filling.define(Definition::of_name(symbol, name)))
    }

    /// Defines a document, as [`JournalWorker::define`] a name.
    pub fn define_detail(&mut self, digest: u128, bytes: &[u8]) -> bool {
        self.fill(|filling| filling.define(Definition::of_document(digest, bytes)))
    }

    /// Changes what is handed over next; nothing in a child of the process, where the lock may be held for ever.
    fn fill<T: Default>(&self, fill: impl FnOnce(&mut Batch) -> T) -> T {
        if self.birthplace.is_here() { fill(&mut lock(&self.filling)) } else { T::default() }
    }

    /// Returns what the thread has told last; nothing in a child of the process.
    fn told<T: Default>(&self, of: impl FnOnce(&Written) -> T) -> T {
        if self.birthplace.is_here() { of(&lock(&self.status)) } else { T::default() }
    }

    /// Returns a handle through which documents come into the journal from elsewhere.
    #[must_use]
    pub fn notes(&self) -> JournalNotes {
        JournalNotes(Some((Arc::downgrade(&self.filling), self.birthplace)))
    }

    /// Waits until everything handed over is written, and synced under [`Durability::PowerLoss`].
    ///
    /// # Errors
    /// When the thread has ended, or the disk does not take the records.
    pub fn flush(&mut self) -> Result<(), WorkerError> {
        if !self.birthplace.is_here() {
            return Err(WorkerError::Forked);
        }
        let (done, answer) = sync_channel(1);
        self.send_filling()?;
        self.send(Command::Flush(done))?;
        let mut steps = self.steps.count();
        loop {
            match answer.recv_timeout(LOOK_MAX) {
                Ok(flushed) => return flushed.map_err(WorkerError::WriteStall),
                Err(RecvTimeoutError::Disconnected) => return Err(WorkerError::Ended),
                Err(RecvTimeoutError::Timeout) => self.tell_steps(&mut steps),
            }
        }
    }

    /// Returns up to where the promise of the [`Durability`] holds, as of the thread's last batch.
    #[must_use]
    pub fn watermark(&self) -> Marks {
        self.told(|written| written.watermark.clone())
    }

    /// Returns the writer's account, as of the thread's last batch. What was refused here is not in `offered`.
    #[must_use]
    pub fn account(&self) -> JournalAccount {
        self.told(|written| written.account)
    }

    /// Says what kept the writer from writing, as of the thread's last batch.
    #[must_use]
    pub fn stall(&self) -> Option<String> {
        self.told(|written| written.stall.clone())
    }

    /// Returns how many records were refused because the queue was full, or there was no memory for them.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Writes everything, ends the journal, and waits for the thread.
    ///
    /// # Errors
    /// When the journal could not be ended in order.
    pub fn close(self) -> Result<JournalAccount, WorkerError> {
        self.finish().0
    }

    /// As [`JournalWorker::close`], with the last watermark.
    pub(super) fn finish(mut self) -> (Result<JournalAccount, WorkerError>, Marks) {
        if !self.birthplace.is_here() {
            return (Err(WorkerError::Forked), Marks::default());
        }
        // If the thread has ended already, joining it tells why.
        let _ = self.send_filling();
        let _ = self.send(Command::Close);
        let Some(thread) = self.thread.take() else { return (Err(WorkerError::Ended), Marks::default()) };
        let (mut steps, mut rest) = (self.steps.count(), Duration::from_micros(50));
        while !thread.is_finished() {
            std::thread::sleep(rest);
            rest = (rest * 2).min(LOOK_MAX);
            self.tell_steps(&mut steps);
        }
        let ended = match thread.join() {
            Ok(ended) => ended.map_err(WorkerError::Close),
            Err(_) => Err(WorkerError::Ended),
        };
        let watermark = std::mem::take(&mut lock(&self.status).watermark);
        (ended, watermark)
    }

    /// Says, where the thread has done something since, that whoever waits for it here is at work.
    fn tell_steps(&self, known: &mut u64) {
        let steps = self.steps.count();
        if std::mem::replace(known, steps) != steps {
            still_at_work();
        }
    }

    /// Sends the batch if there is room for it.
    fn hand_over(&mut self, filling: &mut Batch) {
        if self.refused > self.refused_told
            && self.commands.try_send(Command::Refused(self.refused - self.refused_told)).is_ok()
        {
            self.refused_told = self.refused;
        }
        let batch = std::mem::take(filling);
        *filling = match self.commands.try_send(Command::Batch(batch)) {
            Ok(()) => self.empty.try_recv().unwrap_or_default(),
            Err(TrySendError::Full(command) | TrySendError::Disconnected(command)) => {
                let Command::Batch(mut batch) = command else { return };
                self.refused += batch.records.len() as u64;
                self.refused_duplicates +=
                    batch.duplicates.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
                // The definitions stay: later records may need them. So does in which contexts these are.
                let records = std::mem::take(&mut batch.records);
                batch.keep_contexts(&records, self.origin);
                batch.records = records;
                batch.clear_records();
                batch
            }
        };
    }

    fn send_filling(&mut self) -> Result<(), WorkerError> {
        let told = std::mem::replace(&mut self.refused_told, self.refused);
        if self.refused > told {
            self.send(Command::Refused(self.refused - told))?;
        }
        let batch = std::mem::take(&mut *lock(&self.filling));
        if !batch.is_empty() {
            self.send(Command::Batch(batch))?;
        }
        Ok(())
    }

    fn send(&mut self, command: Command) -> Result<(), WorkerError> {
        self.commands.send(command).map_err(|_| WorkerError::Ended)
    }
}

impl Drop for JournalWorker {
    fn drop(&mut self) {
        if !self.birthplace.is_here() {
            // The parent's: to drop an end of a channel takes its lock, which another thread may have held.
            std::mem::forget(std::mem::replace(&mut self.commands, sync_channel(1).0));
            std::mem::forget(std::mem::replace(&mut self.empty, sync_channel(1).1));
            std::mem::forget(self.thread.take());
        }
    }
}

fn work(
    mut writer: JournalWriter,
    mut clock: impl FnMut() -> u64,
    inbox: &Receiver<Command>,
    filling: &Mutex<Batch>,
    recycle: &SyncSender<Batch>,
    status: &Mutex<Written>,
) -> Result<JournalAccount, CloseError> {
    let tick = match writer.durability() {
        Durability::PowerLoss { every } => {
            (every / 4).clamp(Duration::from_millis(1), Duration::from_millis(100))
        }
        Durability::Buffered | Durability::ProcessCrash => Duration::from_millis(100),
    };
    let mut told_ns = 0;
    loop {
        // With nothing else to do, ended segments are compressed, a piece at a time.
        let wait = if writer.has_to_compress() { Duration::ZERO } else { tick };
        let command = match inbox.recv_timeout(wait) {
            Ok(command) => command,
            Err(RecvTimeoutError::Timeout) => {
                writer.compress_some();
                let mut filling = lock(filling);
                // Batches are sent under this lock: with none there, what is filling comes next.
                inbox.try_recv().unwrap_or_else(|_| Command::Batch(std::mem::take(&mut filling)))
            }
            Err(RecvTimeoutError::Disconnected) => {
                append(&mut writer, &mut lock(filling));
                Command::Close
            }
        };
        match command {
            Command::Batch(mut batch) => {
                append(&mut writer, &mut batch);
                // A batch that finds no room is freed.
                let _ = recycle.try_send(batch);
            }
            Command::Refused(records) => writer.note_upstream_loss(records),
            Command::Flush(done) => {
                let result = writer.flush().map_err(ToString::to_string);
                tell(&writer, status);
                // Whoever asked may have gone.
                let _ = done.send(result);
            }
            Command::Close => {
                let result = writer.end();
                tell(&writer, status);
                return result;
            }
        }
        let now_ns = clock();
        writer.tick(now_ns);
        if now_ns.saturating_sub(told_ns) >= nanos(tick) {
            // The first records are told of at once.
            told_ns = if writer.account().stored > 0 { now_ns } else { 0 };
            tell(&writer, status);
        }
    }
}

/// Makes the batch's definitions and appends its records; leaves it empty.
fn append(writer: &mut JournalWriter, batch: &mut Batch) {
    if let Some(origin) = batch.origin.take() {
        writer.set_origin(origin);
    }
    if let Some(schema) = batch.schema.take() {
        writer.take_schema(*schema);
    }
    if std::mem::take(&mut batch.forget) {
        writer.forget_definitions();
    }
    writer.note_definitions_refused(std::mem::take(&mut batch.definitions_refused));
    for definition in batch.definitions.drain(..) {
        // The account has what is refused.
        let _ = match definition {
            Definition::Name(symbol, name) => writer.define(symbol, &name),
            Definition::Detail(digest, bytes) => writer.define_detail(digest, &bytes),
            Definition::Source(from, name) => writer.define_source(from, &name),
            Definition::Context(from, detail) => Ok(writer.define_context(from, detail)),
        };
    }
    if !batch.records.is_empty() {
        // The account has what is lost.
        let _ = writer.append_marked(&batch.records, |at| batch.is_duplicate(at));
    }
    batch.clear_records();
}

fn tell(writer: &JournalWriter, status: &Mutex<Written>) {
    let mut written = lock(status);
    written.account = writer.account();
    // Where there is no memory for it, it is told later: what was told holds.
    let _ = written.watermark.copy_from(writer.watermark());
    written.stall = writer.stall().map(ToString::to_string);
}
