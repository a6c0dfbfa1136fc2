//! Context: which part of an experiment an event belongs to.
//!
//! ```text
//!  experiment ──► test ──┬──► step ──► assertion
//!                        ├──► service
//!                        └──► environment
//! ```
//!
//! Records do not carry their context. An emitter enters a [`Context`], and what it emits from then on belongs to it:
//! the table [`Contexts`](super::Contexts) knows from which number on which source was where. So an event costs nothing more, and its
//! context is found when somebody asks. Entities belong to contexts too: those that a context names, and those whose
//! typed emitter was made in one.

use crate::event::json::{Members, push_text};
use crate::event::{Domain, IdScope, Level, Symbol, Symbols};
use std::fmt;
use xxhash_rust::xxh3::xxh3_128;

/// Says which experiment, test, step, assertion, service and environment an event belongs to, as far as known.
///
/// As a filter it says which of them it has to belong to: [`Context::is_within`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Context([Symbol; Level::ALL.len()]);

impl Context {
    /// No part of anything; as a filter, everything.
    pub const NONE: Context = Context([Symbol::NONE; Level::ALL.len()]);

    /// Returns the context of the one part of that name.
    #[must_use]
    pub fn of(level: Level, name: &str) -> Context {
        Context::NONE.entered(level, Symbol::of(name))
    }

    /// Returns the context within this one: that of `name`, without what lies within the part left for it.
    ///
    /// ```
    /// use panther_events::event::{Context, Level, Symbol};
    ///
    /// let step = Context::of(Level::Test, "handshake").entered(Level::Step, Symbol::of("connect"));
    /// let next = step.entered(Level::Test, Symbol::of("migration"));
    /// assert_eq!(next, Context::of(Level::Test, "migration"));
    /// ```
    #[must_use]
    pub fn entered(mut self, level: Level, name: Symbol) -> Context {
        for (part, inner) in self.0.iter_mut().zip(Level::ALL) {
            if inner == level {
                *part = name;
            } else if level.holds(inner) {
                *part = Symbol::NONE;
            }
        }
        self
    }

    /// Returns the name of the part of that level.
    #[must_use]
    pub fn get(&self, level: Level) -> Option<Symbol> {
        self.parts().find(|(known, _)| *known == level).map(|(_, name)| name)
    }

    /// Iterates over the parts that are known, from the experiment inwards.
    pub fn parts(&self) -> impl Iterator<Item = (Level, Symbol)> {
        Level::ALL.into_iter().zip(self.0).filter(|(_, name)| *name != Symbol::NONE)
    }

    /// Tells whether nothing is known.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Context::NONE
    }

    /// Tells whether all parts of `outer` are this context's too.
    #[must_use]
    pub fn is_within(&self, outer: &Context) -> bool {
        self.0.iter().zip(&outer.0).all(|(part, wanted)| *wanted == Symbol::NONE || part == wanted)
    }

    /// Returns what of this context lies within a test.
    pub(crate) fn within_test(mut self) -> Context {
        for (part, level) in self.0.iter_mut().zip(Level::ALL) {
            if matches!(level, Level::Experiment | Level::Test) {
                *part = Symbol::NONE;
            }
        }
        self
    }

    /// Returns this context as seen from the part of that name: it is not within itself.
    pub(crate) fn around_itself(mut self, level: Option<Level>, name: Symbol) -> Context {
        for (part, known) in self.0.iter_mut().zip(Level::ALL) {
            if Some(known) == level && *part == name {
                *part = Symbol::NONE;
            }
        }
        self
    }

    /// Tells whether both may be of one place: none names another part of a level than the other.
    pub(crate) fn agrees_with(&self, other: &Context) -> bool {
        let mut levels = self.0.iter().zip(other.0);
        levels.all(|(one, other)| [Symbol::NONE, *one].contains(&other) || *one == Symbol::NONE)
    }

    /// As [`Context::agrees_with`], whichever part of `level` they name.
    pub(crate) fn agrees_beside(mut self, other: &Context, level: Level) -> bool {
        for ((part, known), other) in self.0.iter_mut().zip(Level::ALL).zip(other.0) {
            if known == level {
                *part = other;
            }
        }
        self.agrees_with(other)
    }

    /// Returns the parts in which something of `level` lies: those that enclose it.
    pub(crate) fn around(mut self, level: Level) -> Context {
        for (part, outer) in self.0.iter_mut().zip(Level::ALL) {
            if !outer.holds(level) {
                *part = Symbol::NONE;
            }
        }
        self
    }

    /// Returns what of this context tells entities of one name apart in `domain`: the parts that enclose a test, a step or an
    /// assertion. Entities of other domains are shared between tests.
    pub(crate) fn enclosing(&self, domain: Domain) -> Context {
        Level::enclosed(domain).map_or(Context::NONE, |level| self.around(level))
    }

    /// Returns the name of the innermost part, as the order of levels has it.
    pub(crate) fn innermost(&self) -> Symbol {
        self.0.iter().rev().copied().find(|name| *name != Symbol::NONE).unwrap_or(Symbol::NONE)
    }

    /// Returns what the ids of contents within this context are computed with; `None` for no context.
    pub(crate) fn id_scope(&self) -> Option<IdScope> {
        if self.is_none() {
            return None;
        }
        let mut bytes = [0; Level::ALL.len() * 8];
        for (to, name) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *to = name.bits().to_le_bytes();
        }
        Some(IdScope::new(xxh3_128(&bytes)))
    }

    /// Writes the context as a document: names under levels; in the place of one that the table does not have, the symbol's number.
    pub(crate) fn document(&self, symbols: &Symbols) -> String {
        let mut text = String::new();
        for (level, name) in self.parts() {
            text.push(if text.is_empty() { '{' } else { ',' });
            push_text(&mut text, level.name());
            text.push(':');
            symbols.with_name(name, |known| match known {
                Some(known) => push_text(&mut text, known),
                // A number, and no text, so that it reads back as what it is.
                None => text.push_str(&name.bits().to_string()),
            });
        }
        text.push_str(if text.is_empty() { "{}" } else { "}" });
        text
    }

    /// Reads a document, and takes its names into a table; one that the table refuses, it counts.
    pub(super) fn read(document: &str, symbols: &Symbols) -> Context {
        let part = |level: Level| {
            let members = Members::of(document);
            let number = || members.raw(level.name())?.parse().ok().map(Symbol::from_bits);
            let name = members
                .text(level.name())
                .map(|name| symbols.intern(&name).unwrap_or_else(|_| Symbol::of(&name)));
            name.or_else(number).unwrap_or(Symbol::NONE)
        };
        Context(Level::ALL.map(part))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.parts()).finish()
    }
}

impl Default for Context {
    fn default() -> Context {
        Context::NONE
    }
}

/// Why a change of context was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextRefused {
    /// The table is full of changes that events on their way belong to.
    #[error(
        "the table of contexts is full ({changes} changes that events on their way may belong to); stay longer in each, or raise `contexts_bytes`"
    )]
    Full {
        /// Changes that the table holds.
        changes: usize,
    },
    /// The pipeline has contexts of its own, or those of events that were numbered elsewhere, and not both: one number of a
    /// source would be two events.
    #[error(
        "events that were numbered elsewhere, and contexts that are entered here, do not go together; replay in a pipeline of its own"
    )]
    Mixed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_entered_ends_what_was_within_it() {
        let symbol = Symbol::of;
        let assertion = Context::of(Level::Experiment, "e")
            .entered(Level::Test, symbol("t"))
            .entered(Level::Service, symbol("s"))
            .entered(Level::Step, symbol("1"))
            .entered(Level::Assertion, symbol("a"));
        assert_eq!(assertion.parts().count(), 5);
        let next = assertion.entered(Level::Step, symbol("2"));
        assert_eq!((next.get(Level::Assertion), next.get(Level::Service)), (None, Some(symbol("s"))));
        let levels = |level| assertion.around(level).parts().map(|(level, _)| level).collect::<Vec<_>>();
        assert_eq!(levels(Level::Assertion), [Level::Experiment, Level::Test, Level::Step]);
        assert_eq!(levels(Level::Step), [Level::Experiment, Level::Test]);
        assert_eq!(levels(Level::Test), [Level::Experiment]);
        let next = next.entered(Level::Test, symbol("u"));
        assert_eq!(next.parts().count(), 2);
        assert!(assertion.is_within(&Context::of(Level::Step, "1")) && assertion.is_within(&Context::NONE));
        assert!(!assertion.is_within(&next) && !Context::NONE.is_within(&next));
    }

    #[test]
    fn a_document_reads_back() {
        let symbols = Symbols::new();
        let name = symbols.intern("a \"test\"\n").unwrap();
        let context = Context::of(Level::Experiment, "unknown").entered(Level::Test, name);
        let document = context.document(&symbols);
        assert_eq!(
            document,
            format!(r##"{{"experiment":{},"test":"a \"test\"\n"}}"##, Symbol::of("unknown").bits())
        );
        let elsewhere = Symbols::new();
        assert_eq!(Context::read(&document, &elsewhere), context);
        assert_eq!(elsewhere.name(name).as_deref(), Some("a \"test\"\n"));
        assert_eq!(Context::read(&Context::NONE.document(&symbols), &elsewhere), Context::NONE);
    }
}
