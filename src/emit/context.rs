//! Contexts of emitters: set once, and inherited by all that is emitted from then on.

use crate::emit::Emitter;
use crate::emit::members::OwnContext;
use crate::emit::refusal::{ContextError, EmitError};
use crate::emit::room::{push_when_room, wait_for_room};
use crate::emit::source::SEQ_LAST;
use crate::event::{
    Context, Detail, DetailError, Domain, EventKind, HeldNames, Holder, Identity, Level, Payload, Record,
    Symbol, SymbolError,
};
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

impl Emitter {
    /// Enters a part of the experiment until the guard is dropped, which takes the place of the emitter meanwhile.
    ///
    /// What is within a part that is left for another is left with it: who enters a test leaves the step. Entering and
    /// leaving is told by an event of its own each, `pipeline.context_entered`; nothing else that is emitted costs
    /// more for it, except that a typed emitter notes once that its entity belongs to the context.
    ///
    /// No event is accepted before the event that tells of its context, so a journal has each event in the context in which
    /// it was emitted. Where the ring has no room for that event, it is offered again before whatever is emitted next,
    /// which is dropped itself, and counted, as long as there is none.
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
    /// When the name is refused, or the table of contexts or that of documents is full.
    pub fn within(&mut self, level: Level, name: &str) -> Result<Within<'_>, ContextError> {
        let outer = self.context();
        // What is left for a part of another level is told by its name when the emitter is back.
        let mut outer_names = HeldNames::new(&self.symbols, Holder::Emission);
        outer.parts().for_each(|(_, name)| outer_names.hold(name));
        self.enter(level, name)?;
        Ok(Within { emitter: self, outer, _outer_names: outer_names })
    }

    /// Enters a part of the experiment until another one is entered; see [`Emitter::within`].
    ///
    /// # Errors
    /// As for [`Emitter::within`].
    pub fn enter(&mut self, level: Level, name: &str) -> Result<(), ContextError> {
        if self.emit_shared.gate.is_forked() {
            return Err(ContextError::Forked);
        }
        let name = self.symbols.intern(name)?;
        self.set_context(self.context().entered(level, name))
    }

    /// Returns the context that events belong to.
    #[must_use]
    pub fn context(&self) -> Context {
        self.context.as_ref().map_or(Context::NONE, |own| own.context)
    }

    /// Takes over a context, such as that of another thread's emitter; [`Context::NONE`] leaves all.
    ///
    /// # Errors
    /// When the table of contexts or that of documents is full; nothing has changed then.
    pub fn set_context(&mut self, context: Context) -> Result<(), ContextError> {
        if context == self.context() {
            return Ok(());
        }
        if self.emit_shared.gate.is_forked() {
            return Err(ContextError::Forked);
        }
        let document = self.document_of(context)?;
        // Without a new source the definition is refused, and counted, here; it comes before what is emitted once there is one.
        let has_number = self.source.next_seq() <= SEQ_LAST || self.renew_source().is_ok();
        if has_number {
            // From the number on that the definition has.
            self.emit_shared.contexts.enter(self.source(), self.next_number(), context)?;
        }
        self.move_to(context);
        if has_number {
            // Counted where it fails; it is offered again then.
            let _ = self.define(document, true);
        }
        Ok(())
    }

    /// Goes back to a context in which the emitter was. Where that cannot be told, what is emitted is refused until it can.
    fn go_back(&mut self, context: Context) {
        if context == self.context() || self.emit_shared.gate.is_forked() {
            return;
        }
        let document = self.document_of(context);
        // As in `set_context`.
        let has_number = self.source.next_seq() <= SEQ_LAST || self.renew_source().is_ok();
        self.move_to(context);
        if has_number {
            self.emit_shared.contexts.go_on(self.source(), self.next_number(), context);
            if let Ok(document) = document {
                // As above.
                let _ = self.define(document, true);
            }
        }
    }

    /// Lets what is emitted belong to `context`, of which the definition is to be accepted first.
    fn move_to(&mut self, context: Context) {
        self.context = (!context.is_none()).then(|| Box::new(OwnContext::new(context)));
        self.content_scope = context.id_scope();
        self.hold_back();
    }

    fn hold_back(&mut self) {
        if self.held_back.is_empty() {
            std::mem::swap(&mut self.senders, &mut self.held_back);
        }
    }

    /// Offers the definition of the context. Offered for the first time, it counts whatever becomes of it. Offered again, it
    /// counts only where it is accepted: until then, what is lost is each event that was to come after it.
    fn define(&mut self, document: Detail, is_first: bool) -> Result<(), EmitError> {
        let context = self.context();
        let Some(_inside) = self.source.active.enter(&self.emit_shared.gate) else {
            return if is_first { self.source.too_late() } else { Err(self.source.why_no_more()) };
        };
        let shard = self.emit_shared.router.shard(ContextEntered::KIND, context.innermost(), None);
        let Some(sender) = self.held_back.get_mut(shard) else { return Ok(()) };
        if !is_first && sender.producer.is_full() {
            wait_for_room(sender, self.policy, &self.emit_shared)?;
        }
        let (source, seq) = (self.source.number(), self.source.next_seq() as u32);
        let payload = ContextEntered { context: document };
        // An occurrence whatever the run chose for its kind: one that is merged with another is missing in a journal.
        let record = Record::new(Identity::Occurrence, self.stamps.now_ns(), context.innermost(), &payload)
            .numbered(source, seq);
        self.emit_shared.contexts.go_on(source, seq, context);
        if let Some(recorder) = &mut self.recorder {
            // Before the ring, as any other.
            recorder.put(record);
        }
        if sender.producer.push(record).is_err() {
            push_when_room(sender, &self.source, self.policy, &self.emit_shared, &|| record)?;
        } else {
            sender.published();
            self.source.accept(1);
        }
        std::mem::swap(&mut self.senders, &mut self.held_back);
        Ok(())
    }

    /// Offers an event of which the context's definition is still to be accepted, behind that.
    #[cold]
    #[inline(never)]
    pub(super) fn offer_behind_definition(
        &mut self,
        shard: usize,
        record: &dyn Fn(u16, u32) -> Record,
    ) -> Result<(), EmitError> {
        let missing = loop {
            if self.emit_shared.gate.is_forked() {
                return self.source.too_late();
            }
            let document = self.document_of(self.context()).map_err(EmitError::Detail);
            let missing = document.and_then(|document| self.define(document, false)).err();
            if self.source.next_seq() <= SEQ_LAST {
                break missing;
            }
            // The definition took the last number, and holds under that source only.
            self.renew_source()?;
            if self.held_back.is_empty() {
                break None;
            }
        };
        let (source, seq) = (self.source.number(), self.source.next_seq() as u32);
        let Some(_inside) = self.source.active.enter(&self.emit_shared.gate) else {
            return self.source.too_late();
        };
        if let Some(recorder) = &mut self.recorder {
            recorder.put(record(source, seq));
        }
        if let Some(error) = missing {
            return self.source.fail(error);
        }
        let Some(sender) = self.senders.get_mut(shard) else { return self.source.too_late() };
        if sender.producer.push(record(source, seq)).is_err() {
            let record = || record(source, seq);
            return push_when_room(sender, &self.source, self.policy, &self.emit_shared, &record);
        }
        sender.published();
        self.source.accept(1);
        Ok(())
    }

    /// Puts the document that defines a context into its table.
    fn document_of(&self, context: Context) -> Result<Detail, DetailError> {
        if context.is_none() {
            return Ok(Detail::NONE);
        }
        self.symbols.details().insert(&context.document(&self.symbols))
    }

    /// Interns the name of a typed emitter's entity and holds it, and notes that it belongs to the context, where there is one.
    /// Nothing of that takes a lock when the name is known and was noted before.
    #[inline]
    pub(crate) fn note_entity(&mut self, domain: Domain, name: &str) -> Result<Symbol, SymbolError> {
        let entity = self.note_name(name)?;
        if self.emit_shared.gate.is_forked() {
            return Ok(entity);
        }
        self.held_entities.hold(&self.symbols, entity);
        if let Some(own) = self.context.as_mut() {
            own.note(&self.emit_shared.contexts, domain, entity);
        }
        Ok(entity)
    }

    /// Interns the name of an event's entity.
    pub(crate) fn note_name(&self, name: &str) -> Result<Symbol, SymbolError> {
        // In a child, what is emitted is refused; the tables may be locked for ever.
        if self.emit_shared.gate.is_forked() { Ok(Symbol::of(name)) } else { self.symbols.intern(name) }
    }

    /// Takes an event's document, if it has one, into the table.
    pub(crate) fn note_document(&self, document: &str) -> Result<Detail, DetailError> {
        if document.is_empty() || self.emit_shared.gate.is_forked() {
            return Ok(Detail::NONE);
        }
        self.symbols.details().insert(document)
    }

    /// Goes on in the same context under a new source, where the old one's numbers are used up. Journals know contexts by
    /// source, so the context is told anew; also that there is none, where the number was another emitter's.
    pub(super) fn carry_context_over(&mut self) {
        let source = self.source();
        if self.context.is_some() || (self.source.is_given_again() && self.emit_shared.contexts.knows(source))
        {
            self.hold_back();
            self.emit_shared.contexts.go_on(source, self.next_number(), self.context());
            if let Ok(document) = self.document_of(self.context()) {
                // Counted where it fails; it is offered again then.
                let _ = self.define(document, true);
            }
        } else if !self.held_back.is_empty() {
            // To have left a context needs not be told under a source that was in none.
            std::mem::swap(&mut self.senders, &mut self.held_back);
        }
    }

    /// Ends the context with the emitter: its number may be given to another.
    pub(super) fn end_context(&mut self) {
        if self.context.take().is_some() {
            self.emit_shared.contexts.go_on(self.source(), self.next_number(), Context::NONE);
        }
    }
}

/// An emitter within a part of the experiment. Dropping it brings the emitter back to where it was.
pub struct Within<'e> {
    emitter: &'e mut Emitter,
    outer: Context,
    _outer_names: HeldNames,
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
        self.emitter.go_back(self.outer);
    }
}

impl fmt::Debug for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Within").field("emitter", &self.emitter).field("outer", &self.outer).finish()
    }
}
