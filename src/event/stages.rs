//! What events go through, as seen by those who hold something for them: names, documents, contexts.

#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// What events go through for which a table holds something.
pub(crate) trait Stages: Send + Sync {
    /// Returns what tells, each time it is called and without waiting, whether everything accepted by now has been handled by all
    /// stages.
    fn catch_up(self: Arc<Self>) -> Box<dyn FnMut() -> bool + Send>;
}

/// Knows up to which era of a table everything that was emitted has been handled. Eras are the table's own.
#[derive(Default)]
pub(super) struct Handled {
    stages: Vec<Weak<dyn Stages>>,
    /// Everything that was accepted before this era has been handled.
    before: u64,
    asked: Option<Asked>,
}

/// Stages that were asked at the beginning of an era and have not all answered.
struct Asked {
    era: u64,
    open: Vec<Box<dyn FnMut() -> bool + Send>>,
}

impl Handled {
    /// Counts `stages` among those that handle events.
    pub(super) fn by(&mut self, stages: Weak<dyn Stages>) {
        self.stages.retain(|stages| stages.strong_count() > 0);
        self.stages.push(stages);
    }

    /// Returns the era before which everything has been handled, as far as is known without waiting. `era` is the present one.
    pub(super) fn before(&mut self, era: u64) -> u64 {
        if self.asked.is_none() && self.before < era {
            let open = self.stages.iter().filter_map(Weak::upgrade).map(Stages::catch_up).collect();
            self.asked = Some(Asked { era, open });
        }
        if let Some(asked) = &mut self.asked {
            asked.open.retain_mut(|has_caught_up| !has_caught_up());
            if asked.open.is_empty() {
                self.before = asked.era;
                self.asked = None;
            }
        }
        self.before
    }
}

/// Stages that have caught up when they are told that they have.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Slow {
    pub(super) asked: AtomicU64,
    pub(super) handled: Arc<AtomicU64>,
}

#[cfg(test)]
impl Stages for Slow {
    fn catch_up(self: Arc<Self>) -> Box<dyn FnMut() -> bool + Send> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let handled = Arc::clone(&self.handled);
        Box::new(move || handled.load(Ordering::Relaxed) > number)
    }
}
