//! What machines belong to, where one name is several: steps, assertions and tests are one in each context.
//!
//! A machine of these domains holds the number of its entry here in the place of its entity, so that machines stay small
//! and those of other domains cost nothing more. The entries of one name are chained.

use super::key::Key;
use super::machine::Machine;
use crate::event::{Context, Contexts, Domain, Level, Record, Symbol};
use crate::hash::Keyed;
use std::collections::HashMap;
use std::ops::RangeInclusive;

/// One of several machines of one name.
pub(super) struct Entry {
    pub(super) entity: Symbol,
    pub(super) context: Context,
    /// The machine's number.
    pub(super) machine: u32,
    /// The entry before it of the same name.
    before: Option<u32>,
    /// When it came to be, and when it changed last.
    pub(super) born: Moment,
    pub(super) changed: Moment,
}

/// A moment of a shard: which of its transitions it was, or between which.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Moment(u64);

impl Moment {
    /// That of transition number `number` of the shard.
    pub(super) fn of(number: u64) -> Moment {
        Moment(number * 2)
    }

    /// After transition number `number` and before the next one.
    pub(super) fn after(number: u64) -> Moment {
        Moment(number * 2 + 1)
    }
}

#[derive(Default)]
pub(super) struct Scoped {
    entries: Vec<Entry>,
    /// By name: the last entry.
    last: HashMap<(Domain, Symbol), u32, Keyed>,
}

impl Scoped {
    pub(super) fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Adds the entry of machine number `machine`, which holds the number of that entry: how many there were before.
    pub(super) fn add(&mut self, key: Key, context: &Context, machine: u32, moment: Moment) {
        let number = self.len();
        let before = self.last.insert((key.domain, key.entity), number);
        let context = *context;
        self.entries.push(Entry {
            entity: key.entity,
            context,
            machine,
            before,
            born: moment,
            changed: moment,
        });
    }

    /// Returns the entry of a machine of these domains.
    #[inline]
    pub(super) fn of(&self, machine: &Machine) -> Option<&Entry> {
        self.entries.get(machine.entity.bits() as usize)
    }

    #[inline]
    pub(super) fn of_mut(&mut self, machine: &Machine) -> Option<&mut Entry> {
        self.entries.get_mut(machine.entity.bits() as usize)
    }

    /// Iterates over the entries of a name, the youngest first, with their numbers.
    pub(super) fn named(&self, key: Key) -> impl Iterator<Item = (u32, &Entry)> {
        let mut next = self.last.get(&(key.domain, key.entity)).copied();
        std::iter::from_fn(move || {
            let number = next?;
            let entry = self.entries.get(number as usize)?;
            next = entry.before;
            Some((number, entry))
        })
    }
}

/// Finds the contexts of a batch's records. Events of one emitter come in runs, so the last answer is kept.
pub(super) struct Finder<'a> {
    contexts: &'a Contexts,
    known: Option<(u16, RangeInclusive<u32>, Context)>,
}

impl<'a> Finder<'a> {
    /// To be made anew for each batch: an answer holds for events that had been emitted when it was given.
    pub(super) fn new(contexts: &'a Contexts) -> Finder<'a> {
        Finder { contexts, known: None }
    }

    /// Returns the context that encloses the record's entity, which is of `level`.
    #[inline]
    pub(super) fn around(&mut self, record: &Record, level: Level) -> Context {
        let (source, seq) = (record.source(), record.seq());
        let context = match &self.known {
            Some((known, same, context)) if *known == source && same.contains(&seq) => *context,
            _ => {
                let (context, same) = self.contexts.span(source, seq);
                self.known = Some((source, same, context));
                context
            }
        };
        context.around(level)
    }
}
