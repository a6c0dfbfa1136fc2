//! `panther-events ingest`: captures in, a result directory out.

mod inputs;
mod losses;
mod results;

use crate::Outcome;
use crate::plain::plain;
use crate::report;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use panther_events::dedup::{DedupOptions, Window};
use panther_events::emit::FullPolicy;
use panther_events::event::{Symbol, Symbols};
use panther_events::export::event_log::EventFile;
use panther_events::export::summary::{InputSummary, Summary};
use panther_events::export::{Overwrite, ResultDir};
use panther_events::ingest::capture::Format;
use panther_events::ingest::feed::{CaptureInput, CaptureReport, FeedError, FeedOptions, FeedReport, feed};
use panther_events::ingest::{Coverage, PacketDigest, common_coverage, scan};
use panther_events::observe::metrics::{Metrics, MetricsReport};
use panther_events::observe::sightings::{Sightings, SightingsOptions, SightingsReport};
use panther_events::pipeline::{Builder, PipelineOptions, ReportKey, Snapshot, Topology};
use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What can go wrong before or after the run; told to the user as it is.
type Failure = Box<dyn Error>;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Captures (pcap or pcapng), one per vantage point.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The directory for the results.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Name the vantage point of a capture; without it, the file's name counts. May be given several times.
    #[arg(long, value_name = "NAME=FILE", value_parser = parse_vantage)]
    vantage: Vec<(String, PathBuf)>,
    /// What dedup remembers: `unbounded`, `last:N` (ids) or `sliding:DURATION`.
    #[arg(long, default_value = "unbounded", value_parser = parse_window)]
    window: Window,
    /// How long a packet may take from one vantage point to another: more than the largest delay, less than the time
    /// after which an identical packet is sent again.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_horizon)]
    horizon: Duration,
    /// Threads: `inline`, `fused`, `auto`, or `staged:DxW` with D dedup threads and W workers.
    #[arg(long, default_value = "fused")]
    topology: Topology,
    /// Events to write to `events.jsonl`.
    #[arg(long, default_value = "unique")]
    events: Events,
    /// Recognise packets by this many of their first bytes (60 or more) instead of all; without it, captures that
    /// hold cut packets are looked through for the number that they have in common. Pipes, which cannot be read
    /// twice, need it.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(i64::from(Coverage::PREFIX_MIN)..))]
    digest_bytes: Option<u32>,
    /// Leave TCP and UDP checksums out of account: for captures on hosts that leave them to the network card.
    #[arg(long)]
    mask_checksums: bool,
    /// Replace earlier results in the directory.
    #[arg(long)]
    force: bool,
    /// Print `summary.json` instead of tables.
    #[arg(long)]
    json: bool,
    /// Print nothing but errors; warnings are in `summary.json`.
    #[arg(long, conflicts_with = "json")]
    quiet: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Events {
    /// Every event once.
    Unique,
    /// Duplicates too.
    All,
    /// No file.
    None,
}

pub(crate) fn run(args: &Args) -> Outcome {
    match ingest(args) {
        Ok(outcome) => outcome,
        Err(failure) => {
            // Where standard error is gone too, the exit status has to do.
            let _ = writeln!(std::io::stderr(), "error: {}", plain(&failure.to_string()));
            Outcome::Nothing
        }
    }
}

fn ingest(args: &Args) -> Result<Outcome, Failure> {
    let inputs = inputs::inputs(args)?;
    let overwrite = if args.force { Overwrite::Force } else { Overwrite::Refuse };
    let dir = ResultDir::create(&args.out, overwrite)?;
    let coverage = args.digest_bytes.map_or(Coverage::Whole, Coverage::Prefix);
    let bar = progress_bar(args, &inputs);
    let run = match attempt(args, &inputs, coverage, &dir, &bar)? {
        Some(run) => run,
        None => {
            // A file that cannot be read to its end is reported when it is fed; what it holds before counts.
            let scans: Vec<_> =
                inputs.iter().map(|input| scan(&input.path).unwrap_or_else(|error| error.seen)).collect();
            let coverage = match common_coverage(&scans) {
                Coverage::Whole => Coverage::Prefix(Coverage::PREFIX_MIN),
                prefix => prefix,
            };
            attempt(args, &inputs, coverage, &dir, &bar)?.ok_or("a capture changed while it was read")?
        }
    };
    bar.finish_and_clear();
    let summary = summary(args, &run);
    let losses = losses::losses(&run.snapshot, run.snapshot.report(run.sightings));
    let readable =
        run.feed.captures.iter().any(|capture| capture.error.is_none() || capture.counts.records > 0);
    if !readable {
        report::print_errors(&mut std::io::stderr(), &summary, &losses)?;
        return Err("nothing could be read; no results were written".into());
    }
    results::write(&dir, &run, &summary)?;
    dir.commit()?;
    tell(args, &summary, &losses)?;
    let short = |input: &InputSummary| input.error.is_some() || input.rejected > 0;
    let whole = losses.is_empty() && !summary.inputs.iter().any(short);
    Ok(if whole { Outcome::Done } else { Outcome::Partly })
}

fn tell(args: &Args, summary: &Summary, losses: &[String]) -> Result<(), Failure> {
    let mut err = std::io::stderr();
    report::print_errors(&mut err, summary, losses)?;
    if !args.quiet {
        report::print_warnings(&mut err, summary, losses)?;
    }
    let mut out = std::io::stdout().lock();
    let told = if args.json {
        summary.write(&mut out)
    } else if args.quiet {
        Ok(())
    } else {
        report::print(&mut out, summary)
            .and_then(|()| writeln!(out, "results in {}", plain(&args.out.display().to_string())))
    };
    match told {
        // `panther-events … | head` is no failure; the results are in the directory.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        told => Ok(told?),
    }
}

/// A run that went through.
struct Run {
    feed: FeedReport,
    snapshot: Snapshot,
    metrics: ReportKey<MetricsReport>,
    sightings: ReportKey<SightingsReport>,
    events: Option<EventFile>,
    coverage: Coverage,
    elapsed: Duration,
}

/// Runs the pipeline over all captures; `None` when a capture is cut and the digest was to cover whole packets.
fn attempt(
    args: &Args,
    inputs: &[CaptureInput],
    coverage: Coverage,
    dir: &ResultDir,
    bar: &ProgressBar,
) -> Result<Option<Run>, Failure> {
    let start = Instant::now();
    let symbols = Arc::new(Symbols::new());
    let events = match args.events {
        Events::None => None,
        _ => Some(EventFile::new(dir.file(results::EVENTS)?)),
    };
    let mut builder = Builder::new(PipelineOptions {
        topology: args.topology,
        // The captures can wait; nothing is dropped.
        full_policy: FullPolicy::Block { timeout: Duration::MAX },
        dedup: DedupOptions { window: args.window, ..DedupOptions::default() },
        ..PipelineOptions::default()
    });
    builder.symbols(Arc::clone(&symbols));
    let metrics = builder.observer("metrics", |setup| Metrics::new(setup.catalogue));
    let pairing = SightingsOptions {
        horizon: args.horizon,
        vantages: inputs.iter().map(|input| Symbol::of(&input.vantage)).collect(),
        ..SightingsOptions::default()
    };
    let sightings = builder.observer("sightings", move |_| Sightings::new(&pairing));
    if let Some(events) = events.clone() {
        let duplicates = args.events == Events::All;
        builder.observer("events", move |setup| events.observer(setup, duplicates));
    }
    let pipeline = builder.start()?;
    let digest = PacketDigest::new(coverage).mask_l4_checksum(args.mask_checksums);
    let progress = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let mut emitter = pipeline.emitter("ingest")?;
    let fed = std::thread::scope(|scope| {
        let painter = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                bar.set_position(progress.load(Ordering::Relaxed));
                std::thread::park_timeout(Duration::from_millis(100));
            }
        });
        let fed = feed(inputs, FeedOptions { digest }, &mut emitter, &symbols, &progress, || {
            pipeline.poll();
        });
        done.store(true, Ordering::Relaxed);
        painter.thread().unpark();
        fed
    });
    drop(emitter);
    let snapshot = pipeline.shutdown();
    match fed {
        Err(FeedError::Cut) => Ok(None),
        Ok(feed) => {
            let elapsed = start.elapsed();
            Ok(Some(Run { feed, snapshot, metrics, sightings, events, coverage, elapsed }))
        }
    }
}

fn summary(args: &Args, run: &Run) -> Summary {
    let mut summary = Summary::new(&run.snapshot, &args.topology.to_string(), run.elapsed.as_secs_f64());
    summary.inputs = run.feed.captures.iter().map(input_summary).collect();
    let digest_bytes = match run.coverage {
        Coverage::Whole => None,
        Coverage::Prefix(bytes) => Some(bytes),
    };
    if let Some(sightings) = run.snapshot.report(run.sightings) {
        summary.add_sightings(sightings, &run.snapshot, digest_bytes);
    }
    if let (Some(bytes), None) = (digest_bytes, args.digest_bytes) {
        summary.warnings.push(format!(
            "a capture holds only the beginning of its packets; they were recognised by their first {bytes} bytes"
        ));
    }
    for capture in &run.feed.captures {
        if capture.unnamed_flows > 0 {
            let path = capture.input.path.display();
            summary.warnings.push(format!("{path}: {} flows go without a name", capture.unnamed_flows));
        }
    }
    summary
}

fn input_summary(capture: &CaptureReport) -> InputSummary {
    let format = capture.format.map(|format| match format {
        Format::Pcap { .. } => "pcap",
        Format::PcapNg => "pcapng",
    });
    InputSummary {
        path: capture.input.path.display().to_string(),
        vantage: capture.input.vantage.clone(),
        format: format.map(str::to_owned),
        records: capture.counts.records,
        bytes: capture.bytes,
        rejected: capture.refused,
        non_ip: capture.non_ip,
        refusals: capture.refusals.iter().map(ToString::to_string).collect(),
        error: capture.error.as_ref().map(ToString::to_string),
    }
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar(args: &Args, inputs: &[CaptureInput]) -> ProgressBar {
    if args.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let len = |input: &CaptureInput| std::fs::metadata(&input.path).map_or(0, |meta| meta.len());
    let bar = ProgressBar::new(inputs.iter().map(len).sum());
    let style =
        ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes} ({bytes_per_sec}, {eta} left)");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn parse_vantage(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), path.into())),
        _ => Err("write NAME=FILE".to_owned()),
    }
}

fn parse_horizon(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("within no time no packet arrives; give more, such as 1s".to_owned()),
        Ok(horizon) => Ok(horizon),
        Err(error) => Err(error.to_string()),
    }
}

fn parse_window(text: &str) -> Result<Window, String> {
    let valid = "write unbounded, last:N (a number of ids) or sliding:DURATION (such as 500ms or 10s)";
    match text.split_once(':') {
        None if text == "unbounded" => Ok(Window::Unbounded),
        Some(("last", n)) => n.parse().map(Window::Last).map_err(|_| valid.to_owned()),
        Some(("sliding", span)) => {
            humantime::parse_duration(span).map(Window::Sliding).map_err(|_| valid.to_owned())
        }
        _ => Err(valid.to_owned()),
    }
}
