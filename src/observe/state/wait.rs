//! Waiting for a state.
//!
//! Whoever waits leaves a note in every shard, and looks at the machines while it holds the same lock. So an event is
//! either seen by that look, or finds the note: no wake-up is lost, and while nobody waits a transition costs one
//! look at an empty list.

use super::entity::EntityState;
use super::key::Key;
use super::plan::bit;
use super::point::Point;
use super::registry::Shared;
use super::wait_error::{Reached, WaitError};
use super::waiter::{Outcome, Waiter};
use crate::event::Context;
use crate::sync::inside::is_inside;
use std::time::Duration;

/// What is waited for.
pub(super) enum Wanted<'a> {
    /// To be in a state, or to pass through it from now on.
    From { key: Key, within: &'a Context },
    /// To come into a state after a point.
    After(&'a Point),
}

pub(super) fn until(
    shared: &Shared,
    wanted: &Wanted<'_>,
    states: &[&str],
    timeout: Duration,
) -> Result<Reached, WaitError> {
    let (waiter, is_own) = enter(shared, wanted, states)?;
    let outcome = waiter.wait(if is_own { Duration::ZERO } else { timeout });
    leave(shared, &waiter);
    let (key, within) = (waiter.key, &waiter.within);
    let last = || shared.state(key, within).map(Box::new);
    // It may have gone on since it was told of.
    let now = |then: EntityState| shared.state_exactly(key, &then.context).unwrap_or(then);
    match outcome {
        Some(Outcome::Reached(reached)) => Ok(Reached { now: now(reached.now), ..reached }),
        Some(Outcome::Unreachable(then)) => Err(WaitError::Unreachable { last: Box::new(now(then)) }),
        Some(Outcome::Overwritten(then)) => Err(WaitError::Overwritten { last: Box::new(now(then)) }),
        Some(Outcome::Ended) => Err(WaitError::Ended { last: last() }),
        None if is_own => Err(WaitError::OwnThread),
        None => Err(WaitError::Timeout { timeout, last: last() }),
    }
}

/// Leaves notes everywhere, after which every event that matters is told of. Says as well whether the caller is one of the
/// pipeline's threads.
fn enter(shared: &Shared, wanted: &Wanted<'_>, states: &[&str]) -> Result<(Waiter, bool), WaitError> {
    let (key, within, point) = match wanted {
        Wanted::From { key, within } => (*key, *within, None),
        Wanted::After(point) => (point.key, &point.within, Some(*point)),
    };
    if shared.is_forked() {
        return Err(WaitError::Forked);
    }
    let mut registry = shared.registry();
    let shard = registry.shards.first().ok_or(WaitError::NotStarted)?;
    let is_own = is_inside(&shard.contexts);
    let (_, plan) = shard.plans.of(key.domain).ok_or(WaitError::NoStates(key.domain))?;
    let mut set = 0;
    for state in states {
        let number = plan.table.state(state).ok_or_else(|| WaitError::UnknownState {
            domain: plan.name.clone(),
            state: (*state).to_owned(),
            known: plan.table.states.clone(),
        })?;
        set |= bit(number);
    }
    let within = plan.level.map_or(Context::NONE, |level| within.around(level));
    if registry.shards.iter().any(|shard| shard.presence.left().is_some()) {
        drop(registry);
        return Err(WaitError::Gone { last: shared.state(key, &within).map(Box::new) });
    }
    let waiter = Waiter::new(key, within, set);
    for (at, shard) in registry.shards.iter().enumerate() {
        let base = point.map(|point| point.base(registry.generation, at));
        let mut inner = shard.lock();
        if let Some((_, plan)) = shard.plans.of(key.domain) {
            waiter.look(plan, &inner.tracked, base.as_ref());
        }
        inner.waiting.push(waiter.clone());
    }
    if registry.open == 0 {
        waiter.pipeline_ended();
    }
    registry.waiting.push(waiter.clone());
    Ok((waiter, is_own))
}

fn leave(shared: &Shared, waiter: &Waiter) {
    let mut registry = shared.registry();
    registry.waiting.retain(|other| !other.is(waiter));
    for shard in &registry.shards {
        shard.lock().waiting.retain(|other| !other.is(waiter));
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::dedup::Verdict;
    use crate::domain::{Schema, service};
    use crate::event::{Contexts, Domain, EventKind, Identity, Record, Symbol};
    use crate::observe::state::{StateOptions, StateQuery, States};
    use crate::observe::{Batch, Observer};
    use loom::thread;
    use std::sync::Arc;

    const LONG: Duration = Duration::from_secs(3600);

    fn start(schema: &Schema) -> (StateQuery, States) {
        let options = StateOptions { transitions_max: 4, invalid_max: 0, ..StateOptions::default() };
        let query = StateQuery::new(options);
        let observer = query.observer(schema, &Arc::default(), &Arc::new(Contexts::default()));
        (query, observer)
    }

    fn feed(observer: &mut States, code: u8) {
        let kind = EventKind::new(Domain::SERVICE, code);
        let record = Record::raw(0, Identity::Content, 1, Symbol::NONE, kind, [0; 3]);
        observer.observe(&Batch::new(&[record], &[Verdict::New], 1)).unwrap();
    }

    /// Codes of the events that lead a service to `preparing`, to `prepared` and to `error`.
    fn codes() -> [u8; 3] {
        ["preparation_started", "preparation_completed", "preparation_failed"]
            .map(|name| service::KINDS.iter().find(|kind| kind.name == name).unwrap().kind.code())
    }

    /// `RUSTFLAGS="--cfg loom" cargo test --release --lib models`
    #[test]
    fn a_state_that_is_passed_after_the_point_is_told_in_every_interleaving() {
        let (schema, codes) = (Schema::new(), codes());
        loom::model(move || {
            let (query, mut observer) = start(&schema);
            let point = query.point(Domain::SERVICE, Symbol::NONE);
            let worker = thread::spawn(move || {
                codes.iter().for_each(|code| feed(&mut observer, *code));
                observer
            });
            let reached = query.wait_until_after(&point, &["preparing"], LONG).unwrap();
            assert_eq!((&*reached.state, reached.transition, reached.unknown), ("preparing", 1, 0));
            drop(worker.join().unwrap());
        });
    }

    #[test]
    fn whoever_waits_when_the_pipeline_ends_is_told_in_every_interleaving() {
        let (schema, codes) = (Schema::new(), codes());
        loom::model(move || {
            let (query, mut observer) = start(&schema);
            let worker = thread::spawn(move || {
                feed(&mut observer, codes[0]);
                observer.flush().unwrap();
                observer
            });
            let ended = query.wait_until(Domain::SERVICE, Symbol::NONE, &["ready"], LONG);
            assert!(matches!(ended, Err(WaitError::Ended { last: Some(_) })));
            drop(worker.join().unwrap());
        });
    }
}
