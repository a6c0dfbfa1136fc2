//! Context: which part of an experiment an event belongs to.
//!
//! ```text
//!  experiment ──► test ──┬──► step ──► assertion
//!                        ├──► service
//!                        └──► environment
//! ```
//!
//! Records do not carry their context. An emitter enters a [`Context`], and what it emits from then on belongs to it:
//! the table [`Contexts`] knows from which number on which source was where. So an event costs nothing more, and its
//! context is found when somebody asks. Entities belong to contexts too: those that a context names, and those whose
//! typed emitter was made in one.

use crate::event::json::{Members, push_text};
use crate::event::{Domain, IdScope, Level, Record, Symbol, Symbols};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use xxhash_rust::xxh3::xxh3_128;

/// Says which experiment, test, step, assertion, service and environment an event belongs to, as far as known.
///
/// As a filter it says which of them it has to belong to: [`Context::is_within`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Context([Symbol; Level::ALL.len()]);

impl Context {
    /// No part of anything; as a filter, everything.
    pub const NONE: Context = Context([Symbol::NONE; Level::ALL.len()]);

    /// Returns the context of the one part of that name.
    #[must_use]
    pub fn of(level: Level, name: &str) -> Context {
        Context::NONE.entered(level, Symbol::of(name))
    }

    /// Returns the context within this one: that of `name`, without what lies within the part left for it.
    ///
    /// ```
    /// use panther_events::event::{Context, Level, Symbol};
    ///
    /// let step = Context::of(Level::Test, "handshake").entered(Level::Step, Symbol::of("connect"));
    /// let next = step.entered(Level::Test, Symbol::of("migration"));
    /// assert_eq!(next, Context::of(Level::Test, "migration"));
    /// ```
    #[must_use]
    pub fn entered(mut self, level: Level, name: Symbol) -> Context {
        for (part, inner) in self.0.iter_mut().zip(Level::ALL) {
            if inner == level {
                *part = name;
            } else if level.holds(inner) {
                *part = Symbol::NONE;
            }
        }
        self
    }

    /// Returns the name of the part of that level.
    #[must_use]
    pub fn get(&self, level: Level) -> Option<Symbol> {
        self.parts().find(|(known, _)| *known == level).map(|(_, name)| name)
    }

    /// Iterates over the parts that are known, from the experiment inwards.
    pub fn parts(&self) -> impl Iterator<Item = (Level, Symbol)> {
        Level::ALL.into_iter().zip(self.0).filter(|(_, name)| *name != Symbol::NONE)
    }

    /// Tells whether nothing is known.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Context::NONE
    }

    /// Tells whether all parts of `outer` are this context's too.
    #[must_use]
    pub fn is_within(&self, outer: &Context) -> bool {
        self.0.iter().zip(&outer.0).all(|(part, wanted)| *wanted == Symbol::NONE || part == wanted)
    }

    /// Returns what of this context lies within a test.
    pub(crate) fn within_test(mut self) -> Context {
        for (part, level) in self.0.iter_mut().zip(Level::ALL) {
            if matches!(level, Level::Experiment | Level::Test) {
                *part = Symbol::NONE;
            }
        }
        self
    }

    /// Returns this context as seen from the part of that name: it is not within itself.
    pub(crate) fn around_itself(mut self, level: Option<Level>, name: Symbol) -> Context {
        for (part, known) in self.0.iter_mut().zip(Level::ALL) {
            if Some(known) == level && *part == name {
                *part = Symbol::NONE;
            }
        }
        self
    }

    /// Tells whether both may be of one place: none names another part of a level than the other.
    pub(crate) fn agrees_with(&self, other: &Context) -> bool {
        let mut levels = self.0.iter().zip(other.0);
        levels.all(|(one, other)| [Symbol::NONE, *one].contains(&other) || *one == Symbol::NONE)
    }

    /// As [`Context::agrees_with`], whichever part of `level` they name.
    pub(crate) fn agrees_beside(mut self, other: &Context, level: Level) -> bool {
        for ((part, known), other) in self.0.iter_mut().zip(Level::ALL).zip(other.0) {
            if known == level {
                *part = other;
            }
        }
        self.agrees_with(other)
    }

    /// Returns the parts in which something of `level` lies: those that enclose it.
    pub(crate) fn around(mut self, level: Level) -> Context {
        for (part, outer) in self.0.iter_mut().zip(Level::ALL) {
            if !outer.holds(level) {
                *part = Symbol::NONE;
            }
        }
        self
    }

    /// Returns what of this context tells entities of one name apart in `domain`: the parts that enclose a test, a step or an
    /// assertion. Entities of other domains are shared between tests.
    pub(crate) fn enclosing(&self, domain: Domain) -> Context {
        Level::enclosed(domain).map_or(Context::NONE, |level| self.around(level))
    }

    /// Returns the name of the innermost part, as the order of levels has it.
    pub(crate) fn innermost(&self) -> Symbol {
        self.0.iter().rev().copied().find(|name| *name != Symbol::NONE).unwrap_or(Symbol::NONE)
    }

    /// Returns what the ids of contents within this context are computed with; `None` for no context.
    pub(crate) fn id_scope(&self) -> Option<IdScope> {
        if self.is_none() {
            return None;
        }
        let mut bytes = [0; Level::ALL.len() * 8];
        for (to, name) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *to = name.bits().to_le_bytes();
        }
        Some(IdScope::new(xxh3_128(&bytes)))
    }

    /// Writes the context as a document: names under levels.
    pub(crate) fn document(&self, symbols: &Symbols) -> String {
        let mut text = String::new();
        for (level, name) in self.parts() {
            text.push(if text.is_empty() { '{' } else { ',' });
            push_text(&mut text, level.name());
            text.push(':');
            symbols.with_name(name, |known| match known {
                Some(known) => push_text(&mut text, known),
                None => push_text(&mut text, &name.to_string()),
            });
        }
        text.push_str(if text.is_empty() { "{}" } else { "}" });
        text
    }

    /// Reads a document.
    fn read(document: &str) -> Context {
        let part = |level: Level| {
            let name = Members::of(document).text(level.name());
            name.map_or(Symbol::NONE, |name| Symbol::of(&name))
        };
        Context(Level::ALL.map(part))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.parts()).finish()
    }
}

impl Default for Context {
    fn default() -> Context {
        Context::NONE
    }
}

/// Why a change of context was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextRefused {
    /// The table is full.
    #[error("the table of contexts is full ({} changes); stay longer in each", Contexts::SPANS_MAX)]
    Full,
    /// The pipeline has contexts of its own, or those of events that were numbered elsewhere, and not both: one number of a
    /// source would be two events.
    #[error(
        "events that were numbered elsewhere, and contexts that are entered here, do not go together; replay in a pipeline of its own"
    )]
    Mixed,
}

/// Whose numbers contexts are known by.
const OWN: u8 = 1;
const ELSEWHERE: u8 = 2;

/// Knows the context of every event of a pipeline, and that of entities.
///
/// Asking takes a lock for reading, and nothing at all while no emitter has entered a context.
#[derive(Default)]
pub struct Contexts {
    used: AtomicBool,
    /// Whose numbers: [`OWN`], [`ELSEWHERE`], or 0 as long as none are used.
    numbers: AtomicU8,
    /// How often numbers were forgotten: which origin's they are now.
    numbering: AtomicU64,
    /// Members that found no room.
    refused: AtomicU64,
    state: RwLock<ContextsState>,
}

#[derive(Default)]
struct ContextsState {
    /// By number.
    contexts: Vec<Context>,
    numbers: HashMap<Context, u32>,
    /// By source: from which number on it is in which context, ascending.
    spans: HashMap<u16, Vec<(u32, u32)>>,
    span_count: usize,
    /// Entities, with the numbers of the contexts that they belong to.
    members: HashSet<(Domain, Symbol, u32)>,
    entities: HashMap<(Domain, Symbol), Vec<u32>>,
}

impl Contexts {
    /// Changes of context, and members, that the table takes, each. Who is in a context can always leave it: for that there
    /// is as much room again.
    pub const SPANS_MAX: usize = 1 << 22;

    /// Returns the context in which the event was emitted; [`Context::NONE`] where there was none.
    #[must_use]
    pub fn of(&self, record: &Record) -> Context {
        // Acquire: partner is the store in `note`.
        if !self.used.load(Ordering::Acquire) {
            return Context::NONE;
        }
        self.read().of(record.source(), record.seq())
    }

    /// Returns the context of number `seq` of `source`, and the numbers around it that are in the same one. It holds for
    /// numbers that have been given by now; those to come may be in another.
    pub(crate) fn span(&self, source: u16, seq: u32) -> (Context, RangeInclusive<u32>) {
        // Acquire: partner is the store in `note`.
        if !self.used.load(Ordering::Acquire) {
            return (Context::NONE, 0..=u32::MAX);
        }
        self.read().span(source, seq)
    }

    /// Tells whether the entity belongs to a context within `outer`.
    #[must_use]
    pub fn holds(&self, domain: Domain, entity: Symbol, outer: &Context) -> bool {
        let state = self.read();
        let numbers = state.entities.get(&(domain, entity)).map_or(&[][..], Vec::as_slice);
        numbers.iter().any(|number| state.context(*number).is_within(outer))
    }

    /// Returns the entities that belong to contexts within `outer`, by domain.
    #[must_use]
    pub fn entities(&self, outer: &Context) -> Vec<(Domain, Symbol)> {
        let state = self.read();
        let within = |numbers: &[u32]| numbers.iter().any(|number| state.context(*number).is_within(outer));
        let mut found: Vec<_> =
            state.entities.iter().filter(|(_, numbers)| within(numbers)).map(|(key, _)| *key).collect();
        found.sort_unstable();
        found
    }

    /// Returns the contexts that the entity belongs to, in the order in which they came up.
    #[must_use]
    pub fn of_entity(&self, domain: Domain, entity: Symbol) -> Vec<Context> {
        let state = self.read();
        let numbers = state.entities.get(&(domain, entity)).map_or(&[][..], Vec::as_slice);
        numbers.iter().map(|number| state.context(*number)).collect()
    }

    /// Returns how many members were not noted because the table was full.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Takes a definition from elsewhere, such as a journal: from `seq` on, events of `source` are in the context that
    /// `document` describes; `None` for no context. Numbers are one origin's: see [`Contexts::forget_numbers`].
    ///
    /// # Errors
    /// When the table is full, or an emitter of the pipeline has entered a context.
    pub fn restore(&self, source: u16, seq: u32, document: Option<&str>) -> Result<(), ContextRefused> {
        self.number_elsewhere()?;
        // A pipeline has told of what was entered, and of what was left.
        self.enter_up_to(2 * Contexts::SPANS_MAX, source, seq, document.map_or(Context::NONE, Context::read))
    }

    /// Forgets in which contexts events are, and not which entities belong to contexts. A reader of events of several
    /// [origins](crate::event::Origin), which have their numbers each for itself, calls it between two of them, once those of
    /// the first have gone through the pipeline (`Pipeline::drain`).
    pub fn forget_numbers(&self) {
        let mut state = self.write();
        // Relaxed: who asks is behind the drain.
        self.numbering.fetch_add(1, Ordering::Relaxed);
        state.spans.clear();
        state.span_count = 0;
    }

    /// Tells apart the origins of which numbers have been: sources of one number are one within each.
    pub(crate) fn numbering(&self) -> u64 {
        self.numbering.load(Ordering::Relaxed)
    }

    /// From `seq` on, events of `source` are in `context`.
    pub(crate) fn enter(&self, source: u16, seq: u32, context: Context) -> Result<(), ContextRefused> {
        self.number_by(OWN)?;
        self.enter_up_to(Contexts::SPANS_MAX, source, seq, context)
    }

    /// Takes in that events come which were numbered elsewhere.
    pub(crate) fn number_elsewhere(&self) -> Result<(), ContextRefused> {
        self.number_by(ELSEWHERE)
    }

    fn number_by(&self, whose: u8) -> Result<(), ContextRefused> {
        // Relaxed: nothing else is read by it.
        match self.numbers.compare_exchange(0, whose, Ordering::Relaxed, Ordering::Relaxed) {
            Err(known) if known != whose => Err(ContextRefused::Mixed),
            _ => Ok(()),
        }
    }

    fn enter_up_to(
        &self,
        spans_max: usize,
        source: u16,
        seq: u32,
        context: Context,
    ) -> Result<(), ContextRefused> {
        let state = self.write();
        if state.span_count >= spans_max {
            return Err(ContextRefused::Full);
        }
        self.note(state, source, seq, context);
        Ok(())
    }

    /// As [`Contexts::enter`], for who goes back to where it was, or on under another number. There is always room for
    /// that: no more often than something was entered, which had room.
    pub(crate) fn go_on(&self, source: u16, seq: u32, context: Context) {
        let state = self.write();
        if state.of(source, seq) != context {
            self.note(state, source, seq, context);
        }
    }

    /// Tells whether events of `source` have ever been in a context.
    pub(crate) fn knows(&self, source: u16) -> bool {
        self.read().spans.contains_key(&source)
    }

    fn note(&self, mut state: RwLockWriteGuard<'_, ContextsState>, source: u16, seq: u32, context: Context) {
        let number = state.number(context);
        for (level, name) in context.parts() {
            if !state.join(level.domain(), name, number) {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        let spans = state.spans.entry(source).or_default();
        match spans.last_mut() {
            Some(last) if last.0 == seq => last.1 = number,
            _ => {
                spans.push((seq, number));
                state.span_count += 1;
            }
        }
        // Release: partner is the load in `of`.
        self.used.store(true, Ordering::Release);
    }

    /// Notes that the entity belongs to `context`.
    pub(crate) fn join(&self, domain: Domain, entity: Symbol, context: Context) {
        let state = self.read();
        let number = state.numbers.get(&context);
        if number.is_some_and(|number| state.members.contains(&(domain, entity, *number))) {
            return;
        }
        drop(state);
        let mut state = self.write();
        let number = state.number(context);
        if !state.join(domain, entity, number) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, ContextsState> {
        // Each change leaves the book whole.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ContextsState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.read();
        let (contexts, members) = (state.contexts.len(), state.members.len());
        f.debug_struct("Contexts").field("contexts", &contexts).field("members", &members).finish()
    }
}

impl ContextsState {
    fn context(&self, number: u32) -> Context {
        self.contexts.get(number as usize).copied().unwrap_or_default()
    }

    fn of(&self, source: u16, seq: u32) -> Context {
        self.span(source, seq).0
    }

    fn span(&self, source: u16, seq: u32) -> (Context, RangeInclusive<u32>) {
        let spans = self.spans.get(&source).map_or(&[][..], Vec::as_slice);
        let before = spans.partition_point(|(from, _)| *from <= seq);
        let until = spans.get(before).map_or(u32::MAX, |(next, _)| next.saturating_sub(1));
        match before.checked_sub(1).and_then(|at| spans.get(at)) {
            Some((from, number)) => (self.context(*number), *from..=until),
            None => (Context::NONE, 0..=until),
        }
    }

    fn number(&mut self, context: Context) -> u32 {
        let next = self.contexts.len() as u32;
        let number = *self.numbers.entry(context).or_insert(next);
        if number == next {
            self.contexts.push(context);
        }
        number
    }

    /// False when there is no room.
    fn join(&mut self, domain: Domain, entity: Symbol, number: u32) -> bool {
        if self.members.contains(&(domain, entity, number)) {
            return true;
        }
        if self.members.len() >= Contexts::SPANS_MAX {
            return false;
        }
        self.members.insert((domain, entity, number));
        self.entities.entry((domain, entity)).or_default().push(number);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_entered_ends_what_was_within_it() {
        let symbol = Symbol::of;
        let assertion = Context::of(Level::Experiment, "e")
            .entered(Level::Test, symbol("t"))
            .entered(Level::Service, symbol("s"))
            .entered(Level::Step, symbol("1"))
            .entered(Level::Assertion, symbol("a"));
        assert_eq!(assertion.parts().count(), 5);
        let next = assertion.entered(Level::Step, symbol("2"));
        assert_eq!((next.get(Level::Assertion), next.get(Level::Service)), (None, Some(symbol("s"))));
        let levels = |level| assertion.around(level).parts().map(|(level, _)| level).collect::<Vec<_>>();
        assert_eq!(levels(Level::Assertion), [Level::Experiment, Level::Test, Level::Step]);
        assert_eq!(levels(Level::Step), [Level::Experiment, Level::Test]);
        assert_eq!(levels(Level::Test), [Level::Experiment]);
        let next = next.entered(Level::Test, symbol("u"));
        assert_eq!(next.parts().count(), 2);
        assert!(assertion.is_within(&Context::of(Level::Step, "1")) && assertion.is_within(&Context::NONE));
        assert!(!assertion.is_within(&next) && !Context::NONE.is_within(&next));
    }

    #[test]
    fn a_document_reads_back() {
        let symbols = Symbols::new();
        let name = symbols.intern("a \"test\"\n").unwrap();
        let context = Context::of(Level::Experiment, "unknown").entered(Level::Test, name);
        let document = context.document(&symbols);
        assert_eq!(
            document,
            format!(r##"{{"experiment":"{}","test":"a \"test\"\n"}}"##, Symbol::of("unknown"))
        );
        assert_eq!(Context::read(&document).get(Level::Test), Some(name));
        assert_eq!(Context::read(&Context::NONE.document(&symbols)), Context::NONE);
    }

    #[test]
    fn spans_hold_from_their_number_on_and_per_source() {
        let contexts = Contexts::default();
        let (a, b) = (Context::of(Level::Test, "a"), Context::of(Level::Test, "b"));
        contexts.enter(3, 10, a).unwrap();
        contexts.enter(3, 20, b).unwrap();
        contexts.enter(3, 20, a).unwrap();
        contexts.enter(3, 30, Context::NONE).unwrap();
        let of = |source, seq| contexts.read().of(source, seq);
        assert_eq!(
            [of(3, 9), of(3, 10), of(3, 29), of(3, 30), of(2, 15)],
            [Context::NONE, a, a, Context::NONE, Context::NONE]
        );
        for seq in 0..40 {
            let (context, same) = contexts.span(3, seq);
            assert_eq!(context, of(3, seq));
            assert!(same.contains(&seq) && same.clone().take(40).all(|other| of(3, other) == context));
        }
        assert_eq!(contexts.span(2, 15), (Context::NONE, 0..=u32::MAX));
        assert!(contexts.holds(Domain::TEST, Symbol::of("b"), &b));
        contexts.join(Domain::SERVICE, Symbol::of("s"), a);
        assert_eq!(
            contexts.entities(&a),
            [(Domain::TEST, Symbol::of("a")), (Domain::SERVICE, Symbol::of("s"))]
        );
    }

    #[test]
    fn all_that_a_pipeline_can_have_told_of_contexts_is_restored() {
        let contexts = Contexts::default();
        let full = |spans| contexts.write().span_count = spans;
        full(Contexts::SPANS_MAX);
        assert_eq!(contexts.enter(3, 10, Context::of(Level::Test, "a")), Err(ContextRefused::Full));
        assert_eq!(contexts.restore(3, 10, Some("{\"test\":\"a\"}")), Err(ContextRefused::Mixed));
        let contexts = Contexts::default();
        let full = |spans| contexts.write().span_count = spans;
        full(Contexts::SPANS_MAX);
        assert_eq!(contexts.restore(3, 10, Some("{\"test\":\"a\"}")), Ok(()));
        assert_eq!(contexts.enter(3, 10, Context::of(Level::Test, "a")), Err(ContextRefused::Mixed));
        full(2 * Contexts::SPANS_MAX);
        assert_eq!(contexts.restore(3, 20, None), Err(ContextRefused::Full));
    }

    #[test]
    fn who_is_in_a_context_can_leave_it_although_the_table_is_full() {
        let (contexts, a) = (Contexts::default(), Context::of(Level::Test, "a"));
        contexts.enter(3, 10, a).unwrap();
        contexts.write().span_count = Contexts::SPANS_MAX;
        assert_eq!(contexts.enter(3, 20, Context::NONE), Err(ContextRefused::Full));
        contexts.go_on(3, 20, Context::NONE);
        let of = |seq| contexts.read().of(3, seq);
        assert_eq!([of(19), of(20), of(21)], [a, Context::NONE, Context::NONE]);
        let before = contexts.read().span_count;
        contexts.go_on(3, 30, Context::NONE);
        assert_eq!(contexts.read().span_count, before, "where it is already, nothing is noted");
        assert!(contexts.knows(3) && !contexts.knows(4));
    }
}
