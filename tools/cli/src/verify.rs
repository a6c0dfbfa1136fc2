//! `panther-events verify`: everything that is wrong with a journal.

use crate::Outcome;
use crate::journal_args::JournalSource;
use crate::plain::plain;
use crate::report::grouped;
use crate::results::{Failure, said};
use panther_events::event::Record;
use panther_events::journal::ReadOptions;
use panther_events::journal::storage::DirStorage;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The journal's directory.
    journal: PathBuf,
    /// Print nothing but what is wrong.
    #[arg(long)]
    quiet: bool,
}

pub(crate) fn run(args: &Args) -> Result<Outcome, Failure> {
    // Reads all of it: checksums, links, the running numbers of each source, definitions.
    let mut source = JournalSource::open(&args.journal, ReadOptions::default())?;
    let (mut records, mut nameless) = (0_u64, 0_u64);
    let mut sources = BTreeSet::new();
    while source.next_block()?.is_some_and(|block| {
        records += block.len() as u64;
        sources.extend(block.iter().map(Record::source));
        true
    }) {
        nameless += source.count_nameless();
    }
    // Printed at the end, so that the verdict is the same whoever reads it.
    let mut out = Vec::new();
    let mut loses = source.print_findings(&mut out)?;
    let report = panther_events::journal::verify(DirStorage::new(&args.journal), ReadOptions::default())?;
    // Two readings, without and with names, must agree.
    if report.records != records && report.writer.is_none() {
        writeln!(out, "error: {records} records were read, and {} a second time", report.records)?;
        loses = true;
    }
    if !args.quiet {
        for doubt in source.doubts(records) {
            writeln!(out, "note: {}", plain(&doubt))?;
        }
        print(&mut out, &report, sources.len(), nameless)?;
    }
    let found = if loses || !report.is_sound() { Outcome::Partly } else { Outcome::Done };
    Ok(said(found, io::stdout().write_all(&out)))
}

fn print(
    out: &mut impl Write,
    report: &panther_events::journal::VerifyReport,
    sources: usize,
    nameless: u64,
) -> io::Result<()> {
    if let Some(run) = report.run {
        writeln!(out, "run {run}")?;
    }
    writeln!(
        out,
        "{} records of {} sources, {} names and documents",
        grouped(report.records),
        grouped(sources as u64),
        grouped(report.definitions)
    )?;
    if nameless > 0 {
        writeln!(out, "{} records are about an entity whose name nobody gave", grouped(nameless))?;
    }
    match (&report.writer, report.closed) {
        (Some(writer), _) => writeln!(out, "being written by {}", plain(writer)),
        (None, true) => writeln!(out, "closed in order"),
        (None, false) => writeln!(out, "not closed"),
    }
}
