//! `panther-events recover`: what a dead process left, in a flight recorder's file or in a journal.

use crate::Outcome;
use crate::cat;
use crate::journal_args::now_ns;
use crate::plain::plain;
use crate::report::grouped;
use crate::results::Failure;
use panther_events::domain::{DomainDef, Schema, SchemaTextError};
use panther_events::event::Symbols;
use panther_events::export::jsonl::EventLines;
use panther_events::journal::{ReadOptions, keep, recover};
use panther_events::recorder::{RecordedTrack, Recording};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A flight recorder's file, or a journal's directory; nothing in it is changed.
    path: PathBuf,
    /// Write a new journal into this directory, which appears when it is whole; without it, events are printed as JSON
    /// Lines, by time.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Of a journal, take intact records from behind a torn tail too.
    #[arg(long)]
    salvage: bool,
}

pub(crate) fn run(args: &Args) -> Result<Outcome, Failure> {
    match (args.path.is_dir(), &args.out) {
        (true, None) => cat::run(&cat::Args::all(&args.path, args.salvage)),
        (true, Some(out)) => of_journal(args, out),
        (false, out) => of_recorder(&args.path, out.as_deref()),
    }
}

fn of_journal(args: &Args, out: &Path) -> Result<Outcome, Failure> {
    let options = ReadOptions { salvage: args.salvage, ..ReadOptions::default() };
    let (report, account) = recover(&args.path, out, options, now_ns())?;
    let mut err = io::stderr();
    for finding in &report.findings {
        writeln!(err, "{}", plain(&finding.to_string()))?;
    }
    told(out, account.stored)?;
    Ok(if report.is_sound() && account.lost_upstream == 0 { Outcome::Done } else { Outcome::Partly })
}

fn of_recorder(path: &Path, out: Option<&Path>) -> Result<Outcome, Failure> {
    let recording = Recording::read(path)?;
    match out {
        Some(out) => told(out, keep(&recording, out, now_ns())?.stored)?,
        None => match print(&recording, &schema_of(&recording)?) {
            // `panther-events recover … | head` is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Outcome::Done),
            printed => printed?,
        },
    }
    report(&mut io::stderr(), &recording)?;
    Ok(if recording.is_whole() { Outcome::Done } else { Outcome::Partly })
}

fn told(out: &Path, records: u64) -> io::Result<()> {
    let shown = plain(&out.display().to_string());
    match writeln!(io::stdout(), "{} records written to {shown}", grouped(records)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// The schema by which the recording's events are read.
fn schema_of(recording: &Recording) -> Result<Schema, SchemaTextError> {
    let domains = recording.domains().map(DomainDef::from_json).collect::<Result<Vec<_>, _>>()?;
    Ok(Schema::of_file(&domains)?)
}

fn print(recording: &Recording, schema: &Schema) -> io::Result<()> {
    let symbols = Symbols::new();
    // Names that do not fit leave symbols without one, which are printed as numbers.
    let _ = recording.define_in(&symbols);
    let mut lines = EventLines::new(BufWriter::new(io::stdout().lock()), |kind| {
        Some((schema.name(kind)?, schema.fields(kind)?))
    });
    for record in recording.merged_records() {
        lines.write(&record, None, &symbols)?;
    }
    lines.get_mut().flush()
}

/// Says what is there and what is missing.
fn report(err: &mut impl Write, recording: &Recording) -> io::Result<()> {
    let state = match (recording.closed, recording.live) {
        (_, true) => "its process lives, and may write on",
        (true, false) => "closed in order",
        (false, false) => "its process died",
    };
    writeln!(err, "{state}")?;
    for track in &recording.tracks {
        report_track(err, track)?;
    }
    for gap in recording.gaps() {
        writeln!(err, "source {}: no events with numbers {} to {}", gap.source, gap.first, gap.last)?;
    }
    for (count, what) in [
        (recording.forgotten, "events of emitters that were gone; others have their tracks"),
        (recording.emitters_without_track, "emitters were not recorded; give the recorder more tracks"),
        (
            recording.definitions_left_out,
            "names or documents had no room; give the recorder more definition_bytes",
        ),
        (recording.definition_bytes_damaged, "bytes of names and documents are damaged"),
        (recording.tracks_damaged, "tracks cannot be read: their headers are damaged"),
    ] {
        if count > 0 {
            writeln!(err, "{} {what}", grouped(count))?;
        }
    }
    Ok(())
}

fn report_track(err: &mut impl Write, track: &RecordedTrack) -> io::Result<()> {
    let name = plain(&track.name);
    let (kept, recorded) = (grouped(track.records.len() as u64), grouped(track.recorded));
    writeln!(
        err,
        "{name}: the last {kept} of {recorded} events, {} overwritten",
        grouped(track.overwritten)
    )?;
    if track.damaged > 0 {
        writeln!(err, "error: {name}: {} events are damaged and left out", grouped(track.damaged))?;
    }
    if track.torn {
        writeln!(err, "error: {name}: an event was being written; it is not whole and left out")?;
    }
    Ok(())
}
