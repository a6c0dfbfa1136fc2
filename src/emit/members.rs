//! What an emitter has noted of the entities that its typed emitters use: that they belong to its context, so that each event of
//! one need not look that up where a lock is taken; and that their names are held.

use crate::event::{Context, Contexts, Domain, Held, Holder, Symbol, Symbols};
use std::sync::Arc;

/// Entities that are remembered, a power of two; two that share a place take turns.
const PLACES: usize = 64;

/// The context of an emitter, and entities that are known to belong to it.
pub(super) struct OwnContext {
    pub(super) context: Context,
    noted: [Option<(Domain, Symbol)>; PLACES],
    /// How often the table of contexts had forgotten an entity when the first of these was noted.
    forgotten: u64,
}

impl OwnContext {
    pub(super) fn new(context: Context) -> OwnContext {
        OwnContext { context, noted: [None; PLACES], forgotten: 0 }
    }

    /// Notes that an entity belongs to the context. Takes a lock unless it was noted before, and nothing was forgotten since.
    #[inline]
    pub(super) fn note(&mut self, contexts: &Arc<Contexts>, domain: Domain, entity: Symbol) {
        let forgotten = contexts.forgotten();
        if forgotten != self.forgotten {
            (self.noted, self.forgotten) = ([None; PLACES], forgotten);
        }
        let place = (entity.bits() ^ u64::from(domain.number())) as usize % PLACES;
        let Some(noted) = self.noted.get_mut(place) else { return };
        if *noted != Some((domain, entity)) {
            contexts.join(domain, entity, self.context);
            *noted = Some((domain, entity));
        }
    }
}

/// The names of entities that were used last, held until others take their places or the emitter is dropped. A typed emitter has its
/// emitter for itself, so the name that it uses stays as long as it lives.
#[derive(Default)]
pub(super) struct HeldEntities {
    /// Empty until there is one.
    places: Box<[Option<Held>]>,
}

impl HeldEntities {
    /// Holds the name of `entity`, unless it does already. Takes no lock. Where it cannot be held, that is counted.
    #[inline]
    pub(super) fn hold(&mut self, symbols: &Arc<Symbols>, entity: Symbol) {
        match self.places.get(entity.bits() as usize % PLACES) {
            Some(Some(held)) if held.is_name(entity) => {}
            _ => self.replace(symbols, entity),
        }
    }

    #[cold]
    fn replace(&mut self, symbols: &Arc<Symbols>, entity: Symbol) {
        if self.places.is_empty() {
            self.places = (0..PLACES).map(|_| None).collect();
        }
        if let Some(place) = self.places.get_mut(entity.bits() as usize % PLACES) {
            *place = Held::name_of(symbols, entity, Holder::Emission);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::event::Level;

    #[test]
    fn what_was_noted_is_not_looked_up_again_until_something_is_forgotten() {
        let contexts = Arc::new(Contexts::new(&Arc::default(), 0));
        let test = Context::of(Level::Test, "handshake");
        let (server, client) = (Symbol::of("server"), Symbol::of("client"));
        let mut own = OwnContext::new(test);
        own.note(&contexts, Domain::SERVICE, server);
        own.note(&contexts, Domain::SERVICE, client);
        {
            // Would not come back if it took a lock.
            let _locked = contexts.lock_all();
            own.note(&contexts, Domain::SERVICE, server);
            own.note(&contexts, Domain::SERVICE, client);
        }
        // So many others that the server is forgotten to be a member.
        for number in 0..64 {
            contexts.join(Domain::SERVICE, Symbol::of(&format!("other {number}")), test);
        }
        assert!(contexts.forgotten() > 0 && !contexts.holds(Domain::SERVICE, server, &test));
        own.note(&contexts, Domain::SERVICE, server);
        assert!(contexts.holds(Domain::SERVICE, server, &test));
    }

    #[test]
    fn entities_that_share_a_place_are_both_members() {
        let contexts = Arc::new(Contexts::default());
        let test = Context::of(Level::Test, "handshake");
        let mut own = OwnContext::new(test);
        let names: Vec<_> = (0..300).map(|number| Symbol::of(&format!("{number}"))).collect();
        for _ in 0..2 {
            names.iter().for_each(|name| own.note(&contexts, Domain::SERVICE, *name));
        }
        assert_eq!(contexts.entities(&test).len(), 300);
    }
}
