//! Observers that come and go while the pipeline runs.

use crate::emit::EmitTotals;
use crate::observe::catch_panic::catch_panic;
use crate::observe::presence::{Unplaced, collect};
use crate::observe::worker::{AnyObserver, AnyReport, Merged};
use crate::observe::{Observer, Report, Scope};
use crate::pipeline::observer_host::ObserverCommand;
use crate::pipeline::shard::ShardCommand;
use crate::pipeline::stall::{Reply, Unanswered};
use crate::pipeline::worker::WorkerCommand;
use crate::pipeline::{ObserverOptions, ObserverSetup, Pipeline, ReportKey};
use crate::sync::mpsc;
use std::any::Any;

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
    /// A thread that was to take it did not answer. One that goes on later takes it and lets it go again; its name is in use until
    /// all have.
    #[error("observer {0:?} was not added: {1}")]
    Unanswered(String, Unanswered),
}

/// Why the last report of an observer was not had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// It is not there: it was removed before, or the key is another pipeline's.
    #[error("the observer is not there; it was removed before, or belongs to another pipeline")]
    NotThere,
    /// It panicked while it reported, and is removed; the snapshot's warnings say why.
    #[error("the observer panicked while it reported; the snapshot's warnings say why")]
    Panicked,
    /// A thread that has it did not answer. One that goes on later lets it go, and its name is in use until then.
    #[error("the observer was not removed: {0}")]
    Unanswered(Unanswered),
}

impl Pipeline {
    /// Adds an observer while the pipeline runs. It sees every event that is emitted after this returns; those that
    /// came before count as skipped.
    ///
    /// `make` is called once per worker, on this thread.
    ///
    /// # Errors
    /// When the name is taken, or the observer wants to see kinds whole that no observer saw whole at the start
    /// (events are on their way to several workers then). At once when one of the pipeline's own threads calls this, and when a
    /// thread of the pipeline does nothing for [`stall_timeout`](crate::pipeline::PipelineOptions::stall_timeout).
    pub fn add_observer<O: Observer>(
        &self,
        options: impl Into<ObserverOptions>,
        mut make: impl FnMut(ObserverSetup<'_>) -> O,
    ) -> Result<ReportKey<O::Report>, AddError> {
        let (options, shared) = (options.into(), &self.shared);
        shared.may_wait().map_err(|error| AddError::Unanswered(options.name.clone(), error))?;
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
        shared.registry.strike_those_gone();
        let entered = shared.registry.enter(&options).ok_or_else(|| AddError::Name(options.name.clone()))?;
        unplaced.have_a_place();
        let mut instances = instances.into_iter();
        let (_, missing) = self.ask_workers(instances.len(), |reply| {
            let (interest, observer, presences) = instances.next()?;
            let placed = Box::new(entered.placed(options.priority, interest, observer, presences));
            Some(ObserverCommand::Add { placed, reply })
        });
        match missing {
            None => Ok(ReportKey::new(entered.number)),
            Some(missing) => {
                // Whoever takes it later is told at once to let it go. Nobody waits for that.
                self.tell_to_go(entered.number);
                Err(AddError::Unanswered(options.name, missing))
            }
        }
    }

    /// Flushes and removes an observer while the pipeline runs, and returns its last report. To it, events that
    /// come later count as skipped.
    ///
    /// # Errors
    /// When it is not there, or panicked while reporting. At once when one of the pipeline's own threads calls this, and when a thread
    /// of the pipeline does nothing for [`stall_timeout`](crate::pipeline::PipelineOptions::stall_timeout).
    pub fn remove_observer<R: Report>(&self, key: ReportKey<R>) -> Result<R, RemoveError> {
        let report: Box<dyn Any> = self.remove(key.index)?.ok_or(RemoveError::Panicked)?;
        report.downcast().map(|report| *report).map_err(|_| RemoveError::NotThere)
    }

    /// Removes all observers of `scope`; returns how many there were.
    ///
    /// # Errors
    /// The first of [`Pipeline::remove_observer`]'s that is not about the report alone; all are told to go all the same.
    pub fn remove_scope(&self, scope: &str) -> Result<usize, RemoveError> {
        self.shared.may_wait().map_err(RemoveError::Unanswered)?;
        let numbers = self.shared.registry.of_scope(scope);
        let (mut removed, mut first) = (0, None);
        for number in numbers {
            if first.is_some() {
                // Nobody waits once more for a thread that does nothing.
                self.tell_to_go(number);
                continue;
            }
            match self.remove(number) {
                Ok(_) => removed += 1,
                // Somebody else was quicker.
                Err(RemoveError::NotThere) => {}
                Err(error) => first = first.or(Some(error)),
            }
        }
        first.map_or(Ok(removed), Err)
    }

    /// Removes an observer; `None` where a report was not had because of a panic.
    fn remove(&self, number: usize) -> Result<Option<Box<dyn AnyReport>>, RemoveError> {
        self.shared.may_wait().map_err(RemoveError::Unanswered)?;
        if !self.shared.registry.leave(number) {
            return Err(RemoveError::NotThere);
        }
        let workers = self.shared.workers.len().max(1);
        let (slots, missing) =
            self.ask_workers(workers, |reply| Some(ObserverCommand::Remove { number, reply }));
        let mut merged = Merged::default();
        for slot in slots.into_iter().flatten() {
            for trouble in [slot.trouble, merged.take_in(slot.report)].into_iter().flatten() {
                self.shared.warn(format!("observer {}: {trouble}", slot.name));
            }
        }
        if let Some(missing) = missing {
            self.ask_to_go(number);
            return Err(RemoveError::Unanswered(missing));
        }
        // All workers have answered, so nobody counts under its name any more.
        self.shared.registry.strike(number);
        Ok(merged.into_report())
    }

    /// Tells an observer to go, and waits for nobody.
    fn tell_to_go(&self, number: usize) {
        if self.shared.registry.leave(number) {
            self.ask_to_go(number);
        }
    }

    /// Has an observer removed that is leaving; its name is free once all have let it go.
    fn ask_to_go(&self, number: usize) {
        let (sender, answers) = mpsc::channel();
        let waiting = self.shared.workers.len().max(1);
        for worker in 0..waiting {
            self.command(worker, ObserverCommand::Remove { number, reply: Reply::of(worker, &sender) });
        }
        self.shared.registry.strike_later(number, waiting, answers);
    }

    /// Gives a command to the hosts of the first `workers`, and collects their answers; says why the first is missing that did not
    /// come.
    fn ask_workers<T>(
        &self,
        workers: usize,
        mut command: impl FnMut(Reply<T>) -> Option<ObserverCommand>,
    ) -> (Vec<T>, Option<Unanswered>) {
        let threads = self.shared.hosts();
        let mut patience = self.shared.patience(threads.clone().take(workers));
        let (sender, answers) = mpsc::channel();
        for worker in 0..workers {
            if let Some(command) = command(Reply::of(worker, &sender)) {
                self.command(worker, command);
            }
        }
        drop(sender);
        if let Err(unanswered) = self.answer_inline() {
            return (Vec::new(), Some(unanswered));
        }
        let threads: Vec<_> = threads.collect();
        let collected = patience.collect(&answers, |worker| self.shared.progress_of(threads.get(worker)));
        let (mut answers, mut missing) = (Vec::new(), None);
        for (thread, answer) in threads.iter().zip(collected) {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(why) => missing = missing.or_else(|| Some(self.shared.unanswered(*thread, why))),
            }
        }
        (answers, missing)
    }

    /// Gives a command to one worker's host.
    fn command(&self, worker: usize, command: ObserverCommand) {
        if let Some(worker) = self.shared.workers.get(worker) {
            worker.commands.put(WorkerCommand::Host(command));
            worker.parker.wake();
        } else if let Some(shard) = self.shared.shards.first() {
            shard.commands.put(ShardCommand::Host(command));
            shard.rings.parker.wake();
        }
    }
}
