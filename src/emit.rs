//! Emitting: each thread owns an [`Emitter`], which numbers records and puts them into rings.
//!
//! Every call *offers* events. An offered event is accepted (it will reach the dedup stage), dropped because
//! its ring was full, or rejected ([`EmitError`] says why). Each outcome is counted,
//! and because numbers are given when an event is offered, what was not accepted leaves a gap in the numbers.
//!
//! After start the way of an accepted event has no lock and no allocation. It has a system call only to wake
//! a consumer that sleeps, or to sleep while a full ring blocks. A single event is published at once; a batch
//! is published in chunks of at most 64 events and at the end of the call, so that no event waits
//! for another one to come.

mod context;
mod error;
mod members;
mod refusal;
mod room;
pub mod sink;
pub(crate) mod source;
mod stats;
#[cfg(feature = "panther")]
mod teller;
mod typed;

pub use context::{ContextEntered, Within};
pub use error::{CAUSES_MAX, ErrorEvent, ErrorRaised, Severity};
pub use refusal::{ContextError, EmitError, NameRefused, NotAllowed};
pub use room::FullPolicy;
pub use sink::{EventSink, RateLimited, Sampled, Tee, TypedEvent};
pub use source::EmitTotals;
pub use stats::EmitStats;

use crate::clock::{Clock, Stamps};
use crate::emit::members::{HeldEntities, OwnContext};
use crate::emit::room::push_when_room;
use crate::emit::source::{EmitShared, SEQ_LAST, Source};
use crate::event::{EventId, EventKind, IdScope, Identity, Payload, Record, Symbol, Symbols};
use crate::recorder::TrackWriter;
use crate::ring::{ShardSender, fill};
use crate::sync::Arc;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Events of a batch that are published at once, at most.
const PUBLISH_EVERY: usize = 64;

/// Puts one thread's events into the pipeline.
///
/// An emitter belongs to one thread at a time (it is `Send`, its methods take `&mut self`). Dropping it loses
/// nothing that was accepted. Events of one emitter stay in order as far as they share a shard: always under
/// `Inline` and `Fused`, per entity under `Staged`.
pub struct Emitter {
    senders: Vec<ShardSender>,
    emit_shared: Arc<EmitShared>,
    stamps: Stamps,
    policy: FullPolicy,
    pub(crate) source: Arc<Source>,
    symbols: Arc<Symbols>,
    /// Where a typed emitter writes an event's document; kept, so that writing one does not allocate.
    text: String,
    /// What its events belong to; in a box, because most have none.
    context: Option<Box<OwnContext>>,
    /// Entities that typed emitters of it have used lately, the one in use among them.
    held_entities: HeldEntities,
    /// The context, if there is one, as ids of contents are computed with it.
    content_scope: Option<IdScope>,
    /// What earlier sources of this emitter sent, before their numbers were used up.
    earlier: EmitStats,
    /// Where a flight recorder keeps this emitter's last events.
    recorder: Option<TrackWriter>,
    /// The rings, while the definition of the context is still to be accepted: without them, what is emitted takes the slow
    /// way, where the definition goes first. Empty otherwise.
    held_back: Vec<ShardSender>,
}

impl Emitter {
    pub(crate) fn new(
        emit_shared: Arc<EmitShared>,
        senders: Vec<ShardSender>,
        clock: Clock,
        policy: FullPolicy,
        source: Arc<Source>,
        symbols: Arc<Symbols>,
        recorder: Option<TrackWriter>,
    ) -> Emitter {
        let (text, context, earlier) = (String::new(), None, EmitStats::default());
        let (content_scope, held_back) = (None, Vec::new());
        let mut emitter = Emitter {
            senders,
            emit_shared,
            stamps: Stamps::of(clock),
            policy,
            source,
            symbols,
            text,
            context,
            held_entities: HeldEntities::default(),
            content_scope,
            earlier,
            recorder,
            held_back,
        };
        emitter.carry_context_over();
        emitter
    }

    /// Emits one event, stamped now.
    ///
    /// # Errors
    /// When the event was not accepted; it is counted.
    #[inline]
    pub fn emit<P: Payload>(&mut self, entity: Symbol, payload: &P) -> Result<(), EmitError> {
        let time_ns = self.stamps.now_ns();
        self.emit_at(time_ns, entity, payload)
    }

    /// Emits one event that happened at `time_ns` (nanoseconds since the Unix epoch).
    ///
    /// # Errors
    /// When the event was not accepted; it is counted.
    #[inline]
    pub fn emit_at<P: Payload>(
        &mut self,
        time_ns: u64,
        entity: Symbol,
        payload: &P,
    ) -> Result<(), EmitError> {
        match self.emit_shared.router.identity(P::KIND) {
            Some(Identity::Content) if self.content_scope.is_some() => {
                self.offer_in_context(Record::new(Identity::Content, time_ns, entity, payload))
            }
            Some(identity) if identity != Identity::Digest => {
                self.offer(P::KIND, entity, None, move |source, seq| {
                    Record::new(identity, time_ns, entity, payload).numbered(source, seq)
                })
            }
            other => self.refuse(other, P::KIND),
        }
    }

    /// Emits one event that is the same as any other with this digest: the digest of what identifies it, such as a
    /// packet's bytes, or the [key](EventId::key) of a fact of which several tell. Any kind can be emitted so; one whose
    /// identity is [`Identity::Digest`] only so.
    ///
    /// Give the same digest only with the same kind and entity, unless the kind's identity is a digest: under several
    /// dedup threads, events of other kinds are shared out by entity.
    ///
    /// # Errors
    /// When the event was not accepted; it is counted.
    #[inline]
    pub fn emit_digest<P: Payload>(
        &mut self,
        digest: EventId,
        time_ns: u64,
        entity: Symbol,
        payload: &P,
    ) -> Result<(), EmitError> {
        if self.emit_shared.router.identity(P::KIND).is_none() {
            return self.refuse(None, P::KIND);
        }
        self.offer(P::KIND, entity, Some(digest), move |source, seq| {
            Record::with_digest(digest, time_ns, entity, payload).numbered(source, seq)
        })
    }

    /// Emits many events of one kind under one time stamp.
    ///
    /// Costs one clock reading for all. Returns what became of them. A shutdown waits for a step in progress, and
    /// so for `events`.
    pub fn emit_batch<P: Payload>(&mut self, events: impl IntoIterator<Item = (Symbol, P)>) -> EmitStats {
        let time_ns = self.stamps.now_ns();
        let events = events.into_iter();
        match self.emit_shared.router.identity(P::KIND) {
            Some(Identity::Content) if self.content_scope.is_some() => {
                let scope = self.content_scope;
                self.offer_all::<GIVE>(events.map(|(entity, payload)| {
                    Record::new(Identity::Content, time_ns, entity, &payload).within(scope.as_ref())
                }))
            }
            Some(identity) if identity != Identity::Digest => self.offer_all::<GIVE>(
                events.map(|(entity, payload)| Record::new(identity, time_ns, entity, &payload)),
            ),
            other => self.counted(|this| {
                for _ in events {
                    // Counted where it fails.
                    let _ = this.refuse(other, P::KIND);
                }
            }),
        }
    }

    /// Emits records that were made elsewhere (by a reader of captures, of a journal); the emitter numbers them.
    ///
    /// The identity in each record counts, not the schema's, and an id that is in a record stays. Records of an unknown
    /// kind, and those that are [malformed](Record::is_well_formed), are rejected.
    pub fn emit_records(&mut self, records: impl IntoIterator<Item = Record>) -> EmitStats {
        self.emit_known::<GIVE>(records)
    }

    /// Emits records that were emitted once before, under the sources and numbers that they carry: a replay. The ids in
    /// them stay what they were, and gaps stay gaps.
    ///
    /// The account holds as for [`Emitter::emit_records`]: the emitter uses up a number of its own for each record,
    /// though the record does not carry it. A record without an id, which no pipeline has seen, gets one as an event of
    /// this emitter's own, so that it is not taken for what another emitter sends under its source and number.
    ///
    /// Where an emitter of the pipeline has entered a context, all of them are rejected, and once some have come, none can be
    /// entered: contexts are known by numbers, and one number would be two events. Replay in a pipeline of its own.
    pub fn emit_numbered(&mut self, records: impl IntoIterator<Item = Record>) -> EmitStats {
        if let Err(error) = self.emit_shared.contexts.number_elsewhere() {
            return self.counted(|this| {
                for _ in records {
                    // Counted where it fails.
                    let _ = this.refuse_unmade(EmitError::Context(error));
                }
            });
        }
        self.emit_shared.sources.number_elsewhere();
        self.emit_known::<KEEP>(records)
    }

    fn emit_known<const NUMBERS: bool>(&mut self, records: impl IntoIterator<Item = Record>) -> EmitStats {
        let emit_shared = Arc::clone(&self.emit_shared);
        let mut unknown = (0_u64, None);
        let scope = self.content_scope;
        let known = records.into_iter().filter(|record| {
            let known = emit_shared.router.identity(record.kind()).is_some() && record.is_well_formed();
            if !known {
                unknown = (unknown.0 + 1, Some(record.kind()));
            }
            known
        });
        let known = known.map(|record| record.within(scope.as_ref()));
        // What is refused is counted though `records` panics.
        let offered = catch_unwind(AssertUnwindSafe(|| self.offer_all::<NUMBERS>(known)));
        let refused = self.counted(|this| {
            for kind in unknown.1.iter().cycle().take(usize::try_from(unknown.0).unwrap_or(usize::MAX)) {
                // Counted where it fails.
                let _ = this.refuse(None, *kind);
            }
        });
        let mut sent = offered.unwrap_or_else(|panicked| resume_unwind(panicked));
        sent.add(refused);
        sent
    }

    /// Returns what became of this emitter's events so far.
    #[must_use]
    pub fn sent(&self) -> EmitStats {
        let mut sent = self.earlier;
        sent.add(self.source.sent());
        sent
    }

    /// Returns the number that this emitter's records carry as their source.
    #[must_use]
    pub fn source(&self) -> u16 {
        self.source.number()
    }

    /// Returns the clock that stamps this emitter's events.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.stamps.clock()
    }

    /// Returns the names and documents of the pipeline.
    #[must_use]
    pub fn symbols(&self) -> &Arc<Symbols> {
        &self.symbols
    }

    /// Numbers an event and puts the record that `make` makes of it into its ring.
    ///
    /// The record is made in its slot: one that is made before and copied there costs more than all the rest. What is left
    /// costs as much as it stores, so what is rare is in functions of its own, and the way without them needs few
    /// registers.
    #[inline]
    fn offer(
        &mut self,
        kind: EventKind,
        entity: Symbol,
        digest: Option<EventId>,
        make: impl Fn(u16, u32) -> Record + Copy,
    ) -> Result<(), EmitError> {
        if self.source.next_seq() > SEQ_LAST {
            self.renew_source()?;
        }
        let (source, seq) = (self.source.number(), self.source.next_seq() as u32);
        let Some(inside) = self.source.active.enter(&self.emit_shared.gate) else {
            return self.source.too_late();
        };
        let shard = self.emit_shared.router.shard(kind, entity, digest);
        let Some(sender) = self.senders.get_mut(shard) else {
            drop(inside);
            let record = move |source, seq| make(source, seq);
            return self.offer_behind_definition(shard, &record);
        };
        if let Some(recorder) = &mut self.recorder {
            // Before the ring, and whatever becomes of it there: what a dead process could not deliver matters most.
            recorder.put(make(source, seq));
        }
        if sender.producer.push(make(source, seq)).is_err() {
            let record = move || make(source, seq);
            return push_when_room(sender, &self.source, self.policy, &self.emit_shared, &record);
        }
        sender.published();
        self.source.accept(1);
        Ok(())
    }

    /// Offers an event that is known by its content and context. Apart, so that the way of all others stays short.
    #[inline(never)]
    fn offer_in_context(&mut self, record: Record) -> Result<(), EmitError> {
        self.offer_record::<GIVE>(record)
    }

    /// Offers a record that was made elsewhere.
    #[inline]
    fn offer_record<const NUMBERS: bool>(&mut self, record: Record) -> Result<(), EmitError> {
        let record = record.within(self.content_scope.as_ref());
        let digest = record.id().filter(|_| record.identity() == Some(Identity::Digest));
        let origin = self.emit_shared.id_scope;
        self.offer(record.kind(), record.entity(), digest, move |source, seq| {
            numbered::<NUMBERS>(record, source, seq, &origin)
        })
    }

    fn offer_all<const NUMBERS: bool>(&mut self, mut records: impl Iterator<Item = Record>) -> EmitStats {
        self.counted(|this| {
            if this.senders.len() + this.held_back.len() == 1 {
                while this.offer_chunk::<NUMBERS>(&mut records) {}
            } else {
                for record in records {
                    // Counted where it fails. `records` may have no end, a closed pipeline has one.
                    if this.offer_record::<NUMBERS>(record).is_err_and(|error| error.is_final()) {
                        break;
                    }
                }
            }
        })
    }

    /// Publishes up to [`PUBLISH_EVERY`] records in one step; false when there are no more.
    fn offer_chunk<const NUMBERS: bool>(&mut self, records: &mut impl Iterator<Item = Record>) -> bool {
        // Without a ring at hand, the definition of the context has to go first.
        if let Some(sender) = self.senders.first_mut() {
            // The cached count spares the consumer's cache line while it suffices.
            let room = match sender.producer.cached_slots() {
                0 => sender.producer.slots(),
                cached => cached,
            };
            let step = room.min(PUBLISH_EVERY);
            let next_seq = self.source.next_seq();
            let numbers_suffice = next_seq + step as u64 <= SEQ_LAST;
            if step > 0
                && numbers_suffice
                && let Some(_inside) = self.source.active.enter(&self.emit_shared.gate)
                && let Ok(chunk) = sender.producer.write_chunk_uninit(step)
            {
                let (number, mut seq) = (self.source.number(), next_seq as u32);
                let origin = &self.emit_shared.id_scope;
                let records = records.map(|record| {
                    let numbered = numbered::<NUMBERS>(record, number, seq, origin);
                    seq += 1;
                    numbered
                });
                let (filled, panicked) = fill(chunk, records, |records| {
                    // The iterator may have forked the process.
                    if let Some(recorder) = &mut self.recorder
                        && !self.emit_shared.gate.is_forked()
                    {
                        // Before the ring, as with a single event.
                        recorder.put_all(records);
                    }
                });
                let gate = &self.emit_shared.gate;
                if gate.is_closed() && sender.producer.is_abandoned() || gate.is_forked() {
                    // A shutdown has not waited for the iterator, or it has forked: nobody takes what it has yielded since.
                    for _ in 0..filled {
                        // Counted where it fails.
                        let _ = self.source.too_late();
                    }
                } else {
                    sender.published();
                    self.source.accept(filled as u64);
                }
                if let Some(panicked) = panicked {
                    resume_unwind(panicked);
                }
                return filled == step;
            }
        }
        // The slow way, as for a single event: wait, drop, reject, or take a new source number.
        match records.next() {
            // Counted where it fails. `records` may have no end, a closed pipeline has one.
            Some(record) => !self.offer_record::<NUMBERS>(record).is_err_and(|error| error.is_final()),
            None => false,
        }
    }

    /// Runs `offer` and returns what it added to the counts.
    fn counted(&mut self, offer: impl FnOnce(&mut Emitter)) -> EmitStats {
        let before = self.sent();
        offer(self);
        let after = self.sent();
        EmitStats {
            accepted: after.accepted - before.accepted,
            dropped_full: after.dropped_full - before.dropped_full,
            rejected: after.rejected - before.rejected,
        }
    }

    /// The number that the next event will have, unless it takes a new source.
    fn next_number(&self) -> u32 {
        u32::try_from(self.source.next_seq()).unwrap_or(u32::MAX)
    }

    /// Takes a new source, because the old one's numbers are used up.
    #[cold]
    fn renew_source(&mut self) -> Result<(), EmitError> {
        if self.emit_shared.gate.is_forked() {
            // Another thread may have held the lock of the sources when the process was forked.
            return self.source.too_late();
        }
        // The definition of the context may take the only number that a source has left.
        while self.source.next_seq() > SEQ_LAST {
            let Some(source) = self.emit_shared.sources.open(self.source.name()) else {
                let Some(_inside) = self.source.active.enter(&self.emit_shared.gate) else {
                    return self.source.too_late();
                };
                return self.source.fail_unnumbered();
            };
            self.emit_shared.sources.close(&self.source);
            self.earlier = self.sent();
            self.source = source;
            self.carry_context_over();
        }
        Ok(())
    }

    #[cold]
    fn refuse(&mut self, identity: Option<Identity>, kind: EventKind) -> Result<(), EmitError> {
        self.refuse_unmade(match identity {
            None => EmitError::UnknownKind(kind),
            Some(_) => EmitError::WrongIdentity(kind),
        })
    }
}

impl Drop for Emitter {
    fn drop(&mut self) {
        if self.emit_shared.gate.is_forked() {
            // All of it is the parent's, and locks may be held for ever.
            std::mem::forget(self.recorder.take());
            return;
        }
        self.end_context();
        if let Some(recorder) = &self.recorder {
            recorder.count_refused(self.sent().rejected);
        }
        self.emit_shared.sources.close(&self.source);
        for sender in self.senders.drain(..).chain(self.held_back.drain(..)) {
            sender.close();
        }
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter")
            .field("source", &self.source.number())
            .field("name", &self.source.name())
            .field("policy", &self.policy)
            .field("sent", &self.sent())
            .finish_non_exhaustive()
    }
}

/// Records get the emitter's next numbers.
pub(crate) const GIVE: bool = true;
/// Records keep the numbers that they have.
const KEEP: bool = false;

#[inline]
fn numbered<const NUMBERS: bool>(record: Record, source: u16, seq: u32, origin: &IdScope) -> Record {
    if NUMBERS == GIVE {
        return record.numbered(source, seq);
    }
    let mut own = record.numbered(source, seq);
    own.set_id(origin);
    own.numbered(record.source(), record.seq())
}
