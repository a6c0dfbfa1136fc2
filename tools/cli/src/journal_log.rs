//! The journal that `ingest` writes beside its results.

use crate::journal_args::{Description, JournalSource};
use crate::results::Failure;
use panther_events::clock::Clock;
use panther_events::domain::Catalogue;
use panther_events::event::{Record, Symbols};
use panther_events::journal::{Durability, JournalLog, Options, ReadOptions, RunId};
use panther_events::pipeline::Builder;
use std::path::Path;
use std::sync::Arc;

/// A journal that is open for writing, and what it holds already.
pub(crate) struct Opened {
    log: JournalLog,
    earlier: Option<JournalSource>,
}

/// Opens the journal at `path`: a new one, or with `resume` the one that is there.
pub(crate) fn open(
    path: &Path,
    durability: Durability,
    resume: bool,
    description: &Description,
    symbols: &Arc<Symbols>,
) -> Result<Opened, Failure> {
    let shown = path.display();
    let holds_one = path.is_dir()
        && std::fs::read_dir(path)?
            .flatten()
            .any(|entry| entry.path().extension().is_some_and(|ending| ending == "journal"));
    // What the writer opened below would cut off is not to be remembered: read as it is now.
    let as_it_is = ReadOptions { as_ended: true, ..ReadOptions::default() };
    let earlier = match (holds_one, resume) {
        (true, false) => {
            let remedy = "give --resume to go on with it, or choose another directory";
            return Err(format!("{shown}: holds a journal already; {remedy}").into());
        }
        (true, true) => Some(JournalSource::open(path, as_it_is)?),
        (false, _) => None,
    };
    let run = earlier.as_ref().and_then(|earlier| earlier.reader.run()).unwrap_or_else(RunId::random);
    let catalogue = Catalogue::new();
    let fields = |kind| catalogue.fields(kind);
    let (options, clock) = (Options::new(durability), Clock::cycles());
    let mut log = JournalLog::open(path, run, options, clock, symbols, fields)?;
    if earlier.is_none() {
        log.define_document(Description::key(), &serde_json::to_vec(description)?);
    }
    Ok(Opened { log, earlier })
}

impl Opened {
    /// Lets the pipeline remember what the journal holds, and write into it.
    pub(crate) fn attach(self, builder: &mut Builder) {
        if let Some(mut earlier) = self.earlier {
            builder.remember(move |each: &mut dyn FnMut(&[Record])| {
                // What cannot be read is not remembered: it can come again as new, and nothing is dropped for it.
                while let Ok(Some(records)) = earlier.next_block() {
                    each(records);
                }
            });
        }
        let mut log = Some(self.log);
        // One worker sees everything, so one instance is made.
        builder.observer("journal", move |_| log.take().unwrap_or_else(JournalLog::closed));
    }
}
