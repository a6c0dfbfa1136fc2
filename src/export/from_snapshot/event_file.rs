//! `events.jsonl`: the observer that writes events as they come.

use crate::dedup::Verdict;
use crate::event::{Context, Contexts, KindSet, Symbols};
use crate::export::jsonl::{EventLines, IdLookup};
use crate::export::{FileError, ResultFile};
use crate::observe::{Batch, Interest, Observer, Scope, Undelivered};
use crate::pipeline::ObserverSetup;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of lines that an instance holds back before it writes.
const HELD_BYTES: usize = 1 << 16;

/// The file that all instances of an [`EventLog`] write.
///
/// Lines of one instance stay in order; with several workers, those of different entities mix.
#[derive(Clone)]
pub struct EventFile {
    shared: Arc<Mutex<Shared>>,
    elsewhere: Option<(Box<str>, IdLookup)>,
    within: Context,
}

struct Shared {
    /// `None` once it was committed.
    file: Option<ResultFile>,
    /// Observers that are there: they may hold lines back.
    writers: usize,
}

/// Why the file could not be completed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// An observer may still hold lines back.
    #[error("{}: {writers} observers still write it; shut the pipeline down, or remove them, and commit it then", path.display())]
    InUse {
        /// The file's path.
        path: PathBuf,
        /// How many: one a worker.
        writers: usize,
    },
    /// It could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl EventFile {
    /// Takes the file, new and empty.
    #[must_use]
    pub fn new(file: ResultFile) -> EventFile {
        let shared = Shared { file: Some(file), writers: 0 };
        EventFile { shared: Arc::new(Mutex::new(shared)), elsewhere: None, within: Context::NONE }
    }

    /// Writes a second id of each event that has one, under `member`; see [`EventLines::with_id_elsewhere`].
    #[must_use]
    pub fn with_id_elsewhere(mut self, member: &str, id: IdLookup) -> EventFile {
        self.elsewhere = Some((member.into(), id));
        self
    }

    /// Writes only events that were emitted within `outer`. To the account the others are handled as well.
    #[must_use]
    pub fn within(mut self, outer: Context) -> EventFile {
        self.within = outer;
        self
    }

    /// Makes the observer of one worker. With `duplicates` it writes these too.
    #[must_use]
    pub fn observer(&self, setup: ObserverSetup<'_>, duplicates: bool) -> EventLog {
        let schema = setup.schema;
        let kinds = |kind| Some((schema.name(kind)?, schema.fields(kind)?));
        let mut lines = EventLines::new(HeldLines(Vec::with_capacity(HELD_BYTES * 2)), kinds);
        lines = lines.with_contexts(Arc::clone(setup.contexts));
        if let Some((member, id)) = &self.elsewhere {
            lines = lines.with_id_elsewhere(member, Arc::clone(id));
        }
        self.lock().writers += 1;
        EventLog {
            file: self.clone(),
            lines,
            symbols: Arc::clone(setup.symbols),
            contexts: Arc::clone(setup.contexts),
            within: self.within,
            duplicates,
            held: 0,
        }
    }

    /// Completes the file, after the pipeline has been shut down or the observer was removed. A second time it does
    /// nothing.
    ///
    /// # Errors
    /// When an observer still writes it, after which it can be tried again, or a write failed, now or earlier.
    pub fn commit(&self) -> Result<(), CommitError> {
        let mut shared = self.lock();
        match &shared.file {
            Some(file) if shared.writers > 0 => {
                Err(CommitError::InUse { path: file.path(), writers: shared.writers })
            }
            Some(_) => Ok(shared.file.take().map_or(Ok(()), ResultFile::commit)?),
            None => Ok(()),
        }
    }

    /// Each change leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for EventFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFile").field("file", &self.lock().file).finish_non_exhaustive()
    }
}

/// Writes events as JSON, one a line, into an [`EventFile`].
pub struct EventLog {
    file: EventFile,
    lines: EventLines<HeldLines>,
    symbols: Arc<Symbols>,
    contexts: Arc<Contexts>,
    within: Context,
    duplicates: bool,
    /// New events among the lines held back.
    held: u64,
}

/// Lines that are held back. A line that there is no memory for is refused, whole.
struct HeldLines(Vec<u8>);

impl Write for HeldLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.try_reserve(line.len())?;
        self.0.extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl EventLog {
    fn write_held(&mut self) -> Result<(), Undelivered> {
        let events = std::mem::take(&mut self.held);
        let lines = &mut self.lines.get_mut().0;
        let written = match &mut self.file.lock().file {
            _ if lines.is_empty() => Ok(()),
            Some(file) => file.write_all(lines).map_err(|error| error.to_string()),
            None => Err("its file was committed before it came to be".to_owned()),
        };
        lines.clear();
        written.map_err(|reason| Undelivered { events, reason })
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        self.file.lock().writers -= 1;
    }
}

impl Observer for EventLog {
    type Report = ();

    fn interest(&self) -> Interest {
        Interest { kinds: KindSet::ALL, duplicates: self.duplicates, scope: Scope::Entity }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        let (mut failed, mut why) = (0, None);
        for (record, verdict) in batch.iter() {
            if !self.within.is_none() && !self.contexts.of(record).is_within(&self.within) {
                continue;
            }
            let new = u64::from(*verdict == Verdict::New);
            match self.lines.write(record, Some(*verdict), &self.symbols) {
                Ok(()) => self.held += new,
                // The next one may be shorter.
                Err(error) => (failed, why) = (failed + new, Some(error)),
            }
        }
        let written = if self.lines.get_mut().0.len() >= HELD_BYTES { self.write_held() } else { Ok(()) };
        match (why, written) {
            (None, written) => written,
            (Some(error), written) => {
                let events = failed + written.map_or_else(|undelivered| undelivered.events, |()| 0);
                Err(Undelivered { events, reason: format!("a line was not written: {error}") })
            }
        }
    }

    fn flush(&mut self) -> Result<(), Undelivered> {
        self.write_held()
    }

    fn report(&self) {}
}
