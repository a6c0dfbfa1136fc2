//! Symbols: names as 64-bit content hashes, and the table that holds the strings.

use crate::event::detail::Details;
use crate::event::table::{Refused, Table, Tap};
use bytemuck::{Pod, Zeroable};
use std::fmt;
use std::sync::Arc;

/// Stands for a name: the xxh3-64 (seed 0) of its UTF-8 bytes.
///
/// The same name is the same symbol in every thread, process and host; nobody hands out numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Symbol(u64);

impl Symbol {
    /// No name. [`Symbol::of`] never returns it.
    pub const NONE: Symbol = Symbol(0);

    /// Returns the symbol of `name`, without keeping the name; [`Symbols::intern`] keeps it.
    #[inline]
    #[must_use]
    pub fn of(name: &str) -> Symbol {
        Symbol(Table::hash(name))
    }

    /// Takes a number for a symbol.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u64) -> Symbol {
        Symbol(bits)
    }

    /// Returns the symbol's number.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Symbol({:016x})", self.0)
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:016x}", self.0)
    }
}

/// Why a name was not taken into a table.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SymbolError {
    /// Another name with the same hash is in the table.
    #[error("the names {known:?} and {refused:?} have the same symbol; rename one of them")]
    Collision {
        /// The name in the table.
        known: Arc<str>,
        /// The name that was refused.
        refused: String,
    },
    /// The name is longer than [`Symbols::NAME_LEN_MAX`].
    #[error("a name of {len} bytes is too long; names have at most {} bytes", Symbols::NAME_LEN_MAX)]
    TooLong {
        /// The name's length in bytes.
        len: usize,
    },
    /// The table is full.
    #[error("the symbol table holds {limit} names, its limit; raise it or use fewer names")]
    Full {
        /// The table's limit.
        limit: usize,
    },
}

/// Holds the names behind symbols, and the documents behind [`Detail`](crate::event::Detail)s; shared by all threads of a
/// pipeline.
///
/// Looking up a name or interning one that is known takes no lock. Names are never removed. What the table
/// refuses is counted in [`Symbols::refused`].
pub struct Symbols {
    names: Table,
    details: Details,
}

impl Symbols {
    /// Bytes that a name can have.
    pub const NAME_LEN_MAX: usize = 4096;
    /// Names that a table made by [`Symbols::new`] can hold.
    pub const LIMIT_DEFAULT: usize = 1 << 26;

    /// Makes an empty table.
    #[must_use]
    pub fn new() -> Symbols {
        Symbols::with_limit(Symbols::LIMIT_DEFAULT)
    }

    /// Makes an empty table for at most about `limit` names: threads that intern at the same moment may each
    /// go one over it.
    #[must_use]
    pub fn with_limit(limit: usize) -> Symbols {
        Symbols::with_details(limit, Details::new())
    }

    /// Makes an empty table for at most about `limit` names, with these documents beside.
    #[must_use]
    pub fn with_details(limit: usize, details: Details) -> Symbols {
        Symbols { names: Table::new(Symbols::NAME_LEN_MAX, limit, u64::MAX), details }
    }

    /// Returns the documents behind details.
    #[must_use]
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// Takes `name` into the table and returns its symbol.
    ///
    /// # Errors
    /// When the name is too long, the table is full, or another name has the same symbol.
    pub fn intern(&self, name: &str) -> Result<Symbol, SymbolError> {
        let symbol = Symbol::of(name);
        self.insert(symbol, name)?;
        Ok(symbol)
    }

    fn insert(&self, symbol: Symbol, name: &str) -> Result<(), SymbolError> {
        self.names.insert(symbol.0, name).map_err(|refused| match refused {
            Refused::Collision { known } => SymbolError::Collision { known, refused: name.to_owned() },
            Refused::TooLong => SymbolError::TooLong { len: name.len() },
            Refused::Full => SymbolError::Full { limit: self.names.limit() },
        })
    }

    /// Returns the name behind `symbol`, if the table has it.
    #[must_use]
    pub fn name(&self, symbol: Symbol) -> Option<Arc<str>> {
        self.names.get(symbol.0)
    }

    /// Calls `with` on the name behind `symbol`, without counting a reference.
    pub fn with_name<R>(&self, symbol: Symbol, with: impl FnOnce(Option<&str>) -> R) -> R {
        self.names.with(symbol.0, with)
    }

    /// Tells `names` of every name and `documents` of every document, now and from now on.
    pub(crate) fn tap(&self, names: &Arc<dyn Tap>, documents: &Arc<dyn Tap>) {
        self.names.tap(names);
        self.details.tap(documents);
    }

    /// Returns how many names the table holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Tells whether the table holds no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many names were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.names.refused()
    }
}

impl Default for Symbols {
    fn default() -> Symbols {
        Symbols::new()
    }
}

impl fmt::Debug for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Symbols").field("names", &self.names).field("details", &self.details).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_the_same_symbol_and_comes_back() {
        let symbols = Symbols::new();
        let symbol = symbols.intern("test-000").unwrap();
        assert_eq!(symbol, Symbol::of("test-000"));
        assert_eq!(symbols.intern("test-000"), Ok(symbol));
        assert_eq!(symbols.name(symbol).as_deref(), Some("test-000"));
        assert_eq!(symbols.name(Symbol::of("other")), None);
        assert_eq!(symbols.len(), 1);
    }

    #[test]
    fn a_collision_is_refused_and_counted_never_ignored() {
        let symbols = Symbols::new();
        // No two names with equal xxh3-64 are at hand, so the table is told a wrong symbol.
        let symbol = symbols.intern("first").unwrap();
        let error = symbols.insert(symbol, "second").unwrap_err();
        assert_eq!(error, SymbolError::Collision { known: "first".into(), refused: "second".into() });
        assert_eq!(symbols.name(symbol).as_deref(), Some("first"));
        assert_eq!(symbols.refused(), 1);
    }

    #[test]
    fn limits_refuse_new_names_and_keep_known_ones() {
        let symbols = Symbols::with_limit(1);
        symbols.intern("a").unwrap();
        assert_eq!(symbols.intern("b"), Err(SymbolError::Full { limit: 1 }));
        assert!(symbols.intern("a").is_ok());
        assert_eq!(Symbols::new().intern(&"x".repeat(4097)), Err(SymbolError::TooLong { len: 4097 }));
        assert_eq!(symbols.refused(), 1);
    }

    #[test]
    fn threads_that_intern_at_once_agree() {
        let symbols = Symbols::new();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let symbols = &symbols;
                scope.spawn(move || {
                    for n in 0..2_000 {
                        let name = format!("entity-{}", (n + thread * 500) % 2_000);
                        let symbol = symbols.intern(&name).unwrap();
                        assert_eq!(symbols.name(symbol).as_deref(), Some(&*name));
                    }
                });
            }
        });
        assert_eq!(symbols.len(), 2_000);
    }
}
