//! Sources: who has which number, and what became of each source's events.

use crate::emit::refusal::EmitError;
use crate::emit::stats::EmitStats;
use crate::event::kind::KIND_COUNT;
use crate::event::{Contexts, EventId, EventKind, IdScope, Identity, KindSet, Origin, Symbol};
use crate::fork::Birthplace;
use crate::sync::inside;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, lock};
use crate::wait::{ActiveFlag, Gate};
use crossbeam_utils::CachePadded;

/// The last number of a source; after it the emitter takes another source.
pub(crate) const SEQ_LAST: u64 = u32::MAX as u64;

/// What emitters share with the pipeline.
pub(crate) struct EmitShared {
    pub(crate) origin: Origin,
    /// The origin, as ids are computed with it.
    pub(crate) id_scope: IdScope,
    pub(crate) router: Router,
    pub(crate) sources: Arc<Sources>,
    pub(crate) contexts: Arc<Contexts>,
    pub(crate) gate: Gate,
}

impl EmitShared {
    /// Tells whether this thread works for the pipeline: it must not wait for it.
    pub(crate) fn is_own_thread(&self) -> bool {
        inside::is_inside(&self.contexts)
    }
}

/// Knows each kind's identity, and each record's shard.
pub(crate) struct Router {
    identities: Box<[u8; KIND_COUNT]>,
    /// Kinds that one worker sees all of.
    pub(crate) whole: KindSet,
    shards: usize,
}

const UNKNOWN: u8 = u8::MAX;

impl Router {
    /// Routes the kinds in `whole` to the first shard, all others by entity.
    pub(crate) fn new(
        kinds: impl IntoIterator<Item = (EventKind, Identity)>,
        whole: KindSet,
        shards: usize,
    ) -> Router {
        let mut identities = Box::new([UNKNOWN; KIND_COUNT]);
        for (kind, identity) in kinds {
            if let Some(slot) = identities.get_mut(kind.index()) {
                *slot = identity as u8;
            }
        }
        Router { identities, whole, shards }
    }

    /// Returns the identity of `kind`; `None` when the kind is not registered.
    #[inline]
    pub(crate) fn identity(&self, kind: EventKind) -> Option<Identity> {
        self.identities.get(kind.index()).and_then(|bits| Identity::from_bits(*bits))
    }

    /// Returns the number of the dedup shard that takes an event: by its digest where it has one, else by its entity.
    #[inline]
    pub(crate) fn shard(&self, kind: EventKind, entity: Symbol, digest: Option<EventId>) -> usize {
        match digest {
            _ if self.shards == 1 => 0,
            // One digest may come with different entities; its sightings must meet all the same. Where a kind is not
            // given by digests, as with PANTHER's ids in place of ours, they cover the entity, whose order counts.
            Some(digest) if !self.whole.contains(kind) && self.identity(kind) == Some(Identity::Digest) => {
                part(digest.bits() as u64, self.shards)
            }
            _ => share(kind, entity, &self.whole, self.shards, 0),
        }
    }
}

/// Shares events out among `parts` by entity; kinds in `whole` all go to part 0.
///
/// Different `turn`s take different bits of the entity's hash, so that shards and workers are independent.
#[inline]
pub(crate) fn share(kind: EventKind, entity: Symbol, whole: &KindSet, parts: usize, turn: u32) -> usize {
    if whole.contains(kind) {
        return 0;
    }
    part(entity.bits().rotate_left(32 * turn), parts)
}

#[inline]
fn part(hash: u64, parts: usize) -> usize {
    let spread = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ((spread * parts as u64) >> 32) as usize
}

/// One source: a number, and the counts of what was offered under it by one emitter.
pub(crate) struct Source {
    number: u16,
    name: Box<str>,
    first_seq: u64,
    pub(crate) active: CachePadded<ActiveFlag>,
    pub(crate) counts: CachePadded<Counts>,
    /// Events rejected because no source number was left for them.
    pub(crate) unnumbered: AtomicU64,
    /// Events that came when the pipeline was closed, or in a child of its process: the emitter tells of them, the pipeline's account
    /// does not.
    too_late: AtomicU64,
    birthplace: Birthplace,
}

/// Written by one emitter, which reads them back rather than to keep copies: what bounds an emission is the number of its
/// stores. Read by snapshots.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) next_seq: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) dropped_full: AtomicU64,
    pub(crate) rejected: AtomicU64,
}

impl Source {
    #[inline]
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Tells whether an emitter that is gone has used the number.
    pub(crate) fn is_given_again(&self) -> bool {
        self.first_seq > 0
    }

    /// Returns the number that the next event gets; beyond [`SEQ_LAST`] there is none left.
    #[inline]
    pub(crate) fn next_seq(&self) -> u64 {
        self.counts.next_seq.load(Ordering::Relaxed)
    }

    /// Numbers `n` events that are in their ring; to be called by the one emitter, while it is active.
    #[inline]
    pub(crate) fn accept(&self, n: u64) {
        raise(&self.counts.accepted, n);
        raise(&self.counts.next_seq, n);
    }

    /// Numbers an event that was not accepted, and returns why; to be called by the one emitter, while it is active.
    #[cold]
    pub(crate) fn fail(&self, error: EmitError) -> Result<(), EmitError> {
        match error {
            EmitError::Closed | EmitError::Forked => return self.too_late(),
            EmitError::Full | EmitError::FullWithin => raise(&self.counts.dropped_full, 1),
            _ => raise(&self.counts.rejected, 1),
        }
        raise(&self.counts.next_seq, 1);
        Err(error)
    }

    /// Refuses an event for which no number is left; to be called by the one emitter, while it is active.
    pub(crate) fn fail_unnumbered(&self) -> Result<(), EmitError> {
        raise(&self.counts.rejected, 1);
        raise(&self.unnumbered, 1);
        Err(EmitError::SourcesExhausted)
    }

    /// Counts an event that came after the flags were closed, or in a child of the process. It gets no number: nobody writes the
    /// other counts then, so that the last account is the last word.
    #[cold]
    pub(crate) fn too_late(&self) -> Result<(), EmitError> {
        raise(&self.too_late, 1);
        Err(self.why_no_more())
    }

    /// Says why no event is taken any more.
    pub(crate) fn why_no_more(&self) -> EmitError {
        if self.birthplace.is_here() { EmitError::Closed } else { EmitError::Forked }
    }

    /// What became of the emitter's events, for the emitter itself.
    pub(crate) fn sent(&self) -> EmitStats {
        let mut sent = self.totals().sent;
        sent.rejected += self.too_late.load(Ordering::Relaxed);
        sent
    }

    fn totals(&self) -> Offered {
        Offered {
            // By the numbers given out: independent of how the outcomes were counted.
            offered: self.counts.next_seq.load(Ordering::Relaxed) - self.first_seq
                + self.unnumbered.load(Ordering::Relaxed),
            sent: EmitStats {
                accepted: self.counts.accepted.load(Ordering::Relaxed),
                dropped_full: self.counts.dropped_full.load(Ordering::Relaxed),
                rejected: self.counts.rejected.load(Ordering::Relaxed),
            },
        }
    }
}

/// Adds to a count that one thread writes.
#[inline]
fn raise(count: &AtomicU64, by: u64) {
    count.store(count.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

/// Counts of events offered and of what became of them.
#[derive(Clone, Copy, Default)]
pub(crate) struct Offered {
    pub(crate) offered: u64,
    pub(crate) sent: EmitStats,
}

impl Offered {
    fn add(&mut self, other: Offered) {
        self.offered += other.offered;
        self.sent.add(other.sent);
    }
}

/// All sources of a pipeline.
#[derive(Default)]
pub(crate) struct Sources {
    state: Mutex<SourcesState>,
    /// Records come that another pipeline numbered: the names are not theirs.
    is_foreign: AtomicBool,
}

/// What became of all events that were offered to a pipeline so far.
#[derive(Clone)]
pub struct EmitTotals(Arc<Sources>);

impl EmitTotals {
    pub(crate) fn of(sources: &Arc<Sources>) -> EmitTotals {
        EmitTotals(Arc::clone(sources))
    }

    /// Returns the sums over all emitters, past and present. Each is read by itself while events are offered; once the
    /// pipeline [is closed](EmitTotals::is_closed) they change no more.
    #[must_use]
    pub fn sums(&self) -> EmitStats {
        self.0.totals().sent
    }

    /// Lets `tell` know which emitter has which source, from which number on, of all that there are and of each new one, until it
    /// returns false. An empty name says that records of that source come which another pipeline numbered.
    #[cfg(feature = "journal")]
    pub(crate) fn tell_names(&self, tell: TellName) {
        self.0.tell_names(tell);
    }

    /// Tells whether the pipeline takes no more events, since it is being shut down.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.0.state).closed
    }
}

impl std::fmt::Debug for EmitTotals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EmitTotals").field(&self.sums()).finish()
    }
}

/// Is told a source, a number, and the name of the emitter that has it from there on.
pub(crate) type TellName = Box<dyn Fn(u16, u32, &str) -> bool + Send>;

#[derive(Default)]
struct SourcesState {
    live: Vec<Arc<Source>>,
    /// Numbers of sources that are gone, and where their sequence goes on.
    free: Vec<(u16, u64)>,
    fresh: u32,
    gone: Offered,
    /// The pipeline takes no more events.
    closed: bool,
    /// By source number: the name of the emitter that had it last, and its first number.
    names: Vec<(Box<str>, u64)>,
    told: Vec<TellName>,
}

impl Sources {
    /// Begins behind the numbers that an earlier part of the run has used: `last[source]` is a source's last one.
    pub(crate) fn begin_after(&self, last: &[Option<u32>]) {
        let mut state = lock(&self.state);
        let known = last.iter().rposition(Option::is_some).map_or(0, |source| source + 1);
        state.fresh = state.fresh.max(known as u32);
        let names = known.max(state.names.len());
        state.names.resize_with(names, Default::default);
        for (source, last) in (0..=u16::MAX).zip(last) {
            // A source that the earlier part did not use up goes on once the fresh ones are gone.
            let next_seq = last.map_or(0, |last| u64::from(last) + 1);
            if usize::from(source) < known && next_seq <= SEQ_LAST {
                state.free.push((source, next_seq));
            }
        }
    }

    /// Gives an emitter a source: a fresh number while there are any, else one of an emitter that is gone, whose
    /// sequence goes on, so that source and number together never repeat. `None` when all are in use.
    pub(crate) fn open(&self, name: &str) -> Option<Arc<Source>> {
        let mut state = lock(&self.state);
        let (number, first_seq) = match u16::try_from(state.fresh) {
            Ok(number) => {
                state.fresh += 1;
                state.names.push((name.into(), 0));
                (number, 0)
            }
            Err(_) => {
                let (number, first_seq) = state.free.pop()?;
                if let Some(slot) = state.names.get_mut(usize::from(number)) {
                    *slot = (name.into(), first_seq);
                }
                (number, first_seq)
            }
        };
        let source = Arc::new(Source {
            number,
            name: name.into(),
            first_seq,
            active: CachePadded::new(ActiveFlag::new()),
            counts: CachePadded::new(Counts { next_seq: AtomicU64::new(first_seq), ..Counts::default() }),
            unnumbered: AtomicU64::new(0),
            too_late: AtomicU64::new(0),
            birthplace: Birthplace::here(),
        });
        state.live.push(Arc::clone(&source));
        state.told.retain(|tell| tell(number, first_seq as u32, name));
        Some(source)
    }

    /// Says that no emitter counts any more.
    pub(crate) fn set_closed(&self) {
        lock(&self.state).closed = true;
    }

    /// Takes back the source of a teller, or of an emitter that is gone.
    pub(crate) fn close(&self, source: &Arc<Source>) {
        let mut state = lock(&self.state);
        let Some(at) = state.live.iter().position(|live| Arc::ptr_eq(live, source)) else { return };
        state.live.swap_remove(at);
        state.gone.add(source.totals());
        let next_seq = source.counts.next_seq.load(Ordering::Relaxed);
        if next_seq <= SEQ_LAST {
            state.free.push((source.number, next_seq));
        }
    }

    /// Returns the counts over all sources, past and present.
    pub(crate) fn totals(&self) -> Offered {
        let state = lock(&self.state);
        let mut totals = state.gone;
        for source in &state.live {
            totals.add(source.totals());
        }
        totals
    }

    /// Returns the names of the emitters that had the source numbers last, by number.
    pub(crate) fn names(&self) -> Vec<Box<str>> {
        lock(&self.state).names.iter().map(|(name, _)| name.clone()).collect()
    }

    #[cfg(feature = "journal")]
    fn tell_names(&self, tell: TellName) {
        let mut state = lock(&self.state);
        // Relaxed: changed under the lock.
        if self.is_foreign.load(Ordering::Relaxed) {
            return;
        }
        let named = (0..=u16::MAX).zip(&state.names).filter(|(_, (name, _))| !name.is_empty());
        named.for_each(|(source, (name, first_seq))| {
            tell(source, *first_seq as u32, name);
        });
        state.told.push(tell);
    }

    /// Takes in that records come which another pipeline numbered.
    pub(crate) fn number_elsewhere(&self) {
        // Relaxed: who comes at the same time may be a little before those who read the names.
        if self.is_foreign.load(Ordering::Relaxed) {
            return;
        }
        let mut state = lock(&self.state);
        self.is_foreign.store(true, Ordering::Relaxed);
        for tell in std::mem::take(&mut state.told) {
            (0..=u16::MAX).zip(&state.names).for_each(|(source, _)| {
                tell(source, 0, "");
            });
        }
    }

    /// Returns how many emitters there are.
    pub(crate) fn live(&self) -> usize {
        lock(&self.state).live.len()
    }

    /// Returns the emitters that are in the middle of a call; meant for after the gate was closed.
    pub(crate) fn inside(&self) -> Vec<Arc<Source>> {
        lock(&self.state).live.iter().filter(|source| source.active.is_occupied()).map(Arc::clone).collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn source_and_number_together_never_repeat() {
        let sources = Sources::default();
        let mut used = std::collections::HashSet::new();
        for round in 0..70_000_u64 {
            let source = sources.open("short-lived").unwrap();
            for seq in source.first_seq..source.first_seq + 2 {
                assert!(used.insert((source.number(), seq)), "round {round}");
                source.counts.next_seq.store(seq + 1, Ordering::Relaxed);
            }
            sources.close(&source);
        }
        assert_eq!(sources.totals().offered, 140_000);
    }

    #[test]
    fn a_source_whose_numbers_are_used_up_is_not_given_again() {
        let sources = Sources::default();
        let all: Vec<_> = (0..=u16::MAX).map(|_| sources.open("x").unwrap()).collect();
        assert!(sources.open("one too many").is_none());
        all[7].counts.next_seq.store(SEQ_LAST + 1, Ordering::Relaxed);
        sources.close(&all[7]);
        assert!(sources.open("still none").is_none());
        sources.close(&all[8]);
        assert_eq!(sources.open("now").unwrap().number(), 8);
    }

    #[test]
    fn shares_are_even_and_whole_kinds_go_to_the_first() {
        use crate::event::Domain;
        let kind = EventKind::new(Domain::TEST, 1);
        let mut counts = [[0; 4]; 4];
        for n in 0..16_000 {
            let entity = Symbol::of(&format!("entity-{n}"));
            let of = |whole, turn| share(kind, entity, whole, 4, turn);
            counts[of(&KindSet::EMPTY, 0)][of(&KindSet::EMPTY, 1)] += 1;
            assert_eq!(of(&KindSet::ALL, 0), 0);
        }
        assert!(counts.iter().flatten().all(|n| (800..1200).contains(n)), "{counts:?}");
    }

    #[test]
    fn what_is_offered_is_the_sum_of_what_became_of_it_up_to_the_last_number_and_beyond() {
        let sources = Sources::default();
        let source = sources.open("last").unwrap();
        source.counts.next_seq.store(SEQ_LAST - 1, Ordering::Relaxed);
        let first = SEQ_LAST - 1;
        let offered = |sources: &Sources| {
            let Offered { offered, sent } = sources.totals();
            (offered - first, sent.accepted, sent.dropped_full, sent.rejected)
        };
        source.accept(1);
        assert_eq!(source.next_seq(), SEQ_LAST, "one more has a number");
        assert_eq!(source.fail(EmitError::Full), Err(EmitError::Full));
        assert_eq!((source.next_seq(), offered(&sources)), (SEQ_LAST + 1, (2, 1, 1, 0)));
        for more in 1..4 {
            assert_eq!(source.fail_unnumbered(), Err(EmitError::SourcesExhausted));
            assert_eq!((source.next_seq(), offered(&sources)), (SEQ_LAST + 1, (2 + more, 1, 1, more)));
        }
        // What comes too late is known to the emitter only.
        assert_eq!(source.too_late(), Err(EmitError::Closed));
        assert_eq!(source.fail(EmitError::Closed), Err(EmitError::Closed));
        assert_eq!(source.sent(), EmitStats { accepted: 1, dropped_full: 1, rejected: 5 });
        let before = offered(&sources);
        sources.close(&source);
        assert_eq!(offered(&sources), before, "what is gone still counts");
        let other = sources.open("other").unwrap();
        other.accept(3);
        assert!(other.fail(EmitError::WrongIdentity(EventKind::from_index(0))).is_err());
        assert_eq!(offered(&sources), (before.0 + 4, before.1 + 3, before.2, before.3 + 1));
        sources.close(&other);
        assert_eq!(offered(&sources), (before.0 + 4, before.1 + 3, before.2, before.3 + 1));
    }

    #[test]
    fn a_source_is_given_again_as_long_as_it_has_a_number() {
        for (next_seq, is_given) in [(SEQ_LAST - 1, true), (SEQ_LAST, true), (SEQ_LAST + 1, false)] {
            let sources = Sources::default();
            let all: Vec<_> = (0..=u16::MAX).map(|_| sources.open("x").unwrap()).collect();
            all[300].counts.next_seq.store(next_seq, Ordering::Relaxed);
            sources.close(&all[300]);
            let again = sources.open("again").map(|source| (source.number(), source.next_seq()));
            assert_eq!(again, is_given.then_some((300, next_seq)));
        }
    }

    #[test]
    fn a_run_goes_on_behind_the_last_number_of_each_source() {
        let last = u32::MAX;
        let sources = Sources::default();
        sources.begin_after(&[Some(0), None, Some(last - 1), Some(last), Some(7), None]);
        let fresh: Vec<_> = (5..=u16::MAX).map(|_| sources.open("fresh").unwrap()).collect();
        assert!((5..=u16::MAX).eq(fresh.iter().map(|source| source.number())), "fresh ones come first");
        assert!(fresh.iter().all(|source| source.next_seq() == 0));
        let mut again = std::collections::BTreeMap::new();
        while let Some(source) = sources.open("again") {
            again.insert(source.number(), source.next_seq());
        }
        assert_eq!(again, [(0, 1), (1, 0), (2, SEQ_LAST), (4, 8)].into());
        assert_eq!(sources.totals().offered, 0, "what an earlier part of the run offered is its own");
    }
}
