//! What a writer takes of a schema: what payloads refer to, and how domains are defined.

use crate::domain::Schema;
use crate::event::kind::DOMAIN_COUNT;
use crate::journal::format::definition::Definition;
use crate::journal::write::references::References;
use std::sync::{Arc, OnceLock};

/// Made where somebody begins, so that no memory has to be asked for when the records come.
#[derive(Clone)]
pub(super) struct WriterSchema {
    pub(super) references: Arc<References>,
    /// The definitions of domains, by number.
    pub(super) domains: [Option<Arc<Definition>>; DOMAIN_COUNT],
}

impl WriterSchema {
    pub(super) fn of(schema: &Schema) -> WriterSchema {
        let mut domains = [const { None }; DOMAIN_COUNT];
        for def in schema.domains() {
            if let Some(place) = domains.get_mut(usize::from(def.domain.number())) {
                let text = def.to_json();
                let key = Definition::domain_key(def.domain, &text);
                *place = Some(Arc::new(Definition::Detail(key, text.into_bytes().into())));
            }
        }
        WriterSchema { references: Arc::new(References::of(schema)), domains }
    }

    /// That of this crate's own domains, which is made once.
    pub(super) fn built_in() -> &'static WriterSchema {
        static BUILT_IN: OnceLock<WriterSchema> = OnceLock::new();
        BUILT_IN.get_or_init(|| WriterSchema::of(&Schema::new()))
    }
}

impl std::fmt::Debug for WriterSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriterSchema").finish_non_exhaustive()
    }
}
