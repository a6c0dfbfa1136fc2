//! What defines a kind of event.

use crate::event::{EventKind, Field, Identity, Payload};

/// Describes a kind of event.
#[derive(Clone, Copy, Debug)]
pub struct KindDef {
    /// The kind.
    pub kind: EventKind,
    /// The name within the domain; dots make a hierarchy (`network.setup.started`).
    pub name: &'static str,
    /// What makes two events of this kind the same. [`Identity::Occurrence`] for what is emitted live.
    pub identity: Identity,
    /// Whether events of this kind come often, such as samples, progress and packets: logs gather them into one line, and the
    /// documents of typed emitters leave out what the payload holds.
    pub sampled: bool,
    /// The payload's fields.
    pub fields: &'static [Field],
}

impl KindDef {
    /// Describes the kind that payload `P` belongs to, of which many events come: [`KindDef::sampled`].
    #[must_use]
    pub const fn of<P: Payload>(name: &'static str, identity: Identity) -> KindDef {
        KindDef { kind: P::KIND, name, identity, sampled: true, fields: P::FIELDS }
    }

    /// Describes the kind that payload `P` belongs to, of which each event is worth a line: a step in some life.
    #[must_use]
    pub const fn lifecycle<P: Payload>(name: &'static str, identity: Identity) -> KindDef {
        KindDef { sampled: false, ..KindDef::of::<P>(name, identity) }
    }
}
