//! A shard: the machines of the entities that one worker serves, behind one lock.

use super::counts::{DomainStates, InvalidTransition};
use super::entity::{EntityState, Transition, Transitions};
use super::key::Key;
use super::machine::Machine;
use super::machines::BLOCK;
use super::options::StateOptions;
use super::plan::{Plan, Plans};
use super::scoped::{Finder, Moment};
use super::tracked::Tracked;
use super::waiter::{News, Waiter};
use crate::domain::StepOutcome;
use crate::domain::machine::STATES_MAX;
use crate::event::{Context, Contexts, Domain, EventKind, HeldNames, Holder, Record, Symbols};
use crate::observe::Batch;
use crate::observe::presence::Presence;
use crate::sync::{Mutex, lock};
use std::ops::DerefMut;
use std::sync::Arc;

/// Experiments that the workflow view shows, a shard.
pub(super) const EXPERIMENTS_MAX: usize = 64;

pub(super) struct Shard {
    pub(super) plans: Plans,
    pub(super) options: StateOptions,
    pub(super) contexts: Arc<Contexts>,
    pub(super) presence: Arc<Presence>,
    inner: Mutex<Inner>,
}

/// What the lock of a shard protects.
pub(super) struct Inner {
    pub(super) tracked: Tracked,
    /// By place of the plan.
    tallies: Vec<Tally>,
    invalid: Vec<InvalidTransition>,
    untracked: u64,
    /// Numbers of the first machines of the domain `experiment`.
    experiments: Vec<u32>,
    /// Of the first event and the last by their times; the first is after the last while there is none.
    span: (u64, u64),
    pub(super) waiting: Vec<Waiter>,
    /// By which reports tell of the machines; the shard lives as long as they.
    names: HeldNames,
}

/// What is counted of a domain.
#[derive(Clone)]
struct Tally {
    by_state: [u64; STATES_MAX],
    moved: u64,
    unchanged: u64,
    invalid: u64,
}

impl Shard {
    pub(super) fn new(
        plans: Plans,
        options: StateOptions,
        symbols: &Arc<Symbols>,
        contexts: Arc<Contexts>,
        waiting: Vec<Waiter>,
    ) -> Shard {
        let tally = Tally { by_state: [0; STATES_MAX], moved: 0, unchanged: 0, invalid: 0 };
        let inner = Mutex::new(Inner {
            tracked: Tracked::new(&options),
            tallies: vec![tally; plans.iter().len()],
            invalid: Vec::new(),
            untracked: 0,
            experiments: Vec::new(),
            span: (u64::MAX, 0),
            waiting,
            names: HeldNames::new(symbols, Holder::Report),
        });
        Shard { plans, options, contexts, presence: Presence::begin(), inner }
    }

    pub(super) fn lock(&self) -> impl DerefMut<Target = Inner> + '_ {
        lock(&self.inner)
    }

    /// Drives the machines with a batch; returns how many events found no machine and no room for one.
    pub(super) fn take(&self, batch: &Batch<'_>) -> u64 {
        let mut inner = self.lock();
        let before = inner.untracked;
        if inner.tracked.machines.are_many() {
            inner.tracked.machines.touch(batch.iter().map(|(record, _)| key(record)));
        }
        let mut finder = Finder::new(&self.contexts);
        for (record, _) in batch.iter() {
            inner.take(&self.plans, self.options.invalid_max, &mut finder, record);
        }
        inner.untracked - before
    }

    /// Returns the state of the entity within `within`; of several machines, of that which changed last.
    pub(super) fn state(&self, key: Key, within: &Context) -> Option<EntityState> {
        let inner = self.lock();
        let plan = self.plans.of(key.domain)?.1;
        inner.tracked.describe(plan, inner.tracked.machine(inner.tracked.last_changed(plan, key, within)?)?)
    }

    /// Returns the state of the machine of that very context.
    pub(super) fn state_exactly(&self, key: Key, context: &Context) -> Option<EntityState> {
        let inner = self.lock();
        let plan = self.plans.of(key.domain)?.1;
        let number = match plan.level {
            Some(level) => inner.tracked.machines.number_within(key, &context.around(level))?,
            None => inner.tracked.machines.number(key)?,
        };
        inner.tracked.describe(plan, inner.tracked.machine(number)?)
    }

    /// Adds the states of all machines of the entity within `within`.
    pub(super) fn add_states(&self, key: Key, within: &Context, states: &mut Vec<EntityState>) {
        let inner = self.lock();
        let Some((_, plan)) = self.plans.of(key.domain) else { return };
        let machines = inner.tracked.named(key, &around(plan, within)).into_iter().rev();
        let machines = machines.filter_map(|number| inner.tracked.machine(number));
        states.extend(machines.filter_map(|machine| inner.tracked.describe(plan, machine)));
    }

    /// Returns the last transitions of the entity within `within`, earliest first; of several machines, of that which
    /// changed last.
    pub(super) fn transitions(&self, key: Key, within: &Context) -> Option<Transitions> {
        let (plan, history) = {
            let inner = self.lock();
            let plan = self.plans.of(key.domain)?.1;
            let number = inner.tracked.last_changed(plan, key, within)?;
            (plan, inner.tracked.history(number, inner.tracked.machine(number)?))
        };
        let kept: Vec<_> = history
            .marks
            .iter()
            .rev()
            .filter_map(|(_, mark)| {
                Some(Transition {
                    from: plan.state_name(mark.from),
                    to: plan.state_name(mark.to),
                    kind: EventKind::try_new(plan.domain, mark.code)?,
                    time_ns: mark.time_ns,
                })
            })
            .collect();
        Some(Transitions { earlier: u64::from(history.earlier), kept })
    }

    /// Counts the domains that have states, in their order.
    pub(super) fn domains(&self) -> Vec<DomainStates> {
        let tallies = self.lock().tallies.clone();
        let one = |(plan, tally): (&Plan, Tally)| DomainStates {
            domain: plan.domain,
            name: plan.name.clone(),
            table: plan.table.clone(),
            by_state: tally.by_state.into_iter().take(plan.table.states.len()).collect(),
            moved: tally.moved,
            unchanged: tally.unchanged,
            invalid: tally.invalid,
        };
        self.plans.iter().zip(tallies).map(one).collect()
    }

    pub(super) fn invalid(&self) -> Vec<InvalidTransition> {
        self.lock().invalid.clone()
    }

    pub(super) fn untracked(&self) -> u64 {
        self.lock().untracked
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.lock().tracked.machines.memory_bytes()
    }

    pub(super) fn span(&self) -> Option<(u64, u64)> {
        let (first, last) = self.lock().span;
        (first <= last).then_some((first, last))
    }

    pub(super) fn experiments(&self) -> Vec<EntityState> {
        let inner = self.lock();
        let machines = inner.experiments.iter().filter_map(|number| inner.tracked.machines.get(*number));
        machines.filter_map(|machine| self.describe(&inner, machine)).collect()
    }

    /// Copies the entities from number `from` to the end of its block; the lock is held for that block only.
    pub(super) fn read_block(&self, from: usize, entities: &mut Vec<EntityState>) {
        let inner = self.lock();
        let block = inner.tracked.machines.block(from / BLOCK).get(from % BLOCK..).unwrap_or_default();
        entities.extend(block.iter().filter_map(|machine| self.describe(&inner, machine)));
    }

    fn describe(&self, inner: &Inner, machine: &Machine) -> Option<EntityState> {
        inner.tracked.describe(self.plans.of(machine.domain)?.1, machine)
    }
}

impl Inner {
    /// Drives the record's machine.
    #[inline]
    fn take(&mut self, plans: &Plans, invalid_max: usize, finder: &mut Finder<'_>, record: &Record) {
        let kind = record.kind();
        let Some((place, plan)) = plans.of(kind.domain()) else { return };
        let key = key(record);
        let time_ns = record.time_ns();
        let initial = plan.table.initial;
        let found = match plan.level {
            None => self.tracked.machines.find_or_add(key, initial, time_ns),
            Some(level) => {
                let moment = Moment::after(self.tracked.log.total());
                let context = finder.around(record, level);
                self.tracked.machines.find_or_add_within(key, &context, initial, time_ns, moment)
            }
        };
        let Some((number, added)) = found else {
            self.untracked += 1;
            return;
        };
        let Some(tally) = self.tallies.get_mut(place) else { return };
        let Some(machine) = self.tracked.machines.get_mut(number) else { return };
        if added {
            self.names.hold(key.entity);
            if let Some(level) = plan.level {
                finder.around(record, level).parts().for_each(|(_, name)| self.names.hold(name));
            }
            count(&mut tally.by_state, initial, 1);
            if plan.domain == Domain::EXPERIMENT && self.experiments.len() < EXPERIMENTS_MAX {
                self.experiments.push(number);
            }
        }
        self.span = (self.span.0.min(time_ns), self.span.1.max(time_ns));
        let from = machine.state;
        let is_news = match plan.step(from, record) {
            StepOutcome::Moved(to) => {
                machine.state = to;
                machine.since_ns = time_ns;
                machine.moves = machine.moves.wrapping_add(1);
                self.tracked.log.note(number, machine, from, kind.code(), plan.takes_other_way(record));
                count(&mut tally.by_state, from, u64::MAX);
                count(&mut tally.by_state, to, 1);
                tally.moved += 1;
                if plan.level.is_some() {
                    self.tracked.machines.changed(number, Moment::of(self.tracked.log.total()));
                }
                !self.waiting.is_empty()
            }
            StepOutcome::Unchanged => {
                tally.unchanged += 1;
                added && !self.waiting.is_empty()
            }
            StepOutcome::Invalid { at, wanted } => {
                tally.invalid += 1;
                machine.invalid = machine.invalid.saturating_add(1);
                if self.invalid.len() < invalid_max {
                    let context = plan.level.map_or(Context::NONE, |level| finder.around(record, level));
                    self.invalid.push(InvalidTransition {
                        domain: plan.domain,
                        entity: key.entity,
                        context,
                        state: plan.state_name(from),
                        at: plan.state_name(at),
                        wanted: plan.state_name(wanted),
                        kind,
                        time_ns,
                    });
                }
                added && !self.waiting.is_empty()
            }
        };
        if is_news {
            let other = plan.takes_other_way(record);
            let news = News { number, added, from, code: kind.code(), other, time_ns };
            self.tell_waiters(plan, &news);
        }
    }

    /// Tells those who wait for what has just come about.
    #[cold]
    fn tell_waiters(&self, plan: &Plan, news: &News) {
        for waiter in &self.waiting {
            waiter.take(plan, &self.tracked, news);
        }
    }
}

/// What of `context` encloses the domain's entities.
fn around(plan: &Plan, context: &Context) -> Context {
    plan.level.map_or(Context::NONE, |level| context.around(level))
}

#[inline]
fn key(record: &Record) -> Key {
    Key { domain: record.kind().domain(), entity: record.entity() }
}

/// Adds `by`, of which `u64::MAX` takes one away.
#[inline]
fn count(by_state: &mut [u64; STATES_MAX], state: u8, by: u64) {
    if let Some(count) = by_state.get_mut(usize::from(state)) {
        *count = count.wrapping_add(by);
    }
}
