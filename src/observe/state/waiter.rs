//! Notes that somebody waits, as they lie in every shard.

use super::base::{Base, Look};
use super::entity::EntityState;
use super::key::Key;
use super::plan::{Plan, bit};
use super::tracked::Tracked;
use super::wait_error::Reached;
use crate::event::Context;
use crate::sync::{Condvar, Mutex, lock};
use std::sync::Arc;
use std::time::Duration;

/// A note that somebody waits.
#[derive(Clone)]
pub(super) struct Waiter {
    pub(super) key: Key,
    /// What the entity is to be within; the levels that enclose its domain.
    pub(super) within: Context,
    wanted: u32,
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Signal {
    outcome: Mutex<Option<Outcome>>,
    told: Condvar,
}

#[derive(Clone)]
pub(super) enum Outcome {
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
    pub(super) fn new(key: Key, within: Context, wanted: u32) -> Waiter {
        Waiter { key, within, wanted, signal: Arc::default() }
    }

    /// Waits for the first outcome; `None` when there is none within `timeout`.
    pub(super) fn wait(&self, timeout: Duration) -> Option<Outcome> {
        self.signal.wait(timeout)
    }

    /// Tells whoever waits, if one of its states has just come about, or none can be had any more.
    pub(super) fn take(&self, plan: &Plan, tracked: &Tracked, news: &News) {
        if self.key.domain != plan.domain {
            return;
        }
        let Some(machine) = tracked.machine(news.number) else { return };
        let Some(now) = tracked.describe(plan, machine) else { return };
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
            self.give_up(plan, tracked);
        }
    }

    /// Looks at what there is already; `base` is what a shard knew at the point after which is waited.
    pub(super) fn look(&self, plan: &Plan, tracked: &Tracked, base: Option<&Base>) {
        let mut reached = None;
        let mut overwritten = None;
        // Of all machines: each may have come into a state before the one that is known to.
        let mut unknown_in_all = 0_u32;
        for number in tracked.named(self.key, &self.within) {
            let Some(machine) = tracked.machine(number) else { continue };
            let Some(now) = tracked.describe(plan, machine) else { continue };
            let look = match base {
                Some(base) => base.look(plan, tracked, number, machine, self.wanted),
                None => Look::at(plan, tracked, machine, self.wanted),
            };
            match look {
                Look::Reached { state, transition, time_ns, unknown, moment } => {
                    unknown_in_all = unknown_in_all.saturating_add(unknown);
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
                Look::Unknown(unknown) => {
                    unknown_in_all = unknown_in_all.saturating_add(unknown);
                    overwritten = Some(now);
                }
                Look::Nothing => {}
            }
        }
        match (reached, overwritten) {
            (Some((_, reached)), _) => {
                self.tell(Outcome::Reached(Reached { unknown: unknown_in_all, ..reached }));
            }
            (None, Some(now)) => self.tell(Outcome::Overwritten(now)),
            (None, None) => self.give_up(plan, tracked),
        }
    }

    /// Tells whoever waits, if none of its states can be had any more. Of a name that is one in each context, another
    /// machine may always come, unless it is the one of that very context that is waited for.
    fn give_up(&self, plan: &Plan, tracked: &Tracked) {
        let mut stuck = None;
        for number in tracked.named(self.key, &self.within) {
            let Some(machine) = tracked.machine(number) else { continue };
            if plan.can_reach(machine.state, self.wanted) {
                return;
            }
            let Some(now) = tracked.describe(plan, machine) else { continue };
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

    pub(super) fn is(&self, other: &Waiter) -> bool {
        Arc::ptr_eq(&self.signal, &other.signal)
    }
}

impl Signal {
    #[cfg(not(loom))]
    fn wait(&self, timeout: Duration) -> Option<Outcome> {
        let outcome = self.outcome.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let waited = self.told.wait_timeout_while(outcome, timeout, |outcome| outcome.is_none());
        waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0.clone()
    }

    /// Loom knows no time: whoever is not told waits forever, which its models then find.
    #[cfg(loom)]
    fn wait(&self, timeout: Duration) -> Option<Outcome> {
        let mut outcome = self.outcome.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        while outcome.is_none() && !timeout.is_zero() {
            outcome = self.told.wait(outcome).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        outcome.clone()
    }
}
