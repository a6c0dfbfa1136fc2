//! The registry of observers: their names, scopes and numbers, while the pipeline runs.

use crate::observe::Interest;
use crate::observe::presence::Presence;
use crate::observe::worker::{AnyObserver, Placed, SlotReport};
use crate::sync::{Arc, Mutex, lock, mpsc};
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
pub(crate) struct ObserverRegistry(Mutex<RegistryState>);

#[derive(Default)]
struct RegistryState {
    /// By number, which no two ever have.
    entries: BTreeMap<usize, Entry>,
    next: usize,
    /// By account, in the order in which they came up.
    names: Vec<Arc<str>>,
    /// Observers that found no room for their names.
    further: u64,
    /// Those that were told to go, and that some threads have not let go, since they did not answer in time.
    going: Vec<Going>,
}

struct Going {
    number: usize,
    /// Threads that have not answered.
    waiting: usize,
    answers: mpsc::Receiver<(usize, Option<SlotReport>)>,
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

impl ObserverRegistry {
    /// Enters an observer; `None` when one that is there has its name.
    pub(crate) fn enter(&self, options: &ObserverOptions) -> Option<Entered> {
        let mut state = lock(&self.0);
        if state.entries.values().any(|entry| *entry.name == *options.name) {
            return None;
        }
        let (number, known) = (state.next, state.names.iter().position(|name| **name == *options.name));
        let name = known
            .and_then(|account| state.names.get(account))
            .map_or_else(|| options.name.as_str().into(), Arc::clone);
        let account = match known {
            Some(account) => account,
            None if state.names.len() < ACCOUNTS_MAX => {
                state.names.push(Arc::clone(&name));
                state.names.len() - 1
            }
            None => {
                state.further += 1;
                ACCOUNTS_MAX
            }
        };
        state.next += 1;
        let entry = Entry { name: Arc::clone(&name), scope: options.scope.clone(), leaving: false };
        state.entries.insert(number, entry);
        Some(Entered { number, name, account })
    }

    /// Begins to remove an observer; false when it is not there, or somebody else removes it. Its name is not free
    /// before [`ObserverRegistry::strike`]: until then it may see events.
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

    /// Lets an observer be struck off once so many threads have answered that they have let it go.
    pub(crate) fn strike_later(
        &self,
        number: usize,
        waiting: usize,
        answers: mpsc::Receiver<(usize, Option<SlotReport>)>,
    ) {
        lock(&self.0).going.push(Going { number, waiting, answers });
    }

    /// Strikes those off that all threads have let go meanwhile. Their last reports are nobody's.
    pub(crate) fn strike_those_gone(&self) {
        let mut state = lock(&self.0);
        let RegistryState { going, entries, .. } = &mut *state;
        going.retain_mut(|going| {
            while going.answers.try_recv().is_ok() {
                going.waiting -= 1;
            }
            if going.waiting == 0 {
                entries.remove(&going.number);
            }
            going.waiting > 0
        });
    }

    /// Returns the numbers of the observers of `scope` that are there.
    pub(crate) fn of_scope(&self, scope: &str) -> Vec<usize> {
        let state = lock(&self.0);
        let of_scope = |entry: &Entry| !entry.leaving && entry.scope.as_deref() == Some(scope);
        state.entries.iter().filter(|(_, entry)| of_scope(entry)).map(|(number, _)| *number).collect()
    }

    /// Returns the name of an observer that is there.
    pub(crate) fn name(&self, number: usize) -> Option<String> {
        lock(&self.0).entries.get(&number).map(|entry| entry.name.to_string())
    }

    /// Returns the names of the observers that are there.
    pub(crate) fn present(&self) -> Vec<Arc<str>> {
        lock(&self.0).entries.values().map(|entry| Arc::clone(&entry.name)).collect()
    }

    /// Returns the names of the accounts, and how many observers found no room for theirs.
    pub(crate) fn accounts(&self) -> (Vec<Arc<str>>, u64) {
        let state = lock(&self.0);
        (state.names.clone(), state.further)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_free_again_once_its_observer_is_gone() {
        let registry = ObserverRegistry::default();
        let enter = |options: ObserverOptions| {
            registry.enter(&options).map(|entered| (entered.number, entered.account))
        };
        let scoped = |name: &str| ObserverOptions { scope: Some("test-1".into()), ..name.into() };
        assert_eq!(enter("a".into()), Some((0, 0)));
        assert_eq!(enter("a".into()), None);
        assert_eq!(enter(scoped("b")), Some((1, 1)));
        assert_eq!(enter(scoped("c")), Some((2, 2)));
        assert_eq!(registry.of_scope("test-1"), [1, 2]);
        assert!(registry.leave(1) && !registry.leave(1) && !registry.leave(9));
        assert_eq!(registry.of_scope("test-1"), [2]);
        assert_eq!(enter("b".into()), None, "it may still see events");
        registry.strike(1);
        assert_eq!(enter("b".into()), Some((3, 1)));
        assert_eq!((registry.present().len(), registry.accounts().0.len()), (3, 3));
    }

    #[test]
    fn names_beyond_the_limit_share_an_account() {
        let registry = ObserverRegistry::default();
        for number in 0..ACCOUNTS_MAX + 3 {
            let entered = registry.enter(&(&*format!("o{number}")).into()).unwrap();
            assert_eq!((entered.number, entered.account), (number, number.min(ACCOUNTS_MAX)));
            assert!(registry.leave(number));
            registry.strike(number);
        }
        let again = registry.enter(&"o5".into()).unwrap();
        assert_eq!((again.number, again.account), (ACCOUNTS_MAX + 3, 5));
        let (names, further) = registry.accounts();
        assert_eq!((names.len(), further, registry.present().len()), (ACCOUNTS_MAX, 3, 1));
    }
}
