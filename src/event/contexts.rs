//! The table of contexts: which events and entities belong to which.

use crate::event::stages::{Handled, Stages};
use crate::event::{Context, ContextRefused, Domain, HeldNames, Holder, Record, Symbol, Symbols};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

/// What a change of context takes at most, about: a context of its own that nothing else is in, and its places in the maps.
const CHANGE_BYTES: u64 = 192;
/// What a member takes, about.
const MEMBER_BYTES: u64 = 160;

/// Changes of context that are evicted for one that comes, at most: entering and leaving make two.
const EVICTED_AT_ONCE: usize = 4;

/// Whose numbers contexts are known by.
const OWN: u8 = 1;
const ELSEWHERE: u8 = 2;

/// Knows the context of every event of a pipeline, and that of entities.
///
/// Asking takes a lock for reading, and nothing at all while no emitter has entered a context.
///
/// The table is bounded in bytes. Where half of the changes of context that it has room for were made, the oldest are *evicted* once
/// all events before them have been handled; from then on, such an event's context is not known ([`Contexts::evicted`]). So an
/// observer asks when it gets an event. The names of contexts are [held](crate::event::Held) while a source is in them by its last
/// change; those of contexts that were left go like the names of other events. Of the entities that belong to contexts, those that came first are forgotten where
/// there is no room ([`Contexts::forgotten`]).
pub struct Contexts {
    used: AtomicBool,
    /// Whose numbers: [`OWN`], [`ELSEWHERE`], or 0 as long as none are used.
    numbers: AtomicU8,
    /// How often numbers were forgotten: which origin's they are now.
    numbering: AtomicU64,
    changes_max: usize,
    members_max: usize,
    evicted: AtomicU64,
    /// How often a context was asked for that was evicted.
    missed: AtomicU64,
    forgotten: AtomicU64,
    /// Taken behind the state's lock.
    handled: Mutex<Handled>,
    /// The names of what contexts are parts of.
    symbols: Arc<Symbols>,
    state: RwLock<ContextsState>,
}

#[derive(Default)]
struct ContextsState {
    /// By number; those that nothing is in are free.
    contexts: Vec<Counted>,
    free: Vec<u32>,
    numbers: HashMap<Context, u32>,
    /// By source: from which number on it is in the context of which number. A tree, since who reads them elsewhere may be told of
    /// them in any order.
    changes: HashMap<u16, BTreeMap<u32, u32>>,
    /// By source: the names of the context in which it is by its last change.
    held: HashMap<u16, HeldNames>,
    /// By source: from which number on changes were evicted.
    evicted: HashMap<u16, u32>,
    change_count: usize,
    /// Of all that ever were.
    changes_ever: u64,
    /// Sources with a change behind another one, and when that came, in the order in which they came.
    superseded: VecDeque<(u16, u64)>,
    /// Entities, with the numbers of the contexts that they belong to, and in the order in which they came.
    members: HashSet<Member>,
    members_in_order: VecDeque<Member>,
    entities: HashMap<(Domain, Symbol), VecDeque<u32>>,
}

type Member = (Domain, Symbol, u32);

/// A context, and how many changes and members refer to it.
struct Counted {
    context: Context,
    references: u32,
}

impl Contexts {
    /// Bytes that a table takes at most, about, unless told otherwise: 256 MiB.
    pub const LIMIT_DEFAULT: u64 = 1 << 28;

    /// Makes an empty table for contexts whose names are in `symbols`, of at most about `limit` bytes: half of them for changes of context, at 192 bytes each, half for
    /// entities, at 160 bytes for each context that one belongs to. There is room for 64 of each at least.
    #[must_use]
    pub fn new(symbols: &Arc<Symbols>, limit: u64) -> Contexts {
        let places = |each| usize::try_from(limit / 2 / each).unwrap_or(usize::MAX).max(64);
        Contexts {
            used: AtomicBool::new(false),
            numbers: AtomicU8::new(0),
            numbering: AtomicU64::new(0),
            changes_max: places(CHANGE_BYTES),
            members_max: places(MEMBER_BYTES),
            evicted: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            handled: Mutex::default(),
            symbols: Arc::clone(symbols),
            state: RwLock::default(),
        }
    }

    /// Returns the context in which the event was emitted; [`Context::NONE`] where there was none.
    #[must_use]
    pub fn of(&self, record: &Record) -> Context {
        // Acquire: partner is the store in `note`.
        if !self.used.load(Ordering::Acquire) {
            return Context::NONE;
        }
        self.look_up(record.source(), record.seq()).0
    }

    fn look_up(&self, source: u16, seq: u32) -> (Context, RangeInclusive<u32>) {
        let state = self.read();
        if state.has_evicted(source, seq) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        state.span(source, seq)
    }

    /// Returns the context of number `seq` of `source`, and the numbers around it that are in the same one. It holds for
    /// numbers that have been given by now; those to come may be in another.
    pub(crate) fn span(&self, source: u16, seq: u32) -> (Context, RangeInclusive<u32>) {
        // Acquire: partner is the store in `note`.
        if !self.used.load(Ordering::Acquire) {
            return (Context::NONE, 0..=u32::MAX);
        }
        self.look_up(source, seq)
    }

    /// Tells whether the entity belongs to a context within `outer`.
    #[must_use]
    pub fn holds(&self, domain: Domain, entity: Symbol, outer: &Context) -> bool {
        let state = self.read();
        state.of_entity(domain, entity).any(|context| context.is_within(outer))
    }

    /// Returns the entities that belong to contexts within `outer`, by domain.
    #[must_use]
    pub fn entities(&self, outer: &Context) -> Vec<(Domain, Symbol)> {
        let state = self.read();
        let within =
            |key: &&(Domain, Symbol)| state.of_entity(key.0, key.1).any(|known| known.is_within(outer));
        let mut found: Vec<_> = state.entities.keys().filter(within).copied().collect();
        found.sort_unstable();
        found
    }

    /// Returns the contexts that the entity belongs to, in the order in which they came up.
    #[must_use]
    pub fn of_entity(&self, domain: Domain, entity: Symbol) -> Vec<Context> {
        self.read().of_entity(domain, entity).copied().collect()
    }

    /// Returns how many changes of context were evicted: what was emitted before them has been handled, and of those events that
    /// are still held somewhere the context is not known any more.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Returns how often the context of an event was asked for in vain, because it had been evicted.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Returns how often it was forgotten that an entity belongs to a context, because others came.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// Says what is not known any more although somebody may ask for it.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        let remedy = "stay longer in each, or raise `contexts_bytes`";
        let missed = Some(self.missed()).filter(|missed| *missed > 0).map(|missed| {
            format!(
                "{missed} times, the context of an event was asked for that had been evicted, and the event is taken for one without: it \
                 was held for long, as by a history; {remedy}"
            )
        });
        let forgotten = Some(self.forgotten()).filter(|forgotten| *forgotten > 0).map(|forgotten| {
            format!(
                "{forgotten} times, it was forgotten that an entity belongs to a context; queries of the contexts that came first \
                 may lack entities; {remedy}"
            )
        });
        missed.into_iter().chain(forgotten)
    }

    /// Takes a definition from elsewhere, such as a journal: from `seq` on, events of `source` are in the context that
    /// `document` describes; `None` for no context. Its names come into the table of names. Numbers are one origin's: see
    /// [`Contexts::forget_numbers`].
    ///
    /// # Errors
    /// When the table is full of changes that events on their way belong to, or an emitter of the pipeline has entered a context.
    pub fn restore(&self, source: u16, seq: u32, document: Option<&str>) -> Result<(), ContextRefused> {
        self.number_elsewhere()?;
        let context = document.map_or(Context::NONE, |document| Context::read(document, &self.symbols));
        if self.read().is_noted(source, seq, context) {
            return Ok(());
        }
        // A pipeline has told of what was entered, and of what was left.
        self.enter_up_to(2 * self.changes_max, source, seq, context)
    }

    /// Forgets in which contexts events are, and not which entities belong to contexts. A reader of events of several
    /// [origins](crate::event::Origin), which have their numbers each for itself, calls it between two of them, once those of
    /// the first have gone through the pipeline (`Pipeline::drain`).
    pub fn forget_numbers(&self) {
        let mut state = self.write();
        // Relaxed: who asks is behind the drain.
        self.numbering.fetch_add(1, Ordering::Relaxed);
        for (_, number) in std::mem::take(&mut state.changes).into_values().flatten() {
            state.release(number);
        }
        state.held.clear();
        state.superseded.clear();
        state.evicted.clear();
        state.change_count = 0;
    }

    /// Tells apart the origins of which numbers have been: sources of one number are one within each.
    pub(crate) fn numbering(&self) -> u64 {
        self.numbering.load(Ordering::Relaxed)
    }

    /// From `seq` on, events of `source` are in `context`.
    pub(crate) fn enter(&self, source: u16, seq: u32, context: Context) -> Result<(), ContextRefused> {
        self.number_by(OWN)?;
        self.enter_up_to(self.changes_max, source, seq, context)
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
        changes_max: usize,
        source: u16,
        seq: u32,
        context: Context,
    ) -> Result<(), ContextRefused> {
        let mut state = self.write();
        self.evict(&mut state);
        if state.change_count >= changes_max {
            return Err(ContextRefused::Full { changes: state.change_count });
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
        self.read().changes.contains_key(&source)
    }

    fn note(&self, mut state: RwLockWriteGuard<'_, ContextsState>, source: u16, seq: u32, context: Context) {
        let number = state.refer_to(context);
        for (level, name) in context.parts() {
            self.join_number(&mut state, (level.domain(), name, number));
        }
        let ever = state.changes_ever;
        let changes = state.changes.entry(source).or_default();
        let is_first = changes.is_empty();
        match changes.insert(seq, number) {
            Some(before) => state.release(before),
            None => {
                if !is_first {
                    state.superseded.push_back((source, ever));
                }
                state.change_count += 1;
                state.changes_ever += 1;
            }
        }
        self.hold_names(&mut state, source);
        // Release: partner is the load in `of`.
        self.used.store(true, Ordering::Release);
    }

    /// Holds the names of the context in which a source is by its last change, and lets go of those of the one before.
    fn hold_names(&self, state: &mut ContextsState, source: u16) {
        let last = state.changes.get(&source).and_then(BTreeMap::last_key_value);
        let context = last.map(|(_, number)| state.context(*number)).unwrap_or_default();
        if context.is_none() {
            state.held.remove(&source);
            return;
        }
        let mut names = HeldNames::new(&self.symbols, Holder::Emission);
        context.parts().for_each(|(_, name)| names.hold(name));
        // Those that both have stay held.
        state.held.insert(source, names);
    }

    /// Evicts changes of context that no event on its way belongs to, where there are many: a few at a time.
    fn evict(&self, state: &mut ContextsState) {
        if state.change_count <= self.changes_max / 2 {
            return;
        }
        let era_len = (self.changes_max / 8).max(1) as u64;
        let handled = self.handled().before(state.changes_ever / era_len).saturating_mul(era_len);
        for _ in 0..EVICTED_AT_ONCE {
            let Some((source, came)) = state.superseded.front().copied() else { return };
            // All events of the change before came before that one.
            if came >= handled {
                return;
            }
            state.superseded.pop_front();
            if let Some((seq, number)) = state.changes.get_mut(&source).and_then(BTreeMap::pop_first) {
                state.release(number);
                state.evicted.entry(source).or_insert(seq);
                state.change_count -= 1;
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Lets changes of context stay as long as events that `stages` handle may need them.
    pub(crate) fn serve(&self, stages: Weak<dyn Stages>) {
        self.handled().by(stages);
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
        let number = state.refer_to(context);
        self.join_number(&mut state, (domain, entity, number));
        state.release(number);
    }

    fn join_number(&self, state: &mut ContextsState, member: Member) {
        if !state.members.insert(member) {
            return;
        }
        let (domain, entity, number) = member;
        state.refer(number);
        state.members_in_order.push_back(member);
        state.entities.entry((domain, entity)).or_default().push_back(number);
        if state.members.len() > self.members_max {
            state.forget_first_member();
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Locks out whoever takes a lock, to test who does.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn lock_all(&self) -> impl Sized + '_ {
        self.write()
    }

    fn handled(&self) -> MutexGuard<'_, Handled> {
        self.handled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, ContextsState> {
        // Each change leaves the book whole.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ContextsState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Contexts {
    fn default() -> Contexts {
        Contexts::new(&Arc::default(), Contexts::LIMIT_DEFAULT)
    }
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.read();
        let (contexts, members) = (state.numbers.len(), state.members.len());
        f.debug_struct("Contexts").field("contexts", &contexts).field("members", &members).finish()
    }
}

impl ContextsState {
    fn context(&self, number: u32) -> Context {
        self.contexts.get(number as usize).map(|counted| counted.context).unwrap_or_default()
    }

    fn of(&self, source: u16, seq: u32) -> Context {
        self.span(source, seq).0
    }

    /// Tells whether the change was evicted that `seq` of `source` belongs to.
    fn has_evicted(&self, source: u16, seq: u32) -> bool {
        // Most tables have evicted nothing.
        let evicted = if self.evicted.is_empty() { None } else { self.evicted.get(&source) };
        let first = || self.changes.get(&source).and_then(BTreeMap::first_key_value);
        evicted.is_some_and(|evicted| seq >= *evicted && first().is_some_and(|(first, _)| seq < *first))
    }

    /// Tells whether a change to `context` is noted at that very number.
    fn is_noted(&self, source: u16, seq: u32, context: Context) -> bool {
        let known = self.changes.get(&source).and_then(|changes| changes.get(&seq));
        known.is_some_and(|number| self.context(*number) == context)
    }

    fn span(&self, source: u16, seq: u32) -> (Context, RangeInclusive<u32>) {
        let Some(changes) = self.changes.get(&source) else { return (Context::NONE, 0..=u32::MAX) };
        let next = seq.checked_add(1).and_then(|next| changes.range(next..).next());
        let until = next.map_or(u32::MAX, |(next, _)| next.saturating_sub(1));
        match changes.range(..=seq).next_back() {
            Some((from, number)) => (self.context(*number), *from..=until),
            None => (Context::NONE, 0..=until),
        }
    }

    fn of_entity(&self, domain: Domain, entity: Symbol) -> impl Iterator<Item = &Context> {
        let numbers = self.entities.get(&(domain, entity)).into_iter().flatten();
        numbers.filter_map(|number| self.contexts.get(*number as usize)).map(|counted| &counted.context)
    }

    /// Returns the number of `context`, and counts one more that refers to it.
    fn refer_to(&mut self, context: Context) -> u32 {
        let number = match self.numbers.get(&context) {
            Some(number) => *number,
            None => {
                let number = self.free.pop().unwrap_or(self.contexts.len() as u32);
                let counted = Counted { context, references: 0 };
                match self.contexts.get_mut(number as usize) {
                    Some(place) => *place = counted,
                    None => self.contexts.push(counted),
                }
                self.numbers.insert(context, number);
                number
            }
        };
        self.refer(number);
        number
    }

    fn refer(&mut self, number: u32) {
        if let Some(counted) = self.contexts.get_mut(number as usize) {
            counted.references += 1;
        }
    }

    /// Counts one less that refers to the context; the last one frees its number.
    fn release(&mut self, number: u32) {
        let Some(counted) = self.contexts.get_mut(number as usize) else { return };
        counted.references -= 1;
        if counted.references == 0 {
            self.numbers.remove(&counted.context);
            self.free.push(number);
        }
    }

    fn forget_first_member(&mut self) {
        let Some(member) = self.members_in_order.pop_front() else { return };
        let (domain, entity, number) = member;
        self.members.remove(&member);
        if let Some(numbers) = self.entities.get_mut(&(domain, entity)) {
            // Those of one entity come and go in one order, so it is this one.
            numbers.pop_front();
            if numbers.is_empty() {
                self.entities.remove(&(domain, entity));
            }
        }
        self.release(number);
    }
}

#[cfg(test)]
mod tests;
