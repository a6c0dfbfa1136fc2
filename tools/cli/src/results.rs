//! What a run over captures and one over a journal have in common: the observers, and the files that they fill.

use crate::Outcome;
use crate::losses::losses;
use crate::plain::plain;
use crate::report;
use clap::ValueEnum;
use panther_events::dedup::{DedupOptions, Window};
use panther_events::emit::FullPolicy;
use panther_events::event::{Context, Symbol, Symbols};
use panther_events::export::csv::{DelayCells, PathRow, write_entity_states, write_paths};
use panther_events::export::event_log::EventFile;
use panther_events::export::exposition::{InputCounts, write_exposition};
use panther_events::export::hlog::{Interval, path_tag, write_hlog};
use panther_events::export::summary::{InputSummary, ResultsSummary, Summary};
use panther_events::export::{ResultDir, ResultFile};
use panther_events::ingest::panther::PantherIds;
use panther_events::observe::Report;
use panther_events::observe::metrics::{Metrics, MetricsReport};
use panther_events::observe::results::{Results, ResultsReport};
use panther_events::observe::state::{StateOptions, StateQuery, StateReport};
use panther_events::paths::{Sightings, SightingsOptions, SightingsReport};
use panther_events::pipeline::{Builder, PipelineOptions, ReportKey, Snapshot, Topology};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What can go wrong before or after the run; told to the user as it is.
pub(crate) type Failure = Box<dyn Error>;

const SUMMARY: &str = "summary.json";
const METRICS: &str = "metrics.om";
const DELAYS: &str = "delay.hlog";
const PATHS: &str = "paths.csv";
const STATES: &str = "states.csv";
const EVENTS: &str = "events.jsonl";

/// Names that a run writes to, or whose files it removes, in its directory.
pub(crate) const NAMES: [&str; 7] = [SUMMARY, METRICS, DELAYS, PATHS, STATES, EVENTS, ResultDir::MANIFEST];

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

/// A file of a result directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum FileFormat {
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

impl FileFormat {
    /// All of them.
    pub(crate) const ALL: [FileFormat; 5] =
        [FileFormat::Summary, FileFormat::Openmetrics, FileFormat::Hlog, FileFormat::Csv, FileFormat::Jsonl];
}

/// How events are looked at.
pub(crate) struct View {
    pub(crate) topology: Topology,
    pub(crate) window: Window,
    pub(crate) horizon: Duration,
    pub(crate) vantages: Vec<Symbol>,
    pub(crate) events: Events,
    /// Which of them go into `events.jsonl`.
    pub(crate) within: Context,
    /// PANTHER's ids, where they are not those of their events' content.
    pub(crate) ids: Arc<PantherIds>,
}

/// Where a run's findings are.
pub(crate) struct Keys {
    pub(crate) metrics: ReportKey<MetricsReport>,
    pub(crate) sightings: ReportKey<SightingsReport>,
    pub(crate) states: ReportKey<StateReport>,
    pub(crate) results: ReportKey<ResultsReport>,
    pub(crate) events: Option<EventFile>,
}

/// A run that went through.
pub(crate) struct Finished {
    pub(crate) snapshot: Snapshot,
    pub(crate) keys: Keys,
    /// What was read from the captures, as far as it is known.
    pub(crate) inputs: Vec<InputNote>,
    /// Earliest and latest time of a packet, in nanoseconds since the Unix epoch.
    pub(crate) time_ns: Option<(u64, u64)>,
    pub(crate) elapsed: Duration,
}

/// What was read from a capture. A journal keeps it for the metrics of its replay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct InputNote {
    pub(crate) vantage: String,
    pub(crate) records: u64,
    pub(crate) rejected: u64,
    pub(crate) non_ip: u64,
}

impl InputNote {
    pub(crate) fn add(&mut self, more: &InputNote) {
        self.records += more.records;
        self.rejected += more.rejected;
        self.non_ip += more.non_ip;
    }
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

impl View {
    /// Begins a pipeline with the observers that fill a result directory.
    pub(crate) fn builder(self, symbols: &Arc<Symbols>, dir: &ResultDir) -> Result<(Builder, Keys), Failure> {
        let events = match self.events {
            Events::None => None,
            _ => {
                let (file, ids) = (EventFile::new(dir.file(EVENTS)?), self.ids);
                let file = file.within(self.within);
                Some(file.with_id_elsewhere("panther_id", Arc::new(move |record| ids.of(record))))
            }
        };
        let mut builder = Builder::new(PipelineOptions {
            topology: self.topology,
            // Files can wait; nothing is dropped.
            full_policy: FullPolicy::Block { timeout: Duration::MAX },
            dedup: DedupOptions { window: self.window, ..DedupOptions::default() },
            ..PipelineOptions::default()
        });
        builder.symbols(Arc::clone(symbols));
        let metrics = builder.observer("metrics", |setup| Metrics::new(setup.catalogue));
        let pairing = SightingsOptions {
            horizon: self.horizon,
            vantages: self.vantages,
            ..SightingsOptions::default()
        };
        let sightings = builder.observer("sightings", move |_| Sightings::new(&pairing));
        let states = builder.observer("state", {
            let query = StateQuery::new(StateOptions::default());
            move |setup| query.observer(setup.catalogue, setup.contexts)
        });
        let results =
            builder.observer("results", |setup| Results::new(setup.catalogue, setup.symbols, setup.contexts));
        if let Some(events) = events.clone() {
            let duplicates = self.events == Events::All;
            builder.observer("events", move |setup| events.observer(setup, duplicates));
        }
        Ok((builder, Keys { metrics, sightings, states, results, events }))
    }
}

impl Finished {
    /// Makes the summary, without its inputs.
    pub(crate) fn summary(&self, topology: Topology, digest_bytes: Option<u32>) -> Summary {
        let mut summary = Summary::new(&self.snapshot, &topology.to_string(), self.elapsed.as_secs_f64());
        let states = self.snapshot.report(self.keys.states).filter(|states| states.entities_total() > 0);
        // A run over events of tests has no packets to tell of, unless there are some.
        let sightings = self.snapshot.report(self.keys.sightings);
        if let Some(sightings) = sightings.filter(|seen| states.is_none() || !seen.vantages.is_empty()) {
            summary.add_sightings(sightings, &self.snapshot, digest_bytes);
        }
        if let Some(states) = states {
            summary.add_states(states);
        }
        let results = self.snapshot.report(self.keys.results);
        if let Some(results) = results.filter(|results| !results.is_empty()) {
            summary.add_results(results, &self.snapshot);
        }
        summary
    }

    /// Says what the run lost beyond what its inputs were short of.
    pub(crate) fn losses(&self) -> Vec<String> {
        let states = self.snapshot.report(self.keys.states);
        let findings = states
            .map(|states| states.warnings(&self.snapshot.catalogue, &self.snapshot.symbols))
            .unwrap_or_default();
        losses(&self.snapshot, self.snapshot.report(self.keys.sightings), &findings)
    }
}

/// Takes note in the results of what of the inputs was not read: it may have told of a failure.
pub(crate) fn doubt_inputs(summary: &mut Summary) {
    let mut doubts = Vec::new();
    for input in &summary.inputs {
        doubts.extend(input.error.clone());
        if input.rejected > 0 {
            doubts.push(format!("{} of the records of {} were refused", input.rejected, input.path));
        }
    }
    doubts.into_iter().for_each(|doubt| summary.doubt_results(doubt));
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

/// Tells whether nothing was refused or lost.
pub(crate) fn is_whole(summary: &Summary, losses: &[String]) -> bool {
    let short = |input: &InputSummary| input.error.is_some() || input.rejected > 0;
    losses.is_empty() && !summary.inputs.iter().any(short)
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
            let _ = writeln!(io::stderr(), "error: the work is done, but its output was cut off: {error}");
            if found == Outcome::Done { Outcome::Partly } else { found }
        }
        _ => found,
    }
}

/// Writes the files of `formats`, and `MANIFEST`. Where that fails, what the run lost is told before.
pub(crate) fn commit(
    dir: ResultDir,
    run: &Finished,
    summary: &Summary,
    losses: &[String],
    formats: &[FileFormat],
) -> Result<(), Failure> {
    let written = formats.iter().try_for_each(|format| write_file(&dir, run, summary, *format));
    let committed = written.and_then(|()| dir.commit().map(drop).map_err(Failure::from));
    committed.inspect_err(|_| {
        // Where standard error is gone too, the exit status has to do.
        let _ = report::print_errors(&mut io::stderr(), summary, losses);
    })
}

fn write_file(dir: &ResultDir, run: &Finished, summary: &Summary, format: FileFormat) -> Result<(), Failure> {
    let (snapshot, metrics) = (&run.snapshot, run.snapshot.report(run.keys.metrics));
    let sightings = snapshot.report(run.keys.sightings);
    match format {
        FileFormat::Summary => with_file(dir, SUMMARY, |file| Ok(summary.write(file)?)),
        FileFormat::Openmetrics => {
            let inputs: Vec<InputCounts<'_>> = run.inputs.iter().map(input_counts).collect();
            with_file(dir, METRICS, |file| Ok(write_exposition(file, snapshot, &inputs, metrics, sightings)?))
        }
        FileFormat::Hlog if summary.packets.is_none() => Ok(()),
        FileFormat::Hlog => with_file(dir, DELAYS, |file| write_delays(file, run, sightings)),
        FileFormat::Csv => write_csv(dir, run, summary),
        FileFormat::Jsonl => match &run.keys.events {
            Some(events) => Ok(events.commit()?),
            None => Ok(()),
        },
    }
}

fn input_counts(input: &InputNote) -> InputCounts<'_> {
    InputCounts {
        vantage: &input.vantage,
        records: input.records,
        rejected: input.rejected,
        non_ip: input.non_ip,
    }
}

fn write_csv(dir: &ResultDir, run: &Finished, summary: &Summary) -> Result<(), Failure> {
    let states = run.snapshot.report(run.keys.states).filter(|_| summary.states.is_some());
    if let Some(states) = states {
        with_file(dir, STATES, |file| Ok(write_entity_states(file, states, &run.snapshot)?))?;
    }
    if summary.packets.is_none() {
        return Ok(());
    }
    let rows = summary.packets.iter().flat_map(|packets| &packets.paths).map(|path| {
        let d = &path.delay_ns;
        let delay = || {
            Some(DelayCells {
                min_ns: d.min?,
                p50_ns: d.p50?,
                p90_ns: d.p90?,
                p99_ns: d.p99?,
                p999_ns: d.p999?,
                max_ns: d.max?,
                mean_ns: d.mean?,
            })
        };
        PathRow {
            from: &path.from,
            to: &path.to,
            sent: path.sent,
            lost: path.lost,
            beyond_horizon: path.beyond_horizon,
            duplicated: path.duplicated,
            reordered: path.reordered,
            delay_count: d.count,
            delay: delay(),
        }
    });
    with_file(dir, PATHS, |file| Ok(write_paths(file, rows)?))
}

/// Writes one interval per path, over the time of all packets.
fn write_delays(
    file: &mut ResultFile,
    run: &Finished,
    sightings: Option<&SightingsReport>,
) -> Result<(), Failure> {
    let (start_ns, end_ns) = run.time_ns.unwrap_or_default();
    let name = |symbol: Symbol| run.snapshot.symbols.name(symbol).unwrap_or_default();
    let paths = sightings.map_or(&[][..], |report| &report.paths);
    let tags: Vec<String> = paths.iter().map(|path| path_tag(&name(path.from), &name(path.to))).collect();
    let intervals = paths.iter().zip(&tags).map(|(path, tag)| Interval {
        tag,
        start_ns,
        len_ns: end_ns - start_ns,
        histogram: &path.delay_ns,
    });
    write_hlog(file, start_ns, intervals)?;
    Ok(())
}

fn with_file(
    dir: &ResultDir,
    name: &str,
    write: impl FnOnce(&mut ResultFile) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut file = dir.file(name)?;
    write(&mut file).map_err(|error| format!("{}: {error}", file.path().display()))?;
    Ok(file.commit()?)
}
