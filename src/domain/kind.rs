//! What defines a kind of event.

use crate::event::{EventKind, Field, Identity, Payload, Shared};

/// Describes a kind of event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KindDef {
    /// The kind.
    pub kind: EventKind,
    /// The name within the domain; dots make a hierarchy (`network.setup.started`).
    pub name: Shared<str>,
    /// What makes two events of this kind the same. [`Identity::Occurrence`] for what is emitted live.
    pub identity: Identity,
    /// Whether events of this kind come often, such as samples, progress and packets: logs gather them into one line, and the
    /// documents of typed emitters leave out what the payload holds.
    pub sampled: bool,
    /// The payload's fields.
    pub fields: Shared<[Field]>,
}

impl KindDef {
    /// Describes the kind that payload `P` belongs to, of which many events come: [`KindDef::sampled`].
    #[must_use]
    pub const fn of<P: Payload>(name: &'static str, identity: Identity) -> KindDef {
        KindDef::with(P::KIND, name, identity, true, P::FIELDS)
    }

    /// Describes the kind that payload `P` belongs to, of which each event is worth a line: a step in some life.
    #[must_use]
    pub const fn lifecycle<P: Payload>(name: &'static str, identity: Identity) -> KindDef {
        KindDef::with(P::KIND, name, identity, false, P::FIELDS)
    }

    const fn with(
        kind: EventKind,
        name: &'static str,
        identity: Identity,
        sampled: bool,
        fields: &'static [Field],
    ) -> KindDef {
        KindDef { kind, name: Shared::Static(name), identity, sampled, fields: Shared::Static(fields) }
    }
}
