//! What a run over captures and one over a journal have in common: which files they write, and what is said at the end.

use crate::Outcome;
use crate::plain::plain;
use crate::report;
use clap::ValueEnum;
use panther_events::export::ResultDir;
use panther_events::export::summary::{ResultsSummary, Summary};
use panther_events::ingest::panther::PantherIds;
use panther_events::run::{self, FinishedRun, IdElsewhere};
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// What can go wrong before or after the run; told to the user as it is.
pub(crate) type Failure = Box<dyn Error>;

/// Which events go into `events.jsonl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Events {
    /// Every event once.
    Unique,
    /// Duplicates too.
    All,
    /// No file.
    None,
}

/// [`run::FileFormat`], as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FormatArg {
    /// `summary.json`.
    Summary,
    /// `metrics.om`.
    Openmetrics,
    /// `delay.hlog`.
    Hlog,
    /// `paths.csv` of packets, `states.csv` of entities.
    Csv,
    /// `events.jsonl`.
    Jsonl,
}

impl From<Events> for run::EventChoice {
    fn from(events: Events) -> run::EventChoice {
        match events {
            Events::Unique => run::EventChoice::Unique,
            Events::All => run::EventChoice::All,
            Events::None => run::EventChoice::None,
        }
    }
}

impl From<FormatArg> for run::FileFormat {
    fn from(format: FormatArg) -> run::FileFormat {
        match format {
            FormatArg::Summary => run::FileFormat::Summary,
            FormatArg::Openmetrics => run::FileFormat::OpenMetrics,
            FormatArg::Hlog => run::FileFormat::Hlog,
            FormatArg::Csv => run::FileFormat::Csv,
            FormatArg::Jsonl => run::FileFormat::Jsonl,
        }
    }
}

/// Shows PANTHER's ids, those that are kept in `ids` and those that follow from the events.
pub(crate) fn panther_ids(ids: Arc<PantherIds>) -> IdElsewhere {
    IdElsewhere { member: "panther_id".to_owned(), id: Arc::new(move |record| ids.of(record)) }
}

/// What is printed at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    Tables,
    Json,
    Errors,
}

impl Told {
    pub(crate) fn new(json: bool, quiet: bool) -> Told {
        match (json, quiet) {
            (true, _) => Told::Json,
            (_, true) => Told::Errors,
            _ => Told::Tables,
        }
    }
}

/// Says why a run that is to have passed is not known to have, where no failure is known. The doubts are those that are
/// told nowhere else.
pub(crate) fn tell_doubts(err: &mut impl Write, summary: &Summary, doubts: &[String]) -> io::Result<()> {
    let has_failed = summary.results.as_ref().is_some_and(|results| results.outcome == "failed");
    for doubt in doubts.iter().filter(|_| !has_failed) {
        writeln!(err, "error: {}; whether all passed is not known", plain(doubt))?;
    }
    Ok(())
}

/// Returns how a run ends that is to show that everything passed, where that is `required`. Where there is nothing that
/// could have passed, it has not.
pub(crate) fn judged(found: Outcome, summary: &Summary, required: bool) -> Outcome {
    let passed = |results: &ResultsSummary| results.tests.total > 0 && results.outcome == "passed";
    let passed = summary.results.as_ref().is_some_and(passed);
    if found == Outcome::Done && required && !passed { Outcome::NotPassed } else { found }
}

/// Prints what a person, or a program, is to know at the end, and returns how the command ends: as `found`, or
/// [`Outcome::Partly`] where not all could be said.
pub(crate) fn tell(
    told: Told,
    out_dir: &Path,
    summary: &Summary,
    losses: &[String],
    found: Outcome,
) -> Outcome {
    let mut err = std::io::stderr();
    let mut warned = report::print_errors(&mut err, summary, losses);
    if told != Told::Errors {
        warned = warned.and_then(|()| report::print_warnings(&mut err, summary, losses));
    }
    let mut out = std::io::stdout().lock();
    let printed = match told {
        Told::Json => summary.write(&mut out),
        Told::Errors => Ok(()),
        Told::Tables => report::print(&mut out, summary)
            .and_then(|()| writeln!(out, "results in {}", plain(&out_dir.display().to_string()))),
    };
    said(said(found, warned), printed.and_then(|()| out.flush()))
}

/// Returns how a command ends that has done its work, and then said so: as `found` where somebody heard it, or wanted to
/// hear no more (`panther-events … | head` is no failure), and with [`Outcome::Partly`] at the best otherwise.
pub(crate) fn said(found: Outcome, printed: io::Result<()>) -> Outcome {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            // Where standard error is gone too, the exit status has to do.
            let _ = writeln!(io::stderr(), "error: the work is done, but its output was lost: {error}");
            if found == Outcome::Done { Outcome::Partly } else { found }
        }
        _ => found,
    }
}

/// Writes the files of `formats`, and `MANIFEST`. Where that fails, what the run lost is told before.
pub(crate) fn commit(
    dir: ResultDir,
    run: &FinishedRun,
    summary: &Summary,
    losses: &[String],
    formats: &[run::FileFormat],
) -> Result<(), Failure> {
    let written = run.write(dir, summary, formats).map_err(Failure::from);
    written.inspect_err(|_| {
        // Where standard error is gone too, the exit status has to do.
        let _ = report::print_errors(&mut io::stderr(), summary, losses);
    })
}
