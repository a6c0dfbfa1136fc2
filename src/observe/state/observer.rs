//! The observer: hands the batches of one worker to its shard.

use super::plan::Plans;
use super::registry::Shared;
use super::report::StateReport;
use super::shard::Shard;
use crate::domain::Schema;
use crate::event::{Contexts, KindSet, Symbols};
use crate::observe::{Batch, Interest, Observer, Scope, Undelivered};
use std::sync::Arc;

/// Follows the states of entities. Made by [`StateQuery::observer`](super::StateQuery::observer), one for each worker.
pub struct States {
    shard: Arc<Shard>,
    pub(super) shared: Arc<Shared>,
    interest: KindSet,
    ended: bool,
}

impl States {
    /// Adds a shard to those of `shared`.
    pub(super) fn begin(
        shared: &Arc<Shared>,
        schema: &Schema,
        symbols: &Arc<Symbols>,
        contexts: &Arc<Contexts>,
    ) -> States {
        let plans = Plans::new(schema);
        let interest = plans.kinds();
        let mut registry = shared.registry();
        if registry.open == 0 && !registry.shards.is_empty() {
            // What those know stands still; answers would mix what was with what is.
            registry.shards.clear();
            registry.generation += 1;
        }
        let waiting = registry.waiting.clone();
        let shard = Arc::new(Shard::new(plans, shared.options, symbols, Arc::clone(contexts), waiting));
        registry.shards.push(Arc::clone(&shard));
        registry.open += 1;
        drop(registry);
        States { shard, shared: Arc::clone(shared), interest, ended: false }
    }

    fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.shared.instance_ended();
        }
    }
}

impl Observer for States {
    type Report = StateReport;

    fn interest(&self) -> Interest {
        Interest { kinds: self.interest, duplicates: false, scope: Scope::Entity }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        match self.shard.take(batch) {
            0 => Ok(()),
            events => Err(Undelivered {
                events,
                reason: "the limit of tracked entities is reached; raise `entities_max`".to_owned(),
            }),
        }
    }

    fn flush(&mut self) -> Result<(), Undelivered> {
        self.end();
        Ok(())
    }

    fn report(&self) -> StateReport {
        StateReport::of(&self.shard)
    }
}

impl Drop for States {
    fn drop(&mut self) {
        // Whoever waits for a state is told, even when the observer was disabled.
        self.end();
    }
}
