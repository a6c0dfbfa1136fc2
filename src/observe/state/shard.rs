//! A shard: the machines of the entities that one worker serves, behind one lock.

use super::Key;
use super::StateOptions;
use super::machines::{BLOCK, Machine, Machines};
use super::plan::{Plan, Plans, bit};
use super::query::{EntityState, Transition, Transitions};
use super::report::{DomainStates, InvalidTransition};
use super::trail::Trail;
use super::wait::Waiter;
use crate::domain::Step;
use crate::domain::machine::STATES_MAX;
use crate::event::{Domain, EventKind, Record};
use crate::observe::Batch;
use crate::sync::{Mutex, lock};
use std::ops::DerefMut;

/// Experiments that the workflow view shows, a shard.
pub(super) const EXPERIMENTS_MAX: usize = 64;

pub(super) struct Shard {
    pub(super) plans: Plans,
    pub(super) options: StateOptions,
    inner: Mutex<Inner>,
}

/// What the lock of a shard protects.
pub(super) struct Inner {
    machines: Machines,
    trail: Trail,
    /// By place of the plan.
    tallies: Vec<Tally>,
    invalid: Vec<InvalidTransition>,
    untracked: u64,
    /// Numbers of the first machines of the domain `experiment`.
    experiments: Vec<u32>,
    /// Of the first event and the last by their times; the first is after the last while there is none.
    span: (u64, u64),
    pub(super) waiting: Vec<Waiter>,
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
    pub(super) fn new(plans: Plans, options: StateOptions, waiting: Vec<Waiter>) -> Shard {
        let tally = Tally { by_state: [0; STATES_MAX], moved: 0, unchanged: 0, invalid: 0 };
        let inner = Mutex::new(Inner {
            machines: Machines::new(options.entities_max, options.entities_expected),
            trail: Trail::new(options.transitions_max),
            tallies: vec![tally; plans.iter().len()],
            invalid: Vec::new(),
            untracked: 0,
            experiments: Vec::new(),
            span: (u64::MAX, 0),
            waiting,
        });
        Shard { plans, options, inner }
    }

    pub(super) fn lock(&self) -> impl DerefMut<Target = Inner> + '_ {
        lock(&self.inner)
    }

    /// Drives the machines with a batch; returns how many events found no machine and no room for one.
    pub(super) fn take(&self, batch: &Batch<'_>) -> u64 {
        let mut inner = self.lock();
        let before = inner.untracked;
        if inner.machines.are_many() {
            inner.machines.touch(batch.iter().map(|(record, _)| key(record)));
        }
        for (record, _) in batch.iter() {
            inner.take(&self.plans, self.options.invalid_max, record);
        }
        inner.untracked - before
    }

    pub(super) fn state(&self, key: Key) -> Option<EntityState> {
        self.lock().machines.find(key).and_then(|machine| self.describe(machine))
    }

    /// Returns the last transitions of an entity, earliest first.
    pub(super) fn transitions(&self, key: Key) -> Option<Transitions> {
        let (plan, marks, moves) = {
            let inner = self.lock();
            let number = inner.machines.number(key)?;
            let machine = inner.machines.get(number)?;
            (self.plans.of(key.domain)?.1, inner.trail.of(number, machine), machine.moves)
        };
        let kept: Vec<_> = marks
            .iter()
            .rev()
            .filter_map(|mark| {
                Some(Transition {
                    from: plan.state_name(mark.from),
                    to: plan.state_name(mark.to),
                    kind: EventKind::try_new(plan.domain, mark.code)?,
                    time_ns: mark.time_ns,
                })
            })
            .collect();
        Some(Transitions { earlier: u64::from(moves) - kept.len() as u64, kept })
    }

    /// Counts the domains that have states, in their order.
    pub(super) fn domains(&self) -> Vec<DomainStates> {
        let tallies = self.lock().tallies.clone();
        let one = |(plan, tally): (&Plan, Tally)| DomainStates {
            domain: plan.domain,
            name: plan.name,
            table: plan.table,
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
        self.lock().machines.memory_bytes()
    }

    pub(super) fn span(&self) -> Option<(u64, u64)> {
        let (first, last) = self.lock().span;
        (first <= last).then_some((first, last))
    }

    pub(super) fn experiments(&self) -> Vec<EntityState> {
        let inner = self.lock();
        let machines = inner.experiments.iter().filter_map(|number| inner.machines.get(*number));
        machines.filter_map(|machine| self.describe(machine)).collect()
    }

    /// Copies the entities from number `from` to the end of its block; the lock is held for that block only.
    pub(super) fn read_block(&self, from: usize, entities: &mut Vec<EntityState>) {
        let inner = self.lock();
        let block = inner.machines.block(from / BLOCK).get(from % BLOCK..).unwrap_or_default();
        entities.extend(block.iter().filter_map(|machine| self.describe(machine)));
    }

    fn describe(&self, machine: &Machine) -> Option<EntityState> {
        Some(EntityState::of(self.plans.of(machine.domain)?.1, machine))
    }
}

impl Inner {
    pub(super) fn machine(&self, key: Key) -> Option<&Machine> {
        self.machines.find(key)
    }

    #[inline]
    fn take(&mut self, plans: &Plans, invalid_max: usize, record: &Record) {
        let kind = record.kind();
        let Some((place, plan)) = plans.of(kind.domain()) else { return };
        let Some(tally) = self.tallies.get_mut(place) else { return };
        let key = key(record);
        let time_ns = record.time_ns();
        let initial = plan.table.initial;
        let Some((number, added)) = self.machines.find_or_add(key, initial, time_ns) else {
            self.untracked += 1;
            return;
        };
        let Some(machine) = self.machines.get_mut(number) else { return };
        if added {
            count(&mut tally.by_state, initial, 1);
            if plan.domain == Domain::EXPERIMENT && self.experiments.len() < EXPERIMENTS_MAX {
                self.experiments.push(number);
            }
        }
        self.span = (self.span.0.min(time_ns), self.span.1.max(time_ns));
        let from = machine.state;
        let is_news = match plan.step(from, record) {
            Step::Moved(to) => {
                machine.state = to;
                machine.since_ns = time_ns;
                machine.moves = machine.moves.wrapping_add(1);
                self.trail.note(number, machine, from, kind.code());
                count(&mut tally.by_state, from, u64::MAX);
                count(&mut tally.by_state, to, 1);
                tally.moved += 1;
                !self.waiting.is_empty()
            }
            Step::Unchanged => {
                tally.unchanged += 1;
                added && !self.waiting.is_empty()
            }
            Step::Invalid { at, wanted } => {
                tally.invalid += 1;
                machine.invalid = machine.invalid.saturating_add(1);
                if self.invalid.len() < invalid_max {
                    self.invalid.push(InvalidTransition {
                        domain: plan.domain,
                        entity: key.entity,
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
            self.tell_waiters(plans, key, from, record);
        }
    }

    /// Tells those who wait for what has just come about.
    #[cold]
    fn tell_waiters(&mut self, plans: &Plans, key: Key, from: u8, record: &Record) {
        let Some((_, plan)) = plans.of(key.domain) else { return };
        let Some(machine) = self.machines.find(key) else { return };
        let to = machine.state;
        // Where it comes from counts for entities that have just come to be.
        let passed = bit(from) | if to == from { 0 } else { plan.passed(from, record) };
        for waiter in self.waiting.iter().filter(|waiter| waiter.key == key) {
            waiter.look(plan, machine, passed);
        }
    }
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
