//! The pipeline: starts the stages, takes snapshots, drains and shuts down.
//!
//! ```text
//!              Inline: no thread, the owner polls        Fused: one thread
//!
//!  emitter ──ring──► ┌───────────────────────────┐
//!  emitter ──ring──► │ shard: dedup ──► observers │ ──► snapshot
//!  emitter ──ring──► └───────────────────────────┘
//!
//!              Staged: entities are shared out over shards, and over workers
//!
//!  emitter ─┬─ring──► shard 0: dedup ─┬─rings──► worker 0: observers ─┬─► snapshot
//!  emitter ─┴─ring──► shard 1: dedup ─┴─rings──► worker 1: observers ─┘
//! ```
//!
//! A *ring* is the queue between an emitter and a shard, or a shard and a worker. A *shard* is one part of dedup, for its share of the
//! entities: it takes events out of its rings in *batches* of at most 64, tells new ones from duplicates, and passes them on. It has a
//! thread of its own but under `Inline`, where the owner's does its work. A *worker* is a thread that runs observers; without workers the
//! shard does. A *command* is what the pipeline asks of either between two batches (report, add or remove an observer). A *snapshot*
//! is what all of them know at one time; to *drain* is to wait until all that was accepted before has been observed. The
//! *account* says what became of every event.
//!
//! Shards share events out by entity. The id of an occurrence or a content belongs to one entity, so its redeliveries meet in one shard, and
//! each entity's events stay in the order in which their emitter sent them. (Sharing out by id would balance
//! one busy entity better, and would lose the order of its events.) Events of identity `Digest` are shared out
//! by digest, because one digest may come with different entities; with several shards their order holds only
//! for kinds that an observer asks to see whole.

mod account;
mod builder;
mod close;
mod command_queue;
#[cfg(all(test, not(loom)))]
mod context_tests;
mod drain;
mod emitter_pool;
#[cfg(all(test, loom))]
mod models;
mod observer_host;
mod observer_registry;
mod observers;
mod preload;
mod processors;
mod shard;
mod snapshot;
mod stall;
#[cfg(all(test, not(loom)))]
mod tests;
mod threads;
mod ticker;
mod topology;
mod validated;
mod worker;

pub use crate::observe::worker::Delivery;
pub use crate::wait::WaitStrategy;
pub use account::{Account, AccountError, Further};
pub use builder::{Builder, ObserverSetup, PipelineOptions, StartError};
pub use drain::{DrainError, SettleError};
pub use emitter_pool::{BoundEmitter, EmitterPool};
pub use observer_registry::ObserverOptions;
pub use observers::{AddError, RemoveError};
pub use snapshot::{ReportKey, Snapshot};
pub use stall::Unanswered;
pub use topology::{DEDUP_MAX, Pinning, Topology, TopologyError, WORKERS_MAX};
pub use validated::Validated;

use crate::clock::Clock;
use crate::dedup::DedupStats;
use crate::domain::Schema;
use crate::emit::source::EmitShared;
use crate::emit::{EmitError, Emitter, FullPolicy};
use crate::event::{Contexts, Origin, Symbols};
use crate::observe::worker::{AtWork, WorkerReport};
use crate::process::Processing;
use crate::recorder::FlightRecorder;
use crate::sync::inside::{self, Inside};
use crate::sync::{Arc, Mutex, Ordering, lock};
use observer_registry::ObserverRegistry;
use shard::{ShardReport, ShardShared};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;
use threads::Threads;
use worker::WorkerShared;

/// Warnings of the pipeline's own that are kept.
const WARNINGS_MAX: usize = 1000;

/// A running pipeline.
///
/// Dropping it without [`Pipeline::shutdown`] ends it all the same, and with it goes the last snapshot.
pub struct Pipeline {
    shared: Arc<Shared>,
    threads: Threads,
}

/// Makes emitters from any thread; a clone of what [`Pipeline::handle`] gives.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

struct Shared {
    emit_shared: Arc<EmitShared>,
    shards: Vec<Arc<ShardShared>>,
    workers: Vec<Arc<WorkerShared>>,
    /// By worker, or of the one thread that calls observers.
    at_work: Vec<Arc<AtWork>>,
    registry: Arc<ObserverRegistry>,
    schema: Arc<Schema>,
    symbols: Arc<Symbols>,
    recorder: Option<FlightRecorder>,
    warnings: Mutex<Vec<String>>,
    processors: Vec<Box<str>>,
    start: Instant,
    preloaded: u64,
    options: PipelineOptions,
}

impl Pipeline {
    /// Begins a pipeline with default options.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Makes an emitter for one thread.
    ///
    /// # Errors
    /// When all source numbers are in use.
    pub fn emitter(&self, name: &str) -> Result<Emitter, EmitError> {
        self.shared.emitter(name, self.shared.options.full_policy)
    }

    /// Makes an emitter with a policy of its own for full rings.
    ///
    /// # Errors
    /// As for [`Pipeline::emitter`].
    pub fn emitter_with(&self, name: &str, policy: FullPolicy) -> Result<Emitter, EmitError> {
        self.shared.emitter(name, policy)
    }

    /// Returns what makes emitters on other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Returns which start of a pipeline this is.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.shared.emit_shared.origin
    }

    /// Returns the symbol table.
    #[must_use]
    pub fn symbols(&self) -> &Arc<Symbols> {
        &self.shared.symbols
    }

    /// Returns the clock that stamps events: for times that are to be compared with theirs.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.options.clock
    }

    /// Returns the schema of kinds that can be emitted.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.shared.schema
    }

    /// Returns what knows the context of events and entities.
    #[must_use]
    pub fn contexts(&self) -> &Arc<Contexts> {
        &self.shared.emit_shared.contexts
    }

    /// Takes a burst of events from every ring and brings them through all stages; returns how many. Under
    /// [`Topology::Inline`] only: elsewhere threads do it, and this returns 0.
    ///
    /// An observer that calls this takes nothing: it is within such a call. Neither does it where another thread's call does
    /// nothing for [`PipelineOptions::stall_timeout`].
    pub fn poll(&self) -> usize {
        let Some(work) = &self.threads.inline else { return 0 };
        if self.shared.may_wait().is_err() {
            return 0;
        }
        // Another thread that polls may be within an observer that does not return.
        let Ok(mut work) = self.lock_inline(work) else { return 0 };
        let _inside = self.shared.enter();
        work.answer_and_poll()
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("topology", &self.shared.options.topology)
            .field("emitters", &self.shared.emit_shared.sources.live())
            .field("observers", &self.shared.registry.present())
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// Makes an emitter for one thread.
    ///
    /// # Errors
    /// When all source numbers are in use, or the pipeline has been shut down.
    pub fn emitter(&self, name: &str) -> Result<Emitter, EmitError> {
        self.0.emitter(name, self.0.options.full_policy)
    }

    /// Makes an emitter with a policy of its own for full rings.
    ///
    /// # Errors
    /// As for [`Handle::emitter`].
    pub fn emitter_with(&self, name: &str, policy: FullPolicy) -> Result<Emitter, EmitError> {
        self.0.emitter(name, policy)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.0.options.topology).finish()
    }
}

impl Shared {
    /// Says until what it returns is dropped that this thread works for the pipeline.
    fn enter(&self) -> Inside {
        let inside = inside::enter(&self.emit_shared.contexts);
        if self.workers.is_empty()
            && let Some(at_work) = self.at_work.first()
        {
            inside::beat_on(&at_work.beats);
        }
        inside
    }

    fn is_own_thread(&self) -> bool {
        inside::is_inside(&self.emit_shared.contexts)
    }

    fn emitter(&self, name: &str, policy: FullPolicy) -> Result<Emitter, EmitError> {
        if self.emit_shared.gate.is_forked() {
            return Err(EmitError::Forked);
        }
        if self.emit_shared.gate.is_closed() {
            return Err(EmitError::Closed);
        }
        let source = self.emit_shared.sources.open(name).ok_or(EmitError::SourcesExhausted)?;
        let senders =
            self.shards.iter().map(|shard| shard.rings.connect(self.options.ring_capacity)).collect();
        let (clock, symbols) = (self.options.clock.clone(), Arc::clone(&self.symbols));
        let origin = self.emit_shared.origin;
        let shard = self.recorder.as_ref().and_then(|recorder| recorder.track(name, origin));
        Ok(Emitter::new(Arc::clone(&self.emit_shared), senders, clock, policy, source, symbols, shard))
    }

    fn start_draining(&self) {
        for shard in &self.shards {
            // Release: partner is the load in `ShardThread::run`.
            shard.draining.store(true, Ordering::Release);
            shard.rings.parker.wake();
        }
    }

    /// Events that shards found unique and duplicate; those that observers' failures brought forth are unique.
    fn verdicts(&self) -> (u64, u64) {
        let (mut unique, mut duplicates) = (0, 0);
        for shard in &self.shards {
            unique += shard.counts.unique.load(Ordering::Acquire);
            duplicates += shard.counts.duplicates.load(Ordering::Acquire);
        }
        for worker in &self.workers {
            unique += worker.own.load(Ordering::Acquire);
        }
        (unique, duplicates)
    }

    /// Keeps a warning; one that is there already, or is beyond the limit, is not kept again.
    fn warn(&self, warning: String) {
        let mut warnings = lock(&self.warnings);
        if warnings.len() < WARNINGS_MAX && !warnings.contains(&warning) {
            warnings.push(warning);
            if warnings.len() == WARNINGS_MAX {
                warnings.push("there were more warnings than are kept".to_owned());
            }
        }
    }

    /// What is known without asking the threads: nothing in a child, whose locks may be held for ever.
    fn without_threads(&self, why: Unanswered) -> Snapshot {
        if why != Unanswered::Forked {
            return self.assemble(Vec::new(), Vec::new(), vec![why]);
        }
        self.begin(Account::default(), vec![why])
    }

    /// Begins with what is known without asking anybody, and without a lock.
    fn begin(&self, account: Account, unanswered: Vec<Unanswered>) -> Snapshot {
        Snapshot {
            origin: self.emit_shared.origin,
            account,
            dedup: DedupStats::default(),
            preloaded: self.preloaded,
            elapsed: self.start.elapsed(),
            warnings: unanswered
                .iter()
                .map(|missing| format!("the snapshot is not whole: {missing}"))
                .collect(),
            unanswered,
            sources: Vec::new(),
            schema: Arc::clone(&self.schema),
            symbols: Arc::clone(&self.symbols),
            contexts: Arc::clone(&self.emit_shared.contexts),
            reports: BTreeMap::new(),
            accounts: BTreeMap::new(),
            before: BTreeMap::new(),
        }
    }

    fn assemble(
        &self,
        shards: Vec<ShardReport>,
        workers: Vec<WorkerReport>,
        unanswered: Vec<Unanswered>,
    ) -> Snapshot {
        let offered = self.emit_shared.sources.totals();
        // Read after `accepted`, so that what lies between is at most what the rings hold.
        let (unique, duplicates) = self.verdicts();
        let in_flight = offered.sent.accepted.saturating_sub(unique + duplicates);
        let at_rest = self.threads_have_ended();
        let accepted = if at_rest { offered.sent.accepted } else { unique + duplicates + in_flight };
        let account = Account {
            offered: if at_rest {
                offered.offered
            } else {
                accepted + offered.sent.dropped_full + offered.sent.rejected
            },
            accepted,
            dropped_full: offered.sent.dropped_full,
            rejected: offered.sent.rejected,
            unique,
            duplicates,
            in_flight,
            observers: Vec::new(),
            further_observers: Further::default(),
            processors: self.processors.iter().map(|name| (name.clone(), Processing::default())).collect(),
        };
        let mut snapshot = self.begin(account, unanswered);
        snapshot.sources = self.emit_shared.sources.names();
        snapshot.warnings.extend(lock(&self.warnings).iter().cloned());
        snapshot.warnings.extend(self.options.clock.steps().warning());
        snapshot.warnings.extend(self.symbols.warnings());
        snapshot.warnings.extend(self.emit_shared.contexts.warnings());
        let mut workers = workers;
        for shard in shards {
            snapshot.take_in_dedup(shard.dedup);
            snapshot.take_in_processors(shard.processors);
            workers.extend(shard.observers);
        }
        // Read after the workers have answered: whoever is in their answers has an account.
        let (names, further) = self.registry.accounts();
        snapshot.take_in_observers(&names, further, workers);
        snapshot
    }

    /// No emitter counts any more and no shard works: what the counters say is the whole truth.
    fn threads_have_ended(&self) -> bool {
        self.shards.iter().all(|shard| shard.draining.load(Ordering::Acquire))
    }
}
