//! An event that several may tell of.

use crate::emit::{EmitError, Emitter, EventSink, TypedEvent};
use crate::event::{Context, Domain, EventId, EventKind, Record, Symbol};

/// Identifies one event by the key of the fact that it tells of, on which all who tell of it agree: the run, the attempt, the
/// fact. Who tells second is a duplicate, whatever else is in its event.
///
/// A key names one fact, so it takes one event; a second one is refused rather than taken for the first. Beside the key
/// count kind and entity, and of a test, a step or an assertion what encloses it of the emitter's context (a step
/// "connect" of another test is another step). All who tell must share the pipeline, or a place where their journals meet,
/// and who tells of a step must be in its test.
///
/// ```
/// use panther_events::domain::TypedSink;
/// use panther_events::event::EventId;
/// use panther_events::pipeline::Pipeline;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pipeline = Pipeline::builder().start()?;
/// let (mut runner, mut watcher) = (pipeline.emitter("runner")?, pipeline.emitter("watcher")?);
/// let ready = |attempt| EventId::key(&["nightly-7", attempt, "the server is ready"]);
/// runner.keyed(ready("attempt 1")).service("server").ready("server", Default::default())?;
/// watcher.keyed(ready("attempt 1")).service("server").ready("server", Default::default())?; // the same fact
/// watcher.keyed(ready("attempt 2")).service("server").ready("server", Default::default())?;
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
    used: bool,
}

impl<S: EventSink> Keyed<S> {
    /// Identifies the one event that goes into `sink` by `key`, such as one of [`EventId::key`].
    pub fn new(sink: S, key: EventId) -> Keyed<S> {
        Keyed { sink, key, used: false }
    }

    /// Lets one event through.
    fn once(
        &mut self,
        kind: EventKind,
        emit: impl FnOnce(&mut S) -> Result<(), EmitError>,
    ) -> Result<(), EmitError> {
        if self.used {
            return self.sink.count_refused(EmitError::KeyUsed(kind));
        }
        emit(&mut self.sink)?;
        self.used = true;
        Ok(())
    }
}

/// The id of the event of a key about an entity, in a context.
pub(crate) fn keyed_id(key: EventId, kind: EventKind, entity: Symbol, context: Context) -> EventId {
    let mut bytes = Vec::with_capacity(32);
    bytes.extend_from_slice(&key.bits().to_le_bytes());
    bytes.extend_from_slice(&(kind.index() as u64).to_le_bytes());
    bytes.extend_from_slice(&entity.bits().to_le_bytes());
    let domain = if kind == EventKind::TEST_RESULTS { Domain::ASSERTION } else { kind.domain() };
    for (level, name) in context.enclosing(domain).parts() {
        bytes.push(level as u8);
        bytes.extend_from_slice(&name.bits().to_le_bytes());
    }
    EventId::digest(&bytes)
}

impl<S: EventSink> EventSink for Keyed<S> {
    fn emit_event(&mut self, event: &TypedEvent<'_>) -> Result<(), EmitError> {
        // Each emitter behind makes an id of it by its own context.
        let key = Some(self.key);
        self.once(event.kind, |sink| sink.emit_event(&TypedEvent { key, ..*event }))
    }

    /// A record that has an id keeps it.
    fn emit_record(&mut self, record: Record) -> Result<(), EmitError> {
        let key = keyed_id(self.key, record.kind(), record.entity(), self.sink.context());
        let record = record.with_digest_unless_identified(key);
        self.once(record.kind(), |sink| sink.emit_record(record))
    }

    fn context(&self) -> Context {
        self.sink.context()
    }

    fn count_refused(&mut self, error: EmitError) -> Result<(), EmitError> {
        self.sink.count_refused(error)
    }
}

impl Emitter {
    /// Identifies the one event that is emitted through the result by `key`: see [`Keyed`].
    pub fn keyed(&mut self, key: EventId) -> Keyed<&mut Emitter> {
        Keyed::new(self, key)
    }
}
