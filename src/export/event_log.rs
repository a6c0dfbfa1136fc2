//! `events.jsonl`: the observer that writes events as they come.

use crate::dedup::Verdict;
use crate::event::{Context, Contexts, KindSet, Symbols};
use crate::export::jsonl::{EventLines, IdElsewhere};
use crate::export::{FileError, ResultFile};
use crate::observe::{Batch, Interest, Observer, Scope, Undelivered};
use crate::pipeline::Setup;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of lines that an instance holds back before it writes.
const HELD_BYTES: usize = 1 << 16;

/// The file that all instances of an [`EventLog`] write.
///
/// Lines of one instance stay in order; with several workers, those of different entities mix.
#[derive(Clone)]
pub struct EventFile {
    file: Arc<Mutex<Option<ResultFile>>>,
    elsewhere: Option<(Box<str>, IdElsewhere)>,
    within: Context,
}

impl EventFile {
    /// Takes the file, new and empty.
    #[must_use]
    pub fn new(file: ResultFile) -> EventFile {
        EventFile { file: Arc::new(Mutex::new(Some(file))), elsewhere: None, within: Context::NONE }
    }

    /// Writes a second id of each event that has one, under `member`; see [`EventLines::with_id_elsewhere`].
    #[must_use]
    pub fn with_id_elsewhere(mut self, member: &str, id: IdElsewhere) -> EventFile {
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
    pub fn observer(&self, setup: Setup<'_>, duplicates: bool) -> EventLog {
        let catalogue = setup.catalogue;
        let kinds = |kind| Some((catalogue.name(kind)?, catalogue.fields(kind)?));
        let mut lines = EventLines::new(Vec::with_capacity(HELD_BYTES * 2), kinds);
        lines = lines.with_contexts(Arc::clone(setup.contexts));
        if let Some((member, id)) = &self.elsewhere {
            lines = lines.with_id_elsewhere(member, Arc::clone(id));
        }
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

    /// Completes the file, after the pipeline has been shut down.
    ///
    /// # Errors
    /// When a write failed, now or earlier.
    pub fn commit(&self) -> Result<(), FileError> {
        match self.file.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(file) => file.commit(),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for EventFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFile").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Writes events as JSON, one a line, into an [`EventFile`].
pub struct EventLog {
    file: EventFile,
    lines: EventLines<Vec<u8>>,
    symbols: Arc<Symbols>,
    contexts: Arc<Contexts>,
    within: Context,
    duplicates: bool,
    /// New events among the lines held back.
    held: u64,
}

impl EventLog {
    fn write_held(&mut self) -> Result<(), Undelivered> {
        let events = std::mem::take(&mut self.held);
        let lines = self.lines.get_mut();
        let mut file = self.file.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = file.as_mut().map_or(Ok(()), |file| file.write_all(lines));
        lines.clear();
        written.map_err(|error| Undelivered { events, reason: error.to_string() })
    }
}

impl Observer for EventLog {
    type Report = ();

    fn interest(&self) -> Interest {
        Interest { kinds: KindSet::ALL, duplicates: self.duplicates, scope: Scope::Entity }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        for (record, verdict) in batch.iter() {
            if !self.within.is_none() && !self.contexts.of(record).is_within(&self.within) {
                continue;
            }
            self.held += u64::from(*verdict == Verdict::New);
            if let Err(error) = self.lines.write(record, Some(*verdict), &self.symbols) {
                return Err(Undelivered {
                    events: std::mem::take(&mut self.held),
                    reason: error.to_string(),
                });
            }
        }
        if self.lines.get_mut().len() >= HELD_BYTES { self.write_held() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Undelivered> {
        self.write_held()
    }

    fn report(&self) {}
}
