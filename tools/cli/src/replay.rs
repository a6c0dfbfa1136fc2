//! `panther-events replay` and `export`: a journal through a pipeline, into the files that a run gives.

use crate::Outcome;
use crate::journal_args::{ContextReader, Description, JournalSource};
use crate::results::{
    Events, Failure, FormatArg, Told, commit, judged, panther_ids, said, tell, tell_doubts,
};
use panther_events::dedup::Window;
use panther_events::domain::packet::PacketSeen;
use panther_events::domain::pipeline::ProcessorFailed;
use panther_events::emit::Emitter;
use panther_events::event::Symbol;
use panther_events::event::{Context, Level, Origin, Payload, Record};
use panther_events::export::summary::InputSummary;
use panther_events::export::{Overwrite, ResultDir};
use panther_events::journal::storage::{DirStorage, Storage};
use panther_events::journal::{Damage, ReadOptions};
use panther_events::paths::{Ends, Survey, SurveyedPacket, VantageSurvey};
use panther_events::pipeline::{Pipeline, Topology};
use panther_events::run::{FileFormat, FinishedRun, InputTotals, RunOptions, is_whole};
use panther_events_cli::filters::{Speed, context, parse_part, parse_speed, parse_window};
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Records that are emitted before the clock is looked at again.
const STEP: usize = 1024;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The journal's directory.
    journal: PathBuf,
    /// The directory for the results.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How fast: `max`, or a multiple of the pace at which it happened (`1`, `10`, `0.5`).
    #[arg(long, default_value = "max", value_parser = parse_speed)]
    speed: Speed,
    /// Threads: `inline`, `fused`, `auto`, or `staged:DxW` with D dedup threads and W workers.
    #[arg(long, default_value = "fused")]
    topology: Topology,
    /// Events to write to `events.jsonl`.
    #[arg(long, default_value = "unique")]
    events: Events,
    /// Keep in `events.jsonl` to what was emitted within this part of the experiment, such as `test=handshake`. May be
    /// given for several levels: experiment, test, step, assertion, service, environment.
    #[arg(long, value_name = "LEVEL=NAME", value_parser = parse_part)]
    within: Vec<(Level, String)>,
    /// End with status 3 unless there are tests and all passed, but for what was skipped beside them; also where the journal
    /// may lack one that failed: retention or a flight recorder has let events go, a writer lives, died or did not store all
    /// kinds, or it was repaired and not all was known.
    #[arg(long)]
    require_passed: bool,
    /// Replace earlier results in the directory.
    #[arg(long)]
    force: bool,
    /// Print `summary.json` instead of tables.
    #[arg(long)]
    json: bool,
    /// Print nothing but errors.
    #[arg(long, conflicts_with = "json")]
    quiet: bool,
}

#[derive(clap::Args)]
pub(crate) struct ExportArgs {
    /// The journal's directory.
    journal: PathBuf,
    /// What to write. May be given several times.
    #[arg(long, required = true)]
    format: Vec<FormatArg>,
    /// The directory for the files.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Events to write with `--format jsonl`.
    #[arg(long, default_value = "unique")]
    events: Events,
    /// Keep with `--format jsonl` to what was emitted within this part of the experiment, such as `test=handshake`.
    #[arg(long, value_name = "LEVEL=NAME", value_parser = parse_part)]
    within: Vec<(Level, String)>,
    /// Replace earlier results in the directory.
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> Result<Outcome, Failure> {
    let job = Job {
        journal: &args.journal,
        out: &args.out,
        speed: args.speed,
        topology: args.topology,
        events: args.events,
        within: context(&args.within),
        force: args.force,
        require_passed: args.require_passed,
        formats: &FileFormat::ALL,
        told: Told::new(args.json, args.quiet),
    };
    job.run()
}

pub(crate) fn export(args: &ExportArgs) -> Result<Outcome, Failure> {
    let formats: Vec<FileFormat> = args.format.iter().map(|format| (*format).into()).collect();
    let wants_events = formats.contains(&FileFormat::Jsonl);
    let job = Job {
        journal: &args.journal,
        out: &args.out,
        speed: Speed::Max,
        topology: Topology::Fused,
        events: if wants_events { args.events } else { Events::None },
        within: context(&args.within),
        force: args.force,
        require_passed: false,
        formats: &formats,
        told: Told::Errors,
    };
    job.run()
}

/// Flows whose addresses are remembered while a journal is surveyed.
const FLOWS_MAX: usize = 1 << 20;

struct Job<'a> {
    journal: &'a Path,
    out: &'a Path,
    speed: Speed,
    topology: Topology,
    events: Events,
    within: Context,
    force: bool,
    require_passed: bool,
    formats: &'a [FileFormat],
    told: Told,
}

impl Job<'_> {
    fn run(&self) -> Result<Outcome, Failure> {
        // A journal that is being written is taken as far as it has come.
        let options = ReadOptions { as_ended: true, ..ReadOptions::default() };
        let mut writer = DirStorage::new(self.journal).writer();
        let mut source = JournalSource::open(self.journal, options)?;
        if let Some(domain) = source.redefined.first() {
            let shown = self.journal.display();
            return Err(format!(
                "{shown}: its runs define the domain {domain:?} in ways that contradict each other, and one replay has one schema; \
                 `cat` shows each run's events by its own"
            )
            .into());
        }
        let overwrite = if self.force { Overwrite::Force } else { Overwrite::Refuse };
        let dir = ResultDir::create(self.out, overwrite)?;
        let start = Instant::now();
        // The description comes before the first record.
        let first: Vec<Record> = source.next_block()?.unwrap_or_default().to_vec();
        let description = source.description();
        let survey = description.as_ref().map(|run| self.survey(run)).transpose()?.flatten();
        let options = RunOptions { survey, ..self.options(description.as_ref())? };
        let (mut builder, observers) = options.builder(&source.symbols, &dir)?;
        builder.schema(source.schema.clone());
        let pipeline = builder.start()?;
        let mut feed = Feed {
            emitter: pipeline.emitter("replay")?,
            pipeline: &pipeline,
            pace: Pace::new(self.speed),
            time_ns: None,
            records: 0,
            contexts: ContextReader::default(),
            processors_failed: 0,
            numbers: Numbers::default(),
            origin: source.origin(),
        };
        feed.contexts.begin_block(&source, pipeline.contexts());
        feed.emit(&first);
        while source.next_block()?.is_some() {
            feed.begin(&source)?;
            feed.emit(source.block());
        }
        let Feed { emitter, time_ns, records, contexts, processors_failed, numbers, .. } = feed;
        let misplaced = contexts.misplaced;
        drop(emitter);
        let finished = FinishedRun {
            snapshot: pipeline.shutdown(),
            observers,
            inputs: source.inputs(),
            time_ns,
            elapsed: start.elapsed(),
        };
        let digest_bytes = description.and_then(|description| description.digest_bytes);
        let mut summary = finished.summary(self.topology, digest_bytes);
        summary.inputs.push(self.input(&source, records, summary.accounting.rejected));
        writer = writer.or_else(|| DirStorage::new(self.journal).writer());
        let mut doubts = source.doubts(records);
        doubts.extend(source.absent(numbers.missing));
        doubts.extend(finished.inputs.iter().flat_map(InputTotals::doubts));
        if processors_failed > 0 {
            doubts.push(format!(
                "a processor failed {processors_failed} times, and did not derive what it might have"
            ));
        }
        if misplaced > 0 {
            doubts.push(format!(
                "{misplaced} changes of context are missing or found no room, so events may be in wrong tests"
            ));
        }
        doubts.extend(writer.map(|writer| format!("the journal is being written by {writer}")));
        let missing = source.missing();
        missing.iter().chain(&doubts).for_each(|doubt| summary.doubt_results(doubt));
        let losses = finished.losses();
        commit(dir, &finished, &summary, &losses, self.formats)?;
        let mut findings = Vec::new();
        let loses = source.print_findings(&mut findings)?;
        let found = if is_whole(&summary, &losses) && !loses { Outcome::Done } else { Outcome::Partly };
        let found = judged(found, &summary, self.require_passed);
        if self.require_passed {
            tell_doubts(&mut findings, &summary, &doubts)?;
        }
        let found = tell(self.told, self.out, &summary, &losses, found);
        Ok(said(found, io::stderr().write_all(&findings)))
    }

    /// Looks at the journal's packets beforehand, as the run did at its captures, where it did.
    fn survey(&self, run: &Description) -> Result<Option<Arc<Survey>>, Failure> {
        let Some(note) = &run.survey else { return Ok(None) };
        let options = ReadOptions { as_ended: true, ..ReadOptions::default() };
        let mut source = JournalSource::open(self.journal, options)?;
        let mut vantages: Vec<VantageSurvey> =
            run.vantages.iter().map(|name| VantageSurvey::new(name)).collect();
        let names = run.vantage_symbols();
        let mut flows: HashMap<Symbol, Option<Ends>> = HashMap::new();
        while source.next_block()?.is_some() {
            for record in source.block() {
                let Some(packet) = record.payload::<PacketSeen>() else { continue };
                let Some(id) = record.id().map(|id| id.bits()) else { continue };
                let at = names.iter().position(|name| *name == packet.vantage);
                let Some(vantage) = at.and_then(|at| vantages.get_mut(at)) else { continue };
                if flows.len() >= FLOWS_MAX {
                    flows.clear();
                }
                let name = || source.symbols.name(record.entity());
                let ends = *flows.entry(record.entity()).or_insert_with(|| Ends::of_flow(&name()?));
                let (time_ns, flags) = (record.time_ns(), packet.flags);
                vantage.see(&SurveyedPacket { id, time_ns, ends, flags });
            }
        }
        Ok(Some(Arc::new(Survey::new(vantages, &note.options()))))
    }

    fn options(&self, description: Option<&Description>) -> Result<RunOptions, Failure> {
        let default = Duration::from_secs(1);
        Ok(RunOptions {
            topology: self.topology,
            window: description.map_or(Ok(Window::Unbounded), |run| parse_window(&run.window))?,
            horizon: description.map_or(default, |run| Duration::from_nanos(run.horizon_ns)),
            vantages: description.map(Description::vantage_symbols).unwrap_or_default(),
            events: self.events.into(),
            within: self.within,
            id_elsewhere: Some(panther_ids(Arc::default())),
            ..RunOptions::default()
        })
    }

    fn input(&self, source: &JournalSource, records: u64, rejected: u64) -> InputSummary {
        let names = std::fs::read_dir(self.journal).into_iter().flatten().flatten();
        let bytes = names.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum();
        let is_damage = |damage: Damage| !matches!(damage, Damage::Abandoned | Damage::Trailing);
        let findings = source.reader.findings().iter().filter(|finding| is_damage(finding.damage));
        InputSummary {
            path: self.journal.display().to_string(),
            format: Some("journal".to_owned()),
            records,
            bytes,
            rejected,
            refusals: findings.map(ToString::to_string).collect(),
            ..InputSummary::default()
        }
    }
}

/// Emits records as they were numbered, at the pace that is asked for.
struct Feed<'a> {
    emitter: Emitter,
    pipeline: &'a Pipeline,
    pace: Pace,
    time_ns: Option<(u64, u64)>,
    records: u64,
    contexts: ContextReader,
    /// Times that a processor of the run panicked.
    processors_failed: u64,
    numbers: Numbers,
    origin: Option<Origin>,
}

impl Feed<'_> {
    /// Ends the contexts of what another start of a pipeline has numbered: the numbers that come may be the same.
    fn begin(&mut self, source: &JournalSource) -> Result<(), Failure> {
        if source.origin() != self.origin {
            self.pipeline.drain(Duration::MAX)?;
            self.pipeline.contexts().forget_numbers();
            self.contexts.begin_origin();
            self.origin = source.origin();
        }
        self.contexts.begin_block(source, self.pipeline.contexts());
        Ok(())
    }

    fn emit(&mut self, mut records: &[Record]) {
        self.records += records.len() as u64;
        self.numbers.take(self.origin, records);
        while let Some(first) = records.first() {
            let due = self.pace.due(records, first.time_ns());
            let (now, later) = records.split_at(due);
            for record in now {
                let (from, to) = self.time_ns.unwrap_or((record.time_ns(), record.time_ns()));
                self.time_ns = Some((from.min(record.time_ns()), to.max(record.time_ns())));
                self.processors_failed += u64::from(record.kind() == ProcessorFailed::KIND);
                // Records keep their numbers, so a context holds for the same ones.
                let (contexts, symbols) = (self.pipeline.contexts(), self.pipeline.symbols());
                self.contexts.take(record, symbols, contexts);
            }
            // Counted in the account.
            let _ = self.emitter.emit_numbered(now.iter().copied());
            self.pipeline.poll();
            records = later;
        }
    }
}

/// Looks for numbers of sources that no record has. They are given when an event is offered, so each is that of an event which
/// was dropped or refused, or came when the journal was not there.
#[derive(Default)]
struct Numbers {
    /// By start of a pipeline and source: the number that comes next.
    next: HashMap<(Option<Origin>, u16), u64>,
    missing: u64,
}

impl Numbers {
    fn take(&mut self, origin: Option<Origin>, records: &[Record]) {
        for of_source in records.chunk_by(|one, next| one.source() == next.source()) {
            let Some(first) = of_source.first() else { continue };
            let next = self.next.entry((origin, first.source())).or_insert(0);
            for record in of_source {
                let seq = u64::from(record.seq());
                self.missing += seq.saturating_sub(*next);
                *next = seq + 1;
            }
        }
    }
}

/// Says when a record is due.
struct Pace {
    speed: Speed,
    /// When the first record was emitted, and its time.
    start: Option<(Instant, u64)>,
}

impl Pace {
    fn new(speed: Speed) -> Pace {
        Pace { speed, start: None }
    }

    /// Waits until the first of `records` is due and returns how many are; at least one.
    fn due(&mut self, records: &[Record], first_ns: u64) -> usize {
        let most = records.len().min(STEP);
        let Speed::Times(times) = self.speed else { return most };
        let (start, start_ns) = *self.start.get_or_insert((Instant::now(), first_ns));
        let due_after = |time_ns: u64| {
            let seconds = time_ns.saturating_sub(start_ns) as f64 / 1e9 / times;
            Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
        };
        let wait = due_after(first_ns).saturating_sub(start.elapsed());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        let elapsed = start.elapsed();
        let due = records.iter().take(most).take_while(|record| due_after(record.time_ns()) <= elapsed);
        due.count().max(1)
    }
}
