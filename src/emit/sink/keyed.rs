//! Events that several may tell of.

use crate::emit::{EmitError, Emitter, EventSink, TypedEvent};
use crate::event::{Context, EventId, EventKind, Record, Symbol};

/// Identifies events by a key that all who tell of them agree on, such as the run and the attempt, and by what is told:
/// kind and entity, for a test, a step or an assertion with what encloses it of the emitter's context (a step "connect" of
/// another test is another step). Who tells second is a duplicate, whatever else is in its event.
///
/// What happens twice needs two keys: under one, the same kind of event about the same entity is one event. So say the
/// attempt in the key. All who tell must share the pipeline, or a place where their journals meet, and who tells of a
/// step must be in its test.
///
/// ```
/// use panther_events::domain::TypedSink;
/// use panther_events::event::EventId;
/// use panther_events::pipeline::Pipeline;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pipeline = Pipeline::builder().start()?;
/// let (mut runner, mut watcher) = (pipeline.emitter("runner")?, pipeline.emitter("watcher")?);
/// let attempt = EventId::key(&["nightly-7", "attempt 1"]);
/// runner.keyed(attempt).test("handshake").teardown_started()?;
/// watcher.keyed(attempt).test("handshake").teardown_started()?; // the same fact
/// watcher.keyed(EventId::key(&["nightly-7", "attempt 2"])).test("handshake").teardown_started()?;
/// # drop((runner, watcher));
/// let account = pipeline.shutdown().account;
/// assert_eq!((account.unique, account.duplicates), (2, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Keyed<S> {
    sink: S,
    key: EventId,
}

impl<S: EventSink> Keyed<S> {
    /// Identifies what goes into `sink` by `key`, such as one of [`EventId::key`].
    pub fn new(sink: S, key: EventId) -> Keyed<S> {
        Keyed { sink, key }
    }

    /// The key of an event about an entity.
    fn of(&self, kind: EventKind, entity: Symbol) -> EventId {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend_from_slice(&self.key.bits().to_le_bytes());
        bytes.extend_from_slice(&(kind.index() as u64).to_le_bytes());
        bytes.extend_from_slice(&entity.bits().to_le_bytes());
        for (level, name) in self.sink.context().enclosing(kind.domain()).parts() {
            bytes.push(level as u8);
            bytes.extend_from_slice(&name.bits().to_le_bytes());
        }
        EventId::digest(&bytes)
    }
}

impl<S: EventSink> EventSink for Keyed<S> {
    fn emit_event(&mut self, event: &TypedEvent<'_>) -> Result<(), EmitError> {
        let key = Some(self.of(event.kind, Symbol::of(event.entity)));
        self.sink.emit_event(&TypedEvent { key, ..*event })
    }

    /// A record that has an id keeps it.
    fn emit_record(&mut self, record: Record) -> Result<(), EmitError> {
        let key = self.of(record.kind(), record.entity());
        self.sink.emit_record(record.with_digest_unless_identified(key))
    }

    fn context(&self) -> Context {
        self.sink.context()
    }
}

impl Emitter {
    /// Identifies what is emitted through the result by `key`: see [`Keyed`].
    pub fn keyed(&mut self, key: EventId) -> Keyed<&mut Emitter> {
        Keyed::new(self, key)
    }
}
