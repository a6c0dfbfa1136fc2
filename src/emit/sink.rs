//! Sinks: where typed emitters can send events, besides an [`Emitter`].
//!
//! A sink distributes events its own way: into two pipelines ([`Tee`]), only some of them ([`Sampled`],
//! [`RateLimited`]), one under a key that several tellers agree on ([`Keyed`]), or as a user's own type does. All domains' typed emitters work over any sink, by
//! [`TypedSink`](crate::domain::TypedSink).

mod keyed;
mod rate;
mod sampled;
mod tee;

pub use keyed::Keyed;
pub(crate) use keyed::keyed_id;
pub use rate::RateLimited;
pub use sampled::Sampled;
pub use tee::Tee;

use crate::emit::{EmitError, Emitter, NameRefused};
use crate::event::{Context, Detail, EventId, EventKind, Record, SymbolError};

/// An event as a typed emitter has laid it out: names and documents are still text, so that it can go into any number
/// of symbol tables.
#[derive(Clone, Copy, Debug)]
pub struct TypedEvent<'a> {
    /// The kind.
    pub kind: EventKind,
    /// The entity's name.
    pub entity: &'a str,
    /// When it happened, in nanoseconds since the Unix epoch; `None` is now.
    pub time_ns: Option<u64>,
    /// The payload, with [`Detail::NONE`] in the document's place, its first eight bytes.
    pub payload: [u8; Record::PAYLOAD_LEN],
    /// The document: compact JSON, or nothing.
    pub document: &'a str,
    /// Numbers that stand only in the document, because their place in the payload cannot hold them.
    pub unplaced: u64,
    /// The key of the fact, where the caller has given one: see [`Keyed`]. With the kind, the entity and the context of the emitter
    /// at the end it identifies the event. `None`: as its kind's identity says.
    pub key: Option<EventId>,
}

impl TypedEvent<'_> {
    /// Returns the payload with its document's place filled in.
    #[must_use]
    pub fn payload_with(&self, document: Detail) -> [u8; Record::PAYLOAD_LEN] {
        let mut payload = self.payload;
        for (byte, bits) in payload.iter_mut().zip(document.bits().to_ne_bytes()) {
            *byte = bits;
        }
        payload
    }
}

/// Takes events.
///
/// ```
/// use panther_events::domain::TypedSink;
/// use panther_events::emit::{EmitError, EventSink, TypedEvent};
/// use panther_events::event::{Context, Record};
/// use panther_events::pipeline::Pipeline;
///
/// /// Leaves out what is about a service that is not under test.
/// struct Only<S>(S, &'static str);
///
/// impl<S: EventSink> EventSink for Only<S> {
///     fn emit_event(&mut self, event: &TypedEvent<'_>) -> Result<(), EmitError> {
///         if event.entity == self.1 { self.0.emit_event(event) } else { Ok(()) }
///     }
///
///     fn emit_record(&mut self, record: Record) -> Result<(), EmitError> {
///         self.0.emit_record(record)
///     }
///
///     fn context(&self) -> Context {
///         self.0.context()
///     }
///
///     fn count_refused(&mut self, error: EmitError) -> Result<(), EmitError> {
///         self.0.count_refused(error)
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pipeline = Pipeline::builder().start()?;
/// let mut sink = Only(pipeline.emitter("runner")?, "server");
/// sink.test("client").teardown_started()?;
/// sink.test("server").teardown_started()?;
/// assert_eq!(pipeline.shutdown().account.unique, 1);
/// # Ok(())
/// # }
/// ```
pub trait EventSink {
    /// Takes an event of a typed emitter.
    ///
    /// # Errors
    /// When it was not accepted.
    fn emit_event(&mut self, event: &TypedEvent<'_>) -> Result<(), EmitError>;

    /// Takes an event that was made otherwise; whoever makes its record interns what it names.
    ///
    /// # Errors
    /// When it was not accepted.
    fn emit_record(&mut self, record: Record) -> Result<(), EmitError>;

    /// Returns the context that events given to this sink belong to, as far as it is known; a sink over another one
    /// hands on what that says. [`Validated`](crate::pipeline::Validated) tells steps of one name apart by it.
    fn context(&self) -> Context;

    /// Counts an event that a sink over this one has refused, and returns why: it may have told of a failure, so the account
    /// may not pass over it. A sink over another one hands it on; one that does not leaves the event uncounted.
    ///
    /// # Errors
    /// Always: `error`, or that the pipeline is closed.
    fn count_refused(&mut self, error: EmitError) -> Result<(), EmitError> {
        Err(error)
    }
}

impl EventSink for Emitter {
    fn emit_event(&mut self, event: &TypedEvent<'_>) -> Result<(), EmitError> {
        let entity = match self.note_entity(event.kind.domain(), event.entity) {
            Ok(entity) => entity,
            Err(error) => return self.refuse_unmade(EmitError::Entity(NameRefused::from(error))),
        };
        let document = match self.note_document(event.document) {
            Ok(document) => document,
            Err(error) => return self.refuse_unmade(EmitError::Detail(error)),
        };
        if event.unplaced > 0 {
            self.symbols().details().count_unplaced(event.unplaced);
        }
        let id = event.key.map(|key| keyed_id(key, event.kind, entity, Emitter::context(self)));
        self.emit_payload(event.kind, event.time_ns, entity, event.payload_with(document), id)
    }

    fn emit_record(&mut self, record: Record) -> Result<(), EmitError> {
        self.emit_one(record)
    }

    fn context(&self) -> Context {
        Emitter::context(self)
    }

    fn count_refused(&mut self, error: EmitError) -> Result<(), EmitError> {
        self.refuse_unmade(error)
    }
}

impl<S: EventSink + ?Sized> EventSink for &mut S {
    fn emit_event(&mut self, event: &TypedEvent<'_>) -> Result<(), EmitError> {
        (**self).emit_event(event)
    }

    fn emit_record(&mut self, record: Record) -> Result<(), EmitError> {
        (**self).emit_record(record)
    }

    fn context(&self) -> Context {
        (**self).context()
    }

    fn count_refused(&mut self, error: EmitError) -> Result<(), EmitError> {
        (**self).count_refused(error)
    }
}

impl<S: EventSink + ?Sized> EventSink for Box<S> {
    fn emit_event(&mut self, event: &TypedEvent<'_>) -> Result<(), EmitError> {
        (**self).emit_event(event)
    }

    fn emit_record(&mut self, record: Record) -> Result<(), EmitError> {
        (**self).emit_record(record)
    }

    fn context(&self) -> Context {
        (**self).context()
    }

    fn count_refused(&mut self, error: EmitError) -> Result<(), EmitError> {
        (**self).count_refused(error)
    }
}

impl From<SymbolError> for NameRefused {
    fn from(error: SymbolError) -> NameRefused {
        match error {
            SymbolError::Collision { .. } => NameRefused::Collision,
            SymbolError::TooLong { .. } => NameRefused::TooLong,
            SymbolError::Full { .. } => NameRefused::Full,
        }
    }
}
