//! The domain `pipeline`: what the pipeline says of itself.

use crate::domain::definition::DomainDef;
use crate::domain::kind::KindDef;
pub use crate::emit::{ContextEntered, ErrorRaised, Severity};
use crate::event::{Domain, EventKind, Identity, Shared};

crate::payload! {
    /// An observer panicked and was disabled. The record's entity is the observer's name.
    pub struct ObserverFailed [EventKind::new(Domain::PIPELINE, 0)] {
        /// The panic's message, if a symbol table holds it.
        message: crate::event::Symbol,
        /// Events that the observer had handled before.
        handled: u64,
        /// The worker that ran it.
        worker: u32,
        /// Events of the batch in which it failed.
        failed: u32,
    }
}

crate::payload! {
    /// A processor panicked and was disabled. The record's entity is the processor's name.
    pub struct ProcessorFailed [EventKind::new(Domain::PIPELINE, 2)] {
        /// The panic's message, if a symbol table holds it.
        message: crate::event::Symbol,
        /// Events that the processor had seen before.
        seen: u64,
        /// The dedup thread that ran it.
        shard: u64,
    }
}

crate::payload! {
    /// An observer could not deliver events: a full disk, say. It goes on to get events. The record's entity is the
    /// observer's name. Emitted at the first event that failed, and whenever as many as before have failed again.
    pub struct DeliveryFailed [EventKind::new(Domain::PIPELINE, 4)] {
        /// The reason, if a symbol table holds it.
        message: crate::event::Symbol,
        /// Events that the observer has taken.
        handled: u64,
        /// Events that it could not deliver.
        failed: u64,
    }
}

/// The domain's table.
pub const DOMAIN: DomainDef = DomainDef {
    domain: Domain::PIPELINE,
    name: Shared::Static("pipeline"),
    kinds: Shared::Static(&[
        KindDef::of::<ObserverFailed>("observer_failed", Identity::Occurrence),
        KindDef::of::<ContextEntered>("context_entered", Identity::Occurrence),
        KindDef::of::<ProcessorFailed>("processor_failed", Identity::Occurrence),
        KindDef::of::<ErrorRaised>("error", Identity::Occurrence),
        KindDef::of::<DeliveryFailed>("delivery_failed", Identity::Occurrence),
    ]),
    states: None,
};
