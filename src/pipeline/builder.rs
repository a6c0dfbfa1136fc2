//! Building a pipeline: options, observers, and the one place where threads start.

use crate::clock::Clock;
use crate::dedup::{Dedup, DedupError, DedupOptions};
use crate::domain::{DomainDef, Schema, SchemaError};
use crate::emit::source::{EmitShared, Router, Sources};
use crate::emit::{EmitTotals, FullPolicy};
use crate::event::{
    Context, Contexts, EventKind, IdScope, Identity, KindSet, Origin, Record, Stages, Symbols,
};
use crate::observe::catch_panic::catch_panic;
use crate::observe::presence::collect;
use crate::observe::worker::{AnyObserver, Worker};
use crate::observe::{Observer, Scope};
use crate::pipeline::observer_host::{ObserverHost, SelfReporter};
use crate::pipeline::observer_registry::{ObserverOptions, ObserverRegistry};
use crate::pipeline::preload::{Preload, preload};
use crate::pipeline::processors::{self, Processors};
use crate::pipeline::shard::{Output, ShardShared, ShardThread};
use crate::pipeline::snapshot::ReportKey;
use crate::pipeline::threads::{Ending, Threads};
use crate::pipeline::ticker::Ticker;
use crate::pipeline::topology::{DEDUP_MAX, Pinning, Topology, WORKERS_MAX, pin};
use crate::pipeline::worker::{self, Dispatcher, WorkerReceiver, WorkerShared, WorkerThread};
use crate::pipeline::{Pipeline, Shared};
use crate::process::{DerivedBuffer, Processing, Processor};
use crate::recorder::FlightRecorder;
use crate::sync::{self, Arc, Mutex, lock, thread};
use crate::wait::{Gate, WaitStrategy};
use std::time::{Duration, Instant};

/// How a pipeline runs.
#[derive(Clone, Debug)]
pub struct PipelineOptions {
    /// Which threads there are.
    pub topology: Topology,
    /// What threads do while there is nothing to do.
    pub wait: WaitStrategy,
    /// On which cores they run.
    pub pinning: Pinning,
    /// Records that each ring holds, of an emitter to a shard and of a shard to a worker: 64 to 16,777,216.
    pub ring_capacity: usize,
    /// What emitters do when their ring is full, unless told otherwise.
    pub full_policy: FullPolicy,
    /// What dedup remembers. Shards share `expected_ids` and the memory budget; each has the whole window for its
    /// share of the entities.
    pub dedup: DedupOptions,
    /// What stamps events.
    pub clock: Clock,
    /// Bytes that the table of contexts takes at most, about: [`Contexts::new`].
    pub contexts_bytes: u64,
    /// How long the pipeline may do nothing for whoever asks it: a thread that neither takes events nor answers for so long (it is
    /// within an observer that does not return, say) is left out of a [snapshot](Pipeline::snapshot), is not waited for when an
    /// observer is added or removed, and is given up at the [shutdown](Pipeline::shutdown), as is an emitter that does not come out of
    /// a call. The snapshot says so. Longer than an observer is at one piece of work ([`still_at_work`](crate::observe::still_at_work) begins
    /// another piece): what is given up is lost. At least a millisecond.
    pub stall_timeout: Duration,
}

impl Default for PipelineOptions {
    fn default() -> PipelineOptions {
        PipelineOptions {
            topology: Topology::default(),
            wait: WaitStrategy::default(),
            pinning: Pinning::default(),
            ring_capacity: 4096,
            full_policy: FullPolicy::Block { timeout: Duration::from_secs(1) },
            dedup: DedupOptions::default(),
            clock: Clock::cycles(),
            contexts_bytes: Contexts::LIMIT_DEFAULT,
            stall_timeout: Duration::from_secs(120),
        }
    }
}

/// Why a pipeline did not start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
#[non_exhaustive]
pub enum StartError {
    /// An option is out of range.
    #[error("option `{option}` is {value}; give {valid}")]
    Option { option: &'static str, value: usize, valid: &'static str },
    /// Two observers have one name.
    #[error("two observers are named {0:?}; give each its own name")]
    ObserverName(String),
    /// An observer panicked when it was asked what it wants.
    #[error("observer {name:?} {panic} when it was asked for its interest")]
    ObserverPanicked { name: String, panic: String },
    /// Two processors have one name.
    #[error("two processors are named {0:?}; give each its own name")]
    ProcessorName(String),
    /// A processor panicked when it was asked what it wants.
    #[error("processor {name:?} {panic} when it was asked for its interest")]
    ProcessorPanicked { name: String, panic: String },
    /// The rings would take more memory than the limit.
    #[error(
        "option `ring_capacity` is {capacity} and there are {shards} shards: {bytes} bytes for each emitter; give at most {RING_BYTES_MAX} in all"
    )]
    RingMemory { capacity: usize, shards: usize, bytes: usize },
    /// The flight recorder is that of the process by which this one was forked.
    #[error("{}: the recorder was made before this process was forked; make one of its own here", path.display())]
    RecorderForked { path: std::path::PathBuf },
    /// A domain was refused.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The dedup options were refused.
    #[error(transparent)]
    Dedup(#[from] DedupError),
    /// The system gave no thread.
    #[error(
        "thread {name} could not be started: {source}; raise the limit on threads (`ulimit -u`, a container's `pids.max`) or on memory (`ulimit -v`), or use a topology with fewer threads"
    )]
    Thread { name: String, source: std::io::Error },
}

/// What an observer may want to know when it is made.
#[derive(Clone, Copy, Debug)]
pub struct ObserverSetup<'a> {
    /// The kinds that can be emitted.
    pub schema: &'a Arc<Schema>,
    /// The names behind symbols.
    pub symbols: &'a Arc<Symbols>,
    /// Which parts of the experiment events belong to.
    pub contexts: &'a Arc<Contexts>,
    /// This start of the pipeline.
    pub origin: Origin,
    /// What became of the events that were offered to the pipeline.
    pub totals: &'a EmitTotals,
    /// The worker that will own the instance, from 0.
    pub worker: usize,
}

/// Bytes that one emitter's rings may have in all.
const RING_BYTES_MAX: usize = 1 << 30;

type Make = Box<dyn FnMut(ObserverSetup<'_>) -> Box<dyn AnyObserver>>;

type MakeProcessor = Box<dyn FnMut(ObserverSetup<'_>) -> Box<dyn Processor>>;

struct Entry {
    options: ObserverOptions,
    make: Make,
}

/// Collects what a pipeline is made of. Nothing happens before [`Builder::start`].
#[derive(Default)]
pub struct Builder {
    options: PipelineOptions,
    schema: Option<Schema>,
    domains: Vec<DomainDef>,
    identities: Vec<(EventKind, Identity)>,
    observers: Vec<Entry>,
    processors: Vec<(Box<str>, MakeProcessor)>,
    symbols: Option<Arc<Symbols>>,
    recorder: Option<FlightRecorder>,
    remember: Vec<Preload>,
}

impl Builder {
    /// Begins with `options`.
    #[must_use]
    pub fn new(options: PipelineOptions) -> Builder {
        Builder { options, ..Builder::default() }
    }

    /// Begins with the kinds of `schema` instead of this crate's own: with those of a file that is replayed, say. Domains that
    /// are [added](Builder::domain) come to these.
    pub fn schema(&mut self, schema: Schema) -> &mut Builder {
        self.schema = Some(schema);
        self
    }

    /// Adds a domain of the user's.
    pub fn domain(&mut self, def: &DomainDef) -> &mut Builder {
        self.domains.push(def.clone());
        self
    }

    /// Changes what makes two events of `kind` the same, for this run: [`Identity::Content`] merges those of equal content
    /// within the same context.
    pub fn identity(&mut self, kind: EventKind, identity: Identity) -> &mut Builder {
        self.identities.push((kind, identity));
        self
    }

    /// Shares a symbol table with other pipelines, or with whoever interned names before.
    pub fn symbols(&mut self, symbols: Arc<Symbols>) -> &mut Builder {
        self.symbols = Some(symbols);
        self
    }

    /// Adds an observer under a name of its own; `make` is called once per worker that needs an instance.
    ///
    /// A name will do for `options`: observers of equal priority are called in the order in which they were added.
    pub fn observer<O: Observer>(
        &mut self,
        options: impl Into<ObserverOptions>,
        mut make: impl FnMut(ObserverSetup<'_>) -> O + 'static,
    ) -> ReportKey<O::Report> {
        let number = self.observers.len();
        let make: Make = Box::new(move |setup| Box::new(make(setup)));
        self.observers.push(Entry { options: options.into(), make });
        ReportKey::new(number)
    }

    /// Adds a processor under a name of its own; `make` is called once per dedup thread, whose number is the worker of the
    /// setup. Processors see events in the order in which they were added, and before any observer.
    pub fn processor<P: Processor>(
        &mut self,
        name: &str,
        mut make: impl FnMut(ObserverSetup<'_>) -> P + 'static,
    ) -> &mut Builder {
        self.processors.push((name.into(), Box::new(move |setup| Box::new(make(setup)))));
        self
    }

    /// Lets each emitter keep its last events in `recorder`, and the recorder take down the names and documents that they
    /// refer to. An emitter for which the recorder has no shard is not recorded, and counted there.
    pub fn recorder(&mut self, recorder: &FlightRecorder) -> &mut Builder {
        self.recorder = Some(recorder.clone());
        self
    }

    /// Tells dedup, before the start, of the records of an earlier part of the run: what comes again is a duplicate
    /// then.
    ///
    /// `feed` is called once, by [`Builder::start`], and calls what it is given on the records in their order (those
    /// of a journal, say, with the ids that they have there). No observer sees them;
    /// [`Snapshot::preloaded`](crate::pipeline::Snapshot::preloaded) counts them. Emitters take sources and numbers behind
    /// theirs, so that a journal of both parts has each once; where a lost tail had used them, the origins differ.
    pub fn preload(&mut self, feed: impl FnOnce(&mut dyn FnMut(&[Record])) + 'static) -> &mut Builder {
        self.remember.push(Box::new(feed));
        self
    }

    /// Starts the pipeline and its threads.
    ///
    /// # Errors
    /// Names the option that is out of range, the domain or observer that clashes, or the thread that the system
    /// did not give. No thread is left running.
    pub fn start(mut self) -> Result<Pipeline, StartError> {
        let options = self.options.clone();
        check(&options)?;
        let schema = Arc::new(self.whole_schema()?);
        let symbols = self.symbols.take().unwrap_or_default();
        if let Some(recorder) = &self.recorder {
            if !recorder.is_here() {
                return Err(StartError::RecorderForked { path: recorder.path().to_owned() });
            }
            for domain in schema.domains().filter(|domain| !Schema::is_built_in(domain)) {
                recorder.define_domain(domain.domain, &domain.to_json());
            }
            recorder.listen(&symbols);
        }
        let workers = match options.topology {
            Topology::Inline | Topology::Fused => 1,
            Topology::Staged { workers, .. } => workers,
        };
        let registry = Arc::new(ObserverRegistry::default());
        let contexts = Arc::new(Contexts::new(&symbols, options.contexts_bytes));
        let origin = Origin::random();
        let sources = Arc::new(Sources::default());
        let setup = ObserverSetup {
            schema: &schema,
            symbols: &symbols,
            contexts: &contexts,
            origin,
            totals: &EmitTotals::of(&sources),
            worker: 0,
        };
        let (observers, whole) = self.make_observers(&registry, setup, workers)?;
        let whole = keep_together(whole, &schema);
        let shards = options.topology.shards();
        let identities = schema.kinds().filter_map(|(kind, _)| Some((kind, schema.identity(kind)?)));
        let emit_shared = Arc::new(EmitShared {
            origin,
            id_scope: IdScope::new(origin.bits()),
            router: Router::new(identities, whole, shards),
            sources,
            contexts: Arc::clone(&contexts),
            gate: Gate::new(),
        });
        let mut dedups = Vec::new();
        for _ in 0..shards {
            dedups.push(Dedup::new(&share_of_shard(&options.dedup, shards))?.with_origin(origin));
        }
        let preloaded = preload(std::mem::take(&mut self.remember), &emit_shared, &mut dedups);
        if let Some(recorder) = &self.recorder {
            recorder.begins(!self.processors.is_empty(), preloaded > 0);
        }
        let reporter = || SelfReporter {
            emit_shared: Arc::clone(&emit_shared),
            clock: options.clock.clone(),
            symbols: Arc::clone(&symbols),
            source: None,
        };
        let hosts =
            (0..).zip(observers).map(|(number, worker)| ObserverHost::new(number, worker, reporter()));
        let hosts: Vec<_> = hosts.collect();
        let at_work = hosts.iter().map(ObserverHost::at_work).collect();
        let shared = Arc::new(Shared {
            emit_shared: Arc::clone(&emit_shared),
            shards: (0..shards).map(|_| Arc::new(ShardShared::new())).collect(),
            workers: match options.topology {
                Topology::Inline | Topology::Fused => Vec::new(),
                Topology::Staged { workers, .. } => {
                    (0..workers).map(|_| Arc::new(WorkerShared::new())).collect()
                }
            },
            at_work,
            registry,
            schema: Arc::clone(&schema),
            symbols: Arc::clone(&symbols),
            recorder: self.recorder.take(),
            warnings: Mutex::new(Vec::new()),
            processors: self.processors.iter().map(|(name, _)| name.clone()).collect(),
            start: Instant::now(),
            preloaded,
            options,
        });
        let stages: Arc<dyn Stages> = Arc::clone(&shared) as _;
        symbols.serve(&Arc::downgrade(&stages));
        contexts.serve(Arc::downgrade(&stages));
        drop(stages);
        let options = &shared.options;
        let mut rings_of_worker: Vec<Vec<WorkerReceiver>> =
            shared.workers.iter().map(|_| Vec::new()).collect();
        let mut works = Vec::new();
        let mut hosts = hosts.into_iter();
        let mut here = if shared.workers.is_empty() { hosts.next() } else { None };
        for (shard, dedup) in shared.shards.iter().zip(dedups) {
            let processors =
                make_processors(&mut self.processors, works.len(), &shared, options.clock.clone())?;
            let output = match here.take() {
                Some(host) => Output::Here(Box::new(host)),
                None => {
                    let mut senders = Vec::new();
                    for (workers, receivers) in shared.workers.iter().zip(&mut rings_of_worker) {
                        let (sender, receiver) = worker::connect(options.ring_capacity, workers);
                        senders.push(sender);
                        receivers.push(receiver);
                    }
                    Output::Workers(Box::new(Dispatcher::new(senders, whole)))
                }
            };
            works.push(ShardThread::new(Arc::clone(shard), dedup, processors, output));
        }
        let worker_works = shared
            .workers
            .iter()
            .zip(rings_of_worker)
            .zip(hosts)
            .map(|((shard, receivers), host)| WorkerThread::new(Arc::clone(shard), receivers, host))
            .collect();
        let threads = start_threads(&shared, works, worker_works)?;
        Ok(Pipeline { shared, threads })
    }

    fn whole_schema(&self) -> Result<Schema, SchemaError> {
        let mut schema = self.schema.clone().unwrap_or_default();
        for def in &self.domains {
            schema.register(def)?;
        }
        for (kind, identity) in &self.identities {
            schema.set_identity(*kind, *identity)?;
        }
        Ok(schema)
    }

    /// Makes each worker's observers, and the set of kinds that one worker must see whole.
    fn make_observers(
        &mut self,
        registry: &ObserverRegistry,
        setup: ObserverSetup<'_>,
        workers: usize,
    ) -> Result<(Vec<Worker>, KindSet), StartError> {
        let mut by_worker: Vec<Worker> = (0..workers).map(|_| Worker::new()).collect();
        let mut whole = KindSet::EMPTY;
        for entry in &mut self.observers {
            let name = || StartError::ObserverName(entry.options.name.clone());
            let entered = registry.enter(&entry.options).ok_or_else(name)?;
            for (worker, observers) in by_worker.iter_mut().enumerate() {
                let (observer, presences) = collect(|| (entry.make)(ObserverSetup { worker, ..setup }));
                let interest = catch_panic(|| observer.interest()).map_err(|panic| {
                    StartError::ObserverPanicked { name: entry.options.name.clone(), panic }
                })?;
                observers.add(entered.placed(entry.options.priority, interest, observer, presences));
                if interest.scope == Scope::Whole {
                    whole = whole.union(&interest.kinds);
                    break;
                }
            }
        }
        Ok((by_worker, whole))
    }
}

/// Adds to the kinds that one worker sees whole all others of their domains, where those have states: an entity's events
/// are to come to one worker, or its states would be torn in two.
fn keep_together(whole: KindSet, schema: &Schema) -> KindSet {
    let domains = whole.iter().map(EventKind::domain).filter(|domain| schema.states(*domain).is_some());
    domains.fold(whole, |set, domain| set.union(&KindSet::domain(domain)))
}

/// Makes the processors of a shard; none where there are none.
fn make_processors(
    makers: &mut [(Box<str>, MakeProcessor)],
    shard: usize,
    shared: &Shared,
    clock: Clock,
) -> Result<Option<Box<Processors>>, StartError> {
    if makers.is_empty() {
        return Ok(None);
    }
    let (emit_shared, symbols) = (&shared.emit_shared, &shared.symbols);
    let mut entries = Vec::new();
    for (name, make) in makers {
        if entries.iter().any(|known: &processors::Entry| known.name == *name) {
            return Err(StartError::ProcessorName(name.to_string()));
        }
        let (schema, contexts) = (&shared.schema, &emit_shared.contexts);
        let totals = &EmitTotals::of(&emit_shared.sources);
        let processor = make(ObserverSetup {
            schema,
            symbols,
            contexts,
            origin: emit_shared.origin,
            totals,
            worker: shard,
        });
        let interest = catch_panic(|| processor.interest())
            .map_err(|panic| StartError::ProcessorPanicked { name: name.to_string(), panic })?;
        let buffer = DerivedBuffer {
            emit_shared: Arc::clone(emit_shared),
            symbols: Arc::clone(symbols),
            source: emit_shared.sources.open(name),
            out: Vec::new(),
            counts: Processing::default(),
            context: Context::NONE,
            entered: Context::NONE,
            defined: Default::default(),
        };
        let (name, processor) = (name.clone(), Some(processor));
        entries.push(processors::Entry { name, processor, interest, buffer, trouble: None });
    }
    Ok(Some(Box::new(Processors::new(entries, shard as u64, clock))))
}

/// Divides what is measured in memory among the shards. A window stays whole in each: a shard cannot know how many ids
/// the others have seen, and to remember longer than asked is right.
fn share_of_shard(options: &DedupOptions, shards: usize) -> DedupOptions {
    DedupOptions {
        expected_ids: options.expected_ids.div_ceil(shards),
        memory_budget_bytes: options.memory_budget_bytes.map(|budget| budget / shards),
        ..options.clone()
    }
}

fn check(options: &PipelineOptions) -> Result<(), StartError> {
    let in_range = |option, value: usize, max: usize, min: usize, valid| {
        if (min..=max).contains(&value) { Ok(()) } else { Err(StartError::Option { option, value, valid }) }
    };
    in_range("ring_capacity", options.ring_capacity, 1 << 24, 64, "64 to 16777216")?;
    let (capacity, shards) = (options.ring_capacity, options.topology.shards());
    let bytes = capacity.saturating_mul(shards).saturating_mul(size_of::<Record>());
    if bytes > RING_BYTES_MAX {
        return Err(StartError::RingMemory { capacity, shards, bytes });
    }
    let stall_ms = usize::try_from(options.stall_timeout.as_millis()).unwrap_or(usize::MAX);
    in_range("stall_timeout_ms", stall_ms, usize::MAX, 1, "1 or more")?;
    if let Some(resolution) = options.clock.resolution() {
        let ns = usize::try_from(resolution.as_nanos()).unwrap_or(usize::MAX);
        in_range("clock.resolution_ns", ns, 1_000_000_000, 100_000, "100000 (0.1 ms) to 1000000000 (1 s)")?;
    }
    if let Topology::Staged { dedup, workers } = options.topology {
        in_range("topology.dedup", dedup, DEDUP_MAX, 1, "1 to 64")?;
        in_range("topology.workers", workers, WORKERS_MAX, 1, "1 to 64")?;
    }
    Ok(())
}

/// Starts every thread of the pipeline. When one cannot be had, those before it end by themselves: what they wait
/// for is dropped.
fn start_threads(
    shared: &Arc<Shared>,
    shards: Vec<ShardThread>,
    workers: Vec<WorkerThread>,
) -> Result<Threads, StartError> {
    let options = &shared.options;
    if options.topology == Topology::Inline {
        let inline = shards.into_iter().next().map(Mutex::new);
        return Ok(Threads { inline, ..Threads::default() });
    }
    let cores = options.pinning.choose(options.topology.threads());
    let mut cores = cores.into_iter();
    let mut threads = Threads::default();
    let wait = options.wait;
    for (number, work) in shards.into_iter().enumerate() {
        let name = format!("pe-dedup-{number}");
        let ending = threads.shards.next_ending();
        match spawn(shared, name, cores.next().flatten(), ending, move || work.run(wait)) {
            Ok(thread) => threads.shards.add(thread),
            Err(error) => return Err(abandon(shared, threads, error)),
        }
    }
    for (number, work) in workers.into_iter().enumerate() {
        let name = format!("pe-worker-{number}");
        let ending = threads.workers.next_ending();
        match spawn(shared, name, cores.next().flatten(), ending, move || work.run(wait)) {
            Ok(thread) => threads.workers.add(thread),
            Err(error) => return Err(abandon(shared, threads, error)),
        }
    }
    match Ticker::start(&options.clock) {
        Ok(ticker) => threads.ticker = ticker,
        Err(source) => {
            let error = StartError::Thread { name: Ticker::NAME.to_owned(), source };
            return Err(abandon(shared, threads, error));
        }
    }
    Ok(threads)
}

/// Lets the threads that have started run out.
fn abandon(shared: &Shared, threads: Threads, error: StartError) -> StartError {
    shared.start_draining();
    threads.shards.join();
    threads.workers.join();
    error
}

fn spawn<T: Send + 'static>(
    shared: &Arc<Shared>,
    name: String,
    core: Option<usize>,
    ending: Ending,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, StartError> {
    let twin = Arc::clone(shared);
    let label = name.clone();
    let run = move || {
        let _ending = ending;
        if let Some(core) = core
            && let Some(warning) = pin(&label, core)
        {
            lock(&twin.warnings).push(warning);
        }
        let _inside = twin.enter();
        drop(twin);
        work()
    };
    sync::spawn(name.clone(), run).map_err(|source| StartError::Thread { name, source })
}
