//! Symbols: names as 64-bit content hashes, and the table that holds the strings.

use crate::event::detail::Details;
use crate::event::stages::Stages;
use crate::event::table::{Holder, Refused, Table, Tap};
use crate::fork::Birthplace;
use bytemuck::{Pod, Zeroable};
use std::fmt;
use std::sync::{Arc, Weak};

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
    /// The table has no room for a name of this length beside those that are held.
    #[error(
        "the symbol table has no room for a name of {len} bytes, {limit} bytes being its limit; raise it or hold fewer names"
    )]
    Full {
        /// The name's length in bytes.
        len: usize,
        /// The table's limit in bytes.
        limit: u64,
    },
}

/// Holds the names behind symbols, and the documents behind [`Detail`](crate::event::Detail)s; shared by all threads of a
/// pipeline.
///
/// Looking up a name or interning one that is known takes no lock.
///
/// A table is bounded in bytes. Where the names take half of its limit, those that nobody needs any more are *evicted*: what was
/// neither interned nor looked up while a quarter of the limit came in new names, and whose events have gone through all
/// stages of the pipelines that use the table. Where all are in use, the oldest go, needed or not; [`Symbols::evicted_early`]
/// counts them. Emitting with a symbol is not seen here: whoever interns a name once and uses the symbol for long, among many new
/// names, [holds](crate::event::Held) the name meanwhile. Typed emitters do, and contexts for those who are in them; so do the
/// observers of states, results and sightings, and their reports, for what they tell of. A look-up in vain is counted in
/// [`Symbols::missed`], and is a warning of the snapshot; what the table refuses is counted in [`Symbols::refused`].
pub struct Symbols {
    names: Table,
    details: Details,
    birthplace: Birthplace,
}

impl Symbols {
    /// Bytes that a name can have.
    pub const NAME_LEN_MAX: usize = 4096;
    /// Bytes of names that a table made by [`Symbols::new`] can hold, 128 more for each included: 256 MiB.
    pub const LIMIT_DEFAULT: u64 = 1 << 28;

    /// Makes an empty table.
    #[must_use]
    pub fn new() -> Symbols {
        Symbols::with_limits(Symbols::LIMIT_DEFAULT, Details::LIMIT_DEFAULT)
    }

    /// Makes an empty table for at most about `names` bytes of names, and `documents` bytes of documents, 128 more for each of
    /// them included: threads that intern at the same moment may each go one over it.
    #[must_use]
    pub fn with_limits(names: u64, documents: u64) -> Symbols {
        Symbols {
            names: Table::new(Symbols::NAME_LEN_MAX, names),
            details: Details::with_limit(documents),
            birthplace: Birthplace::here(),
        }
    }

    /// Returns the documents behind details.
    #[must_use]
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// Takes `name` into the table and returns its symbol.
    ///
    /// # Errors
    /// When the name is too long, there is no room for it beside those that are held, or another name has the same symbol.
    pub fn intern(&self, name: &str) -> Result<Symbol, SymbolError> {
        let symbol = Symbol::of(name);
        self.insert(symbol, name)?;
        Ok(symbol)
    }

    fn insert(&self, symbol: Symbol, name: &str) -> Result<(), SymbolError> {
        self.names.insert(symbol.0, name).map_err(|refused| match refused {
            Refused::Collision { known } => SymbolError::Collision { known, refused: name.to_owned() },
            Refused::TooLong => SymbolError::TooLong { len: name.len() },
            Refused::Full => SymbolError::Full { len: name.len(), limit: self.names.limit() },
        })
    }

    /// Keeps the name from being evicted until it has been released as often.
    pub(super) fn hold(&self, symbol: Symbol, holder: Holder) -> bool {
        self.is_here() && self.names.hold(symbol.0, holder)
    }

    pub(super) fn release(&self, symbol: Symbol) {
        if self.is_here() {
            self.names.release(symbol.0);
        }
    }

    /// Tells whether this is the process in which the table was made; in a child nobody knows in which state it is.
    pub(super) fn is_here(&self) -> bool {
        self.birthplace.is_here()
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

    /// Lets names and documents stay as long as events that `stages` handle may need them.
    pub(crate) fn serve(&self, stages: &Weak<dyn Stages>) {
        self.names.serve(Weak::clone(stages));
        self.details.serve(Weak::clone(stages));
    }

    /// Says what is not known any more although somebody asked for it or may do so.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        let raise = "raise the limit (`Symbols::with_limits`)";
        let early = |early, what| {
            (early > 0).then(|| {
                format!("{early} {what} were evicted although events that refer to them may not have been handled; send fewer, or {raise}")
            })
        };
        let missed = |missed, what| {
            (missed > 0).then(|| {
                format!(
                    "{missed} times, one of the {what} was looked for in vain after some had been evicted, and a number stands in its \
                     place; hold those that are used for long (`Held::name`), or {raise}"
                )
            })
        };
        let not_held = self.names.hold_refused();
        let not_held = (not_held > 0).then(|| {
            format!(
                "{not_held} times, a name that a report, a context or an emitter uses could not be held, and may be shown by number; {raise}"
            )
        });
        let found = [
            early(self.evicted_early(), "names"),
            early(self.details.evicted_early(), "documents"),
            missed(self.missed(), "names"),
            missed(self.details.missed(), "documents"),
            not_held,
        ];
        found.into_iter().flatten()
    }

    /// Returns how often a name was looked for in vain since the first was evicted: it may have been one of those. Symbols whose
    /// names the table never had count too.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.names.missed()
    }

    /// Returns how many names have come so far, one that was evicted and came again counted again: as many as the table
    /// [holds](Symbols::len), [evicted](Symbols::evicted) and [evicted early](Symbols::evicted_early).
    #[must_use]
    pub fn came(&self) -> u64 {
        self.names.count_ever()
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

    /// Returns how many bytes the names take, 128 more for each included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.names.bytes()
    }

    /// Returns how many bytes the names take that are [held](crate::event::Held), 128 more for each included: at most a quarter of the
    /// limit, or three eighths with those that emitters and contexts hold.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.names.held_bytes()
    }

    /// Returns how often a name could not be held because those that are take all they may.
    #[must_use]
    pub fn hold_refused(&self) -> u64 {
        self.names.hold_refused()
    }

    /// Returns how many names were evicted when nobody needed them any more.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.names.evicted()
    }

    /// Returns how many names were evicted because the limit was reached, although events on their way may have needed them.
    #[must_use]
    pub fn evicted_early(&self) -> u64 {
        self.names.evicted_early()
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
        let symbols = Symbols::with_limits(200, 0);
        symbols.intern("a").unwrap();
        let long = "b".repeat(100);
        assert_eq!(symbols.intern(&long), Err(SymbolError::Full { len: 100, limit: 200 }));
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
