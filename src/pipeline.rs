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
mod command_queue;
#[cfg(all(test, not(loom)))]
mod context_tests;
mod drain;
mod emitter_pool;
#[cfg(all(test, loom))]
mod models;
mod observer_host;
mod observer_registry;
mod preload;
mod processors;
mod shard;
mod snapshot;
#[cfg(all(test, not(loom)))]
mod tests;
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
pub use snapshot::{ReportKey, Snapshot};
pub use topology::{DEDUP_MAX, Pinning, Topology, TopologyError, WORKERS_MAX};
pub use validated::Validated;

use crate::clock::Clock;
use crate::dedup::DedupStats;
use crate::domain::Schema;
use crate::emit::source::EmitShared;
use crate::emit::{EmitError, EmitTotals, Emitter, FullPolicy};
use crate::event::{Contexts, Origin, Symbols};
use crate::observe::catch_panic::catch_panic;
use crate::observe::inside::{self, Inside};
use crate::observe::presence::{Unplaced, collect};
use crate::observe::worker::{AnyObserver, AnyReport, Merged, WorkerReport};
use crate::observe::{Observer, Report, Scope};
use crate::process::Processing;
use crate::recorder::FlightRecorder;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Arc, Mutex, Ordering, lock, mpsc};
use crate::wait::ActiveFlag;
use observer_host::ObserverCommand;
use observer_registry::ObserverRegistry;
use shard::{ShardCommand, ShardReport, ShardShared, ShardThread};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;
use ticker::Ticker;
use worker::{WorkerCommand, WorkerShared};

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

struct Threads {
    inline: Option<Mutex<ShardThread>>,
    shards: Vec<JoinHandle<ShardReport>>,
    workers: Vec<JoinHandle<WorkerReport>>,
    ticker: Option<Ticker>,
}

/// Why an observer was not added to a running pipeline.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// An observer that is there has the name.
    #[error("an observer is named {0:?}; remove it first, or choose another name")]
    Name(String),
    /// It wants to see kinds whole that are shared out among workers.
    #[error("observer {0:?} wants to see kinds whole that are shared out already; add it before the start")]
    NotWhole(String),
    /// It panicked when it was asked what it wants.
    #[error("observer {0:?} {1} when it was asked for its interest")]
    Panicked(String, String),
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
    /// An observer that calls this takes nothing: it is within such a call.
    pub fn poll(&self) -> usize {
        let Some(work) = &self.threads.inline else { return 0 };
        if self.shared.is_own_thread() {
            return 0;
        }
        let mut work = lock(work);
        let _inside = self.shared.enter();
        work.answer_and_poll()
    }

    /// Returns what the pipeline knows now. Each thread answers between two batches.
    ///
    /// It has not what still lies in rings: `account.in_flight` says how many events those are. To have all that was
    /// accepted before, call [`Pipeline::drain`] first.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let (shard_replies, shard_answers) = mpsc::channel();
        for shard in &self.shared.shards {
            shard.commands.put(ShardCommand::Report(shard_replies.clone()));
            shard.rings.parker.wake();
        }
        let (worker_replies, worker_answers) = mpsc::channel();
        for worker in &self.shared.workers {
            worker.commands.put(WorkerCommand::Report(worker_replies.clone()));
            worker.parker.wake();
        }
        drop((shard_replies, worker_replies));
        self.answer_inline();
        self.shared.assemble(shard_answers.iter().collect(), worker_answers.iter().collect())
    }

    /// Adds an observer while the pipeline runs. It sees every event that is emitted after this returns; those that
    /// came before count as skipped.
    ///
    /// `make` is called once per worker, on this thread.
    ///
    /// # Errors
    /// When the name is taken, or the observer wants to see kinds whole that no observer saw whole at the start
    /// (events are on their way to several workers then).
    pub fn add_observer<O: Observer>(
        &self,
        options: impl Into<ObserverOptions>,
        mut make: impl FnMut(ObserverSetup<'_>) -> O,
    ) -> Result<ReportKey<O::Report>, AddError> {
        let (options, shared) = (options.into(), &self.shared);
        let workers = shared.workers.len().max(1);
        let (mut instances, mut unplaced) = (Vec::new(), Unplaced::default());
        let totals = EmitTotals::of(&shared.emit_shared.sources);
        for worker in 0..workers {
            let contexts = &shared.emit_shared.contexts;
            let (schema, symbols) = (&shared.schema, &shared.symbols);
            let (origin, totals) = (shared.emit_shared.origin, &totals);
            let (observer, presences) =
                collect(|| make(ObserverSetup { schema, symbols, contexts, origin, totals, worker }));
            unplaced.take_note(&presences);
            let observer: Box<dyn AnyObserver> = Box::new(observer);
            let asked = catch_panic(|| observer.interest());
            let interest = asked.map_err(|panic| AddError::Panicked(options.name.clone(), panic))?;
            instances.push((interest, observer, presences));
            if interest.scope == Scope::Whole && workers > 1 {
                let whole = &shared.emit_shared.router.whole;
                if interest.kinds.iter().any(|kind| !whole.contains(kind)) {
                    return Err(AddError::NotWhole(options.name));
                }
                break;
            }
        }
        let entered = shared.registry.enter(&options).ok_or_else(|| AddError::Name(options.name.clone()))?;
        unplaced.have_a_place();
        let (pending, done) = mpsc::channel::<()>();
        for (worker, (interest, observer, presences)) in instances.into_iter().enumerate() {
            let placed = Box::new(entered.placed(options.priority, interest, observer, presences));
            self.command(worker, ObserverCommand::Add { placed, pending: pending.clone() });
        }
        drop(pending);
        // Ends when every worker has it.
        let _ = done.recv();
        Ok(ReportKey::new(entered.number))
    }

    /// Flushes and removes an observer while the pipeline runs, and returns its last report. To it, events that
    /// come later count as skipped. `None` when it is not there, or panicked while reporting.
    pub fn remove_observer<R: Report>(&self, key: ReportKey<R>) -> Option<R> {
        let report: Box<dyn Any> = self.remove(key.index)?;
        report.downcast().ok().map(|report| *report)
    }

    /// Removes all observers of `scope`; returns how many there were.
    pub fn remove_scope(&self, scope: &str) -> usize {
        let numbers = self.shared.registry.of_scope(scope);
        for number in &numbers {
            drop(self.remove(*number));
        }
        numbers.len()
    }

    fn remove(&self, number: usize) -> Option<Box<dyn AnyReport>> {
        if !self.shared.registry.leave(number) {
            return None;
        }
        let (reply, answers) = mpsc::channel();
        for worker in 0..self.shared.workers.len().max(1) {
            self.command(worker, ObserverCommand::Remove { number, reply: reply.clone() });
        }
        drop(reply);
        let mut merged = Merged::default();
        for slot in answers.iter().flatten() {
            for trouble in [slot.trouble, merged.take_in(slot.report)].into_iter().flatten() {
                self.shared.warn(format!("observer {}: {trouble}", slot.name));
            }
        }
        // All workers have answered, so nobody counts under its name any more.
        self.shared.registry.strike(number);
        merged.into_report()
    }

    /// Gives a command to one worker's host.
    fn command(&self, worker: usize, command: ObserverCommand) {
        if let Some(worker) = self.shared.workers.get(worker) {
            worker.commands.put(WorkerCommand::Host(command));
            worker.parker.wake();
        } else if let Some(shard) = self.shared.shards.first() {
            shard.commands.put(ShardCommand::Host(command));
            shard.rings.parker.wake();
            self.answer_inline();
        }
    }

    /// Under `Inline`, whoever gives a command carries it out.
    fn answer_inline(&self) {
        if let Some(work) = &self.threads.inline {
            let mut work = lock(work);
            let _inside = self.shared.enter();
            work.answer();
        }
    }

    /// Closes the pipeline, brings everything that was accepted through all stages, and returns the last
    /// snapshot.
    ///
    /// Emitters that are still there find it closed from here on; one that is waiting for room is let finish. The
    /// account is checked; were it not to add up, the snapshot's warnings would say so.
    #[must_use = "the last snapshot holds what the run has found"]
    pub fn shutdown(mut self) -> Snapshot {
        self.close()
    }

    fn close(&mut self) -> Snapshot {
        ActiveFlag::close(&self.shared.emit_shared.closed);
        while self.shared.emit_shared.sources.any_inside() {
            self.poll();
            thread::yield_now();
        }
        self.shared.emit_shared.sources.set_closed();
        self.shared.start_draining();
        let mut shards = Vec::new();
        if let Some(work) = self.threads.inline.take() {
            let mut work = work.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
            let _inside = self.shared.enter();
            while work.poll() > 0 {}
            shards.push(work.finish());
        }
        for thread in self.threads.shards.drain(..) {
            match thread.join() {
                Ok(report) => shards.push(report),
                Err(_) => {
                    self.shared.warn("a dedup thread died; please report this bug".into());
                }
            }
        }
        let mut workers = Vec::new();
        for thread in self.threads.workers.drain(..) {
            match thread.join() {
                Ok(reports) => workers.push(reports),
                Err(_) => self.shared.warn("a worker died; please report this bug".into()),
            }
        }
        self.threads.ticker = None;
        let mut snapshot = self.shared.assemble(shards, workers);
        if let Err(error) = snapshot.account.check_final() {
            snapshot.warnings.push(format!("the account does not add up: {error}"));
        }
        snapshot
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if self.threads.inline.is_some() || !self.threads.shards.is_empty() {
            drop(self.close());
        }
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
        inside::enter(&self.emit_shared.contexts)
    }

    fn is_own_thread(&self) -> bool {
        inside::is_inside(&self.emit_shared.contexts)
    }

    fn emitter(&self, name: &str, policy: FullPolicy) -> Result<Emitter, EmitError> {
        if self.emit_shared.closed.load(Ordering::Acquire) {
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

    fn assemble(&self, shards: Vec<ShardReport>, workers: Vec<WorkerReport>) -> Snapshot {
        let offered = self.emit_shared.sources.totals();
        // Read after `accepted`, so that what lies between is at most what the rings hold.
        let (unique, duplicates) = self.verdicts();
        let in_flight = offered.sent.accepted.saturating_sub(unique + duplicates);
        let at_rest = self.threads_have_ended();
        let accepted = if at_rest { offered.sent.accepted } else { unique + duplicates + in_flight };
        let mut snapshot = Snapshot {
            origin: self.emit_shared.origin,
            account: Account {
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
                processors: self
                    .processors
                    .iter()
                    .map(|name| (name.clone(), Processing::default()))
                    .collect(),
            },
            dedup: DedupStats::default(),
            preloaded: self.preloaded,
            elapsed: self.start.elapsed(),
            warnings: lock(&self.warnings).clone(),
            sources: self.emit_shared.sources.names(),
            schema: Arc::clone(&self.schema),
            symbols: Arc::clone(&self.symbols),
            contexts: Arc::clone(&self.emit_shared.contexts),
            reports: BTreeMap::new(),
            accounts: BTreeMap::new(),
            before: BTreeMap::new(),
        };
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
