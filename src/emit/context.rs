//! Contexts of emitters: set once, and inherited by all that is emitted from then on.

use crate::emit::{EmitError, Emitter};
use crate::event::{Context, ContextsFull, Detail, Domain, EventKind, Level, Symbol, SymbolError};
use std::fmt;
use std::ops::{Deref, DerefMut};

crate::payload! {
    /// An emitter has entered a context, or left all. The record's entity is the innermost part's name; from the
    /// record's number on, events of its source belong to the context.
    pub struct ContextEntered [EventKind::new(Domain::PIPELINE, 1)] {
        /// Names under levels, such as `{"experiment":"exp-1","test":"handshake"}`; none where all was left.
        context: crate::event::Detail,
    }
}

/// Why a context was not entered; the emitter stays where it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ContextError {
    /// The symbol table refused the name.
    #[error("the name was refused: {0}")]
    Name(#[from] SymbolError),
    /// The table of contexts is full.
    #[error(transparent)]
    Full(#[from] ContextsFull),
}

impl Emitter {
    /// Enters a part of the experiment until the guard is dropped, which takes the place of the emitter meanwhile.
    ///
    /// What is within a part that is left for another is left with it: who enters a test leaves the step. Entering and
    /// leaving is told by an event of its own each, `pipeline.context_entered`; nothing else that is emitted costs
    /// more for it, except that a typed emitter notes once that its entity belongs to the context.
    ///
    /// ```
    /// use panther_events::event::{Context, Level, Symbol, Value};
    /// use panther_events::pipeline::Pipeline;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pipeline = Pipeline::builder().start()?;
    /// let mut emitter = pipeline.emitter("runner")?;
    /// emitter.enter(Level::Experiment, "exp-1")?;
    /// let mut within = emitter.within(Level::Test, "handshake")?;
    /// within.service("server").created("server", "quic", "picoquic", Value::Null)?;
    /// drop(within);
    /// let server = (panther_events::event::Domain::SERVICE, Symbol::of("server"));
    /// assert!(pipeline.contexts().entities(&Context::of(Level::Test, "handshake")).contains(&server));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the name is refused, or the table of contexts is full.
    pub fn within(&mut self, level: Level, name: &str) -> Result<Within<'_>, ContextError> {
        let outer = self.context();
        self.enter(level, name)?;
        Ok(Within { emitter: self, outer })
    }

    /// Enters a part of the experiment until another one is entered; see [`Emitter::within`].
    ///
    /// # Errors
    /// As for [`Emitter::within`].
    pub fn enter(&mut self, level: Level, name: &str) -> Result<(), ContextError> {
        let name = self.symbols.intern(name)?;
        Ok(self.set_context(self.context().entered(level, name))?)
    }

    /// Returns the context that events belong to.
    #[must_use]
    pub fn context(&self) -> Context {
        self.context.as_deref().copied().unwrap_or_default()
    }

    /// Takes over a context, such as that of another thread's emitter; [`Context::NONE`] leaves all.
    ///
    /// # Errors
    /// When the table of contexts is full.
    pub fn set_context(&mut self, context: Context) -> Result<(), ContextsFull> {
        if context == self.context() {
            return Ok(());
        }
        // From the number on that the definition has, or what is offered next, if there is no more for it.
        self.entrance.contexts.enter(self.source(), self.next_number(), context)?;
        self.context = (!context.is_none()).then(|| Box::new(context));
        self.content_scope = context.id_scope();
        // Where it is not accepted it is counted, as any other.
        let _ = self.define(context);
        Ok(())
    }

    /// Emits the definition of a context.
    fn define(&mut self, context: Context) -> Result<(), EmitError> {
        let document = if context.is_none() {
            Ok(Detail::NONE)
        } else {
            self.symbols.details().insert(&context.document(&self.symbols))
        };
        match document {
            Ok(context_document) => {
                self.emit(context.innermost(), &ContextEntered { context: context_document })
            }
            Err(error) => self.refuse_unmade(EmitError::Detail(error)),
        }
    }

    /// Notes that a typed emitter's entity belongs to the context, where there is one.
    #[inline]
    pub(crate) fn note_entity(&self, domain: Domain, entity: Symbol) {
        if let Some(context) = &self.context {
            self.entrance.contexts.join(domain, entity, **context);
        }
    }

    /// Goes on in the same context under a new source, where the old one's numbers are used up.
    pub(super) fn carry_context_over(&mut self) {
        if let Some(context) = &self.context {
            // There is no room for one more: the events of the new source are in no context, rather than in a wrong one.
            let _ = self.entrance.contexts.enter(self.source(), self.next_number(), **context);
        }
    }

    /// Ends the context with the emitter: its number may be given to another.
    pub(super) fn end_context(&mut self) {
        if self.context.take().is_some() {
            // Without room the number keeps the context; it is given again only after all others.
            let _ = self.entrance.contexts.enter(self.source(), self.next_number(), Context::NONE);
        }
    }
}

/// An emitter within a part of the experiment. Dropping it brings the emitter back to where it was.
pub struct Within<'e> {
    emitter: &'e mut Emitter,
    outer: Context,
}

impl Deref for Within<'_> {
    type Target = Emitter;

    fn deref(&self) -> &Emitter {
        self.emitter
    }
}

impl DerefMut for Within<'_> {
    fn deref_mut(&mut self) -> &mut Emitter {
        self.emitter
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        // Where there is no room for the change, what follows would be told to be within what is left. That takes
        // four million changes; the next change that fails says so.
        let _ = self.emitter.set_context(self.outer);
    }
}

impl fmt::Debug for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Within").field("emitter", &self.emitter).field("outer", &self.outer).finish()
    }
}
