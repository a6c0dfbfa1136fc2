//! `panther-events cat`: a journal's events as JSON Lines.

use crate::Outcome;
use crate::journal_args::{JournalSource, context, parse_part, parse_time_ns, restore_context};
use crate::results::Failure;
use panther_events::domain::Catalogue;
use panther_events::event::{Context, Contexts, KindSet, Level, Record, Symbol, Symbols};
use panther_events::export::jsonl::EventLines;
use panther_events::ingest::panther::PantherIds;
use panther_events::journal::{Filter, ReadOptions, Status};
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
    /// Only events of this kind, or below it: `packet.seen`, `test`. May be given several times.
    #[arg(long, value_name = "NAME")]
    kind: Vec<String>,
    /// Only events about this entity.
    #[arg(long, value_name = "NAME")]
    entity: Option<String>,
    /// Only events at or after this time (such as 2024-05-01T12:00:00.25Z, or nanoseconds since 1970).
    #[arg(long, value_name = "TIME", value_parser = parse_time_ns)]
    since: Option<u64>,
    /// Only events at or before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time_ns)]
    until: Option<u64>,
    /// Only events of this source.
    #[arg(long, value_name = "N")]
    source: Option<u16>,
    /// Only what was emitted within this part of the experiment, such as `test=handshake`; events are shown with their
    /// contexts then, and the whole journal is read. May be given for several levels.
    #[arg(long, value_name = "LEVEL=NAME", value_parser = parse_part)]
    within: Vec<(Level, String)>,
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
        let (kind, entity, since, until, source) = (Vec::new(), None, None, None, None);
        Args {
            journal: journal.to_owned(),
            kind,
            entity,
            since,
            until,
            source,
            within: Vec::new(),
            follow: false,
            salvage,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<Outcome, Failure> {
    let catalogue = Catalogue::new();
    let filter = filter(args, &catalogue)?;
    let mut source =
        JournalSource::open(&args.journal, ReadOptions { salvage: args.salvage, ..ReadOptions::default() })?;
    // A block that is passed over may hold where a context begins.
    if args.within.is_empty() {
        source.reader.set_filter(filter);
    }
    let mut lines = EventLines::new(BufWriter::new(io::stdout().lock()), |kind| {
        Some((catalogue.name(kind)?, catalogue.fields(kind)?))
    });
    let ids = PantherIds::default();
    lines = lines.with_id_elsewhere("panther_id", Arc::new(move |record| ids.of(record)));
    let contexts = Arc::new(Contexts::default());
    if !args.within.is_empty() {
        lines = lines.with_contexts(Arc::clone(&contexts));
    }
    let filters = Filters { filter, contexts, within: context(&args.within) };
    match write(args, &filters, &mut source, &mut lines)? {
        Ok(()) => {}
        // `panther-events cat … | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Outcome::Done),
        Err(error) => return Err(error.into()),
    }
    let loses = source.print_findings(&mut io::stderr())?;
    Ok(if loses { Outcome::Partly } else { Outcome::Done })
}

fn filter(args: &Args, catalogue: &Catalogue) -> Result<Filter, Failure> {
    let mut kinds = if args.kind.is_empty() { KindSet::ALL } else { KindSet::EMPTY };
    for name in &args.kind {
        let named = catalogue.select(name);
        if named.is_empty() {
            return Err(format!("no kind is named {name:?}; names are such as packet.seen or test").into());
        }
        kinds = kinds.union(&named);
    }
    let time_ns = match (args.since, args.until) {
        (None, None) => None,
        (since, until) => Some((since.unwrap_or(0), until.unwrap_or(u64::MAX))),
    };
    let entity = args.entity.as_deref().map(Symbol::of);
    Ok(Filter { kinds, entity, source: args.source, time_ns })
}

/// Which records are shown.
struct Filters {
    filter: Filter,
    contexts: Arc<Contexts>,
    within: Context,
}

impl Filters {
    fn show(&self, record: &Record, symbols: &Symbols) -> bool {
        if !self.within.is_none() {
            restore_context(&self.contexts, record, symbols);
        }
        self.filter.contains(record) && self.contexts.of(record).is_within(&self.within)
    }
}

/// The outer error is the journal's, the inner one the output's.
fn write<W: Write>(
    args: &Args,
    filters: &Filters,
    source: &mut JournalSource,
    lines: &mut EventLines<W>,
) -> Result<io::Result<()>, Failure> {
    let symbols = Arc::clone(&source.symbols);
    loop {
        if let Some(records) = source.next_block()? {
            for record in records.iter().filter(|record| filters.show(record, &symbols)) {
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
