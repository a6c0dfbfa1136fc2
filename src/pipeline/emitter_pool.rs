//! A registry of emitters: whoever knows an entity's name gets its emitter.

use crate::domain::{
    Assertions, Environments, Experiments, MetricSamples, Plugins, Services, Steps, Tests, TypedDomain,
};
use crate::emit::{EmitError, Emitter, EventSink, TypedEvent};
use crate::event::{Context, Record, Symbol};
use crate::pipeline::Handle;
use crate::sync::{Arc, Mutex, lock};
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroUsize;

/// Emitters that entities share, unless told otherwise.
const SHARED_DEFAULT: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// Gives out emitters that are bound to entities: "the emitter of service S", for a test harness that knows names only.
///
/// May be asked from any thread; clones are one registry. Entities share a small number of emitters, each behind a lock, so
/// that thousands of entities need no thousands of rings; one entity always has the same, so its events stay in order.
/// A hot path is better off with an [`Emitter`] of its own.
///
/// ```
/// use panther_events::event::Value;
/// use panther_events::pipeline::{EmitterPool, Pipeline};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pipeline = Pipeline::builder().start()?;
/// let emitters = EmitterPool::new(pipeline.handle());
/// let server = emitters.service("server")?;
/// let watcher = server.clone();
/// server.emit(|mut service| service.created("server", "quic", "picoquic", Value::Null))?;
/// std::thread::spawn(move || watcher.emit(|mut service| service.deployment_started("server", "net", Default::default())))
///     .join()
///     .map_err(|_| "the watcher panicked")??;
/// # drop((emitters, server));
/// assert_eq!(pipeline.shutdown().account.unique, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EmitterPool {
    handle: Handle,
    context: Context,
    shared: Arc<[Mutex<Option<SharedEmitter>>]>,
}

type SharedEmitter = Arc<Mutex<Emitter>>;

/// The emitter of one entity; clones share it.
pub struct BoundEmitter<D> {
    emitter: SharedEmitter,
    name: Arc<str>,
    domain: PhantomData<fn() -> D>,
}

impl EmitterPool {
    /// Begins a registry whose entities share up to 16 emitters. They are made when they are needed.
    #[must_use]
    pub fn new(handle: Handle) -> EmitterPool {
        EmitterPool::sharing(handle, SHARED_DEFAULT)
    }

    /// Begins a registry whose entities share up to `emitters` emitters.
    #[must_use]
    pub fn sharing(handle: Handle, emitters: NonZeroUsize) -> EmitterPool {
        let shared = (0..emitters.get()).map(|_| Mutex::new(None)).collect();
        EmitterPool { handle, context: Context::NONE, shared }
    }

    /// Lets all that is emitted belong to `context`, whose names the pipeline's symbol table has. To be said before the
    /// first emitter is asked for.
    #[must_use]
    pub fn within(mut self, context: Context) -> EmitterPool {
        self.context = context;
        self
    }

    /// Returns the emitter of the entity named `name`, of any domain that has typed emitters.
    ///
    /// # Errors
    /// When an emitter is needed and cannot be had: the pipeline has been shut down, all source numbers are in use, or
    /// the table of contexts or that of documents is full.
    pub fn of<D: TypedDomain>(&self, name: &str) -> Result<BoundEmitter<D>, EmitError> {
        let hash = Symbol::of(name).bits() ^ u64::from(D::DOMAIN.number());
        let place = (hash % self.shared.len() as u64) as usize;
        let Some(slot) = self.shared.get(place) else { return Err(EmitError::Closed) };
        let mut slot = lock(slot);
        let emitter = match &*slot {
            Some(emitter) => Arc::clone(emitter),
            None => {
                let mut emitter = self.handle.emitter(&format!("entities {place}"))?;
                emitter.set_context(self.context)?;
                Arc::clone(slot.insert(Arc::new(Mutex::new(emitter))))
            }
        };
        Ok(BoundEmitter { emitter, name: name.into(), domain: PhantomData })
    }
}

macro_rules! by_domain {
    ($($method:ident, $Of:ident, $of:literal;)*) => {
        impl EmitterPool {
            $(
                #[doc = concat!("Returns the emitter of the ", $of, " named `name`.")]
                ///
                /// # Errors
                /// As for [`EmitterPool::of`].
                pub fn $method(&self, name: &str) -> Result<BoundEmitter<$Of>, EmitError> {
                    self.of(name)
                }
            )*
        }
    };
}
by_domain! {
    experiment, Experiments, "experiment";
    test, Tests, "test";
    service, Services, "service";
    environment, Environments, "environment";
    step, Steps, "step";
    assertion, Assertions, "assertion";
    plugin, Plugins, "plugin";
    metrics, MetricSamples, "metric";
}

impl<D: TypedDomain> BoundEmitter<D> {
    /// Calls `emit` with the entity's typed emitter. Its lock is held for one event at a time and never while `emit`
    /// runs code of its own, so calls may nest, and events of other threads may come between those of one call.
    pub fn emit<R>(&self, emit: impl for<'e> FnOnce(D::Emitter<'e>) -> R) -> R {
        emit(D::over(&mut EachLocked(&self.emitter), &self.name))
    }

    /// Returns the entity's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Sends each event into an emitter that it locks for no longer.
struct EachLocked<'a>(&'a Mutex<Emitter>);

impl EventSink for EachLocked<'_> {
    fn emit_event(&mut self, event: &TypedEvent<'_>) -> Result<(), EmitError> {
        lock(self.0).emit_event(event)
    }

    fn emit_record(&mut self, record: Record) -> Result<(), EmitError> {
        lock(self.0).emit_record(record)
    }

    fn context(&self) -> Context {
        lock(self.0).context()
    }

    fn count_refused(&mut self, error: EmitError) -> Result<(), EmitError> {
        lock(self.0).count_refused(error)
    }
}

impl<D> Clone for BoundEmitter<D> {
    fn clone(&self) -> BoundEmitter<D> {
        BoundEmitter { emitter: Arc::clone(&self.emitter), name: Arc::clone(&self.name), domain: PhantomData }
    }
}

impl<D> fmt::Debug for BoundEmitter<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundEmitter").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for EmitterPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmitterPool").field("shared", &self.shared.len()).finish_non_exhaustive()
    }
}
