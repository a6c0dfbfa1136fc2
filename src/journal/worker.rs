//! A writer on a thread of its own, so that whoever hands records over never waits for a disk.

use crate::event::{Record, Symbol};
use crate::journal::durability::{Account, Durability, Marks};
use crate::journal::writer::{CloseError, JournalWriter, nanos};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Runs a [`JournalWriter`] on its own thread.
///
/// Records are copied into batches, and full batches go through a bounded queue to the thread, which writes them
/// and keeps the time: it ticks the writer, so syncs and retries need no call from outside. When the queue is
/// full, records are refused, counted, and the journal's headers say so: handing over never blocks.
///
/// What the [`Durability`] promises holds from the moment the thread has written, not from the moment of handing
/// over: [`JournalWorker::watermark`] says how far that is, and [`JournalWorker::flush`] waits for it.
#[derive(Debug)]
pub struct JournalWorker {
    commands: SyncSender<Command>,
    empty: Receiver<Vec<Record>>,
    filling: Vec<Record>,
    status: Arc<Mutex<Written>>,
    thread: JoinHandle<Result<Account, CloseError>>,
    refused: u64,
    refused_told: u64,
}

/// Why a worker did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The thread has ended.
    #[error("the journal's thread has ended early; close the journal to learn why")]
    Ended,
    /// The writer is in trouble; the records wait in memory.
    #[error("the journal is in trouble: {0}")]
    Trouble(String),
    /// The journal was not closed in order.
    #[error(transparent)]
    Close(#[from] CloseError),
}

#[derive(Default, Debug)]
struct Written {
    account: Account,
    watermark: Marks,
}

enum Command {
    Records(Vec<Record>),
    Define(Symbol, Box<str>),
    DefineDetail(u128, Box<[u8]>),
    Refused(u64),
    Flush(SyncSender<Result<(), String>>),
    Close,
}

/// Records in a batch: 256 KiB.
const BATCH_LEN: usize = 4096;

impl JournalWorker {
    /// Starts the thread. `clock` tells the time in nanoseconds since the Unix epoch; up to `queue_len` batches
    /// of 4,096 records wait for the disk.
    ///
    /// # Errors
    /// When the operating system has no thread to give.
    pub fn start(
        writer: JournalWriter,
        queue_len: usize,
        clock: impl FnMut() -> u64 + Send + 'static,
    ) -> std::io::Result<JournalWorker> {
        let (commands, inbox) = sync_channel(queue_len.max(1));
        let (recycle, empty) = sync_channel(queue_len.max(1));
        let status = Arc::new(Mutex::new(Written::default()));
        let shared = Arc::clone(&status);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || work(writer, clock, &inbox, &recycle, &shared))?;
        let filling = Vec::with_capacity(BATCH_LEN);
        Ok(JournalWorker { commands, empty, filling, status, thread, refused: 0, refused_told: 0 })
    }

    /// Hands over records; returns how many were refused because the queue is full. Never blocks.
    pub fn append(&mut self, mut records: &[Record]) -> u64 {
        let refused = self.refused;
        while !records.is_empty() {
            let (now, later) = records.split_at(records.len().min(BATCH_LEN - self.filling.len()));
            self.filling.extend_from_slice(now);
            records = later;
            if self.filling.len() == BATCH_LEN {
                self.hand_over();
            }
        }
        self.refused - refused
    }

    /// Hands over what has not filled a batch. Call it when there is nothing more to do for now.
    pub fn push(&mut self) {
        if !self.filling.is_empty() {
            self.hand_over();
        }
    }

    /// Defines a name before the records that are appended later. Waits while the queue is full.
    ///
    /// # Errors
    /// When the thread has ended. A collision is counted in [`Account::definitions_refused`].
    pub fn define(&mut self, symbol: Symbol, name: &str) -> Result<(), WorkerError> {
        self.send(Command::Define(symbol, name.into()))
    }

    /// Defines a document before the records that are appended later. Waits while the queue is full.
    ///
    /// # Errors
    /// As [`JournalWorker::define`].
    pub fn define_detail(&mut self, digest: u128, bytes: &[u8]) -> Result<(), WorkerError> {
        self.send(Command::DefineDetail(digest, bytes.into()))
    }

    /// Waits until everything handed over is written, and synced under [`Durability::PowerLoss`].
    ///
    /// # Errors
    /// When the thread has ended, or the disk does not take the records.
    pub fn flush(&mut self) -> Result<(), WorkerError> {
        let (done, answer) = sync_channel(1);
        self.send_filling()?;
        self.send(Command::Flush(done))?;
        answer.recv().map_err(|_| WorkerError::Ended)?.map_err(WorkerError::Trouble)
    }

    /// Returns up to where the promise of the [`Durability`] holds, as of the thread's last batch.
    #[must_use]
    pub fn watermark(&self) -> Marks {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).watermark.clone()
    }

    /// Returns the writer's account, as of the thread's last batch. What was refused here is not in `offered`.
    #[must_use]
    pub fn account(&self) -> Account {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).account
    }

    /// Returns how many records were refused because the queue was full.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Writes everything, ends the journal, and waits for the thread.
    ///
    /// # Errors
    /// When the journal could not be ended in order.
    pub fn close(mut self) -> Result<Account, WorkerError> {
        // If the thread has ended already, joining it tells why.
        let _ = self.send_filling();
        let _ = self.send(Command::Close);
        Ok(self.thread.join().map_err(|_| WorkerError::Ended)??)
    }

    /// Sends the batch if there is room for it.
    fn hand_over(&mut self) {
        if self.refused > self.refused_told
            && self.commands.try_send(Command::Refused(self.refused - self.refused_told)).is_ok()
        {
            self.refused_told = self.refused;
        }
        let batch = std::mem::take(&mut self.filling);
        self.filling = match self.commands.try_send(Command::Records(batch)) {
            Ok(()) => self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BATCH_LEN)),
            Err(TrySendError::Full(command) | TrySendError::Disconnected(command)) => {
                let Command::Records(mut batch) = command else { return };
                self.refused += batch.len() as u64;
                batch.clear();
                batch
            }
        };
    }

    fn send_filling(&mut self) -> Result<(), WorkerError> {
        let told = std::mem::replace(&mut self.refused_told, self.refused);
        if self.refused > told {
            self.send(Command::Refused(self.refused - told))?;
        }
        if !self.filling.is_empty() {
            let batch = std::mem::replace(&mut self.filling, Vec::with_capacity(BATCH_LEN));
            self.send(Command::Records(batch))?;
        }
        Ok(())
    }

    fn send(&mut self, command: Command) -> Result<(), WorkerError> {
        self.commands.send(command).map_err(|_| WorkerError::Ended)
    }
}

fn work(
    mut writer: JournalWriter,
    mut clock: impl FnMut() -> u64,
    inbox: &Receiver<Command>,
    recycle: &SyncSender<Vec<Record>>,
    status: &Mutex<Written>,
) -> Result<Account, CloseError> {
    let tick = match writer.durability() {
        Durability::PowerLoss { every } => {
            (every / 4).clamp(Duration::from_millis(1), Duration::from_millis(100))
        }
        Durability::Buffered | Durability::ProcessCrash => Duration::from_millis(100),
    };
    let mut told_ns = 0;
    loop {
        match inbox.recv_timeout(tick) {
            Ok(Command::Records(mut batch)) => {
                // The account has what is lost.
                let _ = writer.append(&batch);
                batch.clear();
                // A batch that finds no room is freed.
                let _ = recycle.try_send(batch);
            }
            // The account has what is refused.
            Ok(Command::Define(symbol, name)) => drop(writer.define(symbol, &name)),
            Ok(Command::DefineDetail(digest, bytes)) => drop(writer.define_detail(digest, &bytes)),
            Ok(Command::Refused(records)) => writer.note_upstream_loss(records),
            Ok(Command::Flush(done)) => {
                let result = writer.flush().map_err(ToString::to_string);
                tell(&writer, status);
                // Whoever asked may have gone.
                let _ = done.send(result);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Command::Close) | Err(RecvTimeoutError::Disconnected) => {
                let result = writer.close();
                let mut written = status.lock().unwrap_or_else(PoisonError::into_inner);
                written.account = match &result {
                    Ok(account) => *account,
                    Err(error) => *error.account,
                };
                return result;
            }
        }
        let now_ns = clock();
        writer.tick(now_ns);
        if now_ns.saturating_sub(told_ns) >= nanos(tick) {
            told_ns = now_ns;
            tell(&writer, status);
        }
    }
}

fn tell(writer: &JournalWriter, status: &Mutex<Written>) {
    let mut written = status.lock().unwrap_or_else(PoisonError::into_inner);
    written.account = writer.account();
    written.watermark.clone_from(writer.watermark());
}
