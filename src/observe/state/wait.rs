//! Waiting for a state.
//!
//! Whoever waits leaves a note in every shard, and looks at the machines while it holds the same lock. So an event is
//! either seen by that look, or finds the note: no wake-up is lost, and while nobody waits a transition costs one
//! look at an empty list.

use super::Key;
use super::plan::{Plan, bit};
use super::point::{Base, Look, Point};
use super::query::{EntityState, Shared};
use super::shard::Inner;
use crate::event::{Context, Domain};
use crate::observe::inside::is_inside;
use crate::sync::{Condvar, Mutex, lock};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a wait has come to: a state that was waited for, and where the entity is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reached {
    /// That one of the states that were asked for which came about first. The entity may only have passed through it.
    pub state: &'static str,
    /// Which of the entity's transitions led into that state or through it, from 1; 0 for the state in which the entity
    /// came to be.
    pub transition: u32,
    /// The time of the event that brought it, in nanoseconds since the Unix epoch; `None` where the entity came to be in
    /// the state and had left it before the call.
    pub time_ns: Option<u64>,
    /// Transitions after the point, up to this one, of which the log no longer tells what they passed: so many at most. 0
    /// where this is surely the first time after the point.
    pub unknown: u32,
    /// The entity when the wait returned.
    pub now: EntityState,
}

/// Why a wait did not end in a state that was waited for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum WaitError {
    /// It took too long.
    #[error("none of the states within {timeout:?}; the entity {}", Place(last.as_deref()))]
    Timeout { timeout: Duration, last: Option<Box<EntityState>> },
    /// None of the states can be had any more.
    #[error("none of the states can be had any more; the entity {}", Place(Some(last)))]
    Unreachable { last: Box<EntityState> },
    /// What came after the point is not known any more, and the entity may have been in one of the states.
    #[error(
        "whether one of the states came after the point is not known any more; raise `transitions_max`, or wait sooner; \
         the entity {}",
        Place(Some(last))
    )]
    Overwritten { last: Box<EntityState> },
    /// The pipeline has ended.
    #[error("no more events will come; the entity {}", Place(last.as_deref()))]
    Ended { last: Option<Box<EntityState>> },
    /// The caller is called by the pipeline, which would wait for itself.
    #[error("a thread of the pipeline cannot wait for what it has to do itself; wait on another thread")]
    OwnThread,
    /// No observer is there yet.
    #[error("the pipeline has not started; start it before waiting for a state")]
    NotStarted,
    /// The domain has no states.
    #[error("domain {0:?} has no states; give its definition a state table")]
    NoStates(Domain),
    /// The domain has no such state.
    #[error("{domain} has no state {state:?}; it has {}", known.join(", "))]
    UnknownState { domain: &'static str, state: String, known: &'static [&'static str] },
}

/// What is waited for.
pub(super) enum Wanted<'a> {
    /// To be in a state, or to pass through it from now on.
    From { key: Key, within: &'a Context },
    /// To come into a state after a point.
    After(&'a Point),
}

/// A note that somebody waits.
#[derive(Clone)]
pub(super) struct Waiter {
    key: Key,
    /// What the entity is to be within; the levels that enclose its domain.
    within: Context,
    wanted: u32,
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Signal {
    outcome: Mutex<Option<Outcome>>,
    told: Condvar,
}

#[derive(Clone, Copy)]
enum Outcome {
    Reached(Reached),
    Unreachable(EntityState),
    Overwritten(EntityState),
    Ended,
}

/// What has just become of a machine.
pub(super) struct News {
    pub(super) number: u32,
    /// Whether it has come to be by this event.
    pub(super) added: bool,
    pub(super) from: u8,
    pub(super) code: u8,
    /// Whether the path forks and the second way was taken.
    pub(super) other: bool,
    pub(super) time_ns: u64,
}

impl Waiter {
    /// Tells whoever waits, if one of its states has just come about, or none can be had any more.
    pub(super) fn take(&self, plan: &Plan, inner: &Inner, news: &News) {
        if self.key.domain != plan.domain {
            return;
        }
        let Some(machine) = inner.machine(news.number) else { return };
        let Some(now) = inner.describe(plan, machine) else { return };
        if now.entity != self.key.entity || !now.context.is_within(&self.within) {
            return;
        }
        let reached = |state: u8, transition: u32| {
            let (state, time_ns) = (plan.state_name(state), Some(news.time_ns));
            self.tell(Outcome::Reached(Reached { state, transition, time_ns, unknown: 0, now }));
        };
        if news.added && self.wanted & bit(news.from) != 0 {
            reached(news.from, 0);
        } else if machine.state != news.from
            && let Some(state) = plan.first_entered(news.from, news.code, news.other, self.wanted)
        {
            reached(state, machine.moves);
        } else {
            self.give_up(plan, inner);
        }
    }

    /// Looks at what there is already; `base` is what a shard knew at the point after which is waited.
    fn look(&self, plan: &Plan, inner: &Inner, base: Option<&Base>) {
        let mut reached = None;
        let mut overwritten = None;
        for number in inner.named(self.key, &self.within) {
            let Some(machine) = inner.machine(number) else { continue };
            let Some(now) = inner.describe(plan, machine) else { continue };
            let look = match base {
                Some(base) => base.look(plan, inner, number, machine, self.wanted),
                None => Look::at(plan, inner, machine, self.wanted),
            };
            match look {
                Look::Reached { state, transition, time_ns, unknown, moment } => {
                    let state = plan.state_name(state);
                    // Of several machines: after a point the first one, else that which is in its state since last.
                    let sooner = |known: &Option<(_, Reached)>| match known {
                        // The youngest machine is looked at first, so of equal ones the later one looked at is the earlier.
                        Some((known, _)) if base.is_some() => moment <= *known,
                        Some((known, _)) => moment > *known,
                        None => true,
                    };
                    if sooner(&reached) {
                        reached = Some((moment, Reached { state, transition, time_ns, unknown, now }));
                    }
                }
                Look::Unknown => overwritten = Some(now),
                Look::Nothing => {}
            }
        }
        match (reached, overwritten) {
            (Some((_, reached)), _) => self.tell(Outcome::Reached(reached)),
            (None, Some(now)) => self.tell(Outcome::Overwritten(now)),
            (None, None) => self.give_up(plan, inner),
        }
    }

    /// Tells whoever waits, if none of its states can be had any more. Of a name that is one in each context, another
    /// machine may always come, unless it is the one of that very context that is waited for.
    fn give_up(&self, plan: &Plan, inner: &Inner) {
        let mut stuck = None;
        for number in inner.named(self.key, &self.within) {
            let Some(machine) = inner.machine(number) else { continue };
            if plan.can_reach(machine.state, self.wanted) {
                return;
            }
            let Some(now) = inner.describe(plan, machine) else { continue };
            let is_the_one = plan.level.is_none() || !self.within.is_none() && now.context == self.within;
            stuck = stuck.or(is_the_one.then_some(now));
        }
        if let Some(now) = stuck {
            self.tell(Outcome::Unreachable(now));
        }
    }

    pub(super) fn pipeline_ended(&self) {
        self.tell(Outcome::Ended);
    }

    /// The first outcome stands.
    fn tell(&self, outcome: Outcome) {
        lock(&self.signal.outcome).get_or_insert(outcome);
        self.signal.told.notify_all();
    }

    fn is(&self, other: &Waiter) -> bool {
        Arc::ptr_eq(&self.signal, &other.signal)
    }
}

impl Signal {
    #[cfg(not(loom))]
    fn wait(&self, timeout: Duration) -> Option<Outcome> {
        let outcome = self.outcome.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let waited = self.told.wait_timeout_while(outcome, timeout, |outcome| outcome.is_none());
        *waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0
    }

    /// Loom knows no time: whoever is not told waits forever, which its models then find.
    #[cfg(loom)]
    fn wait(&self, timeout: Duration) -> Option<Outcome> {
        let mut outcome = self.outcome.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        while outcome.is_none() && !timeout.is_zero() {
            outcome = self.told.wait(outcome).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        *outcome
    }
}

pub(super) fn until(
    shared: &Shared,
    wanted: &Wanted<'_>,
    states: &[&str],
    timeout: Duration,
) -> Result<Reached, WaitError> {
    let (waiter, is_own) = enter(shared, wanted, states)?;
    let outcome = waiter.signal.wait(if is_own { Duration::ZERO } else { timeout });
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
    let mut registry = shared.registry();
    let shard = registry.shards.first().ok_or(WaitError::NotStarted)?;
    let is_own = is_inside(&shard.contexts);
    let (_, plan) = shard.plans.of(key.domain).ok_or(WaitError::NoStates(key.domain))?;
    let mut set = 0;
    for state in states {
        let number = plan.table.state(state).ok_or_else(|| WaitError::UnknownState {
            domain: plan.name,
            state: (*state).to_owned(),
            known: plan.table.states,
        })?;
        set |= bit(number);
    }
    let within = plan.level.map_or(Context::NONE, |level| within.around(level));
    let waiter = Waiter { key, within, wanted: set, signal: Arc::default() };
    for (at, shard) in registry.shards.iter().enumerate() {
        let base = point.map(|point| point.base(registry.generation, at));
        let mut inner = shard.lock();
        if let Some((_, plan)) = shard.plans.of(key.domain) {
            waiter.look(plan, &inner, base.as_ref());
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

/// Says where an entity is, in an error message.
struct Place<'a>(Option<&'a EntityState>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(state) => write!(f, "is {} since {} ns", state.state, state.since_ns),
            None => f.write_str("has had no event"),
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::dedup::Verdict;
    use crate::domain::{Catalogue, service};
    use crate::event::{Contexts, EventKind, Identity, Record, Symbol};
    use crate::observe::state::{StateOptions, StateQuery, States};
    use crate::observe::{Batch, Observer};
    use loom::thread;

    const LONG: Duration = Duration::from_secs(3600);

    fn start(catalogue: &Catalogue) -> (StateQuery, States) {
        let options = StateOptions { transitions_max: 4, invalid_max: 0, ..StateOptions::default() };
        let query = StateQuery::new(options);
        let observer = query.observer(catalogue, &Arc::new(Contexts::default()));
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
        let (catalogue, codes) = (Catalogue::new(), codes());
        loom::model(move || {
            let (query, mut observer) = start(&catalogue);
            let point = query.point(Domain::SERVICE, Symbol::NONE);
            let worker = thread::spawn(move || {
                codes.iter().for_each(|code| feed(&mut observer, *code));
                observer
            });
            let reached = query.wait_until_after(&point, &["preparing"], LONG).unwrap();
            assert_eq!((reached.state, reached.transition, reached.unknown), ("preparing", 1, 0));
            drop(worker.join().unwrap());
        });
    }

    #[test]
    fn whoever_waits_when_the_pipeline_ends_is_told_in_every_interleaving() {
        let (catalogue, codes) = (Catalogue::new(), codes());
        loom::model(move || {
            let (query, mut observer) = start(&catalogue);
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
