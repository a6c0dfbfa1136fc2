//! `panther-events ingest`: captures, or PANTHER's events, in, a result directory out.

mod inputs;
mod panther;
mod warnings;

use crate::Outcome;
use crate::flight::Flight;
use crate::journal_args::{Description, SurveyNote, nanos};
use crate::journal_log;
use crate::report;
use crate::results::{Events, Failure, Told, commit, judged, panther_ids, tell};
use crate::signals::Signals;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use panther_events::dedup::Window;
use panther_events::event::{Symbol, Symbols};
use panther_events::export::summary::{InputSummary, Summary};
use panther_events::export::{Overwrite, ResultDir};
use panther_events::ingest::capture::Format;
use panther_events::ingest::feed::{
    CaptureFeedReport, CaptureInput, CaptureReport, FeedError, FeedOptions, feed_until,
};
use panther_events::ingest::panther::PythonVersion;
use panther_events::ingest::{Coverage, DigestKey, PacketDigest, SurveyError, common_coverage, scan, survey};
use panther_events::journal::{Durability, Options};
use panther_events::paths::{Survey, SurveyOptions};
use panther_events::pipeline::Topology;
use panther_events::run::{FileFormat, FinishedRun, InputTotals, RunOptions, is_whole};
use panther_events_cli::filters::{
    parse_bytes, parse_durability, parse_horizon, parse_segment, parse_span, parse_window, window_text,
};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Where none is given, and none can be derived.
const HORIZON: Duration = Duration::from_secs(1);

/// What is said of clocks.
#[derive(Clone, PartialEq, Eq, Debug)]
enum ClockArg {
    Auto,
    Off,
    /// That of this vantage point is ahead by so many nanoseconds.
    Offset(String, i64),
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Captures (pcap or pcapng), one per vantage point; or files of PANTHER's events (JSON Lines).
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The directory for the results.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What the files are. Without it, their content tells; of a pipe, which cannot be looked at before, it is a capture.
    #[arg(long, value_name = "FORMAT")]
    format: Option<InputKind>,
    /// The Python version whose text PANTHER hashed for its ids.
    #[arg(long, default_value = "3.11", value_name = "X.Y")]
    python: PythonVersion,
    /// Name the vantage point of a capture; without it, the file's name counts. May be given several times.
    #[arg(long, value_name = "NAME=FILE", value_parser = parse_vantage)]
    vantage: Vec<(String, PathBuf)>,
    /// What dedup remembers: `unbounded`, `last:N` (ids) or `sliding:DURATION`.
    #[arg(long, default_value = "unbounded", value_parser = parse_window)]
    window: Window,
    /// How long a packet may take from one vantage point to another: more than the largest delay, less than the time
    /// after which an identical packet is sent again. Without it, twice the longest delay that is seen; of pipes, a second.
    #[arg(long, value_name = "DURATION", value_parser = parse_horizon)]
    horizon: Option<Duration>,
    /// `auto` corrects clocks that packets prove wrong, `off` none; `NAME=OFFSET` says by how much the clock of a vantage point is ahead
    /// (`server=-15ms`). May be given several times.
    #[arg(long, value_name = "auto|off|NAME=OFFSET", value_parser = parse_clock)]
    clock: Vec<ClockArg>,
    /// By how much the clocks of two vantage points differ at most, where their hosts keep them together.
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    clock_sync: Option<Duration>,
    /// When the capture of a vantage point ended, though its last packet came before: seconds since 1970 by its own clock, with a fraction. May be
    /// given several times.
    #[arg(long, value_name = "NAME=SECONDS", value_parser = parse_until)]
    captured_until: Vec<(String, u64)>,
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
    /// Recognise packets under a key that is drawn for the run (it stands in the journal, if there is one): for packets of a peer that
    /// may be hostile, and could make two that differ pass for one.
    #[arg(long)]
    keyed_digests: bool,
    /// Write all events into a journal in this directory too.
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// What the journal survives: `buffered` (a clean end only), `process-crash`, or `power-loss:DURATION`, synced at
    /// least that often.
    #[arg(long, requires = "journal", default_value = "process-crash", value_parser = parse_durability)]
    durability: Durability,
    /// Compress each segment of the journal once it has ended, at this level of Zstandard (1 to 19; 3 where none is
    /// given). A run with much in its journal takes longer to end by it.
    #[arg(
        long,
        requires = "journal",
        value_name = "LEVEL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "3",
        value_parser = clap::value_parser!(i32).range(1..=19)
    )]
    compress: Option<i32>,
    /// Begin another segment of the journal after this many bytes.
    #[arg(long, requires = "journal", value_name = "SIZE", default_value = "256MiB", value_parser = parse_segment)]
    segment_size: u64,
    /// Begin another segment of the journal after this time at the latest.
    #[arg(long, requires = "journal", value_name = "DURATION", value_parser = parse_span)]
    rotate_after: Option<Duration>,
    /// Remove the journal's oldest segments when all together take more than this.
    #[arg(long, requires = "journal", value_name = "SIZE", value_parser = parse_bytes)]
    keep_size: Option<u64>,
    /// Remove segments of the journal that were written to last longer ago than this. Looked at when a segment is begun.
    #[arg(long, requires = "journal", value_name = "DURATION", value_parser = parse_span)]
    keep_for: Option<Duration>,
    /// Go on with the journal that is there: what it holds is known, and a duplicate when it comes again.
    #[arg(long, requires = "journal")]
    resume: bool,
    /// Keep the last events in this file, for `recover`, should the run die. On SIGUSR1 they are copied to a journal
    /// beside it.
    #[arg(long, value_name = "FILE")]
    recorder: Option<PathBuf>,
    /// End with status 3 unless there are tests and all passed, but for what was skipped beside them; also where a resumed
    /// journal held events before, whose results are not looked at: `replay` judges them all.
    #[arg(long)]
    require_passed: bool,
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

impl Args {
    fn journal_options(&self) -> Options {
        Options {
            compress: self.compress,
            segment_len: self.segment_size,
            rotate_after: self.rotate_after,
            retain_bytes: self.keep_size,
            retain_for: self.keep_for,
            ..Options::new(self.durability)
        }
    }
}

/// What files can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum InputKind {
    /// Packet captures: pcap or pcapng.
    Capture,
    /// PANTHER's events: JSON Lines.
    Panther,
}

pub(crate) fn run(args: &Args) -> Result<Outcome, Failure> {
    let kind = inputs::kind(args)?;
    let inputs = inputs::inputs(args, kind)?;
    let overwrite = if args.force { Overwrite::Force } else { Overwrite::Refuse };
    let dir = ResultDir::create(&args.out, overwrite)?;
    let paths: Vec<PathBuf> = inputs.iter().map(|input| input.path.clone()).collect();
    let signals = match (&args.journal, &args.recorder) {
        (None, None) => Signals::none(),
        _ => Signals::catch()?,
    };
    let mut flight = args.recorder.as_deref().map(Flight::create).transpose()?;
    if kind == InputKind::Panther {
        return panther::run(args, &paths, dir, &signals, flight.as_mut());
    }
    let coverage = match (args.digest_bytes, &args.journal) {
        (Some(bytes), _) => Coverage::Prefix(bytes),
        // A journal holds one run: which digests it is to have must be known before it is begun.
        (None, Some(journal)) => match journal_log::earlier_coverage(journal, args.resume)? {
            Some(coverage) => coverage,
            None => coverage_of(&inputs),
        },
        (None, None) => Coverage::Whole,
    };
    let key = match &args.journal {
        _ if !args.keyed_digests => None,
        Some(journal) => {
            Some(journal_log::earlier_key(journal, args.resume)?.unwrap_or_else(DigestKey::random))
        }
        None => Some(DigestKey::random()),
    };
    let bar = progress_bar(args, &paths);
    let mut coverage = coverage;
    let survey = match look_through(args, &inputs, (coverage, key), &bar, &signals) {
        Err(SurveyError::Cut) if args.journal.is_none() => {
            coverage = match coverage_of(&inputs) {
                Coverage::Whole => Coverage::Prefix(Coverage::PREFIX_MIN),
                prefix => prefix,
            };
            look_through(args, &inputs, (coverage, key), &bar, &signals)
        }
        found => found,
    };
    let survey = survey.ok().flatten();
    let attempt = |coverage, flight: Option<&mut Flight>| {
        attempt(args, &inputs, (coverage, key, survey.clone()), &dir, &bar, &signals, flight)
    };
    let run = match attempt(coverage, flight.as_mut())? {
        Some(run) => run,
        None if args.journal.is_some() => {
            let remedy = "give the --digest-bytes that all captures hold, and another journal";
            return Err(format!("a capture holds less of its packets than the digests take; {remedy}").into());
        }
        None => {
            let coverage = match coverage_of(&inputs) {
                Coverage::Whole => Coverage::Prefix(Coverage::PREFIX_MIN),
                prefix => prefix,
            };
            if let Some(flight) = &mut flight {
                flight.restart()?;
            }
            attempt(coverage, flight.as_mut())?.ok_or("a capture changed while it was read")?
        }
    };
    bar.finish_and_clear();
    let mut summary = summary(args, &run);
    summary.warnings.extend(run.stall.iter().cloned());
    let losses: Vec<String> = run.finished.losses().into_iter().chain(little_paired(&summary)).collect();
    let readable =
        run.feed.captures.iter().any(|capture| capture.error.is_none() || capture.counts.records > 0);
    if !readable {
        report::print_errors(&mut std::io::stderr(), &summary, &losses)?;
        let hint = "if these are PANTHER's events, give --format panther";
        return Err(format!("nothing could be read; no results were written; {hint}").into());
    }
    commit(dir, &run.finished, &summary, &losses, &FileFormat::ALL)?;
    let is_whole = is_whole(&summary, &losses) && run.stall.is_empty() && is_comparable(&run, &summary);
    let found = if is_whole { Outcome::Done } else { Outcome::Partly };
    let found = judged(found, &summary, args.require_passed);
    Ok(tell(Told::new(args.json, args.quiet), &args.out, &summary, &losses, found))
}

/// Surveys the captures; `None` where one of them can be read only once.
fn look_through(
    args: &Args,
    inputs: &[CaptureInput],
    (coverage, key): (Coverage, Option<DigestKey>),
    bar: &ProgressBar,
    signals: &Signals,
) -> Result<Option<Arc<Survey>>, SurveyError> {
    if !inputs.iter().all(|input| input.path.is_file()) {
        return Ok(None);
    }
    let options = survey_options(args, inputs);
    let digest = digest_of(args, coverage, key);
    painted(bar, |progress| survey(inputs, digest, &options, progress, signals.stop()))
        .map(|found| Some(Arc::new(found)))
}

fn survey_options(args: &Args, inputs: &[CaptureInput]) -> SurveyOptions {
    let is_named = |name: &str| inputs.iter().any(|input| input.vantage == name);
    let offset = |arg: &ClockArg| match arg {
        ClockArg::Offset(name, offset_ns) if is_named(name) => Some((name.clone(), *offset_ns)),
        _ => None,
    };
    SurveyOptions {
        clocks_off: args.clock.contains(&ClockArg::Off),
        clock_offsets: args.clock.iter().filter_map(offset).collect(),
        clock_sync_ns: args.clock_sync.map(nanos),
        horizon_ns: args.horizon.map(nanos),
        captured_until_ns: args.captured_until.clone(),
    }
}

fn digest_of(args: &Args, coverage: Coverage, key: Option<DigestKey>) -> PacketDigest {
    let digest = PacketDigest::new(coverage).mask_l4_checksum(args.mask_checksums);
    key.map_or(digest, |key| digest.keyed(key))
}

/// Looks the captures through for what they hold of their packets.
fn coverage_of(inputs: &[CaptureInput]) -> Coverage {
    // A file that cannot be read to its end is reported when it is fed; what it holds before counts.
    let scans: Vec<_> =
        inputs.iter().map(|input| scan(&input.path).unwrap_or_else(|error| *error.seen)).collect();
    common_coverage(&scans)
}

/// A run that went through.
struct Run {
    feed: CaptureFeedReport,
    finished: FinishedRun,
    coverage: Coverage,
    /// What is wrong with the journal that was resumed.
    stall: Vec<String>,
}

/// Runs the pipeline over all captures; `None` when a capture is cut and the digest was to cover whole packets.
fn attempt(
    args: &Args,
    inputs: &[CaptureInput],
    (coverage, key, survey): (Coverage, Option<DigestKey>, Option<Arc<Survey>>),
    dir: &ResultDir,
    bar: &ProgressBar,
    signals: &Signals,
    mut flight: Option<&mut Flight>,
) -> Result<Option<Run>, Failure> {
    let start = Instant::now();
    let horizon = args.horizon.unwrap_or(HORIZON);
    let options = RunOptions {
        topology: args.topology,
        window: args.window,
        horizon,
        survey: survey.clone(),
        vantages: inputs.iter().map(|input| Symbol::of(&input.vantage)).collect(),
        events: args.events.into(),
        id_elsewhere: Some(panther_ids(Arc::default())),
        ..RunOptions::default()
    };
    let symbols = Arc::new(Symbols::new());
    let (mut builder, observers) = options.builder(&symbols, dir)?;
    let mut notes = None;
    if let Some(journal) = &args.journal {
        let description = Description {
            survey: survey.is_some().then(|| SurveyNote::new(&survey_options(args, inputs))),
            schema: Description::SCHEMA.to_owned(),
            vantages: inputs.iter().map(|input| input.vantage.clone()).collect(),
            horizon_ns: nanos(horizon),
            window: window_text(args.window),
            digest_bytes: digest_bytes(coverage),
            mask_checksums: args.mask_checksums,
            digest_key: key.map(|key| key.to_string()),
        };
        let log = journal_log::open(journal, args.journal_options(), args.resume, &description, &symbols)?;
        notes = Some(log.attach(&mut builder));
    }
    if let Some(flight) = &flight {
        builder.recorder(&flight.recorder);
    }
    let pipeline = builder.start()?;
    let digest = digest_of(args, coverage, key);
    let mut emitter = pipeline.emitter("ingest")?;
    let fed = painted(bar, |progress| {
        let pump = || {
            pipeline.poll();
            if signals.take_snapshot()
                && let Some(flight) = &mut flight
            {
                flight.snapshot();
            }
        };
        let options = FeedOptions { digest, survey };
        feed_until(inputs, options, &mut emitter, &symbols, progress, pump, signals.stop())
    });
    drop(emitter);
    let inputs: Vec<InputTotals> = fed.iter().flat_map(|feed| feed.captures.iter().map(note)).collect();
    let stall = notes.map(|notes| notes.put_inputs(&inputs)).transpose()?.unwrap_or_default().stall;
    let snapshot = pipeline.shutdown();
    match fed {
        Err(FeedError::Cut) => Ok(None),
        Err(error) => Err(error.to_string().into()),
        Ok(feed) => {
            let times = || feed.captures.iter().filter_map(|capture| capture.time_ns);
            let (first, last) = (times().map(|time| time.0).min(), times().map(|time| time.1).max());
            let elapsed = start.elapsed();
            let finished = FinishedRun { snapshot, observers, inputs, time_ns: first.zip(last), elapsed };
            Ok(Some(Run { feed, finished, coverage, stall }))
        }
    }
}

/// Tells whether each vantage point had a packet to compare.
fn is_comparable(run: &Run, summary: &Summary) -> bool {
    let all_have = run.feed.captures.iter().all(CaptureReport::has_usable_packets);
    let paired = summary.packets.as_ref().is_some_and(|packets| !packets.paths.is_empty());
    all_have && (paired || run.feed.captures.len() < 2)
}

/// Says so where less than half of the packets that were to be seen at two vantage points were.
fn little_paired(summary: &Summary) -> Option<String> {
    let paths = summary.packets.iter().flat_map(|packets| &packets.paths).filter(|path| !path.end_to_end);
    let (mut paired, mut all) = (0, 0);
    for path in paths {
        let arrived = path.sent.saturating_sub(path.lost_max);
        paired += arrived;
        all += path.sent + path.undetermined + path.unseen;
    }
    (paired * 2 < all).then(|| {
        format!(
            "little-paired: of {all} packets that were to be seen at two vantage points, {paired} were; do not believe the losses before you \
             know why"
        )
    })
}

fn note(capture: &CaptureReport) -> InputTotals {
    InputTotals {
        vantage: capture.input.vantage.clone(),
        records: capture.counts.records,
        rejected: capture.refused,
        non_ip: capture.non_ip,
        error: capture.error.as_ref().map(ToString::to_string),
    }
}

fn digest_bytes(coverage: Coverage) -> Option<u32> {
    match coverage {
        Coverage::Whole => None,
        Coverage::Prefix(bytes) => Some(bytes),
    }
}

fn summary(args: &Args, run: &Run) -> Summary {
    let digest_bytes = digest_bytes(run.coverage);
    let mut summary = run.finished.summary(args.topology, digest_bytes);
    summary.inputs = run.feed.captures.iter().map(input_summary).collect();
    if let (Some(bytes), None) = (digest_bytes, args.digest_bytes) {
        summary.warnings.push(format!(
            "a capture holds only the beginning of its packets; they were recognised by their first {bytes} bytes"
        ));
    }
    summary.warnings.extend(run.feed.captures.iter().flat_map(warnings::warnings));
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
        capture_dropped: capture.counts.capture_dropped,
        refusals: capture.refusals.iter().map(ToString::to_string).collect(),
        error: capture.error.as_ref().map(ToString::to_string),
    }
}

/// Calls `feed`, and moves the bar as it raises the bytes read. Where the system gives no thread for it, it does not move.
fn painted<R>(bar: &ProgressBar, feed: impl FnOnce(&AtomicU64) -> R) -> R {
    let progress = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let paint = || {
            while !done.load(Ordering::Relaxed) {
                bar.set_position(progress.load(Ordering::Relaxed));
                std::thread::park_timeout(Duration::from_millis(100));
            }
        };
        let painter = (!bar.is_hidden()).then(|| std::thread::Builder::new().spawn_scoped(scope, paint));
        let fed = feed(&progress);
        done.store(true, Ordering::Relaxed);
        if let Some(Ok(painter)) = painter {
            painter.thread().unpark();
        }
        fed
    })
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar(args: &Args, paths: &[PathBuf]) -> ProgressBar {
    if args.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let len = |path: &PathBuf| std::fs::metadata(path).map_or(0, |meta| meta.len());
    let bar = ProgressBar::new(paths.iter().map(len).sum());
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

fn parse_clock(text: &str) -> Result<ClockArg, String> {
    match text {
        "auto" => return Ok(ClockArg::Auto),
        "off" => return Ok(ClockArg::Off),
        _ => {}
    }
    let wrong = || "write auto, off or NAME=OFFSET, such as server=-15ms".to_owned();
    let (name, offset) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
    let (is_behind, span) = match offset.strip_prefix('-') {
        Some(span) => (true, span),
        None => (false, offset.strip_prefix('+').unwrap_or(offset)),
    };
    let ahead_ns = i64::try_from(nanos(parse_span(span)?)).map_err(|_| wrong())?;
    Ok(ClockArg::Offset(name.to_owned(), if is_behind { -ahead_ns } else { ahead_ns }))
}

fn parse_until(text: &str) -> Result<(String, u64), String> {
    let wrong = || "write NAME=SECONDS, such as server=1735689600.5".to_owned();
    let (name, seconds) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    if fraction.len() > 9 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    let fraction_ns: u64 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    let ns = whole.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(fraction_ns)).ok_or_else(wrong)?;
    Ok((name.to_owned(), ns))
}
