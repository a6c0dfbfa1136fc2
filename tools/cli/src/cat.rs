//! `panther-events cat`: a journal's events as JSON Lines.

use crate::Outcome;
use crate::journal_args::{JournalSource, restore_context};
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
    let contexts = Arc::new(Contexts::default());
    if !within.is_empty() {
        lines = lines.with_contexts(Arc::clone(&contexts));
    }
    let shown = Shown { filter, contexts, within: context(within) };
    match write(args, &shown, &mut source, &mut lines)? {
        Ok(()) => {}
        // `panther-events cat … | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Outcome::Done),
        Err(error) => return Err(error.into()),
    }
    let mut loses = source.print_findings(&mut io::stderr())?;
    if !within.is_empty() && source.gone() > 0 {
        let gone = source.gone();
        loses = true;
        writeln!(
            io::stderr(),
            "warning: {gone} earlier events are gone, and in which contexts their sources were is not known; what was emitted in one \
             that was entered before is not shown"
        )?;
    }
    Ok(if loses { Outcome::Partly } else { Outcome::Done })
}

/// Which records are shown.
struct Shown {
    filter: Filter,
    contexts: Arc<Contexts>,
    within: Context,
}

impl Shown {
    fn show(&self, record: &Record, symbols: &Symbols) -> bool {
        if !self.within.is_none() {
            // Of more than there is room for, events go with the context before.
            let _ = restore_context(&self.contexts, record, symbols);
        }
        self.filter.contains(record) && self.contexts.of(record).is_within(&self.within)
    }
}

/// The outer error is the journal's, the inner one the output's.
fn write<W: Write>(
    args: &Args,
    shown: &Shown,
    source: &mut JournalSource,
    lines: &mut EventLines<W>,
) -> Result<io::Result<()>, Failure> {
    let symbols = Arc::clone(&source.symbols);
    loop {
        let origin = source.origin();
        if source.next_block()?.is_some() {
            if source.origin() != origin {
                shown.contexts.forget_numbers();
            }
            if let Some(schema) = source.grown_schema()? {
                lines.set_kinds(|kind| Some((schema.name(kind)?, schema.fields(kind)?)));
            }
            for record in source.block().iter().filter(|record| shown.show(record, &symbols)) {
                if let Err(error) = lines.write(record, None, &symbols) {
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
