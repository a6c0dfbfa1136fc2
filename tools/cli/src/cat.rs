//! `panther-events cat`: a journal's events as JSON Lines.

use crate::Outcome;
use crate::journal_args::{ContextReader, JournalSource};
use crate::results::Failure;
use panther_events::event::{Context, Contexts, Record, Symbols};
use panther_events::export::jsonl::EventLines;
use panther_events::ingest::panther::PantherIds;
use panther_events::journal::{Filter, ReadOptions, Status};
use panther_events_cli::filters::{Filters, context};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long `--follow` waits before it looks again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The journal's directory.
    journal: PathBuf,
    #[command(flatten)]
    filters: Filters,
    /// Wait for more while the journal is being written.
    #[arg(long)]
    follow: bool,
    /// Take intact records from behind a torn tail too.
    #[arg(long)]
    salvage: bool,
}

impl Args {
    /// All events of a journal, as far as they are there.
    pub(crate) fn all(journal: &Path, salvage: bool) -> Args {
        Args { journal: journal.to_owned(), filters: Filters::default(), follow: false, salvage }
    }
}

pub(crate) fn run(args: &Args) -> Result<Outcome, Failure> {
    let within = &args.filters.within;
    let mut source =
        JournalSource::open(&args.journal, ReadOptions { salvage: args.salvage, ..ReadOptions::default() })?;
    let filter = args.filters.filter(&source.schema)?;
    // A block that is passed over may hold where a context begins.
    if within.is_empty() {
        source.reader.set_filter(filter);
    }
    let schema = &source.schema;
    let mut lines = EventLines::new(BufWriter::new(io::stdout().lock()), |kind| {
        Some((schema.name(kind)?, schema.fields(kind)?))
    });
    let ids = PantherIds::default();
    lines = lines.with_id_elsewhere("panther_id", Arc::new(move |record| ids.of(record)));
    let contexts = Arc::new(Contexts::new(&source.symbols, Contexts::LIMIT_DEFAULT));
    if !within.is_empty() {
        lines = lines.with_contexts(Arc::clone(&contexts));
    }
    let (reader, unplaced) = (ContextReader::default(), 0);
    let mut shown = Shown { filter, contexts, reader, within: context(within), unplaced };
    match write(args, &mut shown, &mut source, &mut lines)? {
        Ok(()) => {}
        // `panther-events cat … | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Outcome::Done),
        Err(error) => return Err(error.into()),
    }
    let mut loses = source.print_findings(&mut io::stderr())?;
    if shown.unplaced > 0 {
        loses = true;
        let unplaced = shown.unplaced;
        writeln!(
            io::stderr(),
            "error: of {unplaced} events it is not known in which context they were emitted, since what told of it is missing; they are \
             not shown"
        )?;
    }
    Ok(if loses { Outcome::Partly } else { Outcome::Done })
}

/// Which records are shown.
struct Shown {
    filter: Filter,
    contexts: Arc<Contexts>,
    reader: ContextReader,
    within: Context,
    /// Events that would be shown if it were known that they were emitted within that.
    unplaced: u64,
}

impl Shown {
    fn begin_block(&mut self, source: &JournalSource, is_other_origin: bool) {
        if is_other_origin {
            self.contexts.forget_numbers();
            self.reader.begin_origin();
        }
        if !self.within.is_none() {
            self.reader.begin_block(source, &self.contexts);
        }
    }

    fn show(&mut self, record: &Record, symbols: &Symbols) -> bool {
        if !self.within.is_none() {
            self.reader.take(record, symbols, &self.contexts);
        }
        if !self.filter.contains(record) {
            return false;
        }
        let is_placed = self.reader.knows(record);
        self.unplaced += u64::from(!is_placed);
        is_placed && self.contexts.of(record).is_within(&self.within)
    }
}

/// The outer error is the journal's, the inner one the output's.
fn write<W: Write>(
    args: &Args,
    shown: &mut Shown,
    source: &mut JournalSource,
    lines: &mut EventLines<W>,
) -> Result<io::Result<()>, Failure> {
    let symbols = Arc::clone(&source.symbols);
    loop {
        let origin = source.origin();
        if source.next_block()?.is_some() {
            shown.begin_block(source, source.origin() != origin);
            if let Some(schema) = source.grown_schema()? {
                lines.set_kinds(|kind| Some((schema.name(kind)?, schema.fields(kind)?)));
            }
            for record in source.block() {
                if !shown.show(record, &symbols) {
                    continue;
                }
                let emitter = source.reader.source_name(record.source(), record.seq());
                if let Err(error) = lines.write_of(record, emitter, None, &symbols) {
                    return Ok(Err(error));
                }
            }
        } else {
            if let Err(error) = lines.get_mut().flush() {
                return Ok(Err(error));
            }
            if !args.follow || source.reader.status() != Status::Waiting {
                return Ok(Ok(()));
            }
            std::thread::sleep(LOOK_AGAIN_AFTER);
        }
    }
}
