//! Processing: new events on their way from dedup to the observers, and further events derived from them.
//!
//! ```text
//!  ring ──► dedup ──► processors ──────────► observers
//!             ▲           │ derived events
//!             └───────────┘
//! ```
//!
//! A [`Processor`] sees every new event of the kinds that it wants before any observer does. It cannot change an event,
//! and may derive others, which go through dedup themselves, follow the batch from which they come, and are not processed
//! again. They have a source of their own for each processor and dedup thread, are offered and accepted like any
//! others, and stand in the account as such; what became of a processor's work is in
//! [`Account::processors`](crate::pipeline::Account::processors).
//!
//! Under several dedup threads each has an instance, which sees its share of the entities, and recognises duplicates
//! among what it derives. A derived event of identity `Content`, or with a digest, about an entity of another thread's share
//! passes as new there, should the same be emitted too.
//!
//! ```
//! use panther_events::domain::packet::PacketSeen;
//! use panther_events::domain::{TypedSink, metrics};
//! use panther_events::event::{KindSet, Payload, Record};
//! use panther_events::pipeline::Pipeline;
//! use panther_events::process::{Derived, Processor};
//!
//! /// Samples how large packets are.
//! struct Sizes;
//!
//! impl Processor for Sizes {
//!     fn interest(&self) -> KindSet {
//!         KindSet::of(&[PacketSeen::KIND])
//!     }
//!
//!     fn process(&mut self, record: &Record, derived: &mut Derived<'_>) {
//!         if let Some(packet) = record.payload::<PacketSeen>() {
//!             let size = f64::from(packet.wire_len_bytes);
//!             // What is refused is counted.
//!             let _ = derived.metrics("packet size").resource("bytes", size, metrics::ResourceMetric::default());
//!         }
//!     }
//! }
//!
//! let mut builder = Pipeline::builder();
//! builder.processor("sizes", |_| Sizes);
//! let snapshot = builder.start()?.shutdown();
//! assert_eq!(snapshot.account.processors[0].1.derived, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::emit::sink::keyed_id;
use crate::emit::source::{EmitShared, SEQ_LAST, Source};
use crate::emit::{ContextEntered, EmitError, EventSink, NameRefused, TypedEvent};
use crate::event::{
    Context, Detail, EventId, EventKind, Identity, KindSet, Payload, Record, Symbol, Symbols,
};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Sees events before observers do, and may derive others.
///
/// # Panics
/// A processor may panic: it is disabled then, what it was deriving from that event is refused, the events that it
/// would have had are counted as failed, a `pipeline.processor_failed` event tells the observers, and the rest goes on.
pub trait Processor: Send + 'static {
    /// Says which kinds it wants. Asked once, at the start.
    fn interest(&self) -> KindSet;

    /// Sees a new event.
    fn process(&mut self, record: &Record, derived: &mut Derived<'_>);

    /// Ends: no more events will come. What it derives here is observed as well.
    fn finish(&mut self, derived: &mut Derived<'_>) {
        let _ = derived;
    }
}

/// Events that can be derived from one; more are refused.
pub const DERIVED_MAX: usize = 64;

/// What became of a processor's work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Processing {
    /// Events that it saw.
    pub seen: u64,
    /// Events that it derived, and those that say in which context they are.
    pub derived: u64,
    /// Events that it derived and that were refused: of an unknown kind, too many from one event, derived by a call
    /// that panicked.
    pub rejected: u64,
    /// Events that it would have seen, had it not panicked; the one at which it did is the first.
    pub failed: u64,
    /// Instances that panicked, while they saw events or at the end; such a one sees nothing more.
    pub panicked: u64,
}

impl Processing {
    pub(crate) fn add(&mut self, other: Processing) {
        self.seen += other.seen;
        self.derived += other.derived;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.panicked += other.panicked;
    }
}

/// Takes what a processor derives from one event. Typed emitters work over it, by
/// [`TypedSink`](crate::domain::TypedSink).
///
/// What is derived belongs to the context of the event it is derived from.
pub struct Derived<'a> {
    buffer: &'a mut DerivedBuffer,
    time_ns: u64,
}

/// What one processor derives from.
pub(crate) struct DerivedBuffer {
    pub(crate) emit_shared: Arc<EmitShared>,
    pub(crate) symbols: Arc<Symbols>,
    /// Under which what it derives is numbered; `None` when no number is left.
    pub(crate) source: Option<Arc<Source>>,
    /// Of the event that is processed.
    pub(crate) context: Context,
    /// In which the source is.
    pub(crate) entered: Context,
    /// Definitions of contexts in `out`, and the context before them.
    pub(crate) defined: (usize, Context),
    pub(crate) out: Vec<Record>,
    pub(crate) counts: Processing,
}

impl Derived<'_> {
    /// Derives an event with the time of the one that is processed.
    ///
    /// # Errors
    /// When the event was refused; it is counted.
    pub fn emit<P: Payload>(&mut self, entity: Symbol, payload: &P) -> Result<(), EmitError> {
        self.emit_at(self.time_ns, entity, payload)
    }

    /// Derives an event that happened at `time_ns`, nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// When the event was refused; it is counted.
    pub fn emit_at<P: Payload>(
        &mut self,
        time_ns: u64,
        entity: Symbol,
        payload: &P,
    ) -> Result<(), EmitError> {
        match self.identity(P::KIND) {
            Ok(identity) => self.buffer.take(Record::new(identity, time_ns, entity, payload)),
            Err(error) => self.buffer.refuse(error),
        }
    }

    /// Returns the time of the event that is processed, in nanoseconds since the Unix epoch; at the end, that of the
    /// last one.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.time_ns
    }

    /// Returns the names and documents of the pipeline.
    #[must_use]
    pub fn symbols(&self) -> &Arc<Symbols> {
        &self.buffer.symbols
    }

    /// Derives an event that is the same as any other with this digest, as
    /// [`Emitter::emit_digest`](crate::emit::Emitter::emit_digest).
    ///
    /// # Errors
    /// When the event was refused; it is counted.
    pub fn emit_digest<P: Payload>(
        &mut self,
        digest: EventId,
        time_ns: u64,
        entity: Symbol,
        payload: &P,
    ) -> Result<(), EmitError> {
        if self.buffer.emit_shared.router.identity(P::KIND).is_none() {
            return self.buffer.refuse(EmitError::UnknownKind(P::KIND));
        }
        self.buffer.take(Record::with_digest(digest, time_ns, entity, payload))
    }

    fn identity(&self, kind: EventKind) -> Result<Identity, EmitError> {
        match self.buffer.emit_shared.router.identity(kind) {
            None => Err(EmitError::UnknownKind(kind)),
            Some(Identity::Digest) => Err(EmitError::WrongIdentity(kind)),
            Some(identity) => Ok(identity),
        }
    }
}

impl EventSink for Derived<'_> {
    fn emit_event(&mut self, event: &TypedEvent<'_>) -> Result<(), EmitError> {
        let symbols = Arc::clone(&self.buffer.symbols);
        let identity = match event.key {
            Some(_) if self.buffer.emit_shared.router.identity(event.kind).is_some() => Ok(Identity::Digest),
            _ => self.identity(event.kind),
        };
        let made = identity.and_then(|identity| {
            let entity =
                symbols.intern(event.entity).map_err(|error| EmitError::Entity(NameRefused::from(error)))?;
            let document = match event.document {
                "" => Detail::NONE,
                document => symbols.details().insert(document).map_err(EmitError::Detail)?,
            };
            if event.unplaced > 0 {
                symbols.details().count_unplaced(event.unplaced);
            }
            if !self.buffer.context.is_none() {
                self.buffer.emit_shared.contexts.join(event.kind.domain(), entity, self.buffer.context);
            }
            let time_ns = event.time_ns.unwrap_or(self.time_ns);
            let payload = bytemuck::cast(event.payload_with(document));
            let id = |key| keyed_id(key, event.kind, entity, self.buffer.context).bits();
            let id = event.key.map_or(0, id);
            Ok(Record::raw(id, identity, time_ns, entity, event.kind, payload))
        });
        match made {
            Ok(record) => self.buffer.take(record),
            Err(error) => self.buffer.refuse(error),
        }
    }

    fn emit_record(&mut self, record: Record) -> Result<(), EmitError> {
        let is_known = self.buffer.emit_shared.router.identity(record.kind()).is_some();
        if !is_known {
            return self.buffer.refuse(EmitError::UnknownKind(record.kind()));
        }
        if !record.is_well_formed() {
            return self.buffer.refuse(EmitError::Malformed);
        }
        self.buffer.take(record)
    }

    fn context(&self) -> Context {
        self.buffer.context
    }

    fn count_refused(&mut self, error: EmitError) -> Result<(), EmitError> {
        self.buffer.refuse(error)
    }
}

impl fmt::Debug for Derived<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived").field("time_ns", &self.time_ns).finish_non_exhaustive()
    }
}

impl DerivedBuffer {
    /// Returns what takes the events that are derived from `record`.
    pub(crate) fn derived(&mut self, record: &Record) -> Derived<'_> {
        self.context = self.emit_shared.contexts.of(record);
        Derived { buffer: self, time_ns: record.time_ns() }
    }

    /// Returns what takes the events that are derived at the end, from no one event.
    pub(crate) fn derived_at_end(&mut self, time_ns: u64) -> Derived<'_> {
        self.context = Context::NONE;
        Derived { buffer: self, time_ns }
    }

    /// Accepts what was derived from one event.
    pub(crate) fn accept(&mut self, to: &mut Vec<Record>) {
        let accepted = self.out.len() as u64;
        if let Some(source) = self.source.as_ref().filter(|_| accepted > 0) {
            source.counts.accepted.fetch_add(accepted, Ordering::Relaxed);
        }
        self.defined = Default::default();
        self.counts.derived += accepted;
        to.append(&mut self.out);
    }

    /// Refuses what was derived from one event.
    pub(crate) fn reject(&mut self) {
        let rejected = self.out.len() as u64;
        self.out.clear();
        self.count_rejected(rejected);
        let (defined, before) = std::mem::take(&mut self.defined);
        if let Some(source) = self.source.as_ref().filter(|_| defined > 0) {
            // The definition is lost, so what follows is where it was before.
            let next_seq = source.counts.next_seq.load(Ordering::Relaxed).min(SEQ_LAST) as u32;
            let _ = self.emit_shared.contexts.enter(source.number(), next_seq, before);
            self.entered = before;
        }
    }

    fn take(&mut self, record: Record) -> Result<(), EmitError> {
        if self.context != self.entered {
            self.enter(record.time_ns())?;
        }
        let (source, seq) = self.number()?;
        if self.out.len() - self.defined.0 >= DERIVED_MAX {
            self.count_rejected(1);
            return Err(EmitError::Full);
        }
        self.out.push(record.within(self.context.id_scope().as_ref()).numbered(source, seq));
        Ok(())
    }

    /// Lets what is derived from here on belong to the context of the event that is processed. As with an emitter, an
    /// event says so, by which a journal knows.
    fn enter(&mut self, time_ns: u64) -> Result<(), EmitError> {
        let (source, seq) = self.number()?;
        let (context, before) = (self.context, self.entered);
        let document = match context.is_none() {
            true => Ok(Detail::NONE),
            false => self.symbols.details().insert(&context.document(&self.symbols)),
        };
        let entered = document.map_err(EmitError::Detail).and_then(|document| {
            self.emit_shared.contexts.enter(source, seq, context).map_err(EmitError::Context)?;
            Ok(ContextEntered { context: document })
        });
        match entered {
            Ok(entered) => {
                self.entered = context;
                let record = Record::new(Identity::Occurrence, time_ns, context.innermost(), &entered);
                self.out.push(record.numbered(source, seq));
                self.defined = (self.defined.0 + 1, before);
                Ok(())
            }
            Err(error) => {
                self.count_rejected(1);
                Err(error)
            }
        }
    }

    fn refuse(&mut self, error: EmitError) -> Result<(), EmitError> {
        self.number()?;
        self.count_rejected(1);
        Err(error)
    }

    /// Gives the next number: from here on the event counts as offered.
    fn number(&mut self) -> Result<(u16, u32), EmitError> {
        let used_up = |source: &Arc<Source>| source.counts.next_seq.load(Ordering::Relaxed) > SEQ_LAST;
        if let Some(source) = self.source.take_if(|source| used_up(source)) {
            // What is in `out` has numbers of the old source, and is accepted or refused under the new one's: the sums
            // over all sources are the same.
            self.source = self.emit_shared.sources.open(source.name());
            self.emit_shared.sources.close(&source);
            self.entered = Context::NONE;
        }
        let Some(source) = &self.source else {
            self.counts.rejected += 1;
            return Err(EmitError::SourcesExhausted);
        };
        let seq = source.counts.next_seq.fetch_add(1, Ordering::Relaxed);
        Ok((source.number(), seq as u32))
    }

    fn count_rejected(&mut self, events: u64) {
        self.counts.rejected += events;
        if let Some(source) = &self.source {
            source.counts.rejected.fetch_add(events, Ordering::Relaxed);
        }
    }
}
