//! The roster of observers: their names, scopes and numbers, while the pipeline runs.

use crate::sync::{Mutex, lock};

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

/// All observers that there are or were, by number.
#[derive(Default)]
pub(crate) struct Roster(Mutex<Vec<Entry>>);

struct Entry {
    name: Box<str>,
    scope: Option<String>,
    gone: bool,
}

impl Roster {
    /// Enters an observer and returns its number; `None` when one that is there has its name.
    pub(crate) fn enter(&self, options: &ObserverOptions) -> Option<usize> {
        let mut entries = lock(&self.0);
        if entries.iter().any(|entry| !entry.gone && *entry.name == *options.name) {
            return None;
        }
        entries.push(Entry { name: options.name.as_str().into(), scope: options.scope.clone(), gone: false });
        Some(entries.len() - 1)
    }

    /// Strikes an observer off; false when it is not there.
    pub(crate) fn strike(&self, number: usize) -> bool {
        match lock(&self.0).get_mut(number) {
            Some(entry) if !entry.gone => {
                entry.gone = true;
                true
            }
            _ => false,
        }
    }

    /// Returns the numbers of the observers of `scope` that are there.
    pub(crate) fn of_scope(&self, scope: &str) -> Vec<usize> {
        let entries = lock(&self.0);
        let of_scope = |entry: &Entry| !entry.gone && entry.scope.as_deref() == Some(scope);
        (0..).zip(&*entries).filter(|(_, entry)| of_scope(entry)).map(|(number, _)| number).collect()
    }

    pub(crate) fn name(&self, number: usize) -> Box<str> {
        lock(&self.0).get(number).map_or_else(Box::default, |entry| entry.name.clone())
    }

    pub(crate) fn names(&self) -> Vec<Box<str>> {
        lock(&self.0).iter().map(|entry| entry.name.clone()).collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_free_again_once_its_observer_is_gone() {
        let roster = Roster::default();
        let scoped = |name: &str| ObserverOptions { scope: Some("test-1".into()), ..name.into() };
        assert_eq!(roster.enter(&"a".into()), Some(0));
        assert_eq!(roster.enter(&"a".into()), None);
        assert_eq!(roster.enter(&scoped("b")), Some(1));
        assert_eq!(roster.enter(&scoped("c")), Some(2));
        assert_eq!(roster.of_scope("test-1"), [1, 2]);
        assert!(roster.strike(1) && !roster.strike(1) && !roster.strike(9));
        assert_eq!(roster.of_scope("test-1"), [2]);
        assert_eq!(roster.enter(&"b".into()), Some(3));
        assert_eq!(roster.names().len(), 4);
    }
}
