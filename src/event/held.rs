//! Names and documents that are needed for longer than events are on their way.

use crate::event::table::Holder;
use crate::event::{Detail, Symbol, Symbols};
use crate::hash::Keyed;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// Holds a name or a document: it is not evicted until this is dropped.
///
/// Several may hold one. Taking and dropping it takes no lock. What is held takes at most a quarter of the table's limit.
///
/// ```
/// use panther_events::event::{Held, Symbols};
/// use std::sync::Arc;
///
/// let symbols = Arc::new(Symbols::new());
/// let server = symbols.intern("server")?;
/// let held = Held::name(&symbols, server).ok_or("too many are held")?;
/// assert!(symbols.held_bytes() > 0);
/// // Days and millions of names later:
/// assert_eq!(symbols.name(server).as_deref(), Some("server"));
/// drop(held);
/// assert_eq!(symbols.held_bytes(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it is let go when this is dropped"]
pub struct Held {
    symbols: Arc<Symbols>,
    what: What,
}

#[derive(Debug)]
enum What {
    Name(Symbol),
    Document(Detail),
}

impl Held {
    /// Holds a name. `None` when the table does not have it, or those that are held take all they may
    /// ([`Symbols::hold_refused`]).
    pub fn name(symbols: &Arc<Symbols>, name: Symbol) -> Option<Held> {
        Held::name_of(symbols, name, Holder::Report)
    }

    pub(crate) fn name_of(symbols: &Arc<Symbols>, name: Symbol, holder: Holder) -> Option<Held> {
        symbols.hold(name, holder).then(|| Held { symbols: Arc::clone(symbols), what: What::Name(name) })
    }

    /// Holds a document. `None` when the table does not have it, or those that are held take all they may
    /// ([`Details::hold_refused`](crate::event::Details::hold_refused)).
    pub fn document(symbols: &Arc<Symbols>, detail: Detail) -> Option<Held> {
        let is_held = symbols.is_here() && symbols.details().hold(detail);
        is_held.then(|| Held { symbols: Arc::clone(symbols), what: What::Document(detail) })
    }
}

impl Held {
    /// Tells whether it is this name that is held.
    #[inline]
    pub(crate) fn is_name(&self, name: Symbol) -> bool {
        matches!(self.what, What::Name(held) if held == name)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        match self.what {
            What::Name(name) => self.symbols.release(name),
            What::Document(detail) if self.symbols.is_here() => self.symbols.details().release(detail),
            What::Document(_) => {}
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.what).finish()
    }
}

/// Names that are held, each once, until this is dropped.
pub(crate) struct HeldNames {
    symbols: Arc<Symbols>,
    holder: Holder,
    names: HashSet<Symbol, Keyed>,
}

impl HeldNames {
    pub(crate) fn new(symbols: &Arc<Symbols>, holder: Holder) -> HeldNames {
        HeldNames { symbols: Arc::clone(symbols), holder, names: HashSet::default() }
    }

    /// Holds a name too. Where it cannot be held, that is counted.
    pub(crate) fn hold(&mut self, name: Symbol) {
        if !self.names.contains(&name) && self.symbols.hold(name, self.holder) {
            self.names.insert(name);
        }
    }
}

impl Drop for HeldNames {
    fn drop(&mut self) {
        self.names.drain().for_each(|name| self.symbols.release(name));
    }
}

impl fmt::Debug for HeldNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldNames").field("names", &self.names.len()).finish_non_exhaustive()
    }
}
