//! Snapshots: everything that a pipeline knows at a moment.

use crate::dedup::DedupStats;
use crate::domain::Schema;
use crate::event::{Contexts, Origin, Symbols};
use crate::observe::Report;
use crate::observe::catch_panic::catch_panic;
#[cfg(feature = "json")]
use crate::observe::worker::Delivery;
use crate::observe::worker::{Merged, Stay, WorkerReport};
use crate::pipeline::account::{Account, Further};
use crate::pipeline::processors::ProcessorReport;
use crate::pipeline::stall::Unanswered;
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// Finds an observer's report in a [`Snapshot`]; given out when the observer is added.
pub struct ReportKey<R> {
    pub(crate) index: usize,
    pub(crate) report: PhantomData<fn() -> R>,
}

impl<R> ReportKey<R> {
    pub(crate) fn new(index: usize) -> ReportKey<R> {
        ReportKey { index, report: PhantomData }
    }
}

impl<R> Clone for ReportKey<R> {
    fn clone(&self) -> ReportKey<R> {
        *self
    }
}

impl<R> Copy for ReportKey<R> {}

impl<R> fmt::Debug for ReportKey<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReportKey").field(&self.index).finish()
    }
}

/// What the pipeline knows at a moment: the account, what dedup remembers, and each observer's report.
pub struct Snapshot {
    /// Which start of a pipeline it was: the ids of what was emitted in it follow from it. What was replayed keeps its ids.
    pub origin: Origin,
    /// What became of every event.
    pub account: Account,
    /// What dedup remembers, summed over all shards.
    pub dedup: DedupStats,
    /// Records that dedup was told of before the start ([`Builder::preload`](crate::pipeline::Builder::preload)); in
    /// no figure of the account.
    pub preloaded: u64,
    /// Time since the pipeline started.
    pub elapsed: Duration,
    /// What went wrong without stopping the pipeline, what is missing first.
    pub warnings: Vec<String>,
    /// What is missing because a thread or an emitter did not answer; empty where all of it is there. Accounts of observers and the
    /// reports lack it.
    pub unanswered: Vec<Unanswered>,
    /// By source number: the name of the emitter that had it last.
    pub sources: Vec<Box<str>>,
    /// The kinds that could be emitted.
    pub schema: Arc<Schema>,
    /// The names behind symbols; goes on growing while the pipeline runs.
    pub symbols: Arc<Symbols>,
    /// Which parts of the experiment events and entities belong to; goes on growing as well.
    pub contexts: Arc<Contexts>,
    /// By number of the observer.
    pub(crate) reports: BTreeMap<usize, Merged>,
    /// By number of the observer: the place of its name in the account.
    pub(crate) accounts: BTreeMap<usize, usize>,
    /// By number of the observer: the new events that came before it was there.
    pub(crate) before: BTreeMap<usize, u64>,
}

impl Snapshot {
    /// Returns the report of an observer, merged over all its instances. `None` when it panicked while reporting, was
    /// removed, or the key is another pipeline's.
    #[must_use]
    pub fn report<R: Report>(&self, key: ReportKey<R>) -> Option<&R> {
        let report: &dyn Any = self.reports.get(&key.index)?.report()?;
        report.downcast_ref()
    }

    /// Iterates over what became of the new events at the observers whose report is an `R`.
    #[cfg(feature = "json")]
    pub(crate) fn deliveries<R: Report>(&self) -> impl Iterator<Item = Delivery> {
        let is_one = |merged: &Merged| merged.report().is_some_and(|report| (report as &dyn Any).is::<R>());
        let numbers = self.reports.iter().filter(move |(_, merged)| is_one(merged)).map(|(number, _)| number);
        let places = numbers.filter_map(|number| self.accounts.get(number));
        places.map(|place| {
            let of_name = self.account.observers.get(*place).map(|(_, delivery)| *delivery);
            of_name.unwrap_or(self.account.further_observers.delivery)
        })
    }

    /// Returns how many new events came before the observer was there whose report this is. `None` where it is none of this
    /// snapshot's: nobody knows what came after it was made.
    #[cfg(feature = "json")]
    pub(crate) fn came_before<R: Report>(&self, report: &R) -> Option<u64> {
        let is_own = |merged: &Merged| {
            let known = merged.report().and_then(|known| (known as &dyn Any).downcast_ref::<R>());
            known.is_some_and(|known| std::ptr::eq(known, report))
        };
        let (number, _) = self.reports.iter().find(|(_, merged)| is_own(merged))?;
        Some(self.before.get(number).copied().unwrap_or(0))
    }

    /// Takes in what the workers said of their observers. `names` are those of the accounts; `further` observers share
    /// the one behind these.
    pub(crate) fn take_in_observers(&mut self, names: &[Arc<str>], further: u64, workers: Vec<WorkerReport>) {
        let mut stays = vec![Stay::default(); names.len()];
        let (mut beyond, mut unique) = (Stay::default(), 0);
        for worker in workers {
            unique += worker.unique;
            let gone = worker.gone.into_iter().enumerate();
            for (account, stay) in worker.slots.iter().map(|slot| (slot.account, slot.stay)).chain(gone) {
                stays.get_mut(account).unwrap_or(&mut beyond).add(stay);
            }
            for slot in worker.slots {
                self.accounts.insert(slot.number, slot.account);
                *self.before.entry(slot.number).or_default() += worker.unique.saturating_sub(slot.stay.came);
                let trouble = self.reports.entry(slot.number).or_default().take_in(slot.report);
                for trouble in [slot.trouble, trouble].into_iter().flatten() {
                    self.warnings.push(format!("observer {}: {trouble}", slot.name));
                }
            }
        }
        // To an observer, what came while it was not there is skipped.
        let whole = |Stay { mut delivery, came }: Stay, all: u64| {
            delivery.skipped += all.saturating_sub(came);
            delivery
        };
        let accounts = names.iter().zip(stays);
        self.account.observers =
            accounts.map(|(name, stay)| ((**name).into(), whole(stay, unique))).collect();
        let all = unique.saturating_mul(further);
        self.account.further_observers = Further { observers: further, delivery: whole(beyond, all) };
        let (schema, symbols) = (&self.schema, &self.symbols);
        for report in self.reports.values().filter_map(Merged::report) {
            match catch_panic(|| report.warnings(schema, symbols)) {
                Ok(warnings) => self.warnings.extend(warnings),
                Err(panic) => {
                    self.warnings.push(format!("an observer's report {panic} when asked for warnings"))
                }
            }
        }
    }

    /// Takes in what one shard said of its processors.
    pub(crate) fn take_in_processors(&mut self, reports: Vec<ProcessorReport>) {
        for ((name, counts), report) in self.account.processors.iter_mut().zip(reports) {
            counts.add(report.counts);
            if let Some(trouble) = report.trouble {
                self.warnings.push(format!("processor {name}: {trouble}"));
            }
        }
    }

    /// Takes in what one shard's dedup said; shards share no id.
    pub(crate) fn take_in_dedup(&mut self, shard: DedupStats) {
        let total = self.dedup;
        self.dedup = DedupStats {
            remembered: total.remembered + shard.remembered,
            forgotten: total.forgotten + shard.forgotten,
            late: total.late + shard.late,
            wild: total.wild + shard.wild,
            epochs: total.epochs.max(shard.epochs),
            memory_bytes: total.memory_bytes + shard.memory_bytes,
            huge_page_bytes: total.huge_page_bytes + shard.huge_page_bytes,
            filter_negatives: total.filter_negatives + shard.filter_negatives,
            filter_false_positives: total.filter_false_positives + shard.filter_false_positives,
            growths: total.growths + shard.growths,
            growth_failures: total.growth_failures + shard.growth_failures,
            overflowed: total.overflowed + shard.overflowed,
            spilled_ids: total.spilled_ids + shard.spilled_ids,
            spilled_bytes: total.spilled_bytes + shard.spilled_bytes,
            spill_read_failures: total.spill_read_failures + shard.spill_read_failures,
            spill_write_failures: total.spill_write_failures + shard.spill_write_failures,
            cold_hits: total.cold_hits + shard.cold_hits,
        };
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("account", &self.account)
            .field("dedup", &self.dedup)
            .field("elapsed", &self.elapsed)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::pipeline::Pipeline;
    use crate::process::Processing;

    /// Numbers of which each is told from every other and from every sum of two.
    fn stats(times: u64) -> DedupStats {
        let place = |place: u32| times * 3_u64.pow(place);
        DedupStats {
            remembered: place(0),
            forgotten: place(1),
            late: place(2),
            epochs: place(3),
            memory_bytes: place(4) as usize,
            huge_page_bytes: place(5) as usize,
            filter_negatives: place(6),
            filter_false_positives: place(7),
            growths: place(8),
            growth_failures: place(9),
            overflowed: place(10),
            spilled_ids: place(11),
            spilled_bytes: place(12),
            cold_hits: place(13),
            spill_write_failures: place(14),
            spill_read_failures: place(15),
            wild: place(16),
        }
    }

    #[test]
    fn what_shards_say_adds_up_figure_by_figure() {
        for (first, second) in [(1, 1_000), (1_000, 1)] {
            let mut snapshot = Pipeline::builder().start().unwrap().shutdown();
            snapshot.dedup = stats(first);
            snapshot.take_in_dedup(stats(second));
            // Shards have their epochs side by side.
            assert_eq!(snapshot.dedup, DedupStats { epochs: stats(1_000).epochs, ..stats(1_001) });
        }
    }

    #[test]
    fn what_processors_say_adds_up_count_by_count() {
        let mut snapshot = Pipeline::builder().start().unwrap().shutdown();
        let none = Processing::default();
        snapshot.account.processors = vec![("one".into(), none), ("other".into(), none)];
        let counts = |times| Processing {
            panicked: 50_000 * times,
            seen: times,
            derived: 10 * times,
            rejected: 100 * times,
            failed: 1_000 * times,
        };
        let report = |times, trouble: Option<&str>| ProcessorReport {
            counts: counts(times),
            trouble: trouble.map(str::to_owned),
        };
        snapshot.take_in_processors(vec![report(1, None), report(2, None)]);
        snapshot.take_in_processors(vec![report(3, None), report(4, Some("broke"))]);
        assert_eq!(snapshot.account.processors, [("one".into(), counts(4)), ("other".into(), counts(6))]);
        assert_eq!(snapshot.warnings, ["processor other: broke"]);
    }
}
