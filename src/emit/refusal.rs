//! Why an event was not accepted, or not even made, or a context not entered.

use crate::event::{ContextRefused, DetailError, EventKind, Shared, SymbolError, Symbols};

/// Why an event was not accepted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The ring was full; counted in `dropped_full`.
    #[error("the ring is full; use larger rings, a longer timeout or fewer events")]
    Full,
    /// The pipeline has been shut down; counted in the emitter's `rejected`, and no longer in the pipeline's
    /// account.
    #[error("the pipeline is closed")]
    Closed,
    /// The process is a child of the one in which the pipeline was made: none of its threads is here. Counted as
    /// [`EmitError::Closed`] is, in the child.
    #[error("the pipeline was made before this process was forked; start one of its own here")]
    Forked,
    /// The ring was full, and one of the pipeline's own threads (an observer's, say) has emitted: it does not wait for itself to make
    /// room. Counted in `dropped_full`.
    #[error(
        "the ring is full, and a thread of the pipeline cannot wait for itself; use larger rings, or emit from another thread"
    )]
    FullWithin,
    /// The kind is in no registered domain; counted in `rejected`.
    #[error("{0:?} is not registered; register its domain before the pipeline starts")]
    UnknownKind(EventKind),
    /// A kind of identity `Digest` was emitted without a digest; counted in `rejected`.
    #[error("{0:?} is identified by a digest; emit it with one")]
    WrongIdentity(EventKind),
    /// A key names one fact, and has had its event; counted in `rejected`.
    #[error("the key has had its event, so {0:?} is another fact; give it a key of its own")]
    KeyUsed(EventKind),
    /// The bytes are no record: an identity or an id that is none; counted in `rejected`.
    #[error("the record is malformed: its identity or id is none; see Record::is_well_formed")]
    Malformed,
    /// All 65,536 source numbers are in use; counted in `rejected`.
    #[error("all source numbers are in use; drop emitters that are no longer needed")]
    SourcesExhausted,
    /// The entity's name was not taken into the symbol table; counted in `rejected`.
    #[error("the entity's name was refused: {0}")]
    Entity(NameRefused),
    /// The event's document was not taken into the table of documents; counted in `rejected`.
    #[error("the event's document was refused: {0}")]
    Detail(DetailError),
    /// The emitter could not be brought into its context, or events that were numbered elsewhere came where contexts are
    /// entered; counted in `rejected`.
    #[error(transparent)]
    Context(ContextRefused),
    /// The event was checked before it was offered, and its entity's state does not allow it; counted in `rejected`.
    #[error(transparent)]
    NotAllowed(Box<NotAllowed>),
}

impl EmitError {
    /// Tells whether no event of this emitter will be taken any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, EmitError::Closed | EmitError::Forked)
    }
}

/// An event that its entity's state does not allow.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the {domain} {entity:?} is {state}, which does not allow {event}; allowed are {}", listed(allowed))]
pub struct NotAllowed {
    /// The entity's domain.
    pub domain: Shared<str>,
    /// The entity.
    pub entity: String,
    /// The state that it is in.
    pub state: Shared<str>,
    /// The event, by its name within the domain.
    pub event: String,
    /// The events that lead on from that state.
    pub allowed: Vec<String>,
}

fn listed(allowed: &[String]) -> String {
    if allowed.is_empty() { "none, it has ended".to_owned() } else { allowed.join(", ") }
}

/// Why the name of an event's entity was not taken into the symbol table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NameRefused {
    /// Another name has the same symbol.
    #[error("another name has the same symbol; choose another name")]
    Collision,
    /// The name is too long.
    #[error("it is too long; names have at most {} bytes", Symbols::NAME_LEN_MAX)]
    TooLong,
    /// The table is full.
    #[error("the symbol table is full; raise its limit or use fewer names")]
    Full,
}

/// Why a context was not entered; the emitter stays where it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The symbol table refused the name.
    #[error("the name was refused: {0}")]
    Name(#[from] SymbolError),
    /// The table of contexts did not take it.
    #[error(transparent)]
    Refused(#[from] ContextRefused),
    /// The process is a child of the one in which the pipeline was made.
    #[error("the pipeline was made before this process was forked; start one of its own here")]
    Forked,
    /// The table of documents refused the definition, without which no journal would know of the context.
    #[error("the definition of the context was refused: {0}")]
    Detail(#[from] DetailError),
}

impl From<ContextError> for EmitError {
    fn from(error: ContextError) -> EmitError {
        match error {
            ContextError::Name(error) => EmitError::Entity(error.into()),
            ContextError::Refused(error) => EmitError::Context(error),
            ContextError::Detail(error) => EmitError::Detail(error),
            ContextError::Forked => EmitError::Forked,
        }
    }
}
