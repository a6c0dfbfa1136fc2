//! `panther-events bench`: what this machine gives, in under a minute.

mod tell;

use crate::Outcome;
use crate::plain::plain;
use hdrhistogram::{CreationError, Histogram};
use panther_events::Shared;
use panther_events::clock::Clock;
use panther_events::dedup::{BATCH, Dedup, DedupOptions, Verdict};
use panther_events::domain::{DomainDef, KindDef};
use panther_events::emit::{EmitError, Emitter, FullPolicy};
use panther_events::event::{Domain, EventKind, Identity, Payload, Record, Symbol};
use panther_events::observe::metrics::Metrics;
use panther_events::observe::{Batch, Interest, Observer, Report, Undelivered};
use panther_events::pipeline::{
    Builder, Pinning, Pipeline, PipelineOptions, Snapshot, Topology, WaitStrategy,
};
use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

type Failure = Box<dyn Error>;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Events a second at which the delay from emit to observer is measured.
    #[arg(long, default_value_t = 1_000_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rate: u64,
    /// How long the delay is measured, with each wait strategy.
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

panther_events::payload! {
    /// A sample to count and to measure.
    struct Sample [EventKind::new(Domain::FIRST_USER, 0)] { number: u64, delay_ns: u64, size_bytes: u64 }
}

const WORK: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("bench"),
    kinds: Shared::Static(&[KindDef::of::<Sample>("sample", Identity::Content)]),
    states: None,
};

/// Events emitted between two polls; what the ring holds.
const BLOCK: u64 = 2048;
/// Each figure is the median of so many rounds.
const ROUNDS: usize = 5;
/// How often the coarse clock is turned.
const COARSE: Duration = Duration::from_millis(1);
const ENTITIES: u64 = 1_000;
const PIPELINE_IDS: u64 = 1_000_000;
const DEDUP_IDS: [u64; 3] = [100_000, 1_000_000, 10_000_000];

struct Results {
    machine: Machine,
    emit: Emit,
    ring: f64,
    dedup: Vec<DedupRates>,
    pipeline: f64,
    /// How late a thread is at the same rate that only waits: what of the delays is the machine's.
    lateness: Histogram<u64>,
    delays: Vec<Delay>,
    idle_cpu_share: Option<f64>,
    /// With a coarse clock that is turned.
    idle_cpu_share_coarse: Option<f64>,
    warnings: Vec<String>,
}

struct Machine {
    cpu: String,
    cores: usize,
    topology: Topology,
    /// The core that the pipeline's thread was given, where it was given one.
    pinned_to: Option<String>,
    huge_pages: String,
    huge_page_bytes: usize,
    counter_ns: f64,
}

/// Nanoseconds an event.
struct Emit {
    single: f64,
    coarse: f64,
    batch: f64,
}

/// Millions of records a second.
struct DedupRates {
    ids: u64,
    new: f64,
    known: f64,
}

struct Delay {
    wait: WaitStrategy,
    histogram: Histogram<u64>,
    dropped: u64,
    per_second: f64,
}

pub(crate) fn run(args: &Args) -> Outcome {
    match measure(args).and_then(|results| Ok(tell::tell(args, &results)?)) {
        Ok(()) => Outcome::Done,
        Err(failure) => {
            // Where standard error is gone too, the exit status has to do.
            let _ = writeln!(std::io::stderr(), "error: {}", plain(&failure.to_string()));
            Outcome::Nothing
        }
    }
}

fn measure(args: &Args) -> Result<Results, Failure> {
    let mut warnings = Vec::new();
    let counter_ns = counter_ns();
    let (exact, coarse) = (Clock::cycles(), Clock::coarse(COARSE));
    // Emission is measured in a pipeline without threads; this one's turns the clock.
    let turning = Builder::new(PipelineOptions { clock: coarse.clone(), ..options(0) }).start()?;
    let emit = Emit {
        single: median(|| emit(1, &exact))?,
        coarse: median(|| emit(1, &coarse))?,
        batch: median(|| emit(64, &exact))?,
    };
    drop(turning.shutdown());
    let ring = 1e3 / median(|| through(BLOCK * 512, 1, 0, &mut warnings))?;
    let mut dedup = Vec::new();
    let mut huge_page_bytes = 0;
    for ids in DEDUP_IDS {
        let (rates, bytes) = dedup_rates(ids)?;
        dedup.push(rates);
        huge_page_bytes = bytes;
    }
    let pipeline = 1e3 / median(|| through(PIPELINE_IDS, PIPELINE_IDS, 1, &mut warnings))?;
    let lateness = lateness(args)?;
    let delays = [WaitStrategy::Spin, WaitStrategy::Adaptive];
    let delays = delays.into_iter().map(|wait| delay(args, wait)).collect::<Result<Vec<_>, Failure>>()?;
    for delay in delays.iter().filter(|delay| delay.dropped > 0) {
        let (dropped, wait) = (delay.dropped, delay.wait);
        warnings.push(format!("{dropped} events were dropped with {wait:?}: their delays are in no figure"));
    }
    let machine = Machine {
        cpu: cpu(),
        pinned_to: pinned_to()?,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        topology: Topology::auto(),
        huge_pages: huge_pages(),
        huge_page_bytes,
        counter_ns,
    };
    let idle_cpu_share = idle(&exact)?;
    let idle_cpu_share_coarse = idle(&coarse)?;
    warnings.sort();
    warnings.dedup();
    Ok(Results {
        machine,
        emit,
        ring,
        dedup,
        pipeline,
        lateness,
        delays,
        idle_cpu_share,
        idle_cpu_share_coarse,
        warnings,
    })
}

/// Runs `work` some times, once more than counts, and returns the median.
fn median(mut work: impl FnMut() -> Result<f64, Failure>) -> Result<f64, Failure> {
    work()?;
    let mut values = (0..ROUNDS).map(|_| work()).collect::<Result<Vec<_>, _>>()?;
    values.sort_by(f64::total_cmp);
    Ok(values.get(ROUNDS / 2).copied().unwrap_or(f64::NAN))
}

fn nanoseconds(time: Duration, events: u64) -> f64 {
    time.as_secs_f64() * 1e9 / events as f64
}

fn counter_ns() -> f64 {
    let clock = Clock::cycles();
    let start = Instant::now();
    for _ in 0..1_000_000 {
        black_box(clock.now_ns());
    }
    nanoseconds(start.elapsed(), 1_000_000)
}

fn sample(number: u64) -> Sample {
    let mixed = (number ^ number >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Sample { number, delay_ns: 50_000 + (mixed >> 40 & 0xffff), size_bytes: 64 + (mixed >> 16 & 0x3ff) }
}

fn entity(number: u64) -> Symbol {
    Symbol::from_bits((number % ENTITIES + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn options(expected_ids: u64) -> PipelineOptions {
    let dedup = DedupOptions { expected_ids: expected_ids as usize, ..DedupOptions::default() };
    PipelineOptions { dedup, pinning: Pinning::Auto, ..PipelineOptions::default() }
}

/// Runs `work` on a thread of its own on the first core, away from the pipeline's, which take the last ones. Where the
/// thread stays on the core of a pipeline's, each waits for the other until the system moves it.
fn on_first_core<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R, Failure> {
    let core = core_affinity::get_core_ids().and_then(|cores| cores.first().copied());
    std::thread::scope(|scope| Ok(finish(spawn(scope, move || on_core(core, work))?)))
}

/// Starts a thread that measures.
fn spawn<'scope, R: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    work: impl FnOnce() -> R + Send + 'scope,
) -> Result<std::thread::ScopedJoinHandle<'scope, R>, Failure> {
    let remedy =
        "raise the limit on threads (`ulimit -u`, a container's `pids.max`) or on memory (`ulimit -v`)";
    let spawned = std::thread::Builder::new().spawn_scoped(scope, work);
    spawned.map_err(|error| format!("a thread that measures could not be started: {error}; {remedy}").into())
}

/// Runs `work` on this thread, on `core` if the system allows it.
fn on_core<R>(core: Option<core_affinity::CoreId>, work: impl FnOnce() -> R) -> R {
    if let Some(core) = core {
        core_affinity::set_for_current(core);
    }
    work()
}

fn finish<R>(thread: std::thread::ScopedJoinHandle<'_, R>) -> R {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Emits single events or batches with nobody who takes them meanwhile; returns nanoseconds an event.
fn emit(batch: u64, clock: &Clock) -> Result<f64, Failure> {
    const BLOCKS: u64 = 256;
    let mut builder = Builder::new(PipelineOptions {
        topology: Topology::Inline,
        ring_capacity: BLOCK as usize,
        full_policy: FullPolicy::DropNewest,
        clock: clock.clone(),
        ..options(0)
    });
    builder.domain(&WORK);
    let pipeline = builder.start()?;
    let mut emitter = pipeline.emitter("bench")?;
    let (entity, sample) = (entity(1), sample(1));
    let mut time = Duration::ZERO;
    for _ in 0..BLOCKS {
        let start = Instant::now();
        if batch == 1 {
            for _ in 0..BLOCK {
                emitter.emit(black_box(entity), black_box(&sample))?;
            }
        } else {
            for _ in 0..BLOCK / batch {
                emitter.emit_batch((0..batch).map(|_| (black_box(entity), black_box(sample))));
            }
        }
        time += start.elapsed();
        while pipeline.poll() > 0 {}
    }
    drop(emitter);
    let snapshot = checked(pipeline, BLOCK * BLOCKS)?;
    expect("unique events", snapshot.account.unique, 1)?;
    Ok(nanoseconds(time, BLOCK * BLOCKS))
}

/// Brings `events` events with `ids` different numbers through a pipeline with its own thread; returns nanoseconds an
/// event. With `observers` they are counted and measured.
fn through(events: u64, ids: u64, observers: usize, warnings: &mut Vec<String>) -> Result<f64, Failure> {
    let mut builder = Builder::new(PipelineOptions { topology: Topology::Fused, ..options(ids) });
    builder.domain(&WORK);
    let metrics = (observers > 0).then(|| builder.observer("metrics", |setup| Metrics::new(setup.schema)));
    let pipeline = builder.start()?;
    let mut emitter = pipeline.emitter("bench")?;
    let start = on_first_core(|| {
        let start = Instant::now();
        for number in 0..events {
            let number = if ids == 1 { 0 } else { number };
            emitter.emit(entity(number), &sample(number))?;
        }
        Ok::<_, EmitError>(start)
    })??;
    drop(emitter);
    // Ends when the last event is through.
    let snapshot = checked(pipeline, events)?;
    let time = start.elapsed();
    expect("unique events", snapshot.account.unique, ids)?;
    if let Some(report) = metrics.and_then(|key| snapshot.report(key)) {
        expect(
            "measured events",
            report.measures.iter().map(|measure| measure.histogram.len()).sum(),
            2 * ids,
        )?;
    }
    warnings.extend(snapshot.warnings);
    Ok(nanoseconds(time, events))
}

/// Ends a pipeline and makes sure that `offered` events were accounted for and none was lost.
fn checked(pipeline: Pipeline, offered: u64) -> Result<Snapshot, Failure> {
    let snapshot = pipeline.shutdown();
    snapshot.account.check()?;
    expect("offered events", snapshot.account.offered, offered)?;
    expect("accepted events", snapshot.account.accepted, offered)?;
    Ok(snapshot)
}

fn expect(what: &str, found: u64, expected: u64) -> Result<(), Failure> {
    if found == expected {
        return Ok(());
    }
    Err(format!("there are {found} {what} where {expected} were expected; please report this bug").into())
}

/// Checks new ids and then known ones; returns the rates, and how many bytes lay in huge pages.
fn dedup_rates(ids: u64) -> Result<(DedupRates, usize), Failure> {
    let mut dedup = Dedup::new(&options(ids).dedup)?;
    let mut verdicts = [Verdict::New; BATCH];
    let mut records = Vec::with_capacity(BLOCK as usize);
    let mut rates = [0.0; 2];
    for (rate, expected) in rates.iter_mut().zip([ids, 0]) {
        let (mut time, mut new) = (Duration::ZERO, 0);
        for from in (0..ids).step_by(BLOCK as usize) {
            records.clear();
            records.extend(
                (from..(from + BLOCK).min(ids))
                    .map(|number| Record::new(Identity::Content, number, entity(number), &sample(number))),
            );
            let start = Instant::now();
            for batch in records.chunks_mut(BATCH) {
                new += u64::from(dedup.check(batch, &mut verdicts).count_ones());
            }
            time += start.elapsed();
        }
        expect("new ids", new, expected)?;
        *rate = 1e3 / nanoseconds(time, ids);
    }
    let [new, known] = rates;
    Ok((DedupRates { ids, new, known }, dedup.stats().huge_page_bytes))
}

/// Records how old events are when they are observed. Their times are counted from `start`.
///
/// The system's monotonic clock is read, because it waits for the loads before it: a processor may read its cycle counter
/// while the event is still on its way.
struct Delays {
    start: Instant,
    histogram: Histogram<u64>,
}

struct DelayReport(Histogram<u64>);

impl Observer for Delays {
    type Report = DelayReport;

    fn interest(&self) -> Interest {
        Interest::ALL
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        let now = nanos(self.start.elapsed());
        for (record, _) in batch.iter() {
            if record.kind() == Sample::KIND {
                // A time that lies ahead, or a delay that is not counted, shows in the number of delays.
                let delay = now.checked_sub(record.time_ns());
                let _ = delay.map(|delay_ns| self.histogram.record(delay_ns));
            }
        }
        Ok(())
    }

    fn report(&self) -> DelayReport {
        DelayReport(self.histogram.clone())
    }
}

impl Report for DelayReport {
    fn merge(&mut self, other: DelayReport) {
        // Both grow as they need to.
        let _ = self.0.add(&other.0);
    }
}

/// Emits at a set rate, whatever the pipeline does, and measures from the time at which each event was due.
fn delay(args: &Args, wait: WaitStrategy) -> Result<Delay, Failure> {
    let count = events(args);
    let options = PipelineOptions {
        topology: Topology::Fused,
        wait,
        full_policy: FullPolicy::DropNewest,
        ring_capacity: 65_536,
        ..options(count)
    };
    let mut builder = Builder::new(options);
    builder.domain(&WORK);
    let histogram = Histogram::<u64>::new(3)?;
    let start = Instant::now();
    let key = builder.observer("delays", move |_| Delays { start, histogram: histogram.clone() });
    let pipeline = builder.start()?;
    let mut emitter = pipeline.emitter("bench")?;
    let time = on_first_core(|| emit_at_rate(&mut emitter, start, args.rate, count))?;
    drop(emitter);
    let snapshot = pipeline.shutdown();
    snapshot.account.check()?;
    let dropped = snapshot.account.dropped_full;
    let histogram =
        snapshot.report(key).map(|report| report.0.clone()).ok_or("the delays were not reported")?;
    expect("delays", histogram.len(), count - dropped)?;
    Ok(Delay { wait, histogram, dropped, per_second: count as f64 / time.as_secs_f64() })
}

/// Emits at a rate; events have the times at which they are due, counted from `start`. Returns how long it took.
fn emit_at_rate(emitter: &mut Emitter, start: Instant, rate: u64, count: u64) -> Duration {
    let first_ns = nanos(start.elapsed());
    for number in 0..count {
        let due_ns = due_ns(first_ns, number, rate);
        wait_until(start, due_ns);
        // What is dropped is counted.
        let _ = emitter.emit_at(due_ns, entity(number), &sample(number));
    }
    start.elapsed() - Duration::from_nanos(first_ns)
}

/// Waits at the same rate with nothing else to do, on the two cores that a pipeline and its emitter would have. What is late
/// here is the machine: other programs, the kernel's own threads, or a host that gave a core to others.
fn lateness(args: &Args) -> Result<Histogram<u64>, Failure> {
    let wait = || {
        let mut histogram = Histogram::<u64>::new(3)?;
        let start = Instant::now();
        for number in 0..events(args) {
            let due_ns = due_ns(0, number, args.rate);
            // It grows as it needs to.
            let _ = histogram.record(wait_until(start, due_ns) - due_ns);
        }
        Ok::<_, CreationError>(histogram)
    };
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let (first, last) = (cores.first().copied(), cores.last().copied());
    let mut both = Histogram::new(3)?;
    std::thread::scope(|scope| {
        let [first, last] = [first, last].map(|core| spawn(scope, move || on_core(core, wait)));
        Ok::<_, Failure>([first?, last?].map(finish))
    })?
    .into_iter()
    .try_for_each(|late| Ok::<_, Failure>(both.add(&late?)?))?;
    Ok(both)
}

fn events(args: &Args) -> u64 {
    (args.rate as f64 * args.duration.as_secs_f64()).max(1.0) as u64
}

fn due_ns(first_ns: u64, number: u64, rate: u64) -> u64 {
    first_ns + (u128::from(number) * 1_000_000_000 / u128::from(rate)) as u64
}

/// Looks at the clock until it is `due_ns` after `start`; returns what it shows then.
fn wait_until(start: Instant, due_ns: u64) -> u64 {
    loop {
        let now_ns = nanos(start.elapsed());
        if now_ns >= due_ns {
            return now_ns;
        }
        std::hint::spin_loop();
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns what share of one core an idle pipeline uses; `None` where the system does not tell.
fn idle(clock: &Clock) -> Result<Option<f64>, Failure> {
    let clock = clock.clone();
    let mut builder = Builder::new(PipelineOptions { topology: Topology::Fused, clock, ..options(0) });
    builder.domain(&WORK);
    let pipeline = builder.start()?;
    let emitter = pipeline.emitter("bench")?;
    std::thread::sleep(Duration::from_millis(100));
    let (start, before) = (Instant::now(), cpu_ns());
    std::thread::sleep(Duration::from_secs(2));
    let (wall, after) = (start.elapsed(), cpu_ns());
    drop(emitter);
    drop(pipeline.shutdown());
    Ok(before.zip(after).map(|(before, after)| after.saturating_sub(before) as f64 / wall.as_nanos() as f64))
}

/// Returns how long this process's threads have run so far.
fn cpu_ns() -> Option<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    tasks
        .map(|task| {
            let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            stat.split(' ').next()?.parse::<u64>().ok()
        })
        .sum()
}

/// Returns the name of the processor, as far as the system tells.
fn cpu() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = told.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let name = name.map_or("unknown", |(_, name)| name.trim());
    format!("{name} ({})", std::env::consts::ARCH)
}

/// Returns the cores that a pipeline's one thread was given by [`Pinning::Auto`]; `None` where it has all that there are,
/// or the system does not tell.
fn pinned_to() -> Result<Option<String>, Failure> {
    let pipeline = Builder::new(PipelineOptions { topology: Topology::Fused, ..options(0) }).start()?;
    // Names and cores are a thread's own work.
    std::thread::sleep(Duration::from_millis(50));
    let allowed = |path: std::path::PathBuf| {
        let status = std::fs::read_to_string(path.join("status")).ok()?;
        let value =
            |key| status.lines().find_map(|line: &str| Some(line.strip_prefix(key)?.trim().to_owned()));
        Some((value("Name:")?, value("Cpus_allowed_list:")?))
    };
    let own = allowed("/proc/thread-self".into());
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of_pipeline = tasks.filter_map(|task| allowed(task.path())).find(|(name, _)| name == "pe-dedup-0");
    drop(pipeline.shutdown());
    let cores = of_pipeline.zip(own).filter(|((_, cores), (_, own))| cores != own);
    Ok(cores.map(|((_, cores), _)| cores))
}

fn huge_pages() -> String {
    let setting = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let chosen = setting.split(['[', ']']).nth(1);
    chosen.unwrap_or("unknown").to_owned()
}
