//! The roster of observers: their names, scopes and numbers, while the pipeline runs.

use crate::observe::Interest;
use crate::observe::presence::Presence;
use crate::observe::worker::{AnyObserver, Placed};
use crate::sync::{Arc, Mutex, lock};
use std::collections::BTreeMap;

/// How an observer is known, and when it is called.
///
/// A plain name will do where one is asked for: `"metrics".into()`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObserverOptions {
    /// The name, unlike that of any other observer that is there.
    pub name: String,
    /// Observers of higher priority are called first, for each batch; of equal ones, the one that was added first.
    pub priority: i32,
    /// What it belongs to (a test, say): all observers of a scope can be removed at once.
    pub scope: Option<String>,
}

impl From<&str> for ObserverOptions {
    fn from(name: &str) -> ObserverOptions {
        ObserverOptions { name: name.to_owned(), ..ObserverOptions::default() }
    }
}

/// Names of observers that accounts are kept under. Observers of further names share one.
pub(crate) const ACCOUNTS_MAX: usize = 1024;

/// The observers that there are, and the names of those that there were.
#[derive(Default)]
pub(crate) struct Roster(Mutex<Book>);

#[derive(Default)]
struct Book {
    /// By number, which no two ever have.
    entries: BTreeMap<usize, Entry>,
    next: usize,
    /// By account, in the order in which they came up.
    names: Vec<Arc<str>>,
    /// Observers that found no room for their names.
    further: u64,
}

struct Entry {
    name: Arc<str>,
    scope: Option<String>,
    /// Somebody is removing it.
    leaving: bool,
}

/// How a new observer is known.
pub(crate) struct Entered {
    pub(crate) number: usize,
    pub(crate) name: Arc<str>,
    /// One for each name; [`ACCOUNTS_MAX`] for those that found no room.
    pub(crate) account: usize,
}

impl Entered {
    /// Gives the observer its place.
    pub(crate) fn placed(
        &self,
        priority: i32,
        interest: Interest,
        observer: Box<dyn AnyObserver>,
        presences: Vec<Arc<Presence>>,
    ) -> Placed {
        let name = Arc::clone(&self.name);
        Placed { number: self.number, name, account: self.account, priority, interest, observer, presences }
    }
}

impl Roster {
    /// Enters an observer; `None` when one that is there has its name.
    pub(crate) fn enter(&self, options: &ObserverOptions) -> Option<Entered> {
        let mut book = lock(&self.0);
        if book.entries.values().any(|entry| *entry.name == *options.name) {
            return None;
        }
        let (number, known) = (book.next, book.names.iter().position(|name| **name == *options.name));
        let name = known
            .and_then(|account| book.names.get(account))
            .map_or_else(|| options.name.as_str().into(), Arc::clone);
        let account = match known {
            Some(account) => account,
            None if book.names.len() < ACCOUNTS_MAX => {
                book.names.push(Arc::clone(&name));
                book.names.len() - 1
            }
            None => {
                book.further += 1;
                ACCOUNTS_MAX
            }
        };
        book.next += 1;
        let entry = Entry { name: Arc::clone(&name), scope: options.scope.clone(), leaving: false };
        book.entries.insert(number, entry);
        Some(Entered { number, name, account })
    }

    /// Begins to remove an observer; false when it is not there, or somebody else removes it. Its name is not free
    /// before [`Roster::strike`]: until then it may see events.
    pub(crate) fn leave(&self, number: usize) -> bool {
        match lock(&self.0).entries.get_mut(&number) {
            Some(entry) => !std::mem::replace(&mut entry.leaving, true),
            None => false,
        }
    }

    /// Strikes an observer off.
    pub(crate) fn strike(&self, number: usize) {
        lock(&self.0).entries.remove(&number);
    }

    /// Returns the numbers of the observers of `scope` that are there.
    pub(crate) fn of_scope(&self, scope: &str) -> Vec<usize> {
        let book = lock(&self.0);
        let of_scope = |entry: &Entry| !entry.leaving && entry.scope.as_deref() == Some(scope);
        book.entries.iter().filter(|(_, entry)| of_scope(entry)).map(|(number, _)| *number).collect()
    }

    /// Returns the names of the observers that are there.
    pub(crate) fn present(&self) -> Vec<Arc<str>> {
        lock(&self.0).entries.values().map(|entry| Arc::clone(&entry.name)).collect()
    }

    /// Returns the names of the accounts, and how many observers found no room for theirs.
    pub(crate) fn accounts(&self) -> (Vec<Arc<str>>, u64) {
        let book = lock(&self.0);
        (book.names.clone(), book.further)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_free_again_once_its_observer_is_gone() {
        let roster = Roster::default();
        let enter = |options: ObserverOptions| {
            roster.enter(&options).map(|entered| (entered.number, entered.account))
        };
        let scoped = |name: &str| ObserverOptions { scope: Some("test-1".into()), ..name.into() };
        assert_eq!(enter("a".into()), Some((0, 0)));
        assert_eq!(enter("a".into()), None);
        assert_eq!(enter(scoped("b")), Some((1, 1)));
        assert_eq!(enter(scoped("c")), Some((2, 2)));
        assert_eq!(roster.of_scope("test-1"), [1, 2]);
        assert!(roster.leave(1) && !roster.leave(1) && !roster.leave(9));
        assert_eq!(roster.of_scope("test-1"), [2]);
        assert_eq!(enter("b".into()), None, "it may still see events");
        roster.strike(1);
        assert_eq!(enter("b".into()), Some((3, 1)));
        assert_eq!((roster.present().len(), roster.accounts().0.len()), (3, 3));
    }

    #[test]
    fn names_beyond_the_limit_share_an_account() {
        let roster = Roster::default();
        for number in 0..ACCOUNTS_MAX + 3 {
            let entered = roster.enter(&(&*format!("o{number}")).into()).unwrap();
            assert_eq!((entered.number, entered.account), (number, number.min(ACCOUNTS_MAX)));
            assert!(roster.leave(number));
            roster.strike(number);
        }
        let again = roster.enter(&"o5".into()).unwrap();
        assert_eq!((again.number, again.account), (ACCOUNTS_MAX + 3, 5));
        let (names, further) = roster.accounts();
        assert_eq!((names.len(), further, roster.present().len()), (ACCOUNTS_MAX, 3, 1));
    }
}
